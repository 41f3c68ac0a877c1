package format

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/ext"
	"github.com/assaylab/assay/diff/ledger"
)

// extInode is struct ext4_inode.
var extInode = []extRow{
	{"i_mode", 0, 2, diff.RoleMeta},
	{"i_uid", 2, 2, diff.RoleMeta},
	{"i_size_lo", 4, 4, diff.RoleLength},
	{"i_atime", 8, 4, diff.RoleTime},
	{"i_ctime", 12, 4, diff.RoleTime},
	{"i_mtime", 16, 4, diff.RoleTime},
	{"i_dtime", 20, 4, diff.RoleMeta},
	{"i_gid", 24, 2, diff.RoleMeta},
	{"i_links_count", 26, 2, diff.RoleCount},
	{"i_blocks_lo", 28, 4, diff.RoleCount},
	{"i_flags", 32, 4, diff.RoleFlags},
	{"i_version", 36, 4, diff.RoleVersion},
	{"i_block", 40, 60, diff.RoleTable},
	{"i_generation", 100, 4, diff.RoleMeta},
	{"i_file_acl_lo", 104, 4, diff.RoleOffset},
	{"i_size_high", 108, 4, diff.RoleLength},
	{"i_obso_faddr", 112, 4, diff.RoleMeta},
	{"i_blocks_high", 116, 2, diff.RoleCount},
	{"i_file_acl_high", 118, 2, diff.RoleOffset},
	{"i_uid_high", 120, 2, diff.RoleMeta},
	{"i_gid_high", 122, 2, diff.RoleMeta},
	{"i_checksum_lo", 124, 2, diff.RoleChecksum},
	{"i_reserved", 126, 2, diff.RoleSlack},
	{"i_extra_isize", 128, 2, diff.RoleLength},
	{"i_checksum_hi", 130, 2, diff.RoleChecksum},
	{"i_ctime_extra", 132, 4, diff.RoleTime},
	{"i_mtime_extra", 136, 4, diff.RoleTime},
	{"i_atime_extra", 140, 4, diff.RoleTime},
	{"i_crtime", 144, 4, diff.RoleTime},
	{"i_crtime_extra", 148, 4, diff.RoleTime},
	{"i_version_hi", 152, 4, diff.RoleVersion},
	{"i_projid", 156, 4, diff.RoleMeta},
}

// inodeTable lays out the inodes of a group: those in use by path, runs of others.
func (p *extLayout) inodeTable(off, size, group int64) []diff.Section {
	inodes := p.InTable(group)
	out := make([]diff.Section, 0, 2*len(inodes)+2)
	at, end := off, off+p.InodesPerGroup*p.InodeSize
	unused := func(to int64) {
		if at < to {
			out = append(out, diff.Section{Name: "unused inodes", Role: diff.RoleFree, Off: at, Len: to - at})
		}
	}
	for i := range inodes {
		n := &inodes[i]
		unused(n.Off)
		out = append(out, diff.Section{
			Name: n.Path, Role: diff.RoleMember, Off: n.Off, Len: p.InodeSize, Note: n.Note,
			Fields: func() []diff.Section { return p.inode(n) },
		})
		at = n.Off + p.InodeSize
	}
	unused(end)
	return filled(out, off, off+size)
}

// inode lays out one inode.
func (p *extLayout) inode(n *ext.Inode) []diff.Section {
	b := p.bytes(n.Off, p.InodeSize)
	if b == nil {
		return nil
	}
	fixed := int64(128)
	if len(b) > 128 {
		fixed += max(n.Extra, 2) // i_extra_isize is there in any case
	}
	sums := []ledger.Range{{Off: n.Off + 124, Len: 2}}
	if n.Extra >= 4 {
		sums = append(sums, ledger.Range{Off: n.Off + 130, Len: 2})
	}
	out := extFields(n.Off, b[:fixed], extInode, func(r *extRow) *ledger.Spec {
		if !p.HasSums() {
			return nil
		}
		alg := sumLow
		if r.off == 130 {
			alg = sumHigh
		}
		return p.sum(alg, ledger.Range{Off: n.Off + r.off, Len: r.len}, "u16le", sums, p.seeded(n, span(n.Off, p.InodeSize))...)
	})
	for i := range out {
		switch s := &out[i]; {
		case s.Name == "i_block":
			s.Children = p.iblock(n, b)
		case s.Role == diff.RoleTime && n.Flags&ext.FlagEAInode != 0:
			s.Role, s.Spec = diff.RoleMeta, nil // a hash, a count of references
		}
	}
	if n.Extra > 0 {
		at := 128 + n.Extra
		if at+4 <= p.InodeSize && binary.LittleEndian.Uint32(b[at:]) == 0xea020000 {
			out = append(out, diff.Section{Name: "xattr magic", Role: diff.RoleMagic, Off: n.Off + at, Len: 4})
			out = append(out, attributes(n.Off, b, ext.InodeAttributes(b, n.Extra))...)
		}
	}
	return filled(out, n.Off, n.Off+p.InodeSize)
}

