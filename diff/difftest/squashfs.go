package difftest

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strings"
)

// A Squashfs is a squashfs image, compressed with zlib as Go does at its best.
type Squashfs struct {
	Time    uint32
	Block   int    // size of blocks of data; 0: 4,096
	Options []byte // for the compressor

	// What is not compressed, or not there.
	StoreTables, StoreData, StoreFragments  bool
	NoFragments, NoExports, NoPad, NoSparse bool

	Files []SquashfsFile // parents before what is in them; the root is first, and "."
	Tail  []byte         // after everything
}

// A SquashfsFile is one file. Its type is that of its mode, as S_IFMT has it. Links
// are further paths of it, in directories that come before.
type SquashfsFile struct {
	Path     string
	Mode     uint16
	Owner    uint32
	Time     uint32
	Data     []byte // of a symbolic link: the target
	Device   uint32
	Links    []string
	Xattrs   []SquashfsXattr
	Extended bool // the larger form of inode, where nothing asks for it
}

// A SquashfsXattr is an extended attribute: the type is 0 for user, 1 for trusted, 2
// for security. One that Shared is stored stands by itself.
type SquashfsXattr struct {
	Type   uint16
	Name   string
	Value  []byte
	Shared bool
}

const squashNone = ^uint32(0)

// A squashMeta writes metadata blocks.
type squashMeta struct {
	store  bool
	out    []byte
	buf    []byte
	starts []int // of blocks written, in out
}

func (m *squashMeta) write(b []byte) {
	m.buf = append(m.buf, b...)
	for len(m.buf) >= 8192 {
		m.flush(8192)
	}
}

func (m *squashMeta) flush(n int) {
	if n == 0 {
		return
	}
	m.starts = append(m.starts, len(m.out))
	b, stored := squashPack(m.buf[:n], m.store)
	size := uint16(len(b))
	if stored {
		size |= 1 << 15
	}
	m.out = append(binary.LittleEndian.AppendUint16(m.out, size), b...)
	m.buf = m.buf[n:]
}

// at is where the next byte will be: the start of its block and the place in it.
func (m *squashMeta) at() (uint32, uint16) { return uint32(len(m.out)), uint16(len(m.buf)) }

func (m *squashMeta) ref() uint64 {
	start, offset := m.at()
	return uint64(start)<<16 | uint64(offset)
}

func squashPack(b []byte, store bool) ([]byte, bool) {
	if !store {
		var out bytes.Buffer
		w, err := zlib.NewWriterLevel(&out, zlib.BestCompression)
		if err == nil {
			_, err = w.Write(b)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			panic(err)
		}
		if out.Len() < len(b) {
			return out.Bytes(), false
		}
	}
	return b, true
}

type squashNode struct {
	*SquashfsFile
	number   uint32
	parent   uint32
	children map[string]*squashNode // by name
	depth    int

	start    int
	sizes    []uint32
	holes    uint64
	fragment uint32
	offset   int
	xattr    uint32

	ref uint64 // of the inode
}

type squashWriter struct {
	Squashfs
	data      []byte
	nodes     []*squashNode
	fragment  []byte
	fragments []byte // the table
	inodes    squashMeta
	dirs      squashMeta
	keys      squashMeta
	lists     []byte
	ids       []byte
}

// Bytes returns the image.
func (s Squashfs) Bytes() []byte {
	if s.Block == 0 {
		s.Block = 4096
	}
	w := &squashWriter{Squashfs: s}
	w.inodes.store, w.dirs.store, w.keys.store = s.StoreTables, s.StoreTables, s.StoreTables
	w.data = make([]byte, 96)
	if s.Options != nil {
		w.data = binary.LittleEndian.AppendUint16(w.data, 1<<15|uint16(len(s.Options)))
		w.data = append(w.data, s.Options...)
	}
	byPath := map[string]*squashNode{}
	for i := range s.Files {
		f := &s.Files[i]
		n := &squashNode{SquashfsFile: f, number: uint32(i + 1), parent: uint32(len(s.Files) + 1), fragment: squashNone, xattr: squashNone, children: map[string]*squashNode{}}
		w.nodes = append(w.nodes, n)
		byPath[f.Path] = n
		for _, p := range append([]string{f.Path}, f.Links...) {
			if dir := byPath[path.Dir(p)]; p != "." {
				dir.children[path.Base(p)] = n
				n.parent, n.depth = dir.number, dir.depth+1
			}
		}
	}
	for _, n := range w.nodes {
		if n.Mode>>12 == 8 {
			w.file(n)
		}
		if len(n.Xattrs) > 0 {
			w.xattrs(n)
		}
	}
	w.flushFragment()
	// What is in a directory comes before it.
	order := slices.Clone(w.nodes)
	slices.SortStableFunc(order, func(a, b *squashNode) int { return b.depth - a.depth })
	for _, n := range order {
		w.inode(n)
	}
	return append(w.finish(), s.Tail...)
}

