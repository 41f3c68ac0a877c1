package verify_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/ledger"
	"github.com/assaylab/assay/verify"
)

// TestFlip changes every byte of every sample, one at a time. A policy that
// allows no difference rejects each, with a finding that covers the byte or its
// layer; the standard policy accepts one only for a value in a field of time,
// and says so of that byte.
func TestFlip(t *testing.T) {
	for _, s := range append(difftest.Samples(), difftest.Nested()...) {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			flip(t, s.Data)
		})
	}
}

func flip(t *testing.T, ref []byte) {
	masks := []byte{0x01, 0x80, 0xff}
	strict, standard := policy(t, "identical"), policy(t, "standard")
	accepted := 0
	dep := bytes.Clone(ref)
	for i := 0; i < len(ref); i += stride(ref, i) {
		dep[i] ^= masks[i%len(masks)]
		out := diffBytes(t, ref, dep, standard)
		if i%509 == 0 {
			twice(t, ref, dep, standard, out)
		}
		switch out.Report.Verdict {
		case verify.Explained:
			accepted++
			if !explains(out, i, "time-field", "date-text", "id-field") {
				t.Errorf("byte %d: accepted, and no value explains it: %+v", i, out.Report.Explanations)
			}
		default:
			// A length that is what the deployed layout pairs is a right one: what does not
			// fit is found beside it.
			if !finds(out.Report, i) && !explains(out, i, "size") {
				t.Errorf("byte %d: standard: %s, and nothing is found there: %+v", i, out.Report.Verdict, out.Report.Findings)
			}
		}
		again := *out.Report
		j := verify.Judge(out.Ledger, strict)
		again.Policy, again.Verdict, again.Findings, again.Sections = strict, j.Verdict, j.Findings, j.Sections
		if i%61 == 0 {
			again = *diffBytes(t, ref, dep, strict).Report
		}
		sound(t, &again, int64(len(dep)))
		if v := again.Verdict; v != verify.Rejected && v != verify.Undecided {
			t.Errorf("byte %d: identical: %s", i, v)
		}
		if !finds(&again, i) {
			t.Errorf("byte %d: identical: nothing is found there: %+v", i, again.Findings)
		}
		dep[i] = ref[i]
		if t.Failed() {
			t.Fatalf("byte %d of %d, mask %02x", i, len(ref), masks[i%len(masks)])
		}
	}
	t.Logf("%d of %d bytes may hold other values", accepted, len(ref))
}

// stride goes byte by byte, but faster through long runs of zeros where the
// sample is large or tests are to be short.
func stride(b []byte, i int) int {
	const run = 64
	if len(b) > 16<<10 {
		if i > run && i+2*run < len(b) && bytes.Count(b[i-run:i+2*run], []byte{0}) == 3*run {
			return 257
		}
		return 7
	}
	if (testing.Short() || len(b) > 4<<10) && i > run && i+2*run < len(b) && bytes.Count(b[i-run:i+2*run], []byte{0}) == 3*run {
		return 13
	}
	return 1
}

// explains says whether what one of the rules explains is said to stand at byte i of
// the image as received, or in a layer that does.
func explains(out *verify.Outcome, i int, rules ...string) bool {
	roots := out.Ledger.Roots()
	for _, e := range out.Report.Explanations {
		at := roots[e.Stream]
		if e.Stream == 0 {
			at = ledger.Range{Off: e.Offset, Len: e.Length}
		}
		if slices.Contains(rules, e.Rule) && at.Contains(ledger.Range{Off: int64(i), Len: 1}) {
			return true
		}
	}
	return false
}

// finds says whether a finding covers byte i of the image as received, or a
// layer that does. What is missing from an image of the same size is missing
// where it was.
func finds(r *verify.Report, i int) bool {
	for _, f := range r.Findings {
		off, n := f.Offset, f.Length
		if f.RootOffset != nil {
			off, n = *f.RootOffset, *f.RootLength
		}
		if off <= int64(i) && int64(i) < off+n && strings.TrimSpace(f.Message) != "" {
			return true
		}
	}
	return false
}
