package verify

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/ledger"
	"github.com/assaylab/assay/verify/counterfactual"
	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/reference/derive"
)

// rebuildDir is the folder of evidence that holds what builds made.
const rebuildDir = "rebuild"

// The builds that show values to be inert by name: that of their folder in rebuildDir,
// and of their account beside the ledger.
const (
	plainBuild   = "build-1"
	controlBuild = "control-1"
)

func inertBuild(n int) string         { return fmt.Sprintf("inert-%d", n+1) } // n counts from 0
func accountFile(build string) string { return build + ".jsonl" }

// built is what a reference was rebuilt by.
type built struct {
	builder *reference.Builder
	recipe  *reference.Recipe
	result  *reference.Result // of the plain builds, then of the nearest
}

// ProvenanceFile is the file of evidence that states what was rebuilt: an in-toto
// statement with SLSA provenance, see package statement.
const ProvenanceFile = "provenance.json"

// RecipeFile is the recipe of a reference that was rebuilt, as evidence keeps it.
const RecipeFile = "recipe.yaml"

// state writes what was rebuilt into a folder.
func (b *built) state(dir, version string) error {
	if b == nil {
		return nil
	}
	s, err := derive.State(b.recipe, b.result, cmp.Or(version, "unknown"))
	if err != nil {
		return fmt.Errorf("stating what was rebuilt: %w", err)
	}
	text, err := s.Encode()
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, ProvenanceFile), text, 0o644),
		os.WriteFile(filepath.Join(dir, RecipeFile), b.recipe.Text(), 0o644),
	)
}

func (b *built) close() {
	if b != nil {
		b.builder.Close()
	}
}

// A nearest is a reference that leaves less unexplained than the plain one, and its
// outcome.
type nearest struct {
	ref     *reference.Reference
	outcome *Outcome
}

// nearer looks for a build whose values stand in the deployed image and that leaves
// less of it unexplained than plain does, where the recipe allows counterfactual
// rebuilds and there is anything to explain. It is nil where there is none: plain then
// says what was tried.
func (b *built) nearer(ctx context.Context, d *Delivery, plain *Outcome, dep *Image, policy Policy, o CheckOptions) (*nearest, error) {
	if b == nil || plain.Ledger == nil || !policy.Explained {
		return nil, nil
	}
	rebuilds := b.recipe.Replay
	if o.Rebuilds != nil {
		rebuilds = *o.Rebuilds
	}
	left := counterfactual.Left(plain.Ledger)
	if rebuilds == 0 || left == 0 {
		return nil, nil
	}
	output, err := b.result.Output(d.Reference.Output)
	if err != nil {
		return nil, err
	}
	o.Say(fmt.Sprintf("%d bytes are not accounted for: looking for values of the deployed image to build again with, in %d rebuilds at most", left, rebuilds))
	answer, err := counterfactual.Search(ctx, counterfactual.Question{
		Builder: b.builder, Plain: b.result.First(), Output: output, Deployed: dep.Image, Left: left, Rebuilds: rebuilds, Engine: o.Engine(), Say: o.Say,
	})
	if err != nil {
		return nil, err
	}
	replay := &Replay{Rebuilds: answer.Rebuilds, Values: []ledger.Premise{}, Notes: answer.Notes}
	plain.Report.Replay = replay
	if answer.Build == nil {
		return nil, nil
	}
	made := b.result.As(answer.Build)
	ref, err := made.Reference(d.Reference.Output)
	if err != nil {
		return nil, err
	}
	out, err := account(ctx, ref, dep, answer.Premises, policy, o)
	if err != nil || out.Ledger == nil {
		return nil, err
	}
	out.Report.Replay = replay
	replay.Values = out.Ledger.Premises
	for i, in := range answer.Inert {
		kept, err := out.keep(&in, inertBuild(i), output)
		if err != nil {
			return nil, err
		}
		replay.Inert = append(replay.Inert, *kept)
	}
	if replay.Control, err = out.keep(answer.Control, controlBuild, output); err != nil {
		return nil, err
	}
	replay.Plain = b.result.First().Outputs[output].SHA256
	b.result = made
	return &nearest{ref, out}, nil
}

// keep records a build that shows values to be inert, and its account.
func (o *Outcome) keep(in *counterfactual.Inert, name string, output int) (*InertBuild, error) {
	if in == nil || in.Ledger == nil || in.Build.Name != name {
		return nil, fmt.Errorf("the build %s is not there", name)
	}
	sum, err := in.Ledger.Encode(io.Discard)
	if err != nil {
		return nil, err
	}
	if o.Accounts == nil {
		o.Accounts = map[string]*ledger.Ledger{}
	}
	o.Accounts[name] = in.Ledger
	file := in.Build.Outputs[output]
	return &InertBuild{Values: in.Values, Size: file.Size, SHA256: file.SHA256, Ledger: hex.EncodeToString(sum[:])}, nil
}

