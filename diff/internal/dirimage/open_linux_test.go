package dirimage

import (
	"bytes"
	"errors"
	"io"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write makes a file and the directories it stands in.
func write(t *testing.T, dir, name, data string) {
	t.Helper()
	name = filepath.Join(dir, name)
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, []byte(data), 0o644))
}

func read(t *testing.T, dir string) []byte {
	t.Helper()
	img, err := Open(dir)
	must(t, err)
	defer img.Close()
	b, err := io.ReadAll(io.NewSectionReader(img, 0, img.Size()))
	must(t, err)
	if int64(len(b)) != img.Size() {
		t.Errorf("%d bytes, but a size of %d", len(b), img.Size())
	}
	return b
}

// An entry is a record and what stands behind its header, which the lengths in
// the header are taken from.
type entry struct {
	Header
	name, target, data string
	xattrs             [][2]string
}

func stream(entries []entry) []byte {
	b := []byte("assay-dir 1\n")
	for _, e := range entries {
		var attrs []byte
		for _, x := range e.xattrs {
			attrs = AppendXattr(attrs, x[0], []byte(x[1]))
		}
		e.NameLen, e.TargetLen = uint32(len(e.name)), uint32(len(e.target))
		e.XattrsLen, e.ContentLen = uint32(len(attrs)), uint64(len(e.data))
		b = slices.Concat(e.Append(b), []byte(e.name), attrs, []byte(e.target), []byte(e.data))
	}
	return append(b, "end\n"...)
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write(t, dir, "a/z", "in a")
	write(t, dir, "a.b", "beside a")
	write(t, dir, "empty", "")
	write(t, dir, "\xff\n", "no UTF-8")
	must(t, os.Link(in("a/z"), in("b-hard")))
	must(t, os.Symlink("a", in("dirlink")))
	must(t, os.Symlink("/nowhere/\xff", in("dangling")))
	must(t, os.Symlink("loop", in("loop")))
	must(t, os.Link(in("loop"), in("loop2")))
	must(t, syscall.Mkfifo(in("fifo"), 0o600))
	l, err := net.Listen("unix", in("socket"))
	must(t, err)
	defer l.Close()
	must(t, os.Chmod(in("socket"), 0o700))
	must(t, os.Chmod(in("empty"), os.ModeSetuid|os.ModeSetgid|os.ModeSticky|0o751))
	must(t, os.Chmod(in("a"), os.ModeSticky|0o777))
	must(t, os.Chmod(dir, 0o750))

	var attrs [][2]string
	for _, x := range [][2]string{{"user.b", ""}, {"user.a", "value\x00\xff"}} {
		switch err := unix.Lsetxattr(in("a.b"), x[0], []byte(x[1]), 0); {
		case err == nil:
			attrs = append(attrs, x)
		case !errors.Is(err, unix.ENOTSUP):
			t.Fatal(err)
		}
	}
	slices.SortFunc(attrs, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })

	head := func(kind byte, mode uint16) Header {
		return Header{Type: kind, Mode: mode, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	}
	entries := []entry{
		{Header: head('d', 0o750), name: "."},
		{Header: head('d', 0o1777), name: "a"},
		{Header: head('f', 0o644), name: "a/z", data: "in a"},
		{Header: head('f', 0o644), name: "a.b", data: "beside a", xattrs: attrs},
		{Header: Header{Type: 'h'}, name: "b-hard", target: "a/z"},
		{Header: head('l', 0o777), name: "dangling", target: "/nowhere/\xff"},
		{Header: head('l', 0o777), name: "dirlink", target: "a"},
		{Header: head('f', 0o7751), name: "empty"},
		{Header: head('p', 0o600), name: "fifo"},
		{Header: head('l', 0o777), name: "loop", target: "loop"},
		{Header: Header{Type: 'h'}, name: "loop2", target: "loop"},
		{Header: head('s', 0o700), name: "socket"},
		{Header: head('f', 0o644), name: "\xff\n", data: "no UTF-8"},
	}
	// Only root may make devices, and not everywhere.
	if unix.Mknod(in("null"), unix.S_IFCHR|0o620, int(unix.Mkdev(1, 259))) == nil {
		must(t, os.Chmod(in("null"), 0o620))
		h := head('c', 0o620)
		h.Major, h.Minor = 1, 259
		entries = slices.Insert(entries, 11, entry{Header: h, name: "null"})
	}
	want := stream(entries)
	if got := read(t, dir); !bytes.Equal(got, want) {
		t.Errorf("the stream is\n%q\nwant\n%q", got, want)
	}
}

