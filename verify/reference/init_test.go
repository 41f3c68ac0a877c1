//go:build linux && (amd64 || arm64)

package reference

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// pack writes an archive of files, "name text" each.
func pack(t *testing.T, file string, files ...string) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		name, text, _ := strings.Cut(f, " ")
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), ModTime: time.Unix(1669357904, 0)}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(file, "gz") {
		var z bytes.Buffer
		g := gzip.NewWriter(&z)
		g.Write(b.Bytes())
		g.Close()
		b = z
	}
	write(t, file, b.String())
}

const makes = `NAME = fw
OUT := out
.PHONY: all clean
all: $(OUT)/$(NAME).bin map
clean:
	rm -rf out
map: $(OUT)/$(NAME).map
$(OUT)/$(NAME).bin $(OUT)/$(NAME).map: main.txt
	mkdir -p $(OUT)
	cat main.txt >$@
	echo $$SOURCE_DATE_EPOCH >>$@
.PHONY: map
`

// The recipe that a plain archive gives can be built as it is.
func TestStartingRecipeBuilds(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("make is not installed")
	}
	for _, prefix := range []string{"", "./", "fw-1.0/"} {
		dir := t.TempDir()
		pack(t, filepath.Join(dir, "fw.tar.gz"), prefix+"Makefile "+makes, prefix+"main.txt source\n")
		text, err := Starting(dir, "")
		if err != nil {
			t.Fatal(err)
		}
		r, err := LoadRecipe(write(t, filepath.Join(dir, "recipe.yaml"), string(text)))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		result, err := rebuild(t, r, Options{OutDir: t.TempDir()})
		if err != nil {
			t.Fatal(err, Tail(err))
		}
		if o := result.Build.Outputs; !result.Agree() || len(o) != 2 || o[0].Builds[0].SHA256 != sum256("source\n1669357904\n") {
			t.Errorf("built %+v", o)
		}
	}
}

func sum256(text string) string {
	d, _ := digestOf(strings.NewReader(text))
	return d.sha256
}

func TestStarting(t *testing.T) {
	for _, c := range []struct {
		name  string
		pack  func(dir string)
		lines []string // in it
		left  bool     // something is to be filled in
	}{
		{"nothing", func(string) {}, []string{`  - {path: "FILL-IN: an archive beside this file", sha256: "FILL-IN: its sha256", at: /src}`, `env: {SOURCE_DATE_EPOCH: "315532800"} # 1980, the first year of a zip file`}, true},
		{
			"C", func(dir string) { pack(t, filepath.Join(dir, "a.tar"), "Makefile fw.bin: main.c\n", "main.c x") },
			[]string{`toolchain: {host: ["make", "gcc"]}`, `  - {path: "fw.bin"}`, `  - [make]`, `env: {SOURCE_DATE_EPOCH: "1669357904"} # the newest file of the archive`},
			false,
		},
		{"two archives", func(dir string) {
			pack(t, filepath.Join(dir, "a.tar"), "x x")
			pack(t, filepath.Join(dir, "b.tgz"), "d/Makefile fw.bin: x\n")
		}, []string{`at: /src}`, `at: /src2}`, `  - [make, -C, "/src2/d"]`, `  - {path: "/src2/d/fw.bin"}`}, false},
		{"no Makefile", func(dir string) { pack(t, filepath.Join(dir, "a.tar"), "x x") }, []string{`  - ["FILL-IN: what is run, such as make"]`}, true},
		{"two Makefiles", func(dir string) { pack(t, filepath.Join(dir, "a.tar"), "a/Makefile x: y", "b/Makefile x: y") }, []string{`  - ["FILL-IN: what is run, such as make"]`}, true},
		{"no archive but by name", func(dir string) { write(t, filepath.Join(dir, "a.tar"), "not a tar") }, []string{"#   a.tar was not looked into: unexpected EOF", `{path: "a.tar", sha256: `}, true},
		{"a name of two lines", func(dir string) { write(t, filepath.Join(dir, "a\nversion: 2\n.tar"), "not a tar") }, []string{`{path: "FILL-IN: an archive`}, true},
		{"xz", func(dir string) { write(t, filepath.Join(dir, "a.tar.xz"), "x") }, []string{"#   a.tar.xz was not looked into: it is compressed by xz"}, true},
		{"goal of unknown name", func(dir string) { pack(t, filepath.Join(dir, "a.tar"), "Makefile all: $(shell rm)\n") }, []string{`  - {path: "FILL-IN: a file that the steps make"}`}, true},
		{"goal outside", func(dir string) { pack(t, filepath.Join(dir, "a.tar"), "Makefile ../x: y\n") }, []string{`  - {path: "FILL-IN: a file that the steps make"}`}, true},
		{"Makefile outside", func(dir string) { pack(t, filepath.Join(dir, "a.tar"), "../Makefile x: y\n") }, []string{`  - ["FILL-IN: what is run, such as make"]`}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.pack(dir)
			b, err := Starting(dir, "")
			if err != nil {
				t.Fatal(err)
			}
			text := string(b)
			for _, line := range c.lines {
				if !strings.Contains(text, line) || strings.HasPrefix(line, "  - ") && !strings.Contains(text, "\n"+line+"\n") {
					t.Errorf("no line %s in\n%s", line, text)
				}
			}
			_, err = LoadRecipe(write(t, filepath.Join(t.TempDir(), "recipe.yaml"), text))
			var e *RecipeError
			if c.left && (!errors.As(err, &e) || !strings.Contains(e.What, "still to be filled in")) || !c.left && err != nil {
				t.Errorf("reading it: %v\n%s", err, text)
			}
			// Once it is filled in it is a recipe.
			filled := strings.ReplaceAll(text, FillIn+": its sha256", abc256)
			filled = strings.ReplaceAll(filled, FillIn+": the programs that are run, such as make and gcc", "make")
			filled = strings.ReplaceAll(filled, FillIn+": ", "")
			if _, err := LoadRecipe(write(t, filepath.Join(t.TempDir(), "recipe.yaml"), filled)); err != nil {
				t.Errorf("filled in: %v", err)
			}
			// Every key that a recipe may have is in it.
			_, err = LoadRecipe(write(t, filepath.Join(t.TempDir(), "recipe.yaml"), "nokey: 1"))
			_, keys, _ := strings.Cut(fmt.Sprint(err), "the keys are ")
			for key := range strings.SplitSeq(keys, ", ") {
				if !strings.Contains(text, "\n"+key+":") {
					t.Errorf("the key %s is not in it", key)
				}
			}
		})
	}
}

