package signature_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/assaylab/assay/verify/signature"
	"github.com/assaylab/assay/verify/signature/sigtest"
	"github.com/assaylab/assay/verify/trust/anchor"
)

// TestTrustAge: a trusted root does not expire, so its age is told. The lab's
// keys are valid from 2020-01-01.
func TestTrustAge(t *testing.T) {
	l := newLab(t)
	req := l.request(l.bundle(l.Sign(l.artifact, sigtest.Making{})))
	root := func(res signature.Result) signature.Input {
		for _, in := range res.Trust {
			if in.Kind == "trusted root" || in.Kind == "private PKI" {
				return in
			}
		}
		t.Fatalf("no trusted root among %+v", res.Trust)
		return signature.Input{}
	}
	day := func(text string) time.Time {
		d, err := time.Parse(time.DateOnly, text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	res := wantOK(t, req)
	if in := root(res); in.Dated != "2020-01-01" || in.AgeDays != nil || res.AsOf != "" || res.Warnings != nil {
		t.Errorf("without a day: %+v, %+v", in, res)
	}
	for _, c := range []struct {
		asOf string
		most int
		days int
		warn string
	}{
		{"2020-01-01", 0, 0, ""},
		{"2020-01-31", 0, 30, ""},
		{"2020-12-31", 0, 365, ""},
		{"2021-01-01", 0, 366, "366 days old, older than 365"},
		{"2020-01-31", 30, 30, ""},
		{"2020-02-01", 30, 31, "31 days old, older than 30"},
		{"2019-12-31", 0, -1, "is the clock right"},
	} {
		r := req
		r.AsOf, r.MaxTrustAge = day(c.asOf).Add(23*time.Hour), c.most
		res := wantOK(t, r) // a warning is no rejection
		in := root(res)
		if in.AgeDays == nil || *in.AgeDays != c.days || res.AsOf != c.asOf || (c.warn == "") != (len(res.Warnings) == 0) ||
			!strings.Contains(strings.Join(res.Warnings, "\n"), c.warn) {
			t.Errorf("%+v: %+v, %q", c, in, res.Warnings)
		}
	}
	t.Run("receipt", func(t *testing.T) {
		receipt := l.path("root.json") + ".receipt.json"
		text := func(sum string) []byte {
			b, err := anchor.Receipt{
				Schema: "assay.dev/trust-receipt/v1",
				SHA256: sum, Repository: "https://tuf.vendor.example", Target: "trusted_root.json",
				RootVersion: 1, TimestampVersion: 1, SnapshotVersion: 1, TargetsVersion: 1,
				TimestampExpires: day("2024-07-01"), FetchedAt: day("2024-06-01").Add(12 * time.Hour),
			}.Encode()
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		r := req
		r.AsOf = day("2024-06-11")
		if err := os.WriteFile(receipt, text(root(res).SHA256), 0o600); err != nil {
			t.Fatal(err)
		}
		got := wantOK(t, r)
		if in := root(got); in.Dated != "2024-06-01" || *in.AgeDays != 10 || got.Warnings != nil {
			t.Errorf("%+v %q", in, got.Warnings)
		}
		if err := os.WriteFile(receipt, text(strings.Repeat("0", 64)), 0o600); err != nil {
			t.Fatal(err)
		}
		if in := root(wantOK(t, r)); in.Dated != "2020-01-01" {
			t.Errorf("a receipt for another file counts: %+v", in)
		}
		if err := os.WriteFile(receipt, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		wantTrouble(t, r, "receipt")
	})
	t.Run("private PKI", func(t *testing.T) {
		r := l.request(l.bundle(l.Sign(l.artifact, sigtest.Making{Stamp: true})))
		r.TrustedRoot, r.PrivatePKI, r.AsOf = l.write("ca.pem", l.PEM()), true, day("2020-01-03")
		if in := root(wantOK(t, r)); in.Dated != "2020-01-01" || *in.AgeDays != 2 {
			t.Errorf("%+v", in)
		}
	})
}
