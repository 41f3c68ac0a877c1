package difftest

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// A TarEntry is one member of a tar archive. Dialect is "v7", "ustar", "gnu"
// or "star"; names and targets too long for it take extended headers ("gnu")
// or the prefix ("ustar", "star").
type TarEntry struct {
	Dialect    string
	Name, Link string
	Type       byte
	Mode       int64
	UID, GID   int64
	Mtime      int64
	Data       []byte
	Pax        []string // "key=value": records of an extended header before it

	// Edit changes the header before its checksum is made.
	Edit func(header []byte)
	// Extra stands between header and content.
	Extra []byte
}

// Tar returns an archive of the entries, ended by so many zero blocks and
// filled with zeros up to a multiple of record, if that is not 0.
func Tar(ends, record int, entries ...TarEntry) []byte {
	var b []byte
	for _, e := range entries {
		b = append(b, e.bytes()...)
	}
	b = append(b, make([]byte, ends*512)...)
	if record > 0 {
		b = append(b, make([]byte, (record-len(b)%record)%record)...)
	}
	return b
}

func (e TarEntry) bytes() []byte {
	var b []byte
	extended := func(kind byte, name string, data []byte) {
		b = append(b, TarEntry{
			Dialect: e.Dialect, Name: name, Type: kind, Mode: 0o644, Mtime: e.Mtime, Data: data,
		}.bytes()...)
	}
	if len(e.Pax) > 0 {
		var records []byte
		for _, r := range e.Pax {
			records = append(records, PaxRecord(r)...)
		}
		kind := byte('x')
		if e.Type == 'g' {
			kind = 'g'
		}
		extended(kind, "././@PaxHeader", records)
		if kind == 'g' {
			return b
		}
	}
	name, link, prefix := e.Name, e.Link, ""
	if e.Dialect == "gnu" && len(link) > 100 {
		extended('K', "././@LongLink", append([]byte(link), 0))
	}
	switch {
	case e.Dialect == "gnu" && len(name) > 100:
		extended('L', "././@LongLink", append([]byte(name), 0))
	case len(name) > 100:
		i := strings.LastIndexByte(name, '/')
		prefix, name = name[:i], name[i+1:]
	}

	h := make([]byte, 512)
	copy(h[0:100], name)
	octal := func(off, n int, v int64) { copy(h[off:off+n-1], fmt.Sprintf("%0*o", n-1, v)) }
	octal(100, 8, e.Mode)
	octal(108, 8, e.UID)
	octal(116, 8, e.GID)
	octal(124, 12, int64(len(e.Data)))
	octal(136, 12, e.Mtime)
	h[156] = e.Type
	copy(h[157:257], link)
	switch e.Dialect {
	case "ustar", "star":
		copy(h[257:], "ustar\x0000root")
		copy(h[297:], "root")
		copy(h[345:], prefix)
	case "gnu":
		copy(h[257:], "ustar  \x00root")
		copy(h[297:], "root")
	}
	if e.Dialect == "star" {
		octal(476, 12, e.Mtime+1)
		octal(488, 12, e.Mtime+2)
		copy(h[508:], "tar\x00")
	}
	if e.Edit != nil {
		e.Edit(h)
	}
	TarChecksum(h)
	b = append(b, h...)
	b = append(b, e.Extra...)
	b = append(b, e.Data...)
	return append(b, make([]byte, -len(e.Data)&511)...)
}

