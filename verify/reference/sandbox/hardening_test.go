//go:build linux && (amd64 || arm64)

package sandbox

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// intruder is set in the environment of a step that is this test program: it tries what a shell cannot.
const intruder = "ASSAY_TEST_INTRUDER"

// intrude runs one attack and prints "refused: …" or "done: …".
func intrude(attack string) {
	name, arg, _ := strings.Cut(attack, " ")
	err := attacks[name](arg)
	if err != nil {
		fmt.Printf("%s refused: %v\n", name, err)
		return
	}
	fmt.Printf("%s done\n", name)
}

// attacks return nil when they worked.
var attacks = map[string]func(arg string) error{
	"abstract-socket": func(name string) error {
		_, err := net.Dial("unix", "@"+name)
		return err
	},
	"path-socket": func(name string) error {
		_, err := net.Dial("unix", name)
		return err
	},
	"tcp": func(address string) error {
		_, err := net.Dial("tcp", address)
		return err
	},
	"udp": func(address string) error {
		c, err := net.Dial("udp", address)
		if err == nil {
			_, err = c.Write([]byte("x"))
		}
		return err
	},
	"look-up": func(host string) error {
		_, err := net.LookupHost(host)
		return err
	},
	"trace-first": func(string) error { return unix.PtraceAttach(1) },
	"seize-first": func(string) error { return unix.PtraceSeize(1) },
	"kill-first": func(string) error {
		// Only the signals with no handler in a first process are ignored; the call itself may succeed.
		for s := syscall.Signal(1); s < 32; s++ {
			syscall.Kill(1, s)
		}
		time.Sleep(10 * time.Millisecond)
		return errors.New("it lives")
	},
	"limit-first": func(string) error {
		return unix.Prlimit(1, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: 1}, nil)
	},
	"read-first": func(string) error {
		buf := make([]byte, 8)
		_, err := unix.ProcessVMReadv(1, []unix.Iovec{{Base: &buf[0], Len: 8}}, []unix.RemoteIovec{{Base: 0x400000, Len: 8}}, 0)
		return err
	},
	"descriptor-first": func(string) error {
		fd, err := unix.PidfdOpen(1, 0)
		if err != nil {
			return err
		}
		for n := range 64 {
			if _, err = unix.PidfdGetfd(fd, n, 0); err == nil {
				return nil
			}
		}
		return err
	},
	"enter-first": func(string) error {
		fd, err := unix.PidfdOpen(1, 0)
		if err != nil {
			return err
		}
		return unix.Setns(fd, unix.CLONE_NEWNS|unix.CLONE_NEWUSER)
	},
	"setns": func(string) error {
		fd, err := unix.Open("/proc/self/ns/user", unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		return unix.Setns(fd, 0)
	},
	"clone-user": func(string) error {
		cmd := exec.Command("/bin/true")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
		return cmd.Run()
	},
	"clone-mount": func(string) error {
		cmd := exec.Command("/bin/true")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		return cmd.Run()
	},
	"remount": func(string) error { return unix.Mount("", "/usr", "", unix.MS_REMOUNT|unix.MS_BIND, "") },
	"remount-root": func(string) error {
		return unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
	},
	"unmount": func(string) error { return unix.Unmount("/build", unix.MNT_DETACH) },
	"chroot":  func(string) error { return unix.Chroot("/build") },
	"device": func(string) error {
		return unix.Mknod("/build/disk", unix.S_IFBLK|0o600, int(unix.Mkdev(8, 0)))
	},
	"set-user": func(string) error { return unix.Setresuid(0, 0, 0) },
	"keyring": func(string) error {
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_USER_KEYRING, true)
		return err
	},
	"key": func(string) error {
		_, err := unix.AddKey("user", "x", []byte("x"), unix.KEY_SPEC_SESSION_KEYRING)
		return err
	},
	"terminal": func(string) error {
		for fd := range 3 {
			if err := unix.IoctlSetPointerInt(fd, unix.TIOCSTI, 'x'); err == nil {
				return nil
			}
		}
		_, err := os.Open("/dev/tty")
		return err
	},
	"vsock": func(string) error {
		_, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
		return err
	},
	"raw": func(string) error {
		_, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
		return err
	},
	"shared-memory": func(arg string) error {
		_, _, e := unix.RawSyscall(unix.SYS_SHMGET, 0x7a55a7, 0, 0)
		if e == 0 {
			return nil
		}
		return e
	},
	"io-uring": func(string) error {
		_, _, e := unix.RawSyscall(unix.SYS_IO_URING_SETUP, 1, 0, 0)
		if e == 0 {
			return nil
		}
		return e
	},
	"bring-up": func(string) error { // the loopback
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		req, err := unix.NewIfreq("lo")
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_UP)
		return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
	},
	"inherited": func(string) error {
		for fd := 3; fd < 4096; fd++ {
			name, err := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
			if err == nil && !strings.HasPrefix(name, "anon_inode:") && !strings.HasPrefix(name, "/proc/self/fd") && name != "/sys/fs/cgroup" {
				return nil
			}
		}
		return errors.New("only the standard ones")
	},
}

