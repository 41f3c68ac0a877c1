package format_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/ledger"
)

// These tests hold what difftest builds, and what the formats read, against
// Debian's u-boot-tools and device-tree-compiler.

// tool returns the path of a program, or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// bench is a directory with the files of one test.
type bench struct {
	*testing.T
	dir string
}

func newBench(t *testing.T) bench { return bench{t, t.TempDir()} }

func (b bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b bench) write(name string, data []byte) string {
	b.Helper()
	if err := os.WriteFile(b.path(name), data, 0o600); err != nil {
		b.Fatal(err)
	}
	return b.path(name)
}

func (b bench) read(name string) []byte {
	b.Helper()
	data, err := os.ReadFile(b.path(name))
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// run runs a program in the directory, at a fixed time, and returns what it says.
func (b bench) run(args ...string) string {
	b.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1714558830", "TZ=UTC")
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// laid lays data out by the format of that name and fails for each Spec that
// is not true of it. It returns the sections by path.
func laid(t *testing.T, name string, data []byte) map[string]diff.Section {
	t.Helper()
	by := recognise(data)
	if by == nil || by.Name != name {
		t.Fatalf("recognised as %v", by)
	}
	sections, err := parse(by, data)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]diff.Section{}
	var visit func(path string, s *diff.Section)
	visit = func(path string, s *diff.Section) {
		for i := range s.Children {
			c := &s.Children[i]
			found[path+c.Name] = *c
			if c.Spec != nil {
				if err := holds(data, c); err != nil {
					t.Errorf("%s%s: %+v: %v", path, c.Name, c.Spec, err)
				}
			}
			visit(path+c.Name+"/", c)
		}
	}
	visit("", expanded(sections, int64(len(data)), nil))
	return found
}

// mkimage must write what difftest writes, time and all.
func TestMkimageLegacy(t *testing.T) {
	mkimage, b := tool(t, "mkimage"), newBench(t)
	plain := difftest.SmallUImage()
	multi := plain
	multi.Type, multi.Parts = 4, [][]byte{[]byte("kernel"), []byte("ramdisk!"), []byte("tree.")}
	script := plain
	script.Type, script.Parts = 6, [][]byte{[]byte("bootm 0x80000\n")}
	for _, test := range []struct {
		kind  string
		image difftest.UImage
	}{{"kernel", plain}, {"multi", multi}, {"script", script}} {
		var data []string
		parts := test.image.Parts
		if parts == nil {
			parts = [][]byte{test.image.Payload}
		}
		for i, p := range parts {
			data = append(data, b.write(fmt.Sprint("part", i), p))
		}
		b.run(mkimage, "-A", "arm64", "-O", "linux", "-T", test.kind, "-C", "none", "-a", "0x80000", "-e", "0x80000",
			"-n", "assay kernel", "-d", strings.Join(data, ":"), "out")
		got := b.read("out")
		if want := test.image.Bytes(); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got % x\nwant % x", test.kind, got, want)
		}
		laid(t, "uimage", got)
	}
}

const its = `/dts-v1/;
/ {
	description = "assay";
	#address-cells = <1>;
	images {
		kernel {
			description = "kernel"; data = /incbin/("kernel"); type = "kernel"; arch = "arm64"; os = "linux";
			compression = "none"; load = <0x80000>; entry = <0x80000>;
			hash-1 { algo = "crc32"; };
			hash-2 { algo = "sha256"; };
			hash-3 { algo = "sha512"; };
		};
		fdt-1 {
			description = "tree"; data = /incbin/("tree"); type = "flat_dt"; arch = "arm64"; compression = "none";
			hash-1 { algo = "md5"; };
			hash-2 { algo = "sha1"; };
			hash-3 { algo = "sha384"; };
		};
	};
	configurations {
		default = "conf-1";
		conf-1 { kernel = "kernel"; fdt = "fdt-1"; };
	};
};
`

