package signature

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/assaylab/assay/verify/internal/strictjson"
	"github.com/assaylab/assay/verify/trust/anchor"
)

// MaxTrustAge is the age of a trusted root, in days, past which a Result warns,
// unless the Request states another.
const MaxTrustAge = 365

// loadTrustedRoot reads a trusted_root.json or, for a private PKI, a PEM file.
func loadTrustedRoot(path string, private bool) (root.TrustedMaterial, Input, error) {
	const hint = "give a trusted_root.json (application/vnd.dev.sigstore.trustedroot+json;version=0.1)"
	b, in, err := readInput("trusted root", path, MaxInput)
	if err != nil {
		return nil, in, err
	}
	if block, _ := pem.Decode(b); block != nil {
		if !private {
			return nil, in, trouble(hint+", or --"+FlagPrivatePKI+" for certificates of a PKI of your own", "the trusted root %q is PEM (%.40q)", in.Name, block.Type)
		}
		tm, dated, err := certificateRoots(b)
		if err != nil {
			return nil, in, trouble("give the CA certificates of the PKI and, to trust its time stamps, the certificate of its time stamping authority, all PEM",
				"the trusted root %q cannot be used: %s", in.Name, oneLine(err))
		}
		in.Kind = "private PKI"
		in.date(dated)
		return tm, in, nil
	}
	if err := strictjson.CheckShape(b); err != nil {
		return nil, in, trouble(hint, "the trusted root %q cannot be read: %v", in.Name, err)
	}
	tr, err := root.NewTrustedRootFromJSON(b)
	if err != nil {
		return nil, in, trouble(hint, "the trusted root %q cannot be read: %v", in.Name, oneLine(err))
	}
	in.date(anchor.Dated(tr))
	fetched, ok, err := anchor.ReadReceipt(path, in.SHA256)
	if err != nil {
		return nil, in, trouble("make it anew with: assay trust refresh --out FILE", "the receipt of the trusted root %q cannot be read: %s", in.Name, oneLine(err))
	}
	if ok {
		in.date(fetched)
	}
	return tr, in, nil
}

// date notes when an input was new, if that is later than what was known.
func (in *Input) date(t time.Time) {
	if day := t.UTC().Format(time.DateOnly); !t.IsZero() && day > in.Dated {
		in.Dated = day
	}
}

// certificateRoots reads the certificates of a private PKI: each self-signed CA
// certificate is a root, the other CA certificates lead to them, and one that is
// for time stamping alone is a time stamping authority. It also returns the
// newest start of validity.
func certificateRoots(text []byte) (root.TrustedMaterial, time.Time, error) {
	var newest time.Time
	certs, err := cryptoutils.UnmarshalCertificatesFromPEMLimited(text, maxCertificates)
	if err != nil {
		return nil, newest, err
	}
	var roots, middle, stampers []*x509.Certificate
	for i, c := range certs {
		if c.NotBefore.After(newest) {
			newest = c.NotBefore
		}
		switch {
		case c.IsCA && bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(c) == nil:
			roots = append(roots, c)
		case c.IsCA:
			middle = append(middle, c)
		case slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}):
			stampers = append(stampers, c)
		default:
			return nil, newest, fmt.Errorf("certificate %d (%q) is neither of a CA nor of a time stamping authority", i+1, c.Subject.String())
		}
	}
	if len(roots) == 0 {
		return nil, newest, errors.New("no certificate in it is a root: a CA that signed itself")
	}
	tm := &privateRoot{}
	for _, r := range roots {
		tm.authorities = append(tm.authorities, &root.FulcioCertificateAuthority{
			Root: r, Intermediates: middle, ValidityPeriodStart: r.NotBefore, ValidityPeriodEnd: r.NotAfter,
		})
		for _, s := range stampers {
			tm.stampers = append(tm.stampers, &root.SigstoreTimestampingAuthority{
				Root: r, Intermediates: middle, Leaf: s, ValidityPeriodStart: s.NotBefore, ValidityPeriodEnd: s.NotAfter,
			})
		}
	}
	return tm, newest, nil
}

// A privateRoot trusts certificates and time stamps, and no log.
type privateRoot struct {
	root.BaseTrustedMaterial
	authorities []root.CertificateAuthority
	stampers    []root.TimestampingAuthority
}

func (p *privateRoot) FulcioCertificateAuthorities() []root.CertificateAuthority {
	return p.authorities
}

func (p *privateRoot) TimestampingAuthorities() []root.TimestampingAuthority { return p.stampers }

// age reckons how old the trust is on the day that the Request names, and warns
// when it is older than it should be.
func (v *verification) age(in *Input) {
	if v.req.AsOf.IsZero() {
		return
	}
	v.res.AsOf = v.req.AsOf.UTC().Format(time.DateOnly)
	dated, err := time.Parse(time.DateOnly, in.Dated)
	if err != nil {
		v.warn("the %s %q has no date, so that nobody can tell how old it is", in.Kind, in.Name)
		return
	}
	days := int(v.req.AsOf.Unix()/86400 - dated.Unix()/86400)
	in.AgeDays = &days
	most := v.req.MaxTrustAge
	if most == 0 {
		most = MaxTrustAge
	}
	switch {
	case days > most:
		v.warn("the %s %q is %d days old, older than %d: a key that was withdrawn since is still trusted; renew it with: assay trust refresh", in.Kind, in.Name, days, most)
	case days < 0:
		v.warn("the %s %q is dated %s, after %s: is the clock right?", in.Kind, in.Name, in.Dated, v.res.AsOf)
	}
}

func (v *verification) warn(format string, args ...any) {
	v.res.Warnings = append(v.res.Warnings, fmt.Sprintf(format, args...))
}
