package format

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/ledger"
)

// The offsets are worked out by hand: a header of 40 bytes, one reservation and
// the end of them (32), then tokens and words of 4 bytes.
func TestFDT(t *testing.T) {
	tree := difftest.SmallFDT()
	tree.Slack = 10
	b := append(tree.Bytes(), "tail"...)
	root := lay(t, devicetree, b)
	for path, want := range map[string]ledger.Range{
		"header":                          {Off: 0, Len: 40},
		"header/totalsize":                {Off: 4, Len: 4},
		"header/size_dt_struct":           {Off: 36, Len: 4},
		"mem_rsvmap":                      {Off: 40, Len: 32},
		"mem_rsvmap/entry 0/size":         {Off: 48, Len: 8},
		"mem_rsvmap/end":                  {Off: 56, Len: 16},
		"(begin)":                         {Off: 72, Len: 4},
		"(name)":                          {Off: 76, Len: 1},
		"(name padding)":                  {Off: 77, Len: 3},
		"compatible":                      {Off: 80, Len: 24},
		"compatible/head/len":             {Off: 84, Len: 4},
		"compatible/value":                {Off: 92, Len: 12},
		"compatible/padding":              {Off: 104, Len: 0},
		"empty":                           {Off: 104, Len: 12},
		"empty/value":                     {Off: 116, Len: 0},
		"soc":                             {Off: 116, Len: 180 - 116},
		"soc/serial@1000":                 {Off: 124, Len: 176 - 124},
		"soc/serial@1000/(name)":          {Off: 128, Len: 12},
		"soc/serial@1000/reg/value":       {Off: 152, Len: 4},
		"soc/serial@1000/status/value":    {Off: 168, Len: 3},
		"soc/serial@1000/status/padding":  {Off: 171, Len: 1},
		"soc/serial@1000/(end)":           {Off: 172, Len: 4},
		"(end)":                           {Off: 180, Len: 4},
		"(end of tree)":                   {Off: 184, Len: 4},
		"strings":                         {Off: 188, Len: int64(len("compatible\x00empty\x00reg\x00status\x00"))},
		"soc/serial@1000/status/head/len": {Off: 160, Len: 4},
	} {
		if got := at(t, root, path).Range(); got != want {
			t.Errorf("%s at %v, want %v", path, got, want)
		}
	}
	if end := root.Children[len(root.Children)-1].End(); end != int64(len(b))-10-4 {
		t.Errorf("the slack or the tail is claimed: the last section ends at %d of %d", end, len(b))
	}
	if got := at(t, root, "header/totalsize").Spec.Over[0].Range; got != (ledger.Range{Len: int64(len(b)) - 4}) {
		t.Errorf("totalsize measures %v", got)
	}
	walk(root, "", func(path string, s *diff.Section) {
		if s.Open || s.Spec != nil && (s.Spec.Op == ledger.OpTime || s.Spec.Op == ledger.OpSum) {
			t.Errorf("%s of a plain tree is a place or open: %+v", path, s)
		}
	})
}

func TestFITPlaces(t *testing.T) {
	kernel := []byte("odd")
	f := difftest.FIT{Time: 1, Images: []difftest.FITImage{
		{Name: "kernel", Data: kernel, Hashes: []string{"crc32", "md5", "sha1", "sha256", "sha384", "sha512", "crc16"}},
		{Name: "other", Data: []byte("four")},
	}}
	inline := lay(t, devicetree, f.Bytes())
	f.External, f.Tail = true, []byte("tail")
	b := f.Bytes()
	external := lay(t, devicetree, b)

	for _, test := range []struct {
		root *diff.Section
		data string
	}{{inline, "images/kernel/data/value"}, {external, "images/kernel/data"}} {
		var data ledger.Range
		if test.root == external {
			data = top(t, test.root, test.data).Range()
		} else {
			data = at(t, test.root, test.data).Range()
		}
		for path, want := range map[string]ledger.Spec{
			"hash-1": {Alg: "crc32", Enc: "u32be"},
			"hash-2": {Alg: "md5", Enc: "raw"},
			"hash-3": {Alg: "sha1", Enc: "raw"},
			"hash-4": {Alg: "sha256", Enc: "raw"},
			"hash-5": {Alg: "sha384", Enc: "raw"},
			"hash-6": {Alg: "sha512", Enc: "raw"},
		} {
			got := at(t, test.root, "images/kernel/"+path+"/value/value").Spec
			if got == nil || got.Op != ledger.OpSum || got.Alg != want.Alg || got.Enc != want.Enc || len(got.Over) != 1 || got.Over[0].Range != data {
				t.Errorf("%s: %+v, want %s over %v", path, got, want.Alg, data)
			}
		}
		if got := at(t, test.root, "images/kernel/hash-7/value/value").Spec; got != nil {
			t.Errorf("an unknown algorithm: %+v", got)
		}
		if got := at(t, test.root, "timestamp/value").Spec; got == nil || got.Op != ledger.OpTime || got.Enc != "u32be" {
			t.Errorf("timestamp: %+v", got)
		}
	}

	end := int64(binary.BigEndian.Uint32(b[4:]))
	base := (end + 3) &^ 3
	for name, want := range map[string]ledger.Range{
		"(padding)":               {Off: end, Len: base - end},
		"images/kernel/data":      {Off: base, Len: 3},
		"images/kernel/(padding)": {Off: base + 3, Len: 1},
		"images/other/data":       {Off: base + 4, Len: 4},
	} {
		if got := top(t, external, name).Range(); got != want {
			t.Errorf("%s at %v, want %v", name, got, want)
		}
	}
	if got := at(t, external, "images/other/data-offset/value").Spec; got == nil || got.Over[0].Range != (ledger.Range{Off: base, Len: 4}) {
		t.Errorf("data-offset: %+v", got)
	}
	if last := external.Children[len(external.Children)-1]; last.End() != int64(len(b))-4 {
		t.Errorf("%s takes the tail", last.Name)
	}
}

