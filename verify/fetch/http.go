package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/assaylab/assay/verify/internal/plain"
)

const (
	maxFailures = 5         // in a row, without much coming between them
	maxRestarts = 5         // from the first byte, as the file changed or the server knows no ranges
	much        = 256 << 10 // bytes
	maxPieces   = 500       // connections in all: a server that sends much at a time, and breaks, has no end
	maxAnew     = 1 << 30   // bytes that come a second time, beyond the limit of a file
	firstPause  = time.Second
	maxPause    = 30 * time.Second
	maxURL      = 8 << 10 // bytes
)

// agent is what servers are told; not which version, as that is nobody's business.
const agent = "assay"

func parseURL(text string) (*url.URL, error) {
	if len(text) > maxURL {
		return nil, trouble("", "an address of more than %d bytes", maxURL)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, trouble("write https://HOST/PATH", "%.200q is no address", shown(text))
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, trouble("write https://HOST/PATH", "%.200q is no https address", shown(text))
	case u.Hostname() == "":
		return nil, trouble("write https://HOST/PATH", "%.200q names no host", shown(text))
	case u.User != nil:
		return nil, trouble("leave it out: addresses are shown in reports", "the address of a file at %s has a user's name in it", u.Host)
	}
	u.Fragment, u.RawFragment = "", "" // is for readers of a page
	return u, nil
}

// fileName is what to call the file at an address.
func fileName(u *url.URL) string {
	name := strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '_'
		}
		return r
	}, path.Base(u.Path))
	if name == "." || name == ".." || name == "_" || len(name) > 255 {
		return "download"
	}
	return name
}

// fetchURL brings the file at an address.
func (f *Fetcher) fetchURL(ctx context.Context, r Request) (*Artifact, error) {
	u, err := parseURL(r.URL)
	if err != nil {
		return nil, err
	}
	a := &Artifact{Name: fileName(u), From: r.Name()}
	if ok, err := f.cached(ctx, r, a); ok || err != nil {
		return a, err
	}
	if !f.Network {
		return nil, &OfflineError{a.From}
	}
	there := func() bool {
		if r.SHA256 == "" {
			return false
		}
		_, err := os.Stat(f.Cache.path(r.SHA256))
		return err == nil
	}
	p, err := f.Cache.claim(ctx, u.String(), there, func() { f.say("another process fetches %s: waiting for it", a.From) })
	if err != nil {
		return nil, err
	}
	if p != nil {
		defer p.close()
	}
	// Somebody else may have been faster.
	if ok, err := f.cached(ctx, r, a); ok || err != nil {
		if p != nil {
			p.drop()
		}
		return a, err
	}
	if p == nil { // it was there, and is gone again
		return f.fetchURL(ctx, r)
	}
	client, done := f.client(u)
	defer done()
	d := &download{fetcher: f, partial: p, client: client, url: u, name: a.From, pinned: r.SHA256 != "", limit: r.MaxSize}
	entry, err := d.bring(ctx, r.SHA256)
	if err != nil {
		return nil, err
	}
	switch {
	case r.SHA256 == "":
		return nil, &UnpinnedError{Name: a.From, Seen: entry.SHA256, Size: entry.Size, Pieces: d.pieces}
	case r.SHA256 != entry.SHA256:
		return nil, &MismatchError{Name: a.From, Want: r.SHA256, Seen: entry.SHA256, Pieces: d.pieces}
	}
	a.Path, a.Size, a.SHA256 = f.Cache.path(entry.SHA256), entry.Size, entry.SHA256
	return a, nil
}

// cached completes an artifact from the cache, if its file is there.
func (f *Fetcher) cached(ctx context.Context, r Request, a *Artifact) (bool, error) {
	if r.SHA256 == "" {
		return false, nil
	}
	file, err := f.Cache.Get(ctx, r.SHA256)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return false, unusable(err)
	}
	if info.Size() > r.MaxSize {
		return false, tooLarge(a.From, r.MaxSize)
	}
	a.Path, a.Size, a.SHA256, a.Cached = file.Name(), info.Size(), r.SHA256, true
	return true, nil
}

