package verify_test

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/format"
	"github.com/assaylab/assay/verify"
)

// payload is what an adversary hides: bytes that stand nowhere else.
const payload = "\x90PAYLOAD\x91"

// A built is an image and where in it the payload stands: at+n bytes of the
// layer, which is the image itself unless it was decoded on the way.
type built struct {
	image, layer []byte
	at, n        int
}

// hidden finds the payload in the image or, where one is given, in the layer.
func hidden(image []byte, layer ...[]byte) built {
	b := built{image: image, layer: image}
	if len(layer) > 0 {
		b.layer = layer[0]
	}
	b.at, b.n = bytes.Index(b.layer, []byte(payload)), len(payload)
	return b
}

// spot says that the payload is n bytes of the image at an offset.
func spot(image []byte, at, n int) built { return built{image, image, at, n} }

// A pair builds an image with or without a payload, at one time or another. The
// other time is a harmless difference. A payload that changes a field of an
// extended layer is named in path, part of a finding's path.
type pair struct {
	name, path string
	build      func(with bool, now int64) built
}

const (
	then  = 1714558830 // 2024-05-01 10:20:30
	later = 1733397010 // 2024-12-05 11:10:10
)

// TestHidden hides a payload in every place that a format leaves, alone and
// beside a harmless difference: each is rejected, and a finding covers the
// payload's place.
func TestHidden(t *testing.T) {
	standard := policy(t, "standard")
	seen := map[string]bool{}
	for _, p := range pairs() {
		if seen[p.name] {
			t.Errorf("two pairs are named %q", p.name)
		}
		seen[p.name] = true
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			ref := p.build(false, then).image
			if out := diffBytes(t, ref, p.build(false, then).image, standard); out.Report.Verdict != verify.Identical {
				t.Fatalf("without a difference: %s", out.Report.Verdict)
			}
			if harmless := p.build(false, later).image; !bytes.Equal(ref, harmless) {
				if out := diffBytes(t, ref, harmless, standard); out.Report.Verdict != verify.Explained {
					t.Errorf("the difference beside it is not harmless: %s", describe(out.Report))
				}
			} else {
				t.Error("nothing beside it")
			}
			for _, now := range []int64{then, later} {
				b := p.build(true, now)
				if b.at < 0 {
					t.Fatal("there is no payload")
				}
				out := diffBytes(t, ref, b.image, standard)
				twice(t, ref, b.image, standard, out)
				if out.Report.Verdict != verify.Rejected {
					t.Errorf("at %d: %s: %s", now, out.Report.Verdict, describe(out.Report))
				}
				if !names(out, p.path, b) {
					t.Errorf("at %d: no finding names %q at %d+%d: %s", now, p.path, b.at, b.n, describe(out.Report))
				}
			}
		})
	}
}

// names says whether findings with path in their paths cover the payload, in
// the layer it stands in. A layer that did not decode, or not to be encoded
// again, is named as a whole.
func names(out *verify.Outcome, path string, b built) bool {
	covered := make([]bool, b.n)
	for _, f := range out.Report.Findings {
		if !strings.Contains(f.Path, path) || f.Kind == verify.KindMissing || f.Kind == verify.KindDisallowed {
			continue
		}
		if (f.Stream == 0) != (&b.layer[0] == &b.image[0]) {
			continue
		}
		for i := range covered {
			at := int64(b.at + i)
			covered[i] = covered[i] || f.Offset <= at && at < f.Offset+f.Length
		}
	}
	return !bytes.Contains(fmt.Append(nil, covered), []byte("false"))
}

func describe(r *verify.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "\n\t%s %s stream %d %d+%d: %s", f.Kind, f.Path, f.Stream, f.Offset, f.Length, f.Message)
	}
	for _, e := range r.Explanations {
		fmt.Fprintf(&b, "\n\t%s %s stream %d %d+%d: %d bits", e.Rule, e.Path, e.Stream, e.Offset, e.Length, e.Bits)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\n\tnote on the %s, %s: %s", n.Side, n.Path, n.Text)
	}
	return b.String()
}

// tarOf is an archive of two files at a time, of which change may make another.
// It changes the first.
func tarOf(now int64, change func(*difftest.TarEntry)) []byte {
	first := difftest.TarEntry{Dialect: "ustar", Name: "bin/first", Type: '0', Mode: 0o755, Mtime: now, Data: []byte("#!/bin/sh\necho first\n")}
	if change != nil {
		change(&first)
	}
	return difftest.Tar(2, 10240, first,
		difftest.TarEntry{Dialect: "ustar", Name: "etc/second", Type: '0', Mode: 0o644, Mtime: now, Data: []byte("second=2\n")})
}

// tarPair is a pair of which the payload changes the first entry.
func tarPair(name, path string, change func(*difftest.TarEntry)) pair {
	return pair{"tar " + name, path, func(with bool, now int64) built {
		if !with {
			return hidden(tarOf(now, nil))
		}
		return hidden(tarOf(now, change))
	}}
}

// tarField is a tarPair that writes to the header at off.
func tarField(name, path string, off int, value string) pair {
	return pair{"tar " + name, path, func(with bool, now int64) built {
		b := tarOf(now, func(e *difftest.TarEntry) {
			if with {
				e.Edit = func(h []byte) { copy(h[off:], value) }
			}
		})
		return spot(b, off, len(value))
	}}
}

// edited is a pair of which the payload changes the finished image.
func edited(name, path string, build func(now int64) []byte, edit func([]byte) []byte) pair {
	return pair{name, path, func(with bool, now int64) built {
		b := build(now)
		if with {
			b = edit(b)
		}
		return hidden(b)
	}}
}

func overwrite(off int, value string) func([]byte) []byte {
	return func(b []byte) []byte {
		if off < 0 {
			off += len(b)
		}
		copy(b[off:], value)
		return b
	}
}

func appended(b []byte) []byte { return append(b, payload...) }

func pairs() []pair {
	var out []pair
	out = append(out, tarPairs()...)
	out = append(out, cpioPairs()...)
	out = append(out, gzipPairs()...)
	out = append(out, xzPairs()...)
	out = append(out, uimagePairs()...)
	out = append(out, treePairs()...)
	out = append(out, elfPairs()...)
	out = append(out, directoryPairs()...)
	out = append(out, nestedPairs()...)
	return append(out, rawPairs()...)
}

