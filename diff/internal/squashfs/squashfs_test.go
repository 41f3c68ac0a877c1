package squashfs_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/internal/squashfs"
	"github.com/assaylab/assay/diff/ledger"
)

const when = 1714558830

// stored is a small image whose tables are not compressed.
func stored() difftest.Squashfs {
	s := difftest.SmallSquashfs(when)
	s.StoreTables, s.StoreFragments = true, true
	return s
}

func TestParse(t *testing.T) {
	b := stored().Bytes()
	im, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	// 15 inodes: what is deepest comes first, the root last.
	want := "bin/program bin/sh etc/hole etc/issue etc/empty etc/release etc/link bin etc block char fifo socket ."
	var names []string
	for i := range im.Nodes {
		n := &im.Nodes[i]
		names = append(names, n.Name)
		if n.Note != "" {
			t.Errorf("%s: %s", n.Name, n.Note)
		}
	}
	if got := strings.Join(names, " "); got != want {
		t.Errorf("inodes %s, not %s", got, want)
	}
	program, _ := im.File(&im.Nodes[0])
	if program.Start != 96 || program.Size != 9100 || program.Count != 2 || program.Fragment != 0 || program.Offset != 0 {
		t.Errorf("%+v", program)
	}
	if !im.Nodes[0].OwnsBlocks || !im.Nodes[0].OwnsTail {
		t.Error("the program's content is not its own")
	}
	if n := im.Tail(&program); n != 9100-2*4096 {
		t.Errorf("a tail of %d bytes", n)
	}
	var tails []string
	for _, tail := range im.Fragments[0].Tails {
		tails = append(tails, fmt.Sprintf("%s %d+%d", im.Nodes[tail.Node].Name, tail.Off, tail.Len))
	}
	if got := strings.Join(tails, ", "); got != "bin/program 0+908, etc/hole 908+12, etc/issue 920+8, etc/release 928+55" {
		t.Errorf("tails %s", got)
	}
	if im.Inodes.Off != im.Fragments[0].End() || im.Inodes.Range().End() != im.Dirs.Off {
		t.Errorf("inodes at %d, after data that end at %d", im.Inodes.Off, im.Fragments[0].End())
	}
	// The value stands before the list that refers to it.
	if len(im.Attrs) != 1 || len(im.Values) != 1 || im.Values[0] != (ledger.Range{Len: 4 + 7}) || im.Attrs[0].Off != 11 || im.Attrs[0].Count != 2 {
		t.Errorf("attributes %+v, values %+v", im.Attrs, im.Values)
	}
	if err := whole(im, int64(len(b))); err != nil {
		t.Error(err)
	}
}

