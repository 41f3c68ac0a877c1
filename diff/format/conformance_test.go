package format_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/adler32"
	"hash/crc32"
	"hash/crc64"
	"io"
	"math"
	"os"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/format"
	"github.com/assaylab/assay/diff/ledger"
)

func input(b []byte, l diff.Limits) *diff.Input {
	return &diff.Input{ReaderAt: bytes.NewReader(b), Size: int64(len(b)), Budget: diff.NewBudget(l)}
}

// recognise returns the first format that accepts b.
func recognise(b []byte) *diff.Format {
	for _, f := range format.All() {
		if f.Detect(input(b, diff.Limits{})) {
			return f
		}
	}
	return nil
}

// eachSample runs f for every sample, with its format.
func eachSample(t *testing.T, f func(t *testing.T, s difftest.Sample, by *diff.Format)) {
	formats := map[string]*diff.Format{}
	for _, by := range format.All() {
		formats[by.Name] = by
	}
	for _, s := range difftest.Samples() {
		t.Run(s.Name, func(t *testing.T) {
			by := formats[s.Format]
			if by == nil {
				t.Fatalf("format %q is not listed", s.Format)
			}
			f(t, s, by)
		})
	}
}

func TestList(t *testing.T) {
	sampled := map[string]bool{}
	samples := map[string]bool{}
	for _, s := range difftest.Samples() {
		sampled[s.Format] = true
		if samples[s.Name] {
			t.Errorf("two samples are named %q", s.Name)
		}
		samples[s.Name] = true
	}
	listed := map[string]bool{}
	for _, f := range format.All() {
		if f.Name == "" || f.Version < 1 || f.Title == "" || f.Source == "" || f.Detect == nil || f.Parse == nil {
			t.Errorf("format %q is incomplete", f.Name)
		}
		if f.Name != strings.ToLower(f.Name) || strings.ContainsAny(f.Name, " @") {
			t.Errorf("format %q: its name must be lower case, without blank or @", f.Name)
		}
		if listed[f.Name] {
			t.Errorf("two formats are named %q", f.Name)
		}
		listed[f.Name] = true
		if !sampled[f.Name] {
			t.Errorf("format %q has no sample in difftest", f.Name)
		}
	}
}

// Every sample is recognised, laid out the same twice, and tiled; its format
// takes what it makes from the budget; and all that its Specs say is true.
func TestSamples(t *testing.T) {
	eachSample(t, func(t *testing.T, s difftest.Sample, by *diff.Format) {
		if got := recognise(s.Data); got == nil || got.Name != s.Format {
			t.Fatalf("recognised as %v", got)
		}
		sections, err := parse(by, s.Data)
		if err != nil {
			t.Fatal(err)
		}
		again(t, by, s.Data, sections)
		root := expanded(sections, int64(len(s.Data)), func(header *diff.Section) {
			end := int64(0)
			for _, f := range header.Table.Fields {
				if f.Off != end {
					t.Errorf("table of %q: row %q at %d, not %d", header.Name, f.Name, f.Off, end)
				}
				end = f.Off + f.Len
			}
			if end != header.Len {
				t.Errorf("table of %q ends at %d, not %d", header.Name, end, header.Len)
			}
		})
		nodes, places := 0, 0
		hold := func(root *diff.Section, data []byte) {
			walk(root, func(path string, sec *diff.Section) {
				nodes++
				if sec.Name == "" || sec.Role == "" {
					t.Errorf("%s: a section without name or role", path)
				}
				if sec.Spec == nil {
					return
				}
				places++
				if len(sec.Children) > 0 {
					t.Errorf("%s: a place with parts", path)
				}
				if err := holdsIn(data, s.Data, sec); err != nil {
					t.Errorf("%s: %s: %v", path, sec.Spec.Op, err)
				}
			})
		}
		hold(root, s.Data)
		for _, d := range deriveds(t, sections, s.Data) {
			hold(expanded(d.layout, int64(len(d.data)), nil), d.data)
		}
		// The sections of tables are the engine's to count.
		made := int64(0)
		walk(&diff.Section{Children: sections}, func(string, *diff.Section) { made++ })
		if made > 1 {
			var limit *diff.LimitError
			_, err := by.Parse(context.Background(), input(s.Data, diff.Limits{MaxNodes: made - 1}))
			if !errors.As(err, &limit) || limit.Limit != "nodes" {
				t.Errorf("%d sections from a budget of one less: %v", made, err)
			}
		}
		t.Logf("%d sections, %d places", nodes, places)
	})
}

