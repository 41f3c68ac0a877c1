package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/assaylab/assay/verify/internal/plain"
	"github.com/assaylab/assay/verify/internal/strictjson"
	"github.com/assaylab/assay/verify/oci"
)

// Limits on an OCI manifest or index, and on the config of an image.
const (
	maxManifest  = 4 << 20 // bytes
	maxLayers    = 512
	maxHandshake = 1 << 20 // bytes of an answer while access is negotiated
)

// fetchOCI brings what a manifest names by digest, in a registry or in a layout:
//
//   - of a container image, that is, one whose layers are all tar archives and whose config is an image's, a tar
//     archive of its root file system: see rootfs;
//   - of any other artifact with one layer, that layer as it is.
//
// Of an index the one image for linux and this machine's processor is taken, and a note says which. A manifest, a
// config and a layer count only as what their digests say, and the layers of an image, uncompressed, as what its config
// says (OCI image specification 1.1, manifest.md, config.md, layer.md). Each layer stays in the cache, so that a fetch
// that was interrupted goes on with the next one.
func (f *Fetcher) fetchOCI(ctx context.Context, r Request) (*Artifact, error) {
	ref, is, err := oci.ParseRef(r.OCI)
	var wrong *oci.Error
	switch {
	case errors.As(err, &wrong):
		return nil, &Error{Msg: wrong.Msg, Hint: wrong.Hint}
	case err != nil || !is:
		return nil, trouble(requestHint, "%.200q is no image or artifact", r.OCI)
	}
	place, sum, pinned := cutLast(ref.String(), "@sha256:")
	if !pinned {
		return nil, trouble("write it as oci:DIR@sha256:HEX; index.json of the layout tells the digests that are there", "%s is not pinned", r)
	}
	// The processor is part of the key: an index has another image for each.
	alias := Alias{"oci/v1", "sha256:" + sum + " " + runtime.GOARCH}
	file := repositoryName(strings.TrimPrefix(place, "oci:")) + "-" + sum[:12]
	return f.derive(ctx, r, alias, file, ref.Network(), func(w io.Writer) ([]string, error) {
		d := &depot{fetcher: f, request: r}
		var done func()
		if ref.Network() {
			d.open, done, err = f.openRegistry(ctx, strings.TrimPrefix(place, "docker://"), r.MaxSize)
		} else {
			d.open, done, err = openLayout(strings.TrimPrefix(place, "oci:"))
		}
		if err != nil {
			return nil, d.failed(ctx, err)
		}
		defer done()
		return d.make(ctx, v1.Hash{Algorithm: "sha256", Hex: sum}, w)
	})
}

// A depot is where blobs come from.
type depot struct {
	fetcher *Fetcher
	request Request
	open    func(ctx context.Context, digest v1.Hash, manifest bool) (io.ReadCloser, error)
}

// A manifest is one of an image, of an artifact or of an index.
type manifest struct {
	Config    *v1.Descriptor  `json:"config"`
	Layers    []v1.Descriptor `json:"layers"`
	Manifests []v1.Descriptor `json:"manifests"`
}

// make writes the file, and says what is to be known of it.
func (d *depot) make(ctx context.Context, digest v1.Hash, w io.Writer) ([]string, error) {
	m, err := d.manifest(ctx, digest)
	if err != nil {
		return nil, err
	}
	var notes []string
	if m.Manifests != nil {
		if digest, err = d.choose(m.Manifests); err != nil {
			return nil, err
		}
		notes = append(notes, fmt.Sprintf("of the index, the manifest %s for linux/%s", digest, runtime.GOARCH))
		if m, err = d.manifest(ctx, digest); err != nil {
			return nil, err
		}
	}
	switch {
	case m.Manifests != nil:
		return nil, d.wrong("the index holds another index: name the manifest that is meant by its digest")
	case len(m.Layers) > maxLayers:
		return nil, &LimitError{Msg: fmt.Sprintf("%s has %d layers, more than %d", d.request, len(m.Layers), maxLayers), Hint: "pin an archive of what is needed of it"}
	case m.isImage():
		own, err := d.flatten(ctx, m, w)
		return append(notes, own...), err
	case len(m.Layers) != 1:
		var kinds some
		for _, l := range m.Layers {
			kinds.add(plain.Line(fmt.Sprintf("%.100q", l.MediaType)))
		}
		return nil, d.wrong("the artifact is no container image, and has %d layers (%s): which one is meant?", len(m.Layers), &kinds)
	}
	layer := m.Layers[0]
	file, err := d.blob(ctx, layer, "the layer")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if title := layer.Annotations["org.opencontainers.image.title"]; title != "" {
		notes = append(notes, plain.Line(fmt.Sprintf("its name there is %.100q", title)))
	}
	_, err = io.Copy(w, file)
	return notes, err
}

