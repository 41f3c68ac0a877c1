package reference

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/assaylab/assay/verify/reference/sandbox"
)

// Factors are what builds can be varied in.
var Factors = []string{"time", "timezone", "host", "user", "path", "locale", "umask", "cpus", "fileorder", "home", "environment"}

// Replayed are the settings whose value may be read from a deployed image.
var Replayed = []string{"version", "epoch", "timezone", "host", "user", "path", "home"}

// Replays says whether the recipe lets a setting of that factor be read from a deployed image.
func (b *Builder) Replays(factor string) bool {
	return len(b.recipe.ReplayValues) == 0 || slices.Contains(b.recipe.ReplayValues, factor)
}

// A Setting fixes one thing that a build can depend on and that is no source, tool or step of its recipe. Factor is one
// of Factors, "epoch" or "version":
//
//	epoch        SOURCE_DATE_EPOCH, in seconds since 1970
//	time         what the clock says at the start of the steps, in seconds since 1970 (by libfaketime)
//	timezone     TZ
//	host         the host name
//	user         the login name, and USER
//	home         the home directory, below /home, and HOME
//	path         where the first source lies, as a place in the sandbox; its place in the recipe is a link to it
//	locale       LC_ALL
//	umask        the file mode mask, in octal
//	cpus         on how many processors the build runs
//	fileorder    reversed: directories list what a source brought in reverse
//	environment  NAME=VALUE, one more variable, and all of them in the reverse order
//	version      the version with the vendor's revision that Tool answers with, as 12.2.0-14+deb12u1
type Setting struct {
	Factor string `json:"factor"`
	Tool   string `json:"tool,omitempty"` // of the recipe's toolchain; only for version
	Value  string `json:"value"`
}

func (s Setting) String() string {
	if s.Tool != "" {
		return s.Factor + ":" + s.Tool + "=" + s.Value
	}
	return s.Factor + "=" + s.Value
}

// ParseSetting reads FACTOR=VALUE, or version:TOOL=VALUE.
func ParseSetting(text string) (Setting, error) {
	name, value, ok := strings.Cut(text, "=")
	factor, tool, _ := strings.Cut(name, ":")
	s := Setting{Factor: factor, Tool: tool, Value: value}
	if !ok {
		return s, fmt.Errorf("%q is no setting: FACTOR=VALUE, or version:TOOL=VALUE", text)
	}
	return s, s.Check()
}

var (
	plainName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	plainValue  = regexp.MustCompile(`^[A-Za-z0-9@:/._+~<>,-]{1,128}$`)
	versionWord = regexp.MustCompile(`[0-9]+(?:\.[0-9]+)+(?:[-+~.][0-9A-Za-z]+)*`)
)

// Check says why a setting cannot be made, or nil. It keeps the machine whole, not the verdict: what a value may be for
// a difference to count as explained is settled elsewhere, and more strictly.
func (s Setting) Check() error {
	fail := func(want string) error {
		return fmt.Errorf("setting %s: %.80q is not %s", s.Factor, s.Value, want)
	}
	number := func(most int64, want string) error {
		if n, err := strconv.ParseInt(s.Value, 10, 64); err != nil || n < 0 || n > most {
			return fail(want)
		}
		return nil
	}
	if (s.Factor == "version") != (s.Tool != "") {
		return errors.New("setting version: it names a tool, version:TOOL=VALUE, and no other setting does")
	}
	switch s.Factor {
	case "epoch", "time":
		return number(1<<40, "a number of seconds since 1970")
	case "cpus":
		if s.Value == "0" {
			return fail("a number of processors")
		}
		return number(1<<12, "a number of processors")
	case "umask":
		if n, err := strconv.ParseUint(s.Value, 8, 32); err != nil || n > 0o777 || n&0o700 != 0 || n == 0 {
			return fail("a file mode mask in octal that leaves the owner everything, such as 027")
		}
	case "host", "user":
		if !plainName.MatchString(s.Value) {
			return fail("a name of letters, digits, dots, dashes and underscores")
		}
	case "home":
		if !strings.HasPrefix(s.Value, "/home/") || path.Clean(s.Value) != s.Value || !plainValue.MatchString(s.Value) {
			return fail("a directory below /home")
		}
	case "path":
		if err := sandbox.CheckDir(s.Value); err != nil {
			return fmt.Errorf("setting path: %w", err)
		}
		if !plainValue.MatchString(s.Value) {
			return fail("a plain path")
		}
	case "timezone", "locale":
		if !plainValue.MatchString(s.Value) {
			return fail("a plain name")
		}
	case "fileorder":
		if s.Value != "reversed" {
			return fail("reversed")
		}
	case "environment":
		name, value, ok := strings.Cut(s.Value, "=")
		if !ok || !variableName.MatchString(name) || strings.ContainsAny(value, "\x00\n") {
			return fail("NAME=VALUE")
		}
	case "version":
		if !toolName.MatchString(s.Tool) || versionWord.FindString(s.Value) != s.Value {
			return fail("a version, numbers with dots and a revision")
		}
	default:
		return fmt.Errorf("%q is not a setting: %s, epoch or version:TOOL", s.Factor, strings.Join(Factors, ", "))
	}
	return nil
}

