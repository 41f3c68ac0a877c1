package fetch

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/klauspost/compress/zstd"
)

// A shelf holds the blobs of images, by their digests, and manifests among them.
type shelf struct {
	t         *testing.T
	blobs     map[string][]byte // by sha256:HEX
	manifests []string
}

func newShelf(t *testing.T) *shelf { return &shelf{t: t, blobs: map[string][]byte{}} }

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    map[string]string `json:"platform,omitempty"`
}

const (
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

func (s *shelf) put(mediaType string, b []byte) descriptor {
	digest := "sha256:" + shaOf(string(b))
	s.blobs[digest] = b
	return descriptor{MediaType: mediaType, Digest: digest, Size: len(b)}
}

func (s *shelf) putJSON(mediaType string, v any) descriptor {
	s.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		s.t.Fatal(err)
	}
	d := s.put(mediaType, b)
	if mediaType == typeManifest || mediaType == typeIndex {
		s.manifests = append(s.manifests, d.Digest)
	}
	return d
}

func (s *shelf) manifest(config descriptor, layers ...descriptor) descriptor {
	return s.putJSON(typeManifest, map[string]any{"schemaVersion": 2, "mediaType": typeManifest, "config": config, "layers": layers})
}

// image has layers that are tar archives, compressed in turn by nothing, gzip and zstd.
func (s *shelf) image(layers ...[]byte) descriptor {
	s.t.Helper()
	var diffs []string
	var all []descriptor
	for i, l := range layers {
		diffs = append(diffs, "sha256:"+shaOf(string(l)))
		var z bytes.Buffer
		switch kind := []string{"", "+gzip", "+zstd"}[i%3]; kind {
		case "":
			all = append(all, s.put(typeLayer, l))
		case "+gzip":
			w := gzip.NewWriter(&z)
			_, _ = w.Write(l)
			_ = w.Close()
			all = append(all, s.put(typeLayer+kind, z.Bytes()))
		default:
			w, err := zstd.NewWriter(&z)
			if err != nil {
				s.t.Fatal(err)
			}
			_, _ = w.Write(l)
			_ = w.Close()
			all = append(all, s.put(typeLayer+kind, z.Bytes()))
		}
	}
	return s.manifest(s.config(diffs...), all...)
}

func (s *shelf) config(diffs ...string) descriptor {
	return s.putJSON(typeConfig, map[string]any{"os": "linux", "architecture": runtime.GOARCH, "config": map[string]any{}, "rootfs": map[string]any{"type": "layers", "diff_ids": diffs}})
}

// layout is a directory that holds it all.
func (s *shelf) layout() string {
	s.t.Helper()
	dir := s.t.TempDir()
	files := map[string]string{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": `{"schemaVersion":2,"manifests":[]}`}
	for digest, b := range s.blobs {
		files["blobs/sha256/"+strings.TrimPrefix(digest, "sha256:")] = string(b)
	}
	writeFiles(s.t, dir, files)
	return dir
}

// push puts it all into a registry.
func (s *shelf) push(address string) {
	s.t.Helper()
	do := func(method, to, mediaType string, b []byte) *http.Response {
		s.t.Helper()
		req, err := http.NewRequestWithContext(s.t.Context(), method, to, bytes.NewReader(b))
		if err != nil {
			s.t.Fatal(err)
		}
		req.Header.Set("Content-Type", mediaType)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			text, _ := io.ReadAll(resp.Body)
			s.t.Fatalf("%s %s: %s %s", method, to, resp.Status, text)
		}
		return resp
	}
	base := "http://" + address + "/v2/fw/router/"
	for digest, b := range s.blobs {
		if slices.Contains(s.manifests, digest) {
			continue
		}
		to, err := do(http.MethodPost, base+"blobs/uploads/", "", nil).Location()
		if err != nil {
			s.t.Fatal(err)
		}
		query := to.Query()
		query.Set("digest", digest)
		to.RawQuery = query.Encode()
		do(http.MethodPut, to.String(), "application/octet-stream", b)
	}
	for _, digest := range s.manifests { // what an index names is there before it
		mediaType := typeManifest
		if bytes.Contains(s.blobs[digest], []byte(`"manifests"`)) {
			mediaType = typeIndex
		}
		do(http.MethodPut, base+"manifests/"+digest, mediaType, s.blobs[digest])
	}
}

