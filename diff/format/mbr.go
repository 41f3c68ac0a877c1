package format

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/partition"
	"github.com/assaylab/assay/diff/ledger"
)

// mbr is a boot record, the extended boot records of logical partitions, the
// partitions, and what is in none.
var mbr = &diff.Format{
	Name:    "mbr",
	Version: 1,
	Title:   "disk with a master boot record",
	Source:  "UEFI Specification 2.10, 5.2.1; Linux block/partitions/msdos.c",
	Detect: func(in *diff.Input) bool {
		return partition.IsMBR(in.Bytes(0, min(in.Size, 2*partition.RecordLen)), in.Size)
	},
	Parse: parseMBR,
}

// mbrEntryTable lays out one of the four entries of a boot record.
var mbrEntryTable = &diff.Table{Fields: []diff.Field{
	{Name: "status", Off: 0, Len: 1, Role: diff.RoleFlags},
	{Name: "first sector, as cylinder, head and sector", Off: 1, Len: 3, Role: diff.RoleOffset},
	{Name: "type", Off: 4, Len: 1, Role: diff.RoleMeta},
	{Name: "last sector, as cylinder, head and sector", Off: 5, Len: 3, Role: diff.RoleOffset},
	{Name: "first block", Off: 8, Len: 4, Role: diff.RoleOffset},
	{Name: "blocks", Off: 12, Len: 4, Role: diff.RoleLength},
}}

func parseMBR(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	d, err := partition.MBR(in, in.Size)
	if err != nil {
		return nil, err
	}
	p := &diskLayout{in: in, names: names{}}
	for i := range d.Claims {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c := &d.Claims[i]
		p.gap("unpartitioned", c.Off)
		s, err := p.claim(c)
		if err != nil {
			return nil, err
		}
		if c.Kind == partition.BootRecord {
			s.Note = d.Note
		}
		p.out = append(p.out, s)
	}
	p.gap("unpartitioned", in.Size)
	return p.out, p.in.Budget.Node(1)
}

// A diskLayout is a disk on its way to sections.
type diskLayout struct {
	in    *diff.Input
	names names
	out   []diff.Section
}

// gap names what no table claims, up to an offset.
func (p *diskLayout) gap(name string, to int64) {
	at := int64(0)
	if n := len(p.out); n > 0 {
		at = p.out[n-1].End()
	}
	if to > at {
		p.out = append(p.out, diff.Section{Name: p.names.unique(name), Role: diff.RoleFree, Off: at, Len: to - at})
	}
}

// claim lays out a boot record or a partition; of other claims it gives the frame.
// It pays for the gap before as well.
func (p *diskLayout) claim(c *partition.Claim) (diff.Section, error) {
	s := diff.Section{Name: p.names.unique(c.String()), Role: diff.RoleHeader, Off: c.Off, Len: c.Len, Note: c.Note}
	if err := p.in.Budget.Node(2); err != nil {
		return s, err
	}
	switch c.Kind {
	case partition.BootRecord, partition.Extended:
		b := p.in.Bytes(c.Off, partition.RecordLen)
		if b == nil {
			return s, errors.New("a boot record cannot be read")
		}
		s.Children = bootRecord(b, c.Off, c.Len, c.Kind == partition.BootRecord)
		return s, p.in.Budget.Node(int64(len(s.Children)))
	case partition.Partition:
		// What overlaps another is not what the table says it is.
		s.Role, s.Open = diff.RolePayload, c.Whole
	}
	return s, nil
}

// bootRecord lays out a sector of n bytes at off, of which b is the boot record.
// The signature of the disk is a place where there is one: in records that have
// none, code may stand there.
func bootRecord(b []byte, off, n int64, first bool) []diff.Section {
	var out []diff.Section
	at := int64(0)
	add := func(name string, role diff.Role, end int64, t *diff.Table) *diff.Section {
		out = append(out, diff.Section{Name: name, Role: role, Off: off + at, Len: end - at, Table: t})
		at = end
		return &out[len(out)-1]
	}
	if first {
		add("boot code", diff.RolePayload, partition.SignatureAt, nil)
		id := add("disk signature", diff.RoleID, partition.SignatureAt+4, nil)
		mark := binary.LittleEndian.Uint16(b[at:]) // 0x5a5a on disks that may not be copied
		if binary.LittleEndian.Uint32(b[partition.SignatureAt:]) != 0 && (mark == 0 || mark == 0x5a5a) {
			id.Spec = &ledger.Spec{Op: ledger.OpUUID, Enc: "id32"}
		}
		add("copy protection", diff.RoleFlags, partition.EntriesAt, nil)
	} else {
		add("boot code", diff.RolePayload, partition.EntriesAt, nil)
	}
	for i := range 4 {
		add("entry "+strconv.Itoa(i+1), diff.RoleMeta, at+partition.EntryLen, mbrEntryTable)
	}
	add("signature", diff.RoleMagic, partition.RecordLen, nil)
	if n > partition.RecordLen {
		add("after the signature", diff.RoleSlack, n, nil)
	}
	return out
}
