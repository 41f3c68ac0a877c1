package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	. "github.com/assaylab/assay/diff/ledger"
)

func TestPremisePrices(t *testing.T) {
	for _, c := range []struct {
		p    Premise
		bits int64 // worked out by hand from the grammar
	}{
		{Premise{Factor: "epoch", Plain: "0", Value: "1669357904"}, 32},
		{Premise{Factor: "epoch", Plain: "0", Value: "4294967295"}, 32},
		{Premise{Factor: "time", Plain: "", Value: "1"}, 32},
		{Premise{Factor: "timezone", Plain: "UTC", Value: "CET-1"}, 3*5 + 2 + 7},
		{Premise{Factor: "timezone", Plain: "UTC", Value: "ACWST-8:45"}, 5*5 + 2 + 7},
		{Premise{Factor: "host", Plain: "assay", Value: "x86-ubc-02"}, 10*6 + 6},
		{Premise{Factor: "host", Plain: "assay", Value: "build.example.org"}, 17*6 + 6},
		{Premise{Factor: "user", Plain: "build", Value: "buildd"}, 6*6 + 5},
		{Premise{Factor: "home", Plain: "/home/build", Value: "/home/jenkins"}, 13*7 + 6},
		{Premise{Factor: "path", Plain: "/src", Value: "/build/seabios-1.16.2"}, 21*7 + 7},
		{Premise{Factor: "version", Tool: "gcc", Plain: "12.2.0-14+deb12u1", Value: "12.2.0-14"}, 3*6 + 5},
		{Premise{Factor: "version", Tool: "g++,gcc", Plain: "11.4.0-9", Value: "11.4.0-1ubuntu1~22.04"}, 15*6 + 5},
		{Premise{Factor: "version", Tool: "gcc", Plain: "11.4.0-2", Value: "11.4.0-1ubuntu1~22.04"}, 15*6 + 5},
	} {
		if got, err := c.p.Price(); err != nil || got != c.bits {
			t.Errorf("%s: %d bits (%v), want %d", c.p, got, err, c.bits)
		}
	}
}

