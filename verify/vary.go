package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/format"
	"github.com/assaylab/assay/diff/ledger"
	"github.com/assaylab/assay/verify/reference"
)

// maxNamed bounds the pairs of outputs that are compared for the names of their
// sections.
const maxNamed = 16

// NameSections fills in which sections differ between builds that do not agree:
// in what the bisection blames on a factor or, where it blames none, between the
// first build and the others. The names are for people; one that a limit kept
// from being found stays out.
func NameSections(ctx context.Context, res *reference.Result, o Options) error {
	var all []*reference.Difference
	if b := res.Bisection; b != nil {
		for i := range b.Blames {
			for k := range b.Blames[i].Outputs {
				all = append(all, &b.Blames[i].Outputs[k])
			}
		}
	}
	if len(all) == 0 {
		for i := range res.Differences {
			all = append(all, &res.Differences[i])
		}
	}
	for _, d := range all[:min(len(all), maxNamed)] {
		names, err := changedSections(ctx, d.Files[0], d.Files[1], d.Symbols, o)
		if err != nil {
			return fmt.Errorf("output %s of two builds: %w", d.Output, err)
		}
		d.Sections = names
	}
	return nil
}

// changedSections returns the paths of the sections that differ between two
// files, in their order and without repetition. symbols names the sections of a
// raw image, or is "".
func changedSections(ctx context.Context, ref, dep, symbols string, o Options) ([]string, error) {
	a, err := OpenImage(ref)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	b, err := OpenImage(dep)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	engine := o.Engine()
	if symbols != "" {
		if labels, err := format.LoadSymbols(symbols, a.Size); err == nil { // else offsets stay without names
			engine.Labels = labels
		}
	}
	res, err := diff.Compare(ctx, a.Image, b.Image, engine)
	var limit *diff.LimitError
	if errors.As(err, &limit) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	add := func(path string) { // "." is all of a raw image: no name
		if path != "" && path != "." && !slices.Contains(names, path) {
			names = append(names, path)
		}
	}
	l := res.Ledger
	for i := range l.Entries {
		// What is carried has its differences in the stream that it decodes to.
		if e := &l.Entries[i]; e.Verdict != ledger.Identical && e.Op != ledger.OpCarry {
			add(e.Path)
		}
	}
	for _, m := range l.Missing {
		add(m.Path)
	}
	if len(names) == 0 {
		for i := range l.Entries {
			if e := &l.Entries[i]; e.Op == ledger.OpCarry {
				add(e.Path)
			}
		}
	}
	return names, nil
}
