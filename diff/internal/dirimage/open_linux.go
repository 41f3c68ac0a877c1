package dirimage

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// An Image is a directory read as a stream: an io.ReaderAt that is safe for
// concurrent use. It keeps the records' headers, names and attributes in
// memory and reads the content of a file when it is asked for.
type Image struct {
	path     string
	root     *os.Root
	size     int64
	segments []segment // in rising order of off, without holes
	heads    []byte    // what is not content, one run after the other

	mu   sync.Mutex
	file *os.File // the file last read from
	from int      // its segment
}

// A segment is a run of the stream: the content of a file or, where path is
// empty, bytes of heads.
type segment struct {
	off, len int64
	head     int // offset in heads
	path     string
	print    fingerprint
}

// A fingerprint changes when an inode does.
type fingerprint struct {
	dev, ino     uint64
	mode         uint32
	size         int64
	mtime, ctime syscall.Timespec
}

// Open walks the directory at path and reads all but the contents of files. It
// follows no symbolic link below path, opens no device, FIFO or socket, and
// does not leave the directory, whatever is renamed while it looks. An entry
// that cannot be read is an error, as is one that changes before its content
// has been read.
//
// Extended attributes are those the caller may list: Linux shows trusted ones
// to CAP_SYS_ADMIN alone. They are reached through /proc/self/fd.
func Open(path string) (*Image, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", path, err)
	}
	img := &Image{path: path, root: root, from: -1}
	w := walker{img: img, links: map[inode]string{}}
	img.head([]byte(Magic))
	if err := w.directory(root, ".", nil); err != nil {
		root.Close()
		return nil, fmt.Errorf("directory %s: %w", path, err)
	}
	img.head([]byte(End))
	return img, nil
}

// Size returns the length of the stream in bytes.
func (img *Image) Size() int64 { return img.size }

// Root is the directory, whatever its path leads to by now. Close closes it.
func (img *Image) Root() *os.Root { return img.root }

// Close closes the directory.
func (img *Image) Close() error {
	img.mu.Lock()
	defer img.mu.Unlock()
	err := img.root.Close()
	if img.file != nil {
		err = errors.Join(err, img.file.Close())
		img.file = nil
	}
	return err
}

// head appends bytes other than content to the stream.
func (img *Image) head(b []byte) {
	if n := len(img.segments); n > 0 && img.segments[n-1].path == "" {
		img.segments[n-1].len += int64(len(b))
	} else {
		img.segments = append(img.segments, segment{off: img.size, len: int64(len(b)), head: len(img.heads)})
	}
	img.heads = append(img.heads, b...)
	img.size += int64(len(b))
}

