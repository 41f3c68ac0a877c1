package reference

import (
	"fmt"
	"io"
	"math"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/assaylab/assay/verify/reference/sandbox"
)

// A Recipe says how a reference is built. It is a YAML file, read strictly:
//
//	version: 1                                    # of this format
//	sources:                                      # at least one, each of one kind and pinned
//	  - {path: tfa.tar, sha256: ..., at: /src}    # path is relative to the recipe; at is absolute, in the sandbox
//	  - {path: blob.bin, sha256: ..., at: /src/blob.bin, trust: true}
//	  - {path: lib.tar, sha256: ..., at: /lib, revision: 5d1a...}  # the git commit that the archive is of
//	  - {url: "https://example.org/a.tar.xz", sha256: ..., at: /a}
//	  - {git: "https://example.org/b.git", commit: 5d1a..., at: /b}           # a tar of the tree of that commit
//	  - {oci: "docker://example.org/c@sha256:...", at: /c}                    # or oci:DIR@sha256:..., DIR relative to the recipe
//	  - {debian: hello, version: 2.10-3, sha256: ..., at: /d}  # sha256 of the .dsc; a tar of it and the files it names
//	toolchain: {host: [make, gcc]}                # or {rootfs: root.tar, sha256: ...}, {rootfs: {url: ..., sha256: ...}},
//	                                              # {oci: "docker://...@sha256:..."}; these with tools: [make, gcc] to record
//	env: {SOURCE_DATE_EPOCH: "1669357904"}        # beside the fixed defaults, or in their place
//	steps:                                        # at least one
//	  - [make, all]                               # an argument list
//	  - sh: |                                     # or a script for /bin/sh -e
//	      make all
//	outputs:                                      # at least one
//	  - {path: out/fw.bin, symbols: out/fw.elf}   # relative to the first source
//	builds: 2                                     # this is the default, as are the limits below
//	limits: {time: 10m, memory: 4GiB, output: 1GiB, processes: 512}
//	network: none                                 # the only one
//	vary: [time, path]                            # factors that the builds after the first differ in, see Factors
//	replay:                                       # counterfactual rebuilds
//	  max_rebuilds: 8                             # how many are allowed; none is the default
//	  values: [version, epoch]                    # what may be put in, of Replayed; all is the default
//
// A source that is a tar archive, plain or compressed by gzip, bzip2 or xz, is unpacked into the directory at; any
// other is put there as a file. trust marks a blob that nobody rebuilds: the origin names it. Steps start in the
// directory of the first source: where its archive is unpacked, or where its file lies. The environment is cleared; it
// holds HOME, LC_ALL=C.UTF-8, PATH, SOURCE_DATE_EPOCH=315532800 (1980, the first year of a zip file), TZ=UTC and USER.
//
// A source that does not lie beside the recipe is brought by [Recipe.Resolve]. The tar of a git commit, of an image or of
// a Debian package may be pinned as well: by sha256 (git and oci), and by a [Lock] (all). A value that begins with
// FILL-IN marks a place that a recipe written by program left open, and is an error wherever it stands.
type Recipe struct {
	Name      string // the last element of its path
	Size      int64  // of the file, in bytes
	SHA256    string // of the file
	Sources   []Source
	Toolchain Toolchain
	Env       []string // NAME=VALUE, the whole environment, sorted
	Epoch     int64    // SOURCE_DATE_EPOCH
	Steps     []sandbox.Step
	Outputs   []OutputSpec
	Builds    int
	Limits    sandbox.Limits
	Vary      []string // of Factors
	Replay    int      // how many counterfactual rebuilds are allowed

	ReplayValues []string // of Replayed: what may be put in; none is all

	file string // as it was named, for messages
	text []byte
}

// Text returns the recipe as it was read.
func (r *Recipe) Text() []byte { return r.text }

// A Toolchain is either the host's tools or a root file system.
type Toolchain struct {
	Host   []string // names of programs of the host
	Rootfs *Source  // a tar file; At is ""
	Tools  []string // names of programs of the root file system to identify
}

// Programs are what a build identifies before anything else, by name.
func (t *Toolchain) Programs() []string { return slices.Concat(t.Host, t.Tools) }

// An OutputSpec names a file that the steps make, and the ELF file with its symbols. The last elements of all paths of
// a recipe differ.
type OutputSpec struct {
	Path    string
	Symbols string // "" for none
}

