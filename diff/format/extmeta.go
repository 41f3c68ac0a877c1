package format

import (
	"encoding/binary"
	"strconv"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/ext"
	"github.com/assaylab/assay/diff/ledger"
)

// extSuper is struct ext4_super_block.
var extSuper = []extRow{
	{"s_inodes_count", 0x00, 4, diff.RoleCount},
	{"s_blocks_count_lo", 0x04, 4, diff.RoleCount},
	{"s_r_blocks_count_lo", 0x08, 4, diff.RoleCount},
	{"s_free_blocks_count_lo", 0x0c, 4, diff.RoleCount},
	{"s_free_inodes_count", 0x10, 4, diff.RoleCount},
	{"s_first_data_block", 0x14, 4, diff.RoleOffset},
	{"s_log_block_size", 0x18, 4, diff.RoleMeta},
	{"s_log_cluster_size", 0x1c, 4, diff.RoleMeta},
	{"s_blocks_per_group", 0x20, 4, diff.RoleCount},
	{"s_clusters_per_group", 0x24, 4, diff.RoleCount},
	{"s_inodes_per_group", 0x28, 4, diff.RoleCount},
	{"s_mtime", 0x2c, 4, diff.RoleTime},
	{"s_wtime", 0x30, 4, diff.RoleTime},
	{"s_mnt_count", 0x34, 2, diff.RoleCount},
	{"s_max_mnt_count", 0x36, 2, diff.RoleCount},
	{"s_magic", 0x38, 2, diff.RoleMagic},
	{"s_state", 0x3a, 2, diff.RoleFlags},
	{"s_errors", 0x3c, 2, diff.RoleMeta},
	{"s_minor_rev_level", 0x3e, 2, diff.RoleVersion},
	{"s_lastcheck", 0x40, 4, diff.RoleTime},
	{"s_checkinterval", 0x44, 4, diff.RoleMeta},
	{"s_creator_os", 0x48, 4, diff.RoleMeta},
	{"s_rev_level", 0x4c, 4, diff.RoleVersion},
	{"s_def_resuid", 0x50, 2, diff.RoleMeta},
	{"s_def_resgid", 0x52, 2, diff.RoleMeta},
	{"s_first_ino", 0x54, 4, diff.RoleMeta},
	{"s_inode_size", 0x58, 2, diff.RoleLength},
	{"s_block_group_nr", 0x5a, 2, diff.RoleMeta},
	{"s_feature_compat", 0x5c, 4, diff.RoleFlags},
	{"s_feature_incompat", 0x60, 4, diff.RoleFlags},
	{"s_feature_ro_compat", 0x64, 4, diff.RoleFlags},
	{"s_uuid", 0x68, 16, diff.RoleID},
	{"s_volume_name", 0x78, 16, diff.RoleName},
	{"s_last_mounted", 0x88, 64, diff.RoleName},
	{"s_algorithm_usage_bitmap", 0xc8, 4, diff.RoleFlags},
	{"s_prealloc_blocks", 0xcc, 1, diff.RoleMeta},
	{"s_prealloc_dir_blocks", 0xcd, 1, diff.RoleMeta},
	{"s_reserved_gdt_blocks", 0xce, 2, diff.RoleCount},
	{"s_journal_uuid", 0xd0, 16, diff.RoleID},
	{"s_journal_inum", 0xe0, 4, diff.RoleMeta},
	{"s_journal_dev", 0xe4, 4, diff.RoleMeta},
	{"s_last_orphan", 0xe8, 4, diff.RoleMeta},
	{"s_hash_seed", 0xec, 16, diff.RoleID},
	{"s_def_hash_version", 0xfc, 1, diff.RoleMeta},
	{"s_jnl_backup_type", 0xfd, 1, diff.RoleMeta},
	{"s_desc_size", 0xfe, 2, diff.RoleLength},
	{"s_default_mount_opts", 0x100, 4, diff.RoleFlags},
	{"s_first_meta_bg", 0x104, 4, diff.RoleMeta},
	{"s_mkfs_time", 0x108, 4, diff.RoleTime},
	{"s_jnl_blocks", 0x10c, 68, diff.RoleTable},
	{"s_blocks_count_hi", 0x150, 4, diff.RoleCount},
	{"s_r_blocks_count_hi", 0x154, 4, diff.RoleCount},
	{"s_free_blocks_count_hi", 0x158, 4, diff.RoleCount},
	{"s_min_extra_isize", 0x15c, 2, diff.RoleLength},
	{"s_want_extra_isize", 0x15e, 2, diff.RoleLength},
	{"s_flags", 0x160, 4, diff.RoleFlags},
	{"s_raid_stride", 0x164, 2, diff.RoleMeta},
	{"s_mmp_interval", 0x166, 2, diff.RoleMeta},
	{"s_mmp_block", 0x168, 8, diff.RoleOffset},
	{"s_raid_stripe_width", 0x170, 4, diff.RoleMeta},
	{"s_log_groups_per_flex", 0x174, 1, diff.RoleMeta},
	{"s_checksum_type", 0x175, 1, diff.RoleMeta},
	{"s_encryption_level", 0x176, 1, diff.RoleMeta},
	{"s_reserved_pad", 0x177, 1, diff.RoleMeta},
	{"s_kbytes_written", 0x178, 8, diff.RoleCount},
	{"s_snapshot_inum", 0x180, 4, diff.RoleMeta},
	{"s_snapshot_id", 0x184, 4, diff.RoleMeta},
	{"s_snapshot_r_blocks_count", 0x188, 8, diff.RoleCount},
	{"s_snapshot_list", 0x190, 4, diff.RoleMeta},
	{"s_error_count", 0x194, 4, diff.RoleCount},
	{"s_first_error_time", 0x198, 4, diff.RoleMeta},
	{"s_first_error_ino", 0x19c, 4, diff.RoleMeta},
	{"s_first_error_block", 0x1a0, 8, diff.RoleMeta},
	{"s_first_error_func", 0x1a8, 32, diff.RoleName},
	{"s_first_error_line", 0x1c8, 4, diff.RoleMeta},
	{"s_last_error_time", 0x1cc, 4, diff.RoleMeta},
	{"s_last_error_ino", 0x1d0, 4, diff.RoleMeta},
	{"s_last_error_line", 0x1d4, 4, diff.RoleMeta},
	{"s_last_error_block", 0x1d8, 8, diff.RoleMeta},
	{"s_last_error_func", 0x1e0, 32, diff.RoleName},
	{"s_mount_opts", 0x200, 64, diff.RoleName},
	{"s_usr_quota_inum", 0x240, 4, diff.RoleMeta},
	{"s_grp_quota_inum", 0x244, 4, diff.RoleMeta},
	{"s_overhead_clusters", 0x248, 4, diff.RoleCount},
	{"s_backup_bgs", 0x24c, 8, diff.RoleMeta},
	{"s_encrypt_algos", 0x254, 4, diff.RoleMeta},
	{"s_encrypt_pw_salt", 0x258, 16, diff.RoleMeta},
	{"s_lpf_ino", 0x268, 4, diff.RoleMeta},
	{"s_prj_quota_inum", 0x26c, 4, diff.RoleMeta},
	{"s_checksum_seed", 0x270, 4, diff.RoleChecksum},
	{"s_wtime_hi", 0x274, 1, diff.RoleMeta},
	{"s_mtime_hi", 0x275, 1, diff.RoleMeta},
	{"s_mkfs_time_hi", 0x276, 1, diff.RoleMeta},
	{"s_lastcheck_hi", 0x277, 1, diff.RoleMeta},
	{"s_first_error_time_hi", 0x278, 1, diff.RoleMeta},
	{"s_last_error_time_hi", 0x279, 1, diff.RoleMeta},
	{"s_first_error_errcode", 0x27a, 1, diff.RoleMeta},
	{"s_last_error_errcode", 0x27b, 1, diff.RoleMeta},
	{"s_encoding", 0x27c, 2, diff.RoleMeta},
	{"s_encoding_flags", 0x27e, 2, diff.RoleFlags},
	{"s_orphan_file_inum", 0x280, 4, diff.RoleMeta},
	{"s_reserved", 0x284, 376, diff.RoleSlack},
	{"s_checksum", 0x3fc, 4, diff.RoleChecksum},
}

