package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/fetch"
	"github.com/assaylab/assay/verify/oci"
	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/reference/sandbox"
	"github.com/assaylab/assay/verify/report"
	"github.com/assaylab/assay/verify/signature"
	"github.com/assaylab/assay/verify/trust"
)

// version is what this program calls itself; a release sets it.
var version = "0.1.0-dev"

const (
	memoryLimit = 208 << 20 // bytes
	memoryEvery = 250 * time.Millisecond
)

// limitMemory has the collector work harder near the limit: what is held is bounded by
// the limits, and garbage must not double it. Where more is held than that, a quarter of
// it may be garbage, or there would be nothing but collecting.
func limitMemory(ctx context.Context) {
	debug.SetMemoryLimit(memoryLimit)
	go func() {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		for tick := time.NewTicker(memoryEvery); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
			}
			metrics.Read(live)
			debug.SetMemoryLimit(max(memoryLimit, int64(live[0].Value.Uint64())/4*5+memoryLimit/8))
		}
	}()
}

// A program is one run of the command line.
type program struct {
	stdout, stderr io.Writer
	code           int // the exit code, once a command has come to a verdict
}

const exitHelp = `Exit codes, the same for every command and output format:
  0  accepted: identical, or every difference explained within policy
  1  rejected: an unexplained, missing or disallowed byte, a bad or absent
     signature, an input that is not the pinned one
  2  trouble: usage, I/O, an internal error; never a verdict
  3  undecided: a limit stopped the work, or a reference could not be had`

// run is the program: args are those of the process, the result its exit code.
func run(args []string, stdout, stderr io.Writer) (code int) {
	if sandbox.IsInit(args) {
		return sandbox.Init()
	}
	p := &program{stdout: stdout, stderr: stderr}
	defer func() {
		if x := recover(); x != nil {
			fmt.Fprintf(stderr, "assay: internal error: %v\n%s", x, debug.Stack())
			code = verify.ExitTrouble
		}
	}()
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	limitMemory(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		if s, ok := (<-signals).(syscall.Signal); ok {
			stop(interrupted(s))
			signal.Stop(signals) // a second one ends the program at once
		}
	}()

	root := p.root()
	root.SetArgs(args[1:])
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return p.code
	}
	var by interrupted
	if errors.As(context.Cause(ctx), &by) {
		fmt.Fprintf(stderr, "assay: interrupted\n")
		return 128 + int(by)
	}
	return p.fail(err)
}

// interrupted is the signal that ended the run.
type interrupted syscall.Signal

func (s interrupted) Error() string { return "interrupted: " + syscall.Signal(s).String() }

// fail prints an error, what to do about it, and returns the exit code.
func (p *program) fail(err error) int {
	fmt.Fprintf(p.stderr, "assay: error: %s\n", report.Clean(err.Error()))
	code, hint := verify.ExitTrouble, ""
	var usage *usageError
	var limit *diff.LimitError
	var none *sandbox.UnavailableError
	var mismatch *reference.MismatchError
	var sig *signature.Error
	var img *oci.Error
	var large *oci.LimitError
	var distrust *trust.Error
	var unfetched *fetch.Error
	var unfetchable *fetch.LimitError
	var offline *fetch.OfflineError
	var unpinned *fetch.UnpinnedError
	var other *fetch.MismatchError
	var lock *reference.LockError
	switch {
	case errors.As(err, &limit):
		code, hint = verify.ExitUndecided, "raise the limit with the flag of its name, see --help"
	case errors.Is(err, verify.ErrEvidence):
		code, hint = verify.ExitRejected, "do not trust this evidence; make it anew with assay diff or assay check --evidence DIR"
	case errors.As(err, &mismatch):
		code, hint = verify.ExitRejected, mismatch.Hint()
	case errors.As(err, &sig):
		hint = sig.Hint
		if sig.Kind == signature.Limit {
			code = verify.ExitUndecided
		}
	case errors.As(err, &distrust):
		hint = distrust.Hint
		if distrust.Refused {
			code = verify.ExitRejected
		}
	case errors.As(err, &img):
		hint = img.Hint
	case errors.As(err, &large):
		code, hint = verify.ExitUndecided, large.Hint
	case errors.As(err, &other):
		code, hint = verify.ExitRejected, other.Hint()
	case errors.As(err, &unfetchable):
		code, hint = verify.ExitUndecided, unfetchable.Hint
	case errors.As(err, &unfetched):
		hint = unfetched.Hint
	case errors.As(err, &offline):
		code, hint = verify.ExitUndecided, offline.Hint()
	case errors.As(err, &unpinned):
		hint = unpinned.Hint()
	case errors.As(err, &lock):
		code, hint = verify.ExitUndecided, lock.Hint()
	case errors.As(err, &none):
		code, hint = verify.ExitUndecided, none.Hint()
	case reference.Undecided(err):
		code = verify.ExitUndecided
		for _, line := range reference.Tail(err) {
			fmt.Fprintf(p.stderr, "  | %s\n", report.Clean(line))
		}
		hint = "the end of the build's log stands above; --out DIR keeps all of it"
	case errors.As(err, &usage):
		hint = usage.hint
	case errors.Is(err, fs.ErrNotExist):
		hint = "check the path; paths in a delivery or recipe are relative to that file"
	case errors.Is(err, fs.ErrPermission):
		hint = "read it with a user who may, or copy it"
	}
	if hint != "" {
		fmt.Fprintf(p.stderr, "assay: hint: %s\n", report.Clean(hint))
	}
	return code
}

// A usageError is a command line that makes no sense.
type usageError struct {
	error
	hint string
}

func misuse(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...), fmt.Sprintf("see %s --help", cmd.CommandPath())}
}

// arity demands n arguments of a command.
func arity(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return misuse(cmd, "%d arguments where %s takes %d: %s", len(args), cmd.CommandPath(), n, cmd.Use)
		}
		return nil
	}
}

// family and help are for a command that only has commands: what it is given is
// none of them, and alone it says what there is.
func family(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return misuse(cmd, "unknown command %q", args[0])
	}
	return nil
}

func (p *program) help(cmd *cobra.Command, _ []string) error {
	p.code = verify.ExitTrouble
	return cmd.Help()
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "assay",
		Short: "Say whether deployed firmware is what the audited source builds",
		Long: `assay accounts for every byte of a deployed image against a reference, proves
what differences it can to be harmless, verifies signatures, and gives one
verdict with evidence that a second party can recheck.

` + exitHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          family,
		RunE:          p.help,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return misuse(cmd, "%v", err) })
	root.AddCommand(
		p.diffCommand(), p.checkCommand(), p.verifyCommand(), p.rebuildCommand(), p.inspectCommand(),
		p.recheckCommand(), p.signCommand(), p.trustCommand(), p.fetchCommand(), p.cacheCommand(), p.formatsCommand(), p.rulesCommand(), p.versionCommand(),
	)
	return root
}
