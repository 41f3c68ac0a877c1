// Package signature decides whether an artifact was signed by the key or the
// identity that the caller names, offline.
//
// # What is verified
//
// An artifact (a file, a reader, or only its SHA-256) against either
//
//   - a detached signature (raw or base64) and a PEM public key, or
//   - a bundle (of sigstore, v0.1 to v0.3, or a legacy one of cosign; a message
//     signature or a DSSE envelope with an in-toto statement) and a PEM public
//     key, or
//   - a bundle, or a detached signature with its certificate and time stamp, and
//     the identity and issuer that the certificate must name, under a trusted
//     root, or
//   - what was found beside an image in a registry or a layout ([VerifyFound]):
//     simple signing documents, attestations and bundles.
//
// Every input becomes a sigstore bundle entity, and one function decides:
// cosign.VerifyNewBundle. What no sigstore bundle holds is made into one of v0.1.
// This package reads the inputs under limits, digests the artifact in one
// pass, names the scheme, and explains the decision step by step.
//
// # What it means to be accepted
//
// [Result.OK] is true only when no step of the table fails, those that the
// request requires pass (parse, signature, subject and identity always), and
// VerifyNewBundle then accepts. The zero Result is not OK, and the zero
// [Outcome] is [Fail].
//
// Whoever made the artifact may have made the signature, the bundle and the
// certificate too, and knows this program. Hence:
//
//   - Nothing is trusted by default: no root of the operating system, no TUF
//     fetch, no environment variable, no network. A key or a trusted root file
//     is named by the caller, and its fingerprint is in the Result.
//   - An empty identity or issuer is refused, not taken as "any". A regular
//     expression must match the whole value: it is compiled as ^(?:expr)$.
//   - A certificate must chain to the trusted root at the time of signing, carry
//     an SCT of a known log, and be in a known transparency log. The time comes
//     from RFC 3161 stamps when the bundle holds them and the root names an
//     authority, else from the log's signed promise.
//   - A private PKI ([Request.PrivatePKI]) is the caller's word that certificates
//     need no SCT and no log where the trusted root names none; the steps say so.
//     The time of signing is attested all the same, by a stamp where not by a log.
//   - A key needs no log. When a trusted root is given with a bundle and a key,
//     the log is required all the same, so that stripping it is noticed.
//   - An envelope holds exactly one signature and an in-toto statement. A subject
//     matches when one of its sha256, sha384 and sha512 digests is the
//     artifact's and none of them is another; a key that occurs twice, in any
//     letter case, is refused.
//   - A statement that exists to give a verdict must give a favourable one, and one
//     that claims to be provenance must be readable as such.
//   - Keys, certificates, log bodies and time stamps of the adversary's are looked at
//     for their size before a library verifies with them: that of an RSA modulus
//     decides whether it takes microseconds or hours.
//   - What is signed is bound to Result.Artifact.SHA256. A caller that reads the
//     artifact again compares that digest with what it read.
//
// # Time
//
// There is no clock here. A signature is judged at the time that a log or a
// stamping authority attests. [Request.AsOf] is the day on which the age of the
// trusted root is reckoned: a root has no expiry, so a Result says how old it is,
// and warns past a stated age.
//
// # Schemes
//
//	ECDSA    P-256 with SHA-256; P-384 with SHA-384; P-521 with SHA-512
//	RSA      2048, 3072 and 4096 bits with SHA-256, PKCS #1 v1.5 and PSS
//	Ed25519  Ed25519ph, and pure Ed25519 up to MaxMessage bytes
//
// With a key P-384 and P-521 are also tried with SHA-256, as older signers used
// it. A certificate's key is used with the one scheme that sigstore assigns to
// it: RSA with PKCS #1 v1.5, Ed25519 as Ed25519ph over a message and pure over
// an envelope.
//
// # Errors
//
// A signature that is bad, absent or about something else is a Result that is
// not OK and no error, also where a limit leaves open what it is about. An [Error] says that there is no answer: [Trouble] when
// an input cannot be read or the request cannot be asked, [Limit] when a stated
// limit leaves the question open.
package signature

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/assaylab/assay/verify/provenance"
)

