package lz4exact

import (
	"fmt"
	"io"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
)

func TestWork(t *testing.T) {
	for _, o := range []Options{{Level: 12}, {Level: 9}, {Level: 12, Format: Frame, BlockSize: 64 << 10}, {Level: 10, Format: Legacy}} {
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
