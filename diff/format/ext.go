package format

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/ext"
	"github.com/assaylab/assay/diff/ledger"
)

// extfs lays out ext2, ext3 and ext4: every block by what it is for, content by the
// path of its file, metadata by its fields.
//
// Times, UUIDs and checksums may be explained, each only where it is one: a time or a
// UUID that is zero says that there is none, a checksum that does not hold in the
// reference is just bytes, an inode that holds an attribute's value keeps other things
// in its times, and another hash seed would hide the files of a directory that has a
// hash tree. All else is compared: numbers of blocks and inodes, counts,
// sizes, modes, owners, links, generations, attributes, flags. What nobody uses (the
// boot block, slack, free blocks and inodes, reserved descriptors, rests of directory
// entries) has sections of its own, so that what is put there has a name.
var extfs = &diff.Format{
	Name:    "ext",
	Version: 1,
	Title:   "ext2, ext3 or ext4 filesystem",
	Source:  "Linux fs/ext4/ext4.h and Documentation/filesystems/ext4; include/linux/jbd2.h",
	Detect:  func(in *diff.Input) bool { return ext.Is(in.Bytes(0, ext.SuperOffset+ext.SuperSize)) },
	Parse:   parseExt,
}

func parseExt(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	spend := func(n int64) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return in.Budget.Node(n)
	}
	fs, err := ext.Parse(in, in.Size, spend)
	if err != nil {
		return nil, err
	}
	p := &extLayout{FS: fs, in: in, streams: map[uint32]*diff.Stream{}, unique: names{}}
	p.hashed = slices.ContainsFunc(fs.Inodes, func(n ext.Inode) bool { return n.Flags&ext.FlagIndex != 0 })
	p.start = span(ext.SuperOffset+0x68, 16)
	if p.Incompat&ext.IncompatCsumSeed != 0 {
		p.start = span(ext.SuperOffset+0x270, 4)
	}
	p.begin = in.Bytes(p.start.Off, p.start.Len)
	out := make([]diff.Section, 0, len(fs.Claims)+len(fs.Claims)/2)
	for i := range fs.Claims {
		n := len(out)
		out = p.claim(out, &fs.Claims[i])
		if err := spend(int64(max(0, len(out)-n-1))); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// An extLayout is a filesystem on its way to sections.
type extLayout struct {
	*ext.FS
	in      *diff.Input
	start   ledger.Span // all checksums of metadata start with it: the UUID, or a seed
	begin   []byte      // what stands there
	near    extWindow
	streams map[uint32]*diff.Stream // by inode
	unique  names                   // of streams
	hashed  bool                    // a directory has a hash tree
}

// An extWindow is what was read last: fields are small, and looked at in order.
type extWindow struct {
	off int64
	b   []byte
}

// bytes is as in.Bytes.
func (p *extLayout) bytes(off, n int64) []byte {
	const size = 16 << 10
	w := &p.near
	if off < w.off || off+n > w.off+int64(len(w.b)) {
		if n > size || off < 0 || off >= p.in.Size {
			return p.in.Bytes(off, n)
		}
		b := p.in.Bytes(off, min(size, p.in.Size-off))
		if int64(len(b)) < n {
			return p.in.Bytes(off, n)
		}
		*w = extWindow{off, b}
	}
	return bytes.Clone(w.b[off-w.off:][:n])
}

// extRoles gives the roles of claims that are one section each.
var extRoles = map[ext.Kind]diff.Role{
	ext.Free:                diff.RoleFree,
	ext.Unowned:             diff.RoleFree,
	ext.Boot:                diff.RolePayload,
	ext.Descriptors:         diff.RoleTable,
	ext.ReservedDescriptors: diff.RoleFree,
	ext.InodeTable:          diff.RoleTable,
	ext.MMP:                 diff.RoleHeader,
	ext.Directory:           diff.RoleTable,
	ext.Indirect:            diff.RoleTable,
	ext.Extents:             diff.RoleTable,
	ext.Attributes:          diff.RoleMeta,
	ext.Unwritten:           diff.RoleSlack,
	ext.Beyond:              diff.RoleSlack,
	ext.Leftover:            diff.RoleSlack,
}

// claim appends the sections of c to out.
func (p *extLayout) claim(out []diff.Section, c *ext.Claim) []diff.Section {
	s := diff.Section{Role: extRoles[c.Kind], Off: c.Block * p.BlockSize, Len: c.Count * p.BlockSize}
	if c.MarkedFree {
		s.Note = "in use, but free in the block bitmap"
	}
	group := func(name string) string { return name + " " + strconv.FormatInt(c.Group, 10) }
	switch c.Kind {
	case ext.Data:
		return p.data(out, s, c)
	case ext.Superblock:
		return p.superblock(out, s, c)
	case ext.BlockBitmap:
		return bitmap(out, s, group("block bitmap"), p.BlocksPerGroup/p.Cluster/8)
	case ext.InodeBitmap:
		return bitmap(out, s, group("inode bitmap"), p.InodesPerGroup/8)
	case ext.Boot, ext.MMP:
		s.Name = c.Kind.String()
	default:
		s.Name = group(c.Kind.String())
	}
	if n := p.Inode(c.Ino); n != nil {
		s.Name = n.Path
		if c.Kind != ext.Directory {
			s.Name += ":" + c.Kind.String()
		}
	}
	switch c.Kind {
	case ext.Unowned:
		s.Note = "in use by the block bitmap, but of no inode"
	case ext.Descriptors:
		s.Fields = func() []diff.Section { return p.descriptors(s.Off, s.Len, c.Group) }
	case ext.InodeTable:
		s.Fields = func() []diff.Section { return p.inodeTable(s.Off, s.Len, c.Group) }
	case ext.MMP:
		s.Fields = func() []diff.Section { return p.mmp(s.Off) }
	case ext.Directory:
		s.Fields = func() []diff.Section { return p.directory(s.Off, c) }
	case ext.Extents:
		s.Fields = func() []diff.Section { return p.extentBlock(s.Off, c.Ino) }
	case ext.Attributes:
		s.Fields = func() []diff.Section { return p.attributeBlock(s.Off, c.Block) }
	}
	return append(out, s)
}

// bitmap appends a bitmap of size bytes and what follows it in its block.
func bitmap(out []diff.Section, s diff.Section, name string, size int64) []diff.Section {
	rest := s
	s.Name, s.Role, s.Len = name, diff.RoleTable, min(size, s.Len)
	rest.Name, rest.Role, rest.Off, rest.Len = name+":rest", diff.RoleSlack, s.End(), rest.Len-s.Len
	out = append(out, s)
	if rest.Len > 0 {
		out = append(out, rest)
	}
	return out
}

// data appends a run of a file's content, and the slack after its end.
func (p *extLayout) data(out []diff.Section, s diff.Section, c *ext.Claim) []diff.Section {
	n := p.Inode(c.Ino)
	whole := s.Len
	s.Role = diff.RolePayload
	s.Name = n.Path
	if c.Piece > 0 {
		s.Name += "#" + strconv.Itoa(c.Piece+1)
	}
	s.Len = max(0, min(whole, n.Size-c.Logical*p.BlockSize))
	if s.Note == "" && n.Broken {
		s.Note = n.Note
	}
	switch {
	case c.Ino == p.Journal:
		s.Role = diff.RoleMeta
		if c.Logical == 0 {
			s.Fields = func() []diff.Section { return p.journal(s.Off, s.Len) }
		}
	case c.Ino == p.OrphanFile:
		s.Role = diff.RoleTable
		s.Fields = func() []diff.Section { return p.orphans(s.Off, s.Len, c) }
	case c.Ino == p.UserQuota, c.Ino == p.GroupQuota, c.Ino == p.ProjectQuota,
		n.Type() != ext.TypeRegular, n.Flags&ext.FlagEAInode != 0:
		s.Role = diff.RoleMeta // of a link or an attribute a date is no date
	case n.Broken:
	case n.Pieces == 1 && len(n.Holes) == 0:
		s.Open = true
	default:
		if of := p.stream(n); of != nil {
			s.Part = &diff.Part{Of: of, N: c.Piece}
		} else if s.Note == "" {
			s.Note, s.Limit = "its holes are larger than the image", "expanded"
		}
	}
	out = append(out, s)
	if slack := whole - s.Len; slack > 0 {
		out = append(out, diff.Section{Name: n.Path + ":slack", Role: diff.RoleSlack, Off: s.End(), Len: slack})
	}
	return out
}

// maxHoles is how many bytes of holes a file may have beyond the size of the image to
// be read as one stream.
const maxHoles = 64 << 20

// stream returns the content of n, which stands in pieces, or nil if too much of it
// stands nowhere.
func (p *extLayout) stream(n *ext.Inode) *diff.Stream {
	if of, ok := p.streams[n.Num]; ok {
		return of
	}
	var of *diff.Stream
	room := p.in.Size + maxHoles
	for _, z := range n.Holes {
		if room -= z.Len; room < 0 {
			break
		}
	}
	if room >= 0 {
		of = &diff.Stream{Name: p.unique.unique(n.Path), Role: diff.RolePayload, Open: true, Zeros: n.Holes}
	}
	p.streams[n.Num] = of
	return of
}

// An extRow is a field of a structure of fixed layout: len bytes at off. Times have 4
// bytes, ids 16.
type extRow struct {
	name     string
	off, len int64
	role     diff.Role
}

// extFields lays b, which stands at off, out by rows, as far as they lie inside. A time
// or an id that is not zero may be any other; spec, if any, says what else may be.
func extFields(off int64, b []byte, rows []extRow, spec func(r *extRow) *ledger.Spec) []diff.Section {
	out := make([]diff.Section, 0, len(rows))
	for i := range rows {
		r := &rows[i]
		if r.off+r.len > int64(len(b)) {
			break
		}
		s := diff.Section{Name: r.name, Role: r.role, Off: off + r.off, Len: r.len}
		value := b[r.off : r.off+r.len]
		switch {
		case zero(value):
		case r.role == diff.RoleTime:
			s.Spec = &ledger.Spec{Op: ledger.OpTime, Enc: "u32le"}
		case r.role == diff.RoleID:
			s.Spec = &ledger.Spec{Op: ledger.OpUUID, Enc: "raw"}
			if r.name == "s_hash_seed" {
				s.Spec.Enc = "seed"
			}
		}
		if spec != nil && r.role == diff.RoleChecksum {
			s.Spec = spec(r)
		}
		out = append(out, s)
	}
	return out
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// filled puts parts in order, leaves out what overlaps the part before it, and names
// the bytes of [lo, hi) between them as unused.
func filled(parts []diff.Section, lo, hi int64) []diff.Section {
	slices.SortStableFunc(parts, func(a, b diff.Section) int { return cmp.Compare(a.Off, b.Off) })
	most, at := len(parts)+1, lo
	for i := range parts {
		if parts[i].Off > at {
			most++
		}
		at = parts[i].End()
	}
	out := make([]diff.Section, 0, most)
	unused := func(end int64) {
		if lo < end {
			out = append(out, diff.Section{Name: "unused", Role: diff.RoleSlack, Off: lo, Len: end - lo})
			lo = end
		}
	}
	for _, s := range parts {
		if s.Off < lo || s.End() > hi || s.Len == 0 {
			continue
		}
		unused(s.Off)
		out = append(out, s)
		lo = s.End()
	}
	unused(hi)
	return out
}

func span(off, n int64) ledger.Span { return ledger.Span{Range: ledger.Range{Off: off, Len: n}} }
