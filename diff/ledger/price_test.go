package ledger_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"
	"testing"

	. "github.com/assaylab/assay/diff/ledger"
)

// Every row of the price table, worked out by hand.
func TestPrices(t *testing.T) {
	words := strings.Repeat("0123456789", 10) // 100 bytes: log2 is 7
	u32 := func(v uint32) string { return string(binary.BigEndian.AppendUint32(nil, v)) }
	timeAt := func(off, n int64, enc Enc) hdrTable {
		return hdrTable{{fmt.Sprint(off), Range{off, n}, Spec{Op: OpTime, Enc: enc}}}
	}
	join := func(ts ...hdrTable) (out hdrTable) {
		for _, t := range ts {
			out = append(out, t...)
		}
		return out
	}
	const s1, s2 = 1700000000, 1800000000 // 2023-11-14 22:13:20, 2027-01-15 08:00:00
	for _, test := range []struct {
		name     string
		ref, dep string
		entries  []Entry
		want     int64
	}{
		{"the same", words, words, []Entry{cp(0, 100)}, 0},
		{"nothing", "", "", nil, 0},
		{"unexplained", "", "abc", []Entry{none(3)}, 24},
		{"a skip inside: log2 100", words, words[:40] + words[50:], []Entry{cp(0, 40), cp(50, 50)}, 6},
		{"a skip of the start: log2 100", words, words[1:], []Entry{cp(1, 99)}, 7},
		{"an end that is missing: log2 of 36", words, words[:64], []Entry{cp(0, 64)}, 6},
		{"an end that is missing: log2 of 1", words, words[:99], []Entry{cp(0, 99)}, 0},
		{"all missing", words, "", nil, 7},
		{"a move: log2 100 + log2 120", words, words + words[:20], []Entry{cp(0, 100), mv(0, 0, 20)}, 14},
		{"a move as dear as its bytes is none", words, words + "0", []Entry{cp(0, 100), mv(0, 0, 1)}, 8},
		{"a move a bit cheaper than its bytes", words, words + "01", []Entry{cp(0, 100), mv(0, 0, 2)}, 14},
		{"a binary time", u32(s1), u32(s2), anchored(4, timeAt(0, 4, "u32be")), 32},
		{"a long binary time", "\x00\x00\x00\x00" + u32(s1), "\x00\x00\x00\x00" + u32(s2), anchored(8, timeAt(0, 8, "u64be")), 64},
		{"an octal time", "14524770400\x00", "15331160000\x00", anchored(12, timeAt(0, 12, "oct")), 33},
		{"a decimal time", "1700000000  ", "1800000000  ", anchored(12, timeAt(0, 12, "dec")), 34},
		{"a hexadecimal time", "6553F100", "6B49D200", anchored(8, timeAt(0, 8, "hex")), 32},
		{"a hexadecimal time that sets the case", "00000000", "6B49D200", anchored(8, timeAt(0, 8, "hex")), 33},
		{"a time twice", u32(s1) + u32(s1), u32(s2) + u32(s2), anchored(8, join(timeAt(0, 4, "u32be"), timeAt(4, 4, "u32be"))), 32},
		{"two new times for one", u32(s1) + u32(s1), u32(s2) + u32(s2+1), anchored(8, join(timeAt(0, 4, "u32be"), timeAt(4, 4, "u32be"))), 64},
		{"one new time for two", u32(s1) + u32(s1+1), u32(s2) + u32(s2), anchored(8, join(timeAt(0, 4, "u32be"), timeAt(4, 4, "u32be"))), 64},
		{"a date in text", "2023-11-14", "2027-01-15", []Entry{text(0, 10, "2006-01-02")}, 16},
		{"a clock in text", "22:13:20", "08:00:00", []Entry{text(0, 8, "15:04:05")}, 17},
		{"date and clock apart", "2023-11-14 22:13:20", "2027-01-15 08:00:00", []Entry{text(0, 10, "2006-01-02"), cp(10, 1), text(11, 8, "15:04:05")}, 33},
		{"date and clock together", "2023-11-14 22:13:20", "2027-01-15 08:00:00", []Entry{text(0, 19, "2006-01-02 15:04:05")}, 32},
		{
			"a binary time, then its date, its clock and its stamp in text",
			u32(s1) + " 2023-11-14 Nov 14 2023 22:13:20 2023-11-14T22:13:20Z",
			u32(s2) + " 2027-01-15 Jan 15 2027 08:00:00 2027-01-15T08:00:00Z",
			append(in(57, anchored(4, timeAt(0, 4, "u32be"))), cp(4, 1), text(5, 10, "2006-01-02"), cp(15, 1), text(16, 11, "Jan _2 2006"),
				cp(27, 1), text(28, 8, "15:04:05"), cp(36, 1), text(37, 20, "2006-01-02T15:04:05Z")), 32,
		},
		{
			"a stamp, and the clock of another", "2023-11-14 22:13:20 22:13:20", "2027-01-15 08:00:00 08:00:01",
			[]Entry{text(0, 19, "2006-01-02 15:04:05"), cp(19, 1), text(20, 8, "15:04:05")},
			32 + 17,
		},
		{"a uuid", "0123456789abcdef", "fedcba9876543210", anchored(16, hdrTable{{"u", Range{0, 16}, Spec{Op: OpUUID, Enc: "raw"}}}), 128},
		{
			"a uuid in text, twice, at places", "550e8400-e29b-41d4-a716-446655440000 550e8400-e29b-41d4-a716-446655440000",
			"650e8400-e29b-41d4-a716-446655440000 650e8400-e29b-41d4-a716-446655440000",
			anchored(73, hdrTable{
				{"u", Range{0, 36}, Spec{Op: OpUUID, Enc: "text"}}, {"v", Range{37, 36}, Spec{Op: OpUUID, Enc: "text"}},
			}),
			128,
		},
		{
			"a uuid in text without a place", "550e8400-e29b-41d4-a716-446655440000", "650e8400-e29b-41d4-a716-446655440000",
			[]Entry{{Op: OpUUID, Ref: Range{0, 36}, Spec: &Spec{Op: OpUUID, Enc: "text"}}},
			8 * 36,
		},
		{"a refused proof costs its bytes", "ab", "cd", []Entry{text(0, 2, "u16le")}, 16},
	} {
		t.Run(test.name, func(t *testing.T) {
			var table hdrTable
			for _, e := range test.entries {
				if e.Place != nil {
					table = append(table, hdrField{e.Place.Field, e.Ref, *e.Spec})
				}
			}
			at := int64(0)
			for i := range test.entries {
				e := &test.entries[i]
				if e.Dep.Len == 0 {
					e.Dep.Len = e.Ref.Len
				}
				e.Dep.Off = at
				at = e.Dep.End()
			}
			l := &Ledger{Entries: test.entries}
			if err := l.Check(t.Context(), img([]byte(test.ref)), img([]byte(test.dep)), placed(table)); err != nil {
				t.Fatal(err)
			}
			if l.FreeBits != test.want {
				t.Errorf("%d bits, want %d", l.FreeBits, test.want)
			}
		})
	}
}

