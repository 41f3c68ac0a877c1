package plain_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/assaylab/assay/verify/internal/plain"
)

func TestCause(t *testing.T) {
	for _, err := range []error{
		&fs.PathError{Op: "open", Path: "/home/lab/x", Err: fs.ErrNotExist},
		&os.LinkError{Op: "rename", Old: "/home/lab/x", New: "/home/lab/y", Err: fs.ErrNotExist},
		fmt.Errorf("reading: %w", &fs.PathError{Op: "read", Path: "/home/lab/x", Err: fs.ErrNotExist}),
		fs.ErrNotExist,
	} {
		if got := plain.Cause(err); got != fs.ErrNotExist {
			t.Errorf("%v became %v", err, got)
		}
	}
	if err := errors.New("other"); plain.Cause(err) != err || plain.Cause(nil) != nil {
		t.Error("an error of another kind is changed")
	}
}

func TestLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                                  "",
		" a \n\tb\u00a0c ":                  "a b c",
		"é 中 \U0001f600":                    "é 中 \U0001f600",
		"x\x1b[31m\u202e\u009b\u007f\ufeff": "x?[31m????",
		"\xff":                              "?",
		"\u2028\u00ad\U000e0041":            "??",
	} {
		if got := plain.Line(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	long := plain.Line(strings.Repeat("中", 400))
	if len(long) > 400+len("…") || !utf8.ValidString(long) || strings.ContainsFunc(long, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%d bytes: %q", len(long), long)
	}
}
