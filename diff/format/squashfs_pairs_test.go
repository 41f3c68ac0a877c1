package format_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/explain"
	"github.com/assaylab/assay/diff/format"
	"github.com/assaylab/assay/diff/ledger"
)

// squashCompare compares two images with all that is known.
func squashCompare(t *testing.T, ref, dep []byte) *ledger.Ledger {
	t.Helper()
	image := func(b []byte) diff.Image {
		return diff.Image{Name: "image", ReaderAt: bytes.NewReader(b), Size: int64(len(b))}
	}
	res, err := diff.Compare(t.Context(), image(ref), image(dep), diff.Options{
		Formats: format.All(), Rules: explain.All(), Codecs: format.Codecs(diff.Limits{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range res.Notes {
		t.Logf("note: %+v", n)
	}
	return res.Ledger
}

// accepted says whether nothing of an image stands unexplained, and logs what does.
func accepted(t *testing.T, l *ledger.Ledger) bool {
	t.Helper()
	for i := range l.Entries {
		if e := &l.Entries[i]; e.Verdict == ledger.Unexplained || e.Verdict == ledger.Moved {
			t.Logf("%s %d+%d of stream %d: %s %s", e.Path, e.Dep.Off, e.Dep.Len, e.Stream, e.Verdict, e.Note)
		}
	}
	for _, m := range l.Missing {
		t.Logf("missing %s %+v", m.Path, m.Ref)
	}
	return l.Totals.Unexplained == 0 && l.Totals.Moved == 0 && l.Totals.Missing == 0
}

const (
	squashThen = 1714558830
	squashNow  = 1717237232
)

// squashStyles are the ways in which a maker stores what it stores.
var squashStyles = []struct {
	name string
	set  func(*difftest.Squashfs)
}{
	{"compressed", func(*difftest.Squashfs) {}},
	{"tables stored", func(s *difftest.Squashfs) { s.StoreTables = true }},
	{"all stored", func(s *difftest.Squashfs) { s.StoreTables, s.StoreData, s.StoreFragments = true, true, true }},
	{"no fragments, no padding", func(s *difftest.Squashfs) { s.NoFragments, s.NoPad = true, true }},
}

// An image built at another time, in which a file tells that time: what it costs is
// that time, and nothing else differs.
func TestSquashfsTimes(t *testing.T) {
	for _, build := range []struct {
		name string
		of   func(uint32) difftest.Squashfs
	}{{"small", difftest.SmallSquashfs}, {"many", difftest.ManySquashfs}} {
		for _, style := range squashStyles {
			t.Run(build.name+" "+style.name, func(t *testing.T) {
				ref, dep := build.of(squashThen), build.of(squashNow)
				style.set(&ref)
				style.set(&dep)
				l := squashCompare(t, ref.Bytes(), dep.Bytes())
				if !accepted(t, l) || l.FreeBits != 32 {
					t.Errorf("%+v, %d bits", l.Totals, l.FreeBits)
				}
			})
		}
	}
}

// What whoever made an image may want to change, next to what is harmless.
func TestSquashfsAttacks(t *testing.T) {
	file := func(path string, change func(*difftest.SquashfsFile)) func(*difftest.Squashfs) {
		return func(s *difftest.Squashfs) {
			for i := range s.Files {
				if s.Files[i].Path == path {
					change(&s.Files[i])
				}
			}
		}
	}
	for _, test := range []struct {
		name   string
		change func(*difftest.Squashfs)
		bytes  func([]byte) []byte
		path   string // part of that under which it is reported
	}{
		{"setuid", file("bin/program", func(f *difftest.SquashfsFile) { f.Mode |= 0o4000 }), nil, "bin/program"},
		{"owner", file("etc/issue", func(f *difftest.SquashfsFile) { f.Owner = 0 }), nil, ""},
		{"code", file("bin/program", func(f *difftest.SquashfsFile) {
			f.Data = bytes.Clone(f.Data)
			copy(f.Data[5000:], "backdoor")
		}), nil, "bin/program"},
		{"tail of code", file("bin/program", func(f *difftest.SquashfsFile) {
			f.Data = bytes.Clone(f.Data)
			copy(f.Data[9000:], "backdoor")
		}), nil, "bin/program"},
		{"link", file("bin/sh", func(f *difftest.SquashfsFile) { f.Data = []byte("evil pr") }), nil, "bin/sh"},
		{"name", file("etc/issue", func(f *difftest.SquashfsFile) { f.Path = "etc/ISSUE" }), nil, ""},
		{"capability", file("bin/program", func(f *difftest.SquashfsFile) {
			f.Xattrs = append([]difftest.SquashfsXattr(nil), f.Xattrs...)
			f.Xattrs[0].Value = []byte("\x01\x00\x00\x02\xff\xff\xff\xff")
		}), nil, "xattr"},
		{"shared attribute", file("bin/program", func(f *difftest.SquashfsFile) {
			f.Xattrs = append([]difftest.SquashfsXattr(nil), f.Xattrs...)
			f.Xattrs[1].Value = []byte("A VALUE")
		}), nil, "xattr"},
		{"device", file("block", func(f *difftest.SquashfsFile) { f.Device = 0x802 }), nil, "block"},
		{"content of a hole", file("etc/hole", func(f *difftest.SquashfsFile) {
			f.Data = bytes.Clone(f.Data)
			copy(f.Data[100:], "backdoor")
		}), nil, ""},
		{"one more file", func(s *difftest.Squashfs) {
			s.Files = append(s.Files, difftest.SquashfsFile{Path: "bin/more", Mode: 0o104755, Time: s.Time, Data: []byte("backdoor")})
		}, nil, ""},
		{"one less", func(s *difftest.Squashfs) { s.Files = s.Files[:len(s.Files)-1] }, nil, ""},
		{"options", func(s *difftest.Squashfs) { s.Options = []byte{9, 0, 0, 0, 15, 0, 1, 0} }, nil, "compressor options"},
		{"padding", nil, func(b []byte) []byte { copy(b[len(b)-100:], "backdoor"); return b }, "padding"},
		{"after the end", nil, func(b []byte) []byte { return append(b, "backdoor"...) }, "tail"},
		{"unused field of a superblock", nil, func(b []byte) []byte { b[24] ^= 4; return b }, "flags"},
		{"between data and tables", nil, squashInsert, ""},
	} {
		for _, style := range squashStyles[:3] {
			for name, when := range map[string]uint32{"alone": squashThen, "with another time": squashNow} {
				t.Run(test.name+", "+style.name+", "+name, func(t *testing.T) {
					ref, dep := difftest.SmallSquashfs(squashThen), difftest.SmallSquashfs(when)
					if test.name == "options" {
						ref.Options = []byte{9, 0, 0, 0, 15, 0, 0, 0}
					}
					style.set(&ref)
					style.set(&dep)
					if test.change != nil {
						test.change(&dep)
					}
					b := dep.Bytes()
					if test.bytes != nil {
						b = test.bytes(b)
					}
					l := squashCompare(t, ref.Bytes(), b)
					named := test.path == ""
					for i := range l.Entries {
						e := &l.Entries[i]
						named = named || e.Verdict == ledger.Unexplained && strings.Contains(e.Path, test.path)
					}
					if accepted(t, l) || !named {
						t.Errorf("accepted or not named %q: %+v", test.path, l.Totals)
					}
				})
			}
		}
	}
}

// squashInsert puts a payload before the tables and moves what points to them.
func squashInsert(b []byte) []byte {
	le := binary.LittleEndian
	payload := []byte("backdoor")
	at := le.Uint64(b[64:])
	end := le.Uint64(b[40:])
	for _, list := range []int{48, 56, 80, 88} { // the lists of offsets, of one block each here
		if start := le.Uint64(b[list:]); start < end {
			if list == 56 {
				le.PutUint64(b[start:], le.Uint64(b[start:])+8)
				start += 16
			}
			le.PutUint64(b[start:], le.Uint64(b[start:])+8)
		}
	}
	for _, field := range []int{40, 48, 56, 64, 72, 80, 88} {
		if v := le.Uint64(b[field:]); v <= end {
			le.PutUint64(b[field:], v+8)
		}
	}
	out := append(append(bytes.Clone(b[:at]), payload...), b[at:end]...)
	return append(out, make([]byte, -len(out)&4095)...)
}

// Every byte of an image changed, one at a time: what is accepted is another time, at
// the price of one.
func TestSquashfsFlips(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprintf("stored %v", stored), func(t *testing.T) {
			s := difftest.SmallSquashfs(squashThen)
			s.StoreTables, s.StoreFragments, s.NoPad = stored, stored, true
			ref := s.Bytes()
			b := bytes.Clone(ref)
			times := 0
			for i := range b {
				b[i] ^= 0xff
				l := squashCompare(t, ref, b)
				if l.Totals.Unexplained == 0 && l.Totals.Missing == 0 && l.Totals.Moved == 0 {
					times++
					covers := false
					for k := range l.Entries {
						e := &l.Entries[k]
						covers = covers || e.Op == ledger.OpTime && e.Verdict == ledger.Explained
					}
					if !covers || l.FreeBits != 32 {
						t.Errorf("byte %d: %+v, %d bits", i, l.Totals, l.FreeBits)
					}
				}
				b[i] ^= 0xff
			}
			t.Logf("%d of %d bytes are times", times, len(b))
			if stored && times != 4*(1+len(s.Files)) {
				t.Errorf("%d bytes are times, of %d files", times, len(s.Files))
			}
		})
	}
}

// Tables changed at random, on either side: whatever the layout makes of them, the
// comparison comes to an end, and accepts no more than other times.
func TestSquashfsMutatedPairs(t *testing.T) {
	s := difftest.SmallSquashfs(squashThen)
	s.StoreTables, s.NoPad = true, true
	good := s.Bytes()
	start := int(binary.LittleEndian.Uint64(good[64:]))
	r := rand.New(rand.NewSource(1))
	for i := range 400 {
		bad := bytes.Clone(good)
		for range 1 + r.Intn(3) {
			at := start + r.Intn(len(bad)-start)
			if r.Intn(4) == 0 {
				at = 4 + r.Intn(92)
			}
			bad[at] = []byte{0, 1, 0xff, byte(r.Intn(256)), bad[at] ^ 1<<r.Intn(8)}[r.Intn(5)]
		}
		for _, pair := range [][2][]byte{{good, bad}, {bad, good}, {bad, bad}} {
			l := squashCompare(t, pair[0], pair[1])
			times := int64(0)
			for k := range l.Entries {
				if e := &l.Entries[k]; e.Op == ledger.OpTime {
					times++
				}
			}
			same := bytes.Equal(pair[0], pair[1])
			if l.Totals.Unexplained+l.Totals.Missing == 0 && l.FreeBits != 32*times || same && l.FreeBits+l.Totals.Unexplained > 0 {
				t.Fatalf("mutation %d: %+v, %d bits, %d times", i, l.Totals, l.FreeBits, times)
			}
		}
	}
}

// Two runs of mksquashfs over a tree in which nothing but times differs, one of them in
// the text of a file.
func TestSquashfsToolTimes(t *testing.T) {
	difftest.Tools(t, "mksquashfs")
	tree := squashTree(t, 300)
	made := func(args string, at uint32) []byte {
		image := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(filepath.Join(tree, "etc/release"), difftest.Firmware{Time: at}.Release(), 0o644); err != nil {
			t.Fatal(err)
		}
		when := fmt.Sprint(at)
		run(t, "", "", "mksquashfs", append([]string{tree, image, "-noappend", "-quiet", "-no-progress", "-mkfs-time", when, "-all-time", when}, strings.Fields(args)...)...)
		b, err := os.ReadFile(image)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, args := range []string{"-noI", "-noI -noD -noF -noX -noId", "", "-comp lzo", "-comp xz", "-comp lz4"} {
		t.Run(args, func(t *testing.T) {
			l := squashCompare(t, made(args, squashThen), made(args, squashNow))
			encoding := int64(0) // what no encoder here makes again
			for _, s := range l.Streams {
				encoding += s.Bits
			}
			if !accepted(t, l) || l.FreeBits-encoding != 32 {
				t.Errorf("%+v, %d bits, %d of them in encodings", l.Totals, l.FreeBits, encoding)
			}
			if encoding > 0 {
				t.Logf("%d bits in encodings", encoding)
			}
		})
	}
}