// ReadAt implements io.ReaderAt.
func (img *Image) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("directory %s: negative offset", img.path)
	}
	i := sort.Search(len(img.segments), func(i int) bool {
		return img.segments[i].off+img.segments[i].len > off
	})
	for ; n < len(p) && i < len(img.segments); i++ {
		s := &img.segments[i]
		at := off + int64(n) - s.off
		want := p[n:min(int64(len(p)), int64(n)+s.len-at)]
		if s.path == "" {
			n += copy(want, img.heads[int64(s.head)+at:])
			continue
		}
		m, err := img.content(i, want, at)
		n += m
		if err != nil {
			return n, fmt.Errorf("directory %s: %s: %w", img.path, s.path, err)
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

var errChanged = errors.New("it changed while it was read; compare the directory when nothing writes to it")

// content reads from the file of segment i, which must be what it was when the
// directory was walked, before and after.
func (img *Image) content(i int, p []byte, at int64) (int, error) {
	img.mu.Lock()
	defer img.mu.Unlock()
	s := &img.segments[i]
	if img.from != i || img.file == nil {
		if img.file != nil {
			img.file.Close()
		}
		img.file, img.from = nil, -1
		f, err := openFile(img.root, s.path)
		if err != nil {
			return 0, err
		}
		img.file, img.from = f, i
	}
	n, err := img.file.ReadAt(p, at)
	if err != nil && err != io.EOF {
		return n, err
	}
	if err := s.print.same(img.file.Stat()); err != nil {
		return n, err
	}
	if n < len(p) {
		return n, errChanged
	}
	return n, nil
}

// openFile opens a regular file for reading. Should it have become something
// else, opening neither follows it nor waits for it.
func openFile(root *os.Root, name string) (*os.File, error) {
	return root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

func (f fingerprint) same(fi os.FileInfo, err error) error {
	if err != nil {
		return err
	}
	if printOf(statOf(fi)) != f {
		return errChanged
	}
	return nil
}

func statOf(fi os.FileInfo) *syscall.Stat_t { return fi.Sys().(*syscall.Stat_t) }

func printOf(st *syscall.Stat_t) fingerprint {
	return fingerprint{
		dev: uint64(st.Dev), ino: uint64(st.Ino), mode: uint32(st.Mode),
		size: st.Size, mtime: st.Mtim, ctime: st.Ctim,
	}
}

type inode struct{ dev, ino uint64 }

// A walker appends one directory to an image.
type walker struct {
	img   *Image
	links map[inode]string // first names of files that have more than one
}

// directory appends the record of dir, which is at name, and those of all
// below it. parent is what lstat said of it in the directory it stands in.
func (w *walker) directory(dir *os.Root, name string, parent os.FileInfo) (err error) {
	fail := func(err error) error { return fmt.Errorf("%s: %w", name, err) }
	f, err := dir.Open(".")
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	before := printOf(statOf(fi))
	if parent != nil {
		if err := before.same(parent, nil); err != nil {
			return fail(err)
		}
	}
	attrs, err := xattrs(f, ".")
	if err != nil {
		return fail(err)
	}
	if err := w.record(name, 'd', statOf(fi), attrs, ""); err != nil {
		return fail(err)
	}
	entries, err := f.Readdirnames(-1)
	if err != nil {
		return fail(err)
	}
	slices.Sort(entries)
	for _, e := range entries {
		if err := w.entry(dir, f, e, path.Join(name, e)); err != nil {
			return err
		}
	}
	if err := before.same(f.Stat()); err != nil {
		return fail(err)
	}
	return nil
}

// entry appends the entry base of dir, which is open as f, and all below it.
func (w *walker) entry(dir *os.Root, f *os.File, base, name string) error {
	fail := func(err error) error { return fmt.Errorf("%s: %w", name, err) }
	fi, err := dir.Lstat(base)
	if err != nil {
		return fail(err)
	}
	if fi.IsDir() {
		sub, err := dir.OpenRoot(base)
		if err != nil {
			return fail(err)
		}
		defer sub.Close()
		return w.directory(sub, name, fi)
	}

	st, print := statOf(fi), printOf(statOf(fi))
	if st.Nlink > 1 {
		id := inode{print.dev, print.ino}
		if first, ok := w.links[id]; ok {
			if err := w.record(name, 'h', &syscall.Stat_t{}, nil, first); err != nil {
				return fail(err)
			}
			return nil
		}
		w.links[id] = name
	}
	var kind byte
	var target string
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		kind = 'f'
		// A file that cannot be read is to be known now.
		file, err := openFile(dir, base)
		if err != nil {
			return fail(err)
		}
		err = print.same(file.Stat())
		if n, _ := file.Read(make([]byte, 1)); n > 0 && st.Size == 0 && err == nil {
			err = errors.New("holds more than its size says, as files of /proc do; copy the directory first")
		}
		file.Close()
		if err != nil {
			return fail(err)
		}
	case syscall.S_IFLNK:
		kind = 'l'
		if target, err = dir.Readlink(base); err != nil {
			return fail(err)
		}
	case syscall.S_IFCHR:
		kind = 'c'
	case syscall.S_IFBLK:
		kind = 'b'
	case syscall.S_IFIFO:
		kind = 'p'
	case syscall.S_IFSOCK:
		kind = 's'
	default:
		return fail(fmt.Errorf("a file of unknown type, mode %o", st.Mode))
	}
	attrs, err := xattrs(f, base)
	if err != nil {
		return fail(err)
	}
	if err := print.same(dir.Lstat(base)); err != nil {
		return fail(err)
	}
	if err := w.record(name, kind, st, attrs, target); err != nil {
		return fail(err)
	}
	return nil
}

// record appends one record and, of a regular file, its content.
func (w *walker) record(name string, kind byte, st *syscall.Stat_t, attrs []byte, target string) error {
	h := Header{
		Type: kind, Mode: uint16(st.Mode & 0o7777), UID: st.Uid, GID: st.Gid,
		NameLen: uint32(len(name)), XattrsLen: uint32(len(attrs)), TargetLen: uint32(len(target)),
	}
	switch kind {
	case 'c', 'b':
		h.Major, h.Minor = unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))
	case 'f':
		h.ContentLen = uint64(st.Size)
		if st.Size < 0 || st.Size > math.MaxInt64>>1-w.img.size {
			return fmt.Errorf("a file of %d bytes is too large", st.Size)
		}
	}
	b := h.Append(nil)
	b = append(b, name...)
	b = append(b, attrs...)
	w.img.head(append(b, target...))
	if h.ContentLen > 0 {
		w.img.segments = append(w.img.segments, segment{
			off: w.img.size, len: st.Size, path: name, print: printOf(st),
		})
		w.img.size += st.Size
	}
	return nil
}

// xattrs returns the extended attributes of the entry base of the open
// directory dir, as the stream has them.
func xattrs(dir *os.File, base string) ([]byte, error) {
	at := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), base)
	list, err := grow(func(b []byte) (int, error) { return unix.Llistxattr(at, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list extended attributes: %w", err)
	}
	if len(list) == 0 {
		return nil, nil
	}
	names := strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00")
	slices.Sort(names)
	var out []byte
	for _, name := range names {
		value, err := grow(func(b []byte) (int, error) { return unix.Lgetxattr(at, name, b) })
		if err != nil {
			return nil, fmt.Errorf("read extended attribute %s: %w", name, err)
		}
		out = AppendXattr(out, name, value)
	}
	return out, nil
}

// grow calls read with nil, which returns the length there is, and then with
// as much, again where more has come meanwhile.
func grow(read func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := read(nil)
		if n <= 0 || err != nil {
			return nil, err
		}
		b := make([]byte, n)
		n, err = read(b)
		if errors.Is(err, unix.ERANGE) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return b[:n], nil
	}
}
