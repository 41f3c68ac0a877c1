package format_test

import (
	gotar "archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/format"
	"github.com/assaylab/assay/diff/ledger"
)

// listed returns the listed format of that name.
func listed(t *testing.T, name string) *diff.Format {
	t.Helper()
	for _, f := range format.All() {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("format %q is not listed", name)
	return nil
}

// layOut lays an image out and returns the root of its sections, tables
// expanded.
func layOut(t *testing.T, name string, b []byte) *diff.Section {
	t.Helper()
	sections, err := parse(listed(t, name), b)
	if err != nil {
		t.Fatal(err)
	}
	return expanded(sections, int64(len(b)), nil)
}

// part returns the section at a path such as "header/size".
func part(t *testing.T, root *diff.Section, path string) *diff.Section {
	t.Helper()
	s := root
	for name := range strings.SplitSeq(path, "/") {
		i := slices.IndexFunc(s.Children, func(c diff.Section) bool { return c.Name == name })
		if i < 0 {
			t.Fatalf("no %q on the way to %q", name, path)
		}
		s = &s.Children[i]
	}
	return s
}

func tarFile(dialect, name, data string) difftest.TarEntry {
	return difftest.TarEntry{Dialect: dialect, Name: name, Type: '0', Mode: 0o644, Mtime: 1, Data: []byte(data)}
}

func TestTarRanges(t *testing.T) {
	b := difftest.Tar(2, 10240,
		difftest.TarEntry{Dialect: "ustar", Name: "d/", Type: '5', Mode: 0o755},
		tarFile("ustar", "d/f", strings.Repeat("x", 513)),
	)
	b = append(b, "tail"...)
	root := layOut(t, "tar", b)
	for path, want := range map[string]ledger.Range{
		"end":            {Off: 2048, Len: 1024},
		"record padding": {Off: 3072, Len: 10240 - 3072},
	} {
		if got := part(t, root, path).Range(); got != want {
			t.Errorf("%s at %v, want %v", path, got, want)
		}
	}
	if n := len(root.Children); n != 4 {
		t.Errorf("%d sections, want two members, end and padding: the tail is nobody's", n)
	}
	// Member names hold slashes, which part takes for its own.
	f := &root.Children[1]
	if root.Children[0].Name != "d/" || f.Name != "d/f" {
		t.Fatalf("members %q and %q", root.Children[0].Name, f.Name)
	}
	for path, want := range map[string]ledger.Range{
		"header":          {Off: 512, Len: 512},
		"header/name":     {Off: 512, Len: 100},
		"header/mode":     {Off: 612, Len: 8},
		"header/uid":      {Off: 620, Len: 8},
		"header/gid":      {Off: 628, Len: 8},
		"header/size":     {Off: 636, Len: 12},
		"header/mtime":    {Off: 648, Len: 12},
		"header/chksum":   {Off: 660, Len: 8},
		"header/typeflag": {Off: 668, Len: 1},
		"header/linkname": {Off: 669, Len: 100},
		"header/magic":    {Off: 769, Len: 6},
		"header/version":  {Off: 775, Len: 2},
		"header/uname":    {Off: 777, Len: 32},
		"header/gname":    {Off: 809, Len: 32},
		"header/devmajor": {Off: 841, Len: 8},
		"header/devminor": {Off: 849, Len: 8},
		"header/prefix":   {Off: 857, Len: 155},
		"header/pad":      {Off: 1012, Len: 12},
		"content":         {Off: 1024, Len: 513},
		"padding":         {Off: 1537, Len: 511},
	} {
		if got := part(t, f, path).Range(); got != want {
			t.Errorf("d/f %s at %v, want %v", path, got, want)
		}
	}
	if !part(t, f, "content").Open {
		t.Error("content is not opened")
	}
	// A directory has no content, and so its size is no place.
	if s := part(t, &root.Children[0], "header/size"); s.Spec != nil {
		t.Errorf("the size of a directory is a place: %+v", s.Spec)
	}
}

// Only times, sizes, checksums and padding are places, whatever the dialect.
func TestPlacesOfContainers(t *testing.T) {
	mayExplain := map[string]bool{
		"size": true, "mtime": true, "atime": true, "ctime": true, "chksum": true, // tar
		"length": true, "value": true, // pax: of a record, and a time or size in one
		"padding": true, "record padding": true, "name padding": true, "block padding": true,
		"filesize": true, "namesize": true, "check": true, // cpio
		"name length": true, "xattrs length": true, "target length": true, "content length": true, // directory
	}
	for _, s := range difftest.Samples() {
		if s.Format != "tar" && s.Format != "cpio" && s.Format != "directory" {
			continue
		}
		walk(layOut(t, s.Format, s.Data), func(path string, sec *diff.Section) {
			if sec.Spec != nil && !mayExplain[sec.Name] {
				t.Errorf("%s: %s is a place: %+v", s.Name, path, sec.Spec)
			}
		})
	}
}

// A container that cannot be read to its end has no layout, or, where only
// content cannot be read, the one it has.
func TestContainersUnreadable(t *testing.T) {
	for _, s := range difftest.Samples() {
		if s.Format != "tar" && s.Format != "cpio" && s.Format != "directory" {
			continue
		}
		whole, err := parse(listed(t, s.Format), s.Data)
		if err != nil {
			t.Fatal(err)
		}
		for n := range s.Data {
			in := input(s.Data, diff.Limits{})
			in.ReaderAt = failing{in.ReaderAt, int64(n)}
			got, err := listed(t, s.Format).Parse(context.Background(), in)
			if err == nil && !reflect.DeepEqual(got, whole) {
				t.Fatalf("%s: another layout where reading fails at %d", s.Name, n)
			}
		}
	}
}

func TestTarPax(t *testing.T) {
	e := tarFile("ustar", "short", "12345")
	e.Pax = []string{"path=a name", "mtime=12", "atime=12.5", "ctime=-1", "size=5", "mtime=13"}
	root := layOut(t, "tar", difftest.Tar(2, 0, e))
	m := part(t, root, "a name")
	for path, want := range map[string]*ledger.Spec{
		"x-header/content/mtime/value":   {Op: ledger.OpTime, Enc: "dec"},
		"x-header/content/mtime#2/value": {Op: ledger.OpTime, Enc: "dec"},
		"x-header/content/atime/value":   nil,
		"x-header/content/ctime/value":   nil,
		"x-header/content/path/value":    nil,
		"x-header/content/size/value":    {Op: ledger.OpNumber, Enc: "dec", Over: []ledger.Span{{Range: part(t, m, "content").Range()}}},
		"x-header/content/mtime/length": {Op: ledger.OpNumber, Enc: "dec", Over: []ledger.Span{
			{Range: part(t, m, "x-header/content/mtime").Range()},
		}},
	} {
		got := part(t, m, path).Spec
		if (got == nil) != (want == nil) || want != nil && fmt.Sprint(*got) != fmt.Sprint(*want) {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}

	// A size record beats the header, whose size then is no place.
	e.Data = []byte("1234567890")
	e.Pax = []string{"size=10"}
	e.Edit = func(h []byte) { copy(h[124:], "00000000000") }
	root = layOut(t, "tar", difftest.Tar(2, 0, e))
	m = part(t, root, "short")
	if c := part(t, m, "content"); c.Len != 10 {
		t.Errorf("content of %d bytes, want 10", c.Len)
	}
	if s := part(t, m, "header/size"); s.Spec != nil {
		t.Errorf("a size field of 0 measures 10 bytes: %+v", s.Spec)
	}
}

func TestTarSparse(t *testing.T) {
	e := tarFile("ustar", "GNUSparseFile.1/f", "1\n0\n1\n")
	e.Pax = []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=f", "GNU.sparse.realsize=9"}
	m := part(t, layOut(t, "tar", difftest.Tar(2, 0, e)), "f")
	if c := part(t, m, "content"); c.Open || c.Note == "" {
		t.Errorf("a sparse file's data are opened as if they were the file: %+v", c)
	}
}

func TestTarRefused(t *testing.T) {
	edit := func(f func(h []byte)) difftest.TarEntry {
		e := tarFile("ustar", "a", "1")
		e.Edit = f
		return e
	}
	pax := func(records ...string) difftest.TarEntry {
		e := tarFile("ustar", "a", "1")
		e.Pax = records
		return e
	}
	whole := difftest.Tar(2, 0, tarFile("ustar", "a", "1"))
	noHeader := bytes.Clone(whole)
	copy(noHeader[1024:], "neither zero nor a header")
	for name, b := range map[string][]byte{
		"nothing":                     nil,
		"zeros":                       make([]byte, 10240),
		"cut in a header":             whole[:511],
		"cut in content":              whole[:512],
		"cut in padding":              whole[:1023],
		"cut in the end":              whole[:1024+511],
		"no header":                   noHeader,
		"size past the end":           difftest.Tar(2, 0, edit(func(h []byte) { copy(h[124:], "77777777777") })),
		"size of all bits":            difftest.Tar(2, 0, edit(func(h []byte) { copy(h[124:], "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") })),
		"size of 63 bits":             difftest.Tar(2, 0, edit(func(h []byte) { copy(h[124:], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff") })),
		"size of 95 bits":             difftest.Tar(2, 0, edit(func(h []byte) { copy(h[124:], "\x81\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01") })),
		"size that wraps at 64 bits":  difftest.Tar(2, 0, edit(func(h []byte) { copy(h[124:], "\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01") })),
		"negative size":               difftest.Tar(2, 0, edit(func(h []byte) { copy(h[124:], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") })),
		"size in words":               difftest.Tar(2, 0, edit(func(h []byte) { copy(h[124:], "none\x00") })),
		"pax size past the end":       difftest.Tar(2, 0, pax("size=9223372036854775807")),
		"pax size beyond 64 bits":     difftest.Tar(2, 0, pax("size=99999999999999999999")),
		"negative pax size":           difftest.Tar(2, 0, pax("size=-1")),
		"global size":                 difftest.Tar(2, 0, difftest.TarEntry{Dialect: "ustar", Type: 'g', Pax: []string{"size=1"}}, tarFile("ustar", "a", "1")),
		"extended header at the end":  difftest.Tar(2, 0, pax("a=b"))[:1024],
		"extended header for nothing": append(difftest.Tar(0, 0, pax("a=b"))[:1024], make([]byte, 1024)...),
		"extended header of 2 MiB":    difftest.Tar(2, 0, pax("comment="+strings.Repeat("x", 2<<20))),
		"sparse header without end": difftest.Tar(0, 0, func() difftest.TarEntry {
			e := tarFile("gnu", "a", "")
			e.Type = 'S'
			e.Edit = func(h []byte) { h[482] = 1 }
			e.Extra = bytes.Repeat([]byte{1}, 512)
			return e
		}()),
	} {
		if got, err := parse(listed(t, "tar"), b); err == nil {
			t.Errorf("%s: laid out as %d sections", name, len(got))
		} else if got != nil {
			t.Errorf("%s: half a layout", name)
		}
	}
}

// What a writer may not put after the end stays outside every section.
func TestTarEnds(t *testing.T) {
	member := difftest.Tar(0, 0, tarFile("ustar", "a", "1"))
	zero := func(n int) []byte { return make([]byte, n) }
	for _, test := range []struct {
		name  string
		after []byte
		end   int64 // length of the end marker
		pad   int64 // of the record padding, -1 for none
	}{
		{"two blocks", zero(1024), 1024, -1},
		{"one block", zero(512), 512, -1},
		{"one block and data", append(zero(512), bytes.Repeat([]byte{1}, 512)...), 512, -1},
		{"a record", zero(10240 - 1024), 1024, 10240 - 2048},
		{"two records", zero(2*10240 - 1024), 1024, 10240 - 2048},
		{"a record with data in it", append(zero(10240-1024-1), 1), 1024, -1},
	} {
		root := layOut(t, "tar", append(bytes.Clone(member), test.after...))
		end := root.Children[1]
		if end.Role != diff.RoleEnd || end.Len != test.end {
			t.Errorf("%s: end is %s, %d bytes, want %d", test.name, end.Role, end.Len, test.end)
		}
		pad := int64(-1)
		if len(root.Children) > 2 {
			pad = root.Children[2].Len
		}
		if pad != test.pad {
			t.Errorf("%s: %d bytes of padding, want %d", test.name, pad, test.pad)
		}
	}
}

// What readers disagree on is said, and a field that is not what it should be
// is no place.
func TestTarOddities(t *testing.T) {
	e := tarFile("ustar", "d", "")
	e.Type = '5'
	e.Edit = func(h []byte) { copy(h[124:], "00000001000") }
	m := part(t, layOut(t, "tar", difftest.Tar(2, 0, e)), "d")
	if m.Note == "" || m.Len != 512 {
		t.Errorf("a directory that states a size: %d bytes, note %q", m.Len, m.Note)
	}

	b := difftest.Tar(2, 0, tarFile("ustar", "a", "1"))
	b[148] ^= 1
	h := part(t, layOut(t, "tar", b), "a/header")
	if h.Note == "" || part(t, h, "chksum").Spec != nil {
		t.Errorf("a wrong checksum: note %q, a place %t", h.Note, part(t, h, "chksum").Spec != nil)
	}

	for name, test := range map[string]struct {
		field string
		place bool
	}{
		"plain":             {"00000000001\x00", true},
		"blanks":            {"          1 ", true},
		"full":              {"000000000001", true},
		"blank":             {"            ", false},
		"zeros and blanks":  {" 0000000001\x00", false},
		"data after it":     {"00000000001\x00"[:9] + "\x00xy", false},
		"base 256":          {"\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", false},
		"negative base 256": {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", false},
		"words":             {"yesterday   ", false},
	} {
		e := tarFile("ustar", "a", "")
		e.Edit = func(h []byte) { copy(h[136:148], test.field) }
		m := part(t, layOut(t, "tar", difftest.Tar(2, 0, e)), "a/header/mtime")
		if got := m.Spec != nil; got != test.place {
			t.Errorf("mtime %s: a place %t", name, got)
		}
	}
}

// A name that repeats is told apart, also from one that looks told apart.
func TestTarNames(t *testing.T) {
	var entries []difftest.TarEntry
	for _, name := range []string{"a", "a#2", "a", "a", "end", ""} {
		e := tarFile("ustar", name, "")
		e.Pax = []string{"comment=1", "comment=2"}
		entries = append(entries, e)
	}
	var names []string
	for _, s := range layOut(t, "tar", difftest.Tar(2, 0, entries...)).Children[:7] {
		names = append(names, s.Name)
	}
	if want := []string{"a", "a#2", "a#3", "a#4", "end", "", "end#2"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}

// The members are those that archive/tar finds, at the same places.
func TestTarGo(t *testing.T) {
	for _, dialect := range []gotar.Format{gotar.FormatUSTAR, gotar.FormatPAX, gotar.FormatGNU} {
		var b bytes.Buffer
		w := gotar.NewWriter(&b)
		for i, name := range []string{"a", "dir/", "dir/b", strings.Repeat("dir/", 30) + "long"} {
			h := &gotar.Header{Name: name, Mode: 0o644, Size: int64(i * 400), Format: dialect}
			if strings.HasSuffix(name, "/") {
				h.Typeflag, h.Size = gotar.TypeDir, 0
			}
			if dialect == gotar.FormatPAX {
				h.PAXRecords = map[string]string{"SCHILY.xattr.user.x": "y"}
			}
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(bytes.Repeat([]byte{byte(i)}, int(h.Size))); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		compareWithGo(t, b.Bytes())
	}
}

// compareWithGo checks names and contents against archive/tar.
func compareWithGo(t *testing.T, b []byte) {
	t.Helper()
	root := layOut(t, "tar", b)
	counter := &countingReader{r: bytes.NewReader(b)}
	r := gotar.NewReader(counter)
	i := 0
	for ; ; i++ {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for root.Children[i].Role != diff.RoleMember {
			root.Children = append(root.Children[:i], root.Children[i+1:]...)
		}
		m := &root.Children[i]
		if m.Name != h.Name {
			t.Errorf("member %d is %q, archive/tar finds %q", i, m.Name, h.Name)
		}
		if h.Typeflag == gotar.TypeReg && !strings.Contains(fmt.Sprint(h.PAXRecords), "GNU.sparse") {
			c := part(t, m, "content")
			if c.Off != counter.n || c.Len != h.Size {
				t.Errorf("%q: content at %d+%d, archive/tar finds %d+%d", m.Name, c.Off, c.Len, counter.n, h.Size)
			}
		}
	}
	if next := root.Children[i:]; len(next) == 0 || next[0].Role != diff.RoleEnd {
		t.Errorf("archive/tar finds %d members, there are more sections", i)
	}
	checkPlaces(t, root, b)
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// checkPlaces checks that there are places, and that all Specs hold.
func checkPlaces(t *testing.T, root *diff.Section, b []byte) {
	t.Helper()
	places := 0
	walk(root, func(path string, s *diff.Section) {
		if s.Spec == nil {
			return
		}
		places++
		if err := holds(b, s); err != nil {
			t.Errorf("%s: %+v: %v", path, s.Spec, err)
		}
	})
	if places == 0 {
		t.Error("no place")
	}
}

// tree makes a directory with one of everything an ordinary user can make.
func tree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	write := func(name, data string) {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("empty", "")
	write("file", "hello\n")
	write("sub/block", strings.Repeat("b", 512))
	write("sub/"+strings.Repeat("n", 120), "a long name\n")
	if err := os.Symlink("sub/block", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(strings.Repeat("t", 120), filepath.Join(dir, "long link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "file"), filepath.Join(dir, "hard")); err != nil {
		t.Fatal(err)
	}
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer sparse.Close()
	for i := range 12 {
		if _, err := sparse.WriteAt([]byte("data"), int64(i)<<20); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// run runs a tool and returns what it writes, or skips where there is none.
func run(t *testing.T, dir, stdin, tool string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skipf("%s is not installed: make test-tools", tool)
	}
	cmd := exec.Command(tool, args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", tool, args, err, stderr.Bytes())
	}
	return out
}

func TestTarTools(t *testing.T) {
	for _, args := range []string{
		"tar --format=v7", "tar --format=ustar", "tar --format=oldgnu", "tar --format=gnu", "tar --format=posix",
		"tar --format=gnu -S", "tar --format=posix -S", "tar --format=posix -S --sparse-version=0.1",
		"tar --format=gnu --listed-incremental=../snar", "tar --format=posix --mtime=@1700000000", "tar --format=gnu -b 1",
		"bsdtar --format=v7", "bsdtar --format=ustar", "bsdtar --format=gnutar", "bsdtar --format=pax",
	} {
		t.Run(args, func(t *testing.T) {
			f := strings.Fields(args)
			dir := tree(t)
			if strings.HasSuffix(f[1], "v7") || strings.HasSuffix(f[1], "ustar") {
				// Neither can hold these.
				for _, name := range []string{"sub/" + strings.Repeat("n", 120), "long link", "sparse"} {
					if err := os.Remove(filepath.Join(dir, name)); err != nil {
						t.Fatal(err)
					}
				}
			}
			b := run(t, dir, "", f[0], append(f[1:], "-cf", "-", ".")...)
			root := layOut(t, "tar", b)
			if last := &root.Children[len(root.Children)-1]; last.End() != int64(len(b)) {
				t.Errorf("the layout ends at %d of %d", last.End(), len(b))
			}
			checkPlaces(t, root, b)

			var names []string
			for i := range root.Children {
				if m := &root.Children[i]; m.Role == diff.RoleMember {
					names = append(names, strings.TrimSuffix(m.Name, "/"))
					if m.Note != "" {
						t.Errorf("%q: %s", m.Name, m.Note)
					}
				}
			}
			var tool []string
			for line := range strings.Lines(string(run(t, dir, string(b), f[0], "-tf", "-"))) {
				tool = append(tool, strings.TrimSuffix(strings.TrimSpace(line), "/"))
			}
			if fmt.Sprint(names) != fmt.Sprint(tool) {
				t.Errorf("members\n%q, but %s lists\n%q", names, f[0], tool)
			}
			if !strings.Contains(args, "incremental") {
				compareWithGo(t, b)
			}
		})
	}
}

// A member costs little to lay out: nothing of its content is read.
func TestTarManyMembers(t *testing.T) {
	b := bytes.Repeat(difftest.Tar(0, 0, tarFile("ustar", "some/name", "content")), 2000)
	b = append(b, make([]byte, 1024)...)
	f := listed(t, "tar")
	allocs := testing.AllocsPerRun(3, func() {
		if _, err := parse(f, b); err != nil {
			t.Fatal(err)
		}
	})
	if perMember := allocs / 2000; perMember > 10 {
		t.Errorf("%.1f allocations for a member", perMember)
	}
}
