package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/s2"
)

// A frame, all numbers big endian:
//
//	 0  magic "kspF"
//	 4  version 2, codec (0: stored as is, 1: in an object, 2: S2), 2 bytes zero
//	 8  spool identity, 8 bytes
//	16  lane, 4 bytes
//	20  record count, 4 bytes
//	24  sequence number of the first record, 8 bytes
//	32  payload bytes of the lane before this frame, 8 bytes
//	40  payload bytes of this frame, 8 bytes
//	48  accept time, nanoseconds since 1970, 8 bytes
//	56  length of the body, 4 bytes
//	60  CRC32C of the body and then bytes 0..59, seeded by the generation of
//	    the segment, 4 bytes
//	64  body: for each record a uvarint length and its bytes; with codec 1 the
//	    object's id, 16 bytes, and the size of its file, 8 bytes; with codec 2
//	    an S2 block of what it would be with codec 0
//
// The magic and the identity let a frame be found where nothing leads to it. The
// seed keeps a frame from another use of the file's blocks from proving itself.
// The body is summed first, so that it can be while it grows.
const (
	frameMagic     = "kspF"
	frameVersion   = 2
	frameHeaderLen = 64
	refLen         = 24

	codecPlain  = 0
	codecObject = 1
	codecS2     = 2

	// maxFrameBody bounds a body, packed or not: one record and the rest of a frame.
	maxFrameBody = MaxRecordBytes + DefaultFrameBytes + binary.MaxVarintLen64
	// maxLaneBytes bounds the payload bytes of a lane.
	maxLaneBytes = 1<<62 - 1
	// maxRefRecords bounds what one object holds.
	maxRefRecords = 1 << 30
)

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// seedOf is where the checksums of a segment begin: both halves of its
// generation, one over the other.
func seedOf(generation uint64) uint32 { return uint32(generation ^ generation>>32) }

// frameHeader is what a frame says of itself.
type frameHeader struct {
	codec  byte
	lane   uint32
	count  uint32
	first  uint64
	before int64
	bytes  int64
	at     int64
	body   int
	sum    uint32
}

func (h *frameHeader) last() uint64 { return h.first + uint64(h.count) - 1 }

func (h *frameHeader) frame() Frame {
	return Frame{Lane: h.lane, First: h.first, Last: h.last(), Bytes: h.bytes, Before: h.before, At: h.at}
}

// put writes the header, with its sum, over the first bytes of p. bodySum is
// the sum of the body from the segment's seed on.
func (h *frameHeader) put(p []byte, spool [8]byte, bodySum uint32) {
	p = p[:frameHeaderLen]
	copy(p, frameMagic)
	p[4], p[5], p[6], p[7] = frameVersion, h.codec, 0, 0
	copy(p[8:], spool[:])
	binary.BigEndian.PutUint32(p[16:], h.lane)
	binary.BigEndian.PutUint32(p[20:], h.count)
	binary.BigEndian.PutUint64(p[24:], h.first)
	binary.BigEndian.PutUint64(p[32:], uint64(h.before))
	binary.BigEndian.PutUint64(p[40:], uint64(h.bytes))
	binary.BigEndian.PutUint64(p[48:], uint64(h.at))
	binary.BigEndian.PutUint32(p[56:], uint32(h.body))
	h.sum = crc32.Update(bodySum, crcTable, p[:60])
	binary.BigEndian.PutUint32(p[60:], h.sum)
}

var errFrame = errors.New("not a frame")

