package verify

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/assaylab/assay/diff/ledger"
	"github.com/assaylab/assay/verify/signature"
)

// CheckReport holds the report of an evidence folder against the ledger beside it
// and against itself, without the images: the ledger must be whole and add up, the
// report must be what the ledger gives, and what it says of signatures must bear
// its verdict. Without a ledger nothing is accepted. That the ledger is true of two
// images only [Recheck] says. The error is ErrEvidence if the report does not hold.
func CheckReport(dir string, r *Report) error {
	f, err := openLedger(dir)
	if err != nil {
		return err
	}
	if f == nil {
		return agrees(r, nil)
	}
	defer f.Close()
	l, _, err := ledger.Decode(f)
	if errors.Is(err, ledger.ErrInvalid) {
		return fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	if err != nil {
		return err
	}
	if err := addsUp(l); err != nil {
		return unsound("%s: %v", LedgerFile, err)
	}
	return agrees(r, l)
}

// agrees holds a stored report against the ledger, judged anew, or against what
// a run without one reports.
func agrees(r *Report, l *ledger.Ledger) error {
	if err := r.checkSignatures(); err != nil {
		return err
	}
	if err := r.checkReplay(l); err != nil {
		return err
	}
	again, sum, source := newReport(r.Policy, Options{}), "", "the ledger"
	again.Reference.Size, again.Deployed.Size = r.Reference.Size, r.Deployed.Size
	if l != nil {
		again.judge(l)
		digest, err := l.Encode(io.Discard)
		if err != nil {
			return err
		}
		sum = hex.EncodeToString(digest[:])
	} else {
		switch {
		case r.Verdict.ExitCode() == ExitAccepted || r.Ledger != "":
			return unsound("its verdict is %s and there is no ledger", r.Verdict)
		case len(r.Reasons) == 0:
			return unsound("there is no ledger, and no reason why")
		case r.Reference.Size < 0 || r.Deployed.Size < 0:
			return unsound("the size of an image is negative")
		}
		again.undecided(r.Reasons[0])
		source = "a run without a ledger"
	}
	other := false // whether something besides the bytes made the verdict worse
	var findings []Finding
	for _, f := range r.Findings {
		if f.Kind == KindInput || f.Kind == KindSignature {
			other = true
			continue
		}
		f.Excerpt = nil
		findings = append(findings, f)
	}
	want := again.Verdict
	if other {
		want = Rejected
	}
	switch {
	case r.Ledger != sum:
		return unsound("the report is about another ledger")
	case r.Verdict != want:
		return unsound("its verdict is %s, %s gives %s", r.Verdict, source, want)
	case r.Verdict.ExitCode() == ExitAccepted && len(r.Findings)+len(r.Reasons) > 0:
		return unsound("its verdict is %s, and it has findings or reasons against that", r.Verdict)
	case !containsAll(r.Reasons, again.Reasons):
		return unsound("its reasons are not those of %s", source)
	case r.Totals != again.Totals || r.FreeBits != again.FreeBits:
		return unsound("its totals are not those of %s", source)
	case l != nil && (r.Deployed.Size != l.Deployed.Size || r.Deployed.SHA256 != hex.EncodeToString(l.Deployed.Sum[:])):
		return unsound("the report names another deployed image")
	case l != nil && (r.Reference.Size != l.Reference.Size || r.Reference.SHA256 != hex.EncodeToString(l.Reference.Sum[:])):
		return unsound("the report names another reference")
	case l != nil && r.Reference.Kind != r.Deployed.Kind && !r.finds(KindInput):
		return unsound("its reference is a %.40q and its deployed image a %.40q, and the verdict does not say so", r.Reference.Kind, r.Deployed.Kind)
	case len(findings) != len(again.Findings) || len(findings) > 0 && !reflect.DeepEqual(findings, again.Findings):
		return unsound("its findings are not those of %s", source)
	case len(r.Explanations) != len(again.Explanations) || len(r.Explanations) > 0 && !reflect.DeepEqual(r.Explanations, again.Explanations):
		return unsound("its explanations are not those of %s", source)
	case len(r.Sections) != len(again.Sections) || len(r.Sections) > 0 && !reflect.DeepEqual(r.Sections, again.Sections):
		return unsound("its table of sections is not that of %s", source)
	}
	return nil
}

// containsAll says whether every one of want is in have: a run may have reasons
// besides those in the bytes.
func containsAll(have, want []string) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return true
}

