package signature

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/assaylab/assay/verify/internal/strictjson"
)

// An entity is a bundle, taken apart once. It is what the library verifies and
// what the steps look at, so that both see the same.
type entity struct {
	*bundle.Bundle
	content  verify.SignatureContent
	material verify.VerificationContent
	leaf     *x509.Certificate // nil: signed by a bare key
	chain    []*x509.Certificate
	entries  []*tlog.Entry
	logErr   error    // the log entries cannot be read
	stamps   [][]byte // RFC 3161 time stamps

	envelope     *dsse.Envelope // nil: a message signature
	statement    *statement     // nil: no envelope, or see statementErr
	statementErr error
}

// Version hides the bundle's version from the library: for the known ones it
// would try P-384 and P-521 certificates with SHA-256 too, read the artifact
// into memory for that, not tell which scheme verified, and write to stderr.
func (e *entity) Version() (string, error) { return "", nil }

func (e *entity) SignatureContent() (verify.SignatureContent, error) { return e.content, nil }

func (e *entity) VerificationContent() (verify.VerificationContent, error) { return e.material, nil }

func (e *entity) TlogEntries() ([]*tlog.Entry, error) { return e.entries, e.logErr }

func (e *entity) Timestamps() ([][]byte, error) { return e.stamps, nil }

// kind names the bundle for people.
func (e *entity) kind() string {
	version, err := e.Bundle.Version()
	if err != nil {
		return "bundle"
	}
	return "bundle " + version
}

// only is the entity with one of its log entries.
func (e *entity) only(entry *tlog.Entry) *entity {
	one := *e
	one.entries = []*tlog.Entry{entry}
	return &one
}

// digestAlgorithm is that of a message signature's digest, 0 of an envelope.
func (e *entity) digestAlgorithm() crypto.Hash {
	m := e.content.MessageSignatureContent()
	if m == nil {
		return 0
	}
	switch m.DigestAlgorithm() {
	case protocommon.HashAlgorithm_SHA2_256.String():
		return crypto.SHA256
	case protocommon.HashAlgorithm_SHA2_384.String():
		return crypto.SHA384
	case protocommon.HashAlgorithm_SHA2_512.String():
		return crypto.SHA512
	}
	return 0
}

func (e *entity) certificateScheme() scheme {
	if e.leaf == nil {
		return scheme{}
	}
	return certificateScheme(e.leaf.PublicKey, e.envelope != nil)
}

// envelopeContent keeps the library from building a tree of the predicate,
// which costs many times its size; nobody reads it.
type envelopeContent struct{ *bundle.Envelope }

func (c envelopeContent) EnvelopeContent() verify.EnvelopeContent { return c }

func (c envelopeContent) Statement() (*intoto.Statement, error) { return &intoto.Statement{}, nil }

func parseBundle(text []byte) (*entity, error) {
	if err := strictjson.CheckShape(text); err != nil {
		return nil, err
	}
	pb := &protobundle.Bundle{}
	if err := protojson.Unmarshal(text, pb); err != nil {
		return nil, err
	}
	return readBundle(pb)
}

// readBundle takes a bundle apart. One whose log entries alone cannot be read is
// read without them, and logErr says why.
func readBundle(pb *protobundle.Bundle) (*entity, error) {
	if _, err := (&bundle.Bundle{Bundle: pb}).Version(); err != nil {
		return nil, err
	}
	err, logErr := checkSizes(pb)
	if err != nil {
		return nil, err
	}
	if logErr == nil {
		logErr = checkLogBodies(pb)
	}
	if logErr == nil {
		b, err := bundle.NewBundle(pb)
		if err == nil {
			return takeApart(b)
		}
		logErr = err
	}
	if len(pb.GetVerificationMaterial().GetTlogEntries()) == 0 {
		return nil, logErr
	}
	pb.VerificationMaterial.TlogEntries = nil
	b, err := bundle.NewBundle(pb)
	if err != nil {
		return nil, err
	}
	e, err := takeApart(b)
	if err != nil {
		return nil, err
	}
	e.logErr = logErr
	return e, nil
}