// Limits on what is read whole into memory, in bytes.
const (
	MaxInput     = 16 << 20 // a bundle or a trusted root file
	MaxKey       = 64 << 10 // a public key file
	MaxSignature = 64 << 10 // a detached signature file
	MaxMessage   = 32 << 20 // an artifact under a pure Ed25519 signature
)

// A Request names an artifact, what is said to sign it, and whom to trust.
// Either Signature or Bundle is set, and either Key, or Identity and TrustedRoot;
// the strings are paths.
type Request struct {
	Artifact    Artifact
	Signature   string // detached signature, raw or base64
	Certificate string // of a detached signature: PEM, the signer's own first
	Timestamp   string // of a detached signature or a legacy bundle: RFC 3161 response, DER or as cosign writes it
	Bundle      string // sigstore bundle or legacy cosign bundle, JSON
	Key         string // public key, PEM
	TrustedRoot string // trusted_root.json; with a key only for a bundle, whose log entry is then required
	Identity    Identity

	// PrivatePKI says that the trusted root is of a PKI that keeps no public logs:
	// no SCT and no log entry is required where it names no such log. The trusted
	// root may then be a PEM file of certificates.
	PrivatePKI bool

	// PredicateType, when set, is the predicate type that the statement must have:
	// a URI, or one of cosign's short names.
	PredicateType string

	// Provenance, where it asks anything, is what the statement must say as SLSA
	// provenance.
	Provenance provenance.Policy

	AsOf        time.Time // the day on which the trusted root's age is reckoned; zero: it is not
	MaxTrustAge int       // days past which the Result warns of it; 0: the constant MaxTrustAge

	found *Found // in place of Signature and Bundle
	image bool   // Artifact is the manifest of an image
}

// An Identity is what a signing certificate must name. Each of the two is given
// exactly or as a regular expression, never both.
type Identity struct {
	Subject       string // subject alternative name: an email address or a URI
	SubjectRegexp string // RE2 syntax; must match the whole name
	Issuer        string // OpenID Connect issuer, a URL
	IssuerRegexp  string // RE2 syntax; must match the whole issuer
}

// A Result is the answer to a Request. It is the same for the same inputs,
// wherever they lie. Identity and Issuer are what the certificate says, whether
// or not it is to be believed: only OK says so. They and the names are text
// from the outside; quote them before showing them on a terminal.
type Result struct {
	OK            bool                   `json:"ok"`
	Artifact      Input                  `json:"artifact"`
	Signed        Input                  `json:"signed"`                   // the signature or bundle file
	Trust         []Input                `json:"trust"`                    // what was trusted, with fingerprints
	Scheme        string                 `json:"scheme,omitempty"`         // that verified, else the first that was tried
	Identity      string                 `json:"identity,omitempty"`       // subject alternative name found
	Issuer        string                 `json:"issuer,omitempty"`         // OpenID Connect issuer found
	PredicateType string                 `json:"predicate_type,omitempty"` // of the statement found
	Provenance    *provenance.Provenance `json:"provenance,omitempty"`     // that the statement found claims
	Statement     []byte                 `json:"-"`                        // the statement found, in JSON
	SignedAt      string                 `json:"signed_at,omitempty"`      // RFC 3339, UTC; from the log or a time stamp that verified
	Steps         []Step                 `json:"steps"`                    // always all nine, in the order of the step names
	AsOf          string                 `json:"as_of,omitempty"`          // the day for which ages are given
	Warnings      []string               `json:"warnings,omitempty"`       // what does not decide, and should be seen to
}

