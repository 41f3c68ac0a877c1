package verify

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/format"
	"github.com/assaylab/assay/diff/ledger"
	"github.com/assaylab/assay/verify/fetch"
	"github.com/assaylab/assay/verify/oci"
	"github.com/assaylab/assay/verify/provenance"
	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/reference/sandbox"
	"github.com/assaylab/assay/verify/signature"
)

// CheckOptions are what checking a delivery takes besides Options.
type CheckOptions struct {
	Options
	Policy   string          // in place of the delivery's, if set
	Sandbox  sandbox.Backend // that rebuilds
	ToolDirs []string        // directories of the host that the build sees beside /usr
	WorkDir  string          // where the rebuild's outputs and logs go; must exist
	Rebuilds *int            // counterfactual rebuilds allowed, in place of what the recipe says
	Fetching Fetching        // of what the delivery and its recipe name by an address
	Say      func(string)    // told what happens, one line at a time
}

// Check is the main job: it verifies the signatures of a delivery, brings its
// reference, accounts for every byte of the deployed image, and reaches one
// verdict. An error is trouble, never a verdict.
func Check(ctx context.Context, d *Delivery, o CheckOptions) (*Outcome, error) {
	if o.Say == nil {
		o.Say = func(string) {}
	}
	name := d.Policy
	if o.Policy != "" {
		name = o.Policy
	} else if name != "" && name != "standard" && name != "identical" {
		name = d.path(name)
	}
	policy, err := LoadPolicy(name)
	if err != nil {
		return nil, err
	}
	if d, err = d.fetched(ctx, o.Fetching); err != nil {
		return nil, err
	}
	dep, err := OpenImage(d.path(d.Deployed.Path))
	if err != nil {
		return nil, fmt.Errorf("deployed image: %w", err)
	}
	defer dep.Close()
	if d.Deployed.got != nil {
		dep.Name = d.Deployed.got.Name
	}

	var recipe *reference.Recipe
	if d.Reference.Rebuild != "" {
		if recipe, err = reference.LoadRecipe(d.path(d.Reference.Rebuild)); err != nil {
			return nil, err
		}
		if err := Resolve(ctx, recipe, o.Fetching, o.Say); err != nil {
			return nil, err
		}
	}
	signatures, err := verifySignatures(ctx, d, dep.Root, recipe, o)
	if err != nil {
		return nil, err
	}
	ref, built, why, err := bringReference(ctx, d, recipe, o)
	if err != nil {
		return nil, err
	}
	defer built.close()
	out := &Outcome{}
	if ref == nil {
		r := newReport(policy, o.Options)
		r.Reference = Input{Name: d.Reference.Output, Kind: "file"}
		r.Deployed = Input{Name: dep.Name, Kind: dep.Kind, Size: dep.Size}
		out.Report = r.undecided(why)
	} else {
		if out, err = account(ctx, ref, dep, nil, policy, o); err != nil {
			return nil, err
		}
		if near, err := built.nearer(ctx, d, out, dep, policy, o); err != nil {
			return nil, err
		} else if near != nil {
			out, ref = near.outcome, near.ref
		}
		if err := built.state(o.WorkDir, o.Version); err != nil {
			return nil, err
		}
		out.Report.Reference.Origin = ref.Origin
		if out.Report.Reference.SHA256 == "" { // a limit stopped the comparison
			out.Report.Reference.SHA256 = ref.Origin.SHA256
		}
		out.Report.Reference.SHA512 = ref.Origin.SHA512
	}
	r := out.Report
	r.Delivery = &Item{Name: d.Name, SHA256: d.sha256}
	if r.Deployed.SHA256 == "" || r.Deployed.SHA512 == "" {
		if err := r.Deployed.digest(dep); err != nil {
			return nil, fmt.Errorf("deployed image: %w", err)
		}
	}
	pin(r, &r.Deployed, pinOf(d.Deployed.SHA256, d.Deployed.got), "deployed")
	if d.Reference.Path != "" {
		pin(r, &r.Reference, pinOf(d.Reference.SHA256, d.Reference.got), "reference")
	}
	for _, side := range []struct {
		name string
		got  *fetch.Artifact
	}{{"deployed", d.Deployed.got}, {"reference", d.Reference.got}} {
		if side.got == nil {
			continue
		}
		r.Notes = append(r.Notes, Note{Side: side.name, Path: ".", Text: "pinned by digest, and brought from " + side.got.From})
		for _, text := range side.got.Notes {
			r.Notes = append(r.Notes, Note{Side: side.name, Path: ".", Text: text})
		}
	}
	judgeSignatures(r, d, recipe, signatures)
	return out, nil
}