// A download is the fetching of one address into one partial file.
type download struct {
	fetcher  *Fetcher
	partial  *partial
	client   *http.Client
	url      *url.URL
	name     string // of the file, in messages
	pinned   bool
	limit    int64 // bytes
	restarts int
	asked    int   // requests
	taken    int64 // bytes, those that were thrown away too
	pieces   bool  // the file is of several replies
	joined   bool  // the file is of several replies, or nothing told that the last one is whole
	said     int64
}

// A brokenError is a failure that may not be there the next time.
type brokenError struct {
	what  string
	after time.Duration // not before that
}

func (e *brokenError) Error() string { return e.what }

func broken(format string, args ...any) error {
	return &brokenError{what: fmt.Sprintf(format, args...)}
}

// passing says that an error may not be there the next time.
func passing(err error) bool {
	var again *brokenError
	return errors.As(err, &again)
}

// bring downloads all of the file and enters it into the cache.
func (d *download) bring(ctx context.Context, want string) (Entry, error) {
	p := d.partial
	// Without a pin nothing would tell that a crash of the machine spoiled what an earlier process left.
	if d.pinned {
		if err := p.resume(ctx); err != nil {
			return Entry{}, err
		}
	}
	if p.at > d.limit {
		return Entry{}, tooLarge(d.name, d.limit)
	}
	if !d.pinned {
		if err := p.reset(mark{URL: d.url.String(), Total: -1}); err != nil {
			return Entry{}, err
		}
	}
	d.pieces = p.at > 0
	if d.joined = d.pieces; d.joined {
		d.fetcher.say("%s: going on after %d bytes", d.name, p.at)
	}
	for first := true; ; first = false {
		if err := d.all(ctx); err != nil {
			return Entry{}, err
		}
		if !first || !d.joined || !d.pinned || p.digest() == want {
			return p.finish()
		}
		// The pieces may be of different files, or the end be missing.
		d.fetcher.say("%s: what came in pieces is not the pinned file: fetching it anew", d.name)
		if err := d.restart("what came in pieces is not the pinned file"); !passing(err) {
			return Entry{}, err
		}
	}
}

// all sends requests until all of the file is there.
func (d *download) all(ctx context.Context) error {
	for failures := 0; ; {
		before := d.partial.at
		whole, err := d.once(ctx)
		switch {
		case whole:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if d.partial.at-before >= much {
			failures = 0
		}
		var again *brokenError
		switch {
		case err == nil: // a piece of what was asked for
			again = &brokenError{what: "it comes in small pieces"}
		case !errors.As(err, &again):
			return err
		}
		d.joined = true
		if failures++; failures > maxFailures {
			return trouble("try again later: what came is kept, and the next try goes on from there", "cannot fetch %s: %s", d.name, again.what)
		}
		if err == nil {
			continue
		}
		pause := max(again.after, d.fetcher.pause()<<(failures-1))
		d.fetcher.say("%s: %s; trying again", d.name, again.what)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(pause, maxPause)):
		}
	}
}

func (f *Fetcher) pause() time.Duration {
	if f.backoff != 0 {
		return f.backoff
	}
	return firstPause
}

func (f *Fetcher) patience() time.Duration {
	if f.idle != 0 {
		return f.idle
	}
	return idle
}

