// Package squashfs finds what every byte of a squashfs image is for.
//
// It reads version 4.0, little-endian, as fs/squashfs/squashfs_fs.h of Linux and
// Documentation/filesystems/squashfs.rst describe it:
//
//	superblock          96 bytes
//	compressor options  one metadata block, if a flag says so
//	data                blocks of files and blocks of fragments, in any order
//	inode table         metadata blocks
//	directory table     metadata blocks
//	fragment table      metadata blocks, then the offset of each
//	export table        the same, if there is one
//	id table            the same
//	xattr table         metadata blocks of keys and values, metadata blocks of
//	                    lists, a header, and the offset of each of the latter
//
// The order is that of mksquashfs; only the superblock says where a table is. A
// metadata block has a header of two bytes, its size and whether it is stored, and
// decodes to at most 8,192 bytes. Records run on from one block to the next, so
// places in a table are offsets of its decoded blocks, one after the other; what
// points to one says where the block starts in the image, and how far in it is.
//
// An image where the superblock, the tables it points to, or their first blocks do
// not fit together is an error. Whatever is wrong further in leaves out what cannot
// be read: inodes end where one does not parse, a second reference to a directory
// leads nowhere, and of two runs of blocks that overlap the one that starts first
// has them. Sizes of the image are believed only as far as it has bytes.
package squashfs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/assaylab/assay/diff/internal/codec"
	"github.com/assaylab/assay/diff/ledger"
)

// SuperSize is the length of the superblock, in bytes.
const SuperSize = 96

// None is the offset of a table that is not there.
const None = ^uint64(0)

const (
	magic   = "hsqs"
	noEntry = ^uint32(0) // a fragment or list of attributes that is not there

	metaSize   = 8 << 10
	metaStored = 1 << 15 // in the header of a metadata block

	minBlock = 4 << 10
	maxBlock = 1 << 20

	flagOptions = 0x400
)

// maxRoom bounds what is kept of one image, tables and paths, in bytes.
const maxRoom = 96 << 20

// ErrRoom says that the tables of an image take more memory than one may.
var ErrRoom = fmt.Errorf("tables and paths of more than %d MiB", maxRoom>>20)

// A Super is the superblock.
type Super struct {
	InodeCount  uint32
	Time        uint32
	BlockSize   uint32
	FragCount   uint32
	Compression uint16
	BlockLog    uint16
	Flags       uint16
	IDs         uint16
	Major       uint16
	Minor       uint16
	Root        uint64 // reference of the root directory's inode
	BytesUsed   uint64

	// Offsets of the tables, or None: of the first block of inodes and directories,
	// of the list of offsets of the others, of the header of attributes.
	IDTable, XattrTable, InodeTable, DirTable, FragmentTable, ExportTable uint64
}

// compressions are the codecs by the number that the superblock gives them.
var compressions = [...]string{1: "zlib@1", 2: "lzma@1", 3: "lzo1x@1", 4: "xz@1", 5: "lz4-block@1", 6: "zstd@1"}

// Codec names the decoder of the image's blocks, or is empty.
func (s *Super) Codec() string {
	if int(s.Compression) < len(compressions) {
		return compressions[s.Compression]
	}
	return ""
}

// Detect says whether b begins as an image of this version does.
func Detect(b []byte) bool {
	return len(b) >= SuperSize && string(b[:4]) == magic && binary.LittleEndian.Uint16(b[28:]) == 4 && binary.LittleEndian.Uint16(b[30:]) == 0
}

func parseSuper(b []byte) (s Super, err error) {
	if !Detect(b) {
		return s, errors.New("no superblock of squashfs 4.0")
	}
	le := binary.LittleEndian
	s = Super{
		InodeCount: le.Uint32(b[4:]), Time: le.Uint32(b[8:]), BlockSize: le.Uint32(b[12:]), FragCount: le.Uint32(b[16:]),
		Compression: le.Uint16(b[20:]), BlockLog: le.Uint16(b[22:]), Flags: le.Uint16(b[24:]), IDs: le.Uint16(b[26:]),
		Major: le.Uint16(b[28:]), Minor: le.Uint16(b[30:]),
		Root: le.Uint64(b[32:]), BytesUsed: le.Uint64(b[40:]), IDTable: le.Uint64(b[48:]), XattrTable: le.Uint64(b[56:]),
		InodeTable: le.Uint64(b[64:]), DirTable: le.Uint64(b[72:]), FragmentTable: le.Uint64(b[80:]), ExportTable: le.Uint64(b[88:]),
	}
	switch {
	case s.Codec() == "":
		return s, fmt.Errorf("superblock: compression %d is unknown", s.Compression)
	case s.BlockSize < minBlock || s.BlockSize > maxBlock || s.BlockLog > 20 || s.BlockSize != 1<<s.BlockLog:
		return s, fmt.Errorf("superblock: blocks of %d bytes, 2^%d", s.BlockSize, s.BlockLog)
	}
	return s, nil
}

