package difftest

import "slices"

// Made of compressedText by lzop 1.04 with the options in the comments.
func lzopSamples() []Sample {
	// lzop -9 -c
	adler := unbase64("iUxaTwANChoKEEAgoAlAAwkDAAANAAAAAGsExWIAAAAAACtcAwwAAAEtAAAAGOFVcLMgYXNzYXkgZml4dHVyZTogIPw5AAoR" +
		"AAAAAAAA")
	// lzop --crc32 -N -c f
	named := unbase64("iUxaTwANChoKEEAgoBABAQUDABEIAACBpGsExWIAAAAAAWYUPNqFAAABLQAAACoFg8yDDGFzc2F5IGZpeHR1cmU6ICDrOAAP" +
		"OiBhc3NheSBmaXh0dXJlOiAKEQAAAAAAAA==")
	// lzop -F -c
	plain := unbase64("iUxaTwANChoKEEAgoAlAAQUDAAAMAAAAAGsExWIAAAAAACrgAwUAAAEtAAAAKgxhc3NheSBmaXh0dXJlOiAg6zgADzogYXNz" +
		"YXkgZml4dHVyZTogChEAAAAAAAA=")
	return []Sample{
		{"lzop", "lzop", adler},
		{"lzop crc32, named", "lzop", named},
		{"lzop without checksums", "lzop", plain},
		{"lzop two files", "lzop", slices.Concat(adler, named)},
	}
}
