package ledger_test

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"testing"

	. "github.com/assaylab/assay/diff/ledger"
)

func img(b []byte) Image { return Image{bytes.NewReader(b), int64(len(b))} }

// memory is scratch space.
type memory struct {
	bytes.Buffer
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.Bytes()).ReadAt(p, off)
}
func (m *memory) Close() error { return nil }

// flip is a codec of one setting: every bit inverted, and the end marked by a
// NUL that no content may hold. sloppy eats one byte behind the mark.
type flip struct{ sloppy bool }

func (c flip) Name() string {
	if c.sloppy {
		return "sloppy@1"
	}
	return "flip@1"
}

func (c flip) Decode(_ context.Context, w io.Writer, r io.Reader) error {
	var b [1]byte
	for {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return errors.New("no end")
		}
		if b[0] == 0 {
			break
		}
		if _, err := w.Write([]byte{^b[0]}); err != nil {
			return err
		}
	}
	if n, _ := io.ReadFull(r, b[:]); n > 0 && !c.sloppy {
		return errors.New("bytes after the end")
	}
	return nil
}

func (c flip) Encode(_ context.Context, setting string, w io.Writer, r io.Reader) error {
	if setting != "plain" {
		return errors.New("no such setting")
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	_, err = w.Write(flipped(string(b)))
	return err
}
func (flip) Settings() []string { return []string{"plain"} }

func flipped(s string) []byte {
	b := []byte(s)
	for i := range b {
		b[i] = ^b[i]
	}
	return append(b, 0)
}

// early stops after what it calls the end and leaves the rest unread.
type early struct{ flip }

func (early) Name() string { return "early@1" }
func (early) Decode(_ context.Context, w io.Writer, r io.Reader) error {
	var b [1]byte
	for {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return err
		}
		if b[0] == 0 {
			return nil
		}
		w.Write([]byte{^b[0]})
	}
}

// deflate has nine settings.
type deflate struct{}

var levels = []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}

func (deflate) Name() string { return "deflate@1" }
func (deflate) Decode(_ context.Context, w io.Writer, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	in := bytes.NewReader(b)
	if _, err := io.Copy(w, flate.NewReader(in)); err != nil {
		return err
	}
	if in.Len() > 0 {
		return errors.New("bytes after the end")
	}
	return nil
}

func (deflate) Encode(_ context.Context, setting string, w io.Writer, r io.Reader) error {
	z, err := flate.NewWriter(w, int(setting[0]-'0'))
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, r); err != nil {
		return err
	}
	return z.Close()
}
func (deflate) Settings() []string { return levels }

func deflated(level int, s string) []byte {
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, level)
	io.WriteString(z, s)
	z.Close()
	return b.Bytes()
}

// The test format "hdr@1": a header of 64 bytes, a payload, and padding of 0xff
// to the next multiple of 16 bytes from the start of the header.
const hdrLen = 64

type hdrField struct {
	name string
	at   Range
	spec Spec
}

type hdrTable []hdrField

func (t hdrTable) Field(at Range, name string) (*Spec, bool) {
	for i := range t {
		if t[i].at == at && t[i].name == name {
			return &t[i].spec, true
		}
	}
	return nil, false
}

// Opens says that the payload may hold another image.
func (t hdrTable) Opens(at Range) bool { return at.Off == hdrLen }

// Derived says that any part may be encoded.
func (t hdrTable) Derived(*Derivation, int64) (PlaceTable, string) { return anything{}, "" }

