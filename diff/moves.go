package diff

import (
	"fmt"
	"sort"
	"strings"

	"github.com/assaylab/assay/diff/ledger"
)

// minMove is the shortest run worth looking for elsewhere, in bytes: less costs
// about as much to name as to spell out.
const minMove = 32

// moves looks for unexplained runs of the stratum elsewhere in its reference.
func (w *walker) moves() error {
	any := false
	for i := range w.s.entries {
		if e := &w.s.entries[i]; e.Op == ledger.OpNone && e.Dep.Len >= minMove {
			any = true
		}
	}
	if !any || w.s.ref.size < minMove {
		return nil
	}
	ix, err := w.al.index(ledger.Range{Len: w.s.ref.size}, coarse)
	if err != nil {
		return err
	}
	var out []ledger.Entry
	for rest := w.s.entries; len(rest) > 0; {
		if err := w.full(); err != nil {
			return err
		}
		whole, n := torn(rest)
		if n > 1 {
			found, err := w.find(ix, whole)
			if err != nil {
				return err
			}
			if covered(found) >= whole.Dep.Len/4*3 {
				out, rest = w.moved(out, whole, found), rest[n:]
				continue
			}
		}
		for _, e := range rest[:n] {
			found, err := w.find(ix, e)
			if err != nil {
				return err
			}
			out = w.moved(out, e, found)
		}
		rest = rest[n:]
	}
	w.s.entries = out
	return nil
}

// torn returns the unexplained run that es begins with and of how many entries
// it is. Where other bytes stand in the place of some, a few are the same by
// chance: such copies, too short to mean anything, are part of the run.
func torn(es []ledger.Entry) (ledger.Entry, int) {
	run, n := es[0], 1
	if run.Op != ledger.OpNone {
		return run, n
	}
	for n+1 < len(es) {
		c, e := &es[n], &es[n+1]
		if c.Op != ledger.OpCopy || c.Dep.Len >= fineBlock || e.Op != ledger.OpNone ||
			c.Path != run.Path || e.Path != run.Path || e.Limit != run.Limit || e.Note != run.Note {
			break
		}
		run.Dep.Len = e.Dep.End() - run.Dep.Off
		n += 2
	}
	return run, n
}

// find looks for an unexplained entry's bytes in the whole reference.
func (w *walker) find(ix *index, e ledger.Entry) ([]match, error) {
	if e.Op != ledger.OpNone || e.Dep.Len < minMove {
		return nil, nil
	}
	return w.al.find(ix, ledger.Range{Len: w.s.ref.size}, e.Dep)
}

func covered(found []match) int64 {
	n := int64(0)
	for _, m := range found {
		n += m.n
	}
	return n
}

// moved appends e to out, less what was found elsewhere, which it appends as
// moves.
func (w *walker) moved(out []ledger.Entry, e ledger.Entry, found []match) []ledger.Entry {
	for _, m := range found {
		if n := m.dep - e.Dep.Off; n > 0 {
			head := e
			head.Dep.Len = n
			out = append(out, head)
		}
		moved := e
		moved.Dep = ledger.Range{Off: m.dep, Len: m.n}
		moved.Op, moved.From, moved.Ref = ledger.OpMove, w.k, ledger.Range{Off: m.ref, Len: m.n}
		w.entries++
		moved.Note = fmt.Sprintf("stands in the reference at 0x%x, %s", m.ref, w.name(w.s, moved.Ref))
		out = append(out, moved)
		e.Dep = cut(e.Dep, m.dep+m.n-e.Dep.Off)
	}
	if e.Dep.Len > 0 || len(found) == 0 {
		out = append(out, e)
	}
	return out
}

// name tells where in the reference of s a range stands: the sections it takes
// up whole, or the one it lies in.
func (w *walker) name(s *stratum, r ledger.Range) string {
	if s == w.strata[0] && w.opt.Labels != nil && s.ref.root.Format == "" {
		if name, at := w.opt.Labels.Section(r.Off); name != "" && at.Contains(r) {
			return name
		}
	}
	names := locate(&s.ref.root, nil, s.path, r, nil)
	const show = 6
	if len(names) > show {
		names = append(names[:show], fmt.Sprintf("and %d more", len(names)-show))
	}
	if len(names) == 0 {
		return shown(s.path)
	}
	return strings.Join(names, ", ")
}

// locate collects the paths of the topmost sections that r covers whole, and of
// the deepest ones that hold what it covers in part.
func locate(s, parent *Section, path string, r ledger.Range, out []string) []string {
	ks := kids(s, parent)
	hit := false
	for i := sort.Search(len(ks), func(i int) bool { return ks[i].End() > r.Off }); i < len(ks) && ks[i].Off < r.End(); i++ {
		c := &ks[i]
		if c.Len == 0 {
			continue
		}
		hit = true
		p := join(path, c)
		if r.Contains(c.Range()) && !c.Bunch {
			out = append(out, p)
		} else {
			out = locate(c, s, p, r, out)
		}
	}
	if !hit {
		out = append(out, shown(path))
	}
	return out
}

// label names the parts of a raw image by the sections and functions of the
// reference that a symbol file tells.
func (w *walker) label() {
	lb := w.opt.Labels
	var out []ledger.Entry
	at := int64(0) // how far the reference is used
	for _, e := range w.s.entries {
		inOrder := e.Op != ledger.OpNone && e.Op != ledger.OpMove
		if inOrder {
			at = e.Ref.Off
		}
		if e.Path != "" {
			out = append(out, e)
			continue
		}
		for {
			name, in := lb.Section(at)
			e.Path = name
			if e.Op != ledger.OpCopy || in.End() >= e.Ref.End() || in.End() <= e.Ref.Off {
				break
			}
			n := in.End() - e.Ref.Off
			head := e
			head.Ref.Len, head.Dep.Len = n, n
			out = append(out, head)
			e.Ref, e.Dep = cut(e.Ref, n), cut(e.Dep, n)
			at = e.Ref.Off
		}
		if !inOrder && e.Note == "" {
			if fn, delta := lb.Function(at); fn != "" {
				e.Note = fmt.Sprintf("in %s+0x%x", Escape(fn), delta)
			}
		}
		out = append(out, e)
		if inOrder {
			at = e.Ref.End()
		} else {
			at += e.Dep.Len // as long as nothing says otherwise, bytes stand for bytes
		}
	}
	w.s.entries = out
}