// Tables of several blocks, records that stand across two of them, and directories
// with indexes.
func TestManyBlocks(t *testing.T) {
	for _, store := range []bool{false, true} {
		s := difftest.ManySquashfs(when)
		s.StoreTables = store
		im, err := parse(s.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if len(im.Nodes) != len(s.Files) || len(im.Inodes.Blocks) < 5 || len(im.Dirs.Blocks) < 3 || len(im.Exports.Blocks) < 2 {
			t.Errorf("%d inodes in %d blocks, directories in %d, exports in %d", len(im.Nodes), len(im.Inodes.Blocks), len(im.Dirs.Blocks), len(im.Exports.Blocks))
		}
		across := 0
		for i := range im.Nodes {
			n := &im.Nodes[i]
			if n.Name != "." && n.Name != "many" && !strings.HasPrefix(n.Name, "many/file ") {
				t.Errorf("a file %q", n.Name)
			}
			if n.Off/8192 != (n.Off+n.Len-1)/8192 {
				across++
			}
		}
		if across == 0 {
			t.Error("no inode stands in two blocks")
		}
	}
}

// place returns where a byte of a stored table is in the image.
func place(t *testing.T, table *squashfs.Table, off int64) int64 {
	t.Helper()
	for i := range table.Blocks {
		if b := &table.Blocks[i]; off >= b.At && off < b.At+b.Size {
			return b.Off + 2 + off - b.At
		}
	}
	t.Fatalf("%d is outside of %s", off, table.Name)
	return 0
}

func node(t *testing.T, im *squashfs.Image, name string) *squashfs.Inode {
	t.Helper()
	for i := range im.Nodes {
		if im.Nodes[i].Name == name {
			return &im.Nodes[i]
		}
	}
	t.Fatalf("no inode %q", name)
	return nil
}

// Images whose parts contradict each other: what cannot be told has a note, and the
// rest is laid out as if it were not there.
func TestHostile(t *testing.T) {
	le := binary.LittleEndian
	type image struct {
		*squashfs.Image
		t *testing.T
		b []byte
	}
	inode := func(m *image, name string) []byte {
		return m.b[place(m.t, &m.Inodes, node(m.t, m.Image, name).Off):]
	}
	for _, test := range []struct {
		name   string
		change func(m *image)
		err    string
		notes  map[string]string
	}{
		{name: "a directory that lists what another does", change: func(m *image) {
			copy(inode(m, "etc")[16:], inode(m, "bin")[24:28])
			le.PutUint16(inode(m, "etc")[26:], 0)
			le.PutUint16(inode(m, "etc")[24:], le.Uint16(inode(m, "bin")[20:]))
		}, notes: map[string]string{"etc": "overlap those of another directory", "inode 6": "no directory leads"}},
		{name: "a directory in itself", change: func(m *image) {
			// The entry "bin" of the root leads to the root.
			at := place(m.t, &m.Dirs, m.Listings[len(m.Listings)-1].Off)
			le.PutUint16(m.b[at+12:], uint16(m.Root))
		}, notes: map[string]string{"inode 2": "no directory leads", "inode 5": "no directory leads"}},
		{
			name: "entries outside of the table", change: func(m *image) { le.PutUint16(inode(m, "etc")[26:], 8000) },
			notes: map[string]string{"etc": "outside the directory table"},
		},
		{
			name: "entries longer than the table", change: func(m *image) { le.PutUint16(inode(m, "etc")[24:], 0xffff) },
			notes: map[string]string{"etc": "outside the directory table"},
		},
		{name: "a header of too many entries", change: func(m *image) {
			m.b[place(m.t, &m.Dirs, m.Listings[0].Off)] = 200
		}, notes: map[string]string{"bin": "bytes that are none", "inode 5": "no directory leads"}},
		{
			name: "blocks where a table is", change: func(m *image) { le.PutUint64(inode(m, "bin/program")[16:], uint64(m.Inodes.Off)-8) },
			notes: map[string]string{"bin/program": "where a table is"},
		},
		{
			name: "blocks in the superblock", change: func(m *image) { le.PutUint64(inode(m, "bin/program")[16:], 10) },
			notes: map[string]string{"bin/program": "where a table is"},
		},
		{
			name: "blocks outside", change: func(m *image) { le.PutUint64(inode(m, "bin/program")[16:], 1<<62) },
			notes: map[string]string{"bin/program": "outside the image"},
		},
		{name: "blocks that are a fragment", change: func(m *image) {
			le.PutUint64(inode(m, "bin/program")[16:], uint64(m.Fragments[0].Off))
			le.PutUint32(inode(m, "bin/program")[56:], uint32(m.Fragments[0].Len)-4)
			le.PutUint32(inode(m, "bin/program")[60:], 4)
		}, notes: map[string]string{"bin/program": "overlap those of another"}},
		{
			name: "a tail in a fragment that is not there", change: func(m *image) { le.PutUint32(inode(m, "etc/issue")[20:], 7) },
			notes: map[string]string{"etc/issue": "a fragment that is not there"},
		},
		{
			name: "a tail outside of its fragment", change: func(m *image) { le.PutUint32(inode(m, "etc/issue")[24:], 4090) },
			notes: map[string]string{"etc/issue": "outside its fragment"},
		},
		{
			name: "a tail in that of another", change: func(m *image) { le.PutUint32(inode(m, "etc/issue")[24:], 10) },
			notes: map[string]string{"etc/issue": "overlaps that of another"},
		},
		{
			name: "a file too large for its inode", change: func(m *image) { le.PutUint64(inode(m, "bin/program")[24:], 1<<63) },
			err: "is the root directory's",
		},
		{name: "an inode of no type", change: func(m *image) { inode(m, "bin")[0] = 15 }, err: "is the root directory's"},
		{name: "a root in the middle of an inode", change: func(m *image) { m.b[32]++ }, err: "is the root directory's"},
		{name: "a table inside of another", change: func(m *image) { le.PutUint64(m.b[64:], m.DirTable-2) }, err: "inode table"},
		{name: "tables of ids where those of exports are", change: func(m *image) { le.PutUint64(m.b[48:], m.ExportTable) }, err: "overlap"},
		{name: "a table behind the end", change: func(m *image) { le.PutUint64(m.b[72:], 1<<40) }, err: "a table at"},
		{name: "more fragments than bytes", change: func(m *image) { le.PutUint32(m.b[16:], 1<<31) }, err: "a list of"},
		{name: "blocks of no power of two", change: func(m *image) { m.b[12]++ }, err: "blocks of"},
		{name: "another compressor", change: func(m *image) { m.b[20] = 9 }, err: "compression 9"},
		{name: "version 3", change: func(m *image) { m.b[28] = 3 }, err: "no superblock"},
		{name: "longer than it is", change: func(m *image) { le.PutUint64(m.b[40:], uint64(len(m.b))+1) }, err: "the image has"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := stored().Bytes()
			im, err := parse(b)
			if err != nil {
				t.Fatal(err)
			}
			test.change(&image{im, t, b})
			im, err = parse(b)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, not %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			notes := map[string]string{}
			for i := range im.Nodes {
				notes[im.Nodes[i].Name] = im.Nodes[i].Note
			}
			for name, want := range test.notes {
				if !strings.Contains(notes[name], want) || want == "" {
					t.Errorf("%s: %q, not %q; %q", name, notes[name], want, notes)
				}
			}
			if err := whole(im, int64(len(b))); err != nil {
				t.Error(err)
			}
		})
	}
}

