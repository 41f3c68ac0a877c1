package squashfs

import (
	"encoding/binary"

	"github.com/assaylab/assay/diff/ledger"
)

// Types of inodes. Those from LDir on are the extended forms.
const (
	Dir = 1 + iota
	Reg
	Symlink
	Blkdev
	Chrdev
	FIFO
	Socket
	LDir
	LReg
	LSymlink
	LBlkdev
	LChrdev
	LFIFO
	LSocket
)

// An Inode is a record of the inode table.
type Inode struct {
	Off int64 // in the table
	Len int64

	// Name is the full path that directory entries give it first, "." for the root;
	// of one that none leads to, its number. No two inodes have the same.
	Name string
	Note string // what is wrong with what it leads to, if anything

	// Of a regular file: whether its blocks, and its tail in a fragment, are laid out
	// as its own. Those of a duplicate are another's.
	OwnsBlocks, OwnsTail bool

	Type uint16
}

// A File says where the content of a regular file is.
type File struct {
	Start    uint64 // offset of the first block in the image
	Size     uint64 // of the content
	Fragment uint32 // the fragment its tail is in, or [NoFragment]
	Offset   uint32 // of the tail in what the fragment decodes to
	List     int64  // offset of the sizes of the blocks in the inode table
	Count    int64  // of them
}

// NoFragment stands for the fragment of a file that has no tail.
const NoFragment = noEntry

// A Listed is what a directory's inode says of its entries.
type Listed struct {
	Start  uint32 // of the block they start in, from the start of the directory table
	Offset uint16 // in what it decodes to
	Size   uint32 // of the entries, in bytes
}

// inodeLen returns the length of the inode that b begins with, or 0 if there is
// none that b holds.
func (s *Super) inodeLen(b []byte) int64 {
	le := binary.LittleEndian
	if len(b) < 2 {
		return 0
	}
	typ := le.Uint16(b)
	n := int64(0)
	if int(typ) < len(fixed) {
		n = fixed[typ]
	}
	if n == 0 || int64(len(b)) < n {
		return 0
	}
	switch typ {
	case Reg:
		n += 4 * s.blocks(uint64(le.Uint32(b[28:])), le.Uint32(b[20:]))
	case LReg:
		n += 4 * s.blocks(le.Uint64(b[24:]), le.Uint32(b[44:]))
	case Symlink:
		n += int64(le.Uint32(b[20:]))
	case LSymlink:
		n += int64(le.Uint32(b[20:])) + 4
	case LDir:
		for range le.Uint16(b[32:]) {
			if int64(len(b)) < n+12 {
				return 0
			}
			n += 12 + int64(le.Uint32(b[n+8:])) + 1
			if n > int64(len(b)) {
				return 0
			}
		}
	}
	if n > int64(len(b)) {
		return 0
	}
	return n
}

// fixed are the lengths of inodes by type, what varies left out.
var fixed = [...]int64{
	Dir: 32, Reg: 32, Symlink: 24, Blkdev: 24, Chrdev: 24, FIFO: 20, Socket: 20,
	LDir: 40, LReg: 56, LSymlink: 24, LBlkdev: 28, LChrdev: 28, LFIFO: 24, LSocket: 24,
}

// blocks returns how many blocks a file of size bytes has, no more than a table
// can hold.
func (s *Super) blocks(size uint64, fragment uint32) int64 {
	n := size / uint64(s.BlockSize)
	if fragment == NoFragment && size%uint64(s.BlockSize) != 0 {
		n++
	}
	return int64(min(n, maxRoom))
}

// findInodes walks the inode table.
func (p *parser) findInodes() error {
	b, count := p.Inodes.Data, int64(0)
	const cost = 96 // of an Inode and its part in indexes, in bytes
	for off := int64(0); off < int64(len(b)); {
		n := p.inodeLen(b[off:])
		if n == 0 {
			b = b[:off]
			break
		}
		count++
		off += n
	}
	if err := p.take(cost * count); err != nil {
		return err
	}
	p.Nodes = make([]Inode, 0, count)
	for off := int64(0); off < int64(len(b)); {
		n := p.inodeLen(b[off:])
		p.Nodes = append(p.Nodes, Inode{Off: off, Len: n, Type: binary.LittleEndian.Uint16(b[off:])})
		off += n
	}
	return nil
}

// Bytes returns the inode as it stands in the table.
func (im *Image) Bytes(n *Inode) []byte { return im.Inodes.Data[n.Off : n.Off+n.Len] }

// File returns where the content of a regular file is.
func (im *Image) File(n *Inode) (f File, ok bool) {
	b, le := im.Bytes(n), binary.LittleEndian
	switch n.Type {
	case Reg:
		f = File{Start: uint64(le.Uint32(b[16:])), Fragment: le.Uint32(b[20:]), Offset: le.Uint32(b[24:]), Size: uint64(le.Uint32(b[28:]))}
	case LReg:
		f = File{Start: le.Uint64(b[16:]), Size: le.Uint64(b[24:]), Fragment: le.Uint32(b[44:]), Offset: le.Uint32(b[48:])}
	default:
		return f, false
	}
	f.List = n.Off + fixed[n.Type]
	f.Count = (n.Off + n.Len - f.List) / 4
	return f, true
}

// Tail returns the length of a file's tail in a fragment.
func (im *Image) Tail(f *File) int64 {
	if f.Fragment == NoFragment {
		return 0
	}
	return int64(f.Size % uint64(im.BlockSize))
}

// A DataBlock is a block of a file or a fragment, or a hole of a file.
type DataBlock struct {
	ledger.Range      // in the image; of length 0 if it is a hole
	Stored       bool // not compressed
}

// dataBlock reads the size of a data block.
func dataBlock(off int64, size uint32) DataBlock {
	const stored = 1 << 24
	return DataBlock{ledger.Range{Off: off, Len: int64(size &^ stored)}, size&stored != 0}
}

// Blocks calls f for every block of a file, in order, until it returns false.
func (im *Image) Blocks(f *File, visit func(i int64, b DataBlock) bool) {
	off := int64(min(f.Start, im.BytesUsed))
	for i := range f.Count {
		b := dataBlock(off, binary.LittleEndian.Uint32(im.Inodes.Data[f.List+4*i:]))
		if !visit(i, b) {
			return
		}
		off += b.Len
	}
}

// BlockLen returns how many bytes of content block i of a file holds.
func (im *Image) BlockLen(f *File, i int64) int64 {
	return int64(min(uint64(im.BlockSize), f.Size-uint64(i)*uint64(im.BlockSize)))
}

// Listed returns what a directory's inode says of its entries.
func (im *Image) Listed(n *Inode) (l Listed, ok bool) {
	b, le := im.Bytes(n), binary.LittleEndian
	switch n.Type {
	case Dir:
		l = Listed{Start: le.Uint32(b[16:]), Size: uint32(le.Uint16(b[24:])), Offset: le.Uint16(b[26:])}
	case LDir:
		l = Listed{Start: le.Uint32(b[24:]), Size: le.Uint32(b[20:]), Offset: le.Uint16(b[34:])}
	default:
		return l, false
	}
	// The size counts three bytes for "." and "..", which have no entry.
	l.Size -= min(l.Size, 3)
	return l, true
}
