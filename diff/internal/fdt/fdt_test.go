package fdt_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/internal/fdt"
	"github.com/assaylab/assay/diff/ledger"
)

func parse(b []byte) (*fdt.Tree, error) {
	return fdt.Parse(bytes.NewReader(b), int64(len(b)), nil)
}

// Words of the header.
const (
	total = iota + 1
	offStruct
	offStrings
	offReserve
	version
	lastVersion
	bootCPU
	sizeStrings
	sizeStruct
)

func set(b []byte, word int, v uint32) { binary.BigEndian.PutUint32(b[4*word:], v) }
func get(b []byte, word int) uint32    { return binary.BigEndian.Uint32(b[4*word:]) }

func TestTree(t *testing.T) {
	b := difftest.SmallFDT().Bytes()
	tree, err := parse(append(bytes.Clone(b), "tail"...))
	if err != nil {
		t.Fatal(err)
	}
	if tree.Size != int64(len(b)) {
		t.Errorf("%d bytes, not %d", tree.Size, len(b))
	}
	if want := (ledger.Range{Off: 40, Len: 32}); tree.Reserve != want {
		t.Errorf("reservations at %v", tree.Reserve)
	}
	serial := tree.Root.Node("soc").Node("serial@1000")
	status := serial.Property("status")
	if got := string(b[status.Value.Off:status.Value.End()]); got != "ok\x00" {
		t.Errorf("status is %q", got)
	}
	if got, want := status.Padding(), (ledger.Range{Off: status.Value.End(), Len: 1}); got != want || status.End() != got.End() {
		t.Errorf("status %v is padded by %v", status.Range, got)
	}
	if got := tree.Root.Node("nothing").Node("soc").Property("status"); got != nil {
		t.Errorf("found %+v", got)
	}
	if tree.EndToken.End() != tree.Struct.End() || tree.Root.End() != tree.EndToken.Off {
		t.Errorf("root %v, end %v, structure %v", tree.Root.Range, tree.EndToken, tree.Struct)
	}
}

// NOPs may stand wherever a token may.
func TestNops(t *testing.T) {
	b := difftest.FDT{Root: difftest.FDTNode{Props: []difftest.FDTProp{{Name: "p", Value: []byte{1}}}}}.Bytes()
	from, to := get(b, offStruct), get(b, offStrings)
	words := b[from:to]
	nop := []byte{0, 0, 0, 4}
	var out []byte
	for _, part := range [][]byte{words[:8], words[8:24], words[24:28], words[28:]} { // root, p, end of root, end
		out = append(append(append(out, nop...), nop...), part...)
	}
	b = append(append(bytes.Clone(b[:from]), out...), b[to:]...)
	set(b, total, uint32(len(b)))
	set(b, offStrings, to+32)
	set(b, sizeStruct, get(b, sizeStruct)+32)
	tree, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Before) != 1 || len(tree.After) != 1 || tree.Before[0].Len != 8 || tree.After[0].Len != 8 {
		t.Errorf("before %+v, after %+v", tree.Before, tree.After)
	}
	var kinds []fdt.Kind
	for _, i := range tree.Root.Items {
		kinds = append(kinds, i.Kind)
	}
	if len(kinds) != 3 || kinds[0] != fdt.Nop || kinds[1] != fdt.Property || kinds[2] != fdt.Nop {
		t.Errorf("items %v", kinds)
	}
}

// The blocks may stand in any order, with anything between them.
func TestBlockOrder(t *testing.T) {
	b := difftest.SmallFDT().Bytes()
	s, n := get(b, offStruct), get(b, offStrings)
	reserve, structure, names := b[40:s], b[s:n], b[n:]
	moved := append(bytes.Clone(b[:40]), "gap!"...)
	for _, part := range []struct {
		word int
		data []byte
	}{{offStrings, names}, {offStruct, structure}, {offReserve, reserve}} {
		set(moved, part.word, uint32(len(moved)))
		moved = append(moved, part.data...)
	}
	set(moved, total, uint32(len(moved)))
	tree, err := parse(moved)
	if err != nil {
		t.Fatal(err)
	}
	if tree.Root.Node("soc").Node("serial@1000").Property("status") == nil {
		t.Error("no status")
	}
}

