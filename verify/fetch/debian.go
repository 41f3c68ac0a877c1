package fetch

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mikelolasagasti/xz"

	"github.com/assaylab/assay/verify/internal/plain"
)

// Limits on what describes a Debian source package.
const (
	maxDSC       = 1 << 20   // bytes of a .dsc, and of one of apt's lists of sources
	maxDSCFiles  = 256       // files that it names
	maxRelease   = 8 << 20   // bytes of an archive's InRelease
	maxSources   = 256 << 20 // bytes of an index of source packages, compressed
	maxSourcesXZ = 2 << 30   // and uncompressed
	maxMirrors   = 64
	maxDict      = 64 << 20 // bytes of the dictionary of an xz file: the most that its presets need
)

const (
	aptDir        = "/etc/apt"
	debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

	// sourceTime is the time of all entries, as a .dsc has none: 1980, the earliest that every archive can hold.
	sourceTime = 315532800

	debianHint = "write debian:NAME=VERSION@sha256:HEX, with the sha256 of the .dsc"
)

var (
	debianName    = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{1,99}$`)                  // Debian policy, 5.6.1
	debianVersion = regexp.MustCompile(`^(?:[0-9]{1,9}:)?[0-9][A-Za-z0-9.+~-]{0,99}$`) // 5.6.12
	debianFile    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+~_-]{0,254}$`)
)

// fetchDebian makes a tar archive of a Debian source package: its .dsc and all files that it names, from which
// "dpkg-source -x" makes the source tree. The pin is the sha256 of the .dsc, which states that of every other file
// (dsc(5), Checksums-Sha256); name and version in it must be those that were asked for.
//
// The files come from Request.Mirror, or else from the mirrors that this machine's apt has for Debian, by the layout of
// Debian's pool. No signature is looked at where there is a pin: it says all. Where there is none the error tells the
// digest that was seen, and whether an index that is signed by Debian's archive key lists it.
func (f *Fetcher) fetchDebian(ctx context.Context, r Request) (*Artifact, error) {
	return f.debianFrom(ctx, r, aptDir, debianKeyring)
}

func (f *Fetcher) debianFrom(ctx context.Context, r Request, apt, keyring string) (*Artifact, error) {
	switch {
	case !debianName.MatchString(r.Debian):
		return nil, trouble(debianHint, "%.100q is no name of a Debian source package", r.Debian)
	case !debianVersion.MatchString(r.Version):
		return nil, trouble(debianHint, "%.100q is no version of a Debian source package", r.Version)
	}
	_, plainVersion, ok := strings.Cut(r.Version, ":") // the epoch is not in the names of files
	if !ok {
		plainVersion = r.Version
	}
	p := &sourcePackage{fetcher: f, request: r, stem: r.Debian + "_" + plainVersion}
	mirrors := func() (err error) { // only where they are needed
		p.archives, err = debianArchives(apt, r.Mirror)
		return err
	}
	if r.DSC == "" {
		if !f.Network {
			return nil, trouble(debianHint+"; assay fetch tells it", "%s is not pinned", r)
		}
		if err := mirrors(); err != nil {
			return nil, err
		}
		return nil, p.unpinned(ctx, keyring)
	}
	alias := Alias{"debian-tar/v1", r.Debian + "=" + r.Version + "@sha256:" + r.DSC}
	return f.derive(ctx, r, alias, p.stem+".tar", true, func(w io.Writer) ([]string, error) {
		if err := mirrors(); err != nil {
			return nil, err
		}
		return p.write(ctx, w)
	})
}

// A sourcePackage is one that is being fetched.
type sourcePackage struct {
	fetcher  *Fetcher
	request  Request
	stem     string // NAME_VERSION without epoch
	archives []aptArchive
	found    string // the folder where its .dsc was
}

