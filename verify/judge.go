package verify

import (
	"fmt"
	"slices"
	"sort"

	"github.com/assaylab/assay/diff/explain"
	"github.com/assaylab/assay/diff/ledger"
)

// A Judgement is what a policy makes of a checked ledger.
type Judgement struct {
	Verdict      Verdict
	Reasons      []string
	Findings     []Finding
	Explanations []Explanation
	Sections     []Section
}

// Judge holds a ledger that has passed Check against a policy. It depends on
// the ledger and the policy alone, so that stored evidence is judged again.
func Judge(l *ledger.Ledger, p Policy) Judgement {
	j := &judge{l: l, p: p, roots: l.Roots(), worst: worstOf(l), budget: make([]int64, len(p.Rules))}
	for i, r := range p.Rules {
		j.budget[i] = r.FreeBits
	}
	j.premises()
	j.entries()
	j.encodings()
	j.missing()
	j.bits()
	sortFindings(j.Findings)
	j.sections()
	j.decide()
	return j.Judgement
}

type judge struct {
	Judgement
	l      *ledger.Ledger
	p      Policy
	roots  []ledger.Range
	worst  []ledger.Verdict // of each stream
	budget []int64          // what is left of each allowance
	uses   [][]int          // of each stream: the entries that use its reference, in order

	refused []*ledger.Entry // checksums that do not fit, the first few

	against, limited int64 // findings that reject; bytes that stay undecided
}

// maxRefused bounds the checksums that explained fields are held against.
const maxRefused = 64

// find takes a finding about bytes of a deployed stream, or about what a derived
// one lacks.
func (j *judge) find(f Finding) {
	root := j.roots[f.Stream]
	if f.Stream == 0 {
		root = ledger.Range{Off: f.Offset, Len: f.Length}
	}
	f.RootOffset, f.RootLength = &root.Off, &root.Len
	j.add(f)
}

func (j *judge) add(f Finding) {
	j.Findings = append(j.Findings, f)
	if f.Kind == KindLimit {
		j.limited += f.Length
	} else {
		j.against++
	}
}

// ReplayRule is the name of the rule that a policy allows counterfactual rebuilds by;
// the path of what it explains is the root, ".".
const ReplayRule = "rebuild"

// premises lists what the reference was built with, as one explanation of the whole
// image for each value.
func (j *judge) premises() {
	whole := ledger.Range{Len: j.l.Deployed.Size}
	for i := range j.l.Premises {
		p := &j.l.Premises[i]
		j.Explanations = append(j.Explanations, Explanation{
			Rule: ReplayRule, Path: ".", Length: whole.Len, Bits: p.Bits, Because: because(p),
		})
		if why := j.disallows(ReplayRule, ".", p.Bits); why != "" {
			j.find(Finding{Kind: KindDisallowed, Path: ".", Length: whole.Len, Message: why})
		}
	}
}

// because says what a premise proves, and what not.
func because(p *ledger.Premise) string {
	what := p.Factor
	if p.Tool != "" {
		what = fmt.Sprintf("the version of %s", p.Tool)
	}
	plain := fmt.Sprintf("%q", p.Plain)
	if p.Plain == "" {
		plain = "nothing"
	}
	return fmt.Sprintf("the reference was built again with %s %q, as the deployed image shows it, in place of %s; "+
		"builds with other values of its length differ where they stand and nowhere else, one like the plain value among them. "+
		"It shows that the image is what source, tools and this value give, not that the vendor had it, nor what it means when the image runs", what, p.Value, plain)
}

func (j *judge) entries() {
	for i := range j.l.Entries {
		e := &j.l.Entries[i]
		if e.Op == ledger.OpSum && e.Verdict == ledger.Unexplained && len(j.refused) < maxRefused {
			j.refused = append(j.refused, e)
		}
	}
	var last *ledger.Entry // of the finding made last
	for i := range j.l.Entries {
		e := &j.l.Entries[i]
		f := Finding{Path: e.Path, Offset: e.Dep.Off, Length: e.Dep.Len, Stream: e.Stream}
		switch e.Verdict {
		case ledger.Identical, ledger.Carried:
			continue
		case ledger.Explained:
			j.Explanations = append(j.Explanations, Explanation{
				Rule: e.Rule, Path: e.Path, Offset: e.Dep.Off, Length: e.Dep.Len, Stream: e.Stream,
				Bits: e.Bits, Because: e.Note,
			})
			if why := j.disallowed(e); why != "" {
				f.Kind, f.Message = KindDisallowed, why
				j.find(f)
			}
			continue
		case ledger.Moved:
			f.Kind, f.Message = KindMoved, e.Note
		default:
			f.Kind, f.Message = KindUnexplained, e.Note
			if e.Note == "" {
				f.Message = "nothing accounts for these bytes"
			}
		}
		if e.Limit != "" {
			f.Kind = KindLimit
			f.Message = fmt.Sprintf("differs inside a layer that the limit on %s kept closed", e.Limit)
		}
		if n := len(j.Findings); last != nil && last.Dep.End() == e.Dep.Off && last.Stream == e.Stream {
			if g := &j.Findings[n-1]; g.Kind == f.Kind && g.Path == f.Path && g.Message == f.Message {
				g.Length += f.Length
				if f.Stream == 0 {
					*g.RootLength += f.Length
				}
				last = e
				continue
			}
		}
		j.find(f)
		last = e
	}
}

