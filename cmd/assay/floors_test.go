package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/assaylab/assay/"

// floors is the map of the program. A package imports of the program only packages on
// lower floors, and of others only the modules that stand beside it. Tests import what
// they like.
//
// Compressors are imported by the codecs, which give each of them limits, by the sandbox,
// which unpacks source archives inside its own walls, and by fetch, which bounds what it makes
// of an image's layers and an archive's index.
var floors = map[string]room{
	"diff/ledger": {0, nil}, // the part that a lab trusts: the standard library alone

	// What encodes bit for bit as the tools of others do.
	"diff/internal/deflate":   {0, nil},
	"diff/internal/lz4exact":  {0, nil},
	"diff/internal/lzmaexact": {0, nil},
	"diff/internal/lzoexact":  {0, nil},

	"diff/internal/codec": {1, []string{
		"github.com/klauspost/compress", "github.com/mikelolasagasti/xz", "github.com/pierrec/lz4", "github.com/ulikunitz/xz",
	}},
	"diff/internal/dirimage":  {1, []string{"golang.org/x/sys"}},
	"diff/internal/elffile":   {1, nil},
	"diff/internal/ext":       {1, nil},
	"diff/internal/fat":       {1, nil},
	"diff/internal/fdt":       {1, nil},
	"diff/internal/partition": {1, nil},
	"diff/internal/squashfs":  {2, nil},
	"diff":                    {1, nil}, // the engine: knows no format

	"verify/internal/address":    {0, nil},
	"verify/internal/plain":      {0, nil},
	"verify/internal/strictjson": {0, nil},

	"verify/reference/sandbox": {0, []string{"github.com/mikelolasagasti/xz", "golang.org/x/sys"}},
	"verify/trust/anchor":      {1, []string{"github.com/sigstore/sigstore-go"}}, // what a trusted root holds, and how old it is
	"verify/reference":         {1, []string{"go.yaml.in/yaml"}},
	"verify/oci":               {1, []string{"github.com/google/go-containerregistry"}},
	"verify/provenance":        {1, nil},
	"verify/statement":         {1, []string{"github.com/secure-systems-lab/go-securesystemslib"}},
	"verify/trust":             {2, []string{"github.com/sigstore/sigstore-go", "github.com/theupdateframework/go-tuf"}}, // the only package that fetches trust
	"verify/signature": {2, []string{
		"github.com/in-toto/attestation", "github.com/secure-systems-lab/go-securesystemslib",
		"github.com/sigstore/cosign", "github.com/sigstore/protobuf-specs", "github.com/sigstore/sigstore", "github.com/sigstore/sigstore-go",
		"google.golang.org/protobuf",
	}},

	"diff/explain": {3, nil},
	"diff/format":  {3, nil},

	"verify/fetch": {2, []string{
		"github.com/go-git/go-git", "github.com/google/go-containerregistry", "github.com/klauspost/compress", "github.com/mikelolasagasti/xz",
	}}, // the only package that fetches what is compared or built
	"verify/reference/derive": {2, []string{"go.yaml.in/yaml"}}, // recipes from what others say of their builds
	"verify/counterfactual":   {4, nil},                         // looks for values to build with by what the engine says of the bytes

	"verify":        {5, []string{"go.yaml.in/yaml"}}, // the only package that knows both bytes and signatures
	"verify/report": {6, nil},
	"cmd/assay":     {7, []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/term"}},

	// Only tests import these: there is no floor above.
	"diff/difftest":            {8, nil},
	"verify/signature/sigtest": {8, []string{"github.com/digitorus/timestamp"}},
}

// A room is where a package stands: its floor, and the modules it imports of others.
type room struct {
	floor  int
	others []string
}

func TestFloors(t *testing.T) {
	empty := maps.Clone(floors)
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != root && (entry.Name() == "testdata" || entry.Name()[0] == '.'):
			return fs.SkipDir
		case filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		delete(empty, pkg)
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if why := refused(pkg, imported); why != "" {
				t.Errorf("%s imports %s: %s", filepath.ToSlash(name), imported, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range empty {
		t.Errorf("%s stands on the map and nowhere else", pkg)
	}
}

// refused says why a package may not import another, or nothing.
func refused(pkg, imported string) string {
	from, known := floors[pkg]
	if !known {
		return pkg + " is not on the map"
	}
	below, ours := strings.CutPrefix(imported, module)
	if !ours {
		first, _, _ := strings.Cut(imported, "/")
		if !strings.Contains(first, ".") { // the standard library
			return ""
		}
		if !slices.ContainsFunc(from.others, func(m string) bool { return imported == m || strings.HasPrefix(imported, m+"/") }) {
			return "that module does not stand beside it"
		}
		return ""
	}
	to, known := floors[below]
	switch {
	case !known:
		return below + " is not on the map"
	case to.floor >= from.floor:
		return "that is not on a lower floor"
	case strings.HasPrefix(pkg, "diff") && strings.HasPrefix(below, "verify"):
		return "diff knows nothing of verify"
	case strings.HasPrefix(below, "diff") && strings.HasPrefix(pkg, "verify/") && from.floor < floors["verify/counterfactual"].floor:
		return "it knows nothing of diff"
	}
	return ""
}

func TestFloorsRefuse(t *testing.T) {
	for _, c := range []struct {
		pkg, imported string
		fine          bool
	}{
		{"diff/ledger", "crypto/sha256", true},
		{"diff/ledger", "golang.org/x/sys/unix", false},
		{"diff", module + "diff/ledger", true},
		{"diff", module + "diff/format", false},
		{"diff/explain", module + "diff/format", false},
		{"diff/format", module + "verify/signature", false},
		{"diff/format", "github.com/klauspost/compress/flate", false},
		{"diff/internal/codec", "github.com/klauspost/compress/flate", true},
		{"verify/signature", module + "diff/ledger", false},
		{"verify/reference", module + "diff/ledger", false},
		{"verify/reference", module + "verify/signature", false},
		{"verify/reference", module + "verify/fetch", false},
		{"verify/fetch", module + "diff/ledger", false},
		{"verify/counterfactual", module + "diff/ledger", true},
		{"verify/oci", module + "diff/ledger", false},
		{"verify/signature", module + "verify/provenance", true},
		{"verify/report", module + "diff/ledger", true},
		{"verify/report", module + "cmd/assay", false},
		{"verify", module + "diff/difftest", false},
		{"cmd/assay", module + "testdata/vendorkey", false},
		{"cmd/assay", module + "verify/report", true},
		{"verify/unheard", "fmt", false},
	} {
		if why := refused(c.pkg, c.imported); (why == "") != c.fine {
			t.Errorf("%s imports %s: %q", c.pkg, c.imported, why)
		}
	}
}
