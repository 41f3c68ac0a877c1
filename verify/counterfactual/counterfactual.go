// Package counterfactual looks for a build that gives the deployed image: the same
// recipe, with values put in that stand in the image.
//
// Where reference and deployed image differ, the difference may be the name of a
// machine, a date or the revision of a compiler, and what follows from it: one longer
// string moves a hundred thousand bytes. No rule about bytes explains that, and none
// need: set the value, build again, and compare.
//
//  1. A probe, one build with a marked value in each place that a build can depend on,
//     shows where these values come to stand and what stands around them.
//  2. The same surroundings in the deployed image hold the values that its build had.
//  3. A build with these values replaces the reference if it leaves less unexplained.
//  4. Two or three more builds, with other values of the same length, must differ from it
//     where the values stand, and nowhere else ([ledger.Ledger.Inert]). One of them has
//     what the plain build has, cut or filled up to that length.
//  5. A control, a build with other values of the plain ones' length, must differ from the
//     plain build in the same way: that a value is put in at all changes nothing.
//
// # The adversary
//
// chose the values. He can write whatever he likes where a compiler's version stands.
// So a value is a word of a strict grammar, which the kernel prices; it is data to
// everything on its way into the build; and a build in which it does more than stand
// there, say because a script drops a flag for that very version, is not taken for the
// reference, even if it gives the deployed image to the last byte.
package counterfactual

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/ledger"
	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/reference/sandbox"
)

// thirds is how many builds show at least that the values are inert.
const thirds = 3

// A Question is what Search answers: which values make a build of Builder's recipe
// give Deployed.
type Question struct {
	Builder  *reference.Builder
	Plain    *reference.Build // a build without settings
	Output   int              // of the recipe's outputs
	Deployed diff.Image
	Left     int64 // bytes that the plain build leaves unexplained, moved or missing
	Rebuilds int   // how many may be made
	Engine   diff.Options
	Say      func(string)
}

// An Answer is the nearest build that was found.
type Answer struct {
	Build    *reference.Build // nil: none is nearer than the plain one
	Premises []ledger.Premise // what it was built with
	Inert    []Inert          // what shows that they are inert
	Control  *Inert           // and that they are put in at all; against the plain build
	Rebuilds int              // how many were made
	Notes    []string         // what was seen and not taken, and why
}

// An Inert is a build with other values, and the account of it against the nearest.
type Inert struct {
	Build  *reference.Build
	Values []string // of the premises, in their order
	Ledger *ledger.Ledger
}

// errSpent says that no more rebuilds are allowed.
var errSpent = errors.New("no more rebuilds are allowed")

// Search makes builds until one gives the deployed image, or none is left to try. An
// error is trouble, never an answer; a build that fails under some values is none.
func Search(ctx context.Context, q Question) (*Answer, error) {
	s := &search{ctx: ctx, q: q, answer: &Answer{}, left: q.Rebuilds}
	if s.q.Say == nil {
		s.q.Say = func(string) {}
	}
	err := s.run()
	if errors.Is(err, errSpent) {
		s.note("the limit of %d rebuilds is spent", q.Rebuilds)
		err = nil
	}
	s.answer.Rebuilds = q.Rebuilds - s.left
	return s.answer, err
}

type search struct {
	ctx    context.Context
	q      Question
	answer *Answer
	left   int // rebuilds
	made   map[string]int
	tools  []toolGroup
}

func (s *search) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(s.answer.Notes, text) && len(s.answer.Notes) < maxNotes {
		s.answer.Notes = append(s.answer.Notes, text)
	}
}

const maxNotes = 50

func (s *search) run() error {
	if s.left < 1+1+thirds {
		s.note("%d rebuilds are allowed, and no search takes less than %d: a probe, a build, and %d that show the values to be inert", s.left, 2+thirds, thirds)
		return nil
	}
	found, err := s.candidates()
	if err != nil {
		return err
	}
	if len(found) == 0 {
		s.note("the deployed image shows no value that a build could be made with")
		return nil
	}
	best, err := s.nearest(found)
	if err != nil || best == nil {
		return err
	}
	return s.prove(best)
}

