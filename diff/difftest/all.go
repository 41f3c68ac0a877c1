// Package difftest builds small images of every format, in Go alone, for the
// tests of whatever reads them.
package difftest

import "slices"

// A Sample is a small, well-formed image and the name of its format.
type Sample struct {
	Name, Format string
	Data         []byte
}

// Samples returns samples of every format.
func Samples() []Sample {
	return slices.Concat(
		directorySamples(),
		tarSamples(),
		cpioSamples(),
		elfSamples(),
		uimageSamples(),
		fdtSamples(),
		squashfsSamples(),
		extSamples(),
		gptSamples(),
		fatSamples(),
		mbrSamples(),
		gzipSamples(),
		xzSamples(),
		lzmaSamples(),
		zlibSamples(),
		zstdSamples(),
		lz4Samples(),
		bzip2Samples(),
		lzopSamples(),
		lzipSamples(),
	)
}
