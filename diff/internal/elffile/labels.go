package elffile

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"github.com/assaylab/assay/diff/ledger"
)

// maxFunctions bounds how many functions are read; each takes 16 to 24 bytes
// of the file, so the file's size bounds them first.
const maxFunctions = 1 << 20

// A Symbol is a function: its address and size, in bytes, as linked. Section
// is the index of the section it lies in.
type Symbol struct {
	Name       string
	Addr, Size uint64
	Section    int
	rank       int // 0 global, 1 weak, 2 local
}

// Functions returns the functions the symbol table names, or the dynamic
// symbol table where there is no other, by address; aliases global first, then
// weak, then local, then by name. Mapping symbols are no functions.
func (f *File) Functions() ([]Symbol, error) {
	table := f.symbolTable()
	if table == nil {
		return nil, nil
	}
	columns := sym32Columns
	if f.Bits == 64 {
		columns = sym64Columns
	}
	fields := f.layout(columns)
	var names string
	if int64(table.Link) < int64(len(f.Sections)) {
		names = f.strings(&f.Sections[table.Link])
	}
	r, _ := table.Range(f.size)
	in := bufio.NewReaderSize(io.NewSectionReader(f.r, r.Off, r.Len), 1<<16)
	b := make([]byte, Extent(fields))
	var out []Symbol
	for n := r.Len / int64(len(b)); n > 0; n-- {
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, fmt.Errorf("elf: symbol table: %w", err)
		}
		get := func(name string) uint64 { return f.number(b, fields, name) }
		info, index := get("st_info"), get("st_shndx")
		if t := info & 0xf; t != 2 && t != 10 { // STT_FUNC, STT_GNU_IFUNC
			continue
		}
		addr := get("st_value")
		if f.Machine == emArm {
			addr &^= 1 // set for Thumb code
		}
		section := int(index)
		if index == shnXindex {
			section = f.sectionAt(addr)
		} else if index == shnUndef || index >= shnLoreserve {
			continue
		}
		if section <= 0 || section >= len(f.Sections) {
			continue
		}
		name := text(names, get("st_name"), maxSymbolName)
		if name == "" || strings.HasPrefix(name, "$") {
			continue
		}
		if len(out) == maxFunctions {
			return nil, fmt.Errorf("elf: more than %d functions", maxFunctions)
		}
		rank := 2
		switch info >> 4 {
		case 1:
			rank = 0
		case 2:
			rank = 1
		}
		out = append(out, Symbol{name, addr, get("st_size"), section, rank})
	}
	slices.SortFunc(out, func(a, b Symbol) int {
		return cmp.Or(
			cmp.Compare(a.Section, b.Section), // apart only in relocatable files
			cmp.Compare(a.Addr, b.Addr),
			cmp.Compare(a.rank, b.rank),
			cmp.Compare(a.Name, b.Name),
			cmp.Compare(b.Size, a.Size),
		)
	})
	return out, nil
}

func (f *File) symbolTable() *Section {
	for _, t := range []uint32{ShtSymtab, ShtDynsym} {
		for i := range f.Sections {
			if f.Sections[i].Type == t {
				return &f.Sections[i]
			}
		}
	}
	return nil
}

// sectionAt returns the first section loaded at an address, or 0.
func (f *File) sectionAt(addr uint64) int {
	for i := range f.Sections {
		if s := &f.Sections[i]; s.Flags&ShfAlloc != 0 && addr-s.Addr < s.Size {
			return i
		}
	}
	return 0
}

// Labels names the places of a file: this ELF file, or a raw binary made of
// it. Sections and functions are in order of offset; sections may overlap
// where the file's own do.
type Labels struct {
	sections  []NamedRange
	functions []function
}

// A NamedRange is a run of bytes of a file and what it is.
type NamedRange struct {
	Name string
	ledger.Range
}

type function struct {
	NamedRange       // the run, which other functions may have cut short
	start      int64 // where the function starts
}

// FileLabels returns labels for the file itself.
func (f *File) FileLabels() (*Labels, error) {
	at := make(map[int]int64)
	l := new(Labels)
	for i := range f.Sections {
		s := &f.Sections[i]
		if r, _ := s.Range(f.size); r.Len > 0 {
			at[i] = r.Off
			l.sections = append(l.sections, NamedRange{s.Name, r})
		}
	}
	return f.label(l, at)
}

