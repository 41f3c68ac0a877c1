package ledger_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	. "github.com/assaylab/assay/diff/ledger"
)

// nested is an image whose payload is an image, behind it some text.
func nested(in hdr, text string) []byte {
	out := sound
	out.payload = string(in.image()) + text
	return out.image()
}

// A ledger that calls a checksum or a length a copy, which it is, does not keep it from
// having to hold, at whatever depth.
func TestStandingFields(t *testing.T) {
	in := sound
	in.payload = "built 2024-01-02 10:20:30 here"
	ref := nested(in, "")
	in.payload = "built 2025-03-04 10:20:30 here"
	dep := nested(in, "")
	at := int64(bytes.Index(ref, []byte("2024-01-02")))
	fields := hdrFields(ref)
	inner := hdrFields(ref[hdrLen:])
	// The honest account, in which every field that differs has its proof.
	account := func(leave string) []Entry {
		var own []Entry
		for base, fs := range map[int64]hdrTable{0: fields, hdrLen: inner} {
			for _, f := range fs {
				r := Range{f.at.Off + base, f.at.Len}
				if !bytes.Equal(ref[r.Off:r.End()], dep[r.Off:r.End()]) && leave != f.name+"@"+map[int64]string{0: "outer", hdrLen: "inner"}[base] {
					own = append(own, field(ref, base, f.name))
				}
			}
		}
		own = append(own, text(at, 19, "2006-01-02 15:04:05"))
		slices.SortFunc(own, func(a, b Entry) int { return int(a.Ref.Off - b.Ref.Off) })
		var out []Entry
		to := int64(0)
		for _, e := range own {
			if e.Ref.Off > to {
				out = append(out, cp(to, e.Ref.Off-to))
			}
			out = append(out, e)
			to = e.Ref.End()
		}
		return append(out, cp(to, int64(len(ref))-to))
	}
	l, err := check(t, ref, dep, nil, account("")...)
	if err != nil || !clean(l) || l.FreeBits != 32 {
		t.Fatalf("the honest account: %v, %+v, %d bits", err, l.Totals, l.FreeBits)
	}
	proven := 0
	for _, x := range []struct {
		at   string
		base int64
		fs   hdrTable
	}{{"inner", hdrLen, inner}, {"outer", 0, fields}} {
		for _, f := range x.fs {
			r := Range{f.at.Off + x.base, f.at.Len}
			if f.spec.Op != OpSum || bytes.Equal(ref[r.Off:r.End()], dep[r.Off:r.End()]) {
				continue
			}
			proven++
			// It is left as it was, and all that covers it follows.
			bad := bytes.Clone(dep)
			copy(bad[r.Off:r.End()], ref[r.Off:r.End()])
			if f.name != "hcrc" {
				resum(bad[x.base:])
			}
			if x.at == "inner" {
				n := int64(len(in.image()))
				binary.BigEndian.PutUint32(bad[4:], crc32.ChecksumIEEE(bad[hdrLen:hdrLen+n]))
				bad[44] = 0
				for _, c := range bad[hdrLen : hdrLen+n] {
					bad[44] += c
				}
				resum(bad)
			}
			l, err := check(t, ref, bad, nil, account(f.name+"@"+x.at)...)
			if err != nil {
				t.Fatal(err)
			}
			if clean(l) {
				t.Errorf("%s of the %s image is left as it was, and passes", f.name, x.at)
			}
			if !slices.ContainsFunc(l.Entries, func(e Entry) bool {
				return e.Verdict == Unexplained && strings.Contains(e.Note, "no longer fits") && e.Ref.Contains(r)
			}) {
				t.Errorf("%s of the %s image: not named", f.name, x.at)
			}
		}
	}
	if proven < 5 {
		t.Errorf("%d sums follow", proven)
	}
}

