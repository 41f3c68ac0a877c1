package ext

import (
	"github.com/assaylab/assay/diff/ledger"
)

const (
	extentMagic = 0xf30a
	extentSize  = 12
	maxDepth    = 5     // of an extent tree, as in fs/ext4/ext4_extents.h
	maxInit     = 32768 // a longer extent is one of length-maxInit unwritten blocks
)

// files claims the blocks of everything but directories, which the tree has.
func (fs *FS) files() error {
	attributes := map[int64]bool{}
	for i := range fs.Inodes {
		n := &fs.Inodes[i]
		if a := n.Attributes; a != 0 && !attributes[a] {
			attributes[a] = true
			ok, err := fs.meta(n, Attributes, a)
			if err != nil {
				return err
			}
			if !ok {
				n.note("its attributes would stand in block %d", a)
			}
		}
		if n.Type() == TypeDir || !n.Mapped() {
			continue
		}
		if err := fs.mapped(n, Data); err != nil {
			return err
		}
	}
	return nil
}

// meta claims one block of n and says whether it is n's alone.
func (fs *FS) meta(n *Inode, kind Kind, block int64) (bool, error) {
	if block < 1 || block >= fs.Blocks || fs.owner.has(block) {
		return false, nil
	}
	return true, fs.owner.take(Claim{Kind: kind, Ino: n.Num, Block: block, Count: 1})
}

// mapped claims the blocks of n, those of its content as kind.
func (fs *FS) mapped(n *Inode, kind Kind) error {
	m := &mapping{fs: fs, n: n, kind: kind, end: n.Size / fs.BlockSize}
	if n.Size%fs.BlockSize != 0 {
		m.end++
	}
	var err error
	switch {
	case n.Num == resize && fs.Compat&CompatResizeInode != 0:
		// Its double indirect block leads to the reserved descriptors and their
		// backups, which have their place without it.
		if at := int64(le.Uint32(n.Block[13*4:])); at != 0 {
			if ok, err := fs.meta(n, Indirect, at); !ok {
				n.note("its double indirect block would be block %d", at)
				return err
			}
		}
		return nil
	case n.Flags&FlagExtents != 0:
		err = m.extents(n.Block[:], -1)
	default:
		err = m.pointers()
	}
	if err != nil || kind != Data {
		return err
	}
	if hole := n.Size - m.size; hole > 0 && !n.Broken {
		n.Holes = append(n.Holes, ledger.Zeros{Before: n.Pieces, Len: hole})
	}
	return nil
}

// A mapping is the walk over the blocks of an inode, in the order of the file.
type mapping struct {
	fs   *FS
	n    *Inode
	kind Kind
	end  int64 // blocks that the size of the file spans
	next int64 // the first block of the file that was not met yet
	size int64 // bytes of content up to which pieces and holes are known
	done bool  // the rest cannot be followed
}

func (m *mapping) stop(format string, args ...any) {
	m.done = true
	m.n.note(format, args...)
}

// extents walks the node b of an extent tree; depth is what it must say of itself, or
// -1.
func (m *mapping) extents(b []byte, depth int) error {
	count, most, level := int(le.Uint16(b[2:])), int(le.Uint16(b[4:])), int(le.Uint16(b[6:]))
	if le.Uint16(b) != extentMagic || count > most || most > len(b)/extentSize-1 ||
		level > maxDepth || depth >= 0 && level != depth {
		m.stop("a node of its extent tree is none")
		return nil
	}
	for i := 1; i <= count && !m.done; i++ {
		e := b[i*extentSize:][:extentSize]
		logical := int64(le.Uint32(e))
		if logical < m.next {
			m.stop("extents out of order at block %d of the file", logical)
			return nil
		}
		if level > 0 {
			at := int64(le.Uint32(e[4:])) | int64(le.Uint16(e[8:]))<<32
			if err := m.index(Extents, at, func(b []byte) error { return m.extents(b, level-1) }); err != nil {
				return err
			}
			continue
		}
		at, n := int64(le.Uint32(e[8:]))|int64(le.Uint16(e[6:]))<<32, int64(le.Uint16(e[4:]))
		unwritten := n > maxInit
		if unwritten {
			n -= maxInit
		}
		if err := m.run(logical, at, n, unwritten); err != nil {
			return err
		}
	}
	return nil
}

