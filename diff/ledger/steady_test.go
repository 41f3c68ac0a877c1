package ledger

import (
	"bytes"
	"errors"
	"io"
	"math"
	"sync"
	"testing"
)

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i/251)
	}
	return b
}

// Reads at every kind of border give what the image holds, also side by side.
func TestSteadyReads(t *testing.T) {
	for _, size := range []int{0, 1, blockSize - 1, blockSize, blockSize + 1, 16 * blockSize, 16*blockSize + 5} {
		b := pattern(size)
		s, side, err := newSteady(t.Context(), Image{bytes.NewReader(b), int64(size)})
		if err != nil || side.Size != int64(size) {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				for _, base := range []int{0, blockSize, 2 * blockSize, 16 * blockSize, size} {
					for d := -2; d <= 2; d++ {
						off := base + d
						if off < 0 || off > size {
							continue
						}
						p := make([]byte, blockSize*(worker%3)+worker+1)
						n, err := s.ReadAt(p, int64(off))
						want := b[off:min(off+len(p), size)]
						if !bytes.Equal(p[:n], want) || (err == nil) != (n == len(p)) || err != nil && !errors.Is(err, io.EOF) {
							t.Errorf("size %d: %d bytes at %d: %d, %v", size, len(p), off, n, err)
						}
					}
				}
			})
		}
		wg.Wait()
		for _, off := range []int64{-1, int64(size) + 1, math.MaxInt64, math.MinInt64} {
			if n, err := s.ReadAt(make([]byte, 1), off); n != 0 || err == nil {
				t.Errorf("size %d: read %d bytes at %d", size, n, off)
			}
		}
		if s.failed() != nil {
			t.Error(s.failed())
		}
	}
}

func TestSteadyShortImage(t *testing.T) {
	for _, size := range []int64{-1, 11, math.MaxInt64} {
		if _, _, err := newSteady(t.Context(), Image{bytes.NewReader(make([]byte, 10)), size}); err == nil {
			t.Errorf("10 bytes pass as %d", size)
		}
	}
}

func TestRenderNumber(t *testing.T) {
	for _, test := range []struct {
		enc  Enc
		like string
		v    uint64
		want string // "" if refused
	}{
		{"u8", "a", 0x1ff, "\xff"},
		{"u16le", "ab", 0x010203, "\x03\x02"},
		{"u32be", "abcd", math.MaxUint64, "\xff\xff\xff\xff"},
		{"u64le", "abcd", 1, ""},
		{"oct", "0000644\x00", 0o755, "0000755\x00"},
		{"oct", "   644 \x00", 0o755, "   755 \x00"},
		{"oct", "0000644\x00", 0o10000000, ""},
		{"hex", "0000ABCD", 0xef, "000000EF"},
		{"hex", "0000abcd", 0xef, "000000ef"},
		{"dec", "97", 101, "101"},
		{"dec", "101", 97, "97"},
		{"dec", "097", 101, "101"},
		{"dec", "97 ", 101, ""},
		{"dec", "97  ", 101, "101 "},
		{"dec", "101   ", 9, "9     "},
		{"dec", "101\x00", 9, "9\x00\x00\x00"},
		{"dec", "", 1, ""},
		{"dec", "   ", 1, ""},
		{"oct", "", 0, ""},
		{"none", "1", 1, ""},
	} {
		got, ok := renderNumber(test.enc, []byte(test.like), test.v)
		if ok != (test.want != "") || string(got) != test.want {
			t.Errorf("%s %q %d: %q, %v, want %q", test.enc, test.like, test.v, got, ok, test.want)
		}
	}
}

func TestSatAdd(t *testing.T) {
	for _, a := range []int64{0, 1, maxWork - 1, maxWork, math.MaxInt64} {
		for _, b := range []int64{0, 1, maxWork - 1, maxWork, math.MaxInt64} {
			got := satAdd(a, b)
			want := int64(maxWork)
			if a <= maxWork && b <= maxWork-a {
				want = a + b
			}
			if got != want {
				t.Errorf("%d + %d = %d, want %d", a, b, got, want)
			}
		}
	}
}
