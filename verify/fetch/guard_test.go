package fetch

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

func TestGuardRefuses(t *testing.T) {
	for _, c := range []struct{ first, before, to, want string }{
		{"fw.example", "https://fw.example/", "http://fw.example/", "from https to plain http"},
		{"fw.example", "https://fw.example/", "https://127.0.0.1/", "leads to the private address 127.0.0.1"},
		{"fw.example", "https://fw.example/", "https://localhost/", "leads to the private address localhost"},
		{"fw.example", "https://fw.example/", "https://X.LocalHost./", "leads to the private address x.localhost"},
		{"fw.example", "https://fw.example/", "https://169.254.169.254./latest/", "leads to the private address 169.254.169.254"},
		{"fw.example", "http://fw.example/", "http://[::ffff:10.0.0.1]/", "leads to the private address 10.0.0.1"},
		{"fw.example", "http://fw.example/", "http://[fe80::1%25eth0]/", "leads to the private address fe80::1"},
		{"8.8.8.8", "http://8.8.8.8/", "http://192.168.0.1/", "leads to the private address 192.168.0.1"},
		{"fw.example", "http://fw.example/", "gopher://fw.example/", `begins with "gopher:"`},
		{"127.0.0.1", "http://127.0.0.1/", "file:///etc/passwd", `begins with "file:"`},
		{"fw.example", "https://fw.example/", "https:///x", "without a host"},
		{"fw.example", "https://fw.example/", "https://u:p@cdn.example/x", "user's name"},
	} {
		g := newGuard(c.first, nil, idle)
		before, err := url.Parse(c.before)
		if err != nil {
			t.Fatal(err)
		}
		to, err := url.Parse(c.to)
		if err != nil {
			t.Fatal(err)
		}
		req := &http.Request{Method: http.MethodGet, URL: to, Response: &http.Response{Request: &http.Request{URL: before}}}
		_, err = g.RoundTrip(req.WithContext(t.Context()))
		var own *Error
		if !errors.As(err, &own) || !strings.Contains(own.Msg, c.want) || strings.Contains(own.Msg, "u:p") {
			t.Errorf("%s to %s: %v, want %q", c.before, c.to, err, c.want)
		}
	}
}

// resolver answers as a DNS server does (RFC 1035, over TCP) that knows one address for every name below .example.
func resolver(ip net.IP) *net.Resolver {
	answer := func(query []byte) []byte {
		end := 12
		for query[end] != 0 {
			end += int(query[end]) + 1
		}
		out := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, query[12:end+5]...)
		if query[end+2] == 1 { // an IPv4 address is asked for
			out[7] = 1
			out = append(append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4), ip.To4()...)
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
	get := func(g *guard, host string) error {
		g.resolver = resolver(net.IPv4(127, 0, 0, 1))
		defer g.CloseIdleConnections()
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
	refused(get(newGuard("fw.example", nil, idle), "cdn.example"), "fw.example leads to the private address 127.0.0.1 of cdn.example")
	public := newGuard("fw.example", nil, idle)
	public.outside.Store(true)
	refused(get(public, "cdn.example"), "leads to the private address")
	refused(get(public, "fw.example"), "was reached at a public address, and now leads to the private address 127.0.0.1")
	if n := asked.Load(); n != 0 {
		t.Fatalf("the server was asked %d times", n)
	}
	private := newGuard("fw.example", nil, idle) // as its address says
	for _, host := range []string{"fw.example", "CDN.Example.", "127.0.0.1"} {
		if err := get(private, host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if !private.inside.Load() || private.outside.Load() {
		t.Error("the host is not known to be private")
	}
}

// A proxy is where the user has it; what it is asked for is looked at by name.
func TestProxy(t *testing.T) {
	data := noise(1000, 1)
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		if r.URL.Path == "/inside" {
			http.Redirect(w, r, "http://10.0.0.1/", http.StatusFound)
			return
		}
		whole(data, tag)(w, r)
	}))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	get := func(address string) error {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		g := newGuard(u.Hostname(), nil, idle)
		g.proxy = http.ProxyURL(at)
		client := &http.Client{Transport: g, CheckRedirect: redirect}
		defer client.CloseIdleConnections()
		resp, err := client.Get(address)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := get("http://fw.example/x"); err != nil {
		t.Error(err)
	}
	if err := get("http://fw.example/inside"); err == nil || !strings.Contains(err.Error(), "leads to the private address 10.0.0.1") {
		t.Errorf("got %v", err)
	}
	if len(asked) != 2 || asked[0] != "http://fw.example/x" {
		t.Errorf("asked for %q", asked)
	}
}
