package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
	"testing"

	. "github.com/assaylab/assay/diff/ledger"
)

// sound is an image of the test format with a payload that has texts in it.
var sound = hdr{time: 1700000000, mtime: 0o1234567, uuid: 0x40, payload: "code code built 2024-01-02 at 03:04:05, id 550e8400-e29b-41d4-a716-446655440000 end"}

// Attacks that may be written down as a ledger: none may come out clean.
func TestAttacksAreMarked(t *testing.T) {
	lots := strings.Repeat("abcdefghijklmnopqrstuvwxyz-_ ", 40)
	at := func(c byte) int64 { return int64(strings.IndexByte(lots, c)) }
	long := strings.Repeat("F1", 200)
	long2 := strings.Repeat("G2", 200)
	gather := []Stream{{Codec: Gather, RefSetting: "copy", DepSetting: "copy"}}
	piece := func(off, n, dep int64) Entry {
		return Entry{Op: OpCarry, Carry: 1, Ref: Range{off, n}, Dep: Range{0, dep}}
	}
	in := func(stream int, e Entry) Entry { e.Stream = stream; return e }
	for _, test := range []struct {
		name     string
		ref, dep string
		streams  []Stream
		entries  []Entry
		want     Totals
	}{
		{
			"one-byte moves spelling a text", lots, "evil", nil,
			[]Entry{mv(0, at('e'), 1), mv(0, at('v'), 1), mv(0, at('i'), 1), mv(0, at('l'), 1)},
			Totals{Unexplained: 4, Missing: int64(len(lots))},
		},
		{
			"in-order copies that skip, assembling new code", lots, "adgk", nil,
			[]Entry{cp(at('a'), 1), cp(at('d'), 1), cp(at('g'), 1), cp(at('k'), 1)},
			Totals{Identical: 4, Missing: int64(len(lots)) - 4},
		},
		{
			"skips whose holes moves fill up", long + long2, long2 + long, nil,
			[]Entry{cp(400, 400), mv(0, 0, 400)},
			Totals{Identical: 400, Moved: 400},
		},
		{
			"swapped functions as one backward move", long + long2, long2 + long, nil,
			[]Entry{mv(0, 400, 400), cp(0, 400)},
			Totals{Moved: 400, Identical: 400},
		},
		{
			"the same bytes twice", long, long + long, nil,
			[]Entry{cp(0, 400), mv(0, 0, 400)},
			Totals{Identical: 400, Moved: 400},
		},
		{
			"moves through a gather stream", lots, "evil", gather,
			[]Entry{piece(0, 100, 4), in(1, mv(0, at('e'), 1)), in(1, mv(0, at('v'), 1)), in(1, mv(0, at('i'), 1)), in(1, mv(1, at('l'), 1))},
			Totals{Unexplained: 4, Missing: int64(len(lots))},
		},
		{
			"a gather stream whose copies skip", lots, "adgk", gather,
			[]Entry{piece(0, int64(len(lots)), 4), in(1, cp(0, 1)), in(1, cp(3, 1)), in(1, cp(6, 1)), in(1, cp(10, 1))},
			Totals{Carried: 4, Missing: int64(len(lots)) - 4},
		},
		{
			"a deleted range", long + "check" + long2, long + long2, nil,
			[]Entry{cp(0, 400), cp(405, 400)},
			Totals{Identical: 800, Missing: 5},
		},
		{
			"everything deleted", long, "", nil, nil, Totals{Missing: 400},
		},
		{
			"a text time that replaces a deleted range", "x 2024-01-02 and a check y", "x 2025-01-02 y", nil,
			[]Entry{cp(0, 2), {Op: OpTime, Ref: Range{2, 22}, Dep: Range{0, 10}, Spec: &Spec{Op: OpTime, Enc: "2006-01-02"}}, cp(24, 2)},
			Totals{Identical: 4, Unexplained: 10, Missing: 22},
		},
		{
			"a binary time without a place", "0123aaaa4567", "0123bbbb4567", nil,
			[]Entry{cp(0, 4), text(4, 4, "u32le"), cp(8, 4)},
			Totals{Identical: 8, Unexplained: 4, Missing: 4},
		},
		{
			"a binary uuid without a place", "0123456789abcdef", "fedcba9876543210", nil,
			[]Entry{{Op: OpUUID, Ref: Range{0, 16}, Spec: &Spec{Op: OpUUID, Enc: "raw"}}},
			Totals{Unexplained: 16, Missing: 16},
		},
		{
			"a text time in a longer word", "v12024-01-02", "v12025-01-02", nil,
			[]Entry{cp(0, 2), text(2, 10, "2006-01-02")},
			Totals{Identical: 2, Unexplained: 10, Missing: 10},
		},
		{
			"a text time in a word that is longer in the deployed image only", "v 2024-01-02", "v1234-01-02z", nil,
			[]Entry{cp(0, 1), {Op: OpTime, Ref: Range{2, 10}, Dep: Range{0, 10}, Spec: &Spec{Op: OpTime, Enc: "2006-01-02"}}, none(1)},
			Totals{Identical: 1, Unexplained: 11, Missing: 11},
		},
		{
			"a clock in a MAC address", "mac 00:11:22:33:44:55", "mac 00:12:00:00:44:55", nil,
			[]Entry{cp(0, 7), text(7, 8, "15:04:05"), cp(15, 6)},
			Totals{Identical: 13, Unexplained: 8, Missing: 8},
		},
		{
			"a clock that begins an IPv6 address", "[11:22:33:dead::1]", "[11:22:34:dead::1]", nil,
			[]Entry{cp(0, 1), text(1, 8, "15:04:05"), cp(9, 9)},
			Totals{Identical: 10, Unexplained: 8, Missing: 8},
		},
		{
			"an impossible date", "on 2024-01-02.", "on 2024-02-31.", nil,
			[]Entry{cp(0, 3), text(3, 10, "2006-01-02"), cp(13, 1)},
			Totals{Identical: 4, Unexplained: 10, Missing: 10},
		},
		{
			"a weekday that does not fit", "Tue Jan  2 03:04:05 2024", "Mon Jan  2 03:04:05 2024", nil,
			[]Entry{text(0, 24, "Mon Jan _2 15:04:05 2006")},
			Totals{Unexplained: 24, Missing: 24},
		},
		{
			"a uuid that changes case", "550e8400-e29b-41d4-a716-446655440000", "550E8400-E29B-41D4-A716-446655440000", nil,
			[]Entry{{Op: OpUUID, Ref: Range{0, 36}, Spec: &Spec{Op: OpUUID, Enc: "text"}}},
			Totals{Unexplained: 36, Missing: 36},
		},
		{
			"a digest beside a spec that says more", "d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e", nil,
			[]Entry{{Op: OpSum, Ref: Range{0, 32}, Spec: &Spec{Op: OpSum, Enc: "hex", Alg: "md5", Over: []Span{{}}, Unit: 3}}},
			Totals{Unexplained: 32, Missing: 32},
		},
		{
			"a checksum without a place, its range fitted", "\x00\x00\x00\x00", "\x00\x00\x00\x00", nil,
			[]Entry{{Op: OpSum, Ref: Range{0, 4}, Spec: &Spec{Op: OpSum, Enc: "u32be", Alg: "crc32", Over: []Span{{Range: Range{0, 0}}}}}},
			Totals{Unexplained: 4, Missing: 4},
		},
		{
			"a one-byte sum without a place", "ab\xc3", "ad\xc5", nil,
			[]Entry{cp(0, 1), none(1), {Op: OpSum, Ref: Range{2, 1}, Spec: &Spec{Op: OpSum, Enc: "u8", Alg: "bytesum", Over: []Span{{Range: Range{0, 2}}}}}},
			Totals{Identical: 1, Unexplained: 2, Missing: 2},
		},
		{
			"a cut digest", "0123", "4567", nil,
			[]Entry{{Op: OpSum, Ref: Range{0, 4}, Spec: &Spec{Op: OpSum, Enc: "u32be", Alg: "sha256", Over: []Span{{Range: Range{0, 4}}}}}},
			Totals{Unexplained: 4, Missing: 4},
		},
		{
			"a number without a place", "\x04abcd", "\x05abcde", nil,
			[]Entry{{Op: OpNumber, Ref: Range{0, 1}, Spec: &Spec{Op: OpNumber, Enc: "u8", Over: []Span{{Range: Range{1, 4}}}}}, cp(1, 4), none(1)},
			Totals{Unexplained: 2, Identical: 4, Missing: 1},
		},
		{
			"zero fill over code", "abcdcode", "abcd\x00\x00\x00\x00", nil,
			[]Entry{cp(0, 4), {Op: OpFill, Ref: Range{4, 4}, Spec: &Spec{Op: OpFill, Align: 8, Over: []Span{{Range: Range{0, 4}}}}}},
			Totals{Identical: 4, Unexplained: 4, Missing: 4},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, err := check(t, []byte(test.ref), []byte(test.dep), test.streams, test.entries...)
			if err != nil {
				t.Fatal(err)
			}
			if l.Totals != test.want || clean(l) {
				t.Errorf("totals %+v, want %+v", l.Totals, test.want)
			}
			var missing int64
			for _, m := range l.Missing {
				missing += m.Ref.Len
			}
			if missing != test.want.Missing {
				t.Errorf("%d bytes listed as missing, want %d", missing, test.want.Missing)
			}
		})
	}
}

