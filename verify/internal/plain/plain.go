// Package plain makes errors from elsewhere fit for a message of ours: they may
// hold absolute paths, and bytes that an adversary chose.
package plain

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"unicode"
)

// Cause is err without the paths that package os puts before it: they may be
// absolute, and whoever reports it names the file.
func Cause(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

// Line is a line of at most 400 bytes; see Bounded.
func Line(s string) string { return Bounded(s, 400) }

// Bounded makes text one line with plain blanks (the protobuf parser varies its
// blanks from build to build), of characters that print, and cuts it after most
// bytes.
func Bounded(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar { // controls, and marks that reorder a line
			return '?'
		}
		return r
	}, strings.Join(strings.Fields(s), " "))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
