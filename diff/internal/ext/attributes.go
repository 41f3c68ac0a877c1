package ext

import "github.com/assaylab/assay/diff/ledger"

const (
	attributeMagic  = 0xea020000
	attributeHeader = 16 // bytes of an entry before its name
	systemIndex     = 7
	// BlockAttributes is where entries start in a block of attributes, in bytes.
	BlockAttributes = 32
)

// prefixes are the names that e_name_index stands for.
var prefixes = [...]string{
	"", "user.", "system.posix_acl_access", "system.posix_acl_default", "trusted.", "lustre.",
	"security.", "system.", "system.richacl", "encryption.", "hurd.",
}

// An Attribute is an extended attribute: its entry and, apart from it, its value, as
// ranges of the inode or block that they stand in.
type Attribute struct {
	Entry, Value ledger.Range // the value is empty if it stands in an inode of its own
	Index        byte
	Name         []byte
}

// String is the attribute's name in full.
func (a *Attribute) String() string {
	if int(a.Index) < len(prefixes) {
		return prefixes[a.Index] + string(a.Name)
	}
	return string(a.Name)
}

// InodeAttributes returns the attributes in an inode with extra bytes of fixed fields
// after the first 128.
func InodeAttributes(b []byte, extra int64) []Attribute {
	at := 128 + extra
	if extra == 0 || at+4 > int64(len(b)) || le.Uint32(b[at:]) != attributeMagic {
		return nil
	}
	return attributes(b, at+4, at+4)
}

// BlockOfAttributes returns those in a block, and whether it is one.
func BlockOfAttributes(b []byte) ([]Attribute, bool) {
	if len(b) < BlockAttributes || le.Uint32(b) != attributeMagic {
		return nil, false
	}
	return attributes(b, BlockAttributes, 0), true
}

// attributes reads entries from at on; offsets of values count from base. It stops at
// the first that is none.
func attributes(b []byte, at, base int64) []Attribute {
	var out []Attribute
	size := int64(len(b))
	for at+attributeHeader <= size && le.Uint32(b[at:]) != 0 {
		e := b[at:]
		name := int64(e[0])
		end := at + attributeHeader + (name+3)&^3
		if end > size {
			break
		}
		a := Attribute{Entry: ledger.Range{Off: at, Len: end - at}, Index: e[1], Name: e[attributeHeader : attributeHeader+name]}
		if value, n := base+int64(le.Uint16(e[2:])), int64(le.Uint32(e[8:])); le.Uint32(e[4:]) == 0 && n > 0 {
			if n > size || value < base || value > size-n {
				break
			}
			a.Value = ledger.Range{Off: value, Len: n}
		}
		out = append(out, a)
		at = end
	}
	return out
}
