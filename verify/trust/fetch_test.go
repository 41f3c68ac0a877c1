package trust

import (
	"net/http"
	"net/url"
	"testing"
)

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		repository string
		plainHTTP  bool
		known      bool
		to         string // where it redirects
		followed   bool
	}{
		{"https://a.example", false, true, "https://b.example/x", true},
		{"https://a.example", false, true, "http://a.example/x", false},
		{"https://a.example", false, true, "http://127.0.0.1/x", false},
		{"https://a.example", false, true, "ftp://a.example/x", false},
		{"https://127.0.0.1", false, true, "http://a.example/x", false},
		{"http://127.0.0.1:80", false, true, "http://[::1]/x", true},
		{"http://127.0.0.1:80", false, true, "http://a.example/x", false},
		{"http://localhost", false, true, "http://localhost.a.example/x", false},
		{"http://[::1]:8080/tuf", false, true, "https://a.example/x", true},
		{"http://a.example", false, false, "", false},
		{"http://127.0.0.1.a.example", false, false, "", false},
		{"http://localhost.a.example", false, false, "", false},
		{"http://0.0.0.0", false, false, "", false},
		{"http://a.example", true, true, "http://b.example/x", true},
		{"http://a.example", true, true, "file:///x", false},
		{"ftp://a.example", true, false, "", false},
		{"https://", true, false, "", false},
		{"https://u@a.example", true, false, "", false},
		{"https://a.example?", true, false, "", false},
		{"https://a.example#x", true, false, "", false},
	} {
		u, err := repository(c.repository, c.plainHTTP)
		if (err == nil) != c.known {
			t.Errorf("%s: %v", c.repository, err)
		}
		if err != nil || c.to == "" {
			continue
		}
		to, err := url.Parse(c.to)
		if err != nil {
			t.Fatal(err)
		}
		if err := (source{url: u, plainHTTP: c.plainHTTP}).redirect(&http.Request{URL: to}, make([]*http.Request, 1)); (err == nil) != c.followed {
			t.Errorf("%s to %s: %v", c.repository, c.to, err)
		}
	}
}