// write writes the archive.
func (p *sourcePackage) write(ctx context.Context, w io.Writer) ([]string, error) {
	name := p.stem + ".dsc"
	file, err := p.bring(ctx, name, p.request.DSC, maxDSC)
	if err != nil {
		return nil, err
	}
	files, err := parseDSC(file, p.request.Debian, p.request.Version)
	file.Close()
	if err != nil {
		return nil, trouble("", "%s: %s: %s", p.request, name, plain.Line(err.Error()))
	}
	if _, ok := files[name]; ok {
		return nil, trouble("", "%s: %s lists itself", p.request, name)
	}
	files[name] = sourceFile{p.request.DSC, -1}
	a := newArchive(w, p.request.String(), p.request.MaxSize)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := p.file(ctx, a, name, files[name]); err != nil {
			return nil, err
		}
	}
	return nil, a.Close()
}

func (p *sourcePackage) file(ctx context.Context, a *archive, name string, want sourceFile) error {
	if want.size > p.request.MaxSize {
		return tooLarge(name+" of "+p.request.String(), p.request.MaxSize)
	}
	file, err := p.bring(ctx, name, want.sum, p.request.MaxSize)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return unusable(err)
	}
	if want.size >= 0 && info.Size() != want.size {
		return trouble("", "%s: %s has %d bytes, and the .dsc says %d", p.request, name, info.Size(), want.size)
	}
	a.file(name, 0o644, sourceTime, info.Size(), func(w io.Writer) error {
		_, err := io.Copy(w, file)
		return err
	})
	return a.err
}

// bring brings the file of that name and digest, from the cache or the first mirror that has it.
func (p *sourcePackage) bring(ctx context.Context, name, sum string, most int64) (*os.File, error) {
	cache := p.fetcher.Cache
	file, err := cache.Get(ctx, sum)
	if !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	err = p.search(name, func(address string) error {
		_, err := p.fetcher.fetchURL(ctx, Request{URL: address, SHA256: sum, MaxSize: most})
		return err
	})
	if err != nil {
		return nil, err
	}
	return cache.Get(ctx, sum)
}

// search tries the places where a file may be, and ends at the first where get does, or with the error that says most.
func (p *sourcePackage) search(name string, get func(address string) error) error {
	var worst error
	for _, dir := range p.folders() {
		err := get(dir + "/" + url.PathEscape(name))
		var own *Error
		var mismatch *MismatchError
		switch {
		case err == nil:
			p.found = dir
			return nil
		case errors.As(err, &mismatch):
			worst = err // and another mirror may have the right one
		case !errors.As(err, &own):
			return err
		case worst == nil && !notThere(err):
			worst = err
		}
	}
	if worst == nil {
		worst = trouble("a version that left the archive is on a snapshot mirror: name that as its mirror; or fetch the files yourself and pin them by sha256",
			"%s: none of %d mirrors has %s", p.request, len(p.archives), name)
	}
	return worst
}

// notThere says that a server has no such file, as fetchURL words it.
func notThere(err error) bool {
	return strings.Contains(err.Error(), ": the server answers 404") || strings.Contains(err.Error(), ": the server answers 410")
}

// folders are where the files of the package may be, by the layout of Debian's pool: that of its .dsc first.
func (p *sourcePackage) folders() []string {
	name := p.request.Debian
	prefix := name[:1]
	if strings.HasPrefix(name, "lib") && len(name) > 3 {
		prefix = name[:4]
	}
	var dirs []string
	if p.found != "" {
		dirs = []string{p.found}
	}
	for _, pool := range []string{"pool", "pool/updates"} { // the second is that of security updates
		for _, component := range []string{"main", "contrib", "non-free", "non-free-firmware"} {
			for _, a := range p.archives {
				if dir := a.address + "/" + path.Join(pool, component, prefix, url.PathEscape(name)); !slices.Contains(dirs, dir) {
					dirs = append(dirs, dir)
				}
			}
		}
	}
	return dirs
}