// VersionWord returns the word of a tool's version line that a setting of its version replaces, numbers with dots and
// the vendor's revision, and where it begins: of "gcc (Debian 12.2.0-14) 12.2.0" the first, 12.2.0-14. It is the first
// word with a revision or else the first; "" if the line has none.
func VersionWord(line string) (word string, at int) {
	all := versionWord.FindAllStringIndex(line, -1)
	for _, loc := range all {
		if w := line[loc[0]:loc[1]]; strings.ContainsAny(w, "-+~") {
			return w, loc[0]
		}
	}
	if len(all) == 0 {
		return "", -1
	}
	return line[all[0][0]:all[0][1]], all[0][0]
}

// apply makes settings on a configuration. tools are those that a build without settings has found.
func apply(c *sandbox.Config, settings []Setting, tools []sandbox.Tool) error {
	c.Env = slices.Clone(c.Env)
	env := func(name, value string) {
		c.Env = slices.DeleteFunc(c.Env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
		c.Env = append(c.Env, name+"="+value)
		slices.Sort(c.Env)
	}
	reverse := false
	for _, s := range settings {
		if err := s.Check(); err != nil {
			return err
		}
		w := &c.World
		switch s.Factor {
		case "epoch":
			c.Epoch, _ = strconv.ParseInt(s.Value, 10, 64)
			env("SOURCE_DATE_EPOCH", s.Value)
		case "time":
			w.Clock, _ = strconv.ParseInt(s.Value, 10, 64)
		case "timezone":
			env("TZ", s.Value)
		case "host":
			w.HostName = s.Value
		case "user":
			w.User = s.Value
			env("USER", s.Value)
		case "home":
			w.Home = s.Value
			env("HOME", s.Value)
		case "path":
			w.Dir = s.Value
		case "locale":
			env("LC_ALL", s.Value)
		case "umask":
			mask, _ := strconv.ParseUint(s.Value, 8, 32)
			w.Umask = int(mask)
		case "cpus":
			w.CPUs, _ = strconv.Atoi(s.Value)
		case "fileorder":
			w.Reverse = true
		case "environment":
			name, value, _ := strings.Cut(s.Value, "=")
			env(name, value)
			reverse = true
		case "version":
			i := slices.IndexFunc(tools, func(t sandbox.Tool) bool { return t.Name == s.Tool })
			if i < 0 {
				return fmt.Errorf("setting %s: the recipe's toolchain does not name %s", s, s.Tool)
			}
			word, _ := VersionWord(tools[i].Version)
			if word == "" {
				return fmt.Errorf("setting %s: %s answers --version with %q, and that holds no version", s, s.Tool, tools[i].Version)
			}
			w.Shims = append(slices.Clone(w.Shims), sandbox.Shim{Tool: s.Tool, From: word, To: s.Value})
		}
	}
	if reverse {
		slices.Reverse(c.Env)
	}
	return nil
}

// Plain returns what a factor is in a build without settings: "" for one whose value the recipe leaves open.
func (b *Builder) Plain(factor string) string {
	name := map[string]string{"epoch": "SOURCE_DATE_EPOCH", "timezone": "TZ", "user": "USER", "home": "HOME", "locale": "LC_ALL"}[factor]
	switch {
	case factor == "host":
		return sandbox.HostName
	case factor == "path" && len(b.recipe.Sources) > 0:
		return b.recipe.Sources[0].At
	case name != "":
		for _, v := range b.recipe.Env {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value
			}
		}
	}
	return ""
}
