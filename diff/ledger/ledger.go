package ledger

import "encoding/hex"

// A Range is a run of bytes [Off, Off+Len) of one stream.
type Range struct {
	Off int64 `json:"off"`
	Len int64 `json:"len"`
}

// End returns the offset just past the range.
func (r Range) End() int64 { return r.Off + r.Len }

// Contains says whether q lies inside r.
func (r Range) Contains(q Range) bool { return q.Off >= r.Off && q.End() <= r.End() }

// An Op names how an entry rebuilds its bytes. The zero Op rebuilds nothing:
// the bytes stand unexplained.
type Op string

// The closed set of operations. See the package comment for when each holds
// and what it costs.
const (
	OpNone   Op = ""       // nothing accounts for the bytes
	OpCopy   Op = "copy"   // reference bytes, in the order of the counterpart
	OpMove   Op = "move"   // reference bytes from anywhere else
	OpCarry  Op = "carry"  // a piece of the encoding of a derived stream
	OpTime   Op = "time"   // a point in time, spelled as Enc
	OpUUID   Op = "uuid"   // 16 arbitrary bytes, or their text
	OpNumber Op = "number" // a length or offset of what the ledger pairs
	OpSum    Op = "sum"    // a checksum or digest of settled bytes
	OpFill   Op = "fill"   // prescribed padding
)

// An Enc names how a number, time or sum is spelled in bytes.
//
// Integers: u8, u16le, u16be, u32le, u32be, u64le, u64be; in text: oct, hex,
// dec (leading zeros or blanks and trailing blanks or NULs as the reference
// has them). Digests: raw, hex. Times: any integer (seconds since 1970), or
// one of the text layouts that TimeLayouts lists; or what FAT keeps: dos (time and
// date, 4 bytes), dosdate (2), dostenth (hundredths up to two seconds, 1).
// UUIDs: raw, text, id32, which is 4 bytes as arbitrary, and seed, which is raw and no name.
type Enc string

// A Span is something a Spec measures: a range of the reference stream the
// field stands in; with Inner, the whole decoded stream whose carrier is exactly
// that range; with Outer, a range of the stream [Stream.Of], in which the layout
// stands that gave the field; with Lit, bytes that stand nowhere, such as the number of
// an inode in a sum over it.
type Span struct {
	Range
	Inner bool   `json:"inner,omitempty"`
	Outer bool   `json:"outer,omitempty"`
	Lit   string `json:"lit,omitempty"` // hexadecimal; Range is zero
}

// Literal returns the span of bytes that stand nowhere.
func Literal(b []byte) Span { return Span{Lit: hex.EncodeToString(b)} }

// A Spec says what a field of the reference holds, all offsets being those of
// the reference stream the field stands in. An entry with a Spec is explained
// only if the Spec holds on both sides: on the reference as written, and on the
// deployed image with every range mapped through the ledger's own pairing.
type Spec struct {
	Op  Op  `json:"op"`
	Enc Enc `json:"enc,omitempty"`

	// Over is what a number measures (the sum of the lengths), a sum covers
	// (one after the other), or a fill starts after (the length from the base
	// of alignment up to the padding).
	Over []Span `json:"over,omitempty"`

	// Number: value = floor(length/Unit) * Scale + Add, modulo the width of Enc.
	// Unit and Scale 0 mean 1.
	Unit  int64 `json:"unit,omitempty"`
	Scale int64 `json:"scale,omitempty"`
	Add   int64 `json:"add,omitempty"`

	// Sum: Alg is one of Algorithms; Blank ranges are read as BlankByte. One with Keep
	// may stay as it was, though what it was made of did not.
	Alg       string  `json:"alg,omitempty"`
	Blank     []Range `json:"blank,omitempty"`
	BlankByte byte    `json:"blank_byte,omitempty"`
	Keep      bool    `json:"keep,omitempty"`

	// Fill: bytes of value Fill up to the next multiple of Align.
	Fill  byte  `json:"fill,omitempty"`
	Align int64 `json:"align,omitempty"`
}

// Shift returns the Spec with every offset moved by d, but for those of Outer.
func (s *Spec) Shift(d int64) *Spec { return s.shift(d, 0) }

// ShiftOuter returns the Spec with the offsets of Outer spans moved by d.
func (s *Spec) ShiftOuter(d int64) *Spec { return s.shift(0, d) }

func (s *Spec) shift(d, outer int64) *Spec {
	if s == nil || d == 0 && outer == 0 {
		return s
	}
	t := *s
	t.Over = append([]Span(nil), s.Over...)
	for i := range t.Over {
		switch o := &t.Over[i]; {
		case o.Lit != "":
		case o.Outer:
			o.Off += outer
		default:
			o.Off += d
		}
	}
	t.Blank = append([]Range(nil), s.Blank...)
	for i := range t.Blank {
		t.Blank[i].Off += d
	}
	return &t
}

