package codec

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/adler32"
	"io"

	fastflate "github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"github.com/assaylab/assay/diff/internal/deflate"
	"github.com/assaylab/assay/diff/internal/lz4exact"
	"github.com/assaylab/assay/diff/internal/lzmaexact"
	"github.com/assaylab/assay/diff/internal/lzoexact"
)

// An encoder is one encoder with all it can be told fixed.
type encoder struct {
	name string
	open opener
}

// An opener opens an encoder that writes to w and tells m what work it does.
type opener func(m *meter, w io.Writer) (io.WriteCloser, error)

// asking names a setting that asks something of its own of a decoder: a dictionary, a
// check, a filter. What stands behind the semicolon is compared where one setting made
// the reference and another the deployed image: only effort may differ.
func asking(name string) string { return name + ";" + name }

func names(encoders []encoder) []string {
	var s []string
	for _, e := range encoders {
		s = append(s, e.name)
	}
	return s
}

// deflateEncoders are, in the order of what made the streams one meets: GNU gzip,
// zlib with the memory level that it has by default and with the largest, the standard
// library (0 is stored, -2 Huffman only) and klauspost/compress. Of each the default and
// the best level come first. Levels that nobody asks for are left out: every setting
// makes all of them dearer.
func deflateEncoders() []encoder {
	var s []encoder
	for _, level := range []int{6, 9, 1, 8, 7, 5, 4, 3, 2} {
		s = append(s, encoder{fmt.Sprintf("gzip/%d", level), openDeflate(deflate.Options{Flavour: deflate.Gzip, Level: level})})
	}
	s = append(s, zlibLevels()...)
	for _, level := range []int{9, 6} {
		s = append(s, encoder{fmt.Sprintf("zlib/%d/mem9", level), openDeflate(deflate.Options{Flavour: deflate.Zlib, Level: level, MemLevel: 9})})
	}
	for _, level := range []int{6, 9, 1, -2, 0} {
		s = append(s, encoder{fmt.Sprintf("go-flate/%d", level), openFlate(level)})
	}
	for _, level := range []int{5, 9, 6, 1} {
		open := func(_ *meter, w io.Writer) (io.WriteCloser, error) { return fastflate.NewWriter(w, level) }
		if level > 6 { // up to 6 it follows no chains
			open = klauspostChains.counted(open)
		}
		s = append(s, encoder{fmt.Sprintf("klauspost-flate/%d", level), open})
	}
	return s
}

// openFlate opens the standard library's. At levels below 7 its chains are short.
func openFlate(level int) opener {
	open := func(_ *meter, w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, level) }
	if level > 6 {
		return goChains.counted(open)
	}
	return open
}

// zlibOrder is zlib's levels, likeliest first.
var zlibOrder = [...]int{9, 6, 1, 8, 7, 5, 4, 3, 2}

// zlibLevels are zlib's at its levels, as DEFLATE without a header.
func zlibLevels() []encoder {
	var s []encoder
	for _, level := range zlibOrder {
		s = append(s, encoder{fmt.Sprintf("zlib/%d", level), openDeflate(deflate.Options{Flavour: deflate.Zlib, Level: level})})
	}
	return s
}

func openDeflate(o deflate.Options) opener {
	return func(m *meter, w io.Writer) (io.WriteCloser, error) {
		o := o
		o.Work = m
		return deflate.NewWriter(w, o)
	}
}

