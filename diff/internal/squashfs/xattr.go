package squashfs

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/assaylab/assay/diff/ledger"
)

// Attrs is one list of extended attributes.
type Attrs struct {
	Off, Len int64 // in the table of keys and values
	Count    int64 // of attributes, as many as are whole
	ID       int   // its number
}

// An Attr is one extended attribute: its header of 4 bytes, the name without the
// prefix that the type stands for, the size of the value, and the value.
type Attr struct {
	Off     int64 // in the table of keys and values
	Type    uint16
	NameLen int64
	ValLen  int64 // 8 if it stands elsewhere
	Outside bool  // the value is a reference to one
}

// Len is the length of the attribute in the table.
func (a *Attr) Len() int64 { return 4 + a.NameLen + 4 + a.ValLen }

// XattrRef returns the reference of list i of extended attributes.
func (im *Image) XattrRef(i int) (start uint64, offset uint32, count uint32) {
	b := im.XattrIDs.Data[16*i:]
	start, offset = ref(binary.LittleEndian.Uint64(b))
	return start, offset, binary.LittleEndian.Uint32(b[8:])
}

// findAttrs finds the lists of extended attributes; one that starts inside another
// is left out.
func (p *parser) findAttrs() error {
	n := len(p.XattrIDs.Data) / 16
	if err := p.take(int64(n) * 32); err != nil {
		return err
	}
	for i := range n {
		start, offset, count := p.XattrRef(i)
		if off, ok := p.Xattrs.Find(start, offset); ok {
			p.Attrs = append(p.Attrs, Attrs{Off: off, Count: int64(count), ID: i})
		}
	}
	slices.SortStableFunc(p.Attrs, func(a, b Attrs) int { return cmp.Compare(a.Off, b.Off) })
	end, kept := int64(0), p.Attrs[:0]
	for _, l := range p.Attrs {
		if l.Off < end {
			continue
		}
		whole := int64(0)
		for ; whole < l.Count; whole++ {
			a, ok := p.attr(l.Off + l.Len)
			if !ok {
				break
			}
			l.Len += a.Len()
		}
		if l.Count = whole; whole > 0 {
			end, kept = l.Off+l.Len, append(kept, l)
		}
	}
	p.Attrs = kept
	return p.findValues()
}

// findValues finds the values that stand by themselves because several attributes
// have them. Such a reference may also lead to a value inside of a list.
func (p *parser) findValues() error {
	var all []ledger.Range
	for i := range p.Attrs {
		p.Each(&p.Attrs[i], func(a Attr) bool {
			b := p.Xattrs.Data
			if !a.Outside {
				return true
			}
			start, offset := ref(binary.LittleEndian.Uint64(b[a.Off+4+a.NameLen+4:]))
			off, ok := p.Xattrs.Find(start, offset)
			if ok && off+4 <= int64(len(b)) {
				if n := int64(binary.LittleEndian.Uint32(b[off:])); n <= int64(len(b))-off-4 {
					all = append(all, ledger.Range{Off: off, Len: 4 + n})
				}
			}
			return true
		})
	}
	if err := p.take(int64(len(all)) * 16); err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b ledger.Range) int { return cmp.Or(cmp.Compare(a.Off, b.Off), cmp.Compare(b.Len, a.Len)) })
	lists, end := p.Attrs, int64(0)
	for _, v := range all {
		for len(lists) > 0 && lists[0].Off+lists[0].Len <= v.Off {
			lists = lists[1:]
		}
		if v.Off < end || len(lists) > 0 && lists[0].Off < v.End() {
			continue
		}
		end, p.Values = v.End(), append(p.Values, v)
	}
	return nil
}

func (im *Image) attr(off int64) (a Attr, ok bool) {
	b, le := im.Xattrs.Data[off:], binary.LittleEndian
	if len(b) < 4 {
		return a, false
	}
	a = Attr{Off: off, Type: le.Uint16(b), NameLen: int64(le.Uint16(b[2:]))}
	if int64(len(b)) < 4+a.NameLen+4 {
		return a, false
	}
	const outside = 0x100
	a.ValLen = int64(le.Uint32(b[4+a.NameLen:]))
	a.Outside = a.Type&outside != 0 && a.ValLen == 8
	return a, int64(len(b)) >= a.Len()
}

// Each calls visit for the attributes of a list, in order.
func (im *Image) Each(l *Attrs, visit func(Attr) bool) {
	off := l.Off
	for range l.Count {
		a, ok := im.attr(off)
		if !ok || !visit(a) {
			return
		}
		off += a.Len()
	}
}
