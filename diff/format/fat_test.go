package format_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/format"
)

// diskLayout returns the sections of an image as its format gives them.
func diskLayout(t *testing.T, name string, b []byte) []diff.Section {
	t.Helper()
	by := recognise(b)
	if by == nil || by.Name != name {
		t.Fatalf("recognised as %v", by)
	}
	ss, err := by.Parse(context.Background(), input(b, diff.Limits{}))
	if err != nil {
		t.Fatal(err)
	}
	return ss
}

// diskRanges lists sections as "name off+len", those of a stream with its piece.
func diskRanges(ss []diff.Section) []string {
	var out []string
	for i := range ss {
		s := &ss[i]
		text := fmt.Sprintf("%s %d+%d", s.Name, s.Off, s.Len)
		if s.Part != nil {
			text += fmt.Sprintf(" piece %d of %s", s.Part.N, s.Part.Of.Name)
		}
		out = append(out, text)
		out = append(out, diskRanges(s.Children)...)
	}
	return out
}

func sameLines(t *testing.T, got []string, want string) {
	t.Helper()
	if w := strings.Split(strings.TrimSpace(want), "\n"); !slices.Equal(got, w) {
		t.Errorf("\n%s\nnot\n%s", strings.Join(got, "\n"), want)
	}
}

// Where everything stands, by hand.
func TestFATRanges(t *testing.T) {
	ss := diskLayout(t, "fat", difftest.SmallFAT(12).Bytes())
	sameLines(t, diskRanges(ss), `
boot sector 0+512
FAT 1 512+512
FAT 2 1024+512
. 1536+512
volume label 1536+32
BOOT 1568+32
README.TXT 1600+32
EMPTY 1632+32
PIECES.BIN 1664+32
after the last entry 1696+352
BOOT 2048+512
. 2048+32
.. 2080+32
Linux kernel.img 2112+96
after the last entry 2208+352
BOOT/Linux kernel.img 2560+512
content 2560+140
slack 2700+372
README.TXT 3072+512
content 3072+16
slack 3088+496
PIECES.BIN 3584+512
content 3584+512 piece 0 of PIECES.BIN
free clusters 4096+512
PIECES.BIN (run 2) 4608+512
content 4608+48 piece 1 of PIECES.BIN
slack 4656+464
free clusters#2 5120+1024
`)
	// Twelve bits an entry: the second of two that share a byte has it.
	sameLines(t, diskRanges(ss[2].Expand(nil)), `
first entries 1024+3
chain of BOOT 1027+1
chain of BOOT/Linux kernel.img 1028+2
chain of README.TXT 1030+1
chain of PIECES.BIN 1031+2
free 1033+1
chain of PIECES.BIN#2 1034+2
free#2 1036+3
after the last entry 1039+497
`)

	ss = diskLayout(t, "fat", difftest.SmallFAT(32).Bytes())
	sameLines(t, diskRanges(ss)[:9], `
boot sector 0+512
information sector 512+512
reserved sectors 1024+512
backup boot sector 1536+512
backup information sector 2048+512
FAT 1 2560+512
FAT 2 3072+512
. 3584+512
volume label 3584+32
`)
	sameLines(t, diskRanges(ss[5].Expand(nil)), `
first entries 2560+8
chain of . 2568+4
chain of BOOT 2572+4
chain of BOOT/Linux kernel.img 2576+4
chain of README.TXT 2580+4
chain of PIECES.BIN 2584+4
free 2588+4
chain of PIECES.BIN#2 2592+4
free#2 2596+4
after the last entry 2600+472
`)

	sameLines(t, diskRanges(diskLayout(t, "fat", piecesOfDirectory()))[6:9], `
DIR 2048+512 piece 0 of DIR
free clusters 2560+512
DIR (run 2) 3072+512 piece 1 of DIR
`)
}

// A root directory that does not fill its sectors, and a volume whose last sectors
// fill no cluster.
func TestFATRests(t *testing.T) {
	b := difftest.SmallFAT(12).Bytes()
	b[17] = 8 // entries of the root
	b[13] = 4 // sectors in a cluster
	b = append(b, make([]byte, 512)...)
	b[32]++ // sectors
	got := diskRanges(diskLayout(t, "fat", append(b, "behind the volume"...)))
	for _, want := range []string{"after the root directory 1792+256", "after the last cluster 6144+512"} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, strings.Join(got, "\n"))
		}
	}
	if last := got[len(got)-1]; last != "after the last cluster 6144+512" {
		t.Errorf("the last is %s", last)
	}
}

