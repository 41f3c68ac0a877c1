package strictjson_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/internal/strictjson"
)

func TestUnique(t *testing.T) {
	nested := func(n int, inner string) string { return strings.Repeat("[", n) + inner + strings.Repeat("]", n) }
	for _, text := range []string{
		`1`, `"a"`, `null`, " {} \r\n", `[{"a":1},{"a":2}]`, `{"a":{"a":{"a":[]}},"b":"a"}`,
		`{"a":",:{[","b":"\"}"}`, `1e999`, `{"a":-0.5e-7,"":""}`,
		nested(strictjson.MaxDepth, ""), "[" + strings.Repeat("{},", 2*strictjson.MaxValues) + "{}]",
	} {
		if err := strictjson.Unique([]byte(text)); err != nil {
			t.Errorf("%.60s: %v", text, err)
		}
	}
	var many bytes.Buffer
	for i := range 1 << 13 {
		many.WriteString(`,"` + strings.Repeat("x", i%90) + string(rune(0x4e00+i)) + `":0`)
	}
	for text, want := range map[string]string{
		`{"a":1,"a":2}`:                               "occurs twice",
		`{"a":1,"b":2,"A":3}`:                         "occurs twice",
		`{"a":1,"\u0041":2}`:                          "occurs twice",
		`{"status":1,"` + "\u017f" + `tatus":2}`:      "occurs twice",
		`{"k":1,"` + "\u212a" + `":2}`:                "occurs twice",
		`[[{"x":{"a":[{"verdict":1,"Verdict":2}]}}]]`: "occurs twice",
		`{"a":{"b":1},"a":{"b":1}}`:                   "occurs twice",
		nested(strictjson.MaxDepth+1, ""):             "nested deeper",
		nested(strictjson.MaxDepth, "{}"):             "nested deeper",
		strings.Repeat(`{"a":`, 1<<20):                "nested deeper",
		`{"a":0` + many.String() + `}`:                "more than",
		``:                                            "EOF",
		` `:                                           "EOF",
		`{"a":1`:                                      "EOF",
		`{"a":`:                                       "EOF",
		`{"a"`:                                        "EOF",
		`[1,`:                                         "EOF",
		`{} {}`:                                       "data after it",
		`1 1`:                                         "data after it",
		`{}]`:                                         "",
		`{"a":}`:                                      "",
		`{"a"::1}`:                                    "",
		`{,"a":1}`:                                    "",
		`{"a":1,}`:                                    "",
		`[1,,2]`:                                      "",
		`[,{}]`:                                       "",
		`[:{}]`:                                       "",
		`{1:2}`:                                       "",
		`{{}:2}`:                                      "",
		`}`:                                           "",
		`]`:                                           "",
		`nul`:                                         "",
		`{"` + strings.Repeat("k", 1<<16) + `":1,"x" "y"}`: "",
	} {
		err := strictjson.Unique([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

// What Unique takes is JSON, in which a reader that keeps the first of two keys
// and one that keeps the last see the same.
func FuzzUnique(f *testing.F) {
	for _, text := range []string{`{"a":[1,{"b":null}]}`, `{"a":1,"A":2}`, `[[],"\\",-1e9]`, `{"a":"}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if strictjson.Unique(b) != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("%q is not JSON", b)
		}
	})
}
