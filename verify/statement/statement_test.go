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

const golden = `{"_type":"https://in-toto.io/Statement/v1","predicate":{"buildDefinition":{"buildType":"https://assay.dev/build/v1","externalParameters":{"a":"<&> ü","b":[1,-2,true,null,{}]}},"runDetails":{}},"predicateType":"https://slsa.dev/provenance/v1","subject":[{"digest":{"sha256":"` +
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" + `"},"name":"fw.bin"}]}` + "\n"

// One spelling, whatever the input's.
func TestOneSpelling(t *testing.T) {
	s, err := statement.New(statement.ProvenanceType, map[string]any{
		"runDetails": struct{}{},
		"buildDefinition": map[string]any{
			"externalParameters": map[string]any{"b": []any{1, -2, true, nil, struct{}{}}, "a": "<&> ü"},
			"buildType":          "https://assay.dev/build/v1",
		},
	}, statement.Subject{Name: "fw.bin", Digest: map[string]string{"sha256": strings.Repeat("a", 64)}})
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
	replace := func(old, with string) string {
		if !strings.Contains(golden, old) {
			t.Fatalf("%q is not in the statement", old)
		}
		return strings.Replace(golden, old, with, 1)
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
		{"short digest", replace(`"aaaa`, `"a`), "sha256"},
		{"upper-case digest", replace(`"aaaa`, `"AAAA`), "sha256"},
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
		{"predicate of another kind", replace(statement.ProvenanceType, "https://example.com/vulnerabilities/v1"), "predicateType"},
		{"older provenance", replace(statement.ProvenanceType, "https://slsa.dev/provenance/v0.2"), "predicateType"},
		{"another's build type", replace("https://assay.dev/build/v1", "https://example.com/build"), "buildType"},
		{"nearly our build type", replace("https://assay.dev/build/v1", "https://assay.dev.example.com/"), "buildType"},
		{"build type in another case", replace(`"buildType"`, `"BuildType"`), "buildType"},
		{"predicate is no object", golden[:strings.Index(golden, `{"build`)] + `[],` + golden[strings.Index(golden, `"predicateType"`):], "buildType"},
		{"another's summary", replace(statement.ProvenanceType, statement.SummaryType), "verifier.id"},
		{"no accounting", replace(statement.ProvenanceType, statement.ByteAccountingType), "unknown field"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := statement.Decode([]byte(c.text))
			wantError(t, err, c.want)
		})
	}
}

func TestSummary(t *testing.T) {
	subject := statement.Subject{Name: "fw.bin", Digest: digests(deployed)}
	own := map[string]any{"verifier": map[string]any{"id": "https://assay.dev/assay"}, "verificationResult": "FAILED"}
	if _, err := statement.New(statement.SummaryType, own, subject); err != nil {
		t.Error(err)
	}
	if _, err := statement.New(statement.SummaryType, own); err == nil {
		t.Error("a statement of nothing was made")
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