// unpinned says what the pin would be.
func (p *sourcePackage) unpinned(ctx context.Context, keyring string) error {
	seen, name := "", p.stem+".dsc"
	err := p.search(name, func(address string) (err error) {
		seen, err = p.fetcher.fetchUnpinned(ctx, address, maxDSC)
		return err
	})
	if err != nil {
		return err
	}
	word := "no index that Debian's archive key signs was found to list it: "
	if suite, err := p.vouched(ctx, name, seen, keyring); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		word += plain.Line(err.Error())
	} else {
		word = "the index of " + suite + ", which Debian's archive key signs, lists it"
	}
	return &UnpinnedError{
		Name: p.request.String(), Seen: "a .dsc with the sha256 " + seen + " (" + word + ")",
		Pin: p.request.String() + "@sha256:" + seen,
	}
}

// fetchUnpinned puts what is at an address into the cache, whatever it is, and tells its sha256.
func (f *Fetcher) fetchUnpinned(ctx context.Context, address string, most int64) (string, error) {
	_, err := f.fetchURL(ctx, Request{URL: address, MaxSize: most})
	var unpinned *UnpinnedError
	if errors.As(err, &unpinned) {
		if unpinned.Pieces { // no digest to show to anybody
			return "", trouble("try again later", "%s: the connection broke, and the pieces may be of different files", unpinned.Name)
		}
		return unpinned.Seen, nil
	}
	return "", err
}

// vouched names the suite whose signed index lists a .dsc of that digest.
func (p *sourcePackage) vouched(ctx context.Context, name, sum, keyring string) (string, error) {
	last := errors.New("no suite is known")
	for _, a := range p.archives {
		for _, suite := range a.suites {
			release, err := p.release(ctx, a, suite, keyring)
			if err != nil {
				last = err
				continue
			}
			for _, component := range a.components {
				index := component + "/source/Sources.xz"
				pin := releaseSum(release, index)
				if pin == "" {
					continue
				}
				_, err := p.fetcher.fetchURL(ctx, Request{URL: a.address + "/dists/" + suite + "/" + index, SHA256: pin, MaxSize: maxSources})
				if err == nil {
					var listed bool
					if listed, err = p.listed(ctx, pin, name, sum); listed {
						return suite, nil
					}
				}
				if err != nil {
					last = err
				} else {
					last = fmt.Errorf("that of %s does not", suite)
				}
			}
		}
	}
	return "", last
}

// release is the text of an archive's InRelease, which a key of the keyring has signed (gpgv(1)).
func (p *sourcePackage) release(ctx context.Context, a aptArchive, suite, keyring string) (string, error) {
	program, err := exec.LookPath("gpgv")
	if err != nil {
		return "", errors.New("gpgv is not installed")
	}
	if _, err := os.Stat(keyring); err != nil {
		return "", errors.New("the keyring of Debian's archive is not installed")
	}
	sum, err := p.fetcher.fetchUnpinned(ctx, a.address+"/dists/"+suite+"/InRelease", maxRelease)
	if err != nil {
		return "", err
	}
	file, err := p.fetcher.Cache.Get(ctx, sum)
	if err != nil {
		return "", err
	}
	defer file.Close()
	cmd := exec.CommandContext(ctx, program, "--quiet", "--keyring", keyring, "--output", "-", "-")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.Stdin = file
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("the signature of %s's InRelease does not verify", suite)
	}
	return string(text), nil
}

// releaseSum is the sha256 that a Release file states of an index, or "".
func releaseSum(release, index string) string {
	inside := false
	for line := range strings.Lines(release) {
		if line[0] != ' ' {
			inside = strings.TrimSpace(line) == "SHA256:"
			continue
		}
		if words := strings.Fields(line); inside && len(words) == 3 && words[2] == index && isDigest.MatchString(words[0]) {
			return words[0]
		}
	}
	return ""
}

