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

// inertFile and inertDir name the account of a build with third values, and the folder
// of the build; n counts from 1.
func inertFile(n int) string { return fmt.Sprintf("inert-%d.jsonl", n) }
func inertDir(n int) string  { return filepath.Join(rebuildDir, fmt.Sprintf("inert-%d", n)) }

// built is what a reference was rebuilt by.
type built struct {
	builder *reference.Builder
	recipe  *reference.Recipe
	result  *reference.Result // of the plain builds, then of the nearest
}

// ProvenanceFile is the file of evidence that states what was rebuilt: an in-toto
// statement with SLSA provenance, see package statement.
const ProvenanceFile = "provenance.json"

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
	return os.WriteFile(filepath.Join(dir, ProvenanceFile), text, 0o644)
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
		if in.Build.Name != fmt.Sprintf("inert-%d", i+1) {
			return nil, fmt.Errorf("the build %s is out of order", in.Build.Name)
		}
		file := in.Build.Outputs[output]
		sum, err := in.Ledger.Encode(io.Discard)
		if err != nil {
			return nil, err
		}
		replay.Inert = append(replay.Inert, InertBuild{Values: in.Values, Size: file.Size, SHA256: file.SHA256, Ledger: hex.EncodeToString(sum[:])})
		out.Inert = append(out.Inert, in.Ledger)
	}
	b.result = made
	return &nearest{ref, out}, nil
}

// checkReplay holds what a stored report says of its reference's values against the
// ledger, whose premises they are.
func (r *Report) checkReplay(l *ledger.Ledger) error {
	if l == nil || len(l.Premises) == 0 {
		if r.Replay != nil && len(r.Replay.Values)+len(r.Replay.Inert) > 0 {
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
	return nil
}

// recheckInert replays the accounts of the builds that show the values of the
// reference to be inert. The builds are those of the evidence folder.
func (r *Report) recheckInert(ctx context.Context, dir string, ref *Image, l *ledger.Ledger, o Options) error {
	if len(l.Premises) == 0 {
		return nil
	}
	evened := int64(-1)
	for n := range r.Replay.Inert {
		even, err := r.replayInert(ctx, dir, n, ref, l, o)
		switch {
		case err != nil:
			return err
		case n == 0:
			evened = even
		case n == 1 && even != evened, n == 2 && even >= 0:
			return unsound("%s: the builds differ at 0x%x besides", inertFile(n+1), max(even, evened))
		}
	}
	if evened >= 0 && len(r.Replay.Inert) < 3 {
		return unsound("a byte at 0x%x changes with the values, and nothing shows it to be a checksum", evened)
	}
	return nil
}

func (r *Report) replayInert(ctx context.Context, dir string, n int, ref *Image, l *ledger.Ledger, o Options) (int64, error) {
	in := &r.Replay.Inert[n]
	f, err := openEvidence(dir, inertFile(n+1))
	if errors.Is(err, os.ErrNotExist) {
		return -1, unsound("it has no %s", inertFile(n+1))
	}
	if err != nil {
		return -1, err
	}
	defer f.Close()
	third, sum, err := ledger.Decode(f)
	if errors.Is(err, ledger.ErrInvalid) {
		return -1, fmt.Errorf("%w: %s: %w", ErrEvidence, inertFile(n+1), err)
	}
	if err != nil {
		return -1, err
	}
	name := r.Reference.Name
	if name == "" || filepath.Base(name) != name || name == "." || name == ".." {
		return -1, unsound("the name of its reference, %.80q, is no name of a file", name)
	}
	g, err := openEvidence(filepath.Join(dir, inertDir(n+1)), name)
	if errors.Is(err, os.ErrNotExist) {
		return -1, unsound("it has no %s", filepath.ToSlash(filepath.Join(inertDir(n+1), name)))
	}
	if err != nil {
		return -1, err
	}
	defer g.Close()
	fi, err := g.Stat()
	if err != nil {
		return -1, err
	}
	if fi.Size() != in.Size || fmt.Sprintf("%x", third.Deployed.Sum) != in.SHA256 || third.Reference != l.Reference || fmt.Sprintf("%x", sum) != in.Ledger {
		return -1, unsound("%s is about other images than the report says", inertFile(n+1))
	}
	seen := third.Deployed
	even, err := third.Inert(ctx, ledger.Image{ReaderAt: ref, Size: ref.Size}, ledger.Image{ReaderAt: g, Size: fi.Size()}, diff.Tools(o.Engine()), l.Premises, in.Values)
	switch {
	case errors.Is(err, ledger.ErrInvalid), errors.Is(err, ledger.ErrNotInert):
		return -1, fmt.Errorf("%w: %s: %w", ErrEvidence, inertFile(n+1), err)
	case err != nil:
		return -1, err
	case third.Deployed != seen || third.Reference != l.Reference:
		return -1, unsound("%s is about other images", inertFile(n+1))
	}
	return even, nil
}
