package reference

import (
	"archive/tar"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/assaylab/assay/verify/reference/sandbox"
)

// Starting writes a recipe to begin with: every key with a comment, and in it what can be told from the archives of a
// directory, or from one of them if archive names it. Places that it cannot fill hold [FillIn]. An archive whose
// Makefile says plainly what it makes gives a recipe that can be built as it is.
func Starting(dir, archive string) ([]byte, error) {
	names := []string{archive}
	if archive == "" {
		var err error
		if names, err = archives(dir); err != nil {
			return nil, err
		}
	}
	var found []*found
	for _, name := range names {
		a, err := look(dir, name)
		if err != nil {
			return nil, err
		}
		found = append(found, a)
	}
	return []byte(starting(found)), nil
}

// maxFound is how many archives of a directory a recipe begins with.
const maxFound = 8

var archiveEndings = []string{".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz"}

func archives(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && checkName(SourcePath, e.Name()) == nil && slices.ContainsFunc(archiveEndings, func(end string) bool { return strings.HasSuffix(e.Name(), end) }) {
			names = append(names, e.Name())
		}
	}
	if len(names) > maxFound {
		names = names[:maxFound]
	}
	return names, nil
}

// found is an archive and what was seen in it.
type found struct {
	name, sha256 string
	unread       string   // why nothing was seen, or ""
	epoch        int64    // of the newest file
	dir          string   // where the Makefile lies, "." for the top
	makes        []string // what it makes by default, relative to the archive; none if that is not plain
	hasMakefile  bool
	tools        []string
}

func look(dir, name string) (*found, error) {
	f, err := openFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, err := digestOf(f)
	if err != nil {
		return nil, err
	}
	a := &found{name: name, sha256: d.sha256, tools: []string{"make"}}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if err := a.read(f); err != nil {
		a = &found{name: name, sha256: d.sha256, unread: err.Error()}
	}
	return a, nil
}

// Bounds of what is looked at of an archive.
const (
	maxPeek     = 1 << 30 // bytes, unpacked
	maxEntries  = 200_000
	maxMakefile = 1 << 20 // bytes
	maxWords    = 100     // targets or prerequisites of a rule
)

func (a *found) read(f io.Reader) error {
	switch {
	case strings.HasSuffix(a.name, "gz"):
		z, err := gzip.NewReader(f)
		if err != nil {
			return err
		}
		f = z
	case strings.HasSuffix(a.name, "bz2"):
		f = bzip2.NewReader(f)
	case strings.HasSuffix(a.name, "xz"):
		return errors.New("it is compressed by xz")
	}
	in := &io.LimitedReader{R: f, N: maxPeek}
	r := tar.NewReader(in)
	makefiles := map[string]string{}
	compilers := map[string]string{".c": "gcc", ".cc": "g++", ".cpp": "g++", ".cxx": "g++"}
	for n := 0; ; n++ {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if n == maxEntries {
			return fmt.Errorf("it has more than %d entries", maxEntries)
		}
		name := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg || sandbox.CheckOutput(name) != nil || path.IsAbs(name) {
			continue
		}
		if t := h.ModTime.Unix(); t > a.epoch && t < 1<<40 {
			a.epoch = t
		}
		if tool := compilers[path.Ext(name)]; tool != "" && !slices.Contains(a.tools, tool) {
			a.tools = append(a.tools, tool)
		}
		if base := path.Base(name); (base == "Makefile" || base == "makefile" || base == "GNUmakefile") && strings.Count(name, "/") < 2 && len(makefiles) < 100 {
			text, err := io.ReadAll(io.LimitReader(r, maxMakefile))
			if err != nil {
				return err
			}
			makefiles[name] = string(text)
		}
	}
	if in.N == 0 {
		return fmt.Errorf("it unpacks to more than %d bytes", maxPeek)
	}
	// The one at the top, or else the only one in a directory at the top. make prefers the names in this order.
	for depth := range 2 {
		var dirs []string
		for name := range makefiles {
			if strings.Count(name, "/") == depth && !slices.Contains(dirs, path.Dir(name)) {
				dirs = append(dirs, path.Dir(name))
			}
		}
		if len(dirs) == 1 {
			a.hasMakefile, a.dir = true, dirs[0]
			for _, base := range []string{"GNUmakefile", "makefile", "Makefile"} {
				if text, ok := makefiles[path.Join(a.dir, base)]; ok {
					for _, name := range parseMakefile(text).goals() {
						a.makes = append(a.makes, path.Join(a.dir, name))
					}
					break
				}
			}
		}
		if len(dirs) > 0 {
			break
		}
	}
	slices.Sort(a.tools[1:])
	return nil
}

