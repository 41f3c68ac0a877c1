package fetch

import (
	"context"
	"errors"
	"fmt"

	"github.com/assaylab/assay/verify/internal/plain"
)

// An Error says that something cannot be fetched, and what would help.
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

// An OfflineError says that what was asked for is not in the cache, and that no connection is allowed.
type OfflineError struct{ Name string }

func (e *OfflineError) Error() string {
	return e.Name + " is not in the cache, and nothing is fetched unless it is allowed"
}

// Hint says what to do about it.
func (e *OfflineError) Hint() string {
	return "add --network, or fetch it beforehand with assay fetch"
}

// A MismatchError says that what came is not what was pinned. It is a finding about an input, not trouble.
type MismatchError struct {
	Name string // what was asked for
	Want string // sha256 that was asked for
	Seen string // sha256 of what came

	// Pieces says that it came in several, with breaks between them, which may be of different files: nobody may have
	// the whole.
	Pieces bool
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s: its sha256 is %s, pinned is %s", e.Name, e.Seen, e.Want)
}

// Hint says what to do about it.
func (e *MismatchError) Hint() string {
	if e.Pieces {
		return piecesHint
	}
	return "someone changed it, or the pin is of another file; if this is the one that is meant, and you know why it differs, pin it by sha256: " + e.Seen
}

// An UnpinnedError says that nothing pins what was asked for. What was seen may be what somebody else wants to be seen.
type UnpinnedError struct {
	Name string // what was asked for
	Seen string // sha256 of what is there now, or the whole pin where that is another
	Size int64  // bytes; 0 where unknown
	Pin  string // how to pin it; "" is by sha256

	Pieces bool // as in a MismatchError
}

const piecesHint = "the connection broke, and the pieces may be of different files: do not pin that digest, and fetch it again until it comes in one piece"

func (e *UnpinnedError) Error() string {
	if e.Pin != "" {
		return fmt.Sprintf("%s is not pinned; what is there now is %s", e.Name, e.Seen)
	}
	if e.Pieces {
		return fmt.Sprintf("%s is not pinned; what came in pieces has %d bytes and the sha256 %s", e.Name, e.Size, e.Seen)
	}
	return fmt.Sprintf("%s is not pinned; what is there now has %d bytes and the sha256 %s", e.Name, e.Size, e.Seen)
}

// Hint says what to do about it.
func (e *UnpinnedError) Hint() string {
	if e.Pieces {
		return piecesHint
	}
	pin := e.Pin
	if pin == "" {
		pin = "--sha256 " + e.Seen + " (sha256: in a file)"
	}
	return "compare that with what its maker says, over another channel, and pin it: " + pin
}

func trouble(hint, format string, args ...any) error {
	return &Error{Msg: fmt.Sprintf(format, args...), Hint: hint}
}

func tooLarge(name string, most int64) error {
	return &LimitError{
		Msg:  fmt.Sprintf("%s is larger than %d bytes", name, most),
		Hint: "raise the limit with --max-size if it may be that large",
	}
}

// cause is an error's text, fit for a message: no paths, nothing that a terminal obeys.
func cause(err error) string { return plain.Line(plain.Cause(err).Error()) }

// reading explains an error of reading a file.
func reading(ctx context.Context, name string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	return trouble("", "cannot read %s: %s", name, cause(err))
}
