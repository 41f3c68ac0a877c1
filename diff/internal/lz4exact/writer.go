package lz4exact

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// A Format is what the blocks are wrapped in.
type Format int

const (
	Block  Format = iota // one block and nothing else
	Frame                // a frame, as "lz4" writes it
	Legacy               // a legacy file, as "lz4 -l" writes it
)

// MaxBlock is the largest input of one block, in bytes: that of a legacy file.
const MaxBlock = 8 << 20

// Options say what the encoder was told. The zero value is refused: there is no
// default level.
type Options struct {
	Format       Format
	Level        int // 1 to 12
	Acceleration int // level 1: 0 is 1; lz4 --fast=N is N+1

	// Room is what the caller of the library leaves for a Block, in bytes; 0 is
	// enough for any. Where the library might need more, the writer fails with
	// [ErrRoom].
	Room int

	BlockSize     int   // Frame: 64 KiB, 256 KiB, 1 MiB or 4 MiB; 0 is 4 MiB
	Linked        bool  // Frame: blocks match with those before
	BlockChecksum bool  // Frame: each block is followed by its checksum
	NoChecksum    bool  // Frame: no checksum of the content at the end
	ContentSize   int64 // Frame: what the header says of the content, in bytes; 0 is nothing

	// Work, unless it is nil, is told what searches for matches come to at level 3 and
	// up, while they do: a step for each position looked at and for each eight bytes
	// found alike. An error of it ends the encoding and is what the writer returns.
	Work interface{ Spend(steps int) error }
}

var (
	// ErrRoom says that a block did not fit the room it had.
	ErrRoom = errors.New("lz4exact: the block does not fit its room")

	errClosed = errors.New("lz4exact: the writer is closed")
)

const history = 64 << 10 // bytes before a linked block that it may match with

// NewWriter returns a writer that sends to w what the encoder makes of the bytes
// written. What it writes ends with Close, which does not close w. After the first
// error of w nothing more is encoded, and every call returns that error.
func NewWriter(w io.Writer, o Options) (io.WriteCloser, error) {
	if o.BlockSize == 0 {
		o.BlockSize = 4 << 20
	}
	if o.Acceleration == 0 {
		o.Acceleration = 1
	}
	e := &encoder{w: w, o: o, size: o.BlockSize}
	switch {
	case o.Level < 1 || o.Level > 12:
		return nil, fmt.Errorf("lz4exact: level %d: want 1 to 12", o.Level)
	case o.Acceleration < 1 || o.Acceleration > 65537 || o.Acceleration > 1 && o.Level > 1:
		return nil, fmt.Errorf("lz4exact: acceleration %d at level %d: want 1 to 65537 at level 1", o.Acceleration, o.Level)
	case o.Room < 0 || o.Room > 0 && o.Format != Block:
		return nil, fmt.Errorf("lz4exact: room of %d bytes: want a positive number, for a single block", o.Room)
	case o.ContentSize < 0:
		return nil, fmt.Errorf("lz4exact: content of %d bytes: want a positive number", o.ContentSize)
	case o.Format == Block || o.Format == Legacy:
		e.size = MaxBlock
		e.o.Linked = false
	case o.Format != Frame:
		return nil, fmt.Errorf("lz4exact: no format %d", o.Format)
	case sizeCode(o.BlockSize) == 0:
		return nil, fmt.Errorf("lz4exact: blocks of %d bytes: want 64 KiB, 256 KiB, 1 MiB or 4 MiB", o.BlockSize)
	}
	return e, nil
}

// sizeCode is how a frame's header names a size of blocks, or 0.
func sizeCode(n int) byte {
	for c := byte(4); c <= 7; c++ {
		if n == 1<<(8+2*c) {
			return c
		}
	}
	return 0
}

// An encoder gathers blocks.
type encoder struct {
	w      io.Writer
	o      Options
	size   int    // of a block
	buf    []byte // history, if blocks are linked, and the block so far
	start  int    // where the block begins in buf
	begun  bool   // the header is written
	blocks blocks
	sum    digest
	err    error
}

