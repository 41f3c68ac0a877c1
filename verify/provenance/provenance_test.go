package provenance_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/provenance"
)

const (
	commit = "c27d339ee6075c1f744c5d4b200f7901aad2c369"
	other  = "9a1d5b3c0f8e7d6c5b4a39281706f5e4d3c2b1a0"
	sum    = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
	sum2   = "fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"

	github = "https://actions.github.io/buildtypes/workflow/v1"
	cloud  = "https://cloud.google.com/build/gcb-buildtypes/google-worker/v1"
	worker = "https://builder.example/worker"
)

// honest is a repository; fork is the adversary's copy of it.
const (
	honest = "https://code.example/lab/firmware"
	fork   = "https://code.example/mallory/firmware"
)

func v02(configSource, materials string) string {
	return fmt.Sprintf(`{
  "builder": {"id": %q},
  "buildType": "https://builder.example/make@v1",
  "invocation": {"configSource": %s, "parameters": {"debug": "1", "none": {}}, "environment": {"a": 1, "A": 2}},
  "metadata": {"completeness": {"parameters": true}, "reproducible": false},
  "materials": %s
}`, worker, configSource, materials)
}

func v1(buildType, external, dependencies string) string {
	return fmt.Sprintf(`{
  "buildDefinition": {
    "buildType": %q,
    "externalParameters": %s,
    "internalParameters": {"runner": "hosted"},
    "resolvedDependencies": %s
  },
  "runDetails": {"builder": {"id": %q, "version": {"w": "1"}}, "metadata": {"invocationId": "7"}}
}`, buildType, external, dependencies, worker)
}

func workflow(repository string) string {
	return fmt.Sprintf(`{"workflow": {"ref": "refs/heads/main", "repository": %q, "path": ".ci/build.yml"}}`, repository)
}

// dep is a resolved dependency in git; ref is "" or "@...".
func dep(repository, ref, commit string) string {
	return fmt.Sprintf(`{"uri": "git+%s%s", "digest": {"gitCommit": %q}}`, repository, ref, commit)
}

func list(deps ...string) string { return "[" + strings.Join(deps, ", ") + "]" }

func parse(t *testing.T, predicate string) *provenance.Provenance {
	t.Helper()
	predicateType := provenance.SLSAv1
	if strings.Contains(predicate, `"materials"`) {
		predicateType = provenance.SLSAv02
	}
	v, err := provenance.Parse(predicateType, []byte(predicate))
	if err != nil {
		t.Fatalf("%v\n%s", err, predicate)
	}
	return v
}

func git(repository, commit string) provenance.Resource {
	return provenance.Resource{URI: "git+" + repository, Digest: map[string]string{"gitCommit": commit}}
}

