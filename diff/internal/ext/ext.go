// Package ext reads ext2, ext3 and ext4 filesystems: what each block of one is for,
// and which inode, under which path, it belongs to.
//
// It reads what fs/ext4/ext4.h and libext2fs describe: blocks of 1 to 64 KiB, clusters
// (bigalloc), descriptors of 32 bytes or more, meta and flexible block groups, backups
// (sparse_super and sparse_super2), block maps and extent trees, inline data, hashed
// directories, attributes, journal, orphan file and quota inodes. It never reads the
// content of files.
//
// The skeleton (superblock, group descriptors, bitmaps, inode tables) must be sound:
// inside the image, and no part of it over another. Whatever hangs from it may be
// broken: a block that is wanted twice belongs to who comes first, what cannot be
// followed is left to the block bitmap, and [Inode.Note] says so. Work and memory are
// in proportion to the metadata and to one bit a block.
package ext

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Where the superblock stands and how long it is, in bytes.
const (
	SuperOffset = 1024
	SuperSize   = 1024
)

const (
	magic       = 0xef53
	magicOffset = 0x38
)

// Features that decide how a filesystem is laid out, by the word they stand in.
const (
	CompatResizeInode  = 0x10
	CompatSparseSuper2 = 0x200

	IncompatFiletype   = 0x2
	IncompatMetaBG     = 0x10
	IncompatExtents    = 0x40
	Incompat64Bit      = 0x80
	IncompatMMP        = 0x100
	IncompatEAInode    = 0x400
	IncompatCsumSeed   = 0x2000
	IncompatInlineData = 0x8000

	ROCompatSparseSuper  = 0x1
	ROCompatGDTChecksum  = 0x10
	ROCompatBigalloc     = 0x200
	ROCompatMetadataCsum = 0x400
	ROCompatSharedBlocks = 0x4000

	incompatCompression = 0x1
	incompatJournalDev  = 0x8
)

// Flags of group descriptors.
const (
	InodeUninit = 1
	BlockUninit = 2
)

// Numbers of inodes that mean something.
const (
	badBlocks  = 1
	rootDir    = 2
	bootLoader = 5
	undelete   = 6
	resize     = 7
)

var le = binary.LittleEndian

// A Super is what the superblock says, as far as the layout depends on it. Sizes are
// in bytes.
type Super struct {
	Revision       uint32
	Compat         uint32
	Incompat       uint32
	ROCompat       uint32
	BlockSize      int64
	Cluster        int64 // blocks of a cluster; 1 without bigalloc
	Blocks         int64
	FirstData      int64 // the first block of group 0
	BlocksPerGroup int64
	InodeCount     int64
	InodesPerGroup int64
	InodeSize      int64
	DescSize       int64
	ReservedGDT    int64 // blocks
	FirstMetaBG    int64
	BackupGroups   [2]uint32
	MMPBlock       int64

	Journal, UserQuota, GroupQuota, ProjectQuota, OrphanFile uint32 // inodes; 0 if there is none
}

// HasGroupSums says whether group descriptors have checksums, and with them flags.
func (s *Super) HasGroupSums() bool {
	return s.ROCompat&(ROCompatGDTChecksum|ROCompatMetadataCsum) != 0
}

// HasSums says whether all metadata has checksums.
func (s *Super) HasSums() bool { return s.ROCompat&ROCompatMetadataCsum != 0 }

// A Group is a block group.
type Group struct {
	Desc        int64 // offset of the descriptor
	First       int64 // block
	Count       int64 // blocks
	BlockBitmap int64 // block
	InodeBitmap int64 // block
	InodeTable  int64 // block
	Flags       uint16
}

// An FS is a filesystem, laid out.
type FS struct {
	Super
	Groups []Group
	Inodes []Inode // those in use, by number
	Claims []Claim // tile the blocks, in order

	r     io.ReaderAt
	owner *blocks
}

