package format

import (
	"context"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/codec"
)

var lzma = &diff.Format{
	Name:    "lzma",
	Version: 1,
	Title:   ".lzma (\"alone\")",
	Source:  "lzma-file-format.txt of XZ Utils",
	Detect:  func(in *diff.Input) bool { return codec.LooksLikeLZMA(in.Bytes(0, 18)) },
	Parse:   parseLZMA,
}

func parseLZMA(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	l, err := codec.WalkLZMA(ctx, in, in.Size, codecLimits(in.Budget))
	if err != nil {
		return nil, limit(err)
	}
	if err := in.Budget.Node(int64(len(l.Fields)) + 1); err != nil {
		return nil, err
	}
	s := diff.Section{Name: "stream", Role: diff.RolePayload, Len: l.Extent, Codec: "lzma@1"}
	for _, f := range l.Fields {
		role := diff.RoleMeta
		if f.Name == "data" {
			role = diff.RolePayload
		}
		s.Children = append(s.Children, section(f, role))
	}
	return []diff.Section{s}, nil
}
