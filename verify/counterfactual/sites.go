package counterfactual

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/assaylab/assay/diff"
)

// A mark is a text of the probe, and the knob whose value it shows.
type mark struct {
	text string
	knob string // "epoch", "host", "version:gcc", …; for a time its layout is in layout
	// Of a time: the layout of package time, and whether it is in the zone of the probe.
	layout string
	local  bool
}

// A site is a place in text where a knob shows: what stands around it.
type site struct {
	knob   string
	layout string
	local  bool
	find   *regexp.Regexp // its first group is the value
	must   string         // what stands in any text that find matches, to look for first
	rank   int            // how much of the surroundings must match: more is better
	alone  bool           // the value is a text by itself: find matches all of it, and before or after stands beside it
	before string
	after  string
}

// A text is a run of printable bytes of an image.
const (
	minText = 4
	maxText = 4096
)

// Bounds of what is looked at for values, in bytes of one stream and in texts of a
// probe that hold marks.
const (
	maxScanned = 512 << 20
	maxSites   = 4096
)

// texts calls visit for each run of printable bytes in the streams of an image, with
// the run before it.
func (s *search) texts(img diff.Image, visit func(run string)) error {
	return diff.Streams(s.ctx, img, s.q.Engine, func(r io.ReaderAt, size int64) error {
		if size > maxScanned {
			s.note("a stream of %d bytes was searched for values in its first %d alone", size, int64(maxScanned))
			size = maxScanned
		}
		var run []byte
		flush := func() {
			if len(run) >= minText {
				visit(string(run))
			}
			run = run[:0]
		}
		buf := make([]byte, 256<<10)
		for off := int64(0); off < size; {
			if err := s.ctx.Err(); err != nil {
				return err
			}
			n := int(min(int64(len(buf)), size-off))
			if m, err := r.ReadAt(buf[:n], off); m < n {
				return err
			}
			for _, c := range buf[:n] {
				if c < ' ' || c > '~' {
					flush()
					continue
				}
				if run = append(run, c); len(run) == maxText {
					flush()
				}
			}
			off += int64(n)
		}
		flush()
		return nil
	})
}

// near is how much text around a value tells its place again.
const near = 24

// sites finds where the marks stand in the texts of an image.
func (s *search) sites(img diff.Image, marks []mark) ([]site, error) {
	var out []site
	seen := map[string]bool{}
	last, pending := "", []int(nil) // sites that wait for the run after theirs
	err := s.texts(img, func(run string) {
		for _, i := range pending {
			out[i].after = run
		}
		pending = pending[:0]
		found := occurrences(run, marks)
		for i, f := range found {
			if len(out) >= maxSites {
				break
			}
			left, right := 0, len(run)
			if i > 0 {
				left = found[i-1].end
			}
			if i+1 < len(found) {
				right = found[i+1].at
			}
			for _, st := range surroundings(run, f, left, right) {
				key := fmt.Sprintf("%s|%s|%v|%s", st.knob, st.layout, st.local, st.find)
				if st.alone {
					st.before = last
					key += "|" + last
				}
				if seen[key] {
					continue
				}
				seen[key] = true
				if st.alone {
					pending = append(pending, len(out))
				}
				out = append(out, st)
			}
		}
		if last = run; len(found) > 0 {
			last = "" // it holds a value of its own: not the same in another image
		}
	})
	for i := range out {
		if a := &out[i]; a.alone && len(occurrences(a.after, marks)) > 0 {
			a.after = ""
		}
	}
	out = slices.DeleteFunc(out, func(a site) bool { return a.alone && a.before == "" && a.after == "" })
	slices.SortStableFunc(out, func(a, b site) int { return b.rank - a.rank })
	return out, err
}

// An occurrence is a mark in a text.
type occurrence struct {
	at, end int
	mark    mark
}

// occurrences finds marks in a run, none of them overlapping, in order. marks has the
// longest first.
func occurrences(run string, marks []mark) []occurrence {
	var out []occurrence
	for _, m := range marks {
		for from := 0; ; {
			i := strings.Index(run[from:], m.text)
			if i < 0 {
				break
			}
			o := occurrence{from + i, from + i + len(m.text), m}
			from = o.end
			if !slices.ContainsFunc(out, func(p occurrence) bool { return p.at < o.end && o.at < p.end }) {
				out = append(out, o)
			}
		}
	}
	slices.SortFunc(out, func(a, b occurrence) int { return a.at - b.at })
	return out
}

