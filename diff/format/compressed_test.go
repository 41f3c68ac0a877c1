package format_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/adler32"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/explain"
	"github.com/assaylab/assay/diff/format"
	"github.com/assaylab/assay/diff/ledger"
)

// sample returns the data of the sample of that name.
func sample(t *testing.T, name string) []byte {
	t.Helper()
	samples := difftest.Samples()
	i := slices.IndexFunc(samples, func(s difftest.Sample) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no sample %q", name)
	}
	return bytes.Clone(samples[i].Data)
}

// comparedCompressed returns the ledger of two images.
func comparedCompressed(t *testing.T, ref, dep []byte) *ledger.Ledger {
	t.Helper()
	image := func(b []byte) diff.Image {
		return diff.Image{Name: "image", ReaderAt: bytes.NewReader(b), Size: int64(len(b))}
	}
	res, err := diff.Compare(t.Context(), image(ref), image(dep),
		diff.Options{Formats: format.All(), Rules: explain.All(), Codecs: format.Codecs(diff.Limits{})})
	if err != nil {
		t.Fatal(err)
	}
	return res.Ledger
}

// clean says whether the reference accounts for everything in a ledger.
func clean(l *ledger.Ledger) bool {
	return l.Totals.Unexplained == 0 && l.Totals.Moved == 0 && l.Totals.Missing == 0
}

// explainedCompressed checks that a difference is explained for 32 bits.
func explainedCompressed(t *testing.T, ref, dep []byte) {
	t.Helper()
	if l := comparedCompressed(t, ref, dep); !clean(l) || l.Totals.Explained == 0 || l.FreeBits != 32 {
		t.Errorf("%d bits, %+v", l.FreeBits, l.Totals)
	}
}

// accusedCompressed checks that byte off is unexplained under a path.
func accusedCompressed(t *testing.T, ref, dep []byte, off int64, path string) {
	t.Helper()
	for _, e := range comparedCompressed(t, ref, dep).Entries {
		if e.Stream == 0 && e.Dep.Contains(ledger.Range{Off: off, Len: 1}) {
			if e.Verdict != ledger.Unexplained || e.Path != path {
				t.Errorf("byte %d is %v in %q, not unexplained in %q", off, e.Verdict, e.Path, path)
			}
			return
		}
	}
	t.Errorf("no entry of byte %d", off)
}

// laidBy returns the sections that a format lays b out in.
func laidBy(t *testing.T, name string, b []byte) ([]diff.Section, error) {
	t.Helper()
	formats := format.All()
	i := slices.IndexFunc(formats, func(f *diff.Format) bool { return f.Name == name })
	return parse(formats[i], b)
}

// Every carrier decodes to what it was made of, whatever follows it.
func TestCompressedCarriers(t *testing.T) {
	want := strings.Repeat("assay fixture: ", 20) + "\n"
	for name, copies := range map[string]int{
		"zlib": 1, "zlib, filler": 1, "zstd sized": 1, "zstd open": 1, "zstd two frames": 2, "zstd skippable": 2,
		"lz4 plain": 1, "lz4 every option": 1, "lz4 legacy": 1, "lz4 legacy, size": 1, "lz4 two frames": 2, "lz4 skippable": 2,
		"bzip2": 1, "bzip2 two streams": 2, "lzop": 1, "lzop crc32, named": 1, "lzop without checksums": 1, "lzop two files": 2,
		"lzip": 1, "lzip two members": 2,
	} {
		by, _, _ := strings.Cut(strings.ReplaceAll(name, ",", ""), " ")
		for _, tail := range []string{"", "\xff\xff\xff", "tail"} {
			b := sample(t, name)
			if by == "zlib" && tail != "" {
				continue
			}
			sections, err := laidBy(t, by, append(b, tail...))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if end := sections[len(sections)-1].End(); end != int64(len(b)) && name != "zlib, filler" && name != "lz4 legacy, size" {
				t.Errorf("%s: ends at %d of %d", name, end, len(b))
			}
			var got []byte
			walk(&diff.Section{Children: sections}, func(path string, s *diff.Section) {
				if s.Codec != "" {
					got = append(got, decoded(t, s.Codec, b[s.Off:s.End()])...)
				}
			})
			if string(got) != strings.Repeat(want, copies) {
				t.Errorf("%s: decodes to %q", name, got)
			}
		}
	}
}