// RecipeError says what is wrong with a recipe, and where.
type RecipeError struct {
	File string
	Line int // 0 where unknown
	What string
}

func (e *RecipeError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.What)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.What)
}

const (
	maxRecipe = 1 << 20 // bytes of a recipe
	maxBuilds = 16
	maxReplay = 256
	maxItems  = 1000 // sources, steps, outputs or tools of a recipe
)

// defaultEpoch is 1980-01-01, the earliest time that every format of archive can hold.
const defaultEpoch = 315532800

// LoadRecipe reads a recipe. What is wrong with it is a *[RecipeError]. The sources are looked at by Rebuild.
func LoadRecipe(file string) (*Recipe, error) {
	f, err := openFile(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRecipe+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxRecipe {
		return nil, &RecipeError{File: file, What: fmt.Sprintf("larger than %d bytes", maxRecipe)}
	}
	d, err := parse(file, text)
	if err != nil {
		return nil, err
	}
	sum, err := digestOf(strings.NewReader(string(text)))
	if err != nil {
		return nil, err
	}
	r := &Recipe{file: file, text: text, Name: filepath.Base(file), Size: sum.size, SHA256: sum.sha256, Builds: 2, Limits: sandbox.Limits{
		Time: 10 * time.Minute, Memory: 4 << 30, Output: 1 << 30, Processes: 512,
	}}
	if err := r.read(d); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Recipe) read(d *document) error {
	version, env := 0, map[string]string{}
	err := d.mapping(d.root, "a recipe",
		field{"version", d.number("version", 1, math.MaxInt32, &version)},
		field{"sources", func(n *yaml.Node) error {
			return d.items(n, "sources", func(n *yaml.Node) error {
				s, err := d.source(n)
				r.Sources = append(r.Sources, s)
				return err
			})
		}},
		field{"toolchain", func(n *yaml.Node) error { return d.toolchain(n, &r.Toolchain) }},
		field{"env", func(n *yaml.Node) error { return d.environment(n, env) }},
		field{"steps", func(n *yaml.Node) error {
			return d.items(n, "steps", func(n *yaml.Node) error {
				s, err := d.step(n)
				r.Steps = append(r.Steps, s)
				return err
			})
		}},
		field{"outputs", func(n *yaml.Node) error { return d.outputs(n, &r.Outputs) }},
		field{"builds", d.number("builds", 1, maxBuilds, &r.Builds)},
		field{"limits", func(n *yaml.Node) error { return d.limits(n, &r.Limits) }},
		field{"network", func(n *yaml.Node) error {
			if n.Kind != yaml.ScalarNode || n.Value != "none" {
				return d.at(n, "network must be none, this is %s: a build that needs the network proves nothing; make what it fetches a source", kind(n))
			}
			return nil
		}},
		field{"vary", func(n *yaml.Node) error {
			return d.list(n, "vary", func(_ int, n *yaml.Node) error { return d.vary(n, &r.Vary) })
		}},
		field{"replay", func(n *yaml.Node) error {
			return d.mapping(n, "replay",
				field{"max_rebuilds", d.number("max_rebuilds", 0, maxReplay, &r.Replay)},
				field{"values", func(n *yaml.Node) error {
					return d.items(n, "values", func(n *yaml.Node) error { return d.oneOf(n, "a value that is replayed", Replayed, &r.ReplayValues) })
				}},
			)
		}},
	)
	switch {
	case err != nil:
		return err
	case version == 0:
		return d.at(d.root, "version is missing: this is version: 1")
	case version != 1:
		return d.at(d.root, "version %d is not known: this program reads version 1", version)
	case len(r.Sources) == 0:
		return d.at(d.root, "sources is missing")
	case r.Toolchain.Rootfs == nil && r.Toolchain.Host == nil:
		return d.at(d.root, "toolchain is missing: name the host's tools, {host: [make, gcc]}, or a root file system, {rootfs: FILE, sha256: ...} or {oci: IMAGE@sha256:...}")
	case len(r.Steps) == 0:
		return d.at(d.root, "steps is missing")
	case len(r.Vary) > 0 && r.Builds < 2:
		return d.at(d.root, "vary takes 2 builds or more, the first of which is plain; builds is %d", r.Builds)
	case len(r.Outputs) == 0:
		return d.at(d.root, "outputs is missing")
	}
	return r.setEnvironment(d, env)
}

// setEnvironment lays the variables of the recipe over the fixed ones.
func (r *Recipe) setEnvironment(d *document, own map[string]string) error {
	all := map[string]string{
		"HOME": sandbox.Home, "LC_ALL": "C.UTF-8", "PATH": sandbox.Path, "SOURCE_DATE_EPOCH": strconv.Itoa(defaultEpoch),
		"TZ": "UTC", "USER": sandbox.User,
	}
	for name, value := range own {
		all[name] = value
	}
	epoch, err := strconv.ParseInt(all["SOURCE_DATE_EPOCH"], 10, 64)
	if err != nil || epoch < 0 || epoch > 1<<40 {
		return d.at(d.root, "SOURCE_DATE_EPOCH must be a number of seconds, this is %q", all["SOURCE_DATE_EPOCH"])
	}
	r.Epoch = epoch
	for name, value := range all {
		r.Env = append(r.Env, name+"="+value)
	}
	slices.Sort(r.Env)
	return nil
}

// items reads a list that has at least one item, and no more than anybody writes.
func (d *document) items(n *yaml.Node, what string, read func(*yaml.Node) error) error {
	if n.Kind == yaml.SequenceNode && (len(n.Content) == 0 || len(n.Content) > maxItems) {
		return d.at(n, "%s must have 1 to %d items, this has %d", what, maxItems, len(n.Content))
	}
	return d.list(n, what, func(_ int, n *yaml.Node) error { return read(n) })
}

func (d *document) digest(to *string) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || !isDigest.MatchString(n.Value) {
			return d.at(n, "sha256 must be 64 lower-case hexadecimal digits, this is %s", kind(n))
		}
		*to = n.Value
		return nil
	}
}

