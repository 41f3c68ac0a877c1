package fetch

import (
	"os"
	"path/filepath"
	"testing"
)

// A request that was read is written as it is read again.
func FuzzParseRequest(f *testing.F) {
	for _, text := range []string{
		"https://host.example/fw.bin", "fw.bin", "file:fw.bin", "file:///fw.bin", "oci:dir@sha256:00", "docker://host/repo@sha256:00",
		"git+https://host/repo@0123456789012345678901234567890123456789", "debian:hello=1.0-1@sha256:00", "git+ssh://git@host/repo",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRequest(text)
		if err != nil {
			return
		}
		again, err := ParseRequest(r.String())
		if err != nil || again != r {
			t.Errorf("%q is %+v, and %q is %+v, %v", text, r, r.String(), again, err)
		}
	})
}

// A pack is somebody else's bytes: it is read within its bounds, or refused.
func FuzzReadPack(f *testing.F) {
	f.Add([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x00\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e"))
	f.Add([]byte("PACK\x00\x00\x00\x02\xff\xff\xff\xff\x95\x0a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := os.Create(filepath.Join(t.TempDir(), "pack"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := readPack(t.Context(), file, int64(len(b)), "fuzz", 1<<20); err != nil {
			return
		}
	})
}
