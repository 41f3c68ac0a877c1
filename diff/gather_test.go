package diff_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/explain"
	"github.com/assaylab/assay/diff/ledger"
)

// A toy file system, "toy@1": a magic, then records of a kind, a length and as many
// bytes. Records D and E are blocks of the file "f", D raw and E with the codec
// "not@1", and with a hole of 16 bytes before the third; F, with the codec, holds
// tails: that of "f", 8 bytes, and then "g"; T, with the codec, is the table: the
// offset of the first block in the image, a time, and the size of F.
var toy = &diff.Format{
	Name: "toy", Version: 1, Title: "toy", Source: "here",
	Detect: func(in *diff.Input) bool { return string(in.Bytes(0, 4)) == "TOY1" },
	Parse:  parseToy,
}

func parseToy(_ context.Context, in *diff.Input) ([]diff.Section, error) {
	out := []diff.Section{{Name: "magic", Role: diff.RoleMagic, Len: 4}}
	f := &diff.Stream{Name: "f", Role: diff.RoleMember, Open: true, Zeros: []ledger.Zeros{{Before: 2, Len: 16}}}
	table := &diff.Stream{Name: "table", Role: diff.RoleTable}
	n, first, tails := 0, int64(-1), ledger.Range{}
	var tail *diff.Section
	for at := int64(4); at < in.Size; {
		h := in.Bytes(at, 2)
		if h == nil || h[0] == 0 {
			break
		}
		size := int64(h[1])
		out = append(out, diff.Section{Name: "record " + string(h[:1]), Role: diff.RoleHeader, Off: at, Len: 2})
		s := diff.Section{Off: at + 2, Len: size}
		switch h[0] {
		case 'D', 'E':
			s.Name, s.Role, s.Part = fmt.Sprintf("f block %d", n), diff.RoleMember, &diff.Part{Of: f, N: n}
			if h[0] == 'E' {
				s.Codec = "not@1"
			}
			if first < 0 {
				first = s.Off
			}
			n++
		case 'F':
			tails = s.Range()
			s.Name, s.Role, s.Codec = "tails", diff.RoleTable, "not@1"
			s.Inner = []diff.Section{
				{Name: "f", Role: diff.RoleMember, Len: 8},
				{Name: "g", Role: diff.RoleMember, Off: 8, Len: size - 9, Open: true},
			}
			tail = &s.Inner[0]
		case 'T':
			s.Name, s.Role, s.Codec, s.Part = "table block", diff.RoleTable, "not@1", &diff.Part{Of: table}
		default:
			return nil, errors.New("an unknown record")
		}
		out = append(out, s)
		at = s.End()
	}
	if tail == nil {
		return nil, errors.New("no tails")
	}
	tail.Part = &diff.Part{Of: f, N: n}
	table.Layout = []diff.Section{
		{Name: "start", Role: diff.RoleOffset, Len: 4, Spec: &ledger.Spec{
			Op: ledger.OpNumber, Enc: "u32le", Scale: 2, Add: 1, Over: []ledger.Span{{Range: ledger.Range{Len: first}, Outer: true}},
		}},
		{Name: "time", Role: diff.RoleTime, Off: 4, Len: 4, Spec: &ledger.Spec{Op: ledger.OpTime, Enc: "u32le"}},
		{Name: "tails size", Role: diff.RoleLength, Off: 8, Len: 4, Spec: &ledger.Spec{
			Op: ledger.OpNumber, Enc: "u32le", Over: []ledger.Span{{Range: tails, Outer: true}},
		}},
	}
	return out, nil
}

// not is a codec of one setting: every bit inverted, and a NUL at the end.
type not struct{}

func (not) Name() string       { return "not@1" }
func (not) Settings() []string { return []string{"plain"} }
func (not) Decode(_ context.Context, w io.Writer, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if bytes.IndexByte(b, 0) != len(b)-1 {
		return errors.New("no end, or something behind it")
	}
	_, err = w.Write(inverted(b[:len(b)-1])[:len(b)-1])
	return err
}

func (not) Encode(_ context.Context, _ string, w io.Writer, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil {
		_, err = w.Write(inverted(b))
	}
	return err
}

func inverted(b []byte) []byte {
	out := make([]byte, len(b)+1)
	for i := range b {
		out[i] = ^b[i]
	}
	return out
}

