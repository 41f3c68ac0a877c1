package reference

import (
	"fmt"
	"io"
	"math"
	"os"
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
//	sources:                                      # at least one
//	  - {path: tfa.tar, sha256: ..., at: /src}    # path is relative to the recipe; at is absolute, in the sandbox
//	  - {path: blob.bin, sha256: ..., at: /src/blob.bin, trust: true}
//	  - {path: lib.tar, sha256: ..., at: /lib, revision: 5d1a...}  # the git commit that the archive is of
//	toolchain: {host: [make, gcc]}                # or {rootfs: root.tar, sha256: ...}
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
//	replay: {max_rebuilds: 8}                     # counterfactual rebuilds allowed; none is the default
//
// A source that is a tar archive, plain or compressed by gzip, bzip2 or xz, is unpacked into the directory at; any
// other is put there as a file. trust marks a blob that nobody rebuilds: the origin names it. Steps start in the
// directory of the first source: where its archive is unpacked, or where its file lies. The environment is cleared; it
// holds HOME, LC_ALL=C.UTF-8, PATH, SOURCE_DATE_EPOCH=315532800 (1980, the first year of a zip file), TZ=UTC and USER.
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
}

// A Source is a file that a build needs.
type Source struct {
	Path   string // on this machine
	SHA256 string
	At     string // in the sandbox
	Trust  bool   // prebuilt, taken on trust

	// Revision is the git commit that the archive is of, or "". It is the word of
	// whoever wrote the recipe: provenance that names a commit is held against it.
	Revision string

	line int
}

// A Toolchain is either the host's tools or a root file system.
type Toolchain struct {
	Host   []string // names of programs of the host
	Rootfs *Source  // a tar file; At is ""
}

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
	r := &Recipe{Name: filepath.Base(file), Size: sum.size, SHA256: sum.sha256, Builds: 2, Limits: sandbox.Limits{
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
				s, err := d.source(n, true)
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
			return d.mapping(n, "replay", field{"max_rebuilds", d.number("max_rebuilds", 0, maxReplay, &r.Replay)})
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
		return d.at(d.root, "toolchain is missing: name the host's tools, {host: [make, gcc]}, or a root file system, {rootfs: FILE, sha256: ...}")
	case len(r.Steps) == 0:
		return d.at(d.root, "steps is missing")
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

func (d *document) source(n *yaml.Node, placed bool) (Source, error) {
	s := Source{line: n.Line}
	fields := []field{
		{"path", d.path("path", &s.Path)},
		{"sha256", d.digest(&s.SHA256)},
	}
	if placed {
		const fetch = "bring the file here by other means, and name it by path: and sha256:"
		fields = append(fields,
			field{"at", func(n *yaml.Node) error {
				if err := d.text("at", &s.At)(n); err != nil {
					return err
				}
				if err := sandbox.CheckPlace(s.At); err != nil {
					return d.at(n, "at: %v", err)
				}
				return nil
			}},
			field{"trust", d.truth("trust", &s.Trust)},
			field{"revision", d.commit(&s.Revision)},
			field{"url", d.later("a source by url", fetch)},
			field{"git", d.later("a source by git", fetch)},
			field{"commit", d.later("a source by git", fetch)},
			field{"oci", d.later("a source by oci", fetch)},
			field{"debian", d.later("a source by debian", fetch)},
		)
	}
	if err := d.mapping(n, "a source", fields...); err != nil {
		return s, err
	}
	switch {
	case s.Path == "":
		return s, d.at(n, "the source has no path")
	case placed && s.At == "":
		return s, d.at(n, "source %s has no at: say where the build finds it, such as /src", s.Path)
	case s.SHA256 == "":
		return s, d.unpinned(n, s.Path)
	}
	return s, nil
}

// commit reads the name of a git commit, in full.
func (d *document) commit(to *string) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if err := d.text("revision", to)(n); err != nil {
			return err
		}
		if !fullCommit.MatchString(*to) {
			return d.at(n, "revision: %.80q is not a full git commit, 40 or 64 lower-case hexadecimal digits", *to)
		}
		return nil
	}
}

var fullCommit = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// unpinned says how to pin a file.
func (d *document) unpinned(n *yaml.Node, name string) error {
	if f, err := openFile(name); err == nil {
		defer f.Close()
		if seen, err := digestOf(f); err == nil {
			return d.at(n, "%s has no sha256: to pin the file as it is now, write sha256: %s", filepath.Base(name), seen.sha256)
		}
	}
	return d.at(n, "%s has no sha256", filepath.Base(name))
}

// path reads the name of a file relative to the recipe.
func (d *document) path(what string, to *string) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if err := d.text(what, to)(n); err != nil {
			return err
		}
		if *to == "" {
			return d.at(n, "%s is empty", what)
		}
		if !filepath.IsAbs(*to) {
			*to = filepath.Join(filepath.Dir(d.file), *to)
		}
		return nil
	}
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
	var rootfs Source
	err := d.mapping(n, "toolchain",
		field{"host", func(n *yaml.Node) error {
			to.Host = []string{}
			return d.items(n, "host", func(n *yaml.Node) error {
				var name string
				if err := d.text("a tool", &name)(n); err != nil {
					return err
				}
				if !toolName.MatchString(name) || name == "." || name == ".." {
					return d.at(n, "%q is not the name of a program", name)
				}
				if slices.Contains(to.Host, name) {
					return d.at(n, "%s is there already", name)
				}
				to.Host = append(to.Host, name)
				return nil
			})
		}},
		field{"rootfs", d.path("rootfs", &rootfs.Path)},
		field{"sha256", d.digest(&rootfs.SHA256)},
		field{"oci", d.later("a toolchain by oci", "export the image to a tar file, and name it by rootfs: and sha256:")},
	)
	switch {
	case err != nil:
		return err
	case to.Host != nil && (rootfs.Path != "" || rootfs.SHA256 != ""):
		return d.at(n, "a toolchain is either host or rootfs and sha256")
	case to.Host != nil:
	case rootfs.Path == "":
		return d.at(n, "a toolchain needs host, or rootfs and sha256")
	case rootfs.SHA256 == "":
		return d.unpinned(n, rootfs.Path)
	default:
		rootfs.line = n.Line
		to.Rootfs = &rootfs
	}
	return nil
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
	var script string
	if err := d.mapping(n, "a step", field{"sh", d.text("sh", &script)}); err != nil {
		return nil, err
	}
	if strings.TrimSpace(script) == "" {
		return nil, d.at(n, "the script is empty")
	}
	return sandbox.Step{"/bin/sh", "-e", "-c", script}, nil
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
	switch {
	case n.Kind != yaml.ScalarNode || !slices.Contains(Factors, n.Value):
		return d.at(n, "%s is not a factor that builds can be varied in: %s", kind(n), strings.Join(Factors, ", "))
	case slices.Contains(*to, n.Value):
		return d.at(n, "%s is there already", n.Value)
	}
	*to = append(*to, n.Value)
	return nil
}

// open opens a file and checks its pin.
func (s *Source) open() (*os.File, digest, error) {
	f, err := openFile(s.Path)
	if err != nil {
		return nil, digest{}, err
	}
	d, err := digestOf(f)
	if err == nil && d.sha256 != s.SHA256 {
		err = &MismatchError{Name: s.Path, Want: s.SHA256, Seen: d.sha256}
	}
	if err != nil {
		f.Close()
		return nil, digest{}, err
	}
	return f, d, nil
}
