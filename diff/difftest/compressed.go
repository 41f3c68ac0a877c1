package difftest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"strings"
	"time"
)

// compressedText is what every compressed sample decodes to.
var compressedText = strings.Repeat("assay fixture: ", 20) + "\n"

func gzipSamples() []Sample {
	var plain, named, two bytes.Buffer
	for i, b := range []*bytes.Buffer{&plain, &named, &two, &two} {
		w, err := gzip.NewWriterLevel(b, gzip.BestCompression)
		if err != nil {
			panic(err)
		}
		if i == 1 {
			w.Name, w.Comment, w.Extra = "fixture.txt", "a comment", []byte("AS\x04\x00data")
			w.ModTime = time.Unix(1669357904, 0)
		}
		if _, err := w.Write([]byte(compressedText)); err != nil {
			panic(err)
		}
		if err := w.Close(); err != nil {
			panic(err)
		}
	}
	return []Sample{
		{"gzip plain", "gzip", plain.Bytes()},
		{"gzip named", "gzip", named.Bytes()},
		{"gzip two members", "gzip", two.Bytes()},
	}
}

func unbase64(s string) []byte {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// Made of compressedText by XZ Utils 5.4.1 with the options in the comments.
func xzSamples() []Sample {
	return []Sample{
		// xz -T1
		{"xz crc64", "xz", unbase64("/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4AEsABhdADCc7MJ8ZiqFAIzqqSJY9HdP4DBqMVgAAADcFtb6eSuVtwABNK" +
			"0CAAAAygIAfrHEZ/sCAAAAAARZWg==")},
		// xz -T1 --block-size=128 -C sha256
		{"xz sha256 blocks", "xz", unbase64("/Td6WFoAAArh+wyhAgAhARYAAAB0L+Wj4AB/ABZdADCc7MJ8ZiqFAIzqqSJY9Hc1diyXAAAAAACFjkmPVaieg2vhX2" +
			"ovVSj4VW3ZduMsBqYz13uyp/dKVQIAIQEWAAAAdC/lo+AAfwAWXQA8HQr/YEJgqMyUQXFur/3Ln/Nu+wAAAAAAN4Ww" +
			"A3a85h+EaucGpLDvCA1vtz1SSRHs2m6OBeZ1cjcCACEBFgAAAHQv5aPgACwAF10AOeGA8iApdnmxj+Tcy/fizV9FLI" +
			"1yAAAAANrMsQhoUmw6HzyYLj056YbyIbIPodIpSGQgNq6UQxoUAANKgAFKgAFLLQAABip7fhM6g9cDAAAAAApZWg==")},
		// xz -T1 -C none --x86 --lzma2=preset=1
		{"xz none x86", "xz", unbase64("/Td6WFoAAAD/EtlBAgEEACEBEACLIW9J4AEsABhdADCcyrXee42I33f7iQZ8PUpyCXVi4JI8AAAAASytAgAAADyChZ" +
			"GoAAr8AgAAAAAAWVo=")},
	}
}

func lzmaSamples() []Sample {
	return []Sample{
		// xz --format=lzma
		{"lzma alone", "lzma", unbase64("XQAAgAD//////////wAwnOzCfGYqhQCM6qkiWPR3T+Awajadp////YWAAA==")},
	}
}
