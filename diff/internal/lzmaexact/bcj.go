package lzmaexact

import "encoding/binary"

// A BCJ is a filter that makes the targets of branches absolute before they are
// compressed, so that calls of one function look alike. Its number is that of the
// filter in .xz.
type BCJ byte

// The filters, and NoBCJ for none.
const (
	NoBCJ    BCJ = 0
	X86      BCJ = 4
	PowerPC  BCJ = 5 // big endian
	IA64     BCJ = 6
	ARM      BCJ = 7 // little endian
	ARMThumb BCJ = 8 // little endian
	SPARC    BCJ = 9
	ARM64    BCJ = 10 // as of xz 5.4.0
)

// A branchFilter filters a stream from its beginning.
type branchFilter struct {
	convert func(b []byte, pos uint32) int
	pos     uint32 // of rest
	rest    []byte // taken, not yet converted
}

// newBranchFilter returns nil for a number that is no filter.
func newBranchFilter(b BCJ) *branchFilter {
	switch b {
	case X86:
		return &branchFilter{convert: new(x86).convert}
	case PowerPC:
		return &branchFilter{convert: convertPowerPC}
	case IA64:
		return &branchFilter{convert: convertIA64}
	case ARM:
		return &branchFilter{convert: convertARM}
	case ARMThumb:
		return &branchFilter{convert: convertARMThumb}
	case SPARC:
		return &branchFilter{convert: convertSPARC}
	case ARM64:
		return &branchFilter{convert: convertARM64}
	}
	return nil
}

// take filters p. What it returns is good until the next call; some bytes are kept
// until more is known.
func (f *branchFilter) take(p []byte) []byte {
	f.rest = append(f.rest, p...)
	return f.rest[:f.convert(f.rest, f.pos)]
}

// drop forgets the n bytes that take has returned.
func (f *branchFilter) drop(n int) {
	f.rest = f.rest[:copy(f.rest, f.rest[n:])]
	f.pos += uint32(n)
}

// The converters convert what they can at the start of b, which stands at pos, and
// return how many bytes are settled.

func convertPowerPC(b []byte, pos uint32) int {
	i := 0
	for ; i+4 <= len(b); i += 4 {
		// bl: opcode 18, relative, with link
		if v := binary.BigEndian.Uint32(b[i:]); v&0xFC000003 == 0x48000001 {
			binary.BigEndian.PutUint32(b[i:], 0x48000001|(v+pos+uint32(i))&0x03FFFFFC)
		}
	}
	return i
}

func convertARM(b []byte, pos uint32) int {
	i := 0
	for ; i+4 <= len(b); i += 4 {
		// bl, whatever the condition is not: counted in words from two ahead
		if v := binary.LittleEndian.Uint32(b[i:]); v>>24 == 0xEB {
			binary.LittleEndian.PutUint32(b[i:], 0xEB<<24|(v+(pos+uint32(i)+8)>>2)&0xFFFFFF)
		}
	}
	return i
}

func convertARMThumb(b []byte, pos uint32) int {
	i := 0
	for ; i+4 <= len(b); i += 2 {
		// bl in two halves of eleven bits each
		hi, lo := binary.LittleEndian.Uint16(b[i:]), binary.LittleEndian.Uint16(b[i+2:])
		if hi>>11 != 0x1E || lo>>11 != 0x1F {
			continue
		}
		v := uint32(hi&0x7FF)<<11 | uint32(lo&0x7FF)
		v += (pos + uint32(i) + 4) >> 1
		binary.LittleEndian.PutUint16(b[i:], 0xF000|uint16(v>>11&0x7FF))
		binary.LittleEndian.PutUint16(b[i+2:], 0xF800|uint16(v&0x7FF))
		i += 2
	}
	return i
}