func TestParse(t *testing.T) {
	config := `{"uri": "git+` + honest + `@refs/heads/main", "digest": {"sha1": "` + commit + `"}, "entryPoint": "Makefile"}`
	tests := []struct {
		name, predicate string
		want            provenance.Provenance
	}{
		{
			"v0.2",
			v02(config, list(
				`{"uri": "git+`+honest+`@refs/heads/main", "digest": {"sha1": "`+commit+`"}}`,
				`{"uri": "https://code.example/gcc.tar", "digest": {"sha256": "`+strings.ToUpper(sum)+`", "md9": "?"}}`,
			)),
			provenance.Provenance{
				PredicateType: provenance.SLSAv02, BuilderID: worker, BuildType: "https://builder.example/make@v1",
				Sources:  []provenance.Resource{{URI: "git+" + honest + "@refs/heads/main", Digest: map[string]string{"sha1": commit}}},
				SourceBy: "invocation.configSource", EntryPoint: "Makefile", Parameters: []string{"debug"},
				Dependencies: []provenance.Resource{
					{URI: "git+" + honest + "@refs/heads/main", Digest: map[string]string{"sha1": commit}},
					{URI: "https://code.example/gcc.tar", Digest: map[string]string{"sha256": sum}},
				},
			},
		},
		{
			"v1 of a workflow",
			v1(github, `{"inputs": {"debug": "1"}, "vars": {}, "workflow": {"ref": "refs/tags/v1", "repository": "`+honest+`", "path": ".ci/build.yml"}}`,
				list(dep(honest, "@refs/tags/v1", commit), `{"name": "runner", "uri": null, "digest": null}`)),
			provenance.Provenance{
				PredicateType: provenance.SLSAv1, BuilderID: worker, BuildType: github,
				Sources:  []provenance.Resource{git(honest+"@refs/tags/v1", commit)},
				SourceBy: "externalParameters.workflow", EntryPoint: ".ci/build.yml", Parameters: []string{"inputs"},
				Dependencies: []provenance.Resource{git(honest+"@refs/tags/v1", commit), {Name: "runner"}},
			},
		},
		{
			"v1 that says nothing",
			`{"buildDefinition": null, "runDetails": {"builder": {"id": null}}}`,
			provenance.Provenance{
				PredicateType: provenance.SLSAv1,
				SourceUnknown: `build type "" does not tell which of the dependencies is the source: there are none`,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parse(t, tt.predicate); !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got\n%+v, want\n%+v", *got, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	ok := list(dep(honest, "@refs/heads/main", commit))
	digest := func(d string) string { return v1(worker, `{}`, `[{"uri": "x", "digest": `+d+`}]`) }
	tests := []struct{ name, predicate, want string }{
		{"nothing", ``, "there is no predicate"},
		{"null", ` null`, "there is no predicate"},
		{"an array", `[]`, `expected "{"`},
		{"a string", `"x"`, `expected "{"`},
		{"cut short", v1(github, workflow(honest), ok)[:120], "EOF"},
		{"two documents", v1(github, workflow(honest), ok) + `{}`, "data after"},
		{"a stray bracket", v1(github, workflow(honest), ok) + `}`, "data after"},
		{"a key twice", `{"buildDefinition": {}, "buildDefinition": {}}`, "occurs twice"},
		{"a key twice in another case", `{"runDetails": {"builder": {"id": "a", "ID": "b"}}}`, `runDetails: builder: the key "ID" occurs twice`},
		{"a source twice", v1(worker, `{"source": "`+honest+`", "SOURCE": "`+fork+`"}`, ok), "occurs twice"},
		{"a digest twice", digest(`{"sha256": "` + sum + `", "SHA256": "` + sum2 + `"}`), "occurs twice"},
		{"a workflow twice", v1(github, `{"workflow": null, "workflow": {}}`, ok), "occurs twice"},
		{"too deep", `{"x": ` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "nested deeper"},
		{"too many values", `{"x": [` + strings.Repeat("0,", 1<<16) + `0]}`, "values"},
		{"too many dependencies", v1(worker, `{}`, "["+strings.Repeat("{},", 8192)+"{}]"), "more than 8192"},
		{"too many keys", `{"x": 0` + manyKeys(1100) + `}`, "more than 1024 keys"},
		{"builder is a string", `{"runDetails": {"builder": "` + worker + `"}}`, `runDetails: builder: expected "{"`},
		{"id is a number", `{"runDetails": {"builder": {"id": 7}}}`, "runDetails: builder: id: is not a string"},
		{"build type is a list", `{"buildDefinition": {"buildType": ["` + github + `"]}}`, "buildType: is not a string"},
		{"dependencies are an object", v1(worker, `{}`, `{"0": {}}`), `expected "["`},
		{"a dependency is a string", v1(worker, `{}`, `[{}, "x"]`), `resolvedDependencies: 1: expected "{"`},
		{"a dependency is null", v1(worker, `{}`, `[null]`), "is null"},
		{"parameters are a string", v1(worker, `"x"`, `[]`), "externalParameters"},
		{"digest is a list", digest(`["` + sum + `"]`), "digest"},
		{"digest of a number", digest(`{"sha256": 7}`), "sha256: is not a string"},
		{"digest too short", digest(`{"sha256": "` + sum[2:] + `"}`), "not a sha256 digest"},
		{"digest of another length", digest(`{"sha512": "` + sum + `"}`), "not a sha512 digest"},
		{"digest empty", digest(`{"gitCommit": ""}`), "not a gitCommit digest"},
		{"digest null", digest(`{"gitCommit": null}`), "not a gitCommit digest"},
		{"digest not in hex", digest(`{"gitCommit": "` + commit[:39] + `g"}`), "not a gitCommit digest"},
		{"digest with a space", digest(`{"sha1": " ` + commit[1:] + `"}`), "not a sha1 digest"},
		{"commit abbreviated", digest(`{"gitCommit": "` + commit[:12] + `"}`), "not a gitCommit digest"},
		{"workflow is a string", v1(github, `{"workflow": "`+honest+`"}`, ok), "workflow"},
		{"workflow without a repository", v1(github, `{"workflow": {"ref": "refs/heads/main"}}`, ok), "it is empty"},
		{"workflow without a ref", v1(github, `{"workflow": {"repository": "`+honest+`"}}`, ok), "the ref is"},
		{"workflow at a short ref", v1(github, `{"workflow": {"repository": "`+honest+`", "ref": "main"}}`, ok), "the ref is"},
		{"ref that climbs", v1(github, `{"workflow": {"repository": "`+honest+`", "ref": "refs/heads/../x"}}`, ok), "the ref is"},
		{"ref in the repository", v1(github, workflow(honest+"@refs/heads/main"), ok), "with a ref"},
		{"repository that climbs", v1(github, workflow(honest+"/../../mallory/firmware"), ok), "dot segment"},
		{"repository too long", v1(github, workflow(honest+strings.Repeat("/x", 4096)), ok), "repository: is longer than"},
		{"ref too long", v1(github, `{"workflow": {"ref": "refs/heads/`+strings.Repeat("x", 4096)+`"}}`, ok), "ref: is longer than"},
		{"source too long", v1(worker, `{"source": "`+strings.Repeat("x", 4097)+`"}`, ok), "source: is longer than"},
		{"URI too long", v1(worker, `{}`, `[{"uri": "`+strings.Repeat("x", 4097)+`"}]`), "uri: is longer than"},
		{"source is a number", v1(worker, `{"source": 7}`, ok), "source"},
		{"source is a list", v1(worker, `{"source": ["`+honest+`"]}`, ok), "source"},
		{"source is empty", v1(worker, `{"source": {}}`, ok), "names nothing"},
		{"source is an empty string", v1(worker, `{"source": ""}`, ok), "names nothing"},
		{"v0.2: source is a string", v02(`"`+honest+`"`, `[]`), "configSource"},
		{"v0.2: parameters are a list", `{"invocation": {"parameters": []}, "materials": []}`, "parameters"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			predicateType := provenance.SLSAv1
			if strings.Contains(tt.predicate, `"materials"`) {
				predicateType = provenance.SLSAv02
			}
			v, err := provenance.Parse(predicateType, []byte(tt.predicate))
			if err == nil || v != nil {
				t.Fatalf("accepted: %+v", v)
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), predicateType+": ") {
				t.Errorf("%v; want %q", err, tt.want)
			}
		})
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `, "k%d": 0`, i)
	}
	return b.String()
}

func TestPredicateTypes(t *testing.T) {
	for _, predicateType := range []string{
		"", "https://slsa.dev/provenance/v0.1", "https://slsa.dev/provenance/v1?draft", "https://slsa.dev/provenance/V1",
		"https://slsa.dev/verification_summary/v1", "https://slsa.dev/provenance/v1/",
	} {
		if provenance.Is(predicateType) {
			t.Errorf("%q is provenance", predicateType)
		}
		v, err := provenance.Parse(predicateType, []byte(`{}`))
		if err == nil || v != nil || !strings.Contains(err.Error(), provenance.SLSAv02) || !strings.Contains(err.Error(), provenance.SLSAv1) {
			t.Errorf("%q: %v, %v", predicateType, v, err)
		}
	}
	for _, predicateType := range []string{provenance.SLSAv02, provenance.SLSAv1} {
		if !provenance.Is(predicateType) {
			t.Errorf("%q is not provenance", predicateType)
		}
	}
	// The fields of one version mean nothing in the other.
	for predicateType, predicate := range map[string]string{
		provenance.SLSAv02: v1(github, workflow(honest), list(dep(honest, "@refs/heads/main", commit))),
		provenance.SLSAv1:  v02(`{"uri": "git+`+honest+`"}`, `[]`),
	} {
		v, err := provenance.Parse(predicateType, []byte(predicate))
		if err != nil || v.BuilderID != "" || len(v.Sources) > 0 || len(v.Dependencies) > 0 {
			t.Errorf("%s: %+v, %v", predicateType, v, err)
		}
	}
}

