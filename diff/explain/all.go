// Package explain lists the causes of harmless differences that assay knows.
// Each rule proposes; the kernel in package ledger decides and prices.
//
// A rule is one file with one unexported variable, and one line below.
package explain

import "github.com/assaylab/assay/diff"

// All returns the rules in the order in which they are asked.
func All() []*diff.Rule {
	return []*diff.Rule{
		timeField,
		idField,
		dateText,
		checksum,
		size,
		padding,
	}
}
