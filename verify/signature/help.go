package signature

import (
	"errors"
	"strconv"
	"time"

	"github.com/assaylab/assay/verify/provenance"
)

// Names of the command line options, as cosign names them where it has them.
const (
	FlagKey            = "key"
	FlagSignature      = "signature"
	FlagCertificate    = "certificate"
	FlagTimestamp      = "rfc3161-timestamp"
	FlagBundle         = "bundle"
	FlagTrustedRoot    = "trusted-root"
	FlagPrivatePKI     = "private-pki"
	FlagIdentity       = "certificate-identity"
	FlagIdentityRegexp = "certificate-identity-regexp"
	FlagIssuer         = "certificate-oidc-issuer"
	FlagIssuerRegexp   = "certificate-oidc-issuer-regexp"
	FlagPredicateType  = "type"
	FlagBuilder        = "provenance-builder-id"
	FlagBuildType      = "provenance-build-type"
	FlagSource         = "provenance-source"
	FlagRevision       = "provenance-revision"
	FlagDependency     = "provenance-dependency"
	FlagMaxTrustAge    = "max-trust-age"
	FlagAsOf           = "as-of"
)

// An Option is the help of one command line option, and what it does to a
// Request. A switch has no value to name: it is given "true".
type Option struct {
	Name  string // without dashes
	Value string // placeholder of the value; "" of a switch
	Usage string
	Set   func(r *Request, value string) error
}

// Options lists the options of a Request in the order in which help shows them.
func Options() []Option {
	// An empty value is mostly a variable that nobody set; were it taken for "not
	// asked", what was meant to be required would not be.
	to := func(field func(*Request) *string) func(*Request, string) error {
		return func(r *Request, s string) error {
			switch f := field(r); {
			case blank(s):
				return errors.New("it must not be empty")
			case *f != "":
				return errors.New("it is given twice")
			default:
				*f = s
				return nil
			}
		}
	}
	return []Option{
		{FlagKey, "FILE", "PEM public key that must have signed (ECDSA P-256/384/521, RSA of 2048, 3072 or 4096 bits, Ed25519)", to(func(r *Request) *string { return &r.Key })},
		{FlagSignature, "FILE", "detached signature over the artifact, raw or base64; needs --key, or --certificate and an identity", to(func(r *Request) *string { return &r.Signature })},
		{FlagBundle, "FILE", "sigstore bundle (v0.1 to v0.3) or legacy cosign bundle with the signature or attestation", to(func(r *Request) *string { return &r.Bundle })},
		{FlagCertificate, "FILE", "PEM certificate of whoever made the detached signature", to(func(r *Request) *string { return &r.Certificate })},
		{FlagTimestamp, "FILE", "RFC 3161 time stamp over the detached signature or the legacy bundle's", to(func(r *Request) *string { return &r.Timestamp })},
		{FlagIdentity, "NAME", "email address or URI that the signing certificate must name, exactly", to(func(r *Request) *string { return &r.Identity.Subject })},
		{FlagIdentityRegexp, "RE", "the same as a regular expression that must match the whole name", to(func(r *Request) *string { return &r.Identity.SubjectRegexp })},
		{FlagIssuer, "URL", "OpenID Connect issuer that must have vouched for the identity, exactly", to(func(r *Request) *string { return &r.Identity.Issuer })},
		{FlagIssuerRegexp, "RE", "the same as a regular expression that must match the whole issuer", to(func(r *Request) *string { return &r.Identity.IssuerRegexp })},
		{FlagTrustedRoot, "FILE", "trusted_root.json: the authorities and logs to trust; nothing is trusted without it", to(func(r *Request) *string { return &r.TrustedRoot })},
		{FlagPrivatePKI, "", "the trusted root is of a PKI without public logs: ask for no SCT and no log that it does not name; it may be PEM", func(r *Request, s string) (err error) {
			if r.PrivatePKI, err = strconv.ParseBool(s); err != nil {
				return errors.New("give true or false")
			}
			return nil
		}},
		{FlagPredicateType, "TYPE", "predicate type that the statement must have: a URI, or slsaprovenance1, slsaprovenance02, spdxjson, cyclonedx, vuln, openvex, link, custom", to(func(r *Request) *string { return &r.PredicateType })},
		{FlagBuilder, "URI", "builder that the SLSA provenance must name", to(func(r *Request) *string { return &r.Provenance.BuilderID })},
		{FlagBuildType, "URI", "build type that the SLSA provenance must name", to(func(r *Request) *string { return &r.Provenance.BuildType })},
		{FlagSource, "URI", "source repository that the SLSA provenance must name", to(func(r *Request) *string { return &r.Provenance.Source })},
		{FlagRevision, "HEX", "revision of that source: a full commit, or its digest", to(func(r *Request) *string { return &r.Provenance.Revision })},
		{FlagDependency, "[URI@]ALG:HEX", "resolved dependency that the SLSA provenance must name; may be repeated", func(r *Request, s string) error {
			d, err := provenance.ParseDependency(s)
			r.Provenance.Dependencies = append(r.Provenance.Dependencies, d)
			return err
		}},
		{FlagMaxTrustAge, "DAYS", "age of the trusted root past which to warn (" + strconv.Itoa(MaxTrustAge) + ")", func(r *Request, s string) (err error) {
			if r.MaxTrustAge, err = strconv.Atoi(s); err != nil || r.MaxTrustAge <= 0 {
				return errors.New("give a number of days, such as 90")
			}
			return nil
		}},
		{FlagAsOf, "DATE", "day on which to reckon that age, as 2026-01-31 (today)", func(r *Request, s string) (err error) {
			if r.AsOf, err = time.Parse(time.DateOnly, s); err != nil || r.AsOf.Year() < 1970 {
				return errors.New("give a day, such as 2026-01-31")
			}
			return nil
		}},
	}
}

