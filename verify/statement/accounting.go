package statement

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A Verdict is what a byte-accounting statement comes to. The zero Verdict accuses.
type Verdict uint8

// Verdicts.
const (
	Fail       Verdict = iota // FAIL: a byte, a signature or an input speaks against the deployed image
	Incomplete                // INCOMPLETE: a limit or a failure left it open
	Pass                      // PASS: every byte is accounted for within policy
)

var verdicts = [...]string{"FAIL", "INCOMPLETE", "PASS"}

func (v Verdict) String() string {
	if int(v) >= len(verdicts) {
		return verdicts[Fail]
	}
	return verdicts[v]
}

// MarshalText writes "FAIL", "INCOMPLETE" or "PASS".
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (v *Verdict) UnmarshalText(text []byte) error {
	for i, name := range verdicts {
		if name == string(text) {
			*v = Verdict(i)
			return nil
		}
	}
	return fmt.Errorf("unknown verdict %.40q", text)
}

// A ByteAccounting is the predicate of type [ByteAccountingType]: how a deployed
// image was held against a reference, byte by byte, and what came of it. It is
// said of the deployed image, the one subject. Offsets and sizes are in bytes,
// digests in lower-case hexadecimal. Names come from outside.
//
// It is what a run recorded, not a proof: the evidence that it names by digest
// can be replayed.
type ByteAccounting struct {
	Tool    Tool     `json:"tool"`    // that came to the verdict
	Verdict Verdict  `json:"verdict"` // PASS, FAIL or INCOMPLETE
	Reasons []string `json:"reasons"` // why the verdict is not better, one a line; none for PASS

	Delivery  *Artifact `json:"delivery,omitempty"` // the delivery file that was checked; absent when two images were compared
	Reference Image     `json:"reference"`          // what it was held against; without digest when there was none to be had
	Deployed  Image     `json:"deployed"`           // the subject

	Policy   Policy `json:"policy"`   // that judged the account
	Totals   Totals `json:"totals"`   // the account
	FreeBits int64  `json:"freeBits"` // bits of the deployed image that the proofs leave open, all together
	Rules    []Rule `json:"rules"`    // that explained differences, in the order of their first use

	// Signatures are those that the run verified, with what it trusted for each,
	// and Signers which of them had to hold. Over a side without a rule, all that
	// have a name had to.
	Signatures []Signature `json:"signatures"`
	Signers    Signers     `json:"signers,omitzero"`

	Evidence Evidence `json:"evidence"`
}

// A Tool is a program and its version.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// An Artifact is a file by name and digests.
type Artifact struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"` // sha256, sha384, sha512
}

// An Image is one side of the comparison.
type Image struct {
	Name   string            `json:"name"`
	Kind   string            `json:"kind"` // file or directory
	Size   int64             `json:"size"`
	Digest map[string]string `json:"digest,omitempty"` // sha256, sha384, sha512
	Pinned bool              `json:"pinned,omitempty"` // the delivery demanded its sha256, and it fits

	// Origin says how a reference was obtained, as the report of the run records
	// it: an object whose kind is path, pinned or rebuilt. Absent: as given on the
	// command line.
	Origin json.RawMessage `json:"origin,omitempty"`
}

// A Policy is what the account had to satisfy.
type Policy struct {
	Name      string      `json:"name"`
	Explained bool        `json:"explained"`       // whether explained differences are allowed at all
	FreeBits  int64       `json:"freeBits"`        // that may be free in all
	Rules     []Allowance `json:"rules,omitempty"` // where there are any, the only ones allowed
}

// An Allowance is the budget of one rule in the sections that a glob names.
type Allowance struct {
	Rule     string `json:"rule"`
	Path     string `json:"path,omitempty"` // glob over sections; absent: everywhere
	FreeBits int64  `json:"freeBits"`
}

