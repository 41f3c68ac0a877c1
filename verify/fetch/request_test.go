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

// Reports tell neither places of this machine nor secrets.
func TestRequestName(t *testing.T) {
	sum, commit := strings.Repeat("a", 64), strings.Repeat("b", 40)
	for in, want := range map[string]string{
		"https://h.example/a/fw.bin":               "https://h.example/a/fw.bin",
		"https://h.example/a?X-Amz-Signature=S#f?": "https://h.example/a?…",
		"https://h.example/@scope/fw.tgz":          "https://h.example/@scope/fw.tgz",
		"/home/me/fw.bin":                          "file:fw.bin",
		"oci:/home/me/image@sha256:" + sum:         "oci:image@sha256:" + sum,
		"oci:image":                                "oci:image",
		"docker://h.example/r@sha256:" + sum:       "docker://h.example/r@sha256:" + sum,
		"git+https://h.example/r.git@" + commit:    "git+https://h.example/r.git@" + commit,
		"git+file:///home/me/r.git@" + commit:      "git+file:r.git@" + commit,
		"git+FILE:///home/me/r/":                   "git+file:r",
		"debian:hello=2.10-3@sha256:" + sum:        "debian:hello=2.10-3@sha256:" + sum,
	} {
		r, err := ParseRequest(in)
		if err != nil || r.Name() != want {
			t.Errorf("%s: %q, %v", in, r.Name(), err)
		}
	}
	if got := (Request{Git: "/home/me/r.git", Commit: commit}).Name(); got != "git+file:r.git@"+commit {
		t.Error(got)
	}
}

// A password is refused before it is shown.
func TestSecrets(t *testing.T) {
	sum := "@sha256:" + strings.Repeat("a", 64)
	for _, in := range []string{
		"https://u:secret@h.example/x", "https://u:se/secret@h.example/x", "https://u:secret@h.example/%zz", "ftp://u:secret@h.example/x", "https://u:secret@/x",
		"docker://u:secret@h.example/x" + sum, "docker://u:secret@h.example/x", "docker://u:a@secret/b@h.example/x" + sum, "DOCKER://u:secret@h.example/x" + sum,
		"git+https://u:secret@h.example/x@" + sum[8:48], "git+https://u:secret%zz@h.example/x", "git+https://u:a/secret@h.example/x", "git+svn://u:secret@h.example/x",
		"git+ssh://u:secret@h.example/x",
	} {
		f := newFetcher(t)
		r, err := ParseRequest(in)
		if err == nil {
			_, err = f.Fetch(t.Context(), r)
		}
		var e *Error
		if !errors.As(err, &e) || strings.Contains(e.Msg+e.Hint, "secret") {
			t.Errorf("%s: %+v", in, err)
		}
	}
}

func TestMeant(t *testing.T) {
	for in, want := range map[string]string{
		"git@git.example:x/y.git":     "git+https://git.example/x/y.git@COMMIT",
		"git.example/x/y":             "git+https://git.example/x/y@COMMIT",
		"git.example:8080/x/y":        "https://git.example:8080/x/y",
		"fw/a.bin":                    "",
		"../x/y":                      "",
		"/git.example/x":              "",
		"fw.bin":                      "",
		"a:b":                         "",
		"firmware-1.2/fw.bin":         "",
		"user@git.example:/srv/y.git": "git+https://git.example/srv/y.git@COMMIT",
	} {
		if got := meant(in); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q", in, got)
		}
	}
	_, err := newFetcher(t).Fetch(t.Context(), Request{File: "git@git.example:x/y.git"})
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.Hint, "git+https://git.example/x/y.git@COMMIT") {
		t.Errorf("got %v", err)
	}
}
