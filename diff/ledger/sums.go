package ledger

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"hash/adler32"
	"hash/crc32"
	"hash/crc64"
	"strings"
)

// algorithms is the closed table of checksums and digests.
var algorithms = map[string]func() hash.Hash{
	"bytesum": func() hash.Hash { return new(byteSum) },
	"crc32":   func() hash.Hash { return crc32.NewIEEE() },
	"crc32c":  func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"crc64":   func() hash.Hash { return crc64.New(crc64.MakeTable(crc64.ECMA)) },
	"adler32": func() hash.Hash { return adler32.New() },
	"md5":     md5.New,

	// Checksums without the last inversion, as ext4 has them, and their halves.
	"crc32c-raw":      func() hash.Hash { return newRaw(0, 4) },
	"crc32c-raw-lo16": func() hash.Hash { return newRaw(0, 2) },
	"crc32c-raw-hi16": func() hash.Hash { return newRaw(16, 2) },
	"crc16-raw":       func() hash.Hash { return new(crc16).fresh() },

	// The same, begun with what the first four bytes say instead of all ones: of ext4
	// with metadata_csum_seed.
	"crc32c-seed":      func() hash.Hash { return newSeeded(0, 4) },
	"crc32c-seed-lo16": func() hash.Hash { return newSeeded(0, 2) },
	"crc32c-seed-hi16": func() hash.Hash { return newSeeded(16, 2) },

	"sha1":   sha1.New,
	"sha256": sha256.New,
	"sha384": sha512.New384,
	"sha512": sha512.New,
}

// cryptographic digests anchor themselves: whoever made the deployed image
// cannot fit a range to the digest that stands in the reference. With a CRC and
// a choice of ranges he can.
var cryptographic = map[string]bool{"md5": true, "sha1": true, "sha256": true, "sha384": true, "sha512": true}

// rawSum is a CRC-32C that is not inverted in the end, or size bytes of it from bit
// shift on.
type rawSum struct {
	hash.Hash32
	shift, size int
}

func newRaw(shift, size int) *rawSum {
	return &rawSum{crc32.New(crc32.MakeTable(crc32.Castagnoli)), shift, size}
}

func (s *rawSum) Sum(b []byte) []byte {
	v := binary.BigEndian.AppendUint32(nil, ^s.Sum32()>>s.shift)
	return append(b, v[4-s.size:]...)
}
func (s *rawSum) Size() int { return s.size }

// seededSum is a rawSum that begins with the number that its first four bytes are, little
// endian. Of fewer it is none: all ones.
type seededSum struct {
	shift, size int
	seed        []byte // up to four bytes
	crc         uint32 // inverted
}

func newSeeded(shift, size int) *seededSum { return &seededSum{shift: shift, size: size} }

func (s *seededSum) Write(p []byte) (int, error) {
	n := len(p)
	if k := min(4-len(s.seed), n); k > 0 {
		s.seed, p = append(s.seed, p[:k]...), p[k:]
		if len(s.seed) == 4 {
			s.crc = ^binary.LittleEndian.Uint32(s.seed)
		}
	}
	s.crc = crc32.Update(s.crc, crc32.MakeTable(crc32.Castagnoli), p)
	return n, nil
}

func (s *seededSum) Sum(b []byte) []byte {
	v := binary.BigEndian.AppendUint32(nil, ^s.crc>>s.shift)
	return append(b, v[4-s.size:]...)
}
func (s *seededSum) Reset()         { s.seed, s.crc = nil, 0 }
func (s *seededSum) Size() int      { return s.size }
func (s *seededSum) BlockSize() int { return 1 }

// crc16 is the CRC of polynomial 0x8005, reflected, that begins with all bits set.
type crc16 uint16

func (s *crc16) fresh() *crc16 { s.Reset(); return s }
func (s *crc16) Write(p []byte) (int, error) {
	v := uint16(*s)
	for _, b := range p {
		v ^= uint16(b)
		for range 8 {
			v = v>>1 ^ 0xa001&-(v&1)
		}
	}
	*s = crc16(v)
	return len(p), nil
}
func (s *crc16) Sum(b []byte) []byte { return binary.BigEndian.AppendUint16(b, uint16(*s)) }
func (s *crc16) Reset()              { *s = 0xffff }
func (*crc16) Size() int             { return 2 }
func (*crc16) BlockSize() int        { return 1 }

// byteSum adds up bytes, as tar and cpio do.
type byteSum uint64

func (s *byteSum) Write(p []byte) (int, error) {
	for _, b := range p {
		*s += byteSum(b)
	}
	return len(p), nil
}
func (s *byteSum) Sum(b []byte) []byte { return binary.BigEndian.AppendUint64(b, uint64(*s)) }
func (s *byteSum) Reset()              { *s = 0 }
func (*byteSum) Size() int             { return 8 }
func (*byteSum) BlockSize() int        { return 1 }

// sumIs says whether field spells the digest sum in the style of like.
func sumIs(enc Enc, like, field, sum []byte) bool {
	switch enc {
	case "raw":
		return bytes.Equal(field, sum)
	case "hex":
		if len(like) == 2*len(sum) {
			s := hex.EncodeToString(sum)
			if bytes.ContainsAny(like, "ABCDEF") {
				s = strings.ToUpper(s)
			}
			return string(field) == s
		}
	}
	if len(sum) > 8 {
		return false
	}
	var v [8]byte
	copy(v[8-len(sum):], sum)
	return sameNumber(enc, like, field, binary.BigEndian.Uint64(v[:]))
}
