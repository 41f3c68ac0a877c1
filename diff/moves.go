package diff

import (
	"fmt"
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
	whole := ledger.Range{Len: w.s.ref.size}
	ix, err := w.al.index(whole, coarse)
	if err != nil {
		return err
	}
	var out []ledger.Entry
	for _, e := range w.s.entries {
		if e.Op != ledger.OpNone || e.Dep.Len < minMove {
			out = append(out, e)
			continue
		}
		found, err := w.al.find(ix, whole, e.Dep)
		if err != nil {
			return err
		}
		rest := e
		for _, m := range found {
			if n := m.dep - rest.Dep.Off; n > 0 {
				head := rest
				head.Dep.Len = n
				out = append(out, head)
			}
			moved := rest
			moved.Dep = ledger.Range{Off: m.dep, Len: m.n}
			moved.Op, moved.From, moved.Ref = ledger.OpMove, w.k, ledger.Range{Off: m.ref, Len: m.n}
			moved.Note = fmt.Sprintf("stands in the reference at 0x%x, %s", m.ref, w.name(w.s, moved.Ref))
			out = append(out, moved)
			rest.Dep = cut(rest.Dep, m.dep+m.n-rest.Dep.Off)
		}
		if rest.Dep.Len > 0 {
			out = append(out, rest)
		}
	}
	w.s.entries = out
	return nil
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
	for i := range ks {
		c := &ks[i]
		if c.Len == 0 || c.End() <= r.Off || c.Off >= r.End() {
			continue
		}
		hit = true
		p := join(path, c)
		if r.Contains(c.Range()) {
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