// superblock appends the superblock or a copy of it, with what shares its block.
func (p *extLayout) superblock(out []diff.Section, s diff.Section, c *ext.Claim) []diff.Section {
	end := s.End()
	s.Name, s.Role, s.Len = "superblock", diff.RoleHeader, ext.SuperSize
	switch {
	case c.Group > 0:
		s.Name += " " + strconv.FormatInt(c.Group, 10)
	case c.Block == 0:
		out = append(out, diff.Section{Name: "boot block", Role: diff.RolePayload, Len: ext.SuperOffset})
		s.Off = ext.SuperOffset
	}
	if b := p.bytes(s.Off, s.Len); b == nil || binary.LittleEndian.Uint16(b[0x38:]) != 0xef53 {
		s.Note = "no copy of the superblock"
	} else {
		at := s.Off
		s.Fields = func() []diff.Section { return p.super(at) }
	}
	out = append(out, s)
	if s.End() < end {
		out = append(out, diff.Section{Name: s.Name + ":slack", Role: diff.RoleSlack, Off: s.End(), Len: end - s.End()})
	}
	return out
}

func (p *extLayout) super(at int64) []diff.Section {
	out := extFields(at, p.bytes(at, ext.SuperSize), extSuper, func(r *extRow) *ledger.Spec {
		field := ledger.Range{Off: at + r.off, Len: r.len}
		switch {
		case r.off == 0x3fc && p.HasSums():
			return p.sum(sumWhole, field, "u32le", nil, span(at, r.off))
		case r.off == 0x270 && p.Incompat&ext.IncompatCsumSeed != 0:
			// It was made of the UUID, and is there so that a new UUID changes nothing else.
			if sp := p.sum(sumWhole, field, "u32le", nil, span(ext.SuperOffset+0x68, 16)); sp != nil {
				sp.Keep = true
				return sp
			}
		}
		return nil
	})
	for i := range out {
		if out[i].Name == "s_hash_seed" && p.hashed {
			out[i].Spec = nil
		}
	}
	return out
}

