package diff

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/assaylab/assay/diff/ledger"
)

// A gathered is a stream of a layout with all its parts.
type gathered struct {
	*Stream
	parts []part
}

// A part is where a piece of a stream stands: the sections from the layout's own
// down to the one that is the piece. Behind one with a Codec, which is not the last,
// the rest stands in what that decodes to.
type part []*Section

func (p part) last() *Section { return p[len(p)-1] }

// carrier returns the section of the layout's input that holds the part, and whether
// the part is no more than a range of what that decodes to.
func (p part) carrier() (s *Section, within bool) {
	for i, s := range p {
		if s.Codec != "" {
			return s, i < len(p)-1
		}
	}
	return p.last(), false
}

// gatherings finds the streams of a layout, in the order of their first pieces.
func gatherings(ss []Section) ([]*gathered, error) {
	g := gatherer{at: map[*Stream]*gathered{}}
	g.sections(ss, nil)
	for _, x := range g.all {
		if len(x.parts) > maxPieces {
			return nil, fmt.Errorf("stream %q has more than %d pieces", x.Name, maxPieces)
		}
		for n, p := range x.parts {
			if p == nil {
				return nil, fmt.Errorf("stream %q has no piece %d", x.Name, n)
			}
		}
		if g.err != nil {
			break
		}
	}
	return g.all, g.err
}

// maxPieces bounds the pieces of one stream.
const maxPieces = 1 << 22

type gatherer struct {
	at  map[*Stream]*gathered
	all []*gathered
	err error
}

func (g *gatherer) sections(ss []Section, above part) {
	for i := range ss {
		s := &ss[i]
		if p := s.Part; p != nil {
			g.add(p, append(slices.Clone(above), s))
		}
		if len(s.Children) > 0 || len(s.Inner) > 0 {
			in := append(slices.Clone(above), s)
			g.sections(s.Children, in)
			g.sections(s.Inner, in)
		}
	}
}

func (g *gatherer) add(p *Part, at part) {
	x := g.at[p.Of]
	if x == nil {
		x = &gathered{Stream: p.Of}
		g.at[p.Of] = x
		g.all = append(g.all, x)
	}
	if p.N < 0 || p.N >= maxPieces {
		g.err = fmt.Errorf("stream %q has a piece %d", x.Name, p.N)
		return
	}
	for len(x.parts) <= p.N {
		if g.err != nil {
			return
		}
		x.parts = append(x.parts, nil)
	}
	if x.parts[p.N] != nil {
		g.err = fmt.Errorf("stream %q has two pieces %d", x.Name, p.N)
		return
	}
	x.parts[p.N] = at
}

// A pieced reads the pieces of a stream as one.
type pieced struct {
	size   int64
	pieces []pieceAt
}

type pieceAt struct {
	at   int64 // where it begins in the stream
	r    io.ReaderAt
	from ledger.Range // nil r: zeros
}

func (p *pieced) add(r io.ReaderAt, from ledger.Range) {
	p.pieces = append(p.pieces, pieceAt{p.size, r, from})
	p.size += from.Len
}