// xzEncoders are those of XZ Utils: the tool at its presets, with the checks that it and
// Linux ask for, in one thread and in several; Linux's own calls of it, which have
// another dictionary and filters; and what mksquashfs makes of a block of data and of
// metadata. Then those of ulikunitz/xz, one block with a dictionary of 8 MiB.
func xzEncoders() []encoder {
	var s []encoder
	for _, c := range []struct {
		name  string
		check lzmaexact.Check
	}{{"xz", lzmaexact.CRC64}, {"xz/crc32", lzmaexact.CRC32}} {
		for _, p := range xzPresets {
			s = append(s, encoder{asking(c.name + "/" + p.name), openLZMA(lzmaexact.Options{
				Format: lzmaexact.XZ, Check: c.check, Preset: p.level, Extreme: p.extreme,
			})})
		}
	}
	s = append(s, encoder{asking("xz/6/threads"), openLZMA(lzmaexact.Options{Format: lzmaexact.XZThreaded, Check: lzmaexact.CRC64, Preset: 6})})
	for _, f := range xzFilters {
		o := lzmaexact.Options{Format: lzmaexact.XZ, Check: lzmaexact.CRC32, Preset: 6, Dict: 32 << 20, BCJ: f.bcj}
		s = append(s, encoder{asking("linux/32M" + f.name), openLZMA(o)})
	}
	s = append(s, encoder{asking("linux/1M"), openLZMA(lzmaexact.Options{Format: lzmaexact.XZ, Check: lzmaexact.CRC32, Preset: 6, Dict: 1 << 20})})
	for _, f := range xzFilters {
		for _, block := range squashfsBlocks {
			if f.bcj != lzmaexact.NoBCJ && block == squashfsMetadata {
				continue
			}
			o := lzmaexact.Options{Format: lzmaexact.XZBuffer, Check: lzmaexact.CRC32, Preset: 6, Dict: uint32(block), BCJ: f.bcj}
			s = append(s, encoder{asking(fmt.Sprintf("mksquashfs/%dK%s", block>>10, f.name)), openLZMA(o)})
		}
	}
	for _, c := range []struct {
		name  string
		check byte
	}{{"crc64", xz.CRC64}, {"crc32", xz.CRC32}, {"sha256", xz.SHA256}} {
		s = append(s, encoder{asking("ulikunitz/" + c.name), func(m *meter, w io.Writer) (io.WriteCloser, error) {
			return xz.WriterConfig{CheckSum: c.check}.NewWriter(w)
		}})
	}
	return s
}

var xzPresets = []struct {
	name    string
	level   int
	extreme bool
}{{"6", 6, false}, {"9", 9, false}, {"9e", 9, true}, {"6e", 6, true}, {"8", 8, false}, {"7", 7, false}, {"3", 3, false}, {"2", 2, false}, {"1", 1, false}, {"0", 0, false}}

// xzFilters are those that make branches absolute, none first.
var xzFilters = []struct {
	name string
	bcj  lzmaexact.BCJ
}{{"", lzmaexact.NoBCJ}, {"/x86", lzmaexact.X86}, {"/arm", lzmaexact.ARM}, {"/armthumb", lzmaexact.ARMThumb}, {"/powerpc", lzmaexact.PowerPC}}

// squashfsBlocks are the sizes of block that mksquashfs is told, the default first; by
// them it sets its dictionaries. Metadata stands in blocks of squashfsMetadata.
var squashfsBlocks = []int{128 << 10, squashfsMetadata, 256 << 10, 1 << 20, 512 << 10, 64 << 10}

const (
	squashfsMetadata = 8 << 10
	squashfsLargest  = 1 << 20
)

// encodeMemory is what an encoder may come to hold, in bytes.
const encodeMemory = 192 << 20

// openLZMA returns what opens an encoder of liblzma's. One with a large dictionary
// gives up on input that would take it past encodeMemory, and one that makes blocks of
// squashfs on what is none: it writes nothing to compare until it has all.
func openLZMA(o lzmaexact.Options) opener {
	return func(m *meter, w io.Writer) (io.WriteCloser, error) {
		o := o
		o.Work, m.rate = m, lzmaSteps
		z, err := lzmaexact.NewWriter(w, o)
		return &boundedLZMA{Writer: z, o: o}, err
	}
}

type boundedLZMA struct {
	*lzmaexact.Writer
	o lzmaexact.Options
	n int64
}

