package format

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/squashfs"
	"github.com/assaylab/assay/diff/ledger"
)

// squashFS is a squashfs image. Its layout has, in the order of the image, a section
// for each of superblock, tables and lists of offsets; one for the blocks of each
// file, named by its path; and one for each fragment, in which the tails of files are
// named by theirs. Tables are streams, their records laid out; so is a file that
// stands in more than one piece. A duplicate that the maker stored once goes by the
// name of the first that has it.
//
// What may be explained is when files were made, and where and how long blocks are:
// another time in a compressed table moves all that follows it. Owners, modes, names,
// attributes, sizes of files and numbers of inodes are compared.
var squashFS = &diff.Format{
	Name:    "squashfs",
	Version: 1,
	Title:   "squashfs 4.0, little-endian",
	Source:  "Linux fs/squashfs/squashfs_fs.h and Documentation/filesystems/squashfs.rst; squashfs-tools",
	Detect:  func(in *diff.Input) bool { return squashfs.Detect(in.Bytes(0, squashfs.SuperSize)) },
	Parse: func(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
		im, err := squashfs.Parse(ctx, in, in.Size, in.Budget.Expand)
		switch {
		case errors.Is(err, squashfs.ErrRoom):
			return nil, &diff.LimitError{Limit: "expanded", Detail: err.Error()}
		case err != nil:
			return nil, err
		}
		w := &squashLayout{Image: im, budget: in.Budget, tails: map[int]*diff.Part{}}
		return w.sections(in)
	},
}

// A squashLayout makes sections of an image.
type squashLayout struct {
	*squashfs.Image
	budget *diff.Budget
	tails  map[int]*diff.Part // by inode, of files that stand in more than one piece
}

// squashGroup is how many records of a table stand together, so that looking at one
// of them costs no more than those beside it.
const squashGroup = 64

func (w *squashLayout) sections(in *diff.Input) ([]diff.Section, error) {
	out := []diff.Section{{Name: "superblock", Role: diff.RoleHeader, Len: squashfs.SuperSize, Fields: w.super}}
	if o := w.Options; o.Len > 0 {
		out = append(out, diff.Section{
			Name: "compressor options", Role: diff.RoleHeader, Off: o.Off - 2, Len: 2 + o.Len, Fields: w.options,
		})
	}
	for _, l := range []struct {
		name   string
		at     ledger.Range
		fields func() []diff.Section
	}{
		{"fragment index", w.FragIndex, func() []diff.Section { return squashIndex(w.FragIndex, &w.Frags) }},
		{"export index", w.ExportIndex, func() []diff.Section { return squashIndex(w.ExportIndex, &w.Exports) }},
		{"id index", w.IDIndex, func() []diff.Section { return squashIndex(w.IDIndex, &w.IDs) }},
		{"xattr header", w.XattrHeader, w.xattrHeader},
		{"xattr index", w.XattrIndex, func() []diff.Section { return squashIndex(w.XattrIndex, &w.XattrIDs) }},
	} {
		if l.at.Len > 0 {
			out = append(out, diff.Section{Name: l.name, Role: diff.RoleTable, Off: l.at.Off, Len: l.at.Len, Fields: l.fields})
		}
	}
	if err := w.budget.Node(int64(len(out))); err != nil {
		return nil, err
	}
	for _, t := range []struct {
		table  *squashfs.Table
		layout func() ([]diff.Section, error)
	}{
		{&w.Inodes, w.inodes},
		{&w.Dirs, w.directories},
		{&w.Frags, func() ([]diff.Section, error) { return w.records(&w.Frags, 16, w.fragmentEntry) }},
		{&w.Exports, func() ([]diff.Section, error) { return w.records(&w.Exports, 8, w.exportEntry) }},
		{&w.IDs, func() ([]diff.Section, error) { return w.records(&w.IDs, 4, nil) }},
		{&w.Xattrs, w.xattrs},
		{&w.XattrIDs, func() ([]diff.Section, error) { return w.records(&w.XattrIDs, 16, w.xattrID) }},
	} {
		if len(t.table.Blocks) == 0 {
			continue
		}
		layout, err := t.layout()
		if err != nil {
			return nil, err
		}
		s, err := w.table(t.table, layout)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	for _, data := range []func([]diff.Section) ([]diff.Section, error){w.files, w.fragments} {
		var err error
		if out, err = data(out); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b diff.Section) int { return cmp.Compare(a.Off, b.Off) })
	if s, ok := w.padding(in); ok {
		out = append(out, s)
	}
	return out, nil
}

