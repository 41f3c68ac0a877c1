package statement

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// PayloadType is that of an in-toto statement in an envelope.
const PayloadType = "application/vnd.in-toto+json"

// BundleType is the media type of a bundle.
const BundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// An Envelope is a DSSE v1 envelope with one signature.
type Envelope struct {
	Payload     []byte              `json:"payload"`     // base64 in JSON
	PayloadType string              `json:"payloadType"` // PayloadType
	Signatures  []EnvelopeSignature `json:"signatures"`
}

// An EnvelopeSignature is over the pre-authentication encoding of the payload's
// type and the payload.
type EnvelopeSignature struct {
	KeyID string `json:"keyid"` // empty
	Sig   []byte `json:"sig"`   // base64 in JSON
}

// Sign signs a statement that [Statement.Encode] wrote, and nothing else. The
// same key and payload give the same envelope.
func Sign(key *Key, payload []byte) (*Envelope, error) {
	if key == nil || key.signer == nil {
		return nil, errors.New("sign: there is no key")
	}
	s, err := Decode(payload)
	if err != nil {
		return nil, err
	}
	if again, err := s.Encode(); err != nil || !bytes.Equal(again, payload) {
		return nil, errors.New("sign: the statement is not in its one spelling")
	}
	message := preAuth(PayloadType, payload)
	if key.hash != 0 {
		h := key.hash.New()
		h.Write(message)
		message = h.Sum(nil)
	}
	sig, err := key.signer.Sign(nil, message, key.hash) // no randomness: ECDSA is then that of RFC 6979
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return &Envelope{payload, PayloadType, []EnvelopeSignature{{Sig: sig}}}, nil
}

// preAuth is the PAE of the DSSE protocol, v1.
func preAuth(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// DSSE writes the envelope as it is, in one line of JSON.
func (e *Envelope) DSSE() ([]byte, error) { return line(e) }

// Bundle writes a sigstore bundle v0.3 in one line of JSON. hint says which key
// signed; see [Key.Hint].
func (e *Envelope) Bundle(hint string) ([]byte, error) {
	type publicKey struct {
		Hint string `json:"hint"`
	}
	type material struct {
		PublicKey publicKey `json:"publicKey"`
	}
	return line(struct {
		MediaType string    `json:"mediaType"`
		Material  material  `json:"verificationMaterial"`
		Envelope  *Envelope `json:"dsseEnvelope"`
	}{BundleType, material{publicKey{hint}}, e})
}

func line(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}
