// Package lzoexact writes LZO1X blocks bit for bit as liblzo2 2.10 writes them on a
// 64-bit little-endian machine.
//
// A block is what one call of the library makes of one buffer, with the end marker
// that all of them have:
//
//	LZO1X1, LZO1X111, LZO1X112, LZO1X115   one table of the last position of each
//	    hash, of 14, 11, 12 and, for all its name, 13 bits. The input is taken in
//	    pieces of 48 KiB; steps grow while nothing matches. "lzop" and "lzop -2" to
//	    "-6" use LZO1X1, "lzop -1" LZO1X115, mksquashfs -Xalgorithm any of them. Linux
//	    has 13 bits too.
//	LZO1X999   chains of positions over 48 KiB, and up to two bytes looked ahead for
//	    a better match, at levels 1 to 9. mksquashfs uses level 8 unless told
//	    otherwise; mkfs.ubifs and mkfs.jffs2 do too. "lzop -7" to "-9" use the level
//	    and then lzo1x_optimize, which rearranges what came out: Optimize.
//
// A writer holds the block, what comes of it and up to 500 KiB of tables. It is not
// trusted: one that is wrong reproduces nothing.
package lzoexact
