package format

import (
	"encoding/binary"
	"fmt"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/squashfs"
	"github.com/assaylab/assay/diff/ledger"
)

// inodes lays the inode table out, each by the path of what it is of.
func (w *squashLayout) inodes() ([]diff.Section, error) {
	if err := w.budget.Node(int64(len(w.Nodes))); err != nil {
		return nil, err
	}
	at := func(i int) (off, end int64) { n := &w.Nodes[i]; return n.Off, n.Off + n.Len }
	return bunched(len(w.Nodes), at, func(i, j int) []diff.Section {
		out := make([]diff.Section, 0, j-i)
		for ; i < j; i++ {
			n := &w.Nodes[i]
			out = append(out, diff.Section{
				Name: n.Name, Role: diff.RoleMember, Off: n.Off, Len: n.Len, Note: n.Note,
				Fields: func() []diff.Section { return w.inode(n) },
			})
		}
		return out
	}), nil
}

func (w *squashLayout) inode(n *squashfs.Inode) []diff.Section {
	b := w.Bytes(n)
	r := squashRecord{at: n.Off}
	word := func(name string) { r.add(name, 4, diff.RoleMeta, nil) }
	r.add("type", 2, diff.RoleMeta, nil)
	r.add("mode", 2, diff.RoleMeta, nil)
	r.add("uid", 2, diff.RoleMeta, nil)
	r.add("gid", 2, diff.RoleMeta, nil)
	r.add("mtime", 4, diff.RoleTime, squashTime())
	r.add("number", 4, diff.RoleID, nil)
	switch n.Type {
	case squashfs.Dir:
		r.add("start block", 4, diff.RoleOffset, w.listingStart(n))
		word("nlink")
		r.add("file size", 2, diff.RoleLength, nil)
		r.add("offset", 2, diff.RoleOffset, nil)
		r.add("parent", 4, diff.RoleID, nil)
	case squashfs.LDir:
		word("nlink")
		r.add("file size", 4, diff.RoleLength, nil)
		r.add("start block", 4, diff.RoleOffset, w.listingStart(n))
		r.add("parent", 4, diff.RoleID, nil)
		r.add("indexes", 2, diff.RoleCount, nil)
		r.add("offset", 2, diff.RoleOffset, nil)
		word("xattr")
		w.dirIndex(&r, n, b)
	case squashfs.Reg:
		f, _ := w.File(n)
		r.add("start block", 4, diff.RoleOffset, w.dataStart("u32le", &f))
		word("fragment")
		r.add("offset", 4, diff.RoleOffset, nil)
		r.add("file size", 4, diff.RoleLength, nil)
		w.blockList(&r, &f)
	case squashfs.LReg:
		f, _ := w.File(n)
		r.add("start block", 8, diff.RoleOffset, w.dataStart("u64le", &f))
		r.add("file size", 8, diff.RoleLength, nil)
		r.add("sparse", 8, diff.RoleMeta, nil)
		word("nlink")
		word("fragment")
		r.add("offset", 4, diff.RoleOffset, nil)
		word("xattr")
		w.blockList(&r, &f)
	case squashfs.Symlink, squashfs.LSymlink:
		word("nlink")
		r.add("target size", 4, diff.RoleLength, nil)
		r.add("target", int64(binary.LittleEndian.Uint32(b[20:])), diff.RoleName, nil)
		if n.Type == squashfs.LSymlink {
			word("xattr")
		}
	case squashfs.Blkdev, squashfs.Chrdev, squashfs.LBlkdev, squashfs.LChrdev:
		word("nlink")
		word("rdev")
		if n.Type >= squashfs.LDir {
			word("xattr")
		}
	case squashfs.FIFO, squashfs.Socket, squashfs.LFIFO, squashfs.LSocket:
		word("nlink")
		if n.Type >= squashfs.LDir {
			word("xattr")
		}
	}
	return r.out
}

// listingStart is the block that a directory's entries start in.
func (w *squashLayout) listingStart(n *squashfs.Inode) *ledger.Spec {
	l, _ := w.Listed(n)
	return squashStart(&w.Dirs, l.Start)
}

