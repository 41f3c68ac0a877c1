package format

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/ledger"
)

// uimage is a header of 64 bytes and a payload. The payload of multi-file
// images and of scripts is a list of sizes that ends in zero, and as many
// parts, each but the last padded to a multiple of 4.
var uimage = &diff.Format{
	Name:    "uimage",
	Version: 1,
	Title:   "U-Boot legacy image",
	Source:  "U-Boot include/image.h, struct legacy_img_hdr; tools/mkimage.c; boot/image.c, image_multi_getimg",
	Detect: func(in *diff.Input) bool {
		b := in.Bytes(0, 4)
		return b != nil && binary.BigEndian.Uint32(b) == uimageMagic
	},
	Parse: parseUImage,
}

const (
	uimageMagic  = 0x27051956
	uimageHeader = 64

	uimageMulti  = 4 // ih_type
	uimageScript = 6
)

var uimageTable = &diff.Table{Fields: []diff.Field{
	{Name: "magic", Off: 0, Len: 4, Role: diff.RoleMagic},
	{Name: "hcrc", Off: 4, Len: 4, Role: diff.RoleChecksum, Op: ledger.OpSum, Enc: "u32be", Alg: "crc32", Of: ".", BlankSelf: true},
	{Name: "time", Off: 8, Len: 4, Role: diff.RoleTime, Op: ledger.OpTime, Enc: "u32be"},
	{Name: "size", Off: 12, Len: 4, Role: diff.RoleLength, Op: ledger.OpNumber, Enc: "u32be", Of: "payload"},
	{Name: "load", Off: 16, Len: 4, Role: diff.RoleMeta},
	{Name: "ep", Off: 20, Len: 4, Role: diff.RoleMeta},
	{Name: "dcrc", Off: 24, Len: 4, Role: diff.RoleChecksum, Op: ledger.OpSum, Enc: "u32be", Alg: "crc32", Of: "payload"},
	{Name: "os", Off: 28, Len: 1, Role: diff.RoleMeta},
	{Name: "arch", Off: 29, Len: 1, Role: diff.RoleMeta},
	{Name: "type", Off: 30, Len: 1, Role: diff.RoleMeta},
	{Name: "comp", Off: 31, Len: 1, Role: diff.RoleMeta},
	{Name: "name", Off: 32, Len: 32, Role: diff.RoleName},
}}

func parseUImage(_ context.Context, in *diff.Input) ([]diff.Section, error) {
	h := in.Bytes(0, uimageHeader)
	if h == nil || binary.BigEndian.Uint32(h) != uimageMagic {
		return nil, errors.New("uimage: no header at the start")
	}
	size := int64(binary.BigEndian.Uint32(h[12:]))
	if size > in.Size-uimageHeader {
		return nil, fmt.Errorf("uimage: a payload of %d bytes, of which %d are there", size, in.Size-uimageHeader)
	}
	if err := in.Budget.Node(2 + int64(len(uimageTable.Fields))); err != nil {
		return nil, err
	}
	header := diff.Section{Name: "header", Role: diff.RoleHeader, Len: uimageHeader, Table: uimageTable}
	hcrc := binary.BigEndian.Uint32(h[4:])
	clear(h[4:8])
	if sum := crc32.ChecksumIEEE(h); sum != hcrc {
		header.Note = fmt.Sprintf("header checksum is %08x, should be %08x", hcrc, sum)
	}
	payload := diff.Section{Name: "payload", Role: diff.RolePayload, Off: uimageHeader, Len: size}
	switch h[30] {
	case uimageMulti, uimageScript:
		var err error
		if payload.Children, err = uimageParts(in, &payload); err != nil {
			return nil, err
		}
		if payload.Children == nil {
			payload.Note = "its list of sizes does not fit it"
		}
	default:
		payload.Open = true
	}
	return []diff.Section{header, payload}, nil
}

// uimageParts lays out a payload that is a list of parts, or returns nil if
// the list does not fit it.
func uimageParts(in *diff.Input, payload *diff.Section) ([]diff.Section, error) {
	var sizes []int64
	list := in.Bytes(payload.Off, min(payload.Len, 1<<16))
	for {
		if len(list) < 4 {
			return nil, nil
		}
		n := int64(binary.BigEndian.Uint32(list))
		list = list[4:]
		if n == 0 {
			break
		}
		sizes = append(sizes, n)
	}
	if err := in.Budget.Node(2 + 3*int64(len(sizes))); err != nil {
		return nil, err
	}
	table := diff.Section{Name: "sizes", Role: diff.RoleTable, Off: payload.Off, Len: 4 * (int64(len(sizes)) + 1)}
	out := make([]diff.Section, 1, 1+2*len(sizes))
	at := table.End()
	for i, n := range sizes {
		if at > payload.End() || n > payload.End()-at {
			return nil, nil
		}
		part := diff.Section{Name: fmt.Sprintf("part %d", i+1), Role: diff.RoleMember, Off: at, Len: n, Open: true}
		table.Children = append(table.Children, diff.Section{
			Name: part.Name, Role: diff.RoleLength, Off: payload.Off + 4*int64(i), Len: 4,
			Spec: &ledger.Spec{Op: ledger.OpNumber, Enc: "u32be", Over: []ledger.Span{{Range: part.Range()}}},
		})
		out = append(out, part)
		at = part.End()
		if i == len(sizes)-1 {
			break
		}
		pad := diff.Section{
			Name: fmt.Sprintf("padding %d", i+1), Role: diff.RolePadding, Off: at, Len: -n & 3,
			Spec: &ledger.Spec{Op: ledger.OpFill, Align: 4, Over: []ledger.Span{{Range: part.Range()}}},
		}
		at = pad.End()
		if at > payload.End() {
			return nil, nil
		}
		out = append(out, pad)
	}
	table.Children = append(table.Children, diff.Section{
		Name: "end", Role: diff.RoleEnd, Off: table.End() - 4, Len: 4,
	})
	out[0] = table
	return out, nil
}
