package fat_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/internal/fat"
)

// What a small volume holds, by hand: cluster 2 is BOOT, 3 its file, 4 README.TXT, 5
// and 7 PIECES.BIN; on FAT32 all of them one further, behind the root.
func TestSmall(t *testing.T) {
	for _, bits := range []int{12, 32} {
		shift, root := uint32(0), []fat.Run(nil)
		if bits == 32 {
			shift, root = 1, []fat.Run{{First: 2, N: 1}}
		}
		v, err := parse(difftest.SmallFAT(bits).Bytes())
		if err != nil {
			t.Fatal(err)
		}
		at := func(clusters ...uint32) (out []fat.Run) {
			for _, c := range clusters {
				out = append(out, fat.Run{First: c + shift, N: 1})
			}
			return out
		}
		for i, want := range []fat.File{
			{Path: ".", Dir: true, Size: 512, Runs: root, Used: 160},
			{Path: "BOOT", Dir: true, Attr: 0x10, Size: 512, Runs: at(2), Used: 160},
			{Path: "README.TXT", Attr: 0x21, Size: 16, Runs: at(4)},
			{Path: "EMPTY", Attr: 0x20},
			{Path: "PIECES.BIN", Attr: 0x20, Size: 560, Runs: at(5, 7)},
			{Path: "BOOT/Linux kernel.img", Attr: 0x20, Size: 140, Runs: at(3)},
		} {
			got := v.Files[i]
			if got.Path != want.Path || got.Dir != want.Dir || got.Attr != want.Attr || got.Size != want.Size ||
				!slices.Equal(got.Runs, want.Runs) || got.Used != want.Used || got.Note != "" {
				t.Errorf("FAT%d: %+v, not %+v", bits, got, want)
			}
		}
		if len(v.Files) != 6 {
			t.Errorf("%d files", len(v.Files))
		}
		var names []string
		for _, e := range v.Files[1].Entries {
			names = append(names, e.Name)
		}
		if strings.Join(names, " ") != ". .. Linux kernel.img" {
			t.Errorf("%q", names)
		}
	}
}

// A patch changes bytes of a small FAT12 volume: its table is at 512, its root at
// 1536, cluster 2 at 2048.
type patch struct {
	at    int
	bytes string
}

