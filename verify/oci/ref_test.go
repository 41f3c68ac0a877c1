package oci_test

import (
	"strings"
	"testing"

	"github.com/assaylab/assay/verify/oci"
)

func TestParseRef(t *testing.T) {
	hex := strings.Repeat("0123456789abcdef", 4)
	sum := "@sha256:" + hex
	cases := []struct {
		arg     string
		is      bool
		name    string // of the reading; "" for an error
		problem string
	}{
		{"oci:dir" + sum, true, "oci:dir" + sum, ""},
		{"oci:/a/b@c/dir" + sum, true, "oci:dir" + sum, ""},
		{"oci:dir", true, "oci:dir", ""},
		{"oci:dir:tag" + sum, true, "", "has a tag"},
		{"oci:" + sum, true, "", "names no directory"},
		{"oci:", true, "", "names no directory"},
		{"oci:dir@sha256:abc", true, "", "does not end in sha256:"},
		{"oci:dir@sha256:" + strings.ToUpper(hex), true, "", "does not end in sha256:"},
		{"oci:dir@sha512:" + hex + hex, true, "", "does not end in sha256:"},
		{"docker://registry.example/a/b" + sum, true, "docker://registry.example/a/b" + sum, ""},
		{"docker://registry.example:5000/aa" + sum, true, "docker://registry.example:5000/aa" + sum, ""},
		{"docker://localhost/aa" + sum, true, "docker://localhost/aa" + sum, ""},
		{"docker://[::1]:5000/aa" + sum, true, "docker://[::1]:5000/aa" + sum, ""},
		{"docker://registry.example/a", true, "", "has no digest"},
		{"docker://registry.example/a:tag", true, "", "has no digest"},
		{"docker://registry.example/a:tag" + sum, true, "", "has a tag"},
		{"docker://registry.example" + sum, true, "", "does not name the registry's host"},
		{"docker://library/a" + sum, true, "", "does not name the registry's host"},
		{"docker://registry.example/AA" + sum, true, "", "cannot be read"},
		{"docker://user@registry.example/aa" + sum, true, "", "cannot be read"},
		{"docker://registry.example/aa?x" + sum, true, "", "cannot be read"},
		{"docker://registry.example/../aa" + sum, true, "", "cannot be read"},
		{"dir", false, "", ""},
		{"sha256:" + hex, false, "", ""},
		{"oci-archive:x.tar", false, "", ""},
		{"", false, "", ""},
	}
	for _, c := range cases {
		ref, is, err := oci.ParseRef(c.arg)
		if is != c.is {
			t.Errorf("%q: is = %v", c.arg, is)
		}
		if c.problem != "" {
			if err == nil {
				t.Errorf("%q is read as %q", c.arg, ref)
				continue
			}
			if got := outcome(nil, err); !strings.HasPrefix(got, "error: ") || !strings.Contains(got, c.problem) {
				t.Errorf("%q: %s, want %s", c.arg, got, c.problem)
			}
			continue
		}
		if err != nil || ref.Name() != c.name {
			t.Errorf("%q: %q, %v, want %q", c.arg, ref.Name(), err, c.name)
		}
		if is && ref.String() != c.arg {
			t.Errorf("%q is written %q", c.arg, ref.String())
		}
		if is && ref.Network() != strings.HasPrefix(c.arg, "docker:") {
			t.Errorf("%q: Network = %v", c.arg, ref.Network())
		}
		if d := ref.Digest(); strings.Contains(c.arg, sum) && is && (d[0] != 0x01 || d[31] != 0xef) {
			t.Errorf("%q: digest %x", c.arg, d)
		}
	}
}
