package ledger_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	. "github.com/assaylab/assay/diff/ledger"
)

// parts is a layout that makes streams, by what they are made of. A stream that is
// listed has fields of its own, or none.
type parts struct {
	makes []partsStream
}

type partsStream struct {
	made   Derivation
	fields hdrTable
}

func (parts) Field(Range, string) (*Spec, bool) { return nil, false }
func (parts) Opens(Range) bool                  { return false }
func (parts) HoldsText(Range) bool              { return true }
func (parts) Tight() bool                       { return false }
func (p parts) Derived(d *Derivation, _ int64) (PlaceTable, string) {
	for i := range p.makes {
		if m := &p.makes[i]; sameDerivation(&m.made, d) {
			if m.fields == nil {
				return anything{}, strconv.Itoa(i)
			}
			return m.fields, strconv.Itoa(i)
		}
	}
	return nil, ""
}

func (p parts) Each(v Visitor) error {
	for i := range p.makes {
		m := &p.makes[i]
		for j := range m.fields {
			f := &m.fields[j]
			if f.spec.Op != OpNumber || m.made.Pieces[0].From != nil {
				continue
			}
			if err := v.Outer(strconv.Itoa(i), m.made.Pieces[0].At, &f.spec); err != nil {
				return err
			}
		}
	}
	return nil
}

func sameDerivation(a, b *Derivation) bool {
	return a.Codec == b.Codec && slices.Equal(a.Zeros, b.Zeros) && slices.EqualFunc(a.Pieces, b.Pieces, func(x, y Piece) bool {
		if (x.From == nil) != (y.From == nil) || x.At != y.At || x.From != nil && x.Whole != y.Whole {
			return false
		}
		return x.From == nil || sameDerivation(x.From, y.From)
	})
}

// checkParts runs the kernel with a layout, "parts@1", of the whole image.
func checkParts(t *testing.T, layout parts, ref, dep []byte, streams []Stream, entries ...Entry) (*Ledger, error) {
	t.Helper()
	tool := tools()
	tool.Formats = func(_ context.Context, ref Image) []string { return []string{"parts@1"} }
	tool.Places = func(_ context.Context, format string, _ Image) (PlaceTable, error) {
		if format != "parts@1" {
			return nil, errors.New("not so")
		}
		return layout, nil
	}
	l := &Ledger{Streams: slices.Clone(streams), Entries: entries}
	for i := range l.Streams {
		if l.Streams[i].Place == nil {
			l.Streams[i].Place = &Place{Format: "parts@1", At: Range{0, int64(len(ref))}}
		}
	}
	at := map[int]int64{}
	for i := range entries {
		e := &entries[i]
		if e.Dep.Len == 0 {
			e.Dep.Len = e.Ref.Len
		}
		if e.Dep.Off == 0 {
			e.Dep.Off = at[e.Stream]
		}
		at[e.Stream] = e.Dep.End()
	}
	return l, l.Check(t.Context(), img(ref), img(dep), tool)
}

func pieceOf(stream, of, n int, off, size int64) Entry {
	return Entry{Stream: stream, Op: OpCarry, Carry: of, Piece: n, Ref: Range{off, size}}
}

// A date whose digits stand all over the code is no date: nothing in the reference
// says that they are one stream.
func TestGatherSpellsNoText(t *testing.T) {
	ref, dep := []byte("c2o0d2e4x-x0y5z-k0w1v"), []byte("c1o9d9e9x-x1y2z-k3w1v")
	date := "2024-05-01"
	var made Derivation
	made.Codec = Gather
	var entries []Entry
	var in []Entry
	at := int64(0)
	for i := range int64(len(ref)) {
		if i%2 == 1 {
			made.Pieces = append(made.Pieces, Piece{At: Range{i, 1}})
			entries = append(entries, pieceOf(0, 1, int(at), i, 1))
			at++
			continue
		}
		entries = append(entries, cp(i, 1))
	}
	if at != int64(len(date)) {
		t.Fatalf("%d digits", at)
	}
	in = append(in, Entry{Stream: 1, Op: OpTime, Ref: Range{0, 10}, Spec: &Spec{Op: OpTime, Enc: "2006-01-02"}})
	all := append(slices.Clone(entries), in...)
	if _, err := checkParts(t, parts{}, ref, dep, []Stream{{Codec: Gather}}, slices.Clone(all)...); !errors.Is(err, ErrInvalid) {
		t.Errorf("without a layout that says so: %v, want ErrInvalid", err)
	}
	// With one, it holds: the test tests what it says.
	l, err := checkParts(t, parts{[]partsStream{{made, nil}}}, ref, dep, []Stream{{Codec: Gather, RefSetting: "copy", DepSetting: "copy"}}, all...)
	if err != nil || !clean(l) || l.FreeBits != 16 {
		t.Errorf("with a layout: %v, %d bits", err, l.FreeBits)
	}
}

