package diff

import (
	"context"
	"errors"
	"io"

	"github.com/assaylab/assay/diff/ledger"
)

// Streams calls visit for an image and for every stream that its layout carries
// encoded, as far as formats and limits go: what cannot be opened stays a part of the
// stream that it stands in. visit must not keep r.
func Streams(ctx context.Context, img Image, opt Options, visit func(r io.ReaderAt, size int64) error) error {
	return streams(ctx, img, opt, visit, nil)
}

// streams hands the fields that hold an id to ids, too, unless that is nil.
func streams(ctx context.Context, img Image, opt Options, visit func(r io.ReaderAt, size int64) error, ids func(ledger.Enc, []byte)) error {
	s := &streamer{ctx: ctx, opt: &opt, visit: visit, ids: ids, opener: opener{formats: opt.Formats, budget: NewBudget(opt.Limits), store: new(store)}}
	s.opener.budget.input = img.Size
	l := newLayer(img, img.Size)
	return s.stream(l, 0)
}

type streamer struct {
	ctx    context.Context
	opt    *Options
	opener opener
	visit  func(io.ReaderAt, int64) error
	ids    func(ledger.Enc, []byte)
}

func (st *streamer) stream(l *layer, depth int) error {
	if err := st.visit(l, l.size); err != nil {
		return err
	}
	return st.section(l, &l.root, nil, depth)
}

func (st *streamer) section(l *layer, s, parent *Section, depth int) error {
	if sp := s.Spec; st.ids != nil && sp != nil && sp.Op == ledger.OpUUID && s.Len <= 64 {
		b := make([]byte, s.Len)
		if err := readFull(l, b, s.Off); err != nil {
			return err
		}
		st.ids(sp.Enc, b)
	}
	if err := st.opener.open(st.ctx, l, s, depth); err != nil {
		return err
	}
	if s.Format != "" {
		depth++
	}
	ks := kids(s, parent)
	for i := range ks {
		if err := st.section(l, &ks[i], s, depth); err != nil {
			return err
		}
	}
	if s.Format != "" {
		err := st.opener.each(st.ctx, l, s, st.opt.codec, func(g *gathered, p *pieced) error {
			in := newLayer(p, p.size)
			in.root = derivedRoot(p.size, g.Layout, g.Open)
			return st.stream(in, depth+1)
		})
		if err != nil {
			return err
		}
	}
	codec := st.opt.codec(s.Codec)
	if codec == nil || s.Len == 0 || s.Part != nil {
		return nil
	}
	sp := newSpool(st.opener.budget, st.opener.store)
	defer sp.Close()
	err := codec.Decode(st.ctx, sp, io.NewSectionReader(l, s.Off, s.Len))
	if st.ctx.Err() != nil {
		return st.ctx.Err()
	}
	var limit *LimitError
	if err != nil && !errors.As(err, &limit) {
		return nil
	}
	in := newLayer(sp, sp.size)
	if s.Inner != nil {
		in.root = derivedRoot(sp.size, s.Inner, false)
	}
	return st.stream(in, depth+1)
}
