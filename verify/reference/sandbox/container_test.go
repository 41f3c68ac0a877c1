//go:build linux && (amd64 || arm64)

package sandbox

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	stdlog "log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	registryname "github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

// Environment of a copy of the test program that acts as a container engine.
const (
	engineDir   = "ASSAY_TEST_ENGINE"       // where it keeps its images, and the list of its calls
	engineFault = "ASSAY_TEST_ENGINE_FAULT" // what it does wrong
	engineStage = "ASSAY_TEST_ENGINE_STAGE" // JSON of stageOrder: this is the first process of a container being made
)

// asEngine is the whole life of a test program that was started as an engine.
func asEngine() (code int, ok bool) {
	name := path.Base(os.Args[0])
	switch {
	case os.Getenv(engineStage) != "":
		fmt.Fprintln(os.Stderr, "making a container:", setEngineStage())
		return 125, true
	case os.Getenv(engineDir) != "" && (name == "podman" || name == "docker"):
		if err := playEngine(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "Error:", err)
			return 125, true
		}
		return 0, true
	}
	return 0, false
}

// playEngine does what podman and docker do, with the namespaces of this package.
func playEngine(args []string) error {
	dir, fault := os.Getenv(engineDir), os.Getenv(engineFault)
	calls, err := os.OpenFile(filepath.Join(dir, "calls"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	fmt.Fprintf(calls, "%q\n", args)
	calls.Close()
	if fault == "dead" {
		return errors.New("cannot connect to the engine")
	}
	switch args[0] {
	case "import":
		image, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		for t := tar.NewReader(bytes.NewReader(image)); ; { // one that ends too early is no image
			if _, err := t.Next(); err == io.EOF {
				break
			} else if err != nil {
				return err
			}
		}
		sum := sha256.Sum256(image)
		id := hex.EncodeToString(sum[:])
		if err := os.WriteFile(filepath.Join(dir, id), image, 0o600); err != nil {
			return err
		}
		fmt.Println("sha256:" + id)
	case "rmi":
		_, id, _ := strings.Cut(args[len(args)-1], ":")
		return os.Remove(filepath.Join(dir, id))
	case "run":
		if said, ok := strings.CutPrefix(fault, "says "); ok {
			text, err := os.ReadFile(said)
			if err != nil {
				return err
			}
			os.Stdout.Write(text)
			fmt.Fprintln(os.Stderr, "on the engine's stderr")
			return nil
		}
		return runEngine(dir, fault, args)
	}
	return nil
}

type stageOrder struct {
	SHA256 string
	World  World
	Size   int64
	Places []string
	Fault  string
}

func runEngine(dir, fault string, args []string) error {
	o := stageOrder{Fault: fault}
	var merged bytes.Buffer
	var image string
	var volumes [][3]string
	for i, arg := range args {
		switch arg {
		case "--hostname":
			o.World.HostName = args[i+1]
		case "--tmpfs":
			place, options, _ := strings.Cut(args[i+1], ":")
			if place != "/dev/shm" {
				o.Places = append(o.Places, place)
			}
			for option := range strings.SplitSeq(options, ",") {
				fmt.Sscanf(option, "size=%d", &o.Size)
			}
		case "--volume":
			f := strings.Split(args[i+1], ":")
			volumes = append(volumes, [3]string{f[0], f[1], f[2]})
		case "--entrypoint":
			_, image, _ = strings.Cut(args[i+2], "sha256:")
		}
	}
	w := tar.NewWriter(&merged)
	base, err := os.Open(filepath.Join(dir, image))
	if err != nil {
		return errors.New("no such image")
	}
	for t := tar.NewReader(base); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(w, t); err != nil {
			return err
		}
	}
	for _, v := range volumes {
		err := filepath.WalkDir(v[0], func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if v[1] == "/etc/passwd" {
				login := strings.Split(string(content), ":")
				o.World.User, o.World.Home = login[0], login[5]
			}
			h := &tar.Header{Name: (v[1] + strings.TrimPrefix(name, v[0]))[1:], Mode: int64(info.Mode().Perm()), Size: int64(len(content)), Typeflag: tar.TypeReg}
			if err := w.WriteHeader(h); err != nil {
				return err
			}
			_, err = w.Write(content)
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	sum := sha256.Sum256(merged.Bytes())
	o.SHA256 = hex.EncodeToString(sum[:])
	file, err := memoryFile(merged.String())
	if err != nil {
		return err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	self, err := ownProgram(64)
	if err != nil {
		return err
	}
	cmd := nativeCommand(context.Background(), self)
	cmd.Env = []string{engineStage + "=" + string(text)}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{file}
	return cmd.Run()
}

// setEngineStage becomes the program of the container; it returns only if it cannot.
func setEngineStage() error {
	runtime.LockOSThread()
	var o stageOrder
	if err := json.Unmarshal([]byte(os.Getenv(engineStage)), &o); err != nil {
		return err
	}
	c := &Config{Rootfs: &Input{SHA256: o.SHA256, File: os.NewFile(3, "image")}, World: o.World, Limits: Limits{Output: o.Size}}
	for _, place := range o.Places {
		if place == WorkDir || place == "/home" || place == "/tmp" {
			continue
		}
		c.Sources = append(c.Sources, Source{At: place})
	}
	if o.Fault == "volume" {
		c.Sources = append(c.Sources, Source{At: "/volume"})
	}
	if o.Fault == "host" {
		o.World.HostName = "elsewhere"
	}
	err := setStage(c, func(dir string) error {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		_, err = c.Rootfs.read(func(r io.Reader) error { return unpackAny(root, ".", r, time.Unix(0, 0), true) })
		return err
	})
	if err != nil {
		return err
	}
	if o.Fault == "writable" {
		if err := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte(o.World.HostName)); err != nil {
		return err
	}
	if o.Fault != "capabilities" {
		if err := dropAll(); err != nil {
			return err
		}
	}
	return unix.Exec("/"+initName, []string{"/" + initName, "init"}, []string{marker + "=" + contained})
}

// dropAll does what --cap-drop ALL and no-new-privileges ask for.
func dropAll() error {
	for c := uintptr(0); unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0) == nil; c++ {
	}
	var none [2]unix.CapUserData
	return errors.Join(
		unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0),
		unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]),
		unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
	)
}