// A try is one build with values of the deployed image.
type try struct {
	premises []ledger.Premise
	build    *reference.Build
	left     int64 // bytes not accounted for
}

// build makes one build of a kind, under the premises. It is nil where the build fails.
func (s *search) build(kind string, settings []reference.Setting) (*reference.Build, error) {
	if s.left == 0 {
		return nil, errSpent
	}
	s.left--
	if s.made == nil {
		s.made = map[string]int{}
	}
	s.made[kind]++
	name := fmt.Sprintf("%s-%d", kind, s.made[kind])
	text := make([]string, len(settings))
	for i, set := range settings {
		text[i] = set.String()
	}
	s.q.Say(fmt.Sprintf("%s: built with %s", name, strings.Join(text, " ")))
	made, err := s.q.Builder.Build(s.ctx, name, settings)
	var failed *sandbox.FailedError
	var limit *sandbox.LimitError
	if errors.As(err, &failed) || errors.As(err, &limit) {
		s.q.Say(fmt.Sprintf("%s: %v", name, err))
		s.note("%s, with %s, failed: %v", name, strings.Join(text, " "), err)
		return nil, nil
	}
	return made, err
}

// account compares the output of a build with an image.
func (s *search) account(b *reference.Build, dep diff.Image, premises []ledger.Premise) (*ledger.Ledger, error) {
	f, size, err := open(b.Output(s.q.Output))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	o := s.q.Engine
	o.Premises, o.Progress, o.Labels = premises, nil, nil
	res, err := diff.Compare(s.ctx, diff.Image{Name: b.Outputs[s.q.Output].Name, ReaderAt: f, Size: size}, dep, o)
	if err != nil {
		return nil, err
	}
	return res.Ledger, nil
}

func open(name string) (*os.File, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, fi.Size(), nil
}

// Left is what a ledger does not account for, in bytes of both images.
func Left(l *ledger.Ledger) int64 {
	left := l.Totals.Unexplained + l.Totals.Moved + l.Totals.Missing
	for i := range l.Entries {
		if e := &l.Entries[i]; e.Op == ledger.OpCarry && !l.Streams[e.Carry-1].Reproduced {
			left += e.Dep.Len
		}
	}
	return left
}

// nearest builds with what was found, all of it first, then with each value that has
// a rival in its place, and keeps the build that leaves the least.
func (s *search) nearest(found []candidate) (*try, error) {
	choice := map[string]int{}
	best := &try{left: s.q.Left}
	attempt := func() error {
		t := &try{}
		for _, c := range found {
			if n, ok := choice[c.name]; !ok || n >= 0 {
				t.premises = append(t.premises, c.premises[max(n, 0)])
			}
		}
		if len(t.premises) == 0 {
			return nil
		}
		slices.SortFunc(t.premises, func(a, b ledger.Premise) int { return cmp.Compare(nameOf(a), nameOf(b)) })
		if s.left <= thirds {
			return errSpent
		}
		made, err := s.build("replay", settings(t.premises))
		if err != nil || made == nil {
			return err
		}
		t.build = made
		l, err := s.account(made, s.q.Deployed, t.premises)
		var limit *diff.LimitError
		if errors.As(err, &limit) {
			s.note("%s was not compared: %v", made.Name, limit)
			return nil
		}
		if err != nil {
			return err
		}
		t.left = Left(l)
		s.q.Say(fmt.Sprintf("%s: %d bytes of %d are not accounted for", made.Name, t.left, l.Deployed.Size))
		if t.left >= best.left {
			s.discard(made)
			return nil
		}
		if best.build != nil {
			s.discard(best.build)
		}
		best = t
		return nil
	}
	err := attempt()
	for i := 0; err == nil && i < len(found) && best.left > 0; i++ {
		c := &found[i]
		kept := choice[c.name]
		for n := 1; err == nil && n < len(c.premises) && best.left > 0; n++ {
			before := best.left
			choice[c.name] = n
			if err = attempt(); best.left < before {
				kept = n
			}
		}
		choice[c.name] = kept
	}
	// Every value alone: one that spoils the build would hide what another explains.
	if err == nil && best.build == nil && len(found) > 1 {
		for i := range found {
			clear(choice)
			for k := range found {
				choice[found[k].name] = -1
			}
			choice[found[i].name] = 0
			if err = attempt(); err != nil || best.left == 0 {
				break
			}
		}
	}
	if err != nil && !errors.Is(err, errSpent) {
		return nil, err
	}
	if err != nil && best.left > 0 {
		s.note("the limit of %d rebuilds was spent before every value was tried", s.q.Rebuilds)
	}
	if best.build == nil {
		s.note("no build with the values that the deployed image shows is nearer to it than the plain one")
		return nil, nil
	}
	return best, nil
}

