package difftest

import (
	"encoding/binary"
	"slices"
)

// A DirEntry is one record of a directory's stream: Type is one of "fdlhcbps",
// and Xattrs are pairs of name and value in rising order.
type DirEntry struct {
	Type         byte
	Name         string
	Mode         uint16
	UID, GID     uint32
	Major, Minor uint32
	Xattrs       [][2]string
	Target       string
	Data         []byte
}

// Directory returns the stream of a directory that holds the entries, which
// must be in order and start with ".".
func Directory(entries ...DirEntry) []byte {
	be := binary.BigEndian
	b := []byte("assay-dir 1\n")
	for _, e := range entries {
		var attrs []byte
		for _, x := range e.Xattrs {
			attrs = be.AppendUint32(attrs, uint32(len(x[0])))
			attrs = be.AppendUint32(attrs, uint32(len(x[1])))
			attrs = append(attrs, x[0]+x[1]...)
		}
		b = append(b, e.Type)
		b = be.AppendUint16(b, e.Mode)
		b = be.AppendUint32(b, e.UID)
		b = be.AppendUint32(b, e.GID)
		b = be.AppendUint32(b, e.Major)
		b = be.AppendUint32(b, e.Minor)
		b = be.AppendUint32(b, uint32(len(e.Name)))
		b = be.AppendUint32(b, uint32(len(attrs)))
		b = be.AppendUint32(b, uint32(len(e.Target)))
		b = be.AppendUint64(b, uint64(len(e.Data)))
		b = slices.Concat(b, []byte(e.Name), attrs, []byte(e.Target), e.Data)
	}
	return append(b, "end\n"...)
}

func directorySamples() []Sample {
	root := DirEntry{Type: 'd', Name: ".", Mode: 0o755}
	return []Sample{
		{"directory empty", "directory", Directory(root)},
		{"directory of every type", "directory", Directory(
			root,
			DirEntry{Type: 'd', Name: "dev", Mode: 0o755},
			DirEntry{Type: 'c', Name: "dev/null", Mode: 0o666, Major: 1, Minor: 3},
			DirEntry{Type: 'b', Name: "dev/sda", Mode: 0o660, GID: 6, Major: 8},
			DirEntry{Type: 'p', Name: "dev.fifo", Mode: 0o600},
			DirEntry{Type: 'f', Name: "file", Mode: 0o4755, Data: []byte("content\n"), Xattrs: [][2]string{
				{"security.capability", "\x01\x00\x00\x02\x00\x04\x00\x00"}, {"user.empty", ""},
			}},
			DirEntry{Type: 'f', Name: "file.empty", Mode: 0o644, UID: 1000, GID: 1000},
			DirEntry{Type: 'h', Name: "hard", Target: "file"},
			DirEntry{Type: 'l', Name: "link", Mode: 0o777, Target: "../file"},
			DirEntry{Type: 's', Name: "socket", Mode: 0o777},
		)},
	}
}
