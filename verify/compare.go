package verify

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/explain"
	"github.com/assaylab/assay/diff/format"
	"github.com/assaylab/assay/diff/ledger"
)

// Options are what every run takes.
type Options struct {
	Version  string // of the program, for the report
	Limits   diff.Limits
	Progress func(stage string, done, total int64)

	Premises []ledger.Premise // what the reference was built with, of the deployed image

	AsOf        time.Time // the day on which the age of trusted roots is reckoned; zero: it is not
	MaxTrustAge int       // days past which to warn; 0: signature.MaxTrustAge
}

// Engine returns the engine's options with everything this program knows.
func (o Options) Engine() diff.Options {
	return diff.Options{
		Formats: format.All(), Rules: explain.All(), Codecs: format.Codecs(o.Limits),
		Limits: o.Limits, Progress: o.Progress, Premises: o.Premises,
	}
}

// An Outcome is a report, and the ledger behind it if there is one.
type Outcome struct {
	Report *Report
	Ledger *ledger.Ledger // nil where nothing could be compared

	// Accounts are the ledgers of the builds that show the values of the reference to be
	// inert, by the names of the builds.
	Accounts map[string]*ledger.Ledger
}

// Diff accounts for every byte of dep against ref, and judges the account. An
// error is trouble, never a verdict; limits give a verdict of undecided.
func Diff(ctx context.Context, ref, dep *Image, labels diff.Labels, policy Policy, o Options) (*Outcome, error) {
	r := newReport(policy, o)
	r.Reference = Input{Name: ref.Name, Kind: ref.Kind, Size: ref.Size}
	r.Deployed = Input{Name: dep.Name, Kind: dep.Kind, Size: dep.Size}
	eo := o.Engine()
	eo.Labels = labels
	res, err := diff.Compare(ctx, ref.Image, dep.Image, eo)
	var limit *diff.LimitError
	if errors.As(err, &limit) {
		return &Outcome{Report: r.undecided(limit.Error())}, nil
	}
	if err != nil {
		return nil, err
	}
	l := res.Ledger
	r.Reference.SHA256 = hex.EncodeToString(l.Reference.Sum[:])
	r.Deployed.SHA256 = hex.EncodeToString(l.Deployed.Sum[:])
	r.judge(l)
	r.excerpts(res)
	if ref.Kind != dep.Kind {
		// A file can hold the very bytes that a directory is read as.
		r.reject(KindInput, ".", fmt.Sprintf("the reference is a %s, the deployed image a %s", ref.Kind, dep.Kind))
	}
	for _, n := range res.Notes {
		r.Notes = append(r.Notes, Note{Side: n.Side, Path: n.Path, Text: n.Text})
	}
	return &Outcome{Report: r, Ledger: l}, nil
}

// newReport returns a report that accuses.
func newReport(p Policy, o Options) *Report {
	return &Report{
		Schema: Schema, Tool: Tool{"assay", o.Version}, Policy: p, Reasons: []string{},
		Sections: []Section{}, Findings: []Finding{}, Explanations: []Explanation{}, Signatures: []Signature{},
	}
}

// undecided makes r the report of work that a limit or a failure stopped: no
// byte is accounted for.
func (r *Report) undecided(reason string) *Report {
	r.Verdict = Undecided
	r.Reasons = append(r.Reasons, reason)
	n, zero := r.Deployed.Size, int64(0)
	r.Totals = ledger.Totals{Unexplained: n, Missing: r.Reference.Size}
	r.Findings = append(r.Findings, Finding{
		Kind: KindLimit, Path: ".", Length: n, RootOffset: &zero, RootLength: &n, Message: "not compared: " + reason,
	})
	return r
}

// judge fills in what the ledger and the policy say.
func (r *Report) judge(l *ledger.Ledger) {
	j := Judge(l, r.Policy)
	r.Verdict = j.Verdict
	r.Totals, r.FreeBits = l.Totals, l.FreeBits
	r.Reasons = append(r.Reasons, j.Reasons...)
	r.Findings = append(r.Findings, j.Findings...)
	r.Explanations = append(r.Explanations, j.Explanations...)
	r.Sections = append(r.Sections, j.Sections...)
}

// excerpts shows the first bytes of findings on both sides.
func (r *Report) excerpts(res *diff.Result) {
	type at struct {
		stream int
		off    int64
	}
	shown := map[at]diff.Excerpt{}
	for i, x := range res.Excerpts {
		e := &res.Ledger.Entries[i]
		shown[at{e.Stream, e.Dep.Off}] = x
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Kind != KindUnexplained && f.Kind != KindMoved {
			continue
		}
		if x, ok := shown[at{f.Stream, f.Offset}]; ok {
			f.Excerpt = &Excerpt{RefOffset: x.RefAt, Ref: hex.EncodeToString(x.Ref), Dep: hex.EncodeToString(x.Dep)}
		}
	}
}

// reject makes the verdict a rejection for a reason outside the bytes.
func (r *Report) reject(kind, path, message string) {
	r.Verdict = worse(r.Verdict, Rejected)
	r.Findings = append(r.Findings, Finding{Kind: kind, Path: path, Message: message})
	sortFindings(r.Findings)
	r.Reasons = append(r.Reasons, fmt.Sprintf("%s: %s", kind, message))
}