// Help is the long help of the command that verifies signatures.
const Help = `Verify says whether ARTIFACT was signed by the key or the identity that you
name. Nothing is trusted by default, and nothing is fetched unless you say so:
you name the key, or the identity and the trusted root.

ARTIFACT is one of
  FILE                                 a file
  sha256:HEX                           a file of which only the digest is known
  oci:DIR@sha256:HEX                   an image in an OCI layout on disk
  docker://HOST/REPOSITORY@sha256:HEX  an image in a registry; needs --network

By a public key that the vendor gave you, out of band:

  assay verify firmware.bin --key vendor.pub --signature firmware.bin.sig
  assay verify firmware.bin --key vendor.pub --bundle firmware.bin.sigstore.json

By an identity: a person's email address or the URI of a build job, and the
service (issuer) that vouched for it. The certificate beside the signature binds
the two to the key that signed; the trusted root says which authorities and logs
may say so. "assay trust refresh" fetches the public one.

  assay verify firmware.bin --bundle firmware.bin.sigstore.json \
    --certificate-identity release@vendor.example \
    --certificate-oidc-issuer https://accounts.vendor.example \
    --trusted-root trusted_root.json

An image: its signatures are found beside it, every blob of it is hashed, and one
good signature is enough. An attestation is no signature: ask for it with --type.

  assay verify oci:layout@sha256:4f53… --key vendor.pub

Provenance: who built it, how, and from which source (SLSA, v0.2 and v1):

  assay verify firmware.bin --bundle firmware.bin.provenance.json --key builder.pub \
    --provenance-builder-id https://builder.vendor.example/v1 \
    --provenance-source https://git.vendor.example/firmware \
    --provenance-revision 5d1a3bd2…

A private PKI: --private-pki, and --trusted-root may then be a PEM file with the CA
certificates and that of the time stamping authority. Certificates then need no
public log, and a time stamp says when it was signed.

A statement that exists to give a verdict (assay's own, a SLSA verification
summary, an in-toto test result) is accepted only if it says that it passed.

Regular expressions must match the whole value. With a key, --trusted-root is
optional, and makes the bundle's log entry required. A trusted root does not
expire: its age is shown, and past --max-trust-age a warning.

The answer is a table of nine steps, each pass, fail or not checked, and why:

  parse      the signature or bundle is well formed
  chain      the certificate leads to an authority of the trusted root
  SCT        the certificate was published in a certificate log
  log        the signature is in a transparency log: none, a signed promise
             of the log only (SET only), or a Merkle proof
  time       when it was signed, by a time stamp or by the log
  signature  the signature verifies, and under which scheme
  subject    what was signed is this artifact
  identity   the signer is the one that you named
  predicate  the type of the statement, and what provenance says

Exit codes: 0 accepted; 1 the signature is bad, missing, by someone else or over
something else; 2 an input cannot be read or an option is missing; 3 a limit
leaves it open: a pure Ed25519 signature over more than 32 MiB or over a digest
alone, a signature over a SHA-384 or SHA-512 where only sha256:HEX is given, more
signatures beside an image than are read, or --timeout.
`
