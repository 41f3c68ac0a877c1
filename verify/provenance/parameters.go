package provenance

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/assaylab/assay/verify/internal/strictjson"
)

// A Parameter is one of externalParameters (v1) or invocation.parameters (v0.2): what whoever started the build chose.
type Parameter struct {
	Name  string
	Value json.RawMessage
}

// Parameters returns the parameters of a predicate that [Parse] reads, in the order of the document, with their values,
// which are not looked at.
func Parameters(predicateType string, predicate []byte) ([]Parameter, error) {
	outer, inner := "buildDefinition", "externalParameters"
	switch predicateType {
	case SLSAv1:
	case SLSAv02:
		outer, inner = "invocation", "parameters"
	default:
		return nil, fmt.Errorf("predicates of type %s are not read: provenance is %s or %s", quote(predicateType), SLSAv1, SLSAv02)
	}
	if err := strictjson.CheckShape(predicate); err != nil {
		return nil, fmt.Errorf("%s: %w", predicateType, err)
	}
	if isNull(predicate) {
		return nil, fmt.Errorf("%s: there is no predicate", predicateType)
	}
	var all []Parameter
	err := object(predicate, func(key string, value json.RawMessage) error {
		if key != outer {
			return nil
		}
		return object(value, func(key string, value json.RawMessage) error {
			if key != inner {
				return nil
			}
			return object(value, func(key string, value json.RawMessage) error {
				all = append(all, Parameter{key, value})
				return nil
			})
		})
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", predicateType, err)
	}
	return all, nil
}

// Resource reads the parameter as a ResourceDescriptor, or as the URI of one.
func (p Parameter) Resource() (Resource, error) {
	var r Resource
	var err error
	if isString(p.Value) {
		err = uri(p.Value, &r.URI)
	} else {
		err = resource(p.Value, &r)
	}
	if err != nil {
		return Resource{}, fmt.Errorf("%s: %w", p.Name, err)
	}
	return r, nil
}

// Text reads the parameter as a string.
func (p Parameter) Text() (string, error) {
	var s string
	if isNull(p.Value) || !isString(p.Value) {
		return "", fmt.Errorf("%s: is not a string", p.Name)
	}
	err := json.Unmarshal(p.Value, &s)
	return s, err
}

// Fields reads the parameter as an object, in the order of the document.
func (p Parameter) Fields() ([]Parameter, error) {
	var all []Parameter
	err := object(p.Value, func(key string, value json.RawMessage) error {
		all = append(all, Parameter{key, value})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	return all, nil
}

// Texts reads the parameter as an array of strings.
func (p Parameter) Texts() ([]string, error) {
	var all []string
	err := array(p.Value, func(value json.RawMessage) error {
		if isNull(value) || !isString(value) {
			return errors.New("is not a string")
		}
		var s string
		err := json.Unmarshal(value, &s)
		all = append(all, s)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	return all, nil
}