func tarPairs() []pair {
	plain := func(now int64) []byte { return tarOf(now, nil) }
	const slack, end, record = 512 + 22, 4 * 512, 6*512 + 100
	v7 := func(with bool, now int64) built {
		e := difftest.TarEntry{Dialect: "v7", Name: "old", Mtime: now, Data: []byte("old")}
		if with {
			e.Edit = func(h []byte) { copy(h[300:], payload) }
		}
		return hidden(difftest.Tar(2, 0, e))
	}
	gnu := func(off int) func(with bool, now int64) built {
		return func(with bool, now int64) built {
			e := difftest.TarEntry{Dialect: "gnu", Name: "new", Type: '0', Mtime: now, Data: []byte("new")}
			if with {
				e.Edit = func(h []byte) { copy(h[off:], payload) }
			}
			return hidden(difftest.Tar(2, 0, e))
		}
	}
	long := func(with bool, now int64) built {
		b := difftest.Tar(2, 0, difftest.TarEntry{Dialect: "gnu", Name: strings.Repeat("long/", 25), Type: '0', Mtime: now, Data: []byte("new")})
		if with {
			copy(b[512+125+1:], payload) // after the NUL that ends the long name
		}
		return hidden(b)
	}
	longer := func(with bool, now int64) built { // the same, counted as part of the name
		name := strings.Repeat("long/", 25) + "\x00"
		if with {
			name += payload
		}
		return hidden(difftest.Tar(2, 0,
			difftest.TarEntry{Dialect: "gnu", Name: "././@LongLink", Type: 'L', Mtime: now, Data: []byte(name)},
			difftest.TarEntry{Dialect: "gnu", Name: "long/", Type: '0', Mtime: now, Data: []byte("new")}))
	}
	pax := func(records ...string) func(with bool, now int64) built {
		return func(with bool, now int64) built {
			rs := []string{fmt.Sprintf("mtime=%d", now)}
			if with {
				rs = append(rs, records...)
			}
			return hidden(difftest.Tar(2, 0, difftest.TarEntry{Dialect: "ustar", Name: "new", Type: '0', Mtime: now, Data: []byte("new"), Pax: rs}))
		}
	}
	global := func(with bool, now int64) built {
		es := []difftest.TarEntry{{Dialect: "ustar", Name: "new", Type: '0', Mtime: now, Data: []byte("new")}}
		if with {
			es = append([]difftest.TarEntry{{Dialect: "ustar", Type: 'g', Mtime: now, Pax: []string{"comment=" + payload}}}, es...)
		}
		return hidden(difftest.Tar(2, 0, es...))
	}
	member := func(e difftest.TarEntry) func(with bool, now int64) built {
		return func(with bool, now int64) built {
			es := []difftest.TarEntry{{Dialect: "ustar", Name: "new", Type: '0', Mtime: now, Data: []byte("new")}}
			if with {
				e.Dialect, e.Mtime = "ustar", now
				es = append(es, e)
			}
			return hidden(difftest.Tar(2, 0, es...))
		}
	}
	second := func(with bool, now int64) built {
		b := tarOf(now, nil)
		if with {
			b = append(b, tarOf(now, func(e *difftest.TarEntry) { e.Data = []byte(payload) })...)
		}
		return hidden(b)
	}
	return []pair{
		edited("tar slack", "bin/first:padding", plain, overwrite(slack, payload)),
		edited("tar slack at its end", "bin/first:padding", plain, overwrite(1024-len(payload), payload)),
		edited("tar second block of the end", "tail", plain, overwrite(end+512, payload)),
		edited("tar record padding", "", plain, overwrite(record, payload)),
		edited("tar end of the record padding", "", plain, overwrite(-len(payload), payload)),
		edited("tar tail", "tail", plain, appended),
		edited("tar tail of zeros before it", "tail", plain, func(b []byte) []byte { return appended(append(b, make([]byte, 512)...)) }),
		{"tar second archive", "tail", second},
		tarField("header padding", "bin/first:header:pad", 500, payload),
		tarField("name after its NUL", "bin/first:header:name", 10, payload),
		tarField("link name of a file", "bin/first:header:linkname", 157, payload),
		tarField("user name after its NUL", "bin/first:header:uname", 272, payload),
		tarField("group name", "bin/first:header:gname", 297, payload[:4]),
		tarField("prefix after its NUL", "bin/first:header:prefix", 346, payload),
		tarField("device number of a file", "bin/first:header:devmajor", 329, "0000007"),
		tarField("set-user-ID", "bin/first:header:mode", 100+3, "4"),
		tarField("owner", "bin/first:header:uid", 108+6, "1"),
		tarField("type", "bin/first:header:typeflag", 156, "7"),
		tarField("type by its old letter", "bin/first:header:typeflag", 156, "\x00"),
		tarField("end of the mode", "bin/first:header:mode", 107, " "),
		tarField("end of the size", "bin/first:header:size", 135, " "),
		tarField("end of the time", "bin/first:header:mtime", 147, " "),
		tarField("version", "bin/first:header:version", 264, "1"),
		{"tar v7 header padding", "old:header:pad", v7},
		{"tar GNU longnames", "new:header", gnu(381 - 4)},
		{"tar GNU sparse map of a plain file", "new:header:sparse", gnu(400)},
		{"tar GNU header padding", "new:header:pad", gnu(500)},
		{"tar GNU access time of garbage", "new:header:atime", gnu(346)},
		{"tar long name after its NUL", "L-header", long},
		{"tar long name that is longer", "L-header", longer},
		{"tar pax comment", "new:x-header:content:comment", pax("comment=" + payload)},
		{"tar pax attribute", "new:x-header:content:SCHILY", pax("SCHILY.xattr.security.capability=" + payload)},
		{"tar pax time said twice", "new:x-header:content", pax("mtime=0" + payload)},
		{"tar pax global", "g-header", global},
		{"tar link added", "extra", member(difftest.TarEntry{Name: "extra", Type: '2', Link: payload})},
		{"tar file added", "extra", member(difftest.TarEntry{Name: "extra", Type: '0', Data: []byte(payload)})},
		{"tar member repeated", "new#2", member(difftest.TarEntry{Name: "new", Type: '0', Data: []byte(payload)})},
		tarPair("content", "bin/first", func(e *difftest.TarEntry) { e.Data = []byte("#!/bin/sh\n" + payload + "t\n") }),
		tarPair("content that grew", "bin/first", func(e *difftest.TarEntry) { e.Data = append(e.Data, payload...) }),
	}
}

func cpioPairs() []pair {
	of := func(now int64, change func(e []difftest.CpioEntry) []difftest.CpioEntry) []byte {
		e := []difftest.CpioEntry{
			{Name: "init", Ino: 1, Mode: 0o100755, Mtime: uint32(now), Nlink: 1, Data: []byte("#!/bin/sh\nexec sh\n\n\n\n")},
			{Name: "sbin", Ino: 2, Mode: 0o040755, Mtime: uint32(now), Nlink: 2},
		}
		if change != nil {
			e = change(e)
		}
		return difftest.Cpio("070701", 512, e...)
	}
	plain := func(now int64) []byte { return of(now, nil) }
	// init: 110 of header, 5 of name, 1 of padding, 21 of content, 3 of padding.
	const sbin, trailer = 140, 140 + 110 + 5 + 1
	changed := func(name, path string, change func(e []difftest.CpioEntry) []difftest.CpioEntry) pair {
		return pair{"cpio " + name, path, func(with bool, now int64) built {
			if !with {
				return hidden(of(now, nil))
			}
			return hidden(of(now, change))
		}}
	}
	digits := func(name, path string, off int, value string) pair {
		return pair{"cpio " + name, path, func(with bool, now int64) built {
			b := of(now, nil)
			if with {
				copy(b[off:], value)
			}
			return spot(b, off, len(value))
		}}
	}
	return []pair{
		digits("name padding", "init:name padding", 115, "\x90"),
		digits("content padding", "init:padding", 116+21, "\x90\x91\x92"),
		digits("inode number", "init:header:ino", 6+7, "3"),
		digits("set-user-ID", "init:header:mode", 14+4, "9"),
		digits("owner", "init:header:uid", 22+7, "1"),
		digits("device of a file", "init:header:devminor", 6+8*8+7, "9"),
		digits("sum where there is none", "init:header:check", 6+12*8, "DEADBEEF"),
		digits("trailer's inode number", "TRAILER", trailer+6, "DEADBEEF"),
		digits("trailer's time", "TRAILER", trailer+6+5*8, "12345678"),
		digits("magic", "sbin:header:magic", sbin+5, "2"),
		edited("cpio after the trailer", "", plain, overwrite(trailer+124, payload)),
		edited("cpio end of the block", "", plain, overwrite(-len(payload), payload)),
		edited("cpio tail", "", plain, appended),
		{"cpio second archive", "", func(with bool, now int64) built {
			b := of(now, nil)
			if with {
				b = append(b, difftest.Cpio("070701", 512, difftest.CpioEntry{Name: "init", Mode: 0o100755, Mtime: uint32(now), Nlink: 1, Data: []byte(payload)})...)
			}
			return hidden(b)
		}},
		changed("name after its NUL", "init", func(e []difftest.CpioEntry) []difftest.CpioEntry {
			e[0].Name += "\x00" + payload
			return e
		}),
		changed("content of a directory", "sbin", func(e []difftest.CpioEntry) []difftest.CpioEntry {
			e[1].Data = []byte(payload)
			return e
		}),
		changed("file added", "sbin/extra", func(e []difftest.CpioEntry) []difftest.CpioEntry {
			return append(e, difftest.CpioEntry{Name: "sbin/extra", Mode: 0o100755, Nlink: 1, Data: []byte(payload)})
		}),
		changed("member repeated", "init#2", func(e []difftest.CpioEntry) []difftest.CpioEntry {
			return append(e, difftest.CpioEntry{Name: "init", Mode: 0o100755, Nlink: 1, Data: []byte(payload)})
		}),
	}
}

