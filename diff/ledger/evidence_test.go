package ledger_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	. "github.com/assaylab/assay/diff/ledger"
)

// evidence is a ledger with one of everything, its two images, and its stored form.
func evidence(t testing.TB) (ref, dep []byte, l *Ledger, stored []byte) {
	t.Helper()
	const text0, text1 = "built 2024-01-02, id", "built 2025-01-02, id"
	h, g := sound, sound
	g.time++
	a, b := h.image(), g.image()
	ref = append(append(bytes.Clone(a), flipped(text0)...), strings.Repeat("moved", 8)+"gone"...)
	dep = append(append(bytes.Clone(b), flipped(text1)...), strings.Repeat("moved", 16)+"new"...)
	n, m := int64(len(a)), int64(len(text0)+1)
	tm, hc := field(ref[:n], 0, "time"), field(ref[:n], 0, "hcrc")
	tm.Place.In = &Place{Format: "opens@1", At: Range{0, int64(len(ref))}}
	hc.Place.In = tm.Place.In
	hc.Path, hc.Rule, hc.Note = "header", "checksum", "recomputed"
	last := none(3)
	last.Limit = "time"
	l, err := check(t, ref, dep, []Stream{{Codec: "flip@1", RefSetting: "plain", DepSetting: "plain"}},
		cp(0, 8), tm, cp(12, 4), hc, cp(20, n-20), Entry{Op: OpCarry, Carry: 1, Ref: Range{n, m}}, cp(n+m, 40), mv(0, n+m, 40), last,
		Entry{Stream: 1, Op: OpCopy, Ref: Range{0, 6}},
		Entry{Stream: 1, Op: OpTime, Ref: Range{6, 10}, Spec: &Spec{Op: OpTime, Enc: "2006-01-02"}, Path: "text"},
		Entry{Stream: 1, Op: OpCopy, Ref: Range{16, 4}})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Totals{Identical: n - 8 + 40, Explained: 8 + m, Moved: 40, Unexplained: 3, Missing: 4}); l.Totals != want {
		t.Fatalf("%+v, want %+v", l.Totals, want)
	}
	l.Missing[0].Path = "tail"
	var out bytes.Buffer
	if _, err := l.Encode(&out); err != nil {
		t.Fatal(err)
	}
	return ref, dep, l, out.Bytes()
}

func recheck(ref, dep, stored []byte) (*Ledger, error) {
	return Recheck(context.Background(), bytes.NewReader(stored), img(ref), img(dep), tools())
}

// resealed gives stored lines the digest that fits them, as anyone can.
func resealed(stored []byte) []byte {
	i := bytes.LastIndexByte(bytes.TrimSuffix(stored, []byte("\n")), '\n') + 1
	return fmt.Appendf(bytes.Clone(stored[:i]), "{\"sha256\":\"%x\"}\n", sha256.Sum256(stored[:i]))
}

func TestStoredForm(t *testing.T) {
	ref, dep, l, stored := evidence(t)
	again, err := recheck(ref, dep, stored)
	if err != nil {
		t.Fatal(err)
	}
	if again.FreeBits != l.FreeBits || again.Missing[0].Path != "tail" {
		t.Errorf("%+v", again)
	}
	if !bytes.Equal(resealed(stored), stored) {
		t.Error("the last line does not hold the digest of those before")
	}
	lines := strings.Split(string(stored), "\n")
	if want := 1 + len(l.Streams) + len(l.Entries) + len(l.Missing) + 2 + 1; len(lines) != want {
		t.Errorf("%d lines, want %d", len(lines), want)
	}
	for _, line := range []string{
		`{"stream":0,"at":[0,8],"verdict":"identical","op":"copy","ref":[0,8],"path":""}`,
		`{"stream":0,"at":[8,4],"verdict":"explained","bits":32,"op":"time","ref":[8,4],"path":"","spec":{"op":"time","enc":"u32be"},"place":{"format":"hdr@1","at":{"off":0,"len":160},"field":"time","in":{"format":"opens@1","at":{"off":0,"len":225}}}}`,
		`{"missing":[221,4],"stream":0,"path":"tail"}`,
		`{"totals":{"identical":192,"moved":40,"explained":29,"carried":0,"unexplained":3,"missing":4},"free_bits":91}`,
	} {
		if !strings.Contains(string(stored), line+"\n") {
			t.Errorf("no line\n%s in\n%s", line, stored)
		}
	}
}

