package main

import (
	"bytes"
	"fmt"
)

// The file types of a cpio mode, as in stat(2).
const (
	directory = 0o040000
	character = 0o020000
	regular   = 0o100000
	symlink   = 0o120000
)

// A member is one entry of a root file system. Every one belongs to root.
type member struct {
	name         string
	mode         uint32
	major, minor uint32 // of a device
	data         []byte // a file's content, or a link's target
}

// A cpio writes an archive in the "newc" form that Linux reads as a ramdisk
// (Documentation/driver-api/early-userspace/buffer-format.rst of the kernel):
// a header of thirteen numbers of eight hexadecimal digits, the name with a NUL,
// the data; name and data each padded with NULs to four bytes.
type cpio struct {
	out   bytes.Buffer
	mtime uint32 // of every member, in seconds since 1970
	count uint32 // of members so far: the next inode number is one more
}

// add appends one member.
func (a *cpio) add(m member) {
	a.count++
	a.header(m, a.count, a.mtime)
}

// end appends the end marker and returns the archive.
func (a *cpio) end() []byte {
	a.header(member{name: "TRAILER!!!"}, 0, 0)
	return a.out.Bytes()
}

func (a *cpio) header(m member, inode, mtime uint32) {
	links := uint32(1)
	if m.mode&directory == directory && m.mode&regular == 0 {
		links = 2
	}
	a.out.WriteString("070701")
	for _, field := range []uint32{
		inode, m.mode, 0, 0, links, mtime, uint32(len(m.data)),
		0, 0, m.major, m.minor, uint32(len(m.name) + 1), 0,
	} {
		fmt.Fprintf(&a.out, "%08X", field)
	}
	a.out.WriteString(m.name + "\x00")
	a.pad()
	a.out.Write(m.data)
	a.pad()
}

func (a *cpio) pad() {
	for a.out.Len()%4 != 0 {
		a.out.WriteByte(0)
	}
}