func gzipPairs() []pair {
	content := []byte(strings.Repeat("a file that compresses. ", 20))
	changed := func(name, path string, change func(g *difftest.Gzip)) pair {
		return pair{"gzip " + name, path, func(with bool, now int64) built {
			g := difftest.Gzip{Time: uint32(now), OS: 3, Content: content}
			if with {
				change(&g)
			}
			return hidden(g.Bytes())
		}}
	}
	field := func(name, path string, at, n int, change func(g *difftest.Gzip)) pair {
		return pair{"gzip " + name, path, func(with bool, now int64) built {
			g := difftest.Gzip{Time: uint32(now), OS: 3, Content: content}
			if with {
				change(&g)
			}
			return spot(g.Bytes(), at, n)
		}}
	}
	stored := func(now int64, padding byte) []byte {
		return difftest.Gzip{Time: uint32(now), Content: content, Deflate: difftest.Stored(content, padding)}.Bytes()
	}
	// The same where an encoder is known, and the content differs too.
	level0 := func(with bool, now int64) built {
		text := fmt.Appendf(nil, "built %s\n", stamp(now))
		d := difftest.Deflate(text, flate.NoCompression)
		if with {
			d[0] |= 0xa8
		}
		return spot(difftest.Gzip{Time: uint32(now), Content: text, Deflate: d}.Bytes(), 10, 1)
	}
	// An empty block before the last: more bytes that decode to nothing.
	empty := func(with bool, now int64) built {
		d := difftest.Stored(content, 0)
		if with {
			d = append([]byte{0, 0, 0, 0xff, 0xff}, d...)
		}
		return spot(difftest.Gzip{Time: uint32(now), Content: content, Deflate: d}.Bytes(), 10, 5)
	}
	return []pair{
		changed("extra field", "extra", func(g *difftest.Gzip) { g.Extra = []byte("PL\x09\x00" + payload) }),
		changed("name", "name", func(g *difftest.Gzip) { g.Name = payload }),
		changed("comment", "comment", func(g *difftest.Gzip) { g.Comment = payload }),
		changed("tail", "tail", func(g *difftest.Gzip) { g.Tail = []byte(payload) }),
		changed("second member", "member2", func(g *difftest.Gzip) {
			g.Tail = difftest.Gzip{Content: []byte(payload), Deflate: difftest.Stored([]byte(payload), 0)}.Bytes()
		}),
		changed("empty second member with a name", "member2", func(g *difftest.Gzip) { g.Tail = difftest.Gzip{Name: payload}.Bytes() }),
		field("header checksum", "", 10, 2, func(g *difftest.Gzip) { g.HeaderCRC = true }),
		field("text flag", "flags", 3, 1, func(g *difftest.Gzip) { g.Flags = 1 }),
		field("extra flags", "", 8, 1, func(g *difftest.Gzip) { g.XFL = 0x42 }),
		field("operating system", "", 9, 1, func(g *difftest.Gzip) { g.OS = 0x42 }),
		{"gzip padding of a stored block", "", func(with bool, now int64) built {
			if with {
				return spot(stored(now, 0x1f), 10, 1)
			}
			return spot(stored(now, 0), 10, 1)
		}},
		{"gzip padding of a stored block by an encoder", "", level0},
		{"gzip empty block", "", empty},
	}
}

func stamp(now int64) string {
	text := string(difftest.Firmware{Time: uint32(now)}.Release())
	_, text, _ = strings.Cut(text, `"`)
	text, _, _ = strings.Cut(text, `"`)
	return text
}

// encoded returns content as an encoder of the program's codec makes it.
func encoded(codec string, content []byte) []byte {
	for _, c := range format.Codecs(diff.Limits{}) {
		if c.Name() == codec {
			var b bytes.Buffer
			if err := c.Encode(context.Background(), c.Settings()[0], &b, bytes.NewReader(content)); err != nil {
				panic(err)
			}
			return b.Bytes()
		}
	}
	panic("no codec " + codec)
}

func xzPairs() []pair {
	text := func(now int64) []byte {
		return fmt.Appendf(nil, "built %s\n%s", stamp(now), strings.Repeat("a file that compresses. ", 20))
	}
	xz := func(now int64) []byte { return encoded("xz@1", text(now)) }
	lzma := func(now int64) []byte { return encoded("lzma@1", text(now)) }
	longer := func(more string) func(with bool, now int64) built {
		return func(with bool, now int64) built {
			b := xz(now)
			n := len(b)
			if with {
				b = append(b, more...)
			}
			return spot(b, n, len(more))
		}
	}
	return []pair{
		edited("xz tail", "", xz, appended),
		edited("lzma tail", "", lzma, appended),
		{"xz stream padding", "", longer("\x00\x00\x00\x00")},
		{"xz empty stream", "", longer(string(encoded("xz@1", nil)))},
		{"xz broken stream", "", longer(string(encoded("xz@1", nil)[:12]))},
		{"lzma dictionary", "", func(with bool, now int64) built {
			b := lzma(now)
			if with {
				b[4]++
			}
			return spot(b, 4, 1)
		}},
		{"xz content", "streams", func(with bool, now int64) built {
			b := text(now)
			if with {
				copy(b[100:], payload)
			}
			return hidden(encoded("xz@1", b), b)
		}},
	}
}

func uimagePairs() []pair {
	changed := func(name, path string, change func(u *difftest.UImage)) pair {
		return pair{"uimage " + name, path, func(with bool, now int64) built {
			u := difftest.SmallUImage()
			u.Time = uint32(now)
			if with {
				change(&u)
			}
			return hidden(u.Bytes())
		}}
	}
	field := func(name, path string, at, n int, change func(u *difftest.UImage)) pair {
		return pair{"uimage " + name, path, func(with bool, now int64) built {
			u := difftest.SmallUImage()
			u.Time = uint32(now)
			if with {
				change(&u)
			}
			return spot(u.Bytes(), at, n)
		}}
	}
	return []pair{
		changed("tail", "tail", func(u *difftest.UImage) { u.Tail = []byte(payload) }),
		changed("name after its NUL", "header:name", func(u *difftest.UImage) { u.Name += "\x00" + payload }),
		changed("payload", "payload", func(u *difftest.UImage) { u.Payload = []byte("a kernel that " + payload + "ing") }),
		changed("payload that grew", "payload", func(u *difftest.UImage) { u.Payload = append(u.Payload, payload...) }),
		field("entry point", "header:ep", 23, 1, func(u *difftest.UImage) { u.Entry++ }),
		field("load address", "header:load", 19, 1, func(u *difftest.UImage) { u.Load++ }),
		field("operating system", "header:os", 28, 1, func(u *difftest.UImage) { u.OS = 17 }),
		{"uimage padding of a part", "payload:padding 1", func(with bool, now int64) built {
			// In a list, which has no checksum of its own; the whole has.
			u := difftest.SmallUImage()
			u.Time, u.Type = uint32(now), 2
			parts := binary.BigEndian.AppendUint32(nil, 5)
			parts = append(binary.BigEndian.AppendUint32(parts, 4), 0, 0, 0, 0)
			parts = append(parts, "five!\x00\x00\x00four"...)
			if with {
				copy(parts[12+5:], "\x90\x91\x92")
			}
			u.Type, u.Payload = 4, parts
			return spot(u.Bytes(), 64+12+5, 3)
		}},
	}
}