// Whatever a table or a directory says, a cluster is of one file, and what is wrong
// is told.
func TestHostile(t *testing.T) {
	entry := func(cluster int, v uint16) []patch { // of the small table
		b := difftest.SmallFAT(12).Bytes()[512:]
		at := cluster * 3 / 2
		n := binary.LittleEndian.Uint16(b[at:])
		if cluster%2 == 1 {
			n = n&0x000f | v<<4
		} else {
			n = n&0xf000 | v
		}
		return []patch{{512 + at, string(binary.LittleEndian.AppendUint16(nil, n))}}
	}
	for _, c := range []struct {
		what    string
		patches []patch
		path    string // of the file that has a note
		note    string
		kinds   string // of areas
	}{
		{"a chain to its own start", entry(7, 5), "PIECES.BIN", `runs into cluster 5, which belongs to "PIECES.BIN"`, "oooofof"},
		{"a chain into another", entry(5, 3), "BOOT/Linux kernel.img", `runs into cluster 3, which belongs to "PIECES.BIN"`, ""},
		{"a chain out of the volume", entry(5, 999), "PIECES.BIN", "leaves the volume: to cluster 999, after 1 clusters", ""},
		{"a chain to nowhere", entry(5, 0), "PIECES.BIN", "leaves the volume: to cluster 0", ""},
		{"a chain to the reserved cluster", entry(5, 1), "PIECES.BIN", "leaves the volume: to cluster 1", ""},
		{"a bad cluster in a chain", entry(5, 0xff7), "PIECES.BIN", "leaves the volume: to cluster 268435447", ""},
		{"a chain too short", entry(5, 0xfff), "PIECES.BIN", "560 bytes, but its clusters hold 512", ""},
		{"a bad cluster", entry(6, 0xff7), "", "", "oooobof"},
		{"a lost cluster", entry(6, 0xfff), "", "", "oooolof"},
		{"a directory that is its own", []patch{{2048 + 128 + 11, "\x10"}, {2048 + 128 + 26, "\x02\x00"}}, "BOOT", `"Linux kernel.img": its chain runs into cluster 2, which belongs to "BOOT"`, ""},
		{"a link to above that is elsewhere", []patch{{2048 + 32 + 26, "\x06\x00"}}, "", "", "oooofof"},
		{"a link to above that is not in its place", []patch{{2048 + 128, "..         \x10"}, {2048 + 128 + 26, "\x06\x00"}}, "BOOT/..", "leaves the volume: to cluster 0, after 1 clusters", "oloooof"},
		{"a size without clusters", []patch{{1536 + 3*32 + 28, "\x05"}}, ".", `"EMPTY": 5 bytes, but its clusters hold 0`, ""},
		{"a directory without clusters", []patch{{1536 + 3*32 + 11, "\x10"}}, ".", `"EMPTY": a directory without clusters`, ""},
		{"a file that begins elsewhere", []patch{{1536 + 2*32 + 26, "\xff\xff"}}, ".", `"README.TXT": its chain leaves the volume: to cluster 65535, after 0 clusters`, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := difftest.SmallFAT(12).Bytes()
			for _, p := range c.patches {
				copy(b[p.at:], p.bytes)
			}
			v, err := parse(b)
			if err != nil {
				t.Fatal(err)
			}
			sound(t, v)
			for i := range v.Files {
				f := &v.Files[i]
				if f.Path == c.path && !strings.Contains(f.Note, c.note) || c.path == "" && f.Note != "" {
					t.Errorf("%s: note %q", f.Path, f.Note)
				}
			}
			var kinds []byte
			for _, a := range v.Areas {
				kinds = append(kinds, "ofbl"[a.Kind])
			}
			if c.kinds != "" && c.kinds != string(kinds) {
				t.Errorf("areas %s, not %s", kinds, c.kinds)
			}
		})
	}
}

// Long names that are not whole, or not of the entry behind them.
func TestLongNames(t *testing.T) {
	const first, second, short = 2048 + 64, 2048 + 96, 2048 + 128
	for _, c := range []struct {
		what    string
		patches []patch
		want    string // entries: kind and name
	}{
		{"whole", nil, "0 Linux kernel.img"},
		{"of another sum", []patch{{first + 13, "\x00"}}, "3 stray long name, 3 stray long name, 0 LONG1"},
		{"of another short name", []patch{{short, "X"}}, "3 stray long name, 3 stray long name, 0 XONG1"},
		{"of which the first is missing", []patch{{second, "\xe5"}}, "3 stray long name, 2 deleted entry, 0 LONG1"},
		{"of which the last is missing", []patch{{first, "\xe5"}}, "2 deleted entry, 3 stray long name, 0 LONG1"},
		{"numbered twice alike", []patch{{second, "\x02"}}, "3 stray long name, 3 stray long name, 0 LONG1"},
		{"that begins twice", []patch{{second, "\x41"}}, "3 stray long name, 0 Linux kernel."},
		{"of no part", []patch{{second, "\x40"}}, "3 stray long name, 3 stray long name, 0 LONG1"},
		{"of too many parts", []patch{{first, "\x55"}}, "3 stray long name, 3 stray long name, 0 LONG1"},
		{"before the end", []patch{{short, "\x00"}}, "3 stray long name, 3 stray long name"},
		{"before what is deleted", []patch{{short, "\xe5"}}, "3 stray long name, 3 stray long name, 2 deleted entry"},
		{"of a volume", []patch{{short + 11, "\x08"}}, "1 volume label"},
		{"with half a pair", []patch{{second + 1, "\x00\xd8"}}, "0 \ufffdinux kernel.img"},
		{"with a slash", []patch{{second + 3, "/\x00"}}, "0 L/nux kernel.img"},
		{"short, in lower case", []patch{{first, "\xe5"}, {second, "\xe5"}, {short, "ABC     DEF"}, {short + 12, "\x18"}}, "2 deleted entry, 2 deleted entry, 0 abc.def"},
		{"short, of a code page", []patch{{first, "\xe5"}, {second, "\xe5"}, {short, "\x05\x80C"}, {short + 12, "\x08"}}, "2 deleted entry, 2 deleted entry, 0 \xe5\x80cg1"},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := difftest.SmallFAT(12).Bytes()
			for _, p := range c.patches {
				copy(b[p.at:], p.bytes)
			}
			v, err := parse(b)
			if err != nil {
				t.Fatal(err)
			}
			sound(t, v)
			var got []string
			for _, e := range v.Files[1].Entries[2:] {
				got = append(got, strconv.Itoa(int(e.Kind))+" "+e.Name)
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("%q, not %q", s, c.want)
			}
		})
	}
}

