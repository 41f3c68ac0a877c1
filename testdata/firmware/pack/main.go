// Pack builds blinky for arm64 and packs it as the board's image: a FIT whose
// ramdisk is a gzip'd cpio archive.
//
//	SOURCE_DATE_EPOCH=1767323045 pack SOURCE IMAGE
//
// SOURCE is the root of the source tree. The image is a function of the sources,
// of the Go toolchain and of SOURCE_DATE_EPOCH alone. The date stands in it as the
// text that blinky prints, as the text of etc/build-info, as the modification time
// of each member of the archive and as the timestamp of the FIT; the gzip header
// has none. The encoder is Go's compress/gzip at its best level.
package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pack SOURCE IMAGE")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

// run builds the source tree and writes the image.
func run(source, path string) error {
	epoch, err := strconv.ParseUint(os.Getenv("SOURCE_DATE_EPOCH"), 10, 32)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH must be the build date in seconds since 1970: %w", err)
	}
	program, err := compile(source, epoch)
	if err != nil {
		return err
	}
	ramdisk, err := compress(archive(program, uint32(epoch)))
	if err != nil {
		return err
	}
	return os.WriteFile(path, image(ramdisk, uint32(epoch)), 0o644)
}

// date is the build date as blinky and etc/build-info state it, twenty characters.
func date(epoch uint64) string {
	return time.Unix(int64(epoch), 0).UTC().Format(time.RFC3339)
}

// compile returns the blinky program built for arm64 Linux.
func compile(source string, epoch uint64) ([]byte, error) {
	dir, err := os.MkdirTemp("", "blinky")
	if err != nil {
		return nil, err
	}
	program := filepath.Join(dir, "blinky")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags=-buildid= -w -X main.buildDate="+date(epoch), "-o", program, "./blinky")
	build.Dir = source
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64", "GOARM64=v8.0",
		"GOENV=off", "GOFLAGS=", "GOEXPERIMENT=", "GODEBUG=", "GOFIPS140=off", "GOWORK=off", "GOTOOLCHAIN=local", "GOPROXY=off")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	data, err := []byte(nil), build.Run()
	if err != nil {
		err = fmt.Errorf("go build ./blinky: %w", err)
	} else {
		data, err = os.ReadFile(program)
	}
	return data, errors.Join(err, os.RemoveAll(dir))
}

// archive lays out the root file system.
func archive(program []byte, epoch uint32) []byte {
	a := cpio{mtime: epoch}
	a.add(member{name: "bin", mode: directory | 0o755})
	a.add(member{name: "bin/blinky", mode: regular | 0o755, data: program})
	a.add(member{name: "dev", mode: directory | 0o755})
	a.add(member{name: "dev/console", mode: character | 0o600, major: 5, minor: 1})
	a.add(member{name: "etc", mode: directory | 0o755})
	a.add(member{
		name: "etc/build-info", mode: regular | 0o644,
		data: []byte("name: blinky\nboard: example-arm64\ndate: " + date(uint64(epoch)) + "\n"),
	})
	a.add(member{name: "init", mode: symlink | 0o777, data: []byte("bin/blinky")})
	return a.end()
}

// compress returns data as one gzip member without name or time.
func compress(data []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(data)
	err = errors.Join(err, w.Close())
	return out.Bytes(), err
}
