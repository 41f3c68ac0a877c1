package reference

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/assaylab/assay/verify/reference/sandbox"
)

// Encode writes a recipe, with comments at its head, one a line. What LoadRecipe reads of it is r again: its sources by
// kind, name and pin, the whole of Env, and what is not zero of the rest. Where a value is [FillIn], whoever uses the
// recipe must write one first. Comments and values may hold anything: a sign that cannot be seen is a question mark in a
// comment, and escaped in a value.
func (r *Recipe) Encode(head []string) []byte {
	var b bytes.Buffer
	for _, line := range head {
		b.WriteString(comment(line))
	}
	b.WriteString("version: 1\nsources:\n")
	for i := range r.Sources {
		fmt.Fprintf(&b, "  - {%s}\n", r.Sources[i].encode())
	}
	switch t := &r.Toolchain; {
	case t.Rootfs == nil:
		fmt.Fprintf(&b, "toolchain: {host: %s}\n", list(t.Host))
	case t.Tools == nil:
		fmt.Fprintf(&b, "toolchain: {rootfs: {%s}}\n", t.Rootfs.encode())
	default:
		fmt.Fprintf(&b, "toolchain: {rootfs: {%s}, tools: %s}\n", t.Rootfs.encode(), list(t.Tools))
	}
	if len(r.Env) > 0 {
		b.WriteString("env:\n")
		for _, v := range r.Env {
			name, value, _ := strings.Cut(v, "=")
			if !variableName.MatchString(name) {
				name = quoted(name) // no name: whoever reads the recipe refuses it, and takes it for nothing else
			}
			fmt.Fprintf(&b, "  %s: %s\n", name, quoted(value))
		}
	}
	b.WriteString("steps:\n")
	for _, s := range r.Steps {
		b.WriteString(encodeStep(s))
	}
	b.WriteString("outputs:\n")
	for _, o := range r.Outputs {
		symbols := ""
		if o.Symbols != "" {
			symbols = ", symbols: " + quoted(o.Symbols)
		}
		fmt.Fprintf(&b, "  - {path: %s%s}\n", quoted(o.Path), symbols)
	}
	if r.Builds != 0 {
		fmt.Fprintf(&b, "builds: %d\n", r.Builds)
	}
	if l := r.Limits; l != (sandbox.Limits{}) {
		fmt.Fprintf(&b, "limits: {time: %s, memory: %d, output: %d, processes: %d}\n", l.Time, l.Memory, l.Output, l.Processes)
	}
	if len(r.Vary) > 0 {
		fmt.Fprintf(&b, "vary: %s\n", list(r.Vary))
	}
	switch {
	case len(r.ReplayValues) > 0:
		fmt.Fprintf(&b, "replay: {max_rebuilds: %d, values: %s}\n", r.Replay, list(r.ReplayValues))
	case r.Replay != 0:
		fmt.Fprintf(&b, "replay: {max_rebuilds: %d}\n", r.Replay)
	}
	return b.Bytes()
}

// encode writes the keys of a source.
func (s *Source) encode() string {
	keys := []string{s.Kind + ": " + quoted(s.Name)}
	add := func(key, value string) {
		if value != "" {
			keys = append(keys, key+": "+quoted(value))
		}
	}
	switch s.Kind {
	case SourceGit:
		add("commit", s.Pin)
		add("sha256", s.SHA256)
	case SourceOCI:
		keys[0] = s.Kind + ": " + quoted(s.Name+"@"+s.Pin)
		add("sha256", s.SHA256)
	case SourceDebian:
		add("version", s.Version)
		add("sha256", s.Pin)
	default:
		add("sha256", s.Pin)
	}
	add("at", s.At)
	if s.Trust {
		keys = append(keys, "trust: true")
	}
	if s.Kind != SourceGit {
		add("revision", s.Revision)
	}
	return strings.Join(keys, ", ")
}

func list(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = quoted(w)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// script is how a step of sh: is run.
var script = sandbox.Step{"/bin/sh", "-e", "-c"}

func encodeStep(s sandbox.Step) string {
	if len(s) != len(script)+1 || !slices.Equal(s[:len(script)], script) {
		return "  - " + list(s) + "\n"
	}
	text := s[len(script)]
	if !plainBlock(text) {
		return "  - sh: " + quoted(text) + "\n"
	}
	var b strings.Builder
	b.WriteString("  - sh: |\n")
	for line := range strings.Lines(text) {
		if line != "\n" {
			b.WriteString("      ")
		}
		b.WriteString(line)
	}
	return b.String()
}

// plainBlock says whether a text reads the same as a YAML block: lines of ASCII, the first of which begins with a sign
// that can be seen, and the last of which ends the text.
func plainBlock(text string) bool {
	body, ok := strings.CutSuffix(text, "\n")
	if !ok || body == "" || body[0] == ' ' || strings.HasSuffix(body, "\n") {
		return false
	}
	for line := range strings.SplitSeq(body, "\n") {
		if strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c > '~' }) || line != "" && strings.TrimSpace(line) == "" {
			return false
		}
	}
	return body[0] != '\n'
}

// comment writes a line that no reader takes for a key, and in which nothing hides.
func comment(line string) string {
	if line == "" {
		return "#\n"
	}
	return "# " + strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, line) + "\n"
}