func (w *squashWriter) file(n *squashNode) {
	n.start = len(w.data)
	for at := 0; at < len(n.Data); at += w.Block {
		b := n.Data[at:min(at+w.Block, len(n.Data))]
		switch {
		case len(b) < w.Block && !w.NoFragments:
			if len(w.fragment)+len(b) > w.Block {
				w.flushFragment()
			}
			n.fragment, n.offset = uint32(len(w.fragments)/16), len(w.fragment)
			w.fragment = append(w.fragment, b...)
		case len(bytes.Trim(b, "\x00")) == 0 && !w.NoSparse:
			n.sizes = append(n.sizes, 0)
			n.holes += uint64(len(b))
		default:
			n.sizes = append(n.sizes, w.block(b, w.StoreData))
		}
	}
	if len(n.sizes) == 0 {
		n.start = 0
	}
}

// block writes a block of data and returns its size.
func (w *squashWriter) block(b []byte, store bool) uint32 {
	b, stored := squashPack(b, store)
	w.data = append(w.data, b...)
	if stored {
		return uint32(len(b)) | 1<<24
	}
	return uint32(len(b))
}

func (w *squashWriter) flushFragment() {
	if len(w.fragment) > 0 {
		le := binary.LittleEndian
		w.fragments = le.AppendUint64(w.fragments, uint64(len(w.data)))
		w.fragments = le.AppendUint32(w.fragments, w.block(w.fragment, w.StoreFragments))
		w.fragments = le.AppendUint32(w.fragments, 0)
		w.fragment = nil
	}
}

func (w *squashWriter) xattrs(n *squashNode) {
	le := binary.LittleEndian
	var refs []uint64
	for _, x := range n.Xattrs {
		if x.Shared {
			refs = append(refs, w.keys.ref())
			w.keys.write(append(le.AppendUint32(nil, uint32(len(x.Value))), x.Value...))
		}
	}
	n.xattr = uint32(len(w.lists) / 16)
	at, size := w.keys.ref(), 0
	for _, x := range n.Xattrs {
		typ, value := x.Type, append(le.AppendUint32(nil, uint32(len(x.Value))), x.Value...)
		if x.Shared {
			typ |= 0x100
			value = le.AppendUint64(le.AppendUint32(nil, 8), refs[0])
			refs = refs[1:]
		}
		b := le.AppendUint16(le.AppendUint16(nil, typ), uint16(len(x.Name)))
		b = append(append(b, x.Name...), value...)
		w.keys.write(b)
		size += len(b)
	}
	w.lists = le.AppendUint64(w.lists, at)
	w.lists = le.AppendUint32(w.lists, uint32(len(n.Xattrs)))
	w.lists = le.AppendUint32(w.lists, uint32(size))
}

// squashKinds are the basic inode types by the upper bits of the mode.
var squashKinds = map[uint16]uint16{4: 1, 8: 2, 10: 3, 6: 4, 2: 5, 1: 6, 12: 7}

func (w *squashWriter) inode(n *squashNode) {
	le := binary.LittleEndian
	kind := squashKinds[n.Mode>>12]
	nlink := uint32(1 + len(n.Links))
	extended := n.Extended || n.xattr != squashNone || kind == 2 && (nlink > 1 || n.holes > 0)
	var listing squashListing
	if kind == 1 {
		listing = w.directory(n)
		nlink = uint32(2 + listing.dirs)
		extended = extended || listing.indexes > 0 || listing.size+3 > 0xffff
	}
	typ := kind
	if extended {
		typ += 7
	}
	owner := w.id(n.Owner)
	var b []byte
	for _, v := range []uint16{typ, n.Mode & 0xfff, owner, owner} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(le.AppendUint32(b, n.Time), n.number)
	words := func(vs ...uint32) {
		for _, v := range vs {
			b = le.AppendUint32(b, v)
		}
	}
	switch typ {
	case 1:
		words(listing.start, nlink)
		b = le.AppendUint16(le.AppendUint16(b, uint16(listing.size+3)), listing.offset)
		words(n.parent)
	case 8:
		words(nlink, uint32(listing.size+3), listing.start, n.parent)
		b = le.AppendUint16(le.AppendUint16(b, uint16(listing.indexes)), listing.offset)
		words(n.xattr)
		b = append(b, listing.index...)
	case 2:
		words(uint32(n.start), n.fragment, uint32(n.offset), uint32(len(n.Data)))
		words(n.sizes...)
	case 9:
		b = le.AppendUint64(b, uint64(n.start))
		b = le.AppendUint64(b, uint64(len(n.Data)))
		b = le.AppendUint64(b, n.holes)
		words(nlink, n.fragment, uint32(n.offset), n.xattr)
		words(n.sizes...)
	case 3, 10:
		words(nlink, uint32(len(n.Data)))
		b = append(b, n.Data...)
		if extended {
			words(n.xattr)
		}
	default:
		words(nlink)
		if kind == 4 || kind == 5 {
			words(n.Device)
		}
		if extended {
			words(n.xattr)
		}
	}
	n.ref = w.inodes.ref()
	w.inodes.write(b)
}