// Is says whether head, the first 2 KiB of an image or less, has a superblock.
func Is(head []byte) bool {
	if len(head) < SuperOffset+SuperSize {
		return false
	}
	sb := head[SuperOffset:]
	return le.Uint16(sb[magicOffset:]) == magic && le.Uint32(sb[0x18:]) <= 6 && le.Uint32(sb[0x4c:]) <= 1 &&
		le.Uint32(sb[0x00:]) != 0 && le.Uint32(sb[0x20:]) != 0 && le.Uint32(sb[0x28:]) != 0
}

// Parse lays out the filesystem in the first bytes of an image of size bytes. What it
// makes, it takes from spend first: groups, inodes and claims, each as one.
func Parse(r io.ReaderAt, size int64, spend func(n int64) error) (*FS, error) {
	fs := &FS{r: r}
	if err := fs.super(size); err != nil {
		return nil, err
	}
	if err := fs.groups(spend); err != nil {
		return nil, err
	}
	fs.owner = newBlocks(fs.Blocks, spend)
	if err := fs.skeleton(); err != nil {
		return nil, err
	}
	if err := fs.inodes(spend); err != nil {
		return nil, err
	}
	if err := fs.tree(); err != nil {
		return nil, err
	}
	if err := fs.files(); err != nil {
		return nil, err
	}
	if err := fs.rest(); err != nil {
		return nil, err
	}
	fs.Claims = fs.owner.claims
	return fs, nil
}

// read returns n bytes at off, which the caller knows to be in the image.
func (fs *FS) read(off, n int64) ([]byte, error) {
	b := make([]byte, n)
	if m, err := fs.r.ReadAt(b, off); int64(m) < n {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("ext: reading %d bytes at %d: %w", n, off, err)
	}
	return b, nil
}

// block returns one block.
func (fs *FS) block(n int64) ([]byte, error) { return fs.read(n*fs.BlockSize, fs.BlockSize) }

func (fs *FS) super(size int64) error {
	if size < SuperOffset+SuperSize {
		return errors.New("ext: no room for a superblock")
	}
	b, err := fs.read(SuperOffset, SuperSize)
	if err != nil {
		return err
	}
	u32 := func(off int) int64 { return int64(le.Uint32(b[off:])) }
	u16 := func(off int) int64 { return int64(le.Uint16(b[off:])) }
	if u16(magicOffset) != magic {
		return errors.New("ext: no superblock at 1024")
	}
	if u32(0x18) > 6 || u32(0x4c) > 1 {
		return fmt.Errorf("ext: block size 2^(10+%d), revision %d", u32(0x18), u32(0x4c))
	}
	s := &fs.Super
	*s = Super{
		Revision: le.Uint32(b[0x4c:]), BlockSize: 1024 << u32(0x18), Cluster: 1,
		Blocks: u32(4), FirstData: u32(0x14), BlocksPerGroup: u32(0x20),
		InodeCount: u32(0), InodesPerGroup: u32(0x28), InodeSize: 128, DescSize: 32,
		Journal: 8,
	}
	if s.Revision > 0 {
		s.Compat, s.Incompat, s.ROCompat = le.Uint32(b[0x5c:]), le.Uint32(b[0x60:]), le.Uint32(b[0x64:])
		s.InodeSize = u16(0x58)
		s.ReservedGDT, s.FirstMetaBG = u16(0xce), u32(0x104)
		s.Journal, s.UserQuota, s.GroupQuota = le.Uint32(b[0xe0:]), le.Uint32(b[0x240:]), le.Uint32(b[0x244:])
		s.ProjectQuota, s.OrphanFile = le.Uint32(b[0x26c:]), le.Uint32(b[0x280:])
		s.BackupGroups = [2]uint32{le.Uint32(b[0x24c:]), le.Uint32(b[0x250:])}
		if s.Incompat&IncompatMMP != 0 {
			s.MMPBlock = int64(le.Uint64(b[0x168:]))
		}
	}
	if s.Incompat&Incompat64Bit != 0 {
		s.Blocks |= u32(0x150) << 32
		s.DescSize = u16(0xfe)
	}
	perBitmap := 8 * s.BlockSize
	if s.ROCompat&ROCompatBigalloc != 0 {
		if u32(0x1c) < u32(0x18) || u32(0x1c) > 20 {
			return fmt.Errorf("ext: cluster size 2^(10+%d)", u32(0x1c))
		}
		s.Cluster = 1 << (u32(0x1c) - u32(0x18))
	}
	firstData := int64(0)
	if s.BlockSize == 1024 && s.Cluster == 1 {
		firstData = 1
	}
	switch {
	case s.Incompat&(incompatCompression|incompatJournalDev) != 0:
		return fmt.Errorf("ext: compressed, or a journal alone (features %#x)", s.Incompat)
	case s.InodeSize < 128 || s.InodeSize > s.BlockSize || s.InodeSize&(s.InodeSize-1) != 0:
		return fmt.Errorf("ext: inodes of %d bytes", s.InodeSize)
	case s.DescSize < 32 || s.DescSize > s.BlockSize || s.DescSize&(s.DescSize-1) != 0,
		s.Incompat&Incompat64Bit != 0 && s.DescSize < 64:
		return fmt.Errorf("ext: group descriptors of %d bytes", s.DescSize)
	case s.FirstData != firstData && (s.FirstData != 1 || s.BlockSize != 1024):
		return fmt.Errorf("ext: block %d is the first of blocks of %d bytes", s.FirstData, s.BlockSize)
	case s.Blocks <= s.FirstData || s.Blocks > size/s.BlockSize:
		return fmt.Errorf("ext: %d blocks of %d bytes in an image of %d bytes", s.Blocks, s.BlockSize, size)
	case s.BlocksPerGroup < 8 || s.BlocksPerGroup%s.Cluster != 0 || s.BlocksPerGroup/s.Cluster > perBitmap:
		return fmt.Errorf("ext: %d blocks in a group", s.BlocksPerGroup)
	case s.InodesPerGroup < 1 || s.InodesPerGroup > perBitmap:
		return fmt.Errorf("ext: %d inodes in a group", s.InodesPerGroup)
	}
	return nil
}

