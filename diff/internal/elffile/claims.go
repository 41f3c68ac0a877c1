package elffile

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"strconv"

	"github.com/assaylab/assay/diff/ledger"
)

// A Kind says what claims a run of bytes.
type Kind uint8

// Kinds, in the order in which they take bytes.
const (
	FileHeader Kind = iota
	ProgramHeaders
	SectionHeaders
	InSection // Index is that of the section
	InSegment // Index is that of the segment
)

// A Claim is a run of bytes of the file and what it belongs to.
type Claim struct {
	Name  string // unique within the file
	Kind  Kind
	Index int
	ledger.Range
	Whole bool   // all the bytes of what it belongs to are in this run
	Note  string // why they are not, or what else is odd
}

// SegmentName names segment i.
func SegmentName(i int) string { return "segment " + strconv.Itoa(i) }

// Claims tiles the file: in order of offset, without overlap, none empty.
// Bytes of no claim belong to no header, section or segment.
//
// Where parts overlap, the headers have the bytes before a section, a section
// before one of a higher index, a section before a segment, and a segment with
// fewer bytes in the file before one with more. What is left of the others is
// in several claims or in none.
func (f *File) Claims() []Claim {
	type part struct {
		Claim
		complete bool
	}
	var parts []part
	add := func(name string, k Kind, i int, r ledger.Range, complete bool) {
		parts = append(parts, part{Claim{Name: name, Kind: k, Index: i, Range: r}, complete})
	}
	add("ehdr", FileHeader, 0, ledger.Range{Len: Extent(f.Ehdr)}, true)
	if n := len(f.Segments); n > 0 {
		add("phdrs", ProgramHeaders, 0, ledger.Range{Off: int64(f.Phoff), Len: int64(n) * f.Phentsize}, true)
	}
	if n := len(f.Sections); n > 0 {
		add("shdrs", SectionHeaders, 0, ledger.Range{Off: int64(f.Shoff), Len: int64(n) * f.Shentsize}, true)
	}
	names := namer{"ehdr": 1, "phdrs": 1, "shdrs": 1}
	for i := range f.Sections {
		s := &f.Sections[i]
		names[s.Name] = 1
		r, complete := s.Range(f.size)
		add(s.Name, InSection, i, r, complete)
	}
	bySize := make([]int, len(f.Segments))
	for i := range bySize {
		bySize[i] = i
	}
	slices.SortStableFunc(bySize, func(a, b int) int {
		return cmp.Compare(f.Segments[a].Filesz, f.Segments[b].Filesz)
	})
	for _, i := range bySize {
		s := &f.Segments[i]
		r, complete := within(s.Off, s.Filesz, f.size)
		add(SegmentName(i), InSegment, i, r, complete)
	}

	ranges := make([]ledger.Range, len(parts))
	for i := range parts {
		ranges[i] = parts[i].Range
	}
	named := make([]bool, len(parts)) // a first piece has the part's own name
	pieces := tile(ranges)
	claims := make([]Claim, len(pieces))
	for i, p := range pieces {
		c := parts[p.owner].Claim
		c.Range = p.Range
		switch {
		case !parts[p.owner].complete:
			c.Note = "runs past the end of the file"
		case p.Range == ranges[p.owner]:
			c.Whole = true
		case c.Kind != InSegment: // sections stand in segments: no oddity
			c.Note = fmt.Sprintf("overlapped: %d of its %d bytes are here", p.Len, ranges[p.owner].Len)
		}
		if named[p.owner] || c.Kind == InSegment {
			c.Name = names.unique(c.Name)
		}
		named[p.owner] = true
		claims[i] = c
	}
	return claims
}

// A piece is a run of bytes and the index of the range it came from.
type piece struct {
	ledger.Range
	owner int
}

// tile cuts overlapping ranges into runs, in order of offset, each owned by
// the first of the ranges that cover it. There are fewer than twice as many
// runs as ranges, and it takes n log n steps for n ranges.
func tile(ranges []ledger.Range) []piece {
	starts := make([]int, 0, len(ranges))
	for i, r := range ranges {
		if r.Len > 0 {
			starts = append(starts, i)
		}
	}
	slices.SortStableFunc(starts, func(a, b int) int { return cmp.Compare(ranges[a].Off, ranges[b].Off) })

	var out []piece
	var open indexes // the ranges that may cover pos, the first on top
	var pos int64
	for len(starts) > 0 || len(open) > 0 {
		if len(open) == 0 {
			pos = ranges[starts[0]].Off
		}
		for len(starts) > 0 && ranges[starts[0]].Off == pos {
			heap.Push(&open, starts[0])
			starts = starts[1:]
		}
		owner := open[0]
		end := ranges[owner].End()
		if end <= pos {
			heap.Pop(&open)
			continue
		}
		if len(starts) > 0 {
			end = min(end, ranges[starts[0]].Off)
		}
		if n := len(out); n > 0 && out[n-1].owner == owner && out[n-1].End() == pos {
			out[n-1].Len += end - pos
		} else {
			out = append(out, piece{ledger.Range{Off: pos, Len: end - pos}, owner})
		}
		pos = end
	}
	return out
}

// indexes is a heap with the lowest index on top.
type indexes []int

func (h indexes) Len() int           { return len(h) }
func (h indexes) Less(i, j int) bool { return h[i] < h[j] }
func (h indexes) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *indexes) Push(x any)        { *h = append(*h, x.(int)) }
func (h *indexes) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
