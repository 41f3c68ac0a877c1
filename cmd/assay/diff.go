package main

import (
	"github.com/spf13/cobra"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/format"
	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/report"
)

func (p *program) diffCommand() *cobra.Command {
	var (
		limits            limitFlags
		output            outputFlags
		policy            string
		evidence, symbols string
	)
	cmd := &cobra.Command{
		Use:   "diff REFERENCE DEPLOYED",
		Short: "Account for every byte of DEPLOYED against REFERENCE",
		Long: `Account for every byte of DEPLOYED against REFERENCE, and judge the account by a
policy. Both are files or directories; containers, archives and compressed
layers inside are taken apart.

` + exitHelp,
		Args: arity(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := p.options(cmd, &limits, &output)
			if err != nil {
				return err
			}
			pol, err := verify.LoadPolicy(policy)
			if err != nil {
				return err
			}
			ref, dep, closing, err := openPair(args[0], args[1])
			if err != nil {
				return err
			}
			defer closing()
			var labels diff.Labels
			if symbols != "" {
				if labels, err = format.LoadSymbols(symbols, ref.Size); err != nil {
					return err
				}
			}
			if evidence != "" {
				if err := verify.PrepareEvidence(evidence); err != nil {
					return err
				}
			}
			out, err := verify.Diff(cmd.Context(), ref, dep, labels, pol, o)
			if err != nil {
				return err
			}
			return p.conclude(cmd, out, &output, evidence)
		},
	}
	f := cmd.Flags()
	output.add(f, report.Formats...)
	f.StringVar(&policy, "policy", "standard", "identical, standard, or a policy file")
	f.StringVar(&evidence, "evidence", "", "store the report and the ledger in this new or empty folder")
	f.StringVar(&symbols, "symbols", "", "ELF file whose sections and functions name offsets of a raw REFERENCE")
	limits.add(f)
	return cmd
}
