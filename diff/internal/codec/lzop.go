package codec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/adler32"
	"hash/crc32"
	"io"
)

// Lzop describes one file of lzop.
//
// Fields, in order: magic, version, library version, version needed, method, level,
// flags, mode, mtime, mtime high, name length, name if any, header checksum; if
// flagged extra length, extra if any, extra checksum; then for each block:
// uncompressed size, compressed size, adler32 or crc32 if flagged, data; then end
// mark.
type Lzop struct {
	Fields  []Field
	Extent  int64
	Header  Range // what the header checksum covers
	CRC     bool  // checksums of the header are CRC-32, not Adler-32
	Blocks  Range // the blocks and the end mark
	Codec   string
	Decoded int64
}

const (
	lzopMagic    = "\x89LZO\x00\r\n\x1a\n"
	lzopMaxBlock = 64 << 20
)

// Flags of lzop. Others change what the blocks hold and are written by nobody.
const (
	lzopAdler32  = 1 << 0 // of what a block decodes to
	lzopExtra    = 1 << 6
	lzopCRC32    = 1 << 8 // of what a block decodes to
	lzopCRC32Hdr = 1 << 12
	// stdin, stdout, default name, DOS, zone, path; system, character set
	lzopInform = 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<7 | 1<<13 | 0xfff<<20
)

// Checksums of the blocks, which codecs are named by.
type lzopSum struct {
	codec string
	flag  uint32
	name  string
	sum   func() hash.Hash32
}

var (
	lzopAdlerBlocks = lzopSum{"lzop@1", lzopAdler32, "adler32", func() hash.Hash32 { return adler32.New() }}
	lzopCRCBlocks   = lzopSum{"lzop-crc32@1", lzopCRC32, "crc32", func() hash.Hash32 { return crc32.NewIEEE() }}
	lzopPlainBlocks = lzopSum{"lzop-plain@1", 0, "", nil}
)

