package lzmaexact

import (
	"fmt"
	"io"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
)

func TestWork(t *testing.T) {
	for _, o := range []Options{{Preset: 6}, {Preset: 9, Extreme: true, Dict: 1 << 20}, {Preset: 1}, {Format: Alone, Preset: 3}, {Format: XZBuffer, Preset: 6, BCJ: X86}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			difftest.Work(t, func(w io.Writer, work *difftest.Allowance) (io.WriteCloser, error) {
				o := o
				if work != nil {
					o.Work = work
				}
				return NewWriter(w, o)
			})
		})
	}
}
