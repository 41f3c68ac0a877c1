package format

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/ledger"
)

// cpio is a sequence of members: a header in ASCII, the name with its NUL, and
// the content. In the newc and crc forms, zeros bring name and content up to a
// multiple of 4 bytes from the start of the archive, and so from that of the
// member. A member named TRAILER!!! ends it; writers fill its last block, of
// 512 bytes or more, with zeros. A further archive after that, as in an initramfs, is
// not part of this one.
var cpio = &diff.Format{
	Name:    "cpio",
	Version: 1,
	Title:   "cpio archive: newc, crc and odc headers",
	Source:  "cpio(5); Linux Documentation/driver-api/early-userspace/buffer-format.rst; POSIX.1-2001 pax, section cpio Interchange Format",
	Detect: func(in *diff.Input) bool {
		w := cpioWalk{in: in}
		_, err := w.header(0)
		return err == nil
	},
	Parse: parseCpio,
}

// Field lengths of each form, in the order of the header.
var (
	cpioNewc = []diff.Field{
		{Name: "magic", Len: 6, Role: diff.RoleMagic},
		{Name: "ino", Len: 8, Role: diff.RoleMeta},
		{Name: "mode", Len: 8, Role: diff.RoleMeta},
		{Name: "uid", Len: 8, Role: diff.RoleMeta},
		{Name: "gid", Len: 8, Role: diff.RoleMeta},
		{Name: "nlink", Len: 8, Role: diff.RoleMeta},
		{Name: "mtime", Len: 8, Role: diff.RoleTime},
		{Name: "filesize", Len: 8, Role: diff.RoleLength},
		{Name: "devmajor", Len: 8, Role: diff.RoleMeta},
		{Name: "devminor", Len: 8, Role: diff.RoleMeta},
		{Name: "rdevmajor", Len: 8, Role: diff.RoleMeta},
		{Name: "rdevminor", Len: 8, Role: diff.RoleMeta},
		{Name: "namesize", Len: 8, Role: diff.RoleLength},
		{Name: "check", Len: 8, Role: diff.RoleChecksum},
	}
	cpioODC = []diff.Field{
		{Name: "magic", Len: 6, Role: diff.RoleMagic},
		{Name: "dev", Len: 6, Role: diff.RoleMeta},
		{Name: "ino", Len: 6, Role: diff.RoleMeta},
		{Name: "mode", Len: 6, Role: diff.RoleMeta},
		{Name: "uid", Len: 6, Role: diff.RoleMeta},
		{Name: "gid", Len: 6, Role: diff.RoleMeta},
		{Name: "nlink", Len: 6, Role: diff.RoleMeta},
		{Name: "rdev", Len: 6, Role: diff.RoleMeta},
		{Name: "mtime", Len: 11, Role: diff.RoleTime},
		{Name: "namesize", Len: 6, Role: diff.RoleLength},
		{Name: "filesize", Len: 11, Role: diff.RoleLength},
	}
)

const (
	cpioTrailer = "TRAILER!!!"

	modeType    = 0o170000
	modeRegular = 0o100000
	modeLink    = 0o120000
)

// cpioBlocks are the sizes of block that writers fill the last of: GNU cpio as
// it is and with -B, and bsdtar.
var cpioBlocks = [...]int64{512, 5120, 10240}

// A cpioShape is all that the rows of a header depend on.
type cpioShape struct {
	odc     bool
	content string // what filesize measures: "content", or "target" of a symbolic link
	sum     bool   // check is the sum of the content's bytes
	time    bool   // mtime is one: not in the trailer
}

// table returns the rows of a header of this shape.
func (s cpioShape) table() *diff.Table {
	rows, enc := append([]diff.Field(nil), cpioNewc...), ledger.Enc("hex")
	if s.odc {
		rows, enc = append([]diff.Field(nil), cpioODC...), "oct"
	}
	at := int64(0)
	for i := range rows {
		f := &rows[i]
		f.Off = at
		at += f.Len
		switch f.Name {
		case "filesize":
			f.Op, f.Enc, f.Of = ledger.OpNumber, enc, s.content
		case "namesize":
			f.Op, f.Enc, f.Of = ledger.OpNumber, enc, "name"
		case "mtime":
			if s.time {
				f.Op, f.Enc = ledger.OpTime, enc
			}
		case "check":
			if s.sum {
				f.Op, f.Enc, f.Of, f.Alg = ledger.OpSum, enc, s.content, "bytesum"
			}
		}
	}
	return &diff.Table{Fields: rows}
}

// A cpioHeader is what laying a member out takes from its header.
type cpioHeader struct {
	len      int64
	align    int64 // of name and content, from the start of the member
	odc, crc bool
	mode     int64
	filesize int64
	namesize int64
	check    int64
}

type cpioWalk struct {
	in     *diff.Input
	buf    [110]byte
	tables map[cpioShape]*diff.Table
	names  names
	odc    bool // the form of the first header, which all share
}

