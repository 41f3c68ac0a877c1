package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/reference/derive"
	"github.com/assaylab/assay/verify/signature"
	"github.com/assaylab/assay/verify/statement"
)

// soundReport reads the report of an evidence folder whose digests hold, and that is
// what its ledger gives.
func soundReport(dir string) (*verify.Report, error) {
	if err := verify.CheckSums(dir); err != nil {
		return nil, err
	}
	r, err := verify.ReadReport(dir)
	if err != nil {
		return nil, err
	}
	return r, verify.CheckReport(dir, r)
}

// stateEvidence makes the byte-accounting statement of an evidence folder whose
// digests hold, and whose report is what its ledger gives. Whether the ledger is
// true of the images is the work of recheck.
func stateEvidence(dir string) (*statement.Statement, error) {
	r, err := soundReport(dir)
	if err != nil {
		return nil, err
	}
	sums, err := os.ReadFile(filepath.Join(dir, verify.SumsFile)) // bounded by CheckSums
	if err != nil {
		return nil, err
	}
	if r.Deployed.SHA256 == "" {
		return nil, &usageError{
			fmt.Errorf("the evidence does not name the deployed image %q by a digest: the comparison was stopped before it was read", r.Deployed.Name),
			"raise the limit that stopped it, or make the evidence with assay check, which always digests the deployed image",
		}
	}
	account, err := accounting(r, sums)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", verify.ErrEvidence, verify.ReportFile, err)
	}
	s, err := account.Statement()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", verify.ErrEvidence, verify.ReportFile, err)
	}
	return s, nil
}

