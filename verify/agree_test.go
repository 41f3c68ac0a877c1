package verify_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assaylab/assay/diff"
	"github.com/assaylab/assay/diff/difftest"
	"github.com/assaylab/assay/diff/ledger"
	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/reference/sandbox"
	"github.com/assaylab/assay/verify/signature"
)

// store writes an outcome as evidence.
func store(t testing.TB, out *verify.Outcome) string {
	t.Helper()
	dir := t.TempDir()
	if err := verify.WriteEvidence(dir, out); err != nil {
		t.Fatal(err)
	}
	return dir
}

// relist lists the digests of an evidence folder anew, as whoever forges it does.
func relist(t testing.TB, dir string) {
	t.Helper()
	var sums []byte
	for _, name := range []string{verify.LedgerFile, verify.ReportFile} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		sums = fmt.Appendf(sums, "%x  %s\n", sha256.Sum256(b), name)
	}
	write(t, filepath.Join(dir, verify.SumsFile), sums)
}

// checkReport is what assay sign asks of evidence.
func checkReport(dir string) error {
	if err := verify.CheckSums(dir); err != nil {
		return err
	}
	r, err := verify.ReadReport(dir)
	if err != nil {
		return err
	}
	return verify.CheckReport(dir, r)
}

// wantUnsound demands ErrEvidence that says why.
func wantUnsound(t *testing.T, err error, why string) {
	t.Helper()
	if !errors.Is(err, verify.ErrEvidence) || !strings.Contains(err.Error(), why) {
		t.Errorf("error %v, want %q", err, why)
	}
}

// Honest evidence of every kind of difference holds without the images.
func TestCheckReport(t *testing.T) {
	pairs := benigns()
	for _, r := range rejects() {
		pairs = append(pairs, benign{r.name, r.ref, r.dep, 0})
	}
	zeros := bomb()
	broken := bytes.Clone(zeros)
	broken[len(broken)/2] ^= 0x40
	pairs = append(pairs, benign{"limit", zeros, broken, 0}, benign{"same", zeros, zeros, 0}, benign{"nothing", nil, nil, 0})
	for _, name := range []string{"standard", "identical"} {
		for _, p := range pairs {
			if err := checkReport(store(t, diffBytes(t, p.ref, p.dep, policy(t, name)))); err != nil {
				t.Errorf("%s: %v", p.name, err)
			}
		}
	}
}

// signed runs a check of an image that two signers signed, and changes its report.
func (v *vendor) signed(signers string, o verify.Options, change func(*verify.Report)) *verify.Outcome {
	v.t.Helper()
	text := "version: 1\nname: x\ndeployed: {path: fw.bin}\nreference: {path: src.bin}\nsignatures:\n" + vendorFW + ciFW + vendorRef
	v.write("delivery.yaml", []byte(text+signers))
	d, err := verify.LoadDelivery(filepath.Join(v.dir, "delivery.yaml"))
	if err != nil {
		v.t.Fatal(err)
	}
	out, err := verify.Check(v.t.Context(), d, verify.CheckOptions{Options: o, WorkDir: v.t.TempDir(), Sandbox: sandbox.Auto})
	if err != nil {
		v.t.Fatal(err)
	}
	change(out.Report)
	return out
}

func (v *vendor) recheck(dir, ref, dep string) error {
	v.t.Helper()
	open := func(name string) *verify.Image {
		img, err := verify.OpenImage(filepath.Join(v.dir, name))
		if err != nil {
			v.t.Fatal(err)
		}
		v.t.Cleanup(func() { img.Close() })
		return img
	}
	_, err := verify.Recheck(v.t.Context(), dir, open(ref), open(dep), "", verify.Options{})
	return err
}

