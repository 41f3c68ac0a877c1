package difftest

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// An ELF describes a small executable: a file header, program headers, the
// sections in order, and the section headers at the end. The zero values of
// Bits and Order stand for 64 and little endian.
type ELF struct {
	Bits     int // 32 or 64
	Order    binary.ByteOrder
	Type     uint16 // e_type; 0 stands for ET_EXEC
	Machine  uint16 // e_machine; 0 stands for EM_AARCH64
	Sections []ELFSection
	Symbols  []ELFSymbol
	Stripped bool   // no section headers, as sstrip leaves a file
	Tail     []byte // after everything else
}

// An ELFSection is one section. Load is the address it is loaded at (LMA), if
// that is not Addr; one with an address gets a segment of its own.
type ELFSection struct {
	Name       string
	Type       uint32 // sh_type; 0 stands for SHT_PROGBITS
	Flags      uint64
	Addr, Load uint64
	Data       []byte
	Size       uint64 // of a section without bytes in the file (SHT_NOBITS)
	Gap        int    // bytes before it that belong to nothing
}

// An ELFSymbol is a symbol: its type, whether it is global, and the name of
// the section it lies in.
type ELFSymbol struct {
	Name       string
	Section    string
	Addr, Size uint64
	Type       byte // STT_FUNC is 2
	Global     bool
}

// elfWriter writes fields of one class and byte order.
type elfWriter struct {
	bytes.Buffer
	bits  int
	order binary.ByteOrder
}

func (w *elfWriter) fields(values ...any) {
	for _, v := range values {
		if a, ok := v.(uint64); ok && w.bits == 32 { // an address
			v = uint32(a)
		}
		_ = binary.Write(w, w.order, v) // a Buffer takes everything
	}
}

// Bytes returns the file.
func (e ELF) Bytes() []byte {
	w := &elfWriter{bits: e.Bits, order: e.Order}
	if w.bits == 0 {
		w.bits = 64
	}
	if w.order == nil {
		w.order = binary.LittleEndian
	}
	ehsize, phsize, shsize, class := 52, 32, 40, byte(1)
	if w.bits == 64 {
		ehsize, phsize, shsize, class = 64, 56, 64, 2
	}
	data := byte(1)
	if w.order.Uint16([]byte{0, 1}) == 1 {
		data = 2
	}

	type header struct {
		ELFSection
		name       uint32
		off, size  uint64
		link, info uint32
		entsize    uint64
	}
	headers := []header{{}}
	index := map[string]uint16{}
	for i, s := range e.Sections {
		if s.Type == 0 {
			s.Type = 1
		}
		index[s.Name] = uint16(i + 1)
		headers = append(headers, header{ELFSection: s})
	}
	if len(e.Symbols) > 0 {
		strtab := []byte{0}
		syms := &elfWriter{bits: w.bits, order: w.order}
		local := uint32(1)
		one := func(name uint32, addr, size uint64, info byte, shndx uint16) {
			if w.bits == 64 {
				syms.fields(name, info, byte(0), shndx, addr, size)
			} else {
				syms.fields(name, addr, size, info, byte(0), shndx)
			}
		}
		one(0, 0, 0, 0, 0)
		for _, global := range []bool{false, true} {
			for _, s := range e.Symbols {
				if s.Global != global {
					continue
				}
				info := s.Type
				if global {
					info |= 0x10
				} else {
					local++
				}
				one(uint32(len(strtab)), s.Addr, s.Size, info, index[s.Section])
				strtab = append(strtab, s.Name+"\x00"...)
			}
		}
		headers = append(
			headers,
			header{
				ELFSection: ELFSection{Name: ".symtab", Type: 2, Data: syms.Bytes()},
				link:       uint32(len(headers) + 1), info: local, entsize: uint64(map[int]int{32: 16, 64: 24}[w.bits]),
			},
			header{ELFSection: ELFSection{Name: ".strtab", Type: 3, Data: strtab}},
		)
	}
	names := []byte{0}
	headers = append(headers, header{ELFSection: ELFSection{Name: ".shstrtab", Type: 3}})
	for i := 1; i < len(headers); i++ {
		headers[i].name = uint32(len(names))
		names = append(names, headers[i].Name+"\x00"...)
	}
	headers[len(headers)-1].Data = names

	segments := 0
	for i := range headers {
		if headers[i].Addr != 0 {
			segments++
		}
	}
	at := ehsize + segments*phsize
	for i := 1; i < len(headers); i++ {
		h := &headers[i]
		at += h.Gap
		h.off, h.size = uint64(at), uint64(len(h.Data))
		if h.Type == 8 {
			h.size = h.Size
		}
		at += len(h.Data)
	}
	shoff, shnum, shstrndx := uint64(at), len(headers), len(headers)-1
	if e.Stripped {
		shoff, shnum, shstrndx, shsize = 0, 0, 0, 0
	}
	phoff := uint64(ehsize)
	if segments == 0 {
		phoff, phsize = 0, 0
	}
	var entry uint64
	if segments > 0 && len(e.Sections) > 0 {
		entry = e.Sections[0].Addr
	}

	w.fields([]byte("\x7fELF"), class, data, byte(1), byte(0), byte(0), [7]byte{})
	w.fields(or(e.Type, 2), or(e.Machine, 183), uint32(1), entry, phoff, shoff, uint32(0),
		uint16(ehsize), uint16(phsize), uint16(segments), uint16(shsize), uint16(shnum), uint16(shstrndx))
	for _, h := range headers {
		if h.Addr == 0 {
			continue
		}
		load, flags := or(h.Load, h.Addr), uint32(4|h.Flags&1<<1|h.Flags&4>>2)
		filesz := uint64(len(h.Data))
		if w.bits == 64 {
			w.fields(uint32(1), flags, h.off, h.Addr, load, filesz, h.size, uint64(1))
		} else {
			w.fields(uint32(1), h.off, h.Addr, load, filesz, h.size, flags, uint64(1))
		}
	}
	for _, h := range headers {
		w.Write(make([]byte, h.Gap))
		w.Write(h.Data)
	}
	if !e.Stripped {
		for i, h := range headers {
			if i == 0 {
				w.Write(make([]byte, shsize))
				continue
			}
			w.fields(h.name, h.Type, h.Flags, h.Addr, h.off, h.size, h.link, h.info, uint64(1), h.entsize)
		}
	}
	w.Write(e.Tail)
	return w.Bytes()
}

