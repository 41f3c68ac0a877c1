package verify_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/reference/sandbox"
)

// choosing rebuilds by a recipe whose output is one file for a plain build and another one where the time zone differs.
func choosing(t *testing.T, plain, other, symbols []byte, more string) *reference.Result {
	t.Helper()
	dir := t.TempDir()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for i, data := range [][]byte{plain, other, symbols} {
		if err := w.WriteHeader(&tar.Header{Name: []string{"plain", "other", "symbols"}[i], Mode: 0o644, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`version: 1
sources: [{path: src.tar, sha256: "%x", at: /src}]
toolchain: {host: [cp]}
steps: [sh: 'if [ "$TZ" = UTC ]; then cp plain fw; else cp other fw; fi; cp symbols fw.elf; head -c 4 /dev/urandom >noise']
limits: {time: 1m, memory: 1GiB, output: 16MiB, processes: 64}
%s`, sha256.Sum256(archive.Bytes()), more)
	for name, data := range map[string][]byte{"src.tar": archive.Bytes(), "recipe.yaml": []byte(text)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	recipe, err := reference.LoadRecipe(filepath.Join(dir, "recipe.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := reference.Rebuild(t.Context(), recipe, reference.Options{OutDir: filepath.Join(dir, "out")})
	var none *sandbox.UnavailableError
	if errors.As(err, &none) {
		t.Skip("SKIP-NAMESPACE: " + err.Error())
	}
	if err != nil {
		t.Fatal(err, reference.Tail(err))
	}
	if err := verify.NameSections(t.Context(), res, verify.Options{}); err != nil {
		t.Fatal(err)
	}
	return res
}

// raw is what objcopy makes of the loaded sections of SmallELF.
func raw(e difftest.ELF) []byte {
	out := make([]byte, 0x1024)
	copy(out, e.Sections[0].Data)
	copy(out[0x1000:], e.Sections[1].Data)
	copy(out[0x1020:], e.Sections[2].Data)
	return out
}

func TestSectionsOfALeak(t *testing.T) {
	plain, other := difftest.SmallELF(64, binary.LittleEndian), difftest.SmallELF(64, binary.LittleEndian)
	other.Sections[1].Data = []byte("built 2031-11-24 03:20:30\x00")
	both := difftest.SmallELF(64, binary.LittleEndian)
	both.Sections[1].Data, both.Sections[4].Data = other.Sections[1].Data, []byte("GCC: (other) 2.0\x00")
	const vary = "vary: [locale, timezone]\n"
	for _, c := range []struct {
		name                  string
		plain, other, symbols []byte
		more                  string
		want                  []string
	}{
		{"ELF", plain.Bytes(), other.Bytes(), nil, "outputs: [{path: fw}]\n" + vary, []string{".rodata"}},
		{"ELF, two sections", plain.Bytes(), both.Bytes(), nil, "outputs: [{path: fw}]\n" + vary, []string{".rodata", ".comment"}},
		{"raw with symbols", raw(plain), raw(other), plain.Bytes(), "outputs: [{path: fw, symbols: fw.elf}]\n" + vary, []string{".rodata"}},
		{"raw with no symbols in the file", raw(plain), raw(other), []byte("none"), "outputs: [{path: fw, symbols: fw.elf}]\n" + vary, nil},
		{"raw", raw(plain), raw(other), nil, "outputs: [{path: fw}]\n" + vary, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := choosing(t, c.plain, c.other, c.symbols, c.more)
			if res.Bisection == nil || len(res.Bisection.Blames) != 1 || len(res.Bisection.Blames[0].Outputs) != 1 {
				t.Fatalf("got %+v", res.Bisection)
			}
			if got := res.Bisection.Blames[0].Outputs[0].Sections; !slices.Equal(got, c.want) {
				t.Errorf("sections %q, want %q", got, c.want)
			}
			want := "the builds do not agree: timezone leaks into fw"
			if c.want != nil {
				want += " (" + strings.Join(c.want, ", ") + ")"
			}
			if _, err := res.Reference("fw"); err == nil || err.Error() != want {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Where nothing is blamed, it is the builds themselves that are compared.
func TestSectionsWithoutBlame(t *testing.T) {
	res := choosing(t, nil, nil, nil, "outputs: [{path: noise}]\nvary: [timezone]\n")
	if res.Bisection == nil || !res.Bisection.Unsteady || len(res.Differences) != 1 {
		t.Fatalf("got %+v, %+v", res.Bisection, res.Differences)
	}
	a, b := difftest.SmallELF(64, binary.LittleEndian), difftest.SmallELF(64, binary.LittleEndian)
	b.Sections[4].Data = []byte("GCC: (other) 2.0\x00")
	dir := t.TempDir()
	d := &res.Differences[0]
	for i, data := range [][]byte{a.Bytes(), b.Bytes()} {
		d.Files[i] = filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(d.Files[i], data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := verify.NameSections(t.Context(), res, verify.Options{}); err != nil || !slices.Equal(d.Sections, []string{".comment"}) {
		t.Errorf("got %q, %v", d.Sections, err)
	}
	// A file that is gone is trouble.
	if err := os.Remove(d.Files[0]); err != nil {
		t.Fatal(err)
	}
	if err := verify.NameSections(t.Context(), res, verify.Options{}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "noise") {
		t.Errorf("got %v", err)
	}
}
