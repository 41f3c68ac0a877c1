package difftest

import "slices"

// Made of compressedText by lz4 1.9.4 with the options in the comments.
func lz4Samples() []Sample {
	// lz4 -q -c
	plain := unbase64("BCJNGGRApxsAAAD/AGFzc2F5IGZpeHR1cmU6IA8A/wdQcmU6IAoAAAAAnvyjFQ==")
	// lz4 -q -9 -B4D -BX --content-size -c f
	full := unbase64("BCJNGHxALQEAAAAAAAAhGwAAAP8AYXNzYXkgZml4dHVyZTogDwD/B1ByZTogClHP/a4AAAAAnvyjFQ==")
	// lz4 -q -l -c
	legacy := unbase64("AiFMGBsAAAD/AGFzc2F5IGZpeHR1cmU6IA8A/wdQcmU6IAo=")
	return []Sample{
		{"lz4 plain", "lz4", plain},
		{"lz4 every option", "lz4", full},
		{"lz4 legacy", "lz4", legacy},
		{"lz4 two frames", "lz4", slices.Concat(plain, full)},
		{"lz4 legacy, size", "lz4", slices.Concat(legacy, []byte{45, 1, 0, 0})}, // as Linux has its images
		{"lz4 skippable", "lz4", slices.Concat(plain, skippable("a seek table"), legacy)},
	}
}