func or[T comparable](v, standard T) T {
	var zero T
	if v == zero {
		return standard
	}
	return v
}

// SmallELF is a program with code, constants, data and a symbol table; a gap
// and a tail are for callers to add.
func SmallELF(bits int, order binary.ByteOrder) ELF {
	return ELF{
		Bits: bits, Order: order,
		Sections: []ELFSection{
			{Name: ".text", Flags: 2 | 4, Addr: 0x4a000, Data: bytes.Repeat([]byte{0x1f, 0x20, 0x03, 0xd5}, 8)},
			{Name: ".rodata", Flags: 2, Addr: 0x4b000, Data: []byte("built 2024-05-01 10:20:30\x00")},
			{Name: ".data", Flags: 2 | 1, Addr: 0x20000, Load: 0x4b020, Data: []byte{1, 2, 3, 4}},
			{Name: ".bss", Type: 8, Flags: 2 | 1, Addr: 0x21000, Size: 0x1000},
			{Name: ".comment", Data: []byte("GCC: (assay) 1.0\x00")},
		},
		Symbols: []ELFSymbol{
			{Name: "$x", Section: ".text", Addr: 0x4a000},
			{Name: "helper", Section: ".text", Addr: 0x4a010, Size: 16, Type: 2},
			{Name: "start", Section: ".text", Addr: 0x4a000, Size: 16, Type: 2, Global: true},
		},
	}
}

func elfSamples() []Sample {
	var out []Sample
	for _, bits := range []int{32, 64} {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			e := SmallELF(bits, order)
			out = append(out, Sample{fmt.Sprintf("elf%d-%s", bits, map[bool]string{true: "be", false: "le"}[order == binary.BigEndian]), "elf", e.Bytes()})
		}
	}
	odd := SmallELF(64, binary.LittleEndian)
	odd.Sections[1].Gap = 12
	odd.Tail = []byte("after the end")
	out = append(out, Sample{"elf64-gap-tail", "elf", odd.Bytes()})
	odd.Stripped = true
	return append(out, Sample{"elf64-sstrip", "elf", odd.Bytes()})
}
