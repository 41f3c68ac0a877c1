package format

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/ledger"
)

// tar is a sequence of members, each a 512-byte header, its content, and zeros
// up to a multiple of 512; two zero blocks end it. Extended headers (pax x,
// GNU L and K) stand before the header they speak for and belong to its member.
//
// A member that by its type has no content (link, device, directory, FIFO) has
// none whatever its size field says, as POSIX prescribes. A lone zero block
// ends the archive too. What follows the end is left to the caller, but for
// the zeros that fill the last record of 20 blocks.
var tar = &diff.Format{
	Name:    "tar",
	Version: 1,
	Title:   "tape archive: v7, ustar, GNU, pax and star headers",
	Source:  "POSIX.1-2017 pax, section ustar Interchange Format; GNU tar src/tar.h; star(5)",
	Detect: func(in *diff.Input) bool {
		b := in.Bytes(0, tarBlock)
		if b == nil {
			return false
		}
		h, err := parseTarHeader(b)
		return err == nil && (h.magic || h.name != "")
	},
	Parse: parseTar,
}

const (
	tarBlock  = 512
	tarRecord = 20 * tarBlock
)

// A tarDialect says what stands after the first 257 bytes of a header.
type tarDialect uint8

const (
	tarV7 tarDialect = iota
	tarUstar
	tarGNU
	tarGNUSparse // the header of a sparse file in the old GNU form
	tarStar
)

// A tarShape is all that the rows of a header depend on. A field that does not
// hold the plain octal number it should (base-256, blank, wrong) is no place.
type tarShape struct {
	dialect                        tarDialect
	size, mtime, sum, atime, ctime bool
}

// A tarHeader is what laying a member out takes from its header.
type tarHeader struct {
	shape tarShape
	magic bool // says "ustar"; else it was known by its checksum
	name  string
	kind  byte
	size  int64
	plain bool // size is written in plain octal
	wrong bool // its checksum is not that of the header
}

