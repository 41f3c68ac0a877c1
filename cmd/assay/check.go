package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/reference/sandbox"
	"github.com/assaylab/assay/verify/report"
)

func (p *program) checkCommand() *cobra.Command {
	var (
		limits           limitFlags
		output           outputFlags
		policy, evidence string
		box              sandboxFlags
		trust            trustFlags
		fetching         fetchFlags
		rebuilds         int
	)
	cmd := &cobra.Command{
		Use:   "check DELIVERY.yaml",
		Short: "The main job: signatures, reference, bytes and policy, in one verdict",
		Long: `Check a delivery: verify its signatures, bring its reference (rebuilt from a
recipe in a sandbox, or a file), account for every byte of the deployed image,
and give one verdict by a policy.

  version: 1
  name: tf-a-sun50i_a64-2.8.0
  deployed: {path: bl31.bin, sha256: …}
  reference:
    rebuild: recipe.yaml        # or path:, with sha256:
    output: bl31.bin
  signatures:
    - {over: deployed, key: vendor.pub, signature: bl31.bin.sig}
    - {over: deployed, bundle: bl31.bin.sigstore.json, trusted_root: root.json,
       identity: release@vendor.example, issuer: "https://…"}
    - {name: built, over: deployed, bundle: bl31.bin.provenance.json, key: ci.pub,
       provenance: {builder_id: "https://…", source: "https://…"}}
    - {name: author, over: source, key: author.pub, signature: tfa.tar.sig}
  signers: {deployed: {all: [vendor, built]}, source: {exactly: [author]}}
  policy: standard              # identical, standard, or a file

Paths are relative to the delivery file. Each side, deployed, reference (given by
path) and source (of a recipe), may have a rule of signers: all of them, any, or
exactly these and no other of the delivery; without one, all that are listed must
hold. Provenance that a trusted signer made must name the recipe's source: by its
sha256, or by the commit that the recipe gives as its revision. Where the recipe
allows counterfactual rebuilds (replay, --max-rebuilds) and bytes are not accounted
for, values that stand in the deployed image are put into the build: see README.
deployed: {url: …, sha256: …} or {oci: …}, reference: {fetch: …, sha256: …} and a
recipe's sources are taken from the cache, and from the network with --network. A
lock beside the recipe is the business of assay rebuild. With --evidence the folder holds the
report, the ledger, the rebuilt reference and the build logs, and
"assay recheck" replays it.

` + exitHelp,
		Args: arity(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := p.options(cmd, &limits, &output)
			if err != nil {
				return err
			}
			if o.AsOf, o.MaxTrustAge, err = trust.read(cmd); err != nil {
				return err
			}
			back, err := box.choice(cmd)
			if err != nil {
				return err
			}
			d, err := verify.LoadDelivery(args[0])
			if err != nil {
				return err
			}
			work := evidence
			if work != "" {
				err = verify.PrepareEvidence(work)
			} else if work, err = os.MkdirTemp("", "assay-check-"); err == nil {
				defer os.RemoveAll(work)
			}
			if err != nil {
				return err
			}
			co := verify.CheckOptions{
				Options: o, Policy: policy, Sandbox: back, ToolDirs: box.tools, WorkDir: work, Say: p.say(&output),
				Fetching: fetching.fetching(p.say(&output)),
			}
			if cmd.Flags().Changed("max-rebuilds") {
				if rebuilds < 0 {
					return misuse(cmd, "--max-rebuilds must not be negative")
				}
				co.Rebuilds = &rebuilds
			}
			out, err := verify.Check(cmd.Context(), d, co)
			if err != nil {
				return err
			}
			return p.conclude(cmd, out, &output, evidence)
		},
	}
	f := cmd.Flags()
	output.add(f, report.Formats...)
	f.StringVar(&policy, "policy", "", "identical, standard, or a policy file, in place of the delivery's")
	f.IntVar(&rebuilds, "max-rebuilds", 0, "counterfactual rebuilds allowed, in place of what the recipe says")
	f.StringVar(&evidence, "evidence", "", "store all evidence in this new or empty folder")
	box.add(f)
	fetching.add(f)
	trust.add(f)
	limits.add(f)
	return cmd
}

// choice reads the --sandbox flag.
func (s *sandboxFlags) choice(cmd *cobra.Command) (sandbox.Backend, error) {
	switch b := sandbox.Backend(s.backend); b {
	case sandbox.Auto, sandbox.Native, sandbox.Bwrap, sandbox.Podman, sandbox.Docker:
		return b, nil
	}
	return "", misuse(cmd, "unknown sandbox %q; one of auto, native, bwrap, podman, docker", s.backend)
}
