package elffile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/internal/elffile"
	"github.com/assaylab/assay/diff/ledger"
)

func parse(t *testing.T, b []byte) *elffile.File {
	t.Helper()
	f, err := elffile.Parse(bytes.NewReader(b), int64(len(b)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func find(t *testing.T, f *elffile.File, name string) elffile.Claim {
	t.Helper()
	for _, c := range f.Claims() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no claim named %q in %v", name, f.Claims())
	return elffile.Claim{}
}

func names(claims []elffile.Claim) string {
	var s []string
	for _, c := range claims {
		s = append(s, c.Name)
	}
	return strings.Join(s, " ")
}

// The offsets are worked out by hand from the sizes of the headers.
func TestClaims(t *testing.T) {
	for _, test := range []struct {
		bits  int
		order binary.ByteOrder
		text  int64 // where .text starts: ehdr and three program headers before it
		shdr  int64
	}{
		{32, binary.LittleEndian, 52 + 3*32, 40},
		{32, binary.BigEndian, 52 + 3*32, 40},
		{64, binary.LittleEndian, 64 + 3*56, 64},
		{64, binary.BigEndian, 64 + 3*56, 64},
	} {
		e := difftest.SmallELF(test.bits, test.order)
		e.Sections = append(e.Sections[:3], e.Sections[4]) // without .bss: its segment has no bytes
		e.Sections[1].Gap = 12
		e.Symbols = nil
		e.Tail = []byte("tail")
		b := e.Bytes()
		f := parse(t, b)
		var got []ledger.Range
		for _, c := range f.Claims() {
			got = append(got, c.Range)
			if !c.Whole || c.Note != "" {
				t.Errorf("%d %v: claim %+v is not whole", test.bits, test.order, c)
			}
		}
		if s := names(f.Claims()); s != "ehdr phdrs .text .rodata .data .comment .shstrtab shdrs" {
			t.Errorf("claims %s", s)
		}
		at := test.text
		want := []ledger.Range{{Len: 52}, {Off: 52, Len: 3 * 32}}
		if test.bits == 64 {
			want = []ledger.Range{{Len: 64}, {Off: 64, Len: 3 * 56}}
		}
		for _, n := range []int64{32, -12, 26, 4, 17, int64(len("\x00.text\x00.rodata\x00.data\x00.comment\x00.shstrtab\x00")), 6 * test.shdr} {
			if n < 0 {
				at -= n
				continue
			}
			want = append(want, ledger.Range{Off: at, Len: n})
			at += n
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%d %v:\n got %v\nwant %v", test.bits, test.order, got, want)
		}
		if at+4 != int64(len(b)) {
			t.Errorf("tail at %d of %d", at, len(b))
		}
	}
}

// patch returns a 64-bit little-endian sample with edits made to it.
func patch(edit func(e *difftest.ELF), change func(b []byte)) []byte {
	e := difftest.SmallELF(64, binary.LittleEndian)
	if edit != nil {
		edit(&e)
	}
	b := e.Bytes()
	if change != nil {
		change(b)
	}
	return b
}

func shdr(b []byte, i int) []byte {
	return b[binary.LittleEndian.Uint64(b[0x28:])+uint64(i)*64:]
}

func TestClaimsOdd(t *testing.T) {
	le := binary.LittleEndian
	const text = 64 + 4*56
	for _, test := range []struct {
		name  string
		b     []byte
		want  string // names of the claims
		claim string // the one of which Note and range are checked
		rng   ledger.Range
		note  string
	}{
		{
			"stripped of sections",
			patch(func(e *difftest.ELF) { e.Stripped = true; e.Sections[1].Gap = 2 }, func(b []byte) {
				le.PutUint64(b[64+32:], 32+2+26) // segment 0 holds segment 1 too
			}),
			"ehdr phdrs segment 0 segment 1 segment 2",
			"segment 1",
			ledger.Range{Off: text + 34, Len: 26},
			"",
		},
		{
			"a segment around its sections",
			patch(nil, func(b []byte) { le.PutUint64(b[64+32:], 40); le.PutUint64(shdr(b, 1)[0x20:], 24) }),
			"ehdr phdrs .text segment 0 .rodata .data .comment .symtab .strtab .shstrtab shdrs",
			"segment 0",
			ledger.Range{Off: text + 24, Len: 8},
			"",
		},
		{
			"a bad name offset",
			patch(nil, func(b []byte) { le.PutUint32(shdr(b, 1), 1<<31) }),
			"ehdr phdrs section 1 .rodata .data .comment .symtab .strtab .shstrtab shdrs",
			"section 1",
			ledger.Range{Off: text, Len: 32},
			"",
		},
		{
			"no string table",
			patch(nil, func(b []byte) { le.PutUint16(b[0x3e:], 99) }),
			"ehdr phdrs section 1 section 2 section 3 section 5 section 6 section 7 section 8 shdrs",
			"section 8",
			ledger.Range{Off: text + 32 + 26 + 4 + 17 + 4*24 + 17, Len: 61},
			"",
		},
		{
			"a section over the headers and its neighbour",
			patch(nil, func(b []byte) { le.PutUint64(shdr(b, 1)[0x18:], 60); le.PutUint64(shdr(b, 1)[0x20:], text-60+32+6) }),
			"ehdr phdrs .text .rodata .data .comment .symtab .strtab .shstrtab shdrs",
			".text",
			ledger.Range{Off: text, Len: 38},
			"overlapped: 38 of its 266 bytes are here",
		},
		{
			"what is left of the neighbour",
			patch(nil, func(b []byte) { le.PutUint64(shdr(b, 1)[0x18:], text); le.PutUint64(shdr(b, 1)[0x20:], 38) }),
			"ehdr phdrs .text .rodata .data .comment .symtab .strtab .shstrtab shdrs",
			".rodata",
			ledger.Range{Off: text + 38, Len: 20},
			"overlapped: 20 of its 26 bytes are here",
		},
		{
			"past the end",
			patch(nil, func(b []byte) { le.PutUint64(shdr(b, 5)[0x20:], 1<<63) }),
			"ehdr phdrs .text .rodata .data .comment .symtab#2 .symtab#3",
			"",
			ledger.Range{},
			"",
		},
		{
			"every count too large",
			patch(nil, func(b []byte) { le.PutUint16(b[0x38:], 0xfffe); le.PutUint16(b[0x3c:], 0xfffe) }),
			"", "",
			ledger.Range{},
			"",
		},
		{
			"same names",
			patch(func(e *difftest.ELF) {
				e.Sections[1].Name, e.Sections[2].Name, e.Sections[3].Name = "x", "x#2", "x"
				e.Sections[3].Type, e.Sections[3].Data = 1, []byte("1")
			}, nil),
			"ehdr phdrs .text x x#2 x#3 .comment .symtab .strtab .shstrtab shdrs",
			"x#3",
			ledger.Range{Off: text + 32 + 26 + 4, Len: 1},
			"",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := parse(t, test.b)
			tiles(t, f, test.b)
			if test.name == "past the end" {
				c := find(t, f, ".comment")
				if c.Note != "runs past the end of the file" || c.Whole {
					t.Errorf("%+v", c)
				}
				return
			}
			if test.name == "every count too large" {
				if len(f.Notes) != 2 {
					t.Errorf("notes %q", f.Notes)
				}
				return
			}
			if got := names(f.Claims()); got != test.want {
				t.Errorf("claims\n got %s\nwant %s", got, test.want)
			}
			c := find(t, f, test.claim)
			if c.Range != test.rng || c.Note != test.note {
				t.Errorf("got %+v, want %v %q", c, test.rng, test.note)
			}
		})
	}
}

// tiles fails unless claims are in order, apart and inside the file.
func tiles(t *testing.T, f *elffile.File, b []byte) {
	t.Helper()
	var at int64
	seen := map[string]bool{}
	for _, c := range f.Claims() {
		if c.Off < at || c.Len <= 0 || c.End() > int64(len(b)) {
			t.Errorf("claim %+v after %d in a file of %d bytes", c, at, len(b))
		}
		if seen[c.Name] {
			t.Errorf("two claims named %q", c.Name)
		}
		seen[c.Name], at = true, c.End()
	}
}

func TestExtendedNumbering(t *testing.T) {
	le := binary.LittleEndian
	plain := patch(nil, nil)
	b := bytes.Clone(plain)
	first := shdr(b, 0)
	le.PutUint64(first[0x20:], uint64(le.Uint16(b[0x3c:]))) // sh_size: e_shnum
	le.PutUint32(first[0x28:], uint32(le.Uint16(b[0x3e:]))) // sh_link: e_shstrndx
	le.PutUint32(first[0x2c:], uint32(le.Uint16(b[0x38:]))) // sh_info: e_phnum
	le.PutUint16(b[0x3c:], 0)
	le.PutUint16(b[0x3e:], 0xffff)
	le.PutUint16(b[0x38:], 0xffff)
	got, want := parse(t, b), parse(t, plain)
	if !reflect.DeepEqual(got.Claims(), want.Claims()) {
		t.Errorf("got %v\nwant %v", got.Claims(), want.Claims())
	}

	// A count of 2^63 sections is bounded by the file.
	le.PutUint64(shdr(b, 0)[0x20:], 1<<63)
	if f := parse(t, b); len(f.Sections) != len(want.Sections) || len(f.Notes) != 1 {
		t.Errorf("%d sections, notes %q", len(f.Sections), f.Notes)
	}
}

func TestBudget(t *testing.T) {
	b := patch(nil, nil)
	refused := errors.New("refused")
	var asked int64
	_, err := elffile.Parse(bytes.NewReader(b), int64(len(b)), func(n int64) error { asked = n; return refused })
	if !errors.Is(err, refused) || asked != 4+9 {
		t.Errorf("asked for %d, got %v", asked, err)
	}
}

func TestNotELF(t *testing.T) {
	b := patch(nil, nil)
	for _, test := range [][]byte{nil, b[:5], b[:63], []byte("\x7fELF\x03\x01"), bytes.Repeat([]byte("\x7fELF\x01\x03"), 20)} {
		if f, err := elffile.Parse(bytes.NewReader(test), int64(len(test)), nil); err == nil {
			t.Errorf("%d bytes parsed as %+v", len(test), f)
		}
	}
}

func TestFunctions(t *testing.T) {
	b := patch(func(e *difftest.ELF) {
		e.Symbols = []difftest.ELFSymbol{
			{Name: "$x", Section: ".text", Addr: 0x4a000, Type: 2},
			{Name: "a_local_alias", Section: ".text", Addr: 0x4a000, Size: 8, Type: 2},
			{Name: "z_global", Section: ".text", Addr: 0x4a000, Size: 8, Type: 2, Global: true},
			{Name: "y_global", Section: ".text", Addr: 0x4a000, Size: 8, Type: 2, Global: true},
			{Name: "object", Section: ".text", Addr: 0x4a008, Size: 4, Type: 1},
			{Name: "sizeless", Section: ".text", Addr: 0x4a00a, Type: 2},
			{Name: "outer", Section: ".text", Addr: 0x4a010, Size: 12, Type: 2},
			{Name: "inner", Section: ".text", Addr: 0x4a014, Size: 4, Type: 2},
			{Name: "gone", Section: "no such section", Addr: 0x4a014, Size: 4, Type: 2},
			{Name: "outside", Section: ".text", Addr: 0x4a020, Size: 4, Type: 2},
			{Name: "too_long", Section: ".text", Addr: 0x4a01e, Size: 1 << 40, Type: 2},
		}
	}, nil)
	f := parse(t, b)
	l, err := f.RawLabels(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	type place struct {
		name  string
		delta int64
	}
	want := map[int64]place{
		0: {"y_global", 0}, 7: {"y_global", 7}, 8: {}, 9: {}, 10: {"sizeless", 0}, 15: {"sizeless", 5},
		16: {"outer", 0}, 19: {"outer", 3}, 20: {"inner", 0}, 23: {"inner", 3}, 24: {"outer", 8}, 27: {"outer", 11},
		28: {}, 30: {"too_long", 0}, 31: {"too_long", 1}, 32: {}, -1: {}, 1 << 40: {},
	}
	for off, w := range want {
		if name, delta := l.Function(off); name != w.name || delta != w.delta {
			t.Errorf("at %d: %s+%d, want %s+%d", off, name, delta, w.name, w.delta)
		}
	}
	file, err := f.FileLabels()
	if err != nil {
		t.Fatal(err)
	}
	text := find(t, f, ".text")
	if name, delta := file.Function(text.Off + 21); name != "inner" || delta != 1 {
		t.Errorf("in the file: %s+%d", name, delta)
	}
	if name, r := file.Section(text.Off + 21); name != ".text" || r != text.Range {
		t.Errorf("in the file: %s %v", name, r)
	}
}

// Thumb functions have the lowest bit of their address set.
func TestThumb(t *testing.T) {
	e := difftest.SmallELF(32, binary.LittleEndian)
	e.Machine = 40
	e.Symbols = []difftest.ELFSymbol{{Name: "thumb", Section: ".text", Addr: 0x4a005, Size: 4, Type: 2}}
	l, err := parse(t, e.Bytes()).RawLabels(64)
	if err != nil {
		t.Fatal(err)
	}
	if name, delta := l.Function(4); name != "thumb" || delta != 0 {
		t.Errorf("%s+%d", name, delta)
	}
}

func TestRawLabels(t *testing.T) {
	b := patch(nil, nil)
	l, err := parse(t, b).RawLabels(0x1024)
	if err != nil {
		t.Fatal(err)
	}
	want := []elffile.NamedRange{
		{Name: ".text", Range: ledger.Range{Off: 0, Len: 32}},
		{Name: ".rodata", Range: ledger.Range{Off: 0x1000, Len: 26}},
		{Name: ".data", Range: ledger.Range{Off: 0x1020, Len: 4}}, // by its load address
	}
	if !reflect.DeepEqual(l.Sections(), want) {
		t.Errorf("%v, want %v", l.Sections(), want)
	}
	if name, r := l.Section(0x1019); name != ".rodata" || r != want[1].Range {
		t.Errorf("section %s %v", name, r)
	}
	if name, _ := l.Section(0x1000 + 26); name != "" {
		t.Errorf("%s between sections", name)
	}
	cut, err := parse(t, b).RawLabels(0x1010)
	if err != nil {
		t.Fatal(err)
	}
	if got := cut.Sections(); len(got) != 2 || got[1].Len != 0x10 {
		t.Errorf("a raw file cut short: %v", got)
	}
	if name, delta := l.Function(0x18); name != "helper" || delta != 8 {
		t.Errorf("%s+%d", name, delta)
	}
}

// Every section must lie in the raw binary where objcopy puts its bytes.
func TestRawLabelsAgainstObjcopy(t *testing.T) {
	objcopy, err := exec.LookPath("objcopy")
	if err != nil {
		t.Skip("objcopy is not installed")
	}
	dir := t.TempDir()
	try := func(name string, b []byte, args ...string) {
		in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
		if err := os.WriteFile(in, b, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-O", "binary", in, out)
		if msg, err := exec.Command(objcopy, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, msg)
		}
		raw, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		f := parse(t, b)
		l, err := f.RawLabels(int64(len(raw)))
		if err != nil {
			t.Fatal(err)
		}
		labelled := map[string]bool{}
		var last int64
		for _, s := range l.Sections() {
			c := find(t, f, s.Name)
			if !bytes.Equal(raw[s.Off:s.End()], b[c.Off:c.End()]) {
				t.Errorf("%s: %s at %#x holds other bytes", name, s.Name, s.Off)
			}
			labelled[s.Name], last = true, s.End()
		}
		if last != int64(len(raw)) || len(labelled) == 0 {
			t.Errorf("%s: labels end at %d of %d", name, last, len(raw))
		}
	}
	amd64 := func(e *difftest.ELF) { e.Machine = 62 }
	try("small", patch(amd64, nil))
	try("gap", patch(func(e *difftest.ELF) { amd64(e); e.Sections[1].Gap = 100 }, nil))
	try("no load addresses", patch(amd64, func(b []byte) {
		for i := range 4 {
			clear(b[64+i*56+24 : 64+i*56+32])
		}
		// Keep the raw file small: .data next to the rest.
		binary.LittleEndian.PutUint64(shdr(b, 3)[0x10:], 0x4b040)
	}))
	if exe, err := os.Executable(); err == nil {
		if b, err := os.ReadFile(exe); err == nil && elffile.Is(b) {
			try("this test", b)
		}
	}
}

// readelf must see the same sections, in the files it cannot but read.
func TestAgainstReadelf(t *testing.T) {
	readelf, err := exec.LookPath("readelf")
	if err != nil {
		t.Skip("readelf is not installed")
	}
	for _, s := range difftest.Samples() {
		if s.Format != "elf" {
			continue
		}
		path := filepath.Join(t.TempDir(), "in")
		if err := os.WriteFile(path, s.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(readelf, "--wide", "--headers", "--syms", path).CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("arning")) || bytes.Contains(out, []byte("rror:")) {
			t.Errorf("%s: %v: %s", s.Name, err, out)
		}
		for _, sec := range parse(t, s.Data).Sections[:] {
			if sec.Type != 0 && !strings.Contains(string(out), " "+sec.Name+" ") {
				t.Errorf("%s: readelf sees no %s:\n%s", s.Name, sec.Name, out)
			}
		}
	}
}
