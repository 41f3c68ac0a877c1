package statement_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/statement"
)

func TestByteAccounting(t *testing.T) {
	b := encoded(t, account())
	if !bytes.Equal(b, encoded(t, account())) {
		t.Error("two spellings of one account")
	}
	s, err := statement.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Subject) != 1 || s.Subject[0].Name != "fw.bin" || s.Subject[0].Digest["sha512"] != digests(deployed)["sha512"] {
		t.Errorf("subject %+v", s.Subject)
	}
	if v, _, ok := s.Verdict(); !ok || v != statement.Pass {
		t.Errorf("verdict %v", v)
	}
}

func TestZeroVerdictAccuses(t *testing.T) {
	var v statement.Verdict
	if b, err := json.Marshal(v); err != nil || string(b) != `"FAIL"` {
		t.Errorf("%s %v", b, err)
	}
	if got := statement.Verdict(9).String(); got != "FAIL" {
		t.Errorf("an unknown verdict is %s", got)
	}
	if err := json.Unmarshal([]byte(`"PASSED"`), &v); err == nil {
		t.Error("an unknown verdict was read")
	}
}

// An account that contradicts itself is not stated.
func TestContradictions(t *testing.T) {
	type acc = statement.ByteAccounting
	for _, c := range []struct {
		name   string
		change func(*acc)
		want   string // "" for none
	}{
		{"honest", func(*acc) {}, ""},
		{"unexplained", func(a *acc) { a.Totals.Identical--; a.Totals.Unexplained++ }, "unexplained"},
		{"moved", func(a *acc) { a.Totals.Identical--; a.Totals.Moved++ }, "moved"},
		{"missing", func(a *acc) { a.Totals.Missing = 1 }, "missing"},
		{"a byte too few", func(a *acc) { a.Totals.Identical-- }, "add up"},
		{"a byte too many", func(a *acc) { a.Totals.Identical++ }, "add up"},
		{"overflow", func(a *acc) { a.Totals.Carried = 1<<63 - 1; a.Totals.Moved = 1<<63 - 1 }, "add up"},
		{"negative", func(a *acc) { a.Totals.Identical++; a.Totals.Moved = -1 }, "add up"},
		{"negative bits", func(a *acc) { a.FreeBits = -1 }, "negative"},
		{"reasons", func(a *acc) { a.Reasons = []string{"a limit"} }, "reasons"},
		{"free bits", func(a *acc) { a.FreeBits = 1025 }, "more bits"},
		{"strict policy", func(a *acc) { a.Policy = statement.Policy{Name: "identical"} }, "allows no difference"},
		{"no ledger", func(a *acc) { a.Evidence.Ledger = "" }, "no ledger"},
		{"no sums", func(a *acc) { a.Evidence.Sums = "" }, "sha256"},
		{"file and directory", func(a *acc) { a.Reference.Kind = "directory" }, "two kinds"},
		{"socket", func(a *acc) { a.Reference.Kind = "socket" }, "kind"},
		{"no reference digest", func(a *acc) { a.Reference.Digest = nil }, "no digest"},
		{"no deployed digest", func(a *acc) { a.Deployed.Digest = nil }, "no digest"},
		{"no tool", func(a *acc) { a.Tool.Name = "" }, "no name"},
		{"nil reasons", func(a *acc) { a.Reasons = nil }, "lists"},
		{"origin is no object", func(a *acc) { a.Reference.Origin = []byte(`"rebuilt"`) }, "origin"},
		{"origin of no kind", func(a *acc) { a.Reference.Origin = []byte(`{"name":"x"}`) }, "origin"},
		{"origin of another kind", func(a *acc) { a.Reference.Origin = []byte(`{"kind":"audited"}`) }, "origin"},
		{"signature fails", func(a *acc) { a.Signatures[0].Holds = false }, "must hold"},
		{"signature over another side", func(a *acc) { a.Signatures[0].Over = "reference" }, "must hold"},
		{"any fails", func(a *acc) {
			a.Signatures[0].Holds = false
			a.Signers.Deployed = &statement.SignerRule{Any: []string{"vendor", "lab"}}
		}, "no signature"},
		{"any", func(a *acc) { a.Signers.Deployed = &statement.SignerRule{Any: []string{"lab", "vendor"}} }, ""},
		{"exactly", func(a *acc) { a.Signers.Deployed = &statement.SignerRule{Exactly: []string{"vendor"}} }, ""},
		{"exactly, and another", func(a *acc) {
			a.Signatures = append(a.Signatures, a.Signatures[0])
			a.Signatures[1].Name = "other"
			a.Signers.Deployed = &statement.SignerRule{Exactly: []string{"vendor"}}
		}, "signed too"},
		{"no rule", func(a *acc) { a.Signers = statement.Signers{} }, ""},
		{"no rule, signature fails", func(a *acc) { a.Signers, a.Signatures[0].Holds = statement.Signers{}, false }, "must hold"},
		{"no rule for the source", func(a *acc) {
			a.Signatures = append(a.Signatures, a.Signatures[0])
			a.Signatures[1].Name, a.Signatures[1].Over, a.Signatures[1].Holds = "author", "source", false
		}, "must hold"},
		{"no rule, a stranger", func(a *acc) {
			a.Signatures = append(a.Signatures, a.Signatures[0])
			a.Signatures[1].Name, a.Signatures[1].Stranger, a.Signatures[1].Holds = "", true, false
			a.Signers = statement.Signers{}
		}, ""},
		{"exactly, and a stranger", func(a *acc) {
			a.Signatures = append(a.Signatures, a.Signatures[0])
			a.Signatures[1].Name, a.Signatures[1].Stranger, a.Signatures[1].Holds = "", true, false
			a.Signers.Deployed = &statement.SignerRule{Exactly: []string{"vendor"}}
		}, "of nobody"},
		{"a rule that asks nothing", func(a *acc) { a.Signers.Reference = &statement.SignerRule{} }, "one of all, any and exactly"},
		{"two rules", func(a *acc) { a.Signers.Deployed.Any = []string{"vendor"} }, "one of all, any and exactly"},
		{"over nothing", func(a *acc) { a.Signatures[0].Over = "build" }, `over "build"`},
		{"no name", func(a *acc) { a.Signatures[0].Name = "" }, "no name"},
		{"a stranger holds", func(a *acc) { a.Signatures[0].Stranger = true }, "nobody's"},
		{"a failed step", func(a *acc) { a.Signatures[0].Steps[1].Outcome = "fail" }, "step chain failed"},
		{"a step not checked", func(a *acc) { a.Signatures[0].Steps[6].Outcome = "not checked" }, "step subject did not pass"},
		{"an outcome of its own", func(a *acc) { a.Signatures[0].Steps[1].Outcome = "passed" }, `came to "passed"`},
		{"eight steps", func(a *acc) { a.Signatures[0].Steps = passed()[:8] }, "8 steps of 9"},
		{"no steps", func(a *acc) { a.Signatures[0].Steps = []statement.Step{} }, "0 steps of 9"},
		{"a step twice", func(a *acc) { a.Signatures[0].Steps[1].Name = "parse" }, "not chain"},
		{"failed with a failed step", func(a *acc) {
			a.Verdict, a.Reasons = statement.Fail, []string{"signature: it does not hold"}
			a.Signatures[0].Holds, a.Signatures[0].Steps[1].Outcome = false, "fail"
		}, ""},
		{"failed without steps", func(a *acc) {
			a.Verdict, a.Reasons = statement.Fail, []string{"signature: it is not there"}
			a.Signatures[0].Holds, a.Signatures[0].Steps = false, []statement.Step{}
		}, ""},
		{"failed with a rule that asks nothing", func(a *acc) {
			a.Verdict, a.Reasons, a.Signers.Source = statement.Fail, []string{"signature: it does not hold"}, &statement.SignerRule{}
		}, "one of all, any and exactly"},
		{"failed with reasons", func(a *acc) {
			a.Verdict, a.Reasons = statement.Fail, []string{"findings of kind missing: 1"}
			a.Totals.Missing = 9
		}, ""},
		{"failed without reasons", func(a *acc) { a.Verdict = statement.Fail }, "no reason"},
		{"incomplete without a ledger", func(a *acc) {
			a.Verdict, a.Reasons, a.Evidence.Ledger, a.FreeBits = statement.Incomplete, []string{"no reference"}, "", 0
			a.Totals = statement.Totals{Unexplained: a.Deployed.Size}
			a.Reference = statement.Image{Name: "ref.bin", Kind: "file"}
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := account()
			c.change(a)
			s, err := a.Statement()
			switch {
			case c.want != "":
				wantError(t, err, c.want)
			case err != nil:
				t.Error(err)
			default:
				if v, reasons, ok := s.Verdict(); !ok || v != a.Verdict || len(reasons) != len(a.Reasons) {
					t.Errorf("states %v %v", v, reasons)
				}
			}
		})
	}
}

// The subject is the deployed image of the predicate, and no other.
func TestForeignSubject(t *testing.T) {
	text := string(encoded(t, account()))
	at := strings.LastIndex(text, `"subject"`)
	other := digests([]byte("another image"))
	swapped := text[:at] + strings.NewReplacer(
		digests(deployed)["sha256"], other["sha256"], digests(deployed)["sha512"], other["sha512"],
	).Replace(text[at:])
	for _, bad := range []string{swapped, text[:at] + strings.Replace(text[at:], "fw.bin", "fx.bin", 1)} {
		_, err := statement.Decode([]byte(bad))
		wantError(t, err, "subject is not the deployed image")
	}
}
