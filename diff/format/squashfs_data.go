package format

import (
	"fmt"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/squashfs"
	"github.com/assaylab/assay/diff/ledger"
)

// files appends a section for the blocks of every file that has them to itself.
func (w *squashLayout) files(out []diff.Section) ([]diff.Section, error) {
	for i := range w.Nodes {
		n := &w.Nodes[i]
		f, ok := w.File(n)
		if !ok || !n.OwnsBlocks && !n.OwnsTail {
			continue
		}
		of := w.stream(n, &f)
		if !n.OwnsBlocks {
			if of != nil {
				w.tails[i] = &diff.Part{Of: of}
			}
			continue
		}
		s := diff.Section{Name: n.Name, Role: diff.RoleMember}
		pieces := 0
		var spent error
		w.Blocks(&f, func(k int64, b squashfs.DataBlock) bool {
			if b.Len == 0 {
				return true
			}
			if spent = w.budget.Node(1); spent != nil {
				return false
			}
			c := diff.Section{Name: fmt.Sprintf("block[%d]", k), Role: diff.RolePayload, Off: b.Off, Len: b.Len}
			if !b.Stored {
				c.Codec, c.Tight = w.Codec(), true
			}
			if of != nil {
				c.Part = &diff.Part{Of: of, N: pieces}
			} else {
				c.Open = b.Stored
			}
			s.Children = append(s.Children, c)
			pieces++
			return true
		})
		if spent != nil {
			return nil, spent
		}
		if of == nil && len(s.Children) == 1 && f.Count == 1 {
			s.Children[0].Name = "content"
		}
		first, last := &s.Children[0], &s.Children[len(s.Children)-1]
		s.Off, s.Len = first.Off, last.End()-first.Off
		if of != nil && n.OwnsTail {
			w.tails[i] = &diff.Part{Of: of, N: pieces}
		}
		if err := w.budget.Node(1); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// stream returns the content of a file that stands in more pieces than one, or has
// holes, or nil if it does not or not all of it is the file's own.
func (w *squashLayout) stream(n *squashfs.Inode, f *squashfs.File) *diff.Stream {
	pieces := 0
	var zeros []ledger.Zeros
	w.Blocks(f, func(k int64, b squashfs.DataBlock) bool {
		switch last := len(zeros) - 1; {
		case b.Len > 0:
			pieces++
		case last >= 0 && zeros[last].Before == pieces:
			zeros[last].Len += w.BlockLen(f, k)
		default:
			zeros = append(zeros, ledger.Zeros{Before: pieces, Len: w.BlockLen(f, k)})
		}
		return true
	})
	if pieces > 0 && !n.OwnsBlocks {
		return nil
	}
	if w.Tail(f) > 0 {
		if !n.OwnsTail {
			return nil
		}
		pieces++
	}
	if pieces < 2 && len(zeros) == 0 {
		return nil
	}
	return &diff.Stream{Name: n.Name, Role: diff.RoleMember, Open: true, Zeros: zeros}
}

// fragments appends a section for every fragment, in which the tails of files are
// laid out.
func (w *squashLayout) fragments(out []diff.Section) ([]diff.Section, error) {
	for i := range w.Fragments {
		g := &w.Fragments[i]
		if g.Len == 0 || g.Note != "" {
			continue
		}
		if err := w.budget.Node(1 + int64(len(g.Tails))); err != nil {
			return nil, err
		}
		s := diff.Section{Name: fmt.Sprintf("fragment[%d]", i), Role: diff.RolePayload, Off: g.Off, Len: g.Len}
		base := int64(0)
		if g.Stored {
			base = g.Off
		}
		tails := make([]diff.Section, len(g.Tails))
		for k, t := range g.Tails {
			part := w.tails[t.Node]
			tails[k] = diff.Section{
				Name: w.Nodes[t.Node].Name, Role: diff.RolePayload, Off: base + t.Off, Len: t.Len, Part: part, Open: part == nil,
			}
		}
		if g.Stored {
			s.Children = tails
		} else {
			s.Codec, s.Inner = w.Codec(), tails
		}
		out = append(out, s)
	}
	return out, nil
}
