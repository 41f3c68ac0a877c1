package format

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/ledger"
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
		for i := range s.Children {
			if s.Children[i].Name == name {
				s = &s.Children[i]
				continue next
			}
		}
		var have []string
		for i := range s.Children {
			have = append(have, s.Children[i].Name)
		}
		t.Fatalf("no %q on the way to %q; there are %q", name, path, have)
	}
	return s
}

// value reads an integer of the width and byte order of enc.
func value(b []byte, enc ledger.Enc) (uint64, bool) {
	width := map[string]int{"u8": 1, "u1": 2, "u3": 4, "u6": 8}[string(enc)[:2]]
	if width == 0 || len(b) != width {
		return 0, false
	}
	full := make([]byte, 8)
	if strings.HasSuffix(string(enc), "le") {
		copy(full, b)
		return binary.LittleEndian.Uint64(full), true
	}
	copy(full[8-width:], b)
	return binary.BigEndian.Uint64(full), true
}

// holds says whether a Spec with integer or raw spelling is true of an image;
// ok is false for what it cannot tell.
func holds(image []byte, s *diff.Section) (yes, ok bool) {
	sp := s.Spec
	field := image[s.Off:s.End()]
	blanked := bytes.Clone(image)
	for _, r := range sp.Blank {
		for i := r.Off; i < r.End(); i++ {
			blanked[i] = sp.BlankByte
		}
	}
	var over []byte
	for _, o := range sp.Over {
		if o.Inner {
			return false, false
		}
		over = append(over, blanked[o.Off:o.End()]...)
	}
	switch sp.Op {
	case ledger.OpTime:
		_, ok := value(field, sp.Enc)
		return ok, ok
	case ledger.OpFill:
		want := (sp.Align - int64(len(over))%sp.Align) % sp.Align
		return s.Len == want && len(bytes.Trim(field, string(sp.Fill))) == 0, true
	case ledger.OpNumber:
		got, ok := value(field, sp.Enc)
		unit := max(sp.Unit, 1)
		return got == uint64(int64(len(over))/unit+sp.Add), ok
	case ledger.OpSum:
		switch sp.Alg {
		case "crc32":
			got, ok := value(field, sp.Enc)
			return got == uint64(crc32.ChecksumIEEE(over)), ok
		case "md5":
			sum := md5.Sum(over)
			return bytes.Equal(field, sum[:]), sp.Enc == "raw"
		case "sha1":
			sum := sha1.Sum(over)
			return bytes.Equal(field, sum[:]), sp.Enc == "raw"
		case "sha256":
			sum := sha256.Sum256(over)
			return bytes.Equal(field, sum[:]), sp.Enc == "raw"
		case "sha384":
			sum := sha512.Sum384(over)
			return bytes.Equal(field, sum[:]), sp.Enc == "raw"
		case "sha512":
			sum := sha512.Sum512(over)
			return bytes.Equal(field, sum[:]), sp.Enc == "raw"
		}
	}
	return false, false
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

// specs returns how many sections under root have a Spec, and fails for each
// whose Spec is false of the image.
func specs(t *testing.T, root *diff.Section, b []byte) (n int) {
	t.Helper()
	walk(root, "", func(path string, s *diff.Section) {
		if s.Spec == nil {
			return
		}
		n++
		if len(s.Children) > 0 {
			t.Errorf("%s has a Spec and children", path)
		}
		if yes, ok := holds(b, s); !yes || !ok {
			t.Errorf("%s [% x]: Spec %+v holds: %t, understood: %t", path, b[s.Off:s.End()], s.Spec, yes, ok)
		}
	})
	return n
}

// Whatever a sample's Specs say must be true of it, or no rule can use them.
func TestSpecsHold(t *testing.T) {
	mine := map[string]*diff.Format{"elf": elf, "uimage": uimage, "fdt": devicetree}
	for _, s := range difftest.Samples() {
		if f := mine[s.Format]; f != nil {
			t.Run(s.Name, func(t *testing.T) {
				if specs(t, lay(t, f, s.Data), s.Data) == 0 && s.Name != "elf64-sstrip" {
					t.Error("no Spec at all")
				}
			})
		}
	}
}
