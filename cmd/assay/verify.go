package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/oci"
	"github.com/assaylab/assay/verify/report"
	"github.com/assaylab/assay/verify/signature"
)

func (p *program) verifyCommand() *cobra.Command {
	var (
		output  outputFlags
		req     signature.Request
		network bool
		image   oci.Options
	)
	cmd := &cobra.Command{
		Use:   "verify ARTIFACT",
		Short: "Verify the signatures or attestations of a file or an OCI image, offline",
		Long:  signature.Help,
		Args:  arity(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.known(cmd); err != nil {
				return err
			}
			if req.AsOf.IsZero() {
				req.AsOf = time.Now()
			}
			ref, isImage, err := oci.ParseRef(args[0])
			switch {
			case err != nil:
				return err
			case !isImage:
				if req.Artifact, err = signature.ParseArtifact(args[0]); err != nil {
					return err
				}
				res, err := signature.Verify(cmd.Context(), req)
				return p.answer(&output, res, res.OK, err, func() { report.Signature(p.stdout, &res) })
			case ref.Network() && !network:
				return &usageError{fmt.Errorf("%s is in a registry, and nothing is fetched unless --network allows it", ref), "add --network, or copy the image into an OCI layout and give oci:DIR@sha256:HEX"}
			}
			res, err := verify.VerifyImage(cmd.Context(), ref, req, image)
			return p.answer(&output, res, res.OK, err, func() { report.SignedImage(p.stdout, res) })
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	for _, o := range signature.Options() {
		flag := f.VarPF(&option{o: o, req: &req}, o.Name, "", o.Usage)
		if o.Value == "" {
			flag.NoOptDefVal = "true"
		}
	}
	f.BoolVar(&network, "network", false, "allow connections to the registry that ARTIFACT names")
	f.BoolVar(&image.PlainHTTP, "plain-http", false, "allow a registry without TLS that is not on this machine")
	f.BoolVar(&image.Keychain, "registry-credentials", false, "use the credentials that docker or podman login stored")
	output.add(f, report.Formats...)
	return cmd
}

// answer shows an answer about signatures and keeps its exit code. With an error
// there is none; JSON then holds what was found out before.
func (p *program) answer(output *outputFlags, res any, ok bool, err error, text func()) error {
	var usage *signature.Error
	began := err == nil || !errors.As(err, &usage) || !usage.Usage
	if output.format == "json" && !output.quiet && began {
		b, err := json.MarshalIndent(res, "", "  ")
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(p.stdout, "%s\n", b); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if !ok {
		p.code = verify.ExitRejected
	}
	if output.format != "json" && !output.quiet {
		text()
	}
	return nil
}

// option is a flag that sets something of a signature.Request.
type option struct {
	o    signature.Option
	req  *signature.Request
	text string // as given
}

var _ pflag.Value = (*option)(nil)

func (v *option) Set(s string) error { v.text = s; return v.o.Set(v.req, s) }
func (v *option) String() string     { return v.text }
func (v *option) Type() string {
	if v.o.Value == "" {
		return "bool"
	}
	return v.o.Value
}
