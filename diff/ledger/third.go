package ledger

import (
	"strconv"
	"strings"
	"time"
)

// Thirds are the values that stand for the one of a premise in builds which show it to
// be inert. They are as long as the value.
//
// Low is what the plain build had, cut or filled up to that length: where it is as long,
// it is that very value. So what the deployed image was built with is held against what
// the reference is built with, in its separators and kinds of characters too. High is
// the last of the grammar, other at each letter and digit. Even has the same sum of
// bytes as the value: many images hold a byte that makes the sum of all bytes come to
// zero, and that byte then stays as it is. Even is "" if there is none.
type Thirds struct{ Low, High, Even string }

// Thirds returns the values that stand for that of p; ok is false if there are none.
func (p Premise) Thirds() (t Thirds, ok bool) {
	switch p.Factor {
	case "epoch", "time":
		switch t.Low, t.High, ok = otherTimes(p); {
		case !ok:
		case len(p.Value) == len(p.Plain):
			t.Low = p.Plain
		default:
			ok = len(p.Value) == 10 // from 2001 to 2038 there are times on both sides of any other
		}
		return t, ok && t.Low != t.High && p.Third(t.Low, false) == nil
	case "timezone":
		t.Low, t.High, ok = otherZones(p)
		return t, ok
	}
	t.Low = p.like()
	t.High, ok = extreme(p, false, true)
	t.Even, _ = extreme(p, true, false)
	return t, ok && t.Low != t.High && p.Third(t.Low, false) == nil
}

// like is the plain value in the length of the value.
func (p Premise) like() string {
	begin, end := p.open()
	plain := p.Plain
	if p.Factor == "version" {
		off, _ := revision(plain)
		plain = plain[off:]
	} else if p.Factor == "home" {
		plain = strings.TrimPrefix(plain, "/home/")
	}
	n := end - begin
	for len(plain) < n {
		plain += "a"
	}
	out := []byte(p.Value[:begin] + plain[:n] + p.Value[end:])
	if last := len(out) - 1; n > 0 && end == len(p.Value) && !alphanumeric(out[last]) {
		out[last] = 'a'
	}
	if p.Third(string(out), false) == nil {
		return string(out)
	}
	// It is the value itself: then one of its shape.
	low, _ := extreme(Premise{Factor: p.Factor, Tool: p.Tool, Plain: p.Plain, Value: string(out)}, false, false)
	return low
}

// open is the part of a value that others may have otherwise.
func (p Premise) open() (begin, end int) {
	begin, end = 0, len(p.Value)
	switch p.Factor {
	case "version":
		begin, _ = revision(p.Value)
	case "home":
		begin = len("/home/")
	}
	return begin, end
}

// Control is a value for a build that shows how the values are put in to be inert: in
// the place of the plain one, and of its length. It is the plain value itself where no
// other can be had: then the build is set to what it has.
func (p Premise) Control() string {
	q := p
	q.Value, q.Plain = p.Plain, ""
	switch {
	case p.Factor == "version":
		q.Plain = p.Plain + "+x" // of the same numbers
	case p.Factor == "timezone" && len(p.Plain) == 3 && strings.ToUpper(p.Plain) == p.Plain && p.Plain != "ZZZ":
		return "ZZZ" // a name without an offset: UTC
	}
	if _, err := q.Price(); err != nil {
		return p.Plain
	}
	switch p.Factor {
	case "epoch", "time":
		if _, high, ok := otherTimes(q); ok {
			return high
		}
		return p.Plain
	}
	if v, ok := extreme(q, false, true); ok {
		return v
	}
	return p.Plain
}

// places are the bytes of a value that others may have otherwise, with the first and
// last of their kind.
func places(p Premise) (at []int, from, to []byte) {
	begin, end := p.open()
	// Two values that a build has side by side are not to become one.
	less := byte(0)
	if p.Factor == "user" {
		less = 1
	}
	for i := begin; i < end; i++ {
		switch c := p.Value[i]; {
		case c >= '0' && c <= '9':
			at, from, to = append(at, i), append(from, '0'), append(to, '9'-less)
		case c >= 'a' && c <= 'z':
			at, from, to = append(at, i), append(from, 'a'), append(to, 'z'-less)
		case c >= 'A' && c <= 'Z':
			at, from, to = append(at, i), append(from, 'A'), append(to, 'Z'-less)
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
	if p.Third(string(out), true) != nil {
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
			if text := strconv.FormatInt(t.Unix(), 10); sameShape(was, t) && p.Third(text, true) == nil {
				return text
			}
		}
		return ""
	}
	// From the first time of as many digits to the last, or the last that a signed 32-bit
	// number holds.
	from := int64(1)
	for range len(p.Value) - 1 {
		from *= 10
	}
	first, end := time.Unix(from, 0).UTC(), time.Unix(min(10*from, 1<<31)-1, 0).UTC()
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
			if len(o) == len(offset) && o != offset && p.Third(string(b)+o, true) == nil {
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
