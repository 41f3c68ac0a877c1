package format

import (
	"context"
	"fmt"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/codec"
	"github.com/assaylab/assay/diff/ledger"
)

var gzip = &diff.Format{
	Name:    "gzip",
	Version: 1,
	Title:   "gzip, one member or several",
	Source:  "RFC 1952",
	Detect: func(in *diff.Input) bool {
		b := in.Bytes(0, 3)
		return b != nil && b[0] == 0x1f && b[1] == 0x8b && b[2] == 8
	},
	Parse: parseGzip,
}

var gzipRoles = map[string]diff.Role{
	"magic": diff.RoleMagic, "mtime": diff.RoleTime, "flags": diff.RoleFlags, "name": diff.RoleName,
	"extra length": diff.RoleLength, "header crc": diff.RoleChecksum, "crc32": diff.RoleChecksum, "isize": diff.RoleLength,
}

func parseGzip(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	var members []diff.Section
	for at := int64(0); ; {
		rest := &diff.Input{ReaderAt: in.ReaderAt, Size: in.Size, Budget: in.Budget}
		if b := rest.Bytes(at, 3); at > 0 && (b == nil || b[0] != 0x1f || b[1] != 0x8b || b[2] != 8) {
			break
		}
		g, err := codec.WalkGzip(ctx, offsetReader{in, at}, in.Size-at, codecLimits(in.Budget))
		if err != nil {
			if at > 0 && limit(err) == err {
				break // what follows only begins like a member: a tail
			}
			return nil, limit(err)
		}
		if err := in.Budget.Node(int64(len(g.Fields)) + 1); err != nil {
			return nil, err
		}
		m := diff.Section{Name: fmt.Sprintf("member%d", len(members)+1), Role: diff.RoleMember, Off: at, Len: g.Extent}
		data := ledger.Range{Off: at + g.Data.Off, Len: g.Data.Len}
		for _, f := range g.Fields {
			f.Off += at
			s := section(f, gzipRoles[f.Name])
			if s.Role == "" {
				s.Role = diff.RoleMeta
			}
			switch f.Name {
			case "mtime":
				s.Spec = &ledger.Spec{Op: ledger.OpTime, Enc: "u32le"}
			case "data":
				s.Role, s.Codec = diff.RolePayload, "deflate@1"
			case "crc32":
				s.Spec = &ledger.Spec{Op: ledger.OpSum, Alg: "crc32", Enc: "u32le", Over: []ledger.Span{{Range: data, Inner: true}}}
			case "isize":
				s.Spec = &ledger.Spec{Op: ledger.OpNumber, Enc: "u32le", Over: []ledger.Span{{Range: data, Inner: true}}}
			}
			m.Children = append(m.Children, s)
		}
		members = append(members, m)
		at += g.Extent
	}
	if len(members) == 1 {
		return members[0].Children, nil
	}
	return members, nil
}

// offsetReader is a ReaderAt that begins at off.
type offsetReader struct {
	in  *diff.Input
	off int64
}

func (r offsetReader) ReadAt(p []byte, off int64) (int, error) { return r.in.ReadAt(p, r.off+off) }