// TestSource asks of builds, most of them by an adversary who may start builds,
// whether the honest repository at the honest commit is the source.
func TestSource(t *testing.T) {
	const main = "@refs/heads/main"
	good, evil := dep(honest, main, commit), dep(fork, main, other)
	source := func(s string) string { return `{"source": ` + s + `}` }
	builds := func(config, code string) string {
		out := `{"buildConfigSource": {"repository": "git+` + config + `", "ref": "refs/heads/main", "path": "build.yaml"}`
		if code != "" {
			out += `, "sourceToBuild": {"repository": "git+` + code + `", "ref": "refs/heads/main"}`
		}
		return out + `, "substitutions": {}}`
	}
	config := func(uri, sha1 string) string {
		return `{"uri": "` + uri + `", "digest": {"sha1": "` + sha1 + `"}}`
	}
	tests := []struct {
		name, predicate string
		holds           bool
		why             string // a part of the reason
	}{
		{"workflow", v1(github, workflow(honest), list(good)), true, ""},
		{"workflow, community", v1("https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1", workflow(honest), list(good)), true, ""},
		{"workflow, spelled otherwise", v1(github, workflow("git+HTTPS://Code.Example/lab/firmware.git"), list(good)), true, ""},
		{"workflow, with other dependencies", v1(github, workflow(honest), list(evil, good)), true, ""},
		{"workflow, listed twice", v1(github, workflow(honest), list(good, good)), true, ""},
		{"workflow of a fork", v1(github, workflow(fork), list(evil)), false, "the source is"},
		{"workflow of a fork that also fetches", v1(github, workflow(fork), list(good, evil)), false, "the source is"},
		{"workflow of a fork that lists only the honest one", v1(github, workflow(fork), list(good)), false, "points to no resolved dependency"},
		{"workflow with a source of its own", v1(github, `{"source": "`+honest+`", "workflow": `+strings.TrimPrefix(workflow(fork), `{"workflow": `), list(good, evil)), false, "the source is"},
		{"workflow missing", v1(github, source(`"`+honest+`"`), list(good)), false, "workflow is missing"},
		{"workflow null", v1(github, `{"workflow": null}`, list(good)), false, "workflow is missing"},
		{"workflow in another case", v1(github, strings.Replace(workflow(honest), "workflow", "Workflow", 1), list(good)), false, "workflow is missing"},
		{"workflow at another ref", v1(github, workflow(honest), list(dep(honest, "@refs/heads/other", commit))), false, "points to no resolved dependency"},
		{"workflow without dependencies", v1(github, workflow(honest), `null`), false, "there are none"},
		{"workflow with two commits", v1(github, workflow(honest), list(dep(honest, main, other), good)), false, "different digests"},
		{"workflow with two commits, reversed", v1(github, workflow(honest), list(good, dep(honest, main, other))), false, "different digests"},
		{"workflow without a commit", v1(github, workflow(honest), `[{"uri": "git+`+honest+main+`"}]`), false, "is no digest"},
		{"workflow at another commit", v1(github, workflow(honest), list(dep(honest, main, other))), false, "the revision"},
		{"workflow by http", v1(github, workflow(strings.Replace(honest, "https", "http", 1)), list(good)), false, "points to no"},

		{"cloud", v1(cloud, builds(honest, ""), list(evil, good)), true, ""},
		{"cloud, both the same", v1(cloud, builds(honest, honest), list(good)), true, ""},
		{"cloud, fork", v1(cloud, builds(fork, ""), list(evil, good)), false, "the source is"},
		{"cloud, steps of a fork", v1(cloud, builds(fork, honest), list(good, evil)), false, "the source is"},
		{"cloud, code of a fork", v1(cloud, builds(honest, fork), list(good, evil)), false, "the source is"},
		{"cloud, code of a fork that is not listed", v1(cloud, builds(honest, fork), list(good)), false, "points to no"},
		{"cloud, steps of a fork that is not listed", v1(cloud, builds(fork, honest), list(good)), false, "points to no"},
		{"cloud, steps in the request", v1(cloud, `{"buildConfig": {"steps": [{"name": "sh"}]}}`, list(good)), false, "given with the request"},
		{"cloud, no steps in the request", v1(cloud, strings.Replace(builds(honest, ""), `"substitutions"`, `"buildConfig"`, 1), list(good)), true, ""},
		{"cloud, steps in the request as well", v1(cloud, strings.Replace(builds(honest, ""), `"substitutions": {}`, `"buildConfig": {"steps": []}`, 1), list(good)), false, "given with the request"},
		{"cloud, nothing", v1(cloud, `{"substitutions": {}}`, list(good)), false, "buildConfigSource is missing"},

		{"descriptor", v1(worker, source(`{"uri": "git+`+honest+main+`", "digest": {"gitCommit": "`+commit+`"}}`), list(good, evil)), true, ""},
		{"URI", v1(worker, source(`"`+honest+`"`), list(evil, good)), true, ""},
		{"digest", v1(worker, source(`{"digest": {"gitCommit": "`+commit+`"}}`), list(evil, good)), true, ""},
		{"descriptor of a fork", v1(worker, source(`{"uri": "git+`+fork+main+`", "digest": {"gitCommit": "`+other+`"}}`), list(good, evil)), false, "the source is"},
		{"descriptor with a digest that was not fetched", v1(worker, source(`{"uri": "git+`+honest+main+`", "digest": {"gitCommit": "`+commit+`"}}`), list(dep(honest, main, other))), false, "has not the digest"},
		{"descriptor of what is not listed", v1(worker, source(`{"uri": "git+`+honest+`", "digest": {"gitCommit": "`+commit+`"}}`), list(evil)), false, "points to no"},
		{"digest of two dependencies", v1(worker, source(`{"digest": {"gitCommit": "`+commit+`"}}`), list(good, dep(fork, main, commit))), false, "the source is"},
		{"URI of two refs", v1(worker, source(`"`+honest+`"`), list(good, dep(honest, "@refs/heads/evil", other))), false, "the revision"},
		{"URI of many refs", v1(worker, source(`"`+honest+`"`), list(refs(17)...)), false, "more than 16"},
		{"URI of some refs", v1(worker, source(`"`+honest+`"`), list(refs(16)...)), true, ""},
		{"the only dependency", v1(worker, `{"inputs": {}}`, list(good)), true, ""},
		{"the only dependency, no parameters", v1(worker, `null`, list(good)), true, ""},
		{"the only dependency, source null", v1(worker, `{"source": null}`, list(good)), true, ""},
		{"the only dependency is a fork", v1(worker, `{}`, list(evil)), false, "the source is"},
		{"one of two dependencies", v1(worker, `{}`, list(good, evil)), false, "does not tell which"},
		{"one of two, the other first", v1(worker, `{}`, list(evil, good)), false, "does not tell which"},
		{"no dependency", v1(worker, `{}`, `[]`), false, "does not tell which"},

		{"v0.2", v02(config("git+"+honest+main, commit), list(config("git+"+honest+main, commit))), true, ""},
		{"v0.2 without materials", v02(config("git+"+honest+main, commit), `null`), true, ""},
		{"v0.2, digest among the materials only", v02(`{"uri": "git+`+honest+main+`"}`, list(config("git+"+honest+main, commit))), true, ""},
		{"v0.2 of a fork", v02(config("git+"+fork+main, other), list(config("git+"+honest+main, commit))), false, "the source is"},
		{"v0.2, another commit among the materials", v02(config("git+"+honest+main, commit), list(config("git+"+honest+main, other))), false, "different digests"},
		{"v0.2, the same spelled otherwise", v02(config("git+"+honest+main, commit), list(config(honest+".git"+main, other))), false, "different digests"},
		{"v0.2, another commit", v02(config("git+"+honest+main, other), `[]`), false, "the revision"},
		{"v0.2 without a source", v02(`{}`, list(config("git+"+honest+main, commit))), false, "names nothing"},
		{"v0.2 with a null source", v02(`null`, list(config("git+"+honest+main, commit))), false, "names nothing"},
		{"v0.2 in another case", strings.Replace(v02(config("git+"+honest+main, commit), `[]`), "configSource", "configsource", 1), false, "names nothing"},
	}
	wanted := provenance.Policy{Source: honest, Revision: commit}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := parse(t, tt.predicate)
			failures := wanted.Check(v)
			if (failures == nil) != tt.holds {
				t.Fatalf("%q\n%+v", failures, v)
			}
			if why := strings.Join(failures, "\n"); !strings.Contains(why, tt.why) {
				t.Errorf("%q; want %q", why, tt.why)
			}
			if (len(v.Sources) == 0) != (v.SourceUnknown != "") || (len(v.Sources) == 0) != (v.SourceBy == "") {
				t.Errorf("sources %v by %q, unknown %q", v.Sources, v.SourceBy, v.SourceUnknown)
			}
			if tt.holds && !v.HasSource(map[string]string{"gitCommit": commit}) {
				t.Error("the source has not the commit")
			}
			if !tt.holds && strings.Contains(tt.why, "revision") && v.HasSource(map[string]string{"gitCommit": commit}) {
				t.Error("the source has the commit")
			}
		})
	}
}

