package format

import (
	"context"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/codec"
)

var lzip = &diff.Format{
	Name:    "lzip",
	Version: 1,
	Title:   "lzip members",
	Source:  "lzip manual 1.23, \"File format\"",
	Detect:  func(in *diff.Input) bool { return string(in.Bytes(0, 5)) == "LZIP\x01" },
	Parse:   parseLzip,
}

func parseLzip(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	f, err := codec.WalkLzip(ctx, in, in.Size, codecLimits(in.Budget))
	if err != nil {
		return nil, limit(err)
	}
	return framed(in, f, "lzip@1")
}
