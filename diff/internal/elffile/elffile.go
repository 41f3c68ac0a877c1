// Package elffile lays out ELF files: what every byte of one is for.
//
// It reads ELF32 and ELF64 in both byte orders as the System V ABI describes
// them (chapter 4, "Object Files", with the extended numbering of e_shnum,
// e_phnum and e_shstrndx). The headers are read as a loader reads them: what a
// loader ignores - a bad name offset, a section header table cut off, a
// section past the end of the file - does not make a file unreadable, because
// whoever made the file would otherwise choose how closely it is looked at.
//
// Claims tiles a file with its headers, sections and segments; Functions and
// Labels name places in it, and in raw binaries made from it.
package elffile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/assaylab/assay/diff/ledger"
)

// Values of the fields that decide how a file is laid out.
const (
	etRel = 1 // e_type: relocatable, symbols are relative to their section
	emArm = 40

	ptLoad = 1
	ptTLS  = 7

	ShtProgbits = 1
	ShtSymtab   = 2
	ShtStrtab   = 3
	ShtRela     = 4
	ShtHash     = 5
	ShtDynamic  = 6
	ShtNobits   = 8
	ShtRel      = 9
	ShtDynsym   = 11

	ShfAlloc      = 0x2
	ShfExecinstr  = 0x4
	ShfStrings    = 0x20
	shfTLS        = 0x400
	ShfCompressed = 0x800

	shnUndef     = 0
	shnLoreserve = 0xff00
	shnXindex    = 0xffff
	pnXnum       = 0xffff
)

// Bounds on names, in bytes: of one name, and of the part of a string table
// that is read. What exceeds them has no name.
const (
	maxSectionName = 255
	maxSymbolName  = 4 << 10
	maxStrings     = 32 << 20
)

// A Field is one field of a header: Len bytes at Off from its start.
type Field struct {
	Name     string
	Off, Len int64
}

// A File is the headers of an ELF file.
type File struct {
	Bits  int // 32 or 64
	Order binary.ByteOrder

	// The fields of the file header, of a program header and of a section
	// header, as this class has them. They leave no byte out.
	Ehdr, Phdr, Shdr []Field

	Type    uint16
	Machine uint16

	// Phoff and Shoff are where the tables start, and Phentsize and Shentsize
	// the distances between their entries. The tables hold len(Segments) and
	// len(Sections) entries: as many of those counted as the file has.
	Phoff, Shoff         uint64
	Phentsize, Shentsize int64
	Segments             []Segment
	Sections             []Section

	Notes []string // what is odd about the headers

	r    io.ReaderAt
	size int64
}

// A Segment is a program header.
type Segment struct {
	Type, Flags          uint32
	Off, Vaddr, Paddr    uint64
	Filesz, Memsz, Align uint64
}

// A Section is a section header. Name is unique within the file: a repeated
// name has "#2" and so on after it, and a missing one is "section N".
type Section struct {
	Name            string
	Type            uint32
	Flags           uint64
	Addr, Off, Size uint64
	Link, Info      uint32
	Entsize         uint64
}

// Range returns the bytes of the section within a file of the given size, and
// whether the file holds all of them. A section that occupies no bytes of the
// file has an empty range.
func (s *Section) Range(size int64) (r ledger.Range, complete bool) {
	if s.Type == 0 || s.Type == ShtNobits {
		return ledger.Range{}, true
	}
	return within(s.Off, s.Size, size)
}

// within clips n bytes at off to a file of the given size.
func within(off, n uint64, size int64) (r ledger.Range, complete bool) {
	if n == 0 {
		return ledger.Range{}, true
	}
	if off >= uint64(size) {
		return ledger.Range{}, false
	}
	if left := uint64(size) - off; n > left {
		return ledger.Range{Off: int64(off), Len: int64(left)}, false
	}
	return ledger.Range{Off: int64(off), Len: int64(n)}, true
}

// A column is a field of a description that holds for both classes: width 0
// is an address, 4 bytes of ELF32 and 8 of ELF64.
type column struct {
	name  string
	width int64
}

