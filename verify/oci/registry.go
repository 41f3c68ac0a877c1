package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/assaylab/assay/verify/internal/strictjson"

	"github.com/assaylab/assay/verify/internal/plain"
)

// maxPages bounds a list of referrers.
const maxPages = 100

// A registry is a repository behind the OCI distribution API.
type registry struct {
	client *http.Client
	base   url.URL // …/v2/REPOSITORY
	host   string
}

func openRegistry(ctx context.Context, ref Ref, opts Options) (source, error) {
	repo := *ref.registry
	var err error
	if opts.PlainHTTP {
		if repo, err = name.NewRepository(repo.Name(), name.Insecure); err != nil {
			return nil, trouble(refHint, "%s cannot be read: %s", ref, plain.Line(err.Error()))
		}
	}
	auth := authn.Anonymous
	if opts.Keychain {
		if auth, err = authn.Resolve(ctx, authn.DefaultKeychain, repo); err != nil {
			return nil, trouble("log in again, or do without credentials", "cannot read the credentials for %s: %s", repo.RegistryStr(), plain.Line(err.Error()))
		}
	}
	g := newGuard(repo.RegistryStr(), opts.PlainHTTP)
	retry := transport.NewRetry(g, transport.WithRetryStatusCodes(
		http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	))
	signed, err := transport.NewWithContext(ctx, repo.Registry, auth, transport.NewUserAgent(retry, "assay"), []string{repo.Scope(transport.PullScope)})
	if err != nil {
		g.close()
		return nil, failed(repo.RegistryStr(), err)
	}
	g.shaken.Store(true)
	return &registry{
		client: &http.Client{Transport: signed, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return redirects()
			}
			return nil
		}},
		base: url.URL{Scheme: repo.Scheme(), Host: repo.RegistryStr(), Path: "/v2/" + repo.RepositoryStr()},
		host: repo.RegistryStr(),
	}, nil
}

// sweep has nothing to do: what else a repository holds is not this image's.
func (g *registry) sweep(context.Context, *reader) error { return nil }

func (g *registry) close() { g.client.CloseIdleConnections() }

// failed says what went wrong on the way to a registry.
func failed(host string, err error) error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	hint := "is it up, and the name right?"
	var status *transport.Error
	if errors.As(err, &status) {
		hint = statusHint(status.StatusCode)
	}
	return trouble(hint, "the registry %s cannot be read: %s", host, plain.Line(err.Error()))
}

func statusHint(code int) string {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "is access restricted? Then log in, and allow the stored credentials with --registry-credentials"
	case http.StatusNotFound:
		return "is it a registry, and the name right?"
	}
	return "try again later, or read a copy in a layout: skopeo copy docker://… oci:DIR"
}

// get asks for at. A status that is not 200 is an *Error, but 404 is a finding.
func (g *registry) get(ctx context.Context, at *url.URL, accept ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, failed(g.host, err)
	}
	for _, a := range accept {
		req.Header.Add("Accept", a)
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return nil, failed(g.host, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, absent("the registry does not have it")
	}
	return nil, &statusError{resp.StatusCode, Error{
		Msg:  fmt.Sprintf("the registry %s answers %d %s to GET %s", g.host, resp.StatusCode, http.StatusText(resp.StatusCode), plain.Line(at.Path)),
		Hint: statusHint(resp.StatusCode),
	}}
}

// A statusError is an *Error with the status that brought it.
type statusError struct {
	code int
	err  Error
}

func (e *statusError) Error() string { return e.err.Msg }
func (e *statusError) Unwrap() error { return &e.err }

// isRefusal says that a registry will not serve what is asked for, whoever asks and
// whenever: a digest that it does not understand, content under quarantine.
func isRefusal(err error) bool {
	var status *statusError
	if !errors.As(err, &status) || status.code/100 != 4 {
		return false
	}
	switch status.code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return true
}

func (g *registry) at(kind, identifier string) *url.URL { return g.base.JoinPath(kind, identifier) }

func (g *registry) open(ctx context.Context, d digest, isManifest bool) (io.ReadCloser, string, error) {
	if !isManifest {
		resp, err := g.get(ctx, g.at("blobs", d.String()))
		if err != nil {
			return nil, "", err
		}
		return resp.Body, "", nil
	}
	return g.manifest(ctx, d.String())
}

// manifest asks for a manifest by digest or tag.
func (g *registry) manifest(ctx context.Context, identifier string) (io.ReadCloser, string, error) {
	resp, err := g.get(ctx, g.at("manifests", identifier), ociIndex, ociManifest, dockerIndex, dockerManifest)
	if err != nil {
		return nil, "", err
	}
	return resp.Body, contentType(resp), nil
}