// WalkLzop finds the file of lzop at the start of r, which holds size bytes. It
// decodes it and verifies every size and checksum. Files that follow are the
// caller's.
//
// Errors: a LimitError; an error saying where the file is unsound.
func WalkLzop(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (Lzop, error) {
	t := newTape(ctx, lim, io.Discard, io.NewSectionReader(r, 0, size), size)
	t.walks, t.stream = true, -1
	var l Lzop
	sum, err := l.header(t)
	if err == nil {
		l.Blocks.Off = t.consumed()
		err = sum.blocks(t)
	}
	if err != nil {
		return Lzop{}, fmt.Errorf("lzop: %w", err)
	}
	l.Extent, l.Decoded, l.Fields, l.Codec = t.consumed(), t.out, t.fields, sum.codec
	l.Blocks.Len = l.Extent - l.Blocks.Off
	return l, nil
}

// header reads the header and returns how blocks are checked.
func (l *Lzop) header(t *tape) (lzopSum, error) {
	b, err := t.take("magic", len(lzopMagic))
	if err != nil {
		return lzopSum{}, err
	}
	if string(b) != lzopMagic {
		return lzopSum{}, errors.New("no magic at 0x0")
	}
	l.Header.Off = t.consumed()
	var head []byte
	for _, f := range []struct {
		name string
		len  int
	}{
		{"version", 2},
		{"library version", 2},
		{"version needed", 2},
		{"method", 1},
		{"level", 1},
		{"flags", 4},
		{"mode", 4},
		{"mtime", 4},
		{"mtime high", 4},
		{"name length", 1},
		{"name", 0},
	} {
		if f.name == "name" {
			f.len = int(head[len(head)-1])
		}
		if b, err = t.take(f.name, f.len); err != nil {
			return lzopSum{}, err
		}
		head = append(head, b...)
	}
	l.Header.Len = int64(len(head))
	flags := binary.BigEndian.Uint32(head[8:])
	sum := lzopPlainBlocks
	switch flags & (lzopAdler32 | lzopCRC32) {
	case lzopAdler32:
		sum = lzopAdlerBlocks
	case lzopCRC32:
		sum = lzopCRCBlocks
	}
	switch version, needed := binary.BigEndian.Uint16(head), binary.BigEndian.Uint16(head[4:]); {
	case version < 0x940 || needed < 0x900 || needed > 0x1040:
		return sum, fmt.Errorf("version %04x, of which %04x is needed, is not known", version, needed)
	case head[6] < 1 || head[6] > 3:
		return sum, fmt.Errorf("method %d is not LZO1X", head[6])
	case flags&^(lzopInform|lzopExtra|lzopCRC32Hdr) != sum.flag:
		return sum, fmt.Errorf("flags %08x are not known", flags)
	}
	if l.CRC = flags&lzopCRC32Hdr != 0; l.CRC {
		err = t.checked("header checksum", lzopCRCBlocks.sum(), head)
	} else {
		err = t.checked("header checksum", lzopAdlerBlocks.sum(), head)
	}
	if err != nil || flags&lzopExtra == 0 {
		return sum, err
	}
	length, err := t.take("extra length", 4)
	if err != nil {
		return sum, err
	}
	head = append(head[:0], length...)
	if b, err = t.load("extra", int64(binary.BigEndian.Uint32(head))); err != nil {
		return sum, err
	}
	head = append(head, b...)
	if l.CRC {
		return sum, t.checked("extra checksum", lzopCRCBlocks.sum(), head)
	}
	return sum, t.checked("extra checksum", lzopAdlerBlocks.sum(), head)
}

// checked reads a checksum, which must be that of b.
func (t *tape) checked(name string, sum hash.Hash32, b []byte) error {
	sum.Write(b)
	got, err := t.u32be(name)
	if err == nil && got != sum.Sum32() {
		err = fmt.Errorf("%s is %08x, it should be %08x", name, got, sum.Sum32())
	}
	return err
}

// blocks reads the blocks and the end mark. With checksums in the header's flags,
// the blocks are not decodable without it: hence a codec for each.
func (s lzopSum) blocks(t *tape) error {
	w := newWindow(t)
	for {
		b, err := t.Peek(4)
		if err != nil {
			return t.short("uncompressed size", 4, err)
		}
		if binary.BigEndian.Uint32(b) == 0 {
			break
		}
		t.nextBlock()
		if err := s.block(t, w); err != nil {
			return fmt.Errorf("block %d: %w", t.block, err)
		}
	}
	t.block = -1
	_, err := t.take("end mark", 4)
	return err
}

func (s lzopSum) block(t *tape, w *window) error {
	size, err := t.u32be("uncompressed size")
	if err != nil {
		return err
	}
	n, err := t.u32be("compressed size")
	if err != nil {
		return err
	}
	if size > lzopMaxBlock || n == 0 || n > size {
		return fmt.Errorf("sizes %d, compressed to %d, are none of a block", size, n)
	}
	var want uint32
	if s.sum != nil {
		if want, err = t.u32be(s.name); err != nil {
			return err
		}
		sum := s.sum()
		t.sum = sum
		defer func() { t.sum = nil }()
	}
	b, err := t.load("data", int64(n))
	if err != nil {
		return err
	}
	before := t.out
	w.begin(int64(size), false)
	if n == size {
		err = w.write(b)
	} else {
		err = lzoDecode(b, w)
	}
	if err == nil {
		err = w.flush()
	}
	if err != nil {
		return err
	}
	if got := t.out - before; got != int64(size) {
		return fmt.Errorf("decodes to %d bytes, not %d", got, size)
	}
	if s.sum == nil {
		return nil
	}
	if has := binary.BigEndian.Uint32(t.sum.Sum(nil)); has != want {
		return fmt.Errorf("%s is %08x, it should be %08x", s.name, want, has)
	}
	return nil
}

// decode decodes the blocks of a file, the end mark included, without its header.
func (s lzopSum) decode(ctx context.Context, lim Limits, w io.Writer, r io.Reader) error {
	t := newTape(ctx, lim, w, r, 1<<62)
	if err := s.blocks(t); err != nil {
		return err
	}
	return t.finished()
}
