package trust_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/assaylab/assay/verify/signature/sigtest"
	"github.com/assaylab/assay/verify/trust"
)

// A repository is a TUF repository on loopback. Its fields are set, then publish
// makes and signs its metadata anew; serve puts one file in another's place.
type repository struct {
	t      *testing.T
	server *httptest.Server

	keys      map[string]ed25519.PrivateKey // by role
	formerKey ed25519.PrivateKey            // root's, when the next root is a rotation
	version   map[string]int64              // by role
	expires   map[string]time.Time          // by role
	targets   map[string][]byte

	// Alterations of what is signed.
	alterRoot      func(*metadata.RootType)
	alterTimestamp func(*metadata.TimestampType)
	alterSnapshot  func(*metadata.SnapshotType)
	alterTargets   func(*metadata.TargetsType)

	mu    sync.Mutex
	files map[string]http.HandlerFunc // by path
	asked int                         // requests so far
}

func newRepository(t *testing.T) *repository {
	r := &repository{
		t: t, keys: map[string]ed25519.PrivateKey{}, version: map[string]int64{}, expires: map[string]time.Time{},
		targets: map[string][]byte{trust.DefaultTarget: trustedRoot(t)}, files: map[string]http.HandlerFunc{},
	}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		r.keys[role] = newKey(t)
		r.version[role] = 1
		r.expires[role] = time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	}
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		handle := r.files[req.URL.Path]
		r.asked++
		r.mu.Unlock()
		if handle == nil {
			handle = http.NotFound
		}
		handle(w, req)
	}))
	t.Cleanup(r.server.Close)
	r.publish()
	return r
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func trustedRoot(t *testing.T) []byte {
	t.Helper()
	a, err := sigtest.New()
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.TrustedRoot(true)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (r *repository) publish() {
	r.t.Helper()
	root := metadata.Root(r.expires[metadata.ROOT])
	root.Signed.Version = r.version[metadata.ROOT]
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		key, err := metadata.KeyFromPublicKey(r.keys[role].Public())
		if err != nil {
			r.t.Fatal(err)
		}
		if err := root.Signed.AddKey(key, role); err != nil {
			r.t.Fatal(err)
		}
	}
	targets := metadata.Targets(r.expires[metadata.TARGETS])
	targets.Signed.Version = r.version[metadata.TARGETS]
	for name, b := range r.targets {
		file, err := metadata.TargetFile().FromBytes(name, b, "sha256", "sha512")
		if err != nil {
			r.t.Fatal(err)
		}
		targets.Signed.Targets[name] = file
		sum := sha256.Sum256(b)
		r.serve("/targets/"+hex.EncodeToString(sum[:])+"."+name, b)
	}
	snapshot := metadata.Snapshot(r.expires[metadata.SNAPSHOT])
	snapshot.Signed.Version = r.version[metadata.SNAPSHOT]
	snapshot.Signed.Meta["targets.json"] = metadata.MetaFile(r.version[metadata.TARGETS])
	timestamp := metadata.Timestamp(r.expires[metadata.TIMESTAMP])
	timestamp.Signed.Version = r.version[metadata.TIMESTAMP]
	timestamp.Signed.Meta["snapshot.json"] = metadata.MetaFile(r.version[metadata.SNAPSHOT])

	roots := []crypto.Signer{r.keys[metadata.ROOT]}
	if r.formerKey != nil {
		roots = append(roots, r.formerKey)
	}
	publish(r, fmt.Sprintf("/%d.root.json", root.Signed.Version), root, r.alterRoot, roots...)
	publish(r, fmt.Sprintf("/%d.targets.json", targets.Signed.Version), targets, r.alterTargets, r.keys[metadata.TARGETS])
	publish(r, fmt.Sprintf("/%d.snapshot.json", snapshot.Signed.Version), snapshot, r.alterSnapshot, r.keys[metadata.SNAPSHOT])
	publish(r, "/timestamp.json", timestamp, r.alterTimestamp, r.keys[metadata.TIMESTAMP])
}

func publish[T metadata.Roles](r *repository, path string, m *metadata.Metadata[T], alter func(*T), keys ...crypto.Signer) {
	r.t.Helper()
	if alter != nil {
		alter(&m.Signed)
	}
	for _, key := range keys {
		signer, err := signature.LoadED25519Signer(key.(ed25519.PrivateKey))
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := m.Sign(signer); err != nil {
			r.t.Fatal(err)
		}
	}
	b, err := m.ToBytes(false)
	if err != nil {
		r.t.Fatal(err)
	}
	r.serve(path, b)
}

// rotate makes the next root, with a new key that the present one vouches for.
func (r *repository) rotate() {
	r.formerKey, r.keys[metadata.ROOT] = r.keys[metadata.ROOT], newKey(r.t)
	r.version[metadata.ROOT]++
	r.publish()
}

// update makes the next version of everything below root, with the targets.
func (r *repository) update(targets map[string][]byte) {
	r.targets = targets
	for _, role := range []string{metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS} {
		r.version[role]++
	}
	r.publish()
}

func (r *repository) serve(path string, b []byte) {
	r.answer(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) })
}

func (r *repository) answer(path string, h http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[path] = h
}

func (r *repository) requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// targetPath is where the trusted root is served.
func (r *repository) targetPath() string {
	sum := sha256.Sum256(r.targets[trust.DefaultTarget])
	return "/targets/" + hex.EncodeToString(sum[:]) + "." + trust.DefaultTarget
}

// body is what is served at path.
func (r *repository) body(path string) []byte {
	r.mu.Lock()
	h := r.files[path]
	r.mu.Unlock()
	if h == nil {
		r.t.Fatalf("nothing is served at %s", path)
	}
	w := httptest.NewRecorder()
	h(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Body.Bytes()
}

// options are those of a lab that has the repository's first root.
func (r *repository) options(dir string) trust.Options {
	r.t.Helper()
	start := filepath.Join(r.t.TempDir(), "root.json")
	if err := os.WriteFile(start, r.body("/1.root.json"), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return trust.Options{Out: filepath.Join(dir, "trusted_root.json"), Repository: r.server.URL, Root: start}
}

// folder is the content of a folder, by name.
func folder(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(b)
	}
	return all
}

// endless writes without end, until the client has enough.
func endless(w http.ResponseWriter, _ *http.Request) {
	block := []byte(strings.Repeat(" ", 1<<16))
	for {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}