// surroundings are the ways to tell a place again, with more or less of what stands
// around it between left and right, where the next marks stand or the run ends.
func surroundings(run string, o occurrence, left, right int) []site {
	value := `(.{1,128}?)`
	if o.mark.layout != "" {
		value = layoutPattern(o.mark.layout)
	}
	make := func(before, after string, rank int) site {
		begin, end := "", ""
		if before == "" && o.at == 0 {
			begin = "^"
		}
		if after == "" && o.end == len(run) {
			end = "$"
		}
		must := before
		if len(after) > len(must) {
			must = after
		}
		return site{
			knob: o.mark.knob, layout: o.mark.layout, local: o.mark.local, must: must, rank: rank,
			find: regexp.MustCompile(begin + regexp.QuoteMeta(before) + value + regexp.QuoteMeta(after) + end),
		}
	}
	var out []site
	for _, n := range []struct{ before, after int }{{near, near}, {near, 1}, {8, 8}, {8, 1}, {1, 8}, {4, 1}, {1, 4}, {2, 1}} {
		before, after := run[max(left, o.at-n.before):o.at], run[o.end:min(right, o.end+n.after)]
		switch {
		case len(before)+len(after) < 3:
		case o.mark.layout == "" && after == "" && o.end != len(run), o.mark.layout == "" && before == "" && o.at != 0:
			// Another mark stands right beside it: where one value ends and the other begins nobody knows.
		default:
			out = append(out, make(before, after, len(before)+len(after)))
		}
	}
	if o.at == 0 && o.end == len(run) {
		alone := make("", "", 2)
		alone.alone = true
		out = append(out, alone)
	}
	if o.mark.layout != "" && len(o.mark.layout) >= 8 && o.mark.layout != "15:04:05" {
		out = append(out, make("", "", 1)) // a date speaks for itself
	}
	return out
}

// values finds what stands at the sites of an image: for each knob the values, the
// best first.
func (s *search) values(img diff.Image, sites []site) (map[string][]found, error) {
	out := map[string][]found{}
	last := ""
	type waiting struct {
		st    *site
		value string
	}
	var pending []waiting
	add := func(st *site, value string) {
		f := found{value: value, layout: st.layout, local: st.local, rank: st.rank}
		list := out[st.knob]
		i := slices.IndexFunc(list, func(g found) bool { return g.value == value && g.layout == f.layout && g.local == f.local })
		switch {
		case i >= 0:
			list[i].rank = max(list[i].rank, f.rank)
		case len(list) < maxValues:
			out[st.knob] = append(list, f)
		}
	}
	err := s.texts(img, func(run string) {
		for _, w := range pending {
			if w.st.after == run {
				add(w.st, w.value)
			}
		}
		pending = pending[:0]
		for i := range sites {
			st := &sites[i]
			if st.must != "" && !strings.Contains(run, st.must) {
				continue
			}
			if st.alone && len(run) > 128 {
				continue
			}
			for _, m := range st.find.FindAllStringSubmatch(run, 8) {
				switch {
				case !st.alone, st.before != "" && st.before == last:
					add(st, m[1])
				case st.after != "":
					pending = append(pending, waiting{st, m[1]})
				}
			}
		}
		last = run
	})
	for knob := range out {
		slices.SortStableFunc(out[knob], func(a, b found) int { return b.rank - a.rank })
	}
	return out, err
}

// maxValues bounds the values that are kept for a knob.
const maxValues = 64

// A found is a value of the deployed image.
type found struct {
	value  string
	layout string
	local  bool
	rank   int
}

// layoutPattern matches texts in the shape of a layout of package time, as the one
// group of a regular expression.
func layoutPattern(layout string) string {
	var b bytes.Buffer
	b.WriteByte('(')
	for i := 0; i < len(layout); i++ {
		switch c := layout[i]; {
		case c == '_':
			b.WriteString(`[ 0-9]`)
		case c >= '0' && c <= '9':
			b.WriteString(`[0-9]`)
		case c|0x20 >= 'a' && c|0x20 <= 'z' && !strings.HasPrefix(layout[i:], "T1") && layout[i:] != "Z":
			b.WriteString(`[A-Za-z]`)
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	b.WriteByte(')')
	return b.String()
}
