package ledger

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Schema is the first thing a stored ledger says of itself.
const Schema = "assay.dev/ledger/v1"

// maxLine bounds one line of a stored ledger, in bytes.
const maxLine = 1 << 20

// The stored form: one JSON object a line, in this order and with these keys,
// none of them optional in meaning. A reader re-encodes each line and refuses
// it if that gives other bytes, so a ledger has one spelling.
type (
	jsonHead struct {
		Schema    string   `json:"schema"`
		Reference jsonSide `json:"reference"`
		Deployed  jsonSide `json:"deployed"`
		Streams   int      `json:"streams"`
		Entries   int      `json:"entries"`
		Missing   int      `json:"missing"`
		Premises  int      `json:"premises,omitempty"`
	}
	jsonSide struct {
		Size   int64  `json:"size"`
		SHA256 string `json:"sha256"`
	}
	jsonStream struct {
		Stream     int      `json:"stream"`
		Codec      string   `json:"codec"`
		Zeros      []Zeros  `json:"zeros,omitempty"`
		Place      *Place   `json:"place"`
		Of         int      `json:"of,omitempty"`
		RefSetting string   `json:"ref_setting,omitempty"`
		DepSetting string   `json:"dep_setting,omitempty"`
		Reference  jsonSide `json:"reference"`
		Deployed   jsonSide `json:"deployed"`
		Reproduced bool     `json:"reproduced"`
		Bits       int64    `json:"bits"`
	}
	jsonEntry struct {
		Stream  int      `json:"stream"`
		At      [2]int64 `json:"at"`
		Verdict string   `json:"verdict"`
		Bits    int64    `json:"bits,omitempty"`
		Op      Op       `json:"op,omitempty"`
		Ref     [2]int64 `json:"ref"`
		From    int      `json:"from,omitempty"`
		Carry   int      `json:"carry,omitempty"`
		Piece   int      `json:"piece,omitempty"`
		Path    string   `json:"path"`
		Rule    string   `json:"rule,omitempty"`
		Note    string   `json:"note,omitempty"`
		Limit   string   `json:"limit,omitempty"`
		Spec    *Spec    `json:"spec,omitempty"`
		Place   *Place   `json:"place,omitempty"`
	}
	jsonHole struct {
		Missing [2]int64 `json:"missing"`
		Stream  int      `json:"stream"`
		Path    string   `json:"path,omitempty"`
	}
	jsonEnd struct {
		Totals   Totals `json:"totals"`
		FreeBits int64  `json:"free_bits"`
	}
	jsonSum struct {
		SHA256 string `json:"sha256"`
	}
)

func side(s Side) jsonSide { return jsonSide{s.Size, hex.EncodeToString(s.Sum[:])} }

func (j jsonSide) side() (Side, error) {
	s := Side{Size: j.Size}
	if len(j.SHA256) != hex.EncodedLen(len(s.Sum)) {
		return s, invalid("bad digest %.80q", j.SHA256)
	}
	if _, err := hex.Decode(s.Sum[:], []byte(j.SHA256)); err != nil || hex.EncodeToString(s.Sum[:]) != j.SHA256 {
		return s, invalid("bad digest %.80q", j.SHA256)
	}
	return s, nil
}