// TarChecksum writes the checksum of a 512-byte header into it.
func TarChecksum(h []byte) {
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h[:512] {
		sum += int(c)
	}
	copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// PaxRecord returns one record of a pax extended header: its length in
// decimal, which counts itself, a blank, "key=value" and a newline.
func PaxRecord(keyValue string) string {
	n := len(keyValue) + 2
	for n != len(strconv.Itoa(n))+len(keyValue)+2 {
		n = len(strconv.Itoa(n)) + len(keyValue) + 2
	}
	return fmt.Sprintf("%d %s\n", n, keyValue)
}

const tarTime = 1_700_000_000

func tarSamples() []Sample {
	file := func(dialect, name, data string) TarEntry {
		return TarEntry{Dialect: dialect, Name: name, Type: '0', Mode: 0o644, Mtime: tarTime, Data: []byte(data)}
	}
	dir := func(dialect, name string) TarEntry {
		return TarEntry{Dialect: dialect, Name: name, Type: '5', Mode: 0o755, Mtime: tarTime}
	}
	with := func(e TarEntry, change func(*TarEntry)) TarEntry {
		change(&e)
		return e
	}
	long := strings.Repeat("long/", 25) + "name"

	old := file("v7", "old", "v7\n")
	old.Type = 0
	blanks := with(file("v7", "blanks", "blank filled\n"), func(e *TarEntry) {
		e.Edit = func(h []byte) { copy(h[124:136], "         15 ") }
	})
	sparse := with(file("gnu", "sparse", "abcdefg"), func(e *TarEntry) {
		e.Type = 'S'
		more := make([]byte, 512)
		pair := func(b []byte, i int) {
			copy(b, fmt.Sprintf("%011o\x00%011o\x00", i*1024, 1))
		}
		for i := range 3 {
			pair(more[i*24:], i+4)
		}
		e.Extra = more
		e.Edit = func(h []byte) {
			for i := range 4 {
				pair(h[386+i*24:], i)
			}
			h[482] = 1
			copy(h[483:], fmt.Sprintf("%011o\x00", 6*1024+1))
		}
	})
	incremental := with(file("gnu", "incremental", "x"), func(e *TarEntry) {
		e.Edit = func(h []byte) {
			copy(h[345:], fmt.Sprintf("%011o\x00%011o\x00", tarTime, tarTime+1))
		}
	})
	binary256 := with(file("gnu", "binary", "sizes in base 256"), func(e *TarEntry) {
		e.Edit = func(h []byte) {
			for _, f := range []struct {
				off int
				v   uint64
			}{{124, 17}, {136, 1 << 33}} {
				clear(h[f.off : f.off+12])
				h[f.off] = 0x80
				binary.BigEndian.PutUint64(h[f.off+4:], f.v)
			}
		}
	})
	tar := func(name string, ends, record int, entries ...TarEntry) Sample {
		return Sample{Name: "tar " + name, Format: "tar", Data: Tar(ends, record, entries...)}
	}
	return []Sample{
		tar("v7", 2, 0, old, blanks, with(file("v7", "link", ""), func(e *TarEntry) { e.Type, e.Link = '2', "old" })),
		tar("ustar", 2, 0, dir("ustar", "d/"), file("ustar", "d/file", "hello, world\n"), file("ustar", "d/empty", ""),
			with(file("ustar", "d/hard", ""), func(e *TarEntry) { e.Type, e.Link = '1', "d/file" }),
			with(file("ustar", "null", ""), func(e *TarEntry) {
				e.Type = '3'
				e.Edit = func(h []byte) { copy(h[329:], "0000001\x000000003\x00") }
			})),
		tar("ustar prefix", 2, 0, file("ustar", long, "prefix")),
		tar("gnu long", 2, 0, with(file("gnu", long, ""), func(e *TarEntry) { e.Type, e.Link = '2', long+"er" })),
		tar("gnu sparse", 2, 0, sparse),
		tar("gnu times", 2, 0, incremental, binary256),
		tar("pax", 2, 0, with(file("ustar", "short", "some\n"), func(e *TarEntry) {
			e.Pax = []string{"path=" + long, "mtime=1700000000", "atime=1700000000.123456789", "size=5", "SCHILY.xattr.user.a=b\nc"}
		})),
		tar("pax global", 2, 0, TarEntry{Dialect: "ustar", Type: 'g', Mtime: tarTime, Pax: []string{"comment=0123456789abcdef"}},
			file("ustar", "f", "git archive")),
		tar("star", 2, 0, file("star", "star", "*"), file("star", long, "prefix")),
		tar("repeated", 2, 0, file("ustar", "a", "1"), file("ustar", "a", "2")),
		tar("record", 2, 10240, file("gnu", "a", "in a record of twenty blocks")),
		tar("lone zero block", 1, 0, file("gnu", "a", "1")),
		tar("no end", 0, 0, file("gnu", "a", "1")),
		{Name: "tar tail", Format: "tar", Data: append(Tar(2, 0, file("ustar", "a", "1")), "after the end"...)},
	}
}