// refs are refs of the honest repository, all at one commit.
func refs(n int) []string {
	var out []string
	for i := range n {
		out = append(out, dep(honest, fmt.Sprintf("@refs/tags/v%d", i), commit))
	}
	return out
}

// TestSourceURI: what can be taken for a wanted source, and what cannot.
func TestSourceURI(t *testing.T) {
	tests := []struct {
		want, have string
		same       bool
	}{
		{honest, honest, true},
		{honest, "git+" + honest, true},
		{"git+" + honest, honest, true},
		{honest, honest + ".git", true},
		{honest, honest + "/", true},
		{honest + ".git/", honest, true},
		{honest, "HTTPS://CODE.EXAMPLE/lab/firmware", true},
		{honest, "git+" + honest + "@refs/heads/main", true},
		{honest, "git+" + honest + ".git@refs/heads/a@b", true},
		{honest, "git+" + honest + "@" + commit, true},
		{honest + "@refs/tags/v1", "git+" + honest + ".git@refs/tags/v1", true},
		{honest + "@v1", "git+" + honest + "@v1", true},
		{honest + "#sub", "git+" + honest + "@refs/heads/main#sub", true},
		{"ssh://git@code.example/lab/firmware", "git+ssh://git@code.example/lab/firmware.git", true},
		{"https://code.example:8443/lab/firmware", "git+https://CODE.example:8443/lab/firmware", true},
		{"pkg:generic/firmware@1.0", "pkg:generic/firmware@1.0", true},
		{"https://code.example/@scope/firmware", "https://code.example/@scope/firmware@refs/heads/main", true},

		{honest, "", false},
		{honest, "http://code.example/lab/firmware", false},
		{honest, "git://code.example/lab/firmware", false},
		{honest, "git+git+" + honest, false},
		{honest, "x+" + honest, false},
		{honest, fork, false},
		{honest, "https://code.example/Lab/firmware", false},
		{honest, "https://code.example/lab/firmware-evil", false},
		{honest, "https://code.example/lab/firmware/evil", false},
		{honest, "https://code.example/lab", false},
		{honest, "https://code.example/lab/firmware.git.git", false},
		{honest, "https://code.example/lab/firmware/.git", false},
		{honest, "https://code.example//lab/firmware", false},
		{honest, "https://code.example/lab/firmware//", false},
		{honest, "https://code.example/lab/firmware@evil", false},
		{honest, "https://code.example/lab/firmware@", false},
		{honest, "https://code.example/lab/firmware@evil@refs/heads/main", false},
		{honest, "https://code.example/lab/firmware/@refs/heads/main", false},
		{honest, "https://code.example/lab/firmware@refs/../../mallory", false},
		{honest, "https://code.example/lab/firmware@refs/heads/../../x", false},
		{honest, "https://code.example/lab/firmware@refs/heads/%2e%2e", false},
		{honest, "https://code.example/lab/firmware@refs/heads/a..b", false},
		{honest, "https://code.example/lab/firmware@refs/heads/a.lock", false},
		{honest, "https://code.example/lab/firmware@refs/heads/a:b", false},
		{honest, "https://code.example/lab/firmware@refs/heads/a@%7b1", false},
		{honest, "https://code.example/lab/firmware@refs/heads//a", false},
		{honest, "https://code.example/lab/firmware@refs", false},
		{honest, "https://code.example/lab/firmware@" + commit[:12], false},
		{honest, "https://code.example/lab/firmware@" + commit + "x", false},
		{honest, "https://code.example/lab/firmware@" + strings.ToUpper(commit), false},
		{honest, "https://code.example/lab/firmware/../firmware", false},
		{honest, "https://code.example/lab/./firmware", false},
		{honest, "https://code.example/lab/%66irmware", false},
		{honest, "https://code.example/lab%2ffirmware", false},
		{honest, "https://code.example/lab/firmware%00", false},
		{honest, "https://code.example/lab/firmware%40refs/heads/main", false},
		{honest, "https://code.example/lab/firmware?ref=evil", false},
		{honest, "https://code.example/lab/firmware?", false},
		{honest, "https://code.example/lab/firmware#evil", false},
		{honest, "https://code.example/lab/firmware#", false},
		{honest, "https://code.example/lab/firmware ", false},
		{honest, " https://code.example/lab/firmware", false},
		{honest, "https://code.example/lab/firmware\n", false},
		{honest, "https://code.example/lab/firmware\x00", false},
		{honest, "https://code.example/lab/firmware\u200b", false},
		{honest, "https://code.example\\@evil.example/lab/firmware", false},
		{honest, "https://code.example@evil.example/lab/firmware", false},
		{honest, "https://evil.example@code.example/lab/firmware", false},
		{honest, "https://@code.example/lab/firmware", false},
		{honest, "https://code.example:443/lab/firmware", false},
		{honest, "https://code.example:/lab/firmware", false},
		{honest, "https://code.example:x/lab/firmware", false},
		{honest, "https://code.example./lab/firmware", false},
		{honest, "https://code.example.evil.example/lab/firmware", false},
		{honest, "https://code%2eexample/lab/firmware", false},
		{honest, "https://cod\u0435.example/lab/firmware", false},
		{honest, "https:/code.example/lab/firmware", false},
		{honest, "https:code.example/lab/firmware", false},
		{honest, "//code.example/lab/firmware", false},
		{honest, "https://evil.example/https://code.example/lab/firmware", false},
		{honest, "https://code.example/lab/firmware@evil@" + commit, false},
		{honest, "https://code.example/lab/firmware/@" + commit, false},
		{honest, "https://code.example/lab/firmware@" + commit + "@refs/heads/main", false},
		{honest + "@refs/tags/v1", "git+" + honest, false},
		{honest + "@refs/tags/v1", "git+" + honest + "@refs/tags/v10", false},
		{honest + "@refs/tags/v1", "git+" + honest + "@refs/heads/v1", false},
		{honest + "@refs/tags/v1", "git+" + honest + "@refs/tags/v1/", false},
		{honest + "@v1", "git+" + honest + "@refs/tags/v1", false},
		{honest + "#sub", "git+" + honest, false},
		{"https://a@code.example/lab/firmware", "https://A@code.example/lab/firmware", false},
		{"https://a:b@code.example/lab/firmware", "https://a@code.example/lab/firmware", false},
		{"pkg:generic/firmware@1.0", "pkg:generic/firmware@1.1", false},
		{"pkg:generic/firmware", "PKG:generic/firmware", false},
	}
	for _, tt := range tests {
		p := provenance.Policy{Source: tt.want}
		if err := p.Validate(); err != nil {
			t.Errorf("%q: %v", tt.want, err)
		}
		failures := p.Check(&provenance.Provenance{Sources: []provenance.Resource{{URI: tt.have}}})
		if (failures == nil) != tt.same {
			t.Errorf("want %q, have %q: %q", tt.want, tt.have, failures)
		}
	}
}

