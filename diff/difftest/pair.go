package difftest

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

// A Gzip is one gzip member. The empty Deflate stands for Content as Go's
// encoder makes it at its best; one that is given should decode to Content.
type Gzip struct {
	Time          uint32
	Flags         byte // beyond those that Extra, Name and Comment ask for
	XFL, OS       byte
	Extra         []byte
	Name, Comment string
	HeaderCRC     bool
	Content       []byte
	Deflate       []byte
	Tail          []byte
}

// Bytes returns the member.
func (g Gzip) Bytes() []byte {
	le := binary.LittleEndian
	flags := g.Flags
	for i, set := range []bool{false, g.HeaderCRC, g.Extra != nil, g.Name != "", g.Comment != ""} {
		if set {
			flags |= 1 << i
		}
	}
	b := le.AppendUint32([]byte{0x1f, 0x8b, 8, flags}, g.Time)
	b = append(b, g.XFL, g.OS)
	if g.Extra != nil {
		b = append(le.AppendUint16(b, uint16(len(g.Extra))), g.Extra...)
	}
	for _, s := range []string{g.Name, g.Comment} {
		if s != "" {
			b = append(append(b, s...), 0)
		}
	}
	if g.HeaderCRC {
		b = le.AppendUint16(b, uint16(crc32.ChecksumIEEE(b)))
	}
	if g.Deflate == nil {
		g.Deflate = Deflate(g.Content, flate.BestCompression)
	}
	b = append(b, g.Deflate...)
	b = le.AppendUint32(b, crc32.ChecksumIEEE(g.Content))
	b = le.AppendUint32(b, uint32(len(g.Content)))
	return append(b, g.Tail...)
}

// Deflate returns content as Go's encoder compresses it at a level.
func Deflate(content []byte, level int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err)
	}
	return b.Bytes()
}

// Stored returns content, of up to 65,535 bytes, as one stored block of deflate
// with the five bits of padding given.
func Stored(content []byte, padding byte) []byte {
	n := uint16(len(content))
	b := []byte{1 | padding<<3}
	b = binary.LittleEndian.AppendUint16(b, n)
	b = binary.LittleEndian.AppendUint16(b, ^n)
	return append(b, content...)
}

// A Firmware is a small one: a FIT image that holds a kernel and, as a gzip'd
// cpio archive, a file system in which a file tells when it was built. The zero
// values of the hooks leave what they are given as it is.
type Firmware struct {
	Time  uint32 // of the build, everywhere
	Extra string // more of the file that tells it

	Cpio func([]byte) []byte // the archive
	Gzip func(*Gzip)         // the member that holds it
	FIT  func(*FIT)          // the image
}

// Release is the file of a Firmware that tells when it was built.
func (f Firmware) Release() []byte {
	at := time.Unix(int64(f.Time), 0).UTC()
	return fmt.Appendf(nil, "NAME=assay\nBUILD=\"%s\"\nDATE=%s\n%s", at.Format("2006-01-02 15:04:05"), at.Format("2006-01-02"), f.Extra)
}

// Archive returns the cpio archive of the file system.
func (f Firmware) Archive() []byte {
	b := Cpio("070701", 512,
		CpioEntry{Name: "init", Ino: 1, Mode: 0o100755, Mtime: f.Time, Nlink: 1, Data: []byte("#!/bin/sh\nexec sh\n")},
		CpioEntry{Name: "release", Ino: 2, Mode: 0o100644, Mtime: f.Time, Nlink: 1, Data: f.Release()},
	)
	if f.Cpio != nil {
		b = f.Cpio(b)
	}
	return b
}

// Bytes returns the image.
func (f Firmware) Bytes() []byte {
	g := Gzip{Time: f.Time, XFL: 2, OS: 3, Content: f.Archive()}
	if f.Gzip != nil {
		f.Gzip(&g)
	}
	fit := FIT{Time: f.Time, Images: []FITImage{
		{Name: "kernel", Type: "kernel", Compression: "none", Data: []byte("a kernel that does nothing."), Hashes: []string{"crc32", "sha256"}},
		{Name: "ramdisk", Type: "ramdisk", Compression: "gzip", Data: g.Bytes(), Hashes: []string{"crc32", "sha256"}},
	}}
	if f.FIT != nil {
		f.FIT(&fit)
	}
	return fit.Bytes()
}

// Nested returns samples of containers in containers.
func Nested() []Sample {
	const when = 1714558830
	file := TarEntry{Dialect: "ustar", Name: "etc/issue", Type: '0', Mode: 0o644, Mtime: when, Data: []byte("built 2024-05-01 10:20:30\n")}
	inner := Gzip{Time: when, Content: Tar(2, 0, file)}.Bytes()
	outer := Tar(2, 0, TarEntry{Dialect: "ustar", Name: "root.tar.gz", Type: '0', Mode: 0o644, Mtime: when, Data: inner})
	u := SmallUImage()
	u.Payload = Gzip{Time: when, Content: SmallELF(32, binary.BigEndian).Bytes()}.Bytes()
	return []Sample{
		{"cpio in gzip in FIT", "fdt", Firmware{Time: when}.Bytes()},
		{"tar in gzip in tar", "tar", outer},
		{"ELF in gzip in uImage", "uimage", u.Bytes()},
	}
}
