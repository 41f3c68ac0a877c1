// Package statement makes and signs the in-toto statements in which assay says
// what it found.
//
// # Statements
//
// A [Statement] is an in-toto Statement v1
// (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md). Two
// kinds are made, read and signed, those of the predicate types
//
//	https://assay.dev/attestation/byte-accounting/v0.1
//	https://slsa.dev/provenance/v1
//
// in these letters. The first is a [ByteAccounting]; its one subject is the
// deployed image. The second is a [Rebuild], of the build type
//
//	https://assay.dev/rebuild/v1
//
// and no other; its subjects are the outputs.
//
// A subject has a name and its sha256, and may have sha384 and sha512, all in
// lower-case hexadecimal. Of a directory, the digests are of the stream of bytes
// as which assay reads it.
//
// # One spelling
//
// [Statement.Encode] writes the same bytes for the same values: keys in byte
// order at every level, no white space, strings as encoding/json spells them
// without HTML escapes, whole numbers only, and one "\n" at the end, so that a
// file of the statement, its digest and the signed payload are one thing.
// [Decode] reads any spelling of the same values, and nothing else: it refuses
// unknown, missing and repeated keys.
//
// # Signatures
//
// [Sign] makes a DSSE v1 envelope
// (https://github.com/secure-systems-lab/dsse/blob/master/protocol.md) with one
// signature and an empty keyid, since a keyid is a hint that verifiers must not
// trust and some compare with names of their own. It signs nothing but statements
// as above: it is no oracle for other payloads. A key signs by one scheme:
//
//	ECDSA    P-256 with SHA-256; P-384 with SHA-384; P-521 with SHA-512
//	RSA      2048, 3072 and 4096 bits, PKCS #1 v1.5 with SHA-256
//	Ed25519  pure
//
// All are deterministic (ECDSA by RFC 6979): the same key and the same statement
// give the same bytes. Of what cosign v2 reads, verify-blob-attestation takes
// P-256, RSA and Ed25519 as they are; P-384 and P-521 need its option
// --signature-digest-algorithm. It takes Ed25519 over envelopes as pure, though
// it signs blobs with Ed25519ph.
//
// [Envelope.Bundle] wraps an envelope in a sigstore bundle v0.3 without a log
// entry, [Envelope.DSSE] writes it as it is.
//
// Nothing here reads the network, the clock or the environment.
package statement

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Type is the _type of every statement.
const Type = "https://in-toto.io/Statement/v1"

// ByteAccountingType is the predicate type of what assay states of a deployed image.
const ByteAccountingType = "https://assay.dev/attestation/byte-accounting/v0.1"

// Predicate types of SLSA. Of provenance assay makes and signs that of its own
// rebuilds; summaries it neither makes nor signs.
const (
	ProvenanceType = "https://slsa.dev/provenance/v1"
	SummaryType    = "https://slsa.dev/verification_summary/v1"
)

// MaxStatement bounds a statement, in bytes. Its bundle stays below the limit of
// package signature.
const MaxStatement = 8 << 20

const (
	maxSubjects = 1024
	maxName     = 4096 // bytes of a subject's name
)

// A Statement says a predicate of its subjects.
type Statement struct {
	Type          string          `json:"_type"`
	Subject       []Subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"` // an object
}

// A Subject is an artifact by name and digests.
type Subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"` // sha256, sha384 and sha512 in hexadecimal; sha256 always
}

// New makes a statement of a predicate that json.Marshal takes. An error says
// why it is not one that assay makes.
func New(predicateType string, predicate any, subjects ...Subject) (*Statement, error) {
	b, err := json.Marshal(predicate)
	if err != nil {
		return nil, fmt.Errorf("statement: %w", err)
	}
	s := &Statement{Type: Type, Subject: subjects, PredicateType: predicateType, Predicate: b}
	if b, err = s.Encode(); err != nil {
		return nil, err
	}
	return Decode(b)
}

// Encode writes the statement in its one spelling.
func (s *Statement) Encode() ([]byte, error) {
	b, err := json.Marshal(s)
	if err == nil {
		b, err = canonical(b)
	}
	if err != nil {
		return nil, fmt.Errorf("statement: %w", err)
	}
	if len(b) >= MaxStatement {
		return nil, fmt.Errorf("statement: larger than %d bytes", MaxStatement)
	}
	return append(b, '\n'), nil
}

// Decode reads a statement of a kind that assay makes, in any spelling. The
// error is an [Error] otherwise.
func Decode(b []byte) (*Statement, error) {
	const hint = "assay signs only what assay states: byte accounting, and provenance of its rebuilds; cosign attest-blob signs others"
	s, err := decode(b)
	if err != nil {
		return nil, trouble(hint, "not a statement that assay makes: %v", err)
	}
	return s, nil
}

func decode(b []byte) (*Statement, error) {
	if len(b) > MaxStatement {
		return nil, fmt.Errorf("it is larger than %d bytes", MaxStatement)
	}
	s := &Statement{}
	if err := exactly(b, s); err != nil {
		return nil, err
	}
	if s.Type != Type {
		return nil, fmt.Errorf("its _type is %.100q, not %s", s.Type, Type)
	}
	if n := len(s.Subject); n == 0 || n > maxSubjects {
		return nil, fmt.Errorf("it has %d subjects, where 1 to %d are allowed", n, maxSubjects)
	}
	for i := range s.Subject {
		if err := s.Subject[i].check(); err != nil {
			return nil, fmt.Errorf("subject[%d]: %w", i, err)
		}
	}
	if err := s.checkPredicate(); err != nil {
		return nil, err
	}
	return s, nil
}

// exactly decodes JSON into v, which must then be all that the JSON says: a key
// that v does not know, lacks or spells in other letters is an error.
func exactly(b []byte, v any) error {
	want, err := canonical(b)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(want))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	got, err := json.Marshal(v)
	if err == nil {
		got, err = canonical(got)
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("a key is missing, misspelt or empty: %s", difference(got, want))
	}
	return nil
}

// difference shows where two documents part.
func difference(got, want []byte) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	from := max(0, i-20)
	return fmt.Sprintf("expected %q, found %q", got[from:min(len(got), i+30)], want[from:min(len(want), i+30)])
}

func (s *Subject) check() error {
	if s.Name == "" || len(s.Name) > maxName {
		return fmt.Errorf("its name has %d bytes, where 1 to %d are allowed", len(s.Name), maxName)
	}
	return checkDigest(s.Digest)
}

// digestSize is the length of what we take as a digest, in bytes.
var digestSize = map[string]int{"sha256": 32, "sha384": 48, "sha512": 64}

func checkDigest(digest map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(digest)) {
		size, known := digestSize[name]
		if !known {
			return fmt.Errorf("the digest %.40q is none of sha256, sha384 and sha512", name)
		}
		if !isHex(digest[name], size) {
			return fmt.Errorf("its %s is not %d lower-case hexadecimal digits: %.140q", name, 2*size, digest[name])
		}
	}
	if digest["sha256"] == "" {
		return errors.New("it has no sha256")
	}
	return nil
}

func isHex(s string, size int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == size && s == strings.ToLower(s)
}

func (s *Statement) checkPredicate() error {
	switch s.PredicateType {
	case ByteAccountingType:
		return s.checkByteAccounting()
	case ProvenanceType:
		return s.checkRebuild()
	}
	return fmt.Errorf("its predicateType is %.100q, neither %s nor %s", s.PredicateType, ByteAccountingType, ProvenanceType)
}
