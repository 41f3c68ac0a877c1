package derive

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/assaylab/assay/verify/internal/strictjson"
	"github.com/assaylab/assay/verify/provenance"
	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/reference/sandbox"
	"github.com/assaylab/assay/verify/statement"
)

// containerBuild is the build type of the SLSA community's container-based builder, whose externalParameters are
//
//	source        what is checked out, a ResourceDescriptor
//	builderImage  the image that the command is run in, with its digest
//	configPath    where in the source the next one was read
//	buildConfig   {"ArtifactPath": glob, "Command": [argument, ...]}
const containerBuild = "https://slsa.dev/container-based-build/v0.1"

// FromProvenance makes a recipe of provenance, the predicate of a statement whose signature the caller has verified.
// subjects are those of the statement: what was built.
//
// Sources become sources of a recipe at the digests that the builder gives them: a git repository at its commit, a file
// behind an address or of a name at its sha256. A source without a digest becomes none.
func FromProvenance(predicateType string, predicate []byte, subjects []statement.Subject) (*Derived, error) {
	v, err := provenance.Parse(predicateType, predicate)
	if err != nil {
		return nil, err
	}
	if v.BuildType == statement.RebuildType {
		s := &statement.Statement{Type: statement.Type, Subject: subjects, PredicateType: predicateType, Predicate: predicate}
		return own(s)
	}
	params, err := provenance.Parameters(predicateType, predicate)
	if err != nil {
		return nil, err
	}
	d := &draft{head: []string{
		"A recipe made of provenance.",
		fmt.Sprintf("Builder: %q", v.BuilderID),
		fmt.Sprintf("Build type: %q", v.BuildType),
	}, outputs: files(subjects)}
	if v.SourceUnknown != "" {
		d.lack("the source: %s", v.SourceUnknown)
	}
	place := placer()
	for _, s := range v.Sources {
		d.addSource(s, place())
	}
	base, _, _ := strings.Cut(v.BuildType, "?")
	if base == containerBuild {
		err = d.container(params, place)
	} else {
		d.unknownSteps(v, params)
	}
	if err != nil {
		return nil, err
	}
	for _, r := range v.Dependencies {
		if !slices.ContainsFunc(v.Sources, func(s provenance.Resource) bool { return s.URI == r.URI && s.Name == r.Name }) {
			d.lack("the dependency %s", describe(r))
		}
	}
	d.fillIn()
	return d.finish()
}

// placer gives places for sources: /src, /src2, ...
func placer() func() string {
	n := 0
	return func() string {
		if n++; n == 1 {
			return "/src"
		}
		return fmt.Sprintf("/src%d", n)
	}
}

// addSource makes a source of a resource, if it has a digest that pins it.
func (d *draft) addSource(r provenance.Resource, at string) {
	s, why := sourceOf(r)
	if why != "" {
		d.lack("the source %s: %s", describe(r), why)
		return
	}
	s.At = at
	if s.Kind == reference.SourcePath {
		d.head = append(d.head, fmt.Sprintf("Put %s, the source %s, beside this file.", s.Name, describe(r)))
	}
	d.Sources = append(d.Sources, s)
}

// sourceOf says which source of a recipe a resource is, or why it is none.
func sourceOf(r provenance.Resource) (s reference.Source, why string) {
	address, isGit := strings.CutPrefix(r.URI, "git+")
	commit := r.Digest["gitCommit"]
	if commit == "" && isGit {
		commit = r.Digest["sha1"]
	}
	sum := r.Digest["sha256"]
	u, err := url.Parse(address)
	web := err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
	switch {
	case commit != "" && web:
		u.Fragment = ""
		if i := strings.LastIndex(u.Path, "@"); i > 0 { // the ref, which is not needed beside the commit
			u.Path, u.RawPath = u.Path[:i], ""
		}
		return reference.Source{Kind: reference.SourceGit, Name: u.String(), Pin: commit}, ""
	case commit != "":
		return s, "its address is not one that git is fetched from by https or http"
	case sum == "":
		return s, "it has neither a gitCommit nor a sha256"
	case web && !isGit:
		u.Fragment = ""
		return reference.Source{Kind: reference.SourceURL, Name: u.String(), Pin: sum}, ""
	}
	name := path.Base(r.Name)
	if r.Name == "" && u != nil {
		name = path.Base(u.Path)
	}
	if name == "." || name == "/" || name == ".." {
		name = "source"
	}
	return reference.Source{Kind: reference.SourcePath, Name: name, Pin: sum}, ""
}

