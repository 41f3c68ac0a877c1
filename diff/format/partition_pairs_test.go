package format_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
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

// smallVolume is what the first partition holds.
func smallVolume() difftest.FAT { return difftest.SmallFAT(12) }

// reseal computes the sums of a small GUID partition table anew, as one does who
// hides something in it.
func reseal(b []byte) []byte {
	le := binary.LittleEndian
	for _, at := range []int{512, len(b) - 512} {
		h := b[at:][:92]
		array := b[512*int(le.Uint64(h[72:])):][:128*int(le.Uint32(h[80:]))]
		le.PutUint32(h[88:], crc32.ChecksumIEEE(array))
		le.PutUint32(h[16:], 0)
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h))
	}
	return b
}

// otherGPT is the same disk with other ids, of the volume in it too.
func otherGPT() difftest.GPT {
	g := difftest.SmallGPT(512, otherFAT(smallVolume()).Bytes())
	g.Disk[5], g.Partitions[0].ID[5], g.Partitions[1].ID[6] = 0xee, 0xed, 0xec
	return g
}

func TestGPTHidden(t *testing.T) {
	// Entries at 1024, the volume in blocks 4 to 15, the other partition in block
	// 17, behind it a block in no partition; the copies end the disk.
	ref := difftest.SmallGPT(512, smallVolume().Bytes()).Bytes()
	const entries, volume, last = 1024, 4 * 512, 17
	for _, h := range []diskHidden{
		{"boot code", 100, 60, "boot record:boot code"},
		{"disk signature where there is none", 440, 4, "boot record:disk signature"},
		{"protective entry", 446 + 12, 1, "boot record:entry 1:blocks"},
		{"hybrid entry", 462 + 4, 1, "boot record:entry 2:type"},
		{"reserved field of the header", 512 + 20, 4, "header:reserved"},
		{"after the header", 512 + 200, 60, "header:after the header"},
		{"type of a partition", entries, 1, "entries:entry 1:type"},
		{"attributes", entries + 48, 8, "entries:entry 1:attributes"},
		{"name", entries + 56 + 40, 8, "entries:entry 1:name"},
		{"entry that is not in use", entries + 3*128 + 60, 60, "entries:entry 4"},
		{"gap before the first partition", 3*512 + 30, 60, "unpartitioned"},
		{"gap between partitions", volume + 12*512 + 30, 60, "unpartitioned#2"},
		{"gap after the last partition", (last+1)*512 + 30, 60, "unpartitioned#3"},
		{"in a partition", last*512 + 3, 4, "partition2 (rootfs)"},
		{"after what fills a partition", last*512 + 200, 60, "partition2 (rootfs)"},
		{"slack in a volume", volume + 3072 + 100, 60, "partition1 (EFI System)/README.TXT:slack"},
		{"attributes in a volume", volume + 1536 + 2*32 + 11, 1, "partition1 (EFI System)/./README.TXT:attributes"},
		{"copy of an entry", 19*512 + 48, 8, "backup entries:entry 1:attributes"},
		{"after the copy of the header", 20*512 + 200, 60, "backup header:after the header"},
	} {
		t.Run(h.what, func(t *testing.T) {
			diskAccused(t, diskCompare(t, ref, h.in(ref)), h.off, h.path)
			diskAccused(t, diskCompare(t, ref, reseal(h.in(ref))), h.off, h.path)
			diskAccused(t, diskCompare(t, ref, reseal(h.in(otherGPT().Bytes()))), h.off, h.path)
		})
	}
	// An entry that names a partition where the reference has none.
	dep := bytes.Clone(ref)
	copy(dep[entries+2*128:], ref[entries:][:128])
	diskAccused(t, diskCompare(t, ref, reseal(dep)), entries+2*128, "entries:entry 3")
	// A sum that is not what it covers.
	dep = bytes.Clone(ref)
	dep[512+16] ^= 1
	diskAccused(t, diskCompare(t, ref, dep), 512+16, "header:header CRC-32")
}

// Three ids of 128 bits; the volume's id and its times, 32 bits each; the four sums
// cost nothing.
func TestGPTBenign(t *testing.T) {
	for _, block := range []int{512, 4096} {
		ref := difftest.SmallGPT(block, smallVolume().Bytes())
		dep := otherGPT()
		dep.Block = block
		diskExplained(t, ref.Bytes(), dep.Bytes(), 3*128+32+32)
	}
}

