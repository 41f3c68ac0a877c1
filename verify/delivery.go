package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/assaylab/assay/verify/fetch"
	"github.com/assaylab/assay/verify/provenance"
	"github.com/assaylab/assay/verify/signature"

	"github.com/assaylab/assay/verify/internal/plain"
)

// A Delivery is what arrived and what is to be asked of it, as a strict YAML
// file says. Paths in it are relative to the file.
type Delivery struct {
	Version    int             `yaml:"version"`
	Name       string          `yaml:"name"`
	Deployed   Source          `yaml:"deployed"`
	Reference  ReferenceSource `yaml:"reference"`
	Signatures []SignatureSpec `yaml:"signatures"`
	Signers    Signers         `yaml:"signers"`
	Policy     string          `yaml:"policy"`

	dir    string // of the file
	sha256 string // of the file
	text   []byte
}

// A Source is a file or directory, pinned by its SHA-256 if one is given. What is
// fetched is pinned: by its SHA-256, or an image by its digest.
type Source struct {
	Path   string `yaml:"path"`
	SHA256 string `yaml:"sha256"`
	URL    string `yaml:"url"` // https://…
	OCI    string `yaml:"oci"` // docker://HOST/REPOSITORY@sha256:HEX or oci:DIR@sha256:HEX

	got *fetch.Artifact // what was fetched
}

// A ReferenceSource says how the reference is had: by rebuilding it from a
// recipe, of whose outputs Output names one, from a path, or by fetching what
// Fetch names as fetch.ParseRequest reads it.
type ReferenceSource struct {
	Rebuild string `yaml:"rebuild"`
	Output  string `yaml:"output"`
	Path    string `yaml:"path"`
	SHA256  string `yaml:"sha256"`
	Symbols string `yaml:"symbols"` // an ELF file that names offsets of a raw reference
	Fetch   string `yaml:"fetch"`

	got *fetch.Artifact // what was fetched
}

// A SignatureSpec is one signature or attestation to verify: by key, or by the
// identity in its certificate.
type SignatureSpec struct {
	Name           string          `yaml:"name"`   // default: the key's file name without its extension, or the identity
	Over           string          `yaml:"over"`   // deployed, reference or source
	Source         string          `yaml:"source"` // the name or path of the recipe's source; default: the only one that is not taken on trust
	Image          string          `yaml:"image"`  // sha256:HEX of an image, where the side is an OCI layout: its signatures are found in it
	Key            string          `yaml:"key"`
	Signature      string          `yaml:"signature"`
	Certificate    string          `yaml:"certificate"`
	Timestamp      string          `yaml:"timestamp"`
	Bundle         string          `yaml:"bundle"`
	Identity       string          `yaml:"identity"`
	IdentityRegexp string          `yaml:"identity_regexp"`
	Issuer         string          `yaml:"issuer"`
	IssuerRegexp   string          `yaml:"issuer_regexp"`
	TrustedRoot    string          `yaml:"trusted_root"`
	PrivatePKI     bool            `yaml:"private_pki"`
	Type           string          `yaml:"type"`
	Provenance     *ProvenanceSpec `yaml:"provenance"`

	provenance provenance.Policy
}

// A ProvenanceSpec is what the statement of an entry must say as SLSA
// provenance. What is not given is not asked.
type ProvenanceSpec struct {
	BuilderID    string   `yaml:"builder_id"`
	BuildType    string   `yaml:"build_type"`
	Source       string   `yaml:"source"`
	Revision     string   `yaml:"revision"`
	Dependencies []string `yaml:"dependencies"` // [URI@]ALG:HEX
}

var imageDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// request is the question that an entry asks of an artifact.
func (d *Delivery) request(s *SignatureSpec, artifact signature.Artifact, o Options) signature.Request {
	r := signature.Request{
		Artifact: artifact, Signature: d.path(s.Signature), Certificate: d.path(s.Certificate), Timestamp: d.path(s.Timestamp),
		Bundle: d.path(s.Bundle), Key: d.path(s.Key), TrustedRoot: d.path(s.TrustedRoot), PrivatePKI: s.PrivatePKI,
		Identity: signature.Identity{
			Subject: s.Identity, SubjectRegexp: s.IdentityRegexp, Issuer: s.Issuer, IssuerRegexp: s.IssuerRegexp,
		},
		PredicateType: s.Type, AsOf: o.AsOf, MaxTrustAge: o.MaxTrustAge,
	}
	if s.Provenance != nil {
		r.Provenance = s.provenance
	}
	return r
}

// policy reads what the entry asks of a provenance.
func (s *ProvenanceSpec) policy() (provenance.Policy, error) {
	p := provenance.Policy{BuilderID: s.BuilderID, BuildType: s.BuildType, Source: s.Source, Revision: s.Revision}
	for _, text := range s.Dependencies {
		dep, err := provenance.ParseDependency(text)
		if err != nil {
			return p, err
		}
		p.Dependencies = append(p.Dependencies, dep)
	}
	if !p.Asked() {
		return p, errors.New("it asks for nothing")
	}
	return p, p.Validate()
}

// maxDelivery bounds a delivery file, in bytes.
const maxDelivery = 1 << 20

// LoadDelivery reads a delivery file. Unknown and repeated keys are errors that
// name the line.
func LoadDelivery(path string) (*Delivery, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, fmt.Errorf("delivery: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxDelivery+1))
	if err != nil {
		return nil, fmt.Errorf("delivery %s: %w", base(path), plain.Cause(err))
	}
	if len(b) > maxDelivery {
		return nil, fmt.Errorf("delivery %s: larger than %d bytes", base(path), maxDelivery)
	}
	d := &Delivery{dir: filepath.Dir(path), text: b}
	if err := strictYAML(b, d); err != nil {
		return nil, fmt.Errorf("delivery %s: %w", base(path), err)
	}
	if err := noneEmpty(b); err != nil {
		return nil, fmt.Errorf("delivery %s: %w", base(path), err)
	}
	sum := sha256.Sum256(b)
	d.sha256 = hex.EncodeToString(sum[:])
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("delivery %s: %w", base(path), err)
	}
	return d, nil
}

