package format_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/ledger"
)

// crowd is how many files stand in a directory: more than a layout has side by side.
const crowd = 5000

// Where files are so many that they are laid out in bunches, another time of all is as
// dear as elsewhere, and what else one of them says has its name.
func TestCrowdedSquashfs(t *testing.T) {
	of := func(when uint32, change func(*difftest.SquashfsFile)) []byte {
		s := difftest.Squashfs{Time: when, Files: []difftest.SquashfsFile{{Path: ".", Mode: 0o40755, Time: when}}}
		for i := range crowd {
			s.Files = append(s.Files, difftest.SquashfsFile{Path: fmt.Sprintf("file %d", i), Mode: 0o10644, Time: when})
		}
		change(&s.Files[4321])
		return s.Bytes()
	}
	same := func(*difftest.SquashfsFile) {}
	ref := of(squashThen, same)
	if l := squashCompare(t, ref, of(squashNow, same)); !accepted(t, l) || l.FreeBits != 32 {
		t.Errorf("%+v, %d bits", l.Totals, l.FreeBits)
	}
	l := squashCompare(t, ref, of(squashNow, func(f *difftest.SquashfsFile) { f.Mode |= 0o4000 }))
	var accused []string
	for i := range l.Entries {
		if e := &l.Entries[i]; e.Verdict == ledger.Unexplained {
			accused = append(accused, e.Path)
		}
	}
	if l.Totals.Unexplained == 0 || len(accused) != 1 || accused[0] != "inodes>file 4320:mode" {
		t.Errorf("accused: %q, %+v", accused, l.Totals)
	}
}

func TestCrowdedFAT(t *testing.T) {
	of := func(time uint32) []byte {
		var entries []byte
		for i := range crowd {
			e := make([]byte, 32)
			copy(e, fmt.Sprintf("F%-10d", i))
			for _, at := range []int{14, 22} { // creation and modification
				binary.LittleEndian.PutUint32(e[at:], time)
			}
			binary.LittleEndian.PutUint16(e[18:], uint16(time>>16))
			entries = append(entries, e...)
		}
		const directory = 0x10
		f := difftest.FAT{Bits: 12, Clusters: 1000, Time: time, Files: []difftest.FATFile{{Path: "D", Attr: directory, Data: entries}}}
		return f.Bytes()
	}
	ref, dep := of(0x58a1_5282), of(0x58c1_5282)
	diskExplained(t, ref, dep, 32)
	at := bytes.Index(dep, []byte("F4321   "))
	dep[at+11] |= 0x02 // hidden
	res := diskCompare(t, ref, dep)
	diskAccused(t, res, int64(at+11), "D/F4321:attributes")
	dep = bytes.Clone(ref)
	dep[at] = 0xe5 // deleted
	if res := diskCompare(t, ref, dep); diskAccepted(res.Ledger) {
		t.Errorf("accepted: %+v", res.Ledger.Totals)
	}
}