func TestRevision(t *testing.T) {
	sha512 := sum + sum2
	tests := []struct {
		name, revision, uri string
		digest              map[string]string
		holds               bool
	}{
		{"commit", commit, "git+" + honest, map[string]string{"gitCommit": commit}, true},
		{"commit in capitals", strings.ToUpper(commit), "git+" + honest, map[string]string{"gitCommit": commit}, true},
		{"commit as sha1", commit, honest, map[string]string{"sha1": commit}, true},
		{"commit as both", commit, "git+" + honest, map[string]string{"gitCommit": commit, "sha1": commit}, true},
		{"commit of SHA-256", sum, "git+" + honest, map[string]string{"gitCommit": sum}, true},
		{"archive", sum, "", map[string]string{"sha256": sum, "sha1": other}, true},
		{"archive in SHA-512", sha512, "", map[string]string{"sha256": sum2, "sha512": sha512}, true},
		{"commit in the URI too", commit, "git+" + honest + "@" + commit, map[string]string{"gitCommit": commit}, true},
		{"no digest", commit, "git+" + honest, nil, false},
		{"commit in the URI only", commit, "git+" + honest + "@" + commit, nil, false},
		{"another commit in the URI", commit, "git+" + honest + "@" + other, map[string]string{"gitCommit": commit}, false},
		{"another commit", commit, "git+" + honest, map[string]string{"gitCommit": other}, false},
		{"another commit as sha1", commit, "git+" + honest, map[string]string{"gitCommit": commit, "sha1": other}, false},
		{"another commit, the sha1 is right", commit, "git+" + honest, map[string]string{"gitCommit": other, "sha1": commit}, false},
		{"a tree", commit, "git+" + honest, map[string]string{"gitTree": commit}, false},
		{"another archive", sum, "", map[string]string{"sha256": sum2}, false},
		{"another kind", sum, "", map[string]string{"sha3_256": sum}, false},
	}
	for _, tt := range tests {
		v := &provenance.Provenance{Sources: []provenance.Resource{{URI: tt.uri, Digest: tt.digest}}}
		failures := provenance.Policy{Revision: tt.revision}.Check(v)
		if (failures == nil) != tt.holds {
			t.Errorf("%s: %q", tt.name, failures)
		}
		if twice := (provenance.Policy{Revision: tt.revision}).Check(&provenance.Provenance{
			Sources: append(v.Sources, provenance.Resource{Digest: map[string]string{"gitCommit": other, "sha256": sum2}}),
		}); len(twice) == 0 {
			t.Errorf("%s: holds with another source beside it", tt.name)
		}
	}
}

