package reference

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/assaylab/assay/verify/reference/sandbox"
)

// Signs that hide, turn the text about them round, or end a line for one reader and not for another.
const hidden = "\x1b[2J\r\n\t\u0085\u00a0\u00ad\u061c\u200b\u200e\u2028\u2029\u202e\u2066\ufeff\U000e0041\U0010ffff"

func TestComment(t *testing.T) {
	for line, want := range map[string]string{
		"":                      "#\n",
		"plain é 固件 \"x\"":      "# plain é 固件 \"x\"\n",
		"a\nversion: 2":         "# a?version: 2\n",
		"x\u202e\U000e0041\xff": "# x??\ufffd\n",
		hidden:                  "# ?[2J" + strings.Repeat("?", 16) + "\n",
	} {
		if got := comment(line); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

// Whatever a recipe holds, what is written can be seen, and is read as it was.
func TestEncodeHidden(t *testing.T) {
	seen := func(text []byte) {
		t.Helper()
		if at := strings.IndexFunc(string(text), func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }); at >= 0 {
			t.Errorf("%q in\n%q", text[at:min(at+4, len(text))], text)
		}
	}
	r := &Recipe{
		Sources:   []Source{{Kind: SourcePath, Name: "x\u202e\u200b\U000e0041", Pin: strings.Repeat("a", 64), At: "/src"}},
		Toolchain: Toolchain{Host: []string{"cat"}},
		Env:       []string{"A=" + hidden},
		Steps:     []sandbox.Step{{"echo", hidden}, append(slices.Clone(script), "x "+hidden+"\n")},
		Outputs:   []OutputSpec{{Path: "fw\u202e.bin"}},
	}
	text := r.Encode([]string{hidden})
	seen(text)
	back, err := LoadRecipe(write(t, filepath.Join(t.TempDir(), "recipe.yaml"), string(text)))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if back.Sources[0].Name != r.Sources[0].Name || !slices.Contains(back.Env, r.Env[0]) || back.Outputs[0] != r.Outputs[0] ||
		!slices.EqualFunc(back.Steps, r.Steps, slices.Equal) {
		t.Errorf("got %+v of\n%s", back, text)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "x\u202e\U000e0041.tar"), "none")
	text, err = Starting(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	seen(text)
	if !strings.Contains(string(text), `{path: "x\u202e\U000e0041.tar"`) || !strings.Contains(string(text), "#   x??.tar was not looked into") {
		t.Errorf("got\n%s", text)
	}
}

// A variable of no name stays one key, which no reader takes.
func TestEncodeVariable(t *testing.T) {
	for _, v := range []string{"zz: \"1\"\nreplay: {max_rebuilds: 200}\nnetwork=none", "a b=1", "=1", "é=1", "{a: b}=1", "#=1", "\x1b=1"} {
		r := &Recipe{
			Sources:   []Source{{Kind: SourcePath, Name: "x", Pin: strings.Repeat("a", 64), At: "/src"}},
			Toolchain: Toolchain{Host: []string{"cat"}},
			Env:       []string{v}, Steps: []sandbox.Step{{"cat"}}, Outputs: []OutputSpec{{Path: "fw.bin"}},
		}
		_, err := LoadRecipe(write(t, filepath.Join(t.TempDir(), "recipe.yaml"), string(r.Encode(nil))))
		if err == nil || !strings.Contains(err.Error(), "is not the name of a variable") {
			t.Errorf("%q: got %v", v, err)
		}
	}
}
