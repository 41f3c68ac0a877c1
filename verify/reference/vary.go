package reference

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/assaylab/assay/verify/reference/sandbox"
)

// Builds are varied to find out what they depend on beside sources and tools. The first build is plain; each later one
// has another value for every factor at once, of its own as far as a factor has that many. Variation never excuses a
// difference: builds that differ give no reference, and a bisection says which factor made them differ.

// An Omission is a factor of a recipe's vary that no build was varied in, and why.
type Omission struct {
	Factor string `json:"factor"`
	Why    string `json:"why"`
}

// Agreement says how many builds agree, and in spite of what.
func (r *Rebuilt) Agreement() string {
	text := fmt.Sprintf("%d of %d builds agree", r.Agree, r.Builds)
	if len(r.Vary) > 0 {
		text += ", varied in " + strings.Join(r.Vary, ", ")
	}
	for i, o := range r.Omitted {
		text += []string{"; not varied in ", ", "}[min(i, 1)] + o.Factor
	}
	return text
}

// variedValues are what the builds after the first have in place of the plain value, in turn; # stands for the number
// of the build. All work in any toolchain: no locale must be installed, and no data on time zones.
var variedValues = map[string][]string{
	"timezone": {
		"EST5EDT,M3.2.0,M11.1.0", "<+0545>-5:45", "NZST-12NZDT,M9.5.0,M4.1.0/3", "BRT3", "<-1130>11:30",
	},
	"host":      {"v#", "varied-host-#.example", "a-build-machine-with-a-long-name-#"},
	"user":      {"u#", "varied-user-#", "somebody.with.a.long.name.#"},
	"path":      {"/build-varied/some/longer/place/#", "/b#", "/varied-#/elsewhere"},
	"locale":    {"C", "POSIX", "C.UTF-8"},
	"umask":     {"027", "002", "077", "007"},
	"cpus":      {"1"},
	"fileorder": {"reversed"},
	"home":      {"/home/varied/some/longer/place/#", "/home/h#", "/home/elsewhere-#"},
	"environment": {
		"ASSAY_VARIED_#=one more variable", "A#=1", "VARIED_BUILD_#=a longer value than the other builds have, of no use to anybody",
	},
}

// variedClock is what the clock says at the start of the steps of a build: years after every source, so that nothing
// seems to be made in the future, and before 2038.
func variedClock(build int) string { return strconv.Itoa(1_900_000_000 + build*12_345_678) }

// plan returns the settings of n builds, and records which factors they are varied in. A factor that cannot be varied
// here is left out of all of them, and said.
func (b *Builder) plan(ctx context.Context, n int) ([][]Setting, error) {
	plans := make([][]Setting, n)
	if len(b.recipe.Vary) == 0 {
		return plans, nil
	}
	if n < 2 {
		return nil, &RecipeError{File: b.recipe.Name, What: fmt.Sprintf("vary takes 2 builds or more, the first of which is plain; builds is %d", n)}
	}
	for i := range plans {
		plans[i] = []Setting{}
	}
	possible, err := b.possible(ctx)
	if err != nil {
		return nil, err
	}
	b.record.Vary = possible
	for _, factor := range possible {
		for i := 1; i < n; i++ {
			plans[i] = append(plans[i], Setting{Factor: factor, Value: b.varied(factor, i+1)})
		}
	}
	return plans, nil
}

// varied returns the value of a factor for a build, counted from 1, or "" where every value is that of a plain build.
func (b *Builder) varied(factor string, build int) string {
	if factor == "time" {
		return variedClock(build)
	}
	var free []string
	for _, v := range variedValues[factor] {
		if v = strings.ReplaceAll(v, "#", strconv.Itoa(build)); !b.inUse(factor, v) {
			free = append(free, v)
		}
	}
	if len(free) == 0 {
		return ""
	}
	return free[(build-2)%len(free)]
}