// hasSuper says whether group g has a copy of the superblock.
func (s *Super) hasSuper(g int64) bool {
	switch {
	case g == 0:
		return true
	case s.Compat&CompatSparseSuper2 != 0:
		return g == int64(s.BackupGroups[0]) || g == int64(s.BackupGroups[1])
	case g == 1 || s.ROCompat&ROCompatSparseSuper == 0:
		return true
	}
	for _, base := range []int64{3, 5, 7} {
		n := base
		for n < g {
			n *= base
		}
		if n == g {
			return true
		}
	}
	return false
}

// groupSuper returns the block in which group g starts, but for the block before the
// superblock.
func (fs *FS) groupSuper(g int64) int64 {
	b := fs.Groups[g].First
	if b == 0 && fs.BlockSize == 1024 {
		return 1 // with bigalloc, the boot block is of group 0
	}
	return b
}

func (s *Super) metaBG() bool { return s.Incompat&IncompatMetaBG != 0 }

// descBlock returns where block i of the group descriptors stands.
func (fs *FS) descBlock(i int64) int64 {
	if !fs.metaBG() || i < fs.FirstMetaBG {
		return fs.groupSuper(0) + 1 + i
	}
	g := i * (fs.BlockSize / fs.DescSize)
	b := fs.groupSuper(g)
	if fs.hasSuper(g) {
		b++
	}
	return b
}

