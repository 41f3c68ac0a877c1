//go:build linux && (amd64 || arm64)

package sandbox

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asUser is set in the environment of a copy of the test program that runs as an ordinary user.
const asUser = "ASSAY_TEST_AS_USER"

func TestMain(m *testing.M) {
	if code, ok := asEngine(); ok {
		os.Exit(code)
	}
	if IsInit(os.Args) {
		os.Exit(Init())
	}
	if attack := os.Getenv(intruder); attack != "" {
		intrude(attack)
		return
	}
	os.Exit(m.Run())
}

// TestAsOrdinaryUser runs all tests of this package again as an ordinary user, when they run as root.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("these tests run as an ordinary user already")
	}
	dir, err := os.MkdirTemp("", "sandbox-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	tmp := filepath.Join(dir, "tmp")
	program := filepath.Join(dir, "sandbox.test")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Chmod(dir, 0o755), os.Mkdir(tmp, 0o700), os.Chown(tmp, nobody, nobody), os.WriteFile(program, self, 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"-test.v", "-test.count=1"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = tmp
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + tmp, "TMPDIR=" + tmp, asUser + "=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as an ordinary user: %v\n%s", err, out)
	}
	ran := 0
	for line := range strings.SplitSeq(string(out), "\n") {
		if strings.Contains(line, "SKIP-NAMESPACE:") {
			t.Error("as an ordinary user: " + line)
		}
		if strings.HasPrefix(line, "--- PASS") {
			ran++
		}
	}
	if ran < 10 {
		t.Errorf("only %d tests passed as an ordinary user", ran)
	}
}

// build runs a shell script and returns the files that it leaves at the paths outputs.
type build struct {
	backend  Backend
	script   string
	sources  map[string][]byte // by place
	outputs  []string
	limits   Limits
	env      []string
	rootfs   []byte
	toolDirs []string
	tools    []string
	steps    []Step
	world    World
	keep     *string // where the first output's file is said to lie
}

var defaults = Limits{Time: 60 * time.Second, Memory: 2 << 30, Output: 64 << 20, Processes: 64}

func (b build) run(t *testing.T) (*Report, map[string]string, string, error) {
	t.Helper()
	return b.runContext(t, t.Context())
}

