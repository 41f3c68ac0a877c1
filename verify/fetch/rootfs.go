package fetch

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"

	"github.com/assaylab/assay/verify/internal/plain"
)

// Limits on a root file system.
const (
	maxNodes   = 1 << 20  // files and directories that its layers hold together
	maxPath    = 4096     // bytes of a path, and of what a symbolic link holds
	maxParents = 256      // directories inside each other
	maxHops    = 40       // symbolic links on one way
	maxWindow  = 64 << 20 // bytes that a zstd frame may refer back
)

// A rootfs is the root file system of an image, made of its layers (OCI image specification 1.1, layer.md), each laid
// over those before it: an entry replaces what is there, a directory keeps what it holds, a file .wh.NAME takes away
// NAME of the layers before, and .wh..wh..opq all of its directory. The way to an entry may lead through symbolic links
// of layers before; it never leaves the root.
//
// What a sandbox does not show is left out: owners, set-id bits, extended attributes, and with a note devices and
// FIFOs. Modes of access, times in seconds, symbolic links and hard links are kept. The archive is sorted.
//
// The content of files lies one after the other in a file without a name, as a later layer may take away what an
// earlier one has.
type rootfs struct {
	root    *node
	layer   int // that is being read, from 1
	nodes   int
	spool   *os.File
	end     int64 // of spool
	most    int64 // bytes of spool
	left    int64 // bytes that layers may still have, uncompressed
	dropped some
}

// A node is a file, a directory or a symbolic link.
type node struct {
	layer    int // that it is of
	mode     int64
	time     int64            // seconds since 1970
	children map[string]*node // of a directory, never nil
	target   string           // of a symbolic link, never empty
	content  *content         // of a file
}

// content is that of one file, which may have several names.
type content struct {
	offset, size int64
	written      string // its first name in the archive
}

// flatten writes the root file system of an image.
func (d *depot) flatten(ctx context.Context, m *manifest, w io.Writer) ([]string, error) {
	if m.Config.Size > maxManifest {
		return nil, &LimitError{Msg: fmt.Sprintf("%s: the config has %d bytes, more than %d", d.request, m.Config.Size, maxManifest)}
	}
	file, err := d.blob(ctx, *m.Config, "the config")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var config v1.ConfigFile
	if err := parseJSON(file, maxManifest, &config); err != nil {
		return nil, d.wrong("the config cannot be read: %s", plain.Line(err.Error()))
	}
	if len(config.RootFS.DiffIDs) != len(m.Layers) {
		return nil, d.wrong("the config names %d layers, and the manifest %d", len(config.RootFS.DiffIDs), len(m.Layers))
	}
	spool, err := d.fetcher.Cache.scratch()
	if err != nil {
		return nil, err
	}
	defer spool.Close()
	t := &rootfs{root: &node{mode: 0o755, children: map[string]*node{}}, spool: spool, most: d.request.MaxSize, left: d.request.MaxSize}
	for i, desc := range m.Layers {
		role := fmt.Sprintf("layer %d", i+1)
		file, err := d.blob(ctx, desc, role)
		if err != nil {
			return nil, err
		}
		err = t.add(ctx, file, config.RootFS.DiffIDs[i])
		file.Close()
		var limit *LimitError
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, errTooLarge):
			return nil, tooLarge(d.request.String(), d.request.MaxSize)
		case errors.As(err, &limit):
			return nil, &LimitError{Msg: fmt.Sprintf("%s: %s: %s", d.request, role, limit.Msg), Hint: "pin an archive of what is needed of it by sha256"}
		case err != nil:
			return nil, d.wrong("%s: %s", role, cause(err))
		}
	}
	a := newArchive(w, d.request.String(), d.request.MaxSize)
	t.write(ctx, a, t.root, "")
	if err := a.Close(); err != nil {
		return nil, err
	}
	notes := []string{fmt.Sprintf("the root file system of an image with %d layers", len(m.Layers))}
	if len(t.dropped.names) > 0 {
		notes = append(notes, "left out, as they are devices or FIFOs: "+t.dropped.String())
	}
	return notes, nil
}

