// Package fat reads FAT12, FAT16 and FAT32 file systems: where their parts stand,
// which clusters each file and directory has, and what every cluster of the volume
// is for. It gives claims, no contents.
//
// # Volume
//
// All numbers are little-endian. The boot sector holds the geometry: reserved
// sectors, of which it is the first, copies of the file allocation table, on FAT12
// and FAT16 a root directory of fixed size, and clusters, counted from 2. The table
// has an entry of 12, 16 or 32 bits (28 of which count) for each cluster: the next
// of its chain, the end of one, bad, or 0 for free. A volume that has no 16-bit
// length of its tables is FAT32; any other is FAT12 up to 4084 clusters and FAT16
// above, as Linux has it.
//
// # Who owns what
//
// Directories are read breadth first, from the root, in the order of their entries.
// A cluster belongs to the chain that comes to it first; a chain that comes to a
// cluster of another, to its own, or outside the volume ends there, with a note. So
// every cluster is visited once, whatever the table says.
//
// Source: Microsoft FAT32 File System Specification 1.03; ECMA-107; Linux
// fs/fat/inode.c (geometry) and fs/fat/dir.c (long names).
package fat

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// BootLen is how much of a boot sector ParseBoot needs, in bytes.
const BootLen = 512

// maxFAT12 is the most clusters that a table of 12 bits is used for.
const maxFAT12 = 0xff4

// A Range is a run of bytes of the volume.
type Range struct{ Off, Len int64 }

// End returns the offset just past the range.
func (r Range) End() int64 { return r.Off + r.Len }

// A Geometry is what the boot sector says: lengths and offsets in bytes.
type Geometry struct {
	Bits        int // of an entry of the table: 12, 16 or 32
	SectorSize  int64
	ClusterSize int64
	Reserved    int64  // length of the reserved sectors
	FATs        int    // copies of the table
	FATLen      int64  // length of each
	Active      int    // the copy in use, from 0
	RootDir     Range  // FAT12 and FAT16
	Root        uint32 // FAT32: first cluster of the root directory
	Data        int64  // offset of cluster 2
	Clusters    int64  // how many
	Size        int64  // of the volume
	Info        int64  // FAT32: offset of the information sector, or 0
	Backup      int64  // FAT32: offset of the copy of the boot sector, or 0
	BootSig     byte   // of the extended part: 0x28 or 0x29 where a volume id follows
}

// ParseBoot reads the geometry from the first BootLen bytes of a volume. It takes
// nothing that Linux would not mount.
func ParseBoot(b []byte) (Geometry, error) {
	var g Geometry
	if len(b) < BootLen {
		return g, errors.New("no boot sector")
	}
	le := binary.LittleEndian
	u16 := func(at int) int64 { return int64(le.Uint16(b[at:])) }
	u32 := func(at int) int64 { return int64(le.Uint32(b[at:])) }
	switch {
	case b[510] != 0x55 || b[511] != 0xaa:
		return g, errors.New("no signature at the end of the boot sector")
	case (b[0] != 0xeb || b[2] != 0x90) && b[0] != 0xe9:
		return g, errors.New("the boot sector does not begin with a jump")
	case b[21] != 0xf0 && b[21] < 0xf8:
		return g, fmt.Errorf("no medium is of type 0x%02x", b[21])
	case b[16] < 1 || b[16] > 4:
		return g, fmt.Errorf("%d copies of the table", b[16])
	}
	g.SectorSize = u16(11)
	perCluster := int64(b[13])
	if g.SectorSize < 512 || g.SectorSize > 4096 || g.SectorSize&(g.SectorSize-1) != 0 {
		return g, fmt.Errorf("sectors of %d bytes", g.SectorSize)
	}
	if perCluster == 0 || perCluster&(perCluster-1) != 0 {
		return g, fmt.Errorf("%d sectors in a cluster", perCluster)
	}
	g.ClusterSize = perCluster * g.SectorSize
	g.FATs = int(b[16])
	g.Reserved = u16(14) * g.SectorSize
	if g.Reserved == 0 {
		return g, errors.New("no reserved sector")
	}
	sectors := u16(19)
	if sectors == 0 {
		sectors = u32(32)
	}
	g.Size = sectors * g.SectorSize
	g.FATLen = u16(22) * g.SectorSize
	root := u16(17) * 32
	g.BootSig = b[38]
	if g.FATLen == 0 {
		g.Bits = 32
		g.BootSig = b[66]
		g.FATLen = u32(36) * g.SectorSize
		g.Root = le.Uint32(b[44:])
		if flags := u16(40); flags&0x80 != 0 {
			g.Active = int(flags & 0x0f)
		}
		if root != 0 || g.Root < 2 || u16(42) != 0 || g.Active >= g.FATs {
			return g, errors.New("neither FAT12 or FAT16 nor FAT32")
		}
		within := func(sector int64) int64 {
			if at := sector * g.SectorSize; sector > 0 && at < g.Reserved {
				return at
			}
			return 0
		}
		g.Info, g.Backup = within(u16(48)), within(u16(50))
	} else if root == 0 {
		return g, errors.New("no root directory")
	}
	if g.FATLen == 0 {
		return g, errors.New("a table of no length")
	}
	g.RootDir = Range{g.Reserved + int64(g.FATs)*g.FATLen, root}
	g.Data = g.RootDir.Off + (root+g.SectorSize-1)/g.SectorSize*g.SectorSize
	if g.Data >= g.Size {
		return g, fmt.Errorf("no room for clusters: the volume has %d bytes, its tables end at %d", g.Size, g.Data)
	}
	g.Clusters = (g.Size - g.Data) / g.ClusterSize
	if g.Bits == 0 {
		g.Bits = 12
		if g.Clusters > maxFAT12 {
			g.Bits = 16
		}
	}
	g.Clusters = min(g.Clusters, g.FATLen*8/int64(g.Bits)-2)
	if g.Clusters <= 0 || g.Clusters > 0x0ffffff5 || int64(g.Root) >= g.Clusters+2 {
		return g, fmt.Errorf("%d clusters", g.Clusters)
	}
	return g, nil
}

