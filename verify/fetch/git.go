package fetch

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	gitfile "github.com/go-git/go-git/v5/plumbing/transport/file"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/assaylab/assay/verify/internal/plain"
)

// Limits on the tree of a commit.
const (
	maxGitEntries = 1 << 20  // files and directories: a small tree that holds itself many times over has many
	maxGitDepth   = 128      // directories inside each other
	maxGitPath    = 4096     // bytes of a path, and of what a symbolic link holds
	maxGitMeta    = 32 << 20 // bytes of a commit, and of one directory's tree object
	maxGitRefs    = 64 << 20 // bytes of a server's list of references
	maxGitWants   = 10_000   // references that are fetched where a server does not give a commit by its id
)

const gitHint = "give git+https://HOST/PATH@COMMIT, or git+file:///PATH@COMMIT"

// fetchGit makes a tar archive of the tree at a commit: "git archive" without what .gitattributes would change
// (export-ignore, export-subst, line ends, filters such as LFS), so that it holds the bytes that the commit id pins.
// Files have the mode 0644 or 0755, and all entries the time of the committer; the commit is the comment of the archive.
//
// A submodule is another repository at another commit: its place is an empty directory, and a note says what belongs
// there. A note lists the files that are pointers of git LFS, whose content no commit id pins to git's knowledge.
//
// The commit alone is fetched where the server gives it; else all branches and tags are, and it must be among what they
// reach. Every object is found by the id that was computed of its content.
func (f *Fetcher) fetchGit(ctx context.Context, r Request) (*Artifact, error) {
	repo, err := parseRepository(r.Git)
	switch {
	case err != nil:
		return nil, err
	case r.Commit == "":
		return nil, f.unpinnedCommit(ctx, r, repo)
	case len(r.Commit) != 40:
		return nil, trouble("make an archive with git archive, and pin that by sha256",
			"%s: repositories whose ids are sha256 are not read here", r)
	}
	name := repo.name + "-" + r.Commit[:12] + ".tar"
	return f.derive(ctx, r, Alias{"git-tar/v1", r.Commit}, name, repo.online(), func(w io.Writer) ([]string, error) {
		p, done, err := f.fetchPack(ctx, r, repo)
		if err != nil {
			return nil, err
		}
		defer done()
		return writeCommit(p, plumbing.NewHash(r.Commit), newArchive(w, r.String(), r.MaxSize))
	})
}

// A repository is where git objects come from.
type repository struct {
	endpoint *transport.Endpoint
	address  *url.URL // nil for one of this machine
	name     string   // one element of a path
}

func (r *repository) online() bool { return r.address != nil }

func parseRepository(text string) (*repository, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	switch {
	case !ok && strings.Contains(text, "@") && strings.Contains(text, ":") || strings.EqualFold(scheme, "ssh") && ok:
		return nil, trouble("take its https address, or clone it and give git+file:///PATH@COMMIT", "%.200q: git over ssh is not spoken here", shown(text))
	case !ok || strings.EqualFold(scheme, "file"):
		dir := text
		if ok {
			var err error
			if dir, err = filePath("//" + rest); err != nil {
				return nil, trouble(gitHint, "%.200q is no repository of this machine", text)
			}
		}
		dir, err := filepath.Abs(dir) // nor can it be taken for an option
		if err != nil || strings.ContainsRune(dir, 0) {
			return nil, trouble(gitHint, "%.200q is no repository of this machine", text)
		}
		return &repository{endpoint: &transport.Endpoint{Protocol: "file", Path: dir}, name: repositoryName(filepath.ToSlash(dir))}, nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, trouble(gitHint, "%.200q is no address of a repository", shown(text))
	case u.User != nil:
		return nil, trouble("leave them out: what is fetched is recorded; clone it with git and give git+file:///PATH@COMMIT",
			"the address of a repository on %s holds credentials", plain.Line(u.Host))
	case u.RawQuery != "" || u.Fragment != "":
		return nil, trouble(gitHint, "%.200q: the address of a repository has no ? or #", shown(text))
	}
	endpoint, err := transport.NewEndpoint(text)
	if err != nil {
		return nil, trouble(gitHint, "%.200q is no address of a repository", shown(text))
	}
	return &repository{endpoint, u, repositoryName(u.Path)}, nil
}

