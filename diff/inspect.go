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

// Inspect lays an image out as far as its formats and limits go, as one tree. See
// [InspectEach].
func Inspect(ctx context.Context, img Image, fields bool, opt Options) (*Node, error) {
	var above []*Node // the node visited last and those it is part of
	err := InspectEach(ctx, img, fields, opt, func(depth int, n *Node) error {
		if above = above[:depth]; depth > 0 {
			up := above[depth-1]
			up.Children = append(up.Children, n)
		}
		above = append(above, n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return above[0], nil
}

// InspectEach lays an image out as far as its formats and limits go, and calls visit
// for every node: the image itself first, at depth 0, then each before its children,
// which it is not given. fields asks for the fields of flat headers too. Limits are no
// error: they are noted. What visit returns ends the inspection.
func InspectEach(ctx context.Context, img Image, fields bool, opt Options, visit func(depth int, n *Node) error) error {
	if opt.Limits.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, opt.Limits.Timeout)
		defer cancel()
	}
	in := &inspector{
		ctx: ctx, opt: &opt, fields: fields, visit: visit,
		opener: opener{formats: opt.Formats, budget: NewBudget(opt.Limits), store: new(store)},
	}
	in.opener.budget.input = img.Size
	l := newLayer(img, img.Size)
	return in.node(within{l, 0, 0}, &l.root, nil, func(n *Node) error { return in.whole(l, n) })
}

type inspector struct {
	ctx    context.Context
	opt    *Options
	opener opener
	fields bool
	visit  func(depth int, n *Node) error
}

// A within says where a section stands: in a stream, in how many layers, and below how
// many nodes.
type within struct {
	l             *layer
	layers, nodes int
}

// whole digests a stream that n is the whole of.
func (in *inspector) whole(l *layer, n *Node) (err error) {
	if n.SHA256 == "" {
		n.SHA256, err = digest(in.ctx, l, l.root.Range())
	}
	return err
}

// node visits a section and all below it; as, if any, says more of the node.
func (in *inspector) node(at within, s, parent *Section, as func(*Node) error) error {
	if s.Bunch {
		return in.parts(at, s, parent)
	}
	if err := in.opener.open(in.ctx, at.l, s, at.layers); err != nil {
		return err
	}
	n := &Node{
		Name: Escape(s.Name), Role: s.Role, Format: s.Format, Offset: s.Off, Size: s.Len,
		Codec: s.Codec, Note: s.Note, Limit: s.Limit,
	}
	if s.Len > 0 && (s.Role == RoleMember || s.Role == RolePayload || s.Role == RoleTail || s.Role == RoleGap) {
		var err error
		if n.SHA256, err = digest(in.ctx, at.l, s.Range()); err != nil {
			return err
		}
	}
	var inner *spool
	if s.Codec != "" && s.Len > 0 {
		var err error
		if inner, err = in.decode(at.l, s, n); err != nil {
			return err
		}
		if inner != nil {
			defer inner.Close()
		}
	}
	if as != nil {
		if err := as(n); err != nil {
			return err
		}
	}
	if err := in.visit(at.nodes, n); err != nil {
		return err
	}
	at.nodes++
	if s.Format != "" {
		at.layers++
	}
	if s.Table == nil || in.fields {
		if err := in.parts(at, s, parent); err != nil {
			return err
		}
	}
	if s.Format != "" {
		if err := in.gathered(at, s); err != nil {
			return err
		}
	}
	if inner != nil {
		return in.decoded(at, s, inner)
	}
	return nil
}

func (in *inspector) parts(at within, s, parent *Section) error {
	ks := kids(s, parent)
	for i := range ks {
		if err := in.node(at, &ks[i], s, nil); err != nil {
			return err
		}
	}
	return nil
}

// gathered visits the streams that stand in pieces of s.
func (in *inspector) gathered(at within, s *Section) error {
	return in.opener.each(in.ctx, at.l, s, in.opt.codec, func(g *gathered, p *pieced) error {
		l := newLayer(p, p.size)
		l.root = derivedRoot(p.size, g.Layout, g.Open)
		return in.node(within{l, at.layers, at.nodes}, &l.root, nil, func(n *Node) error {
			n.Name, n.Role, n.Gathered = Escape(g.Name), g.Role, true
			return in.whole(l, n)
		})
	})
}

// decode returns what s decodes to, or nil, and why in n.
func (in *inspector) decode(l *layer, s *Section, n *Node) (*spool, error) {
	codec := in.opt.codec(s.Codec)
	if codec == nil {
		n.Note = "no decoder for " + s.Codec
		return nil, nil
	}
	sp := newSpool(in.opener.budget, in.opener.store)
	err := codec.Decode(in.ctx, sp, io.NewSectionReader(l, s.Off, s.Len))
	if err == nil {
		return sp, nil
	}
	sp.Close()
	if in.ctx.Err() != nil {
		return nil, in.ctx.Err()
	}
	var limit *LimitError
	if errors.As(err, &limit) {
		n.Limit = limit.Limit
	}
	n.Note = "not decoded: " + err.Error()
	return nil, nil
}

// decoded visits what s decodes to.
func (in *inspector) decoded(at within, s *Section, sp *spool) error {
	l := newLayer(sp, sp.size)
	if s.Part != nil || s.Inner != nil {
		l.root = derivedRoot(sp.size, s.Inner, false)
	}
	return in.node(within{l, at.layers + 1, at.nodes}, &l.root, nil, func(n *Node) error {
		n.Name, n.Decoded = "decoded", true
		return nil
	})
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
