package codec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	lzipMagic = "LZIP\x01" // with the version
)

// WalkLzip finds the lzip members at the start of r, which holds size bytes, as
// the manual of lzip has them. It decodes them and verifies every size and checksum.
// The dictionary grows with what comes out, as in [WalkLZMA].
//
// Fields of a member, in order: magic, version, dictionary size, data, crc32, data
// size, member size.
//
// Errors: a LimitError; an error saying where the first member is unsound.
func WalkLzip(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (Frames, error) {
	f, err := walkFrames(ctx, r, size, lim, lzipMember(r), len(lzipMagic), func(b []byte) bool {
		return string(b) == lzipMagic
	})
	if err != nil {
		return Frames{}, fmt.Errorf("lzip: %w", err)
	}
	return f, nil
}

// decodeLzip decodes members.
func decodeLzip(ctx context.Context, lim Limits, w io.Writer, r io.Reader) error {
	return decodeFrames(lzipMember(nil))(ctx, lim, w, r)
}

// lzipMember reads a member. With r, which t reads too, the dictionary grows with
// what comes out; without, it is what the header asks for.
func lzipMember(r io.ReaderAt) func(*tape) error {
	return func(t *tape) error {
		start, before := t.consumed(), t.out
		b, err := t.take("magic", 4)
		if err != nil {
			return err
		}
		if string(b) != lzipMagic[:4] {
			return fmt.Errorf("no magic at 0x%x", start)
		}
		if b, err = t.take("version", 1); err != nil {
			return err
		}
		if b[0] != 1 {
			return fmt.Errorf("version %d is not 1", b[0])
		}
		if b, err = t.take("dictionary size", 1); err != nil {
			return err
		}
		dict := int64(1) << (b[0] & 31)
		dict -= dict / 16 * int64(b[0]>>5)
		if dict < 4<<10 || dict > 512<<20 {
			return fmt.Errorf("dictionary size %d is not in 4 KiB to 512 MiB", dict)
		}
		if err := t.lim.checkDict(dict); err != nil {
			return err
		}
		at, sum := t.consumed(), crc32.NewIEEE()
		data := func(dict int64, w io.Writer, src *source) (int64, error) {
			sum.Reset()
			n, marker, err := expandRaw(t.ctx, t.lim, lzipHead(), dict, io.MultiWriter(sum, w), src)
			if err == nil && !marker {
				err = errors.New("no end marker")
			}
			return n, err
		}
		if r == nil {
			_, err = data(dict, t, t.source)
		} else {
			var src *source
			err = growLZMA(t.ctx, dict, func(dict int64) (int64, error) {
				t.out = before
				src = newSource(t.ctx, io.NewSectionReader(r, at, t.size-at))
				defer func() { t.counted.failed = src.counted.failed }()
				return data(dict, t, src)
			})
			if err == nil {
				_, err = t.Discard(int(src.consumed()))
			}
		}
		if err != nil {
			return err
		}
		t.note("data", t.consumed()-at)
		if b, err = t.take("crc32", 4); err != nil {
			return err
		}
		if got := binary.LittleEndian.Uint32(b); got != sum.Sum32() {
			return fmt.Errorf("crc32 is %08x, the data have %08x", got, sum.Sum32())
		}
		if b, err = t.take("data size", 8); err != nil {
			return err
		}
		if got, has := binary.LittleEndian.Uint64(b), t.out-before; got != uint64(has) {
			return fmt.Errorf("data size is %d, it should be %d", got, has)
		}
		if b, err = t.take("member size", 8); err != nil {
			return err
		}
		if got, has := binary.LittleEndian.Uint64(b), t.consumed()-start; got != uint64(has) {
			return fmt.Errorf("member size is %d, it should be %d", got, has)
		}
		return nil
	}
}

// lzipHead is the .lzma header of what a member holds: lc 3, lp 0, pb 2, the
// dictionary to be filled in, and no size.
func lzipHead() []byte {
	return []byte{0x5d, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
}
