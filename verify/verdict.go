package verify

import (
	"encoding/json"
	"fmt"
)

// A Verdict answers whether the deployed image is the reference. The zero
// Verdict accuses.
type Verdict uint8

// Verdicts.
const (
	Rejected  Verdict = iota // an unexplained, missing or disallowed byte; a bad signature; a wrong input
	Undecided                // a limit stopped the work, or a reference could not be had
	Explained                // every difference is explained within policy
	Identical                // bit for bit
)

var verdictNames = [...]string{"rejected", "undecided", "explained", "identical"}

func (v Verdict) String() string {
	if int(v) >= len(verdictNames) {
		return verdictNames[Rejected]
	}
	return verdictNames[v]
}

// Exit codes, the same for every command and every output format.
const (
	ExitAccepted  = 0
	ExitRejected  = 1
	ExitTrouble   = 2 // usage, I/O, an internal error; never a verdict
	ExitUndecided = 3
)

// ExitCode maps a verdict to the exit code of the program.
func (v Verdict) ExitCode() int {
	switch v {
	case Identical, Explained:
		return ExitAccepted
	case Undecided:
		return ExitUndecided
	}
	return ExitRejected
}

// MarshalJSON writes the verdict's name.
func (v Verdict) MarshalJSON() ([]byte, error) { return json.Marshal(v.String()) }

// UnmarshalJSON reads a verdict's name, and nothing else.
func (v *Verdict) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	for i, name := range verdictNames {
		if name == s {
			*v = Verdict(i)
			return nil
		}
	}
	return fmt.Errorf("unknown verdict %q", s)
}

// worse returns the worse of two verdicts: a rejection outranks everything.
func worse(a, b Verdict) Verdict { return min(a, b) }