func TestMBRHidden(t *testing.T) {
	// The volume in blocks 2 to 13, the second partition in 15, extended boot
	// records in 16 and 19, their partitions in 18 and 21.
	disk := difftest.SmallMBR(smallVolume().Bytes())
	ref := disk.Bytes()
	disk.Signature = 0xdeadbea7
	disk.Primary[0].Content = otherFAT(smallVolume()).Bytes()
	for _, h := range []diskHidden{
		{"boot code", 100, 60, "boot record:boot code"},
		{"copy protection", 444, 2, "boot record:copy protection"},
		{"status", 446, 1, "boot record:entry 1:status"},
		{"gap behind the boot record", 512 + 30, 60, "unpartitioned"},
		{"gap between partitions", 14*512 + 30, 60, "unpartitioned#2"},
		{"extended boot record", 16*512 + 440, 4, "extended boot record 5:boot code"},
		{"third entry of an extended boot record", 16*512 + 478, 4, "extended boot record 5:entry 3:status"},
		{"gap in an extended partition", 17*512 + 30, 60, "unpartitioned#3"},
		{"logical partition", 18*512 + 3, 4, "partition5"},
		{"slack in a volume", 2*512 + 3072 + 100, 60, "partition1/README.TXT:slack"},
		{"free clusters in a volume", 2*512 + 5120 + 700, 60, "partition1:free clusters#2"},
	} {
		t.Run(h.what, func(t *testing.T) {
			if h.what == "status" {
				b := bytes.Clone(ref)
				b[446] = 0x80
				diskAccused(t, diskCompare(t, ref, b), h.off, h.path)
				return
			}
			diskAccused(t, diskCompare(t, ref, h.in(ref)), h.off, h.path)
			diskAccused(t, diskCompare(t, ref, h.in(disk.Bytes())), h.off, h.path)
		})
	}
	diskExplained(t, ref, disk.Bytes(), 3*32)
}

// Code reaches over the place of the signature in records that have none.
func TestMBRWithoutSignature(t *testing.T) {
	for _, mark := range []uint16{0, 0x5a5a, 0xeb12} {
		disk := difftest.SmallMBR([]byte("content"))
		ref := disk.Bytes()
		binary.LittleEndian.PutUint16(ref[444:], mark)
		dep := bytes.Clone(ref)
		binary.LittleEndian.PutUint32(dep[440:], 0x12345678)
		if mark == 0xeb12 {
			diskAccused(t, diskCompare(t, ref, dep), 440, "boot record:disk signature")
		} else {
			diskExplained(t, ref, dep, 32)
		}
		clear(ref[440:444])
		diskAccused(t, diskCompare(t, ref, dep), 440, "boot record:disk signature")
	}
}

// Two runs of sgdisk: an id for the disk and for each partition.
func TestSgdisk(t *testing.T) {
	difftest.Tools(t, "sgdisk")
	disk := func() []byte {
		path := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(path, make([]byte, 8<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"-n1:0:+1M", "-c1:boot", "-t1:ef00", "-n2:0:+2M", "-n3:0:0", path}
		if out, err := exec.Command("sgdisk", args...).CombinedOutput(); err != nil {
			t.Fatalf("sgdisk: %v\n%s", err, out)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ref, dep := disk(), disk()
	diskExplained(t, ref, dep, 4*128)
	res := diskCompare(t, ref, diskHidden{n: 60, off: 1 << 20}.in(dep))
	diskAccused(t, res, 1<<20, "partition1 (boot)")
}

// A disk with file systems of several kinds in its partitions: each is laid out as
// such, under the name of the partition.
func TestDiskOfVolumes(t *testing.T) {
	disk := difftest.GPT{Block: 512, Entries: 128, Gap: 1}
	var want []string
	for _, s := range difftest.Samples() {
		switch s.Format {
		case "fat", "ext", "squashfs":
			disk.Partitions = append(disk.Partitions, difftest.GPTPartition{
				Type: [16]byte{1}, ID: [16]byte{byte(len(want) + 1)}, Name: s.Name, Content: s.Data,
			})
			want = append(want, fmt.Sprintf("partition%d (%s): %s", len(want)+1, s.Name, s.Format))
		}
	}
	b := disk.Bytes()
	root, err := diff.Inspect(context.Background(), diff.Image{Name: "image", ReaderAt: bytes.NewReader(b), Size: int64(len(b))}, false,
		diff.Options{Formats: format.All(), Codecs: format.Codecs(diff.Limits{})})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range root.Children {
		if strings.HasPrefix(n.Name, "partition") {
			by, _, _ := strings.Cut(n.Format, "@")
			got = append(got, n.Name+": "+by)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, not %q", got, want)
	}
}