func TestDependencies(t *testing.T) {
	const gcc, image = "https://code.example/gcc.tar", "registry.example/builder"
	sha256 := func(uri, sum string) provenance.Resource {
		return provenance.Resource{URI: uri, Digest: map[string]string{"sha256": sum}}
	}
	tests := []struct {
		name  string
		want  provenance.Resource
		have  []provenance.Resource
		holds bool
	}{
		{"URI and digest", sha256(gcc, sum), []provenance.Resource{{}, sha256(gcc, sum)}, true},
		{"digest", sha256("", sum), []provenance.Resource{sha256(image, sum2), sha256(gcc, sum)}, true},
		{"digest in capitals", sha256("", strings.ToUpper(sum)), []provenance.Resource{sha256(gcc, sum)}, true},
		{"listed twice", sha256(gcc, sum), []provenance.Resource{sha256(gcc, sum), sha256(gcc, sum)}, true},
		{"pinned image", sha256(image, sum), []provenance.Resource{sha256(image+"@sha256:"+sum, sum)}, true},
		{"image pinned twice", sha256(image, sum), []provenance.Resource{sha256(image+"@sha256:"+sum+"@sha256:"+sum, sum)}, true},
		{"commit as sha1 in git", git(honest, commit), []provenance.Resource{{URI: "git+" + honest, Digest: map[string]string{"sha1": commit}}}, true},
		{"one of two digests", provenance.Resource{Digest: map[string]string{"sha256": sum, "gitCommit": commit}}, []provenance.Resource{sha256(gcc, sum)}, true},
		{"none", sha256(gcc, sum), nil, false},
		{"another digest", sha256(gcc, sum), []provenance.Resource{sha256(gcc, sum2)}, false},
		{"another URI", sha256(gcc, sum), []provenance.Resource{sha256(gcc+"x", sum)}, false},
		{"no digest", sha256(gcc, sum), []provenance.Resource{{URI: gcc}}, false},
		{"digest of another", sha256(gcc, sum), []provenance.Resource{sha256(gcc, sum2), sha256(image, sum)}, false},
		{"two digests", sha256(gcc, sum), []provenance.Resource{sha256(gcc, sum), sha256(gcc, sum2)}, false},
		{"two digests, reversed", sha256(gcc, sum), []provenance.Resource{sha256(gcc, sum2), sha256(gcc, sum)}, false},
		{"a contradicting digest", provenance.Resource{Digest: map[string]string{"sha256": sum, "gitCommit": commit}}, []provenance.Resource{{Digest: map[string]string{"sha256": sum, "gitCommit": other}}}, false},
		{"sha1 of a file as commit", provenance.Resource{Digest: map[string]string{"gitCommit": commit}}, []provenance.Resource{{URI: gcc, Digest: map[string]string{"sha1": commit}}}, false},
		{"image pinned otherwise", sha256(image, sum), []provenance.Resource{sha256(image+"@sha256:"+sum2, sum)}, false},
		{"not valid: no digest", provenance.Resource{URI: gcc}, []provenance.Resource{{URI: gcc}}, false},
		{"not valid: nothing", provenance.Resource{}, []provenance.Resource{{}}, false},
		{"not valid: weak", provenance.Resource{Digest: map[string]string{"sha1": commit}}, []provenance.Resource{{Digest: map[string]string{"sha1": commit}}}, false},
	}
	for _, tt := range tests {
		p := provenance.Policy{Dependencies: []provenance.Resource{tt.want}}
		failures := p.Check(&provenance.Provenance{Dependencies: tt.have})
		if (failures == nil) != tt.holds {
			t.Errorf("%s: %q", tt.name, failures)
		}
		if (p.Validate() != nil) != strings.HasPrefix(tt.name, "not valid") {
			t.Errorf("%s: %v", tt.name, p.Validate())
		}
	}
	// A dependency without a URI is told by its name or its digests.
	v := &provenance.Provenance{Dependencies: []provenance.Resource{{Name: "gcc"}, {Digest: map[string]string{"sha512": sum + sum2, "sha256": sum2}}, {}}}
	failures := (provenance.Policy{Dependencies: []provenance.Resource{sha256(gcc, sum)}}).Check(v)
	if want := `: "gcc", sha256:` + sum2 + ` sha512:` + sum + sum2 + `, one without a name`; len(failures) != 1 || !strings.HasSuffix(failures[0], want) {
		t.Errorf("%q", failures)
	}
	// Sources are no dependencies.
	p := provenance.Policy{Dependencies: []provenance.Resource{sha256(gcc, sum)}}
	if p.Check(&provenance.Provenance{Sources: p.Dependencies}) == nil {
		t.Error("a source is taken for a dependency")
	}
}

// asked is one policy for each thing to ask for.
func asked() []provenance.Policy {
	return []provenance.Policy{
		{BuilderID: worker},
		{BuildType: github},
		{Source: honest},
		{Revision: commit},
		{Dependencies: []provenance.Resource{{Digest: map[string]string{"sha256": sum}}}},
	}
}

func TestZeroValueAccuses(t *testing.T) {
	for _, p := range asked() {
		if !p.Asked() || p.Validate() != nil {
			t.Errorf("%+v: asked %t, %v", p, p.Asked(), p.Validate())
		}
		for _, v := range []*provenance.Provenance{nil, {}, {Sources: []provenance.Resource{{}}, Dependencies: []provenance.Resource{{}}}} {
			if len(p.Check(v)) != 1 {
				t.Errorf("%+v of %+v: %q", p, v, p.Check(v))
			}
		}
	}
	var none provenance.Policy
	if none.Asked() || none.Validate() != nil || none.Check(nil) != nil {
		t.Error("the empty policy asks for something")
	}
	for _, v := range []*provenance.Provenance{nil, {}, {Sources: []provenance.Resource{{}}}} {
		for _, digests := range []map[string]string{nil, {}, {"sha256": ""}, {"sha256": sum}, {"": ""}} {
			if v.HasSource(digests) {
				t.Errorf("%+v has the source %v", v, digests)
			}
		}
	}
}

