package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/assaylab/assay/verify/internal/strictjson"
	"github.com/assaylab/assay/verify/trust/anchor"
)

const (
	maxRedirects = 5
	maxHeader    = 64 << 10 // bytes of one answer's header
)

const (
	tamperHint = "do not work around this: someone may be answering in the repository's place, or the repository is broken; the old file, if any, is still there. Ask its operator over another channel"
	netHint    = "check the address, the network and the proxy (HTTPS_PROXY); the old file, if any, is still there. Where there is no network, carry the file over and compare its sha256"
)

// A source is where a trusted root comes from.
type source struct {
	url       *url.URL // of the repository
	root      []byte   // root.json to start from
	target    string
	plainHTTP bool
}

// An offer is a trusted root that verified, with the versions of its metadata.
type offer struct {
	data    []byte
	receipt anchor.Receipt
}

// fetch gets the target of the source. last, if not nil, holds the versions that
// may not go back.
func (s source) fetch(ctx context.Context, last *anchor.Receipt) (o offer, err error) {
	files, done := s.fetcher(ctx)
	defer done()
	up, err := s.updater(files)
	if err != nil {
		return o, err
	}
	// The TUF library follows fields that hostile metadata need not have.
	defer func() {
		if p := recover(); p != nil {
			err = refused(tamperHint, "what %s offers cannot be read: a parser panicked: %v", s.url, p)
		}
	}()
	if err := up.Refresh(); err != nil {
		return o, s.explain(err)
	}
	set := up.GetTrustedMetadataSet()
	o.receipt = s.receipt(set)
	if err := notBack(last, &o.receipt); err != nil {
		return o, err
	}
	o.data, err = s.download(up, set.Targets[metadata.TARGETS].Signed.Targets[s.target])
	return o, err
}

// updater starts from the caller's root, without network.
func (s source) updater(files *fetcher) (up *updater.Updater, err error) {
	unfit := func(why any) error {
		return trouble("give the root.json that the repository's operator handed you", "the TUF root to start from does not do: %v", why)
	}
	defer func() {
		if p := recover(); p != nil {
			err = unfit(p)
		}
	}()
	cfg, err := config.New(s.url.String(), s.root)
	if err != nil {
		return nil, unfit(oneLine(err))
	}
	cfg.Fetcher = files
	cfg.DisableLocalCache = true
	// Looked into all the same, and if empty the working folder is: below a device
	// there is nothing.
	cfg.LocalMetadataDir = os.DevNull
	if up, err = updater.New(cfg); err != nil {
		return nil, unfit(oneLine(err))
	}
	return up, nil
}

func (s source) download(up *updater.Updater, t *metadata.TargetFiles) ([]byte, error) {
	if t == nil {
		return nil, trouble("--target is its name in the repository; sigstore's public instance calls it trusted_root.json", "%s lists no target %q", s.url, s.target)
	}
	// The library takes any of the hashes for the name of the file; of several,
	// the same one every time.
	named := *t
	if sum, ok := t.Hashes["sha256"]; ok {
		named.Hashes = metadata.Hashes{"sha256": sum}
	}
	_, data, err := up.DownloadTarget(&named, "", "")
	if err == nil {
		err = t.VerifyLengthHashes(data)
	}
	if err != nil {
		return nil, s.explain(err)
	}
	return data, nil
}

// explain tells errors about what was fetched from errors of fetching it, which
// the fetcher has made already.
func (s source) explain(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	hint := tamperHint
	switch {
	case errors.Is(err, &metadata.ErrExpiredMetadata{}):
		hint = "is this machine's clock right? Else the repository is not kept up, or someone shows an old state of it; the old file, if any, is still there"
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}), errors.Is(err, &metadata.ErrValue{}):
		hint = "either the TUF root to start from belongs to another repository, or someone is answering in this one's place; the old file, if any, is still there"
	}
	return refused(hint, "what %s offers does not verify: %v", s.url, oneLine(err))
}

func (s source) receipt(set trustedmetadata.TrustedMetadata) anchor.Receipt {
	return anchor.Receipt{
		Schema: anchor.Schema, Repository: s.url.String(), Target: s.target,
		RootVersion:      set.Root.Signed.Version,
		TimestampVersion: set.Timestamp.Signed.Version,
		TimestampExpires: set.Timestamp.Signed.Expires.UTC().Truncate(time.Second),
		SnapshotVersion:  set.Snapshot.Signed.Version,
		TargetsVersion:   set.Targets[metadata.TARGETS].Signed.Version,
	}
}

