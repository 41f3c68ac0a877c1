package counterfactual

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/ledger"
	"github.com/assaylab/assay/verify/reference"
)

// What the probe is built with: words that nothing else in an image holds.
const (
	probeHost   = "zq7host"
	probeUser   = "zq7user"
	probeHome   = "/home/zq7home"
	probePath   = "/zq7top/zq7dir"
	probeZone   = "ZQX"
	probeOffset = "-3:45" // as TZ has it: +0345
	probeEpoch  = 1137305137
	probeWord   = "-97zq7x" // a vendor's revision, before a number of the tool
)

// A shownTime is a layout of package time, and what it holds.
type shownTime struct {
	layout string
	kind   timeKind
}

// shownTimes are the layouts in which the epoch of the probe is looked for, the whole
// of it before its parts.
var shownTimes = func() []shownTime {
	dates := []string{"02 Jan 2006", "Jan _2 2006", "2006-01-02", "2006.01.02", "2006/01/02", "01/02/2006", "20060102"}
	out := []shownTime{
		{"Mon, 02 Jan 2006 15:04:05", stamp}, {"Mon Jan _2 15:04:05 2006", stamp}, {"20060102150405", stamp}, {"2006-01-02T15:04:05", stamp},
	}
	for _, d := range dates {
		for _, between := range []string{" ", ", ", " - ", " at "} {
			out = append(out, shownTime{d + between + "15:04:05", stamp}, shownTime{"15:04:05" + between + d, stamp})
		}
	}
	for _, d := range dates {
		out = append(out, shownTime{d, date})
	}
	return append(out, shownTime{"15:04:05", clock})
}()

type timeKind int

const (
	stamp timeKind = iota
	date
	clock
)

// A toolGroup is the tools that answer with one version.
type toolGroup struct {
	names []string
	plain string // the version with its revision
	mark  string
}

// groups are the recipe's tools by the version that they answer with, each file once.
func groups(b *reference.Builder) []toolGroup {
	var out []toolGroup
	files := map[string]bool{}
	for _, t := range b.Tools() {
		word, _ := reference.VersionWord(t.Version)
		numbers := strings.TrimRight(word, "-+~")
		if i := strings.IndexAny(word, "-+~"); i >= 0 {
			numbers = word[:i]
		}
		if word == "" || files[t.SHA256] {
			continue // another name of a tool that is there: its shim stands for all of its names
		}
		files[t.SHA256] = true
		i := slices.IndexFunc(out, func(g toolGroup) bool { return g.plain == word })
		if i < 0 {
			i = len(out)
			out = append(out, toolGroup{plain: word, mark: numbers + probeWord + strconv.Itoa(i)})
		}
		out[i].names = append(out[i].names, t.Name)
	}
	for i := range out {
		slices.Sort(out[i].names)
	}
	return out
}

func (g *toolGroup) knob() string { return "version:" + strings.Join(g.names, ",") }

var revised = regexp.MustCompile(`[0-9]+(?:\.[0-9]+)+[-+~][0-9A-Za-z.+~-]*[0-9A-Za-z]`)

// shows says whether a text holds the numbers of the group's version with a revision
// other than its own.
func (g *toolGroup) shows(text string) bool {
	numbers := g.mark[:strings.Index(g.mark, probeWord)]
	if !strings.Contains(text, numbers) {
		return false
	}
	return slices.ContainsFunc(revised.FindAllString(text, -1), func(word string) bool {
		return len(word) > len(numbers) && word[:len(numbers)] == numbers && strings.IndexByte("-+~", word[len(numbers)]) >= 0 && word != g.plain
	})
}

// A candidate is a knob, and what it can be set to, the best first.
type candidate struct {
	name     string
	premises []ledger.Premise
}

// candidates builds the probe and reads the deployed image by it.
func (s *search) candidates() ([]candidate, error) {
	shown := map[string]bool{}
	s.tools = groups(s.q.Builder)
	if err := s.texts(s.q.Deployed, func(run string) {
		for i := range s.tools {
			if g := &s.tools[i]; !shown[g.plain] && g.shows(run) {
				shown[g.plain] = true
			}
		}
	}); err != nil {
		return nil, err
	}
	s.tools = slices.DeleteFunc(s.tools, func(g toolGroup) bool { return !shown[g.plain] })

	var versions, others []reference.Setting
	for _, g := range s.tools {
		for _, name := range g.names {
			versions = append(versions, reference.Setting{Factor: "version", Tool: name, Value: g.mark})
		}
	}
	others = []reference.Setting{
		{Factor: "epoch", Value: strconv.Itoa(probeEpoch)},
		{Factor: "host", Value: probeHost},
		{Factor: "user", Value: probeUser},
		{Factor: "path", Value: probePath},
		{Factor: "home", Value: probeHome},
		{Factor: "timezone", Value: probeZone + probeOffset},
	}
	// A build may stumble over what the probe sets: then with less of it.
	probes := [][]reference.Setting{slices.Concat(versions, others), slices.Concat(versions, others[:3]), versions, others[:1]}
	var probe *reference.Build
	for i, set := range probes {
		if len(set) == 0 || i > 0 && s.left < 2+thirds {
			continue
		}
		var err error
		if probe, err = s.build("probe", set); err != nil {
			return nil, err
		}
		if probe != nil {
			break
		}
	}
	if probe == nil {
		return nil, nil
	}
	defer s.discard(probe)
	f, size, err := open(probe.Output(s.q.Output))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sites, err := s.sites(diff.Image{ReaderAt: f, Size: size}, s.marks())
	if err != nil {
		return nil, err
	}
	values, err := s.values(s.q.Deployed, sites)
	if err != nil {
		return nil, err
	}
	return s.premises(values), nil
}