func contentType(resp *http.Response) string {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

func (g *registry) named(ctx context.Context, r *reader) ([]descriptor, error) {
	d := descriptor{digest: r.image, size: -1}
	_, err := r.manifest(ctx, d, 1)
	switch {
	case isAbsent(err):
		return nil, trouble(g.holds(ctx), "the repository %s%s has no image %s", g.host, strings.TrimPrefix(g.base.Path, "/v2"), r.image)
	case err != nil && !isFinding(err):
		return nil, err
	}
	return []descriptor{d}, nil
}

// holds names what the repository has, as far as it tells.
func (g *registry) holds(ctx context.Context) string {
	const nothing = "is the digest that of the manifest or index, in this repository?"
	at := g.at("tags", "list")
	at.RawQuery = fmt.Sprintf("n=%d", maxNamed)
	resp, err := g.get(ctx, at)
	if err != nil {
		return nothing
	}
	defer resp.Body.Close()
	const most = 1 << 20
	b, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return nothing
	}
	var tags some
	_ = object(b, map[string]func([]byte) error{"tags": func(v []byte) error {
		dec := json.NewDecoder(bytes.NewReader(v))
		return strictjson.ReadArray(dec, maxKeys, func() error {
			var tag string
			if err := dec.Decode(&tag); err != nil {
				return err
			}
			if !strings.HasPrefix(tag, "sha256-") {
				tags.add(plain.Line(fmt.Sprintf("%.100q", tag)))
			}
			return nil
		})
	}})
	if tags.n == 0 {
		return nothing
	}
	return "its tags are " + tags.String() + "; skopeo inspect tells their digests"
}

func (g *registry) attached(ctx context.Context, r *reader) ([]attached, error) {
	var all []attached
	for _, s := range []struct {
		suffix string
		kind   Kind
	}{{signatureSuffix, SimpleSigning}, {attestationSuffix, Envelope}} {
		tag := r.image.tag() + s.suffix
		m, err := g.tagged(ctx, r, tag)
		if err != nil {
			return nil, err
		}
		if m != nil {
			all = append(all, attached{tag, s.kind, m})
		}
	}
	list, err := g.referrers(ctx, r)
	if err != nil {
		return nil, err
	}
	// Material from before the registry had the API, or from a registry without it.
	m, err := g.tagged(ctx, r, r.image.tag())
	if err != nil {
		return nil, err
	}
	if m != nil {
		list = append(list, m.manifests...)
	}
	refs, err := r.referrers(ctx, list)
	return append(all, refs...), err
}

// tagged reads the manifest at a tag, or nil.
func (g *registry) tagged(ctx context.Context, r *reader, tag string) (*manifest, error) {
	body, served, err := g.manifest(ctx, tag)
	if isAbsent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer body.Close()
	raw, sum, err := g.whole(ctx, r, body)
	if err != nil {
		return r.readable(tag, nil, err)
	}
	m, err := r.parse(raw, sum, "", served)
	return r.readable(fmt.Sprintf("%s (%s)", tag, sum), m, err)
}

// whole reads a manifest whose digest nobody knows yet.
func (g *registry) whole(ctx context.Context, r *reader, body io.Reader) ([]byte, digest, error) {
	var raw bytes.Buffer
	n, sum, err := r.sum(ctx, body, digest{alg: "sha256"}, MaxManifest, &raw)
	if err == nil && n > MaxManifest {
		err = limit("it has more than %d bytes", MaxManifest)
	}
	if over := r.pay(0, raw.Len()); err == nil {
		err = over
	}
	return raw.Bytes(), sum, err
}

// referrers asks for the list that the API gives (OCI distribution specification,
// listing referrers), or none from a registry without it.
func (g *registry) referrers(ctx context.Context, r *reader) ([]descriptor, error) {
	var list []descriptor
	at := g.at("referrers", r.image.String())
	for range maxPages {
		resp, err := g.get(ctx, at, ociIndex)
		if noAPI(err) || err == nil && contentType(resp) != ociIndex {
			if err == nil {
				resp.Body.Close()
			}
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		raw, _, err := g.whole(ctx, r, resp.Body)
		resp.Body.Close()
		var over *LimitError
		if errors.As(err, &over) {
			r.missed(1, "a list of referrers is not looked at: %v", over)
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		page, err := parseManifest(raw, ociIndex, "")
		if err != nil {
			return nil, trouble(statusHint(0), "the list of referrers that the registry %s gives: %s", g.host, err)
		}
		fit := min(len(page.manifests), MaxDescriptors-len(list))
		list = append(list, page.manifests[:fit]...)
		if more := page.more + len(page.manifests) - fit; more > 0 {
			r.missed(more, "the list of referrers has more than %d entries, and the others are not looked at", MaxDescriptors)
			return list, nil
		}
		next := nextPage.FindStringSubmatch(resp.Header.Get("Link"))
		if next == nil {
			return list, nil
		}
		to, err := at.Parse(next[1])
		if err != nil || to.Host != at.Host || !strings.HasPrefix(to.Path, "/v2/") {
			return nil, trouble(statusHint(0), "the list of referrers of the registry %s goes on elsewhere, at %.200q", g.host, next[1])
		}
		to.Scheme = at.Scheme
		at = to
	}
	r.missed(1, "the list of referrers has more than %d pages, and the others are not looked at", maxPages)
	return list, nil
}

var nextPage = regexp.MustCompile(`^\s*<([^>]*)>\s*;\s*rel="?next"?`)

// noAPI says that a registry does not know the referrers API: some do not answer 404.
func noAPI(err error) bool {
	var status *statusError
	if errors.As(err, &status) {
		return status.code == http.StatusBadRequest || status.code == http.StatusMethodNotAllowed || status.code == http.StatusNotAcceptable
	}
	return isAbsent(err)
}
