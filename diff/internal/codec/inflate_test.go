package codec

import (
	"bytes"
	"testing"
)

// Each bit of streams of all block types flipped, each end cut: the walk and the
// standard library accept the same streams and end them at the same byte.
func TestDeflateAgreesWithStandardLibrary(t *testing.T) {
	streams := [][]byte{
		encoded(t, "deflate@1", "go-flate/9", text(400)),
		encoded(t, "deflate@1", "go-flate/9", text(2000)),
		encoded(t, "deflate@1", "go-flate/-2", text(300)),
		encoded(t, "deflate@1", "klauspost-flate/1", append(noise(100), text(300)...)),
		encoded(t, "deflate@1", "go-flate/0", text(50)),
		encoded(t, "deflate@1", "go-flate/6", bytes.Repeat([]byte("a"), 600)),
	}
	kinds := map[byte]bool{}
	for _, s := range streams {
		kinds[s[0]>>1&3] = true
		checkDeflate(t, s)
		for i := range s {
			checkDeflate(t, s[:i])
			for bit := range 8 {
				d := bytes.Clone(s)
				d[i] ^= 1 << bit
				checkDeflate(t, d)
			}
		}
	}
	if len(kinds) != 3 {
		t.Errorf("the streams start with blocks of types %v, not of all three", kinds)
	}
	for seed := range 5000 {
		checkDeflate(t, append([]byte{byte(seed)}, noise(200)[seed%97:]...))
	}
}
