package oci_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
)

// TestDockerRegistry reads from a registry that others wrote, one without the
// referrers API: the fallback tag is used.
func TestDockerRegistry(t *testing.T) {
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("docker-registry is not installed")
	}
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	address := listener.Addr().String() // it takes no port 0
	check(t, listener.Close())
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	check(t, os.WriteFile(config, fmt.Appendf(nil, "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: %s\nhttp:\n  addr: %s\n", filepath.Join(dir, "storage"), address), 0o600))
	cmd := exec.CommandContext(t.Context(), program, "serve", config)
	log := must(cmd.StderrPipe())(t)
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(log)
	var said strings.Builder
	for !strings.Contains(said.String(), "listening on") {
		if !lines.Scan() {
			t.Fatalf("docker-registry ended: %s", said.String())
		}
		said.WriteString(lines.Text() + "\n")
	}
	go func() {
		for lines.Scan() { // it would block on a full pipe
		}
	}()

	b := newBench(t)
	d := &depot{t, must(name.NewRepository(address + "/firmware/router"))(t)}
	d.fill(b.image)
	img, err := d.open(b.image)
	if got := outcome(img, err); got != "ok" {
		t.Fatal(got)
	}
	inLayout := must(b.open())(t)
	img.Ref = inLayout.Ref
	want, got := must(json.MarshalIndent(inLayout, "", " "))(t), must(json.MarshalIndent(img, "", " "))(t)
	if string(got) != string(want) || names(img) != names(inLayout) {
		t.Errorf("got %s\nin a layout: %s", got, want)
	}

	// What lies on its disk is hashed here, whatever it says itself.
	layer := b.manifest().Layers[0].Digest
	data := filepath.Join(dir, "storage", "docker", "registry", "v2", "blobs", "sha256", layer.Hex[:2], layer.Hex, "data")
	flip(t, data, 700)
	if got := outcome(d.open(b.image)); !strings.HasPrefix(got, "refused: layer 1 of ") {
		t.Errorf("a flipped byte on the registry's disk: %s", got)
	}
	if got := outcome(d.openAs("sha256:" + strings.Repeat("0", 64))); !strings.Contains(got, `its tags are "latest"`) {
		t.Error(got)
	}
}
