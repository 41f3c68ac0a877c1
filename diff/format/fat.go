package format

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/fat"
	"github.com/assaylab/assay/diff/ledger"
)

// fatVolume is reserved sectors, copies of the allocation table, a root directory
// of fixed size on FAT12 and FAT16, and clusters: those of files and directories by
// their paths, the others by what the table says of them. Whatever decides which
// clusters a file has, and whatever no file has, is compared; only the volume's id
// and the times of directory entries are places.
var fatVolume = &diff.Format{
	Name:    "fat",
	Version: 1,
	Title:   "FAT12, FAT16 and FAT32 file system",
	Source:  "Microsoft FAT32 File System Specification 1.03; ECMA-107; Linux include/uapi/linux/msdos_fs.h",
	Detect: func(in *diff.Input) bool {
		_, err := fat.ParseBoot(in.Bytes(0, fat.BootLen))
		return err == nil
	},
	Parse: parseFAT,
}

// fatParameters is the head of a boot sector of every kind.
var fatParameters = []diff.Field{
	{Name: "jump", Off: 0, Len: 3, Role: diff.RolePayload},
	{Name: "OEM name", Off: 3, Len: 8, Role: diff.RoleName},
	{Name: "bytes per sector", Off: 11, Len: 2, Role: diff.RoleMeta},
	{Name: "sectors per cluster", Off: 13, Len: 1, Role: diff.RoleMeta},
	{Name: "reserved sectors", Off: 14, Len: 2, Role: diff.RoleCount},
	{Name: "tables", Off: 16, Len: 1, Role: diff.RoleCount},
	{Name: "root entries", Off: 17, Len: 2, Role: diff.RoleCount},
	{Name: "sectors", Off: 19, Len: 2, Role: diff.RoleLength},
	{Name: "medium", Off: 21, Len: 1, Role: diff.RoleMeta},
	{Name: "sectors per table", Off: 22, Len: 2, Role: diff.RoleLength},
	{Name: "sectors per track", Off: 24, Len: 2, Role: diff.RoleMeta},
	{Name: "heads", Off: 26, Len: 2, Role: diff.RoleMeta},
	{Name: "hidden sectors", Off: 28, Len: 4, Role: diff.RoleMeta},
	{Name: "large sectors", Off: 32, Len: 4, Role: diff.RoleLength},
}

// fat32Parameters follow on FAT32.
var fat32Parameters = []diff.Field{
	{Name: "large sectors per table", Off: 36, Len: 4, Role: diff.RoleLength},
	{Name: "mirroring", Off: 40, Len: 2, Role: diff.RoleFlags},
	{Name: "version", Off: 42, Len: 2, Role: diff.RoleMeta},
	{Name: "root cluster", Off: 44, Len: 4, Role: diff.RoleOffset},
	{Name: "information sector", Off: 48, Len: 2, Role: diff.RoleOffset},
	{Name: "backup sector", Off: 50, Len: 2, Role: diff.RoleOffset},
	{Name: "reserved", Off: 52, Len: 12, Role: diff.RoleMeta},
}

// fatBootTable lays a boot sector out. The extended part says by its signature how
// much of it there is; where it has none, code stands there.
func fatBootTable(g *fat.Geometry) *diff.Table {
	rows := append([]diff.Field(nil), fatParameters...)
	if g.Bits == 32 {
		rows = append(rows, fat32Parameters...)
	}
	at := func() int64 { f := rows[len(rows)-1]; return f.Off + f.Len }
	add := func(f diff.Field) {
		f.Off = at()
		rows = append(rows, f)
	}
	if g.BootSig == 0x28 || g.BootSig == 0x29 {
		add(diff.Field{Name: "drive", Len: 1, Role: diff.RoleMeta})
		add(diff.Field{Name: "state", Len: 1, Role: diff.RoleFlags})
		add(diff.Field{Name: "extended signature", Len: 1, Role: diff.RoleMagic})
		add(diff.Field{Name: "volume id", Len: 4, Role: diff.RoleID, Op: ledger.OpUUID, Enc: "id32"})
	}
	if g.BootSig == 0x29 {
		add(diff.Field{Name: "label", Len: 11, Role: diff.RoleName})
		add(diff.Field{Name: "type", Len: 8, Role: diff.RoleName})
	}
	add(diff.Field{Name: "boot code", Len: 510 - at(), Role: diff.RolePayload})
	add(diff.Field{Name: "signature", Len: 2, Role: diff.RoleMagic})
	if at() < g.SectorSize {
		add(diff.Field{Name: "after the signature", Len: g.SectorSize - at(), Role: diff.RoleSlack})
	}
	return &diff.Table{Fields: rows}
}

