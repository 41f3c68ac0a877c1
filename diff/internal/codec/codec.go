// Package codec is the one door through which compressed bytes enter the
// program: no other package imports a compressor.
//
// # Walkers
//
// A walker ([WalkGzip], [WalkXZ], [WalkLZMA], [WalkDeflate], [WalkZlib], [WalkZstd],
// [WalkLZ4], [WalkBzip2], [WalkLzop], [WalkLzip]) starts at offset 0 of an
// [io.ReaderAt] and finds where one container ends, exactly, and what each
// of its bytes is for. The fields it returns tile the extent: ordered, without
// gap or overlap. What follows the extent is the caller's to account for. A
// walker believes no size, count or checksum it has not verified against the
// bytes, and allocates a fixed amount plus what the fields found take.
//
// # Codecs
//
// A codec ([All]) decodes one whole extent and encodes it again:
//
//	deflate@1     a raw DEFLATE stream, RFC 1951
//	xz@1          .xz streams and the padding between them, xz-file-format 1.2.1;
//	              filters LZMA2, delta and BCJ for x86, PowerPC, IA-64, ARM,
//	              ARM-Thumb, SPARC; checks none, CRC32, CRC64, SHA-256
//	lzma@1        one .lzma ("alone") file: header of 13 bytes and LZMA data
//	zlib@1        a zlib stream without dictionary, RFC 1950
//	zstd@1        Zstandard frames without dictionary, RFC 8878
//	lz4@1         LZ4 frames without dictionary and legacy frames
//	lz4-block@1   one LZ4 block, which ends where the input does
//	bzip2@1       bzip2 streams
//	lzo1x@1       one LZO1X block with its end marker
//	lzop@1        the blocks of a file of lzop with Adler-32 of the content, the end
//	              mark included, without the header
//	lzop-crc32@1  the same with CRC-32
//	lzop-plain@1  the same without checksums
//	lzip@1        lzip members
//
// Skippable frames, which decode to nothing, are no input of zstd@1 and lz4@1.
//
// Decode consumes all of its input or fails: bytes after the end of the
// compressed stream are an error, never dropped. The zeros that a .xz file may
// end with are input like any other.
//
// Decoding does not show that the input is the only encoding of what comes out,
// and no format here has just one: the padding bits of DEFLATE ([Deflate] lists
// them), the choice of matches, the last bytes of an LZMA stream that states
// its size and has a marker too, all leave room. Only encoding again with a
// named setting and comparing every byte does.
//
// # Names and versions
//
// Ledgers name codecs and settings, so both are stable. The number after '@' is
// the version of everything behind the name: what the decoder accepts, and the
// exact bytes of every setting. It is raised when any of these changes, a new Go
// release included: the encoders of the setting group "go-flate" are those of
// the standard library the program was built with. A test holds the digest of
// what every setting writes and fails when one moves. A semicolon in a setting's
// name precedes what it asks of a decoder, as a dictionary or a check; settings that
// say the same there differ in effort alone. A binary built with
// another encoder nevertheless cannot call wrong bytes right: a setting counts
// only if encoding with it again reproduces the bytes, so the worst an alien
// encoder does is to reproduce nothing.
//
// # Limits
//
// The adversary wrote the input. Everything expanding is held to [Limits]; going
// over one is a [LimitError], which callers tell apart from damaged data: damage
// is a finding, a limit leaves the question undecided. Memory stays within a few
// MiB, whatever the input says, and the dictionary: of .lzma, .xz, lzip and Zstandard
// data the decoder takes what the header asks for, at most Limits.MaxDict, and of a
// Zstandard frame of less than 32 KiB no more than its blocks can fill; WalkLZMA and
// WalkLzip no more than eight times what has come out. Encoding .xz and .lzma takes
// 192 MiB at most: presets with large dictionaries give up on large input. Encoding takes
// steps in proportion to the content at most, and then ends with a LimitError: encoders
// count the positions that they look at, the bytes that they compare and the prices that
// they work out, so what one machine gives up on every other does. What the first run of a
// setting can do the next can do too, in a recheck. A search through the settings, under a
// context of [Codec.Search], takes no more than two runs may. Work stops soon after its context
// ends.
package codec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// RatioFloor is the output, in bytes, up to which no ratio is too high.
// Honest padding compresses a thousandfold; it takes size to make it a bomb.
const RatioFloor = 64 << 20

// DefaultDict is the dictionary limit where Limits.MaxDict is 0, in bytes. It is
// what "xz -9" asks for.
const DefaultDict = 64 << 20

// Limits bound what decoding may cost. The zero value lets nothing expand.
type Limits struct {
	MaxExpanded int64 // decoded bytes; 0 allows none
	MaxRatio    int64 // decoded to encoded, once decoded exceeds RatioFloor; 0 allows no more than the floor
	MaxDict     int64 // dictionary bytes a header may ask for; 0 means DefaultDict
}

func (l Limits) dict() int64 {
	if l.MaxDict == 0 {
		return DefaultDict
	}
	return l.MaxDict
}

// checkDict says whether a header may have a dictionary of n bytes.
func (l Limits) checkDict(n int64) error {
	if n <= l.dict() {
		return nil
	}
	return &LimitError{
		Limit:  "dict",
		Detail: fmt.Sprintf("the header asks for a dictionary of %d bytes, %d are allowed", n, l.dict()),
	}
}

