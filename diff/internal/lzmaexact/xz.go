package lzmaexact

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"math"
)

const (
	xzMagic     = "\xfd7zXZ\x00"
	xzEnd       = "YZ"
	filterLZMA2 = 0x21
	// blockExtra is what a threaded encoder allots to a block besides its chunks.
	blockExtra = 92
)

// A record is what the index says of a block.
type record struct{ unpadded, size int64 }

// A container writes the .xz around blocks.
type container struct {
	w       io.Writer
	check   Check
	records []record
}

func newHash(c Check) hash.Hash {
	switch c {
	case CRC32:
		return littleEndian{crc32.NewIEEE()}
	case CRC64:
		return littleEndian{crc64.New(crc64.MakeTable(crc64.ECMA))}
	case SHA256:
		return sha256.New()
	}
	return nil
}

// A littleEndian is a hash whose sum is spelled the other way around.
type littleEndian struct{ hash.Hash }

func (h littleEndian) Sum(p []byte) []byte {
	n := len(p)
	p = h.Hash.Sum(p)
	for i, j := n, len(p)-1; i < j; i, j = i+1, j-1 {
		p[i], p[j] = p[j], p[i]
	}
	return p
}

func appendCRC(p []byte, of []byte) []byte {
	return binary.LittleEndian.AppendUint32(p, crc32.ChecksumIEEE(of))
}

func (c *container) head() error {
	h := append([]byte(xzMagic), 0, byte(c.check))
	_, err := c.w.Write(appendCRC(h, h[len(xzMagic):]))
	return err
}

// finish writes the index and the footer.
func (c *container) finish() error {
	p := binary.AppendUvarint([]byte{0}, uint64(len(c.records)))
	for _, r := range c.records {
		p = binary.AppendUvarint(p, uint64(r.unpadded))
		p = binary.AppendUvarint(p, uint64(r.size))
	}
	p = pad(p)
	p = appendCRC(p, p)
	f := binary.LittleEndian.AppendUint32(nil, uint32(len(p)/4-1))
	f = append(f, 0, byte(c.check))
	p = append(appendCRC(p, f), f...)
	_, err := c.w.Write(append(p, xzEnd...))
	return err
}

func pad(p []byte) []byte { return append(p, make([]byte, -len(p)&3)...) }

// A blockHead is the header of a block.
type blockHead struct {
	bcj  BCJ
	dict uint32
	// compressed and size are told unless size is zero.
	compressed, size int64
}

// bytes returns the header, padded to at least length.
func (h blockHead) bytes(length int) []byte {
	p := []byte{0, 0}
	if h.size > 0 {
		p[1] |= 0xC0
		p = binary.AppendUvarint(p, uint64(h.compressed))
		p = binary.AppendUvarint(p, uint64(h.size))
	}
	if h.bcj != NoBCJ {
		p[1]++
		p = append(p, byte(h.bcj), 0)
	}
	p = pad(append(p, filterLZMA2, 1, dictByte(h.dict)))
	if n := length - 4 - len(p); n > 0 {
		p = append(p, make([]byte, n)...)
	}
	p[0] = byte(len(p) / 4)
	return appendCRC(p, p)
}

// A streamedBlock is a block that is written as it comes.
type streamedBlock struct {
	data counter // takes the chunks
	sum  hash.Hash
	size int64
	head int
}

// A counter counts what goes through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// begin writes the header of a block.
func (c *container) begin(h blockHead) (*streamedBlock, error) {
	p := h.bytes(0)
	b := &streamedBlock{data: counter{w: c.w}, sum: newHash(c.check), head: len(p)}
	_, err := c.w.Write(p)
	return b, err
}

// note says what was given to the encoder.
func (b *streamedBlock) note(p []byte) {
	b.size += int64(len(p))
	if b.sum != nil {
		b.sum.Write(p) // never fails
	}
}

// end writes what follows the data of a block.
func (c *container) end(b *streamedBlock) error {
	return c.close(b.head, b.data.n, b.size, b.sum)
}

// close writes padding and check of a block.
func (c *container) close(head int, data, size int64, sum hash.Hash) error {
	p := make([]byte, -data&3)
	unpadded := int64(head) + data
	if sum != nil {
		p = sum.Sum(p)
		unpadded += int64(sum.Size())
	}
	c.records = append(c.records, record{unpadded, size})
	_, err := c.w.Write(p)
	return err
}

var errTooLong = errors.New("longer than if it were stored")

// A bounded is a buffer that refuses to grow beyond max.
type bounded struct {
	bytes.Buffer
	max int64
}

func (b *bounded) Write(p []byte) (int, error) {
	if int64(b.Len()+len(p)) > b.max {
		return 0, errTooLong
	}
	return b.Buffer.Write(p)
}

// write writes a block of p at once, with its sizes in its header. Data that come
// to more than if they were stored are stored, without any filter. Where the
// encoder is threaded, whole is the size of a whole block, which both the room for
// data and that for the sizes are made for; otherwise it is 0.
func (c *container) write(h blockHead, p []byte, whole int64, encode func(io.Writer) error) error {
	size := int64(len(p))
	sum := newHash(c.check)
	if sum != nil {
		sum.Write(p) // never fails
	}
	h.compressed, h.size = storedLen(size), size
	room := h.compressed
	if whole > 0 {
		h.compressed, h.size = (storedLen(whole)+3)&^3+blockExtra, whole
	}
	length := len(h.bytes(0))
	if whole > 0 {
		// Header, data, padding and check together.
		room = h.compressed - int64(length)
		if sum != nil {
			room -= int64(sum.Size())
		}
	}
	out := bounded{max: room}
	h.size = size
	err := encode(&out)
	switch {
	case err == nil:
		h.compressed = int64(out.Len())
	case errors.Is(err, errTooLong):
		out = bounded{max: math.MaxInt64}
		h = blockHead{dict: minDict, compressed: storedLen(size), size: size}
		length = 0
		err = stored(&out, p) // in memory it never fails
	}
	if err != nil {
		return err
	}
	head := h.bytes(length)
	if _, err := c.w.Write(head); err != nil {
		return err
	}
	if _, err := c.w.Write(out.Bytes()); err != nil {
		return err
	}
	return c.close(len(head), h.compressed, size, sum)
}
