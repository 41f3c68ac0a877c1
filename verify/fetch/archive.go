package fetch

import (
	"archive/tar"
	"fmt"
	"io"
	"strings"
	"time"
)

// An archive writes a tar file (POSIX.1-2017, pax, in which only what an ustar header cannot hold has a record of its
// own). The same calls give the same bytes: owner and group are 0 and have no names, times are whole seconds, and
// nothing else of an entry is recorded than what its method is given. Errors stick, and Close tells the first.
type archive struct {
	w    *tar.Writer
	most int64 // bytes of content still allowed
	err  error
	name string // of what it is made of
	all  int64  // bytes that were allowed
}

func newArchive(w io.Writer, name string, most int64) *archive {
	return &archive{w: tar.NewWriter(w), name: name, most: most, all: most}
}

// comment is what "git get-tar-commit-id" reads, and others pass over.
func (a *archive) comment(text string) {
	a.add(&tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": text}}, nil)
}

func (a *archive) dir(name string, mode, seconds int64) {
	a.add(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, ModTime: unix(seconds)}, nil)
}

func (a *archive) symlink(name, target string, seconds int64) {
	a.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: unix(seconds)}, nil)
}

// link is a hard link to a file that came before.
func (a *archive) link(name, target string, mode, seconds int64) {
	a.add(&tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: mode, ModTime: unix(seconds)}, nil)
}

// file has size bytes, which content writes.
func (a *archive) file(name string, mode, seconds, size int64, content func(io.Writer) error) {
	a.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, ModTime: unix(seconds), Size: size}, content)
}

func (a *archive) add(h *tar.Header, content func(io.Writer) error) {
	if a.err != nil {
		return
	}
	if a.most -= h.Size + 512; a.most < 0 { // 512: of its header
		a.err = tooLarge(a.name, a.all)
		return
	}
	if h.Typeflag != tar.TypeXGlobalHeader {
		h.Format = tar.FormatPAX
	}
	if a.err = a.w.WriteHeader(h); a.err == nil && content != nil {
		a.err = content(a.w)
	}
}

func (a *archive) Close() error {
	if a.err == nil {
		a.err = a.w.Close()
	}
	return a.err
}

// unix is a time that every reader of tar files takes: from 1970 to the end of an ustar header's field, in 2242.
func unix(seconds int64) time.Time {
	return time.Unix(min(max(seconds, 0), 1<<33-1), 0)
}

// some lists the first few of what may be many.
type some struct {
	names []string
	more  int
}

func (s *some) add(name string) {
	if len(s.names) < 10 {
		s.names = append(s.names, name)
	} else {
		s.more++
	}
}

func (s *some) String() string {
	list := strings.Join(s.names, ", ")
	if s.more > 0 {
		list += fmt.Sprintf(" and %d more", s.more)
	}
	return list
}
