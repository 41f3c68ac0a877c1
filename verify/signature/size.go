package signature

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
)

// Whoever made a bundle chose the keys in it: of its certificates, its log
// entries, its time stamps. The libraries verify with some of them before anybody
// asked whether they are trusted, and the time that takes grows faster than the
// square of an RSA modulus: hours for one that fits in a bundle. So no key reaches
// them before its size was looked at.
const (
	maxInteger = 8192/8 + 1 // bytes of a number in DER: RSA-8192 with its sign
	maxLogBody = 64 << 10   // bytes; an honest one has some thousand
	maxStamp   = 64 << 10   // bytes; an honest one has some thousand
	maxDER     = 32         // levels of nesting
)

// checkSizes looks at every certificate, log body and time stamp of a bundle. The
// second error is about the log entries alone.
func checkSizes(pb *protobundle.Bundle) (err, logErr error) {
	m := pb.GetVerificationMaterial()
	certs := m.GetX509CertificateChain().GetCertificates()
	if c := m.GetCertificate(); c != nil {
		certs = append(certs, c)
	}
	if len(certs) > maxCertificates {
		return fmt.Errorf("it holds %d certificates, more than %d", len(certs), maxCertificates), nil
	}
	for i, c := range certs {
		if err := checkDER(c.GetRawBytes()); err != nil {
			return fmt.Errorf("certificate %d: %w", i+1, err), nil
		}
	}
	for i, s := range m.GetTimestampVerificationData().GetRfc3161Timestamps() {
		if err := checkStamp(s.GetSignedTimestamp()); err != nil {
			return fmt.Errorf("time stamp %d: %w", i+1, err), nil
		}
	}
	for i, entry := range m.GetTlogEntries() {
		if err := checkLogKeys(entry.GetCanonicalizedBody()); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
	}
	return nil, nil
}

func checkStamp(der []byte) error {
	if len(der) > maxStamp {
		return fmt.Errorf("larger than %d bytes", maxStamp)
	}
	return checkDER(der)
}

// checkDER refuses what is not DER, and DER in which a number is larger than any
// key has use for, at any depth, also inside the strings that DER is put in.
func checkDER(der []byte) error { return checkNumbers(der, 0, true) }

// checkNumbers does so. Unless it is strict, what is not DER passes from there on:
// no parser takes it for DER either.
func checkNumbers(der []byte, depth int, strict bool) error {
	if depth > maxDER {
		return fmt.Errorf("DER is nested deeper than %d", maxDER)
	}
	for len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			if strict {
				return errors.New("it is not DER")
			}
			return nil
		}
		inner, within := v.Bytes, strict && v.IsCompound
		switch {
		case v.Class == asn1.ClassUniversal && v.Tag == asn1.TagInteger && len(inner) > maxInteger:
			return fmt.Errorf("a number of %d bits, more than a key has use for", len(inner)*8)
		case v.IsCompound, v.Class != asn1.ClassUniversal, v.Tag == asn1.TagOctetString:
		case v.Tag == asn1.TagBitString && len(inner) > 0:
			inner = inner[1:] // the count of unused bits
		default:
			inner = nil
		}
		if err := checkNumbers(inner, depth+1, within); err != nil {
			return err
		}
		der = rest
	}
	return nil
}

// checkLogKeys looks at each string of a log entry's body that may be a key: PEM
// or DER, in base64 or bare.
func checkLogKeys(body []byte) error {
	if len(body) > maxLogBody {
		return fmt.Errorf("its body is larger than %d bytes", maxLogBody)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	for {
		t, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("its body is not JSON: %w", err)
		}
		s, ok := t.(string)
		if !ok {
			continue
		}
		texts := [][]byte{[]byte(s)}
		if b, err := base64.StdEncoding.DecodeString(s); err == nil {
			texts = append(texts, b)
		}
		for _, text := range texts {
			if err := checkKeyText(text); err != nil {
				return fmt.Errorf("its body: %w", err)
			}
		}
	}
}

func checkKeyText(text []byte) error {
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if err := checkNumbers(block.Bytes, 0, false); err != nil {
			return err
		}
	}
	return checkNumbers(text, 0, false)
}
