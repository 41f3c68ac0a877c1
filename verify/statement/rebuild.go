package statement

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// RebuildType is the build type of the provenance that assay states of what it rebuilt: see [Rebuild].
const RebuildType = "https://assay.dev/rebuild/v1"

// RebuildBuilder is the builder of that provenance: the program, on whatever machine. Who ran it is said by who signed.
const RebuildBuilder = "https://assay.dev/assay"

// A Rebuild is a predicate of type [ProvenanceType], SLSA provenance v1 (https://slsa.dev/spec/v1.0/provenance), of the
// build type [RebuildType]: a recipe was run in a sandbox without a network, n times, and every time the outputs were
// the same bytes. Its subjects are the outputs in the order of the recipe, each under the last element of its path, with
// sha256 and sha512.
//
// The external parameters are the recipe, all that is needed to build again; format and meaning are those of a recipe's
// keys. There are no internal parameters but the sandbox. The resolved dependencies are, in this order,
//
//   - the recipe itself, a file;
//   - one per source: name is the file's, digest its sha256 and, of a source that is a git commit or says to be of one,
//     gitCommit; uri says where it was fetched, if it was: URL, git+URL@COMMIT, docker://…@sha256:… or
//     pkg:deb/debian/NAME@VERSION?arch=source. Of a commit, an image or a package the sha256 is that of the tar that
//     assay makes of it, the same one for the same pin;
//   - the root file system, if tools come from one;
//   - one per tool that the recipe names: digest is the program's, the annotation version the first line that it
//     answers --version with.
//
// The byproducts are the logs of the builds and the files with symbols. There is no metadata and no time: the same
// builds give the same statement, if their logs are the same.
type Rebuild struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// A BuildDefinition says what was built and of what.
type BuildDefinition struct {
	BuildType            string             `json:"buildType"` // RebuildType
	ExternalParameters   RecipeParameters   `json:"externalParameters"`
	InternalParameters   InternalParameters `json:"internalParameters"`
	ResolvedDependencies []Resource         `json:"resolvedDependencies"`
}

// RecipeParameters are a recipe.
type RecipeParameters struct {
	Sources   []RecipeSource  `json:"sources"`
	Toolchain RecipeToolchain `json:"toolchain"`
	Env       []string        `json:"env"`   // NAME=VALUE, the whole environment, sorted
	Steps     [][]string      `json:"steps"` // argument lists
	Outputs   []RecipeOutput  `json:"outputs"`
	Limits    RecipeLimits    `json:"limits"`
	Builds    int             `json:"builds"` // made, all with the same outputs

	Vary   []string        `json:"vary,omitempty"`     // factors that the builds after the first differed in
	Set    []RecipeSetting `json:"settings,omitempty"` // of every build, in place of what the recipe says
	Replay int             `json:"replay,omitempty"`   // counterfactual rebuilds that the recipe allows

	ReplayValues []string `json:"replayValues,omitempty"` // what may be put in by them; absent for anything
}

// A RecipeSource is a source as the recipe names it.
type RecipeSource struct {
	Kind     string `json:"kind"` // path, url, git, oci or debian
	Name     string `json:"name"`
	Version  string `json:"version,omitempty"`
	Pin      string `json:"pin"`                // sha256; of git the commit, of oci sha256:HEX of the manifest, of debian the sha256 of the .dsc
	At       string `json:"at,omitempty"`       // absent of a root file system
	Trust    bool   `json:"trust,omitempty"`    // taken on trust
	Revision string `json:"revision,omitempty"` // the commit that it is said to be of
}

// A RecipeToolchain is the host's tools, or a root file system and tools in it.
type RecipeToolchain struct {
	Host   []string      `json:"host,omitempty"`
	Rootfs *RecipeSource `json:"rootfs,omitempty"`
	Tools  []string      `json:"tools,omitempty"`
}

// A RecipeOutput is a file that was built, and the one with its symbols.
type RecipeOutput struct {
	Path    string `json:"path"`
	Symbols string `json:"symbols,omitempty"`
}

// RecipeLimits bound each build.
type RecipeLimits struct {
	Time      string `json:"time"`   // a duration of Go, as 10m0s
	Memory    int64  `json:"memory"` // bytes
	Output    int64  `json:"output"` // bytes
	Processes int    `json:"processes"`
}

