package lzmaexact

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
)

var recording = flag.Bool("record", false, "write testdata/golden.txt anew, with the xz that is installed")

const goldenFile = "testdata/golden.txt"

// inputs are made of nothing but arithmetic.
func inputs() map[string][]byte {
	m := map[string][]byte{
		"empty":        nil,
		"one":          []byte("a"),
		"four":         []byte("abab"),
		"zeros":        make([]byte, 100_000),
		"text":         text(300 << 10),
		"noise":        noise(200_000),
		"code":         code(120_000),
		"patches":      patches(300 << 10),
		"big":          patches(3 << 20),
		"period-4097":  bytes.Repeat(noise(4097), 40),
		"period-65537": bytes.Repeat(noise(65537), 4),
	}
	for _, n := range []int{1<<16 - 1, 1 << 16, 1<<16 + 1} {
		m[fmt.Sprintf("noise-%d", n)] = noise(n)
	}
	for _, n := range []int{1<<21 - 274, 1<<21 - 273, 1<<21 - 1, 1 << 21, 1<<21 + 1} {
		m[fmt.Sprintf("zeros-%d", n)] = make([]byte, n)
	}
	return m
}

func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func noise(n int) []byte {
	r := source(uint64(n))
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:n]
}

// text is words of a small vocabulary, some much more common than others.
func text(n int) []byte {
	r := source(1)
	var words []string
	for range 600 {
		w := make([]byte, 2+r.IntN(8))
		for i := range w {
			w[i] = "etaoinshrdlucmfwyp"[r.IntN(1+r.IntN(18))]
		}
		words = append(words, string(w))
	}
	var b []byte
	for len(b) < n {
		b = append(b, words[r.IntN(1+r.IntN(len(words)))]...)
		b = append(b, " \n,"[r.IntN(1+r.IntN(3))])
	}
	return b[:n]
}

// code has branches of every architecture among other words, at odd places too.
func code(n int) []byte {
	r := source(2)
	var b []byte
	for len(b) < n {
		target := uint32(r.IntN(50)) * 256
		rel := target - uint32(len(b))
		switch r.IntN(10) {
		case 0: // x86 call and jmp, some just after another
			b = append(b, 0xE8|byte(r.IntN(2)))
			b = binary.LittleEndian.AppendUint32(b, rel)
		case 1:
			b = append(b, 0xE8, byte(r.IntN(256)), 0xE9, 0, byte(r.IntN(256)), 0xFF, byte(-r.IntN(2)))
		case 2:
			b = binary.BigEndian.AppendUint32(b, 0x48000001|rel&0x3FFFFFC)
		case 3:
			b = binary.LittleEndian.AppendUint32(b, 0xEB000000|rel>>2&0xFFFFFF)
		case 4:
			b = binary.LittleEndian.AppendUint16(b, 0xF000|uint16(rel>>12&0x7FF))
			b = binary.LittleEndian.AppendUint16(b, 0xF800|uint16(rel>>1&0x7FF))
		case 5:
			b = binary.LittleEndian.AppendUint32(b, 0x94000000|rel>>2&0x3FFFFFF)
		case 6:
			b = binary.LittleEndian.AppendUint32(b, 0x90000000|r.Uint32()&0x60FFFFFF)
		case 7:
			b = binary.BigEndian.AppendUint32(b, 0x40000000|rel>>2&0x3FFFFF)
		case 8: // a bundle of three branches
			for len(b)%16 != 0 {
				b = append(b, 0)
			}
			b = append(b, []byte{0x10, 0x12, 0x16, 0x18, 0x1C}[r.IntN(5)])
			for range 15 {
				b = append(b, []byte{0x50, 0x00, 0x05, 0xA0, byte(r.IntN(256))}[r.IntN(5)])
			}
		default:
			for range r.IntN(8) {
				b = append(b, byte(r.IntN(6)))
			}
			for len(b)%4 != 0 && r.IntN(8) > 0 {
				b = append(b, 0)
			}
		}
	}
	return b[:n]
}

// patches are noise, zeros, words and what stood before, of all lengths.
func patches(n int) []byte {
	r := source(3)
	words := text(n / 4)
	var b []byte
	for len(b) < n {
		l := 1 + r.IntN(1<<r.IntN(17))
		switch r.IntN(4) {
		case 0:
			for range l {
				b = append(b, byte(r.Uint32()))
			}
		case 1:
			b = append(b, make([]byte, l)...)
		case 2:
			l = min(l, len(b))
			at := r.IntN(len(b) - l + 1)
			b = append(b, b[at:at+l]...)
		case 3:
			l = min(l, len(words))
			at := r.IntN(len(words) - l + 1)
			b = append(b, words[at:at+l]...)
		}
	}
	return b[:n]
}

// A setting is a command that reads standard input, and the options that do the same.
type setting struct {
	args string
	o    Options
}

func presets() []setting {
	var s []setting
	for p := range 10 {
		s = append(s,
			setting{fmt.Sprintf("xz -%d", p), Options{Preset: p, Check: CRC64}},
			setting{fmt.Sprintf("xz -%de", p), Options{Preset: p, Extreme: true, Check: CRC64}})
	}
	return s
}