// Which times of an entry hold one: zero stands for none.
func TestTimes(t *testing.T) {
	const at = 1536 + 2*32 // README.TXT
	const all = fat.Created | fat.CreatedTenths | fat.Accessed | fat.Written
	for _, c := range []struct {
		patch patch
		want  fat.Times
	}{
		{patch{at, ""}, all},
		{patch{at + 13, "\xc7"}, all},
		{patch{at + 13, "\xc8"}, all &^ fat.CreatedTenths},
		{patch{at + 14, "\x00\x00\x00\x00"}, all &^ (fat.Created | fat.CreatedTenths)},
		{patch{at + 18, "\x00\x00"}, all &^ fat.Accessed},
		{patch{at + 18, "\x5e\x58"}, all &^ fat.Accessed}, // 30 February
		{patch{at + 18, "\xa0\x59"}, all &^ fat.Accessed}, // month 13
		{patch{at + 22, "\x1d\x63"}, all},
		{patch{at + 22, "\x1e\x63"}, all &^ fat.Written}, // second 60
		{patch{at + 22, "\x84\x67"}, all &^ fat.Written}, // minute 60
		{patch{at + 22, "\x04\xc0"}, all &^ fat.Written}, // hour 24
		{patch{at + 24, "\x00\x00"}, all &^ fat.Written},
	} {
		b := difftest.SmallFAT(12).Bytes()
		copy(b[c.patch.at:], c.patch.bytes)
		v, err := parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if e := v.Files[0].Entries[2]; e.Name != "README.TXT" || e.Times != c.want {
			t.Errorf("%q at %d: times %04b of %s, not %04b", c.patch.bytes, c.patch.at-at, e.Times, e.Name, c.want)
		}
	}
}

// Boot sectors that are not of a volume.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		what string
		at   int
		b    string
	}{
		{"no jump", 0, "\x00"},
		{"a jump without its end", 2, "\x00"},
		{"sectors of 0 bytes", 11, "\x00\x00"},
		{"sectors of 768 bytes", 11, "\x00\x03"},
		{"sectors of 8192 bytes", 11, "\x00\x20"},
		{"clusters of 0 sectors", 13, "\x00"},
		{"clusters of 3 sectors", 13, "\x03"},
		{"no reserved sector", 14, "\x00\x00"},
		{"no table", 16, "\x00"},
		{"too many tables", 16, "\x05"},
		{"no root directory", 17, "\x00\x00"},
		{"a root directory over all", 17, "\xff\xff"},
		{"no sectors", 32, "\x00\x00\x00\x00"},
		{"no medium", 21, "\xf1"},
		{"a table of no length, so FAT32 with a root directory", 22, "\x00\x00"},
		{"a table over all", 22, "\xff\xff"},
		{"no signature", 511, "\x00"},
		{"room for no cluster", 13, "\x80"},
	} {
		b := difftest.SmallFAT(12).Bytes()
		copy(b[c.at:], c.b)
		if v, err := parse(b); err == nil {
			t.Errorf("%s: taken for %v", c.what, v.Geometry)
		}
	}
	for _, c := range []struct {
		what string
		at   int
		b    string
	}{
		{"a version", 42, "\x01"},
		{"a root in no cluster", 44, "\x00"},
		{"a root outside", 44, "\xff\xff\xff\x0f"},
		{"a table that is not there in use", 40, "\x82"},
		{"a root whose chain is its own", 5*512 + 8, "\x02\x00\x00\x00"},
	} {
		b := difftest.SmallFAT(32).Bytes()
		copy(b[c.at:], c.b)
		v, err := parse(b)
		if err == nil && v.Files[0].Note == "" {
			t.Errorf("%s: taken for %v", c.what, v.Geometry)
		}
	}
}