// ReadAt implements io.ReaderAt.
func (p *pieced) ReadAt(b []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	i := sort.Search(len(p.pieces), func(i int) bool { return p.pieces[i].at+p.pieces[i].from.Len > off })
	n := 0
	for ; i < len(p.pieces) && n < len(b); i++ {
		x := &p.pieces[i]
		skip := off + int64(n) - x.at
		m := int(min(int64(len(b)-n), x.from.Len-skip))
		if x.r == nil {
			clear(b[n : n+m])
		} else if err := readFull(x.r, b[n:n+m], x.from.Off+skip); err != nil {
			return n, err
		}
		n += m
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// assemble puts a stream together, where of tells what reads a part and which range
// of that it is.
func (g *gathered) assemble(budget *Budget, of func(part) (io.ReaderAt, ledger.Range, error)) (*pieced, error) {
	out := &pieced{}
	zeros := g.Zeros
	for n := range len(g.parts) + 1 {
		if len(zeros) > 0 && zeros[0].Before == n {
			if err := budget.Hole(zeros[0].Len); err != nil {
				return nil, err
			}
			out.add(nil, ledger.Range{Len: zeros[0].Len})
			zeros = zeros[1:]
		}
		if n == len(g.parts) {
			break
		}
		r, at, err := of(g.parts[n])
		if err != nil {
			return nil, err
		}
		out.add(r, at)
	}
	if len(zeros) > 0 {
		return nil, fmt.Errorf("a hole before piece %d, which is not there", zeros[0].Before)
	}
	return out, nil
}

// derivedRoot is the root of a stream of size bytes that comes of a layout: laid out
// by it, recognised afresh or, where it is but a piece of something, neither.
func derivedRoot(size int64, layout []Section, open bool) Section {
	root := Section{Role: RolePayload, Len: size, Open: open && layout == nil}
	if layout == nil {
		return root
	}
	if err := tiled(layout, 0, size); err != nil {
		root.Note = "not laid out: " + err.Error()
		return root
	}
	root.Children = fillGaps(layout, 0, size, "tail", RoleTail)
	return root
}

// A gathering is a stream whose pieces are carried into a stratum of their own.
type gathering struct {
	ref, dep *gathered
	k        int // the stratum
	got      int // pieces that the walk has emitted
}

// A carried is a carrier whose two sides are decoded, if they can be.
type carried struct {
	ref    *Section
	rs, ds *spool // nil: not decoded
	limit  string // why not
	k      int    // the stratum that they have, or 0
}

// errUngathered says that the walk came to other pieces than were to be gathered.
var errUngathered = errors.New("the pieces of a stream pair in another way than their layouts")

// gather looks for streams of two layouts that have the same name and differ, and
// has the walk carry their pieces into strata, where they are accounted for whole.
func (w *walker) gather(h here) error {
	if w.apart {
		return nil
	}
	rs, err := gatherings(h.r.Children)
	if err != nil || len(rs) == 0 {
		return nil // a layout that contradicts itself was refused when it was made
	}
	ds, err := gatherings(h.d.Children)
	if err != nil || len(ds) == 0 {
		return nil
	}
	byName := make(map[string]*gathered, len(ds))
	for _, d := range ds {
		byName[d.Name] = d
	}
	partner := map[*Section]*Section{}
	pairUp(h.r.Children, h.d.Children, partner)
	for _, r := range rs {
		d := byName[r.Name]
		if d == nil || !alike(r, d, partner) {
			continue
		}
		if same, err := w.sameParts(&h, r, d); err != nil {
			return err
		} else if same && !(h.shifted && measures(r.Layout)) {
			continue
		}
		if err := w.gatherUp(h, r, d); err != nil {
			return err
		}
	}
	return nil
}

// measures says whether fields of a derived stream measure the stream in which its
// layout stands.
func measures(ss []Section) bool {
	for i := range ss {
		s := &ss[i]
		if s.Spec != nil && slices.ContainsFunc(s.Spec.Over, func(o ledger.Span) bool { return o.Outer }) || measures(s.Expand(nil)) {
			return true
		}
	}
	return false
}

// pairUp notes which parts of two layouts the walk will pair by name.
func pairUp(rk, dk []Section, partner map[*Section]*Section) {
	if len(rk) == 0 || len(dk) == 0 {
		return
	}
	for _, p := range pairByName(rk, dk) {
		r, d := &rk[p[0]], &dk[p[1]]
		partner[r] = d
		pairUp(r.Children, d.Children, partner)
		if r.Codec == d.Codec {
			pairUp(r.Inner, d.Inner, partner)
		}
	}
}

// alike says whether two streams are made in the same way of parts that pair.
func alike(r, d *gathered, partner map[*Section]*Section) bool {
	if r.Role != d.Role || len(r.parts) != len(d.parts) || !slices.Equal(r.Zeros, d.Zeros) {
		return false
	}
	for n, p := range r.parts {
		q := d.parts[n]
		if len(p) != len(q) {
			return false
		}
		for i := range p {
			if partner[p[i]] != q[i] || p[i].Codec != q[i].Codec {
				return false
			}
		}
		// One codec at most stands between the layout's input and a part.
		if c, within := p.carrier(); within && (p.last().Codec != "" || len(c.Children) > 0) {
			return false
		}
	}
	return true
}

// sameParts says whether all parts are the same bytes, as they stand.
func (w *walker) sameParts(h *here, r, d *gathered) (bool, error) {
	for n := range r.parts {
		rc, within := r.parts[n].carrier()
		dc, _ := d.parts[n].carrier()
		same, err := w.al.equal(rc.Range(), dc.Range())
		if err != nil {
			return false, err
		}
		if same && (!within || r.parts[n].last().Range() == d.parts[n].last().Range()) {
			continue
		}
		if !within {
			return false, nil
		}
		// The carrier holds other things too: what does the part say itself?
		c, err := w.carrier(*h, rc, dc, joined(h.path, d.parts[n], dc))
		if err != nil || c == nil {
			return err == nil, err // cannot be gathered: let it be
		}
		rl, dl := r.parts[n].last().Range(), d.parts[n].last().Range()
		if rl.End() > c.rs.size || dl.End() > c.ds.size {
			return true, nil
		}
		if same, err = newAligner(w.ctx, c.rs, c.ds, max(rl.Len, dl.Len)).equal(rl, dl); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// carrier decodes both sides of a carrier, once. It returns nil if they cannot be
// had together.
func (w *walker) carrier(h here, r, d *Section, path string) (*carried, error) {
	c := w.carried[d]
	if c == nil {
		c = &carried{ref: r}
		w.carried[d] = c
		if err := w.decodeBoth(h, c, d, path); err != nil {
			return nil, err
		}
	}
	if c.ref != r || c.rs == nil {
		return nil, nil
	}
	return c, nil
}

func (w *walker) decodeBoth(h here, c *carried, d *Section, path string) error {
	codec := w.opt.codec(c.ref.Codec)
	if codec == nil || c.ref.Len == 0 || d.Len == 0 {
		return nil
	}
	h.path = path
	rs, err := w.decode(codec, w.s.ref, c.ref, "reference", &h)
	if err == nil && rs != nil {
		if c.ds, err = w.decode(codec, w.s.dep, d, "deployed", &h); c.ds != nil {
			c.rs = rs
		}
	}
	c.limit = h.limit
	return err
}

// joined is the path of a section above a part, or of the part.
func joined(path string, p part, to *Section) string {
	for _, s := range p {
		path = join(path, s)
		if s == to {
			break
		}
	}
	return path
}

// gatherUp has the pieces of a stream carried into a stratum, if that can be: all
// of them there, and as long on both sides but for the last.
func (w *walker) gatherUp(h here, r, d *gathered) error {
	carriers := make([]*carried, len(r.parts))
	of := func(l *layer, spool func(*carried) *spool) func(part) (io.ReaderAt, ledger.Range, error) {
		n := -1
		return func(p part) (io.ReaderAt, ledger.Range, error) {
			n++
			at := p.last().Range()
			c := carriers[n]
			if c == nil {
				return l, at, nil
			}
			s := spool(c)
			if _, within := p.carrier(); !within {
				at = ledger.Range{Len: s.size}
			}
			if at.End() > s.size {
				return nil, at, errUngathered
			}
			return s, at, nil
		}
	}
	for n, p := range r.parts {
		rc, _ := p.carrier()
		dc, _ := d.parts[n].carrier()
		if rc.Codec == "" {
			continue
		}
		c, err := w.carrier(h, rc, dc, joined(h.path, d.parts[n], dc))
		if err != nil || c == nil {
			return err
		}
		carriers[n] = c
	}
	budget := w.opener.budget
	rp, err := r.assemble(budget, of(w.s.ref, func(c *carried) *spool { return c.rs }))
	if err != nil {
		return w.unassembled(h, r, err)
	}
	dp, err := d.assemble(budget, of(w.s.dep, func(c *carried) *spool { return c.ds }))
	if err != nil {
		return w.unassembled(h, r, err)
	}
	last := len(rp.pieces) - 1
	if len(r.Zeros) > 0 && r.Zeros[len(r.Zeros)-1].Before == len(r.parts) {
		last-- // a hole at the end
	}
	for n := range rp.pieces {
		a, b := rp.pieces[n].from.Len, dp.pieces[n].from.Len
		if a == 0 || b == 0 || n < last && a != b {
			return nil
		}
	}
	for n, p := range d.parts {
		for _, s := range p[:len(p)-1] {
			w.pinned[s] = true
		}
		w.pinned[p.last()] = true
		if c := carriers[n]; c != nil && c.k == 0 {
			dc, _ := p.carrier()
			s, err := w.newStratum(h, c, dc, joined(h.path, p, dc))
			if err != nil {
				return err
			}
			w.strata = append(w.strata, s)
			c.k = len(w.strata) - 1
		}
		if _, within := p.carrier(); within {
			w.pinned[&w.strata[carriers[n].k].dep.root] = true
		}
	}
	in := join(h.path, &Section{Name: d.Name, Role: d.Role})
	s := &stratum{
		ref: newLayer(rp, rp.size), dep: newLayer(dp, dp.size), path: in + ">", depth: h.depth + 1,
		stream: ledger.Stream{Codec: ledger.Gather, RefSetting: "copy", DepSetting: "copy", Zeros: r.Zeros},
	}
	s.ref.root, s.dep.root = derivedRoot(rp.size, r.Layout, r.Open), derivedRoot(dp.size, d.Layout, d.Open)
	if r.Layout != nil {
		s.place, s.shifted = &ledger.Place{Derived: true}, h.shifted
	}
	w.of(h, &s.stream)
	w.strata = append(w.strata, s)
	g := &gathering{ref: r, dep: d, k: len(w.strata) - 1}
	s.gathering = g
	w.gathered[d.Stream] = g
	for n, p := range d.parts {
		if c := carriers[n]; c != nil && p.last().Codec != "" {
			w.strata[c.k].into, w.strata[c.k].piece = g, n
		}
	}
	return nil
}

// unassembled notes why a stream is not put together; its pieces stay as they are.
func (w *walker) unassembled(h here, g *gathered, err error) error {
	n := Note{Side: "reference", Path: shown(join(h.path, &Section{Name: g.Name, Role: g.Role})), Text: "not put together: " + err.Error()}
	var limit *LimitError
	if errors.As(err, &limit) {
		n.Limit = limit.Limit
	}
	w.notes = append(w.notes, n)
	return nil
}

// newStratum is the pair of streams that the two sides of a carrier decode to.
func (w *walker) newStratum(h here, c *carried, d *Section, path string) (*stratum, error) {
	r, rs, ds := c.ref, c.rs, c.ds
	codec := w.opt.codec(r.Codec)
	s := &stratum{
		ref: newLayer(rs, rs.size), dep: newLayer(ds, ds.size),
		stream: ledger.Stream{Codec: codec.Name()}, path: path + ">", depth: h.depth + 1,
	}
	if r.Part != nil || r.Inner != nil {
		s.ref.root, s.dep.root = derivedRoot(rs.size, r.Inner, false), derivedRoot(ds.size, d.Inner, false)
	}
	if r.Inner != nil {
		s.place = &ledger.Place{Derived: true}
	}
	w.of(h, &s.stream)
	same, err := w.al.equal(r.Range(), d.Range())
	if err != nil || same {
		return s, err // needs no encoder: the same bytes
	}
	if s.stream.RefSetting, err = w.setting(codec, "", w.s.ref, r, rs, Note{Side: "reference", Path: shown(path)}); err != nil {
		return nil, err
	}
	s.stream.DepSetting, err = w.setting(codec, s.stream.RefSetting, w.s.dep, d, ds, Note{Side: "deployed", Path: shown(path)})
	return s, err
}

// of tells which layout a stream comes of.
func (w *walker) of(h here, s *ledger.Stream) {
	s.Place, s.Of = h.place, w.k
	if h.place != nil && h.place.Derived {
		s.Place, s.Of = w.s.stream.Place, w.s.stream.Of
	}
}

// piece emits h as a piece of the stream that is gathered, and reports whether it is.
func (w *walker) piece(h here) bool {
	if h.d.Part == nil || h.r.Part == nil || h.d.Codec != "" || h.d.Part.N != h.r.Part.N {
		return false
	}
	g := w.gathered[h.d.Part.Of]
	if g == nil || g.ref.Stream != h.r.Part.Of {
		return false
	}
	w.emit(ledger.Entry{Dep: h.d.Range(), Op: ledger.OpCarry, Ref: h.r.Range(), Carry: g.k, Piece: h.d.Part.N, Path: h.path})
	w.ref = h.r.End()
	g.got++
	return true
}

// whole emits the whole stratum as a piece of the stream that it goes into.
func (w *walker) whole() {
	s := w.s
	w.emit(ledger.Entry{
		Dep: ledger.Range{Len: s.dep.size}, Op: ledger.OpCarry, Ref: ledger.Range{Len: s.ref.size},
		Carry: s.into.k, Piece: s.piece, Path: shown(s.path),
	})
	s.into.got++
}

// Each calls visit for the streams that a layout puts together, decoding what
// carries their pieces. What cannot be decoded is passed over.
func (o *opener) each(ctx context.Context, l *layer, s *Section, codec func(string) ledger.Codec, visit func(*gathered, *pieced) error) error {
	gs, err := gatherings(s.Children)
	if err != nil {
		return nil
	}
	cache := recent{at: map[*Section]*list.Element{}}
	defer cache.shrink(0)
	decode := func(c *Section) (*spool, error) {
		if sp := cache.get(c); sp != nil {
			return sp, nil
		}
		cd := codec(c.Codec)
		if cd == nil {
			return nil, fmt.Errorf("no decoder for %s", c.Codec)
		}
		sp := newSpool(o.budget, o.store)
		if err := cd.Decode(ctx, sp, io.NewSectionReader(l, c.Off, c.Len)); err != nil {
			sp.Close()
			return nil, err
		}
		cache.put(c, sp)
		return sp, nil
	}
	for _, g := range gs {
		p, err := g.assemble(o.budget, func(p part) (io.ReaderAt, ledger.Range, error) {
			at := p.last().Range()
			c, within := p.carrier()
			if c.Codec == "" {
				return l, at, nil
			}
			sp, err := decode(c)
			if err != nil {
				return nil, at, err
			}
			if !within {
				at = ledger.Range{Len: sp.size}
			}
			if at.End() > sp.size {
				return nil, at, errUngathered
			}
			return sp, at, nil
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var limit *LimitError
		if errors.As(err, &limit) {
			o.limit(limit)
		}
		if err == nil {
			if err := visit(g, p); err != nil {
				return err
			}
		}
		cache.shrink(maxRecent) // tails of many files share a carrier
	}
	return nil
}

// maxRecent is how many bytes of decoded carriers are kept for the streams to come.
const maxRecent = 16 << 20

// recentCost is what keeping one costs besides, in bytes.
const recentCost = 1 << 10

// A recent holds what carriers decode to, as long as there is room.
type recent struct {
	at   map[*Section]*list.Element
	used list.List // of decoded, used last first
	size int64     // of all, in bytes
}

type decoded struct {
	of *Section
	*spool
}

func (r *recent) get(s *Section) *spool {
	e := r.at[s]
	if e == nil {
		return nil
	}
	r.used.MoveToFront(e)
	return e.Value.(decoded).spool
}

func (r *recent) put(s *Section, sp *spool) {
	r.at[s] = r.used.PushFront(decoded{s, sp})
	r.size += sp.size + recentCost
}

// shrink lets go of what was used longest ago, until no more than size bytes are held.
func (r *recent) shrink(size int64) {
	for r.size > size {
		d := r.used.Remove(r.used.Back()).(decoded)
		delete(r.at, d.of)
		r.size -= d.size + recentCost
		d.Close()
	}
}