// marshal gives the one spelling of a line, without its line break.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Encode writes the ledger in its one spelling and returns the SHA-256 that its
// last line holds: that of all lines before.
func (l *Ledger) Encode(w io.Writer) ([32]byte, error) {
	h := sha256.New()
	bw := bufio.NewWriterSize(w, 64<<10)
	out := io.MultiWriter(bw, h)
	var sum [32]byte
	n := 0
	line := func(v any) error {
		n++
		b, err := marshal(v)
		if err != nil {
			return err
		}
		// Package json writes this, and only this, for bytes that are no UTF-8.
		if bytes.Contains(bytes.ReplaceAll(b, []byte(`\\`), nil), []byte(`\ufffd`)) {
			return fmt.Errorf("ledger line %d: text that is not UTF-8", n)
		}
		if len(b) >= maxLine {
			return fmt.Errorf("a ledger line of %d bytes", len(b))
		}
		_, err = out.Write(append(b, '\n'))
		return err
	}
	if err := line(jsonHead{Schema, side(l.Reference), side(l.Deployed), len(l.Streams), len(l.Entries), len(l.Missing), len(l.Premises)}); err != nil {
		return sum, err
	}
	for _, p := range l.Premises {
		if err := line(p); err != nil {
			return sum, err
		}
	}
	for i := range l.Streams {
		s := &l.Streams[i]
		j := jsonStream{
			i + 1, s.Codec, s.Zeros, s.Place, s.Of, s.RefSetting, s.DepSetting, side(Side{s.RefLen, s.RefSum}),
			side(Side{s.DepLen, s.DepSum}), s.Reproduced, s.Bits,
		}
		if err := line(j); err != nil {
			return sum, err
		}
	}
	for i := range l.Entries {
		e := &l.Entries[i]
		j := jsonEntry{
			e.Stream,
			[2]int64{e.Dep.Off, e.Dep.Len},
			e.Verdict.String(), e.Bits, e.Op,
			[2]int64{e.Ref.Off, e.Ref.Len},
			e.From, e.Carry, e.Piece, e.Path, e.Rule, e.Note, e.Limit, e.Spec, e.Place,
		}
		if err := line(j); err != nil {
			return sum, err
		}
	}
	for _, m := range l.Missing {
		if err := line(jsonHole{[2]int64{m.Ref.Off, m.Ref.Len}, m.Stream, m.Path}); err != nil {
			return sum, err
		}
	}
	if err := line(jsonEnd{l.Totals, l.FreeBits}); err != nil {
		return sum, err
	}
	h.Sum(sum[:0])
	b, err := marshal(jsonSum{hex.EncodeToString(sum[:])})
	if err != nil {
		return sum, err
	}
	if _, err := bw.Write(append(b, '\n')); err != nil {
		return sum, err
	}
	return sum, bw.Flush()
}

