package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/assaylab/assay/diff/difftest"
)

// Both makers are told the same time, id and hash seed twice, so that what differs is
// what was changed.
var reproducible = []string{"SOURCE_DATE_EPOCH=1700000000", "E2FSPROGS_FAKE_TIME=1700000000", "PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin"}

const fixedID = "5f7f3d4c-9a0e-4d0a-8d5e-3a5b1f0c2d11"

// A tree is what stands in a file system: files in directories of a hundred.
type tree struct {
	files   int
	size    int // bytes of each
	change  int // every so many files a byte is changed
	plain   bool
	module  bool // each file is an ELF object
	command func(image, tree string) *exec.Cmd
}

// squashfsTree is 126 MB of modules that compress to some 40 MB, with a byte of one
// changed.
func squashfsTree() tree {
	return tree{files: 60, size: 2_100_000, change: 60, plain: true, module: true, command: func(image, tree string) *exec.Cmd {
		return exec.Command("mksquashfs", tree, image, "-noappend", "-quiet", "-no-progress", "-all-root")
	}}
}

// ext4Tree fills 1 GiB, with a byte changed in each of 10 files.
func ext4Tree() tree {
	return tree{files: 300, size: 3_100_000, change: 30, command: mke2fs}
}

// smallFiles are 100,000 of 700 bytes, one of them changed.
func smallFiles(command func(image, tree string) *exec.Cmd) tree {
	return tree{files: 100_000, size: 700, change: 100_000, plain: true, command: command}
}

func mke2fs(image, tree string) *exec.Cmd {
	return exec.Command("/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-U", fixedID, "-E", "hash_seed="+fixedID, "-d", tree, image, "1G")
}

// write makes two images of the tree.
func (t tree) write(a, b string) error {
	root := a + ".tree"
	defer os.RemoveAll(root)
	for i, image := range []string{a, b} {
		for n := range t.files {
			if i == 1 && n%t.change != t.change/2 {
				continue
			}
			if err := t.file(root, n, i == 1); err != nil {
				return err
			}
		}
		cmd := t.command(image, root)
		cmd.Env = reproducible
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%q: %w\n%s", cmd.Args, err, text)
		}
	}
	return nil
}

func (t tree) file(root string, n int, changed bool) (err error) {
	dir := filepath.Join(root, fmt.Sprintf("part-%04d", n/100))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("module-%06d.ko", n)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	at := -1
	if changed {
		at = t.size / 2
	}
	switch {
	case t.module:
		var code bytes.Buffer
		err = words(&code, uint64(n), t.size, at)
		_, werr := w.Write(module(code.Bytes()))
		err = errors.Join(err, werr)
	case t.plain:
		err = words(w, uint64(n), t.size, at)
	default:
		err = noise(w, uint64(n), t.size, at)
	}
	return errors.Join(err, w.Flush())
}

// module is a relocatable object of x86-64 with that code.
func module(code []byte) []byte {
	return difftest.ELF{
		Bits: 64, Order: binary.LittleEndian, Type: 1, Machine: 62,
		Sections: []difftest.ELFSection{{Name: ".text", Flags: 6, Data: code}, {Name: ".modinfo", Flags: 2, Data: []byte("license=GPL\x00")}},
		Symbols:  []difftest.ELFSymbol{{Name: "init_module", Section: ".text", Size: uint64(len(code)), Type: 2, Global: true}},
	}.Bytes()
}

// words writes size bytes that compress about three to one; a bit of the byte at flipped
// is turned over, if there is one.
func words(w io.Writer, seed uint64, size, flipped int) error {
	source := rand.New(rand.NewPCG(seed, 1))
	var b strings.Builder
	for b.Len() < size {
		switch source.IntN(3) {
		case 0:
			fmt.Fprintf(&b, "symbol_%04x ", source.IntN(1<<16))
		case 1:
			b.WriteString("the function returns an error; ")
		default:
			fmt.Fprintf(&b, "%08x", source.Uint32())
		}
	}
	out := []byte(b.String()[:size])
	if flipped >= 0 {
		out[flipped] ^= 1
	}
	_, err := w.Write(out)
	return err
}
