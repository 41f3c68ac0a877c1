package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/report"
	"github.com/assaylab/assay/verify/signature"
)

// size is a flag of a number of bytes: 64MiB, 1G, 4096.
type size int64

var units = []struct {
	name  string
	shift uint
}{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}, {"T", 40}, {"G", 30}, {"M", 20}, {"K", 10}, {"B", 0}, {"", 0}}

func (s *size) Set(v string) error {
	for _, u := range units {
		digits, ok := strings.CutSuffix(v, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n <= 0 || n > 1<<(62-u.shift) {
			return fmt.Errorf("%q is not a size such as 64MiB", v)
		}
		*s = size(n << u.shift)
		return nil
	}
	return nil
}

func (s *size) String() string {
	if s == nil || *s == 0 {
		return "0"
	}
	for _, u := range units {
		if len(u.name) == 3 && *s%(1<<u.shift) == 0 {
			return strconv.FormatInt(int64(*s)>>u.shift, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(*s), 10)
}

func (*size) Type() string { return "SIZE" }

// limitFlags are the limits on one comparison.
type limitFlags struct {
	expanded, dict size
	ratio, nodes   int64
	depth          int
	timeout        time.Duration
}

func (l *limitFlags) add(f *pflag.FlagSet) {
	l.expanded, l.dict = diff.DefaultMaxExpanded, diff.DefaultMaxDict
	f.Var(&l.expanded, "max-expanded", "bytes all decoders may write together")
	f.Int64Var(&l.ratio, "max-ratio", diff.DefaultMaxRatio, "output to input of one decoder, or of all holes in files to the image, past 64 MiB of output")
	f.IntVar(&l.depth, "max-depth", diff.DefaultMaxDepth, "layers within layers")
	f.Int64Var(&l.nodes, "max-nodes", diff.DefaultMaxNodes, "sections laid out, both images together")
	f.Var(&l.dict, "max-dict", "dictionary or window of one decoder")
	f.DurationVar(&l.timeout, "timeout", 0, "time for the comparison, as in 90s; 0 is no limit")
}

func (l *limitFlags) limits(cmd *cobra.Command) (diff.Limits, error) {
	if l.ratio <= 0 || l.depth <= 0 || l.nodes <= 0 || l.timeout < 0 {
		return diff.Limits{}, misuse(cmd, "a limit must be positive")
	}
	return diff.Limits{
		MaxExpanded: int64(l.expanded), MaxDict: int64(l.dict), MaxRatio: l.ratio,
		MaxDepth: l.depth, MaxNodes: l.nodes, Timeout: l.timeout,
	}, nil
}

// trustFlags say how old a trusted root may be before it is warned of.
type trustFlags struct {
	asOf string
	days int
}

func (t *trustFlags) add(f *pflag.FlagSet) {
	f.IntVar(&t.days, signature.FlagMaxTrustAge, signature.MaxTrustAge, "days past which to warn of the age of a trusted root")
	f.StringVar(&t.asOf, signature.FlagAsOf, "", "day on which to reckon that age, as 2026-01-31 (default today)")
}

func (t *trustFlags) read(cmd *cobra.Command) (asOf time.Time, days int, err error) {
	if t.days <= 0 {
		return asOf, 0, misuse(cmd, "--%s takes a number of days, such as 90", signature.FlagMaxTrustAge)
	}
	if t.asOf == "" {
		return time.Now(), t.days, nil
	}
	if asOf, err = time.Parse(time.DateOnly, t.asOf); err != nil {
		return asOf, 0, misuse(cmd, "--%s takes a day, such as 2026-01-31", signature.FlagAsOf)
	}
	return asOf, t.days, nil
}

// outputFlags say how a result is shown.
type outputFlags struct {
	format         string
	quiet, verbose bool
	noColor        bool
}

func (o *outputFlags) add(f *pflag.FlagSet, formats ...string) {
	f.StringVarP(&o.format, "output", "o", "text", "output format: "+strings.Join(formats, " or "))
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but errors; the exit code says it all")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "show everything: all rows, findings and steps")
	f.BoolVar(&o.noColor, "no-color", false, "no colours (so too when NO_COLOR is set, or not on a terminal)")
}

// known demands a format that there is.
func (o *outputFlags) known(cmd *cobra.Command) error {
	if !report.Known(o.format) {
		return misuse(cmd, "%v", report.Unknown(o.format))
	}
	return nil
}

// options reads what every command that looks into images takes.
func (p *program) options(cmd *cobra.Command, l *limitFlags, o *outputFlags) (verify.Options, error) {
	if err := o.known(cmd); err != nil {
		return verify.Options{}, err
	}
	limits, err := l.limits(cmd)
	return verify.Options{Version: version, Limits: limits, Progress: p.progress(o)}, err
}

// openPair opens a reference and a deployed image; closing closes both.
func openPair(reference, deployed string) (ref, dep *verify.Image, closing func(), err error) {
	if ref, err = verify.OpenImage(reference); err != nil {
		return nil, nil, nil, err
	}
	if dep, err = verify.OpenImage(deployed); err != nil {
		ref.Close()
		return nil, nil, nil, err
	}
	return ref, dep, func() { ref.Close(); dep.Close() }, nil
}

func (p *program) style(o *outputFlags) report.Style {
	return report.Style{Verbose: o.verbose, Color: !o.noColor && os.Getenv("NO_COLOR") == "" && terminal(p.stdout)}
}

// terminal says whether w is one.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	fi, err := f.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}

// progress shows how far the work is, on a terminal only.
func (p *program) progress(o *outputFlags) func(string, int64, int64) {
	if o.quiet || !terminal(p.stderr) {
		return nil
	}
	return func(stage string, done, total int64) {
		fmt.Fprintf(p.stderr, "\r\x1b[K%s %d/%d\r", stage, done, total)
	}
}

// say prints a line about what is being done.
func (p *program) say(o *outputFlags) func(string) {
	if o.quiet {
		return func(string) {}
	}
	return func(s string) { fmt.Fprintf(p.stderr, "assay: %s\n", report.Clean(s)) }
}

// conclude stores the evidence, prints the report and keeps its exit code.
func (p *program) conclude(cmd *cobra.Command, out *verify.Outcome, o *outputFlags, evidence string) error {
	if evidence != "" {
		if err := verify.WriteEvidence(evidence, out); err != nil {
			return err
		}
	}
	if terminal(p.stderr) && !o.quiet {
		fmt.Fprint(p.stderr, "\r\x1b[K")
	}
	if !o.quiet {
		if err := report.Write(p.stdout, o.format, out.Report, p.style(o)); err != nil {
			return err
		}
	}
	p.code = out.Report.Verdict.ExitCode()
	return nil
}

// text is a string flag with a placeholder of its own.
type text struct {
	to   *string
	kind string
}

func (t *text) Set(s string) error { *t.to = s; return nil }
func (t *text) String() string {
	if t.to == nil {
		return ""
	}
	return *t.to
}
func (t *text) Type() string { return t.kind }