// listed says whether an index of source packages, which is in the cache, lists the package with that .dsc.
func (p *sourcePackage) listed(ctx context.Context, index, name, sum string) (bool, error) {
	file, err := p.fetcher.Cache.Get(ctx, index)
	if err != nil {
		return false, err
	}
	defer file.Close()
	z, err := xz.NewReader(bufio.NewReader(file), maxDict)
	if err != nil {
		return false, err
	}
	left := int64(maxSourcesXZ)
	lines := bufio.NewScanner(&metered{ctx: ctx, r: z, left: &left})
	lines.Buffer(make([]byte, 1<<16), 4<<20) // lists of packages are long
	var own, version, has bool
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "":
			own, version, has = false, false, false
		case line == "Package: "+p.request.Debian:
			own = true
		case line == "Version: "+p.request.Version:
			version = true
		default:
			if words := strings.Fields(line); line[0] == ' ' && len(words) == 3 && words[0] == sum && words[2] == name {
				has = true
			}
		}
		if own && version && has {
			return true, nil
		}
	}
	return false, lines.Err()
}

// A sourceFile is one that a .dsc names.
type sourceFile struct {
	sum  string // sha256
	size int64  // bytes; -1 where unknown
}

// parseDSC reads the files that the .dsc of a package names (dsc(5), deb822(5)). Its signature, if it has one, is passed
// over: the digest of the whole is what pins it.
func parseDSC(r io.Reader, name, version string) (map[string]sourceFile, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxDSC+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxDSC {
		return nil, fmt.Errorf("more than %d bytes", maxDSC)
	}
	paragraphs, err := deb822(unsigned(b))
	if err != nil {
		return nil, err
	}
	if len(paragraphs) != 1 {
		return nil, fmt.Errorf("%d paragraphs, where one must be", len(paragraphs))
	}
	fields := paragraphs[0]
	switch {
	case fields["source"] != name:
		return nil, fmt.Errorf("it is of the package %.100q", fields["source"])
	case fields["version"] != version:
		return nil, fmt.Errorf("it is of the version %.100q", fields["version"])
	}
	files := map[string]sourceFile{}
	for line := range strings.SplitSeq(strings.TrimSpace(fields["checksums-sha256"]), "\n") {
		words := strings.Fields(line)
		if len(words) != 3 || !isDigest.MatchString(words[0]) || !debianFile.MatchString(words[2]) {
			return nil, fmt.Errorf("Checksums-Sha256 has the line %.200q", line)
		}
		size, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil || size < 0 {
			return nil, fmt.Errorf("Checksums-Sha256 has the line %.200q", line)
		}
		if _, ok := files[words[2]]; ok {
			return nil, fmt.Errorf("Checksums-Sha256 names %s twice", words[2])
		}
		if files[words[2]] = (sourceFile{words[0], size}); len(files) > maxDSCFiles {
			return nil, fmt.Errorf("it names more than %d files", maxDSCFiles)
		}
	}
	return files, nil
}

// unsigned is what a clear-signed message says (RFC 9580, 7).
func unsigned(b []byte) []byte {
	text, ok := bytes.CutPrefix(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("-----BEGIN PGP SIGNED MESSAGE-----\n"))
	if !ok {
		return b
	}
	_, text, _ = bytes.Cut(text, []byte("\n\n"))
	text, _, _ = bytes.Cut(text, []byte("\n-----BEGIN PGP SIGNATURE-----"))
	return bytes.ReplaceAll(append([]byte("\n"), text...), []byte("\n- "), []byte("\n"))
}

// deb822 reads paragraphs of fields, by their names in lower case. The lines of a field follow each other, without the
// blank that they begin with.
func deb822(b []byte) ([]map[string]string, error) {
	var all []map[string]string
	var fields map[string]string
	last := ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, " \t\r\n")
		switch {
		case line == "":
			fields, last = nil, ""
		case line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if last == "" {
				return nil, fmt.Errorf("the line %.100q belongs to no field", line)
			}
			fields[last] += "\n" + strings.TrimSpace(line)
		default:
			name, value, ok := strings.Cut(line, ":")
			if !ok {
				return nil, fmt.Errorf("the line %.100q is no field", line)
			}
			if fields == nil {
				fields = map[string]string{}
				all = append(all, fields)
			}
			last = strings.ToLower(strings.TrimSpace(name))
			if _, ok := fields[last]; ok {
				return nil, fmt.Errorf("the field %.100q is there twice", last)
			}
			fields[last] = strings.TrimSpace(value)
		}
	}
	return all, nil
}