// checkOutput says whether out decoded bytes are allowed after in encoded ones.
func (l Limits) checkOutput(out, in int64) error {
	if out > l.MaxExpanded {
		return &LimitError{
			Limit:  "expanded",
			Detail: fmt.Sprintf("more than %d bytes come out of the first %d", l.MaxExpanded, in),
		}
	}
	// out/in > MaxRatio, without overflow.
	if out > RatioFloor && (in <= 0 || l.MaxRatio <= 0 || (out-1)/in >= l.MaxRatio) {
		return &LimitError{
			Limit:  "ratio",
			Detail: fmt.Sprintf("%d bytes come out of the first %d, a ratio of %d is allowed", out, in, l.MaxRatio),
		}
	}
	return nil
}

// A LimitError says that work was stopped because it became too much, which
// says nothing about whether the data are sound.
type LimitError struct {
	Limit  string // "expanded", "ratio", "dict", "time", "parts" or "effort"
	Detail string
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("limit %q exceeded: %s", e.Limit, e.Detail)
}

// Unwrap makes a "time" limit a context.DeadlineExceeded too.
func (e *LimitError) Unwrap() error {
	if e.Limit == "time" {
		return context.DeadlineExceeded
	}
	return nil
}

// alive returns why ctx ended, a deadline as a LimitError, or nil.
func alive(ctx context.Context) error {
	err := ctx.Err()
	if errors.Is(err, context.DeadlineExceeded) {
		return &LimitError{Limit: "time", Detail: "the deadline passed"}
	}
	return err
}

// A Range is Len bytes from offset Off of the walked reader.
type Range struct{ Off, Len int64 }

// End is the offset after the last byte.
func (r Range) End() int64 { return r.Off + r.Len }

// A Field is a run of bytes of a container with one purpose. Names are listed
// at the walker that returns them.
type Field struct {
	Name   string
	Stream int // number of the stream, frame or member, -1 where there is one alone
	Block  int // number of the block in its stream, -1 outside of blocks
	Range
}

// Path names the field within its container, such as "stream[0].block[2].data".
func (f Field) Path() string {
	name := f.Name
	if f.Block >= 0 {
		name = fmt.Sprintf("block[%d].%s", f.Block, name)
	}
	if f.Stream >= 0 {
		name = fmt.Sprintf("stream[%d].%s", f.Stream, name)
	}
	return name
}

// A Codec decodes and encodes under one name. Its methods may be called
// concurrently.
type Codec struct {
	name     string
	lim      Limits
	decode   func(context.Context, Limits, io.Writer, io.Reader) error
	encoders []encoder
}

// All returns every codec, each decoding within lim, in a fixed order.
func All(lim Limits) []*Codec {
	return []*Codec{
		{name: "deflate@1", lim: lim, decode: decodeDeflate, encoders: deflateEncoders()},
		{name: "xz@1", lim: lim, decode: decodeXZ, encoders: xzEncoders()},
		{name: "lzma@1", lim: lim, decode: decodeLZMA, encoders: lzmaEncoders()},
		{name: "zlib@1", lim: lim, decode: decodeZlib, encoders: zlibEncoders()},
		{name: "zstd@1", lim: lim, decode: decodeZstd, encoders: zstdEncoders()},
		{name: "lz4@1", lim: lim, decode: decodeFrames(lz4Frame), encoders: lz4Encoders()},
		{name: "lz4-block@1", lim: lim, decode: decodeLZ4Block, encoders: lz4BlockEncoders()},
		{name: "bzip2@1", lim: lim, decode: decodeBzip2},
		{name: "lzo1x@1", lim: lim, decode: decodeLZO, encoders: lzoBlockEncoders()},
		{name: "lzop@1", lim: lim, decode: lzopAdlerBlocks.decode, encoders: lzopEncoders(lzopAdlerBlocks)},
		{name: "lzop-crc32@1", lim: lim, decode: lzopCRCBlocks.decode, encoders: lzopEncoders(lzopCRCBlocks)},
		{name: "lzop-plain@1", lim: lim, decode: lzopPlainBlocks.decode, encoders: lzopEncoders(lzopPlainBlocks)},
		{name: "lzip@1", lim: lim, decode: decodeLzip},
	}
}

// Name returns the name with the version, such as "deflate@1".
func (c *Codec) Name() string { return c.name }

// Decode writes to w what r decodes to. It consumes r to its end, where the
// compressed stream must end too, or returns an error. What was written before
// an error is not to be used.
func (c *Codec) Decode(ctx context.Context, w io.Writer, r io.Reader) error {
	if err := c.decode(ctx, c.lim, w, r); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// Settings returns the settings that Encode knows, likeliest first. It may be
// empty.
func (c *Codec) Settings() []string { return names(c.encoders) }

// Encode writes r, encoded with the setting, to w. The same input gives the
// same bytes however r cuts it into reads.
func (c *Codec) Encode(ctx context.Context, setting string, w io.Writer, r io.Reader) error {
	i := slices.IndexFunc(c.encoders, func(e encoder) bool { return e.name == setting })
	if i < 0 {
		return fmt.Errorf("%s: setting %q: unknown to this version of the program", c.name, setting)
	}
	if err := encode(newMeter(ctx), c.encoders[i], w, r); err != nil {
		return fmt.Errorf("%s: %s: %w", c.name, setting, err)
	}
	return nil
}
