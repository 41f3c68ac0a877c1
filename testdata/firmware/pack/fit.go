package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

// image wraps the ramdisk in a FIT (U-Boot, doc/usage/fit/source_file_format.rst):
// one image with its digest, and one configuration that uses it.
func image(ramdisk []byte, epoch uint32) []byte {
	digest := sha256.Sum256(ramdisk)
	var t tree
	t.node("", func() {
		t.number("timestamp", epoch)
		t.text("description", "blinky for the example board")
		t.number("#address-cells", 1)
		t.node("images", func() {
			t.node("ramdisk", func() {
				t.text("description", "root file system")
				t.bytes("data", ramdisk)
				t.text("type", "ramdisk")
				t.text("arch", "arm64")
				t.text("os", "linux")
				t.text("compression", "gzip")
				t.node("hash-1", func() {
					t.bytes("value", digest[:])
					t.text("algo", "sha256")
				})
			})
		})
		t.node("configurations", func() {
			t.text("default", "conf-1")
			t.node("conf-1", func() {
				t.text("description", "the only configuration")
				t.text("ramdisk", "ramdisk")
			})
		})
	})
	return t.blob()
}

// A tree writes a flattened device tree (Devicetree Specification 0.4, chapter 5).
type tree struct {
	structure bytes.Buffer
	strings   bytes.Buffer
}

// Tokens of the structure block.
const (
	beginNode = 1
	endNode   = 2
	property  = 3
	end       = 9
)

// node appends a node; fill appends what is in it, properties first.
func (t *tree) node(name string, fill func()) {
	t.word(beginNode)
	t.structure.WriteString(name + "\x00")
	t.pad()
	fill()
	t.word(endNode)
}

func (t *tree) text(name, value string) { t.bytes(name, []byte(value+"\x00")) }

func (t *tree) number(name string, value uint32) {
	t.bytes(name, binary.BigEndian.AppendUint32(nil, value))
}

// bytes appends a property.
func (t *tree) bytes(name string, value []byte) {
	t.word(property)
	t.word(uint32(len(value)))
	t.word(t.intern(name))
	t.structure.Write(value)
	t.pad()
}

// intern returns the offset of a property's name in the strings block.
func (t *tree) intern(name string) uint32 {
	entry := append([]byte(name), 0)
	for at, rest := 0, t.strings.Bytes(); len(rest) > 0; {
		length := bytes.IndexByte(rest, 0) + 1
		if bytes.Equal(rest[:length], entry) {
			return uint32(at)
		}
		at, rest = at+length, rest[length:]
	}
	at := t.strings.Len()
	t.strings.Write(entry)
	return uint32(at)
}

func (t *tree) word(value uint32) {
	t.structure.Write(binary.BigEndian.AppendUint32(nil, value))
}

func (t *tree) pad() {
	for t.structure.Len()%4 != 0 {
		t.structure.WriteByte(0)
	}
}

// blob returns the tree: header, no memory reservations, structure, strings.
func (t *tree) blob() []byte {
	const (
		header       = 40
		reservations = 16 // the terminating entry alone
		structure    = header + reservations
	)
	t.word(end)
	texts := structure + t.structure.Len()
	var out []byte
	for _, field := range []int{
		0xd00dfeed,
		texts + t.strings.Len(),
		structure, texts, header,
		17, 16, // version, and the oldest it is compatible with
		0, // boot CPU
		t.strings.Len(), t.structure.Len(),
	} {
		out = binary.BigEndian.AppendUint32(out, uint32(field))
	}
	out = append(out, make([]byte, reservations)...)
	out = append(out, t.structure.Bytes()...)
	return append(out, t.strings.Bytes()...)
}