// intruderDir holds this program, as a tool directory.
func intruderDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "intruder-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "intruder"), self, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestIntruder(t *testing.T) {
	dir := intruderDir(t)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	abstract, err := net.Listen("unix", fmt.Sprintf("@assay-test-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()
	agent, err := net.Listen("unix", filepath.Join(dir, "agent"))
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	os.Chmod(filepath.Join(dir, "agent"), 0o777)
	// A descriptor that this program leaks to every child.
	leaked, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer leaked.Close()
	fd, err := unix.FcntlInt(leaked.Fd(), unix.F_DUPFD, 200) // without close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if id, _, e := unix.RawSyscall(unix.SYS_SHMGET, 0x7a55a7, 4096, unix.IPC_CREAT|0o666); e == 0 {
		defer unix.RawSyscall(unix.SYS_SHMCTL, id, unix.IPC_RMID, 0)
	}
	args := map[string]string{
		"abstract-socket": strings.TrimPrefix(abstract.Addr().String(), "@"), "tcp": tcp.Addr().String(), "udp": "192.0.2.1:9",
		"look-up": "example.org", "path-socket": "/run/user/agent",
	}
	onBackends(t, func(t *testing.T, b Backend) {
		names := make([]string, 0, len(attacks))
		for name := range attacks {
			names = append(names, name)
		}
		slices.Sort(names)
		one := build{backend: b, toolDirs: []string{dir}}
		for _, name := range names {
			one.steps = append(one.steps, Step{"/usr/bin/env", intruder + "=" + name + " " + args[name], dir + "/intruder"})
		}
		log, _ := one.must(t)
		for _, name := range names {
			if !strings.Contains(log, "\n"+name+" refused: ") {
				t.Errorf("%s is not refused", name)
			}
		}
		if t.Failed() {
			t.Log(log)
		}
	})
}

// Nothing but the places for it can be written, whatever mount it lies on.
func TestWritablePlaces(t *testing.T) {
	onBackends(t, func(t *testing.T, b Backend) {
		_, out := build{
			backend: b, outputs: []string{"/build/out"}, sources: map[string][]byte{"/src/x": []byte("x")}, world: World{Shims: []Shim{{"ls", "ls", "sl"}}},
			script: `cd /; find / -xdev \( -path /proc -o -path /usr -o -path /build -o -path /src -o -path /tmp -o -path /home \) -prune -o -writable ! -type l -print >/build/out 2>/dev/null || :
				while read a b c d place options e; do
					case $place in /build|/src|/tmp|/home|/dev/shm|/dev/null|/dev/zero|/dev/full|/dev/random|/dev/urandom|/dev/tty|/dev/pts|/dev/console|/proc*) continue ;; esac
					case ,$options, in *,ro,*) ;; *) echo "$place can be written" >>/build/out ;; esac
				done </proc/self/mountinfo
				for f in /usr /usr/bin /usr/lib /etc /dev /proc /proc/sys/kernel /shims /; do if (: >$f/new) 2>/dev/null; then echo "$f takes a file" >>/build/out; fi; done
				for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/vm/drop_caches /proc/self/oom_score_adj; do
					if (echo -1 >$f) 2>/dev/null; then echo "$f takes a value" >>/build/out; fi; done; if test -e /sys/kernel; then echo sys >>/build/out; fi`,
		}.must(t)
		for line := range strings.Lines(out["/build/out"]) {
			if line = strings.TrimSpace(line); !slices.Contains([]string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx"}, line) {
				t.Errorf("writable: %s", line)
			}
		}
	})
}

