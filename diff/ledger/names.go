package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A renamed is an id that an entry replaces.
type renamed struct {
	e        *Entry
	old, now [16]byte // as parseUUID gives them
}

// names refuses new ids that do not leave alone what goes by an id. An id is a name: a
// table of mounts, a boot loader's command, the copy of a header have it too. So the new
// one must stand nowhere in the reference, where it is another's, and the old one nowhere
// in the deployed image, where something still calls for it: in its bytes, in those of a
// GUID, in its text; in whatever can be decoded, and if a limit keeps anything closed, no
// id is replaced. Ids of four bytes stand anywhere by chance, so that their bytes count
// only where a layout has an id.
func (c *checker) names() error {
	if len(c.ids) == 0 {
		return nil
	}
	news, olds := newNeedles(), newNeedles()
	for i := range c.ids {
		news.add(c.ids[i].e.Spec.Enc, c.ids[i].now)
		olds.add(c.ids[i].e.Spec.Enc, c.ids[i].old)
	}
	for i, n := range []*needles{news, olds} {
		img := c.images[i]
		search := func(r io.ReaderAt, size int64, seeds []Range) error { return c.search(r, size, seeds, n) }
		var err error
		if c.tools.Streams == nil {
			err = search(img, img.size, nil)
		} else {
			err = c.tools.Streams(c.ctx, Image{img, img.size}, search, n.id)
		}
		if errors.Is(err, ErrLimit) {
			for _, r := range c.ids {
				r.e.unexplain("a limit keeps closed where the id may stand")
			}
			return nil
		} else if err != nil {
			return err
		}
	}
	for _, r := range c.ids {
		switch {
		case news.found[r.now]:
			r.e.unexplain("the id of something else in the reference")
		case olds.found[r.old]:
			r.e.unexplain("something still goes by the id that was")
		}
	}
	return nil
}

// needles are ids that are looked for, in all their forms. Bytes are looked for as they
// are, texts without regard to case.
type needles struct {
	found       map[[16]byte]bool
	bytes, text forms
	width       int // of the longest form
}

// forms are found by two bytes of them, those that are the rarest, and then as a whole:
// so that many ids cost no more than one.
type forms struct {
	marks [1 << 16]bool
	spots map[uint16][]spot
	ids   map[string][][16]byte
}

// A spot says where in forms of one length two bytes stand.
type spot struct{ at, size int }

func newNeedles() *needles {
	n := &needles{found: map[[16]byte]bool{}}
	for _, f := range []*forms{&n.bytes, &n.text} {
		f.spots, f.ids = map[uint16][]spot{}, map[string][][16]byte{}
	}
	return n
}

func (n *needles) add(enc Enc, id [16]byte) {
	if _, ok := n.found[id]; ok {
		return
	}
	n.found[id] = false
	raw, texts := idForms(enc, id)
	for _, f := range raw {
		n.bytes.add(f, id)
		n.width = max(n.width, len(f))
	}
	for _, f := range texts {
		n.text.add(f, id)
		n.width = max(n.width, len(f))
	}
}

func (f *forms) add(form string, id [16]byte) {
	at, best := 0, -1
	for i := range len(form) - 1 {
		if r := rarity(form[i]) + rarity(form[i+1]); r > best {
			at, best = i, r
		}
	}
	two := binary.LittleEndian.Uint16([]byte(form[at:]))
	f.marks[two] = true
	if s := (spot{at, len(form)}); !slices.Contains(f.spots[two], s) {
		f.spots[two] = append(f.spots[two], s)
	}
	f.ids[form] = append(f.ids[form], id)
}

// rarity guesses how seldom a byte stands in an image.
func rarity(b byte) int {
	switch b {
	case 0, 0xff:
		return 0
	case '0', ' ':
		return 1
	}
	return 2
}

// idForms are the ways in which an id is spelled: its bytes, those of a GUID, whose
// first three numbers are little endian (UEFI 2.10, appendix A); the texts of both, in
// lower case, with hyphens, without, with those that systemd escapes, and in UTF-16; of
// four bytes the texts of a FAT volume's serial number and of a partition by its disk's
// signature, as blkid prints them.
func idForms(enc Enc, id [16]byte) (raw, texts []string) {
	if enc == "id32" {
		v := binary.LittleEndian.Uint32(id[:])
		texts = []string{fmt.Sprintf("%04x-%04x", v>>16, v&0xffff), fmt.Sprintf("%08x-0", v)}
	} else {
		guid := [16]byte{id[3], id[2], id[1], id[0], id[5], id[4], id[7], id[6]}
		copy(guid[8:], id[8:])
		for _, u := range [][16]byte{id, guid} {
			raw = append(raw, string(u[:]))
			texts = append(texts, fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]), fmt.Sprintf("%x", u))
		}
	}
	for _, t := range texts {
		if strings.Contains(t, "-") {
			texts = append(texts, strings.ReplaceAll(t, "-", `\x2d`))
		}
		texts = append(texts, strings.Join(strings.Split(t, ""), "\x00")) // UTF-16, little endian
	}
	return raw, texts
}

// id notes an id of four bytes that stands where a layout has one.
func (n *needles) id(enc Enc, b []byte) {
	u, ok := parseUUID(enc, b, b)
	if _, wanted := n.found[u]; ok && wanted && enc == "id32" {
		n.found[u] = true
	}
}

// search looks for needles in a stream, but for its seeds, which are no names.
func (c *checker) search(r io.ReaderAt, size int64, seeds []Range, n *needles) error {
	buf := make([]byte, min(blockSize, size))
	for off := int64(0); off < size; {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(int64(len(buf)), size-off)]
		if err := readFull(r, b, off); err != nil {
			return err
		}
		skip := func(at Range) bool {
			return slices.ContainsFunc(seeds, func(s Range) bool { return s.Contains(Range{at.Off + off, at.Len}) })
		}
		n.in(&n.bytes, b, skip)
		for i, c := range b {
			if c >= 'A' && c <= 'Z' {
				b[i] = c | 0x20
			}
		}
		n.in(&n.text, b, func(Range) bool { return false })
		if off += int64(len(b)); off < size {
			off -= int64(n.width) - 1
		}
	}
	return nil
}

// in notes the forms that stand in b.
func (n *needles) in(f *forms, b []byte, skip func(Range) bool) {
	for i := range len(b) - 1 {
		two := uint16(b[i]) | uint16(b[i+1])<<8
		if !f.marks[two] {
			continue
		}
		for _, s := range f.spots[two] {
			from := i - s.at
			if from < 0 || from+s.size > len(b) {
				continue
			}
			for _, id := range f.ids[string(b[from:from+s.size])] {
				if !n.found[id] && !skip(Range{int64(from), int64(s.size)}) {
					n.found[id] = true
				}
			}
		}
	}
}
