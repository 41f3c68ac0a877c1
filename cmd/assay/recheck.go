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
	)
	cmd := &cobra.Command{
		Use:   "recheck EVIDENCE REFERENCE DEPLOYED",
		Short: "Replay stored evidence with the kernel alone",
		Long: `Replay the ledger of an evidence folder on both images with the trusted kernel:
every claim, verdict and price must come out as recorded, and the report must be
what the ledger gives. Signatures and the origin of the reference are taken as
recorded; they can only have made the verdict worse.

Exit codes: that of the recorded verdict if the evidence is sound; 1 if anything
was changed, or cannot be parsed, or is about other images; 2 trouble`,
		Args: arity(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := limits.limits(cmd)
			if err == nil {
				err = output.known(cmd)
			}
			if err != nil {
				return err
			}
			ref, dep, closing, err := openPair(args[1], args[2])
			if err != nil {
				return err
			}
			defer closing()
			o := verify.Options{Version: version, Limits: l, Progress: p.progress(&output)}
			r, err := verify.Recheck(cmd.Context(), args[0], ref, dep, o)
			if err != nil {
				return err
			}
			p.say(&output)("the evidence holds: its ledger replays, and the report is what it gives")
			return p.conclude(cmd, &verify.Outcome{Report: r}, &output, "")
		},
	}
	f := cmd.Flags()
	output.add(f, report.Formats...)
	limits.add(f)
	return cmd
}