func TestMakefileGoals(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"a.bin: b\n", []string{"a.bin"}},
		{"X=1\n.SUFFIXES: .c\n%.o: %.c\na: b\n", []string{"a"}},
		{"all: a b # c\n", []string{"a", "b"}},
		{"all: a \\\n  b\n", []string{"a", "b"}},
		{"all:: a\n", []string{"a"}},
		{"all: d/a e/a\n", nil},
		{"all: all\n", nil},
		{"X = $(X)$(X)\nall: $(X)\n", nil},
		{"all: a*\n", nil},
		{"all: a | b\n", []string{"a"}},
		{"x := a:b\nfw: x\n", []string{"fw"}},
	} {
		if got := parseMakefile(c.text).goals(); !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}

// What is encoded is read as what it was.
func TestEncode(t *testing.T) {
	dir := t.TempDir()
	r, err := LoadRecipe(write(t, filepath.Join(dir, "recipe.yaml"), fmt.Sprintf(remote, abc256)+"vary: [time]\nreplay: {max_rebuilds: 3}\n"))
	if err != nil {
		t.Fatal(err)
	}
	odd := "two  blanks \n\ttab é \u0085\u2028\ufeff\"\\ #: x\n"
	r.Env = append(r.Env, "ZODD="+odd)
	r.Steps = append(r.Steps, []string{"a", odd, "1", "yes", "~", "- x", "", "!!int 3", "&a"}, append(slices.Clone(script), odd), append(slices.Clone(script), "if x\nthen y # z\nfi\n"))
	for _, text := range []string{"  a\nb\n", "a\n  b \n\n\n   c\nd\n", "a\n\n", "\na\n", "a", "a\n   \nb\n", "a\n\tb\n", "# a\n- b\n--- c\n..."} {
		r.Steps = append(r.Steps, append(slices.Clone(script), text))
	}
	r.Sources[1].SHA256 = abc256
	text := r.Encode([]string{"a\nversion: 2", "b\u2028version: 2", "c\u0085version: 2", ""})
	back, err := LoadRecipe(write(t, filepath.Join(dir, "recipe.yaml"), string(text)))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if again := back.Encode(nil); !bytes.HasSuffix(text, again) {
		t.Errorf("got\n%s\nwant\n%s", again, text)
	}
	for i := range r.Steps {
		if !slices.Equal(back.Steps[i], r.Steps[i]) {
			t.Errorf("step %q, want %q", back.Steps[i], r.Steps[i])
		}
	}
	if !slices.Equal(back.Env, r.Env) || back.Replay != 3 || len(back.Vary) != 1 {
		t.Errorf("got %+v", back)
	}
	if !strings.Contains(string(text), "  - sh: |\n      if x\n      then y # z\n      fi\n") {
		t.Errorf("a plain script is no block:\n%s", text)
	}
}
