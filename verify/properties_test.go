package verify_test

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/format"
	"github.com/assaylab/assay/diff/ledger"
	"github.com/assaylab/assay/verify"
)

func image(b []byte) *verify.Image {
	return &verify.Image{Image: diff.Image{Name: "image", ReaderAt: bytes.NewReader(b), Size: int64(len(b))}, Kind: "file"}
}

func policy(t testing.TB, name string) verify.Policy {
	t.Helper()
	p, err := verify.LoadPolicy(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// diffImages compares two images and holds the outcome to what is true of every
// outcome.
func diffImages(t testing.TB, ref, dep *verify.Image, p verify.Policy) *verify.Outcome {
	t.Helper()
	out, err := verify.Diff(context.Background(), ref, dep, nil, p, verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sound(t, out.Report, dep.Size)
	return out
}

// diffBytes is diffImages on images of few bytes: the verdict is identical if and
// only if they are, and an accepted image differs only where something was
// explained or carried.
func diffBytes(t testing.TB, ref, dep []byte, p verify.Policy) *verify.Outcome {
	t.Helper()
	out := diffImages(t, image(ref), image(dep), p)
	r := out.Report
	if same := bytes.Equal(ref, dep); (r.Verdict == verify.Identical) != same {
		t.Errorf("verdict %s, and the images being equal is %v", r.Verdict, same)
	}
	if r.Verdict == verify.Explained {
		for _, e := range out.Ledger.Entries {
			if e.Stream != 0 || e.Op != ledger.OpCopy {
				continue
			}
			if !bytes.Equal(ref[e.Ref.Off:e.Ref.End()], dep[e.Dep.Off:e.Dep.End()]) {
				t.Errorf("entry %+v is called a copy", e)
			}
		}
	}
	return out
}

// twice compares once more and demands the same report, byte for byte.
func twice(t testing.TB, ref, dep []byte, p verify.Policy, first *verify.Outcome) {
	t.Helper()
	again := diffImages(t, image(ref), image(dep), p)
	if a, b := encode(t, first.Report), encode(t, again.Report); !bytes.Equal(a, b) {
		t.Errorf("two reports on the same images:\n%s\n%s", a, b)
	}
}

func encode(t testing.TB, r *verify.Report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := verify.EncodeJSON(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sound checks what is true of every report on an image of size bytes.
func sound(t testing.TB, r *verify.Report, size int64) {
	t.Helper()
	sum := func(c verify.Classes) int64 {
		return c.Identical + c.Moved + c.Explained + c.Carried + c.Unexplained
	}
	n := r.Totals
	if got := n.Identical + n.Moved + n.Explained + n.Carried + n.Unexplained; got != size || r.Deployed.Size != size {
		t.Errorf("totals %+v add up to %d, the image has %d bytes, the report says %d", n, got, size, r.Deployed.Size)
	}
	var rows verify.Classes
	for _, s := range r.Sections {
		if sum(s.Classes) != s.Size {
			t.Errorf("row %+v does not add up", s)
		}
		if s.Stream == 0 {
			rows.Identical += s.Identical
			rows.Moved += s.Moved
			rows.Explained += s.Explained
			rows.Carried += s.Carried
			rows.Unexplained += s.Unexplained
		}
	}
	if want := (verify.Classes{Identical: n.Identical, Moved: n.Moved, Explained: n.Explained, Carried: n.Carried, Unexplained: n.Unexplained}); len(r.Sections) > 0 && rows != want {
		t.Errorf("the rows add up to %+v, the totals are %+v", rows, want)
	}
	limits, missing := 0, int64(0)
	for _, f := range r.Findings {
		if f.Path == "" || f.Message == "" || f.Kind == "" || f.Offset < 0 || f.Length < 0 || f.Length == 0 && f.Kind != verify.KindUnexplained && f.Kind != verify.KindDisallowed {
			t.Errorf("a finding that says too little: %+v", f)
		}
		if (f.RootOffset == nil) != (f.Kind == verify.KindMissing && f.Stream == 0) && (f.Kind != verify.KindLimit || f.Stream != 0) {
			t.Errorf("%s: its place in the image as received: %v", f.Path, f.RootOffset)
		}
		if f.RootOffset != nil && (*f.RootOffset < 0 || *f.RootLength < 0 || *f.RootOffset+*f.RootLength > size) {
			t.Errorf("%s: stands at %d+%d of %d bytes", f.Path, *f.RootOffset, *f.RootLength, size)
		}
		switch f.Kind {
		case verify.KindLimit:
			limits++
		case verify.KindMissing:
			missing += f.Length
		}
	}
	accepted := r.Verdict == verify.Explained || r.Verdict == verify.Identical
	switch {
	case accepted && (len(r.Findings) > 0 || n.Moved+n.Unexplained+n.Missing > 0):
		t.Errorf("verdict %s with findings %+v, totals %+v", r.Verdict, r.Findings, n)
	case !accepted && len(r.Findings) == 0:
		t.Errorf("verdict %s without a finding", r.Verdict)
	case r.Verdict == verify.Undecided && limits != len(r.Findings):
		t.Errorf("undecided with findings that are no limits: %+v", r.Findings)
	case r.Verdict == verify.Rejected && limits == len(r.Findings):
		t.Errorf("rejected for limits alone: %+v", r.Findings)
	case limits == 0 && missing != n.Missing:
		t.Errorf("findings of %d missing bytes, totals of %d", missing, n.Missing)
	case r.Verdict == verify.Identical && (r.FreeBits != 0 || n.Identical != size):
		t.Errorf("identical with %d free bits, totals %+v", r.FreeBits, n)
	}
}

// TestAlignment holds the account of raw images to what was done to them, byte
// for byte.
func TestAlignment(t *testing.T) {
	ref := noise(40, 1<<20)
	third := len(ref) / 3
	swap := func(a, b, n int) []byte {
		d := bytes.Clone(ref)
		copy(d[a:], ref[b:b+n])
		copy(d[b:], ref[a:a+n])
		return d
	}
	scattered := bytes.Clone(ref)
	for i := range 100 {
		scattered[i*10007+13] ^= 0x10
	}
	n := int64(len(ref))
	for _, test := range []struct {
		name string
		dep  []byte
		want ledger.Totals
	}{
		{"100 bytes inserted", slices.Concat(ref[:third], noise(41, 100), ref[third:]), ledger.Totals{Identical: n, Unexplained: 100}},
		{"100 bytes deleted", slices.Concat(ref[:third], ref[third+100:]), ledger.Totals{Identical: n - 100, Missing: 100}},
		{"one byte inserted before everything", slices.Concat([]byte{ref[0] ^ 1}, ref), ledger.Totals{Identical: n, Unexplained: 1}},
		{"one byte deleted", slices.Concat(ref[:third], ref[third+1:]), ledger.Totals{Identical: n - 1, Missing: 1}},
		{"first byte deleted", ref[1:], ledger.Totals{Identical: n - 1, Missing: 1}},
		{"two blocks of 4 KiB swapped", swap(100<<10, 900<<10, 4096), ledger.Totals{Identical: n - 8192, Moved: 8192}},
		{"two blocks of 4 KiB swapped at odd places", swap(100_001, 900_003, 4096), ledger.Totals{Identical: n - 8192, Moved: 8192}},
		{"a block moved to the end", slices.Concat(ref[:third], ref[third+4096:], ref[third:third+4096]), ledger.Totals{Identical: n - 4096, Moved: 4096}},
		{"a block moved to the front", slices.Concat(ref[third:third+4096], ref[:third], ref[third+4096:]), ledger.Totals{Identical: n - 4096, Moved: 4096}},
		{"the first half repeated", slices.Concat(ref, ref[:n/2]), ledger.Totals{Identical: n, Moved: n / 2}},
		{"halves swapped", slices.Concat(ref[n/2:], ref[:n/2]), ledger.Totals{Identical: n / 2, Moved: n / 2}},
		{"100 bytes changed", scattered, ledger.Totals{Identical: n - 100, Unexplained: 100, Missing: 100}},
		{"inserted and deleted", slices.Concat(ref[:third], noise(42, 64), ref[third:2*third], ref[2*third+333:]), ledger.Totals{Identical: n - 333, Unexplained: 64, Missing: 333}},
		{"everything else", noise(43, 1<<20), ledger.Totals{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			out := diffBytes(t, ref, test.dep, policy(t, "standard"))
			if test.want == (ledger.Totals{}) { // noise is like noise here and there
				if got := out.Report.Totals; got.Unexplained < n*99/100 || got.Moved > 0 {
					t.Errorf("totals %+v", got)
				}
				return
			}
			if got := out.Report.Totals; got != test.want {
				t.Errorf("totals %+v, want %+v: %s", got, test.want, describe(out.Report))
			}
		})
	}
}

// TestRandom compares small images that share parts in every way, and holds the
// outcome, the ledger and its recheck to what is always true.
func TestRandom(t *testing.T) {
	standard := policy(t, "standard")
	rng := rand.New(rand.NewChaCha8([32]byte{50}))
	for i := range 400 {
		ref := someBytes(rng)
		dep := bytes.Clone(ref)
		for range rng.IntN(6) {
			dep = someEdit(rng, dep, ref)
		}
		out := diffBytes(t, ref, dep, standard)
		stored := stored(t, out.Ledger)
		if _, err := recheck(stored, ref, dep); err != nil {
			t.Errorf("recheck: %v", err)
		}
		if len(dep) > 0 {
			other := bytes.Clone(dep)
			other[rng.IntN(len(other))] ^= 1 << rng.IntN(8)
			if _, err := recheck(stored, ref, other); !errors.Is(err, ledger.ErrInvalid) {
				t.Errorf("recheck on another image: %v", err)
			}
		}
		// The reverse holds as well, and what is equal is equal both ways.
		diffBytes(t, dep, ref, standard)
		if t.Failed() {
			t.Fatalf("pair %d:\n%x\n%x", i, ref, dep)
		}
	}
}

// someBytes returns up to 4 KiB of noise, runs, texts and times.
func someBytes(rng *rand.Rand) []byte {
	var b []byte
	for range rng.IntN(6) {
		n := rng.IntN(700)
		switch rng.IntN(4) {
		case 0:
			b = append(b, noise(byte(rng.IntN(4)), n)...)
		case 1:
			b = append(b, bytes.Repeat([]byte{byte(rng.IntN(3))}, n)...)
		case 2:
			b = append(b, bytes.Repeat([]byte("some text "), n/10)...)
		case 3:
			b = append(b, "\x00"+stamp(rng.Int64N(1<<32))+"\x00"...)
		}
	}
	return b
}

// someEdit changes b: it puts bytes in, takes them out, swaps, repeats or
// overwrites them, or takes some of from.
func someEdit(rng *rand.Rand, b, from []byte) []byte {
	at, n := 0, 0
	if len(b) > 0 {
		at = rng.IntN(len(b))
		n = rng.IntN(min(len(b)-at, 200) + 1)
	}
	part := b[at : at+n]
	switch rng.IntN(6) {
	case 0:
		return slices.Concat(b[:at], someBytes(rng), b[at:])
	case 1:
		return slices.Concat(b[:at], b[at+n:])
	case 2:
		return slices.Concat(b[at+n:], part, b[:at])
	case 3:
		return slices.Concat(b, part)
	case 4:
		return slices.Concat(b[:at], noise(byte(rng.IntN(250)), n), b[at+n:])
	}
	if len(from) > 0 {
		from = from[rng.IntN(len(from)):]
	}
	return slices.Concat(b[:at], from, b[at+n:])
}

func stored(t testing.TB, l *ledger.Ledger) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := l.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func recheck(stored, ref, dep []byte) (*ledger.Ledger, error) {
	return ledger.Recheck(context.Background(), bytes.NewReader(stored),
		ledger.Image{ReaderAt: bytes.NewReader(ref), Size: int64(len(ref))},
		ledger.Image{ReaderAt: bytes.NewReader(dep), Size: int64(len(dep))},
		diff.Tools(diff.Options{Formats: format.All(), Codecs: format.Codecs(diff.Limits{})}))
}

// TestProcessors: one processor or two, ledger and report are the same bytes.
func TestProcessors(t *testing.T) {
	pairs := benigns()
	for _, r := range rejects() {
		pairs = append(pairs, benign{r.name, r.ref, r.dep, 0})
	}
	var first [][]byte
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	for n := 1; n <= 2; n++ {
		runtime.GOMAXPROCS(n)
		for i, p := range pairs {
			out := diffBytes(t, p.ref, p.dep, policy(t, "standard"))
			b := append(stored(t, out.Ledger), encode(t, out.Report)...)
			if n == 1 {
				first = append(first, b)
			} else if !bytes.Equal(first[i], b) {
				t.Errorf("%s: another account on %d processors", p.name, n)
			}
		}
	}
}

// TestEvidence changes every byte of the images and of the evidence of two
// comparisons, one accepted and one rejected: Recheck refuses each.
func TestEvidence(t *testing.T) {
	member := func(now int64, more string) []byte {
		return difftest.Gzip{Time: uint32(now), Content: fmt.Appendf(nil, "built %s%s\n", stamp(now), more)}.Bytes()
	}
	for _, test := range []struct {
		name     string
		ref, dep []byte
		want     verify.Verdict
	}{
		{"explained", member(then, ""), member(later, ""), verify.Explained},
		{"rejected", member(then, ""), member(later, payload), verify.Rejected},
		{"identical", member(then, ""), member(then, ""), verify.Identical},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			out := diffBytes(t, test.ref, test.dep, policy(t, "standard"))
			if out.Report.Verdict != test.want {
				t.Fatalf("%s: %s", out.Report.Verdict, describe(out.Report))
			}
			if err := verify.PrepareEvidence(dir); err != nil {
				t.Fatal(err)
			}
			if err := verify.WriteEvidence(dir, out); err != nil {
				t.Fatal(err)
			}
			again := func(ref, dep []byte) error {
				r, err := verify.Recheck(context.Background(), dir, image(ref), image(dep), "", verify.Options{})
				if err == nil && r.Verdict != test.want {
					t.Errorf("recheck gives %s", r.Verdict)
				}
				return err
			}
			if err := again(test.ref, test.dep); err != nil {
				t.Fatal(err)
			}
			for _, side := range []struct {
				name string
				b    []byte
			}{{"reference", test.ref}, {"deployed image", test.dep}} {
				for i := range side.b {
					ref, dep := bytes.Clone(test.ref), bytes.Clone(test.dep)
					if side.name == "reference" {
						ref[i] ^= 0x01
					} else {
						dep[i] ^= 0x80
					}
					if err := again(ref, dep); !errors.Is(err, verify.ErrEvidence) {
						t.Fatalf("byte %d of the %s changed: %v", i, side.name, err)
					}
				}
			}
			for _, name := range []string{verify.ReportFile, verify.LedgerFile, verify.SumsFile} {
				path := filepath.Join(dir, name)
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				for i := range b {
					c := bytes.Clone(b)
					c[i] ^= []byte{0x01, 0x02, 0x20, 0x80}[i%4]
					write(t, path, c)
					if err := again(test.ref, test.dep); !errors.Is(err, verify.ErrEvidence) {
						t.Fatalf("byte %d of %s changed: %v", i, name, err)
					}
				}
				write(t, path, b[:len(b)-1])
				if err := again(test.ref, test.dep); !errors.Is(err, verify.ErrEvidence) {
					t.Errorf("%s cut short: %v", name, err)
				}
				write(t, path, append(bytes.Clone(b), '\n'))
				if err := again(test.ref, test.dep); !errors.Is(err, verify.ErrEvidence) {
					t.Errorf("%s made longer: %v", name, err)
				}
				write(t, path, b)
			}
			// Whoever can change a file can list its digest anew. The ledger ends in
			// its own, and the report says what the ledger does.
			if test.want == verify.Identical {
				return // there is little to say
			}
			for _, name := range []string{verify.LedgerFile, verify.ReportFile} {
				path := filepath.Join(dir, name)
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				step := 1
				if test.want == verify.Rejected {
					step = 7
				}
				for i := 0; i < len(b); i += step {
					c := bytes.Clone(b)
					c[i] ^= []byte{0x01, 0x02, 0x08, 0x40}[i%4]
					write(t, path, c)
					list(t, dir)
					err := again(test.ref, test.dep)
					if err == nil && (name == verify.LedgerFile || !remark(b, i)) {
						t.Errorf("byte %d of %s changed and listed: %q became %q", i, name, around(b, i), around(c, i))
					}
				}
				write(t, path, b)
				list(t, dir)
			}
		})
	}
}

// remark says whether byte i of a report stands on a line that settles nothing:
// what people and programs are called, and what is shown for people to see.
func remark(report []byte, i int) bool {
	line := around(report, i)
	for _, key := range []string{`"name"`, `"version"`, `"kind"`, `"reference":`, `"deployed":`, `"reference_offset"`, `"text"`, `"side"`, `"path"`} {
		if strings.HasPrefix(strings.TrimSpace(line), key) {
			return true
		}
	}
	return false
}

// around returns the line that byte i stands on.
func around(b []byte, i int) string {
	from := bytes.LastIndexByte(b[:i], '\n') + 1
	to := i + bytes.IndexByte(append(bytes.Clone(b[i:]), '\n'), '\n')
	return string(b[from:max(from, to)])
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// list writes the list of digests of an evidence folder.
func list(t testing.TB, dir string) {
	t.Helper()
	var sums []byte
	for _, name := range []string{verify.LedgerFile, verify.ReportFile} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		sums = fmt.Appendf(sums, "%x  %s\n", sha256.Sum256(b), name)
	}
	write(t, filepath.Join(dir, verify.SumsFile), sums)
}

// TestLimits: images that are too much to open. Equal ones are identical, those
// that differ in a layer that stays closed are undecided, and either way memory
// stays bounded.
func TestLimits(t *testing.T) {
	const bound = 256 << 20
	zeros := bomb()
	lzma := dictionary()
	nest := func(depth int, wrap func([]byte) []byte) func(what string) []byte {
		return func(what string) []byte {
			b := []byte("what is within: " + what)
			for range depth {
				b = wrap(b)
			}
			return b
		}
	}
	tars := nest(50, func(b []byte) []byte {
		return difftest.Tar(2, 0, difftest.TarEntry{Dialect: "ustar", Name: "tar", Type: '0', Mode: 0o644, Mtime: then, Data: b})
	})
	gzips := nest(40, func(b []byte) []byte { return difftest.Gzip{Content: b}.Bytes() })
	trees := nest(60, func(b []byte) []byte {
		return difftest.FIT{Images: []difftest.FITImage{{Name: "i", Data: b, Hashes: []string{"crc32"}}}}.Bytes()
	})
	flipped := func(b []byte, i int) []byte {
		c := bytes.Clone(b)
		c[i] ^= 0x40
		return c
	}
	archive := tarOf(then, nil)
	for _, test := range []struct {
		name     string
		ref, dep []byte
		want     verify.Verdict
	}{
		{"bomb", zeros, flipped(zeros, len(zeros)/2), verify.Undecided},
		{"bomb with another time", zeros, flipped(zeros, 4), verify.Undecided},
		{"bomb with a tail", zeros, slices.Concat(zeros, []byte(payload)), verify.Undecided},
		{"bomb cut short", zeros, zeros[:len(zeros)-1], verify.Undecided},
		{
			"bomb in a tar", tarOf(then, func(e *difftest.TarEntry) { e.Data = zeros }),
			tarOf(then, func(e *difftest.TarEntry) { e.Data = flipped(zeros, len(zeros)/2) }), verify.Undecided,
		},
		{
			"bomb in a tar beside a payload", tarOf(then, func(e *difftest.TarEntry) { e.Data = zeros }),
			slices.Concat(tarOf(then, func(e *difftest.TarEntry) { e.Data = flipped(zeros, len(zeros)/2) }), []byte(payload)), verify.Rejected,
		},
		{"dictionary of 2 GiB", lzma, flipped(lzma, 40), verify.Undecided},
		{"tars in tars", tars("this"), tars("that"), verify.Undecided},
		{"gzips in gzips", gzips("this"), gzips("that"), verify.Undecided},
		{"FITs in FITs", trees("this"), trees("that"), verify.Undecided},
		{"archive cut short", archive, archive[:len(archive)-700], verify.Rejected},
		{"archive cut short in its content", archive, archive[:512+10], verify.Rejected},
	} {
		t.Run(test.name, func(t *testing.T) {
			runtime.GC() // what was used to make the images
			ref, dep := newMeter(test.ref), newMeter(test.dep)
			for _, p := range []string{"standard", "identical"} {
				if out := diffImages(t, ref.image(), ref.image(), policy(t, p)); out.Report.Verdict != verify.Identical {
					t.Errorf("%s: equal images: %s", p, out.Report.Verdict)
				}
				out := diffImages(t, ref.image(), dep.image(), policy(t, p))
				v := out.Report.Verdict
				if v != test.want && (p != "identical" || v != verify.Rejected) {
					t.Errorf("%s: %s: %s", p, v, describe(out.Report))
				}
				twice(t, test.ref, test.dep, policy(t, p), out)
			}
			most := max(ref.most, dep.most)
			if most > bound {
				t.Errorf("a heap of %d bytes", most)
			}
			t.Logf("a heap of up to %d MiB", most>>20)
		})
	}
}

// A meter is an image that notes, whenever it is read, how large the heap is:
// what lives and what is not yet collected.
type meter struct {
	*bytes.Reader
	most uint64
}

func newMeter(b []byte) *meter { return &meter{Reader: bytes.NewReader(b)} }

func (m *meter) ReadAt(p []byte, off int64) (int, error) {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	m.most = max(m.most, s[0].Value.Uint64())
	return m.Reader.ReadAt(p, off)
}

func (m *meter) image() *verify.Image {
	return &verify.Image{Image: diff.Image{Name: "image", ReaderAt: m, Size: m.Size()}, Kind: "file"}
}

// bomb is a gzip member of 10 GiB of zeros in 10 MiB: one piece of a deflate
// stream, of 64 MiB of zeros, again and again. The checksum is not that of the
// zeros; nothing gets so far.
func bomb() []byte {
	const pieces = 160
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	zeros := make([]byte, 1<<20)
	for range 64 {
		w.Write(zeros) //nolint:errcheck // a Buffer takes everything
	}
	w.Flush() //nolint:errcheck // likewise
	piece := bytes.Clone(b.Bytes())
	end := difftest.Deflate(nil, flate.BestCompression)
	return difftest.Gzip{Time: then, Deflate: slices.Concat(bytes.Repeat(piece, pieces), end)}.Bytes()
}

// dictionary is a .lzma file of 77 bytes that asks for a dictionary of 2 GiB.
func dictionary() []byte {
	for n := 1; ; n++ {
		if b := encoded("lzma@1", noise(60, n)); len(b) >= 77 {
			binary.LittleEndian.PutUint32(b[1:], 1<<31)
			return b[:77]
		}
	}
}

// noise returns n bytes that have no structure, the same for the same seed.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b) //nolint:errcheck // it never fails
	return b
}
