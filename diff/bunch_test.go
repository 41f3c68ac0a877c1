package diff_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/explain"
	"github.com/assaylab/assay/diff/ledger"
)

// times is a format of one name, "times@1", in two layouts: a magic, and records of a
// time and of a number; all beside each other, or size of them in a bunch.
func times(size int64) *diff.Format {
	return &diff.Format{
		Name: "times", Version: 1, Title: "times", Source: "here",
		Detect: func(in *diff.Input) bool { return string(in.Bytes(0, 4)) == "TIME" },
		Parse: func(_ context.Context, in *diff.Input) ([]diff.Section, error) {
			records := func(i, j int64) (out []diff.Section) {
				for i := i; i < j; i++ {
					out = append(out, diff.Section{
						Name: fmt.Sprint("record ", i), Role: diff.RoleMember, Off: 4 + 8*i, Len: 8,
						Fields: func() []diff.Section {
							return []diff.Section{
								{Name: "time", Role: diff.RoleTime, Off: 4 + 8*i, Len: 4, Spec: &ledger.Spec{Op: ledger.OpTime, Enc: "u32le"}},
								{Name: "number", Role: diff.RoleMeta, Off: 8 + 8*i, Len: 4},
							}
						},
					})
				}
				return out
			}
			out := []diff.Section{{Name: "magic", Role: diff.RoleMagic, Len: 4}}
			n := (in.Size - 4) / 8
			if size == 0 {
				return append(out, records(0, n)...), nil
			}
			for i := int64(0); i < n; i += size {
				j := min(i+size, n)
				out = append(out, diff.Section{
					Name: fmt.Sprint("bunch ", i), Off: 4 + 8*i, Len: 8 * (j - i), Bunch: true,
					Fields: func() []diff.Section { return records(i, j) },
				})
			}
			return out, nil
		},
	}
}

// timesImage is an image of n records, all but the times and numbers of some the same.
func timesImage(n int, change func(i int, r []byte)) []byte {
	b := []byte("TIME")
	for i := range n {
		r := make([]byte, 8)
		binary.LittleEndian.PutUint32(r, 1600000000+uint32(i))
		binary.LittleEndian.PutUint32(r[4:], uint32(i)*0x9e3779b1)
		if change != nil {
			change(i, r)
		}
		b = append(b, r...)
	}
	return b
}

// Parts in bunches are accounted for, named and shown as those beside each other.
func TestBunchesShowNowhere(t *testing.T) {
	ref := timesImage(1000, nil)
	for name, dep := range map[string][]byte{
		"times":   timesImage(1000, func(i int, r []byte) { r[0] ^= byte(i % 3) }),
		"numbers": timesImage(1000, func(i int, r []byte) { r[5] ^= byte(i / 7 % 2) }),
		"all":     timesImage(1000, func(_ int, r []byte) { r[0] ^= 1; r[5] ^= 1 }),
		"shorter": timesImage(931, nil),
	} {
		var want *ledger.Ledger
		var shown *diff.Node
		for _, size := range []int64{0, 7, 100, 999} {
			opt := diff.Options{Formats: []*diff.Format{times(size)}, Rules: explain.All()}
			res, err := diff.Compare(t.Context(), image(ref), image(dep), opt)
			if err != nil {
				t.Fatal(err)
			}
			tree, err := diff.Inspect(t.Context(), image(dep), true, opt)
			if err != nil {
				t.Fatal(err)
			}
			if size == 0 {
				want, shown = res.Ledger, tree
				if want.Totals.Explained+want.Totals.Unexplained+want.Totals.Missing == 0 {
					t.Errorf("%s: %+v", name, want.Totals)
				}
				continue
			}
			if !reflect.DeepEqual(tree, shown) {
				t.Errorf("%s, %d in a bunch: another tree", name, size)
			}
			if name == "shorter" && len(dep)%int(8*size) != 4 {
				continue // what a bunch lacks pairs with what follows
			}
			if !reflect.DeepEqual(res.Ledger, want) {
				t.Errorf("%s, %d in a bunch: %d entries, not %d, %+v", name, size, len(res.Ledger.Entries), len(want.Entries), res.Ledger.Totals)
			}
		}
	}
}

// An account of more entries than the reference is worth is none: the limit says so.
func TestMaxEntries(t *testing.T) {
	const n = 300_000
	ref, dep := timesImage(n, nil), timesImage(n, func(_ int, r []byte) { r[0] ^= 1; r[5] ^= 1 })
	opt := diff.Options{Formats: []*diff.Format{times(256)}, Rules: explain.All()}
	res, err := diff.Compare(t.Context(), image(ref), image(dep), opt)
	var limit *diff.LimitError
	if !errors.As(err, &limit) || limit.Limit != "entries" || res != nil {
		t.Errorf("%v, %v", res, err)
	}
	if _, err := diff.Compare(t.Context(), image(ref), image(ref), opt); err != nil {
		t.Error(err)
	}
}

// counted counts how often each input is decoded.
type counted struct {
	not
	n map[string]int
}

func (c counted) Decode(ctx context.Context, w io.Writer, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.n[string(b[:1])]++
	return c.not.Decode(ctx, w, bytes.NewReader(b))
}

// Streams whose tails stand in several carriers by turns: each of these is decoded
// once to look at it, and once for all tails.
func TestTailsByTurns(t *testing.T) {
	const carriers, streams = 40, 400
	rotating := &diff.Format{
		Name: "rotating", Version: 1, Title: "rotating", Source: "here",
		Detect: func(in *diff.Input) bool { return string(in.Bytes(0, 4)) == "ROTA" },
		Parse: func(_ context.Context, in *diff.Input) ([]diff.Section, error) {
			out := []diff.Section{{Name: "magic", Role: diff.RoleMagic, Len: 4}}
			tails := make([][]diff.Section, carriers)
			for i := range streams {
				of := &diff.Stream{Name: fmt.Sprint("file ", i), Role: diff.RoleMember}
				out = append(out, diff.Section{Name: fmt.Sprint("head ", i), Role: diff.RolePayload, Off: 4 + int64(i), Len: 1, Part: &diff.Part{Of: of}})
				k := i % carriers
				tails[k] = append(tails[k], diff.Section{
					Name: of.Name, Role: diff.RolePayload, Off: int64(len(tails[k])), Len: 1, Part: &diff.Part{Of: of, N: 1},
				})
			}
			const size = streams/carriers + 1
			for k := range tails {
				out = append(out, diff.Section{
					Name: fmt.Sprint("tails ", k), Role: diff.RolePayload, Off: 4 + streams + size*int64(k), Len: size, Codec: "not@1", Inner: tails[k],
				})
			}
			return out, nil
		},
	}
	b := append([]byte("ROTA"), strings.Repeat("h", streams)...)
	for k := range carriers {
		b = append(b, append(bytes.Repeat([]byte{byte(k + 1)}, streams/carriers), 0)...)
	}
	codec := counted{n: map[string]int{}}
	tree, err := diff.Inspect(t.Context(), image(b), false, diff.Options{Formats: []*diff.Format{rotating}, Codecs: []ledger.Codec{codec}})
	if err != nil {
		t.Fatal(err)
	}
	gathered := 0
	for _, n := range tree.Children {
		if n.Gathered {
			gathered++
		}
	}
	if gathered != streams || len(codec.n) != carriers {
		t.Errorf("%d streams of %d carriers", gathered, len(codec.n))
	}
	for k, n := range codec.n {
		if n != 2 {
			t.Errorf("carrier %q is decoded %d times", k, n)
		}
	}
}