// FAT returns where copy n of the table stands, counted from 0.
func (g *Geometry) FAT(n int) Range {
	return Range{g.Reserved + int64(n)*g.FATLen, g.FATLen}
}

// EntryAt returns the first byte of the entry of a cluster in a table, which on
// FAT12 may hold half of the entry before.
func (g *Geometry) EntryAt(cluster int64) int64 { return cluster * int64(g.Bits) / 8 }

// Bytes returns where clusters stand in the volume.
func (g *Geometry) Bytes(r Run) Range {
	return Range{g.Data + (int64(r.First)-2)*g.ClusterSize, int64(r.N) * g.ClusterSize}
}

// A Run is N clusters, one after the other on the volume.
type Run struct{ First, N uint32 }

// A Volume is a file system with all that is in it.
type Volume struct {
	Geometry
	Held  int64  // clusters that the image holds; fewer than Clusters where it is cut
	Files []File // files and directories: the root, what is in it, what is below
	Areas []Area // all clusters held, in the order they stand in
}

// A File is a file or a directory.
type File struct {
	Path string // from the root, with slashes; of the root, a dot
	Dir  bool
	Attr byte
	Size int64 // of a file as its entry says, of a directory that of its clusters
	Runs []Run // in the order of the chain; none for the root of FAT12 and FAT16

	Entries []Entry // of a directory
	Used    int64   // bytes of a directory up to the end of the last of them

	Note string // what is wrong with it
}

// An EntryKind says what a directory entry is.
type EntryKind uint8

// Kinds of entries.
const (
	Named   EntryKind = iota // a file or directory with its long name, or a link to this directory or the one above
	Label                    // the name of the volume
	Deleted                  // of 32 bytes
	Stray                    // part of a long name that belongs to no entry, of 32 bytes
)

// An Entry is a directory entry with the parts of its long name before it.
type Entry struct {
	Name  string
	Off   int64 // in the directory, of the first part of the long name
	Kind  EntryKind
	Slots uint8 // parts of the long name
	Times Times
}

// Len returns the length of the entry with the parts of its long name, in bytes.
func (e *Entry) Len() int64 { return int64(e.Slots+1) * entryLen }

// Times says which times of an entry hold one.
type Times uint8

// The times of an entry.
const (
	Created       Times = 1 << iota // time and date
	CreatedTenths                   // hundredths of a second, beside them
	Accessed                        // date
	Written                         // time and date
)

// An AreaKind says what clusters are for.
type AreaKind uint8