// iblock lays out the 60 bytes that say where the content is, or are it.
func (p *extLayout) iblock(n *ext.Inode, inode []byte) []diff.Section {
	const size = 60
	off, b := n.Off+40, inode[40:40+size]
	leaf := func(name string, role diff.Role, at, n int64) diff.Section {
		return diff.Section{Name: name, Role: role, Off: off + at, Len: n}
	}
	var out []diff.Section
	switch t := n.Type(); {
	case n.Inline() && t == ext.TypeDir:
		out = append(out, leaf("parent", diff.RoleMeta, 0, 4))
		out = append(out, p.entries(off+4, b[4:], nil)...)
	case n.Inline():
		out = append(out, leaf("content", diff.RolePayload, 0, min(n.Size, size)))
	case n.FastSymlink():
		out = append(out, leaf("target", diff.RoleMeta, 0, n.Size))
	case t == ext.TypeChar, t == ext.TypeBlock:
		out = append(out, leaf("device", diff.RoleMeta, 0, 8))
	case !n.Mapped() && zero(b):
	case n.Flags&ext.FlagExtents != 0:
		return p.extentNode(off, b, nil)
	default:
		for i := range int64(12) {
			out = append(out, leaf("block "+strconv.FormatInt(i, 10), diff.RoleOffset, 4*i, 4))
		}
		out = append(out,
			leaf("indirect block", diff.RoleOffset, 48, 4),
			leaf("double indirect block", diff.RoleOffset, 52, 4),
			leaf("triple indirect block", diff.RoleOffset, 56, 4),
		)
	}
	return filled(out, off, off+size)
}

// extentBlock lays out a block of an extent tree.
func (p *extLayout) extentBlock(off int64, ino uint32) []diff.Section {
	b := p.bytes(off, p.BlockSize)
	if b == nil {
		return nil
	}
	return p.extentNode(off, b, p.Inode(ino))
}

// extentNode lays out a node of an extent tree; owner is nil where it stands in its
// inode.
func (p *extLayout) extentNode(off int64, b []byte, owner *ext.Inode) []diff.Section {
	const header, entry = 12, 12
	leaf := func(name string, role diff.Role, at, n int64) diff.Section {
		return diff.Section{Name: name, Role: role, Off: off + at, Len: n}
	}
	out := []diff.Section{
		leaf("eh_magic", diff.RoleMagic, 0, 2),
		leaf("eh_entries", diff.RoleCount, 2, 2),
		leaf("eh_max", diff.RoleCount, 4, 2),
		leaf("eh_depth", diff.RoleMeta, 6, 2),
		leaf("eh_generation", diff.RoleMeta, 8, 4),
	}
	size := int64(len(b))
	count, most := int64(binary.LittleEndian.Uint16(b[2:])), int64(binary.LittleEndian.Uint16(b[4:]))
	for i := range min(count, (size-header)/entry) {
		s := leaf("extent "+strconv.FormatInt(i, 10), diff.RoleOffset, header+i*entry, entry)
		if b[6] != 0 || b[7] != 0 {
			s.Name = "index " + strconv.FormatInt(i, 10)
		}
		out = append(out, s)
	}
	if tail := header + most*entry; owner != nil && p.HasSums() && count <= most && tail+4 <= size {
		s := leaf("et_checksum", diff.RoleChecksum, tail, 4)
		s.Spec = p.sum(sumWhole, s.Range(), "u32le", nil, p.seeded(owner, span(off, tail))...)
		out = append(out, s)
	}
	return filled(out, off, off+size)
}