func TestCheckSaysEverything(t *testing.T) {
	p := provenance.Policy{
		BuilderID: "https://builder.example/trusted", BuildType: github, Source: honest, Revision: commit,
		Dependencies: []provenance.Resource{{URI: "https://code.example/gcc.tar", Digest: map[string]string{"sha256": sum}}},
	}
	v := parse(t, v1("https://builder.example/t", `{}`, list(dep(fork, "", other))))
	want := []string{
		`the builder is "https://builder.example/worker", not "https://builder.example/trusted"`,
		`the build type is "https://builder.example/t", not "https://actions.github.io/buildtypes/workflow/v1"`,
		`the source is "git+https://code.example/mallory/firmware", not "https://code.example/lab/firmware"`,
		`the revision of the source "git+https://code.example/mallory/firmware" is gitCommit:` + other + `, not ` + commit,
		`the dependency https://code.example/gcc.tar@sha256:` + sum + ` is not among the dependencies: "git+https://code.example/mallory/firmware"`,
	}
	if got := p.Check(v); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// The builder and the build type are compared whole.
	for _, id := range []string{worker + "/", worker + "@v1", strings.ToUpper(worker), worker[:len(worker)-1], worker + " "} {
		v := &provenance.Provenance{BuilderID: id, BuildType: id}
		if (provenance.Policy{BuilderID: worker}).Check(v) == nil || (provenance.Policy{BuildType: worker}).Check(v) == nil {
			t.Errorf("%q is taken for %q", id, worker)
		}
	}
	// What a hostile document says is quoted, and bounded.
	v = &provenance.Provenance{BuilderID: "\x1b[2J" + strings.Repeat("x", 1<<20)}
	got := (provenance.Policy{BuilderID: worker}).Check(v)
	if len(got) != 1 || len(got[0]) > 1000 || strings.Contains(got[0], "\x1b") {
		t.Errorf("%d bytes", len(got[0]))
	}
	v = &provenance.Provenance{Dependencies: make([]provenance.Resource, 5000)}
	got = asked()[4].Check(v)
	if len(got) != 1 || len(got[0]) > 1000 || !strings.HasSuffix(got[0], "and 4992 more") {
		t.Errorf("%q", got)
	}
}

func TestValidateRefuses(t *testing.T) {
	tests := map[string]provenance.Policy{
		"builder id":      {BuilderID: "a b"},
		"build type":      {BuildType: "a\n"},
		"no scheme":       {Source: "code.example/lab/firmware"},
		"no host":         {Source: "https:///lab"},
		"is empty":        {Source: "https://code.example"},
		"or has an empty": {Source: "https://code.example/"},
		"dot segment":     {Source: honest + "/../x"},
		"not a URI":       {Source: "git@code.example:lab/firmware"},
		"a character":     {Source: honest + " "},
		"a query":         {Source: honest + "?ref=x"},
		"fragment":        {Source: honest + "#"},
		"spelled plainly": {Source: "https://c%C3%B6de.example/lab/firmware"},
		"full commit":     {Revision: commit[:12]},
		"40 or 64":        {Revision: "main"},
		"SHA-256":         {Revision: commit[:39] + "g"},
		"SHA-512":         {Revision: "sha256:" + sum},
		"needs a digest":  {Dependencies: []provenance.Resource{{URI: honest}}},
		"not \"md5\"":     {Dependencies: []provenance.Resource{{Digest: map[string]string{"md5": commit[:32]}}}},
		"sha256 digest":   {Dependencies: []provenance.Resource{{Digest: map[string]string{"sha256": commit}}}},
		"the dependency":  {Dependencies: []provenance.Resource{{URI: "a b", Digest: map[string]string{"sha256": sum}}}},
	}
	for want, p := range tests {
		err := p.Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v; want %q", p, err, want)
			continue
		}
		everything := &provenance.Provenance{
			BuilderID: p.BuilderID, BuildType: p.BuildType, Dependencies: p.Dependencies,
			Sources: []provenance.Resource{{URI: p.Source, Digest: map[string]string{"gitCommit": p.Revision}}},
		}
		if got := p.Check(everything); len(got) != 1 || got[0] != err.Error() {
			t.Errorf("%+v holds: %q", p, got)
		}
	}
}

