package reference

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/assaylab/assay/verify/reference/sandbox"
)

// Options say where and how to rebuild.
type Options struct {
	Sandbox  sandbox.Backend // "" is sandbox.Auto
	OutDir   string          // gets build-1, build-2, … with the outputs of each; made if it is not there
	LogDir   string          // gets build-1.log, build-2.log, …; "" keeps no logs
	ToolDirs []string        // directories of the host to show to the build beside /usr, read-only and at their own place
	Builds   int             // how often, in place of what the recipe says, when it is not 0
	Set      []Setting       // for every build
	Progress func(string)    // told what happens, one line at a time; nil for nobody
}

// Rebuilt records how builds were made and what came out.
type Rebuilt struct {
	Recipe  File           `json:"recipe"`
	Sandbox string         `json:"sandbox"` // back end: "native" or "bwrap"
	Builds  int            `json:"builds"`  // how many were made
	Agree   int            `json:"agree"`   // how many of them, at most, have the same outputs
	Sources []SourceFile   `json:"sources"`
	Rootfs  *File          `json:"rootfs,omitempty"`
	Tools   []sandbox.Tool `json:"tools"`               // of the host, as the recipe names them
	Env     []string       `json:"env"`                 // NAME=VALUE, sorted
	Dirs    []string       `json:"tool_dirs,omitempty"` // of the host, shown to the build beside /usr
	Set     []Setting      `json:"set,omitempty"`       // for every build, in place of what the recipe says
	Outputs []OutputFiles  `json:"outputs"`

	Vary     []string    `json:"vary,omitempty"`       // the factors that the builds after the first were varied in
	Omitted  []Omission  `json:"not_varied,omitempty"` // those that the recipe asks for beside them
	Settings [][]Setting `json:"settings,omitempty"`   // what each build was varied in; there only if any was to be
}

