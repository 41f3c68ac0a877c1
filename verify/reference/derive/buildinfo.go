package derive

import (
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/reference/sandbox"
)

// MaxBuildinfo bounds a .buildinfo, in bytes.
const MaxBuildinfo = 8 << 20

// Where a Debian build keeps what the sandbox has no place for: a database of packages, and the name of the vendor.
const (
	adminDir   = "/build/dpkg/admin"
	originsDir = "/build/dpkg/origins"
)

// FromBuildinfo makes a recipe of a Debian .buildinfo. That may be signed in clear text; the signature is not looked at,
// and that is said, as it is of one that is not signed.
//
// The source is the Debian source package, pinned by the sha256 of the .dsc where the build listed it; dsc may give it
// for a build that did not. It is unpacked where it was built (Build-Path), and built by dpkg-buildpackage with the
// recorded environment, all of its packages or those of one kind, as they were. Of the environment only variables that
// dpkg records are taken, and those that tell the build what to make are said.
//
// status is a database of packages (dpkg's status file) to hold the packages that were there against; nil for none.
// What differs is said. What the host's own database would tell the build is not visible in the sandbox: the build gets
// an empty one unless /var/lib/dpkg is shown to it as a directory of tools.
func FromBuildinfo(text []byte, dsc string, status io.Reader) (*Derived, error) {
	if len(text) > MaxBuildinfo {
		return nil, fmt.Errorf("the .buildinfo is larger than %d bytes", MaxBuildinfo)
	}
	d := &draft{}
	b, signed, err := readBuildinfo(string(text))
	if err == nil {
		err = d.debian(b, dsc)
	}
	if err != nil {
		return nil, fmt.Errorf("the .buildinfo: %w", err)
	}
	vouched := "It is not signed: nobody vouches for it."
	if signed {
		vouched = "Its signature was not verified."
	}
	d.head = append(d.head, vouched)
	if err := d.installed(b.installed, status); err != nil {
		return nil, err
	}
	d.fillIn()
	return d.finish()
}

// A buildinfo is what a .buildinfo says.
type buildinfo struct {
	source, version string // of the source package
	arch            []string
	dsc             string // sha256, or ""
	files           []reference.File
	dir             string // where it was built, or ""
	origin          string // vendor
	env             []string
	installed       []installed
	rebuild         bool // a binary-only upload
	tainted         string
}

type installed struct{ name, arch, version string }

var (
	debSource  = regexp.MustCompile(`^([a-z0-9][a-z0-9+.-]+)(?: \(([0-9A-Za-z.+:~-]+)\))?$`)
	debVersion = regexp.MustCompile(`^([0-9]{1,9}:)?[0-9][A-Za-z0-9.+~-]*$`)
	debFile    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+~_%-]*$`)
	debArch    = regexp.MustCompile(`^[a-z0-9-]+$`)
	debDepends = regexp.MustCompile(`^([a-z0-9][a-z0-9+.-]+)(?::([a-z0-9-]+))? \(= ([0-9A-Za-z.+:~-]+)\)$`)
	debVendor  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 .+-]*$`)
	variable   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	isSHA256   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func readBuildinfo(text string) (*buildinfo, bool, error) {
	plain, signed, err := unarmor(text)
	if err != nil {
		return nil, false, err
	}
	var all []paragraph
	if err := paragraphs(strings.NewReader(plain), func(p paragraph) error {
		all = append(all, p)
		return nil
	}); err != nil {
		return nil, false, err
	}
	if len(all) != 1 {
		return nil, false, fmt.Errorf("it has %d paragraphs, where one is allowed", len(all))
	}
	p := all[0]
	if f := p["format"]; f != "1.0" {
		return nil, false, fmt.Errorf("its Format is %.40q, not 1.0", f)
	}
	b := &buildinfo{
		version: p["version"], arch: strings.Fields(p["architecture"]), dir: p["build-path"], origin: p["build-origin"],
		tainted: strings.Join(strings.Fields(p["build-tainted-by"]), " "),
	}
	m := debSource.FindStringSubmatch(p["source"])
	if m == nil {
		return nil, false, fmt.Errorf("its Source is %.80q", p["source"])
	}
	b.source = m[1]
	_, b.rebuild = p["binary-only-changes"]
	if m[2] != "" {
		b.version = m[2]
		b.rebuild = true
	}
	if !debVersion.MatchString(b.version) {
		return nil, false, fmt.Errorf("its Version is %.80q", b.version)
	}
	if len(b.arch) == 0 || slices.ContainsFunc(b.arch, func(a string) bool { return !debArch.MatchString(a) }) {
		return nil, false, fmt.Errorf("its Architecture is %.80q", p["architecture"])
	}
	if b.origin != "" && !debVendor.MatchString(b.origin) {
		return nil, false, fmt.Errorf("its Build-Origin is %.80q", b.origin)
	}
	for _, read := range []func(paragraph) error{b.readSums, b.readEnvironment, b.readInstalled} {
		if err := read(p); err != nil {
			return nil, false, err
		}
	}
	return b, signed, nil
}