func TestParseDependency(t *testing.T) {
	for s, want := range map[string]provenance.Resource{
		"sha256:" + sum:                                 {Digest: map[string]string{"sha256": sum}},
		"sha512:" + strings.ToUpper(sum+sum2):           {Digest: map[string]string{"sha512": sum + sum2}},
		"gitCommit:" + commit:                           {Digest: map[string]string{"gitCommit": commit}},
		"git+" + honest + "@gitCommit:" + commit:        git(honest, commit),
		"git+" + honest + "@refs/tags/v1@sha256:" + sum: {URI: "git+" + honest + "@refs/tags/v1", Digest: map[string]string{"sha256": sum}},
		"registry.example/builder:1@sha256:" + sum:      {URI: "registry.example/builder:1", Digest: map[string]string{"sha256": sum}},
	} {
		got, err := provenance.ParseDependency(s)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
		if err := (provenance.Policy{Dependencies: []provenance.Resource{got}}).Validate(); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{
		"", "@", honest, "@sha256:" + sum, "sha256", "sha256:", "sha256:" + commit, "sha1:" + commit, "md5:" + commit[:32],
		"SHA256:" + sum, "gitCommit:" + commit[:12], sum, "a b@sha256:" + sum, "sha256:" + sum + " ", "sha256:" + sum + "@" + honest,
	} {
		if got, err := provenance.ParseDependency(s); err == nil || !reflect.DeepEqual(got, provenance.Resource{}) {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
}

func TestHasSource(t *testing.T) {
	both := map[string]string{"sha256": sum, "gitCommit": commit}
	tests := []struct {
		name   string
		source provenance.Resource
		want   map[string]string
		has    bool
	}{
		{"both", provenance.Resource{Digest: both}, both, true},
		{"one", provenance.Resource{Digest: map[string]string{"sha256": sum}}, both, true},
		{"in capitals", provenance.Resource{Digest: both}, map[string]string{"sha256": strings.ToUpper(sum)}, true},
		{"sha1 in git", provenance.Resource{URI: "git+" + honest, Digest: map[string]string{"sha1": commit}}, both, true},
		{"contradiction", provenance.Resource{Digest: map[string]string{"sha256": sum, "gitCommit": other}}, both, false},
		{"contradiction of sha1", provenance.Resource{URI: "git+" + honest, Digest: map[string]string{"gitCommit": commit, "sha1": other}}, both, false},
		{"nothing in common", provenance.Resource{Digest: map[string]string{"sha512": sum + sum2}}, both, false},
		{"sha1 of a file", provenance.Resource{URI: honest, Digest: map[string]string{"sha1": commit}}, both, false},
		{"weak", provenance.Resource{Digest: map[string]string{"sha1": commit}}, map[string]string{"sha1": commit}, false},
		{"unknown", provenance.Resource{Digest: map[string]string{"x": "1"}}, map[string]string{"x": "1"}, false},
		{"malformed", provenance.Resource{Digest: both}, map[string]string{"sha256": sum, "gitCommit": commit[:12]}, false},
		{"asked for nothing", provenance.Resource{Digest: both}, nil, false},
	}
	for _, tt := range tests {
		v := &provenance.Provenance{Sources: []provenance.Resource{tt.source}}
		if v.HasSource(tt.want) != tt.has {
			t.Errorf("%s: %t", tt.name, !tt.has)
		}
		v.Sources = append(v.Sources, provenance.Resource{Digest: map[string]string{"sha256": sum2}})
		if v.HasSource(tt.want) {
			t.Errorf("%s: also with another source beside it", tt.name)
		}
	}

	v := &provenance.Provenance{Sources: []provenance.Resource{{URI: honest, Digest: both}}, SourceUnknown: "why"}
	if v.HasSource(both) || (provenance.Policy{Source: honest}).Check(v) == nil {
		t.Error("an unknown source is taken")
	}

	// A parameter cannot give the source a digest that the builder did not see.
	v = parse(t, v1(worker, `{"source": {"uri": "git+`+fork+`", "digest": {"gitCommit": "`+other+`", "sha256": "`+sum+`"}}}`, list(dep(fork, "", other))))
	if len(v.Sources) != 1 || v.HasSource(map[string]string{"sha256": sum}) {
		t.Errorf("%+v", v)
	}
}

func TestJSON(t *testing.T) {
	v := parse(t, v1(github, workflow(honest), list(dep(honest, "@refs/heads/main", commit))))
	got, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	resource := `[{"uri":"git+https://code.example/lab/firmware@refs/heads/main","digest":{"gitCommit":"` + commit + `"}}]`
	want := `{"predicate_type":"https://slsa.dev/provenance/v1","builder_id":"https://builder.example/worker",` +
		`"build_type":"https://actions.github.io/buildtypes/workflow/v1","sources":` + resource + `,` +
		`"source_by":"externalParameters.workflow","entry_point":".ci/build.yml","dependencies":` + resource + `}`
	if string(got) != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

// FuzzParse: nothing panics; what is parsed is well-formed, the same every time, and
// does not satisfy a policy whose words the document does not hold.
func FuzzParse(f *testing.F) {
	const main = "@refs/heads/main"
	for _, predicate := range []string{
		v02(`{"uri": "git+`+honest+main+`", "digest": {"sha1": "`+commit+`"}}`, list(dep(honest, main, commit))),
		v1(github, workflow(honest), list(dep(honest, main, commit), dep(fork, main, other))),
		v1(cloud, `{"buildConfigSource": {"repository": "git+`+honest+`", "ref": "refs/heads/main"}, "sourceToBuild": {"repository": "`+fork+`", "ref": "`+commit+`"}}`, list(dep(honest, main, commit), dep(fork, "@"+commit, other))),
		v1(worker, `{"source": {"uri": "git+`+honest+`", "digest": {"gitCommit": "`+commit+`"}}}`, list(dep(honest, main, commit))),
		v1(worker, `{"source": "`+honest+`"}`, `[]`),
		`{}`, `null`, `[`, ``,
	} {
		f.Add(true, []byte(predicate))
		f.Add(false, []byte(predicate))
	}
	f.Fuzz(func(t *testing.T, v1 bool, predicate []byte) {
		predicateType := provenance.SLSAv02
		if v1 {
			predicateType = provenance.SLSAv1
		}
		v, err := provenance.Parse(predicateType, predicate)
		if (v == nil) == (err == nil) {
			t.Fatalf("%v, %v", v, err)
		}
		if err != nil {
			return
		}
		if again, err := provenance.Parse(predicateType, predicate); err != nil || !reflect.DeepEqual(v, again) {
			t.Fatalf("%+v, then %+v, %v", v, again, err)
		}
		if !json.Valid(predicate) {
			t.Fatal("this is not JSON")
		}
		if _, err := json.Marshal(v); err != nil {
			t.Fatal(err)
		}
		if (len(v.Sources) == 0) != (v.SourceUnknown != "") {
			t.Fatalf("%+v", v)
		}
		for _, r := range append(append([]provenance.Resource{}, v.Sources...), v.Dependencies...) {
			for alg, sum := range r.Digest {
				if sum == "" || strings.Trim(sum, "0123456789abcdef") != "" {
					t.Fatalf("%s %q", alg, sum)
				}
			}
		}
		for _, p := range []provenance.Policy{
			{BuilderID: "https://never.example/b"}, {BuildType: "https://never.example/t"}, {Source: "https://never.example/r"},
		} {
			if p.Check(v) == nil && !strings.Contains(strings.ToLower(string(predicate)), "never") && !strings.Contains(string(predicate), `\u`) {
				t.Fatalf("%+v holds", p)
			}
		}
	})
}
