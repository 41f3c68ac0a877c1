// Package derive turns the record of a build into a recipe that builds again, and a rebuild into such a record.
//
// The records are
//
//   - SLSA provenance, v1 or v0.2 ([FromProvenance]). That of assay's own rebuilds says all there is to know ([State]
//     writes it); a container-based build says sources, image and command; any other build type at least its source;
//   - a Debian .buildinfo, as deb-buildinfo(5) defines it ([FromBuildinfo]).
//
// What comes out is [Derived]: a recipe as package reference reads it, what the record says of the outputs, and in words
// what of the record is not in the recipe. Where the recipe lacks something that cannot be built without, it holds
// reference.FillIn in that place, and is not read until someone writes it.
//
// The record is a claim. Whoever verified its signature knows whose; nothing here looks at one. A recipe that was
// derived proves nothing by itself: it is run, in a sandbox, and what comes out is compared. It may still say anything
// that a recipe can say, so it is to be read before it is trusted with a verdict.
package derive

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/assaylab/assay/verify/reference"
)

// Derived is a recipe and what is known besides.
type Derived struct {
	Recipe   []byte              // YAML, with all that is said here in comments at its head
	Complete bool                // nothing is to be filled in
	Unmapped []string            // what of the record is not in the recipe, one a line
	Set      []reference.Setting // of the build that was recorded, beside its recipe: give them to Rebuild
	Outputs  []reference.File    // as the record has them; Size is -1 where it says none
}

// draft collects a recipe and what is said about it.
type draft struct {
	reference.Recipe
	head     []string
	unmapped []string
	outputs  []reference.File
	set      []reference.Setting
}

func (d *draft) lack(format string, args ...any) {
	d.unmapped = append(d.unmapped, fmt.Sprintf(format, args...))
}

// finish writes the recipe, and reads it again: what is written must be a recipe, up to what is to be filled in.
func (d *draft) finish() (*Derived, error) {
	out := &Derived{Unmapped: d.unmapped, Set: d.set, Outputs: d.outputs, Complete: true}
	head := d.head
	for _, line := range d.unmapped {
		head = append(head, "Not in this recipe: "+line)
	}
	for _, s := range d.set {
		head = append(head, "The build was made under a setting: rebuild with --set "+Shell(s.String()))
	}
	for _, o := range d.outputs {
		head = append(head, fmt.Sprintf("Recorded output: %s sha256:%s", o.Name, o.SHA256))
	}
	out.Recipe = d.Encode(head)
	for line := range strings.Lines(string(out.Recipe)) {
		if !strings.HasPrefix(line, "#") && strings.Contains(line, reference.FillIn) {
			out.Complete = false
		}
	}
	if !out.Complete {
		return out, nil
	}
	return out, d.reads(out.Recipe)
}

// reads demands that the recipe that was written is the one that was meant.
func (d *draft) reads(text []byte) error {
	dir, err := os.MkdirTemp("", "assay-derive-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "recipe.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	r, err := reference.LoadRecipe(file)
	if err != nil {
		return fmt.Errorf("the record makes no recipe: %s", strings.ReplaceAll(err.Error(), file, "recipe.yaml"))
	}
	for _, v := range d.Env {
		if !slices.Contains(r.Env, v) {
			return fmt.Errorf("the record makes no recipe: its variable %.100q does not fit in one", v)
		}
	}
	same := len(r.Sources) == len(d.Sources) && len(r.Steps) == len(d.Steps) && slices.Equal(r.Outputs, d.Outputs)
	for i := 0; same && i < len(r.Sources); i++ {
		a, b := &r.Sources[i], &d.Sources[i]
		same = a.Kind == b.Kind && a.String() == b.String() && a.Pin == b.Pin && a.At == b.At
	}
	for i := 0; same && i < len(r.Steps); i++ {
		same = slices.Equal(r.Steps[i], d.Steps[i])
	}
	if !same {
		return fmt.Errorf("the record makes no recipe: one of its values does not fit in one")
	}
	return nil
}

// Shell quotes a word for a POSIX shell, if that needs to be.
func Shell(word string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("_=:./,+@%-", c)
	}
	if word != "" && strings.IndexFunc(word, func(c rune) bool { return !plain(c) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