// A decimal time may not grow: its price is that of the reference's digits.
func TestDecimalTimeKeepsItsWidth(t *testing.T) {
	table := hdrTable{{"t", Range{0, 3}, Spec{Op: OpTime, Enc: "dec"}}}
	for _, dep := range []string{"18446744073709551615", "1000", "99", "+99", " 99", "099", "0x9", "9_9", "1e2", "-99"} {
		l := &Ledger{Entries: []Entry{{Op: OpTime, Ref: Range{0, 3}, Dep: Range{0, int64(len(dep))}, Spec: &table[0].spec, Place: &Place{Format: "free@1", At: Range{0, 3}, Field: "t"}}}}
		if err := l.Check(t.Context(), img([]byte("123")), img([]byte(dep)), placed(table)); err != nil || clean(l) {
			t.Errorf("%q passes: %v", dep, err)
		}
	}
}

// What one spelling lets through, weighed by what it is charged, is at most one:
// the prices are lengths of a prefix code, and no value comes cheaper than its
// share. Every text of two characters is tried.
func TestPricesAreACode(t *testing.T) {
	const chars = "0123456789abcdefABCDEFg \x00+-_x"
	for _, test := range []struct {
		enc Enc
		ref string
		n   int // values that pass
	}{
		{"oct", "00", 64},
		{"oct", "7 ", 8},
		{"hex", "00", 100 + 156*2},
		{"hex", "0a", 256},
		{"hex", "0A", 256},
		{"dec", "10", 90},
		{"dec", "01", 100},
		{"dec", " 1", 100},
		{"dec", "1\x00", 10},
	} {
		table := hdrTable{{"t", Range{0, 2}, Spec{Op: OpTime, Enc: test.enc}}}
		sum, n := 0.0, 0
		for _, a := range chars {
			for _, b := range chars {
				l := &Ledger{Entries: anchored(2, table)}
				if err := l.Check(t.Context(), img([]byte(test.ref)), img([]byte{byte(a), byte(b)}), placed(table)); err != nil {
					t.Fatal(err)
				}
				if clean(l) {
					n++
					sum += math.Exp2(-float64(l.FreeBits))
				}
			}
		}
		if n != test.n || sum > 1 {
			t.Errorf("%s %q: %d texts pass, want %d; they weigh %v", test.enc, test.ref, n, test.n, sum)
		}
	}
}

