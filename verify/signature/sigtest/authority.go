// Package sigtest is a sigstore instance in memory, for tests: a certificate
// authority with an intermediate, a certificate transparency log, a
// transparency log and a time stamping authority, with a trusted root file that
// names them and bundles that they made. It needs no network and no clock:
// everything is signed at [Time]. Keys are new in every Authority.
//
// An Authority is honest by default; [Making] tells it to make a certain mistake,
// since every check needs a bundle that only it refuses.
package sigtest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/digitorus/timestamp"
)

// Identity and Issuer are what a certificate names unless Making says otherwise.
const (
	Identity = "release@vendor.example"
	Issuer   = "https://accounts.vendor.example"
)

// logOrigin names the log in its checkpoints; the number is a Rekor v1 tree ID.
const logOrigin = "rekor.vendor.example - 1193050959916656506"

// Time is when everything is signed.
func Time() time.Time { return time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC) }

// An Authority is one instance.
type Authority struct {
	root, intermediate    *x509.Certificate
	rootKey, issuerKey    *ecdsa.PrivateKey
	ctKey, logKey, tsaKey *ecdsa.PrivateKey
	tsa                   *x509.Certificate
}

// Making is how one bundle is made. The zero Making is honest: v0.3, an SCT, a
// log entry with promise and proof, no time stamp.
type Making struct {
	Version string // bundle version 0.1, 0.2 or 0.3; empty is 0.3

	Identity, Issuer string        // empty: the package's
	Key              crypto.Signer // of the certificate; nil: a new ECDSA P-256 key
	Validity         time.Duration // of the certificate, from a minute before Time; 0: ten minutes

	NoSCT     bool
	NoLog     bool          // no log entry
	NoProof   bool          // only the log's promise (SET); version 0.1
	NoPromise bool          // only the proof
	Stamp     bool          // with an RFC 3161 time stamp
	StampAt   time.Duration // time of the stamp, from Time
	WithRoot  bool          // version 0.1 or 0.2: the root certificate is in the bundle's chain

	// Alter, when set, changes the bundle before it is written as JSON.
	Alter func(bundle map[string]any)
}

// New makes an instance whose certificates are valid from 2020 to 2040.
func New() (*Authority, error) {
	return NewExpired(time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC))
}

// NewExpired makes an instance whose intermediate certificate ends at end.
func NewExpired(end time.Time) (*Authority, error) {
	a := &Authority{}
	for _, k := range []**ecdsa.PrivateKey{&a.rootKey, &a.issuerKey, &a.ctKey, &a.logKey, &a.tsaKey} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		*k = key
	}
	from, to := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	ca := func(serial int64, name string, to time.Time) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: from, NotAfter: to, IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign,
		}
	}
	root := ca(1, "test root", to)
	var err error
	if a.root, err = certificate(root, root, a.rootKey.Public(), a.rootKey); err != nil {
		return nil, err
	}
	middle := ca(2, "test intermediate", end)
	middle.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	if a.intermediate, err = certificate(middle, a.root, a.issuerKey.Public(), a.rootKey); err != nil {
		return nil, err
	}
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}}) // timeStamping
	if err != nil {
		return nil, err
	}
	a.tsa, err = certificate(&x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "test time stamping"},
		NotBefore: from, NotAfter: to, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	}, a.root, a.tsaKey.Public(), a.rootKey)
	return a, err
}

