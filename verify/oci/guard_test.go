package oci

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
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
		{"LOCALHOST.:5000", false, "http://localhost:5000/v2/", ""},
		{"registry.example", true, "https://LOCALHOST/", "leads to the private address localhost"},
		{"registry.example", true, "https://localhost./", "leads to the private address localhost"},
		{"registry.example", true, "https://foo.LocalHost./", "leads to the private address foo.localhost"},
		{"registry.example", true, "https://[fe80::1%25eth0]/", "leads to the private address fe80::1"},
		{"registry.example", true, "https://[::1%25lo]/", "leads to the private address ::1"},
		{"registry.example", true, "https://[fec0::1%25eth0]/", "leads to the private address fec0::1"},
		{"registry.example", true, "https://100.64.0.1/", "leads to the private address 100.64.0.1"},
		{"registry.example", true, "https://100.127.255.255/", "leads to the private address"},
		{"registry.example", true, "https://100.128.0.0/", ""},
		{"registry.example", true, "https://169.254.169.254./", "leads to the private address 169.254.169.254"},
		{"registry.example", true, "https://[::ffff:10.0.0.1]/", "leads to the private address 10.0.0.1"},
		{"registry.example", true, "https://[::ffff:8.8.8.8]/", ""},
		{"registry.example", true, "https://[64:ff9b::a9fe:a9fe]/", "leads to the private address"},
		{"registry.example", true, "https://[64:ff9b::808:808]/", ""},
		{"registry.example", true, "https://[fd00::1]/", "leads to the private address"},
		{"registry.example", true, "https://[::]/", "leads to the private address"},
		{"registry.example", true, "https://0.1.2.3/", "leads to the private address"},
		{"registry.example", true, "https://224.0.0.1/", "leads to the private address"},
		{"registry.example", true, "https://255.255.255.255/", "leads to the private address"},
		{"registry.example", true, "https://localhost.example/", ""},
		{"REGISTRY.example.:5000", false, "https://registry.example:5000/v2/", ""},
		{"[::FFFF:10.0.0.1]:5000", true, "http://10.0.0.1:5000/", ""},
		{"registry.example", true, "file:///etc/passwd", `leads to an address that begins with "file:"`},
		{"127.0.0.1:5000", true, "gopher://127.0.0.1/", `leads to an address that begins with "gopher:"`},
		{"registry.example", true, "https:///x", "without a host"},
		{"evil.localhost", false, "http://evil.localhost/v2/", "without TLS"},
	}
	for _, c := range cases {
		g := newGuard(c.registry, c.plain)
		g.inner = reply(200)
		at, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := g.RoundTrip((&http.Request{Method: http.MethodGet, URL: at}).WithContext(t.Context()))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("registry %s, plain %v, %s: %v, want %q", c.registry, c.plain, c.url, err, c.want)
		}
		if err == nil {
			resp.Body.Close()
		}
	}
}

// A resolver that knows names, and answers as a DNS server does (RFC 1035, over TCP).
func resolver(names map[string]netip.Addr) *net.Resolver {
	answer := func(query []byte) []byte {
		name, at := "", 12
		for query[at] != 0 {
			n := int(query[at])
			name += string(query[at+1:at+1+n]) + "."
			at += n + 1
		}
		question := query[12 : at+5]
		ip, ok := names[strings.ToLower(strings.TrimSuffix(name, "."))]
		record, code := ip.AsSlice(), byte(0)
		if !ok {
			code = 3 // no such name
		}
		if kind := query[at+2]; ok && (kind == 1) != ip.Is4() {
			record = nil
		}
		out := append([]byte{query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
		if len(record) > 0 {
			out[7] = 1
			out = append(out, 0xc0, 12, 0, query[at+2], 0, 1, 0, 0, 0, 9, 0, byte(len(record)))
			out = append(out, record...)
		}
		return out
	}
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			for {
				size := make([]byte, 2)
				if _, err := io.ReadFull(server, size); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size))
				if _, err := io.ReadFull(server, query); err != nil {
					return
				}
				reply := answer(query)
				if _, err := server.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
					return
				}
			}
		}()
		return client, nil
	}}
}

