package verify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// sides are what a signature may be over, in the order of a report.
var sides = []string{"deployed", "reference", "source"}

// Signers says which signatures must hold over each side. Without a rule for a
// side, every signature over it that the delivery lists must.
type Signers struct {
	Deployed  *SignerRule `yaml:"deployed" json:"deployed,omitempty"`
	Reference *SignerRule `yaml:"reference" json:"reference,omitempty"`
	Source    *SignerRule `yaml:"source" json:"source,omitempty"`
}

// A SignerRule names signatures by their names: all of them must hold, any one,
// or exactly these and no other of the delivery.
type SignerRule struct {
	All     []string `yaml:"all" json:"all,omitempty"`
	Any     []string `yaml:"any" json:"any,omitempty"`
	Exactly []string `yaml:"exactly" json:"exactly,omitempty"`
}

func (s *Signers) rule(side string) **SignerRule {
	switch side {
	case "deployed":
		return &s.Deployed
	case "reference":
		return &s.Reference
	}
	return &s.Source
}

// check holds the rules against the signatures of the delivery: which side each
// name is over.
func (s *Signers) check(names map[string]string) error {
	for _, side := range sides {
		r := *s.rule(side)
		if r == nil {
			continue
		}
		for _, n := range slices.Concat(r.All, r.Any, r.Exactly) {
			if names[n] != side {
				return fmt.Errorf("signers: no signature over %s is named %q", side, n)
			}
		}
		if !r.definite() {
			return fmt.Errorf("signers: %s: give one of all, any and exactly, with at least one name", side)
		}
	}
	return nil
}

// definite says whether the rule has one of its lists, and no other.
func (r *SignerRule) definite() bool {
	lists := 0
	for _, l := range [][]string{r.All, r.Any, r.Exactly} {
		if len(l) > 0 {
			lists++
		}
	}
	return lists == 1
}

// effective is s with the rule that stands where none is given: all.
func (s Signers) effective(specs []SignatureSpec) Signers {
	for _, side := range sides {
		r := s.rule(side)
		if *r != nil {
			continue
		}
		var all []string
		for i := range specs {
			if specs[i].Over == side {
				all = append(all, specs[i].Name)
			}
		}
		if len(all) > 0 {
			*r = &SignerRule{All: all}
		}
	}
	return s
}

// unsatisfied says, by side, why the signatures do not satisfy the rules. It
// depends on the report's words alone, so that stored evidence is judged again.
func (s *Signers) unsatisfied(signatures []Signature) map[string]string {
	out := map[string]string{}
	for _, side := range sides {
		r := *s.rule(side)
		if r == nil {
			if r = allOver(side, signatures); r == nil {
				continue
			}
		}
		if why := r.unsatisfied(side, signatures); why != "" {
			out[side] = why
		}
	}
	return out
}

// allOver is the rule of a side that has none: every signature over it that has a
// name. It is nil where none has.
func allOver(side string, signatures []Signature) *SignerRule {
	r := &SignerRule{}
	for i := range signatures {
		if s := &signatures[i]; s.Over == side && s.Name != "" {
			r.All = append(r.All, s.Name)
		}
	}
	if r.All == nil {
		return nil
	}
	return r
}

func (r *SignerRule) unsatisfied(side string, signatures []Signature) string {
	if !r.definite() {
		return fmt.Sprintf("the rule of signers of the %s is not one of all, any and exactly with at least one name", thing(side))
	}
	holds := map[string]bool{}
	for i := range signatures {
		if s := &signatures[i]; s.Over == side {
			holds[s.Name] = holds[s.Name] || s.OK && !s.Foreign
		}
	}
	for _, n := range slices.Concat(r.All, r.Exactly) {
		if !holds[n] {
			return fmt.Sprintf("the signature %q over the %s does not hold", n, thing(side))
		}
	}
	if len(r.Exactly) > 0 {
		may := map[string]bool{}
		for _, n := range r.Exactly {
			may[n] = true
		}
		for i := range signatures {
			s := &signatures[i]
			switch {
			case s.Over != side:
			case s.Stranger:
				return fmt.Sprintf("beside the %s is %q, a signature or attestation of nobody who is listed, and exactly %s may have signed", thing(side), cmp.Or(s.Signed.Name, strings.Join(s.Reasons, ", ")), strings.Join(r.Exactly, ", "))
			case s.OK && !may[s.Name]:
				return fmt.Sprintf("%q signed the %s too, and exactly %s may have", s.Name, thing(side), strings.Join(r.Exactly, ", "))
			}
		}
	}
	if len(r.Any) > 0 && !slices.ContainsFunc(r.Any, func(n string) bool { return holds[n] }) {
		return fmt.Sprintf("none of the signatures %s over the %s holds", strings.Join(r.Any, ", "), thing(side))
	}
	return ""
}

// thing is what a side is called in a sentence.
func thing(side string) string {
	if side == "source" {
		return "source"
	}
	return side + " image"
}
