package format

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/fdt"
	"github.com/assaylab/assay/diff/ledger"
)

// devicetree is a header, a map of reserved memory, a block of nested nodes
// and properties, and a block of property names. The nodes and properties of
// the root stand directly in the image, so that a path reads as in the tree:
// "images/kernel/data/value".
//
// A FIT image is a tree too; fit.go says which of its properties are places.
var devicetree = &diff.Format{
	Name:    "fdt",
	Version: 1,
	Title:   "flattened device tree, and U-Boot FIT image",
	Source:  "Devicetree Specification v0.4, chapter 5; U-Boot doc/usage/fit/source_file_format.rst",
	Detect:  func(in *diff.Input) bool { return fdt.Is(in.Bytes(0, 4)) },
	Parse:   parseFDT,
}

// propertyTable is what stands before the value of a property.
var propertyTable = &diff.Table{Fields: []diff.Field{
	{Name: "token", Off: 0, Len: 4, Role: diff.RoleMeta},
	{Name: "len", Off: 4, Len: 4, Role: diff.RoleLength, Op: ledger.OpNumber, Enc: "u32be", Of: "value"},
	{Name: "nameoff", Off: 8, Len: 4, Role: diff.RoleOffset},
}}

var reservationTable = &diff.Table{Fields: []diff.Field{
	{Name: "address", Off: 0, Len: 8, Role: diff.RoleMeta},
	{Name: "size", Off: 8, Len: 8, Role: diff.RoleMeta},
}}

func parseFDT(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	t, err := fdt.Parse(in, in.Size, in.Budget.Node)
	if errors.Is(err, fdt.ErrDepth) {
		return nil, &diff.LimitError{Limit: "depth", Detail: fmt.Sprintf("device tree nodes nested more than %d deep", fdt.MaxDepth)}
	}
	if err != nil {
		return nil, err
	}
	p := &treeLayout{Tree: t, in: in, ctx: ctx}
	if err := p.fit(); err != nil {
		return nil, err
	}
	return p.blocks()
}

// A treeLayout is a tree on its way to sections.
type treeLayout struct {
	*fdt.Tree
	in  *diff.Input
	ctx context.Context

	places   map[int64]place // what else is known of values, by offset
	external []diff.Section  // what stands behind the tree
}

// A place is what a property's value holds, beyond bytes.
type place struct {
	role diff.Role
	spec *ledger.Spec
	open bool
	note string
}

// blocks lays out the whole image, its blocks in the order they stand in.
func (p *treeLayout) blocks() ([]diff.Section, error) {
	structure, err := p.structure()
	if err != nil {
		return nil, err
	}
	unique := names{"header": 1, "mem_rsvmap": 1, "strings": 1} // the blocks
	for _, sections := range [][]diff.Section{structure, p.external} {
		for i := range sections {
			sections[i].Name = unique.unique(sections[i].Name)
		}
	}
	if err := p.in.Budget.Node(13 + p.Reserve.Len/16); err != nil {
		return nil, err
	}
	type block struct {
		at       ledger.Range
		sections []diff.Section
	}
	blocks := []block{
		{p.Reserve, []diff.Section{p.reserve()}},
		{p.Strings, []diff.Section{{Name: "strings", Role: diff.RoleTable, Off: p.Strings.Off, Len: p.Strings.Len}}},
		{p.Struct, structure},
	}
	slices.SortStableFunc(blocks, func(a, b block) int {
		return cmp.Or(cmp.Compare(a.at.Off, b.at.Off), cmp.Compare(a.at.Len, b.at.Len))
	})
	out := []diff.Section{p.header()}
	for _, b := range blocks {
		out = append(out, b.sections...)
	}
	return append(out, p.external...), nil
}

func (p *treeLayout) header() diff.Section {
	from := func(n uint32) *ledger.Spec { return numberOf(ledger.Range{Len: int64(n)}) }
	h := diff.Section{Name: "header", Role: diff.RoleHeader, Len: fdt.HeaderSize}
	for i, f := range []struct {
		name string
		role diff.Role
		spec *ledger.Spec
	}{
		{"magic", diff.RoleMagic, nil},
		{"totalsize", diff.RoleLength, from(p.TotalSize)},
		{"off_dt_struct", diff.RoleOffset, from(p.OffStruct)},
		{"off_dt_strings", diff.RoleOffset, from(p.OffStrings)},
		{"off_mem_rsvmap", diff.RoleOffset, from(p.OffReserve)},
		{"version", diff.RoleVersion, nil},
		{"last_comp_version", diff.RoleVersion, nil},
		{"boot_cpuid_phys", diff.RoleMeta, nil},
		{"size_dt_strings", diff.RoleLength, numberOf(p.Strings)},
		{"size_dt_struct", diff.RoleLength, numberOf(p.Struct)},
	} {
		h.Children = append(h.Children, diff.Section{Name: f.name, Role: f.role, Off: int64(4 * i), Len: 4, Spec: f.spec})
	}
	return h
}