func (b build) runContext(t *testing.T, ctx context.Context) (*Report, map[string]string, string, error) {
	t.Helper()
	var log bytes.Buffer
	c := Config{
		Backend: b.backend, Env: append(slices.Clone(b.env), "HOME="+Home, "TZ=UTC"),
		Limits: b.limits, Log: &log, ToolDirs: b.toolDirs, Tools: b.tools, Steps: b.steps, Epoch: 315532800, World: b.world,
	}
	if !strings.Contains(strings.Join(c.Env, "\n"), "PATH=") {
		c.Env = append(c.Env, "PATH="+Path)
	}
	if b.script != "" {
		c.Steps = append(c.Steps, Step{"/bin/sh", "-e", "-c", b.script})
	}
	if c.Limits == (Limits{}) {
		c.Limits = defaults
	}
	dir := t.TempDir()
	give := func(name string, content []byte) Input {
		file := filepath.Join(dir, fmt.Sprintf("in%d-%s", len(c.Sources), name))
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		sum := sha256.Sum256(content)
		return Input{Name: name, SHA256: hex.EncodeToString(sum[:]), File: f}
	}
	if b.rootfs != nil {
		in := give("rootfs.tar", b.rootfs)
		c.Rootfs = &in
	}
	places := make([]string, 0, len(b.sources))
	for at := range b.sources {
		places = append(places, at)
	}
	slices.Sort(places)
	for _, at := range places {
		c.Sources = append(c.Sources, Source{give(filepath.Base(at), b.sources[at]), at})
	}
	for i, name := range b.outputs {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("out%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		c.Outputs = append(c.Outputs, Output{name, f})
		if b.keep != nil && i == 0 {
			*b.keep = f.Name()
		}
	}
	r, err := Run(ctx, c)
	var none *UnavailableError
	if errors.As(err, &none) {
		if b.backend == Bwrap && strings.Contains(err.Error(), "not installed") {
			t.Skip("bwrap is not installed")
		}
		if b.backend.container() {
			t.Fatal(err)
		}
		t.Skip("SKIP-NAMESPACE: " + err.Error())
	}
	got := map[string]string{}
	for i, name := range b.outputs {
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("out%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = string(text)
	}
	return r, got, log.String(), err
}

// must runs a build that has to succeed, and returns its log.
func (b build) must(t *testing.T) (string, map[string]string) {
	t.Helper()
	_, out, log, err := b.run(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	return log, out
}

func onBackends(t *testing.T, test func(*testing.T, Backend)) {
	for _, b := range []Backend{Native, Bwrap} {
		t.Run(string(b), func(t *testing.T) { test(t, b) })
	}
}

func TestWhatABuildSees(t *testing.T) {
	t.Setenv("SECRET_TOKEN", "of the host")
	cases := []struct{ name, script, want string }{
		{"user", `id -u; id -g; id -un`, "1000\n1000\nbuild\n"},
		{"host name", `uname -n; cat /proc/sys/kernel/hostname`, HostName + "\n" + HostName + "\n"},
		{"environment", `env | grep -v -e ^_= -e ^PWD= | sort`, "HOME=" + Home + "\nPATH=" + Path + "\nTZ=UTC\n"},
		{"mask", `umask; touch a; stat -c %a a`, "0022\n644\n"},
		{"working directory", `pwd`, WorkDir + "\n"},
		{"home", `echo ~; touch ~/x && ls -A ~`, Home + "\nx\n"},
		{"homes of the host", `ls -A /home; ls -A /root 2>/dev/null | wc -l`, "build\n0\n"},
		{"no capability", `grep ^Cap /proc/self/status | tr -d '\t'`, "CapInh:0000000000000000\nCapPrm:0000000000000000\nCapEff:0000000000000000\nCapBnd:0000000000000000\nCapAmb:0000000000000000\n"},
		{"no new privileges, filtered", `grep -e ^NoNewPrivs -e ^Seccomp: /proc/self/status | tr -d '\t'`, "NoNewPrivs:1\nSeccomp:2\n"},
		{"interfaces", `sed 1,2d /proc/net/dev | cut -d: -f1 | tr -d ' '`, "lo\n"},
		{"no route", `sed 1d /proc/net/route`, ""},
		{"processes", `ls -d /proc/[0-9]* | wc -l | { read n; test $n -lt 8 && echo few; }`, "few\n"},
		{"no terminal", `if (: </dev/tty) 2>/dev/null; then echo open; else echo closed; fi`, "closed\n"},
		{"standard input", `cat`, ""},
		{"devices", `cat /dev/null; head -c 3 /dev/zero | tr '\0' z; echo; head -c 4 /dev/urandom | wc -c; ls /dev/kmsg /dev/mem /dev/vda /dev/sda 2>/dev/null | wc -l`, "zzz\n4\n0\n"},
		{"no sys, no run", `ls -A /sys /run /var 2>/dev/null | grep -v : | wc -l`, "0\n"},
		{"no setting of the host", `ls /etc/shadow /etc/ssh /etc/resolv.conf /etc/machine-id 2>/dev/null | wc -l`, "0\n"},
		{"descriptors", `ls /proc/self/fd | grep -v '^3$' | tr '\n' ' '`, "0 1 2 "},
		{"limits", `ulimit -c; ulimit -n`, "0\n4096\n"},
	}
	onBackends(t, func(t *testing.T, b Backend) {
		all := build{backend: b}
		for i, c := range cases {
			all.outputs = append(all.outputs, fmt.Sprint("out", i))
			all.steps = append(all.steps, Step{"/bin/sh", "-c", "{ " + c.script + "\n} >/build/out" + fmt.Sprint(i)})
		}
		_, out := all.must(t)
		for i, c := range cases {
			if got := out[all.outputs[i]]; got != c.want {
				t.Errorf("%s: got %q, want %q", c.name, got, c.want)
			}
		}
	})
}

// Root's builds run as nobody of the host, an ordinary user's as that user.
func TestUserOnTheHost(t *testing.T) {
	want := os.Geteuid()
	if want == 0 {
		want = nobody
	}
	_, out := build{
		backend: Native, outputs: []string{"out"},
		script: `read inside outside count </proc/self/uid_map; echo $inside $outside $count >out; grep ^Groups /proc/self/status >>out`,
	}.must(t)
	if line, groups, _ := strings.Cut(out["out"], "\n"); line != fmt.Sprintf("1000 %d 1", want) || os.Geteuid() == 0 && strings.TrimSpace(groups) != "Groups:" {
		t.Errorf("got %q", out["out"])
	}
}

func TestWhatABuildCannotDo(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("key"), 0o644); err != nil {
		t.Fatal(err)
	}
	perl := `command -v perl >/dev/null || exit 1; perl -e `
	cases := []struct{ name, script string }{
		{"write to /usr", `echo x >/usr/x`},
		{"write to /usr/bin", `cp /bin/true /usr/bin/x`},
		{"write to the root", `echo x >/x`},
		{"write to /etc", `echo x >>/etc/passwd`},
		{"write to /dev", `echo x >/dev/x`},
		{"write to /proc/sys", `echo x >/proc/sys/kernel/hostname`},
		{"raise the limit on user namespaces", `echo 100 >/proc/sys/user/max_user_namespaces`},
		{"mount", `mount -t tmpfs none /tmp`},
		{"remount", `mount -o remount,bind,rw /usr`},
		{"unshare", `unshare -U true`},
		{"unshare user and mount", `unshare -Urm true`},
		{"change the host name", `hostname x`},
		{"make a device", `mknod /build/null c 1 3`},
		{"become another user", `chown 0:0 /build`},
		{"raise a limit", `ulimit -p 100000 || ulimit -u 100000`},
		{"read a file of the host", `cat ` + secret},
		{"read the memory of the first process", `head -c 1 /proc/1/mem || cat /proc/1/maps | grep .`},
		{"read the environment of the first process", `cat /proc/1/environ | grep .`},
		{"reach the root of the first process", `ls /proc/1/root/`},
		{"reach the descriptors of the first process", `ls /proc/1/fd | grep .`},
		{"reach the program of the first process", `cat /proc/1/exe | head -c 1 | grep .`},
		{"connect to the host by its address", `exec 3<>/dev/tcp/127.0.0.1/` + port},
		{"make a vsock", perl + `'socket(S, 40, 1, 0) or exit 1'`},
		{"make a packet socket", perl + `'socket(S, 17, 3, 0) or exit 1'`},
		{"make a socket outside", perl + `'use Socket; socket(S, PF_INET, SOCK_STREAM, 0) or exit 0; connect(S, sockaddr_in(` + port + `, inet_aton("127.0.0.1"))) or exit 1'`},
		{"trace the first process", perl + `'exit(syscall(101, 16, 1, 0, 0) == 0 ? 0 : 1)'`},
		{"read a keyring", perl + `'exit(syscall(250, 0, -3, 0) >= 0 ? 0 : 1)'`},
	}
	onBackends(t, func(t *testing.T, b Backend) {
		all := build{backend: b}
		for i, c := range cases {
			if strings.Contains(c.script, "syscall(") && runtime.GOARCH != "amd64" {
				c.script = "false" // those are numbers of amd64
			}
			all.outputs = append(all.outputs, fmt.Sprint("out", i))
			all.steps = append(all.steps, Step{"/bin/sh", "-c", "if " + shell(c.script) + "; then echo done; else echo refused; fi >/build/out" + fmt.Sprint(i)})
		}
		_, out := all.must(t)
		for i, c := range cases {
			if got := out[all.outputs[i]]; !strings.HasSuffix(got, "refused\n") {
				t.Errorf("a build can %s: %q", c.name, got)
			}
		}
		select {
		case <-accepted(listener):
			t.Error("the listener of the host was reached")
		default:
		}
	})
}

// shell quotes a script for a shell of its own; bash where it is there, for /dev/tcp.
func shell(script string) string {
	return `$(command -v bash || echo sh) -c '` + strings.ReplaceAll(script, `'`, `'\''`) + `'`
}

func accepted(l net.Listener) <-chan net.Conn {
	c := make(chan net.Conn, 1)
	l.(*net.TCPListener).SetDeadline(time.Now())
	if conn, err := l.Accept(); err == nil {
		c <- conn
	}
	return c
}

// A set-user-id program of the build itself and one of the host change no user.
func TestSetUserIDHasNoEffect(t *testing.T) {
	onBackends(t, func(t *testing.T, b Backend) {
		_, out := build{
			backend: b, outputs: []string{"out"},
			script: `cp /usr/bin/id /build/id; chmod 6755 /build/id
				{ /build/id -u; /build/id -g; while read a b c d place options e; do
					case ,$options, in *,nosuid,*) ;; *) echo "$place allows set-user-id" ;; esac
				done </proc/self/mountinfo; } >out`,
		}.must(t)
		if out["out"] != "1000\n1000\n" {
			t.Errorf("got %q", out["out"])
		}
	})
}

func TestOutputs(t *testing.T) {
	cases := []struct{ name, script, output, want string }{
		{"missing", `true`, "out", "did not make it"},
		{"a symbolic link", `ln -s /etc/passwd out`, "out", "symbolic link"},
		{"a symbolic link to a file of the build", `echo x >x; ln -s x out`, "out", "symbolic link"},
		{"behind a symbolic link", `ln -s /etc d`, "d/passwd", "symbolic link"},
		{"a FIFO", `mkfifo out`, "out", "not a regular file"},
		{"a directory", `mkdir out`, "out", "not a regular file"},
		{"a socket", `perl -e 'use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0) and bind(S, sockaddr_un("out"))'`, "out", "not a regular file"},
		{"outside the build", `true`, "/usr/bin/env", "may write"},
		{"a device", `true`, "/dev/zero", "may write"},
		{"in /proc", `true`, "/proc/1/cmdline", "may write"},
		{"a replaced directory", `cd /; mv /build/d /build/e 2>/dev/null || true; ln -s /proc/self /build/d`, "d/status", "symbolic link"},
		{"a sparse giant", `truncate -s 60M out; truncate -s 80M out2 || true; ls -l >&2; cp --sparse=always out x; test -s x`, "out2", ""},
	}
	onBackends(t, func(t *testing.T, b Backend) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				_, out, log, err := build{backend: b, script: c.script, outputs: []string{c.output}}.run(t)
				if err == nil && c.want == "" && len(out[c.output]) <= int(defaults.Output) {
					return
				}
				var failed *FailedError
				if !errors.As(err, &failed) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want an error with %q\n%s", err, c.want, log)
				}
				if out[c.output] != "" {
					t.Errorf("%d bytes were copied out", len(out[c.output]))
				}
			})
		}
		for _, name := range []string{"../x", "..", "a/../../x", "/../x", "", ".", "/", "a//b", "a\x00b"} {
			if _, err := Run(t.Context(), Config{Backend: b, Limits: defaults, Outputs: []Output{{Path: name}}}); err == nil {
				t.Errorf("output %q is accepted", name)
			}
		}
	})
}

