// Package deflate writes raw DEFLATE streams (RFC 1951) bit for bit as two C
// programs write them: zlib, and GNU gzip, whose deflate is not zlib's.
//
// # What is alike
//
// Both slide a window of two halves over the input, keep chains of the positions
// whose next three bytes hash alike, and take the longest of the matches that
// they look at; levels 1 to 3 at once, levels 4 to 9 after a look at the next
// byte. The level says how long a chain is followed and when a match is good
// enough. A block ends when the buffer of symbols is full; it is written stored,
// with the fixed codes or with its own, whichever is shortest.
//
// # What differs
//
//	                       zlib                            gzip
//	hash, in bits          memLevel + 7                    15
//	symbols in a block     1<<(memLevel+6) - 1             32767
//	block ends early       never                           level 3 up, each 4096 symbols: where
//	                                                       matches are few, and halve the size
//	window, in bits        8 (taken as 9) to 15            15
//	matches of three       refused beyond 4096             the same
//	                       (filtered: all up to five)
//	end of the input       matches end with it             the search runs on into what the window
//	                                                       held before; only then they are cut
//	last 262 bytes of      like the others                 no search, where the input ends in them
//	the window
//
// What the window of gzip held before is the same data 32 KiB earlier, or zeros.
// In the second and later files of one call it is what an earlier file left, which
// nothing tells: a match near the end of such a file may come out otherwise.
//
// zlib is that of 1.2.5.1 to 1.3.1, with two exceptions: up to 1.2.11 the strategy
// fixed weighs a stored block against the block's own codes, and level 0, stored,
// depended on the room for output and still does where that is small. Here it is as
// if the output had room for everything: compress2 and its like.
//
// # How the input is cut
//
// This package takes the input as if it were all there at the first call, however
// it is cut into writes. Programs that feed zlib piece by piece without flushing
// get the same: nothing is decided with less than 262 bytes ahead. Two things
// depend on when the window slides: a match at the greatest distance of all
// (32,506), where the position at that distance is the first of the window, and
// whether a block that began before the window can be written stored. The slide
// moves only if a piece ends within 262 bytes of the window's end; pieces of a
// power of two up to 32 KiB never do. gzip reads whole windows from a file; from a
// pipe it is as with zlib.
//
// # Cost
//
// One encoder for both, rather than zlib's C translated to Go (modernc.org/z, zlib
// 1.2.11) for one of them: on 18 MB of Perl modules in a tar, levels 1, 6 and 9, in
// MB/s, it came to 61, 24 and 8.9 for zlib's and 73, 22 and 9.1 for gzip's; the
// translation, which gives the same bytes, to 41, 14 and 5.9; C's zlib to 77, 25 and
// 11. The translation adds 1.3 MB to a program, eight modules and memory that no
// garbage collector frees.
//
// A writer holds 64 KiB of window, up to 192 KiB of tables and 128 KiB of symbols,
// whatever the input. The encoder is not trusted: one that is wrong reproduces
// nothing.
package deflate
