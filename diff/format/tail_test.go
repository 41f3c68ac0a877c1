package format_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assaylab/assay/diff/difftest"
)

// A file system of another length in the same room: what is behind it is erased flash,
// or zeros, up to the end, and holds nothing.
func TestTailOfAPartition(t *testing.T) {
	squash := func(at uint32) []byte {
		s := difftest.SmallSquashfs(at)
		s.NoPad = true
		return s.Bytes()
	}
	then, now := squash(squashThen), []byte(nil)
	for at := uint32(squashThen); now == nil || len(now) == len(then); at += 86400 + 3661 {
		now = squash(at)
	}
	const room = 16 << 10
	in := func(b []byte, fill byte, room int) []byte {
		return slices.Concat(b, bytes.Repeat([]byte{fill}, room-len(b)))
	}
	for _, fill := range []byte{0, 0xff} {
		for _, pair := range [][2][]byte{{then, now}, {now, then}} {
			ref, dep := in(pair[0], fill, room), in(pair[1], fill, room)
			if l := squashCompare(t, ref, dep); !accepted(t, l) || l.FreeBits != 32 {
				t.Errorf("before 0x%02x: %+v, %d bits", fill, l.Totals, l.FreeBits)
			}
			for name, bad := range map[string][]byte{
				"more room":            in(pair[1], fill, room+512),
				"less room":            in(pair[1], fill, room-512),
				"another fill":         in(pair[1], ^fill, room),
				"a byte at the end":    slices.Concat(dep[:room-1], []byte{1}),
				"a byte at the start":  slices.Concat(dep[:len(pair[1])], []byte{1}, dep[len(pair[1])+1:]),
				"a byte in the middle": slices.Concat(dep[:room/2], []byte{1}, dep[room/2+1:]),
			} {
				if accepted(t, squashCompare(t, ref, bad)) {
					t.Errorf("before 0x%02x: %s passes", fill, name)
				}
			}
			hidden := bytes.Clone(dep)
			copy(hidden[room-100:], "a payload")
			if l := squashCompare(t, in(pair[0], fill, room), hidden); l.Totals.Unexplained == 0 {
				t.Error("what is hidden behind passes")
			}
		}
	}
	// Where something stands behind, it is something.
	ref := slices.Concat(in(then, 0xff, room), []byte("end"))
	if accepted(t, squashCompare(t, ref, slices.Concat(in(now, 0xff, room), []byte("end")))) {
		t.Error("what moves before a tail that holds something passes")
	}
}

// A file of holes alone starts where its maker had come to.
func TestSquashfsHoleAlone(t *testing.T) {
	made := func(at uint32) []byte {
		text := "this was built " + time.Unix(int64(at), 0).UTC().Format("2006-01-02 15:04:05") + strings.Repeat(", as it has been before", 20)
		return difftest.Squashfs{Time: at, NoFragments: true, NoPad: true, StoreTables: true, Files: []difftest.SquashfsFile{
			{Path: ".", Mode: 0o40755, Time: at},
			{Path: "app", Mode: 0o100644, Time: at, Data: []byte(text)},
			{Path: "zero", Mode: 0o100644, Time: at, Data: make([]byte, 16384)},
		}}.Bytes()
	}
	then, now := made(squashThen), []byte(nil)
	for at := uint32(squashThen); now == nil || len(now) == len(then); at += 86400 + 3661 {
		now = made(at)
	}
	if l := squashCompare(t, then, now); !accepted(t, l) || l.FreeBits != 32 {
		t.Errorf("%+v, %d bits", l.Totals, l.FreeBits)
	}
}
