package derive

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/reference"
)

// reads demands of a recipe that was derived that it is one, or says what is to be
// filled in, and that nothing of the record stands in it raw.
func reads(t *testing.T, d *Derived) {
	t.Helper()
	if bytes.ContainsAny(d.Recipe, "\x00\x1b\x7f\r") {
		t.Fatalf("a control character in the recipe:\n%q", d.Recipe)
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
	f.Fuzz(func(t *testing.T, payload []byte) {
		if d, err := FromStatement(payload); err == nil {
			reads(t, d)
		}
	})
}
