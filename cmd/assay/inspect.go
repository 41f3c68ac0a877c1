package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/report"
)

func (p *program) inspectCommand() *cobra.Command {
	var (
		limits limitFlags
		output outputFlags
	)
	cmd := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Show the tree of sections: offset, size, role, format, digest",
		Long: `Show how an image is laid out: every section with its offset, size, role, format
and digest, at every level. Sections of role gap and tail hold bytes that their
container does not account for. -v shows the fields of headers too.

Exit codes: 0 laid out; 2 trouble; 3 a limit kept a layer closed`,
		Args: arity(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := p.options(cmd, &limits, &output)
			if err != nil {
				return err
			}
			img, err := verify.OpenImage(args[0])
			if err != nil {
				return err
			}
			defer img.Close()
			tree, err := diff.Inspect(cmd.Context(), img.Image, output.verbose, o.Engine())
			var limit *diff.LimitError
			if errors.As(err, &limit) {
				fmt.Fprintf(p.stderr, "assay: undecided: %v\n", err)
				p.code = verify.ExitUndecided
				return nil
			}
			if err != nil {
				return err
			}
			if limited(tree) {
				p.code = verify.ExitUndecided
			}
			if output.quiet {
				return nil
			}
			if output.format == "json" {
				return report.JSON(p.stdout, struct {
					Name   string     `json:"name"`
					Size   int64      `json:"size"`
					SHA256 string     `json:"sha256"`
					Root   *diff.Node `json:"root"`
				}{diff.Escape(img.Name), img.Size, tree.SHA256, tree})
			}
			fmt.Fprintf(p.stdout, "%s  %d bytes  sha256:%s\n", diff.Escape(img.Name), img.Size, tree.SHA256)
			out := bufio.NewWriter(p.stdout)
			show(out, tree, 0)
			return out.Flush()
		},
	}
	f := cmd.Flags()
	output.add(f, report.Formats...)
	limits.add(f)
	return cmd
}

func limited(n *diff.Node) bool {
	for _, c := range n.Children {
		if limited(c) {
			return true
		}
	}
	return n.Limit != ""
}

func show(w io.Writer, n *diff.Node, depth int) {
	name := n.Name
	if name == "" {
		name = "."
	}
	line := fmt.Sprintf("%08x %12d  %s%s  %s", n.Offset, n.Size, strings.Repeat("  ", depth), name, n.Role)
	for _, s := range []string{n.Format, n.Codec} {
		if s != "" {
			line += "  " + s
		}
	}
	if n.SHA256 != "" {
		line += "  sha256:" + n.SHA256[:16] + "…"
	}
	if n.Note != "" {
		line += "  (" + n.Note + ")"
	}
	fmt.Fprintln(w, line)
	for _, c := range n.Children {
		show(w, c, depth+1)
	}
}
