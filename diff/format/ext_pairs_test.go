package format

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/explain"
	"github.com/assaylab/assay/diff/ledger"
)

// extCompare compares two images by all formats and rules.
func extCompare(t *testing.T, ref, dep []byte) *ledger.Ledger {
	t.Helper()
	image := func(b []byte) diff.Image {
		return diff.Image{Name: "image", ReaderAt: bytes.NewReader(b), Size: int64(len(b))}
	}
	rules := explain.All()
	if !slices.ContainsFunc(rules, func(r *diff.Rule) bool { return slices.Contains(r.Ops, ledger.OpUUID) }) {
		rules = append(rules, &diff.Rule{Name: "id", Ops: []ledger.Op{ledger.OpUUID}, Because: "an id"})
	}
	res, err := diff.Compare(context.Background(), image(ref), image(dep),
		diff.Options{Formats: All(), Rules: rules, Codecs: Codecs(diff.Limits{})})
	if err != nil {
		t.Fatal(err)
	}
	return res.Ledger
}

func extAccepted(l *ledger.Ledger) bool {
	return l.Totals.Unexplained == 0 && l.Totals.Moved == 0 && l.Totals.Missing == 0
}

func extLog(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	t.Logf("%+v, %d bits", l.Totals, l.FreeBits)
	for _, e := range l.Entries {
		if e.Verdict != ledger.Identical && e.Verdict != ledger.Explained {
			t.Logf("%v %s: %s %+v, %d bits %s", e.Verdict, e.Path, e.Rule, e.Dep, e.Bits, e.Note)
		}
	}
}

// extExplained checks that a difference is explained, for so many bits.
func extExplained(t *testing.T, ref, dep []byte, bits int64) {
	t.Helper()
	l := extCompare(t, ref, dep)
	if bytes.Equal(ref, dep) || !extAccepted(l) || l.FreeBits != bits {
		t.Errorf("%d bits, not %d", l.FreeBits, bits)
		extLog(t, l)
	}
}

// extAccused checks that something under path is unexplained, and if only is set, that
// nothing else is but checksums over it.
func extAccused(t *testing.T, ref, dep []byte, path string, only bool) {
	t.Helper()
	l := extCompare(t, ref, dep)
	found := false
	for _, e := range l.Entries {
		if e.Verdict == ledger.Identical || e.Verdict == ledger.Explained || e.Verdict == ledger.Carried {
			continue
		}
		if strings.HasPrefix(e.Path, path) {
			found = true
		} else if only && !strings.Contains(e.Path, "checksum") {
			t.Errorf("%v in %q", e.Verdict, e.Path)
		}
	}
	if extAccepted(l) || !found {
		t.Errorf("nothing unexplained in %q", path)
		extLog(t, l)
	}
}

