package diff

import "github.com/assaylab/assay/diff/ledger"

// A shared holds what many entries of a ledger have in common, once.
type shared struct {
	specs  map[specKey]*ledger.Spec
	places map[placeKey]*ledger.Place
}

// A specKey tells Specs apart that measure nothing.
type specKey struct {
	op  ledger.Op
	enc ledger.Enc
}

type placeKey struct {
	layout *ledger.Place
	field  string
}

// maxShared bounds what is held.
const maxShared = 4 << 10

// spec returns a Spec that equals s.
func (sh *shared) spec(s *ledger.Spec) *ledger.Spec {
	if s.Op != ledger.OpTime && s.Op != ledger.OpUUID || len(s.Over)+len(s.Blank) > 0 || s.Alg != "" || s.Unit|s.Scale|s.Add|s.Align != 0 || s.BlankByte|s.Fill != 0 {
		return s // what measures something is seldom measured again
	}
	key := specKey{s.Op, s.Enc}
	if t := sh.specs[key]; t != nil {
		return t
	}
	if sh.specs == nil {
		sh.specs = map[specKey]*ledger.Spec{}
	}
	sh.specs[key] = s
	return s
}

// place returns the place of a field of a layout.
func (sh *shared) place(layout *ledger.Place, field string) *ledger.Place {
	key := placeKey{layout, field}
	if p := sh.places[key]; p != nil {
		return p
	}
	if sh.places == nil || len(sh.places) == maxShared {
		sh.places = map[placeKey]*ledger.Place{}
	}
	p := *layout
	p.Field = field
	sh.places[key] = &p
	return &p
}