// padding returns the zeros that mksquashfs ends an image with, unless told not to.
func (w *squashLayout) padding(in *diff.Input) (s diff.Section, ok bool) {
	const align = 4 << 10
	used := int64(w.BytesUsed)
	b := in.Bytes(used, -used&(align-1))
	if b == nil {
		return s, false
	}
	zeros := !slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
	if !zeros && used+int64(len(b)) < in.Size {
		return s, false // something else follows
	}
	return diff.Section{
		Name: "padding", Role: diff.RolePadding, Off: used, Len: int64(len(b)),
		Spec: &ledger.Spec{Op: ledger.OpFill, Align: align, Over: []ledger.Span{{Range: ledger.Range{Len: used}}}},
	}, true
}

// A squashRecord lays fields out one after the other.
type squashRecord struct {
	at  int64
	out []diff.Section
}

func (r *squashRecord) add(name string, n int64, role diff.Role, spec *ledger.Spec) {
	r.out = append(r.out, diff.Section{Name: name, Role: role, Off: r.at, Len: n, Spec: spec})
	r.at += n
}

// squashTime is a time in seconds since 1970.
func squashTime() *ledger.Spec { return &ledger.Spec{Op: ledger.OpTime, Enc: "u32le"} }

// squashOffset is how far to is from from, if it is any further, in the image itself.
func squashOffset(enc ledger.Enc, from, to int64) *ledger.Spec {
	if to <= from {
		return nil
	}
	return &ledger.Spec{Op: ledger.OpNumber, Enc: enc, Over: []ledger.Span{{Range: ledger.Range{Off: from, Len: to - from}}}}
}

// squashOuter is a number in a table, where ranges of the image are Outer.
func squashOuter(s *ledger.Spec) *ledger.Spec {
	if s != nil {
		for i := range s.Over {
			s.Over[i].Outer = true
		}
	}
	return s
}

// squashSize is the size of a block of data with the flag that says it is stored.
func squashSize(b squashfs.DataBlock) *ledger.Spec {
	s := &ledger.Spec{Op: ledger.OpNumber, Enc: "u32le", Over: []ledger.Span{{Range: b.Range}}}
	if b.Stored {
		s.Add = 1 << 24
	}
	return s
}

// squashRef is a reference of 64 bits to what stands in a block of a table: where the
// block starts, and the place in it. That of a place in the first block has no Spec, for
// it measures nothing; nor has one that leads nowhere.
func squashRef(t *squashfs.Table, start uint64, offset uint32) *ledger.Spec {
	if _, ok := t.Find(start, offset); !ok {
		return nil
	}
	s := squashOffset("u64le", t.Off, t.Off+int64(start))
	if s != nil {
		s.Scale, s.Add = 1<<16, int64(offset)
	}
	return s
}

// squashStart is where a block of a table starts, from the start of the table.
func squashStart(t *squashfs.Table, start uint32) *ledger.Spec {
	if !t.Starts(t.Off + int64(start)) {
		return nil
	}
	return squashOuter(squashOffset("u32le", t.Off, t.Off+int64(start)))
}

// super lays the superblock out.
func (w *squashLayout) super() []diff.Section {
	r := squashRecord{}
	r.add("magic", 4, diff.RoleMagic, nil)
	r.add("inodes", 4, diff.RoleCount, nil)
	r.add("mkfs time", 4, diff.RoleTime, squashTime())
	r.add("block size", 4, diff.RoleMeta, nil)
	r.add("fragments", 4, diff.RoleCount, nil)
	r.add("compression", 2, diff.RoleMeta, nil)
	r.add("block log", 2, diff.RoleMeta, nil)
	r.add("flags", 2, diff.RoleFlags, nil)
	r.add("ids", 2, diff.RoleCount, nil)
	r.add("major version", 2, diff.RoleVersion, nil)
	r.add("minor version", 2, diff.RoleVersion, nil)
	r.add("root inode", 8, diff.RoleOffset, squashRef(&w.Inodes, w.Root>>16, uint32(w.Root&0xffff)))
	r.add("bytes used", 8, diff.RoleLength, squashOffset("u64le", 0, int64(w.BytesUsed)))
	for _, t := range []struct {
		name string
		off  uint64
	}{
		{"id table", w.IDTable},
		{"xattr table", w.XattrTable},
		{"inode table", w.InodeTable},
		{"directory table", w.DirTable},
		{"fragment table", w.FragmentTable},
		{"export table", w.ExportTable},
	} {
		var spec *ledger.Spec
		if t.off <= w.BytesUsed {
			spec = squashOffset("u64le", 0, int64(t.off))
		}
		r.add(t.name, 8, diff.RoleOffset, spec)
	}
	return r.out
}