// index claims a block that leads to others and walks it.
func (m *mapping) index(kind Kind, at int64, walk func(b []byte) error) error {
	ok, err := m.fs.meta(m.n, kind, at)
	if err != nil {
		return err
	}
	if !ok {
		m.stop("its %s would be block %d", kind, at)
		return nil
	}
	b, err := m.fs.block(at)
	if err != nil {
		return err
	}
	return walk(b)
}

// pointers walks the block map.
func (m *mapping) pointers() error {
	per := m.fs.BlockSize / 4
	for i := range int64(12) {
		if err := m.pointer(i, int64(le.Uint32(m.n.Block[4*i:])), 0); err != nil {
			return err
		}
	}
	logical, span := int64(12), per
	for level := 1; level <= 3; level++ {
		if err := m.pointer(logical, int64(le.Uint32(m.n.Block[4*(11+level):])), level); err != nil {
			return err
		}
		logical += span
		span *= per
	}
	return nil
}

// pointer follows one: at level 0 to block logical of the file, above to pointers, of
// which the first leads there.
func (m *mapping) pointer(logical, at int64, level int) error {
	switch {
	case at == 0 || m.done:
		return nil
	case level == 0:
		return m.run(logical, at, 1, false)
	}
	span := int64(1)
	for range level - 1 {
		span *= m.fs.BlockSize / 4
	}
	return m.index(Indirect, at, func(b []byte) error {
		for i := range int64(len(b) / 4) {
			if err := m.pointer(logical+i*span, int64(le.Uint32(b[4*i:])), level-1); err != nil {
				return err
			}
		}
		return nil
	})
}

// run claims n blocks that hold the file from block logical on.
func (m *mapping) run(logical, at, n int64, unwritten bool) error {
	fs := m.fs
	if at < 1 || n < 1 || at >= fs.Blocks || n > fs.Blocks-at {
		m.stop("block %d of the file would be block %d", logical, at)
		return nil
	}
	m.next = logical + n
	within := max(0, min(n, m.end-logical))
	kind := m.kind
	if unwritten {
		kind = Unwritten
	}
	if err := m.take(Claim{Kind: kind, Ino: m.n.Num, Block: at, Count: within, Logical: logical}); err != nil {
		return err
	}
	return m.take(Claim{Kind: Beyond, Ino: m.n.Num, Block: at + within, Count: n - within, Logical: logical + within})
}

func (m *mapping) take(c Claim) error {
	o := m.fs.owner
	if c.Count == 0 {
		return nil
	}
	if c.Kind == Data {
		if start := c.Logical * m.fs.BlockSize; m.n.Pieces == 0 || start != m.size || !o.claims[len(o.claims)-1].grows(&c) {
			if hole := start - m.size; hole > 0 {
				m.n.Holes = append(m.n.Holes, ledger.Zeros{Before: m.n.Pieces, Len: hole})
			}
			m.n.Pieces++
		}
		c.Piece = m.n.Pieces - 1
		m.size = min(m.n.Size, (c.Logical+c.Count)*m.fs.BlockSize)
	}
	before := o.conflicts
	if err := o.take(c); err != nil {
		return err
	}
	if o.conflicts != before {
		m.n.note("blocks from %d on belong to another too", c.Block)
		// Blocks are shared where the filesystem says so. Going on costs work for
		// nothing that is owned, so it ends somewhere.
		m.done = m.fs.ROCompat&ROCompatSharedBlocks == 0 || o.conflicts > o.total
	}
	return nil
}
