package signature

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/assaylab/assay/verify/provenance"
)

// examine fills the table. VerifyNewBundle stops at the first failure and often
// hides its cause; the steps ask the same library the same questions one by one,
// so that all that is wrong is seen at once. To accept, both must agree.
func (v *verification) examine() {
	v.examineLog()
	times := v.examineTime()
	chains := v.examineChain(times)
	v.examineSCT(chains)
	v.examineSignature()
	v.examineSubject()
	v.examineIdentity()
	v.examinePredicate()
}

func (v *verification) examineLog() {
	step, n := v.res.step(StepLog), len(v.entity.entries)
	if v.entity.logErr != nil {
		step.set(Fail, "the bundle's transparency log entry cannot be read: %s", oneLine(v.entity.logErr))
		return
	}
	if !v.needsLog() {
		if v.key == nil {
			step.set(NotChecked, "none asked for: a private PKI whose trusted root names no transparency log (--%s)", FlagPrivatePKI)
		} else if n == 0 {
			step.set(NotChecked, "none: the signature is in no transparency log, and a key needs none")
		} else {
			step.set(NotChecked, "%s not looked at: a key needs no log; --%s makes the log required", count(n, "log entry", "log entries"), FlagTrustedRoot)
		}
		return
	}
	if n == 0 {
		step.set(Fail, "none: the bundle holds no transparency log entry; sign again with the log switched on")
		return
	}
	if _, err := verify.VerifyTlogEntry(v.entity, v.material, 1, false); err != nil {
		step.set(Fail, "%s", v.whyNotLogged(err))
		return
	}
	proven, promised := 0, 0
	for _, e := range v.entity.entries {
		if _, err := verify.VerifyTlogEntry(v.entity.only(e), v.material, 1, false); err != nil {
			continue
		}
		if e.HasInclusionProof() {
			proven++
		} else {
			promised++
		}
	}
	others := ""
	if k := n - proven - promised; k > 0 {
		others = fmt.Sprintf("; %s of logs that the trusted root does not know, or that do not verify, ignored", count(k, "further entry", "further entries"))
	}
	switch {
	case proven > 0:
		step.set(Pass, "Merkle proof: the entry is included under a checkpoint that the log signed%s", others)
	case promised > 0:
		step.set(Pass, "SET only: the log promised inclusion by its signature; the bundle holds no Merkle proof%s", others)
	default:
		step.set(Fail, "no single log entry verifies")
	}
}

func (v *verification) whyNotLogged(err error) string {
	known := v.material.RekorLogs()
	var strangers []string
	for _, e := range v.entity.entries {
		if id := hex.EncodeToString([]byte(e.LogKeyID())); known[id] == nil {
			strangers = append(strangers, fmt.Sprintf("%.64s", id))
		}
	}
	if len(strangers) == len(v.entity.entries) {
		return fmt.Sprintf("the trusted root does not know the log (%s): is it the root of another instance, or out of date?", strings.Join(strangers, ", "))
	}
	cause := oneLine(err)
	for _, known := range logCauses {
		if strings.Contains(cause, known.text) {
			return fmt.Sprintf("%s (%s)", known.meaning, cause)
		}
	}
	return cause
}

// logCauses says in words what the library's errors mean. The first that
// matches counts; an error that is not listed is shown as it is.
var logCauses = []struct{ text, meaning string }{
	{"not enough verified log entries", "the log's signature over its promise (SET) does not verify, or its time is outside the validity of the log's key"},
	{"log signature does not match", "the log entry records another signature than the bundle's"},
	{"log certificate does not match", "the log entry records another certificate or key than the bundle's"},
	{"hashedrekord entry digest", "the log entry records another digest than the bundle's"},
	{"payload hash", "the log entry records another envelope than the bundle's"},
	{"integrated time outside", "logged at a time at which the certificate was not valid"},
	{"duplicate tlog entries", "one log entry is given twice"},
	{"calculated root", "the Merkle proof does not lead from this signature to the log's checkpoint"},
	{"does not match signed tree head", "the Merkle proof is for another tree than the log's checkpoint"},
	{"checkpoint", "the log's signature over its checkpoint does not verify"},
}

