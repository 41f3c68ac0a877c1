package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

var binaryWidths = map[Enc]int{
	"u8": 1, "u16le": 2, "u16be": 2, "u32le": 4, "u32be": 4, "u64le": 8, "u64be": 8,
}

var textBases = map[Enc]int{"oct": 8, "dec": 10, "hex": 16}

// parseNumber reads b as enc. For text it accepts leading blanks and trailing
// blanks and NULs; whether the style is right is render's business.
func parseNumber(enc Enc, b []byte) (uint64, bool) {
	if w, ok := binaryWidths[enc]; ok {
		if len(b) != w {
			return 0, false
		}
		var v [8]byte
		if strings.HasSuffix(string(enc), "be") {
			copy(v[8-w:], b)
			return binary.BigEndian.Uint64(v[:]), true
		}
		copy(v[:], b)
		return binary.LittleEndian.Uint64(v[:]), true
	}
	base, ok := textBases[enc]
	if !ok || len(b) > 64 {
		return 0, false
	}
	digits := strings.TrimLeft(string(textCore(b)), " ")
	if digits == "" || digits[0] == '+' || digits[0] == '-' || strings.Contains(digits, "_") {
		return 0, false
	}
	v, err := strconv.ParseUint(digits, base, 64)
	return v, err == nil
}

// textCore is b without its trailing blanks and NULs.
func textCore(b []byte) []byte { return bytes.TrimRight(b, " \x00") }

// renderNumber spells v as enc in the style of like, the reference's bytes:
// same width of the field, same filler in front, same end. Binary values are
// taken modulo their width. A decimal without visible filler, before or after
// it, takes the width it needs.
func renderNumber(enc Enc, like []byte, v uint64) ([]byte, bool) {
	if w, ok := binaryWidths[enc]; ok {
		if len(like) != w {
			return nil, false
		}
		var b [8]byte
		if strings.HasSuffix(string(enc), "be") {
			binary.BigEndian.PutUint64(b[:], v)
			return append([]byte(nil), b[8-w:]...), true
		}
		binary.LittleEndian.PutUint64(b[:], v)
		return append([]byte(nil), b[:w]...), true
	}
	base, ok := textBases[enc]
	if !ok {
		return nil, false
	}
	core := textCore(like)
	if len(core) == 0 {
		return nil, false
	}
	s := strconv.FormatUint(v, base)
	if bytes.ContainsAny(core, "ABCDEF") {
		s = strings.ToUpper(s)
	}
	tail := like[len(core):]
	if enc == "dec" && core[0] != ' ' && core[0] != '0' {
		if len(tail) == 0 {
			return []byte(s), true
		}
		if len(s) >= len(like) {
			return nil, false
		}
		// The field keeps its width: blanks give way, or the first is repeated.
		b := append([]byte(s), bytes.Repeat(tail[:1], max(len(core)-len(s), 0))...)
		return append(b, tail[max(len(s)-len(core), 0):]...), true
	}
	filler := "0"
	if core[0] == ' ' {
		filler = " "
	}
	if len(s) > len(core) {
		return nil, false
	}
	return append([]byte(strings.Repeat(filler, len(core)-len(s))+s), tail...), true
}

// sameNumber says whether dep spells v in the style of ref. Hexadecimal
// without a letter in the reference leaves the case open: either is taken.
func sameNumber(enc Enc, ref, dep []byte, v uint64) bool {
	b, ok := renderNumber(enc, ref, v)
	if !ok {
		return false
	}
	if bytes.Equal(b, dep) {
		return true
	}
	return enc == "hex" && !bytes.ContainsAny(ref, "abcdef") && bytes.Equal(bytes.ToUpper(b), dep)
}

// caseBits is the choice that sameNumber leaves between upper and lower case.
func caseBits(enc Enc, ref, dep []byte) int64 {
	if enc == "hex" && !bytes.ContainsAny(ref, "abcdefABCDEF") && bytes.ContainsAny(dep, "abcdefABCDEF") {
		return 1
	}
	return 0
}

// numberBits is the width of the choice a number of this spelling leaves.
func numberBits(enc Enc, like []byte) int64 {
	if w, ok := binaryWidths[enc]; ok {
		return int64(w) * 8
	}
	n := int64(len(textCore(like)))
	switch enc {
	case "oct":
		return min(3*n, 64)
	case "hex":
		return min(4*n, 64)
	}
	return min((n*3322+999)/1000, 64) // log2(10) = 3.3219
}

// A timeClass tells which part of a point in time a spelling holds.
type timeClass uint8

const (
	classStamp    timeClass = iota // seconds since 1970
	classDate                      // days since 1970
	classClock                     // seconds since midnight
	classDOS                       // a date and time as FAT keeps them, in local time
	classDOSDate                   // its date
	classDOSTenth                  // hundredths of a second, up to two seconds
)

// timeLayouts is the closed set of date and time texts, in Go's notation, all
// of fixed width and at least eight characters. Longer ones come first, so
// that a scan finds the whole of a text before a part of it.
var timeLayouts = []struct {
	enc   Enc
	class timeClass
}{
	{"Mon, 02 Jan 2006 15:04:05 +0000", classStamp}, // RFC 2822, UTC
	{"Mon, 02 Jan 2006 15:04:05 GMT", classStamp},   // RFC 7231
	{"Mon Jan _2 15:04:05 UTC 2006", classStamp},    // date(1) in the C locale
	{"2006-01-02T15:04:05+00:00", classStamp},       // date -Iseconds
	{"Mon Jan _2 15:04:05 2006", classStamp},        // asctime(3), __TIMESTAMP__
	{"2006-01-02T15:04:05Z", classStamp},            // RFC 3339
	{"2006-01-02 15:04:05", classStamp},
	{"Jan _2 2006", classDate}, // __DATE__
	{"2006-01-02", classDate},
	{"01/02/2006", classDate},
	{clockText, classClock}, // __TIME__
}