// rebuiltEvidence reads the statement of an evidence folder, whose digests hold, of
// what was rebuilt: of the reference that the report is about.
func rebuiltEvidence(dir string) (*statement.Statement, error) {
	r, err := soundReport(dir)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(r.Reference.Origin)
	if err != nil {
		return nil, err
	}
	var origin reference.Origin
	if err := json.Unmarshal(text, &origin); err != nil || origin.Build == nil {
		return nil, &usageError{errors.New("the reference of this evidence was not rebuilt, so nothing states how"), "leave --provenance out"}
	}
	s, err := statement.ReadFile(filepath.Join(dir, verify.ProvenanceFile))
	if err != nil {
		return nil, err
	}
	recipe, err := reference.LoadRecipe(filepath.Join(dir, verify.RecipeFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", verify.ErrEvidence, verify.RecipeFile, err)
	}
	if err := derive.Agrees(s, recipe, origin.Build); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", verify.ErrEvidence, verify.ProvenanceFile, err)
	}
	for _, subject := range s.Subject {
		if subject.Name == r.Reference.Name && subject.Digest["sha256"] == r.Reference.SHA256 && subject.Digest["sha512"] == r.Reference.SHA512 {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%w: %s is not of the report's reference", verify.ErrEvidence, verify.ProvenanceFile)
}

// accounting puts a report, and the digests of what is stored with it, into the
// words of a statement.
func accounting(r *verify.Report, sums []byte) (*statement.ByteAccounting, error) {
	listed := sha256.Sum256(sums)
	a := &statement.ByteAccounting{
		Tool: statement.Tool(r.Tool), Verdict: statedVerdict(r.Verdict), Reasons: r.Reasons,
		Deployed: image(&r.Deployed), Reference: image(&r.Reference),
		Policy: statement.Policy{Name: r.Policy.Name, Explained: r.Policy.Explained, FreeBits: r.Policy.FreeBits},
		Totals: statement.Totals{
			Identical: r.Totals.Identical, Explained: r.Totals.Explained, Carried: r.Totals.Carried,
			Moved: r.Totals.Moved, Unexplained: r.Totals.Unexplained, Missing: r.Totals.Missing,
		},
		FreeBits: r.FreeBits, Rules: []statement.Rule{}, Signatures: []statement.Signature{},
		Evidence: statement.Evidence{Sums: hex.EncodeToString(listed[:]), Ledger: r.Ledger},
	}
	if r.Delivery != nil {
		a.Delivery = &statement.Artifact{Name: r.Delivery.Name, Digest: digests(r.Delivery.SHA256, "")}
	}
	for _, rule := range r.Policy.Rules {
		a.Policy.Rules = append(a.Policy.Rules, statement.Allowance(rule))
	}
	for _, s := range r.Signatures {
		a.Signatures = append(a.Signatures, verified(&s))
	}
	a.Signers = statement.Signers{
		Deployed: (*statement.SignerRule)(r.Signers.Deployed), Reference: (*statement.SignerRule)(r.Signers.Reference),
		Source: (*statement.SignerRule)(r.Signers.Source),
	}
	var err error
	if a.Reference.Origin, err = origin(r.Reference.Origin); err != nil {
		return nil, err
	}
	if err := builtin(r.Policy); err != nil {
		return nil, err
	}
	a.Rules, err = used(r.Explanations)
	return a, err
}

func statedVerdict(v verify.Verdict) statement.Verdict {
	switch v {
	case verify.Identical, verify.Explained:
		return statement.Pass
	case verify.Undecided:
		return statement.Incomplete
	}
	return statement.Fail
}

// image names an image by what was read of it for the comparison, if it was.
func image(in *verify.Input) statement.Image {
	if in.SHA256 == "" {
		return statement.Image{Name: in.Name, Kind: in.Kind, Size: in.Size}
	}
	return statement.Image{Name: in.Name, Kind: in.Kind, Size: in.Size, Digest: digests(in.SHA256, in.SHA512), Pinned: in.Pinned}
}

func digests(sha256, sha512 string) map[string]string {
	d := map[string]string{}
	if sha256 != "" {
		d["sha256"] = sha256
	}
	if sha512 != "" {
		d["sha512"] = sha512
	}
	return d
}

// origin is the origin of a reference in its one spelling, or nothing.
func origin(o any) (json.RawMessage, error) {
	if o == nil {
		return nil, nil
	}
	b, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var from reference.Origin
	if err := d.Decode(&from); err != nil {
		return nil, fmt.Errorf("the origin of the reference: %w", err)
	}
	return json.Marshal(from)
}

// builtin demands that a policy with the name of one that is built in is that one.
func builtin(p verify.Policy) error {
	if p.Name != "standard" && p.Name != "identical" {
		return nil
	}
	want, err := verify.LoadPolicy(p.Name)
	if err == nil && !reflect.DeepEqual(p, want) {
		err = fmt.Errorf("its policy %q is not the one of that name", p.Name)
	}
	return err
}

// used sums up the explanations by rule.
func used(explanations []verify.Explanation) ([]statement.Rule, error) {
	rules, at := []statement.Rule{}, map[string]int{}
	for _, e := range explanations {
		i, ok := at[e.Rule]
		if !ok {
			i = len(rules)
			at[e.Rule] = i
			rules = append(rules, statement.Rule{Name: e.Rule})
		}
		r := &rules[i]
		r.Differences++
		r.Bytes += e.Length
		r.FreeBits += e.Bits
		if e.Length < 0 || e.Bits < 0 || r.Bytes < 0 || r.FreeBits < 0 {
			return nil, fmt.Errorf("what the rule %q explains does not add up", e.Rule)
		}
	}
	return rules, nil
}

func verified(s *verify.Signature) statement.Signature {
	out := statement.Signature{
		Name: s.Name, Over: s.Over, Holds: s.OK && !s.Foreign, Image: s.Image, Stranger: s.Stranger, Signed: input(s.Signed), Trust: []statement.Input{},
		Scheme: s.Scheme, Identity: s.Identity, Issuer: s.Issuer, PredicateType: s.PredicateType, SignedAt: s.SignedAt,
		Steps: []statement.Step{},
	}
	for _, in := range s.Trust {
		out.Trust = append(out.Trust, input(in))
	}
	for _, step := range s.Steps {
		out.Steps = append(out.Steps, statement.Step{Name: step.Name, Outcome: step.Outcome.String(), Reason: step.Reason})
	}
	return out
}

func input(in signature.Input) statement.Input {
	return statement.Input{Kind: in.Kind, Name: in.Name, Digest: digests(in.SHA256, ""), Dated: in.Dated}
}