// proposes says whether the rule an entry names could have proposed it, at a
// place or in text: policies have budgets for rules, and what a stored ledger
// says of itself is only words.
func proposes(e *ledger.Entry) bool {
	for _, r := range explain.All() {
		if r.Name == e.Rule {
			return e.Place != nil && slices.Contains(r.Ops, e.Op) || e.Place == nil && r.Scan != nil && r.Text == e.Op
		}
	}
	return false
}

func (j *judge) disallowed(e *ledger.Entry) string {
	if !proposes(e) {
		return fmt.Sprintf("operation %s is not what the rule %q proposes", e.Op, e.Rule)
	}
	for _, sum := range j.refused {
		if sum.Stream != e.Stream {
			continue
		}
		for _, o := range sum.Spec.Over {
			if !o.Inner && o.Contains(e.Ref) {
				return fmt.Sprintf("explained by %s, but the checksum %s that covers it does not fit", e.Rule, sum.Path)
			}
		}
	}
	return j.disallows(e.Rule, e.Path, e.Bits)
}

// disallows says why the policy does not allow a rule at a place, or nothing.
func (j *judge) disallows(rule, at string, bits int64) string {
	if !j.p.Explained {
		return fmt.Sprintf("explained by %s, and policy %s allows no difference", rule, j.p.Name)
	}
	i, ok := j.p.allows(rule, at)
	if !ok {
		return fmt.Sprintf("policy %s does not allow the rule %s here", j.p.Name, rule)
	}
	if i >= 0 {
		if j.budget[i] -= bits; j.budget[i] < 0 {
			return fmt.Sprintf("policy %s allows %d free bits for the rule %s here", j.p.Name, j.p.Rules[i].FreeBits, rule)
		}
	}
	return ""
}

// encodings finds carriers that no encoder reproduced, and for a policy that
// allows no difference those that differ at all.
func (j *judge) encodings() {
	for i := range j.l.Entries {
		e := &j.l.Entries[i]
		if e.Op != ledger.OpCarry {
			continue
		}
		s := &j.l.Streams[e.Carry-1]
		f := Finding{Path: e.Path, Offset: e.Dep.Off, Length: e.Dep.Len, Stream: e.Stream}
		switch {
		case !s.Reproduced:
			f.Kind = KindEncoding
			f.Message = fmt.Sprintf("no %s encoder here makes these bytes of what they decode to, so they may hide something", s.Codec)
		case !j.p.Explained:
			f.Kind = KindDisallowed
			f.Message = fmt.Sprintf("another encoding, and policy %s allows no difference", j.p.Name)
		default:
			continue
		}
		j.find(f)
	}
}

// missing lists what of the reference nothing uses. Beside a layer that a limit
// kept closed it is undecided like the layer.
func (j *judge) missing() {
	for _, m := range j.l.Missing {
		f := Finding{
			Kind: KindMissing, Path: m.Path, Offset: m.Ref.Off, Length: m.Ref.Len, Stream: m.Stream,
			Message: "bytes of the reference that the deployed image does not have",
		}
		if limit := j.limitAt(m); limit != "" {
			f.Kind = KindLimit
			f.Message = fmt.Sprintf("reference bytes not found inside a layer that the limit on %s kept closed", limit)
		}
		if m.Stream == 0 {
			j.add(f) // the deployed image has no place for them
			continue
		}
		j.find(f)
	}
}

// limitAt returns the limit that kept the layer around a hole closed. All
// entries of such a layer name it: those between the two that use the reference
// on either side of the hole or, where there are none, these two.
func (j *judge) limitAt(m ledger.Hole) string {
	es := j.l.Entries
	if j.uses == nil {
		j.uses = make([][]int, len(j.roots))
		for i := range es {
			if e := &es[i]; e.Verdict != ledger.Unexplained && e.Verdict != ledger.Moved {
				j.uses[e.Stream] = append(j.uses[e.Stream], i)
			}
		}
	}
	uses := j.uses[m.Stream]
	k := sort.Search(len(uses), func(k int) bool { return es[uses[k]].Ref.Off >= m.Ref.End() })
	lo := sort.Search(len(es), func(i int) bool { return es[i].Stream >= m.Stream })
	hi := sort.Search(len(es), func(i int) bool { return es[i].Stream > m.Stream })
	around := make([]int, 0, 2)
	if k > 0 {
		lo = uses[k-1] + 1
		around = append(around, uses[k-1])
	}
	if k < len(uses) {
		hi = uses[k]
		around = append(around, uses[k])
	}
	limit := ""
	for i := lo; i < hi; i++ {
		if limit = es[i].Limit; limit == "" {
			return ""
		}
	}
	if lo < hi {
		return limit
	}
	for _, i := range around {
		if limit = es[i].Limit; limit == "" {
			return ""
		}
	}
	return limit
}

