package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strings"
)

// An Image is one side of a comparison as it was received.
type Image struct {
	io.ReaderAt
	Size int64
}

// A Codec turns the bytes of a carrier into a derived stream and, where an
// exact encoder is known, back. Both must be functions of their input.
type Codec interface {
	// Name holds the name and version, as in "deflate@1".
	Name() string
	// Decode reads all of r and fails if it holds anything but one encoding.
	Decode(ctx context.Context, w io.Writer, r io.Reader) error
	// Encode encodes r under one of Settings.
	Encode(ctx context.Context, setting string, w io.Writer, r io.Reader) error
	// Settings is the catalogue of encoders.
	Settings() []string
}

// A PlaceTable is what parsing one extent of the reference gave.
type PlaceTable interface {
	// Field returns what the field of that name and range holds, offsets
	// relative to the extent.
	Field(at Range, name string) (*Spec, bool)
	// Opens says whether the layout has a section of that range whose content
	// is to be recognised in turn.
	Opens(at Range) bool
	// Derived returns what the layout says of a stream of size bytes that is made
	// of parts of the extent in this way, or nil if it makes none so. The name is
	// that of the stream, unique in the layout.
	Derived(d *Derivation, size int64) (table PlaceTable, name string)
	// Each hands over what has to hold whatever a ledger says of it, and ends at the
	// first error.
	Each(Visitor) error
	// Tight says of a table that Derived gave whether decoders refuse an encoding that is
	// longer than what it decodes to.
	Tight() bool
	// HoldsText says whether a date in that range may be one of the build: in a name,
	// a link or a field it would make something else of what it is in.
	HoldsText(at Range) bool
}

// A Visitor is handed what a layout holds, ranges relative to the extent.
type Visitor struct {
	Field func(at Range, s *Spec) error                // a number or a sum
	Open  func(at Range) error                         // what is to be recognised in turn
	Outer func(stream string, at Range, s *Spec) error // a number that measures the extent, in the stream that is made of at and perhaps more
}

// A Derivation says how a reference stream is made of others, down to the extent of
// a layout.
type Derivation struct {
	Codec  string // or Gather
	Zeros  []Zeros
	Pieces []Piece
}

// A Piece is a range of the extent of the layout or, with From, of what From makes.
type Piece struct {
	At    Range
	From  *Derivation
	Whole bool // all that From makes
}

// Scratch holds one derived stream: written from the start, then read.
type Scratch interface {
	io.Writer
	io.ReaderAt
	io.Closer
}

// Tools are what the kernel is handed. It trusts Places with what the
// *reference* means and Codecs with nothing but being functions: what a
// decoder gives for the two sides is compared, not believed. A nil tool makes
// every entry that needs it unexplained, or the ledger invalid.
type Tools struct {
	Codecs  func(name string) Codec
	Formats func(ctx context.Context, ref Image) []string // that ref may be of, the likeliest first; nil: none is known
	Places  func(ctx context.Context, format string, ref Image) (PlaceTable, error)
	Scratch func() (Scratch, error)
	// Streams calls visit for an image and for every stream that it is known to carry
	// encoded, with the ranges of fields that hold a seed, and ids for each field that
	// holds an id. It fails with an ErrLimit where a limit keeps anything closed. nil: an
	// image carries none.
	Streams func(ctx context.Context, img Image, visit func(r io.ReaderAt, size int64, seeds []Range) error, ids func(Enc, []byte)) error
}

// ErrInvalid is wrapped by every error that is the ledger's fault: it does not
// tile, does not replay, or is about other images.
var ErrInvalid = errors.New("ledger does not hold")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// Check replays the ledger on both images, and writes into it what the kernel
// makes of every entry: verdict, price, what is missing, totals. It returns
// nil only if every deployed stream is tiled, every copy and derivation
// reproduces, and both images read the same bytes each time. A proof that does
// not hold is no error: its entry stands unexplained, with the reason in Note.
//
// Check reads the images a bounded number of times and holds no more of them
// than fixed buffers; derived streams live in Scratch.
func (l *Ledger) Check(ctx context.Context, ref, dep Image, t Tools) error {
	return l.replay(ctx, ref, dep, t, nil)
}

// replay checks, and hands the proven streams to then.
func (l *Ledger) replay(ctx context.Context, ref, dep Image, t Tools, then func(*checker) error) error {
	c := &checker{ctx: ctx, l: l, tools: t, paid: map[paidKey]uint64{}, paidUUID: map[[16]byte][16]byte{}, paidSeed: map[[16]byte][16]byte{}, newUUID: map[[16]byte][16]byte{}, derived: map[[3]int64]*Derivation{}, made: map[madeBy]bool{}}
	defer c.close()
	if err := c.open(ref, dep); err != nil {
		return err
	}
	l.FreeBits, l.Missing, l.Totals = 0, nil, Totals{}
	premises, err := l.premises()
	if err != nil {
		return err
	}
	at := 0
	for k := range c.pairs {
		p := &c.pairs[k]
		p.first = at
		for at < len(l.Entries) && l.Entries[at].Stream == k {
			at++
		}
		p.entries = l.Entries[p.first:at]
		if err := c.derive(k); err != nil {
			return err
		}
		if err := c.structure(k); err != nil {
			return err
		}
	}
	if at != len(l.Entries) {
		return invalid("entry %d belongs to stream %d, which is out of order or not there", at, l.Entries[at].Stream)
	}
	for k := range c.pairs {
		if err := c.prove(k); err != nil {
			return err
		}
	}
	if err := c.stand(); err != nil {
		return err
	}
	c.missing()
	if err := c.total(); err != nil {
		return err
	}
	l.FreeBits += premises
	if then != nil {
		if err := then(c); err != nil {
			return err
		}
	}
	// A tool may have swallowed what a read told it.
	for _, s := range c.images {
		if err := s.failed(); err != nil {
			return err
		}
	}
	return nil
}

// A pair is two counterpart streams.
type pair struct {
	ref, dep io.ReaderAt
	refLen   int64
	depLen   int64
	closers  []io.Closer

	first   int        // index of its first entry in the ledger
	entries []Entry    // a window on the ledger
	order   []int      // entries that use reference bytes in order, rising
	pieces  []int      // for a derived pair: its carrier entries, as ledger indices
	table   PlaceTable // for a derived pair: what the layout says that it is made by
	copies  []shifted  // for stand: what is the same on both sides
	used    []Range    // reference bytes copied by moves, from any pair
	worst   Verdict    // of what it carries; valid after total
}

type paidKey struct {
	class timeClass
	old   uint64
}

