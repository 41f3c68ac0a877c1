package difftest

import (
	"bytes"
	"fmt"
)

// A CpioEntry is one member of a cpio archive.
type CpioEntry struct {
	Name  string
	Ino   uint32
	Mode  uint32
	Mtime uint32
	Nlink uint32
	Data  []byte
}

// Cpio returns an archive of the entries and its trailer, with the magic
// "070701" (newc), "070702" (crc) or "070707" (odc), filled with zeros up to a
// multiple of block, if that is not 0.
func Cpio(magic string, block int, entries ...CpioEntry) []byte {
	var b bytes.Buffer
	align := func(n int) {
		b.Write(make([]byte, (n-b.Len()%n)%n))
	}
	for _, e := range append(entries[:len(entries):len(entries)], CpioEntry{Name: "TRAILER!!!", Nlink: 1}) {
		if magic == "070707" {
			fmt.Fprintf(&b, "%s%06o%06o%06o%06o%06o%06o%06o%011o%06o%011o%s\x00%s", magic,
				1, e.Ino, e.Mode, 0, 0, e.Nlink, 0, e.Mtime, len(e.Name)+1, len(e.Data), e.Name, e.Data)
			continue
		}
		sum := uint32(0)
		if magic == "070702" && e.Mode&0o170000 == 0o100000 {
			for _, c := range e.Data {
				sum += uint32(c)
			}
		}
		b.WriteString(magic)
		for _, v := range []uint32{
			e.Ino, e.Mode, 0, 0, e.Nlink, e.Mtime, uint32(len(e.Data)), 8, 1, 0, 0, uint32(len(e.Name) + 1), sum,
		} {
			fmt.Fprintf(&b, "%08X", v)
		}
		b.WriteString(e.Name + "\x00")
		align(4)
		b.Write(e.Data)
		align(4)
	}
	if block > 0 {
		align(block)
	}
	return b.Bytes()
}

func cpioSamples() []Sample {
	entries := []CpioEntry{
		{Name: ".", Ino: 1, Mode: 0o040755, Mtime: 1_700_000_000, Nlink: 2},
		{Name: "init", Ino: 2, Mode: 0o100755, Mtime: 1_700_000_001, Nlink: 1, Data: []byte("#!/bin/sh\nexec sh\n")},
		{Name: "sh", Ino: 3, Mode: 0o120777, Mtime: 1_700_000_002, Nlink: 1, Data: []byte("bin/busybox")},
		{Name: "empty", Ino: 4, Mode: 0o100644, Mtime: 0, Nlink: 1},
		{Name: "four", Ino: 5, Mode: 0o100644, Mtime: 1, Nlink: 1, Data: []byte("four")},
	}
	cpio := func(name, magic string, block int, entries ...CpioEntry) Sample {
		return Sample{Name: "cpio " + name, Format: "cpio", Data: Cpio(magic, block, entries...)}
	}
	first := Cpio("070701", 512, entries[1])
	return []Sample{
		cpio("newc", "070701", 0, entries...),
		cpio("newc block", "070701", 512, entries[:2]...),
		cpio("crc", "070702", 0, entries...),
		cpio("odc", "070707", 512, entries...),
		cpio("empty", "070701", 0),
		cpio("repeated", "070701", 0, entries[1], entries[1]),
		{Name: "cpio followed by another", Format: "cpio", Data: append(first, Cpio("070701", 0, entries[2])...)},
	}
}