// Kinds of clusters.
const (
	Owned AreaKind = iota
	Free
	Bad
	Lost // of no file, but not free
)

// An Area is clusters of one kind or, where they are Owned, run Index of a file.
type Area struct {
	Run
	Kind  AreaKind
	File  int
	Index int
	At    int64 // offset in the file of the first byte
}

// Pieces returns where the clusters of a file stand, or the root directory of
// fixed size.
func (v *Volume) Pieces(f *File) []Range {
	if f == &v.Files[0] && v.Bits != 32 {
		return []Range{v.RootDir}
	}
	out := make([]Range, len(f.Runs))
	for i, r := range f.Runs {
		out[i] = v.Bytes(r)
	}
	return out
}

type reader struct {
	Volume
	ctx   context.Context
	r     io.ReaderAt
	node  func(int64) error
	table []byte  // as much of the active copy as counts
	owner []int32 // by cluster from 2: a file's index and one, or 0
	buf   [16 << 10]byte
}

// Parse reads a volume of size bytes. It calls node for all that it keeps, by the
// count of things and of their names' length, and stops where that fails.
func Parse(ctx context.Context, r io.ReaderAt, size int64, node func(int64) error) (*Volume, error) {
	boot := make([]byte, BootLen)
	if err := readFull(r, boot, 0, size); err != nil {
		return nil, err
	}
	g, err := ParseBoot(boot)
	if err != nil {
		return nil, err
	}
	if size <= g.Data {
		return nil, fmt.Errorf("cut short: %d bytes, but clusters begin at %d", size, g.Data)
	}
	p := &reader{ctx: ctx, r: r, node: node, Volume: Volume{Geometry: g}}
	p.Held = min(g.Clusters, (size-g.Data)/g.ClusterSize)
	p.table = make([]byte, (p.Held+2)*int64(g.Bits)/8+1)
	p.table = p.table[:min(int64(len(p.table)), g.FATLen)]
	if err := readFull(r, p.table, g.FAT(g.Active).Off, size); err != nil {
		return nil, err
	}
	p.owner = make([]int32, p.Held)
	if err := p.root(); err != nil {
		return nil, err
	}
	for i := 0; i < len(p.Files); i++ {
		if p.Files[i].Dir {
			if err := p.directory(i); err != nil {
				return nil, err
			}
		}
	}
	if err := p.areas(); err != nil {
		return nil, err
	}
	return &p.Volume, nil
}

func (p *reader) root() error {
	p.Files = []File{{Path: ".", Dir: true, Size: p.RootDir.Len}}
	if p.Bits != 32 {
		return nil
	}
	if err := p.chain(0, p.Root); err != nil {
		return err
	}
	root := &p.Files[0]
	if root.Size = p.held(root); root.Size == 0 {
		return fmt.Errorf("root directory: %s", root.Note)
	}
	return nil
}

// held returns how many bytes the clusters of a file hold.
func (p *reader) held(f *File) int64 {
	n := int64(0)
	for _, r := range f.Runs {
		n += int64(r.N)
	}
	return n * p.ClusterSize
}

// Values of entries of the table, from least to most.
const (
	free uint32 = 0
	bad  uint32 = 0x0ffffff7
	last uint32 = 0x0ffffff8 // or more
)

// next returns the entry of a cluster, as FAT32 would spell it.
func (p *reader) next(cluster uint32) uint32 {
	at := p.EntryAt(int64(cluster))
	switch p.Bits {
	case 12:
		n := uint32(binary.LittleEndian.Uint16(p.table[at:])) >> (4 * (cluster & 1)) & 0xfff
		if n >= 0xff0 {
			n |= 0x0ffff000
		}
		return n
	case 16:
		n := uint32(binary.LittleEndian.Uint16(p.table[at:]))
		if n >= 0xfff0 {
			n |= 0x0fff0000
		}
		return n
	}
	return binary.LittleEndian.Uint32(p.table[at:]) & 0x0fffffff
}

