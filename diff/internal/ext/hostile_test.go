package ext_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/internal/ext"
)

var le = binary.LittleEndian

// sample returns a small image: of blocks of 1 KiB with one group.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	for _, s := range difftest.Samples() {
		if s.Format == "ext" && s.Name == name {
			return bytes.Clone(s.Data)
		}
	}
	t.Fatalf("no sample %q", name)
	return nil
}

func parse(b []byte) (*ext.FS, error) {
	return ext.Parse(bytes.NewReader(b), int64(len(b)), func(int64) error { return nil })
}

func byPath(t *testing.T, fs *ext.FS, path string) *ext.Inode {
	t.Helper()
	for i := range fs.Inodes {
		if fs.Inodes[i].Path == path {
			return &fs.Inodes[i]
		}
	}
	t.Fatalf("no inode %q", path)
	return nil
}

// What a sample holds, to the block.
func TestSample(t *testing.T) {
	b := sample(t, "ext4")
	fs, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	sound(t, fs)
	var got []string
	for i := range fs.Inodes {
		if n := &fs.Inodes[i]; !strings.HasPrefix(n.Path, "[") {
			got = append(got, n.Path)
		}
	}
	want := ". null bin bin/tool etc etc/conf long short lost+found"
	for _, name := range strings.Fields(want) {
		if !strings.Contains(" "+strings.Join(got, " ")+" ", " "+name+" ") {
			t.Errorf("no %q among %q", name, got)
		}
	}
	tool, null := byPath(t, fs, "bin/tool"), byPath(t, fs, "null")
	if tool.Mode != 0o100755 || tool.Size != 3000 || null.Type() != ext.TypeChar || null.Block[0] != 3 || null.Block[1] != 1 {
		t.Errorf("%+v %+v", tool, null)
	}
	if fs.BlockSize != 1024 || fs.Blocks != 26 || len(fs.Groups) != 1 || !fs.HasSums() {
		t.Errorf("%+v", fs.Super)
	}
}

// What contradicts the skeleton is no filesystem.
func TestSkeleton(t *testing.T) {
	const sb, desc = 1024, 2048
	for name, edit := range map[string]func(b []byte) []byte{
		"no magic":              func(b []byte) []byte { b[sb+0x38]++; return b },
		"cut short":             func(b []byte) []byte { return b[:len(b)-1] },
		"no superblock":         func(b []byte) []byte { return b[:2047] },
		"huge blocks":           func(b []byte) []byte { b[sb+0x18] = 7; return b },
		"more blocks":           func(b []byte) []byte { b[sb+4]++; return b },
		"2^40 blocks":           func(b []byte) []byte { b[sb+0x151] = 1; return b },
		"no blocks in groups":   func(b []byte) []byte { le.PutUint32(b[sb+0x20:], 0); return b },
		"one block in groups":   func(b []byte) []byte { le.PutUint32(b[sb+0x20:], 1); return b },
		"many inodes":           func(b []byte) []byte { le.PutUint32(b[sb+0x28:], 1<<31); return b },
		"inodes of 0":           func(b []byte) []byte { b[sb+0x59] = 0; return b },
		"inodes of 384":         func(b []byte) []byte { b[sb+0x58] = 0x80; return b },
		"descriptors of 16":     func(b []byte) []byte { b[sb+0xfe] = 16; return b },
		"compressed":            func(b []byte) []byte { b[sb+0x60] |= 1; return b },
		"only a journal":        func(b []byte) []byte { b[sb+0x60] |= 8; return b },
		"bitmap outside":        func(b []byte) []byte { b[desc+1] = 1; return b },
		"bitmap far outside":    func(b []byte) []byte { b[desc+35] = 0xff; return b },
		"bitmap on another":     func(b []byte) []byte { copy(b[desc:desc+4], b[desc+4:]); return b },
		"inodes on superblock":  func(b []byte) []byte { b[desc+8] = 1; return b },
		"inodes over the end":   func(b []byte) []byte { b[desc+8] = 25; return b },
		"reserved descriptors":  func(b []byte) []byte { b[sb+0xce] = 200; return b },
		"mmp outside":           func(b []byte) []byte { b[sb+0x61] |= 1; le.PutUint64(b[sb+0x168:], 1<<63); return b },
		"meta groups from far":  func(b []byte) []byte { b[sb+0x60] |= 0x10; le.PutUint32(b[sb+0x104:], 1<<31); return b },
		"cluster below a block": func(b []byte) []byte { b[sb+0x65] |= 2; b[sb+0x18] = 1; return b },
		"cluster of 2^40":       func(b []byte) []byte { b[sb+0x65] |= 2; b[sb+0x1c] = 30; return b },
	} {
		if fs, err := parse(edit(sample(t, "ext4"))); err == nil {
			t.Errorf("%s: laid out, with %d claims", name, len(fs.Claims))
		}
	}
}

