package diff

import (
	"bytes"
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
	limited error // the first limit that kept anything closed
}

func (o *opener) limit(err error) {
	if o.limited == nil {
		o.limited = err
	}
}

// minOpen is the size below which content is not worth recognising, in bytes.
const minOpen = 12

// open lays s out if it asks for it and a format recognises it. Whatever goes
// wrong leaves s one opaque section with the reason written down; only the end
// of ctx is an error. depth counts the layers around s.
func (o *opener) open(ctx context.Context, l *layer, s *Section, depth int) error {
	opens := s.opens()
	s.Open = false
	if !opens {
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

// opens says whether s is to be recognised.
func (s *Section) opens() bool {
	return s.Open && s.Len >= minOpen && len(s.Children) == 0 && s.Codec == "" && s.Table == nil
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
	children = fillGaps(children, 0, in.Size, "tail", RoleTail)
	return children, blank(ctx, in, &children[len(children)-1])
}

// blank says of a tail that is erased, or zeros, that it fills up what the input has
// room for, as images do that stand in a partition: what the layout ends with may end
// sooner or later.
func blank(ctx context.Context, in *Input, tail *Section) error {
	if tail.Role != RoleTail || !tail.Open || tail.Off == 0 {
		return nil
	}
	buf := make([]byte, min(tail.Len, 64<<10))
	if err := readFull(in, buf[:1], tail.Off); err != nil {
		return err
	}
	fill := buf[0]
	if fill != 0 && fill != 0xff {
		return nil
	}
	for off := tail.Off; off < tail.End(); off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), tail.End()-off)]
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := readFull(in, buf, off); err != nil {
			return err
		}
		if bytes.Count(buf, []byte{fill}) < len(buf) {
			return nil
		}
	}
	tail.Open = false
	tail.Spec = &ledger.Spec{Op: ledger.OpFill, Fill: fill, Align: in.Size, Over: []ledger.Span{{Range: ledger.Range{Len: tail.Off}}}}
	return nil
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
	tight   bool        // it is that of a stream whose carrier is Tight
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

// recognised returns the kernel's source of formats: those that an extent of the
// reference may be of, in order.
func recognised(formats []*Format, limits Limits) func(context.Context, ledger.Image) []string {
	return func(_ context.Context, ref ledger.Image) []string {
		if ref.Size < minOpen {
			return nil
		}
		in := &Input{ReaderAt: ref.ReaderAt, Size: ref.Size, Budget: NewBudget(limits)}
		var out []string
		for _, f := range formats {
			if f.Detect(in) {
				out = append(out, f.Key())
			}
		}
		return out
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
func (t *placeTable) Derived(d *ledger.Derivation, size int64) (ledger.PlaceTable, string) {
	if t.streams == nil {
		gs, _ := gatherings(t.root.Children)
		t.streams = make(map[*Stream]*gathered, len(gs))
		for _, g := range gs {
			t.streams[g.Stream] = g
		}
	}
	m := t.made(d)
	if m == nil {
		return nil, ""
	}
	return &placeTable{root: derivedRoot(size, m.layout, m.open), tight: m.tight}, m.name
}

// Each implements ledger.PlaceTable.
func (t *placeTable) Each(v ledger.Visitor) error {
	if err := each(&t.root, nil, v); err != nil {
		return err
	}
	gs, err := gatherings(t.root.Children)
	if err != nil {
		return nil // it was refused when it was made
	}
	for _, g := range gs {
		at, _ := g.parts[0].carrier()
		if err := outer(g.Layout, streamName(g.Stream), at.Range(), v); err != nil {
			return err
		}
	}
	return nil
}

func each(s, parent *Section, v ledger.Visitor) error {
	if sp := s.Spec; sp != nil && (sp.Op == ledger.OpNumber || sp.Op == ledger.OpSum) {
		if err := v.Field(s.Range(), sp); err != nil {
			return err
		}
	}
	if s.Codec != "" && s.Inner != nil {
		if err := outer(s.Inner, carrierName("", s.Off), s.Range(), v); err != nil {
			return err
		}
	}
	ks := kids(s, parent)
	for i := range ks {
		k := &ks[i]
		if k.opens() {
			if err := v.Open(k.Range()); err != nil {
				return err
			}
		}
		if err := each(k, s, v); err != nil {
			return err
		}
	}
	return nil
}

// outer hands over what fields of a derived stream say of the one that it comes of.
func outer(ss []Section, name string, at ledger.Range, v ledger.Visitor) error {
	for i := range ss {
		s := &ss[i]
		if sp := s.Spec; sp != nil && sp.Op == ledger.OpNumber && slices.ContainsFunc(sp.Over, func(o ledger.Span) bool { return o.Outer }) {
			if err := v.Outer(name, at, sp); err != nil {
				return err
			}
		}
		if err := outer(s.Expand(nil), name, at, v); err != nil {
			return err
		}
	}
	return nil
}

// Tight implements ledger.PlaceTable.
func (t *placeTable) Tight() bool { return t.tight }

// HoldsText implements ledger.PlaceTable.
func (t *placeTable) HoldsText(at ledger.Range) bool { return holdText(t, &t.root, nil, at) }

func holdText(t *placeTable, s, parent *Section, at ledger.Range) bool {
	ks := t.kids(s, parent)
	if len(ks) == 0 {
		return holdsText(s.Role)
	}
	i := sort.Search(len(ks), func(i int) bool { return ks[i].End() > at.Off })
	for ; i < len(ks) && ks[i].Off < at.End(); i++ {
		if ks[i].Len > 0 && !holdText(t, &ks[i], s, at) {
			return false
		}
	}
	return true
}

// Streams of a layout go by the name of what is gathered, or by where their carrier is.
func streamName(s *Stream) string { return "stream " + s.Name }

func carrierName(in string, off int64) string { return fmt.Sprintf("%s/%d", in, off) }

// A made is what a layout says of a stream that it makes.
type made struct {
	name   string
	tight  bool
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
		in := ""
		if from := d.Pieces[0].From; from != nil {
			in = t.made(from).name
		}
		return &made{carrierName(in, s.Off), s.Tight, s.Inner, s.Part == nil, s.Part}
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
	return &made{name: streamName(of), layout: of.Layout, open: of.Open}
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