// repositoryName is the last element of a path, for the name of a file.
func repositoryName(dir string) string {
	dir = strings.TrimSuffix(strings.TrimRight(dir, "/"), "/.git")
	name := strings.Map(func(r rune) rune {
		if r < '!' || r > '~' || strings.ContainsRune(`/\:*?"<>|@`, r) {
			return '-'
		}
		return r
	}, strings.TrimSuffix(path.Base(dir), ".git"))
	if name = strings.TrimLeft(name, ".-"); name == "" {
		return "git"
	}
	return name
}

// connect asks a repository what it has. most bounds what any answer after that holds.
func (f *Fetcher) connect(ctx context.Context, repo *repository, most int64) (transport.UploadPackSession, *packp.AdvRefs, func(), error) {
	speaker, done := gitfile.NewClient(transport.UploadPackServiceName, transport.ReceivePackServiceName), func() {}
	if repo.online() {
		var client *http.Client
		client, done = f.client(repo.address)
		client.Transport = &bodies{client.Transport, func(req *http.Request) int64 {
			if req.Method == http.MethodGet {
				return maxGitRefs
			}
			return most
		}}
		speaker = githttp.NewClient(client)
	}
	endpoint := *repo.endpoint // a session writes to it
	s, err := speaker.NewUploadPackSession(&endpoint, nil)
	if err != nil {
		done()
		return nil, nil, nil, repo.failed(ctx, err)
	}
	refs, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		_ = s.Close()
		done()
		return nil, nil, nil, repo.failed(ctx, err)
	}
	return s, refs, func() { _ = s.Close(); done() }, nil
}

// bodies bounds what a server sends.
type bodies struct {
	http.RoundTripper
	most func(*http.Request) int64 // bytes of the answer to a request
}

func (b *bodies) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body = &boundedBody{resp.Body, b.most(req)}
	}
	return resp, err
}

// boundedBody fails where a body is as long as its limit, or longer.
type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (r *repository) failed(ctx context.Context, err error) error {
	var own *Error
	var limit *LimitError
	var stalled *stalledError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &own):
		return own
	case errors.As(err, &limit):
		return limit
	case errors.Is(err, errTooLarge):
		return &LimitError{Msg: r.name + ": the repository sends more than is allowed", Hint: "raise the limit with --max-size if it may be that large"}
	case errors.As(err, &stalled):
		return trouble("try again later", "%s: %s", r.name, stalled)
	case !r.online() && strings.Contains(err.Error(), "executable file not found"):
		return trouble("install git", "%s: a repository of this machine is read by git, which is not there", r.name)
	}
	return trouble("is it there, and can everybody read it? Credentials are not used: a private one is cloned with git, and given as git+file:///PATH@COMMIT",
		"%s: the repository cannot be read: %s", r.name, cause(err))
}