// Every byte of the deployed image and of the reference, flipped.
func TestRecheckOtherImages(t *testing.T) {
	ref, dep, _, stored := evidence(t)
	for _, side := range [][]byte{ref, dep} {
		for i := range side {
			for _, x := range []byte{1, 0x80} {
				side[i] ^= x
				if _, err := recheck(ref, dep, stored); !errors.Is(err, ErrInvalid) {
					t.Errorf("byte %d changed: %v, want ErrInvalid", i, err)
				}
				side[i] ^= x
			}
		}
	}
	for _, other := range [][]byte{nil, dep[:len(dep)-1], append(bytes.Clone(dep), 0)} {
		if _, err := recheck(ref, other, stored); !errors.Is(err, ErrInvalid) {
			t.Errorf("an image of %d bytes: %v, want ErrInvalid", len(other), err)
		}
	}
}

// Another image of the same size, where every byte stands unexplained: the
// ledger replays, and still is not about it.
func TestRecheckUnexplainedLedger(t *testing.T) {
	ref, dep := []byte("reference"), []byte("deployed!")
	l, err := check(t, ref, dep, nil, none(9))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := l.Encode(&out); err != nil {
		t.Fatal(err)
	}
	if _, err := recheck(ref, dep, out.Bytes()); err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		for _, b := range [][]byte{ref, dep} {
			b[i] ^= 1
			if _, err := recheck(ref, dep, out.Bytes()); !errors.Is(err, ErrInvalid) {
				t.Errorf("byte %d: %v", i, err)
			}
			b[i] ^= 1
		}
	}
}

// labels are the parts of a stored ledger that are for people and settle nothing:
// path, rule, note and limit of an entry that is not refused, the path of a hole.
// unlabelled gives all the rest, which Recheck binds.
func unlabelled(l *Ledger) string {
	var b strings.Builder
	for _, e := range l.Entries {
		e.Path, e.Rule, e.Note, e.Limit = "", "", "", ""
		s, p := e.Spec, e.Place
		e.Spec, e.Place = nil, nil
		if p != nil { // any extent will do that parses to the same field
			p = &Place{Format: p.Format, Field: p.Field}
		}
		fmt.Fprintf(&b, "%+v %+v %+v\n", e, s, p)
	}
	for _, m := range l.Missing {
		m.Path = ""
		fmt.Fprintf(&b, "%+v\n", m)
	}
	for _, s := range l.Streams {
		format := s.Place.Format
		s.Place = nil
		fmt.Fprintf(&b, "%+v %s\n", s, format)
	}
	fmt.Fprintf(&b, "%+v %+v %+v %d", l.Reference, l.Deployed, l.Totals, l.FreeBits)
	return b.String()
}

// Every byte of the stored ledger changed in several ways, dropped and doubled:
// nothing passes. With the digest made to fit, only labels may have changed.
func TestEveryByteOfTheEvidence(t *testing.T) {
	ref, dep, l, stored := evidence(t)
	want := unlabelled(l)
	passed := 0
	try := func(i int, bad []byte) {
		t.Helper()
		if bytes.Equal(bad, stored) {
			return
		}
		if _, _, err := Decode(bytes.NewReader(bad)); !errors.Is(err, ErrInvalid) {
			t.Errorf("byte %d: %v, want ErrInvalid: %q", i, err, near(bad, i))
		}
		bad = resealed(bad)
		if bytes.Equal(bad, stored) {
			return
		}
		got, err := recheck(ref, dep, bad)
		if err == nil {
			passed++
			if unlabelled(got) != want {
				t.Errorf("byte %d passes resealed: %q", i, near(bad, i))
			}
		} else if !errors.Is(err, ErrInvalid) {
			t.Errorf("byte %d: %v, want ErrInvalid", i, err)
		}
	}
	for i := range stored {
		for _, c := range []byte{stored[i] ^ 1, '9', '"', '-'} {
			bad := bytes.Clone(stored)
			bad[i] = c
			try(i, bad)
		}
		try(i, append(bytes.Clone(stored[:i]), stored[i+1:]...))
		try(i, append(append(bytes.Clone(stored[:i]), stored[i]), stored[i:]...))
	}
	if passed == 0 {
		t.Error("not even a label may change: the test looks at nothing")
	}
	for i := range stored {
		if _, err := recheck(ref, dep, stored[:i]); !errors.Is(err, ErrInvalid) {
			t.Errorf("cut after %d bytes: %v", i, err)
		}
	}
	for _, tail := range []string{"\n", " ", "{}", string(stored)} {
		if _, err := recheck(ref, dep, append(bytes.Clone(stored), tail...)); !errors.Is(err, ErrInvalid) {
			t.Errorf("followed by %.10q: %v", tail, err)
		}
	}
}