// options lays out what the maker told the compressor. Its header says how long that
// is; the rest is words whose meaning depends on the compressor.
func (w *squashLayout) options() []diff.Section {
	o := w.Options
	r := squashRecord{at: o.Off - 2}
	r.add("size", 2, diff.RoleLength, nil)
	var names []string
	switch w.Codec() {
	case "zlib@1":
		names = []string{"level", "window and strategies"}
	case "lzo1x@1":
		names = []string{"algorithm", "level"}
	case "xz@1":
		names = []string{"dictionary size", "filters"}
	case "lz4-block@1":
		names = []string{"version", "flags"}
	case "zstd@1":
		names = []string{"level"}
	}
	for _, name := range names {
		if r.at+4 <= o.End() {
			r.add(name, 4, diff.RoleMeta, nil)
		}
	}
	return r.out
}

// squashIndex lays out the offsets of the blocks of a table.
func squashIndex(at ledger.Range, t *squashfs.Table) []diff.Section {
	r := squashRecord{at: at.Off}
	for i := range t.Blocks {
		r.add(fmt.Sprintf("block[%d]", i), 8, diff.RoleOffset, squashOffset("u64le", 0, t.Blocks[i].Off))
	}
	return r.out
}

// xattrHeader lays out what says where the tables of extended attributes are.
func (w *squashLayout) xattrHeader() []diff.Section {
	r := squashRecord{at: w.XattrHeader.Off}
	r.add("keys", 8, diff.RoleOffset, squashOffset("u64le", 0, w.Xattrs.Off))
	r.add("lists", 4, diff.RoleCount, nil)
	r.add("unused", 4, diff.RoleMeta, nil)
	return r.out
}

// table lays out the blocks of a table as pieces of a stream with that layout.
func (w *squashLayout) table(t *squashfs.Table, layout []diff.Section) (diff.Section, error) {
	at := t.Range()
	s := diff.Section{Name: t.Name, Role: diff.RoleTable, Off: at.Off, Len: at.Len}
	if err := w.budget.Node(1 + 3*int64(len(t.Blocks))); err != nil {
		return s, err
	}
	of := &diff.Stream{Name: t.Name, Role: diff.RoleTable, Layout: layout}
	s.Children = make([]diff.Section, len(t.Blocks))
	for i := range t.Blocks {
		b := &t.Blocks[i]
		data := diff.Section{Name: "data", Role: diff.RoleTable, Off: b.Off + 2, Len: b.Len, Part: &diff.Part{Of: of, N: i}}
		size := &ledger.Spec{Op: ledger.OpNumber, Enc: "u16le", Over: []ledger.Span{{Range: data.Range()}}}
		if b.Stored {
			size.Add = 1 << 15
		} else {
			data.Codec, data.Tight = w.Codec(), true
		}
		s.Children[i] = diff.Section{
			Name: fmt.Sprintf("block[%d]", i), Role: diff.RoleTable, Off: b.Off, Len: b.End() - b.Off,
			Children: []diff.Section{{Name: "size", Role: diff.RoleLength, Off: b.Off, Len: 2, Spec: size}, data},
		}
	}
	return s, nil
}

