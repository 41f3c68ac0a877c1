package diff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/assaylab/assay/diff/ledger"
)

// A layer is one stream of one side, with what is known of its layout.
type layer struct {
	io.ReaderAt
	size int64
	root Section
}

func newLayer(r io.ReaderAt, size int64) *layer {
	return &layer{ReaderAt: r, size: size, root: Section{Role: RolePayload, Len: size, Open: true}}
}

// An opener recognises what sections hold and lays them out, under one budget.
type opener struct {
	formats []*Format
	budget  *Budget
	store   *store
}

// minOpen is the size below which content is not worth recognising, in bytes.
const minOpen = 12

// open lays s out if it asks for it and a format recognises it. Whatever goes
// wrong leaves s one opaque section with the reason written down; only the end
// of ctx is an error. depth counts the layers around s.
func (o *opener) open(ctx context.Context, l *layer, s *Section, depth int) error {
	if !s.Open || s.Len < minOpen {
		return nil
	}
	s.Open = false
	if len(s.Children) > 0 || s.Codec != "" || s.Table != nil {
		return nil
	}
	if depth > o.budget.Limits.MaxDepth {
		s.Limit = "depth"
		s.Note = fmt.Sprintf("more than %d layers within layers", o.budget.Limits.MaxDepth)
		return nil
	}
	in := &Input{ReaderAt: io.NewSectionReader(l, s.Off, s.Len), Size: s.Len, Budget: o.budget}
	for _, f := range o.formats {
		if !f.Detect(in) {
			continue
		}
		children, err := parse(ctx, f, in)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var limit *LimitError
		switch {
		case errors.As(err, &limit):
			s.Limit, s.Note = limit.Limit, fmt.Sprintf("%s: %v", f.Name, limit)
			return nil
		case err != nil:
			s.Note = fmt.Sprintf("not laid out as %s: %v", f.Name, err)
			continue
		}
		s.Format, s.Note, s.Children = f.Key(), "", children
		shift(s.Children, s.Off)
		return nil
	}
	return nil
}

// Key is the format's name and version, as ledgers name it.
func (f *Format) Key() string { return fmt.Sprintf("%s@%d", f.Name, f.Version) }

