package format

import (
	"context"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/codec"
)

var bzip2 = &diff.Format{
	Name:    "bzip2",
	Version: 1,
	Title:   "bzip2 streams",
	Source:  "bzip2 1.0.8, decompress.c",
	Detect:  func(in *diff.Input) bool { return codec.LooksLikeBzip2(in.Bytes(0, 10)) },
	Parse:   parseBzip2,
}

func parseBzip2(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	f, err := codec.WalkBzip2(ctx, in, in.Size, codecLimits(in.Budget))
	if err != nil {
		return nil, limit(err)
	}
	return framed(in, f, "bzip2@1")
}
