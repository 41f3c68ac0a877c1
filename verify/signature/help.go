package signature

// Names of the command line options, as cosign names them.
const (
	FlagKey            = "key"
	FlagSignature      = "signature"
	FlagBundle         = "bundle"
	FlagTrustedRoot    = "trusted-root"
	FlagIdentity       = "certificate-identity"
	FlagIdentityRegexp = "certificate-identity-regexp"
	FlagIssuer         = "certificate-oidc-issuer"
	FlagIssuerRegexp   = "certificate-oidc-issuer-regexp"
	FlagPredicateType  = "type"
)

// An Option is the help of one command line option and the field that it sets.
type Option struct {
	Name  string // without dashes
	Value string // placeholder of the value
	Usage string
	Field func(*Request) *string
}

// Options lists the options of a Request in the order in which help shows them.
func Options() []Option {
	return []Option{
		{FlagKey, "FILE", "PEM public key that must have signed (ECDSA P-256/384/521, RSA from 2048 bits, Ed25519)", func(r *Request) *string { return &r.Key }},
		{FlagSignature, "FILE", "detached signature over the artifact, raw or base64; needs --key", func(r *Request) *string { return &r.Signature }},
		{FlagBundle, "FILE", "sigstore bundle (v0.1 to v0.3) with the signature or attestation", func(r *Request) *string { return &r.Bundle }},
		{FlagIdentity, "NAME", "email address or URI that the signing certificate must name, exactly", func(r *Request) *string { return &r.Identity.Subject }},
		{FlagIdentityRegexp, "RE", "the same as a regular expression that must match the whole name", func(r *Request) *string { return &r.Identity.SubjectRegexp }},
		{FlagIssuer, "URL", "OpenID Connect issuer that must have vouched for the identity, exactly", func(r *Request) *string { return &r.Identity.Issuer }},
		{FlagIssuerRegexp, "RE", "the same as a regular expression that must match the whole issuer", func(r *Request) *string { return &r.Identity.IssuerRegexp }},
		{FlagTrustedRoot, "FILE", "trusted_root.json: the authorities and logs to trust; nothing is trusted without it", func(r *Request) *string { return &r.TrustedRoot }},
		{FlagPredicateType, "URI", "predicate type that the statement in the bundle must have", func(r *Request) *string { return &r.PredicateType }},
	}
}

// Help is the long help of the command that verifies one signature.
const Help = `Verify says whether ARTIFACT was signed by the key or the identity that you
name. ARTIFACT is a file, or sha256:HEX when only the digest is known. Nothing
is fetched and nothing is trusted by default: you name the key, or the identity
and the trusted root.

By a public key that the vendor gave you:

  assay verify firmware.bin --key vendor.pub --signature firmware.bin.sig
  assay verify firmware.bin --key vendor.pub --bundle firmware.bin.sigstore.json

By an identity: a person's email address or the URI of a build job, and the
service (issuer) that vouched for it. The certificate in the bundle binds the two
to the key that signed; the trusted root says which authorities and logs may say so.

  assay verify firmware.bin --bundle firmware.bin.sigstore.json \
    --certificate-identity release@vendor.example \
    --certificate-oidc-issuer https://accounts.vendor.example \
    --trusted-root trusted_root.json

Regular expressions must match the whole value. With a key, --trusted-root is
optional, and makes the bundle's log entry required.

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
  predicate  the type of the statement, when the bundle holds one

Exit codes: 0 accepted; 1 the signature is bad, missing, by someone else or over
something else; 2 an input cannot be read or an option is missing; 3 a limit
leaves it open (a pure Ed25519 signature over more than 32 MiB, or over a
digest alone).
`
