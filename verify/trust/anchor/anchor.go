// Package anchor says what a trusted root names and how old it is. A trusted root
// (trusted_root.json, application/vnd.dev.sigstore.trustedroot+json;version=0.1)
// is the list of authorities and logs that a signature may lead to; whoever can
// change it decides what verifies. Two things about it are not in the file:
//
//   - its date: [Dated] is the best that the file itself tells;
//   - where it came from: a [Receipt] beside it tells, when the file was fetched
//     by assay. A receipt is not signed. It guards against age and mistakes, not
//     against someone who writes in that folder, who can replace both files.
package anchor

import (
	"cmp"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
)

// Kinds of what a trusted root names, in the order in which they are listed.
const (
	CertificateAuthority  = "certificate authority"   // issues signing certificates
	CTLog                 = "certificate log"         // records them
	TransparencyLog       = "transparency log"        // records signatures
	TimestampingAuthority = "time stamping authority" // RFC 3161
)

// A Fingerprint is one key or certificate that a trusted root names. The strings
// Name and Subject are the file's, and may hold anything.
type Fingerprint struct {
	Kind    string    `json:"kind"`
	Name    string    `json:"name"`              // URI of the authority, base URL of the log
	Subject string    `json:"subject,omitempty"` // of a certificate: its distinguished name (RFC 2253)
	SHA256  string    `json:"sha256"`            // hex; of a log: of its key's DER SubjectPublicKeyInfo; else of the DER certificate
	Start   time.Time `json:"valid_from,omitzero"`
	End     time.Time `json:"valid_to,omitzero"` // zero: no end is stated
}

// Fingerprints lists every log, and every certificate of every authority, by
// kind, start of validity, name and digest. It is empty when tr trusts nothing.
func Fingerprints(tr *root.TrustedRoot) []Fingerprint {
	list := []Fingerprint{}
	authority := func(kind, uri string, start, end time.Time, chain ...*x509.Certificate) {
		for _, c := range chain {
			if c != nil {
				list = append(list, Fingerprint{kind, uri, c.Subject.String(), certificateDigest(c), start, end})
			}
		}
	}
	for _, a := range tr.FulcioCertificateAuthorities() {
		if ca, ok := a.(*root.FulcioCertificateAuthority); ok {
			authority(CertificateAuthority, ca.URI, ca.ValidityPeriodStart, ca.ValidityPeriodEnd, append(slices.Clone(ca.Intermediates), ca.Root)...)
		}
	}
	for _, l := range tr.CTLogs() {
		list = append(list, log(CTLog, l))
	}
	for _, l := range tr.RekorLogs() {
		list = append(list, log(TransparencyLog, l))
	}
	for _, a := range tr.TimestampingAuthorities() {
		if tsa, ok := a.(*root.SigstoreTimestampingAuthority); ok {
			authority(TimestampingAuthority, tsa.URI, tsa.ValidityPeriodStart, tsa.ValidityPeriodEnd, append(slices.Clone(tsa.Intermediates), tsa.Leaf, tsa.Root)...)
		}
	}
	slices.SortFunc(list, func(a, b Fingerprint) int {
		return cmp.Or(
			cmp.Compare(rank(a.Kind), rank(b.Kind)),
			a.Start.Compare(b.Start),
			cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.SHA256, b.SHA256),
			a.End.Compare(b.End),
		)
	})
	return list
}

func rank(kind string) int {
	return slices.Index([]string{CertificateAuthority, CTLog, TransparencyLog, TimestampingAuthority}, kind)
}

func log(kind string, l *root.TransparencyLog) Fingerprint {
	return Fingerprint{Kind: kind, Name: l.BaseURL, SHA256: keyDigest(l.PublicKey), Start: l.ValidityPeriodStart, End: l.ValidityPeriodEnd}
}

func certificateDigest(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// keyDigest is empty for a key of a kind that the standard library does not
// know, which the parser of trusted roots refuses.
func keyDigest(key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// Dated is the newest start of validity in tr: the file is no older than that,
// unless it announces something ahead of its time. It is zero when tr states none.
func Dated(tr *root.TrustedRoot) time.Time {
	var newest time.Time
	for _, f := range Fingerprints(tr) {
		if f.Start.After(newest) {
			newest = f.Start
		}
	}
	return newest
}