// checkReplay holds what a stored report says of its reference's values against the
// ledger, whose premises they are.
func (r *Report) checkReplay(l *ledger.Ledger) error {
	if r.Replay != nil && (r.Replay.Rebuilds < 0 || r.Replay.Rebuilds < len(r.Replay.Inert)) {
		return unsound("replay: %d rebuilds, of which %d show values to be inert", r.Replay.Rebuilds, len(r.Replay.Inert))
	}
	if l == nil || len(l.Premises) == 0 {
		if r.Replay != nil && (len(r.Replay.Values)+len(r.Replay.Inert) > 0 || r.Replay.Control != nil) {
			return unsound("it names values that its reference was built with, and the ledger does not")
		}
		return nil
	}
	if r.Replay == nil || !slices.Equal(r.Replay.Values, l.Premises) {
		return unsound("the values that its reference was built with are not those of the ledger")
	}
	demand := ledger.Demand(l.Premises, len(r.Replay.Inert) > 2)
	if demand == nil || len(r.Replay.Inert) != len(demand) {
		return unsound("the builds that should show the values of its reference to be inert are not those that do")
	}
	for i := range r.Replay.Inert {
		if !slices.Equal(r.Replay.Inert[i].Values, demand[i]) {
			return unsound("replay: inert[%d] was built with other values than show it", i)
		}
	}
	if r.Replay.Control == nil || !slices.Equal(r.Replay.Control.Values, ledger.Controls(l.Premises)) {
		return unsound("replay: no control shows that it changes nothing to put values in")
	}
	return nil
}

// recheckInert replays the accounts of the builds that show the values of the
// reference to be inert. The builds are those of the evidence folder: that they are what
// the recipe gives is taken as recorded.
func (r *Report) recheckInert(ctx context.Context, dir string, ref *Image, l *ledger.Ledger, o Options) error {
	if len(l.Premises) == 0 {
		return nil
	}
	image := ledger.Image{ReaderAt: ref, Size: ref.Size}
	tools := diff.Tools(o.Engine())
	even := int64(-1)
	for n := range r.Replay.Inert {
		in, name := &r.Replay.Inert[n], inertBuild(n)
		err := r.replays(dir, name, in, l.Reference, func(account *ledger.Ledger, b ledger.Image) error {
			at, err := account.Inert(ctx, image, b, tools, l.Premises, in.Values)
			if err == nil && at >= 0 && (n == 2 || even >= 0 && at != even) {
				return unsound("%s: the builds differ at 0x%x besides", accountFile(name), at)
			}
			even = max(even, at)
			return err
		})
		if err != nil {
			return err
		}
	}
	if even >= 0 && len(r.Replay.Inert) < 3 {
		return unsound("a byte at 0x%x changes with the values, and nothing shows it to be a checksum", even)
	}
	plain, size, err := r.output(dir, plainBuild)
	if err != nil {
		return err
	}
	defer plain.Close()
	side := ledger.Side{Size: size}
	if sum, err := hex.DecodeString(r.Replay.Plain); err != nil || copy(side.Sum[:], sum) != len(side.Sum) {
		return unsound("replay: %.80q is not the sha256 of the plain build", r.Replay.Plain)
	}
	return r.replays(dir, controlBuild, r.Replay.Control, side, func(account *ledger.Ledger, b ledger.Image) error {
		at, err := account.Controlled(ctx, ledger.Image{ReaderAt: plain, Size: size}, b, tools, l.Premises)
		if err == nil && at >= 0 && at != even {
			return unsound("%s: the builds differ at 0x%x besides", accountFile(controlBuild), at)
		}
		return err
	})
}

// output opens what a build of an evidence folder made under the name of the reference.
func (r *Report) output(dir, build string) (*os.File, int64, error) {
	name := r.Reference.Name
	if name == "" || filepath.Base(name) != name || name == "." || name == ".." {
		return nil, 0, unsound("the name of its reference, %.80q, is no name of a file", name)
	}
	f, err := openEvidence(filepath.Join(dir, rebuildDir, build), name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, unsound("it has no %s/%s/%s", rebuildDir, build, name)
	}
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

// replays reads the account of a build and the build itself, holds them to the report,
// and has them shown to be inert by show.
func (r *Report) replays(dir, build string, in *InertBuild, against ledger.Side, show func(*ledger.Ledger, ledger.Image) error) error {
	name := accountFile(build)
	f, err := openEvidence(dir, name)
	if errors.Is(err, os.ErrNotExist) {
		return unsound("it has no %s", name)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	account, sum, err := ledger.Decode(f)
	if errors.Is(err, ledger.ErrInvalid) {
		return fmt.Errorf("%w: %s: %w", ErrEvidence, name, err)
	}
	if err != nil {
		return err
	}
	g, size, err := r.output(dir, build)
	if err != nil {
		return err
	}
	defer g.Close()
	seen := account.Deployed
	if size != in.Size || hex.EncodeToString(seen.Sum[:]) != in.SHA256 || account.Reference != against || hex.EncodeToString(sum[:]) != in.Ledger {
		return unsound("%s is about other images than the report says", name)
	}
	err = show(account, ledger.Image{ReaderAt: g, Size: size})
	switch {
	case errors.Is(err, ledger.ErrInvalid), errors.Is(err, ledger.ErrNotInert):
		return fmt.Errorf("%w: %s: %w", ErrEvidence, name, err)
	case err != nil:
		return err
	case account.Deployed != seen || account.Reference != against:
		return unsound("%s is about other images", name)
	}
	return nil
}
