package difftest

import "slices"

// Made of compressedText by lzip 1.23 with the options in the comments.
func lzipSamples() []Sample {
	// lzip -c
	one := unbase64("TFpJUAEMADCc7MJ8ZiqFAIzqqSJY9HdP4DBqNp2n///9hYAAg8yDBS0BAAAAAAAAOAAAAAAAAAA=")
	return []Sample{
		{"lzip", "lzip", one},
		{"lzip two members", "lzip", slices.Concat(one, one)},
	}
}
