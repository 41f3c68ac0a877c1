// Package format holds the container formats assay lays out, one file each.
package format

import "github.com/assaylab/assay/diff"

// All returns every format, most specific first: the first whose Detect
// accepts an input lays it out.
func All() []*diff.Format {
	return []*diff.Format{
		directory,
		tar,
		cpio,
		elf,
		uimage,
		devicetree,
		squashFS,
		extfs,
		gpt,
		fatVolume,
		mbr, // after FAT: both end in the same two bytes
		gzip,
		xz,
		zstd,
		lz4,
		bzip2,
		lzop,
		lzip,
		zlib, // a weak magic
		lzma, // the last: it has no magic
	}
}