// extDescriptor is struct ext4_group_desc.
var extDescriptor = []extRow{
	{"bg_block_bitmap_lo", 0, 4, diff.RoleOffset},
	{"bg_inode_bitmap_lo", 4, 4, diff.RoleOffset},
	{"bg_inode_table_lo", 8, 4, diff.RoleOffset},
	{"bg_free_blocks_count_lo", 12, 2, diff.RoleCount},
	{"bg_free_inodes_count_lo", 14, 2, diff.RoleCount},
	{"bg_used_dirs_count_lo", 16, 2, diff.RoleCount},
	{"bg_flags", 18, 2, diff.RoleFlags},
	{"bg_exclude_bitmap_lo", 20, 4, diff.RoleOffset},
	{"bg_block_bitmap_csum_lo", 24, 2, diff.RoleChecksum},
	{"bg_inode_bitmap_csum_lo", 26, 2, diff.RoleChecksum},
	{"bg_itable_unused_lo", 28, 2, diff.RoleCount},
	{"bg_checksum", 30, 2, diff.RoleChecksum},
	{"bg_block_bitmap_hi", 32, 4, diff.RoleOffset},
	{"bg_inode_bitmap_hi", 36, 4, diff.RoleOffset},
	{"bg_inode_table_hi", 40, 4, diff.RoleOffset},
	{"bg_free_blocks_count_hi", 44, 2, diff.RoleCount},
	{"bg_free_inodes_count_hi", 46, 2, diff.RoleCount},
	{"bg_used_dirs_count_hi", 48, 2, diff.RoleCount},
	{"bg_itable_unused_hi", 50, 2, diff.RoleCount},
	{"bg_exclude_bitmap_hi", 52, 4, diff.RoleOffset},
	{"bg_block_bitmap_csum_hi", 56, 2, diff.RoleChecksum},
	{"bg_inode_bitmap_csum_hi", 58, 2, diff.RoleChecksum},
	{"bg_reserved", 60, 4, diff.RoleSlack},
}