// What a gathered stream is made of, changed in every way from what the layout says.
func TestGatherAsTheLayoutSays(t *testing.T) {
	ref, dep := []byte("AAAA--BBBB--CCCC"), []byte("AAAA--BBxB--CCCC")
	made := Derivation{Codec: Gather, Zeros: []Zeros{{Before: 1, Len: 3}}, Pieces: []Piece{{At: Range{6, 4}}, {At: Range{0, 4}}, {At: Range{12, 4}}}}
	layout := parts{[]partsStream{{made, nil}}}
	base := func() ([]Stream, []Entry) {
		return []Stream{{Codec: Gather, RefSetting: "copy", DepSetting: "copy", Zeros: slices.Clone(made.Zeros)}}, []Entry{
			pieceOf(0, 1, 1, 0, 4), cp(4, 2), pieceOf(0, 1, 0, 6, 4), cp(10, 2), pieceOf(0, 1, 2, 12, 4),
			{Stream: 1, Op: OpCopy, Ref: Range{0, 2}},
			{Stream: 1, Dep: Range{2, 1}},
			{Stream: 1, Op: OpCopy, Dep: Range{3, 12}, Ref: Range{3, 12}},
		}
	}
	s, e := base()
	l, err := checkParts(t, layout, ref, dep, s, e...)
	if err != nil || l.Totals.Unexplained != 12 || l.Totals.Missing != 1 || l.Streams[0].RefLen != 15 {
		t.Fatalf("the honest form: %v, %+v", err, l)
	}
	for name, change := range map[string]func(s []Stream, e []Entry) []Entry{
		"other order":     func(_ []Stream, e []Entry) []Entry { e[0].Piece, e[2].Piece = 0, 1; return e },
		"no hole":         func(s []Stream, e []Entry) []Entry { s[0].Zeros = nil; return e },
		"a longer hole":   func(s []Stream, e []Entry) []Entry { s[0].Zeros[0].Len++; return e },
		"a hole of none":  func(s []Stream, e []Entry) []Entry { s[0].Zeros[0].Len = 0; return e },
		"a negative hole": func(s []Stream, e []Entry) []Entry { s[0].Zeros[0].Len = -1; return e },
		"a later hole":    func(s []Stream, e []Entry) []Entry { s[0].Zeros[0].Before = 2; return e },
		"two holes":       func(s []Stream, e []Entry) []Entry { s[0].Zeros = append(s[0].Zeros, s[0].Zeros[0]); return e },
		"a piece twice":   func(_ []Stream, e []Entry) []Entry { e[4].Piece = 1; return e },
		"a piece skipped": func(_ []Stream, e []Entry) []Entry { e[4].Piece = 3; return e },
		"a piece less":    func(_ []Stream, e []Entry) []Entry { e[4] = cp(12, 4); e[4].Dep = Range{12, 4}; return e },
		"a codec":         func(s []Stream, e []Entry) []Entry { s[0].Codec = "flip@1"; return e },
		"no place":        func(s []Stream, e []Entry) []Entry { s[0].Place = &Place{}; return e },
		"a place with a field": func(s []Stream, e []Entry) []Entry {
			s[0].Place = &Place{Format: "parts@1", At: Range{0, 16}, Field: "x"}
			return e
		},
		"a place of a part": func(s []Stream, e []Entry) []Entry {
			s[0].Place = &Place{Format: "parts@1", At: Range{0, 15}}
			return e
		},
		"a place of itself":  func(s []Stream, e []Entry) []Entry { s[0].Of = 1; return e },
		"a place of no pair": func(s []Stream, e []Entry) []Entry { s[0].Of = -1; return e },
		"a derived place":    func(s []Stream, e []Entry) []Entry { s[0].Place = &Place{Derived: true}; return e },
	} {
		s, e := base()
		e = change(s, e)
		if _, err := checkParts(t, layout, ref, dep, s, e...); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

// A table that is encoded itself says where, in the image, a block begins and how
// long it is; it stands in two streams above that.
func TestNumbersOfAnotherStream(t *testing.T) {
	table := func(start, size uint32) string {
		b := binary.LittleEndian.AppendUint32(nil, start*65536+0x11111)
		return string(binary.LittleEndian.AppendUint32(b, size|1<<24))
	}
	block, longer := flipped("block"), flipped("longer block")
	image := func(block []byte, start, size uint32) []byte {
		return slices.Concat([]byte("head"), block, []byte("-next-"), flipped(table(start, size)))
	}
	ref := image(block, 4+uint32(len(block))+6, uint32(len(block)))
	n, m := int64(len(block)), int64(len(longer))
	at := 4 + n + 6
	tableAt := Range{at, int64(len(ref)) - at}
	inner := Derivation{Codec: "flip@1", Pieces: []Piece{{At: tableAt}}}
	over := func(r Range) []Span { return []Span{{Range: r, Outer: true}} }
	start := Spec{Op: OpNumber, Enc: "u32le", Scale: 65536, Add: 0x11111, Over: over(Range{0, at})}
	size := Spec{Op: OpNumber, Enc: "u32le", Add: 1 << 24, Over: over(Range{4, n})}
	layout := parts{[]partsStream{
		{Derivation{Codec: "flip@1", Pieces: []Piece{{At: Range{4, n}}}}, nil},
		{inner, nil},
		{Derivation{Codec: Gather, Pieces: []Piece{{At: Range{0, 8}, From: &inner, Whole: true}}}, hdrTable{
			{"start", Range{0, 4}, start}, {"size", Range{4, 4}, size},
		}},
	}}
	run := func(dep []byte, change func([]Entry)) (*Ledger, error) {
		flip := Stream{Codec: "flip@1", RefSetting: "plain", DepSetting: "plain"}
		e := []Entry{
			cp(0, 4),
			{Op: OpCarry, Carry: 1, Ref: Range{4, n}, Dep: Range{4, m}},
			{Op: OpCopy, Dep: Range{4 + m, 6}, Ref: Range{4 + n, 6}},
			{Op: OpCarry, Carry: 2, Ref: tableAt, Dep: Range{4 + m + 6, int64(len(dep)) - 4 - m - 6}},
			{Stream: 1, Dep: Range{0, 7}},
			{Stream: 1, Op: OpCopy, Dep: Range{7, 5}, Ref: Range{0, 5}},
			pieceOf(2, 3, 0, 0, 8),
			{Stream: 3, Op: OpNumber, Ref: Range{0, 4}, Spec: &start, Place: &Place{Derived: true, Field: "start"}},
			{Stream: 3, Op: OpNumber, Ref: Range{4, 4}, Dep: Range{4, 4}, Spec: &size, Place: &Place{Derived: true, Field: "size"}},
		}
		if change != nil {
			change(e)
		}
		return checkParts(t, layout, ref, dep, []Stream{flip, flip, {Codec: Gather, RefSetting: "copy", DepSetting: "copy"}}, e...)
	}
	good := image(longer, 4+uint32(m)+6, uint32(m))
	l, err := run(good, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := l.Entries[7], l.Entries[8]; a.Verdict != Explained || b.Verdict != Explained || a.Bits+b.Bits != 0 {
		t.Errorf("%+v\n%+v", a, b)
	}
	for name, dep := range map[string][]byte{
		"another start": image(longer, 4+uint32(m)+7, uint32(m)),
		"the old start": image(longer, 4+uint32(n)+6, uint32(m)),
		"another size":  image(longer, 4+uint32(m)+6, uint32(m)-1),
	} {
		l, err := run(dep, nil)
		if err != nil {
			t.Fatal(err)
		}
		if l.Entries[7].Verdict == Explained && l.Entries[8].Verdict == Explained {
			t.Errorf("%s: explained", name)
		}
	}
	for name, change := range map[string]func([]Entry){
		"no such field":       func(e []Entry) { e[7].Place = &Place{Derived: true, Field: "size"} },
		"another place":       func(e []Entry) { e[7].Place = &Place{Derived: true, Field: "start", Format: "parts@1"} },
		"another extent":      func(e []Entry) { e[7].Place = &Place{Derived: true, Field: "start", At: Range{0, 8}} },
		"a layout around":     func(e []Entry) { e[7].Place = &Place{Derived: true, Field: "start", In: &Place{Derived: true}} },
		"another formula":     func(e []Entry) { s := start; s.Add++; e[7].Spec = &s },
		"another scale":       func(e []Entry) { s := start; s.Scale = 0; e[7].Spec = &s },
		"of this stream":      func(e []Entry) { s := start; s.Over = []Span{{Range: start.Over[0].Range}}; e[7].Spec = &s },
		"a constant measured": func(e []Entry) { s := start; s.Over = []Span{Literal([]byte{1})}; e[7].Spec = &s },
	} {
		l, err := run(good, change)
		if err == nil && l.Entries[7].Verdict == Explained {
			t.Errorf("%s: explained", name)
		}
	}
}

// Constants in a sum, and the checksums of ext4, by values worked out elsewhere:
// "123456789" has the CRC-32C 0xe3069283, with its last inversion, and the
// CRC-16/MODBUS 0x4b37; "12345abcd" has 0xb3b0c500 and 0xe6cd.
func TestRawSums(t *testing.T) {
	const was, now = ^uint32(0xe3069283), ^uint32(0xb3b0c500)
	for _, c := range []struct {
		alg      string
		enc      Enc
		ref, dep uint32
	}{
		{"crc32c-raw", "u32le", was, now},
		{"crc32c-raw-lo16", "u16le", was & 0xffff, now & 0xffff},
		{"crc32c-raw-hi16", "u16le", was >> 16, now >> 16},
		{"crc16-raw", "u16le", 0x4b37, 0xe6cd},
		{"crc32c-seed", "u32le", was, now},
		{"crc32c-seed-lo16", "u16le", was & 0xffff, now & 0xffff},
		{"crc32c-seed-hi16", "u16le", was >> 16, now >> 16},
	} {
		n := map[Enc]int{"u32le": 4, "u16le": 2}[c.enc]
		image := func(id string, sum uint32) []byte {
			return append([]byte(id), binary.LittleEndian.AppendUint32(nil, sum)[:n]...)
		}
		begin := []byte("12345")
		if strings.HasPrefix(c.alg, "crc32c-seed") {
			begin = binary.LittleEndian.AppendUint32(nil, ^crc32.Checksum(begin, crc32.MakeTable(crc32.Castagnoli)))
		}
		table := hdrTable{
			{"id", Range{0, 4}, Spec{Op: OpUUID, Enc: "id32"}},
			{"sum", Range{4, int64(n)}, Spec{Op: OpSum, Alg: c.alg, Enc: c.enc, Over: []Span{Literal(begin), {Range: Range{0, 4}}}}},
		}
		for _, x := range []struct {
			ref, dep []byte
			holds    bool
		}{
			{image("6789", c.ref), image("abcd", c.dep), true},
			{image("6789", c.ref), image("abcd", c.dep^1), false},
			{image("6789", c.ref), image("abcd", c.ref), false},
			{image("6789", c.ref^1), image("abcd", c.dep), false},
		} {
			l := &Ledger{Entries: anchored(int64(len(x.ref)), table)}
			if err := l.Check(t.Context(), img(x.ref), img(x.dep), placed(table)); err != nil {
				t.Fatal(err)
			}
			if clean(l) != x.holds {
				t.Errorf("%s: %x and %x: accepted %v", c.alg, x.ref, x.dep, clean(l))
			}
		}
	}
}

// Ids of four bytes and the times of FAT: once each, and nothing that is none.
func TestNarrowValues(t *testing.T) {
	id := func(b byte) []byte { return []byte{b, 1, 2, 3} }
	dos := func(date, clock uint16) []byte {
		return binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, clock), date)
	}
	day := func(y, m, d uint16) uint16 { return (y-1980)<<9 | m<<5 | d }
	date := func(d uint16) []byte { return binary.LittleEndian.AppendUint16(nil, d) }
	for _, c := range []struct {
		name     string
		enc      Enc
		op       Op
		ref, dep [][]byte
		bits     int64 // -1: not explained
	}{
		{"an id", "id32", OpUUID, [][]byte{id(1)}, [][]byte{id(9)}, 32},
		{"an id twice", "id32", OpUUID, [][]byte{id(1), id(1)}, [][]byte{id(9), id(9)}, 32},
		{"two ids", "id32", OpUUID, [][]byte{id(1), id(2)}, [][]byte{id(9), id(8)}, 64},
		{"two of one", "id32", OpUUID, [][]byte{id(1), id(1)}, [][]byte{id(9), id(8)}, -1},
		{"a time", "dos", OpTime, [][]byte{dos(day(2024, 5, 1), 0)}, [][]byte{dos(day(2025, 6, 2), 12<<11|30<<5|29)}, 32},
		{"a month that is none", "dos", OpTime, [][]byte{dos(day(2024, 5, 1), 0)}, [][]byte{dos(day(2025, 13, 2), 0)}, -1},
		{"an hour that is none", "dos", OpTime, [][]byte{dos(day(2024, 5, 1), 0)}, [][]byte{dos(day(2025, 6, 2), 24<<11)}, -1},
		{"a second that is none", "dos", OpTime, [][]byte{dos(day(2024, 5, 1), 0)}, [][]byte{dos(day(2025, 6, 2), 30)}, -1},
		{"no time in the reference", "dos", OpTime, [][]byte{dos(0, 0)}, [][]byte{dos(day(2025, 6, 2), 0)}, -1},
		{"a date", "dosdate", OpTime, [][]byte{date(day(2024, 5, 1))}, [][]byte{date(day(2025, 5, 1))}, 16},
		{"a day that is none", "dosdate", OpTime, [][]byte{date(day(2024, 5, 1))}, [][]byte{date(day(2025, 5, 0))}, -1},
		{"hundredths", "dostenth", OpTime, [][]byte{{0}}, [][]byte{{199}}, 8},
		{"too many of them", "dostenth", OpTime, [][]byte{{0}}, [][]byte{{200}}, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			ref, dep := slices.Concat(c.ref...), slices.Concat(c.dep...)
			var table hdrTable
			for i, f := range c.ref {
				table = append(table, hdrField{"field", Range{int64(i * len(f)), int64(len(f))}, Spec{Op: c.op, Enc: c.enc}})
			}
			l := &Ledger{Entries: anchored(int64(len(ref)), table)}
			if err := l.Check(t.Context(), img(ref), img(dep), placed(table)); err != nil {
				t.Fatal(err)
			}
			if c.bits < 0 && clean(l) || c.bits >= 0 && (!clean(l) || l.FreeBits != c.bits) {
				t.Errorf("clean %v, %d bits, want %d", clean(l), l.FreeBits, c.bits)
			}
		})
	}
}