func treePairs() []pair {
	fit := func(now int64, change func(f *difftest.FIT)) []byte {
		f := difftest.SmallFIT()
		f.Time = uint32(now)
		if change != nil {
			change(&f)
		}
		return f.Bytes()
	}
	plain := func(now int64) []byte { return fit(now, nil) }
	external := func(now int64) []byte { return fit(now, func(f *difftest.FIT) { f.External = true }) }
	position := func(now int64) []byte {
		return fit(now, func(f *difftest.FIT) { f.External, f.Position = true, 0x600 })
	}
	changed := func(name, path string, change func(f *difftest.FIT)) pair {
		return pair{"FIT " + name, path, func(with bool, now int64) built {
			if !with {
				return hidden(plain(now))
			}
			return hidden(fit(now, change))
		}}
	}
	// A tree with a time in it, and room between its blocks and behind them.
	roomy := func(now int64, change func(b []byte) []byte) []byte {
		t := difftest.SmallFDT()
		t.Root.Props = append(t.Root.Props, difftest.FDTProp{Name: "built", Value: difftest.Text(stamp(now))})
		t.Slack = 32
		b := t.Bytes()
		// Move structure and strings behind 32 bytes of room.
		const hole = 32
		be := binary.BigEndian
		at := be.Uint32(b[8:])
		b = append(b[:at:at], append(make([]byte, hole), b[at:]...)...)
		for _, off := range []int{4, 8, 12} {
			be.PutUint32(b[off:], be.Uint32(b[off:])+hole)
		}
		if change != nil {
			b = change(b)
		}
		return b
	}
	inRoom := func(name, path string, at func(b []byte) int, value string) pair {
		return pair{"FDT " + name, path, func(with bool, now int64) built {
			b := roomy(now, nil)
			n := at(b)
			if with {
				copy(b[n:], value)
			}
			return spot(b, n, len(value))
		}}
	}
	before := func(mark string, n int) func(b []byte) int {
		return func(b []byte) int { return bytes.Index(b, []byte(mark)) + n }
	}
	// The name of one property twice among the strings, so that a tree may
	// point to either.
	strings2 := func(with bool, now int64) built {
		b := roomy(now, nil)
		if with {
			be := binary.BigEndian
			at, n := be.Uint32(b[12:]), be.Uint32(b[32:])
			b = append(b[:at+n:at+n], append([]byte(payload), b[at+n:]...)...)
			be.PutUint32(b[32:], n+uint32(len(payload)))
			be.PutUint32(b[4:], be.Uint32(b[4:])+uint32(len(payload)))
		}
		return hidden(b)
	}
	return []pair{
		edited("FIT tail", "tail", plain, appended),
		edited("FIT tail behind its data", "tail", external, appended),
		edited("FIT room before its data", "gap", position, overwrite(0x600-20, payload)),
		{"FIT padding of its data", "images/kernel/(padding)", func(with bool, now int64) built {
			b := external(now)
			at := bytes.Index(b, []byte("does nothing.")) + len("does nothing.")
			if with {
				b[at] = 0x90
			}
			return spot(b, at, 1)
		}},
		changed("description", "images/kernel:type", func(f *difftest.FIT) { f.Images[0].Type = payload }),
		changed("node added", "images/extra", func(f *difftest.FIT) {
			f.Images = append(f.Images, difftest.FITImage{Name: "extra", Data: []byte(payload)})
		}),
		changed("data", "images/kernel:data", func(f *difftest.FIT) { f.Images[0].Data = []byte("a kernel that " + payload + "ing") }),
		changed("data that grew", "images/kernel:data", func(f *difftest.FIT) { f.Images[0].Data = append(f.Images[0].Data, payload...) }),
		inRoom("room between its blocks", "gap", func(b []byte) int { return int(binary.BigEndian.Uint32(b[8:])) - 20 }, payload),
		inRoom("room behind its blocks", "", func(b []byte) int { return len(b) - len(payload) - 3 }, payload),
		inRoom("end of the room behind its blocks", "", func(b []byte) int { return len(b) - len(payload) }, payload),
		inRoom("padding of a value", "status:padding", before("ok\x00", 3), "\x90"),
		inRoom("padding of a name", "(name padding)", func(b []byte) int { return int(binary.BigEndian.Uint32(b[8:])) + 5 }, "\x90\x91\x92"),
		inRoom("processor", "header:boot_cpuid_phys", func([]byte) int { return 31 }, "\x01"),
		inRoom("last compatible version", "header:last_comp_version", func([]byte) int { return 27 }, "\x11"),
		inRoom("reserved memory", "mem_rsvmap", func([]byte) int { return 40 }, "\x90"),
		inRoom("end of reserved memory", "mem_rsvmap:entry 1", func([]byte) int { return 63 }, "\x90"),
		{"FDT string that nothing names", "strings", strings2},
	}
}

func elfPairs() []pair {
	of := func(now int64, change func(e *difftest.ELF)) []byte {
		e := difftest.SmallELF(64, binary.LittleEndian)
		e.Sections[1].Data = fmt.Appendf(nil, "built %s\x00", stamp(now))
		e.Sections[1].Gap, e.Sections[2].Gap = 12, 6
		if change != nil {
			change(&e)
		}
		return e.Bytes()
	}
	plain := func(now int64) []byte { return of(now, nil) }
	at := func(name, path string, off func(b []byte) int, value string) pair {
		return pair{"ELF " + name, path, func(with bool, now int64) built {
			b := of(now, nil)
			n := off(b)
			if with {
				copy(b[n:], value)
			}
			return spot(b, n, len(value))
		}}
	}
	fixed := func(n int) func([]byte) int { return func([]byte) int { return n } }
	rodata := func(n int) func([]byte) int {
		return func(b []byte) int { return bytes.Index(b, []byte("built ")) + n }
	}
	shdr := func(section, off int) func([]byte) int {
		return func(b []byte) int { return int(binary.LittleEndian.Uint64(b[40:])) + 64*section + off }
	}
	changed := func(name, path string, change func(e *difftest.ELF)) pair {
		return pair{"ELF " + name, path, func(with bool, now int64) built {
			if !with {
				return hidden(plain(now))
			}
			return hidden(of(now, change))
		}}
	}
	return []pair{
		edited("ELF tail", "tail", plain, appended),
		at("e_ident padding", "ehdr:ei_pad", fixed(9), "PAYLOAD"),
		at("ABI version", "ehdr:ei_abiversion", fixed(8), "\x01"),
		at("flags", "ehdr:e_flags", fixed(48), "\x01"),
		at("entry point", "ehdr:e_entry", fixed(24), "\x04"),
		at("segment made writable and executable", "segment 0:p_flags", fixed(64+4), "\x07"),
		at("segment's alignment", "segment 0:p_align", fixed(64+48), "\x10"),
		at("gap before a section", "gap", rodata(-12), payload),
		at("code", ".text", rodata(-12-8), "\x90\x91\x92\x93"),
		at("text beside the date", ".rodata", rodata(0), "BUILT"),
		at("byte after the date", ".rodata", rodata(25), "0"),
		at("section's flags", "shdrs:.text:sh_flags", shdr(1, 8), "\x07"),
		at("section's name", "shdrs:text:sh_name", shdr(1, 0), "\x02"),
		at("first section header", "shdrs", shdr(0, 24), payload),
		at("size of a section that has no bytes", "shdrs:.bss:sh_size", shdr(4, 32), "\x01"),
		changed("comment", ".comment", func(e *difftest.ELF) { e.Sections[4].Data = []byte("GCC: " + payload + "1.0\x00") }),
		changed("comment that grew", ".comment", func(e *difftest.ELF) { e.Sections[4].Data = append(e.Sections[4].Data, payload...) }),
		changed("section added", ".extra", func(e *difftest.ELF) {
			e.Sections = append(e.Sections, difftest.ELFSection{Name: ".extra", Data: []byte(payload)})
		}),
		changed("symbol renamed", ".strtab", func(e *difftest.ELF) { e.Symbols[1].Name = payload }),
		changed("gap that grew", "", func(e *difftest.ELF) {
			e.Sections[2].Gap = 0
			e.Sections[1].Data = append(e.Sections[1].Data, payload...)
		}),
	}
}

