package signature

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	sig "github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// A scheme is one way in which a key signs.
type scheme struct {
	name     string
	hash     crypto.Hash // of the message; 0: the message itself is signed
	verifier sig.Verifier
}

// A publicKey is the caller's trust, and the schemes it stands for, the usual
// one first.
type publicKey struct {
	file        string // its name
	name        string // kind and size
	fingerprint string // hex SHA-256 of the DER SubjectPublicKeyInfo
	schemes     []scheme
	pub         crypto.PublicKey
}

func loadKey(path string) (*publicKey, Input, error) {
	const hint = `give one PEM block "PUBLIC KEY": ECDSA P-256, P-384 or P-521, RSA of 2048, 3072 or 4096 bits, or Ed25519`
	b, in, err := readInput("public key", path, MaxKey)
	if err != nil {
		return nil, in, err
	}
	block, _ := pem.Decode(b)
	switch {
	case block == nil:
		return nil, in, trouble(hint, "the public key %q is not PEM", in.Name)
	case strings.Contains(block.Type, "PRIVATE KEY"):
		return nil, in, trouble("give the public half; keep the private key out of the verifier's reach", "%q holds a private key (%.40q)", in.Name, block.Type)
	case block.Type == "CERTIFICATE":
		return nil, in, trouble("extract its key with: openssl x509 -pubkey -noout -in FILE", "%q holds a certificate, not a public key", in.Name)
	case bytes.Count(b, []byte("-----BEGIN")) > 1: // also one that cannot be read
		return nil, in, trouble("give one file per key", "%q holds more than one PEM block", in.Name)
	}
	pub, err := cryptoutils.UnmarshalPEMToPublicKey(b)
	if err != nil {
		return nil, in, trouble(hint, "the public key %q cannot be read: %s", in.Name, oneLine(err))
	}
	if err := checkStrength(pub); err != nil {
		return nil, in, trouble(hint, "the public key %q is too weak or of an unknown kind: %s", in.Name, oneLine(err))
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, in, trouble(hint, "the public key %q cannot be read: %s", in.Name, oneLine(err))
	}
	sum := sha256.Sum256(der)
	in.SHA256 = hex.EncodeToString(sum[:])
	key := &publicKey{file: in.Name, name: keyName(pub), fingerprint: in.SHA256, pub: pub}
	if key.schemes, err = schemesOf(pub); err != nil {
		return nil, in, trouble(hint, "the public key %q cannot be used: %s", in.Name, oneLine(err))
	}
	in.Kind = "public key (" + key.name + ")"
	return key, in, nil
}

// checkStrength refuses what the parsers of keys and certificates let through:
// RSA below 2048 bits and curves that no scheme is declared for.
func checkStrength(pub crypto.PublicKey) error {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		switch k.N.BitLen() {
		case 2048, 3072, 4096:
			return nil
		}
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("%s is none of ECDSA P-256, P-384 and P-521, RSA of 2048, 3072 and 4096 bits, and Ed25519", keyName(pub))
}

// canHaveMade reports whether sig has the form of the key's signatures.
func (k *publicKey) canHaveMade(sig []byte) bool {
	switch pub := k.pub.(type) {
	case *ecdsa.PublicKey:
		var rs struct{ R, S *big.Int }
		rest, err := asn1.Unmarshal(sig, &rs)
		n := pub.Curve.Params().N
		return err == nil && len(rest) == 0 && rs.R.Sign() > 0 && rs.S.Sign() > 0 && rs.R.Cmp(n) < 0 && rs.S.Cmp(n) < 0
	case *rsa.PublicKey:
		return len(sig) == pub.Size()
	default:
		return len(sig) == ed25519.SignatureSize
	}
}

func keyName(pub crypto.PublicKey) string {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA-%d", k.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return "unknown"
}

// schemesOf lists the schemes under which a signature by a named key is tried.
func schemesOf(pub crypto.PublicKey) ([]scheme, error) {
	type way struct {
		suffix string
		hash   crypto.Hash
		opts   []sig.LoadOption
	}
	withHash := func(h crypto.Hash) way {
		return way{" with " + h.String(), h, []sig.LoadOption{options.WithHash(h)}}
	}
	var ways []way
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if own := curveHash(k); own != crypto.SHA256 {
			ways = append(ways, withHash(own))
		}
		ways = append(ways, withHash(crypto.SHA256)) // older signers use it with every curve
	case *rsa.PublicKey:
		v15, pss := withHash(crypto.SHA256), withHash(crypto.SHA256)
		v15.suffix = " PKCS #1 v1.5" + v15.suffix
		pss.suffix = " PSS" + pss.suffix
		pss.opts = append(pss.opts, options.WithRSAPSS(&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: crypto.SHA256}))
		ways = []way{v15, pss}
	case ed25519.PublicKey:
		ways = []way{
			{"ph", crypto.SHA512, []sig.LoadOption{options.WithED25519ph()}},
			{"", 0, nil},
		}
	}
	var out []scheme
	for _, w := range ways {
		v, err := sig.LoadVerifierWithOpts(pub, w.opts...)
		if err != nil {
			return nil, err
		}
		out = append(out, scheme{name: keyName(pub) + w.suffix, hash: w.hash, verifier: v})
	}
	return out, nil
}

func curveHash(k *ecdsa.PublicKey) crypto.Hash {
	switch k.Curve.Params().BitSize {
	case 384:
		return crypto.SHA384
	case 521:
		return crypto.SHA512
	}
	return crypto.SHA256
}

// certificateScheme is the one scheme that sigstore assigns to a certificate's
// key over a message or an envelope. The library loads the verifier itself.
func certificateScheme(pub crypto.PublicKey, envelope bool) scheme {
	name := keyName(pub)
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return scheme{name: name + " with " + curveHash(k).String(), hash: curveHash(k)}
	case *rsa.PublicKey:
		return scheme{name: name + " PKCS #1 v1.5 with SHA-256", hash: crypto.SHA256}
	case ed25519.PublicKey:
		if envelope {
			return scheme{name: name}
		}
		return scheme{name: name + "ph", hash: crypto.SHA512}
	}
	return scheme{name: name}
}

// material is the trusted root with the caller's key.
type material struct {
	root.TrustedMaterial
	key sig.Verifier
}

func (m material) PublicKeyVerifier(hint string) (root.TimeConstrainedVerifier, error) {
	if m.key == nil {
		return nil, fmt.Errorf("no public key was given; the bundle hints at %q", hint)
	}
	return root.NewExpiringKey(m.key, time.Time{}, time.Time{}), nil // no validity period
}