// Names that many entries share, and paths that grow with their depth, cost no more
// than they take.
func TestNames(t *testing.T) {
	s := difftest.Squashfs{StoreTables: true, Files: []difftest.SquashfsFile{{Path: ".", Mode: 0o40755}}}
	for i := range 600 {
		s.Files = append(s.Files, difftest.SquashfsFile{Path: fmt.Sprintf("f%04d", i), Mode: 0o10644})
	}
	b := s.Bytes()
	for i := range 600 {
		name := fmt.Appendf(nil, "f%04d", i)
		copy(b[bytes.Index(b, name):], "alike")
	}
	im, err := parse(b)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i := range im.Nodes {
		if seen[im.Nodes[i].Name] {
			t.Fatalf("two inodes %q", im.Nodes[i].Name)
		}
		seen[im.Nodes[i].Name] = true
	}
	if !seen["alike"] || !seen["alike#600"] {
		t.Error("not all are numbered")
	}
}

// Paths that grow with their depth take no more room than there is: 2,000 directories,
// each in the one before it.
func TestDeep(t *testing.T) {
	const depth, inode, entry = 2000, 32, 12 + 8 + 256
	le := binary.LittleEndian
	word := func(b []byte, vs ...uint32) []byte {
		for _, v := range vs {
			b = le.AppendUint32(b, v)
		}
		return b
	}
	// Directory i has one entry, for directory i+1; its own inode is at i*inode.
	var inodes, dirs []byte
	at := func(off int) (uint32, uint32) { return uint32(off / 8192 * 8194), uint32(off % 8192) }
	for i := range depth {
		start, offset := at(i * entry)
		b := le.AppendUint16(le.AppendUint16(nil, squashfs.Dir), 0o755)
		b = word(b, 0, when, uint32(i+1), start, 2)
		b = le.AppendUint16(le.AppendUint16(b, entry+3), uint16(offset))
		inodes = word(append(inodes, b...), uint32(i))
		start, offset = at((i + 1) * inode)
		b = word(nil, 0, start, uint32(i+2))
		for _, v := range []uint16{uint16(offset), 0, squashfs.Dir, 255} {
			b = le.AppendUint16(b, v)
		}
		dirs = append(append(dirs, b...), strings.Repeat("d", 256)...)
	}
	b := make([]byte, squashfs.SuperSize)
	table := func(data []byte) uint64 {
		off := uint64(len(b))
		for len(data) > 0 {
			n := min(len(data), 8192)
			b = append(le.AppendUint16(b, uint16(n)|1<<15), data[:n]...)
			data = data[n:]
		}
		return off
	}
	inodeTable, dirTable := table(inodes), table(dirs)
	ids := table(make([]byte, 4))
	idTable := uint64(len(b))
	b = le.AppendUint64(b, ids)
	super := word([]byte("hsqs"), depth, when, 4096, 0)
	for _, v := range []uint16{1, 12, 0, 1, 4, 0} {
		super = le.AppendUint16(super, v)
	}
	for _, v := range []uint64{0, uint64(len(b)), idTable, squashfs.None, inodeTable, dirTable, squashfs.None, squashfs.None} {
		super = le.AppendUint64(super, v)
	}
	copy(b, super)
	if _, err := parse(b); !errors.Is(err, squashfs.ErrRoom) {
		t.Errorf("an image of %d bytes with paths of %d: %v", len(b), depth*depth*257/2, err)
	}
}

