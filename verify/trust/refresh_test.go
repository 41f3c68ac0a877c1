package trust_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/assaylab/assay/verify/trust"
	"github.com/assaylab/assay/verify/trust/anchor"
)

func refresh(t *testing.T, opts trust.Options) *trust.Change {
	t.Helper()
	c, err := trust.Refresh(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func hexsum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestRefresh(t *testing.T) {
	r := newRepository(t)
	r.expires[metadata.TIMESTAMP] = time.Now().Add(30 * time.Minute).UTC().Truncate(time.Second)
	r.version[metadata.TIMESTAMP], r.version[metadata.SNAPSHOT], r.version[metadata.TARGETS] = 7, 5, 3
	r.publish()
	dir := t.TempDir()
	opts := r.options(dir)
	first := r.targets[trust.DefaultTarget]

	// New.
	before := time.Now().UTC().Truncate(time.Second)
	c := refresh(t, opts)
	if c.Previous != "" || c.Unchanged || len(c.Removed) != 0 || len(c.Added) != len(c.Now.Names) || len(c.Added) != 6 {
		t.Errorf("new: %+v", c)
	}
	got := folder(t, dir)
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, []string{"trusted_root.json", "trusted_root.json.receipt.json"}) {
		t.Errorf("the folder holds %q", names)
	}
	if got["trusted_root.json"] != string(first) || c.Now.SHA256 != hexsum(first) {
		t.Error("other bytes than the target's were written")
	}
	for name := range got {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Mode() != 0o644 {
			t.Errorf("%s: %v %v", name, fi.Mode(), err)
		}
	}
	receipt, err := anchor.LoadReceipt(opts.Out)
	if err != nil || receipt != *c.Now.Receipt {
		t.Fatalf("%+v, %v", receipt, err)
	}
	fetched, ok, err := anchor.ReadReceipt(opts.Out, hexsum(first))
	if err != nil || !ok || fetched.Before(before) || fetched.After(time.Now()) {
		t.Errorf("fetched %v %v %v", fetched, ok, err)
	}
	want := anchor.Receipt{
		Schema: "assay.dev/trust-receipt/v1", SHA256: hexsum(first), Repository: r.server.URL, Target: "trusted_root.json",
		RootVersion: 1, TimestampVersion: 7, TimestampExpires: r.expires[metadata.TIMESTAMP], SnapshotVersion: 5, TargetsVersion: 3,
		FetchedAt: fetched,
	}
	if receipt != want {
		t.Errorf("receipt\n%+v, want\n%+v", receipt, want)
	}

	// Unchanged: the file is not touched, the receipt is new.
	r.version[metadata.TIMESTAMP] = 8
	r.publish()
	was, err := os.Stat(opts.Out)
	if err != nil {
		t.Fatal(err)
	}
	c = refresh(t, opts)
	if now, err := os.Stat(opts.Out); err != nil || !os.SameFile(was, now) {
		t.Error("an unchanged file was written again")
	}
	if !c.Unchanged || c.Previous != c.Now.SHA256 || len(c.Added)+len(c.Removed) != 0 {
		t.Errorf("unchanged: %+v", c)
	}
	if receipt, err := anchor.LoadReceipt(opts.Out); err != nil || receipt.TimestampVersion != 8 {
		t.Errorf("%+v, %v", receipt, err)
	}

	// Another one.
	second := trustedRoot(t)
	r.update(map[string][]byte{trust.DefaultTarget: second})
	c = refresh(t, opts)
	if c.Unchanged || c.Previous != hexsum(first) || c.Now.SHA256 != hexsum(second) || len(c.Added) != 6 || len(c.Removed) != 6 {
		t.Errorf("changed: %+v", c)
	}
	if got := folder(t, dir); got["trusted_root.json"] != string(second) || len(got) != 2 {
		t.Errorf("the folder holds %q", slices.Sorted(maps.Keys(got)))
	}

	// The same names in other bytes.
	third := append(slices.Clone(second), '\n')
	r.update(map[string][]byte{trust.DefaultTarget: third})
	c = refresh(t, opts)
	if c.Unchanged || c.Now.SHA256 != hexsum(third) || len(c.Added)+len(c.Removed) != 0 {
		t.Errorf("written otherwise: %+v", c)
	}

	// Another target.
	r.update(map[string][]byte{"other.json": first})
	opts.Target = "other.json"
	if c = refresh(t, opts); c.Now.SHA256 != hexsum(first) || c.Now.Receipt.Target != "other.json" {
		t.Errorf("other target: %+v", c)
	}
}

// Nothing but the options decides, and nothing but the two files is written: not
// the environment, not metadata that lies in the working folder or a home.
func TestRefreshAlone(t *testing.T) {
	r, foreign := newRepository(t), newRepository(t)
	home, work := t.TempDir(), t.TempDir()
	foreign.version[metadata.TIMESTAMP] = 99
	foreign.publish()
	for name, value := range map[string]string{
		"HOME": home, "XDG_CACHE_HOME": home, "XDG_CONFIG_HOME": home, "TUF_ROOT": home,
		"TUF_MIRROR": foreign.server.URL, "TUF_ROOT_JSON": foreign.options(home).Root,
		"SIGSTORE_ROOT_FILE": foreign.options(home).Root, "SIGSTORE_NO_CACHE": "false",
		"SIGSTORE_CT_LOG_PUBLIC_KEY_FILE": "x", "SIGSTORE_REKOR_PUBLIC_KEY": "x", "SIGSTORE_TRUSTED_ROOT": "x",
	} {
		t.Setenv(name, value)
	}
	opts := r.options(t.TempDir())
	// A timestamp of the right key, but of another day: were it read, the
	// repository would seem to have gone back.
	r.version[metadata.TIMESTAMP] = 50
	r.publish()
	later := r.body("/timestamp.json")
	r.version[metadata.TIMESTAMP] = 1
	r.publish()
	t.Chdir(work)
	for _, name := range []string{"timestamp.json", "snapshot.json", "targets.json"} {
		b := later
		if name != "timestamp.json" {
			b = r.body("/1." + name)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if c := refresh(t, opts); c.Now.Receipt.TimestampVersion != 1 || c.Now.SHA256 != hexsum(r.targets[trust.DefaultTarget]) {
		t.Errorf("%+v", c.Now.Receipt)
	}
	for dir, n := range map[string]int{home: 0, work: 3, filepath.Dir(opts.Out): 2} {
		if got := folder(t, dir); len(got) != n {
			t.Errorf("a folder of %d files holds %q", n, slices.Sorted(maps.Keys(got)))
		}
	}
}

func TestRefreshFollowsRoots(t *testing.T) {
	r := newRepository(t)
	opts := r.options(t.TempDir())
	r.rotate()
	r.rotate()
	if c := refresh(t, opts); c.Now.Receipt.RootVersion != 3 {
		t.Errorf("root version %d, want 3", c.Now.Receipt.RootVersion)
	}
	// An expired root on the way is of no account, the newest is.
	r.expires[metadata.ROOT] = time.Now().Add(-time.Hour)
	r.rotate()
	if _, err := trust.Refresh(t.Context(), opts); !isRefused(err) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("expired newest root: %v", err)
	}
	r.expires[metadata.ROOT] = time.Now().Add(time.Hour)
	r.rotate()
	if c := refresh(t, opts); c.Now.Receipt.RootVersion != 5 {
		t.Errorf("root version %d, want 5", c.Now.Receipt.RootVersion)
	}
}

func isRefused(err error) bool {
	var e *trust.Error
	return errors.As(err, &e) && e.Refused
}

// What the repository offers does not verify: each of these alone.
func TestRefreshRefuses(t *testing.T) {
	past := time.Now().Add(-time.Hour)
	expired := func(role string) func(*repository) {
		return func(r *repository) { r.expires[role] = past; r.publish() }
	}
	tampered := func(path, from, to string) func(*repository) {
		return func(r *repository) {
			b := strings.Replace(string(r.body(path)), from, to, 1)
			if b == string(r.body(path)) {
				r.t.Fatalf("%s does not hold %s", path, from)
			}
			r.serve(path, []byte(b))
		}
	}
	foreign := func(role string) func(*repository) {
		return func(r *repository) {
			root := r.body("/1.root.json")
			r.keys[role] = newKey(r.t)
			r.publish()
			r.serve("/1.root.json", root)
		}
	}
	target := func(b string) func(*repository) {
		return func(r *repository) { r.update(map[string][]byte{trust.DefaultTarget: []byte(b)}) }
	}
	for name, c := range map[string]struct {
		hostile func(*repository)
		want    string
	}{
		"expired root":      {func(r *repository) { r.expires[metadata.ROOT] = past; r.rotate() }, "final root.json is expired"},
		"expired timestamp": {expired(metadata.TIMESTAMP), "timestamp.json is expired"},
		"expired snapshot":  {expired(metadata.SNAPSHOT), "snapshot.json is expired"},
		"expired targets":   {expired(metadata.TARGETS), "targets is expired"},

		"foreign timestamp": {foreign(metadata.TIMESTAMP), "timestamp failed"},
		"foreign snapshot":  {foreign(metadata.SNAPSHOT), "snapshot failed"},
		"foreign targets":   {foreign(metadata.TARGETS), "targets failed"},
		"foreign root": {func(r *repository) {
			r.keys[metadata.ROOT] = newKey(r.t)
			r.version[metadata.ROOT]++
			r.publish()
		}, "root failed"},
		"root that leaves out a version": {func(r *repository) {
			r.rotate()
			r.rotate()
			r.serve("/2.root.json", r.body("/3.root.json"))
		}, "does not verify"},
		"root not signed by itself": {func(r *repository) {
			former := r.keys[metadata.ROOT]
			r.rotate()
			next := r.keys[metadata.ROOT]
			r.alterRoot = func(root *metadata.RootType) {
				key, _ := metadata.KeyFromPublicKey(next.Public())
				id, _ := key.ID()
				root.Roles[metadata.ROOT].KeyIDs = []string{id}
				root.Keys[id] = key
			}
			r.keys[metadata.ROOT], r.formerKey = former, nil
			r.publish()
		}, "root failed"},

		"tampered timestamp": {tampered("/timestamp.json", `"version":1`, `"version":2`), "timestamp failed"},
		"tampered snapshot":  {tampered("/1.snapshot.json", `"version":1`, `"version":2`), "snapshot failed"},
		"tampered targets":   {tampered("/1.targets.json", `"sha512":"`, `"sha512":"00`), "targets failed"},
		"tampered target": {func(r *repository) {
			b := r.body(r.targetPath())
			r.serve(r.targetPath(), []byte(strings.Replace(string(b), "rekor.vendor", "rekor.viktor", 1)))
		}, "mismatch"},
		"longer target": {func(r *repository) {
			r.serve(r.targetPath(), append(r.body(r.targetPath()), ' '))
		}, "larger than"},
		"shorter target": {func(r *repository) {
			b := r.body(r.targetPath())
			r.serve(r.targetPath(), b[:len(b)-1])
		}, "mismatch"},
		"another role's file": {func(r *repository) { r.serve("/timestamp.json", r.body("/1.snapshot.json")) }, "does not verify"},
		"target without digest": {func(r *repository) {
			r.alterTargets = func(t *metadata.TargetsType) { t.Targets[trust.DefaultTarget].Hashes = metadata.Hashes{} }
			r.publish()
		}, "hashes must not be empty"},
		"one digest of two wrong": {func(r *repository) {
			r.alterTargets = func(t *metadata.TargetsType) { t.Targets[trust.DefaultTarget].Hashes["sha512"] = make([]byte, 64) }
			r.publish()
		}, "mismatch for algorithm sha512"},
		"mixed snapshot": {func(r *repository) {
			r.alterTimestamp = func(t *metadata.TimestampType) { t.Meta["snapshot.json"].Version = 2 }
			r.publish()
			r.serve("/2.snapshot.json", r.body("/1.snapshot.json"))
		}, "bad version number"},
		"version 0": {func(r *repository) {
			r.alterTimestamp = func(t *metadata.TimestampType) { t.Version = 0 }
			r.publish()
		}, "timestamp version is 0"},

		"not JSON":          {func(r *repository) { r.serve("/timestamp.json", []byte("<html>log in</html>")) }, "does not verify"},
		"nothing":           {func(r *repository) { r.serve("/timestamp.json", nil) }, "does not verify"},
		"deep":              {func(r *repository) { r.serve("/timestamp.json", []byte(strings.Repeat("[", 1000))) }, "nested deeper"},
		"wide":              {func(r *repository) { r.serve("/2.root.json", []byte("["+strings.Repeat("0,", 1<<17)+"0]")) }, "values"},
		"endless metadata":  {func(r *repository) { r.answer("/2.root.json", endless) }, "larger than the 512000 bytes"},
		"endless timestamp": {func(r *repository) { r.answer("/timestamp.json", endless) }, "larger than the 16384 bytes"},
		"endless target":    {func(r *repository) { r.answer(r.targetPath(), endless) }, "larger than"},
		"target said to be huge": {func(r *repository) {
			r.alterTargets = func(t *metadata.TargetsType) { t.Targets[trust.DefaultTarget].Length = 1 << 62 }
			r.publish()
			r.answer(r.targetPath(), endless)
		}, fmt.Sprintf("larger than the %d bytes", trust.MaxFile)},
		"snapshot said to be huge": {func(r *repository) {
			r.alterTimestamp = func(t *metadata.TimestampType) { t.Meta["snapshot.json"].Length = 1 << 62 }
			r.publish()
			r.answer("/1.snapshot.json", endless)
		}, fmt.Sprintf("larger than the %d bytes", trust.MaxFile)},
		"no snapshot named": {func(r *repository) {
			r.alterTimestamp = func(t *metadata.TimestampType) { t.Meta = nil }
			r.publish()
		}, ""},
		"null for a role": {func(r *repository) {
			r.alterRoot = func(root *metadata.RootType) { root.Roles[metadata.TIMESTAMP] = nil }
			r.rotate()
		}, ""},
		"control characters in an error": {func(r *repository) {
			r.alterRoot = func(root *metadata.RootType) {
				root.Roles[metadata.TIMESTAMP].KeyIDs = []string{"\x1b[2Jgone\u202e\n" + strings.Repeat("x", 5000)}
			}
			r.rotate()
		}, "?[2Jgone"},

		"target is no trusted root": {target(`{"mediaType":"application/json"}`), "is not a trusted root"},
		"target is not JSON":        {target("firmware"), "is not a trusted root"},
		"target names nothing":      {target(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`), "no authority and no log"},
		"target is nested":          {target(strings.Repeat(`{"a":`, 1000)), "nested deeper"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepository(t)
			dir := t.TempDir()
			opts := r.options(dir)
			refresh(t, opts)
			before := folder(t, dir)
			c.hostile(r)
			_, err := trust.Refresh(t.Context(), opts)
			var e *trust.Error
			if !errors.As(err, &e) || !e.Refused || !strings.Contains(e.Msg, c.want) || e.Hint == "" {
				t.Errorf("error %#v", err)
			}
			if e != nil && (len(e.Msg) > 1000 || strings.ContainsAny(e.Msg, "\x1b\n\u202e")) {
				t.Errorf("not fit to show: %q", e.Msg)
			}
			if after := folder(t, dir); !maps.Equal(before, after) {
				t.Errorf("the folder changed: %q", slices.Sorted(maps.Keys(after)))
			}
		})
	}
}

func TestRefreshWrongStart(t *testing.T) {
	r, other := newRepository(t), newRepository(t)
	opts := r.options(t.TempDir())
	opts.Root = other.options(t.TempDir()).Root
	if _, err := trust.Refresh(t.Context(), opts); !isRefused(err) {
		t.Errorf("another repository's root: %v", err)
	}
	r.rotate()
	if _, err := trust.Refresh(t.Context(), opts); !isRefused(err) {
		t.Errorf("another repository's root, rotated: %v", err)
	}
	write := func(b string) string {
		name := filepath.Join(t.TempDir(), "root.json")
		if err := os.WriteFile(name, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	honest := string(r.body("/1.root.json"))
	for name, root := range map[string]string{
		"absent":    filepath.Join(t.TempDir(), "none.json"),
		"a folder":  t.TempDir(),
		"empty":     write(""),
		"not JSON":  write("-----BEGIN PUBLIC KEY-----"),
		"deep":      write(strings.Repeat("[", 1000)),
		"tampered":  write(strings.Replace(honest, `"version":1`, `"version":2`, 1)),
		"unsigned":  write(honest[:strings.LastIndex(honest, `"signatures"`)] + `"signatures":[]}`),
		"timestamp": write(string(r.body("/timestamp.json"))),
		"huge":      write(strings.Repeat(" ", trust.MaxFile+1)),
		"null role": write(`{"signed":{"_type":"root","version":1,"roles":{"root":null}},"signatures":[]}`),
	} {
		opts.Root = root
		n := r.requests()
		_, err := trust.Refresh(t.Context(), opts)
		if err == nil || isRefused(err) {
			t.Errorf("%s: %v", name, err)
		}
		if r.requests() != n {
			t.Errorf("%s: the network was used", name)
		}
		if name == "deep" && !strings.Contains(err.Error(), "nested deeper") {
			t.Errorf("%s: left to a parser that builds it: %v", name, err)
		}
	}
}

// A repository that goes back is refused, also when the file was changed since.
func TestRefreshRollback(t *testing.T) {
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		for _, edited := range []bool{false, true} {
			r := newRepository(t)
			dir := t.TempDir()
			opts := r.options(dir)
			r.rotate()
			r.update(r.targets)
			refresh(t, opts)
			if edited {
				if err := os.WriteFile(opts.Out, trustedRoot(t), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := folder(t, dir)
			if role == metadata.ROOT {
				r.answer("/2.root.json", nil) // withheld; all else is as good as new
			} else {
				r.version[role]--
				r.publish()
			}
			_, err := trust.Refresh(t.Context(), opts)
			if want := fmt.Sprintf("went back: its %s version is 1, and was 2", role); !isRefused(err) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", role, err)
			}
			if !maps.Equal(before, folder(t, dir)) {
				t.Errorf("%s: the folder changed", role)
			}
		}
	}
}

// What is not the repository's fault, or cannot be known to be.
func TestRefreshTrouble(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	to := func(address string) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, address, http.StatusFound) }
	}
	for name, c := range map[string]struct {
		fail func(*repository, *trust.Options)
		want string
	}{
		"no timestamp":   {func(r *repository, _ *trust.Options) { r.answer("/timestamp.json", nil) }, "404"},
		"no target":      {func(r *repository, _ *trust.Options) { r.answer(r.targetPath(), nil) }, "404"},
		"broken root":    {func(r *repository, _ *trust.Options) { r.answer("/2.root.json", status(500)) }, "500"},
		"forbidden root": {func(r *repository, _ *trust.Options) { r.answer("/2.root.json", status(403)) }, "403"},
		"no content":     {func(r *repository, _ *trust.Options) { r.answer("/timestamp.json", status(204)) }, "204"},
		"redirect loop":  {func(r *repository, _ *trust.Options) { r.answer("/timestamp.json", to("/timestamp.json")) }, "redirects"},
		"redirect to http": {func(r *repository, _ *trust.Options) {
			r.answer("/timestamp.json", to("http://tuf.vendor.example/timestamp.json"))
		}, "not https"},
		"redirect to a file": {func(r *repository, _ *trust.Options) { r.answer("/timestamp.json", to("file:///etc/passwd")) }, "not https"},
		"cut short": {func(r *repository, _ *trust.Options) {
			r.answer("/timestamp.json", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "1000")
				_, _ = w.Write([]byte("{"))
			})
		}, "unexpected EOF"},
		"huge header": {func(r *repository, _ *trust.Options) {
			r.answer("/timestamp.json", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X", strings.Repeat("x", 1<<20))
			})
		}, "header"},
		"no server":       {func(r *repository, _ *trust.Options) { r.server.Close() }, "refused"},
		"no time":         {func(_ *repository, o *trust.Options) { o.Timeout = 1 }, "longer than 1ns"},
		"negative time":   {func(_ *repository, o *trust.Options) { o.Timeout = -1 }, "not positive"},
		"no such target":  {func(_ *repository, o *trust.Options) { o.Target = "\x1bother.json" }, `lists no target "\x1bother.json"`},
		"mirror, no root": {func(_ *repository, o *trust.Options) { o.Root = "" }, "--mirror needs --root"},
		"http":            {func(_ *repository, o *trust.Options) { o.Repository = "http://tuf.vendor.example" }, "not an https address"},
		"file":            {func(_ *repository, o *trust.Options) { o.Repository = "file:///srv/tuf" }, "not an https address"},
		"no scheme":       {func(_ *repository, o *trust.Options) { o.Repository = "tuf.vendor.example" }, "not an https address"},
		"not an address":  {func(_ *repository, o *trust.Options) { o.Repository = "https://[::1" }, "not an address"},
		"password":        {func(_ *repository, o *trust.Options) { o.Repository = "https://a:b@tuf.vendor.example" }, "password"},
		"query":           {func(_ *repository, o *trust.Options) { o.Repository = "https://tuf.vendor.example?a" }, "query"},
		"another host":    {func(_ *repository, o *trust.Options) { o.Repository = "https://tuf.vendor.example" }, "was fetched from"},
		"malformed receipt": {func(_ *repository, o *trust.Options) {
			_ = os.WriteFile(anchor.ReceiptPath(o.Out), []byte("{}"), 0o600)
		}, "malformed"},
		"receipt is a link": {func(_ *repository, o *trust.Options) {
			_ = os.Rename(anchor.ReceiptPath(o.Out), o.Out+"2")
			_ = os.Symlink(o.Out+"2", anchor.ReceiptPath(o.Out))
		}, "symbolic link"},
		"out is a link": {func(_ *repository, o *trust.Options) {
			_ = os.Symlink(o.Out, o.Out+"2")
			o.Out += "2"
		}, "symbolic link"},
		"out is a folder": {func(_ *repository, o *trust.Options) { o.Out = filepath.Dir(o.Out) }, "not a regular file"},
		"out is a FIFO": {func(_ *repository, o *trust.Options) {
			o.Out += "2"
			_ = syscall.Mkfifo(o.Out, 0o600)
		}, "not a regular file"},
		"out is something else": {func(_ *repository, o *trust.Options) {
			o.Out += "2"
			_ = os.WriteFile(o.Out, []byte("firmware"), 0o600)
		}, "not a trusted root"},
		"out's folder is absent": {func(_ *repository, o *trust.Options) {
			o.Out = filepath.Join(filepath.Dir(o.Out), "none", "trusted_root.json")
		}, "folder is not there"},
		"out's folder is a file": {func(_ *repository, o *trust.Options) { o.Out = filepath.Join(o.Out, "trusted_root.json") }, "folder is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepository(t)
			opts := r.options(t.TempDir())
			refresh(t, opts)
			file := opts.Out
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c.fail(r, &opts)
			_, err = trust.Refresh(t.Context(), opts)
			var e *trust.Error
			if !errors.As(err, &e) || e.Refused || !strings.Contains(e.Msg, c.want) || e.Hint == "" && name != "negative time" {
				t.Errorf("error %#v", err)
			}
			if after, err := os.ReadFile(file); err != nil || string(before) != string(after) {
				t.Errorf("the file changed: %v", err)
			}
		})
	}
}

// A folder where nothing can be written is found out at the end: the error names
// the file.
func TestRefreshCannotWrite(t *testing.T) {
	r := newRepository(t)
	dir := t.TempDir()
	if os.Getuid() == 0 { // whom modes do not stop
		if runtime.GOOS != "linux" {
			t.Skip("root can write everywhere")
		}
		dir = "/proc/self"
	} else if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	_, err := trust.Refresh(t.Context(), r.options(dir))
	if err == nil || isRefused(err) || !strings.Contains(err.Error(), `cannot write "trusted_root.json"`) {
		t.Errorf("%v", err)
	}
}

// An interrupt in the middle of the last download leaves everything as it was.
func TestRefreshInterrupted(t *testing.T) {
	r := newRepository(t)
	dir := t.TempDir()
	opts := r.options(dir)
	refresh(t, opts)
	before := folder(t, dir)
	r.update(map[string][]byte{trust.DefaultTarget: trustedRoot(t)})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.answer(r.targetPath(), func(_ http.ResponseWriter, req *http.Request) {
		cancel()
		<-req.Context().Done()
	})
	if _, err := trust.Refresh(ctx, opts); !errors.Is(err, context.Canceled) || isRefused(err) {
		t.Errorf("%v", err)
	}
	if !maps.Equal(before, folder(t, dir)) {
		t.Error("the folder changed")
	}
}

// Versions start at 1 (section 4.3 and on): one below could not be kept in a receipt.
func TestRefreshVersionZero(t *testing.T) {
	for _, role := range []string{metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS} {
		r := newRepository(t)
		r.version[role] = 0
		// The library's helper makes a 1 of it.
		r.alterTimestamp = func(t *metadata.TimestampType) { t.Meta["snapshot.json"].Version = r.version[metadata.SNAPSHOT] }
		r.alterSnapshot = func(t *metadata.SnapshotType) { t.Meta["targets.json"].Version = r.version[metadata.TARGETS] }
		r.publish()
		dir := t.TempDir()
		_, err := trust.Refresh(t.Context(), r.options(dir))
		if !isRefused(err) || !strings.Contains(err.Error(), role+" version is 0") {
			t.Errorf("%s: %v", role, err)
		}
		if got := folder(t, dir); len(got) != 0 {
			t.Errorf("%s: %q was written", role, slices.Sorted(maps.Keys(got)))
		}
	}
}

// The public instance's root is built in; it takes no part in a lab's own.
func TestRefreshPublicRootIsNotAnothers(t *testing.T) {
	opts := trust.Options{Out: filepath.Join(t.TempDir(), "x.json"), Repository: trust.DefaultRepository + ".vendor.example/"}
	if _, err := trust.Refresh(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "--mirror needs --root") {
		t.Errorf("%v", err)
	}
}

func TestLoad(t *testing.T) {
	r := newRepository(t)
	dir := t.TempDir()
	opts := r.options(dir)
	c := refresh(t, opts)
	l, err := trust.Load(opts.Out)
	if err != nil || l.Receipt == nil || *l.Receipt != *c.Now.Receipt || l.SHA256 != c.Now.SHA256 || !slices.Equal(l.Names, c.Now.Names) {
		t.Errorf("%+v, %v", l, err)
	}
	if !l.Dated.Equal(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("dated %v", l.Dated)
	}
	if err := os.WriteFile(opts.Out, trustedRoot(t), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := trust.Load(opts.Out); err != nil || l.Receipt != nil {
		t.Errorf("a foreign receipt: %+v, %v", l, err)
	}
	if err := os.WriteFile(anchor.ReceiptPath(opts.Out), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := trust.Load(opts.Out); err == nil {
		t.Errorf("a malformed receipt: %+v", l)
	}
	deep := filepath.Join(dir, "deep.json")
	if err := os.WriteFile(deep, []byte(strings.Repeat(`{"a":`, 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := trust.Load(deep); err == nil || !strings.Contains(err.Error(), "nested deeper") {
		t.Errorf("deep: %v", err)
	}
	if _, err := trust.Load(filepath.Join(dir, "none.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}
