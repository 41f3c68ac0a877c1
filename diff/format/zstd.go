package format

import (
	"context"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/codec"
)

var zstd = &diff.Format{
	Name:    "zstd",
	Version: 1,
	Title:   "Zstandard frames",
	Source:  "RFC 8878",
	Detect:  func(in *diff.Input) bool { return framedMagic(in) == 0xfd2fb528 },
	Parse:   parseZstd,
}

func parseZstd(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	f, err := codec.WalkZstd(ctx, in, in.Size, codecLimits(in.Budget))
	if err != nil {
		return nil, limit(err)
	}
	return framed(in, f, "zstd@1")
}
