package format

import (
	"context"
	"errors"
	"fmt"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/dirimage"
	"github.com/assaylab/assay/diff/ledger"
)

// directory is the stream a directory is read as: records in canonical order,
// each a fixed header, a name, extended attributes, a link's target and a
// file's content, with nothing between.
var directory = &diff.Format{
	Name:    "directory",
	Version: 1,
	Title:   "a directory: names, types, modes, owners, attributes, targets and contents",
	Source:  "assay: package diff/internal/dirimage",
	Detect: func(in *diff.Input) bool {
		return string(in.Bytes(0, int64(len(dirimage.Magic)))) == dirimage.Magic
	},
	Parse: parseDirectory,
}

// directoryHeader is the fixed part of every record. Lengths of parts that a
// record does not have name no section, and so are no places.
var directoryHeader = &diff.Table{Fields: []diff.Field{
	{Name: "type", Off: 0, Len: 1, Role: diff.RoleMeta},
	{Name: "mode", Off: 1, Len: 2, Role: diff.RoleMeta},
	{Name: "uid", Off: 3, Len: 4, Role: diff.RoleMeta},
	{Name: "gid", Off: 7, Len: 4, Role: diff.RoleMeta},
	{Name: "major", Off: 11, Len: 4, Role: diff.RoleMeta},
	{Name: "minor", Off: 15, Len: 4, Role: diff.RoleMeta},
	{Name: "name length", Off: 19, Len: 4, Role: diff.RoleLength, Op: ledger.OpNumber, Enc: "u32be", Of: "name"},
	{Name: "xattrs length", Off: 23, Len: 4, Role: diff.RoleLength, Op: ledger.OpNumber, Enc: "u32be", Of: "xattrs"},
	{Name: "target length", Off: 27, Len: 4, Role: diff.RoleLength, Op: ledger.OpNumber, Enc: "u32be", Of: "target"},
	{Name: "content length", Off: 31, Len: 8, Role: diff.RoleLength, Op: ledger.OpNumber, Enc: "u64be", Of: "content"},
}}

type directoryWalk struct {
	in     *diff.Input
	buf    [dirimage.HeaderLen]byte
	tables map[xattrShape]*diff.Table
}

func parseDirectory(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	w := &directoryWalk{in: in, tables: map[xattrShape]*diff.Table{}}
	if err := in.Budget.Node(2); err != nil {
		return nil, err
	}
	// No member can have a name that starts with a slash.
	out := []diff.Section{{Name: "/magic", Role: diff.RoleMagic, Len: int64(len(dirimage.Magic))}}
	last := ""
	for n, off := 0, out[0].Len; ; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if end := int64(len(dirimage.End)); string(in.Bytes(off, end)) == dirimage.End {
			if n == 0 {
				return nil, errors.New("directory: no record of the directory itself")
			}
			return append(out, diff.Section{Name: "/end", Role: diff.RoleEnd, Off: off, Len: end}), nil
		}
		m, kind, err := w.record(off)
		if err != nil {
			var limit *diff.LimitError
			if errors.As(err, &limit) {
				return nil, err
			}
			return nil, fmt.Errorf("directory: at %d: %w", off, err)
		}
		switch {
		case !dirimage.ValidName(m.Name):
			err = fmt.Errorf("%q is no name below a directory", m.Name)
		case (n == 0) != (m.Name == ".") || n == 0 && kind != 'd':
			err = errors.New("the directory itself does not come first")
		case n > 0 && !dirimage.Less(last, m.Name):
			err = fmt.Errorf("%q does not come after %q", m.Name, last)
		}
		if err != nil {
			return nil, fmt.Errorf("directory: at %d: %w", off, err)
		}
		last, off = m.Name, m.End()
		out = append(out, m)
	}
}

