// Package dirimage turns a directory into an image: one canonical stream of
// bytes that holds all a directory is compared by, and nothing that varies
// between two copies of the same tree.
//
// # Stream
//
// All numbers are big-endian. The stream is the line "assay-dir 1\n", one
// record for the directory itself and one for each entry below it, and the
// line "end\n". A record is
//
//	type            1  f regular file, d directory, l symbolic link,
//	                   h further name of a file named before,
//	                   c character device, b block device, p FIFO, s socket
//	mode            2  permissions, set-id and sticky bits: at most 07777
//	uid, gid        4, 4
//	major, minor    4, 4  of a device, else 0
//	name length     4
//	xattrs length   4
//	target length   4  0 but for l and h
//	content length  8  0 but for f
//	name               relative to the directory, "/" between elements;
//	                   "." for the directory itself
//	xattrs             of each: name length 4, value length 4, name, value;
//	                   in rising order of the names' bytes
//	target             of l as stored; of h the first name of the file
//	content            of f
//
// with nothing between. An h record has mode, owner and device 0 and no
// xattrs: those stand with the first name. The directory itself comes first;
// then each directory's entries follow it in rising order of the bytes of
// their names, each with all that is below it. So two trees have the same
// stream if and only if they hold the same, and no stream can be read in two
// ways.
//
// Times, inode numbers, the sizes of directories and names outside the tree
// of a file inside it are not recorded.
package dirimage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
)

// Magic starts a stream, End ends it.
const (
	Magic = "assay-dir 1\n"
	End   = "end\n"
)

// HeaderLen is the length of the fixed part of a record, in bytes.
const HeaderLen = 39

// A Header is the fixed part of a record.
type Header struct {
	Type       byte
	Mode       uint16
	UID, GID   uint32
	Major      uint32
	Minor      uint32
	NameLen    uint32
	XattrsLen  uint32
	TargetLen  uint32
	ContentLen uint64
}

// Append appends the header as the stream has it.
func (h *Header) Append(b []byte) []byte {
	b = append(b, h.Type)
	b = binary.BigEndian.AppendUint16(b, h.Mode)
	for _, v := range []uint32{h.UID, h.GID, h.Major, h.Minor, h.NameLen, h.XattrsLen, h.TargetLen} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return binary.BigEndian.AppendUint64(b, h.ContentLen)
}

// ParseHeader reads the header at the start of b and checks all that holds of
// it alone. Requires len(b) >= HeaderLen.
func ParseHeader(b []byte) (Header, error) {
	u32 := func(off int) uint32 { return binary.BigEndian.Uint32(b[off:]) }
	h := Header{
		Type: b[0], Mode: binary.BigEndian.Uint16(b[1:]),
		UID: u32(3), GID: u32(7), Major: u32(11), Minor: u32(15),
		NameLen: u32(19), XattrsLen: u32(23), TargetLen: u32(27),
		ContentLen: binary.BigEndian.Uint64(b[31:]),
	}
	device := h.Type == 'c' || h.Type == 'b'
	switch {
	case strings.IndexByte("fdlhcbps", h.Type) < 0:
		return h, errors.New("unknown type of record")
	case h.Mode > 0o7777:
		return h, errors.New("mode beyond 07777")
	case !device && (h.Major != 0 || h.Minor != 0):
		return h, errors.New("a device number without a device")
	case (h.TargetLen != 0) != (h.Type == 'l' || h.Type == 'h'):
		return h, errors.New("a link without a target, or a target without a link")
	case h.ContentLen != 0 && h.Type != 'f':
		return h, errors.New("content without a regular file")
	case h.Type == 'h' && (h.Mode != 0 || h.UID != 0 || h.GID != 0 || h.XattrsLen != 0):
		return h, errors.New("a further name with metadata of its own")
	case h.NameLen == 0:
		return h, errors.New("a record without a name")
	}
	return h, nil
}

// Less says whether the record named a comes before the one named b.
func Less(a, b string) bool {
	if a == "." || b == "." {
		return a == "." && b != "."
	}
	// "/" sorts below every other byte: a directory's entries follow it.
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] != b[i] {
			return a[i] == '/' || b[i] != '/' && a[i] < b[i]
		}
	}
	return len(a) < len(b)
}

// ValidName says whether name may name a record: "." or a relative path of
// elements that are not empty, "." or "..", and hold no NUL.
func ValidName(name string) bool {
	if name == "." {
		return true
	}
	if strings.IndexByte(name, 0) >= 0 {
		return false
	}
	for e := range strings.SplitSeq(name, "/") {
		if e == "" || e == "." || e == ".." {
			return false
		}
	}
	return true
}

// An Xattr is one extended attribute.
type Xattr struct {
	Name, Value []byte
}

// XattrHeaderLen is the length of what stands before the name of an attribute.
const XattrHeaderLen = 8

// AppendXattr appends one attribute as the stream has it.
func AppendXattr(b []byte, name string, value []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(name)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	b = append(b, name...)
	return append(b, value...)
}

// ParseXattr reads the attribute at the start of b, whose parts it does not
// copy, and returns what follows it.
func ParseXattr(b []byte) (x Xattr, rest []byte, err error) {
	bad := errors.New("an extended attribute cut short")
	if len(b) < XattrHeaderLen {
		return x, nil, bad
	}
	name, value := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
	b = b[XattrHeaderLen:]
	if name+value > uint64(len(b)) {
		return x, nil, bad
	}
	if name == 0 || bytes.IndexByte(b[:name], 0) >= 0 {
		return x, nil, errors.New("an extended attribute without a proper name")
	}
	return Xattr{Name: b[:name], Value: b[name : name+value]}, b[name+value:], nil
}