// finds says whether the report has a finding of a kind.
func (r *Report) finds(kind string) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind == kind })
}

// checkSignatures holds what a stored report says of signatures against itself.
func (r *Report) checkSignatures() error {
	for _, side := range sides {
		if rule := *r.Signers.rule(side); rule != nil && !rule.definite() {
			return unsound("signers: %s: there must be one of all, any and exactly, with at least one name", side)
		}
	}
	bad := func(i int, format string, args ...any) error {
		return unsound("signatures[%d]: %s", i, fmt.Sprintf(format, args...))
	}
	first := map[string]*Signature{} // of each name
	for i := range r.Signatures {
		s := &r.Signatures[i]
		if !slices.Contains(sides, s.Over) {
			return bad(i, "it is over %.40q, not one of %s", s.Over, strings.Join(sides, ", "))
		}
		switch f := first[s.Name]; {
		case s.Name == "" && !s.Stranger:
			return bad(i, "it has no name")
		case s.Name == "":
		case f == nil:
			first[s.Name] = s
		case s.Image == "" || f.Image != s.Image || f.Over != s.Over: // beside one image, an entry finds many
			return bad(i, "the name %.100q is taken", s.Name)
		}
		if err := s.checkSteps(); err != nil {
			return bad(i, "%v", err)
		}
		if !s.OK {
			continue
		}
		about := s.Artifact.SHA256
		switch {
		case s.Stranger:
			return bad(i, "it holds, and is nobody's")
		case s.Foreign && !r.finds(KindSignature):
			return bad(i, "it is over other bytes, and the verdict does not say so")
		case s.Foreign:
		case s.Image != "" && s.Image != "sha256:"+about,
			s.Image == "" && s.Over == "deployed" && about != r.Deployed.SHA256,
			s.Image == "" && s.Over == "reference" && about != r.Reference.SHA256:
			return bad(i, "it is over sha256:%.64q, which is not the %s", about, thing(s.Over))
		}
	}
	if len(r.Signers.unsatisfied(r.Signatures)) > 0 && !r.finds(KindSignature) {
		return unsound("its signatures do not satisfy its signers, and the verdict does not say so")
	}
	return nil
}

// checkSteps demands the whole table of steps, one that bears OK. Where nothing was
// there to verify there is no table but a reason.
func (s *Signature) checkSteps() error {
	if len(s.Steps) == 0 && len(s.Reasons) > 0 && !s.OK {
		return nil
	}
	names, always := signature.StepNames(), signature.Always()
	if len(s.Steps) != len(names) {
		return fmt.Errorf("it has %d steps of %d", len(s.Steps), len(names))
	}
	for i, step := range s.Steps {
		switch {
		case step.Name != names[i]:
			return fmt.Errorf("its step %d is %.40q, not %s", i+1, step.Name, names[i])
		case !s.OK || step.Outcome == signature.Pass:
		case step.Outcome == signature.Fail:
			return fmt.Errorf("it holds, and its step %s failed", step.Name)
		case slices.Contains(always, step.Name):
			return fmt.Errorf("it holds, and its step %s did not pass", step.Name)
		}
	}
	return nil
}

