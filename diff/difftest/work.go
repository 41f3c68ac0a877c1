package difftest

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// An Allowance is a number of steps that an encoder may take.
type Allowance int

var errSpent = errors.New("spent")

// Spend takes steps away, and fails where there are no more.
func (a *Allowance) Spend(steps int) error {
	if *a -= Allowance(steps); *a < 0 {
		return errSpent
	}
	return nil
}

// Work tests that what the searches of an encoder cost is told, ends them where it is
// too much, and changes nothing else. open returns the encoder; it is not told of an
// allowance that is nil.
func Work(t *testing.T, open func(w io.Writer, work *Allowance) (io.WriteCloser, error)) {
	t.Helper()
	data := make([]byte, 50_000)
	for i, x := 0, uint32(1); i < len(data); i++ {
		x = x*1664525 + 1013904223
		data[i] = 'a' + byte(x>>31)
	}
	write := func(work *Allowance) ([]byte, error) {
		var b bytes.Buffer
		w, err := open(&b, work)
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
	work := Allowance(all)
	got, err := write(&work)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("told of the work it writes %d bytes, not %d: %v", len(got), len(want), err)
	}
	took := all - work
	if took < Allowance(len(data)/4) || took > 1000*Allowance(len(data)) {
		t.Errorf("%d steps for %d bytes", took, len(data))
	}
	work = took / 2
	if _, err := write(&work); !errors.Is(err, errSpent) {
		t.Errorf("with half of %d steps: %v", took, err)
	}
	if work < -took/4 {
		t.Errorf("%d steps more than allowed", -work)
	}
}