// All clocks that pass are as many as 17 bits tell apart, and no other text passes.
func TestClocksReachable(t *testing.T) {
	ref := []byte("at 22:13:20.")
	n := 0
	for v := 0; v < 100*100*100; v += 103 {
		h, m, s := v/10000, v/100%100, v%100
		dep := fmt.Appendf(nil, "at %02d:%02d:%02d.", h, m, s)
		l, err := check(t, ref, dep, nil, cp(0, 3), text(3, 8, "15:04:05"), cp(11, 1))
		if err != nil {
			t.Fatal(err)
		}
		ok := h < 24 && m < 60 && s < 60
		if clean(l) != ok || ok && l.FreeBits != 17 {
			t.Fatalf("%s: clean %v, %d bits", dep, clean(l), l.FreeBits)
		}
		if ok {
			n++
		}
	}
	if n == 0 || n > 1<<17 {
		t.Errorf("%d clocks", n)
	}
}

// Encodings: free, a choice of the catalogue, or every bit.
func TestEncodingPrices(t *testing.T) {
	s := strings.Repeat("all work and no play makes jack a dull boy ", 3) + "aabbccddeeffaabbaabbccdd"
	six, one := deflated(6, s), deflated(1, s)
	last := deflated(6, s[:len(s)-1]) // another content: what is the same on both sides is free
	if bytes.Equal(six, one) {
		t.Fatal("the levels give the same")
	}
	odd := append(bytes.Clone(deflated(0, s)[:0]), deflated(0, s)...) // stored: no setting of the catalogue
	for _, test := range []struct {
		name       string
		ref, dep   []byte
		rs, ds     string
		want       int64
		reproduced bool
	}{
		{"the same setting", six, six, "6", "6", 0, true},
		{"another setting", six, one, "6", "1", 4, true},
		{"the same bytes, by no setting", six, six, "", "", 0, true},
		{"the reference's setting left out", six, last, "", "6", 4, true},
		{"a wrong setting of the reference", six, last, "1", "6", 4, true},
		{"the reference not reproduced", one, six, "6", "6", 4, true},
		{"no setting", six, last, "6", "", 8 * int64(len(last)), false},
		{"a wrong setting", six, one, "6", "6", 8 * int64(len(one)), false},
		{"a setting outside the catalogue", six, odd, "6", "0", 8 * int64(len(odd)), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, err := check(t, test.ref, test.dep, []Stream{{Codec: "deflate@1", RefSetting: test.rs, DepSetting: test.ds, Bits: -1, Reproduced: true}},
				Entry{Op: OpCarry, Carry: 1, Ref: Range{0, int64(len(test.ref))}, Dep: Range{0, int64(len(test.dep))}},
				Entry{Stream: 1, Op: OpCopy, Ref: Range{0, inflated(t, test.dep)}})
			if err != nil {
				t.Fatal(err)
			}
			if l.FreeBits != test.want || l.Streams[0].Bits != test.want || l.Streams[0].Reproduced != test.reproduced {
				t.Errorf("%d bits, %+v, want %d", l.FreeBits, l.Streams[0], test.want)
			}
			if l.Totals.Carried != int64(len(test.dep)) {
				t.Errorf("%+v", l.Totals)
			}
		})
	}
}