func convertARM64(b []byte, pos uint32) int {
	i := 0
	for ; i+4 <= len(b); i += 4 {
		v, pc := binary.LittleEndian.Uint32(b[i:]), pos+uint32(i)
		switch {
		case v>>26 == 0x25: // bl
			v = 0x94000000 | (v+pc>>2)&0x03FFFFFF
		case v&0x9F000000 == 0x90000000: // adrp, within 512 MiB
			page := v>>29&3 | v>>3&0x1FFFFC
			if (page+0x20000)&0x1C0000 != 0 {
				continue
			}
			page += pc >> 12
			v = v&0x9000001F | page&3<<29 | page&0x3FFFC<<3 | -(page&0x20000)&0xE00000
		default:
			continue
		}
		binary.LittleEndian.PutUint32(b[i:], v)
	}
	return i
}

func convertSPARC(b []byte, pos uint32) int {
	i := 0
	for ; i+4 <= len(b); i += 4 {
		// call, whose displacement of 30 bits fits in 23
		v := binary.BigEndian.Uint32(b[i:])
		if v>>22 != 0x100 && v>>22 != 0x1FF {
			continue
		}
		v += (pos + uint32(i)) >> 2
		binary.BigEndian.PutUint32(b[i:], 0x40000000|-(v>>22&1)<<22&0x3FFFFFFF|v&0x3FFFFF)
	}
	return i
}

func convertIA64(b []byte, pos uint32) int {
	// which of the three slots of a bundle are for branches, by its template
	const slots = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x04\x04\x06\x06\x00\x00\x07\x07\x04\x04\x00\x00\x04\x04\x00\x00"
	i := 0
	for ; i+16 <= len(b); i += 16 {
		for slot := range 3 {
			if slots[b[i]&0x1F]>>slot&1 == 0 {
				continue
			}
			bit := 5 + 41*slot
			at, shift := b[i+bit>>3:][:6], bit&7
			var word uint64
			for j := range at {
				word |= uint64(at[j]) << (8 * j)
			}
			v := word >> shift
			if v>>37&0xF != 5 || v>>9&7 != 0 {
				continue
			}
			target := uint32(v>>13&0xFFFFF) | uint32(v>>36&1)<<20
			target += (pos + uint32(i)) >> 4
			v &^= 0x8FFFFF << 13
			v |= uint64(target&0xFFFFF)<<13 | uint64(target>>20&1)<<36
			word = word&(1<<shift-1) | v<<shift
			for j := range at {
				at[j] = byte(word >> (8 * j))
			}
		}
	}
	return i
}

// An x86 remembers which of the bytes just before look like parts of branches: code
// and data mix, and what might be the inside of a branch is not converted.
type x86 struct {
	near uint32 // a bit for each of them, the latest lowest; bit 4: its highest byte was plausible
	last uint32 // where the latest stood
	any  bool
}

func plausible(b byte) bool { return b == 0 || b == 0xFF }

func (x *x86) convert(b []byte, pos uint32) int {
	i := 0
	for i+5 <= len(b) {
		if b[i]&0xFE != 0xE8 {
			i++
			continue
		}
		at := pos + uint32(i)
		if gap := at - x.last; !x.any || gap > 5 {
			x.near = 0
		} else {
			for range gap {
				x.near = x.near & 0x77 << 1
			}
		}
		x.last, x.any = at, true
		top := b[i+4]
		// Three of the eight patterns of the three bytes before, and none, allow it.
		ok := x.near>>1 < 0x10 && (x.near>>1&7 < 3 || x.near>>1&7 == 4)
		if !plausible(top) || !ok {
			i++
			x.near |= 1
			if plausible(top) {
				x.near |= 0x10
			}
			continue
		}
		src := binary.LittleEndian.Uint32(b[i+1:])
		var dest uint32
		for {
			dest = src + at + 5
			if x.near == 0 {
				break
			}
			n := [...]uint32{0, 1, 2, 2, 3, 3, 3, 3}[x.near>>1&7]
			if !plausible(byte(dest >> (24 - n*8))) {
				break
			}
			src = dest ^ (1<<(32-n*8) - 1)
		}
		binary.LittleEndian.PutUint32(b[i+1:], dest&0x1FFFFFF|-(dest>>24&1)<<24)
		i += 5
		x.near = 0
	}
	return i
}
