package signature

import "fmt"

// An Outcome is the outcome of one step. The zero Outcome is Fail.
type Outcome int

const (
	Fail Outcome = iota
	NotChecked
	Pass
)

var outcomes = [...]string{Fail: "fail", NotChecked: "not checked", Pass: "pass"}

func (o Outcome) String() string {
	if o < 0 || int(o) >= len(outcomes) {
		return outcomes[Fail]
	}
	return outcomes[o]
}

// MarshalText writes "fail", "not checked" or "pass".
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (o *Outcome) UnmarshalText(text []byte) error {
	for i, s := range outcomes {
		if s == string(text) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("unknown outcome %q", text)
}

// Names of the steps, in their order.
const (
	StepParse     = "parse"     // the inputs are well formed
	StepChain     = "chain"     // the certificate leads to an authority of the trusted root
	StepSCT       = "SCT"       // the certificate was published in a known certificate log
	StepLog       = "log"       // the signature is in a known transparency log
	StepTime      = "time"      // when it was signed
	StepSignature = "signature" // it verifies, and under which scheme
	StepSubject   = "subject"   // what was signed is the artifact
	StepIdentity  = "identity"  // the signer is the one who was named
	StepPredicate = "predicate" // the type of the statement
)

// A Step is one line of the table.
type Step struct {
	Name    string  `json:"name"`
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason"` // one line; text from the outside is quoted in it
}

// StepNames lists the steps of every table, in their order.
func StepNames() []string {
	return []string{
		StepParse, StepChain, StepSCT, StepLog, StepTime,
		StepSignature, StepSubject, StepIdentity, StepPredicate,
	}
}

// Always lists the steps without which nobody signed anything, whatever is asked.
func Always() []string { return []string{StepParse, StepSignature, StepSubject, StepIdentity} }

func newSteps() []Step {
	names := StepNames()
	steps := make([]Step, len(names))
	for i, name := range names {
		steps[i] = Step{Name: name, Outcome: NotChecked, Reason: "not reached"}
	}
	return steps
}

func (s *Step) set(o Outcome, format string, args ...any) {
	s.Outcome, s.Reason = o, fmt.Sprintf(format, args...)
}

// step returns the named step, which exists.
func (r *Result) step(name string) *Step {
	for i := range r.Steps {
		if r.Steps[i].Name == name {
			return &r.Steps[i]
		}
	}
	panic("signature: no step " + name)
}

func (r *Result) failed() bool {
	for _, s := range r.Steps {
		if s.Outcome == Fail {
			return true
		}
	}
	return false
}

// passed reports whether no step failed and the required ones passed.
func (r *Result) passed(required ...string) bool {
	for _, name := range required {
		if r.step(name).Outcome != Pass {
			return false
		}
	}
	return !r.failed()
}
