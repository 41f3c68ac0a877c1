// Package lz4exact writes LZ4 blocks, frames and legacy files bit for bit as
// liblz4 1.9 and its tool lz4 write them on a 64-bit little-endian machine.
//
// # Blocks
//
// A block is what one call of the library makes of one buffer, as in squashfs:
//
//	level 1, 2   LZ4_compress_default; one table of the last position of each hash
//	level 3-9    LZ4_compress_HC: chains of positions, the best of overlapping matches
//	level 10-12  LZ4_compress_HC: the cheapest parse over 4096 bytes
//
// mksquashfs uses level 1, with -Xhc level 12. Acceleration (lz4 --fast=N) takes
// longer steps where nothing matches, at level 1 only.
//
// Blocks under 65,547 bytes have a table of their own kind at level 1; what a table
// was used for before never shows, since one is fresh for each independent block.
//
// # Frames
//
// A frame is as the tool writes it: a header, blocks of 64 KiB to 4 MiB (the
// default), each stored if it would not shrink, an end mark, a checksum of the
// content. If all fits in less than one block, header and block take the least
// size it fits in. Blocks are independent, or linked (-BD): then the 64 KiB before
// are there to match with, but no match that begins in a block is stretched back
// over its beginning. A legacy file (-l, and the kernel's) has blocks of 8 MiB and
// no checksum.
//
// # Cost
//
// A writer holds a block, what comes of it, and up to 256 KiB of tables. It is
// not trusted: one that is wrong reproduces nothing.
package lz4exact