// File is a file by name and content.
type File struct {
	Name   string `json:"name"` // last element of its path
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// SourceFile is a source, where the build found it, and whether it was taken on trust.
type SourceFile struct {
	File
	At    string `json:"at"`
	Trust bool   `json:"trust,omitempty"`
}

// OutputFiles holds what each build made under one name.
type OutputFiles struct {
	Path    string `json:"path"`
	Builds  []File `json:"builds"`            // one per build
	Symbols []File `json:"symbols,omitempty"` // one per build; they need not agree
}

// A Result is what n builds left.
type Result struct {
	Build       Rebuilt      `json:"build"`
	Differences []Difference `json:"differences"`         // between the outputs of the first build and of each other; none when all agree
	Bisection   *Bisection   `json:"bisection,omitempty"` // of varied builds that do not agree
	// One per build, then those of the bisection. No part of Build: steps that run side by side print in any order, and
	// the same builds may have other logs.
	Logs []File `json:"logs"`

	builds []*Build
}

// A Difference is an output that two builds made differently.
type Difference struct {
	Output string   `json:"output"`
	Build  int      `json:"build"`  // compared with build 1; counts from 1
	Sizes  [2]int64 `json:"sizes"`  // bytes, of build 1 and of this one
	Offset int64    `json:"offset"` // of the first byte that differs
	Bytes  int64    `json:"bytes"`  // how many differ, those that only one has included

	// The sections that differ, where somebody who knows formats has filled them in. They are names for people.
	Sections []string `json:"sections,omitempty"`

	Files   [2]string `json:"-"` // the paths of the two
	Symbols string    `json:"-"` // the path of the symbol file of the first, or ""
}

func (d Difference) String() string {
	return fmt.Sprintf("%s: build 1 and build %d differ in %d bytes, first at 0x%x (sizes %d and %d)",
		d.Output, d.Build, d.Bytes, d.Offset, d.Sizes[0], d.Sizes[1]) + d.inSections()
}

// DisagreeError says that there is no reference because the builds differ.
type DisagreeError struct {
	Differences []Difference
	Bisection   *Bisection // nil where there was nothing to bisect
}

func (e *DisagreeError) Error() string {
	if e.Bisection != nil && len(e.Bisection.Blames) > 0 {
		return "the builds do not agree: " + e.Bisection.summary()
	}
	text := make([]string, len(e.Differences))
	for i, d := range e.Differences {
		text[i] = d.String()
	}
	if e.Bisection != nil && e.Bisection.Unsteady {
		text = append(text, unsteady)
	}
	return "the builds do not agree: " + strings.Join(text, "; ")
}

// Undecided reports whether an error of Rebuild means that a reference could not be had: the build failed, a limit
// stopped it, or no sandbox works here. It is not a verdict on anything, and not trouble of this program.
func Undecided(err error) bool {
	var failed *sandbox.FailedError
	var limit *sandbox.LimitError
	var none *sandbox.UnavailableError
	return errors.As(err, &failed) || errors.As(err, &limit) || errors.As(err, &none)
}

// Tail returns the last lines of the log of a build that failed, for a person to read.
func Tail(err error) []string {
	var failed *sandbox.FailedError
	var limit *sandbox.LimitError
	switch {
	case errors.As(err, &failed):
		return failed.Tail
	case errors.As(err, &limit):
		return limit.Tail
	}
	return nil
}

// Agree reports whether all builds made the same outputs.
func (r *Result) Agree() bool { return r.Build.Agree == r.Build.Builds }

// Reference returns the output of a name: its path in the recipe, or the last element of it. Builds that differ have
// none: the error is a *[DisagreeError].
func (r *Result) Reference(name string) (*Reference, error) {
	if !r.Agree() {
		return nil, &DisagreeError{r.Differences, r.Bisection}
	}
	i, err := r.Output(name)
	if err != nil {
		return nil, err
	}
	return r.of(r.builds[0], i)
}

// First returns the first build, which others are compared with.
func (r *Result) First() *Build { return r.builds[0] }

// Output returns the index of the output of a name among those of the recipe.
func (r *Result) Output(name string) (int, error) {
	var known []string
	for i, o := range r.Build.Outputs {
		if o.Path == name || path.Base(o.Path) == name {
			return i, nil
		}
		known = append(known, o.Path)
	}
	return 0, fmt.Errorf("the recipe %s has no output %q: its outputs are %s", r.Build.Recipe.Name, name, strings.Join(known, ", "))
}

// As returns the result that a build alone is which was made beside these, under other settings.
func (r *Result) As(made *Build) *Result {
	out := &Result{Build: r.Build, Differences: []Difference{}, Logs: []File{made.Log}, builds: []*Build{made}}
	b := &out.Build
	b.Builds, b.Agree, b.Set = 1, 1, made.Settings
	b.Vary, b.Omitted, b.Settings, b.Outputs = nil, nil, nil, nil
	for k, o := range r.Build.Outputs {
		files := OutputFiles{Path: o.Path, Builds: made.Outputs[k : k+1]}
		if o.Symbols != nil {
			files.Symbols = made.Symbols[k : k+1]
		}
		b.Outputs = append(b.Outputs, files)
	}
	return out
}

// of returns an output of a build as a reference.
func (r *Result) of(made *Build, output int) (*Reference, error) {
	file := made.Output(output)
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, err := digestOf(f)
	if err != nil {
		return nil, err
	}
	if d.sha256 != made.Outputs[output].SHA256 {
		return nil, fmt.Errorf("%s changed after it was built", file)
	}
	build := r.Build
	return &Reference{Path: file, Symbols: made.SymbolFile(output), Origin: Origin{
		Kind: KindRebuilt, Name: made.Outputs[output].Name, Size: d.size, SHA256: d.sha256, SHA512: d.sha512, Build: &build,
	}}, nil
}

// Rebuild builds a recipe n times and compares what comes out. Builds that differ are not an error: see
// [Result.Agree]. A source that is not the pinned one is a *[MismatchError]; see [Undecided] for the rest.
func Rebuild(ctx context.Context, recipe *Recipe, o Options) (*Result, error) {
	b, err := NewBuilder(recipe, o)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return b.Rebuild(ctx)
}

// A Builder makes the builds of one recipe, from sources that it holds open.
type Builder struct {
	recipe  *Recipe
	options Options
	config  sandbox.Config
	record  Rebuilt
	say     func(string)
	inputs  []*os.File
	begun   bool // a build has told which tools there are
}

// A Build is what one build made.
type Build struct {
	Name     string    `json:"name"` // of its folder in Options.OutDir
	Settings []Setting `json:"settings,omitempty"`
	Outputs  []File    `json:"outputs"` // as Recipe.Outputs
	Symbols  []File    `json:"symbols"` // the same; without a name where an output has none
	Log      File      `json:"-"`

	dir string
}

// Output returns the path of the output of an index of Recipe.Outputs.
func (b *Build) Output(i int) string { return filepath.Join(b.dir, b.Outputs[i].Name) }

// Remove removes what the build made, but for its log. Nothing reads it any more.
func (b *Build) Remove() error { return os.RemoveAll(b.dir) }

// SymbolFile returns the path of the symbol file of an output, or "".
func (b *Build) SymbolFile(i int) string {
	if b.Symbols[i].Name == "" {
		return ""
	}
	return filepath.Join(b.dir, b.Symbols[i].Name)
}

// NewBuilder opens the sources of a recipe and checks them against their pins; one that is another is a
// *[MismatchError]. The caller closes the Builder.
func NewBuilder(recipe *Recipe, o Options) (*Builder, error) {
	b := &Builder{
		recipe: recipe, options: o, say: o.Progress,
		config: sandbox.Config{
			Backend: o.Sandbox, ToolDirs: o.ToolDirs, Tools: recipe.Toolchain.Programs(), Env: recipe.Env, ToolEnv: recipe.Env, Epoch: recipe.Epoch,
			Steps: recipe.Steps, Limits: recipe.Limits,
		},
		record: Rebuilt{Recipe: File{recipe.Name, recipe.Size, recipe.SHA256}, Env: recipe.Env, Tools: []sandbox.Tool{}, Dirs: o.ToolDirs},
	}
	if b.say == nil {
		b.say = func(string) {}
	}
	if err := b.openInputs(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// Close closes the sources.
func (b *Builder) Close() {
	for _, f := range b.inputs {
		f.Close()
	}
	b.inputs = nil
}

// Tools returns the tools that the first build found, in the order of the recipe.
func (b *Builder) Tools() []sandbox.Tool { return b.record.Tools }

// Rebuild builds as often as the options or the recipe say, into build-1, build-2, …, and compares what comes out.
// The builds after the first are varied as the recipe says; see [Bisection] for what becomes of those that differ.
func (b *Builder) Rebuild(ctx context.Context) (*Result, error) {
	n := b.recipe.Builds
	if b.options.Builds != 0 {
		n = b.options.Builds
	}
	if n < 1 || n > maxBuilds {
		return nil, fmt.Errorf("%d builds: from 1 to %d are possible", n, maxBuilds)
	}
	plans, err := b.plan(ctx, n)
	if err != nil {
		return nil, err
	}
	r := &Result{Differences: []Difference{}}
	for i, plan := range plans {
		which := fmt.Sprintf("build %d of %d", i+1, n)
		if len(plan) > 0 {
			which += ", " + describe(plan)
		}
		b.say(which)
		made, err := b.Build(ctx, fmt.Sprintf("build-%d", i+1), slices.Concat(b.options.Set, plan))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", which, err)
		}
		r.builds = append(r.builds, made)
		r.Logs = append(r.Logs, made.Log)
	}
	r.Build = b.record
	r.Build.Builds, r.Build.Set = n, b.options.Set
	if len(b.recipe.Vary) > 0 {
		r.Build.Settings = plans
	}
	for k, out := range b.recipe.Outputs {
		o := OutputFiles{Path: out.Path}
		for _, made := range r.builds {
			o.Builds = append(o.Builds, made.Outputs[k])
			if out.Symbols != "" {
				o.Symbols = append(o.Symbols, made.Symbols[k])
			}
		}
		r.Build.Outputs = append(r.Build.Outputs, o)
	}
	if err := r.compare(b.recipe.Outputs); err != nil {
		return nil, err
	}
	if !r.Agree() && len(r.Build.Vary) > 0 {
		if err := b.bisect(ctx, r); err != nil {
			return nil, err
		}
	}
	b.say(r.Build.Agreement())
	return r, nil
}

// openInputs opens the sources and the root file system and checks them against their pins.
func (b *Builder) openInputs() error {
	open := func(s *Source) (sandbox.Input, File, error) {
		f, d, err := s.open()
		if err != nil {
			return sandbox.Input{}, File{}, err
		}
		b.inputs = append(b.inputs, f)
		name := s.FileName()
		return sandbox.Input{Name: name, SHA256: s.SHA256, File: f}, File{name, d.size, d.sha256}, nil
	}
	for i := range b.recipe.Sources {
		s := &b.recipe.Sources[i]
		in, record, err := open(s)
		if err != nil {
			return err
		}
		b.config.Sources = append(b.config.Sources, sandbox.Source{Input: in, At: s.At})
		b.record.Sources = append(b.record.Sources, SourceFile{record, s.At, s.Trust})
	}
	if s := b.recipe.Toolchain.Rootfs; s != nil {
		in, record, err := open(s)
		if err != nil {
			return err
		}
		b.config.Rootfs, b.record.Rootfs = &in, &record
	}
	return nil
}

// Build makes one build under settings, into a folder of that name in Options.OutDir, which must not be there yet. One
// that fails leaves its log, and no folder.
func (b *Builder) Build(ctx context.Context, name string, settings []Setting) (*Build, error) {
	if !b.begun && slices.ContainsFunc(settings, func(s Setting) bool { return s.Factor == "version" }) {
		if err := b.probe(ctx); err != nil {
			return nil, err
		}
	}
	c := b.config
	if err := apply(&c, settings, b.record.Tools); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(filepath.Join(b.options.OutDir, name))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(b.options.OutDir, 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	done := false
	defer func() {
		if !done {
			os.RemoveAll(dir) // half a build is none
		}
	}()
	var outputs []*os.File
	defer func() {
		for _, f := range outputs {
			f.Close()
		}
	}()
	want := func(name string) error {
		f, err := create(filepath.Join(dir, path.Base(name)))
		if err != nil {
			return err
		}
		outputs = append(outputs, f)
		c.Outputs = append(c.Outputs, sandbox.Output{Path: name, To: f})
		return nil
	}
	for _, o := range b.recipe.Outputs {
		if err := want(o.Path); err != nil {
			return nil, err
		}
		if o.Symbols != "" {
			if err := want(o.Symbols); err != nil {
				return nil, err
			}
		}
	}
	made := &Build{Name: name, Settings: settings, dir: dir}
	log, closeLog, err := b.log(made)
	if err != nil {
		return nil, err
	}
	c.Log = log
	report, err := sandbox.Run(ctx, c)
	if closeErr := closeLog(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	if err := b.take(made, report, outputs); err != nil {
		return nil, err
	}
	done = true
	return made, nil
}

// probe finds the tools where settings are made, and builds nothing.
func (b *Builder) probe(ctx context.Context, settings ...Setting) error {
	c := b.config
	c.Sources, c.Steps = nil, nil
	if err := apply(&c, settings, nil); err != nil {
		return err
	}
	report, err := sandbox.Run(ctx, c)
	if err != nil {
		return err
	}
	return b.found(report)
}

// found records the tools and the back end of a run, which must be those of the first.
func (b *Builder) found(report *sandbox.Report) error {
	if !b.begun {
		b.begun = true
		b.record.Sandbox = string(report.Backend)
		b.record.Tools = append(b.record.Tools, report.Tools...)
		b.config.Backend = report.Backend // what worked once is what the others are made with
	} else if !slices.Equal(b.record.Tools, report.Tools) {
		return &sandbox.FailedError{What: "the tools changed since the first build: nothing else may install or remove them meanwhile"}
	}
	return nil
}

// take records what a build made and by which tools.
func (b *Builder) take(made *Build, report *sandbox.Report, outputs []*os.File) error {
	if err := b.found(report); err != nil {
		return err
	}
	next := func() (File, error) {
		f := outputs[0]
		outputs = outputs[1:]
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return File{}, err
		}
		d, err := digestOf(f)
		return File{filepath.Base(f.Name()), d.size, d.sha256}, err
	}
	for _, o := range b.recipe.Outputs {
		f, err := next()
		if err != nil {
			return err
		}
		made.Outputs = append(made.Outputs, f)
		if f = (File{}); o.Symbols != "" {
			if f, err = next(); err != nil {
				return err
			}
		}
		made.Symbols = append(made.Symbols, f)
	}
	return nil
}

// log makes the file that takes what a build prints; closing records it.
func (b *Builder) log(made *Build) (io.Writer, func() error, error) {
	var kept io.WriteCloser = discard{}
	if b.options.LogDir != "" {
		if err := os.MkdirAll(b.options.LogDir, 0o755); err != nil {
			return nil, nil, err
		}
		f, err := create(filepath.Join(b.options.LogDir, made.Name+".log"))
		if err != nil {
			return nil, nil, err
		}
		kept = f
	}
	sum := sha256.New()
	size := new(counter)
	return io.MultiWriter(kept, sum, size), func() error {
		made.Log = File{made.Name + ".log", int64(*size), hex.EncodeToString(sum.Sum(nil))}
		return kept.Close()
	}, nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// create makes a file that is not there yet.
func create(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
}

// compare finds how many builds agree, and where the others differ from the first.
func (r *Result) compare(outputs []OutputSpec) error {
	same := map[string]int{}
	for i, made := range r.builds {
		var all strings.Builder
		for _, o := range made.Outputs {
			fmt.Fprintf(&all, "%s %d\n", o.SHA256, o.Size)
		}
		same[all.String()]++
		r.Build.Agree = max(r.Build.Agree, same[all.String()])
		found, err := differences(outputs, r.builds[0], made)
		if err != nil {
			return err
		}
		for _, d := range found {
			d.Build = i + 1
			r.Differences = append(r.Differences, d)
		}
	}
	return nil
}

// differences compares the outputs of two builds, whose digests tell which of them differ.
func differences(outputs []OutputSpec, a, b *Build) ([]Difference, error) {
	var out []Difference
	for i, o := range outputs {
		if a.Outputs[i] == b.Outputs[i] {
			continue
		}
		d := Difference{Output: o.Path, Offset: -1, Files: [2]string{a.Output(i), b.Output(i)}, Symbols: a.SymbolFile(i)}
		if err := d.measure(); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// measure counts the bytes that differ between two files.
func (d *Difference) measure() error {
	var readers [2]*bufio.Reader
	for i, name := range d.Files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		d.Sizes[i] = info.Size()
		readers[i] = bufio.NewReaderSize(f, 1<<16)
	}
	shorter := min(d.Sizes[0], d.Sizes[1])
	var a, b [1 << 15]byte
	for at := int64(0); at < shorter; {
		n := min(int64(len(a)), shorter-at)
		if _, err := io.ReadFull(readers[0], a[:n]); err != nil {
			return err
		}
		if _, err := io.ReadFull(readers[1], b[:n]); err != nil {
			return err
		}
		if !bytes.Equal(a[:n], b[:n]) {
			for i := range n {
				if a[i] != b[i] {
					d.differ(at + i)
				}
			}
		}
		at += n
	}
	if rest := max(d.Sizes[0], d.Sizes[1]) - shorter; rest > 0 {
		d.differ(shorter)
		d.Bytes += rest - 1
	}
	return nil
}

func (d *Difference) differ(at int64) {
	if d.Offset < 0 {
		d.Offset = at
	}
	d.Bytes++
}
