package codec

import (
	"context"
	"fmt"
	"io"
	"math/bits"
)

// What one run of an encoder may take: steps, as the exact encoders count them, to begin
// with and for each byte of content. At their slowest levels these take 30 to 80 steps
// for each byte of what is met, and up to 250 of short files of tables; of content made
// for the purpose, thousands.
const (
	firstSteps = 16 << 20
	byteSteps  = 512
	// lz4Steps is that of liblz4's, whose steps are fewer and dearer.
	lz4Steps = 256
	// lzmaSteps is that of liblzma's, which at its extreme presets takes up to 450 of
	// honest content, and never many more than 700.
	lzmaSteps = 1024
	// touchSteps are spent on each byte of content, which no encoder takes for nothing.
	touchSteps = 4
	// searchRuns is how many runs' steps a search for a setting may take.
	searchRuns = 2
)

// A meter bounds the work of one run of an encoder, and of the search that it is part
// of. It counts steps, which the encoders tell, and no time, so that a run ends alike on
// each machine.
type meter struct {
	ctx     context.Context
	search  *search // nil: the run is none of a search
	rate    int64   // steps that a byte of content allows
	allowed int64
	spent   int64
}

func newMeter(ctx context.Context) *meter {
	m := &meter{ctx: ctx, rate: byteSteps, allowed: firstSteps}
	m.search, _ = ctx.Value(searchKey{}).(*search)
	return m
}

// allow adds what n bytes of content allow.
func (m *meter) allow(n int) { m.allowed += int64(n) * m.rate }

// Spend takes steps away. Errors: a LimitError where there are no more; the end of the
// context.
func (m *meter) Spend(steps int) error {
	if err := alive(m.ctx); err != nil {
		return err
	}
	m.spent += int64(steps)
	err := m.search.spend(m.allowed, int64(steps))
	if err == nil && m.spent > m.allowed {
		err = &LimitError{Limit: "effort", Detail: fmt.Sprintf("encoding takes more than %d steps", m.allowed)}
	}
	if err != nil && m.search != nil {
		m.search.gaveUp = true
	}
	return err
}

// A search is what the runs of one search for a setting have in common.
type search struct {
	allowed, spent int64
	gaveUp         bool
}

type searchKey struct{}

// Search returns a context for one search: what is encoded under it, one run after the
// other, takes no more together than two runs may take. gaveUp tells whether any was
// ended for the steps it takes, by that bound or its own. A run alone is not bounded by
// what was searched before, so a setting that a search finds can be tried again.
func (c *Codec) Search(ctx context.Context) (_ context.Context, gaveUp func() bool) {
	s := new(search)
	return context.WithValue(ctx, searchKey{}, s), func() bool { return s.gaveUp }
}

// spend takes steps away, of a run that may take so many.
func (s *search) spend(run, steps int64) error {
	if s == nil {
		return nil
	}
	s.allowed = max(s.allowed, searchRuns*run)
	if s.spent += steps; s.spent > s.allowed {
		return &LimitError{Limit: "effort", Detail: fmt.Sprintf("the search for a setting takes more than %d steps", s.allowed)}
	}
	return nil
}

// A chaining is how an encoder that counts no steps looks for matches: along chains of
// positions whose next four bytes hash alike.
type chaining struct {
	hash   func(uint32) uint32 // of four bytes, the first highest; to chainBits at most
	window int                 // positions in the chains, a power of two
	most   int                 // positions that a search looks at
	high   int                 // how many of the positions counted come to one step
}

const (
	chainBits = 17
	chainRun  = 4 // positions of what repeats that are searched
)

var (
	goChains        = chaining{func(v uint32) uint32 { return v * 0x1e35a7bd >> 15 }, 1 << 15, 4096, 2}
	klauspostChains = chaining{func(v uint32) uint32 { return bits.ReverseBytes32(v) * 2654435761 >> 15 }, 1 << 15, 1024, 1}
	pierrecChains   = chaining{func(v uint32) uint32 { return bits.ReverseBytes32(v) * 2654435761 >> 16 }, 1 << 16, 1 << 16, 16}
)

// counted makes an opener whose encoders tell what steps their chains may cost, before
// they take them: each position whose last bytes stood at another distance than those of
// the position before begins a match, and is searched, as are a few after it; the rest
// of the match is not.
func (c chaining) counted(open opener) opener {
	return func(m *meter, w io.Writer) (io.WriteCloser, error) {
		z, err := open(m, w)
		return &chained{WriteCloser: z, chaining: c, m: m}, err
	}
}

type chained struct {
	io.WriteCloser
	chaining
	m *meter

	seen  int      // positions
	four  uint32   // the last bytes
	count []uint32 // by hash: positions in the window
	last  []int    // by hash: the last position, counted from 1
	ring  []uint32 // by position: its hash
	dist  int      // from the position before to the last that hashes alike
	run   int      // how many positions in a row have that distance
}

func (c *chained) Write(p []byte) (int, error) {
	if err := c.m.Spend(c.steps(p)); err != nil {
		return 0, err
	}
	return c.WriteCloser.Write(p)
}

// steps estimates what is looked at for p.
func (c *chained) steps(p []byte) int {
	if c.count == nil {
		c.count, c.last = make([]uint32, 1<<chainBits), make([]int, 1<<chainBits)
		c.ring = make([]uint32, c.window)
	}
	n := 0
	for _, b := range p {
		c.four = c.four<<8 | uint32(b)
		h := c.hash(c.four)
		old := &c.ring[c.seen%c.window]
		if c.seen >= c.window {
			c.count[*old]--
		}
		*old = h
		c.seen++
		if d := c.seen - c.last[h]; d != c.dist {
			c.dist, c.run = d, 0
		}
		if c.run++; c.run < chainRun {
			n += min(int(c.count[h]), c.most)
		}
		c.last[h] = c.seen
		c.count[h]++
	}
	return n / c.high
}