func (w *squashWriter) id(owner uint32) uint16 {
	le := binary.LittleEndian
	for i := 0; i < len(w.ids); i += 4 {
		if le.Uint32(w.ids[i:]) == owner {
			return uint16(i / 4)
		}
	}
	w.ids = le.AppendUint32(w.ids, owner)
	return uint16(len(w.ids)/4 - 1)
}

type squashListing struct {
	start   uint32
	offset  uint16
	size    int
	dirs    int
	indexes int
	index   []byte
}

// directory writes the entries of a directory, in the order of their names.
func (w *squashWriter) directory(dir *squashNode) (l squashListing) {
	le := binary.LittleEndian
	l.start, l.offset = w.dirs.at()
	block := l.start
	var names []string
	for name := range dir.children {
		names = append(names, name)
	}
	slices.Sort(names)
	for len(names) > 0 {
		first := dir.children[names[0]]
		if at, _ := w.dirs.at(); at != block {
			block = at
			l.index = le.AppendUint32(l.index, uint32(l.size))
			l.index = le.AppendUint32(l.index, at)
			l.index = le.AppendUint32(l.index, uint32(len(names[0])-1))
			l.index = append(l.index, names[0]...)
			l.indexes++
		}
		n := 1
		for n < len(names) && n < 256 && dir.children[names[n]].ref>>16 == first.ref>>16 {
			n++
		}
		b := le.AppendUint32(nil, uint32(n-1))
		b = le.AppendUint32(b, uint32(first.ref>>16))
		b = le.AppendUint32(b, first.number)
		for _, name := range names[:n] {
			c := dir.children[name]
			kind := squashKinds[c.Mode>>12]
			if kind == 1 {
				l.dirs++
			}
			for _, v := range []uint16{uint16(c.ref), uint16(c.number - first.number), kind, uint16(len(name) - 1)} {
				b = le.AppendUint16(b, v)
			}
			b = append(b, name...)
		}
		w.dirs.write(b)
		l.size += len(b)
		names = names[n:]
	}
	return l
}

// finish puts the tables behind the data, and the superblock before it.
func (w *squashWriter) finish() []byte {
	le := binary.LittleEndian
	none := ^uint64(0)
	super := make([]byte, 0, 96)
	b := w.data
	blocks := func(m *squashMeta) (start uint64, index []byte) {
		m.flush(len(m.buf))
		start = uint64(len(b))
		for _, at := range m.starts {
			index = le.AppendUint64(index, start+uint64(at))
		}
		b = append(b, m.out...)
		return start, index
	}
	table := func(records []byte) uint64 {
		m := &squashMeta{store: w.StoreTables}
		m.write(records)
		_, index := blocks(m)
		b = append(b, index...)
		return uint64(len(b) - len(index))
	}
	inodeTable, _ := blocks(&w.inodes)
	dirTable, _ := blocks(&w.dirs)
	fragmentTable := table(w.fragments)
	exportTable := none
	if !w.NoExports {
		var refs []byte
		for _, n := range w.nodes {
			refs = le.AppendUint64(refs, n.ref)
		}
		exportTable = table(refs)
	}
	idTable := table(w.ids)
	xattrTable := none
	if len(w.lists) > 0 {
		keys, _ := blocks(&w.keys)
		m := &squashMeta{store: w.StoreTables}
		m.write(w.lists)
		_, index := blocks(m)
		xattrTable = uint64(len(b))
		b = le.AppendUint32(le.AppendUint64(b, keys), uint32(len(w.lists)/16))
		b = append(le.AppendUint32(b, 0), index...)
	}
	var log uint16
	for 1<<log < w.Block {
		log++
	}
	flags := uint16(0)
	for i, set := range []bool{
		w.StoreTables, w.StoreData, false, w.StoreFragments, w.NoFragments, false, false, !w.NoExports,
		w.StoreTables, len(w.lists) == 0, w.Options != nil, w.StoreTables,
	} {
		if set {
			flags |= 1 << i
		}
	}
	super = append(super, "hsqs"...)
	for _, v := range []uint32{uint32(len(w.nodes)), w.Time, uint32(w.Block), uint32(len(w.fragments) / 16)} {
		super = le.AppendUint32(super, v)
	}
	for _, v := range []uint16{1, log, flags, uint16(len(w.ids) / 4), 4, 0} {
		super = le.AppendUint16(super, v)
	}
	for _, v := range []uint64{w.nodes[0].ref, uint64(len(b)), idTable, xattrTable, inodeTable, dirTable, fragmentTable, exportTable} {
		super = le.AppendUint64(super, v)
	}
	copy(b, super)
	if !w.NoPad {
		b = append(b, make([]byte, -len(b)&4095)...)
	}
	return b
}

