package difftest

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"hash/crc32"
)

// An FDT is a flattened device tree.
type FDT struct {
	Root    FDTNode
	Reserve [][2]uint64 // address and size of reserved memory
	Slack   int         // bytes of the tree after its last block
}

// An FDTNode is a node: properties, then nodes.
type FDTNode struct {
	Name  string
	Props []FDTProp
	Nodes []FDTNode
}

// An FDTProp is a property.
type FDTProp struct {
	Name  string
	Value []byte
}

// Bytes returns the tree as dtc writes it: header, reservations, structure and
// strings. A property's name is looked for among those there are, as the end of
// another's too.
func (t FDT) Bytes() []byte {
	var reserve, structure, names []byte
	be := binary.BigEndian
	for _, r := range append(t.Reserve, [2]uint64{}) {
		reserve = be.AppendUint64(be.AppendUint64(reserve, r[0]), r[1])
	}
	word := func(v int) { structure = be.AppendUint32(structure, uint32(v)) }
	text := func(b []byte) { structure = append(append(structure, b...), make([]byte, -len(b)&3)...) }
	var node func(n FDTNode)
	node = func(n FDTNode) {
		word(1)
		text([]byte(n.Name + "\x00"))
		for _, p := range n.Props {
			at := bytes.Index(names, []byte(p.Name+"\x00"))
			if at < 0 {
				at = len(names)
				names = append(names, p.Name+"\x00"...)
			}
			word(3)
			word(len(p.Value))
			word(at)
			text(p.Value)
		}
		for _, c := range n.Nodes {
			node(c)
		}
		word(2)
	}
	node(t.Root)
	word(9)

	offStruct := 40 + len(reserve)
	offStrings := offStruct + len(structure)
	var b []byte
	b = be.AppendUint32(b, 0xd00dfeed)
	for _, v := range []int{offStrings + len(names) + t.Slack, offStruct, offStrings, 40, 17, 16, 0, len(names), len(structure)} {
		b = be.AppendUint32(b, uint32(v))
	}
	b = append(append(append(b, reserve...), structure...), names...)
	return append(b, make([]byte, t.Slack)...)
}

// A FIT is a U-Boot FIT image.
type FIT struct {
	Time     uint32
	Images   []FITImage
	External bool   // the images stand behind the tree, as mkimage -E puts them
	Position uint32 // with External: where, from the start of the file; 0 says by data-offset
	Tail     []byte // after everything
}

// A FITImage is one image of a FIT. Hashes are the algorithms of its hash nodes.
type FITImage struct {
	Name, Type, Compression string
	Data                    []byte
	Hashes                  []string
}

// Text returns the value of a property that is a string.
func Text(s string) []byte { return []byte(s + "\x00") }

// Word returns the value of a property that is a 32-bit number.
func Word(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// Bytes returns the image.
func (f FIT) Bytes() []byte {
	images := FDTNode{Name: "images"}
	var outside []byte
	for _, image := range f.Images {
		n := FDTNode{Name: image.Name, Props: []FDTProp{
			{"description", Text("an image")},
			{"type", Text(image.Type)},
			{"arch", Text("arm64")},
			{"os", Text("linux")},
			{"compression", Text(image.Compression)},
		}}
		switch {
		case !f.External:
			n.Props = append(n.Props, FDTProp{"data", image.Data})
		case f.Position != 0:
			n.Props = append(n.Props, FDTProp{"data-position", Word(f.Position + uint32(len(outside)))},
				FDTProp{"data-size", Word(uint32(len(image.Data)))})
		default:
			n.Props = append(n.Props, FDTProp{"data-offset", Word(uint32(len(outside)))},
				FDTProp{"data-size", Word(uint32(len(image.Data)))})
		}
		if f.External {
			outside = append(append(outside, image.Data...), make([]byte, -len(image.Data)&3)...)
		}
		for i, algo := range image.Hashes {
			n.Nodes = append(n.Nodes, FDTNode{Name: "hash-" + string(rune('1'+i)), Props: []FDTProp{
				{"algo", Text(algo)}, {"value", digest(algo, image.Data)},
			}})
		}
		images.Nodes = append(images.Nodes, n)
	}
	conf := FDTNode{Name: "configurations", Props: []FDTProp{{"default", Text("conf-1")}}, Nodes: []FDTNode{
		{Name: "conf-1", Props: []FDTProp{{"kernel", Text(f.Images[0].Name)}}},
	}}
	b := FDT{Root: FDTNode{
		Props: []FDTProp{{"timestamp", Word(f.Time)}, {"description", Text("assay")}, {"#address-cells", Word(1)}},
		Nodes: []FDTNode{images, conf},
	}}.Bytes()
	if f.External {
		b = append(b, make([]byte, -len(b)&3)...)
		b = append(b, make([]byte, max(0, int(f.Position)-len(b)))...)
		b = append(b, outside...)
	}
	return append(b, f.Tail...)
}

func digest(algo string, b []byte) []byte {
	switch algo {
	case "crc32":
		return Word(crc32.ChecksumIEEE(b))
	case "md5":
		sum := md5.Sum(b)
		return sum[:]
	case "sha1":
		sum := sha1.Sum(b)
		return sum[:]
	case "sha256":
		sum := sha256.Sum256(b)
		return sum[:]
	case "sha384":
		sum := sha512.Sum384(b)
		return sum[:]
	case "sha512":
		sum := sha512.Sum512(b)
		return sum[:]
	}
	return nil
}

// SmallFIT holds a kernel and a tree of a few bytes, with hashes of every kind.
func SmallFIT() FIT {
	return FIT{
		Time: 1714558830,
		Images: []FITImage{
			{Name: "kernel", Type: "kernel", Compression: "none", Data: []byte("a kernel that does nothing."), Hashes: []string{"crc32", "sha256", "sha512"}},
			{Name: "fdt-1", Type: "flat_dt", Compression: "none", Data: SmallFDT().Bytes(), Hashes: []string{"md5", "sha1", "sha384"}},
		},
	}
}

// SmallFDT is a board with a UART and some reserved memory.
func SmallFDT() FDT {
	return FDT{
		Reserve: [][2]uint64{{0x40000000, 0x1000}},
		Root: FDTNode{
			Props: []FDTProp{{"compatible", Text("assay,board")}, {"empty", nil}},
			Nodes: []FDTNode{
				{Name: "soc", Nodes: []FDTNode{
					{Name: "serial@1000", Props: []FDTProp{{"reg", Word(0x1000)}, {"status", Text("ok")}}},
				}},
			},
		},
	}
}

func fdtSamples() []Sample {
	slack, external, position, tail := SmallFDT(), SmallFIT(), SmallFIT(), SmallFIT()
	slack.Slack = 10
	external.External = true
	position.External, position.Position = true, 0x580
	tail.External, tail.Tail = true, []byte("after the end")
	return []Sample{
		{"fdt", "fdt", SmallFDT().Bytes()},
		{"fdt-slack", "fdt", slack.Bytes()},
		{"fit", "fdt", SmallFIT().Bytes()},
		{"fit-external", "fdt", external.Bytes()},
		{"fit-position", "fdt", position.Bytes()},
		{"fit-external-tail", "fdt", tail.Bytes()},
	}
}
