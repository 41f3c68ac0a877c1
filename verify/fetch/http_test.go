package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// noise is n bytes that are like no others.
func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

func hexSum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// A scripted server answers the nth request by the nth step, and those after by the last.
type scripted struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string // range and If-Range of each
	headers  []http.Header
}

func script(t *testing.T, steps ...http.HandlerFunc) *scripted {
	t.Helper()
	s := &scripted{}
	s.Server = httptest.NewServer(s.handler(steps))
	t.Cleanup(s.Close)
	return s
}

func (s *scripted) handler(steps []http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		n := min(len(s.requests), len(steps)-1)
		s.requests = append(s.requests, strings.TrimSpace(r.Header.Get("Range")+" "+r.Header.Get("If-Range")))
		s.headers = append(s.headers, r.Header.Clone())
		s.mu.Unlock()
		steps[n](w, r)
	})
}

func (s *scripted) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// cut ends the connection.
func cut() { panic(http.ErrAbortHandler) }

// whole sends all of it, as a server does that knows ranges.
func whole(data []byte, tag string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if tag != "" {
			w.Header().Set("ETag", tag)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

// broke announces all of it, sends the first n bytes, and ends the connection.
func broke(data []byte, tag string, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if tag != "" {
			w.Header().Set("ETag", tag)
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:n])
		_ = http.NewResponseController(w).Flush()
		cut()
	}
}

// raw answers with a status, headers and a body, true or not.
func raw(code int, body []byte, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = w.Write(body)
	}
}

func status(code int) http.HandlerFunc { return raw(code, nil) }

func newFetcher(t *testing.T) *Fetcher {
	t.Helper()
	c, err := Open(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	return &Fetcher{Cache: c, Network: true, backoff: time.Nanosecond}
}

// holds demands that an artifact is data, and that the cache says so too.
func holds(t *testing.T, f *Fetcher, a *Artifact, data []byte) {
	t.Helper()
	b, err := os.ReadFile(a.Path)
	if err != nil || !bytes.Equal(b, data) || a.SHA256 != hexSum(data) || a.Size != int64(len(data)) {
		t.Fatalf("%+v holds %d bytes, %v", a, len(b), err)
	}
	file, err := f.Cache.Get(t.Context(), hexSum(data))
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
}

// nothingPartial demands that no leftovers are there.
func nothingPartial(t *testing.T, c *Cache) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(c.Dir(), "partial"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("left over: %s", e.Name())
	}
}

const tag = `"one"`