// Every format bears every sample of every other.
func TestForeign(t *testing.T) {
	eachSample(t, func(t *testing.T, s difftest.Sample, _ *diff.Format) {
		for _, f := range format.All() {
			try(t, f, s.Data)
		}
	})
}

// Every prefix of every sample is laid out without overlap or refused.
func TestTruncated(t *testing.T) {
	eachSample(t, func(t *testing.T, s difftest.Sample, by *diff.Format) {
		for n := range s.Data {
			try(t, by, s.Data[:n:n])
			if t.Failed() {
				t.Fatalf("cut to %d bytes", n)
			}
		}
	})
}

// stride is how far apart the bytes are that a test changes: one in a small sample, and
// so far in a larger one that about a thousand are changed. A campaign of mutations
// (ASSAY_MUTATIONS) changes every byte of up to 16 KiB.
func stride(b []byte) int {
	if len(b) <= 2<<10 || len(b) <= 16<<10 && os.Getenv("ASSAY_MUTATIONS") != "" {
		return 1
	}
	return 1 + len(b)/1024&^1
}

// So is every sample with any one byte changed.
func TestFlipped(t *testing.T) {
	eachSample(t, func(t *testing.T, s difftest.Sample, by *diff.Format) {
		b := bytes.Clone(s.Data)
		for i := 0; i < len(b); i += stride(b) {
			for _, mask := range []byte{0x01, 0xff} {
				b[i] ^= mask
				if got := try(t, by, b); mask == 0xff && i%16 == 0 {
					again(t, by, b, got)
				}
				b[i] ^= mask
				if t.Failed() {
					t.Fatalf("byte %d changed by 0x%02x", i, mask)
				}
			}
		}
	})
}

// So is every sample with any eight bytes set to the most they can hold, or to
// the brink of what a signed number can.
func TestHuge(t *testing.T) {
	eachSample(t, func(t *testing.T, s difftest.Sample, by *diff.Format) {
		b := bytes.Clone(s.Data)
		for _, field := range []string{
			"\xff\xff\xff\xff\xff\xff\xff\xff", "\x7f\xff\xff\xff\xff\xff\xff\xff",
			"\xff\xff\xff\xff\xff\xff\xff\x7f", "77777777",
		} {
			for i := 0; i < len(b); i += stride(b) {
				if around := b[max(0, i-16):min(len(b), i+24)]; len(bytes.Trim(around, "\x00")) == 0 {
					continue // far from any field
				}
				copy(b[i:], field)
				try(t, by, b)
				copy(b, s.Data)
				if t.Failed() {
					t.Fatalf("%q at %d", field, i)
				}
			}
		}
	})
}

// A reader that fails is an error, never a layout of what was read before.
func TestUnreadable(t *testing.T) {
	eachSample(t, func(t *testing.T, s difftest.Sample, by *diff.Format) {
		in := input(s.Data, diff.Limits{})
		in.ReaderAt = failing{in.ReaderAt, 0}
		if by.Detect(in) {
			t.Error("recognised what cannot be read")
		}
		if got, err := by.Parse(context.Background(), in); err == nil {
			t.Errorf("laid out what cannot be read: %+v", got)
		}
	})
}