// descriptors lays out the group descriptors in size bytes at off, which stand in the
// group given.
func (p *extLayout) descriptors(off, size, group int64) []diff.Section {
	var out []diff.Section
	for n := range size / p.BlockSize {
		first := p.FirstDescriptor(group, n)
		for i := range p.BlockSize / p.DescSize {
			g, at := first+i, off+n*p.BlockSize+i*p.DescSize
			if g >= int64(len(p.Groups)) {
				break
			}
			out = append(out, diff.Section{
				Name: "group " + strconv.FormatInt(g, 10), Role: diff.RoleHeader, Off: at, Len: p.DescSize,
				Fields: func() []diff.Section { return p.descriptor(at, g) },
			})
		}
	}
	return filled(out, off, off+size)
}

func (p *extLayout) descriptor(at, g int64) []diff.Section {
	d := &p.Groups[g]
	out := extFields(at, p.bytes(at, p.DescSize), extDescriptor, func(r *extRow) *ledger.Spec {
		field := ledger.Range{Off: at + r.off, Len: r.len}
		blocks := span(d.BlockBitmap*p.BlockSize, min(p.BlockSize, p.BlocksPerGroup/p.Cluster/8))
		inodes := span(d.InodeBitmap*p.BlockSize, min(p.BlockSize, p.InodesPerGroup/8))
		num := ledger.Literal(binary.LittleEndian.AppendUint32(nil, uint32(g)))
		switch {
		case !p.HasGroupSums():
		case r.off == 30 && p.HasSums():
			return p.sum(sumLow, field, "u16le", []ledger.Range{field}, p.start, num, span(at, p.DescSize))
		case r.off == 30:
			over := []ledger.Span{p.start, num, span(at, 30)}
			if p.DescSize > 32 {
				over = append(over, span(at+32, p.DescSize-32))
			}
			return p.sum(sum16, field, "u16le", nil, over...)
		case !p.HasSums():
		case r.off == 24:
			return p.sum(sumLow, field, "u16le", nil, p.start, blocks)
		case r.off == 26:
			return p.sum(sumLow, field, "u16le", nil, p.start, inodes)
		case r.off == 56:
			return p.sum(sumHigh, field, "u16le", nil, p.start, blocks)
		case r.off == 58:
			return p.sum(sumHigh, field, "u16le", nil, p.start, inodes)
		}
		return nil
	})
	return filled(out, at, at+p.DescSize)
}

// extJournal is struct journal_superblock_s, in big-endian words.
var extJournal = []extRow{
	{"h_magic", 0, 4, diff.RoleMagic},
	{"h_blocktype", 4, 4, diff.RoleMeta},
	{"h_sequence", 8, 4, diff.RoleMeta},
	{"s_blocksize", 12, 4, diff.RoleLength},
	{"s_maxlen", 16, 4, diff.RoleLength},
	{"s_first", 20, 4, diff.RoleOffset},
	{"s_sequence", 24, 4, diff.RoleMeta},
	{"s_start", 28, 4, diff.RoleOffset},
	{"s_errno", 32, 4, diff.RoleMeta},
	{"s_feature_compat", 36, 4, diff.RoleFlags},
	{"s_feature_incompat", 40, 4, diff.RoleFlags},
	{"s_feature_ro_compat", 44, 4, diff.RoleFlags},
	{"s_uuid", 48, 16, diff.RoleID},
	{"s_nr_users", 64, 4, diff.RoleCount},
	{"s_dynsuper", 68, 4, diff.RoleOffset},
	{"s_max_transaction", 72, 4, diff.RoleMeta},
	{"s_max_trans_data", 76, 4, diff.RoleMeta},
	{"s_checksum_type", 80, 1, diff.RoleMeta},
	{"s_padding2", 81, 3, diff.RoleSlack},
	{"s_num_fc_blks", 84, 4, diff.RoleCount},
	{"s_head", 88, 4, diff.RoleOffset},
	{"s_padding", 92, 160, diff.RoleSlack},
	{"s_checksum", 252, 4, diff.RoleChecksum},
	{"s_users", 256, 768, diff.RoleMeta},
}

