package ledger

import (
	"errors"
	"io"
	"sort"
)

// ErrLimit is what an error of Tools.Places wraps, or is, when a limit ended the parse.
var ErrLimit = errors.New("limit")

// tooMuch is the refusal of what cannot be parsed within the limits.
const tooMuch refusal = "too many places in too many extents"

// A madeBy names a stream that a layout makes.
type madeBy struct {
	of     int
	format string
	at     Range
	stream string
}

// A shifted range of the reference is the same in the deployed stream, by bytes further.
type shifted struct {
	Range
	by int64
}

// stand looks at what the proposer was not asked about. A ledger may call bytes a copy
// that are one, and yet stand for something else where they are: a length of what is
// longer now, a checksum of what has changed. So the layouts of the reference are gone
// through once more, wherever the two sides differ, whoever named a place in them: each
// number and each sum that holds there has to hold on the deployed side as well. And a
// date that anchors itself must not stand in a name, or in a field.
func (c *checker) stand() error {
	for k := range c.pairs {
		c.pairs[k].copied()
	}
	if err := c.names(); err != nil {
		return err
	}
	for k := range c.pairs {
		p := &c.pairs[k]
		if p.same() && (k == 0 || c.pairs[c.l.Streams[k-1].Of].same()) {
			continue
		}
		s := stander{checker: c, k: k, pair: p}
		for i := range p.entries {
			if e := &p.entries[i]; e.Op == OpTime && e.Place == nil && e.Verdict == Explained {
				s.texts = append(s.texts, e)
			}
		}
		whole := Range{0, p.refLen}
		if p.table != nil {
			if err := s.layout(p.table, madeBy{of: -1, at: whole}, c.l.Streams[k-1].Place.At.Off, 0); err != nil {
				return err
			}
		}
		if k == 0 || p.table != nil && p.table.Opens(whole) {
			if err := s.extent(whole, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// copied notes what is the same on both sides, runs that touch as one.
func (p *pair) copied() {
	for _, i := range p.order {
		e := &p.entries[i]
		if e.Verdict != Identical {
			continue
		}
		by := e.Dep.Off - e.Ref.Off
		if n := len(p.copies); n > 0 && p.copies[n-1].End() == e.Ref.Off && p.copies[n-1].by == by {
			p.copies[n-1].Len += e.Ref.Len
			continue
		}
		p.copies = append(p.copies, shifted{e.Ref, by})
	}
}

// sameAt says whether a range of the reference is copied in one run.
func (p *pair) sameAt(r Range) bool {
	if r.Len == 0 {
		return true
	}
	i := sort.Search(len(p.copies), func(i int) bool { return p.copies[i].End() > r.Off })
	return i < len(p.copies) && p.copies[i].Contains(r)
}

// same says whether the two streams are the same from the first byte to the last.
func (p *pair) same() bool { return p.refLen == p.depLen && p.sameAt(Range{0, p.refLen}) }

// A stander looks at one pair.
type stander struct {
	*checker
	k     int
	pair  *pair
	texts []*Entry // that anchor themselves
}

// extent recognises a range of the reference stream and goes through its layout.
func (s *stander) extent(at Range, depth int) error {
	if s.pair.sameAt(at) || s.tools.Formats == nil {
		return nil
	}
	if depth > maxNested {
		s.blame(at, tooMuch)
		return nil
	}
	formats := s.tools.Formats(s.ctx, Image{io.NewSectionReader(s.pair.ref, at.Off, at.Len), at.Len})
	for _, f := range formats {
		table, err := s.table(s.k, f, at)
		var no refusal
		switch {
		case err == nil:
			return s.layout(table, madeBy{s.k, f, at, ""}, 0, depth)
		case !errors.As(err, &no):
			return err
		case no == tooMuch:
			s.blame(at, tooMuch)
			return nil
		}
	}
	return s.ctx.Err()
}

// layout goes through the layout of what lies at by.at; outer is where the one that made
// the stream begins.
func (s *stander) layout(table PlaceTable, by madeBy, outer int64, depth int) error {
	base := by.at.Off
	for n := sort.Search(len(s.texts), func(n int) bool { return s.texts[n].Ref.Off >= base }); n < len(s.texts); n++ {
		e := s.texts[n]
		if !by.at.Contains(e.Ref) {
			break
		}
		if !table.HoldsText(Range{e.Ref.Off - base, e.Ref.Len}) {
			e.unexplain("a name, or a field, and no text")
		}
	}
	return table.Each(Visitor{
		Field: func(at Range, spec *Spec) error {
			at.Off += base
			return s.field(at, spec.Shift(base).ShiftOuter(outer))
		},
		Open: func(at Range) error {
			return s.extent(Range{at.Off + base, at.Len}, depth+1)
		},
		Outer: func(stream string, at Range, spec *Spec) error {
			by.stream = stream
			if s.made[by] {
				return nil // its own pair is looked at
			}
			// Its carriers are the same bytes, or not accounted for.
			t := *spec
			t.Over = nil
			for _, o := range spec.Over {
				if o.Outer {
					o.Outer, o.Off = false, o.Off+base
					t.Over = append(t.Over, o)
				}
			}
			was, now, err := s.measure(s.k, &t)
			if no := refusal(""); errors.As(err, &no) || err == nil && was == now {
				return nil
			} else if err == nil {
				s.blame(Range{at.Off + base, at.Len}, stale)
			}
			return err
		},
	})
}

// field demands that a number or a sum which holds on the reference holds.
func (s *stander) field(at Range, spec *Spec) (err error) {
	defer func() {
		var no refusal
		if errors.As(err, &no) {
			err = nil // what has no counterpart is not accounted for anyway
			if no == stale && !spec.Keep || s.sumBytes < 0 {
				s.blame(at, no)
			}
		}
	}()
	var was, now uint64
	switch {
	case spec.Op == OpNumber:
		if was, now, err = s.measure(s.k, spec); err != nil || was == now {
			return err
		}
	case spec.Op != OpSum:
		return nil
	default:
		if same, err := s.sameSpans(spec); err != nil || same {
			return err
		}
	}
	to, err := s.pair.mapRange(at)
	if err != nil || at.Len > maxField || to.Len > maxField {
		return err
	}
	if s.proven(at, spec) {
		return nil
	}
	old, dep := make([]byte, at.Len), make([]byte, to.Len)
	if err := readFull(s.pair.ref, old, at.Off); err != nil {
		return err
	}
	if err := readFull(s.pair.dep, dep, to.Off); err != nil {
		return err
	}
	if spec.Op == OpSum {
		return s.sum(s.k, &Entry{Op: OpSum, Ref: at, Dep: to, Spec: spec}, old, dep)
	}
	if sameNumber(spec.Enc, old, old, was) && !sameNumber(spec.Enc, old, dep, now) {
		return stale
	}
	return nil
}

// sameSpans says whether a sum covers the same bytes on both sides.
func (s *stander) sameSpans(spec *Spec) (bool, error) {
	for _, o := range spec.Over {
		switch {
		case o.Lit != "" || s.pair.sameAt(o.Range):
		case !o.Inner:
			return false, nil
		default:
			q, err := s.inner(s.k, o.Range)
			if err != nil || !q.same() {
				return false, err
			}
		}
	}
	return true, nil
}

// proven says whether an entry of the ledger is the proof of a field.
func (s *stander) proven(at Range, spec *Spec) bool {
	for _, e := range s.over(at) {
		return e.Ref == at && e.Spec != nil && e.Verdict != Unexplained && sameSpec(e.Spec, spec)
	}
	return false
}

// over returns the entries that use bytes of a range of the reference.
func (s *stander) over(at Range) []*Entry {
	p := s.pair
	var out []*Entry
	for n := sort.Search(len(p.order), func(n int) bool { return p.entries[p.order[n]].Ref.End() > at.Off }); n < len(p.order); n++ {
		e := &p.entries[p.order[n]]
		if e.Ref.Off >= at.End() {
			break
		}
		out = append(out, e)
	}
	return out
}

// blame refuses the entries that use bytes of a range.
func (s *stander) blame(at Range, why refusal) {
	for _, e := range s.over(at) {
		e.unexplain(why)
	}
}

// unexplain refuses an entry after its proof.
func (e *Entry) unexplain(why refusal) {
	if e.Verdict != Unexplained {
		e.Verdict, e.Note = Unexplained, "refused: "+why.Error()
		e.Bits += 8 * e.Dep.Len
	}
}
