package format

import (
	"context"
	"strings"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/codec"
)

var xz = &diff.Format{
	Name:    "xz",
	Version: 1,
	Title:   ".xz streams",
	Source:  "xz-file-format 1.2.1",
	Detect:  func(in *diff.Input) bool { return string(in.Bytes(0, 6)) == "\xfd7zXZ\x00" },
	Parse:   parseXZ,
}

// parseXZ lays out the streams as one carrier: a second stream continues the
// content of the first. What the carrier is made of stands below it, for where
// the content is the same and the encoding is not.
func parseXZ(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	x, err := codec.WalkXZ(ctx, in, in.Size, codecLimits(in.Budget))
	if err != nil {
		return nil, limit(err)
	}
	if err := in.Budget.Node(int64(len(x.Fields)) + 1); err != nil {
		return nil, err
	}
	s := diff.Section{Name: "streams", Role: diff.RolePayload, Len: x.Extent, Codec: "xz@1"}
	for _, f := range x.Fields {
		s.Children = append(s.Children, section(f, xzRole(f.Name)))
	}
	return []diff.Section{s}, nil
}

func xzRole(name string) diff.Role {
	switch {
	case strings.HasSuffix(name, "magic"):
		return diff.RoleMagic
	case strings.HasSuffix(name, "crc32"), name == "check":
		return diff.RoleChecksum
	case strings.HasSuffix(name, "padding"):
		return diff.RolePadding
	case strings.HasSuffix(name, "size"):
		return diff.RoleLength
	case name == "data":
		return diff.RolePayload
	}
	return diff.RoleMeta
}
