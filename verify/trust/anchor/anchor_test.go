package anchor

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/assaylab/assay/verify/signature/sigtest"
)

// changed is the trusted root of a new authority, changed as a JSON document.
func changed(t *testing.T, change func(map[string]any)) *root.TrustedRoot {
	t.Helper()
	a, err := sigtest.New()
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.TrustedRoot(true)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(doc)
	}
	if b, err = json.Marshal(doc); err != nil {
		t.Fatal(err)
	}
	tr, err := root.NewTrustedRootFromJSON(b)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// first is the first element of a list in a trusted root.
func first(doc map[string]any, list string) map[string]any {
	return doc[list].([]any)[0].(map[string]any)
}

func TestFingerprints(t *testing.T) {
	tr := changed(t, func(doc map[string]any) {
		first(doc, "certificateAuthorities")["validFor"] = map[string]any{"start": "2021-01-01T00:00:00Z", "end": "2022-01-01T00:00:00Z"}
		// The same log under other names: later ones first in the file.
		for _, l := range []struct{ url, id, start string }{
			{"https://0.rekor.vendor.example", "MA==", "2021-01-01T00:00:00Z"},
			{"https://b.rekor.vendor.example", "Yg==", "2019-01-01T00:00:00Z"},
			{"https://a.rekor.vendor.example", "YQ==", "2019-01-01T00:00:00Z"},
		} {
			more, key := maps.Clone(first(doc, "tlogs")), maps.Clone(first(doc, "tlogs")["publicKey"].(map[string]any))
			key["validFor"] = map[string]any{"start": l.start}
			more["baseUrl"], more["logId"], more["publicKey"] = l.url, map[string]any{"keyId": l.id}, key
			doc["tlogs"] = append(doc["tlogs"].([]any), more)
		}
	})
	ca := tr.FulcioCertificateAuthorities()[0].(*root.FulcioCertificateAuthority)
	tsa := tr.TimestampingAuthorities()[0].(*root.SigstoreTimestampingAuthority)
	list := Fingerprints(tr)
	var got []string
	for _, f := range list {
		got = append(got, fmt.Sprintf("%s %s %s %s %s", f.Kind, f.Name, f.Subject, f.Start.Format(time.DateOnly), f.End.Format(time.DateOnly)))
	}
	want := []string{
		"certificate authority https://fulcio.vendor.example CN=test intermediate 2021-01-01 2022-01-01",
		"certificate authority https://fulcio.vendor.example CN=test root 2021-01-01 2022-01-01",
		"certificate log https://ct.vendor.example  2020-01-01 0001-01-01",
		"transparency log https://a.rekor.vendor.example  2019-01-01 0001-01-01",
		"transparency log https://b.rekor.vendor.example  2019-01-01 0001-01-01",
		"transparency log https://rekor.vendor.example  2020-01-01 0001-01-01",
		"transparency log https://0.rekor.vendor.example  2021-01-01 0001-01-01",
		"time stamping authority https://tsa.vendor.example CN=test root 2020-01-01 0001-01-01",
		"time stamping authority https://tsa.vendor.example CN=test time stamping 2020-01-01 0001-01-01",
	}
	for i := range got { // within one chain the digest decides, which is new every time
		if i > 0 && list[i-1].Name == list[i].Name {
			if list[i-1].SHA256 >= list[i].SHA256 {
				t.Errorf("not by digest: %s", strings.Join(got, "\n"))
			}
			slices.Sort(got[i-1 : i+1])
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	sums := map[string]string{}
	for _, f := range list {
		sums[f.Kind+f.Subject] = f.SHA256
	}
	for name, is := range map[string]string{
		CertificateAuthority + "CN=test root":           certificateDigest(ca.Root),
		CertificateAuthority + "CN=test intermediate":   certificateDigest(ca.Intermediates[0]),
		TimestampingAuthority + "CN=test time stamping": certificateDigest(tsa.Leaf),
		TimestampingAuthority + "CN=test root":          certificateDigest(ca.Root),
	} {
		if sums[name] != is {
			t.Errorf("%s: %s, want %s", name, sums[name], is)
		}
	}
	// The logs of the instance identify themselves by the same digest (RFC 6962).
	for id := range tr.CTLogs() {
		if sums[CTLog] != id {
			t.Errorf("certificate log: %s, want %s", sums[CTLog], id)
		}
	}
	if _, ok := tr.RekorLogs()[sums[TransparencyLog]]; !ok {
		t.Errorf("transparency log: %s is none of them", sums[TransparencyLog])
	}
	for range 20 { // logs come from a map
		if !slices.Equal(Fingerprints(tr), list) {
			t.Fatal("the order varies")
		}
	}
}

func TestFingerprintsOfLittle(t *testing.T) {
	lone := func(doc map[string]any) { // a time stamping authority of one certificate, without root
		tsa := first(doc, "timestampAuthorities")
		chain := tsa["certChain"].(map[string]any)
		chain["certificates"] = chain["certificates"].([]any)[:1]
		delete(tsa, "validFor")
		for _, k := range []string{"tlogs", "ctlogs", "certificateAuthorities"} {
			delete(doc, k)
		}
	}
	tr := changed(t, lone)
	if list := Fingerprints(tr); len(list) != 1 || list[0].Subject != "CN=test time stamping" || !list[0].Start.IsZero() {
		t.Errorf("%+v", list)
	}
	if d := Dated(tr); !d.IsZero() {
		t.Errorf("dated %v", d)
	}
	tr = changed(t, func(doc map[string]any) { lone(doc); delete(doc, "timestampAuthorities") })
	if list := Fingerprints(tr); len(list) != 0 || list == nil {
		t.Errorf("%+v", list)
	}
	if d := Dated(tr); !d.IsZero() {
		t.Errorf("dated %v", d)
	}
}

// Each kind can be the newest.
func TestDated(t *testing.T) {
	want := time.Date(2023, 5, 6, 7, 8, 9, 0, time.UTC)
	for _, list := range []string{"tlogs", "ctlogs", "certificateAuthorities", "timestampAuthorities"} {
		tr := changed(t, func(doc map[string]any) {
			at := first(doc, list)
			if key, ok := at["publicKey"].(map[string]any); ok {
				at = key
			}
			at["validFor"] = map[string]any{"start": want.Format(time.RFC3339), "end": "2030-01-01T00:00:00Z"}
		})
		if got := Dated(tr); !got.Equal(want) {
			t.Errorf("%s: %v", list, got)
		}
	}
}

func sample() Receipt {
	return Receipt{
		Schema: Schema, SHA256: strings.Repeat("ab", 32), Repository: "https://tuf.vendor.example", Target: "trusted_root.json",
		RootVersion: 1, TimestampVersion: 2, SnapshotVersion: 3, TargetsVersion: 4,
		TimestampExpires: time.Date(2024, 6, 8, 0, 0, 0, 0, time.UTC), FetchedAt: time.Date(2024, 6, 1, 12, 0, 0, 0, time.UTC),
	}
}

// encoded is what anyone can write, honest or not.
func encoded(t testing.TB, r Receipt) string {
	t.Helper()
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

func TestReadReceipt(t *testing.T) {
	honest := encoded(t, sample())
	if b, err := sample().Encode(); err != nil || string(b) != honest {
		t.Fatalf("%s, %v", b, err)
	}
	with := func(change func(*Receipt)) string { r := sample(); change(&r); return encoded(t, r) }
	for name, c := range map[string]struct {
		text    string
		ok, bad bool
	}{
		"honest":          {text: honest, ok: true},
		"foreign":         {text: with(func(r *Receipt) { r.SHA256 = strings.Repeat("ac", 32) })},
		"empty":           {text: "", bad: true},
		"null":            {text: "null", bad: true},
		"no object":       {text: "[]", bad: true},
		"cut short":       {text: honest[:len(honest)-3], bad: true},
		"more after it":   {text: honest + honest, bad: true},
		"a key twice":     {text: strings.Replace(honest, `"sha256"`, `"sha256": "", "sha256"`, 1), bad: true},
		"in capitals":     {text: strings.Replace(honest, `"sha256"`, `"SHA256"`, 1), bad: true},
		"an unknown key":  {text: strings.Replace(honest, `"sha256"`, `"x": 1, "sha256"`, 1), bad: true},
		"upper case":      {text: with(func(r *Receipt) { r.SHA256 = strings.ToUpper(r.SHA256) }), bad: true},
		"short digest":    {text: with(func(r *Receipt) { r.SHA256 = "ab" }), bad: true},
		"no digest":       {text: with(func(r *Receipt) { r.SHA256 = "" }), bad: true},
		"another schema":  {text: with(func(r *Receipt) { r.Schema = "assay.dev/trust-receipt/v2" }), bad: true},
		"no repository":   {text: with(func(r *Receipt) { r.Repository = "" }), bad: true},
		"no target":       {text: with(func(r *Receipt) { r.Target = "" }), bad: true},
		"no root":         {text: with(func(r *Receipt) { r.RootVersion = 0 }), bad: true},
		"less than none":  {text: with(func(r *Receipt) { r.TargetsVersion = -1 }), bad: true},
		"no time":         {text: with(func(r *Receipt) { r.FetchedAt = time.Time{} }), bad: true},
		"another zone":    {text: with(func(r *Receipt) { r.FetchedAt = r.FetchedAt.In(time.FixedZone("", 3600)) }), bad: true},
		"parts of second": {text: with(func(r *Receipt) { r.FetchedAt = r.FetchedAt.Add(1) }), bad: true},
		"huge":            {text: with(func(r *Receipt) { r.Target = strings.Repeat("x", MaxReceipt) }), bad: true},
		"deep":            {text: strings.Repeat("[", MaxReceipt), bad: true},
	} {
		path := filepath.Join(t.TempDir(), "trusted_root.json")
		if err := os.WriteFile(ReceiptPath(path), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		fetched, ok, err := ReadReceipt(path, sample().SHA256)
		if ok != c.ok || (err != nil) != c.bad || ok != fetched.Equal(sample().FetchedAt) || !ok && !fetched.IsZero() {
			t.Errorf("%s: %v %v %v", name, fetched, ok, err)
		}
		if err != nil && !strings.Contains(err.Error(), `"trusted_root.json.receipt.json"`) {
			t.Errorf("%s: does not name the file: %v", name, err)
		}
	}
}

func TestReadReceiptOddFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trusted_root.json")
	if _, ok, err := ReadReceipt(path, sample().SHA256); ok || err != nil {
		t.Errorf("absent: %v %v", ok, err)
	}
	if err := syscall.Mkfifo(ReceiptPath(path), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := ReadReceipt(path, sample().SHA256); ok || err == nil {
		t.Errorf("a FIFO: %v %v", ok, err)
	}
	path = filepath.Join(t.TempDir(), "x")
	if err := os.Mkdir(ReceiptPath(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := ReadReceipt(path, sample().SHA256); ok || err == nil {
		t.Errorf("a folder: %v %v", ok, err)
	}
}

// What cannot be read again is not written.
func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*Receipt){
		"version": func(r *Receipt) { r.TimestampVersion = 0 },
		"size":    func(r *Receipt) { r.Repository = strings.Repeat("x", MaxReceipt) },
		"time":    func(r *Receipt) { r.TimestampExpires = time.Time{} },
	} {
		r := sample()
		change(&r)
		if b, err := r.Encode(); err == nil {
			t.Errorf("%s: %s", name, b)
		}
	}
}

// A receipt that is read is written back as the same bytes.
func FuzzReceipt(f *testing.F) {
	f.Add(encoded(f, sample()))
	f.Add("{}")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := decode([]byte(text))
		if err != nil {
			return
		}
		if b, err := r.Encode(); err != nil || string(b) != text {
			t.Fatalf("%q, %v", b, err)
		}
	})
}
