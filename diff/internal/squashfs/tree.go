package squashfs

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
)

// A Listing is the run of entries of one directory in the directory table.
type Listing struct {
	Off, Len int64
	Node     int // index of the directory's inode
}

// A Run is a header in a listing and the entries that follow it.
type Run struct {
	Off, Len int64  // in the directory table
	Start    uint32 // of the block the inodes are in, from the start of the inode table
	Number   uint32 // from which those of the inodes are counted
}

// An Entry is an entry of a directory.
type Entry struct {
	Off, Len int64  // in the directory table
	Offset   uint16 // of the inode in its block
	Type     uint16 // of the inode, basic
	Name     string
}

const (
	runHeader   = 12
	entryHeader = 8
)

// findListings gives every directory its run of entries; what overlaps one that
// starts before it has none.
func (p *parser) findListings() error {
	size := int64(len(p.Dirs.Data))
	for i := range p.Nodes {
		l, ok := p.Listed(&p.Nodes[i])
		if !ok || l.Size == 0 {
			continue
		}
		off, ok := p.Dirs.Find(uint64(l.Start), uint32(l.Offset))
		if !ok || int64(l.Size) > size-off {
			p.Nodes[i].Note = "its entries are said to be outside the directory table"
			continue
		}
		p.Listings = append(p.Listings, Listing{off, int64(l.Size), i})
	}
	slices.SortStableFunc(p.Listings, func(a, b Listing) int {
		return cmp.Or(cmp.Compare(a.Off, b.Off), cmp.Compare(b.Len, a.Len))
	})
	end := int64(0)
	p.Listings = slices.DeleteFunc(p.Listings, func(l Listing) bool {
		if l.Off < end {
			p.Nodes[l.Node].Note = "its entries overlap those of another directory"
			return true
		}
		end = l.Off + l.Len
		return false
	})
	return nil
}

// Runs calls visit for the runs of a listing, in order, as far as they are whole.
func (im *Image) Runs(l *Listing, visit func(Run) bool) {
	for off := l.Off; ; {
		r, ok := im.run(off, l.Off+l.Len)
		if !ok || !visit(r) {
			return
		}
		off += r.Len
	}
}

func (im *Image) run(off, end int64) (r Run, ok bool) {
	le := binary.LittleEndian
	if end-off < runHeader {
		return r, false
	}
	b := im.Dirs.Data[off:end]
	r = Run{Off: off, Len: runHeader, Start: le.Uint32(b[4:]), Number: le.Uint32(b[8:])}
	const most = 256 // entries that follow one header
	count := le.Uint32(b)
	if count >= most {
		return r, false
	}
	for range count + 1 {
		e, ok := im.entry(off+r.Len, end)
		if !ok {
			return r, false
		}
		r.Len += e.Len
	}
	return r, true
}

func (im *Image) entry(off, end int64) (e Entry, ok bool) {
	le := binary.LittleEndian
	if end-off < entryHeader {
		return e, false
	}
	b := im.Dirs.Data[off:end]
	n := entryHeader + int(le.Uint16(b[6:])) + 1
	if len(b) < n {
		return e, false
	}
	return Entry{Off: off, Len: int64(n), Offset: le.Uint16(b), Type: le.Uint16(b[4:])}, true
}

// Entries calls visit for the entries of a run, in order.
func (im *Image) Entries(r *Run, visit func(Entry) bool) {
	for off := r.Off + runHeader; off < r.Off+r.Len; {
		e, _ := im.entry(off, r.Off+r.Len)
		e.Name = string(im.Dirs.Data[off+entryHeader : off+e.Len])
		if !visit(e) {
			return
		}
		off += e.Len
	}
}

// Node returns the index of the inode that a reference names.
func (im *Image) Node(start uint64, offset uint32) (int, bool) {
	off, ok := im.Inodes.Find(start, offset)
	if !ok {
		return 0, false
	}
	i := sort.Search(len(im.Nodes), func(i int) bool { return im.Nodes[i].Off >= off })
	return i, i < len(im.Nodes) && im.Nodes[i].Off == off
}

// RootNode returns the index of the root directory's inode.
func (im *Image) RootNode() (int, bool) {
	start, offset := ref(im.Root)
	return im.Node(start, offset)
}

// findPaths names every inode by the entry found first, parents before children and
// the entries of a directory in their order.
func (p *parser) findPaths() error {
	root, ok := p.RootNode()
	if !ok {
		return fmt.Errorf("superblock: no inode at %#x is the root directory's", p.Root)
	}
	listing := make(map[int]*Listing, len(p.Listings))
	for i := range p.Listings {
		listing[p.Listings[i].Node] = &p.Listings[i]
	}
	taken := map[string]bool{}
	numbers := map[string]int{} // given to those that share a name, the last
	for _, t := range p.Tables() {
		taken[t.Name] = true
	}
	name := func(n *Inode, path string) error {
		n.Name = path
		for taken[n.Name] {
			numbers[path] = max(numbers[path], 1) + 1
			n.Name = fmt.Sprintf("%s#%d", path, numbers[path])
		}
		taken[n.Name] = true
		return p.take(int64(len(n.Name)))
	}
	if err := name(&p.Nodes[root], "."); err != nil {
		return err
	}
	for stack := []int{root}; len(stack) > 0; {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		dir := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		l := listing[dir]
		if l == nil {
			continue
		}
		prefix := ""
		if dir != root {
			prefix = p.Nodes[dir].Name + "/"
		}
		deeper := len(stack)
		var err error
		end := l.Off
		p.Runs(l, func(r Run) bool {
			end = r.Off + r.Len
			p.Entries(&r, func(e Entry) bool {
				i, ok := p.Node(uint64(r.Start), uint32(e.Offset))
				if !ok || p.Nodes[i].Name != "" {
					return true // no inode, or one more link
				}
				if err = name(&p.Nodes[i], prefix+e.Name); err != nil {
					return false
				}
				if listing[i] != nil {
					stack = append(stack, i)
				}
				return true
			})
			return err == nil
		})
		if err != nil {
			return err
		}
		if end != l.Off+l.Len {
			p.Nodes[dir].Note = "its entries end in bytes that are none"
		}
		slices.Reverse(stack[deeper:])
	}
	for i := range p.Nodes {
		if n := &p.Nodes[i]; n.Name == "" {
			n.Note = "no directory leads to it"
			if err := name(n, fmt.Sprintf("inode %d", binary.LittleEndian.Uint32(p.Bytes(n)[12:]))); err != nil {
				return err
			}
		}
	}
	return nil
}
