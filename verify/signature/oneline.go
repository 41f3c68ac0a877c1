package signature

import (
	"bytes"
	"strings"
)

// oneLine makes a library's error fit for a report: one line, plain blanks (the
// protobuf parser varies its blanks from build to build), no control characters,
// bounded.
func oneLine(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' || 0x80 <= r && r < 0xa0 {
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
