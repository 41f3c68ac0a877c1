package deflate

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var shares = flag.Bool("shares", false, "say which share of this machine's streams is written by which setting; takes minutes")

// A census counts which settings write the streams of one kind.
type census struct {
	kind    string
	total   int
	setting map[string]int
	missed  []string
}

// A matcher takes what an encoder writes and stops it at the first byte that
// differs.
type matcher struct{ rest []byte }

func (m *matcher) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(m.rest, p) {
		return 0, errStop
	}
	m.rest = m.rest[len(p):]
	return len(p), nil
}

// candidates come in the order people use them.
var candidates = func() []setting {
	var s []setting
	for _, level := range []int{9, 6, 1, 8, 7, 5, 4, 3, 2} {
		s = append(s, setting{fmt.Sprintf("gzip -%d", level), Options{Flavour: Gzip, Level: level}})
	}
	for _, memLevel := range []int{8, 9} {
		for _, level := range []int{9, 6, 1, 8, 7, 5, 4, 3, 2} {
			s = append(s, setting{fmt.Sprintf("zlib level %d memLevel %d", level, memLevel), Options{Level: level, MemLevel: memLevel}})
		}
	}
	return s
}()

func (c *census) add(t *testing.T, name string, stream, data []byte) {
	t.Helper()
	c.total++
	for _, s := range candidates {
		m := &matcher{stream}
		w, err := NewWriter(m, s.o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = w.Write(data); err == nil {
			err = w.Close()
		}
		if err == nil && len(m.rest) == 0 {
			c.setting[s.name]++
			return
		}
		if err != nil && !errors.Is(err, errStop) {
			t.Fatal(err)
		}
	}
	c.missed = append(c.missed, name)
}

func (c *census) print(t *testing.T) {
	if c.total == 0 {
		t.Logf("%s: none found", c.kind)
		return
	}
	exact := c.total - len(c.missed)
	t.Logf("%s: %d of %d (%.1f%%)", c.kind, exact, c.total, 100*float64(exact)/float64(c.total))
	for _, s := range candidates {
		if n := c.setting[s.name]; n > 0 {
			t.Logf("    %6d  %s", n, s.name)
		}
	}
	for _, name := range c.missed[:min(len(c.missed), 5)] {
		t.Logf("    not: %s", name)
	}
}

// inflate decodes the stream at the beginning of p and says how long it is.
func inflate(p []byte) (data []byte, n int, err error) {
	r := bytes.NewReader(p)
	b := bufio.NewReaderSize(r, 16) // flate takes single bytes from it
	data, err = io.ReadAll(io.LimitReader(flate.NewReader(b), 64<<20))
	return data, len(p) - r.Len() - b.Buffered(), err
}

// gzipBody returns where the stream in a gzip file begins, or 0.
func gzipBody(p []byte) int {
	if len(p) < 18 || p[0] != 0x1f || p[1] != 0x8b || p[2] != 8 || p[3]&^0x18 != 0 {
		return 0
	}
	at := 10
	for _, flag := range []byte{8, 16} {
		if p[3]&flag != 0 {
			at += bytes.IndexByte(p[at:], 0) + 1
		}
	}
	return at
}

func (c *census) gzip(t *testing.T, name string, file []byte) {
	t.Helper()
	at := gzipBody(file)
	if at == 0 {
		return
	}
	data, n, err := inflate(file[at:])
	if err != nil || at+n+8 != len(file) {
		return // several members, or damaged
	}
	c.add(t, name, file[at:at+n], data)
}

func TestShares(t *testing.T) {
	if !*shares {
		t.Skip("takes minutes: -shares")
	}
	t.Run("gz", func(t *testing.T) {
		for _, dir := range []string{"/usr/share/doc", "/usr/share/man", "/usr/share/info"} {
			c := &census{kind: dir + "/**/*.gz", setting: map[string]int{}}
			err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() || filepath.Ext(name) != ".gz" {
					return err
				}
				file, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				c.gzip(t, name, file)
				return nil
			})
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			c.print(t)
		}
	})
	t.Run("zip", func(t *testing.T) {
		kinds := map[string]*census{}
		for _, dir := range []string{"/usr/share", "/usr/lib"} {
			err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
				ext := filepath.Ext(name)
				if err != nil || !d.Type().IsRegular() || !slices.Contains([]string{".zip", ".jar", ".whl"}, ext) {
					return err
				}
				c := kinds[ext]
				if c == nil {
					c = &census{kind: "entries of *" + ext, setting: map[string]int{}}
					kinds[ext] = c
				}
				return c.zip(t, name)
			})
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
		for _, ext := range []string{".zip", ".jar", ".whl"} {
			if c := kinds[ext]; c != nil {
				c.print(t)
			}
		}
	})
	t.Run("made", func(t *testing.T) {
		dir := t.TempDir()
		for _, m := range []struct{ name, script string }{
			{"mksquashfs", "mksquashfs /usr/share/perl /usr/bin/perl $OUT -comp gzip -quiet -no-progress"},
			{"cpio", "cd /usr/share/perl && find . | LC_ALL=C sort | cpio -o -H newc --quiet | gzip -9n > $OUT"},
			{"zip", "cd /usr/share/perl && zip -qry $OUT.zip . && mv $OUT.zip $OUT"},
		} {
			if _, err := exec.LookPath(m.name); err != nil {
				t.Logf("%s is not installed", m.name)
				continue
			}
			out := filepath.Join(dir, m.name)
			cmd := exec.Command("sh", "-c", m.script)
			cmd.Env = append(os.Environ(), "OUT="+out)
			if msg, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", m.script, err, msg)
			}
			c := &census{kind: strings.ReplaceAll(m.script, "$OUT", "x"), setting: map[string]int{}}
			file, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			switch m.name {
			case "cpio":
				c.gzip(t, out, file)
			case "zip":
				if err := c.zip(t, out); err != nil {
					t.Fatal(err)
				}
			default:
				// Where blocks are compressed at all, they begin like this.
				for at := 0; at < len(file)-6; {
					if file[at] == 0x78 && file[at+1] == 0xda {
						if data, n, err := inflate(file[at+2:]); err == nil && len(data) > 0 && len(data) <= 128<<10 {
							c.add(t, fmt.Sprintf("at %d", at), file[at+2:at+2+n], data)
							at += 2 + n + 4
							continue
						}
					}
					at++
				}
			}
			c.print(t)
		}
	})
}

func (c *census) zip(t *testing.T, name string) error {
	t.Helper()
	z, err := zip.OpenReader(name)
	if err != nil {
		return nil // not all that is called so is one
	}
	defer z.Close()
	for _, f := range z.File {
		if f.Method != zip.Deflate || f.UncompressedSize64 > 64<<20 {
			continue
		}
		if c.total == 2000 {
			return nil // they are much alike
		}
		r, err := f.OpenRaw()
		if err != nil {
			return err
		}
		stream, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		data, n, err := inflate(stream)
		if err != nil || n != len(stream) {
			continue
		}
		c.add(t, name+": "+f.Name, stream, data)
	}
	return nil
}
