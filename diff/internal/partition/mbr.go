package partition

import (
	"encoding/binary"
	"errors"
	"io"
)

// RecordLen is the length of a boot record, in bytes.
const RecordLen = 512

// Offsets in a boot record.
const (
	SignatureAt = 440 // of the disk, 4 bytes; code may reach over it where there is none
	EntriesAt   = 446
	EntryLen    = 16
	EndAt       = 510
)

// Types of partitions that hold others.
var extendedTypes = [...]byte{0x05, 0x0f, 0x85}

// An Entry is one of the four of a boot record, in logical blocks.
type Entry struct {
	Status, Type  byte
	First, Blocks uint32
}

// Used says whether the entry names a partition.
func (e Entry) Used() bool { return e.Type != 0 && e.Blocks != 0 }

func (e Entry) extended() bool {
	for _, t := range extendedTypes {
		if e.Type == t {
			return e.Used()
		}
	}
	return false
}

// Record reads the entries of a boot record.
func Record(b []byte) (e [4]Entry, err error) {
	if len(b) < RecordLen || b[EndAt] != 0x55 || b[EndAt+1] != 0xaa {
		return e, errors.New("no boot record")
	}
	for i := range e {
		r := b[EntriesAt+EntryLen*i:]
		e[i] = Entry{
			Status: r[0], Type: r[4],
			First: binary.LittleEndian.Uint32(r[8:]), Blocks: binary.LittleEndian.Uint32(r[12:]),
		}
	}
	return e, nil
}

// IsMBR says whether b, the first 1024 bytes of a disk of size bytes, or all it has,
// is a boot record with a table of partitions: one on the disk at least, none at its
// beginning, and nothing in entries that are not in use. Boot sectors of other kinds
// carry the same signature; those of Linux kernels say so.
func IsMBR(b []byte, size int64) bool {
	entries, err := Record(b)
	if err != nil || len(b) >= 0x206 && string(b[0x202:0x206]) == "HdrS" {
		return false
	}
	some := false
	for _, e := range entries {
		switch {
		case e.Status&0x7f != 0:
			return false
		case !e.Used():
			if e != (Entry{}) {
				return false
			}
		case e.First == 0:
			return false
		case int64(e.First) < size/RecordLen:
			some = true
		}
	}
	return some
}

// maxExtended bounds the chain of extended boot records, as Linux's 256 partitions do.
const maxExtended = 256

// MBR reads the table of a disk of blocks of 512 bytes. The chain of extended boot
// records ends where it comes to one a second time, or leaves the disk.
func MBR(r io.ReaderAt, size int64) (*Disk, error) {
	first := bytes(r, size, 0, min(size, 2*RecordLen))
	entries, err := Record(first)
	switch {
	case err != nil:
		return nil, err
	case !IsMBR(first, size):
		return nil, errors.New("a boot record without a table of partitions")
	}
	d := &Disk{Sector: RecordLen, Size: size}
	d.claim(Claim{Kind: BootRecord, Len: RecordLen})
	next := 5
	for i, e := range entries {
		if e.extended() {
			next = d.chain(r, e, next)
		} else if e.Used() {
			d.claim(Claim{Kind: Partition, Number: i + 1, Off: int64(e.First) * RecordLen, Len: int64(e.Blocks) * RecordLen})
		}
	}
	return d, nil
}

// chain follows the extended boot records from entry e; partitions count from next.
// The first entry of each is a partition, counted from the record, the second the
// next record, counted from the first.
func (d *Disk) chain(r io.ReaderAt, e Entry, next int) int {
	base := int64(e.First)
	seen := map[int64]bool{}
	for at := base; ; {
		switch {
		case seen[at]:
			d.note("the chain of extended boot records comes to block %d again", at)
			return next
		case len(seen) == maxExtended:
			d.note("more than %d extended boot records", maxExtended)
			return next
		}
		seen[at] = true
		b := bytes(r, d.Size, at*RecordLen, RecordLen)
		entries, err := Record(b)
		if err != nil {
			d.note("no extended boot record in block %d", at)
			return next
		}
		before := len(d.Claims)
		d.claim(Claim{Kind: Extended, Number: next, Off: at * RecordLen, Len: RecordLen})
		if len(d.Claims) == before { // it stands in something else
			return next
		}
		if l := entries[0]; l.Used() && !l.extended() {
			d.claim(Claim{
				Kind: Partition, Number: next,
				Off: (at + int64(l.First)) * RecordLen, Len: int64(l.Blocks) * RecordLen,
			})
			next++
		}
		if !entries[1].extended() {
			return next
		}
		at = base + int64(entries[1].First)
	}
}
