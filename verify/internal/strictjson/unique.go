package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
)

// maxKeys bounds the keys of one object where only Unique reads it.
const maxKeys = 1 << 13

// Unique demands that b is one JSON value in which no object, at any depth, has a
// key twice in any letter case, nested no deeper than MaxDepth, with no more than
// 8192 keys in one object. It holds the keys of the objects that are open and no
// more, so that b may have any number of values.
func Unique(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	err := unique(dec, b, 0)
	if err == nil {
		err = End(dec)
	}
	switch {
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case err != nil:
		return fmt.Errorf("byte %d: %w", dec.InputOffset(), err)
	}
	return nil
}

// unique reads one value of whole from dec, which has depth arrays and objects open.
func unique(dec *json.Decoder, whole []byte, depth int) error {
	next := bytes.TrimLeft(whole[dec.InputOffset():], " \t\r\n:,")
	object, array := bytes.HasPrefix(next, []byte("{")), bytes.HasPrefix(next, []byte("["))
	if (object || array) && depth == MaxDepth {
		return fmt.Errorf("nested deeper than %d", MaxDepth)
	}
	switch {
	case object:
		return ReadObject(dec, maxKeys, func(string) error { return unique(dec, whole, depth+1) })
	case array:
		return ReadArray(dec, math.MaxInt, func() error { return unique(dec, whole, depth+1) })
	}
	_, err := dec.Token()
	return err
}