// digest fills in the SHA-512, and checks that the SHA-256 is still the same.
func (in *Input) digest(img *Image) error {
	h256, h512 := newSHA256(), sha512.New()
	if _, err := io.Copy(io.MultiWriter(h256, h512), io.NewSectionReader(img, 0, img.Size)); err != nil {
		return err
	}
	sum := hex.EncodeToString(h256.Sum(nil))
	if in.SHA256 != "" && in.SHA256 != sum {
		return errors.New("it changed while it was being read")
	}
	in.SHA256, in.SHA512 = sum, hex.EncodeToString(h512.Sum(nil))
	return nil
}

// pin holds an input against the digest that the delivery demands.
func pin(r *Report, in *Input, want, side string) {
	if want == "" {
		return
	}
	if want = strings.ToLower(want); in.SHA256 == want {
		in.Pinned = true
		return
	}
	r.reject(KindInput, side, fmt.Sprintf("the %s image is not the pinned one: its sha256 is %s, the delivery demands %s", side, in.SHA256, want))
}

// account compares a reference with the deployed image.
func account(ctx context.Context, ref *reference.Reference, dep *Image, premises []ledger.Premise, policy Policy, o CheckOptions) (*Outcome, error) {
	img, err := OpenImage(ref.Path)
	if err != nil {
		return nil, fmt.Errorf("reference: %w", err)
	}
	defer img.Close()
	img.Name = ref.Origin.Name
	var labels diff.Labels
	if ref.Symbols != "" {
		if labels, err = format.LoadSymbols(ref.Symbols, img.Size); err != nil {
			o.Say(fmt.Sprintf("offsets stay without names: %v", err))
			labels = nil
		}
	}
	o.Say("accounting for every byte of the deployed image")
	o.Premises = premises
	out, err := Diff(ctx, img, dep, labels, policy, o.Options)
	if err != nil {
		return nil, err
	}
	if seen := out.Report.Reference.SHA256; seen != ref.Origin.SHA256 && ref.Origin.SHA256 != "" && seen != "" {
		return nil, fmt.Errorf("reference %s changed while it was being read", ref.Origin.Name)
	}
	return out, nil
}

// bringReference returns the reference, and what it was built by if it was; or nil and
// the reason why it could not be had.
func bringReference(ctx context.Context, d *Delivery, recipe *reference.Recipe, o CheckOptions) (*reference.Reference, *built, string, error) {
	if d.Reference.Path != "" {
		ref, err := reference.FromPath(d.path(d.Reference.Path))
		if err != nil {
			return nil, nil, "", fmt.Errorf("reference: %w", err)
		}
		if d.Reference.SHA256 != "" && ref.Origin.SHA256 == strings.ToLower(d.Reference.SHA256) {
			ref.Origin.Kind = reference.KindPinned
		}
		if got := d.Reference.got; got != nil {
			ref.Origin.Kind, ref.Origin.Name, ref.Origin.From = reference.KindFetched, got.Name, got.From
		}
		ref.Symbols = d.path(d.Reference.Symbols)
		return ref, nil, "", nil
	}
	undecided := func(err error) (*reference.Reference, *built, string, error) {
		for _, line := range reference.Tail(err) {
			o.Say("  " + line)
		}
		return nil, nil, fmt.Sprintf("no reference: %v", err), nil
	}
	b, err := reference.NewBuilder(recipe, reference.Options{
		Sandbox: o.Sandbox, ToolDirs: o.ToolDirs, Progress: o.Say,
		OutDir: filepath.Join(o.WorkDir, rebuildDir), LogDir: filepath.Join(o.WorkDir, "logs"),
	})
	if err != nil {
		return nil, nil, "", err
	}
	made := &built{builder: b, recipe: recipe}
	made.result, err = b.Rebuild(ctx)
	if err == nil {
		err = NameSections(ctx, made.result, o.Options)
	}
	if err == nil {
		var ref *reference.Reference
		if ref, err = made.result.Reference(d.Reference.Output); err == nil {
			return ref, made, "", nil
		}
	}
	b.Close()
	var disagree *reference.DisagreeError
	if reference.Undecided(err) || errors.As(err, &disagree) {
		return undecided(err)
	}
	return nil, nil, "", err
}