// fatInfoTable lays out the sector that holds hints for finding free clusters. They
// follow from no formula: what is next is for the writer to say.
func fatInfoTable(g *fat.Geometry) *diff.Table {
	rows := []diff.Field{
		{Name: "lead signature", Off: 0, Len: 4, Role: diff.RoleMagic},
		{Name: "reserved", Off: 4, Len: 480, Role: diff.RoleFree},
		{Name: "structure signature", Off: 484, Len: 4, Role: diff.RoleMagic},
		{Name: "free clusters", Off: 488, Len: 4, Role: diff.RoleCount},
		{Name: "next free cluster", Off: 492, Len: 4, Role: diff.RoleOffset},
		{Name: "reserved#2", Off: 496, Len: 12, Role: diff.RoleFree},
		{Name: "signature", Off: 508, Len: 4, Role: diff.RoleMagic},
	}
	if g.SectorSize > 512 {
		rows = append(rows, diff.Field{Name: "after the signature", Off: 512, Len: g.SectorSize - 512, Role: diff.RoleSlack})
	}
	return &diff.Table{Fields: rows}
}

// A fatEntryShape is all that the rows of a directory entry depend on.
type fatEntryShape struct {
	slots int
	times fat.Times
}

// table lays out an entry after the parts of its long name, the last of which comes
// first. A time is a place only where the entry holds one: zero means none.
func (s fatEntryShape) table() *diff.Table {
	var rows []diff.Field
	for i := range s.slots {
		rows = append(rows, diff.Field{
			Name: "long name " + strconv.Itoa(s.slots-i), Off: int64(32 * i), Len: 32, Role: diff.RoleName,
		})
	}
	at := int64(32 * s.slots)
	add := func(name string, n int64, role diff.Role) *diff.Field {
		rows = append(rows, diff.Field{Name: name, Off: at, Len: n, Role: role})
		at += n
		return &rows[len(rows)-1]
	}
	moment := func(name string, n int64, has fat.Times, enc ledger.Enc) {
		if f := add(name, n, diff.RoleTime); s.times&has != 0 {
			f.Op, f.Enc = ledger.OpTime, enc
		}
	}
	add("name", 11, diff.RoleName)
	add("attributes", 1, diff.RoleFlags)
	add("case", 1, diff.RoleFlags)
	moment("creation hundredths", 1, fat.CreatedTenths, "dostenth")
	moment("creation", 4, fat.Created, "dos")
	moment("access", 2, fat.Accessed, "dosdate")
	add("first cluster, high", 2, diff.RoleOffset)
	moment("modification", 4, fat.Written, "dos")
	add("first cluster", 2, diff.RoleOffset)
	add("size", 4, diff.RoleLength)
	return &diff.Table{Fields: rows}
}

type fatLayout struct {
	*fat.Volume
	in      *diff.Input
	out     []diff.Section
	names   names
	streams names
	tables  map[fatEntryShape]*diff.Table
	pieces  map[int]*diff.Stream // by file, where there are several
}

func parseFAT(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	v, err := fat.Parse(ctx, in, in.Size, in.Budget.Node)
	if err != nil {
		return nil, err
	}
	l := &fatLayout{
		Volume: v, in: in, names: names{}, streams: names{},
		tables: map[fatEntryShape]*diff.Table{}, pieces: map[int]*diff.Stream{},
	}
	if err := in.Budget.Node(16); err != nil {
		return nil, err
	}
	l.reserved()
	if err := l.allocation(ctx); err != nil {
		return nil, err
	}
	if l.Bits != 32 {
		root := l.directory(0, l.RootDir)
		l.add(root)
		l.add(diff.Section{
			Name: "after the root directory", Role: diff.RoleFree,
			Off: l.RootDir.End(), Len: l.Data - l.RootDir.End(),
		})
	}
	for i := range l.Areas {
		if i%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := l.area(&l.Areas[i]); err != nil {
			return nil, err
		}
	}
	end := l.Data + l.Held*l.ClusterSize
	l.add(diff.Section{Name: "after the last cluster", Role: diff.RoleFree, Off: end, Len: min(l.Size, in.Size) - end})
	return l.out, nil
}

