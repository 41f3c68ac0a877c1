//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// initContained is Init where standard input and output are all there is.
func initContained() int {
	var in, out *os.File
	for fd, f := range []**os.File{&in, &out} {
		// Away from the descriptors that programs of the build are given.
		kept, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstFD)
		if err != nil {
			return 2
		}
		*f = os.NewFile(uintptr(kept), "parent")
	}
	if _, err := io.WriteString(out, greeting); err != nil {
		return 2
	}
	if err := converse(in, out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	return 0
}

// converse does what an order says that comes from in, and says to out what comes of it.
func converse(in io.Reader, out io.Writer) error {
	w := &frameWriter{w: out}
	var streams sync.WaitGroup
	var ends []*os.File
	// pass returns a file; what is written to it becomes a stream.
	pass := func(stream int) (*os.File, error) {
		from, to, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		ends = append(ends, to)
		streams.Go(func() {
			defer from.Close()
			if err := w.send(stream, from); err != nil {
				os.Exit(2) // no one listens
			}
		})
		return to, nil
	}
	log, err := pass(logStream)
	if err != nil {
		return err
	}
	if err := unix.Dup3(int(log.Fd()), int(os.Stdout.Fd()), 0); err != nil {
		return err
	}
	ends = append(ends, os.Stdout)
	r := perform(func() (*order, error) {
		o, err := hear(in)
		if err != nil {
			return nil, fmt.Errorf("reading the configuration: %w", err)
		}
		// Nothing more is due: at its end the parent is gone, and so are we, and with us everything here.
		go func() {
			in.Read(make([]byte, 1))
			os.Exit(2)
		}()
		for i := range o.Outputs {
			if o.Outputs[i].To, err = pass(outputStream + i); err != nil {
				return nil, err
			}
		}
		return o, nil
	})
	for _, f := range ends {
		f.Close() // once more for an output that was copied
	}
	streams.Wait()
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return w.send(replyStream, bytes.NewReader(text))
}

// hear reads an order and its sources. These stay in memory, out of the reach of the build, until they are unpacked.
func hear(in io.Reader) (*order, error) {
	frames := &frameReader{r: in}
	var text bytes.Buffer
	if err := frames.copyStream(orderStream, &text); err != nil {
		return nil, err
	}
	o := new(order)
	if err := json.Unmarshal(text.Bytes(), o); err != nil {
		return nil, err
	}
	for i := range o.Sources {
		s := &o.Sources[i]
		fd, err := unix.MemfdCreate("source", unix.MFD_CLOEXEC)
		if err != nil {
			return nil, err
		}
		s.File = os.NewFile(uintptr(fd), s.Name)
		if err := frames.copyStream(uint32(sourceStream+i), s.File); err != nil {
			return nil, fmt.Errorf("source %s: %w", s.Name, err)
		}
	}
	return o, nil
}

// checkStage looks at the stage that a container engine has set: engines have settings of their own, which can add
// directories of the host, devices and privileges to every container.
func (c *Config) checkStage(shims bool) error {
	if os.Getpid() != 1 || os.Getuid() != UID || os.Getgid() != GID {
		return fmt.Errorf("the engine runs this as process %d of user %d:%d, not as process 1 of user %d:%d", os.Getpid(), os.Getuid(), os.Getgid(), UID, GID)
	}
	if host, err := os.Hostname(); err != nil || host != c.World.hostName() {
		return fmt.Errorf("the engine calls the host %q, not %q", host, c.World.hostName())
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	if err := checkPrivileges(string(status)); err != nil {
		return err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	if err := c.checkMounts(string(mounts), shims); err != nil {
		return err
	}
	entries, err := os.ReadDir("/dev")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains(devicesOfEngines, e.Name()) {
			return fmt.Errorf("the engine adds the device /dev/%s to the container", e.Name())
		}
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("asking for the network interfaces: %w", err)
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 {
			return fmt.Errorf("the engine gives the container a network: interface %s is up", i.Name)
		}
	}
	return nil
}

// devicesOfEngines are the names in /dev of a container that was given no device.
var devicesOfEngines = append([]string{
	"console", "core", "fd", "mqueue", "ptmx", "pts", "shm", "stderr", "stdin", "stdout", "tty",
}, devices...)

// checkPrivileges reads the fields of proc(5), /proc/PID/status, that say what a process may gain.
func checkPrivileges(status string) error {
	want := map[string]string{"CapInh": "", "CapPrm": "", "CapEff": "", "CapBnd": "", "CapAmb": "", "NoNewPrivs": "1"}
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		// A capability set is a hexadecimal number; the empty one is nothing but zeros.
		if w, ok := want[name]; ok && strings.TrimLeft(strings.TrimSpace(value), "0") == w {
			delete(want, name)
		}
	}
	if len(want) > 0 {
		names := make([]string, 0, len(want))
		for name := range want {
			names = append(names, name)
		}
		slices.Sort(names)
		return fmt.Errorf("the engine leaves the container privileges: %s", strings.Join(names, ", "))
	}
	return nil
}

// checkMounts reads proc(5), /proc/PID/mountinfo: what can be written must be ours or nobody's, and nothing may be
// mounted that no one asked for.
func (c *Config) checkMounts(text string, shims bool) error {
	missing := map[string]bool{}
	for _, dir := range c.writable() {
		missing[dir] = true
	}
	expected := []string{"/" + initName, "/run/.containerenv", "/etc/resolv.conf"}
	for _, f := range c.World.etcFiles() {
		expected = append(expected, f.name)
	}
	if shims {
		expected = append(expected, shimDir)
	}
	root := false
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(line, " - ")
		fields, behind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 6 || len(behind) < 1 {
			return errors.New("the list of mounts (/proc/self/mountinfo) has lines that cannot be read")
		}
		place, fstype := fields[4], behind[0]
		readOnly := slices.Contains(strings.Split(fields[5], ","), "ro")
		switch {
		case place == "/":
			root = readOnly
		case fstype == "tmpfs" && slices.Contains(c.writable(), place):
			delete(missing, place)
		case place == "/sys/fs/cgroup" && fstype == "tmpfs": // root's directory of the hierarchies of version 1
		case within(place, "/proc"), within(place, "/dev"), within(place, "/sys") && readOnly, slices.Contains(expected, place) && readOnly:
		case readOnly:
			return fmt.Errorf("the engine mounts %s into the container, which no one asked for", place)
		default:
			return fmt.Errorf("the engine mounts %s into the container, where it can be written", place)
		}
	}
	if !root {
		return errors.New("the root directory of the container can be written")
	}
	for _, dir := range c.writable() {
		if missing[dir] {
			return fmt.Errorf("the engine has put no tmpfs at %s", dir)
		}
	}
	return nil
}

// processLimit is the limit on the processes of our user, for setrlimit(2). In a container they may be those of the
// host's user of the same number too; where the engine has set a limit for its container, that one is enough.
func (c *Config) processLimit() uint64 {
	for _, name := range []string{"/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"} { // versions 2 and 1
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && n <= c.Limits.Processes+ownProcesses {
			return math.MaxUint64 // RLIM_INFINITY
		}
	}
	return uint64(c.Limits.Processes + ownThreads())
}
