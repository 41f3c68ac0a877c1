package sigtest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strconv"
)

// A taken bundle is what the older forms are made of.
type taken struct {
	VerificationMaterial struct {
		X509CertificateChain *struct {
			Certificates []struct{ RawBytes []byte }
		}
		TlogEntries []struct {
			LogIndex          string
			LogID             struct{ KeyID []byte }
			IntegratedTime    string
			InclusionPromise  struct{ SignedEntryTimestamp []byte }
			CanonicalizedBody []byte
		}
		TimestampVerificationData struct {
			Rfc3161Timestamps []struct{ SignedTimestamp []byte }
		}
	}
	MessageSignature *struct{ Signature []byte }
	DsseEnvelope     *struct {
		Payload     []byte          `json:"payload"`
		PayloadType string          `json:"payloadType"`
		Signatures  json.RawMessage `json:"signatures"`
	}
}

func take(bundle []byte) (t taken, cert, log, stamp []byte, err error) {
	if err = json.Unmarshal(bundle, &t); err != nil {
		return t, nil, nil, nil, err
	}
	m := t.VerificationMaterial
	if m.X509CertificateChain != nil {
		cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.X509CertificateChain.Certificates[0].RawBytes})
	}
	if len(m.TlogEntries) > 0 {
		e := m.TlogEntries[0]
		at, err1 := strconv.ParseInt(e.IntegratedTime, 10, 64)
		index, err2 := strconv.ParseInt(e.LogIndex, 10, 64)
		if err1 != nil || err2 != nil {
			return t, nil, nil, nil, fmt.Errorf("log entry: %v, %v", err1, err2)
		}
		log, err = json.Marshal(map[string]any{
			"SignedEntryTimestamp": e.InclusionPromise.SignedEntryTimestamp,
			"Payload": map[string]any{
				"body": e.CanonicalizedBody, "integratedTime": at, "logIndex": index, "logID": hex.EncodeToString(e.LogID.KeyID),
			},
		})
		if err != nil {
			return t, nil, nil, nil, err
		}
	}
	if s := m.TimestampVerificationData.Rfc3161Timestamps; len(s) > 0 {
		stamp = s[0].SignedTimestamp
	}
	return t, cert, log, stamp, nil
}

// Legacy makes a v0.1 bundle into the file that cosign writes with --bundle and
// without --new-bundle-format.
func Legacy(bundle []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	t, cert, log, _, err := take(bundle)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	if t.MessageSignature != nil {
		out["base64Signature"] = t.MessageSignature.Signature
	} else if env, err := json.Marshal(t.DsseEnvelope); err != nil {
		return nil, err
	} else {
		out["base64Signature"] = env
	}
	if cert != nil {
		out["cert"] = cert
	}
	if log != nil {
		out["rekorBundle"] = json.RawMessage(log)
	}
	return json.Marshal(out)
}

// SimpleSigning is the document that cosign signs for the image whose manifest
// has the digest sha256:HEX.
func SimpleSigning(digest string) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"registry.vendor.example/fw"},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, digest)
}

// Layer makes a v0.1 bundle into the content and the annotations of a layer in a
// registry: document is what a message signature is over, and is not used for an
// envelope.
func Layer(document, bundle []byte, err error) (payload []byte, annotations map[string]string, _ error) {
	if err != nil {
		return nil, nil, err
	}
	t, cert, log, stamp, err := take(bundle)
	if err != nil {
		return nil, nil, err
	}
	annotations = map[string]string{"dev.cosignproject.cosign/signature": ""}
	if cert != nil {
		annotations["dev.sigstore.cosign/certificate"] = string(cert)
	}
	if log != nil {
		annotations["dev.sigstore.cosign/bundle"] = string(log)
	}
	if stamp != nil {
		annotations["dev.sigstore.cosign/rfc3161timestamp"] = fmt.Sprintf(`{"SignedRFC3161Timestamp":%q}`, base64.StdEncoding.EncodeToString(stamp))
	}
	if t.MessageSignature == nil {
		payload, err = json.Marshal(t.DsseEnvelope)
		return payload, annotations, err
	}
	annotations["dev.cosignproject.cosign/signature"] = base64.StdEncoding.EncodeToString(t.MessageSignature.Signature)
	return document, annotations, nil
}

// Loose takes a v0.1 bundle of a message signature apart: the signature, its
// certificate in PEM, and its time stamp, nil where there is none.
func Loose(bundle []byte, err error) (signature, certificate, stamp []byte, _ error) {
	if err != nil {
		return nil, nil, nil, err
	}
	t, certificate, _, stamp, err := take(bundle)
	if err != nil {
		return nil, nil, nil, err
	}
	return t.MessageSignature.Signature, certificate, stamp, nil
}

// PEM is the instance as a private PKI: its certificates, without the logs.
func (a *Authority) PEM() []byte {
	var out []byte
	for _, c := range [][]byte{a.tsa.Raw, a.intermediate.Raw, a.root.Raw} {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	return out
}