func TestPremiseGrammar(t *testing.T) {
	gcc := func(value string) Premise {
		return Premise{Factor: "version", Tool: "gcc", Plain: "12.2.0-14+deb12u1", Value: value}
	}
	bad := []Premise{
		{},
		{Factor: "mood", Value: "x"},
		{Factor: "cpus", Value: "2"},
		{Factor: "environment", Value: "CFLAGS=-O0"},
		{Factor: "host", Plain: "same", Value: "same"},
		{Factor: "host", Tool: "gcc", Value: "a"},
		{Factor: "version", Plain: "12.2.0-14", Value: "12.2.0-15"},
		gcc("12.2.1-14"), gcc("12.2-14"), gcc("12.2.0.1-14"), gcc("12.2.0-"), gcc("12.2.0--14"), gcc("12.2.0-14)"), gcc("12.2.0-14 -O0"),
		gcc("12.2.0-14\n"), gcc("12.2.0-14;id"), gcc("12.2.0-$(id)"), gcc("12.2.0-`id`"), gcc("12.2.0-14'"), gcc(`12.2.0-14"`), gcc(`12.2.0-14\`),
		gcc("12.2.0-14|x"), gcc("12.2.0-14&x"), gcc("12.2.0-14>x"), gcc("12.2.0-*"), gcc("12.2.0-%s"), gcc("12.2.0-é"), gcc("12.2.0-1#"),
		gcc("12.2.0-1234567890123456789012345"), gcc(""), gcc("-14"),
		gcc("12.2.0-9"), gcc("12.2.0-100"), gcc("12.2.0+14"), gcc("12.2.0~14"), gcc("12.2.0-rc"), gcc("12.2.0"),
		{Factor: "version", Tool: "gcc", Plain: "12.2.0", Value: "12.2.0-1"},
		{Factor: "locale", Plain: "C", Value: "en_GB.UTF-8"},
	}
	for factor, values := range map[string][]string{
		"epoch":    {"", "-1", "+1", "01", "4294967296", "0x10", "1e9", " 1", "99999999999999999999"},
		"time":     {"now", "12:00"},
		"timezone": {"", "UTC", "cet-1", "CET", "CET-15", "CET-1:10", ":/etc/passwd", "../../x", "CET-1CEST,M3.5.0,M10.5.0", "TOOLONG-1"},
		"host":     {"", "-x", "x-", "a..b", "A", "a_b", "a b", "a;b", "$(x)", "a/b", ".a", strings.Repeat("a", 49), "a\x00"},
		"user":     {"", "Root", "0", "a b", "a$b", "-a", strings.Repeat("u", 25)},
		"home":     {"", "/root", "/home", "/home/", "/home/../etc", "/home/.x", "/home/a b", "home/a"},
		"path":     {"", "/", "a/b", "/a/", "/a//b", "/a/../b", "/a/./b", "/-a", "/a b", "/a$b", "/a;b", "/a:b", "/a'b", "/" + strings.Repeat("p", 96)},
	} {
		for _, v := range values {
			bad = append(bad, Premise{Factor: factor, Plain: "another", Value: v})
		}
	}
	for _, p := range bad {
		if bits, err := p.Price(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %d bits, %v", p.String(), bits, err)
		}
	}
}

func TestPremiseThird(t *testing.T) {
	version := Premise{Factor: "version", Tool: "gcc", Plain: "12.2.0-15", Value: "12.2.0-14"}
	for _, c := range []struct {
		p     Premise
		third string
		ok    bool
	}{
		{version, "12.2.0-05", true},
		{version, "12.2.0-50", true},
		{version, "12.2.0-15", false}, // a digit in common
		{version, "12.2.0-14", false},
		{version, "12.2.0-5", false},
		{version, "12.2.1-50", false},
		{Premise{Factor: "version", Tool: "gcc", Plain: "12.2.0-1", Value: "12.2.0"}, "12.2.0", false}, // nothing to vary
		{Premise{Factor: "host", Value: "ab-1"}, "ba-2", true},
		{Premise{Factor: "host", Value: "ab-1"}, "bb-2", false},
		{Premise{Factor: "home", Value: "/home/ab"}, "/home/ba", true},
		{Premise{Factor: "timezone", Value: "CET-1"}, "AAA-1", true},
		{Premise{Factor: "timezone", Value: "CET-1"}, "AEA-2", false},
		{Premise{Factor: "epoch", Value: "1669357904"}, "1000134142", true},
		{Premise{Factor: "epoch", Value: "1669357904"}, "1669357905", false},
		{Premise{Factor: "epoch", Value: "1669357904"}, "999999999", false},
	} {
		if err := c.p.Third(c.third, true); (err == nil) != c.ok {
			t.Errorf("%s, third %s: %v, want ok %v", c.p, c.third, err, c.ok)
		}
	}
}

// inert accounts for two builds as raw bytes and asks whether the values are inert.
func inert(t *testing.T, a, b string, premises []Premise, thirds ...string) (int64, error) {
	t.Helper()
	l := &Ledger{}
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	if n > 0 {
		l.Entries = append(l.Entries, Entry{Dep: Range{0, int64(n)}, Ref: Range{0, int64(n)}, Op: OpCopy})
	}
	if n < len(b) {
		l.Entries = append(l.Entries, Entry{Dep: Range{int64(n), int64(len(b) - n)}})
	}
	return l.Inert(context.Background(), img([]byte(a)), img([]byte(b)), Tools{}, premises, thirds)
}

func TestInert(t *testing.T) {
	gcc := []Premise{{Factor: "version", Tool: "gcc", Plain: "12.2.0-14+deb12u1", Value: "12.2.0-14"}}
	one := []Premise{{Factor: "version", Tool: "gcc", Plain: "12.2.0-4", Value: "12.2.0-7"}}
	epoch := []Premise{{Factor: "epoch", Plain: "0", Value: "1669357904"}}
	both := []Premise{{Factor: "host", Plain: "assay", Value: "alpha"}, {Factor: "user", Plain: "build", Value: "root"}}
	far := strings.Repeat("-", 200<<10) // values beyond the first buffer, and across its border
	for _, c := range []struct {
		name     string
		a, b     string
		premises []Premise
		thirds   []string
		inert    bool
		even     int64 // where the byte of a checksum stands
	}{
		{"where it stands", "code gcc 12.2.0-14) end", "code gcc 12.2.0-50) end", gcc, []string{"12.2.0-50"}, true, -1},
		{"twice", "x-14 y 12.2.0-14", "x-50 y 12.2.0-50", gcc, []string{"12.2.0-50"}, true, -1},
		{"nowhere", "the same", "the same", gcc, []string{"12.2.0-50"}, true, -1},
		{"a flag besides", "mov 1 12.2.0-14", "mov 0 12.2.0-50", gcc, []string{"12.2.0-50"}, false, -1},
		{"a flag after", "12.2.0-14 mov 1", "12.2.0-50 mov 0", gcc, []string{"12.2.0-50"}, false, -1},
		{"one more byte", "12.2.0-14", "12.2.0-50!", gcc, []string{"12.2.0-50"}, false, -1},
		{"half of it", "12.2.0-14", "12.2.0-54", gcc, []string{"12.2.0-50"}, false, -1},
		{"another value", "12.2.0-14", "12.2.0-05", gcc, []string{"12.2.0-50"}, false, -1},
		{"the wrong way", "12.2.0-50", "12.2.0-14", gcc, []string{"12.2.0-50"}, false, -1},
		{"far", far + "12.2.0-14" + far, far + "12.2.0-50" + far, gcc, []string{"12.2.0-50"}, true, -1},
		{"on a border", far[:64<<10-2] + "12.2.0-14", far[:64<<10-2] + "12.2.0-50", gcc, []string{"12.2.0-50"}, true, -1},
		{"on a border and besides", far[:64<<10-2] + "12.2.0-14" + "a", far[:64<<10-2] + "12.2.0-50" + "b", gcc, []string{"12.2.0-50"}, false, -1},
		{"two values", "root@alpha", "sppu@bfubb", both, []string{"bfubb", "sppu"}, true, -1},
		{"values that changed places", "root@alpha", "bfubb@sppu", both, []string{"bfubb", "sppu"}, false, -1},
		{
			"a date", "Built : 06:31:44, Nov 25 2022 1669357904", "Built : 15:02:22, Sep 10 2001 1000134142",
			epoch,
			[]string{"1000134142"},
			true, -1,
		},
		{"a checksum", "\x10 12.2.0-7", "\x11 12.2.0-6", one, []string{"12.2.0-6"}, true, 0},
		{"a checksum after", "12.2.0-7 \x10", "12.2.0-6 \x11", one, []string{"12.2.0-6"}, true, 9},
		{"a checksum that is none", "\x10 12.2.0-7", "\x12 12.2.0-6", one, []string{"12.2.0-6"}, false, -1},
		{"two checksums", "\x10 12.2.0-7\x10", "\x13 12.2.0-6\x0e", one, []string{"12.2.0-6"}, false, -1},
		{"a binary time", "\x10\x5f\x80\x63", "\x3e\xd8\x9c\x3b", epoch, []string{"1000134142"}, false, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			even, err := inert(t, c.a, c.b, c.premises, c.thirds...)
			if c.inert && (err != nil || even != c.even) || !c.inert && !errors.Is(err, ErrNotInert) {
				t.Errorf("%v, even at %d, want inert: %v", err, even, c.inert)
			}
		})
	}
	if _, err := inert(t, "a", "a", gcc, "12.2.0-14"); !errors.Is(err, ErrInvalid) {
		t.Errorf("the value as its own third: %v", err)
	}
	if _, err := inert(t, "a", "a", nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("no premise: %v", err)
	}
}

// A stored ledger keeps its premises, and their price is the kernel's.
func TestPremisesStored(t *testing.T) {
	image := []byte("some bytes")
	l := &Ledger{
		Premises: []Premise{
			{Factor: "host", Plain: "assay", Value: "abc", Bits: -7},
			{Factor: "version", Tool: "gcc", Plain: "12.2.0-14+deb12u1", Value: "12.2.0-14"},
		},
		Entries: []Entry{{Dep: Range{0, 10}, Ref: Range{0, 10}, Op: OpCopy}},
	}
	if err := l.Check(context.Background(), img(image), img(image), Tools{}); err != nil {
		t.Fatal(err)
	}
	if want := int64(3*6 + 6 + 3*6 + 5); l.FreeBits != want || l.Premises[0].Bits != 24 {
		t.Errorf("%d free bits, want %d", l.FreeBits, want)
	}
	var stored bytes.Buffer
	if _, err := l.Encode(&stored); err != nil {
		t.Fatal(err)
	}
	again, err := Recheck(context.Background(), bytes.NewReader(stored.Bytes()), img(image), img(image), Tools{})
	if err != nil || len(again.Premises) != 2 || again.Premises[1] != l.Premises[1] {
		t.Fatalf("%+v, %v", again, err)
	}
	for _, edit := range [][2]string{
		{`"bits":24`, `"bits":23`},
		{`"value":"abc"`, `"value":"abd"`},
		{`"value":"abc"`, `"value":"a;c"`},
		{`"free_bits":47`, `"free_bits":0`},
		{`"premises":2`, `"premises":1`},
	} {
		text := bytes.Replace(stored.Bytes(), []byte(edit[0]), []byte(edit[1]), 1)
		if bytes.Equal(text, stored.Bytes()) {
			t.Fatalf("%s is not there", edit[0])
		}
		if _, err := Recheck(context.Background(), bytes.NewReader(text), img(image), img(image), Tools{}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s for %s: %v", edit[1], edit[0], err)
		}
	}
	l.Premises[0], l.Premises[1] = l.Premises[1], l.Premises[0]
	if err := l.Check(context.Background(), img(image), img(image), Tools{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("out of order: %v", err)
	}
}

func TestThirds(t *testing.T) {
	sum := func(text string) (n int) {
		for _, c := range []byte(text) {
			n += int(c)
		}
		return n
	}
	for _, c := range []struct {
		p    Premise
		want Thirds // "" for any, or for none where even is set
		even bool   // there is one of the same sum
	}{
		{Premise{Factor: "version", Tool: "gcc", Plain: "12.2.0-15", Value: "12.2.0-14"}, Thirds{"12.2.0-15", "12.2.0-99", "12.2.0-05"}, true},
		{Premise{Factor: "version", Tool: "gcc", Plain: "12.2.0-1", Value: "12.2.0-4"}, Thirds{"12.2.0-1", "12.2.0-9", ""}, false},
		{Premise{Factor: "version", Tool: "gcc", Plain: "12.2.0-10", Value: "12.2.0-99"}, Thirds{"12.2.0-10", "12.2.0-88", ""}, false},
		{Premise{Factor: "version", Tool: "gcc", Plain: "12.2.0-15", Value: "12.2.0-14+deb12u1"}, Thirds{"12.2.0-15aaaaaaaa", "12.2.0-99+zzz99z9", ""}, true},
		{Premise{Factor: "host", Plain: "assay", Value: "ab-01"}, Thirds{"assay", "zz-99", ""}, true},
		{Premise{Factor: "user", Plain: "build", Value: "root"}, Thirds{"buil", "yyyy", ""}, true},
		{Premise{Factor: "path", Plain: "/src", Value: "/build/fw-1.0"}, Thirds{"/srcaaaaaaaaa", "/zzzzz/zz-9.9", ""}, true},
		{Premise{Factor: "home", Plain: "/home/build", Value: "/home/ci"}, Thirds{"/home/bu", "/home/zz", ""}, true},
		{Premise{Factor: "version", Tool: "gcc", Plain: "12.2.0-14+deb12u1", Value: "12.2.0-14"}, Thirds{"12.2.0-00", "12.2.0-99", "12.2.0-05"}, true},
		{Premise{Factor: "host", Plain: "assay", Value: "a.evil.org"}, Thirds{"assayaaaaa", "z.zzzz.zzz", ""}, true},
		{Premise{Factor: "path", Plain: "/src", Value: "/fw1"}, Thirds{"/src", "/zz9", ""}, true},
		{Premise{Factor: "epoch", Plain: "1700000000", Value: "1669357904"}, Thirds{"1700000000", "2145620791", ""}, false},
		{Premise{Factor: "timezone", Plain: "UTC", Value: "CET-1"}, Thirds{"AAA10", "ZZZ-9", ""}, false},
		{Premise{Factor: "epoch", Plain: "0", Value: "1669357904"}, Thirds{}, false},
		{Premise{Factor: "epoch", Plain: "0", Value: "1700000000"}, Thirds{}, false},
	} {
		got, ok := c.p.Thirds()
		if !ok || c.p.Third(got.Low, false) != nil || c.p.Third(got.High, true) != nil || c.want.Low != "" && (got.Low != c.want.Low || got.High != c.want.High) {
			t.Errorf("%s: %+v, %v, want %+v", c.p, got, ok, c.want)
		}
		if (got.Even != "") != c.even || c.even && (sum(got.Even) != sum(c.p.Value) || c.p.Third(got.Even, true) != nil) || c.want.Even != "" && got.Even != c.want.Even {
			t.Errorf("%s: even %q", c.p, got.Even)
		}
	}
	for _, p := range []Premise{
		{Factor: "version", Tool: "gcc", Plain: "12.2.0-1", Value: "12.2.0"},
		{Factor: "epoch", Plain: "0", Value: "5"},
		{Factor: "epoch", Plain: "1700000000", Value: "999999999"},
	} {
		if got, ok := p.Thirds(); ok {
			t.Errorf("%s: %+v", p, got)
		}
	}
}

func TestControl(t *testing.T) {
	for _, c := range []struct {
		p    Premise
		want string
	}{
		{Premise{Factor: "version", Tool: "gcc", Plain: "12.2.0-14+deb12u1", Value: "12.2.0-14"}, "12.2.0-99+zzz99z9"},
		{Premise{Factor: "host", Plain: "assay", Value: "alpha"}, "zzzzz"},
		{Premise{Factor: "user", Plain: "build", Value: "root"}, "yyyyy"},
		{Premise{Factor: "path", Plain: "/src", Value: "/build/fw"}, "/zzz"},
		{Premise{Factor: "home", Plain: "/home/build", Value: "/home/ci"}, "/home/zzzzz"},
		{Premise{Factor: "timezone", Plain: "UTC", Value: "CET-1"}, "ZZZ"},
		{Premise{Factor: "epoch", Plain: "315532800", Value: "1669357904"}, "979068742"}, // of nine digits too
	} {
		if got := c.p.Control(); got != c.want {
			t.Errorf("%s: %q, want %q", c.p, got, c.want)
		}
	}
}
