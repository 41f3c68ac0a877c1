//go:build linux && (amd64 || arm64)

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Bounds on what is made out of the answers of tools.
const (
	maxAnswer   = 64 << 10 // bytes of one answer
	maxShims    = 512 << 10
	maxPathFile = 1 << 16 // programs in PATH
)

// shimScript answers --version with the file %[2]s, printed by %[1]s, and the exit code %[3]d. Anything else goes to
// the program %[5]s, to which the directory %[4]s of this script is not in PATH: a program that looks there for another
// one of its own name, as compiler caches do, must not find this script.
const shimScript = `#!/bin/sh
for a do
	if test "x$a" = x--version; then
		%[1]s %[2]s || exit
		exit %[3]d
	fi
done
p=:$PATH:
case $p in
*:%[4]s:*)
	p=${p%%%%:%[4]s:*}:${p#*:%[4]s:}
	p=${p#:}
	PATH=${p%%:}
	export PATH
	;;
esac
exec %[5]s "$@"
`

// makeShims makes the files of all shims and lists their directories, as PATH has them. The tools are asked here, so
// none of it may be in their way yet.
func (r *runner) makeShims(shims []Shim) (files []shimFile, dirs []string, err error) {
	if len(shims) == 0 {
		return nil, nil, nil
	}
	if _, err := os.Stat("/bin/sh"); err != nil {
		return nil, nil, errors.New("changing the version of a tool takes /bin/sh in the toolchain")
	}
	printer, err := r.look("cat")
	if err != nil {
		return nil, nil, fmt.Errorf("changing the version of a tool: %w", err)
	}
	programs, err := r.programs()
	if err != nil {
		return nil, nil, err
	}
	// Tools that are one file under two names share a directory and their replacements.
	type group struct {
		file   os.FileInfo
		names  []string
		change []Shim
	}
	var groups []*group
	for _, s := range shims {
		name, err := r.look(s.Tool)
		if err != nil {
			return nil, nil, fmt.Errorf("changing the version of a tool: %w", err)
		}
		file, err := os.Stat(name)
		if err != nil {
			return nil, nil, fmt.Errorf("changing the version of %s: %w", s.Tool, err)
		}
		answer, _, err := r.answer(name)
		if err != nil {
			return nil, nil, fmt.Errorf("changing the version of %s: %w", s.Tool, err)
		}
		if !strings.Contains(answer, s.From) {
			return nil, nil, fmt.Errorf("changing the version of %s: its answer to --version does not hold %q", s.Tool, s.From)
		}
		var g *group
		for _, old := range groups {
			if os.SameFile(old.file, file) {
				g = old
			}
		}
		if g == nil {
			g = &group{file: file}
			for _, p := range programs {
				if os.SameFile(p.file, file) {
					g.names = append(g.names, p.name)
				}
			}
			groups = append(groups, g)
		}
		g.change = append(g.change, s)
	}
	total := 0
	for i, g := range groups {
		dir := fmt.Sprintf("%s/%d", shimDir, i)
		dirs = append(dirs, dir)
		for j, name := range g.names {
			answer, code, err := r.answer(name)
			if err != nil {
				return nil, nil, fmt.Errorf("changing the version of %s: %w", name, err)
			}
			changed := answer
			for _, s := range g.change {
				changed = strings.ReplaceAll(changed, s.From, s.To)
			}
			if changed == answer {
				continue // a program of many names that answers to this one with something else
			}
			text := fmt.Sprintf("text/%d.%d", i, j)
			script := fmt.Sprintf(shimScript, quote(printer), shimDir+"/"+text, code, dir, quote(name))
			files = append(files, shimFile{text, []byte(changed)}, shimFile{fmt.Sprintf("%d/%s", i, path.Base(name)), []byte(script)})
			if total += len(changed) + len(script); total > maxShims {
				return nil, nil, fmt.Errorf("changing the version of %s: its names and answers take more than %d bytes", g.change[0].Tool, maxShims)
			}
		}
	}
	return files, dirs, nil
}

// quote makes one word of a shell out of any text.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// A program is what a name leads to by PATH.
type program struct {
	name string // the whole path
	file os.FileInfo
}

// programs lists what PATH has, the first of each name, in the order of PATH and of names.
func (r *runner) programs() ([]program, error) {
	var all []program
	seen := map[string]bool{}
	for _, dir := range strings.Split(r.getenv("PATH"), ":") {
		if !path.IsAbs(dir) {
			continue
		}
		entries, _ := os.ReadDir(dir) // a directory that is not there has no programs
		for _, e := range entries {
			file := path.Join(dir, e.Name())
			info, err := os.Stat(file)
			if seen[e.Name()] || err != nil || !executable(info) {
				continue
			}
			seen[e.Name()] = true
			all = append(all, program{file, info})
			if len(all) > maxPathFile {
				return nil, fmt.Errorf("the PATH of the sandbox has more than %d programs", maxPathFile)
			}
		}
	}
	return all, nil
}

// answer is what a program prints for --version, and its exit code.
func (r *runner) answer(name string) (string, int, error) {
	text, ws, err := r.capture(Step{name, "--version"}, maxAnswer+1)
	switch {
	case err != nil:
		return "", 0, err
	case !ws.Exited():
		return "", 0, fmt.Errorf("%s --version: %s", name, describe(ws))
	case len(text) > maxAnswer:
		return "", 0, fmt.Errorf("%s --version prints more than %d bytes", name, maxAnswer)
	}
	return string(text), ws.ExitStatus(), nil
}

// writeShims fills shimDir, which must be there and empty.
func writeShims(files []shimFile) error {
	for _, f := range files {
		name := path.Join(shimDir, f.Name)
		if err := os.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, f.Text, 0o555); err != nil {
			return err
		}
	}
	return nil
}

// showShims puts the shims where the build can run but not change them. The native stage has an empty directory for
// them; bwrap was given the files from an earlier run that only made them.
func (o *order) showShims(files []shimFile) error {
	if len(files) == 0 || o.Backend == Bwrap {
		return nil
	}
	if o.Backend != Native {
		return writeShims(files)
	}
	if err := unix.Mount("shims", shimDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=4m"); err != nil {
		return err
	}
	if err := writeShims(files); err != nil {
		return err
	}
	return unix.MountSetattr(unix.AT_FDCWD, shimDir, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}