// add lays a layer over those before it. Its bytes, uncompressed, must have the digest diff.
func (t *rootfs) add(ctx context.Context, file io.Reader, diff v1.Hash) error {
	t.layer++
	stream, done, err := expand(bufio.NewReaderSize(file, 1<<16))
	if err != nil {
		return err
	}
	defer done()
	sum := sha256.New()
	raw := &metered{ctx: ctx, r: io.TeeReader(stream, sum), left: &t.left}
	for r := tar.NewReader(raw); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := t.entry(ctx, h, r); err != nil {
			return fmt.Errorf("entry %.200q: %w", h.Name, err)
		}
	}
	if _, err := io.Copy(io.Discard, raw); err != nil { // to the end, where compressed data has its checksum
		return err
	}
	if seen := (v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}); seen != diff {
		return fmt.Errorf("its content has the digest %s, and the config says %.100q", seen, diff.String())
	}
	return nil
}

// expand recognises gzip (RFC 1952) and zstd (RFC 8878) by their magic; anything else is handed on as it is.
func expand(r *bufio.Reader) (io.Reader, func(), error) {
	head, err := r.Peek(4)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b\x08")):
		z, err := gzip.NewReader(r)
		return z, func() {}, err
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}

// metered reads until the bytes that are left, or the context, have ended.
type metered struct {
	ctx  context.Context
	r    io.Reader
	left *int64
}

func (m *metered) Read(b []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	if *m.left <= 0 {
		return 0, errTooLarge
	}
	n, err := m.r.Read(b[:min(int64(len(b)), *m.left)])
	*m.left -= int64(n)
	return n, err
}

const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
	reserved = ".wh..wh." // what aufs keeps for itself
)

// entry takes in one entry of a layer.
func (t *rootfs) entry(ctx context.Context, h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if err := checkPath(h.Name); err != nil {
		return err
	}
	dir, base := path.Split(path.Clean("/" + h.Name))
	for part := range strings.SplitSeq(dir, "/") {
		switch {
		case strings.HasPrefix(part, reserved):
			return nil
		case strings.HasPrefix(part, whiteout):
			return errors.New("it lies in a whiteout")
		}
	}
	parent, err := t.walk(dir, true)
	switch {
	case err != nil:
		return err
	case base == "":
		if h.Typeflag == tar.TypeDir {
			t.root.mode, t.root.time = h.Mode&0o777, h.ModTime.Unix()
		}
		return nil
	case base == opaque:
		t.clear(parent)
		return nil
	case strings.HasPrefix(base, reserved):
		return nil
	}
	if name, ok := strings.CutPrefix(base, whiteout); ok {
		if name == "" || name == "." || name == ".." {
			return errors.New("it takes away nothing that has a name")
		}
		if n := parent.children[name]; n != nil && t.clear(n) {
			delete(parent.children, name)
		}
		return nil
	}
	n := &node{layer: t.layer, mode: h.Mode & 0o777, time: h.ModTime.Unix()}
	switch h.Typeflag {
	case tar.TypeDir:
		if old := parent.children[base]; old != nil && old.children != nil {
			n.children = old.children
		} else {
			n.children = map[string]*node{}
		}
	case tar.TypeSymlink:
		if h.Linkname == "" || len(h.Linkname) > maxPath || strings.ContainsRune(h.Linkname, 0) {
			return errors.New("a symbolic link to nothing that is a name")
		}
		n.target = h.Linkname
	case tar.TypeLink:
		if err := checkPath(h.Linkname); err != nil {
			return fmt.Errorf("a hard link to %.200q: %w", h.Linkname, err)
		}
		dir, name := path.Split(path.Clean("/" + h.Linkname))
		from, err := t.walk(dir, false)
		if err != nil {
			return fmt.Errorf("a hard link to %.200q: %w", h.Linkname, err)
		}
		if from == nil || from.children[name] == nil || from.children[name].children != nil {
			return fmt.Errorf("a hard link to %.200q, which is no file that is there", h.Linkname)
		}
		*n = *from.children[name]
		n.layer = t.layer
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		if n.content, err = t.keep(ctx, h.Size, r); err != nil {
			return err
		}
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		t.dropped.add(plain.Line(h.Name))
		delete(parent.children, base)
		return nil
	default:
		return fmt.Errorf("an entry of type %q", h.Typeflag)
	}
	return t.put(parent, base, n)
}