// notBack refuses metadata that is older than what was seen before.
func notBack(last, now *anchor.Receipt) error {
	if last == nil {
		last = &anchor.Receipt{}
	}
	for _, v := range []struct {
		role     string
		was, now int64
	}{
		{"root", last.RootVersion, now.RootVersion},
		{"timestamp", last.TimestampVersion, now.TimestampVersion},
		{"snapshot", last.SnapshotVersion, now.SnapshotVersion},
		{"targets", last.TargetsVersion, now.TargetsVersion},
	} {
		if v.now < 1 {
			return refused(tamperHint, "what %s offers does not verify: its %s version is %d", now.Repository, v.role, v.now)
		}
		if v.now < v.was {
			return refused("someone may be showing you an old state of the repository. If its operator says that it was set up anew, move the old file and its receipt away first",
				"%s went back: its %s version is %d, and was %d at %s", now.Repository, v.role, v.now, v.was, last.FetchedAt.Format(time.RFC3339))
		}
	}
	return nil
}

// A fetcher downloads the files of a repository, for the TUF library.
type fetcher struct {
	ctx    context.Context // of the one call of fetch that it serves: the library passes none
	client *http.Client
}

func (s source) fetcher(ctx context.Context) (f *fetcher, done func()) {
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    15 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}
	return &fetcher{ctx: ctx, client: &http.Client{Transport: transport, CheckRedirect: s.redirect}}, transport.CloseIdleConnections
}

// redirect allows few redirects, none of which leaves TLS.
func (s source) redirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case req.URL.Scheme == "https", req.URL.Scheme == "http" && (s.plainHTTP || loopback(s.url) && loopback(req.URL)):
		return nil
	}
	return fmt.Errorf("redirected to %q, which is not https", req.URL.Scheme+"://"+req.URL.Host)
}

// DownloadFile gets one file of at most length bytes. Its error is an [Error],
// and as the library wants it a [metadata.ErrDownloadHTTP] for an answer other
// than 200. The duration is not used: time is bounded for all files together.
func (f *fetcher) DownloadFile(address string, length int64, _ time.Duration) ([]byte, error) {
	length = min(length, MaxFile)
	req, err := http.NewRequestWithContext(f.ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, trouble(netHint, "cannot fetch %q: %w", address, err)
	}
	req.Header.Set("User-Agent", "assay")
	res, err := f.client.Do(req)
	if err != nil {
		return nil, f.failed(address, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, trouble("is this the address of a TUF repository? "+netHint, "cannot fetch %q: %w", address,
			&metadata.ErrDownloadHTTP{StatusCode: res.StatusCode, URL: path.Base(address)})
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, length+1))
	switch {
	case err != nil:
		return nil, f.failed(address, err)
	case int64(len(b)) > length:
		return nil, refused(tamperHint, "%q is larger than the %d bytes that it may have", address, length)
	}
	if err := strictjson.CheckShape(b); err != nil {
		return nil, refused(tamperHint, "%q cannot be read: %w", address, err)
	}
	return b, nil
}

func (f *fetcher) failed(address string, err error) error {
	if cause := context.Cause(f.ctx); cause != nil {
		err = cause
	}
	var u *url.Error
	if errors.As(err, &u) { // it repeats the address
		err = u.Err
	}
	shown := trouble(netHint, "cannot fetch %q: %v", address, oneLine(err))
	shown.err = err
	return shown
}

// repository parses the address of a repository.
func repository(address string, plainHTTP bool) (*url.URL, error) {
	const hint = "give the https address of the repository's metadata folder, such as https://tuf.lab.example/sigstore"
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, trouble(hint, "%q is not an address", address)
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return nil, trouble(hint, "%q is not an https address", address)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, trouble(hint+"; it is kept in the receipt", "an address with a password, a query or a fragment does not do")
	case u.Scheme == "http" && !plainHTTP && !loopback(u):
		return nil, trouble("use https; or --plain-http: what is fetched is verified all the same, but anyone on the way can hold back the newest", "%q is not an https address", address)
	}
	return u, nil
}

// loopback says whether the host is this machine.
func loopback(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}
