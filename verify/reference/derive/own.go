package derive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/reference/sandbox"
	"github.com/assaylab/assay/verify/statement"
)

// State states what was rebuilt: the outputs of builds that agree, how they were made and of what. version is that of
// assay. Builds that disagree have no outputs to state: the error is a *[reference.DisagreeError].
func State(r *reference.Recipe, res *reference.Result, version string) (*statement.Statement, error) {
	var logs []statement.Resource
	for _, l := range res.Logs {
		logs = append(logs, resource(l))
	}
	p, err := predicate(r, &res.Build, logs, version)
	if err != nil {
		return nil, err
	}
	var outputs []statement.Subject
	for _, o := range res.Build.Outputs {
		ref, err := res.Reference(o.Path)
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, statement.Subject{
			Name: path.Base(o.Path), Digest: map[string]string{"sha256": ref.Origin.SHA256, "sha512": ref.Origin.SHA512},
		})
	}
	return p.Statement(outputs...)
}

// predicate is all that is stated of builds but their outputs.
func predicate(r *reference.Recipe, b *reference.Rebuilt, logs []statement.Resource, version string) (*statement.Rebuild, error) {
	if b.Recipe.SHA256 != r.SHA256 || len(b.Sources) != len(r.Sources) || (b.Rootfs == nil) != (r.Toolchain.Rootfs == nil) {
		return nil, errors.New("the builds are of another recipe")
	}
	p := &statement.Rebuild{
		BuildDefinition: statement.BuildDefinition{
			BuildType:            statement.RebuildType,
			ExternalParameters:   parameters(r, b),
			InternalParameters:   statement.InternalParameters{Sandbox: b.Sandbox},
			ResolvedDependencies: []statement.Resource{resource(b.Recipe)},
		},
		RunDetails: statement.RunDetails{
			Builder:    statement.Builder{ID: statement.RebuildBuilder, Version: map[string]string{"assay": version}},
			Byproducts: append([]statement.Resource{}, logs...),
		},
	}
	deps, e := &p.BuildDefinition.ResolvedDependencies, &p.BuildDefinition.ExternalParameters
	for i, s := range e.Sources {
		*deps = append(*deps, s.Dependency(r.Sources[i].FileName(), b.Sources[i].SHA256))
	}
	if b.Rootfs != nil {
		*deps = append(*deps, e.Toolchain.Rootfs.Dependency(r.Toolchain.Rootfs.FileName(), b.Rootfs.SHA256))
	}
	for _, t := range b.Tools {
		d := resource(reference.File{Name: t.Name, SHA256: t.SHA256})
		if t.Version != "" {
			d.Annotations = map[string]string{"version": t.Version}
		}
		*deps = append(*deps, d)
	}
	for _, o := range b.Outputs {
		if len(o.Symbols) > 0 {
			p.RunDetails.Byproducts = append(p.RunDetails.Byproducts, resource(o.Symbols[0]))
		}
	}
	return p, nil
}

func resource(f reference.File) statement.Resource {
	return statement.Resource{Name: f.Name, Digest: map[string]string{"sha256": f.SHA256}}
}

func parameters(r *reference.Recipe, b *reference.Rebuilt) statement.RecipeParameters {
	e := statement.RecipeParameters{
		Env: r.Env, Builds: b.Builds, Vary: b.Vary, Replay: r.Replay, ReplayValues: r.ReplayValues,
		Toolchain: statement.RecipeToolchain{Host: r.Toolchain.Host, Tools: r.Toolchain.Tools},
		Limits: statement.RecipeLimits{
			Time: r.Limits.Time.String(), Memory: r.Limits.Memory, Output: r.Limits.Output, Processes: r.Limits.Processes,
		},
	}
	for i := range r.Sources {
		e.Sources = append(e.Sources, named(&r.Sources[i]))
	}
	if s := r.Toolchain.Rootfs; s != nil {
		named := named(s)
		e.Toolchain.Rootfs = &named
	}
	for _, s := range r.Steps {
		e.Steps = append(e.Steps, s)
	}
	for _, o := range r.Outputs {
		e.Outputs = append(e.Outputs, statement.RecipeOutput(o))
	}
	for _, s := range b.Set {
		e.Set = append(e.Set, statement.RecipeSetting(s))
	}
	return e
}

func named(s *reference.Source) statement.RecipeSource {
	return statement.RecipeSource{Kind: s.Kind, Name: s.Name, Version: s.Version, Pin: s.Pin, At: s.At, Trust: s.Trust, Revision: s.Revision}
}