// An Input is one file that the answer depends on.
type Input struct {
	Kind    string `json:"kind"`               // file, digest, detached signature, bundle v0.3, public key, trusted root …
	Name    string `json:"name,omitempty"`     // last element of the path
	Size    int64  `json:"size,omitempty"`     // bytes
	SHA256  string `json:"sha256"`             // hex; of a public key: of its DER SubjectPublicKeyInfo
	Dated   string `json:"dated,omitempty"`    // of a trusted root: the day of its newest content, or when it was fetched
	AgeDays *int   `json:"age_days,omitempty"` // from then to the Result's AsOf
}

// Verify answers req. The Result is filled as far as the work went, also when
// an [Error] is returned.
func Verify(ctx context.Context, req Request) (res Result, err error) {
	res = Result{Trust: []Input{}, Steps: newSteps()}
	// The parsers of keys, certificates, log entries and time stamps are not ours
	// and are fed by the adversary. A panic in one of them is a bundle that
	// cannot be read, not the end of a nightly run.
	defer func() {
		if p := recover(); p != nil {
			res.OK = false
			err = &Error{
				Hint: "give a well-formed signature, bundle and trusted root", Signed: true,
				Msg: fmt.Sprintf("cannot read %q: a parser panicked: %v", req.signedName(), p),
			}
		}
		var e *Error
		switch {
		case err == nil:
		case errors.As(err, &e) && e.Kind == Limit:
			res.OK = false
			if s := res.step(StepSignature); s.Outcome != Pass { // else the subject says what is open
				s.set(NotChecked, "undecided: %v", err)
			}
		case e != nil:
			res.OK = false
			res.step(StepParse).set(Fail, "%v", err)
		default:
			res.OK = false // stopped from outside: the steps stay as far as they came
		}
	}()

	if err := req.Validate(); err != nil {
		return res, err
	}
	v := newVerification(req, &res)
	if err := v.prepare(ctx); err != nil {
		return res, err
	}
	v.examine()
	if err := ctx.Err(); err != nil {
		return res, err
	}
	required := v.required()
	if v.open != nil {
		// Only what is right in everything else is left open.
		required = slices.DeleteFunc(required, func(name string) bool { return name == StepSubject })
		if res.passed(required...) {
			return res, v.open
		}
		return res, nil
	}
	if res.passed(required...) { // else spare the library what was found hostile
		v.decide(ctx)
	}
	return res, ctx.Err()
}

// A verification is one Request on its way to a Result.
type verification struct {
	req      Request
	res      *Result
	material material // the trusted root, or an empty one, and the key's verifier
	key      *publicKey
	loose    *loose  // the signature, when no sigstore bundle holds it
	simple   *simple // what a loose signature over an image is over
	entity   *entity // what is verified; of a loose signature made by choose
	sums     sums
	scheme   scheme // that verified, else the first that was tried
	stamps   bool   // the time is to come from RFC 3161 stamps
	open     error  // a Limit: what is known of the artifact does not tell whether it is what was signed
}

func newVerification(req Request, res *Result) *verification {
	return &verification{req: req, res: res, material: material{TrustedMaterial: &root.BaseTrustedMaterial{}}}
}

// prepare reads and parses everything, and settles what is to be verified.
func (v *verification) prepare(ctx context.Context) error {
	for _, stage := range []func(context.Context) error{v.loadTrust, v.loadSigned, v.digest, v.choose} {
		if err := stage(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) loadTrust(context.Context) error {
	if v.req.Key != "" {
		key, in, err := loadKey(v.req.Key)
		if err != nil {
			return err
		}
		v.key = key
		v.res.Trust = append(v.res.Trust, in)
	}
	if v.req.TrustedRoot != "" {
		tm, in, err := loadTrustedRoot(v.req.TrustedRoot, v.req.PrivatePKI)
		if err != nil {
			return err
		}
		v.age(&in)
		v.material.TrustedMaterial = tm
		v.res.Trust = append(v.res.Trust, in)
	}
	return nil
}

func (v *verification) loadSigned(context.Context) (err error) {
	switch {
	case v.req.found != nil:
		err = v.loadFound(v.req.found)
	case v.req.Bundle != "":
		v.entity, v.loose, v.res.Signed, err = loadBundle(v.req.Bundle)
	default:
		v.loose = &loose{}
		v.loose.signature, v.res.Signed, err = loadDetached(v.req.Signature)
	}
	if err == nil {
		err = v.loadBeside()
	}
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			e.Signed = true
		}
		return err
	}
	v.res.step(StepParse).set(Pass, "read as a %s", v.res.Signed.Kind)
	if v.entity == nil {
		return nil
	}
	if st := v.entity.statement; st != nil {
		v.res.PredicateType = st.predicateType
		v.res.Provenance = st.provenance
		v.res.Statement = st.payload
	}
	return nil
}

