package signature

import "fmt"

// A Kind says what an [Error] leaves a caller with.
type Kind int

const (
	// Trouble: an input cannot be read, or the request cannot be asked. No verdict.
	Trouble Kind = iota
	// Limit: a stated limit leaves the question open. Undecided.
	Limit
)

// An Error says that there is no answer, and what would bring one.
type Error struct {
	Kind Kind
	Msg  string // what, and where
	Hint string // what to do; may be empty

	// Usage: the request makes no sense, and no input was looked at.
	Usage bool

	// Signed: what cannot be read is the signature or what came with it, not what
	// the caller trusts. Whoever delivered it may have made it so.
	Signed bool
}

func (e *Error) Error() string { return e.Msg }

func trouble(hint, format string, args ...any) error {
	return &Error{Kind: Trouble, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

func limit(hint, format string, args ...any) error {
	return &Error{Kind: Limit, Msg: fmt.Sprintf(format, args...), Hint: hint}
}