func TestFetchURL(t *testing.T) {
	data, other := noise(300_000, 1), noise(300_000, 2)
	half := len(data) / 2
	at := fmt.Sprintf("bytes=%d-", half)
	tail := func(first, last, total int) string { return fmt.Sprintf("bytes %d-%d/%d", first, last, total) }
	end := len(data) - 1
	for _, c := range []struct {
		name  string
		steps []http.HandlerFunc
		want  []string // requests; nil is any
		err   string   // "" is the data
	}{
		{"at once", []http.HandlerFunc{whole(data, tag)}, []string{""}, ""},
		{"without validator", []http.HandlerFunc{whole(data, "")}, []string{""}, ""},
		{"without length", []http.HandlerFunc{raw(200, data, "Transfer-Encoding", "chunked")}, []string{""}, ""},
		{"resumed", []http.HandlerFunc{broke(data, tag, half), whole(data, tag)}, []string{"", at + " " + tag}, ""},
		{"resumed by date", []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
			broke(data, "", half)(w, r)
		}, whole(data, "")}, []string{"", at + " Mon, 02 Jan 2006 15:04:05 GMT"}, ""},
		{"resumed without validator", []http.HandlerFunc{broke(data, "", half), whole(data, "")}, []string{"", at}, ""},
		{"a weak tag is no validator", []http.HandlerFunc{broke(data, `W/"one"`, half), whole(data, `W/"one"`)}, []string{"", at}, ""},
		{"ranges unheard of", []http.HandlerFunc{broke(data, tag, half), raw(200, data)}, []string{"", at + " " + tag}, ""},
		{"changed between", []http.HandlerFunc{broke(other, `"two"`, half), whole(data, tag)}, []string{"", at + ` "two"`}, ""},
		{"changed unseen", []http.HandlerFunc{broke(other, "", half), whole(data, "")}, []string{"", at, ""}, ""},
		{"another total", []http.HandlerFunc{
			broke(data, tag, half), raw(206, data[half:], "Content-Range", tail(half, end, len(data)+1)), whole(data, tag),
		}, []string{"", at + " " + tag, ""}, ""},
		{"another tag", []http.HandlerFunc{
			broke(data, tag, half), raw(206, data[half:], "Content-Range", tail(half, end, len(data)), "ETag", `"two"`), whole(data, tag),
		}, []string{"", at + " " + tag, ""}, ""},
		{"another range", []http.HandlerFunc{
			broke(data, tag, half), raw(206, data[half-1:], "Content-Range", tail(half-1, end, len(data))), whole(data, tag),
		}, []string{"", at + " " + tag, ""}, ""},
		{"a range further on", []http.HandlerFunc{
			broke(data, tag, half), raw(206, data[half+1:], "Content-Range", tail(half+1, end, len(data))), whole(data, tag),
		}, []string{"", at + " " + tag, ""}, ""},
		{"more than announced, of who knows how much", []http.HandlerFunc{
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("ETag", tag)
				_, _ = w.Write(data[:half])
				_ = http.NewResponseController(w).Flush()
				cut()
			},
			raw(206, append(slices.Clone(data[half:]), 0), "Content-Range", fmt.Sprintf("bytes %d-%d/*", half, end), "Transfer-Encoding", "chunked"), whole(data, tag),
		}, []string{"", at + " " + tag, ""}, ""},
		{"no range", []http.HandlerFunc{broke(data, tag, half), raw(206, data[half:]), whole(data, tag)}, []string{"", at + " " + tag, ""}, ""},
		{"a range that turns back", []http.HandlerFunc{
			broke(data, tag, half), raw(206, data[half:], "Content-Range", tail(half, half-1, len(data))), whole(data, tag),
		}, []string{"", at + " " + tag, ""}, ""},
		{"a range past its end", []http.HandlerFunc{
			broke(data, tag, half), raw(206, data[half:], "Content-Range", tail(half, end+1, len(data))), whole(data, tag),
		}, []string{"", at + " " + tag, ""}, ""},
		{"a range of other length", []http.HandlerFunc{
			broke(data, tag, half), raw(206, data[half:], "Content-Range", tail(half, end-1, len(data)), "Content-Length", fmt.Sprint(len(data)-half)), whole(data, tag),
		}, []string{"", at + " " + tag, ""}, ""},
		{"more than announced", []http.HandlerFunc{
			broke(data, tag, half),
			raw(206, append(slices.Clone(data[half:]), 0), "Content-Range", tail(half, end, len(data)), "Transfer-Encoding", "chunked"), whole(data, tag),
		}, []string{"", at + " " + tag, ""}, ""},
		{"a range unasked", []http.HandlerFunc{raw(206, data, "Content-Range", tail(0, end, len(data))), whole(data, tag)}, []string{"", ""}, ""},
		{"pieces", []http.HandlerFunc{
			broke(data, tag, half), raw(206, data[half:half+100_000], "Content-Range", tail(half, half+99_999, len(data))), whole(data, tag),
		}, []string{"", at + " " + tag, fmt.Sprintf("bytes=%d- %s", half+100_000, tag)}, ""},
		{"nothing there any more", []http.HandlerFunc{broke(data, tag, half), raw(416, nil, "Content-Range", "bytes */3"), whole(data, tag)}, []string{"", at + " " + tag, ""}, ""},
		{"416 at once", []http.HandlerFunc{status(416)}, []string{""}, "416"},
		{"errors that pass", []http.HandlerFunc{status(503), status(429), status(500), cutHandler, whole(data, tag)}, []string{"", "", "", "", ""}, ""},
		{"errors that stay", []http.HandlerFunc{status(502)}, []string{"", "", "", "", "", ""}, "502"},
		{"not there", []http.HandlerFunc{status(404)}, []string{""}, "404"},
		{"not for us", []http.HandlerFunc{status(401)}, []string{""}, "401"},
		{"not changed", []http.HandlerFunc{status(304)}, []string{""}, "304"},
		{"never whole", []http.HandlerFunc{broke(data, tag, 10)}, nil, "cannot fetch"},
		{"always other ranges", []http.HandlerFunc{broke(data, tag, half), raw(206, data[:5], "Content-Range", "bytes 0-4/300000")}, nil, "cannot fetch"},
		{"from the first byte for ever", []http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) {
			b := noise(much+1<<20, 3)
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			_, _ = w.Write(b[:much+1<<19])
			cut()
		}}, nil, "cannot fetch"},
		{"empty", []http.HandlerFunc{raw(200, nil)}, []string{""}, "pinned is"},
		{"another file", []http.HandlerFunc{whole(other, tag)}, []string{""}, "pinned is"},
		{"another file in pieces", []http.HandlerFunc{broke(other, tag, half), whole(other, tag)}, []string{"", at + " " + tag, ""}, "pinned is"},
		{"a redirect to nowhere", []http.HandlerFunc{raw(302, nil)}, []string{""}, "cannot fetch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, f := script(t, c.steps...), newFetcher(t)
			a, err := f.Fetch(t.Context(), Request{URL: s.URL + "/fw.bin", SHA256: hexSum(data)})
			if c.want != nil && !slices.Equal(s.seen(), c.want) {
				t.Errorf("requests %q, want %q", s.seen(), c.want)
			}
			if n := len(s.seen()); n > 40 {
				t.Errorf("%d requests", n)
			}
			if c.err != "" {
				var mismatch *MismatchError
				if err == nil || !strings.Contains(err.Error(), c.err) || errors.As(err, &mismatch) != (c.err == "pinned is") {
					t.Fatalf("got %+v, %v", a, err)
				}
				if _, err := f.Cache.Get(t.Context(), hexSum(data)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the cache has it: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			holds(t, f, a, data)
			if !filepath.IsAbs(a.Path) || a.Cached || a.Name != "fw.bin" || a.From != s.URL+"/fw.bin" {
				t.Errorf("got %+v", a)
			}
			nothingPartial(t, f.Cache)
			// Once it is there nobody is asked, nor need be.
			before := len(s.seen())
			f.Network = false
			if a, err = f.Fetch(t.Context(), Request{URL: s.URL + "/fw.bin", SHA256: hexSum(data)}); err != nil || !a.Cached {
				t.Fatalf("got %+v, %v", a, err)
			}
			holds(t, f, a, data)
			if len(s.seen()) != before {
				t.Error("it was asked for again")
			}
		})
	}
}

