package oci

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/assaylab/assay/verify/internal/plain"
)

const (
	maxRedirects = 5           // in a row
	maxHandshake = 1 << 20     // bytes of a body while access is negotiated
	patience     = time.Minute // without a byte
)

// A guard is the transport under all others: no request gets past it, be it for
// content, for a token or after a redirect.
//
// The registry was named by the user, and may be on a private address: by its name,
// or by what its name resolves to. Of a registry that is not, and of one that was
// reached at a public address even once, nothing leads to a private address, neither
// by name nor by what a name resolves to. Of what a proxy connects to only the names
// are known here; the proxy itself may be anywhere.
type guard struct {
	inner     http.RoundTripper
	proxy     func(*http.Request) (*url.URL, error)
	resolver  *net.Resolver // nil: the system's
	host      string        // of the registry, without port, plainly written
	plain     bool          // plain HTTP is allowed to any host
	inside    atomic.Bool   // the registry was reached at a private address,
	outside   atomic.Bool   // at a public one
	shaken    atomic.Bool
	redirects atomic.Int32
}

func newGuard(registry string, plain bool) *guard {
	g := &guard{proxy: http.ProxyFromEnvironment, host: plainHost(hostname(registry)), plain: plain}
	g.inner = &http.Transport{
		Proxy:                  func(req *http.Request) (*url.URL, error) { return proxyOf(req.Context()), nil },
		DialContext:            g.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    30 * time.Second,
		ResponseHeaderTimeout:  patience,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // what is hashed is what was sent
		ForceAttemptHTTP2:      true,
	}
	return g
}

// proxyKey is where the context of a request has its proxy, so that dial knows which
// connection is one to a proxy.
type proxyKey struct{}

func proxyOf(ctx context.Context) *url.URL {
	proxy, _ := ctx.Value(proxyKey{}).(*url.URL)
	return proxy
}

// private says that the registry is on a private address.
func (g *guard) private() bool {
	return isPrivate(g.host) || g.inside.Load() && !g.outside.Load()
}

func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 30 * time.Second, Resolver: g.resolver}
	if proxyOf(ctx) != nil {
		return d.DialContext(ctx, network, address)
	}
	host := plainHost(hostname(address))
	d.ControlContext = func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
		return g.mayDial(host, resolved)
	}
	conn, err := d.DialContext(ctx, network, address)
	if err == nil && host == g.host {
		if isPrivate(hostname(conn.RemoteAddr().String())) {
			g.inside.Store(true)
		} else {
			g.outside.Store(true)
		}
	}
	return conn, err
}

// mayDial is asked for each address that a host has.
func (g *guard) mayDial(host, resolved string) error {
	ip := plainHost(hostname(resolved))
	switch {
	case isLoopback(host) && !isLoopback(ip): // TLS is not asked of it
		return trouble("mend the name in /etc/hosts or DNS", "the name %s leads to the address %s, off this machine", plain.Line(host), ip)
	case !isPrivate(ip) || g.private() || host == g.host && !g.outside.Load():
		return nil
	case host == g.host:
		return trouble("ask whoever keeps the registry", "the registry %s was reached at a public address, and now leads to the private address %s", g.host, ip)
	}
	return leadsInside(g.host, plain.Line(host)+" at "+ip)
}

func leadsInside(registry, to string) error {
	return trouble("ask whoever keeps the registry", "the registry %s leads to the private address %s", registry, to)
}

func (g *guard) close() { g.CloseIdleConnections() }

// CloseIdleConnections is what an http.Client calls.
func (g *guard) CloseIdleConnections() {
	if c, ok := g.inner.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip refuses, or bounds the reply.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	host := plainHost(req.URL.Hostname())
	switch {
	case req.URL.Scheme != "https" && req.URL.Scheme != "http":
		return nil, trouble("ask whoever keeps the registry", "the registry %s leads to an address that begins with %.40q, not with https:", g.host, req.URL.Scheme+":")
	case host == "":
		return nil, trouble("ask whoever keeps the registry", "the registry %s leads to an address without a host", g.host)
	case host != g.host && isPrivate(host) && !g.private():
		return nil, leadsInside(g.host, plain.Line(host))
	case req.URL.Scheme != "https" && !g.plain && !(isLoopback(g.host) && isLoopback(host)):
		return nil, trouble("allow it with --plain-http if this network is trusted", "%s would be read without TLS", plain.Line(host))
	}
	proxy, err := g.proxy(req)
	if err != nil {
		return nil, trouble("see HTTPS_PROXY, HTTP_PROXY and NO_PROXY", "the environment names a proxy that cannot be used") // its words may hold a password
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(req.Context(), proxyKey{}, proxy))
	resp, err := g.inner.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if resp.StatusCode/100 != 3 {
		g.redirects.Store(0)
	} else if g.redirects.Add(1) > maxRedirects {
		resp.Body.Close()
		cancel(nil)
		return nil, redirects()
	}
	body := &watched{ReadCloser: resp.Body, ctx: ctx, cancel: cancel}
	body.timer = time.AfterFunc(patience, func() {
		cancel(trouble("try again later", "nothing came from %s for %v", host, patience))
	})
	resp.Body = body
	if !g.shaken.Load() {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(body, maxHandshake), body}
	}
	return resp, nil
}

func redirects() error {
	return trouble("ask whoever keeps the registry", "the registry redirects more than %d times", maxRedirects)
}

// watched is a body that ends when nothing comes.
type watched struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func (w *watched) Read(b []byte) (int, error) {
	w.timer.Reset(patience)
	n, err := w.ReadCloser.Read(b)
	if err != nil && err != io.EOF && w.ctx.Err() != nil {
		err = context.Cause(w.ctx)
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	w.cancel(nil)
	return w.ReadCloser.Close()
}

// hostname is a host and port without the port.
func hostname(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
}

// plainHost is the one spelling of a host's name or address: in lower case, without
// the dot of the root, the zone, or the IPv6 form of an IPv4 address.
func plainHost(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.WithZone("").Unmap().String()
	}
	return host
}

// isLoopback says that a host is this machine, surely enough to do without TLS.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// isPrivate says that a host is not one of the public network, as far as its name or
// address tells.
func isPrivate(host string) bool {
	host = plainHost(host)
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost" || strings.HasSuffix(host, ".localhost")
	}
	if nat64.Contains(ip) { // the last 4 bytes are an IPv4 address behind a translator
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	return !ip.IsGlobalUnicast() || ip.IsPrivate() ||
		slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// special are the networks that may be local, beside those that package netip knows
// (IANA's registries of special-purpose addresses).
var (
	nat64   = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	special = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),      // this network
		netip.MustParsePrefix("100.64.0.0/10"),  // shared, behind a provider's NAT
		netip.MustParsePrefix("192.0.0.0/24"),   // protocols
		netip.MustParsePrefix("198.18.0.0/15"),  // benchmarks
		netip.MustParsePrefix("240.0.0.0/4"),    // reserved
		netip.MustParsePrefix("::/96"),          // IPv4-compatible, once
		netip.MustParsePrefix("64:ff9b:1::/48"), // translation, locally
		netip.MustParsePrefix("2001::/32"),      // Teredo
		netip.MustParsePrefix("2002::/16"),      // 6to4
		netip.MustParsePrefix("fec0::/10"),      // site-local, once
	}
)
