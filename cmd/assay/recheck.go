package main

import (
	"github.com/spf13/cobra"

	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/report"
)

func (p *program) recheckCommand() *cobra.Command {
	var (
		limits limitFlags
		output outputFlags
		policy string
	)
	cmd := &cobra.Command{
		Use:   "recheck EVIDENCE REFERENCE DEPLOYED",
		Short: "Replay stored evidence with the kernel alone",
		Long: `Replay the ledger of an evidence folder on both images with the trusted kernel:
every claim, verdict and price must come out as recorded, and the report must be
what the ledger gives under a built-in policy, or the one that --policy names. What
the ledger does not speak of is looked for: lengths and checksums in the reference
that the deployed image leaves as they were and that no longer hold.
Evidence without a ledger, of a run that was stopped before it had one, accepts
nothing and replays nothing: the images must be those that it records, by size
and, where it has them, by digest.

This is about the bytes. Signatures, the origin of the reference and the names of
sections are taken as recorded, and so is that they are all there was: verify the
signatures again with assay verify, or the delivery with assay check. Where the
reference was built with values of the deployed image, the builds that show them
to be inert are replayed too; that these are what the recipe gives is taken as
recorded: assay rebuild --set builds them again.

Exit codes: that of the recorded verdict if the evidence is sound; 1 if anything
was changed, or cannot be parsed, or is about other images; 2 trouble`,
		Args: arity(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := p.options(cmd, &limits, &output)
			if err != nil {
				return err
			}
			ref, dep, closing, err := openPair(args[1], args[2])
			if err != nil {
				return err
			}
			defer closing()
			r, err := verify.Recheck(cmd.Context(), args[0], ref, dep, policy, o)
			if err != nil {
				return err
			}
			if r.Ledger == "" {
				p.say(&output)("the evidence is whole, and there is no ledger in it: no byte was accounted for, and nothing was replayed")
			} else {
				p.say(&output)("the evidence holds for the bytes: its ledger replays, and the report is what it gives")
			}
			return p.conclude(cmd, &verify.Outcome{Report: r}, &output, "")
		},
	}
	f := cmd.Flags()
	output.add(f, report.Formats...)
	f.StringVar(&policy, "policy", "", "hold it to this policy: identical, standard, or a file (default: standard, or identical if so recorded)")
	limits.add(f)
	return cmd
}