func certificate(template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// TrustedRoot is the trusted_root.json that names the instance. Without stamps
// it names no time stamping authority.
func (a *Authority) TrustedRoot(stamps bool) ([]byte, error) {
	valid := map[string]any{"start": "2020-01-01T00:00:00Z"}
	log := func(url string, key *ecdsa.PrivateKey) ([]any, error) {
		der, id, err := spki(key.Public())
		return []any{map[string]any{
			"baseUrl": url, "hashAlgorithm": "SHA2_256",
			"publicKey": map[string]any{"rawBytes": der, "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": valid},
			"logId":     map[string]any{"keyId": id},
		}}, err
	}
	ca := func(url string, chain ...*x509.Certificate) []any {
		return []any{map[string]any{"uri": url, "certChain": certificates(chain...), "validFor": valid}}
	}
	logs, err := log("https://rekor.vendor.example", a.logKey)
	if err != nil {
		return nil, err
	}
	ctlogs, err := log("https://ct.vendor.example", a.ctKey)
	if err != nil {
		return nil, err
	}
	root := map[string]any{
		"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
		"tlogs":     logs, "ctlogs": ctlogs,
		"certificateAuthorities": ca("https://fulcio.vendor.example", a.intermediate, a.root),
	}
	if stamps {
		root["timestampAuthorities"] = ca("https://tsa.vendor.example", a.tsa, a.root)
	}
	return json.Marshal(root)
}

func certificates(chain ...*x509.Certificate) map[string]any {
	var list []any
	for _, c := range chain {
		list = append(list, map[string]any{"rawBytes": c.Raw})
	}
	return map[string]any{"certificates": list}
}

// spki returns the DER SubjectPublicKeyInfo and its SHA-256, a log's ID.
func spki(pub crypto.PublicKey) (der, id []byte, err error) {
	der, err = x509.MarshalPKIXPublicKey(pub)
	sum := sha256.Sum256(der)
	return der, sum[:], err
}

// Sign makes a bundle with a message signature over artifact.
func (a *Authority) Sign(artifact []byte, m Making) ([]byte, error) {
	leaf, key, err := a.issue(m)
	if err != nil {
		return nil, err
	}
	return a.seal(leafMaterial{cert: leaf}, key, artifact, m)
}

// SignWithKey makes a bundle with a message signature by a bare key.
func (a *Authority) SignWithKey(artifact []byte, key crypto.Signer, m Making) ([]byte, error) {
	return a.seal(leafMaterial{pub: key.Public()}, key, artifact, m)
}

// Attest makes a bundle with an envelope around an in-toto statement.
func (a *Authority) Attest(statement []byte, m Making) ([]byte, error) {
	leaf, key, err := a.issue(m)
	if err != nil {
		return nil, err
	}
	return a.attest(leafMaterial{cert: leaf}, key, statement, m)
}

// AttestWithKey makes a bundle with an envelope by a bare key.
func (a *Authority) AttestWithKey(statement []byte, key crypto.Signer, m Making) ([]byte, error) {
	return a.attest(leafMaterial{pub: key.Public()}, key, statement, m)
}

func (a *Authority) attest(who leafMaterial, key crypto.Signer, statement []byte, m Making) ([]byte, error) {
	const payloadType = "application/vnd.in-toto+json"
	pae := fmt.Sprintf("DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(statement), statement)
	sig, _, err := sign(key, []byte(pae))
	if err != nil {
		return nil, err
	}
	verifier, err := who.pem()
	if err != nil {
		return nil, err
	}
	body := map[string]any{"apiVersion": "0.0.1", "kind": "dsse", "spec": map[string]any{
		"envelopeHash": digest([]byte("not compared")), "payloadHash": digest(statement),
		"signatures": []any{map[string]any{"signature": sig, "verifier": verifier}},
	}}
	return a.bundle(who, body, sig, "dsseEnvelope", map[string]any{
		"payload": statement, "payloadType": payloadType, "signatures": []any{map[string]any{"sig": sig}},
	}, m)
}

func digest(b []byte) map[string]any {
	sum := sha256.Sum256(b)
	return map[string]any{"algorithm": "sha256", "value": fmt.Sprintf("%x", sum)}
}

// A leafMaterial is what a signature verifies with.
type leafMaterial struct {
	cert *x509.Certificate
	pub  crypto.PublicKey
}

func (l leafMaterial) pem() ([]byte, error) {
	if l.cert != nil {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: l.cert.Raw}), nil
	}
	return PublicPEM(l.pub)
}

// PublicPEM is the PEM file of a public key.
func PublicPEM(pub crypto.PublicKey) ([]byte, error) {
	der, _, err := spki(pub)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), err
}

