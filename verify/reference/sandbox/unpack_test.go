//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ulikunitz/xz"
)

var epoch = time.Unix(315532800, 0)

func unpackInto(t *testing.T, data []byte, rootfs bool) (string, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "victim"), []byte("untouched"), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	err = unpackAny(root, ".", bytes.NewReader(data), epoch, rootfs)
	if text, _ := os.ReadFile(filepath.Join(dir, "victim")); string(text) != "untouched" {
		t.Error("a file outside was changed")
	}
	names, _ := os.ReadDir(dir)
	if len(names) != 2 {
		t.Errorf("something was made outside: %v", names)
	}
	return filepath.Join(dir, "in"), err
}

func TestHostileArchives(t *testing.T) {
	good := tarOf(entry{name: "a", body: strings.Repeat("x", 2000)})
	cases := []struct {
		name string
		data []byte
		want string
	}{
		{"dot dot", tarOf(entry{name: "../victim", body: "x"}), `".."`},
		{"dot dot inside", tarOf(entry{name: "a/../../victim", body: "x"}), `".."`},
		{"absolute", tarOf(entry{name: "/victim", body: "x"}), "absolute"},
		{"through a link", tarOf(entry{name: "l", link: ".."}, entry{name: "l/victim", body: "x"}), "escapes"},
		{"through an absolute link", tarOf(entry{name: "l", link: "/tmp"}, entry{name: "l/victim", body: "x"}), "escapes"},
		{"through two links", tarOf(entry{name: "d/"}, entry{name: "d/m", link: "../.."}, entry{name: "l", link: "d/m"}, entry{name: "l/victim", body: "x"}), "escapes"},
		{"directory through a link", tarOf(entry{name: "l", link: ".."}, entry{name: "l/new/", mode: 0o755}), "escapes"},
		{"hard link out", tarOf(entry{name: "h", hard: "../victim"}, entry{name: "h", body: "x"}), `".."`},
		{"hard link through a link", tarOf(entry{name: "l", link: ".."}, entry{name: "h", hard: "l/victim"}), "escapes"},
		{"hard link to itself", tarOf(entry{name: "a", body: "x"}, entry{name: "a", hard: "a"}), "itself"},
		{"device", tarOf(entry{name: "null", device: true}), "device"},
		{"FIFO", tarOf(entry{name: "f", fifo: true}), "FIFO"},
		{"file in the place of a full directory", tarOf(entry{name: "d/a", body: "x"}, entry{name: "d", body: "x"}), "not empty"},
		{"truncated", good[:1000], "unexpected EOF"},
		{"truncated gzip", gz(good)[:60], "unexpected EOF"},
		{"damaged gzip", append(gz(good)[:len(gz(good))-8], 1, 2, 3, 4, 5, 6, 7, 8), "checksum"},
		{"zstd", []byte("\x28\xb5\x2f\xfd\x00\x00\x00\x00"), "zstd"},
		{"compressed, no archive", gz([]byte("plain")), "not a tar archive"},
		{"no archive", []byte("plain"), "not an archive"},
		{"empty", nil, "not an archive"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := unpackInto(t, c.data, false); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestUnpack(t *testing.T) {
	plain := tarOf(
		entry{name: "./d/"}, entry{name: "./d/f", body: "old"}, entry{name: "d/f", body: "new", mode: 0o6777},
		entry{name: "implied/x", body: "x", mode: 0o400}, entry{name: "l", link: "/etc/passwd"}, entry{name: "h", hard: "d/f"},
		entry{name: "l2", link: "d"}, entry{name: "l2/", mode: 0o755},
	)
	var xzed bytes.Buffer
	w, err := xz.NewWriter(&xzed)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(plain)
	w.Close()
	want := []string{
		". drwxr-xr-x 315532800", "d drwxr--r-- 1000000000", "d/f -rwxr-xr-x 1000000000 new", "h -rwxr-xr-x 1000000000 new",
		"implied drwxr-xr-x 315532800", "implied/x -r-------- 1000000000 x", "l Lrwxrwxrwx 1000000000", "l2 drwxr-xr-x 1000000000",
	}
	for name, data := range map[string][]byte{"tar": plain, "gzip": gz(plain), "xz": xzed.Bytes(), "bzip2": bzip2ed} {
		t.Run(name, func(t *testing.T) {
			dir, err := unpackInto(t, data, false)
			if err != nil {
				t.Fatal(err)
			}
			if name == "bzip2" {
				if text, err := os.ReadFile(filepath.Join(dir, "a")); string(text) != "bz\n" {
					t.Errorf("got %q, %v", text, err)
				}
				return
			}
			var got []string
			filepath.WalkDir(dir, func(p string, _ fs.DirEntry, _ error) error {
				rel, _ := filepath.Rel(dir, p)
				info, err := os.Lstat(p)
				if err != nil {
					t.Fatal(err)
				}
				line := strings.Join([]string{rel, info.Mode().String(), itoa(info.ModTime().Unix())}, " ")
				if info.Mode().IsRegular() {
					text, _ := os.ReadFile(p)
					line += " " + string(text)
				}
				got = append(got, line)
				return nil
			})
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
	if _, err := unpackInto(t, tarOf(entry{name: "dev/null", device: true}), true); err != nil {
		t.Errorf("a device node in a root file system: %v", err)
	}
}

func itoa(n int64) string {
	var b []byte
	for ; n > 0; n /= 10 {
		b = append([]byte{byte('0' + n%10)}, b...)
	}
	return string(b)
}

func gz(data []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(data)
	w.Close()
	return out.Bytes()
}

// FuzzUnpack lays an archive of anything out inside its directory, or fails; it never reaches outside.
func FuzzUnpack(f *testing.F) {
	f.Add(tarOf(entry{name: "d/a", body: "x"}, entry{name: "l", link: ".."}, entry{name: "l/victim", body: "x"}))
	f.Add(gz(tarOf(entry{name: "a", hard: "../victim"})))
	f.Add(bzip2ed)
	f.Fuzz(func(t *testing.T, data []byte) {
		unpackInto(t, data, false)
	})
}

// bzip2ed is what `tar --owner=0 --group=0 --mtime=@1000000000 --mode=644 -cj a` made of a file a with the line "bz".
var bzip2ed = []byte("" +
	"\x42\x5a\x68\x39\x31\x41\x59\x26\x53\x59\x58\x06\x16\x21\x00\x00\x72\xfb\x84\xc9\x10\x00\x40\xc0\x00" +
	"\x6f\x80\x00\x00\xf0\x00\x9e\x10\x00\x00\x80\x08\x20\x00\x54\x25\x29\xe4\x9a\x7a\x86\x80\xf5\x03\xd4" +
	"\x12\x42\x46\x8c\x40\x00\x75\xf6\xf4\x88\x42\x09\xdc\x02\x45\xb2\xc0\x9c\x34\x8b\x32\x48\x1d\x7a\xe4" +
	"\x76\xef\x21\x1a\xb0\x45\x10\x58\xe7\x75\xb4\x3d\x99\x9d\x6f\x71\x88\xe2\x75\x3d\x3a\xaf\x73\x42\x7e" +
	"\x9a\xa2\x20\x7e\x2e\xe4\x8a\x70\xa1\x20\xb0\x0c\x2c\x42")
