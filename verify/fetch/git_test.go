package fetch

import (
	"archive/tar"
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

func testFetcher(t *testing.T) *Fetcher {
	t.Helper()
	return &Fetcher{Cache: &Cache{filepath.Join(t.TempDir(), "cache")}, Network: true}
}

// listTar is what an archive holds, one line per entry.
func listTar(t *testing.T, name string) string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list strings.Builder
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return list.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" {
			t.Errorf("%s has an owner", h.Name)
		}
		switch h.Typeflag {
		case tar.TypeXGlobalHeader:
			fmt.Fprintf(&list, "comment %s\n", h.PAXRecords["comment"])
		default:
			fmt.Fprintf(&list, "%c %04o %d %s %s%q\n", h.Typeflag, h.Mode, h.ModTime.Unix(), h.Name, h.Linkname, b)
		}
	}
}

// A forge is a git repository with git's own programs.
type forge struct {
	t   *testing.T
	dir string
}

func newForge(t *testing.T) *forge {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	g := &forge{t, filepath.Join(t.TempDir(), "fw.git")}
	g.git("", "init", "-q", "-b", "main", ".")
	return g
}

// git runs in the repository, and returns what it prints.
func (g *forge) git(input string, args ...string) string {
	g.t.Helper()
	if err := os.MkdirAll(g.dir, 0o755); err != nil {
		g.t.Fatal(err)
	}
	cmd := exec.CommandContext(g.t.Context(), "git", args...)
	cmd.Dir = g.dir
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + g.t.TempDir(), "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_AUTHOR_DATE=1600000000 +0200",
		"GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@example.com", "GIT_COMMITTER_DATE=1700000000 -0500",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		g.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (g *forge) commit(files map[string]string) string {
	g.t.Helper()
	for name, content := range files {
		name = filepath.Join(g.dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			g.t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			g.t.Fatal(err)
		}
	}
	g.git("", "add", "-A")
	g.git("", "commit", "-q", "-m", "change")
	return g.git("", "rev-parse", "HEAD")
}

// serve runs git http-backend, and counts what it is asked for.
func (g *forge) serve() (address string, asked *[]string) {
	backend := filepath.Join(g.git("", "--exec-path"), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		g.t.Skip("git http-backend is not installed")
	}
	asked = new([]string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*asked = append(*asked, r.Method+" "+r.URL.Path+" "+string(body))
		r.Body = io.NopCloser(bytes.NewReader(body))
		(&cgi.Handler{Path: backend, Env: []string{
			"GIT_PROJECT_ROOT=" + filepath.Dir(g.dir), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		}}).ServeHTTP(w, r)
	}))
	g.t.Cleanup(s.Close)
	return s.URL + "/fw.git/.git", asked
}