// attributes lays out entries and values; b stands at off.
func attributes(off int64, b []byte, list []ext.Attribute) []diff.Section {
	out := make([]diff.Section, 0, 2*len(list)+1)
	end := int64(-1)
	for i := range list {
		a := &list[i]
		at := off + a.Entry.Off
		end = a.Entry.End()
		out = append(out, diff.Section{
			Name: a.String(), Role: diff.RoleMeta, Off: at, Len: a.Entry.Len,
			Children: filled([]diff.Section{
				{Name: "e_name_len", Role: diff.RoleLength, Off: at, Len: 1},
				{Name: "e_name_index", Role: diff.RoleMeta, Off: at + 1, Len: 1},
				{Name: "e_value_offs", Role: diff.RoleOffset, Off: at + 2, Len: 2},
				{Name: "e_value_inum", Role: diff.RoleMeta, Off: at + 4, Len: 4},
				{Name: "e_value_size", Role: diff.RoleLength, Off: at + 8, Len: 4},
				{Name: "e_hash", Role: diff.RoleMeta, Off: at + 12, Len: 4},
				{Name: "e_name", Role: diff.RoleName, Off: at + 16, Len: int64(len(a.Name))},
			}, at, at+a.Entry.Len),
		})
		if a.Value.Len > 0 {
			out = append(out, diff.Section{Name: a.String() + " value", Role: diff.RoleMeta, Off: off + a.Value.Off, Len: a.Value.Len})
		}
	}
	if end >= 0 && end+4 <= int64(len(b)) && zero(b[end:end+4]) {
		out = append(out, diff.Section{Name: "end of xattrs", Role: diff.RoleEnd, Off: off + end, Len: 4})
	}
	return out
}

// extAttributes is struct ext4_xattr_header.
var extAttributes = []extRow{
	{"h_magic", 0, 4, diff.RoleMagic},
	{"h_refcount", 4, 4, diff.RoleCount},
	{"h_blocks", 8, 4, diff.RoleCount},
	{"h_hash", 12, 4, diff.RoleMeta},
	{"h_checksum", 16, 4, diff.RoleChecksum},
	{"h_reserved", 20, 12, diff.RoleSlack},
}

// attributeBlock lays out a block of attributes.
func (p *extLayout) attributeBlock(off, block int64) []diff.Section {
	b := p.bytes(off, p.BlockSize)
	list, ok := ext.BlockOfAttributes(b)
	if !ok {
		return nil
	}
	out := extFields(off, b, extAttributes, func(r *extRow) *ledger.Spec {
		if !p.HasSums() {
			return nil
		}
		field := ledger.Range{Off: off + r.off, Len: r.len}
		num := ledger.Literal(binary.LittleEndian.AppendUint64(nil, uint64(block)))
		return p.sum(sumWhole, field, "u32le", []ledger.Range{field}, p.start, num, span(off, p.BlockSize))
	})
	return filled(append(out, attributes(off, b, list)...), off, off+p.BlockSize)
}

// directory lays out a run of blocks of a directory.
func (p *extLayout) directory(off int64, c *ext.Claim) []diff.Section {
	n := p.Inode(c.Ino)
	out := make([]diff.Section, c.Count)
	for i := range out {
		at, logical := off+int64(i)*p.BlockSize, c.Logical+int64(i)
		out[i] = diff.Section{
			Name: "block " + strconv.FormatInt(logical, 10), Role: diff.RoleTable, Off: at, Len: p.BlockSize,
			Fields: func() []diff.Section { return p.directoryBlock(at, logical, n) },
		}
	}
	return out
}

func (p *extLayout) directoryBlock(off, logical int64, n *ext.Inode) []diff.Section {
	b := p.bytes(off, p.BlockSize)
	if b == nil {
		return nil
	}
	out := p.hashTree(off, b, logical, n)
	if out == nil {
		out = p.entries(off, b, n)
	}
	return filled(out, off, off+p.BlockSize)
}

// entries lays out directory entries; b stands at off. owner is nil where they stand in
// their inode.
func (p *extLayout) entries(off int64, b []byte, owner *ext.Inode) []diff.Section {
	entries, _ := p.Entries(b)
	out := make([]diff.Section, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		at, size := off+int64(e.Off), int64(e.Len)
		s := diff.Section{Name: string(e.Name), Role: diff.RoleMember, Off: at, Len: size}
		switch tail := b[e.Off:][:e.Len]; {
		case owner != nil && p.HasSums() && e.Off+12 == len(b) && bytes.Equal(tail[:8], []byte{0, 0, 0, 0, 12, 0, 0, 0xde}):
			s.Name, s.Role = "tail", diff.RoleHeader
			sum := ledger.Range{Off: at + 8, Len: 4}
			s.Children = []diff.Section{
				{Name: "entry", Role: diff.RoleMeta, Off: at, Len: 8},
				{
					Name: "det_checksum", Role: diff.RoleChecksum, Off: sum.Off, Len: sum.Len,
					Spec: p.sum(sumWhole, sum, "u32le", nil, p.seeded(owner, span(off, int64(e.Off)))...),
				},
			}
		case e.Ino == 0:
			s.Name, s.Role = "unused entry", diff.RoleSlack
			s.Fields = func() []diff.Section {
				return filled(p.entryHeader(at), at, at+size)
			}
		default:
			name := int64(len(e.Name))
			s.Fields = func() []diff.Section {
				return filled(append(p.entryHeader(at), diff.Section{Name: "name", Role: diff.RoleName, Off: at + 8, Len: name}), at, at+size)
			}
		}
		out = append(out, s)
	}
	return out
}

