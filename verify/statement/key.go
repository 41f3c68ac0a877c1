package statement

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // linked for crypto.SHA384 and crypto.SHA512
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"github.com/assaylab/assay/verify/internal/strictjson"
)

// Limits on a key, in bytes. The private key of the largest kind, RSA-4096, has
// less than 2400; the arithmetic on a larger one is not worth starting.
const (
	MaxKey = 64 << 10 // of the file
	maxDER = 4 << 10
)

// A Key signs statements. The zero Key signs nothing.
type Key struct {
	Name     string   // last element of its path
	Scheme   string   // kind, size and scheme, as in "ECDSA P-256 with SHA-256"
	Warnings []string // that a user should know of, one a line

	signer crypto.Signer
	hash   crypto.Hash // 0: the message itself is signed
	spki   []byte      // DER SubjectPublicKeyInfo
}

// Fingerprint is the SHA-256 of the DER SubjectPublicKeyInfo in hexadecimal, as
// package signature reports it of a public key.
func (k *Key) Fingerprint() string {
	sum := sha256.Sum256(k.spki)
	return hex.EncodeToString(sum[:])
}

// Hint is the same digest in base64, as cosign puts it in a bundle.
func (k *Key) Hint() string {
	sum := sha256.Sum256(k.spki)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// PublicPEM is the public half, a PEM block "PUBLIC KEY".
func (k *Key) PublicPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.spki})
}

const keyHint = "give one private key in PEM: ECDSA P-256, P-384 or P-521, RSA of 2048, 3072 or 4096 bits, or Ed25519; cosign generate-key-pair makes one"

// remote is what other tools take for keys that are not files.
var remote = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://|pkcs11:)`)

// LoadKey reads a private key file: one PEM block in PKCS #8, SEC 1 (EC) or
// PKCS #1 (RSA), unencrypted, or encrypted as cosign writes it. The passphrase
// is asked for only when it is needed, and once; a nil function has none. What it
// returns is overwritten. An error is an [Error], or that of passphrase.
func LoadKey(path string, passphrase func() ([]byte, error)) (*Key, error) {
	name := filepath.Base(path)
	if scheme := remote.FindString(path); scheme != "" {
		return nil, trouble("assay sign reaches no network, device or environment for a key; give a file, or sign the output of --statement-only with cosign attest-blob --statement",
			"a key of %s is not supported", scheme)
	}
	k := &Key{Name: name}
	b, mode, err := readInput("private key", path, MaxKey)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	if mode.IsRegular() && mode.Perm()&0o007 != 0 {
		k.Warnings = append(k.Warnings, fmt.Sprintf("the private key %q is open to every user of this machine; chmod 600 closes it", name))
	}
	block, err := privateBlock(name, b)
	if err != nil {
		return nil, err
	}
	defer clear(block.Bytes)
	kind, der := block.Type, block.Bytes
	if kind == typeCosign || kind == typeSigstore {
		if der, err = decrypt(name, der, passphrase); err != nil {
			return nil, err
		}
		defer clear(der)
		kind = typePKCS8
	}
	if len(der) > maxDER {
		return nil, trouble(keyHint, "the private key %q is larger than any that is supported: %d bytes", name, len(der))
	}
	private, err := parse(kind, der)
	if err != nil {
		return nil, trouble(keyHint, "the private key %q cannot be read: %v", name, err)
	}
	if err := k.use(private); err != nil {
		return nil, trouble(keyHint, "the private key %q cannot be used: %v", name, err)
	}
	return k, nil
}

// Types of PEM blocks.
const (
	typePKCS8    = "PRIVATE KEY"
	typeEC       = "EC PRIVATE KEY"
	typeRSA      = "RSA PRIVATE KEY"
	typeSigstore = "ENCRYPTED SIGSTORE PRIVATE KEY"
	typeCosign   = "ENCRYPTED COSIGN PRIVATE KEY"
)

