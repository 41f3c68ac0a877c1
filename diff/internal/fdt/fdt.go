// Package fdt reads flattened device trees: where in a blob each node,
// property and block of one stands.
//
// It reads version 17, and later versions that say they are compatible with
// it, as chapter 5 of the Devicetree Specification describes it: a header of
// ten big-endian words, a map of reserved memory, a block of tokens that nest
// nodes and their properties, and a block with the properties' names. The
// blocks may stand in any order but apart from each other. Nothing is
// allocated for what the blob only claims, and nodes nest at most MaxDepth deep.
package fdt

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/assaylab/assay/diff/ledger"
)

const (
	// Magic is the first word of a tree.
	Magic = 0xd00dfeed
	// HeaderSize is the size of the header in bytes.
	HeaderSize = 40
	// MaxDepth is how deep nodes may nest: Linux reads no more either
	// (drivers/of/fdt.c, FDT_MAX_DEPTH).
	MaxDepth = 64

	version    = 17
	maxName    = 255
	maxStrings = 16 << 20
)

// ErrDepth reports nodes nested deeper than MaxDepth.
var ErrDepth = errors.New("fdt: nodes are nested too deep")

// Tokens of the structure block.
const (
	beginNode = 1
	endNode   = 2
	property  = 3
	nop       = 4
	end       = 9
)

// A Header is the words of the header, in order.
type Header struct {
	Magic         uint32
	TotalSize     uint32
	OffStruct     uint32
	OffStrings    uint32
	OffReserve    uint32
	Version       uint32
	LastVersion   uint32 // the lowest version it is compatible with
	BootCPU       uint32
	SizeOfStrings uint32
	SizeOfStruct  uint32
}

// A Tree is a flattened device tree. All offsets count from its start.
type Tree struct {
	Header
	Size     int64        // of the whole tree, in bytes
	Reserve  ledger.Range // entries of 16 bytes, the last of them zero
	Struct   ledger.Range // the whole block
	Strings  ledger.Range
	Before   []Item       // NOPs before the root node
	Root     Item         // a node
	After    []Item       // NOPs after it
	EndToken ledger.Range // of the structure block
}

// A Kind says what an Item is.
type Kind uint8

// Kinds of items.
const (
	Node Kind = iota
	Property
	Nop // a run of tokens without meaning
)

// An Item is a part of the structure block. The range of a node reaches from
// its first token to its last. That of a property, token, length and offset of
// the name (4 bytes each), has the padding after its value to a multiple of 4.
type Item struct {
	Kind Kind
	Name string
	ledger.Range

	// Value is what a property holds. For a node it is the name as stored, with
	// the NUL that ends it; padding to a multiple of 4 follows it.
	Value ledger.Range

	Items []Item // of a node, in order
}

// Padding returns the range between the value and the next multiple of 4.
func (i *Item) Padding() ledger.Range {
	return ledger.Range{Off: i.Value.End(), Len: -i.Value.Len & 3}
}

// Property returns the first property of a node with that name, or nil.
func (i *Item) Property(name string) *Item { return i.find(Property, name) }

// Node returns the first node in a node with that name, or nil.
func (i *Item) Node(name string) *Item { return i.find(Node, name) }

func (i *Item) find(kind Kind, name string) *Item {
	if i == nil {
		return nil
	}
	for k := range i.Items {
		if c := &i.Items[k]; c.Kind == kind && c.Name == name {
			return c
		}
	}
	return nil
}

// Is says whether b, the first bytes of a blob, begin a tree.
func Is(b []byte) bool { return len(b) >= 4 && binary.BigEndian.Uint32(b) == Magic }

// A parser walks a tree.
type parser struct {
	Tree
	r       io.ReaderAt
	spend   func(n int64) error
	strings string
	at      int64 // the next token

	window    []byte // bytes read ahead
	windowOff int64
}

