package verify_test

import (
	"bytes"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/verify"
)

// A file renamed by a date, or a link turned to another dated release, is not a
// build date.
func TestDatesInNames(t *testing.T) {
	for _, s := range difftest.Samples() {
		if s.Format != "tar" {
			continue
		}
		for _, field := range []struct {
			name string
			off  int
		}{{"name", 0}, {"link target", 157}} {
			ref, dep := bytes.Clone(s.Data), bytes.Clone(s.Data)
			copy(ref[field.off:], "rel 2024-01-02 x")
			copy(dep[field.off:], "rel 2023-01-02 x")
			for _, b := range [][]byte{ref, dep} {
				difftest.TarChecksum(b[:512])
			}
			if out := diffBytes(t, ref, dep, policy(t, "standard")); out.Report.Verdict != verify.Rejected {
				t.Errorf("%s: another %s is %s", s.Name, field.name, out.Report.Verdict)
			}
		}
	}
}
