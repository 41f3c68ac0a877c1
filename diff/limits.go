package diff

import (
	"fmt"
	"math"
	"time"

	"github.com/assaylab/assay/diff/ledger"
)

// Limits bound the work one comparison may do. The zero value of a field
// stands for its default. Exceeding a limit never makes a comparison succeed:
// the layer stays opaque, and a difference in it is undecided.
type Limits struct {
	MaxExpanded int64         // bytes all decoders may write, together; default 16 GiB
	MaxRatio    int64         // output : input of one decoder or of all holes, past 64 MiB of output; default 200
	MaxDepth    int           // layers within layers; default 32
	MaxNodes    int64         // sections laid out, both images together; default 1.5 Mi
	MaxDict     int64         // dictionary or window of one decoder, in bytes; default 64 MiB
	Timeout     time.Duration // of the whole comparison; default none
}

// Default limits.
const (
	DefaultMaxExpanded = 16 << 30
	DefaultMaxRatio    = 200
	DefaultMaxDepth    = 32
	DefaultMaxNodes    = 3 << 19
	DefaultMaxDict     = 64 << 20
)

func (l Limits) withDefaults() Limits {
	if l.MaxExpanded <= 0 {
		l.MaxExpanded = DefaultMaxExpanded
	}
	if l.MaxRatio <= 0 {
		l.MaxRatio = DefaultMaxRatio
	}
	if l.MaxDepth <= 0 {
		l.MaxDepth = DefaultMaxDepth
	}
	if l.MaxNodes <= 0 {
		l.MaxNodes = DefaultMaxNodes
	}
	if l.MaxDict <= 0 {
		l.MaxDict = DefaultMaxDict
	}
	return l
}

// A LimitError says which limit stopped the work, and where it stood.
type LimitError struct {
	Limit  string // "expanded", "ratio", "depth", "nodes", "dict", "entries" or "time"
	Detail string
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("limit %s: %s", e.Limit, e.Detail)
}

// Is says that a LimitError is what the kernel knows as one.
func (e *LimitError) Is(target error) bool { return target == ledger.ErrLimit }

// A Budget is what remains of the Limits during one comparison. It is not
// safe for concurrent use.
type Budget struct {
	Limits   Limits
	input    int64 // size of the images, in bytes
	nodes    int64
	expanded int64
	holes    int64
}

// NewBudget returns a full budget.
func NewBudget(l Limits) *Budget { return &Budget{Limits: l.withDefaults()} }

// Node takes n sections from the budget.
func (b *Budget) Node(n int64) error {
	if n < 0 || n > math.MaxInt64-b.nodes || b.nodes+n > b.Limits.MaxNodes {
		return &LimitError{"nodes", fmt.Sprintf("more than %d sections", b.Limits.MaxNodes)}
	}
	b.nodes += n
	return nil
}

// Expand takes n decoded bytes from the budget.
func (b *Budget) Expand(n int64) error {
	if n < 0 || n > b.Limits.MaxExpanded-b.expanded {
		return &LimitError{"expanded", fmt.Sprintf("more than %d decoded bytes", b.Limits.MaxExpanded)}
	}
	b.expanded += n
	return nil
}

// freeHoles is how many bytes of holes any image may have.
const freeHoles = 64 << 20

// Hole takes n bytes of holes from the budget: they cost an image nothing, so that all
// of them together are held to the ratio of a decoder.
func (b *Budget) Hole(n int64) error {
	if most := freeHoles + b.Limits.MaxRatio*min(b.input, math.MaxInt64/b.Limits.MaxRatio-freeHoles); n < 0 || n > most-b.holes {
		return &LimitError{"ratio", fmt.Sprintf("more than %d bytes of holes in files, %d for each of the image and %d besides", most, b.Limits.MaxRatio, freeHoles)}
	}
	b.holes += n
	return b.Expand(n)
}

// Expandable returns how many bytes may yet be decoded.
func (b *Budget) Expandable() int64 { return b.Limits.MaxExpanded - b.expanded }