func (b *buildinfo) readSums(p paragraph) error {
	for line := range strings.SplitSeq(p["checksums-sha256"], "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 || !isSHA256.MatchString(f[0]) || !debFile.MatchString(f[2]) {
			return fmt.Errorf("Checksums-Sha256 has a line %.200q", line)
		}
		size, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil || size < 0 {
			return fmt.Errorf("Checksums-Sha256 has a size %.40q", f[1])
		}
		if strings.HasSuffix(f[2], ".dsc") {
			if b.dsc != "" {
				return errors.New("Checksums-Sha256 has two .dsc")
			}
			b.dsc = f[0]
			continue
		}
		if slices.ContainsFunc(b.files, func(o reference.File) bool { return o.Name == f[2] }) {
			return fmt.Errorf("Checksums-Sha256 has %s twice", f[2])
		}
		b.files = append(b.files, reference.File{Name: f[2], Size: size, SHA256: f[0]})
	}
	return nil
}

// readEnvironment reads NAME="VALUE" lines, in which \" and \\ stand for " and \.
func (b *buildinfo) readEnvironment(p paragraph) error {
	for line := range strings.SplitSeq(p["environment"], "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || !variable.MatchString(name) || len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
			return fmt.Errorf("its Environment has a line %.200q", line)
		}
		value, err := unescape(value[1 : len(value)-1])
		if err != nil {
			return fmt.Errorf("its Environment: %s: %w", name, err)
		}
		if slices.ContainsFunc(b.env, func(v string) bool { return strings.HasPrefix(v, name+"=") }) {
			return fmt.Errorf("its Environment has %s twice", name)
		}
		b.env = append(b.env, name+"="+value)
	}
	return nil
}

func unescape(s string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
		case s[i] == '\\' || s[i] == '"':
			return "", fmt.Errorf("%.80q is not quoted rightly", s)
		}
		out.WriteByte(s[i])
	}
	return out.String(), nil
}

func (b *buildinfo) readInstalled(p paragraph) error {
	for entry := range strings.SplitSeq(p["installed-build-depends"], ",") {
		entry = strings.Join(strings.Fields(entry), " ")
		if entry == "" {
			continue
		}
		m := debDepends.FindStringSubmatch(entry)
		if m == nil {
			return fmt.Errorf("Installed-Build-Depends has an entry %.200q", entry)
		}
		b.installed = append(b.installed, installed{m[1], m[2], m[3]})
	}
	return nil
}

