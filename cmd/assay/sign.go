package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/signature"
	"github.com/assaylab/assay/verify/statement"
)

const signHelp = `Sign says in a signed in-toto statement what a run of assay found: that a deployed
image was held against a reference, by which policy and rules, and whether it
passed. A rejected image is attested as loudly as an accepted one.

  assay check --evidence ev delivery.yaml
  assay sign --key cosign.key --out firmware.assay.json ev
  assay verify --key cosign.pub --bundle firmware.assay.json firmware.bin

EVIDENCE is a folder that --evidence made. Its digests must hold, and the
statement names them, so that it stands for the whole folder. Its report must be
what its ledger gives and must not contradict itself; that the ledger is true of
the images is not looked at here: replay evidence of others with assay recheck
before you sign it. With --provenance the statement is the one in the evidence of
what was rebuilt of what (SLSA provenance), which must be the report's reference.
STATEMENT is a file with either statement, as from --statement-only or
assay rebuild --out; it is taken at its word as far as it does not contradict
itself. Nothing else is signed, and nothing is fetched or published.

The key is a file: a private key that cosign generate-key-pair made, or one in
PEM (PKCS #8, EC or PKCS #1) that is not encrypted. ECDSA P-256, P-384 and P-521,
RSA of 2048, 3072 and 4096 bits, and Ed25519. The passphrase of a cosign key comes
from --passphrase-file, else from the environment variable COSIGN_PASSWORD, else
it is asked for on the terminal.

Formats:
  bundle  a sigstore bundle v0.3: for assay verify --bundle, and for cosign
          verify-blob-attestation --new-bundle-format --insecure-ignore-tlog
  dsse    the DSSE envelope alone, which other tools read

assay verify accepts a statement that says PASS. One that says FAIL or INCOMPLETE
verifies as a signature, and is rejected all the same: it is no approval.

The same key and evidence give the same bytes. Before anything is written, the
signature is verified with the public half.

Exit codes: 0 signed, whatever the verdict; 1 the evidence does not hold; 2 trouble`

// signFlags are what sign takes.
type signFlags struct {
	key, out, format, passphrase string
	statementOnly, quiet         bool
	provenance                   bool
}

