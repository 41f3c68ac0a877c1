package derive

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/reference/sandbox"
	"github.com/assaylab/assay/verify/statement"
)

const commit = "ca220e54c07b6fcdd758184a12c132ee3ae531f1"

// ownStatement is a statement of a rebuild, changed before its dependencies are drawn up.
func ownStatement(t testing.TB, change func(*statement.Rebuild)) *statement.Statement {
	t.Helper()
	digest := strings.Repeat("ab", 32)
	sha := func(name string) statement.Resource {
		return statement.Resource{Name: name, Digest: map[string]string{"sha256": digest}}
	}
	p := &statement.Rebuild{
		BuildDefinition: statement.BuildDefinition{
			BuildType: statement.RebuildType,
			ExternalParameters: statement.RecipeParameters{
				Sources:   []statement.RecipeSource{{Kind: "path", Name: "fw.tar", Pin: digest, At: "/src"}},
				Toolchain: statement.RecipeToolchain{Host: []string{"make"}},
				Env:       []string{"A=1"},
				Steps:     [][]string{{"make", "all"}},
				Outputs:   []statement.RecipeOutput{{Path: "out/fw.bin"}},
				Limits:    statement.RecipeLimits{Time: "10m0s", Memory: 1 << 30, Output: 1 << 30, Processes: 64},
				Builds:    2,
			},
			InternalParameters:   statement.InternalParameters{Sandbox: "native"},
			ResolvedDependencies: []statement.Resource{sha("recipe.yaml")},
		},
		RunDetails: statement.RunDetails{
			Builder:    statement.Builder{ID: statement.RebuildBuilder, Version: map[string]string{"assay": "1.0"}},
			Byproducts: []statement.Resource{sha("build-1.log")},
		},
	}
	change(p)
	def, e := &p.BuildDefinition, &p.BuildDefinition.ExternalParameters
	inputs := slices.Clone(e.Sources)
	if e.Toolchain.Rootfs != nil {
		inputs = append(inputs, *e.Toolchain.Rootfs)
	}
	for _, s := range inputs {
		def.ResolvedDependencies = append(def.ResolvedDependencies, s.Dependency("file", digest))
	}
	for _, name := range slices.Concat(e.Toolchain.Host, e.Toolchain.Tools) {
		def.ResolvedDependencies = append(def.ResolvedDependencies, sha(name))
	}
	s, err := p.Statement(statement.Subject{Name: "fw.bin", Digest: map[string]string{"sha256": digest, "sha512": digest + digest}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What a statement says becomes a recipe that says it, or none.
func TestOwn(t *testing.T) {
	type params = statement.RecipeParameters
	sum := strings.Repeat("ab", 32)
	const injected = "zz: \"1\"\nreplay: {max_rebuilds: 200}\nnetwork=none"
	for _, c := range []struct {
		name   string
		change func(*params)
		want   string // of the error, or "" for none
		line   string // in the recipe
	}{
		{"plain", func(*params) {}, "", `  - {path: "fw.tar", sha256: "` + sum + `", at: "/src"}`},
		{"a step that holds FILL-IN", func(p *params) { p.Steps[0] = []string{"echo", "X=FILL-IN"} }, "", `  - ["echo", "X=FILL-IN"]`},
		{"keys in a name", func(p *params) { p.Env = []string{injected} }, `env: "zz: `, ""},
		{"keys in a name, and FILL-IN", func(p *params) { p.Env, p.Steps[0] = []string{injected}, []string{"echo", "X=FILL-IN"} }, `env: "zz: `, ""},
		{"no name", func(p *params) { p.Env = []string{"A"} }, `env: "A" is not`, ""},
		{"an escape in a name", func(p *params) { p.Env = []string{"A\x1b[2J=1"} }, `env: "A\x1b`, ""},
		{"a value FILL-IN", func(p *params) { p.Env = []string{"A=FILL-IN"} }, "still to be filled in", ""},
		{"a variable twice", func(p *params) { p.Env = []string{"A=1", "A=2"} }, "there already", ""},
		{"a value to turn round", func(p *params) { p.Env = []string{"A=\u202e\u200b\U000e0041"} }, "", `  A: "\u202e\u200b\U000e0041"`},
		{"a step to turn round", func(p *params) { p.Steps[0][1] = "x\u202e\U000e0041" }, "", `  - ["make", "x\u202e\U000e0041"]`},
		{"a script to turn round", func(p *params) { p.Steps[0] = []string{"/bin/sh", "-e", "-c", "x\u202e\n"} }, "", `  - sh: "x\u202e\n"`},
		{"a path that climbs", func(p *params) { p.Sources[0].Name = "../../../../etc/passwd" }, "", `# Put passwd with the digest below beside this file. It was "../../../../etc/passwd".`},
		{"a path that climbs, as a source", func(p *params) { p.Sources[0].Name = "../../../../etc/passwd" }, "", `  - {path: "passwd", sha256: "` + sum + `", at: "/src"}`},
		{"an absolute path", func(p *params) { p.Sources[0].Name = "/etc/passwd" }, "", `  - {path: "passwd", sha256: "` + sum + `", at: "/src"}`},
		{"a path to turn round", func(p *params) { p.Sources[0].Name = "x\u202e" }, "", `# Put x? with the digest below beside this file.`},
		{"a path of no name", func(p *params) { p.Sources[0].Name = "x/.." }, "names no file", ""},
		{"the root", func(p *params) { p.Sources[0].Name = "/" }, "names no file", ""},
		{"a directory", func(p *params) { p.Sources[0].Name = "." }, "names no file", ""},
		{"a backslash", func(p *params) { p.Sources[0].Name = `..\x` }, "names no file", ""},
		{"a layout that climbs", func(p *params) {
			p.Toolchain = statement.RecipeToolchain{Rootfs: &statement.RecipeSource{Kind: "oci", Name: "oci:../../root", Pin: "sha256:" + sum}}
		}, "", `toolchain: {rootfs: {oci: "oci:root@sha256:` + sum + `", sha256: "` + sum + `"}}`},
		{"a layout above", func(p *params) {
			p.Toolchain = statement.RecipeToolchain{Rootfs: &statement.RecipeSource{Kind: "oci", Name: "oci:..", Pin: "sha256:" + sum}}
		}, "names no file", ""},
		{"two layouts of a name", func(p *params) {
			for _, at := range []string{"/a", "/b"} {
				p.Sources = append(p.Sources, statement.RecipeSource{Kind: "oci", Name: "oci:." + at + "/c", Pin: "sha256:" + strings.Repeat(at[1:], 64), At: at})
			}
		}, "has the name of another source", ""},
		{"a trusted root file system", func(p *params) {
			p.Toolchain = statement.RecipeToolchain{Rootfs: &statement.RecipeSource{Kind: "path", Name: "root.tar", Pin: sum, Trust: true}}
		}, `unknown key "trust"`, ""},
		{"a tool", func(p *params) { p.Toolchain.Host = []string{"make", "../x"} }, "not the name of a program", ""},
		{"a revision", func(p *params) { p.Sources[0].Revision = commit }, "", `  - {path: "fw.tar", sha256: "` + sum + `", at: "/src", revision: "` + commit + `"}`},
		{"too many rebuilds", func(p *params) { p.Replay = 1 << 20 }, "max_rebuilds must lie between", ""},
		{"no factor", func(p *params) { p.Vary = []string{"x\ny"} }, "not a factor", ""},
		{"limits", func(p *params) { p.Limits.Memory = 1 << 60 }, "must be a size", ""},
		{"an empty step", func(p *params) { p.Steps = append(p.Steps, []string{"/bin/sh", "-e", "-c", " "}) }, "the script is empty", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := ownStatement(t, func(p *statement.Rebuild) { c.change(&p.BuildDefinition.ExternalParameters) })
			d, err := own(s)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(d.Recipe), c.line+"\n") || !d.Complete {
				t.Errorf("complete: %t, and no %s in\n%s", d.Complete, c.line, d.Recipe)
			}
			reads(t, d)
		})
	}
}

// A recipe that is not read as it was meant is noticed, whatever part of it that is.
func TestReadsAsMeant(t *testing.T) {
	base := func() *reference.Recipe {
		digest := strings.Repeat("ab", 32)
		return &reference.Recipe{
			Sources:   []reference.Source{{Kind: "path", Name: "fw.tar", Pin: digest, At: "/src"}},
			Toolchain: reference.Toolchain{Rootfs: &reference.Source{Kind: "path", Name: "root.tar", Pin: digest}, Tools: []string{"make"}},
			Env:       []string{"A=1"}, Steps: []sandbox.Step{{"make"}}, Outputs: []reference.OutputSpec{{Path: "fw.bin"}},
			Builds: 3, Vary: []string{"time"}, Replay: 4, ReplayValues: []string{"epoch"}, Limits: sandbox.Limits{Time: 1e9, Memory: 1, Output: 1, Processes: 1},
		}
	}
	if err := asMeant(base(), base().Encode(nil)); err != nil {
		t.Fatal(err)
	}
	digest := strings.Repeat("cd", 32)
	for what, change := range map[string]func(*reference.Recipe){
		"sources/pin":      func(r *reference.Recipe) { r.Sources[0].Pin = digest },
		"sources/name":     func(r *reference.Recipe) { r.Sources[0].Name = "x" },
		"sources/place":    func(r *reference.Recipe) { r.Sources[0].At = "/x" },
		"sources/trust":    func(r *reference.Recipe) { r.Sources[0].Trust = true },
		"sources/revision": func(r *reference.Recipe) { r.Sources[0].Revision = commit },
		"toolchain/rootfs": func(r *reference.Recipe) { r.Toolchain.Rootfs.Pin = digest },
		"toolchain/host":   func(r *reference.Recipe) { r.Toolchain = reference.Toolchain{Host: []string{"make"}} },
		"toolchain/tools":  func(r *reference.Recipe) { r.Toolchain.Tools = []string{"cc"} },
		"environment":      func(r *reference.Recipe) { r.Env = []string{"A=2"} },
		"environment/more": func(r *reference.Recipe) { r.Env = append(r.Env, "B=2") },
		"steps":            func(r *reference.Recipe) { r.Steps[0] = sandbox.Step{"make", ""} },
		"outputs":          func(r *reference.Recipe) { r.Outputs[0].Symbols = "fw.elf" },
		"builds":           func(r *reference.Recipe) { r.Builds = 2 },
		"limits":           func(r *reference.Recipe) { r.Limits.Output = 2 },
		"vary":             func(r *reference.Recipe) { r.Vary = nil },
		"replay":           func(r *reference.Recipe) { r.Replay = 200 },
		"replay/values":    func(r *reference.Recipe) { r.ReplayValues = nil },
		"sources/one more": func(r *reference.Recipe) {
			r.Sources = append(r.Sources, reference.Source{Kind: "path", Name: "x", Pin: digest, At: "/x"})
		},
		"steps/one more":    func(r *reference.Recipe) { r.Steps = append(r.Steps, sandbox.Step{"x"}) },
		"environment/fixed": func(r *reference.Recipe) { r.Env = nil },
	} {
		other := base()
		change(other)
		part, _, _ := strings.Cut(what, "/")
		if err := asMeant(base(), other.Encode(nil)); err == nil || !strings.Contains(err.Error(), "its "+part+" ") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// recorded is a recipe, the record of builds of it, and what is stated of them; nothing is built.
func recorded(t *testing.T) (*reference.Recipe, *reference.Rebuilt, *statement.Rebuild, statement.Subject) {
	t.Helper()
	digest := strings.Repeat("ab", 32)
	file := filepath.Join(t.TempDir(), "recipe.yaml")
	text := fmt.Sprintf(`version: 1
sources:
  - {git: "https://example.org/fw.git", commit: %s, at: /src}
  - {url: "https://example.org/b.tar", sha256: %s, at: /b, revision: %[1]s}
  - {path: blob.bin, sha256: %[2]s, at: /src/blob.bin, trust: true}
toolchain: {rootfs: root.tar, sha256: %[2]s, tools: [cat, make]}
steps: [[make, all], [cat]]
outputs: [{path: out/fw.bin, symbols: out/fw.elf}, {path: out/b.bin}]
vary: [time, path]
replay: {max_rebuilds: 3, values: [epoch]}
`, commit, digest)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := reference.LoadRecipe(file)
	if err != nil {
		t.Fatal(err)
	}
	fileOf := func(name string) reference.File { return reference.File{Name: name, Size: 3, SHA256: digest} }
	b := &reference.Rebuilt{
		Recipe: reference.File{Name: r.Name, Size: r.Size, SHA256: r.SHA256}, Sandbox: "native", Builds: 2, Agree: 2,
		Sources: []reference.SourceFile{
			{File: fileOf("fw.tar"), At: "/src"}, {File: fileOf("b.tar"), At: "/b"}, {File: fileOf("blob.bin"), At: "/src/blob.bin", Trust: true},
		},
		Rootfs: &reference.File{Name: "root.tar", Size: 3, SHA256: digest},
		Tools:  []sandbox.Tool{{Name: "cat", SHA256: digest}, {Name: "make", Version: "GNU Make 4.3", SHA256: digest}},
		Env:    r.Env, Vary: []string{"time"}, Set: []reference.Setting{{Factor: "host", Value: "x"}},
		Outputs: []reference.OutputFiles{
			{Path: "out/fw.bin", Builds: []reference.File{fileOf("fw.bin"), fileOf("fw.bin")}, Symbols: []reference.File{fileOf("fw.elf"), fileOf("fw.elf")}},
			{Path: "out/b.bin", Builds: []reference.File{fileOf("b.bin"), fileOf("b.bin")}},
		},
	}
	p, err := predicate(r, b, []statement.Resource{resource(fileOf("build-1.log")), resource(fileOf("build-2.log"))}, "1.0")
	if err != nil {
		t.Fatal(err)
	}
	return r, b, p, statement.Subject{Digest: map[string]string{"sha256": digest, "sha512": digest + digest}}
}

func stated(t *testing.T, p *statement.Rebuild, digest map[string]string) *statement.Statement {
	t.Helper()
	s, err := p.Statement(statement.Subject{Name: "fw.bin", Digest: digest}, statement.Subject{Name: "b.bin", Digest: digest})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A statement agrees with its recipe and record, and no other does that a forger could sign without being noticed by
// its form alone.
func TestAgreesWholly(t *testing.T) {
	r, b, p, one := recorded(t)
	if err := Agrees(stated(t, p, one.Digest), r, b); err != nil {
		t.Fatal(err)
	}
	type params = statement.RecipeParameters
	other := strings.Repeat("cd", 32)
	for _, c := range []struct {
		name   string
		change func(*statement.Rebuild, *params, []statement.Resource)
	}{
		{"steps", func(_ *statement.Rebuild, e *params, _ []statement.Resource) {
			e.Steps[0] = []string{"make", "audited"}
		}},
		{"no step", func(_ *statement.Rebuild, e *params, _ []statement.Resource) { e.Steps = e.Steps[:1] }},
		{"kind", func(_ *statement.Rebuild, e *params, d []statement.Resource) {
			e.Sources[1].Kind, e.Sources[1].Name = "path", "b.tar"
			d[2].URI = ""
		}},
		{"address", func(_ *statement.Rebuild, e *params, d []statement.Resource) {
			e.Sources[0].Name = "https://example.org/audited.git"
			d[1].URI = "git+https://example.org/audited.git@" + commit
		}},
		{"commit", func(_ *statement.Rebuild, e *params, d []statement.Resource) {
			e.Sources[0].Pin, e.Sources[0].Revision = strings.Repeat("1", 40), strings.Repeat("1", 40)
			d[1].URI = "git+https://example.org/fw.git@" + strings.Repeat("1", 40)
			d[1].Digest["gitCommit"] = strings.Repeat("1", 40)
		}},
		{"revision", func(_ *statement.Rebuild, e *params, d []statement.Resource) {
			e.Sources[1].Revision, d[2].Digest["gitCommit"] = strings.Repeat("1", 40), strings.Repeat("1", 40)
		}},
		{"trust", func(_ *statement.Rebuild, e *params, _ []statement.Resource) { e.Sources[2].Trust = false }},
		{"place", func(_ *statement.Rebuild, e *params, _ []statement.Resource) { e.Sources[2].At = "/x" }},
		{"rootfs", func(_ *statement.Rebuild, e *params, _ []statement.Resource) { e.Toolchain.Rootfs.Name = "x" }},
		{"environment", func(_ *statement.Rebuild, e *params, _ []statement.Resource) { e.Env = []string{"A=1"} }},
		{"symbols", func(_ *statement.Rebuild, e *params, _ []statement.Resource) { e.Outputs[0].Symbols = "x" }},
		{"path", func(_ *statement.Rebuild, e *params, _ []statement.Resource) { e.Outputs[1].Path = "elsewhere/b.bin" }},
		{"limits", func(_ *statement.Rebuild, e *params, _ []statement.Resource) { e.Limits.Memory++ }},
		{"builds", func(_ *statement.Rebuild, e *params, _ []statement.Resource) { e.Builds = 16 }},
		{"vary", func(_ *statement.Rebuild, e *params, _ []statement.Resource) { e.Vary = []string{"time", "path"} }},
		{"settings", func(_ *statement.Rebuild, e *params, _ []statement.Resource) { e.Set = nil }},
		{"replay", func(_ *statement.Rebuild, e *params, _ []statement.Resource) { e.Replay = 0 }},
		{"replayed values", func(_ *statement.Rebuild, e *params, _ []statement.Resource) { e.ReplayValues = nil }},
		{"sandbox", func(p *statement.Rebuild, _ *params, _ []statement.Resource) {
			p.BuildDefinition.InternalParameters.Sandbox = "bwrap"
		}},
		{"recipe's name", func(_ *statement.Rebuild, _ *params, d []statement.Resource) { d[0].Name = "audited.yaml" }},
		{"recipe", func(_ *statement.Rebuild, _ *params, d []statement.Resource) { d[0].Digest["sha256"] = other }},
		{"tar of a commit", func(_ *statement.Rebuild, _ *params, d []statement.Resource) { d[1].Digest["sha256"] = other }},
		{"source's file", func(_ *statement.Rebuild, _ *params, d []statement.Resource) { d[1].Name = "x.tar" }},
		{"sha512 of a source", func(_ *statement.Rebuild, _ *params, d []statement.Resource) { d[1].Digest["sha512"] = other + other }},
		{"note on a source", func(_ *statement.Rebuild, _ *params, d []statement.Resource) {
			d[1].Annotations = map[string]string{"audited": "yes"}
		}},
		{"version of a tool", func(_ *statement.Rebuild, _ *params, d []statement.Resource) {
			d[6].Annotations["version"] = "GNU Make 4.4"
		}},
		{"tool", func(_ *statement.Rebuild, _ *params, d []statement.Resource) { d[5].Digest["sha256"] = other }},
		{"file of symbols", func(p *statement.Rebuild, _ *params, _ []statement.Resource) {
			p.RunDetails.Byproducts[2].Digest["sha256"] = other
		}},
		{"name of symbols", func(p *statement.Rebuild, _ *params, _ []statement.Resource) { p.RunDetails.Byproducts[2].Name = "x" }},
		{"no symbols", func(p *statement.Rebuild, _ *params, _ []statement.Resource) {
			p.RunDetails.Byproducts = p.RunDetails.Byproducts[:2]
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, b, p, one := recorded(t)
			c.change(p, &p.BuildDefinition.ExternalParameters, p.BuildDefinition.ResolvedDependencies)
			if Agrees(stated(t, p, one.Digest), r, b) == nil {
				t.Error("it agrees")
			}
		})
	}
	// The logs are the statement's word: the record has none.
	p.RunDetails.Byproducts[0].Digest["sha256"] = other
	if err := Agrees(stated(t, p, one.Digest), r, b); err != nil {
		t.Error(err)
	}
	if Agrees(stated(t, p, map[string]string{"sha256": other, "sha512": other + other}), r, b) == nil {
		t.Error("it agrees with another output")
	}
}

// A record that was never made of the recipe agrees with no statement, be it one that says the same.
func TestRecordOfAnotherRecipe(t *testing.T) {
	other := strings.Repeat("cd", 32)
	for name, change := range map[string]func(*reference.Recipe, *reference.Rebuilt){
		"recipe":       func(r *reference.Recipe, _ *reference.Rebuilt) { r.SHA256 = other },
		"source":       func(_ *reference.Recipe, b *reference.Rebuilt) { b.Sources = b.Sources[:2] },
		"name":         func(_ *reference.Recipe, b *reference.Rebuilt) { b.Sources[0].Name = "x" },
		"pin":          func(_ *reference.Recipe, b *reference.Rebuilt) { b.Sources[2].SHA256 = other },
		"place":        func(_ *reference.Recipe, b *reference.Rebuilt) { b.Sources[2].At = "/x" },
		"trust":        func(_ *reference.Recipe, b *reference.Rebuilt) { b.Sources[2].Trust = false },
		"rootfs":       func(_ *reference.Recipe, b *reference.Rebuilt) { b.Rootfs.SHA256 = other },
		"no rootfs":    func(_ *reference.Recipe, b *reference.Rebuilt) { b.Rootfs = nil },
		"tools":        func(_ *reference.Recipe, b *reference.Rebuilt) { b.Tools = b.Tools[1:] },
		"environment":  func(_ *reference.Recipe, b *reference.Rebuilt) { b.Env = []string{"A=1"} },
		"vary":         func(_ *reference.Recipe, b *reference.Rebuilt) { b.Vary = []string{"host"} },
		"outputs":      func(_ *reference.Recipe, b *reference.Rebuilt) { b.Outputs = b.Outputs[:1] },
		"path":         func(_ *reference.Recipe, b *reference.Rebuilt) { b.Outputs[1].Path = "x/b.bin" },
		"symbols":      func(_ *reference.Recipe, b *reference.Rebuilt) { b.Outputs[0].Symbols = nil },
		"no build":     func(_ *reference.Recipe, b *reference.Rebuilt) { b.Outputs[0].Builds = nil },
		"disagreement": func(_ *reference.Recipe, b *reference.Rebuilt) { b.Outputs[0].Builds[1].SHA256 = other },
		"agreement":    func(_ *reference.Recipe, b *reference.Rebuilt) { b.Agree = 1 },
		"nothing":      func(_ *reference.Recipe, b *reference.Rebuilt) { *b = reference.Rebuilt{} },
	} {
		r, b, p, one := recorded(t)
		s := stated(t, p, one.Digest)
		change(r, b)
		if Agrees(s, r, b) == nil {
			t.Errorf("%s: it agrees", name)
		}
	}
}
