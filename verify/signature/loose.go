package signature

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/assaylab/assay/verify/internal/strictjson"
)

// A loose signature is one that no sigstore bundle holds: a detached file, a
// legacy cosign bundle, or the annotations of a layer in a registry. It is made
// into a v0.1 bundle, the version whose log entries need no Merkle proof.
type loose struct {
	signature []byte
	leaf      *x509.Certificate // nil: by a bare key
	entry     *protorekor.TransparencyLogEntry
	logErr    error    // there is a log entry, and it cannot be read
	stamps    [][]byte // RFC 3161 responses over signature
}

// message is the entity of a signature over something with these digests, or nil
// when the one that the scheme needs is not known. A zero alg is a scheme over
// the message itself; the bundle's digest is then SHA-256.
func (l *loose) message(alg crypto.Hash, known sums) (*entity, error) {
	if alg == 0 {
		alg = crypto.SHA256
	}
	if known.of[alg] == nil {
		return nil, nil
	}
	proto := map[crypto.Hash]protocommon.HashAlgorithm{
		crypto.SHA256: protocommon.HashAlgorithm_SHA2_256,
		crypto.SHA384: protocommon.HashAlgorithm_SHA2_384,
		crypto.SHA512: protocommon.HashAlgorithm_SHA2_512,
	}
	b := l.bundle()
	b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
		MessageDigest: &protocommon.HashOutput{Algorithm: proto[alg], Digest: known.of[alg]},
		Signature:     l.signature,
	}}
	return l.entity(b)
}

// envelope is the entity of a DSSE envelope in JSON.
func (l *loose) envelope(text []byte) (*entity, error) {
	env, err := parseEnvelope(text)
	if err != nil {
		return nil, err
	}
	b := l.bundle()
	b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: env}
	return l.entity(b)
}

func (l *loose) bundle() *protobundle.Bundle {
	m := &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{}},
	}
	if l.leaf != nil {
		m.Content = &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{
			Certificates: []*protocommon.X509Certificate{{RawBytes: l.leaf.Raw}},
		}}
	}
	if l.entry != nil {
		m.TlogEntries = []*protorekor.TransparencyLogEntry{l.entry}
	}
	if len(l.stamps) > 0 {
		m.TimestampVerificationData = &protobundle.TimestampVerificationData{}
		for _, s := range l.stamps {
			m.TimestampVerificationData.Rfc3161Timestamps = append(m.TimestampVerificationData.Rfc3161Timestamps,
				&protocommon.RFC3161SignedTimestamp{SignedTimestamp: s})
		}
	}
	return &protobundle.Bundle{MediaType: "application/vnd.dev.sigstore.bundle+json;version=0.1", VerificationMaterial: m}
}

func (l *loose) entity(b *protobundle.Bundle) (*entity, error) {
	e, err := readBundle(b)
	if err == nil && e.logErr == nil {
		e.logErr = l.logErr
	}
	return e, err
}

// isLegacy recognises {"base64Signature": …, "cert": …, "rekorBundle": …}, what
// cosign writes with --bundle and without --new-bundle-format.
func isLegacy(b []byte) bool {
	legacy := false
	dec := json.NewDecoder(bytes.NewReader(b))
	_ = strictjson.ReadObject(dec, maxKeys, func(key string) error {
		legacy = legacy || key == "base64Signature" || key == "rekorBundle"
		return strictjson.Skip(dec)
	})
	return legacy
}

// parseLegacy reads a legacy cosign bundle (cosign.LocalSignedPayload). What it
// signs is either the artifact, or an envelope that stands in place of the
// signature; then entity is set.
func parseLegacy(text []byte) (l *loose, e *entity, err error) {
	if err := strictjson.CheckShape(text); err != nil {
		return nil, nil, err
	}
	l = &loose{}
	dec := json.NewDecoder(bytes.NewReader(text))
	err = strictjson.ReadObject(dec, maxKeys, func(key string) error {
		var s string
		switch key {
		case "base64Signature":
			if err := dec.Decode(&s); err != nil {
				return err
			}
			var err error
			l.signature, err = base64.StdEncoding.DecodeString(s)
			return named(key, err)
		case "cert":
			if err := dec.Decode(&s); err != nil {
				return err
			}
			if b, err := base64.StdEncoding.DecodeString(s); err == nil {
				s = string(b) // the PEM file in base64; without it, early ones
			}
			return named(key, l.certificate([]byte(s)))
		case "rekorBundle":
			var raw json.RawMessage
			if err := dec.Decode(&raw); err != nil {
				return err
			}
			l.logged(raw)
			return nil
		}
		return fmt.Errorf("unknown key %.100q", key)
	})
	if err != nil {
		return nil, nil, err
	}
	if strictjson.End(dec) != nil {
		return nil, nil, errors.New("data after the bundle")
	}
	if bytes.HasPrefix(l.signature, []byte("{")) && json.Valid(l.signature) {
		e, err = l.envelope(l.signature)
	}
	return l, e, err
}

func named(key string, err error) error {
	if err != nil {
		return fmt.Errorf("its %s cannot be read: %w", key, err)
	}
	return nil
}