func directoryPairs() []pair {
	of := func(now int64, change func(e []difftest.DirEntry) []difftest.DirEntry) []byte {
		e := []difftest.DirEntry{
			{Type: 'd', Name: ".", Mode: 0o755},
			{Type: 'c', Name: "console", Mode: 0o600, Major: 5, Minor: 1},
			{Type: 'f', Name: "issue", Mode: 0o644, Data: fmt.Appendf(nil, "built %s\n", stamp(now)), Xattrs: [][2]string{{"user.origin", "here"}}},
			{Type: 'l', Name: "link", Mode: 0o777, Target: "issue/its/own"},
			{Type: 'f', Name: "su", Mode: 0o755, Data: []byte("#!/bin/sh\nexit 0\n")},
		}
		if change != nil {
			e = change(e)
		}
		return difftest.Directory(e...)
	}
	changed := func(name, path string, change func(e []difftest.DirEntry) []difftest.DirEntry) pair {
		return pair{"directory " + name, path, func(with bool, now int64) built {
			if !with {
				return hidden(of(now, nil))
			}
			return hidden(of(now, change))
		}}
	}
	// A field of su's record, which is the last.
	su := func(name, field string, off, n int, change func(e *difftest.DirEntry)) pair {
		return pair{"directory " + name, "su:header:" + field, func(with bool, now int64) built {
			b := of(now, func(e []difftest.DirEntry) []difftest.DirEntry {
				if with {
					change(&e[4])
				}
				return e
			})
			return spot(b, bytes.Index(b, []byte("su#!"))-39+off, n)
		}}
	}
	return []pair{
		changed("file added", "extra", func(e []difftest.DirEntry) []difftest.DirEntry {
			return append(e[:2:2], append([]difftest.DirEntry{{Type: 'f', Name: "extra", Mode: 0o644, Data: []byte(payload)}}, e[2:]...)...)
		}),
		changed("link added", "zlink", func(e []difftest.DirEntry) []difftest.DirEntry {
			return append(e, difftest.DirEntry{Type: 'l', Name: "zlink", Mode: 0o777, Target: payload})
		}),
		changed("content", "su", func(e []difftest.DirEntry) []difftest.DirEntry {
			e[4].Data = append(e[4].Data, payload...)
			return e
		}),
		changed("target", "link:target", func(e []difftest.DirEntry) []difftest.DirEntry {
			e[3].Target = payload
			return e
		}),
		changed("attribute added", "su:xattrs", func(e []difftest.DirEntry) []difftest.DirEntry {
			e[4].Xattrs = [][2]string{{"security.capability", payload}}
			return e
		}),
		changed("attribute changed", "issue:xattrs", func(e []difftest.DirEntry) []difftest.DirEntry {
			e[2].Xattrs[0][1] = payload
			return e
		}),
		su("mode", "mode", 2, 1, func(e *difftest.DirEntry) { e.Mode = 0o777 }),
		su("set-user-ID", "mode", 1, 1, func(e *difftest.DirEntry) { e.Mode |= 0o4000 }),
		su("owner", "uid", 6, 1, func(e *difftest.DirEntry) { e.UID = 1 }),
		su("group", "gid", 10, 1, func(e *difftest.DirEntry) { e.GID = 1 }),
	}
}

// nestedPairs hide where a layer in a layer leaves room, with every checksum
// and size around it recomputed.
func nestedPairs() []pair {
	firmware := func(name, path string, change func(f *difftest.Firmware)) pair {
		return pair{"firmware " + name, path, func(with bool, now int64) built {
			f := difftest.Firmware{Time: uint32(now)}
			if with {
				change(&f)
			}
			b := f.Bytes()
			if layer := f.Archive(); bytes.Contains(layer, []byte(payload)) {
				return hidden(b, layer)
			}
			return hidden(b)
		}}
	}
	archive := func(name, path string, edit func([]byte) []byte) pair {
		return firmware(name, path, func(f *difftest.Firmware) { f.Cpio = edit })
	}
	member := func(name, path string, change func(g *difftest.Gzip)) pair {
		return firmware(name, path, func(f *difftest.Firmware) { f.Gzip = change })
	}
	// tar in gzip in tar, one of which is changed.
	type tars struct {
		inner, outer func(*difftest.TarEntry)
		edit         func([]byte) []byte
		gzip         func(*difftest.Gzip)
	}
	nested := func(name, path string, c tars) pair {
		return pair{"tars " + name, path, func(with bool, now int64) built {
			var change tars
			if with {
				change = c
			}
			inner := tarOf(now, change.inner)
			if change.edit != nil {
				inner = change.edit(inner)
			}
			g := difftest.Gzip{Time: uint32(now), Content: inner}
			if change.gzip != nil {
				change.gzip(&g)
			}
			b := tarOf(now, func(e *difftest.TarEntry) {
				e.Name, e.Data = "root.tar.gz", g.Bytes()
				if change.outer != nil {
					change.outer(e)
				}
			})
			if bytes.Contains(inner, []byte(payload)) {
				return hidden(b, inner)
			}
			return hidden(b)
		}}
	}
	kernel := func(with bool, now int64) built { // an ELF in xz in a cpio
		e := difftest.SmallELF(64, binary.LittleEndian)
		e.Sections[1].Data = fmt.Appendf(nil, "built %s\x00", stamp(now))
		e.Sections[1].Gap = 12
		b := e.Bytes()
		if with {
			copy(b[bytes.Index(b, []byte("built "))-12:], payload)
		}
		return hidden(difftest.Cpio("070701", 0,
			difftest.CpioEntry{Name: "vmlinux.xz", Mode: 0o100644, Mtime: uint32(now), Nlink: 1, Data: encoded("xz@1", b)}), b)
	}
	return []pair{
		archive("archive's tail", "ramdisk:data:value:data>", appended),
		archive("archive's block", "ramdisk:data:value:data>", overwrite(-len(payload), payload)),
		archive("archive after another", "ramdisk:data:value:data>", func(b []byte) []byte {
			return append(b, difftest.Cpio("070701", 512, difftest.CpioEntry{Name: "init", Mode: 0o100755, Nlink: 1, Data: []byte(payload)})...)
		}),
		firmware("file", "release", func(f *difftest.Firmware) { f.Extra = payload }),
		member("extra field", "ramdisk:data:value:extra", func(g *difftest.Gzip) { g.Extra = []byte("PL\x09\x00" + payload) }),
		member("name", "ramdisk:data:value:name", func(g *difftest.Gzip) { g.Name = payload }),
		member("member's tail", "ramdisk:data:value:tail", func(g *difftest.Gzip) { g.Tail = []byte(payload) }),
		{"firmware empty block", "ramdisk:data:value:data", func(with bool, now int64) built {
			f := difftest.Firmware{Time: uint32(now)}
			f.Gzip = func(g *difftest.Gzip) {
				if with {
					g.Deflate = append([]byte{0, 0, 0, 0xff, 0xff}, difftest.Deflate(g.Content, flate.BestCompression)...)
				}
			}
			b := f.Bytes()
			return spot(b, bytes.Index(b, []byte{0x1f, 0x8b, 8})+10, 5)
		}},
		firmware("tail", "tail", func(f *difftest.Firmware) { f.FIT = func(i *difftest.FIT) { i.Tail = []byte(payload) } }),
		nested("slack within", "bin/first:padding", tars{edit: overwrite(512+22, payload)}),
		nested("tail within", "tail", tars{edit: appended}),
		nested("header padding within", "bin/first:header:pad", tars{inner: func(e *difftest.TarEntry) {
			e.Edit = func(h []byte) { copy(h[500:], payload) }
		}}),
		nested("header padding without", "root.tar.gz:header:pad", tars{outer: func(e *difftest.TarEntry) {
			e.Edit = func(h []byte) { copy(h[500:], payload) }
		}}),
		nested("comment between", "root.tar.gz:comment", tars{gzip: func(g *difftest.Gzip) { g.Comment = payload }}),
		{"cpio xz ELF gap", "gap", kernel},
	}
}

