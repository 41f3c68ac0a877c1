package derive

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/statement"
)

// reads demands of a recipe that was derived that it is one, or says what is to be
// filled in, and that nothing of the record stands in it raw.
func reads(t *testing.T, d *Derived) {
	t.Helper()
	if bytes.ContainsFunc(d.Recipe, func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }) {
		t.Fatalf("a sign that cannot be seen in the recipe:\n%q", d.Recipe)
	}
	name := filepath.Join(t.TempDir(), "recipe.yaml")
	if err := os.WriteFile(name, d.Recipe, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := reference.LoadRecipe(name)
	if d.Complete && err != nil {
		t.Fatalf("%v\n%s", err, d.Recipe)
	}
	if !d.Complete && (err == nil || !strings.Contains(string(d.Recipe), reference.FillIn)) {
		t.Fatalf("not complete, and %v\n%s", err, d.Recipe)
	}
}

func FuzzBuildinfo(f *testing.F) {
	f.Add([]byte("Format: 1.0\nSource: hello\nBinary: hello\nArchitecture: amd64\nVersion: 1.0-1\nChecksums-Sha256:\n "+
		strings.Repeat("ab", 32)+" 100 hello_1.0-1.dsc\n "+strings.Repeat("cd", 32)+" 200 hello_1.0-1_amd64.deb\n"+
		"Build-Path: /build/hello-1.0\nEnvironment:\n SOURCE_DATE_EPOCH=\"1600000000\"\n DEB_BUILD_OPTIONS=\"parallel=2\"\n"), "")
	f.Add([]byte(plainInfo+" LD_PRELOAD=\"/x\"\n"), "")
	f.Add([]byte(strings.Replace(plainInfo, `TZ="UTC"`, `LD_PRELOAD="/x"`+"\n PATH=\"\u202e\"\n LDFLAGS=\"FILL-IN \U000e0041\u200b\"", 1)), "")
	f.Add([]byte(strings.Replace(plainInfo, "/build/x/", "/build/\u202e\U000e0041/", 1)), "")
	f.Add([]byte("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nFormat: 1.0\n"), strings.Repeat("ef", 32))
	f.Fuzz(func(t *testing.T, text []byte, dsc string) {
		if d, err := FromBuildinfo(text, dsc, nil); err == nil {
			reads(t, d)
		}
	})
}

func FuzzFromStatement(f *testing.F) {
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"fw.bin","digest":{"sha256":"` + strings.Repeat("ab", 32) +
		`"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{"buildDefinition":{"buildType":"https://slsa.dev/container-based-build/v0.1",` +
		`"externalParameters":{"source":{"uri":"git+https://git.example/fw","digest":{"gitCommit":"` + strings.Repeat("12", 20) +
		`"}},"builderImage":{"uri":"docker.example/gcc@sha256:` + strings.Repeat("34", 32) + `","digest":{"sha256":"` + strings.Repeat("34", 32) +
		`"}},"configPath":".build.toml","buildConfig":{"ArtifactPath":"out/fw.bin","Command":["make","all"]}}},"runDetails":{"builder":{"id":"https://b.example"}}}}`))
	for _, env := range []string{"A=1", "zz: \"1\"\nreplay: {max_rebuilds: 200}\nnetwork=none", "A=\u202e\u200b\U000e0041", "A=FILL-IN", "A"} {
		for _, source := range []string{"fw.tar", "../../../../etc/passwd", "FILL-IN", "/", "a/\u202e\U000e0041\x1b"} {
			s := ownStatement(f, func(p *statement.Rebuild) {
				p.BuildDefinition.ExternalParameters.Env = []string{env}
				p.BuildDefinition.ExternalParameters.Sources[0].Name = source
				p.BuildDefinition.ExternalParameters.Steps = [][]string{{"echo", "X=FILL-IN", env}}
			})
			b, err := s.Encode()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if d, err := FromStatement(payload); err == nil {
			reads(t, d)
		}
	})
}