// debian makes the recipe.
func (d *draft) debian(b *buildinfo, dsc string) error {
	d.head = []string{fmt.Sprintf("The build of Debian's source package %s %s, as its .buildinfo records it.", b.source, b.version)}
	if dsc != "" && b.dsc != "" && dsc != b.dsc {
		return fmt.Errorf("it lists a .dsc with the sha256 %s, and %s was given", b.dsc, dsc)
	}
	if dsc == "" {
		dsc = b.dsc
	}
	if dsc == "" {
		dsc = reference.FillIn + ": the sha256 of the .dsc"
		d.lack("the .dsc: only packages were built, and the record lists no source")
	}
	if b.rebuild {
		d.lack("the entry that was added to the changelog for this binary-only rebuild: without it, versions and dates differ")
	}
	if b.tainted != "" {
		d.lack("what tainted the build: %s", b.tainted)
	}
	upstream := b.version[strings.Index(b.version, ":")+1:]
	work := "/build/package/" + b.source + "-" + upstream
	switch {
	case b.dir == "":
		d.lack("the directory of the build: the record has none, and paths that leak differ; built in %s", work)
	case sandbox.CheckPlace(b.dir) != nil || sandbox.CheckPlace(path.Dir(b.dir)) != nil || path.Dir(b.dir) == "/build/dpkg":
		d.lack("the directory of the build, %.200q: no source can be put there; built in %s", b.dir, work)
	default:
		work = b.dir
	}
	d.Sources = []reference.Source{{
		Kind: reference.SourceDebian, Name: b.source, Version: b.version, Pin: dsc, At: path.Dir(work),
	}}
	d.debianEnvironment(b)
	d.debianSteps(b, b.source+"_"+upstream+".dsc", work)
	for _, f := range b.files {
		if strings.HasSuffix(f.Name, ".deb") || strings.HasSuffix(f.Name, ".udeb") {
			d.Recipe.Outputs = append(d.Recipe.Outputs, reference.OutputSpec{Path: f.Name})
			d.outputs = append(d.outputs, f)
		} else {
			d.lack("the file %s: it is no package", f.Name)
		}
	}
	d.Toolchain.Host = []string{"dpkg-source", "dpkg-buildpackage", "dpkg-deb", "make"}
	for _, tool := range []string{"gcc", "g++", "dh"} {
		pkg := map[string]string{"gcc": "gcc", "g++": "g++", "dh": "debhelper"}[tool]
		if slices.ContainsFunc(b.installed, func(i installed) bool { return i.name == pkg }) {
			d.Toolchain.Host = append(d.Toolchain.Host, tool)
		}
	}
	return nil
}

// Of the variables that a .buildinfo may record (Dpkg::BuildInfo, get_build_env_allowed), those that say how messages are
// written and what time it is, and those that say what is run and with which flags. TZ is not of dpkg's list. Those that
// name a directory (LD_LIBRARY_PATH, DPKG_ROOT and its like) are in neither: it is one of another machine, and here it
// could only lie in the source.
var (
	inertVariable = regexp.MustCompile(`^(LANG|LC_(ALL|CTYPE|NUMERIC|TIME|COLLATE|MONETARY|MESSAGES|PAPER|NAME|ADDRESS|TELEPHONE|` +
		`MEASUREMENT|IDENTIFICATION)|SOURCE_DATE_EPOCH|TZ)$`)
	buildVariable = regexp.MustCompile(`^(CC|CPP|CXX|OBJC|OBJCXX|PC|FC|M2C|AS|LD|AR|RANLIB|MAKE|AWK|LEX|YACC|` +
		`(AS|C|CPP|CXX|OBJC|OBJCXX|GCJ|D|F|LD)FLAGS(_FOR_BUILD)?|ARFLAGS|MAKEFLAGS|` +
		`DEB_(BUILD_OPTIONS|BUILD_PROFILES|VENDOR)|DEB_[A-Z]+_(SET|STRIP|APPEND|PREPEND)|DPKG_GENSYMBOLS_CHECK_LEVEL)$`)
	parallel = regexp.MustCompile(`^DEB_BUILD_OPTIONS=parallel=[0-9]{1,4}$`) // which every record has
)

func (d *draft) debianEnvironment(b *buildinfo) {
	for _, v := range b.env {
		name, value, _ := strings.Cut(v, "=")
		switch {
		case inertVariable.MatchString(name) || parallel.MatchString(v):
		case buildVariable.MatchString(name):
			d.head = append(d.head, fmt.Sprintf("The record chooses what is built by %s=%.200q: read it.", name, value))
		default:
			d.lack("the variable %s=%.200q: it is none that a build by dpkg records and that means the same here", name, value)
			continue
		}
		d.Env = append(d.Env, v)
	}
	for _, name := range []string{"LC_ALL", "TZ", "SOURCE_DATE_EPOCH"} {
		if !slices.ContainsFunc(d.Env, func(v string) bool { return strings.HasPrefix(v, name+"=") }) {
			d.lack("the variable %s: the record has none, and a recipe sets one", name)
		}
	}
	if b.origin != "" {
		d.Env = append(d.Env, "DPKG_ORIGINS_DIR="+originsDir)
	}
	slices.Sort(d.Env)
}

