package format

import (
	"context"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/codec"
)

var lz4 = &diff.Format{
	Name:    "lz4",
	Version: 1,
	Title:   "LZ4 frames, legacy ones among them",
	Source:  "LZ4 Frame Format 1.6.3",
	Detect: func(in *diff.Input) bool {
		magic := framedMagic(in)
		return magic == 0x184d2204 || magic == 0x184c2102
	},
	Parse: parseLZ4,
}

func parseLZ4(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	f, err := codec.WalkLZ4(ctx, in, in.Size, codecLimits(in.Budget))
	if err != nil {
		return nil, limit(err)
	}
	return framed(in, f, "lz4@1")
}
