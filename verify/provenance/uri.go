package provenance

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// A location is a hierarchical URI in parts that can be compared: of a repository,
// in the form "git+https://host/path@ref#subpath" that SPDX 2.3, section 7.7, gives
// to download locations.
type location struct {
	scheme   string // lower-case, without "git+"
	user     string // userinfo with its "@", or ""
	host     string // lower-case, with its port
	path     string // as written, but without an ending "/" and then ".git"
	ref      string // a full name, "refs/...", or a full commit; or ""
	fragment string
}

// locate splits a URI. Whatever two programs could read in two ways is an error.
func locate(s string) (location, error) {
	if s == "" {
		return location{}, errors.New("it is empty")
	}
	if !isPlain(s) {
		return location{}, errors.New("it holds a character that a URI does not")
	}
	u, err := url.Parse(s)
	if err != nil {
		return location{}, errors.New("it is not a URI")
	}
	l := location{
		scheme:   strings.TrimPrefix(u.Scheme, "git+"),
		host:     strings.ToLower(u.Host),
		path:     strings.TrimPrefix(u.EscapedPath(), "/"),
		fragment: u.EscapedFragment(),
	}
	if u.User != nil {
		l.user = u.User.String() + "@"
	}
	switch {
	case u.Scheme == "":
		return location{}, errors.New("it has no scheme, such as https://")
	case u.Opaque != "" || l.scheme == "" || l.host == "":
		return location{}, errors.New("it names no host")
	case strings.Contains(s, "?"):
		return location{}, errors.New("it has a query")
	case strings.Contains(s, "#") && l.fragment == "":
		return location{}, errors.New("its fragment is empty")
	case strings.ContainsFunc(l.host, func(c rune) bool { return c > '~' || strings.ContainsRune("%@", c) }):
		return location{}, errors.New("its host is not spelled plainly")
	}
	if l.path, l.ref = cutRef(l.path); l.ref != "" && !isRef(l.ref) {
		return location{}, errors.New("what follows its @ is not the name of a ref")
	}
	l.path = strings.TrimSuffix(strings.TrimSuffix(l.path, "/"), ".git")
	for segment := range strings.SplitSeq(l.path, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return location{}, errors.New("its path is empty, or has an empty or a dot segment")
		}
	}
	return l, nil
}

// cutRef cuts "@refs/..." or "@COMMIT" off a path. Only a full name of a ref or a full
// commit is a ref: "repo@v1" can also be the name of another repository.
func cutRef(path string) (repository, ref string) {
	i := strings.Index(path, "@refs/")
	if i < 0 {
		if i = strings.LastIndexByte(path, '@'); i >= 0 && !isCommit(path[i+1:]) {
			i = -1
		}
	}
	if i <= 0 || path[i-1] == '/' {
		return path, ""
	}
	return path[:i], path[i+1:]
}

// isRef reports whether s is a full name of a ref, by the rules of
// git-check-ref-format, or a full commit.
func isRef(s string) bool {
	if isCommit(s) {
		return true
	}
	return strings.HasPrefix(s, "refs/") && isPlain(s) && !strings.ContainsAny(s, "~^:?*[") &&
		!strings.Contains(s, "..") && !strings.Contains(s, "%") &&
		!slices.ContainsFunc(strings.Split(s, "/"), func(part string) bool {
			return part == "" || part[0] == '.' || strings.HasSuffix(part, ".") || strings.HasSuffix(part, ".lock")
		})
}

func isCommit(s string) bool {
	sum, err := canonical(gitCommitDigest, s)
	return err == nil && sum == s
}

// sameURI reports whether have is the wanted resource, at the wanted ref if there is
// one. URIs that cannot be split are the same when they are equal byte by byte.
func sameURI(want, have string) bool {
	if want == have {
		return want != ""
	}
	w, err := locate(want)
	if err != nil {
		return false
	}
	h, err := locate(have)
	if err != nil {
		return false
	}
	if w.ref == "" {
		h.ref = ""
	}
	return w == h
}

// isPlain reports whether s is made of the characters of a URI (RFC 3986) alone.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return false
		}
	}
	return s != ""
}

// quote bounds what a message repeats of a foreign text.
func quote(s string) string {
	const most = 200
	if len(s) > most {
		return fmt.Sprintf("%q...", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
