package derive

import (
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/reference"
)

const plainInfo = `Format: 1.0
Source: hello
Architecture: amd64 all
Version: 1.2
Checksums-Sha256:
 cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc 800 hello_1.2.dsc
 dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd 3 hello_1.2_all.deb
Build-Origin: Debian
Build-Path: /build/x/hello-1.2
Environment:
 CFLAGS="a \"b\" \\ $(c)"
 LC_ALL="C"
 SOURCE_DATE_EPOCH="1"
 TZ="UTC"
Installed-Build-Depends: make (= 1), gcc (= 4:12)
`

func TestReadBuildinfo(t *testing.T) {
	edit := func(old, new string) string {
		if !strings.Contains(plainInfo, old) {
			t.Fatalf("there is no %q", old)
		}
		return strings.Replace(plainInfo, old, new, 1)
	}
	clear := func(text string) string {
		return "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n" + text + "-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n"
	}
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "0 paragraphs"},
		{"two", plainInfo + "\nFormat: 1.0\n", "2 paragraphs"},
		{"another format", edit("1.0", "2.0"), `Format is "2.0"`},
		{"no format", edit("Format: 1.0\n", ""), `Format is ""`},
		{"source", edit("Source: hello", "Source: ../hello"), "its Source is"},
		{"source with blanks", edit("Source: hello", "Source: hello x"), "its Source is"},
		{"version", edit("Version: 1.2", "Version: 1.2; rm"), "its Version is"},
		{"architecture", edit("amd64 all", "amd64 '"), "its Architecture is"},
		{"vendor", edit("Debian", "D'; rm"), "its Build-Origin is"},
		{"short digest", edit("ddd 3", "dd 3"), "Checksums-Sha256 has a line"},
		{"file elsewhere", edit("hello_1.2_all.deb", "../hello.deb"), "Checksums-Sha256 has a line"},
		{"negative size", edit(" 3 ", " -3 "), "has a size"},
		{"two .dsc", edit("hello_1.2_all.deb", "x.dsc"), "two .dsc"},
		{"a file twice", edit("Build-Origin", " "+strings.Repeat("d", 64)+" 3 hello_1.2_all.deb\nBuild-Origin"), "twice"},
		{"unquoted variable", edit(`LC_ALL="C"`, `LC_ALL=C`), "Environment has a line"},
		{"variable of another name", edit(`LC_ALL="C"`, `L-C="C"`), "Environment has a line"},
		{"a variable twice", edit(`TZ="UTC"`, `CFLAGS="UTC"`), "Environment has CFLAGS twice"},
		{"a quote inside", edit(`TZ="UTC"`, `TZ="U"TC"`), "not quoted rightly"},
		{"an end that is none", edit(`TZ="UTC"`, `TZ="UTC\"`), "not quoted rightly"},
		{"installed", edit("make (= 1)", "make (>= 1)"), "Installed-Build-Depends has an entry"},
		{"a field twice", edit("Build-Origin: Debian", "SOURCE: hello"), "there already"},
		{"no field", "hello\n", "line 1 is not a field"},
		{"going on from nothing", " hello\n", "goes on from no field"},
		{"a long line", "Format: " + strings.Repeat("1", 2<<20), "longer than"},
		{"before the signed part", "Format: 1.0\n" + clear(plainInfo), "before its signed part"},
		{"after the signature", clear(plainInfo) + "Format: 1.0\n", "does not end it"},
		{"two signed parts", clear(clear(plainInfo)), "does not end it"},
		{"no signature", "-----BEGIN PGP SIGNED MESSAGE-----\n\n" + plainInfo, "does not end it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := FromBuildinfo([]byte(c.text), "", nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := FromBuildinfo(make([]byte, MaxBuildinfo+1), "", nil); err == nil {
		t.Error("a huge one is read")
	}
	for _, text := range []string{plainInfo, clear(plainInfo), strings.ReplaceAll(clear(plainInfo), "\n", "\r\n"), clear(strings.Replace(plainInfo, "Source:", "- Source:", 1))} {
		d, err := FromBuildinfo([]byte(text), "", nil)
		if err != nil || !d.Complete || strings.Contains(string(d.Recipe), "# Its signature was not verified.\n") != (text != plainInfo) ||
			strings.Contains(string(d.Recipe), "# It is not signed: nobody vouches for it.\n") != (text == plainInfo) {
			t.Errorf("got %+v, %v of\n%s", d, err, text)
		}
	}
	// Half a million lines take no longer than their bytes.
	if _, err := FromBuildinfo([]byte(plainInfo+"X:\n"+strings.Repeat(" x\n", 1<<19)), "", nil); err != nil {
		t.Error(err)
	}
}

