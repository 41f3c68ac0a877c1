package diff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/assaylab/assay/diff/ledger"
)

// An Image is one side of a comparison as it was received.
type Image struct {
	Name string // for people: a base name, never a path
	io.ReaderAt
	Size int64
}

// Options say what a comparison knows and how much it may do. The zero Options
// know no format and no rule: everything is raw bytes, and only equal bytes are
// accounted for.
type Options struct {
	Formats []*Format
	Rules   []*Rule
	Codecs  []ledger.Codec
	Limits  Limits

	// Premises are values of the deployed image that the reference was built with.
	Premises []ledger.Premise

	// Labels names offsets of a raw reference, as a symbol file tells them.
	// They never affect a verdict.
	Labels Labels

	// Progress, if set, is told what is being done and how far it is.
	Progress func(stage string, done, total int64)
}

// Labels names offsets of the reference image.
type Labels interface {
	// Section returns the section an offset lies in, and its range; between
	// sections no name and the range of the gap.
	Section(off int64) (string, ledger.Range)
	// Function returns the function an offset lies in and how far in, or "".
	Function(off int64) (string, int64)
}

// A Note is something the engine saw that is no entry of the ledger: a layout
// that failed, a limit that was met.
type Note struct {
	Side  string `json:"side"` // "reference" or "deployed"
	Path  string `json:"path"`
	Limit string `json:"limit,omitempty"`
	Text  string `json:"text"`
}

// A Result is what Compare returns: a ledger that has passed Check, and notes.
type Result struct {
	Ledger   *ledger.Ledger
	Notes    []Note
	Excerpts map[int]Excerpt // by index of the entry; only the first few hundred
}

// Compare accounts for every byte of dep against ref. The ledger it returns has
// passed Check; an error means no ledger, never half of one. Limits are no
// error: what they kept closed is opaque, and marked in the ledger.
func Compare(ctx context.Context, ref, dep Image, opt Options) (*Result, error) {
	work := ctx
	if opt.Limits.Timeout > 0 {
		var cancel context.CancelFunc
		work, cancel = context.WithTimeoutCause(ctx, opt.Limits.Timeout,
			&LimitError{"time", fmt.Sprintf("more than %v", opt.Limits.Timeout)})
		defer cancel()
	}
	res, err := compare(work, ref, dep, opt, false)
	if errors.Is(err, errUngathered) {
		res, err = compare(work, ref, dep, opt, true)
	}
	if err != nil && ctx.Err() == nil && work.Err() != nil {
		return nil, context.Cause(work)
	}
	return res, err
}

// compare does the work; apart leaves what stands in pieces in pieces.
func compare(ctx context.Context, ref, dep Image, opt Options, apart bool) (*Result, error) {
	if opt.Progress == nil {
		opt.Progress = func(string, int64, int64) {}
	}
	w := &walker{
		ctx: ctx, opt: &opt,
		opener: opener{formats: opt.Formats, budget: NewBudget(opt.Limits), store: new(store)},
		rules:  map[ledger.Op]*Rule{}, apart: apart,
		carried: map[*Section]*carried{}, gathered: map[*Stream]*gathering{}, pinned: map[*Section]bool{},
	}
	defer w.close()
	w.opener.budget.input = ref.Size + dep.Size
	for _, r := range opt.Rules {
		for _, op := range r.Ops {
			if w.rules[op] == nil {
				w.rules[op] = r
			}
		}
	}
	w.strata = []*stratum{{ref: newLayer(ref, ref.Size), dep: newLayer(dep, dep.Size)}}
	for k := 0; k < len(w.strata); k++ {
		opt.Progress("pairing", int64(k), int64(len(w.strata)))
		if err := w.stratum(k); err != nil {
			return nil, err
		}
	}
	l := &ledger.Ledger{Premises: slices.Clone(opt.Premises)}
	for k, s := range w.strata {
		if k > 0 {
			l.Streams = append(l.Streams, s.stream)
		}
		for i := range s.entries {
			e := &s.entries[i]
			e.Stream, e.Path = k, shown(e.Path)
		}
		if k == 0 {
			l.Entries = s.entries // most often all there are
		} else {
			l.Entries = append(l.Entries, s.entries...)
		}
		s.entries, s.dep.root = nil, Section{} // the reference's layout still names what is missing
		s.gathering, s.into = nil, nil
	}
	w.carried, w.gathered, w.pinned, w.al, w.shared = nil, nil, nil, nil, shared{}
	opt.Progress("checking", 0, 1)
	if err := l.Check(ctx, ledger.Image{ReaderAt: ref, Size: ref.Size}, ledger.Image{ReaderAt: dep, Size: dep.Size}, Tools(opt)); err != nil {
		return nil, err
	}
	for i := range l.Missing {
		m := &l.Missing[i]
		s := w.strata[m.Stream]
		m.Path = w.name(s, m.Ref)
	}
	x, err := w.excerpts(l)
	if err != nil {
		return nil, err
	}
	return &Result{Ledger: l, Notes: w.notes, Excerpts: x}, nil
}

