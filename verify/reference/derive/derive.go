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
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/reference/sandbox"
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
	filled, open := d.filled()
	if err := asMeant(filled, filled.Encode(head)); err != nil {
		return nil, fmt.Errorf("the record makes no recipe: %w", err)
	}
	return &Derived{Recipe: d.Encode(head), Unmapped: d.unmapped, Set: d.set, Outputs: d.outputs, Complete: !open}, nil
}

// filled is the recipe with something in every place that is to be filled in, and whether there is any such place.
func (d *draft) filled() (r *reference.Recipe, open bool) {
	out := d.Recipe
	fill := func(value *string, with string) {
		if strings.HasPrefix(*value, reference.FillIn) {
			*value, open = with, true
		}
	}
	sum := strings.Repeat("0", 64)
	out.Sources = slices.Clone(d.Sources)
	for i := range out.Sources {
		fill(&out.Sources[i].Name, "source")
		fill(&out.Sources[i].Pin, sum)
	}
	if d.Toolchain.Rootfs != nil {
		rootfs := *d.Toolchain.Rootfs
		fill(&rootfs.Name, "docker://example.org/image")
		out.Toolchain.Rootfs = &rootfs
	}
	out.Toolchain.Host = slices.Clone(d.Toolchain.Host)
	for i := range out.Toolchain.Host {
		fill(&out.Toolchain.Host[i], fmt.Sprintf("tool%d", i))
	}
	out.Steps = make([]sandbox.Step, len(d.Steps))
	for i, step := range d.Steps {
		out.Steps[i] = slices.Clone(step)
		for k := range step {
			fill(&out.Steps[i][k], "word")
		}
	}
	out.Outputs = slices.Clone(d.Recipe.Outputs)
	for i := range out.Outputs {
		fill(&out.Outputs[i].Path, fmt.Sprintf("fill-in/output%d", i))
	}
	return &out, open
}

// asMeant demands that a text is read as the recipe that was meant by it, whatever its values are.
func asMeant(meant *reference.Recipe, text []byte) error {
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
		return errors.New(strings.ReplaceAll(err.Error(), file, "recipe.yaml"))
	}
	// What a draft leaves out is what a recipe has by default.
	builds, limits := meant.Builds, meant.Limits
	if builds == 0 {
		builds = r.Builds
	}
	if limits == (sandbox.Limits{}) {
		limits = r.Limits
	}
	for _, one := range []struct {
		what string
		same bool
	}{
		{"sources", slices.EqualFunc(r.Sources, meant.Sources, sameSource)},
		{"toolchain", sameToolchain(&r.Toolchain, &meant.Toolchain)},
		{"environment", sameEnv(r.Env, meant.Env)},
		{"steps", slices.EqualFunc(r.Steps, meant.Steps, slices.Equal)},
		{"outputs", slices.Equal(r.Outputs, meant.Outputs)},
		{"builds", r.Builds == builds},
		{"limits", r.Limits == limits},
		{"vary", slices.Equal(r.Vary, meant.Vary)},
		{"replay", r.Replay == meant.Replay && slices.Equal(r.ReplayValues, meant.ReplayValues)},
	} {
		if !one.same {
			return fmt.Errorf("its %s would not be read as they are meant", one.what)
		}
	}
	return nil
}

func sameSource(read, meant reference.Source) bool {
	pin := meant.SHA256 // of the tar, where it is pinned beside the commit or the image
	if meant.Kind == reference.SourcePath || meant.Kind == reference.SourceURL {
		pin = meant.Pin
	}
	revision := meant.Revision
	if meant.Kind == reference.SourceGit {
		revision = meant.Pin
	}
	return read.Kind == meant.Kind && read.Name == meant.Name && read.Version == meant.Version && read.Pin == meant.Pin &&
		read.SHA256 == pin && read.At == meant.At && read.Trust == meant.Trust && read.Revision == revision
}

func sameToolchain(read, meant *reference.Toolchain) bool {
	if (read.Rootfs == nil) != (meant.Rootfs == nil) || read.Rootfs != nil && !sameSource(*read.Rootfs, *meant.Rootfs) {
		return false
	}
	return slices.Equal(read.Host, meant.Host) && slices.Equal(read.Tools, meant.Tools)
}

// sameEnv says whether an environment is the one that was meant and, of what that leaves out, the defaults.
func sameEnv(read, meant []string) bool {
	if slices.ContainsFunc(meant, func(v string) bool { return !slices.Contains(read, v) }) {
		return false
	}
	return !slices.ContainsFunc(read, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return !slices.Contains(meant, v) && !slices.Contains([]string{"HOME", "LC_ALL", "PATH", "SOURCE_DATE_EPOCH", "TZ", "USER"}, name)
	})
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
