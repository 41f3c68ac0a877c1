package verify_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/reference/sandbox"
	"github.com/assaylab/assay/verify/signature/sigtest"
)

func TestMain(m *testing.M) {
	if sandbox.IsInit(os.Args) {
		os.Exit(sandbox.Init())
	}
	os.Exit(m.Run())
}

// A vendor is a folder with an image, its source, a recipe that copies the one to
// the other, and keys that sign them.
type vendor struct {
	*sigtest.Authority
	t    *testing.T
	dir  string
	keys map[string]*ecdsa.PrivateKey
}

const commit = "5d1a3bd2aa0e4b5c6d7e8f901234567890abcdef"

func newVendor(t *testing.T) *vendor {
	t.Helper()
	a, err := sigtest.New()
	if err != nil {
		t.Fatal(err)
	}
	v := &vendor{a, t, t.TempDir(), map[string]*ecdsa.PrivateKey{}}
	image := []byte("firmware\n")
	v.write("fw.bin", image)
	v.write("src.bin", image)
	v.write("other.bin", []byte("something else\n"))
	v.recipe("")
	for _, name := range []string{"vendor", "ci", "author"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		v.keys[name] = key
		pub, err := sigtest.PublicPEM(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		v.write(name+".pub", pub)
		for _, file := range []string{"fw.bin", "src.bin", "other.bin"} {
			sum := sha256.Sum256(v.read(file))
			sig, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			v.write(name+"."+file+".sig", sig)
		}
	}
	return v
}

func (v *vendor) read(name string) []byte {
	v.t.Helper()
	b, err := os.ReadFile(filepath.Join(v.dir, name))
	if err != nil {
		v.t.Fatal(err)
	}
	return b
}

func (v *vendor) write(name string, b []byte) {
	v.t.Helper()
	if err := os.WriteFile(filepath.Join(v.dir, name), b, 0o644); err != nil {
		v.t.Fatal(err)
	}
}

func (v *vendor) recipe(more string) {
	v.write("recipe.yaml", fmt.Appendf(nil, `version: 1
sources:
  - {path: src.bin, sha256: "%x", at: /src/src.bin%s}
  - {path: other.bin, sha256: "%x", at: /src/other.bin, trust: true}
toolchain: {host: [cp]}
steps: [[cp, src.bin, fw.bin]]
outputs: [{path: fw.bin}]
builds: 1
limits: {time: 1m, memory: 1GiB, output: 16MiB, processes: 64}
`, sha256.Sum256(v.read("src.bin")), more, sha256.Sum256(v.read("other.bin"))))
}

// provenance is a bundle of the CI's key that says from what fw.bin was built.
func (v *vendor) provenance(digest string) { v.provenanceOf("https://slsa.dev/provenance/v1", digest) }

func (v *vendor) provenanceOf(predicateType, digest string) {
	v.t.Helper()
	text := fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"fw.bin","digest":{"sha256":"%x"}}],"predicateType":%q,"predicate":{"buildDefinition":{"buildType":"https://ci.example/v1","externalParameters":{"source":"https://git.example/fw"},"resolvedDependencies":[{"uri":"https://git.example/fw","digest":{%s}},{"uri":"https://git.example/lib","digest":{"sha256":"%x"}}]},"runDetails":{"builder":{"id":"https://ci.example/builder"}}}}`,
		sha256.Sum256(v.read("fw.bin")), predicateType, digest, sha256.Sum256(v.read("src.bin")))
	b, err := v.AttestWithKey(text, v.keys["ci"], sigtest.Making{NoLog: true})
	if err != nil {
		v.t.Fatal(err)
	}
	v.write("fw.provenance.json", b)
}

// check runs the delivery with these signatures and signers.
func (v *vendor) check(reference, signatures, signers string) (*verify.Report, error) {
	v.t.Helper()
	return v.deliver("{path: fw.bin}", reference, signatures, signers)
}

func (v *vendor) deliver(deployed, reference, signatures, signers string) (*verify.Report, error) {
	v.t.Helper()
	text := "version: 1\nname: x\ndeployed: " + deployed + "\nreference: " + reference + "\n"
	if signatures != "" {
		text += "signatures:\n" + signatures
	}
	if signers != "" {
		text += "signers: " + signers + "\n"
	}
	v.write("delivery.yaml", []byte(text))
	d, err := verify.LoadDelivery(filepath.Join(v.dir, "delivery.yaml"))
	if err != nil {
		return nil, err
	}
	out, err := verify.Check(v.t.Context(), d, verify.CheckOptions{WorkDir: v.t.TempDir(), Sandbox: sandbox.Auto})
	var none *sandbox.UnavailableError
	if errors.As(err, &none) {
		v.t.Skip("SKIP-NAMESPACE: " + err.Error())
	}
	if err != nil {
		return nil, err
	}
	if err := checkReport(store(v.t, out)); err != nil { // whatever it found, the evidence is sound
		v.t.Error(err)
	}
	return out.Report, nil
}

// wantSigned demands an identical verdict or, where why is not empty, a rejection
// for that reason among the signatures.
func wantSigned(t *testing.T, r *verify.Report, why string) {
	t.Helper()
	if why == "" {
		if r.Verdict != verify.Identical {
			t.Errorf("%v: %+v", r.Verdict, r.Findings)
		}
		return
	}
	if r.Verdict != verify.Rejected || !slices.ContainsFunc(r.Findings, func(f verify.Finding) bool {
		return f.Kind == verify.KindSignature && strings.Contains(f.Message, why)
	}) {
		t.Errorf("%v, want a finding with %q: %+v\n%+v", r.Verdict, why, r.Findings, r.Signatures)
	}
}

const (
	byPath    = "{path: src.bin}"
	byRecipe  = "{rebuild: recipe.yaml, output: fw.bin}"
	vendorFW  = "  - {over: deployed, key: vendor.pub, signature: vendor.fw.bin.sig}\n"
	ciFW      = "  - {over: deployed, key: ci.pub, signature: ci.fw.bin.sig}\n"
	ciBad     = "  - {over: deployed, key: ci.pub, signature: vendor.fw.bin.sig}\n"
	vendorRef = "  - {name: ref, over: reference, key: vendor.pub, signature: vendor.src.bin.sig}\n"
	authorSrc = "  - {over: source, source: src.bin, key: author.pub, signature: author.src.bin.sig}\n"
	builtFW   = "  - {name: built, over: deployed, key: ci.pub, bundle: fw.provenance.json}\n"
)

func TestSigners(t *testing.T) {
	v := newVendor(t)
	for name, c := range map[string]struct {
		reference, signatures, signers string
		rejected                       string // "": identical
	}{
		"no signature asked":            {byPath, "", "", ""},
		"one":                           {byPath, vendorFW, "", ""},
		"all that are listed":           {byPath, vendorFW + ciFW, "", ""},
		"one of them bad":               {byPath, vendorFW + ciBad, "", `"ci" over the deployed image does not hold`},
		"all":                           {byPath, vendorFW + ciFW, "{deployed: {all: [vendor, ci]}}", ""},
		"all, one bad":                  {byPath, vendorFW + ciBad, "{deployed: {all: [vendor, ci]}}", `"ci" over`},
		"all of a subset":               {byPath, vendorFW + ciBad, "{deployed: {all: [vendor]}}", ""},
		"any":                           {byPath, vendorFW + ciBad, "{deployed: {any: [vendor, ci]}}", ""},
		"any, none":                     {byPath, vendorFW + ciBad, "{deployed: {any: [ci]}}", "none of the signatures ci"},
		"exactly":                       {byPath, vendorFW + ciFW, "{deployed: {exactly: [vendor, ci]}}", ""},
		"exactly, one bad":              {byPath, vendorFW + ciBad, "{deployed: {exactly: [vendor, ci]}}", `"ci" over`},
		"exactly, one more":             {byPath, vendorFW + ciFW, "{deployed: {exactly: [vendor]}}", `"ci" signed the deployed image too`},
		"exactly, one more that is bad": {byPath, vendorFW + ciBad, "{deployed: {exactly: [vendor]}}", ""},
		"reference":                     {byPath, vendorRef, "{reference: {all: [ref]}}", ""},
		"reference, not deployed":       {byPath, vendorRef + ciBad, "{reference: {exactly: [ref]}}", `"ci" over the deployed image`},
		"source":                        {byRecipe, authorSrc, "{source: {exactly: [author]}}", ""},
		"source, by default":            {byRecipe, authorSrc + vendorFW, "", ""},
		"the only source":               {byRecipe, strings.Replace(authorSrc, "source: src.bin, ", "", 1), "", ""},
		"source by its path":            {byRecipe, strings.Replace(authorSrc, "source: src.bin", "source: ./src.bin", 1), "", ""},
		"what is taken on trust":        {byRecipe, strings.NewReplacer("source: src.bin", "source: other.bin", "author.src", "author.other").Replace(authorSrc), "", ""},
		"source by another key":         {byRecipe, strings.Replace(authorSrc, "author.pub", "ci.pub", 1), "", `"ci" over the source does not hold`},
		"another source":                {byRecipe, strings.Replace(authorSrc, "author.src", "author.other", 1), "", `"author" over the source does not hold`},
		"signature that is not there":   {byRecipe, strings.Replace(authorSrc, "author.src", "author.none", 1), "", `"author" over the source`},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := v.check(c.reference, c.signatures, c.signers)
			if err != nil {
				t.Fatal(err)
			}
			wantSigned(t, r, c.rejected)
		})
	}
	for name, c := range map[string]struct{ reference, signatures, signers, want string }{
		"source of no recipe":      {byPath, authorSrc, "", "only a reference that is rebuilt has a source"},
		"source of another name":   {byRecipe, strings.Replace(authorSrc, "source: src.bin", "source: x.bin", 1), "", "src.bin, other.bin"},
		"source of deployed":       {byRecipe, strings.Replace(vendorFW, "over: deployed", "over: deployed, source: src.bin", 1), "", "source goes with over: source"},
		"over nothing":             {byPath, strings.Replace(vendorFW, "deployed", "build", 1), "", "over must be deployed, reference, source"},
		"signer of another side":   {byPath, vendorFW, "{source: {all: [vendor]}}", `no signature over source is named "vendor"`},
		"two rules":                {byPath, vendorFW, "{deployed: {all: [vendor], any: [vendor]}}", "give one of all, any and exactly"},
		"an empty rule":            {byPath, vendorFW, "{deployed: {exactly: []}}", "at least one name"},
		"unknown side":             {byPath, vendorFW, "{image: {all: [vendor]}}", "unknown key image"},
		"provenance asks nothing":  {byPath, strings.Replace(vendorFW, "key:", "provenance: {}, key:", 1), "", "it asks for nothing"},
		"an empty value":           {byPath, strings.Replace(vendorFW, "key:", "type: \"\", key:", 1), "", "type is empty"},
		"a null":                   {byPath, strings.Replace(vendorFW, "key:", "provenance: , key:", 1), "", "provenance is empty"},
		"a blank":                  {byPath, strings.Replace(vendorFW, "key:", "trusted_root: \" \", key:", 1), "", "trusted_root is empty"},
		"provenance, short commit": {byPath, strings.Replace(vendorFW, "key:", "provenance: {revision: 5d1a}, key:", 1), "", "provenance"},
		"provenance, dependency":   {byPath, strings.Replace(vendorFW, "key:", "provenance: {dependencies: [x]}, key:", 1), "", "provenance"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := v.check(c.reference, c.signatures, c.signers); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// TestProvenanceOfRecipe: a trusted builder's word of the source must be the
// recipe's, or the reference was built from something else.
func TestProvenanceOfRecipe(t *testing.T) {
	v := newVendor(t)
	src := fmt.Sprintf(`"sha256":"%x"`, sha256.Sum256(v.read("src.bin")))
	for name, c := range map[string]struct {
		digest, recipe, reference string
		same                      bool
	}{
		"by digest":                     {src, "", byRecipe, true},
		"by commit":                     {`"gitCommit":"` + commit + `"`, ", revision: " + commit, byRecipe, true},
		"by both":                       {src + `,"gitCommit":"` + commit + `"`, ", revision: " + commit, byRecipe, true},
		"another digest":                {`"sha256":"` + strings.Repeat("0", 64) + `"`, "", byRecipe, false},
		"another commit":                {`"gitCommit":"` + strings.Repeat("0", 40) + `"`, ", revision: " + commit, byRecipe, false},
		"the digest, another commit":    {src + `,"gitCommit":"` + strings.Repeat("0", 40) + `"`, ", revision: " + commit, byRecipe, false},
		"a commit the recipe tells not": {`"gitCommit":"` + commit + `"`, "", byRecipe, false},
		"what is taken on trust":        {fmt.Sprintf(`"sha256":"%x"`, sha256.Sum256(v.read("other.bin"))), "", byRecipe, false},
		"no digest":                     {"", "", byRecipe, false},
		"unreadable":                    {`"sha256":"zz"`, "", byRecipe, false},
		"no recipe":                     {`"sha256":"` + strings.Repeat("0", 64) + `"`, "", byPath, true},
	} {
		t.Run(name, func(t *testing.T) {
			v.recipe(c.recipe)
			v.provenance(c.digest)
			r, err := v.check(c.reference, builtFW, "")
			if err != nil {
				t.Fatal(err)
			}
			named := slices.ContainsFunc(r.Findings, func(f verify.Finding) bool {
				return f.Kind == verify.KindSignature && strings.Contains(f.Message, "names another source than the recipe")
			})
			if name == "unreadable" {
				wantSigned(t, r, `"built" over`)
				return
			}
			if c.same != (r.Verdict == verify.Identical) || c.same == named {
				t.Errorf("%v: %+v\n%+v", r.Verdict, r.Findings, r.Signatures)
			}
		})
	}
	t.Run("another version of provenance", func(t *testing.T) {
		v.recipe("")
		for _, predicateType := range []string{
			"https://slsa.dev/provenance/v0.1", "https://slsa.dev/provenance/v1.0", "https://slsa.dev/provenance/v1/",
			"HTTPS://SLSA.dev/Provenance/V1", "https://in-toto.io/Provenance/v0.1",
		} {
			v.provenanceOf(predicateType, src)
			r, err := v.check(byRecipe, builtFW, "")
			if err != nil {
				t.Fatal(err)
			}
			wantSigned(t, r, "provenance of a type that is not read here")
		}
	})
	t.Run("policy", func(t *testing.T) {
		v.recipe("")
		v.provenance(src)
		for policy, want := range map[string]verify.Verdict{
			`{builder_id: "https://ci.example/builder", source: "https://git.example/fw"}`: verify.Identical,
			`{builder_id: "https://ci.example/other"}`:                                     verify.Rejected,
			`{source: "https://git.example/lib"}`:                                          verify.Rejected,
		} {
			r, err := v.check(byRecipe, strings.Replace(builtFW, "key:", "provenance: "+policy+", key:", 1), "")
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict != want {
				t.Errorf("%s: %v, want %v: %+v", policy, r.Verdict, want, r.Findings)
			}
		}
	})
}

// TestUnreadableSigned: what the vendor delivered and nobody can read does not
// hold; what the lab trusts and nobody can read is trouble.
func TestUnreadableSigned(t *testing.T) {
	v := newVendor(t)
	v.write("junk", []byte("{"))
	for _, signatures := range []string{
		"  - {name: vendor, over: deployed, key: vendor.pub, bundle: junk}\n",
		"  - {name: vendor, over: deployed, key: vendor.pub, bundle: none}\n",
		"  - {name: vendor, over: deployed, key: vendor.pub, signature: delivery.yaml}\n",
		"  - {name: vendor, over: deployed, key: vendor.pub, image: \"sha256:" + strings.Repeat("0", 64) + "\"}\n", // the image is a file
	} {
		r, err := v.check(byPath, signatures, "")
		if err != nil {
			t.Errorf("%s: %v", signatures, err)
			continue
		}
		wantSigned(t, r, `"vendor" over`)
	}
	for _, key := range []string{"junk", "none"} {
		if _, err := v.check(byPath, strings.Replace(vendorFW, "vendor.pub", key, 1), ""); err == nil {
			t.Errorf("the key %q is taken", key)
		}
	}
}

// TestForgedSigners: stored evidence whose signatures do not satisfy its own
// signers does not hold, whatever else it says.
func TestForgedSigners(t *testing.T) {
	v := newVendor(t)
	evidence := func(name string, change func(*verify.Report)) string {
		t.Helper()
		dir := filepath.Join(v.dir, name)
		if err := verify.PrepareEvidence(dir); err != nil {
			t.Fatal(err)
		}
		v.write("delivery.yaml", []byte("version: 1\nname: x\ndeployed: {path: fw.bin}\nreference: {path: src.bin}\nsignatures:\n"+vendorFW+ciBad))
		d, err := verify.LoadDelivery(filepath.Join(v.dir, "delivery.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		out, err := verify.Check(t.Context(), d, verify.CheckOptions{WorkDir: t.TempDir(), Sandbox: sandbox.Auto})
		if err != nil {
			t.Fatal(err)
		}
		change(out.Report)
		if err := verify.WriteEvidence(dir, out); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	accept := func(r *verify.Report) {
		r.Findings, r.Reasons, r.Verdict = []verify.Finding{}, []string{}, verify.Identical
	}
	for name, c := range map[string]struct {
		change func(*verify.Report)
		sound  bool
	}{
		"as it is":        {func(*verify.Report) {}, true},
		"finding removed": {accept, false},
		"verdict alone":   {func(r *verify.Report) { r.Verdict = verify.Identical }, false},
		"one signature removed": {func(r *verify.Report) {
			accept(r)
			r.Signatures = r.Signatures[:1]
		}, false},
		"all signatures removed": {func(r *verify.Report) {
			accept(r)
			r.Signatures = nil
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := evidence(strings.ReplaceAll(name, " ", "-"), c.change)
			open := func(name string) *verify.Image {
				img, err := verify.OpenImage(filepath.Join(v.dir, name))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { img.Close() })
				return img
			}
			_, err := verify.Recheck(t.Context(), dir, open("src.bin"), open("fw.bin"), "", verify.Options{})
			if (err == nil) != c.sound || err != nil && !errors.Is(err, verify.ErrEvidence) {
				t.Errorf("%v", err)
			}
		})
	}
}
