package explain

import (
	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/ledger"
)

var dateText = &diff.Rule{
	Name:  "date-text",
	Title: "a date or time in text: __DATE__, __TIME__, RFC 3339, RFC 2822, asctime and their like",
	Text:  ledger.OpTime,
	Scan:  scanDates,
}

// scanDates finds texts that spell a date or a time in one layout on both sides.
// It tries the longest layouts first, so that a text is taken whole.
func scanDates(ref, dep []byte) []diff.Text {
	var out []diff.Text
	taken := make([]bool, len(ref))
	for _, enc := range ledger.TimeLayouts() {
		n := len(enc)
		for off := 0; off+n <= len(ref); off++ {
			if taken[off] || taken[off+n-1] || !shaped(enc, ref[off:off+n]) || !shaped(enc, dep[off:off+n]) {
				continue
			}
			if !ledger.IsTime(enc, ref[off:off+n]) || !ledger.IsTime(enc, dep[off:off+n]) {
				continue
			}
			for i := range n {
				taken[off+i] = true
			}
			out = append(out, diff.Text{
				Off: off, Len: n, Spec: ledger.Spec{Op: ledger.OpTime, Enc: enc},
				Because: "a build date or time in text, where the reference has one: " +
					string(ref[off:off+n]) + " became " + string(dep[off:off+n]),
			})
		}
	}
	return out
}

// shaped is a quick look: digits where the layout has digits, letters where it
// has letters, the same signs elsewhere.
func shaped(enc ledger.Enc, b []byte) bool {
	for i := range b {
		c, l := b[i], enc[i]
		switch {
		case l >= '0' && l <= '9' || l == '_':
			if (c < '0' || c > '9') && c != ' ' {
				return false
			}
		case l|0x20 >= 'a' && l|0x20 <= 'z':
			if c|0x20 < 'a' || c|0x20 > 'z' {
				return false
			}
		case c != l:
			return false
		}
	}
	return true
}