// Files that end before their clusters do, and after.
func TestFATSizes(t *testing.T) {
	for _, c := range []struct {
		size byte // of PIECES.BIN, in units of 256 bytes
		want string
	}{
		{0, "PIECES.BIN 3584+512, slack 3584+512, free clusters 4096+512, PIECES.BIN (run 2) 4608+512, slack 4608+512"},
		{1, "PIECES.BIN 3584+512, content 3584+256, slack 3840+256, free clusters 4096+512, PIECES.BIN (run 2) 4608+512, slack 4608+512"},
		{2, "PIECES.BIN 3584+512, content 3584+512, free clusters 4096+512, PIECES.BIN (run 2) 4608+512, slack 4608+512"},
		{4, "PIECES.BIN 3584+512, content 3584+512 piece 0 of PIECES.BIN, free clusters 4096+512, PIECES.BIN (run 2) 4608+512, content 4608+512 piece 1 of PIECES.BIN"},
		{9, "PIECES.BIN 3584+512, content 3584+512 piece 0 of PIECES.BIN, free clusters 4096+512, PIECES.BIN (run 2) 4608+512, content 4608+512 piece 1 of PIECES.BIN"},
	} {
		b := difftest.SmallFAT(12).Bytes()
		b[1664+28], b[1664+29] = 0, c.size
		ss := diskLayout(t, "fat", b)
		got := strings.Join(diskRanges(ss), ", ")
		if !strings.Contains(got, ", "+c.want+", free clusters#2") {
			t.Errorf("%d bytes: %s", 256*int(c.size), got)
		}
		note := ""
		for _, s := range ss {
			if s.Name == "PIECES.BIN" {
				note = s.Note
			}
		}
		if (note != "") != (c.size == 9) {
			t.Errorf("%d bytes: note %q", 256*int(c.size), note)
		}
	}
}

// Names that are there twice, or those of parts of the volume, stay apart.
func TestFATNames(t *testing.T) {
	f := difftest.FAT{Bits: 12, Clusters: 6, Files: []difftest.FATFile{
		{Path: "A", Data: []byte("1")},
		{Path: "A", Data: []byte("2")},
		{Path: "boot sector", Data: []byte("3")},
		{Path: "free clusters", Data: []byte("4")},
		{Path: "FAT 1", Data: []byte("5")},
	}}
	seen := map[string]bool{}
	for _, s := range diskLayout(t, "fat", f.Bytes()) {
		if seen[s.Name] {
			t.Errorf("two sections are named %q", s.Name)
		}
		seen[s.Name] = true
	}
	for _, name := range []string{"A", "A#2", "boot sector", "boot sector#2", "free clusters", "free clusters#2", "FAT 1", "FAT 1#2"} {
		if !seen[name] {
			t.Errorf("no section is named %q", name)
		}
	}
}

// A boot sector says which of its fields it has; where there is no id, code stands.
func TestFATBootSectors(t *testing.T) {
	for _, c := range []struct {
		sig  byte
		want string
	}{
		{0x29, "drive 36+1, state 37+1, extended signature 38+1, volume id 39+4, label 43+11, type 54+8, boot code 62+448, signature 510+2"},
		{0x28, "drive 36+1, state 37+1, extended signature 38+1, volume id 39+4, boot code 43+467, signature 510+2"},
		{0x00, "boot code 36+474, signature 510+2"},
	} {
		b := difftest.SmallFAT(12).Bytes()
		b[38] = c.sig
		ss := diskLayout(t, "fat", b)
		rows := ss[0].Expand(nil)
		if got := strings.Join(diskRanges(rows), ", "); !strings.HasSuffix(got, "large sectors 32+4, "+c.want) {
			t.Errorf("0x%02x: %s", c.sig, got)
		}
		for _, r := range rows {
			if (r.Spec != nil) != (r.Name == "volume id") {
				t.Errorf("0x%02x: %s: %+v", c.sig, r.Name, r.Spec)
			}
		}
	}
}

// Every byte of what mkfs.fat makes is claimed, but for what lies behind the volume.
func TestFATClaims(t *testing.T) {
	difftest.Tools(t, "mkfs.fat")
	for i, args := range []string{
		"-F 12 -C 1440", "-F 12 -s 4 -f 1 -C 2883", "-F 12 -r 100 -R 3 -C 1440", "-F 16 -a -s 8 -C 17001", "-F 16 -S 2048 -s 2 -C 33001",
		"-F 32 -C 34000", "-F 32 -s 1 -C 600", "-F 32 -R 64 -b 12 -C 34000", "-F 32 -S 4096 -s 1 -C 16384", "-F 12 --mbr=y -C 1440",
	} {
		path := filepath.Join(t.TempDir(), fmt.Sprint(i))
		words := strings.Fields(args)
		words = append(words[:len(words)-1:len(words)-1], path, words[len(words)-1])
		if out, err := exec.Command("mkfs.fat", words...).CombinedOutput(); err != nil {
			t.Fatalf("mkfs.fat %s: %v\n%s", args, err, out)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := int64(0)
		for _, s := range diskLayout(t, "fat", b) {
			if s.Off != at {
				t.Errorf("%s: %s at %d, not %d", args, s.Name, s.Off, at)
			}
			at = s.End()
		}
		if behind := int64(len(b)) - at; behind < 0 || behind >= 64<<10 || bytes.Count(b[at:], []byte{0}) != int(behind) {
			t.Errorf("%s: %d bytes behind the last", args, behind)
		}
	}
}

// What ends like a boot record and is none of a volume is not taken for one.
func TestFATForeign(t *testing.T) {
	for _, s := range difftest.Samples() {
		if by := recognise(s.Data); s.Format != "fat" && by != nil && by.Name == "fat" {
			t.Errorf("%s is taken for FAT", s.Name)
		}
	}
	for _, f := range format.All() {
		if f.Name == "mbr" && f.Detect(input(difftest.SmallFAT(12).Bytes(), diff.Limits{})) {
			t.Error("a boot sector of FAT is taken for a boot record")
		}
	}
}