// examineTime returns the times at which the certificate chain must be valid.
func (v *verification) examineTime() []time.Time {
	step := v.res.step(StepTime)
	if v.stamps {
		stamps, err := verify.VerifySignedTimestampWithThreshold(v.entity, v.material, 1)
		if err != nil {
			step.set(Fail, "no RFC 3161 time stamp in the bundle verifies: %s", oneLine(err))
			return nil
		}
		var times []time.Time
		for _, s := range stamps {
			times = append(times, s.Time)
		}
		v.signedAt(times)
		step.set(Pass, "%s, by an RFC 3161 time stamp", v.res.SignedAt)
		return times
	}
	unused := ""
	if n := len(v.entity.stamps); n > 0 {
		unused = fmt.Sprintf("; %s not used: the trusted root names no time stamping authority", count(n, "RFC 3161 time stamp", "RFC 3161 time stamps"))
	}
	if v.key != nil {
		step.set(NotChecked, "a key has no validity period%s", unused)
		return nil
	}
	if !v.needsLog() {
		step.set(Fail, "nobody attests the time: without a log it takes an RFC 3161 time stamp by an authority that the trusted root names%s", unused)
		return nil
	}
	if v.res.step(StepLog).Outcome != Pass {
		step.set(NotChecked, "the time would come from the log, which failed%s", unused)
		return nil
	}
	logged, err := verify.VerifyTlogEntry(v.entity, v.material, 1, true)
	switch {
	case err != nil:
		step.set(Fail, "%s%s", oneLine(err), unused)
	case len(logged) == 0:
		step.set(Fail, "nobody attests the time: the log signed none, and no RFC 3161 time stamp can be used (a Rekor v2 entry needs one)%s", unused)
	default:
		var times []time.Time
		for _, t := range logged {
			times = append(times, t.Time)
		}
		v.signedAt(times)
		step.set(Pass, "%s, by the log's signed promise%s", v.res.SignedAt, unused)
		return times
	}
	return nil
}

func (v *verification) signedAt(times []time.Time) {
	v.res.SignedAt = slices.MinFunc(times, time.Time.Compare).UTC().Format(time.RFC3339)
}

func (v *verification) examineChain(times []time.Time) [][]*x509.Certificate {
	step, leaf := v.res.step(StepChain), v.entity.leaf
	switch {
	case leaf == nil:
		step.set(NotChecked, "signed by a bare key: there is no certificate")
		return nil
	case v.key != nil:
		step.set(NotChecked, "a key was given, not an identity")
		return nil
	}
	for _, c := range v.entity.chain {
		if bytes.Equal(c.RawSubject, c.RawIssuer) {
			step.set(Fail, "the bundle brings a root certificate along, which the bundle format forbids: roots come from the trusted root alone")
			return nil
		}
	}
	if len(times) == 0 {
		step.set(NotChecked, "a certificate is valid for minutes, and no time of signing is established")
		return nil
	}
	// Go does not know the otherName form of a subject alternative name; the
	// summary of the certificate does.
	leaf.UnhandledCriticalExtensions = slices.DeleteFunc(leaf.UnhandledCriticalExtensions, cryptoutils.SANOID.Equal)
	var chains [][]*x509.Certificate
	for _, t := range times {
		var err error
		if chains, err = verify.VerifyLeafCertificate(t, leaf, v.material); err != nil {
			step.set(Fail, "%s", v.whyNoChain(leaf, t))
			return nil
		}
	}
	step.set(Pass, "leads to %q of the trusted root, every certificate valid at the time of signing", rootName(chains))
	return chains
}