// discard removes what a build made: its log tells that it was made.
func (s *search) discard(b *reference.Build) { b.Remove() }

// settings are those that a build is made with under premises.
func settings(premises []ledger.Premise) []reference.Setting {
	var out []reference.Setting
	for _, p := range premises {
		if p.Factor == "path" && p.Value == p.Plain {
			continue // it lies there
		}
		if p.Tool == "" {
			out = append(out, reference.Setting{Factor: p.Factor, Value: p.Value})
			continue
		}
		for _, tool := range strings.Split(p.Tool, ",") {
			out = append(out, reference.Setting{Factor: p.Factor, Tool: tool, Value: p.Value})
		}
	}
	return out
}

func nameOf(p ledger.Premise) string {
	if p.Tool != "" {
		return p.Factor + ":" + p.Tool
	}
	return p.Factor
}

// prove shows that the values of a build are inert, or leaves the plain reference.
func (s *search) prove(best *try) error {
	f, size, err := open(best.build.Output(s.q.Output))
	if err != nil {
		return err
	}
	defer f.Close()
	p := &prover{search: s, best: best, image: ledger.Image{ReaderAt: f, Size: size}, even: -1}
	refusal, err := p.prove()
	if err != nil || refusal == "" {
		if err == nil {
			s.answer.Build, s.answer.Premises, s.answer.Inert, s.answer.Control = best.build, best.premises, p.proofs, p.control
		}
		return err
	}
	text := make([]string, len(best.premises))
	for i, p := range best.premises {
		text[i] = p.String()
	}
	s.note("%s, with %s, leaves %d bytes, but is not taken for the reference: %s", best.build.Name, strings.Join(text, " "), best.left, refusal)
	for _, proof := range p.proofs {
		s.discard(proof.Build)
	}
	if p.control != nil {
		s.discard(p.control.Build)
	}
	s.discard(best.build)
	return nil
}

// A prover makes the builds that show the values of one to be inert.
type prover struct {
	*search
	best    *try
	image   ledger.Image // of the best build
	proofs  []Inert
	control *Inert
	even    int64 // where the byte stands that evens out the sum, -1: nowhere
}

// prove returns why the values are not taken for inert, or nothing.
func (p *prover) prove() (refusal string, err error) {
	demand := ledger.Demand(p.best.premises, false)
	if demand == nil {
		return "there are no two other values to show it inert with", nil
	}
	for n, values := range demand {
		even, refusal, err := p.with(values)
		switch {
		case err != nil || refusal != "":
			return refusal, err
		case n > 0 && even != p.even && even >= 0 && p.even >= 0:
			return fmt.Sprintf("the builds that show it inert differ at 0x%x besides", max(even, p.even)), nil
		}
		p.even = max(p.even, even)
	}
	if p.even >= 0 {
		p.q.Say(fmt.Sprintf("the byte at 0x%x evens out the sum of all: a build with values of the same sum must leave it as it is", p.even))
		if demand = ledger.Demand(p.best.premises, true); demand == nil {
			return fmt.Sprintf("the byte at 0x%x changes with it, and no other value has the same sum", p.even), nil
		}
		even, refusal, err := p.with(demand[2])
		if err == nil && refusal == "" && even >= 0 {
			refusal = fmt.Sprintf("the byte at 0x%x changes with it, and is no checksum", even)
		}
		if err != nil || refusal != "" {
			return refusal, err
		}
	}
	return p.controlled()
}