// A toyImage is what an image of the toy is made of.
type toyImage struct {
	blocks []string
	tail   string // 8 bytes
	g      string
	time   uint32
	lie    uint32 // added to the offset in the table
	stale  uint32 // added to the size of the tails there
}

func (t toyImage) bytes() []byte {
	b := []byte("TOY1")
	first := len(b) + 2
	add := func(kind byte, content []byte) {
		b = append(append(b, kind, byte(len(content))), content...)
	}
	for n, x := range t.blocks {
		if n%2 == 0 {
			add('D', []byte(x))
		} else {
			add('E', inverted([]byte(x)))
		}
	}
	tails := inverted([]byte(t.tail + t.g))
	add('F', tails)
	table := binary.LittleEndian.AppendUint32(nil, uint32(first)*2+1+t.lie)
	table = binary.LittleEndian.AppendUint32(table, t.time)
	table = binary.LittleEndian.AppendUint32(table, uint32(len(tails))+t.stale)
	add('T', inverted(table))
	return b
}

func compareToys(t *testing.T, ref, dep []byte) *ledger.Ledger {
	t.Helper()
	opt := diff.Options{Formats: []*diff.Format{toy}, Rules: explain.All(), Codecs: []ledger.Codec{not{}}}
	res, err := diff.Compare(t.Context(), image(ref), image(dep), opt)
	if err != nil {
		t.Fatal(err)
	}
	// What is stored replays.
	var stored bytes.Buffer
	if _, err := res.Ledger.Encode(&stored); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Recheck(t.Context(), &stored, ledger.Image{ReaderAt: bytes.NewReader(ref), Size: int64(len(ref))},
		ledger.Image{ReaderAt: bytes.NewReader(dep), Size: int64(len(dep))}, diff.Tools(opt)); err != nil {
		t.Fatal(err)
	}
	return res.Ledger
}

func sampleToy() toyImage {
	return toyImage{
		blocks: []string{"built on 2024-", "05-01 10:20:30 by", "nobody at all, for n"}, tail: "othing..", g: "another file", time: 1714558830,
	}
}

func TestGather(t *testing.T) {
	ref := sampleToy()
	for _, c := range []struct {
		name   string
		change func(*toyImage)
		clean  bool
		bits   int64
		path   string // of what is not accounted for
	}{
		{"nothing", func(*toyImage) {}, true, 0, ""},
		{"a date across two blocks", func(x *toyImage) { x.blocks[0], x.blocks[1] = "built on 2023-", "12-31 23:59:59 by" }, true, 32, ""},
		{"a time in the table", func(x *toyImage) { x.time++ }, true, 32, ""},
		{"both, once", func(x *toyImage) {
			x.blocks[1] = "05-01 10:20:31 by"
			x.time++
		}, true, 32, ""},
		{"a byte of a block", func(x *toyImage) { x.blocks[2] = "nobody at all, for N" }, false, 8, "f"},
		{"a byte of a tail", func(x *toyImage) { x.tail = "othing.!" }, false, 8, "f"},
		{"a byte of the other tail", func(x *toyImage) { x.g = "another fiLe" }, false, 8, "tails>g"},
		{"an offset", func(x *toyImage) { x.lie = 2 }, false, 8 * 4, "table>start"},
		{"a longer file, and the number that says so", func(x *toyImage) { x.g += "!" }, false, 8, "record F tails>g"},
		// A number that stands as it was, and no longer fits: 256 less one is the least that
		// wraps a byte of it.
		{"a longer file, and the number of old", func(x *toyImage) { x.g += "!"; x.stale = 1<<32 - 1 }, false, 0, "record F table>tails size tails>g"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dep := sampleToy()
			c.change(&dep)
			l := compareToys(t, ref.bytes(), dep.bytes())
			var bad []string
			for _, e := range l.Entries {
				if e.Verdict == ledger.Unexplained || e.Verdict == ledger.Moved {
					bad = append(bad, e.Path)
				}
			}
			if clean := l.Totals.Unexplained+l.Totals.Moved+l.Totals.Missing == 0; clean != c.clean || clean && l.FreeBits != c.bits || strings.Join(bad, " ") != c.path {
				for _, e := range l.Entries {
					t.Logf("%+v", e)
				}
				t.Errorf("clean %v, %d bits, %q; want %v, %d, %q", clean, l.FreeBits, bad, c.clean, c.bits, c.path)
			}
		})
	}
}
