package diff

import "github.com/assaylab/assay/diff/ledger"

// Expand returns the children of s: laid out by its Table, given by its Fields, or
// its Children if it has neither. parent is the section s stands in, whose other children the
// rows of the table may name; it may be nil. Offsets are those of s.
//
// Bytes between rows belong to no row and become gaps like any others.
func (s *Section) Expand(parent *Section) []Section {
	if s.Fields != nil {
		return s.Fields()
	}
	if s.Table == nil {
		return s.Children
	}
	out := make([]Section, 0, len(s.Table.Fields))
	for i := range s.Table.Fields {
		f := &s.Table.Fields[i]
		if f.Off < 0 || f.Len < 0 || f.Off > s.Len || f.Len > s.Len-f.Off {
			break // a header cut short holds only its first rows
		}
		out = append(out, Section{
			Name: f.Name, Role: f.Role, Off: s.Off + f.Off, Len: f.Len,
			Spec: f.spec(s, parent),
		})
	}
	return out
}

// spec resolves a row against the header it stands in and that header's
// siblings. A row that names a sibling which is not there has no Spec.
func (f *Field) spec(header, parent *Section) *ledger.Spec {
	if f.Op == ledger.OpNone {
		return nil
	}
	sp := &ledger.Spec{Op: f.Op, Enc: f.Enc, Alg: f.Alg, Unit: f.Unit, Add: f.Add}
	if f.BlankSelf {
		sp.Blank = []ledger.Range{{Off: header.Off + f.Off, Len: f.Len}}
		sp.BlankByte = f.BlankByte
	}
	switch {
	case f.Of == "":
		if f.Op == ledger.OpNumber || f.Op == ledger.OpSum {
			return nil
		}
		return sp
	case f.Of == ".":
		sp.Over = []ledger.Span{{Range: header.Range()}}
		return sp
	case parent == nil:
		return nil
	case f.Of == "..":
		sp.Over = []ledger.Span{{Range: ledger.Range{Off: header.Off, Len: parent.End() - header.Off}}}
		return sp
	}
	for i := range parent.Children {
		if c := &parent.Children[i]; c.Name == f.Of {
			sp.Over = []ledger.Span{{Range: c.Range(), Inner: f.Inner}}
			return sp
		}
	}
	return nil
}
