package signature

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/assaylab/assay/verify/internal/strictjson"
)

// Kinds of what is found beside an image. Which one it is its finder tells: by the
// media type of a layer, or by where it was found.
const (
	KindSimple   = "simplesigning" // a simple signing document; the signature is an annotation
	KindEnvelope = "dsse"          // a DSSE envelope
	KindBundle   = "bundle"        // a sigstore bundle
)

// imageSigned is the predicate type of a statement that says no more than that
// an image is signed: cosign's form of a signature in a bundle.
const imageSigned = "https://sigstore.dev/cosign/sign/v1"

// Annotations of a layer that holds a signature (cosign's SIGNATURE_SPEC.md).
const (
	signatureAnnotation   = "dev.cosignproject.cosign/signature"
	certificateAnnotation = "dev.sigstore.cosign/certificate"
	logAnnotation         = "dev.sigstore.cosign/bundle"
	stampAnnotation       = "dev.sigstore.cosign/rfc3161timestamp"
)

// A Found is signature material that was found beside an image: the content of a
// layer, with the annotations of its descriptor.
type Found struct {
	Name        string // where it was found; shown, not interpreted
	Kind        string
	Payload     []byte
	Annotations map[string]string
	Unread      string // why Payload was not read; "" when it was
}

// VerifyFound answers req, which names no signature of its own, for each
// signature found with the image whose manifest has the digest. Without a
// predicate type and a provenance policy only signatures count, and attestations
// do not: whoever attests that an image failed a test did not approve of it.
//
// What is found beside an image anybody may have put there: what cannot be read
// is a Result that is not OK. An [Error] of kind Trouble is about req, one of
// kind Limit is returned when no Result is OK and a limit left one open.
func VerifyFound(ctx context.Context, req Request, image [32]byte, found []Found) ([]Result, error) {
	req.Artifact, req.found, req.image = Digest(image), &Found{}, true
	if err := req.Validate(); err != nil {
		return nil, err
	}
	// What the caller trusts must be readable, whatever is found.
	if err := newVerification(req, &Result{Steps: newSteps()}).loadTrust(ctx); err != nil {
		return nil, err
	}
	results := []Result{}
	accepted, open := false, error(nil)
	for i := range found {
		req.found = &found[i]
		res, err := Verify(ctx, req)
		var e *Error
		switch {
		case err == nil, errors.As(err, &e) && e.Kind == Trouble:
		case errors.As(err, &e) && e.Kind == Limit:
			open = err
		default:
			return results, err
		}
		accepted = accepted || res.OK
		results = append(results, res)
	}
	if accepted {
		return results, nil
	}
	return results, open
}

// loadFound reads what was found into an entity or a loose signature.
func (v *verification) loadFound(f *Found) error {
	sum := sha256.Sum256(f.Payload)
	in := &v.res.Signed
	*in = Input{Kind: "signature", Name: f.Name, Size: int64(len(f.Payload)), SHA256: hex.EncodeToString(sum[:])}
	const hint = "is it a signature of another tool? assay reads what cosign writes"
	if len(f.Payload) > MaxInput {
		return limit("", "%q is larger than %d bytes", f.Name, MaxInput)
	}
	var err error
	switch {
	case f.Unread != "":
		err = errors.New(f.Unread)
	case f.Kind == KindBundle:
		in.Kind = "bundle"
		if v.entity, err = parseBundle(f.Payload); err == nil {
			in.Kind = v.entity.kind()
		}
	case f.Kind == KindSimple:
		in.Kind = "simple signing document"
		if v.loose, err = looseFrom(f.Annotations); err != nil {
			break
		}
		if v.loose.signature, err = base64.StdEncoding.DecodeString(f.Annotations[signatureAnnotation]); err != nil {
			err = named(signatureAnnotation, err)
			break
		}
		v.simple, err = parseSimple(f.Payload)
	case f.Kind == KindEnvelope:
		in.Kind = "attestation"
		var l *loose
		if l, err = looseFrom(f.Annotations); err != nil {
			break
		}
		l.stamps = nil // cosign stamps the whole envelope here, which proves nothing of its signature
		v.entity, err = l.envelope(f.Payload)
	default:
		err = fmt.Errorf("its kind %.40q is not one of a signature", f.Kind)
	}
	if err != nil {
		return trouble(hint, "the %s %q cannot be read: %s", in.Kind, f.Name, oneLine(err))
	}
	return nil
}

func looseFrom(annotations map[string]string) (*loose, error) {
	l := &loose{}
	if err := named(certificateAnnotation, l.certificate([]byte(annotations[certificateAnnotation]))); err != nil {
		return nil, err
	}
	l.logged([]byte(annotations[logAnnotation]))
	if s := annotations[stampAnnotation]; s != "" {
		if err := named(stampAnnotation, l.stamped([]byte(s))); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// A simple is a simple signing document (containers/image,
// containers-signature.5): what is signed in place of a manifest.
type simple struct {
	payload []byte
	digest  string // critical.image.docker-manifest-digest
}

func parseSimple(payload []byte) (*simple, error) {
	if err := strictjson.CheckShape(payload); err != nil {
		return nil, err
	}
	s, kind := &simple{payload: payload}, ""
	dec := json.NewDecoder(bytes.NewReader(payload))
	err := strictjson.ReadObject(dec, maxKeys, func(key string) error {
		if key != "critical" {
			return strictjson.Skip(dec)
		}
		return strictjson.ReadObject(dec, maxKeys, func(key string) error {
			switch key {
			case "type":
				return dec.Decode(&kind)
			case "image":
				return strictjson.ReadObject(dec, maxKeys, func(key string) error {
					if key == "docker-manifest-digest" {
						return dec.Decode(&s.digest)
					}
					return fmt.Errorf("unknown key %.100q in critical.image", key)
				})
			case "identity":
				return strictjson.Skip(dec)
			}
			return fmt.Errorf("unknown key %.100q in critical", key) // whoever knows not all of it must refuse it
		})
	})
	switch {
	case err != nil:
		return nil, err
	case strictjson.End(dec) != nil:
		return nil, errors.New("data after the document")
	// cosign's own spelling, and that of the format that it took over
	case kind != "cosign container image signature" && kind != "atomic container signature":
		return nil, fmt.Errorf("its critical.type %.100q is not an image signature", kind)
	}
	return s, nil
}
