package statement

import "fmt"

// An Error says that a key, a passphrase or a statement cannot be used, and what
// to do about it. It holds no secret and no path, only the last element of one.
type Error struct {
	Msg  string // what, and where
	Hint string // what to do
}

func (e *Error) Error() string { return e.Msg }

func trouble(hint, format string, args ...any) error {
	return &Error{Msg: fmt.Sprintf(format, args...), Hint: hint}
}