// TestForgedReport: a report that contradicts itself does not hold, neither for
// whoever signs it nor for whoever replays it, though its ledger does.
func TestForgedReport(t *testing.T) {
	v := newVendor(t)
	zero := strings.Repeat("0", 64)
	any := "signers: {deployed: {any: [vendor, ci]}}\n"
	for name, c := range map[string]struct {
		signers string
		change  func(*verify.Report)
		want    string // "": it holds
	}{
		"as it is":          {"", func(*verify.Report) {}, ""},
		"any":               {any, func(r *verify.Report) { r.Signatures[1].OK = false }, ""},
		"no rule, all hold": {"", func(r *verify.Report) { r.Signers = verify.Signers{} }, ""},
		"no rule, one does not": {"", func(r *verify.Report) {
			r.Signers = verify.Signers{}
			r.Signatures[1].OK = false
		}, "do not satisfy its signers"},
		"no rule for the reference": {"", func(r *verify.Report) {
			r.Signers.Reference = nil
			r.Signatures[2].OK = false
		}, "do not satisfy its signers"},
		"a rule that asks nothing": {"", func(r *verify.Report) {
			r.Signers.Deployed = &verify.SignerRule{}
			r.Signatures[1].OK = false
		}, "one of all, any and exactly"},
		"a rule that asks nothing, and a rejection": {"", func(r *verify.Report) {
			r.Signers.Source = &verify.SignerRule{}
			r.Verdict, r.Reasons = verify.Rejected, []string{"signature: x"}
			r.Findings = []verify.Finding{{Kind: verify.KindSignature, Message: "x"}}
		}, "one of all, any and exactly"},
		"two rules":           {any, func(r *verify.Report) { r.Signers.Deployed.All = []string{"ci"} }, "one of all, any and exactly"},
		"over nothing":        {any, func(r *verify.Report) { r.Signatures[1].Over = "build" }, `over "build"`},
		"over Deployed":       {any, func(r *verify.Report) { r.Signatures[1].Over = "Deployed" }, `over "Deployed"`},
		"no name":             {any, func(r *verify.Report) { r.Signatures[1].Name = "" }, "no name"},
		"a name twice":        {any, func(r *verify.Report) { r.Signatures[1].Name = "vendor" }, "is taken"},
		"a name of two sides": {any, func(r *verify.Report) { r.Signatures[2].Name = "vendor" }, "is taken"},
		"an image's name": {any, func(r *verify.Report) {
			r.Signatures[1].Name, r.Signatures[1].Image, r.Signatures[1].OK = "vendor", "sha256:"+zero, false
		}, "is taken"},
		"a failed step": {any, func(r *verify.Report) {
			r.Signatures[1].Steps[1].Outcome = signature.Fail
		}, "it holds, and its step chain failed"},
		"a failed step of what does not hold": {any, func(r *verify.Report) {
			r.Signatures[1].OK, r.Signatures[1].Steps[1].Outcome = false, signature.Fail
		}, ""},
		"a step not checked": {any, func(r *verify.Report) {
			r.Signatures[1].Steps[5].Outcome = signature.NotChecked
		}, "step signature did not pass"},
		"eight steps":     {any, func(r *verify.Report) { r.Signatures[1].Steps = r.Signatures[1].Steps[:8] }, "8 steps of 9"},
		"no steps":        {any, func(r *verify.Report) { r.Signatures[1].Steps = nil }, "0 steps of 9"},
		"no steps, false": {any, func(r *verify.Report) { r.Signatures[1].OK, r.Signatures[1].Steps = false, nil }, "0 steps of 9"},
		"no steps, and a reason": {any, func(r *verify.Report) {
			r.Signatures[1].OK, r.Signatures[1].Steps, r.Signatures[1].Reasons = false, nil, []string{"nothing was there"}
		}, ""},
		"no steps, and a reason, and it holds": {any, func(r *verify.Report) {
			r.Signatures[1].Steps, r.Signatures[1].Reasons = nil, []string{"nothing was there"}
		}, "0 steps of 9"},
		"a step twice":     {any, func(r *verify.Report) { r.Signatures[1].Steps[1] = r.Signatures[1].Steps[0] }, `step 2 is "parse", not chain`},
		"over other bytes": {any, func(r *verify.Report) { r.Signatures[1].Artifact.SHA256 = zero }, "which is not the deployed image"},
		"over another reference": {any, func(r *verify.Report) {
			r.Signatures[2].Artifact.SHA256 = zero
		}, "which is not the reference image"},
		"over an image": {any, func(r *verify.Report) { r.Signatures[1].Image = "sha256:" + zero }, "which is not the deployed image"},
		"foreign":       {any, func(r *verify.Report) { r.Signatures[1].Foreign = true }, "over other bytes"},
		"a stranger":    {any, func(r *verify.Report) { r.Signatures[1].Stranger = true }, "nobody's"},
		"an input finding": {any, func(r *verify.Report) {
			r.Findings = []verify.Finding{{Kind: verify.KindInput, Message: "not the pinned one"}}
		}, "its verdict is identical, the ledger gives rejected"},
		"a signature finding": {any, func(r *verify.Report) {
			r.Findings = []verify.Finding{{Kind: verify.KindSignature, Message: "does not hold"}}
		}, "its verdict is identical, the ledger gives rejected"},
		"a finding of the bytes": {any, func(r *verify.Report) {
			r.Findings = []verify.Finding{{Kind: verify.KindUnexplained, Length: 1}}
		}, "findings or reasons"},
		"a finding of no kind":   {any, func(r *verify.Report) { r.Findings = []verify.Finding{{Kind: "remark"}} }, "findings or reasons"},
		"a reason":               {any, func(r *verify.Report) { r.Reasons = []string{"signature: it does not hold"} }, "findings or reasons"},
		"explained":              {any, func(r *verify.Report) { r.Verdict = verify.Explained }, "gives identical"},
		"another image":          {any, func(r *verify.Report) { r.Deployed.SHA256 = zero }, "not the deployed image"},
		"a directory and a file": {any, func(r *verify.Report) { r.Reference.Kind = "directory" }, "file"},
	} {
		t.Run(name, func(t *testing.T) {
			v.t = t
			dir := store(t, v.signed(c.signers, verify.Options{}, c.change))
			byImages := v.recheck(dir, "src.bin", "fw.bin")
			if c.want == "" {
				if err := errors.Join(checkReport(dir), byImages); err != nil {
					t.Error(err)
				}
				return
			}
			wantUnsound(t, checkReport(dir), c.want)
			wantUnsound(t, byImages, "")
		})
	}
}

