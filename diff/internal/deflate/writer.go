package deflate

import (
	"fmt"
	"io"
)

// A Flavour is the program whose output is wanted.
type Flavour int

const (
	Zlib Flavour = iota // zlib's deflate
	Gzip                // GNU gzip's
)

// A Strategy is zlib's parameter of that name.
type Strategy int

// The strategies, by zlib's numbers.
const (
	Default     Strategy = iota
	Filtered             // no matches of five bytes and less, where a level looks ahead
	HuffmanOnly          // no matches
	RLE                  // matches at distance one only
	Fixed                // fixed codes only
)

// Options say what the encoder was told. The zero value is refused: there is no
// default level.
type Options struct {
	Flavour    Flavour
	Level      int      // 1 to 9; also Stored, with Zlib
	MemLevel   int      // Zlib: 1 to 9; 0 means 8
	WindowBits int      // Zlib: 8 to 15; 0 means 15
	Strategy   Strategy // Zlib

	// Work, unless it is nil, is told what searches for matches come to, while they
	// do: a step for each position looked at and for each eight bytes found alike.
	// An error of it ends the encoding and is what the writer returns.
	Work interface{ Spend(steps int) error }
}

// Stored is the level at which nothing is compressed, zlib's level 0.
const Stored = -1

const (
	minMatch = 3
	maxMatch = 258
	// minLookahead is how much must lie ahead for a decision to be the same as if
	// all the input were there.
	minLookahead = maxMatch + minMatch + 1
	tooFar       = 4096 // a match of three costs more than its bytes beyond
	stepBatch    = 4096 // steps that are told together
)

// A tuning is what a level stands for.
type tuning struct {
	good  int // above this length, follow a quarter of the chain
	lazy  int // above this length, do not look for a better match; fast: do not index the match
	nice  int // at this length, stop looking
	chain int // positions to look at
}

// tunings are the same in zlib and gzip.
var tunings = [10]tuning{
	1: {4, 4, 8, 4},
	2: {4, 5, 16, 8},
	3: {4, 6, 32, 32},
	4: {4, 4, 16, 16},
	5: {8, 16, 32, 32},
	6: {8, 16, 128, 128},
	7: {8, 32, 128, 256},
	8: {32, 128, 258, 1024},
	9: {32, 258, 258, 4096},
}

// errClosed is what a closed writer says.
var errClosed = fmt.Errorf("deflate: the writer is closed")

// NewWriter returns a writer that sends to w what the encoder makes of the bytes
// written. The stream ends with Close, which does not close w. After the first
// error of w nothing more is encoded, and every call returns that error.
func NewWriter(w io.Writer, o Options) (io.WriteCloser, error) {
	if o.MemLevel == 0 {
		o.MemLevel = 8
	}
	if o.WindowBits == 0 {
		o.WindowBits = 15
	}
	hashBits, symbols := o.MemLevel+7, 1<<max(o.MemLevel+6, 0)
	switch {
	case o.Level == Stored && o.Flavour == Zlib:
		return &storer{out: bitWriter{w: w}}, nil
	case o.Level < 1 || o.Level > 9:
		return nil, fmt.Errorf("deflate: level %d: want 1 to 9", o.Level)
	case o.MemLevel < 1 || o.MemLevel > 9:
		return nil, fmt.Errorf("deflate: memLevel %d: want 1 to 9", o.MemLevel)
	case o.WindowBits < 8 || o.WindowBits > 15:
		return nil, fmt.Errorf("deflate: windowBits %d: want 8 to 15", o.WindowBits)
	case o.Strategy < Default || o.Strategy > Fixed:
		return nil, fmt.Errorf("deflate: strategy %d: want 0 to 4", o.Strategy)
	case o.Flavour == Gzip:
		if o.MemLevel != 8 || o.WindowBits != 15 || o.Strategy != Default {
			return nil, fmt.Errorf("deflate: gzip takes a level and nothing else")
		}
		hashBits, symbols = 15, 1<<15
	case o.Flavour != Zlib:
		return nil, fmt.Errorf("deflate: no flavour %d", o.Flavour)
	}
	size := 1 << max(o.WindowBits, 9) // zlib makes 9 of 8
	e := &encoder{
		gzip:     o.Flavour == Gzip,
		tuning:   tunings[o.Level],
		filtered: o.Strategy == Filtered,
		size:     size,
		far:      size - minLookahead,
		need:     minLookahead,
		window:   make([]byte, 2*size+maxMatch+8),
		head:     make([]uint16, 1<<hashBits),
		prev:     make([]uint16, size),
		shift:    (hashBits + 2) / 3,
		block: block{
			out:       bitWriter{w: w},
			symbols:   make([]symbol, 0, symbols-1),
			onlyFixed: o.Strategy == Fixed,
		},
		early: o.Flavour == Gzip && o.Level > 2,
		work:  o.Work,
	}
	switch {
	case o.Strategy == HuffmanOnly:
		e.parse, e.need = (*encoder).huffman, 1
	case o.Strategy == RLE:
		e.parse, e.need = (*encoder).runs, maxMatch+1
	case o.Level <= 3:
		e.parse = (*encoder).greedy
	default:
		e.parse = (*encoder).lazily
	}
	return e, nil
}

