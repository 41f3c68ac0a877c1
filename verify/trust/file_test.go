package trust

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

const killed = "ASSAY_TEST_REPLACE" // the file that a child process replaces

// A process that is killed before the rename leaves the old file, and under a
// passing name the new one, whole: it was on the disk before.
func TestReplaceKilled(t *testing.T) {
	if file := os.Getenv(killed); file != "" {
		_ = replace(file, []byte("new"), func(string, string) error {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		})
		t.Fatal("still alive")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestReplaceKilled$")
	child.Env = append(os.Environ(), killed+"="+file)
	var exit *exec.ExitError
	if err := child.Run(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended by %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "old" {
		t.Errorf("%q, %v", b, err)
	}
	passing, err := filepath.Glob(filepath.Join(dir, ".file.*"))
	if err != nil || len(passing) != 1 {
		t.Fatalf("%q, %v", passing, err)
	}
	if b, err := os.ReadFile(passing[0]); err != nil || string(b) != "new" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := replace(file, []byte("new"), func(from, to string) error {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: syscall.EXDEV}
	})
	if !errors.Is(err, syscall.EXDEV) || err.Error() != `cannot write "file": `+syscall.EXDEV.Error() {
		t.Errorf("%v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "old" {
		t.Errorf("%q, %v", b, err)
	}
}
