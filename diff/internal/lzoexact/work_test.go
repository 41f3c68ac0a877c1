package lzoexact

import (
	"bytes"
	"errors"
	"testing"
)

// An allowance is a number of steps.
type allowance int

var errSpent = errors.New("spent")

func (a *allowance) Spend(steps int) error {
	if *a -= allowance(steps); *a < 0 {
		return errSpent
	}
	return nil
}

// What searches cost is told, ends them where it is too much, and changes nothing else.
func TestWork(t *testing.T) {
	data := make([]byte, 50_000)
	for i, x := 0, uint32(1); i < len(data); i++ {
		x = x*1664525 + 1013904223
		data[i] = 'a' + byte(x>>31)
	}
	for _, o := range []Options{{Method: LZO1X999, Level: 9}, {Method: LZO1X999, Level: 8, Optimize: true}, {Method: LZO1X999, Level: 1}} {
		write := func(work *allowance) ([]byte, error) {
			var b bytes.Buffer
			if work != nil {
				o.Work = work
			}
			w, err := NewWriter(&b, o)
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Write(data)
			if err == nil {
				err = w.Close()
			}
			return b.Bytes(), err
		}
		want, err := write(nil)
		if err != nil {
			t.Fatal(err)
		}
		const all = 1 << 40
		work := allowance(all)
		got, err := write(&work)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%+v: told of the work it writes %d bytes, not %d: %v", o, len(got), len(want), err)
		}
		took := all - work
		if took < allowance(len(data)/4) || took > 1000*allowance(len(data)) {
			t.Errorf("%+v: %d steps for %d bytes", o, took, len(data))
		}
		work = took / 2
		if _, err := write(&work); !errors.Is(err, errSpent) {
			t.Errorf("%+v: with half of %d steps: %v", o, took, err)
		}
		if work < -took/4 {
			t.Errorf("%+v: %d steps more than allowed", o, -work)
		}
	}
}