// TestGit fetches from git's own server and from a folder, by all ways that there are, and gets the same bytes.
func TestGit(t *testing.T) {
	g := newForge(t)
	old := g.commit(map[string]string{"README": "old\n", "src/a.c": "int a;\n"})
	long := strings.Repeat("d/", 60) + strings.Repeat("n", 200)
	commit := g.commit(map[string]string{
		"README": "new $Format:%H$\n", ".gitattributes": "README export-subst\nhidden export-ignore\n*.txt eol=crlf\n",
		"hidden": "h", "a.txt": "line\n", "a/b": "1", "a-b": "2", "a.b": "3", long: "deep", "big": strings.Repeat("0123456789", 20_000),
		"lfs.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
	})
	if err := os.Chmod(filepath.Join(g.dir, "src/a.c"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../README", filepath.Join(g.dir, "src/link")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(g.dir, "ext/sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	g.git("", "update-index", "--add", "--cacheinfo", "160000,"+commit+",ext/sub")
	commit = g.commit(map[string]string{"big": strings.Repeat("0123456789", 20_000) + "tail"})
	g.commit(map[string]string{"later": "x"})
	g.git("", "gc", "-q")

	address, asked := g.serve()
	f := testFetcher(t)
	first, err := f.Fetch(t.Context(), Request{Git: address, Commit: old})
	if err != nil {
		t.Fatal(err)
	}
	want := "comment " + old + "\n" +
		"0 0644 1700000000 README \"old\\n\"\n5 0755 1700000000 src/ \"\"\n0 0644 1700000000 src/a.c \"int a;\\n\"\n"
	if got := listTar(t, first.Path); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if first.Name != "fw-"+old[:12]+".tar" || first.Cached {
		t.Errorf("%+v", first)
	}

	// The old server gives no commit by its id, as git is by default: all branches came, without a depth.
	if got := strings.Join(*asked, "\n"); strings.Contains(got, old) || strings.Contains(got, "deepen") {
		t.Errorf("asked %q", got)
	}
	*asked = nil
	g.git("", "config", "uploadpack.allowReachableSHA1InWant", "true")
	*asked = nil
	f = testFetcher(t)
	shallow, err := f.Fetch(t.Context(), Request{Git: address, Commit: commit})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(*asked, "\n"); !strings.Contains(got, "want "+commit) || !strings.Contains(got, "deepen 1") {
		t.Errorf("asked %q", got)
	}
	wantNotes := []string{
		"ext/sub is a submodule at commit " + g.git("", "rev-parse", commit+":ext/sub") + ", and empty here: fetch it as a source of its own",
		"pointers of git LFS, not the files that they stand for: lfs.bin",
	}
	if !slices.Equal(shallow.Notes, wantNotes) {
		t.Errorf("notes %q", shallow.Notes)
	}
	list := listTar(t, shallow.Path)
	for _, want := range []string{
		"0 0644 1700000000 README \"new $Format:%H$\\n\"\n", "0 0644 1700000000 hidden \"h\"\n", "0 0644 1700000000 a.txt \"line\\n\"\n",
		"0 0755 1700000000 src/a.c ", "2 0777 1700000000 src/link ../README\"\"\n", "5 0755 1700000000 ext/sub/ ", "/" + strings.Repeat("n", 200) + " \"deep\"", "789tail\"",
	} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q in\n%.2000s", want, list)
		}
	}

	// The same from the cache offline, and from a folder, into another cache.
	asked2 := len(*asked)
	f.Network = false
	again, err := f.Fetch(t.Context(), Request{Git: "https://elsewhere.example/x", Commit: commit})
	if err != nil || !again.Cached || again.SHA256 != shallow.SHA256 || len(*asked) != asked2 || !slices.Equal(again.Notes, wantNotes) {
		t.Errorf("%+v, %v", again, err)
	}
	var offline *OfflineError
	if _, err := f.Fetch(t.Context(), Request{Git: address, Commit: old}); !errors.As(err, &offline) {
		t.Error(err)
	}
	local := testFetcher(t)
	local.Network = false
	folder, err := local.Fetch(t.Context(), Request{Git: "file://" + filepath.Join(g.dir, ".git"), Commit: commit, SHA256: shallow.SHA256})
	if err != nil || folder.Cached || folder.SHA256 != shallow.SHA256 {
		t.Errorf("%+v, %v", folder, err)
	}
	var mismatch *MismatchError
	if _, err := local.Fetch(t.Context(), Request{Git: g.dir, Commit: commit, SHA256: strings.Repeat("0", 64)}); !errors.As(err, &mismatch) {
		t.Error(err)
	}
	left, err := os.ReadDir(filepath.Join(local.Cache.dir, "partial"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}

	// No pin, no fetch.
	head := g.git("", "rev-parse", "HEAD")
	g.git("", "tag", "-a", "v1", "-m", "one", old)
	for ref, want := range map[string]string{"": head, "@main": head, "@v1": old} {
		var unpinned *UnpinnedError
		_, err := testFetcher(t).Fetch(t.Context(), Request{Git: address + ref})
		if !errors.As(err, &unpinned) || unpinned.Pin != "git+"+address+"@"+want+" (commit: in a file)" {
			t.Errorf("%q: %v, %+v", ref, err, unpinned)
		}
	}
	for _, c := range []struct{ address, commit, want string }{
		{address + "@nosuch", "", "has no branch or tag"},
		{address, strings.Repeat("1", 40), "not our ref"},
		{address + "x", commit, "the repository cannot be read"},
		{filepath.Join(g.dir, "nowhere"), commit, "the repository cannot be read"},
		{address, g.git("", "rev-parse", commit+":README"), "is a blob, not a commit"},
		{"ssh://host/x", commit, "ssh is not spoken"},
		{"git@host:x/y", commit, "ssh is not spoken"},
		{"https://me:secret@host/x", commit, "holds credentials"},
		{"git://host/x", commit, "is no address"},
		{address, strings.Repeat("1", 64), "sha256"},
	} {
		_, err := testFetcher(t).Fetch(t.Context(), Request{Git: c.address, Commit: c.commit})
		var own *Error
		if !errors.As(err, &own) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s@%s: %v", c.address, c.commit, err)
		}
	}
}