func near(b []byte, i int) []byte { return b[min(max(0, i-20), len(b)):min(len(b), i+20)] }

// Claims of a stored ledger about itself, each made false and sealed again.
func TestFalseClaims(t *testing.T) {
	ref, dep, _, stored := evidence(t)
	for _, test := range []struct{ from, to string }{
		{`"verdict":"unexplained","bits":24`, `"verdict":"explained","bits":24`},
		{`"verdict":"unexplained","bits":24`, `"verdict":"unexplained"`},
		{`"verdict":"moved"`, `"verdict":"identical"`},
		{`"verdict":"explained","bits":32`, `"verdict":"explained","bits":31`},
		{`"unexplained":3,"missing":4`, `"unexplained":0,"missing":4`},
		{`"unexplained":3,"missing":4`, `"unexplained":3,"missing":0`},
		{`"missing":4},"free_bits":91`, `"missing":4},"free_bits":0`},
		{`{"missing":[221,4],"stream":0,"path":"tail"}` + "\n", ``},
		{`{"missing":[221,4]`, `{"missing":[221,3]`},
		{`"reproduced":true,"bits":0`, `"reproduced":false,"bits":0`},
		{`"reproduced":true,"bits":0`, `"reproduced":true,"bits":1`},
		{`"dep_setting":"plain"`, `"dep_setting":"other"`},
		{`"codec":"flip@1"`, `"codec":"gather"`},
		{`"codec":"flip@1"`, `"codec":"none@1"`},
		{`"enc":"u32be"}`, `"enc":"u32le"}`},
		{`"field":"time"`, `"field":"uuid"`},
		{`"schema":"assay.dev/ledger/v1"`, `"schema":"assay.dev/ledger/v2"`},
		{`"entries":12`, `"entries":11`},
		{`"entries":12`, `"entries":9223372036854775807`},
		{`"streams":1`, `"streams":-1`},
		{`"path":"header"`, `"path": "header"`},
		{`"path":"header"`, `"Path":"header"`},
		{`"path":"header"`, `"path":"header","path":"header"`},
		{`"path":"header"`, `"path":"h\u0065ader"`},
		{`"path":"header"`, `"path":"header","more":1`},
		{`"at":[0,8]`, `"at":[0,8,9]`},
		{`"at":[0,8]`, `"at":[0,8.0]`},
		{`"at":[0,8]`, `"at":[0,08]`},
		{`"at":[0,8]`, `"at":[0,9223372036854775808]`},
		{`"op":"copy"`, `"op":"copy","from":0`},
	} {
		bad := strings.Replace(string(stored), test.from, test.to, 1)
		if bad == string(stored) {
			t.Errorf("no %s in the ledger", test.from)
			continue
		}
		if strings.Contains(test.from, `{"missing":[`) && test.to == "" {
			bad = strings.Replace(bad, `"missing":1}`, `"missing":0}`, 1)
		}
		if _, err := recheck(ref, dep, resealed([]byte(bad))); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s for %s: %v", test.to, test.from, err)
		}
	}
	// What is not bound: labels. They may change, and change nothing.
	bad := strings.Replace(string(stored), `"note":"recomputed"`, `"note":"trust me"`, 1)
	got, err := recheck(ref, dep, resealed([]byte(bad)))
	if err != nil || got.Totals.Unexplained != 3 {
		t.Errorf("a changed note: %v", err)
	}
}

