package difftest

import (
	"encoding/binary"
	"hash/crc32"
)

// A UImage is a U-Boot legacy image. Parts, if there are any, stand for the
// Payload of a multi-file image (Type 4) or a script (Type 6).
type UImage struct {
	Time, Load, Entry uint32
	OS, Arch          byte
	Type, Comp        byte
	Name              string // up to 32 bytes
	Payload           []byte
	Parts             [][]byte
	Tail              []byte // after the payload
}

// Bytes returns the image.
func (u UImage) Bytes() []byte {
	payload := u.Payload
	if len(u.Parts) > 0 {
		payload = nil
		for _, p := range u.Parts {
			payload = binary.BigEndian.AppendUint32(payload, uint32(len(p)))
		}
		payload = append(payload, 0, 0, 0, 0)
		for i, p := range u.Parts {
			payload = append(payload, p...)
			if i < len(u.Parts)-1 {
				payload = append(payload, make([]byte, -len(p)&3)...)
			}
		}
	}
	var name [32]byte
	copy(name[:], u.Name)

	be := binary.BigEndian
	h := be.AppendUint32(nil, 0x27051956)
	for _, v := range []uint32{0, u.Time, uint32(len(payload)), u.Load, u.Entry, crc32.ChecksumIEEE(payload)} {
		h = be.AppendUint32(h, v)
	}
	h = append(h, u.OS, u.Arch, u.Type, u.Comp)
	h = append(h, name[:]...)
	be.PutUint32(h[4:], crc32.ChecksumIEEE(h))
	h = append(h, payload...)
	return append(h, u.Tail...)
}

// SmallUImage is an arm64 Linux kernel image of a few bytes.
func SmallUImage() UImage {
	return UImage{
		Time: 1714558830, Load: 0x80000, Entry: 0x80000, OS: 5, Arch: 22, Type: 2,
		Name: "assay kernel", Payload: []byte("a kernel that does nothing"),
	}
}

func uimageSamples() []Sample {
	plain, multi, script, tail := SmallUImage(), SmallUImage(), SmallUImage(), SmallUImage()
	multi.Type, multi.Parts = 4, [][]byte{[]byte("kernel"), []byte("ramdisk!"), []byte("tree")}
	script.Type, script.Parts = 6, [][]byte{[]byte("bootm 0x80000\n")}
	tail.Tail = []byte("after the end")
	return []Sample{
		{"uimage", "uimage", plain.Bytes()},
		{"uimage-multi", "uimage", multi.Bytes()},
		{"uimage-script", "uimage", script.Bytes()},
		{"uimage-tail", "uimage", tail.Bytes()},
	}
}