// layer is a tar archive of entries; a name that ends in a slash is a directory, one with a -> a symbolic link, one with
// a => a hard link, and one that begins with ! a device.
func layer(entries ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		name, content, _ := strings.Cut(e, "=")
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 7, Gid: 8, Uname: "u", ModTime: time.Unix(1_000_000_000, 500)}
		if link, to, ok := strings.Cut(e, " -> "); ok {
			h.Name, h.Linkname, h.Typeflag, content = link, to, tar.TypeSymlink, ""
		} else if link, to, ok := strings.Cut(e, " => "); ok {
			h.Name, h.Linkname, h.Typeflag, content = link, to, tar.TypeLink, ""
		} else if strings.HasSuffix(name, "/") {
			h.Typeflag, content = tar.TypeDir, ""
		} else if dev, ok := strings.CutPrefix(name, "!"); ok {
			h.Name, h.Typeflag, content = dev, tar.TypeChar, ""
		} else {
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
		_, _ = io.WriteString(w, content)
	}
	_ = w.Close()
	return b.Bytes()
}

// TestOCI brings an artifact, an image and one of an index from a layout and from registries.
func TestOCI(t *testing.T) {
	s := newShelf(t)
	firmware := s.put("application/vnd.example.firmware", []byte("firmware"))
	firmware.Annotations = map[string]string{"org.opencontainers.image.title": "fw.bin"}
	artifact := s.manifest(s.put("application/vnd.oci.empty.v1+json", []byte("{}")), firmware)
	// An artifact that is an archive stays one.
	packed := s.manifest(s.put("application/vnd.example.config", []byte("{} ")), s.put(typeLayer+"+gzip", []byte("no archive")))
	image := s.image(
		layer("./", "usr/", "usr/lib/", "usr/lib/a=A", "lib -> usr/lib", "gone=x", "dir/", "dir/old=1", "dir/sub/", "dir/sub/old=2", "kept/", "kept/k=K", "hard=H", "!dev/null"),
		layer("lib/b=B", ".wh.gone", "dir/new=N", "dir/sub/new=S", "dir/.wh..wh..opq", "kept/.wh..wh.plnk/x=", "hard2 => hard", "hard3 => hard2", "kept/.wh.absent"),
		layer("hard=other", "kept/", "both=1", ".wh.both", "back/", "back/x=X", ".wh.back"),
	)
	// hard keeps its place in its names of the second layer; whiteouts take away nothing of their own layer.
	const listing = `5 0755 1000000000 back/ ""
0 0755 1000000000 back/x "X"
0 0755 1000000000 both "1"
5 0755 0 dev/ ""
5 0755 1000000000 dir/ ""
0 0755 1000000000 dir/new "N"
5 0755 1000000000 dir/sub/ ""
0 0755 1000000000 dir/sub/new "S"
0 0755 1000000000 hard "other"
0 0755 1000000000 hard2 "H"
1 0755 1000000000 hard3 hard2""
5 0755 1000000000 kept/ ""
0 0755 1000000000 kept/k "K"
2 0777 1000000000 lib usr/lib""
5 0755 1000000000 usr/ ""
5 0755 1000000000 usr/lib/ ""
0 0755 1000000000 usr/lib/a "A"
0 0755 1000000000 usr/lib/b "B"
`
	other := s.image(layer("other=1"))
	here := image
	here.Platform = map[string]string{"os": "linux", "architecture": runtime.GOARCH}
	other.Platform = map[string]string{"os": "linux", "architecture": "sparc"}
	index := s.putJSON(typeIndex, map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": []descriptor{other, here}})

	ggcr := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(ggcr.Close)
	places := map[string]string{"layout": "oci:" + s.layout(), "registry": "docker://" + ggcr.Listener.Addr().String() + "/fw/router"}
	s.push(ggcr.Listener.Addr().String())
	if address := dockerRegistry(t); address != "" {
		s.push(address)
		places["docker-registry"] = "docker://" + address + "/fw/router"
	}
	var sums []string
	for where, place := range places {
		f := testFetcher(t)
		f.Network = where != "layout"
		for _, c := range []struct {
			what  descriptor
			want  string
			notes []string
		}{
			{artifact, "firmware", []string{`its name there is "fw.bin"`}},
			{packed, "no archive", nil},
			{image, listing, []string{"the root file system of an image with 3 layers", "left out, as they are devices or FIFOs: dev/null"}},
			{index, listing, []string{"of the index, the manifest " + image.Digest + " for linux/" + runtime.GOARCH, "the root file system of an image with 3 layers", "left out, as they are devices or FIFOs: dev/null"}},
		} {
			a, err := f.Fetch(t.Context(), Request{OCI: place + "@" + c.what.Digest})
			if err != nil {
				t.Errorf("%s: %v", where, err)
				continue
			}
			got := ""
			if c.want == listing {
				got = listTar(t, a.Path)
				sums = append(sums, a.SHA256)
			} else if b, err := os.ReadFile(a.Path); err == nil {
				got = string(b)
			}
			if got != c.want || !slices.Equal(a.Notes, c.notes) || a.Cached {
				t.Errorf("%s: %+v\n%s\nwant\n%s", where, a, got, c.want)
			}
			offline := *f
			offline.Network = false
			again, err := offline.Fetch(t.Context(), Request{OCI: "docker://elsewhere.example/fw@" + c.what.Digest})
			if err != nil || again.SHA256 != a.SHA256 || !again.Cached || !slices.Equal(again.Notes, c.notes) {
				t.Errorf("%s: %+v, %v", where, again, err)
			}
		}
	}
	if slices.Sort(sums); len(slices.Compact(sums)) != 1 {
		t.Error("the same image is another archive each time")
	}
	var offline *OfflineError
	if _, err := testFetcherOffline(t).Fetch(t.Context(), Request{OCI: places["registry"] + "@" + image.Digest}); !errors.As(err, &offline) {
		t.Error(err)
	}
	for _, c := range []struct{ ref, want string }{
		{places["registry"] + "@sha256:" + strings.Repeat("0", 64), "is not there"},
		{places["layout"] + "@sha256:" + strings.Repeat("0", 64), "is not there"},
		{places["layout"], "is not pinned"},
		{places["registry"], "no digest"},
		{places["registry"] + ":latest@" + image.Digest, "has a tag"},
		{"oci:" + t.TempDir() + "/none@" + image.Digest, "cannot read the layout"},
		{"https://x", "is no image"},
	} {
		_, err := testFetcher(t).Fetch(t.Context(), Request{OCI: c.ref})
		if got := gitOutcome(err); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", c.ref, got)
		}
	}
}

