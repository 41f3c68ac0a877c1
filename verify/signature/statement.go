package signature

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assaylab/assay/verify/internal/strictjson"
	"github.com/assaylab/assay/verify/provenance"
	attested "github.com/assaylab/assay/verify/statement"
)

// In-toto, as sigstore-go and the in-toto attestation framework name it.
const (
	statementPayload = "application/vnd.in-toto+json"
	statementV01     = "https://in-toto.io/Statement/v0.1"
	statementV1      = "https://in-toto.io/Statement/v1"
)

const (
	maxSubjects = 1024
	maxKeys     = 64 // of a statement, a subject or a digest set
)

// A statement is what verification needs of an in-toto statement. Of the
// predicates only SLSA provenance is read.
type statement struct {
	predicateType string
	subjects      []subject
	payload       []byte // all of it
	provenance    *provenance.Provenance
	provenanceErr error // it claims to be provenance, and cannot be read

	// against is what a statement that gives a verdict says, where that is not that
	// the artifact passed.
	against string
}

// A subject holds digests in the algorithms that we compare.
type subject map[crypto.Hash][]byte

func parseStatement(payload []byte) (*statement, error) {
	dec := json.NewDecoder(bytes.NewReader(payload))
	st, kind := &statement{payload: payload}, ""
	var predicate json.RawMessage
	err := strictjson.ReadObject(dec, maxKeys, func(key string) error {
		switch key {
		case "_type":
			return dec.Decode(&kind)
		case "predicateType":
			return dec.Decode(&st.predicateType)
		case "predicate":
			return dec.Decode(&predicate)
		case "subject":
			return strictjson.ReadArray(dec, maxSubjects, func() error {
				s, err := parseSubject(dec)
				st.subjects = append(st.subjects, s)
				return err
			})
		}
		return strictjson.Skip(dec)
	})
	if err != nil {
		return nil, err
	}
	if strictjson.End(dec) != nil {
		return nil, errors.New("data after the statement")
	}
	if kind != statementV1 && kind != statementV01 {
		return nil, fmt.Errorf("its _type is %q, not %s", kind, statementV1)
	}
	if len(st.predicateType) > maxName {
		return nil, fmt.Errorf("its predicateType is longer than %d bytes", maxName)
	}
	st.against = verdictAgainst(st.predicateType, predicate, payload)
	if provenance.Is(st.predicateType) {
		st.provenance, st.provenanceErr = provenance.Parse(st.predicateType, predicate)
	}
	return st, nil
}

// verdictAgainst reads a predicate that exists to give a verdict, and says why it
// is not a favourable one: who relies on the signature alone must not take "it
// failed" for an approval.
func verdictAgainst(predicateType string, predicate, payload []byte) string {
	family := strings.ToLower(predicateType) // any version, in any spelling
	switch {
	case predicateType == attested.ByteAccountingType:
		s, err := attested.Decode(payload)
		if err != nil {
			return fmt.Sprintf("the statement gives no verdict that can be read: %s", oneLine(err))
		}
		verdict, reasons, ok := s.Verdict()
		if !ok {
			return "the statement gives no verdict that can be read"
		}
		if verdict != attested.Pass {
			return fmt.Sprintf("the statement says %s: %q", verdict, reasons)
		}
	case strings.Contains(family, "slsa.dev/verification_summary"):
		// v1; and v0.1 and v0.2, which spell the key otherwise
		return notPassed("verification summary", predicate, "verificationResult", "verification_result")
	case strings.Contains(family, "in-toto.io/attestation/test-result"):
		return notPassed("test result", predicate, "result")
	}
	return ""
}

// notPassed says what the one key of these names that a predicate has says, unless
// that is PASSED.
func notPassed(what string, predicate []byte, names ...string) string {
	var result string
	found := 0
	dec := json.NewDecoder(bytes.NewReader(predicate))
	err := strictjson.ReadObject(dec, maxKeys, func(key string) error {
		if slices.Contains(names, key) {
			found++
			return dec.Decode(&result)
		}
		return strictjson.Skip(dec)
	})
	if err != nil || found != 1 || result != "PASSED" {
		return fmt.Sprintf("the %s does not say PASSED but %.40q", what, result)
	}
	return ""
}

func parseSubject(dec *json.Decoder) (subject, error) {
	s := subject{}
	err := strictjson.ReadObject(dec, maxKeys, func(key string) error {
		if key != "digest" {
			return strictjson.Skip(dec)
		}
		return strictjson.ReadObject(dec, maxKeys, func(name string) error {
			var digits string
			if err := dec.Decode(&digits); err != nil {
				return err
			}
			for _, alg := range comparable {
				if name != digestName(alg) {
					continue
				}
				sum, err := hex.DecodeString(digits)
				if err != nil || len(sum) != alg.Size() {
					return fmt.Errorf("a subject's %s is not a digest: %.140q", name, digits)
				}
				s[alg] = sum
			}
			return nil
		})
	})
	return s, err
}

var comparable = [...]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}

// algorithms are those that the subjects are digested under.
func (st *statement) algorithms() []crypto.Hash {
	var out []crypto.Hash
	if st == nil {
		return nil
	}
	for _, s := range st.subjects {
		for alg := range s {
			if !slices.Contains(out, alg) {
				out = append(out, alg)
			}
		}
	}
	slices.Sort(out)
	return out
}

// matching returns an algorithm in which a subject is the artifact, or 0. A
// subject with one digest that is the artifact's and one that is not is no match.
func (st *statement) matching(known map[crypto.Hash][]byte) crypto.Hash {
	for _, s := range st.subjects {
		var found crypto.Hash
		for _, alg := range comparable {
			if s[alg] == nil || known[alg] == nil {
				continue
			}
			if !bytes.Equal(s[alg], known[alg]) {
				found = 0
				break
			}
			found = alg
		}
		if found != 0 {
			return found
		}
	}
	return 0
}

// undecidable reports whether a subject has digests, but none that is known of
// the artifact.
func (st *statement) undecidable(known map[crypto.Hash][]byte) bool {
	return slices.ContainsFunc(st.subjects, func(s subject) bool {
		for alg := range s {
			if known[alg] != nil {
				return false
			}
		}
		return len(s) > 0
	})
}