// A makefile is what is plain in one: variables and rules. It is a guess, which the build tests.
type makefile struct {
	vars  map[string]string
	rules map[string][]string // target to prerequisites
	first string
}

func parseMakefile(text string) *makefile {
	m := &makefile{vars: map[string]string{}, rules: map[string][]string{}}
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimRight(line, "\r\n"), "#")
		if strings.HasPrefix(line, "\t") || strings.TrimSpace(line) == "" {
			continue
		}
		colon, equals := strings.IndexByte(line, ':'), strings.IndexByte(line, '=')
		if equals >= 0 && (colon < 0 || colon > equals || colon == equals-1) {
			name := strings.TrimSpace(strings.TrimRight(strings.TrimSpace(line[:equals]), ":?+"))
			if value := strings.TrimSpace(line[equals+1:]); !strings.ContainsAny(name, " \t$") && len(m.vars) < 1000 {
				m.vars[name] = value
			}
			continue
		}
		if colon <= 0 || equals >= 0 {
			continue
		}
		needs, _, _ := strings.Cut(strings.TrimPrefix(line[colon+1:], ":"), ";")
		needs, _, _ = strings.Cut(needs, "|")
		targets, words := strings.Fields(m.expand(line[:colon])), strings.Fields(m.expand(needs))
		for _, target := range targets[:min(len(targets), maxWords)] {
			if len(m.rules) < 1000 && len(m.rules[target]) < maxWords {
				m.rules[target] = append(m.rules[target], words[:min(len(words), maxWords)]...)
			}
			if m.first == "" && (target[0] != '.' || strings.Contains(target, "/")) && !strings.Contains(target, "%") {
				m.first = target
			}
		}
	}
	return m
}

// expand puts the values of variables in; what it cannot is left with its "$".
func (m *makefile) expand(text string) string {
	for range 8 {
		open := strings.Index(text, "$(")
		if open < 0 || len(text) > 1<<16 {
			break
		}
		end := strings.IndexByte(text[open:], ')')
		if end < 0 {
			break
		}
		value, ok := m.vars[text[open+2:open+end]]
		if !ok {
			break
		}
		text = text[:open] + value + text[open+end+1:]
	}
	return text
}

// goals are the files that make makes if it is told nothing: the first target, or what that needs if it is no file. None
// where that is not plain, or where they are too many.
func (m *makefile) goals() []string {
	var out []string
	seen := map[string]bool{}
	phony := func(name string) bool {
		return name == "all" || name == "default" || slices.Contains(m.rules[".PHONY"], name)
	}
	var walk func(string) bool
	walk = func(name string) bool {
		if seen[name] {
			return true
		}
		seen[name] = true
		if phony(name) {
			for _, need := range m.rules[name] {
				if len(seen) > 32 || !walk(need) {
					return false
				}
			}
			return true
		}
		if !plainFile(name) || sandbox.CheckOutput(name) != nil || path.IsAbs(name) {
			return false
		}
		same := func(o string) bool { return path.Base(o) == path.Base(name) }
		if len(out) == maxFound || slices.ContainsFunc(out, same) {
			return false
		}
		out = append(out, name)
		return true
	}
	if m.first == "" || !walk(m.first) {
		return nil
	}
	return out
}

func plainFile(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-+/", r)
	})
}