// header reads the header at off.
func (w *cpioWalk) header(off int64) (h cpioHeader, err error) {
	const magic = 6
	if off > w.in.Size-magic {
		return h, errors.New("no header: the archive ends without its trailer")
	}
	if n, err := w.in.ReadAt(w.buf[:magic], off); n < magic {
		return h, noEOF(err)
	}
	fields, base := cpioNewc, 16
	switch string(w.buf[:magic]) {
	case "070701":
		h.len, h.align = 110, 4
	case "070702":
		h.len, h.align, h.crc = 110, 4, true
	case "070707":
		h.len, h.align, h.odc = 76, 1, true
		fields, base = cpioODC, 8
	default:
		return h, errors.New("no header: it has no magic of cpio")
	}
	if off > w.in.Size-h.len {
		return h, errors.New("cut short within a header")
	}
	if n, err := w.in.ReadAt(w.buf[:h.len], off); n < int(h.len) {
		return h, noEOF(err)
	}
	at := int64(magic)
	for _, f := range fields[1:] {
		v, err := strconv.ParseUint(string(w.buf[at:at+f.Len]), base, 33)
		if err != nil {
			return h, fmt.Errorf("field %s holds no number", f.Name)
		}
		at += f.Len
		switch f.Name {
		case "mode":
			h.mode = int64(v)
		case "filesize":
			h.filesize = int64(v)
		case "namesize":
			h.namesize = int64(v)
		case "check":
			h.check = int64(v)
		}
	}
	if h.namesize == 0 {
		return h, errors.New("a member without a name")
	}
	return h, nil
}

func parseCpio(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	w := &cpioWalk{in: in, tables: map[cpioShape]*diff.Table{}, names: names{}}
	var out []diff.Section
	for off, ended := int64(0), false; !ended; {
		if len(out)%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		m, err := w.member(off)
		if err != nil {
			var limit *diff.LimitError
			if errors.As(err, &limit) {
				return nil, err
			}
			return nil, fmt.Errorf("cpio: at %d: %w", off, err)
		}
		off, ended = m.End(), m.Name == cpioTrailer
		m.Name = w.names.unique(m.Name)
		out = append(out, m)
	}
	out[len(out)-1].Role = diff.RoleEnd
	end := out[len(out)-1].End()
	pad, ok, err := cpioEnd(in, end)
	if err != nil {
		return nil, fmt.Errorf("cpio: at %d: %w", end, err)
	}
	if ok {
		if err := in.Budget.Node(1); err != nil {
			return nil, err
		}
		pad.Name = w.names.unique(pad.Name)
		out = append(out, pad)
	}
	return out, nil
}

// cpioEnd returns the zeros after the trailer: up to the smallest block that
// ends the input or, where none does, up to that of 512 bytes.
func cpioEnd(in *diff.Input, end int64) (diff.Section, bool, error) {
	for _, block := range cpioBlocks {
		pad, ok, err := zeroFill(in, "block padding", end, block)
		if err != nil || ok && pad.End() == in.Size {
			return pad, ok, err
		}
	}
	return zeroFill(in, "block padding", end, cpioBlocks[0])
}

// member lays out the member at start: header, name and content, each of the
// latter with its padding.
func (w *cpioWalk) member(start int64) (diff.Section, error) {
	m := diff.Section{Role: diff.RoleMember, Off: start}
	if err := w.in.Budget.Node(6); err != nil {
		return m, err
	}
	h, err := w.header(start)
	if err != nil {
		return m, err
	}
	if start == 0 {
		w.odc = h.odc
	} else if h.odc != w.odc {
		return m, errors.New("an odc and a newc header in one archive")
	}
	nameAt := start + h.len
	stored := w.in.Bytes(nameAt, h.namesize)
	if stored == nil {
		return m, fmt.Errorf("a name of %d bytes: over 1 MiB, or cut short", h.namesize)
	}
	m.Name = cString(stored)

	shape := cpioShape{odc: h.odc, content: "content", time: m.Name != cpioTrailer}
	payload := diff.Section{Name: "content", Role: diff.RolePayload, Len: h.filesize, Open: true}
	switch h.mode & modeType {
	case modeLink:
		shape.content = "target"
		payload = diff.Section{Name: "target", Role: diff.RoleMeta, Len: h.filesize}
	case modeRegular:
		// Of several links to one file only the last has the content, but
		// each may have its sum.
		shape.sum = h.crc && (h.filesize > 0 || h.check == 0)
	}
	header := diff.Section{Name: "header", Role: diff.RoleHeader, Off: start, Len: h.len, Table: w.tables[shape]}
	if header.Table == nil {
		header.Table = shape.table()
		w.tables[shape] = header.Table
	}

	m.Children = make([]diff.Section, 0, 5)
	m.Children = append(m.Children, header,
		diff.Section{Name: "name", Role: diff.RoleName, Off: nameAt, Len: h.namesize})
	pad := func(name string) error {
		if h.align == 1 {
			return nil
		}
		at := m.Children[len(m.Children)-1].End()
		n := -(at - start) & (h.align - 1)
		if n > w.in.Size-at {
			return errors.New("cut short within padding")
		}
		m.Children = append(m.Children, diff.Section{
			Name: name, Role: diff.RolePadding, Off: at, Len: n,
			Spec: fill(0, h.align, ledger.Range{Off: start, Len: at - start}),
		})
		return nil
	}
	if err := pad("name padding"); err != nil {
		return m, err
	}
	payload.Off = m.Children[len(m.Children)-1].End()
	if payload.Len > w.in.Size-payload.Off {
		return m, fmt.Errorf("content of %d bytes, but %d are left", payload.Len, w.in.Size-payload.Off)
	}
	m.Children = append(m.Children, payload)
	if err := pad("padding"); err != nil {
		return m, err
	}
	m.Len = m.Children[len(m.Children)-1].End() - start
	return m, nil
}