// top returns the section directly under root with a name, which may hold
// slashes.
func top(t *testing.T, root *diff.Section, name string) *diff.Section {
	t.Helper()
	for i := range root.Children {
		if root.Children[i].Name == name {
			return &root.Children[i]
		}
	}
	t.Fatalf("no section %q", name)
	return nil
}

// Signatures, and times that are not the root's, are no places.
func TestFITSignature(t *testing.T) {
	signature := difftest.FDTNode{Name: "signature-1", Props: []difftest.FDTProp{
		{Name: "algo", Value: difftest.Text("sha256")},
		{Name: "timestamp", Value: difftest.Word(1)},
		{Name: "value", Value: make([]byte, 32)},
	}}
	b := difftest.FDT{Root: difftest.FDTNode{Nodes: []difftest.FDTNode{{Name: "images", Nodes: []difftest.FDTNode{{
		Name: "kernel", Props: []difftest.FDTProp{{Name: "data", Value: []byte("kernel")}}, Nodes: []difftest.FDTNode{signature},
	}}}}}}.Bytes()
	root := lay(t, devicetree, b)
	for _, name := range []string{"value", "timestamp", "algo"} {
		if s := at(t, root, "images/kernel/signature-1/"+name+"/value"); s.Spec != nil {
			t.Errorf("%s: %+v", name, s.Spec)
		}
	}
}

// External data that is not where it may be is not laid out, and said so.
func TestFITExternalHostile(t *testing.T) {
	image := func(name string, props ...difftest.FDTProp) difftest.FDTNode {
		return difftest.FDTNode{Name: name, Props: props}
	}
	word := func(name string, v uint32) difftest.FDTProp {
		return difftest.FDTProp{Name: name, Value: difftest.Word(v)}
	}
	b := difftest.FDT{Root: difftest.FDTNode{Nodes: []difftest.FDTNode{{Name: "images", Nodes: []difftest.FDTNode{
		image("inside", word("data-position", 8), word("data-size", 8)),
		image("beyond", word("data-offset", 8), word("data-size", 1<<32-1)),
		image("far", word("data-offset", 1<<32-1), word("data-size", 1)),
		image("first", word("data-offset", 0), word("data-size", 8)),
		image("overlapping", word("data-offset", 6), word("data-size", 4)),
		image("short", difftest.FDTProp{Name: "data-offset", Value: []byte{0}}, word("data-size", 1)),
		image("none"),
	}}}}}.Bytes()
	b = append(b, make([]byte, -len(b)&3+16)...)
	root := lay(t, devicetree, b)
	const outside = "the data does not stand behind the tree and in the file"
	for path, note := range map[string]string{
		"inside/data-position":    outside,
		"beyond/data-offset":      outside,
		"far/data-offset":         outside,
		"overlapping/data-offset": "the data overlaps that of another image",
	} {
		if s := at(t, root, "images/"+path+"/value"); s.Note != note || s.Spec != nil {
			t.Errorf("%s: note %q, Spec %+v", path, s.Note, s.Spec)
		}
	}
	var data []string
	for i := range root.Children {
		if root.Children[i].Open {
			data = append(data, root.Children[i].Name)
		}
	}
	if got := strings.Join(data, " "); got != "images/first/data" {
		t.Errorf("laid out: %s", got)
	}
}

func TestFDTLimits(t *testing.T) {
	deep := difftest.FDTNode{Name: "bottom"}
	for range 62 {
		deep = difftest.FDTNode{Name: "n", Nodes: []difftest.FDTNode{deep}}
	}
	parse := func(n difftest.FDTNode, nodes int64) error {
		b := difftest.FDT{Root: difftest.FDTNode{Nodes: []difftest.FDTNode{n}}}.Bytes()
		in := &diff.Input{ReaderAt: bytes.NewReader(b), Size: int64(len(b)), Budget: diff.NewBudget(diff.Limits{MaxNodes: nodes})}
		_, err := devicetree.Parse(context.Background(), in)
		return err
	}
	if err := parse(deep, 0); err != nil {
		t.Errorf("64 levels: %v", err)
	}
	var limit *diff.LimitError
	if err := parse(deep, 300); !errors.As(err, &limit) || limit.Limit != "nodes" {
		t.Errorf("few sections allowed: %v", err)
	}
	deep = difftest.FDTNode{Name: "n", Nodes: []difftest.FDTNode{deep}}
	if err := parse(deep, 0); !errors.As(err, &limit) || limit.Limit != "depth" {
		t.Errorf("65 levels: %v", err)
	}
}

// Names that blocks have too do not make two siblings alike.
func TestFDTNames(t *testing.T) {
	props := []difftest.FDTProp{{Name: "strings"}, {Name: "header"}, {Name: "a"}, {Name: "a"}}
	root := lay(t, devicetree, difftest.FDT{Root: difftest.FDTNode{Props: props, Nodes: []difftest.FDTNode{{Name: "a", Props: props}}}}.Bytes())
	seen := map[string]bool{}
	walk(root, "", func(path string, _ *diff.Section) {
		if seen[path] {
			t.Errorf("two sections %q", path)
		}
		seen[path] = true
	})
	for _, path := range []string{"header/magic", "strings#2/value", "a#2/value", "a#3/a#2/value"} {
		if !seen[path] {
			t.Errorf("no section %q in %v", path, seen)
		}
	}
}
