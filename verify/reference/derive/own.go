package derive

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/reference/sandbox"
	"github.com/assaylab/assay/verify/statement"
)

// State states what was rebuilt: the outputs of builds that agree, how they were made and of what. version is that of
// assay. Builds that disagree have no outputs to state: the error is a *[reference.DisagreeError].
func State(r *reference.Recipe, res *reference.Result, version string) (*statement.Statement, error) {
	b := &res.Build
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
			Byproducts: []statement.Resource{},
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
	by := &p.RunDetails.Byproducts
	for _, l := range res.Logs {
		*by = append(*by, resource(l))
	}
	var outputs []statement.Subject
	for _, o := range b.Outputs {
		ref, err := res.Reference(o.Path)
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, statement.Subject{
			Name: path.Base(o.Path), Digest: map[string]string{"sha256": ref.Origin.SHA256, "sha512": ref.Origin.SHA512},
		})
		if len(o.Symbols) > 0 {
			*by = append(*by, resource(o.Symbols[0]))
		}
	}
	return p.Statement(outputs...)
}

func resource(f reference.File) statement.Resource {
	return statement.Resource{Name: f.Name, Digest: map[string]string{"sha256": f.SHA256}}
}

func parameters(r *reference.Recipe, b *reference.Rebuilt) statement.RecipeParameters {
	e := statement.RecipeParameters{
		Env: r.Env, Builds: b.Builds, Vary: b.Vary, Replay: r.Replay,
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

// Agrees says why a statement of a rebuild is not of the builds that a record has, or nil. Where the record is digested
// with other evidence, a statement that agrees was made from it.
func Agrees(s *statement.Statement, b *reference.Rebuilt) error {
	p, ok := s.Rebuild()
	if !ok {
		return errors.New("it is not a statement of a rebuild")
	}
	e, deps := &p.BuildDefinition.ExternalParameters, p.BuildDefinition.ResolvedDependencies
	if b.Agree != b.Builds || e.Builds != b.Builds {
		return fmt.Errorf("it states %d builds that agree, and %d of %d do", e.Builds, b.Agree, b.Builds)
	}
	if !slices.Equal(e.Env, b.Env) || !slices.Equal(e.Vary, b.Vary) || p.BuildDefinition.InternalParameters.Sandbox != b.Sandbox {
		return errors.New("it states another environment, variation or sandbox")
	}
	if len(e.Set) != len(b.Set) {
		return errors.New("it states other settings")
	}
	for i, set := range e.Set {
		if reference.Setting(set) != b.Set[i] {
			return fmt.Errorf("it states another setting than %s", b.Set[i])
		}
	}
	if len(s.Subject) != len(b.Outputs) {
		return fmt.Errorf("it states %d outputs, and %d were built", len(s.Subject), len(b.Outputs))
	}
	for i, o := range b.Outputs {
		if e.Outputs[i].Path != o.Path || len(o.Builds) == 0 || s.Subject[i].Digest["sha256"] != o.Builds[0].SHA256 {
			return fmt.Errorf("its output %q is not the one that was built", s.Subject[i].Name)
		}
	}
	used := []string{b.Recipe.SHA256}
	for i, src := range b.Sources {
		if i >= len(e.Sources) || src.At != e.Sources[i].At || src.Trust != e.Sources[i].Trust {
			return fmt.Errorf("it does not state the source %q as it was used", src.Name)
		}
		used = append(used, src.SHA256)
	}
	if b.Rootfs != nil {
		used = append(used, b.Rootfs.SHA256)
	}
	for _, t := range b.Tools {
		used = append(used, t.SHA256)
	}
	if len(used) != len(deps) {
		return fmt.Errorf("it states %d resolved dependencies, and the builds had %d", len(deps), len(used))
	}
	for i, sum := range used {
		if deps[i].Digest["sha256"] != sum {
			return fmt.Errorf("%q is not what the builds had", deps[i].Name)
		}
	}
	return nil
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
		Env:       e.Env, Builds: e.Builds, Vary: e.Vary, Replay: e.Replay,
		Limits: sandbox.Limits{Time: limit, Memory: e.Limits.Memory, Output: e.Limits.Output, Processes: e.Limits.Processes},
	}}
	d.head = []string{fmt.Sprintf("The recipe of a rebuild by assay %s.", p.RunDetails.Builder.Version["assay"])}
	for i, src := range e.Sources {
		d.Sources = append(d.Sources, source(src, deps[1+i].Digest["sha256"]))
		if src.Kind == "path" {
			d.head = append(d.head, fmt.Sprintf("Put %s with the sha256 below beside this file.", src.Name))
		}
	}
	tools := deps[1+len(e.Sources):]
	if r := e.Toolchain.Rootfs; r != nil {
		s := source(*r, tools[0].Digest["sha256"])
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

// source is a source of a statement, with the sha256 of the tar where one was made of it.
func source(s statement.RecipeSource, sum string) reference.Source {
	out := reference.Source{Kind: s.Kind, Name: s.Name, Version: s.Version, Pin: s.Pin, At: s.At, Trust: s.Trust, Revision: s.Revision}
	if s.Kind == reference.SourceGit || s.Kind == reference.SourceOCI {
		out.SHA256 = sum
	}
	return out
}

// files are subjects as files.
func files(subjects []statement.Subject) []reference.File {
	var out []reference.File
	for _, s := range subjects {
		out = append(out, reference.File{Name: s.Name, Size: -1, SHA256: s.Digest["sha256"]})
	}
	return out
}
