// Package strictjson reads JSON that an adversary wrote: it bounds the shape of a
// document before anything is built of it, and reads objects key by key, so that
// no key occurs twice and no two readers take different values from one document.
package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits on JSON whose parsers build a tree. An honest bundle or trusted root
// has some hundred values; "[[],[],…" costs a tree parser fifty times its size.
const (
	MaxValues = 1 << 15
	MaxDepth  = 64
)

// CheckShape counts the values and the nesting of JSON without building
// anything. It does not validate: a parser does, afterwards.
func CheckShape(b []byte) error {
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
			if depth++; depth > MaxDepth {
				return fmt.Errorf("nested deeper than %d at byte %d", MaxDepth, i)
			}
		case c == '}' || c == ']':
			depth--
		case c == ',':
			values++
		}
		if values > MaxValues {
			return fmt.Errorf("more than %d values at byte %d", MaxValues, i)
		}
	}
	return nil
}

// ReadObject reads one JSON object from dec and calls field with the decoder at
// each value, which field must consume. Unlike encoding/json it refuses a key
// that occurs twice in any letter case, so that no two readers of the same
// document can take different values from it. It reads no more than limit keys.
func ReadObject(dec *json.Decoder, limit int, field func(key string) error) error {
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
		if folded := strings.ToLower(strings.ToUpper(key)); seen[folded] { // as encoding/json folds, "ſ" to "s" too
			return fmt.Errorf("the key %.100q occurs twice", key)
		} else if seen[folded] = true; len(seen) > limit {
			return fmt.Errorf("an object has more than %d keys", limit)
		}
		if err := field(key); err != nil {
			return err
		}
	}
	return delim(dec, '}')
}

// ReadArray reads one JSON array of at most limit elements.
func ReadArray(dec *json.Decoder, limit int, element func() error) error {
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

// Skip consumes one value.
func Skip(dec *json.Decoder) error {
	var raw json.RawMessage
	return dec.Decode(&raw)
}

// End demands that nothing but white space follows.
func End(dec *json.Decoder) error {
	if t, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("data after it: %v", t)
	}
	return nil
}

// Printable escapes, in JSON that encoding/json wrote, every character that does
// not print: encoding/json leaves those past ASCII as they are, among them
// controls that a terminal obeys and marks that reorder a line.
func Printable(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r < utf8.RuneSelf && r != 0x7f || unicode.IsPrint(r):
			out = append(out, b[:n]...)
		case r >= 0x10000:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		b = b[n:]
	}
	return out
}
