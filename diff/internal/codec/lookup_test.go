package codec

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/assaylab/assay/diff/ledger"
)

// Lookup returns the codec of that name, version included.
func Lookup(name string, lim Limits) (*Codec, error) {
	all := All(lim)
	i := slices.IndexFunc(all, func(c *Codec) bool { return c.name == name })
	if i < 0 {
		return nil, fmt.Errorf("codec %q: unknown to this version of the program", name)
	}
	return all[i], nil
}

// Settings returns the settings of the named codec, likeliest first; none if
// there is no such codec.
func Settings(codec string) []string {
	c, err := Lookup(codec, Limits{})
	if err != nil {
		return nil
	}
	return c.Settings()
}

// Encode is [Codec.Encode] of the named codec.
func Encode(ctx context.Context, codec, setting string, w io.Writer, r io.Reader) error {
	c, err := Lookup(codec, Limits{})
	if err != nil {
		return err
	}
	return c.Encode(ctx, setting, w, r)
}

// Decode is [Codec.Decode] of the named codec.
func Decode(ctx context.Context, codec string, lim Limits, w io.Writer, r io.Reader) error {
	c, err := Lookup(codec, lim)
	if err != nil {
		return err
	}
	return c.Decode(ctx, w, r)
}

// FindSetting returns the first setting with which decoded encodes to exactly
// encoded, as the engine and the kernel look for it.
func FindSetting(ctx context.Context, codec string, encoded io.ReaderAt, encodedSize int64, decoded io.ReaderAt, decodedSize int64) (setting string, ok bool, err error) {
	c, err := Lookup(codec, Limits{})
	if err != nil {
		return "", false, err
	}
	ctx, _ = c.Search(ctx)
	for _, setting := range c.Settings() {
		same, err := ledger.Reproduces(ctx, c, setting, io.NewSectionReader(encoded, 0, encodedSize), io.NewSectionReader(decoded, 0, decodedSize))
		if same || err != nil {
			return setting, same, err
		}
	}
	return "", false, nil
}
