package signature

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"unicode/utf8"

	"github.com/assaylab/assay/verify/internal/plain"
)

// readInput reads a small file whole. It reads one byte past the limit and
// refuses, rather than truncate.
func readInput(kind, path string, max int64) ([]byte, Input, error) {
	in := Input{Kind: kind, Name: filepath.Base(path)}
	f, err := open(path)
	if err != nil {
		return nil, in, trouble("give a readable file", "cannot read the %s %q: %v", kind, in.Name, plain.Cause(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, in, trouble("give a readable file", "cannot read the %s %q: %v", kind, in.Name, plain.Cause(err))
	}
	if int64(len(b)) > max {
		return nil, in, trouble("is it another file, the artifact perhaps?", "the %s %q is larger than %d bytes", kind, in.Name, max)
	}
	sum := sha256.Sum256(b)
	in.Size, in.SHA256 = int64(len(b)), hex.EncodeToString(sum[:])
	return b, in, nil
}

// open opens a file or a pipe. A FIFO that nobody writes to is empty; it does not
// block.
func open(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// loadBundle reads a sigstore bundle, or a legacy one into a loose signature.
func loadBundle(path string) (*entity, *loose, Input, error) {
	const hint = "give a sigstore bundle of v0.1 to v0.3 (application/vnd.dev.sigstore.bundle), or a legacy one as cosign writes it"
	b, in, err := readInput("bundle", path, MaxInput)
	if err != nil {
		return nil, nil, in, err
	}
	var e *entity
	var l *loose
	if isLegacy(b) {
		in.Kind = "legacy cosign bundle"
		l, e, err = parseLegacy(b)
	} else if e, err = parseBundle(b); err == nil {
		in.Kind = e.kind()
	}
	if err != nil {
		return nil, nil, in, trouble(hint, "the %s %q cannot be read: %s", in.Kind, in.Name, oneLine(err))
	}
	return e, l, in, nil
}

// loadDetached reads a detached signature: base64 when every byte is base64 or
// white space, else raw. An empty file is an empty signature: absent, not
// unreadable.
func loadDetached(path string) ([]byte, Input, error) {
	b, in, err := readInput("detached signature", path, MaxSignature)
	if err != nil {
		return nil, in, err
	}
	text := bytes.TrimSpace(b)
	switch {
	case bytes.HasPrefix(text, []byte("{")) && utf8.Valid(text): // a raw signature may begin with any byte
		return nil, in, trouble("a sigstore bundle is given with --bundle", "the detached signature %q is JSON", in.Name)
	case bytes.HasPrefix(text, []byte("-----BEGIN ")):
		return nil, in, trouble("give the signature as cosign or openssl dgst writes it: raw or base64", "the detached signature %q is PEM or OpenPGP armour", in.Name)
	}
	compact := bytes.Join(bytes.Fields(b), nil)
	if sig, err := base64.StdEncoding.Strict().DecodeString(string(compact)); err == nil {
		return sig, in, nil
	}
	return b, in, nil
}
