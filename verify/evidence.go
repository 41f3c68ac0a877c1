package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/ledger"
	"github.com/assaylab/assay/verify/internal/strictjson"
)

// Files of an evidence folder.
const (
	ReportFile = "report.json"
	LedgerFile = "ledger.jsonl"
	SumsFile   = "SHA256SUMS" // of every other file, sorted by name, as sha256sum writes it
)

func newSHA256() hash.Hash { return sha256.New() }

// EncodeJSON writes a report in its one spelling.
func EncodeJSON(w io.Writer, r *Report) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// PrepareEvidence makes the folder, which must be new or empty.
func PrepareEvidence(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("evidence: folder %s is not empty; name a new one", dir)
	}
	return nil
}

// WriteEvidence stores the outcome in a folder that PrepareEvidence made, beside
// what the run has put there already. It sets the report's ledger digest.
func WriteEvidence(dir string, out *Outcome) error {
	if out.Ledger != nil {
		f, err := os.Create(filepath.Join(dir, LedgerFile))
		if err != nil {
			return fmt.Errorf("evidence: %w", err)
		}
		sum, err := out.Ledger.Encode(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("evidence: %w", err)
		}
		out.Report.Ledger = hex.EncodeToString(sum[:])
	}
	for build, l := range out.Accounts {
		f, err := os.Create(filepath.Join(dir, accountFile(build)))
		if err != nil {
			return fmt.Errorf("evidence: %w", err)
		}
		_, err = l.Encode(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("evidence: %w", err)
		}
	}
	var b bytes.Buffer
	if err := EncodeJSON(&b, out.Report); err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ReportFile), b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	sums, err := sums(dir)
	if err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, SumsFile), sums, 0o644); err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	return nil
}

// sums lists every file of an evidence folder but the list itself. Anything that
// is neither a file nor a folder is an error.
func sums(dir string) ([]byte, error) {
	var lines []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if in, err := os.ReadDir(p); err != nil || len(in) > 0 || p == dir {
				return err
			}
			return fmt.Errorf("%q is empty and has no place in evidence", filepath.Base(p))
		}
		name, err := filepath.Rel(dir, p)
		if err != nil || name == SumsFile {
			return err
		}
		if !e.Type().IsRegular() || strings.ContainsAny(name, "\n\r\\") {
			return fmt.Errorf("%q has no place in evidence", name)
		}
		f, err := openRegular(p)
		if err != nil {
			return err
		}
		defer f.Close()
		h := newSHA256()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%x  %s\n", h.Sum(nil), filepath.ToSlash(name)))
		return nil
	})
	sort.Slice(lines, func(i, j int) bool { return lines[i][66:] < lines[j][66:] })
	return []byte(strings.Join(lines, "")), err
}

// ErrEvidence is wrapped by errors that say the evidence does not hold: it was
// changed, or is about other images. The exit code is that of a rejection.
var ErrEvidence = errors.New("the evidence does not hold")

func unsound(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrEvidence, fmt.Sprintf(format, args...))
}

// Bounds of what is read whole of stored evidence, in bytes.
const (
	maxReport = 256 << 20
	maxSums   = 16 << 20
)