// What stops the work is an error of its own.
func TestStops(t *testing.T) {
	b := difftest.SmallSquashfs(when).Bytes()
	stop := errors.New("enough")
	_, err := squashfs.Parse(context.Background(), bytes.NewReader(b), int64(len(b)), func(int64) error { return stop })
	if !errors.Is(err, stop) {
		t.Errorf("%v, not %v", err, stop)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := squashfs.Parse(ctx, bytes.NewReader(b), int64(len(b)), func(int64) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, not %v", err, context.Canceled)
	}
}

// whole checks that nothing of an image lies outside of it or over something else.
func whole(im *squashfs.Image, size int64) error {
	var all []ledger.Range
	all = append(all, im.Skeleton()...)
	for i := range im.Nodes {
		n := &im.Nodes[i]
		if i > 0 && n.Off != im.Nodes[i-1].Off+im.Nodes[i-1].Len {
			return fmt.Errorf("inode %q at %d", n.Name, n.Off)
		}
		f, ok := im.File(n)
		if !ok || !n.OwnsBlocks {
			continue
		}
		im.Blocks(&f, func(_ int64, b squashfs.DataBlock) bool {
			if b.Len > 0 {
				all = append(all, b.Range)
			}
			return true
		})
	}
	for i := range im.Fragments {
		g := &im.Fragments[i]
		if g.Note == "" && g.Len > 0 {
			all = append(all, g.Range)
		}
		at := int64(0)
		for _, tail := range g.Tails {
			if tail.Off < at || tail.Len <= 0 {
				return fmt.Errorf("tail of %q at %d in fragment %d", im.Nodes[tail.Node].Name, tail.Off, i)
			}
			at = tail.Off + tail.Len
		}
	}
	used := map[int64]bool{}
	for i, r := range all {
		if r.Off < 0 || r.Len <= 0 || r.End() > size {
			return fmt.Errorf("%v is outside of %d bytes", r, size)
		}
		for j, q := range all[:i] {
			if len(all) < 1000 && r.Off < q.End() && q.Off < r.End() {
				return fmt.Errorf("%v lies over %v, %d, %d", r, q, i, j)
			}
		}
		if used[r.Off] {
			return fmt.Errorf("two at %d", r.Off)
		}
		used[r.Off] = true
	}
	at := int64(0)
	for i := range im.Listings {
		l := &im.Listings[i]
		if l.Off < at || l.Off+l.Len > int64(len(im.Dirs.Data)) {
			return fmt.Errorf("listing at %d+%d", l.Off, l.Len)
		}
		at = l.Off + l.Len
		im.Runs(l, func(r squashfs.Run) bool {
			im.Entries(&r, func(e squashfs.Entry) bool { return e.Len > 0 })
			return true
		})
	}
	for i := range im.Attrs {
		im.Each(&im.Attrs[i], func(a squashfs.Attr) bool { return a.Len() > 0 })
	}
	return nil
}

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// check parses any bytes: what comes of them is whole, or an error, and what it takes
// is bounded by the bytes and by what they decode to.
func check(t *testing.T, b []byte) {
	t.Helper()
	before, expanded := allocated(), int64(0)
	im, err := squashfs.Parse(t.Context(), bytes.NewReader(b), int64(len(b)), func(n int64) error {
		expanded += n
		return nil
	})
	// A decoder takes up to 2 MiB, for 8 KiB that come out.
	if n, most := allocated()-before, uint64(4<<20+64*len(b))+uint64(expanded)*300; n > most {
		t.Errorf("%d bytes allocated for %d, which decode to %d", n, len(b), expanded)
	}
	if err != nil {
		if im != nil {
			t.Errorf("half an image beside an error: %v", err)
		}
		return
	}
	if err := whole(im, int64(len(b))); err != nil {
		t.Error(err)
	}
}

func seeds() [][]byte {
	plain := stored()
	plain.NoPad, plain.StoreData = true, true
	small := difftest.SmallSquashfs(when)
	small.NoPad = true
	return [][]byte{stored().Bytes(), plain.Bytes(), small.Bytes()}
}

// Images changed at random: in their tables, where they are not compressed.
func TestMutations(t *testing.T) {
	n := 2000
	if v := os.Getenv("ASSAY_MUTATIONS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	r := rand.New(rand.NewSource(1))
	images := seeds()
	for i := range n {
		b := bytes.Clone(images[i%len(images)])
		im, err := parse(b)
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + r.Intn(4) {
			at := r.Intn(squashfs.SuperSize)
			if r.Intn(4) > 0 {
				at = int(im.Inodes.Off) + r.Intn(int(im.BytesUsed)-int(im.Inodes.Off))
			}
			switch r.Intn(3) {
			case 0:
				b[at] ^= 1 << r.Intn(8)
			case 1:
				b[at] = byte(r.Intn(256))
			default:
				binary.LittleEndian.PutUint32(b[min(at, len(b)-4):], []uint32{0, 1, 0xffffffff, 0x7fffffff, uint32(r.Intn(len(b)))}[r.Intn(5)])
			}
		}
		if check(t, b); t.Failed() {
			t.Fatalf("mutation %d", i)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) <= 1<<20 {
			check(t, b)
		}
	})
}
