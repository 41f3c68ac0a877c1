package lzoexact

import (
	"fmt"
	"io"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
)

func TestWork(t *testing.T) {
	for _, o := range []Options{{Method: LZO1X999, Level: 9}, {Method: LZO1X999, Level: 8, Optimize: true}, {Method: LZO1X999, Level: 1}} {
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
