package signature

import (
	"errors"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/assaylab/assay/verify/provenance"
)

// Validate reports whether r can be asked, without reading any file. Every
// option that is missing is named at once.
func (r Request) Validate() error {
	err := r.invalid()
	var e *Error
	if errors.As(err, &e) {
		e.Usage = true
	}
	return err
}

func (r Request) invalid() error {
	if err := r.conflict(); err != nil {
		return err
	}
	if missing := r.missing(); len(missing) > 0 {
		return trouble("a signature is verified by --key, or by an identity, an issuer and --trusted-root; nothing is trusted by default",
			"missing: %s", strings.Join(missing, "; "))
	}
	if err := r.Provenance.Validate(); err != nil {
		return trouble("see the options that begin with --provenance", "%v", err)
	}
	if r.MaxTrustAge < 0 {
		return trouble("give a number of days", "--%s must not be negative", FlagMaxTrustAge)
	}
	for _, e := range []struct{ flag, expr string }{
		{FlagIdentityRegexp, r.Identity.SubjectRegexp},
		{FlagIssuerRegexp, r.Identity.IssuerRegexp},
	} {
		// Compiled on its own: "a)|(?:b" must not escape from the anchors.
		if _, err := regexp.Compile(e.expr); err != nil {
			return trouble("RE2 syntax; quote a literal dot as \\.", "--%s: %v", e.flag, err)
		}
	}
	return nil
}

func (r Request) conflict() error {
	id := r.Identity
	switch {
	case r.image && (r.Bundle != "" || r.Signature != "" || r.Certificate != "" || r.Timestamp != ""):
		return trouble("leave it out: the signatures of an image are found beside it", "an image excludes --%s, --%s, --%s and --%s",
			FlagBundle, FlagSignature, FlagCertificate, FlagTimestamp)
	case r.Bundle != "" && r.Signature != "":
		return trouble("give the one that holds the signature", "--%s and --%s exclude each other", FlagBundle, FlagSignature)
	case r.Key != "" && id != Identity{}:
		return trouble("a key is the identity: leave out the identity and the issuer, or the key", "--%s excludes an identity and an issuer", FlagKey)
	case r.Key != "" && r.Certificate != "":
		return trouble("give the one that you trust to sign; a certificate goes with an identity", "--%s and --%s exclude each other", FlagKey, FlagCertificate)
	case r.Key != "" && r.PrivatePKI:
		return trouble("a key needs no PKI: leave one of them out", "--%s excludes --%s", FlagKey, FlagPrivatePKI)
	case r.Certificate != "" && r.Signature == "":
		return trouble("a bundle holds its own certificate: leave it out, or give --"+FlagSignature, "--%s goes with --%s", FlagCertificate, FlagSignature)
	case r.Signature != "" && r.Certificate == "" && id != Identity{}:
		return trouble("give its certificate with --"+FlagCertificate+", or a bundle instead of the signature, or --"+FlagKey,
			"--%s alone is verified by a key, not by an identity", FlagSignature)
	case r.Signature != "" && r.Key != "" && r.TrustedRoot != "":
		return trouble("leave it out, or give a bundle, which holds the log entry", "--%s has nothing to verify in a detached signature", FlagTrustedRoot)
	case r.Signature != "" && (r.PredicateType != "" || r.Provenance.Asked()):
		return trouble("give a bundle that holds a statement", "a detached signature holds no statement and no predicate")
	case r.Provenance.Asked() && r.PredicateType != "" && !provenance.Is(r.predicateType()):
		return trouble("leave out --"+FlagPredicateType+", or give slsaprovenance1 or slsaprovenance02", "a predicate of type %q is no SLSA provenance", r.predicateType())
	case id.Subject != "" && id.SubjectRegexp != "":
		return trouble("give one of them", "--%s and --%s exclude each other", FlagIdentity, FlagIdentityRegexp)
	case id.Issuer != "" && id.IssuerRegexp != "":
		return trouble("give one of them", "--%s and --%s exclude each other", FlagIssuer, FlagIssuerRegexp)
	}
	return nil
}

func (r Request) missing() []string {
	var out []string
	need := func(ok bool, what string) {
		if !ok {
			out = append(out, what)
		}
	}
	id := r.Identity
	need(r.Artifact.valid(), "the artifact (a file, sha256:HEX, or an image)")
	need(r.Bundle != "" || r.Signature != "" || r.found != nil, "the signature (--bundle or --signature)")
	if r.Key != "" {
		return out
	}
	if r.Signature != "" && r.Certificate == "" {
		need(false, "the public key (--key)")
		return out
	}
	need(!blank(id.Subject) || !blank(id.SubjectRegexp), "the identity of the signer (--certificate-identity or --certificate-identity-regexp)")
	need(!blank(id.Issuer) || !blank(id.IssuerRegexp), "the issuer of that identity (--certificate-oidc-issuer or --certificate-oidc-issuer-regexp)")
	need(r.TrustedRoot != "", "the trusted root (--trusted-root)")
	return out
}

// signedName names what holds the signature, for a message about it.
func (r Request) signedName() string {
	if r.found != nil {
		return r.found.Name
	}
	return filepath.Base(r.Bundle + r.Signature)
}

// predicateTypes are cosign's short names of predicate types
// (pkg/cosign/attestation and options.PredicateTypeMap there).
var predicateTypes = map[string]string{
	"custom":           "https://cosign.sigstore.dev/attestation/v1",
	"cyclonedx":        "https://cyclonedx.org/bom",
	"link":             "https://in-toto.io/Link/v1",
	"openvex":          "https://openvex.dev/ns",
	"slsaprovenance":   "https://slsa.dev/provenance/v0.2",
	"slsaprovenance02": "https://slsa.dev/provenance/v0.2",
	"slsaprovenance1":  "https://slsa.dev/provenance/v1",
	"spdx":             "https://spdx.dev/Document",
	"spdxjson":         "https://spdx.dev/Document",
	"vuln":             "https://cosign.sigstore.dev/attestation/vuln/v1",
}

// predicateType is the predicate type asked for as a URI, or "".
func (r Request) predicateType() string {
	if uri, ok := predicateTypes[r.PredicateType]; ok {
		return uri
	}
	return r.PredicateType
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

// anchored makes a regular expression match whole values only; "" stays "".
func anchored(expr string) string {
	if expr == "" {
		return ""
	}
	return "^(?:" + expr + ")$"
}
