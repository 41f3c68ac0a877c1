package verify_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/ledger"
	"github.com/assaylab/assay/verify"
)

func image(b []byte) *verify.Image {
	return &verify.Image{Image: diff.Image{Name: "image", ReaderAt: bytes.NewReader(b), Size: int64(len(b))}, Kind: "file"}
}

func policy(t testing.TB, name string) verify.Policy {
	t.Helper()
	p, err := verify.LoadPolicy(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// diffImages compares two images and holds the outcome to what is true of every
// outcome.
func diffImages(t testing.TB, ref, dep *verify.Image, p verify.Policy) *verify.Outcome {
	t.Helper()
	out, err := verify.Diff(context.Background(), ref, dep, nil, p, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sound(t, out.Report, dep.Size)
	return out
}

// diffBytes is diffImages on images of few bytes: the verdict is identical if and
// only if they are, and an accepted image differs only where something was
// explained or carried.
func diffBytes(t testing.TB, ref, dep []byte, p verify.Policy) *verify.Outcome {
	t.Helper()
	out := diffImages(t, image(ref), image(dep), p)
	r := out.Report
	if same := bytes.Equal(ref, dep); (r.Verdict == verify.Identical) != same {
		t.Errorf("verdict %s, and the images being equal is %v", r.Verdict, same)
	}
	if r.Verdict == verify.Explained {
		for _, e := range out.Ledger.Entries {
			if e.Stream != 0 || e.Op != ledger.OpCopy {
				continue
			}
			if !bytes.Equal(ref[e.Ref.Off:e.Ref.End()], dep[e.Dep.Off:e.Dep.End()]) {
				t.Errorf("entry %+v is called a copy", e)
			}
		}
	}
	return out
}

// twice compares once more and demands the same report, byte for byte.
func twice(t testing.TB, ref, dep []byte, p verify.Policy, first *verify.Outcome) {
	t.Helper()
	again := diffImages(t, image(ref), image(dep), p)
	if a, b := encode(t, first.Report), encode(t, again.Report); !bytes.Equal(a, b) {
		t.Errorf("two reports on the same images:\n%s\n%s", a, b)
	}
}

func encode(t testing.TB, r *verify.Report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := verify.EncodeJSON(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sound checks what is true of every report on an image of size bytes.
func sound(t testing.TB, r *verify.Report, size int64) {
	t.Helper()
	sum := func(c verify.Classes) int64 {
		return c.Identical + c.Moved + c.Explained + c.Carried + c.Unexplained
	}
	n := r.Totals
	if got := n.Identical + n.Moved + n.Explained + n.Carried + n.Unexplained; got != size || r.Deployed.Size != size {
		t.Errorf("totals %+v add up to %d, the image has %d bytes, the report says %d", n, got, size, r.Deployed.Size)
	}
	var rows verify.Classes
	for _, s := range r.Sections {
		if sum(s.Classes) != s.Size {
			t.Errorf("row %+v does not add up", s)
		}
		if s.Stream == 0 {
			rows.Identical += s.Identical
			rows.Moved += s.Moved
			rows.Explained += s.Explained
			rows.Carried += s.Carried
			rows.Unexplained += s.Unexplained
		}
	}
	if want := (verify.Classes{Identical: n.Identical, Moved: n.Moved, Explained: n.Explained, Carried: n.Carried, Unexplained: n.Unexplained}); len(r.Sections) > 0 && rows != want {
		t.Errorf("the rows add up to %+v, the totals are %+v", rows, want)
	}
	limits, missing := 0, int64(0)
	for _, f := range r.Findings {
		if f.Path == "" || f.Message == "" || f.Kind == "" || f.Offset < 0 || f.Length <= 0 {
			t.Errorf("a finding that says too little: %+v", f)
		}
		if (f.RootOffset == nil) != (f.Kind == verify.KindMissing && f.Stream == 0) && f.Kind != verify.KindLimit {
			t.Errorf("%s: its place in the image as received: %v", f.Path, f.RootOffset)
		}
		if f.RootOffset != nil && (*f.RootOffset < 0 || *f.RootLength < 0 || *f.RootOffset+*f.RootLength > size) {
			t.Errorf("%s: stands at %d+%d of %d bytes", f.Path, *f.RootOffset, *f.RootLength, size)
		}
		switch f.Kind {
		case verify.KindLimit:
			limits++
		case verify.KindMissing:
			missing += f.Length
		}
	}
	accepted := r.Verdict == verify.Explained || r.Verdict == verify.Identical
	switch {
	case accepted && (len(r.Findings) > 0 || n.Moved+n.Unexplained+n.Missing > 0):
		t.Errorf("verdict %s with findings %+v, totals %+v", r.Verdict, r.Findings, n)
	case !accepted && len(r.Findings) == 0:
		t.Errorf("verdict %s without a finding", r.Verdict)
	case r.Verdict == verify.Undecided && limits != len(r.Findings):
		t.Errorf("undecided with findings that are no limits: %+v", r.Findings)
	case r.Verdict == verify.Rejected && limits == len(r.Findings):
		t.Errorf("rejected for limits alone: %+v", r.Findings)
	case limits == 0 && missing != n.Missing:
		t.Errorf("findings of %d missing bytes, totals of %d", missing, n.Missing)
	case r.Verdict == verify.Identical && (r.FreeBits != 0 || n.Identical != size):
		t.Errorf("identical with %d free bits, totals %+v", r.FreeBits, n)
	}
}