// marks are the texts of the probe, the longest first.
func (s *search) marks() []mark {
	out := []mark{
		{text: probeHost, knob: "host"},
		{text: probeUser, knob: "user"},
		{text: probeHome, knob: "home"},
		{text: probePath, knob: "path"},
		{text: probeZone, knob: "zone"},
		{text: "+0345", knob: "offset"},
		{text: "+03:45", knob: "offset"},
		{text: strconv.Itoa(probeEpoch), knob: "epoch"},
	}
	for _, g := range s.tools {
		out = append(out, mark{text: g.mark, knob: g.knob()})
	}
	at := time.Unix(probeEpoch, 0).UTC()
	there := at.In(time.FixedZone(probeZone, 3*3600+45*60))
	for _, l := range shownTimes {
		out = append(out, mark{text: at.Format(l.layout), knob: "epoch", layout: l.layout})
		if text := there.Format(l.layout); text != at.Format(l.layout) {
			out = append(out, mark{text: text, knob: "epoch", layout: l.layout, local: true})
		}
	}
	slices.SortStableFunc(out, func(a, b mark) int { return len(b.text) - len(a.text) })
	return out
}

// maxRivals bounds the values of one knob that are tried.
const maxRivals = 3

// premises turns the values that were found into premises that the kernel takes.
func (s *search) premises(values map[string][]found) []candidate {
	var out []candidate
	add := func(knob string, premises ...ledger.Premise) {
		if factor, _, _ := strings.Cut(knob, ":"); !s.q.Builder.Replays(factor) {
			return
		}
		c := candidate{name: knob}
		plain, refused := false, error(nil)
		for _, p := range premises {
			if plain = plain || p.Value == p.Plain; p.Value == p.Plain || slices.ContainsFunc(c.premises, func(q ledger.Premise) bool { return q.Value == p.Value }) {
				continue
			}
			_, err := p.Price()
			for _, set := range settings([]ledger.Premise{p}) {
				err = errors.Join(err, set.Check())
			}
			if err != nil {
				refused = cmp.Or(refused, err) // the best stands first
				continue
			}
			if len(c.premises) < maxRivals {
				c.premises = append(c.premises, p)
			}
		}
		switch {
		case len(c.premises) > 0:
			out = append(out, c)
		case refused != nil && !plain:
			s.note("not built with what stands in the place of a value: %v", refused)
		}
	}
	for i := range s.tools {
		g := &s.tools[i]
		var list []ledger.Premise
		for _, f := range values[g.knob()] {
			list = append(list, ledger.Premise{Factor: "version", Tool: strings.Join(g.names, ","), Plain: g.plain, Value: f.value})
		}
		add(g.knob(), list...)
	}
	for _, knob := range []string{"host", "user", "path", "home"} {
		var list []ledger.Premise
		for _, f := range values[knob] {
			list = append(list, ledger.Premise{Factor: knob, Plain: s.q.Builder.Plain(knob), Value: f.value})
		}
		add(knob, list...)
	}
	zone, offset := s.zone(values)
	if zone != "" {
		add("timezone", ledger.Premise{Factor: "timezone", Plain: s.q.Builder.Plain("timezone"), Value: zone})
	}
	var epochs []ledger.Premise
	plain, _ := strconv.ParseInt(s.q.Builder.Plain("epoch"), 10, 64)
	for _, n := range times(values["epoch"], offset, plain) {
		epochs = append(epochs, ledger.Premise{Factor: "epoch", Plain: s.q.Builder.Plain("epoch"), Value: strconv.FormatInt(n, 10)})
	}
	add("epoch", epochs...)
	return out
}

// zone is what TZ must be for the zone name and the offset that the image shows, and
// the offset in seconds east of Greenwich.
func (s *search) zone(values map[string][]found) (tz string, east int64) {
	name := "XXX"
	for _, f := range values["zone"] {
		name = f.value
		break
	}
	for _, f := range values["offset"] {
		text := strings.Replace(f.value, ":", "", 1)
		n, err := strconv.Atoi(text)
		if err != nil || len(text) != 5 {
			continue
		}
		hours, minutes := n/100, n%100
		east = int64(hours)*3600 + int64(minutes)*60
		sign := "-"
		if n <= 0 {
			sign, hours, minutes = "", -hours, -minutes
		}
		tz = fmt.Sprintf("%s%s%d", name, sign, hours)
		if minutes != 0 {
			tz += fmt.Sprintf(":%02d", minutes)
		}
		if n == 0 && len(values["zone"]) == 0 {
			return "", 0
		}
		return tz, east
	}
	if len(values["zone"]) > 0 && name != "UTC" {
		return name + "0", 0 // a name without an offset: any that shows it
	}
	return "", 0
}

// times are the points in time that texts of the image can mean: stamps, and each
// date with each clock. A date alone is one with the clock of the plain build.
func times(values []found, east, plain int64) []int64 {
	var stamps, dates, clocks []int64
	for _, f := range values {
		if f.layout == "" {
			if n, err := strconv.ParseInt(f.value, 10, 64); err == nil {
				stamps = append(stamps, n)
			}
			continue
		}
		t, err := time.Parse(f.layout, f.value)
		if err != nil {
			continue
		}
		n := t.Unix()
		if f.local {
			n -= east
		}
		for _, l := range shownTimes {
			if l.layout != f.layout {
				continue
			}
			switch l.kind {
			case stamp:
				stamps = append(stamps, n)
			case date:
				dates = append(dates, n)
			case clock:
				h, m, sec := t.Clock()
				clocks = append(clocks, int64(h*3600+m*60+sec))
			}
		}
	}
	out := stamps
	for _, d := range dates {
		for _, c := range clocks {
			out = append(out, d+c)
		}
	}
	for _, d := range dates {
		out = append(out, d+plain%86400)
	}
	return out
}