// Attacks that are no ledger: Check refuses them.
func TestAttacksAreRefused(t *testing.T) {
	const huge = math.MaxInt64
	ref := "0123456789abcdef"
	gather := []Stream{{Codec: Gather, RefSetting: "copy", DepSetting: "copy"}}
	two := []Stream{{Codec: Gather}, {Codec: Gather}}
	carry := func(n int, r, d Range) Entry { return Entry{Op: OpCarry, Carry: n, Ref: r, Dep: d} }
	all := Range{0, 16}
	for _, test := range []struct {
		name    string
		dep     string
		streams []Stream
		entries []Entry
		say     string
	}{
		{"a hole", ref, nil, []Entry{cp(0, 8), {Op: OpCopy, Dep: Range{9, 7}, Ref: Range{9, 7}}}, "has reached"},
		{"an overlap", ref, nil, []Entry{cp(0, 8), {Op: OpCopy, Dep: Range{7, 9}, Ref: Range{8, 8}}}, "has reached"},
		{"an overrun", ref, nil, []Entry{cp(0, 8), {Dep: Range{8, 9}}}, "reaches past"},
		{"an end left open", ref, nil, []Entry{cp(0, 15)}, "15 of 16"},
		{"nothing at all", ref, nil, nil, "0 of 16"},
		{"entries out of order", ref, nil, []Entry{{Op: OpCopy, Dep: Range{8, 8}, Ref: Range{8, 8}}, {Op: OpCopy, Dep: Range{0, 8}, Ref: Range{0, 8}}}, "has reached"},
		{"a copy of other bytes", "0123456789abcdeX", nil, []Entry{cp(0, 16)}, "differ"},
		{"a move of other bytes", "0123456789abcdeX", nil, []Entry{mv(0, 0, 16)}, "differ"},
		{"a copy used twice", ref + ref, nil, []Entry{cp(0, 16), cp(0, 16)}, "out of order"},
		{"a copy backwards", "89abcdef01234567", nil, []Entry{cp(8, 8), cp(0, 8)}, "out of order"},
		{"a copy of another length", ref, nil, []Entry{{Op: OpCopy, Dep: all, Ref: Range{0, 15}}}, "copies 15"},
		{"a move of another length", ref, nil, []Entry{{Op: OpMove, Dep: all, Ref: Range{0, 15}}}, "moves"},
		{"an unknown operation", ref, nil, []Entry{{Op: "render", Dep: all, Ref: all}}, "unknown operation"},
		{"an unexplained entry that uses the reference", ref, nil, []Entry{{Dep: all, Ref: all}}, "does not use"},
		{"a copy with a proof", ref, nil, []Entry{{Op: OpCopy, Dep: all, Ref: all, Spec: &Spec{Op: OpTime}}}, "another operation's proof"},
		{"a proof of another operation", ref, nil, []Entry{{Op: OpTime, Dep: all, Ref: all, Spec: &Spec{Op: OpUUID}}}, "another operation's proof"},
		{"a proof without a proof", ref, nil, []Entry{{Op: OpTime, Dep: all, Ref: all}}, "another operation's proof"},
		{"a copy with a place", ref, nil, []Entry{{Op: OpCopy, Dep: all, Ref: all, Place: &Place{}}}, "no use"},
		{"a copy from another stream", ref, nil, []Entry{{Op: OpCopy, Dep: all, Ref: all, From: 1}}, "no use"},
		{"a copy that carries", ref, nil, []Entry{{Op: OpCopy, Dep: all, Ref: all, Carry: 1}}, "no use"},
		{"an empty copy", ref, nil, []Entry{{Op: OpCopy, Dep: Range{0, 0}, Ref: Range{0, 0}}, cp(0, 16)}, "empty"},
		{"an empty fill", ref, nil, []Entry{{Op: OpFill, Spec: &Spec{Op: OpFill}}, cp(0, 16)}, "empty"},
		{"a stream that is not there", ref, nil, []Entry{carry(1, all, all)}, "carries stream"},
		{"an entry of a stream that is not there", ref, nil, []Entry{cp(0, 16), {Stream: 1, Op: OpCopy, Dep: all, Ref: all}}, "out of order or not there"},
		{"an entry of a negative stream", ref, nil, []Entry{cp(0, 16), {Stream: -1, Dep: all}}, "out of order or not there"},
		{"a stream without a carrier", ref, gather, []Entry{cp(0, 16)}, "no carrier"},
		{"a stream that carries itself", ref, gather, []Entry{cp(0, 16), {Stream: 1, Op: OpCarry, Carry: 1, Dep: all, Ref: all}}, "no carrier"},
		{"a stream carried by a later one", ref, two, []Entry{carry(2, all, all), {Stream: 1, Op: OpCarry, Carry: 2, Dep: all, Ref: all}}, "no carrier"},
		{"a cycle of carriers", ref, two, []Entry{
			carry(1, all, all),
			{Stream: 1, Op: OpCarry, Carry: 2, Dep: all, Ref: all},
			{Stream: 2, Op: OpCarry, Carry: 1, Dep: all, Ref: all},
		}, "carries stream"},
		{"one stream carried in two", ref, two, []Entry{
			carry(1, Range{0, 8}, Range{0, 8}), carry(2, Range{8, 8}, Range{8, 8}),
			{Stream: 1, Op: OpCarry, Carry: 2, Dep: Range{0, 8}, Ref: Range{0, 8}},
		}, "is piece 0, not 1"},
		{"two streams over one carrier", ref, two, []Entry{carry(1, all, all), carry(2, all, all)}, "has reached"},
		{"two streams over one carrier of the reference", ref, two, []Entry{carry(1, all, Range{0, 8}), carry(2, all, Range{8, 8})}, "out of order"},
		{"a carrier without reference bytes", ref, gather, []Entry{carry(1, Range{0, 0}, Range{0, 8}), cp(8, 8)}, "no reference bytes"},
		{"an unknown codec", ref, []Stream{{Codec: "zip@1"}}, []Entry{carry(1, all, all)}, "no codec"},
		{"a codec without a name", ref, []Stream{{}}, []Entry{carry(1, all, all)}, "no codec"},
		{"a stream left unaccounted", ref, gather, []Entry{carry(1, all, all)}, "0 of 16"},
		{"negative lengths", ref, nil, []Entry{{Op: OpCopy, Dep: Range{0, -1}, Ref: Range{0, -1}}}, "reaches past"},
		{"a negative reference offset", ref, nil, []Entry{{Op: OpCopy, Dep: all, Ref: Range{-1, 16}}}, "out of order"},
		{"a negative reference length", ref, nil, []Entry{{Op: OpTime, Dep: all, Ref: Range{8, -8}, Spec: &Spec{Op: OpTime}}}, "out of order"},
		{"an overflowing length", ref, nil, []Entry{cp(0, 1), {Op: OpNone, Dep: Range{1, huge}}}, "reaches past"},
		{"an overflowing reference", ref, nil, []Entry{{Op: OpFill, Dep: all, Ref: Range{1, huge}, Spec: &Spec{Op: OpFill}}}, "outside"},
		{"an overflowing reference offset", ref, nil, []Entry{{Op: OpCopy, Dep: all, Ref: Range{huge, 16}}}, "outside"},
		{"an overflowing move", ref, nil, []Entry{{Op: OpMove, Dep: all, Ref: Range{huge, 16}}}, "moves"},
		{"a negative move", ref, nil, []Entry{{Op: OpMove, Dep: all, Ref: Range{-16, 16}}}, "moves"},
		{"a move from a later stream", ref, gather, []Entry{{Op: OpMove, From: 1, Dep: all, Ref: all}}, "not there yet"},
		{"a move from a negative stream", ref, nil, []Entry{{Op: OpMove, From: -1, Dep: all, Ref: all}}, "not there yet"},
		{"the smallest carrier number", ref, nil, []Entry{carry(math.MinInt, all, all)}, "carries stream"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := &Ledger{Streams: test.streams, Entries: test.entries}
			if test.name != "a hole" && test.name != "an overlap" && test.name != "an overrun" {
				for i := range l.Entries { // those helpers that leave Dep to be filled in
					if e := &l.Entries[i]; e.Dep == (Range{}) && e.Op != OpFill && test.name != "an empty copy" {
						e.Dep.Len = e.Ref.Len
						if i > 0 {
							e.Dep.Off = l.Entries[i-1].Dep.End()
						}
					}
				}
			} else {
				l.Entries[0].Dep = Range{0, 8}
			}
			vouch(l, []byte(ref))
			err := l.Check(t.Context(), img([]byte(ref)), img([]byte(test.dep)), tools())
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), test.say) {
				t.Errorf("got %v, want ErrInvalid with %q", err, test.say)
			}
		})
	}
}

