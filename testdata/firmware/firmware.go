// Package firmware makes a small firmware image of our own, for the demonstration
// and for tests that have Go and nothing else: blinky, an arm64 program, in a
// gzip'd cpio archive in a FIT (package pack tells the layout).
//
// Build makes the image that a vendor delivers; Recipe makes what a lab needs to
// rebuild it. The same date gives the same bytes whatever the folder. Another date
// changes date fields and what is computed from them; the weakened firmware differs
// besides in the constant that validEntry compares with.
package firmware

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
)

// Image is the name of the image that Build writes and that the recipe puts out.
const Image = "firmware.itb"

//go:embed blinky/*.go pack/*.go
var sources embed.FS

// module is the go.mod of the source tree, which needs no other module.
const module = "module blinky\n\ngo 1.26.0\n"

// The one line that the weakened firmware changes, before and after. Both constants
// take one instruction to load, so nothing moves.
const (
	entryFile  = "blinky/entry.go"
	soundCheck = "return entry >= dramBase\n"
	weakCheck  = "return entry >= 0x01000000\n"
)

// Build builds the firmware in dir, which must be new or empty, and returns the path
// of the image. The date is RFC 3339 in UTC to the second, as 2026-01-02T03:04:05Z.
// It needs the go command on PATH, and no network.
func Build(ctx context.Context, dir, date string, weak bool) (string, error) {
	epoch, err := seconds(date)
	if err != nil {
		return "", err
	}
	files, err := tree(weak)
	if err != nil {
		return "", err
	}
	source := filepath.Join(dir, "source")
	packer, err := packer(ctx, source, files)
	if err != nil {
		return "", err
	}
	image := filepath.Join(dir, Image)
	cmd := exec.CommandContext(ctx, packer, source, image)
	cmd.Env = append(os.Environ(), fmt.Sprint("SOURCE_DATE_EPOCH=", epoch))
	return image, run(cmd)
}

// recipe is what Recipe fills in. Each build starts from an empty build cache.
var recipe = template.Must(template.New("recipe").Parse(`version: 1
sources:
  - {path: blinky.tar, sha256: {{.Source}}, at: /src}
  - {path: pack.tar, sha256: {{.Tools}}, at: /tools, trust: true}
{{- with .Toolchain}}
  - {path: go.tar, sha256: {{.}}, at: /go, trust: true}
{{- end}}
toolchain: {host: [{{if .Toolchain}}sh{{else}}go{{end}}]}
env:
  SOURCE_DATE_EPOCH: "{{.Epoch}}"
  PATH: {{.Go}}:/usr/bin:/bin
  GOCACHE: /tmp/go-build
  GOPATH: /tmp/go
steps: [[/tools/pack, ., firmware.itb]]
outputs: [{path: firmware.itb}]
builds: 2
limits: {time: 5m, memory: 4GiB, output: 1GiB, processes: 512}
`))

// Recipe writes into dir, which must exist, the source tree as blinky.tar, the packer
// as pack.tar and a recipe.yaml that rebuilds the image of that date from them, and
// returns the recipe's path. The packer is a tool, like the Go toolchain: the recipe
// takes it on trust and by digest, since building it as well would double the time.
// A sandbox shows the host's /usr alone: a Go that lies elsewhere comes along as go.tar.
func Recipe(ctx context.Context, dir, date string) (string, error) {
	epoch, err := seconds(date)
	if err != nil {
		return "", err
	}
	files, err := tree(false)
	if err != nil {
		return "", err
	}
	scratch, err := os.MkdirTemp("", "firmware")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	program, err := packer(ctx, scratch, files)
	if err != nil {
		return "", err
	}
	tool, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	source, err := writeTar(filepath.Join(dir, "blinky.tar"), files)
	if err != nil {
		return "", err
	}
	tools, err := writeTar(filepath.Join(dir, "pack.tar"), []file{{"pack", 0o755, tool}})
	if err != nil {
		return "", err
	}
	text := struct {
		Source, Tools, Toolchain, Go string
		Epoch                        int64
	}{Source: source, Tools: tools, Epoch: epoch}
	root, err := goroot(ctx)
	if err != nil {
		return "", err
	}
	text.Go = filepath.Join(root, "bin")
	if !strings.HasPrefix(root, "/usr/") {
		text.Go = "/go/bin"
		files, err := toolchain(root)
		if err != nil {
			return "", err
		}
		if text.Toolchain, err = writeTar(filepath.Join(dir, "go.tar"), files); err != nil {
			return "", err
		}
	}
	var out bytes.Buffer
	err = recipe.Execute(&out, text)
	name := filepath.Join(dir, "recipe.yaml")
	return name, errors.Join(err, os.WriteFile(name, out.Bytes(), 0o644))
}