// A failing reader cannot read at n or beyond.
type failing struct {
	io.ReaderAt
	n int64
}

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if int64(len(p)) > f.n-off {
		return 0, io.ErrNoProgress
	}
	return f.ReaderAt.ReadAt(p, off)
}

// FuzzParse gives any bytes to any one format. Without -fuzz it runs the
// samples and the stored corpus.
func FuzzParse(f *testing.F) {
	formats := format.All()
	for _, s := range difftest.Samples() {
		i := slices.IndexFunc(formats, func(by *diff.Format) bool { return by.Name == s.Format })
		f.Add(byte(i), s.Data)
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		if len(b) > 1<<20 {
			return
		}
		by := formats[int(which)%len(formats)]
		again(t, by, b, try(t, by, b))
	})
}

// try lays b out and checks what must hold for any bytes: the sections are
// tiled or the error leaves none, and what is allocated is bounded by the size
// of the input.
func try(t *testing.T, f *diff.Format, b []byte) []diff.Section {
	t.Helper()
	// The most a byte may cost: a record of a few bytes is a section with a
	// name and, unless another has the same shape, a table.
	const perByte, base = 1 << 10, 4 << 20
	f.Detect(input(b, diff.Limits{}))
	before := allocated()
	sections, err := parse(f, b)
	n := allocated() - before
	for i := 0; n > base+perByte*uint64(len(b)); i++ {
		if i == 3 { // other tests may run beside this one: what counts is the least
			t.Errorf("%s allocates %d bytes for %d", f.Name, n, len(b))
			break
		}
		before = allocated()
		_, _ = parse(f, b)
		n = min(n, allocated()-before)
	}
	switch {
	case err == nil && len(sections) == 0:
		t.Errorf("%s: neither a section nor an error", f.Name)
	case err != nil && len(sections) > 0:
		t.Errorf("%s: half a layout beside an error: %v", f.Name, err)
	case err == nil:
		root := &diff.Section{Len: int64(len(b)), Children: sections}
		if err := tiled(root, root, root, root); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	return sections
}

// unbounded is a stream whose size is not known yet.
const unbounded = math.MaxInt64

// again checks that laying b out once more gives the same.
func again(t *testing.T, f *diff.Format, b []byte, first []diff.Section) {
	t.Helper()
	second, _ := parse(f, b)
	if x, y := described(first), described(second); x != y {
		t.Errorf("%s: two layouts of the same bytes:\n%s\n%s", f.Name, x, y)
	}
}

// described is all that sections say, in text.
func described(ss []diff.Section) string {
	var b strings.Builder
	d := describer{w: &b, streams: map[*diff.Stream]int{}}
	d.sections(ss, nil, 0)
	return b.String()
}

type describer struct {
	w       io.Writer
	streams map[*diff.Stream]int
}

func (d *describer) sections(ss []diff.Section, parent *diff.Section, depth int) {
	for i := range ss {
		s := &ss[i]
		spec := ""
		if s.Spec != nil {
			spec = fmt.Sprintf("%+v", *s.Spec)
		}
		fmt.Fprintf(d.w, "%*s%q %s %d+%d codec %q open %v %q %q %s", depth, "", s.Name, s.Role, s.Off, s.Len, s.Codec, s.Open, s.Note, s.Limit, spec)
		var layout []diff.Section
		if p := s.Part; p != nil {
			if _, seen := d.streams[p.Of]; !seen {
				d.streams[p.Of] = len(d.streams)
				layout = p.Of.Layout
			}
			fmt.Fprintf(d.w, " part %d of %d %q %s %v %v", p.N, d.streams[p.Of], p.Of.Name, p.Of.Role, p.Of.Open, p.Of.Zeros)
		}
		fmt.Fprintln(d.w)
		d.sections(s.Expand(parent), s, depth+1)
		d.sections(s.Inner, nil, depth+8)
		d.sections(layout, nil, depth+16)
	}
}

// tiled checks that the children of s, those of its table included, lie inside
// it, in order, without overlap, and measure nothing outside root, the stream that s
// stands in, or the input. So it does for the streams that begin in s.
func tiled(s, parent, root, input *diff.Section) error {
	children := s.Expand(parent)
	at := s.Off
	for i := range children {
		c := &children[i]
		if c.Len < 0 || c.Off < at || c.Len > s.End()-c.Off {
			return fmt.Errorf("%q at %d+%d, in [%d,%d) of %q", c.Name, c.Off, c.Len, at, s.End(), s.Name)
		}
		at = c.End()
		if s.Fields != nil && (c.Codec != "" || c.Part != nil || c.Open || c.Inner != nil) {
			return fmt.Errorf("%q is more than a field of %q", c.Name, s.Name)
		}
		if err := tiled(c, s, root, input); err != nil {
			return err
		}
	}
	var streams [][]diff.Section
	if s.Inner != nil {
		streams = append(streams, s.Inner)
	}
	if s.Part != nil && s.Part.N == 0 {
		streams = append(streams, s.Part.Of.Layout)
	}
	for _, ss := range streams {
		stream := &diff.Section{Len: unbounded, Children: ss}
		if err := tiled(stream, stream, stream, input); err != nil {
			return fmt.Errorf("in what comes of %q: %w", s.Name, err)
		}
	}
	if sp := s.Spec; sp != nil {
		for _, r := range sp.Blank {
			if r.Len < 0 || !root.Range().Contains(r) {
				return fmt.Errorf("%q at %d blanks bytes %v, outside the stream", s.Name, s.Off, r)
			}
		}
		for _, o := range sp.Over {
			in := root
			if o.Outer {
				in = input
			}
			if o.Lit == "" && (o.Len < 0 || !in.Range().Contains(o.Range)) {
				return fmt.Errorf("%q at %d names bytes %v, outside the stream", s.Name, s.Off, o)
			}
		}
	}
	return nil
}

func parse(f *diff.Format, b []byte) ([]diff.Section, error) {
	return f.Parse(context.Background(), input(b, diff.Limits{}))
}

// allocated returns the bytes allocated so far, by all goroutines.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// expanded returns the sections under one root with their tables laid out,
// and calls f, if any, for each section that has one.
func expanded(sections []diff.Section, size int64, f func(header *diff.Section)) *diff.Section {
	var expand func(s *diff.Section) diff.Section
	expand = func(s *diff.Section) diff.Section {
		out := *s
		out.Children = make([]diff.Section, len(s.Children))
		for i := range s.Children {
			c := s.Children[i]
			if c.Table != nil && f != nil {
				f(&c)
			}
			c.Children, c.Table, c.Fields = c.Expand(s), nil, nil
			out.Children[i] = expand(&c)
		}
		return out
	}
	root := expand(&diff.Section{Len: size, Children: sections})
	return &root
}

// A derived is a stream that a layout makes, and how it lays it out.
type derived struct {
	data   []byte
	layout []diff.Section
}

// deriveds decodes and puts together, in the plainest way, the streams that sections
// lay out.
func deriveds(t *testing.T, sections []diff.Section, data []byte) []derived {
	t.Helper()
	var out []derived
	pieces := map[*diff.Stream]map[int][]byte{}
	var order []*diff.Stream
	var visit func(ss []diff.Section, data []byte)
	visit = func(ss []diff.Section, data []byte) {
		for i := range ss {
			s := &ss[i]
			visit(s.Children, data)
			content := data[s.Off:s.End()]
			if s.Codec != "" && (s.Inner != nil || s.Part != nil) {
				content = decoded(t, s.Codec, content)
				if s.Inner != nil {
					out = append(out, derived{content, s.Inner})
					visit(s.Inner, content)
				}
			}
			if p := s.Part; p != nil {
				if pieces[p.Of] == nil {
					pieces[p.Of] = map[int][]byte{}
					order = append(order, p.Of)
				}
				pieces[p.Of][p.N] = content
			}
		}
	}
	visit(sections, data)
	for _, x := range order {
		var whole []byte
		zeros := x.Zeros
		for n := range len(pieces[x]) + 1 {
			if len(zeros) > 0 && zeros[0].Before == n {
				whole = append(whole, make([]byte, zeros[0].Len)...)
				zeros = zeros[1:]
			}
			whole = append(whole, pieces[x][n]...)
		}
		if x.Layout != nil {
			out = append(out, derived{whole, x.Layout})
		}
	}
	return out
}

func decoded(t *testing.T, codec string, b []byte) []byte {
	t.Helper()
	for _, c := range format.Codecs(diff.Limits{}) {
		if c.Name() == codec {
			var out bytes.Buffer
			if err := c.Decode(t.Context(), &out, bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		}
	}
	t.Fatalf("no codec %q", codec)
	return nil
}

// walk calls f for s and all below it.
func walk(s *diff.Section, f func(path string, s *diff.Section)) {
	var visit func(path string, s *diff.Section)
	visit = func(path string, s *diff.Section) {
		if path != "" {
			f(path, s)
		}
		for i := range s.Children {
			visit(path+"/"+strconv.Quote(s.Children[i].Name), &s.Children[i])
		}
	}
	visit("", s)
}

// holds evaluates a Spec on the bytes of a sample, by its definition and by
// nothing of the kernel. What it cannot evaluate, streams and times in text,
// it takes as true.
func holds(b []byte, s *diff.Section) error { return holdsIn(b, b, s) }

// holdsIn does so where the layout stands in another stream than the field.
func holdsIn(b, input []byte, s *diff.Section) error {
	sp, field := s.Spec, b[s.Off:s.End()]
	over := []byte{}
	for _, o := range sp.Over {
		if o.Inner {
			return nil
		}
		if o.Lit != "" {
			lit, err := hex.DecodeString(o.Lit)
			if err != nil {
				return err
			}
			over = append(over, lit...)
			continue
		}
		if o.Outer {
			over = append(over, input[o.Off:o.End()]...)
			continue
		}
		span := bytes.Clone(b[o.Off:o.End()])
		for _, r := range sp.Blank {
			for i := r.Off; i < r.End(); i++ {
				if o.Contains(ledger.Range{Off: i, Len: 1}) {
					span[i-o.Off] = sp.BlankByte
				}
			}
		}
		over = append(over, span...)
	}
	switch sp.Op {
	case ledger.OpTime:
		if w := map[ledger.Enc]int{"dos": 4, "dosdate": 2, "dostenth": 1}[sp.Enc]; w > 0 {
			if len(field) != w {
				return fmt.Errorf("%d bytes for a time spelled %s", len(field), sp.Enc)
			}
			return nil
		}
		_, _, err := integer(sp.Enc, field)
		if strings.ContainsAny(string(sp.Enc), " :-/") {
			return nil
		}
		return err
	case ledger.OpUUID:
		return nil
	case ledger.OpNumber:
		if len(sp.Over) == 0 {
			return errors.New("it measures nothing")
		}
		v, width, err := integer(sp.Enc, field)
		want := uint64(int64(len(over))/max(sp.Unit, 1)*max(sp.Scale, 1) + sp.Add)
		if width < 64 {
			want &= 1<<width - 1
		}
		if err == nil && v != want {
			err = fmt.Errorf("says %d, is %d", v, want)
		}
		return err
	case ledger.OpFill:
		if len(sp.Over) != 1 || sp.Over[0].End() != s.Off || sp.Align < 1 {
			return fmt.Errorf("ill-formed: %+v", sp)
		}
		if int64(len(over)+len(field))%sp.Align != 0 || int64(len(field)) >= sp.Align {
			return fmt.Errorf("%d bytes after %d do not align to %d", len(field), len(over), sp.Align)
		}
		if i := bytes.IndexFunc(field, func(r rune) bool { return r != rune(sp.Fill) }); i >= 0 && sp.Fill < 0x80 {
			return fmt.Errorf("byte %d is not 0x%02x", i, sp.Fill)
		}
		return nil
	case ledger.OpSum:
		if len(sp.Over) == 0 {
			return errors.New("it covers nothing")
		}
		return sumHolds(sp, field, over)
	}
	return fmt.Errorf("no operation %q of a Spec", sp.Op)
}

func sumHolds(sp *ledger.Spec, field, over []byte) error {
	var digest []byte
	var sum uint64
	switch sp.Alg {
	case "md5":
		d := md5.Sum(over)
		digest = d[:]
	case "sha1":
		d := sha1.Sum(over)
		digest = d[:]
	case "sha256":
		d := sha256.Sum256(over)
		digest = d[:]
	case "sha384":
		d := sha512.Sum384(over)
		digest = d[:]
	case "sha512":
		d := sha512.Sum512(over)
		digest = d[:]
	case "crc32":
		sum = uint64(crc32.ChecksumIEEE(over))
	case "crc32c-raw", "crc32c-raw-lo16", "crc32c-raw-hi16", "crc32c-seed", "crc32c-seed-lo16", "crc32c-seed-hi16":
		crc := uint32(0)
		if strings.HasPrefix(sp.Alg, "crc32c-seed") {
			crc, over = ^binary.LittleEndian.Uint32(over), over[4:]
		}
		sum = uint64(^crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), over))
		switch sp.Alg {
		case "crc32c-raw-lo16", "crc32c-seed-lo16":
			sum &= 0xffff
		case "crc32c-raw-hi16", "crc32c-seed-hi16":
			sum >>= 16
		}
	case "crc16-raw":
		crc := uint16(0xffff)
		for _, c := range over {
			crc ^= uint16(c)
			for range 8 {
				odd := crc & 1
				if crc >>= 1; odd != 0 {
					crc ^= 0xa001
				}
			}
		}
		sum = uint64(crc)
	case "crc64":
		sum = crc64.Checksum(over, crc64.MakeTable(crc64.ECMA))
	case "adler32":
		sum = uint64(adler32.Checksum(over))
	case "bytesum":
		for _, c := range over {
			sum += uint64(c)
		}
	default:
		return fmt.Errorf("no algorithm %q", sp.Alg)
	}
	if digest != nil {
		if sp.Enc == "hex" {
			digest = []byte(hex.EncodeToString(digest))
		}
		if !bytes.EqualFold(field, digest) {
			return fmt.Errorf("says %x, is %x", field, digest)
		}
		return nil
	}
	v, width, err := integer(sp.Enc, field)
	if width < 64 {
		sum &= 1<<width - 1
	}
	if err == nil && v != sum {
		err = fmt.Errorf("says %d, is %d", v, sum)
	}
	return err
}

// integer reads a number and the width of its encoding in bits, 64 for text.
func integer(enc ledger.Enc, field []byte) (v uint64, width int, err error) {
	if base := map[ledger.Enc]int{"oct": 8, "dec": 10, "hex": 16}[enc]; base > 0 {
		v, err = strconv.ParseUint(strings.TrimLeft(strings.TrimRight(string(field), " \x00"), " "), base, 64)
		return v, 64, err
	}
	width = map[ledger.Enc]int{
		"u8": 8, "u16le": 16, "u16be": 16, "u32le": 32, "u32be": 32, "u64le": 64, "u64be": 64,
	}[enc]
	if width == 0 || len(field)*8 != width {
		return 0, 0, fmt.Errorf("%d bytes are no %q", len(field), enc)
	}
	big := bytes.Clone(field)
	if strings.HasSuffix(string(enc), "le") {
		slices.Reverse(big)
	}
	for _, c := range big {
		v = v<<8 | uint64(c)
	}
	return v, width, nil
}