func TestPlaces(t *testing.T) {
	for at, ok := range map[string]bool{
		"/src": true, "/src/a/b": true, "/build/x": true, "/opt/tool": true,
		"/": false, "": false, "src": false, "/src/": false, "/src/../usr": false, "/usr": false, "/usr/src": false, "/etc/x": false,
		"/proc/x": false, "/dev/x": false, "/lib/x": false, "/tmp": false, "/home/x": false, "/src\x00": false, "//src": false,
	} {
		if err := CheckPlace(at); (err == nil) != ok {
			t.Errorf("CheckPlace(%q) = %v", at, err)
		}
	}
}

func TestDaemonsAreKilledAfterAStep(t *testing.T) {
	onBackends(t, func(t *testing.T, b Backend) {
		log, out := build{
			backend: b, outputs: []string{"out"},
			steps: []Step{
				{"/bin/sh", "-c", `mkfifo gate; trap '' TERM HUP; (setsid sh -c 'trap "" TERM HUP; echo $$ >>pids; : >gate; while :; do :; done' &) ; read x <gate || true; cat pids`},
				{"/bin/sh", "-c", `for p in $(cat pids); do test ! -d /proc/$p || echo "$p lives"; done >out; ls -d /proc/[0-9]* >&2`},
			},
		}.must(t)
		if out["out"] != "" {
			t.Errorf("%s\n%s", out["out"], log)
		}
	})
}

