package ext

import (
	"slices"
)

// A Kind says what blocks are for.
type Kind uint8

// Kinds of claims.
const (
	Free       Kind = iota // nobody's, and free in the block bitmap
	Unowned                // nobody's, but in use in the block bitmap
	Boot                   // before the superblock, where that has a block of its own
	Superblock             // of Group; the boot block too, where they share a block
	Descriptors
	ReservedDescriptors
	BlockBitmap
	InodeBitmap
	InodeTable
	MMP
	Data       // content of inode Ino, from its block Logical on
	Directory  // entries of inode Ino, from its block Logical on
	Indirect   // a block of pointers
	Extents    // a block of an extent tree
	Attributes // extended attributes
	Unwritten  // allocated, read as zeros
	Beyond     // allocated past the end of a file
	Leftover   // of a cluster that inode Ino has
)

var kinds = [...]string{
	"free blocks", "unowned blocks", "boot block", "superblock", "group descriptors", "reserved group descriptors",
	"block bitmap", "inode bitmap", "inode table", "mmp block", "data", "directory", "indirect block",
	"extent block", "xattr block", "unwritten blocks", "blocks past the end", "rest of cluster",
}

func (k Kind) String() string { return kinds[k] }

// A Claim is a run of blocks and what they are for.
type Claim struct {
	Block, Count int64
	Kind         Kind
	Group        int64  // Superblock to InodeTable, Free, Unowned
	Ino          uint32 // Data to Leftover
	Logical      int64  // Data, Directory, Unwritten, Beyond: the number of the first in the file
	Piece        int    // Data: which run of the file's content, counted from 0
	MarkedFree   bool   // a block of them is free in the block bitmap
}

// blocks keeps who owns which block. The first to claim one owns it.
type blocks struct {
	total     int64
	taken     []uint64 // a bit for a block
	claims    []Claim
	conflicts int64 // blocks that were wanted again
	spend     func(int64) error
}

func newBlocks(n int64, spend func(int64) error) *blocks {
	return &blocks{total: n, taken: make([]uint64, (n+63)/64), spend: spend}
}

func (o *blocks) has(b int64) bool { return o.taken[b/64]>>(b%64)&1 != 0 }

// take gives c, which lies inside, those of its blocks that nobody has.
func (o *blocks) take(c Claim) error {
	start := int64(-1) // of the run at hand
	flush := func(end int64) error {
		if start < 0 {
			return nil
		}
		part := c
		part.Block, part.Count, part.Logical = start, end-start, c.Logical+start-c.Block
		start = -1
		if n := len(o.claims); n > 0 && o.claims[n-1].grows(&part) {
			o.claims[n-1].Count += part.Count
			return nil
		}
		o.claims = append(o.claims, part)
		return o.spend(1)
	}
	for b := c.Block; b < c.Block+c.Count; b++ {
		if o.has(b) {
			o.conflicts++
			if err := flush(b); err != nil {
				return err
			}
			continue
		}
		o.taken[b/64] |= 1 << (b % 64)
		if start < 0 {
			start = b
		}
	}
	return flush(c.Block + c.Count)
}

// grows says whether next goes on where c ends.
func (c *Claim) grows(next *Claim) bool {
	switch next.Kind {
	case Data, Directory, Unwritten, Beyond:
		return c.Kind == next.Kind && c.Ino == next.Ino && next.Block == c.Block+c.Count && next.Logical == c.Logical+c.Count
	}
	return false
}

// rest sorts the claims and fills the gaps between them from the block bitmaps.
func (fs *FS) rest() error {
	o := fs.owner
	byBlock := func(a, b Claim) int { return int(min(1, max(-1, a.Block-b.Block))) }
	slices.SortFunc(o.claims, byBlock)
	owned := o.claims
	o.claims = nil
	used := make([]uint64, len(o.taken))
	for g := range fs.Groups {
		if err := fs.used(int64(g), used); err != nil {
			return err
		}
	}
	isUsed := func(b int64) bool { return used[b/64]>>(b%64)&1 != 0 }
	at := int64(0)
	var last Claim
	var gaps []Claim
	fill := func(end int64) error {
		for at < end {
			c := Claim{Block: at, Kind: Free, Group: (at - fs.FirstData) / fs.BlocksPerGroup}
			if at < fs.FirstData {
				c.Group = 0
			}
			cluster := at - at%fs.Cluster
			switch {
			case !isUsed(at):
			case fs.Cluster > 1 && last.Ino != 0 && last.Block+last.Count > cluster:
				c.Kind, c.Ino, c.Group = Leftover, last.Ino, 0
			default:
				c.Kind = Unowned
			}
			stop := min(end, fs.FirstData+(c.Group+1)*fs.BlocksPerGroup)
			if c.Kind == Leftover {
				stop = min(end, cluster+fs.Cluster)
			}
			state := isUsed(at)
			for at < stop && isUsed(at) == state {
				at++
				c.Count++
			}
			gaps = append(gaps, c)
			if err := o.spend(1); err != nil {
				return err
			}
		}
		return nil
	}
	for i := range owned {
		c := &owned[i]
		if err := fill(c.Block); err != nil {
			return err
		}
		for b := c.Block; b < c.Block+c.Count && !c.MarkedFree; b++ {
			c.MarkedFree = !isUsed(b)
		}
		at, last = c.Block+c.Count, *c
	}
	if err := fill(fs.Blocks); err != nil {
		return err
	}
	o.claims = append(owned, gaps...)
	slices.SortFunc(o.claims, byBlock)
	return nil
}

// used sets the bits of the blocks that group g has in use.
func (fs *FS) used(g int64, used []uint64) error {
	d := &fs.Groups[g]
	set := func(b int64) { used[b/64] |= 1 << (b % 64) }
	if g == 0 && fs.FirstData > 0 {
		set(0)
	}
	if d.Flags&BlockUninit != 0 {
		// Nothing but the skeleton is in use, and of that its owner knows.
		for b := d.First; b < d.First+d.Count; b++ {
			if fs.owner.has(b) {
				set(b)
			}
		}
		return nil
	}
	bitmap, err := fs.block(d.BlockBitmap)
	if err != nil {
		return err
	}
	for b := range d.Count {
		if c := b / fs.Cluster; bitmap[c/8]>>(c%8)&1 != 0 {
			set(d.First + b)
		}
	}
	return nil
}
