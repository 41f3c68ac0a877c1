package ledger_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"

	. "github.com/assaylab/assay/diff/ledger"
)

func spelled(u [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// What calls for the old id, or goes by the new one, keeps an id from being replaced, in
// whatever way it spells it.
func TestIDsCalledFor(t *testing.T) {
	var old, now, other [16]byte
	for i := range old {
		old[i], now[i], other[i] = byte(0x10+i), byte(0xa0+i), byte(0x50+i)
	}
	guid := func(u [16]byte) [16]byte {
		u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7] = u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6]
		return u
	}
	raw := func(u [16]byte) string { return string(u[:]) }
	type form struct {
		name string
		of   func([16]byte) string
	}
	forms := []form{
		{"bytes", raw},
		{"a GUID", func(u [16]byte) string { return raw(guid(u)) }},
		{"text", spelled},
		{"capitals", func(u [16]byte) string { return strings.ToUpper(spelled(u)) }},
		{"some capitals", func(u [16]byte) string { return strings.ReplaceAll(spelled(u), "a", "A") }},
		{"no hyphens", func(u [16]byte) string { return strings.ReplaceAll(spelled(u), "-", "") }},
		{"a unit of systemd", func(u [16]byte) string { return strings.ReplaceAll(spelled(u), "-", `\x2d`) }},
		{"UTF-16", func(u [16]byte) string { return strings.Join(strings.Split(strings.ToUpper(spelled(u)), ""), "\x00") }},
		{"text of a GUID", func(u [16]byte) string { return spelled(guid(u)) }},
	}
	run := func(t *testing.T, enc Enc, id, new string, rest string, tool func(*Tools)) *Ledger {
		t.Helper()
		n, size := int64(len(id)), int64(len(id)+len(rest))
		table := hdrTable{{"id", Range{0, n}, Spec{Op: OpUUID, Enc: enc}}}
		l := &Ledger{Entries: anchored(size, table)}
		tools := placed(table)
		if tool != nil {
			tool(&tools)
		}
		if err := l.Check(t.Context(), img([]byte(id+rest)), img([]byte(new+rest)), tools); err != nil {
			t.Fatal(err)
		}
		return l
	}
	// Far behind the id, across the borders of what is read at a time.
	for _, far := range []int{0, 1, 300_000 - 20, 1 << 20} {
		for _, f := range forms {
			for what, u := range map[string][16]byte{"old": old, "new": now} {
				l := run(t, "raw", raw(old), raw(now), strings.Repeat(".", far)+f.of(u)+".", nil)
				if clean(l) {
					t.Errorf("the %s id stands behind %d bytes as %s, and passes", what, far, f.name)
				}
			}
			if l := run(t, "raw", raw(old), raw(now), strings.Repeat(".", far)+f.of(other)+".", nil); !clean(l) || l.FreeBits != 128 {
				t.Errorf("another id stands behind %d bytes as %s: %+v", far, f.name, l.Totals)
			}
		}
	}
	// Ids of four bytes: their bytes stand anywhere, their texts do not.
	for _, x := range []struct {
		text  string
		clean bool
	}{
		{"\x78\x56\x34\x12", true},
		{"UUID=1234-5678 /boot", false},
		{"UUID=abcd-ef01 /boot", false},
		{"UUID=ABCD-EF01 /boot", false},
		{"root=PARTUUID=12345678-01", false},
		{"root=PARTUUID=12345679-01", true},
	} {
		if l := run(t, "id32", "\x78\x56\x34\x12", "\x01\xef\xcd\xab", x.text, nil); clean(l) != x.clean {
			t.Errorf("beside %q: clean %v", x.text, clean(l))
		}
	}
	// In streams that are not taken apart for the ledger's sake.
	seed := []Range{{0, 16}}
	for _, x := range []struct {
		stream string
		seeds  []Range
		err    error
		clean  bool
	}{
		{"nothing", nil, nil, true},
		{"root=UUID=" + spelled(old), nil, nil, false},
		{raw(now), nil, nil, false},
		{raw(now), seed, nil, true},
		{raw(now) + raw(now), seed, nil, false},
		{raw(other), nil, nil, true},
		{"nothing", nil, ErrLimit, false},
	} {
		l := run(t, "raw", raw(old), raw(now), "", func(t *Tools) {
			t.Streams = func(_ context.Context, img Image, visit func(io.ReaderAt, int64, []Range) error, ids func(Enc, []byte)) error {
				if x.err != nil {
					return x.err
				}
				return visit(strings.NewReader(x.stream), int64(len(x.stream)), x.seeds)
			}
		})
		if clean(l) != x.clean {
			t.Errorf("beside a stream of %q, seeds %v: clean %v", x.stream, x.seeds, clean(l))
		}
	}
	// A seed that spells an id of four bytes takes no mention of it back.
	for field, want := range map[string]bool{"": true, "\x78\x56\x34\x12": false, "\x79\x56\x34\x12": true} {
		for _, stream := range []string{"nothing", "\x78\x56\x34\x12assay id32\x00", "UUID=1234-5678"} {
			l := run(t, "id32", "\x78\x56\x34\x12", "\x01\xef\xcd\xab", "", func(t *Tools) {
				t.Streams = func(_ context.Context, img Image, visit func(io.ReaderAt, int64, []Range) error, ids func(Enc, []byte)) error {
					ids("id32", []byte(field))
					return visit(strings.NewReader(stream), int64(len(stream)), seed)
				}
			})
			if clean(l) != (want && stream != "UUID=1234-5678") {
				t.Errorf("beside a stream of %q, field %x: clean %v", stream, field, clean(l))
			}
		}
	}
}