func TestBuildinfoRecipe(t *testing.T) {
	edit := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(plainInfo) }
	for _, c := range []struct {
		name, text string
		lines      []string // in the recipe
		unmapped   []string // said of it, each a part
	}{
		{"plain", plainInfo, []string{
			`at: "/build/x"}`, `  CFLAGS: "a \"b\" \\ $(c)"`, `  LC_ALL: "C"`, `"build", "/build/x/hello-1.2", "--build=binary"]`,
			`"make", "gcc"]}`, `  - {path: "hello_1.2_all.deb"}`, `# Recorded output: hello_1.2_all.deb sha256:dddd`, `# Built with gcc (= 4:12)`,
		}, nil},
		{"only architecture-independent", edit("amd64 all", "all source"), []string{`"--build=all"]`}, nil},
		{"only architecture-dependent", edit("amd64 all", "amd64"), []string{`"--build=any"]`}, nil},
		{"no path", edit("Build-Path: /build/x/hello-1.2\n", ""), []string{`at: "/build/package"}`}, []string{"the record has none, and paths that leak differ"}},
		{"path of a home", edit("/build/x/", "/home/me/"), []string{`at: "/build/package"}`}, []string{"no source can be put there"}},
		{"path that climbs", edit("/build/x/", "/build/../usr/"), []string{`at: "/build/package"}`}, []string{"no source can be put there"}},
		{"path at the top", edit("/build/x/hello-1.2", "/hello"), []string{`at: "/build/package"}`}, []string{"no source can be put there"}},
		{"path of the script", edit("/build/x/", "/build/dpkg/"), []string{`at: "/build/package"}`}, []string{"no source can be put there"}},
		{"path with a shell's signs", edit("/build/x/hello-1.2", "/b'; $(x)/y\" z"), []string{`"build", "/b'; $(x)/y\" z", "--build=binary"]`}, nil},
		{"binary-only rebuild", edit("Source: hello", "Source: hello (1.1)"), []string{`version: "1.1"`}, []string{"binary-only rebuild"}},
		{"no environment", edit(`LC_ALL="C"`, `LANG="C"`), nil, []string{"the variable LC_ALL"}},
		{"tainted", plainInfo + "Build-Tainted-By:\n merged-usr-via-aliased-dirs\n", nil, []string{"what tainted the build: merged-usr-via-aliased-dirs"}},
		{"another file", edit("hello_1.2_all.deb", "hello_1.2_all.txt"), []string{"FILL-IN"}, []string{"the file hello_1.2_all.txt: it is no package"}},
		{"without vendor", edit("Build-Origin: Debian\n", ""), []string{": >/build/dpkg/admin/status\n  - [\"dpkg-source\""}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := FromBuildinfo([]byte(c.text), "", nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range c.lines {
				if !strings.Contains(string(d.Recipe), line) {
					t.Errorf("no %s in\n%s", line, d.Recipe)
				}
			}
			if c.unmapped == nil && len(d.Unmapped) > 0 {
				t.Errorf("unmapped %q", d.Unmapped)
			}
			for _, part := range c.unmapped {
				if !slices.ContainsFunc(d.Unmapped, func(s string) bool { return strings.Contains(s, part) }) {
					t.Errorf("%q is not said: %q", part, d.Unmapped)
				}
			}
			if d.Complete == strings.Contains(string(d.Recipe), reference.FillIn) {
				t.Errorf("complete: %t\n%s", d.Complete, d.Recipe)
			}
		})
	}
}

// Of the environment, what dpkg does not record does not reach the build, and what chooses what is built is said.
func TestBuildinfoEnvironment(t *testing.T) {
	for _, c := range []struct {
		variable    string
		taken, said bool
	}{
		{`LANG="C"`, true, false},
		{`LC_TIME="C"`, true, false},
		{`DEB_BUILD_OPTIONS="parallel=12"`, true, false},
		{`DEB_BUILD_OPTIONS="parallel=12 noopt"`, true, true},
		{`LDFLAGS="-z norelro"`, true, true},
		{`CXXFLAGS_FOR_BUILD="-O0"`, true, true},
		{`MAKEFLAGS="--eval=x"`, true, true},
		{`CC="sh -c x"`, true, true},
		{`DEB_CFLAGS_APPEND="-O0"`, true, true},
		{`LD_PRELOAD="/build/x/evil.so"`, false, false},
		{`LD_LIBRARY_PATH="/build/x"`, false, false},
		{`DPKG_DATADIR="/build/x"`, false, false},
		{`DPKG_ORIGINS_DIR="/build/x"`, false, false},
		{`PERL5OPT="-Mevil"`, false, false},
		{`BASH_ENV="/build/x/evil"`, false, false},
		{`ENV="/build/x/evil"`, false, false},
		{`PATH="/build/x"`, false, false},
		{`HOME="/build/x"`, false, false},
		{`DEB_GAIN_ROOT_CMD="x"`, false, false},
		{`CFLAGSX="x"`, false, false},
		{`XCC="x"`, false, false},
	} {
		name, value, _ := strings.Cut(c.variable, "=")
		d, err := FromBuildinfo([]byte(strings.Replace(plainInfo, ` TZ="UTC"`, ` TZ="UTC"`+"\n "+c.variable, 1)), "", nil)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := strings.Contains(string(d.Recipe), "\n  "+name+": "+value+"\n"); got != c.taken {
			t.Errorf("%s: taken: %t\n%s", c.variable, got, d.Recipe)
		}
		if got := slices.ContainsFunc(d.Unmapped, func(s string) bool { return strings.HasPrefix(s, "the variable "+name+"="+value+": ") }); got == c.taken {
			t.Errorf("%s: unmapped %q", c.variable, d.Unmapped)
		}
		if got := strings.Contains(string(d.Recipe), "# The record chooses what is built by "+name+"="+value+": read it.\n"); got != c.said {
			t.Errorf("%s: said: %t\n%s", c.variable, got, d.Recipe)
		}
	}
}
