package store

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"kustospool/ingest"
)

var fuzzSpool = ingest.SpoolID{1, 2, 3}

func fuzzFrame() []byte {
	var b frameBuilder
	b.start(nil, 7, 42, 1000)
	for _, r := range []string{"a", "bb", "", "cccc"} {
		b.add([]byte(r), 1)
	}
	return b.finish(fuzzSpool, 123)
}

// fuzzPackedFrame is a frame that was compressed.
func fuzzPackedFrame() []byte {
	var b frameBuilder
	b.start(nil, 3, 7, 100)
	for range 20 {
		b.add([]byte(strings.Repeat("the same ", 9)), 1)
	}
	b.buf, _ = b.compress(nil)
	return b.finish(fuzzSpool, 12345)
}

// FuzzFrame: no input may be read past its end, or be taken for a frame
// unless it proves itself.
func FuzzFrame(f *testing.F) {
	f.Add(fuzzFrame())
	f.Add(fuzzPackedFrame())
	f.Add([]byte(frameMagic))
	f.Fuzz(func(t *testing.T, p []byte) {
		// Magic, identity and checksum are made right, so that what is behind
		// them is reached.
		if len(p) >= frameHeaderLen {
			p = bytes.Clone(p)
			copy(p, frameMagic)
			copy(p[8:], fuzzSpool[:])
			binary.BigEndian.PutUint32(p[60:], frameSum(p))
		}
		h, body, err := parseFrame(fuzzSpool, p)
		if err != nil {
			return
		}
		var again frameBuilder
		again.start(nil, h.lane, h.first, h.before)
		n := uint32(0)
		if err := h.eachRecord(body, func(seq uint64, data []byte) bool {
			if seq != h.first+uint64(n) {
				t.Fatalf("record %d has number %d", n, seq)
			}
			n++
			again.add(data, 0)
			return true
		}); err != nil {
			return
		}
		again.h.bytes = h.bytes
		// A length may be written longer than it needs; else the bytes are the same.
		if whole := again.finish(fuzzSpool, h.at); n != h.count || len(whole) == len(p) && !bytes.Equal(whole[8:60], p[8:60]) {
			t.Fatalf("%d records of %d; header %+v", n, h.count, h)
		}
	})
}

// TestFrameBitFlips: a frame with any one bit changed is not taken for one.
func TestFrameBitFlips(t *testing.T) {
	for _, p := range [][]byte{fuzzFrame(), fuzzPackedFrame()} {
		if _, _, err := parseFrame(fuzzSpool, p); err != nil {
			t.Fatal(err)
		}
		for i := range p {
			for bit := range 8 {
				p[i] ^= 1 << bit
				if _, _, err := parseFrame(fuzzSpool, p); err == nil && i != 6 && i != 7 {
					t.Errorf("bit %d of byte %d changed, and nobody noticed", bit, i)
				}
				p[i] ^= 1 << bit
			}
		}
	}
}

// FuzzRow: a ledger row is read without panic, and what is read is possible.
func FuzzRow(f *testing.F) {
	e := &Entry{Batch: ingest.Batch{Lane: 3, First: 5, Last: 9, RawBytes: 100, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested}, State: ingest.Sending}
	f.Add(rowKey(3, 5), pack(rowOf(e))[4:])
	props := func(lane uint32) (ingest.Properties, bool) {
		return ingest.Properties{Database: "d", Table: "t", Format: ingest.JSON}, lane == 3
	}
	f.Fuzz(func(t *testing.T, key, body []byte) {
		// The checksum is made right, so that what is behind it is reached.
		value := append(u32(crcOf(body)), body...)
		e, err := decodeRow(fuzzSpool, key, value, props)
		if err != nil {
			return
		}
		if e.Batch.Last < e.Batch.First || e.Batch.Records() < 1 || !e.State.Valid() {
			t.Fatalf("%+v", e)
		}
		again, err := decodeRow(fuzzSpool, key, pack(rowOf(e)), props)
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Fatalf("%+v, then %+v, %v", e, again, err)
		}
		value[0] ^= 1
		if _, err := decodeRow(fuzzSpool, key, value, props); err == nil {
			t.Fatal("a wrong checksum went unnoticed")
		}
	})
}

func fuzzChunk() []byte {
	p := append(make([]byte, chunkHeaderLen), "\x01a\x02bb"...)
	putChunkHeader(p, fuzzSpool, objectID{9}, &chunkHeader{first: 3, before: 30, count: 2, bytes: 5})
	return p
}

// FuzzChunk: no input is read past its end, or taken for a chunk unless it
// proves itself.
func FuzzChunk(f *testing.F) {
	f.Add(fuzzChunk())
	f.Add([]byte(chunkMagic))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) < chunkHeaderLen {
			return
		}
		p = bytes.Clone(p)
		copy(p, fuzzChunk()[:5])
		copy(p[8:], fuzzChunk()[8:32])
		binary.BigEndian.PutUint32(p[60:], chunkSum(p, p[chunkHeaderLen:]))
		h, err := parseChunkHeader(fuzzSpool, objectID{9}, p)
		if err != nil || len(p) != chunkHeaderLen+h.body {
			return
		}
		if err := proveChunk(p, p[chunkHeaderLen:]); err != nil {
			t.Fatal(err)
		}
		if h.flags != 0 {
			return
		}
		n := uint64(0)
		if err := h.eachRecord(p[chunkHeaderLen:], func(seq uint64, _ []byte) bool {
			if seq != h.first+n {
				t.Fatalf("record %d has number %d", n, seq)
			}
			n++
			return true
		}); err == nil && n != uint64(h.count) {
			t.Fatalf("%d records of %d", n, h.count)
		}
	})
}

// TestChunkBitFlips: a chunk with any one bit changed is not taken for one.
func TestChunkBitFlips(t *testing.T) {
	p := fuzzChunk()
	for i := range p {
		for bit := range 8 {
			p[i] ^= 1 << bit
			_, err := parseChunkHeader(fuzzSpool, objectID{9}, p)
			if err == nil {
				err = proveChunk(p, p[chunkHeaderLen:])
			}
			if err == nil {
				t.Errorf("bit %d of byte %d changed, and nobody noticed", bit, i)
			}
			p[i] ^= 1 << bit
		}
	}
	if _, err := parseChunkHeader(fuzzSpool, objectID{9}, p); err != nil {
		t.Error(err)
	}
}