type checker struct {
	ctx   context.Context
	l     *Ledger
	tools Tools
	pairs []pair

	images  [2]*steady
	derived map[[3]int64]*Derivation // by pair, the pair it comes of, and the offset there
	made    map[madeBy]bool          // the streams that pairs are

	paid     map[paidKey]uint64
	paidUUID map[[16]byte][16]byte
	paidSeed map[[16]byte][16]byte
	newUUID  map[[16]byte][16]byte // the old of each new
	ids      []renamed

	sumBytes int64    // what sums may yet read
	tables   []parsed // used last comes first
	parse    int64    // what parsers may yet be handed
	buf      [2][]byte
}

// A parsed is one extent of a reference stream that was parsed.
type parsed struct {
	pair   int
	format string
	at     Range
	table  PlaceTable // nil if it did not parse
	limit  bool       // because of a limit
}

func (c *checker) close() {
	for i := range c.pairs {
		for _, x := range c.pairs[i].closers {
			x.Close()
		}
	}
}

// open digests both images, side by side.
func (c *checker) open(ref, dep Image) error {
	type opened struct {
		s    *steady
		side Side
		err  error
	}
	ch := make(chan opened, 1)
	go func() {
		s, side, err := newSteady(c.ctx, ref)
		ch <- opened{s, side, err}
	}()
	d, dside, derr := newSteady(c.ctx, dep)
	r := <-ch
	if r.err != nil {
		return fmt.Errorf("reference: %w", r.err)
	}
	if derr != nil {
		return fmt.Errorf("deployed image: %w", derr)
	}
	c.l.Reference, c.l.Deployed = r.side, dside
	c.images = [2]*steady{r.s, d}
	c.pairs = make([]pair, 1+len(c.l.Streams))
	c.pairs[0] = pair{ref: r.s, dep: d, refLen: ref.Size, depLen: dep.Size}
	n := min(4*blockSize, max(ref.Size, dep.Size, 1))
	if len(c.l.Streams) > 0 {
		n = max(n, blockSize)
	}
	c.buf[0], c.buf[1] = make([]byte, n), make([]byte, n)
	c.sumBytes = 64<<20 + 64*satAdd(ref.Size, dep.Size)
	c.parse = c.sumBytes
	return nil
}

// maxWork bounds what satAdd gives, so that 64 times as much does not overflow.
const maxWork = math.MaxInt64 / 128

func satAdd(a, b int64) int64 {
	return min(a, maxWork-min(b, maxWork)) + min(b, maxWork)
}

