package format

import (
	"context"
	"fmt"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/codec"
	"github.com/assaylab/assay/diff/ledger"
)

const lzopMagic = "\x89LZO\x00\r\n\x1a\n"

var lzop = &diff.Format{
	Name:    "lzop",
	Version: 1,
	Title:   "lzop, one file or several",
	Source:  "lzop 1.04, src/lzop.c, write_header",
	Detect:  func(in *diff.Input) bool { return string(in.Bytes(0, 9)) == lzopMagic },
	Parse:   parseLzop,
}

var lzopRoles = map[string]diff.Role{
	"library version": diff.RoleVersion, "version needed": diff.RoleVersion, "mtime": diff.RoleTime,
	"name length": diff.RoleLength, "extra length": diff.RoleLength, "name": diff.RoleName,
}

// parseLzop lays out the header, which holds a time, field by field. The blocks are
// a carrier, of a codec that goes by the checksums which the header says they have.
func parseLzop(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	var files []diff.Section
	for at := int64(0); at == 0 || string(in.Bytes(at, 9)) == lzopMagic; {
		l, err := codec.WalkLzop(ctx, offsetReader{in, at}, in.Size-at, codecLimits(in.Budget))
		if err != nil {
			if at > 0 && limit(err) == err {
				break // what follows only begins like a file: a tail
			}
			return nil, limit(err)
		}
		if err := in.Budget.Node(int64(len(l.Fields)) + 2); err != nil {
			return nil, err
		}
		file := diff.Section{Name: fmt.Sprintf("file%d", len(files)+1), Role: diff.RoleMember, Off: at, Len: l.Extent}
		blocks := diff.Section{Name: "blocks", Role: diff.RolePayload, Off: at + l.Blocks.Off, Len: l.Blocks.Len, Codec: l.Codec}
		header := ledger.Range{Off: at + l.Header.Off, Len: l.Header.Len}
		for _, f := range l.Fields {
			inside := f.Off >= l.Blocks.Off
			f.Off += at
			role := lzopRoles[f.Name]
			if role == "" {
				role = frameRole(f.Name)
			}
			s := section(f, role)
			if inside {
				blocks.Children = append(blocks.Children, s)
				continue
			}
			switch f.Name {
			case "mtime":
				s.Spec = &ledger.Spec{Op: ledger.OpTime, Enc: "u32be"}
			case "header checksum":
				alg := "adler32"
				if l.CRC {
					alg = "crc32"
				}
				s.Spec = &ledger.Spec{Op: ledger.OpSum, Alg: alg, Enc: "u32be", Over: []ledger.Span{{Range: header}}}
			}
			file.Children = append(file.Children, s)
		}
		file.Children = append(file.Children, blocks)
		files = append(files, file)
		at += l.Extent
	}
	if len(files) == 1 {
		return files[0].Children, nil
	}
	return files, nil
}