// An id is a name: a new one that is another's is refused, and so are two that become one.
func TestIDsStayNames(t *testing.T) {
	a, b, c := bytes.Repeat([]byte{0xa1}, 16), bytes.Repeat([]byte{0xb2}, 16), bytes.Repeat([]byte{0xc3}, 16)
	table := hdrTable{
		{"first", Range{0, 16}, Spec{Op: OpUUID, Enc: "raw"}},
		{"second", Range{16, 16}, Spec{Op: OpUUID, Enc: "raw"}},
	}
	for _, x := range []struct {
		name string
		dep  []byte
		bits int64 // -1: not explained
	}{
		{"another", slices.Concat(c, b), 128},
		{"exchanged", slices.Concat(b, a), -1},
		{"that of the other", slices.Concat(b, b), -1},
		{"that of the other, which has a new one", slices.Concat(b, c), -1},
		{"one for both", slices.Concat(c, c), -1},
	} {
		ref := slices.Concat(a, b)
		entries := anchored(32, table)
		for i := range entries {
			if at := entries[i].Dep; bytes.Equal(ref[at.Off:at.End()], x.dep[at.Off:at.End()]) {
				entries[i] = Entry{Op: OpCopy, Dep: at, Ref: at}
			}
		}
		l := &Ledger{Entries: entries}
		if err := l.Check(t.Context(), img(ref), img(x.dep), placed(table)); err != nil {
			t.Fatal(err)
		}
		if clean(l) != (x.bits >= 0) || x.bits >= 0 && l.FreeBits != x.bits {
			t.Errorf("%s: clean %v, %d bits", x.name, clean(l), l.FreeBits)
		}
	}
}

