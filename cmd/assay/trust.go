package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/verify/report"
	"github.com/assaylab/assay/verify/trust"
	"github.com/assaylab/assay/verify/trust/anchor"
)

func (p *program) trustCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Fetch or show the trusted root: whom signatures may lead to",
		Long: `A signature by an identity proves something only if you know who may vouch for
identities. A trusted root (trusted_root.json) is that knowledge: a list of the
authorities that issue signing certificates, of the public logs that record them
and the signatures, and of the services that stamp times. Every other command
takes it as --trusted-root FILE and never fetches it.

  assay trust refresh         fetch the newest one, the only command that does
  assay trust show FILE       say what one holds, offline

Whoever can change that file decides what verifies. So a lab reads what a refresh
prints, once, compares the fingerprints over another channel, and pins the
sha256 of the file: keeps it under version control, so that a new one is a change
that someone looks at. Every report names the sha256 and the age of the one it used.`,
		Args: family,
		RunE: p.help,
	}
	cmd.AddCommand(p.trustRefreshCommand(), p.trustShowCommand())
	return cmd
}

func (p *program) trustRefreshCommand() *cobra.Command {
	var (
		output outputFlags
		opts   trust.Options
	)
	cmd := &cobra.Command{
		Use:   "refresh",
		Short: "Fetch the newest trusted root, verify it, and put it in the place of the old one",
		Long: `Fetch the trusted root from a repository of The Update Framework (TUF), verify it,
show what it names and what is new, and put it in the place of the old file.

In such a repository everything is signed. You start from a root.json that names
the repository's keys; each newer root.json is signed by the keys of the one
before, and the newest leads to the trusted root. Dates of expiry keep anyone
from showing an old state for long. For sigstore's public instance a root.json is
built in:

  assay trust refresh

For a repository of your own, --root is the root.json that its operator handed
to you over a channel that you trust. Nothing is trusted on first use:

  assay trust refresh --mirror https://tuf.lab.example --root root.json

The file is written only after it verified, and at once: whatever fails or is
interrupted, the old file stays as it was. Beside it FILE.receipt.json says where
and when it was fetched and which versions the repository had; a repository that
goes back behind them is refused. The two files carry over to a machine without
network. Nothing else is written, and no environment variable changes what is
trusted; HTTPS_PROXY and NO_PROXY say how to reach the network.

Look at what is printed, compare the fingerprints with those that the operator
publishes, and pin the sha256 of the file: from then on a new one is a change
that someone approves, and not a thing that happens.

Exit codes: 0 done, also when nothing is new; 1 what the repository offers does
not verify (bad signature, expired, rolled back, wrong digest); 2 trouble: the
network, a file that cannot be read or written, an option`,
		Args: arity(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := output.known(cmd); err != nil {
				return err
			}
			if opts.Timeout <= 0 {
				return misuse(cmd, "a limit must be positive")
			}
			c, err := trust.Refresh(cmd.Context(), opts)
			if err != nil {
				return err
			}
			if output.quiet {
				return nil
			}
			if output.format == "json" {
				return report.JSON(p.stdout, c)
			}
			return showChange(p.stdout, c)
		},
	}
	f := cmd.Flags()
	output.add(f, report.Formats...)
	f.Var(&text{&opts.Out, "FILE"}, "out", "where the trusted root goes (default "+trust.DefaultTarget+")")
	f.Var(&text{&opts.Repository, "URL"}, "mirror", "TUF repository to fetch from (default "+trust.DefaultRepository+"); another one needs --root")
	f.Var(&text{&opts.Root, "FILE"}, "root", "TUF root.json to start from (default: built in, for the default repository only)")
	f.Var(&text{&opts.Target, "NAME"}, "target", "name of the trusted root in the repository (default "+trust.DefaultTarget+")")
	f.BoolVar(&opts.PlainHTTP, "plain-http", false, "allow http to other hosts: verified all the same, but open to being held back")
	f.DurationVar(&opts.Timeout, "timeout", trust.DefaultTimeout, "time for the whole fetch")
	return cmd
}

func (p *program) trustShowCommand() *cobra.Command {
	var output outputFlags
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Show what a trusted root names, offline",
		Long: `Show the authorities and logs that a trusted root names: the sha256 of each key or
certificate, its name, and from when to when it may be used.

Compare them with what the operators publish, then pin the sha256 of the file,
which stands in the first lines: a report names the trusted root that it was made
with by that sha256. The file has no date of its own. "dated" is the newest start
of validity in it: it is no older than that, but may be outdated all the same.
"fetched" is what the receipt beside it says, if there is one about this file; a
receipt is not signed.

Exit codes: 0 shown; 2 the file cannot be read or is not a trusted root`,
		Args: arity(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.known(cmd); err != nil {
				return err
			}
			l, err := trust.Load(args[0])
			if err != nil {
				return err
			}
			if output.quiet {
				return nil
			}
			if output.format == "json" {
				return report.JSON(p.stdout, l)
			}
			return showListing(p.stdout, l)
		},
	}
	output.add(cmd.Flags(), report.Formats...)
	return cmd
}

func showChange(w io.Writer, c *trust.Change) error {
	s := &lines{w: w}
	switch {
	case c.Unchanged:
		s.row("unchanged", "sha256:%s", c.Now.SHA256)
	case c.Previous == "":
		s.row("new", "sha256:%s", c.Now.SHA256)
	default:
		s.row("before", "sha256:%s", c.Previous)
		s.row("now", "sha256:%s", c.Now.SHA256)
		if len(c.Added)+len(c.Removed) == 0 {
			s.row("names", "the same as before, written otherwise")
		}
		s.names("added", c.Added)
		s.names("removed", c.Removed)
	}
	s.listing(c.Now)
	return s.err
}

func showListing(w io.Writer, l *trust.Listing) error {
	s := &lines{w: w}
	s.listing(l)
	return s.err
}

// lines prints rows until one fails.
type lines struct {
	w   io.Writer
	err error
}

func (s *lines) row(title, format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.w, "%-10s %s\n", title, fmt.Sprintf(format, args...))
	}
}

func (s *lines) listing(l *trust.Listing) {
	s.row("file", "%s  %d bytes", diff.Escape(l.File), l.Size)
	s.row("sha256", "%s", l.SHA256)
	if l.Dated.IsZero() {
		s.row("dated", "unknown: nothing in it has a start of validity")
	} else {
		s.row("dated", "%s, the newest start of validity in it", day(l.Dated))
	}
	if r := l.Receipt; r == nil {
		s.row("fetched", "unknown: no receipt about this file beside it")
	} else {
		s.row("fetched", "%s from %s", r.FetchedAt.Format(time.RFC3339), diff.Escape(r.Repository))
		s.row("versions", "root %d, timestamp %d (expires %s), snapshot %d, targets %d",
			r.RootVersion, r.TimestampVersion, r.TimestampExpires.Format(time.RFC3339), r.SnapshotVersion, r.TargetsVersion)
	}
	s.names("names", l.Names)
}

func (s *lines) names(title string, list []anchor.Fingerprint) {
	for _, f := range list {
		end := "on"
		if !f.End.IsZero() {
			end = "to " + day(f.End)
		}
		start := "any time"
		if !f.Start.IsZero() {
			start = day(f.Start)
		}
		s.row(title, "%s  %s  from %s %s", f.Kind, diff.Escape(f.Name), start, end)
		if f.Subject != "" {
			s.row("", "  certificate of %s", diff.Escape(f.Subject))
		}
		s.row("", "  sha256:%s", f.SHA256)
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
