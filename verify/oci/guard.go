package oci

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	maxRedirects = 5           // in a row
	maxHandshake = 1 << 20     // bytes of a body while access is negotiated
	patience     = time.Minute // without a byte
)

// A guard is the transport under all others: no request gets past it, be it for
// content, for a token or after a redirect.
type guard struct {
	inner     http.RoundTripper
	host      string // of the registry, without port
	plain     bool   // plain HTTP is allowed to any host
	shaken    atomic.Bool
	redirects atomic.Int32
}

func newGuard(registry string, plain bool) *guard {
	return &guard{
		inner: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    30 * time.Second,
			ResponseHeaderTimeout:  patience,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true, // what is hashed is what was sent
			ForceAttemptHTTP2:      true,
		},
		host:  hostname(registry),
		plain: plain,
	}
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
	host := req.URL.Hostname()
	if host != g.host && isPrivate(host) && !isPrivate(g.host) {
		return nil, trouble("ask whoever keeps the registry", "the registry %s leads to the private address %s", g.host, host)
	}
	if req.URL.Scheme != "https" && !g.plain && !(isLoopback(g.host) && isLoopback(host)) {
		return nil, trouble("allow it with --plain-http if this network is trusted", "%s would be read without TLS", host)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
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

func hostname(registry string) string {
	if host, _, err := net.SplitHostPort(registry); err == nil {
		return host
	}
	if n := len(registry); n > 2 && registry[0] == '[' && registry[n-1] == ']' {
		return registry[1 : n-1]
	}
	return registry
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func isPrivate(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil &&
		(ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsUnspecified())
}
