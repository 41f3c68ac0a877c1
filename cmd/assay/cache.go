package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/fetch"
	"github.com/assaylab/assay/verify/report"
)

func (p *program) cacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Look into the cache of what was fetched, verify or prune it",
		Long: `What assay fetches lies in one folder, each file under its sha256. Any number of
processes use it at once. A file is there whole or not at all, and is digested each
time it is used, so that one that a disk spoilt counts as absent. What a download
that was killed left is gone on with by the next one.

  assay cache dir       print the folder: $ASSAY_CACHE, else assay in the user's
                        folder of caches (XDG_CACHE_HOME)
  assay cache ls        list what is there
  assay cache verify    digest all of it, and remove what is spoilt
  assay cache prune     remove what is left over, or is not wanted any more

It can be removed at any time: what is pinned can be fetched again, as long as it
is where it was. Copied to another machine it serves there without a network.

A cache is trusted as you are yourself. What is pinned by its own sha256 is held
against that, whoever wrote the cache; but which file was made of a commit, an image
or a package is what the cache says, and nothing verifies it. Copy a cache only from
whom you trust; of any other, let assay cache verify --strict forget what it says.`,
		Args: family,
		RunE: p.help,
	}
	cmd.AddCommand(p.cacheDirCommand(), p.cacheListCommand(), p.cacheVerifyCommand(), p.cachePruneCommand())
	return cmd
}

// cacheFlags are what the commands about the cache share.
type cacheFlags struct {
	output outputFlags
	dir    string
}

func (c *cacheFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.Var(&text{&c.dir, "DIR"}, "cache", "folder of the cache (default: see assay cache dir)")
	f.StringVarP(&c.output.format, "output", "o", "text", "output format: "+strings.Join(report.Formats, " or "))
	f.BoolVarP(&c.output.quiet, "quiet", "q", false, "print nothing but errors; the exit code says it all")
}

func (c *cacheFlags) open(cmd *cobra.Command) (*fetch.Cache, error) {
	if err := c.output.known(cmd); err != nil {
		return nil, err
	}
	return fetch.Open(c.dir)
}

func (p *program) cacheDirCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "dir",
		Short: "Print the folder of the cache",
		Long: `Print the folder of the cache: $ASSAY_CACHE, else assay in the user's folder of
caches. It need not be there yet.

Exit codes: 0 printed; 2 there is no place for it`,
		Args: arity(0),
		RunE: func(*cobra.Command, []string) error {
			dir, err := fetch.DefaultDir()
			if err == nil {
				_, err = fmt.Fprintln(p.stdout, dir)
			}
			return err
		},
	}
}

func (p *program) cacheListCommand() *cobra.Command {
	var c cacheFlags
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List what the cache holds",
		Long: `List the files of the cache with their digests, bytes, and the time when each was
last used; then what is not whole: downloads that ended early, and those that go on
now. Nothing is read but names; assay cache verify reads.

Exit codes: 0 listed; 2 trouble`,
		Args: arity(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cache, err := c.open(cmd)
			if err != nil {
				return err
			}
			l, err := cache.List()
			if err != nil || c.output.quiet {
				return err
			}
			if c.output.format == "json" {
				return report.JSON(p.stdout, struct {
					Schema string `json:"schema"`
					*fetch.Listing
				}{"assay.dev/cache-list/v1", l})
			}
			for _, e := range l.Entries {
				fmt.Fprintf(p.stdout, "sha256:%s %d used %s\n", e.SHA256, e.Size, e.Used.Format(time.RFC3339))
			}
			for _, left := range l.Leftovers {
				fmt.Fprintf(p.stdout, "%s %d %s\n", fate(left), left.Size, whose(left))
			}
			_, err = fmt.Fprintf(p.stdout, "%s, %d bytes\n", count(len(l.Entries), "file"), l.Size())
			return err
		},
	}
	c.add(cmd)
	return cmd
}

// fate is what a file that is not whole is at.
func fate(l fetch.Leftover) string {
	if l.Live {
		return "written now"
	}
	return "left over"
}

// whose is what a file that is not whole is of.
func whose(l fetch.Leftover) string {
	if l.URL == "" {
		return l.Name
	}
	return report.Clean(l.URL)
}

