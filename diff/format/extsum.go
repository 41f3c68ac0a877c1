package format

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strings"

	"github.com/assaylab/assay/diff/internal/ext"
	"github.com/assaylab/assay/diff/ledger"
)

// The checksums of ext: CRC-32C from all ones without a final inversion, whole or one
// of its halves, and CRC-16 in the same manner. Those of metadata start with the UUID or,
// with metadata_csum_seed, from a seed that the superblock holds.
const (
	sumWhole = "crc32c-raw"
	sumLow   = "crc32c-raw-lo16"
	sumHigh  = "crc32c-raw-hi16"
	sum16    = "crc16-raw"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum describes the checksum at r, if that is what stands there.
func (p *extLayout) sum(alg string, r ledger.Range, enc ledger.Enc, blank []ledger.Range, over ...ledger.Span) *ledger.Spec {
	field := p.bytes(r.Off, r.Len)
	if field == nil {
		return nil
	}
	var crc uint32
	seeded := false
	crc16 := uint16(0xffff)
	for _, o := range over {
		var b []byte
		switch {
		case o.Lit != "":
			b, _ = hex.DecodeString(o.Lit)
		case o == p.start:
			b = bytes.Clone(p.begin)
		default:
			b = p.bytes(o.Off, o.Len)
		}
		if b == nil {
			return nil
		}
		for _, c := range blank {
			if o.Lit == "" && o.Contains(c) {
				clear(b[c.Off-o.Off : c.End()-o.Off])
			}
		}
		if o == p.start && len(b) == 4 {
			crc, seeded = ^binary.LittleEndian.Uint32(b), true
			continue
		}
		if alg == sum16 {
			crc16 = updateCRC16(crc16, b)
		} else {
			crc = crc32.Update(crc, castagnoli, b)
		}
	}
	crc = ^crc
	var want []byte
	switch {
	case alg == sum16 && seeded:
		return nil // no such sum
	case alg == sum16:
		want = binary.LittleEndian.AppendUint16(nil, crc16)
	case alg == sumLow:
		want = binary.LittleEndian.AppendUint16(nil, uint16(crc))
	case alg == sumHigh:
		want = binary.LittleEndian.AppendUint16(nil, uint16(crc>>16))
	case enc == "u32be":
		want = binary.BigEndian.AppendUint32(nil, crc)
	default:
		want = binary.LittleEndian.AppendUint32(nil, crc)
	}
	if !bytes.Equal(field, want) {
		return nil
	}
	if seeded {
		alg = strings.Replace(alg, "-raw", "-seed", 1)
	}
	return &ledger.Spec{Op: ledger.OpSum, Alg: alg, Enc: enc, Over: over, Blank: blank}
}

// updateCRC16 is lib/crc16.c: polynomial 0x8005, bits reversed.
func updateCRC16(crc uint16, b []byte) uint16 {
	for _, c := range b {
		crc ^= uint16(c)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xa001
			} else {
				crc >>= 1
			}
		}
	}
	return crc
}

// seeded returns spans with what the checksums of an inode's blocks start with: the
// UUID or the seed, its number and its generation.
func (p *extLayout) seeded(n *ext.Inode, spans ...ledger.Span) []ledger.Span {
	num := ledger.Literal(binary.LittleEndian.AppendUint32(nil, n.Num))
	return append([]ledger.Span{p.start, num, span(n.Off+100, 4)}, spans...)
}
