package partition_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/internal/partition"
)

func readMBR(b []byte) (*partition.Disk, error) {
	return partition.MBR(bytes.NewReader(b), int64(len(b)))
}

func readGPT(b []byte) (*partition.GPT, error) {
	return partition.ReadGPT(context.Background(), bytes.NewReader(b), int64(len(b)))
}

// claims lists claims in blocks: "name first+blocks", with a "~" behind what is not
// all that was claimed.
func claims(d *partition.Disk) string {
	var out []string
	for i := range d.Claims {
		c := &d.Claims[i]
		s := fmt.Sprintf("%s %d+%d", c, c.Off/d.Sector, c.Len/d.Sector)
		if !c.Whole {
			s += "~"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func smallMBR() []byte { return difftest.SmallMBR([]byte("content")).Bytes() }

const wholeMBR = "boot record 0+1, partition1 2+1, partition2 4+1, extended boot record 5 5+1, partition5 7+1, extended boot record 6 8+1, partition6 10+1"

// A word is 32 bits, little-endian, at an offset.
type word struct {
	at int
	v  uint32
}

func put(b []byte, words []word) []byte {
	for _, w := range words {
		binary.LittleEndian.PutUint32(b[w.at:], w.v)
	}
	return b
}

func TestMBR(t *testing.T) {
	const e1, e2, ebr5, ebr6 = 446, 462, 5 * 512, 8 * 512
	for _, c := range []struct {
		what  string
		words []word
		want  string
		note  string
	}{
		{"as made", nil, wholeMBR, ""},
		{"overlapping", []word{{e2 + 8, 2}, {e2 + 12, 2}}, "boot record 0+1, partition1 2+1, partition2 3+1~, extended boot record 5 5+1, partition5 7+1, extended boot record 6 8+1, partition6 10+1", "partition2 overlaps"},
		{"around another", []word{{e2 + 8, 1}, {e2 + 12, 3}}, "boot record 0+1, partition2 1+1~, partition1 2+1, partition2 3+1~, extended boot record 5 5+1, partition5 7+1, extended boot record 6 8+1, partition6 10+1", "partition2 overlaps"},
		{"beyond the disk", []word{{e2 + 8, 9999}}, strings.Replace(wholeMBR, "partition2 4+1, ", "", 1), "partition2 is not on the disk: 512 bytes at 5119488 of 5632"},
		{"of the most blocks", []word{{e1 + 12, 0xffffffff}}, "boot record 0+1, partition1 2+9", "partition2 overlaps"},
		{"chain to itself", []word{{ebr6 + 462 + 8, 3}, {ebr6 + 462 + 12, 1}, {ebr6 + 462 + 4, 5}}, wholeMBR, "comes to block 8 again"},
		{"chain to its start", []word{{ebr6 + 462 + 8, 0}, {ebr6 + 462 + 12, 1}, {ebr6 + 462 + 4, 5}}, wholeMBR, "comes to block 5 again"},
		{"chain into a partition", []word{{ebr6 + 462 + 8, 2}, {ebr6 + 462 + 12, 1}, {ebr6 + 462 + 4, 5}}, wholeMBR, "no extended boot record in block 7"},
		{"chain beyond the disk", []word{{ebr5 + 462 + 8, 0xfffffff0}}, strings.Split(wholeMBR, ", extended boot record 6")[0], "no extended boot record in block 4294967285"},
		{"extended boot record unsigned", []word{{ebr5 + 508, 0}}, strings.Split(wholeMBR, ", extended")[0], "no extended boot record in block 5"},
		{"logical partition over the next record", []word{{ebr5 + 446 + 12, 3}}, "boot record 0+1, partition1 2+1, partition2 4+1, extended boot record 5 5+1, partition5 7+3", "extended boot record 6 overlaps"},
	} {
		d, err := readMBR(put(smallMBR(), c.words))
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		sound(t, d)
		if got := claims(d); got != c.want || !strings.Contains(d.Note, c.note) || c.note == "" && d.Note != "" {
			t.Errorf("%s: %s, note %q, not %s", c.what, got, d.Note, c.want)
		}
	}
}

// Sectors with the same signature that hold no table.
func TestNoMBR(t *testing.T) {
	for _, c := range []struct {
		what string
		edit func(b []byte)
	}{
		{"no signature", func(b []byte) { b[510] = 0 }},
		{"no entry", func(b []byte) { clear(b[446:510]) }},
		{"a status that is none", func(b []byte) { b[446] = 1 }},
		{"an entry at the beginning", func(b []byte) { put(b, []word{{446 + 8, 0}}) }},
		{"nothing on the disk", func(b []byte) { clear(b[462:510]); put(b, []word{{446 + 8, 1 << 20}}) }},
		{"bytes in an entry that is not in use", func(b []byte) { clear(b[494:510]); put(b, []word{{494 + 8, 1}}) }},
		{"a kernel", func(b []byte) { copy(b[0x202:], "HdrS") }},
	} {
		b := smallMBR()
		c.edit(b)
		if d, err := readMBR(b); err == nil {
			t.Errorf("%s: %s", c.what, claims(d))
		}
	}
}

func smallGPT(block int) []byte { return difftest.SmallGPT(block, []byte("content")).Bytes() }

const wholeGPT = "boot record 0+1, header 1+1, entries 2+1, partition1 (EFI System) 4+1, partition2 (rootfs) 6+1, backup entries 8+1, backup header 9+1"

func TestGPT(t *testing.T) {
	// In blocks of 512 bytes the entries are at 1024, their copies at 8 and 9 blocks.
	const h, e1, e2 = 512, 1024, 1024 + 128
	for _, c := range []struct {
		what  string
		words []word
		want  string
		note  string
	}{
		{"as made", nil, wholeGPT, ""},
		{"overlapping", []word{{e2 + 32, 3}, {e2 + 40, 5}}, strings.Replace(strings.Replace(wholeGPT, "entries 2+1, partition1 (EFI System) 4+1", "entries 2+1, partition2 (rootfs) 3+1~, partition1 (EFI System) 4+1, partition2 (rootfs) 5+1~", 1), "partition2 (rootfs) 6+1, ", "", 1), "partition2 (rootfs) overlaps"},
		{"over the header", []word{{e2 + 32, 1}, {e2 + 40, 1}}, strings.Replace(wholeGPT, "partition2 (rootfs) 6+1, ", "", 1), "partition2 (rootfs) overlaps"},
		{"upside down", []word{{e2 + 32, 6}, {e2 + 40, 5}}, strings.Replace(wholeGPT, "partition2 (rootfs) 6+1, ", "", 1), "partition2 (rootfs) is not on the disk"},
		{"beyond any disk", []word{{e2 + 36, 0xffffffff}, {e2 + 44, 0xffffffff}}, strings.Replace(wholeGPT, "partition2 (rootfs) 6+1, ", "", 1), "partition2 (rootfs) is not on the disk"},
		{"other header not where it is said to be", []word{{h + 32, 7}}, wholeGPT, ""},
		{"no other header", []word{{9 * 512, 0}}, strings.Split(wholeGPT, ", backup")[0], "no copy of the header"},
		{"copy of the entries where the entries are", []word{{9*512 + 72, 2}}, strings.Replace(wholeGPT, "backup entries 8+1, ", "", 1), "backup entries overlaps"},
		{"copy of the entries beyond the disk", []word{{9*512 + 72, 99}}, strings.Replace(wholeGPT, "backup entries 8+1, ", "", 1), "the copy of the entries is not on the disk"},
		{"entries over the header", []word{{h + 72, 1}}, "boot record 0+1, header 1+1, backup entries 8+1, backup header 9+1", "entries overlaps"},
	} {
		g, err := readGPT(put(smallGPT(512), c.words))
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		sound(t, &g.Disk)
		if got := claims(&g.Disk); !strings.HasPrefix(got, strings.Split(c.want, ", backup")[0]) || !strings.Contains(g.Note, c.note) || c.note == "" && (got != c.want || g.Note != "") {
			t.Errorf("%s: %s, note %q, not %s", c.what, got, g.Note, c.want)
		}
	}
	g, err := readGPT(smallGPT(4096)) // in which four entries take no whole block
	want := strings.NewReplacer("entries 2+1", "entries 2+0", "entries 8+1", "entries 8+0").Replace(wholeGPT)
	if err != nil || claims(&g.Disk) != want || g.Sector != 4096 {
		t.Errorf("blocks of 4096 bytes: %v", err)
	}
	// On a longer disk the copy is where the header says.
	g, err = readGPT(append(smallGPT(512), make([]byte, 4096)...))
	if err != nil || claims(&g.Disk) != wholeGPT {
		t.Errorf("on a longer disk: %v", err)
	}
}

func TestNoGPT(t *testing.T) {
	for _, c := range []struct {
		what string
		word word
	}{
		{"magic", word{512, 0}},
		{"revision", word{512 + 8, 0x00020000}},
		{"header too short", word{512 + 12, 91}},
		{"header too long", word{512 + 12, 513}},
		{"another block", word{512 + 24, 2}},
		{"entries beyond the disk", word{512 + 72, 9999}},
		{"entries beyond any disk", word{512 + 76, 0xffffffff}},
		{"no entries", word{512 + 80, 0}},
		{"too many entries", word{512 + 80, 0xffffffff}},
		{"entries too short", word{512 + 84, 64}},
		{"entries of an odd length", word{512 + 84, 129}},
	} {
		if g, err := readGPT(put(smallGPT(512), []word{c.word})); err == nil {
			t.Errorf("%s: %s", c.what, claims(&g.Disk))
		}
	}
}

// More partitions than anybody has are not laid out, and their overlaps cost little.
func TestMany(t *testing.T) {
	g := difftest.GPT{Block: 512, Entries: 20000}
	for range 20000 {
		g.Partitions = append(g.Partitions, difftest.GPTPartition{Type: [16]byte{1}, Content: []byte("x")})
	}
	b := g.Bytes()
	d, err := readGPT(b)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(d.Claims); n != partition.MaxPartitions+5 || !strings.Contains(d.Note, "more than 1024 partitions") {
		t.Errorf("%d claims, note %q", n, d.Note)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := partition.ReadGPT(ctx, bytes.NewReader(b), int64(len(b))); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A disk that cannot be read has no table.
func TestUnreadable(t *testing.T) {
	for _, b := range [][]byte{smallMBR(), smallGPT(512)} {
		r := io.NewSectionReader(bytes.NewReader(b), 0, 100)
		if _, err := partition.MBR(r, int64(len(b))); err == nil {
			t.Error("a boot record out of nothing")
		}
		if _, err := partition.ReadGPT(context.Background(), r, int64(len(b))); err == nil {
			t.Error("a table out of nothing")
		}
	}
}

// sound checks what holds of any disk: claims lie on it, in order, apart.
func sound(t *testing.T, d *partition.Disk) {
	t.Helper()
	at := int64(0)
	for i := range d.Claims {
		c := &d.Claims[i]
		if c.Off < at || c.Len <= 0 || c.Len > d.Size-c.Off {
			t.Fatalf("%s, of %d bytes", claims(d), d.Size)
		}
		at = c.End()
	}
}

func read(t *testing.T, b []byte) {
	t.Helper()
	if d, err := readMBR(b); err == nil {
		sound(t, d)
	}
	if g, err := readGPT(b); err == nil {
		sound(t, &g.Disk)
	}
}

func TestMutated(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("ASSAY_MUTATIONS"))
	if err != nil {
		n = 2000
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		b := smallMBR()
		if i%2 == 0 {
			b = smallGPT(512)
		}
		for range 1 + rng.IntN(6) {
			b[rng.IntN(len(b))] = []byte{0, 1, 5, 0x7f, 0xff, byte(rng.Uint32())}[rng.IntN(6)]
		}
		read(t, b)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(smallMBR())
	f.Add(smallGPT(512))
	f.Add(smallGPT(4096))
	f.Fuzz(func(t *testing.T, b []byte) { read(t, b) })
}

// tool runs a tool with a script on its input.
func tool(t *testing.T, script, name string, args ...string) []byte {
	t.Helper()
	c := exec.Command(name, args...)
	c.Stdin = strings.NewReader(script)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, stderr.Bytes())
	}
	return out
}

// Partitions are where sfdisk says they are, whoever made the table.
func TestTools(t *testing.T) {
	difftest.Tools(t, "sfdisk", "sgdisk")
	for _, c := range []struct {
		what, script string
		args         []string // of sgdisk, where it makes the table
	}{
		{"dos", "label: dos\n2048,4096,c,*\n,8192,83\n,,83\n", nil},
		{"dos with logical partitions", "label: dos\nx1: start=2048, size=4096, type=c\nx2: start=8192, size=30000, type=5\nx3: start=40000, size=2000\nx5: start=10240, size=2000\nx6: start=14336, size=2000, type=82\nx7: start=18432, size=4000\n", nil},
		{"gpt", "label: gpt\nsize=4096, type=U, name=\"EFI System\"\nsize=2M, name=\"rööt ☃\", attrs=\"RequiredPartition\"\n,,\n", nil},
		{"gpt with a long table", "label: gpt\ntable-length: 256\nfirst-lba: 512\nsize=4096\n,,\n", nil},
		{"sgdisk", "", []string{"-n1:0:+1M", "-c1:boot", "-t1:ef00", "-n5:0:+2M", "-n3:0:0"}},
		{"sgdisk, hybrid", "", []string{"-n1:0:+1M", "-n2:0:+2M", "-h1:2"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk")
			if err := os.WriteFile(path, make([]byte, 32<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.args != nil {
				tool(t, "", "sgdisk", append(c.args, path)...)
			} else {
				tool(t, c.script, "sfdisk", "-q", path)
			}
			var said struct {
				PartitionTable struct {
					Label      string
					Partitions []struct {
						Node        string
						Start, Size int64
						Type, Name  string
					}
				}
			}
			if err := json.Unmarshal(tool(t, "", "sfdisk", "--json", path), &said); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var d *partition.Disk
			if said.PartitionTable.Label == "gpt" {
				g, err := readGPT(b)
				if err != nil {
					t.Fatal(err)
				}
				d = &g.Disk
				if g.Backup == nil || d.Claims[len(d.Claims)-1].End() != d.Size {
					t.Error("no backup at the end of the disk")
				}
			} else if d, err = readMBR(b); err != nil {
				t.Fatal(err)
			}
			sound(t, d)
			var got, want []string
			for _, x := range d.Claims {
				if x.Kind == partition.Partition {
					got = append(got, fmt.Sprintf("%d %q %d+%d", x.Number, x.Label, x.Off/d.Sector, x.Len/d.Sector))
				}
			}
			for _, p := range said.PartitionTable.Partitions {
				if p.Type != "5" {
					want = append(want, fmt.Sprintf("%s %q %d+%d", strings.TrimPrefix(p.Node, path), p.Name, p.Start, p.Size))
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) || d.Note != "" {
				t.Errorf("%q, not %q; note %q", got, want, d.Note)
			}
		})
	}
}

// fdisk makes tables in blocks of 4096 bytes.
func TestLargeBlocks(t *testing.T) {
	difftest.Tools(t, "fdisk")
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 32<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "g\nn\n1\n\n+1000\nn\n2\n\n\nw\n", "fdisk", "-b", "4096", path)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	g, err := readGPT(b)
	if err != nil {
		t.Fatal(err)
	}
	sound(t, &g.Disk)
	said := string(tool(t, "", "fdisk", "-b", "4096", "-l", "-o", "Start,Sectors", path))
	n := 0
	for _, c := range g.Claims {
		if c.Kind == partition.Partition {
			n++
			fields := func(line string) bool {
				return slices.Equal(strings.Fields(line), []string{fmt.Sprint(c.Off / 4096), fmt.Sprint(c.Len / 4096)})
			}
			if !slices.ContainsFunc(strings.Split(said, "\n"), fields) {
				t.Errorf("partition %d at %d+%d is not in:\n%s", c.Number, c.Off/4096, c.Len/4096, said)
			}
		}
	}
	if n != 2 || g.Sector != 4096 || g.Note != "" {
		t.Errorf("%d partitions in blocks of %d bytes, note %q", n, g.Sector, g.Note)
	}
}