// with builds with third values, and accounts for that against the best build.
func (p *prover) with(values []string) (even int64, refusal string, err error) {
	proof, f, err := p.other("inert", values)
	if proof == nil || err != nil {
		return -1, "a build with other values fails", err
	}
	defer f.Close()
	p.proofs = append(p.proofs, *proof)
	even = -1
	if err = p.held(proof, f, p.best.build); err == nil {
		even, err = proof.Ledger.Inert(p.ctx, p.image, f.image(), diff.Tools(p.q.Engine), p.best.premises, values)
	}
	p.proofs[len(p.proofs)-1] = *proof
	if refusal, err = refused(err); err != nil || refusal != "" {
		return -1, refusal, err
	}
	p.q.Say(fmt.Sprintf("%s: differs from %s where the values stand, and nowhere else", proof.Build.Name, p.best.build.Name))
	return even, "", nil
}

// controlled builds with other values than the plain ones, and accounts for that
// against the plain build.
func (p *prover) controlled() (refusal string, err error) {
	proof, f, err := p.other("control", ledger.Controls(p.best.premises))
	if proof == nil || err != nil {
		return "a build with other values in the place of the plain ones fails", err
	}
	defer f.Close()
	p.control = proof
	plain, size, err := open(p.q.Plain.Output(p.q.Output))
	if err != nil {
		return "", err
	}
	defer plain.Close()
	even := int64(-1)
	if err = p.held(proof, f, p.q.Plain); err == nil {
		even, err = proof.Ledger.Controlled(p.ctx, ledger.Image{ReaderAt: plain, Size: size}, f.image(), diff.Tools(p.q.Engine), p.best.premises)
	}
	if refusal, err = refused(err); err != nil || refusal != "" {
		if refusal != "" {
			refusal = "that a value is put in at all does more: " + refusal
		}
		return refusal, err
	}
	if even >= 0 && even != p.even {
		return fmt.Sprintf("that a value is put in at all changes the byte at 0x%x", even), nil
	}
	p.q.Say(fmt.Sprintf("%s: differs from %s where the values stand, and nowhere else", proof.Build.Name, p.q.Plain.Name))
	return "", nil
}

// other makes a build of a kind with other values for the premises, and opens its
// output; it is nil where the build fails.
func (p *prover) other(kind string, values []string) (*Inert, *output, error) {
	other := slices.Clone(p.best.premises)
	for i := range other {
		other[i].Value = values[i]
	}
	made, err := p.build(kind, settings(other))
	if err != nil || made == nil {
		return nil, nil, err
	}
	f, size, err := open(made.Output(p.q.Output))
	if err != nil {
		return nil, nil, err
	}
	return &Inert{Build: made, Values: values}, &output{f, size}, nil
}

// An output is what a build made, opened.
type output struct {
	*os.File
	size int64
}

func (o *output) image() ledger.Image { return ledger.Image{ReaderAt: o.File, Size: o.size} }

// held accounts for an output against that of another build.
func (p *prover) held(proof *Inert, f *output, against *reference.Build) (err error) {
	proof.Ledger, err = p.account(against, diff.Image{Name: proof.Build.Outputs[p.q.Output].Name, ReaderAt: f.File, Size: f.size}, nil)
	return err
}

// refused turns an error that is a finding about the values into words.
func refused(err error) (string, error) {
	var limit *diff.LimitError
	if errors.Is(err, ledger.ErrNotInert) || errors.Is(err, ledger.ErrInvalid) || errors.As(err, &limit) {
		return err.Error(), nil
	}
	return "", err
}
