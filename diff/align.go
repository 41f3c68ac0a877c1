package diff

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sort"

	"github.com/assaylab/assay/diff/ledger"
)

// A run is one step of an alignment: same bytes on both sides, or bytes of
// either side that pair with nothing.
type run struct {
	ref, dep ledger.Range
	same     bool
}

// Bounds of the aligner.
const (
	chunk     = 256 << 10 // bytes compared at a time
	firstStep = 4 << 10   // the same, for a run that may be short
	maxRuns   = 16 << 10  // runs of one section; past it, near ones are merged
	maxBlocks = 1 << 20   // blocks of the reference indexed
	fineBlock = 8         // block size for small holes, in bytes
	fineHole  = 256 << 10 // what counts as one, in bytes
	coarse    = 32        // smallest block size otherwise, in bytes
)

// An aligner pairs bytes of two ranges that no format could take apart further.
// Hashes propose, bytes decide.
type aligner struct {
	ctx      context.Context
	ref, dep io.ReaderAt
	a, b     []byte
	near     [2]nearby                // of ref and dep
	known    map[int64][]ledger.Range // by how far the reference is ahead: deployed ranges found the same
}

// newAligner returns an aligner of two streams, neither longer than size.
func newAligner(ctx context.Context, ref, dep io.ReaderAt, size int64) *aligner {
	n := min(size, chunk)
	return &aligner{ctx: ctx, ref: ref, dep: dep, a: make([]byte, n), b: make([]byte, n)}
}

// equal says whether two ranges hold the same bytes.
func (al *aligner) equal(r, d ledger.Range) (bool, error) {
	if r.Len != d.Len {
		return false, nil
	}
	n, err := al.prefix(r, d)
	return n == r.Len, err
}

// prefix returns how many bytes the ranges share from their start.
func (al *aligner) prefix(r, d ledger.Range) (int64, error) {
	limit := min(r.Len, d.Len)
	for n, step := int64(0), int64(firstStep); n < limit; step = min(2*step, chunk) {
		if known := al.knownFrom(r.Off-d.Off, d.Off+n); known > 0 {
			n = min(n+known, limit)
			continue
		}
		m := min(step, limit-n)
		a, b := al.a[:m], al.b[:m]
		if err := al.read(a, b, r.Off+n, d.Off+n); err != nil {
			return 0, err
		}
		if !bytes.Equal(a, b) {
			for i := range a {
				if a[i] != b[i] {
					return n + int64(i), nil
				}
			}
		}
		al.know(r.Off-d.Off, ledger.Range{Off: d.Off + n, Len: m})
		n += m
	}
	return limit, nil
}

// maxKnown bounds the ranges kept of one diagonal, and the diagonals.
const maxKnown = 4 << 10

// know notes that a deployed range is the same as that of the reference which lies
// ahead bytes further.
func (al *aligner) know(ahead int64, at ledger.Range) {
	if al.known == nil {
		al.known = map[int64][]ledger.Range{}
	}
	rs := al.known[ahead]
	if rs == nil && (at.Len < firstStep || len(al.known) >= maxKnown) {
		return
	}
	i := sort.Search(len(rs), func(i int) bool { return rs[i].End() >= at.Off })
	j := i
	for ; j < len(rs) && rs[j].Off <= at.End(); j++ {
		end := max(at.End(), rs[j].End())
		at.Off = min(at.Off, rs[j].Off)
		at.Len = end - at.Off
	}
	if i == j && len(rs) >= maxKnown {
		return
	}
	al.known[ahead] = slices.Replace(rs, i, j, at)
}

// knownFrom returns how many bytes from a deployed offset on are known to be the same.
func (al *aligner) knownFrom(ahead, off int64) int64 {
	rs := al.known[ahead]
	i := sort.Search(len(rs), func(i int) bool { return rs[i].End() > off })
	if i == len(rs) || rs[i].Off > off {
		return 0
	}
	return rs[i].End() - off
}

// suffix returns how many bytes the ranges share before their end.
func (al *aligner) suffix(r, d ledger.Range) (int64, error) {
	limit := min(r.Len, d.Len)
	for n, step := int64(0), int64(firstStep); n < limit; step = min(2*step, chunk) {
		m := min(step, limit-n)
		a, b := al.a[:m], al.b[:m]
		if err := al.read(a, b, r.End()-n-m, d.End()-n-m); err != nil {
			return 0, err
		}
		if !bytes.Equal(a, b) {
			for i := len(a) - 1; i >= 0; i-- {
				if a[i] != b[i] {
					return n + m - 1 - int64(i), nil
				}
			}
		}
		n += m
	}
	return limit, nil
}