// starting is the text of a recipe to begin with.
func starting(all []*found) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("# A recipe: how a reference is built. Paths are relative to this file.")
	say("# Places marked %s are yours to write; assay rebuild names the first that is left.", FillIn)
	say("version: 1 # of this format")
	say("")
	say("# What is built from. Each source is pinned by digest, and put at its place in the sandbox: an archive (tar, plain")
	say("# or compressed by gzip, bzip2 or xz) is unpacked into the directory at, any other file becomes the file at.")
	say("# Steps start in the directory of the first source. Other kinds of sources:")
	say(`#   - {url: "https://example.org/a.tar.xz", sha256: ..., at: /a}            # fetched with --network`)
	say(`#   - {git: "https://example.org/b.git", commit: ..., at: /b}               # the tree of a commit, named in full`)
	say(`#   - {oci: "docker://example.org/c@sha256:...", at: /c}                    # an artifact or image of a registry`)
	say(`#   - {debian: hello, version: 2.10-3, sha256: ..., at: /d}                 # a source package, by its .dsc`)
	say("#   - {path: blob.bin, sha256: ..., at: /src/blob.bin, trust: true}         # prebuilt, and taken on trust: said so")
	say("#   - {path: e.tar, sha256: ..., at: /e, revision: ...}                     # the git commit that it is said to be of")
	say("sources:")
	main := -1
	for i, a := range all {
		if a.unread != "" {
			b.WriteString(comment("  " + a.name + " was not looked into: " + a.unread))
		}
		if main < 0 && a.hasMakefile {
			main = i
		}
		at := "/src"
		if i > 0 {
			at = fmt.Sprintf("/src%d", i+1)
		}
		say("  - {path: %s, sha256: %s, at: %s}", quoted(a.name), a.sha256, at)
	}
	if len(all) == 0 {
		say(`  - {path: "%s: an archive beside this file", sha256: "%[1]s: its sha256", at: /src}`, FillIn)
	}
	say("")
	a := &found{tools: []string{FillIn + ": the programs that are run, such as make and gcc"}}
	in := ""
	switch {
	case main >= 0:
		a = all[main]
		if in = a.dir; main > 0 {
			in = path.Join(fmt.Sprintf("/src%d", main+1), a.dir)
		}
	case len(all) > 0:
		a.epoch = all[0].epoch
	}
	say("# Where the tools come from. host: the tools of this machine; of those that are named here, version and digest are")
	say("# recorded. Or a root file system, in which tools may name some to record:")
	say("#   {rootfs: root.tar, sha256: ...}")
	say(`#   {rootfs: {url: "https://example.org/root.tar", sha256: ...}}`)
	say(`#   {oci: "docker://example.org/image@sha256:...", tools: [make, gcc]}`)
	say("toolchain: {host: %s}", list(a.tools))
	say("")
	say("# The environment is cleared, and holds HOME, LC_ALL=C.UTF-8, PATH, SOURCE_DATE_EPOCH, TZ=UTC and USER.")
	say("# Variables here stand beside these, or in their place.")
	if a.epoch > 0 {
		say("env: {SOURCE_DATE_EPOCH: %s} # the newest file of the archive", quoted(strconv.FormatInt(a.epoch, 10)))
	} else {
		say(`env: {SOURCE_DATE_EPOCH: "%d"} # 1980, the first year of a zip file`, defaultEpoch)
	}
	say("")
	say("# What is run, one after the other, without a network: argument lists, or scripts for /bin/sh -e.")
	say("#   - sh: |")
	say("#       ./configure")
	say("#       make")
	say("steps:")
	switch {
	case main < 0:
		say(`  - ["%s: what is run, such as make"]`, FillIn)
	case in == ".":
		say("  - [make]")
	default:
		say("  - [make, -C, %s]", quoted(in))
	}
	say("")
	say("# What comes out, relative to where the steps start. symbols names an ELF file whose names label places in reports.")
	say("#   - {path: out/fw.bin, symbols: out/fw.elf}")
	say("outputs:")
	for _, name := range a.makes {
		if main > 0 {
			name = path.Join(fmt.Sprintf("/src%d", main+1), name)
		}
		say("  - {path: %s}", quoted(name))
	}
	if len(a.makes) == 0 {
		say(`  - {path: "%s: a file that the steps make"}`, FillIn)
	}
	say("")
	say("# How often to build, 1 to %d. The builds must agree byte for byte.", maxBuilds)
	say("builds: 2")
	say("")
	say("# Bounds of each build: wall time, memory, bytes written, processes and threads.")
	say("limits: {time: 10m, memory: 4GiB, output: 1GiB, processes: 512}")
	say("")
	say("# A build has no network. There is no other choice: what it would fetch is to be a source.")
	say("network: none")
	say("")
	say("# What the builds after the first differ in; a build that depends on it does not agree. Any of:")
	say("#   %s", strings.Join(Factors, ", "))
	say("vary: []")
	say("")
	say("# How many counterfactual rebuilds assay check may make to explain a difference, up to %d. values says what of the", maxReplay)
	say("# deployed image they may be made with; left out, that is any of:")
	say("#   %s", strings.Join(Replayed, ", "))
	say("replay: {max_rebuilds: 0}")
	return b.String()
}