// fetchPack brings a pack that is to hold a commit and all that it needs.
func (f *Fetcher) fetchPack(ctx context.Context, r Request, repo *repository) (*pack, func(), error) {
	f.say("%s: asking for the commit", r)
	s, refs, done, err := f.connect(ctx, repo, r.MaxSize)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	want := plumbing.NewHash(r.Commit)
	req := packp.NewUploadPackRequestFromCapabilities(refs.Capabilities)
	if gives(refs, want) {
		req.Wants = []plumbing.Hash{want}
		if refs.Capabilities.Supports(capability.Shallow) {
			req.Depth = packp.DepthCommits(1)
			if err := req.Capabilities.Set(capability.Shallow); err != nil {
				return nil, nil, repo.failed(ctx, err)
			}
		}
	} else {
		f.say("%s: the server gives no commit by its id; fetching all branches and tags", r)
		if req.Wants, err = heads(refs); err != nil {
			return nil, nil, err
		}
	}
	file, err := f.Cache.scratch()
	if err != nil {
		return nil, nil, err
	}
	size, err := receive(ctx, s, req, file, r.MaxSize)
	if err != nil {
		file.Close()
		return nil, nil, repo.failed(ctx, err)
	}
	f.say("%s: unpacking %d bytes", r, size)
	p, err := readPack(ctx, file, size, r.String(), r.MaxSize)
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return p, func() { file.Close() }, nil
}

// receive writes the pack that a server answers with.
func receive(ctx context.Context, s transport.UploadPackSession, req *packp.UploadPackRequest, file *os.File, most int64) (int64, error) {
	resp, err := s.UploadPack(ctx, req)
	if err != nil {
		return 0, err
	}
	defer resp.Close()
	body := io.Reader(resp)
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		body = sideband.NewDemuxer(sideband.Sideband64k, resp)
	case req.Capabilities.Supports(capability.Sideband):
		body = sideband.NewDemuxer(sideband.Sideband, resp)
	}
	return io.Copy(file, &boundedBody{io.NopCloser(body), most})
}

// gives says that a server lets a commit be asked for by its id (gitprotocol-capabilities(5)).
func gives(refs *packp.AdvRefs, want plumbing.Hash) bool {
	if refs.Capabilities.Supports(capability.AllowReachableSHA1InWant) || refs.Capabilities.Supports("allow-any-sha1-in-want") {
		return true
	}
	if refs.Head != nil && *refs.Head == want {
		return true
	}
	for _, id := range refs.References {
		if id == want {
			return true
		}
	}
	return false
}

// heads are the ids of all branches and tags, sorted.
func heads(refs *packp.AdvRefs) ([]plumbing.Hash, error) {
	all := map[plumbing.Hash]bool{}
	for name, id := range refs.References {
		if strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/") {
			all[id] = true
		}
	}
	switch {
	case len(all) == 0:
		return nil, trouble("name another repository", "the repository has no branches and no tags")
	case len(all) > maxGitWants:
		return nil, &LimitError{
			Msg:  fmt.Sprintf("the repository gives no commit by its id, and has %d branches and tags, more than %d", len(all), maxGitWants),
			Hint: "clone it with git, and give git+file:///PATH@COMMIT",
		}
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b plumbing.Hash) int { return bytes.Compare(a[:], b[:]) }), nil
}

// unpinnedCommit tells which commit a branch or a tag is at, which may be written after an @; else HEAD.
func (f *Fetcher) unpinnedCommit(ctx context.Context, r Request, repo *repository) error {
	address, branch := r.Git, ""
	if i := strings.LastIndexByte(r.Git, '@'); i > strings.LastIndexByte(r.Git, '/') {
		address, branch = r.Git[:i], r.Git[i+1:]
		var err error
		if repo, err = parseRepository(address); err != nil {
			return err
		}
	}
	if repo.online() && !f.Network {
		return trouble("write git+"+address+"@COMMIT with the full id of a commit, 40 digits; assay fetch tells which is there", "%s is not pinned", r)
	}
	_, refs, done, err := f.connect(ctx, repo, maxGitRefs)
	if err != nil {
		return err
	}
	defer done()
	seen := plumbing.ZeroHash
	if branch == "" && refs.Head != nil {
		seen = *refs.Head
	} else {
		for _, name := range []string{"refs/heads/" + branch, "refs/tags/" + branch, branch} {
			if id, ok := refs.Peeled[name]; ok {
				seen = id
				break
			}
			if id, ok := refs.References[name]; ok {
				seen = id
				break
			}
		}
	}
	if seen.IsZero() {
		return trouble("give the full id of a commit, 40 digits", "%s is not pinned, and has no branch or tag %.100q", r, branch)
	}
	return &UnpinnedError{Name: r.String(), Seen: "commit " + seen.String(), Pin: "git+" + address + "@" + seen.String() + " (commit: in a file)"}
}