func cutHandler(http.ResponseWriter, *http.Request) { cut() }

// What an address gives without a pin is no artifact, and need not come twice.
func TestUnpinned(t *testing.T) {
	data := noise(5000, 1)
	s, f := script(t, whole(data, tag)), newFetcher(t)
	for range 2 {
		_, err := f.Fetch(t.Context(), Request{URL: s.URL})
		var unpinned *UnpinnedError
		if !errors.As(err, &unpinned) || unpinned.Seen != hexSum(data) || unpinned.Size != 5000 || !strings.Contains(unpinned.Hint(), "--sha256 "+hexSum(data)) {
			t.Fatalf("got %v", err)
		}
	}
	if n := len(s.seen()); n != 2 {
		t.Errorf("%d requests: it may have changed", n)
	}
	a, err := f.Fetch(t.Context(), Request{URL: s.URL, SHA256: hexSum(data)})
	if err != nil || !a.Cached || a.Name != "download" || len(s.seen()) != 2 {
		t.Fatalf("got %+v, %v, %d requests", a, err, len(s.seen()))
	}

	// Nothing is joined that nothing vouches for: neither with what another process left, nor without a validator.
	f = newFetcher(t)
	ctx, stop := context.WithCancel(t.Context())
	s = script(t, broke(data, "", 3000), func(w http.ResponseWriter, r *http.Request) {
		broke(data, tag, 2000)(w, r)
	}, whole(data, tag))
	if _, err := f.Fetch(ctx, Request{URL: s.URL}); err == nil || !strings.Contains(err.Error(), hexSum(data)) {
		t.Fatal(err)
	}
	stop()
	if want := []string{"", "", "bytes=2000- " + tag}; !slices.Equal(s.seen(), want) {
		t.Errorf("requests %q", s.seen())
	}
}