// goroot returns the folder of the Go toolchain, without symbolic links.
func goroot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	return filepath.EvalSymlinks(strings.TrimSpace(string(out)))
}

// toolchain returns what of a Go toolchain the build needs: the commands, and the
// standard library without its tests.
func toolchain(root string) ([]file, error) {
	var files []file
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		below = filepath.ToSlash(below)
		if entry.IsDir() {
			top, _, _ := strings.Cut(below, "/")
			if entry.Name() == "testdata" || below == "src/cmd" || !slices.Contains([]string{".", "bin", "pkg", "src"}, top) {
				return fs.SkipDir
			}
			return nil
		}
		info, err := os.Stat(name)
		if err != nil || !info.Mode().IsRegular() || strings.HasSuffix(below, "_test.go") {
			return err
		}
		data, err := os.ReadFile(name)
		files = append(files, file{below, int64(info.Mode().Perm()), data})
		return err
	})
	return files, err
}

func seconds(date string) (int64, error) {
	t, err := time.Parse("2006-01-02T15:04:05Z", date)
	if err != nil {
		return 0, fmt.Errorf("the build date must be like 2026-01-02T03:04:05Z: %w", err)
	}
	return t.Unix(), nil
}

// A file of the source tree, by its slash-separated path.
type file struct {
	name string
	mode int64
	data []byte
}

// tree returns the source tree in the order of its names.
func tree(weak bool) ([]file, error) {
	files := []file{{"go.mod", 0o644, []byte(module)}}
	err := fs.WalkDir(sources, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) != ".go" {
			return err
		}
		data, err := sources.ReadFile(name)
		if weak && name == entryFile {
			if bytes.Count(data, []byte(soundCheck)) != 1 {
				return fmt.Errorf("%s must hold the line %q once", name, strings.TrimSpace(soundCheck))
			}
			data = bytes.Replace(data, []byte(soundCheck), []byte(weakCheck), 1)
		}
		files = append(files, file{name, 0o644, data})
		return err
	})
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return files, err
}

// packer lays out the source tree in the directory source, builds its package pack
// beside it and returns the program's absolute path.
func packer(ctx context.Context, source string, files []file) (string, error) {
	for _, f := range files {
		name := filepath.Join(source, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(name, f.data, 0o644); err != nil {
			return "", err
		}
	}
	program, err := filepath.Abs(filepath.Join(source, "pack", "pack"))
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-buildid= -s -w", "-o", program, "./pack")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=", "GOARCH=", "GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=local", "GOPROXY=off")
	return program, run(cmd)
}

// run runs cmd; the error holds what it printed.
func run(cmd *exec.Cmd) error {
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, text)
	}
	return nil
}

// writeTar writes files as a tar archive, without owners or times, and returns its
// SHA-256 in hexadecimal.
func writeTar(name string, files []file) (string, error) {
	var data bytes.Buffer
	w := tar.NewWriter(&data)
	for _, f := range files {
		header := &tar.Header{Format: tar.FormatUSTAR, Name: f.name, Mode: f.mode, Size: int64(len(f.data)), ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(header); err != nil {
			return "", err
		}
		if _, err := w.Write(f.data); err != nil {
			return "", err
		}
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sha256.Sum256(data.Bytes())), os.WriteFile(name, data.Bytes(), 0o644)
}
