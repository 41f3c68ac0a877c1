package signature_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/assaylab/assay/verify/signature"
)

// TestVirtualSigstore holds the package against an authority that others wrote:
// that of sigstore-go's own tests, with Rekor v1 and v2 entries. Its certificates
// carry no SCT, so it is a private PKI, with a transparency log.
func TestVirtualSigstore(t *testing.T) {
	authority, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t)
	const who, issuer = "someone@example.com", "https://issuer.example.com"
	trusted := func(withCT bool) string {
		logs := map[string]*root.TransparencyLog{}
		for id, log := range authority.RekorLogs() {
			if log.ID, err = hex.DecodeString(id); err != nil {
				t.Fatal(err)
			}
			logs[id] = log
		}
		ct := map[string]*root.TransparencyLog{}
		if withCT {
			for id, log := range authority.CTLogs() {
				log.ID, log.SignatureHashFunc = []byte(id), logs[firstKey(logs)].SignatureHashFunc
				ct[id] = log
			}
		}
		tr, err := root.NewTrustedRoot(root.TrustedRootMediaType01, authority.FulcioCertificateAuthorities(), ct, authority.TimestampingAuthorities(), logs)
		if err != nil {
			t.Fatal(err)
		}
		b, err := tr.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return l.write(fmt.Sprintf("virtual-%v.json", withCT), b)
	}
	private, public := trusted(false), trusted(true)
	text := statement(l.sha256())
	logged := time.Now().Add(5 * time.Minute) // as its certificates are valid
	for name, c := range map[string]struct {
		make    func() (*ca.TestEntity, error)
		version string
		log     string
	}{
		"message, v1":           {func() (*ca.TestEntity, error) { return authority.SignAtTime(who, issuer, l.artifact, logged) }, "0.1", "SET only"},
		"statement, v1":         {func() (*ca.TestEntity, error) { return authority.AttestAtTime(who, issuer, text, logged, false) }, "0.1", "SET only"},
		"statement, v1, proven": {func() (*ca.TestEntity, error) { return authority.AttestAtTime(who, issuer, text, logged, true) }, "0.3", "Merkle proof"},
		"statement, v2":         {func() (*ca.TestEntity, error) { return authority.AttestAtTimeHashedRekordV2(who, issuer, text, logged) }, "0.3", "Merkle proof"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := c.make()
			if err != nil {
				t.Fatal(err)
			}
			req := signature.Request{
				Artifact: signature.File(l.path("fw.bin")), Bundle: l.write("virtual.json", bundleOf(t, authority, e, c.version)), TrustedRoot: private, PrivatePKI: true,
				Identity: signature.Identity{Subject: who, Issuer: issuer},
			}
			res := wantOK(t, req)
			if s := step(t, res, signature.StepLog); !strings.Contains(s.Reason, c.log) {
				t.Errorf("log: %s", s.Reason)
			}
			req.PrivatePKI = false
			wantFail(t, req, signature.StepSCT, "no SCT")
			req.PrivatePKI, req.TrustedRoot = true, public // it names a certificate log
			wantFail(t, req, signature.StepSCT, "no SCT")
			req.TrustedRoot, req.Artifact = private, signature.File(l.write("other.bin", []byte("other")))
			wantFail(t, req, signature.StepSubject, "something else")
			req = l.request(req.Bundle) // another instance's root
			req.Identity = signature.Identity{Subject: who, Issuer: issuer}
			wantFail(t, req, signature.StepLog, "does not know the log")
		})
	}
}

func firstKey[V any](m map[string]V) string {
	for k := range m {
		return k
	}
	return ""
}

// bundleOf writes the entity as a bundle of the version.
func bundleOf(t *testing.T, authority *ca.VirtualSigstore, e *ca.TestEntity, version string) []byte {
	t.Helper()
	content, err1 := e.VerificationContent()
	signed, err2 := e.SignatureContent()
	entries, err3 := e.TlogEntries()
	stamps, err4 := e.Timestamps()
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		t.Fatal(err1, err2, err3, err4)
	}
	cert := &protocommon.X509Certificate{RawBytes: content.Certificate().Raw}
	m := &protobundle.VerificationMaterial{
		Content:                   &protobundle.VerificationMaterial_Certificate{Certificate: cert},
		TimestampVerificationData: &protobundle.TimestampVerificationData{},
	}
	if version == "0.1" {
		m.Content = &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{Certificates: []*protocommon.X509Certificate{cert}}}
	}
	for _, entry := range entries {
		tle := entry.TransparencyLogEntry()
		if tle.KindVersion == nil { // v1: what the entry keeps to itself is made again
			var head struct{ Kind, APIVersion string }
			if err := json.Unmarshal(tle.CanonicalizedBody, &head); err != nil {
				t.Fatal(err)
			}
			tle.KindVersion = &protorekor.KindVersion{Kind: head.Kind, Version: head.APIVersion}
			promise, err := authority.RekorSignPayload(tlog.RekorPayload{
				Body: base64.StdEncoding.EncodeToString(tle.CanonicalizedBody), IntegratedTime: tle.IntegratedTime,
				LogIndex: tle.LogIndex, LogID: hex.EncodeToString(tle.LogId.KeyId),
			})
			if err != nil {
				t.Fatal(err)
			}
			tle.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: promise}
		}
		m.TlogEntries = append(m.TlogEntries, tle)
	}
	for _, s := range stamps {
		m.TimestampVerificationData.Rfc3161Timestamps = append(m.TimestampVerificationData.Rfc3161Timestamps, &protocommon.RFC3161SignedTimestamp{SignedTimestamp: s})
	}
	b := &protobundle.Bundle{MediaType: "application/vnd.dev.sigstore.bundle+json;version=" + version, VerificationMaterial: m}
	if env := signed.EnvelopeContent(); env != nil {
		raw := env.RawEnvelope()
		payload, err := raw.DecodeB64Payload()
		if err != nil {
			t.Fatal(err)
		}
		b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			PayloadType: raw.PayloadType, Payload: payload, Signatures: []*protodsse.Signature{{Sig: signed.Signature()}},
		}}
	} else {
		b.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: signed.MessageSignatureContent().Digest()},
			Signature:     signed.Signature(),
		}}
	}
	text, err := protojson.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