// once sends one request for what is missing, and takes what comes. It says whether all is there.
func (d *download) once(ctx context.Context) (bool, error) {
	p := d.partial
	if p.at > 0 && !d.pinned && p.mark.Validator == "" {
		// Nothing would tell that the rest is of another file.
		if err := d.restart("the connection broke, and the server names no version of the file to go on with"); !passing(err) {
			return false, err
		}
	}
	if p.at > 0 && p.complete() {
		return true, nil
	}
	if d.asked++; d.asked > maxPieces {
		return false, &LimitError{
			Msg:  fmt.Sprintf("%s did not come over %d connections", d.name, maxPieces),
			Hint: "if that server is right, fetch it again: what came is kept, and the next try goes on from there",
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url.String(), nil)
	if err != nil {
		return false, trouble("write https://HOST/PATH", "%s is no address", d.name)
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", agent)
	if p.at > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", p.at))
		if p.mark.Validator != "" {
			req.Header.Set("If-Range", p.mark.Validator)
		}
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return false, d.explain(ctx, err)
	}
	defer resp.Body.Close()
	last, framed := int64(-1), resp.ContentLength >= 0 || resp.ProtoMajor > 1 || len(resp.TransferEncoding) > 0
	switch resp.StatusCode {
	case http.StatusOK:
		err = d.begin(resp)
	case http.StatusPartialContent:
		last, err = d.resumed(resp)
	case http.StatusRequestedRangeNotSatisfiable:
		return d.beyond(resp)
	default:
		return false, d.refused(resp)
	}
	if err != nil {
		return false, err
	}
	if err := d.take(ctx, resp.Body, last); err != nil {
		return false, err
	}
	switch {
	case p.mark.Total >= 0 && p.at > p.mark.Total:
		return false, d.restart("more came than was announced")
	case p.mark.Total >= 0:
		return p.complete(), nil
	case last >= 0: // a piece, and who knows of how much
		return false, nil
	}
	d.joined = d.joined || !framed
	return true, nil
}

// begin makes ready for the file from its first byte.
func (d *download) begin(resp *http.Response) error {
	p := d.partial
	if resp.ContentLength > d.limit {
		return tooLarge(d.name, d.limit)
	}
	m := mark{URL: d.url.String(), Validator: validator(resp.Header), Total: resp.ContentLength}
	if p.at > 0 {
		if d.restarts++; d.restarts > maxRestarts {
			return d.changing("the server began again with the first byte")
		}
		d.fetcher.say("%s: the server begins again with the first byte", d.name)
	}
	d.joined, d.pieces = false, false
	return p.reset(m)
}

// resumed makes ready for the rest of the file, and says which byte is the last of the reply.
func (d *download) resumed(resp *http.Response) (last int64, err error) {
	p := d.partial
	first, last, total, ok := contentRange(resp.Header.Get("Content-Range"))
	now := validator(resp.Header)
	switch {
	case !ok || first != p.at:
		return 0, d.restart("another range came than the one that was asked for")
	case p.at == 0:
		return 0, d.restart("a range came where none was asked for")
	case total >= 0 && p.mark.Total >= 0 && total != p.mark.Total,
		isTag(now) && isTag(p.mark.Validator) && now != p.mark.Validator:
		return 0, d.restart("the file changed meanwhile")
	case total > d.limit:
		return 0, tooLarge(d.name, d.limit)
	}
	if p.mark.Total < 0 {
		p.mark.Total = total
	}
	d.joined, d.pieces = true, true
	return last, nil
}

// beyond answers the reply that there is nothing after what there is already.
func (d *download) beyond(resp *http.Response) (bool, error) {
	if d.partial.at == 0 {
		return false, d.refused(resp)
	}
	if total, err := strconv.ParseInt(strings.TrimPrefix(resp.Header.Get("Content-Range"), "bytes */"), 10, 64); err == nil && total == d.partial.at && d.partial.mark.Total < 0 {
		d.joined = true
		return true, nil
	}
	return false, d.restart("the server has nothing after what came before")
}

// refused explains a reply without the file.
func (d *download) refused(resp *http.Response) error {
	status := plain.Bounded(resp.Status, 100)
	switch code := resp.StatusCode; {
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code/100 == 5:
		e := &brokenError{what: "the server answers " + status}
		if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 && s < 3600 {
			e.after = time.Duration(s) * time.Second
		}
		return e
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return trouble("it may want credentials, which are not given to anybody here: fetch it by other means, and name the file", "cannot fetch %s: the server answers %s", d.name, status)
	}
	return trouble("check the address; what is pinned may have been moved elsewhere", "cannot fetch %s: the server answers %s", d.name, status)
}

// restart throws away what came, for a reason that makes it worthless, and has it asked for again. It is an error
// always, a brokenError while it may help.
func (d *download) restart(why string) error {
	if d.restarts++; d.restarts > maxRestarts {
		return d.changing(why)
	}
	if err := d.partial.reset(mark{URL: d.url.String(), Total: -1}); err != nil {
		return err
	}
	return broken("%s", why)
}

func (d *download) changing(why string) error {
	return trouble("ask whoever keeps the server, or try again later", "cannot fetch %s: after %d new beginnings: %s", d.name, maxRestarts, why)
}

// take writes what comes, up to the byte last where that is not negative.
func (d *download) take(ctx context.Context, body io.Reader, last int64) error {
	p := d.partial
	buf := make([]byte, 1<<16)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := body.Read(buf)
		if last >= 0 && int64(n) > last+1-p.at {
			return d.restart("more came than was announced")
		}
		if p.at+int64(n) > d.limit {
			p.drop() // it was not announced, and may have no end
			return tooLarge(d.name, d.limit)
		}
		if d.taken += int64(n); d.taken > d.limit+min(d.limit, maxAnew) {
			return &LimitError{
				Msg:  fmt.Sprintf("%s: %d bytes came, with those that came anew, and the file is not there", d.name, d.taken),
				Hint: "ask whoever keeps the server; or raise the limit with --max-size",
			}
		}
		if _, err := p.Write(buf[:n]); err != nil {
			return err
		}
		d.progress()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return d.explain(ctx, err)
		}
	}
}

