package statement_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	sig "github.com/sigstore/sigstore/pkg/signature"

	"github.com/assaylab/assay/verify/signature"
	"github.com/assaylab/assay/verify/statement"
)

// wantHint demands an Error with a hint.
func wantHint(t testing.TB, err error) {
	t.Helper()
	var e *statement.Error
	if !errors.As(err, &e) || e.Hint == "" {
		t.Fatalf("error %v of type %T", err, err)
	}
}

// ask asks package signature about a bundle and an artifact.
func ask(t testing.TB, public, bundleJSON, artifact []byte, predicateType string) (signature.Result, error) {
	t.Helper()
	return signature.Verify(context.Background(), signature.Request{
		Artifact: signature.File(write(t, "fw.bin", artifact)), Key: write(t, "k.pub", public),
		Bundle: write(t, "fw.assay.json", bundleJSON), PredicateType: predicateType,
	})
}

// verifies demands that the envelope holds for deployed, by the public half.
func verifies(t testing.TB, k *statement.Key, e *statement.Envelope) signature.Result {
	t.Helper()
	b, err := e.Bundle(k.Hint())
	if err != nil {
		t.Fatal(err)
	}
	res, err := ask(t, k.PublicPEM(), b, deployed, statement.ByteAccountingType)
	if err != nil || !res.OK {
		t.Fatalf("%v %+v", err, res)
	}
	return res
}