// add takes a section up under a name of its own, if there is anything of it.
func (l *fatLayout) add(s diff.Section) {
	if s.Len > 0 {
		s.Name = l.names.unique(s.Name)
		l.out = append(l.out, s)
	}
}

// reserved lays out what stands before the tables.
func (l *fatLayout) reserved() {
	boot := fatBootTable(&l.Geometry)
	sector := func(name string, off int64, t *diff.Table) {
		at := int64(0)
		if n := len(l.out); n > 0 {
			at = l.out[n-1].End()
		}
		l.add(diff.Section{Name: "reserved sectors", Role: diff.RoleFree, Off: at, Len: off - at})
		if name != "" {
			l.add(diff.Section{Name: name, Role: diff.RoleHeader, Off: off, Len: l.SectorSize, Table: t})
		}
	}
	info := func(name string, off int64) {
		if string(l.in.Bytes(off, 4)) == "RRaA" {
			sector(name, off, fatInfoTable(&l.Geometry))
		}
	}
	sector("boot sector", 0, boot)
	if l.Info > 0 && (l.Backup == 0 || l.Info < l.Backup) {
		info("information sector", l.Info)
	}
	if l.Backup > 0 {
		// The copy is laid out as the boot sector is only where it says the same.
		var t *diff.Table
		if g, err := fat.ParseBoot(l.in.Bytes(l.Backup, fat.BootLen)); err == nil && g == l.Geometry {
			t = boot
		}
		sector("backup boot sector", l.Backup, t)
		if at := l.Backup + l.SectorSize; at < l.Reserved && at != l.Info {
			info("backup information sector", at)
		}
	}
	if l.Info > l.Backup && l.Backup > 0 {
		info("information sector", l.Info)
	}
	sector("", l.Reserved, nil)
}

// allocation lays out the tables. All are compared; that a copy does not say what
// the one in use says is told as well.
func (l *fatLayout) allocation(ctx context.Context) error {
	active := l.FAT(l.Active)
	for n := range l.FATs {
		r := l.FAT(n)
		s := diff.Section{
			Name: "FAT " + strconv.Itoa(n+1), Role: diff.RoleTable, Off: r.Off, Len: r.Len,
			Fields: func() []diff.Section { return l.entries(r) },
		}
		if n != l.Active {
			off, err := differ(ctx, l.in, r, active)
			if err != nil {
				return err
			}
			if off >= 0 {
				s.Note = fmt.Sprintf("it differs from FAT %d, which is in use, from byte %d on", l.Active+1, off)
			}
		}
		l.add(s)
	}
	return nil
}

// differ returns where two ranges of one length begin to differ, or -1.
func differ(ctx context.Context, in *diff.Input, a, b fat.Range) (int64, error) {
	const step = 64 << 10
	for at := int64(0); at < a.Len; at += step {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n := min(step, a.Len-at)
		x, y := in.Bytes(a.Off+at, n), in.Bytes(b.Off+at, n)
		if x == nil || y == nil {
			return 0, fmt.Errorf("%d bytes at %d or %d cannot be read", n, a.Off+at, b.Off+at)
		}
		if !bytes.Equal(x, y) {
			i := 0
			for x[i] == y[i] {
				i++
			}
			return at + int64(i), nil
		}
	}
	return -1, nil
}

// entries divides a table by what its entries are for. On FAT12 a byte that two
// entries share goes with the second.
func (l *fatLayout) entries(table fat.Range) []diff.Section {
	unique := names{}
	out := make([]diff.Section, 0, len(l.Areas)+2)
	at := int64(0)
	add := func(name string, role diff.Role, to int64) {
		if to > at {
			out = append(out, diff.Section{Name: unique.unique(name), Role: role, Off: table.Off + at, Len: to - at})
			at = to
		}
	}
	add("first entries", diff.RoleMeta, l.EntryAt(2))
	for i := range l.Areas {
		a := &l.Areas[i]
		name := "free"
		switch a.Kind {
		case fat.Owned:
			name = "chain of " + l.Files[a.File].Path
		case fat.Bad:
			name = "bad"
		case fat.Lost:
			name = "lost"
		}
		to := l.EntryAt(int64(a.First) + int64(a.N))
		if i == len(l.Areas)-1 {
			to = (int64(a.First) + int64(a.N)) * int64(l.Bits)
			to = (to + 7) / 8
		}
		add(name, diff.RoleOffset, to)
	}
	add("after the last entry", diff.RoleFree, table.Len)
	return out
}

