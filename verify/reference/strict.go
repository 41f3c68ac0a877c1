package reference

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A document is a YAML file that is read strictly: an unknown or repeated key, a value of another type, an anchor, a
// tag or a second document is an error that names the line.
type document struct {
	file string // for messages
	root *yaml.Node
}

func parse(file string, text []byte) (*document, error) {
	d := &document{file: file}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	if err := decoder.Decode(&doc); err == io.EOF {
		return nil, &RecipeError{File: file, Line: 1, What: "it is empty"}
	} else if err != nil {
		return nil, d.syntax(err)
	}
	if err := decoder.Decode(&more); err == nil {
		return nil, d.at(&more, "a second document: a recipe is one")
	} else if err != io.EOF {
		return nil, d.syntax(err)
	}
	d.root = doc.Content[0]
	if err := d.plain(d.root); err != nil {
		return nil, err
	}
	return d, nil
}

// syntax turns "yaml: line 3: …" into an error with its line.
func (d *document) syntax(err error) error {
	e := &RecipeError{File: d.file, What: strings.TrimPrefix(err.Error(), "yaml: ")}
	if rest, ok := strings.CutPrefix(e.What, "line "); ok {
		if number, what, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(number); err == nil {
				e.Line, e.What = n, what
			}
		}
	}
	return e
}

func (d *document) at(n *yaml.Node, format string, args ...any) error {
	return &RecipeError{File: d.file, Line: n.Line, What: fmt.Sprintf(format, args...)}
}

// FillIn begins a value that whoever uses a recipe must write. A recipe that still holds one is not read.
const FillIn = "FILL-IN"

// plain refuses what makes a file mean something else than it seems to, or more than its size.
func (d *document) plain(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return d.at(n, "anchors and aliases are not allowed: write the value out")
	case n.Style&yaml.TaggedStyle != 0:
		return d.at(n, "the tag %s is not allowed", n.Tag)
	case n.Kind == yaml.ScalarNode && strings.HasPrefix(n.Value, FillIn):
		return d.at(n, "this is still to be filled in: %.200s", strings.TrimLeft(strings.TrimPrefix(n.Value, FillIn), ": "))
	}
	for _, c := range n.Content {
		if err := d.plain(c); err != nil {
			return err
		}
	}
	return nil
}

// kind says what a node is, for messages.
func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return "the truth value " + n.Value
	}
	return strconv.Quote(n.Value)
}

// A field reads the value of one key.
type field struct {
	key  string
	read func(*yaml.Node) error
}

// mapping reads a mapping of known keys. what names it in messages.
func (d *document) mapping(n *yaml.Node, what string, fields ...field) error {
	if n.Kind != yaml.MappingNode {
		return d.at(n, "%s must be a mapping, this is %s", what, kind(n))
	}
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.key
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			return d.at(key, "a key must be a word, this is %s", kind(key))
		}
		if line, ok := seen[key.Value]; ok {
			return d.at(key, "key %q is there already, in line %d", key.Value, line)
		}
		seen[key.Value] = key.Line
		at := slices.Index(known, key.Value)
		if at < 0 {
			return d.at(key, "unknown key %q in %s: the keys are %s", key.Value, what, strings.Join(known, ", "))
		}
		if err := fields[at].read(value); err != nil {
			return err
		}
	}
	return nil
}

// list reads a list, item by item.
func (d *document) list(n *yaml.Node, what string, read func(int, *yaml.Node) error) error {
	if n.Kind != yaml.SequenceNode {
		return d.at(n, "%s must be a list, this is %s", what, kind(n))
	}
	for i, c := range n.Content {
		if err := read(i, c); err != nil {
			return err
		}
	}
	return nil
}

// text reads a string. A number or a truth value is not one, unless quoted.
func (d *document) text(what string, to *string) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
			return d.at(n, "%s must be a string, this is %s", what, kind(n))
		}
		if strings.ContainsRune(n.Value, 0) {
			return d.at(n, "%s holds a zero byte", what)
		}
		*to = n.Value
		return nil
	}
}

// number reads an integer from low to high.
func (d *document) number(what string, low, high int, to *int) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		value, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || errors.Is(err, strconv.ErrSyntax) {
			return d.at(n, "%s must be a number, this is %s", what, kind(n))
		}
		if err != nil || value < low || value > high {
			return d.at(n, "%s must lie between %d and %d, this is %s", what, low, high, n.Value)
		}
		*to = value
		return nil
	}
}

// truth reads true or false.
func (d *document) truth(what string, to *bool) func(*yaml.Node) error {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Value != "true" && n.Value != "false" {
			return d.at(n, "%s must be true or false, this is %s", what, kind(n))
		}
		*to = n.Value == "true"
		return nil
	}
}
