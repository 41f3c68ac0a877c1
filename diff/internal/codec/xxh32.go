package codec

import (
	"encoding/binary"
	"hash"
	"math/bits"
)

// xxh32 is the 32-bit xxHash with seed 0, as the xxHash specification 0.1.1 has
// it. LZ4 frames are checked by it.
type xxh32 struct {
	acc [4]uint32
	n   uint64 // bytes written
	buf [16]byte
}

const (
	xxPrime1 = 0x9e3779b1
	xxPrime2 = 0x85ebca77
	xxPrime3 = 0xc2b2ae3d
	xxPrime4 = 0x27d4eb2f
	xxPrime5 = 0x165667b1
)

func newXXH32() hash.Hash32 {
	x := new(xxh32)
	x.Reset()
	return x
}

func (x *xxh32) Reset() {
	p1, p2 := uint32(xxPrime1), uint32(xxPrime2)
	*x = xxh32{acc: [4]uint32{p1 + p2, p2, 0, -p1}}
}

func (*xxh32) Size() int      { return 4 }
func (*xxh32) BlockSize() int { return 16 }

func (x *xxh32) Write(p []byte) (int, error) {
	n := len(p)
	held := int(x.n % 16)
	x.n += uint64(n)
	if held > 0 {
		k := copy(x.buf[held:], p)
		if p = p[k:]; held+k < 16 {
			return n, nil
		}
		x.stripe(x.buf[:])
	}
	for ; len(p) >= 16; p = p[16:] {
		x.stripe(p)
	}
	copy(x.buf[:], p)
	return n, nil
}

func (x *xxh32) stripe(p []byte) {
	for i := range x.acc {
		v := x.acc[i] + binary.LittleEndian.Uint32(p[4*i:])*xxPrime2
		x.acc[i] = bits.RotateLeft32(v, 13) * xxPrime1
	}
}

func (x *xxh32) Sum32() uint32 {
	h := uint32(xxPrime5)
	if x.n >= 16 {
		h = bits.RotateLeft32(x.acc[0], 1) + bits.RotateLeft32(x.acc[1], 7) +
			bits.RotateLeft32(x.acc[2], 12) + bits.RotateLeft32(x.acc[3], 18)
	}
	h += uint32(x.n)
	p := x.buf[:x.n%16]
	for ; len(p) >= 4; p = p[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(p)*xxPrime3, 17) * xxPrime4
	}
	for _, b := range p {
		h = bits.RotateLeft32(h+uint32(b)*xxPrime5, 11) * xxPrime1
	}
	h = (h ^ h>>15) * xxPrime2
	h = (h ^ h>>13) * xxPrime3
	return h ^ h>>16
}

func (x *xxh32) Sum(b []byte) []byte { return binary.BigEndian.AppendUint32(b, x.Sum32()) }
