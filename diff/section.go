package diff

import (
	"context"
	"io"

	"github.com/assaylab/assay/diff/ledger"
)

// A Role says what a run of bytes is for.
type Role string

// Roles of sections and fields.
const (
	RoleHeader   Role = "header"
	RoleMember   Role = "member" // a file, directory or other named item of a container
	RolePayload  Role = "payload"
	RoleMagic    Role = "magic"
	RoleLength   Role = "length"
	RoleOffset   Role = "offset"
	RoleCount    Role = "count"
	RoleChecksum Role = "checksum"
	RoleTime     Role = "time"
	RoleID       Role = "id"
	RoleName     Role = "name"
	RoleVersion  Role = "version"
	RoleFlags    Role = "flags"
	RoleMeta     Role = "metadata" // mode, owner, type: compared, never normalised
	RoleTable    Role = "table"
	RolePadding  Role = "padding" // prescribed filler; Spec says of what
	RoleFree     Role = "free"    // what the format says nobody uses
	RoleSlack    Role = "slack"   // of a file's last block, after the file's end
	RoleGap      Role = "gap"     // between sections, claimed by none
	RoleEnd      Role = "end"     // an end marker
	RoleTail     Role = "tail"    // past the end of what the format lays out
)

// A Section is a named run of bytes with a role. Its children lie inside it,
// in order of offset, without overlap; bytes no child claims still belong to
// it. A Format gives offsets relative to the start of its input.
type Section struct {
	Name string // one element of a path, unique among siblings where it can be
	Role Role
	Off  int64
	Len  int64

	Children []Section

	// Table lays a flat header out as data; the engine expands it into
	// children when it needs them.
	Table *Table

	// Fields gives the children when they are looked at, where keeping them would
	// cost more than making them anew: offsets as those of Children, the same each
	// time. None of them has a Codec, a Part, or is Open. It is nil where there are
	// Children or a Table.
	Fields func() []Section

	// Spec says what a field holds, so that a rule may explain a change.
	Spec *ledger.Spec

	// Codec names the decoder the whole section is the input of, as in
	// "deflate@1"; what it decodes to is opened in turn, unless Inner lays it out
	// or Part says where it belongs.
	Codec string
	// Tight says that decoders refuse an encoding longer than what it decodes to: the
	// maker stores such content as it is.
	Tight bool
	// Inner lays out what Codec decodes to, where the format knows it: offsets are
	// those of the decoded stream. It must not reach past its end.
	Inner []Section

	// Part says that the section, or what it decodes to where it has a Codec, is a
	// piece of a stream that stands in several.
	Part *Part

	// Open asks that the content be recognised and laid out in turn.
	Open bool
	// Bunch marks a section that stands for its parts: they are listed as its parent's,
	// and its name is in no path. What a format has thousands of, it has as Fields of
	// bunches, so that no more than a bunch of them is held at a time.
	Bunch bool

	// Format is set by the engine on a section it laid out by that format.
	Format string

	// Note says why a section that ought to have been laid out was not.
	Note string
	// Limit names the limit that stopped the layout, if one did.
	Limit string
}

// A Stream is content that a format finds in pieces: the blocks of a file, the
// blocks of a table. Sections of the same layout name it as what they are Part of.
// One that has a piece only needs no Stream: its section is Open.
type Stream struct {
	Name string // as a Section's, unique among the streams of a layout
	Role Role

	Open   bool           // the content is to be recognised, or
	Layout []Section      // this is how it is laid out, from offset 0
	Zeros  []ledger.Zeros // holes, between pieces or at the end, in order

	// Outer ranges in the Specs of Layout are offsets of the Format's input, as
	// those of its sections are.
}

// A Part is piece N of a stream, counted from 0.
type Part struct {
	Of *Stream
	N  int
}

// Range returns where the section lies.
func (s *Section) Range() ledger.Range { return ledger.Range{Off: s.Off, Len: s.Len} }

// End returns the offset just past the section.
func (s *Section) End() int64 { return s.Off + s.Len }

// An Input is what a Format is given to recognise or lay out: Size bytes,
// and the budget it spends from. Reading past Size fails.
type Input struct {
	io.ReaderAt
	Size   int64
	Budget *Budget
}

// Bytes returns n bytes at off, or nil if the input does not hold them. It
// never allocates beyond the size of the input, and refuses n over 1 MiB.
func (in *Input) Bytes(off, n int64) []byte {
	if off < 0 || n < 0 || n > 1<<20 || off > in.Size || n > in.Size-off {
		return nil
	}
	b := make([]byte, n)
	if m, err := in.ReadAt(b, off); int64(m) < n && err != nil {
		return nil
	}
	return b
}

// A Format recognises one kind of container and lays out its parts.
//
// Parse gets hostile bytes. It must not panic, must not allocate in proportion
// to a number it read instead of bytes it was given, must call
// in.Budget.Node for the sections it makes, and returns an error rather than
// half a layout: a *LimitError where a limit stopped it, any other error where
// the bytes are not of the format. The sections it returns are children of the
// whole input, in order, without overlap; what they leave uncovered the engine
// names gap or, after the last, tail. So it is in what Inner and a Stream's Layout
// lay out. Padding whose length the format
// prescribes is returned with its Spec even when it is empty.
type Format struct {
	Name    string // as in "tar"
	Version int    // raised whenever a layout changes: ledgers name it
	Title   string // one line for people
	Source  string // specification, header file and section
	Detect  func(in *Input) bool
	Parse   func(ctx context.Context, in *Input) ([]Section, error)
}

// A Table is a flat header as data.
type Table struct {
	Fields []Field
}

// A Field is one row of a Table: Len bytes at Off from the header's start.
//
// Of names the sibling section of the header that a number measures or a sum
// covers; "." is the header itself, "..": from the header's start to the end
// of its parent. Where Inner is set, it is what that sibling decodes to.
type Field struct {
	Name string
	Off  int64
	Len  int64
	Role Role

	Op        ledger.Op // OpTime, OpUUID, OpNumber, OpSum or none
	Enc       ledger.Enc
	Of        string
	Inner     bool
	Alg       string // OpSum
	Unit, Add int64  // OpNumber
	BlankSelf bool   // OpSum: the field itself is read as BlankByte
	BlankByte byte
}
