package oci

import (
	"errors"
	"fmt"
)

// An Error says that an image cannot be read, and what would help.
type Error struct {
	Msg  string // what, and where
	Hint string // what to do; may be empty
}

func (e *Error) Error() string { return e.Msg }

// A LimitError says that a stated limit leaves the question open.
type LimitError struct {
	Msg  string // what, and where
	Hint string // what to do; may be empty
}

func (e *LimitError) Error() string { return e.Msg }

func trouble(hint, format string, args ...any) error {
	return &Error{Msg: fmt.Sprintf(format, args...), Hint: hint}
}

func limit(format string, args ...any) error {
	return &LimitError{
		Msg:  fmt.Sprintf(format, args...),
		Hint: "the image cannot be decided under this limit; name a single manifest of it, or have it made smaller",
	}
}

// A finding is something wrong with what was read, not with the reading: a problem
// of the image, or a note about what lies beside it.
type finding struct {
	msg    string
	absent bool // it is not there
}

func (f *finding) Error() string { return f.msg }

func found(format string, args ...any) error { return &finding{msg: fmt.Sprintf(format, args...)} }

func absent(msg string) error { return &finding{msg: msg, absent: true} }

func isAbsent(err error) bool {
	var f *finding
	return errors.As(err, &f) && f.absent
}

func isFinding(err error) bool {
	var f *finding
	return errors.As(err, &f)
}

// ofContent says that err is about what was read, a limit included, and not about
// the reading.
func ofContent(err error) bool {
	var over *LimitError
	return isFinding(err) || isRefusal(err) || errors.As(err, &over)
}