// dockerRegistry starts Debian's docker-registry, where it is installed.
func dockerRegistry(t *testing.T) string {
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Log("docker-registry is not installed")
		return ""
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String() // it takes no port 0
	_ = listener.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	writeFiles(t, dir, map[string]string{"config.yml": fmt.Sprintf("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: %s\nhttp:\n  addr: %s\n", filepath.Join(dir, "storage"), address)})
	cmd := exec.CommandContext(t.Context(), program, "serve", config)
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "listening on") {
			go func() {
				for lines.Scan() { // it would block on a full pipe
				}
			}()
			return address
		}
	}
	t.Fatal("docker-registry ended")
	return ""
}

// TestOCIRefused: manifests and layers that are not what they should be, or cost too much.
func TestOCIRefused(t *testing.T) {
	good := layer("a=A")
	long := strings.Repeat("d/", 300)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	zeros := layer("a=" + strings.Repeat("0", 9<<20))
	_, _ = z.Write(zeros)
	_ = z.Close()
	sparse := sparseBomb()
	stranger := tarOf(&tar.Header{Name: "x", Typeflag: 'Z'})
	one := func(entries ...string) func(*shelf) descriptor {
		return func(s *shelf) descriptor { return s.image(layer(entries...)) }
	}
	cases := []struct {
		name string
		make func(*shelf) descriptor
		want string
	}{
		{"good", one("a=A"), "ok"},
		{"no archive", func(s *shelf) descriptor { return s.image([]byte("hello")) }, "layer 1: "},
		{"cut", func(s *shelf) descriptor { return s.image(good[:512]) }, "layer 1: "},
		{"parent", one("a/../../b=x"), `".."`},
		{"absolute stays below", one("/etc/passwd=x"), "ok"},
		{"hard link outside", one("a => ../../etc/passwd"), `".."`},
		{"hard link to nothing", one("a => b"), "no file that is there"},
		{"hard link to itself", one("a => a"), "no file that is there"},
		{"hard link to a directory", one("d/", "a => d"), "no file that is there"},
		{"through a link to the outside", one("out -> ../../..", "out/x=x"), "ok"},
		{"links without end", one("a -> b", "b -> a", "a/x=x"), "without end"},
		{"in a file", one("a=A", "a/b=B"), "lies in a file"},
		{"deep", one(long + "x=x"), "limit: "},
		{"deep through links", one(strings.Repeat("d/", 200), "s -> "+strings.Repeat("d/", 200), "s/"+strings.Repeat("e/", 100)), "limit: "},
		{"in a whiteout", one(".wh.a/b=x"), "it lies in a whiteout"},
		{"whiteout of the parent", one(".wh..=", "d/.wh...=x"), "takes away nothing"},
		{"unknown type", func(s *shelf) descriptor { return s.image(stranger) }, "an entry of type"},
		{"sparse bomb", func(s *shelf) descriptor { return s.image(sparse) }, "limit: "},
		{"gzip bomb", func(s *shelf) descriptor {
			return s.manifest(s.config("sha256:"+shaOf(string(zeros))), s.put(typeLayer+"+gzip", bomb.Bytes()))
		}, "limit: "},
		{"large", one("a=" + strings.Repeat("0", 9<<20)), "limit: "},
		{"other diff id", func(s *shelf) descriptor { return s.manifest(s.config("sha256:"+shaOf("x")), s.put(typeLayer, good)) }, "and the config says"},
		{"too few diff ids", func(s *shelf) descriptor {
			return s.manifest(s.config("sha256:"+shaOf(string(good))), s.put(typeLayer, good), s.put(typeLayer, good))
		}, "the config names 1 layers, and the manifest 2"},
		{"other layer", func(s *shelf) descriptor {
			d := s.image(good)
			s.blobs["sha256:"+shaOf(string(good))] = layer("a=B")
			return d
		}, "mismatch: "},
		{"longer layer", func(s *shelf) descriptor {
			d := s.image(good)
			s.blobs["sha256:"+shaOf(string(good))] = append(slices.Clone(good), "more"...)
			return d
		}, "more bytes than"},
		{"other manifest", func(s *shelf) descriptor {
			d := s.image(good)
			s.blobs[d.Digest] = []byte(`{"schemaVersion":2}`)
			return d
		}, "mismatch: "},
		{"wrong size", func(s *shelf) descriptor {
			l := s.put(typeLayer, good)
			l.Size++
			return s.manifest(s.config("sha256:"+shaOf(string(good))), l)
		}, "and its descriptor says"},
		{"negative size", func(s *shelf) descriptor {
			return s.manifest(s.config(), descriptor{MediaType: "a/b", Digest: "sha256:" + shaOf(""), Size: -1})
		}, "-1 bytes"},
		{"huge size", func(s *shelf) descriptor {
			return s.manifest(s.config(), descriptor{MediaType: "a/b", Digest: "sha256:" + shaOf(""), Size: 1 << 50})
		}, "limit: "},
		{"missing layer", func(s *shelf) descriptor {
			return s.manifest(s.config(), descriptor{MediaType: "a/b", Digest: "sha256:" + shaOf("missing"), Size: 7})
		}, "is not there"},
		{"sha512", func(s *shelf) descriptor {
			return s.manifest(s.config(), descriptor{MediaType: "a/b", Digest: "sha512:" + strings.Repeat("0", 128), Size: 7})
		}, "error: "},
		{"digest that leads elsewhere", func(s *shelf) descriptor {
			return s.manifest(s.config(), descriptor{MediaType: "a/b", Digest: "sha256:../../../etc/passwd", Size: 7})
		}, "error: "},
		{"two layers", func(s *shelf) descriptor {
			return s.manifest(s.put("x/y", []byte("{}")), s.put("a/b", []byte("1")), s.put("a/c", []byte("2")))
		}, "which one is meant?"},
		{"no layers", func(s *shelf) descriptor { return s.manifest(s.put("x/y", []byte("{}"))) }, "has 0 layers"},
		{"many layers", func(s *shelf) descriptor {
			return s.manifest(s.config(), slices.Repeat([]descriptor{s.put(typeLayer, good)}, 600)...)
		}, "limit: "},
		{"no manifest", func(s *shelf) descriptor { return s.put(typeManifest, []byte("hello")) }, "cannot be read"},
		{"a list", func(s *shelf) descriptor { return s.put(typeManifest, []byte("[]")) }, "cannot be read"},
		{"key twice", func(s *shelf) descriptor { return s.put(typeManifest, []byte(`{"layers":[],"Layers":[]}`)) }, "cannot be read"},
		{"image and index", func(s *shelf) descriptor { return s.put(typeManifest, []byte(`{"layers":[],"manifests":[]}`)) }, "at once"},
		{"large manifest", func(s *shelf) descriptor {
			return s.put(typeManifest, []byte(`{"layers":[]`+strings.Repeat(" ", maxManifest)+`}`))
		}, "limit: "},
		{"index of nothing", func(s *shelf) descriptor { return s.put(typeIndex, []byte(`{"manifests":[]}`)) }, "has no image for linux/"},
		{"index of two", func(s *shelf) descriptor {
			a, b := s.image(good), s.image(layer("b=B"))
			a.Platform = map[string]string{"os": "linux", "architecture": runtime.GOARCH}
			b.Platform = a.Platform
			return s.putJSON(typeIndex, map[string]any{"manifests": []descriptor{a, b}})
		}, "has 2 images for linux/"},
		{"index of an index", func(s *shelf) descriptor {
			a := s.putJSON(typeIndex, map[string]any{"manifests": []descriptor{}})
			a.Platform = map[string]string{"os": "linux", "architecture": runtime.GOARCH}
			return s.putJSON(typeIndex, map[string]any{"manifests": []descriptor{a}})
		}, "holds another index"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newShelf(t)
			d := c.make(s)
			f := testFetcher(t)
			_, err := f.Fetch(t.Context(), Request{OCI: "oci:" + s.layout() + "@" + d.Digest, MaxSize: 8 << 20})
			got := gitOutcome(err)
			var mismatch *MismatchError
			if errors.As(err, &mismatch) {
				got = "mismatch: " + err.Error()
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if left, err := os.ReadDir(filepath.Join(f.Cache.dir, "partial")); err == nil && len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

func tarOf(headers ...*tar.Header) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
	}
	_ = w.Close()
	return b.Bytes()
}

// sparseBomb is an archive of one sparse file of 1 TiB without data (GNU tar manual, sparse formats, 1.0).
func sparseBomb() []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Name: "holes", Size: 512, Mode: 0o644, Format: tar.FormatPAX, PAXRecords: map[string]string{
		"XNU.sparse.major": "1", "XNU.sparse.minor": "0", "XNU.sparse.name": "holes", "XNU.sparse.realsize": fmt.Sprint(1 << 40),
	}})
	if err != nil {
		panic(err)
	}
	_, _ = w.Write(append([]byte("0\n"), make([]byte, 510)...))
	_ = w.Close()
	return bytes.ReplaceAll(b.Bytes(), []byte(" XNU."), []byte(" GNU.")) // the writer takes no record of that name
}

