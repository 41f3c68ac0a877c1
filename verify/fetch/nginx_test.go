package fetch

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate makes an authority of one certificate for this machine, and returns the files of it and of its key.
func certificate(t *testing.T, dir string) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"}}, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return cert, key, pool
}

// TestNginx fetches from a server that others wrote: ranges with its validators, https by an authority of our own, and
// compression on the fly, which must not reach us.
func TestNginx(t *testing.T) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Skip("nginx is not installed")
		}
	}
	dir := t.TempDir()
	cert, key, pool := certificate(t, dir)
	files := filepath.Join(dir, "files")
	data := noise(3<<20, 1)
	text := []byte(strings.Repeat("the same line again\n", 10_000))
	if err := os.Mkdir(files, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"fw.bin": data, "text.txt": text} {
		if err := os.WriteFile(filepath.Join(files, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var ports [2]string
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = l.Addr().String() // it takes no port 0
		defer l.Close()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "nginx.conf")
	common := fmt.Sprintf("root %s; default_type text/plain; gzip on; gzip_min_length 1; gzip_types *; location /moved { return 301 /fw.bin; }", files)
	if err := os.WriteFile(config, fmt.Appendf(nil, `
daemon off; master_process off; pid %[1]s/pid; error_log stderr notice;
events {}
http {
  access_log %[1]s/access.log; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  log_format plain '$status $http_range';
  server { listen %[2]s; %[4]s location /cut/ { alias %[7]s/; limit_rate_after 1m; limit_rate 1; } access_log %[1]s/access.log plain; }
  server { listen %[3]s ssl; ssl_certificate %[5]s; ssl_certificate_key %[6]s; %[4]s location /down { return 301 http://%[2]s/fw.bin; } }
}`, dir, ports[0], ports[1], common, cert, key, files), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-e", "stderr", "-c", config)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var said strings.Builder
	for b := make([]byte, 4096); !strings.Contains(said.String(), "built by") && !strings.Contains(said.String(), "OS: "); {
		n, err := log.Read(b)
		said.Write(b[:n])
		if err != nil {
			t.Fatalf("nginx ended: %s", &said)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, log) }() // it would block on a full pipe
	plainURL, secureURL := "http://"+ports[0], "https://"+ports[1]

	for _, c := range []struct {
		url  string
		data []byte
	}{
		{plainURL + "/fw.bin", data}, {secureURL + "/fw.bin", data}, {plainURL + "/moved", data}, {secureURL + "/text.txt", text}, {plainURL + "/text.txt", text},
	} {
		f := newFetcher(t)
		f.CAs = pool
		a, err := f.Fetch(t.Context(), Request{URL: c.url, SHA256: hexSum(c.data)})
		if err != nil {
			t.Fatal(err)
		}
		holds(t, f, a, c.data)
	}
	f := newFetcher(t)
	f.CAs = pool
	if _, err := f.Fetch(t.Context(), Request{URL: secureURL + "/down", SHA256: hexSum(data)}); err == nil || !strings.Contains(err.Error(), "from https to plain http") {
		t.Errorf("got %v", err)
	}
	if _, err := newFetcher(t).Fetch(t.Context(), Request{URL: secureURL + "/fw.bin", SHA256: hexSum(data)}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
	// It falls nearly silent after 1 MiB, each time; every connection goes on where the one before was given up.
	f.idle = 200 * time.Millisecond
	f.now = func() time.Time { return time.Time{} } // silent, and never slow
	a, err := f.Fetch(t.Context(), Request{URL: plainURL + "/cut/fw.bin", SHA256: hexSum(data)})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, f, a, data)
	lines, err := os.ReadFile(filepath.Join(dir, "access.log"))
	if err != nil || strings.Count(string(lines), "206 bytes=") < 2 {
		t.Errorf("nginx saw %s, %v", lines, err)
	}
}
