package provenance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/assaylab/assay/verify/internal/strictjson"
)

const (
	maxKeys         = 1024 // of an object that is read
	maxDependencies = 8192
	maxURI          = 4096 // bytes
)

var errNull = errors.New("is null")

// object calls field for each key of a JSON object. Null is an object without
// keys: the specifications treat optional fields that are unset or null alike.
func object(raw json.RawMessage, field func(key string, value json.RawMessage) error) error {
	if isNull(raw) {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	err := strictjson.ReadObject(dec, maxKeys, func(key string) error {
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		if err := field(key, value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return end(dec)
}

func array(raw json.RawMessage, element func(value json.RawMessage) error) error {
	if isNull(raw) {
		return nil
	}
	dec, n := json.NewDecoder(bytes.NewReader(raw)), 0
	err := strictjson.ReadArray(dec, maxDependencies, func() error {
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		if err := element(value); err != nil {
			return fmt.Errorf("%d: %w", n, err)
		}
		n++
		return nil
	})
	if err != nil {
		return err
	}
	return end(dec)
}

// end asks for a token, because More takes a stray bracket for an end.
func end(dec *json.Decoder) error {
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("data after the value at byte %d", dec.InputOffset())
	}
	return nil
}

// text reads a string; null leaves s as it is.
func text(raw json.RawMessage, s *string) error {
	if isNull(raw) {
		return nil
	}
	if !isString(raw) {
		return errors.New("is not a string")
	}
	return json.Unmarshal(raw, s)
}

// uri bounds what is compared with every dependency.
func uri(raw json.RawMessage, s *string) error {
	if err := text(raw, s); err != nil {
		return err
	}
	if len(*s) > maxURI {
		return fmt.Errorf("is longer than %d bytes", maxURI)
	}
	return nil
}

func resource(raw json.RawMessage, r *Resource) error {
	return object(raw, func(key string, value json.RawMessage) error {
		switch key {
		case "uri":
			return uri(value, &r.URI)
		case "name":
			return text(value, &r.Name)
		case "digest":
			return object(value, func(alg string, value json.RawMessage) error {
				var digits string
				if err := text(value, &digits); err != nil {
					return err
				}
				// A DigestSet may hold algorithms that a reader does not know, and
				// the reader must not use them.
				if len(sizes(alg)) == 0 {
					return nil
				}
				sum, err := canonical(alg, digits)
				if err != nil {
					return err
				}
				if r.Digest == nil {
					r.Digest = map[string]string{}
				}
				r.Digest[alg] = sum
				return nil
			})
		}
		return nil
	})
}

func isString(raw json.RawMessage) bool {
	return bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte{'"'})
}

func isNull(raw json.RawMessage) bool {
	raw = bytes.Trim(raw, " \t\r\n")
	return len(raw) == 0 || string(raw) == "null"
}

func isEmpty(raw json.RawMessage) bool {
	return isNull(raw) || slices.Contains([]string{"{}", "[]", `""`}, strings.Join(strings.Fields(string(raw)), ""))
}
