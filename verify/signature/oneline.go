package signature

import "github.com/assaylab/assay/verify/internal/plain"

// oneLine makes a library's error fit for a report.
func oneLine(err error) string { return plain.Line(err.Error()) }
