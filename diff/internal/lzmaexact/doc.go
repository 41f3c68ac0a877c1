// Package lzmaexact compresses as liblzma of XZ Utils 5.4.1 does, bit for bit.
//
// Compressed data have many spellings, and the one that a file has is harmless only
// if an encoder with known settings makes it again. This package is such an encoder
// for what is compressed by xz, by mksquashfs, and by everything else that calls
// liblzma. It is not trusted: an encoder that is wrong merely reproduces nothing.
//
// # What is reproduced
//
//	written by                                   Options
//	xz -0 .. -9, -0e .. -9e, one thread          Format XZ, Preset, Extreme, Check
//	xz --block-size=N, one thread                and BlockSize
//	xz -T0, any number of threads but one        Format XZThreaded
//	xz --lzma2=dict=,lc=,lp=,pb=,mode=,nice=,    Dict, Props, Mode, Nice, Finder, Depth
//	  mf=,depth=
//	xz --x86 and so on, before --lzma2           BCJ
//	xz --format=lzma                             Format Alone, the rest likewise
//	xz --format=raw --lzma2                      Format LZMA2
//	mksquashfs -comp xz, data and fragments      Format XZBuffer, Preset 6, CRC32, Dict of the
//	                                             block size, BCJ if it came to less
//	mksquashfs -comp xz, metadata                the same, Dict 8192, no BCJ
//	mksquashfs -comp lzma                        Format Alone, Preset 5, Dict of the block size
//	                                             (8192 for metadata), Size
//
// # Why it can be done
//
// All that liblzma decides follows from the bytes and the options: what its match
// finder keeps and in which order, how many candidates it looks at, what it believes
// symbols to cost and when it works that out anew, how far its parser looks, where
// LZMA2 ends a chunk. Sizes of tables are part of that, since entries collide.
//
// How the input is cut into calls is not: the encoder stops where fewer bytes follow
// than the parser could read, lookahead and the longest match, until it is told that
// the input ends; and where its window moves does not show either. So one call of
// lzma_stream_buffer_encode and 8 KiB at a time from the xz tool differ only in the
// container: whether block headers give sizes, how much room they have for them,
// and that a block written at once is stored if it would grow.
//
// # Bounds
//
// Work is at most Depth comparisons of Nice bytes for each byte of input, and memory
// as [Options.Memory] says. A write to the writer below that fails ends it all.
//
// The formats: "The .xz File Format" 1.2.1; the LZMA specification of the LZMA SDK;
// XZ Utils for the choices that an encoder is free to make.
package lzmaexact