// A RecipeSetting fixes one thing of a build's surroundings.
type RecipeSetting struct {
	Factor string `json:"factor"`
	Tool   string `json:"tool,omitempty"`
	Value  string `json:"value"`
}

// InternalParameters are what the builder chose.
type InternalParameters struct {
	Sandbox string `json:"sandbox"` // back end
}

// A Resource is a ResourceDescriptor of the in-toto attestation framework v1.
type Resource struct {
	Name        string            `json:"name"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest"` // sha256 always, gitCommit beside it
	Annotations map[string]string `json:"annotations,omitempty"`
}

// RunDetails say who built, and what was left besides the outputs.
type RunDetails struct {
	Builder    Builder    `json:"builder"`
	Byproducts []Resource `json:"byproducts"`
}

// A Builder is what built.
type Builder struct {
	ID      string            `json:"id"`      // RebuildBuilder
	Version map[string]string `json:"version"` // of assay
}

// Statement states the predicate of the outputs. It refuses one that contradicts itself.
func (p *Rebuild) Statement(outputs ...Subject) (*Statement, error) {
	if err := p.check(outputs); err != nil {
		return nil, trouble("build again", "%v", err)
	}
	return New(ProvenanceType, p, outputs...)
}

// Rebuild returns the predicate of a statement of a rebuild; ok is false of other statements.
func (s *Statement) Rebuild() (p *Rebuild, ok bool) {
	p = &Rebuild{}
	if s.PredicateType != ProvenanceType || exactly(s.Predicate, p) != nil || p.check(s.Subject) != nil {
		return nil, false
	}
	return p, true
}

func (s *Statement) checkRebuild() error {
	p := &Rebuild{}
	if err := exactly(s.Predicate, p); err != nil {
		return fmt.Errorf("predicate: %w", err)
	}
	if err := p.check(s.Subject); err != nil {
		return fmt.Errorf("predicate: %w", err)
	}
	return nil
}

func (p *Rebuild) check(outputs []Subject) error {
	def, e := &p.BuildDefinition, &p.BuildDefinition.ExternalParameters
	switch {
	case def.BuildType != RebuildType:
		return fmt.Errorf("its buildType is %.100q, and assay states %s", def.BuildType, RebuildType)
	case p.RunDetails.Builder.ID != RebuildBuilder || p.RunDetails.Builder.Version["assay"] == "" || len(p.RunDetails.Builder.Version) != 1:
		return fmt.Errorf("its builder is not %s in a version of assay", RebuildBuilder)
	case len(e.Sources) == 0 || len(e.Steps) == 0 || len(e.Outputs) == 0 || e.Env == nil || def.InternalParameters.Sandbox == "":
		return errors.New("sources, steps, outputs, env or the sandbox is missing")
	case e.Builds < 1 || e.Limits.Time == "" || e.Limits.Memory < 1 || e.Limits.Output < 1 || e.Limits.Processes < 1:
		return errors.New("builds and limits must be positive")
	case (e.Toolchain.Rootfs == nil) == (len(e.Toolchain.Host) == 0) || e.Toolchain.Rootfs == nil && len(e.Toolchain.Tools) > 0:
		return errors.New("its toolchain is neither the host's nor a root file system's")
	case !slices.IsSorted(e.Env):
		return errors.New("its environment is not sorted")
	}
	if slices.ContainsFunc(e.Steps, func(step []string) bool { return len(step) == 0 || step[0] == "" }) {
		return errors.New("a step names no program")
	}
	if err := e.checkOutputs(outputs, p.RunDetails.Byproducts); err != nil {
		return err
	}
	return p.checkDependencies()
}

// checkOutputs wants one subject for each output, and the symbols among the byproducts.
func (e *RecipeParameters) checkOutputs(outputs []Subject, byproducts []Resource) error {
	if len(outputs) != len(e.Outputs) {
		return fmt.Errorf("it has %d subjects for %d outputs", len(outputs), len(e.Outputs))
	}
	names := map[string]bool{}
	for i, o := range outputs {
		switch {
		case o.Name != path.Base(e.Outputs[i].Path):
			return fmt.Errorf("subject[%d] is %.100q, and that output is %.100q", i, o.Name, e.Outputs[i].Path)
		case o.Digest["sha512"] == "":
			return fmt.Errorf("subject[%d] has no sha512", i)
		case names[o.Name]:
			return fmt.Errorf("two subjects are called %.100q", o.Name)
		}
		names[o.Name] = true
	}
	if len(byproducts) == 0 {
		return errors.New("it has no log among its byproducts")
	}
	for i := range byproducts {
		if err := byproducts[i].check(); err != nil {
			return fmt.Errorf("byproducts[%d]: %w", i, err)
		}
	}
	return nil
}