// privateBlock returns the one PEM block of a file. The parameters that openssl
// writes before an EC key are passed over: the key names its curve itself.
func privateBlock(name string, b []byte) (*pem.Block, error) {
	block, rest := pem.Decode(b)
	if block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	switch {
	case len(b) == 0:
		return nil, trouble(keyHint, "the private key %q is empty", name)
	case block == nil:
		return nil, trouble(keyHint, "the private key %q is not PEM", name)
	case bytes.Contains(rest, []byte("-----BEGIN ")):
		return nil, trouble("give one file per key", "%q holds more than one PEM block", name)
	}
	const decrypt = `let openssl decrypt it into a pipe: --key <(openssl pkey -in FILE)`
	switch t := block.Type; {
	case t == "ENCRYPTED PRIVATE KEY":
		return nil, trouble(decrypt, "the private key %q is encrypted in PKCS #8", name)
	case t == typeSigstore || t == typeCosign:
		return block, nil
	case strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return nil, trouble(decrypt, "the private key %q is encrypted in the old way of openssl", name)
	case t == typePKCS8 || t == typeEC || t == typeRSA:
		return block, nil
	case t == "OPENSSH PRIVATE KEY":
		return nil, trouble("convert a copy of an ECDSA or RSA key: ssh-keygen -p -m PKCS8 -f COPY", "the private key %q is in the form of OpenSSH", name)
	case strings.Contains(t, "PUBLIC KEY") || t == "CERTIFICATE":
		return nil, trouble("sign with the private half", "%q holds no private key, but a %s", name, strings.ToLower(t))
	}
	return nil, trouble(keyHint, "%q holds a %.60q, which is no private key known here", name, block.Type)
}

// decrypt opens what cosign encrypted: JSON of scrypt parameters and a NaCl
// secretbox. The library takes three sets of parameters and refuses others
// before it derives a key (N to 2^17, r = 8, p = 1: up to 128 MiB).
func decrypt(name string, b []byte, passphrase func() ([]byte, error)) ([]byte, error) {
	if err := strictjson.CheckShape(b); err != nil {
		return nil, trouble(keyHint, "the private key %q cannot be read: %v", name, err)
	}
	if passphrase == nil {
		return nil, trouble("give its passphrase", "the private key %q is encrypted", name)
	}
	pass, err := passphrase()
	if err != nil {
		return nil, err
	}
	defer clear(pass)
	der, err := encrypted.Decrypt(b, pass)
	if err == nil {
		return der, nil
	}
	if strings.HasSuffix(err.Error(), "decryption failed") {
		return nil, trouble("give the passphrase that the key was made with; an empty one counts too", "the private key %q does not open: the passphrase is wrong, or the file was changed", name)
	}
	return nil, trouble(keyHint, "the private key %q cannot be read: %.200s", name, strings.TrimPrefix(err.Error(), "encrypted: "))
}

func parse(kind string, der []byte) (any, error) {
	switch kind {
	case typeEC:
		return x509.ParseECPrivateKey(der)
	case typeRSA:
		return x509.ParsePKCS1PrivateKey(der)
	}
	return x509.ParsePKCS8PrivateKey(der)
}

// use settles the scheme in which a private key signs.
func (k *Key) use(private any) error {
	signer, ok := private.(crypto.Signer)
	if !ok {
		return errors.New("it is of a kind that does not sign")
	}
	switch p := signer.Public().(type) {
	case *ecdsa.PublicKey:
		switch p.Curve {
		case elliptic.P256():
			k.hash = crypto.SHA256
		case elliptic.P384():
			k.hash = crypto.SHA384
		case elliptic.P521():
			k.hash = crypto.SHA512
		default:
			return fmt.Errorf("its curve is %s", p.Curve.Params().Name)
		}
		k.Scheme = fmt.Sprintf("ECDSA %s with %v", p.Curve.Params().Name, k.hash)
	case *rsa.PublicKey:
		switch n := p.N.BitLen(); n {
		case 2048, 3072, 4096:
			k.hash = crypto.SHA256
			k.Scheme = fmt.Sprintf("RSA-%d PKCS #1 v1.5 with %v", n, k.hash)
		default:
			return fmt.Errorf("it is an RSA key of %d bits", n)
		}
	case ed25519.PublicKey:
		k.Scheme = "Ed25519"
	default:
		return errors.New("it is of an unknown kind")
	}
	spki, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return err
	}
	k.signer, k.spki = signer, spki
	return nil
}
