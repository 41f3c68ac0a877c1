package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Premise is a value that was read from the deployed image and put into the
// build of the reference, where the plain build has another: the date, the name of
// a machine, the vendor's revision of a compiler. Whoever made the image chose it,
// so it is priced like any other freedom, and it must be inert: see [Ledger.Inert].
//
// What a build with the value proves is: image = build(source, tools, these values).
// It does not prove that the vendor had this machine or that compiler.
type Premise struct {
	Factor string `json:"factor"`         // see below
	Tool   string `json:"tool,omitempty"` // version: the program whose answer to --version has the value
	Plain  string `json:"plain"`          // what the plain build had; "" if nothing
	Value  string `json:"value"`

	// By the kernel.
	Bits int64 `json:"bits"`
}

func (p Premise) name() string {
	if p.Tool != "" {
		return p.Factor + ":" + p.Tool
	}
	return p.Factor
}

func (p Premise) String() string { return p.name() + "=" + p.Value }

// A grammar says which values a factor may have, and what the choice of one is worth.
//
// They are short and strict: a value is a word that no shell, no make and no printf
// takes for anything but text. It is at most as long as the real ones are.
type grammar struct {
	text *regexp.Regexp
	most int                                  // bytes
	bits func(value string) int64             // of a value that text matches
	fits func(plain, value string) (ok bool)  // what else must hold; nil: nothing
	free func(value string) (off, length int) // what may differ between values; nil: all of it
}

// perByte prices a text of a small alphabet, and its length.
func perByte(bits, length int64) func(string) int64 {
	return func(value string) int64 { return bits*int64(len(value)) + length }
}

var (
	upstream = regexp.MustCompile(`^[0-9]+(\.[0-9]+)+`)
	leading  = regexp.MustCompile(`^[0-9.]+[-+~][0-9]+`) // up to the first number of the revision
)

// revision is where the vendor's revision in a version begins, and its length.
func revision(value string) (off, length int) {
	off = len(upstream.FindString(value))
	return off, len(value) - off
}