func extRoot(t *testing.T, b []byte) *diff.Section {
	t.Helper()
	in := &diff.Input{ReaderAt: bytes.NewReader(b), Size: int64(len(b)), Budget: diff.NewBudget(diff.Limits{})}
	ss, err := extfs.Parse(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return &diff.Section{Len: in.Size, Children: ss}
}

// extAt returns the section that a chain of names leads to.
func extAt(t *testing.T, b []byte, names ...string) diff.Section {
	t.Helper()
	s := *extRoot(t, b)
next:
	for _, name := range names {
		for _, c := range s.Expand(nil) {
			if c.Name == name {
				s = c
				continue next
			}
		}
		t.Fatalf("no %q in %q", name, names)
	}
	return s
}

// extWalk calls f for all sections.
func extWalk(t *testing.T, b []byte, f func(s *diff.Section)) {
	t.Helper()
	var visit func(ss []diff.Section)
	visit = func(ss []diff.Section) {
		for i := range ss {
			f(&ss[i])
			visit(ss[i].Expand(nil))
		}
	}
	visit(extRoot(t, b).Children)
}

// extSum writes the checksums anew that the layout of ref knows, those over others
// last.
func extSum(t *testing.T, ref, b []byte) {
	t.Helper()
	var sums []diff.Section
	extWalk(t, ref, func(s *diff.Section) {
		if s.Spec != nil && s.Spec.Op == ledger.OpSum {
			sums = append(sums, *s)
		}
	})
	for range 3 { // bitmaps and inodes, then descriptors, then the superblock
		for i := range sums {
			s, sp := &sums[i], sums[i].Spec
			var over []byte
			for _, o := range sp.Over {
				lit, _ := hex.DecodeString(o.Lit)
				part := append(lit, b[o.Off:o.End()]...)
				for _, r := range sp.Blank {
					if o.Lit == "" && o.Contains(r) {
						clear(part[r.Off-o.Off : r.End()-o.Off])
					}
				}
				over = append(over, part...)
			}
			crc := extCRC(sp.Alg, over)
			if s.Len == 2 {
				binary.LittleEndian.PutUint16(b[s.Off:], uint16(crc))
			} else if sp.Enc == "u32be" {
				binary.BigEndian.PutUint32(b[s.Off:], crc)
			} else {
				binary.LittleEndian.PutUint32(b[s.Off:], crc)
			}
		}
	}
}

// extTimes replaces each time that is old by another.
func extTimes(t *testing.T, ref, b []byte, old, other uint32) (n int) {
	t.Helper()
	extWalk(t, ref, func(s *diff.Section) {
		if s.Role == diff.RoleTime && s.Len == 4 && binary.LittleEndian.Uint32(ref[s.Off:]) == old {
			binary.LittleEndian.PutUint32(b[s.Off:], other)
			n++
		}
	})
	return n
}

// extMade is when the samples were.
const extMade = 1700000000

func extSample(t *testing.T, name string) []byte {
	t.Helper()
	for _, s := range difftest.Samples() {
		if s.Format == "ext" && s.Name == name {
			return s.Data
		}
	}
	t.Fatalf("no sample %q", name)
	return nil
}

func TestExtSamples(t *testing.T) {
	for _, name := range []string{"ext4", "ext2", "ext4 inline"} {
		t.Run(name, func(t *testing.T) {
			img := filepath.Join(t.TempDir(), "image")
			if err := os.WriteFile(img, extSample(t, name), 0o600); err != nil {
				t.Fatal(err)
			}
			extSound(t, img, name != "ext2", false)
		})
	}
}

func TestExtBenign(t *testing.T) {
	for _, name := range []string{"ext4", "ext2", "ext4 inline"} {
		t.Run(name, func(t *testing.T) {
			ref := extSample(t, name)
			for _, c := range []struct {
				what string
				edit func(b []byte)
				bits int64
			}{
				{"uuid", func(b []byte) { copy(b[1024+0x68:], "another uuid 16b") }, 128},
				{"hash seed", func(b []byte) { copy(b[1024+0xec:], "another seed 16b") }, 128},
				{"times", func(b []byte) {
					if n := extTimes(t, ref, b, extMade, extMade+86400); n < 10 {
						t.Errorf("%d times", n)
					}
				}, 32},
				{"last check at a time of its own", func(b []byte) {
					extTimes(t, ref, b, extMade, extMade+86400)
					binary.LittleEndian.PutUint32(b[1024+0x40:], extMade+86401)
				}, 64},
				{"all", func(b []byte) {
					copy(b[1024+0x68:], "another uuid 16b")
					copy(b[1024+0xec:], "another seed 16b")
					extTimes(t, ref, b, extMade, extMade+86400)
				}, 128 + 128 + 32},
			} {
				t.Run(c.what, func(t *testing.T) {
					dep := bytes.Clone(ref)
					c.edit(dep)
					extSum(t, ref, dep)
					extExplained(t, ref, dep, c.bits)
				})
			}
		})
	}
}

// No field but these may be explained, whatever an image holds.
func TestExtPlaces(t *testing.T) {
	may := map[ledger.Op]string{
		ledger.OpTime: "s_mtime s_wtime s_lastcheck s_mkfs_time i_atime i_ctime i_mtime i_crtime " +
			"i_atime_extra i_ctime_extra i_mtime_extra i_crtime_extra mmp_time_lo",
		ledger.OpUUID: "s_uuid s_journal_uuid s_hash_seed",
		ledger.OpSum: "s_checksum s_checksum_seed bg_checksum bg_block_bitmap_csum_lo bg_block_bitmap_csum_hi " +
			"bg_inode_bitmap_csum_lo bg_inode_bitmap_csum_hi i_checksum_lo i_checksum_hi det_checksum dt_checksum " +
			"et_checksum h_checksum ob_checksum mmp_checksum",
	}
	for _, name := range []string{"ext4", "ext2", "ext4 inline"} {
		// Where nothing is zero, every field that may be a place is one.
		full := bytes.Clone(extSample(t, name))
		extWalk(t, full, func(s *diff.Section) {
			if len(s.Expand(nil)) == 0 && (strings.HasPrefix(s.Name, "i_") && s.Off > 6400 || s.Role == diff.RoleSlack) &&
				s.Name != "i_mode" && s.Name != "i_flags" && s.Name != "i_block" && s.Name != "i_file_acl_lo" &&
				s.Name != "i_file_acl_high" && s.Name != "i_extra_isize" && s.Name != "i_size_high" {
				for i := s.Off; i < s.End(); i++ {
					full[i] |= 1
				}
			}
		})
		for _, b := range [][]byte{extSample(t, name), full} {
			places := 0
			extWalk(t, b, func(s *diff.Section) {
				if s.Spec == nil {
					return
				}
				places++
				if !slices.Contains(strings.Fields(may[s.Spec.Op]), s.Name) {
					t.Errorf("%s: %s at %d may be explained as %s", name, s.Name, s.Off, s.Spec.Op)
				}
			})
			if places < 10 {
				t.Errorf("%s: %d places", name, places)
			}
		}
	}
}

// A checksum that does not fit what it is over is no checksum.
func TestExtStale(t *testing.T) {
	ref := extSample(t, "ext4")
	dep := bytes.Clone(ref)
	copy(dep[1024+0x68:], "another uuid 16b")
	extSum(t, ref, dep)
	dep[extAt(t, ref, "inode table 0", "etc/conf", "i_checksum_lo").Off] ^= 1
	extAccused(t, ref, dep, "inode table 0/etc/conf:i_checksum_lo", true)
}

func TestExtHidden(t *testing.T) {
	ref := extSample(t, "ext4")
	harmless := bytes.Clone(ref)
	copy(harmless[1024+0x68:], "another uuid 16b")
	extTimes(t, ref, harmless, extMade, extMade+86400)
	in := func(names ...string) ledger.Range { s := extAt(t, ref, names...); return s.Range() }
	inode := func(path, field string) ledger.Range { return in("inode table 0", path, field) }
	for _, c := range []struct {
		what string
		at   ledger.Range
		path string
	}{
		{"boot block", in("boot block"), "boot block"},
		{"slack", in("bin/tool:slack"), "bin/tool:slack"},
		{"slack of a link", in("long:slack"), "long:slack"},
		{"free blocks", in("free blocks 0"), "free blocks 0"},
		{"unused inodes", in("inode table 0", "unused inodes"), "inode table 0:unused inodes"},
		{"a reserved inode", inode("[inode 9]", "i_block"), "inode table 0/[inode 9]:i_block"},
		{"an inode after its fields", inode("etc/conf", "unused"), "inode table 0/etc/conf:unused"},
		{"an inode's rest of i_block", in("inode table 0", "etc/conf", "i_block", "unused"), "inode table 0/etc/conf:i_block:unused"},
		{"unused descriptors", in("group descriptors 0", "unused"), "group descriptors 0:unused"},
		{"a descriptor's end", in("group descriptors 0", "group 0", "bg_reserved"), "group descriptors 0:group 0:bg_reserved"},
		{"reserved in the superblock", in("superblock", "s_reserved"), "superblock:s_reserved"},
		{"after the inode bitmap", in("inode bitmap 0:rest"), "inode bitmap 0:rest"},
		{"directory entry", in("etc", "block 0", "conf", "unused"), "etc:block 0/conf:unused"},
		{"xattr block", in("bin/tool:xattr block", "unused"), "bin/tool:xattr block:unused"},
		{"deletion time", inode("etc/conf", "i_dtime"), "inode table 0/etc/conf:i_dtime"},
		{"device", in("inode table 0", "null", "i_block", "device"), "inode table 0/null:i_block:device"},
		{"mode", inode("bin/tool", "i_mode"), "inode table 0/bin/tool:i_mode"},
		{"owner", inode("bin/tool", "i_uid"), "inode table 0/bin/tool:i_uid"},
		{"links", inode("bin/tool", "i_links_count"), "inode table 0/bin/tool:i_links_count"},
		{"flags", inode("bin/tool", "i_flags"), "inode table 0/bin/tool:i_flags"},
		{"generation", inode("bin/tool", "i_generation"), "inode table 0/bin/tool:i_generation"},
		{"version", inode("bin/tool", "i_version_hi"), "inode table 0/bin/tool:i_version_hi"},
		{"a time that is none", inode("[inode 9]", "i_atime"), "inode table 0/[inode 9]:i_atime"},
		{"capability", inode("bin/tool", "security.capability value"), "inode table 0/bin/tool:security.capability value"},
		{"attribute", in("bin/tool:xattr block", "user.note value"), "bin/tool:xattr block:user.note value"},
		{"fast link", in("inode table 0", "short", "i_block", "target"), "inode table 0/short:i_block:target"},
		{"slow link", in("long"), "long"},
		{"name", in("etc", "block 0", "conf", "name"), "etc:block 0/"},
		{"type of an entry", in("etc", "block 0", "conf", "file_type"), "etc:block 0/conf:file_type"},
		{"content", in("bin/tool"), "bin/tool"},
		{"volume name", in("superblock", "s_volume_name"), "superblock:s_volume_name"},
		{"journal uuid that is none", in("superblock", "s_journal_uuid"), "superblock:s_journal_uuid"},
	} {
		t.Run(c.what, func(t *testing.T) {
			for _, base := range [][]byte{ref, harmless} {
				dep := bytes.Clone(base)
				for k := range min(c.at.Len, 24) {
					dep[c.at.End()-1-k] ^= byte(1 + k*2)
				}
				if c.what == "mode" {
					copy(dep[c.at.Off:], ref[c.at.Off:c.at.End()])
					dep[c.at.Off+1] |= 0o4000 >> 8
				}
				extSum(t, ref, dep)
				extAccused(t, ref, dep, c.path, c.what != "flags")
			}
		})
	}
}

// extSwap exchanges two runs of bytes of the same length.
func extSwap(b []byte, x, y ledger.Range) {
	old := bytes.Clone(b[x.Off:x.End()])
	copy(b[x.Off:x.End()], b[y.Off:y.End()])
	copy(b[y.Off:y.End()], old)
}

func TestExtSwapped(t *testing.T) {
	ref := extSample(t, "ext4")
	in := func(names ...string) ledger.Range { s := extAt(t, ref, names...); return s.Range() }
	dep := bytes.Clone(ref)
	for _, field := range []string{"i_block", "i_size_lo", "i_blocks_lo"} {
		extSwap(dep, in("inode table 0", "bin/tool", field), in("inode table 0", "etc/conf", field))
	}
	extSum(t, ref, dep)
	extAccused(t, ref, dep, "inode table 0/bin/tool:i_block", false)

	dep = bytes.Clone(ref)
	extSwap(dep, in("bin", "block 0", "tool", "inode"), in("etc", "block 0", "conf", "inode"))
	extSum(t, ref, dep)
	extAccused(t, ref, dep, "bin:block 0/tool:inode", false)
}