// A Block is a metadata block.
type Block struct {
	Off    int64 // of its header, in the image
	Len    int64 // of its data, which follow the header of two bytes
	Stored bool  // its data are not compressed
	At     int64 // of what it decodes to, in the table
	Size   int64 // of what it decodes to
}

// End is the offset after the block.
func (b *Block) End() int64 { return b.Off + 2 + b.Len }

// A Table is a run of metadata blocks that follow each other.
type Table struct {
	Name   string
	Off    int64
	Blocks []Block
	Data   []byte // what they decode to
}

// Range returns where the blocks of the table are in the image.
func (t *Table) Range() ledger.Range {
	if n := len(t.Blocks); n > 0 {
		return ledger.Range{Off: t.Off, Len: t.Blocks[n-1].End() - t.Off}
	}
	return ledger.Range{Off: t.Off}
}

// Starts says whether a block of the table starts at the offset of the image.
func (t *Table) Starts(off int64) bool {
	_, ok := t.block(off)
	return ok
}

func (t *Table) block(off int64) (*Block, bool) {
	i := sort.Search(len(t.Blocks), func(i int) bool { return t.Blocks[i].Off >= off })
	if i == len(t.Blocks) || t.Blocks[i].Off != off {
		return nil, false
	}
	return &t.Blocks[i], true
}

// Find returns the place in the table that is offset bytes into the block which
// starts start bytes after the table does.
func (t *Table) Find(start uint64, offset uint32) (int64, bool) {
	if start > 1<<62 {
		return 0, false
	}
	b, ok := t.block(t.Off + int64(start))
	if !ok || int64(offset) >= b.Size {
		return 0, false
	}
	return b.At + int64(offset), true
}

// ref splits a reference of 64 bits.
func ref(r uint64) (start uint64, offset uint32) { return r >> 16, uint32(r & 0xffff) }

// An Image is what was found.
type Image struct {
	Super
	Options ledger.Range // of the compressor options, their header of two bytes left out

	Inodes, Dirs, Frags, Exports, IDs, Xattrs, XattrIDs Table
	// The lists of offsets of the blocks of a table; that of XattrIDs comes after a
	// header of 16 bytes, XattrHeader.
	FragIndex, ExportIndex, IDIndex, XattrHeader, XattrIndex ledger.Range

	Nodes     []Inode        // in the order of the inode table
	Listings  []Listing      // in the order of the directory table
	Attrs     []Attrs        // in the order of Xattrs, and
	Values    []ledger.Range // values in it that stand by themselves, with their sizes
	Fragments []Fragment     // in the order of the fragment table
}

type parser struct {
	*Image
	ctx    context.Context
	r      io.ReaderAt
	codec  *codec.Codec
	expand func(int64) error
	room   int64
}

// Parse finds what every byte of an image is for. It stops at the end of ctx and
// where expand, which is told how many bytes are about to be decoded, or ErrRoom
// says so; any other error means that the bytes are no such image.
func Parse(ctx context.Context, r io.ReaderAt, size int64, expand func(int64) error) (*Image, error) {
	head := make([]byte, SuperSize)
	if size < SuperSize {
		return nil, errors.New("no superblock: the image is cut short")
	}
	if n, err := r.ReadAt(head, 0); n < SuperSize {
		return nil, err
	}
	s, err := parseSuper(head)
	if err != nil {
		return nil, err
	}
	if s.BytesUsed > uint64(size) {
		return nil, fmt.Errorf("superblock: the image has %d bytes, not %d", size, s.BytesUsed)
	}
	p := &parser{Image: &Image{Super: s}, ctx: ctx, r: r, expand: expand, room: maxRoom}
	for i, name := range []string{"inodes", "directories", "fragments", "exports", "ids", "xattrs", "xattr ids"} {
		p.Tables()[i].Name = name
	}
	// A dictionary is never larger than a block, and no block than 1 MiB.
	for _, c := range codec.All(codec.Limits{MaxExpanded: metaSize, MaxDict: maxBlock}) {
		if c.Name() == s.Codec() {
			p.codec = c
		}
	}
	if p.codec == nil {
		return nil, fmt.Errorf("no decoder %s here", s.Codec())
	}
	for _, step := range []func() error{p.readOptions, p.readTables, p.apart, p.findInodes, p.findFragments, p.findListings, p.findAttrs, p.findPaths, p.share} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := step(); err != nil {
			return nil, err
		}
	}
	return p.Image, nil
}