func verifySignatures(ctx context.Context, d *Delivery, deployed *os.Root, recipe *reference.Recipe, o CheckOptions) ([]Signature, error) {
	out := []Signature{}
	for i := range d.Signatures {
		s := &d.Signatures[i]
		o.Say(fmt.Sprintf("verifying the signature %q over the %s", s.Name, thing(s.Over)))
		path, pin, err := d.signed(s, recipe)
		if err != nil {
			return nil, fmt.Errorf("signature %q: %w", s.Name, err)
		}
		if s.Image != "" {
			var opened *os.Root
			if s.Over == "deployed" {
				opened = deployed
			}
			found, err := imageSignatures(ctx, s, path, opened, d.request(s, signature.Artifact{}, o.Options))
			if err != nil {
				return nil, fmt.Errorf("signature %q: %w", s.Name, err)
			}
			out = append(out, found...)
			continue
		}
		if fi, err := os.Stat(path); err == nil && fi.IsDir() {
			return nil, fmt.Errorf("signature %q: a directory bears no signature; of an OCI layout, image: sha256:… names the image that is signed in it", s.Name)
		}
		req := d.request(s, signature.File(path), o.Options)
		res, err := signature.Verify(ctx, req)
		var e *signature.Error
		if errors.As(err, &e) && (e.Kind == signature.Limit || e.Signed) {
			res.OK = false // it stays listed with its steps, and does not hold
			err = nil
		}
		if err != nil {
			return nil, fmt.Errorf("signature %q: %w", s.Name, err)
		}
		out = append(out, Signature{Name: s.Name, Over: s.Over, Result: res, Foreign: pin != "" && res.Artifact.SHA256 != pin})
	}
	return strangers(out), nil
}

// imageSignatures verifies what is found beside an image in a layout. Each
// candidate is listed; of an image that is not whole none holds. The layout is
// read through opened where that is given: the directory that is compared, even
// if its path leads elsewhere by now.
func imageSignatures(ctx context.Context, s *SignatureSpec, layout string, opened *os.Root, req signature.Request) ([]Signature, error) {
	ref, _, err := oci.ParseRef("oci:" + layout + "@" + s.Image)
	if err != nil {
		return nil, err
	}
	img, err := verifyImage(ctx, ref, req, func() (*oci.Image, error) {
		if opened != nil {
			return oci.OpenRoot(ctx, opened, ref)
		}
		return oci.Open(ctx, ref, oci.Options{})
	})
	var e *signature.Error
	var unread *oci.Error
	var large *oci.LimitError
	switch {
	case err == nil, errors.As(err, &e) && e.Kind == signature.Limit:
	case errors.As(err, &unread), errors.As(err, &large): // whoever delivered it may have made it so
		img.OK, img.Reasons = false, []string{err.Error()}
	default:
		return nil, err
	}
	out := []Signature{}
	for i, res := range img.Signatures {
		res.OK = res.OK && img.OK
		out = append(out, Signature{Name: s.Name, Over: s.Over, Result: res, Image: s.Image, candidate: i + 1})
	}
	if img.Image != nil && img.Image.More > 0 {
		out = append(out, Signature{
			Name: s.Name, Over: s.Over, Image: s.Image, candidate: -1,
			Reasons: []string{fmt.Sprintf("beside the image are %d more signatures or lists, which were not read", img.Image.More)},
		})
	}
	if len(img.Signatures) == 0 || !img.OK {
		out = append(out, Signature{Name: s.Name, Over: s.Over, Image: s.Image, Reasons: img.Reasons})
	}
	return out, nil
}

// strangers leaves of each candidate beside an image what matters: where it
// holds for an entry, that; else it is a stranger's, listed once, without a name.
func strangers(all []Signature) []Signature {
	candidate := func(s *Signature) string { return fmt.Sprintf("%s %s %d", s.Over, s.Image, s.candidate) }
	holds, entry := map[string]bool{}, map[string]bool{}
	for i := range all {
		s := &all[i]
		holds[candidate(s)] = holds[candidate(s)] || s.OK
		entry[s.Name] = entry[s.Name] || s.OK
	}
	out, listed := []Signature{}, map[string]bool{}
	for _, s := range all {
		switch c := candidate(&s); {
		case s.candidate == 0 || s.OK:
		case !entry[s.Name]: // it shows why the entry does not hold
			s.Stranger = !holds[c]
			listed[c] = true
		case holds[c] || listed[c]:
			continue
		default:
			s.Stranger, s.Name = true, ""
			listed[c] = true
		}
		out = append(out, s)
	}
	return out
}

