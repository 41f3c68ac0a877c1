package strictjson_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/assaylab/assay/verify/internal/strictjson"
)

func object(text string, limit int) error {
	dec := json.NewDecoder(strings.NewReader(text))
	if err := strictjson.ReadObject(dec, limit, func(string) error { return strictjson.Skip(dec) }); err != nil {
		return err
	}
	return strictjson.End(dec)
}

func TestReadObject(t *testing.T) {
	for _, text := range []string{`{}`, `{"a":1,"b":[{"a":1}]}`, " {} \n"} {
		if err := object(text, 2); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{
		``, `null`, `[]`, `"a"`, `{`, `{"a"`, `{"a":}`, `{"a":1,}`, `{"a":1 "b":2}`,
		`{"a":1,"a":2}`, `{"a":1,"A":2}`, `{"subject":1,"ſubject":2}`, `{"k":1,"` + "\u212a" + `":2}`, "{\"a\":1,\"\\u0041\":2}",
		`{"a":1,"b":2,"c":3}`,
		`{}{}`, `{}}`, `{}]`, `{} x`, `{},`,
	} {
		if err := object(text, 2); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

func TestReadArray(t *testing.T) {
	read := func(text string) (n int, err error) {
		dec := json.NewDecoder(strings.NewReader(text))
		err = strictjson.ReadArray(dec, 2, func() error { n++; return strictjson.Skip(dec) })
		return n, err
	}
	if n, err := read(`[1,{}]`); err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
	for _, text := range []string{`{}`, `[`, `[1`, `[1,2,3]`, `[1,]`, ``} {
		if _, err := read(text); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

func TestPrintable(t *testing.T) {
	for _, s := range []string{"plain", "\u00e9\u4e2d", "a\u009b31m\u202e\u007f\ufeff", "\U0001f600 \U000e0041\U000f0000", "\x1b\n\x00"} {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		out := strictjson.Printable(b)
		var back string
		if err := json.Unmarshal(out, &back); err != nil || back != s {
			t.Errorf("%q became %q: %v", s, back, err)
		}
		for _, r := range string(out) {
			if !unicode.IsPrint(r) {
				t.Errorf("%q holds %U", out, r)
			}
		}
	}
}

func TestCheckShape(t *testing.T) {
	for text, fine := range map[string]bool{
		`{"a":[1,2,"[[[[","\"{"]}`: true,
		strings.Repeat("[", strictjson.MaxDepth) + strings.Repeat("]", strictjson.MaxDepth):     true,
		strings.Repeat("[", strictjson.MaxDepth+1) + strings.Repeat("]", strictjson.MaxDepth+1): false,
		"[" + strings.Repeat("1,", strictjson.MaxValues) + "1]":                                 false,
		"[" + strings.Repeat("[],", strictjson.MaxValues/2+1) + "[]]":                           false,
	} {
		if err := strictjson.CheckShape([]byte(text)); (err == nil) != fine {
			t.Errorf("%.40s: %v", text, err)
		}
	}
}