// marked is a codec whose encoders write their number first. The first two ask the same
// of a decoder, the third something else.
type marked struct{}

func (marked) Name() string       { return "marked@1" }
func (marked) Settings() []string { return []string{"1;x", "2;x", "3;y"} }
func (marked) Decode(_ context.Context, w io.Writer, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil && len(b) > 0 {
		_, err = w.Write(b[1:])
	}
	return err
}

func (marked) Encode(_ context.Context, setting string, w io.Writer, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil {
		_, err = w.Write(append([]byte{setting[0]}, b...))
	}
	return err
}

func TestOtherContainers(t *testing.T) {
	tool := tools()
	tool.Codecs = func(string) Codec { return marked{} }
	for _, x := range []struct {
		ref, dep   string
		reproduced bool
		bits       int64
	}{
		{"1", "2", true, 2}, {"1", "3", false, 8 * 8}, {"3", "1", false, 8 * 8}, {"?", "3", false, 8 * 8}, {"?", "1", false, 8 * 8},
	} {
		ref, dep := []byte(x.ref+"content"), []byte(x.dep+"content")
		setting := func(s string) string { return map[string]string{"1": "1;x", "2": "2;x", "3": "3;y"}[s] }
		l := &Ledger{
			Streams: []Stream{{Codec: "marked@1", RefSetting: setting(x.ref), DepSetting: setting(x.dep)}},
			Entries: []Entry{{Op: OpCarry, Carry: 1, Ref: Range{0, 8}, Dep: Range{0, 8}}, {Stream: 1, Op: OpCopy, Ref: Range{0, 7}, Dep: Range{0, 7}}},
		}
		vouch(l, ref)
		if err := l.Check(t.Context(), img(ref), img(dep), tool); err != nil {
			t.Fatal(err)
		}
		if l.Streams[0].Reproduced != x.reproduced || l.FreeBits != x.bits {
			t.Errorf("%s to %s: reproduced %v, %d bits", x.ref, x.dep, l.Streams[0].Reproduced, l.FreeBits)
		}
	}
}