// dirIndex lays out where in its entries a large directory's headers are.
func (w *squashLayout) dirIndex(r *squashRecord, n *squashfs.Inode, b []byte) {
	le := binary.LittleEndian
	for i := 0; r.at < n.Off+n.Len; i++ {
		at := r.at - n.Off
		one := squashRecord{at: r.at}
		one.add("index", 4, diff.RoleOffset, nil)
		one.add("start block", 4, diff.RoleOffset, squashStart(&w.Dirs, le.Uint32(b[at+4:])))
		one.add("name size", 4, diff.RoleLength, nil)
		one.add("name", int64(le.Uint32(b[at+8:]))+1, diff.RoleName, nil)
		r.add(fmt.Sprintf("index[%d]", i), one.at-r.at, diff.RoleMeta, nil)
		r.out[len(r.out)-1].Children = one.out
	}
}

// dataStart is where a file's blocks start: in one of holes alone, where the next block
// would have.
func (w *squashLayout) dataStart(enc ledger.Enc, f *squashfs.File) *ledger.Spec {
	end := int64(0)
	w.Blocks(f, func(_ int64, b squashfs.DataBlock) bool {
		if b.Len > 0 {
			end = b.End()
		}
		return b.Len == 0
	})
	if f.Count == 0 || f.Start < squashfs.SuperSize || f.Start > w.BytesUsed || end > int64(w.BytesUsed) {
		return nil
	}
	return squashOuter(squashOffset(enc, 0, int64(f.Start)))
}

// blockList lays out the sizes of a file's blocks, in groups where they are many.
func (w *squashLayout) blockList(r *squashRecord, f *squashfs.File) {
	var group *squashRecord
	flush := func() {
		if group != nil {
			r.add(fmt.Sprintf("blocks[%d]", len(r.out)), group.at-r.at, diff.RoleTable, nil)
			out := group.out
			r.out[len(r.out)-1].Children = out
			group = nil
		}
	}
	w.Blocks(f, func(i int64, b squashfs.DataBlock) bool {
		if group == nil {
			group = &squashRecord{at: r.at}
		}
		var spec *ledger.Spec
		if b.Len > 0 && f.Start <= w.BytesUsed && b.End() <= int64(w.BytesUsed) {
			spec = squashOuter(squashSize(b))
		}
		group.add(fmt.Sprintf("block[%d]", i), 4, diff.RoleLength, spec)
		if len(group.out) == squashGroup {
			flush()
		}
		return true
	})
	flush()
}

// directories lays the directory table out, the entries of each by its path.
func (w *squashLayout) directories() ([]diff.Section, error) {
	if err := w.budget.Node(int64(len(w.Listings))); err != nil {
		return nil, err
	}
	at := func(i int) (off, end int64) { l := &w.Listings[i]; return l.Off, l.Off + l.Len }
	return bunched(len(w.Listings), at, func(i, j int) []diff.Section {
		out := make([]diff.Section, 0, j-i)
		for ; i < j; i++ {
			l := &w.Listings[i]
			out = append(out, diff.Section{
				Name: w.Nodes[l.Node].Name, Role: diff.RoleMember, Off: l.Off, Len: l.Len,
				Fields: func() []diff.Section { return w.listing(l) },
			})
		}
		return out
	}), nil
}

func (w *squashLayout) listing(l *squashfs.Listing) []diff.Section {
	var out []diff.Section
	w.Runs(l, func(run squashfs.Run) bool {
		out = append(out, diff.Section{
			Name: fmt.Sprintf("entries[%d]", len(out)), Role: diff.RoleTable, Off: run.Off, Len: run.Len,
			Fields: func() []diff.Section { return w.run(&run) },
		})
		return true
	})
	return out
}

func (w *squashLayout) run(run *squashfs.Run) []diff.Section {
	r := squashRecord{at: run.Off}
	r.add("count", 4, diff.RoleCount, nil)
	r.add("start block", 4, diff.RoleOffset, squashStart(&w.Inodes, run.Start))
	r.add("number", 4, diff.RoleID, nil)
	unique := names{"count": 1, "start block": 1, "number": 1}
	w.Entries(run, func(e squashfs.Entry) bool {
		one := squashRecord{at: e.Off}
		one.add("offset", 2, diff.RoleOffset, nil)
		one.add("number", 2, diff.RoleID, nil)
		one.add("type", 2, diff.RoleMeta, nil)
		one.add("name size", 2, diff.RoleLength, nil)
		one.add("name", int64(len(e.Name)), diff.RoleName, nil)
		r.add(unique.unique(e.Name), e.Len, diff.RoleMember, nil)
		r.out[len(r.out)-1].Children = one.out
		return true
	})
	return r.out
}