// Parse reads the tree at the start of the size bytes of r. Before it makes n
// items it asks spend, and fails with what that returns; a nil spend never
// refuses.
func Parse(r io.ReaderAt, size int64, spend func(n int64) error) (*Tree, error) {
	p := &parser{r: r, spend: spend}
	if spend == nil {
		p.spend = func(int64) error { return nil }
	}
	p.Size = min(size, HeaderSize) // until the header says
	if err := p.header(size); err != nil {
		return nil, err
	}
	if err := p.reserve(); err != nil {
		return nil, err
	}
	if err := p.apart(); err != nil {
		return nil, err
	}
	names, err := io.ReadAll(io.NewSectionReader(r, p.Strings.Off, min(p.Strings.Len, maxStrings)))
	if err != nil {
		return nil, fmt.Errorf("fdt: strings block: %w", err)
	}
	p.strings = string(names)
	if err := p.structure(); err != nil {
		return nil, err
	}
	return &p.Tree, nil
}

// bytes returns n bytes at off, valid until the next call, or nil if the tree
// does not hold them. Requires n <= 4096.
func (p *parser) bytes(off, n int64) []byte {
	if off < 0 || off > p.Size || n > p.Size-off {
		return nil
	}
	if off < p.windowOff || off+n > p.windowOff+int64(len(p.window)) {
		if p.window == nil {
			p.window = make([]byte, 0, 4096)
		}
		p.window, p.windowOff = p.window[:min(int64(cap(p.window)), p.Size-off)], off
		if m, err := p.r.ReadAt(p.window, off); m < len(p.window) && err != nil {
			p.window = p.window[:0]
			return nil
		}
	}
	off -= p.windowOff
	return p.window[off : off+n]
}

func (p *parser) header(size int64) error {
	b := p.bytes(0, HeaderSize)
	if !Is(b) {
		return errors.New("fdt: no header at the start")
	}
	h := &p.Header
	for i, w := range []*uint32{
		&h.Magic, &h.TotalSize, &h.OffStruct, &h.OffStrings, &h.OffReserve,
		&h.Version, &h.LastVersion, &h.BootCPU, &h.SizeOfStrings, &h.SizeOfStruct,
	} {
		*w = binary.BigEndian.Uint32(b[4*i:])
	}
	if h.Version < version || h.LastVersion > version {
		return fmt.Errorf("fdt: version %d, compatible with %d; only %d is read", h.Version, h.LastVersion, version)
	}
	total := int64(h.TotalSize)
	if total < HeaderSize || total > size {
		return fmt.Errorf("fdt: a tree of %d bytes in %d", total, size)
	}
	for _, d := range []struct {
		name     string
		off, len uint32
		at       *ledger.Range
	}{
		{"structure", h.OffStruct, h.SizeOfStruct, &p.Struct},
		{"strings", h.OffStrings, h.SizeOfStrings, &p.Strings},
	} {
		*d.at = ledger.Range{Off: int64(d.off), Len: int64(d.len)}
		if d.at.End() > total {
			return fmt.Errorf("fdt: the %s block at %#x, %d bytes, runs past the end of the tree at %#x", d.name, d.off, d.len, total)
		}
	}
	p.Size = total
	return nil
}

func (p *parser) reserve() error {
	p.Reserve = ledger.Range{Off: int64(p.OffReserve)}
	for {
		b := p.bytes(p.Reserve.End(), 16)
		if b == nil {
			return errors.New("fdt: the memory reservations run past the end of the tree")
		}
		if err := p.spend(1); err != nil {
			return err
		}
		p.Reserve.Len += 16
		if binary.BigEndian.Uint64(b) == 0 && binary.BigEndian.Uint64(b[8:]) == 0 {
			return nil
		}
	}
}

// apart demands that no two blocks share a byte.
func (p *parser) apart() error {
	blocks := []ledger.Range{{Len: HeaderSize}, p.Reserve, p.Struct, p.Strings}
	slices.SortFunc(blocks, func(a, b ledger.Range) int {
		return cmp.Or(cmp.Compare(a.Off, b.Off), cmp.Compare(a.Len, b.Len))
	})
	for i := 1; i < len(blocks); i++ {
		if a, b := blocks[i-1], blocks[i]; a.End() > b.Off {
			return fmt.Errorf("fdt: the blocks at %#x and %#x overlap", a.Off, b.Off)
		}
	}
	return nil
}