func inflated(t *testing.T, b []byte) int64 {
	n, err := io.Copy(io.Discard, flate.NewReader(bytes.NewReader(b)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Sums that cover each other. A table of them stands over "d" bytes; the values
// are chosen so that each holds on both sides where that is possible.
func TestCycles(t *testing.T) {
	sum := func(name string, off int64, over Range, blank ...Range) hdrField {
		return hdrField{name, Range{off, 1}, Spec{Op: OpSum, Enc: "u8", Alg: "bytesum", Over: []Span{{Range: over}}, Blank: blank}}
	}
	for _, test := range []struct {
		name     string
		ref, dep string
		table    hdrTable
		bad      int64 // bytes unexplained
	}{
		{"a sum over content", "\x01\x01", "\x01\x01", hdrTable{sum("a", 0, Range{1, 1})}, 0},
		{"a sum over itself", "\x07\x00", "\x09\x00", hdrTable{sum("a", 0, Range{0, 2})}, 1},
		{"a sum over itself, blanked", "\x01\x01", "\x01\x01", hdrTable{sum("a", 0, Range{0, 2}, Range{0, 1})}, 0},
		{"two sums of each other", "\x05\x05\x00", "\x06\x06\x00", hdrTable{sum("a", 0, Range{1, 1}), sum("b", 1, Range{0, 1})}, 2},
		{"three in a ring", "\x05\x05\x05", "\x06\x06\x06", hdrTable{sum("a", 0, Range{1, 1}), sum("b", 1, Range{2, 1}), sum("c", 2, Range{0, 1})}, 3},
		{"a sum that leads into a ring", "\x05\x05\x05", "\x06\x06\x06", hdrTable{sum("a", 0, Range{1, 1}), sum("b", 1, Range{2, 1}), sum("c", 2, Range{1, 1})}, 3},
		{"a ring behind a sum that is none of it", "\x01\x05\x05\x01", "\x01\x06\x06\x01", hdrTable{sum("a", 0, Range{3, 1}), sum("b", 1, Range{2, 1}), sum("c", 2, Range{1, 1})}, 2},
		{"a ring through a blank of another", "\x00\x05\x05", "\x00\x06\x06", hdrTable{sum("a", 0, Range{1, 2}, Range{1, 2}), sum("b", 1, Range{2, 1}), sum("c", 2, Range{1, 1})}, 2},
		{"a ring that a blank cuts", "\x07\x07\x07", "\x07\x07\x07", hdrTable{sum("a", 0, Range{1, 1}), sum("b", 1, Range{0, 3}, Range{0, 2})}, 0},
		{"a chain", "\x05\x05\x05", "\x05\x05\x05", hdrTable{sum("a", 0, Range{1, 1}), sum("b", 1, Range{2, 1})}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := &Ledger{Entries: anchored(int64(len(test.ref)), test.table)}
			if err := l.Check(t.Context(), img([]byte(test.ref)), img([]byte(test.dep)), placed(test.table)); err != nil {
				t.Fatal(err)
			}
			if l.Totals.Unexplained != test.bad || l.Totals.Missing != test.bad || l.FreeBits < 8*test.bad {
				t.Errorf("%+v, %d bits, want %d unexplained", l.Totals, l.FreeBits, test.bad)
			}
		})
	}
}

// A long chain of sums is either right or refused, never a stack that overflows,
// and a ring at its far end is always found.
func TestLongChains(t *testing.T) {
	const n = 5000
	for _, ring := range []bool{false, true} {
		var table hdrTable
		b := bytes.Repeat([]byte{7}, n+1)
		for i := range int64(n) {
			over := Range{i + 1, 1}
			if ring && i == n-1 {
				over.Off = 0
			}
			table = append(table, hdrField{fmt.Sprint(i), Range{i, 1}, Spec{Op: OpSum, Enc: "u8", Alg: "bytesum", Over: []Span{{Range: over}}}})
		}
		l := &Ledger{Entries: anchored(n+1, table)}
		if err := l.Check(t.Context(), img(b), img(b), placed(table)); err != nil {
			t.Fatal(err)
		}
		if ring && l.Totals.Unexplained != n {
			t.Errorf("a ring of %d: %d unexplained", n, l.Totals.Unexplained)
		}
	}
}

// in says that the places of entries are in a layout of n bytes.
func in(n int64, entries []Entry) []Entry {
	for _, e := range entries {
		if e.Place != nil {
			e.Place.At = Range{0, n}
		}
	}
	return entries
}

// A header checksum over a blanked self and a data checksum that is part of the
// header is no cycle; the time is all that is paid for.
func TestHeaderOverDataSum(t *testing.T) {
	ref, dep := sound.image(), sound
	dep.time++
	d := dep.image()
	if crc32.ChecksumIEEE(ref[64:]) != crc32.ChecksumIEEE(d[64:]) {
		t.Fatal("the payload differs")
	}
	entries := []Entry{cp(0, 4), field(ref, 0, "crc"), field(ref, 0, "time"), cp(12, 4), field(ref, 0, "hcrc"), cp(20, int64(len(ref))-20)}
	l, err := check(t, ref, d, nil, entries...)
	if err != nil || !clean(l) || l.FreeBits != 32 || l.Totals.Explained != 8 {
		t.Errorf("%v, %+v, %d bits", err, l.Totals, l.FreeBits)
	}
}

// A checksum that stays as it was over bytes that did not is no copy.
func TestStaleSum(t *testing.T) {
	ref, dep := sound.image(), sound
	dep.time++
	d := dep.image()
	copy(d[16:20], ref[16:20]) // the header's checksum is the reference's
	n := int64(len(ref))
	l, err := check(t, ref, d, nil, cp(0, 8), field(ref, 0, "time"), cp(12, 4), field(ref, 0, "hcrc"), cp(20, n-20))
	if err != nil || l.Totals.Unexplained != 4 || l.Entries[3].Verdict != Unexplained {
		t.Errorf("%v, %+v: a stale checksum passes", err, l.Totals)
	}
	// Where the reference's own is wrong already, the bytes are simply the same.
	bad := bytes.Clone(ref)
	bad[16] ^= 1
	copy(d[16:20], bad[16:20])
	l, err = check(t, bad, d, nil, cp(0, 8), field(bad, 0, "time"), cp(12, 4), field(bad, 0, "hcrc"), cp(20, n-20))
	if err != nil || l.Totals.Unexplained != 0 || l.Entries[3].Verdict != Identical {
		t.Errorf("%v, %+v: a checksum that was wrong in the reference", err, l.Totals)
	}
}

// Where a format begins is nobody's choice.
func TestPlacesAreVouchedFor(t *testing.T) {
	inner, outer := sound, sound
	outer.payload = string(inner.image())
	ref := outer.image()
	inner.time++
	dep := bytes.Clone(ref)
	binaryTime := inner.image()[8:12]
	copy(dep[hdrLen+8:], binaryTime)
	n := int64(len(ref))
	base := int64(hdrLen)
	size := int64(len(inner.image()))
	for _, test := range []struct {
		name string
		in   *Place
		at   Range
		ok   bool
	}{
		{"opened by the layout around it", &Place{Format: "hdr@1", At: Range{0, n}}, Range{base, size}, true},
		{"by nobody", nil, Range{base, size}, false},
		{"by a layout that is not there", &Place{Format: "hdr@1", At: Range{base, n - base}}, Range{base, size}, false},
		{"by itself", &Place{Format: "hdr@1", At: Range{base, size}}, Range{base, size}, false},
		{"by a layout that opens another extent", &Place{Format: "hdr@1", At: Range{0, n}}, Range{base - 4, size}, false},
		{"by a field", &Place{Format: "hdr@1", At: Range{0, n}, Field: "time"}, Range{base, size}, false},
		{"by a chain that ends nowhere", &Place{Format: "hdr@1", At: Range{0, n}, In: &Place{}}, Range{base, size}, false},
	} {
		e := field(ref, base, "time")
		e.Place = &Place{Format: "hdr@1", At: test.at, Field: "time", In: test.in}
		l, err := check(t, ref, dep, nil, cp(0, base+8), e, cp(base+12, n-base-12))
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Entries[1].Verdict == Explained; got != test.ok {
			t.Errorf("%s: explained %v, %s", test.name, got, l.Entries[1].Note)
		}
	}
}

// A date or a clock inside something longer is no build date.
func TestTextsStandFree(t *testing.T) {
	for _, test := range []struct {
		ref, dep string
		at       int64
		enc      Enc
		ok       bool
	}{
		{"made 2024-01-02.", "made 2025-01-02.", 5, "2006-01-02", true},
		{"at 12:34:56, ok", "at 10:20:30, ok", 3, "15:04:05", true},
		{"- 12:34:56 +0000", "- 10:20:30 +0000", 2, "15:04:05", true},
		{"ntp=fe80::12:34:56 ", "ntp=fe80::10:20:30 ", 10, "15:04:05", false},
		{"12:34:56::1 ", "10:20:30::1 ", 0, "15:04:05", false},
		{"root:x:10:10:10:root", "root:x:00:00:00:root", 7, "15:04:05", false},
		{"aa-00:11:22-33", "aa-00:11:23-33", 3, "15:04:05", false},
		{"v1.2024-01-02 ", "v1.2023-01-02 ", 3, "2006-01-02", false},
		{"/releases/2024-01-02/bin", "/releases/2023-01-02/bin", 10, "2006-01-02", false},
		{"rel-2024-01-02 ", "rel-2023-01-02 ", 4, "2006-01-02", false},
		{"\xc3\xa92024-01-02 ", "\xc3\xa92023-01-02 ", 2, "2006-01-02", false},
	} {
		n := int64(len(test.enc))
		entries := []Entry{text(test.at, n, test.enc)}
		if test.at > 0 {
			entries = append([]Entry{cp(0, test.at)}, entries...)
		}
		entries = append(entries, cp(test.at+n, int64(len(test.ref))-test.at-n))
		l, err := check(t, []byte(test.ref), []byte(test.dep), nil, entries...)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Totals.Unexplained == 0; got != test.ok {
			t.Errorf("%q to %q: explained %v", test.ref, test.dep, got)
		}
	}
}

// A limit closes what nothing looked into; it excuses no proof.
func TestLimitExcusesNothing(t *testing.T) {
	e := text(0, 10, "2006-01-02")
	e.Limit = "depth"
	if _, err := check(t, []byte("2024-01-02"), []byte("2025-01-02"), nil, e); err == nil {
		t.Error("a proof inside a closed layer passes")
	}
}