// A length that is left as it was, though there is more of what it measures.
func TestStandingNumber(t *testing.T) {
	ref := sound.image()
	n, size := int64(len(ref)), int64(len(sound.payload))
	table := hdrTable{{"size", Range{12, 4}, Spec{Op: OpNumber, Enc: "u32be", Over: []Span{{Range: Range{hdrLen, size}}}}}}
	tool := placed(table)
	tool.Formats = func(context.Context, Image) []string { return []string{"free@1"} }
	for _, stale := range []bool{false, true} {
		dep := slices.Concat(ref[:66], []byte("+"), ref[66:])
		e := Entry{Op: OpCopy}
		if !stale {
			binary.BigEndian.PutUint32(dep[12:], uint32(size)+1)
			e = Entry{Op: OpNumber, Spec: &table[0].spec, Place: &Place{Format: "free@1", At: Range{0, n}, Field: "size"}}
		}
		e.Dep, e.Ref = Range{12, 4}, Range{12, 4}
		l := &Ledger{Entries: []Entry{
			{Op: OpCopy, Dep: Range{0, 12}, Ref: Range{0, 12}},
			e,
			{Op: OpCopy, Dep: Range{16, 50}, Ref: Range{16, 50}},
			{Dep: Range{66, 1}},
			{Op: OpCopy, Dep: Range{67, n - 66}, Ref: Range{66, n - 66}},
		}}
		if err := l.Check(t.Context(), img(ref), img(dep), tool); err != nil {
			t.Fatal(err)
		}
		if e := l.Entries[1]; stale != (e.Verdict == Unexplained) {
			t.Errorf("left as it was: %v, verdict %s, %s", stale, e.Verdict, e.Note)
		}
	}
}

// A date that anchors itself stands in a text, not in what the layout knows.
func TestTextInAField(t *testing.T) {
	ref := []byte("name 2024-01-02 10:20:30 is a name" + strings.Repeat(".", 40) + "text 2024-01-02 10:20:30 is text")
	dep := bytes.ReplaceAll(ref, []byte("2024"), []byte("2025"))
	tool := placed(hdrTable{})
	tool.Formats = func(context.Context, Image) []string { return []string{"free@1"} }
	a, b := int64(bytes.Index(ref, []byte("2024"))), int64(bytes.LastIndex(ref, []byte("2024")))
	n := int64(len(ref))
	entries := []Entry{cp(0, a), text(a, 19, "2006-01-02 15:04:05"), cp(a+19, b-a-19), text(b, 19, "2006-01-02 15:04:05"), cp(b+19, n-b-19)}
	for i := range entries {
		entries[i].Dep = entries[i].Ref
	}
	l := &Ledger{Entries: entries}
	if err := l.Check(t.Context(), img(ref), img(dep), tool); err != nil {
		t.Fatal(err)
	}
	if l.Entries[1].Verdict != Unexplained || l.Entries[3].Verdict != Explained {
		t.Errorf("in the header %s, in the payload %s", l.Entries[1].Verdict, l.Entries[3].Verdict)
	}
	tool.Formats = nil
	if err := l.Check(t.Context(), img(ref), img(dep), tool); err != nil || !clean(l) {
		t.Errorf("where no format is known: %v, %+v", err, l.Totals)
	}
}

// What cannot be looked into for its size settles nothing but what is the same.
func TestStandingLimit(t *testing.T) {
	ref := []byte("text 2024-01-02 10:20:30 is text")
	dep := bytes.ReplaceAll(ref, []byte("2024"), []byte("2025"))
	for _, x := range []struct {
		err   error
		clean bool
	}{{errors.New("not so"), true}, {ErrLimit, false}} {
		tool := tools()
		tool.Formats = func(context.Context, Image) []string { return []string{"free@1"} }
		tool.Places = func(context.Context, string, Image) (PlaceTable, error) { return nil, x.err }
		entries := []Entry{cp(0, 5), text(5, 19, "2006-01-02 15:04:05"), cp(24, 8)}
		for i := range entries {
			entries[i].Dep = entries[i].Ref
		}
		l := &Ledger{Entries: entries}
		if err := l.Check(t.Context(), img(ref), img(dep), tool); err != nil {
			t.Fatal(err)
		}
		if clean(l) != x.clean || l.Entries[0].Verdict != Identical && x.clean {
			t.Errorf("%v: clean %v", x.err, clean(l))
		}
	}
}

