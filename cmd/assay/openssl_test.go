package main

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenSSL: signatures and time stamps by openssl, in each scheme that a key
// may have.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	do := func(t *testing.T, args ...string) {
		t.Helper()
		cmd := exec.Command(openssl, args...)
		cmd.Dir = dir
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("openssl %q: %v\n%s", args, err, text)
		}
	}
	write := func(name string, b []byte) string {
		t.Helper()
		if err := os.WriteFile(path(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path(name)
	}
	write("fw.bin", []byte("firmware\n"))
	write("other.bin", []byte("firmwarf\n"))
	pss := []string{"-sha256", "-sigopt", "rsa_padding_mode:pss"}
	for _, c := range []struct {
		scheme string
		key    []string // of genpkey
		sign   []string // of dgst; nil: pkeyutl over the message itself
	}{
		{"ECDSA P-256 with SHA-256", []string{"EC", "-pkeyopt", "ec_paramgen_curve:P-256"}, []string{"-sha256"}},
		{"ECDSA P-384 with SHA-384", []string{"EC", "-pkeyopt", "ec_paramgen_curve:P-384"}, []string{"-sha384"}},
		{"ECDSA P-384 with SHA-256", []string{"EC", "-pkeyopt", "ec_paramgen_curve:P-384"}, []string{"-sha256"}},
		{"ECDSA P-521 with SHA-512", []string{"EC", "-pkeyopt", "ec_paramgen_curve:P-521"}, []string{"-sha512"}},
		{"RSA-2048 PKCS #1 v1.5 with SHA-256", []string{"RSA", "-pkeyopt", "rsa_keygen_bits:2048"}, []string{"-sha256"}},
		{"RSA-3072 PKCS #1 v1.5 with SHA-256", []string{"RSA", "-pkeyopt", "rsa_keygen_bits:3072"}, []string{"-sha256"}},
		{"RSA-2048 PSS with SHA-256", []string{"RSA", "-pkeyopt", "rsa_keygen_bits:2048"}, append(pss, "-sigopt", "rsa_pss_saltlen:digest")},
		{"RSA-3072 PSS with SHA-256", []string{"RSA", "-pkeyopt", "rsa_keygen_bits:3072"}, append(pss, "-sigopt", "rsa_pss_saltlen:max")},
		{"Ed25519", []string{"ED25519"}, nil},
	} {
		t.Run(c.scheme, func(t *testing.T) {
			do(t, append([]string{"genpkey", "-out", "k.pem", "-algorithm"}, c.key...)...)
			do(t, "pkey", "-in", "k.pem", "-pubout", "-out", "k.pub")
			if c.sign != nil {
				do(t, append(append([]string{"dgst"}, c.sign...), "-sign", "k.pem", "-out", "fw.sig", "fw.bin")...)
			} else {
				do(t, "pkeyutl", "-sign", "-inkey", "k.pem", "-rawin", "-in", "fw.bin", "-out", "fw.sig")
			}
			raw, err := os.ReadFile(path("fw.sig"))
			if err != nil {
				t.Fatal(err)
			}
			for _, sig := range []string{path("fw.sig"), write("fw.b64", []byte(base64.StdEncoding.EncodeToString(raw)+"\n"))} {
				if stdout, stderr, code := assay("verify", path("fw.bin"), "--key", path("k.pub"), "--signature", sig); code != 0 || !strings.Contains(stdout, "scheme     "+c.scheme+"\n") {
					t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
				}
				if stdout, stderr, code := assay("verify", path("other.bin"), "--key", path("k.pub"), "--signature", sig); code != 1 {
					t.Errorf("another file: exit code %d\n%s%s", code, stdout, stderr)
				}
			}
		})
	}

	// A PKI of one's own, as openssl makes it: a CA, a signer, and a time stamp.
	write("ext.cnf", []byte(`
[ca]
basicConstraints=critical,CA:true
keyUsage=critical,keyCertSign
[signer]
keyUsage=critical,digitalSignature
extendedKeyUsage=codeSigning
subjectAltName=email:release@vendor.example
[stamper]
keyUsage=critical,digitalSignature
extendedKeyUsage=critical,timeStamping
[tsa]
default_tsa=tsa1
[tsa1]
serial=serial
crypto_device=builtin
signer_digest=sha256
default_policy=1.2.3.4.1
digests=sha256,sha512
accuracy=secs:1
ordering=no
tsa_name=no
ess_cert_id_chain=no
`))
	write("serial", []byte("01\n"))
	p256 := []string{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"}
	do(t, append(p256, "ca.key")...)
	do(t, "req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=vendor CA", "-days", "30", "-out", "ca.pem", "-config", "/dev/null", "-addext", "basicConstraints=critical,CA:true", "-addext", "keyUsage=critical,keyCertSign")
	for _, who := range []string{"signer", "stamper"} {
		do(t, append(p256, who+".key")...)
		do(t, "req", "-new", "-key", who+".key", "-subj", "/CN="+who, "-out", who+".csr", "-config", "/dev/null")
		do(t, "x509", "-req", "-in", who+".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "10", "-extfile", "ext.cnf", "-extensions", who, "-out", who+".pem")
	}
	do(t, "dgst", "-sha256", "-sign", "signer.key", "-out", "fw.sig", "fw.bin")
	do(t, "ts", "-query", "-data", "fw.sig", "-sha256", "-cert", "-out", "fw.tsq")
	do(t, "ts", "-reply", "-config", "ext.cnf", "-section", "tsa1", "-queryfile", "fw.tsq", "-signer", "stamper.pem", "-inkey", "stamper.key", "-out", "fw.tsr")
	var trusted []byte
	for _, name := range []string{"ca.pem", "stamper.pem"} {
		b, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		trusted = append(trusted, b...)
	}
	write("trusted.pem", trusted)
	t.Run("private PKI", func(t *testing.T) {
		args := []string{
			"--signature", path("fw.sig"), "--certificate", path("signer.pem"), "--rfc3161-timestamp", path("fw.tsr"),
			"--private-pki", "--trusted-root", path("trusted.pem"),
			"--certificate-identity", "release@vendor.example", "--certificate-oidc-issuer-regexp", ".*",
		}
		if stdout, stderr, code := assay(append([]string{"verify", path("fw.bin")}, args...)...); code != 0 {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
		if stdout, stderr, code := assay(append([]string{"verify", path("other.bin")}, args...)...); code != 1 {
			t.Errorf("another file: exit code %d\n%s%s", code, stdout, stderr)
		}
		args[len(args)-3] = "mallory@vendor.example"
		if stdout, stderr, code := assay(append([]string{"verify", path("fw.bin")}, args...)...); code != 1 || !strings.Contains(stdout, "release@vendor.example") {
			t.Errorf("another name: exit code %d\n%s%s", code, stdout, stderr)
		}
	})
}