func (al *aligner) read(a, b []byte, r, d int64) error {
	if err := al.ctx.Err(); err != nil {
		return err
	}
	if err := al.near[0].read(al.ref, a, r); err != nil {
		return err
	}
	return al.near[1].read(al.dep, b, d)
}

// nearby is what was read last around a field: the fields of a table are many, small,
// and asked for in order.
type nearby struct {
	at  int64
	buf []byte
}

const nearbySize = 16 << 10

func (n *nearby) read(r io.ReaderAt, b []byte, off int64) error {
	if len(b) > 256 {
		return readFull(r, b, off)
	}
	if off < n.at || off+int64(len(b)) > n.at+int64(len(n.buf)) {
		n.buf = slices.Grow(n.buf[:0], nearbySize)[:nearbySize]
		m, err := r.ReadAt(n.buf, off)
		n.at, n.buf = off, n.buf[:max(m, 0)]
		if len(b) > m {
			n.buf = n.buf[:0]
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	copy(b, n.buf[off-n.at:])
	return nil
}

func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// align pairs the two ranges. The runs it returns tile both, in order.
func (al *aligner) align(r, d ledger.Range) ([]run, error) {
	var runs []run
	p, err := al.prefix(r, d)
	if err != nil {
		return nil, err
	}
	runs = appendSame(runs, r.Off, d.Off, p)
	r, d = cut(r, p), cut(d, p)
	s, err := al.suffix(r, d)
	if err != nil {
		return nil, err
	}
	mid, err := al.middle(ledger.Range{Off: r.Off, Len: r.Len - s}, ledger.Range{Off: d.Off, Len: d.Len - s}, coarse)
	if err != nil {
		return nil, err
	}
	runs = append(runs, mid...)
	return appendSame(runs, r.End()-s, d.End()-s, s), nil
}

func cut(r ledger.Range, n int64) ledger.Range { return ledger.Range{Off: r.Off + n, Len: r.Len - n} }

func appendSame(runs []run, r, d, n int64) []run {
	if n == 0 {
		return runs
	}
	return append(runs, run{ledger.Range{Off: r, Len: n}, ledger.Range{Off: d, Len: n}, true})
}

// middle aligns ranges that differ at both ends: along the diagonal where that
// fits, else by blocks found again.
func (al *aligner) middle(r, d ledger.Range, block int64) ([]run, error) {
	if r.Len == 0 && d.Len == 0 {
		return nil, nil
	}
	if r.Len == 0 || d.Len == 0 {
		return []run{{ref: r, dep: d}}, nil
	}
	var diagonal []run
	if r.Len == d.Len {
		runs, differing, err := al.diagonal(r, d)
		if err != nil || differing <= r.Len/2 || r.Len <= 2*block {
			return runs, err
		}
		diagonal = runs
	}
	found, err := al.chain(r, d, block)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		if diagonal != nil {
			return diagonal, nil
		}
		return al.ends(r, d)
	}
	var runs []run
	rat, dat := r.Off, d.Off
	hole := func(rto, dto int64) error {
		hr, hd := ledger.Range{Off: rat, Len: rto - rat}, ledger.Range{Off: dat, Len: dto - dat}
		switch {
		case hr.Len == 0 && hd.Len == 0:
			return nil
		case block > fineBlock && hr.Len > 0 && hd.Len > 0 && hr.Len <= fineHole && hd.Len <= fineHole:
			fine, err := al.middle(hr, hd, fineBlock)
			runs = append(runs, fine...)
			return err
		case hr.Len == hd.Len:
			diag, _, err := al.diagonal(hr, hd)
			runs = append(runs, diag...)
			return err
		}
		runs = append(runs, run{ref: hr, dep: hd})
		return nil
	}
	for _, f := range found {
		if err := hole(f.ref, f.dep); err != nil {
			return nil, err
		}
		runs = appendSame(runs, f.ref, f.dep, f.n)
		rat, dat = f.ref+f.n, f.dep+f.n
	}
	return runs, hole(r.End(), d.End())
}

// ends aligns ranges of two lengths that share no block: on the diagonal from
// their start or, where that does not fit, from their end, with the bytes that
// one has more as a run at the other end.
func (al *aligner) ends(r, d ledger.Range) ([]run, error) {
	n := min(r.Len, d.Len)
	if n > 0 && n <= fineHole {
		runs, differing, err := al.diagonal(ledger.Range{Off: r.Off, Len: n}, ledger.Range{Off: d.Off, Len: n})
		if err != nil {
			return nil, err
		}
		if differing <= n/2 {
			return append(runs, run{ref: cut(r, n), dep: cut(d, n)}), nil
		}
		rn, dn := r.Len-n, d.Len-n
		runs, differing, err = al.diagonal(cut(r, rn), cut(d, dn))
		if err != nil {
			return nil, err
		}
		if differing <= n/2 {
			head := run{ref: ledger.Range{Off: r.Off, Len: rn}, dep: ledger.Range{Off: d.Off, Len: dn}}
			return append([]run{head}, runs...), nil
		}
	}
	return []run{{ref: r, dep: d}}, nil
}

// diagonal compares ranges of one length byte by byte.
func (al *aligner) diagonal(r, d ledger.Range) (runs []run, differing int64, err error) {
	merge := int64(0) // same bytes between two differing runs that are not worth a run
	add := func(off, n int64, same bool) {
		if k := len(runs) - 1; k >= 0 && (runs[k].same == same) {
			runs[k].ref.Len += n
			runs[k].dep.Len += n
			return
		}
		if k := len(runs) - 1; !same && k >= 1 && runs[k].ref.Len <= merge {
			n += runs[k].ref.Len
			runs = runs[:k]
			runs[k-1].ref.Len += n
			runs[k-1].dep.Len += n
			return
		}
		runs = append(runs, run{ledger.Range{Off: r.Off + off, Len: n}, ledger.Range{Off: d.Off + off, Len: n}, same})
		if len(runs) > maxRuns {
			merge = max(4, 4*merge)
			runs = mergeRuns(runs, merge)
		}
	}
	for n := int64(0); n < r.Len; {
		m := min(chunk, r.Len-n)
		a, b := al.a[:m], al.b[:m]
		if err := al.read(a, b, r.Off+n, d.Off+n); err != nil {
			return nil, 0, err
		}
		for i := 0; i < len(a); {
			j := i
			if bytes.Equal(a[i:], b[i:]) {
				add(n+int64(i), int64(len(a)-i), true)
				break
			}
			if a[i] == b[i] {
				for len(a)-j >= 64 && bytes.Equal(a[j:j+64], b[j:j+64]) {
					j += 64
				}
				for a[j] == b[j] {
					j++
				}
				add(n+int64(i), int64(j-i), true)
			} else {
				for j < len(a) && a[j] != b[j] {
					j++
				}
				add(n+int64(i), int64(j-i), false)
				differing += int64(j - i)
			}
			i = j
		}
		n += m
	}
	return runs, differing, nil
}

// mergeRuns swallows short same runs between differing ones.
func mergeRuns(runs []run, short int64) []run {
	out := runs[:0]
	for _, x := range runs {
		k := len(out) - 1
		switch {
		case k >= 0 && out[k].same == x.same:
		case k >= 1 && !x.same && out[k].ref.Len <= short:
			x.ref.Len += out[k].ref.Len
			x.dep.Len += out[k].dep.Len
			out = out[:k]
			k--
		default:
			out = append(out, x)
			continue
		}
		out[k].ref.Len += x.ref.Len
		out[k].dep.Len += x.dep.Len
	}
	return out
}

// A match is n bytes found at both places.
type match struct{ ref, dep, n int64 }

// chain finds the blocks of r again in d and returns the matches that keep the
// order of both sides and cover most.
func (al *aligner) chain(r, d ledger.Range, block int64) ([]match, error) {
	ix, err := al.index(r, block)
	if err != nil {
		return nil, err
	}
	all, err := al.find(ix, r, d)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	// The heaviest chain rising in ref; dep rises already.
	byRef := make([]int, len(all))
	for i := range byRef {
		byRef[i] = i
	}
	sort.Slice(byRef, func(i, j int) bool { return all[byRef[i]].ref+all[byRef[i]].n < all[byRef[j]].ref+all[byRef[j]].n })
	ends := make([]int64, len(all))
	slot := make([]int, len(all))
	for k, i := range byRef {
		ends[k] = all[i].ref + all[i].n
		slot[i] = k
	}
	best := make([]int64, len(all)) // weight of the best chain that ends in a match
	prev := make([]int, len(all))
	tree := make([]int, len(all)+1) // prefix maxima over slots: match+1
	last := -1
	for i, m := range all {
		prev[i] = -1
		best[i] = m.n
		for k := sort.Search(len(ends), func(k int) bool { return ends[k] > m.ref }); k > 0; k -= k & -k {
			if j := tree[k] - 1; j >= 0 && best[j]+m.n > best[i] {
				best[i], prev[i] = best[j]+m.n, j
			}
		}
		for k := slot[i] + 1; k < len(tree); k += k & -k {
			if j := tree[k] - 1; j < 0 || best[i] > best[j] {
				tree[k] = i + 1
			}
		}
		if last < 0 || best[i] > best[last] {
			last = i
		}
	}
	var out []match
	for i := last; i >= 0; i = prev[i] {
		out = append(out, all[i])
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out, nil
}

// An index tells where blocks of the reference stand, by a hash of their bytes.
type index struct {
	block  int64
	at     map[uint64]int64
	filter []uint64 // one bit for each of the low bits of a hash that occurs
}

const filterBits = 22

const prime = 0x9E3779B97F4A7C15

// power returns prime^(n-1), what the oldest byte of a window of n weighs.
func power(n int64) uint64 {
	p := uint64(1)
	for range n - 1 {
		p *= prime
	}
	return p
}

func mix(h uint64) uint64 { return (h ^ h>>29) * 0xBF58476D1CE4E5B9 >> 17 }

// index notes every aligned block of r once; runs of one byte are worth nothing.
func (al *aligner) index(r ledger.Range, block int64) (*index, error) {
	for r.Len/block > maxBlocks {
		block *= 2
	}
	ix := &index{block: block, at: map[uint64]int64{}, filter: make([]uint64, 1<<filterBits/64)}
	buf := make([]byte, max(chunk/block, 1)*block)
	for off := int64(0); off+block <= r.Len; off += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), (r.Len-off)/block*block)]
		if err := al.ctx.Err(); err != nil {
			return nil, err
		}
		if err := readFull(al.ref, b, r.Off+off); err != nil {
			return nil, err
		}
		for i := int64(0); i < int64(len(b)); i += block {
			w := b[i : i+block]
			if bytes.Count(w, w[:1]) == len(w) {
				continue
			}
			h := uint64(0)
			for _, c := range w {
				h = h*prime + uint64(c) + 1
			}
			if _, ok := ix.at[h]; !ok {
				ix.at[h] = r.Off + off + i
				m := mix(h) & (1<<filterBits - 1)
				ix.filter[m/64] |= 1 << (m % 64)
			}
		}
	}
	return ix, nil
}