// A stratum is one pair of streams being walked.
type stratum struct {
	ref, dep *layer
	path     string // of the section that carries it
	depth    int
	stream   ledger.Stream
	entries  []ledger.Entry

	place     *ledger.Place // the layout that gave the stream, where it lays it out too
	shifted   bool          // see here
	gathering *gathering    // the stream that this is, in pieces
	into      *gathering    // the stream that this is a piece of
	piece     int
}

type walker struct {
	ctx     context.Context
	opt     *Options
	opener  opener
	rules   map[ledger.Op]*Rule
	strata  []*stratum
	notes   []Note
	closers []io.Closer

	apart    bool // nothing is gathered
	carried  map[*Section]*carried
	gathered map[*Stream]*gathering
	pinned   map[*Section]bool // deployed sections in which pieces of gathered streams stand

	shared  shared
	entries int64 // emitted

	// Of the stratum being walked.
	k       int
	s       *stratum
	al      *aligner
	ref     int64 // the reference has been used up to here
	settled int64 // and a text explained up to here
}

func (w *walker) close() {
	for _, c := range w.closers {
		c.Close()
	}
}

// A here is where the walk stands: the pair of sections, their parents, the
// extent of the reference that was laid out around them.
type here struct {
	r, d   *Section
	rp, dp *Section
	path   string
	same   string // the path under which the section is listed if it is identical
	depth  int
	place  *ledger.Place // the layout around r, and those around it
	// shifted says that parts of the layout have other lengths, so that what measures
	// them is looked at even where it is the same.
	shifted bool
	limit   string // a limit that kept the layer closed
}

func (w *walker) stratum(k int) error {
	w.k, w.s = k, w.strata[k]
	w.al = newAligner(w.ctx, w.s.ref, w.s.dep, max(w.s.ref.size, w.s.dep.size))
	w.ref, w.settled = 0, 0
	if g := w.s.gathering; g != nil && g.got != len(g.dep.parts) {
		return errUngathered
	}
	if w.s.into != nil {
		w.whole()
		return nil
	}
	err := w.pair(here{r: &w.s.ref.root, d: &w.s.dep.root, path: w.s.path, same: w.s.path, depth: w.s.depth, place: w.s.place, shifted: w.s.shifted})
	if err != nil {
		return err
	}
	if err := w.moves(); err != nil {
		return err
	}
	if k == 0 && w.opt.Labels != nil && w.s.ref.root.Format == "" {
		w.label()
	}
	return w.full()
}

// pair accounts for the deployed section h.d against its counterpart h.r.
func (w *walker) pair(h here) error {
	if h.d.Len == 0 && h.r.Len == 0 {
		return nil
	}
	if err := w.full(); err != nil {
		return err
	}
	if w.piece(h) {
		return nil
	}
	if h.d.Len > 0 && !w.pinned[h.d] {
		same, err := w.al.equal(h.r.Range(), h.d.Range())
		if err != nil {
			return err
		}
		stale := false
		if same {
			if stale, err = w.follows(h); err != nil {
				return err
			}
		}
		if same && !stale {
			h.path = h.same
			w.copy(h.r.Range(), h.d.Off, h)
			return nil
		}
	}
	if h.r.Spec != nil {
		if rule := w.rules[h.r.Spec.Op]; rule != nil && h.place != nil && (h.d.Len > 0 || h.r.Spec.Op == ledger.OpFill) {
			w.emit(ledger.Entry{
				Dep: h.d.Range(), Op: h.r.Spec.Op, Ref: h.r.Range(), Spec: w.shared.spec(h.r.Spec), Place: w.shared.place(h.place, h.r.Name),
				Path: h.path, Rule: rule.Name, Note: rule.Because,
			})
			w.ref = h.r.End()
			return nil
		}
	}
	if err := w.openBoth(&h); err != nil {
		return err
	}
	if h.limit == "" && h.r.Codec != "" && h.r.Codec == h.d.Codec && h.r.Len > 0 && h.d.Len > 0 {
		if done, err := w.carry(&h); done || err != nil {
			return err
		}
	}
	if h.limit == "" {
		rk, dk := kids(h.r, h.rp), kids(h.d, h.dp)
		if len(rk) > 0 && len(dk) > 0 && h.r.Format == h.d.Format {
			if h.r.Format != "" {
				h.place = &ledger.Place{Format: h.r.Format, At: h.r.Range(), In: h.place}
				h.depth++
				h.shifted = !sameShape(rk, dk)
				if err := w.gather(h); err != nil {
					return err
				}
			}
			return w.children(h, rk, dk)
		}
	}
	return w.leaf(h)
}

