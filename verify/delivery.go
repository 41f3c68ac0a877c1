package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
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

// A Source is a file or directory, pinned by its SHA-256 if one is given.
type Source struct {
	Path   string `yaml:"path"`
	SHA256 string `yaml:"sha256"`
	URL    string `yaml:"url"`
	OCI    string `yaml:"oci"`
}

// A ReferenceSource says how the reference is had: by rebuilding it from a
// recipe, of whose outputs Output names one, or from a path.
type ReferenceSource struct {
	Rebuild string `yaml:"rebuild"`
	Output  string `yaml:"output"`
	Path    string `yaml:"path"`
	SHA256  string `yaml:"sha256"`
	Symbols string `yaml:"symbols"` // an ELF file that names offsets of a raw reference
	Fetch   any    `yaml:"fetch"`
}

// A SignatureSpec is one signature to verify: by key, or by the identity in the
// certificate of a bundle.
type SignatureSpec struct {
	Name           string `yaml:"name"` // default: the key's file name without its extension, or the identity
	Over           string `yaml:"over"` // deployed or reference
	Key            string `yaml:"key"`
	Signature      string `yaml:"signature"`
	Bundle         string `yaml:"bundle"`
	Identity       string `yaml:"identity"`
	IdentityRegexp string `yaml:"identity_regexp"`
	Issuer         string `yaml:"issuer"`
	IssuerRegexp   string `yaml:"issuer_regexp"`
	TrustedRoot    string `yaml:"trusted_root"`
}

// Signers says which signatures must hold over each side. Without a rule for a
// side, every signature over it that the delivery lists must.
type Signers struct {
	Deployed  *SignerRule `yaml:"deployed"`
	Reference *SignerRule `yaml:"reference"`
}

// A SignerRule names signatures by their names: all of them must hold, any one,
// or exactly these and no other of the delivery.
type SignerRule struct {
	All     []string `yaml:"all"`
	Any     []string `yaml:"any"`
	Exactly []string `yaml:"exactly"`
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
		return nil, fmt.Errorf("delivery %s: %w", base(path), plain(err))
	}
	if len(b) > maxDelivery {
		return nil, fmt.Errorf("delivery %s: larger than %d bytes", base(path), maxDelivery)
	}
	d := &Delivery{dir: filepath.Dir(path), text: b}
	if err := strictYAML(b, d); err != nil {
		return nil, fmt.Errorf("delivery %s: %w", base(path), err)
	}
	sum := sha256.Sum256(b)
	d.sha256 = hex.EncodeToString(sum[:])
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("delivery %s: %w", base(path), err)
	}
	return d, nil
}

func (d *Delivery) check() error {
	switch {
	case d.Version != 1:
		return errors.New("version must be 1")
	case d.Name == "":
		return errors.New("name is missing")
	case d.Deployed.URL != "" || d.Deployed.OCI != "":
		return errors.New("deployed: only path is supported; download it and pin it by sha256")
	case d.Deployed.Path == "":
		return errors.New("deployed: path is missing")
	case d.Reference.Fetch != nil:
		return errors.New("reference: fetch is not supported; download it and give path and sha256")
	case (d.Reference.Rebuild == "") == (d.Reference.Path == ""):
		return errors.New("reference: give one of rebuild and path")
	case d.Reference.Rebuild != "" && d.Reference.Output == "":
		return errors.New("reference: output must name the recipe's output to compare with")
	case d.Reference.Rebuild == "" && d.Reference.Output != "":
		return errors.New("reference: output goes with rebuild")
	case d.Reference.Rebuild != "" && (d.Reference.SHA256 != "" || d.Reference.Symbols != ""):
		return errors.New("reference: sha256 and symbols go with path; a recipe names its own")
	}
	for _, s := range []string{d.Deployed.SHA256, d.Reference.SHA256} {
		if b, err := hex.DecodeString(s); err != nil || s != "" && len(b) != sha256.Size {
			return fmt.Errorf("sha256: %q is not 64 hexadecimal digits", s)
		}
	}
	names := map[string]string{}
	for i := range d.Signatures {
		s := &d.Signatures[i]
		if s.Over != "deployed" && s.Over != "reference" {
			return fmt.Errorf("signatures[%d]: over must be deployed or reference", i)
		}
		if s.Over == "reference" && d.Reference.Path == "" {
			return fmt.Errorf("signatures[%d]: a rebuilt reference bears no signature", i)
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
	for side, r := range map[string]*SignerRule{"deployed": d.Signers.Deployed, "reference": d.Signers.Reference} {
		if r == nil {
			continue
		}
		lists := 0
		for _, l := range [][]string{r.All, r.Any, r.Exactly} {
			if len(l) > 0 {
				lists++
			}
			for _, n := range l {
				if names[n] != side {
					return fmt.Errorf("signers: no signature over %s is named %q", side, n)
				}
			}
		}
		if lists != 1 {
			return fmt.Errorf("signers: %s: give one of all, any and exactly, with at least one name", side)
		}
	}
	return nil
}

// path resolves a path of the delivery file.
func (d *Delivery) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(d.dir, p)
}

// satisfied says why the signatures that hold over one side do not satisfy the
// delivery, or "".
func (d *Delivery) satisfied(side string, holds map[string]bool) string {
	rule := d.Signers.Deployed
	if side == "reference" {
		rule = d.Signers.Reference
	}
	if rule == nil {
		rule = &SignerRule{}
		for _, s := range d.Signatures {
			if s.Over == side {
				rule.All = append(rule.All, s.Name)
			}
		}
	}
	for _, n := range append(slices.Clone(rule.All), rule.Exactly...) {
		if !holds[n] {
			return fmt.Sprintf("the signature %q over the %s image does not hold", n, side)
		}
	}
	if len(rule.Exactly) > 0 {
		for _, s := range d.Signatures {
			if s.Over == side && holds[s.Name] && !slices.Contains(rule.Exactly, s.Name) {
				return fmt.Sprintf("%q signed the %s image too, and exactly %s may have", s.Name, side, strings.Join(rule.Exactly, ", "))
			}
		}
	}
	if len(rule.Any) > 0 && !slices.ContainsFunc(rule.Any, func(n string) bool { return holds[n] }) {
		return fmt.Sprintf("none of the signatures %s over the %s image holds", strings.Join(rule.Any, ", "), side)
	}
	return ""
}
