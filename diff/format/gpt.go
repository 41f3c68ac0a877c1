package format

import (
	"context"
	"errors"
	"strconv"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/partition"
	"github.com/assaylab/assay/diff/ledger"
)

// gpt is a protective boot record, a header with its array of entries, partitions,
// what is in none, and at the end of the disk a copy of both tables. Only the ids of
// the disk and of its partitions are places, and the checksums that cover them.
var gpt = &diff.Format{
	Name:    "gpt",
	Version: 1,
	Title:   "disk with a GUID partition table",
	Source:  "UEFI Specification 2.10, 5.3",
	Detect: func(in *diff.Input) bool {
		_, ok := partition.IsGPT(in, in.Size)
		return ok
	},
	Parse: parseGPT,
}

func parseGPT(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	g, err := partition.ReadGPT(ctx, in, in.Size)
	if err != nil {
		return nil, err
	}
	p := &diskLayout{in: in, names: names{}}
	usable, last := usableBlocks(g)
	for i := range g.Claims {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c := &g.Claims[i]
		p.gpt(usable, last, c.Off)
		s, err := p.claim(c)
		if err != nil {
			return nil, err
		}
		h := &g.Primary
		if c.Kind == partition.BackupHeader || c.Kind == partition.BackupEntries {
			h = g.Backup
		}
		switch {
		case c.Kind == partition.BootRecord:
			s.Note = g.Note
		case !c.Whole:
			// What is left of a table lies in pieces: it has no fields.
		case c.Kind == partition.Header, c.Kind == partition.BackupHeader:
			s.Children, err = p.header(h, g.Sector)
		case c.Kind == partition.Entries, c.Kind == partition.BackupEntries:
			s.Role = diff.RoleTable
			s.Children, err = p.entries(ctx, h, c)
		}
		if err != nil {
			return nil, err
		}
		p.out = append(p.out, s)
	}
	if g.Backup == nil {
		// The disk may well be longer: nothing says where it ends.
		p.gpt(usable, last, in.Size)
	}
	return p.out, in.Budget.Node(3)
}

// usableBlocks returns the range of bytes that the header leaves to partitions.
func usableBlocks(g *partition.GPT) (first, last int64) {
	blocks := uint64(g.Size / g.Sector)
	return int64(min(g.Primary.First, blocks)) * g.Sector, int64(min(g.Primary.Last, blocks-1)+1) * g.Sector
}

// gpt names what no table claims up to an offset, by where it lies: before the first
// block for partitions, between those, or after the last.
func (p *diskLayout) gpt(usable, last, to int64) {
	p.gap("before the first usable block", min(usable, to))
	p.gap("unpartitioned", min(last, to))
	p.gap("after the last usable block", to)
}

// header lays out a header and the rest of its block.
func (p *diskLayout) header(h *partition.GPTHeader, sector int64) ([]diff.Section, error) {
	var out []diff.Section
	at := h.At
	add := func(name string, n int64, role diff.Role) *diff.Section {
		out = append(out, diff.Section{Name: name, Role: role, Off: at, Len: n})
		at += n
		return &out[len(out)-1]
	}
	add("signature", 8, diff.RoleMagic)
	add("revision", 4, diff.RoleVersion)
	add("header size", 4, diff.RoleLength)
	sum := add("header CRC-32", 4, diff.RoleChecksum)
	sum.Spec = &ledger.Spec{
		Op: ledger.OpSum, Enc: "u32le", Alg: "crc32",
		Over:  []ledger.Span{{Range: ledger.Range{Off: h.At, Len: h.Len}}},
		Blank: []ledger.Range{sum.Range()},
	}
	add("reserved", 4, diff.RoleFree)
	add("this block", 8, diff.RoleOffset)
	add("block of the other header", 8, diff.RoleOffset)
	add("first usable block", 8, diff.RoleOffset)
	add("last usable block", 8, diff.RoleOffset)
	disk := add("disk GUID", 16, diff.RoleID)
	id, err := p.guid(disk.Off)
	if err != nil {
		return nil, err
	}
	disk.Spec = id
	add("block of the entries", 8, diff.RoleOffset)
	add("entries", 4, diff.RoleCount)
	add("entry size", 4, diff.RoleLength)
	entries := add("entries CRC-32", 4, diff.RoleChecksum)
	if off, n, ok := h.Array(sector, p.in.Size); ok {
		entries.Spec = &ledger.Spec{
			Op: ledger.OpSum, Enc: "u32le", Alg: "crc32",
			Over: []ledger.Span{{Range: ledger.Range{Off: off, Len: n}}},
		}
	}
	if n := h.Len - partition.HeaderLen; n > 0 {
		add("after the fields", n, diff.RoleFree)
	}
	if n := sector - h.Len; n > 0 {
		add("after the header", n, diff.RoleSlack)
	}
	return out, p.in.Budget.Node(int64(len(out)))
}

// guid returns what the 16 bytes at off hold: an id, unless they are zero.
func (p *diskLayout) guid(off int64) (*ledger.Spec, error) {
	b := p.in.Bytes(off, 16)
	if b == nil {
		return nil, errors.New("an id cannot be read")
	}
	if !partition.Used(b) {
		return nil, nil
	}
	return &ledger.Spec{Op: ledger.OpUUID, Enc: "raw"}, nil
}

// gptEntryTable lays out an entry that names a partition.
func gptEntryTable(size int64) *diff.Table {
	rows := []diff.Field{
		{Name: "type", Off: 0, Len: 16, Role: diff.RoleMeta},
		{Name: "partition GUID", Off: 16, Len: 16, Role: diff.RoleID, Op: ledger.OpUUID, Enc: "raw"},
		{Name: "first block", Off: 32, Len: 8, Role: diff.RoleOffset},
		{Name: "last block", Off: 40, Len: 8, Role: diff.RoleOffset},
		{Name: "attributes", Off: 48, Len: 8, Role: diff.RoleFlags},
		{Name: "name", Off: 56, Len: 72, Role: diff.RoleName},
	}
	if size > partition.GPTEntryLen {
		rows = append(rows, diff.Field{
			Name: "reserved", Off: partition.GPTEntryLen, Len: size - partition.GPTEntryLen, Role: diff.RoleFree,
		})
	}
	return &diff.Table{Fields: rows}
}

// entries lays out an array of entries: those in use field by field, every other
// as what nobody uses.
func (p *diskLayout) entries(ctx context.Context, h *partition.GPTHeader, c *partition.Claim) ([]diff.Section, error) {
	if err := p.in.Budget.Node(int64(h.Count)); err != nil {
		return nil, err
	}
	size := int64(h.EntryLen)
	table := gptEntryTable(size)
	out := make([]diff.Section, h.Count)
	for i := range out {
		if i%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s := &out[i]
		*s = diff.Section{Name: "entry " + strconv.Itoa(i+1), Role: diff.RoleFree, Off: c.Off + int64(i)*size, Len: size}
		b := p.in.Bytes(s.Off, 32)
		if b == nil {
			return nil, errors.New("an entry cannot be read")
		}
		if partition.Used(b) && partition.Used(b[16:]) {
			s.Role, s.Table = diff.RoleMeta, table
		}
	}
	return out, nil
}
