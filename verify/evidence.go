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
	"reflect"
	"slices"
	"sort"
	"strings"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/ledger"
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
// of the reference and the paths in the ledger are taken as recorded: nothing here
// says that what was recorded is all there was.
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
	f, err := openRegular(filepath.Join(dir, LedgerFile))
	if errors.Is(err, fs.ErrNotExist) {
		if r.Verdict == Explained || r.Verdict == Identical || r.Ledger != "" {
			return nil, unsound("its verdict is %s and there is no ledger", r.Verdict)
		}
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l, err := ledger.Recheck(ctx, f, ledger.Image{ReaderAt: ref, Size: ref.Size}, ledger.Image{ReaderAt: dep, Size: dep.Size}, diff.Tools(o.Engine()))
	if errors.Is(err, ledger.ErrInvalid) {
		return nil, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	if err != nil {
		return nil, err
	}
	return r, agrees(r, l)
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
	path := filepath.Join(dir, name)
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, unsound("it has no %s", name)
	}
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, unsound("%s is not a regular file", name)
	}
	f, err := openRegular(path)
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

// ReadReport reads the report of an evidence folder, and takes it at its word: see
// CheckSums and Recheck.
func ReadReport(dir string) (*Report, error) {
	b, err := readEvidence(dir, ReportFile, maxReport)
	if err != nil {
		return nil, err
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

// containsAll says whether every one of want is in have: a run may have reasons
// besides those in the bytes.
func containsAll(have, want []string) bool {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return false
		}
	}
	return true
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

// agrees holds a stored report against the ledger, judged anew.
func agrees(r *Report, l *ledger.Ledger) error {
	again := newReport(r.Policy, Options{})
	again.judge(l)
	sum, err := l.Encode(io.Discard)
	if err != nil {
		return err
	}
	other := false // whether something besides the bytes made the verdict worse
	var findings []Finding
	for _, f := range r.Findings {
		if f.Kind == KindInput || f.Kind == KindSignature {
			other = true
			continue
		}
		f.Excerpt = nil
		findings = append(findings, f)
	}
	want := again.Verdict
	if other {
		want = Rejected
	}
	if len(r.Signers.unsatisfied(r.Signatures)) > 0 && !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind == KindSignature }) {
		return unsound("its signatures do not satisfy its signers, and the verdict does not say so")
	}
	switch {
	case r.Ledger != hex.EncodeToString(sum[:]):
		return unsound("the report is about another ledger")
	case r.Verdict != want:
		return unsound("its verdict is %s, the ledger gives %s", r.Verdict, want)
	case !containsAll(r.Reasons, again.Reasons):
		return unsound("its reasons are not the ledger's")
	case r.Totals != again.Totals || r.FreeBits != again.FreeBits:
		return unsound("its totals are not the ledger's")
	case r.Deployed.Size != l.Deployed.Size || r.Deployed.SHA256 != hex.EncodeToString(l.Deployed.Sum[:]):
		return unsound("the report names another deployed image")
	case r.Reference.Size != l.Reference.Size || r.Reference.SHA256 != hex.EncodeToString(l.Reference.Sum[:]):
		return unsound("the report names another reference")
	case len(findings) != len(again.Findings) || len(findings) > 0 && !reflect.DeepEqual(findings, again.Findings):
		return unsound("its findings are not the ledger's")
	case len(r.Explanations) != len(again.Explanations) || len(r.Explanations) > 0 && !reflect.DeepEqual(r.Explanations, again.Explanations):
		return unsound("its explanations are not the ledger's")
	case len(r.Sections) != len(again.Sections) || len(r.Sections) > 0 && !reflect.DeepEqual(r.Sections, again.Sections):
		return unsound("its table of sections is not the ledger's")
	}
	return nil
}
