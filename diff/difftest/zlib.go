package difftest

import "slices"

// Made of compressedText by pigz 2.6 with the options in the comments.
func zlibSamples() []Sample {
	// pigz -9 -z -c
	one := unbase64("eNpLLC5OrFRIy6woKS1KtVJIHOXi5nIBAOFVcLM=")
	return []Sample{
		{"zlib", "zlib", one},
		{"zlib, filler", "zlib", slices.Concat(one, make([]byte, 20))},
	}
}