// doubled is a codec of content in pairs of equal bytes, which it halves or leaves.
type doubled struct{}

func (doubled) Name() string       { return "doubled@1" }
func (doubled) Settings() []string { return []string{"halve", "leave"} }
func (doubled) Decode(_ context.Context, w io.Writer, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil || len(b) == 0 {
		return err
	}
	for _, c := range b[1:] {
		if _, err := w.Write([]byte{c, c}[:2-b[0]&1]); err != nil {
			return err
		}
	}
	return nil
}

func (doubled) Encode(_ context.Context, setting string, w io.Writer, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if setting == "leave" {
		_, err = w.Write(append([]byte{1}, b...))
		return err
	}
	out := []byte{0}
	for i := 0; i < len(b); i += 2 {
		out = append(out, b[i])
	}
	_, err = w.Write(out)
	return err
}

// loose is a layout that opens everything, and lets encodings grow.
type loose struct{ anything }

func (loose) Derived(*Derivation, int64) (PlaceTable, string) { return loose{}, "" }
func (loose) Tight() bool                                     { return false }

// An encoding that has grown beyond what it decodes to is none that a decoder of blocks
// takes: the maker would have stored them.
func TestEncodingThatGrew(t *testing.T) {
	tool := tools()
	tool.Codecs = func(string) Codec { return doubled{} }
	small, large := "\x00ab", "\x01aabb"
	for _, x := range []struct {
		ref, dep   string
		tight      bool
		reproduced bool
	}{{small, large, true, false}, {large, small, true, true}, {small, large, false, true}} {
		tool.Places = func(context.Context, string, Image) (PlaceTable, error) {
			if !x.tight {
				return loose{}, nil
			}
			return anything{}, nil
		}
		setting := map[string]string{small: "halve", large: "leave"}
		l := &Ledger{
			Streams: []Stream{{Codec: "doubled@1", RefSetting: setting[x.ref], DepSetting: setting[x.dep]}},
			Entries: []Entry{
				{Op: OpCarry, Carry: 1, Ref: Range{0, int64(len(x.ref))}, Dep: Range{0, int64(len(x.dep))}},
				{Stream: 1, Op: OpCopy, Ref: Range{0, 4}, Dep: Range{0, 4}},
			},
		}
		vouch(l, []byte(x.ref))
		if err := l.Check(t.Context(), img([]byte(x.ref)), img([]byte(x.dep)), tool); err != nil {
			t.Fatal(err)
		}
		if l.Streams[0].Reproduced != x.reproduced {
			t.Errorf("%q to %q: reproduced %v", x.ref, x.dep, l.Streams[0].Reproduced)
		}
	}
}
