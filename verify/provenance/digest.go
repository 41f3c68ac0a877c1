package provenance

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Names of algorithms, as the DigestSet of the in-toto attestation framework v1 has them.
const (
	sha1Digest      = "sha1"
	gitCommitDigest = "gitCommit"
)

// strong are the algorithms that identify a resource. A gitCommit of 40 digits is
// SHA-1, which git hardens against the known collisions; a plain sha1 is none of them.
var strong = [...]string{"sha256", "sha384", "sha512", gitCommitDigest}

// sizes returns the numbers of hex digits that a digest can have; none for an
// algorithm that is not known.
func sizes(alg string) []int {
	switch alg {
	case sha1Digest:
		return []int{40}
	case gitCommitDigest, "gitTree", "gitBlob", "gitTag":
		return []int{40, 64}
	case "sha224", "sha512_224", "sha3_224":
		return []int{56}
	case "sha256", "sha512_256", "sha3_256":
		return []int{64}
	case "sha384", "sha3_384":
		return []int{96}
	case "sha512", "sha3_512":
		return []int{128}
	}
	return nil
}

// canonical returns the digest in lower case.
func canonical(alg, digits string) (string, error) {
	if _, err := hex.DecodeString(digits); err != nil || !slices.Contains(sizes(alg), len(digits)) {
		return "", fmt.Errorf("%s is not a %s digest in hex", quote(digits), alg)
	}
	return strings.ToLower(digits), nil
}

// under returns what r has under an algorithm. In a git repository sha1 is an older
// name of gitCommit.
func (r Resource) under(alg string) []string {
	names := []string{alg}
	if strings.HasPrefix(strings.ToLower(r.URI), "git+") {
		switch alg {
		case gitCommitDigest:
			names = append(names, sha1Digest)
		case sha1Digest:
			names = append(names, gitCommitDigest)
		}
	}
	var out []string
	for _, name := range names {
		if sum, ok := r.Digest[name]; ok {
			out = append(out, sum)
		}
	}
	return out
}

// agrees reports whether r has one of the digests and contradicts none.
func (r Resource) agrees(digests map[string]string) bool {
	found := false
	for alg, want := range digests {
		for _, have := range r.under(alg) {
			if !strings.EqualFold(have, want) {
				return false
			}
			found = true
		}
	}
	return found
}