// TestForgedLedger: a ledger that does not add up is refused before it is judged,
// and the judge is not led outside of it.
func TestForgedLedger(t *testing.T) {
	tarred := func(now int64, more string) []byte {
		return difftest.Gzip{Time: uint32(now), Content: fmt.Appendf(nil, "built %s%s\n", stamp(now), more)}.Bytes()
	}
	entry := func(l *ledger.Ledger, op ledger.Op) *ledger.Entry {
		for i := range l.Entries {
			if l.Entries[i].Op == op {
				return &l.Entries[i]
			}
		}
		t.Fatalf("no entry of operation %q", op)
		return nil
	}
	for name, c := range map[string]struct {
		change func(*ledger.Ledger)
		want   string
	}{
		"as it is":            {func(*ledger.Ledger) {}, ""},
		"stream of no number": {func(l *ledger.Ledger) { l.Entries[0].Stream = -1 }, "stream"},
		"stream that is not":  {func(l *ledger.Ledger) { l.Entries[len(l.Entries)-1].Stream = 99 }, "stream"},
		"stream out of order": {func(l *ledger.Ledger) { l.Entries[0].Stream = 1 }, "stream"},
		"carries nothing":     {func(l *ledger.Ledger) { entry(l, ledger.OpCarry).Carry = 0 }, "carries stream 0"},
		"carries below":       {func(l *ledger.Ledger) { entry(l, ledger.OpCarry).Carry = -7 }, "carries stream -7"},
		"carries what is not": {func(l *ledger.Ledger) { entry(l, ledger.OpCarry).Carry = 99 }, "carries stream 99"},
		"no streams":          {func(l *ledger.Ledger) { l.Streams = nil }, "carries stream 1"},
		"stream of no length": {func(l *ledger.Ledger) { l.Streams[0].DepLen = -1 }, "cannot be"},
		"price of no bits":    {func(l *ledger.Ledger) { l.Streams[0].Bits = -1 }, "cannot be"},
		"sum of nothing":      {func(l *ledger.Ledger) { entry(l, ledger.OpSum).Spec = nil }, "does not bear"},
		"refused sum of nothing": {func(l *ledger.Ledger) {
			e := entry(l, ledger.OpSum)
			e.Spec, e.Verdict = nil, ledger.Unexplained
		}, "does not bear"},
		"nothing is identical":     {func(l *ledger.Ledger) { entry(l, ledger.OpCopy).Op = ledger.OpNone }, "does not bear"},
		"nothing is explained":     {func(l *ledger.Ledger) { e := entry(l, ledger.OpCopy); e.Op, e.Verdict = "", ledger.Explained }, "does not bear"},
		"a move is carried":        {func(l *ledger.Ledger) { e := entry(l, ledger.OpCopy); e.Op, e.Verdict = ledger.OpMove, ledger.Carried }, "does not bear"},
		"a copy of another length": {func(l *ledger.Ledger) { entry(l, ledger.OpCopy).Ref.Len++ }, "does not bear"},
		"unknown operation":        {func(l *ledger.Ledger) { entry(l, ledger.OpCopy).Op = "trust" }, "does not bear"},
		"gap":                      {func(l *ledger.Ledger) { l.Entries[0].Dep.Off, l.Entries[0].Dep.Len = 1, l.Entries[0].Dep.Len-1 }, "does not begin"},
		"overlap":                  {func(l *ledger.Ledger) { l.Entries[1].Dep.Off-- }, "does not begin"},
		"negative length":          {func(l *ledger.Ledger) { l.Entries[0].Dep.Len = math.MinInt64 }, "reaches past"},
		"huge length":              {func(l *ledger.Ledger) { l.Entries[1].Dep.Len = math.MaxInt64 }, "reaches past"},
		"negative reference":       {func(l *ledger.Ledger) { l.Entries[0].Ref.Off = -1 }, "reaches past"},
		"image of no size":         {func(l *ledger.Ledger) { l.Deployed.Size = -1 }, "cannot be"},
		"larger image":             {func(l *ledger.Ledger) { l.Deployed.Size++ }, "accounted for"},
		"no entries":               {func(l *ledger.Ledger) { l.Entries = nil }, "accounted for"},
		"last entry gone":          {func(l *ledger.Ledger) { l.Entries = l.Entries[:len(l.Entries)-1] }, "accounted for"},
		"bits that are not free":   {func(l *ledger.Ledger) { l.FreeBits = 0 }, "free in all"},
		"negative bits":            {func(l *ledger.Ledger) { l.Entries[0].Bits = -1 }, "free in all"},
		"totals":                   {func(l *ledger.Ledger) { l.Totals.Identical++; l.Totals.Carried-- }, "totals"},
		"all identical":            {func(l *ledger.Ledger) { l.Totals = ledger.Totals{Identical: l.Deployed.Size} }, "totals"},
		"missing, not in totals":   {func(l *ledger.Ledger) { l.Missing = []ledger.Hole{{Ref: ledger.Range{Len: 1}}} }, "totals"},
		"missing in totals alone":  {func(l *ledger.Ledger) { l.Totals.Missing = 1 }, "totals"},
		"missing of no stream":     {func(l *ledger.Ledger) { l.Missing = []ledger.Hole{{Stream: 99, Ref: ledger.Range{Len: 1}}} }, "missing 0 is of stream 99"},
		"missing of stream -1":     {func(l *ledger.Ledger) { l.Missing = []ledger.Hole{{Stream: -1, Ref: ledger.Range{Len: 1}}} }, "missing 0 is of stream -1"},
		"missing outside":          {func(l *ledger.Ledger) { l.Missing = []ledger.Hole{{Ref: ledger.Range{Off: l.Reference.Size, Len: 1}}} }, "past its stream"},
		"missing nothing":          {func(l *ledger.Ledger) { l.Missing = []ledger.Hole{{}} }, "past its stream"},
		"missing twice": {func(l *ledger.Ledger) {
			l.Missing = []ledger.Hole{{Ref: ledger.Range{Len: 2}}, {Ref: ledger.Range{Off: 1, Len: 2}}}
		}, "out of order"},
	} {
		t.Run(name, func(t *testing.T) {
			ref, dep := tarred(then, ""), tarred(later, "")
			out := diffBytes(t, ref, dep, policy(t, "standard"))
			if out.Report.Verdict != verify.Explained {
				t.Fatal(describe(out.Report))
			}
			c.change(out.Ledger)
			// The report is made to say what the ledger does, as far as it can be.
			l, r := out.Ledger, out.Report
			r.Totals, r.FreeBits, r.Deployed.Size = l.Totals, l.FreeBits, l.Deployed.Size
			dir := store(t, out)
			_, err := verify.Recheck(t.Context(), dir, image(ref), image(dep), "", verify.Options{})
			if c.want == "" {
				if err := errors.Join(err, checkReport(dir)); err != nil {
					t.Error(err)
				}
				return
			}
			wantUnsound(t, err, "")
			err = checkReport(dir)
			wantUnsound(t, err, verify.LedgerFile)
			wantUnsound(t, err, c.want)
		})
	}
}

