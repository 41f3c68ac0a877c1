package provenance

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Build types of v1 that say by themselves where the source is named: the workflow
// of GitHub Actions, as GitHub and as the SLSA community define it, the worker of
// Google Cloud Build, and assay's own rebuilds.
const (
	githubWorkflow    = "https://actions.github.io/buildtypes/workflow/v1"
	communityWorkflow = "https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1"
	cloudBuild        = "https://cloud.google.com/build/gcb-buildtypes/google-worker/v1"
	ownRebuild        = "https://assay.dev/rebuild/v1" // package statement states it
)

// maxSources is how many dependencies a parameter can point to, at several refs for
// example.
const maxSources = 16

// sourceV02 takes invocation.configSource. A material with its URI is the same thing,
// and must have its digest.
func (v *Provenance) sourceV02(config Resource) {
	v.SourceBy = "invocation.configSource"
	if config.URI == "" && len(config.Digest) == 0 {
		v.unknown("invocation.configSource names nothing")
		return
	}
	if config.URI != "" {
		for _, d := range v.Dependencies {
			if sameURI(config.URI, d.URI) && !config.take(d) {
				v.unknown(fmt.Sprintf("invocation.configSource and materials give %s different digests", quote(config.URI)))
				return
			}
		}
	}
	v.Sources = []Resource{config}
}

func (v *Provenance) sourceV1(external json.RawMessage) error {
	switch v.BuildType {
	case githubWorkflow, communityWorkflow:
		return v.checkedOut(external, "workflow")
	case cloudBuild:
		// sourceToBuild is absent where it is buildConfigSource. The steps can be
		// given with the request instead: then no repository says what was built.
		if err := v.checkedOut(external, "buildConfigSource", "sourceToBuild"); err != nil {
			return err
		}
		if slices.Contains(v.Parameters, "buildConfig") {
			v.unknown("the steps of the build were given with the request, in externalParameters.buildConfig")
		}
		return nil
	case ownRebuild:
		return v.rebuilt(external)
	}
	return v.conventional(external)
}

// rebuilt takes the sources of a recipe that are not taken on trust. The resolved
// dependencies are the recipe and then, in their order, what the sources came to.
func (v *Provenance) rebuilt(external json.RawMessage) error {
	at := 0 // of the source's dependency
	err := object(external, func(key string, value json.RawMessage) error {
		if key != "sources" {
			return v.noteParameter(key, value)
		}
		return array(value, func(value json.RawMessage) error {
			at++
			trust := false
			err := object(value, func(key string, value json.RawMessage) error {
				if key == "trust" && !isNull(value) {
					return json.Unmarshal(value, &trust)
				}
				return nil
			})
			if err == nil && !trust && at < len(v.Dependencies) {
				d := v.Dependencies[at]
				v.Sources = append(v.Sources, Resource{URI: d.URI, Name: d.Name, Digest: maps.Clone(d.Digest)})
			}
			return err
		})
	})
	switch {
	case err != nil:
		return err
	case at >= len(v.Dependencies):
		v.unknown(fmt.Sprintf("externalParameters.sources names %d, and there are %d resolved dependencies", at, len(v.Dependencies)))
	case len(v.Sources) == 0:
		v.unknown("externalParameters.sources names none but what was taken on trust")
	default:
		v.SourceBy = "externalParameters.sources"
	}
	return nil
}

// checkedOut takes the sources from parameters that are objects with a repository, a
// ref and a path. The first parameter must be there.
func (v *Provenance) checkedOut(external json.RawMessage, names ...string) error {
	wanted := make([]*location, len(names))
	err := object(external, func(key string, value json.RawMessage) error {
		i := slices.Index(names, key)
		if i < 0 || isNull(value) {
			return v.noteParameter(key, value)
		}
		l, path, err := checkout(value)
		wanted[i] = &l
		if i == 0 {
			v.EntryPoint = path
		}
		return err
	})
	if err != nil {
		return err
	}
	if wanted[0] == nil {
		v.unknown(fmt.Sprintf("externalParameters.%s is missing, which under build type %s names the source", names[0], quote(v.BuildType)))
		return nil
	}
	for i, l := range wanted {
		if l == nil {
			continue
		}
		v.point("externalParameters."+names[i], func(d Resource) bool {
			have, err := locate(d.URI)
			return err == nil && have == *l
		}, nil)
	}
	return nil
}

