package ledger

import (
	"encoding/binary"
	"fmt"
	"io"
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
// GUID, in its text; in whatever can be decoded. Ids of four bytes stand anywhere by
// chance, so that their bytes count only where a layout has an id.
func (c *checker) names() error {
	if len(c.ids) == 0 {
		return nil
	}
	var news, olds needles
	for i := range c.ids {
		news.add(c.ids[i].e.Spec.Enc, c.ids[i].now)
		olds.add(c.ids[i].e.Spec.Enc, c.ids[i].old)
	}
	for i, n := range []*needles{&news, &olds} {
		img := c.images[i]
		search := func(r io.ReaderAt, size int64) error { return c.search(r, size, n) }
		if c.tools.Streams == nil {
			if err := search(img, img.size); err != nil {
				return err
			}
			continue
		}
		if err := c.tools.Streams(c.ctx, Image{img, img.size}, search, n.id); err != nil {
			return err
		}
	}
	for _, r := range c.ids {
		switch {
		case news.found[r.now] > 0:
			r.e.unexplain("the id of something else in the reference")
		case olds.found[r.old] > 0:
			r.e.unexplain("something still goes by the id that was")
		}
	}
	return nil
}

// needles are ids that are looked for, in all their forms.
type needles struct {
	first [1 << 16]bool // by the first two bytes
	forms map[uint16][]idForm
	found map[[16]byte]int // how often
	width int              // of the longest form
}

type idForm struct {
	text string
	id   [16]byte
}

func (n *needles) add(enc Enc, id [16]byte) {
	if n.forms == nil {
		n.forms, n.found = map[uint16][]idForm{}, map[[16]byte]int{}
	}
	if _, ok := n.found[id]; ok {
		return
	}
	n.found[id] = 0
	for _, f := range idForms(enc, id) {
		two := binary.LittleEndian.Uint16([]byte(f))
		n.first[two] = true
		n.forms[two] = append(n.forms[two], idForm{f, id})
		n.width = max(n.width, len(f))
	}
}

// idForms are the ways in which an id is spelled: its bytes, those of a GUID, whose
// first three numbers are little endian (UEFI 2.10, appendix A), and the texts of both;
// of four bytes the texts of a FAT volume's serial number and of a partition by its
// disk's signature, as blkid prints them.
func idForms(enc Enc, id [16]byte) []string {
	var out []string
	texts := func(s string) { out = append(out, strings.ToLower(s), strings.ToUpper(s)) }
	if enc == "id32" {
		v := binary.LittleEndian.Uint32(id[:])
		texts(fmt.Sprintf("%04x-%04x", v>>16, v&0xffff))
		texts(fmt.Sprintf("%08x-0", v))
		return out
	}
	guid := [16]byte{id[3], id[2], id[1], id[0], id[5], id[4], id[7], id[6]}
	copy(guid[8:], id[8:])
	both := [][16]byte{id, guid}
	if guid == id {
		both = both[:1] // each is counted once
	}
	for _, u := range both {
		out = append(out, string(u[:]))
		texts(fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]))
	}
	return out
}

// id notes an id that stands where a layout has one. Those of four bytes were not looked
// for; a seed that is the same bytes was found, and is no name.
func (n *needles) id(enc Enc, b []byte) {
	u, ok := parseUUID(enc, b, b)
	if _, wanted := n.found[u]; !ok || !wanted {
		return
	}
	switch enc {
	case "id32":
		n.found[u]++
	case "seed":
		n.found[u]--
	}
}

// search looks for needles in a stream.
func (c *checker) search(r io.ReaderAt, size int64, n *needles) error {
	buf := make([]byte, min(blockSize, size))
	for off := int64(0); off < size; {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(int64(len(buf)), size-off)]
		if err := readFull(r, b, off); err != nil {
			return err
		}
		// What begins in the last bytes is looked at with those that follow.
		end := len(b) - 1
		if off+int64(len(b)) < size {
			end = len(b) - n.width + 1
		}
		for i := range end {
			two := uint16(b[i]) | uint16(b[i+1])<<8
			if !n.first[two] {
				continue
			}
			for _, f := range n.forms[two] {
				if len(b)-i >= len(f.text) && string(b[i:i+len(f.text)]) == f.text {
					n.found[f.id]++
				}
			}
		}
		if off += int64(len(b)); off < size {
			off -= int64(n.width) - 1
		}
	}
	return nil
}
