package format

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/internal/codec"
)

// framed lays frames out. Those that follow each other are one carrier: a second
// frame continues the content of the first. What it is made of stands below it. A
// skippable frame stands for itself: what decodes passes over it, so whatever it
// holds is not part of the content.
func framed(in *diff.Input, f codec.Frames, of string) ([]diff.Section, error) {
	if err := in.Budget.Node(int64(len(f.Fields) + len(f.Frames))); err != nil {
		return nil, err
	}
	var out []diff.Section
	runs, skips, at := 0, 0, 0
	for i, frame := range f.Frames {
		if frame.Skippable {
			skips++
			out = append(out, diff.Section{Name: fmt.Sprintf("skippable%d", skips), Role: diff.RoleMeta, Off: frame.Off})
		} else if i == 0 || f.Frames[i-1].Skippable {
			runs++
			name := "frames"
			if runs > 1 {
				name = fmt.Sprintf("frames%d", runs)
			}
			out = append(out, diff.Section{Name: name, Role: diff.RolePayload, Off: frame.Off, Codec: of})
		}
		s := &out[len(out)-1]
		s.Len = frame.End() - s.Off
		for ; at < len(f.Fields) && f.Fields[at].Off < frame.End(); at++ {
			field := section(f.Fields[at], frameRole(f.Fields[at].Name))
			if frame.Skippable {
				field.Name = f.Fields[at].Name
			}
			s.Children = append(s.Children, field)
		}
	}
	return out, nil
}

func frameRole(name string) diff.Role {
	switch {
	case name == "magic":
		return diff.RoleMagic
	case name == "version":
		return diff.RoleVersion
	case name == "flags":
		return diff.RoleFlags
	case name == "data", name == "rest of blocks":
		return diff.RolePayload
	case name == "end mark":
		return diff.RoleEnd
	case strings.HasSuffix(name, "checksum"), name == "crc32", name == "adler32":
		return diff.RoleChecksum
	case strings.HasSuffix(name, "size"), name == "length":
		return diff.RoleLength
	}
	return diff.RoleMeta
}

// framedMagic returns the little-endian magic of the first frame that is not
// skippable, or that which follows a few of them.
func framedMagic(in *diff.Input) uint32 {
	at := int64(0)
	for range 4 {
		b := in.Bytes(at, 8)
		if b == nil {
			break
		}
		if magic := binary.LittleEndian.Uint32(b); magic&^0xf != 0x184d2a50 {
			return magic
		}
		at += 8 + int64(binary.LittleEndian.Uint32(b[4:]))
	}
	return 0
}
