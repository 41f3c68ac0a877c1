package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assaylab/assay/verify"
)

// evidence is a folder of what a comparison of two texts found.
type evidence struct {
	t        *testing.T
	dir      string
	ref, dep string
}

func newEvidence(t *testing.T, was, now string) *evidence {
	t.Helper()
	e := &evidence{t, filepath.Join(t.TempDir(), "ev"), filepath.Join(t.TempDir(), "ref.txt"), filepath.Join(t.TempDir(), "dep.txt")}
	for path, text := range map[string]string{e.ref: was, e.dep: now} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, stderr, code := assay("diff", "--evidence", e.dir, e.ref, e.dep); code == verify.ExitTrouble {
		t.Fatal(stderr)
	}
	return e
}

// forge replaces text of a file, once, and lists the digests of the folder anew.
func (e *evidence) forge(name, old, with string) {
	e.t.Helper()
	path := filepath.Join(e.dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		e.t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(old)) {
		e.t.Fatalf("%s holds no %s:\n%s", name, old, b)
	}
	if err := os.WriteFile(path, bytes.Replace(b, []byte(old), []byte(with), 1), 0o644); err != nil {
		e.t.Fatal(err)
	}
	var sums []byte
	for _, name := range []string{verify.LedgerFile, verify.ReportFile} {
		b, err := os.ReadFile(filepath.Join(e.dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			e.t.Fatal(err)
		}
		sums = fmt.Appendf(sums, "%x  %s\n", sha256.Sum256(b), name)
	}
	if err := os.WriteFile(filepath.Join(e.dir, verify.SumsFile), sums, 0o644); err != nil {
		e.t.Fatal(err)
	}
}

// TestSignForged: evidence that somebody made to say PASS, digests and all, is
// not signed, and does not replay.
func TestSignForged(t *testing.T) {
	const (
		old, dated, word = "made: 2022-11-25 06:31:44, words follow\n", "made: 2026-01-02 03:04:05, words follow\n", "made: 2022-11-25 06:31:44, Xords follow\n"
		report, ledger   = verify.ReportFile, verify.LedgerFile
	)
	for name, c := range map[string]struct {
		now   string
		forge func(*evidence)
		want  string // "": it is signed
	}{
		"as it is":             {dated, func(*evidence) {}, ""},
		"a rejection as it is": {word, func(*evidence) {}, ""},
		"a wider policy":       {dated, func(e *evidence) { e.forge(report, `"free_bits": 1024`, `"free_bits": 1048576`) }, `"standard"`},
		"a verdict":            {word, func(e *evidence) { e.forge(report, `"rejected"`, `"explained"`) }, "its verdict is explained, the ledger gives rejected"},
		"two verdicts":         {word, func(e *evidence) { e.forge(report, `"verdict"`, `"Verdict": "explained", "verdict"`) }, "occurs twice"},
		"two verdicts, the last one good": {word, func(e *evidence) {
			e.forge(report, `"verdict": "rejected"`, `"verdict": "rejected", "verdict": "explained"`)
		}, "occurs twice"},
		"a signature that failed": {dated, func(e *evidence) {
			e.forge(report, `"signatures": []`, `"signatures": [{"name": "vendor", "over": "deployed", "ok": false, "reasons": ["it is bad"], "artifact": {"kind": "", "sha256": ""}, "signed": {"kind": "", "sha256": ""}, "trust": [], "steps": []}]`)
		}, "do not satisfy its signers"},
		"a signature without steps": {dated, func(e *evidence) {
			e.forge(report, `"signatures": []`, `"signatures": [{"name": "vendor", "over": "deployed", "ok": true, "artifact": {"kind": "", "sha256": ""}, "signed": {"kind": "", "sha256": ""}, "trust": [], "steps": []}]`)
		}, "0 steps of 9"},
		"a rule of nobody": {dated, func(e *evidence) {
			e.forge(report, `"signatures": []`, `"signatures": [], "signers": {"deployed": {}}`)
		}, "one of all, any and exactly"},
		"a reason": {dated, func(e *evidence) { e.forge(report, `"reasons": []`, `"reasons": ["signature: bad"]`) }, "findings or reasons"},
		"a finding": {dated, func(e *evidence) {
			e.forge(report, `"findings": []`, `"findings": [{"kind": "input", "path": "", "offset": 0, "length": 0, "stream": 0, "message": "not the pinned one"}]`)
		}, "gives rejected"},
		"another ledger": {dated, func(e *evidence) { e.forge(report, `"ledger_sha256": "`, `"ledger_sha256": "0`) }, "another ledger"},
		"no ledger": {dated, func(e *evidence) {
			if err := os.Remove(filepath.Join(e.dir, ledger)); err != nil {
				e.t.Fatal(err)
			}
			e.forge(report, `"explained"`, `"explained"`)
		}, "there is no ledger"},
		"a ledger spelled otherwise": {dated, func(e *evidence) { e.forge(ledger, `{`, `{ `) }, "ledger"},
		"a ledger with more":         {dated, func(e *evidence) { e.forge(ledger, "{\"sha256\"", "\n{\"sha256\"") }, "ledger"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEvidence(t, old, c.now)
			c.forge(e)
			out := filepath.Join(t.TempDir(), "out.json")
			for _, args := range [][]string{
				{"sign", "--statement-only", "--out", out, e.dir},
				{"recheck", e.dir, e.ref, e.dep},
			} {
				_, stderr, code := assay(args...)
				want := verify.ExitRejected
				if c.want == "" && (args[0] == "sign" || c.now == dated) {
					want = verify.ExitAccepted
				}
				if code != want || strings.Contains(stderr, "the evidence does not hold: ") != (c.want != "") || !strings.Contains(stderr, c.want) {
					t.Errorf("%s: exit code %d, want %d and %q: %s", args[0], code, want, c.want, stderr)
				}
			}
			if _, err := os.Stat(out); (err == nil) != (c.want == "") {
				t.Errorf("the statement: %v", err)
			}
		})
	}
}