// chain gives a file the clusters of the chain that begins at first.
func (p *reader) chain(file int, first uint32) error {
	f := &p.Files[file]
	for n, c := 0, first; ; n++ {
		if n&0xffff == 0 && p.ctx.Err() != nil {
			return p.ctx.Err()
		}
		switch {
		case c >= last && n > 0:
			return nil
		case c < 2 || int64(c)-2 >= p.Held:
			f.Note = fmt.Sprintf("its chain leaves the volume: to cluster %d, after %d clusters", c, n)
			return nil
		case p.owner[c-2] != 0:
			f.Note = fmt.Sprintf("its chain runs into cluster %d, which belongs to %q", c, clip(p.Files[p.owner[c-2]-1].Path))
			return nil
		}
		p.owner[c-2] = int32(file) + 1
		if k := len(f.Runs) - 1; k >= 0 && f.Runs[k].First+f.Runs[k].N == c {
			f.Runs[k].N++
		} else {
			f.Runs = append(f.Runs, Run{c, 1})
		}
		c = p.next(c)
	}
}

// clip keeps a message short.
func clip(path string) string {
	if len(path) > 80 {
		return path[:80] + "..."
	}
	return path
}

// nameCost is what a name counts of a budget of things, beside the thing itself.
func nameCost(name string) int64 { return int64(len(name)) / 32 }

// add takes a file or directory up that an entry of a directory names.
func (p *reader) add(parent int, name string, e []byte) error {
	path := name
	if parent > 0 {
		path = p.Files[parent].Path + "/" + name
	}
	if err := p.node(2 + nameCost(path)); err != nil {
		return err
	}
	i := len(p.Files)
	p.Files = append(p.Files, File{
		Path: path, Attr: e[11], Dir: e[11]&attrDirectory != 0, Size: int64(binary.LittleEndian.Uint32(e[28:])),
	})
	first := uint32(binary.LittleEndian.Uint16(e[26:]))
	if p.Bits == 32 {
		first |= uint32(binary.LittleEndian.Uint16(e[20:])) << 16
	}
	if first != 0 {
		if err := p.chain(i, first); err != nil {
			return err
		}
	}
	f := &p.Files[i]
	held := p.held(f)
	switch {
	case f.Dir:
		f.Size = held
		if held == 0 && f.Note == "" {
			f.Note = "a directory without clusters"
		}
	case held < f.Size && f.Note == "":
		f.Note = fmt.Sprintf("%d bytes, but its clusters hold %d", f.Size, held)
	}
	if up := &p.Files[parent]; f.Note != "" && len(f.Runs) == 0 && up.Note == "" {
		// Nothing of it stands anywhere: where it is named is where that is told.
		up.Note = fmt.Sprintf("%q: %s", clip(name), f.Note)
	}
	return nil
}

// areas lays out all clusters: the runs of files, and between them what the table
// says of each.
func (p *reader) areas() error {
	n := int64(0)
	for i := range p.Files {
		n += int64(len(p.Files[i].Runs))
	}
	if err := p.node(n); err != nil {
		return err
	}
	owned := make([]Area, 0, n)
	for i := range p.Files {
		at := int64(0)
		for k, r := range p.Files[i].Runs {
			owned = append(owned, Area{Run: r, File: i, Index: k, At: at})
			at += int64(r.N) * p.ClusterSize
		}
	}
	slices.SortFunc(owned, func(a, b Area) int { return cmp.Compare(a.First, b.First) })
	end := uint32(p.Held) + 2
	at := uint32(2)
	for _, a := range append(owned, Area{Run: Run{First: end}}) {
		for at < a.First {
			if p.ctx.Err() != nil {
				return p.ctx.Err()
			}
			kind := p.kind(at)
			from := at
			for at++; at < a.First && p.kind(at) == kind; at++ {
				continue
			}
			if err := p.node(1); err != nil {
				return err
			}
			p.Areas = append(p.Areas, Area{Run: Run{from, at - from}, Kind: kind})
		}
		if a.N > 0 {
			p.Areas = append(p.Areas, a)
			at += a.N
		}
	}
	return nil
}

// kind says what a cluster is that no file has.
func (p *reader) kind(cluster uint32) AreaKind {
	switch p.next(cluster) {
	case free:
		return Free
	case bad:
		return Bad
	}
	return Lost
}

// readFull reads b at off, inside of size bytes.
func readFull(r io.ReaderAt, b []byte, off, size int64) error {
	if off > size || int64(len(b)) > size-off {
		return fmt.Errorf("cut short: %d bytes at %d, of %d", len(b), off, size)
	}
	n, err := r.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == nil || err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

// lower is ASCII in lower case; other bytes are of some code page.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
