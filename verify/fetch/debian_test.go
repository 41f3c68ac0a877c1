package fetch

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ulikunitz/xz"
)

func shaOf(b string) string {
	h := sha256.Sum256([]byte(b))
	return hex.EncodeToString(h[:])
}

// A mirror is an archive with one package in its pool.
type mirror struct {
	files map[string]string
	asked []string
	url   string
}

func newMirror(t *testing.T) *mirror {
	m := &mirror{files: map[string]string{}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.asked = append(m.asked, r.URL.Path)
		content, ok := m.files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	}))
	t.Cleanup(s.Close)
	m.url = s.URL + "/debian"
	return m
}

// dscOf is the .dsc of a package with those files.
func dscOf(name, version string, files map[string]string, order ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nFormat: 3.0 (quilt)\nSource: %s\nBinary: x, y\nVersion: %s\nPackage-List:\n x deb admin optional arch=all\nChecksums-Sha256:\n", name, version)
	for _, f := range order {
		fmt.Fprintf(&b, " %s %d %s\n", shaOf(files[f]), len(files[f]), f)
	}
	b.WriteString("Files:\n d41d8cd98f00b204e9800998ecf8427e 0 x\n\n-----BEGIN PGP SIGNATURE-----\n\niQIz\n-----END PGP SIGNATURE-----\n")
	return b.String()
}

func TestDebian(t *testing.T) {
	m := newMirror(t)
	files := map[string]string{"libfw_2.8.orig.tar.xz": "orig", "libfw_2.8-1.debian.tar.xz": "debian"}
	dsc := dscOf("libfw", "1:2.8-1", files, "libfw_2.8.orig.tar.xz", "libfw_2.8-1.debian.tar.xz")
	dir := "/debian/pool/contrib/libf/libfw/"
	for name, content := range files {
		m.files[dir+name] = content
	}
	m.files[dir+"libfw_2.8-1.dsc"] = dsc
	f := testFetcher(t)
	req := Request{Debian: "libfw", Version: "1:2.8-1", DSC: shaOf(dsc), Mirror: m.url}
	a, err := f.Fetch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("0 0644 315532800 libfw_2.8-1.debian.tar.xz \"debian\"\n0 0644 315532800 libfw_2.8-1.dsc %q\n0 0644 315532800 libfw_2.8.orig.tar.xz \"orig\"\n", dsc)
	if got := listTar(t, a.Path); got != want || a.Name != "libfw_2.8-1.tar" || a.From != "debian:libfw=1:2.8-1@sha256:"+shaOf(dsc) {
		t.Errorf("%+v\n%s\nwant\n%s", a, got, want)
	}
	f.Network, m.asked = false, nil
	again, err := f.Fetch(t.Context(), req)
	if err != nil || !again.Cached || again.SHA256 != a.SHA256 || len(m.asked) > 0 {
		t.Errorf("%+v, %v, asked %q", again, err, m.asked)
	}
	var offline *OfflineError
	if _, err := testFetcherOffline(t).Fetch(t.Context(), req); !errors.As(err, &offline) {
		t.Error(err)
	}

	// Two mirrors of apt's, the first of which lies: the second is asked.
	liar := newMirror(t)
	liar.files[dir+"libfw_2.8-1.dsc"] = dsc + "\n"
	apt := t.TempDir()
	writeFiles(t, apt, map[string]string{
		"sources.list":                    "# deb http://x.example/debian bookworm main\ndeb cdrom:[x]/ bookworm main\ndeb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " + liar.url + "/ bookworm main\ndeb [signed-by=/usr/share/keyrings/vendor.gpg] http://vendor.example/debian bookworm main\n",
		"sources.list.d/debian.sources":   "Types: deb\n# comment\nURIs: " + m.url + "\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\nTypes: deb\nURIs: http://off.example/debian\nEnabled: no\nSuites: x\nComponents: main\n",
		"sources.list.d/other.sources":    "Types: deb\nURIs: http://other.example\nSuites: nodistro\nComponents: main\nSigned-By: /usr/share/keyrings/other.gpg\n",
		"sources.list.d/ignored.disabled": "deb http://ignored.example/debian bookworm main\n",
	})
	archives, err := debianArchives(apt, "")
	if got, want := fmt.Sprint(archives), fmt.Sprintf("[{%s [bookworm] [main]} {%s [bookworm bookworm-updates] [main]}]", liar.url, m.url); err != nil || got != want {
		t.Errorf("apt has %s, %v, want %s", got, err, want)
	}
	req.Mirror, req.MaxSize = "", DefaultMaxSize
	fresh := testFetcher(t)
	b, err := fresh.debianFrom(t.Context(), req, apt, "/nonexistent")
	if err != nil || b.SHA256 != a.SHA256 {
		t.Errorf("%+v, %v", b, err)
	}

	// No pin, no fetch.
	var unpinned *UnpinnedError
	_, err = testFetcher(t).debianFrom(t.Context(), Request{Debian: "libfw", Version: "1:2.8-1", Mirror: m.url, MaxSize: 1 << 20}, apt, "/nonexistent")
	if !errors.As(err, &unpinned) || unpinned.Pin != req.String() || !strings.Contains(err.Error(), "no index that Debian's archive key signs was found to list it") {
		t.Error(err)
	}
}