// TestOCIRegistryHostile: what a registry sends is bounded, wherever it sends it.
func TestOCIRegistryHostile(t *testing.T) {
	s := newShelf(t)
	image := s.image(layer("a=A"))
	endless := func(w io.Writer) {
		for b := make([]byte, 1<<16); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}
	cases := map[string]struct {
		serve func(w http.ResponseWriter, r *http.Request) bool // false: as it should be
		want  string
	}{
		"good": {func(http.ResponseWriter, *http.Request) bool { return false }, "ok"},
		"endless manifest": {func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/manifests/") {
				endless(w)
			}
			return false
		}, "limit: "},
		"endless layer": {func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/blobs/") {
				endless(w)
			}
			return false
		}, "more bytes than"},
		"endless token": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/token" {
				endless(w)
				return true
			}
			if r.Header.Get("Authorization") == "" {
				w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="x"`)
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			return false
		}, "error: "},
		"nobody may": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}, "lets nobody read it"},
		"redirects without end": {func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/blobs/") {
				http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
				return true
			}
			return false
		}, "redirects more than"},
		"other bytes": {func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/blobs/") {
				_, _ = w.Write(make([]byte, 100))
				return true
			}
			return false
		}, "mismatch: "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c.serve(w, r) {
					return
				}
				if r.URL.Path == "/v2/" {
					return
				}
				b, ok := s.blobs[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]
				if !ok {
					http.NotFound(w, r)
					return
				}
				_, _ = w.Write(b)
			}))
			defer server.Close()
			_, err := testFetcher(t).Fetch(t.Context(), Request{OCI: "docker://" + server.Listener.Addr().String() + "/fw@" + image.Digest, MaxSize: 8 << 20})
			got := gitOutcome(err)
			var mismatch *MismatchError
			if errors.As(err, &mismatch) {
				got = "mismatch: " + err.Error()
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
