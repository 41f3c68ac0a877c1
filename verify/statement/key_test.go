package statement_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/cosign/v2/pkg/cosign"

	"github.com/assaylab/assay/verify/statement"
)

func load(path, pass string) (*statement.Key, error) {
	return statement.LoadKey(path, func() ([]byte, error) { return []byte(pass), nil })
}

// noPassphrase fails a test whose key is not encrypted.
func noPassphrase(t testing.TB) func() ([]byte, error) {
	return func() ([]byte, error) {
		t.Error("was asked for a passphrase")
		return nil, errors.New("none")
	}
}

func TestLoadKey(t *testing.T) {
	for _, k := range kinds(t) {
		forms := map[string][]byte{"PKCS #8": block("PRIVATE KEY", pkcs8(t, k.key))}
		switch {
		case strings.HasPrefix(k.scheme, "ECDSA"):
			der, err := x509.MarshalECPrivateKey(ec(t, elliptic.P256()))
			if err != nil {
				t.Fatal(err)
			}
			if k.scheme == "ECDSA P-256 with SHA-256" {
				forms["SEC 1"] = block("EC PRIVATE KEY", der)
				forms["parameters first"] = append(block("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}), block("EC PRIVATE KEY", der)...)
			}
		case k.scheme == "RSA-2048 PKCS #1 v1.5 with SHA-256":
			forms["PKCS #1"] = block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey(t, 2048)))
		}
		for form, b := range forms {
			for _, text := range [][]byte{b, append([]byte("a comment\n"), b...), bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))} {
				key, err := statement.LoadKey(write(t, "signing.key", text), noPassphrase(t))
				if err != nil {
					t.Fatalf("%s in %s: %v", k.scheme, form, err)
				}
				if key.Scheme != k.scheme || key.Name != "signing.key" || len(key.Warnings) > 0 {
					t.Errorf("%s in %s: %+v", k.scheme, form, key)
				}
			}
		}
	}
}

func TestPublicHalf(t *testing.T) {
	k := ec(t, elliptic.P256())
	key, err := load(write(t, "k", block("PRIVATE KEY", pkcs8(t, k))), "")
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	if p, _ := pem.Decode(key.PublicPEM()); p == nil || p.Type != "PUBLIC KEY" || !bytes.Equal(p.Bytes, der) {
		t.Errorf("public half %q", key.PublicPEM())
	}
	if key.Fingerprint() != hex.EncodeToString(sum[:]) || key.Hint() != base64.StdEncoding.EncodeToString(sum[:]) {
		t.Errorf("fingerprint %s, hint %s", key.Fingerprint(), key.Hint())
	}
}

// cosignKey makes a key pair as cosign generate-key-pair does.
func cosignKey(t testing.TB, pass string) []byte {
	t.Helper()
	pair, err := cosign.GenerateKeyPair(func(bool) ([]byte, error) { return []byte(pass), nil })
	if err != nil {
		t.Fatal(err)
	}
	return pair.PrivateBytes
}

func TestCosignKey(t *testing.T) {
	b := cosignKey(t, "correct horse")
	older := bytes.ReplaceAll(b, []byte("SIGSTORE"), []byte("COSIGN"))
	for _, text := range [][]byte{b, older} {
		path := write(t, "cosign.key", text)
		key, err := load(path, "correct horse")
		if err != nil || key.Scheme != "ECDSA P-256 with SHA-256" {
			t.Fatalf("%+v %v", key, err)
		}
		_, err = load(path, "wrong horse")
		wantError(t, err, "the passphrase is wrong")
		_, err = load(path, "")
		wantError(t, err, "the passphrase is wrong")
		_, err = statement.LoadKey(path, nil)
		wantError(t, err, "is encrypted")
		none := errors.New("nobody there")
		if _, err = statement.LoadKey(path, func() ([]byte, error) { return nil, none }); !errors.Is(err, none) {
			t.Errorf("the passphrase's own error is lost: %v", err)
		}
	}
	if _, err := load(write(t, "cosign.key", cosignKey(t, "")), ""); err != nil {
		t.Errorf("an empty passphrase: %v", err)
	}
}