// records lays out a table of records of n bytes each, as far as they are whole: in
// groups, and those by fields, if there are any.
func (w *squashLayout) records(t *squashfs.Table, n int64, fields func(r *squashRecord, i int)) ([]diff.Section, error) {
	all := int64(len(t.Data)) / n
	if err := w.budget.Node((all + squashGroup - 1) / squashGroup); err != nil {
		return nil, err
	}
	var out []diff.Section
	for first := int64(0); first < all; first += squashGroup {
		last := min(first+squashGroup, all)
		out = append(out, diff.Section{
			Name: fmt.Sprintf("%s[%d]", t.Name, first/squashGroup), Role: diff.RoleTable, Off: n * first, Len: n * (last - first),
			Fields: func() []diff.Section {
				r := squashRecord{at: n * first, out: make([]diff.Section, 0, last-first)}
				for i := first; i < last; i++ {
					r.add(strconv.FormatInt(i, 10), n, diff.RoleMeta, nil)
					if fields != nil {
						r.out[i-first].Fields = func() []diff.Section {
							one := squashRecord{at: n * i}
							fields(&one, int(i))
							return one.out
						}
					}
				}
				return r.out
			},
		})
	}
	return out, nil
}

func (w *squashLayout) fragmentEntry(r *squashRecord, i int) {
	b := w.Fragments[i].DataBlock
	var start, size *ledger.Spec
	if b.End() <= int64(w.BytesUsed) && uint64(b.Off) == binary.LittleEndian.Uint64(w.Frags.Data[r.at:]) {
		start, size = squashOuter(squashOffset("u64le", 0, b.Off)), squashOuter(squashSize(b))
	}
	r.add("start", 8, diff.RoleOffset, start)
	r.add("size", 4, diff.RoleLength, size)
	r.add("unused", 4, diff.RoleMeta, nil)
}

func (w *squashLayout) exportEntry(r *squashRecord, i int) {
	v := binary.LittleEndian.Uint64(w.Exports.Data[8*i:])
	r.add("inode", 8, diff.RoleOffset, squashOuter(squashRef(&w.Inodes, v>>16, uint32(v&0xffff))))
}

func (w *squashLayout) xattrID(r *squashRecord, i int) {
	start, offset, _ := w.XattrRef(i)
	r.add("keys", 8, diff.RoleOffset, squashOuter(squashRef(&w.Xattrs, start, offset)))
	r.add("count", 4, diff.RoleCount, nil)
	r.add("size", 4, diff.RoleLength, nil)
}

// xattrs lays out the lists of extended attributes, and the values between them.
func (w *squashLayout) xattrs() ([]diff.Section, error) {
	if err := w.budget.Node(int64(len(w.Attrs) + len(w.Values))); err != nil {
		return nil, err
	}
	out := make([]diff.Section, 0, len(w.Attrs)+len(w.Values))
	for i := range w.Attrs {
		l := &w.Attrs[i]
		out = append(out, diff.Section{
			Name: fmt.Sprintf("list[%d]", l.ID), Role: diff.RoleTable, Off: l.Off, Len: l.Len,
			Fields: func() []diff.Section { return w.xattrList(l) },
		})
	}
	for i, v := range w.Values {
		out = append(out, diff.Section{
			Name: fmt.Sprintf("value[%d]", i), Role: diff.RoleMeta, Off: v.Off, Len: v.Len,
			Fields: func() []diff.Section {
				r := squashRecord{at: v.Off}
				r.add("size", 4, diff.RoleLength, nil)
				r.add("value", v.Len-4, diff.RoleMeta, nil)
				return r.out
			},
		})
	}
	slices.SortFunc(out, func(a, b diff.Section) int { return cmp.Compare(a.Off, b.Off) })
	return out, nil
}

func (w *squashLayout) xattrList(l *squashfs.Attrs) []diff.Section {
	var out []diff.Section
	w.Each(l, func(a squashfs.Attr) bool {
		r := squashRecord{at: a.Off}
		r.add("type", 2, diff.RoleMeta, nil)
		r.add("name size", 2, diff.RoleLength, nil)
		r.add("name", a.NameLen, diff.RoleName, nil)
		r.add("value size", 4, diff.RoleLength, nil)
		if a.Outside {
			v := binary.LittleEndian.Uint64(w.Xattrs.Data[r.at:])
			r.add("value reference", 8, diff.RoleOffset, squashOuter(squashRef(&w.Xattrs, v>>16, uint32(v&0xffff))))
		} else {
			r.add("value", a.ValLen, diff.RoleMeta, nil)
		}
		out = append(out, diff.Section{
			Name: fmt.Sprintf("attribute[%d]", len(out)), Role: diff.RoleMeta, Off: a.Off, Len: a.Len(), Children: r.out,
		})
		return true
	})
	return out
}