// With unequal pieces a gather could shift its borders: the code between would
// move, two functions swap, for nothing and without a word.
func TestGatherDoesNotMoveWhatStandsBetween(t *testing.T) {
	ref, dep := []byte("BaaaaaaaaCDEFGHIJ"), []byte("BCDEFGHaaaaaaaaIJ")
	ga := []Stream{{Codec: Gather, RefSetting: "copy", DepSetting: "copy"}}
	_, err := check(t, ref, dep, ga,
		Entry{Op: OpCarry, Carry: 1, Ref: Range{0, 1}, Dep: Range{0, 7}}, cp(1, 8),
		Entry{Op: OpCarry, Carry: 1, Piece: 1, Ref: Range{9, 8}, Dep: Range{0, 2}}, Entry{Stream: 1, Op: OpCopy, Ref: Range{0, 9}})
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "another length") {
		t.Errorf("%v, want ErrInvalid", err)
	}
	// The honest form: pieces of one length, the last as long as it needs.
	l, err := check(t, []byte("AAxxxBBB"), []byte("AAxxxBB"), ga,
		Entry{Op: OpCarry, Carry: 1, Ref: Range{0, 2}}, cp(2, 3), Entry{Op: OpCarry, Carry: 1, Piece: 1, Ref: Range{5, 3}, Dep: Range{0, 2}},
		Entry{Stream: 1, Op: OpCopy, Ref: Range{0, 4}})
	if err != nil || l.Totals != (Totals{Carried: 4, Identical: 3, Missing: 1}) {
		t.Errorf("%v %+v", err, l.Totals)
	}
}

