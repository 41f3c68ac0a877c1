package oci

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func reply(code int) roundTrip {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader("reply"))}, nil
	}
}

func TestGuard(t *testing.T) {
	cases := []struct {
		registry string
		plain    bool
		url      string
		want     string // of the error; "" for none
	}{
		{"registry.example", false, "https://registry.example/v2/", ""},
		{"registry.example:5000", false, "https://registry.example:5000/v2/", ""},
		{"registry.example", false, "https://blobs.example/x", ""},
		{"registry.example", false, "http://registry.example/v2/", "without TLS"},
		{"registry.example", true, "http://registry.example/v2/", ""},
		{"registry.example", false, "http://127.0.0.1/v2/", "leads to the private address"},
		{"registry.example", true, "http://127.0.0.1/v2/", "leads to the private address"},
		{"registry.example", true, "https://localhost/v2/", "leads to the private address"},
		{"registry.example", true, "https://169.254.169.254/", "leads to the private address"},
		{"registry.example", true, "https://10.0.0.1/", "leads to the private address"},
		{"registry.example", true, "https://[::1]/", "leads to the private address"},
		{"registry.example", true, "https://0.0.0.0/", "leads to the private address"},
		{"10.0.0.1:5000", false, "http://10.0.0.1:5000/v2/", "without TLS"},
		{"10.0.0.1:5000", true, "http://10.0.0.1:5000/v2/", ""},
		{"10.0.0.1:5000", false, "https://10.0.0.2/x", ""},
		{"127.0.0.1:5000", false, "http://127.0.0.1:5000/v2/", ""},
		{"[::1]:5000", false, "http://[::1]:5000/v2/", ""},
		{"[::1]", false, "http://[::1]/v2/", ""},
		{"localhost:5000", false, "http://localhost:5000/v2/", ""},
		{"localhost:5000", false, "http://registry.example/v2/", "without TLS"},
		{"evil.localhost", false, "http://evil.localhost/v2/", "without TLS"},
	}
	for _, c := range cases {
		g := newGuard(c.registry, c.plain)
		g.inner = reply(200)
		resp, err := g.RoundTrip(httptest.NewRequest(http.MethodGet, c.url, nil))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("registry %s, plain %v, %s: %v, want %q", c.registry, c.plain, c.url, err, c.want)
		}
		if err == nil {
			resp.Body.Close()
		}
	}
}

// Redirects are counted for every client above, the library's own among them.
func TestGuardCountsRedirects(t *testing.T) {
	g := newGuard("registry.example", false)
	for i := range 2 * maxRedirects {
		g.inner = reply(302)
		if i == maxRedirects-1 {
			g.inner = reply(200)
		}
		resp, err := g.RoundTrip(httptest.NewRequest(http.MethodGet, "https://registry.example/", nil))
		if err != nil {
			t.Fatalf("reply %d: %v", i, err)
		}
		resp.Body.Close()
	}
	if _, err := g.RoundTrip(httptest.NewRequest(http.MethodGet, "https://registry.example/", nil)); err == nil {
		t.Error("a redirect too many is followed")
	}
}

// silent is a body that never comes, and ends with its request.
type silent struct{ ctx context.Context }

func (s silent) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}
func (silent) Close() error { return nil }

func TestGuardGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard("registry.example", false)
		g.inner = roundTrip(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: silent{req.Context()}}, nil
		})
		resp, err := g.RoundTrip(httptest.NewRequest(http.MethodGet, "https://registry.example/", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.ReadAll(resp.Body); err == nil || !strings.Contains(err.Error(), "nothing came from registry.example for 1m0s") {
			t.Errorf("got %v", err)
		}
	})
}