// rawPairs change an image that has no format at all.
func rawPairs() []pair {
	image := func(now int64) []byte {
		return slices.Concat(noise(1, 3000), fmt.Appendf(nil, "\x00built %s\x00", stamp(now)), noise(2, 3000))
	}
	at := func(name string, off int, value string) pair {
		return pair{"raw " + name, "", func(with bool, now int64) built {
			b := image(now)
			if with {
				copy(b[off:], value)
			}
			return spot(b, off, len(value))
		}}
	}
	inserted := func(name string, off int) pair {
		return edited("raw "+name, "", image, func(b []byte) []byte {
			return slices.Concat(b[:off], []byte(payload), b[off:])
		})
	}
	return []pair{
		at("one bit", 1000, string([]byte{noise(1, 3000)[1000] ^ 1})),
		at("last byte", 6026, string([]byte{noise(2, 3000)[2999] ^ 1})),
		at("text before the date", 3001, "BUILT"),
		at("digit after the date", 3026, "0"),
		inserted("before everything", 0),
		inserted("among the bytes", 1500),
		inserted("before the date", 3001),
		inserted("after the date", 3026),
		inserted("within the date", 3012),
		edited("raw tail", "", image, appended),
	}
}

// A reject is a pair that no harmless cause accounts for, with what must be
// found: a kind, and a part of the path of a finding of that kind.
type reject struct {
	name     string
	ref, dep []byte
	kind     string
	path     string
	only     bool // findings are of that kind alone
}

// TestRejected takes parts of images away, swaps, repeats and renames them.
func TestRejected(t *testing.T) {
	standard := policy(t, "standard")
	for _, r := range rejects() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			out := diffBytes(t, r.ref, r.dep, standard)
			twice(t, r.ref, r.dep, standard, out)
			if out.Report.Verdict != verify.Rejected {
				t.Errorf("%s: %s", out.Report.Verdict, describe(out.Report))
			}
			found := false
			for _, f := range out.Report.Findings {
				found = found || f.Kind == r.kind && strings.Contains(f.Path, r.path)
				if r.only && f.Kind != r.kind {
					t.Errorf("besides: %s %s %d+%d", f.Kind, f.Path, f.Offset, f.Length)
				}
			}
			if !found {
				t.Errorf("nothing %s at %q: %s", r.kind, r.path, describe(out.Report))
			}
		})
	}
}

// A container packs files, given by name and content, in order.
type container struct {
	name string
	pack func(files ...[2]string) []byte
	// Whether its members can be in any order, and names repeat.
	free bool
}

func containers() []container {
	tar := func(files ...[2]string) []byte {
		var es []difftest.TarEntry
		for _, f := range files {
			es = append(es, difftest.TarEntry{Dialect: "ustar", Name: f[0], Type: '0', Mode: 0o755, Mtime: then, Data: []byte(f[1])})
		}
		return difftest.Tar(2, 0, es...)
	}
	cpio := func(files ...[2]string) []byte {
		var es []difftest.CpioEntry
		for _, f := range files {
			es = append(es, difftest.CpioEntry{Name: f[0], Ino: 7, Mode: 0o100755, Mtime: then, Nlink: 1, Data: []byte(f[1])})
		}
		return difftest.Cpio("070701", 0, es...)
	}
	return []container{
		{"tar", tar, true},
		{"cpio", cpio, true},
		{"directory", func(files ...[2]string) []byte {
			es := []difftest.DirEntry{{Type: 'd', Name: ".", Mode: 0o755}}
			for _, f := range files {
				es = append(es, difftest.DirEntry{Type: 'f', Name: f[0], Mode: 0o755, Data: []byte(f[1])})
			}
			return difftest.Directory(es...)
		}, false},
		{"tar in gzip", func(files ...[2]string) []byte { return difftest.Gzip{Content: tar(files...)}.Bytes() }, true},
		{"cpio in gzip in FIT", func(files ...[2]string) []byte {
			f := difftest.Firmware{Time: then, Cpio: func([]byte) []byte { return cpio(files...) }}
			return f.Bytes()
		}, true},
	}
}

func rejects() []reject {
	var out []reject
	a := [2]string{"a", string(noise(10, 700))}
	b := [2]string{"b", string(noise(11, 700))}
	c := [2]string{"c", string(noise(12, 900))}
	for _, k := range containers() {
		all := k.pack(a, b, c)
		add := func(name, kind, path string, only bool, files ...[2]string) {
			out = append(out, reject{k.name + ": " + name, all, k.pack(files...), kind, path, only})
		}
		add("first file deleted", verify.KindMissing, "a", true, b, c)
		add("middle file deleted", verify.KindMissing, "b", true, a, c)
		add("last file deleted", verify.KindMissing, "c", true, a, b)
		add("two files deleted", verify.KindMissing, "b", true, c)
		add("all files but one emptied", verify.KindMissing, "b", false, a, [2]string{"b", ""}, c)
		add("contents of equal length swapped", verify.KindMoved, "b", false, [2]string{"a", b[1]}, [2]string{"b", a[1]}, c)
		add("contents of two lengths swapped", verify.KindMoved, "c", false, [2]string{"a", c[1]}, b, [2]string{"c", a[1]})
		add("renamed", verify.KindUnexplained, "c2", false, a, b, [2]string{"c2", c[1]})
		add("renamed to another length", verify.KindUnexplained, "longer", false, a, b, [2]string{"longer", c[1]})
		add("content repeated under another name", verify.KindMoved, "d", false, a, b, c, [2]string{"d", a[1]})
		add("renamed to the place of another", verify.KindMissing, "a", false, [2]string{"b", a[1]}, c)
		if k.free {
			add("member repeated", verify.KindMoved, "b#2", false, a, b, c, b)
			add("reordered", verify.KindMoved, "c", false, c, a, b)
			add("reversed", verify.KindMoved, "b", false, c, b, a)
			add("repeated with other content", verify.KindUnexplained, "a#2", false, a, b, c, [2]string{"a", string(noise(13, 700))})
		}
	}
	two := slices.Concat(containers()[1].pack(a), containers()[1].pack(b))
	out = append(out,
		reject{"cpio: second archive deleted", two, containers()[1].pack(a), verify.KindMissing, "tail", false},
		reject{"cpio: two archives swapped", two, slices.Concat(containers()[1].pack(b), containers()[1].pack(a)), verify.KindMissing, "", false},
	)

	// Functions of a program that trade places, raw and in an ELF.
	f, g, h := noise(20, 256), noise(21, 256), noise(22, 512)
	text := func(parts ...[]byte) []byte {
		return slices.Concat(noise(23, 640), slices.Concat(parts...), noise(24, 640))
	}
	program := func(parts ...[]byte) []byte {
		e := difftest.SmallELF(64, binary.LittleEndian)
		e.Sections[0].Data = text(parts...)
		return e.Bytes()
	}
	for _, k := range []struct {
		name, path string
		build      func(parts ...[]byte) []byte
	}{{"raw", "", text}, {"ELF", ".text", program}} {
		out = append(out,
			reject{k.name + ": functions swapped", k.build(f, g), k.build(g, f), verify.KindMoved, k.path, false},
			reject{k.name + ": functions of two lengths swapped", k.build(f, h, g), k.build(g, h, f), verify.KindMoved, k.path, false},
			reject{k.name + ": function rotated to the end", k.build(f, g, h), k.build(g, h, f), verify.KindMoved, k.path, false},
			reject{k.name + ": function repeated over another", k.build(f, g), k.build(f, f), verify.KindMoved, k.path, false},
			reject{k.name + ": function blanked", k.build(f, g), k.build(f, make([]byte, 256)), verify.KindUnexplained, k.path, false},
		)
	}
	out = append(out, reject{"raw: range deleted", text(f, g), text(g), verify.KindMissing, ".", true})

	// What checks an image is as much part of it.
	fit := func(hashes ...string) []byte {
		f := difftest.SmallFIT()
		f.Images[0].Hashes = hashes
		return f.Bytes()
	}
	out = append(out,
		reject{"FIT: hash deleted", fit("crc32", "sha256"), fit("crc32"), verify.KindMissing, "hash-2", false},
		reject{"FIT: hash by another algorithm", fit("sha256"), fit("crc32"), verify.KindUnexplained, "hash-1:algo", false},
		reject{"FIT: all hashes deleted", fit("sha256"), fit(), verify.KindMissing, "hash-1", false},
		reject{"gzip: header checksum deleted", difftest.Gzip{HeaderCRC: true, Content: f}.Bytes(), difftest.Gzip{Content: f}.Bytes(), verify.KindMissing, "header crc", false},
		reject{"gzip: name deleted", difftest.Gzip{Name: "a name", Content: f}.Bytes(), difftest.Gzip{Content: f}.Bytes(), verify.KindMissing, "name", false},
		reject{"truncated tar", containers()[0].pack(a, b), containers()[0].pack(a, b)[:1500], verify.KindMissing, "", false},
		reject{"truncated gzip", containers()[3].pack(a, b), containers()[3].pack(a, b)[:1000], verify.KindMissing, "", false},
		reject{"truncated xz", encoded("xz@1", f), encoded("xz@1", f)[:200], verify.KindMissing, "", false},
		reject{"date in a longer word", []byte("key=ab2024-05-01cd, key=ef"), []byte("key=ab2024-12-05cd, key=ef"), verify.KindUnexplained, ".", false},
		reject{"clock in an address", []byte("mac 00:11:22:33:44:55"), []byte("mac 00:11:22:13:14:15"), verify.KindUnexplained, ".", false},
		reject{"nothing left", f, nil, verify.KindMissing, ".", true},
		reject{"out of nothing", nil, f, verify.KindUnexplained, ".", true},
	)
	return out
}