// Swapped contents of two files, as swapped streams.
func TestSwappedStreams(t *testing.T) {
	a, b := strings.Repeat("first file ", 30), strings.Repeat("second one ", 30)
	ref := append(flipped(a), flipped(b)...)
	dep := append(flipped(b), flipped(a)...)
	n := int64(len(a) + 1)
	st := Stream{Codec: "flip@1", RefSetting: "plain", DepSetting: "plain"}
	l, err := check(t, ref, dep, []Stream{st, st},
		Entry{Op: OpCarry, Carry: 1, Ref: Range{0, n}}, Entry{Op: OpCarry, Carry: 2, Ref: Range{n, n}},
		Entry{Stream: 1, Dep: Range{0, n - 1}}, Entry{Stream: 2, Op: OpMove, From: 1, Ref: Range{0, n - 1}})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Totals{Unexplained: n, Moved: n, Missing: n - 1}); l.Totals != want {
		t.Errorf("totals %+v, want %+v", l.Totals, want)
	}
	_, err = check(t, ref, dep, []Stream{st, st},
		Entry{Op: OpCarry, Carry: 1, Ref: Range{n, n}}, Entry{Op: OpCarry, Carry: 2, Ref: Range{0, n}},
		Entry{Stream: 1, Op: OpCopy, Ref: Range{0, n - 1}}, Entry{Stream: 2, Op: OpCopy, Ref: Range{0, n - 1}})
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("streams in the other order: %v, want ErrInvalid", err)
	}
}