var toolName = regexp.MustCompile(`^[A-Za-z0-9_+.][A-Za-z0-9_+.-]*$`)

func (d *document) toolchain(n *yaml.Node, to *Toolchain) error {
	var w written
	var inner *Source
	here := w.where(d, SourcePath, SourceOCI)
	path, sum, image := here[0], here[2], here[1]
	err := d.mapping(n, "toolchain",
		field{"host", d.tools(&to.Host)},
		field{"rootfs", func(n *yaml.Node) error {
			if n.Kind != yaml.MappingNode {
				return path.read(n)
			}
			var w written
			if err := d.mapping(n, "rootfs", w.where(d, SourcePath, SourceURL, SourceOCI)...); err != nil {
				return err
			}
			s, err := d.settle(n, &w)
			inner = &s
			return err
		}},
		sum, image,
		field{"tools", d.tools(&to.Tools)},
	)
	beside := len(w.kinds) > 0 || w.sha256 != ""
	switch {
	case err != nil:
		return err
	case to.Host != nil && (beside || inner != nil || to.Tools != nil):
		return d.at(n, "a toolchain is either host, or a root file system: rootfs and sha256, or oci, and with them tools")
	case to.Host != nil:
		return nil
	case inner != nil && beside:
		return d.at(n, "a toolchain has one root file system, pinned in one place")
	case inner == nil && len(w.kinds) != 1:
		return d.at(n, "a toolchain needs host, or rootfs and sha256, or oci")
	case inner == nil:
		s, err := d.settle(n, &w)
		if err != nil {
			return err
		}
		inner = &s
	}
	to.Rootfs = inner
	return nil
}

// tools reads names of programs.
func (d *document) tools(to *[]string) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		*to = []string{}
		return d.items(n, "a list of tools", func(n *yaml.Node) error {
			var name string
			if err := d.text("a tool", &name)(n); err != nil {
				return err
			}
			if !toolName.MatchString(name) || name == "." || name == ".." {
				return d.at(n, "%q is not the name of a program", name)
			}
			if slices.Contains(*to, name) {
				return d.at(n, "%s is there already", name)
			}
			*to = append(*to, name)
			return nil
		})
	}
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// environment reads variables. A number is taken as it is written.
func (d *document) environment(n *yaml.Node, to map[string]string) error {
	if n.Kind != yaml.MappingNode {
		return d.at(n, "env must be a mapping, this is %s", kind(n))
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		switch {
		case name.Kind != yaml.ScalarNode || !variableName.MatchString(name.Value):
			return d.at(name, "%s is not the name of a variable", kind(name))
		case lines[name.Value] != 0:
			return d.at(name, "key %q is there already, in line %d", name.Value, lines[name.Value])
		case value.Kind != yaml.ScalarNode || value.Tag != "!!str" && value.Tag != "!!int":
			return d.at(value, "the value of %s must be a string, this is %s", name.Value, kind(value))
		case strings.ContainsRune(value.Value, 0):
			return d.at(value, "the value of %s holds a zero byte", name.Value)
		}
		lines[name.Value] = name.Line
		to[name.Value] = value.Value
	}
	return nil
}