func (z *boundedLZMA) Write(p []byte) (int, error) {
	z.n += int64(len(p))
	need, err := z.o.Memory(z.n)
	if err == nil && z.o.Format == lzmaexact.XZBuffer && z.n > squashfsLargest {
		err = errors.New("more than a block of squashfs")
	}
	if err == nil && need > encodeMemory {
		err = fmt.Errorf("encoding so much takes %d bytes of memory", need)
	}
	if err != nil {
		return 0, err
	}
	return z.Writer.Write(p)
}

// lzmaEncoders are those of XZ Utils at its presets; what mksquashfs makes of a
// block; and that of ulikunitz/xz: a dictionary of 8 MiB, an end marker and no size in
// the header.
func lzmaEncoders() []encoder {
	var s []encoder
	for _, p := range xzPresets {
		s = append(s, encoder{asking("xz/" + p.name), openLZMA(lzmaexact.Options{Format: lzmaexact.Alone, Preset: p.level, Extreme: p.extreme})})
	}
	for _, block := range squashfsBlocks {
		s = append(s, encoder{asking(fmt.Sprintf("mksquashfs/%dK", block>>10)), func(m *meter, w io.Writer) (io.WriteCloser, error) {
			m.rate = lzmaSteps
			return &sizedLZMA{m: m, w: w, dict: uint32(block)}, nil
		}})
	}
	return append(s, encoder{
		asking("ulikunitz/marker"), func(m *meter, w io.Writer) (io.WriteCloser, error) {
			// The writer takes single bytes from here on, hence the buffer.
			b := bufio.NewWriterSize(w, bufferSize)
			l, err := lzma.NewWriter(b)
			if err != nil {
				return nil, err
			}
			return flushed{l, b}, nil
		},
	})
}

// A sizedLZMA encodes a block as mksquashfs does with lzma: an end marker, and all the
// same the size in the header. It gives up on what is no block.
type sizedLZMA struct {
	m     *meter
	w     io.Writer
	dict  uint32
	block []byte
}

func (z *sizedLZMA) Write(p []byte) (int, error) {
	if len(z.block)+len(p) > squashfsLargest {
		return 0, errors.New("more than a block of squashfs")
	}
	z.block = append(z.block, p...)
	return len(p), nil
}

func (z *sizedLZMA) Close() error {
	w, err := lzmaexact.NewWriter(z.w, lzmaexact.Options{Format: lzmaexact.Alone, Preset: 5, Dict: z.dict, Size: int64(len(z.block)), Work: z.m})
	if err != nil {
		return err
	}
	if _, err := w.Write(z.block); err != nil {
		return err
	}
	return w.Close()
}

// lz4BlockEncoders are those of mksquashfs, and the level that people ask for.
func lz4BlockEncoders() []encoder {
	var s []encoder
	for _, level := range []int{1, 12, 9} {
		s = append(s, encoder{fmt.Sprintf("lz4/%d", level), openLZ4(lz4exact.Options{Format: lz4exact.Block, Level: level})})
	}
	return s
}

func openLZ4(o lz4exact.Options) opener {
	return func(m *meter, w io.Writer) (io.WriteCloser, error) {
		o := o
		o.Work, m.rate = m, lz4Steps
		return lz4exact.NewWriter(w, o)
	}
}

// lzoBlockEncoders are those of mkfs.ubifs, mkfs.jffs2 and mksquashfs, and Linux's.
func lzoBlockEncoders() []encoder {
	var s []encoder
	for _, c := range []struct {
		name string
		o    lzoexact.Options
	}{
		{"lzo1x_999/8+optimize", lzoexact.Options{Method: lzoexact.LZO1X999, Level: 8, Optimize: true}}, // mksquashfs
		{"lzo1x_999/8", lzoexact.Options{Method: lzoexact.LZO1X999, Level: 8}},
		{"lzo1x_1", lzoexact.Options{Method: lzoexact.LZO1X1}},
		{"lzo1x_1_15", lzoexact.Options{Method: lzoexact.LZO1X115}},
		{"lzo1x_999/9+optimize", lzoexact.Options{Method: lzoexact.LZO1X999, Level: 9, Optimize: true}},
		{"lzo1x_999/9", lzoexact.Options{Method: lzoexact.LZO1X999, Level: 9}},
	} {
		s = append(s, encoder{c.name, openLZO(c.o)})
	}
	return s
}