func filters() []setting {
	var s []setting
	for _, f := range []struct {
		name string
		bcj  BCJ
	}{
		{"x86", X86}, {"powerpc", PowerPC}, {"ia64", IA64}, {"arm", ARM}, {"armthumb", ARMThumb}, {"sparc", SPARC}, {"arm64", ARM64},
	} {
		s = append(s, setting{"xz --check=crc32 --" + f.name + " --lzma2=dict=1MiB", Options{Preset: 6, Check: CRC32, BCJ: f.bcj, Dict: 1 << 20}})
	}
	return s
}

func containers() []setting {
	return []setting{
		{"xz --format=lzma -6", Options{Format: Alone, Preset: 6}},
		{"xz --format=lzma -1", Options{Format: Alone, Preset: 1}},
		{"xz --format=lzma --lzma1=preset=9,dict=3000000,lc=1,lp=2,pb=0", Options{Format: Alone, Preset: 9, Dict: 3_000_000, Props: &Props{LC: 1, LP: 2}}},
		{"xz --format=raw --lzma2=preset=3", Options{Format: LZMA2, Preset: 3}},
		{"xz --check=none -2", Options{Preset: 2}},
		{"xz --check=sha256 -2", Options{Preset: 2, Check: SHA256}},
		{"xz --block-size=65536 -4", Options{Preset: 4, Check: CRC64, BlockSize: 1 << 16}},
		{"xz -T2 -0", Options{Format: XZThreaded, Preset: 0, Check: CRC64}},
		{"xz -T2 --block-size=70000 -4", Options{Format: XZThreaded, Preset: 4, Check: CRC64, BlockSize: 70_000}},
		{"xz -T2 --check=sha256 --block-size=1000 -1", Options{Format: XZThreaded, Preset: 1, Check: SHA256, BlockSize: 1000}},
		{"xz -T3 --check=none --block-size=131072 --arm --lzma2=dict=128KiB", Options{Format: XZThreaded, Preset: 6, BCJ: ARM, Dict: 1 << 17, BlockSize: 1 << 17}},
	}
}

func tunings() []setting {
	return []setting{
		{"xz --lzma2=dict=4KiB", Options{Preset: 6, Check: CRC64, Dict: 1 << 12}},
		{"xz --lzma2=dict=5000", Options{Preset: 6, Check: CRC64, Dict: 5000}},
		{"xz --check=crc32 --lzma2=dict=32MiB", Options{Preset: 6, Check: CRC32, Dict: 32 << 20}},
		{"xz --lzma2=preset=9,dict=48MiB", Options{Preset: 9, Check: CRC64, Dict: 48 << 20}},
		{"xz --lzma2=lc=4,pb=0", Options{Preset: 6, Check: CRC64, Props: &Props{LC: 4}}},
		{"xz --lzma2=lc=0,lp=4,pb=4", Options{Preset: 6, Check: CRC64, Props: &Props{LP: 4, PB: 4}}},
		{"xz --lzma2=lc=2,lp=2,pb=1,dict=64KiB,nice=7", Options{Preset: 6, Check: CRC64, Props: &Props{LC: 2, LP: 2, PB: 1}, Dict: 1 << 16, Nice: 7}},
		{"xz --lzma2=mf=bt2,nice=2", Options{Preset: 6, Check: CRC64, Finder: BT2, Nice: 2}},
		{"xz --lzma2=mf=bt2,mode=fast", Options{Preset: 6, Check: CRC64, Finder: BT2, Mode: Fast}},
		{"xz --lzma2=mf=bt3,nice=273", Options{Preset: 6, Check: CRC64, Finder: BT3, Nice: 273}},
		{"xz --lzma2=mf=bt3,dict=32MiB", Options{Preset: 6, Check: CRC64, Finder: BT3, Dict: 32 << 20}},
		{"xz --lzma2=mf=hc3,nice=5", Options{Preset: 6, Check: CRC64, Finder: HC3, Nice: 5}},
		{"xz --lzma2=mf=hc4,depth=1000,nice=200", Options{Preset: 6, Check: CRC64, Finder: HC4, Depth: 1000, Nice: 200}},
		{"xz --lzma2=mf=bt4,depth=1,nice=8", Options{Preset: 6, Check: CRC64, Finder: BT4, Depth: 1, Nice: 8}},
		{"xz --lzma2=preset=3,mode=normal,dict=4KiB", Options{Preset: 3, Check: CRC64, Mode: Normal, Dict: 1 << 12}},
	}
}

// A vector is what is compressed, and how.
type vector struct {
	input string
	setting
}