// signed is the file that a signature is said to be over, and for a source the
// digest that the recipe demands of it.
func (d *Delivery) signed(s *SignatureSpec, recipe *reference.Recipe) (path, pin string, err error) {
	switch s.Over {
	case "deployed":
		return d.path(d.Deployed.Path), "", nil
	case "reference":
		return d.path(d.Reference.Path), "", nil
	}
	var names []string
	var found []*reference.Source
	for i := range recipe.Sources {
		src := &recipe.Sources[i]
		name := src.FileName()
		names = append(names, name)
		if s.Source == name || s.Source == "" && !src.Trust || s.Source != "" && filepath.Clean(d.path(s.Source)) == filepath.Clean(src.Path) {
			found = append(found, src)
		}
	}
	if len(found) != 1 {
		return "", "", fmt.Errorf("source: must name one of the recipe's sources: %s", strings.Join(names, ", "))
	}
	return found[0].Path, found[0].SHA256, nil
}

// judgeSignatures holds the signatures against the delivery's signers, against
// the bytes that were compared, and what they say of the source against the
// recipe that the reference was built by.
func judgeSignatures(r *Report, d *Delivery, recipe *reference.Recipe, signatures []Signature) {
	for i := range signatures {
		s := &signatures[i]
		switch {
		case s.Image != "": // of a directory that was compared whole, the image's blobs included
		case s.Over == "deployed":
			s.Foreign = s.Artifact.SHA256 != r.Deployed.SHA256
		case s.Over == "reference":
			s.Foreign = s.Artifact.SHA256 != r.Reference.SHA256
		}
		if s.OK && s.Foreign {
			r.reject(KindSignature, s.Over, fmt.Sprintf("the signature %q is over bytes other than those that the verdict is about", s.Name))
		}
		if s.OK && s.Provenance == nil && recipe != nil && isProvenance(s.PredicateType) {
			r.reject(KindSignature, s.Over, fmt.Sprintf("the statement %q is provenance of a type that is not read here, %q, so that nothing holds its source against the recipe's", s.Name, s.PredicateType))
		}
		if s.OK && s.Provenance != nil && recipe != nil && !builtFrom(s.Provenance, recipe) {
			r.reject(KindSignature, s.Over, fmt.Sprintf("the provenance %q names another source than the recipe: %s; the recipe builds %s",
				s.Name, sourcesOf(s.Provenance), recipeSources(recipe)))
		}
	}
	r.Signatures = append(r.Signatures, signatures...)
	r.Signers = d.Signers.effective(d.Signatures)
	why := r.Signers.unsatisfied(r.Signatures)
	for _, side := range sides {
		if why[side] != "" {
			r.reject(KindSignature, side, why[side])
		}
	}
}

// isProvenance says whether a predicate type is of the family of SLSA provenance,
// in whatever version and spelling.
func isProvenance(predicateType string) bool {
	family := strings.ToLower(predicateType)
	return strings.Contains(family, "slsa.dev/provenance") || strings.Contains(family, "in-toto.io/provenance")
}

// builtFrom says whether the source that a provenance names is one of the
// recipe's, which a digest that both know must show.
func builtFrom(p *provenance.Provenance, recipe *reference.Recipe) bool {
	return slices.ContainsFunc(recipe.Sources, func(s reference.Source) bool {
		digests := map[string]string{"sha256": s.SHA256}
		if s.Revision != "" {
			digests["gitCommit"] = s.Revision
		}
		return !s.Trust && p.HasSource(digests)
	})
}

func sourcesOf(p *provenance.Provenance) string {
	if len(p.Sources) == 0 {
		return fmt.Sprintf("none that is known (%s)", p.SourceUnknown)
	}
	var out []string
	for _, s := range p.Sources {
		line := fmt.Sprintf("%q", s.URI)
		for _, alg := range slices.Sorted(maps.Keys(s.Digest)) {
			line += fmt.Sprintf(" %s:%s", alg, s.Digest[alg])
		}
		out = append(out, line)
	}
	return strings.Join(out, ", ")
}

func recipeSources(recipe *reference.Recipe) string {
	var out []string
	for i := range recipe.Sources {
		s := &recipe.Sources[i]
		line := fmt.Sprintf("%q sha256:%s", s.FileName(), s.SHA256)
		if s.Revision != "" {
			line += " gitCommit:" + s.Revision
		}
		out = append(out, line)
	}
	return strings.Join(out, ", ")
}
