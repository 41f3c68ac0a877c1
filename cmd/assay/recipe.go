package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/reference/derive"
	"github.com/assaylab/assay/verify/report"
	"github.com/assaylab/assay/verify/signature"
)

// recipeFlags are what rebuild does besides building: it writes recipes, and locks.
type recipeFlags struct {
	start, lock, locked    bool
	buildinfo, dsc, status string

	provenance, subject string
	signed              signature.Request // the question that provenance answers
}

const recipeHelp = `--init writes a recipe to begin with, in which every key has a comment: recipe.yaml
in DIR (default: this folder), or FILE.yaml; or beside an archive, of that archive.
It replaces no file.

--from-buildinfo prints the recipe of a build that a Debian .buildinfo records, with
comments on what could not be taken over, and builds nothing.

--from-provenance prints the recipe of a build that a signed SLSA provenance states.
--subject is what was built, and --key, or --certificate-identity with
--certificate-oidc-issuer and --trusted-root, says whose word is taken; see assay
verify. It builds nothing.

--lock writes RECIPE.lock.yaml after the build: the digest of every source, and
version and digest of every tool. --locked demands that recipe, sources and tools
are those of the lock. With a lock and neither flag, tools that differ are named.`

func (r *recipeFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&r.start, "init", false, "write a commented recipe to begin with; the argument is a folder, a file to write, or an archive")
	f.Var(&text{&r.buildinfo, "FILE"}, "from-buildinfo", "print the recipe of the build that this Debian .buildinfo records")
	f.Var(&text{&r.provenance, "FILE"}, "from-provenance", "print the recipe of the build that this signed SLSA provenance states (a bundle)")
	f.Var(&text{&r.subject, "FILE"}, "subject", "what the provenance is of: a file, or sha256:HEX")
	for _, o := range signature.Options() {
		if slices.Contains(signerFlags, o.Name) {
			f.VarPF(&option{o: o, req: &r.signed}, o.Name, "", o.Usage)
		}
	}
	f.Var(&text{&r.dsc, "HEX"}, "dsc", "sha256 of the .dsc, for a .buildinfo that lists none")
	f.Var(&text{&r.status, "FILE"}, "dpkg-status", "hold the packages of the .buildinfo against this database (default: this machine's, where it has one)")
	f.BoolVar(&r.lock, "lock", false, "write what the recipe came to into RECIPE.lock.yaml")
	f.BoolVar(&r.locked, "locked", false, "demand that recipe, sources and tools are those of RECIPE.lock.yaml")
}

// signerFlags say whose word provenance is.
var signerFlags = []string{
	"key", "certificate-identity", "certificate-identity-regexp", "certificate-oidc-issuer", "certificate-oidc-issuer-regexp", "trusted-root",
}

// buildFlags are of no use to what builds nothing.
var buildFlags = []string{"out", "builds", "set", "lock", "locked", "sandbox", "tool-dir", "network", "cache"}

// args demands a recipe, but for what writes one.
func (r *recipeFlags) args(cmd *cobra.Command, args []string) error {
	given := func(names []string) string {
		for _, name := range names {
			if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
				return name
			}
		}
		return ""
	}
	if name := given(signerFlags); name != "" && r.provenance == "" {
		return misuse(cmd, "--%s says whose word --from-provenance takes, and there is none: nothing would be verified", name)
	}
	if name := given(buildFlags); name != "" && (r.start || r.buildinfo != "" || r.provenance != "") {
		return misuse(cmd, "--%s is for building, and a recipe is written here, not built", name)
	}
	switch {
	case r.start && r.buildinfo != "", r.start && r.provenance != "", r.buildinfo != "" && r.provenance != "":
		return misuse(cmd, "--init, --from-buildinfo and --from-provenance each write a recipe: give one of them")
	case (r.provenance == "") != (r.subject == ""):
		return misuse(cmd, "--from-provenance and --subject go together: a signature over nothing shows nothing")
	case r.lock && r.locked:
		return misuse(cmd, "--lock writes the lock, --locked demands it: give one of them")
	case r.start && len(args) == 0:
		return nil
	case r.buildinfo != "", r.provenance != "":
		return arity(0)(cmd, args)
	case r.dsc != "" || r.status != "":
		return misuse(cmd, "--dsc and --dpkg-status are for --from-buildinfo")
	}
	return arity(1)(cmd, args)
}

// writeRecipe does what needs no build; done is false where there is one to make.
func (p *program) writeRecipe(ctx context.Context, r *recipeFlags, args []string, say func(string)) (done bool, err error) {
	switch {
	case r.start:
		at := "."
		if len(args) > 0 {
			at = args[0]
		}
		return true, p.startRecipe(at, say)
	case r.buildinfo != "":
		return true, p.recipeOfBuildinfo(r, say)
	case r.provenance != "":
		return true, p.recipeOfProvenance(ctx, r, say)
	}
	return false, nil
}

// recipeOfProvenance takes only the word of who is trusted: a signature that does not
// hold gives no recipe.
func (p *program) recipeOfProvenance(ctx context.Context, r *recipeFlags, say func(string)) error {
	req := r.signed
	req.Bundle = r.provenance
	var err error
	if req.Artifact, err = signature.ParseArtifact(r.subject); err != nil {
		return err
	}
	res, err := signature.Verify(ctx, req)
	if err != nil {
		return err
	}
	if !res.OK || res.Statement == nil {
		var b bytes.Buffer
		report.Signature(&b, &res)
		if _, err := p.stderr.Write(b.Bytes()); err != nil {
			return err
		}
		say("no recipe: what a signature says that does not hold is nobody's word")
		p.code = verify.ExitRejected
		return nil
	}
	d, err := derive.FromStatement(res.Statement)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(r.provenance), err)
	}
	return p.printRecipe(d, say)
}