// What came stays when it ends early, and is gone on with, even if what lies on the disk has changed.
func TestGoesOn(t *testing.T) {
	data := noise(200_000, 1)
	for _, spoil := range []bool{false, true} {
		s := script(t, func(w http.ResponseWriter, r *http.Request) { broke(data, tag, 150_000)(w, r) },
			cutHandler, cutHandler, cutHandler, cutHandler, cutHandler, whole(data, tag))
		f := newFetcher(t)
		r := Request{URL: s.URL + "/x", SHA256: hexSum(data)}
		if _, err := f.Fetch(t.Context(), r); err == nil {
			t.Fatal("it came")
		}
		l, err := f.Cache.List()
		if err != nil || len(l.Leftovers) != 1 || l.Leftovers[0].Size != 150_000 || l.Leftovers[0].URL != r.URL || l.Leftovers[0].Live {
			t.Fatalf("%+v, %v", l, err)
		}
		if spoil {
			name := filepath.Join(f.Cache.Dir(), "partial", l.Leftovers[0].Name)
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			b[7] ^= 1
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before := len(s.seen())
		a, err := f.Fetch(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		holds(t, f, a, data)
		want := []string{"bytes=150000- " + tag}
		if spoil {
			want = append(want, "")
		}
		if got := s.seen()[before:]; !slices.Equal(got, want) {
			t.Errorf("requests %q, want %q", got, want)
		}
		nothingPartial(t, f.Cache)
	}
}

func TestFetchLimits(t *testing.T) {
	data := noise(100_000, 1)
	endless := func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(data); err != nil {
				return
			}
		}
	}
	for name, step := range map[string]http.HandlerFunc{"announced": whole(data, tag), "endless": endless} {
		s, f := script(t, step), newFetcher(t)
		for _, pin := range []string{hexSum(data), ""} {
			_, err := f.Fetch(t.Context(), Request{URL: s.URL, SHA256: pin, MaxSize: int64(len(data)) - 1})
			var limit *LimitError
			if !errors.As(err, &limit) || !strings.Contains(limit.Hint, "--max-size") {
				t.Errorf("%s: got %v", name, err)
			}
		}
		if len(s.seen()) != 2 {
			t.Errorf("%s: %d requests", name, len(s.seen()))
		}
		if pruned, err := f.Cache.Prune(t.Context(), Pruning{}); err != nil || pruned.Size() != 0 {
			t.Errorf("%s: left %+v, %v", name, pruned, err)
		}
	}
	s, f := script(t, whole(data, tag)), newFetcher(t)
	r := Request{URL: s.URL, SHA256: hexSum(data), MaxSize: int64(len(data))}
	if _, err := f.Fetch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	r.MaxSize--
	var limit *LimitError
	if _, err := f.Fetch(t.Context(), r); !errors.As(err, &limit) {
		t.Errorf("the limit does not hold for the cache: %v", err)
	}
}

// A server that falls silent is left, and asked again.
func TestStalls(t *testing.T) {
	data := noise(100_000, 1)
	silent := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:60_000])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	mute := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	s, f := script(t, silent, mute, whole(data, tag)), newFetcher(t)
	f.idle = 50 * time.Millisecond
	f.now = func() time.Time { return time.Time{} } // silent, and never slow
	a, err := f.Fetch(t.Context(), Request{URL: s.URL, SHA256: hexSum(data)})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, f, a, data)
	if got := s.seen(); len(got) != 3 || got[2] != "bytes=60000- "+tag {
		t.Errorf("requests %q", got)
	}
	// Who waits no longer is heard at once, and loses nothing.
	ctx, stop := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	s, f = script(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:60_000])
		_ = http.NewResponseController(w).Flush()
		stop(why)
		<-r.Context().Done()
	}), newFetcher(t)
	if _, err := f.Fetch(ctx, Request{URL: s.URL, SHA256: hexSum(data)}); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