// loadBeside reads the files that stand beside a loose signature.
func (v *verification) loadBeside() error {
	for _, f := range []struct {
		kind, path string
		read       func(*loose, []byte) error
	}{
		{"certificate", v.req.Certificate, (*loose).certificate},
		{"time stamp", v.req.Timestamp, (*loose).stamped},
	} {
		if f.path == "" {
			continue
		}
		b, in, err := readInput(f.kind, f.path, MaxSignature)
		if err != nil {
			return err
		}
		if v.loose == nil || v.entity != nil {
			return trouble("leave it out: a sigstore bundle holds its own", "the %s %q has no place beside the bundle %q", f.kind, in.Name, v.res.Signed.Name)
		}
		if err := f.read(v.loose, b); err != nil {
			return trouble("give PEM for a certificate, DER or cosign's JSON for a time stamp", "the %s %q cannot be read: %s", f.kind, in.Name, oneLine(err))
		}
		if f.kind == "certificate" && v.loose.leaf == nil {
			return trouble("a public key is given with --"+FlagKey, "the certificate %q holds no certificate", in.Name)
		}
	}
	return nil
}

// digest reads the artifact once, under every algorithm that the signature can
// be about. SHA-256 is always among them: it binds the Result to the artifact.
func (v *verification) digest(ctx context.Context) error {
	algs, whole := []crypto.Hash{crypto.SHA256}, false
	switch {
	case v.entity == nil && v.key == nil:
		algs = append(algs, v.looseScheme().hash)
	case v.entity == nil:
		for _, s := range v.key.schemes {
			algs, whole = append(algs, s.hash), whole || s.hash == 0
		}
	case v.entity.envelope != nil:
		algs = append(algs, v.entity.statement.algorithms()...)
	default:
		algs = append(algs, v.entity.digestAlgorithm())
		whole = v.key != nil && slices.ContainsFunc(v.key.schemes, func(s scheme) bool { return s.hash == 0 })
	}
	var err error
	if v.sums, v.res.Artifact, err = v.req.Artifact.read(ctx, algs, whole); err != nil || v.simple == nil {
		return err
	}
	document := Reader(v.res.Signed.Name, bytes.NewReader(v.simple.payload), int64(len(v.simple.payload)))
	v.sums, _, err = document.read(ctx, algs, whole)
	return err
}

// looseScheme is the scheme of a loose signature under a certificate.
func (v *verification) looseScheme() scheme {
	if v.loose.leaf == nil {
		return scheme{hash: crypto.SHA256} // by a bare key, where an identity was asked for
	}
	return certificateScheme(v.loose.leaf.PublicKey, false)
}