// isImage says that layers make a root file system.
func (m *manifest) isImage() bool {
	if m.Config == nil || !m.Config.MediaType.IsConfig() || len(m.Layers) == 0 {
		return false
	}
	for _, l := range m.Layers {
		if !l.MediaType.IsLayer() {
			return false
		}
	}
	return true
}

// choose is the one manifest of an index for this machine.
func (d *depot) choose(list []v1.Descriptor) (v1.Hash, error) {
	var found []v1.Descriptor
	var there some
	for _, m := range list {
		if m.Platform == nil {
			continue
		}
		there.add(plain.Line(fmt.Sprintf("%.40s/%.40s%.40s", m.Platform.OS, m.Platform.Architecture, m.Platform.Variant)))
		if m.Platform.OS == "linux" && m.Platform.Architecture == runtime.GOARCH {
			found = append(found, m)
		}
	}
	switch {
	case len(found) == 0:
		return v1.Hash{}, d.wrong("the index has no image for linux/%s; it has %s", runtime.GOARCH, &there)
	case len(found) > 1:
		return v1.Hash{}, d.wrong("the index has %d images for linux/%s: name the manifest that is meant by its digest", len(found), runtime.GOARCH)
	}
	return found[0].Digest, nil
}

// manifest reads the manifest of a digest.
func (d *depot) manifest(ctx context.Context, digest v1.Hash) (*manifest, error) {
	file, err := d.bring(ctx, digest, -1, maxManifest, "the manifest", true)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	m := &manifest{}
	if err := parseJSON(file, maxManifest, m); err != nil {
		return nil, d.wrong("the manifest %s cannot be read: %s", digest, plain.Line(err.Error()))
	}
	if m.Manifests != nil && (m.Config != nil || m.Layers != nil) {
		return nil, d.wrong("the manifest %s is an image and an index at once", digest)
	}
	return m, nil
}

func parseJSON(r io.Reader, most int64, to any) error {
	b, err := io.ReadAll(io.LimitReader(r, most))
	if err == nil {
		err = strictjson.Unique(b)
	}
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(b)).Decode(to)
	}
	return err
}

// blob brings a config or a layer.
func (d *depot) blob(ctx context.Context, desc v1.Descriptor, role string) (*os.File, error) {
	most := d.request.MaxSize
	switch {
	case desc.Size < 0:
		return nil, d.wrong("%s has %d bytes, its descriptor says", role, desc.Size)
	case desc.Size > most:
		return nil, tooLarge(fmt.Sprintf("%s of %s", role, d.request), most)
	}
	return d.bring(ctx, desc.Digest, desc.Size, desc.Size, role, false)
}

