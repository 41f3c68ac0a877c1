package format_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/ledger"
)

func TestCpioRanges(t *testing.T) {
	entries := []difftest.CpioEntry{
		{Name: "init", Mode: 0o100755, Mtime: 1, Nlink: 1, Data: []byte("12345")},
		{Name: "sh", Mode: 0o120777, Mtime: 1, Nlink: 1, Data: []byte("busybox")},
	}
	for _, test := range []struct {
		magic string
		want  map[string]ledger.Range
	}{
		{"070702", map[string]ledger.Range{
			"init/header":           {Off: 0, Len: 110},
			"init/header/magic":     {Off: 0, Len: 6},
			"init/header/ino":       {Off: 6, Len: 8},
			"init/header/mode":      {Off: 14, Len: 8},
			"init/header/nlink":     {Off: 38, Len: 8},
			"init/header/mtime":     {Off: 46, Len: 8},
			"init/header/filesize":  {Off: 54, Len: 8},
			"init/header/namesize":  {Off: 94, Len: 8},
			"init/header/check":     {Off: 102, Len: 8},
			"init/name":             {Off: 110, Len: 5},
			"init/name padding":     {Off: 115, Len: 1},
			"init/content":          {Off: 116, Len: 5},
			"init/padding":          {Off: 121, Len: 3},
			"sh":                    {Off: 124, Len: 124},
			"sh/target":             {Off: 124 + 116, Len: 7},
			"TRAILER!!!":            {Off: 248, Len: 124},
			"TRAILER!!!/name":       {Off: 248 + 110, Len: 11},
			"block padding":         {Off: 372, Len: 140},
			"TRAILER!!!/content":    {Off: 372, Len: 0},
			"init/header/rdevminor": {Off: 86, Len: 8},
		}},
		{"070707", map[string]ledger.Range{
			"init/header":          {Off: 0, Len: 76},
			"init/header/mode":     {Off: 18, Len: 6},
			"init/header/mtime":    {Off: 48, Len: 11},
			"init/header/namesize": {Off: 59, Len: 6},
			"init/header/filesize": {Off: 65, Len: 11},
			"init/name":            {Off: 76, Len: 5},
			"init/content":         {Off: 81, Len: 5},
			"sh":                   {Off: 86, Len: 76 + 3 + 7},
			"TRAILER!!!":           {Off: 172, Len: 76 + 11},
			"block padding":        {Off: 259, Len: 512 - 259},
		}},
	} {
		b := append(difftest.Cpio(test.magic, 512, entries...), "070701 and so on"...)
		root := layOut(t, "cpio", b)
		for path, want := range test.want {
			if got := part(t, root, path).Range(); got != want {
				t.Errorf("%s: %s at %v, want %v", test.magic, path, got, want)
			}
		}
		if n := len(root.Children); n != 4 {
			t.Errorf("%s: %d sections, want three members and padding: what follows is nobody's", test.magic, n)
		}
		if !part(t, root, "init/content").Open || part(t, root, "sh/target").Open {
			t.Errorf("%s: the content of a file is opened, a target is not", test.magic)
		}
		if trailer := part(t, root, "TRAILER!!!"); trailer.Role != diff.RoleEnd || part(t, trailer, "header/mtime").Spec != nil {
			t.Errorf("%s: the trailer is %s, its mtime %+v", test.magic, trailer.Role, part(t, trailer, "header/mtime").Spec)
		}
	}
}

// The sum of a file is a place in the crc form alone, and not where a link
// without the content has the sum of it.
func TestCpioSum(t *testing.T) {
	file := difftest.CpioEntry{Name: "f", Mode: 0o100644, Nlink: 2, Data: []byte("1")}
	link := difftest.CpioEntry{Name: "l", Mode: 0o120777, Nlink: 1, Data: []byte("f")}
	for magic, want := range map[string]bool{"070701": false, "070702": true} {
		root := layOut(t, "cpio", difftest.Cpio(magic, 0, file, link))
		if got := part(t, root, "f/header/check").Spec; (got != nil) != want {
			t.Errorf("%s: check of a file %+v", magic, got)
		}
		if got := part(t, root, "l/header/check").Spec; got != nil {
			t.Errorf("%s: check of a link %+v", magic, got)
		}
	}
	file.Data = nil
	b := difftest.Cpio("070702", 0, file)
	copy(b[102:], "00000031")
	if got := part(t, layOut(t, "cpio", b), "f/header/check").Spec; got != nil {
		t.Errorf("a sum of content that is not there: %+v", got)
	}
}

