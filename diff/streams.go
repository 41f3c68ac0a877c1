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
	return newStreamer(ctx, img, &opt, func(r io.ReaderAt, size int64, in func() error) error {
		if err := visit(r, size); err != nil {
			return err
		}
		return in()
	}).image(img)
}

// everywhere calls visit for the same streams, and ids for each field that holds an id.
// seeds are those in the stream that hold a seed. A limit that keeps anything closed is an
// error.
func everywhere(ctx context.Context, img ledger.Image, opt *Options, visit func(r io.ReaderAt, size int64, seeds []ledger.Range) error, ids func(ledger.Enc, []byte)) error {
	var st *streamer
	of := Image{ReaderAt: img.ReaderAt, Size: img.Size}
	st = newStreamer(ctx, of, opt, func(r io.ReaderAt, size int64, in func() error) error {
		around := st.seeds
		st.seeds = nil
		err := in()
		if err == nil {
			err = visit(r, size, st.seeds)
		}
		st.seeds = around
		return err
	})
	st.ids = ids
	err := st.image(of)
	if err == nil && st.opener.limited != nil {
		return st.opener.limited
	}
	return err
}

type streamer struct {
	ctx    context.Context
	opt    *Options
	opener opener
	visit  func(r io.ReaderAt, size int64, in func() error) error // in goes on with what the stream carries
	ids    func(ledger.Enc, []byte)
	seeds  []ledger.Range
}

func newStreamer(ctx context.Context, img Image, opt *Options, visit func(r io.ReaderAt, size int64, in func() error) error) *streamer {
	st := &streamer{ctx: ctx, opt: opt, visit: visit, opener: opener{formats: opt.Formats, budget: NewBudget(opt.Limits), store: new(store)}}
	st.opener.budget.input = img.Size
	return st
}

func (st *streamer) image(img Image) error { return st.stream(newLayer(img, img.Size), 0) }

func (st *streamer) stream(l *layer, depth int) error {
	return st.visit(l, l.size, func() error { return st.section(l, &l.root, nil, depth) })
}

// id hands a field that holds an id over.
func (st *streamer) id(l *layer, s *Section) error {
	if st.ids == nil || s.Spec == nil || s.Spec.Op != ledger.OpUUID || s.Len > 64 {
		return nil
	}
	if s.Spec.Enc == "seed" {
		st.seeds = append(st.seeds, s.Range())
		return nil
	}
	b := make([]byte, s.Len)
	if err := readFull(l, b, s.Off); err != nil {
		return err
	}
	st.ids(s.Spec.Enc, b)
	return nil
}

func (st *streamer) section(l *layer, s, parent *Section, depth int) error {
	if err := st.id(l, s); err != nil {
		return err
	}
	if err := st.opener.open(st.ctx, l, s, depth); err != nil {
		return err
	}
	if s.Limit != "" {
		st.opener.limit(&LimitError{s.Limit, s.Note})
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
	if limit != nil {
		st.opener.limit(limit)
	}
	in := newLayer(sp, sp.size)
	if s.Inner != nil {
		in.root = derivedRoot(sp.size, s.Inner, false)
	}
	return st.stream(in, depth+1)
}