func (d *document) step(n *yaml.Node) (sandbox.Step, error) {
	var step sandbox.Step
	if n.Kind == yaml.SequenceNode {
		err := d.items(n, "a step", func(n *yaml.Node) error {
			var word string
			// Numbers too: make -j 4.
			if n.Kind != yaml.ScalarNode || n.Tag != "!!int" {
				if err := d.text("an argument", &word)(n); err != nil {
					return err
				}
			}
			step = append(step, n.Value)
			return nil
		})
		if err == nil && step[0] == "" {
			err = d.at(n, "the step names no program")
		}
		return step, err
	}
	if n.Kind != yaml.MappingNode {
		return nil, d.at(n, "a step is a list of arguments, or sh: and a script; this is %s", kind(n))
	}
	var text string
	if err := d.mapping(n, "a step", field{"sh", d.text("sh", &text)}); err != nil {
		return nil, err
	}
	if strings.TrimSpace(text) == "" {
		return nil, d.at(n, "the script is empty")
	}
	return append(slices.Clone(script), text), nil
}

func (d *document) outputs(n *yaml.Node, to *[]OutputSpec) error {
	names := map[string]bool{}
	name := func(what string, to *string) func(*yaml.Node) error {
		return func(n *yaml.Node) error {
			if err := d.text(what, to)(n); err != nil {
				return err
			}
			if err := sandbox.CheckOutput(*to); err != nil {
				return d.at(n, "%s: %v", what, err)
			}
			if base := path.Base(*to); names[base] {
				return d.at(n, "%s: another file is called %s already, and they are kept under their last names", what, base)
			}
			names[path.Base(*to)] = true
			return nil
		}
	}
	return d.items(n, "outputs", func(n *yaml.Node) error {
		var o OutputSpec
		if err := d.mapping(n, "an output", field{"path", name("path", &o.Path)}, field{"symbols", name("symbols", &o.Symbols)}); err != nil {
			return err
		}
		if o.Path == "" {
			return d.at(n, "the output has no path")
		}
		*to = append(*to, o)
		return nil
	})
}

func (d *document) limits(n *yaml.Node, to *sandbox.Limits) error {
	size := func(what string, to *int64) func(*yaml.Node) error {
		return func(n *yaml.Node) error {
			value, ok := parseSize(n.Value)
			if n.Kind != yaml.ScalarNode || !ok {
				return d.at(n, "%s must be a size such as 512MiB or 4GiB, this is %s", what, kind(n))
			}
			*to = value
			return nil
		}
	}
	return d.mapping(n, "limits",
		field{"time", func(n *yaml.Node) error {
			value, err := time.ParseDuration(n.Value)
			if n.Kind != yaml.ScalarNode || err != nil || value <= 0 || value > 7*24*time.Hour {
				return d.at(n, "time must be a duration such as 90s, 10m or 2h, this is %s", kind(n))
			}
			to.Time = value
			return nil
		}},
		field{"memory", size("memory", &to.Memory)},
		field{"output", size("output", &to.Output)},
		field{"processes", d.number("processes", 1, 1<<20, &to.Processes)},
	)
}

// parseSize reads a number of bytes: digits, then nothing, B, KiB, MiB, GiB or TiB.
func parseSize(text string) (int64, bool) {
	number := strings.TrimRight(text, "BKMGTi")
	shift, ok := map[string]uint{"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}[text[len(number):]]
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || number[0] == '+' || n <= 0 || n > (1<<50)>>shift {
		return 0, false
	}
	return n << shift, true
}

func (d *document) vary(n *yaml.Node, to *[]string) error {
	return d.oneOf(n, "a factor that builds can be varied in", Factors, to)
}

// oneOf reads a word of a list, that is not there yet.
func (d *document) oneOf(n *yaml.Node, what string, list []string, to *[]string) error {
	switch {
	case n.Kind != yaml.ScalarNode || !slices.Contains(list, n.Value):
		return d.at(n, "%s is not %s: %s", kind(n), what, strings.Join(list, ", "))
	case slices.Contains(*to, n.Value):
		return d.at(n, "%s is there already", n.Value)
	}
	*to = append(*to, n.Value)
	return nil
}