func TestRedirects(t *testing.T) {
	data := noise(1000, 1)
	mux := http.NewServeMux()
	plainServer := httptest.NewServer(mux)
	defer plainServer.Close()
	secure := httptest.NewTLSServer(mux)
	defer secure.Close()
	var last http.Header
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		last = r.Header.Clone()
		whole(data, tag)(w, r)
	})
	mux.HandleFunc("/to", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "secret", Value: "1"})
		w.Header().Set("Location", r.URL.Query().Get("u"))
		w.WriteHeader(http.StatusFound)
	})
	mux.HandleFunc("/chain/{n}", func(w http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscan(r.PathValue("n"), &n)
		if n == 0 {
			whole(data, tag)(w, r)
			return
		}
		http.Redirect(w, r, fmt.Sprintf("/chain/%d", n-1), http.StatusMovedPermanently)
	})
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	for _, c := range []struct{ url, err string }{
		{plainServer.URL + "/to?u=/file", ""},
		{plainServer.URL + "/to?u=" + secure.URL + "/file", ""},
		{secure.URL + "/to?u=" + secure.URL + "/file", ""},
		{secure.URL + "/to?u=" + plainServer.URL + "/file", "from https to plain http"},
		{plainServer.URL + "/to?u=" + secure.URL + "/to%3Fu=" + plainServer.URL + "/file", "from https to plain http"},
		{plainServer.URL + "/to?u=ftp://127.0.0.1/file", `begins with "ftp:"`},
		{plainServer.URL + "/to?u=file:///etc/passwd", `begins with "file:"`},
		{plainServer.URL + "/to?u=http:///x", "without a host"},
		{plainServer.URL + "/to?u=http://u:p@127.0.0.1/x", "user's name"},
		{plainServer.URL + "/to?u=//%00", "cannot fetch"},
		{plainServer.URL + "/chain/10", ""},
		{plainServer.URL + "/chain/11", "redirects more than 10 times"},
	} {
		f := newFetcher(t)
		f.CAs = pool
		a, err := f.Fetch(t.Context(), Request{URL: c.url, SHA256: hexSum(data)})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v", c.url, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		holds(t, f, a, data)
		for _, h := range []string{"Referer", "Cookie", "Authorization"} {
			if last.Get(h) != "" {
				t.Errorf("%s: %s is given away: %q", c.url, h, last.Get(h))
			}
		}
	}
	// Nobody vouches for that certificate.
	f := newFetcher(t)
	var e *Error
	if _, err := f.Fetch(t.Context(), Request{URL: secure.URL + "/file", SHA256: hexSum(data)}); !errors.As(err, &e) || !strings.Contains(e.Hint, "--ca-file") {
		t.Errorf("got %v", err)
	}
	// Nobody is there, which no patience mends.
	plainServer.Close()
	if _, err := f.Fetch(t.Context(), Request{URL: plainServer.URL, SHA256: hexSum(data)}); !errors.As(err, &e) || !strings.Contains(e.Hint, "proxy") {
		t.Errorf("got %v", err)
	}
}

// Two that want the same share one download.
func TestShared(t *testing.T) {
	data := noise(100_000, 1)
	arrived, release := make(chan bool), make(chan bool)
	s := script(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		whole(data, tag)(w, r)
	}, whole(data, tag))
	f := newFetcher(t)
	waits := make(chan string, 100)
	f.Progress = func(s string) { waits <- s }
	r := Request{URL: s.URL, SHA256: hexSum(data)}
	results := make(chan error)
	get := func() {
		a, err := f.Fetch(t.Context(), r)
		if err == nil {
			err = func() error {
				b, err := os.ReadFile(a.Path)
				if !bytes.Equal(b, data) {
					return fmt.Errorf("%d bytes, %v", len(b), err)
				}
				return err
			}()
		}
		results <- err
	}
	go get()
	<-arrived
	for range 3 {
		go get()
		if said := <-waits; !strings.Contains(said, "another process") {
			t.Errorf("said %q", said)
		}
	}
	if l, err := f.Cache.List(); err != nil || len(l.Leftovers) != 1 || !l.Leftovers[0].Live {
		t.Errorf("%+v, %v", l, err)
	}
	if p, err := f.Cache.Prune(t.Context(), Pruning{All: true}); err != nil || p.Live != 1 || p.Size() != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	close(release)
	for range 4 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if len(s.seen()) != 1 {
		t.Errorf("requests %q", s.seen())
	}
	nothingPartial(t, f.Cache)
}