// What follows is a server that answers as it is told.

type gitObject struct {
	kind    int // as in a pack: 1 commit, 2 tree, 3 blob, 4 tag, 6 delta by offset, 7 by id
	content string
	base    int    // of kind 6: index of the object
	ref     string // of kind 7: id, 20 bytes
	stated  int    // size that is stated, if it is another
}

func (o gitObject) id() string {
	h := sha1.New()
	fmt.Fprintf(h, "%s %d\x00%s", []string{"", "commit", "tree", "blob", "tag"}[o.kind], len(o.content), o.content)
	return string(h.Sum(nil))
}

func makePack(objects ...gitObject) []byte {
	b := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(objects)))
	var offsets []int
	for _, o := range objects {
		offsets = append(offsets, len(b))
		size := len(o.content)
		if o.stated > 0 {
			size = o.stated
		}
		c := byte(o.kind<<4 | size&15)
		for size >>= 4; size > 0; size >>= 7 {
			b = append(b, c|0x80)
			c = byte(size & 0x7f)
		}
		b = append(b, c)
		switch o.kind {
		case 6:
			back := offsets[len(offsets)-1] - offsets[o.base]
			enc := []byte{byte(back & 0x7f)}
			for back >>= 7; back > 0; back >>= 7 {
				back--
				enc = append([]byte{byte(back&0x7f) | 0x80}, enc...)
			}
			b = append(b, enc...)
		case 7:
			b = append(b, o.ref...)
		}
		var z bytes.Buffer
		w := zlib.NewWriter(&z)
		_, _ = w.Write([]byte(o.content))
		_ = w.Close()
		b = append(b, z.Bytes()...)
	}
	sum := sha1.Sum(b)
	return append(b, sum[:]...)
}

func packet(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }

// gitServer serves one commit, for which it answers with what body writes after the packets that lead to a pack.
func gitServer(t *testing.T, commit string, body func(io.Writer)) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			io.WriteString(w, packet("# service=git-upload-pack\n")+"0000"+
				packet(hex.EncodeToString([]byte(commit))+" HEAD\x00shallow allow-reachable-sha1-in-want\n")+"0000")
			return
		}
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		io.WriteString(w, packet("shallow "+hex.EncodeToString([]byte(commit)))+"0000"+packet("NAK\n"))
		body(w)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/evil"
}

func tree(entries ...string) gitObject { return gitObject{kind: 2, content: strings.Join(entries, "")} }

func entry(mode, name, id string) string { return mode + " " + name + "\x00" + id }

func blob(content string) gitObject { return gitObject{kind: 3, content: content} }

func commitOf(tree gitObject) gitObject {
	return gitObject{kind: 1, content: "tree " + hex.EncodeToString([]byte(tree.id())) + "\nauthor A <a> 1 +0000\ncommitter C <c> 1700000000 +0000\n\nm\n"}
}

func leb(n int) string {
	var b []byte
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return string(append(b, byte(n)))
}

// copies is a delta that copies all of a base of size bytes n times.
func copies(size, n int) string {
	return leb(size) + leb(size*n) + strings.Repeat("\xf0"+string([]byte{byte(size), byte(size >> 8), byte(size >> 16)}), n)
}