// find rolls over d and returns verified matches inside r, extended both ways,
// without overlap in d.
func (al *aligner) find(ix *index, r, d ledger.Range) ([]match, error) {
	if len(ix.at) == 0 || d.Len < ix.block {
		return nil, nil
	}
	var out []match
	oldest := power(ix.block)
	buf := make([]byte, min(d.Len, chunk+ix.block))
	floor := d.Off // nothing before it is matched again
	for start := d.Off; start+ix.block <= d.End(); {
		if err := al.ctx.Err(); err != nil {
			return nil, err
		}
		b := buf[:min(int64(len(buf)), d.End()-start)]
		if err := readFull(al.dep, b, start); err != nil {
			return nil, err
		}
		next := start + int64(len(b)) - ix.block + 1
		for i := int64(0); i+ix.block <= int64(len(b)); {
			h := uint64(0)
			for _, c := range b[i : i+ix.block] {
				h = h*prime + uint64(c) + 1
			}
			for ; ; i++ {
				if k := mix(h) & (1<<filterBits - 1); ix.filter[k/64]&(1<<(k%64)) != 0 {
					if at, ok := ix.at[h]; ok {
						m, err := al.extend(at, start+i, ix.block, r, d, floor)
						if err != nil {
							return nil, err
						}
						if m.n >= ix.block {
							out = append(out, m)
							floor = m.dep + m.n
							break
						}
					}
				}
				if i+ix.block >= int64(len(b)) {
					i = int64(len(b))
					break
				}
				h = (h-(uint64(b[i])+1)*oldest)*prime + uint64(b[i+ix.block]) + 1
			}
			if i < int64(len(b)) {
				i = floor - start // behind the match
			}
		}
		start = max(next, floor)
	}
	return out, nil
}

// extend verifies a proposed match and grows it inside r and d, not before floor.
func (al *aligner) extend(ra, da, n int64, r, d ledger.Range, floor int64) (match, error) {
	back := min(ra-r.Off, da-floor)
	fwd, err := al.prefix(ledger.Range{Off: ra, Len: r.End() - ra}, ledger.Range{Off: da, Len: d.End() - da})
	if err != nil || fwd < n {
		return match{}, err
	}
	bk, err := al.suffix(ledger.Range{Off: ra - back, Len: back}, ledger.Range{Off: da - back, Len: back})
	return match{ra - bk, da - bk, fwd + bk}, err
}
