package statement

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/assaylab/assay/verify/internal/strictjson"
)

// maxElements bounds the keys of one object and the elements of one array; the
// document as a whole is bounded by strictjson.MaxValues.
const maxElements = 1 << 13

// canonical returns the one spelling of a JSON document, without an end of line.
// It refuses a document that two readers could take for two: with a key that
// occurs twice, text that is not UTF-8, a number that is not an int64, or more
// than one value.
func canonical(b []byte) ([]byte, error) {
	v, err := read(b)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // maps are written in the order of their keys
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// read builds a document of maps, slices, strings, json.Numbers, booleans and nil.
func read(b []byte) (any, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("it is not UTF-8")
	}
	if err := strictjson.CheckShape(b); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := value(d, b)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("there is something after it, at byte %d", d.InputOffset())
	}
	return v, nil
}

func value(d *json.Decoder, whole []byte) (any, error) {
	switch rest := bytes.TrimLeft(whole[d.InputOffset():], " \t\r\n:,"); {
	case bytes.HasPrefix(rest, []byte("{")):
		object := map[string]any{}
		err := strictjson.ReadObject(d, maxElements, func(key string) (err error) {
			object[key], err = value(d, whole)
			return err
		})
		return object, err
	case bytes.HasPrefix(rest, []byte("[")):
		array := []any{}
		err := strictjson.ReadArray(d, maxElements, func() error {
			v, err := value(d, whole)
			array = append(array, v)
			return err
		})
		return array, err
	}
	t, err := d.Token()
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	if n, ok := t.(json.Number); ok {
		i, err := strconv.ParseInt(n.String(), 10, 64)
		if err != nil || strconv.FormatInt(i, 10) != n.String() {
			return nil, fmt.Errorf("the number %.40q is not a whole number of 64 bits", n.String())
		}
	}
	return t, err
}
