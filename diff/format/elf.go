package format

import (
	"context"
	"strings"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/elffile"
	"github.com/assaylab/assay/diff/ledger"
)

// elf lays out ELF files: the file header, the program and section header
// tables, each section, and what else a segment holds.
//
// The only numbers that may be explained are those that say where a whole
// table or section stands and how long it is. Addresses, and all of a program
// header, decide what is run and from where: they have no Spec.
var elf = &diff.Format{
	Name:    "elf",
	Version: 1,
	Title:   "ELF executable, library or object",
	Source:  "System V ABI, chapter 4; elf(5); bfd/elf.c for load addresses",
	Detect:  func(in *diff.Input) bool { return elffile.Is(in.Bytes(0, 6)) },
	Parse:   parseELF,
}

// minEmbedded is the least size of a section worth looking into for a file of
// its own, such as .init.ramfs.
const minEmbedded = 64

func parseELF(ctx context.Context, in *diff.Input) ([]diff.Section, error) {
	f, err := elffile.Parse(in, in.Size, in.Budget.Node)
	if err != nil {
		return nil, err
	}
	p := &elfLayout{File: f, in: in, claims: f.Claims()}
	if err := in.Budget.Node(int64(len(p.claims))); err != nil {
		return nil, err
	}
	p.table = &diff.Table{Fields: make([]diff.Field, len(f.Phdr))}
	for i, d := range f.Phdr {
		p.table.Fields[i] = diff.Field{Name: d.Name, Off: d.Off, Len: d.Len, Role: elfRoles[d.Name]}
	}
	p.places = make([]ledger.Range, len(f.Sections))
	for _, c := range p.claims {
		switch {
		case !c.Whole:
		case c.Kind == elffile.InSection:
			p.places[c.Index] = c.Range
		case c.Kind == elffile.ProgramHeaders:
			p.phdrs = true
		case c.Kind == elffile.SectionHeaders:
			p.shdrs = true
		}
	}
	out := make([]diff.Section, 0, len(p.claims))
	for i := range p.claims {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := p.section(&p.claims[i])
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// An elfLayout is an ELF file on its way to sections.
type elfLayout struct {
	*elffile.File
	in           *diff.Input
	claims       []elffile.Claim
	table        *diff.Table    // a program header
	places       []ledger.Range // of the sections that stand whole in the file
	phdrs, shdrs bool           // the tables stand whole in the file
}

func (p *elfLayout) section(c *elffile.Claim) (diff.Section, error) {
	s := diff.Section{Name: c.Name, Off: c.Off, Len: c.Len, Note: c.Note}
	var err error
	switch c.Kind {
	case elffile.FileHeader:
		s.Role = diff.RoleHeader
		s.Note = strings.Join(p.Notes, "; ")
		s.Children, err = p.fields(c.Off, p.Ehdr, func(name string) *ledger.Spec {
			switch {
			case name == "e_phoff" && p.phdrs:
				return p.offset(p.Phoff)
			case name == "e_shoff" && p.shdrs:
				return p.offset(p.Shoff)
			}
			return nil
		})
	case elffile.ProgramHeaders:
		s.Role = diff.RoleTable
		if c.Whole {
			s.Children, err = p.programHeaders(c.Off)
		}
	case elffile.SectionHeaders:
		s.Role = diff.RoleTable
		if c.Whole {
			s.Children, err = p.sectionHeaders(c.Off)
		}
	case elffile.InSection:
		sh := &p.Sections[c.Index]
		s.Role = elfRole(sh)
		s.Open = c.Whole && c.Len >= minEmbedded && sh.Type == elffile.ShtProgbits &&
			sh.Flags&(elffile.ShfExecinstr|elffile.ShfStrings|elffile.ShfCompressed) == 0
	case elffile.InSegment:
		s.Role = diff.RolePayload
		if len(p.Sections) > 0 {
			s.Role = diff.RoleGap // loaded, but of no section
		}
	}
	return s, err
}

func elfRole(s *elffile.Section) diff.Role {
	switch s.Type {
	case elffile.ShtSymtab, elffile.ShtDynsym, elffile.ShtStrtab, elffile.ShtRel, elffile.ShtRela,
		elffile.ShtHash, elffile.ShtDynamic:
		return diff.RoleTable
	}
	return diff.RolePayload
}

func (p *elfLayout) programHeaders(off int64) ([]diff.Section, error) {
	if err := p.in.Budget.Node(int64(len(p.Segments))); err != nil {
		return nil, err
	}
	out := make([]diff.Section, len(p.Segments))
	for i := range out {
		out[i] = diff.Section{
			Name: elffile.SegmentName(i), Role: diff.RoleHeader,
			Off: off + int64(i)*p.Phentsize, Len: p.Phentsize, Table: p.table,
		}
	}
	return out, nil
}

func (p *elfLayout) sectionHeaders(off int64) ([]diff.Section, error) {
	if err := p.in.Budget.Node(int64(len(p.Sections))); err != nil {
		return nil, err
	}
	out := make([]diff.Section, len(p.Sections))
	for i := range out {
		sh, place := &p.Sections[i], p.places[i]
		s := diff.Section{
			Name: sh.Name, Role: diff.RoleHeader,
			Off: off + int64(i)*p.Shentsize, Len: p.Shentsize,
		}
		var err error
		s.Children, err = p.fields(s.Off, p.Shdr, func(name string) *ledger.Spec {
			switch {
			case place.Len == 0:
				return nil
			case name == "sh_offset":
				return p.offset(sh.Off)
			case name == "sh_size":
				return p.number(place)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		out[i] = s
	}
	return out, nil
}

// fields lays out a header at off.
func (p *elfLayout) fields(off int64, fields []elffile.Field, spec func(name string) *ledger.Spec) ([]diff.Section, error) {
	if err := p.in.Budget.Node(int64(len(fields))); err != nil {
		return nil, err
	}
	out := make([]diff.Section, len(fields))
	for i, d := range fields {
		out[i] = diff.Section{
			Name: d.Name, Role: elfRoles[d.Name], Off: off + d.Off, Len: d.Len, Spec: spec(d.Name),
		}
	}
	return out, nil
}

// offset describes a field that says how far from the start of the file
// something is.
func (p *elfLayout) offset(to uint64) *ledger.Spec {
	return p.number(ledger.Range{Len: int64(to)})
}

// number describes a field that holds the length of r.
func (p *elfLayout) number(r ledger.Range) *ledger.Spec {
	return &ledger.Spec{Op: ledger.OpNumber, Enc: p.enc(), Over: []ledger.Span{{Range: r}}}
}

// enc is the spelling of an offset or size in this class and byte order.
func (p *elfLayout) enc() ledger.Enc {
	enc := "u32"
	if p.Bits == 64 {
		enc = "u64"
	}
	if p.Order.Uint16([]byte{0, 1}) == 1 {
		return ledger.Enc(enc + "be")
	}
	return ledger.Enc(enc + "le")
}

// elfRoles gives the roles of the fields of all headers.
var elfRoles = map[string]diff.Role{
	"ei_magic":      diff.RoleMagic,
	"ei_class":      diff.RoleMeta,
	"ei_data":       diff.RoleMeta,
	"ei_version":    diff.RoleVersion,
	"ei_osabi":      diff.RoleMeta,
	"ei_abiversion": diff.RoleVersion,
	"ei_pad":        diff.RolePadding,
	"e_type":        diff.RoleMeta,
	"e_machine":     diff.RoleMeta,
	"e_version":     diff.RoleVersion,
	"e_entry":       diff.RoleMeta,
	"e_phoff":       diff.RoleOffset,
	"e_shoff":       diff.RoleOffset,
	"e_flags":       diff.RoleFlags,
	"e_ehsize":      diff.RoleLength,
	"e_phentsize":   diff.RoleLength,
	"e_phnum":       diff.RoleCount,
	"e_shentsize":   diff.RoleLength,
	"e_shnum":       diff.RoleCount,
	"e_shstrndx":    diff.RoleMeta,

	"p_type":   diff.RoleMeta,
	"p_flags":  diff.RoleFlags,
	"p_offset": diff.RoleOffset,
	"p_vaddr":  diff.RoleMeta,
	"p_paddr":  diff.RoleMeta,
	"p_filesz": diff.RoleLength,
	"p_memsz":  diff.RoleLength,
	"p_align":  diff.RoleMeta,

	"sh_name":      diff.RoleMeta,
	"sh_type":      diff.RoleMeta,
	"sh_flags":     diff.RoleFlags,
	"sh_addr":      diff.RoleMeta,
	"sh_offset":    diff.RoleOffset,
	"sh_size":      diff.RoleLength,
	"sh_link":      diff.RoleMeta,
	"sh_info":      diff.RoleMeta,
	"sh_addralign": diff.RoleMeta,
	"sh_entsize":   diff.RoleMeta,
}
