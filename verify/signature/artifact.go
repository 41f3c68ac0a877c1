package signature

import (
	"bytes"
	"context"
	"crypto"
	_ "crypto/sha256" // linked for crypto.SHA256
	_ "crypto/sha512" // linked for crypto.SHA384 and crypto.SHA512
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/assaylab/assay/verify/internal/plain"
)

// An Artifact is what is said to be signed. The zero Artifact is none.
type Artifact struct {
	name   string
	open   func() (io.ReadCloser, error)
	size   int64 // -1: as much as there is
	sha256 []byte
}

// File is the artifact at path. It is read once, as a stream.
func File(path string) Artifact {
	return Artifact{name: path, size: -1, open: func() (io.ReadCloser, error) { return open(path) }}
}

// Reader is an artifact of size bytes that r yields; more or fewer are an error.
// It can be verified once.
func Reader(name string, r io.Reader, size int64) Artifact {
	return Artifact{name: name, size: max(size, 0), open: func() (io.ReadCloser, error) { return io.NopCloser(r), nil }}
}

// Digest is an artifact of which only the SHA-256 is known.
func Digest(sha256 [32]byte) Artifact {
	return Artifact{sha256: sha256[:]}
}

// ParseArtifact reads an argument: sha256:HEX, else the path of a file. A file
// whose name begins with "sha256:" is written ./sha256:….
func ParseArtifact(arg string) (Artifact, error) {
	digits, ok := strings.CutPrefix(arg, "sha256:")
	if !ok {
		if arg == "" {
			return Artifact{}, trouble("give a file or sha256:HEX", "the artifact has no name")
		}
		return File(arg), nil
	}
	sum, err := hex.DecodeString(digits)
	if err != nil || len(sum) != crypto.SHA256.Size() {
		return Artifact{}, trouble("give sha256: and 64 hexadecimal digits", "%q is not a SHA-256 digest", arg)
	}
	return Digest([32]byte(sum)), nil
}

func (a Artifact) valid() bool { return a.open != nil || a.sha256 != nil }

// sums is what is known of an artifact.
type sums struct {
	of      map[crypto.Hash][]byte
	message []byte // the artifact itself; nil when not asked for, or too large
}

// readers yields the message for the library's call.
func (s sums) readers() []io.Reader { return []io.Reader{bytes.NewReader(s.message)} }

// read digests the artifact under algs (a zero is skipped), and keeps it when
// whole is set and it is no larger than MaxMessage.
func (a Artifact) read(ctx context.Context, algs []crypto.Hash, whole bool) (sums, Input, error) {
	if a.open == nil {
		return sums{of: map[crypto.Hash][]byte{crypto.SHA256: a.sha256}}, Input{Kind: "digest", SHA256: hex.EncodeToString(a.sha256)}, nil
	}
	in := Input{Kind: "file", Name: filepath.Base(a.name)}
	const hint = "give a readable file, or sha256:HEX"
	r, err := a.open()
	if err != nil {
		return sums{}, in, trouble(hint, "cannot read the artifact %q: %v", in.Name, plain.Cause(err))
	}
	defer r.Close()
	mode := fileMode(r)
	if mode&os.ModeCharDevice != 0 {
		return sums{}, in, trouble(hint, "the artifact %q is a device", in.Name)
	}

	hashers := map[crypto.Hash]hash.Hash{}
	for _, alg := range algs {
		if alg != 0 && hashers[alg] == nil {
			hashers[alg] = alg.New()
		}
	}
	s := sums{of: map[crypto.Hash][]byte{}}
	if whole && a.size <= MaxMessage && fileSize(r) <= MaxMessage {
		s.message = make([]byte, 0, fileSize(r))
	}
	var digesting sync.WaitGroup // what was read last, while the next is read
	defer digesting.Wait()
	bufs := [2][]byte{make([]byte, 512<<10), make([]byte, 512<<10)}
	for i := 0; ; i++ {
		if err := ctx.Err(); err != nil {
			return sums{}, in, err
		}
		buf := bufs[i%2]
		n, err := io.ReadFull(r, buf)
		digesting.Wait()
		write(&digesting, hashers, buf[:n])
		in.Size += int64(n)
		if s.message != nil {
			if s.message = append(s.message, buf[:n]...); len(s.message) > MaxMessage {
				s.message = nil
			}
		}
		if a.size >= 0 && in.Size > a.size {
			return sums{}, in, trouble(hint, "the artifact %q yields more than its %d bytes", in.Name, a.size)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return sums{}, in, trouble(hint, "cannot read the artifact %q: %v", in.Name, plain.Cause(err))
		}
	}
	if in.Size == 0 && mode&os.ModeNamedPipe != 0 {
		return sums{}, in, trouble(hint, "the artifact %q is a pipe, and nothing came out of it", in.Name)
	}
	if a.size >= 0 && in.Size < a.size {
		return sums{}, in, trouble(hint, "the artifact %q yields %d of its %d bytes", in.Name, in.Size, a.size)
	}
	digesting.Wait()
	for alg, h := range hashers {
		s.of[alg] = h.Sum(nil)
	}
	in.SHA256 = hex.EncodeToString(s.of[crypto.SHA256])
	return s, in, nil
}

// fileSize is the size of a regular file, and 0 of anything else.
func fileSize(r io.Reader) int64 {
	if f, ok := r.(*os.File); ok {
		if fi, err := f.Stat(); err == nil && fi.Mode().IsRegular() {
			return fi.Size()
		}
	}
	return 0
}

// fileMode is the mode of a file, and 0 of anything else.
func fileMode(r io.Reader) os.FileMode {
	if f, ok := r.(*os.File); ok {
		if fi, err := f.Stat(); err == nil {
			return fi.Mode()
		}
	}
	return 0
}

// write feeds b to every hasher, each on its own processor: SHA-512 takes about
// three times as long as SHA-256 where the latter has instructions of its own.
func write(wg *sync.WaitGroup, hashers map[crypto.Hash]hash.Hash, b []byte) {
	for _, h := range hashers {
		wg.Go(func() { h.Write(b) })
	}
}

// digestName is the name of alg in an in-toto digest set.
func digestName(alg crypto.Hash) string {
	switch alg {
	case crypto.SHA256:
		return "sha256"
	case crypto.SHA384:
		return "sha384"
	case crypto.SHA512:
		return "sha512"
	}
	return fmt.Sprintf("algorithm %d", uint(alg))
}