// A volume may end before its last cluster, but not before the first.
func TestCut(t *testing.T) {
	whole := difftest.SmallFAT(12).Bytes()
	for n := range len(whole) {
		v, err := parse(whole[:n])
		if (err == nil) != (n > 2048) {
			t.Fatalf("cut to %d: %v", n, err)
		}
		if err == nil {
			sound(t, v)
		}
	}
}

// A chain of directories costs what its names take, not what its paths would.
func TestDeep(t *testing.T) {
	const deep = 2000
	f := difftest.FAT{Bits: 12, Clusters: deep + 1}
	path := ""
	for range deep {
		path += strings.Repeat("d", 100) + "/"
		f.Files = append(f.Files, difftest.FATFile{Path: path})
	}
	b := f.Bytes()
	limit := errors.New("enough")
	left := int64(100_000)
	before := allocated()
	_, err := fat.Parse(context.Background(), bytes.NewReader(b), int64(len(b)), func(n int64) error {
		if left -= n; left < 0 {
			return limit
		}
		return nil
	})
	if n := allocated() - before; !errors.Is(err, limit) || n > 64<<20 {
		t.Errorf("%v, %d bytes", err, n)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b := difftest.SmallFAT(12).Bytes()
	if _, err := fat.Parse(ctx, bytes.NewReader(b), int64(len(b)), func(int64) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// sound checks what holds of any volume: its areas tile the clusters, each run of a
// file is one of them, and entries rise inside their directory.
func sound(t *testing.T, v *fat.Volume) {
	t.Helper()
	next, runs := uint32(2), 0
	for _, a := range v.Areas {
		if a.First != next || a.N == 0 {
			t.Fatalf("an area of %d clusters at %d, not %d", a.N, a.First, next)
		}
		next += a.N
		if a.Kind == fat.Owned {
			runs++
			if v.Files[a.File].Runs[a.Index] != a.Run {
				t.Fatalf("%+v is no run of %+v", a, v.Files[a.File])
			}
		}
	}
	if int64(next) != v.Held+2 {
		t.Fatalf("areas end at %d, of %d clusters", next, v.Held)
	}
	for i := range v.Files {
		f := &v.Files[i]
		runs -= len(f.Runs)
		at := int64(0)
		for _, e := range f.Entries {
			if e.Off < at || e.Len() <= 0 {
				t.Fatalf("an entry at %d, not %d", e.Off, at)
			}
			at = e.Off + e.Len()
		}
		if at != f.Used || f.Dir && f.Used > f.Size {
			t.Fatalf("%s: entries end at %d, used %d, of %d", f.Path, at, f.Used, f.Size)
		}
	}
	if runs != 0 {
		t.Fatalf("%d runs more or less than areas", runs)
	}
}

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// mutations returns how many mutations to try: more where the environment says so.
func mutations(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("ASSAY_MUTATIONS"))
	if err != nil {
		return 2000
	}
	return n
}

// Volumes with a few bytes changed are sound, or refused.
func TestMutated(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 32))
	for i := range mutations(t) {
		b := difftest.SmallFAT([]int{12, 32}[i%2]).Bytes()
		for range 1 + rng.IntN(8) {
			at := rng.IntN(len(b))
			if rng.IntN(2) == 0 { // where it matters
				at = rng.IntN(5 * 512)
			}
			b[at] = byte(rng.Uint32())
		}
		if v, err := parse(b); err == nil {
			sound(t, v)
		}
	}
}

// FuzzParse lays out any bytes within memory in proportion to them.
func FuzzParse(f *testing.F) {
	f.Add(difftest.SmallFAT(12).Bytes())
	f.Add(difftest.SmallFAT(32).Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		before := allocated()
		v, err := parse(b)
		if n := allocated() - before; n > 4<<20+512*uint64(len(b)) {
			t.Errorf("%d bytes for %d", n, len(b))
		}
		if err == nil {
			sound(t, v)
		}
	})
}
