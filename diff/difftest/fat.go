package difftest

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// A FATFile is a file or, with a name that ends in a slash, a directory. What it
// stands in comes before it. A name that is none of 8.3 in upper case gets a long
// one beside it.
type FATFile struct {
	Path  string
	Attr  byte
	Data  []byte
	Apart bool // with a free cluster after each of its own
}

// A FAT is a small file system in sectors of 512 bytes, one to a cluster.
type FAT struct {
	Bits     int // 12, 16 or 32: FAT16 needs 4085 clusters
	Clusters int
	ID       uint32
	Label    string // of up to 11 bytes, in the root directory too
	Time     uint32 // of everything: DOS date in the upper half, time in the lower
	Files    []FATFile
}

// fatSector is the length of a sector, and of a cluster.
const fatSector = 512

// Bytes returns the volume.
func (f FAT) Bytes() []byte {
	le := binary.LittleEndian
	reserved, rootLen := 1, 1 // sectors
	if f.Bits == 32 {
		reserved, rootLen = 5, 0
	}
	fatLen := ((f.Clusters+2)*f.Bits/8 + fatSector) / fatSector
	data := reserved + 2*fatLen + rootLen
	total := data + f.Clusters
	b := make([]byte, total*fatSector)

	copy(b, "\xeb\x58\x90assay   ")
	le.PutUint16(b[11:], fatSector)
	b[13] = 1
	le.PutUint16(b[14:], uint16(reserved))
	b[16] = 2
	le.PutUint16(b[17:], uint16(rootLen*fatSector/32))
	le.PutUint32(b[32:], uint32(total))
	b[21] = 0xf8
	ext := b[36:]
	if f.Bits == 32 {
		le.PutUint32(b[36:], uint32(fatLen))
		le.PutUint32(b[44:], 2)
		le.PutUint16(b[48:], 1)
		le.PutUint16(b[50:], 3)
		ext = b[64:]
	} else {
		le.PutUint16(b[22:], uint16(fatLen))
	}
	ext[0], ext[2] = 0x80, 0x29
	le.PutUint32(ext[3:], f.ID)
	copy(ext[7:], fmt.Sprintf("%-11s%-8s", f.Label, fmt.Sprintf("FAT%d", f.Bits)))
	copy(b[510:], "\x55\xaa")
	if f.Bits == 32 {
		info := b[fatSector:]
		copy(info, "RRaA")
		copy(info[484:], "rrAa\xff\xff\xff\xff\xff\xff\xff\xff")
		copy(info[510:], "\x55\xaa")
		copy(b[3*fatSector:], b[:2*fatSector])
	}

	table := b[reserved*fatSector:][:fatLen*fatSector]
	set := func(cluster int, v uint32) {
		switch at := cluster * f.Bits / 8; f.Bits {
		case 12:
			n := uint32(le.Uint16(table[at:]))
			if cluster%2 == 1 {
				n = n&0x000f | v&0xfff<<4
			} else {
				n = n&0xf000 | v&0xfff
			}
			le.PutUint16(table[at:], uint16(n))
		case 16:
			le.PutUint16(table[at:], uint16(v))
		default:
			le.PutUint32(table[at:], v&0x0fffffff)
		}
	}
	const end = 0x0fffffff
	set(0, 0x0ffffff8)
	set(1, end)

	next := 2
	cluster := func(n int) []byte { return b[(data+n-2)*fatSector:][:fatSector] }
	take := func(n int, apart bool) (first int) {
		for i := range n {
			if i == 0 {
				first = next
			}
			step := 1
			if apart {
				step = 2
			}
			if i == n-1 {
				set(next, end)
			} else {
				set(next, uint32(next+step))
			}
			next += step
		}
		return first
	}

	// A directory has one cluster, or the sector of the root.
	type dir struct {
		b     []byte
		used  int
		first int
	}
	put := func(d *dir, short string, attr byte, first, size int) []byte {
		e := d.b[d.used:][:32]
		d.used += 32
		copy(e, short)
		e[11] = attr
		le.PutUint32(e[14:], f.Time)
		le.PutUint16(e[18:], uint16(f.Time>>16))
		le.PutUint16(e[20:], uint16(first>>16))
		le.PutUint32(e[22:], f.Time)
		le.PutUint16(e[26:], uint16(first))
		le.PutUint32(e[28:], uint32(size))
		return e
	}
	root := &dir{}
	if f.Bits == 32 {
		root.b = cluster(take(1, false))
	} else {
		root.b = b[(data-1)*fatSector:][:fatSector]
	}
	if f.Label != "" {
		put(root, fmt.Sprintf("%-11s", f.Label), 0x08, 0, 0)
	}
	dirs := map[string]*dir{"": root}
	for i, x := range f.Files {
		path, isDir := strings.CutSuffix(x.Path, "/")
		up, name := "", path
		if k := strings.LastIndexByte(path, '/'); k >= 0 {
			up, name = path[:k], path[k+1:]
		}
		d := dirs[up]
		base, extension, _ := strings.Cut(name, ".")
		short := fmt.Sprintf("%-8s%-3s", base, extension)
		if len(short) != 11 || name != strings.ToUpper(name) {
			short = fmt.Sprintf("LONG%-4d   ", i)
			putLongName(d.b[d.used:], name, short)
			d.used += 32 * ((len(utf16.Encode([]rune(name))) + 12) / 13)
		}
		if isDir {
			n := &dir{first: take(1, x.Apart)}
			n.b = cluster(n.first)
			put(n, ".          ", 0x10, n.first, 0)
			put(n, "..         ", 0x10, d.first, 0)
			put(d, short, x.Attr|0x10, n.first, 0)
			dirs[path] = n
			continue
		}
		first := take((len(x.Data)+fatSector-1)/fatSector, x.Apart)
		put(d, short, x.Attr|0x20, first, len(x.Data))
		for n, rest := first, x.Data; len(rest) > 0; n++ {
			rest = rest[copy(cluster(n), rest):]
			if x.Apart {
				n++
			}
		}
	}
	copy(b[(reserved+fatLen)*fatSector:], table)
	return b
}

