package provenance

import (
	"net/url"
	"strings"
	"testing"
)

func TestNothingIsNoURI(t *testing.T) {
	if sameURI("", "") {
		t.Error("two resources without a URI are the same")
	}
}

// FuzzSameURI holds the comparison against another reading of the same texts: what is
// the same has the scheme, host and userinfo that net/url sees, and begins with the
// wanted path.
func FuzzSameURI(f *testing.F) {
	const want = "https://code.example/lab/firmware"
	for _, have := range []string{
		want, "git+" + want + ".git/", want + "@refs/heads/a@b", want + "@evil", "https://code.example@evil.example/lab/firmware",
		"HTTPS://CODE.example/lab/firmware", want + "/../x", want + "%2f..", want + "#x", want + "?x", "pkg:x/y", "",
	} {
		f.Add(want, have)
	}
	f.Fuzz(func(t *testing.T, want, have string) {
		if !sameURI(want, have) || want == have {
			return
		}
		w, err := url.Parse(want)
		if err != nil {
			t.Fatal(err)
		}
		h, err := url.Parse(have)
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimPrefix(w.Scheme, "git+") != strings.TrimPrefix(h.Scheme, "git+") || !strings.EqualFold(w.Host, h.Host) ||
			(w.User == nil) != (h.User == nil) || w.User.String() != h.User.String() || w.Host == "" {
			t.Fatalf("%q is taken for %q", have, want)
		}
		path, _ := cutRef(w.EscapedPath())
		path = strings.TrimSuffix(strings.TrimSuffix(path, "/"), ".git")
		rest, ok := strings.CutPrefix(h.EscapedPath(), path)
		if !ok || rest != "" && rest[0] != '/' && rest[0] != '.' && rest[0] != '@' {
			t.Fatalf("%q is taken for %q", have, want)
		}
		rest = strings.TrimPrefix(strings.TrimPrefix(rest, ".git"), "/")
		if rest != "" && !isRef(strings.TrimPrefix(rest, "@")) {
			t.Fatalf("%q is taken for %q", have, want)
		}
	})
}