func TestCpioRefused(t *testing.T) {
	file := difftest.CpioEntry{Name: "f", Mode: 0o100644, Nlink: 1, Data: []byte("12345")}
	whole := difftest.Cpio("070701", 0, file)
	with := func(off int, s string) []byte {
		b := bytes.Clone(whole)
		copy(b[off:], s)
		return b
	}
	odc := difftest.Cpio("070707", 0, file)
	for name, b := range map[string][]byte{
		"nothing":              nil,
		"magic alone":          []byte("070701"),
		"no trailer":           whole[:124-4],
		"cut in the trailer":   whole[:len(whole)-2],
		"another magic":        with(124-8, "070703"),
		"filesize past end":    with(54, "FFFFFFFF"),
		"namesize past end":    with(94, "FFFFFFFF"),
		"namesize zero":        with(94, "00000000"),
		"a sign":               with(54, "+0000005"),
		"a prefix":             with(54, "0x000005"),
		"an underscore":        with(54, "0000_005"),
		"no number":            with(14, "mode    "),
		"odc after newc":       append(bytes.Clone(whole[:124]), odc...),
		"newc after odc":       append(bytes.Clone(odc[:76+2+5]), whole...),
		"odc with decimal":     bytes.Replace(odc, []byte("00000000005"), []byte("00000000009"), 1),
		"no member, no magic":  make([]byte, 512),
		"binary form, old":     append([]byte{0xc7, 0x71}, make([]byte, 510)...),
		"trailing of a header": whole[:109],
	} {
		if got, err := parse(listed(t, "cpio"), b); err == nil {
			t.Errorf("%s: laid out as %d sections", name, len(got))
		} else if got != nil {
			t.Errorf("%s: half a layout", name)
		}
	}
}

// Only zeros up to a block are padding; nothing after them is.
func TestCpioEnds(t *testing.T) {
	whole := difftest.Cpio("070701", 0)
	for _, test := range []struct {
		name  string
		after []byte
		pad   int64 // -1 for none
	}{
		{"nothing", nil, -1},
		{"zeros to the block", make([]byte, 512-124), 512 - 124},
		{"zeros to a large block", make([]byte, 5120-124), 5120 - 124},
		{"zeros to a record", make([]byte, 10240-124), 10240 - 124},
		{"more zeros", make([]byte, 2000), 512 - 124},
		{"fewer zeros", make([]byte, 100), -1},
		{"a byte within", append(make([]byte, 512-125), 1), -1},
		{"another archive", whole, -1},
	} {
		root := layOut(t, "cpio", append(bytes.Clone(whole), test.after...))
		pad := int64(-1)
		if len(root.Children) > 1 {
			pad = root.Children[1].Len
		}
		if pad != test.pad {
			t.Errorf("%s: padding of %d bytes, want %d", test.name, pad, test.pad)
		}
	}
}

func TestCpioTools(t *testing.T) {
	for _, args := range []string{
		"cpio -o -H newc", "cpio -o -H crc", "cpio -o -H odc", "cpio -o -H newc --reproducible",
		"bsdtar --format=newc -T - -cf -", "bsdtar --format=odc -T - -cf -",
	} {
		t.Run(args, func(t *testing.T) {
			f := strings.Fields(args)
			dir := tree(t)
			if err := os.Truncate(filepath.Join(dir, "sparse"), 3); err != nil {
				t.Fatal(err)
			}
			names := ".\nempty\nlink\nlong link\nsparse\nsub\nsub/block\n" + "sub/" + strings.Repeat("n", 120) + "\nfile\n"
			b := run(t, dir, names, f[0], f[1:]...)
			root := layOut(t, "cpio", b)
			if last := &root.Children[len(root.Children)-1]; last.End() != int64(len(b)) {
				t.Errorf("the layout ends at %d of %d", last.End(), len(b))
			}
			checkPlaces(t, root, b)
			var got []string
			for i := range root.Children {
				if m := &root.Children[i]; m.Role == diff.RoleMember {
					got = append(got, strings.TrimPrefix(m.Name, "./"))
				}
			}
			want := strings.Split(strings.TrimSpace(names), "\n")
			if strings.HasPrefix(args, "bsdtar") {
				return // it adds what is below a directory a second time
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("members\n%q, want\n%q", got, want)
			}
			file := part(t, root, "file/content")
			if s := string(b[file.Off:file.End()]); s != "hello\n" {
				t.Errorf("file holds %q", s)
			}
			if link := part(t, root, "link/target"); string(b[link.Off:link.End()]) != "sub/block" {
				t.Errorf("link leads to %q", b[link.Off:link.End()])
			}
		})
	}
}
