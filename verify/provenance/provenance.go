// Package provenance reads what a builder says of a build - who built, how, from
// which source and of what else - and holds it against what is wanted.
//
// It reads the predicates SLSA provenance v0.2 and v1, as slsa.dev/spec/v0.2/provenance
// and slsa.dev/spec/v1.0/provenance define them. The caller has verified the
// signature: the builder is believed. Whoever started the build is not. He chooses
// the parameters, and he can have any repository fetched beside the one that is
// built. Therefore:
//
//   - The source is what the builder names as the source, never any dependency
//     that happens to be the wanted one. In v0.2 this is invocation.configSource.
//     In v1 the build type decides: the workflow of GitHub Actions, the build
//     configuration and the source of Google Cloud Build, the sources of assay's own
//     rebuilds that are not taken on trust; under any other build type
//     externalParameters.source, the name that the specification recommends, or else
//     the only resolved dependency that there is.
//   - In v1 a parameter only points: the digests of the source are those of the
//     resolved dependency it points to, which the builder fetched. Where no
//     dependency is pointed to, or one with two digests, the source is unknown and
//     no policy on it holds.
//   - A build with several sources, such as steps from one repository for the code
//     of another, holds only when each of them is the wanted one.
//   - Predicates are read strictly: by the exact names of keys, none of which may
//     occur twice in an object that is read, with types and digests as specified,
//     within limits. Unknown fields are skipped, as the specifications demand.
//
// What externalParameters.source means is for a build type to say. Under a build type
// that is not known here, a policy on the source relies on that convention, and is as
// good as the builder: ask for the builder, and for the build type too.
//
// Parameters other than the source are named, not judged.
package provenance

import (
	"encoding/json"
	"fmt"

	"github.com/assaylab/assay/verify/internal/strictjson"
)

// Predicate types that [Parse] reads.
const (
	SLSAv02 = "https://slsa.dev/provenance/v0.2"
	SLSAv1  = "https://slsa.dev/provenance/v1"
)

// Is reports whether [Parse] reads predicates of this type.
func Is(predicateType string) bool {
	return predicateType == SLSAv02 || predicateType == SLSAv1
}

// A Resource is an artifact that a build used: a ResourceDescriptor of the in-toto
// attestation framework v1, a ProvenanceMaterial or ConfigSource of SLSA v0.2.
type Resource struct {
	URI    string            `json:"uri,omitempty"`
	Name   string            `json:"name,omitempty"`
	Digest map[string]string `json:"digest,omitempty"` // algorithm, as in a DigestSet, to lower-case hex
}

// A Provenance is what a builder says of one build. The zero value says nothing and
// satisfies no policy.
type Provenance struct {
	PredicateType string `json:"predicate_type"`
	BuilderID     string `json:"builder_id,omitempty"`
	BuildType     string `json:"build_type,omitempty"`

	// Sources are what was built: mostly one. SourceBy is the field that named
	// them. Where there are none, SourceUnknown says why.
	Sources       []Resource `json:"sources,omitempty"`
	SourceBy      string     `json:"source_by,omitempty"`
	SourceUnknown string     `json:"source_unknown,omitempty"`

	// EntryPoint is the file or target of the source that was run: entryPoint of
	// v0.2, the path of a workflow or build configuration of v1. It is not judged.
	EntryPoint string `json:"entry_point,omitempty"`

	// Parameters names what else whoever started the build chose, in the order of
	// the document. The values are not judged.
	Parameters []string `json:"parameters,omitempty"`

	// Dependencies are resolvedDependencies (v1) or materials (v0.2), in the order
	// of the document. The source is among them, mostly.
	Dependencies []Resource `json:"dependencies,omitempty"`
}

// Parse reads a predicate: the JSON object under the key "predicate" of an in-toto
// statement. An error says where the predicate breaks its specification or a limit.
// That the source is unknown is no error; see [Provenance].
func Parse(predicateType string, predicate []byte) (*Provenance, error) {
	v := &Provenance{PredicateType: predicateType}
	var read func(json.RawMessage) error
	switch predicateType {
	case SLSAv02:
		read = v.readV02
	case SLSAv1:
		read = v.readV1
	default:
		return nil, fmt.Errorf("predicates of type %s are not read: provenance is %s or %s", quote(predicateType), SLSAv1, SLSAv02)
	}
	if err := strictjson.CheckShape(predicate); err != nil {
		return nil, fmt.Errorf("%s: %w", predicateType, err)
	}
	if isNull(predicate) {
		return nil, fmt.Errorf("%s: there is no predicate", predicateType)
	}
	if err := read(predicate); err != nil {
		return nil, fmt.Errorf("%s: %w", predicateType, err)
	}
	return v, nil
}

func (v *Provenance) readV02(predicate json.RawMessage) error {
	var config Resource
	err := object(predicate, func(key string, value json.RawMessage) error {
		switch key {
		case "builder":
			return v.readBuilder(value)
		case "buildType":
			return uri(value, &v.BuildType)
		case "materials":
			return v.readDependencies(value)
		case "invocation":
			return object(value, func(key string, value json.RawMessage) error {
				switch key {
				case "configSource":
					if err := resource(value, &config); err != nil {
						return err
					}
					return object(value, func(key string, value json.RawMessage) error {
						if key == "entryPoint" {
							return text(value, &v.EntryPoint)
						}
						return nil
					})
				case "parameters":
					return object(value, v.noteParameter)
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	v.sourceV02(config)
	return nil
}

func (v *Provenance) readV1(predicate json.RawMessage) error {
	var external json.RawMessage
	err := object(predicate, func(key string, value json.RawMessage) error {
		switch key {
		case "buildDefinition":
			return object(value, func(key string, value json.RawMessage) error {
				switch key {
				case "buildType":
					return uri(value, &v.BuildType)
				case "externalParameters":
					external = value
				case "resolvedDependencies":
					return v.readDependencies(value)
				}
				return nil
			})
		case "runDetails":
			return object(value, func(key string, value json.RawMessage) error {
				if key == "builder" {
					return v.readBuilder(value)
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := v.sourceV1(external); err != nil {
		return fmt.Errorf("buildDefinition: externalParameters: %w", err)
	}
	return nil
}

func (v *Provenance) readBuilder(value json.RawMessage) error {
	return object(value, func(key string, value json.RawMessage) error {
		if key == "id" {
			return uri(value, &v.BuilderID)
		}
		return nil
	})
}

func (v *Provenance) readDependencies(value json.RawMessage) error {
	return array(value, func(value json.RawMessage) error {
		var r Resource
		if isNull(value) {
			return errNull
		}
		err := resource(value, &r)
		v.Dependencies = append(v.Dependencies, r)
		return err
	})
}

func (v *Provenance) noteParameter(key string, value json.RawMessage) error {
	if !isEmpty(value) {
		v.Parameters = append(v.Parameters, key)
	}
	return nil
}