// parseTarHeader reads one header block, which must have the magic or, as v7
// headers have none, the right checksum.
func parseTarHeader(b []byte) (*tarHeader, error) {
	h := &tarHeader{kind: b[156], magic: string(b[257:262]) == "ustar"}
	var unsigned, signed int64
	for i, c := range b {
		if 148 <= i && i < 156 {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	sum, plain, ok := tarNumber(b[148:156])
	h.shape.sum = ok && plain && sum == unsigned
	h.wrong = !ok || sum != unsigned && sum != signed // some old writers summed signed bytes
	if h.wrong && !h.magic {
		return nil, errors.New("no header: neither its magic nor its checksum is right")
	}
	h.size, h.plain, ok = tarNumber(b[124:136])
	if !ok {
		return nil, errors.New("the size field holds no number")
	}
	_, h.shape.mtime, _ = tarNumber(b[136:148])

	h.name = cString(b[:100])
	switch {
	case !h.magic:
		h.shape.dialect = tarV7
	case string(b[257:265]) == "ustar  \x00":
		h.shape.dialect = tarGNU
		if h.kind == 'S' {
			h.shape.dialect = tarGNUSparse
		}
		_, h.shape.atime, _ = tarNumber(b[345:357])
		_, h.shape.ctime, _ = tarNumber(b[357:369])
	case string(b[508:512]) == "tar\x00":
		h.shape.dialect = tarStar
		h.prepend(b[345:476])
		_, h.shape.atime, _ = tarNumber(b[476:488])
		_, h.shape.ctime, _ = tarNumber(b[488:500])
	default:
		h.shape.dialect = tarUstar
		h.prepend(b[345:500])
	}
	return h, nil
}

func (h *tarHeader) prepend(prefix []byte) {
	if p := cString(prefix); p != "" {
		h.name = p + "/" + h.name
	}
}

// bare says whether members of this type have no content whatever their size.
func (h *tarHeader) bare() bool { return strings.IndexByte("123456", h.kind) >= 0 }

// tarNumber reads a numeric field: octal digits after blanks, ended by a blank
// or NUL, or GNU base-256. A blank field is 0. plain says that the field is
// nothing but octal digits, blanks or zeros before and blanks or NULs after.
func tarNumber(b []byte) (n int64, plain, ok bool) {
	if b[0]&0x80 != 0 {
		if b[0] != 0x80 {
			return 0, false, false // negative, or beyond 64 bits
		}
		for _, c := range b[1:] {
			if n > math.MaxInt64>>8 {
				return 0, false, false
			}
			n = n<<8 | int64(c)
		}
		return n, false, true
	}
	rest := bytes.TrimLeft(b, " ")
	digits := 0
	for digits < len(rest) && '0' <= rest[digits] && rest[digits] <= '7' {
		n = n<<3 | int64(rest[digits]-'0') // at most 12 digits
		digits++
	}
	rest = rest[digits:]
	if digits == 0 {
		return 0, false, len(bytes.Trim(rest, " \x00")) == 0
	}
	clean := len(bytes.Trim(rest, " \x00")) == 0
	mixed := b[0] == ' ' && digits > 1 && b[bytes.IndexAny(b, "01234567")] == '0'
	return n, clean && !mixed, clean || rest[0] == ' ' || rest[0] == 0
}

// cString returns b up to its first NUL.
func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// table returns the rows of a header of this shape.
func (s tarShape) table() *diff.Table {
	rows := []diff.Field{
		{Name: "name", Off: 0, Len: 100, Role: diff.RoleName},
		{Name: "mode", Off: 100, Len: 8, Role: diff.RoleMeta},
		{Name: "uid", Off: 108, Len: 8, Role: diff.RoleMeta},
		{Name: "gid", Off: 116, Len: 8, Role: diff.RoleMeta},
		{Name: "size", Off: 124, Len: 12, Role: diff.RoleLength},
		octalTime("mtime", 136, s.mtime),
		{Name: "chksum", Off: 148, Len: 8, Role: diff.RoleChecksum},
		{Name: "typeflag", Off: 156, Len: 1, Role: diff.RoleMeta},
		{Name: "linkname", Off: 157, Len: 100, Role: diff.RoleMeta},
	}
	if s.size {
		rows[4].Op, rows[4].Enc, rows[4].Of = ledger.OpNumber, "oct", "content"
	}
	if s.sum {
		c := &rows[6]
		c.Op, c.Enc, c.Of, c.Alg, c.BlankSelf, c.BlankByte = ledger.OpSum, "oct", ".", "bytesum", true, ' '
	}
	if s.dialect == tarV7 {
		return &diff.Table{Fields: append(rows, diff.Field{Name: "pad", Off: 257, Len: 255, Role: diff.RolePadding})}
	}
	rows = append(rows,
		diff.Field{Name: "magic", Off: 257, Len: 6, Role: diff.RoleMagic},
		diff.Field{Name: "version", Off: 263, Len: 2, Role: diff.RoleVersion},
		diff.Field{Name: "uname", Off: 265, Len: 32, Role: diff.RoleMeta},
		diff.Field{Name: "gname", Off: 297, Len: 32, Role: diff.RoleMeta},
		diff.Field{Name: "devmajor", Off: 329, Len: 8, Role: diff.RoleMeta},
		diff.Field{Name: "devminor", Off: 337, Len: 8, Role: diff.RoleMeta},
	)
	switch s.dialect {
	case tarGNU, tarGNUSparse:
		rows = append(rows,
			octalTime("atime", 345, s.atime),
			octalTime("ctime", 357, s.ctime),
			diff.Field{Name: "offset", Off: 369, Len: 12, Role: diff.RoleMeta},
			diff.Field{Name: "longnames", Off: 381, Len: 4, Role: diff.RoleMeta},
			diff.Field{Name: "unused", Off: 385, Len: 1, Role: diff.RolePadding},
		)
		if s.dialect == tarGNUSparse {
			rows = appendSparseRows(rows, 386, 4)
		} else {
			rows = append(rows, diff.Field{Name: "sparse", Off: 386, Len: 96, Role: diff.RoleMeta})
		}
		rows = append(rows,
			diff.Field{Name: "isextended", Off: 482, Len: 1, Role: diff.RoleMeta},
			diff.Field{Name: "realsize", Off: 483, Len: 12, Role: diff.RoleMeta},
			diff.Field{Name: "pad", Off: 495, Len: 17, Role: diff.RolePadding},
		)
	case tarStar:
		rows = append(rows,
			diff.Field{Name: "prefix", Off: 345, Len: 131, Role: diff.RoleName},
			octalTime("atime", 476, s.atime),
			octalTime("ctime", 488, s.ctime),
			diff.Field{Name: "pad", Off: 500, Len: 8, Role: diff.RolePadding},
			diff.Field{Name: "trailer", Off: 508, Len: 4, Role: diff.RoleMagic},
		)
	default:
		rows = append(rows,
			diff.Field{Name: "prefix", Off: 345, Len: 155, Role: diff.RoleName},
			diff.Field{Name: "pad", Off: 500, Len: 12, Role: diff.RolePadding},
		)
	}
	return &diff.Table{Fields: rows}
}

func octalTime(name string, off int64, plain bool) diff.Field {
	f := diff.Field{Name: name, Off: off, Len: 12, Role: diff.RoleTime}
	if plain {
		f.Op, f.Enc = ledger.OpTime, "oct"
	}
	return f
}

// appendSparseRows adds n pairs of the offset and length of stored data.
func appendSparseRows(rows []diff.Field, off int64, n int) []diff.Field {
	for i := range n {
		at := off + int64(i)*24
		rows = append(rows,
			diff.Field{Name: "sparse offset " + strconv.Itoa(i), Off: at, Len: 12, Role: diff.RoleMeta},
			diff.Field{Name: "sparse length " + strconv.Itoa(i), Off: at + 12, Len: 12, Role: diff.RoleMeta},
		)
	}
	return rows
}

// A tarWalk lays one archive out, header by header. Tables are shared between
// all headers of one shape.
type tarWalk struct {
	in      *diff.Input
	buf     [tarBlock]byte
	headers map[tarShape]*diff.Table
	records map[paxShape]*diff.Table
	sparse  *diff.Table
	names   names
}

func parseTar(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	w := &tarWalk{
		in:      in,
		headers: map[tarShape]*diff.Table{},
		records: map[paxShape]*diff.Table{},
		names:   names{},
	}
	var out []diff.Section
	off := int64(0)
	for off < in.Size {
		if len(out)%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := w.read(off); err != nil {
			return nil, fmt.Errorf("tar: at %d: %w", off, err)
		}
		if isZero(w.buf[:]) {
			break
		}
		m, err := w.member(off)
		if err != nil {
			return nil, err
		}
		m.Name = w.names.unique(m.Name)
		out = append(out, m)
		off = m.End()
	}
	if len(out) == 0 {
		return nil, errors.New("tar: no member")
	}
	if off == in.Size {
		return out, nil // as an archive cut off at its end marker
	}
	if err := in.Budget.Node(2); err != nil {
		return nil, err
	}
	end := diff.Section{Name: w.names.unique("end"), Role: diff.RoleEnd, Off: off, Len: tarBlock}
	if end.End() > in.Size-tarBlock {
		return append(out, end), nil
	}
	if err := w.read(end.End()); err != nil {
		return nil, fmt.Errorf("tar: at %d: %w", end.End(), err)
	}
	if !isZero(w.buf[:]) {
		return append(out, end), nil
	}
	end.Len = 2 * tarBlock
	out = append(out, end)
	pad, ok, err := zeroFill(in, "record padding", end.End(), tarRecord)
	if err != nil {
		return nil, fmt.Errorf("tar: at %d: %w", end.End(), err)
	}
	if ok {
		pad.Name = w.names.unique(pad.Name)
		out = append(out, pad)
	}
	return out, nil
}

// read fills the buffer with the block at off.
func (w *tarWalk) read(off int64) error {
	if off > w.in.Size-tarBlock {
		return errors.New("cut short within a block")
	}
	if n, err := w.in.ReadAt(w.buf[:], off); n < tarBlock {
		return noEOF(err)
	}
	return nil
}

// member lays out the member whose first header is in the buffer: extended
// headers, header, content and padding.
func (w *tarWalk) member(start int64) (diff.Section, error) {
	m := diff.Section{Role: diff.RoleMember, Off: start}
	fail := func(off int64, err error) (diff.Section, error) {
		var limit *diff.LimitError
		if errors.As(err, &limit) {
			return m, err
		}
		return m, fmt.Errorf("tar: at %d: %w", off, err)
	}
	var ext paxValues
	var kids []diff.Section
	seen := names{}
	for off := start; ; {
		if off > start {
			if err := w.read(off); err != nil {
				return fail(off, fmt.Errorf("no header after an extended header: %w", err))
			}
		}
		h, err := parseTarHeader(w.buf[:])
		if err != nil {
			return fail(off, err)
		}
		switch h.kind {
		case 'x', 'X', 'g', 'L', 'K':
			s, err := w.extended(off, h, &ext)
			if err != nil {
				return fail(off, err)
			}
			if h.kind == 'g' && off == start {
				return s, nil // speaks for all that follows
			}
			s.Name = seen.unique(s.Name)
			kids = append(kids, s)
			off = s.End()
			continue
		}
		m.Name = h.name
		if ext.name != "" {
			m.Name = ext.name
		}
		size := h.size
		if ext.hasSize {
			size = ext.size
		}
		if h.bare() {
			if size != 0 {
				m.Note = "states a size, but has no content by its type"
			}
			size = -1
		}
		kids, err = w.body(kids, off, h, size)
		if err != nil {
			return fail(off, err)
		}
		if ext.sparse {
			for i := range kids {
				if kids[i].Name == "content" {
					kids[i].Open, kids[i].Note = false, sparseNote
				}
			}
		}
		m.Children = kids
		m.Len = kids[len(kids)-1].End() - start
		if ext.sizeRecord != nil {
			ext.place(kids)
		}
		return m, nil
	}
}

const sparseNote = "a sparse file: its data without the holes"

// body appends the header at off, whose block is in the buffer, its content of
// size bytes and the padding; a negative size is that of a member without.
func (w *tarWalk) body(kids []diff.Section, off int64, h *tarHeader, size int64) ([]diff.Section, error) {
	h.shape.size = size >= 0 && h.plain && h.size == size
	if err := w.in.Budget.Node(4); err != nil {
		return nil, err
	}
	if size >= 0 && kids == nil {
		kids = make([]diff.Section, 0, 3)
	}
	header := diff.Section{Name: "header", Role: diff.RoleHeader, Off: off, Len: tarBlock, Table: w.headers[h.shape]}
	if header.Table == nil {
		header.Table = h.shape.table()
		w.headers[h.shape] = header.Table
	}
	if h.wrong {
		header.Note = "its checksum is not that of the header"
	}
	kids = append(kids, header)
	if size < 0 {
		return kids, nil
	}
	at := header.End()
	if h.shape.dialect == tarGNUSparse {
		var err error
		if kids, at, err = w.sparseHeaders(kids, at); err != nil {
			return nil, err
		}
	}
	if size > w.in.Size-at {
		return nil, fmt.Errorf("content of %d bytes, but %d are left", size, w.in.Size-at)
	}
	content := diff.Section{Name: "content", Role: diff.RolePayload, Off: at, Len: size, Open: true}
	if h.shape.dialect == tarGNUSparse {
		content.Open, content.Note = false, sparseNote
	}
	pad := -size & (tarBlock - 1)
	if pad > w.in.Size-content.End() {
		return nil, errors.New("cut short within the padding of a member")
	}
	return append(kids, content, diff.Section{
		Name: "padding", Role: diff.RolePadding, Off: content.End(), Len: pad,
		Spec: fill(0, tarBlock, content.Range()),
	}), nil
}

// sparseHeaders appends the blocks that continue the map of an old GNU sparse
// header, which is in the buffer. They stand before the content and are not
// part of its size.
func (w *tarWalk) sparseHeaders(kids []diff.Section, at int64) ([]diff.Section, int64, error) {
	if w.sparse == nil {
		rows := appendSparseRows(nil, 0, 21)
		w.sparse = &diff.Table{Fields: append(rows,
			diff.Field{Name: "isextended", Off: 504, Len: 1, Role: diff.RoleMeta},
			diff.Field{Name: "pad", Off: 505, Len: 7, Role: diff.RolePadding})}
	}
	for n, more := 1, w.buf[482] != 0; more; n++ {
		if err := w.in.Budget.Node(1); err != nil {
			return nil, 0, err
		}
		if err := w.read(at); err != nil {
			return nil, 0, err
		}
		kids = append(kids, diff.Section{
			Name: "sparse header " + strconv.Itoa(n), Role: diff.RoleHeader,
			Off: at, Len: tarBlock, Table: w.sparse,
		})
		more = w.buf[504] != 0
		at += tarBlock
	}
	return kids, at, nil
}

// paxValues is what extended headers say of the member they stand before.
type paxValues struct {
	name    string
	size    int64
	hasSize bool
	sparse  bool

	sizeRecord *diff.Section // the record that holds size
	sizeAt     ledger.Range  // the digits in it
}

// place makes the digits of the size record a place: the length of content.
// A record spelled otherwise than that length stays without.
func (v *paxValues) place(kids []diff.Section) {
	for i := range kids {
		if kids[i].Name == "content" && kids[i].Len == v.size {
			for j := range v.sizeRecord.Children {
				if f := &v.sizeRecord.Children[j]; f.Range() == v.sizeAt {
					f.Spec = &ledger.Spec{Op: ledger.OpNumber, Enc: "dec", Over: []ledger.Span{{Range: kids[i].Range()}}}
				}
			}
		}
	}
}

// extended lays out the extended header at off, whose block is in the buffer,
// and notes in v what it says.
func (w *tarWalk) extended(off int64, h *tarHeader, v *paxValues) (diff.Section, error) {
	s := diff.Section{Name: string(h.kind) + "-header", Role: diff.RoleHeader, Off: off}
	kids, err := w.body(nil, off, h, h.size)
	if err != nil {
		return s, err
	}
	s.Children = kids
	s.Len = kids[len(kids)-1].End() - off
	content := &s.Children[1]
	content.Role, content.Open = diff.RoleMeta, false
	b := w.in.Bytes(content.Off, content.Len)
	if b == nil {
		return s, errors.New("an extended header of over 1 MiB, or one that cannot be read")
	}
	switch h.kind {
	case 'L':
		v.name = cString(b)
	case 'K':
	case 'g':
		var global paxValues
		if err := w.pax(content, b, &global); err != nil {
			return s, err
		}
		if global.hasSize || global.sparse {
			return s, errors.New("a global header that states the size of every member: readers disagree")
		}
	default:
		return s, w.pax(content, b, v)
	}
	return s, nil
}

// A paxShape is all that the rows of a record depend on: the lengths of its
// parts, and whether the value is a point in time.
type paxShape struct {
	digits, key, value int
	time               bool
}

// table returns the rows of a record "%d %s=%s\n".
func (p paxShape) table() *diff.Table {
	key := int64(p.digits) + 1
	value := key + int64(p.key) + 1
	rows := []diff.Field{
		{Name: "length", Off: 0, Len: int64(p.digits), Role: diff.RoleLength, Op: ledger.OpNumber, Enc: "dec", Of: "."},
		{Name: "blank", Off: key - 1, Len: 1, Role: diff.RoleMeta},
		{Name: "key", Off: key, Len: int64(p.key), Role: diff.RoleName},
		{Name: "equals", Off: value - 1, Len: 1, Role: diff.RoleMeta},
		{Name: "value", Off: value, Len: int64(p.value), Role: diff.RoleMeta},
		{Name: "newline", Off: value + int64(p.value), Len: 1, Role: diff.RoleEnd},
	}
	if p.time {
		rows[4].Role, rows[4].Op, rows[4].Enc = diff.RoleTime, ledger.OpTime, "dec"
	}
	return &diff.Table{Fields: rows}
}

// pax lays out the records of an extended header in content and notes in v
// what they say. Where a record is not well formed the content stays whole.
func (w *tarWalk) pax(content *diff.Section, b []byte, v *paxValues) error {
	type record struct {
		shape paxShape
		off   int
	}
	var records []record
	for off := 0; off < len(b); {
		p, ok := paxRecord(b[off:])
		if !ok {
			content.Note = fmt.Sprintf("the record at %d is not well formed", off)
			return nil
		}
		records = append(records, record{p, off})
		off += p.length()
	}
	if err := w.in.Budget.Node(int64(len(records))); err != nil {
		return err
	}
	content.Children = make([]diff.Section, len(records))
	seen := names{}
	for i, r := range records {
		p := r.shape
		keyAt := r.off + p.digits + 1
		key := string(b[keyAt : keyAt+p.key])
		value := string(b[keyAt+p.key+1 : keyAt+p.key+1+p.value])
		switch key {
		case "mtime", "atime", "ctime", "LIBARCHIVE.creationtime":
			p.time = isDecimal(value)
		case "path":
			if !v.sparse {
				v.name = value
			}
		case "GNU.sparse.name":
			v.name, v.sparse = value, true
		case "size":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 {
				return fmt.Errorf("size record %q is no length", value)
			}
			v.size, v.hasSize, v.sizeRecord = n, true, nil
		default:
			v.sparse = v.sparse || strings.HasPrefix(key, "GNU.sparse.")
		}
		s := &content.Children[i]
		*s = diff.Section{Name: seen.unique(key), Role: diff.RoleMeta, Off: content.Off + int64(r.off), Len: int64(p.length())}
		if s.Table = w.records[p]; s.Table == nil {
			s.Table = p.table()
			w.records[p] = s.Table
		}
		if key == "size" && isDecimal(value) {
			// Its place measures something outside the record's parent,
			// which a table cannot name.
			if err := w.in.Budget.Node(int64(len(s.Table.Fields))); err != nil {
				return err
			}
			s.Children, s.Table = s.Expand(content), nil
			v.sizeRecord = s
			v.sizeAt = ledger.Range{Off: content.Off + int64(keyAt+p.key+1), Len: int64(p.value)}
		}
	}
	return nil
}

func (p paxShape) length() int { return p.digits + p.key + p.value + 3 }

// paxRecord measures the record at the start of b.
func paxRecord(b []byte) (paxShape, bool) {
	var p paxShape
	blank := bytes.IndexByte(b[:min(len(b), 8)], ' ')
	if blank < 1 || !isDecimal(string(b[:blank])) {
		return p, false
	}
	n, err := strconv.Atoi(string(b[:blank]))
	if err != nil || n > len(b) || n < blank+4 || b[n-1] != '\n' {
		return p, false
	}
	key, value, ok := bytes.Cut(b[blank+1:n-1], []byte("="))
	if !ok || len(key) == 0 {
		return p, false
	}
	p.digits, p.key, p.value = blank, len(key), len(value)
	return p, true
}

// isDecimal says whether s is a plain decimal number that fits 63 bits.
func isDecimal(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return 0 < len(s) && len(s) <= 18
}

// fill returns the Spec of padding that fills up to the next multiple of align
// from the start of over, which ends where the padding starts.
func fill(with byte, align int64, over ledger.Range) *ledger.Spec {
	return &ledger.Spec{Op: ledger.OpFill, Fill: with, Align: align, Over: []ledger.Span{{Range: over}}}
}

// zeroFill returns the padding at off up to the next multiple of align in the
// input, if the input holds it and it is all zero.
func zeroFill(in *diff.Input, name string, off, align int64) (diff.Section, bool, error) {
	n := (align - off%align) % align
	if n > in.Size-off {
		return diff.Section{}, false, nil
	}
	b := in.Bytes(off, n)
	if b == nil {
		return diff.Section{}, false, errors.New("padding that cannot be read")
	}
	return diff.Section{
		Name: name, Role: diff.RolePadding, Off: off, Len: n,
		Spec: fill(0, align, ledger.Range{Len: off}),
	}, isZero(b), nil
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func noEOF(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
