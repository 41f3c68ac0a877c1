package firmware

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	date  = "2026-01-02T03:04:05Z"
	later = "2026-03-14T15:09:26Z"
)

// build returns a firmware image.
func build(t *testing.T, date string, weak bool) []byte {
	t.Helper()
	path, err := Build(context.Background(), filepath.Join(t.TempDir(), "firmware"), date, weak)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// archive returns the cpio archive in an image, whose only gzip member begins with its header.
func archive(t *testing.T, image []byte) []byte {
	t.Helper()
	at := bytes.Index(image, []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255})
	if at < 0 {
		t.Fatal("no gzip header without name and time in the image")
	}
	r, err := gzip.NewReader(bytes.NewReader(image[at:]))
	if err != nil {
		t.Fatal(err)
	}
	r.Multistream(false)
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Two folders, one image: whoever has the sources and the date has the bytes.
func TestBuildDependsOnTheDateAlone(t *testing.T) {
	if !bytes.Equal(build(t, date, false), build(t, date, false)) {
		t.Fatal("two builds of one date differ")
	}
}

// The archive of another date is the archive of this one with the date replaced where
// it stands; the weakened one differs besides in one instruction.
func TestTwinsDifferWhereTheyShould(t *testing.T) {
	first := archive(t, build(t, date, false))
	dated := archive(t, build(t, later, false))
	weak := archive(t, build(t, later, true))

	replaced := bytes.ReplaceAll(first, []byte(date), []byte(later))
	if n := bytes.Count(first, []byte(date)); n != 2 {
		t.Errorf("the date stands in %d texts, want 2: in blinky and in etc/build-info", n)
	}
	from, err := seconds(date)
	if err != nil {
		t.Fatal(err)
	}
	to, err := seconds(later)
	if err != nil {
		t.Fatal(err)
	}
	stamp := []byte(fmt.Sprintf("%08X", from))
	if n := bytes.Count(first, stamp); n != 7 {
		t.Errorf("%d members have the date, want 7", n)
	}
	replaced = bytes.ReplaceAll(replaced, stamp, []byte(fmt.Sprintf("%08X", to)))
	if !bytes.Equal(replaced, dated) {
		t.Error("the archive of another date differs in more than the date")
	}

	if len(weak) != len(dated) {
		t.Fatalf("the weakened archive has %d bytes, the sound one %d", len(weak), len(dated))
	}
	low, high := -1, -1
	for i := range weak {
		if weak[i] != dated[i] {
			if low < 0 {
				low = i
			}
			high = i
		}
	}
	if low < 0 || high/4 != low/4 {
		t.Errorf("the weakened archive differs in bytes %d to %d, want one instruction", low, high)
	}
}

// The recipe is a function of the date, and pins by digest what was written beside it.
func TestRecipe(t *testing.T) {
	dirs, texts := [2]string{t.TempDir(), t.TempDir()}, [2]string{}
	for i, dir := range dirs {
		path, err := Recipe(context.Background(), dir, date)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(text)
	}
	if texts[0] != texts[1] {
		t.Errorf("two recipes of one date differ:\n%s\n%s", texts[0], texts[1])
	}
	for _, name := range []string{"blinky.tar", "pack.tar"} {
		data, err := os.ReadFile(filepath.Join(dirs[0], name))
		if err != nil {
			t.Fatal(err)
		}
		if pin := fmt.Sprintf("{path: %s, sha256: %x,", name, sha256.Sum256(data)); !strings.Contains(texts[0], pin) {
			t.Errorf("the recipe lacks %q:\n%s", pin, texts[0])
		}
	}
}

// Only a date in UTC to the second is one.
func TestDates(t *testing.T) {
	for _, bad := range []string{"", "2026-01-02", "2026-01-02T03:04:05+01:00", "2026-13-02T03:04:05Z"} {
		if _, err := Recipe(context.Background(), t.TempDir(), bad); err == nil {
			t.Errorf("the date %q was taken", bad)
		}
		if _, err := Build(context.Background(), t.TempDir(), bad, false); err == nil {
			t.Errorf("the date %q was built", bad)
		}
	}
}
