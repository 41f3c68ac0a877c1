package fetch

import (
	"cmp"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

const requestHint = "give https://…, a path, docker://HOST/REPOSITORY@sha256:HEX, oci:DIR@sha256:HEX, git+https://…@COMMIT or debian:NAME=VERSION@sha256:HEX"

// ParseRequest reads what to fetch as people write it. The pin of a file and of an address is not part of it.
//
//	https://HOST/PATH, http://HOST/PATH      Request.URL
//	PATH, file:PATH, file:///PATH            Request.File
//	docker://…@sha256:HEX, oci:DIR@sha256:HEX  Request.OCI
//	git+https://HOST/PATH@COMMIT             Request.Git and Commit; git+http and git+file too
//	debian:NAME=VERSION@sha256:HEX           Request.Debian, Version and DSC, the sha256 of the .dsc
//
// What a git commit or a .dsc is pinned by may be left out here: to fetch it gives an [*UnpinnedError]. Other addresses
// of repositories, such as git+ssh://…, are read too, and [Fetcher.Fetch] refuses them.
func ParseRequest(text string) (Request, error) {
	var r Request
	scheme, rest, ok := strings.Cut(text, ":")
	scheme = strings.ToLower(scheme)
	switch {
	case text == "":
		return r, trouble(requestHint, "nothing is named to fetch")
	case !ok || !isScheme.MatchString(scheme) || !strings.HasPrefix(rest, "//") && !known[scheme]:
		r.File = text
	case scheme == "https" || scheme == "http":
		r.URL = text
	case scheme == "file":
		name, err := filePath(rest)
		if err != nil {
			return r, trouble(requestHint, "%.200q is no file of this machine", text)
		}
		r.File = name
	case scheme == "docker" || scheme == "oci":
		r.OCI = text
	case scheme == "debian":
		rest, r.DSC, _ = cutLast(rest, "@sha256:")
		r.Debian, r.Version, ok = strings.Cut(rest, "=")
		if !ok {
			return Request{}, trouble("write debian:NAME=VERSION@sha256:HEX", "%.200q names no version", text)
		}
	case strings.HasPrefix(scheme, "git+"):
		r.Git, r.Commit, _ = cutLast(strings.TrimPrefix(text, "git+"), "@")
		if !isCommit.MatchString(r.Commit) {
			// An @ may be of the address, as in git@host.
			r.Git, r.Commit = strings.TrimPrefix(text, "git+"), ""
		}
	default:
		return r, trouble(requestHint, "%.200q begins with %.40q, which is not known here", shown(text), scheme+":")
	}
	if strings.HasPrefix(r.File, "//") {
		r.File = "/" + strings.TrimLeft(r.File, "/") // behind file: it would be read as a host
	}
	return r, r.check()
}

var (
	isScheme = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)
	isCommit = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)
	known    = map[string]bool{"file": true, "oci": true, "debian": true, "http": true, "https": true}
)

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// filePath is the path of what follows file: (RFC 8089; without slashes it is a plain path).
func filePath(rest string) (string, error) {
	after, ok := strings.CutPrefix(rest, "//")
	if !ok {
		return rest, nil
	}
	path := strings.TrimPrefix(after, "localhost")
	if !strings.HasPrefix(path, "/") {
		return "", trouble("", "another host")
	}
	return url.PathUnescape(path)
}

// String is what ParseRequest reads, without the pin of an address or a path.
func (r Request) String() string {
	switch {
	case r.URL != "":
		return r.URL
	case r.File != "":
		return "file:" + r.File
	case r.OCI != "":
		return r.OCI
	case r.Git != "" && r.Commit == "":
		return "git+" + r.Git
	case r.Git != "":
		return "git+" + r.Git + "@" + r.Commit
	case r.Debian != "" && r.DSC == "":
		return "debian:" + r.Debian + "=" + r.Version
	case r.Debian != "":
		return "debian:" + r.Debian + "=" + r.Version + "@sha256:" + r.DSC
	}
	return ""
}