// take takes n bytes of memory from what there is.
func (p *parser) take(n int64) error {
	if p.room -= n; p.room < 0 {
		return ErrRoom
	}
	return nil
}

// readOptions finds the compressor options, which are stored.
func (p *parser) readOptions() error {
	if p.Flags&flagOptions == 0 {
		return nil
	}
	b, err := p.header(SuperSize, int64(p.BytesUsed))
	if err != nil || !b.Stored {
		return errors.New("no compressor options after the superblock")
	}
	p.Options = ledger.Range{Off: b.Off + 2, Len: b.Len}
	return nil
}

// readTables reads all tables of metadata blocks.
func (p *parser) readTables() (err error) {
	bounds := []int64{int64(p.BytesUsed)} // where blocks of inodes and directories end
	for _, off := range []uint64{p.InodeTable, p.DirTable} {
		if off < SuperSize || off > p.BytesUsed {
			return fmt.Errorf("superblock: a table at %d", off)
		}
	}
	for _, x := range []struct {
		name  string
		start uint64
		bytes int64 // of the decoded table
		table *Table
		index *ledger.Range
	}{
		{"fragment", p.FragmentTable, 16 * int64(p.FragCount), &p.Frags, &p.FragIndex},
		{"export", p.ExportTable, 8 * int64(p.InodeCount), &p.Exports, &p.ExportIndex},
		{"id", p.IDTable, 4 * int64(p.Super.IDs), &p.IDs, &p.IDIndex},
	} {
		if x.start == None || x.bytes == 0 {
			continue
		}
		if *x.index, err = p.indexed(x.table, x.start, x.bytes); err != nil {
			return fmt.Errorf("%s table: %w", x.name, err)
		}
		bounds = append(bounds, x.table.Off, x.index.Off)
	}
	if p.XattrTable != None {
		if err := p.readXattrTables(); err != nil {
			return fmt.Errorf("xattr table: %w", err)
		}
		bounds = append(bounds, p.Xattrs.Off, p.XattrHeader.Off)
	}
	for _, x := range []struct {
		name         string
		start, other uint64
		table        *Table
	}{{"inode", p.InodeTable, p.DirTable, &p.Inodes}, {"directory", p.DirTable, p.InodeTable, &p.Dirs}} {
		end := int64(p.BytesUsed)
		for _, bound := range append(bounds, int64(x.other)) {
			if bound >= int64(x.start) {
				end = min(end, bound)
			}
		}
		if err := p.run(x.table, int64(x.start), end); err != nil {
			return fmt.Errorf("%s table: %w", x.name, err)
		}
	}
	if len(p.Inodes.Blocks) == 0 {
		return errors.New("inode table: its first block does not decode")
	}
	return nil
}

// readXattrTables reads the header at XattrTable and the tables it leads to.
func (p *parser) readXattrTables() (err error) {
	head, err := p.bytes(p.XattrTable, 16)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	start, n := le.Uint64(head), int64(le.Uint32(head[8:]))
	p.XattrHeader = ledger.Range{Off: int64(p.XattrTable), Len: 16}
	if p.XattrIndex, err = p.indexed(&p.XattrIDs, p.XattrTable+16, 16*n); err != nil {
		return err
	}
	if start == None || start > uint64(p.XattrIDs.Off) {
		return fmt.Errorf("its keys are said to start at %d", start)
	}
	return p.run(&p.Xattrs, int64(start), p.XattrIDs.Off)
}