// TestOneReport: what two readers could take for two reports is none.
func TestOneReport(t *testing.T) {
	dir := store(t, diffBytes(t, []byte("this"), []byte("that"), policy(t, "standard")))
	path := filepath.Join(dir, verify.ReportFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ old, with, want string }{
		"as it is":            {`"tool"`, `"tool"`, ""},
		"a verdict before":    {`"verdict"`, `"verdict": "identical", "verdict"`, "occurs twice"},
		"in another case":     {`"verdict"`, `"Verdict": "identical", "verdict"`, "occurs twice"},
		"in no letters":       {`"verdict"`, `"\u0076erdict": "identical", "verdict"`, "occurs twice"},
		"with a long s":       {`"signatures"`, "\"\u017fignatures\": [], \"signatures\"", "occurs twice"},
		"deep":                {`"unexplained"`, `"Unexplained": 0, "unexplained"`, "occurs twice"},
		"deep in a list":      {`"message"`, `"kind": "limit", "message"`, "occurs twice"},
		"an unknown key":      {`"verdict"`, `"accepted": true, "verdict"`, "unknown field"},
		"deep in what is not": {`"tool"`, `"x": ` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `, "tool"`, "nested deeper"},
	} {
		t.Run(name, func(t *testing.T) {
			if !bytes.Contains(b, []byte(c.old)) {
				t.Fatalf("there is no %s", c.old)
			}
			write(t, path, bytes.Replace(b, []byte(c.old), []byte(c.with), 1))
			relist(t, dir)
			err := checkReport(dir)
			_, again := verify.Recheck(t.Context(), dir, image([]byte("this")), image([]byte("that")), "", verify.Options{})
			if c.want == "" {
				if err := errors.Join(err, again); err != nil {
					t.Error(err)
				}
				return
			}
			wantUnsound(t, err, c.want)
			wantUnsound(t, again, c.want)
		})
	}
}

