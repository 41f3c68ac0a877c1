package format

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/ledger"
)

func TestELF(t *testing.T) {
	for _, test := range []struct {
		bits                          int
		order                         binary.ByteOrder
		enc                           ledger.Enc
		phoff, shoff, width, shoffset int64 // where fields stand
		text                          int64 // where .text starts
		phdr, shdr                    int64 // size of a header
	}{
		{32, binary.LittleEndian, "u32le", 28, 32, 4, 16, 52 + 4*32, 32, 40},
		{32, binary.BigEndian, "u32be", 28, 32, 4, 16, 52 + 4*32, 32, 40},
		{64, binary.LittleEndian, "u64le", 32, 40, 8, 24, 64 + 4*56, 56, 64},
		{64, binary.BigEndian, "u64be", 32, 40, 8, 24, 64 + 4*56, 56, 64},
	} {
		b := difftest.SmallELF(test.bits, test.order).Bytes()
		root := lay(t, elf, b)
		shdrs := at(t, root, "shdrs").Off
		ehdr := test.text - 4*test.phdr
		for path, want := range map[string]ledger.Range{
			"ehdr":                   {Off: 0, Len: ehdr},
			"ehdr/ei_magic":          {Off: 0, Len: 4},
			"ehdr/ei_class":          {Off: 4, Len: 1},
			"ehdr/ei_pad":            {Off: 9, Len: 7},
			"ehdr/e_phoff":           {Off: test.phoff, Len: test.width},
			"ehdr/e_shoff":           {Off: test.shoff, Len: test.width},
			"ehdr/e_shstrndx":        {Off: ehdr - 2, Len: 2},
			"phdrs":                  {Off: ehdr, Len: 4 * test.phdr},
			"phdrs/segment 1":        {Off: ehdr + test.phdr, Len: test.phdr},
			"phdrs/segment 1/p_type": {Off: ehdr + test.phdr, Len: 4},
			".text":                  {Off: test.text, Len: 32},
			".rodata":                {Off: test.text + 32, Len: 26},
			"shdrs/.text/sh_offset":  {Off: shdrs + test.shdr + test.shoffset, Len: test.width},
			"shdrs/.text/sh_size":    {Off: shdrs + test.shdr + test.shoffset + test.width, Len: test.width},
		} {
			if got := at(t, root, path).Range(); got != want {
				t.Errorf("%s: %s at %v, want %v", test.enc, path, got, want)
			}
		}
		if root.Children[len(root.Children)-1].End() != int64(len(b)) {
			t.Errorf("%s: the section headers do not end the file", test.enc)
		}
		// e_phoff, e_shoff, and offset and size of all but sections 0 and .bss.
		if n := specs(root); n != 2+2*7 {
			t.Errorf("%s: %d Specs", test.enc, n)
		}
		want := ledger.Spec{Op: ledger.OpNumber, Enc: test.enc, Over: []ledger.Span{{Range: ledger.Range{Len: test.text + 32}}}}
		if got := at(t, root, "shdrs/.rodata/sh_offset").Spec; got == nil || got.Over[0] != want.Over[0] || got.Enc != want.Enc {
			t.Errorf("%s: sh_offset of .rodata: %+v, want %+v", test.enc, got, want)
		}
	}
}

// Nothing that decides what runs, or holds bytes nobody checks, is a place.
func TestELFPlaces(t *testing.T) {
	e := difftest.SmallELF(64, binary.LittleEndian)
	e.Sections[1].Gap = 20
	e.Tail = []byte("tail")
	b := e.Bytes()
	root := lay(t, elf, b)
	walk(root, "", func(path string, s *diff.Section) {
		if s.Spec == nil {
			return
		}
		switch s.Name {
		case "e_phoff", "e_shoff", "sh_offset", "sh_size":
		default:
			t.Errorf("%s has a Spec: %+v", path, s.Spec)
		}
	})
	text, rodata := at(t, root, ".text"), at(t, root, ".rodata")
	if rodata.Off-text.End() != 20 {
		t.Errorf("no gap before .rodata at %d", rodata.Off)
	}
	for i := range root.Children {
		if c := &root.Children[i]; c.Off < rodata.Off && c.End() > text.End() || c.End() > int64(len(b))-4 {
			t.Errorf("%s takes the gap or the tail: %v", c.Name, c.Range())
		}
	}

	// A section that overlaps another is not whole: its size is no place.
	binary.LittleEndian.PutUint64(b[binary.LittleEndian.Uint64(b[40:])+64+0x20:], 32+20+4)
	root = lay(t, elf, b)
	for _, path := range []string{"shdrs/.rodata/sh_size", "shdrs/.rodata/sh_offset"} {
		if sp := at(t, root, path).Spec; sp != nil {
			t.Errorf("%s: %+v", path, sp)
		}
	}
	if at(t, root, "shdrs/.text/sh_size").Spec == nil || at(t, root, ".rodata").Note == "" {
		t.Error(".text should be whole and .rodata not")
	}
}

func TestELFOpens(t *testing.T) {
	large := bytes.Repeat([]byte("070701"), 20)
	e := difftest.ELF{Sections: []difftest.ELFSection{
		{Name: ".text", Flags: 2 | 4, Addr: 1 << 16, Data: large},
		{Name: ".init.ramfs", Flags: 2, Addr: 2 << 16, Data: large},
		{Name: ".small", Flags: 2, Addr: 3 << 16, Data: large[:63]},
		{Name: ".str", Flags: 2 | 0x20, Addr: 4 << 16, Data: large},
		{Name: ".note", Type: 7, Flags: 2, Addr: 5 << 16, Data: large},
		{Name: ".packed", Flags: 0x800, Data: large},
	}}
	root := lay(t, elf, e.Bytes())
	for i := range root.Children {
		if c := &root.Children[i]; c.Open != (c.Name == ".init.ramfs") {
			t.Errorf("%s: open %t", c.Name, c.Open)
		}
	}
}

func TestELFLimit(t *testing.T) {
	b := difftest.SmallELF(64, binary.LittleEndian).Bytes()
	in := &diff.Input{ReaderAt: bytes.NewReader(b), Size: int64(len(b)), Budget: diff.NewBudget(diff.Limits{MaxNodes: 100})}
	_, err := elf.Parse(context.Background(), in)
	var limit *diff.LimitError
	if !errors.As(err, &limit) || limit.Limit != "nodes" {
		t.Errorf("got %v, want the limit on nodes", err)
	}
}