// Recheck replays stored evidence on both images: every digest of the folder,
// the ledger by the kernel, and the report by judging the ledger anew. It
// returns the report, whose verdict stands for the bytes. Signatures, the origin
// of the reference and the paths in the ledger are taken as recorded, as far as the
// report does not contradict itself (see CheckReport): nothing here says that what
// was recorded is all there was.
//
// Evidence without a ledger, of a run that was stopped before it had one, replays
// nothing: the images must be of the sizes and digests that it records.
//
// The policy must be built in, or the one given by name: what evidence says of its
// own policy is no policy.
func Recheck(ctx context.Context, dir string, ref, dep *Image, policy string, o Options) (*Report, error) {
	if err := CheckSums(dir); err != nil {
		return nil, err
	}
	r, err := ReadReport(dir)
	if err != nil {
		return nil, err
	}
	if err := r.holdsTo(policy); err != nil {
		return nil, err
	}
	if r.Reference.Kind != ref.Kind && r.Reference.Size > 0 || r.Deployed.Kind != dep.Kind {
		return nil, unsound("it is about a %s and a %s, these are a %s and a %s", r.Reference.Kind, r.Deployed.Kind, ref.Kind, dep.Kind)
	}
	f, err := openLedger(dir)
	if err != nil {
		return nil, err
	}
	if f == nil {
		if err := agrees(r, nil); err != nil {
			return nil, err
		}
		return r, r.isAbout(ref, dep)
	}
	defer f.Close()
	l, err := ledger.Recheck(ctx, f, ledger.Image{ReaderAt: ref, Size: ref.Size}, ledger.Image{ReaderAt: dep, Size: dep.Size}, diff.Tools(o.Engine()))
	if errors.Is(err, ledger.ErrInvalid) {
		return nil, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	if err != nil {
		return nil, err
	}
	if err := agrees(r, l); err != nil {
		return nil, err
	}
	return r, r.recheckInert(ctx, dir, ref, l, o)
}

// openLedger opens the ledger of an evidence folder; nil if there is none.
func openLedger(dir string) (*os.File, error) {
	f, err := openEvidence(dir, LedgerFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

// isAbout holds two images against what a report without a ledger records of its
// own: sizes, and digests where the run came to them. No reference may have been
// had at all.
func (r *Report) isAbout(ref, dep *Image) error {
	if err := r.Deployed.isOf(dep, "deployed image"); err != nil {
		return err
	}
	if r.Reference.Size == 0 && r.Reference.SHA256 == "" && r.Reference.SHA512 == "" {
		return nil
	}
	return r.Reference.isOf(ref, "reference")
}

func (in *Input) isOf(img *Image, what string) error {
	if in.Size != img.Size {
		return unsound("its %s has %d bytes, this one has %d", what, in.Size, img.Size)
	}
	if in.SHA256 == "" && in.SHA512 == "" {
		return nil
	}
	seen := Input{}
	if err := seen.digest(img); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, d := range []struct{ alg, recorded, seen string }{{"sha256", in.SHA256, seen.SHA256}, {"sha512", in.SHA512, seen.SHA512}} {
		if d.recorded != "" && d.recorded != d.seen {
			return unsound("the %s of its %s is %.128q, of this one it is %s", d.alg, what, d.recorded, d.seen)
		}
	}
	return nil
}

// CheckSums holds the files of an evidence folder against its list of digests.
// The error is ErrEvidence if one was changed, added or removed.
func CheckSums(dir string) error {
	if fi, err := os.Stat(dir); err != nil {
		return fmt.Errorf("evidence: %w", err)
	} else if !fi.IsDir() {
		return fmt.Errorf("evidence: %s is not a folder", dir)
	}
	listed, err := readEvidence(dir, SumsFile, maxSums)
	if err != nil {
		return err
	}
	found, err := sums(dir)
	if err != nil {
		return unsound("%v", err)
	}
	if !bytes.Equal(listed, found) {
		return unsound("%s and the files do not agree: %s", SumsFile, firstDifference(listed, found))
	}
	return nil
}

func firstDifference(a, b []byte) string {
	x, y := strings.Split(string(a), "\n"), strings.Split(string(b), "\n")
	for i := 0; i < max(len(x), len(y)); i++ {
		switch {
		case i >= len(x) || x[i] == "":
			return fmt.Sprintf("%.200q is not listed", y[i])
		case i >= len(y) || y[i] == "":
			return fmt.Sprintf("%.200q is not there", x[i])
		case x[i] != y[i]:
			return fmt.Sprintf("listed %.200q, found %.200q", x[i], y[i])
		}
	}
	return "line ends"
}

// readEvidence reads a file of an evidence folder whole. What is not there, no
// file or too large makes the evidence unsound.
func readEvidence(dir, name string, most int64) ([]byte, error) {
	f, err := openEvidence(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, unsound("it has no %s", name)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, unsound("%s is larger than %d bytes", name, most)
	}
	return b, nil
}

// openEvidence opens a file of an evidence folder. The error is fs.ErrNotExist if
// there is none, ErrEvidence if it is something else.
func openEvidence(dir, name string) (*os.File, error) {
	path := filepath.Join(dir, name)
	fi, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, unsound("%s is not a regular file", name)
	}
	return openRegular(path)
}

// ReadReport reads the report of an evidence folder, and takes it at its word: see
// CheckSums, CheckReport and Recheck. What two readers could take for two reports is
// refused: a key that is unknown, or occurs twice in any letter case.
func ReadReport(dir string) (*Report, error) {
	b, err := readEvidence(dir, ReportFile, maxReport)
	if err != nil {
		return nil, err
	}
	if err := strictjson.Unique(b); err != nil {
		return nil, unsound("%s: %v", ReportFile, err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	r := &Report{}
	if err := d.Decode(r); err != nil {
		return nil, unsound("%s: %v", ReportFile, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, unsound("%s: there is more than one report in it", ReportFile)
	}
	if r.Schema != Schema {
		return nil, unsound("%s: schema %.80q is not %s", ReportFile, r.Schema, Schema)
	}
	return r, nil
}

// holdsTo demands that the report was judged by the policy of that name or, if
// none is named, by one that is built in.
func (r *Report) holdsTo(name string) error {
	if name == "" && r.Policy.Name == identicalPolicy.Name {
		name = identicalPolicy.Name
	}
	p, err := LoadPolicy(name)
	if err != nil {
		return err
	}
	if r.Policy.Name != p.Name || r.Policy.Explained != p.Explained || r.Policy.FreeBits != p.FreeBits || !slices.Equal(r.Policy.Rules, p.Rules) {
		return unsound("it was judged by policy %q, not by %q; --policy names the one to hold it to", r.Policy.Name, p.Name)
	}
	return nil
}