// Two copies of a tree have one stream, whatever the order in which they were
// made, their times and their place.
func TestSame(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	names := []string{"a", "b/c", "b/d", "b.e", "f"}
	for _, name := range names {
		write(t, one, name, "same "+name)
	}
	slices.Reverse(names)
	for _, name := range names {
		write(t, two, name, "same "+name)
	}
	must(t, os.Chtimes(filepath.Join(two, "a"), time.Unix(0, 0), time.Unix(0, 0)))
	a, b := read(t, one), read(t, two)
	if !bytes.Equal(a, b) {
		t.Errorf("%q\nand\n%q", a, b)
	}
	for what, change := range map[string]func() error{
		"content": func() error { return os.WriteFile(filepath.Join(two, "a"), []byte("other!"), 0o644) },
		"mode":    func() error { return os.Chmod(filepath.Join(two, "b/c"), os.ModeSetuid|0o644) },
		"name":    func() error { return os.Rename(filepath.Join(two, "f"), filepath.Join(two, "g")) },
		"type": func() error {
			return errors.Join(os.Remove(filepath.Join(two, "b/d")), os.Symlink("c", filepath.Join(two, "b/d")))
		},
	} {
		must(t, change())
		next := read(t, two)
		if bytes.Equal(b, next) {
			t.Errorf("another %s gives the same stream", what)
		}
		b = next
	}
}

// Reads of any size, anywhere, by many at once, agree.
func TestReadAt(t *testing.T) {
	dir := t.TempDir()
	for i := range 20 {
		write(t, dir, string(rune('a'+i)), strings.Repeat(string(rune('A'+i)), i*37))
	}
	want := read(t, dir)
	img, err := Open(dir)
	must(t, err)
	defer img.Close()
	var wg sync.WaitGroup
	for seed := range int64(4) {
		wg.Go(func() {
			r := rand.New(rand.NewSource(seed))
			for range 300 {
				off, n := r.Intn(len(want)+10), r.Intn(200)
				p := make([]byte, n)
				m, err := img.ReadAt(p, int64(off))
				rest := want[min(off, len(want)):]
				if m != min(n, len(rest)) || !bytes.Equal(p[:m], rest[:m]) || (m < n) != (err == io.EOF) {
					t.Errorf("ReadAt(%d, %d) = %d, %v", n, off, m, err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := img.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("read before the start")
	}
}

// A file that is no longer what it was is an error, whatever took its place.
func TestChanged(t *testing.T) {
	for name, change := range map[string]func(file string) error{
		"grown":     func(f string) error { return os.WriteFile(f, []byte("content and more"), 0o644) },
		"truncated": func(f string) error { return os.Truncate(f, 3) },
		"removed":   os.Remove,
		"replaced": func(f string) error {
			return errors.Join(os.WriteFile(f+"2", []byte("content"), 0o644), os.Rename(f+"2", f))
		},
		"a link out": func(f string) error {
			return errors.Join(os.Remove(f), os.Symlink("/etc/passwd", f))
		},
		"a link within": func(f string) error {
			return errors.Join(os.Rename(f, f+"2"), os.Symlink(filepath.Base(f)+"2", f))
		},
		"a FIFO":      func(f string) error { return errors.Join(os.Remove(f), syscall.Mkfifo(f, 0o644)) },
		"a directory": func(f string) error { return errors.Join(os.Remove(f), os.Mkdir(f, 0o755)) },
	} {
		for _, open := range []bool{false, true} {
			dir := t.TempDir()
			write(t, dir, "sub/file", "content")
			img, err := Open(dir)
			must(t, err)
			whole := make([]byte, img.Size())
			if open { // so that it is held open while it changes
				_, err := img.ReadAt(whole, 0)
				must(t, err)
			}
			must(t, change(filepath.Join(dir, "sub/file")))
			_, err = img.ReadAt(whole, 0)
			// What is held open and lives on unlinked or renamed has
			// changed too: its link count or name has.
			if err == nil {
				t.Errorf("%s, held open: %t: read as if nothing had happened", name, open)
			} else if !strings.Contains(err.Error(), "sub/file") {
				t.Errorf("%s: the error does not name the file: %v", name, err)
			}
			must(t, img.Close())
		}
	}
}

// The directories above a file cannot lead out of the tree afterwards.
func TestDirectoryReplaced(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, dir, "sub/file", "content")
	write(t, outside, "file", "outside")
	img, err := Open(dir)
	must(t, err)
	defer img.Close()
	must(t, os.RemoveAll(filepath.Join(dir, "sub")))
	must(t, os.Symlink(outside, filepath.Join(dir, "sub")))
	b := make([]byte, img.Size())
	if _, err := img.ReadAt(b, 0); err == nil || bytes.Contains(b, []byte("outside")) {
		t.Errorf("read %q, %v", b, err)
	}
}

func TestOpenRefused(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", "")
	if _, err := Open(filepath.Join(dir, "file")); err == nil {
		t.Error("a file is opened as a directory")
	}
	if _, err := Open(filepath.Join(dir, "none")); err == nil {
		t.Error("what is not there is opened")
	}
	if _, err := Open("/proc/sys/kernel/random"); err == nil || !strings.Contains(err.Error(), "size says") {
		t.Errorf("files that hold more than their size says: %v", err)
	}
}

// What cannot be read is never left out.
func TestUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	for _, name := range []string{"file", "sub"} {
		dir := t.TempDir()
		write(t, dir, "file", "")
		must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
		must(t, os.Chmod(filepath.Join(dir, name), 0))
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("unreadable %s: %v", name, err)
		}
		must(t, os.Chmod(filepath.Join(dir, name), 0o755))
	}
}
