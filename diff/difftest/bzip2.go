package difftest

import "slices"

// Made of compressedText by bzip2 1.0.8 with the options in the comments.
func bzip2Samples() []Sample {
	// bzip2 -c
	one := unbase64("QlpoOTFBWSZTWajjwVUAAChZgAAQQAAAECMgHmAgAFCAaAApVGgaNNtyaJyTFHGSZJgnhPicEyTRNE0TBPxdyRThQkKjjwVU")
	return []Sample{
		{"bzip2", "bzip2", one},
		{"bzip2 two streams", "bzip2", slices.Concat(one, one)},
	}
}
