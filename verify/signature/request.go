package signature

import (
	"regexp"
	"strings"
)

// Validate reports whether r can be asked, without reading any file. Every
// option that is missing is named at once.
func (r Request) Validate() error {
	if err := r.conflict(); err != nil {
		return err
	}
	if missing := r.missing(); len(missing) > 0 {
		return trouble("a signature is verified by --key with --signature or --bundle, or by --bundle with an identity, an issuer and --trusted-root; nothing is trusted by default",
			"missing: %s", strings.Join(missing, "; "))
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
	case r.Bundle != "" && r.Signature != "":
		return trouble("give the one that holds the signature", "--%s and --%s exclude each other", FlagBundle, FlagSignature)
	case r.Key != "" && id != Identity{}:
		return trouble("a key is the identity: leave out the identity and the issuer, or the key", "--%s excludes an identity and an issuer", FlagKey)
	case r.Signature != "" && id != Identity{}:
		return trouble("a detached signature holds no certificate: give --key, or a bundle instead of the signature",
			"--%s is verified by a key, not by an identity", FlagSignature)
	case r.Signature != "" && r.TrustedRoot != "":
		return trouble("leave it out, or give a bundle, which holds the log entry", "--%s has nothing to verify in a detached signature", FlagTrustedRoot)
	case r.Signature != "" && r.PredicateType != "":
		return trouble("give a bundle that holds a statement", "a detached signature has no predicate of type %q", r.PredicateType)
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
	need(r.Artifact.valid(), "the artifact (a file or sha256:HEX)")
	need(r.Bundle != "" || r.Signature != "", "the signature (--bundle or --signature)")
	if r.Key != "" {
		return out
	}
	if r.Signature != "" {
		need(false, "the public key (--key)")
		return out
	}
	need(!blank(id.Subject) || !blank(id.SubjectRegexp), "the identity of the signer (--certificate-identity or --certificate-identity-regexp)")
	need(!blank(id.Issuer) || !blank(id.IssuerRegexp), "the issuer of that identity (--certificate-oidc-issuer or --certificate-oidc-issuer-regexp)")
	need(r.TrustedRoot != "", "the trusted root (--trusted-root)")
	return out
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

// anchored makes a regular expression match whole values only; "" stays "".
func anchored(expr string) string {
	if expr == "" {
		return ""
	}
	return "^(?:" + expr + ")$"
}