// Agrees says why a statement of a rebuild is not what [State] makes of a recipe and of the record of its builds, or nil.
// The record does not have the logs, the sha512 of outputs and the version of assay: these are the statement's word. The
// recipe's sources need not be there, but it must be the recipe of the record, by its sha256. Where recipe and record are
// digested with other evidence, a statement that agrees was made from them.
func Agrees(s *statement.Statement, r *reference.Recipe, b *reference.Rebuilt) error {
	p, ok := s.Rebuild()
	if !ok {
		return errors.New("it is not a statement of a rebuild")
	}
	if b.Builds < 1 || b.Agree != b.Builds {
		return fmt.Errorf("it states builds that agree, and %d of %d do", b.Agree, b.Builds)
	}
	if err := follows(r, b); err != nil {
		return err
	}
	if len(s.Subject) != len(b.Outputs) {
		return fmt.Errorf("it states %d outputs, and %d were built", len(s.Subject), len(b.Outputs))
	}
	symbols := 0
	for i, o := range b.Outputs {
		if s.Subject[i].Name != path.Base(o.Path) || s.Subject[i].Digest["sha256"] != o.Builds[0].SHA256 {
			return fmt.Errorf("its output %.100q is not the one that was built", s.Subject[i].Name)
		}
		if len(o.Symbols) > 0 {
			symbols++
		}
	}
	logs := p.RunDetails.Byproducts
	if len(logs) < symbols {
		return fmt.Errorf("it states %d byproducts, and of symbols alone there are %d", len(logs), symbols)
	}
	want, err := predicate(r, b, logs[:len(logs)-symbols], p.RunDetails.Builder.Version["assay"])
	if err != nil {
		return err
	}
	got, must := &p.BuildDefinition, &want.BuildDefinition
	g, m := &got.ExternalParameters, &must.ExternalParameters
	for _, part := range []struct {
		what       string
		got, wants any
	}{
		{"sources", g.Sources, m.Sources},
		{"toolchain", g.Toolchain, m.Toolchain},
		{"environment", g.Env, m.Env},
		{"steps", g.Steps, m.Steps},
		{"outputs", g.Outputs, m.Outputs},
		{"limits", g.Limits, m.Limits},
		{"number of builds", g.Builds, m.Builds},
		{"variation or settings", []any{g.Vary, g.Set}, []any{m.Vary, m.Set}},
		{"counterfactual rebuilds", []any{g.Replay, g.ReplayValues}, []any{m.Replay, m.ReplayValues}},
		{"sandbox", got.InternalParameters, must.InternalParameters},
		{"resolved dependencies", got.ResolvedDependencies, must.ResolvedDependencies},
		{"byproducts", p.RunDetails.Byproducts, want.RunDetails.Byproducts},
		{"definition of the build", p, want}, // whatever else there is
	} {
		same, err := sameJSON(part.got, part.wants)
		if err != nil {
			return err
		}
		if !same {
			return fmt.Errorf("its %s: they are not those of the recipe and the record of the builds", part.what)
		}
	}
	return nil
}

// follows says why the record of builds cannot be one of a recipe, or nil.
func follows(r *reference.Recipe, b *reference.Rebuilt) error {
	if b.Recipe.SHA256 != r.SHA256 {
		return fmt.Errorf("the builds are of a recipe with the sha256 %.64s, and that of %s is %s", b.Recipe.SHA256, r.Name, r.SHA256)
	}
	fits := func(s *reference.Source, f reference.File) bool {
		return f.Name == s.FileName() && (s.SHA256 == "" || s.SHA256 == f.SHA256)
	}
	if len(b.Sources) != len(r.Sources) {
		return fmt.Errorf("the builds had %d sources, and the recipe has %d", len(b.Sources), len(r.Sources))
	}
	for i := range r.Sources {
		if s, f := &r.Sources[i], &b.Sources[i]; !fits(s, f.File) || f.At != s.At || f.Trust != s.Trust {
			return fmt.Errorf("the builds did not have the source %s as the recipe has it", s)
		}
	}
	if rootfs := r.Toolchain.Rootfs; (rootfs == nil) != (b.Rootfs == nil) || rootfs != nil && !fits(rootfs, *b.Rootfs) {
		return errors.New("the builds did not have the root file system that the recipe names")
	}
	if !slices.EqualFunc(b.Tools, r.Toolchain.Programs(), func(t sandbox.Tool, name string) bool { return t.Name == name }) {
		return errors.New("the builds did not have the tools that the recipe names")
	}
	if !slices.Equal(b.Env, r.Env) {
		return errors.New("the builds did not have the environment of the recipe")
	}
	if slices.ContainsFunc(b.Vary, func(factor string) bool { return !slices.Contains(r.Vary, factor) }) {
		return errors.New("the builds were varied in what the recipe does not say")
	}
	if len(b.Outputs) != len(r.Outputs) {
		return fmt.Errorf("the builds have %d outputs, and the recipe has %d", len(b.Outputs), len(r.Outputs))
	}
	for i, o := range b.Outputs {
		symbols := 0
		if r.Outputs[i].Symbols != "" {
			symbols = b.Builds
		}
		if o.Path != r.Outputs[i].Path || len(o.Builds) != b.Builds || len(o.Symbols) != symbols {
			return fmt.Errorf("the builds did not make the output %q as the recipe has it", r.Outputs[i].Path)
		}
		if slices.ContainsFunc(o.Builds, func(f reference.File) bool { return f.SHA256 != o.Builds[0].SHA256 }) {
			return fmt.Errorf("the builds did not all make the same output %q", o.Path)
		}
	}
	return nil
}

