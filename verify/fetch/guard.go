package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/assaylab/assay/verify/internal/address"
	"github.com/assaylab/assay/verify/internal/plain"
)

const (
	maxRedirects = 10
	idle         = time.Minute // without a byte, or with fewer than leastInIdle
	leastInIdle  = 64 << 10    // bytes
	connecting   = 30 * time.Second
)

const leadHint = "ask whoever keeps that address; to fetch from where it leads, name that place yourself"

// A guard is the transport under all requests for what the user named by one address; none gets past it, after a
// redirect neither.
//
// The host that was named may be on a private address: the user knows why. Of one that is not, and of one that was
// reached at a public address even once, nothing leads to a private address, neither by name nor by what a name
// resolves to. Of what a proxy connects to only the names are known here; the proxy itself may be anywhere.
type guard struct {
	inner    *http.Transport
	proxy    func(*http.Request) (*url.URL, error)
	resolver *net.Resolver // nil: the system's
	host     string        // that was named, plainly written
	patience time.Duration
	now      func() time.Time
	inside   atomic.Bool // it was reached at a private address,
	outside  atomic.Bool // at a public one
}

func newGuard(host string, authorities *x509.CertPool, patience time.Duration) *guard {
	g := &guard{proxy: http.ProxyFromEnvironment, host: address.Plain(host), patience: patience, now: time.Now}
	g.inner = &http.Transport{
		Proxy:                  func(req *http.Request) (*url.URL, error) { return proxyOf(req.Context()), nil },
		DialContext:            g.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities},
		TLSHandshakeTimeout:    connecting,
		ResponseHeaderTimeout:  patience,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // what is digested is what was sent
		ForceAttemptHTTP2:      true,
	}
	return g
}

// proxyKey is where the context of a request has its proxy, so that dial knows which connection is one to a proxy.
type proxyKey struct{}

func proxyOf(ctx context.Context) *url.URL {
	proxy, _ := ctx.Value(proxyKey{}).(*url.URL)
	return proxy
}

// private says that the host which was named is on a private address.
func (g *guard) private() bool {
	return address.IsPrivate(g.host) || g.inside.Load() && !g.outside.Load()
}

func (g *guard) dial(ctx context.Context, network, to string) (net.Conn, error) {
	d := net.Dialer{Timeout: connecting, Resolver: g.resolver}
	if proxyOf(ctx) != nil {
		return d.DialContext(ctx, network, to)
	}
	host := address.Plain(address.Host(to))
	d.ControlContext = func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
		return g.mayDial(host, address.Plain(address.Host(resolved)))
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
func (g *guard) mayDial(host, ip string) error {
	switch {
	case !address.IsPrivate(ip) || g.private() || host == g.host && !g.outside.Load():
		return nil
	case host == g.host:
		return trouble(leadHint, "%s was reached at a public address, and now leads to the private address %s", g.host, ip)
	}
	return trouble(leadHint, "%s leads to the private address %s of %s", g.host, ip, plain.Line(host))
}

// CloseIdleConnections is what an http.Client calls.
func (g *guard) CloseIdleConnections() { g.inner.CloseIdleConnections() }

// RoundTrip refuses, or watches over the reply.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	host := address.Plain(req.URL.Hostname())
	switch {
	case req.URL.Scheme != "https" && req.URL.Scheme != "http":
		return nil, trouble(leadHint, "%s leads to an address that begins with %.40q, not with https:", g.host, req.URL.Scheme+":")
	case host == "":
		return nil, trouble(leadHint, "%s leads to an address without a host", g.host)
	case req.Response != nil && req.Response.Request.URL.Scheme == "https" && req.URL.Scheme == "http":
		return nil, trouble(leadHint, "%s leads from https to plain http, at %s", g.host, plain.Line(host))
	case req.Response != nil && req.URL.User != nil:
		return nil, trouble(leadHint, "%s leads to an address with a user's name in it", g.host)
	case host != g.host && address.IsPrivate(host) && !g.private():
		return nil, trouble(leadHint, "%s leads to the private address %s", g.host, plain.Line(host))
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
	body := &watched{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, patience: g.patience, host: host, now: g.now}
	body.timer = time.AfterFunc(g.patience, func() { cancel(&stalledError{host, g.patience}) })
	resp.Body = body
	return resp, nil
}

// A stalledError says that a connection fell silent.
type stalledError struct {
	host     string
	patience time.Duration
}

func (e *stalledError) Error() string {
	return "nothing came from " + plain.Line(e.host) + " for " + e.patience.String()
}

// A slowError says that next to nothing came. It is told from other limits, which are on sizes.
type slowError struct{ limit *LimitError }

func (e *slowError) Error() string { return e.limit.Msg }
func (e *slowError) Unwrap() error { return e.limit }

// redirect is the http.Client's: it bounds redirects, and tells no host where it was named.
func redirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return trouble(leadHint, "%s redirects more than %d times", plain.Line(via[0].URL.Host), maxRedirects)
	}
	req.Header.Del("Referer")
	return nil
}

// watched is a body that ends when nothing comes, or next to nothing: a byte now and then would hold a fetch for ever.
type watched struct {
	io.ReadCloser
	ctx      context.Context
	cancel   context.CancelCauseFunc
	timer    *time.Timer
	patience time.Duration
	host     string
	now      func() time.Time
	waited   time.Duration // for the bytes that came of late; the time that the reader takes is not the server's
	came     int64         // bytes
	slow     error         // for good: who reads in full does not see an error that comes with the last byte
}

func (w *watched) Read(b []byte) (int, error) {
	if w.slow != nil {
		return 0, w.slow
	}
	w.timer.Reset(w.patience)
	before := w.now()
	n, err := w.ReadCloser.Read(b)
	w.waited += w.now().Sub(before)
	w.came += int64(n)
	if err == nil && w.waited >= w.patience {
		if w.came < leastInIdle {
			w.slow = &slowError{&LimitError{
				Msg:  fmt.Sprintf("%s sends too slowly: %d bytes in %s, fewer than %d", plain.Line(w.host), w.came, w.waited.Round(time.Millisecond), leastInIdle),
				Hint: "try again later, or name another place that has it",
			}}
		}
		w.waited, w.came, err = 0, 0, w.slow
	}
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