// structure walks the tokens of the structure block.
func (p *parser) structure() (err error) {
	p.at = p.Struct.Off
	if p.Before, err = p.nops(nil); err != nil {
		return err
	}
	if t, err := p.token(); err != nil {
		return err
	} else if t != beginNode {
		return p.unexpected(t)
	}
	if p.Root, err = p.node(1); err != nil {
		return err
	}
	if p.After, err = p.nops(nil); err != nil {
		return err
	}
	t, err := p.token()
	if err != nil {
		return err
	}
	if t != end {
		return p.unexpected(t)
	}
	p.EndToken = ledger.Range{Off: p.at, Len: 4}
	return nil
}

// word returns the word at off of the structure block.
func (p *parser) word(off int64) (uint32, error) {
	if off+4 <= p.Struct.End() {
		if b := p.bytes(off, 4); b != nil {
			return binary.BigEndian.Uint32(b), nil
		}
	}
	return 0, fmt.Errorf("fdt: the structure block ends at %#x, inside a node", off)
}

// token returns the token at p.at without going past it.
func (p *parser) token() (uint32, error) { return p.word(p.at) }

func (p *parser) unexpected(token uint32) error {
	return fmt.Errorf("fdt: unexpected token %#x at %#x", token, p.at)
}

// nops appends a run of NOP tokens at p.at to items, if there is one, and goes
// past it.
func (p *parser) nops(items []Item) ([]Item, error) {
	from := p.at
	for {
		t, err := p.token()
		if err != nil {
			return nil, err
		}
		if t != nop {
			break
		}
		p.at += 4
	}
	if p.at == from {
		return items, nil
	}
	return append(items, Item{Kind: Nop, Name: "nop", Range: ledger.Range{Off: from, Len: p.at - from}}), p.spend(1)
}

// node reads the node that begins at p.at, and goes past it.
func (p *parser) node(depth int) (n Item, err error) {
	if depth > MaxDepth {
		return n, ErrDepth
	}
	if err := p.spend(1); err != nil {
		return n, err
	}
	n = Item{Kind: Node, Range: ledger.Range{Off: p.at}}
	if err := p.nodeName(&n); err != nil {
		return n, err
	}
	for {
		if n.Items, err = p.nops(n.Items); err != nil {
			return n, err
		}
		t, err := p.token()
		if err != nil {
			return n, err
		}
		var item Item
		switch t {
		case beginNode:
			item, err = p.node(depth + 1)
		case property:
			item, err = p.property()
		case endNode:
			p.at += 4
			n.Len = p.at - n.Off
			return n, nil
		default:
			return n, p.unexpected(t)
		}
		if err != nil {
			return n, err
		}
		n.Items = append(n.Items, item)
	}
}

func (p *parser) nodeName(n *Item) error {
	p.at += 4
	b := p.bytes(p.at, min(maxName+1, p.Struct.End()-p.at))
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return fmt.Errorf("fdt: the name of the node at %#x does not end", n.Off)
	}
	n.Name, n.Value = string(b[:i]), ledger.Range{Off: p.at, Len: int64(i) + 1}
	p.at = n.Padding().End()
	return nil
}

// property reads the property at p.at, and goes past it.
func (p *parser) property() (q Item, err error) {
	if err := p.spend(1); err != nil {
		return q, err
	}
	size, err := p.word(p.at + 4)
	if err != nil {
		return q, err
	}
	nameOff, err := p.word(p.at + 8)
	if err != nil {
		return q, err
	}
	q = Item{Kind: Property, Range: ledger.Range{Off: p.at}, Value: ledger.Range{Off: p.at + 12, Len: int64(size)}}
	p.at = q.Padding().End()
	q.Len = p.at - q.Off
	if p.at > p.Struct.End() {
		return q, fmt.Errorf("fdt: the property at %#x, of %d bytes, runs past the structure block", q.Off, size)
	}
	if uint64(nameOff) >= uint64(len(p.strings)) {
		return q, fmt.Errorf("fdt: the property at %#x has its name at %#x of %d bytes of strings", q.Off, nameOff, len(p.strings))
	}
	s := p.strings[nameOff:]
	name, _, ok := strings.Cut(s[:min(len(s), maxName+1)], "\x00")
	if !ok {
		return q, fmt.Errorf("fdt: the name of the property at %#x does not end", q.Off)
	}
	q.Name = name
	return q, nil
}