// bring brings what has that digest from the cache, or into it. size is what the descriptor says, -1 for nothing.
func (d *depot) bring(ctx context.Context, digest v1.Hash, size, most int64, role string, isManifest bool) (*os.File, error) {
	if digest.Algorithm != "sha256" || !isDigest.MatchString(digest.Hex) {
		return nil, d.wrong("%s is named by %.100q, and only sha256 is read here", role, digest.String())
	}
	name := fmt.Sprintf("%s %s of %s", role, digest, d.request)
	cache := d.fetcher.Cache
	file, err := cache.Get(ctx, digest.Hex)
	if errors.Is(err, fs.ErrNotExist) {
		d.fetcher.say("fetching %s", name)
		if err = d.download(ctx, digest, most, isManifest); err == nil {
			file, err = cache.Get(ctx, digest.Hex)
		}
	}
	var mismatch *MismatchError
	var large *LimitError
	var slow *slowError
	switch {
	case errors.As(err, &slow):
		return nil, slow.limit
	case errors.As(err, &mismatch):
		return nil, &MismatchError{Name: name, Want: mismatch.Want, Seen: mismatch.Seen}
	case errors.As(err, &large) && size < 0:
		return nil, &LimitError{Msg: fmt.Sprintf("%s is larger than %d bytes", name, most), Hint: "name a single manifest of it"}
	case errors.As(err, &large):
		return nil, d.wrong("%s has more bytes than the %d that its descriptor says", name, size)
	case err != nil:
		return nil, d.failed(ctx, err)
	}
	info, err := file.Stat()
	if err == nil && size >= 0 && info.Size() != size {
		err = d.wrong("%s has %d bytes, and its descriptor says %d", name, info.Size(), size)
	}
	if err == nil && info.Size() > most {
		err = &LimitError{Msg: fmt.Sprintf("%s is larger than %d bytes", name, most), Hint: "name a single manifest of it"}
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func (d *depot) download(ctx context.Context, digest v1.Hash, most int64, isManifest bool) error {
	body, err := d.open(ctx, digest, isManifest)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = d.fetcher.Cache.Put(ctx, digest.Hex, most, func(w io.Writer) error {
		_, err := io.Copy(w, body)
		return err
	})
	return err
}

func (d *depot) wrong(format string, args ...any) error {
	return trouble("", "%s: %s", d.request, fmt.Sprintf(format, args...))
}

func (d *depot) failed(ctx context.Context, err error) error {
	var own *Error
	var limit *LimitError
	var stalled *stalledError
	var status *transport.Error
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &own):
		return own
	case errors.As(err, &limit):
		return limit
	case errors.As(err, &stalled):
		return trouble("try again later", "%s: %s", d.request, stalled)
	case errors.As(err, &status) && (status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden):
		return trouble("credentials are not used: copy it with skopeo copy docker://… oci:DIR, and give oci:DIR@sha256:…", "%s: the registry lets nobody read it", d.request)
	case errors.Is(err, fs.ErrNotExist), errors.As(err, &status) && status.StatusCode == http.StatusNotFound:
		return trouble("is the digest that of a manifest or an index that is there?", "%s: what the digest names is not there", d.request)
	}
	return trouble("try again later, or read a copy in a layout: skopeo copy docker://… oci:DIR", "%s cannot be read: %s", d.request, cause(err))
}

// openRegistry speaks to the repository of that name (OCI distribution specification 1.1, pulling), as nobody.
func (f *Fetcher) openRegistry(ctx context.Context, place string, most int64) (func(context.Context, v1.Hash, bool) (io.ReadCloser, error), func(), error) {
	repo, err := name.NewRepository(place)
	if err != nil {
		return nil, nil, err
	}
	base := url.URL{Scheme: repo.Scheme(), Host: repo.RegistryStr(), Path: "/v2/" + repo.RepositoryStr()}
	client, done := f.client(&base)
	var shaken atomic.Bool
	limited := &bodies{client.Transport, func(*http.Request) int64 {
		if shaken.Load() {
			return most + 1 // so that what is too large is seen to be
		}
		return maxHandshake
	}}
	retry := transport.NewRetry(limited, transport.WithRetryStatusCodes(
		http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	))
	signed, err := transport.NewWithContext(ctx, repo.Registry, authn.Anonymous, transport.NewUserAgent(retry, agent), []string{repo.Scope(transport.PullScope)})
	if err != nil {
		done()
		return nil, nil, err
	}
	shaken.Store(true)
	client.Transport = signed
	return func(ctx context.Context, digest v1.Hash, isManifest bool) (io.ReadCloser, error) {
		kind := "blobs"
		if isManifest {
			kind = "manifests"
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.JoinPath(kind, digest.String()).String(), nil)
		if err != nil {
			return nil, err
		}
		if isManifest {
			for _, t := range []types.MediaType{types.OCIImageIndex, types.OCIManifestSchema1, types.DockerManifestList, types.DockerManifestSchema2} {
				req.Header.Add("Accept", string(t))
			}
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		if err := transport.CheckError(resp, http.StatusOK); err != nil {
			resp.Body.Close()
			return nil, err
		}
		return resp.Body, nil
	}, done, nil
}

// openLayout reads the files of an OCI image layout, none outside it, and none that is not a regular file.
func openLayout(dir string) (func(context.Context, v1.Hash, bool) (io.ReadCloser, error), func(), error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, trouble("give a directory with oci-layout, index.json and blobs, as skopeo copy docker://… oci:DIR writes it", "cannot read the layout %.200q: %s", dir, cause(err))
	}
	return func(_ context.Context, digest v1.Hash, _ bool) (io.ReadCloser, error) {
		file, err := root.OpenFile("blobs/sha256/"+digest.Hex, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO does not block
		if err != nil {
			return nil, err
		}
		if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
			file.Close()
			return nil, trouble("", "the blob %s of the layout is not a regular file", digest)
		}
		return file, nil
	}, func() { root.Close() }, nil
}