// An aptArchive is an entry of apt's lists of sources.
type aptArchive struct {
	address    string // without a slash at the end
	suites     []string
	components []string
}

// debianArchives are the mirror, if one is named, or those that apt has for Debian (sources.list(5)).
func debianArchives(apt, mirror string) ([]aptArchive, error) {
	if mirror != "" {
		u, err := parseURL(mirror)
		if err != nil {
			return nil, err
		}
		return []aptArchive{{address: strings.TrimRight(u.String(), "/")}}, nil
	}
	names := []string{filepath.Join(apt, "sources.list")}
	for _, pattern := range []string{"*.list", "*.sources"} {
		more, err := filepath.Glob(filepath.Join(apt, "sources.list.d", pattern))
		if err != nil {
			return nil, err
		}
		names = append(names, more...)
	}
	var all []aptArchive
	for _, name := range names {
		b, err := readSmall(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			read := oneLine
			if strings.HasSuffix(name, ".sources") {
				read = stanzas
			}
			var some []aptArchive
			some, err = read(b)
			all = append(all, some...)
		}
		if err != nil {
			return nil, trouble("mend it, or name a mirror", "apt's %s cannot be read: %s", filepath.Base(name), cause(err))
		}
	}
	all = slices.DeleteFunc(all, func(a aptArchive) bool {
		_, err := parseURL(a.address)
		return err != nil // cdrom:, file:, mirror+file: and such
	})
	switch {
	case len(all) == 0:
		return nil, trouble("name a mirror of Debian's archive", "apt has no source for Debian that is read by http or https")
	case len(all) > maxMirrors:
		all = all[:maxMirrors]
	}
	return all, nil
}

func readSmall(name string) ([]byte, error) {
	file, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxDSC+1))
	if err == nil && len(b) > maxDSC {
		err = fmt.Errorf("more than %d bytes", maxDSC)
	}
	return b, err
}

// oneLine reads lines such as "deb [signed-by=FILE] ADDRESS SUITE COMPONENT…".
func oneLine(b []byte) ([]aptArchive, error) {
	var all []aptArchive
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		kind, rest, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(line, "\t", " ")), " ")
		if kind != "deb" && kind != "deb-src" {
			continue
		}
		rest = strings.TrimSpace(rest)
		signedBy := ""
		if options, after, ok := strings.Cut(rest, "]"); ok && strings.HasPrefix(options, "[") {
			rest = after
			for option := range strings.FieldsSeq(options[1:]) {
				if value, ok := strings.CutPrefix(strings.ToLower(option), "signed-by="); ok {
					signedBy = value
				}
			}
		}
		words := strings.Fields(rest)
		if len(words) < 3 || !ofDebian(signedBy) { // one with two words has no pool
			continue
		}
		all = append(all, aptArchive{strings.TrimRight(words[0], "/"), words[1:2], words[2:]})
	}
	return all, nil
}

// stanzas reads the deb822 form.
func stanzas(b []byte) ([]aptArchive, error) {
	paragraphs, err := deb822(b)
	if err != nil {
		return nil, err
	}
	var all []aptArchive
	for _, p := range paragraphs {
		if no := strings.ToLower(p["enabled"]); no == "no" || no == "false" || !ofDebian(p["signed-by"]) || p["components"] == "" {
			continue
		}
		for address := range strings.FieldsSeq(p["uris"]) {
			all = append(all, aptArchive{strings.TrimRight(address, "/"), strings.Fields(p["suites"]), strings.Fields(p["components"])})
		}
	}
	return all, nil
}

// ofDebian says that an archive may be Debian's: it is signed by what belongs to Debian, or no entry says by what.
func ofDebian(signedBy string) bool {
	return signedBy == "" || strings.HasPrefix(path.Base(signedBy), "debian-archive-")
}
