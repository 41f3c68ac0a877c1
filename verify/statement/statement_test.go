package statement_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/assaylab/assay/verify/statement"
)

const golden = `{"_type":"https://in-toto.io/Statement/v1","predicate":{` +
	`"deployed":{"digest":{"sha256":"` + zeros + `"},"kind":"file","name":"fw.bin","size":9},"evidence":{"sha256sums":"` + zeros + `"},"freeBits":0,` +
	`"policy":{"explained":false,"freeBits":0,"name":"identical"},"reasons":["no reference"],` +
	`"reference":{"kind":"file","name":"ref.bin","origin":{"a":"<&> ü","b":[1,-2,true,null,{}],"kind":"path"},"size":0},` +
	`"rules":[],"signatures":[],"tool":{"name":"assay","version":"1.0"},` +
	`"totals":{"carried":0,"explained":0,"identical":0,"missing":0,"moved":0,"unexplained":9},"verdict":"INCOMPLETE"},` +
	`"predicateType":"https://assay.dev/attestation/byte-accounting/v0.1","subject":[{"digest":{"sha256":"` + zeros + `"},"name":"fw.bin"}]}` + "\n"

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

// One spelling, whatever the input's.
func TestOneSpelling(t *testing.T) {
	s, err := statement.New(statement.ByteAccountingType, &statement.ByteAccounting{
		Tool: statement.Tool{Name: "assay", Version: "1.0"}, Verdict: statement.Incomplete, Reasons: []string{"no reference"},
		Reference: statement.Image{
			Name: "ref.bin", Kind: "file",
			Origin: []byte(` {"kind": "path", "b": [1, -2, true, null, {}], "a": "<&> \u00fc"}`),
		},
		Deployed: statement.Image{Name: "fw.bin", Kind: "file", Size: 9, Digest: map[string]string{"sha256": zeros}},
		Policy:   statement.Policy{Name: "identical"}, Totals: statement.Totals{Unexplained: 9},
		Rules: []statement.Rule{}, Signatures: []statement.Signature{}, Evidence: statement.Evidence{Sums: zeros},
	}, statement.Subject{Name: "fw.bin", Digest: map[string]string{"sha256": zeros}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Encode()
	if err != nil || string(b) != golden {
		t.Fatalf("%v\n%s", err, b)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, b, " ", "\t"); err != nil {
		t.Fatal(err)
	}
	for _, spelling := range []string{
		golden, indented.String(), strings.TrimSpace(golden), " \r\n" + golden,
		strings.Replace(golden, "<&> ü", `\u003c\u0026\u003e \u00fc`, 1),
	} {
		s, err := statement.Decode([]byte(spelling))
		if err != nil {
			t.Fatalf("%v\n%s", err, spelling)
		}
		if again, err := s.Encode(); err != nil || string(again) != golden {
			t.Errorf("%v\n%s", err, again)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	// The last place where old stands: names and digests are in the subject too.
	replace := func(old, with string) string {
		at := strings.LastIndex(golden, old)
		if at < 0 {
			t.Fatalf("%q is not in the statement", old)
		}
		return golden[:at] + with + golden[at+len(old):]
	}
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "EOF"},
		{"half", golden[:len(golden)/2], "EOF"},
		{"two", golden + golden, "something after it"},
		{"array", "[" + golden + "]", "array"},
		{"no statement type", replace("in-toto.io/Statement/v1", "in-toto.io/Statement/v0.1"), "_type"},
		{"key twice", replace(`"name":"fw.bin"`, `"name":"fw.bin","name":"fw.bin"`), "occurs twice"},
		{"key twice in two cases", replace(`"name":"fw.bin"`, `"name":"fw.bin","Name":"fw.bin"`), "occurs twice"},
		{"key twice, escaped", replace(`"name":"fw.bin"`, `"name":"fw.bin","n\u0061me":"x"`), "occurs twice"},
		{"key twice, deep in a predicate", replace(`"a":"<&> ü"`, `"a":1,"a":2`), "occurs twice"},
		{"key in another case", replace(`"predicateType"`, `"PredicateType"`), "misspelt"},
		{"unknown key", replace(`"name":"fw.bin"`, `"name":"fw.bin","uri":"x"`), "unknown field"},
		{"missing key", replace(`,"name":"fw.bin"`, ``), "missing"},
		{"null", replace(`"name":"fw.bin"`, `"name":null`), "missing"},
		{"no subject", replace(`"subject":[{`, `"subject":[],"x":[{`), "unknown field"},
		{"empty subject", golden[:strings.Index(golden, `"subject"`)] + `"subject":[]}`, "0 subjects"},
		{"empty name", replace(`"fw.bin"`, `""`), "name has 0 bytes"},
		{"long name", replace(`fw.bin`, strings.Repeat("n", 5000)), "name has 5000 bytes"},
		{"short digest", replace(`"0000`, `"0`), "sha256"},
		{"upper-case digest", replace(`"0000`, `"A000`), "sha256"},
		{"no sha256", replace(`"sha256":"`, `"sha512":"`+strings.Repeat("b", 64)), "no sha256"},
		{"foreign algorithm", replace(`"sha256":"`, `"md5":"d41d8cd98f00b204e9800998ecf8427e","sha256":"`), "md5"},
		{"fraction", replace(`[1,`, `[1.5,`), "whole number"},
		{"exponent", replace(`[1,`, `[1e3,`), "whole number"},
		{"minus zero", replace(`[1,`, `[-0,`), "whole number"},
		{"too large", replace(`[1,`, `[9223372036854775808,`), "whole number"},
		{"no UTF-8", replace(`ü`, "\xff"), "UTF-8"},
		{"deep", replace(`[1,`, strings.Repeat("[", 70)+"1,"), "nested deeper"},
		{"wide", replace(`[1,`, "["+strings.Repeat("1,", 1<<13)), "elements"},
		{"many values", replace(`[1,`, "["+strings.Repeat("[1],", 1<<15)), "values"},
		{"huge", golden + strings.Repeat(" ", statement.MaxStatement), "larger than"},
		{"no reason", replace(`["no reference"]`, `[]`), "no reason says why"},
		{"predicate of another kind", replace(statement.ByteAccountingType, "https://example.com/vulnerabilities/v1"), "predicateType"},
		{"predicate type in another case", replace(statement.ByteAccountingType, strings.ToUpper(statement.ByteAccountingType)), "predicateType"},
		{"predicate type with more", replace(statement.ByteAccountingType, statement.ByteAccountingType+"/"), "predicateType"},
		{"predicate type with less", replace(statement.ByteAccountingType, strings.TrimSuffix(statement.ByteAccountingType, ".1")), "predicateType"},
		{"no predicate type", replace(statement.ByteAccountingType, ""), "predicateType"},
		{"accounting as provenance", replace(statement.ByteAccountingType, statement.ProvenanceType), "predicate: unknown field"},
		{"predicate is no object", golden[:strings.Index(golden, `{"deployed"`)] + `[],` + golden[strings.Index(golden, `"predicateType"`):], "predicate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := statement.Decode([]byte(c.text))
			wantError(t, err, c.want)
		})
	}
}

// What assay does not make, it does not sign: not in its own name either.
func TestOtherPredicates(t *testing.T) {
	subject := statement.Subject{Name: "fw.bin", Digest: digests(deployed)}
	for _, c := range []struct {
		predicateType string
		own           map[string]any
		want          string
	}{
		{statement.ProvenanceType, map[string]any{"buildDefinition": map[string]any{"buildType": "https://assay.dev/build/v1"}, "runDetails": struct{}{}}, "a key is missing"},
		{statement.SummaryType, map[string]any{"verifier": map[string]any{"id": "https://assay.dev/assay"}, "verificationResult": "PASSED"}, "predicateType"},
	} {
		_, err := statement.New(c.predicateType, c.own, subject)
		wantError(t, err, c.want)
		_, err = statement.New(c.predicateType, c.own)
		wantError(t, err, "0 subjects")
	}
}

func TestReadFile(t *testing.T) {
	if _, err := statement.ReadFile(write(t, "s.json", []byte(golden))); err != nil {
		t.Error(err)
	}
	_, err := statement.ReadFile(t.TempDir())
	wantError(t, err, "cannot read the statement")
	_, err = statement.ReadFile(t.TempDir() + "/none")
	wantError(t, err, "no such file")
	fifo := t.TempDir() + "/fifo"
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = statement.ReadFile(fifo)
	wantError(t, err, "EOF")
	big := write(t, "big.json", nil)
	if err := os.Truncate(big, 1<<40); err != nil {
		t.Fatal(err)
	}
	_, err = statement.ReadFile(big)
	wantError(t, err, "larger than")
}