var (
	ehdrColumns = []column{
		{"ei_magic", 4},
		{"ei_class", 1},
		{"ei_data", 1},
		{"ei_version", 1},
		{"ei_osabi", 1},
		{"ei_abiversion", 1},
		{"ei_pad", 7},
		{"e_type", 2},
		{"e_machine", 2},
		{"e_version", 4},
		{"e_entry", 0},
		{"e_phoff", 0},
		{"e_shoff", 0},
		{"e_flags", 4},
		{"e_ehsize", 2},
		{"e_phentsize", 2},
		{"e_phnum", 2},
		{"e_shentsize", 2},
		{"e_shnum", 2},
		{"e_shstrndx", 2},
	}
	phdr32Columns = []column{
		{"p_type", 4},
		{"p_offset", 0},
		{"p_vaddr", 0},
		{"p_paddr", 0},
		{"p_filesz", 0},
		{"p_memsz", 0},
		{"p_flags", 4},
		{"p_align", 0},
	}
	phdr64Columns = []column{
		{"p_type", 4},
		{"p_flags", 4},
		{"p_offset", 0},
		{"p_vaddr", 0},
		{"p_paddr", 0},
		{"p_filesz", 0},
		{"p_memsz", 0},
		{"p_align", 0},
	}
	shdrColumns = []column{
		{"sh_name", 4},
		{"sh_type", 4},
		{"sh_flags", 0},
		{"sh_addr", 0},
		{"sh_offset", 0},
		{"sh_size", 0},
		{"sh_link", 4},
		{"sh_info", 4},
		{"sh_addralign", 0},
		{"sh_entsize", 0},
	}
	sym32Columns = []column{
		{"st_name", 4},
		{"st_value", 0},
		{"st_size", 0},
		{"st_info", 1},
		{"st_other", 1},
		{"st_shndx", 2},
	}
	sym64Columns = []column{
		{"st_name", 4},
		{"st_info", 1},
		{"st_other", 1},
		{"st_shndx", 2},
		{"st_value", 0},
		{"st_size", 0},
	}
)

func (f *File) layout(columns []column) []Field {
	fields := make([]Field, len(columns))
	var off int64
	for i, c := range columns {
		if c.width == 0 {
			c.width = int64(f.Bits / 8)
		}
		fields[i] = Field{c.name, off, c.width}
		off += c.width
	}
	return fields
}

// Extent returns how many bytes the fields of a header take.
func Extent(fields []Field) int64 {
	last := fields[len(fields)-1]
	return last.Off + last.Len
}

// number reads the named field of the header in b.
func (f *File) number(b []byte, fields []Field, name string) uint64 {
	for _, d := range fields {
		if d.Name != name {
			continue
		}
		switch b = b[d.Off:]; d.Len {
		case 1:
			return uint64(b[0])
		case 2:
			return uint64(f.Order.Uint16(b))
		case 4:
			return uint64(f.Order.Uint32(b))
		case 8:
			return f.Order.Uint64(b)
		}
	}
	return 0
}

// Is says whether b, the first bytes of a file, begin an ELF file.
func Is(b []byte) bool {
	return len(b) >= 6 && string(b[:4]) == "\x7fELF" &&
		(b[4] == 1 || b[4] == 2) && (b[5] == 1 || b[5] == 2)
}

// Parse reads the headers of an ELF file of size bytes. Before it makes n
// segments or sections it asks spend, and fails with what that returns; a nil
// spend never refuses.
func Parse(r io.ReaderAt, size int64, spend func(n int64) error) (*File, error) {
	f := &File{r: r, size: size}
	ident := f.bytes(0, 16)
	if !Is(ident) {
		return nil, errors.New("elf: no ELF header at the start of the file")
	}
	f.Bits, f.Order = 32, binary.LittleEndian
	phdr := phdr32Columns
	if ident[4] == 2 {
		f.Bits, phdr = 64, phdr64Columns
	}
	if ident[5] == 2 {
		f.Order = binary.BigEndian
	}
	f.Ehdr, f.Phdr, f.Shdr = f.layout(ehdrColumns), f.layout(phdr), f.layout(shdrColumns)

	h := f.bytes(0, Extent(f.Ehdr))
	if h == nil {
		return nil, fmt.Errorf("elf: the file ends inside its header of %d bytes, at byte %d", Extent(f.Ehdr), size)
	}
	get := func(name string) uint64 { return f.number(h, f.Ehdr, name) }
	f.Type, f.Machine = uint16(get("e_type")), uint16(get("e_machine"))
	f.Phoff, f.Phentsize = get("e_phoff"), int64(get("e_phentsize"))
	f.Shoff, f.Shentsize = get("e_shoff"), int64(get("e_shentsize"))
	phnum, shnum, strndx := get("e_phnum"), get("e_shnum"), get("e_shstrndx")

	// Numbers too large for the file header stand in section header 0.
	if f.Shoff != 0 {
		if b := f.entry(f.Shoff, 0, Extent(f.Shdr)); b != nil {
			if shnum == 0 {
				shnum = f.number(b, f.Shdr, "sh_size")
			}
			if phnum == pnXnum {
				phnum = f.number(b, f.Shdr, "sh_info")
			}
			if strndx == shnXindex {
				strndx = f.number(b, f.Shdr, "sh_link")
			}
		}
	}

	phnum = f.held("program", f.Phoff, phnum, f.Phentsize, Extent(f.Phdr))
	shnum = f.held("section", f.Shoff, shnum, f.Shentsize, Extent(f.Shdr))
	if spend != nil {
		if err := spend(int64(phnum + shnum)); err != nil {
			return nil, err
		}
	}
	for i := range phnum {
		b := f.entry(f.Phoff, i, f.Phentsize)
		if b == nil {
			return nil, fmt.Errorf("elf: program header %d could not be read", i)
		}
		f.Segments = append(f.Segments, f.segment(b))
	}
	nameOffs := make([]uint64, 0, shnum)
	for i := range shnum {
		b := f.entry(f.Shoff, i, f.Shentsize)
		if b == nil {
			return nil, fmt.Errorf("elf: section header %d could not be read", i)
		}
		s, name := f.section(b)
		f.Sections = append(f.Sections, s)
		nameOffs = append(nameOffs, name)
	}
	f.nameSections(nameOffs, strndx)
	return f, nil
}