// choose settles the scheme and the entity. When no scheme of the key verifies,
// the first that was tried stays, and the steps tell what is wrong. It returns
// a Limit error when what is known of the artifact leaves the answer open.
func (v *verification) choose(context.Context) error {
	const hint = "give the artifact itself, not its digest; for a large artifact have it signed with Ed25519ph, ECDSA or RSA"
	if e := v.entity; e != nil {
		if st := e.statement; st != nil && st.matching(v.sums.of) == 0 && st.undecidable(v.sums.of) {
			v.open = limit(hint, "%q names its subjects without sha256, and only that digest of the artifact is known", v.res.Signed.Name)
		}
		if alg := e.digestAlgorithm(); alg != 0 && v.sums.of[alg] == nil {
			v.open = limit(hint, "%q signs a %v digest, and only the artifact's SHA-256 is known", v.res.Signed.Name, alg)
		}
		if v.key == nil {
			v.scheme = e.certificateScheme()
			v.res.Scheme = v.scheme.name
			return v.chosen()
		}
	} else if v.key == nil {
		v.scheme = v.looseScheme()
		v.res.Scheme = v.scheme.name
		if err := v.chooseLoose(v.scheme.hash); err != nil {
			return err
		}
		if v.entity == nil {
			// Left open only for whom was asked for. In its stead stands an entity over
			// the digest that is known, for the steps to say what else is wrong.
			if err := v.chooseLoose(crypto.SHA256); err != nil {
				return err
			}
			if v.examineIdentity(); v.res.step(StepIdentity).Outcome != Fail {
				return limit(hint, "%q signs a %v digest, and only the artifact's SHA-256 is known", v.res.Signed.Name, v.scheme.hash)
			}
		}
		return v.chosen()
	}
	open := false
	var first *verification
	for _, s := range v.key.schemes {
		try := *v
		try.scheme, try.material.key = s, s.verifier
		if v.entity == nil {
			if err := try.chooseLoose(s.hash); err != nil {
				return err
			}
		}
		if try.entity == nil || try.wholeMessage() && v.sums.message == nil {
			open = open || v.key.canHaveMade(v.signature()) && !v.statedOtherwise()
			continue
		}
		if !try.fits() {
			continue
		}
		if first == nil {
			first = &try
		}
		if try.verifySignature() == nil {
			first, open = &try, false
			break
		}
	}
	if open && v.entity != nil && v.needsLog() {
		v.stamps = false
		if v.examineLog(); v.res.step(StepLog).Outcome == Fail {
			open = false // wrong in something else: rejected
		}
	}
	switch {
	case open && v.res.Artifact.Kind == "file":
		return limit(hint, "the artifact %q is larger than %d bytes, and its signature is not Ed25519ph: a pure Ed25519 signature needs the whole artifact in memory", v.res.Artifact.Name, MaxMessage)
	case open:
		return limit(hint, "a signature by the %s key %q cannot be verified from the artifact's SHA-256 alone", v.key.name, v.key.file)
	case first != nil:
		*v = *first
	default:
		v.scheme, v.material.key = v.key.schemes[0], v.key.schemes[0].verifier
		if v.entity == nil {
			if err := v.chooseLoose(crypto.SHA256); err != nil {
				return err
			}
		}
	}
	v.res.Scheme = v.scheme.name
	return v.chosen()
}

// chooseLoose makes the entity of a loose signature, or none when the digest
// that it needs is not known.
func (v *verification) chooseLoose(alg crypto.Hash) (err error) {
	if v.entity, err = v.loose.message(alg, v.sums); err != nil {
		return trouble("give the signature as cosign or openssl dgst writes it", "the %s %q cannot be used: %s", v.res.Signed.Kind, v.res.Signed.Name, oneLine(err))
	}
	return nil
}

// chosen settles where the time of signing comes from.
func (v *verification) chosen() error {
	v.stamps = len(v.entity.stamps) > 0 && len(v.material.TimestampingAuthorities()) > 0
	return nil
}

func (v *verification) signature() []byte {
	if v.entity == nil {
		return v.loose.signature
	}
	return v.entity.content.Signature()
}

// statedOtherwise reports whether the bundle states another digest than the one
// that is known.
func (v *verification) statedOtherwise() bool {
	if v.entity == nil || v.entity.digestAlgorithm() == 0 {
		return false
	}
	known := v.sums.of[v.entity.digestAlgorithm()]
	return known != nil && !bytes.Equal(known, v.entity.content.MessageSignatureContent().Digest())
}