// putLongName writes the parts of a long name, the last one first.
func putLongName(b []byte, name, short string) {
	sum := byte(0)
	for _, c := range []byte(short) {
		sum = sum>>1 | sum<<7
		sum += c
	}
	units := utf16.Encode([]rune(name))
	n := (len(units) + 12) / 13
	for i := range n {
		e := b[32*(n-1-i):][:32]
		e[0] = byte(i + 1)
		if i == n-1 {
			e[0] |= 0x40
		}
		e[11], e[13] = 0x0f, sum
		for k := range 13 {
			at := []int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30}[k]
			u := uint16(0xffff)
			switch x := 13*i + k; {
			case x < len(units):
				u = units[x]
			case x == len(units):
				u = 0
			}
			binary.LittleEndian.PutUint16(e[at:], u)
		}
	}
}

// SmallFAT returns a volume with a directory, a long name, an empty file and one in
// two pieces.
func SmallFAT(bits int) FAT {
	text := func(line string, n int) []byte { return []byte(strings.Repeat(line, n)) }
	return FAT{
		Bits: bits, Clusters: 8, ID: 0x2a2b2c2d, Label: "ASSAY", Time: 0x58a1_5282,
		Files: []FATFile{
			{Path: "BOOT/"},
			{Path: "BOOT/Linux kernel.img", Data: text("a kernel that does nothing.\n", 5)},
			{Path: "README.TXT", Attr: 0x01, Data: text("read me\n", 2)},
			{Path: "EMPTY"},
			{Path: "PIECES.BIN", Data: text("pieces ", 80), Apart: true},
		},
	}
}

func fatSamples() []Sample {
	return []Sample{
		{"FAT12", "fat", SmallFAT(12).Bytes()},
		{"FAT32", "fat", SmallFAT(32).Bytes()},
	}
}