var grammars = map[string]grammar{
	// SOURCE_DATE_EPOCH, or the clock: seconds since 1970, to 2106.
	"epoch": {text: regexp.MustCompile(`^(0|[1-9][0-9]{0,9})$`), most: 10, bits: func(string) int64 { return 32 }, fits: stampFits},
	"time":  {text: regexp.MustCompile(`^(0|[1-9][0-9]{0,9})$`), most: 10, bits: func(string) int64 { return 32 }, fits: stampFits},
	// TZ as POSIX has it, without rules for summer: a name, and an offset in hours and quarters, west of Greenwich.
	"timezone": {
		text: regexp.MustCompile(`^[A-Z]{3,5}(0|-?([1-9]|1[0-4])(:(15|30|45))?)$`), most: 12,
		bits: func(v string) int64 { return 5*int64(len(strings.TrimRight(v, "-0123456789:"))) + 2 + 7 },
	},
	"host": {text: regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`), most: 48, bits: perByte(6, 6)},
	"user": {text: regexp.MustCompile(`^[a-z_][a-z0-9_-]*$`), most: 24, bits: perByte(6, 5)},
	"home": {text: regexp.MustCompile(`^/home(/[A-Za-z0-9_][A-Za-z0-9._+~-]*)+$`), most: 64, bits: perByte(7, 6)},
	"path": {text: regexp.MustCompile(`^(/[A-Za-z0-9_][A-Za-z0-9._+~-]*)+$`), most: 96, bits: perByte(7, 7)},
	// The numbers that scripts test stay; what follows them is the vendor's. It begins
	// with the sign that the plain one begins with, and with a number of as many digits:
	// no third value could show another sign or length not to matter.
	"version": {
		text: regexp.MustCompile(`^[0-9]+(\.[0-9]+)+([-+~][0-9a-z]+(\.[0-9a-z]+)*)*$`), most: 40,
		bits: func(v string) int64 { _, n := revision(v); return 6*int64(n) + 5 },
		fits: func(plain, value string) bool {
			_, n := revision(value)
			was, is := leading.FindString(plain), leading.FindString(value)
			return upstream.FindString(plain) == upstream.FindString(value) && n <= 24 &&
				was != "" && len(was) == len(is) && was[len(upstream.FindString(was))] == is[len(upstream.FindString(is))]
		},
		free: revision,
	},
}

func stampFits(_, value string) bool {
	n, err := strconv.ParseUint(value, 10, 64)
	return err == nil && n <= maxStamp
}

// Price returns what the choice of the value is worth in bits, or why it is none
// that the factor may have.
func (p Premise) Price() (int64, error) {
	g, ok := grammars[p.Factor]
	switch {
	case !ok:
		return 0, invalid("premise %.40q: no such factor", p.Factor)
	case (p.Factor == "version") != (p.Tool != "") || len(p.Tool) > 64 || strings.ContainsFunc(p.Tool, func(r rune) bool { return r <= ' ' || r > '~' }):
		return 0, invalid("premise %s: a version has a tool, and nothing else has", p.Factor)
	case len(p.Value) > g.most || !g.text.MatchString(p.Value) || g.fits != nil && !g.fits(p.Plain, p.Value):
		return 0, invalid("premise %s: %.120q is outside its grammar", p.name(), p.Value)
	case p.Value == p.Plain:
		return 0, invalid("premise %s: %.120q is what the plain build has", p.name(), p.Value)
	case len(p.Plain) > 256:
		return 0, invalid("premise %s: the plain value is longer than anybody's", p.name())
	}
	return g.bits(p.Value), nil
}

// premises checks and prices those of the ledger: each once, in order.
func (l *Ledger) premises() (bits int64, err error) {
	for i := range l.Premises {
		p := &l.Premises[i]
		if i > 0 && l.Premises[i-1].name() >= p.name() {
			return 0, invalid("premise %s is out of order, or there twice", p.name())
		}
		if p.Bits, err = p.Price(); err != nil {
			return 0, err
		}
		bits += p.Bits
	}
	return bits, nil
}

// ErrNotInert is wrapped by errors that say that a value does more than stand in
// the image.
var ErrNotInert = errors.New("not inert")

func active(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrNotInert, fmt.Sprintf(format, args...))
}

// Third says whether third can stand for the value of p in a build that shows it to
// be inert: of the same grammar and length and, with all, with another letter or digit
// at every place that has one; a point in time in another year, day, hour, minute and
// second. Without all it only is another.
func (p Premise) Third(third string, all bool) error {
	q := p
	q.Value = third
	if third == p.Plain {
		q.Plain = p.Value // Price refuses the plain value, which stands well for another
	}
	if _, err := q.Price(); err != nil {
		return err
	}
	if third == p.Value {
		return invalid("premise %s: %q is the value itself", p.name(), third)
	}
	if len(third) != len(p.Value) {
		return invalid("premise %s: %q is not as long as %q", p.name(), third, p.Value)
	}
	if !all {
		return nil
	}
	if p.Factor == "epoch" || p.Factor == "time" {
		a, b := stamp(p.Value), stamp(third)
		if a.Year() == b.Year() || a.Day() == b.Day() || a.Hour() == b.Hour() || a.Minute() == b.Minute() || a.Second() == b.Second() {
			return invalid("premise %s: %q and %q have a part in common", p.name(), third, p.Value)
		}
		return nil
	}
	g := grammars[p.Factor]
	off, n := 0, len(third)
	if g.free != nil {
		off, n = g.free(p.Value)
	}
	differ := 0
	for i := off; i < off+n; i++ {
		switch {
		case !alphanumeric(p.Value[i]):
		case p.Value[i] != third[i]:
			differ++
		case !fixed(p.Factor, p.Value, i):
			return invalid("premise %s: %q and %q have a letter in common", p.name(), third, p.Value)
		}
	}
	if differ == 0 {
		return invalid("premise %s: %q leaves nothing to vary", p.name(), p.Value)
	}
	return nil
}

// fixed says whether a place of a value may be the same in all values.
func fixed(factor, value string, i int) bool {
	switch factor {
	case "home":
		return i < len("/home/")
	case "timezone":
		return value[i] <= '9' // an offset has too few values to differ at every place
	}
	return false
}

func alphanumeric(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' }

func stamp(value string) time.Time {
	n, _ := strconv.ParseInt(value, 10, 64)
	return time.Unix(n, 0).UTC()
}

// A swap is a text in one image and what stands in its place in the other.
type swap struct{ from, to []byte }

// swaps are the ways in which a value shows, in pairs of equal length: as itself; a
// path and a host name also by their last and first part, a version by its revision;
// a time in every layout that is known, in decimal and in binary.
func (p Premise) swaps(third string) []swap { return swaps(p.Factor, p.Value, third) }

func swaps(factor, value, third string) []swap {
	var out []swap
	add := func(from, to string) {
		if len(from) == len(to) && len(from) >= 2 && from != to {
			out = append(out, swap{[]byte(from), []byte(to)})
		}
	}
	add(value, third)
	switch factor {
	case "path", "home":
		cut := strings.LastIndexByte(value, '/') + 1
		add(value[cut:], third[cut:])
	case "host":
		cut := strings.IndexByte(value+".", '.')
		add(value[:cut], third[:cut])
	case "version":
		off, _ := revision(value)
		add(value[off:], third[min(off, len(third)):])
	case "timezone":
		cut := len(strings.TrimRight(value, "-0123456789:"))
		add(value[:cut], third[:cut])
		add(offsetText(value[cut:]), offsetText(third[cut:]))
	case "epoch", "time":
		a, b := stamp(value), stamp(third)
		for _, l := range shownTimes {
			add(a.Format(l), b.Format(l))
		}
		for _, enc := range []Enc{"u32le", "u32be", "u64le", "u64be"} {
			x, _ := renderNumber(enc, make([]byte, binaryWidths[enc]), uint64(a.Unix()))
			y, _ := renderNumber(enc, make([]byte, binaryWidths[enc]), uint64(b.Unix()))
			add(string(x), string(y))
		}
	}
	return out
}

// offsetText spells the offset of a zone as +hhmm, east of Greenwich.
func offsetText(posix string) string {
	sign := "-"
	if rest, ok := strings.CutPrefix(posix, "-"); ok || posix == "0" {
		sign, posix = "+", rest
		if !ok {
			posix = "0"
		}
	}
	hours, minutes, _ := strings.Cut(posix, ":")
	if minutes == "" {
		minutes = "00"
	}
	return fmt.Sprintf("%s%02s%s", sign, hours, minutes)
}

// shownTimes are layouts of package time that programs show a build's time in, whole
// and in parts.
var shownTimes = func() []string {
	out := []string{
		"2006/01/02", "2006/01/02 15:04:05", "06.01", "Monday, January 02, 2006, 03:04:05 PM", "Jan 02 2006", "Jan _2", "Jan 02", "02 Jan 2006", "_2 Jan 2006", "2 Jan 2006", "Jan 2 2006", "January 2006", "20060102",
		"02/01/2006", "01/02/06", "060102", "20060102150405", "20060102T150405", "2006.01.02", "2006-01-02 15:04", "15:04", "150405",
		"Mon, 2 Jan 2006 15:04:05", "Mon, 02 Jan 2006 15:04:05", "Mon Jan _2 15:04:05", "Mon Jan 2 15:04:05", "Monday", "Mon", "January",
		"Jan", "2006", "3:04:05 PM", "03:04:05 PM",
	}
	for _, l := range timeLayouts {
		out = append(out, string(l.enc))
	}
	slices.SortStableFunc(out, func(a, b string) int { return len(b) - len(a) })
	return out
}()

// Demand returns the values of the builds that show premises to be inert: with the low
// thirds of all of them, with the high ones and, where even asks for it, with the even
// ones. It is nil if a premise has none.
func Demand(premises []Premise, even bool) [][]string {
	out := make([][]string, 2, 3)
	if even {
		out = out[:3]
	}
	for _, p := range premises {
		t, ok := p.Thirds()
		if !ok || even && t.Even == "" {
			return nil
		}
		for i, v := range []string{t.Low, t.High, t.Even}[:len(out)] {
			out[i] = append(out[i], v)
		}
	}
	return out
}

// Controls returns the values of the build that shows how values are put in to be inert.
func Controls(premises []Premise) []string {
	out := make([]string, len(premises))
	for i, p := range premises {
		out[i] = p.Control()
	}
	return out
}

// Controlled checks that the plain build a and a build b with the values of Controls in
// the place of the plain ones differ in nothing but how these show, as Inert does: that
// setting a value, apart from which value it is, changes nothing. The ledger is one of a
// as the reference and b as the deployed image.
func (l *Ledger) Controlled(ctx context.Context, a, b Image, t Tools, premises []Premise) (even int64, err error) {
	var all []swap
	for _, p := range premises {
		if v := p.Control(); len(v) == len(p.Plain) {
			all = append(all, swaps(p.Factor, p.Plain, v)...)
		}
	}
	return l.differ(ctx, a, b, t, all)
}

// Inert checks that two builds which differ in their premises alone differ in
// nothing but how these show. The ledger is one of a as the reference and b as the
// deployed image; premises are those of a, and thirds their values in b.
//
// It replays the ledger. Then, in each pair of streams, which must be of one size,
// every byte that differs must lie
//
//   - where a value of a stands in one and its third at the same place in the other,
//   - in a field that the kernel found derived, at no price: a checksum, a size, or
//   - in the carrier of a derived pair whose encoder makes it again; that pair is
//     looked at itself.
//
// One byte of the images as received may differ besides if it leaves the sum of all
// bytes modulo 256 as it is: the checksum of an option ROM, which has no fixed place.
// even is where that byte stands, -1 if there is none. Alone that shows little: beside
// it there must be a build with thirds that leave the sum as it is, in which that byte
// does not differ (see Demand).
//
// A nil error is the proof. One that wraps ErrNotInert says where the builds differ
// besides; one that wraps ErrInvalid, that ledger or values are not what they should
// be. A test that goes by a value's length alone, or by what all thirds have in common
// with it, is not seen.
func (l *Ledger) Inert(ctx context.Context, a, b Image, t Tools, premises []Premise, thirds []string) (even int64, err error) {
	if len(premises) == 0 || len(premises) != len(thirds) {
		return -1, invalid("%d premises and %d third values", len(premises), len(thirds))
	}
	var all []swap
	for i, p := range premises {
		if _, err := p.Price(); err != nil {
			return -1, err
		}
		if err := p.Third(thirds[i], false); err != nil {
			return -1, err
		}
		all = append(all, p.swaps(thirds[i])...)
	}
	return l.differ(ctx, a, b, t, all)
}

// differ checks that two builds differ in swaps alone.
func (l *Ledger) differ(ctx context.Context, a, b Image, t Tools, all []swap) (even int64, err error) {
	if len(l.Premises) > 0 {
		return -1, invalid("a ledger of two builds has no premises of its own")
	}
	even = -1
	err = l.replay(ctx, a, b, t, func(c *checker) error {
		for k := range c.pairs {
			if err := c.inert(k, all, &even); err != nil {
				return err
			}
		}
		if even < 0 {
			return nil
		}
		same, err := c.sameSum(&c.pairs[0])
		if err == nil && !same {
			err = active("the builds differ at 0x%x, where none of the values stands", even)
		}
		return err
	})
	return even, err
}

// sameSum says whether the bytes of two streams have the same sum modulo 256.
func (c *checker) sameSum(p *pair) (bool, error) {
	var sum byte
	for off := int64(0); off < p.refLen; {
		n := min(int64(len(c.buf[0])), p.refLen-off)
		for i, r := range []io.ReaderAt{p.ref, p.dep} {
			if err := readFull(r, c.buf[i][:n], off); err != nil {
				return false, err
			}
		}
		for i := range n {
			sum += c.buf[0][i] - c.buf[1][i]
		}
		off += n
		if err := c.ctx.Err(); err != nil {
			return false, err
		}
	}
	return sum == 0, nil
}

func (c *checker) inert(k int, swaps []swap, even *int64) error {
	p := &c.pairs[k]
	if p.refLen != p.depLen {
		return active("stream %d has %d bytes with one value and %d with the other", k, p.refLen, p.depLen)
	}
	reach := 0
	for _, s := range swaps {
		reach = max(reach, len(s.from))
	}
	r := &reacher{ref: p.ref, dep: p.dep, size: p.refLen, reach: int64(reach)}
	if k == 0 {
		r.even = even
	}
	for i := range p.entries {
		e := &p.entries[i]
		switch {
		case e.Verdict == Identical && e.Ref.Off == e.Dep.Off,
			e.Verdict == Explained && e.Bits == 0 && e.Op != OpTime && e.Op != OpUUID && e.Ref == e.Dep,
			e.Verdict == Carried && c.l.Streams[e.Carry-1].Reproduced && e.Ref == e.Dep:
			continue
		}
		if err := r.covered(c.ctx, e.Dep, swaps); err != nil {
			if errors.Is(err, ErrNotInert) {
				return fmt.Errorf("stream %d (%.200s): %w", k, e.Path, err)
			}
			return err
		}
	}
	return nil
}

// A reacher reads two streams of one size around the same offsets.
type reacher struct {
	ref, dep io.ReaderAt
	size     int64
	reach    int64  // how far a swap can reach from a byte that it covers
	even     *int64 // where the one byte stands that no swap covers, -1 so far; nil: there may be none
	a, b     []byte
}

// covered checks that the bytes of a range that differ lie in swaps.
func (r *reacher) covered(ctx context.Context, at Range, swaps []swap) error {
	const step = 64 << 10
	for off := at.Off; off < at.End(); off += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := min(off+step, at.End())
		lo, hi := max(off-r.reach, 0), min(end+r.reach, r.size)
		r.a, r.b = slices.Grow(r.a[:0], int(hi-lo))[:hi-lo], slices.Grow(r.b[:0], int(hi-lo))[:hi-lo]
		if err := readFull(r.ref, r.a, lo); err != nil {
			return err
		}
		if err := readFull(r.dep, r.b, lo); err != nil {
			return err
		}
		for i := int(off - lo); i < int(end-lo); {
			if r.a[i] == r.b[i] {
				i++
				continue
			}
			n := swapAround(r.a, r.b, i, swaps)
			if n == 0 && r.even != nil && *r.even < 0 {
				*r.even, n = lo+int64(i), 1
			}
			if n == 0 {
				return active("the builds differ at 0x%x, where none of the values stands", lo+int64(i))
			}
			i += n
		}
	}
	return nil
}

// swapAround returns how many bytes from i on a swap covers; 0 if none does.
func swapAround(a, b []byte, i int, swaps []swap) int {
	for _, s := range swaps {
		for start := max(i-len(s.from)+1, 0); start <= i && start+len(s.from) <= len(a); start++ {
			if bytes.Equal(a[start:start+len(s.from)], s.from) && bytes.Equal(b[start:start+len(s.to)], s.to) {
				return start + len(s.from) - i
			}
		}
	}
	return 0
}