func checkLogBodies(pb *protobundle.Bundle) error {
	for i, entry := range pb.GetVerificationMaterial().GetTlogEntries() {
		if err := checkLogBody(entry.GetCanonicalizedBody()); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return nil
}

// checkLogBody admits the kinds of entries that are compared with a bundle, as
// JSON objects of a bounded shape: the parser of a null body has panicked, and
// there are kinds whose parser fetches URLs.
func checkLogBody(body []byte) error {
	if err := strictjson.CheckShape(body); err != nil {
		return fmt.Errorf("its body is %w", err)
	}
	kind, version, err := logKind(body)
	if err != nil {
		return err
	}
	switch kind + " " + version {
	case "hashedrekord 0.0.1", "hashedrekord 0.0.2", "dsse 0.0.1", "intoto 0.0.2":
		return checkLogged(body)
	}
	return fmt.Errorf("its body is of kind %.40q, version %.40q, which binds no signature", kind, version)
}

// checkLogged refuses what an entry holds only while it is proposed, and more than
// one signature where an entry keeps the envelope: the libraries verify each of its
// signatures with each of its keys, as many as whoever made it liked.
func checkLogged(body []byte) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	within := func(name string, then func() error) func(string) error {
		return func(key string) error {
			if !strings.EqualFold(key, name) {
				return strictjson.Skip(dec)
			}
			return then()
		}
	}
	object := func(field func(string) error) error { return strictjson.ReadObject(dec, maxKeys, field) }
	return object(within("spec", func() error {
		return object(func(key string) error {
			switch {
			case strings.EqualFold(key, "proposedContent"):
				return errors.New("its body holds proposed content, which no log keeps")
			case !strings.EqualFold(key, "content"):
				return strictjson.Skip(dec)
			}
			return object(within("envelope", func() error {
				return object(within("signatures", func() error {
					if err := strictjson.ReadArray(dec, 1, func() error { return strictjson.Skip(dec) }); err != nil {
						return fmt.Errorf("its body holds not exactly one signature: %w", err)
					}
					return nil
				}))
			}))
		})
	}))
}

func logKind(body []byte) (kind, version string, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	err = strictjson.ReadObject(dec, maxKeys, func(key string) error {
		switch key {
		case "kind":
			return dec.Decode(&kind)
		case "apiVersion":
			return dec.Decode(&version)
		}
		return strictjson.Skip(dec)
	})
	if err != nil {
		return "", "", fmt.Errorf("its body is not a JSON object: %w", err)
	}
	return kind, version, nil
}

func takeApart(b *bundle.Bundle) (*entity, error) {
	e := &entity{Bundle: b}
	var err error
	if e.content, err = b.SignatureContent(); err != nil {
		return nil, err
	}
	if e.material, err = b.VerificationContent(); err != nil {
		return nil, err
	}
	if e.entries, err = b.TlogEntries(); err != nil {
		return nil, err
	}
	if e.stamps, err = b.Timestamps(); err != nil {
		return nil, err
	}
	e.leaf = e.material.Certificate()
	for i, c := range b.VerificationMaterial.GetX509CertificateChain().GetCertificates() {
		cert, err := x509.ParseCertificate(c.GetRawBytes())
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i, err)
		}
		e.chain = append(e.chain, cert)
	}
	if m := e.content.MessageSignatureContent(); m != nil {
		switch alg := e.digestAlgorithm(); {
		case alg == 0:
			return nil, fmt.Errorf("its digest algorithm %s is none of SHA-256, SHA-384 and SHA-512", m.DigestAlgorithm())
		case len(m.Digest()) != alg.Size():
			return nil, fmt.Errorf("its %v digest has %d bytes", alg, len(m.Digest()))
		}
		return e, nil
	}
	env, err := b.Envelope()
	if err != nil {
		return nil, err
	}
	e.envelope, e.content = env.Envelope, envelopeContent{env}
	if env.PayloadType != statementPayload {
		e.statementErr = fmt.Errorf("its payload is of type %.100q, not %s", env.PayloadType, statementPayload)
		return e, nil
	}
	payload, err := base64.StdEncoding.DecodeString(env.Payload)
	if err != nil {
		return nil, err
	}
	e.statement, e.statementErr = parseStatement(payload)
	return e, nil
}