func wantLimit(t *testing.T, err error, limit string) {
	t.Helper()
	var e *LimitError
	if !errors.As(err, &e) || e.Limit != limit {
		t.Fatalf("got %v, want the limit on %s", err, limit)
	}
}

func TestLimits(t *testing.T) {
	onBackends(t, func(t *testing.T, b Backend) {
		small := defaults
		t.Run("time, signals ignored", func(t *testing.T) {
			l := small
			l.Time = 2 * time.Second
			_, _, _, err := build{backend: b, limits: l, script: `trap '' TERM INT HUP; echo started; while :; do :; done`}.run(t)
			wantLimit(t, err, "time")
			var e *LimitError
			if errors.As(err, &e); len(e.Tail) == 0 || e.Tail[len(e.Tail)-1] != "started" {
				t.Errorf("the end of the log is %q", e.Tail)
			}
		})
		t.Run("disk", func(t *testing.T) {
			l := small
			l.Output = 4 << 20
			for _, script := range []string{
				`i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero >f$i; done`,
				`cat /dev/zero >/tmp/x || true; exit 1`,
				`i=0; while :; do i=$((i+1)); head -c 1000000 /dev/zero >/dev/shm/f$i; done`,
			} {
				if b == Bwrap && strings.Contains(script, "shm") {
					continue
				}
				_, _, log, err := build{backend: b, limits: l, script: script}.run(t)
				if strings.Contains(script, "cat") && err != nil {
					continue // a file that is too large may stop the writer before the disk is full
				}
				wantLimit(t, err, "output")
				_ = log
			}
		})
		t.Run("output", func(t *testing.T) {
			l := small
			l.Output = 1 << 20
			_, out, _, err := build{backend: b, limits: l, script: `truncate -s 2M out`, outputs: []string{"out"}}.run(t)
			if err == nil || len(out["out"]) > 1<<20 {
				t.Errorf("%d bytes, error %v", len(out["out"]), err)
			}
		})
		t.Run("log", func(t *testing.T) {
			l := small
			l.Output = 1 << 20
			_, _, log, err := build{backend: b, limits: l, script: `while :; do echo 0123456789012345678901234567890123456789; done`}.run(t)
			wantLimit(t, err, "log")
			if len(log) != 1<<20 {
				t.Errorf("%d bytes were logged", len(log))
			}
		})
		t.Run("processes", func(t *testing.T) {
			l := small
			l.Processes = 20
			_, out, log, err := build{
				backend: b, limits: l, outputs: []string{"out"},
				script: `n=0; while test $n -lt 100; do n=$((n+1)); (echo $n >>started; exec tail -f /dev/null) & done; exit 0`,
			}.run(t)
			if err == nil {
				t.Errorf("100 processes ran under a limit of 20: %v\n%s", out, log)
			}
			if !strings.Contains(log, "fork") {
				t.Errorf("no fork failed: %v\n%s", err, log)
			}
		})
		t.Run("fork bomb", func(t *testing.T) {
			l := small
			l.Processes, l.Time = 40, time.Second
			_, _, _, err := build{backend: b, limits: l, script: `bomb() { bomb | bomb & }; bomb; while :; do :; done`}.run(t)
			if err == nil {
				t.Error("a fork bomb succeeded")
			}
		})
		t.Run("memory of one process", func(t *testing.T) {
			l := small
			l.Memory = 32 << 20
			_, _, log, err := build{backend: b, limits: l, script: `x=$(head -c 50000000 /dev/zero | tr '\0' x); echo ${#x}`}.run(t)
			var failed *FailedError // an allocation that is refused, rather than one that is noticed
			if !errors.As(err, &failed) {
				t.Errorf("50 MB fit into 32 MiB: %v\n%s", err, log)
			}
		})
		t.Run("memory of all processes", func(t *testing.T) {
			l := small
			l.Memory = 200 << 20
			_, _, log, err := build{backend: b, limits: l, script: `for i in 1 2 3 4; do sort -S 150M /dev/zero & done; wait; exit 1
			`}.run(t)
			if err == nil {
				t.Errorf("600 MB fit into 200 MiB\n%s", log)
			}
		})
	})
}