// Files wherever the host keeps what a build must not see: an image, a key, an agent's socket, variables.
func TestNothingOfTheHostIsSeen(t *testing.T) {
	name := fmt.Sprintf("deployed-%d.img", os.Getpid())
	made := 0
	home, _ := os.UserHomeDir()
	for _, dir := range []string{"/root", home, "/tmp", "/var/tmp", "/srv", "/opt", "/mnt", "/media", "/run", "/dev/shm", t.TempDir(), ".."} {
		file := filepath.Join(dir, name)
		if os.WriteFile(file, []byte("the deployed image"), 0o644) == nil {
			made++
			t.Cleanup(func() { os.Remove(file) })
		}
	}
	if made < 3 {
		t.Fatal("the host has no place for an image")
	}
	for _, v := range []string{"SSH_AUTH_SOCK", "COSIGN_PASSWORD", "GNUPGHOME", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY", "LD_PRELOAD_", "GITHUB_TOKEN"} {
		t.Setenv(v, "of-the-host-"+name)
	}
	onBackends(t, func(t *testing.T, b Backend) {
		log, out := build{
			backend: b, outputs: []string{"out"},
			script: `exec 2>/dev/null; set +e; { find / -path /usr -prune -o -name '` + name + `' -print; find / -path /usr -prune -o -path /proc -prune -o -type s -print
				cat /proc/*/environ /proc/*/cmdline | tr '\0' '\n' | grep of-the-[h]ost; grep . /proc/keys /proc/key-users | grep -v -e ' 1000: ' -e keyring; cat /proc/net/unix | grep @; } >out; :`,
		}.must(t)
		if out["out"] != "" {
			t.Errorf("a build sees %q\n%s", out["out"], log)
		}
		_, out = build{backend: b, outputs: []string{"out"}, script: `set +e; for d in /root /srv /mnt /media /var /run /opt /boot /sys; do ls -A $d 2>/dev/null; done >out; :`}.must(t)
		if out["out"] != "" {
			t.Errorf("a build sees %q", out["out"])
		}
	})
}

func TestHostileOutputs(t *testing.T) {
	onBackends(t, func(t *testing.T, b Backend) {
		for _, c := range []struct{ name, script, output, want string }{
			{"a link to the first process", `ln -s /proc/1/exe out`, "out", "symbolic link"},
			{"a link to a descriptor of the first process", `ln -s /proc/1/fd/3 out`, "out", "symbolic link"},
			{"a parent that is the first process' root", `ln -s /proc/1/root d`, "d/etc/passwd", "symbolic link"},
			{"a parent that is a link to itself", `ln -s d d`, "d/x", "symbolic link"},
			{"a parent that is a file", `echo x >d`, "d/x", "not a directory"},
			{"unreadable", `echo secret >out; chmod 000 out`, "out", ""},
			{"a name of many links", `echo x >a; for i in 1 2 3 4 5; do ln -s a b$i; done; ln -s b5 out`, "out", "symbolic link"},
			{"/dev/shm", `echo x >/dev/shm/x 2>/dev/null || true`, "/dev/shm/x", "may write"},
			{"a link at the home", `ln -s /etc ~/etc`, Home + "/etc/passwd", "symbolic link"},
			{"an output that grows no more", `(while :; do echo grow >>out; done) & while ! test -s out; do :; done`, "out", "grow"},
			{"a hard link to a file of the host", `ln /etc/passwd out || ln /usr/bin/env out`, "out", "failed"},
		} {
			t.Run(c.name, func(t *testing.T) {
				_, out, log, err := build{backend: b, script: c.script, outputs: []string{c.output}}.run(t)
				switch {
				case c.want == "grow":
					if err != nil || strings.Trim(out[c.output], "grow\n") != "" || out[c.output] == "" {
						t.Errorf("got %v, %d bytes", err, len(out[c.output]))
					}
				case c.want == "":
					if err == nil && out[c.output] != "secret\n" {
						t.Errorf("got %q", out[c.output])
					}
				default:
					wantFailed(t, err, c.want)
					if out[c.output] != "" {
						t.Errorf("%q was copied out\n%s", out[c.output], log)
					}
				}
			})
		}
		// The copy of a set-user-id program is an ordinary file.
		one := build{backend: b, script: `cp /bin/true out; chmod 6777 out`, outputs: []string{"out"}, keep: new(string)}
		one.must(t)
		info, err := os.Stat(*one.keep)
		if err != nil || info.Size() == 0 || info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 || info.Mode().Perm()&0o111 != 0 {
			t.Errorf("the copy is %v, %v", info.Mode(), err)
		}
	})
}

