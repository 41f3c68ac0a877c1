// Command bench runs assay against what people would run instead: make bench.
//
// Each job is a pair of files that differ, or a signature over a large file. Its contenders take turns on it, so that whatever
// else the machine does befalls them alike, and each is judged by the median of its
// times. One that takes longer than 30 seconds runs once, and is stopped after 5 minutes.
// Every run must find the difference: another exit code than 1 ends the benchmark.
//
// Peak memory is the maximum resident set that the kernel counted for a process (wait4). Up to
// its start a process shares the memory of this program, whose own is thus the least
// that can be seen: nothing here holds a file in memory.
package main

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// What assay is held to.
const maxResident = 256 << 20 // bytes

// A target is what a job is held to; zeros are nothing.
type target struct {
	digesting float64 // times the time of cmp and two sha256sum
	faster    float64 // times as fast as diffoscope
	seconds   float64
	report    int64 // bytes of the report
}

const (
	once = 30 * time.Second // a run that takes longer is not repeated
	stop = 5 * time.Minute  // nor waited for
)

func main() {
	quick := flag.Bool("quick", false, "one run each, and no diffoscope")
	only := flag.String("only", "", "only the jobs on files whose title holds this text")
	flag.Parse()
	if err := run(os.Stdout, *quick, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(2)
	}
}

