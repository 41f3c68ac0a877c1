package sandbox

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// A World is what differs from one machine to the next, as the build sees it. The zero World is the fixed one that the
// package comment describes. Variables that say the same to programs (USER, HOME, TZ, LC_ALL) are the caller's: he sets
// them in Config.Env.
type World struct {
	HostName string `json:"host_name,omitempty"` // "" is HostName
	User     string `json:"user,omitempty"`      // the login name of UID; "" is User
	Home     string `json:"home,omitempty"`      // of the login, below /home; "" is Home
	Umask    int    `json:"umask,omitempty"`     // 0 is 022
	CPUs     int    `json:"cpus,omitempty"`      // how many the build may run on; 0 is all. More than there are fails

	// Reverse makes archives come out of the directories that they are unpacked into in the reverse order.
	Reverse bool `json:"reverse,omitempty"`

	// Clock is what the clock says at the start of each program of the steps, in seconds since 1970, to those that take
	// the time from the C library; it needs libfaketime in the toolchain. Times of files stay true. 0 is the true time.
	Clock int64 `json:"clock,omitempty"`

	// Dir is where the first source really lies, a place as CheckDir allows; its own place, Sources[0].At, is then a
	// symbolic link to it, and the steps start in Dir. If the first source is not an archive, all this goes for the
	// directory that its file lies in. Dir and the place that leads to it do not contain each other. "" is no such move.
	Dir string `json:"dir,omitempty"`

	// Shims change what tools answer to --version.
	Shims []Shim `json:"shims,omitempty"`
}

// A Shim stands before a program, under each name of it that the PATH of the build has. To a call with --version among
// its arguments it answers what the program itself answers, with each From replaced by To; any other call it hands to
// the program. The texts are data to it, never commands. From must occur in the answer of Tool. The shims lie in
// directories of their own at the start of PATH; the program that a shim calls does not find that shim again.
type Shim struct {
	Tool string `json:"tool"` // as in Config.Tools
	From string `json:"from"`
	To   string `json:"to"`
}

// shimDir holds the shims: for each tool a directory that comes in PATH, and in text what they print.
const shimDir = "/shims"

// A shimFile is one file below shimDir.
type shimFile struct {
	Name string `json:"name"` // relative to shimDir, two parts
	Text []byte `json:"text"`
}

func (w *World) hostName() string { return or(w.HostName, HostName) }
func (w *World) user() string     { return or(w.User, User) }
func (w *World) home() string     { return or(w.Home, Home) }

func (w *World) umask() int {
	if w.Umask == 0 {
		return 0o022
	}
	return w.Umask
}

func or(value, standard string) string {
	if value == "" {
		return standard
	}
	return value
}

// plainName is what a host or a user may be called: it becomes a word of files whose fields end at a colon or a space.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,62}$`)

// settle checks the World and finds out which directory Dir stands for.
func (c *Config) settle() error {
	w := &c.World
	for _, name := range []string{w.hostName(), w.user()} {
		if !plainName.MatchString(name) {
			return fmt.Errorf("sandbox: %q is no name for a host or a user: letters, digits, dots, dashes and underscores, at most 63", name)
		}
	}
	if home := w.home(); !strings.HasPrefix(home, "/home/") || path.Clean(home) != home || strings.ContainsAny(home, ":\n\x00") {
		return fmt.Errorf("sandbox: home %q is not a clean path below /home", home)
	}
	if w.Umask < 0 || w.Umask > 0o777 {
		return fmt.Errorf("sandbox: %o is not a file mode mask", w.Umask)
	}
	if w.CPUs < 0 || w.Clock < 0 {
		return fmt.Errorf("sandbox: a world of %d processors at the time %d", w.CPUs, w.Clock)
	}
	for _, s := range w.Shims {
		if s.Tool == "" || s.From == "" {
			return fmt.Errorf("sandbox: a shim names a tool and a text to replace: %+v", s)
		}
	}
	if w.Dir == "" {
		return nil
	}
	if err := CheckDir(w.Dir); err != nil {
		return fmt.Errorf("sandbox: directory of the first source: %w", err)
	}
	if len(c.Sources) == 0 {
		return errors.New("sandbox: a directory for the first source, and no source")
	}
	c.moved = c.Sources[0].At
	if dir := path.Dir(c.moved); dir != "/" && !isArchive(c.Sources[0].File) {
		c.moved = dir
	}
	if within(c.moved, w.Dir) || within(w.Dir, c.moved) {
		return fmt.Errorf("sandbox: the first source cannot be moved from %s to %s: one lies in the other", c.moved, w.Dir)
	}
	return nil
}

// real is where a clean absolute path leads, given that a directory has moved to World.Dir.
func (c *Config) real(name string) string {
	if c.moved == "" || !within(name, c.moved) {
		return name
	}
	return c.World.Dir + name[len(c.moved):]
}

// within reports whether a clean absolute path is dir or lies below it.
func within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, dir+"/")
}

// A smallFile is one that the stage is given besides directories.
type smallFile struct{ name, text string }

// etcFiles are what says in /etc who and where the build is.
func (w *World) etcFiles() []smallFile {
	user, host := w.user(), w.hostName()
	return []smallFile{
		{"/etc/group", w.logins("root:x:0:\nnogroup:x:65534:\n", user+":x:1000:\n")},
		{"/etc/hostname", host + "\n"},
		{"/etc/hosts", "127.0.0.1 localhost\n127.0.0.1 " + host + "\n"},
		{"/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"},
		{"/etc/passwd", w.logins("root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"+
			"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
			user+":x:1000:1000:build:"+w.home()+":/bin/sh\n")},
	}
}

// logins puts a line in front of those of a passwd or group file (passwd(5), group(5)) that have neither its name nor
// its number: the first one that fits is the one that counts.
func (w *World) logins(text, line string) string {
	var out strings.Builder
	out.WriteString(line)
	for l := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(l, "\n"), ":", 4)
		if len(fields) < 3 || fields[0] == w.user() || fields[2] == "1000" {
			continue
		}
		out.WriteString(l)
	}
	return out.String()
}
