package counterfactual

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/ledger"
)

func image(text string) diff.Image {
	return diff.Image{ReaderAt: bytes.NewReader([]byte(text)), Size: int64(len(text))}
}

// read finds the values of a deployed image by a probe, both given by their bytes.
func read(t *testing.T, probe, deployed string, tools ...toolGroup) (map[string][]found, *search) {
	t.Helper()
	s := &search{ctx: t.Context(), answer: &Answer{}, tools: tools, q: Question{}}
	sites, err := s.sites(image(probe), s.marks())
	if err != nil {
		t.Fatal(err)
	}
	values, err := s.values(image(deployed), sites)
	if err != nil {
		t.Fatal(err)
	}
	return values, s
}

func TestValues(t *testing.T) {
	gcc := toolGroup{names: []string{"gcc"}, plain: "12.2.0-14+deb12u1", mark: "12.2.0-97zq7x0"}
	for _, c := range []struct {
		name            string
		probe, deployed string
		knob            string
		want            []string // the best first
	}{
		{
			"compiler", "\x00\x01build: gcc: (Debian 12.2.0-97zq7x0) 12.2.0 binutils: 2.40\x00", "\x7fELF\x02build: gcc: (Debian 12.2.0-14) 12.2.0 binutils: 2.40\x00",
			"version:gcc",
			[]string{"12.2.0-14"},
		},
		{"user and host", "\x00by zq7user@zq7host on x\x00", "\x00by root@alpha on x\x00", "host", []string{"alpha"}},
		{"user beside host", "\x00by zq7user@zq7host on x\x00", "\x00by root@alpha on x\x00", "user", []string{"root"}},
		{"a path in a message", "\x00assert /zq7top/zq7dir/main.c:12\x00", "\x00assert /build/fw-1.0/main.c:12\x00", "path", []string{"/build/fw-1.0"}},
		{"alone", "\x00host name:\x00zq7host\x00end of it\x00", "\x00host name:\x00alpha\x00end of it\x00", "host", []string{"alpha"}},
		{"alone, after only", "\x00old text\x00zq7host\x00end of it\x00", "\x00new text\x00alpha\x00end of it\x00", "host", []string{"alpha"}},
		{"alone, nothing beside", "\x00old text\x00zq7host\x00older text\x00", "\x00new text\x00alpha\x00newer text\x00", "host", nil},
		{"date and clock", "\x00Built : 06:05:37, Jan 15 2006\x00", "\x00Built : 06:31:44, Nov 25 2022\x00", "epoch", []string{"06:31:44, Nov 25 2022"}},
		{"epoch", "\x00epoch=1137305137;\x00", "\x00epoch=1669357904;\x00", "epoch", []string{"1669357904"}},
		{"hostile", "\x00by zq7user@zq7host on x\x00", "\x00by root@$(id) on x\x00", "host", []string{"$(id)"}},
		{"not there", "\x00by zq7user@zq7host on x\x00", "\x00nothing of the kind\x00", "host", nil},
		{"no mark", "\x00by build@assay on x\x00", "\x00by root@alpha on x\x00", "host", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			values, _ := read(t, c.probe, c.deployed, gcc)
			var got []string
			for _, f := range values[c.knob] {
				got = append(got, f.value)
			}
			if len(got) > len(c.want) {
				slices.Sort(got[len(c.want):])
				got = got[:len(c.want)]
			}
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// What stands in the image is tried only if it is a word of its grammar.
func TestHostileValues(t *testing.T) {
	gcc := toolGroup{names: []string{"gcc"}, plain: "12.2.0-14+deb12u1", mark: "12.2.0-97zq7x0"}
	for _, version := range []string{
		"12.2.0-14;id", "12.2.0-$(id)", "12.2.0-14 -O0", "12.2.0-`id`", "12.3.0-14", "12.2.0-14|tee x", "12.2.0-" + strings.Repeat("1", 100),
	} {
		values, s := read(t, "\x00gcc (Debian 12.2.0-97zq7x0) 12.2.0 of it\x00", "\x00gcc (Debian "+version+") 12.2.0 of it\x00", gcc)
		s.q.Builder = nil
		var list []ledger.Premise
		for _, f := range values["version:gcc"] {
			p := ledger.Premise{Factor: "version", Tool: "gcc", Plain: gcc.plain, Value: f.value}
			if _, err := p.Price(); err == nil {
				list = append(list, p)
			}
		}
		if len(list) > 0 {
			t.Errorf("%q gives %v", version, list)
		}
	}
}

func TestTimes(t *testing.T) {
	at := func(layout, value string, local bool) found {
		return found{value: value, layout: layout, local: local}
	}
	for _, c := range []struct {
		name   string
		values []found
		east   int64
		want   int64
	}{
		{"date and clock", []found{at("15:04:05", "06:31:44", false), at("Jan _2 2006", "Nov 25 2022", false)}, 0, 1669357904},
		{"there", []found{at("15:04:05", "07:31:44", true), at("Jan _2 2006", "Nov 25 2022", true)}, 3600, 1669357904},
		{"stamp", []found{at("Mon Jan _2 15:04:05 2006", "Fri Nov 25 06:31:44 2022", false)}, 0, 1669357904},
		{"number", []found{{value: "1669357904"}}, 0, 1669357904},
		{"date alone", []found{at("2006-01-02", "2022-11-25", false)}, 0, 1669334400 + 12800},
	} {
		if got := times(c.values, c.east, 1e9+6400); len(got) == 0 || got[0] != c.want {
			t.Errorf("%s: %v, want %d", c.name, got, c.want)
		}
	}
}