// groups reads the group descriptors.
func (fs *FS) groups(spend func(int64) error) error {
	n := (fs.Blocks - fs.FirstData + fs.BlocksPerGroup - 1) / fs.BlocksPerGroup
	// Each group has a descriptor and at least one block of inodes in the image.
	if n > fs.Blocks/2 || n*fs.InodesPerGroup != fs.InodeCount {
		return fmt.Errorf("ext: %d groups of %d inodes for %d inodes", n, fs.InodesPerGroup, fs.InodeCount)
	}
	if err := spend(n); err != nil {
		return err
	}
	fs.Groups = make([]Group, n)
	for g := range fs.Groups {
		first := fs.FirstData + int64(g)*fs.BlocksPerGroup
		fs.Groups[g] = Group{First: first, Count: min(fs.BlocksPerGroup, fs.Blocks-first)}
	}
	perBlock := fs.BlockSize / fs.DescSize
	for i := int64(0); i*perBlock < n; i++ {
		at := fs.descBlock(i)
		if at >= fs.Blocks {
			return fmt.Errorf("ext: block %d of the group descriptors would be at %d of %d", i, at, fs.Blocks)
		}
		b, err := fs.block(at)
		if err != nil {
			return err
		}
		for k := range min(perBlock, n-i*perBlock) {
			d, g := b[k*fs.DescSize:], &fs.Groups[i*perBlock+k]
			block := func(lo, hi int) int64 {
				v := int64(le.Uint32(d[lo:]))
				if fs.DescSize >= 64 {
					v |= int64(le.Uint32(d[hi:])) << 32
				}
				return v
			}
			g.Desc = at*fs.BlockSize + k*fs.DescSize
			g.BlockBitmap, g.InodeBitmap, g.InodeTable = block(0, 32), block(4, 36), block(8, 40)
			if fs.HasGroupSums() {
				g.Flags = le.Uint16(d[18:])
			}
		}
	}
	return nil
}

// TableBlocks is the size of an inode table in blocks.
func (s *Super) TableBlocks() int64 {
	return (s.InodesPerGroup*s.InodeSize + s.BlockSize - 1) / s.BlockSize
}

// skeleton claims what stands where the superblock and the group descriptors say.
func (fs *FS) skeleton() error {
	take := func(kind Kind, group, block, n int64) error {
		if n == 0 {
			return nil
		}
		if block < 0 || block >= fs.Blocks || n > fs.Blocks-block {
			return fmt.Errorf("ext: %s of group %d at block %d, %d of them, of %d", kind, group, block, n, fs.Blocks)
		}
		before := fs.owner.conflicts
		if err := fs.owner.take(Claim{Kind: kind, Group: group, Block: block, Count: n}); err != nil {
			return err
		}
		if fs.owner.conflicts != before {
			return fmt.Errorf("ext: %s of group %d at block %d stands where something else does", kind, group, block)
		}
		return nil
	}
	perBlock := fs.BlockSize / fs.DescSize
	descBlocks := (int64(len(fs.Groups)) + perBlock - 1) / perBlock
	if first := fs.groupSuper(0); first == 1 {
		if err := take(Boot, 0, 0, 1); err != nil {
			return err
		}
	}
	for g := range int64(len(fs.Groups)) {
		at := fs.groupSuper(g)
		meta := g / perBlock
		has := fs.hasSuper(g)
		if has {
			if err := take(Superblock, g, at, 1); err != nil {
				return err
			}
			at++
		}
		descs, reserved := int64(0), int64(0)
		switch {
		case !fs.metaBG():
			if has {
				descs, reserved = descBlocks, fs.ReservedGDT
			}
		case meta < fs.FirstMetaBG:
			if has {
				descs = min(fs.FirstMetaBG, descBlocks)
				reserved = fs.FirstMetaBG - descs
			}
		case g%perBlock == 0 || g%perBlock == 1 || g%perBlock == perBlock-1:
			descs = 1
		}
		if err := take(Descriptors, g, at, descs); err != nil {
			return err
		}
		if err := take(ReservedDescriptors, g, at+descs, reserved); err != nil {
			return err
		}
	}
	for g := range fs.Groups {
		d := &fs.Groups[g]
		if err := take(BlockBitmap, int64(g), d.BlockBitmap, 1); err != nil {
			return err
		}
		if err := take(InodeBitmap, int64(g), d.InodeBitmap, 1); err != nil {
			return err
		}
		if err := take(InodeTable, int64(g), d.InodeTable, fs.TableBlocks()); err != nil {
			return err
		}
	}
	if fs.MMPBlock != 0 {
		return take(MMP, 0, fs.MMPBlock, 1)
	}
	return nil
}

// FirstDescriptor returns the number of the first group that a descriptor block of
// group g, the n-th there, describes.
func (fs *FS) FirstDescriptor(g, n int64) int64 {
	perBlock := fs.BlockSize / fs.DescSize
	if fs.metaBG() && g/perBlock >= fs.FirstMetaBG {
		return g / perBlock * perBlock
	}
	return n * perBlock
}