// Name is String as reports and messages show it: without the folders of this machine above a thing, and without the
// query of an address, which often is a key to it.
func (r Request) Name() string {
	switch {
	case r.URL != "":
		return shown(r.URL)
	case r.File != "":
		return "file:" + filepath.Base(r.File)
	case strings.HasPrefix(r.OCI, "oci:"):
		dir, sum, pinned := cutLast(strings.TrimPrefix(r.OCI, "oci:"), "@")
		name := "oci:" + filepath.Base(dir)
		if pinned {
			name += "@" + sum
		}
		return name
	case r.Git != "":
		scheme, rest, ok := strings.Cut(r.Git, "://")
		if !ok || strings.EqualFold(scheme, "file") {
			r.Git = "file:" + path.Base(filepath.ToSlash(cmp.Or(rest, scheme)))
		} else {
			r.Git = shown(r.Git)
		}
	}
	return r.String()
}

// shown is an address without what may be secret: the query, and a user.
func shown(address string) string {
	head, _, query := strings.Cut(address, "?")
	if u, err := url.Parse(address); err != nil || u.User != nil {
		if i := strings.LastIndexByte(head, '@'); i >= 0 { // in what cannot be read it may stand anywhere
			scheme, _, _ := strings.Cut(head[:i], "://")
			head = scheme + "://…" + head[i:]
		}
	}
	if query {
		head += "?…"
	}
	return head
}

var (
	scpLike  = regexp.MustCompile(`^[A-Za-z0-9._-]+@([A-Za-z0-9.-]+):/*([^/].*)$`) // git-clone(1), GIT URLS
	hostLike = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,}(:[0-9]+)?/.`)
)

// meant is what to write for a path that looks like an address, "" if it looks like none.
func meant(path string) string {
	if m := scpLike.FindStringSubmatch(path); m != nil {
		return "of a repository write its https address and a commit: git+https://" + m[1] + "/" + m[2] + "@COMMIT"
	}
	if hostLike.MatchString(path) {
		return "check the path; if an address is meant, write https://" + path + ", and of a repository git+https://" + path + "@COMMIT"
	}
	return ""
}

// check refuses a request that names nothing, or several things, or a pin that is none.
func (r Request) check() error {
	n := 0
	for _, s := range []string{r.URL, r.File, r.OCI, r.Git, r.Debian} {
		if s != "" {
			n++
		}
	}
	switch {
	case n != 1:
		return trouble(requestHint, "%d things are named to fetch, where one must be", n)
	case r.SHA256 != "" && !isDigest.MatchString(r.SHA256):
		return trouble("", "%.100q is not a sha256: 64 digits 0-9a-f", r.SHA256)
	case r.DSC != "" && !isDigest.MatchString(r.DSC):
		return trouble("", "%.100q is not a sha256: 64 digits 0-9a-f", r.DSC)
	case r.Commit != "" && !isCommit.MatchString(r.Commit):
		return trouble("give the full id: 40 or 64 digits 0-9a-f", "%.100q is not a commit", r.Commit)
	case r.MaxSize < 0:
		return trouble("", "a limit of %d bytes", r.MaxSize)
	case r.OCI != "":
		return checkImage(r.OCI)
	case r.URL == "":
		return nil
	}
	_, err := parseURL(r.URL)
	return err
}

// checkImage refuses a registry's user before anything shows it: what stands before an @ that is none of a digest.
func checkImage(name string) error {
	rest, ok := strings.CutPrefix(strings.ToLower(name), "docker:")
	if !ok {
		return nil
	}
	place, _, _ := cutLast(rest, "@sha256:")
	if i := strings.LastIndexByte(place, '@'); i >= 0 {
		return trouble("write docker://HOST/REPOSITORY@sha256:HEX; credentials are not used, and what is fetched is recorded",
			"the name of an image has an @ that no sha256: follows, as of a user or of another digest")
	}
	return nil
}
