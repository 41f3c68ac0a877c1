package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assaylab/assay/testdata/firmware"
	"github.com/assaylab/assay/verify"
)

// assay runs the program and returns what it printed and its exit code.
func assay(args ...string) (stdout, stderr string, code int) {
	var out, err bytes.Buffer
	code = run(append([]string{"assay"}, args...), &out, &err)
	return out.String(), err.String(), code
}

// The embedded delivery: a small firmware of our own, a gzip'd cpio inside a
// FIT, rebuilt in the sandbox and compared in three ways.
func TestFirmware(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a firmware four times")
	}
	const date, later = "2026-01-02T03:04:05Z", "2026-03-14T15:09:26Z"
	dir := t.TempDir()
	recipe, err := firmware.Recipe(t.Context(), dir, date)
	if err != nil {
		t.Fatal(err)
	}
	built := filepath.Join(dir, "built")
	if _, stderr, code := assay("rebuild", "--out", built, recipe); code != 0 {
		if strings.Contains(stderr, "no sandbox") {
			t.Skipf("SKIP-NAMESPACE: %s", stderr)
		}
		t.Fatalf("rebuild: exit code %d\n%s", code, stderr)
	}
	reference := filepath.Join(built, "build-1", firmware.Image)
	for _, test := range []struct {
		name, date string
		weak       bool
		code       int
		verdict    verify.Verdict
	}{
		{"delivered", date, false, 0, verify.Identical},
		{"dated", later, false, 0, verify.Explained},
		{"weakened", later, true, 1, verify.Rejected},
	} {
		t.Run(test.name, func(t *testing.T) {
			image, err := firmware.Build(t.Context(), t.TempDir(), test.date, test.weak)
			if err != nil {
				t.Fatal(err)
			}
			delivery := filepath.Join(t.TempDir(), "delivery.yaml")
			text := fmt.Sprintf("version: 1\nname: %s\ndeployed: {path: %q}\nreference: {path: %q}\n", test.name, image, reference)
			if err := os.WriteFile(delivery, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			evidence := filepath.Join(t.TempDir(), "evidence")
			stdout, stderr, code := assay("check", "-o", "json", "--evidence", evidence, delivery)
			if code != test.code {
				t.Fatalf("exit code %d, want %d\n%s%s", code, test.code, stdout, stderr)
			}
			var r verify.Report
			if err := json.Unmarshal([]byte(stdout), &r); err != nil {
				t.Fatal(err)
			}
			if r.Verdict != test.verdict {
				t.Errorf("%s, want %s", r.Verdict, test.verdict)
			}
			n := r.Totals
			if sum := n.Identical + n.Moved + n.Explained + n.Carried + n.Unexplained; sum != r.Deployed.Size {
				t.Errorf("totals of %d bytes for an image of %d", sum, r.Deployed.Size)
			}
			if test.verdict == verify.Explained && r.FreeBits != 32 {
				t.Errorf("%d free bits for one date", r.FreeBits)
			}
			if test.weak {
				f := r.Findings[0]
				if f.Kind != verify.KindUnexplained || !strings.HasSuffix(f.Path, "bin/blinky:.text") || f.Length > 4 || len(r.Explanations) == 0 {
					t.Errorf("the worst finding is %+v, beside %d explanations", f, len(r.Explanations))
				}
			}
			if _, stderr, code := assay("recheck", "-q", evidence, reference, image); code != test.code {
				t.Errorf("recheck: exit code %d, want %d\n%s", code, test.code, stderr)
			}
		})
	}
}