func openLZO(o lzoexact.Options) opener {
	return func(m *meter, w io.Writer) (io.WriteCloser, error) {
		o := o
		o.Work = m
		return lzoexact.NewWriter(w, o)
	}
}

// lzopEncoders are those of lzop at its levels, of which 3 stands for 2 to 6.
func lzopEncoders(sum lzopSum) []encoder {
	var s []encoder
	for _, c := range []struct {
		level int
		o     lzoexact.Options
	}{
		{9, lzoexact.Options{Method: lzoexact.LZO1X999, Level: 9, Optimize: true}},
		{3, lzoexact.Options{Method: lzoexact.LZO1X1}},
		{1, lzoexact.Options{Method: lzoexact.LZO1X115}},
		{8, lzoexact.Options{Method: lzoexact.LZO1X999, Level: 8, Optimize: true}},
		{7, lzoexact.Options{Method: lzoexact.LZO1X999, Level: 7, Optimize: true}},
	} {
		s = append(s, encoder{fmt.Sprintf("lzop/%d", c.level), func(m *meter, w io.Writer) (io.WriteCloser, error) {
			return &lzopWriter{w: w, sum: sum, open: func(w io.Writer) (io.WriteCloser, error) { return openLZO(c.o)(m, w) }}, nil
		}})
	}
	return s
}

// lzopBlock is how much lzop puts into a block, in bytes.
const lzopBlock = 256 << 10

// An lzopWriter writes the blocks of a file of lzop, and its end mark.
type lzopWriter struct {
	w     io.Writer
	sum   lzopSum
	open  func(io.Writer) (io.WriteCloser, error)
	block []byte
}

func (z *lzopWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(len(p), lzopBlock-len(z.block))
		z.block = append(z.block, p[:k]...)
		p = p[k:]
		if len(z.block) == lzopBlock {
			if err := z.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (z *lzopWriter) Close() error {
	if len(z.block) > 0 {
		if err := z.flush(); err != nil {
			return err
		}
	}
	_, err := z.w.Write(make([]byte, 4))
	return err
}

// flush writes a block: as it is, if it would not shrink.
func (z *lzopWriter) flush() error {
	var packed bytes.Buffer
	e, err := z.open(&packed)
	if err != nil {
		return err
	}
	if _, err := e.Write(z.block); err != nil {
		return err
	}
	if err := e.Close(); err != nil {
		return err
	}
	data := packed.Bytes()
	if len(data) >= len(z.block) {
		data = z.block
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(z.block)))
	head = binary.BigEndian.AppendUint32(head, uint32(len(data)))
	if z.sum.sum != nil {
		sum := z.sum.sum()
		sum.Write(z.block)
		head = sum.Sum(head)
	}
	if _, err := z.w.Write(head); err != nil {
		return err
	}
	_, err = z.w.Write(data)
	z.block = z.block[:0]
	return err
}

// zlibEncoders are zlib's at its levels, and the standard library's at its default, best
// and fastest level.
func zlibEncoders() []encoder {
	var s []encoder
	for i, e := range zlibLevels() {
		s = append(s, zlibOf(e.name, zlibOrder[i], e.open))
	}
	for _, level := range []int{6, 9, 1} {
		s = append(s, zlibOf(fmt.Sprintf("go-zlib/%d", level), level, openFlate(level)))
	}
	return s
}

// zlibOf makes an encoder of zlib streams of one of DEFLATE. The level is that of
// zlib, which the header tells roughly; the window is 32 KiB.
func zlibOf(name string, level int, open opener) encoder {
	head := uint16(0x7800) // 32 KiB, deflate
	switch {
	case level >= 7:
		head |= 3 << 6
	case level == 6:
		head |= 2 << 6
	case level >= 2:
		head |= 1 << 6
	}
	head += 31 - head%31
	return encoder{name, func(m *meter, w io.Writer) (io.WriteCloser, error) {
		if _, err := w.Write(binary.BigEndian.AppendUint16(nil, head)); err != nil {
			return nil, err
		}
		z, err := open(m, w)
		return &zlibWriter{z, w, adler32.New()}, err
	}}
}

// A zlibWriter ends what a DEFLATE encoder wrote with the checksum.
type zlibWriter struct {
	io.WriteCloser
	w   io.Writer
	sum hash.Hash32
}

func (z *zlibWriter) Write(p []byte) (int, error) {
	z.sum.Write(p)
	return z.WriteCloser.Write(p)
}

func (z *zlibWriter) Close() error {
	if err := z.WriteCloser.Close(); err != nil {
		return err
	}
	_, err := z.w.Write(z.sum.Sum(nil))
	return err
}

// zstdEncoders are those of klauspost/compress: streams of unknown size, with a
// checksum, the windows that go with the levels.
func zstdEncoders() []encoder {
	var s []encoder
	for _, level := range []zstd.EncoderLevel{zstd.SpeedDefault, zstd.SpeedFastest, zstd.SpeedBetterCompression, zstd.SpeedBestCompression} {
		s = append(s, encoder{asking("klauspost/" + level.String()), func(m *meter, w io.Writer) (io.WriteCloser, error) {
			return zstd.NewWriter(w, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true))
		}})
	}
	return s
}