func (a *Authority) seal(who leafMaterial, key crypto.Signer, artifact []byte, m Making) ([]byte, error) {
	sig, hash, err := sign(key, artifact)
	if err != nil {
		return nil, err
	}
	h := hash.New()
	h.Write(artifact)
	sum := h.Sum(nil)
	verifier, err := who.pem()
	if err != nil {
		return nil, err
	}
	bits := strconv.Itoa(hash.Size() * 8)
	body := map[string]any{"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": map[string]any{
		"data":      map[string]any{"hash": map[string]any{"algorithm": "sha" + bits, "value": fmt.Sprintf("%x", sum)}},
		"signature": map[string]any{"content": sig, "publicKey": map[string]any{"content": verifier}},
	}}
	return a.bundle(who, body, sig, "messageSignature", map[string]any{
		"messageDigest": map[string]any{"algorithm": "SHA2_" + bits, "digest": sum}, "signature": sig,
	}, m)
}

// sign uses the digest that goes with the curve, and Ed25519ph.
func sign(key crypto.Signer, message []byte) ([]byte, crypto.Hash, error) {
	hash := crypto.SHA256
	switch k := key.Public().(type) {
	case ed25519.PublicKey:
		hash = crypto.SHA512
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 384:
			hash = crypto.SHA384
		case 521:
			hash = crypto.SHA512
		}
	}
	h := hash.New()
	h.Write(message)
	sig, err := key.Sign(rand.Reader, h.Sum(nil), hash)
	return sig, hash, err
}

// issue makes a certificate with an embedded SCT (RFC 6962, section 3.3): the
// log signs the certificate as it is without the SCT.
func (a *Authority) issue(m Making) (*x509.Certificate, crypto.Signer, error) {
	key := m.Key
	if key == nil {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		key = k
	}
	identity, issuer, validity := or(m.Identity, Identity), or(m.Issuer, Issuer), m.Validity
	if validity == 0 {
		validity = 10 * time.Minute
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(4), EmailAddresses: []string{identity},
		NotBefore: Time().Add(-time.Minute), NotAfter: Time().Add(-time.Minute + validity),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(issuer)}},
	}
	cert, err := certificate(template, a.intermediate, key.Public(), a.issuerKey)
	if err != nil || m.NoSCT {
		return cert, key, err
	}
	list, err := a.sct(cert)
	if err != nil {
		return nil, nil, err
	}
	template.ExtraExtensions = append(template.ExtraExtensions,
		pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: list})
	cert, err = certificate(template, a.intermediate, key.Public(), a.issuerKey)
	return cert, key, err
}

// sct is the value of the SCT list extension for a certificate without it.
func (a *Authority) sct(cert *x509.Certificate) ([]byte, error) {
	_, issuerID, err := spki(a.issuerKey.Public())
	if err != nil {
		return nil, err
	}
	_, logID, err := spki(a.ctKey.Public())
	if err != nil {
		return nil, err
	}
	at := binary.BigEndian.AppendUint64(nil, uint64(Time().UnixMilli()))
	tbs := cert.RawTBSCertificate
	signed := append([]byte{0, 0}, at...) // v1, certificate_timestamp
	signed = append(signed, 0, 1)         // precert_entry
	signed = append(signed, issuerID...)
	signed = append(signed, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs)))
	signed = append(signed, tbs...)
	signed = append(signed, 0, 0) // no extensions
	sig, _, err := sign(a.ctKey, signed)
	if err != nil {
		return nil, err
	}
	one := append([]byte{0}, logID...)
	one = append(one, at...)
	one = append(one, 0, 0, 4, 3) // no extensions; SHA-256, ECDSA
	one = append(binary.BigEndian.AppendUint16(one, uint16(len(sig))), sig...)
	list := binary.BigEndian.AppendUint16(nil, uint16(len(one)+2))
	list = append(binary.BigEndian.AppendUint16(list, uint16(len(one))), one...)
	return asn1.Marshal(list)
}

