// Package verify joins what is known of one delivery into one verdict: the
// account of its bytes, its signatures, the origin of its reference, and the
// policy it must satisfy. It is the only package that knows both bytes and
// signatures.
//
// # Verdict
//
// [Judge] turns a checked ledger into findings and a verdict. It fails closed:
// the zero verdict is a rejection, the zero policy is bit for bit, and a limit
// that kept a layer closed leaves a difference in it undecided, never accepted.
// A difference outside such a layer rejects. Byte-identical images are accepted
// whatever they hold.
//
// # Evidence
//
// [WriteEvidence] stores the report, the ledger and whatever the run produced in
// a new folder, with a list of digests. [Recheck] replays it: every digest, the
// ledger by the kernel, and the report by judging the ledger anew.
package verify

import (
	"github.com/assaylab/assay/diff/ledger"
	"github.com/assaylab/assay/verify/signature"
)

// Schema names the form of a Report in JSON.
const Schema = "assay.dev/report/v1"

// A Report is the one result of a run; every output is a view of it. It is the
// same for the same inputs: no time, no absolute path, no order of a map.
type Report struct {
	Schema   string   `json:"schema"`
	Tool     Tool     `json:"tool"`
	Delivery *Item    `json:"delivery,omitempty"`
	Verdict  Verdict  `json:"verdict"`
	Reasons  []string `json:"reasons"` // why the verdict is not better, one a line
	Policy   Policy   `json:"policy"`

	Reference Input         `json:"reference"`
	Deployed  Input         `json:"deployed"`
	Totals    ledger.Totals `json:"totals"`
	FreeBits  int64         `json:"free_bits"`

	Sections     []Section     `json:"sections"`
	Findings     []Finding     `json:"findings"`
	Explanations []Explanation `json:"explanations"`
	Signatures   []Signature   `json:"signatures"`
	Signers      Signers       `json:"signers,omitzero"` // which of the signatures must hold
	Notes        []Note        `json:"notes,omitempty"`

	Replay *Replay `json:"replay,omitempty"` // the search for a build that gives the deployed image, if there was one

	Ledger string `json:"ledger_sha256,omitempty"` // the digest the ledger ends in
}

// A Replay is a search for values of the deployed image that a build of its source
// gives that image with.
type Replay struct {
	Rebuilds int              `json:"rebuilds"`               // how many were made
	Values   []ledger.Premise `json:"values"`                 // what the reference was built with; none: it is the plain build
	Inert    []InertBuild     `json:"inert,omitempty"`        // what shows that the values are inert
	Control  *InertBuild      `json:"control,omitempty"`      // what shows, against the plain build, that they are put in at all
	Plain    string           `json:"plain_sha256,omitempty"` // of the plain build's output
	Notes    []string         `json:"notes,omitempty"`        // what was seen and not taken, and why
}

// An InertBuild is a build with other values than those of the reference, which
// differs from it where they stand and nowhere else.
type InertBuild struct {
	Values []string `json:"values"` // in the order of Replay.Values
	Size   int64    `json:"size"`   // of its output, in bytes
	SHA256 string   `json:"sha256"`
	Ledger string   `json:"ledger_sha256"` // of the account of it
}

// A Tool names the program that made a report.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// An Item is the delivery file a report is about.
type Item struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// An Input is one side of the comparison, as received.
type Input struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"` // "file" or "directory"
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	SHA512 string `json:"sha512,omitempty"`
	Pinned bool   `json:"pinned,omitempty"` // its digest was demanded and fits
	Origin any    `json:"origin,omitempty"` // where a reference came from
}

// A Section is a row of the table of sections: how many of its bytes fall in
// each class. The rows of stream 0 add up to the deployed image; those of a
// derived stream to what its carrier decodes to.
type Section struct {
	Stream int    `json:"stream"`
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Classes
	FreeBits int64 `json:"free_bits"`
}

// Classes counts bytes by verdict.
type Classes struct {
	Identical   int64 `json:"identical"`
	Moved       int64 `json:"moved"`
	Explained   int64 `json:"explained"`
	Carried     int64 `json:"carried"`
	Unexplained int64 `json:"unexplained"`
}

// A Finding is a reason against accepting. Offset and Length are in the stream
// the section stands in: the deployed one, or for kind "missing" the
// reference's. The root range says where in the deployed image as received.
type Finding struct {
	Kind       string   `json:"kind"`
	Path       string   `json:"path"`
	Offset     int64    `json:"offset"`
	Length     int64    `json:"length"`
	Stream     int      `json:"stream"`
	RootOffset *int64   `json:"root_offset,omitempty"`
	RootLength *int64   `json:"root_length,omitempty"`
	Message    string   `json:"message"`
	Excerpt    *Excerpt `json:"excerpt,omitempty"`
}

// Kinds of findings, worst first.
const (
	KindInput       = "input"
	KindSignature   = "signature"
	KindUnexplained = "unexplained"
	KindMissing     = "missing"
	KindMoved       = "moved"
	KindEncoding    = "encoding"
	KindDisallowed  = "disallowed"
	KindLimit       = "limit"
)

// An Excerpt shows the first bytes of a finding on both sides, in hexadecimal.
type Excerpt struct {
	RefOffset int64  `json:"reference_offset"`
	Ref       string `json:"reference"`
	Dep       string `json:"deployed"`
}

// An Explanation is a difference that the kernel found harmless.
type Explanation struct {
	Rule    string `json:"rule"`
	Path    string `json:"path"`
	Offset  int64  `json:"offset"`
	Length  int64  `json:"length"`
	Stream  int    `json:"stream"`
	Bits    int64  `json:"bits"`
	Because string `json:"because"`
}

// A Signature is the step table of one verification.
type Signature struct {
	Name string `json:"name,omitempty"`
	Over string `json:"over"` // "deployed", "reference" or "source"

	// Foreign says that the bytes it is over are not those that the verdict is
	// about.
	Foreign bool `json:"foreign,omitempty"`

	// Of a signature found beside an image in a layout: the image's digest, whether
	// it holds for no entry of the delivery, and, where there is no step table, why
	// there is not.
	Image    string   `json:"image,omitempty"`
	Stranger bool     `json:"stranger,omitempty"`
	Reasons  []string `json:"reasons,omitempty"`

	candidate int // its place among those found beside the image, from 1; -1: those not read
	signature.Result
}

// A Note is something seen on the way that does not settle the verdict.
type Note struct {
	Side string `json:"side"`
	Path string `json:"path"`
	Text string `json:"text"`
}
