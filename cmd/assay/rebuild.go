package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/reference"
	"github.com/assaylab/assay/verify/reference/derive"
	"github.com/assaylab/assay/verify/report"
)

// sandboxFlags say how a reference is rebuilt.
type sandboxFlags struct {
	backend string
	tools   []string
}

func (s *sandboxFlags) add(f *pflag.FlagSet) {
	f.StringVar(&s.backend, "sandbox", "auto", "auto, native (own namespaces), bwrap, or podman and docker with a root file system or an image")
	f.StringArrayVar(&s.tools, "tool-dir", nil, "show this directory of the host to the build too, read-only (repeatable)")
}

func (p *program) rebuildCommand() *cobra.Command {
	var (
		output outputFlags
		box    sandboxFlags
		dir    string
		builds int
		set    []string

		fetching fetchFlags
		recipes  recipeFlags
	)
	cmd := &cobra.Command{
		Use:   "rebuild RECIPE.yaml",
		Short: "Build a reference in a sandbox, n times, and say whether the builds agree",
		Long: `Build what a recipe says in a sandbox without network, n times (default 2), and
compare the outputs byte for byte. With --out the outputs and logs of every
build stay in DIR.

  version: 1
  sources: [{path: src.tar, sha256: …, at: /src}]
  toolchain: {host: [make, gcc]}
  env: {SOURCE_DATE_EPOCH: "1669357904"}
  steps: [[make, all]]
  outputs: [{path: out/fw.bin, symbols: out/fw.elf}]
  builds: 2
  limits: {time: 10m, memory: 4GiB, output: 1GiB, processes: 512}

A source lies beside the recipe (path), or is fetched (url, git and commit, oci,
debian and version); each is pinned by a digest, and comes from the cache unless
--network allows more. vary lists what the builds after the first differ in (time,
timezone, host, user, path, locale, umask, cpus, fileorder, home, environment);
where they disagree, further builds find what is to blame. With --out, or in the
evidence of assay check, ` + verify.ProvenanceFile + ` states what was built of what
(SLSA provenance; assay sign --provenance signs it).

` + recipeHelp + `

Exit codes: 0 the builds agree, or a recipe was written; 1 they disagree, a source is
not the pinned one, or the signature of the provenance does not hold; 2 trouble;
3 the build failed, a limit stopped it, a source is not here and may not be fetched,
or recipe, sources or tools are not those of the lock (--locked)`,
		Args: recipes.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.known(cmd); err != nil {
				return err
			}
			if done, err := p.writeRecipe(cmd.Context(), &recipes, args, p.say(&output)); done || err != nil {
				return err
			}
			back, err := box.choice(cmd)
			if err != nil {
				return err
			}
			recipe, err := reference.LoadRecipe(args[0])
			if err != nil {
				return err
			}
			lock, err := recipes.lockOf(args[0], recipe)
			if err != nil {
				return err
			}
			if err := verify.Resolve(cmd.Context(), recipe, fetching.fetching(p.say(&output)), p.say(&output)); err != nil {
				return err
			}
			var settings []reference.Setting
			for _, text := range set {
				one, err := reference.ParseSetting(text)
				if err != nil {
					return misuse(cmd, "--set %v", err)
				}
				settings = append(settings, one)
			}
			out := dir
			if out == "" {
				if out, err = os.MkdirTemp("", "assay-rebuild-"); err != nil {
					return err
				}
				defer os.RemoveAll(out)
			} else if err := verify.PrepareEvidence(out); err != nil {
				return err
			}
			res, err := reference.Rebuild(cmd.Context(), recipe, reference.Options{
				Sandbox: back, OutDir: out, LogDir: filepath.Join(out, "logs"), ToolDirs: box.tools,
				Builds: builds, Set: settings, Progress: p.say(&output),
			})
			if err != nil {
				return err
			}
			if err := verify.NameSections(cmd.Context(), res, verify.Options{Version: version}); err != nil {
				return err
			}
			if err := recipes.hold(lock, args[0], recipe, res, p.say(&output)); err != nil {
				return err
			}
			if !res.Agree() {
				p.code = verify.ExitRejected
			} else if dir != "" {
				if err := stateRebuild(out, recipe, res); err != nil {
					return err
				}
			}
			if output.quiet {
				return nil
			}
			if output.format == "json" {
				return report.JSON(p.stdout, struct {
					Schema      string                 `json:"schema"`
					Agree       bool                   `json:"agree"`
					Build       reference.Rebuilt      `json:"build"`
					Differences []reference.Difference `json:"differences"`
					Bisection   *reference.Bisection   `json:"bisection,omitempty"`
				}{"assay.dev/rebuild/v1", res.Agree(), res.Build, append([]reference.Difference{}, res.Differences...), res.Bisection})
			}
			for _, o := range res.Build.Outputs {
				for i, b := range o.Builds {
					fmt.Fprintf(p.stdout, "build %d  %s  %d bytes  sha256:%s\n", i+1, o.Path, b.Size, b.SHA256)
				}
			}
			for _, d := range res.Differences {
				fmt.Fprintf(p.stdout, "differs  %s\n", report.Clean(d.String()))
			}
			if res.Bisection != nil {
				for _, line := range res.Bisection.Lines() {
					fmt.Fprintf(p.stdout, "because  %s\n", report.Clean(line))
				}
			}
			fmt.Fprintln(p.stdout, report.Clean(res.Build.Agreement()))
			return nil
		},
	}
	f := cmd.Flags()
	output.add(f, report.Formats...)
	f.StringVar(&dir, "out", "", "keep outputs and logs in this new or empty folder")
	f.IntVar(&builds, "builds", 0, "how often to build, in place of what the recipe says")
	f.StringArrayVar(&set, "set", nil, "FACTOR=VALUE or version:TOOL=VALUE: build with this in place of what the recipe says (repeatable)")
	box.add(f)
	fetching.add(f)
	recipes.add(f)
	return cmd
}

// stateRebuild writes what was rebuilt into a folder.
func stateRebuild(dir string, recipe *reference.Recipe, res *reference.Result) error {
	s, err := derive.State(recipe, res, version)
	if err != nil {
		return err
	}
	b, err := s.Encode()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, verify.ProvenanceFile), b, 0o644)
}
