//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// enter makes the rest of the World for the steps that follow: processors, clock, mask.
func (r *runner) enter(w *World) error {
	if w.CPUs > 0 {
		if err := r.do(func() error { return confine(w.CPUs) }); err != nil {
			return err
		}
	}
	if w.Clock != 0 {
		if err := r.setClock(w.Clock); err != nil {
			return err
		}
	}
	unix.Umask(w.umask())
	return nil
}

// confine binds the calling thread, and what it starts, to the first n of its processors.
func confine(n int) error {
	var have, want unix.CPUSet
	if err := unix.SchedGetaffinity(0, &have); err != nil {
		return fmt.Errorf("asking for the processors: %w", err)
	}
	if count := have.Count(); count < n {
		return fmt.Errorf("the build is to run on %d processors, and there are %d", n, count)
	}
	for cpu := 0; want.Count() < n; cpu++ {
		if have.IsSet(cpu) {
			want.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &want); err != nil {
		return fmt.Errorf("choosing the processors: %w", err)
	}
	return nil
}

// triplets name the directory of a machine's libraries on Debian.
var triplets = map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}

// setClock makes the programs of the steps load libfaketime. Each of them starts at the given second, whenever the build
// gets to it: what a build asks the clock for is a date to put into its output. Times of files and the monotonic clock
// stay true, so that make compares like with like and nothing waits for ever. It makes no shared memory.
func (r *runner) setClock(clock int64) error {
	var library string
	for _, dir := range []string{"/usr/lib/" + triplets[runtime.GOARCH], "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/lib/*"} {
		for _, name := range []string{"libfaketimeMT.so.1", "libfaketime.so.1"} {
			found, err := filepath.Glob(dir + "/faketime/" + name)
			if library == "" && err == nil && len(found) > 0 {
				library = found[0]
			}
		}
	}
	if library == "" {
		return errors.New("the toolchain has no libfaketime (/usr/lib/*/faketime/libfaketimeMT.so.1), which setting the clock takes: install libfaketime")
	}
	preload := library
	if old := r.getenv("LD_PRELOAD"); old != "" {
		preload += ":" + old
	}
	r.setenv("LD_PRELOAD", preload)
	r.setenv("FAKETIME", "@"+strconv.FormatInt(clock, 10))
	r.setenv("FAKETIME_FMT", "%s")
	for _, name := range []string{"NO_FAKE_STAT", "DONT_FAKE_MONOTONIC", "FAKETIME_DONT_FAKE_MONOTONIC", "FAKETIME_DISABLE_SHM"} {
		r.setenv(name, "1")
	}
	// A library that cannot be loaded is only warned of; seen is better.
	date, err := r.look("date")
	if err != nil {
		return nil
	}
	text, ws, err := r.capture(Step{date, "+%s"}, 64)
	if err != nil {
		return fmt.Errorf("setting the clock: %w", err)
	}
	seen, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil || describe(ws) != "" || seen < clock || seen > clock+600 {
		return fmt.Errorf("%s does not set the clock of %s: it says %q, not %d", library, date, text, clock)
	}
	return nil
}

// reverseAll turns round the order of every directory that holds sources.
func (c *Config) reverseAll() error {
	var done []string
	for _, s := range c.Sources {
		dir := top(c.real(s.At))
		if slices.Contains(done, dir) {
			continue
		}
		done = append(done, dir)
		root, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		err = reverse(root)
		root.Close()
		if err != nil {
			return fmt.Errorf("reversing the order of files in %s: %w", dir, err)
		}
	}
	return nil
}

// linkMoved makes the place of the first source a link to where it really lies, unless the stage has it: then it is in
// the root directory, which is read-only.
func (c *Config) linkMoved() error {
	if c.moved == "" || path.Dir(c.moved) == "/" {
		return nil
	}
	dir := top(c.moved)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	rel := strings.TrimPrefix(c.moved, dir+"/")
	if err := root.MkdirAll(path.Dir(rel), 0o755); err != nil {
		return err
	}
	if err := root.Symlink(c.World.Dir, rel); err != nil {
		return fmt.Errorf("%s cannot be a link to %s: %w", c.moved, c.World.Dir, err)
	}
	epoch := time.Unix(c.Epoch, 0)
	for ; rel != "."; rel = path.Dir(rel) {
		if err := setTime(root, rel, epoch); err != nil {
			return err
		}
	}
	return setTime(root, ".", epoch)
}
