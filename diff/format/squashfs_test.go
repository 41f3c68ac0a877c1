package format_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/ledger"
)

// Every byte of the images that difftest makes is laid out, every Spec is true, and the
// pieces of files are put together as they were: with holes before, inside and behind.
func TestSquashfsContents(t *testing.T) {
	text := strings.Repeat("text that compresses well. ", 500) // 13,500 bytes
	hole := string(make([]byte, 8192))
	files := []difftest.SquashfsFile{
		{Path: ".", Mode: 0o40755},
		{Path: "hole before", Mode: 0o100644, Data: []byte(hole + text)},
		{Path: "hole inside", Mode: 0o100644, Data: []byte(text[:4096] + hole + text)},
		{Path: "two holes", Mode: 0o100644, Data: []byte(text[:4096] + hole + text[:4096] + hole + "end")},
		{Path: "hole behind", Mode: 0o100644, Data: []byte(text[:4096] + hole)},
		{Path: "text", Mode: 0o100644, Data: []byte(text)},
		{Path: "a block", Mode: 0o100644, Data: []byte(text[:4096])},
		{Path: "a tail", Mode: 0o100644, Data: []byte(text[:100])},
		{Path: "nothing", Mode: 0o100644},
		{Path: "inodes", Mode: 0o100644, Data: []byte("named as a table is")},
		{Path: "fragment[0]", Mode: 0o100644, Data: []byte("and this as a fragment")},
	}
	for _, style := range squashStyles {
		t.Run(style.name, func(t *testing.T) {
			s := difftest.Squashfs{Time: squashThen, Files: files}
			style.set(&s)
			c := newSquashCheck(t, s.Bytes())
			for _, f := range files[1:] {
				name := f.Path
				if name == "inodes" {
					name = "inodes#2"
				}
				if got, ok := c.contents[name]; !bytes.Equal(got, f.Data) || ok != (len(f.Data) > 0) {
					t.Errorf("%s: %d bytes, not the %d of the file", name, len(got), len(f.Data))
				}
			}
			if len(c.contents) != len(files)-2 {
				t.Errorf("contents of %d files", len(c.contents))
			}
		})
	}
	for _, s := range []difftest.Squashfs{difftest.ManySquashfs(squashThen), difftest.SmallSquashfs(squashThen)} {
		for _, style := range squashStyles {
			style.set(&s)
			newSquashCheck(t, s.Bytes())
		}
	}
}

// What stands where, and what may be explained: times, lengths, offsets, padding.
func TestSquashfsPlaces(t *testing.T) {
	s := difftest.SmallSquashfs(squashThen)
	s.StoreTables, s.StoreFragments = true, true
	b := s.Bytes()
	ss, err := parse(recognise(b), b)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range ss {
		names = append(names, ss[i].Name)
	}
	want := "superblock, bin/program, fragment[0], inodes, directories, fragments, fragment index, exports, export index, ids, id index, xattrs, xattr ids, xattr header, xattr index, padding"
	if got := strings.Join(names, ", "); got != want {
		t.Errorf("sections %s", got)
	}
	inodes := ss[3].Children[0].Children[1].Part.Of
	places := map[string][]string{}
	for i := range inodes.Layout {
		n := &inodes.Layout[i]
		for _, f := range n.Expand(nil) {
			for _, f := range append(f.Children, f) {
				if f.Spec != nil {
					places[n.Name] = append(places[n.Name], fmt.Sprintf("%s %s %s", f.Name, f.Spec.Op, f.Spec.Enc))
				}
			}
		}
	}
	blocks := []string{"mtime time u32le", "start block number u64le", "block[0] number u32le", "block[1] number u32le"}
	for name, got := range places {
		want := []string{"mtime time u32le"}
		switch name {
		case "bin/program":
			want = blocks
		case "etc/hole":
			want = blocks[:2]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: places %q, not %q", name, got, want)
		}
	}
	if len(places) != len(s.Files) {
		t.Errorf("%d inodes have places", len(places))
	}
	pad := ss[len(ss)-1]
	if pad.Spec.Op != ledger.OpFill || pad.Spec.Align != 4096 || pad.End() != int64(len(b)) {
		t.Errorf("padding %+v %+v", pad, pad.Spec)
	}
}

// Padding is what the maker puts behind an image, not what somebody else does.
func TestSquashfsPadding(t *testing.T) {
	s := difftest.SmallSquashfs(squashThen)
	padded := s.Bytes()
	s.NoPad = true
	bare := s.Bytes()
	for _, test := range []struct {
		name  string
		image []byte
		want  int // bytes of padding, or -1
	}{
		{"padded", padded, 4096 - len(bare)},
		{"bare", bare, -1},
		{"cut short", padded[:len(padded)-1], -1},
		{"bare, something behind", append(bytes.Clone(bare), bytes.Repeat([]byte("x"), 5000)...), -1},
		{"padded, something behind", append(bytes.Clone(padded), "x"...), 4096 - len(bare)},
		{"padded with something", append(bytes.Clone(padded[:4095]), 'x'), 4096 - len(bare)},
	} {
		ss, err := parse(recognise(test.image), test.image)
		if err != nil {
			t.Fatal(err)
		}
		got := -1
		if last := ss[len(ss)-1]; last.Role == diff.RolePadding {
			got = int(last.Len)
		}
		if got != test.want {
			t.Errorf("%s: %d bytes of padding, not %d", test.name, got, test.want)
		}
	}
}