// SmallSquashfs holds a file of every kind, each made at that time. The release file
// tells the time of the build, and stands in a fragment; the program takes two blocks
// and a tail.
func SmallSquashfs(when uint32) Squashfs {
	fw := Firmware{Time: when}
	program := strings.Repeat("program text ", 700) // 9,100 bytes
	hole := string(make([]byte, 8192)) + "after a hole"
	return Squashfs{Time: when, Files: []SquashfsFile{
		{Path: ".", Mode: 0o40755, Time: when},
		{Path: "bin", Mode: 0o40755, Time: when, Extended: true},
		{Path: "etc", Mode: 0o40755, Time: when},
		{Path: "bin/program", Mode: 0o100755, Time: when, Data: []byte(program), Links: []string{"etc/hard"}, Xattrs: []SquashfsXattr{
			{Type: 2, Name: "capability", Value: []byte("\x01\x00\x00\x02\x00\x20\x00\x00")},
			{Name: "shared", Value: []byte("a value"), Shared: true},
		}},
		{Path: "bin/sh", Mode: 0o120777, Time: when, Data: []byte("program")},
		{Path: "etc/hole", Mode: 0o100644, Time: when, Data: []byte(hole)},
		{Path: "etc/issue", Mode: 0o100644, Owner: 1000, Time: when, Data: []byte("welcome\n")},
		{Path: "etc/empty", Mode: 0o100600, Time: when},
		{Path: "etc/release", Mode: 0o100644, Time: when, Data: fw.Release()},
		{Path: "etc/link", Mode: 0o120777, Time: when, Data: []byte("issue"), Extended: true},
		{Path: "block", Mode: 0o60600, Time: when, Device: 0x801},
		{Path: "char", Mode: 0o20600, Time: when, Device: 0x501, Extended: true},
		{Path: "fifo", Mode: 0o10600, Time: when},
		{Path: "socket", Mode: 0o140600, Time: when, Extended: true},
	}}
}

// ManySquashfs holds so many files that every table has several blocks.
func ManySquashfs(when uint32) Squashfs {
	s := Squashfs{Time: when, Block: 4096, Files: []SquashfsFile{{Path: ".", Mode: 0o40755, Time: when}, {Path: "many", Mode: 0o40755, Time: when}}}
	for i := range 1500 {
		s.Files = append(s.Files, SquashfsFile{
			Path: fmt.Sprintf("many/file %d", i), Mode: 0o100644, Time: when, Data: fmt.Appendf(nil, "this is file %d of many\n", i), Extended: i%3 == 0,
		})
	}
	return s
}

func squashfsSamples() []Sample {
	const when = 1714558830
	small, stored, plain := SmallSquashfs(when), SmallSquashfs(when), SmallSquashfs(when)
	small.Options = []byte{9, 0, 0, 0, 15, 0, 0, 0}
	small.NoPad = true
	stored.StoreTables, stored.NoPad, stored.StoreFragments = true, true, true
	stored.Tail = []byte("what comes after")
	plain.Files = plain.Files[:2]
	plain.NoExports, plain.NoFragments, plain.StoreTables = true, true, true
	return []Sample{
		{"squashfs", "squashfs", small.Bytes()},
		{"squashfs, stored, with a tail", "squashfs", stored.Bytes()},
		{"squashfs, padded", "squashfs", plain.Bytes()},
	}
}