func describe(r provenance.Resource) string {
	name := r.URI
	if name == "" {
		name = r.Name
	}
	line := fmt.Sprintf("%q", name)
	for _, alg := range []string{"gitCommit", "sha1", "sha256", "sha512"} {
		if r.Digest[alg] != "" {
			line += " " + alg + ":" + r.Digest[alg]
		}
	}
	return line
}

// container maps the parameters of a container-based build.
func (d *draft) container(params []provenance.Parameter, place func() string) error {
	for _, p := range params {
		switch p.Name {
		case "source":
			r, err := p.Resource()
			if err != nil {
				return fmt.Errorf("externalParameters: %w", err)
			}
			// The source is what the builder resolved; of this builder the parameter is that too, since it checks the
			// digest out and lists as dependencies only its own tools.
			if len(d.Sources) == 0 {
				d.unmapped = slices.DeleteFunc(d.unmapped, func(s string) bool { return strings.HasPrefix(s, "the source") })
				d.addSource(r, place())
			}
		case "builderImage":
			r, err := p.Resource()
			if err != nil {
				return fmt.Errorf("externalParameters: %w", err)
			}
			d.image(r)
		case "configPath":
			file, err := p.Text()
			if err != nil {
				return fmt.Errorf("externalParameters: %w", err)
			}
			d.head = append(d.head, fmt.Sprintf("The command was read from %q of the source.", file))
		case "buildConfig", "config":
			if err := d.command(p); err != nil {
				return fmt.Errorf("externalParameters: %w", err)
			}
		default:
			d.lack("the parameter %s", value(p))
		}
	}
	d.lack("the environment of the builder's image, its user and its working directory /workspace: the steps start in the source's own directory")
	return nil
}

// image takes the root file system from an image.
func (d *draft) image(r provenance.Resource) {
	sum := r.Digest["sha256"]
	name, pin, _ := strings.Cut(r.URI, "@")
	name = strings.TrimPrefix(strings.TrimPrefix(name, "docker://"), "pkg:docker/")
	if sum == "" {
		sum = strings.TrimPrefix(pin, "sha256:")
	}
	if first, _, ok := strings.Cut(name, "/"); !ok || !strings.ContainsAny(first, ".:") && first != "localhost" {
		d.lack("the registry of the builder's image %q: its name says none", r.URI)
		name = reference.FillIn + ": host/" + name
	}
	if len(sum) != 64 {
		d.lack("the builder's image %q: it has no sha256", r.URI)
		return
	}
	name = "docker://" + name
	if i := strings.Index(name, reference.FillIn); i > 0 {
		name = name[i:]
	}
	d.Toolchain.Rootfs = &reference.Source{Kind: reference.SourceOCI, Name: name, Pin: "sha256:" + sum}
}

// command takes the step and the outputs.
func (d *draft) command(p provenance.Parameter) error {
	fields, err := p.Fields()
	if err != nil {
		return err
	}
	for _, f := range fields {
		switch strings.ToLower(strings.ReplaceAll(f.Name, "_", "")) {
		case "command":
			words, err := f.Texts()
			if err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
			if len(words) == 0 || words[0] == "" {
				return fmt.Errorf("%s: %s: names no program", p.Name, f.Name)
			}
			d.Steps = append(d.Steps, words)
		case "artifactpath":
			glob, err := f.Text()
			if err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
			d.artifacts(glob)
		default:
			d.lack("the parameter %s of %s", value(f), p.Name)
		}
	}
	return nil
}