// A checkout is the writing of one commit's tree.
type checkout struct {
	pack    *pack
	archive *archive
	time    int64
	entries int
	subs    []string
	moreSub int
	lfs     some
}

// writeCommit writes the tree of a commit, and says what is to be known of it.
func writeCommit(p *pack, id plumbing.Hash, a *archive) ([]string, error) {
	raw, err := p.small(id, plumbing.CommitObject, maxGitMeta)
	if err != nil {
		return nil, err
	}
	tree, seconds, err := parseCommit(raw)
	if err != nil {
		return nil, p.damaged(fmt.Errorf("the commit %s: %w", id, err))
	}
	c := &checkout{pack: p, archive: a, time: seconds}
	a.comment(id.String())
	if err := c.tree(tree, "", 1); err != nil {
		return nil, err
	}
	if err := a.Close(); err != nil {
		return nil, err
	}
	notes := c.subs
	if c.moreSub > 0 {
		notes = append(notes, fmt.Sprintf("and %d more submodules", c.moreSub))
	}
	if len(c.lfs.names) > 0 {
		notes = append(notes, "pointers of git LFS, not the files that they stand for: "+c.lfs.String())
	}
	return notes, nil
}

// parseCommit reads the tree of a commit and the committer's time, in seconds since 1970.
func parseCommit(raw []byte) (tree plumbing.Hash, seconds int64, err error) {
	head, _, _ := bytes.Cut(raw, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	text, ok := strings.CutPrefix(lines[0], "tree ")
	if !ok || len(text) != 40 || text != strings.ToLower(text) {
		return tree, 0, errors.New("it names no tree")
	}
	if _, err := hex.Decode(tree[:], []byte(text)); err != nil {
		return tree, 0, errors.New("it names no tree")
	}
	for _, line := range lines[1:] {
		who, ok := strings.CutPrefix(line, "committer ")
		if !ok {
			continue
		}
		when, _, _ := strings.Cut(strings.TrimPrefix(who[strings.LastIndexByte(who, '>')+1:], " "), " ")
		if seconds, err = strconv.ParseInt(when, 10, 64); err != nil {
			return tree, 0, errors.New("it has no time")
		}
		return tree, seconds, nil
	}
	return tree, 0, errors.New("it has no committer")
}

// tree writes a directory; dir is "" or ends in a slash.
func (c *checkout) tree(id plumbing.Hash, dir string, depth int) error {
	if depth > maxGitDepth {
		return c.limit("directories are nested deeper than %d", maxGitDepth)
	}
	raw, err := c.pack.small(id, plumbing.TreeObject, maxGitMeta)
	if err != nil {
		return err
	}
	seen, last := map[string]bool{}, ""
	for len(raw) > 0 {
		var e treeEntry
		if e, raw, err = nextEntry(raw); err != nil {
			return c.refuse(dir, err)
		}
		// Names are sorted as if that of a directory ended in a slash (fsck.c, verify_ordered).
		order := e.name
		if e.mode == modeTree {
			order += "/"
		}
		if order <= last || seen[e.name] {
			return c.refuse(dir, fmt.Errorf("the name %.100q is there twice, or out of order", e.name))
		}
		last, seen[e.name] = order, true
		if c.entries++; c.entries > maxGitEntries {
			return c.limit("it holds more than %d files and directories", maxGitEntries)
		}
		if len(dir)+len(e.name) > maxGitPath {
			return c.limit("a path is longer than %d bytes", maxGitPath)
		}
		if err := c.entry(e, dir+e.name, depth); err != nil {
			return err
		}
	}
	return c.archive.err
}

func (c *checkout) entry(e treeEntry, name string, depth int) error {
	switch e.mode {
	case modeTree:
		c.archive.dir(name, 0o755, c.time)
		return c.tree(e.id, name+"/", depth+1)
	case modeModule:
		c.archive.dir(name, 0o755, c.time)
		if len(c.subs) < 100 {
			c.subs = append(c.subs, fmt.Sprintf("%s is a submodule at commit %s, and empty here: fetch it as a source of its own", plain.Line(name), e.id))
		} else {
			c.moreSub++
		}
		return c.archive.err
	case modeLink:
		target, err := c.pack.small(e.id, plumbing.BlobObject, maxGitPath)
		if err != nil {
			return err
		}
		if len(target) == 0 || bytes.IndexByte(target, 0) >= 0 {
			return c.refuse("", fmt.Errorf("%.200q is a symbolic link to nothing that is a name", name))
		}
		c.archive.symlink(name, string(target), c.time)
		return c.archive.err
	}
	i, err := c.pack.find(e.id, plumbing.BlobObject)
	if err != nil {
		return err
	}
	mode := int64(0o644)
	if e.mode == modeExecutable {
		mode = 0o755
	}
	size := c.pack.objects[i].size
	head := &prefix{most: min(size, int64(len(lfsPointer)))}
	c.archive.file(name, mode, c.time, size, func(w io.Writer) error {
		return c.pack.blob(i, e.id, io.MultiWriter(w, head))
	})
	if size < 1024 && string(head.b) == lfsPointer {
		c.lfs.add(plain.Line(name))
	}
	return c.archive.err
}

// lfsPointer is how every pointer file begins (git-lfs, docs/spec.md).
const lfsPointer = "version https://git-lfs"

func (c *checkout) refuse(dir string, err error) error {
	if dir != "" {
		err = fmt.Errorf("in %.200q: %w", dir, err)
	}
	return trouble("this is no tree that git makes: do not use the repository", "%s: %s", c.pack.name, plain.Line(err.Error()))
}

func (c *checkout) limit(format string, args ...any) error {
	return &LimitError{Msg: c.pack.name + ": " + fmt.Sprintf(format, args...), Hint: "pin an archive of what is needed of it by sha256"}
}

// Modes of a tree's entries (git's fsck.c); the last two are those that old versions wrote.
const (
	modeTree       = "40000"
	modeFile       = "100644"
	modeExecutable = "100755"
	modeLink       = "120000"
	modeModule     = "160000"
	modeGroup      = "100664"
)

type treeEntry struct {
	mode, name string
	id         plumbing.Hash
}

// nextEntry reads an entry of a tree: mode, blank, name, zero, id.
func nextEntry(raw []byte) (e treeEntry, rest []byte, err error) {
	head, rest, ok := bytes.Cut(raw, []byte{0})
	if !ok || len(rest) < len(e.id) {
		return e, nil, errors.New("a directory that ends early")
	}
	copy(e.id[:], rest)
	e.mode, e.name, _ = strings.Cut(string(head), " ")
	switch e.mode {
	case modeTree, modeFile, modeExecutable, modeLink, modeModule, modeGroup:
	default:
		return e, nil, fmt.Errorf("an entry of mode %.20q", e.mode)
	}
	return e, rest[len(e.id):], gitName(e.name)
}

// gitName refuses a name that is no name of a file, or would be git's own in a checkout.
func gitName(name string) error {
	switch {
	case name == "" || name == "." || name == "..", strings.EqualFold(name, ".git"), strings.EqualFold(name, "git~1"):
		return fmt.Errorf("an entry named %q", name)
	case strings.ContainsRune(name, '/'), strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("an entry named %.200q", name)
	}
	return nil
}

// scratch is a file without a name, which ends with the process.
func (c *Cache) scratch() (*os.File, error) {
	f, err := c.create()
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, unusable(err)
	}
	return f, nil
}