// parse runs the format's Parse and holds it to its contract.
func parse(ctx context.Context, f *Format, in *Input) ([]Section, error) {
	children, err := f.Parse(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(children) == 0 {
		return nil, errors.New("it lays nothing out")
	}
	if err := tiled(children, 0, in.Size); err != nil {
		return nil, err
	}
	if _, err := gatherings(children); err != nil {
		return nil, err
	}
	return fillGaps(children, 0, in.Size, "tail", RoleTail), nil
}

// tiled checks that sections lie in [lo, hi), in order, without overlap.
func tiled(ss []Section, lo, hi int64) error {
	at := lo
	for i := range ss {
		s := &ss[i]
		if s.Off < at || s.Len < 0 || s.Len > hi-s.Off {
			return fmt.Errorf("section %q at %d+%d overlaps or leaves %d..%d", s.Name, s.Off, s.Len, at, hi)
		}
		at = s.End()
		if err := tiled(s.Children, s.Off, s.End()); err != nil {
			return err
		}
	}
	return nil
}

// fillGaps adds a section for every run of bytes that no child claims, at every
// level; what follows the last child is named after.
func fillGaps(ss []Section, lo, hi int64, after string, role Role) []Section {
	gaps := 0
	at := lo
	for i := range ss {
		if ss[i].Off > at {
			gaps++
		}
		at = ss[i].End()
	}
	if at < hi {
		gaps++
	}
	out := ss
	if gaps > 0 {
		out = make([]Section, 0, len(ss)+gaps)
		at = lo
		for i := range ss {
			if ss[i].Off > at {
				out = append(out, Section{Name: "gap", Role: RoleGap, Off: at, Len: ss[i].Off - at, Open: true})
			}
			out = append(out, ss[i])
			at = ss[i].End()
		}
		if at < hi {
			out = append(out, Section{Name: after, Role: role, Off: at, Len: hi - at, Open: true})
		}
	}
	for i := range out {
		if s := &out[i]; len(s.Children) > 0 {
			s.Children = fillGaps(s.Children, s.Off, s.End(), "gap", RoleGap)
		}
	}
	return out
}

// shift moves sections laid out from 0 to where their stream has them.
func shift(ss []Section, d int64) {
	if d != 0 {
		(&shifter{d: d}).sections(ss, d)
	}
}

// A shifter moves a layout, and once each what it lays out of derived streams:
// there, only what their fields say of the stream that is moved.
type shifter struct {
	d    int64
	seen map[*Stream]bool
}

func (sh *shifter) sections(ss []Section, d int64) {
	for i := range ss {
		s := &ss[i]
		s.Off += d
		s.Spec = s.Spec.Shift(d).ShiftOuter(sh.d)
		sh.sections(s.Children, d)
		sh.sections(s.Inner, 0)
		if f := s.Fields; f != nil {
			s.Fields = func() []Section {
				out := f()
				sh.sections(out, d)
				return out
			}
		}
		if s.Part != nil && !sh.seen[s.Part.Of] {
			if sh.seen == nil {
				sh.seen = map[*Stream]bool{}
			}
			sh.seen[s.Part.Of] = true
			sh.sections(s.Part.Of.Layout, 0)
		}
	}
}

// kids returns the parts of s in order, tables expanded and gaps filled.
func kids(s, parent *Section) []Section {
	if s.Table == nil && s.Fields == nil {
		return s.Children
	}
	return fillGaps(s.Expand(parent), s.Off, s.End(), "gap", RoleGap)
}

// placeTable answers for one extent of the reference what its fields hold.
type placeTable struct {
	root    Section
	streams map[*Stream]*gathered
	recent  [8]expanded // what was made of Fields, used last first
}

type expanded struct {
	of *Section
	ks []Section
}

// kids is as kids, and remembers what Fields made: places are asked for in order.
func (t *placeTable) kids(s, parent *Section) []Section {
	if s.Fields == nil {
		return kids(s, parent)
	}
	i := slices.IndexFunc(t.recent[:], func(x expanded) bool { return x.of == s })
	x := expanded{of: s}
	if i < 0 {
		i = len(t.recent) - 1
		x.ks = kids(s, parent)
	} else {
		x.ks = t.recent[i].ks
	}
	copy(t.recent[1:i+1], t.recent[:i])
	t.recent[0] = x
	return x.ks
}

// Places returns the kernel's source of places: it parses extents of the
// reference with the formats given.
func places(formats []*Format, limits Limits) func(context.Context, string, ledger.Image) (ledger.PlaceTable, error) {
	return func(ctx context.Context, format string, ref ledger.Image) (ledger.PlaceTable, error) {
		for _, f := range formats {
			if f.Key() != format {
				continue
			}
			in := &Input{ReaderAt: ref.ReaderAt, Size: ref.Size, Budget: NewBudget(limits)}
			if !f.Detect(in) {
				return nil, fmt.Errorf("not %s", f.Name)
			}
			ss, err := parse(ctx, f, in)
			if err != nil {
				return nil, err
			}
			return &placeTable{root: Section{Len: ref.Size, Children: ss}}, nil
		}
		return nil, fmt.Errorf("no format %q here", format)
	}
}

// Field implements ledger.PlaceTable.
func (t *placeTable) Field(at ledger.Range, name string) (*ledger.Spec, bool) {
	return t.field(&t.root, nil, at, name)
}

func (t *placeTable) field(s, parent *Section, at ledger.Range, name string) (*ledger.Spec, bool) {
	if s.Spec != nil && s.Range() == at && s.Name == name {
		return s.Spec, true
	}
	ks := t.kids(s, parent)
	i := sort.Search(len(ks), func(i int) bool { return ks[i].End() >= at.Off })
	for ; i < len(ks) && ks[i].Off <= at.Off; i++ {
		if !ks[i].Range().Contains(at) {
			continue
		}
		if sp, ok := t.field(&ks[i], s, at, name); ok {
			return sp, true
		}
	}
	return nil, false
}

// Opens implements ledger.PlaceTable.
func (t *placeTable) Opens(at ledger.Range) bool {
	return t.root.Open && at == t.root.Range() || opens(&t.root, nil, at)
}

// Derived implements ledger.PlaceTable.
func (t *placeTable) Derived(d *ledger.Derivation, size int64) ledger.PlaceTable {
	if t.streams == nil {
		gs, _ := gatherings(t.root.Children)
		t.streams = make(map[*Stream]*gathered, len(gs))
		for _, g := range gs {
			t.streams[g.Stream] = g
		}
	}
	m := t.made(d)
	if m == nil {
		return nil
	}
	return &placeTable{root: derivedRoot(size, m.layout, m.open)}
}

// A made is what a layout says of a stream that it makes.
type made struct {
	layout []Section
	open   bool
	part   *Part // of another stream, as a whole
}

// made returns what the layout makes in this way, or nil.
func (t *placeTable) made(d *ledger.Derivation) *made {
	if d.Codec != ledger.Gather {
		if len(d.Pieces) != 1 {
			return nil
		}
		s := t.piece(&d.Pieces[0], func(s *Section) bool { return s.Codec == d.Codec })
		if s == nil {
			return nil
		}
		return &made{s.Inner, s.Part == nil, s.Part}
	}
	var of *Stream
	for n := range d.Pieces {
		p := &d.Pieces[n]
		var part *Part
		if p.Whole {
			if m := t.made(p.From); m != nil {
				part = m.part
			}
		}
		if part == nil {
			if s := t.piece(p, func(s *Section) bool { return s.Codec == "" && s.Part != nil }); s != nil {
				part = s.Part
			}
		}
		if part == nil || part.N != n || of != nil && part.Of != of {
			return nil
		}
		of = part.Of
	}
	if g := t.streams[of]; g == nil || len(g.parts) != len(d.Pieces) || !slices.Equal(of.Zeros, d.Zeros) {
		return nil
	}
	return &made{layout: of.Layout, open: of.Open}
}

// piece returns the section that a piece is, if it is what is wanted.
func (t *placeTable) piece(p *ledger.Piece, want func(*Section) bool) *Section {
	in := t.root.Children
	if p.From != nil {
		m := t.made(p.From)
		if m == nil {
			return nil
		}
		in = m.layout
	}
	return sectionAt(in, p.At, want)
}

func sectionAt(ss []Section, at ledger.Range, want func(*Section) bool) *Section {
	i := sort.Search(len(ss), func(i int) bool { return ss[i].End() >= at.End() })
	for ; i < len(ss) && ss[i].Off <= at.Off; i++ {
		s := &ss[i]
		if s.Range() == at && want(s) {
			return s
		}
		if s.Range().Contains(at) {
			if found := sectionAt(s.Children, at, want); found != nil {
				return found
			}
		}
	}
	return nil
}

func opens(s, parent *Section, at ledger.Range) bool {
	ks := kids(s, parent)
	i := sort.Search(len(ks), func(i int) bool { return ks[i].End() >= at.End() })
	for ; i < len(ks) && ks[i].Off <= at.Off; i++ {
		c := &ks[i]
		if c.Range() == at && c.Open || c.Range().Contains(at) && opens(c, s, at) {
			return true
		}
	}
	return false
}