const clockText = "15:04:05"

// TimeLayouts returns the spellings of dates and times in text, longest first.
// Each is a layout of package time and as long as the texts it stands for.
func TimeLayouts() []Enc {
	out := make([]Enc, len(timeLayouts))
	for i, l := range timeLayouts {
		out[i] = l.enc
	}
	return out
}

// Texts reach from 1970 to the last second of an unsigned 32-bit time, so that
// a stamp is worth 32 bits however it is spelled.
const (
	maxStamp = 1<<32 - 1
	day      = 86400
)

// parseTime reads b as a time spelled as enc; like is the reference's spelling
// and fixes the style.
func parseTime(enc Enc, like, b []byte) (v uint64, class timeClass, price int64, ok bool) {
	for _, l := range timeLayouts {
		if l.enc != enc {
			continue
		}
		if len(b) != len(enc) {
			return 0, 0, 0, false
		}
		t, err := time.Parse(string(enc), string(b))
		if err != nil || t.Format(string(enc)) != string(b) {
			return 0, 0, 0, false
		}
		sec := t.Unix()
		if l.class == classClock {
			h, m, s := t.Clock()
			return uint64(h*3600 + m*60 + s), classClock, log2(day), true
		}
		if sec < 0 || sec > maxStamp {
			return 0, 0, 0, false
		}
		if l.class == classDate {
			return uint64(sec / day), classDate, log2(maxStamp/day + 1), true
		}
		return uint64(sec), classStamp, log2(maxStamp + 1), true
	}
	if w, class := dosWidth(enc); w > 0 {
		if len(b) != w {
			return 0, 0, 0, false
		}
		for i, c := range b {
			v |= uint64(c) << (8 * i)
		}
		return v, class, int64(8 * w), validDOS(class, v)
	}
	if enc == "u8" || enc == "u16le" || enc == "u16be" {
		return 0, 0, 0, false // too narrow to hold a time
	}
	v, ok = parseNumber(enc, b)
	if !ok || len(textCore(b)) != len(textCore(like)) && textBases[enc] != 0 || !sameNumber(enc, like, b, v) {
		return 0, 0, 0, false
	}
	return v, classStamp, numberBits(enc, like), true
}

// dosWidth returns how many bytes the time of a FAT takes, and its class.
func dosWidth(enc Enc) (int, timeClass) {
	switch enc {
	case "dos":
		return 4, classDOS
	case "dosdate":
		return 2, classDOSDate
	case "dostenth":
		return 1, classDOSTenth
	}
	return 0, 0
}

// validDOS says whether v is a time as FAT keeps it: a clock of 5, 6 and 5 bits
// (two-second steps) below a date of 7, 4 and 5 bits (years since 1980).
func validDOS(class timeClass, v uint64) bool {
	switch class {
	case classDOSTenth:
		return v < 200
	case classDOS:
		if v>>11&31 > 23 || v>>5&63 > 59 || v&31 > 29 {
			return false
		}
		v >>= 16
	}
	month, day := v>>5&15, v&31
	return 1 <= month && month <= 12 && 1 <= day && day <= 31
}

// isTimeText says whether enc spells time in text of at least eight characters,
// which anchors itself in the reference.
func isTimeText(enc Enc) bool {
	for _, l := range timeLayouts {
		if l.enc == enc {
			return true
		}
	}
	return false
}

// binaryIDs tells how many bytes of choice an id of that spelling is.
var binaryIDs = map[Enc]int{"raw": 16, "text": 16, "seed": 16, "id32": 4}

// parseUUID reads 16 raw bytes, 4 of them, or their text of 36 characters in the case of
// like, the reference's spelling; lower case where that has no letters.
func parseUUID(enc Enc, like, b []byte) ([16]byte, bool) {
	var u [16]byte
	switch {
	case (enc == "raw" || enc == "seed") && len(b) == 16:
		copy(u[:], b)
		return u, true
	case enc == "id32" && len(b) == 4:
		copy(u[copy(u[:], b):], "assay id32") // no UUID by its version
		return u, true
	case enc == "text" && len(b) == 36:
		s := string(b)
		if upper := bytes.ContainsAny(like, "ABCDEF"); upper && s != strings.ToUpper(s) || !upper && s != strings.ToLower(s) {
			return u, false
		}
		if s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
			return u, false
		}
		n, err := hex.Decode(u[:], []byte(strings.ReplaceAll(s, "-", "")))
		return u, err == nil && n == 16
	}
	return u, false
}

// log2 is the number of bits that tell n things apart, rounded up.
func log2(n int64) int64 {
	if n <= 1 {
		return 0
	}
	return int64(bits.Len64(uint64(n - 1)))
}

// IsTime says whether b is a date or time spelled as enc, one of TimeLayouts.
func IsTime(enc Enc, b []byte) bool {
	_, _, _, ok := parseTime(enc, b, b)
	return ok && isTimeText(enc)
}