// structure checks what does not depend on values: the entries of pair k tile
// its deployed stream, use its reference in rising order, and copies copy.
func (c *checker) structure(k int) error {
	p := &c.pairs[k]
	var at, cursor int64
	for i := range p.entries {
		e := &p.entries[i]
		where := func(format string, args ...any) error {
			return invalid("entry %d (stream %d, %d+%d): %s", p.first+i, k, e.Dep.Off, e.Dep.Len, fmt.Sprintf(format, args...))
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		e.Verdict, e.Bits = Unexplained, 0
		switch {
		case e.Dep.Off != at:
			return where("begins at %d, the account has reached %d", e.Dep.Off, at)
		case e.Dep.Len < 0 || e.Dep.Len > p.depLen-at:
			return where("reaches past the stream's %d bytes", p.depLen)
		case e.Dep.Len == 0 && (e.Op != OpFill || e.Ref.Len == 0):
			return where("is empty")
		}
		at = e.Dep.End()
		if (e.Spec != nil) != e.Op.proves() || e.Spec != nil && e.Spec.Op != e.Op {
			return where("operation %q with another operation's proof", e.Op)
		}
		if e.Limit != "" && (e.Op.proves() || e.Op == OpCarry) {
			return where("a limit closed the layer of what operation %q looked into", e.Op)
		}
		if e.Place != nil && !e.Op.proves() || e.Op != OpMove && e.From != 0 || e.Op != OpCarry && (e.Carry != 0 || e.Piece != 0) {
			return where("operation %q with parts it has no use for", e.Op)
		}
		switch e.Op {
		case OpNone:
			e.Bits = 8 * e.Dep.Len
			if e.Ref != (Range{}) {
				return where("names reference bytes and does not use them")
			}
			continue
		case OpMove:
			if err := c.move(k, e); err != nil {
				return fmt.Errorf("entry %d: %w", p.first+i, err)
			}
			continue
		}
		if e.Ref.Off < cursor || e.Ref.Len < 0 || e.Ref.Len > p.refLen-e.Ref.Off {
			return where("uses reference bytes %d+%d, out of order or outside", e.Ref.Off, e.Ref.Len)
		}
		if e.Ref.Off > cursor {
			e.Bits = log2(p.refLen - cursor)
		}
		cursor = e.Ref.End()
		if e.Ref.Len > 0 {
			p.order = append(p.order, i)
		}
		switch e.Op {
		case OpCopy:
			if e.Ref.Len != e.Dep.Len {
				return where("copies %d bytes into %d", e.Ref.Len, e.Dep.Len)
			}
			if err := c.equal(p.ref, e.Ref.Off, p.dep, e.Dep); err != nil {
				return fmt.Errorf("entry %d: %w", p.first+i, err)
			}
			e.Verdict = Identical
		case OpCarry:
			if e.Carry <= k || e.Carry >= len(c.pairs) {
				return where("carries stream %d", e.Carry)
			}
			if e.Ref.Len == 0 {
				return where("carries what no reference bytes carry")
			}
			q := &c.pairs[e.Carry]
			q.pieces = append(q.pieces, p.first+i)
			e.Verdict = Carried
		case OpTime, OpUUID, OpNumber, OpSum, OpFill:
		default:
			return where("unknown operation %q", e.Op)
		}
	}
	if at != p.depLen {
		return invalid("stream %d: accounted for %d of %d bytes", k, at, p.depLen)
	}
	if cursor < p.refLen {
		c.l.FreeBits += log2(p.refLen - cursor)
	}
	return nil
}

func (o Op) proves() bool {
	return o == OpTime || o == OpUUID || o == OpNumber || o == OpSum || o == OpFill
}

// move checks a copy from elsewhere. One that costs as much as its bytes tells
// nothing and stays unexplained.
func (c *checker) move(k int, e *Entry) error {
	if e.From < 0 || e.From > k {
		return invalid("moves from stream %d, which is not there yet", e.From)
	}
	from := &c.pairs[e.From]
	if e.Ref.Len != e.Dep.Len || e.Ref.Off < 0 || e.Ref.Len > from.refLen-e.Ref.Off {
		return invalid("moves reference bytes %d+%d", e.Ref.Off, e.Ref.Len)
	}
	if err := c.equal(from.ref, e.Ref.Off, c.pairs[k].dep, e.Dep); err != nil {
		return err
	}
	e.Bits = log2(from.refLen) + log2(c.pairs[k].depLen)
	if e.Bits >= 8*e.Dep.Len {
		e.Bits, e.Note = 8*e.Dep.Len, "refused: the move costs as much as the bytes"
		return nil
	}
	e.Verdict = Moved
	from.used = append(from.used, e.Ref)
	return nil
}

// equal compares dep's bytes with as many of ref from off.
func (c *checker) equal(ref io.ReaderAt, off int64, dep io.ReaderAt, d Range) error {
	for n := int64(0); n < d.Len; {
		m := min(d.Len-n, int64(len(c.buf[0])))
		// Keep to block borders, so that each block is read and held once.
		if over := (d.Off + n + m) % blockSize; m > over && d.Len-n > m {
			m -= over
		}
		a, b := c.buf[0][:m], c.buf[1][:m]
		if err := readFull(ref, a, off+n); err != nil {
			return err
		}
		if err := readFull(dep, b, d.Off+n); err != nil {
			return err
		}
		if !bytes.Equal(a, b) {
			return invalid("copied bytes differ near deployed offset %d", d.Off+n)
		}
		n += m
		if err := c.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// carrier reads the carrier of a derived pair, one piece after the other.
func (c *checker) carrier(k int, deployed bool) io.Reader {
	q, zeros := &c.pairs[k], c.l.Streams[k-1].Zeros
	rs := make([]io.Reader, 0, len(q.pieces)+len(zeros))
	for n := range len(q.pieces) + 1 {
		if len(zeros) > 0 && zeros[0].Before == n {
			rs = append(rs, io.LimitReader(zeroReader{}, zeros[0].Len))
			zeros = zeros[1:]
		}
		if n == len(q.pieces) {
			break
		}
		e := &c.l.Entries[q.pieces[n]]
		if p := &c.pairs[e.Stream]; deployed {
			rs = append(rs, io.NewSectionReader(p.dep, e.Dep.Off, e.Dep.Len))
		} else {
			rs = append(rs, io.NewSectionReader(p.ref, e.Ref.Off, e.Ref.Len))
		}
	}
	return io.MultiReader(rs...)
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// derive makes stream k of both sides, unless it is that of the images. All that
// carries it stands in streams before it, which are settled but for their proofs.
func (c *checker) derive(k int) error {
	if k == 0 {
		return nil
	}
	q, s := &c.pairs[k], &c.l.Streams[k-1]
	*s = Stream{Codec: s.Codec, Zeros: s.Zeros, Place: s.Place, Of: s.Of, RefSetting: s.RefSetting, DepSetting: s.DepSetting}
	codec, err := c.pieces(k)
	if err != nil {
		return err
	}
	same, err := c.sameCarrier(k)
	if err != nil {
		return err
	}
	if q.ref, q.refLen, s.RefSum, err = c.decode(codec, k, false); err != nil {
		return fmt.Errorf("stream %d of the reference: %w", k, err)
	}
	if same {
		q.dep, q.depLen, s.DepSum = q.ref, q.refLen, s.RefSum
	} else if q.dep, q.depLen, s.DepSum, err = c.decode(codec, k, true); err != nil {
		return fmt.Errorf("stream %d of the deployed image: %w", k, err)
	}
	s.RefLen, s.DepLen = q.refLen, q.depLen
	more := 64 * satAdd(q.refLen, q.depLen)
	c.sumBytes, c.parse = satAdd(c.sumBytes, more), satAdd(c.parse, more)
	if err := c.witness(k); err != nil {
		return err
	}
	if same {
		// What is carried twice by the same bytes leaves no freedom, whoever encoded it.
		s.RefSetting, s.DepSetting, s.Reproduced = "", "", true
		return nil
	}
	return c.price(codec, k)
}

// pieces puts the pieces of stream k in their order, and returns its codec.
func (c *checker) pieces(k int) (Codec, error) {
	q, s := &c.pairs[k], &c.l.Streams[k-1]
	if len(q.pieces) == 0 {
		return nil, invalid("stream %d has no carrier", k)
	}
	slices.SortStableFunc(q.pieces, func(a, b int) int { return c.l.Entries[a].Piece - c.l.Entries[b].Piece })
	for n, i := range q.pieces {
		switch e := &c.l.Entries[i]; {
		case e.Piece != n:
			return nil, invalid("stream %d: entry %d is piece %d, not %d", k, i, e.Piece, n)
		case n < len(q.pieces)-1 && e.Ref.Len != e.Dep.Len:
			// Where one piece ends and the next begins would be a choice, and what
			// stands between them would move with it.
			return nil, invalid("stream %d: entry %d is a piece of another length that is not its last", k, i)
		}
	}
	last := -1
	for _, z := range s.Zeros {
		if s.Codec != Gather || z.Before <= last || z.Before > len(q.pieces) || z.Len <= 0 {
			return nil, invalid("stream %d: a hole before piece %d", k, z.Before)
		}
		last = z.Before
	}
	switch {
	case s.Codec == Gather:
		return gather{}, nil
	case len(q.pieces) > 1:
		return nil, invalid("stream %d: a codec of several pieces", k)
	}
	if c.tools.Codecs != nil {
		if codec := c.tools.Codecs(s.Codec); codec != nil {
			return codec, nil
		}
	}
	return nil, invalid("stream %d: no codec %q here", k, s.Codec)
}

// sameCarrier says whether the pieces of stream k are the same bytes on both sides.
func (c *checker) sameCarrier(k int) (bool, error) {
	for _, i := range c.pairs[k].pieces {
		e := &c.l.Entries[i]
		if e.Ref.Len != e.Dep.Len {
			return false, nil
		}
		p := &c.pairs[e.Stream]
		if err := c.equal(p.ref, e.Ref.Off, p.dep, e.Dep); errors.Is(err, ErrInvalid) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	return true, nil
}

// witness demands that a layout of the reference says of what stream k is made: a
// choice of pieces can spell any text, and short encodings stand everywhere.
func (c *checker) witness(k int) error {
	q, s := &c.pairs[k], &c.l.Streams[k-1]
	none := func(why string) error {
		return invalid("stream %d: no layout of the reference says that it is made so: %s", k, why)
	}
	in := s.Place
	if in == nil || in.Field != "" || in.Derived || s.Of < 0 || s.Of >= k {
		return none("it names none")
	}
	if at := in.At; at.Off < 0 || at.Len <= 0 || at.Len > c.pairs[s.Of].refLen-at.Off {
		return none("its extent is not there")
	}
	var no refusal
	if err := c.vouched(s.Of, in); errors.As(err, &no) {
		return none(no.Error())
	} else if err != nil {
		return err
	}
	table, err := c.table(s.Of, in.Format, in.At)
	if errors.As(err, &no) {
		return none(no.Error())
	} else if err != nil {
		return err
	}
	d, ok := c.derivation(k, s.Of, in.At.Off, 0)
	if !ok {
		return none("it comes from elsewhere")
	}
	var name string
	if q.table, name = table.Derived(d, q.refLen); q.table == nil {
		return none(in.Format + " makes other streams")
	}
	c.made[madeBy{s.Of, in.Format, in.At, name}] = true
	return nil
}

// derivation says how the reference stream of pair k comes from pair of, offsets of
// which are told from off on.
func (c *checker) derivation(k, of int, off int64, depth int) (*Derivation, bool) {
	if k <= of || depth > maxNested {
		return nil, false
	}
	key := [3]int64{int64(k), int64(of), off}
	if d := c.derived[key]; d != nil {
		return d, true
	}
	d := &Derivation{Codec: c.l.Streams[k-1].Codec, Zeros: c.l.Streams[k-1].Zeros}
	for _, i := range c.pairs[k].pieces {
		e := &c.l.Entries[i]
		piece := Piece{At: e.Ref}
		if e.Stream == of {
			piece.At.Off -= off
		} else {
			var ok bool
			if piece.From, ok = c.derivation(e.Stream, of, off, depth+1); !ok {
				return nil, false
			}
			piece.Whole = e.Ref == Range{0, c.pairs[e.Stream].refLen}
		}
		d.Pieces = append(d.Pieces, piece)
	}
	c.derived[key] = d
	return d, true
}

func (c *checker) decode(codec Codec, j int, deployed bool) (io.ReaderAt, int64, [32]byte, error) {
	var sum [32]byte
	if c.tools.Scratch == nil {
		return nil, 0, sum, invalid("no scratch space for derived streams")
	}
	sc, err := c.tools.Scratch()
	if err != nil {
		return nil, 0, sum, err
	}
	c.pairs[j].closers = append(c.pairs[j].closers, sc)
	h := sha256.New()
	n := new(counter)
	r := c.carrier(j, deployed)
	out := &keeper{w: sc}
	err = codec.Decode(c.ctx, io.MultiWriter(out, h, n), r)
	if out.err != nil {
		return nil, 0, sum, out.err // the scratch space failed, not the ledger
	}
	if err == nil {
		var left int64
		if left, err = io.Copy(io.Discard, r); err == nil && left > 0 {
			err = fmt.Errorf("%d bytes after its end", left)
		}
	}
	if err != nil {
		if c.ctx.Err() != nil {
			return nil, 0, sum, c.ctx.Err()
		}
		return nil, 0, sum, fmt.Errorf("%w: %s: %w", ErrInvalid, codec.Name(), err)
	}
	h.Sum(sum[:0])
	return sc, int64(*n), sum, nil
}

// A keeper remembers the error of its writer.
type keeper struct {
	w   io.Writer
	err error
}

func (k *keeper) Write(p []byte) (int, error) {
	n, err := k.w.Write(p)
	if err != nil && k.err == nil {
		k.err = err
	}
	return n, err
}

type counter int64

func (n *counter) Write(p []byte) (int, error) { *n += counter(len(p)); return len(p), nil }

// price says what freedom the encoding of pair j left: none where the encoder
// that made the reference's carrier made the deployed one, the choice of a
// setting where another of the catalogue did, every bit of the carrier where
// none is known to have.
func (c *checker) price(codec Codec, j int) error {
	s, q := &c.l.Streams[j-1], &c.pairs[j]
	settings := codec.Settings()
	for _, side := range []struct {
		setting  *string
		deployed bool
	}{{&s.RefSetting, false}, {&s.DepSetting, true}} {
		same := *side.setting != "" && slices.Contains(settings, *side.setting)
		if same {
			var err error
			if same, err = c.reproduces(codec, j, *side.setting, side.deployed); err != nil {
				return err
			}
		}
		if !same {
			*side.setting = ""
		}
	}
	// What decodes one need not decode the other: a container of another kind is not
	// the same encoding with more effort. Nor does one that has grown beyond what it
	// decodes to, where makers store such content and decoders go by that.
	var was, is int64
	for _, i := range q.pieces {
		was, is = was+c.l.Entries[i].Ref.Len, is+c.l.Entries[i].Dep.Len
	}
	s.Reproduced = s.DepSetting != "" && (s.RefSetting == s.DepSetting || container(s.RefSetting, s.DepSetting)) &&
		(is <= q.depLen || was > q.refLen || !q.table.Tight())
	switch {
	case s.Reproduced && s.RefSetting == s.DepSetting:
	case s.Reproduced:
		s.Bits = log2(int64(len(settings)))
	default:
		s.Bits = 8 * is
	}
	c.l.FreeBits += s.Bits
	return nil
}

// container says whether two settings differ in effort alone. A setting whose name has
// a semicolon asks of a decoder what stands behind it; ref may be empty, that is unknown.
func container(ref, dep string) bool {
	_, r, _ := strings.Cut(ref, ";")
	_, d, _ := strings.Cut(dep, ";")
	return r == d
}

var errDiffers = errors.New("encoding differs")

// matcher is a Writer that fails at the first byte that is not the next of r.
type matcher struct {
	r   io.Reader
	buf []byte
	err error // of reading r, but for its end
}

func (m *matcher) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		b := m.buf[:min(len(m.buf), len(p)-n)]
		if !m.read(b) || !bytes.Equal(b, p[n:n+len(b)]) {
			return n, errDiffers
		}
		n += len(b)
	}
	return len(p), nil
}

// read fills b and says whether r had so many bytes.
func (m *matcher) read(b []byte) bool {
	_, err := io.ReadFull(m.r, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		m.err = err
	}
	return err == nil
}

func (c *checker) reproduces(codec Codec, j int, setting string, deployed bool) (bool, error) {
	q := &c.pairs[j]
	src, size := q.ref, q.refLen
	if deployed {
		src, size = q.dep, q.depLen
	}
	return Reproduces(c.ctx, codec, setting, c.carrier(j, deployed), io.NewSectionReader(src, 0, size))
}

// Reproduces says whether encoding stream under setting gives exactly carrier.
// It stops at the first byte that differs. An encoder that fails reproduces
// nothing; only the end of ctx and a carrier that cannot be read are errors.
func Reproduces(ctx context.Context, codec Codec, setting string, carrier, stream io.Reader) (bool, error) {
	m := &matcher{r: carrier, buf: make([]byte, 32<<10)}
	err := codec.Encode(ctx, setting, m, stream)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	longer := err == nil && m.read(m.buf[:1])
	return err == nil && m.err == nil && !longer, m.err
}

type gather struct{}

func (gather) Name() string { return Gather }
func (gather) Decode(_ context.Context, w io.Writer, r io.Reader) error {
	_, err := io.Copy(w, r)
	return err
}

func (g gather) Encode(ctx context.Context, _ string, w io.Writer, r io.Reader) error {
	return g.Decode(ctx, w, r)
}
func (gather) Settings() []string { return []string{"copy"} }

// prove settles the entries of pair k that carry a proof.
func (c *checker) prove(k int) error {
	p := &c.pairs[k]
	var sums []int
	for i := range p.entries {
		e := &p.entries[i]
		if !e.Op.proves() {
			continue
		}
		skip := e.Bits
		bits, err := c.proof(k, e)
		var no refusal
		switch {
		case err != nil && !errors.As(err, &no):
			return err
		}
		same := false
		if (e.Op == OpSum || e.Op == OpNumber) && e.Place != nil {
			var err error
			if same, err = c.unchanged(p, e); err != nil {
				return err
			}
		}
		switch {
		case no != "" && same && (no != stale || e.Spec.Keep):
			e.Verdict, e.Bits = Identical, skip
			continue
		case no != "":
			e.Verdict, e.Bits, e.Note = Unexplained, skip+8*e.Dep.Len, "refused: "+no.Error()
			continue
		}
		e.Verdict, e.Bits = Explained, skip+bits
		if same {
			e.Verdict = Identical
		}
		if e.Op == OpSum {
			sums = append(sums, i)
		}
	}
	c.cycles(k, sums)
	return nil
}

// unchanged says whether a checksum or number holds the bytes of the reference. It is
// identical then, whether or not its proof holds, unless it was right and no
// longer is.
func (c *checker) unchanged(p *pair, e *Entry) (bool, error) {
	if e.Ref.Len != e.Dep.Len || e.Dep.Len == 0 || e.Dep.Len > maxField {
		return false, nil
	}
	a, b := make([]byte, e.Ref.Len), make([]byte, e.Dep.Len)
	if err := readFull(p.ref, a, e.Ref.Off); err != nil {
		return false, err
	}
	if err := readFull(p.dep, b, e.Dep.Off); err != nil {
		return false, err
	}
	return bytes.Equal(a, b), nil
}

// stale is the refusal of a checksum or number that holds on the reference alone.
const stale refusal = "it stands as in the reference and no longer fits the bytes it is about"

// A refusal says why a proof does not hold.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// maxField bounds the fields a proof may rebuild, fills apart.
const maxField = 4 << 10

// proof returns the price of e's proof, or a refusal.
func (c *checker) proof(k int, e *Entry) (int64, error) {
	p := &c.pairs[k]
	if err := c.anchor(k, e); err != nil {
		return 0, err
	}
	if e.Op == OpFill {
		return 0, c.fill(k, e)
	}
	if e.Dep.Len > maxField || e.Ref.Len > maxField {
		return 0, refuse("a field of more than %d bytes", maxField)
	}
	old, dep := make([]byte, e.Ref.Len), make([]byte, e.Dep.Len)
	if err := readFull(p.ref, old, e.Ref.Off); err != nil {
		return 0, err
	}
	if err := readFull(p.dep, dep, e.Dep.Off); err != nil {
		return 0, err
	}
	switch e.Op {
	case OpTime:
		if e.Place == nil {
			if err := c.freestanding(p, e); err != nil {
				return 0, err
			}
		}
		a, class, _, ok := parseTime(e.Spec.Enc, old, old)
		if !ok {
			return 0, refuse("the reference holds no time spelled %s", e.Spec.Enc)
		}
		b, _, price, ok := parseTime(e.Spec.Enc, old, dep)
		if !ok {
			return 0, refuse("not a time spelled %s", e.Spec.Enc)
		}
		return c.payTime(class, a, b, price) + caseBits(e.Spec.Enc, old, dep), nil
	case OpUUID:
		if e.Place == nil {
			if err := c.freestanding(p, e); err != nil {
				return 0, err
			}
		}
		a, ok := parseUUID(e.Spec.Enc, old, old)
		b, ok2 := parseUUID(e.Spec.Enc, old, dep)
		if !ok || !ok2 {
			return 0, refuse("not a UUID on both sides")
		}
		return c.payID(e, a, b)
	case OpNumber:
		was, now, err := c.measure(k, e.Spec)
		if err != nil {
			return 0, err
		}
		if !sameNumber(e.Spec.Enc, old, old, was) {
			return 0, refuse("the formula does not give the reference's number")
		}
		if !sameNumber(e.Spec.Enc, old, dep, now) {
			if bytes.Equal(old, dep) {
				return 0, stale
			}
			return 0, refuse("the number that belongs here is %d", now)
		}
		return caseBits(e.Spec.Enc, old, dep), nil
	case OpSum:
		return caseBits(e.Spec.Enc, old, dep), c.sum(k, e, old, dep)
	}
	return 0, refuse("unknown operation")
}

// payID charges for a new id once, and refuses what confuses names: one that becomes two,
// two that become one. A seed is no name, and may be any.
func (c *checker) payID(e *Entry, old, now [16]byte) (int64, error) {
	seed := e.Spec.Enc == "seed"
	if old != now && !seed {
		c.ids = append(c.ids, renamed{e, old, now})
	}
	was, named := c.paidUUID[old]
	as, seeded := c.paidSeed[old]
	if named && was == now || seed && seeded && as == now {
		return 0, nil
	}
	price := 8 * int64(binaryIDs[e.Spec.Enc])
	if seed {
		c.paidSeed[old] = now
		return price, nil
	}
	if named {
		return 0, refuse("one id became two")
	}
	c.paidUUID[old] = now
	if from, ok := c.newUUID[now]; ok && from != old {
		return 0, refuse("two ids became one")
	}
	c.newUUID[now] = old
	if seeded && as == now {
		return 0, nil
	}
	return price, nil
}

// payTime charges for a new value once: the reference's old value, wherever it
// stands again, may become the same new value for nothing, also as the date or
// the clock of that moment.
func (c *checker) payTime(class timeClass, old, now uint64, price int64) int64 {
	if was, ok := c.paid[paidKey{class, old}]; ok {
		if was == now {
			return 0
		}
		return price
	}
	c.paid[paidKey{class, old}] = now
	if class == classDOS {
		if _, ok := c.paid[paidKey{classDOSDate, old >> 16}]; !ok {
			c.paid[paidKey{classDOSDate, old >> 16}] = now >> 16
		}
	}
	if class == classStamp {
		for part, div := range map[timeClass]func(uint64) uint64{
			classDate:  func(v uint64) uint64 { return v / day },
			classClock: func(v uint64) uint64 { return v % day },
		} {
			if _, ok := c.paid[paidKey{part, div(old)}]; !ok {
				c.paid[paidKey{part, div(old)}] = div(now)
			}
		}
	}
	return price
}

// anchor demands a witness in the reference for what the entry says stands
// there: a place that parsing the reference gave or, where the bytes speak for
// themselves, none.
func (c *checker) anchor(k int, e *Entry) error {
	if s := e.Spec; e.Place == nil {
		switch {
		case e.Op == OpTime && isTimeText(s.Enc) && sameSpec(s, &Spec{Op: e.Op, Enc: s.Enc}):
			return nil
		case e.Op == OpSum && cryptographic[s.Alg] && len(s.Over) == 1 && sameSpec(s, &Spec{Op: e.Op, Enc: s.Enc, Alg: s.Alg, Over: s.Over}):
			return nil // no range can be fitted to a digest that the reference holds
		}
		return refuse("no place in the reference anchors it")
	}
	p := &c.pairs[k]
	if e.Place.Derived {
		if p.table == nil || !e.Place.bare() {
			return refuse("the stream is laid out by nothing")
		}
		spec, ok := p.table.Field(e.Ref, e.Place.Field)
		if !ok || spec == nil {
			return refuse("the layout of the reference gives no field %q there", e.Place.Field)
		}
		if !sameSpec(spec.ShiftOuter(c.l.Streams[k-1].Place.At.Off), e.Spec) {
			return refuse("the field %q holds something else", e.Place.Field)
		}
		return nil
	}
	at := e.Place.At
	if at.Off < 0 || at.Len <= 0 || at.Len > p.refLen-at.Off || !at.Contains(e.Ref) {
		return refuse("its place lies outside the parsed extent")
	}
	if err := c.vouched(k, e.Place); err != nil {
		return err
	}
	table, err := c.table(k, e.Place.Format, at)
	if err != nil {
		return err
	}
	spec, ok := table.Field(Range{e.Ref.Off - at.Off, e.Ref.Len}, e.Place.Field)
	if !ok || spec == nil {
		return refuse("parsing the reference gives no field %q there", e.Place.Field)
	}
	if !sameSpec(spec.Shift(at.Off), e.Spec) {
		return refuse("the field %q holds something else", e.Place.Field)
	}
	return nil
}

// maxNested bounds the layouts around a place.
const maxNested = 64

// bare says whether p names no layout but the one that gave the stream.
func (p *Place) bare() bool { return p.Derived && p.Format == "" && p.At == (Range{}) && p.In == nil }

// vouched demands that the extent of a place is not the proposer's choice: it
// is the whole stream, or the layout around it opens it.
func (c *checker) vouched(k int, in *Place) error {
	whole, given := Range{0, c.pairs[k].refLen}, c.pairs[k].table
	for range maxNested {
		at, out := in.At, in.In
		switch {
		case in.Derived:
			return refuse("a layout of nothing")
		case at == whole && out == nil && (given == nil || given.Opens(whole)):
			return nil
		case out != nil && out.bare() && out.Field == "" && given != nil && given.Opens(at):
			return nil
		case out == nil || out.Field != "" || out.Derived || !whole.Contains(out.At) || !out.At.Contains(at) || out.At == at:
			return refuse("nothing in the reference says that %s begins there", in.Format)
		}
		table, err := c.table(k, out.Format, out.At)
		if err != nil {
			return err
		}
		if !table.Opens(Range{at.Off - out.At.Off, at.Len}) {
			return refuse("the %s around it does not open that extent", out.Format)
		}
		in = out
	}
	return refuse("more than %d layouts around a place", maxNested)
}

// table parses an extent of pair k's reference, or remembers having done so.
func (c *checker) table(k int, format string, at Range) (PlaceTable, error) {
	i := slices.IndexFunc(c.tables, func(t parsed) bool { return t.pair == k && t.format == format && t.at == at })
	if i < 0 {
		if c.tools.Places == nil {
			return nil, refuse("no parser for %s here", format)
		}
		if c.parse -= at.Len; c.parse < 0 {
			return nil, tooMuch
		}
		table, err := c.tools.Places(c.ctx, format, Image{io.NewSectionReader(c.pairs[k].ref, at.Off, at.Len), at.Len})
		if c.ctx.Err() != nil {
			return nil, c.ctx.Err()
		}
		if err != nil {
			table = nil
		}
		if i = len(c.tables); i < 8 {
			c.tables = append(c.tables, parsed{})
		} else {
			i--
		}
		c.tables[i] = parsed{k, format, at, table, errors.Is(err, ErrLimit)}
	}
	t := c.tables[i]
	copy(c.tables[1:i+1], c.tables[:i])
	c.tables[0] = t
	switch {
	case t.limit:
		return nil, tooMuch
	case t.table == nil:
		return nil, refuse("the reference does not parse as %s there", format)
	}
	return t.table, nil
}

func sameSpec(a, b *Spec) bool {
	return a.Op == b.Op && a.Enc == b.Enc && a.Unit == b.Unit && a.Scale == b.Scale && a.Add == b.Add && a.Alg == b.Alg &&
		a.BlankByte == b.BlankByte && a.Keep == b.Keep && a.Fill == b.Fill && a.Align == b.Align &&
		slices.Equal(a.Over, b.Over) && slices.Equal(a.Blank, b.Blank)
}

// freestanding demands that a text which anchors itself is not part of a longer
// word, version, path or expression, on either side, and a clock not part of an
// address like 00:11:22:33:44:55 or fe80::12:34:56.
func (c *checker) freestanding(p *pair, e *Entry) error {
	for _, s := range []struct {
		r    io.ReaderAt
		size int64
		at   Range
	}{{p.ref, p.refLen, e.Ref}, {p.dep, p.depLen, e.Dep}} {
		const near = 2
		before := make([]byte, min(near, s.at.Off))
		after := make([]byte, min(near, s.size-s.at.End()))
		if err := readFull(s.r, before, s.at.Off-int64(len(before))); err != nil {
			return err
		}
		if err := readFull(s.r, after, s.at.End()); err != nil {
			return err
		}
		slices.Reverse(before)
		for _, b := range [][]byte{before, after} {
			switch {
			case wordLen(b) > 0 || len(b) > 0 && b[0] >= 0x80:
				return refuse("the text is part of a longer word")
			case len(b) > 1 && bytes.IndexByte([]byte(".-/+"), b[0]) >= 0 && wordLen(b[1:]) > 0:
				return refuse("the text is part of a version, a path or an expression")
			case e.Spec.Enc == clockText && len(b) > 0 && (b[0] == ':' || b[0] == '-'):
				return refuse("the text is part of an address")
			}
		}
	}
	return nil
}

// wordLen counts the characters of a word that b begins with.
func wordLen(b []byte) int {
	return len(b) - len(bytes.TrimLeftFunc(b, func(r rune) bool {
		return r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z' || r == '_'
	}))
}

// mapStart returns where the reference byte at off is paired in the deployed
// stream; mapEnd where the byte before off is, and one further.
func (p *pair) mapStart(off int64) (int64, bool) {
	i := sort.Search(len(p.order), func(i int) bool { return p.entries[p.order[i]].Ref.End() > off })
	if i == len(p.order) {
		return 0, false
	}
	e := &p.entries[p.order[i]]
	switch {
	case e.Ref.Off > off:
		return 0, false
	case e.Op == OpCopy:
		return e.Dep.Off + off - e.Ref.Off, true
	}
	return e.Dep.Off, e.Ref.Off == off
}

func (p *pair) mapEnd(off int64) (int64, bool) {
	i := sort.Search(len(p.order), func(i int) bool { return p.entries[p.order[i]].Ref.End() >= off })
	if i == len(p.order) {
		return 0, false
	}
	e := &p.entries[p.order[i]]
	switch {
	case e.Ref.Off >= off:
		return 0, false
	case e.Op == OpCopy:
		return e.Dep.Off + off - e.Ref.Off, true
	}
	return e.Dep.End(), e.Ref.End() == off
}

// mapRange returns the deployed range paired with r: from the pairing of its
// first byte to that of its last. What was put in between is part of it.
func (p *pair) mapRange(r Range) (Range, error) {
	if r.Off < 0 || r.Len < 0 || r.Len > p.refLen-r.Off {
		return Range{}, refuse("measures bytes %d+%d, outside the reference", r.Off, r.Len)
	}
	if r.Len == 0 {
		return Range{}, nil
	}
	a, ok := p.mapStart(r.Off)
	b, ok2 := p.mapEnd(r.End())
	if !ok || !ok2 || b < a {
		return Range{}, refuse("reference bytes %d+%d have no counterpart", r.Off, r.Len)
	}
	return Range{a, b - a}, nil
}

// inner returns the derived pair whose carrier in pair k is exactly r.
func (c *checker) inner(k int, r Range) (*pair, error) {
	p := &c.pairs[k]
	i := sort.Search(len(p.order), func(i int) bool { return p.entries[p.order[i]].Ref.Off >= r.Off })
	for ; i < len(p.order); i++ {
		e := &p.entries[p.order[i]]
		if e.Ref.Off != r.Off {
			break
		}
		if e.Op == OpCarry && e.Ref == r && len(c.pairs[e.Carry].pieces) == 1 {
			return &c.pairs[e.Carry], nil
		}
	}
	return nil, refuse("reference bytes %d+%d carry no stream", r.Off, r.Len)
}

// measure evaluates a number's formula on both sides.
func (c *checker) measure(k int, s *Spec) (was, now uint64, err error) {
	if len(s.Over) == 0 || s.Unit < 0 || s.Scale < 0 {
		return 0, 0, refuse("a number of nothing")
	}
	for _, o := range s.Over {
		p := &c.pairs[k]
		switch {
		case o.Lit != "" || o.Outer && (o.Inner || k == 0):
			return 0, 0, refuse("a number of what has no length")
		case o.Outer:
			p = &c.pairs[c.l.Streams[k-1].Of]
		}
		if o.Inner {
			q, err := c.inner(k, o.Range)
			if err != nil {
				return 0, 0, err
			}
			was, now = was+uint64(q.refLen), now+uint64(q.depLen)
			continue
		}
		d, err := p.mapRange(o.Range)
		if err != nil {
			return 0, 0, err
		}
		was, now = was+uint64(o.Len), now+uint64(d.Len)
	}
	unit, scale := uint64(max(s.Unit, 1)), uint64(max(s.Scale, 1))
	return was/unit*scale + uint64(s.Add), now/unit*scale + uint64(s.Add), nil
}

// fill checks that both runs are the same filler up to the same alignment.
func (c *checker) fill(k int, e *Entry) error {
	s, p := e.Spec, &c.pairs[k]
	if s.Align < 1 || s.Align > 1<<50 || len(s.Over) != 1 || s.Over[0] != (Span{Range: s.Over[0].Range}) {
		return refuse("a fill without alignment")
	}
	d, err := p.mapRange(s.Over[0].Range)
	if err != nil {
		return err
	}
	pad := func(n int64) int64 { return (s.Align - n%s.Align) % s.Align }
	if s.Over[0].End() != e.Ref.Off || e.Ref.Len != pad(s.Over[0].Len) {
		return refuse("the reference's padding is not what the alignment prescribes")
	}
	if s.Over[0].Len > 0 && d.End() != e.Dep.Off || e.Dep.Len != pad(d.Len) {
		return refuse("the alignment prescribes %d bytes", pad(d.Len))
	}
	for _, x := range []struct {
		r  io.ReaderAt
		at Range
	}{{p.ref, e.Ref}, {p.dep, e.Dep}} {
		for off := x.at.Off; off < x.at.End(); {
			b := c.buf[0][:min(int64(len(c.buf[0])), x.at.End()-off)]
			if err := readFull(x.r, b, off); err != nil {
				return err
			}
			if bytes.Count(b, []byte{s.Fill}) != len(b) {
				return refuse("the padding holds something else than 0x%02x", s.Fill)
			}
			off += int64(len(b))
		}
	}
	return nil
}

// sum recomputes a checksum on both sides.
func (c *checker) sum(k int, e *Entry, old, dep []byte) error {
	s, p := e.Spec, &c.pairs[k]
	if len(s.Over) == 0 {
		return refuse("a sum over nothing")
	}
	if _, ok := algorithms[s.Alg]; !ok {
		return refuse("unknown algorithm %q", s.Alg)
	}
	var was, now []span
	for _, o := range s.Over {
		if o.Outer {
			return refuse("a sum over another stream")
		}
		if o.Lit != "" {
			b, err := hex.DecodeString(o.Lit)
			if err != nil || o.Inner || o.Range != (Range{}) {
				return refuse("a sum over what is no constant")
			}
			lit := span{bytes.NewReader(b), Range{0, int64(len(b))}}
			was, now = append(was, lit), append(now, lit)
			continue
		}
		if o.Inner {
			q, err := c.inner(k, o.Range)
			if err != nil {
				return err
			}
			was = append(was, span{q.ref, Range{0, q.refLen}})
			now = append(now, span{q.dep, Range{0, q.depLen}})
			continue
		}
		d, err := p.mapRange(o.Range)
		if err != nil {
			return err
		}
		was = append(was, span{p.ref, o.Range})
		now = append(now, span{p.dep, d})
	}
	var blanks []Range
	for _, b := range s.Blank {
		d, err := p.mapRange(b)
		if err != nil {
			return err
		}
		blanks = append(blanks, d)
	}
	for _, side := range []struct {
		spans  []span
		blank  []Range
		in     io.ReaderAt
		field  []byte
		reason refusal
	}{
		{was, s.Blank, p.ref, old, "the reference does not hold its own checksum there"},
		{now, blanks, p.dep, dep, stale},
	} {
		got, err := c.digest(s.Alg, side.spans, side.in, side.blank, s.BlankByte)
		if err != nil {
			return err
		}
		if !sumIs(s.Enc, old, side.field, got) {
			return side.reason
		}
	}
	return nil
}

type span struct {
	r  io.ReaderAt
	at Range
}

func (c *checker) digest(alg string, spans []span, in io.ReaderAt, blank []Range, with byte) ([]byte, error) {
	h := algorithms[alg]()
	for _, s := range spans {
		if c.sumBytes -= s.at.Len; c.sumBytes < 0 {
			return nil, refuse("too many sums over too many bytes")
		}
		for off := s.at.Off; off < s.at.End(); {
			if err := c.ctx.Err(); err != nil {
				return nil, err
			}
			b := c.buf[0][:min(int64(len(c.buf[0])), s.at.End()-off)]
			if err := readFull(s.r, b, off); err != nil {
				return nil, err
			}
			if s.r == in {
				for _, z := range blank {
					for i := max(z.Off, off); i < min(z.End(), off+int64(len(b))); i++ {
						b[i-off] = with
					}
				}
			}
			h.Write(b)
			off += int64(len(b))
		}
	}
	return h.Sum(nil), nil
}

// cycles refuses sums that cover each other, or themselves: between them, bytes
// could be chosen that no one has paid for.
func (c *checker) cycles(k int, sums []int) {
	p := &c.pairs[k]
	const (
		fresh = iota
		open
		done
		cyclic
	)
	state := make(map[int]int, len(sums))
	edges := 0
	var visit func(i, depth int) bool
	visit = func(i, depth int) bool { // reports whether i is on, or leads into, a cycle
		switch state[i] {
		case open, cyclic:
			return true
		case done:
			return false
		}
		state[i] = open
		e := &p.entries[i]
		bad := depth > 64 || edges > 1<<20
		for _, o := range e.Spec.Over {
			if bad || o.Inner || o.Lit != "" {
				continue
			}
			d, err := p.mapRange(o.Range)
			if err != nil {
				continue
			}
			at := sort.Search(len(sums), func(n int) bool { return p.entries[sums[n]].Dep.End() > d.Off })
			for ; at < len(sums) && p.entries[sums[at]].Dep.Off < d.End() && !bad; at++ {
				edges++
				if blanked(p, e.Spec, p.entries[sums[at]].Ref) {
					continue
				}
				bad = visit(sums[at], depth+1)
			}
		}
		state[i] = done
		if bad {
			state[i] = cyclic
		}
		return bad
	}
	for _, i := range sums {
		if visit(i, 0) {
			e := &p.entries[i]
			e.Verdict, e.Note = Unexplained, "refused: sums that cover each other"
			e.Bits += 8 * e.Dep.Len
		}
	}
}

func blanked(p *pair, s *Spec, field Range) bool {
	for _, b := range s.Blank {
		if b.Contains(field) {
			return true
		}
	}
	return false
}

// missing lists, per reference stream, every byte that no entry uses. An entry
// whose proof was refused uses nothing.
func (c *checker) missing() {
	for k := range c.pairs {
		p := &c.pairs[k]
		used := p.used
		for _, i := range p.order {
			if e := &p.entries[i]; e.Verdict != Unexplained {
				used = append(used, e.Ref)
			}
		}
		sort.Slice(used, func(i, j int) bool { return used[i].Off < used[j].Off })
		at := int64(0)
		hole := func(to int64) {
			if to > at {
				c.l.Missing = append(c.l.Missing, Hole{Stream: k, Ref: Range{at, to - at}})
				c.l.Totals.Missing += to - at
			}
		}
		for _, u := range used {
			hole(u.Off)
			at = max(at, u.End())
		}
		hole(p.refLen)
	}
}

// rank orders verdicts from best to worst.
var rank = [...]int{Unexplained: 4, Moved: 3, Explained: 2, Carried: 1, Identical: 0}

// total counts every byte of the deployed image once, by the worst of what it
// carries, and adds up the prices.
func (c *checker) total() error {
	for k := len(c.pairs) - 1; k >= 0; k-- {
		p := &c.pairs[k]
		p.worst = Identical
		for i := range p.entries {
			v := c.worst(&p.entries[i])
			if rank[v] > rank[p.worst] {
				p.worst = v
			}
		}
	}
	t := &c.l.Totals
	for i := range c.l.Entries {
		e := &c.l.Entries[i]
		c.l.FreeBits += e.Bits
		if e.Stream != 0 {
			continue
		}
		switch c.worst(e) {
		case Identical:
			t.Identical += e.Dep.Len
		case Carried:
			t.Carried += e.Dep.Len
		case Explained:
			t.Explained += e.Dep.Len
		case Moved:
			t.Moved += e.Dep.Len
		default:
			t.Unexplained += e.Dep.Len
		}
	}
	if n := t.Identical + t.Carried + t.Explained + t.Moved + t.Unexplained; n != c.pairs[0].depLen {
		return invalid("totals of %d bytes for an image of %d", n, c.pairs[0].depLen)
	}
	return nil
}

func (c *checker) worst(e *Entry) Verdict {
	v := e.Verdict
	if e.Op == OpCarry && rank[c.pairs[e.Carry].worst] > rank[v] {
		v = c.pairs[e.Carry].worst
	}
	return v
}