// What a skippable frame holds is for nobody who decodes, and so it accuses.
func TestSkippableAccuses(t *testing.T) {
	for _, name := range []string{"zstd skippable", "lz4 skippable"} {
		ref := sample(t, name)
		at := bytes.Index(ref, []byte("a seek table"))
		dep := bytes.Clone(ref)
		copy(dep[at:], "a backdoor..")
		accusedCompressed(t, ref, dep, int64(at+2), "skippable1:data")
	}
	// One more than the reference has, before and behind.
	ref := sample(t, "zstd sized")
	skip := append([]byte{0x50, 0x2a, 0x4d, 0x18, 8, 0, 0, 0}, "backdoor"...)
	for _, dep := range [][]byte{slices.Concat(skip, ref), slices.Concat(ref, skip)} {
		if clean(comparedCompressed(t, ref, dep)) {
			t.Error("a frame more is accepted")
		}
	}
}

// Linux writes the size of an image behind its legacy frame: a tail, not a block.
func TestLZ4Size(t *testing.T) {
	b := sample(t, "lz4 legacy, size")
	sections, err := laidBy(t, "lz4", b)
	if err != nil || len(sections) != 1 || sections[0].Len != int64(len(b)-4) {
		t.Errorf("%+v %v", sections, err)
	}
}

func TestZlibStealsNothing(t *testing.T) {
	whole := sample(t, "zlib")
	for _, c := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"alone", whole, true},
		{"zeros", append(bytes.Clone(whole), 0, 0, 0), true},
		{"ones", append(bytes.Clone(whole), 0xff, 0xff), true},
		{"both", append(bytes.Clone(whole), 0, 0xff), false},
		{"text", append(bytes.Clone(whole), "text"...), false},
		{"zeros and text", slices.Concat(whole, make([]byte, 100_000), []byte("x")), false},
		{"another stream", slices.Concat(whole, whole), false},
		{"a wrong checksum", append(bytes.Clone(whole[:len(whole)-1]), whole[len(whole)-1]^1), false},
		{"truncated", whole[:len(whole)-1], false},
		{"a header", []byte{0x78, 0x9c, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, false},
	} {
		if sections, err := laidBy(t, "zlib", c.b); (err == nil) != c.ok {
			t.Errorf("%s: %d sections, %v", c.name, len(sections), err)
		}
	}
}

// The header of lzop tells when the file was changed, or packed.
func TestLzopTime(t *testing.T) {
	const first, mtime, sum = 9, 25, 34 // of what is summed, the time, the checksum
	ref := sample(t, "lzop")
	dep := bytes.Clone(ref)
	binary.BigEndian.PutUint32(dep[mtime:], 1714558830)
	binary.BigEndian.PutUint32(dep[sum:], adler32.Checksum(dep[first:sum]))
	explainedCompressed(t, ref, dep)

	dep[mtime+4] = 1 // a time in 2242, which is no change that a clock makes
	binary.BigEndian.PutUint32(dep[sum:], adler32.Checksum(dep[first:sum]))
	accusedCompressed(t, ref, dep, mtime+4, "mtime high")
}

// A date in the content is explained through an encoding that can be made again,
// and through no other.
func TestCompressedDate(t *testing.T) {
	content := func(date string) []byte {
		return []byte(strings.Repeat("the same text ", 50) + "built " + date + "\n" + strings.Repeat("more of it ", 50))
	}
	encode := func(open func(io.Writer) io.WriteCloser, date string) []byte {
		var b bytes.Buffer
		w := open(&b)
		if _, err := w.Write(content(date)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for name, open := range map[string]func(io.Writer) io.WriteCloser{
		"zlib": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
		"lz4":  func(w io.Writer) io.WriteCloser { return lz4.NewWriter(w) },
		"zstd": func(w io.Writer) io.WriteCloser {
			z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
			if err != nil {
				t.Fatal(err)
			}
			return z
		},
	} {
		ref, dep := encode(open, "2024-05-01 10:20:30"), encode(open, "2025-06-02 11:21:31")
		t.Run(name, func(t *testing.T) { explainedCompressed(t, ref, dep) })
	}

	// The same content as a stored block, under the checksum it has: nobody wrote this.
	open := func(w io.Writer) io.WriteCloser { return lz4.NewWriter(w) }
	ref, good := encode(open, "2024-05-01 10:20:30"), encode(open, "2025-06-02 11:21:31")
	other := content("2025-06-02 11:21:31")
	dep := binary.LittleEndian.AppendUint32(bytes.Clone(good[:7]), uint32(len(other))|1<<31)
	dep = slices.Concat(dep, other, good[len(good)-8:])
	if got := decoded(t, "lz4@1", dep); !bytes.Equal(got, other) {
		t.Fatal("the frame is not sound")
	}
	l := comparedCompressed(t, ref, dep)
	if len(l.Streams) != 1 || l.Streams[0].Reproduced || l.Streams[0].Bits < 8*int64(len(other)) {
		t.Errorf("an encoding that cannot be made again costs %d bits: %+v", l.FreeBits, l.Streams)
	}
}
