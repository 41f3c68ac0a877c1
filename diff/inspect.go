package diff

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"github.com/assaylab/assay/diff/ledger"
)

// A Node is a section of an image as inspection shows it. Offsets are those of
// the stream the section stands in; a decoded or gathered node begins one of its own.
type Node struct {
	Name     string  `json:"name,omitempty"`
	Role     Role    `json:"role"`
	Format   string  `json:"format,omitempty"`
	Offset   int64   `json:"offset"`
	Size     int64   `json:"size"`
	SHA256   string  `json:"sha256,omitempty"` // of members, payloads and decoded streams
	Codec    string  `json:"codec,omitempty"`
	Decoded  bool    `json:"decoded,omitempty"`
	Gathered bool    `json:"gathered,omitempty"` // put together of pieces that stand elsewhere in the parent
	Note     string  `json:"note,omitempty"`
	Limit    string  `json:"limit,omitempty"`
	Children []*Node `json:"children,omitempty"`
}

// Inspect lays an image out as far as its formats and limits go. fields asks
// for the fields of flat headers too. Limits are no error: they are noted.
func Inspect(ctx context.Context, img Image, fields bool, opt Options) (*Node, error) {
	if opt.Limits.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, opt.Limits.Timeout)
		defer cancel()
	}
	in := &inspector{ctx: ctx, opt: &opt, fields: fields, opener: opener{formats: opt.Formats, budget: NewBudget(opt.Limits), store: new(store)}}
	l := newLayer(img, img.Size)
	n, err := in.node(l, &l.root, nil, 0)
	if err != nil {
		return nil, err
	}
	n.SHA256, err = digest(ctx, l, l.root.Range())
	return n, err
}

type inspector struct {
	ctx    context.Context
	opt    *Options
	opener opener
	fields bool
}

func (in *inspector) node(l *layer, s, parent *Section, depth int) (*Node, error) {
	if err := in.opener.open(in.ctx, l, s, depth); err != nil {
		return nil, err
	}
	n := &Node{
		Name: Escape(s.Name), Role: s.Role, Format: s.Format, Offset: s.Off, Size: s.Len,
		Codec: s.Codec, Note: s.Note, Limit: s.Limit,
	}
	if s.Len > 0 && (s.Role == RoleMember || s.Role == RolePayload || s.Role == RoleTail || s.Role == RoleGap) {
		var err error
		if n.SHA256, err = digest(in.ctx, l, s.Range()); err != nil {
			return nil, err
		}
	}
	if s.Format != "" {
		depth++
	}
	if s.Table == nil || in.fields {
		ks := kids(s, parent)
		for i := range ks {
			c, err := in.node(l, &ks[i], s, depth)
			if err != nil {
				return nil, err
			}
			n.Children = append(n.Children, c)
		}
	}
	if s.Format != "" {
		err := in.opener.each(in.ctx, l, s, in.opt.codec, func(g *gathered, p *pieced) error {
			inner := newLayer(p, p.size)
			inner.root = derivedRoot(p.size, g.Layout, g.Open)
			c, err := in.node(inner, &inner.root, nil, depth)
			if err != nil {
				return err
			}
			if c.SHA256 == "" {
				if c.SHA256, err = digest(in.ctx, inner, inner.root.Range()); err != nil {
					return err
				}
			}
			c.Name, c.Role, c.Gathered = Escape(g.Name), g.Role, true
			n.Children = append(n.Children, c)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if s.Codec != "" && s.Len > 0 {
		c, err := in.decoded(l, s, n, depth)
		if err != nil {
			return nil, err
		}
		if c != nil {
			n.Children = append(n.Children, c)
		}
	}
	return n, nil
}

func (in *inspector) decoded(l *layer, s *Section, n *Node, depth int) (*Node, error) {
	codec := in.opt.codec(s.Codec)
	if codec == nil {
		n.Note = "no decoder for " + s.Codec
		return nil, nil
	}
	sp := newSpool(in.opener.budget, in.opener.store)
	defer sp.Close()
	err := codec.Decode(in.ctx, sp, io.NewSectionReader(l, s.Off, s.Len))
	if in.ctx.Err() != nil {
		return nil, in.ctx.Err()
	}
	var limit *LimitError
	if errors.As(err, &limit) {
		n.Limit = limit.Limit
	}
	if err != nil {
		n.Note = "not decoded: " + err.Error()
		return nil, nil
	}
	inner := newLayer(sp, sp.size)
	if s.Part != nil || s.Inner != nil {
		inner.root = derivedRoot(sp.size, s.Inner, false)
	}
	c, err := in.node(inner, &inner.root, nil, depth+1)
	if err != nil {
		return nil, err
	}
	c.Name, c.Decoded = "decoded", true
	return c, nil
}

func digest(ctx context.Context, r io.ReaderAt, at ledger.Range) (string, error) {
	h := sha256.New()
	b := make([]byte, min(chunk, max(at.Len, 1)))
	for off := at.Off; off < at.End(); {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n := min(int64(len(b)), at.End()-off)
		if err := readFull(r, b[:n], off); err != nil {
			return "", err
		}
		h.Write(b[:n])
		off += n
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
