package fat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"
)

// entryLen is the length of a directory entry, and of a part of a long name.
const entryLen = 32

// Attributes of an entry.
const (
	attrLabel     = 0x08
	attrDirectory = 0x10
	attrLongName  = 0x0f // all of the lower four
)

const (
	deletedMark = 0xe5
	lastSlot    = 0x40 // of a long name, which comes first
	maxSlots    = 20   // 255 units in 20 parts of 13
)

// A longName gathers the parts of one, which stand before their entry, the last
// part first.
type longName struct {
	parts [][]byte
	sum   byte
	want  byte // number of the part to come; 0 when all are here
}

// add takes a part, or says that it does not continue what is there.
func (l *longName) add(part []byte) bool {
	n := part[0]
	switch {
	case n&lastSlot != 0 && len(l.parts) == 0:
		n &^= lastSlot
		if n == 0 || n > maxSlots {
			return false
		}
		l.sum = part[13]
	case len(l.parts) == 0 || n != l.want || part[13] != l.sum:
		return false
	}
	l.parts, l.want = append(l.parts, bytes.Clone(part)), n-1
	return true
}

// of says whether the name is whole and belongs to an entry.
func (l *longName) of(e []byte) bool {
	return len(l.parts) > 0 && l.want == 0 && l.sum == nameSum(e[:11])
}

// text returns the name, which ends at a zero.
func (l *longName) text() string {
	var units []uint16
	for i := len(l.parts) - 1; i >= 0; i-- {
		p := l.parts[i]
		for _, r := range [][]byte{p[1:11], p[14:26], p[28:32]} {
			for ; len(r) > 0; r = r[2:] {
				u := binary.LittleEndian.Uint16(r)
				if u == 0 {
					return string(utf16.Decode(units))
				}
				units = append(units, u)
			}
		}
	}
	return string(utf16.Decode(units))
}

// nameSum is what the parts of a long name say of the short one.
func nameSum(short []byte) byte {
	sum := byte(0)
	for _, c := range short {
		sum = sum>>1 | sum<<7
		sum += c
	}
	return sum
}

// shortName returns the name in an entry: bytes of some code page, in lower case
// where the entry says so.
func shortName(e []byte) string {
	base, ext := strings.TrimRight(string(e[:8]), " "), strings.TrimRight(string(e[8:11]), " ")
	if base != "" && base[0] == 0x05 {
		base = "\xe5" + base[1:]
	}
	if e[12]&0x08 != 0 {
		base = lower(base)
	}
	if e[12]&0x10 != 0 {
		ext = lower(ext)
	}
	if ext != "" {
		return base + "." + ext
	}
	return base
}

// directory reads the entries of a directory, up to the mark of its end.
func (p *reader) directory(dir int) error {
	var name longName
	flush := func(at int64) error { // what was gathered belongs to no entry
		for i := range name.parts {
			e := Entry{Kind: Stray, Off: at - entryLen*int64(len(name.parts)-i), Name: "stray long name"}
			if err := p.entry(dir, e); err != nil {
				return err
			}
		}
		name = longName{}
		return nil
	}
	at := int64(0)
	for _, piece := range p.Pieces(&p.Files[dir]) {
		for piece.Len > 0 {
			if err := p.ctx.Err(); err != nil {
				return err
			}
			b := p.buf[:min(int64(len(p.buf)), piece.Len)]
			if err := readFull(p.r, b, piece.Off, piece.End()); err != nil {
				return err
			}
			piece.Off, piece.Len = piece.Off+int64(len(b)), piece.Len-int64(len(b))
			for ; len(b) >= entryLen; at, b = at+entryLen, b[entryLen:] {
				e := b[:entryLen]
				if e[0] == 0 {
					return flush(at)
				}
				if e[0] != deletedMark && e[11]&0x3f == attrLongName {
					if name.add(e) {
						continue
					}
					if err := flush(at); err != nil {
						return err
					}
					if !name.add(e) { // nor does it begin one
						if err := p.entry(dir, Entry{Kind: Stray, Off: at, Name: "stray long name"}); err != nil {
							return err
						}
					}
					continue
				}
				slots := len(name.parts)
				if slots > 0 && (e[0] == deletedMark || !name.of(e)) {
					if err := flush(at); err != nil {
						return err
					}
					slots = 0
				}
				if err := p.take(dir, at, slots, &name, e); err != nil {
					return err
				}
				name = longName{}
			}
		}
	}
	return flush(at)
}

// take takes up the entry e, with slots parts of its long name before it.
func (p *reader) take(dir int, at int64, slots int, name *longName, e []byte) error {
	out := Entry{Slots: uint8(slots), Off: at - entryLen*int64(slots), Times: times(e)}
	switch {
	case e[0] == deletedMark:
		return p.entry(dir, Entry{Kind: Deleted, Off: at, Name: "deleted entry"})
	case e[11]&attrLabel != 0:
		out.Kind, out.Name = Label, "volume label"
		return p.entry(dir, out)
	}
	out.Name = shortName(e)
	if slots > 0 {
		out.Name = name.text()
	}
	if err := p.entry(dir, out); err != nil {
		return err
	}
	// Links to this directory and to the one above stand first, and own nothing.
	if link := strings.TrimRight(string(e[:11]), " "); dir > 0 && (at == 0 && link == "." || at == entryLen && link == "..") {
		return nil
	}
	return p.add(dir, out.Name, e)
}

// entry keeps an entry of a directory.
func (p *reader) entry(dir int, e Entry) error {
	if err := p.node(1 + nameCost(e.Name)); err != nil {
		return err
	}
	f := &p.Files[dir]
	f.Entries = append(f.Entries, e)
	f.Used = e.Off + e.Len()
	return nil
}

// times says which of the times of an entry are such.
func times(e []byte) Times {
	var t Times
	if stamp(e[14:18]) {
		t |= Created
		if e[13] < 200 {
			t |= CreatedTenths
		}
	}
	if date(e[18:20]) {
		t |= Accessed
	}
	if stamp(e[22:26]) {
		t |= Written
	}
	return t
}

// stamp says whether b, time and date, is a moment.
func stamp(b []byte) bool {
	t := binary.LittleEndian.Uint16(b)
	return t>>11 < 24 && t>>5&63 < 60 && t&31 < 30 && date(b[2:])
}

// date says whether b is a day of a year from 1980.
func date(b []byte) bool {
	d := binary.LittleEndian.Uint16(b)
	year, month, day := 1980+int(d>>9), time.Month(d>>5&15), int(d&31)
	if month < 1 || month > 12 || day < 1 {
		return false
	}
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Month() == month
}

// String says of what size entries a table is.
func (g *Geometry) String() string { return fmt.Sprintf("FAT%d", g.Bits) }