// TestBeside: a harmless difference right beside bytes that were put in is
// explained all the same, and nothing but these bytes is not.
func TestBeside(t *testing.T) {
	standard := policy(t, "standard")
	issue := func(now int64, after string) []byte {
		return fmt.Appendf(nil, "built %s, %sby hand\n", stamp(now), after)
	}
	dir := func(now int64, after string) []byte {
		return difftest.Directory(difftest.DirEntry{Type: 'd', Name: ".", Mode: 0o755},
			difftest.DirEntry{Type: 'f', Name: "issue", Mode: 0o644, Data: issue(now, after)})
	}
	for _, build := range []func(int64, string) []byte{issue, dir} {
		out := diffBytes(t, build(then, ""), build(later, payload), standard)
		n := int64(len(payload))
		if out.Report.Verdict != verify.Rejected || out.Report.Totals.Explained < 19 {
			t.Errorf("%s, totals %+v: %s", out.Report.Verdict, out.Report.Totals, describe(out.Report))
		}
		for _, f := range out.Report.Findings {
			if f.Kind == verify.KindUnexplained && f.Length > n {
				t.Errorf("%s: %d bytes are unexplained, %d were put in", f.Path, f.Length, n)
			}
		}
	}
}

// TestTrees compares directories as they stand on disk: times are nothing, all
// else is.
func TestTrees(t *testing.T) {
	build := func(t *testing.T) string {
		dir := t.TempDir()
		for name, data := range map[string]string{"etc/passwd": "root:x:0:0", "bin/su": "#!/bin/sh\n", "bin/sh": ""} {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, path, []byte(data))
		}
		if err := os.Symlink("../etc/passwd", filepath.Join(dir, "bin/link")); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, test := range []struct {
		name, path string
		want       verify.Verdict
		change     func(dir string) error
	}{
		{"nothing", "", verify.Identical, func(string) error { return nil }},
		{"times", "", verify.Identical, func(dir string) error {
			return os.Chtimes(filepath.Join(dir, "bin/su"), time.Unix(1, 0), time.Unix(then, 0))
		}},
		{"file added", "bin/extra", verify.Rejected, func(dir string) error { return os.WriteFile(filepath.Join(dir, "bin/extra"), nil, 0o644) }},
		{"folder added", "lib", verify.Rejected, func(dir string) error { return os.Mkdir(filepath.Join(dir, "lib"), 0o755) }},
		{"file deleted", "bin/su", verify.Rejected, func(dir string) error { return os.Remove(filepath.Join(dir, "bin/su")) }},
		{"mode", "bin/su:header:mode", verify.Rejected, func(dir string) error { return os.Chmod(filepath.Join(dir, "bin/su"), 0o755) }},
		{"set-user-ID", "bin/su:header:mode", verify.Rejected, func(dir string) error {
			return os.Chmod(filepath.Join(dir, "bin/su"), 0o644|os.ModeSetuid)
		}},
		{"content", "etc/passwd", verify.Rejected, func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("evil:x:0:0"), 0o644)
		}},
		{"target", "bin/link", verify.Rejected, func(dir string) error {
			path := filepath.Join(dir, "bin/link")
			return errors.Join(os.Remove(path), os.Symlink("../etc/shadow", path))
		}},
		{"link for a file", "bin/sh", verify.Rejected, func(dir string) error {
			path := filepath.Join(dir, "bin/sh")
			return errors.Join(os.Remove(path), os.Link(filepath.Join(dir, "bin/su"), path))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			refDir, depDir := build(t), build(t)
			if err := test.change(depDir); err != nil {
				t.Fatal(err)
			}
			open := func(dir string) *verify.Image {
				i, err := verify.OpenImage(dir)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { i.Close() })
				i.Name = "tree"
				return i
			}
			out := diffImages(t, open(refDir), open(depDir), policy(t, "standard"))
			if out.Report.Verdict != test.want {
				t.Errorf("%s: %s", out.Report.Verdict, describe(out.Report))
			}
			if test.path != "" && !slices.ContainsFunc(out.Report.Findings, func(f verify.Finding) bool { return strings.Contains(f.Path, test.path) }) {
				t.Errorf("nothing at %s: %s", test.path, describe(out.Report))
			}
		})
	}
}

// A benign pair is explained, at a price worked out by hand.
type benign struct {
	name     string
	ref, dep []byte
	bits     int64
}

// TestBenign: harmless differences are explained, at the price that the package
// comment of the kernel gives them.
func TestBenign(t *testing.T) {
	standard, strict := policy(t, "standard"), policy(t, "identical")
	for _, b := range benigns() {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			out := diffBytes(t, b.ref, b.dep, standard)
			twice(t, b.ref, b.dep, standard, out)
			if out.Report.Verdict != verify.Explained || out.Report.FreeBits != b.bits {
				t.Errorf("%s with %d free bits, want %d: %s", out.Report.Verdict, out.Report.FreeBits, b.bits, describe(out.Report))
			}
			if out := diffBytes(t, b.ref, b.dep, strict); out.Report.Verdict != verify.Rejected {
				t.Errorf("policy identical: %s", out.Report.Verdict)
			}
		})
	}
}