// parseHeader reads a header without its checksum. Everything it says is
// plausible when it returns nil, and nothing is proven.
func parseHeader(spool [8]byte, p []byte) (frameHeader, error) {
	if len(p) < frameHeaderLen || string(p[:4]) != frameMagic {
		return frameHeader{}, errFrame
	}
	if p[4] != frameVersion || p[5] > codecS2 || p[6] != 0 || p[7] != 0 {
		return frameHeader{}, fmt.Errorf("frame of unknown version %d, codec %d", p[4], p[5])
	}
	if !bytes.Equal(p[8:16], spool[:]) {
		return frameHeader{}, errors.New("frame of another spool")
	}
	body := binary.BigEndian.Uint32(p[56:])
	h := frameHeader{
		codec:  p[5],
		lane:   binary.BigEndian.Uint32(p[16:]),
		count:  binary.BigEndian.Uint32(p[20:]),
		first:  binary.BigEndian.Uint64(p[24:]),
		before: int64(binary.BigEndian.Uint64(p[32:])),
		bytes:  int64(binary.BigEndian.Uint64(p[40:])),
		at:     int64(binary.BigEndian.Uint64(p[48:])),
		sum:    binary.BigEndian.Uint32(p[60:]),
	}
	fits := body <= maxFrameBody
	switch h.codec {
	case codecPlain:
		fits = fits && h.count <= body && h.count <= MaxFrameRecords
	case codecObject:
		fits = body == refLen && h.count <= maxRefRecords
	case codecS2:
		fits = fits && h.count <= MaxFrameRecords
	}
	if !fits || h.count == 0 || h.lane == 0 || h.first == 0 || h.first > MaxSeq || h.last() > MaxSeq ||
		h.before < 0 || h.bytes < 0 || h.before > maxLaneBytes-h.bytes {
		return frameHeader{}, errors.New("frame header holds impossible numbers")
	}
	h.body = int(body)
	return h, nil
}

// parseFrame reads a whole frame and proves it. The body shares memory with
// p, unless it was compressed; it is nil for an object's.
func parseFrame(spool [8]byte, seed uint32, p []byte) (h frameHeader, body []byte, ref *Ref, err error) {
	if h, err = parseHeader(spool, p); err != nil {
		return h, nil, nil, err
	}
	if len(p) != frameHeaderLen+h.body {
		return h, nil, nil, fmt.Errorf("frame of %d bytes should have %d", len(p), frameHeaderLen+h.body)
	}
	body = p[frameHeaderLen:]
	if h.sum != crc32.Update(crc32.Update(seed, crcTable, body), crcTable, p[:60]) {
		return h, nil, nil, errors.New("frame checksum mismatch")
	}
	switch h.codec {
	case codecObject:
		ref = parseRef(&h, body)
		return h, nil, ref, nil
	case codecS2:
		body, err = h.expand(body)
	}
	return h, body, nil, err
}

func parseRef(h *frameHeader, body []byte) *Ref {
	r := &Ref{Size: int64(binary.BigEndian.Uint64(body[16:])), Records: h.count, Bytes: h.bytes}
	copy(r.Object[:], body)
	return r
}

func appendRef(p []byte, r *Ref) []byte {
	p = append(p, r.Object[:]...)
	return binary.BigEndian.AppendUint64(p, uint64(r.Size))
}

// compressFrom is the size of a body that is worth to be compressed.
const compressFrom = 256

// expand gives the plain body of a compressed one.
func (h *frameHeader) expand(packed []byte) ([]byte, error) {
	n, err := s2.DecodedLen(packed)
	if err != nil || n > maxFrameBody || n < int(h.count) {
		return nil, fmt.Errorf("compressed frame of impossible size (%d bytes, %v)", n, err)
	}
	body, err := s2.Decode(nil, packed)
	if err != nil {
		return nil, fmt.Errorf("compressed frame: %w", err)
	}
	return body, nil
}

// eachRecord calls fn for every record of a plain body until fn returns false.
// The data shares memory with body.
func (f *Frame) eachRecord(body []byte, fn func(seq uint64, data []byte) bool) error {
	for seq := f.First; seq <= f.Last; seq++ {
		n, w := binary.Uvarint(body)
		if w <= 0 || n > uint64(len(body)-w) {
			return fmt.Errorf("%w: record %d runs past the end of its frame", ErrDamaged, seq)
		}
		if !fn(seq, body[w:w+int(n):w+int(n)]) {
			return nil
		}
		body = body[w+int(n):]
	}
	if len(body) != 0 {
		return fmt.Errorf("%w: %d bytes left over after the frame at %d", ErrDamaged, len(body), f.First)
	}
	return nil
}