func (p *program) signCommand() *cobra.Command {
	var o signFlags
	cmd := &cobra.Command{
		Use:   "sign EVIDENCE|STATEMENT",
		Short: "Sign what a run found, as an in-toto attestation",
		Long:  signHelp,
		Args:  arity(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := p.sign(cmd, args[0], &o)
			var e *statement.Error
			if errors.As(err, &e) && !errors.Is(err, verify.ErrEvidence) {
				return &usageError{err, e.Hint}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.Var(&text{&o.key, "FILE"}, "key", "private key to sign with")
	f.Var(&text{&o.passphrase, "FILE"}, "passphrase-file", "file with the passphrase of the key")
	f.Var(&text{&o.out, "FILE"}, "out", "write to this new file (default: standard output)")
	f.StringVar(&o.format, "format", "bundle", "bundle or dsse")
	f.BoolVar(&o.provenance, "provenance", false, "sign the provenance of the rebuild that the evidence holds, in place of its account of bytes")
	f.BoolVar(&o.statementOnly, "statement-only", false, "print the statement, do not sign it")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but the result and errors")
	return cmd
}

func (p *program) sign(cmd *cobra.Command, input string, o *signFlags) error {
	switch {
	case o.format != "bundle" && o.format != "dsse":
		return misuse(cmd, "unknown format %q; one of bundle, dsse", o.format)
	case o.statementOnly && (o.key != "" || o.passphrase != ""):
		return misuse(cmd, "--statement-only signs nothing: leave out the key and its passphrase")
	case !o.statementOnly && o.key == "":
		return misuse(cmd, "missing: the private key (--key)")
	}
	fi, err := os.Stat(input)
	if err != nil {
		return err
	}
	if o.out != "" {
		if err := mayWrite(o.out, fi); err != nil {
			return err
		}
	}
	var s *statement.Statement
	switch {
	case o.provenance && !fi.IsDir():
		return misuse(cmd, "--provenance goes with EVIDENCE: a statement in a file is signed as it is")
	case o.provenance:
		s, err = rebuiltEvidence(input)
	case fi.IsDir():
		s, err = stateEvidence(input)
	default:
		s, err = statement.ReadFile(input)
	}
	if err != nil {
		return err
	}
	b, err := s.Encode()
	if err != nil {
		return err
	}
	var key *statement.Key
	if !o.statementOnly {
		if key, err = p.loadKey(cmd.Context(), o); err != nil {
			return err
		}
		if b, err = envelope(cmd.Context(), s, b, key, o.format); err != nil {
			return err
		}
	}
	if o.out != "" {
		err = writeNew(o.out, b)
	} else {
		_, err = p.stdout.Write(b)
	}
	if err == nil {
		p.tell(s, key, p.say(&outputFlags{quiet: o.quiet}))
	}
	return err
}

// tell says what was stated, and by whom.
func (p *program) tell(s *statement.Statement, key *statement.Key, say func(string)) {
	for _, subject := range s.Subject {
		say(fmt.Sprintf("%s of %q, sha256:%s", s.PredicateType, subject.Name, subject.Digest["sha256"]))
	}
	if v, reasons, ok := s.Verdict(); ok {
		say("verdict: " + v.String())
		for _, r := range reasons {
			say(fmt.Sprintf("  %q", r))
		}
	}
	if key != nil {
		say(fmt.Sprintf("signed by the key %q (%s), public half sha256:%s", key.Name, key.Scheme, key.Fingerprint()))
	}
}

func (p *program) loadKey(ctx context.Context, o *signFlags) (*statement.Key, error) {
	key, err := statement.LoadKey(o.key, func() ([]byte, error) { return p.passphrase(ctx, o) })
	if err != nil {
		return nil, err
	}
	for _, w := range key.Warnings {
		fmt.Fprintf(p.stderr, "assay: warning: %s\n", w)
	}
	return key, nil
}

// envelope signs a statement, and verifies what it signed.
func envelope(ctx context.Context, s *statement.Statement, payload []byte, key *statement.Key, format string) ([]byte, error) {
	e, err := statement.Sign(key, payload)
	if err != nil {
		return nil, err
	}
	bundle, err := e.Bundle(key.Hint())
	if err != nil {
		return nil, err
	}
	if err := verifies(ctx, s, bundle, key); err != nil {
		return nil, err
	}
	if format == "dsse" {
		return e.DSSE()
	}
	return bundle, nil
}

// verifies demands that a bundle convinces the verifier, given the public half
// and the digest of the first subject.
func verifies(ctx context.Context, s *statement.Statement, bundle []byte, key *statement.Key) error {
	dir, err := os.MkdirTemp("", "assay-sign-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	req := signature.Request{
		Bundle: filepath.Join(dir, "bundle.json"), Key: filepath.Join(dir, "key.pub"), PredicateType: s.PredicateType,
	}
	sum, err := hex.DecodeString(s.Subject[0].Digest["sha256"])
	if err != nil {
		return err
	}
	req.Artifact = signature.Digest([32]byte(sum))
	if err := errors.Join(os.WriteFile(req.Bundle, bundle, 0o600), os.WriteFile(req.Key, key.PublicPEM(), 0o600)); err != nil {
		return err
	}
	res, err := signature.Verify(ctx, req)
	if err != nil {
		return fmt.Errorf("the signature that was just made cannot be verified; nothing was written: %w", err)
	}
	for _, step := range res.Steps {
		// A statement that something failed is signed, and is no approval.
		if step.Outcome == signature.Fail && step.Name != signature.StepPredicate {
			return fmt.Errorf("the signature that was just made does not verify; nothing was written: %s: %s", step.Name, step.Reason)
		}
		if (step.Name == signature.StepSignature || step.Name == signature.StepSubject) && step.Outcome != signature.Pass {
			return fmt.Errorf("the signature that was just made is not verified; nothing was written: %s: %s", step.Name, step.Reason)
		}
	}
	return nil
}

// passphrase brings the passphrase of an encrypted key.
func (p *program) passphrase(ctx context.Context, o *signFlags) ([]byte, error) {
	if o.passphrase != "" {
		return statement.ReadPassphrase(o.passphrase)
	}
	if pass, ok := os.LookupEnv("COSIGN_PASSWORD"); ok {
		return []byte(pass), nil
	}
	in := int(os.Stdin.Fd())
	before, err := term.GetState(in)
	if err != nil {
		return nil, &usageError{
			fmt.Errorf("the private key %q is encrypted, and there is no terminal to ask for its passphrase on", filepath.Base(o.key)),
			"give it with --passphrase-file FILE, or in the environment variable COSIGN_PASSWORD",
		}
	}
	fmt.Fprintf(p.stderr, "Passphrase of the private key %q: ", filepath.Base(o.key))
	defer fmt.Fprintln(p.stderr)
	type answer struct {
		pass []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		pass, err := term.ReadPassword(in)
		answers <- answer{pass, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return nil, fmt.Errorf("reading the passphrase: %w", a.err)
		}
		return a.pass, nil
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), term.Restore(in, before)) // it echoes again
	}
}

// mayWrite refuses a file that exists, or that lies in the evidence folder, whose
// digests it would break. It looks before anyone is asked for a passphrase.
func mayWrite(path string, input fs.FileInfo) error {
	if _, err := os.Lstat(path); err == nil {
		return exists(path)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	for err == nil && input.IsDir() {
		var fi fs.FileInfo
		if fi, err = os.Stat(dir); err == nil && os.SameFile(fi, input) {
			return &usageError{
				fmt.Errorf("--out %q lies in the evidence, whose digests it would break", filepath.Base(path)),
				"write it beside the folder",
			}
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	return err
}

func exists(path string) error {
	return &usageError{fmt.Errorf("--out %q exists already, and is not overwritten", filepath.Base(path)), "name a new file"}
}

// writeNew makes a file that is whole or not there, and that was not there before.
func writeNew(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".assay-sign-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	err = os.Link(f.Name(), path) // unlike Rename, it does not replace
	if err != nil && !errors.Is(err, fs.ErrExist) {
		// A file system without links: take the name, then replace what we made.
		var taken *os.File
		if taken, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o644); err == nil {
			err = errors.Join(taken.Close(), os.Rename(f.Name(), path))
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return exists(path)
	}
	return err
}