func testFetcherOffline(t *testing.T) *Fetcher {
	f := testFetcher(t)
	f.Network = false
	return f
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDebianRefused(t *testing.T) {
	const orig = "fw_1.orig.tar.xz"
	good := map[string]string{orig: "orig"}
	honest := dscOf("fw", "1-1", good, orig)
	line := " " + shaOf("orig") + " 4 " + orig + "\n"
	cases := []struct {
		name, dsc, served string // served: what the mirror has for orig
		want              string
	}{
		{"good", honest, "orig", "ok"},
		{"unsigned", "Source: fw\nVersion: 1-1\nChecksums-Sha256:\n" + line, "orig", "ok"},
		{"other content", honest, "evil", "mismatch: "},
		{"longer content", honest, "orig and more", "mismatch: "},
		{"missing file", honest, "", "none of 1 mirrors has " + orig},
		{"other package", dscOf("fw2", "1-1", good, orig), "orig", `of the package "fw2"`},
		{"other version", dscOf("fw", "1-2", good, orig), "orig", `of the version "1-2"`},
		{"no checksums", "Source: fw\nVersion: 1-1\n", "orig", "Checksums-Sha256"},
		{"nothing", "", "orig", "0 paragraphs"},
		{"two paragraphs", "Source: fw\nVersion: 1-1\nChecksums-Sha256:\n" + line + "\nSource: fw\n", "orig", "2 paragraphs"},
		{"field twice", "Source: fw\nsource: evil\nVersion: 1-1\n", "orig", "twice"},
		{"no field", "Source fw\n", "orig", "no field"},
		{"of no field", " x\nSource: fw\n", "orig", "belongs to no field"},
		{"file twice", strings.Replace(honest, line, line+line, 1), "orig", "twice"},
		{"outside", strings.Replace(honest, orig, "../"+orig, 1), "orig", "Checksums-Sha256 has the line"},
		{"option", strings.Replace(honest, orig, "-rf", 1), "orig", "Checksums-Sha256 has the line"},
		{"wrong size", strings.Replace(honest, " 4 ", " 5 ", 1), "orig", "has 4 bytes, and the .dsc says 5"},
		{"negative size", strings.Replace(honest, " 4 ", " -4 ", 1), "orig", "Checksums-Sha256 has the line"},
		{"huge", strings.Replace(honest, " 4 ", " 999999999999 ", 1), "orig", "limit: "},
		{"itself", strings.Replace(honest, orig, "fw_1-1.dsc", 1), "orig", "lists itself"},
		{"many files", strings.Replace(honest, line, manyLines(), 1), "orig", "more than 256"},
		{"endless .dsc", honest + strings.Repeat("\n", 2<<20), "orig", "limit: "},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newMirror(t)
			m.files["/debian/pool/main/f/fw/fw_1-1.dsc"] = c.dsc
			if c.served != "" {
				m.files["/debian/pool/main/f/fw/"+orig] = c.served
			}
			_, err := testFetcher(t).Fetch(t.Context(), Request{Debian: "fw", Version: "1-1", DSC: shaOf(c.dsc), Mirror: m.url, MaxSize: 64 << 20})
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
	for _, c := range []struct{ name, version, mirror, want string }{
		{"../x", "1", "", "no name"},
		{"Fw", "1", "", "no name"},
		{"fw", "1/../2", "", "no version"},
		{"fw", "", "", "no version"},
		{"fw", "1", "ftp://host/debian", "no https address"},
		{"fw", "1", "https://u:secret@host/debian", "user's name"},
	} {
		_, err := testFetcher(t).Fetch(t.Context(), Request{Debian: c.name, Version: c.version, DSC: shaOf(""), Mirror: c.mirror})
		if got := gitOutcome(err); !strings.Contains(got, c.want) {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func manyLines() string {
	var b strings.Builder
	for i := range 300 {
		fmt.Fprintf(&b, " %s 4 f%d\n", shaOf("orig"), i)
	}
	return b.String()
}

// TestDebianVouched: the archive's signed index lists the .dsc that was seen, or does not, or is not signed by the key.
func TestDebianVouched(t *testing.T) {
	for _, program := range []string{"gpg", "gpgv"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not installed")
		}
	}
	home, err := os.MkdirTemp("", "g") // short: a socket lies there
	if err != nil {
		t.Fatal(err)
	}
	gpg := func(in string, args ...string) string {
		t.Helper()
		cmd := exec.Command("gpg", append([]string{"--batch", "--quiet", "--no-autostart", "--homedir", home}, args...)...)
		if args[0] == "--passphrase" { // only the agent makes and uses keys
			cmd.Args = append([]string{"gpg", "--batch", "--quiet", "--homedir", home}, args...)
		}
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Skipf("gpg does not work here: %v", err)
		}
		return string(out)
	}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		_ = os.RemoveAll(home)
	})
	keys := t.TempDir()
	for _, who := range []string{"archive", "stranger"} {
		gpg("", "--passphrase", "", "--quick-generate-key", who+"@example.com", "ed25519", "sign", "never")
		writeFiles(t, keys, map[string]string{who + ".gpg": gpg("", "--export", who+"@example.com")})
	}
	dsc := dscOf("fw", "1-1", nil)
	m := newMirror(t)
	m.files["/debian/pool/main/f/fw/fw_1-1.dsc"] = dsc
	apt := t.TempDir()
	writeFiles(t, apt, map[string]string{"sources.list": "deb " + m.url + " bookworm main\n"})
	index := func(sum, version string) {
		var z strings.Builder
		w, err := xz.NewWriter(&z)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "Package: other\nVersion: 1-1\nChecksums-Sha256:\n %s 1 fw_1-1.dsc\n\nPackage: fw\nBinary: x\nVersion: %s\nChecksums-Sha256:\n %s 1 fw_1-1.dsc\n %s 2 x\n", shaOf("x"), version, sum, shaOf("x"))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		m.files["/debian/dists/bookworm/main/source/Sources.xz"] = z.String()
		release := fmt.Sprintf("Origin: Debian\nOther:\n %s 1 main/source/Sources.xz\nSHA256:\n %s %d main/source/Sources.xz\n", shaOf("y"), shaOf(z.String()), z.Len())
		m.files["/debian/dists/bookworm/InRelease"] = gpg(release, "--passphrase", "", "--local-user", "archive@example.com", "--clearsign")
	}
	ask := func(key string) string {
		_, err := testFetcher(t).debianFrom(t.Context(), Request{Debian: "fw", Version: "1-1", MaxSize: 1 << 20}, apt, filepath.Join(keys, key+".gpg"))
		return err.Error()
	}
	const vouches = "the index of bookworm, which Debian's archive key signs, lists it"
	index(shaOf(dsc), "1-1")
	if got := ask("archive"); !strings.Contains(got, shaOf(dsc)) || !strings.Contains(got, vouches) {
		t.Error(got)
	}
	if got := ask("stranger"); strings.Contains(got, vouches) || !strings.Contains(got, "does not verify") {
		t.Error(got)
	}
	tampered := m.files["/debian/dists/bookworm/InRelease"]
	m.files["/debian/dists/bookworm/InRelease"] = strings.Replace(tampered, "Origin: Debian", "Origin: Evil", 1)
	if got := ask("archive"); strings.Contains(got, vouches) {
		t.Error(got)
	}
	index(shaOf("another"), "1-1")
	if got := ask("archive"); strings.Contains(got, vouches) {
		t.Error(got)
	}
	index(shaOf(dsc), "1-2")
	if got := ask("archive"); strings.Contains(got, vouches) {
		t.Error(got)
	}
	index(shaOf(dsc), "1-1")
	m.files["/debian/dists/bookworm/main/source/Sources.xz"] += "x"
	if got := ask("archive"); strings.Contains(got, vouches) {
		t.Error(got)
	}
}