// journal lays out the first run of the journal, of size bytes: its superblock and the
// log, which is compared as it stands.
func (p *extLayout) journal(off, size int64) []diff.Section {
	const superSize = 1024
	b := p.bytes(off, min(superSize, size))
	if len(b) < superSize || binary.BigEndian.Uint32(b) != 0xc03b3998 {
		return []diff.Section{{Name: "log", Role: diff.RoleMeta, Off: off, Len: size, Note: "no superblock of a journal"}}
	}
	field := ledger.Range{Off: off + 252, Len: 4}
	s := diff.Section{Name: "superblock", Role: diff.RoleHeader, Off: off, Len: superSize}
	s.Children = extFields(off, b, extJournal, func(*extRow) *ledger.Spec {
		return p.sum(sumWhole, field, "u32be", []ledger.Range{field}, span(off, superSize))
	})
	for i := range s.Children {
		if f := &s.Children[i]; f.Name == "s_uuid" && f.Spec != nil {
			f.Spec.Enc = "seed" // nothing goes by the id of an internal journal
		}
	}
	log := diff.Section{Name: "log", Role: diff.RoleMeta, Off: off + min(size, p.BlockSize)}
	log.Len = off + size - log.Off
	return filled([]diff.Section{s, log}, off, off+size)
}

// extMMP is struct mmp_struct.
var extMMP = []extRow{
	{"mmp_magic", 0, 4, diff.RoleMagic},
	{"mmp_seq", 4, 4, diff.RoleMeta},
	{"mmp_time_lo", 8, 4, diff.RoleTime},
	{"mmp_time_hi", 12, 4, diff.RoleMeta},
	{"mmp_nodename", 16, 64, diff.RoleName},
	{"mmp_bdevname", 80, 32, diff.RoleName},
	{"mmp_check_interval", 112, 2, diff.RoleMeta},
	{"mmp_pad1", 114, 2, diff.RoleSlack},
	{"mmp_pad2", 116, 904, diff.RoleSlack},
	{"mmp_checksum", 1020, 4, diff.RoleChecksum},
}

// mmp lays out the block that keeps two machines from mounting at once.
func (p *extLayout) mmp(off int64) []diff.Section {
	out := extFields(off, p.bytes(off, 1024), extMMP, func(r *extRow) *ledger.Spec {
		if !p.HasSums() {
			return nil
		}
		return p.sum(sumWhole, ledger.Range{Off: off + r.off, Len: r.len}, "u32le", nil, p.start, span(off, r.off))
	})
	return filled(out, off, off+p.BlockSize)
}

// orphans lays out blocks of the orphan file, of size bytes: numbers of inodes, and a
// tail.
func (p *extLayout) orphans(off, size int64, c *ext.Claim) []diff.Section {
	var out []diff.Section
	n := p.Inode(c.Ino)
	for i := range size / p.BlockSize {
		at := off + i*p.BlockSize
		end := at + p.BlockSize
		field := ledger.Range{Off: end - 4, Len: 4}
		s := diff.Section{Name: "block " + strconv.FormatInt(c.Logical+i, 10), Role: diff.RoleTable, Off: at, Len: p.BlockSize}
		sum := diff.Section{Name: "ob_checksum", Role: diff.RoleChecksum, Off: field.Off, Len: field.Len}
		if p.HasSums() {
			num := ledger.Literal(binary.LittleEndian.AppendUint64(nil, uint64(at/p.BlockSize)))
			sum.Spec = p.sum(sumWhole, field, "u32le", nil, p.seeded(n, num, span(at, p.BlockSize-8))...)
		}
		s.Children = []diff.Section{
			{Name: "inodes", Role: diff.RoleTable, Off: at, Len: p.BlockSize - 8},
			{Name: "ob_magic", Role: diff.RoleMagic, Off: end - 8, Len: 4},
			sum,
		}
		out = append(out, s)
	}
	return filled(out, off, off+size)
}