// Decode reads a stored ledger. It refuses anything but the spelling Encode
// gives, bytes after the end, and a digest that does not fit; every such error
// wraps ErrInvalid. What the ledger says of itself is not believed: Recheck
// replays it.
func Decode(r io.Reader) (*Ledger, [32]byte, error) {
	var sum [32]byte
	h := sha256.New()
	br := bufio.NewReaderSize(r, 64<<10)
	n := 0
	var b []byte
	line := func(v any, digest bool) error {
		n++
		part, err := br.ReadSlice('\n')
		for b = append(b[:0], part...); errors.Is(err, bufio.ErrBufferFull) && len(b) <= maxLine; b = append(b, part...) {
			part, err = br.ReadSlice('\n')
		}
		switch {
		case len(b) > maxLine:
			return invalid("line %d is longer than %d bytes", n, maxLine)
		case errors.Is(err, io.EOF):
			return invalid("line %d: the ledger is cut short", n)
		case err != nil:
			return err
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(v); err != nil {
			return invalid("line %d: %v", n, err)
		}
		again, err := marshal(v)
		if err != nil || !bytes.Equal(append(again, '\n'), b) {
			return invalid("line %d is not spelled as the kernel spells it", n)
		}
		if digest {
			h.Write(b)
		}
		return nil
	}
	var head jsonHead
	if err := line(&head, true); err != nil {
		return nil, sum, err
	}
	if head.Schema != Schema {
		return nil, sum, invalid("schema %.80q is not %s", head.Schema, Schema)
	}
	if head.Streams < 0 || head.Entries < 0 || head.Missing < 0 || head.Premises < 0 {
		return nil, sum, invalid("negative counts")
	}
	l := &Ledger{}
	var err error
	if l.Reference, err = head.Reference.side(); err != nil {
		return nil, sum, err
	}
	if l.Deployed, err = head.Deployed.side(); err != nil {
		return nil, sum, err
	}
	for range head.Premises {
		var p Premise
		if err := line(&p, true); err != nil {
			return nil, sum, err
		}
		l.Premises = append(l.Premises, p)
	}
	for i := range head.Streams {
		var j jsonStream
		if err := line(&j, true); err != nil {
			return nil, sum, err
		}
		if j.Stream != i+1 {
			return nil, sum, invalid("line %d: stream %d out of order", n, j.Stream)
		}
		s := Stream{Codec: j.Codec, Zeros: j.Zeros, Place: j.Place, Of: j.Of, RefSetting: j.RefSetting, DepSetting: j.DepSetting, Reproduced: j.Reproduced, Bits: j.Bits}
		ref, err := j.Reference.side()
		if err != nil {
			return nil, sum, err
		}
		dep, err := j.Deployed.side()
		if err != nil {
			return nil, sum, err
		}
		s.RefLen, s.RefSum, s.DepLen, s.DepSum = ref.Size, ref.Sum, dep.Size, dep.Sum
		l.Streams = append(l.Streams, s)
	}
	for range head.Entries {
		var j jsonEntry
		if err := line(&j, true); err != nil {
			return nil, sum, err
		}
		e := Entry{
			Stream: j.Stream, Dep: Range{j.At[0], j.At[1]}, Op: j.Op, Ref: Range{j.Ref[0], j.Ref[1]}, From: j.From,
			Carry: j.Carry, Piece: j.Piece, Spec: j.Spec, Place: j.Place, Path: j.Path, Rule: j.Rule, Note: j.Note, Limit: j.Limit, Bits: j.Bits,
		}
		ok := false
		for v, name := range verdictNames {
			if name == j.Verdict {
				e.Verdict, ok = Verdict(v), true
			}
		}
		if !ok {
			return nil, sum, invalid("line %d: unknown verdict %.40q", n, j.Verdict)
		}
		l.Entries = append(l.Entries, e)
	}
	for range head.Missing {
		var j jsonHole
		if err := line(&j, true); err != nil {
			return nil, sum, err
		}
		l.Missing = append(l.Missing, Hole{j.Stream, Range{j.Missing[0], j.Missing[1]}, j.Path})
	}
	var end jsonEnd
	if err := line(&end, true); err != nil {
		return nil, sum, err
	}
	l.Totals, l.FreeBits = end.Totals, end.FreeBits
	h.Sum(sum[:0])
	var last jsonSum
	if err := line(&last, false); err != nil {
		return nil, sum, err
	}
	if last.SHA256 != hex.EncodeToString(sum[:]) {
		return nil, sum, invalid("the ledger's digest does not fit its lines")
	}
	if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, sum, invalid("bytes after the end of the ledger")
	}
	return l, sum, nil
}

// Recheck replays a stored ledger with the kernel alone: the two images must be
// the ones it was made for, and every verdict, price, hole and total must come
// out as recorded. Errors that are the ledger's or the images' fault wrap
// ErrInvalid.
func Recheck(ctx context.Context, r io.Reader, ref, dep Image, t Tools) (*Ledger, error) {
	l, recorded, err := Decode(r)
	if err != nil {
		return nil, err
	}
	reference, deployed := l.Reference, l.Deployed
	if reference.Size != ref.Size || deployed.Size != dep.Size {
		return nil, invalid("it is about images of %d and %d bytes, these have %d and %d", reference.Size, deployed.Size, ref.Size, dep.Size)
	}
	paths := map[Hole]string{}
	for _, m := range l.Missing {
		paths[Hole{Stream: m.Stream, Ref: m.Ref}] = m.Path
	}
	replay := l.Check(ctx, ref, dep, t)
	switch {
	case replay != nil && !errors.Is(replay, ErrInvalid):
		return nil, replay
	case l.Reference != reference:
		return nil, invalid("the reference is another image")
	case l.Deployed != deployed:
		return nil, invalid("the deployed image is another")
	case replay != nil:
		return nil, replay
	}
	for i := range l.Missing {
		l.Missing[i].Path = paths[l.Missing[i]]
	}
	again, err := l.Encode(io.Discard)
	if err != nil {
		return nil, err
	}
	if again != recorded {
		return nil, invalid("the kernel comes to other verdicts, prices or totals than recorded")
	}
	return l, nil
}