func (a *Authority) bundle(who leafMaterial, body map[string]any, sig []byte, kind string, content map[string]any, m Making) ([]byte, error) {
	version := or(m.Version, "0.3")
	material := map[string]any{}
	switch {
	case who.cert == nil:
		material["publicKey"] = map[string]any{"hint": "test"}
	case version == "0.3":
		material["certificate"] = map[string]any{"rawBytes": who.cert.Raw}
	case m.WithRoot:
		material["x509CertificateChain"] = certificates(who.cert, a.intermediate, a.root)
	default:
		material["x509CertificateChain"] = certificates(who.cert)
	}
	if !m.NoLog {
		entry, err := a.log(body, m)
		if err != nil {
			return nil, err
		}
		material["tlogEntries"] = []any{entry}
	}
	if m.Stamp {
		stamp, err := a.stamp(sig, Time().Add(m.StampAt))
		if err != nil {
			return nil, err
		}
		material["timestampVerificationData"] = map[string]any{"rfc3161Timestamps": []any{map[string]any{"signedTimestamp": stamp}}}
	}
	b := map[string]any{
		"mediaType":            "application/vnd.dev.sigstore.bundle+json;version=" + version,
		"verificationMaterial": material, kind: content,
	}
	if m.Alter != nil {
		m.Alter(b)
	}
	return json.Marshal(b)
}

// log enters body as the second leaf of a tree of two: promise (SET), proof and
// checkpoint as Rekor v1 makes them.
func (a *Authority) log(body map[string]any, m Making) (map[string]any, error) {
	canonical, err := json.Marshal(body) // sorted keys, no blanks: canonical for these bodies
	if err != nil {
		return nil, err
	}
	_, id, err := spki(a.logKey.Public())
	if err != nil {
		return nil, err
	}
	const index = 1
	entry := map[string]any{
		"logIndex": strconv.Itoa(index), "logId": map[string]any{"keyId": id},
		"kindVersion":    map[string]any{"kind": body["kind"], "version": body["apiVersion"]},
		"integratedTime": strconv.FormatInt(Time().Unix(), 10), "canonicalizedBody": canonical,
	}
	if !m.NoPromise {
		promise, err := json.Marshal(map[string]any{
			"body": canonical, "integratedTime": Time().Unix(), "logIndex": index, "logID": fmt.Sprintf("%x", id),
		})
		if err != nil {
			return nil, err
		}
		set, _, err := sign(a.logKey, promise)
		if err != nil {
			return nil, err
		}
		entry["inclusionPromise"] = map[string]any{"signedEntryTimestamp": set}
	}
	if !m.NoProof {
		other := sha256.Sum256([]byte("\x00another entry"))
		leaf := sha256.Sum256(append([]byte{0}, canonical...))
		root := sha256.Sum256(bytes.Join([][]byte{{1}, other[:], leaf[:]}, nil))
		note := fmt.Sprintf("%s\n2\n%s\n", logOrigin, base64.StdEncoding.EncodeToString(root[:]))
		sig, _, err := sign(a.logKey, []byte(note))
		if err != nil {
			return nil, err
		}
		name := "rekor.vendor.example"
		note += "\n\u2014 " + name + " " + base64.StdEncoding.EncodeToString(append(id[:4:4], sig...)) + "\n"
		entry["inclusionProof"] = map[string]any{
			"logIndex": strconv.Itoa(index), "treeSize": "2", "rootHash": root[:], "hashes": [][]byte{other[:]},
			"checkpoint": map[string]any{"envelope": note},
		}
	}
	return entry, nil
}

// stamp is an RFC 3161 response over sig.
func (a *Authority) stamp(sig []byte, at time.Time) ([]byte, error) {
	sum := sha256.Sum256(sig)
	ts := timestamp.Timestamp{
		HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Time: at, Nonce: big.NewInt(1),
		Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}, AddTSACertificate: true,
	}
	return ts.CreateResponseWithOpts(a.tsa, a.tsaKey, crypto.SHA256)
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