// fakeEngine puts the test program into PATH as podman and docker.
func fakeEngine(t *testing.T) (dir string) {
	t.Helper()
	needStatic(t)
	build{backend: Native, script: "true"}.must(t) // or skip
	dir = t.TempDir()
	for _, name := range []string{"podman", "docker"} {
		self, err := os.Readlink("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv(engineDir, dir)
	return dir
}

func needStatic(t *testing.T) {
	t.Helper()
	b, err := newBox(&Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.remove()
	if library, err := b.interpreter(); err != nil {
		t.Fatal(err)
	} else if library != "" {
		t.Skip("this test program is not static: CGO_ENABLED=0 makes it so")
	}
}

// realEngine makes an engine of this machine usable, or skips the test with the reason.
func realEngine(t *testing.T, kind Backend) {
	t.Helper()
	needStatic(t)
	if _, err := exec.LookPath(string(kind)); err != nil {
		t.Skipf("no engine: there is no %s here", kind)
	}
	if out, err := exec.Command(string(kind), "info").CombinedOutput(); err != nil {
		t.Skipf("%s info: %v: %s", kind, err, last(out))
	}
	if kind == Docker {
		return
	}
	if os.Getenv(asUser) != "" {
		t.Skip("this user has no subordinate user ids (subuid(5)), which podman needs for user 1000 of a container")
	}
	// A store of its own that needs nothing of the kernel, and whichever of the runtimes works here.
	dir, err := os.MkdirTemp("", "engine-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	storage, settings := filepath.Join(dir, "storage.conf"), filepath.Join(dir, "containers.conf")
	text := fmt.Sprintf("[storage]\ndriver = \"vfs\"\nrunroot = %q\ngraphroot = %q\n", filepath.Join(dir, "run"), filepath.Join(dir, "graph"))
	if err := os.WriteFile(storage, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONTAINERS_STORAGE_CONF", storage)
	t.Setenv("CONTAINERS_CONF", settings)
	var root bytes.Buffer
	w := tar.NewWriter(&root)
	if err := errors.Join(retar(w, bytes.NewReader(shellRootfs(t)), &Config{}), w.Close()); err != nil {
		t.Fatal(err)
	}
	why := "no runtime"
	for _, runtime := range []string{"crun", "runc"} {
		if _, err := exec.LookPath(runtime); err != nil {
			continue
		}
		if err := os.WriteFile(settings, fmt.Appendf(nil, "[engine]\nruntime = %q\n", runtime), 0o600); err != nil {
			t.Fatal(err)
		}
		// By hand, so that what is wrong with this package does not pass for an engine that does not run.
		cmd := exec.Command("podman", "import", "--quiet", "-")
		cmd.Stdin = bytes.NewReader(root.Bytes())
		id, err := cmd.Output()
		if err != nil {
			why = "podman import: " + err.Error()
			continue
		}
		out, err := exec.Command("podman", "run", "--rm", "--network=none", "--cap-drop=ALL", "--user=1000:1000", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024",
			strings.TrimSpace(string(id)), "/bin/sh", "-c", "echo here").CombinedOutput()
		if err == nil {
			return
		}
		why = fmt.Sprintf("podman run with %s: %s", runtime, last(out))
	}
	t.Skip("podman does not run here: " + why)
}

func last(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// shellRootfs is a root file system of a shell, cat and their libraries, taken from this machine.
func shellRootfs(t *testing.T) []byte {
	t.Helper()
	list, err := exec.Command("ldd", "/bin/sh", "/bin/cat").Output()
	if err != nil {
		t.Skip("ldd is not here to say what a shell needs")
	}
	files := []string{"/bin/sh", "/bin/cat"}
	for _, word := range strings.Fields(string(list)) {
		if strings.HasPrefix(word, "/") && !strings.HasSuffix(word, ":") {
			files = append(files, word)
		}
	}
	slices.Sort(files)
	entries := []entry{
		{name: "bin/", mode: 0o755},
		{name: "dev/", mode: 0o755},
		{name: "dev/null", device: true},
		{name: "bin/tool", body: "#!/bin/sh\necho tool 1.2.3-vendor4\n", mode: 0o755},
	}
	for _, file := range slices.Compact(files) {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{name: file[1:], body: string(body), mode: 0o4755})
	}
	return tarOf(entries...)
}

// onEngines runs a test with the engines of this machine and with one that the test program plays.
func onEngines(t *testing.T, test func(*testing.T, Backend)) {
	for _, b := range []Backend{Podman, Docker} {
		t.Run(string(b), func(t *testing.T) {
			realEngine(t, b)
			test(t, b)
		})
	}
	t.Run("played", func(t *testing.T) {
		fakeEngine(t)
		test(t, Docker)
	})
}

func TestContainer(t *testing.T) {
	t.Setenv("SECRET_TOKEN", "of the host")
	t.Setenv("HTTP_PROXY", "http://proxy.invalid")
	root := shellRootfs(t)
	onEngines(t, func(t *testing.T, b Backend) {
		r, out, log, err := build{
			backend: b, rootfs: root, tools: []string{"tool"},
			sources: map[string][]byte{
				"/src/archive": tarOf(entry{name: "a/b", body: "in the archive"}), "/src/file": bytes.Repeat([]byte("0123456789"), 50000),
			},
			outputs: []string{"seen", "/tmp/big"},
			script: `echo printed
{
echo "at $PWD"; echo "archive: $(cat a/b)"; echo "secret: $SECRET_TOKEN$HTTP_PROXY$ASSAY_SANDBOX"
cat /etc/hostname /etc/passwd /etc/hosts; echo "dns: $(cat /etc/resolv.conf)"
while read name value rest; do case $name in CapPrm:|CapBnd:|NoNewPrivs:|Seccomp:|Uid:|Gid:) echo "$name $value";; esac; done </proc/self/status
for f in /bin /etc /dev /usr /run / /proc/1 /assay-sandbox; do if { echo x >$f/x; } 2>/dev/null || { echo x >>$f; } 2>/dev/null; then echo "writes $f"; fi; done
test -u /bin/sh && echo set-uid
cat /proc/net/route
kill -9 1; echo "pid $$"
} >seen 2>/dev/null
cat /src/file >/tmp/big; cat <&0; echo end`,
		}.run(t)
		if err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		if r.Backend != b || len(r.Tools) != 1 || r.Tools[0].Version != "tool 1.2.3-vendor4" {
			t.Errorf("got %+v", r)
		}
		if len(out["/tmp/big"]) != 500000 || !strings.HasSuffix(out["/tmp/big"], "6789") {
			t.Errorf("the large output has %d bytes", len(out["/tmp/big"]))
		}
		if !strings.Contains(log, "\nprinted\n") || !strings.HasSuffix(log, "\nend\n") {
			t.Errorf("log %q", log)
		}
		want := []string{
			"at /src/archive", "archive: in the archive", "secret: ", "assay", "build:x:1000:1000:build:/home/build:/bin/sh", "127.0.0.1 assay",
			"dns: ", "Uid: 1000", "Gid: 1000", "CapPrm: 0000000000000000", "CapBnd: 0000000000000000", "NoNewPrivs: 1", "Seccomp: 2",
		}
		lines := strings.Split(out["seen"], "\n")
		for _, w := range want {
			if !slices.Contains(lines, w) {
				t.Errorf("no line %q", w)
			}
		}
		for _, line := range lines {
			if strings.HasPrefix(line, "writes") || line == "set-uid" || strings.HasPrefix(line, "proxy") {
				t.Error(line)
			}
		}
		if t.Failed() {
			t.Log(out["seen"])
		}
	})
}

func calls(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

// What an engine is asked for, as far as its security goes; its words, to the letter.
func TestEngineArguments(t *testing.T) {
	for _, kind := range []Backend{Podman, Docker} {
		t.Run(string(kind), func(t *testing.T) {
			dir := fakeEngine(t)
			build{backend: kind, rootfs: shellRootfs(t), script: "true", sources: map[string][]byte{"/src/f": []byte("x")}}.must(t)
			text := calls(t, dir)
			for _, want := range []string{
				`"run" "--rm" "--interactive"`, `"--pull=never"`, `"--network" "none"`, `"--hostname" "assay"`, `"--ipc" "none"`, `"--read-only"`,
				`"--cap-drop" "ALL"`, `"--security-opt" "no-new-privileges"`, `"--user" "1000:1000"`, `"--pids-limit" "128"`,
				`"--memory" "2751463425" "--memory-swap" "2751463425"`, `"--log-driver" "none"`, `"--no-healthcheck"`, `"--init=false"`,
				`"--tmpfs" "/build:rw,nosuid,nodev,exec,size=67108864,mode=0755,`, `"--tmpfs" "/tmp:rw,nosuid,nodev,exec,size=67108864,mode=1777,`,
				`"--tmpfs" "/src:`, `"--tmpfs" "/home:`, `"--tmpfs" "/dev/shm:`, `:/assay-sandbox:ro,Z"`, `:/etc/resolv.conf:ro,Z"`,
				`"--entrypoint" "/assay-sandbox" "sha256:`, `"rmi" "--force" "sha256:`,
			} {
				if !strings.Contains(text, want) {
					t.Errorf("no %s", want)
				}
			}
			if kind == Podman {
				for _, want := range []string{`"--read-only-tmpfs=false"`, `"--image-volume=ignore"`, `"--http-proxy=false"`, `"--systemd=false"`} {
					if !strings.Contains(text, want) {
						t.Errorf("no %s", want)
					}
				}
			}
			if n := strings.Count(text, `"--volume"`); n != strings.Count(text, `:ro,Z"`) {
				t.Errorf("%d volumes, not all of them read-only", n)
			}
			for _, refused := range []string{"privileged", "--device", "--cap-add", "--mount", "--publish"} {
				if strings.Contains(text, refused) {
					t.Errorf("asks for %s", refused)
				}
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}

// An engine that does not do what it was asked, or more, is found out before anything runs.
func TestStageOfEngine(t *testing.T) {
	dir := fakeEngine(t)
	root := shellRootfs(t)
	for fault, want := range map[string]string{
		"volume": "mounts /volume into the container", "writable": "root directory of the container can be written",
		"capabilities": "privileges: ", "host": `calls the host "elsewhere"`, "dead": "cannot connect to the engine",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Setenv(engineFault, fault)
			file, in := input(t, root)
			defer file.Close()
			var log bytes.Buffer
			_, err := Run(t.Context(), Config{Backend: Podman, Rootfs: &in, Limits: defaults, Log: &log, Env: []string{"PATH=" + Path}, Steps: []Step{{"/bin/sh", "-c", "echo ran"}}})
			var none *UnavailableError
			if !errors.As(err, &none) || !strings.Contains(err.Error(), want) || !strings.Contains(none.Hint(), "--sandbox podman") {
				t.Errorf("got %v", err)
			}
			if strings.Contains(log.String(), "ran") {
				t.Error("the step ran")
			}
		})
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 { // podman, docker, calls
		t.Errorf("images are left: %v, %v", entries, err)
	}
}

func input(t *testing.T, content []byte) (*os.File, Input) {
	t.Helper()
	f, err := memoryFile(string(content))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	return f, Input{Name: "root.tar", SHA256: hex.EncodeToString(sum[:]), File: f}
}

const pinned = "example.invalid/tools@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestEngineRefusals(t *testing.T) {
	dir := fakeEngine(t)
	file, in := input(t, shellRootfs(t))
	defer file.Close()
	source, src := input(t, tarOf(entry{name: "a", body: "x"}))
	defer source.Close()
	for name, c := range map[string]struct {
		c           Config
		want, wants string // the error, and its hint where there is one
	}{
		"tools of the host":  {Config{Backend: Podman}, "tools of the host", "rootfs"},
		"tool directories":   {Config{Backend: Podman, Rootfs: &in, ToolDirs: []string{"/opt/tools"}}, "directories of the host", "rootfs"},
		"image without pin":  {Config{Backend: Docker, Image: "debian:12"}, "NAME@sha256:DIGEST", ""},
		"image like a flag":  {Config{Backend: Docker, Image: "--privileged@sha256:" + pinned[len(pinned)-64:]}, "NAME@sha256:DIGEST", ""},
		"image and rootfs":   {Config{Backend: Docker, Image: pinned, Rootfs: &in}, "give it alone", ""},
		"image for native":   {Config{Backend: Native, Image: pinned}, "needs a container engine", "--sandbox podman"},
		"image for auto":     {Config{Image: pinned}, "needs a container engine", "--sandbox podman"},
		"image not here":     {Config{Backend: Docker, Image: pinned}, "no such image", "docker pull"},
		"link in an image":   {Config{Backend: Docker, Image: pinned, Sources: []Source{{src, "/src"}}, World: World{Dir: "/else"}}, "cannot be given the link /src", "/src/NAME"},
		"no tar":             {Config{Backend: Podman, Rootfs: func() *Input { i := src; i.File = nil; return &i }()}, "", ""},
		"digest of a rootfs": {Config{Backend: Podman, Rootfs: func() *Input { i := in; i.SHA256 = strings.Repeat("0", 64); return &i }()}, "sha256 changed", ""},
	} {
		if name == "no tar" {
			text, notTar := input(t, []byte("not a tar file"))
			defer text.Close()
			c.c.Rootfs, c.want = &notTar, "not a tar archive"
		}
		t.Run(name, func(t *testing.T) {
			c.c.Limits = defaults
			_, err := Run(t.Context(), c.c)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v", err)
			}
			var none *UnavailableError
			if errors.As(err, &none) != (c.wants != "") || none != nil && !strings.Contains(none.Hint(), c.wants) {
				t.Errorf("got %v", err)
			}
		})
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("images are left: %v, %v", entries, err)
	}
	t.Run("not installed", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := Run(t.Context(), Config{Backend: Docker, Image: pinned, Limits: defaults})
		var none *UnavailableError
		if !errors.As(err, &none) || !strings.Contains(none.Hint(), "install docker") {
			t.Errorf("got %v", err)
		}
	})
}

// frames is what a container says, put together by hand.
func frames(parts ...any) []byte {
	out := []byte(greeting)
	for i := 0; i < len(parts); i += 2 {
		data := []byte(parts[i+1].(string))
		out = binary.BigEndian.AppendUint32(out, uint32(parts[i].(int)))
		out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
		out = append(out, data...)
	}
	return out
}

func TestListen(t *testing.T) {
	const done = `{"done":true}`
	long := strings.Repeat("x", maxFrame)
	var flood []any
	for range maxReply/maxFrame + 1 {
		flood = append(flood, 1, long)
	}
	good := frames(0, "log", 2, "out", 0, "", 2, "put", 2, "", 1, done, 1, "")
	cases := map[string]struct {
		text []byte
		want string // of the error; "" where there is none
		nil  bool   // and no reply
	}{
		"good":                     {text: good},
		"failed without outputs":   {text: frames(0, "", 1, `{"failed":"x"}`, 1, "")},
		"nothing":                  {want: "no greeting"},
		"half a greeting":          {text: []byte(greeting[:5]), want: "no greeting"},
		"another greeting":         {text: bytes.Repeat([]byte("hello\n"), 100), want: "no greeting"},
		"end after the greeting":   {text: frames(), nil: true},
		"end in a head":            {text: good[:len(good)-4], nil: true},
		"end in a frame":           {text: frames(0, "log")[:len(greeting)+10], nil: true},
		"end before the reply's":   {text: frames(0, "", 2, "", 1, done), nil: true},
		"end in a frame after it":  {text: append(slices.Clone(good), 0, 0, 0), want: "unexpected EOF"},
		"frame too long":           {text: append(frames(), 0, 0, 0, 0, 0, 1, 0, 1), want: "more than 65536"},
		"frame of 4 GiB":           {text: append(frames(), 0, 0, 0, 2, 255, 255, 255, 255), want: "more than 65536"},
		"stream too high":          {text: frames(3, "x"), want: "no stream 3"},
		"stream of a negative":     {text: frames(-1, "x"), want: "no stream 4294967295"},
		"more after its end":       {text: frames(2, "", 2, "x"), want: "stream 2 goes on"},
		"ended twice":              {text: frames(2, "", 2, ""), want: "stream 2 goes on"},
		"more after the reply":     {text: append(slices.Clone(good), frames(0, "late")[len(greeting):]...), want: "stream 0 goes on"},
		"log after the reply":      {text: frames(2, "", 1, done, 1, "", 0, "late"), want: "stream 0 goes on"},
		"output without end":       {text: frames(0, "", 2, "out", 1, done, 1, ""), want: "stream 2 has no end"},
		"log without end":          {text: frames(2, "", 1, done, 1, ""), want: "stream 0 has no end"},
		"reply that is none":       {text: frames(0, "", 2, "", 1, "{", 1, ""), want: "its reply"},
		"empty reply":              {text: frames(0, "", 2, "", 1, ""), want: "its reply"},
		"reply without end":        {text: frames(flood...), want: "a reply of more than"},
		"output over the limit":    {text: frames(2, long, 2, long), want: "larger than the limit of 100000 bytes"},
		"output just at the limit": {text: frames(0, "", 2, long, 2, long[:100000-maxFrame], 2, "", 1, done, 1, "")},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			to, err := os.Create(filepath.Join(t.TempDir(), "out"))
			if err != nil {
				t.Fatal(err)
			}
			defer to.Close()
			var log bytes.Buffer
			config := &Config{Outputs: []Output{{"out", to}}, Limits: Limits{Output: 100000}}
			r, err := listen(iotest.OneByteReader(bytes.NewReader(c.text)), config, &log)
			switch {
			case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v", err)
			case (r == nil) != (c.nil || c.want != ""):
				t.Errorf("got %+v", r)
			}
			if name == "good" {
				if text, err := os.ReadFile(to.Name()); err != nil || string(text) != "output" || log.String() != "log" || !r.Done {
					t.Errorf("got %q, log %q, %+v, %v", text, log.String(), r, err)
				}
			}
		})
	}
}

// The same lies, told to Run: none of them is a success.
func TestHostileContainer(t *testing.T) {
	dir := fakeEngine(t)
	root := shellRootfs(t)
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"silent":    {nil, "on the engine's stderr"},
		"killed":    {frames(0, "log"), "first process of the sandbox was killed"},
		"lies":      {frames(9, "x"), "no stream 9"},
		"no output": {frames(0, "", 1, `{"done":true}`, 1, ""), "stream 2 has no end"},
		"nothing":   {frames(0, "", 2, "", 1, `{}`, 1, ""), "first process of the sandbox was killed"},
		"log":       {frames(0, strings.Repeat("x", 60000), 0, strings.Repeat("x", 60000)), "printed more than 100000 bytes"},
		"shims":     {frames(0, "", 1, `{"done":true,"shims":[{"Name":"../../x","name":"../../x","Text":"","text":""}]}`, 1, ""), "names a shim"},
	} {
		t.Run(name, func(t *testing.T) {
			said := filepath.Join(t.TempDir(), "said")
			if err := os.WriteFile(said, c.text, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv(engineFault, "says "+said)
			file, in := input(t, root)
			defer file.Close()
			to, err := os.Create(filepath.Join(t.TempDir(), "out"))
			if err != nil {
				t.Fatal(err)
			}
			defer to.Close()
			config := Config{Backend: Docker, Rootfs: &in, Limits: defaults, Outputs: []Output{{"out", to}}}
			config.Limits.Output = 100000
			if name == "shims" {
				config.World.Shims, config.Outputs = []Shim{{"tool", "a", "b"}}, nil
			}
			r, err := Run(t.Context(), config)
			if r != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v", r, err)
			}
			if name != "shims" && name != "no output" && name != "nothing" && !strings.Contains(calls(t, dir), `"rm" "--force" "assay-`) {
				t.Error("the container was not removed")
			}
		})
	}
}

func TestContainerWorld(t *testing.T) {
	root := shellRootfs(t)
	onEngines(t, func(t *testing.T, b Backend) {
		_, out := build{
			backend: b, rootfs: root, outputs: []string{"/src/seen"}, tools: []string{"tool"},
			sources: map[string][]byte{"/src": tarOf(entry{name: "a", body: "x"}, entry{name: "b", body: "y"})},
			world: World{
				HostName: "vendor-7", User: "jenkins", Home: "/home/jenkins", Umask: 0o027, CPUs: 1, Dir: "/ci/job", Reverse: true,
				Shims: []Shim{{"tool", "vendor4", "vendor5; $(exit 9)"}},
			},
			script: `{ pwd; cat /src/a; cat /etc/hostname /etc/passwd; umask; tool --version; tool other; echo x >/shims/x && echo writes; } >/src/seen 2>/dev/null; cat /ci/job/a`,
		}.must(t)
		for _, want := range []string{"/ci/job\nx", "vendor-7\n", "jenkins:x:1000:1000:build:/home/jenkins:", "0027\n", "tool 1.2.3-vendor5; $(exit 9)\ntool 1.2.3-vendor4\n"} {
			if !strings.Contains(out["/src/seen"], want) {
				t.Errorf("no %q in %s", want, out["/src/seen"])
			}
		}
		if strings.Contains(out["/src/seen"], "writes") {
			t.Error("the shims can be written")
		}
	})
}

func TestContainerLimits(t *testing.T) {
	root := shellRootfs(t)
	small := Limits{Time: time.Minute, Memory: 1 << 30, Output: 1 << 20, Processes: 16}
	onEngines(t, func(t *testing.T, b Backend) {
		t.Run("time", func(t *testing.T) {
			l := small
			l.Time = 5 * time.Second
			_, _, _, err := build{backend: b, rootfs: root, limits: l, script: `trap '' TERM HUP INT; while :; do :; done`}.run(t)
			wantLimit(t, err, "time")
		})
		t.Run("output", func(t *testing.T) {
			_, _, _, err := build{backend: b, rootfs: root, limits: small, script: `while :; do echo 0123456789012345678901234567890123456789; done >/build/f`}.run(t)
			wantLimit(t, err, "output")
		})
		t.Run("log", func(t *testing.T) {
			_, _, _, err := build{backend: b, rootfs: root, limits: small, script: `while :; do echo 0123456789012345678901234567890123456789; done`}.run(t)
			wantLimit(t, err, "log")
		})
		t.Run("processes", func(t *testing.T) {
			_, _, log, err := build{backend: b, rootfs: root, limits: small, script: `f() { f | f & f; }; f`}.run(t)
			var failed *FailedError
			var limit *LimitError
			if !errors.As(err, &failed) && !errors.As(err, &limit) {
				t.Errorf("got %v\n%s", err, log)
			}
		})
		t.Run("no output", func(t *testing.T) {
			_, _, _, err := build{backend: b, rootfs: root, limits: small, outputs: []string{"made", "link"}, script: `echo x >made; cat /etc/passwd >/dev/null; exit 3`}.run(t)
			var failed *FailedError
			if !errors.As(err, &failed) || !strings.Contains(err.Error(), "exit code 3") {
				t.Errorf("got %v", err)
			}
		})
	})
}

// A cancelled build leaves no container, and neither does one whose parent is killed.
func TestContainerEnds(t *testing.T) {
	if kind := os.Getenv(orphan); kind != "" {
		file, in := input(t, shellRootfs(t))
		defer file.Close()
		Run(t.Context(), Config{Backend: Backend(kind), Rootfs: &in, Limits: defaults, Log: os.Stdout, Env: []string{"PATH=" + Path}, Steps: []Step{
			{"/bin/sh", "-c", `trap '' TERM HUP; echo started; while :; do :; done`},
		}})
		return
	}
	root := shellRootfs(t)
	onEngines(t, func(t *testing.T, b Backend) {
		gone := hold(t, b)
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stopped")
		file, in := input(t, root)
		defer file.Close()
		_, err := Run(ctx, Config{
			Backend: b, Rootfs: &in, Limits: defaults, Env: []string{"PATH=" + Path},
			Log:   writerFunc(func(p []byte) { cancel(stop) }),
			Steps: []Step{{"/bin/sh", "-c", `trap '' TERM HUP; echo started; while :; do :; done`}},
		})
		if !errors.Is(err, stop) {
			t.Errorf("got %v", err)
		}
		gone()

		gone = hold(t, b)
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestContainerEnds$")
		cmd.Env = append(os.Environ(), orphan+"="+string(b), "TMPDIR="+t.TempDir()) // it cannot clear up
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		started := false
		for lines := bufio.NewScanner(out); !started && lines.Scan(); {
			started = lines.Text() == "started"
		}
		cmd.Process.Kill()
		cmd.Wait()
		if !started {
			t.Fatal("the build did not start")
		}
		gone()
	})
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

// hold gives everything that is started from here on a descriptor. gone waits until nothing is left that has it, and
// until the engine has no container of ours that runs.
func hold(t *testing.T, b Backend) (gone func()) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	held, err := unix.FcntlInt(write.Fd(), unix.F_DUPFD, 60) // above those that a sandbox is given; not close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	write.Close()
	return func() {
		t.Helper()
		defer read.Close()
		unix.Close(held)
		read.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.ReadAll(read); err != nil {
			t.Errorf("processes of the container are left: %v", err)
		}
		if os.Getenv(engineDir) != "" {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ours := func() []string {
			ids, err := exec.CommandContext(ctx, string(b), "ps", "--quiet", "--filter", "name=assay-").Output()
			if err != nil {
				t.Error(err)
			}
			return strings.Fields(string(ids))
		}
		for _, id := range ours() {
			exec.CommandContext(ctx, string(b), "wait", id).Run() // fails for one that is gone by now
		}
		if left := ours(); len(left) > 0 {
			t.Errorf("containers are left: %v", left)
		}
	}
}

// pull puts an image with the settings given into a registry on this machine and makes an engine pull it.
func pull(t *testing.T, b Backend, settings v1.Config) (name string) {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(stdlog.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := retar(w, bytes.NewReader(shellRootfs(t)), &Config{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, static.NewLayer(layer.Bytes(), types.DockerUncompressedLayer))
	if err != nil {
		t.Fatal(err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config = "linux", runtime.GOARCH, settings
	if image, err = mutate.ConfigFile(image, file); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	name = strings.TrimPrefix(server.URL, "http://") + "/tools@" + digest.String()
	ref, err := registryname.NewDigest(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
	args := []string{"pull", "--quiet"}
	if b == Podman {
		args = append(args, "--tls-verify=false")
	}
	if out, err := exec.Command(string(b), append(args, name)...).CombinedOutput(); err != nil {
		t.Fatalf("%s pull: %v\n%s", b, err, out)
	}
	t.Cleanup(func() { exec.Command(string(b), "rmi", "--force", name).Run() })
	return name
}

// An image that an engine has under a digest is used as it is, but for what it says about the way it is to be run.
func TestContainerImage(t *testing.T) {
	for _, b := range []Backend{Podman, Docker} {
		t.Run(string(b), func(t *testing.T) {
			realEngine(t, b)
			run := func(image string) (string, error) {
				var log bytes.Buffer
				_, err := Run(t.Context(), Config{
					Backend: b, Image: image, Limits: defaults, Log: &log, Env: []string{"PATH=" + Path},
					Steps: []Step{{"/bin/sh", "-c", `echo "$PWD $SETTING."; cat /etc/passwd`}},
				})
				return log.String(), err
			}
			log, err := run(pull(t, b, v1.Config{
				Entrypoint: []string{"/bin/false"}, Cmd: []string{"x"}, User: "0:0", WorkingDir: "/lib", Env: []string{"SETTING=of the image", marker + "=1"},
			}))
			if err != nil || !strings.Contains(log, "\n/build .\nbuild:x:1000") {
				t.Errorf("%v\n%s", err, log)
			}
			log, err = run(pull(t, b, v1.Config{Volumes: map[string]struct{}{"/data": {}}}))
			var none *UnavailableError
			if b == Docker && (!errors.As(err, &none) || !strings.Contains(err.Error(), "mounts /data into the container")) || b == Podman && err != nil {
				t.Errorf("%v\n%s", err, log)
			}
			_, err = run(pinned)
			if !errors.As(err, &none) || !strings.Contains(none.Hint(), string(b)+" pull") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Without an engine behind it the client of docker says so, and the error says what to do.
func TestNoEngine(t *testing.T) {
	needStatic(t)
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skip("no engine: there is no docker here")
	}
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "none.sock"))
	file, in := input(t, shellRootfs(t))
	defer file.Close()
	for _, c := range []Config{{Backend: Docker, Limits: defaults, Image: pinned}, {Backend: Docker, Limits: defaults, Rootfs: &in}} {
		_, err := Run(t.Context(), c)
		var none *UnavailableError
		if !errors.As(err, &none) || !strings.Contains(err.Error(), "none.sock") || strings.Contains(err.Error(), "--help") || !strings.Contains(none.Hint(), "docker info") {
			t.Errorf("got %v", err)
		}
	}
}

// What an engine is given to unpack, perhaps as root, is no more than what this package would unpack itself.
func TestRetar(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		want string // the entries that come out, or a part of the error
	}{
		"modes, owners and devices": {tarOf(entry{name: "./a/b", body: "x", mode: 0o6777}, entry{name: "dev/null", device: true}), "a/ 755 1000 ''; a/b 755 1000 ''; "},
		"links":                     {tarOf(entry{name: "a", link: "/etc/shadow"}, entry{name: "b", hard: "a"}), "a 777 1000 '/etc/shadow'; b 644 1000 'a'; "},
		"the place of a source":     {tarOf(entry{name: "moved/x", body: "x"}, entry{name: "moved", link: "/"}, entry{name: "y"}), "y 644 1000 ''; "},
		"absolute":                  {tarOf(entry{name: "/a"}), "absolute name"},
		"up":                        {tarOf(entry{name: "a/../../b"}), `name with ".."`},
		"hard link up":              {tarOf(entry{name: "a", hard: "../b"}), `link to "../b"`},
		"FIFO":                      {tarOf(entry{name: "a", fifo: true}), "unknown entry type"},
		"whiteout":                  {tarOf(entry{name: "bin/.wh.sh"}), "is to be removed"},
		"half an archive":           {tarOf(entry{name: "a", body: strings.Repeat("x", 2000)})[:1500], "unexpected EOF"},
		"no archive":                {[]byte("text"), "not a tar archive"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := tar.NewWriter(&out)
			err := retar(w, bytes.NewReader(c.in), &Config{moved: "/moved", World: World{Dir: "/else"}})
			if err != nil {
				if !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			got := ""
			for r := tar.NewReader(&out); ; {
				h, err := r.Next()
				if err != nil {
					break
				}
				got += fmt.Sprintf("%s %o %d '%s'; ", h.Name, h.Mode, h.Uid, h.Linkname)
			}
			if want := "moved 777 1000 '/else'; " + c.want; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestCheckMounts(t *testing.T) {
	const mount = "1 2 0:3 / %s %s,nosuid - %s x rw\n"
	tmpfs := fmt.Sprintf(mount+mount+mount, "/build", "rw", "tmpfs", "/home", "rw", "tmpfs", "/tmp", "rw", "tmpfs")
	good := fmt.Sprintf(mount, "/", "ro", "overlay") + tmpfs + fmt.Sprintf(mount+mount, "/etc/hosts", "ro", "ext4", "/proc", "rw", "proc")
	for name, c := range map[string]struct{ text, want string }{
		"good":                     {good, ""},
		"none":                     {"", "root directory"},
		"root can be written":      {fmt.Sprintf(mount, "/", "rw", "overlay") + tmpfs, "root directory"},
		"root under another":       {good + fmt.Sprintf(mount, "/", "rw", "overlay"), "root directory"},
		"no tmpfs":                 {fmt.Sprintf(mount, "/", "ro", "overlay"), "no tmpfs at /build"},
		"host directory":           {good + fmt.Sprintf(mount, "/run/secrets", "ro", "ext4"), "mounts /run/secrets"},
		"in place of a tmpfs":      {good + fmt.Sprintf(mount, "/build", "rw", "ext4"), "mounts /build"},
		"below a tmpfs":            {good + fmt.Sprintf(mount, "/build/x", "ro", "ext4"), "mounts /build/x"},
		"file that can be written": {good + fmt.Sprintf(mount, "/etc/passwd", "rw", "ext4"), "mounts /etc/passwd"},
		"sysfs":                    {good + fmt.Sprintf(mount, "/sys", "rw", "sysfs"), "mounts /sys"},
		"shims too early":          {good + fmt.Sprintf(mount, shimDir, "ro", "ext4"), "mounts " + shimDir},
		"no list":                  {"x y z\n", "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			err := (&Config{}).checkMounts(c.text, false)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}
