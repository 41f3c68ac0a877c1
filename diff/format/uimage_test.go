package format

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
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
	if n := specs(t, root, b); n != 4 {
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
	specs(t, root, b)

	for _, n := range []uint32{4, 12, 1 << 31, 1<<32 - 1} { // a part that runs out of the payload
		c := bytes.Clone(b)
		binary.BigEndian.PutUint32(c[68:], n)
		payload := at(t, lay(t, uimage, c), "payload")
		if n == 4 { // takes the tail of the payload too, but for nothing
			c = append(c, 0)
		}
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

// mkimage must write what difftest writes, time and all.
func TestUImageAgainstMkimage(t *testing.T) {
	mkimage, err := exec.LookPath("mkimage")
	if err != nil {
		t.Skip("mkimage is not installed")
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := difftest.SmallUImage()
	multi := plain
	multi.Type, multi.Parts = 4, [][]byte{[]byte("kernel"), []byte("ramdisk!"), []byte("tree.")}
	script := plain
	script.Type, script.Parts = 6, [][]byte{[]byte("bootm 0x80000\n")}
	for _, test := range []struct {
		kind, data string
		image      difftest.UImage
	}{
		{"kernel", write("plain", string(plain.Payload)), plain},
		{"multi", write("a", "kernel") + ":" + write("b", "ramdisk!") + ":" + write("c", "tree."), multi},
		{"script", write("s", "bootm 0x80000\n"), script},
	} {
		out := filepath.Join(dir, "out")
		cmd := exec.Command(mkimage, "-A", "arm64", "-O", "linux", "-T", test.kind, "-C", "none",
			"-a", "0x80000", "-e", "0x80000", "-n", "assay kernel", "-d", test.data, out)
		cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1714558830")
		if msg, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", test.kind, err, msg)
		}
		got, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if want := test.image.Bytes(); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got % x\nwant % x", test.kind, got, want)
		}
		specs(t, lay(t, uimage, got), got)
	}
}