// TestGitHostile: whatever a server sends, the id of the commit pins every byte, and what it costs is bounded.
func TestGitHostile(t *testing.T) {
	good := blob("good\n")
	nested := tree(entry("100644", "f", good.id()))
	deep := []gitObject{good, nested}
	for range 200 {
		nested = tree(entry("40000", "d", nested.id()))
		deep = append(deep, nested)
	}
	bombs := []gitObject{good, tree(entry("100644", "f", good.id()))}
	for range 10 {
		last := bombs[len(bombs)-1].id()
		var entries []string
		for _, c := range "abcdefghij" {
			entries = append(entries, entry("40000", string(c), last))
		}
		bombs = append(bombs, tree(entries...))
	}
	mega := blob(strings.Repeat("x", 1<<20))
	plainTree := tree(entry("100644", "f", good.id()))
	one := func(entries ...string) []gitObject { return []gitObject{good, tree(entries...)} }
	cases := []struct {
		name    string
		objects []gitObject // the last is the tree of the commit
		want    string
	}{
		{"good", []gitObject{good, plainTree}, "ok"},
		{"other content", []gitObject{blob("evil\n"), plainTree}, "does not hold the blob"},
		{"no tree", []gitObject{good}, "is a blob, not a tree"},
		{"tree as blob", one(entry("100644", "f", plainTree.id())), "does not hold the blob"},
		{"parent", one(entry("100644", "..", good.id())), `an entry named ".."`},
		{"this", one(entry("40000", ".", good.id())), `an entry named "."`},
		{"no name", one(entry("100644", "", good.id())), `an entry named ""`},
		{"git's own", one(entry("40000", ".GIT", good.id())), `an entry named ".GIT"`},
		{"git's own, short", one(entry("40000", "Git~1", good.id())), `an entry named "Git~1"`},
		{"slash", one(entry("100644", "a/b", good.id())), `an entry named "a/b"`},
		{"absolute", one(entry("100644", "/etc", good.id())), `an entry named "/etc"`},
		{"line break", one(entry("100644", "a\nb", good.id())), `an entry named "a\nb"`},
		{"twice", one(entry("100644", "a", good.id()), entry("100644", "a", good.id())), "is there twice"},
		{"file and directory", append(deep[1:2:2], one(entry("100644", "a", good.id()), entry("40000", "a", deep[1].id()))...), "is there twice"},
		{"out of order", one(entry("100644", "b", good.id()), entry("100644", "a", good.id())), "out of order"},
		{"device", one(entry("20644", "a", good.id())), "an entry of mode"},
		{"set-uid", one(entry("104755", "a", good.id())), "an entry of mode"},
		{"cut", []gitObject{good, tree("100644 a\x00short")}, "ends early"},
		{"link with a zero", []gitObject{blob("a\x00b"), tree(entry("120000", "l", blob("a\x00b").id()))}, "symbolic link"},
		{"empty link", []gitObject{blob(""), tree(entry("120000", "l", blob("").id()))}, "symbolic link"},
		{"long link", []gitObject{mega, tree(entry("120000", "l", mega.id()))}, "limit: "},
		{"nested", deep, "limit: "},
		{"tree bomb", bombs, "limit: "},
		{"type 5", []gitObject{{kind: 5, content: "x"}, good, plainTree}, "object of type 5"},
		{"shorter than stated", []gitObject{{kind: 3, content: "x", stated: 5}, good, plainTree}, "5 are stated"},
		{"longer than stated", []gitObject{{kind: 3, content: "xxxxxx", stated: 5}, good, plainTree}, "exceeds declared size"},
		{"huge and short", []gitObject{{kind: 3, content: "x", stated: 1 << 40}, good, plainTree}, "limit: "},
		{"delta by offset", []gitObject{blob("go"), {kind: 6, base: 0, content: leb(2) + leb(5) + "\x91\x00\x02\x03od\n"}, plainTree}, "ok"},
		{"delta by id, before its base", []gitObject{{kind: 7, ref: blob("go").id(), content: leb(2) + leb(5) + "\x91\x00\x02\x03od\n"}, blob("go"), plainTree}, "ok"},
		{"delta of a delta", []gitObject{
			blob("g"),
			{kind: 6, base: 0, content: leb(1) + leb(2) + "\x91\x00\x01\x01o"},
			{kind: 7, ref: blob("go").id(), content: leb(2) + leb(5) + "\x91\x00\x02\x03od\n"},
			plainTree,
		}, "ok"},
		{"delta of nothing", []gitObject{{kind: 7, ref: blob("absent").id(), content: leb(2) + leb(5) + "\x91\x00\x02\x03od\n"}, good, plainTree}, "not there"},
		{"delta of itself", []gitObject{good, {kind: 6, base: 1, content: leb(2) + leb(2) + "\x91\x00\x02"}, plainTree}, "offset"},
		{"delta beyond its base", []gitObject{blob("go"), {kind: 6, base: 0, content: leb(2) + leb(9) + "\x91\x00\x09"}, plainTree}, "invalid delta"},
		{"delta with a wrong base size", []gitObject{blob("go"), {kind: 6, base: 0, content: leb(3) + leb(2) + "\x91\x00\x02"}, plainTree}, "invalid delta"},
		{"delta without sizes", []gitObject{blob("go"), {kind: 6, base: 0, content: "\xff\xff\xff"}, plainTree}, "without sizes"},
		{"delta bomb", []gitObject{mega, {kind: 6, base: 0, content: copies(1<<20, 1000)}, plainTree}, "a delta that makes 1048576000 bytes"},
		{"delta bomb in steps", []gitObject{
			mega,
			{kind: 6, base: 0, content: copies(1<<20, 4)},
			{kind: 6, base: 1, content: copies(4<<20, 4)},
			{kind: 6, base: 2, content: copies(16<<20-1, 4)},
			good, plainTree,
		}, "limit: "},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			commit := commitOf(c.objects[len(c.objects)-1])
			pack := makePack(append(c.objects, commit)...)
			address := gitServer(t, commit.id(), func(w io.Writer) { _, _ = w.Write(pack) })
			_, err := testFetcher(t).Fetch(t.Context(), Request{Git: address, Commit: hex.EncodeToString([]byte(commit.id())), MaxSize: 16 << 20})
			if got := gitOutcome(err); !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func gitOutcome(err error) string {
	var limit *LimitError
	var own *Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &limit):
		return "limit: " + limit.Msg
	case errors.As(err, &own):
		return "error: " + own.Msg
	}
	return fmt.Sprintf("untyped %T: %v", err, err)
}

