package report

import (
	"fmt"

	"github.com/assaylab/assay/verify/reference"
)

// originLine says in a line where a reference came from.
func originLine(o any) string {
	from, ok := o.(reference.Origin)
	if !ok {
		return ""
	}
	switch {
	case from.Build != nil:
		b := from.Build
		return fmt.Sprintf("rebuilt from %s in the %s sandbox: %s", clean(b.Recipe.Name), clean(b.Sandbox), clean(b.Agreement()))
	case from.Kind == reference.KindFetched:
		return fmt.Sprintf("pinned by digest, and brought from %s", clean(from.From))
	case from.Kind == reference.KindPinned:
		return "a file pinned by its sha256"
	}
	return ""
}
