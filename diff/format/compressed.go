package format

import (
	"context"
	"errors"
	"io"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/codec"
	"github.com/assaylab/assay/diff/ledger"
)

// Codecs returns the decoders and exact encoders of every codec that a format
// here names, each held to limits.
func Codecs(limits diff.Limits) []ledger.Codec {
	var out []ledger.Codec
	for _, c := range codec.All(codecLimits(diff.NewBudget(limits))) {
		out = append(out, limited{c})
	}
	return out
}

// limited is a codec whose limit errors are the engine's.
type limited struct{ *codec.Codec }

func (l limited) Decode(ctx context.Context, w io.Writer, r io.Reader) error {
	return limit(l.Codec.Decode(ctx, w, r))
}

func codecLimits(b *diff.Budget) codec.Limits {
	return codec.Limits{MaxExpanded: b.Expandable(), MaxRatio: b.Limits.MaxRatio, MaxDict: b.Limits.MaxDict}
}

// limit turns a codec's limit error into the engine's; others stay what they are.
func limit(err error) error {
	var le *codec.LimitError
	if errors.As(err, &le) {
		return &diff.LimitError{Limit: le.Limit, Detail: le.Detail}
	}
	return err
}

// section makes a leaf of a field that a walker found.
func section(f codec.Field, role diff.Role) diff.Section {
	return diff.Section{Name: f.Path(), Role: role, Off: f.Off, Len: f.Len}
}