func TestRefused(t *testing.T) {
	good := difftest.SmallFDT().Bytes()
	s := get(good, offStruct)
	for _, test := range []struct {
		name, want string
		change     func(b []byte)
	}{
		{"no magic", "no header", func(b []byte) { b[0] = 0 }},
		{"version 16", "version 16", func(b []byte) { set(b, version, 16) }},
		{"a later version", "version 18", func(b []byte) { set(b, version, 18); set(b, lastVersion, 18) }},
		{"total too large", "in 216", func(b []byte) { set(b, total, 217) }},
		{"total too small", "of 39 bytes", func(b []byte) { set(b, total, 39) }},
		{"structure past the end", "runs past the end of the tree", func(b []byte) { set(b, sizeStruct, 1<<31) }},
		{"strings past the end", "runs past the end of the tree", func(b []byte) { set(b, offStrings, 1<<32-1) }},
		{"reservations past the end", "reservations run past", func(b []byte) { set(b, offReserve, 1<<32-1) }},
		{"reservations without end", "reservations run past", func(b []byte) { set(b, offReserve, uint32(len(b)-20)) }},
		{"structure over the header", "overlap", func(b []byte) { set(b, offStruct, 36) }},
		{"strings over the structure", "overlap", func(b []byte) { set(b, offStrings, get(b, offStrings)-4) }},
		{"no root", "unexpected token", func(b []byte) { set(b, int(s/4), 9) }},
		{"an unknown token", "unexpected token 0x7", func(b []byte) { set(b, int(s/4)+2, 7) }},
		{"a value too long", "runs past the structure block", func(b []byte) { set(b, int(s/4)+3, 1<<32-1) }},
		{"a name out of the strings", "has its name at", func(b []byte) { set(b, int(s/4)+4, 1<<31) }},
		{"a name without end", "does not end", func(b []byte) {
			set(b, sizeStrings, get(b, sizeStrings)-1)
			set(b, int(s/4)+4, get(b, sizeStrings)-1)
		}},
		{"a node's name without end", "does not end", func(b []byte) {
			for i := s + 4; i < uint32(len(b)); i++ {
				b[i] = 'x'
			}
		}},
		{"no end", "the structure block ends", func(b []byte) { set(b, sizeStruct, get(b, sizeStruct)-4) }},
		{"no end of the root", "the structure block ends", func(b []byte) { set(b, sizeStruct, get(b, sizeStruct)-8) }},
		{"two roots", "unexpected token 0x1", func(b []byte) { set(b, int(s+get(b, sizeStruct))/4-1, 1) }},
	} {
		b := bytes.Clone(good)
		test.change(b)
		tree, err := parse(b)
		if err == nil || !strings.Contains(err.Error(), test.want) || tree != nil {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	for n := range good {
		if _, err := parse(good[:n]); err == nil {
			t.Errorf("cut to %d bytes: parsed", n)
		}
	}
}

// A value may be longer than what is read ahead.
func TestLongValue(t *testing.T) {
	long := bytes.Repeat([]byte{1}, 9999)
	b := difftest.FDT{Root: difftest.FDTNode{Props: []difftest.FDTProp{{Name: "long", Value: long}, {Name: "next", Value: []byte{2}}}}}.Bytes()
	tree, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	next := tree.Root.Property("next")
	if next == nil || next.Value.Len != 1 || b[next.Value.Off] != 2 || tree.Root.Property("long").Value.Len != 9999 {
		t.Errorf("%+v", tree.Root)
	}
}

func TestSpend(t *testing.T) {
	b := difftest.SmallFDT().Bytes()
	refused := errors.New("refused")
	left := 0
	parse := func() error {
		n := left
		_, err := fdt.Parse(bytes.NewReader(b), int64(len(b)), func(k int64) error {
			if n -= int(k); n < 0 {
				return refused
			}
			return nil
		})
		return err
	}
	for left = range 2 + 3 + 4 { // reservations, nodes, properties
		if err := parse(); !errors.Is(err, refused) {
			t.Errorf("with %d items allowed: %v", left, err)
		}
	}
	left = 2 + 3 + 4
	if err := parse(); err != nil {
		t.Error(err)
	}
}
