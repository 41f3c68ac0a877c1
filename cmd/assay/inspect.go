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
			out := bufio.NewWriter(p.stdout)
			show := shower{w: out, of: &img.Image, quiet: output.quiet, json: output.format == "json"}
			err = diff.InspectEach(cmd.Context(), img.Image, output.verbose, o.Engine(), show.node)
			if err == nil {
				err = show.end()
			}
			// What was shown so far stands.
			if flushed := out.Flush(); err == nil {
				err = flushed
			}
			var limit *diff.LimitError
			switch {
			case errors.As(err, &limit):
				fmt.Fprintf(p.stderr, "assay: undecided: %v\n", err)
				p.code = verify.ExitUndecided
				return nil
			case err == nil && show.limited:
				p.code = verify.ExitUndecided
			}
			return err
		},
	}
	f := cmd.Flags()
	output.add(f, report.Formats...)
	limits.add(f)
	return cmd
}

// A shower shows the nodes of an image as they are found: an image may have more than
// can be held.
type shower struct {
	w           io.Writer
	of          *diff.Image
	quiet, json bool
	depth       int  // of the node shown last
	limited     bool // a limit kept a layer closed
}

func (sh *shower) node(depth int, n *diff.Node) error {
	sh.limited = sh.limited || n.Limit != ""
	switch {
	case sh.quiet:
		return nil
	case sh.json:
		return sh.object(depth, n)
	}
	if depth == 0 {
		fmt.Fprintf(sh.w, "%s  %d bytes  sha256:%s\n", diff.Escape(sh.of.Name), sh.of.Size, n.SHA256)
	}
	return sh.line(depth, n)
}

func (sh *shower) end() error {
	if sh.quiet || !sh.json {
		return nil
	}
	_, err := fmt.Fprintf(sh.w, "%s\n}\n", sh.closing(0))
	return err
}

// object writes a node as an element of the list of children of the one above, and
// leaves it open: in the end, the output is what package report makes of the tree.
func (sh *shower) object(depth int, n *diff.Node) error {
	before := ""
	switch {
	case depth == 0:
		head, err := opened(0, struct {
			Name   string `json:"name"`
			Size   int64  `json:"size"`
			SHA256 string `json:"sha256"`
		}{diff.Escape(sh.of.Name), sh.of.Size, n.SHA256})
		if err != nil {
			return err
		}
		before = head + ",\n" + levels(1) + `"root": `
	case depth > sh.depth:
		before = ",\n" + levels(2*depth) + `"children": [` + "\n" + levels(2*depth+1)
	default:
		before = sh.closing(depth) + ",\n" + levels(2*depth+1)
	}
	sh.depth = depth
	body, err := opened(2*depth+1, n)
	if err != nil {
		return err
	}
	_, err = io.WriteString(sh.w, before+body)
	return err
}

// opened returns an object as it stands n levels deep, without its end.
func opened(n int, v any) (string, error) {
	var b strings.Builder
	if err := report.JSON(&b, v); err != nil {
		return "", err
	}
	return strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n}\n"), "\n", "\n"+levels(n)), nil
}

// closing ends the nodes that are open, down to one of depth.
func (sh *shower) closing(depth int) string {
	s := ""
	for d := sh.depth; d >= depth; d-- {
		s += "\n" + levels(2*d+1) + "}"
		if d > depth {
			s += "\n" + levels(2*d) + "]"
		}
	}
	return s
}

// levels indents by n levels.
func levels(n int) string { return strings.Repeat("  ", n) }

func (sh *shower) line(depth int, n *diff.Node) error {
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
	_, err := fmt.Fprintln(sh.w, line)
	return err
}
