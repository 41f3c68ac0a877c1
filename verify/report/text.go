package report

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/provenance"
	"github.com/assaylab/assay/verify/signature"
)

// What text shows unless it is verbose.
const (
	maxRows     = 16 // past it, sections that are accounted for share one
	maxBad      = 40 // past it, so do others
	maxStreams  = 12 // past it, decoded streams that are accounted for are counted
	maxFindings = 20
)

type printer struct {
	*bufio.Writer
	Style
}

func text(w io.Writer, r *verify.Report, s Style) error {
	p := printer{bufio.NewWriter(w), s}
	if r.Delivery != nil {
		p.line("delivery   %s", clean(r.Delivery.Name))
	}
	p.input("reference", &r.Reference)
	p.input("deployed", &r.Deployed)
	p.replay(r.Replay)
	for i := range r.Signatures {
		p.signature(&r.Signatures[i])
	}
	if r.Verdict != verify.Identical && len(r.Sections) > 0 {
		p.table(r)
	}
	p.findings(r)
	p.explanations(r)
	for _, n := range r.Notes {
		p.line("note       %s %s: %s", clean(n.Side), clean(n.Path), clean(n.Text))
	}
	if len(r.Notes) > 0 {
		p.line("")
	}
	p.verdict(r)
	return p.Flush()
}

func (p printer) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// paint colours text by verdict.
func (p printer) paint(s string, good, doubtful bool) string {
	if !p.Color {
		return s
	}
	color := "31"
	switch {
	case good:
		color = "32"
	case doubtful:
		color = "33"
	}
	return "\x1b[1;" + color + "m" + s + "\x1b[0m"
}

func (p printer) input(side string, in *verify.Input) {
	origin := ""
	if in.Pinned {
		origin = "  pinned"
	}
	p.line("%-10s %s  %s  sha256:%s%s", side, clean(in.Name), bytesOf(in.Size), orNone(in.SHA256), origin)
	if o := originLine(in.Origin); o != "" {
		p.line("%-10s %s", "", o)
	}
}

