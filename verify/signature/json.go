package signature

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Limits on JSON whose parsers build a tree. An honest bundle or trusted root
// has some hundred values; "[[],[],…" costs a tree parser fifty times its size.
const (
	maxValues = 1 << 15
	maxDepth  = 64
)

// checkShape counts the values and the nesting of JSON without building
// anything. It does not validate: a parser does, afterwards.
func checkShape(b []byte) error {
	values, depth, quoted := 0, 0, false
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			values++
			if depth++; depth > maxDepth {
				return fmt.Errorf("nested deeper than %d at byte %d", maxDepth, i)
			}
		case c == '}' || c == ']':
			depth--
		case c == ',':
			values++
		}
		if values > maxValues {
			return fmt.Errorf("more than %d values at byte %d", maxValues, i)
		}
	}
	return nil
}

// readObject reads one JSON object from dec and calls field with the decoder at
// each value, which field must consume. Unlike encoding/json it refuses a key
// that occurs twice in any letter case, so that no two readers of the same
// document can take different values from it. It reads no more than limit keys.
func readObject(dec *json.Decoder, limit int, field func(key string) error) error {
	if err := delim(dec, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return errors.New("an object's key is not a string")
		}
		if folded := strings.ToLower(key); seen[folded] {
			return fmt.Errorf("the key %q occurs twice", key)
		} else if seen[folded] = true; len(seen) > limit {
			return fmt.Errorf("an object has more than %d keys", limit)
		}
		if err := field(key); err != nil {
			return err
		}
	}
	return delim(dec, '}')
}

// readArray reads one JSON array of at most limit elements.
func readArray(dec *json.Decoder, limit int, element func() error) error {
	if err := delim(dec, '['); err != nil {
		return err
	}
	for n := 0; dec.More(); n++ {
		if n == limit {
			return fmt.Errorf("an array has more than %d elements", limit)
		}
		if err := element(); err != nil {
			return err
		}
	}
	return delim(dec, ']')
}

func delim(dec *json.Decoder, want json.Delim) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	if t != want {
		return fmt.Errorf("expected %q, found %v", want.String(), t)
	}
	return nil
}

func skip(dec *json.Decoder) error {
	var raw json.RawMessage
	return dec.Decode(&raw)
}

// oneLine makes a library's error fit for a report: one line, plain blanks (the
// protobuf parser varies its blanks from build to build), no control characters,
// bounded.
func oneLine(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' || 0x80 <= r && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
	const most = 400
	if len(s) > most {
		s = s[:len(bytes.ToValidUTF8([]byte(s[:most]), nil))] + "…"
	}
	return s
}
