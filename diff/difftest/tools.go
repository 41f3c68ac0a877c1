package difftest

import (
	"os"
	"os/exec"
	"testing"
)

// Tools skips a test that compares with programs of others, unless make test-tools runs
// it (which sets ASSAY_TOOLS, and fails where one is not installed): these tests take
// minutes.
func Tools(t testing.TB, names ...string) {
	t.Helper()
	if os.Getenv("ASSAY_TOOLS") == "" {
		t.Skip("ASSAY_TOOLS is not set: make test-tools compares with the tools of others")
	}
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
}
