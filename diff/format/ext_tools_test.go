package format

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/ledger"
)

// extRead reads an image that a test made.
func extRead(t *testing.T, img string) []byte {
	t.Helper()
	b, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// extPair makes two images of one tree with the same options but two times, UUIDs and
// hash seeds. edit, if any, changes the tree between them.
func extPair(t *testing.T, size, args string, edit func(tree string)) (ref, dep []byte) {
	t.Helper()
	dir := t.TempDir()
	tree := extTree(t)
	// Reading must not change the times of access.
	late, early := time.Now().Add(time.Hour).Truncate(time.Hour), time.Unix(1600000000, 0)
	err := filepath.Walk(tree, func(name string, fi os.FileInfo, err error) error {
		if err != nil || fi.Mode()&os.ModeSymlink != 0 {
			return err
		}
		return os.Chtimes(name, late, early)
	})
	if err != nil {
		t.Fatal(err)
	}
	extRun(t, "touch", "-h", "-a", "-d", late.Format(time.RFC3339), filepath.Join(tree, "short"), filepath.Join(tree, "long"))
	for i, ids := range [][2]string{
		{"11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-aaaaaaaaaaaa"},
		{"bbbbbbbb-2222-3333-4444-cccccccccccc", "dddddddd-7777-8888-9999-eeeeeeeeeeee"},
	} {
		img := filepath.Join(dir, fmt.Sprint(i))
		t.Setenv("E2FSPROGS_FAKE_TIME", fmt.Sprint(1700000000+i*86400))
		extRun(t, "truncate", "-s", size, img)
		extRun(t, "mke2fs", append(append([]string{"-q"}, strings.Fields(args)...),
			"-U", ids[0], "-E", "hash_seed="+ids[1], "-d", tree, img)...)
		if i == 0 {
			ref = extRead(t, img)
			if edit != nil {
				edit(tree)
			}
		} else {
			dep = extRead(t, img)
		}
	}
	return ref, dep
}

// Two runs of mke2fs differ in the UUID and the hash seed, of 128 bits each, and in the
// time of the run, of 32. All else is checksums.
func TestExtTwoRuns(t *testing.T) {
	extNeed(t, "mke2fs")
	for _, m := range extMakers {
		t.Run(m.name, func(t *testing.T) {
			ref, dep := extPair(t, m.size, m.args, nil)
			bits := int64(128 + 128 + 32)
			if m.name == "mmp" && !bytes.Equal(extTime(t, ref), extTime(t, dep)) {
				bits += 32 // the machine's time, which nothing stands in for
			}
			extExplained(t, ref, dep, bits)
		})
	}
}

func extTime(t *testing.T, b []byte) []byte {
	s := extAt(t, b, "mmp block", "mmp_time_lo")
	return b[s.Off:s.End()]
}

// A file that tells when it was built is laid out in turn, be it in one piece or in
// several.
func TestExtBuildDate(t *testing.T) {
	extNeed(t, "mke2fs")
	for _, args := range []string{"-t ext4 -b 1024", "-t ext2 -b 1024", "-t ext4 -b 1024 -O ^extent,^64bit"} {
		ref, dep := extPair(t, "16M", args, func(tree string) {
			for _, name := range []string{"lib/a/b/c/so", "holes"} {
				name = filepath.Join(tree, name)
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if b = bytes.ReplaceAll(b, []byte("2022-11-25 06:31:44"), []byte("2024-01-02 03:04:05")); !bytes.Contains(b, []byte("2024-01-02")) {
					t.Fatal("no date in ", name)
				}
				f, err := os.OpenFile(name, os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				if _, err := f.WriteAt(b[:4000], 0); err != nil {
					t.Fatal(err)
				}
			}
		})
		l := extCompare(t, ref, dep)
		if !extAccepted(l) {
			t.Errorf("%s: not accepted", args)
			extLog(t, l)
		}
	}
}

func TestExtToolsHidden(t *testing.T) {
	extNeed(t, "mke2fs", "debugfs")
	ref, dep := extPair(t, "16M", "-t ext4 -b 1024 -I 512 -O quota,orphan_file", nil)
	var journal, blocks ledger.Range
	for _, s := range extRoot(t, ref).Children {
		if s.Name == "[journal]" && journal.Len == 0 {
			journal = s.Range()
		}
		if s.Name == "holes#3:slack" || strings.HasPrefix(s.Name, "holes") && s.Role == diff.RoleSlack {
			blocks = s.Range()
		}
	}
	in := func(names ...string) ledger.Range { s := extAt(t, ref, names...); return s.Range() }
	for _, c := range []struct {
		at   ledger.Range
		path string
	}{
		{journal, "[journal]:log"},
		{in("[journal]", "superblock", "s_padding"), "[journal]:superblock:s_padding"},
		{blocks, "holes:slack"},
		{in("reserved group descriptors 0"), "reserved group descriptors 0"},
		{in("reserved group descriptors 1"), "reserved group descriptors 1"},
		{in("superblock 1", "s_reserved"), "superblock 1:s_reserved"},
		{in("group descriptors 1", "unused"), "group descriptors 1:unused"},
		{in("[orphan file]", "block 0", "inodes"), "[orphan file]:block 0:inodes"},
		{in("[user quota]"), "[user quota]"},
		{in("[resize]:indirect block"), "[resize]:indirect block"},
		{in("inode table 1", "unused inodes"), "inode table 1:unused inodes"},
		{in("free blocks 1"), "free blocks 1"},
		{in("block bitmap 1"), "block bitmap 1"},
		{in("inode bitmap 0:rest"), "inode bitmap 0:rest"},
		{in("lost+found", "block 1", "unused entry"), "lost+found:block 1"},
		{in("long:slack"), "long:slack"},
	} {
		t.Run(c.path, func(t *testing.T) {
			for _, base := range [][]byte{ref, dep} {
				b := bytes.Clone(base)
				for k := range min(c.at.Len, 16) {
					b[c.at.End()-1-k] ^= 0x5a
				}
				extSum(t, ref, b)
				extAccused(t, ref, b, c.path, c.path != "block bitmap 1") // what it says of blocks names them
			}
		})
	}
}

// What debugfs changes in an image, it changes with all checksums.
func TestExtDebugfs(t *testing.T) {
	extNeed(t, "mke2fs", "debugfs")
	dir := t.TempDir()
	img := filepath.Join(dir, "image")
	t.Setenv("E2FSPROGS_FAKE_TIME", "1700000000")
	extMake(t, img, "16M", "-t ext4 -b 1024")
	extRun(t, "debugfs", "-w", "-f", extScript(t, "cd /dev", "mknod null c 1 3"), img)
	ref := extRead(t, img)
	for _, c := range []struct{ what, script, path string }{
		{"set-uid", "sif /bin/tool mode 0104755", "inode table 0/bin/tool:i_mode"},
		{"owner", "sif /bin/tool uid 1000", "inode table 0/bin/tool:i_uid"},
		{"device", "sif /dev/null block[0] 0x0101", "inode table 0/dev/null:i_block:device"},
		{"capability", "ea_set /bin/tool security.capability caps", "inode table 0/bin/tool:security.capability"},
		{"hard link", "ln /bin/tool /etc/tool", "etc:block 0"},
		{"new file", "write /etc/hostname /etc/hostname", "etc:block 0"},
		{"unlinked", "unlink /etc/conf", "etc:block 0"},
		{"symbolic link", "symlink /etc/link /bin/tool", "etc:block 0"},
		{"size", "sif /etc/conf size 5", "inode table 0/etc/conf:i_size_lo"},
		{"immutable", "sif /etc/conf flags 0x80010", "inode table 0/etc/conf:i_flags"},
		{"mode of the root", "sif / mode 040777", "inode table 0/.:i_mode"},
		{"feature", "ssv feature_incompat 0x1002c2", "superblock:s_feature_incompat"},
		{"another root", "sif / block[2] 1", "inode table 0/.:i_block"},
	} {
		t.Run(c.what, func(t *testing.T) {
			next := filepath.Join(t.TempDir(), "image")
			if err := os.WriteFile(next, ref, 0o600); err != nil {
				t.Fatal(err)
			}
			extRun(t, "debugfs", "-w", "-f", extScript(t, c.script), next)
			extAccused(t, ref, extRead(t, next), c.path, false)
		})
	}
}

// The nodes of a directory's hash tree have checksums too; with one byte changed in
// them nothing holds.
func TestExtHashTree(t *testing.T) {
	extNeed(t, "mke2fs", "e2fsck")
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 1200 {
		name := fmt.Sprintf("%s %04d", strings.Repeat("long", 50), i)
		if err := os.WriteFile(filepath.Join(tree, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	img := filepath.Join(dir, "image")
	extRun(t, "truncate", "-s", "16M", img)
	extRun(t, "mke2fs", "-q", "-t", "ext4", "-b", "1024", "-N", "2000", "-d", tree, img)
	extRun(t, "sh", "-c", `e2fsck -fyD "$0" >/dev/null 2>&1; test $? -lt 4`, img)
	extSound(t, img, true, true)
	ref := extRead(t, img)
	nodes := 0
	extWalk(t, ref, func(s *diff.Section) {
		if s.Name == "dt_checksum" {
			nodes++
		}
	})
	if nodes < 3 {
		t.Errorf("%d nodes of a hash tree", nodes)
	}
	dep := bytes.Clone(ref)
	dep[extAt(t, ref, ".", "block 0", "unused").Off] ^= 1
	extSum(t, ref, dep)
	extAccused(t, ref, dep, ".:block 0:unused", true)

	// With another seed, none of the names would be found.
	dep = bytes.Clone(ref)
	copy(dep[1024+0xec:], "another seed 16b")
	extSum(t, ref, dep)
	extAccused(t, ref, dep, "superblock:s_hash_seed", true)
}

// Where the checksums start with a seed, a new UUID changes nothing but itself, now and
// when another follows it.
func TestExtSeedKept(t *testing.T) {
	extNeed(t, "mke2fs", "tune2fs")
	img := filepath.Join(t.TempDir(), "image")
	extMake(t, img, "8M", "-t ext4 -O metadata_csum_seed")
	first := extRead(t, img)
	count := func() (n int) {
		extWalk(t, extRead(t, img), func(s *diff.Section) {
			if s.Spec != nil && s.Spec.Op == ledger.OpSum {
				n++
			}
		})
		return n
	}
	before := count()
	rename := func(id string) []byte {
		t.Setenv("E2FSPROGS_FAKE_TIME", fmt.Sprint(binary.LittleEndian.Uint32(first[1024+0x30:])))
		extRun(t, "tune2fs", "-f", "-U", id, img)
		return extRead(t, img)
	}
	second := rename("11111111-2222-3333-4444-555555555555")
	after := count() // that of the seed alone is one no more
	if before < 50 || after != before-strings.Count(extRun(t, "dumpe2fs", img), "uperblock at") {
		t.Errorf("%d checksums, then %d", before, after)
	}
	extExplained(t, first, second, 128)
	extExplained(t, second, rename("aaaaaaaa-2222-3333-4444-555555555555"), 128)
	bad := bytes.Clone(second)
	bad[1024+0x270] ^= 1
	if extAccepted(extCompare(t, first, bad)) {
		t.Error("another seed passes")
	}
}

// A file may claim any size: its content is one stream only where its holes could be
// read.
func TestExtHoles(t *testing.T) {
	b := bytes.Clone(extSample(t, "ext4"))
	at := extAt(t, b, "inode table 0", "etc/conf", "i_size_high")
	b[at.Off+3] = 0x10 // 2^60
	s := extAt(t, b, "etc/conf")
	if s.Part != nil || s.Open || s.Limit != "expanded" || s.Len != 1024 {
		t.Errorf("%+v", s)
	}
	b[at.Off+3] = 0
	b[extAt(t, b, "inode table 0", "etc/conf", "i_size_lo").Off+1] = 0x40 // 16 KiB
	s = extAt(t, b, "etc/conf")
	if s.Part == nil || len(s.Part.Of.Zeros) != 1 || s.Part.Of.Zeros[0] != (ledger.Zeros{Before: 1, Len: 0x400c - 1024}) {
		t.Errorf("%+v", s)
	}
}

// A gigabyte costs what its metadata does: no content is read.
func TestExtGigabyte(t *testing.T) {
	extNeed(t, "mke2fs")
	img := filepath.Join(t.TempDir(), "image")
	extMake(t, img, "1G", "-t ext4 -b 4096")
	f, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := &extCounter{ReaderAt: f}
	in := &diff.Input{ReaderAt: r, Size: 1 << 30, Budget: diff.NewBudget(diff.Limits{})}
	ss, err := extfs.Parse(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if r.bytes > 1<<20 {
		t.Errorf("%d bytes read for %d sections", r.bytes, len(ss))
	}
}

// An extCounter counts the bytes that are read.
type extCounter struct {
	io.ReaderAt
	bytes int
}

func (c *extCounter) ReadAt(b []byte, off int64) (int, error) {
	c.bytes += len(b)
	return c.ReaderAt.ReadAt(b, off)
}