// inUse reports whether a value is what a plain build has already, or is taken by something else there.
func (b *Builder) inUse(factor, value string) bool {
	switch factor {
	case "environment":
		name, _, _ := strings.Cut(value, "=")
		return slices.ContainsFunc(b.config.Env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	case "path":
		taken := slices.Clone(b.config.ToolDirs)
		for _, s := range b.config.Sources {
			taken = append(taken, s.At)
		}
		return slices.ContainsFunc(taken, func(dir string) bool { return firstElement(dir) == firstElement(value) })
	}
	return value == b.Plain(factor)
}

func firstElement(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first
}

// possible returns the factors of the recipe that builds can be varied in here, and records why the others cannot.
func (b *Builder) possible(ctx context.Context) ([]string, error) {
	why := map[string]string{}
	var settings []Setting // to be tried
	for _, factor := range b.recipe.Vary {
		value := b.varied(factor, 2)
		switch {
		case slices.ContainsFunc(b.options.Set, func(s Setting) bool { return s.Factor == factor }):
			why[factor] = "it is set for every build"
		case value == "":
			why[factor] = "every other value is in use by the recipe"
		case factor == "cpus" && runtime.NumCPU() == 1:
			why[factor] = "this machine has one processor"
		case factor != "path": // which only a source has
			settings = append(settings, Setting{Factor: factor, Value: value})
		}
	}
	if fails, err := b.refuses(ctx, settings); err != nil {
		return nil, err
	} else if fails != "" {
		for _, s := range settings {
			if why[s.Factor], err = b.refuses(ctx, []Setting{s}); err != nil {
				return nil, err
			}
		}
	}
	var out []string
	for _, factor := range b.recipe.Vary {
		if why[factor] == "" {
			out = append(out, factor)
			continue
		}
		b.record.Omitted = append(b.record.Omitted, Omission{factor, why[factor]})
		b.say(fmt.Sprintf("%s is not varied: %s", factor, why[factor]))
	}
	return out, nil
}

// refuses says why settings cannot be made in this toolchain or by this back end, or "": the time takes a library that
// may be absent.
func (b *Builder) refuses(ctx context.Context, settings []Setting) (string, error) {
	if len(settings) == 0 {
		return "", nil
	}
	err := b.probe(ctx, settings...)
	var failed *sandbox.FailedError
	if errors.As(err, &failed) {
		return failed.What, nil
	}
	return "", err
}

// maxBisection bounds the builds that one bisection may make.
const maxBisection = 48

// A Bisection says which of the factors that builds were varied in make them differ. It excuses nothing.
type Bisection struct {
	Builds   int     `json:"builds"` // how many were made for it
	Blames   []Blame `json:"blames"`
	Unsteady bool    `json:"unsteady,omitempty"` // builds under the same settings differ too, which no factor is to blame for
	Stopped  string  `json:"stopped,omitempty"`  // why it ended before every factor was tried
}

// A Blame is what one factor does to the outputs, or several that only together make a difference.
type Blame struct {
	Settings []Setting    `json:"settings"` // the only ones of a build that differs from one without them
	Outputs  []Difference `json:"outputs"`  // between the build without and the one with them; Build is 0
}

// Factors names the factors: "host", or "host and user together".
func (b Blame) Factors() string {
	names := make([]string, len(b.Settings))
	for i, s := range b.Settings {
		names[i] = s.Factor
	}
	if len(names) == 1 {
		return names[0]
	}
	return strings.Join(names, " and ") + " together"
}

// Lines says what was found, one line for each output that a factor leaks into.
func (b *Bisection) Lines() []string {
	var out []string
	for _, blame := range b.Blames {
		for _, d := range blame.Outputs {
			line := fmt.Sprintf("%s: leaks into %s: %d bytes, first at 0x%x", blame.Factors(), d.Output, d.Bytes, d.Offset)
			if d.Sizes[0] != d.Sizes[1] {
				line += fmt.Sprintf(" (sizes %d and %d)", d.Sizes[0], d.Sizes[1])
			}
			out = append(out, line+d.inSections())
		}
	}
	if b.Unsteady {
		out = append(out, unsteady)
	}
	if b.Stopped != "" {
		out = append(out, "the bisection is not complete: "+b.Stopped)
	}
	return out
}

const unsteady = "builds under the same settings differ too, and no factor that was varied is to blame for that"

// inSections names the sections of a difference, as a tail of a sentence.
func (d Difference) inSections() string {
	const shown = 4
	names := d.Sections
	if len(names) == 0 {
		return ""
	}
	more := ""
	if len(names) > shown {
		more = fmt.Sprintf(" and %d more", len(names)-shown)
		names = names[:shown]
	}
	return " (" + strings.Join(names, ", ") + more + ")"
}

// summary says in one sentence what a bisection found, or "" if it found nothing.
func (b *Bisection) summary() string {
	var parts []string
	for _, blame := range b.Blames {
		var into []string
		for _, d := range blame.Outputs {
			into = append(into, d.Output+d.inSections())
		}
		parts = append(parts, blame.Factors()+" leaks into "+strings.Join(into, ", "))
	}
	if b.Unsteady {
		parts = append(parts, unsteady)
	}
	return strings.Join(parts, "; ")
}

// bisect finds what made the builds of a result differ, by more builds beside them, bisect-1, bisect-2, …: those that
// the blame is shown by stay, the others leave their logs.
func (b *Builder) bisect(ctx context.Context, r *Result) error {
	s := &search{builds: r.builds, plans: r.Build.Settings, outputs: b.recipe.Outputs}
	s.make = func(ctx context.Context, settings []Setting) (*Build, error) {
		b.say(fmt.Sprintf("bisection: build %d, %s", s.found.Builds, describe(settings)))
		made, err := b.Build(ctx, fmt.Sprintf("bisect-%d", s.found.Builds), slices.Concat(b.options.Set, settings))
		if err == nil {
			r.Logs = append(r.Logs, made.Log)
		}
		return made, err
	}
	err := s.run(ctx)
	for _, made := range s.made {
		if !s.shows[made] {
			err = errors.Join(err, made.Remove())
		}
	}
	if err != nil {
		return fmt.Errorf("bisection of builds that differ: %w", err)
	}
	r.Bisection = &s.found
	for _, line := range s.found.Lines() {
		b.say(line)
	}
	return nil
}

// describe lists settings for a message.
func describe(settings []Setting) string {
	if len(settings) == 0 {
		return "plain"
	}
	text := make([]string, len(settings))
	for i, s := range settings {
		text[i] = s.String()
	}
	return "with " + strings.Join(text, ", ")
}

// A search looks for the factors that make builds differ.
type search struct {
	builds  []*Build    // the first one is plain
	plans   [][]Setting // what each was varied in
	outputs []OutputSpec
	make    func(context.Context, []Setting) (*Build, error)

	base  *Build    // what each build is compared with
	hold  []Setting // what base was made with, and each build is that does not set it otherwise: nothing, or the time
	found Bisection
	made  []*Build
	shows map[*Build]bool // what a blame refers to
}

// errEnough ends a search before its end.
var errEnough = fmt.Errorf("%d more builds were made, and more are not allowed", maxBisection)

func (s *search) run(ctx context.Context) error {
	s.shows, s.base, s.found.Blames = map[*Build]bool{}, s.builds[0], []Blame{}
	steady, err := s.all(ctx)
	s.found.Unsteady = err == nil && !steady
	if errors.Is(err, errEnough) || Undecided(err) {
		s.found.Stopped, err = err.Error(), nil
	}
	return err
}

// all goes through the builds that differ. It is false if builds under the same settings do.
func (s *search) all(ctx context.Context) (steady bool, err error) {
	if steady, err := s.begin(ctx); err != nil || !steady {
		return false, err
	}
	for i, made := range s.builds {
		if same(made, s.builds[0]) {
			continue
		}
		if steady, err := s.one(ctx, s.plans[i]); err != nil || !steady {
			return false, err
		}
	}
	return len(s.found.Blames) > 0, nil
}

// begin makes what other builds are compared with, and makes it again. Time passes during a search; if the builds were
// varied in it, the clock is set alike for all that follows, and what that alone changes is to blame on the time.
func (s *search) begin(ctx context.Context) (steady bool, err error) {
	for _, plan := range s.plans {
		if i := slices.IndexFunc(plan, func(x Setting) bool { return x.Factor == "time" }); i >= 0 && s.hold == nil {
			s.hold = plan[i : i+1]
		}
	}
	if s.hold == nil {
		again, err := s.try(ctx, nil)
		return err == nil && same(again, s.base), err
	}
	one, err := s.try(ctx, nil)
	if err != nil {
		return false, err
	}
	two, err := s.try(ctx, nil)
	if err != nil || !same(one, two) {
		return false, err
	}
	if !same(one, s.base) {
		again, err := s.plain(ctx)
		if err != nil || same(again, one) {
			return false, err
		}
		if err := s.blame(s.hold, one); err != nil {
			return false, err
		}
	}
	s.base = one
	return true, nil
}

// one finds the factors among the settings of one build. Each is tried alone; what then still makes a difference is
// the doing of several together.
func (s *search) one(ctx context.Context, plan []Setting) (steady bool, err error) {
	rest := s.unblamed(plan)
	if len(rest) == 0 {
		return true, nil
	}
	if len(s.found.Blames) > 0 {
		// Those that are blamed already may be all there is.
		if whole, err := s.try(ctx, rest); err != nil || same(whole, s.base) {
			return true, err
		}
	}
	for _, x := range rest {
		made, err := s.try(ctx, []Setting{x})
		if err != nil {
			return false, err
		}
		if same(made, s.base) {
			continue
		}
		if steady, err := s.accuse(ctx, []Setting{x}, made); err != nil || !steady {
			return false, err
		}
	}
	for {
		rest = s.unblamed(rest)
		if len(rest) < 2 {
			return true, nil
		}
		made, err := s.try(ctx, rest)
		if err != nil || same(made, s.base) {
			return true, err
		}
		for _, x := range slices.Clone(rest) {
			fewer := slices.DeleteFunc(slices.Clone(rest), func(y Setting) bool { return y == x })
			without, err := s.try(ctx, fewer)
			if err != nil {
				return false, err
			}
			if !same(without, s.base) {
				rest, made = fewer, without
			}
		}
		if steady, err := s.accuse(ctx, rest, made); err != nil || !steady {
			return false, err
		}
		rest = s.unblamed(plan)
	}
}

// accuse blames settings for the difference of a build, unless it came by chance or with time: then the same build,
// or one without them, made now is another one.
func (s *search) accuse(ctx context.Context, settings []Setting, made *Build) (steady bool, err error) {
	if again, err := s.try(ctx, settings); err != nil || !same(again, made) {
		return false, err
	}
	if base, err := s.try(ctx, nil); err != nil || !same(base, s.base) {
		return false, err
	}
	return true, s.blame(settings, made)
}

// unblamed returns the settings of factors that nothing is blamed on, without those that every build has.
func (s *search) unblamed(settings []Setting) []Setting {
	return slices.DeleteFunc(slices.Clone(settings), func(x Setting) bool {
		return slices.Contains(s.hold, x) || slices.ContainsFunc(s.found.Blames, func(b Blame) bool {
			return slices.ContainsFunc(b.Settings, func(y Setting) bool { return y.Factor == x.Factor })
		})
	})
}

// try makes a build under settings, and those that are held.
func (s *search) try(ctx context.Context, settings []Setting) (*Build, error) {
	return s.plain(ctx, slices.Concat(s.hold, settings)...)
}

// plain makes a build under these settings alone.
func (s *search) plain(ctx context.Context, settings ...Setting) (*Build, error) {
	if s.found.Builds == maxBisection {
		return nil, errEnough
	}
	s.found.Builds++
	made, err := s.make(ctx, settings)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", describe(settings), err)
	}
	s.made = append(s.made, made)
	return made, nil
}

// blame records that settings alone make a build differ from base.
func (s *search) blame(settings []Setting, made *Build) error {
	differences, err := differences(s.outputs, s.base, made)
	if err != nil {
		return err
	}
	s.shows[s.base], s.shows[made] = true, true
	s.found.Blames = append(s.found.Blames, Blame{settings, differences})
	return nil
}

// same reports whether two builds have the same outputs.
func same(a, b *Build) bool { return slices.Equal(a.Outputs, b.Outputs) }