// TestNoLedger: without a ledger nothing is accepted, and what is recorded of the
// images has to fit.
func TestNoLedger(t *testing.T) {
	v := newVendor(t)
	v.write("longer.bin", []byte("firmware, longer\n"))
	v.write("flipped.bin", []byte("firmwarf\n"))
	stopped := verify.Options{Limits: diff.Limits{Timeout: time.Nanosecond}}
	for name, c := range map[string]struct {
		change   func(*verify.Report)
		ref, dep string
		want     string // "": it holds
		report   bool   // the report is refused without the images too
	}{
		"as it is":          {nil, "src.bin", "fw.bin", "", false},
		"another size":      {nil, "src.bin", "longer.bin", "deployed image has 9 bytes, this one has 17", false},
		"other bytes":       {nil, "src.bin", "flipped.bin", "sha256 of its deployed image", false},
		"other reference":   {nil, "flipped.bin", "fw.bin", "sha256 of its reference", false},
		"reference of more": {nil, "longer.bin", "fw.bin", "reference has 9 bytes, this one has 17", false},
		"sha512 alone": {func(r *verify.Report) {
			r.Reference.SHA256 = ""
			r.Signatures, r.Signers.Reference = r.Signatures[:2], nil
		}, "flipped.bin", "fw.bin", "sha512 of its reference", false},
		"no reference was had": {func(r *verify.Report) {
			r.Reference.Size, r.Reference.SHA256, r.Reference.SHA512, r.Totals.Missing = 0, "", "", 0
			r.Signatures, r.Signers.Reference = r.Signatures[:2], nil
		}, "longer.bin", "fw.bin", "", false},
		"accepted":   {func(r *verify.Report) { r.Verdict, r.Reasons, r.Findings = verify.Identical, nil, nil }, "src.bin", "fw.bin", "there is no ledger", true},
		"explained":  {func(r *verify.Report) { r.Verdict = verify.Explained }, "src.bin", "fw.bin", "there is no ledger", true},
		"a ledger":   {func(r *verify.Report) { r.Ledger = strings.Repeat("0", 64) }, "src.bin", "fw.bin", "there is no ledger", true},
		"no reason":  {func(r *verify.Report) { r.Reasons = nil }, "src.bin", "fw.bin", "no reason why", true},
		"totals":     {func(r *verify.Report) { r.Totals = ledger.Totals{Identical: r.Deployed.Size} }, "src.bin", "fw.bin", "its totals", true},
		"bits":       {func(r *verify.Report) { r.FreeBits = 1 }, "src.bin", "fw.bin", "its totals", true},
		"no finding": {func(r *verify.Report) { r.Findings = nil }, "src.bin", "fw.bin", "its findings", true},
		"rejected":   {func(r *verify.Report) { r.Verdict = verify.Rejected }, "src.bin", "fw.bin", "gives undecided", true},
		"undecided, with a finding": {func(r *verify.Report) {
			r.Findings = append(r.Findings, verify.Finding{Kind: verify.KindSignature})
		}, "src.bin", "fw.bin", "gives rejected", true},
		"signature that does not hold": {func(r *verify.Report) { r.Signatures[0].OK = false }, "src.bin", "fw.bin", "do not satisfy", true},
		"explanations":                 {func(r *verify.Report) { r.Explanations = []verify.Explanation{{Rule: "x"}} }, "src.bin", "fw.bin", "explanations", true},
		"sections":                     {func(r *verify.Report) { r.Sections = []verify.Section{{Path: "x"}} }, "src.bin", "fw.bin", "sections", true},
		"negative size":                {func(r *verify.Report) { r.Deployed.Size = -9 }, "src.bin", "fw.bin", "negative", true},
	} {
		t.Run(name, func(t *testing.T) {
			v.t = t
			if c.change == nil {
				c.change = func(*verify.Report) {}
			}
			out := v.signed("", stopped, c.change)
			if out.Ledger != nil {
				t.Fatal("it was not stopped")
			}
			dir := store(t, out)
			err := v.recheck(dir, c.ref, c.dep)
			if c.want != "" {
				wantUnsound(t, err, "")
				if !c.report {
					wantUnsound(t, err, c.want)
				}
			} else if err != nil {
				t.Error(err)
			}
			if err := checkReport(dir); c.report {
				wantUnsound(t, err, c.want)
			} else if !c.report && err != nil {
				t.Error(err)
			}
		})
	}

	v.t = t
	// A ledger that was there once does not go away, and one that is none is none.
	dir := store(t, v.signed("", verify.Options{}, func(*verify.Report) {}))
	path := filepath.Join(dir, verify.LedgerFile)
	for _, put := range []func() error{
		func() error { return os.Remove(path) },
		func() error { return os.Mkdir(path, 0o755) },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		r, err := verify.ReadReport(dir)
		if err != nil {
			t.Fatal(err)
		}
		wantUnsound(t, verify.CheckReport(dir, r), "")
	}
}