func TestFetchFile(t *testing.T) {
	data := noise(5000, 1)
	name := filepath.Join(t.TempDir(), "fw.bin")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFetcher(t)
	f.Network = false
	a, err := f.Fetch(t.Context(), Request{File: name, SHA256: hexSum(data)})
	if err != nil || a.Path != name || a.Size != 5000 || a.Name != "fw.bin" || a.From != "file:fw.bin" {
		t.Fatalf("%+v, %v", a, err)
	}
	var mismatch *MismatchError
	if _, err := f.Fetch(t.Context(), Request{File: name, SHA256: hexSum(nil)}); !errors.As(err, &mismatch) || mismatch.Seen != hexSum(data) {
		t.Error(err)
	}
	var unpinned *UnpinnedError
	if _, err := f.Fetch(t.Context(), Request{File: name}); !errors.As(err, &unpinned) || unpinned.Seen != hexSum(data) {
		t.Error(err)
	}
	var limit *LimitError
	if _, err := f.Fetch(t.Context(), Request{File: name, SHA256: hexSum(data), MaxSize: 4999}); !errors.As(err, &limit) {
		t.Error(err)
	}
	var e *Error
	for _, bad := range []string{filepath.Dir(name), os.DevNull} {
		if _, err := f.Fetch(t.Context(), Request{File: bad, SHA256: hexSum(data)}); !errors.As(err, &e) {
			t.Error(err)
		}
	}
	if _, err := f.Fetch(t.Context(), Request{File: name + "x", SHA256: hexSum(data)}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := os.Stat(f.Cache.Dir()); err == nil {
		t.Error("a file of this machine went into the cache")
	}
	// Offline, what is not there is not looked for.
	s := script(t, whole(data, tag))
	var offline *OfflineError
	if _, err := f.Fetch(t.Context(), Request{URL: s.URL, SHA256: hexSum(data)}); !errors.As(err, &offline) || len(s.seen()) != 0 {
		t.Error(err)
	}
}

func TestContentRange(t *testing.T) {
	for in, want := range map[string]string{
		"bytes 0-4/5": "0 4 5 true", "bytes 3-4/*": "3 4 -1 true", "bytes 0-0/1": "0 0 1 true",
		"bytes 0-5/5": "false", "bytes 4-3/5": "false", "bytes -4/5": "false", "bytes */5": "false", "bytes 0-4": "false", "0-4/5": "false",
		"bytes 0-4/-5": "false", "bytes +0-4/5": "false", "bytes 0-99999999999999999999/*": "false", "": "false", "bytes 0-4/5, bytes 1-2/5": "false",
	} {
		first, last, total, ok := contentRange(in)
		got := fmt.Sprint(ok)
		if ok {
			got = fmt.Sprint(first, last, total, ok)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// A byte now and then does not hold a fetch; many do, however slow the clock says they are read.
func TestSlow(t *testing.T) {
	f := newFetcher(t)
	var clock time.Time
	f.now = func() time.Time {
		clock = clock.Add(idle + time.Second)
		return clock
	}
	s := script(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("001e"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	for _, r := range []Request{
		{URL: s.URL, SHA256: hexSum(nil)},
		{URL: s.URL},
		{Git: s.URL + "/x.git", Commit: strings.Repeat("a", 40)},
		{OCI: "docker://" + strings.TrimPrefix(s.URL, "http://") + "/fw@sha256:" + hexSum(nil)},
	} {
		var limit *LimitError
		if _, err := f.Fetch(t.Context(), r); !errors.As(err, &limit) || !strings.Contains(err.Error(), "too slowly: 4 bytes in ") {
			t.Errorf("%s: %v", r, err)
		}
	}
	if n := len(s.seen()); n != 5 { // one of them asks the registry who may read
		t.Errorf("%d requests", n)
	}
	body := &watched{ReadCloser: io.NopCloser(bytes.NewReader(noise(10*leastInIdle, 1))), now: f.now, timer: time.NewTimer(idle), patience: idle}
	for buf := make([]byte, leastInIdle); ; {
		_, err := body.Read(buf)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A server that sends much at a time, and then breaks, comes to an end.
func TestEndlessPieces(t *testing.T) {
	sent := 0
	piece := func(size int) http.HandlerFunc { // of the file that never ends
		return func(w http.ResponseWriter, r *http.Request) {
			var at int
			_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &at)
			w.Header().Set("ETag", tag)
			if at > 0 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", at, at+size-1))
				w.WriteHeader(http.StatusPartialContent)
			}
			n, _ := w.Write(make([]byte, size))
			sent += n
			if at == 0 {
				cut()
			}
		}
	}
	s, f := script(t, piece(much)), newFetcher(t)
	var limit *LimitError
	if _, err := f.Fetch(t.Context(), Request{URL: s.URL, SHA256: hexSum(nil)}); !errors.As(err, &limit) || !strings.Contains(err.Error(), "connections") {
		t.Errorf("got %v", err)
	}
	if n := len(s.seen()); n != maxPieces {
		t.Errorf("%d requests, %d bytes", n, sent)
	}

	// Nor does what was thrown away come for ever: here it begins anew each time, with all but the last byte.
	const most = 1 << 20
	sent = 0
	s = script(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(most))
		n, _ := w.Write(make([]byte, most-1))
		sent += n
		_ = http.NewResponseController(w).Flush()
		cut()
	})
	f = newFetcher(t)
	if _, err := f.Fetch(t.Context(), Request{URL: s.URL, SHA256: hexSum(nil), MaxSize: most}); !errors.As(err, &limit) || !strings.Contains(err.Error(), "came anew") {
		t.Errorf("got %v", err)
	}
	if n := len(s.seen()); n != 3 {
		t.Errorf("%d requests", n)
	}
}

// Nobody is told to pin what was put together of pieces.
func TestPieces(t *testing.T) {
	data := noise(5000, 1)
	var mismatch *MismatchError
	var unpinned *UnpinnedError
	again := func() *scripted {
		return script(t, broke(data, tag, 3000), whole(data, tag), broke(data, tag, 3000), whole(data, tag))
	}
	_, err := newFetcher(t).Fetch(t.Context(), Request{URL: again().URL, SHA256: hexSum(nil)})
	if !errors.As(err, &mismatch) || !mismatch.Pieces || strings.Contains(mismatch.Hint(), mismatch.Seen) {
		t.Errorf("got %+v", err)
	}
	_, err = newFetcher(t).Fetch(t.Context(), Request{URL: again().URL})
	if !errors.As(err, &unpinned) || !unpinned.Pieces || strings.Contains(unpinned.Hint(), unpinned.Seen) || !strings.Contains(err.Error(), "in pieces") {
		t.Errorf("got %+v", err)
	}
	if sum, err := newFetcher(t).fetchUnpinned(t.Context(), again().URL, 1<<20); err == nil {
		t.Errorf("it tells %s", sum)
	}
	// In one piece, after all.
	s := script(t, broke(data, tag, 3000), whole(data, tag))
	_, err = newFetcher(t).Fetch(t.Context(), Request{URL: s.URL, SHA256: hexSum(nil)})
	if !errors.As(err, &mismatch) || mismatch.Pieces || !strings.Contains(mismatch.Hint(), mismatch.Seen) {
		t.Errorf("got %+v", err)
	}
	s = script(t, broke(data, "", 3000), cutHandler, whole(data, tag))
	_, err = newFetcher(t).Fetch(t.Context(), Request{URL: s.URL})
	if !errors.As(err, &unpinned) || unpinned.Pieces || !strings.Contains(unpinned.Hint(), unpinned.Seen) {
		t.Errorf("got %+v", err)
	}
}

// What an address has behind its ? may be a key: neither reports, messages nor lists show it.
func TestSecretQuery(t *testing.T) {
	data := noise(5000, 1)
	s, f := script(t, broke(data, tag, 3000), whole(data, tag), status(404)), newFetcher(t)
	var said []string
	f.Progress = func(line string) { said = append(said, line) }
	a, err := f.Fetch(t.Context(), Request{URL: s.URL + "/fw.bin?key=SECRET", SHA256: hexSum(data)})
	if err != nil || a.From != s.URL+"/fw.bin?…" {
		t.Fatalf("%+v, %v", a, err)
	}
	_, err = f.Fetch(t.Context(), Request{URL: s.URL + "/fw.bin?key=SECRET", SHA256: hexSum(nil)})
	l, err2 := f.Cache.List()
	if err == nil || err2 != nil || len(l.Leftovers) != 1 || len(said) == 0 {
		t.Fatalf("%v, %v, %+v, %q", err, err2, l, said)
	}
	if all := fmt.Sprint(err, l, said); strings.Contains(all, "SECRET") {
		t.Error(all)
	}
}