func run(out io.Writer, quick bool, only string) error {
	dir, err := os.MkdirTemp("", "assay-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := bench{out: out, dir: dir, assay: filepath.Join(dir, "assay"), runs: 5}
	if quick {
		b.runs = 1
	}
	machine(out)
	if err := build(b.assay, ""); err != nil {
		return err
	}
	if !quick {
		b.diffoscope = diffoscope(out)
	}
	if _, err := exec.LookPath("mksquashfs"); err != nil {
		if text, err := exec.Command(".ci/install", "squashfs-tools", "e2fsprogs").CombinedOutput(); err != nil {
			return fmt.Errorf("there is no mksquashfs, and none can be installed: %s", text)
		}
	}
	for _, j := range []struct {
		title string
		write func(a, b string) error
		held  target
	}{
		{"raw: 64 MiB, one byte flipped", rawPair, target{digesting: 1.5, faster: 100}},
		{"tar: 126 MB in 3,000 files, one byte of one file changed", tarPair, target{}},
		{"ELF: assay itself, built with another version", elfPair, target{}},
		{"squashfs: 126 MB compressed, one byte of one module changed", squashfsTree().write, target{faster: 20, seconds: 3, report: 50_000}},
		{"ext4: 1 GiB, a byte of each of 10 files changed", ext4Tree().write, target{digesting: 2}},
		{"squashfs: 100,000 small files, a byte of one changed", smallFiles(squashfsTree().command).write, target{}},
	} {
		if !strings.Contains(j.title, only) {
			continue
		}
		from, to := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		if err := j.write(from, to); err != nil {
			return err
		}
		if err := b.job(j.title, from, to, j.held); err != nil {
			return err
		}
		if err := errors.Join(os.Remove(from), os.Remove(to)); err != nil {
			return err
		}
	}
	if only == "" {
		if err := b.verifyJobs(); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "\npeak memory of assay diff: %d MiB, at most %d: %s\n", b.resident>>20, maxResident>>20, met(b.resident < maxResident))
	return nil
}

// --- the pairs ----------------------------------------------------------------------

// rawPair writes 64 MiB of noise that differ in the bit of a byte in the middle.
func rawPair(a, b string) error {
	return pair(a, b, func(w io.Writer, second bool) error {
		const size = 64 << 20
		return noise(w, 1, size, map[bool]int{true: size / 2, false: -1}[second])
	})
}

// tarPair writes archives of 3,000 files of 41.5 kB that differ in a bit of one of them.
func tarPair(a, b string) error {
	return pair(a, b, func(w io.Writer, second bool) error {
		const files, size = 3000, 41_500
		archive := tar.NewWriter(w)
		for i := range files {
			header := &tar.Header{
				Typeflag: tar.TypeReg, Name: fmt.Sprintf("usr/lib/part-%02d/file-%04d", i/100, i), Mode: 0o644,
				Size: size, ModTime: time.Unix(1_700_000_000, 0), Format: tar.FormatUSTAR,
			}
			flipped := -1
			if second && i == files/2 {
				flipped = size / 2
			}
			if err := errors.Join(archive.WriteHeader(header), noise(archive, uint64(i), size, flipped)); err != nil {
				return err
			}
		}
		return archive.Close()
	})
}

// elfPair builds assay twice; versions of one length leave everything else in place.
func elfPair(a, b string) error {
	return errors.Join(build(a, "1.0.0-bench-a"), build(b, "1.0.0-bench-b"))
}

// pair writes two files.
func pair(a, b string, write func(w io.Writer, second bool) error) error {
	for i, name := range []string{a, b} {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		w := bufio.NewWriter(f)
		if err := errors.Join(write(w, i == 1), w.Flush(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// noise writes size bytes that depend on the seed alone; a bit of the byte at flipped is turned
// over, if there is one.
func noise(w io.Writer, seed uint64, size, flipped int) error {
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	buf := make([]byte, 1<<15)
	for at := 0; at < size; at += len(buf) {
		buf = buf[:min(len(buf), size-at)]
		source.Read(buf)
		if at <= flipped && flipped < at+len(buf) {
			buf[flipped-at] ^= 1
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

// build builds assay, with that version unless it is empty.
func build(program, version string) error {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-o", program}
	if version != "" {
		args = append(args, "-ldflags=-X main.version="+version)
	}
	if text, err := exec.Command("go", append(args, "./cmd/assay")...).CombinedOutput(); err != nil {
		return fmt.Errorf("building assay: %w (run this in the folder of go.mod)\n%s", err, text)
	}
	return nil
}

// --- the contenders -----------------------------------------------------------------

type bench struct {
	out        io.Writer
	dir        string
	assay      string
	diffoscope string // empty: none
	runs       int
	resident   int64 // bytes: the most that assay ever had
}

// A contender is commands that are run one after the other.
type contender struct {
	name     string
	commands [][]string
	times    []time.Duration
	resident int64 // bytes
	stopped  bool
	same     bool // there is no difference to find
}

func (b *bench) job(title, from, to string, held target) error {
	fmt.Fprintf(b.out, "\n%s\n", title)
	contenders := []*contender{
		{name: "assay diff", commands: [][]string{{b.assay, "diff", from, to}}},
		{name: "cmp, 2 x sha256sum", commands: [][]string{{"cmp", from, to}, {"sha256sum", from}, {"sha256sum", to}}},
	}
	if b.diffoscope != "" {
		contenders = append(contenders, &contender{name: "diffoscope", commands: [][]string{{b.diffoscope, from, to}}})
	}
	for i := range b.runs {
		for _, c := range contenders {
			if i > 0 && c.times[0] > once {
				continue
			}
			if err := c.run(b.dir); err != nil {
				return err
			}
		}
	}
	own := contenders[0]
	b.resident = max(b.resident, own.resident)
	for i, c := range contenders {
		more := ""
		if c.stopped {
			more = " and then stopped"
		}
		fmt.Fprintf(b.out, "  %-20s %9.3f s  (median of %d)%s  %4d MiB", c.name, c.median(), len(c.times), more, c.resident>>20)
		switch i {
		case 0:
			if held.seconds > 0 {
				fmt.Fprintf(b.out, "   at most %.0f s: %s", held.seconds, met(c.median() <= held.seconds))
			}
		case 1:
			ratio := own.median() / c.median()
			fmt.Fprintf(b.out, "   assay takes %.2f times as long", ratio)
			if held.digesting > 0 {
				fmt.Fprintf(b.out, ", at most %.1f: %s", held.digesting, met(ratio <= held.digesting))
			}
		case 2:
			ratio := c.median() / own.median()
			fmt.Fprintf(b.out, "   assay is %.0f times as fast", ratio)
			if held.faster > 0 {
				fmt.Fprintf(b.out, ", at least %.0f: %s", held.faster, met(ratio >= held.faster))
			}
		}
		fmt.Fprintln(b.out)
	}
	return b.sizes(from, to, held)
}

// sizes tells how long the report is, and the evidence.
func (b *bench) sizes(from, to string, held target) error {
	evidence := filepath.Join(b.dir, "evidence")
	defer os.RemoveAll(evidence)
	report, err := exec.Command(b.assay, "diff", from, to, "--evidence", evidence).Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return err
	}
	var size int64
	err = filepath.WalkDir(evidence, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	fmt.Fprintf(b.out, "  report %d bytes, evidence %d bytes", len(report), size)
	if held.report > 0 {
		fmt.Fprintf(b.out, "   report at most %d: %s", held.report, met(int64(len(report)) <= held.report))
	}
	fmt.Fprintln(b.out)
	return err
}

// run runs the contender once. The last commands may find nothing to say; one must
// exit with 1.
func (c *contender) run(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), stop)
	defer cancel()
	found := false
	began := time.Now()
	for _, args := range c.commands {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir = dir
		var stderr strings.Builder
		cmd.Stderr = &stderr
		err := cmd.Run()
		var exit *exec.ExitError
		switch {
		case ctx.Err() != nil:
			c.stopped, found = true, true
		case err == nil:
		case errors.As(err, &exit) && exit.ExitCode() == 1 && !c.same:
			found = true
		default:
			return fmt.Errorf("%q: %w\n%s", args, err, stderr.String())
		}
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			c.resident = max(c.resident, int64(usage.Maxrss)<<10) // Linux counts in KiB
		}
	}
	c.times = append(c.times, time.Since(began))
	if !found && !c.same {
		return fmt.Errorf("%s does not see that the files differ", c.name)
	}
	return nil
}

// median returns seconds.
func (c *contender) median() float64 {
	sorted := slices.Sorted(slices.Values(c.times))
	return sorted[len(sorted)/2].Seconds()
}

// diffoscope returns the path of the program, which is installed where that is possible;
// empty where it is not.
func diffoscope(out io.Writer) string {
	path, err := exec.LookPath("diffoscope")
	if err != nil {
		if text, err := exec.Command(".ci/install", "diffoscope-minimal", "binutils").CombinedOutput(); err != nil {
			fmt.Fprintf(out, "no diffoscope, and none can be installed: %s\n", strings.TrimSpace(string(text)))
			return ""
		}
		if path, err = exec.LookPath("diffoscope"); err != nil {
			fmt.Fprintf(out, "no diffoscope: %v\n", err)
			return ""
		}
	}
	version, _ := exec.Command(path, "--version").Output()
	fmt.Fprintf(out, "%s\n", strings.TrimSpace(string(version)))
	return path
}

// machine says where the numbers come from.
func machine(out io.Writer) {
	model := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = strings.Join(strings.Fields(string(text))[:3], " ")
	}
	fmt.Fprintf(out, "%s, %d CPUs, load %s, %s\n", model, runtime.NumCPU(), load, runtime.Version())
}

func met(ok bool) string {
	if ok {
		return "met"
	}
	return "MISSED"
}