// An encoder slides a window over the input and writes blocks of symbols.
type encoder struct {
	tuning
	gzip, filtered, early bool
	parse                 func(*encoder) error // works until it needs more input
	need                  int                  // bytes ahead without which parse needs more input

	size   int      // of half the window
	far    int      // the greatest distance
	window []byte   // two halves, and room to compare beyond
	head   []uint16 // by hash: the last position of it, 0 is none
	prev   []uint16 // by position in a half: the one before it of the same hash
	shift  int      // of the hash, per byte

	at         int // the position in the window that is decided on next
	ahead      int // bytes in the window from there on
	blockStart int // where the block begins in the window; negative when that has slid away

	matchStart int // of the last match found
	length     int // greedy: of the last match, or 0; lazy: of the match at the position before
	pending    bool
	ending     bool // there is no more input
	ended      bool // gzip: has seen that there is no more

	steps int // not told yet
	work  interface{ Spend(int) error }

	block block
	err   error
}

func (e *encoder) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && e.err == nil {
		end := e.at + e.ahead
		k := copy(e.window[end:2*e.size], p)
		p = p[k:]
		e.ahead += k
		// The window is full each time it is looked at, but the last time.
		if end+k == 2*e.size {
			e.err = e.parse(e)
		}
	}
	if e.err != nil {
		return n - len(p), e.err
	}
	return n, nil
}

func (e *encoder) Close() error {
	if e.err != nil {
		return e.err
	}
	e.ending = true
	if e.err = e.parse(e); e.err != nil {
		return e.err
	}
	if e.err = e.flush(true); e.err != nil {
		return e.err
	}
	e.err = errClosed
	return nil
}

// more reports whether there is a position to decide on now. It is asked before
// each decision and slides the window when less lies ahead than a decision needs.
func (e *encoder) more() bool {
	if e.ahead >= e.need {
		return true
	}
	if !e.ended {
		if e.at >= e.size+e.far {
			e.slide()
		}
		if !e.ending {
			return false
		}
		if e.gzip {
			// gzip learns of the end by reading nothing, and then only: it does not
			// slide again, and clears what the last hashes are taken of.
			e.ended = true
			end := e.at + e.ahead
			e.window[end], e.window[end+1] = 0, 0
		}
	}
	return e.ahead > 0
}

// slide moves the upper half of the window down.
func (e *encoder) slide() {
	copy(e.window[:e.size], e.window[e.size:2*e.size])
	e.at -= e.size
	e.matchStart -= e.size
	e.blockStart -= e.size
	for _, table := range [...][]uint16{e.head, e.prev} {
		for i, p := range table {
			table[i] = uint16(max(int(p)-e.size, 0))
		}
	}
}

// full reports whether the block ends with the symbol just added.
func (e *encoder) full() bool {
	b := &e.block
	n := len(b.symbols)
	if e.early && n&0xfff == 0 && b.matches < n/2 && b.guess() < (e.at-e.blockStart)/2 {
		return true
	}
	return n == cap(b.symbols)
}

// flush writes the block that ends at the present position.
func (e *encoder) flush(last bool) error {
	var raw []byte
	if e.blockStart >= 0 {
		raw = e.window[e.blockStart:e.at]
	}
	err := e.block.flush(raw, e.at-e.blockStart, last)
	e.blockStart = e.at
	return err
}

// A storer writes stored blocks, as long as they can be.
type storer struct {
	out bitWriter
	buf []byte
	err error
}

const maxStored = 65535

func (s *storer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && s.err == nil {
		if len(s.buf) == maxStored {
			if s.err = s.flush(0); s.err != nil {
				break
			}
		}
		k := min(len(p), maxStored-len(s.buf))
		s.buf = append(s.buf, p[:k]...)
		p = p[k:]
	}
	return n - len(p), s.err
}

func (s *storer) Close() error {
	if s.err != nil {
		return s.err
	}
	if s.err = s.flush(1); s.err != nil {
		return s.err
	}
	s.err = errClosed
	return nil
}

func (s *storer) flush(last uint64) error {
	s.out.stored(s.buf, last)
	s.buf = s.buf[:0]
	return s.out.flush()
}
