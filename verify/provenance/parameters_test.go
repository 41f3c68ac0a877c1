package provenance

import (
	"strings"
	"testing"
)

func TestRebuiltSources(t *testing.T) {
	sum, other := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	dep := func(name, sum string) string { return `{"name": "` + name + `", "digest": {"sha256": "` + sum + `"}}` }
	for _, c := range []struct {
		name, sources, deps string
		want                int // sources
		holds               bool
	}{
		{"one", `{"at": "/src"}`, dep("recipe", other) + "," + dep("src", sum), 1, true},
		{"one on trust", `{"trust": true}, {"trust": false}`, dep("recipe", other) + "," + dep("blob", other) + "," + dep("src", sum), 1, true},
		{"the recipe is none", `{}`, dep("recipe", sum) + "," + dep("src", other), 1, false},
		{"two, and one another", `{}, {}`, dep("recipe", other) + "," + dep("src", sum) + "," + dep("src2", other), 2, false},
		{"only trust", `{"trust": true}`, dep("recipe", other) + "," + dep("src", sum), 0, false},
		{"missing", `{}, {}`, dep("recipe", other) + "," + dep("src", sum), 0, false},
		{"none", ``, dep("src", sum), 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := Parse(SLSAv1, []byte(`{"buildDefinition": {"buildType": "https://assay.dev/rebuild/v1", "externalParameters": {"sources": [`+c.sources+`]},
				"resolvedDependencies": [`+c.deps+`]}}`))
			if err != nil {
				t.Fatal(err)
			}
			if len(v.Sources) != c.want || (v.SourceUnknown == "") != (c.want > 0) || v.HasSource(map[string]string{"sha256": sum}) != c.holds {
				t.Errorf("got %+v", v)
			}
		})
	}
	if _, err := Parse(SLSAv1, []byte(`{"buildDefinition": {"buildType": "https://assay.dev/rebuild/v1", "externalParameters": {"sources": [{"trust": "no"}]}}}`)); err == nil {
		t.Error("a trust that is no truth value is read")
	}
}

func TestParameters(t *testing.T) {
	v1 := `{"buildDefinition": {"externalParameters": {"b": {"x": [1, "a"]}, "a": "t", "c": null, "d": ["x", "y"]}}}`
	all, err := Parameters(SLSAv1, []byte(v1))
	if err != nil || len(all) != 4 || all[0].Name != "b" || all[1].Name != "a" {
		t.Fatalf("got %+v, %v", all, err)
	}
	if s, err := all[1].Text(); err != nil || s != "t" {
		t.Errorf("got %q, %v", s, err)
	}
	if l, err := all[3].Texts(); err != nil || len(l) != 2 || l[1] != "y" {
		t.Errorf("got %q, %v", l, err)
	}
	if f, err := all[0].Fields(); err != nil || len(f) != 1 || f[0].Name != "x" {
		t.Errorf("got %+v, %v", f, err)
	} else if _, err := f[0].Texts(); err == nil {
		t.Error("a number is read as a string")
	}
	if _, err := all[0].Text(); err == nil {
		t.Error("an object is read as a string")
	}
	if _, err := all[2].Text(); err == nil {
		t.Error("null is read as a string")
	}
	if all, err := Parameters(SLSAv02, []byte(`{"invocation": {"parameters": {"a": 1}}}`)); err != nil || len(all) != 1 {
		t.Errorf("got %+v, %v", all, err)
	}
	for _, bad := range []string{`[]`, ``, `{"buildDefinition": {"externalParameters": 1}}`, `{"buildDefinition": {"externalParameters": {"a": 1, "a": 2}}}`} {
		if _, err := Parameters(SLSAv1, []byte(bad)); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
	if _, err := Parameters("x", []byte(v1)); err == nil {
		t.Error("another predicate is read")
	}
}