// progress says a word at each tenth of a large file.
func (d *download) progress() {
	total := d.partial.mark.Total
	if total < 64<<20 {
		return
	}
	if tenth := d.partial.at / (total / 10); tenth != d.said {
		d.said = tenth
		d.fetcher.say("%s: %d of %d bytes", d.name, d.partial.at, total)
	}
}

// explain tells what may be tried again from what may not.
func (d *download) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var own *Error
	var limit *LimitError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var name *net.DNSError
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // it names the address where it failed, which may be one that the server made up
	}
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &limit):
		return limit
	case errors.As(err, &certificate):
		return trouble("if that host has a certificate of your own authority, name the authority with --ca-file", "cannot fetch %s: %s", d.name, plain.Line(certificate.Error()))
	case errors.As(err, &record):
		return trouble("does it speak https?", "cannot fetch %s: %s", d.name, plain.Line(err.Error()))
	case errors.As(err, &name) && name.IsNotFound:
		return trouble("check the address and the network", "cannot fetch %s: there is no host %s", d.name, plain.Line(name.Name))
	case errors.Is(err, syscall.ECONNREFUSED):
		return trouble("check the address and the proxy (HTTPS_PROXY)", "cannot fetch %s: %s", d.name, plain.Line(err.Error()))
	}
	return broken("%s", plain.Line(err.Error()))
}

// validator is what If-Range is given: a strong entity tag, else the date of change (RFC 9110, 13.1.5).
func validator(h http.Header) string {
	if tag := h.Get("ETag"); isTag(tag) && len(tag) <= 1<<10 {
		return tag
	}
	date := h.Get("Last-Modified")
	if _, err := http.ParseTime(date); err != nil || len(date) > 100 {
		return ""
	}
	return date
}

func isTag(s string) bool { return strings.HasPrefix(s, `"`) }

// contentRange reads a header Content-Range (RFC 9110, 14.4); total is -1 where unknown.
func contentRange(h string) (first, last, total int64, ok bool) {
	span, whole, ok1 := strings.Cut(strings.TrimPrefix(h, "bytes "), "/")
	from, to, ok2 := strings.Cut(span, "-")
	number := func(s string) int64 {
		n, err := strconv.ParseUint(s, 10, 63)
		if err != nil {
			ok1 = false
		}
		return int64(n)
	}
	first, last, total = number(from), number(to), -1
	if whole != "*" {
		total = number(whole)
	}
	ok = ok1 && ok2 && strings.HasPrefix(h, "bytes ") && first <= last && (total < 0 || last < total)
	return first, last, total, ok
}