// What follows the end of an encoding is refused by the codec, by the kernel if
// the codec left it unread, and is not reproduced if the codec ate it.
func TestBytesAfterTheEnd(t *testing.T) {
	ref := flipped("content")
	dep := append(flipped("content"), "payload"...)
	for _, codec := range []string{"flip@1", "early@1", "sloppy@1", "deflate@1"} {
		_, err := check(t, ref, dep, []Stream{{Codec: codec, RefSetting: "plain", DepSetting: "plain"}},
			Entry{Op: OpCarry, Carry: 1, Ref: Range{0, 8}, Dep: Range{0, 15}}, Entry{Stream: 1, Op: OpCopy, Ref: Range{0, 7}})
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", codec, err)
		}
	}
	ate := []byte{'x' ^ 0xff, 0, 'P'}
	l, err := check(t, flipped("x"), ate, []Stream{{Codec: "sloppy@1", RefSetting: "plain", DepSetting: "plain"}},
		Entry{Op: OpCarry, Carry: 1, Ref: Range{0, 2}, Dep: Range{0, 3}}, Entry{Stream: 1, Op: OpCopy, Ref: Range{0, 1}})
	if err != nil || l.Streams[0].Reproduced || l.FreeBits != 24 {
		t.Errorf("a codec that eats a tail: %v, %+v", err, l.Streams)
	}
}

