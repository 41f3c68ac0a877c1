package format_test

import (
	"bytes"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/internal/dirimage"
	"github.com/assaylab/assay/diff/ledger"
)

func TestDirectoryRanges(t *testing.T) {
	b := difftest.Directory(
		difftest.DirEntry{Type: 'd', Name: ".", Mode: 0o755},
		difftest.DirEntry{Type: 'f', Name: "init", Data: []byte("content"), Xattrs: [][2]string{{"user.a", "1"}, {"user.b", ""}}},
		difftest.DirEntry{Type: 'h', Name: "sh", Target: "init"},
	)
	b = append(b, "tail"...)
	root := layOut(t, "directory", b)
	for path, want := range map[string]ledger.Range{
		"./header":                   {Off: 12, Len: 39},
		"./name":                     {Off: 51, Len: 1},
		"init/header/type":           {Off: 52, Len: 1},
		"init/header/mode":           {Off: 53, Len: 2},
		"init/header/uid":            {Off: 55, Len: 4},
		"init/header/gid":            {Off: 59, Len: 4},
		"init/header/major":          {Off: 63, Len: 4},
		"init/header/minor":          {Off: 67, Len: 4},
		"init/header/name length":    {Off: 71, Len: 4},
		"init/header/xattrs length":  {Off: 75, Len: 4},
		"init/header/target length":  {Off: 79, Len: 4},
		"init/header/content length": {Off: 83, Len: 8},
		"init/name":                  {Off: 91, Len: 4},
		"init/xattrs":                {Off: 95, Len: 29},
		"init/xattrs/user.a/value":   {Off: 109, Len: 1},
		"init/xattrs/user.b/name":    {Off: 118, Len: 6},
		"init/content":               {Off: 124, Len: 7},
		"sh":                         {Off: 131, Len: 39 + 2 + 4},
		"sh/target":                  {Off: 172, Len: 4},
	} {
		if got := part(t, root, path).Range(); got != want {
			t.Errorf("%s at %v, want %v", path, got, want)
		}
	}
	end := root.Children[len(root.Children)-1]
	if end.Role != diff.RoleEnd || end.Off != 176 || end.Len != 4 {
		t.Errorf("end is %s at %d+%d", end.Role, end.Off, end.Len)
	}
	if part(t, root, "sh/header/content length").Spec != nil {
		t.Error("the length of content that is not there is a place")
	}
	if !part(t, root, "init/content").Open {
		t.Error("content is not opened")
	}
}

func TestDirectoryRefused(t *testing.T) {
	root := difftest.DirEntry{Type: 'd', Name: "."}
	file := func(name string) difftest.DirEntry { return difftest.DirEntry{Type: 'f', Name: name} }
	stream := func(entries ...difftest.DirEntry) []byte {
		return difftest.Directory(append([]difftest.DirEntry{root}, entries...)...)
	}
	with := func(e difftest.DirEntry, f func(*difftest.DirEntry)) difftest.DirEntry {
		f(&e)
		return e
	}
	huge := stream(file("f"))
	copy(huge[52+31:], "\xff\xff\xff\xff\xff\xff\xff\xff")
	for name, b := range map[string][]byte{
		"nothing":             nil,
		"magic alone":         []byte("assay-dir 1\n"),
		"no record":           []byte("assay-dir 1\nend\n"),
		"no end":              bytes.TrimSuffix(stream(file("f")), []byte("end\n")),
		"root last":           difftest.Directory(file("f"), root),
		"root is a file":      difftest.Directory(file(".")),
		"root twice":          stream(root),
		"the same name twice": stream(file("f"), file("f")),
		"out of order":        stream(file("g"), file("f")),
		"below comes late":    stream(file("a"), file("a.b"), file("a/b")),
		"absolute":            stream(file("/f")),
		"above":               stream(file("../f")),
		"dots within":         stream(file("a/./f")),
		"NUL in a name":       stream(file("a\x00b")),
		"no name":             stream(file("")),
		"name too long":       stream(file(strings.Repeat("n", 2<<20))),
		"unknown type":        stream(difftest.DirEntry{Type: 'e', Name: "f"}),
		"mode of 16 bits":     stream(with(file("f"), func(e *difftest.DirEntry) { e.Mode = 0o100644 })),
		"file with a device":  stream(with(file("f"), func(e *difftest.DirEntry) { e.Minor = 1 })),
		"file with a target":  stream(with(file("f"), func(e *difftest.DirEntry) { e.Target = "t" })),
		"link without":        stream(with(file("f"), func(e *difftest.DirEntry) { e.Type = 'l' })),
		"directory of bytes":  stream(with(file("f"), func(e *difftest.DirEntry) { e.Type, e.Data = 'd', []byte("1") })),
		"hard link with mode": stream(file("a"), difftest.DirEntry{Type: 'h', Name: "b", Target: "a", Mode: 0o4755}),
		"attributes unsorted": stream(with(file("f"), func(e *difftest.DirEntry) { e.Xattrs = [][2]string{{"b", ""}, {"a", ""}} })),
		"attribute twice":     stream(with(file("f"), func(e *difftest.DirEntry) { e.Xattrs = [][2]string{{"a", ""}, {"a", ""}} })),
		"attribute unnamed":   stream(with(file("f"), func(e *difftest.DirEntry) { e.Xattrs = [][2]string{{"", "1"}} })),
		"content of 64 bits":  huge,
	} {
		if got, err := parse(listed(t, "directory"), b); err == nil {
			t.Errorf("%s: laid out as %d sections", name, len(got))
		} else if got != nil {
			t.Errorf("%s: half a layout", name)
		}
	}
	if _, err := parse(listed(t, "directory"), stream(file("a"), file("a/b"), file("a.b"))); err != nil {
		t.Errorf("canonical order: %v", err)
	}
}

// A real directory is laid out as what it holds.
func TestDirectoryOpen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("directories are read on Linux")
	}
	dir := tree(t)
	img, err := dirimage.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	b := make([]byte, img.Size())
	if _, err := img.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	root := layOut(t, "directory", b)
	checkPlaces(t, root, b)
	var names []string
	for i := range root.Children {
		names = append(names, root.Children[i].Name)
	}
	want := []string{
		"/magic", ".", "empty", "file", "hard", "link", "long link", "sparse", "sub", "sub/block",
		"sub/" + strings.Repeat("n", 120), "/end",
	}
	if !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
	if s := part(t, root, "hard/target"); string(b[s.Off:s.End()]) != "file" {
		t.Errorf("hard is linked to %q", b[s.Off:s.End()])
	}
	if s := part(t, root, "sparse/content"); s.Len != 11<<20+4 {
		t.Errorf("sparse holds %d bytes", s.Len)
	}
	if end := root.Children[len(root.Children)-1].End(); end != img.Size() {
		t.Errorf("the layout ends at %d of %d", end, img.Size())
	}
}