// What a step leaves running is dead before the next one, and changes nothing after it.
func TestDaemonsChangeNothing(t *testing.T) {
	onBackends(t, func(t *testing.T, b Backend) {
		daemon := `trap '' TERM HUP INT; (setsid sh -c 'trap "" TERM HUP; : >ready; while :; do echo daemon >out; echo daemon >later; done' >/dev/null 2>&1 </dev/null &) ; while ! test -e ready; do :; done`
		_, out := build{
			backend: b, outputs: []string{"out", "later"},
			steps: []Step{{"/bin/sh", "-c", daemon}, {"/bin/sh", "-c", "echo step >out; i=0; while test $i -lt 20000; do i=$((i+1)); done; cat out >seen; rm later; cp out later"}},
		}.must(t)
		if out["out"] != "step\n" || out["later"] != "step\n" {
			t.Errorf("got %q", out)
		}
		// The last step's daemon holds the log open and writes an output.
		log, out := build{backend: b, outputs: []string{"out"}, steps: []Step{
			{"/bin/sh", "-c", `(setsid sh -c 'while :; do echo a; done' &); (setsid sh -c 'exec sleep 1000' &); echo done >out`},
		}}.must(t)
		if out["out"] != "done\n" {
			t.Errorf("got %q, log of %d bytes", out, len(log))
		}
	})
}

func TestHogs(t *testing.T) {
	onBackends(t, func(t *testing.T, b Backend) {
		for _, c := range []struct {
			name, script string
			limits       Limits
			limit        string // "" for any failure
		}{
			{"files without content", `mkdir d; i=0; while :; do mkdir d/$i; (cd d/$i && seq 1 20000 | xargs touch) || exit 1; i=$((i+1)); done`, Limits{time.Minute, 1 << 30, 8 << 20, 64}, "output"},
			{"many places", `for d in /build /tmp ~ ; do head -c 6000000 /dev/zero >$d/x; done; i=0; while :; do i=$((i+1)); done`, Limits{time.Minute, 1 << 30, 8 << 20, 64}, "output"},
			{"a sparse file as an output", `truncate -s 8000000 out; truncate -s 1G big`, Limits{time.Minute, 1 << 30, 8 << 20, 64}, ""},
			{"a log without lines", `exec cat /dev/zero`, Limits{time.Minute, 1 << 30, 1 << 20, 64}, "log"},
			{"a log by a daemon", `(setsid sh -c 'exec yes' &); while :; do :; done`, Limits{time.Minute, 1 << 30, 1 << 20, 64}, "log"},
			{"a closed log", `exec >&- 2>&-; while :; do :; done`, Limits{time.Second, 1 << 30, 1 << 20, 64}, "time"},
			{"a stopped process", `kill -STOP $$`, Limits{time.Second, 1 << 30, 1 << 20, 64}, "time"},
		} {
			t.Run(c.name, func(t *testing.T) {
				_, _, log, err := build{backend: b, script: c.script, limits: c.limits, outputs: []string{"out"}}.run(t)
				if c.limit != "" {
					wantLimit(t, err, c.limit)
				} else if err == nil {
					t.Errorf("it is not stopped; log of %d bytes", len(log))
				}
			})
		}
	})
}

// A build that asks for the network is told that there is none; others are not.
func TestNetworkHint(t *testing.T) {
	dir := intruderDir(t)
	cases := []struct {
		program, script string
		hint            bool
	}{
		{"git", `git clone https://example.org/x.git`, true},
		{"curl", `curl -sS https://example.org/`, true},
		{"wget", `wget -O- https://example.org/`, true},
		{"bash", `bash -c 'exec 3<>/dev/tcp/192.0.2.1/80'`, true},
		{"bash", `bash -c 'exec 3<>/dev/tcp/example.org/80'`, true},
		{"env", intruder + `="tcp example.org:80" ` + dir + `/intruder; exit 1`, true},
		{"env", intruder + `="tcp 192.0.2.1:80" ` + dir + `/intruder; exit 1`, true},
		{"python3", `python3 -c 'import urllib.request; urllib.request.urlopen("http://example.org/")'`, true},
		{"perl", `perl -MSocket -e 'socket(S, PF_INET, SOCK_STREAM, 0); connect(S, sockaddr_in(80, inet_aton("192.0.2.1"))) or die "$!"'`, true},
		{"sh", `echo "main.c:3: error: network.h: No such file or directory"; exit 1`, false},
		{"sh", `echo "src/net/resolve.c: undefined reference to resolve"; exit 1`, false},
		{"sh", `exit 1`, false},
	}
	for _, c := range cases {
		t.Run(c.script, func(t *testing.T) {
			if _, err := os.Stat("/usr/bin/" + c.program); err != nil {
				t.Skip(c.program + " is not installed")
			}
			_, _, log, err := build{script: c.script, toolDirs: []string{dir}, steps: nil}.run(t)
			var failed *FailedError
			if !errors.As(err, &failed) || strings.Contains(err.Error(), "a sandbox has none") != c.hint {
				t.Errorf("got %v\n%s", err, log)
			}
		})
	}
}