func (e *encoder) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && e.err == nil {
		k := min(len(p), e.start+e.size-len(e.buf))
		e.buf = append(e.buf, p[:k]...)
		p = p[k:]
		if len(e.buf)-e.start < e.size {
			break
		}
		switch {
		case e.o.Format != Block:
			e.err = e.flush()
		case len(p) > 0:
			e.err = fmt.Errorf("lz4exact: a block of more than %d bytes", MaxBlock)
		}
	}
	return n - len(p), e.err
}

func (e *encoder) Close() error {
	if e.err != nil {
		return e.err
	}
	if e.err = e.finish(); e.err != nil {
		return e.err
	}
	e.err = errClosed
	return nil
}

func (e *encoder) finish() error {
	if e.o.Format == Frame && !e.begun {
		// All fits in less than one block: the least that will do.
		size := 64 << 10
		for size < min(len(e.buf), e.o.BlockSize) {
			size <<= 2
		}
		e.o.BlockSize = min(size, e.o.BlockSize)
		e.o.Linked = false
	}
	if len(e.buf) > e.start || !e.begun {
		if err := e.flush(); err != nil {
			return err
		}
	}
	if e.o.Format != Frame {
		return nil
	}
	tail := make([]byte, 4, 8)
	if !e.o.NoChecksum {
		tail = binary.LittleEndian.AppendUint32(tail, e.sum.sum32())
	}
	_, err := e.w.Write(tail)
	return err
}

// flush writes the block in the buffer, after the header if it is the first.
func (e *encoder) flush() error {
	var out []byte
	if !e.begun {
		out = e.header()
		e.begun = true
	}
	data := e.buf[e.start:]
	at := len(out)
	switch e.o.Format {
	case Block:
		room := -1
		if e.o.Room > 0 && e.o.Room < bound(len(data)) {
			room = e.o.Room
		}
		var fits bool
		if out, fits = e.blocks.encode(e, out, room); !fits {
			return cmp.Or(e.blocks.err(), ErrRoom)
		}
	case Legacy:
		if len(data) == 0 {
			break
		}
		out, _ = e.blocks.encode(e, append(out, 0, 0, 0, 0), -1)
		if err := e.blocks.err(); err != nil {
			return err
		}
		binary.LittleEndian.PutUint32(out[at:], uint32(len(out)-at-4))
	default:
		e.sum.write(data)
		if len(data) == 0 {
			break
		}
		var fits bool
		out, fits = e.blocks.encode(e, append(out, 0, 0, 0, 0), len(data)-1)
		if err := e.blocks.err(); err != nil {
			return err
		}
		if fits {
			binary.LittleEndian.PutUint32(out[at:], uint32(len(out)-at-4))
		} else {
			out = append(out[:at+4], data...)
			binary.LittleEndian.PutUint32(out[at:], 1<<31|uint32(len(data)))
		}
		if e.o.BlockChecksum {
			var d digest
			d.write(out[at+4:])
			out = binary.LittleEndian.AppendUint32(out, d.sum32())
		}
	}
	if e.o.Linked {
		keep := min(len(e.buf), history)
		e.start = copy(e.buf, e.buf[len(e.buf)-keep:])
	}
	e.buf = e.buf[:e.start]
	if len(out) == 0 {
		return nil
	}
	_, err := e.w.Write(out)
	return err
}

// header is what stands before the first block.
func (e *encoder) header() []byte {
	switch e.o.Format {
	case Block:
		return nil
	case Legacy:
		return binary.LittleEndian.AppendUint32(nil, 0x184c2102)
	}
	b := binary.LittleEndian.AppendUint32(nil, 0x184d2204)
	flags := byte(1 << 6)
	if !e.o.Linked {
		flags |= 1 << 5
	}
	if e.o.BlockChecksum {
		flags |= 1 << 4
	}
	if e.o.ContentSize > 0 {
		flags |= 1 << 3
	}
	if !e.o.NoChecksum {
		flags |= 1 << 2
	}
	b = append(b, flags, sizeCode(e.o.BlockSize)<<4)
	if e.o.ContentSize > 0 {
		b = binary.LittleEndian.AppendUint64(b, uint64(e.o.ContentSize))
	}
	var d digest
	d.write(b[4:])
	return append(b, byte(d.sum32()>>8))
}

