// Vendorkey plays a vendor for demonstrations and tests: it makes a throwaway
// ECDSA P-256 key, writes its public half, and signs files with it as
// `cosign sign-blob` does.
//
//	go run ./testdata/vendorkey -out DIR FILE...
//
// It writes DIR/vendor.pub (PEM) and, for each FILE, DIR/NAME.sig with NAME the
// last element of FILE: the base64 of an ASN.1 ECDSA signature over the file's
// SHA-256. The private key is never written. DIR is made when it is missing.
//
// Exit codes: 0 done, 2 trouble.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sigstore/sigstore/pkg/signature"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("vendorkey", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", "", "folder for vendor.pub and the signatures")
	flags.Usage = func() { fmt.Fprintln(stderr, "usage: vendorkey -out DIR FILE...") }
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *out == "" || flags.NArg() == 0 {
		flags.Usage()
		return 2
	}
	if err := sign(*out, flags.Args(), stdout); err != nil {
		fmt.Fprintln(stderr, "vendorkey:", err)
		return 2
	}
	return 0
}

func sign(dir string, files []string, stdout io.Writer) error {
	targets := map[string]string{}
	for _, file := range files {
		target := filepath.Join(dir, filepath.Base(file)+".sig")
		if other, ok := targets[target]; ok {
			return fmt.Errorf("%s and %s would both be signed in %s: name them differently", other, file, target)
		}
		targets[target] = file
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	signer, err := signature.LoadECDSASigner(key, crypto.SHA256)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	public := filepath.Join(dir, "vendor.pub")
	if err := os.WriteFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o666); err != nil {
		return err
	}
	fmt.Fprintln(stdout, public)
	for _, file := range files {
		target := filepath.Join(dir, filepath.Base(file)+".sig")
		if err := signFile(signer, file, target); err != nil {
			return err
		}
		fmt.Fprintln(stdout, target)
	}
	return nil
}

func signFile(signer signature.Signer, file, target string) (err error) {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sig, err := signer.SignMessage(f)
	if err != nil {
		return fmt.Errorf("sign %s: %w", file, err)
	}
	return os.WriteFile(target, []byte(base64.StdEncoding.EncodeToString(sig)), 0o666)
}
