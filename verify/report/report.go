// Package report renders results. Every format is a view of one
// [verify.Report]; none computes anything.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/internal/strictjson"
)

// Formats lists the output formats by name.
var Formats = []string{"text", "json"}

// Style says how text is laid out for people.
type Style struct {
	Color   bool
	Verbose bool // every row, every finding, every step
}

// Write renders r in a format of Formats.
func Write(w io.Writer, format string, r *verify.Report, s Style) error {
	switch format {
	case "text":
		return text(w, r, s)
	case "json":
		return verify.EncodeJSON(w, r)
	}
	return Unknown(format)
}

// JSON writes a value as EncodeJSON writes a report: indented, in printable
// characters.
func JSON(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(strictjson.Printable(b), '\n'))
	return err
}

// Unknown is the error about a format that is not one.
func Unknown(format string) error {
	return fmt.Errorf("unknown output format %q; one of %s", format, strings.Join(Formats, ", "))
}

// Known says whether format is one of Formats.
func Known(format string) bool { return slices.Contains(Formats, format) }