// numberOf describes a word that holds the length of r.
func numberOf(r ledger.Range) *ledger.Spec {
	return &ledger.Spec{Op: ledger.OpNumber, Enc: "u32be", Over: []ledger.Span{{Range: r}}}
}

func (p *treeLayout) reserve() diff.Section {
	s := diff.Section{Name: "mem_rsvmap", Role: diff.RoleTable, Off: p.Reserve.Off, Len: p.Reserve.Len}
	s.Children = make([]diff.Section, s.Len/16)
	for i := range s.Children {
		s.Children[i] = diff.Section{
			Name: fmt.Sprintf("entry %d", i), Role: diff.RoleHeader,
			Off: s.Off + 16*int64(i), Len: 16, Table: reservationTable,
		}
	}
	s.Children[len(s.Children)-1] = diff.Section{Name: "end", Role: diff.RoleEnd, Off: s.End() - 16, Len: 16}
	return s
}

// structure lays out the structure block: the parts of the root node, and what
// stands before and after it.
func (p *treeLayout) structure() ([]diff.Section, error) {
	before, err := p.items(p.Before)
	if err != nil {
		return nil, err
	}
	root, err := p.node(&p.Root)
	if err != nil {
		return nil, err
	}
	after, err := p.items(p.After)
	if err != nil {
		return nil, err
	}
	end := diff.Section{Name: "(end of tree)", Role: diff.RoleEnd, Off: p.EndToken.Off, Len: p.EndToken.Len}
	out := append(before, root...)
	return append(append(out, after...), end), nil
}

func (p *treeLayout) items(items []fdt.Item) ([]diff.Section, error) {
	out := make([]diff.Section, 0, len(items))
	for i := range items {
		s, err := p.item(&items[i])
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (p *treeLayout) item(i *fdt.Item) (diff.Section, error) {
	s := diff.Section{Name: i.Name, Off: i.Off, Len: i.Len}
	var err error
	switch i.Kind {
	case fdt.Node:
		s.Role = diff.RoleMember
		s.Children, err = p.node(i)
		unique := names{}
		for k := range s.Children {
			s.Children[k].Name = unique.unique(s.Children[k].Name)
		}
	case fdt.Property:
		s.Role = diff.RoleMeta
		s.Children, err = p.property(i)
	case fdt.Nop:
		s.Role = diff.RolePadding
	}
	return s, err
}

// node returns the parts of a node. Their names are those of the node's
// properties and nodes, and some that no property can have.
func (p *treeLayout) node(n *fdt.Item) ([]diff.Section, error) {
	if err := p.ctx.Err(); err != nil {
		return nil, err
	}
	if err := p.in.Budget.Node(4); err != nil {
		return nil, err
	}
	items, err := p.items(n.Items)
	if err != nil {
		return nil, err
	}
	out := make([]diff.Section, 0, 4+len(items))
	out = append(
		out,
		diff.Section{Name: "(begin)", Role: diff.RoleMeta, Off: n.Off, Len: 4},
		diff.Section{Name: "(name)", Role: diff.RoleName, Off: n.Value.Off, Len: n.Value.Len},
		wordPadding("(name padding)", n),
	)
	out = append(out, items...)
	return append(out, diff.Section{Name: "(end)", Role: diff.RoleEnd, Off: n.End() - 4, Len: 4}), nil
}

// wordPadding is the zeros after a value, up to a multiple of 4.
func wordPadding(name string, i *fdt.Item) diff.Section {
	r := i.Padding()
	return diff.Section{
		Name: name, Role: diff.RolePadding, Off: r.Off, Len: r.Len,
		Spec: &ledger.Spec{Op: ledger.OpFill, Align: 4, Over: []ledger.Span{{Range: i.Value}}},
	}
}

func (p *treeLayout) property(q *fdt.Item) ([]diff.Section, error) {
	if err := p.in.Budget.Node(3 + int64(len(propertyTable.Fields))); err != nil {
		return nil, err
	}
	value := diff.Section{Name: "value", Role: diff.RolePayload, Off: q.Value.Off, Len: q.Value.Len}
	if known, ok := p.places[q.Value.Off]; ok {
		value.Role, value.Spec, value.Open, value.Note = known.role, known.spec, known.open, known.note
	}
	return []diff.Section{
		{Name: "head", Role: diff.RoleHeader, Off: q.Off, Len: 12, Table: propertyTable},
		value,
		wordPadding("padding", q),
	}, nil
}
