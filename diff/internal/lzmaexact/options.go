package lzmaexact

import (
	"errors"
	"fmt"
	"math"
)

// A Format is a container.
type Format uint8

const (
	// XZ is what lzma_stream_encoder writes, and xz with one thread: block
	// headers give no sizes.
	XZ Format = iota
	// XZThreaded is what lzma_stream_encoder_mt writes, and xz with several
	// threads: blocks, whose headers give their sizes, start anew every
	// BlockSize bytes. How many threads there were does not show.
	XZThreaded
	// XZBuffer is what lzma_stream_buffer_encode writes, and mksquashfs: one
	// block, whose header gives its sizes.
	XZBuffer
	// Alone is what lzma_alone_encoder writes, and xz --format=lzma.
	Alone
	// LZMA2 is the raw sequence of chunks with its end marker.
	LZMA2
)

// A Check is the integrity check of a block of .xz.
type Check byte

// The checks, as .xz numbers them.
const (
	NoCheck Check = 0
	CRC32   Check = 1
	CRC64   Check = 4
	SHA256  Check = 10
)

// A Mode is how symbols are chosen.
type Mode uint8

const (
	PresetMode Mode = iota // as the preset has it
	Fast                   // by the next two bytes
	Normal                 // by the prices of all ways through some thousand bytes
)

// A Finder is how matches are found.
type Finder uint8

const (
	PresetFinder Finder = iota // as the preset has it
	HC3                        // hash chains of three bytes
	HC4
	BT2 // binary trees by hashes of two bytes
	BT3
	BT4
)

// shape returns how many bytes a finder hashes, and whether it keeps trees.
func (f Finder) shape() (width int, tree bool) {
	switch f {
	case HC3:
		return 3, false
	case HC4:
		return 4, false
	case BT2:
		return 2, true
	case BT3:
		return 3, true
	}
	return 4, true
}

// Props are the properties of LZMA that a decoder needs.
type Props struct {
	LC int // bits of the byte before that a literal's context has, 0 to 4
	LP int // bits of the position that it has, 0 to 4; LC+LP at most 4
	PB int // bits of the position that other contexts have, 0 to 4
}

// Options say what to write and how. The zero value is a .xz stream of preset 0
// without check.
type Options struct {
	Format  Format
	Check   Check // of .xz
	Preset  int   // 0 to 9
	Extreme bool

	// What follows overrides the preset where it is not zero.

	Dict   uint32 // size of the dictionary in bytes, 4 KiB to 1.5 GiB
	Props  *Props
	Mode   Mode
	Finder Finder
	Nice   int // length of a match that is not improved on, 2 to 273
	Depth  int // how many candidates are looked at

	BCJ BCJ // of .xz and LZMA2

	// BlockSize is how many bytes a block of XZ or XZThreaded takes. Zero means
	// one block for XZ, and three dictionaries but at least 1 MiB for XZThreaded.
	BlockSize int64

	// Size, if not zero, stands in the header of Alone in the place of the mark
	// that the size is unknown. The end marker is written all the same, as
	// mksquashfs has it.
	Size int64

	// Work, unless it is nil, is told what searches for matches and for ways come to,
	// while they do: a step for each position looked at, for each eight bytes compared
	// and for each length that is priced. An error of it ends the encoding and is what the
	// writer returns.
	Work interface{ Spend(steps int) error }
}

const (
	minDict = 1 << 12
	maxDict = 1<<30 + 1<<29
)

// A tuning is what the encoder needs of Options.
type tuning struct {
	dict   uint32
	props  Props
	mode   Mode
	finder Finder
	nice   int
	depth  int
}

// tuning looks up the preset. Its numbers are those of xz 5.2.0 and later.
func (o Options) tuning() (tuning, error) {
	if o.Preset < 0 || o.Preset > 9 {
		return tuning{}, fmt.Errorf("preset %d: want 0 to 9", o.Preset)
	}
	t := tuning{
		dict:   1 << [...]int{18, 20, 21, 22, 22, 23, 23, 24, 25, 26}[o.Preset],
		props:  Props{LC: 3, LP: 0, PB: 2},
		mode:   Normal,
		finder: BT4,
		nice:   [...]int{128, 128, 273, 273, 16, 32, 64, 64, 64, 64}[o.Preset],
	}
	if o.Preset < 4 {
		t.mode, t.finder = Fast, HC4
		t.depth = [...]int{4, 8, 24, 48}[o.Preset]
	}
	if o.Preset == 0 {
		t.finder = HC3
	}
	if o.Extreme {
		t.mode, t.finder = Normal, BT4
		t.nice, t.depth = 273, 512
		if o.Preset == 3 || o.Preset == 5 {
			t.nice, t.depth = 192, 0
		}
	}
	if o.Dict != 0 {
		t.dict = o.Dict
	}
	if o.Props != nil {
		t.props = *o.Props
	}
	if o.Mode != PresetMode {
		t.mode = o.Mode
	}
	if o.Finder != PresetFinder {
		t.finder = o.Finder
	}
	if o.Nice != 0 {
		t.nice = o.Nice
	}
	if o.Depth != 0 {
		t.depth = o.Depth
	}
	p := t.props
	switch {
	case t.dict < minDict || t.dict > maxDict:
		return tuning{}, fmt.Errorf("dictionary of %d bytes: want %d to %d", t.dict, minDict, maxDict)
	case int64(t.dict)*2+2 > math.MaxInt:
		return tuning{}, fmt.Errorf("dictionary of %d bytes: too large for a machine of 32 bits", t.dict)
	case p.LC < 0 || p.LP < 0 || p.LC+p.LP > maxLC:
		return tuning{}, fmt.Errorf("lc %d and lp %d: want 0 to %d together", p.LC, p.LP, maxLC)
	case p.PB < 0 || p.PB > 4:
		return tuning{}, fmt.Errorf("pb %d: want 0 to 4", p.PB)
	case t.mode > Normal || t.finder > BT4:
		return tuning{}, errors.New("unknown mode or match finder")
	case t.nice < minMatch || t.nice > maxMatch:
		return tuning{}, fmt.Errorf("nice length %d: want %d to %d", t.nice, minMatch, maxMatch)
	case t.depth < 0:
		return tuning{}, fmt.Errorf("depth %d: want 0 or more", t.depth)
	}
	width, _ := t.finder.shape()
	t.nice = max(t.nice, width)
	return t, nil
}