func rootName(chains [][]*x509.Certificate) string {
	if len(chains) == 0 || len(chains[0]) == 0 {
		return ""
	}
	chain := chains[0]
	return chain[len(chain)-1].Subject.String()
}

func (v *verification) whyNoChain(leaf *x509.Certificate, t time.Time) string {
	at := t.UTC().Format(time.RFC3339)
	if t.Before(leaf.NotBefore) || t.After(leaf.NotAfter) {
		return fmt.Sprintf("signed at %s, but the certificate is valid from %s to %s only", at,
			leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	var why []string
	for _, ca := range v.material.FulcioCertificateAuthorities() {
		_, err := ca.Verify(leaf, t)
		var unknown x509.UnknownAuthorityError
		if err == nil || errors.As(err, &unknown) {
			continue
		}
		if s := oneLine(err); !slices.Contains(why, s) {
			why = append(why, s)
		}
	}
	if len(why) == 0 {
		return fmt.Sprintf("issued by %q, which is no authority of the trusted root: is it the root of another instance, or out of date?", leaf.Issuer.String())
	}
	return fmt.Sprintf("no chain to the trusted root at %s: %s", at, strings.Join(why, "; "))
}

func (v *verification) examineSCT(chains [][]*x509.Certificate) {
	step := v.res.step(StepSCT)
	switch {
	case v.entity.leaf == nil:
		step.set(NotChecked, "signed by a bare key: there is no certificate")
	case v.key != nil:
		step.set(NotChecked, "a key was given, not an identity")
	case !v.needsSCT():
		step.set(NotChecked, "none asked for: a private PKI whose trusted root names no certificate log (--%s)", FlagPrivatePKI)
	case len(chains) == 0:
		step.set(NotChecked, "an SCT is verified with the issuer's certificate, and the chain is not established")
	default:
		if err := verify.VerifySignedCertificateTimestamp(chains, 1, v.material); err != nil {
			step.set(Fail, "no SCT of a certificate log that the trusted root knows verifies: %s", oneLine(err))
			return
		}
		step.set(Pass, "published in a certificate log of the trusted root")
	}
}

func (v *verification) examineSignature() {
	step, e := v.res.step(StepSignature), v.entity
	switch {
	case v.key != nil && e.leaf != nil:
		step.set(NotChecked, "signed under a certificate, and a key was given")
		return
	case v.key == nil && e.leaf == nil:
		step.set(NotChecked, "signed by a bare key, and an identity was given")
		return
	case e.envelope != nil && len(e.envelope.Signatures) != 1:
		step.set(Fail, "the envelope holds %s; exactly one is required", count(len(e.envelope.Signatures), "signature", "signatures"))
		return
	case len(e.content.Signature()) == 0:
		step.set(Fail, "absent: the signature is empty")
		return
	}
	if e.leaf != nil {
		if err := checkStrength(e.leaf.PublicKey); err != nil {
			step.set(Fail, "the certificate's key is too weak or of an unknown kind: %s", oneLine(err))
			return
		}
		if h := e.digestAlgorithm(); h != 0 && h != v.scheme.hash {
			step.set(Fail, "the bundle states a %v digest, but the certificate's scheme is %s", h, v.scheme.name)
			return
		}
	}
	err := v.verifySignature()
	switch {
	case err == nil:
		step.set(Pass, "verifies: %s", v.scheme.name)
	case v.key != nil && v.statesNothing():
		step.set(Fail, "does not verify under any scheme of this %s key: made by another key, or over something else", v.key.name)
	case v.key != nil:
		step.set(Fail, "does not verify under any scheme of this %s key: made by another key, or altered", v.key.name)
	case v.statesNothing():
		step.set(Fail, "does not verify with the certificate's key (%s): made by another key, or over something else", v.scheme.name)
	default:
		step.set(Fail, "does not verify with the certificate's key (%s)", v.scheme.name)
	}
}

// statesNothing reports whether the signature does not say what it is over, so
// that it verifies over the artifact or not at all.
func (v *verification) statesNothing() bool { return v.loose != nil && v.entity.envelope == nil }

func (v *verification) examineSubject() {
	step, e := v.res.step(StepSubject), v.entity
	if v.simple != nil {
		if want := "sha256:" + v.res.Artifact.SHA256; v.simple.digest != want {
			step.set(Fail, "signed is another image: %.100q, and this one is %s", v.simple.digest, want)
		} else if v.res.step(StepSignature).Outcome != Pass {
			step.set(NotChecked, "the document names the image, %s, and the signature over it does not verify", want)
		} else {
			step.set(Pass, "the signed document names the image, %s", want)
		}
		return
	}
	if v.statesNothing() {
		if v.res.step(StepSignature).Outcome == Pass {
			step.set(Pass, "the signature is over the artifact, sha256:%s", v.res.Artifact.SHA256)
		} else {
			step.set(NotChecked, "a signature without a bundle does not say what it is over")
		}
		return
	}
	if v.open != nil {
		step.set(NotChecked, "%v", v.open)
		return
	}
	if m := e.content.MessageSignatureContent(); m != nil {
		alg := e.digestAlgorithm()
		if bytes.Equal(m.Digest(), v.sums.of[alg]) {
			step.set(Pass, "the signed %v digest is the artifact's, sha256:%s", alg, v.res.Artifact.SHA256)
		} else {
			step.set(Fail, "signed is something else: %s:%x, and the artifact is %s:%x", digestName(alg), m.Digest(), digestName(alg), v.sums.of[alg])
		}
		return
	}
	switch st := e.statement; {
	case st == nil:
		step.set(Fail, "the envelope holds no in-toto statement that can be read: %s", oneLine(e.statementErr))
	case len(st.subjects) == 0:
		step.set(Fail, "the statement names no subject")
	case st.matching(v.sums.of) == 0:
		step.set(Fail, "the statement is about something else: none of its %s is the artifact, sha256:%s", count(len(st.subjects), "subject", "subjects"), v.res.Artifact.SHA256)
	default:
		step.set(Pass, "the statement names the artifact, sha256:%s", v.res.Artifact.SHA256)
	}
}

// maxName bounds a name in a certificate and a predicate type, in bytes.
const maxName = 4096

func (v *verification) examineIdentity() {
	step, e := v.res.step(StepIdentity), v.entity
	if e.leaf == nil {
		switch {
		case v.key == nil:
			step.set(Fail, "signed by a bare key, which names nobody: give the key with --%s", FlagKey)
		case v.res.step(StepSignature).Outcome == Pass:
			step.set(Pass, "the key that was given, sha256:%s", v.key.fingerprint)
		default:
			step.set(NotChecked, "not shown to be the key that was given, sha256:%s", v.key.fingerprint)
		}
		return
	}
	found, err := certificate.SummarizeCertificate(e.leaf)
	if err != nil {
		step.set(Fail, "the certificate names nobody: %s", oneLine(err))
		return
	}
	if len(found.SubjectAlternativeName) > maxName || len(found.Issuer) > maxName {
		step.set(Fail, "the certificate holds a name of more than %d bytes", maxName)
		return
	}
	v.res.Identity, v.res.Issuer = found.SubjectAlternativeName, found.Issuer
	flags := fmt.Sprintf("--%s=%s --%s=%s", FlagIdentity, shellQuote(v.res.Identity), FlagIssuer, shellQuote(v.res.Issuer))
	holds := fmt.Sprintf("the certificate holds identity %q and issuer %q", v.res.Identity, v.res.Issuer)
	if v.key != nil {
		step.set(Fail, "not signed by a bare key: %s; if that is who should sign, name them instead of the key: %s", holds, flags)
		return
	}
	id := v.req.Identity
	var wrong []string
	if !matches(v.res.Identity, id.Subject, id.SubjectRegexp) {
		wrong = append(wrong, fmt.Sprintf("the identity is not %s", wanted(id.Subject, id.SubjectRegexp)))
	}
	if !matches(v.res.Issuer, id.Issuer, id.IssuerRegexp) {
		wrong = append(wrong, fmt.Sprintf("the issuer is not %s", wanted(id.Issuer, id.IssuerRegexp)))
	}
	if len(wrong) > 0 {
		step.set(Fail, "%s: %s; if that is who should sign, name them: %s", strings.Join(wrong, " and "), holds, flags)
		return
	}
	step.set(Pass, "%s", holds)
}

func matches(found, exact, expr string) bool {
	if exact != "" {
		return found == exact
	}
	re, err := regexp.Compile(anchored(expr))
	return err == nil && expr != "" && re.MatchString(found)
}

func wanted(exact, expr string) string {
	if exact != "" {
		return fmt.Sprintf("%q", exact)
	}
	return fmt.Sprintf("matched, as a whole, by %q", expr)
}

// shellQuote makes s one word of a POSIX shell. A name with characters that do
// not print is left as a Go string: it is not to be pasted.
func shellQuote(s string) string {
	if q := fmt.Sprintf("%+q", s); strings.ContainsRune(q, '\\') {
		return q
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (v *verification) examinePredicate() {
	step, want, st := v.res.step(StepPredicate), v.req.predicateType(), v.entity.statement
	asked := v.req.Provenance.Asked()
	switch {
	case st == nil && want != "":
		step.set(Fail, "there is no statement, so none of type %.200q", want)
	case st == nil && asked:
		step.set(Fail, "there is no statement, so no provenance")
	case st == nil && v.entity.envelope != nil:
		step.set(NotChecked, "there is no statement that can be read")
	case st == nil:
		step.set(NotChecked, "a signature over the artifact itself has none")
	case st.provenanceErr != nil:
		step.set(Fail, "the provenance cannot be read: %s", oneLine(st.provenanceErr))
	case st.against != "":
		step.set(Fail, "%s", st.against)
	case want != "" && st.predicateType != want:
		step.set(Fail, "the statement is of type %.200q, not %.200q", st.predicateType, want)
	case asked:
		v.examineProvenance(step, st)
	case want == "" && v.req.image && st.predicateType != imageSigned:
		step.set(Fail, "an attestation of type %.200q, which is no signature of the image: ask for it with --%s", st.predicateType, FlagPredicateType)
	case want == "" && st.provenance != nil:
		step.set(NotChecked, "the statement is of type %.200q: %s; none was asked for", st.predicateType, says(st.provenance))
	case want == "":
		step.set(NotChecked, "the statement is of type %.200q; none was asked for", st.predicateType)
	case st.provenance != nil:
		step.set(Pass, "the statement is of type %.200q: %s", st.predicateType, says(st.provenance))
	default:
		step.set(Pass, "the statement is of type %.200q", st.predicateType)
	}
}

func (v *verification) examineProvenance(step *Step, st *statement) {
	if st.provenance == nil {
		step.set(Fail, "the statement is of type %.200q, which is no SLSA provenance", st.predicateType)
		return
	}
	if wrong := v.req.Provenance.Check(st.provenance); len(wrong) > 0 {
		step.set(Fail, "%s", strings.Join(wrong, "; "))
		return
	}
	step.set(Pass, "as asked for: %s", says(st.provenance))
}

// says is what a provenance claims, in one line.
func says(p *provenance.Provenance) string {
	s := fmt.Sprintf("builder %.200q, build type %.200q", p.BuilderID, p.BuildType)
	for _, src := range p.Sources {
		s += fmt.Sprintf(", source %.200q", src.URI)
	}
	if p.SourceUnknown != "" {
		s += ", source unknown"
	}
	return s
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
