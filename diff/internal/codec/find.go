package codec

import (
	"bytes"
	"context"
	"errors"
	"io"
)

// FindSetting returns the first setting of the named codec with which decoded,
// of decodedSize bytes, encodes to exactly encoded, of encodedSize bytes. A
// setting is given up at the first byte that differs, which for most is within
// the first block; at worst every setting encodes everything.
//
// ok is false if no setting does. An error says that the search itself failed.
func FindSetting(ctx context.Context, codec string, encoded io.ReaderAt, encodedSize int64, decoded io.ReaderAt, decodedSize int64) (setting string, ok bool, err error) {
	c, err := Lookup(codec, Limits{})
	if err != nil {
		return "", false, err
	}
	for _, setting := range c.Settings() {
		m := &matcher{want: io.NewSectionReader(encoded, 0, encodedSize)}
		err := c.Encode(ctx, setting, m, io.NewSectionReader(decoded, 0, decodedSize))
		switch {
		case errors.Is(err, errDiffers):
		case err != nil:
			return "", false, err
		case m.n == encodedSize:
			return setting, true, nil
		}
	}
	return "", false, nil
}

var errDiffers = errors.New("the encoding differs")

// A matcher accepts only what want holds.
type matcher struct {
	want io.Reader
	n    int64 // bytes accepted
	buf  [4096]byte
}

func (m *matcher) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		b := m.buf[:min(len(m.buf), len(p)-n)]
		_, end, err := readFull(m.want, b)
		if err != nil {
			return n, err
		}
		if end || !bytes.Equal(b, p[n:][:len(b)]) {
			return n, errDiffers
		}
		n += len(b)
		m.n += int64(len(b))
	}
	return len(p), nil
}
