package codec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

const (
	lzmaHeader     = 13 // bytes before the LZMA data
	rangeCoderInit = 5  // bytes that the range decoder starts with
	lzmaMaxSize    = 256 << 30
	lzmaMaxMatch   = 273
)

// LZMA describes a .lzma ("alone") file as the LZMA SDK's lzma.txt has it.
//
// Fields, in order: properties, dictionary size, uncompressed size, data.
type LZMA struct {
	Fields     []Field
	Extent     int64 // bytes of the file
	Data       Range
	LC, LP, PB int   // literal context, literal position and position bits
	Dict       int64 // dictionary size of the header, in bytes
	Size       int64 // decoded size of the header, -1 if it leaves it open
	EndMarker  bool  // the data end with a marker
	Decoded    int64 // decoded bytes
}

// parseLZMA reads the header at the start of b. The format has no magic, so a
// header passes only if it looks like one that encoders write.
// Requires len(b) >= lzmaHeader.
func parseLZMA(b []byte) (LZMA, error) {
	p := int(b[0])
	l := LZMA{
		LC:   p % 9,
		LP:   p / 9 % 5,
		PB:   p / 45,
		Dict: int64(binary.LittleEndian.Uint32(b[1:])),
		Size: int64(binary.LittleEndian.Uint64(b[5:])),
	}
	if p >= 9*5*5 || l.LC+l.LP > 4 {
		return LZMA{}, fmt.Errorf("properties 0x%02x at 0x0 are none that encoders write", p)
	}
	if !plausibleDict(uint32(l.Dict)) {
		return LZMA{}, fmt.Errorf("dictionary size 0x%x at 0x1 is none that encoders write", l.Dict)
	}
	if l.Size < -1 || l.Size >= lzmaMaxSize {
		return LZMA{}, fmt.Errorf("uncompressed size 0x%x at 0x5 is not below 256 GiB", uint64(l.Size))
	}
	return l, nil
}

// plausibleDict reports whether n is 2^k or 2^k + 2^(k-1) and at least 4 KiB, or
// all ones.
func plausibleDict(n uint32) bool {
	if n == 1<<32-1 {
		return true
	}
	top := bits.Len32(n) - 1
	return n >= 1<<12 && (n == 1<<top || n == 3<<(top-1))
}

// LooksLikeLZMA reports whether b could start a .lzma file: a header as encoders
// write it, and the zero byte that LZMA data starts with. Others can look so.
func LooksLikeLZMA(b []byte) bool {
	if len(b) < lzmaHeader+rangeCoderInit || b[lzmaHeader] != 0 {
		return false
	}
	_, err := parseLZMA(b)
	return err == nil
}

// WalkLZMA finds the .lzma file at the start of r, which holds size bytes. The
// end is found by decoding. The dictionary grows with what comes out, so a
// header that claims a large one gets none.
//
// Errors: a LimitError; an error saying what is not as in a .lzma file.
func WalkLZMA(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (LZMA, error) {
	l, err := walkLZMA(ctx, r, size, lim)
	if err != nil {
		return LZMA{}, fmt.Errorf("lzma: %w", err)
	}
	return l, nil
}

func walkLZMA(ctx context.Context, r io.ReaderAt, size int64, lim Limits) (LZMA, error) {
	head, err := newCursor(ctx, r, size).next(lzmaHeader)
	if err != nil {
		return LZMA{}, fmt.Errorf("header: %w", err)
	}
	l, err := parseLZMA(head)
	if err != nil {
		return LZMA{}, err
	}
	if err := lim.checkDict(l.Dict); err != nil {
		return LZMA{}, err
	}
	err = growLZMA(ctx, l.Dict, func(dict int64) (int64, error) {
		src := newSource(ctx, io.NewSectionReader(r, 0, size))
		l.Decoded, l.EndMarker, err = expandLZMA(ctx, lim, l, dict, io.Discard, src)
		l.Extent = src.consumed()
		return l.Decoded, err
	})
	if err != nil {
		return LZMA{}, err
	}
	l.Data = Range{lzmaHeader, l.Extent - lzmaHeader}
	l.Fields = []Field{
		{"properties", -1, -1, Range{0, 1}},
		{"dictionary size", -1, -1, Range{1, 4}},
		{"uncompressed size", -1, -1, Range{5, 8}},
		{"data", -1, -1, l.Data},
	}
	return l, nil
}

// growLZMA decodes with ever larger dictionaries, of at most most bytes, until one
// suffices. decode returns how many bytes came out.
func growLZMA(ctx context.Context, most int64, decode func(dict int64) (int64, error)) error {
	for dict := int64(1 << 20); ; dict *= 8 {
		n, err := decode(min(dict, most))
		// Having filled the dictionary, the decoder may have failed at a
		// distance that a larger one allows. It never errs silently.
		var limit *LimitError
		tooSmall := dict < most && n > dict-lzmaMaxMatch
		if err == nil || errors.As(err, &limit) || ctx.Err() != nil || !tooSmall {
			return err
		}
	}
}