// lz4Encoders are those of the tool: frames at its default, high and highest levels,
// legacy frames as for kernels and their file systems; and those of pierrec/lz4.
func lz4Encoders() []encoder {
	var s []encoder
	for _, level := range []int{1, 9, 12} {
		s = append(s, encoder{fmt.Sprintf("lz4/%d;frame", level), openLZ4(lz4exact.Options{Format: lz4exact.Frame, Level: level})})
	}
	for _, level := range []int{9, 1, 12} {
		s = append(s, encoder{fmt.Sprintf("lz4/%d;legacy", level), openLZ4(lz4exact.Options{Format: lz4exact.Legacy, Level: level})})
	}
	for _, c := range []struct {
		name    string
		options []lz4.Option
	}{
		{"pierrec;pierrec", nil},
		{"pierrec/9;pierrec", []lz4.Option{lz4.CompressionLevelOption(lz4.Level9)}},
	} {
		open := func(_ *meter, w io.Writer) (io.WriteCloser, error) {
			z := lz4.NewWriter(w)
			return z, z.Apply(c.options...)
		}
		if len(c.options) > 0 {
			open = pierrecChains.counted(open)
		}
		s = append(s, encoder{c.name, open})
	}
	return s
}

// flushed flushes a buffer behind a writer when that is closed.
type flushed struct {
	io.WriteCloser
	buf *bufio.Writer
}

func (f flushed) Close() error { return errors.Join(f.WriteCloser.Close(), f.buf.Flush()) }

func encode(m *meter, e encoder, w io.Writer, r io.Reader) error {
	z, err := e.open(m, w)
	if err != nil {
		return err
	}
	// Full buffers throughout: how the reader cuts the data cannot matter.
	buf := make([]byte, bufferSize)
	for {
		n, end, err := readFull(r, buf)
		if err != nil {
			return err
		}
		m.allow(n)
		if err := m.Spend(n * touchSteps); err != nil {
			return err
		}
		if _, err := z.Write(buf[:n]); err != nil {
			return err
		}
		if end {
			return z.Close()
		}
	}
}

// readFull fills p or reports the end. Unlike io.ReadFull it tells the end from
// a reader that fails with io.ErrUnexpectedEOF.
func readFull(r io.Reader, p []byte) (n int, end bool, err error) {
	for n < len(p) {
		k, err := r.Read(p[n:])
		n += k
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}
