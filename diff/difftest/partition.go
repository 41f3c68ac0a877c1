package difftest

import (
	"encoding/binary"
	"hash/crc32"
	"unicode/utf16"
)

// An MBR is a disk with a master boot record, in blocks of 512 bytes. Where there
// are logical partitions, the fourth entry is an extended partition, each of them
// behind a boot record of its own.
type MBR struct {
	Signature uint32
	Gap       int // blocks in no partition, before each of them
	Primary   []MBRPartition
	Logical   []MBRPartition
}

// An MBRPartition is a partition whose content is filled up with zeros.
type MBRPartition struct {
	Type    byte
	Content []byte
}

// block is the length of a logical block.
const block = 512

func blocks(b []byte) int { return (len(b) + block - 1) / block }

// Bytes returns the disk.
func (m MBR) Bytes() []byte {
	le := binary.LittleEndian
	b := make([]byte, block)
	copy(b, "\xfa\x33\xc0")
	le.PutUint32(b[440:], m.Signature)
	entry := func(record, n int, kind byte, first, count int) {
		e := b[record+446+16*n:]
		e[4] = kind
		le.PutUint32(e[8:], uint32(first))
		le.PutUint32(e[12:], uint32(count))
	}
	sign := func(record int) { copy(b[record+510:], "\x55\xaa") }
	gap := func() { b = append(b, make([]byte, m.Gap*block)...) }
	content := func(p []byte) {
		b = append(append(b, p...), make([]byte, blocks(p)*block-len(p))...)
	}
	sign(0)
	for i, p := range m.Primary {
		gap()
		entry(0, i, p.Type, len(b)/block, blocks(p.Content))
		content(p.Content)
	}
	if len(m.Logical) == 0 {
		return b
	}
	base, last := len(b)/block, 0
	for i, p := range m.Logical {
		at := len(b)
		b = append(b, make([]byte, block)...)
		sign(at)
		if i > 0 {
			entry(last, 1, 0x05, at/block-base, 1+m.Gap+blocks(p.Content))
		}
		last = at
		gap()
		entry(at, 0, p.Type, (len(b)-at)/block, blocks(p.Content))
		content(p.Content)
	}
	entry(0, 3, 0x05, base, len(b)/block-base)
	return b
}

// A GPT is a disk with a GUID partition table, which has few entries.
type GPT struct {
	Block      int // bytes
	Disk       [16]byte
	Entries    int
	Gap        int // blocks in no partition, before each of them and behind the last
	Partitions []GPTPartition
}

// A GPTPartition is a partition whose content is filled up with zeros.
type GPTPartition struct {
	Type, ID [16]byte
	Name     string
	Content  []byte
}

// Bytes returns the disk.
func (g GPT) Bytes() []byte {
	le := binary.LittleEndian
	round := func(n int) int { return (n + g.Block - 1) / g.Block }
	array := make([]byte, g.Entries*128)
	tableLen := round(len(array))
	b := make([]byte, (2+tableLen)*g.Block)
	usable := len(b) / g.Block
	for i, p := range g.Partitions {
		b = append(b, make([]byte, g.Gap*g.Block)...)
		e := array[128*i:]
		copy(e, p.Type[:])
		copy(e[16:], p.ID[:])
		n := round(len(p.Content))
		le.PutUint64(e[32:], uint64(len(b)/g.Block))
		le.PutUint64(e[40:], uint64(len(b)/g.Block+n-1))
		for k, u := range utf16.Encode([]rune(p.Name)) {
			le.PutUint16(e[56+2*k:], u)
		}
		b = append(append(b, p.Content...), make([]byte, n*g.Block-len(p.Content))...)
	}
	b = append(b, make([]byte, g.Gap*g.Block)...)
	last := len(b)/g.Block - 1
	b = append(b, make([]byte, (tableLen+1)*g.Block)...)
	end := len(b)/g.Block - 1

	copy(b[2*g.Block:], array)
	copy(b[(last+1)*g.Block:], array)
	header := func(at, other, entries int) {
		h := b[at*g.Block:]
		copy(h, "EFI PART\x00\x00\x01\x00\x5c")
		le.PutUint64(h[24:], uint64(at))
		le.PutUint64(h[32:], uint64(other))
		le.PutUint64(h[40:], uint64(usable))
		le.PutUint64(h[48:], uint64(last))
		copy(h[56:], g.Disk[:])
		le.PutUint64(h[72:], uint64(entries))
		le.PutUint32(h[80:], uint32(g.Entries))
		le.PutUint32(h[84:], 128)
		le.PutUint32(h[88:], crc32.ChecksumIEEE(array))
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
	}
	header(1, end, 2)
	header(end, 1, last+1)
	b[450] = 0xee
	le.PutUint32(b[454:], 1)
	le.PutUint32(b[458:], uint32(end))
	copy(b[510:], "\x55\xaa")
	return b
}

// SmallGPT returns a disk of two partitions, of which the first holds the content
// given.
func SmallGPT(block int, content []byte) GPT {
	return GPT{
		Block: block, Disk: [16]byte{0xd1, 1, 2, 3, 4, 5, 6, 7, 8}, Entries: 4, Gap: 1,
		Partitions: []GPTPartition{
			{Type: [16]byte{0x28, 0x73, 0x2a, 0xc1}, ID: [16]byte{0xa1, 9, 8, 7}, Name: "EFI System", Content: content},
			{Type: [16]byte{0xaf, 0x3d, 0xc6, 0x0f}, ID: [16]byte{0xa2, 6, 5, 4}, Name: "rootfs", Content: []byte("content of another\n")},
		},
	}
}

// SmallMBR returns a disk of two primary partitions, of which the first holds the
// content given, and two logical ones.
func SmallMBR(content []byte) MBR {
	return MBR{
		Signature: 0x1badcafe, Gap: 1,
		Primary: []MBRPartition{{0x0c, content}, {0x83, []byte("content of the second\n")}},
		Logical: []MBRPartition{{0x83, []byte("the first logical one\n")}, {0x83, []byte("the second\n")}},
	}
}

func gptSamples() []Sample {
	return []Sample{{"GPT", "gpt", SmallGPT(512, []byte("content of one\n")).Bytes()}}
}

func mbrSamples() []Sample {
	return []Sample{{"MBR", "mbr", SmallMBR([]byte("content of the first\n")).Bytes()}}
}
