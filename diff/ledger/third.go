package ledger

import (
	"strconv"
	"strings"
	"time"
)

// Thirds are the values that stand for the one of a premise in builds which show it to
// be inert. They are as long, and other at each letter and digit. Low and High are the
// first and the last of the grammar, so that a test for more or less than some value
// tells one of them from it. Even has the same sum of bytes as the value: many images
// hold a byte that makes the sum of all bytes come to zero, and that byte then stays
// as it is. Even is "" if there is none.
type Thirds struct{ Low, High, Even string }

// Thirds returns the values that stand for that of p; ok is false if there are none.
func (p Premise) Thirds() (t Thirds, ok bool) {
	switch p.Factor {
	case "epoch", "time":
		t.Low, t.High, ok = otherTimes(p)
		return t, ok
	case "timezone":
		t.Low, t.High, ok = otherZones(p)
		return t, ok
	}
	var okLow, okHigh bool
	t.Low, okLow = extreme(p, false, false)
	t.High, okHigh = extreme(p, false, true)
	t.Even, _ = extreme(p, true, false)
	return t, okLow && okHigh && t.Low != t.High
}

// places are the bytes of a value that others may have otherwise, with the first and
// last of their kind.
func places(p Premise) (at []int, from, to []byte) {
	begin, end := 0, len(p.Value)
	switch p.Factor {
	case "version":
		begin = strings.IndexAny(p.Value, "-+~")
		if begin < 0 {
			begin = end
		}
	case "home":
		begin = len("/home/")
	case "locale":
		end = strings.IndexByte(p.Value+".", '.')
	}
	for i := begin; i < end; i++ {
		switch c := p.Value[i]; {
		case c >= '0' && c <= '9':
			at, from, to = append(at, i), append(from, '0'), append(to, '9')
		case c >= 'a' && c <= 'z':
			at, from, to = append(at, i), append(from, 'a'), append(to, 'z')
		case c >= 'A' && c <= 'Z':
			at, from, to = append(at, i), append(from, 'A'), append(to, 'Z')
		}
	}
	return at, from, to
}

// extreme is the first or, if last is set, the last value in order that differs from
// that of p at each place; with keep, among those of the same sum.
func extreme(p Premise, keep, last bool) (string, bool) {
	at, from, to := places(p)
	n := len(at)
	if n == 0 {
		return "", false
	}
	want := 0
	for k, i := range at {
		want += int(p.Value[i] - from[k])
	}
	// can[k][s]: the places from k on can have the sum s above their first.
	can := make([][]bool, n+1)
	can[n] = make([]bool, want+1)
	can[n][0] = true
	for k := n - 1; k >= 0; k-- {
		can[k] = make([]bool, want+1)
		for s := range can[k] {
			for c := from[k]; c <= to[k] && int(c-from[k]) <= s; c++ {
				if c != p.Value[at[k]] && can[k+1][s-int(c-from[k])] {
					can[k][s] = true
					break
				}
			}
		}
	}
	if keep && !can[0][want] {
		return "", false
	}
	out := []byte(p.Value)
	for k, i := range at {
		begin, end, step := int(from[k]), int(to[k]), 1
		if last {
			begin, end, step = end, begin, -1
		}
		for c := begin; ; c += step {
			rest := want - (c - int(from[k]))
			if byte(c) != p.Value[i] && (!keep || rest >= 0 && can[k+1][rest]) {
				out[i], want = byte(c), rest
				break
			}
			if c == end {
				return "", false
			}
		}
	}
	if p.Third(string(out)) != nil {
		return "", false
	}
	return string(out), true
}

// otherTimes are points in time whose names of month and day and whose number of the
// day are as long as those of the value, one early and one late.
func otherTimes(p Premise) (low, high string, ok bool) {
	n, err := strconv.ParseInt(p.Value, 10, 64)
	if err != nil {
		return "", "", false
	}
	was := time.Unix(n, 0).UTC()
	find := func(from, to time.Time, step time.Duration) string {
		for t := from; t.After(to) == (step < 0) && !t.Equal(to); t = t.Add(step) {
			if text := strconv.FormatInt(t.Unix(), 10); sameShape(was, t) && p.Third(text) == nil {
				return text
			}
		}
		return ""
	}
	// From the first time of ten digits to the last that a signed 32-bit number holds.
	first, end := time.Unix(1000000000, 0).UTC(), time.Unix(1<<31-1, 0).UTC()
	const step = 7*time.Hour + 11*time.Minute + 13*time.Second
	low = find(first, end, step)
	high = find(end, first, -step)
	return low, high, low != "" && high != "" && low != high
}

// sameShape says whether two times are as long in whatever layout.
func sameShape(a, b time.Time) bool {
	for _, layout := range []string{"2006", "January", "2", "Monday"} {
		if len(a.Format(layout)) != len(b.Format(layout)) {
			return false
		}
	}
	return len(strconv.FormatInt(a.Unix(), 10)) == len(strconv.FormatInt(b.Unix(), 10))
}

// otherZones have another name, and an offset of as many characters.
func otherZones(p Premise) (low, high string, ok bool) {
	cut := len(strings.TrimRight(p.Value, "-0123456789:"))
	name, offset := p.Value[:cut], p.Value[cut:]
	make := func(letter, other byte, offsets []string) string {
		b := []byte(name)
		for i := range b {
			if b[i] = letter; name[i] == letter {
				b[i] = other
			}
		}
		for _, o := range offsets {
			if len(o) == len(offset) && o != offset && p.Third(string(b)+o) == nil {
				return string(b) + o
			}
		}
		return ""
	}
	var offsets, backward []string
	for _, sign := range []string{"", "-"} {
		for hour := range 15 {
			for _, quarter := range []string{"", ":15", ":30", ":45"} {
				offsets = append(offsets, sign+strconv.Itoa(hour)+quarter)
			}
		}
	}
	for i := len(offsets) - 1; i >= 0; i-- {
		backward = append(backward, offsets[i])
	}
	low, high = make('A', 'B', offsets), make('Z', 'Y', backward)
	return low, high, low != "" && high != "" && low != high
}
