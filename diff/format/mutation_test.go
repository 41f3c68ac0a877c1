package format_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/explain"
	"github.com/assaylab/assay/diff/format"
)

// mutations is how many damaged images of each format are tried: ASSAY_MUTATIONS, which
// make fuzz sets, or few.
func mutations(t *testing.T) int {
	text := os.Getenv("ASSAY_MUTATIONS")
	if text == "" {
		return 100
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("ASSAY_MUTATIONS=%s is no number of mutations", text)
	}
	return n
}

// mutated returns a copy of b, damaged in up to eight places.
func mutated(r *rand.Rand, b []byte) []byte {
	out := bytes.Clone(b)
	for range 1 + r.IntN(8) {
		if len(out) < 16 {
			break
		}
		at := r.IntN(len(out) - 8)
		switch r.IntN(9) {
		case 0:
			out[at] ^= 1 << r.IntN(8)
		case 1:
			out[at] = byte(r.Uint32())
		case 2:
			binary.LittleEndian.PutUint16(out[at:], brinks[r.IntN(len(brinks))])
		case 3:
			binary.LittleEndian.PutUint32(out[at:], uint32(brinks[r.IntN(len(brinks))])<<r.IntN(17))
		case 4:
			binary.BigEndian.PutUint32(out[at:], uint32(len(out))+uint32(r.IntN(9))-4)
		case 5:
			binary.LittleEndian.PutUint64(out[at:], r.Uint64()>>r.IntN(64))
		case 6: // one part over another
			n := 1 + r.IntN(min(64, len(out)-at))
			copy(out[r.IntN(len(out)):], out[at:at+n])
		case 7:
			if r.IntN(4) == 0 {
				out = out[:at]
			}
		default:
			if r.IntN(4) == 0 {
				out = append(out, out[at:]...)
			}
		}
	}
	return out
}

var brinks = []uint16{0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x1000, 0x2000, 0x7fff, 0x8000, 0xfffe, 0xffff}

// Damaged images of every format: laid out to the last stream, and every so often
// compared with the sound one. Nothing panics, takes more than two seconds of work and another a
// MiB, or allocates out of proportion.
func TestMutations(t *testing.T) {
	limits := diff.Limits{MaxExpanded: 32 << 20, MaxDict: 8 << 20, MaxNodes: 1 << 18}
	opt := diff.Options{Formats: format.All(), Rules: explain.All(), Codecs: format.Codecs(limits), Limits: limits}
	samples := map[string][]difftest.Sample{}
	for _, s := range difftest.Samples() {
		samples[s.Format] = append(samples[s.Format], s)
	}
	for i, f := range format.All() {
		t.Run(f.Name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(i), 5))
			from := samples[f.Name]
			for n := range mutations(t) {
				s := from[r.IntN(len(from))]
				b := mutated(r, s.Data)
				began, before := worked(t), allocated()
				if _, err := diff.Inspect(t.Context(), diff.Image{ReaderAt: bytes.NewReader(b), Size: int64(len(b))}, n%4 == 0, opt); err != nil {
					t.Fatalf("mutation %d of %s: %v", n, s.Name, err)
				}
				if n%16 == 0 {
					_, err := diff.Compare(t.Context(), diff.Image{ReaderAt: bytes.NewReader(s.Data), Size: int64(len(s.Data))},
						diff.Image{ReaderAt: bytes.NewReader(b), Size: int64(len(b))}, opt)
					if err != nil {
						t.Fatalf("mutation %d of %s, compared: %v", n, s.Name, err)
					}
				}
				// Four times what may be decoded, and what the decoders and the kernel take.
				if got, most := allocated()-before, uint64(512<<20+4096*len(b)); got > most {
					t.Errorf("mutation %d of %s (%d bytes): %d bytes allocated, at most %d", n, s.Name, len(b), got, most)
				}
				if took, most := worked(t)-began, 2*time.Second+time.Second*time.Duration(len(b))>>20; took > most {
					t.Errorf("mutation %d of %s (%d bytes): %v of work, at most %v", n, s.Name, len(b), took, most)
				}
			}
		})
	}
}

// worked returns the processor time that the test has used: what the clock says depends
// on what else the machine does.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