func checkout(value json.RawMessage) (l location, path string, err error) {
	var repository, ref string
	err = object(value, func(key string, value json.RawMessage) error {
		switch key {
		case "repository":
			return uri(value, &repository)
		case "ref":
			return uri(value, &ref)
		case "path":
			return text(value, &path)
		}
		return nil
	})
	if err != nil {
		return l, "", err
	}
	l, err = locate(repository)
	switch {
	case err != nil:
		return l, "", fmt.Errorf("the repository is %s: %w", quote(repository), err)
	case l.ref != "" || l.fragment != "":
		return l, "", fmt.Errorf("the repository is %s, with a ref or a fragment", quote(repository))
	case !isRef(ref):
		return l, "", fmt.Errorf("the ref is %s, neither refs/... nor a commit", quote(ref))
	}
	l.ref = ref
	return l, path, nil
}

// conventional takes externalParameters.source, a URI or a ResourceDescriptor, or
// else the only resolved dependency.
func (v *Provenance) conventional(external json.RawMessage) error {
	var source *Resource
	err := object(external, func(key string, value json.RawMessage) error {
		if key != "source" || isNull(value) {
			return v.noteParameter(key, value)
		}
		source = &Resource{}
		var err error
		if isString(value) {
			err = uri(value, &source.URI)
		} else {
			err = resource(value, source)
		}
		if err == nil && source.URI == "" && len(source.Digest) == 0 {
			err = errors.New("source: names nothing")
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case source != nil:
		v.point("externalParameters.source", func(d Resource) bool {
			if source.URI == "" {
				return d.agrees(source.Digest)
			}
			return sameURI(source.URI, d.URI)
		}, source.Digest)
	case len(v.Dependencies) == 1:
		v.SourceBy = "the only resolved dependency"
		v.Sources = slices.Clone(v.Dependencies)
	default:
		v.unknown(fmt.Sprintf("build type %s does not tell which of the dependencies is the source: %s", quote(v.BuildType), v.list()))
	}
	return nil
}

// point adds the source that a parameter points to: each dependency for which is
// holds. Nothing of the parameter itself enters the source, because whoever started
// the build wrote it; but its digests, if it has any, must be those of the dependency.
func (v *Provenance) point(parameter string, is func(Resource) bool, digests map[string]string) {
	if v.SourceUnknown != "" {
		return
	}
	found := false
	for _, d := range v.Dependencies {
		if !is(d) {
			continue
		}
		found = true
		if len(digests) > 0 && !d.agrees(digests) {
			v.unknown(fmt.Sprintf("%s has not the digest of the dependency that it points to, %s", parameter, d.describe()))
			return
		}
		i := slices.IndexFunc(v.Sources, func(s Resource) bool { return s.URI == d.URI })
		if i < 0 && len(v.Sources) == maxSources {
			v.unknown(fmt.Sprintf("%s points to more than %d dependencies", parameter, maxSources))
			return
		}
		if i < 0 {
			v.Sources = append(v.Sources, Resource{URI: d.URI, Name: d.Name, Digest: maps.Clone(d.Digest)})
		} else if !v.Sources[i].take(d) {
			v.unknown(fmt.Sprintf("%s points to a dependency that is listed with different digests, %s", parameter, d.describe()))
			return
		}
	}
	if !found {
		v.unknown(fmt.Sprintf("%s points to no resolved dependency: %s", parameter, v.list()))
		return
	}
	if v.SourceBy != "" {
		v.SourceBy += " and "
	}
	v.SourceBy += parameter
}

// take adds the digests of another description of r. It reports false where the two
// are not seen to describe one thing.
func (r *Resource) take(d Resource) bool {
	switch {
	case len(d.Digest) == 0:
		return true
	case len(r.Digest) == 0:
		r.Digest = maps.Clone(d.Digest)
		return true
	case !r.agrees(d.Digest):
		return false
	}
	maps.Copy(r.Digest, d.Digest)
	return true
}

func (v *Provenance) unknown(why string) {
	v.Sources, v.SourceBy, v.SourceUnknown = nil, "", why
}

// list names some of the dependencies.
func (v *Provenance) list() string {
	const most = 8
	if len(v.Dependencies) == 0 {
		return "there are none"
	}
	var names []string
	for _, d := range v.Dependencies[:min(most, len(v.Dependencies))] {
		names = append(names, d.describe())
	}
	if more := len(v.Dependencies) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

func (r Resource) describe() string {
	switch {
	case r.URI != "":
		return quote(r.URI)
	case r.Name != "":
		return quote(r.Name)
	case len(r.Digest) > 0:
		return r.digests()
	}
	return "one without a name"
}

// digests lists what is known, in the order of the names.
func (r Resource) digests() string {
	if len(r.Digest) == 0 {
		return "no digest"
	}
	var out []string
	for _, alg := range slices.Sorted(maps.Keys(r.Digest)) {
		out = append(out, alg+":"+r.Digest[alg])
	}
	return strings.Join(out, " ")
}
