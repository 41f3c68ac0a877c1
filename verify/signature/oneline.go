package signature

import (
	"bytes"
	"strings"
	"unicode"
)

// oneLine makes a library's error fit for a report: one line, plain blanks (the
// protobuf parser varies its blanks from build to build), no control characters,
// bounded.
func oneLine(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == '\uFFFD' { // controls, and marks that reorder a line
			return '?'
		}
		return r
	}, s)
	const most = 400
	if len(s) > most {
		s = s[:len(bytes.ToValidUTF8([]byte(s[:most]), nil))] + "…"
	}
	return s
}