// addsUp demands of a stored ledger what can be seen without the images: that its
// entries tile every deployed stream and bear their verdicts, and that its totals
// are those of its entries. What passes can be judged.
func addsUp(l *ledger.Ledger) error {
	length := func(stream int) (ref, dep int64) {
		if stream == 0 {
			return l.Reference.Size, l.Deployed.Size
		}
		return l.Streams[stream-1].RefLen, l.Streams[stream-1].DepLen
	}
	left := l.FreeBits
	pay := func(bits int64) bool {
		if bits < 0 || bits > left {
			return false
		}
		left -= bits
		return true
	}
	for i := range l.Premises {
		p := &l.Premises[i]
		if bits, err := p.Price(); err != nil || bits != p.Bits || !pay(bits) {
			return fmt.Errorf("premise %d has another price, or is none", i+1)
		}
	}
	at := 0
	for k := range 1 + len(l.Streams) {
		refLen, depLen := length(k)
		if refLen < 0 || depLen < 0 || k > 0 && !pay(l.Streams[k-1].Bits) {
			return fmt.Errorf("stream %d: a length or a price that cannot be", k)
		}
		end := int64(0)
		for ; at < len(l.Entries) && l.Entries[at].Stream == k; at++ {
			e := &l.Entries[at]
			switch {
			case e.Dep.Off != end || e.Dep.Len < 0 || e.Dep.Len > depLen-end || e.Ref.Off < 0 || e.Ref.Len < 0:
				return fmt.Errorf("entry %d does not begin where the one before it ends, or reaches past its stream", at)
			case e.Op == ledger.OpCarry && (e.Carry <= k || e.Carry > len(l.Streams)):
				return fmt.Errorf("entry %d carries stream %d", at, e.Carry)
			case !pay(e.Bits):
				return fmt.Errorf("the bits of entry %d are not among those that are free in all", at)
			case !bears(e):
				return fmt.Errorf("entry %d: operation %.20q does not bear the verdict %s", at, e.Op, e.Verdict)
			}
			end = e.Dep.End()
		}
		if end != depLen {
			return fmt.Errorf("stream %d: accounted for %d of %d bytes", k, end, depLen)
		}
	}
	if at != len(l.Entries) {
		return fmt.Errorf("entry %d is of stream %d, which is out of order or not there", at, l.Entries[at].Stream)
	}
	classes, worst := Classes{}, worstOf(l)
	for i := range l.Entries {
		e := &l.Entries[i]
		if e.Stream > 0 {
			break
		}
		classes.add(entryClass(e, worst), e.Dep.Len)
	}
	totals := ledger.Totals{
		Identical: classes.Identical, Moved: classes.Moved, Explained: classes.Explained,
		Carried: classes.Carried, Unexplained: classes.Unexplained,
	}
	last := ledger.Hole{}
	for i, m := range l.Missing {
		if m.Stream < last.Stream || m.Stream > len(l.Streams) {
			return fmt.Errorf("missing %d is of stream %d, which is out of order or not there", i, m.Stream)
		}
		from := int64(0)
		if m.Stream == last.Stream {
			from = last.Ref.End()
		}
		if refLen, _ := length(m.Stream); m.Ref.Off < from || m.Ref.Len <= 0 || m.Ref.Len > refLen-m.Ref.Off {
			return fmt.Errorf("missing %d is out of order, or reaches past its stream", i)
		}
		if totals.Missing += m.Ref.Len; totals.Missing < 0 {
			return fmt.Errorf("missing %d: more is missing than there can be", i)
		}
		last = m
	}
	if totals != l.Totals {
		return errors.New("its totals are not those of its entries")
	}
	return nil
}

// bears says whether an entry's operation can come to its verdict.
func bears(e *ledger.Entry) bool {
	proof := false
	switch e.Op {
	case ledger.OpTime, ledger.OpUUID, ledger.OpNumber, ledger.OpSum, ledger.OpFill:
		proof = true
	}
	if proof != (e.Spec != nil) {
		return false
	}
	switch e.Verdict {
	case ledger.Identical:
		return proof || e.Op == ledger.OpCopy && e.Ref.Len == e.Dep.Len
	case ledger.Carried:
		return e.Op == ledger.OpCarry
	case ledger.Explained:
		return proof
	case ledger.Moved:
		return e.Op == ledger.OpMove
	}
	return true
}