// Totals counts the bytes of the deployed image, each once, by the worst of what
// it carries. Missing counts bytes of the reference and stands outside the sum.
type Totals struct {
	Identical   int64 `json:"identical"`
	Explained   int64 `json:"explained"`
	Carried     int64 `json:"carried"` // another encoding of accounted content
	Moved       int64 `json:"moved"`
	Unexplained int64 `json:"unexplained"`
	Missing     int64 `json:"missing"`
}

// A Rule is one that explained differences.
type Rule struct {
	Name        string `json:"name"`
	Differences int64  `json:"differences"` // how many
	Bytes       int64  `json:"bytes"`       // in them
	FreeBits    int64  `json:"freeBits"`    // that they leave open
}

// A Signature is one that the run verified.
type Signature struct {
	Name     string  `json:"name,omitempty"` // in the delivery
	Over     string  `json:"over"`           // deployed, reference or source
	Holds    bool    `json:"holds"`
	Image    string  `json:"image,omitempty"`    // sha256:HEX of the image in a layout that it was found beside
	Stranger bool    `json:"stranger,omitempty"` // found there, and of nobody in the delivery
	Signed   Input   `json:"signed"`             // the file of the signature or the bundle
	Trust    []Input `json:"trust"`              // what was trusted: a public key, a trusted root

	Scheme        string `json:"scheme,omitempty"`
	Identity      string `json:"identity,omitempty"` // in the certificate; to be believed only if the signature holds
	Issuer        string `json:"issuer,omitempty"`   // of that identity
	PredicateType string `json:"predicateType,omitempty"`
	SignedAt      string `json:"signedAt,omitempty"` // RFC 3339, UTC

	Steps []Step `json:"steps"` // of its verification: all nine, or none where there was nothing to verify
}

// An Input is a file that a signature depends on.
type Input struct {
	Kind   string            `json:"kind"`
	Name   string            `json:"name,omitempty"`
	Digest map[string]string `json:"digest,omitempty"` // sha256; of a public key: of its DER SubjectPublicKeyInfo
	Dated  string            `json:"dated,omitempty"`  // of a trusted root: the day of its newest content, or when it was fetched
}

// Signers says which signatures had to hold over each side.
type Signers struct {
	Deployed  *SignerRule `json:"deployed,omitempty"`
	Reference *SignerRule `json:"reference,omitempty"`
	Source    *SignerRule `json:"source,omitempty"`
}

// A SignerRule names signatures by their names: all of them, any one, or exactly
// these and no other.
type SignerRule struct {
	All     []string `json:"all,omitempty"`
	Any     []string `json:"any,omitempty"`
	Exactly []string `json:"exactly,omitempty"`
}

// A Step is one step of a verification.
type Step struct {
	Name    string `json:"name"`    // parse, chain, SCT, log, time, signature, subject, identity and predicate, in this order
	Outcome string `json:"outcome"` // pass, fail or not checked
	Reason  string `json:"reason"`
}

// Evidence names what the run stored.
type Evidence struct {
	// Sums is the sha256 of SHA256SUMS, the list of the sha256 of every other file
	// of the folder: it stands for the whole.
	Sums string `json:"sha256sums"`
	// Ledger is the digest in which the ledger ends; absent when no byte was
	// accounted for.
	Ledger string `json:"ledger,omitempty"`
}

// Statement states the predicate of the deployed image. It refuses one that
// contradicts itself, above all a PASS that its own numbers do not bear.
func (p *ByteAccounting) Statement() (*Statement, error) {
	if err := p.check(); err != nil {
		return nil, trouble("make the account anew", "%v", err)
	}
	return New(ByteAccountingType, p, Subject{Name: p.Deployed.Name, Digest: p.Deployed.Digest})
}

func (s *Statement) checkByteAccounting() error {
	p := &ByteAccounting{}
	if err := exactly(s.Predicate, p); err != nil {
		return fmt.Errorf("predicate: %w", err)
	}
	if err := p.check(); err != nil {
		return fmt.Errorf("predicate: %w", err)
	}
	if len(s.Subject) != 1 || s.Subject[0].Name != p.Deployed.Name || !maps.Equal(s.Subject[0].Digest, p.Deployed.Digest) {
		return errors.New("its subject is not the deployed image of its predicate")
	}
	return nil
}

