package verify

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/assaylab/assay/verify/internal/plain"
)

// A Policy is what a comparison must satisfy. The zero Policy is the strictest:
// bit for bit. Whatever it says, nothing unexplained, moved or missing passes.
type Policy struct {
	Name string `json:"name"`

	// Explained allows differences that the kernel found explained or carried,
	// within FreeBits in all.
	Explained bool  `json:"explained"`
	FreeBits  int64 `json:"free_bits"`

	// Rules, where there are any, are the only ones allowed, each within its
	// own budget.
	Rules []Allowance `json:"rules,omitempty"`
}

// An Allowance is the budget of one rule in the sections that a glob names.
type Allowance struct {
	Rule     string `json:"rule" yaml:"rule"`
	Path     string `json:"path,omitempty" yaml:"path"` // as path.Match; empty: everywhere
	FreeBits int64  `json:"free_bits" yaml:"free_bits"`
}

// The two policies that are built in.
var (
	identicalPolicy = Policy{Name: "identical"}
	standardPolicy  = Policy{Name: "standard", Explained: true, FreeBits: 1024}
)

// maxPolicy bounds a policy file, in bytes.
const maxPolicy = 1 << 20

// LoadPolicy returns a built-in policy by name ("" stands for standard), or
// reads a file:
//
//	version: 1
//	name: release
//	free_bits: 128
//	rules:
//	  - {rule: date-text, path: "*:.rodata", free_bits: 64}
func LoadPolicy(name string) (Policy, error) {
	switch name {
	case "", "standard":
		return standardPolicy, nil
	case "identical":
		return identicalPolicy, nil
	}
	f, err := openRegular(name)
	if err != nil {
		return Policy{}, fmt.Errorf("policy %q is neither identical nor standard nor a file: %w", name, plain.Cause(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPolicy+1))
	if err != nil {
		return Policy{}, err
	}
	if len(b) > maxPolicy {
		return Policy{}, fmt.Errorf("policy %s: larger than %d bytes", base(name), maxPolicy)
	}
	var p struct {
		Version  int         `yaml:"version"`
		Name     string      `yaml:"name"`
		FreeBits *int64      `yaml:"free_bits"`
		Rules    []Allowance `yaml:"rules"`
	}
	if err := strictYAML(b, &p); err != nil {
		return Policy{}, fmt.Errorf("policy %s: %w", base(name), err)
	}
	switch {
	case p.Version != 1:
		return Policy{}, fmt.Errorf("policy %s: version must be 1", base(name))
	case p.Name == "" || p.Name == "standard" || p.Name == "identical":
		return Policy{}, fmt.Errorf("policy %s: it needs a name of its own", base(name))
	case p.FreeBits == nil || *p.FreeBits < 0:
		return Policy{}, fmt.Errorf("policy %s: free_bits must say how many bits may be free in all", base(name))
	}
	for i, r := range p.Rules {
		if r.Rule == "" || r.FreeBits < 0 {
			return Policy{}, fmt.Errorf("policy %s: rules[%d] needs a rule and free_bits", base(name), i)
		}
		if _, err := path.Match(r.Path, ""); err != nil {
			return Policy{}, fmt.Errorf("policy %s: rules[%d]: path: %w", base(name), i, err)
		}
	}
	return Policy{Name: p.Name, Explained: true, FreeBits: *p.FreeBits, Rules: p.Rules}, nil
}

// strictYAML decodes one document; an unknown or repeated key is an error that
// names its line, and so is anything after the document.
func strictYAML(b []byte, v any) error {
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(v); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("it is empty")
		}
		return plainYAML(err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one document")
	}
	return nil
}

var unknownKey = regexp.MustCompile(`(?s)field (\S+) not found in type .*`)

// plainYAML puts a decoder's error in one line and in words of the file.
func plainYAML(err error) error {
	var te *yaml.TypeError
	if !errors.As(err, &te) {
		return err
	}
	out := make([]string, len(te.Errors))
	for i, e := range te.Errors {
		out[i] = unknownKey.ReplaceAllString(e, "unknown key $1")
	}
	return errors.New(strings.Join(out, "; "))
}

// allows returns the index of the allowance a rule falls under at a section, -1
// if the policy has no list, or false if none covers it.
func (p *Policy) allows(rule, section string) (int, bool) {
	if len(p.Rules) == 0 {
		return -1, true
	}
	for i, r := range p.Rules {
		if r.Rule != rule {
			continue
		}
		if ok, _ := path.Match(r.Path, section); ok || r.Path == "" {
			return i, true
		}
	}
	return 0, false
}
