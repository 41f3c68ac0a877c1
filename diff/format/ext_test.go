package format

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/ledger"
)

// extMakers are options of mke2fs; sums says whether all metadata has checksums.
var extMakers = []struct {
	name, size, args string
	sums             bool
}{
	{"ext2", "8M", "-t ext2", false},
	{"ext3", "16M", "-t ext3", false},
	{"ext4", "16M", "-t ext4", true},
	{"blocks of 4096", "20M", "-t ext4 -b 4096", true},
	{"blocks of 65536", "64M", "-t ext4 -F -b 65536", true},
	{"inodes of 128", "16M", "-t ext4 -I 128", true},
	{"inodes of 1024", "16M", "-t ext4 -I 1024", true},
	{"inline data", "16M", "-t ext4 -O inline_data", true},
	{"no checksums", "16M", "-t ext4 -O ^metadata_csum", false},
	{"uninit_bg", "20M", "-t ext4 -O ^metadata_csum,uninit_bg -b 1024", false},
	{"uninit_bg, 32 bits", "20M", "-t ext4 -O ^metadata_csum,uninit_bg,^64bit -b 1024", false},
	{"32 bits", "16M", "-t ext4 -O ^64bit", true},
	{"bigalloc", "32M", "-t ext4 -O bigalloc -C 16384", true},
	{"meta_bg", "40M", "-t ext4 -b 1024 -O meta_bg,^resize_inode -g 1024", true},
	{"sparse_super2", "24M", "-t ext4 -b 1024 -O sparse_super2", true},
	{"no flex_bg", "32M", "-t ext4 -b 1024 -O ^flex_bg", true},
	{"orphan file", "16M", "-t ext4 -O orphan_file", true},
	{"quota", "16M", "-t ext4 -O quota", true},
	{"mmp", "16M", "-t ext4 -O mmp", true},
	{"checksum seed", "16M", "-t ext4 -O metadata_csum_seed", true},
	{"block maps", "16M", "-t ext4 -O ^extent,^64bit", true},
}

func TestExtMakers(t *testing.T) {
	extNeed(t, "mke2fs", "debugfs")
	for _, m := range extMakers {
		t.Run(m.name, func(t *testing.T) {
			img := filepath.Join(t.TempDir(), "image")
			extMake(t, img, m.size, m.args)
			extSound(t, img, m.sums, false)
			if m.name == "mmp" {
				return // debugfs would wait for another to let go
			}
			extRun(t, "debugfs", "-w", "-f", extScript(t,
				"ea_set /bin/tool user.note "+strings.Repeat("long.", 60),
				"ea_set /bin/tool security.capability caps",
				"ea_set /etc/conf user.small v",
				"cd /dev", "mknod null c 1 3", "mknod pipe p",
				"ln /bin/tool /bin/other",
			), img)
			extSound(t, img, m.sums, true)
		})
	}
}

