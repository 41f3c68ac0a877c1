package explain

import (
	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/ledger"
)

var timeField = &diff.Rule{
	Name:    "time-field",
	Title:   "a time in a field that the reference's format says holds one",
	Ops:     []ledger.Op{ledger.OpTime},
	Because: "a time field of the format; any time fits",
}

var idField = &diff.Rule{
	Name:    "id-field",
	Title:   "a UUID, a volume's id or a hash seed in a field that the reference's format says holds one",
	Ops:     []ledger.Op{ledger.OpUUID},
	Because: "an id of the format; any id fits",
}

var checksum = &diff.Rule{
	Name:    "checksum",
	Title:   "a checksum or digest, recomputed over bytes accounted for",
	Ops:     []ledger.Op{ledger.OpSum},
	Because: "recomputed over bytes accounted for",
}

var size = &diff.Rule{
	Name:    "size",
	Title:   "a length, offset or count, recomputed from what the ledger pairs",
	Ops:     []ledger.Op{ledger.OpNumber},
	Because: "recomputed from what it measures",
}

var padding = &diff.Rule{
	Name:    "padding",
	Title:   "padding that the format prescribes, up to the next boundary",
	Ops:     []ledger.Op{ledger.OpFill},
	Because: "the padding that the format prescribes",
}