func vectors() []vector {
	var v []vector
	add := func(settings []setting, names ...string) {
		for _, s := range settings {
			for _, n := range names {
				v = append(v, vector{n, s})
			}
		}
	}
	add(presets(), "patches")
	add(filters(), "code")
	add(containers(), "empty", "one", "patches", "noise")
	add(tunings(), "patches")
	add(tunings()[7:], "text")
	small := []string{
		"empty", "one", "four", "zeros", "text", "noise", "code", "period-4097", "period-65537",
		"noise-65535", "noise-65536", "noise-65537",
	}
	add(presets()[6*2:6*2+1], small...)
	add(presets()[0:1], small...)
	add(presets()[1*2:1*2+1], "zeros-2096878", "zeros-2096879", "zeros-2097151", "zeros-2097152", "zeros-2097153")
	add([]setting{
		{"xz -6", Options{Preset: 6, Check: CRC64}},
		{"xz -T2 -1 --block-size=1MiB", Options{Format: XZThreaded, Preset: 1, Check: CRC64, BlockSize: 1 << 20}},
	}, "big")
	return v
}

func compress(t testing.TB, o Options, in []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(in); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestGolden compares with digests of what XZ Utils 5.4.1 made of the same input.
func TestGolden(t *testing.T) {
	in := inputs()
	if *recording {
		recordGolden(t, in)
	}
	want := readGolden(t)
	for _, v := range vectors() {
		t.Run(v.input+"/"+v.args, func(t *testing.T) {
			got := fmt.Sprintf("%x", sha256.Sum256(compress(t, v.o, in[v.input])))
			if w := want[v.input+" "+v.args]; got != w {
				t.Errorf("sha256 %s, want %q", got, w)
			}
		})
	}
}

// TestBuffer compares with digests of what lzma_stream_buffer_encode of liblzma 5.4.1
// gave for lzma_lzma_preset of 6 and LZMA_CHECK_CRC32; no tool writes it to a file.
func TestBuffer(t *testing.T) {
	in := inputs()
	for _, v := range []struct {
		input string
		dict  uint32
		bcj   BCJ
		want  string
	}{
		{"empty", 1 << 17, NoBCJ, "14c80c40f5b247deead9e9d1d31b8b4f5f0b4f4425e6eb12291fd3e505fc8414"},
		{"one", 1 << 17, NoBCJ, "64d7369f4fd80f507e516705a3b5eafe5bbc12193303d3a1efbfe1728b89b7a4"},
		{"one", 1 << 17, X86, "01a6f0482777b8114db85d6515493f8cb5b4f27d9a01fa8639a1090e31cce5bd"},
		{"zeros", 1 << 13, NoBCJ, "9e224621ee88351eab032e738cff3304d1c53931e191d66e8296cec88f44f090"},
		{"text", 1 << 17, NoBCJ, "e36310b755eaae8bc6aa0c6502dc223ef5b11264295209a5f26a2895654f3e18"},
		{"text", 1 << 13, NoBCJ, "5f55600162161a5ad3eff9f26ebdcddb436320df39a40cf1a56af5ee8e3d7828"},
		{"code", 1 << 17, X86, "4f1c08e034c69219cedd47942987f8d4844236a15d17add7b8644b616d27d057"},
		{"patches", 1 << 13, NoBCJ, "50ef375200c53d2bdfc8a720e78c4156a8205dce3ce31baa0d17b6e16afd42e4"},
		{"noise", 1 << 17, X86, "6ee321290493044a6207b30dd9d156322a28af877880aebe05035c323c717eac"},
		{"noise-65535", 1 << 17, X86, "53ff8b3ccbcd28ee5167d05ef8745cb3cac3ab7d96b5878e302c1d1616bfe2a3"},
		{"noise-65537", 1 << 13, NoBCJ, "4171d168e50e55b9cecc376ad1369d8b91d589230f99e2f880034c9d90905b56"},
		{"noise-65537", 1 << 17, X86, "76c5a886986736e55b988e4c1e048d7f1c6edb64444ebb7dcc1f0242ed7eeeb0"},
	} {
		o := Options{Format: XZBuffer, Preset: 6, Check: CRC32, Dict: v.dict, BCJ: v.bcj}
		if got := fmt.Sprintf("%x", sha256.Sum256(compress(t, o, in[v.input]))); got != v.want {
			t.Errorf("%s, dictionary %d, filter %d: sha256 %s, want %s", v.input, v.dict, v.bcj, got, v.want)
		}
	}
}

func readGolden(t *testing.T) map[string]string {
	f, err := os.Open(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		sum, name, _ := strings.Cut(s.Text(), " ")
		m[name] = sum
	}
	return m
}

func recordGolden(t *testing.T, in map[string][]byte) {
	var b bytes.Buffer
	for _, v := range vectors() {
		fmt.Fprintf(&b, "%x %s %s\n", sha256.Sum256(run(t, v.args, in[v.input])), v.input, v.args)
	}
	if err := os.WriteFile(goldenFile, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run runs a command of the table.
func run(t *testing.T, command string, in []byte) []byte {
	t.Helper()
	args := strings.Fields(command)
	if !strings.Contains(command, "-T") {
		args = append(args, "-T1")
	}
	cmd := exec.CommandContext(t.Context(), args[0], append(args[1:], "-c")...)
	cmd.Env = []string{}
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return out
}
