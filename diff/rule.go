package diff

import "github.com/assaylab/assay/diff/ledger"

// A Rule names one harmless cause of a difference and proposes its proof. It is
// not trusted: the kernel replays every proposal, prices it, and leaves
// unexplained what does not hold.
type Rule struct {
	Name  string // as in "date-text"
	Title string // one line for people

	// Ops are the fields it explains: wherever parsing the reference gave a
	// place with one of these operations and the paired bytes differ.
	Ops []ledger.Op
	// Because says why, for the report.
	Because string

	// Text is the operation that Scan proposes, and Scan looks for texts that
	// need no place. It gets the two sides of a
	// difference with some bytes around it, both of one length and aligned
	// byte for byte.
	Text ledger.Op
	Scan func(ref, dep []byte) []Text
}

// A Text is a run of bytes that a Scan recognised on both sides.
type Text struct {
	Off, Len int
	Spec     ledger.Spec
	Because  string
}