// fits reports whether the scheme can have made the entity's signature.
func (v *verification) fits() bool {
	return v.entity.envelope != nil || v.scheme.hash == 0 || v.scheme.hash == v.entity.digestAlgorithm()
}

// wholeMessage reports whether the signature is over the artifact itself, not
// over a digest or an envelope.
func (v *verification) wholeMessage() bool {
	return v.key != nil && v.scheme.hash == 0 && v.entity.envelope == nil
}

// verifySignature checks the signature alone: over the envelope, over the
// digest that the bundle states, or over the message.
func (v *verification) verifySignature() error {
	e := v.entity
	switch {
	case e.envelope != nil:
		return verify.VerifySignature(e.content, e.material, v.material)
	case v.wholeMessage():
		return verify.VerifySignatureWithArtifacts(e.content, e.material, v.material, v.sums.readers())
	default:
		stated := e.content.MessageSignatureContent().Digest()
		return verify.VerifySignatureWithArtifactDigests(e.content, e.material, v.material,
			[]verify.ArtifactDigest{{Algorithm: digestName(e.digestAlgorithm()), Digest: stated}})
	}
}

// required names the steps without which nobody signed anything.
func (v *verification) required() []string {
	names := Always()
	if v.key == nil {
		names = append(names, StepChain, StepTime)
		if v.needsSCT() {
			names = append(names, StepSCT)
		}
	}
	if v.needsLog() {
		names = append(names, StepLog)
	}
	return names
}

// needsLog reports whether an entry in a transparency log is required: for a
// certificate, unless of a private PKI that keeps no log, and for a key when the
// caller gave a trusted root.
func (v *verification) needsLog() bool {
	if v.key != nil {
		return v.req.TrustedRoot != ""
	}
	return !v.req.PrivatePKI || len(v.material.RekorLogs()) > 0
}

// needsSCT reports whether a certificate must have been published: unless it is
// of a private PKI that keeps no certificate log.
func (v *verification) needsSCT() bool {
	return v.key == nil && (!v.req.PrivatePKI || len(v.material.CTLogs()) > 0)
}

// decide asks the one function that decides. It does so with all of the request:
// what the steps found is not passed on.
func (v *verification) decide(ctx context.Context) {
	if _, err := cosign.VerifyNewBundle(ctx, v.checkOpts(), v.artifactPolicy(), v.entity); err != nil {
		v.res.step(StepSignature).set(Fail, "refused: %s", oneLine(err))
		return
	}
	v.res.OK = true
}

func (v *verification) checkOpts() *cosign.CheckOpts {
	co := &cosign.CheckOpts{
		TrustedMaterial: v.material.TrustedMaterial,
		Offline:         true,
		IgnoreTlog:      !v.needsLog(),
		IgnoreSCT:       !v.needsSCT(),
		// Without a log the library would take today for the time of signing.
		UseSignedTimestamps: v.stamps || v.key == nil && !v.needsLog(),
	}
	if v.key != nil {
		co.SigVerifier = v.scheme.verifier
		return co
	}
	id := v.req.Identity
	co.Identities = []cosign.Identity{{
		Subject: id.Subject, SubjectRegExp: anchored(id.SubjectRegexp),
		Issuer: id.Issuer, IssuerRegExp: anchored(id.IssuerRegexp),
	}}
	return co
}

// artifactPolicy is what the decision is bound to: the digest that was computed,
// or the message itself. A digest that nothing states is refused by it.
func (v *verification) artifactPolicy() verify.ArtifactPolicyOption {
	if v.wholeMessage() {
		return verify.WithArtifacts(v.sums.readers())
	}
	alg := v.entity.digestAlgorithm()
	if st := v.entity.statement; st != nil {
		alg = st.matching(v.sums.of)
	}
	if v.sums.of[alg] == nil {
		alg = crypto.SHA256
	}
	return verify.WithArtifactDigest(digestName(alg), v.sums.of[alg])
}
