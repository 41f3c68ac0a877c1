package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/report"
	"github.com/assaylab/assay/verify/signature"
)

func (p *program) verifyCommand() *cobra.Command {
	var (
		output outputFlags
		req    signature.Request
	)
	cmd := &cobra.Command{
		Use:   "verify ARTIFACT",
		Short: "Verify one signature or attestation, offline",
		Long:  signature.Help,
		Args:  arity(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.known(cmd); err != nil {
				return err
			}
			var err error
			if req.Artifact, err = signature.ParseArtifact(args[0]); err != nil {
				return err
			}
			res, err := signature.Verify(cmd.Context(), req)
			if err != nil {
				return err
			}
			if !res.OK {
				p.code = verify.ExitRejected
			}
			if output.quiet {
				return nil
			}
			if output.format == "json" {
				b, err := json.MarshalIndent(res, "", "  ")
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(p.stdout, "%s\n", b)
				return err
			}
			report.Signature(p.stdout, &res)
			return nil
		},
	}
	f := cmd.Flags()
	for _, o := range signature.Options() {
		f.Var(&text{o.Field(&req), o.Value}, o.Name, o.Usage)
	}
	output.add(f, report.Formats...)
	return cmd
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