// follows says whether an identical section holds a checksum over bytes outside it
// that differ, or a number that measures what lies outside it where lengths differ. It
// has to be proved, or stands there stale.
func (w *walker) follows(h here) (bool, error) {
	if h.place == nil || h.r.Codec != "" {
		return false, nil
	}
	return w.follower(h, h.r, h.rp)
}

func (w *walker) follower(h here, s, parent *Section) (bool, error) {
	if sp := s.Spec; sp != nil && (sp.Op == ledger.OpSum || sp.Op == ledger.OpNumber && h.shifted) {
		for _, o := range sp.Over {
			switch {
			case o.Lit != "" || !o.Outer && h.r.Range().Contains(o.Range):
				continue
			case sp.Op == ledger.OpNumber || o.Inner:
				return true, nil
			}
			ahead := o.Range
			ahead.Off += h.d.Off - h.r.Off
			if ahead.Off < 0 || ahead.End() > w.s.dep.size {
				return true, nil
			}
			if same, err := w.al.equal(o.Range, ahead); err != nil || !same {
				return true, err
			}
		}
	}
	ks := kids(s, parent)
	for i := range ks {
		if found, err := w.follower(h, &ks[i], s); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// sameShape says whether two layouts have parts of the same lengths, so that no number
// that measures them can have changed.
func sameShape(rk, dk []Section) bool {
	if len(rk) != len(dk) {
		return false
	}
	for i := range rk {
		r, d := &rk[i], &dk[i]
		if r.Len != d.Len || !sameShape(r.Children, d.Children) {
			return false
		}
	}
	return true
}

// openBoth lays out both sections, and notes what kept one closed.
func (w *walker) openBoth(h *here) error {
	for _, x := range []struct {
		side string
		l    *layer
		s    *Section
	}{{"reference", w.s.ref, h.r}, {"deployed", w.s.dep, h.d}} {
		if err := w.opener.open(w.ctx, x.l, x.s, h.depth); err != nil {
			return err
		}
		if x.s.Note != "" {
			w.notes = append(w.notes, Note{Side: x.side, Path: shown(h.path), Limit: x.s.Limit, Text: x.s.Note})
		}
		if x.s.Limit != "" {
			h.limit = x.s.Limit
		}
	}
	return nil
}

// children pairs the parts of two sections of one format and walks them in the
// order of the deployed side.
func (w *walker) children(h here, rk, dk []Section) error {
	i, j := 0, 0
	for _, p := range append(pairByName(rk, dk), [2]int{len(rk), len(dk)}) {
		if err := w.slot(h, rk[i:p[0]], dk[j:p[1]]); err != nil {
			return err
		}
		if p[0] == len(rk) {
			break
		}
		i, j = p[0]+1, p[1]+1
		c := h
		c.r, c.d, c.rp, c.dp = &rk[p[0]], &dk[p[1]], h.r, h.d
		c.path = join(h.path, c.d)
		c.same = c.path
		if len(dk) > maxRows || h.d.Bunch || h.d.Table != nil || isField(c.d) {
			c.same = h.path
		}
		if err := w.pair(c); err != nil {
			return err
		}
	}
	return nil
}

// maxRows is how many parts of a section that differs are listed each by
// itself; where there are more, those that are identical are listed as one.
const maxRows = 64

// isField says whether s is a field of a header, too small for a row of its own
// while it is identical.
func isField(s *Section) bool { return s.Len <= 64 && len(s.Children) == 0 && s.Table == nil }

// slot accounts for sections between two pairs that no name paired: by content,
// then by their place where the roles agree. What is left on the deployed side
// is unexplained, on the reference's missing.
func (w *walker) slot(h here, rk, dk []Section) error {
	i := 0
	for j := range dk {
		d := &dk[j]
		c := h
		c.path = join(h.path, d)
		c.same = c.path
		c.d, c.dp, c.rp = d, h.d, h.r
		found := -1
		for k := i; k < len(rk) && k < i+256; k++ {
			same, err := w.sameContent(&rk[k], d)
			if err != nil {
				return err
			}
			if same {
				found = k
				break
			}
		}
		if found < 0 && i < len(rk) && len(rk)-i == len(dk)-j && rk[i].Role == d.Role {
			found = i
		}
		if found < 0 {
			if d.Len > 0 {
				w.emit(ledger.Entry{Dep: d.Range(), Path: c.path, Note: "not in the reference", Limit: h.limit})
			}
			continue
		}
		c.r = &rk[found]
		i = found + 1
		if err := w.pair(c); err != nil {
			return err
		}
	}
	return nil
}

// sameContent says whether two sections, or their payloads, hold the same bytes.
func (w *walker) sameContent(r, d *Section) (bool, error) {
	pr, pd := payload(r), payload(d)
	if pr.Role != pd.Role || pr.Len == 0 {
		return false, nil
	}
	return w.al.equal(pr.Range(), pd.Range())
}

func payload(s *Section) *Section {
	for i := range s.Children {
		if s.Children[i].Role == RolePayload {
			return &s.Children[i]
		}
	}
	return s
}

// carry accounts for a deployed carrier by the stream it decodes to, if that is
// what differs. It reports whether the section is accounted for.
func (w *walker) carry(h *here) (bool, error) {
	c, err := w.carrier(*h, h.r, h.d, h.path)
	if err != nil {
		return false, err
	}
	if c == nil {
		if c = w.carried[h.d]; c.limit != "" {
			h.limit = c.limit
		}
		return false, nil
	}
	if c.k == 0 {
		s, err := w.newStratum(*h, c, h.d, h.path)
		if err != nil {
			return false, err
		}
		if worse, err := w.shownBetterApart(h, c, s); worse || err != nil {
			return false, err
		}
		w.strata = append(w.strata, s)
		c.k = len(w.strata) - 1
	}
	w.emit(ledger.Entry{Dep: h.d.Range(), Op: ledger.OpCarry, Ref: h.r.Range(), Carry: c.k, Path: h.path})
	w.ref = h.r.End()
	return true, nil
}

// shownBetterApart says whether two carriers hold the same content in encodings
// that no encoder here makes and that differ little. A few bytes that differ are
// shown where they stand; where most do, the encoding as a whole is what differs.
func (w *walker) shownBetterApart(h *here, c *carried, s *stratum) (bool, error) {
	if s.stream.DepSetting != "" || c.rs.size != c.ds.size {
		return false, nil
	}
	whole := ledger.Range{Len: c.rs.size}
	same, err := newAligner(w.ctx, c.rs, c.ds, whole.Len).equal(whole, whole)
	if err != nil || !same {
		return false, err
	}
	runs, err := w.al.align(h.r.Range(), h.d.Range())
	if err != nil {
		return false, err
	}
	n := int64(0)
	for _, x := range runs {
		if !x.same {
			n += x.dep.Len
		}
	}
	return n <= 64 || n <= h.d.Len/16, nil
}

// decode returns what s decodes to, or nil if it cannot be had, with a note.
func (w *walker) decode(codec ledger.Codec, l *layer, s *Section, side string, h *here) (*spool, error) {
	sp := newSpool(w.opener.budget, w.opener.store)
	w.closers = append(w.closers, sp)
	err := codec.Decode(w.ctx, sp, io.NewSectionReader(l, s.Off, s.Len))
	if w.ctx.Err() != nil {
		return nil, w.ctx.Err()
	}
	if err == nil {
		return sp, nil
	}
	note := Note{Side: side, Path: shown(h.path), Text: fmt.Sprintf("not decoded: %v", err)}
	var limit *LimitError
	if errors.As(err, &limit) {
		note.Limit, h.limit = limit.Limit, limit.Limit
	}
	w.notes = append(w.notes, note)
	return nil, nil
}

// setting finds the encoder setting that made the carrier s out of stream,
// trying first one before the catalogue; "" if none did.
func (w *walker) setting(codec ledger.Codec, first string, l *layer, s *Section, stream *spool, note Note) (string, error) {
	try := codec.Settings()
	if first != "" {
		try = append([]string{first}, try...)
	}
	ctx, gaveUp := w.ctx, func() bool { return false }
	if c, ok := codec.(searcher); ok {
		ctx, gaveUp = c.Search(w.ctx)
	}
	for i, x := range try {
		if i > 0 && x == first {
			continue // tried before all others
		}
		same, err := ledger.Reproduces(ctx, codec, x, io.NewSectionReader(l, s.Off, s.Len), io.NewSectionReader(stream, 0, stream.size))
		if err != nil {
			return "", err
		}
		if same {
			return x, nil
		}
	}
	if gaveUp() {
		note.Text = "the search for the encoder was given up: it takes too many steps"
		w.notes = append(w.notes, note)
	}
	return "", nil
}

// A searcher is a codec that bounds what all runs of a search take together.
type searcher interface {
	Search(ctx context.Context) (_ context.Context, gaveUp func() bool)
}

// context of a text around a difference, in bytes.
const textContext = 40

// leaf aligns two opaque sections byte by byte and asks the rules that scan
// texts about what differs.
func (w *walker) leaf(h here) error {
	runs, err := w.al.align(h.r.Range(), h.d.Range())
	if err != nil {
		return err
	}
	for i := 0; i < len(runs); i++ {
		x := runs[i]
		if x.same || x.ref.Len != x.dep.Len || h.limit != "" || !holdsText(h.r.Role) || !holdsText(h.d.Role) {
			w.plain(x, h)
			continue
		}
		// Take the differences near this one along, so that a text is seen whole.
		j, end := i, x.ref.End()
		for j+2 < len(runs) && runs[j+1].same && runs[j+1].ref.Len <= textContext &&
			!runs[j+2].same && runs[j+2].ref.Len == runs[j+2].dep.Len {
			j += 2
			end = runs[j].ref.End()
		}
		if end-x.ref.Off > 64<<10 {
			w.plain(x, h)
			continue
		}
		var before, after int64 // same bytes around, on the same diagonal
		if i > 0 && runs[i-1].same {
			before = min(runs[i-1].ref.Len, textContext)
		}
		if j+1 < len(runs) && runs[j+1].same {
			after = min(runs[j+1].ref.Len, textContext)
		}
		if err := w.texts(h, runs[i:j+1], before, after); err != nil {
			return err
		}
		i = j
	}
	return nil
}

// holdsText says whether a date in a section of that role may be a build date.
// In a name, a link's target, an attribute or a field it decides what something
// is: a file renamed by its date is another file.
func holdsText(r Role) bool {
	switch r {
	case RolePayload, RoleVersion, RoleTable, RoleGap, RoleTail, "":
		return true
	}
	return false
}

// texts explains what it can of a cluster of differences, all on one diagonal.
func (w *walker) texts(h here, runs []run, before, after int64) error {
	lo, hi := runs[0].ref.Off-before, runs[len(runs)-1].ref.End()+after
	shift := runs[0].dep.Off - runs[0].ref.Off
	ref, dep := make([]byte, hi-lo), make([]byte, hi-lo)
	if err := w.al.read(ref, dep, lo, lo+shift); err != nil {
		return err
	}
	type found struct {
		text Text
		rule *Rule
	}
	var texts []found
	for _, rule := range w.opt.Rules {
		if rule.Scan == nil {
			continue
		}
		for _, t := range rule.Scan(ref, dep) {
			if t.Spec.Op != rule.Text || t.Off < 0 || t.Len <= 0 || t.Off+t.Len > len(ref) || bytes.Equal(ref[t.Off:t.Off+t.Len], dep[t.Off:t.Off+t.Len]) {
				continue
			}
			clash := lo+int64(t.Off) < w.settled
			for _, f := range texts {
				clash = clash || t.Off < f.text.Off+f.text.Len && f.text.Off < t.Off+t.Len
			}
			if !clash {
				texts = append(texts, found{t, rule})
			}
		}
	}
	sortBy(texts, func(a, b found) bool { return a.text.Off < b.text.Off })
	// Texts may begin in same bytes before the cluster that are emitted already,
	// and end in same bytes after it: both are cut out of the copies.
	for _, f := range texts {
		from, to := lo+int64(f.text.Off), lo+int64(f.text.Off+f.text.Len)
		w.uncopy(from, shift)
		runs = w.upto(h, runs, from)
		spec := f.text.Spec
		w.emit(ledger.Entry{
			Dep: ledger.Range{Off: from + shift, Len: to - from}, Op: spec.Op, Ref: ledger.Range{Off: from, Len: to - from},
			Spec: &spec, Path: h.path, Rule: f.rule.Name, Note: f.text.Because,
		})
		w.ref, w.settled = to, to
		runs = drop(runs, to)
	}
	for _, x := range runs {
		w.plain(x, h)
	}
	return nil
}

// uncopy takes back the end of the copy emitted last, down to reference offset
// from, so that a text may begin there.
func (w *walker) uncopy(from, shift int64) {
	n := len(w.s.entries)
	if n == 0 || from >= w.ref {
		return
	}
	e := &w.s.entries[n-1]
	if e.Op != ledger.OpCopy || e.Dep.Off-e.Ref.Off != shift || e.Ref.Off > from {
		return
	}
	if e.Ref.Off == from {
		w.s.entries = w.s.entries[:n-1]
	} else {
		e.Ref.Len = from - e.Ref.Off
		e.Dep.Len = e.Ref.Len
	}
	w.ref = from
}

// upto emits runs up to reference offset to and returns the rest.
func (w *walker) upto(h here, runs []run, to int64) []run {
	for len(runs) > 0 && runs[0].ref.Off < to {
		x := runs[0]
		if x.ref.End() <= to {
			w.plain(x, h)
			runs = runs[1:]
			continue
		}
		n := to - x.ref.Off
		head := x
		head.ref.Len, head.dep.Len = n, n
		w.plain(head, h)
		runs[0].ref, runs[0].dep = cut(x.ref, n), cut(x.dep, n)
	}
	return runs
}

// drop removes from runs what lies before reference offset to. A text that ends
// behind the last run leaves nothing; the copy that follows is cut by plain.
func drop(runs []run, to int64) []run {
	for len(runs) > 0 && runs[0].ref.Off < to {
		x := runs[0]
		if x.ref.End() <= to {
			runs = runs[1:]
			continue
		}
		n := to - x.ref.Off
		runs[0].ref, runs[0].dep = cut(x.ref, n), cut(x.dep, n)
	}
	return runs
}

// plain emits a run as it is, less what a text before it has settled.
func (w *walker) plain(x run, h here) {
	if x.same {
		if n := w.ref - x.ref.Off; n > 0 {
			x.ref, x.dep = cut(x.ref, n), cut(x.dep, n)
		}
		if x.ref.Len > 0 {
			w.copy(x.ref, x.dep.Off, h)
		}
		return
	}
	if x.dep.Len > 0 {
		w.emit(ledger.Entry{Dep: x.dep, Path: h.path, Limit: h.limit})
	}
}

// copy emits reference bytes copied in order, as part of the copy before it
// where that ends just there and has the same path.
func (w *walker) copy(r ledger.Range, dep int64, h here) {
	w.ref = r.End()
	if n := len(w.s.entries); n > 0 {
		e := &w.s.entries[n-1]
		if e.Op == ledger.OpCopy && e.Ref.End() == r.Off && e.Dep.End() == dep && e.Path == h.path && e.Limit == h.limit {
			e.Ref.Len += r.Len
			e.Dep.Len += r.Len
			return
		}
	}
	w.emit(ledger.Entry{Dep: ledger.Range{Off: dep, Len: r.Len}, Op: ledger.OpCopy, Ref: r, Path: h.path, Limit: h.limit})
}

// maxEntries bounds the entries of one account, by the size of the reference in bytes.
func maxEntries(size int64) int64 { return 1<<19 + size/128 }

func (w *walker) emit(e ledger.Entry) {
	if w.entries++; w.full() == nil {
		w.s.entries = append(w.s.entries, e)
	}
}

// full says that there are more entries than an account may have, if there are.
func (w *walker) full() error {
	most := maxEntries(w.strata[0].ref.size)
	if w.entries <= most {
		return nil
	}
	return &LimitError{"entries", fmt.Sprintf("the images differ in more places than the %d that an account may list", most)}
}