// certificate takes the first certificate of a PEM file: a signer's own. What
// leads from it to a root comes from the trusted root alone. A public key is
// passed over: who is trusted is named by the caller.
func (l *loose) certificate(text []byte) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	if block, _ := pem.Decode(text); block == nil {
		return errors.New("it is not PEM")
	} else if block.Type == "PUBLIC KEY" {
		return nil
	}
	certs, err := cryptoutils.UnmarshalCertificatesFromPEMLimited(text, maxCertificates)
	if err != nil {
		return err
	}
	if len(certs) == 0 {
		return errors.New("it holds no certificate")
	}
	l.leaf = certs[0]
	return nil
}

const maxCertificates = 32 // of one PEM file

// logged reads cosign's form of a log entry (bundle.RekorBundle): a promise,
// without a Merkle proof. One that cannot be read fails the log step, not the
// parse: the signature beside it can be read.
func (l *loose) logged(text []byte) {
	if bytes.Equal(text, []byte("null")) || len(text) == 0 {
		return // cosign's spelling of none
	}
	entry, err := parseRekorBundle(text)
	if err != nil {
		l.logErr = err
		return
	}
	l.entry = entry
}

func parseRekorBundle(text []byte) (*protorekor.TransparencyLogEntry, error) {
	if err := strictjson.CheckShape(text); err != nil {
		return nil, err
	}
	var promise, body *[]byte // nil: absent, or null
	var at, index *int64
	var id string
	dec := json.NewDecoder(bytes.NewReader(text))
	err := strictjson.ReadObject(dec, maxKeys, func(key string) error {
		switch key {
		case "SignedEntryTimestamp":
			return dec.Decode(&promise)
		case "Payload":
			return strictjson.ReadObject(dec, maxKeys, func(key string) error {
				switch key {
				case "body":
					return dec.Decode(&body)
				case "integratedTime":
					return dec.Decode(&at)
				case "logIndex":
					return dec.Decode(&index)
				case "logID":
					return dec.Decode(&id)
				}
				return fmt.Errorf("unknown key %.100q in its payload", key)
			})
		}
		return fmt.Errorf("unknown key %.100q", key)
	})
	switch {
	case err != nil:
		return nil, err
	case strictjson.End(dec) != nil:
		return nil, errors.New("data after it")
	case body == nil:
		return nil, errors.New("its body is null")
	case promise == nil:
		return nil, errors.New("it holds no promise (SignedEntryTimestamp)")
	case at == nil || index == nil:
		return nil, errors.New("it lacks integratedTime or logIndex")
	}
	if err := checkLogBody(*body); err != nil {
		return nil, err
	}
	keyID, err := hex.DecodeString(id)
	if err != nil || len(keyID) != 32 {
		return nil, fmt.Errorf("its logID %.80q is not a SHA-256", id)
	}
	kind, version, err := logKind(*body)
	if err != nil {
		return nil, err
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex: *index, LogId: &protocommon.LogId{KeyId: keyID},
		KindVersion:    &protorekor.KindVersion{Kind: kind, Version: version},
		IntegratedTime: *at, InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: *promise},
		CanonicalizedBody: *body,
	}, nil
}

// stamped reads an RFC 3161 response: DER, or cosign's JSON around it
// (bundle.RFC3161Timestamp).
func (l *loose) stamped(text []byte) error {
	stamp := text
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		if err := strictjson.CheckShape(text); err != nil {
			return err
		}
		stamp = nil
		dec := json.NewDecoder(bytes.NewReader(text))
		err := strictjson.ReadObject(dec, maxKeys, func(key string) error {
			if key != "SignedRFC3161Timestamp" {
				return fmt.Errorf("unknown key %.100q", key)
			}
			return dec.Decode(&stamp)
		})
		if err != nil {
			return err
		}
	}
	if len(stamp) == 0 {
		return errors.New("it is empty")
	}
	if err := checkStamp(stamp); err != nil {
		return err
	}
	l.stamps = append(l.stamps, stamp)
	return nil
}

// parseEnvelope reads a DSSE envelope (github.com/secure-systems-lab/dsse,
// envelope.md) from JSON.
func parseEnvelope(text []byte) (*protodsse.Envelope, error) {
	if err := strictjson.CheckShape(text); err != nil {
		return nil, err
	}
	env := &protodsse.Envelope{}
	dec := json.NewDecoder(bytes.NewReader(text))
	err := strictjson.ReadObject(dec, maxKeys, func(key string) error {
		switch key {
		case "payloadType":
			return dec.Decode(&env.PayloadType)
		case "payload":
			return dec.Decode(&env.Payload)
		case "signatures":
			return strictjson.ReadArray(dec, maxKeys, func() error {
				s := &protodsse.Signature{}
				env.Signatures = append(env.Signatures, s)
				return strictjson.ReadObject(dec, maxKeys, func(key string) error {
					switch key {
					case "sig":
						return dec.Decode(&s.Sig)
					case "keyid":
						return dec.Decode(&s.Keyid)
					}
					return fmt.Errorf("unknown key %.100q in a signature", key)
				})
			})
		}
		return fmt.Errorf("unknown key %.100q", key)
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("the envelope: %w", err)
	case strictjson.End(dec) != nil:
		return nil, errors.New("data after the envelope")
	case len(env.Signatures) == 0:
		return nil, errors.New("the envelope holds no signature")
	}
	return env, nil
}
