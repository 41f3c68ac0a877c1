// Package partition reads partition tables: the master boot record with its chain of
// extended ones, and the GUID partition table. It says where partitions stand, and
// which bytes of the disk are whose.
//
// # Claims
//
// Everything that a table says of the disk is a claim on a range of bytes. A claim
// gets what no claim before it has: tables come first, then partitions in the order
// of their entries. What is left of one that comes too late, or that leaves the
// disk, is told in a note. Bytes that nobody claims are in no partition.
package partition

import (
	"cmp"
	"fmt"
	"io"
	"slices"
)

// MaxPartitions is how many partitions are laid out; Linux takes 256 of a disk.
const MaxPartitions = 1024

// A Kind says what claims a range.
type Kind uint8

// Kinds of claims.
const (
	BootRecord   Kind = iota // the first sector, with the four entries
	Extended                 // a sector of the extended chain
	Header                   // of a GUID partition table
	Entries                  // of a GUID partition table
	Partition                // content
	BackupHeader             // at the end of the disk
	BackupEntries
)

// A Claim is a range of the disk and whose it is.
type Claim struct {
	Kind     Kind
	Number   int // of a partition, or of that whose entry an extended sector holds
	Label    string
	Off, Len int64
	Whole    bool // the range is all that was claimed
	Note     string
}

// String names the claim for people.
func (c *Claim) String() string {
	switch c.Kind {
	case BootRecord:
		return "boot record"
	case Extended:
		return fmt.Sprintf("extended boot record %d", c.Number)
	case Header:
		return "header"
	case Entries:
		return "entries"
	case BackupHeader:
		return "backup header"
	case BackupEntries:
		return "backup entries"
	}
	if c.Label != "" {
		return fmt.Sprintf("partition%d (%s)", c.Number, c.Label)
	}
	return fmt.Sprintf("partition%d", c.Number)
}

// End returns the offset just past the claim.
func (c *Claim) End() int64 { return c.Off + c.Len }

// A Disk is all claims on a disk of Size bytes, in the order they stand in.
type Disk struct {
	Sector int64 // bytes of a logical block
	Size   int64
	Claims []Claim
	Note   string // what is wrong with the tables
}

// note adds to what is wrong with the tables.
func (d *Disk) note(format string, args ...any) {
	if d.Note == "" {
		d.Note = fmt.Sprintf(format, args...)
	}
}

// claim takes c up, less what is claimed already and what is outside the disk.
func (d *Disk) claim(c Claim) {
	what := c.String()
	switch {
	case c.Len <= 0 || c.Off < 0 || c.Off >= d.Size:
		d.note("%s is not on the disk: %d bytes at %d of %d", what, c.Len, c.Off, d.Size)
		return
	case c.Len > d.Size-c.Off:
		c.Note = fmt.Sprintf("cut short: the disk ends %d bytes before it", c.Len-(d.Size-c.Off))
		c.Len = d.Size - c.Off
	}
	c.Whole = true
	at, end := c.Off, c.End()
	var out []Claim
	left := func(to int64) {
		if to > at {
			part := c
			part.Off, part.Len = at, to-at
			out = append(out, part)
		}
	}
	for i := range d.Claims {
		o := &d.Claims[i]
		if o.End() <= at || o.Off >= end {
			continue
		}
		c.Whole = false
		left(o.Off)
		at = o.End()
	}
	left(end)
	if !c.Whole {
		d.note("%s overlaps what was claimed before it", what)
		for i := range out {
			out[i].Whole = false
			out[i].Note = "it overlaps what was claimed before it"
		}
	}
	d.Claims = append(d.Claims, out...)
	slices.SortFunc(d.Claims, func(a, b Claim) int { return cmp.Compare(a.Off, b.Off) })
}

// bytes reads n bytes at off, or nothing if the disk does not hold them.
func bytes(r io.ReaderAt, size, off, n int64) []byte {
	if off < 0 || n > size || off > size-n {
		return nil
	}
	b := make([]byte, n)
	if m, err := r.ReadAt(b, off); m < len(b) && err != nil {
		return nil
	}
	return b
}