// bound is the room in which any block fits, LZ4_compressBound.
func bound(n int) int { return n + n/255 + 16 }

// blocks encode one block after the other. Only linked ones share tables.
type blocks struct {
	fast    *fast
	high    *high
	optimal *optimal
	end     uint32 // the index after the last block, if it is there to match with
}

// tables are how the levels 3 to 12 search: positions to look at, and from 10 on
// the length that is good enough.
var tables = [13]struct{ attempts, enough int }{
	3: {4, 0}, 4: {8, 0}, 5: {16, 0}, 6: {32, 0}, 7: {64, 0}, 8: {128, 0}, 9: {256, 0},
	10: {96, 64}, 11: {512, 128}, 12: {16384, horizon},
}

// err is why the last block was given up, or nil.
func (b *blocks) err() error {
	if b.high == nil {
		return nil
	}
	return b.high.err
}

// far is the index from which tables start over, so that no index overflows.
const far = 1 << 30

// encode appends the block e.buf[e.start:] to out, unless it might need more room.
func (b *blocks) encode(e *encoder, out []byte, room int) ([]byte, bool) {
	s := &sequences{out: out, from: len(out), limit: room}
	size := uint32(len(e.buf) - e.start)
	if e.o.Level < 3 {
		if b.fast == nil || !e.o.Linked {
			b.fast = &fast{small: !e.o.Linked && size < smallBlock, accel: e.o.Acceleration}
			b.end = 0
		}
		if b.end > far {
			b.fast.rebase(b.end - 2*history)
			b.end = 2 * history
		}
		fits := b.fast.block(s, e.buf, e.start, b.end-uint32(e.start))
		b.end += size
		return s.out, fits
	}
	if b.high == nil || !e.o.Linked {
		b.high = newHigh()
		b.high.work = e.o.Work
		t := tables[e.o.Level]
		b.high.attempts, b.high.patterns = t.attempts, e.o.Level >= 9
		b.optimal = nil
		if e.o.Level >= 10 {
			b.optimal = &optimal{high: b.high, enough: t.enough, all: e.o.Level == 12}
		}
		b.end = b.high.start
	}
	b.high.begin(e.buf, e.start)
	var fits bool
	if b.optimal != nil {
		fits = b.optimal.block(s)
	} else {
		fits = b.high.chains(s)
	}
	return s.out, fits
}

// A digest is XXH32 with seed 0, from the description of xxHash.
type digest struct {
	lanes [4]uint32
	buf   [16]byte
	n     uint64
}

const (
	prime1 = 2654435761
	prime2 = 2246822519
	prime3 = 3266489917
	prime4 = 668265263
	prime5 = 374761393
)

func (d *digest) write(p []byte) {
	if d.n == 0 {
		d.lanes = [4]uint32{prime1 + prime2 - 1<<32, prime2, 0, 1<<32 - prime1}
	}
	k := int(d.n % 16)
	d.n += uint64(len(p))
	if k > 0 {
		m := copy(d.buf[k:], p)
		if p = p[m:]; k+m < 16 {
			return
		}
		d.stripe(d.buf[:])
	}
	for ; len(p) >= 16; p = p[16:] {
		d.stripe(p)
	}
	copy(d.buf[:], p)
}

func (d *digest) stripe(p []byte) {
	for i := range d.lanes {
		d.lanes[i] = bits.RotateLeft32(d.lanes[i]+binary.LittleEndian.Uint32(p[4*i:])*prime2, 13) * prime1
	}
}

func (d *digest) sum32() uint32 {
	h := uint32(prime5)
	if d.n >= 16 {
		h = 0
		for i, r := range [4]int{1, 7, 12, 18} {
			h += bits.RotateLeft32(d.lanes[i], r)
		}
	}
	h += uint32(d.n)
	p := d.buf[:d.n%16]
	for ; len(p) >= 4; p = p[4:] {
		h = bits.RotateLeft32(h+binary.LittleEndian.Uint32(p)*prime3, 17) * prime4
	}
	for _, c := range p {
		h = bits.RotateLeft32(h+uint32(c)*prime5, 11) * prime1
	}
	h = (h ^ h>>15) * prime2
	h = (h ^ h>>13) * prime3
	return h ^ h>>16
}
