package squashfs

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// A Fragment is a block that holds the tails of several files.
type Fragment struct {
	DataBlock
	Note  string // why it is not laid out, if it is not
	Tails []Tail // that it holds, in order, without overlap
}

// A Tail is the last bytes of a file, in what a fragment decodes to.
type Tail struct {
	Off, Len int64
	Node     int // index of the file's inode
}

// findFragments reads the fragment table.
func (p *parser) findFragments() error {
	b, le := p.Frags.Data, binary.LittleEndian
	const entry, cost = 16, 80
	if err := p.take(int64(len(b) / entry * cost)); err != nil {
		return err
	}
	p.Fragments = make([]Fragment, len(b)/entry)
	for i := range p.Fragments {
		p.Fragments[i].DataBlock = dataBlock(int64(min(le.Uint64(b[entry*i:]), p.BytesUsed)), le.Uint32(b[entry*i+8:]))
	}
	return nil
}

// A claim is a run of data that a file or a fragment says is its own.
type claim struct {
	off, len int64
	node     int // a file's, or -1
	fragment int
}

// share gives every run of data to the one that claims it first.
func (p *parser) share() error {
	var claims []claim
	for i := range p.Fragments {
		claims = append(claims, claim{p.Fragments[i].Off, p.Fragments[i].Len, -1, i})
	}
	for i := range p.Nodes {
		f, ok := p.File(&p.Nodes[i])
		if !ok {
			continue
		}
		c := claim{off: int64(min(f.Start, p.BytesUsed)), node: i}
		p.Blocks(&f, func(_ int64, b DataBlock) bool {
			c.len += b.Len
			return true
		})
		if c.len > 0 {
			claims = append(claims, c)
		}
	}
	// Of duplicates, the first in the inode table keeps what they share.
	slices.SortStableFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.off, b.off), cmp.Compare(b.len, a.len))
	})
	taken := p.Skeleton()
	at := int64(0)
	var last claim
	for _, c := range claims {
		for len(taken) > 0 && taken[0].End() <= c.off {
			taken = taken[1:]
		}
		note := ""
		switch end := c.off + c.len; {
		case end > int64(p.BytesUsed):
			note = "its blocks are said to be outside the image"
		case len(taken) > 0 && taken[0].Off < end:
			note = "its blocks are said to be where a table is"
		case c.off < at && (end > at || last.node < 0 || c.node < 0):
			note = "its blocks overlap those of another"
		case c.off < at:
			continue // a duplicate
		}
		if note == "" {
			at, last = c.off+c.len, c
		}
		if c.node < 0 {
			p.Fragments[c.fragment].Note = note
		} else if n := &p.Nodes[c.node]; note == "" {
			n.OwnsBlocks = true
		} else {
			n.Note = note
		}
	}
	return p.shareTails()
}

// shareTails gives every run of a fragment to the file that claims it first.
func (p *parser) shareTails() error {
	for i := range p.Nodes {
		n := &p.Nodes[i]
		f, ok := p.File(n)
		if !ok {
			continue
		}
		size := p.Tail(&f)
		if size == 0 {
			continue
		}
		if uint64(f.Fragment) >= uint64(len(p.Fragments)) {
			n.Note = "its tail is said to be in a fragment that is not there"
			continue
		}
		g := &p.Fragments[f.Fragment]
		// How much a compressed fragment holds only decoding it says.
		hold := int64(p.BlockSize)
		if g.Stored {
			hold = min(hold, g.Len)
		}
		if int64(f.Offset) > hold-size {
			n.Note = "its tail is said to be outside its fragment"
			continue
		}
		if err := p.take(24); err != nil {
			return err
		}
		g.Tails = append(g.Tails, Tail{int64(f.Offset), size, i})
	}
	for i := range p.Fragments {
		g := &p.Fragments[i]
		if g.Note != "" {
			for _, t := range g.Tails {
				p.Nodes[t.Node].Note = "its tail is in a fragment that overlaps others"
			}
			g.Tails = nil
		}
		slices.SortStableFunc(g.Tails, func(a, b Tail) int {
			return cmp.Or(cmp.Compare(a.Off, b.Off), cmp.Compare(b.Len, a.Len))
		})
		var last Tail
		g.Tails = slices.DeleteFunc(g.Tails, func(t Tail) bool {
			n := &p.Nodes[t.Node]
			switch {
			case t.Off >= last.Off+last.Len:
				last, n.OwnsTail = t, true
				return false
			case t.Off != last.Off || t.Len != last.Len:
				n.Note = "its tail overlaps that of another"
			}
			return true
		})
	}
	return nil
}