// Sixteen processes that each stay below the limit are stopped by what they hold together.
func TestMemoryInSum(t *testing.T) {
	l := defaults
	l.Memory = 160 << 20
	// A shell that keeps 20 MB in a variable and waits to be read from.
	script := `for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
		(x=$(head -c 20000000 /dev/zero | tr '\0' x); echo ${#x}; while :; do :; done) &
	done; wait`
	l.Time = 30 * time.Second
	_, _, log, err := build{backend: Native, limits: l, script: script}.run(t)
	wantLimit(t, err, "memory")
	_ = log
}

func TestCancel(t *testing.T) {
	onBackends(t, func(t *testing.T, b Backend) {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("interrupted")
		read, write := io.Pipe()
		go func() { // as soon as the step runs
			io.ReadFull(read, make([]byte, 8))
			cancel(why)
			io.Copy(io.Discard, read)
		}()
		_, err := Run(ctx, Config{Backend: b, Limits: defaults, Log: write, Env: []string{"PATH=" + Path}, Steps: []Step{
			{"/bin/sh", "-c", `trap '' TERM; echo started; while :; do :; done`},
		}})
		var none *UnavailableError
		if errors.As(err, &none) {
			t.Skip("SKIP-NAMESPACE: " + err.Error())
		}
		if !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFailures(t *testing.T) {
	onBackends(t, func(t *testing.T, b Backend) {
		for _, c := range []struct {
			name  string
			build build
			want  string
			tail  string
		}{
			{"exit code", build{script: "echo one; echo two >&2; exit 7"}, "step 1 of 1 (/bin/sh -e -c echo one; echo two >&2; exit 7) failed: exit code 7", "two"},
			{"signal", build{script: "kill -9 $$"}, "killed by signal 9 (SIGKILL)", ""},
			{"a pipe's head", build{script: "false | true; false; true"}, "exit code 1", ""},
			{"no such program", build{steps: []Step{{"no-such-program"}}}, "no-such-program is not in the PATH", ""},
			{"not a program", build{steps: []Step{{"/etc/passwd"}}}, "permission denied", ""},
			{"no such tool", build{tools: []string{"no-such-tool"}}, "install it", ""},
			{"a second step", build{steps: []Step{{"true"}, {"false"}, {"true"}}}, "step 2 of 3", ""},
			{"killing everything", build{script: "kill -9 -1; exit 3"}, "step 1 of 1", ""},
			{"killing the first process", build{script: "kill -9 1; kill -TERM 1; kill -STOP 1; kill -SEGV 1; exit 3"}, "exit code", ""},
		} {
			t.Run(c.name, func(t *testing.T) {
				c.build.backend = b
				_, _, log, err := c.build.run(t)
				var failed *FailedError
				if !errors.As(err, &failed) || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("got %v, want %q\n%s", err, c.want, log)
				}
				if c.tail != "" && (len(failed.Tail) == 0 || failed.Tail[len(failed.Tail)-1] != c.tail) {
					t.Errorf("the end of the log is %q", failed.Tail)
				}
			})
		}
	})
}

func TestTools(t *testing.T) {
	r, _, log, err := build{tools: []string{"ls", "sh"}}.run(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	ls, err := os.ReadFile("/bin/ls")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(ls)
	if len(r.Tools) != 2 || r.Tools[0].SHA256 != hex.EncodeToString(sum[:]) || !strings.HasPrefix(r.Tools[0].Version, "ls (") {
		t.Errorf("got %+v", r.Tools)
	}
	if len(r.Tools[1].SHA256) != 64 {
		t.Errorf("a tool without a version is not digested: %+v", r.Tools[1])
	}
}

func TestSources(t *testing.T) {
	archive := tarOf(entry{name: "d/", mode: 0o2777}, entry{name: "d/f", body: "tarred", mode: 0o4775}, entry{name: "l", link: "d/f"})
	onBackends(t, func(t *testing.T, b Backend) {
		_, out := build{
			backend: b, outputs: []string{"out"},
			sources: map[string][]byte{"/src": archive, "/src/extra/blob.bin": []byte("blob"), "/other/x": []byte("other")},
			script:  `cat /src/d/f /src/l /src/extra/blob.bin /other/x >out; stat -c ' %a %Y %u' /src/d /src/d/f /src/extra/blob.bin /src /src/extra /tmp >>out`,
		}.must(t)
		want := "tarredtarredblobother 755 1000000000 1000\n 755 1000000000 1000\n 644 315532800 1000\n" +
			" 755 315532800 1000\n 755 315532800 1000\n 1777 315532800 1000\n"
		if out["out"] != want {
			t.Errorf("got %q, want %q", out["out"], want)
		}
		// So many files that the first process collects its garbage more than once while it runs.
		var many []entry
		for i := range 4000 {
			many = append(many, entry{name: fmt.Sprintf("d%d/f%d", i%10, i), body: "x"})
		}
		build{backend: b, sources: map[string][]byte{"/src": tarOf(many...)}, script: `test $(cat /src/*/* | wc -c) = 4000`}.must(t)
		// A source that changes between its check and its use.
		file := filepath.Join(t.TempDir(), "changing")
		if err := os.WriteFile(file, []byte("changed"), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		_, err = Run(t.Context(), Config{
			Backend: b, Limits: defaults, Env: []string{"PATH=" + Path}, Steps: []Step{{"true"}},
			Sources: []Source{{Input{"changing", strings.Repeat("0", 64), f}, "/src/x"}},
		})
		if err == nil || !strings.Contains(err.Error(), "changed while it was read") {
			t.Errorf("got %v", err)
		}
		// A bomb is held by the limit on output.
		_, _, _, err = build{
			backend: b, limits: Limits{Time: time.Minute, Memory: 1 << 30, Output: 1 << 20, Processes: 9},
			sources: map[string][]byte{"/src": tarOf(entry{name: "big", body: strings.Repeat("\x00", 2<<20)})}, steps: []Step{{"true"}},
		}.run(t)
		wantLimit(t, err, "output")
		// A link of one source does not lead the next one out.
		_, _, _, err = build{backend: b, steps: []Step{{"true"}}, sources: map[string][]byte{
			"/src": tarOf(entry{name: "out", link: "/build"}), "/src/out/x": []byte("x"),
		}}.run(t)
		if err == nil || !strings.Contains(err.Error(), "escapes") {
			t.Errorf("got %v", err)
		}
	})
}

// A root file system of a shell and its libraries, taken from this machine, replaces the host's tools.
func TestRootfs(t *testing.T) {
	list, err := exec.Command("ldd", "/bin/sh").Output()
	if err != nil {
		t.Skip("ldd is not here to say what a shell needs")
	}
	entries := []entry{{name: "bin/", mode: 0o755}, {name: "dev/", mode: 0o755}, {name: "dev/null", device: true}, {name: "proc", link: "/build"}}
	add := func(file string) {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{name: file[1:], body: string(body), mode: 0o4755})
	}
	add("/bin/sh")
	for _, word := range strings.Fields(string(list)) {
		if strings.HasPrefix(word, "/") {
			add(word)
		}
	}
	b := build{
		backend: Native, rootfs: tarOf(entries...), outputs: []string{"out"},
		script: `for f in /* /usr/bin/env; do test -d $f && echo -n "$f "; done >out; test ! -w /bin; test ! -u /bin/sh; { echo x >/bin/x; } 2>/dev/null || echo refused >>out`,
	}
	_, out := b.must(t)
	for _, want := range []string{"/bin ", "/dev ", "/proc ", "/build ", "refused\n"} {
		if !strings.Contains(out["out"], want) {
			t.Errorf("no %q in %q", want, out["out"])
		}
	}
	if strings.Contains(out["out"], "/usr/bin/env") {
		t.Error("the host's /usr is there")
	}
	// The login and the host name are those of the World, whatever the root file system says.
	b.rootfs = tarOf(append(entries, entry{name: "etc/passwd", body: "who:x:1000:1:::\n"}, entry{name: "etc/hosts", link: "/../../passwd"})...)
	b.world = World{User: "ci", Home: "/home/ci", HostName: "far"}
	b.script = `{ read l; echo $l; } </etc/passwd >out; while read l; do echo $l; done </etc/hosts >>out; test -w ~ci && echo ~ci >>out`
	_, out = b.must(t)
	if want := "ci:x:1000:1000:build:/home/ci:/bin/sh\n127.0.0.1 localhost\n127.0.0.1 far\n/home/ci\n"; out["out"] != want {
		t.Errorf("got %q, want %q", out["out"], want)
	}
	b.rootfs = []byte("not a tar file")
	_, _, _, err = b.run(t)
	var failed *FailedError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "not a tar archive") {
		t.Errorf("got %v", err)
	}
}

func TestToolDirs(t *testing.T) {
	dir, err := os.MkdirTemp("", "tools-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, err := range []error{
		os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "tool"), []byte("#!/bin/sh\necho made by a tool\n"), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	onBackends(t, func(t *testing.T, b Backend) {
		_, out := build{
			backend: b, toolDirs: []string{dir}, outputs: []string{"out"},
			script: dir + `/tool >out; if echo x >>` + dir + `/tool; then echo written >>out; fi`,
		}.must(t)
		if out["out"] != "made by a tool\n" {
			t.Errorf("got %q", out["out"])
		}
	})
}

const (
	nested = "ASSAY_TEST_NESTED" // run as a step of a sandbox
	orphan = "ASSAY_TEST_ORPHAN" // run to be killed
)

// In a sandbox none can be made, and the error says why.
func TestUnavailable(t *testing.T) {
	if os.Getenv(nested) != "" {
		_, err := Run(t.Context(), Config{Limits: defaults})
		var none *UnavailableError
		if !errors.As(err, &none) || !strings.Contains(err.Error(), "native: ") || !strings.Contains(err.Error(), "bwrap: ") || !strings.Contains(none.Hint(), "install bubblewrap") {
			t.Errorf("got %v", err)
		}
		return
	}
	dir, err := os.MkdirTemp("", "nested-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "nested.test")
	for _, err := range []error{os.Chmod(dir, 0o755), os.WriteFile(program, self, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	log, _ := build{toolDirs: []string{dir}, env: []string{nested + "=1"}, steps: []Step{{program, "-test.run=^TestUnavailable$", "-test.v"}}}.must(t)
	if !strings.Contains(log, "--- PASS: TestUnavailable") {
		t.Error(log)
	}
	t.Setenv("PATH", dir)
	_, err = Run(t.Context(), Config{Limits: defaults, Backend: Bwrap})
	var none *UnavailableError
	if !errors.As(err, &none) || !strings.Contains(err.Error(), "bwrap is not installed") {
		t.Errorf("got %v", err)
	}
}

// When the parent is killed everything in the sandbox dies with it. Every process but those of the build holds the
// write end of a pipe; at its end none of them is left, and the kernel kills the others with the first.
func TestDeathOfTheParent(t *testing.T) {
	if os.Getenv(orphan) != "" {
		Run(t.Context(), Config{Backend: Backend(os.Getenv(orphan)), Limits: defaults, Log: os.Stdout, Env: []string{"PATH=" + Path}, Steps: []Step{
			{"/bin/sh", "-c", `trap '' TERM HUP; echo started; while :; do :; done`},
		}})
		return
	}
	onBackends(t, func(t *testing.T, b Backend) {
		build{backend: b, script: "true"}.must(t) // or skip
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestDeathOfTheParent$")
		cmd.Env = append(os.Environ(), orphan+"="+string(b))
		cmd.ExtraFiles = append(make([]*os.File, 60), write) // above those that a sandbox is given
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		write.Close()
		text := make([]byte, 0, 4096)
		for !bytes.Contains(text, []byte("\nstarted\n")) {
			n, err := out.Read(text[len(text):cap(text)])
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			text = text[:len(text)+n]
		}
		cmd.Process.Kill()
		cmd.Wait()
		read.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.ReadAll(read); err != nil {
			t.Errorf("the sandbox outlives its parent: %v", err)
		}
	})
}

func TestMissingHook(t *testing.T) {
	t.Setenv(marker, "1")
	if _, err := Run(t.Context(), Config{Limits: defaults}); err == nil || !strings.Contains(err.Error(), "sandbox.Init") {
		t.Errorf("got %v", err)
	}
}

func TestUnknownBackend(t *testing.T) {
	if _, err := Run(t.Context(), Config{Limits: defaults, Backend: "chroot"}); err == nil {
		t.Error("accepted")
	}
	if _, err := Run(t.Context(), Config{}); err == nil {
		t.Error("a run without limits is accepted")
	}
}

type entry struct {
	name, body, link, hard string
	mode                   int64
	device, fifo           bool
}

func tarOf(entries ...entry) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.body)), ModTime: time.Unix(1000000000, 0), Typeflag: tar.TypeReg}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		switch {
		case e.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		case e.hard != "":
			h.Typeflag, h.Linkname = tar.TypeLink, e.hard
		case e.device:
			h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, 1, 3
		case e.fifo:
			h.Typeflag = tar.TypeFifo
		case strings.HasSuffix(e.name, "/"):
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}
