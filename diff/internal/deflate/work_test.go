package deflate

import (
	"fmt"
	"io"
	"testing"

	"github.com/assaylab/assay/diff/difftest"
)

func TestWork(t *testing.T) {
	for _, o := range []Options{{Level: 9}, {Level: 6}, {Level: 3}, {Flavour: Gzip, Level: 9}, {Flavour: Gzip, Level: 2}} {
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