// count is a number of things, in English.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func (p *program) cacheVerifyCommand() *cobra.Command {
	var c cacheFlags
	var strict bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Digest every file of the cache, and remove what is spoilt",
		Long: `Digest every file of the cache and remove those that are not what their name says,
as a disk that fails may leave them. Nothing that uses the cache ever takes such a
file; this finds all of them at once.

Which file was made of a commit, an image or a package cannot be verified, but by
making it anew. How often the cache says so is counted; with --strict it is forgotten,
and each such file is made anew when it is next asked for, which needs a network.

Exit codes: 0 all are right; 1 some were spoilt, and are removed; 2 trouble`,
		Args: arity(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cache, err := c.open(cmd)
			if err != nil {
				return err
			}
			n := 0
			corrupt, err := cache.Verify(cmd.Context(), func(fetch.Entry) { n++ })
			if len(corrupt) > 0 {
				p.code = verify.ExitRejected
			}
			var unverified int
			if err == nil {
				unverified, err = aliases(cache, strict)
			}
			if err != nil || c.output.quiet {
				return err
			}
			if c.output.format == "json" {
				return report.JSON(p.stdout, struct {
					Schema     string        `json:"schema"`
					Files      int           `json:"files"`
					Corrupt    []fetch.Entry `json:"corrupt"`
					Unverified int           `json:"unverified"` // aliases
					Forgotten  bool          `json:"forgotten"`  // these
				}{"assay.dev/cache-verify/v1", n, corrupt, unverified, strict})
			}
			for _, e := range corrupt {
				fmt.Fprintf(p.stdout, "spoilt, and removed: sha256:%s %d\n", e.SHA256, e.Size)
			}
			switch {
			case unverified > 0 && strict:
				fmt.Fprintf(p.stdout, "forgotten: %s that a file was made of a commit, an image or a package\n", count(unverified, "statement"))
			case unverified > 0:
				fmt.Fprintf(p.stdout, "not verified: %s that a file was made of a commit, an image or a package\n", count(unverified, "statement"))
			}
			_, err = fmt.Fprintf(p.stdout, "%s, %d spoilt\n", count(n, "file"), len(corrupt))
			return err
		},
	}
	c.add(cmd)
	cmd.Flags().BoolVar(&strict, "strict", false, "forget which files were made of commits, images and packages")
	return cmd
}

// aliases counts what the cache says and nothing verifies, and forgets it if told to.
func aliases(c *fetch.Cache, forget bool) (int, error) {
	if forget {
		return c.Forget()
	}
	l, err := c.List()
	if err != nil {
		return 0, err
	}
	return l.Aliases, nil
}

func (p *program) cachePruneCommand() *cobra.Command {
	var (
		c     cacheFlags
		what  fetch.Pruning
		older time.Duration
		most  size
	)
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove what is left over, or is not wanted any more",
		Long: `Remove what processes that were killed left over: files that were being made, and
downloads that ended early, with which the next fetch would go on. What other
processes are writing now stays. With a flag, remove whole files too: what was used
longest ago goes first. What was used within the last 10 minutes stays, as somebody
may be about to open it, unless --force says that nobody is.

  assay cache prune                      leftovers alone
  assay cache prune --older-than 720h    what was not used for 30 days
  assay cache prune --max-size 10GiB     until no more than that is left
  assay cache prune --all                everything not in use
  assay cache prune --all --force        everything

Exit codes: 0 done; 2 trouble`,
		Args: arity(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cache, err := c.open(cmd)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("older-than") {
				if older <= 0 {
					return misuse(cmd, "--older-than takes a time such as 720h")
				}
				what.Before = time.Now().Add(-older)
			}
			what.MaxSize = int64(most)
			pruned, err := cache.Prune(cmd.Context(), what)
			if err != nil || c.output.quiet {
				return err
			}
			if c.output.format == "json" {
				return report.JSON(p.stdout, struct {
					Schema string `json:"schema"`
					*fetch.Pruned
				}{"assay.dev/cache-prune/v1", pruned})
			}
			for _, e := range pruned.Entries {
				fmt.Fprintf(p.stdout, "removed sha256:%s %d\n", e.SHA256, e.Size)
			}
			for _, left := range pruned.Leftovers {
				fmt.Fprintf(p.stdout, "removed %s %d, left over\n", whose(left), left.Size)
			}
			if pruned.Live > 0 {
				fmt.Fprintf(p.stdout, "kept %s that other processes are writing\n", count(pruned.Live, "file"))
			}
			if pruned.Recent > 0 {
				fmt.Fprintf(p.stdout, "kept %s used within the last %.0f minutes; --force removes them\n", count(pruned.Recent, "file"), fetch.InUse.Minutes())
			}
			_, err = fmt.Fprintf(p.stdout, "%d bytes removed, %d kept\n", pruned.Size(), pruned.Kept)
			return err
		},
	}
	c.add(cmd)
	f := cmd.Flags()
	f.BoolVar(&what.All, "all", false, "remove every file that is not in use")
	f.BoolVar(&what.Force, "force", false, "remove what was used within the last 10 minutes too")
	f.DurationVar(&older, "older-than", 0, "remove what was not used for that time, as in 720h")
	f.Var(&most, "max-size", "remove what was used longest ago until no more than that is left")
	return cmd
}