func (p *ByteAccounting) check() error {
	t := &p.Totals
	left := p.Deployed.Size
	for _, n := range []int64{t.Identical, t.Explained, t.Carried, t.Moved, t.Unexplained} {
		if n < 0 || n > left {
			return errors.New("the totals do not add up to the deployed image")
		}
		left -= n
	}
	switch {
	case p.Tool.Name == "" || p.Policy.Name == "":
		return errors.New("the tool or the policy has no name")
	case p.Reasons == nil || p.Rules == nil || p.Signatures == nil:
		return errors.New("reasons, rules and signatures are lists, if empty ones")
	case left != 0:
		return errors.New("the totals do not add up to the deployed image")
	case t.Missing < 0 || p.FreeBits < 0 || p.Policy.FreeBits < 0:
		return errors.New("a number is negative")
	case !isHex(p.Evidence.Sums, 32) || p.Evidence.Ledger != "" && !isHex(p.Evidence.Ledger, 32):
		return errors.New("the evidence is not named by sha256")
	case p.Verdict != Pass && len(p.Reasons) == 0:
		return fmt.Errorf("the verdict is %v, and no reason says why", p.Verdict)
	}
	for _, side := range []struct {
		name string
		*Image
	}{{"reference", &p.Reference}, {"deployed image", &p.Deployed}} {
		if err := side.check(); err != nil {
			return fmt.Errorf("the %s: %w", side.name, err)
		}
	}
	if err := p.checkSignatures(); err != nil {
		return err
	}
	if p.Verdict == Pass {
		if why := p.against(); why != "" {
			return fmt.Errorf("the verdict is PASS, but %s", why)
		}
	}
	return nil
}

func (i *Image) check() error {
	if i.Kind != "file" && i.Kind != "directory" {
		return fmt.Errorf("its kind is %.40q, not file or directory", i.Kind)
	}
	if i.Size < 0 {
		return errors.New("its size is negative")
	}
	if i.Origin != nil {
		o, err := read(i.Origin)
		if err != nil {
			return err
		}
		object, _ := o.(map[string]any)
		if kind, _ := object["kind"].(string); kind != "path" && kind != "pinned" && kind != "rebuilt" {
			return errors.New("its origin is not an object of the kind path, pinned or rebuilt")
		}
	}
	if len(i.Digest) == 0 {
		return nil
	}
	return checkDigest(i.Digest)
}

// against says what of the numbers speaks against a PASS.
func (p *ByteAccounting) against() string {
	t := &p.Totals
	same := p.Reference.Size == p.Deployed.Size && p.Reference.Digest["sha256"] == p.Deployed.Digest["sha256"] && t.Identical == p.Deployed.Size
	switch {
	case len(p.Reasons) > 0:
		return "it has reasons to be worse"
	case t.Unexplained > 0 || t.Moved > 0 || t.Missing > 0:
		return "bytes are unexplained, moved or missing"
	case p.Reference.Digest["sha256"] == "" || p.Deployed.Digest["sha256"] == "":
		return "an image has no digest"
	case p.Reference.Kind != p.Deployed.Kind:
		return "the images are of two kinds"
	case p.Evidence.Ledger == "":
		return "there is no ledger"
	case !same && !p.Policy.Explained:
		return "the images differ, and the policy allows no difference"
	case !same && p.FreeBits > p.Policy.FreeBits:
		return "more bits are free than the policy allows"
	}
	return p.unsigned()
}

// A side is what signatures are over, and the rule for them.
type side struct {
	name string
	rule *SignerRule
}

func (s *Signers) sides() []side {
	return []side{{"deployed", s.Deployed}, {"reference", s.Reference}, {"source", s.Source}}
}

// steps are the names of the steps of a verification, in their order.
var steps = [...]string{"parse", "chain", "SCT", "log", "time", "signature", "subject", "identity", "predicate"}