// Keys of other kinds that cosign imports sign too.
func TestCosignImports(t *testing.T) {
	pass := func(bool) ([]byte, error) { return []byte("p"), nil }
	for _, k := range kinds(t) {
		pair, err := cosign.ImportKeyPair(write(t, "k", block("PRIVATE KEY", pkcs8(t, k.key))), pass)
		if err != nil {
			t.Fatalf("%s: %v", k.scheme, err)
		}
		if key, err := load(write(t, "import-cosign.key", pair.PrivateBytes), "p"); err != nil || key.Scheme != k.scheme {
			t.Errorf("%s: %+v %v", k.scheme, key, err)
		}
	}
}

// A key file cannot make its reader derive a key with parameters of its choice.
func TestHostileScrypt(t *testing.T) {
	p, _ := pem.Decode(cosignKey(t, "p"))
	for name, set := range map[string]string{
		"memory":         `{"N":1073741824,"r":8,"p":1}`,
		"block size":     `{"N":32768,"r":1048576,"p":1}`,
		"time":           `{"N":32768,"r":8,"p":1073741823}`,
		"zero":           `{"N":0,"r":0,"p":0}`,
		"negative":       `{"N":-32768,"r":8,"p":1}`,
		"weak":           `{"N":2,"r":1,"p":1}`,
		"out of range":   `{"N":99999999999999999999,"r":8,"p":1}`,
		"of another typ": `"scrypt"`,
	} {
		t.Run(name, func(t *testing.T) {
			var v map[string]any
			if err := json.Unmarshal(p.Bytes, &v); err != nil {
				t.Fatal(err)
			}
			v["kdf"].(map[string]any)["params"] = json.RawMessage(set)
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			_, err = load(write(t, "cosign.key", block(p.Type, b)), "p")
			wantError(t, err, "cannot be read")
		})
	}
}