// startRecipe writes a recipe to begin with.
func (p *program) startRecipe(at string, say func(string)) error {
	dir, archive, file := at, "", filepath.Join(at, "recipe.yaml")
	info, err := os.Stat(at)
	switch {
	case strings.HasSuffix(at, ".yaml") || strings.HasSuffix(at, ".yml"):
		dir, file = filepath.Dir(at), at
	case err != nil:
		return err
	case !info.IsDir():
		dir, archive = filepath.Dir(at), filepath.Base(at)
		file = filepath.Join(dir, "recipe.yaml")
	}
	b, err := reference.Starting(dir, archive)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return &usageError{fmt.Errorf("%s exists already, and is not overwritten", file), "name another file, as in assay rebuild --init other.yaml"}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil {
		os.Remove(file) // half a recipe is none
		return err
	}
	say("wrote " + file)
	say(next(b, file))
	return nil
}

// next says what to do with a recipe that was written.
func next(recipe []byte, file string) string {
	for i, line := range bytes.Split(recipe, []byte("\n")) {
		if bytes.Contains(line, []byte(reference.FillIn)) && !bytes.HasPrefix(line, []byte("#")) {
			return fmt.Sprintf("write what is marked %s, in line %d and below, then: assay rebuild %s", reference.FillIn, i+1, file)
		}
	}
	return "read it, then: assay rebuild " + file
}

// dpkgStatus is where Debian keeps which packages are installed.
const dpkgStatus = "/var/lib/dpkg/status"

func (p *program) recipeOfBuildinfo(r *recipeFlags, say func(string)) error {
	if sum, err := hex.DecodeString(r.dsc); err != nil || r.dsc != "" && len(sum) != 32 || r.dsc != strings.ToLower(r.dsc) {
		return &usageError{fmt.Errorf("--dsc %.80q is not a sha256", r.dsc), "give the 64 hexadecimal digits that sha256sum prints"}
	}
	text, err := readSmall(r.buildinfo, derive.MaxBuildinfo)
	if err != nil {
		return err
	}
	name := r.status
	if name == "" {
		name = dpkgStatus
	}
	var status io.Reader
	f, err := os.Open(name)
	switch {
	case err == nil:
		defer f.Close()
		status = f
	case r.status != "" || !errors.Is(err, fs.ErrNotExist):
		return err
	}
	d, err := derive.FromBuildinfo(text, r.dsc, status)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(r.buildinfo), err)
	}
	return p.printRecipe(d, say)
}

// readSmall reads a file whole, if it is not larger than most bytes.
func readSmall(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", name, most)
	}
	return b, err
}

// printRecipe prints a recipe that was derived, and says what is missing in it.
func (p *program) printRecipe(d *derive.Derived, say func(string)) error {
	if _, err := p.stdout.Write(d.Recipe); err != nil {
		return err
	}
	for _, line := range d.Unmapped {
		say(report.Clean("not in the recipe: " + line))
	}
	for _, s := range d.Set {
		say(report.Clean("rebuild with --set " + derive.Shell(s.String())))
	}
	say(next(d.Recipe, "RECIPE.yaml"))
	return nil
}

// lockOf reads the lock of a recipe, and holds the recipe to it with --locked; nil
// if there is none and none is demanded. It is called before the recipe is resolved.
func (r *recipeFlags) lockOf(file string, recipe *reference.Recipe) (*reference.Lock, error) {
	if r.lock {
		return nil, nil
	}
	l, err := reference.LoadLock(reference.LockName(file))
	switch {
	case errors.Is(err, fs.ErrNotExist) && !r.locked:
		return nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, &usageError{fmt.Errorf("there is no %s", filepath.Base(reference.LockName(file))), "write it with assay rebuild --lock"}
	case err != nil:
		return nil, err
	case r.locked:
		return l, l.Pin(recipe)
	}
	return l, nil
}

// hold compares the tools of a build with the lock, or writes the lock of builds
// that agree.
func (r *recipeFlags) hold(l *reference.Lock, file string, recipe *reference.Recipe, res *reference.Result, say func(string)) error {
	switch {
	case r.lock && !res.Agree():
		say("no lock is written: the builds do not agree")
	case r.lock:
		l, err := reference.NewLock(recipe, &res.Build)
		if err != nil {
			return err
		}
		if err := replace(reference.LockName(file), l.Encode()); err != nil {
			return err
		}
		say("wrote " + reference.LockName(file))
	case r.locked:
		return l.Hold(recipe, &res.Build)
	case l != nil:
		if l.Recipe.SHA256 != recipe.SHA256 {
			say(fmt.Sprintf("note: the recipe is not the one that %s was written for", filepath.Base(reference.LockName(file))))
		}
		for _, line := range l.Differences(recipe, &res.Build) {
			say(report.Clean("note: " + line))
		}
	}
	return nil
}

// replace writes a file that is whole, the old one or the new.
func replace(name string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".assay-lock-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