// What hangs from a sound skeleton may be broken: the rest is laid out.
func TestBroken(t *testing.T) {
	whole, err := parse(sample(t, "ext4"))
	if err != nil {
		t.Fatal(err)
	}
	at := func(path string) int64 { return byPath(t, whole, path).Off }
	tool, conf, etc := at("bin/tool"), at("etc/conf"), at("etc")
	const block, extent = 40, 12 // i_block in an inode, the first extent in it
	for _, c := range []struct {
		name string
		edit func(b []byte)
		path string // whose inode has a note
		note string
	}{
		{"two files share a block", func(b []byte) {
			copy(b[conf+block:], b[tool+block:tool+block+60])
		}, "etc/conf", "belong to another too"},
		{"an extent outside", func(b []byte) { b[conf+block+extent+9] = 0xff }, "etc/conf", "would be block"},
		{"an extent too long", func(b []byte) { b[conf+block+extent+4] = 200 }, "etc/conf", "would be block"},
		{"an extent of none", func(b []byte) { b[conf+block+extent+4] = 0 }, "etc/conf", "would be block"},
		{"no extent tree", func(b []byte) { b[conf+block] = 0 }, "etc/conf", "none"},
		{"too many extents", func(b []byte) { b[conf+block+2] = 9 }, "etc/conf", "none"},
		{"too deep", func(b []byte) { b[conf+block+6] = 6 }, "etc/conf", "none"},
		{"an index that is content", func(b []byte) { b[conf+block+6] = 1 }, "etc/conf", ""},
		{"extents out of order", func(b []byte) {
			b[tool+block+2] = 2
			copy(b[tool+block+2*extent:], b[tool+block+extent:tool+block+2*extent])
		}, "bin/tool", "out of order"},
		{"attributes outside", func(b []byte) { b[conf+107] = 1 }, "etc/conf", "attributes"},
		{"a directory in the superblock", func(b []byte) { b[etc+block+extent+8] = 1 }, "etc", "belong to another too"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := sample(t, "ext4")
			c.edit(b)
			fs, err := parse(b)
			if err != nil {
				t.Fatal(err)
			}
			tiles(t, fs)
			for i := range fs.Inodes {
				n := &fs.Inodes[i]
				if n.Path == c.path || n.Off == etc && c.path == "etc" {
					if !n.Broken || !strings.Contains(n.Note, c.note) || n.Note == "" {
						t.Errorf("%+v", n)
					}
				}
			}
		})
	}
}

// Directories that lead to each other, or to themselves, end.
func TestCycle(t *testing.T) {
	b := sample(t, "ext4")
	fs, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	tool, etc := byPath(t, fs, "bin/tool"), byPath(t, fs, "etc")
	for _, c := range fs.Claims {
		if c.Kind == ext.Directory {
			dir := b[c.Block*1024:][:1024]
			entries, _ := fs.Entries(dir)
			for _, e := range entries {
				switch string(e.Name) {
				case "tool", "conf":
					le.PutUint32(dir[e.Off:], etc.Num)
				}
			}
		}
	}
	if fs, err = parse(b); err != nil {
		t.Fatal(err)
	}
	tiles(t, fs)
	if n := fs.Inode(tool.Num); n.Path != "[inode "+strconv.Itoa(int(tool.Num))+"]" {
		t.Errorf("nothing leads to %q", n.Path)
	}
	if n := fs.Inode(etc.Num); n.Path != "etc" {
		t.Errorf("%q", n.Path)
	}
}

