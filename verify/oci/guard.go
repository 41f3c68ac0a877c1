package oci

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/assaylab/assay/verify/internal/address"
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
	g := &guard{proxy: http.ProxyFromEnvironment, host: address.Plain(address.Host(registry)), plain: plain}
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
	return address.IsPrivate(g.host) || g.inside.Load() && !g.outside.Load()
}

func (g *guard) dial(ctx context.Context, network, to string) (net.Conn, error) {
	d := net.Dialer{Timeout: 30 * time.Second, Resolver: g.resolver}
	if proxyOf(ctx) != nil {
		return d.DialContext(ctx, network, to)
	}
	host := address.Plain(address.Host(to))
	d.ControlContext = func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
		return g.mayDial(host, resolved)
	}
	conn, err := d.DialContext(ctx, network, to)
	if err == nil && host == g.host {
		if address.IsPrivate(address.Host(conn.RemoteAddr().String())) {
			g.inside.Store(true)
		} else {
			g.outside.Store(true)
		}
	}
	return conn, err
}

// mayDial is asked for each address that a host has.
func (g *guard) mayDial(host, resolved string) error {
	ip := address.Plain(address.Host(resolved))
	switch {
	case isLoopback(host) && !isLoopback(ip): // TLS is not asked of it
		return trouble("mend the name in /etc/hosts or DNS", "the name %s leads to the address %s, off this machine", plain.Line(host), ip)
	case !address.IsPrivate(ip) || g.private() || host == g.host && !g.outside.Load():
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
	host := address.Plain(req.URL.Hostname())
	switch {
	case req.URL.Scheme != "https" && req.URL.Scheme != "http":
		return nil, trouble("ask whoever keeps the registry", "the registry %s leads to an address that begins with %.40q, not with https:", g.host, req.URL.Scheme+":")
	case host == "":
		return nil, trouble("ask whoever keeps the registry", "the registry %s leads to an address without a host", g.host)
	case host != g.host && address.IsPrivate(host) && !g.private():
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

// isLoopback says that a host is this machine, surely enough to do without TLS.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
