package counterfactual

import (
	"io"
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

	before, after string // what stands right beside the value
	begins, ends  bool   // the value begins the text; it ends it
	rank          int    // how much of the surroundings must match: more is better

	// Of a value that is a text by itself: the texts before and after it.
	alone            bool
	previous, behind string
}

// most is how long a value can be.
const most = 128

// match calls visit with what stands in the place of the value in a text.
func (st *site) match(run string, visit func(value string)) {
	for from, visited := 0, 0; visited < 8; {
		at := 0
		if !st.begins {
			i := strings.Index(run[from:], st.before)
			if i < 0 {
				return
			}
			at = from + i + len(st.before)
		} else if from > 0 {
			return
		}
		rest := run[at:min(len(run), at+most+len(st.after))]
		end := -1
		switch {
		case st.layout != "" && len(rest) >= len(st.layout) && shaped(st.layout, rest) && strings.HasPrefix(rest[len(st.layout):], st.after):
			end = len(st.layout)
		case st.layout != "":
		case st.ends && len(rest) <= most:
			end = len(rest)
		case !st.ends:
			end = strings.Index(rest, st.after)
		}
		if end > 0 && (!st.ends || at+end == len(run)) {
			visit(rest[:end])
			visited++
		}
		from = max(at, from+1)
		if from >= len(run) {
			return
		}
	}
}

// shaped says whether a text begins in the shape of a layout of package time: digits
// where it has digits, letters where it has letters.
func shaped(layout, text string) bool {
	for i := 0; i < len(layout); i++ {
		l, c := layout[i], text[i]
		digit := c >= '0' && c <= '9'
		switch {
		case l == '_':
			if !digit && c != ' ' {
				return false
			}
		case l >= '0' && l <= '9':
			if !digit {
				return false
			}
		case l|0x20 >= 'a' && l|0x20 <= 'z' && !strings.HasPrefix(layout[i:], "T1"):
			if c|0x20 < 'a' || c|0x20 > 'z' {
				return false
			}
		case l != c:
			return false
		}
	}
	return true
}

// A text is a run of printable bytes of an image.
const (
	minText = 4
	maxText = 4096
)

// Bounds of what is looked at for values: in bytes of an image, all its streams
// together, and in the sites of one knob.
const (
	maxScanned = 512 << 20
	maxSites   = 64
)

// texts calls visit for each run of printable bytes in the streams of an image, with
// the run before it.
func (s *search) texts(img diff.Image, visit func(run string)) error {
	left := int64(maxScanned)
	return diff.Streams(s.ctx, img, s.q.Engine, func(r io.ReaderAt, size int64) error {
		if size > left {
			s.note("an image was searched for values in its first %d bytes alone", int64(maxScanned))
			size = left
		}
		left -= size
		var run []byte
		flush := func() {
			if len(run) >= minText && s.ctx.Err() == nil {
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

// sites finds where the marks stand in the texts of an image, those with the most
// around them first.
func (s *search) sites(img diff.Image, marks []mark) ([]site, error) {
	var out []site
	seen, many := map[site]bool{}, map[string]int{}
	last, pending := "", []int(nil) // sites that wait for the text behind theirs
	err := s.texts(img, func(run string) {
		found := occurrences(run, marks)
		for _, i := range pending {
			if len(found) == 0 { // else it holds a value of its own
				out[i].behind = run
			}
		}
		pending = pending[:0]
		for i, f := range found {
			left, right := 0, len(run)
			if i > 0 {
				left = found[i-1].end
			}
			if i+1 < len(found) {
				right = found[i+1].at
			}
			for _, st := range surroundings(run, f, left, right) {
				if st.alone {
					st.previous = last
				}
				if seen[st] || many[st.knob] >= maxSites {
					continue
				}
				seen[st] = true
				many[st.knob]++
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
	out = slices.DeleteFunc(out, func(a site) bool { return a.alone && a.previous == "" && a.behind == "" })
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
	make := func(before, after string, rank int) site {
		return site{
			knob: o.mark.knob, layout: o.mark.layout, local: o.mark.local, before: before, after: after, rank: rank,
			begins: before == "" && o.at == 0, ends: after == "" && o.end == len(run),
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
			if w.st.behind == run {
				add(w.st, w.value)
			}
		}
		pending = pending[:0]
		for i := range sites {
			st := &sites[i]
			st.match(run, func(value string) {
				switch {
				case !st.alone, st.previous != "" && st.previous == last:
					add(st, value)
				case st.behind != "":
					pending = append(pending, waiting{st, value})
				}
			})
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