// artifacts places the subjects where a glob says that they are.
func (d *draft) artifacts(glob string) {
	dir := path.Dir(glob)
	if strings.ContainsAny(dir, "*?[\\") || sandbox.CheckOutput(path.Clean(glob)) != nil || strings.Contains(glob, "**") {
		d.lack("where the outputs lie below %q: the pattern does not say in which directory each is", glob)
		return
	}
	for _, o := range d.outputs {
		name := path.Join(dir, o.Name)
		if matched, err := path.Match(glob, name); err != nil || !matched || path.Base(o.Name) != o.Name {
			d.lack("the output %q: it does not lie where %q says", o.Name, glob)
			continue
		}
		d.Recipe.Outputs = append(d.Recipe.Outputs, reference.OutputSpec{Path: name})
	}
}

// unknownSteps says what provenance of another build type tells of the steps: where they stand, if anything.
func (d *draft) unknownSteps(v *provenance.Provenance, params []provenance.Parameter) {
	d.lack("the steps and the tools: its build type does not say them")
	if v.EntryPoint != "" {
		d.lack("what was run, %q of the source: read there what the steps are", v.EntryPoint)
	}
	for _, p := range params {
		d.lack("the parameter %s", value(p))
	}
}

// value is a parameter for a person to read.
func value(p provenance.Parameter) string {
	return fmt.Sprintf("%q: %.300s", p.Name, strings.Join(strings.Fields(string(p.Value)), " "))
}

// fillIn marks what a recipe needs and the record does not say.
func (d *draft) fillIn() {
	if len(d.Sources) == 0 {
		d.Sources = []reference.Source{{Kind: reference.SourcePath, Name: reference.FillIn + ": an archive beside this file", Pin: reference.FillIn + ": its sha256", At: "/src"}}
	}
	if d.Toolchain.Rootfs == nil && d.Toolchain.Host == nil {
		d.Toolchain.Host = []string{reference.FillIn + ": the tools, such as make and gcc"}
	}
	if len(d.Steps) == 0 {
		d.Steps = []sandbox.Step{{reference.FillIn + ": what is run, such as make and all"}}
	}
	if len(d.Recipe.Outputs) == 0 {
		for _, o := range d.outputs {
			d.Recipe.Outputs = append(d.Recipe.Outputs, reference.OutputSpec{Path: reference.FillIn + ": where the steps put " + path.Base(o.Name)})
		}
	}
	if len(d.Recipe.Outputs) == 0 {
		d.Recipe.Outputs = []reference.OutputSpec{{Path: reference.FillIn + ": what the steps make"}}
	}
}

// FromStatement is FromProvenance of an in-toto statement, v0.1 or v1: the payload of an envelope whose signature the
// caller has verified.
func FromStatement(payload []byte) (*Derived, error) {
	if err := strictjson.CheckShape(payload); err != nil {
		return nil, fmt.Errorf("the statement: %w", err)
	}
	if err := strictjson.Unique(payload); err != nil {
		return nil, fmt.Errorf("the statement: %w", err)
	}
	var s struct {
		Type    string `json:"_type"`
		Subject []struct {
			Name   string            `json:"name"`
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
		PredicateType string          `json:"predicateType"`
		Predicate     json.RawMessage `json:"predicate"`
	}
	if err := json.Unmarshal(payload, &s); err != nil {
		return nil, fmt.Errorf("the statement: %w", err)
	}
	if s.Type != statement.Type && s.Type != "https://in-toto.io/Statement/v0.1" {
		return nil, fmt.Errorf("the statement: its _type is %.100q", s.Type)
	}
	var subjects []statement.Subject
	for _, one := range s.Subject {
		subjects = append(subjects, statement.Subject{Name: one.Name, Digest: one.Digest})
	}
	return FromProvenance(s.PredicateType, s.Predicate, subjects)
}
