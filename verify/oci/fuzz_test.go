package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

const fuzzedImage = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` +
	`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"data":"e30="},` +
	`"layers":[],"subject":null,"annotations":{"a":"b"}}`

func fuzzedIndex() string {
	sum := sha256.Sum256([]byte(fuzzedImage))
	return fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":"sha256:%x","size":%d,"urls":[],"annotations":{%q:"x",%q:%q}}]}`,
		ociManifest, sum, len(fuzzedImage), nameAnnotation, kindAnnotation, savedImage)
}

// FuzzManifest feeds foreign bytes to the parser of manifests and indexes, and what
// is parsed is one of the two and names only digests in their one spelling.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(fuzzedImage), ociManifest, "")
	f.Add([]byte(fuzzedIndex()), "", ociIndex)
	f.Add([]byte(`{"schemaVersion":2,"layers":[],"layers":[]}`), "", "")
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"size":-1}]}`), dockerIndex, "")
	f.Fuzz(func(t *testing.T, raw []byte, described, served string) {
		m, err := parseManifest(raw, described, served)
		if err != nil {
			var over *LimitError
			if !isFinding(err) && !errors.As(err, &over) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if isImage(m.mediaType) != (m.config != nil) || isIndex(m.mediaType) != (m.manifests != nil) || isImage(m.mediaType) == isIndex(m.mediaType) {
			t.Fatalf("an image, an index, both or none: %+v", m)
		}
		if described != "" && m.mediaType != described {
			t.Fatalf("described as %q, read as %q", described, m.mediaType)
		}
		for _, d := range m.descriptors() {
			if again, err := parseDigest(d.digest.String()); err != nil || again != d.digest || d.size < 0 || d.mediaType == "" {
				t.Fatalf("the descriptor %+v", d)
			}
		}
	})
}

// FuzzLayoutIndex opens a layout whose index.json is foreign. An image that is
// found whole is the one that was asked for.
func FuzzLayoutIndex(f *testing.F) {
	f.Add([]byte(fuzzedIndex()))
	f.Add([]byte(`{"schemaVersion":2,"manifests":[]}`))
	f.Add([]byte(`{`))
	dir := f.TempDir()
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		f.Fatal(err)
	}
	sum := sha256.Sum256([]byte(fuzzedImage))
	image := hex.EncodeToString(sum[:])
	empty := sha256.Sum256([]byte("{}"))
	for path, content := range map[string]string{
		filepath.Join(dir, "oci-layout"):                   `{"imageLayoutVersion":"1.0.0"}`,
		filepath.Join(blobs, image):                        fuzzedImage,
		filepath.Join(blobs, hex.EncodeToString(empty[:])): "{}",
	} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	ref, _, err := ParseRef("oci:" + dir + "@sha256:" + image)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, index []byte) {
		if err := os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644); err != nil {
			t.Fatal(err)
		}
		img, err := Open(t.Context(), ref, Options{})
		if err != nil {
			var own *Error
			var over *LimitError
			if img != nil || !errors.As(err, &own) && !errors.As(err, &over) {
				t.Fatalf("%v, %v", img, err)
			}
			return
		}
		named := map[string]bool{}
		for _, s := range img.Signatures {
			if named[s.Name] || s.Kind == "" || (s.Unread == "") != (s.Payload != nil) {
				t.Fatalf("the candidate %+v", s)
			}
			named[s.Name] = true
		}
		if want := int64(len(fuzzedImage) + len("{}")); img.OK() && (img.Manifests != 1 || img.Blobs != 1 || img.Size != want) {
			t.Fatalf("%+v", img)
		}
	})
}
