package dirimage

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestHeader(t *testing.T) {
	h := Header{
		Type: 'c', Mode: 0o4755, UID: 1, GID: 2, Major: 3, Minor: 4, NameLen: 5, XattrsLen: 6,
	}
	b := h.Append(nil)
	if len(b) != HeaderLen {
		t.Fatalf("a header of %d bytes, want %d", len(b), HeaderLen)
	}
	if got, err := ParseHeader(b); err != nil || got != h {
		t.Errorf("%+v, %v, want %+v", got, err, h)
	}
	want := "c\x09\xed\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x04" +
		"\x00\x00\x00\x05\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	if string(b) != want {
		t.Errorf("%q, want %q", b, want)
	}
}

// The order of names is that of a walk that sorts each directory.
func TestLess(t *testing.T) {
	names := []string{".", "a", "a/b", "a/b/c", "a/b.c", "a/c", "a\x01", "a ", "a.b", "a.b/c", "ab", "b", "\xff"}
	byElement := func(a, b string) int {
		return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
	}
	for _, a := range names {
		for _, b := range names {
			want := byElement(a, b) < 0
			switch {
			case a == ".":
				want = b != "."
			case b == ".":
				want = false
			}
			if Less(a, b) != want {
				t.Errorf("Less(%q, %q) = %t", a, b, !want)
			}
		}
	}
}

func TestXattrs(t *testing.T) {
	b := AppendXattr(AppendXattr(nil, "user.a", []byte("1\x002")), "user.b", nil)
	x, rest, err := ParseXattr(b)
	if err != nil || string(x.Name) != "user.a" || string(x.Value) != "1\x002" {
		t.Errorf("%+v, %v", x, err)
	}
	x, rest, err = ParseXattr(rest)
	if err != nil || string(x.Name) != "user.b" || len(x.Value) != 0 || len(rest) != 0 {
		t.Errorf("%+v, %v, and %d bytes", x, err, len(rest))
	}
	for n := range len(b) / 2 {
		if _, _, err := ParseXattr(b[:n]); err == nil {
			t.Errorf("%d bytes are an attribute", n)
		}
	}
	for _, bad := range []string{"\xff\xff\xff\xff\xff\xff\xff\xff", "\x00\x00\x00\x00\x00\x00\x00\x01v", "\x00\x00\x00\x01\x00\x00\x00\x00\x00"} {
		if _, _, err := ParseXattr([]byte(bad)); err == nil {
			t.Errorf("%q is an attribute", bad)
		}
	}
	if !bytes.Equal(b[:4], []byte{0, 0, 0, 6}) {
		t.Errorf("starts with % x", b[:4])
	}
}