// A number in a stream that the ledger does not make still measures what has grown.
func TestStandingOuter(t *testing.T) {
	// A text, and a table, inverted, that says how long it is.
	const was, now = "some text", "some+ text"
	size := func(n int) []byte { return flipped(string(binary.BigEndian.AppendUint32(nil, uint32(n)))) }
	ref := append([]byte(was), size(len(was))...)
	at, to := Range{int64(len(was)), 5}, Range{int64(len(now)), 5}
	layout := parts{makes: []partsStream{{
		Derivation{Codec: "flip@1", Pieces: []Piece{{At: at}}},
		hdrTable{{"size", Range{0, 4}, Spec{Op: OpNumber, Enc: "u32be", Over: []Span{{Range: Range{0, int64(len(was))}, Outer: true}}}}},
	}}}
	text := []Entry{{Op: OpCopy, Dep: Range{0, 4}, Ref: Range{0, 4}}, {Dep: Range{4, 1}}, {Op: OpCopy, Dep: Range{5, 5}, Ref: Range{4, 5}}}
	made := []Stream{{Codec: "flip@1", RefSetting: "plain", DepSetting: "plain"}}
	carry := Entry{Op: OpCarry, Carry: 1, Dep: to, Ref: at}
	field := Entry{Stream: 1, Op: OpNumber, Dep: Range{0, 4}, Ref: Range{0, 4}, Spec: &layout.makes[0].fields[0].spec, Place: &Place{Derived: true, Field: "size"}}
	left := Entry{Stream: 1, Op: OpCopy, Dep: Range{0, 4}, Ref: Range{0, 4}}
	for _, x := range []struct {
		name    string
		size    int
		streams []Stream
		entries []Entry
		stands  bool
	}{
		{"made", len(now), made, []Entry{carry, field}, true},
		{"made and left", len(was), made, []Entry{carry, left}, false},
		{"not made", len(was), nil, []Entry{{Op: OpCopy, Dep: to, Ref: at}}, false},
	} {
		l, err := checkParts(t, layout, ref, append([]byte(now), size(x.size)...), x.streams, slices.Concat(text, x.entries)...)
		if err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
		if got := l.Entries[len(l.Entries)-1].Verdict != Unexplained; got != x.stands {
			t.Errorf("%s: stands %v, %+v", x.name, got, l.Entries)
		}
	}
}

// A sum that the format lets stay may stay, and may follow, and be nothing else.
func TestSumThatMayStay(t *testing.T) {
	seed := func(id string) []byte {
		return binary.LittleEndian.AppendUint32([]byte(id), ^crc32.Checksum([]byte(id), crc32.MakeTable(crc32.Castagnoli)))
	}
	const old, now = "0123456789abcdef", "another id of 16"
	ref := seed(old)
	for _, x := range []struct {
		dep         []byte
		keep, clean bool
	}{
		{seed(now), true, true},
		{seed(now), false, true},
		{append([]byte(now), ref[16:]...), true, true},
		{append([]byte(now), ref[16:]...), false, false},
		{append([]byte(now), 1, 2, 3, 4), true, false},
	} {
		table := hdrTable{
			{"id", Range{0, 16}, Spec{Op: OpUUID, Enc: "raw"}},
			{"seed", Range{16, 4}, Spec{Op: OpSum, Alg: "crc32c-raw", Enc: "u32le", Keep: x.keep, Over: []Span{{Range: Range{0, 16}}}}},
		}
		tool := placed(table)
		tool.Formats = func(context.Context, Image) []string { return []string{"free@1"} }
		for _, named := range []bool{true, false} {
			entries := anchored(20, table)
			if !named && !bytes.Equal(x.dep[16:], ref[16:]) {
				continue
			} else if !named {
				entries[1] = Entry{Op: OpCopy, Dep: Range{16, 4}, Ref: Range{16, 4}}
			}
			l := &Ledger{Entries: entries}
			if err := l.Check(t.Context(), img(ref), img(x.dep), tool); err != nil {
				t.Fatal(err)
			}
			if clean(l) != x.clean || x.clean && l.FreeBits != 128 {
				t.Errorf("%x, may stay %v, named %v: clean %v, %d bits", x.dep[16:], x.keep, named, clean(l), l.FreeBits)
			}
		}
	}
}