// A recheck without the tools, or with other ones, comes to other verdicts.
func TestRecheckWithoutTools(t *testing.T) {
	ref, dep, _, stored := evidence(t)
	for name, change := range map[string]func(*Tools){
		"no tools":   func(x *Tools) { *x = Tools{} },
		"no codecs":  func(x *Tools) { x.Codecs = nil },
		"no scratch": func(x *Tools) { x.Scratch = nil },
		"no places":  func(x *Tools) { x.Places = nil },
		"a nil table": func(x *Tools) {
			x.Places = func(context.Context, string, Image) (PlaceTable, error) { return nil, nil }
		},
		"a nil spec": func(x *Tools) {
			x.Places = func(context.Context, string, Image) (PlaceTable, error) { return lax{}, nil }
		},
		"no such format": func(x *Tools) {
			x.Places = func(context.Context, string, Image) (PlaceTable, error) { return nil, io.EOF }
		},
	} {
		tool := tools()
		change(&tool)
		_, err := Recheck(t.Context(), bytes.NewReader(stored), img(ref), img(dep), tool)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

type lax struct{ anything }

func (lax) Field(Range, string) (*Spec, bool)               { return nil, true }
func (lax) Derived(*Derivation, int64) (PlaceTable, string) { return lax{}, "" }

func TestEncodeRefusesWhatItCouldNotReadBack(t *testing.T) {
	for _, l := range []*Ledger{
		{Entries: []Entry{{Path: "\xff"}}},
		{Entries: []Entry{{Place: &Place{Field: "a\x80b"}}}},
		{Streams: []Stream{{Codec: "\xc0"}}},
		{Missing: []Hole{{Path: "\xed\xa0\x80"}}},
		{Entries: []Entry{{Note: strings.Repeat("x", 1<<20)}}},
	} {
		if _, err := l.Encode(io.Discard); err == nil {
			t.Errorf("%.100v is written", l)
		}
	}
	for _, s := range []string{"\ufffd", `\ufffd`, `\\ufffd`, "a\u2028b", "\x00\x1b[2J", "<&>", "\"\\\n", strings.Repeat("\\", 1000)} {
		l := &Ledger{Entries: []Entry{{Path: s}}}
		var out bytes.Buffer
		if _, err := l.Encode(&out); err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		back, _, err := Decode(&out)
		if err != nil || back.Entries[0].Path != s {
			t.Errorf("%q does not come back: %v", s, err)
		}
	}
}

// A changing image says so, wherever the change is met.
func TestChangingImage(t *testing.T) {
	ref, dep, l, _ := evidence(t)
	for which := range 2 {
		for at := 0; at < len(dep) && at < len(ref); at += 9 {
			for after := range 6 {
				c := &changing{b: bytes.Clone([][]byte{ref, dep}[which]), at: at, after: after}
				sides := [2]Image{img(ref), img(dep)}
				sides[which] = Image{c, int64(len(c.b))}
				again := &Ledger{Streams: l.Streams, Entries: append([]Entry(nil), l.Entries...)}
				err := again.Check(t.Context(), sides[0], sides[1], tools())
				switch {
				case c.reads <= after: // it was not read again
				case after == 0 && errors.Is(err, ErrInvalid): // it was another image from the start
				case after == 0 && err == nil && again.Reference == l.Reference && again.Deployed == l.Deployed:
					t.Errorf("side %d, byte %d: another image, and no word", which, at)
				case after > 0 && !errors.Is(err, ErrChanged):
					t.Errorf("side %d, byte %d after %d reads: %v", which, at, after, err)
				}
			}
		}
	}
}

// changing flips a byte after some reads.
type changing struct {
	b         []byte
	at, after int
	reads     int
}

func (c *changing) ReadAt(p []byte, off int64) (int, error) {
	if c.reads == c.after {
		c.b[c.at] ^= 1
	}
	c.reads++
	return bytes.NewReader(c.b).ReadAt(p, off)
}

// A tool that swallows the error of a read does not hide it.
func TestSwallowedChange(t *testing.T) {
	other := sound
	other.time++
	ref := append(sound.image(), make([]byte, 200<<10)...)
	dep := append(other.image(), make([]byte, 200<<10)...)
	n := int64(len(ref))
	for _, change := range []bool{false, true} {
		c := &changing{b: bytes.Clone(ref), at: 100 << 10, after: 1 << 30}
		tool := tools()
		tool.Places = func(_ context.Context, _ string, in Image) (PlaceTable, error) {
			if change {
				c.after = c.reads
			}
			in.ReadAt(make([]byte, in.Size), 0)
			return hdrFields(ref), nil
		}
		l := &Ledger{Entries: []Entry{cp(0, 8), field(ref, 0, "time"), cp(12, 4), none(4), cp(20, n-20)}}
		at := int64(0)
		for i, size := range []int64{8, 4, 4, 4, n - 20} {
			l.Entries[i].Dep = Range{at, size}
			at += size
		}
		err := l.Check(t.Context(), Image{c, n}, img(dep), tool)
		if errors.Is(err, ErrChanged) != change || !change && err != nil {
			t.Errorf("changed %v: %v", change, err)
		}
	}
}

func TestCancelled(t *testing.T) {
	ref, dep, l, stored := evidence(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Check(ctx, img(ref), img(dep), tools()); !errors.Is(err, context.Canceled) {
		t.Errorf("Check: %v", err)
	}
	if _, err := Recheck(ctx, bytes.NewReader(stored), img(ref), img(dep), tools()); !errors.Is(err, context.Canceled) || errors.Is(err, ErrInvalid) {
		t.Errorf("Recheck: %v", err)
	}
}