// What a name resolves to counts, not only how it is spelled.
func TestGuardResolves(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	here := netip.MustParseAddr("127.0.0.1")
	names := resolver(map[string]netip.Addr{"registry.example": here, "blobs.example": here})
	get := func(g *guard, host string) error {
		g.resolver = names
		defer g.close()
		resp, err := g.RoundTrip(httptest.NewRequest(http.MethodGet, "http://"+host+":"+port+"/", nil))
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	refused := func(err error, want string) {
		t.Helper()
		var own *Error
		if !errors.As(err, &own) || !strings.Contains(own.Msg, want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	never := newGuard("registry.example", true) // not reached yet
	refused(get(never, "blobs.example"), "the registry registry.example leads to the private address blobs.example at 127.0.0.1")

	public := newGuard("registry.example", true)
	public.outside.Store(true)
	refused(get(public, "blobs.example"), "the registry registry.example leads to the private address blobs.example at 127.0.0.1")
	refused(get(public, "registry.example"), "was reached at a public address, and now leads to the private address 127.0.0.1")
	if n := asked.Load(); n != 0 {
		t.Fatalf("the server was asked %d times", n)
	}

	private := newGuard("registry.example", true) // as its address says
	for _, host := range []string{"registry.example", "Blobs.Example.", "127.0.0.1"} {
		if err := get(private, host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if !private.inside.Load() || private.outside.Load() {
		t.Error("the registry is not known to be private")
	}
	private.outside.Store(true) // and then its name leads elsewhere
	refused(get(private, "blobs.example"), "leads to the private address")
	refused(get(private, "127.0.0.1"), "leads to the private address 127.0.0.1")
}

func TestMayDial(t *testing.T) {
	for _, c := range []struct {
		registry, host, resolved string
		want                     string
	}{
		{"registry.example", "registry.example", "8.8.8.8:443", ""},
		{"registry.example", "registry.example", "10.0.0.1:443", ""}, // whoever names it means it
		{"registry.example", "blobs.example", "8.8.8.8:443", ""},
		{"registry.example", "blobs.example", "[2606:4700::1]:443", ""},
		{"registry.example", "blobs.example", "[fe80::1%eth0]:443", "at fe80::1"},
		{"registry.example", "blobs.example", "[::ffff:169.254.169.254]:80", "at 169.254.169.254"},
		{"registry.example", "blobs.example", "100.100.100.200:80", "at 100.100.100.200"},
		{"10.0.0.1:5000", "blobs.example", "10.0.0.2:443", ""},
		{"localhost:5000", "localhost", "127.0.0.1:5000", ""},
		{"localhost:5000", "localhost", "[::1]:5000", ""},
		{"localhost:5000", "localhost", "10.0.0.1:5000", "off this machine"},
		{"localhost:5000", "localhost", "8.8.8.8:5000", "off this machine"},
	} {
		err := newGuard(c.registry, true).mayDial(c.host, c.resolved)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("registry %s, %s at %s: %v, want %q", c.registry, c.host, c.resolved, err, c.want)
		}
	}
}

// A proxy may be anywhere, for it was named by the user; but what a registry leads to
// may not be the proxy itself.
func TestGuardBehindProxy(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.String()) }))
	defer s.Close()
	at, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	g := newGuard("registry.example", true)
	defer g.close()
	g.proxy = func(req *http.Request) (*url.URL, error) {
		if strings.HasSuffix(req.URL.Hostname(), ".example") && req.URL.Hostname() != "direct.example" {
			return at, nil
		}
		return nil, nil
	}
	g.resolver = resolver(map[string]netip.Addr{"direct.example": netip.MustParseAddr("127.0.0.1")})
	for _, c := range []struct{ url, want string }{
		{"http://registry.example/v2/", ""},
		{"http://blobs.example/x", ""},
		{"http://10.0.0.1/x", "leads to the private address 10.0.0.1"},
		{s.URL + "/x", "leads to the private address 127.0.0.1"},
		{"http://direct.example:" + at.Port() + "/x", "leads to the private address direct.example at 127.0.0.1"},
	} {
		resp, err := g.RoundTrip(httptest.NewRequest(http.MethodGet, c.url, nil))
		if err == nil {
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(b) != c.url {
				t.Errorf("the proxy was asked for %s, not for %s", b, c.url)
			}
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.url, err, c.want)
		}
	}
	if g.private() {
		t.Error("a proxy on a private address makes the registry private")
	}
	g.proxy = func(*http.Request) (*url.URL, error) { return nil, errors.New("http://me:secret@proxy") }
	if _, err := g.RoundTrip(httptest.NewRequest(http.MethodGet, "http://registry.example/", nil)); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
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
