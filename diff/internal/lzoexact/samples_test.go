package lzoexact

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
)

// text returns n bytes that compress like program text: the same on each call.
func text(seed uint64, n int) []byte {
	words := []string{"load", "store", " ", "\n", "the ", "firmware", "\x00\x00\x00\x00", "reference ", "0x", "deployed", ", ", "r0", "    ", "return", "== ", "0123456789"}
	r := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, 0, n+16)
	for len(b) < n {
		if r.IntN(8) == 0 {
			b = append(b, byte(r.IntN(256)))
		}
		b = append(b, words[r.IntN(len(words))]...)
	}
	return b[:n]
}

// noise returns n bytes that do not compress: the same on each call.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// echo returns n bytes in which what comes has often been there before, near or far.
func echo(n int) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, 0, n+600)
	for len(b) < n {
		if r.IntN(3) > 0 && len(b) > 300 {
			far := 1 + r.IntN(min(len(b), 40000))
			if r.IntN(4) == 0 {
				far = 1 + r.IntN(min(far, 9))
			}
			for range 2 + r.IntN(1<<(1+r.IntN(9))) {
				b = append(b, b[len(b)-far])
			}
			continue
		}
		for range 1 + r.IntN(20) {
			b = append(b, byte(r.IntN(1<<(1+r.IntN(8)))))
		}
	}
	return b[:n]
}

// table returns n bytes of records that differ in a few places.
func table(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%08x T symbol_%d\n", i*i*40503, i%977)
	}
	return b.Bytes()[:n]
}

// A sample is an input with a name.
type sample struct {
	name string
	data []byte
}

// samples cover each kind of content and the sizes around the borders of pieces and
// blocks. Few leaves out most of what is longer than one window.
func samples(few bool) []sample {
	if few {
		return fewSamples()
	}
	return allSamples()
}

var (
	allSamples = sync.OnceValue(func() []sample { return makeSamples(false) })
	fewSamples = sync.OnceValue(func() []sample { return makeSamples(true) })
)

func makeSamples(few bool) []sample {
	var s []sample
	add := func(name string, data []byte) {
		if !few || len(data) < 10000 || len(data)%1000 == 0 {
			s = append(s, sample{fmt.Sprintf("%s-%d", name, len(data)), data})
		}
	}
	for _, n := range []int{0, 1, 2, 3, 4, 5, 17, 12, 13, 14, 20, 21, 22, 258, 300, 4096} {
		add("text", text(1, n))
	}
	for _, n := range []int{1, 100, 16384, 49152, 65535, 70001} {
		add("noise", noise(n))
	}
	for _, n := range []int{2, 3, 4, 258, 259, 515, 32768, 65536, 99999} {
		add("zeros", make([]byte, n))
	}
	for _, n := range []int{49151, 49152, 49153, 49172, 65535, 65536, 65537, 65546, 65547, 65548, 65800, 98304} {
		add("text", text(2, n))
	}
	for _, n := range []int{5000, 66000, 140001} {
		add("echo", echo(n))
		add("table", table(n))
	}
	add("mixed", bytes.Join([][]byte{text(3, 40000), noise(40000), make([]byte, 30001), table(20000), noise(34000), text(4, 20000)}, nil))
	return s
}