func loaded(t testing.TB, signer any) *statement.Key {
	t.Helper()
	k, err := statement.LoadKey(write(t, "k.pem", block("PRIVATE KEY", pkcs8(t, signer))), nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSign(t *testing.T) {
	payload := encoded(t, account())
	for _, kind := range kinds(t) {
		t.Run(kind.scheme, func(t *testing.T) {
			k := loaded(t, kind.key)
			e, err := statement.Sign(k, payload)
			if err != nil {
				t.Fatal(err)
			}
			if res := verifies(t, k, e); res.Scheme != kind.scheme || res.Trust[0].SHA256 != k.Fingerprint() || res.PredicateType != statement.ByteAccountingType {
				t.Errorf("%+v", res)
			}
			b, err := e.Bundle(k.Hint())
			if err != nil {
				t.Fatal(err)
			}
			refused := func(why string, public, b, artifact []byte, predicateType string) {
				t.Helper()
				if res, err := ask(t, public, b, artifact, predicateType); res.OK || err != nil {
					t.Errorf("%s: %v %+v", why, err, res)
				}
			}
			refused("other bytes", k.PublicPEM(), b, []byte("firmware 1.1\n"), "")
			refused("another key", loaded(t, ec(t, elliptic.P256())).PublicPEM(), b, deployed, "")
			refused("another predicate", k.PublicPEM(), b, deployed, statement.ProvenanceType)
			changed := *e
			changed.Payload = bytes.Replace(e.Payload, []byte(`"explained":3`), []byte(`"explained":4`), 1)
			c, err := changed.Bundle(k.Hint())
			if err != nil || bytes.Equal(c, b) {
				t.Fatal("nothing changed")
			}
			refused("a changed payload", k.PublicPEM(), c, deployed, "")

			// The same inputs, the same bytes.
			again, err := statement.Sign(loaded(t, kind.key), encoded(t, account()))
			if err != nil {
				t.Fatal(err)
			}
			if b2, err := again.Bundle(k.Hint()); err != nil || !bytes.Equal(b2, b) {
				t.Error("two signatures of one statement differ")
			}
		})
	}
}

// What cosign's verify-blob-attestation does with a key, by default and with
// --signature-digest-algorithm.
func TestSignForCosign(t *testing.T) {
	payload := encoded(t, account())
	sum := sha256.Sum256(deployed)
	for _, kind := range kinds(t) {
		k := loaded(t, kind.key)
		e, err := statement.Sign(k, payload)
		if err != nil {
			t.Fatal(err)
		}
		b, err := e.Bundle(k.Hint())
		if err != nil {
			t.Fatal(err)
		}
		path := write(t, "b.json", b)
		read, err := bundle.LoadJSONFromPath(path)
		if err != nil {
			t.Fatal(err)
		}
		public, err := cryptoutils.UnmarshalPEMToPublicKey(k.PublicPEM())
		if err != nil {
			t.Fatal(err)
		}
		try := func(h crypto.Hash) error {
			v, err := sig.LoadVerifier(public, h)
			if err != nil {
				return err
			}
			_, err = cosign.VerifyNewBundle(context.Background(), &cosign.CheckOpts{
				SigVerifier: v, IgnoreTlog: true, Offline: true, TrustedMaterial: &root.BaseTrustedMaterial{},
			}, verify.WithArtifactDigest("sha256", sum[:]), read)
			return err
		}
		hash, byDefault := crypto.SHA256, true
		switch {
		case strings.Contains(kind.scheme, "384"):
			hash, byDefault = crypto.SHA384, false
		case strings.Contains(kind.scheme, "521"):
			hash, byDefault = crypto.SHA512, false
		}
		if err := try(hash); err != nil {
			t.Errorf("%s: %v", kind.scheme, err)
		}
		if err := try(crypto.SHA256); (err == nil) != byDefault {
			t.Errorf("%s by default: %v", kind.scheme, err)
		}
	}
}

// The plain envelope is one of the DSSE library, which has its own encoding of
// what is signed.
func TestDSSE(t *testing.T) {
	payload := encoded(t, account())
	k := loaded(t, ec(t, elliptic.P256()))
	e, err := statement.Sign(k, payload)
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.DSSE()
	if err != nil {
		t.Fatal(err)
	}
	var env dsse.Envelope
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&env); err != nil {
		t.Fatal(err)
	}
	if env.PayloadType != statement.PayloadType || len(env.Signatures) != 1 || env.Signatures[0].KeyID != "" {
		t.Errorf("%+v", env)
	}
	if got, err := env.DecodeB64Payload(); err != nil || !bytes.Equal(got, payload) {
		t.Errorf("payload %q %v", got, err)
	}
	public, err := cryptoutils.UnmarshalPEMToPublicKey(k.PublicPEM())
	if err != nil {
		t.Fatal(err)
	}
	v, err := sig.LoadVerifier(public, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(env.Signatures[0].Sig)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.VerifySignature(bytes.NewReader(raw), bytes.NewReader(dsse.PAE(env.PayloadType, payload))); err != nil {
		t.Error(err)
	}
	if err := v.VerifySignature(bytes.NewReader(raw), bytes.NewReader(payload)); err == nil {
		t.Error("the signature is over the bare payload")
	}
}

// Sign is no oracle.
func TestSignRefuses(t *testing.T) {
	k := loaded(t, ec(t, elliptic.P256()))
	payload := encoded(t, account())
	foreign := bytes.Replace(payload, []byte(statement.ByteAccountingType), []byte("https://example.com/v1"), 1)
	for name, p := range map[string][]byte{
		"nothing": nil, "text": []byte("transfer all"), "another predicate": foreign,
		"another spelling": bytes.TrimSpace(payload), "blanks": append([]byte(" "), payload...),
	} {
		if _, err := statement.Sign(k, p); err == nil {
			t.Errorf("%s was signed", name)
		}
	}
	for _, none := range []*statement.Key{nil, {}} {
		if _, err := statement.Sign(none, payload); err == nil {
			t.Error("signed without a key")
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(golden))
	f.Add(encoded(f, account()))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := statement.Decode(b)
		if err != nil {
			wantHint(t, err)
			return
		}
		once, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		s, err = statement.Decode(once)
		if err != nil {
			t.Fatalf("%v\n%s", err, once)
		}
		if twice, err := s.Encode(); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("two spellings: %v\n%s\n%s", err, once, twice)
		}
		if !bytes.HasSuffix(once, []byte("}\n")) {
			t.Fatalf("%q", once)
		}
	})
}