func checkPath(name string) error {
	switch {
	case name == "" || strings.ContainsRune(name, 0):
		return errors.New("it is no file name")
	case len(name) > maxPath:
		return &LimitError{Msg: fmt.Sprintf("a path is longer than %d bytes", maxPath)}
	case slices.Contains(strings.Split(name, "/"), ".."):
		return errors.New(`it has a ".."`)
	}
	return nil
}

func (t *rootfs) put(parent *node, name string, n *node) error {
	if t.nodes++; t.nodes > maxNodes {
		return &LimitError{Msg: fmt.Sprintf("the layers hold more than %d files and directories", maxNodes)}
	}
	parent.children[name] = n
	return nil
}

// keep copies the content of a file; a sparse one has more than was read for it.
func (t *rootfs) keep(ctx context.Context, size int64, r io.Reader) (*content, error) {
	if size > t.most-t.end {
		return nil, errTooLarge
	}
	c := &content{offset: t.end, size: size}
	n, err := io.Copy(t.spool, r)
	t.end += n
	if err == nil && n != size {
		err = fmt.Errorf("it has %d bytes, and its header says %d", n, size)
	}
	if err == nil {
		err = ctx.Err()
	}
	return c, err
}

// walk is the directory of that path, or nil if it is not there and is not to be made.
func (t *rootfs) walk(dir string, create bool) (*node, error) {
	way, todo, hops := []*node{t.root}, strings.Split(dir, "/"), 0
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		here := way[len(way)-1]
		switch part {
		case "", ".":
			continue
		case "..": // of a symbolic link
			way = way[:max(1, len(way)-1)]
			continue
		}
		next := here.children[part]
		switch {
		case next == nil && !create:
			return nil, nil
		case next == nil:
			next = &node{layer: t.layer, mode: 0o755, children: map[string]*node{}}
			if err := t.put(here, part, next); err != nil {
				return nil, err
			}
		case next.target != "":
			if hops++; hops > maxHops {
				return nil, errors.New("its way leads through symbolic links without end")
			}
			if next.target[0] == '/' {
				way = way[:1]
			}
			todo = append(strings.Split(next.target, "/"), todo...)
			continue
		case next.children == nil:
			return nil, errors.New("it lies in a file")
		}
		if way = append(way, next); len(way) > maxParents {
			return nil, &LimitError{Msg: fmt.Sprintf("directories are nested deeper than %d", maxParents)}
		}
	}
	return way[len(way)-1], nil
}

// clear takes away what layers before this one have put into a directory, and says that nothing of the node is left.
func (t *rootfs) clear(n *node) bool {
	for name, child := range n.children {
		if t.clear(child) {
			delete(n.children, name)
		}
	}
	return n.layer < t.layer && len(n.children) == 0
}

// write writes what a directory holds; name is "" or ends in a slash.
func (t *rootfs) write(ctx context.Context, a *archive, dir *node, name string) {
	for _, base := range slices.Sorted(maps.Keys(dir.children)) {
		if a.err == nil && ctx.Err() != nil {
			a.err = context.Cause(ctx)
		}
		n, full := dir.children[base], name+base
		if a.err == nil && len(full) > maxPath {
			a.err = &LimitError{Msg: fmt.Sprintf("%s: a path is longer than %d bytes", a.name, maxPath), Hint: "pin an archive of what is needed of it by sha256"}
		}
		switch {
		case a.err != nil:
			return
		case n.children != nil:
			a.dir(full, n.mode, n.time)
			t.write(ctx, a, n, full+"/")
		case n.target != "":
			a.symlink(full, n.target, n.time)
		case n.content.written != "":
			a.link(full, n.content.written, n.mode, n.time)
		default:
			n.content.written = full
			a.file(full, n.mode, n.time, n.content.size, func(w io.Writer) error {
				_, err := io.Copy(w, io.NewSectionReader(t.spool, n.content.offset, n.content.size))
				return err
			})
		}
	}
}
