// Package reference brings the image that a deployed one is compared with, and records where it came from.
//
// A reference is one of
//
//   - a path: a file or a directory, taken as it is ([FromPath]);
//   - a file pinned by its sha256 ([FromPinned]), fetched or not;
//   - the output of a build: a recipe names sources by digest, tools, steps and outputs ([LoadRecipe]), and [Rebuild]
//     runs it n times, each time in a fresh sandbox (package sandbox), and compares the outputs byte for byte.
//
// What is recorded is an [Origin]. It holds digests and names, no time and no absolute path: the same inputs give the
// same record. It says what was seen, not what to think of it: n of n builds that agree show that image = f(sources,
// tools), not that the sources are honest.
//
// The file of a reference can change after it was digested. Whoever reads it must digest what they read and compare it
// with the origin.
package reference

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// How a reference was obtained.
const (
	KindPath    = "path"
	KindPinned  = "pinned"
	KindFetched = "fetched" // and pinned, as nothing else is fetched
	KindRebuilt = "rebuilt"
)

// Origin says what a reference is and where it came from.
type Origin struct {
	Kind   string   `json:"kind"`             // KindPath, KindPinned, KindFetched or KindRebuilt
	Name   string   `json:"name"`             // the last element of its path
	Size   int64    `json:"size"`             // bytes; 0 for a directory
	SHA256 string   `json:"sha256,omitempty"` // lower-case hexadecimal; "" for a directory
	SHA512 string   `json:"sha512,omitempty"`
	From   string   `json:"from,omitempty"`  // for KindFetched: what was asked for
	Build  *Rebuilt `json:"build,omitempty"` // for KindRebuilt
}

// A Reference is an image on this machine.
type Reference struct {
	Path    string // a file, or a directory for KindPath
	Symbols string // an ELF file that names the places of the image; "" for none
	Origin  Origin
}

// MismatchError says that a file is not the pinned one. It is a finding about an input (kind "input"), not trouble.
type MismatchError struct {
	Name string // the file, as the user named it
	Want string // sha256 that was asked for
	Seen string // sha256 of the file
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s: its sha256 is %s, pinned is %s", e.Name, e.Seen, e.Want)
}

// Hint says what to do about it.
func (e *MismatchError) Hint() string {
	return fmt.Sprintf("if this is the file that is meant, and you know why it differs, pin it by sha256: %s", e.Seen)
}

// FromPath takes a file or a directory as it is.
func FromPath(path string) (*Reference, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	name, err := lastElement(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return &Reference{Path: path, Origin: Origin{Kind: KindPath, Name: name}}, nil
	}
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, err := digestOf(f)
	if err != nil {
		return nil, err
	}
	return &Reference{Path: path, Origin: Origin{Kind: KindPath, Name: name, Size: d.size, SHA256: d.sha256, SHA512: d.sha512}}, nil
}

// FromPinned takes a file that must have the sha256 pin (64 hexadecimal digits). Any other file is a *[MismatchError].
func FromPinned(path, pin string) (*Reference, error) {
	pin = strings.ToLower(pin)
	if !isDigest.MatchString(pin) {
		return nil, fmt.Errorf("%q is not a sha256: 64 hexadecimal digits", pin)
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a directory, and only a file has a sha256: pin an archive of it", path)
	}
	r, err := FromPath(path)
	if err != nil {
		return nil, err
	}
	if r.Origin.SHA256 != pin {
		return nil, &MismatchError{Name: path, Want: pin, Seen: r.Origin.SHA256}
	}
	r.Origin.Kind = KindPinned
	return r, nil
}

var isDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// lastElement names a path without saying where it is: "." has a name too.
func lastElement(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.Base(abs), nil
}

// openFile opens a regular file; a FIFO or a device would block or never end.
func openFile(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return os.Open(path)
}

type digest struct {
	size           int64
	sha256, sha512 string
}

func digestOf(r io.Reader) (digest, error) {
	short, long := sha256.New(), sha512.New()
	n, err := io.Copy(io.MultiWriter(short, long), r)
	return digest{n, hex.EncodeToString(short.Sum(nil)), hex.EncodeToString(long.Sum(nil))}, err
}