// A Place names where parsing the reference found a field: the format (with
// its version, "tar@1"), the extent in the reference stream that was parsed as
// that format, and the field's own name. The range of the field is the
// entry's Ref.
//
// The extent is the whole stream, or one that the layout around it, In, opens:
// nobody chooses where a format begins. In has no Field.
//
// With Derived it is a field of the stream itself, which the layout that vouches
// for the stream lays out too ([Stream.Place]); nothing but Field is set then. As
// In, it says that this layout opens the extent.
type Place struct {
	Format  string `json:"format,omitempty"`
	At      Range  `json:"at"`
	Field   string `json:"field,omitempty"`
	In      *Place `json:"in,omitempty"`
	Derived bool   `json:"derived,omitempty"`
}

// A Verdict is what the kernel makes of an entry. The zero Verdict accuses.
type Verdict uint8

// Verdicts, in rising order of badness but for the zero value, which is worst.
const (
	Unexplained Verdict = iota
	Identical
	Carried
	Explained
	Moved
)

var verdictNames = [...]string{"unexplained", "identical", "carried", "explained", "moved"}

func (v Verdict) String() string {
	if int(v) >= len(verdictNames) {
		return "unexplained"
	}
	return verdictNames[v]
}

// An Entry accounts for one run of bytes of a deployed stream.
type Entry struct {
	Stream int    // the pair of streams it belongs to; 0 is the images as received
	Dep    Range  // the bytes accounted for
	Op     Op     // how they are rebuilt
	Ref    Range  // the bytes of the reference copied, replaced or carrying
	From   int    // OpMove: the pair whose reference stream is copied from
	Carry  int    // OpCarry: the derived pair this is a piece of
	Piece  int    // OpCarry: which piece, counted from 0
	Spec   *Spec  // OpTime, OpUUID, OpNumber, OpSum, OpFill
	Place  *Place // the anchor of Spec in the reference, if any

	// What the proposer says, for people; it settles nothing.
	Path  string // the section, as in "bin/busybox:.text"
	Rule  string // the rule that proposed it
	Note  string // why; the kernel replaces it when it refuses the entry
	Limit string // the limit that kept the proposer from looking closer

	// What the kernel says. Check overwrites both.
	Verdict Verdict
	Bits    int64
}

// A Stream is a pair of derived streams: what the carrier entries of the
// deployed side decode to, beside what those of the reference decode to.
type Stream struct {
	Codec      string  // name and version, or Gather
	Zeros      []Zeros // Gather: holes, the same on both sides, in order
	Place      *Place  // the layout of the reference that says of what this is made; no Field
	Of         int     // the pair in whose reference stream Place lies, from which this one comes
	RefSetting string  // the encoder setting that reproduces the reference's carrier; Check clears one that does not
	DepSetting string  // the same for the deployed carrier

	// By the kernel.
	RefLen, DepLen int64
	RefSum, DepSum [32]byte
	Reproduced     bool  // the deployed carrier was reproduced by its encoder
	Bits           int64 // freedom of the encoding
}

// Gather is the codec of a stream that is its pieces one after the other. They
// may stand in several streams.
const Gather = "gather"

// Zeros is a hole of a gathered stream: Len zero bytes that stand nowhere, before
// piece Before or, where there are no more pieces, at the end.
type Zeros struct {
	Before int   `json:"before"`
	Len    int64 `json:"len"`
}

// A Hole is a run of reference bytes that no entry uses.
type Hole struct {
	Stream int
	Ref    Range
	Path   string // where the proposer says it was, for people
}

// A Side names one image by its size in bytes and its SHA-256.
type Side struct {
	Size int64
	Sum  [32]byte
}

// Totals counts the bytes of the deployed image, each once, by the worst of
// what it carries; Missing counts reference bytes and stands outside the sum.
type Totals struct {
	Identical   int64 `json:"identical"`
	Moved       int64 `json:"moved"`
	Explained   int64 `json:"explained"`
	Carried     int64 `json:"carried"`
	Unexplained int64 `json:"unexplained"`
	Missing     int64 `json:"missing"`
}

// A Ledger is the account of one comparison. A proposer fills Streams, and
// Entries grouped by stream in rising order and by offset within a stream;
// Check fills everything else.
type Ledger struct {
	Premises []Premise // values of the deployed image that the reference was built with, in order of their names
	Streams  []Stream  // Streams[i] describes pair i+1
	Entries  []Entry

	// By the kernel.
	Reference, Deployed Side
	Missing             []Hole
	Totals              Totals
	FreeBits            int64
}

// Roots returns, for every pair of streams, the bytes of the deployed image as
// received that it stands on: for pair 0 the whole, for a derived pair from the
// first to the last byte of its carrier.
func (l *Ledger) Roots() []Range {
	out := make([]Range, 1+len(l.Streams))
	out[0] = Range{0, l.Deployed.Size}
	seen := make([]bool, len(out))
	for i := range l.Entries {
		e := &l.Entries[i]
		if e.Op != OpCarry || e.Carry <= 0 || e.Carry >= len(out) {
			continue
		}
		at := out[e.Stream]
		if e.Stream == 0 {
			at = e.Dep
		}
		if r := &out[e.Carry]; seen[e.Carry] {
			r.Len = max(r.End(), at.End()) - r.Off
		} else {
			*r, seen[e.Carry] = at, true
		}
	}
	return out
}
