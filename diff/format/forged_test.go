package format

import (
	"bytes"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/ledger"
)

// A checksum or a length that was left as it was makes no copy of itself by saying so:
// whoever forges a ledger cannot keep the kernel from looking.
func TestForgedCopies(t *testing.T) {
	ext := func(edit func(ref, b []byte)) [2][]byte {
		ref := extSample(t, "ext4")
		dep := bytes.Clone(ref)
		edit(ref, dep)
		extSum(t, ref, dep)
		return [2][]byte{ref, dep}
	}
	disk := func(id byte) []byte {
		g := difftest.SmallGPT(512, difftest.SmallFAT(12).Bytes())
		g.Disk[5], g.Partitions[0].ID[5] = id, id
		return g.Bytes()
	}
	squash := func(at uint32) []byte {
		s := difftest.SmallSquashfs(at)
		s.StoreTables, s.NoPad = true, true
		return s.Bytes()
	}
	// A time at which what tells it is compressed to another length.
	then := uint32(1714558830)
	now := then
	for len(squash(now)) == len(squash(then)) {
		now += 86400 + 3661
	}
	for _, c := range []struct {
		name  string
		pair  [2][]byte
		least int // fields that follow
	}{
		{"ext, id", ext(func(_, b []byte) { copy(b[1024+0x68:], "another uuid 16b") }), 30},
		{"ext, times", ext(func(ref, b []byte) { extTimes(t, ref, b, extMade, extMade+86400) }), 10},
		{"GUID partition table", [2][]byte{disk(0xe1), disk(0xe2)}, 4},
		{"squashfs", [2][]byte{squash(then), squash(now)}, 5},
		{"gzip", [2][]byte{difftest.Gzip{Content: []byte("built 2024-01-02 10:20:30, so it is")}.Bytes(), difftest.Gzip{Content: []byte("built 2025-03-04 11:21:31, so it is")}.Bytes()}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			ref, good := c.pair[0], c.pair[1]
			l := extCompare(t, ref, good)
			if !extAccepted(l) {
				extLog(t, l)
				t.Fatal("the honest pair is not accepted")
			}
			n := 0
			for i := range l.Entries {
				e := &l.Entries[i]
				was, is, ok := standing(l, e)
				if !ok || e.Op != ledger.OpSum && e.Op != ledger.OpNumber || bytes.Equal(ref[was.Off:was.End()], good[is.Off:is.End()]) {
					continue
				}
				n++
				dep := bytes.Clone(good)
				copy(dep[is.Off:is.End()], ref[was.Off:was.End()])
				lie := extCompare(t, ref, dep)
				for j := range lie.Entries {
					x := &lie.Entries[j]
					if was, is, ok := standing(lie, x); ok && x.Verdict == ledger.Unexplained && x.Op != ledger.OpNone && bytes.Equal(ref[was.Off:was.End()], dep[is.Off:is.End()]) {
						x.Op, x.Spec, x.Place, x.Rule, x.Note = ledger.OpCopy, nil, nil, "", ""
					}
				}
				image := func(b []byte) ledger.Image {
					return ledger.Image{ReaderAt: bytes.NewReader(b), Size: int64(len(b))}
				}
				err := lie.Check(t.Context(), image(ref), image(dep), diff.Tools(diff.Options{Formats: All(), Codecs: Codecs(diff.Limits{})}))
				if err != nil {
					t.Fatal(err)
				}
				if extAccepted(lie) {
					t.Errorf("%s, %s, is left as it was", e.Path, e.Op)
				}
			}
			if n < c.least {
				t.Errorf("%d fields follow", n)
			}
		})
	}
}

// standing says where in the images the bytes of an entry stand as they are.
func standing(l *ledger.Ledger, e *ledger.Entry) (ref, dep ledger.Range, ok bool) {
	ref, dep = e.Ref, e.Dep
	if e.Ref.Len != e.Dep.Len || e.Ref.Len == 0 {
		return ref, dep, false
	}
	if e.Stream == 0 {
		return ref, dep, true
	}
	pieces := 0
	for i := range l.Entries {
		if x := &l.Entries[i]; x.Op == ledger.OpCarry && x.Carry == e.Stream {
			pieces++
			ok = x.Stream == 0 && l.Streams[e.Stream-1].Codec == ledger.Gather
			ref.Off, dep.Off = e.Ref.Off+x.Ref.Off, e.Dep.Off+x.Dep.Off
		}
	}
	return ref, dep, ok && pieces == 1
}
