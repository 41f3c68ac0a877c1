package format

import (
	"bytes"
	"context"
	"errors"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/codec"
	"github.com/assaylab/assay/diff/ledger"
)

// zlib has no magic to speak of. What begins like a stream is one only if it
// decodes, its checksum holds, and nothing but filler follows it.
var zlib = &diff.Format{
	Name:    "zlib",
	Version: 1,
	Title:   "zlib stream",
	Source:  "RFC 1950",
	Detect:  func(in *diff.Input) bool { return codec.LooksLikeZlib(in.Bytes(0, 8)) },
	Parse:   parseZlib,
}

func parseZlib(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	z, err := codec.WalkZlib(ctx, in, in.Size, codecLimits(in.Budget))
	if err != nil {
		return nil, limit(err)
	}
	if err := filler(in, z.Extent); err != nil {
		return nil, err
	}
	if err := in.Budget.Node(int64(len(z.Fields))); err != nil {
		return nil, err
	}
	data := ledger.Range{Off: z.Data.Off, Len: z.Data.Len}
	var out []diff.Section
	for _, f := range z.Fields {
		s := section(f, frameRole(f.Name))
		switch f.Name {
		case "data":
			s.Codec = "deflate@1"
		case "adler32":
			s.Spec = &ledger.Spec{Op: ledger.OpSum, Alg: "adler32", Enc: "u32be", Over: []ledger.Span{{Range: data, Inner: true}}}
		}
		out = append(out, s)
	}
	return out, nil
}

// filler says whether all bytes from off on are 0, or all are 0xff.
func filler(in *diff.Input, off int64) error {
	var first []byte
	for off < in.Size {
		b := in.Bytes(off, min(in.Size-off, 64<<10))
		if b == nil {
			return errors.New("what follows cannot be read")
		}
		if first == nil {
			first = b[:1]
		}
		if first[0] != 0 && first[0] != 0xff || len(bytes.Trim(b, string(first))) > 0 {
			return errors.New("something other than filler follows")
		}
		off += int64(len(b))
	}
	return nil
}