// Every way mkimage lays a FIT image out is laid out the same way by us, and
// all that is said of it is true.
func TestMkimageFIT(t *testing.T) {
	mkimage := tool(t, "mkimage")
	tool(t, "dtc")
	kernel, tree := []byte("a kernel of 25 bytes, odd"), difftest.SmallFDT().Bytes()
	for _, test := range []struct {
		name     string
		args     []string
		external bool
	}{
		{"inline", nil, false},
		{"external", []string{"-E"}, true},
		{"position", []string{"-E", "-p", "0x1000"}, true},
		{"aligned", []string{"-E", "-B", "0x200"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.write("kernel", kernel)
			b.write("tree", tree)
			b.write("image.its", []byte(its))
			b.run(append(append([]string{mkimage}, test.args...), "-f", "image.its", "out")...)
			image := b.read("out")
			found := laid(t, "fdt", image)
			for name, want := range map[string][]byte{"images/kernel/data": kernel, "images/fdt-1/data": tree} {
				s := found[name]
				if !test.external {
					s = found[name+"/value"]
				}
				if !bytes.Equal(image[s.Off:s.End()], want) || !s.Open {
					t.Errorf("%s is at %v, open %t", name, s.Range(), s.Open)
				}
			}
			for _, name := range []string{
				"timestamp/value",
				"images/kernel/hash-1/value/value", "images/kernel/hash-2/value/value", "images/kernel/hash-3/value/value",
				"images/fdt-1/hash-1/value/value", "images/fdt-1/hash-2/value/value", "images/fdt-1/hash-3/value/value",
			} {
				if found[name].Spec == nil {
					t.Errorf("%s is no place", name)
				}
			}
			if test.external {
				for _, name := range []string{"images/kernel/data-size/value", "images/fdt-1/data-size/value"} {
					if s := found[name]; s.Spec == nil || s.Spec.Op != ledger.OpNumber {
						t.Errorf("%s is no place", name)
					}
				}
			}
			if out := b.run(tool(t, "dumpimage"), "-l", "out"); !strings.Contains(out, "2024-05-01 10:20:30") && !strings.Contains(out, "May  1 10:20:30 2024") {
				t.Errorf("dumpimage: %s", out)
			}
		})
	}
}

// dtc must write what difftest writes, and read it too.
func TestDtc(t *testing.T) {
	dtc, b := tool(t, "dtc"), newBench(t)
	b.write("in.dts", []byte(`/dts-v1/;
/memreserve/ 0x40000000 0x1000;
/ {
	compatible = "assay,board";
	empty;
	soc { serial@1000 { reg = <0x1000>; status = "ok"; }; };
};
`))
	b.run(dtc, "-q", "-I", "dts", "-O", "dtb", "-o", "out", "in.dts")
	if got, want := b.read("out"), difftest.SmallFDT().Bytes(); !bytes.Equal(got, want) {
		t.Errorf("\n got % x\nwant % x", got, want)
	}
	b.run(dtc, "-q", "-I", "dts", "-O", "dtb", "-S", "4096", "-R", "4", "-o", "out", "in.dts")
	laid(t, "fdt", b.read("out"))
	for _, s := range difftest.Samples() {
		if s.Format == "fdt" {
			b.write("in.dtb", s.Data)
			b.run(dtc, "-q", "-I", "dtb", "-O", "dts", "in.dtb")
		}
	}
}

// dumpimage must find in difftest's FIT images what was put there.
func TestDumpimageFIT(t *testing.T) {
	dumpimage, b := tool(t, "dumpimage"), newBench(t)
	for _, external := range []bool{false, true} {
		f := difftest.SmallFIT()
		f.External = external
		b.write("fit", f.Bytes())
		for i, image := range f.Images {
			b.run(dumpimage, "-T", "flat_dt", "-p", fmt.Sprint(i), "-o", "out", "fit")
			if got := b.read("out"); !bytes.Equal(got, image.Data) {
				t.Errorf("external %t: image %d is % x, want % x", external, i, got, image.Data)
			}
		}
	}
}
