package difftest

import (
	"encoding/binary"
	"slices"
)

// Made of compressedText by zstd 1.5.4 with the options in the comments.
func zstdSamples() []Sample {
	// zstd -q -c f
	sized := unbase64("KLUv/WQtAL0AAIBhc3NheSBmaXh0dXJlOiAKAQAaos46wJNHvg==")
	// zstd -q -19 --no-check -c
	open := unbase64("KLUv/QBovQAAgGFzc2F5IGZpeHR1cmU6IAoBABqizjo=")
	return []Sample{
		{"zstd sized", "zstd", sized},
		{"zstd open", "zstd", open},
		{"zstd two frames", "zstd", slices.Concat(sized, open)},
		{"zstd skippable", "zstd", slices.Concat(skippable("a seek table"), sized, skippable(""), open)},
	}
}

// skippable is a frame that decoders of Zstandard and LZ4 pass over.
func skippable(data string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0x184d2a5e)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}