// checkDependencies wants the recipe, its sources, its root file system and its tools, in this order.
func (p *Rebuild) checkDependencies() error {
	e, deps := &p.BuildDefinition.ExternalParameters, p.BuildDefinition.ResolvedDependencies
	for i := range deps {
		if err := deps[i].check(); err != nil {
			return fmt.Errorf("resolvedDependencies[%d]: %w", i, err)
		}
	}
	inputs := slices.Clone(e.Sources)
	for i := range inputs {
		if inputs[i].At == "" {
			return fmt.Errorf("sources[%d] has no place", i)
		}
	}
	if r := e.Toolchain.Rootfs; r != nil {
		inputs = append(inputs, *r)
	}
	tools := slices.Concat(e.Toolchain.Host, e.Toolchain.Tools)
	if len(deps) != 1+len(inputs)+len(tools) {
		return fmt.Errorf("it has %d resolved dependencies, where the recipe, %d sources and root file systems and %d tools make %d",
			len(deps), len(inputs), len(tools), 1+len(inputs)+len(tools))
	}
	for i := range inputs {
		if err := inputs[i].is(&deps[1+i]); err != nil {
			return fmt.Errorf("resolvedDependencies[%d]: %w", 1+i, err)
		}
	}
	for i, name := range tools {
		if d := &deps[1+len(inputs)+i]; d.Name != name {
			return fmt.Errorf("resolvedDependencies[%d] is %.100q, where the tool %.100q is expected", 1+len(inputs)+i, d.Name, name)
		}
	}
	return nil
}

// is says why a dependency is not the one that a source pins, or nil.
func (s *RecipeSource) is(d *Resource) error {
	commit := s.Revision
	switch s.Kind {
	case "path", "url":
		if d.Digest["sha256"] != s.Pin {
			return errors.New("it is not the file that its source pins")
		}
	case "git":
		commit = s.Pin
	case "oci":
		if hex, ok := strings.CutPrefix(s.Pin, "sha256:"); !ok || !isHex(hex, 32) {
			return errors.New("its source pins no manifest")
		}
	case "debian":
		if !isHex(s.Pin, 32) || s.Version == "" {
			return errors.New("its source pins no .dsc of a version")
		}
	default:
		return fmt.Errorf("the kind of its source is %.40q", s.Kind)
	}
	if d.Digest["gitCommit"] != commit {
		return errors.New("it is not of the commit of its source")
	}
	if d.URI != s.uri() {
		return fmt.Errorf("its uri is %.200q, and its source is %.200q", d.URI, s.uri())
	}
	return nil
}

// uri is where a source was fetched, or "".
func (s *RecipeSource) uri() string {
	switch s.Kind {
	case "url":
		return s.Name
	case "git":
		return "git+" + s.Name + "@" + s.Pin
	case "oci":
		if strings.HasPrefix(s.Name, "docker://") {
			return s.Name + "@" + s.Pin
		}
	case "debian":
		return "pkg:deb/debian/" + s.Name + "@" + s.Version + "?arch=source"
	}
	return ""
}

// Dependency is the resolved dependency of a source: the file that was built of, and its sha256.
func (s *RecipeSource) Dependency(file, sha256 string) Resource {
	d := Resource{Name: file, URI: s.uri(), Digest: map[string]string{"sha256": sha256}}
	switch {
	case s.Kind == "git":
		d.Digest["gitCommit"] = s.Pin
	case s.Revision != "":
		d.Digest["gitCommit"] = s.Revision
	}
	return d
}

func (r *Resource) check() error {
	if r.Name == "" || len(r.Name) > maxName {
		return fmt.Errorf("its name has %d bytes, where 1 to %d are allowed", len(r.Name), maxName)
	}
	digest := maps.Clone(r.Digest)
	if commit, ok := digest["gitCommit"]; ok {
		if !isHex(commit, 20) && !isHex(commit, 32) {
			return fmt.Errorf("its gitCommit is no full commit: %.140q", commit)
		}
		delete(digest, "gitCommit")
	}
	return checkDigest(digest)
}