// noneEmpty refuses keys without a value. Mostly they come of a variable that
// nobody set, and what was meant to be required would not be.
func noneEmpty(text []byte) error {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return plainYAML(err)
	}
	var walk func(n *yaml.Node) error
	walk = func(n *yaml.Node) error {
		for i, c := range n.Content {
			if c.Kind == yaml.ScalarNode && strings.TrimSpace(c.Value) == "" || c.Tag == "!!null" {
				if n.Kind == yaml.MappingNode && i%2 == 1 {
					return fmt.Errorf("line %d: %s is empty: give a value, or leave it out", c.Line, n.Content[i-1].Value)
				}
				return fmt.Errorf("line %d: an empty value", c.Line)
			}
			if err := walk(c); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(&root)
}

func (d *Delivery) check() error {
	switch {
	case d.Version != 1:
		return errors.New("version must be 1")
	case d.Name == "":
		return errors.New("name is missing")
	case given(d.Deployed.Path, d.Deployed.URL, d.Deployed.OCI) != 1:
		return errors.New("deployed: give one of path, url and oci")
	case d.Deployed.URL != "" && d.Deployed.SHA256 == "":
		return errors.New("deployed: a url needs a sha256: what is not pinned is whatever the server says it is; assay fetch URL prints the digest that it sees")
	case given(d.Reference.Path, d.Reference.Rebuild, d.Reference.Fetch) != 1:
		return errors.New("reference: give one of rebuild, fetch and path")
	case d.Reference.Rebuild != "" && d.Reference.Output == "":
		return errors.New("reference: output must name the recipe's output to compare with")
	case d.Reference.Rebuild == "" && d.Reference.Output != "":
		return errors.New("reference: output goes with rebuild")
	case d.Reference.Rebuild != "" && (d.Reference.SHA256 != "" || d.Reference.Symbols != ""):
		return errors.New("reference: sha256 and symbols go with path and fetch; a recipe names its own")
	}
	for _, a := range []struct {
		key, address string
		fits         func(fetch.Request) bool
	}{
		{"deployed: url", d.Deployed.URL, func(r fetch.Request) bool { return r.URL != "" }},
		{"deployed: oci", d.Deployed.OCI, func(r fetch.Request) bool { return r.OCI != "" }},
		{"reference: fetch", d.Reference.Fetch, func(fetch.Request) bool { return true }},
	} {
		if a.address == "" {
			continue
		}
		r, err := fetch.ParseRequest(a.address)
		if err != nil {
			return fmt.Errorf("%s: %w", a.key, err)
		}
		if !a.fits(r) {
			return fmt.Errorf("%s: %.200q is of another kind; reference: {fetch: …} takes any", a.key, a.address)
		}
	}
	for _, s := range []string{d.Deployed.SHA256, d.Reference.SHA256} {
		if b, err := hex.DecodeString(s); err != nil || s != "" && len(b) != sha256.Size {
			return fmt.Errorf("sha256: %q is not 64 hexadecimal digits", s)
		}
	}
	names := map[string]string{}
	for i := range d.Signatures {
		s := &d.Signatures[i]
		switch {
		case !slices.Contains(sides, s.Over):
			return fmt.Errorf("signatures[%d]: over must be %s", i, strings.Join(sides, ", "))
		case s.Over == "reference" && d.Reference.Rebuild != "":
			return fmt.Errorf("signatures[%d]: a rebuilt reference bears no signature", i)
		case s.Over == "source" && d.Reference.Rebuild == "":
			return fmt.Errorf("signatures[%d]: only a reference that is rebuilt has a source", i)
		case s.Image != "" && (s.Over == "deployed" && d.Deployed.Path == "" || s.Over == "reference" && d.Reference.Path == ""):
			return fmt.Errorf("signatures[%d]: image is found in a layout that path names; what is fetched of an image is one file", i)
		case s.Image != "" && s.Over == "source":
			return fmt.Errorf("signatures[%d]: a source is no image", i)
		case s.Image != "" && !imageDigest.MatchString(s.Image):
			return fmt.Errorf("signatures[%d]: image: %q is not sha256: and 64 lower-case hexadecimal digits", i, s.Image)
		case s.Source != "" && s.Over != "source":
			return fmt.Errorf("signatures[%d]: source goes with over: source", i)
		}
		if s.Provenance != nil {
			var err error
			if s.provenance, err = s.Provenance.policy(); err != nil {
				return fmt.Errorf("signatures[%d]: provenance: %w", i, err)
			}
		}
		if s.Name == "" {
			s.Name = s.Identity + s.IdentityRegexp
			if s.Key != "" {
				s.Name = strings.TrimSuffix(filepath.Base(s.Key), filepath.Ext(s.Key))
			}
		}
		if _, ok := names[s.Name]; ok || s.Name == "" {
			return fmt.Errorf("signatures[%d]: it needs a name of its own, %q is empty or taken", i, s.Name)
		}
		names[s.Name] = s.Over
	}
	return d.Signers.check(names)
}

// given counts the texts that are not empty.
func given(texts ...string) (n int) {
	for _, t := range texts {
		if t != "" {
			n++
		}
	}
	return n
}

// path resolves a path of the delivery file.
func (d *Delivery) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(d.dir, p)
}