// TestGitReread: what is read a second time is held against its id again.
func TestGitReread(t *testing.T) {
	good, evil := blob("good\n"), blob("evil\n")
	plainTree := tree(entry("100644", "f", good.id()))
	commit := commitOf(plainTree)
	name := filepath.Join(t.TempDir(), "pack")
	pack, other := makePack(good, plainTree, commit), makePack(evil, plainTree, commit)
	if len(pack) != len(other) {
		t.Fatal("the two packs differ in size")
	}
	for _, c := range []struct {
		later []byte
		want  string
	}{{pack, "ok"}, {other, "the second time"}} {
		if err := os.WriteFile(name, pack, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		p, err := readPack(t.Context(), file, int64(len(pack)), "x", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(c.later, 0); err != nil {
			t.Fatal(err)
		}
		var id plumbing.Hash
		copy(id[:], commit.id())
		_, err = writeCommit(p, id, newArchive(io.Discard, "x", 1<<20))
		if got := gitOutcome(err); !strings.Contains(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// TestGitStream: what is no pack, no end, or not the whole.
func TestGitStream(t *testing.T) {
	good := blob(strings.Repeat("good\n", 100))
	plainTree := tree(entry("100644", "f", good.id()))
	commit := commitOf(plainTree)
	pack := makePack(good, plainTree, commit)
	many := slices.Clone(pack)
	binary.BigEndian.PutUint32(many[8:], 1<<31)
	flipped := slices.Clone(pack)
	flipped[len(flipped)-1] ^= 1
	cases := map[string]struct {
		body func(io.Writer)
		want string
	}{
		"good":         {func(w io.Writer) { _, _ = w.Write(pack) }, "ok"},
		"nothing":      {func(io.Writer) {}, "error: "},
		"no pack":      {func(w io.Writer) { io.WriteString(w, "<html>") }, "error: "},
		"half":         {func(w io.Writer) { _, _ = w.Write(pack[:len(pack)/2]) }, "error: "},
		"no checksum":  {func(w io.Writer) { _, _ = w.Write(pack[:len(pack)-20]) }, "error: "},
		"checksum":     {func(w io.Writer) { _, _ = w.Write(flipped) }, "checksum"},
		"many objects": {func(w io.Writer) { _, _ = w.Write(many) }, "limit: "},
		"endless": {func(w io.Writer) {
			_, _ = w.Write(pack)
			for b := make([]byte, 1<<16); ; {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		}, "limit: "},
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		c := cases[name]
		t.Run(name, func(t *testing.T) {
			address := gitServer(t, commit.id(), c.body)
			_, err := testFetcher(t).Fetch(t.Context(), Request{Git: address, Commit: hex.EncodeToString([]byte(commit.id())), MaxSize: 1 << 20})
			if got := gitOutcome(err); !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}

	t.Run("silent", func(t *testing.T) {
		quit := make(chan struct{})
		address := gitServer(t, commit.id(), func(w io.Writer) {
			_, _ = w.Write(pack[:20])
			w.(http.Flusher).Flush()
			<-quit
		})
		f := testFetcher(t)
		f.idle = 1
		f.now = func() time.Time { return time.Time{} } // silent, and never slow
		_, err := f.Fetch(t.Context(), Request{Git: address, Commit: hex.EncodeToString([]byte(commit.id()))})
		close(quit)
		if got := gitOutcome(err); !strings.HasPrefix(got, "error: ") {
			t.Error(got)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		address := gitServer(t, commit.id(), func(w io.Writer) {
			_, _ = w.Write(pack[:20])
			w.(http.Flusher).Flush()
			cancel()
			_, _ = w.Write(pack[20:])
		})
		if _, err := testFetcher(t).Fetch(ctx, Request{Git: address, Commit: hex.EncodeToString([]byte(commit.id()))}); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("endless references", func(t *testing.T) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, packet("# service=git-upload-pack\n")+"0000"+packet(strings.Repeat("0", 39)+"1 HEAD\x00shallow\n"))
			for i := 0; ; i++ {
				if _, err := io.WriteString(w, packet(fmt.Sprintf("%040x refs/heads/%060000d\n", i+1, i))); err != nil {
					return
				}
			}
		}))
		defer s.Close()
		_, err := testFetcher(t).Fetch(t.Context(), Request{Git: s.URL + "/x", Commit: hex.EncodeToString([]byte(commit.id()))})
		if got := gitOutcome(err); !strings.HasPrefix(got, "limit: ") {
			t.Error(got)
		}
	})
	t.Run("redirects", func(t *testing.T) {
		f := testFetcher(t)
		to := gitServer(t, commit.id(), func(w io.Writer) { _, _ = w.Write(pack) })
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, to+"/info/refs?service=git-upload-pack", http.StatusFound)
		}))
		defer s.Close()
		if _, err := f.Fetch(t.Context(), Request{Git: s.URL + "/x", Commit: hex.EncodeToString([]byte(commit.id()))}); err != nil {
			t.Error(err)
		}
		loop := httptest.NewServer(http.RedirectHandler("/x/info/refs", http.StatusFound))
		defer loop.Close()
		if _, err := testFetcher(t).Fetch(t.Context(), Request{Git: loop.URL + "/x", Commit: hex.EncodeToString([]byte(commit.id()))}); err == nil {
			t.Error("endless redirects end")
		}
	})
}
