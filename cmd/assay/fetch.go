package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/verify/fetch"
	"github.com/assaylab/assay/verify/report"
)

const fetchHelp = `Fetch one thing that is pinned, hold it against its pin, and keep it in the cache,
from where assay check, rebuild and fetch itself take it without a network.

  https://HOST/PATH --sha256 HEX        a file behind an address; http will do too
  PATH --sha256 HEX, file:PATH          a file of this machine; it stays where it is
  docker://HOST/REPO@sha256:HEX         an OCI artifact in a registry
  oci:DIR@sha256:HEX                    the same in an OCI layout
  git+https://HOST/REPO@COMMIT          the tree of a git commit, as a tar archive
  debian:NAME=VERSION@sha256:HEX        a Debian source package, as a tar archive;
                                        the digest is that of its .dsc

  assay fetch https://vendor.example/fw-1.2.bin --sha256 5f70bf18… --out fw.bin

No pin, no fetch: without one the error says which digest was seen. Compare it with
what the maker of the file says, over another channel, before you pin it. --sha256
may stand beside the other pins too; it is the digest of the file that comes out.

A download that ends early, whatever ends it, is gone on with the next time. A server
that sends less than 64 KiB in a minute is left. At most 10 redirects are followed,
none from https to http, and none from the public network to a private address. No
credentials are given to anybody. HTTPS_PROXY, HTTP_PROXY and NO_PROXY name proxies;
--ca-file names authorities in place of the system's, as SSL_CERT_FILE does.

What comes out is one line: the digest, the bytes, the name. The cache is in the
folder that assay cache dir prints; ASSAY_CACHE or --cache names another. Of a commit,
an image and a package it remembers which file was made of it, and is believed: use
none that somebody wrote whom you do not trust as yourself.

Exit codes: 0 it is there, and is the pinned one; 1 it is not the pinned one; 2 not
pinned, or trouble; 3 it is larger than --max-size, or --timeout is over, or the server
is too slow or comes to no end`

func (p *program) fetchCommand() *cobra.Command {
	var (
		output               outputFlags
		pin, out, ca, folder string
		most                 = size(fetch.DefaultMaxSize)
		timeout              time.Duration
	)
	cmd := &cobra.Command{
		Use:   "fetch URL|PATH|IMAGE|COMMIT|PACKAGE",
		Short: "Fetch something that is pinned, and keep it in the cache",
		Long:  fetchHelp,
		Args:  arity(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.known(cmd); err != nil {
				return err
			}
			if timeout < 0 {
				return misuse(cmd, "--timeout must not be negative")
			}
			req, err := fetch.ParseRequest(args[0])
			if err != nil {
				return err
			}
			if req.SHA256, err = parsePin(cmd, pin); err != nil {
				return err
			}
			req.MaxSize = int64(most)
			f := &fetch.Fetcher{Network: true, Progress: p.say(&output)}
			if req.File == "" { // which stays where it is
				if f.Cache, err = fetch.Open(folder); err != nil {
					return err
				}
			}
			if f.CAs, err = authorities(ca); err != nil {
				return err
			}
			ctx := cmd.Context()
			if timeout > 0 {
				var stop context.CancelFunc
				ctx, stop = context.WithTimeoutCause(ctx, timeout, &diff.LimitError{Limit: "timeout", Detail: "not fetched within " + timeout.String() + "; what came is kept"})
				defer stop()
			}
			a, err := f.Fetch(ctx, req)
			if err != nil {
				return err
			}
			if out != "" {
				if err := placeFile(out, a); err != nil {
					return err
				}
			}
			return p.showArtifact(&output, a)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.Var(&text{&pin, "HEX"}, "sha256", "the sha256 of the file that is to come out")
	f.Var(&text{&out, "FILE"}, "out", "put it there too; a file that is there must be the same")
	f.Var(&most, "max-size", "bytes that are taken at most")
	f.DurationVar(&timeout, "timeout", 0, "time for everything, as in 10m; 0 is no limit, and silence ends a connection anyway")
	f.Var(&text{&ca, "FILE"}, "ca-file", "PEM certificates of the authorities to believe")
	f.Var(&text{&folder, "DIR"}, "cache", "folder of the cache (default: see assay cache dir)")
	f.StringVarP(&output.format, "output", "o", "text", "output format: "+strings.Join(report.Formats, " or "))
	f.BoolVarP(&output.quiet, "quiet", "q", false, "print nothing but errors; the exit code says it all")
	return cmd
}

// parsePin reads a digest as people write it.
func parsePin(cmd *cobra.Command, pin string) (string, error) {
	pin = strings.ToLower(strings.TrimPrefix(pin, "sha256:"))
	if b, err := hex.DecodeString(pin); pin != "" && (err != nil || len(b) != sha256.Size) {
		return "", misuse(cmd, "--sha256 takes 64 hexadecimal digits")
	}
	return pin, nil
}

// authorities reads the certificates of a file; "" is nil, for the system's.
func authorities(name string) (*x509.CertPool, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = 16 << 20
	b, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, &usageError{fmt.Errorf("%q holds no certificate in PEM", filepath.Base(name)), "it begins with -----BEGIN CERTIFICATE-----"}
	}
	return pool, nil
}

func (p *program) showArtifact(o *outputFlags, a *fetch.Artifact) error {
	if o.quiet {
		return nil
	}
	if o.format == "json" {
		return report.JSON(p.stdout, struct {
			Schema string `json:"schema"`
			*fetch.Artifact
		}{"assay.dev/fetch/v1", a})
	}
	for _, n := range a.Notes {
		fmt.Fprintf(p.stderr, "assay: note: %s\n", report.Clean(n))
	}
	_, err := fmt.Fprintf(p.stdout, "sha256:%s %d %s\n", a.SHA256, a.Size, report.Clean(a.Name))
	return err
}

// placeFile copies an artifact to a file that is whole or not there. One that is
// there already and is the same stays.
func placeFile(out string, a *fetch.Artifact) error {
	if info, err := os.Stat(out); err == nil && info.Mode().IsRegular() && info.Size() == a.Size {
		if sum, err := copyDigest(io.Discard, out); err == nil && sum == a.SHA256 {
			return nil
		}
	}
	if _, err := os.Lstat(out); err == nil {
		return exists(out)
	}
	f, err := os.CreateTemp(filepath.Dir(out), ".assay-fetch-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	sum, err := copyDigest(f, a.Path)
	if err == nil && sum != a.SHA256 {
		err = fmt.Errorf("%q changed after it was fetched; nothing was written", a.Name)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return moveNew(f.Name(), out, os.Link)
}

// moveNew gives a file its name, which must be free. link is os.Link: unlike Rename,
// it does not replace.
func moveNew(from, to string, link func(from, to string) error) error {
	err := link(from, to)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		// A file system without links: take the name, then replace what we made.
		var taken *os.File
		if taken, err = os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err == nil {
			err = errors.Join(taken.Close(), os.Rename(from, to))
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return exists(to)
	}
	return err
}

// copyDigest copies a file and returns the sha256 of what it copied.
func copyDigest(to io.Writer, name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(to, h), f)
	return hex.EncodeToString(h.Sum(nil)), err
}
