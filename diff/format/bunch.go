package format

import (
	"strconv"

	"github.com/assaylab/assay/diff"
)

// Where a layout has more parts side by side than manyParts, it has them in bunches of
// bunchSize: their sections are made when they are looked at, and let go.
const (
	manyParts = 4 << 10
	bunchSize = 256
)

// bunched lays out n parts side by side. at says where part i lies; parts makes those
// from i up to j, which must be such as a section's Fields may be.
func bunched(n int, at func(i int) (off, end int64), parts func(i, j int) []diff.Section) []diff.Section {
	if n <= manyParts {
		return parts(0, n)
	}
	out := make([]diff.Section, 0, (n+bunchSize-1)/bunchSize)
	for i := 0; i < n; i += bunchSize {
		j := min(i+bunchSize, n)
		off, _ := at(i)
		_, end := at(j - 1)
		out = append(out, diff.Section{
			Name: "bunch " + strconv.Itoa(len(out)), Role: diff.RoleTable, Off: off, Len: end - off, Bunch: true,
			Fields: func() []diff.Section { return parts(i, j) },
		})
	}
	return out
}