// indexed reads the table of n decoded bytes whose blocks the list at start names,
// and returns where the list is. The table ends where the list does not name the
// block that follows.
func (p *parser) indexed(t *Table, start uint64, n int64) (index ledger.Range, err error) {
	blocks := (n + metaSize - 1) / metaSize
	if start < SuperSize || start > p.BytesUsed || uint64(blocks) > (p.BytesUsed-start)/8 {
		return index, fmt.Errorf("a list of %d offsets at %d", blocks, start)
	}
	index = ledger.Range{Off: int64(start), Len: 8 * blocks}
	t.Off = index.Off
	for i := range blocks {
		buf, err := p.bytes(start+8*uint64(i), 8)
		if err != nil {
			return index, err
		}
		off := binary.LittleEndian.Uint64(buf)
		switch {
		case i == 0 && (off < SuperSize || off > start):
			return index, fmt.Errorf("its first block at %d", off)
		case i == 0:
			t.Off = int64(off)
		case off != uint64(t.Range().End()):
			return index, nil
		}
		more, err := p.add(t, index.Off, min(metaSize, n-metaSize*i))
		if err != nil || !more {
			return index, err
		}
	}
	return index, nil
}

// run reads metadata blocks from off up to end, or to the first that does not
// decode or reaches beyond.
func (p *parser) run(t *Table, off, end int64) error {
	t.Off = off
	for t.Range().End() < end {
		more, err := p.add(t, end, 0)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// add appends to a table the block that follows and lies before end. It reports
// whether there is one; want, if not 0, is how long what it decodes to has to be.
func (p *parser) add(t *Table, end, want int64) (bool, error) {
	b, err := p.header(t.Range().End(), end)
	if err != nil {
		return false, nil
	}
	if err := p.ctx.Err(); err != nil {
		return false, err
	}
	buf := make([]byte, b.Len)
	if n, err := p.r.ReadAt(buf, b.Off+2); n < len(buf) {
		return false, err
	}
	if !b.Stored {
		if err := p.expand(metaSize); err != nil {
			return false, err
		}
		var out bytes.Buffer
		if err := p.codec.Decode(p.ctx, &out, bytes.NewReader(buf)); err != nil {
			return false, p.ctx.Err()
		}
		buf = out.Bytes()
	}
	b.At, b.Size = int64(len(t.Data)), int64(len(buf))
	if b.Size == 0 || b.Size > metaSize || want > 0 && b.Size != want {
		return false, nil
	}
	if err := p.take(b.Size); err != nil {
		return false, err
	}
	t.Data = append(t.Data, buf...)
	t.Blocks = append(t.Blocks, b)
	return true, nil
}

// header reads the header of the metadata block at off, which has to end at end or
// before.
func (p *parser) header(off, end int64) (Block, error) {
	h, err := p.bytes(uint64(off), 2)
	if err != nil {
		return Block{}, err
	}
	size := binary.LittleEndian.Uint16(h)
	b := Block{Off: off, Len: int64(size &^ metaStored), Stored: size&metaStored != 0}
	if b.Len == 0 || b.Len > metaSize || b.End() > end {
		return b, fmt.Errorf("a metadata block of %d bytes at %d", b.Len, off)
	}
	return b, nil
}

// bytes reads n bytes at off.
func (p *parser) bytes(off uint64, n int64) ([]byte, error) {
	if off > p.BytesUsed || uint64(n) > p.BytesUsed-off {
		return nil, fmt.Errorf("%d bytes at %d, in an image of %d", n, off, p.BytesUsed)
	}
	b := make([]byte, n)
	if m, err := p.r.ReadAt(b, int64(off)); m < len(b) {
		return nil, err
	}
	return b, nil
}

// Tables returns all tables.
func (im *Image) Tables() []*Table {
	return []*Table{&im.Inodes, &im.Dirs, &im.Frags, &im.Exports, &im.IDs, &im.Xattrs, &im.XattrIDs}
}

// Skeleton returns where superblock, options, tables and lists are, in order, those
// left out that are empty.
func (im *Image) Skeleton() []ledger.Range {
	out := []ledger.Range{{Len: SuperSize}}
	if im.Options.Len > 0 {
		out = append(out, ledger.Range{Off: SuperSize, Len: im.Options.End() - SuperSize})
	}
	for _, t := range im.Tables() {
		out = append(out, t.Range())
	}
	out = append(out, im.FragIndex, im.ExportIndex, im.IDIndex, im.XattrHeader, im.XattrIndex)
	out = slices.DeleteFunc(out, func(r ledger.Range) bool { return r.Len == 0 })
	slices.SortFunc(out, func(a, b ledger.Range) int { return cmp.Compare(a.Off, b.Off) })
	return out
}

// apart refuses tables that overlap.
func (p *parser) apart() error {
	all := p.Skeleton()
	for i := 1; i < len(all); i++ {
		if all[i].Off < all[i-1].End() {
			return fmt.Errorf("tables overlap at %d", all[i].Off)
		}
	}
	return nil
}