func (t hdrTable) Each(v Visitor) error {
	for i := range t {
		switch f := &t[i]; f.spec.Op {
		case OpNumber, OpSum:
			if err := v.Field(f.at, &f.spec); err != nil {
				return err
			}
		case OpFill:
			if n := f.at.Off - hdrLen; n > 0 {
				if err := v.Open(Range{hdrLen, n}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (hdrTable) Tight() bool { return false }

// HoldsText says that the header holds none.
func (t hdrTable) HoldsText(at Range) bool { return at.Off >= hdrLen }

// anything is a layout without fields that opens every extent.
type anything struct{}

func (anything) Field(Range, string) (*Spec, bool) { return nil, false }
func (anything) Opens(Range) bool                  { return true }

func (anything) Derived(*Derivation, int64) (PlaceTable, string) { return anything{}, "" }
func (anything) Each(Visitor) error                              { return nil }
func (anything) HoldsText(Range) bool                            { return true }
func (anything) Tight() bool                                     { return true }

// hdrFields lays out an image, or returns nil.
func hdrFields(b []byte) hdrTable {
	if len(b) < hdrLen || string(b[:4]) != "HDR1" {
		return nil
	}
	n := int64(binary.BigEndian.Uint32(b[12:]))
	if n > int64(len(b)-hdrLen) {
		return nil
	}
	over := func(off, n int64) []Span { return []Span{{Range: Range{off, n}}} }
	payload := over(hdrLen, n)
	t := hdrTable{
		{"crc", Range{4, 4}, Spec{Op: OpSum, Enc: "u32be", Alg: "crc32", Over: payload}},
		{"time", Range{8, 4}, Spec{Op: OpTime, Enc: "u32be"}},
		{"size", Range{12, 4}, Spec{Op: OpNumber, Enc: "u32be", Over: payload}},
		{"hcrc", Range{16, 4}, Spec{Op: OpSum, Enc: "u32be", Alg: "crc32", Over: over(0, hdrLen), Blank: []Range{{16, 4}}}},
		{"mtime", Range{20, 8}, Spec{Op: OpTime, Enc: "oct"}},
		{"uuid", Range{28, 16}, Spec{Op: OpUUID, Enc: "raw"}},
		{"sum", Range{44, 1}, Spec{Op: OpSum, Enc: "u8", Alg: "bytesum", Over: payload}},
		{"hex size", Range{45, 8}, Spec{Op: OpNumber, Enc: "hex", Over: payload}},
		{"units", Range{53, 6}, Spec{Op: OpNumber, Enc: "dec", Over: payload, Unit: 4, Add: 7}},
	}
	if pad := (16 - (hdrLen+n)%16) % 16; hdrLen+n+pad <= int64(len(b)) {
		t = append(t, hdrField{"pad", Range{hdrLen + n, pad}, Spec{Op: OpFill, Fill: 0xff, Align: 16, Over: over(0, hdrLen+n)}})
	}
	return t
}

type hdr struct {
	time    uint32
	mtime   uint64
	uuid    byte
	payload string
}

// image builds a sound image.
func (h hdr) image() []byte {
	n := len(h.payload)
	b := make([]byte, hdrLen, hdrLen+n+16)
	copy(b, "HDR1")
	p := []byte(h.payload)
	binary.BigEndian.PutUint32(b[4:], crc32.ChecksumIEEE(p))
	binary.BigEndian.PutUint32(b[8:], h.time)
	binary.BigEndian.PutUint32(b[12:], uint32(n))
	copy(b[20:], fmt.Sprintf("%08o", h.mtime))
	for i := range 16 {
		b[28+i] = h.uuid + byte(i)
	}
	for _, c := range p {
		b[44] += c
	}
	copy(b[45:], fmt.Sprintf("%08X", n))
	copy(b[53:], fmt.Sprintf("%-6d", n/4+7))
	binary.BigEndian.PutUint32(b[16:], crc32.ChecksumIEEE(b[:hdrLen]))
	b = append(b, p...)
	for len(b)%16 != 0 {
		b = append(b, 0xff)
	}
	return b
}

// tools know all the test codecs and the test format.
func tools() Tools {
	return Tools{
		Codecs: func(name string) Codec {
			for _, c := range []Codec{flip{}, flip{sloppy: true}, early{}, deflate{}} {
				if c.Name() == name {
					return c
				}
			}
			return nil
		},
		Formats: func(_ context.Context, ref Image) []string {
			b := make([]byte, ref.Size)
			if n, _ := ref.ReadAt(b, 0); n < len(b) || hdrFields(b) == nil {
				return nil
			}
			return []string{"hdr@1"}
		},
		Places: func(_ context.Context, format string, ref Image) (PlaceTable, error) {
			b := make([]byte, ref.Size)
			if n, err := ref.ReadAt(b, 0); n < len(b) {
				return nil, err
			}
			if format == "opens@1" {
				return anything{}, nil
			}
			if t := hdrFields(b); t != nil && format == "hdr@1" {
				return t, nil
			}
			return nil, errors.New("not so")
		},
		Scratch: func() (Scratch, error) { return new(memory), nil },
	}
}

// placed are tools whose parser gives this table for any extent, as "free@1".
func placed(table hdrTable) Tools {
	t := tools()
	t.Formats = nil
	t.Places = func(context.Context, string, Image) (PlaceTable, error) { return table, nil }
	return t
}

// anchored turns a table into entries, copying what stands between.
func anchored(size int64, table hdrTable) []Entry {
	var out []Entry
	at := int64(0)
	for i := range table {
		f := &table[i]
		if f.at.Off > at {
			out = append(out, Entry{Op: OpCopy, Dep: Range{at, f.at.Off - at}, Ref: Range{at, f.at.Off - at}})
		}
		out = append(out, Entry{Op: f.spec.Op, Dep: f.at, Ref: f.at, Spec: &f.spec, Place: &Place{Format: "free@1", At: Range{0, size}, Field: f.name}})
		at = f.at.End()
	}
	if at < size {
		out = append(out, Entry{Op: OpCopy, Dep: Range{at, size - at}, Ref: Range{at, size - at}})
	}
	return out
}

// check runs the kernel over a ledger made of entries. Entries without Dep are
// put where the account of their stream has come to: by the length of Ref, or
// by Dep.Len where that is set.
func check(t testing.TB, ref, dep []byte, streams []Stream, entries ...Entry) (*Ledger, error) {
	t.Helper()
	at := map[int]int64{}
	for i := range entries {
		e := &entries[i]
		if e.Dep.Off == 0 {
			e.Dep.Off = at[e.Stream]
		}
		if e.Dep.Len == 0 {
			e.Dep.Len = e.Ref.Len
		}
		at[e.Stream] = e.Dep.End()
	}
	l := &Ledger{Streams: slices.Clone(streams), Entries: entries}
	vouch(l, ref)
	return l, l.Check(t.Context(), img(ref), img(dep), tools())
}

// vouch names a layout of the reference that gives every stream of l.
func vouch(l *Ledger, ref []byte) {
	for i := range l.Streams {
		if s := &l.Streams[i]; s.Place == nil {
			s.Place = &Place{Format: "opens@1", At: Range{0, int64(len(ref))}}
		}
	}
}

// clean says whether a ledger settles everything.
func clean(l *Ledger) bool {
	return l.Totals.Unexplained+l.Totals.Moved+l.Totals.Missing == 0 && len(l.Missing) == 0
}

func cp(off, n int64) Entry           { return Entry{Op: OpCopy, Ref: Range{off, n}} }
func none(n int64) Entry              { return Entry{Dep: Range{0, n}} }
func mv(from int, off, n int64) Entry { return Entry{Op: OpMove, From: from, Ref: Range{off, n}} }

// field is an entry for a field of hdr@1 in an image at base of ref.
func field(ref []byte, base int64, name string) Entry {
	for _, f := range hdrFields(ref[base:]) {
		if f.name == name {
			spec := f.spec.Shift(base)
			place := &Place{Format: "hdr@1", At: Range{base, int64(len(ref)) - base}, Field: name}
			if base > 0 {
				place.In = &Place{Format: "opens@1", At: Range{0, int64(len(ref))}}
			}
			return Entry{Op: spec.Op, Ref: Range{f.at.Off + base, f.at.Len}, Spec: spec, Place: place}
		}
	}
	panic("no field " + name)
}

func text(off, n int64, enc Enc) Entry {
	return Entry{Op: OpTime, Ref: Range{off, n}, Spec: &Spec{Op: OpTime, Enc: enc}}
}

// account proposes for a pair of hdr@1 images what an honest engine would:
// equal bytes copied, differing fields proved, the rest left open. Both are of
// one size.
func account(ref, dep []byte) []Entry {
	var out []Entry
	at := int64(0)
	plain := func(to int64) {
		for ; at < to; at++ {
			if ref[at] == dep[at] {
				out = append(out, Entry{Op: OpCopy, Dep: Range{at, 1}, Ref: Range{at, 1}})
			} else {
				out = append(out, Entry{Dep: Range{at, 1}})
			}
		}
	}
	for _, f := range hdrFields(ref) {
		if bytes.Equal(ref[f.at.Off:f.at.End()], dep[f.at.Off:f.at.End()]) || f.at.Len == 0 {
			continue
		}
		plain(f.at.Off)
		e := field(ref, 0, f.name)
		e.Dep = e.Ref
		out = append(out, e)
		at = f.at.End()
	}
	plain(int64(len(ref)))
	return out
}
