package codec

import (
	"bytes"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
)

// What the tools write, the setting named for it makes again.
func TestSettingsAreTheTools(t *testing.T) {
	data := append(text(600_000), noise(30_000)...)
	for _, c := range []struct{ run, codec, setting string }{
		{"gzip -n -6 -c", "deflate@1", "gzip/6"},
		{"gzip -n -9 -c", "deflate@1", "gzip/9"},
		{"gzip -n -1 -c", "deflate@1", "gzip/1"},
		{"lz4 -c", "lz4@1", "lz4/1;frame"},
		{"lz4 -9 -c", "lz4@1", "lz4/9;frame"},
		{"lz4 -12 -c", "lz4@1", "lz4/12;frame"},
		{"lz4 -l -9 -c", "lz4@1", "lz4/9;legacy"},
		{"lzop -1 -c", "lzop@1", "lzop/1"},
		{"lzop -c", "lzop@1", "lzop/3"},
		{"lzop -7 -c", "lzop@1", "lzop/7"},
		{"lzop -9 -c", "lzop@1", "lzop/9"},
		{"lzop -8 --crc32 -c", "lzop-crc32@1", "lzop/8"},
		{"lzop -F -c", "lzop-plain@1", "lzop/3"},
		{"xz -c", "xz@1", "xz/6;xz/6"},
		{"xz -T2 -c", "xz@1", "xz/6/threads;xz/6/threads"},
		{"xz --check=crc32 -c", "xz@1", "xz/crc32/6;xz/crc32/6"},
		{"xz --format=lzma -c", "lzma@1", "xz/6;xz/6"},
	} {
		t.Run(c.run, func(t *testing.T) {
			difftest.Tools(t, strings.Fields(c.run)[0])
			enc := toolOutput(t, c.run, data)
			switch {
			case strings.HasPrefix(c.codec, "deflate"):
				g, err := WalkGzip(t.Context(), bytes.NewReader(enc), int64(len(enc)), roomy)
				if err != nil {
					t.Fatal(err)
				}
				enc = enc[g.Data.Off:g.Data.End()]
			case strings.HasPrefix(c.codec, "lzop"):
				l, err := WalkLzop(t.Context(), bytes.NewReader(enc), int64(len(enc)), roomy)
				if err != nil || l.Codec != c.codec {
					t.Fatal(l.Codec, err)
				}
				enc = enc[l.Blocks.Off:l.Blocks.End()]
			}
			got, ok, err := FindSetting(t.Context(), c.codec, bytes.NewReader(enc), int64(len(enc)), bytes.NewReader(data), int64(len(data)))
			if err != nil || !ok || got != c.setting {
				t.Errorf("made again by %q, not %q: %v", got, c.setting, err)
			}
		})
	}
}