// replay says what came of the search for a build that gives the deployed image.
func (p printer) replay(r *verify.Replay) {
	if r == nil {
		return
	}
	made := fmt.Sprintf("%d rebuilds", r.Rebuilds)
	if r.Rebuilds == 1 {
		made = "1 rebuild"
	}
	if len(r.Values) == 0 {
		p.line("%-10s %s with values of the deployed image: the reference stays the plain build", "replay", made)
	}
	for i, v := range r.Values {
		label := ""
		if i == 0 {
			label = "replay"
		}
		p.line("%-10s the reference is the build with %s, as the deployed image has it (plain: %q)", label, clean(v.String()), clean(v.Plain))
	}
	for _, in := range r.Inert {
		p.line("%-10s inert: with %s in its place nothing else changes", "", clean(strings.Join(in.Values, ", ")))
	}
	if r.Control != nil {
		p.line("%-10s control: the plain build with %s put in changes in nothing else", "", clean(strings.Join(r.Control.Values, ", ")))
	}
	if len(r.Values) > 0 {
		p.line("%-10s %s in all", "", made)
	}
	for _, n := range r.Notes {
		p.line("%-10s %s", "", clean(n))
	}
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

func (p printer) signature(s *verify.Signature) {
	what := "holds"
	if !s.OK {
		what = "does not hold"
	}
	who := s.Identity
	for _, t := range s.Trust {
		if who == "" && t.Kind == "public key" {
			who = "key sha256:" + t.SHA256
		}
	}
	over := clean(s.Over) + " image"
	if s.Over == "source" {
		over = "source"
	}
	name := s.Name
	if s.Image != "" && s.Signed.Name != "" {
		name = strings.TrimSpace(name + " (" + s.Signed.Name + ")")
	}
	if name == "" {
		name = "(nobody listed)"
	}
	if who = strings.TrimSpace(s.Scheme + " " + who); who != "" {
		who = "  (" + clean(who) + ")"
	}
	p.line("signature  %s over the %s %s%s", clean(name), over, p.paint(what, s.OK, false), who)
	for _, why := range s.Reasons {
		p.line("           %s", clean(why))
	}
	for i := range s.Trust {
		if t := &s.Trust[i]; t.Dated != "" || p.Verbose {
			p.line("           trusting %s", trust(t))
		}
	}
	if s.Provenance != nil {
		p.line("           %s", provenanceLine(s.Provenance))
	}
	for _, text := range s.Warnings {
		p.line("           warning: %s", clean(text))
	}
	if s.OK && !p.Verbose {
		return
	}
	Steps(p, s.Steps)
}

// provenanceLine is what a statement says of the build.
func provenanceLine(v *provenance.Provenance) string {
	s := fmt.Sprintf("provenance by %s", clean(v.BuilderID))
	for _, src := range v.Sources {
		s += ", from " + clean(src.URI)
		for _, alg := range slices.Sorted(maps.Keys(src.Digest)) {
			s += fmt.Sprintf(" %s:%s", alg, src.Digest[alg])
		}
	}
	return s
}

// Steps writes the step table of a signature.
func Steps(w io.Writer, steps []signature.Step) {
	for _, st := range steps {
		fmt.Fprintf(w, "  %-10s %-12s %s\n", clean(st.Name), st.Outcome, clean(st.Reason))
	}
}

// table shows how many bytes of every section fall in each class; the rows of
// the image as received add up to its size.
func (p printer) table(r *verify.Report) {
	head := []string{"section", "size", "identical", "moved", "explained", "carried", "unexplained", "free bits"}
	streams := map[int][]verify.Section{}
	var order []int
	for _, s := range r.Sections {
		if _, ok := streams[s.Stream]; !ok {
			order = append(order, s.Stream)
		}
		streams[s.Stream] = append(streams[s.Stream], s)
	}
	slices.Sort(order)
	shown, passed := 0, 0
	for _, k := range order {
		rows := [][]string{head}
		var total, rest, more verify.Section
		others, bad, good := 0, 0, 0
		for _, s := range streams[k] {
			add(&total, s)
		}
		settled := func(s verify.Section) bool { return s.Unexplained+s.Moved == 0 }
		if !p.Verbose && k > 0 && settled(total) {
			if shown++; shown > maxStreams {
				passed++
				continue
			}
		}
		total.Path = "total"
		few := p.Verbose || len(streams[k]) <= maxRows
		for _, s := range streams[k] {
			switch {
			case few:
			case s.Size == s.Identical:
				add(&rest, s)
				others++
				continue
			case settled(s):
				if good++; good > maxRows {
					add(&more, s)
					continue
				}
			default:
				if bad++; bad > maxBad {
					add(&more, s)
					continue
				}
			}
			rows = append(rows, row(s))
		}
		if others > 0 {
			rest.Path = fmt.Sprintf("(%d identical others)", others)
			rows = append(rows, row(rest))
		}
		if n := max(good-maxRows, 0) + max(bad-maxBad, 0); n > 0 {
			more.Path = fmt.Sprintf("(%d others)", n)
			rows = append(rows, row(more))
		}
		rows = append(rows, row(total))
		p.line("")
		if k > 0 {
			carrier := inside(streams[k][0].Path)
			p.line("inside %s, decoded:", clean(carrier))
			for _, r := range rows {
				r[0] = strings.TrimPrefix(r[0], clean(carrier)+">")
			}
		}
		p.columns(rows)
	}
	if passed > 0 {
		p.line("")
		p.line("and %d more decoded streams that are accounted for (-v shows all)", passed)
	}
	p.line("")
	if r.Totals.Missing > 0 {
		p.line("missing    %s of the reference", bytesOf(r.Totals.Missing))
		p.line("")
	}
}

// inside names the carrier of a derived stream by the path of one of its parts.
func inside(path string) string {
	if i := strings.LastIndex(path, ">"); i >= 0 {
		return path[:i]
	}
	return path
}

func add(t *verify.Section, s verify.Section) {
	t.Size += s.Size
	t.Identical += s.Identical
	t.Moved += s.Moved
	t.Explained += s.Explained
	t.Carried += s.Carried
	t.Unexplained += s.Unexplained
	t.FreeBits += s.FreeBits
}

func row(s verify.Section) []string {
	return []string{
		clean(s.Path), count(s.Size), count(s.Identical), count(s.Moved), count(s.Explained),
		count(s.Carried), count(s.Unexplained), count(s.FreeBits),
	}
}

// columns writes rows with the first column to the left and the rest to the right.
func (p printer) columns(rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, c := range r {
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	for _, r := range rows {
		var b strings.Builder
		for i, c := range r {
			pad := strings.Repeat(" ", width[i]-len([]rune(c)))
			if i == 0 {
				b.WriteString("  " + c + pad)
			} else {
				b.WriteString("  " + pad + c)
			}
		}
		p.line("%s", b.String())
	}
}

func (p printer) findings(r *verify.Report) {
	if len(r.Findings) == 0 {
		return
	}
	p.line("findings, worst first:")
	for i, f := range r.Findings {
		if i == maxFindings && !p.Verbose && len(r.Findings) > maxFindings+1 {
			p.line("  … and %d more (-v shows all, -o json holds all)", len(r.Findings)-i)
			break
		}
		at := ""
		if f.Length > 0 {
			at = fmt.Sprintf("  0x%x+%s", f.Offset, count(f.Length))
			if f.Stream > 0 && f.RootOffset != nil {
				at += fmt.Sprintf(" (inside 0x%x+%s as received)", *f.RootOffset, count(*f.RootLength))
			}
		}
		p.line("  %s  %s%s  %s", p.paint(f.Kind, false, f.Kind == verify.KindLimit), clean(f.Path), at, clean(f.Message))
		if x := f.Excerpt; x != nil {
			p.hex("reference", x.RefOffset, x.Ref, f.Length)
			p.hex("deployed", f.Offset, x.Dep, f.Length)
		}
	}
	p.line("")
}

// hex shows bytes as a dump does.
func (p printer) hex(side string, off int64, digits string, length int64) {
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) == 0 {
		return
	}
	var chars strings.Builder
	for _, c := range b {
		if c < 0x20 || c > 0x7e {
			c = '.'
		}
		chars.WriteByte(c)
	}
	more := ""
	if int64(len(b)) < length {
		more = " …"
	}
	p.line("      %-9s %08x  % x  |%s|%s", side, off, b, chars.String(), more)
}

func (p printer) explanations(r *verify.Report) {
	if len(r.Explanations) == 0 {
		return
	}
	p.line("explained differences:")
	for i, e := range r.Explanations {
		if i == maxFindings && !p.Verbose && len(r.Explanations) > maxFindings+1 {
			p.line("  … and %d more (-v shows all, -o json holds all)", len(r.Explanations)-i)
			break
		}
		p.line("  %s  %s  0x%x+%d  %d bits  %s", e.Rule, clean(e.Path), e.Offset, e.Length, e.Bits, clean(e.Because))
	}
	p.line("")
}

func (p printer) verdict(r *verify.Report) {
	accepted := r.Verdict == verify.Identical || r.Verdict == verify.Explained
	p.line("verdict    %s  (policy %s, %d free bits, exit code %d)",
		p.paint(r.Verdict.String(), accepted, r.Verdict == verify.Undecided), clean(r.Policy.Name), r.FreeBits, r.Verdict.ExitCode())
	for _, why := range r.Reasons {
		p.line("           %s", clean(why))
	}
}

// count writes a number with its thousands apart.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// bytesOf is a number of bytes in words.
func bytesOf(n int64) string {
	if n == 1 {
		return "1 byte"
	}
	return count(n) + " bytes"
}

// Clean makes text from outside fit for a terminal.
func Clean(s string) string { return clean(s) }

func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// Signature writes the answer about one signature: what it is over, what was
// trusted, and the step table.
func Signature(w io.Writer, s *signature.Result) {
	name := s.Artifact.Name
	if name == "" {
		name = "-"
	}
	fmt.Fprintf(w, "artifact   %s  sha256:%s\n", clean(name), s.Artifact.SHA256)
	one(w, s)
	fmt.Fprintf(w, "verdict    %s\n", answer(s.OK))
}

// SignedImage writes the answer about an image: what was read of it, and for
// each signature found what Signature writes.
func SignedImage(w io.Writer, s *verify.SignedImage) {
	img := s.Image
	fmt.Fprintf(w, "image      %s  %s\n", clean(img.Ref), img.Digest)
	fmt.Fprintf(w, "           %s: %s hashed in %s and %s\n", clean(img.MediaType), bytesOf(img.Size), plural(img.Manifests, "manifest"), plural(img.Blobs, "blob"))
	for _, n := range img.Notes {
		fmt.Fprintf(w, "note       %s\n", clean(n))
	}
	for _, t := range s.PredicateTypes {
		fmt.Fprintf(w, "statement  %s\n", clean(t))
	}
	for i := range s.Signatures {
		r := &s.Signatures[i]
		fmt.Fprintf(w, "\n")
		one(w, r)
		if r.OK {
			fmt.Fprintf(w, "  this signature holds\n")
		} else {
			fmt.Fprintf(w, "  this signature does not hold\n")
		}
	}
	fmt.Fprintf(w, "\nverdict    %s\n", answer(s.OK))
	for _, why := range s.Reasons {
		fmt.Fprintf(w, "           %s\n", clean(why))
	}
}

func answer(ok bool) string {
	if ok {
		return "accepted"
	}
	return "rejected"
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return count(int64(n)) + " " + what
}

func one(w io.Writer, s *signature.Result) {
	fmt.Fprintf(w, "signed by  %s (%s)\n", clean(s.Signed.Name), clean(s.Signed.Kind))
	for i := range s.Trust {
		fmt.Fprintf(w, "trusting   %s\n", trust(&s.Trust[i]))
	}
	if s.Scheme != "" {
		fmt.Fprintf(w, "scheme     %s\n", clean(s.Scheme))
	}
	if s.Identity != "" || s.Issuer != "" {
		fmt.Fprintf(w, "certificate names %s, issued by %s\n", clean(s.Identity), clean(s.Issuer))
	}
	Steps(w, s.Steps)
	for _, text := range s.Warnings {
		fmt.Fprintf(w, "warning    %s\n", clean(text))
	}
}

// trust is what a signature rests on, with its age where it has one.
func trust(in *signature.Input) string {
	s := fmt.Sprintf("%s %s  sha256:%s", in.Kind, clean(in.Name), in.SHA256)
	if in.Dated != "" {
		s += "  dated " + clean(in.Dated)
	}
	if in.AgeDays != nil {
		s += fmt.Sprintf(", %s old", plural(*in.AgeDays, "day"))
	}
	return s
}
