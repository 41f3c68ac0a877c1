package ext

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/assaylab/assay/diff/ledger"
)

// Flags of inodes.
const (
	FlagIndex      = 0x1000     // a directory with a hash tree
	FlagExtents    = 0x80000    // i_block is the root of an extent tree
	FlagEAInode    = 0x200000   // holds the value of an attribute: its times are none
	FlagInlineData = 0x10000000 // i_block holds the content
)

// Types of files, in the mode.
const (
	typeMask    = 0xf000
	TypeFIFO    = 0x1000
	TypeChar    = 0x2000
	TypeDir     = 0x4000
	TypeBlock   = 0x6000
	TypeRegular = 0x8000
	TypeSymlink = 0xa000
	TypeSocket  = 0xc000
)

// Offsets in an inode.
const (
	blockOffset = 40
	blockSize   = 60
)

// An Inode is one in use.
type Inode struct {
	Path       string // the first that leads to it; in square brackets what no directory names
	Off        int64  // of the inode in the image
	Size       int64
	Attributes int64 // block of extended attributes, or 0
	Extra      int64 // bytes of fixed fields after the first 128
	Num        uint32
	UID, GID   uint32
	Flags      uint32
	Mode       uint16
	Links      uint16
	Block      [blockSize]byte // pointers, extents, content, a device number or a link's target

	Broken  bool           // the claims are not all of the content
	reached bool           // Path is known
	Pieces  int            // runs of content that are Data claims
	Holes   []ledger.Zeros // of the content, as ledger.Stream has them
	Note    string         // what is odd
}

// Type returns the type bits of the mode.
func (i *Inode) Type() uint16 { return i.Mode & typeMask }

// Inline says whether the content stands in the inode.
func (i *Inode) Inline() bool { return i.Flags&FlagInlineData != 0 }

// FastSymlink says whether i_block is a link's target.
func (i *Inode) FastSymlink() bool {
	return i.Type() == TypeSymlink && !i.Inline() && i.Size < blockSize
}

// Mapped says whether i_block leads to blocks.
func (i *Inode) Mapped() bool {
	if i.Inline() || i.FastSymlink() {
		return false
	}
	switch i.Type() {
	case TypeRegular, TypeDir, TypeSymlink:
		return true
	}
	return i.Num == badBlocks
}

func (i *Inode) note(format string, args ...any) {
	i.Broken = true
	if i.Note == "" {
		i.Note = fmt.Sprintf(format, args...)
	}
}

// special names the inodes that no directory does.
func (fs *FS) special(n uint32) string {
	switch {
	case n == fs.Journal && n != 0:
		return "[journal]"
	case n == fs.UserQuota && n != 0:
		return "[user quota]"
	case n == fs.GroupQuota && n != 0:
		return "[group quota]"
	case n == fs.ProjectQuota && n != 0:
		return "[project quota]"
	case n == fs.OrphanFile && n != 0:
		return "[orphan file]"
	}
	switch n {
	case badBlocks:
		return "[bad blocks]"
	case bootLoader:
		return "[boot loader]"
	case undelete:
		return "[undelete directory]"
	case resize:
		return "[resize]"
	}
	return fmt.Sprintf("[inode %d]", n)
}

// InodeOffset returns where inode n stands in the image.
func (fs *FS) InodeOffset(n uint32) int64 {
	g, i := int64(n-1)/fs.InodesPerGroup, int64(n-1)%fs.InodesPerGroup
	return fs.Groups[g].InodeTable*fs.BlockSize + i*fs.InodeSize
}

// Inode returns inode n if it is in use.
func (fs *FS) Inode(n uint32) *Inode {
	i, ok := slices.BinarySearchFunc(fs.Inodes, n, func(i Inode, n uint32) int { return cmp.Compare(i.Num, n) })
	if !ok {
		return nil
	}
	return &fs.Inodes[i]
}

// InTable returns the inodes in use of group g.
func (fs *FS) InTable(g int64) []Inode {
	from := func(n int64) int {
		i, _ := slices.BinarySearchFunc(fs.Inodes, n, func(i Inode, n int64) int { return cmp.Compare(int64(i.Num), n) })
		return i
	}
	return fs.Inodes[from(g*fs.InodesPerGroup+1):from((g+1)*fs.InodesPerGroup+1)]
}

// inodes reads the inodes that the bitmaps say are in use.
func (fs *FS) inodes(spend func(int64) error) error {
	const chunk = 64 << 10 // bytes read of a table at once
	for g := range fs.Groups {
		d := &fs.Groups[g]
		if d.Flags&InodeUninit != 0 {
			continue
		}
		bitmap, err := fs.block(d.InodeBitmap)
		if err != nil {
			return err
		}
		inUse := func(i int64) bool { return bitmap[i/8]>>(i%8)&1 != 0 }
		per := max(1, chunk/fs.InodeSize)
		var table []byte
		for i := range fs.InodesPerGroup {
			if i%per == 0 {
				table = nil
			}
			if !inUse(i) {
				continue
			}
			if table == nil {
				first := i - i%per
				table, err = fs.read(d.InodeTable*fs.BlockSize+first*fs.InodeSize, min(per, fs.InodesPerGroup-first)*fs.InodeSize)
				if err != nil {
					return err
				}
			}
			if err := spend(1); err != nil {
				return err
			}
			num := uint32(int64(g)*fs.InodesPerGroup + i + 1)
			n := fs.inode(num, table[i%per*fs.InodeSize:][:fs.InodeSize])
			fs.Inodes = append(fs.Inodes, n)
		}
	}
	return nil
}

// inode reads the inode that b is.
func (fs *FS) inode(num uint32, b []byte) Inode {
	n := Inode{
		Num: num, Off: fs.InodeOffset(num),
		Mode: le.Uint16(b), UID: uint32(le.Uint16(b[2:])) | uint32(le.Uint16(b[120:]))<<16,
		GID:   uint32(le.Uint16(b[24:])) | uint32(le.Uint16(b[122:]))<<16,
		Links: le.Uint16(b[26:]), Flags: le.Uint32(b[32:]),
		Size:       int64(le.Uint32(b[4:])),
		Attributes: int64(le.Uint32(b[104:])) | int64(le.Uint16(b[118:]))<<32,
		Block:      [blockSize]byte(b[blockOffset:]),
	}
	if fs.Revision > 0 && (n.Type() == TypeRegular || n.Type() == TypeDir || n.Num == fs.Journal) {
		n.Size |= int64(le.Uint32(b[108:])&0x7fffffff) << 32
	}
	if len(b) > 128 {
		if n.Extra = int64(le.Uint16(b[128:])); n.Extra < 4 || n.Extra > fs.InodeSize-128 || n.Extra%4 != 0 {
			n.Extra = 0
		}
	}
	return n
}
