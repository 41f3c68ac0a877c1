package format

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/ledger"
)

func TestUImage(t *testing.T) {
	u := difftest.SmallUImage()
	u.Tail = []byte("tail")
	b := u.Bytes()
	root := lay(t, uimage, b)
	for path, want := range map[string]ledger.Range{
		"header":       {Off: 0, Len: 64},
		"header/hcrc":  {Off: 4, Len: 4},
		"header/time":  {Off: 8, Len: 4},
		"header/size":  {Off: 12, Len: 4},
		"header/dcrc":  {Off: 24, Len: 4},
		"header/name":  {Off: 32, Len: 32},
		"payload":      {Off: 64, Len: 26},
		"header/magic": {Off: 0, Len: 4},
	} {
		if got := at(t, root, path).Range(); got != want {
			t.Errorf("%s at %v, want %v", path, got, want)
		}
	}
	if !at(t, root, "payload").Open {
		t.Error("the payload is not to be opened")
	}
	if n := specs(root); n != 4 {
		t.Errorf("%d Specs, want those of hcrc, time, size and dcrc", n)
	}
	if len(root.Children) != 2 {
		t.Errorf("the tail is claimed: %+v", root.Children)
	}
}

func TestUImageMulti(t *testing.T) {
	u := difftest.SmallUImage()
	u.Type, u.Parts = 4, [][]byte{[]byte("abcde"), []byte("fgh")}
	b := u.Bytes()
	root := lay(t, uimage, b)
	for path, want := range map[string]ledger.Range{
		"payload":              {Off: 64, Len: 12 + 8 + 3},
		"payload/sizes":        {Off: 64, Len: 12},
		"payload/sizes/part 2": {Off: 68, Len: 4},
		"payload/sizes/end":    {Off: 72, Len: 4},
		"payload/part 1":       {Off: 76, Len: 5},
		"payload/padding 1":    {Off: 81, Len: 3},
		"payload/part 2":       {Off: 84, Len: 3},
	} {
		if got := at(t, root, path).Range(); got != want {
			t.Errorf("%s at %v, want %v", path, got, want)
		}
	}
	if n := specs(root); n != 4+2+1 {
		t.Errorf("%d Specs, want two sizes and a padding more", n)
	}

	for _, n := range []uint32{4, 12, 1 << 31, 1<<32 - 1} { // a part that runs out of the payload
		c := bytes.Clone(b)
		binary.BigEndian.PutUint32(c[68:], n)
		payload := at(t, lay(t, uimage, c), "payload")
		if payload.Children != nil || payload.Note == "" {
			t.Errorf("second part of %d bytes: %+v", n, payload)
		}
	}
}

func TestUImageRefused(t *testing.T) {
	b := difftest.SmallUImage().Bytes()
	huge := bytes.Clone(b)
	binary.BigEndian.PutUint32(huge[12:], 1<<32-1)
	for name, c := range map[string][]byte{"cut in the header": b[:63], "cut in the payload": b[:80], "a huge size": huge} {
		in := &diff.Input{ReaderAt: bytes.NewReader(c), Size: int64(len(c)), Budget: diff.NewBudget(diff.Limits{})}
		if got, err := uimage.Parse(context.Background(), in); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	wrong := bytes.Clone(b)
	wrong[40] ^= 1
	if s := at(t, lay(t, uimage, wrong), "header"); s.Note == "" {
		t.Error("no note of the wrong header checksum")
	}
}