// entryHeader lays out what stands before the name of an entry.
func (p *extLayout) entryHeader(at int64) []diff.Section {
	out := []diff.Section{
		{Name: "inode", Role: diff.RoleMeta, Off: at, Len: 4},
		{Name: "rec_len", Role: diff.RoleLength, Off: at + 4, Len: 2},
	}
	if p.Incompat&ext.IncompatFiletype == 0 {
		return append(out, diff.Section{Name: "name_len", Role: diff.RoleLength, Off: at + 6, Len: 2})
	}
	return append(out,
		diff.Section{Name: "name_len", Role: diff.RoleLength, Off: at + 6, Len: 1},
		diff.Section{Name: "file_type", Role: diff.RoleMeta, Off: at + 7, Len: 1},
	)
}

// hashTree lays out a block of a directory's hash tree, or returns nil if it is none:
// the root is block 0, which has the entries of the directory and its parent, any other
// node looks like a block with no entry.
func (p *extLayout) hashTree(off int64, b []byte, logical int64, n *ext.Inode) []diff.Section {
	if n.Flags&ext.FlagIndex == 0 {
		return nil
	}
	size := int64(len(b))
	all, _ := p.Entries(b)
	var out []diff.Section
	table := int64(8) // where limit and count stand
	switch {
	case logical == 0 && len(all) == 2 && all[1].Off == 12 && string(all[1].Name) == ".." && b[29] == 8:
		table = 32
		out = p.entries(off, b[:12], nil)
		out = append(out, p.entryHeader(off+12)...)
		out = append(out,
			diff.Section{Name: "name", Role: diff.RoleName, Off: off + 20, Len: 4},
			diff.Section{Name: "reserved_zero", Role: diff.RoleSlack, Off: off + 24, Len: 4},
			diff.Section{Name: "hash_version", Role: diff.RoleMeta, Off: off + 28, Len: 1},
			diff.Section{Name: "info_length", Role: diff.RoleLength, Off: off + 29, Len: 1},
			diff.Section{Name: "indirect_levels", Role: diff.RoleMeta, Off: off + 30, Len: 1},
			diff.Section{Name: "unused_flags", Role: diff.RoleFlags, Off: off + 31, Len: 1},
		)
	case logical > 0 && len(all) == 1 && all[0].Ino == 0 && len(all[0].Name) == 0:
		out = p.entryHeader(off)
	default:
		return nil
	}
	limit, count := int64(binary.LittleEndian.Uint16(b[table:])), int64(binary.LittleEndian.Uint16(b[table+2:]))
	tail := table + 8*limit
	if count < 1 || count > limit || tail > size {
		return nil
	}
	out = append(out,
		diff.Section{Name: "limit", Role: diff.RoleCount, Off: off + table, Len: 2},
		diff.Section{Name: "count", Role: diff.RoleCount, Off: off + table + 2, Len: 2},
		diff.Section{Name: "block", Role: diff.RoleOffset, Off: off + table + 4, Len: 4},
		diff.Section{Name: "entries", Role: diff.RoleTable, Off: off + table + 8, Len: 8 * (count - 1)},
	)
	if p.HasSums() && tail+8 <= size {
		field := ledger.Range{Off: off + tail + 4, Len: 4}
		over := p.seeded(n, span(off, table+8*count), span(off+tail, 8))
		out = append(out,
			diff.Section{Name: "dt_reserved", Role: diff.RoleSlack, Off: off + tail, Len: 4},
			diff.Section{
				Name: "dt_checksum", Role: diff.RoleChecksum, Off: field.Off, Len: 4,
				Spec: p.sum(sumWhole, field, "u32le", []ledger.Range{field}, over...),
			},
		)
	}
	return out
}
