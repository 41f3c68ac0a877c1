package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/assaylab/assay/verify/oci"
	"github.com/assaylab/assay/verify/signature"
)

// A SignedImage is the answer about an OCI image: it is whole, and one of the
// signatures found beside it is by whom the request names.
type SignedImage struct {
	OK         bool               `json:"ok"`
	Reasons    []string           `json:"reasons"` // why it is not, one a line
	Image      *oci.Image         `json:"image"`
	Signatures []signature.Result `json:"signatures"` // of each candidate, in the order of Image.Signatures

	// PredicateTypes are the types of all statements found, whoever made them, in
	// order, each once.
	PredicateTypes []string `json:"predicate_types"`
}

// VerifyImage reads the image that ref names, hashes every blob of it, and
// verifies every signature found beside it. The answer is filled as far as the
// work went also when an error is returned.
func VerifyImage(ctx context.Context, ref oci.Ref, req signature.Request, o oci.Options) (*SignedImage, error) {
	return verifyImage(ctx, ref, req, func() (*oci.Image, error) { return oci.Open(ctx, ref, o) })
}

func verifyImage(ctx context.Context, ref oci.Ref, req signature.Request, open func() (*oci.Image, error)) (*SignedImage, error) {
	out := &SignedImage{Reasons: []string{}, Signatures: []signature.Result{}, PredicateTypes: []string{}}
	if _, err := signature.VerifyFound(ctx, req, ref.Digest(), nil); err != nil {
		return out, err // before anything is fetched
	}
	img, err := open()
	if err != nil {
		return out, err
	}
	out.Image = img
	found := make([]signature.Found, len(img.Signatures))
	for i, s := range img.Signatures {
		found[i] = signature.Found{Name: s.Name, Kind: string(s.Kind), Payload: s.Payload, Annotations: s.Annotations, Unread: s.Unread}
	}
	out.Signatures, err = signature.VerifyFound(ctx, req, ref.Digest(), found)
	var limit *signature.Error
	switch {
	case !img.OK():
		out.Reasons = append(out.Reasons, img.Problems...)
		if len(img.Problems) == 0 {
			out.Reasons = append(out.Reasons, "the image was not read")
		}
	case errors.As(err, &limit) && limit.Kind == signature.Limit:
		return out, err
	}
	if err != nil && !errors.As(err, &limit) {
		return out, err
	}
	accepted := 0
	for i := range out.Signatures {
		if out.Signatures[i].OK {
			accepted++
		}
		if t := out.Signatures[i].PredicateType; t != "" {
			out.PredicateTypes = append(out.PredicateTypes, t)
		}
	}
	slices.Sort(out.PredicateTypes)
	out.PredicateTypes = slices.Compact(out.PredicateTypes)
	switch {
	case accepted == 0 && img.More > 0 && img.OK():
		return out, &oci.LimitError{
			Msg:  fmt.Sprintf("%d more signatures or lists beside the image were not read, and none of the %d read holds", img.More, len(found)),
			Hint: "have whoever keeps the image remove what does not belong to it, or copy the image and its signature elsewhere",
		}
	case len(found) == 0:
		out.Reasons = append(out.Reasons, "no signature of the image was found")
	case accepted == 0:
		out.Reasons = append(out.Reasons, fmt.Sprintf("none of the %d signatures and attestations found holds as asked", len(found)))
	}
	out.OK = len(out.Reasons) == 0
	return out, nil
}
