package ledger_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"testing"

	. "github.com/assaylab/assay/diff/ledger"
)

// replay rebuilds the deployed image of a checked ledger of one stream, without
// the kernel: from the reference, the entries, and of the deployed image no more
// than literal hands out - the bytes of unexplained entries and of times and
// UUIDs. Numbers, sums and padding are made anew from the rest.
func replay(ref []byte, l *Ledger, literal func(e *Entry) []byte) ([]byte, error) {
	size := int64(0)
	for _, e := range l.Entries {
		size = e.Dep.End()
	}
	out := make([]byte, size)
	// start and end pair the borders of reference bytes with deployed ones.
	start, end := map[int64]int64{}, map[int64]int64{}
	for _, e := range l.Entries {
		switch e.Op {
		case OpNone, OpMove:
			continue
		case OpCopy:
			for i := range e.Ref.Len {
				start[e.Ref.Off+i], end[e.Ref.Off+i+1] = e.Dep.Off+i, e.Dep.Off+i+1
			}
			continue
		}
		if e.Ref.Len > 0 {
			start[e.Ref.Off], end[e.Ref.End()] = e.Dep.Off, e.Dep.End()
		}
	}
	paired := func(r Range) Range {
		if r.Len == 0 {
			return Range{}
		}
		return Range{start[r.Off], max(0, end[r.End()]-start[r.Off])}
	}
	for i := range l.Entries {
		e := &l.Entries[i]
		at := out[e.Dep.Off:e.Dep.End()]
		switch e.Verdict {
		case Identical, Moved:
			copy(at, ref[e.Ref.Off:e.Ref.End()])
			continue
		case Unexplained:
			copy(at, literal(e))
			continue
		case Explained:
		default:
			return nil, fmt.Errorf("verdict %v", e.Verdict)
		}
		switch e.Op {
		case OpTime, OpUUID:
			copy(at, literal(e))
		case OpFill:
			copy(at, bytes.Repeat([]byte{e.Spec.Fill}, len(at)))
		case OpNumber:
			n := int64(0)
			for _, o := range e.Spec.Over {
				n += paired(o.Range).Len
			}
			copy(at, spell(e.Spec.Enc, len(at), uint64(n/max(e.Spec.Unit, 1)+e.Spec.Add)))
		}
	}
	// Sums stand on each other in no circle: as many rounds as there are settle all.
	for range l.Entries {
		for i := range l.Entries {
			e := &l.Entries[i]
			if e.Verdict != Explained || e.Op != OpSum {
				continue
			}
			b := bytes.Clone(out)
			for _, x := range e.Spec.Blank {
				d := paired(x)
				copy(b[d.Off:d.End()], bytes.Repeat([]byte{e.Spec.BlankByte}, int(d.Len)))
			}
			var covered []byte
			for _, o := range e.Spec.Over {
				d := paired(o.Range)
				covered = append(covered, b[d.Off:d.End()]...)
			}
			v := uint64(crc32.ChecksumIEEE(covered))
			if e.Spec.Alg == "bytesum" {
				v = 0
				for _, c := range covered {
					v += uint64(c)
				}
			}
			copy(out[e.Dep.Off:e.Dep.End()], spell(e.Spec.Enc, int(e.Dep.Len), v))
		}
	}
	return out, nil
}

func spell(enc Enc, n int, v uint64) []byte {
	switch enc {
	case "hex":
		return fmt.Appendf(nil, "%0*X", n, v)
	case "dec":
		return fmt.Appendf(nil, "%-*d", n, v)
	}
	if n > 8 {
		return nil
	}
	return binary.BigEndian.AppendUint64(nil, v)[8-n:]
}

