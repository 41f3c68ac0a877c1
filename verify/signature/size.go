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
	"strings"

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
	maxStamps  = 8          // of one bundle
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
	stamps := m.GetTimestampVerificationData().GetRfc3161Timestamps()
	if len(stamps) > maxStamps {
		return fmt.Errorf("it holds %d time stamps, more than %d", len(stamps), maxStamps), nil
	}
	for i, s := range stamps {
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
	if err := checkDER(der); err != nil {
		return err
	}
	return checkSigners(der, 0)
}

// signedData is the content type of a signed message (RFC 5652, section 5.1).
var signedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}

// checkSigners refuses a signed message that has not exactly one signer, as a time
// stamp has (RFC 3161, section 2.4.2): the libraries verify each of them, with
// keys that the message brings along.
func checkSigners(der []byte, depth int) error {
	var last asn1.RawValue
	var oid asn1.ObjectIdentifier
	for n := 0; len(der) > 0; n++ {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil || depth > maxDER {
			return nil // checkDER has passed it: not DER from here on
		}
		if n == 0 && v.Class == asn1.ClassUniversal && v.Tag == asn1.TagOID {
			_, _ = asn1.Unmarshal(v.FullBytes, &oid)
		}
		if v.IsCompound || v.Class == asn1.ClassUniversal && v.Tag == asn1.TagOctetString {
			if err := checkSigners(v.Bytes, depth+1); err != nil {
				return err
			}
		}
		last, der = v, rest
	}
	if !oid.Equal(signedData) {
		return nil
	}
	// ContentInfo: the type, and [0] with the SEQUENCE whose last element is the SET
	// of signers.
	var message asn1.RawValue
	if rest, err := asn1.Unmarshal(last.Bytes, &message); err != nil || len(rest) > 0 {
		return errors.New("a signed message is malformed")
	}
	var signers asn1.RawValue
	for b := message.Bytes; len(b) > 0; {
		rest, err := asn1.Unmarshal(b, &signers)
		if err != nil {
			return errors.New("a signed message is malformed")
		}
		b = rest
	}
	var one asn1.RawValue
	if rest, err := asn1.Unmarshal(signers.Bytes, &one); signers.Class != asn1.ClassUniversal || signers.Tag != asn1.TagSet || err != nil || len(rest) > 0 {
		return errors.New("it has not exactly one signer")
	}
	return nil
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
		// Base64 in any of its spellings: the parsers do not all take the same.
		plain := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/", "\n", "", "\r", "").Replace(s), "=")
		texts := [][]byte{[]byte(s)}
		if b, err := base64.RawStdEncoding.DecodeString(plain); err == nil {
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
