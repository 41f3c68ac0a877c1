package format

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
)

// lay lays an image out by one format and returns the root of its sections,
// tables expanded.
func lay(t *testing.T, f *diff.Format, b []byte) *diff.Section {
	t.Helper()
	in := &diff.Input{ReaderAt: bytes.NewReader(b), Size: int64(len(b)), Budget: diff.NewBudget(diff.Limits{})}
	if !f.Detect(in) {
		t.Fatalf("%s does not recognise the image", f.Name)
	}
	children, err := f.Parse(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	root := &diff.Section{Len: in.Size, Children: children}
	expand(root)
	return root
}

func expand(s *diff.Section) {
	for i := range s.Children {
		c := &s.Children[i]
		if c.Table != nil {
			c.Children, c.Table = c.Expand(s), nil
		}
		expand(c)
	}
}

// at returns the section with a path such as "header/size".
func at(t *testing.T, root *diff.Section, path string) *diff.Section {
	t.Helper()
	s := root
next:
	for name := range strings.SplitSeq(path, "/") {
		var have []string
		for i := range s.Children {
			if s.Children[i].Name == name {
				s = &s.Children[i]
				continue next
			}
			have = append(have, s.Children[i].Name)
		}
		t.Fatalf("no %q on the way to %q; there are %q", name, path, have)
	}
	return s
}

// walk calls f for every section under s, with its path.
func walk(s *diff.Section, path string, f func(path string, s *diff.Section)) {
	for i := range s.Children {
		c := &s.Children[i]
		p := c.Name
		if path != "" {
			p = path + "/" + c.Name
		}
		f(p, c)
		walk(c, p, f)
	}
}

// specs returns how many sections under root have a Spec.
func specs(root *diff.Section) (n int) {
	walk(root, "", func(_ string, s *diff.Section) {
		if s.Spec != nil {
			n++
		}
	})
	return n
}
