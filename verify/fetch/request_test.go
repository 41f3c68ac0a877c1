package fetch

import (
	"errors"
	"strings"
	"testing"
)

func TestParseRequest(t *testing.T) {
	sum, commit := strings.Repeat("a", 64), strings.Repeat("b", 40)
	for in, want := range map[string]Request{
		"https://h.example/a/fw.bin":              {URL: "https://h.example/a/fw.bin"},
		"http://h.example:81/?a=b":                {URL: "http://h.example:81/?a=b"},
		"fw.bin":                                  {File: "fw.bin"},
		"dir/a:b":                                 {File: "dir/a:b"},
		"a:b":                                     {File: "a:b"},
		"file:fw.bin":                             {File: "fw.bin"},
		"file:///a/f%20w.bin":                     {File: "/a/f w.bin"},
		"file://localhost/a":                      {File: "/a"},
		"file:https://x":                          {File: "https://x"},
		"oci:dir@sha256:" + sum:                   {OCI: "oci:dir@sha256:" + sum},
		"docker://h.example/r@sha256:" + sum:      {OCI: "docker://h.example/r@sha256:" + sum},
		"git+https://h.example/r.git@" + commit:   {Git: "https://h.example/r.git", Commit: commit},
		"git+ssh://git@h.example/r.git@" + commit: {Git: "ssh://git@h.example/r.git", Commit: commit},
		"git+ssh://git@h.example/r.git":           {Git: "ssh://git@h.example/r.git"},
		"git+https://h.example/r.git":             {Git: "https://h.example/r.git"},
		"git+https://h.example/r.git@main":        {Git: "https://h.example/r.git@main"},
		"debian:hello=2.10-3":                     {Debian: "hello", Version: "2.10-3"},
		"debian:dpkg=1:2.0~rc1+x-3@sha256:" + sum: {Debian: "dpkg", Version: "1:2.0~rc1+x-3", DSC: sum},
	} {
		got, err := ParseRequest(in)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
			continue
		}
		if back, err := ParseRequest(got.String()); err != nil || back != got {
			t.Errorf("%s became %s, and that %+v, %v", in, got, back, err)
		}
	}
	for _, in := range []string{
		"", "ftp://h.example/x", "gopher://x", "https://", "https:///x", "https:x", "https://u:p@h.example/x", "https://h.example/\x00", "https://[::1/x",
		"https://h.example/%zz" + strings.Repeat("a", 9000), "file://h.example/x", "file:", "file:///%zz", "debian:hello", "debian:=1", "debian:hello=1@sha256:abc",
	} {
		var e *Error
		if got, err := ParseRequest(in); !errors.As(err, &e) {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}

func TestRequestCheck(t *testing.T) {
	for name, r := range map[string]Request{
		"nothing": {}, "two": {URL: "https://h.example/", File: "x"}, "pin": {File: "x", SHA256: "abc"}, "upper": {File: "x", SHA256: strings.Repeat("A", 64)},
		"commit": {Git: "https://h.example", Commit: "abc"}, "size": {File: "x", MaxSize: -1}, "scheme": {URL: "ftp://x"},
	} {
		f := newFetcher(t)
		var e *Error
		if _, err := f.Fetch(t.Context(), r); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFileName(t *testing.T) {
	for in, want := range map[string]string{
		"https://h.example": "download", "https://h.example/": "download", "https://h.example/a/b.bin?x=/y": "b.bin", "https://h.example/a/..": "download",
		"https://h.example/a%2fb": "b", "https://h.example/a%1b%e2%80%aeb": "a__b", "https://h.example/%5c": "download", "https://h.example/" + strings.Repeat("x", 300): "download",
		"https://h.example/a/": "a",
	} {
		u, err := parseURL(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := fileName(u); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}
