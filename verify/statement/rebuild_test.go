package statement_test

import (
	"bytes"
	"crypto/elliptic"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/statement"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// rebuilt is an honest rebuild of one output, with a source of every kind.
func rebuilt() (*statement.Rebuild, statement.Subject) {
	sum := strings.Repeat("ab", 32)
	sha := func(name string) statement.Resource {
		return statement.Resource{Name: name, Digest: map[string]string{"sha256": sum}}
	}
	p := &statement.Rebuild{
		BuildDefinition: statement.BuildDefinition{
			BuildType: statement.RebuildType,
			ExternalParameters: statement.RecipeParameters{
				Sources: []statement.RecipeSource{
					{Kind: "path", Name: "src.tar", Pin: sum, At: "/src", Revision: commit},
					{Kind: "url", Name: "https://example.org/a.tar", Pin: sum, At: "/a"},
					{Kind: "git", Name: "https://example.org/b.git", Pin: commit, At: "/b", Revision: commit},
					{Kind: "oci", Name: "docker://example.org/c", Pin: "sha256:" + sum, At: "/c", Trust: true},
					{Kind: "debian", Name: "hello", Version: "2.10-3", Pin: sum, At: "/d"},
				},
				Toolchain: statement.RecipeToolchain{Host: []string{"make"}},
				Env:       []string{"A=1", "TZ=UTC"},
				Steps:     [][]string{{"make", "all"}},
				Outputs:   []statement.RecipeOutput{{Path: "out/fw.bin", Symbols: "out/fw.elf"}},
				Limits:    statement.RecipeLimits{Time: "10m0s", Memory: 1 << 30, Output: 1 << 30, Processes: 64},
				Builds:    2,
			},
			InternalParameters:   statement.InternalParameters{Sandbox: "native"},
			ResolvedDependencies: []statement.Resource{sha("recipe.yaml")},
		},
		RunDetails: statement.RunDetails{
			Builder:    statement.Builder{ID: statement.RebuildBuilder, Version: map[string]string{"assay": "1.0"}},
			Byproducts: []statement.Resource{sha("build-1.log"), sha("build-2.log"), sha("fw.elf")},
		},
	}
	def := &p.BuildDefinition
	for i, name := range []string{"src.tar", "a.tar", "b.tar", "c.tar", "hello_2.10-3.tar"} {
		def.ResolvedDependencies = append(def.ResolvedDependencies, def.ExternalParameters.Sources[i].Dependency(name, sum))
	}
	tool := sha("make")
	tool.Annotations = map[string]string{"version": "GNU Make 4.3"}
	def.ResolvedDependencies = append(def.ResolvedDependencies, tool)
	return p, statement.Subject{Name: "fw.bin", Digest: digests(deployed)}
}

func TestRebuild(t *testing.T) {
	p, output := rebuilt()
	s, err := p.Statement(output)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := statement.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if q, ok := again.Rebuild(); !ok || q.BuildDefinition.ExternalParameters.Sources[2].Pin != commit {
		t.Errorf("got %+v, %t", q, ok)
	}
	if _, _, ok := again.Verdict(); ok {
		t.Error("provenance gives a verdict")
	}
	for _, uri := range []string{"git+https://example.org/b.git@" + commit, "docker://example.org/c@sha256:abab", "pkg:deb/debian/hello@2.10-3?arch=source"} {
		if !bytes.Contains(b, []byte(`"uri":"`+uri)) {
			t.Errorf("no %s in %s", uri, b)
		}
	}
	k := loaded(t, ec(t, elliptic.P256()))
	e, err := statement.Sign(k, b)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := e.Bundle(k.Hint())
	if err != nil {
		t.Fatal(err)
	}
	if res, err := ask(t, k.PublicPEM(), bundle, deployed, statement.ProvenanceType); err != nil || !res.OK {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestRebuildRefuses(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(*statement.Rebuild, *statement.Subject)
	}{
		{"another build type", "its buildType is", func(p *statement.Rebuild, _ *statement.Subject) {
			p.BuildDefinition.BuildType = "https://example.org/x"
		}},
		{"another builder", "its builder is not", func(p *statement.Rebuild, _ *statement.Subject) { p.RunDetails.Builder.ID = "https://example.org/x" }},
		{"no version", "in a version of assay", func(p *statement.Rebuild, _ *statement.Subject) { p.RunDetails.Builder.Version = nil }},
		{"another output", "subject[0] is", func(_ *statement.Rebuild, s *statement.Subject) { s.Name = "other.bin" }},
		{"no sha512", "no sha512", func(_ *statement.Rebuild, s *statement.Subject) { delete(s.Digest, "sha512") }},
		{"no log", "no log", func(p *statement.Rebuild, _ *statement.Subject) { p.RunDetails.Byproducts = []statement.Resource{} }},
		{"byproduct without digest", "byproducts[0]: it has no sha256", func(p *statement.Rebuild, _ *statement.Subject) { p.RunDetails.Byproducts[0].Digest = nil }},
		{"another file", "not the file that its source pins", func(p *statement.Rebuild, _ *statement.Subject) {
			p.BuildDefinition.ResolvedDependencies[2].Digest["sha256"] = strings.Repeat("cd", 32)
		}},
		{"another commit", "not of the commit", func(p *statement.Rebuild, _ *statement.Subject) {
			p.BuildDefinition.ResolvedDependencies[3].Digest["gitCommit"] = strings.Repeat("c", 40)
		}},
		{"half a commit", "no full commit", func(p *statement.Rebuild, _ *statement.Subject) {
			p.BuildDefinition.ResolvedDependencies[3].Digest["gitCommit"] = "01234567"
		}},
		{"another address", "its uri is", func(p *statement.Rebuild, _ *statement.Subject) {
			p.BuildDefinition.ResolvedDependencies[4].URI = "docker://example.com/c"
		}},
		{"a dependency too many", "9 resolved", func(p *statement.Rebuild, _ *statement.Subject) {
			d := &p.BuildDefinition.ResolvedDependencies
			*d = append(*d, (*d)[6], (*d)[6])
		}},
		{"another tool", "where the tool", func(p *statement.Rebuild, _ *statement.Subject) {
			p.BuildDefinition.ResolvedDependencies[6].Name = "cc"
		}},
		{"no tool", "6 resolved", func(p *statement.Rebuild, _ *statement.Subject) {
			p.BuildDefinition.ResolvedDependencies = p.BuildDefinition.ResolvedDependencies[:6]
		}},
		{"no toolchain", "neither the host's", func(p *statement.Rebuild, _ *statement.Subject) {
			p.BuildDefinition.ExternalParameters.Toolchain.Host = nil
		}},
		{"no program", "names no program", func(p *statement.Rebuild, _ *statement.Subject) {
			p.BuildDefinition.ExternalParameters.Steps[0][0] = ""
		}},
		{"unknown kind", "the kind of its source", func(p *statement.Rebuild, _ *statement.Subject) {
			p.BuildDefinition.ExternalParameters.Sources[0].Kind = "ftp"
		}},
		{"no place", "has no place", func(p *statement.Rebuild, _ *statement.Subject) {
			p.BuildDefinition.ExternalParameters.Sources[0].At = ""
		}},
		{"manifest by tag", "pins no manifest", func(p *statement.Rebuild, _ *statement.Subject) {
			p.BuildDefinition.ExternalParameters.Sources[3].Pin = "latest"
		}},
		{"no limit", "must be positive", func(p *statement.Rebuild, _ *statement.Subject) {
			p.BuildDefinition.ExternalParameters.Limits.Memory = 0
		}},
		{"unsorted environment", "not sorted", func(p *statement.Rebuild, _ *statement.Subject) {
			p.BuildDefinition.ExternalParameters.Env = []string{"B=1", "A=1"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, output := rebuilt()
			c.change(p, &output)
			_, err := p.Statement(output)
			wantError(t, err, c.want)
			// The same in the words of another: it is not signed either.
			_, err = statement.New(statement.ProvenanceType, p, output)
			wantError(t, err, c.want)
		})
	}
	p, output := rebuilt()
	if _, err := p.Statement(output, output); err == nil {
		t.Error("an output is stated twice")
	}
}