// sameJSON says whether two values are written alike: nothing is told from an empty list.
func sameJSON(a, b any) (bool, error) {
	first, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	second, err := json.Marshal(b)
	return bytes.Equal(first, second), err
}

// own makes a recipe of the statement of a rebuild.
func own(s *statement.Statement) (*Derived, error) {
	p, ok := s.Rebuild()
	if !ok {
		return nil, fmt.Errorf("it says build type %s and is none that assay states", statement.RebuildType)
	}
	e, deps := &p.BuildDefinition.ExternalParameters, p.BuildDefinition.ResolvedDependencies
	limit, err := time.ParseDuration(e.Limits.Time)
	if err != nil {
		return nil, fmt.Errorf("limits: %.40q is not a duration", e.Limits.Time)
	}
	d := &draft{Recipe: reference.Recipe{
		Toolchain: reference.Toolchain{Host: e.Toolchain.Host, Tools: e.Toolchain.Tools},
		Env:       e.Env, Builds: e.Builds, Vary: e.Vary, Replay: e.Replay, ReplayValues: e.ReplayValues,
		Limits: sandbox.Limits{Time: limit, Memory: e.Limits.Memory, Output: e.Limits.Output, Processes: e.Limits.Processes},
	}}
	d.head = []string{fmt.Sprintf("The recipe of a rebuild by assay %s.", p.RunDetails.Builder.Version["assay"])}
	for _, v := range e.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || !variable.MatchString(name) {
			return nil, fmt.Errorf("env: %.80q is not a variable and its value", v)
		}
	}
	for i, src := range e.Sources {
		s, err := d.source(src, deps[1+i].Digest["sha256"])
		if err != nil {
			return nil, fmt.Errorf("sources[%d]: %w", i, err)
		}
		d.Sources = append(d.Sources, s)
	}
	tools := deps[1+len(e.Sources):]
	if r := e.Toolchain.Rootfs; r != nil {
		s, err := d.source(*r, tools[0].Digest["sha256"])
		if err != nil {
			return nil, fmt.Errorf("rootfs: %w", err)
		}
		d.Toolchain.Rootfs = &s
		tools = tools[1:]
	}
	for _, t := range tools {
		line := t.Name
		if v := t.Annotations["version"]; v != "" {
			line += ", " + v
		}
		d.head = append(d.head, fmt.Sprintf("Built with %s, sha256:%s", line, t.Digest["sha256"]))
	}
	for _, step := range e.Steps {
		d.Steps = append(d.Steps, step)
	}
	for _, o := range e.Outputs {
		d.Recipe.Outputs = append(d.Recipe.Outputs, reference.OutputSpec(o))
	}
	for _, set := range e.Set {
		s, err := reference.ParseSetting(reference.Setting(set).String())
		if err != nil {
			return nil, err
		}
		d.set = append(d.set, s)
	}
	d.outputs = files(s.Subject)
	return d.finish()
}

// source is a source of a statement, with the sha256 of the tar where one was made of it. What lay on the machine that
// built is to be put beside the recipe, under the last element of its name: a statement must not say what is read here.
func (d *draft) source(s statement.RecipeSource, sum string) (reference.Source, error) {
	out := reference.Source{Kind: s.Kind, Name: s.Name, Version: s.Version, Pin: s.Pin, At: s.At, Trust: s.Trust, Revision: s.Revision}
	if s.Kind == reference.SourceGit || s.Kind == reference.SourceOCI {
		out.SHA256 = sum
	}
	place, isLayout := strings.CutPrefix(s.Name, "oci:")
	if s.Kind != reference.SourcePath && (s.Kind != reference.SourceOCI || !isLayout) {
		return out, nil
	}
	base := path.Base(place)
	if !filepath.IsLocal(base) || base == "." || strings.ContainsRune(base, '\\') {
		return out, fmt.Errorf("%.200q names no file", s.Name)
	}
	if out.Name = base; isLayout && s.Kind == reference.SourceOCI {
		out.Name = "oci:" + base
	}
	for _, o := range d.Sources {
		if o.Kind == out.Kind && o.Name == out.Name && o.Pin != out.Pin {
			return out, fmt.Errorf("%.200q has the name of another source, and both were to lie beside the recipe", s.Name)
		}
	}
	line := fmt.Sprintf("Put %s with the digest below beside this file.", base)
	if base != place {
		line += fmt.Sprintf(" It was %.200q.", place)
	}
	d.head = append(d.head, line)
	return out, nil
}

// files are subjects as files.
func files(subjects []statement.Subject) []reference.File {
	var out []reference.File
	for _, s := range subjects {
		out = append(out, reference.File{Name: s.Name, Size: -1, SHA256: s.Digest["sha256"]})
	}
	return out
}