// Every proof of the test format, at its place and at others.
func TestPlaces(t *testing.T) {
	ref := sound.image()
	other := sound
	other.time, other.mtime, other.uuid = 42, 0o7654321, 0x80
	dep := other.image()
	n := int64(len(ref))
	run := func(t *testing.T, dep []byte, change func(e *Entry), name string) *Ledger {
		t.Helper()
		entries := account(ref, dep)
		for i := range entries {
			if e := &entries[i]; e.Place != nil && e.Place.Field == name && change != nil {
				spec, place := *e.Spec, *e.Place
				e.Spec, e.Place = &spec, &place
				change(e)
			}
		}
		l, err := check(t, ref, dep, nil, entries...)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if l := run(t, dep, nil, ""); !clean(l) || l.FreeBits != 32+24+128 {
		t.Fatalf("the honest account: %+v, %d bits", l.Totals, l.FreeBits)
	}
	for _, name := range []string{"time", "uuid", "mtime", "hcrc"} {
		for what, change := range map[string]func(e *Entry){
			"no place":            func(e *Entry) { e.Place = nil },
			"another format":      func(e *Entry) { e.Place.Format = "hdr@2" },
			"another field":       func(e *Entry) { e.Place.Field = "sum" },
			"no field":            func(e *Entry) { e.Place.Field = "" },
			"an extent beside it": func(e *Entry) { e.Place.At.Off += 16; e.Place.At.Len -= 16 },
			"an extent cut short": func(e *Entry) { e.Place.At.Len = 50 },
			"an extent too small": func(e *Entry) { e.Place.At = e.Ref },
			"an extent of none":   func(e *Entry) { e.Place.At.Len = 0 },
			"negative extent":     func(e *Entry) { e.Place.At.Len = -1 },
			"extent from before":  func(e *Entry) { e.Place.At.Off = -1 },
			"overflowing extent":  func(e *Entry) { e.Place.At = Range{1, math.MaxInt64} },
			"far extent":          func(e *Entry) { e.Place.At = Range{math.MaxInt64, math.MaxInt64} },
			"another spelling":    func(e *Entry) { e.Spec.Enc = "u32le" },
			"another span":        func(e *Entry) { e.Spec.Over = append([]Span{{Range: Range{0, 1}}}, e.Spec.Over...) },
			"another blank":       func(e *Entry) { e.Spec.Blank = append([]Range{{0, 4}}, e.Spec.Blank...) },
			"another blank byte":  func(e *Entry) { e.Spec.BlankByte++ },
			"another algorithm":   func(e *Entry) { e.Spec.Alg += "c" },
			"another unit":        func(e *Entry) { e.Spec.Unit++ },
			"another addend":      func(e *Entry) { e.Spec.Add++ },
			"another alignment":   func(e *Entry) { e.Spec.Align++ },
			"another filler":      func(e *Entry) { e.Spec.Fill++ },
		} {
			if l := run(t, dep, change, name); clean(l) {
				t.Errorf("%s: %s passes", name, what)
			}
		}
	}
	// A place holds for its own bytes only.
	for off := int64(0); off+4 <= n; off++ {
		bad := bytes.Clone(ref)
		copy(bad[off:], "EVIL")
		resum(bad)
		e := field(ref, 0, "time")
		e.Ref.Off = off
		l, err := check(t, ref, bad, nil, beside(ref, e)...)
		if err == nil && clean(l) != (off == 8) || err != nil && off == 8 {
			t.Errorf("a time at %d: clean %v, %v", off, clean(l), err)
		}
	}
}

// resum makes the checksum of an image's header good.
func resum(image []byte) {
	clear(image[16:20])
	binary.BigEndian.PutUint32(image[16:], crc32.ChecksumIEEE(image[:hdrLen]))
}

// beside is an account of one entry, the checksum of the header unless that is it, and
// copies.
func beside(ref []byte, e Entry) (out []Entry) {
	n := int64(len(ref))
	own := []Entry{e}
	if hcrc := field(ref, 0, "hcrc"); e.Ref.End() <= hcrc.Ref.Off {
		own = append(own, hcrc)
	} else if e.Ref.Off >= hcrc.Ref.End() {
		own = []Entry{hcrc, e}
	}
	at := int64(0)
	for _, e := range append(own, Entry{Ref: Range{n, 0}}) {
		if e.Ref.Off > at {
			out = append(out, cp(at, e.Ref.Off-at))
		}
		out = append(out, e)
		at = e.Ref.End()
	}
	return out[:len(out)-1]
}

// Numbers, sums and padding follow what the ledger pairs, and only that.
func TestFollowers(t *testing.T) {
	ref := sound.image()
	more := sound
	n := int64(len(sound.payload))
	// The insertion stands inside what is measured: before its last byte.
	more.payload = sound.payload[:n-1] + "0123456789" + sound.payload[n-1:]
	dep := more.image()
	m := n + 10
	build := func() []Entry {
		fill := field(ref, 0, "pad")
		fill.Dep = Range{hdrLen + m, int64(len(dep)) - hdrLen - m}
		return []Entry{
			cp(0, 4), field(ref, 0, "crc"), cp(8, 4), field(ref, 0, "size"), field(ref, 0, "hcrc"), cp(20, 24), field(ref, 0, "sum"),
			field(ref, 0, "hex size"), field(ref, 0, "units"), cp(59, 5), cp(hdrLen, n-1), none(10), cp(hdrLen+n-1, 1), fill,
		}
	}
	l, err := check(t, ref, dep, nil, build()...)
	if err != nil {
		t.Fatal(err)
	}
	if l.Totals.Unexplained != 10 || l.Totals.Missing != 0 || l.FreeBits != 80+1 { // one bit: 0x5D, where the reference has no letter
		t.Fatalf("%+v, %d bits", l.Totals, l.FreeBits)
	}
	// Any other value in a follower is refused.
	for _, f := range hdrFields(dep) {
		if f.spec.Op == OpTime || f.spec.Op == OpUUID || f.name == "hcrc" {
			continue
		}
		for i := f.at.Off; i < f.at.End(); i++ {
			bad := bytes.Clone(dep)
			bad[i] ^= 1
			clear(bad[16:20])
			binary.BigEndian.PutUint32(bad[16:], crc32.ChecksumIEEE(bad[:hdrLen]))
			l, err := check(t, ref, bad, nil, build()...)
			if err != nil {
				t.Fatal(err)
			}
			if l.Totals.Unexplained <= 10 {
				t.Errorf("byte %d of %q passes", i, f.name)
			}
		}
	}
}

// A fill of another length, or with bytes beside it.
func TestFillLengths(t *testing.T) {
	ref := sound.image()
	n := int64(len(sound.payload)) + hdrLen
	pad := int64(len(ref)) - n
	for k := int64(0); k < 40; k++ {
		dep := append(bytes.Clone(ref[:n]), bytes.Repeat([]byte{0xff}, int(k))...)
		l := &Ledger{Entries: []Entry{cp(0, n), field(ref, 0, "pad")}}
		l.Entries[0].Dep.Len, l.Entries[1].Dep = n, Range{n, k}
		if err := l.Check(t.Context(), img(ref), img(dep), tools()); err != nil {
			t.Fatal(err)
		}
		if clean(l) != (k == pad) {
			t.Errorf("a fill of %d bytes for %d: %+v", k, pad, l.Totals)
		}
	}
}

// Every byte of an image flipped in every way that one bit allows: what an honest
// account explains lies inside a value field and is priced.
func TestFlips(t *testing.T) {
	ref := sound.image()
	for i := range ref {
		for bit := range 8 {
			dep := bytes.Clone(ref)
			dep[i] ^= 1 << bit
			l, err := check(t, ref, dep, nil, account(ref, dep)...)
			if err != nil {
				t.Fatal(err)
			}
			if clean(l) {
				t.Errorf("byte %d, bit %d: clean with a checksum that is not", i, bit)
			}
			if i >= 16 && i < 20 {
				continue
			}
			resum(dep)
			if l, err = check(t, ref, dep, nil, account(ref, dep)...); err != nil {
				t.Fatal(err)
			}
			value := i >= 8 && i < 12 || i >= 28 && i < 44 || i >= 20 && i < 28 && dep[i] >= '0' && dep[i] <= '7'
			if clean(l) != value || l.FreeBits < 8 {
				t.Errorf("byte %d, bit %d: %+v, %d bits", i, bit, l.Totals, l.FreeBits)
			}
		}
	}
}

// The adversary has one wrong byte to explain and tries every operation, every
// field of the reference and every spelling on every stretch around it.
func TestOneByteByForce(t *testing.T) {
	small := hdr{time: 1700000000, mtime: 0o1234567, uuid: 0x40, payload: "code"}
	ref := small.image()
	n := int64(len(ref))
	var tries []Entry
	for _, f := range hdrFields(ref) {
		tries = append(tries, Entry{Op: f.spec.Op, Ref: Range{Len: max(f.at.Len, 1)}, Spec: &f.spec, Place: &Place{Format: "hdr@1", At: Range{0, n}, Field: f.name}})
	}
	for enc, size := range map[Enc]int64{"u8": 1, "u16le": 2, "u32le": 4, "u32be": 4, "u64be": 8, "oct": 8, "dec": 6, "hex": 8} {
		tries = append(tries, text(0, size, enc))
	}
	for _, enc := range TimeLayouts() {
		tries = append(tries, text(0, int64(len(enc)), enc))
	}
	tries = append(tries, Entry{Op: OpUUID, Ref: Range{0, 16}, Spec: &Spec{Op: OpUUID, Enc: "raw"}})
	passed := 0
	for i := int64(0); i < n; i += 3 {
		dep := bytes.Clone(ref)
		dep[i] ^= 2
		if i < 16 || i >= 20 {
			resum(dep)
		}
		value := i >= 8 && i < 12 || i >= 20 && i < 44
		for _, e := range tries {
			for off := max(0, i+1-e.Ref.Len); off <= min(i, n-e.Ref.Len); off++ {
				e.Ref.Off, e.Dep = off, Range{off, e.Ref.Len}
				l := &Ledger{Entries: beside(ref, e)}
				for i := range l.Entries {
					l.Entries[i].Dep = l.Entries[i].Ref
				}
				if err := l.Check(t.Context(), img(ref), img(dep), tools()); err != nil || !clean(l) {
					continue
				}
				passed++
				if !value || l.FreeBits < 24 {
					t.Errorf("byte %d passes as %s at %v for %d bits", i, e.Op, e.Ref, l.FreeBits)
				}
			}
		}
	}
	if passed == 0 {
		t.Error("not even the value fields pass")
	}
}

// A text of 32 hexadecimal digits that is the digest of a range is an anchor in
// itself; nothing may stand in that is not that digest.
func TestDigestAnchorsItself(t *testing.T) {
	signed := func(s string) []byte { return fmt.Appendf(nil, "%s %x\n", s, sha256.Sum256([]byte(s))) }
	const old, now = "built 2024-01-02", "built 2025-06-07"
	ref, dep := signed(old), signed(now)
	spec := func(off, n int64) *Spec {
		return &Spec{Op: OpSum, Enc: "hex", Alg: "sha256", Over: []Span{{Range: Range{off, n}}}}
	}
	for _, test := range []struct {
		name  string
		spec  *Spec
		wrong int
		ok    bool
	}{
		{"the digest", spec(0, 16), -1, true},
		{"a wrong digit", spec(0, 16), 20, false},
		{"a shorter range", spec(0, 15), -1, false},
		{"a range of nothing", spec(0, 0), -1, false},
		{"a negative range", spec(0, -1), -1, false},
		{"a range past the end", spec(0, math.MaxInt64), -1, false},
		{"a range before the start", spec(math.MinInt64, math.MaxInt64), -1, false},
		{"itself too", spec(0, 40), -1, false},
		{"an inner stream that is none", &Spec{Op: OpSum, Enc: "hex", Alg: "sha256", Over: []Span{{Range: Range{0, 16}, Inner: true}}}, -1, false},
		{"no range", &Spec{Op: OpSum, Enc: "hex", Alg: "sha256"}, -1, false},
		{"raw", &Spec{Op: OpSum, Enc: "raw", Alg: "sha256", Over: []Span{{Range: Range{0, 16}}}}, -1, false},
		{"another algorithm", &Spec{Op: OpSum, Enc: "hex", Alg: "sha512", Over: []Span{{Range: Range{0, 16}}}}, -1, false},
	} {
		bad := bytes.Clone(dep)
		if test.wrong >= 0 {
			bad[test.wrong] ^= 1
		}
		l, err := check(t, ref, bad, nil, cp(0, 6), text(6, 10, "2006-01-02"), cp(16, 1),
			Entry{Op: OpSum, Ref: Range{17, 64}, Spec: test.spec}, cp(81, 1))
		if err != nil || clean(l) != test.ok {
			t.Errorf("%s: %v, clean %v", test.name, err, clean(l))
		}
		if test.ok && l.FreeBits != 16 {
			t.Errorf("%s: %d bits, want the date's 16", test.name, l.FreeBits)
		}
	}
}

// A fill must begin where what it pads ends, and be as long as the alignment
// says on both sides, whatever the parser of the reference makes of it.
func TestFillIsPrescribed(t *testing.T) {
	over := []Span{{Range: Range{0, 5}}}
	for _, test := range []struct {
		name     string
		ref, dep string
		at       Range // of the fill in the reference
		gap, n   int64 // bytes put in before it, and its length in the deployed image
		spec     Spec
		ok       bool
	}{
		{"as prescribed", "abcde...z", "abcde...z", Range{5, 3}, 0, 3, Spec{Align: 8, Over: over}, true},
		{"not next to what it pads", "abcde...z", "abcdeX...z", Range{5, 3}, 1, 3, Spec{Align: 8, Over: over}, false},
		{"shorter in the reference", "abcde..z", "abcde...z", Range{5, 2}, 0, 3, Spec{Align: 8, Over: over}, false},
		{"longer in the deployed image", "abcde...z", "abcde....z", Range{5, 3}, 0, 4, Spec{Align: 8, Over: over}, false},
		{"a whole alignment longer", "abcde...z", "abcde...........z", Range{5, 3}, 0, 11, Spec{Align: 8, Over: over}, false},
		{"other bytes", "abcde...z", "abcde..,z", Range{5, 3}, 0, 3, Spec{Align: 8, Over: over}, false},
		{"other bytes in the reference", "abcde..,z", "abcde...z", Range{5, 3}, 0, 3, Spec{Align: 8, Over: over}, false},
		{"no alignment", "abcde...z", "abcde...z", Range{5, 3}, 0, 3, Spec{Over: over}, false},
		{"a negative alignment", "abcde...z", "abcde...z", Range{5, 3}, 0, 3, Spec{Align: -8, Over: over}, false},
		{"an alignment that overflows", "abcde...z", "abcde...z", Range{5, 3}, 0, 3, Spec{Align: math.MaxInt64, Over: over}, false},
		{"nothing padded", "abcde...z", "abcde...z", Range{5, 3}, 0, 3, Spec{Align: 8}, false},
		{"a range that overflows", "abcde...z", "abcde...z", Range{5, 3}, 0, 3, Spec{Align: 8, Over: []Span{{Range: Range{6, math.MaxInt64}}}}, false},
	} {
		test.spec.Op, test.spec.Fill = OpFill, '.'
		l := &Ledger{Entries: []Entry{{Op: OpCopy, Dep: Range{0, 5}, Ref: Range{0, 5}}}}
		if test.gap > 0 {
			l.Entries = append(l.Entries, Entry{Dep: Range{5, test.gap}})
		}
		at := 5 + test.gap
		l.Entries = append(l.Entries,
			Entry{Op: OpFill, Ref: test.at, Dep: Range{at, test.n}, Spec: &test.spec, Place: &Place{Format: "free@1", At: Range{0, int64(len(test.ref))}, Field: "f"}},
			Entry{Op: OpCopy, Dep: Range{at + test.n, 1}, Ref: Range{test.at.End(), 1}})
		err := l.Check(t.Context(), img([]byte(test.ref)), img([]byte(test.dep)), placed(hdrTable{{"f", test.at, test.spec}}))
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		fill := l.Entries[len(l.Entries)-2]
		if (fill.Verdict == Explained) != test.ok {
			t.Errorf("%s: %v, %s", test.name, fill.Verdict, fill.Note)
		}
	}
}