// record lays out the record at start.
func (w *directoryWalk) record(start int64) (m diff.Section, kind byte, err error) {
	m = diff.Section{Role: diff.RoleMember, Off: start}
	if start > w.in.Size-dirimage.HeaderLen {
		return m, 0, errors.New("cut short within a record")
	}
	if n, err := w.in.ReadAt(w.buf[:], start); n < len(w.buf) {
		return m, 0, noEOF(err)
	}
	h, err := dirimage.ParseHeader(w.buf[:])
	if err != nil {
		return m, 0, err
	}
	if err := w.in.Budget.Node(6); err != nil {
		return m, 0, err
	}
	if h.ContentLen > uint64(w.in.Size) {
		return m, 0, fmt.Errorf("content of %d bytes, but %d are left", h.ContentLen, w.in.Size-start)
	}
	m.Children = make([]diff.Section, 1, 3)
	m.Children[0] = diff.Section{
		Name: "header", Role: diff.RoleHeader, Off: start, Len: dirimage.HeaderLen, Table: directoryHeader,
	}
	at := start + dirimage.HeaderLen
	part := func(s diff.Section) error {
		if s.Len > w.in.Size-at {
			return fmt.Errorf("%s of %d bytes, but %d are left", s.Name, s.Len, w.in.Size-at)
		}
		s.Off = at
		m.Children = append(m.Children, s)
		at += s.Len
		return nil
	}
	if err := part(diff.Section{Name: "name", Role: diff.RoleName, Len: int64(h.NameLen)}); err != nil {
		return m, 0, err
	}
	name := w.in.Bytes(start+dirimage.HeaderLen, int64(h.NameLen))
	if name == nil {
		return m, 0, fmt.Errorf("a name of %d bytes: over 1 MiB, or one that cannot be read", h.NameLen)
	}
	m.Name = string(name)
	if h.XattrsLen > 0 {
		s := diff.Section{Name: "xattrs", Role: diff.RoleMeta, Len: int64(h.XattrsLen)}
		if s.Children, err = w.xattrs(at, s.Len); err != nil {
			return m, 0, err
		}
		if err := part(s); err != nil {
			return m, 0, err
		}
	}
	if h.TargetLen > 0 {
		if err := part(diff.Section{Name: "target", Role: diff.RoleMeta, Len: int64(h.TargetLen)}); err != nil {
			return m, 0, err
		}
	}
	if h.Type == 'f' {
		s := diff.Section{Name: "content", Role: diff.RolePayload, Len: int64(h.ContentLen), Open: true}
		if err := part(s); err != nil {
			return m, 0, err
		}
	}
	m.Len = at - start
	return m, h.Type, nil
}

// An xattrShape is all that the rows of an attribute depend on.
type xattrShape struct{ name, value int64 }

// xattrs lays out n bytes of extended attributes at off.
func (w *directoryWalk) xattrs(off, n int64) ([]diff.Section, error) {
	rest := w.in.Bytes(off, n)
	if rest == nil {
		return nil, fmt.Errorf("extended attributes of %d bytes: over 1 MiB, or cut short", n)
	}
	var out []diff.Section
	for len(rest) > 0 {
		if err := w.in.Budget.Node(1); err != nil {
			return nil, err
		}
		x, after, err := dirimage.ParseXattr(rest)
		if err != nil {
			return nil, err
		}
		shape := xattrShape{int64(len(x.Name)), int64(len(x.Value))}
		s := diff.Section{
			Name: string(x.Name), Role: diff.RoleMeta,
			Off: off + n - int64(len(rest)), Len: int64(len(rest) - len(after)), Table: w.tables[shape],
		}
		if len(out) > 0 && out[len(out)-1].Name >= s.Name {
			return nil, fmt.Errorf("extended attribute %q does not come after %q", s.Name, out[len(out)-1].Name)
		}
		if s.Table == nil {
			s.Table = &diff.Table{Fields: []diff.Field{
				{Name: "name length", Off: 0, Len: 4, Role: diff.RoleLength},
				{Name: "value length", Off: 4, Len: 4, Role: diff.RoleLength},
				{Name: "name", Off: dirimage.XattrHeaderLen, Len: shape.name, Role: diff.RoleName},
				{Name: "value", Off: dirimage.XattrHeaderLen + shape.name, Len: shape.value, Role: diff.RoleMeta},
			}}
			w.tables[shape] = s.Table
		}
		out = append(out, s)
		rest = after
	}
	return out, nil
}