// A limit ends the work wherever it strikes.
func TestLimit(t *testing.T) {
	b := sample(t, "ext4")
	stop := errors.New("enough")
	total := int64(0)
	if _, err := ext.Parse(bytes.NewReader(b), int64(len(b)), func(n int64) error { total += n; return nil }); err != nil {
		t.Fatal(err)
	}
	for limit := range total {
		left := limit
		_, err := ext.Parse(bytes.NewReader(b), int64(len(b)), func(n int64) error {
			if left -= n; left < 0 {
				return stop
			}
			return nil
		})
		if !errors.Is(err, stop) {
			t.Fatalf("limit %d of %d: %v", limit, total, err)
		}
	}
}

// bounded lays b out, checks that blocks are tiled and that what is made is in
// proportion to the image.
func bounded(t *testing.T, b []byte) {
	t.Helper()
	const perByte, base = 64, 1 << 20
	allocated := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	before, spent := allocated(), int64(0)
	fs, err := ext.Parse(bytes.NewReader(b), int64(len(b)), func(n int64) error { spent += n; return nil })
	if n := allocated() - before; n > base+perByte*uint64(len(b)) {
		t.Errorf("%d bytes allocated for %d", n, len(b))
	}
	if spent > int64(len(b))/16 {
		t.Errorf("%d claims, groups and inodes in %d bytes", spent, len(b))
	}
	if err != nil {
		return
	}
	tiles(t, fs)
	for i := range fs.Inodes {
		n := &fs.Inodes[i]
		if n.Path == "" {
			t.Errorf("inode %d has no path", n.Num)
		}
		inode := b[n.Off:][:fs.InodeSize]
		for _, a := range ext.InodeAttributes(inode, n.Extra) {
			if a.Value.End() > fs.InodeSize || a.Entry.End() > fs.InodeSize {
				t.Errorf("attribute %+v outside of %d bytes", a, fs.InodeSize)
			}
		}
	}
}

// Every byte of every sample, changed.
func TestFlips(t *testing.T) {
	for _, name := range []string{"ext4", "ext2", "ext4 inline"} {
		b := sample(t, name)
		for i := range b {
			if b[i] == 0 && i%7 != 0 {
				continue
			}
			old := b[i]
			for _, v := range []byte{old ^ 1, ^old} {
				b[i] = v
				bounded(t, b)
			}
			b[i] = old
			if t.Failed() {
				t.Fatalf("%s: byte %d", name, i)
			}
		}
	}
}

// Seeded mutations: ASSAY_MUTATIONS says how many, 2,000 if it is not set.
func TestMutations(t *testing.T) {
	n := 2000
	if v := os.Getenv("ASSAY_MUTATIONS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"ext4", "ext2", "ext4 inline"}
	var clean [][]byte
	for _, name := range names {
		clean = append(clean, sample(t, name))
	}
	r := rand.New(rand.NewPCG(5, 5))
	brink := []uint32{0, 1, 2, 0x7fff, 0x8000, 0xffff, 1 << 31, 1<<31 - 1, 1<<32 - 1}
	for i := range n {
		b := bytes.Clone(clean[i%len(clean)])
		for range 1 + r.IntN(6) {
			at := r.IntN(len(b)-8) &^ 3
			if r.IntN(2) == 0 {
				at = 1024 + r.IntN(12288-1024)&^3 // superblock to inode table
			}
			switch r.IntN(5) {
			case 0:
				b[at] ^= 1 << r.IntN(8)
			case 1:
				le.PutUint32(b[at:], brink[r.IntN(len(brink))])
			case 2:
				le.PutUint32(b[at:], uint32(r.IntN(32)))
			case 3:
				le.PutUint16(b[at:], uint16(r.Uint32()))
			case 4: // something from elsewhere
				from := r.IntN(len(b)-64) &^ 3
				copy(b[at:min(len(b), at+4+r.IntN(60))], b[from:])
			}
		}
		bounded(t, b)
		if t.Failed() {
			t.Fatalf("mutation %d of %s", i, names[i%len(names)])
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"ext4", "ext2", "ext4 inline"} {
		f.Add(sample(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 1<<20 {
			bounded(t, b)
		}
	})
}
