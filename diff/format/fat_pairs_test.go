package format_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/explain"
	"github.com/assaylab/assay/diff/format"
	"github.com/assaylab/assay/diff/ledger"
)

// diskCompare compares two images by all formats and rules.
func diskCompare(t *testing.T, ref, dep []byte) *diff.Result {
	t.Helper()
	image := func(b []byte) diff.Image {
		return diff.Image{Name: "image", ReaderAt: bytes.NewReader(b), Size: int64(len(b))}
	}
	rules := explain.All()
	if !slices.ContainsFunc(rules, func(r *diff.Rule) bool { return slices.Contains(r.Ops, ledger.OpUUID) }) {
		rules = append(rules, &diff.Rule{Name: "id", Ops: []ledger.Op{ledger.OpUUID}, Because: "an id"})
	}
	res, err := diff.Compare(context.Background(), image(ref), image(dep),
		diff.Options{Formats: format.All(), Rules: rules, Codecs: format.Codecs(diff.Limits{})})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// diskAccepted says whether nothing is left that the reference does not account for.
func diskAccepted(l *ledger.Ledger) bool {
	return l.Totals.Unexplained == 0 && l.Totals.Moved == 0 && l.Totals.Missing == 0
}

// diskAccused checks that byte off of the deployed image is unexplained, under a path; or
// the stream that it is carried in has such bytes under that path.
func diskAccused(t *testing.T, res *diff.Result, off int64, path string) {
	t.Helper()
	if diskAccepted(res.Ledger) {
		t.Errorf("accepted: %+v", res.Ledger.Totals)
	}
	for _, e := range res.Ledger.Entries {
		if e.Stream == 0 && e.Dep.Off <= off && off < e.Dep.End() {
			carried := e.Verdict == ledger.Carried && slices.ContainsFunc(res.Ledger.Entries, func(in ledger.Entry) bool {
				return in.Stream == e.Carry && in.Verdict == ledger.Unexplained && in.Path == path
			})
			if !carried && (e.Verdict != ledger.Unexplained || e.Path != path) {
				t.Errorf("byte %d is %v in %q, not unexplained in %q", off, e.Verdict, e.Path, path)
			}
			return
		}
	}
	t.Errorf("no entry of byte %d", off)
}

// diskExplained checks that a difference is explained for exactly so many bits.
func diskExplained(t *testing.T, ref, dep []byte, bits int64) {
	t.Helper()
	l := diskCompare(t, ref, dep).Ledger
	if bytes.Equal(ref, dep) || !diskAccepted(l) || l.Totals.Explained == 0 || l.FreeBits != bits {
		t.Errorf("%d bits, not %d: %+v", l.FreeBits, bits, l.Totals)
		for _, e := range l.Entries {
			if e.Verdict != ledger.Identical {
				t.Logf("%v %s %s %+v %d bits", e.Verdict, e.Path, e.Rule, e.Dep, e.Bits)
			}
		}
	}
}

// A diskHidden is a payload: n bytes at off.
type diskHidden struct {
	what string
	off  int64
	n    int
	path string
}

// in writes a payload into a copy of an image.
func (h diskHidden) in(b []byte) []byte {
	b = bytes.Clone(b)
	for i := range h.n {
		b[h.off+int64(i)] ^= byte(0x07 + i)
	}
	return b
}

// otherFAT is the same volume made at another time, with another id.
func otherFAT(f difftest.FAT) difftest.FAT {
	f.ID, f.Time = 0x99887766, 0x58b2_6304
	return f
}

func TestFATHidden(t *testing.T) {
	// FAT12: tables at 512 and 1024, the root at 1536, cluster 2 at 2048. BOOT has
	// cluster 2, its file 3, README.TXT 4, PIECES.BIN 5 and 7.
	small := []diskHidden{
		{"boot code", 200, 30, "boot sector:boot code"},
		{"label in the boot sector", 43, 3, "boot sector:label"},
		{"medium", 21, 1, "boot sector:medium"},
		{"the first table after its last entry", 512 + 400, 40, "FAT 1:after the last entry"},
		{"the first table after the entry of a free cluster", 512 + 13, 1, "FAT 1:free#2"},
		{"the second table", 1024 + 4, 1, "FAT 2:chain of BOOT/Linux kernel.img"},
		{"the second table after its last entry", 1024 + 400, 40, "FAT 2:after the last entry"},
		{"after the end of the root", 1536 + 192, 64, ".:after the last entry"},
		{"read-only", 1536 + 2*32 + 11, 1, "./README.TXT:attributes"},
		{"case", 1536 + 2*32 + 12, 1, "./README.TXT:case"},
		{"size", 1536 + 2*32 + 28, 1, "./README.TXT:size"},
		{"the label's cluster", 1536 + 26, 2, "./volume label:first cluster"},
		{"after the end of a directory", 2048 + 320, 64, "BOOT:after the last entry"},
		{"checksum of a long name", 2048 + 64 + 13, 1, "BOOT:stray long name"},
		{"filler of a long name", 2048 + 64 + 30, 2, "BOOT/Linux kernel.img:long name 2"},
		{"content", 2560 + 5, 3, "BOOT/Linux kernel.img"},
		{"slack", 3072 + 100, 60, "README.TXT:slack"},
		{"second piece", 4608 + 5, 3, "PIECES.BIN"},
		{"slack of the second piece", 4608 + 100, 60, "PIECES.BIN (run 2):slack"},
		{"a free cluster between", 4096, 60, "free clusters"},
		{"free clusters", 5120 + 700, 60, "free clusters#2"},
	}
	// FAT32: the information sector at 512, copies at 1536 and 2048, the tables at
	// 2560 and 3072, the root in cluster 2 at 3584.
	large := []diskHidden{
		{"boot code", 200, 30, "boot sector:boot code"},
		{"reserved field", 52, 12, "boot sector:reserved"},
		{"information sector", 512 + 100, 60, "information sector:reserved"},
		{"free clusters", 512 + 488, 4, "information sector:free clusters"},
		{"reserved sector", 1024 + 30, 60, "reserved sectors"},
		{"backup", 1536 + 200, 30, "backup boot sector:boot code"},
		{"backup of the information sector", 2048 + 100, 60, "backup information sector:reserved"},
		{"a chain of no file", 2560 + 4*7 + 3, 1, "FAT 1:lost"},
		{"upper half of a cluster's number", 3584 + 2*32 + 21, 1, "./README.TXT:first cluster, high"},
		{"after the end of the root", 3584 + 192, 64, ".:after the last entry"},
	}
	for _, v := range []struct {
		bits   int
		hidden []diskHidden
	}{{12, small}, {32, large}} {
		f := difftest.SmallFAT(v.bits)
		ref := f.Bytes()
		for _, h := range v.hidden {
			t.Run(h.what, func(t *testing.T) {
				diskAccused(t, diskCompare(t, ref, h.in(ref)), h.off, h.path)
				diskAccused(t, diskCompare(t, ref, h.in(otherFAT(f).Bytes())), h.off, h.path)
			})
		}
	}
}

// What was deleted is compared like all else.
func TestFATDeleted(t *testing.T) {
	ref := difftest.SmallFAT(12).Bytes()
	ref[1536+3*32] = 0xe5 // EMPTY
	for _, at := range []int64{1, 15, 24, 30} {
		h := diskHidden{"", 1536 + 3*32 + at, 1, ".:deleted entry"}
		diskAccused(t, diskCompare(t, ref, h.in(ref)), h.off, h.path)
	}
}

// A copy of the table that says something else is told on the side that has it.
func TestFATCopies(t *testing.T) {
	ref := difftest.SmallFAT(12).Bytes()
	dep := diskHidden{"", 1024 + 12, 1, ""}.in(ref)
	res := diskCompare(t, ref, dep)
	if !slices.ContainsFunc(res.Notes, func(n diff.Note) bool {
		return n.Side == "deployed" && n.Path == "FAT 2" && strings.Contains(n.Text, "differs from FAT 1, which is in use, from byte 12")
	}) {
		t.Errorf("notes %+v", res.Notes)
	}
}

// A time where the reference has none, or one that is none.
func TestFATTimes(t *testing.T) {
	const written = 1536 + 2*32 + 22
	ref := difftest.SmallFAT(12).Bytes()
	set := func(b []byte, time, date uint16) []byte {
		b = bytes.Clone(b)
		binary.LittleEndian.PutUint16(b[written:], time)
		binary.LittleEndian.PutUint16(b[written+2:], date)
		return b
	}
	diskExplained(t, ref, set(ref, 0x6304, 0x58b2), 32)
	for _, bad := range [][2]uint16{
		{0x6304, 0}, {0x6304, 0x58a0}, {0x6304, 0x59a2}, {0xc304, 0x58b2}, {0x677f, 0x58b2}, {0x631e, 0x58b2},
	} {
		if l := diskCompare(t, ref, set(ref, bad[0], bad[1])).Ledger; diskAccepted(l) {
			t.Errorf("accepted: time 0x%04x, date 0x%04x", bad[0], bad[1])
		}
		if l := diskCompare(t, set(ref, bad[0], bad[1]), ref).Ledger; diskAccepted(l) {
			t.Errorf("accepted where the reference has none: time 0x%04x, date 0x%04x", bad[0], bad[1])
		}
	}
}

// Contents that changed places are told by path.
func TestFATSwapped(t *testing.T) {
	f := difftest.FAT{Bits: 12, Clusters: 4, Time: 0x58a1_5282, Files: []difftest.FATFile{
		{Path: "A.BIN", Data: bytes.Repeat([]byte("run this"), 64)}, {Path: "B.BIN", Data: bytes.Repeat([]byte("not that"), 64)},
	}}
	ref := f.Bytes()
	f.Files[0].Data, f.Files[1].Data = f.Files[1].Data, f.Files[0].Data
	l := diskCompare(t, ref, f.Bytes()).Ledger
	var paths []string
	for _, e := range l.Entries {
		if e.Verdict == ledger.Unexplained || e.Verdict == ledger.Moved {
			paths = append(paths, e.Path)
		}
	}
	if paths = slices.Compact(paths); diskAccepted(l) || !slices.Equal(paths, []string{"A.BIN", "B.BIN"}) {
		t.Errorf("%q: %+v", paths, l.Totals)
	}
}

// The same files at another time, in a volume of another id: 32 bits each. The day
// of access is the day of that time.
func TestFATBenign(t *testing.T) {
	for _, bits := range []int{12, 32} {
		f := difftest.SmallFAT(bits)
		diskExplained(t, f.Bytes(), otherFAT(f).Bytes(), 64)
	}
}

// A date in a file that stands in pieces is a date, also across their border.
func TestFATPieces(t *testing.T) {
	for _, before := range []int{100, 505, 600} {
		file := func(date string) []byte {
			data := strings.Repeat("x", before-1) + " " + date + " " + strings.Repeat("y", 300)
			return difftest.FAT{Bits: 12, Clusters: 6, Time: 0x58a1_5282, Files: []difftest.FATFile{
				{Path: "RELEASE", Data: []byte(data), Apart: true},
			}}.Bytes()
		}
		diskExplained(t, file("2024-05-01 10:20:30"), file("2024-06-02 11:21:31"), 32)
	}
}

// A directory in pieces is one: an entry may stand across their border.
func TestFATDirectoryPieces(t *testing.T) {
	ref := piecesOfDirectory()
	dep := bytes.Clone(ref)
	n := 0
	for i := range dep[:len(dep)-1] {
		if dep[i] == 0xa1 && dep[i+1] == 0x58 { // every date
			dep[i] = 0xb2
			n++
		}
	}
	diskExplained(t, ref, dep, 32)
	l := diskCompare(t, ref, dep).Ledger
	if l.Totals.Explained+l.Totals.Carried == 0 || n < 30 {
		t.Errorf("%d dates: %+v", n, l.Totals)
	}
	// The short entry of the file whose long name ends the first piece.
	h := diskHidden{off: 2048 + 2*512 + 11, n: 1}
	res := diskCompare(t, ref, h.in(dep))
	if diskAccepted(res.Ledger) {
		t.Fatal("accepted")
	}
	if !slices.ContainsFunc(res.Ledger.Entries, func(e ledger.Entry) bool {
		return e.Verdict == ledger.Unexplained && e.Path == "DIR>A long name across.txt:attributes"
	}) {
		for _, e := range res.Ledger.Entries {
			t.Logf("%v %q %+v", e.Verdict, e.Path, e.Dep)
		}
		t.Error("the attributes are not accused")
	}
}

// piecesOfDirectory returns a volume with a directory in clusters 2 and 4, where the
// parts of a long name end one and its entry begins the other.
func piecesOfDirectory() []byte {
	f := difftest.FAT{Bits: 12, Clusters: 5, Time: 0x58a1_5282, Files: []difftest.FATFile{{Path: "DIR/"}}}
	for i := range 12 {
		f.Files = append(f.Files, difftest.FATFile{Path: "DIR/F" + string(rune('A'+i))})
	}
	b := f.Bytes()
	// Twelve files and two links take 14 of 16 entries; two parts follow.
	long := difftest.FAT{Bits: 12, Clusters: 5, Time: f.Time, Files: []difftest.FATFile{{Path: "DIR/"}, {Path: "DIR/A long name across.txt"}}}.Bytes()
	copy(b[2048+14*32:], long[2048+2*32:][:64])
	copy(b[2048+2*512:], long[2048+4*32:][:32])
	for _, table := range []int{512, 1024} {
		// Entry 2 is 4, entry 4 the end.
		b[table+3], b[table+4] = 0x04, b[table+4]&0xf0
		b[table+6], b[table+7] = 0xff, b[table+7]|0x0f
	}
	return b
}

// Two runs of the tools at two times: what differs is the volume's id and the times.
func TestFATTools(t *testing.T) {
	difftest.Tools(t, "mkfs.fat", "mcopy", "mmd")
	run := func(epoch, name string, args ...string) {
		c := exec.Command(name, args...)
		c.Env = append(os.Environ(), "TZ=UTC", "SOURCE_DATE_EPOCH="+epoch, "MTOOLS_SKIP_CHECK=1")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	dir := t.TempDir()
	content := filepath.Join(dir, "content")
	if err := os.WriteFile(content, bytes.Repeat([]byte("content\n"), 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bits := range []string{"12", "16", "32"} {
		make := func(epoch, id string) []byte {
			path := filepath.Join(dir, bits+id)
			size := map[string]string{"12": "1440", "16": "8192", "32": "40960"}[bits]
			run(epoch, "mkfs.fat", "-C", "-F", bits, "-s", "1", "-n", "ASSAY", "-i", id, path, size)
			run(epoch, "mmd", "-i", path, "::/EFI", "::/EFI/boot loader")
			run(epoch, "mcopy", "-i", path, content, "::/EFI/boot loader/a long name.efi")
			run(epoch, "mcopy", "-i", path, content, "::/KERNEL")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		ref, dep := make("1700000000", "12345678"), make("1710000000", "87654321")
		l := diskCompare(t, ref, dep).Ledger
		if !diskAccepted(l) || l.Totals.Explained == 0 || l.FreeBits < 64 || l.FreeBits > 128 {
			t.Errorf("FAT%s: %d bits: %+v", bits, l.FreeBits, l.Totals)
			for _, e := range l.Entries {
				if e.Verdict != ledger.Identical {
					t.Logf("%v %s %+v %d bits", e.Verdict, e.Path, e.Dep, e.Bits)
				}
			}
		}
	}
}