// bytes returns n bytes at off, or nil if the file does not hold them.
func (f *File) bytes(off, n int64) []byte {
	if off < 0 || n < 0 || off > f.size || n > f.size-off {
		return nil
	}
	b := make([]byte, n)
	if m, err := f.r.ReadAt(b, off); int64(m) < n && err != nil {
		return nil
	}
	return b
}

// entry returns entry i of a table at off, or nil.
func (f *File) entry(off, i uint64, size int64) []byte {
	if off > uint64(f.size) {
		return nil
	}
	return f.bytes(int64(off)+int64(i)*size, size)
}

// held returns how many of n entries of a table the file holds, and notes if
// those are not all.
func (f *File) held(kind string, off, n uint64, stride, least int64) uint64 {
	if off == 0 || n == 0 {
		return 0
	}
	if stride < least {
		f.Notes = append(f.Notes, fmt.Sprintf("%s headers of %d bytes, not %d: not laid out", kind, stride, least))
		return 0
	}
	var whole uint64
	if off < uint64(f.size) {
		whole = (uint64(f.size) - off) / uint64(stride)
	}
	if n > whole {
		f.Notes = append(f.Notes, fmt.Sprintf("%d %s headers at %#x, of which the file holds %d", n, kind, off, whole))
		return whole
	}
	return n
}

func (f *File) segment(b []byte) Segment {
	get := func(name string) uint64 { return f.number(b, f.Phdr, name) }
	return Segment{
		Type: uint32(get("p_type")), Flags: uint32(get("p_flags")),
		Off: get("p_offset"), Vaddr: get("p_vaddr"), Paddr: get("p_paddr"),
		Filesz: get("p_filesz"), Memsz: get("p_memsz"), Align: get("p_align"),
	}
}

func (f *File) section(b []byte) (s Section, nameOff uint64) {
	get := func(name string) uint64 { return f.number(b, f.Shdr, name) }
	return Section{
		Type: uint32(get("sh_type")), Flags: get("sh_flags"),
		Addr: get("sh_addr"), Off: get("sh_offset"), Size: get("sh_size"),
		Link: uint32(get("sh_link")), Info: uint32(get("sh_info")), Entsize: get("sh_entsize"),
	}, get("sh_name")
}

// nameSections gives every section a name of its own.
func (f *File) nameSections(offs []uint64, strndx uint64) {
	var table string
	if strndx != shnUndef && strndx < uint64(len(f.Sections)) {
		table = f.strings(&f.Sections[strndx])
	}
	names := namer{"ehdr": 1, "phdrs": 1, "shdrs": 1}
	for i := range f.Sections {
		name := text(table, offs[i], maxSectionName)
		if name == "" {
			name = "section " + strconv.Itoa(i)
		}
		f.Sections[i].Name = names.unique(name)
	}
}

// strings returns the string table in s. Names are pieces of it, so that
// a file cannot have one long name copied many times.
func (f *File) strings(s *Section) string {
	r, _ := s.Range(f.size)
	return string(f.bytes(r.Off, min(r.Len, maxStrings)))
}

// text returns the string at off of a string table, or "" if none of up to
// limit bytes ends within it.
func text(table string, off uint64, limit int) string {
	if off >= uint64(len(table)) {
		return ""
	}
	s, _, ok := strings.Cut(table[off:min(off+uint64(limit)+1, uint64(len(table)))], "\x00")
	if !ok {
		return ""
	}
	return s
}

// A namer makes names unique.
type namer map[string]int

// unique returns name, or name with the first of "#2", "#3" … not yet used.
func (n namer) unique(name string) string {
	n[name]++
	if n[name] == 1 {
		return name
	}
	for {
		s := name + "#" + strconv.Itoa(n[name])
		if n[s] == 0 {
			n[s] = 1
			return s
		}
		n[name]++
	}
}