// RawLabels returns labels for the raw binary that objcopy -O binary makes of
// the file: every loaded section at its load address, counted from the lowest
// of them. size is the raw binary's; what lies past it has no label.
//
// The load address of a section is that of its segment (p_paddr) plus the
// distance of their offsets in the file, as in BFD's
// _bfd_elf_make_section_from_shdr; without a segment, or if there are several
// and none has a load address, it is the section's own address.
func (f *File) RawLabels(size int64) (*Labels, error) {
	loaded := make(map[int]uint64)
	var lowest uint64
	for i := range f.Sections {
		s := &f.Sections[i]
		if s.Flags&ShfAlloc == 0 || s.Type == 0 || s.Type == ShtNobits || s.Size == 0 {
			continue
		}
		lma := f.loadAddress(s)
		if len(loaded) == 0 || lma < lowest {
			lowest = lma
		}
		loaded[i] = lma
	}
	at := make(map[int]int64)
	l := new(Labels)
	for i := range f.Sections {
		if lma, ok := loaded[i]; ok {
			if r, _ := within(lma-lowest, f.Sections[i].Size, size); r.Len > 0 {
				at[i] = r.Off
				l.sections = append(l.sections, NamedRange{f.Sections[i].Name, r})
			}
		}
	}
	return f.label(l, at)
}

func (f *File) loadAddress(s *Section) uint64 {
	loads, physical := 0, false
	for i := range f.Segments {
		p := &f.Segments[i]
		physical = physical || p.Paddr != 0
		if p.Type == ptLoad && p.Memsz != 0 {
			loads++
		}
	}
	lma := s.Addr
	if !physical && loads > 1 {
		return lma
	}
	for i := range f.Segments {
		p := &f.Segments[i]
		if p.Type != ptTLS && (p.Type != ptLoad || s.Flags&shfTLS != 0) {
			continue
		}
		inFile := s.Off >= p.Off && s.Off-p.Off < p.Filesz && s.Size <= p.Filesz-(s.Off-p.Off)
		inMemory := s.Addr >= p.Vaddr && s.Addr-p.Vaddr < p.Memsz && s.Size <= p.Memsz-(s.Addr-p.Vaddr)
		if inFile && inMemory {
			return p.Paddr + (s.Off - p.Off)
		}
	}
	return lma
}

// label adds the functions of sections, given where each section starts, and
// puts everything in order.
func (f *File) label(l *Labels, at map[int]int64) (*Labels, error) {
	slices.SortStableFunc(l.sections, func(a, b NamedRange) int {
		return cmp.Compare(a.Off, b.Off)
	})
	symbols, err := f.Functions()
	if err != nil {
		return nil, err
	}
	var found []function
	for i, sym := range symbols {
		base, ok := at[sym.Section]
		if !ok || i > 0 && symbols[i-1].Addr == sym.Addr && symbols[i-1].Section == sym.Section {
			continue // an alias of the one before
		}
		s := &f.Sections[sym.Section]
		rel := sym.Addr
		if f.Type != etRel {
			rel -= s.Addr
		}
		if rel >= s.Size {
			continue
		}
		n := min(sym.Size, s.Size-rel)
		if n == 0 { // of no stated size: up to the next one
			n = s.Size - rel
			for _, next := range symbols[i+1:] {
				if next.Section != sym.Section {
					break
				}
				if next.Addr > sym.Addr {
					n = min(n, next.Addr-sym.Addr)
					break
				}
			}
		}
		if rel > 1<<62 || n > 1<<62 || base > 1<<61 {
			continue // nothing of this file, and sums of these would not fit
		}
		start := base + int64(rel)
		found = append(found, function{NamedRange{sym.Name, ledger.Range{Off: start, Len: int64(n)}}, start})
	}
	// Of functions within functions the innermost names a place.
	slices.SortStableFunc(found, func(a, b function) int { return cmp.Compare(b.start, a.start) })
	ranges := make([]ledger.Range, len(found))
	for i := range found {
		ranges[i] = found[i].Range
	}
	for _, p := range tile(ranges) {
		fn := found[p.owner]
		fn.Range = p.Range
		l.functions = append(l.functions, fn)
	}
	return l, nil
}

// Sections returns the labelled sections, in order of offset.
func (l *Labels) Sections() []NamedRange { return l.sections }

// Section returns the name and place of the section at off, or "".
func (l *Labels) Section(off int64) (name string, r ledger.Range) {
	i := sort.Search(len(l.sections), func(i int) bool { return l.sections[i].Off > off }) - 1
	if i < 0 || off >= l.sections[i].End() {
		return "", ledger.Range{}
	}
	return l.sections[i].Name, l.sections[i].Range
}

// Function returns the name of the function at off and how far into it off is,
// or "".
func (l *Labels) Function(off int64) (name string, delta int64) {
	i := sort.Search(len(l.functions), func(i int) bool { return l.functions[i].Off > off }) - 1
	if i < 0 || off >= l.functions[i].End() {
		return "", 0
	}
	return l.functions[i].Name, off - l.functions[i].start
}