// area lays out clusters.
func (l *fatLayout) area(a *fat.Area) error {
	r := l.Bytes(a.Run)
	s := diff.Section{Role: diff.RoleFree, Off: r.Off, Len: r.Len}
	switch a.Kind {
	case fat.Free:
		s.Name = "free clusters"
	case fat.Bad:
		s.Name = "bad clusters"
	case fat.Lost:
		s.Name = "lost clusters"
	default:
		if err := l.in.Budget.Node(3); err != nil {
			return err
		}
		if l.Files[a.File].Dir {
			s = l.directory(a.File, r)
			s.Part = l.part(a)
		} else {
			s = l.file(a)
		}
		if a.Index > 0 {
			s.Name += " (run " + strconv.Itoa(a.Index+1) + ")"
			s.Note = "" // told with the first
		}
		l.add(s)
		return nil
	}
	l.add(s)
	return nil
}

// file lays out a run of a file: content up to the file's end, and what its last
// clusters hold behind it.
func (l *fatLayout) file(a *fat.Area) diff.Section {
	f, r := &l.Files[a.File], l.Bytes(a.Run)
	s := diff.Section{Name: f.Path, Role: diff.RoleMember, Off: r.Off, Len: r.Len, Note: f.Note}
	n := min(max(f.Size-a.At, 0), r.Len)
	if n > 0 {
		content := diff.Section{Name: "content", Role: diff.RolePayload, Off: r.Off, Len: n, Part: l.part(a)}
		content.Open = content.Part == nil
		s.Children = append(s.Children, content)
	}
	if n < r.Len {
		s.Children = append(s.Children, diff.Section{Name: "slack", Role: diff.RoleSlack, Off: r.Off + n, Len: r.Len - n})
	}
	return s
}

// part says of which stream a run is a piece, if of any: one that has the whole
// of a file or directory is none.
func (l *fatLayout) part(a *fat.Area) *diff.Part {
	f := &l.Files[a.File]
	if len(f.Runs) < 2 || l.Bytes(f.Runs[0]).Len >= f.Size {
		return nil
	}
	st := l.pieces[a.File]
	if st == nil {
		st = &diff.Stream{Name: l.streams.unique(f.Path), Role: diff.RoleMember, Open: !f.Dir}
		if f.Dir {
			st.Layout = l.parts(f, 0, f.Size)
		} else {
			st.Role = diff.RolePayload
		}
		l.pieces[a.File] = st
	}
	return &diff.Part{Of: st, N: a.Index}
}

// directory lays out a directory that stands at r, or one piece of it.
func (l *fatLayout) directory(file int, r fat.Range) diff.Section {
	f := &l.Files[file]
	s := diff.Section{Name: f.Path, Role: diff.RoleMember, Off: r.Off, Len: r.Len, Note: f.Note}
	if len(f.Runs) < 2 {
		s.Children = l.parts(f, r.Off, r.Len)
	}
	return s
}

// parts lays out the n bytes of a directory: its entries, and what stands behind
// the last.
func (l *fatLayout) parts(f *fat.File, off, n int64) []diff.Section {
	at := func(i int) (from, end int64) {
		e := &f.Entries[i]
		return off + e.Off, off + e.Off + e.Len()
	}
	out := bunched(len(f.Entries), at, func(i, j int) []diff.Section { return l.dirEntries(f.Entries[i:j], off) })
	if f.Used < n {
		out = append(out, diff.Section{Name: "after the last entry", Role: diff.RoleSlack, Off: off + f.Used, Len: n - f.Used})
	}
	return out
}

// dirEntries lays out entries of the directory that stands at off.
func (l *fatLayout) dirEntries(es []fat.Entry, off int64) []diff.Section {
	unique := names{}
	out := make([]diff.Section, 0, len(es)+1)
	for i := range es {
		e := &es[i]
		s := diff.Section{Name: unique.unique(e.Name), Role: diff.RoleMember, Off: off + e.Off, Len: e.Len()}
		switch e.Kind {
		case fat.Deleted:
			s.Role = diff.RoleFree
		case fat.Stray:
			s.Role = diff.RoleName
		default:
			shape := fatEntryShape{int(e.Slots), e.Times}
			if s.Table = l.tables[shape]; s.Table == nil {
				s.Table = shape.table()
				l.tables[shape] = s.Table
			}
		}
		out = append(out, s)
	}
	return out
}