// debianSteps unpack the source and build its packages. The sandbox has no database of packages, from which
// dpkg-checkbuilddeps and dpkg-genbuildinfo read, so dependencies are not checked, and the database is an empty one
// where none is shown. Names that go into a script have been held against a strict grammar, but for the directory.
func (d *draft) debianSteps(b *buildinfo, dsc, work string) {
	prepare := "mkdir -p " + adminDir + " " + originsDir + "\n" +
		": >" + adminDir + "/status\n"
	if b.origin != "" {
		prepare += "printf 'Vendor: %s\\n' '" + b.origin + "' >" + originsDir + "/default\n" +
			"cp " + originsDir + "/default " + originsDir + "/" + strings.ToLower(strings.ReplaceAll(b.origin, " ", "-")) + "\n"
	}
	var kind string
	all := slices.Contains(b.arch, "all")
	others := slices.ContainsFunc(b.arch, func(a string) bool { return a != "all" && a != "source" })
	switch {
	case all && others:
		kind = "--build=binary"
	case all:
		kind = "--build=all"
	default:
		kind = "--build=any"
	}
	d.Steps = []sandbox.Step{
		{"/bin/sh", "-e", "-c", prepare},
		{"dpkg-source", "--extract", dsc, work},
		{
			"/bin/sh", "-e", "-c",
			"cd \"$1\"\nadmin=" + adminDir + "\nif [ -r /var/lib/dpkg/status ]; then admin=/var/lib/dpkg; fi\n" +
				"exec dpkg-buildpackage --admindir=\"$admin\" --no-check-builddeps --unsigned-source --unsigned-changes \"$2\"\n",
			"build", work, kind,
		},
	}
	d.head = append(d.head,
		"The build has the user 1000. Packages whose Rules-Requires-Root is not \"no\" need fakeroot among the tools.",
		"Packages that look up libraries (dpkg-shlibdeps) need the database of packages: rebuild with --tool-dir /var/lib/dpkg.")
}

// installed says which packages were there, and which of them the database has in other versions or not at all.
func (d *draft) installed(was []installed, status io.Reader) error {
	if len(was) == 0 {
		d.lack("the packages that were installed: the record has none")
		return nil
	}
	if status == nil {
		for _, i := range was {
			d.head = append(d.head, "Built with "+i.String())
		}
		return nil
	}
	have, err := readStatus(status)
	if err != nil {
		return fmt.Errorf("the database of packages: %w", err)
	}
	same := 0
	for _, i := range was {
		var found []string
		for _, h := range have[i.name] {
			if i.arch == "" || h.arch == i.arch {
				found = append(found, h.version)
			}
		}
		switch {
		case slices.Contains(found, i.version):
			same++
		case len(found) == 0:
			d.lack("the package %s: it is not installed here", i)
		default:
			d.lack("the package %s: here it is %s", i, strings.Join(found, ", "))
		}
	}
	d.head = append(d.head, fmt.Sprintf("Of the %d packages that were installed, %d are here in the same version.", len(was), same))
	return nil
}

func (i installed) String() string {
	name := i.name
	if i.arch != "" {
		name += ":" + i.arch
	}
	return name + " (= " + i.version + ")"
}

// maxStatus bounds a database of packages, in bytes.
const maxStatus = 1 << 30

// readStatus reads which packages a database has installed, by name.
func readStatus(r io.Reader) (map[string][]installed, error) {
	in := &io.LimitedReader{R: r, N: maxStatus}
	have := map[string][]installed{}
	err := paragraphs(in, func(p paragraph) error {
		if strings.HasSuffix(p["status"], " installed") {
			have[p["package"]] = append(have[p["package"]], installed{p["package"], p["architecture"], p["version"]})
		}
		return nil
	})
	if err == nil && in.N == 0 {
		err = fmt.Errorf("it is larger than %d bytes", maxStatus)
	}
	return have, err
}
