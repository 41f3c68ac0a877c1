package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/assaylab/assay/verify/signature/sigtest"
)

const (
	cosignVersion = "v2.6.5"
	revision      = "5d1a3bd2aa0e4b5c6d7e8f901234567890abcdef"
)

// TestCosignRecorded verifies what the real cosign made (testdata/cosign/make.sh).
func TestCosignRecorded(t *testing.T) {
	verifyCosign(t, filepath.Join("..", "..", "testdata", "cosign", cosignVersion))
}

// verifyCosign holds assay against a folder that make.sh made.
func verifyCosign(t *testing.T, dir string) {
	other := filepath.Join(t.TempDir(), "fw.bin")
	if err := os.WriteFile(other, []byte("firmware that nobody signed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fw := filepath.Join(dir, "fw.bin")
	kinds := map[string]string{
		"p256": "ECDSA P-256 with SHA-256", "p384": "ECDSA P-384 with SHA-384", "p521": "ECDSA P-521 with SHA-512",
		"rsa2048": "RSA-2048 PKCS #1 v1.5 with SHA-256", "ed25519": "Ed25519ph",
	}
	for kind, scheme := range kinds {
		key := filepath.Join(dir, kind+".pub")
		for _, form := range []string{".sig", ".legacy.json", ".sigstore.json", ".attestation.legacy.json", ".attestation.sigstore.json"} {
			attestation := strings.Contains(form, "attestation")
			if kind == "ed25519" && !attestation {
				continue // cosign makes none without a log
			}
			t.Run(kind+form, func(t *testing.T) {
				flag := "--bundle"
				if form == ".sig" {
					flag = "--signature"
				}
				args := []string{"--key", key, flag, filepath.Join(dir, kind+form)}
				if attestation {
					args = append(args, "--type", "slsaprovenance1", "--provenance-builder-id", "https://builder.example/v1",
						"--provenance-source", "https://git.example/fw", "--provenance-revision", revision)
				}
				if stdout, stderr, code := assay(append([]string{"verify", fw}, args...)...); code != 0 || !strings.Contains(stdout, "scheme     "+scheme+"\n") {
					t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
				}
				if stdout, stderr, code := assay(append([]string{"verify", other}, args...)...); code != 1 {
					t.Errorf("another file: exit code %d\n%s%s", code, stdout, stderr)
				}
				for another := range kinds {
					if another == kind {
						continue
					}
					args[1] = filepath.Join(dir, another+".pub")
					if stdout, stderr, code := assay(append([]string{"verify", fw}, args...)...); code != 1 {
						t.Errorf("another key: exit code %d\n%s%s", code, stdout, stderr)
					}
				}
				args[1] = key
				if attestation {
					args[len(args)-1] = strings.Repeat("0", 40)
					if stdout, stderr, code := assay(append([]string{"verify", fw}, args...)...); code != 1 || !strings.Contains(stdout, revision) {
						t.Errorf("another revision: exit code %d\n%s%s", code, stdout, stderr)
					}
				}
			})
		}
	}
}

// TestCosign makes everything anew with the real cosign at $ASSAY_COSIGN: files,
// images in a real registry by its tags and referrers, images that it saved on
// disk; and lets it verify what assay signs.
func TestCosign(t *testing.T) {
	cosign := os.Getenv("ASSAY_COSIGN")
	if cosign == "" {
		t.Skip("ASSAY_COSIGN names no cosign: make test-cosign builds it")
	}
	dir := t.TempDir()
	do := func(t *testing.T, program string, args ...string) {
		t.Helper()
		cmd := exec.Command(program, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=test", "COSIGN_YES=true", "HOME="+dir, "TUF_ROOT="+filepath.Join(dir, "tuf"), "COSIGN_EXPERIMENTAL=1")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v\n%s", filepath.Base(program), args, err, text)
		}
	}
	script, err := filepath.Abs(filepath.Join("..", "..", "testdata", "cosign", "make.sh"))
	if err != nil {
		t.Fatal(err)
	}
	made := filepath.Join(dir, "made")
	do(t, script, cosign, made)
	t.Run("files", func(t *testing.T) { verifyCosign(t, made) })

	do(t, cosign, "generate-key-pair")
	do(t, cosign, "generate-key-pair", "--output-key-prefix", "other")
	key, pub, otherPub := filepath.Join(dir, "cosign.key"), filepath.Join(dir, "cosign.pub"), filepath.Join(dir, "other.pub")
	predicate := filepath.Join(made, "predicate.json")

	t.Run("registry", func(t *testing.T) {
		registry := dockerRegistry(t)
		for _, c := range []struct {
			how  string
			sign [][]string
			args []string // of assay verify, beside the key
			none []string // with these it does not hold
		}{
			{"tag", [][]string{{"sign", "--tlog-upload=false"}}, nil, []string{"--type", "slsaprovenance1"}},
			{"attestation at a tag", [][]string{{"attest", "--tlog-upload=false", "--type", "slsaprovenance1", "--predicate", predicate}}, []string{"--type", "slsaprovenance1", "--provenance-revision", revision}, nil},
			{"bundle", [][]string{{"sign", "--tlog-upload=false", "--new-bundle-format"}}, nil, []string{"--type", "slsaprovenance1"}},
			{"attestation in a bundle", [][]string{{"attest", "--tlog-upload=false", "--new-bundle-format", "--type", "slsaprovenance1", "--predicate", predicate}}, []string{"--provenance-builder-id", "https://builder.example/v1"}, nil},
			{"referrer", [][]string{{"sign", "--tlog-upload=false", "--registry-referrers-mode=oci-1-1"}}, nil, []string{"--type", "slsaprovenance1"}},
			{"all", [][]string{
				{"sign", "--tlog-upload=false"},
				{"sign", "--tlog-upload=false", "--new-bundle-format"},
				{"attest", "--tlog-upload=false", "--type", "slsaprovenance1", "--predicate", predicate},
			}, nil, []string{"--type", "vuln"}},
		} {
			t.Run(c.how, func(t *testing.T) {
				img, err := random.Image(10_000, 3)
				if err != nil {
					t.Fatal(err)
				}
				repo, err := name.NewRepository(registry + "/vendor/" + strings.ReplaceAll(c.how, " ", "-"))
				if err != nil {
					t.Fatal(err)
				}
				digest, err := img.Digest()
				if err == nil {
					err = remote.Write(repo.Tag("latest"), img)
				}
				if err != nil {
					t.Fatal(err)
				}
				image := repo.Name() + "@" + digest.String()
				for _, args := range c.sign {
					do(t, cosign, append(args, "--key", key, image)...)
				}
				refs := []string{"docker://" + image}
				if !strings.Contains(c.how, "referrer") && !strings.Contains(c.how, "bundle") { // those are not saved
					saved := filepath.Join(t.TempDir(), "saved")
					do(t, cosign, "save", "--dir", saved, image)
					refs = append(refs, "oci:"+saved+"@"+digest.String())
				}
				for _, ref := range refs {
					try := func(code int, key string, more ...string) {
						t.Helper()
						stdout, stderr, got := assay(append([]string{"verify", ref, "--network", "--key", key}, more...)...)
						if got != code {
							t.Errorf("%s %q: exit code %d, want %d\n%s%s", ref, more, got, code, stdout, stderr)
						}
					}
					try(0, pub, c.args...)
					try(1, otherPub, c.args...)
					if c.none != nil {
						try(1, pub, c.none...)
					} else {
						try(1, pub) // an attestation is no signature
					}
				}
			})
		}
	})

	t.Run("cosign verifies what assay signs", func(t *testing.T) {
		evidence, image, signed := filepath.Join(dir, "evidence"), filepath.Join(made, "fw.bin"), filepath.Join(dir, "signed.json")
		if _, stderr, code := assay("check", "--evidence", evidence, delivery(t, dir, image)); code != 0 {
			t.Fatalf("exit code %d\n%s", code, stderr)
		}
		passphrase := filepath.Join(dir, "passphrase")
		if err := os.WriteFile(passphrase, []byte("test"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, stderr, code := assay("sign", evidence, "--key", key, "--passphrase-file", passphrase, "--out", signed); code != 0 {
			t.Fatalf("exit code %d\n%s", code, stderr)
		}
		a, err := sigtest.New() // cosign asks for some trusted root, and needs nothing of it here
		root := newTrapper(t, a, err).root()
		do(t, cosign, "verify-blob-attestation", "--bundle", signed, "--new-bundle-format", "--key", pub, "--insecure-ignore-tlog", "--trusted-root", root,
			"--type", "https://assay.dev/attestation/byte-accounting/v0.1", image)
		if stdout, stderr, code := assay("verify", image, "--bundle", signed, "--key", pub); code != 0 {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
	})
}

func delivery(t *testing.T, dir, image string) string {
	t.Helper()
	path := filepath.Join(dir, "delivery.yaml")
	text := fmt.Sprintf("version: 1\nname: x\ndeployed: {path: %q}\nreference: {path: %q}\n", image, image)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// dockerRegistry starts Debian's registry on a free port of this machine.
func dockerRegistry(t *testing.T) (host string) {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("docker-registry is not installed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host = l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", config)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for range 200 {
		if r, err := http.Get("http://" + host + "/v2/"); err == nil {
			_ = r.Body.Close()
			return host
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("docker-registry does not answer\n%s", log.String())
	return ""
}