func benigns() []benign {
	at := func(now int64, build func(now int64) []byte) []byte { return build(now) }
	var out []benign
	add := func(name string, bits int64, build func(now int64) []byte) {
		out = append(out, benign{name, at(then, build), at(later, build), bits})
	}
	file := func(name string, now int64, data []byte) difftest.TarEntry {
		return difftest.TarEntry{Dialect: "ustar", Name: name, Type: '0', Mode: 0o644, Mtime: now, Data: data}
	}

	// Eleven octal digits of three bits, once for both members; the checksums
	// of the headers follow.
	add("tar times", 33, func(now int64) []byte { return tarOf(now, nil) })
	// The old times differ, so each new one is a choice of its own.
	add("tar times of two files", 66, func(now int64) []byte {
		return difftest.Tar(2, 0, file("a", now, nil), file("b", now+60, nil))
	})
	// The header before the pax record says the time first.
	add("tar pax time", 33, func(now int64) []byte {
		e := file("a", now, []byte("a"))
		e.Pax = []string{fmt.Sprintf("mtime=%d", now)}
		return difftest.Tar(2, 0, e)
	})
	// Ten decimal digits hold 33.2 bits; the headers do not tell this time.
	add("tar pax access time", 33+34, func(now int64) []byte {
		e := file("a", now, []byte("a"))
		e.Pax = []string{fmt.Sprintf("atime=%d", now+1)}
		return difftest.Tar(2, 0, e)
	})
	// The text is paid for with 33 bits in the header before it.
	add("tar time and text", 33, func(now int64) []byte {
		return difftest.Tar(2, 0, file("a", now, fmt.Appendf(nil, "built %s\n", stamp(now))))
	})
	// Eight hexadecimal digits of four bits. Both times are spelled with
	// letters, 663216EE and 6751888A... so nothing is left of their case.
	cpio := func(now int64) []byte {
		return difftest.Cpio("070701", 512,
			difftest.CpioEntry{Name: "a", Mode: 0o100644, Mtime: uint32(now), Nlink: 1, Data: []byte("a")},
			difftest.CpioEntry{Name: "b", Mode: 0o100644, Mtime: uint32(now), Nlink: 1, Data: []byte("b")})
	}
	add("cpio times", 32, cpio)
	// Digits without letters became digits with them: one bit for the case, of
	// each of two fields.
	out = append(out, benign{"cpio times in another case", cpio(0x66666666), cpio(0x6666ABCD), 32 + 2})
	add("cpio odc times", 33, func(now int64) []byte {
		return difftest.Cpio("070707", 512, difftest.CpioEntry{Name: "a", Mode: 0o100644, Mtime: uint32(now), Nlink: 1, Data: []byte("a")})
	})
	// The sum of the content's bytes follows.
	add("cpio crc, text in a file", 32, func(now int64) []byte {
		return difftest.Cpio("070702", 512, difftest.CpioEntry{Name: "a", Mode: 0o100644, Nlink: 1, Data: fmt.Appendf(nil, "built %s\n", stamp(now))})
	})
	add("uImage time", 32, func(now int64) []byte {
		u := difftest.SmallUImage()
		u.Time = uint32(now)
		return u.Bytes()
	})
	add("uImage time and payload", 32, func(now int64) []byte {
		u := difftest.SmallUImage()
		u.Time, u.Payload = uint32(now), fmt.Appendf(nil, "a kernel, built %s\x00", stamp(now))
		return u.Bytes()
	})
	fit := func(external bool, position uint32) func(now int64) []byte {
		return func(now int64) []byte {
			f := difftest.SmallFIT()
			f.Time, f.External, f.Position = uint32(now), external, position
			f.Images[0].Data = fmt.Appendf(nil, "a kernel, built %s\x00", stamp(now))
			return f.Bytes()
		}
	}
	// One time, of the tree and in the kernel; three hashes follow.
	add("FIT time and data", 32, fit(false, 0))
	add("FIT time and data behind it", 32, fit(true, 0))
	add("FIT time and data at a position", 32, fit(true, 0x600))
	add("gzip time", 32, func(now int64) []byte {
		return difftest.Gzip{Time: uint32(now), OS: 3, Content: []byte("content")}.Bytes()
	})
	add("gzip content", 32, func(now int64) []byte {
		return difftest.Gzip{Content: fmt.Appendf(nil, "built %s\n", stamp(now))}.Bytes()
	})
	add("xz content", 32, func(now int64) []byte { return encoded("xz@1", fmt.Appendf(nil, "built %s\n", stamp(now))) })
	add("lzma content", 32, func(now int64) []byte { return encoded("lzma@1", fmt.Appendf(nil, "built %s\n", stamp(now))) })
	add("ELF text", 32, func(now int64) []byte {
		e := difftest.SmallELF(32, binary.BigEndian)
		e.Sections[1].Data = fmt.Appendf(nil, "built %s\x00", stamp(now))
		return e.Bytes()
	})
	add("directory text", 32, func(now int64) []byte {
		return difftest.Directory(difftest.DirEntry{Type: 'd', Name: ".", Mode: 0o755},
			difftest.DirEntry{Type: 'f', Name: "issue", Mode: 0o644, Data: fmt.Appendf(nil, "built %s\n", stamp(now))})
	})
	// One time: of the tree, the member, both files, and twice in a text.
	firmware := func(now int64) []byte { return difftest.Firmware{Time: uint32(now)}.Bytes() }
	add("firmware", 32, firmware)
	for _, n := range []int{1, 3, 4, 5} {
		out = append(out, benign{fmt.Sprintf("firmware that grew by %d", n), firmware(then), firmwareOf(n), 32})
	}
	add("tar in gzip in tar", 33, func(now int64) []byte {
		inner := difftest.Gzip{Time: uint32(now), Content: tarOf(now, nil)}.Bytes()
		return difftest.Tar(2, 10240, file("root.tar.gz", now, inner))
	})
	raw := func(layouts ...string) func(now int64) []byte {
		return func(now int64) []byte {
			b := noise(30, 500)
			for _, l := range layouts {
				b = slices.Concat(b, []byte{0}, []byte(time.Unix(now, 0).UTC().Format(l)), []byte{0}, noise(31, 500))
			}
			return b
		}
	}
	add("raw date", 16, raw("Jan _2 2006"))
	add("raw clock", 17, raw("15:04:05"))
	add("raw date and clock", 16+17, raw("Jan _2 2006", "15:04:05"))
	add("raw time", 32, raw("2006-01-02 15:04:05"))
	// However it is spelled, and where its parts follow, it is one time.
	add("raw time in many spellings", 32, raw("2006-01-02 15:04:05", "Mon, 02 Jan 2006 15:04:05 +0000", "Mon, 02 Jan 2006 15:04:05 GMT",
		"Mon Jan _2 15:04:05 UTC 2006", "2006-01-02T15:04:05+00:00", "Mon Jan _2 15:04:05 2006", "2006-01-02T15:04:05Z",
		"Jan _2 2006", "2006-01-02", "01/02/2006", "15:04:05"))
	add("raw times one after the other", 32, func(now int64) []byte {
		return []byte(strings.Repeat(stamp(now)+" ", 20))
	})

	// Another setting of the catalogue: the choice among its settings.
	content := []byte(strings.Repeat("a file that compresses, and some that does not: ", 30) + string(noise(32, 300)))
	with := func(level int) []byte {
		return difftest.Gzip{Content: content, Deflate: difftest.Deflate(content, level)}.Bytes()
	}
	n := 0
	for _, c := range format.Codecs(diff.Limits{}) {
		if c.Name() == "deflate@1" {
			n = len(c.Settings())
		}
	}
	out = append(out, benign{"gzip at another level", with(9), with(flate.HuffmanOnly), int64(bits.Len(uint(n - 1)))})
	return out
}

// firmwareOf returns a Firmware of another time whose image differs in length:
// the first whose gzip'd part has n bytes more than that of then, or less.
func firmwareOf(n int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	size := func(now int64) int {
		b.Reset()
		w.Reset(&b)
		if _, err := w.Write(difftest.Firmware{Time: uint32(now)}.Archive()); err != nil {
			panic(err)
		}
		if err := w.Close(); err != nil {
			panic(err)
		}
		return b.Len()
	}
	want := size(then)
	for now := int64(then) + 1; now < then+100*86400*365; now += 86400*3 + 3607 {
		if d := size(now) - want; d == n || d == -n {
			return difftest.Firmware{Time: uint32(now)}.Bytes()
		}
	}
	panic(fmt.Sprintf("no time changes the length by %d", n))
}
