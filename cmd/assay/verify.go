package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assaylab/assay/diff"
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
		timeout time.Duration
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
			ctx := cmd.Context()
			ref, isImage, err := oci.ParseRef(args[0])
			switch {
			case timeout < 0:
				return misuse(cmd, "--timeout must not be negative")
			case timeout == 0 && isImage && ref.Network():
				timeout = registryTimeout
			}
			if timeout > 0 {
				var stop context.CancelFunc
				ctx, stop = context.WithTimeoutCause(ctx, timeout, &diff.LimitError{Limit: "timeout", Detail: "not decided within " + timeout.String()})
				defer stop()
			}
			switch {
			case err != nil:
				return err
			case !isImage:
				if req.Artifact, err = signature.ParseArtifact(args[0]); err != nil {
					return err
				}
				res, err := signature.Verify(ctx, req)
				return p.answer(ctx, &output, res, res.OK, err, func(w io.Writer) { report.Signature(w, &res) })
			case ref.Network() && !network:
				return &usageError{fmt.Errorf("%s is in a registry, and nothing is fetched unless --network allows it", ref), "add --network, or copy the image into an OCI layout and give oci:DIR@sha256:HEX"}
			}
			res, err := verify.VerifyImage(ctx, ref, req, image)
			return p.answer(ctx, &output, res, res.OK, err, func(w io.Writer) { report.SignedImage(w, res) })
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
	f.DurationVar(&timeout, "timeout", 0, "time for everything, as in 90s; 0 is no limit for files, and "+registryTimeout.String()+" for a registry")
	f.StringVarP(&output.format, "output", "o", "text", "output format: "+strings.Join(report.Formats, " or "))
	f.BoolVarP(&output.quiet, "quiet", "q", false, "print nothing but errors; the exit code says it all")
	return cmd
}

// registryTimeout is the time for an image in a registry, where none is given: who
// serves it must not decide how long this takes.
const registryTimeout = 15 * time.Minute

// answer shows an answer about signatures and keeps its exit code. With an error
// there is none; JSON then holds what was found out before.
func (p *program) answer(ctx context.Context, output *outputFlags, res any, ok bool, err error, text func(io.Writer)) error {
	if errors.Is(err, context.DeadlineExceeded) {
		err = context.Cause(ctx)
	}
	var usage *signature.Error
	began := err == nil || !errors.As(err, &usage) || !usage.Usage
	if output.format == "json" && !output.quiet && began {
		if err := report.JSON(p.stdout, res); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if output.format != "json" && !output.quiet {
		var b bytes.Buffer
		text(&b)
		if _, err := p.stdout.Write(b.Bytes()); err != nil {
			return err
		}
	}
	if !ok {
		p.code = verify.ExitRejected
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