// bits holds what is free outside the layers that a limit kept closed against
// the policy; inside them, nothing is known to be free.
func (j *judge) bits() {
	free := j.l.FreeBits
	for i := range j.l.Entries {
		if e := &j.l.Entries[i]; e.Limit != "" && e.Verdict == ledger.Unexplained {
			free -= e.Bits
		}
	}
	if j.p.Explained && j.against == 0 && free > j.p.FreeBits {
		j.find(Finding{
			Kind: KindDisallowed, Path: ".", Length: j.l.Deployed.Size,
			Message: fmt.Sprintf("%d bits are free in all, policy %s allows %d", free, j.p.Name, j.p.FreeBits),
		})
	}
}

var kindRank = map[string]int{
	KindInput: 0, KindSignature: 1, KindUnexplained: 2, KindMissing: 3,
	KindMoved: 4, KindEncoding: 5, KindDisallowed: 6, KindLimit: 7,
}

// sortFindings puts the worst first: by kind, then the longest, then in order.
func sortFindings(fs []Finding) {
	sort.SliceStable(fs, func(a, b int) bool {
		x, y := &fs[a], &fs[b]
		switch {
		case kindRank[x.Kind] != kindRank[y.Kind]:
			return kindRank[x.Kind] < kindRank[y.Kind]
		case x.Length != y.Length:
			return x.Length > y.Length
		case x.Stream != y.Stream:
			return x.Stream < y.Stream
		}
		return x.Offset < y.Offset
	})
}

// worstOf returns the worst that each deployed stream carries.
func worstOf(l *ledger.Ledger) []ledger.Verdict {
	out := make([]ledger.Verdict, 1+len(l.Streams))
	for k := range out {
		out[k] = ledger.Identical
	}
	for i := len(l.Entries) - 1; i >= 0; i-- {
		e := &l.Entries[i]
		if v := entryClass(e, out); classRank[v] > classRank[out[e.Stream]] {
			out[e.Stream] = v
		}
	}
	return out
}

var classRank = [...]int{ledger.Identical: 0, ledger.Carried: 1, ledger.Explained: 2, ledger.Moved: 3, ledger.Unexplained: 4}

func entryClass(e *ledger.Entry, worst []ledger.Verdict) ledger.Verdict {
	if e.Op == ledger.OpCarry && classRank[worst[e.Carry]] > classRank[e.Verdict] {
		return worst[e.Carry]
	}
	return e.Verdict
}

// add counts n bytes of a verdict.
func (c *Classes) add(v ledger.Verdict, n int64) {
	switch v {
	case ledger.Identical:
		c.Identical += n
	case ledger.Carried:
		c.Carried += n
	case ledger.Explained:
		c.Explained += n
	case ledger.Moved:
		c.Moved += n
	default:
		c.Unexplained += n
	}
}

func (j *judge) sections() {
	type key struct {
		stream int
		path   string
	}
	at := map[key]int{}
	for i := range j.l.Entries {
		e := &j.l.Entries[i]
		if e.Stream > 0 && e.Op == ledger.OpCarry && e.Dep.Len == j.l.Streams[e.Stream-1].DepLen {
			continue // a piece of another stream and nothing else: it is shown there
		}
		k := key{e.Stream, e.Path}
		n, ok := at[k]
		if !ok {
			n = len(j.Sections)
			at[k] = n
			j.Sections = append(j.Sections, Section{Stream: e.Stream, Path: e.Path})
		}
		s := &j.Sections[n]
		s.Size += e.Dep.Len
		s.FreeBits += e.Bits
		s.add(entryClass(e, j.worst), e.Dep.Len)
	}
}

// decide reaches the verdict on the bytes. It starts from the accusation and
// leaves it only for a reason.
func (j *judge) decide() {
	l := j.l
	switch {
	case len(l.Premises) == 0 && l.Reference == l.Deployed && l.Totals.Identical == l.Deployed.Size && l.Totals.Missing == 0:
		j.Verdict = Identical
	case j.against > 0:
		n := map[string]int{}
		for _, f := range j.Findings {
			n[f.Kind]++
		}
		for _, kind := range []string{KindUnexplained, KindMissing, KindMoved, KindEncoding, KindDisallowed} {
			if n[kind] > 0 {
				j.Reasons = append(j.Reasons, fmt.Sprintf("findings of kind %s: %d", kind, n[kind]))
			}
		}
	case j.limited > 0:
		j.Verdict = Undecided
		j.Reasons = append(j.Reasons, "a limit kept a layer closed that differs")
	case l.Totals.Unexplained == 0 && l.Totals.Moved == 0 && l.Totals.Missing == 0 && j.p.Explained:
		j.Verdict = Explained
	default:
		j.Reasons = append(j.Reasons, "the images differ")
	}
}