// extSound lays an image out and checks that each of its bytes has a section, that no
// section has a note, and that checksums are known for what they are. Copies of group
// descriptors may be older than what they are of.
func extSound(t *testing.T, img string, sums, old bool) {
	t.Helper()
	b, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	in := &diff.Input{ReaderAt: bytes.NewReader(b), Size: int64(len(b)), Budget: diff.NewBudget(diff.Limits{})}
	if !extfs.Detect(in) {
		t.Fatal("not recognised")
	}
	sections, err := extfs.Parse(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if end := sections[len(sections)-1].End(); end != in.Size {
		t.Errorf("%d of %d bytes have a section", end, in.Size)
	}
	checked := 0
	var visit func(path string, ss []diff.Section, off, end int64)
	visit = func(path string, ss []diff.Section, off, end int64) {
		for i := range ss {
			s := &ss[i]
			p := path + ":" + s.Name
			if s.Off != off {
				t.Errorf("%s at %d, after %d", p, s.Off, off)
			}
			off = s.End()
			if s.Note != "" && !strings.HasPrefix(s.Name, "unowned") {
				t.Errorf("%s: %s", p, s.Note)
			}
			value := b[s.Off:s.End()]
			if s.Role == diff.RoleChecksum && !zero(value) {
				checked++
				if s.Spec == nil && (sums || s.Name == "bg_checksum") &&
					!(old && strings.HasPrefix(p, ":group descriptors") && !strings.HasPrefix(p, ":group descriptors 0")) {
					t.Errorf("%s at %d holds %x, which is no sum", p, s.Off, value)
				}
			}
			if (s.Role == diff.RoleTime || s.Role == diff.RoleID) && s.Name != "s_hash_seed" && !zero(value) != (s.Spec != nil) {
				t.Errorf("%s is %x, its Spec %v", p, value, s.Spec)
			}
			if s.Spec != nil && s.Spec.Op == ledger.OpSum {
				extSumHolds(t, b, s)
			}
			if kids := s.Expand(nil); len(kids) > 0 {
				visit(p, kids, s.Off, s.End())
			}
		}
		if off != end {
			t.Errorf("%s ends at %d, its parts at %d", path, end, off)
		}
	}
	visit("", sections, 0, in.Size)
	if sums && checked < 20 {
		t.Errorf("%d checksums", checked)
	}
}

// extSumHolds evaluates a Spec by its definition, with nothing of the layout.
func extSumHolds(t *testing.T, b []byte, s *diff.Section) {
	t.Helper()
	sp := s.Spec
	var over []byte
	for _, o := range sp.Over {
		if o.Lit != "" {
			var lit []byte
			if _, err := fmt.Sscanf(o.Lit, "%x", &lit); err != nil {
				t.Fatal(err)
			}
			over = append(over, lit...)
			continue
		}
		part := bytes.Clone(b[o.Off:o.End()])
		for _, r := range sp.Blank {
			if o.Contains(r) {
				clear(part[r.Off-o.Off : r.End()-o.Off])
			}
		}
		over = append(over, part...)
	}
	crc := extCRC(sp.Alg, over)
	var got uint32
	for i, c := range b[s.Off:s.End()] {
		if strings.HasSuffix(string(sp.Enc), "be") {
			got = got<<8 | uint32(c)
		} else {
			got |= uint32(c) << (8 * i)
		}
	}
	if got != crc {
		t.Errorf("%s at %d is %x, its Spec gives %x", s.Name, s.Off, got, crc)
	}
}

// extCRC is a checksum by its definition.
func extCRC(alg string, b []byte) uint32 {
	poly, crc := uint32(0x82f63b78), ^uint32(0)
	if alg == "crc16-raw" {
		poly, crc = 0xa001, 0xffff
	}
	if strings.HasPrefix(alg, "crc32c-seed") {
		crc, b = binary.LittleEndian.Uint32(b), b[4:]
	}
	for _, c := range b {
		crc ^= uint32(c)
		for range 8 {
			crc = crc>>1 ^ poly&-(crc&1)
		}
	}
	switch alg {
	case "crc32c-raw-hi16", "crc32c-seed-hi16":
		crc >>= 16
	case "crc32c-raw-lo16", "crc32c-seed-lo16":
		crc &= 0xffff
	}
	return crc
}

func extNeed(t *testing.T, tools ...string) {
	t.Helper()
	difftest.Tools(t, tools...)
}

func extRun(t *testing.T, tool string, args ...string) string {
	t.Helper()
	out, err := exec.Command(tool, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// extScript writes commands of debugfs to a file.
func extScript(t *testing.T, lines ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// extTree writes a small tree and returns where.
func extTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	for name, content := range map[string]string{
		"bin/tool":     strings.Repeat("a tool that does nothing. ", 2000),
		"bin/twin":     strings.Repeat("b tool that does nothing. ", 2000),
		"etc/conf":     "key = value\n",
		"etc/none":     "",
		"dev/.keep":    "x",
		"lib/a/b/c/so": "built 2022-11-25 06:31:44 " + strings.Repeat("library", 3500),
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(dir, "holes"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range int64(30) {
		if _, err := f.WriteAt([]byte("island, 2022-11-25 06:31:44\n"), i*200_000); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"short": "bin/tool", "long": strings.Repeat("down/", 30)} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// extMake makes an image of a small tree.
func extMake(t *testing.T, img, size, args string) {
	t.Helper()
	extRun(t, "truncate", "-s", size, img)
	extRun(t, "mke2fs", append(append([]string{"-q"}, strings.Fields(args)...), "-d", extTree(t), img)...)
}
