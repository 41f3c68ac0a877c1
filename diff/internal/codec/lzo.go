package codec

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// decodeLZO decodes one LZO1X block, which ends with its marker.
func decodeLZO(ctx context.Context, lim Limits, w io.Writer, r io.Reader) error {
	return decodeBlock(ctx, lim, w, r, lzoDecode)
}

var errLZOEnd = fmt.Errorf("truncated: %w", io.ErrUnexpectedEOF)

// An lzoState is what the next instruction below 16 depends on: the number of
// literals just copied.
type lzoState int

const (
	lzoMatched lzoState = 0 // none; 1 to 3 came with a match
	lzoRun     lzoState = 4 // a run of four or more
)

// lzoDecode decodes an LZO1X stream (Documentation/staging/lzo.rst of Linux, its
// bitstream version 0), which b ends with.
func lzoDecode(b []byte, w *window) error {
	state := lzoMatched
	if len(b) > 0 && b[0] > 17 {
		n := int(b[0]) - 17
		if n >= len(b) {
			return errLZOEnd
		}
		if err := w.write(b[1 : 1+n]); err != nil {
			return err
		}
		b = b[1+n:]
		state = min(lzoState(n), lzoRun)
	}
	for {
		if len(b) == 0 {
			return errLZOEnd
		}
		op := int(b[0])
		b = b[1:]
		var dist, n, literals int
		switch {
		case op < 16 && state == lzoMatched:
			if op == 0 {
				var ok bool
				if op, b, ok = lzoLength(b, 15); !ok {
					return errLZOEnd
				}
			}
			if op+3 > len(b) {
				return errLZOEnd
			}
			if err := w.write(b[:op+3]); err != nil {
				return err
			}
			b = b[op+3:]
			state = lzoRun
			continue
		case op < 16 || op >= 64: // one more byte
			if len(b) == 0 {
				return errLZOEnd
			}
			switch {
			case op >= 64:
				dist, n = op>>2&7+int(b[0])<<3+1, op>>5+1
			case state == lzoRun:
				dist, n = op>>2+int(b[0])<<2+1+2<<10, 3
			default:
				dist, n = op>>2+int(b[0])<<2+1, 2
			}
			literals = op & 3
			b = b[1:]
		default: // a length and two bytes
			mask := 7
			if op >= 32 {
				mask = 31
			}
			if n = op & mask; n == 0 {
				var ok bool
				if n, b, ok = lzoLength(b, mask); !ok {
					return errLZOEnd
				}
			}
			n += 2
			if len(b) < 2 {
				return errLZOEnd
			}
			v := int(binary.LittleEndian.Uint16(b))
			b = b[2:]
			literals = v & 3
			dist = v>>2 + 1
			if op < 32 {
				dist = v>>2 + op&8<<11 + 16<<10
				if dist == 16<<10 {
					return lzoEnd(op, v, len(b))
				}
			}
		}
		if err := w.match(dist, n); err != nil {
			return err
		}
		if literals > len(b) {
			return errLZOEnd
		}
		if err := w.write(b[:literals]); err != nil {
			return err
		}
		b = b[literals:]
		state = lzoState(literals)
	}
}

// lzoEnd says whether op with the two bytes v is the end marker, and the end.
func lzoEnd(op, v, left int) error {
	if op != 0x11 || v != 0 {
		return errors.New("an end marker that is none")
	}
	if left > 0 {
		return fmt.Errorf("0x%x bytes after the end marker", left)
	}
	return nil
}

// lzoLength reads a length that begins with n: 255 for each zero byte.
func lzoLength(b []byte, n int) (int, []byte, bool) {
	for i, c := range b {
		if c != 0 {
			return n + int(c), b[i+1:], true
		}
		if n += 255; n > 1<<30 { // more than any block decodes to
			break
		}
	}
	return 0, nil, false
}
