package partition

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
)

// GPTMagic begins a header.
const GPTMagic = "EFI PART"

// Lengths and offsets of headers and entries.
const (
	HeaderLen   = 92
	GPTEntryLen = 128 // of the least entry
	nameAt      = 56
	nameLen     = 72
)

// A GPTHeader is a header of a GUID partition table. Blocks are logical ones.
type GPTHeader struct {
	At        int64 // where it stands, in bytes
	Len       int64 // of the header, as it says
	Block     uint64
	Alternate uint64
	First     uint64 // first block for partitions
	Last      uint64 // last
	Entries   uint64 // block
	Count     uint32
	EntryLen  uint32
}

// Array returns the range of the entries, and whether the disk holds it.
func (h *GPTHeader) Array(sector, size int64) (off, n int64, ok bool) {
	n = int64(h.Count) * int64(h.EntryLen)
	if h.Entries > uint64(size/sector) {
		return 0, 0, false
	}
	off = int64(h.Entries) * sector
	return off, n, n > 0 && n <= size-off
}

// header reads the header in the block at off.
func header(r io.ReaderAt, sector, size, off int64) (*GPTHeader, error) {
	b := bytes(r, size, off, sector)
	if b == nil || string(b[:8]) != GPTMagic {
		return nil, errors.New("no header")
	}
	le := binary.LittleEndian
	h := &GPTHeader{
		At: off, Len: int64(le.Uint32(b[12:])), Block: le.Uint64(b[24:]), Alternate: le.Uint64(b[32:]),
		First: le.Uint64(b[40:]), Last: le.Uint64(b[48:]),
		Entries: le.Uint64(b[72:]), Count: le.Uint32(b[80:]), EntryLen: le.Uint32(b[84:]),
	}
	switch {
	case le.Uint16(b[10:]) != 1:
		return nil, fmt.Errorf("revision %d.%d", le.Uint16(b[10:]), le.Uint16(b[8:]))
	case h.Len < HeaderLen || h.Len > sector:
		return nil, fmt.Errorf("a header of %d bytes", h.Len)
	case h.Block != uint64(off/sector):
		return nil, fmt.Errorf("the header of block %d in block %d", h.Block, off/sector)
	case h.EntryLen < GPTEntryLen || h.EntryLen%GPTEntryLen != 0 || h.EntryLen > 4096:
		return nil, fmt.Errorf("entries of %d bytes", h.EntryLen)
	}
	return h, nil
}

// A GPT is a disk with a GUID partition table.
type GPT struct {
	Disk
	Primary GPTHeader
	Backup  *GPTHeader // nil where none was found
}

// IsGPT says whether the disk has a GUID partition table, and of which blocks.
func IsGPT(r io.ReaderAt, size int64) (sector int64, ok bool) {
	for _, sector := range []int64{512, 4096} {
		if h, err := header(r, sector, size, sector); err == nil {
			if _, _, ok := h.Array(sector, size); ok {
				return sector, true
			}
		}
	}
	return 0, false
}

// ReadGPT reads the table of a disk. The copy at its end is looked for where the
// header says and, if it is not there, in the last block.
func ReadGPT(ctx context.Context, r io.ReaderAt, size int64) (*GPT, error) {
	sector, ok := IsGPT(r, size)
	if !ok {
		return nil, errors.New("no GUID partition table")
	}
	h, err := header(r, sector, size, sector)
	if err != nil {
		return nil, err
	}
	g := &GPT{Disk: Disk{Sector: sector, Size: size}, Primary: *h}
	g.claim(Claim{Kind: BootRecord, Len: sector})
	g.claim(Claim{Kind: Header, Off: sector, Len: sector})
	at, n, _ := h.Array(sector, size)
	g.claim(Claim{Kind: Entries, Off: at, Len: n})
	for _, block := range []uint64{h.Alternate, uint64(size/sector) - 1} {
		if block < 2 || block >= uint64(size/sector) {
			continue
		}
		if b, err := header(r, sector, size, int64(block)*sector); err == nil {
			g.Backup = b
			break
		}
	}
	if b := g.Backup; b == nil {
		g.note("no copy of the header at the end of the disk")
	} else {
		g.claim(Claim{Kind: BackupHeader, Off: b.At, Len: sector})
		if off, n, ok := b.Array(sector, size); ok {
			g.claim(Claim{Kind: BackupEntries, Off: off, Len: n})
		} else {
			g.note("the copy of the entries is not on the disk")
		}
	}
	return g, g.partitions(ctx, r, at)
}

// partitions claims what the entries at off name.
func (g *GPT) partitions(ctx context.Context, r io.ReaderAt, off int64) error {
	found := 0
	buf := make([]byte, g.Primary.EntryLen)
	for i := range int64(g.Primary.Count) {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := r.ReadAt(buf, off+i*int64(len(buf)))
		if n < len(buf) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if !Used(buf) {
			continue
		}
		if found++; found > MaxPartitions {
			g.note("more than %d partitions", MaxPartitions)
			return nil
		}
		first, last := binary.LittleEndian.Uint64(buf[32:]), binary.LittleEndian.Uint64(buf[40:])
		c := Claim{Kind: Partition, Number: int(i) + 1, Label: label(buf[nameAt : nameAt+nameLen])}
		if blocks := uint64(1 << 50); first <= last && last < blocks {
			c.Off, c.Len = int64(first)*g.Sector, int64(last-first+1)*g.Sector
		}
		g.claim(c)
	}
	return nil
}

// Used says whether an entry names a partition: it has a type.
func Used(entry []byte) bool {
	for _, c := range entry[:16] {
		if c != 0 {
			return true
		}
	}
	return false
}

// label reads a name, which ends at a zero.
func label(b []byte) string {
	var units []uint16
	for ; len(b) > 1; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
