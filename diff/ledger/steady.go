package ledger

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync"
)

// ErrChanged reports an image that did not read the same twice.
var ErrChanged = errors.New("image changed while it was being read")

const blockSize = 64 << 10

// steady reads an image whose bytes must be the same each time they are read:
// the first pass digests it and notes a keyed hash of every block, and every
// later read is held against that. Codecs may read from goroutines of their own.
type steady struct {
	mu     sync.Mutex
	err    error // the first read that failed or gave other bytes
	r      io.ReaderAt
	size   int64
	seed   maphash.Seed
	blocks []uint64
	buf    []byte // the block held last
	held   int64  // its number, or -1
}

// newSteady reads the whole image once and returns it with its SHA-256.
func newSteady(ctx context.Context, img Image) (*steady, Side, error) {
	if img.Size < 0 {
		return nil, Side{}, fmt.Errorf("image of %d bytes", img.Size)
	}
	s := &steady{
		r: img.ReaderAt, size: img.Size, seed: maphash.MakeSeed(), held: -1,
		blocks: make([]uint64, 0, min(img.Size/blockSize+1, 1<<16)),
	}
	h := sha256.New()
	buf := make([]byte, min(16*blockSize, max(img.Size, 1)))
	for off := int64(0); off < img.Size; off += int64(len(buf)) {
		if err := ctx.Err(); err != nil {
			return nil, Side{}, err
		}
		b := buf[:min(int64(len(buf)), img.Size-off)]
		if err := readFull(s.r, b, off); err != nil {
			return nil, Side{}, err
		}
		h.Write(b)
		for i := 0; i < len(b); i += blockSize {
			s.blocks = append(s.blocks, maphash.Bytes(s.seed, b[i:min(i+blockSize, len(b))]))
		}
	}
	side := Side{Size: img.Size}
	h.Sum(side.Sum[:0])
	return s, side, nil
}

// readFull fills b from off, and calls a short read what it is.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading %d bytes at %d: %w", len(b), off, err)
}

func (s *steady) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > s.size {
		return 0, fmt.Errorf("offset %d outside an image of %d bytes", off, s.size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at == s.size {
			return n, io.EOF
		}
		k := at / blockSize
		start := k * blockSize
		length := min(blockSize, s.size-start)
		if at == start && int64(len(p)-n) >= length && k != s.held {
			// A whole block goes straight to where it is wanted.
			b := p[n : n+int(length)]
			if err := s.block(b, k); err != nil {
				return n, err
			}
			n += int(length)
			continue
		}
		if k != s.held {
			if s.buf == nil {
				s.buf = make([]byte, min(blockSize, s.size))
			}
			s.held = -1
			if err := s.block(s.buf[:length], k); err != nil {
				return n, err
			}
			s.held = k
		}
		n += copy(p[n:], s.buf[at-start:length])
	}
	return n, nil
}

// failed returns the first error of any read.
func (s *steady) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *steady) block(b []byte, k int64) error {
	err := readFull(s.r, b, k*blockSize)
	if err == nil && maphash.Bytes(s.seed, b) != s.blocks[k] {
		err = fmt.Errorf("at %d: %w", k*blockSize, ErrChanged)
	}
	if s.err == nil {
		s.err = err
	}
	return err
}
