package sandbox

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"strings"
	"time"

	"github.com/mikelolasagasti/xz"
)

// maxDict bounds the dictionary of an xz file: 64 MiB is what its strongest preset needs.
const maxDict = 64 << 20

// unpackAny puts the content of r at name in root: an archive becomes a directory, anything else a file. mtime is for
// what has no time of its own.
func unpackAny(root *os.Root, name string, r io.Reader, mtime time.Time, rootfs bool) error {
	raw := bufio.NewReaderSize(r, 1<<16)
	plain, err := decompress(raw)
	if err != nil {
		return err
	}
	head, err := plain.Peek(512)
	if err != nil && err != io.EOF {
		return err
	}
	if isTar(head) {
		if err := root.MkdirAll(name, 0o755); err != nil {
			return err
		}
		dir, err := root.OpenRoot(name)
		if err != nil {
			return err
		}
		defer dir.Close()
		return unpackTar(dir, plain, mtime, rootfs)
	}
	switch {
	case rootfs:
		return errors.New("it is not a tar archive")
	case plain != raw:
		return errors.New("a compressed file that is not a tar archive: decompress it, and pin the result")
	case name == ".":
		return errors.New("it is not an archive, and its place is a directory at the root: put it at a file such as /src/NAME")
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := writeFile(root, name, plain, 0o644); err != nil {
		return err
	}
	return setTime(root, name, mtime)
}

// isArchive reports whether unpackAny would make a directory of a file.
func isArchive(f *os.File) bool {
	if f == nil {
		return false
	}
	plain, err := decompress(bufio.NewReader(io.NewSectionReader(f, 0, math.MaxInt64)))
	if err != nil {
		return false
	}
	head, _ := plain.Peek(512)
	return isTar(head)
}

// decompress recognises gzip (RFC 1952), bzip2 and xz by their magic; anything else is handed on as it is.
func decompress(r *bufio.Reader) (*bufio.Reader, error) {
	head, err := r.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	var plain io.Reader
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b\x08")):
		plain, err = gzip.NewReader(r)
	case bytes.HasPrefix(head, []byte("BZh")):
		plain, err = bzip2.NewReader(r), nil
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		plain, err = xz.NewReader(r, maxDict)
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		return nil, errors.New("zstd is not supported: use xz, gzip or a plain tar")
	default:
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	return bufio.NewReaderSize(plain, 1<<16), nil
}

// isTar checks the header checksum of a first tar block: the sum of its bytes, those of the field itself (148 to 155)
// taken as spaces (POSIX.1-2017, pax, ustar header block).
func isTar(block []byte) bool {
	if len(block) < 512 || block[0] == 0 {
		return false
	}
	var want, sum int64
	field := strings.Trim(string(block[148:156]), " \x00")
	if field == "" || len(field) > 7 {
		return false
	}
	for _, c := range []byte(field) {
		if c < '0' || c > '7' {
			return false
		}
		want = want<<3 | int64(c-'0')
	}
	for i, b := range block[:512] {
		if i >= 148 && i < 156 {
			b = ' '
		}
		sum += int64(b)
	}
	return sum == want
}

// unpackTar unpacks a tar archive into root, in the order of the archive, which is as fixed as its digest. The archive
// is hostile: an entry with an absolute name or "..", one that would be written through a link out of root, a device
// and a FIFO are errors. Owners, set-id bits and write permission for others are dropped, times kept. A later entry
// replaces an earlier one of its name. rootfs leaves out device nodes.
func unpackTar(root *os.Root, r io.Reader, mtime time.Time, rootfs bool) error {
	type dirTime struct {
		name string
		time time.Time
	}
	dirs := []dirTime{{".", mtime}} // set last: each file made in a directory changes its time
	made := map[string]bool{".": true}
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		fail := func(err error) error { return fmt.Errorf("entry %q: %w", h.Name, err) }
		name := path.Clean(h.Name)
		if err := checkEntry(h.Name); err != nil {
			return fail(err)
		}
		for dir := path.Dir(name); !made[dir]; dir = path.Dir(dir) {
			made[dir] = true
			dirs = append(dirs, dirTime{dir, mtime})
		}
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return fail(err)
		}
		mode := os.FileMode(h.Mode) & 0o777 &^ 0o022
		switch h.Typeflag {
		case tar.TypeDir:
			if name == "." {
				dirs[0].time = h.ModTime
				continue
			}
			if err := makeWay(root, name, true); err != nil {
				return fail(err)
			}
			if err := root.Mkdir(name, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				return fail(err)
			}
			if err := root.Chmod(name, mode|0o700); err != nil {
				return fail(err)
			}
			made[name] = true
			dirs = append(dirs, dirTime{name, h.ModTime})
			continue
		case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
			if err := makeWay(root, name, false); err != nil {
				return fail(err)
			}
			err = writeFile(root, name, t, mode)
		case tar.TypeSymlink:
			if err := makeWay(root, name, false); err != nil {
				return fail(err)
			}
			err = root.Symlink(h.Linkname, name)
		case tar.TypeLink:
			if err := checkEntry(h.Linkname); err != nil {
				return fail(fmt.Errorf("link to %q: %w", h.Linkname, err))
			}
			if path.Clean(h.Linkname) == name {
				return fail(errors.New("a hard link to itself"))
			}
			if err := makeWay(root, name, false); err != nil {
				return fail(err)
			}
			if err := root.Link(path.Clean(h.Linkname), name); err != nil {
				return fail(err)
			}
			continue // the time is that of the file it leads to
		case tar.TypeChar, tar.TypeBlock:
			if rootfs {
				continue
			}
			return fail(errors.New("a device node"))
		case tar.TypeFifo:
			return fail(errors.New("a FIFO"))
		default:
			return fail(fmt.Errorf("unknown entry type %q", h.Typeflag))
		}
		if err != nil {
			return fail(err)
		}
		if err := setTime(root, name, h.ModTime); err != nil {
			return fail(err)
		}
	}
	// To the end, where a compressed file has its checksum.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	for i := len(dirs) - 1; i >= 0; i-- {
		if err := setTime(root, dirs[i].name, dirs[i].time); err != nil {
			// A later entry may have put a file, or nothing, in the place of the directory.
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			return fmt.Errorf("entry %q: %w", dirs[i].name, err)
		}
	}
	return nil
}

func checkEntry(name string) error {
	switch {
	case name == "" || strings.ContainsRune(name, 0):
		return errors.New("not a file name")
	case path.IsAbs(name):
		return errors.New("an absolute name")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return errors.New(`a name with ".."`)
		}
	}
	return nil
}

// makeWay removes what stands in the way of an entry; a directory stays where a directory is wanted.
func makeWay(root *os.Root, name string, dir bool) error {
	info, err := root.Lstat(name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir() && dir:
		return nil
	}
	return root.Remove(name)
}

func writeFile(root *os.Root, name string, r io.Reader, mode os.FileMode) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Chmod(mode)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