func TestLoadKeyRefuses(t *testing.T) {
	p256 := ec(t, elliptic.P256())
	good := block("PRIVATE KEY", pkcs8(t, p256))
	public, err := x509.MarshalPKIXPublicKey(p256.Public())
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sealed := func(der []byte) []byte {
		b, err := encrypted.EncryptWithCustomKDFParameters(der, []byte("p"), encrypted.Legacy)
		if err != nil {
			t.Fatal(err)
		}
		return block("ENCRYPTED SIGSTORE PRIVATE KEY", b)
	}
	odd := rsaKey(t, 2056)
	broken := *rsaKey(t, 2048)
	broken.D, broken.Primes = odd.D, odd.Primes
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "is empty"},
		{"text", []byte("hunter2\n"), "not PEM"},
		{"DER", pkcs8(t, p256), "not PEM"},
		{"half", good[:len(good)/2], "not PEM"},
		{"not base64", []byte("-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n"), "not PEM"},
		{"empty block", block("PRIVATE KEY", nil), "cannot be read"},
		{"truncated DER", block("PRIVATE KEY", pkcs8(t, p256)[:40]), "cannot be read"},
		{"two keys", append(bytes.Clone(good), good...), "more than one PEM block"},
		{"key and certificate", append(bytes.Clone(good), block("CERTIFICATE", []byte("x"))...), "more than one PEM block"},
		{"public key", block("PUBLIC KEY", public), "no private key, but a public key"},
		{"RSA public key", block("RSA PUBLIC KEY", public), "no private key"},
		{"certificate", block("CERTIFICATE", public), "no private key, but a certificate"},
		{"encrypted PKCS #8", block("ENCRYPTED PRIVATE KEY", []byte("x")), "encrypted in PKCS #8"},
		{"old openssl", []byte("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n"), "old way of openssl"},
		{"OpenSSH", block("OPENSSH PRIVATE KEY", []byte("openssh-key-v1\x00")), "form of OpenSSH"},
		{"DSA", block("DSA PRIVATE KEY", []byte("x")), "no private key known"},
		{"parameters alone", block("EC PARAMETERS", []byte{6, 0}), "not PEM"},
		{"SEC 1 under the name of PKCS #8", block("PRIVATE KEY", func() []byte { b, _ := x509.MarshalECPrivateKey(p256); return b }()), "cannot be read"},
		{"P-224", block("PRIVATE KEY", pkcs8(t, ec(t, elliptic.P224()))), "P-224"},
		{"X25519", block("PRIVATE KEY", pkcs8(t, x25519)), "does not sign"},
		{"RSA of an odd size", block("PRIVATE KEY", pkcs8(t, odd)), "2056 bits"},
		{"RSA that does not fit together", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(&broken)), "cannot be read"},
		{"enormous RSA", block("RSA PRIVATE KEY", bytes.Repeat([]byte{0x30, 0x82, 0x20, 0}, 1<<12)), "larger than any"},
		{"encrypted text", sealed([]byte("hunter2")), "cannot be read"},
		{"encrypted PEM", sealed(good), "cannot be read"},
		{"encrypted enormity", sealed(make([]byte, 8<<10)), "larger than any"},
		{"encrypted by no JSON", block("ENCRYPTED SIGSTORE PRIVATE KEY", []byte("x")), "cannot be read"},
		{"encrypted by null", block("ENCRYPTED COSIGN PRIVATE KEY", []byte("null")), "cannot be read"},
		{"encrypted, deep", block("ENCRYPTED SIGSTORE PRIVATE KEY", bytes.Repeat([]byte("["), 1000)), "nested deeper"},
	} {
		t.Run(c.name, func(t *testing.T) {
			key, err := load(write(t, "k.pem", c.file), "p")
			if key != nil {
				t.Fatal("a key was loaded")
			}
			wantError(t, err, c.want)
		})
	}
}

// A weak key, which crypto/rsa refuses to make.
func TestWeakRSA(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	_, err := load(write(t, "k.pem", block("PRIVATE KEY", pkcs8(t, rsaKey(t, 1024)))), "")
	wantError(t, err, "1024 bits")
}

func TestReferencesAreRefused(t *testing.T) {
	for _, ref := range []string{
		"awskms:///arn:aws:kms:x", "gcpkms://projects/p", "azurekms://v/k", "hashivault://k", "k8s://n/s",
		"gitlab://1", "github://o/r", "env://KEY", "https://vendor.example/k.pem", "pkcs11:token=t",
	} {
		_, err := statement.LoadKey(ref, noPassphrase(t))
		wantError(t, err, "is not supported")
	}
	// A file whose name looks like one is a file.
	_, err := statement.LoadKey("./awskms:", noPassphrase(t))
	wantError(t, err, "no such file")
}

func TestKeyFiles(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := block("PRIVATE KEY", pkcs8(t, key))
	path := write(t, "k.pem", good)
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true, 0o606: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		k, err := load(path, "")
		if err != nil || (len(k.Warnings) > 0) != warned {
			t.Errorf("%v: %v %v", mode, k, err)
		}
	}
	_, err = load(t.TempDir(), "")
	wantError(t, err, "cannot read the private key")
	_, err = load(path+".none", "")
	wantError(t, err, "no such file")
	big := write(t, "big", nil)
	if err := os.Truncate(big, 1<<40); err != nil {
		t.Fatal(err)
	}
	_, err = load(big, "")
	wantError(t, err, "larger than")
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = load(fifo, "") // returns, though nobody writes
	wantError(t, err, "is empty")
}

func TestKeyFromPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.Write(block("PRIVATE KEY", pkcs8(t, ec(t, elliptic.P256())))); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if k, err := load(fmt.Sprintf("/dev/fd/%d", r.Fd()), ""); err != nil || len(k.Warnings) > 0 {
		t.Errorf("%+v %v", k, err)
	}
}

func TestReadPassphrase(t *testing.T) {
	for text, want := range map[string]string{"p": "p", "p\n": "p", "p\r\n": "p", " p \n\n": " p \n", "ü\x00\n": "ü\x00"} {
		if b, err := statement.ReadPassphrase(write(t, "pass", []byte(text))); err != nil || string(b) != want {
			t.Errorf("%q: %q %v", text, b, err)
		}
	}
	for text, want := range map[string]string{"": "is empty", "\n": "is empty", strings.Repeat("p", 1<<13): "larger than"} {
		_, err := statement.ReadPassphrase(write(t, "pass", []byte(text)))
		wantError(t, err, want)
	}
}

// Keys as openssl writes them.
func TestOpenSSLKeys(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		out := filepath.Join(dir, "k.pem")
		b, err := exec.Command(openssl, append(args, "-out", out)...).CombinedOutput()
		if err != nil {
			t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, b)
		}
		return out
	}
	for _, c := range []struct {
		scheme string
		args   []string
	}{
		{"ECDSA P-256 with SHA-256", []string{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"}},
		{"ECDSA P-384 with SHA-384", []string{"ecparam", "-name", "secp384r1", "-genkey"}},
		{"ECDSA P-521 with SHA-512", []string{"ecparam", "-name", "secp521r1", "-genkey", "-noout"}},
		{"RSA-2048 PKCS #1 v1.5 with SHA-256", []string{"genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"}},
		{"Ed25519", []string{"genpkey", "-algorithm", "ED25519"}},
	} {
		if k, err := statement.LoadKey(run(c.args...), noPassphrase(t)); err != nil || k.Scheme != c.scheme {
			t.Errorf("%v: %+v %v", c.args, k, err)
		}
	}
	plain := run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
	in := filepath.Join(dir, "plain.pem")
	if err := os.Rename(plain, in); err != nil {
		t.Fatal(err)
	}
	traditional := run("ec", "-in", in)
	if _, err := statement.LoadKey(traditional, noPassphrase(t)); err != nil {
		t.Error(err)
	}
	_, err = load(run("pkcs8", "-topk8", "-in", in, "-passout", "pass:p"), "p")
	wantError(t, err, "encrypted in PKCS #8")
	_, err = load(run("ec", "-in", in, "-aes128", "-passout", "pass:p"), "p")
	wantError(t, err, "old way of openssl")
	_, err = load(run("genpkey", "-algorithm", "X25519"), "")
	wantError(t, err, "does not sign")
	_, err = load(run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"), "")
	wantError(t, err, "cannot be read")
	_, err = load(run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"), "")
	wantError(t, err, "cannot be read")
}

func FuzzLoadKey(f *testing.F) {
	f.Add(block("PRIVATE KEY", pkcs8(f, ec(f, elliptic.P256()))))
	f.Add(block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey(f, 2048))))
	f.Add(block("EC PARAMETERS", []byte{6, 0}))
	f.Add(block("ENCRYPTED PRIVATE KEY", []byte{}))
	b, err := encrypted.EncryptWithCustomKDFParameters(pkcs8(f, ec(f, elliptic.P256())), []byte("p"), encrypted.Legacy)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(block("ENCRYPTED SIGSTORE PRIVATE KEY", b))
	payload := encoded(f, account())
	path := filepath.Join(f.TempDir(), "k.pem")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := load(path, "p")
		if (k == nil) != (err != nil) {
			t.Fatalf("%v %v", k, err)
		}
		if k == nil {
			wantHint(t, err)
			return
		}
		e, err := statement.Sign(k, payload)
		if err != nil {
			t.Fatalf("a key was loaded that does not sign: %v", err)
		}
		verifies(t, k, e)
	})
}
