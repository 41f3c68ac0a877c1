package codec

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// hostile are contents on which searches for matches are long.
func hostile(n int) map[string][]byte {
	r := rand.New(rand.NewPCG(5, 7))
	fill := func(f func(i int) byte) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = f(i)
		}
		return b
	}
	return map[string][]byte{
		"zeros":     make([]byte, n),
		"two bytes": fill(func(int) byte { return 'a' + byte(r.IntN(2)) }),
		"runs": fill(func(i int) byte {
			if i%258 == 257 {
				return byte(r.Uint32())
			}
			return 0
		}),
		"half a period": fill(func(i int) byte {
			if i%7 < 5 {
				return byte(i % 7)
			}
			return byte(r.Uint32())
		}),
	}
}

// effort encodes b and returns the meter.
func effort(ctx context.Context, e encoder, b []byte, change func(*meter)) (*meter, error) {
	m := newMeter(ctx)
	if change != nil {
		change(m)
	}
	err := encode(m, e, io.Discard, bytes.NewReader(b))
	return m, err
}

// overshoot is how many steps an encoder may take before it tells of them: liblzma's
// looks at 4096 positions together.
const overshoot = 8 << 20

// patient says whether a setting's searches are short by their making, so that nobody
// counts them.
func patient(setting string) bool {
	switch setting {
	case "go-flate/9", "go-zlib/9", "klauspost-flate/9", "pierrec/9;pierrec":
		return false
	case "lz4/1", "lz4/1;frame", "lz4/1;legacy", "pierrec;pierrec", "lzop/1", "lzop/3":
		return true
	}
	for _, s := range []string{"go-", "klauspost", "ulikunitz/", "lzo1x_1"} {
		if strings.HasPrefix(setting, s) {
			return true
		}
	}
	return false
}

// Every encoder that searches tells of it, and ends where it is allowed no more.
func TestEffortEnds(t *testing.T) {
	data := hostile(12 << 10)["two bytes"]
	touch := touchSteps * int64(len(data))
	for _, c := range All(roomy) {
		for _, e := range c.encoders {
			if patient(e.name) {
				continue
			}
			free, err := effort(t.Context(), e, data, func(m *meter) { m.allowed = 1 << 60 })
			if err != nil {
				t.Errorf("%s: %s: %v", c.name, e.name, err)
				continue
			}
			took := free.spent - touch
			if took < int64(len(data)) {
				t.Errorf("%s: %s: only %d steps are told", c.name, e.name, took)
			}
			all := int64(firstSteps) + free.rate*int64(len(data))
			m, err := effort(t.Context(), e, data, func(m *meter) { m.spent = all - touch - took/2 })
			var limit *LimitError
			if !errors.As(err, &limit) || limit.Limit != "effort" {
				t.Errorf("%s: %s: %d steps where %d were left: %v", c.name, e.name, took, took/2, err)
			}
			if m.spent > all+overshoot {
				t.Errorf("%s: %s: %d steps too many", c.name, e.name, m.spent-all)
			}
		}
	}
}

// Content made for the purpose takes no more steps than are allowed, under any setting;
// text takes a small part of them.
func TestEffortIsBounded(t *testing.T) {
	contents := hostile(8 << 10)
	contents["text"] = fixtureText("text")
	for name, b := range contents {
		for _, c := range All(roomy) {
			for _, e := range c.encoders {
				m, err := effort(t.Context(), e, b, nil)
				var limit *LimitError
				switch {
				case errors.As(err, &limit) && limit.Limit == "effort" && name != "text":
				case err != nil:
					t.Errorf("%s: %s: %s: %v", name, c.name, e.name, err)
				}
				if all := m.allowed; m.spent > all+overshoot || name == "text" && m.spent > m.rate*int64(len(b))/8 {
					t.Errorf("%s: %s: %s: %d steps, %d allowed", name, c.name, e.name, m.spent, all)
				}
			}
		}
	}
}

// A search takes no more than two runs may; what it found is tried again all the same.
func TestSearchIsBounded(t *testing.T) {
	data := hostile(128 << 10)["two bytes"]
	all, err := Lookup("deflate@1", roomy)
	if err != nil {
		t.Fatal(err)
	}
	ctx, gaveUp := all.Search(t.Context())
	total, given := int64(0), 0
	for range 3 {
		for _, e := range all.encoders {
			m, err := effort(ctx, e, data, nil)
			total += m.spent
			var limit *LimitError
			if errors.As(err, &limit) && limit.Limit == "effort" {
				given++
			} else if err != nil {
				t.Error(err)
			}
		}
	}
	// Each run after the end begins in vain.
	most := 2*(firstSteps+byteSteps*int64(len(data))) + overshoot + int64(3*len(all.encoders)*touchSteps*bufferSize)
	if total > most || given == 0 {
		t.Errorf("%d steps, want at most %d; %d runs ended", total, most, given)
	}
	if !gaveUp() {
		t.Error("the search was not given up")
	}
	for _, setting := range []string{"gzip/6", "zlib/9"} {
		if err := all.Encode(t.Context(), setting, io.Discard, bytes.NewReader(data)); err != nil {
			t.Error(err)
		}
		ctx, gaveUp := all.Search(t.Context())
		if err := all.Encode(ctx, setting, io.Discard, bytes.NewReader(data)); err != nil || gaveUp() {
			t.Errorf("%v, given up: %t", err, gaveUp())
		}
	}
}

// The same steps are counted however often, and however the content is read.
func TestEffortIsTheSame(t *testing.T) {
	data := hostile(12 << 10)["half a period"]
	for _, name := range []string{"deflate@1", "lz4@1", "lzo1x@1", "lzma@1"} {
		c, err := Lookup(name, roomy)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range c.encoders {
			a, aerr := effort(t.Context(), e, data, nil)
			b := newMeter(t.Context())
			berr := encode(b, e, io.Discard, iotest.HalfReader(bytes.NewReader(data)))
			if a.spent != b.spent || (aerr == nil) != (berr == nil) {
				t.Errorf("%s: %s: %d steps %v, then %d %v", name, e.name, a.spent, aerr, b.spent, berr)
			}
		}
	}
}

// A run ends soon after its context, in the midst of a block.
func TestEffortHearsTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := newMeter(ctx)
	if err := m.Spend(1); err != nil {
		t.Error(err)
	}
	cancel()
	if err := m.Spend(1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What hashes alike counts, and only while it is in the window.
func TestChains(t *testing.T) {
	c := chained{chaining: chaining{func(v uint32) uint32 { return v & 0xff }, 4, 3, 1}}
	for _, x := range []struct {
		in   string
		want int
	}{
		{"a", 0}, {"b", 0}, {"a", 1}, {"a", 2}, {"a", 2}, {"a", 3}, {"a", 0}, {"a", 0}, {"bcde", 0}, {"f", 0}, {"e", 1},
	} {
		if n := c.steps([]byte(x.in)); n != x.want {
			t.Errorf("after %q: %d, want %d", x.in, n, x.want)
		}
	}
}