// sound: an image comes from the replay as it is, and what the replay is handed
// has been paid for.
func replays(t *testing.T, ref, dep []byte, l *Ledger) {
	t.Helper()
	paid := map[string]bool{}
	var bits int64
	out, err := replay(ref, l, func(e *Entry) []byte {
		b := dep[e.Dep.Off:e.Dep.End()]
		price := 8 * e.Dep.Len
		if e.Verdict == Explained {
			key := fmt.Sprintf("%x %x", ref[e.Ref.Off:e.Ref.End()], b)
			if price = e.Bits; price == 0 && !paid[key] && e.Op == OpUUID {
				t.Errorf("%+v is handed out for nothing", e)
			}
			paid[key] = true
		}
		if e.Bits < price {
			t.Errorf("%+v is charged less than %d bits", e, price)
		}
		bits += price
		return b
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out, dep) {
		for _, e := range l.Entries {
			t.Logf("%+v", e)
		}
		t.Fatalf("the replay gives\n%x\nfor\n%x", out, dep)
	}
	if bits > l.FreeBits {
		t.Fatalf("%d bits are handed out, %d are charged", bits, l.FreeBits)
	}
}

func TestReplay(t *testing.T) {
	ref := sound.image()
	for _, h := range []hdr{sound, {time: 1, mtime: 2, uuid: 3, payload: sound.payload}, {time: sound.time, payload: "other code built 2024-01-02 at 03:04:05, id 550e8400-e29b-41d4-a716-446655440000 end"[:len(sound.payload)]}} {
		dep := h.image()
		l, err := check(t, ref, dep, nil, account(ref, dep)...)
		if err != nil {
			t.Fatal(err)
		}
		replays(t, ref, dep, l)
	}
}

// draw takes numbers from fuzz input.
type draw []byte

func (d *draw) n(below int64) int64 {
	if len(*d) == 0 || below <= 0 {
		return 0
	}
	v := int64((*d)[0])
	*d = (*d)[1:]
	return v % below
}

var fuzzEncs = []Enc{"u8", "u16le", "u32le", "u32be", "u64be", "oct", "dec", "hex", "raw", "text", "15:04:05", "2006-01-02", "Jan _2 2006", "", "nope"}

// hostile draws a deployed image and a ledger for it. The entries tile the image
// by and large; everything else in them is as the input has it.
func hostile(d *draw, ref []byte) ([]byte, []Entry) {
	var dep []byte
	var entries []Entry
	fields := hdrFields(ref)
	size, cursor := int64(len(ref)), int64(0)
	for len(*d) > 0 && len(entries) < 40 {
		at := int64(len(dep))
		switch kind := d.n(8); kind {
		case 0, 1: // a copy in order, as a rule from where the account is
			from := min(size, cursor+d.n(2)*d.n(8))
			n := d.n(64) % (size - from + 1)
			if n == 0 {
				n = size - from
			}
			if n == 0 {
				continue
			}
			dep = append(dep, ref[from:from+n]...)
			entries = append(entries, Entry{Op: OpCopy, Dep: Range{at, n}, Ref: Range{from, n}})
			cursor = from + n
		case 2: // a move
			from := d.n(size)
			n := 1 + d.n(64)%(size-from)
			dep = append(dep, ref[from:from+n]...)
			entries = append(entries, Entry{Op: OpMove, Dep: Range{at, n}, Ref: Range{from, n}})
		case 3: // literal bytes
			n := 1 + d.n(9)
			for range n {
				dep = append(dep, byte(d.n(256)))
			}
			entries = append(entries, Entry{Dep: Range{at, n}})
		default: // a proof of a field, true or turned
			f := fields[d.n(int64(len(fields)))]
			spec := f.spec
			e := Entry{Op: spec.Op, Ref: f.at, Spec: &spec, Place: &Place{Format: "hdr@1", At: Range{0, size}, Field: f.name}}
			if kind < 7 && f.at.Off >= cursor { // up to the field, then the field
				if n := f.at.Off - cursor; n > 0 {
					dep = append(dep, ref[cursor:f.at.Off]...)
					entries = append(entries, Entry{Op: OpCopy, Dep: Range{at, n}, Ref: Range{cursor, n}})
					at += n
				}
			}
			switch d.n(12) {
			case 0:
				e.Place = nil
			case 1:
				spec.Enc = fuzzEncs[d.n(int64(len(fuzzEncs)))]
			case 2:
				e.Ref = Range{d.n(size + 1), d.n(20)}
			case 3:
				spec.Over = []Span{{Range: Range{d.n(size), d.n(size)}}}
			case 4:
				spec.Blank = []Range{{d.n(size), d.n(size)}}
			case 5:
				spec.Unit, spec.Add, spec.Align = d.n(256)-128, d.n(256)-128, d.n(256)-128
			}
			n := e.Ref.Len
			if d.n(8) == 0 {
				n = d.n(20)
			}
			for i := range n {
				b := byte('0' + d.n(10))
				if src := e.Ref.Off + i; d.n(3) == 0 && src < size {
					b = ref[src]
				}
				dep = append(dep, b)
			}
			e.Dep = Range{at, n}
			entries = append(entries, e)
			cursor = max(cursor, e.Ref.End())
		}
	}
	return dep, entries
}

// mended gives the followers in dep the values that fit, so that the fuzzer does
// not have to guess a checksum.
func mended(ref, dep []byte, entries []Entry) []byte {
	l := &Ledger{Entries: append([]Entry(nil), entries...)}
	for i := range l.Entries {
		switch e := &l.Entries[i]; e.Op {
		case OpNone:
		case OpMove:
			e.Verdict = Moved
		case OpCopy:
			e.Verdict = Identical
		default:
			e.Verdict = Explained
		}
	}
	out, err := replay(ref, l, func(e *Entry) []byte { return dep[e.Dep.Off:e.Dep.End()] })
	if err != nil {
		return dep
	}
	return out
}

// FuzzCheckIsSound holds the kernel to its word on ledgers of every kind.
func FuzzCheckIsSound(f *testing.F) {
	for _, s := range []string{"", "00", "0001000f00010009", "0405060708", "040004000400040004000400040004000400", "03ff0102030405060708090a0b0c0d0e0f"} {
		b, _ := hex.DecodeString(s)
		f.Add(false, b)
		f.Add(true, b)
	}
	f.Add(true, []byte("\x04\x01\x06\x00\x04\x03\x06\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, mend bool, data []byte) {
		ref := sound.image()
		d := draw(data)
		dep, entries := hostile(&d, ref)
		if mend {
			safe := true
			for _, e := range entries {
				safe = safe && e.Ref.Off >= 0 && e.Ref.End() <= int64(len(ref))
				if e.Spec != nil {
					safe = safe && e.Place != nil
					if safe {
						f := field(ref, 0, e.Place.Field)
						safe = fmt.Sprint(e.Spec) == fmt.Sprint(f.Spec) && e.Ref == f.Ref
					}
				}
			}
			if safe {
				dep = mended(ref, dep, entries)
			}
		}
		run := func() (*Ledger, error) {
			l := &Ledger{Entries: append([]Entry(nil), entries...)}
			return l, l.Check(t.Context(), img(ref), img(dep), tools())
		}
		l, err := run()
		if err != nil {
			return
		}
		sum := l.Totals.Identical + l.Totals.Moved + l.Totals.Explained + l.Totals.Carried + l.Totals.Unexplained
		if sum != int64(len(dep)) {
			t.Fatalf("totals of %d for %d bytes", sum, len(dep))
		}
		if clean(l) && l.FreeBits == 0 && !bytes.Equal(ref, dep) {
			t.Fatalf("clean and free, and not the reference:\n%x", dep)
		}
		if bytes.Equal(ref, dep) != (l.Reference == l.Deployed) {
			t.Fatal("digests do not tell the images apart")
		}
		replays(t, ref, dep, l)
		var a, b bytes.Buffer
		l2, err := run()
		if err != nil {
			t.Fatalf("the second time: %v", err)
		}
		if _, err := l.Encode(&a); err != nil {
			t.Fatal(err)
		}
		if _, err := l2.Encode(&b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Fatal("two checks, two ledgers")
		}
		if _, err := recheck(ref, dep, a.Bytes()); err != nil {
			t.Fatalf("its own evidence: %v", err)
		}
	})
}

// FuzzDecode: what is read is written back byte for byte, and replays or is
// refused, never more.
func FuzzDecode(f *testing.F) {
	ref, dep, _, stored := evidence(f)
	f.Add(stored)
	for i := 0; i < len(stored); i += 97 {
		f.Add(resealed(append(bytes.Clone(stored[:i]), stored[min(i+2, len(stored)):]...)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, resealed(b)} {
			l, sum, err := Decode(bytes.NewReader(b))
			if err != nil {
				continue
			}
			var out bytes.Buffer
			again, err := l.Encode(&out)
			if err != nil || again != sum || !bytes.Equal(out.Bytes(), b) {
				t.Fatalf("read, and written otherwise (%v):\n%s\n%s", err, b, out.Bytes())
			}
			if got, err := recheck(ref, dep, b); err == nil && got.Totals.Unexplained == 0 {
				t.Fatal("the three bytes are explained")
			}
		}
	})
}
