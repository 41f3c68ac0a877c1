package diff

import "github.com/assaylab/assay/diff/ledger"

// An Excerpt shows the first bytes of an entry that is not accounted for, and
// what the reference has in its place.
type Excerpt struct {
	RefAt    int64 // offset in the reference stream
	Ref, Dep []byte
}

const (
	excerptLen  = 16  // bytes shown of either side
	maxExcerpts = 256 // entries shown
)

// excerpts reads the first bytes of unexplained and moved entries, by the index
// of the entry in the ledger.
func (w *walker) excerpts(l *ledger.Ledger) (map[int]Excerpt, error) {
	out := map[int]Excerpt{}
	at, stream := int64(0), 0
	for i := range l.Entries {
		e := &l.Entries[i]
		if e.Stream != stream {
			at, stream = 0, e.Stream
		}
		if e.Verdict != ledger.Unexplained && e.Verdict != ledger.Moved {
			at = e.Ref.End()
			continue
		}
		if len(out) == maxExcerpts {
			break
		}
		next := w.strata[stream].ref.size
		for j := i + 1; j < len(l.Entries) && j < i+64 && l.Entries[j].Stream == stream; j++ {
			if v := l.Entries[j].Verdict; v != ledger.Unexplained && v != ledger.Moved {
				next = l.Entries[j].Ref.Off
				break
			}
		}
		x := Excerpt{RefAt: at, Ref: make([]byte, max(0, min(excerptLen, e.Dep.Len, next-at))), Dep: make([]byte, min(excerptLen, e.Dep.Len))}
		if err := readFull(w.strata[stream].ref, x.Ref, at); err != nil {
			return nil, err
		}
		if err := readFull(w.strata[stream].dep, x.Dep, e.Dep.Off); err != nil {
			return nil, err
		}
		out[i] = x
		at = min(at+e.Dep.Len, next)
	}
	return out, nil
}