// Many ids that begin alike cost no more than one, in bytes that begin like them.
func TestManyIDs(t *testing.T) {
	var ref, dep []byte
	var table hdrTable
	for i := range 1000 {
		id := make([]byte, 16)
		binary.BigEndian.PutUint32(id[12:], uint32(i+1)<<8|1)
		table = append(table, hdrField{"id", Range{int64(16 * i), 16}, Spec{Op: OpUUID, Enc: "raw"}})
		ref = append(ref, id...)
		id[11] = 1
		dep = append(dep, id...)
	}
	rest := make([]byte, 4<<20)
	l := &Ledger{Entries: anchored(int64(len(ref)+len(rest)), table)}
	if err := l.Check(t.Context(), img(append(ref, rest...)), img(append(dep, rest...)), placed(table)); err != nil {
		t.Fatal(err)
	}
	if !clean(l) || l.FreeBits != 128_000 {
		t.Errorf("%+v, %d bits", l.Totals, l.FreeBits)
	}
}

// A seed is paid for like an id, and not looked for.
func TestSeeds(t *testing.T) {
	a, b, c, zero := strings.Repeat("a", 16), strings.Repeat("b", 16), strings.Repeat("c", 16), strings.Repeat("\x00", 16)
	for _, x := range []struct {
		encs     [2]Enc
		ref, dep string
		bits     int64 // -1: refused
	}{
		{[2]Enc{"seed", "seed"}, a + a, b + b, 128},
		{[2]Enc{"seed", "seed"}, a + a, b + c, 256},
		{[2]Enc{"seed", "seed"}, a + b, b + a, 256},
		{[2]Enc{"seed", "seed"}, a + b, c + c, 256},
		{[2]Enc{"seed", "raw"}, a + a, b + b, 128},
		{[2]Enc{"raw", "seed"}, a + a, b + b, 128},
		{[2]Enc{"raw", "seed"}, a + a, b + c, 256},
		{[2]Enc{"seed", "raw"}, a + a, b + c, 256},
		{[2]Enc{"seed", "seed"}, a + a, zero + zero, 128},
		{[2]Enc{"raw", "seed"}, a + b, b + c, -1},
	} {
		var table hdrTable
		for i, enc := range x.encs {
			table = append(table, hdrField{"id", Range{int64(16 * i), 16}, Spec{Op: OpUUID, Enc: enc}})
		}
		l := &Ledger{Entries: anchored(32, table)}
		if err := l.Check(t.Context(), img([]byte(x.ref)), img([]byte(x.dep)), placed(table)); err != nil {
			t.Fatal(err)
		}
		if clean(l) != (x.bits >= 0) || x.bits >= 0 && l.FreeBits != x.bits {
			t.Errorf("%v: %q to %q: clean %v, %d bits, want %d", x.encs, x.ref, x.dep, clean(l), l.FreeBits, x.bits)
		}
	}
}
