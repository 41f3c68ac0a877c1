package format

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/fdt"
	"github.com/assaylab/assay/diff/ledger"
)

// A FIT image is a device tree with a node /images, as U-Boot's boot/image-fit.c
// reads it. Each node in it is an image, whose bytes are
//
//   - at the absolute offset data-position, data-size bytes, or else
//   - at data-offset from the end of the tree, rounded up to a multiple of 4,
//     data-size bytes, or else
//   - the value of its property data.
//
// The nodes in an image whose names start with "hash" hold its digest in
// value, by the algorithm named in algo. Signatures are no places: only who
// has the key can make them, and no rule here verifies them. The timestamp of
// the root is a place; those of signatures are signed.

// fitSums are the algorithms of hash nodes: size and spelling of their values.
var fitSums = map[string]struct {
	size int64
	enc  ledger.Enc
}{
	"crc32":  {4, "u32be"},
	"md5":    {16, "raw"},
	"sha1":   {20, "raw"},
	"sha256": {32, "raw"},
	"sha384": {48, "raw"},
	"sha512": {64, "raw"},
}

// A fitImage is an image whose bytes stand outside the tree.
type fitImage struct {
	node *fdt.Item
	data ledger.Range
	base int64 // what where counts from
	size *fdt.Item
	from *fdt.Item
}

// fit finds the places of a FIT image, and its images behind the tree. Of any
// other tree it finds none.
func (p *treeLayout) fit() error {
	images := p.Root.Node("images")
	if images == nil {
		return nil
	}
	p.places = make(map[int64]place)
	if q := p.Root.Property("timestamp"); q != nil && q.Value.Len == 4 {
		p.places[q.Value.Off] = place{role: diff.RoleTime, spec: &ledger.Spec{Op: ledger.OpTime, Enc: "u32be"}}
	}
	var outside []fitImage
	for i := range images.Items {
		n := &images.Items[i]
		if n.Kind != fdt.Node {
			continue
		}
		if err := p.ctx.Err(); err != nil {
			return err
		}
		image, external := p.located(n)
		if external {
			if image.data.Off < p.Size || image.data.End() > p.in.Size {
				p.places[image.from.Value.Off] = place{role: diff.RoleOffset, note: "the data does not stand behind the tree and in the file"}
				continue
			}
			outside = append(outside, image)
		} else if q := n.Property("data"); q != nil {
			p.places[q.Value.Off] = place{role: diff.RolePayload, open: true}
			p.hashes(n, q.Value)
		}
	}
	return p.outside(outside)
}

// located says where the bytes of an image stand, if outside the tree.
func (p *treeLayout) located(n *fdt.Item) (image fitImage, external bool) {
	image = fitImage{node: n, size: n.Property("data-size"), from: n.Property("data-position")}
	if image.from == nil {
		image.from = n.Property("data-offset")
		image.base = (p.Size + 3) &^ 3
	}
	off, ok := p.word(image.from)
	size, ok2 := p.word(image.size)
	image.data = ledger.Range{Off: image.base + off, Len: size}
	return image, ok && ok2
}

// word returns the value of a property that holds a word.
func (p *treeLayout) word(q *fdt.Item) (int64, bool) {
	if q == nil || q.Value.Len != 4 {
		return 0, false
	}
	b := p.in.Bytes(q.Value.Off, 4)
	if b == nil {
		return 0, false
	}
	return int64(binary.BigEndian.Uint32(b)), true
}

// hashes makes places of the digests of an image.
func (p *treeLayout) hashes(n *fdt.Item, data ledger.Range) {
	for i := range n.Items {
		h := &n.Items[i]
		if h.Kind != fdt.Node || !strings.HasPrefix(h.Name, "hash") {
			continue
		}
		algo, value := h.Property("algo"), h.Property("value")
		if algo == nil || value == nil || algo.Value.Len > 16 {
			continue
		}
		name, _, _ := strings.Cut(string(p.in.Bytes(algo.Value.Off, algo.Value.Len)), "\x00")
		if sum, ok := fitSums[name]; ok && value.Value.Len == sum.size {
			p.places[value.Value.Off] = place{role: diff.RoleChecksum, spec: &ledger.Spec{
				Op: ledger.OpSum, Alg: name, Enc: sum.enc, Over: []ledger.Span{{Range: data}},
			}}
		}
	}
}

// outside lays out the images behind the tree. mkimage fills up each to
// a multiple of 4 with zeros, and the tree before the first; more than that,
// as its option -B asks for, is a gap. An image that overlaps one before it is
// no section.
func (p *treeLayout) outside(images []fitImage) error {
	if len(images) == 0 {
		return nil
	}
	if err := p.in.Budget.Node(1 + 2*int64(len(images))); err != nil {
		return err
	}
	slices.SortStableFunc(images, func(a, b fitImage) int {
		return cmp.Or(cmp.Compare(a.data.Off, b.data.Off), cmp.Compare(a.data.Len, b.data.Len))
	})
	at := p.Size
	pad := func(name string, over ledger.Range, next int64) {
		if r := (ledger.Range{Off: over.End(), Len: -over.Len & 3}); r.End() <= next {
			p.external = append(p.external, diff.Section{
				Name: name, Role: diff.RolePadding, Off: r.Off, Len: r.Len,
				Spec: &ledger.Spec{Op: ledger.OpFill, Align: 4, Over: []ledger.Span{{Range: over}}},
			})
			at = r.End()
		}
	}
	pad("(padding)", ledger.Range{Len: p.Size}, images[0].data.Off)
	for i, image := range images {
		if image.data.Off < at {
			p.places[image.from.Value.Off] = place{role: diff.RoleOffset, note: "the data overlaps that of another image"}
			continue
		}
		p.external = append(p.external, diff.Section{
			Name: fmt.Sprintf("images/%s/data", image.node.Name), Role: diff.RolePayload, Open: true,
			Off: image.data.Off, Len: image.data.Len,
		})
		at = image.data.End()
		p.places[image.size.Value.Off] = place{role: diff.RoleLength, spec: numberOf(image.data)}
		p.places[image.from.Value.Off] = place{role: diff.RoleOffset, spec: numberOf(ledger.Range{
			Off: image.base, Len: image.data.Off - image.base,
		})}
		p.hashes(image.node, image.data)
		next := p.in.Size
		if i+1 < len(images) {
			next = images[i+1].data.Off
		}
		pad(fmt.Sprintf("images/%s/(padding)", image.node.Name), image.data, next)
	}
	return nil
}