// checkSignatures refuses signatures and rules that contradict themselves.
func (p *ByteAccounting) checkSignatures() error {
	sides := p.Signers.sides()
	for _, side := range sides {
		if side.rule != nil && !side.rule.definite() {
			return fmt.Errorf("signers.%s: it must have one of all, any and exactly, with at least one name", side.name)
		}
	}
	for i := range p.Signatures {
		s := &p.Signatures[i]
		var err error
		switch {
		case !slices.ContainsFunc(sides, func(side side) bool { return side.name == s.Over }):
			err = fmt.Errorf("it is over %.40q, not deployed, reference or source", s.Over)
		case s.Name == "" && !s.Stranger:
			err = errors.New("it has no name")
		case s.Holds && s.Stranger:
			err = errors.New("it holds, and is nobody's")
		default:
			err = s.checkSteps()
		}
		if err != nil {
			return fmt.Errorf("signatures[%d]: %w", i, err)
		}
	}
	return nil
}

func (r *SignerRule) definite() bool {
	lists := 0
	for _, l := range [][]string{r.All, r.Any, r.Exactly} {
		if len(l) > 0 {
			lists++
		}
	}
	return lists == 1
}

func (s *Signature) checkSteps() error {
	if len(s.Steps) == 0 && !s.Holds {
		return nil
	}
	if len(s.Steps) != len(steps) {
		return fmt.Errorf("it has %d steps of %d", len(s.Steps), len(steps))
	}
	for i, step := range s.Steps {
		switch {
		case step.Name != steps[i]:
			return fmt.Errorf("its step %d is %.40q, not %s", i+1, step.Name, steps[i])
		case step.Outcome != "pass" && step.Outcome != "fail" && step.Outcome != "not checked":
			return fmt.Errorf("its step %s came to %.40q", step.Name, step.Outcome)
		case !s.Holds || step.Outcome == "pass":
		case step.Outcome == "fail":
			return fmt.Errorf("it holds, and its step %s failed", step.Name)
		case step.Name == "parse" || step.Name == "signature" || step.Name == "subject" || step.Name == "identity":
			return fmt.Errorf("it holds, and its step %s did not pass", step.Name)
		}
	}
	return nil
}

// unsigned says why the signatures do not satisfy the rules of signers.
func (p *ByteAccounting) unsigned() string {
	for _, side := range p.Signers.sides() {
		var named, holding []string
		stranger := ""
		for _, s := range p.Signatures {
			switch {
			case s.Over != side.name:
				continue
			case s.Holds:
				holding = append(holding, s.Name)
			case s.Stranger:
				stranger = fmt.Sprintf("%.100q is of nobody who may have signed", s.Signed.Name)
			}
			if s.Name != "" {
				named = append(named, s.Name)
			}
		}
		r := side.rule
		if r == nil {
			r = &SignerRule{All: named}
		}
		holds := func(name string) bool { return slices.Contains(holding, name) }
		for _, name := range slices.Concat(r.All, r.Exactly) {
			if !holds(name) {
				return fmt.Sprintf("the signature %.100q, which must hold, does not", name)
			}
		}
		if len(r.Any) > 0 && !slices.ContainsFunc(r.Any, holds) {
			return fmt.Sprintf("no signature over the %s holds, and one must", side.name)
		}
		if len(r.Exactly) == 0 {
			continue
		}
		if stranger != "" {
			return stranger
		}
		for _, name := range holding {
			if !slices.Contains(r.Exactly, name) {
				return fmt.Sprintf("%.100q signed too, and must not have", name)
			}
		}
	}
	return ""
}

// Verdict returns the verdict of a byte-accounting statement and its reasons; ok
// is false of other statements.
func (s *Statement) Verdict() (v Verdict, reasons []string, ok bool) {
	p := &ByteAccounting{}
	if s.PredicateType != ByteAccountingType || exactly(s.Predicate, p) != nil {
		return Fail, nil, false
	}
	return p.Verdict, p.Reasons, true
}
