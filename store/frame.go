package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/klauspost/compress/s2"

	"kustospool/ingest"
)

// A frame's value, all numbers big endian:
//
//	 0  magic "kspF"
//	 4  version 1, codec (0: stored as is, 1: in an object, 2: S2), 2 bytes zero
//	 8  spool identity, 8 bytes
//	16  lane, 4 bytes
//	20  record count, 4 bytes
//	24  sequence number of the first record, 8 bytes
//	32  payload bytes of the lane before this frame, 8 bytes
//	40  payload bytes of this frame, 8 bytes
//	48  accept time, nanoseconds since 1970, 8 bytes
//	56  length of the body, 4 bytes
//	60  CRC32C of bytes 0..59 and of the body, 4 bytes
//	64  body: for each record a uvarint length and its bytes; with codec 1 the
//	    object's id, 16 bytes, and the size of its file, 8 bytes; with codec 2
//	    an S2 block of what it would be with codec 0
//
// The identity and the magic let a frame be found in a file whose pages no
// longer lead to it; see salvage.go.
const (
	frameMagic     = "kspF"
	frameVersion   = 1
	codecPlain     = 0
	codecObject    = 1
	codecS2        = 2
	frameHeaderLen = 64

	// DefaultFrameBytes is the default, and the largest, FrameLimit.Bytes.
	DefaultFrameBytes = 1 << 20

	maxFrameRecords = 1 << 16
	maxFrameBody    = ingest.MaxRecordBytes + DefaultFrameBytes + binary.MaxVarintLen64
)

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// frameHeader is what a frame says of itself.
type frameHeader struct {
	codec  byte
	lane   uint32
	count  uint32
	first  uint64
	before int64 // payload bytes of the lane before it
	bytes  int64
	at     int64
	body   int
}

func (h *frameHeader) last() uint64 { return h.first + uint64(h.count) - 1 }

func (h *frameHeader) frame() Frame {
	return Frame{Lane: h.lane, First: h.first, Last: h.last(), Bytes: h.bytes, At: time.Unix(0, h.at).UTC()}
}

// frameBuilder packs records of one lane into a frame.
type frameBuilder struct {
	buf []byte
	h   frameHeader
}

// start begins a frame in buf, whose contents are overwritten.
func (b *frameBuilder) start(buf []byte, lane uint32, first uint64, before int64) {
	var zero [frameHeaderLen]byte
	b.buf = append(buf[:0], zero[:]...)
	b.h = frameHeader{lane: lane, first: first, before: before}
}

// add packs one record; separator is what it adds to a payload beside itself.
func (b *frameBuilder) add(data []byte, separator int64) {
	b.buf = binary.AppendUvarint(b.buf, uint64(len(data)))
	b.buf = append(b.buf, data...)
	b.h.count++
	b.h.bytes += int64(len(data)) + separator
}

// room reports whether a record of n bytes still fits.
func (b *frameBuilder) room(n int, lim FrameLimit) bool {
	return int64(b.h.count) < lim.Records && int64(len(b.buf)-frameHeaderLen+binary.MaxVarintLen32+n) <= lim.Bytes
}

// finish writes the header. The result is valid until the next start.
func (b *frameBuilder) finish(spool ingest.SpoolID, at int64) []byte {
	b.h.at = at
	b.h.body = len(b.buf) - frameHeaderLen
	p := b.buf
	copy(p, frameMagic)
	p[4], p[5] = frameVersion, b.h.codec
	copy(p[8:], spool[:])
	binary.BigEndian.PutUint32(p[16:], b.h.lane)
	binary.BigEndian.PutUint32(p[20:], b.h.count)
	binary.BigEndian.PutUint64(p[24:], b.h.first)
	binary.BigEndian.PutUint64(p[32:], uint64(b.h.before))
	binary.BigEndian.PutUint64(p[40:], uint64(b.h.bytes))
	binary.BigEndian.PutUint64(p[48:], uint64(at))
	binary.BigEndian.PutUint32(p[56:], uint32(b.h.body))
	binary.BigEndian.PutUint32(p[60:], frameSum(p))
	return p
}

// frameSum is the checksum of header and body together.
func frameSum(p []byte) uint32 {
	return crc32.Update(crc32.Update(0, crcTable, p[:60]), crcTable, p[frameHeaderLen:])
}

var errFrame = errors.New("not a frame")

// parseHeader reads a header without its checksum. Everything it says is
// plausible when it returns nil, and nothing is proven.
func parseHeader(spool ingest.SpoolID, p []byte) (frameHeader, error) {
	if len(p) < frameHeaderLen || string(p[:4]) != frameMagic {
		return frameHeader{}, errFrame
	}
	if p[4] != frameVersion || p[5] > codecS2 {
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
	}
	// Payload bytes are at most the body's: what a record's length takes there
	// is at least its separator.
	fits := body <= maxFrameBody && h.count <= maxFrameRecords
	switch h.codec {
	case codecPlain:
		fits = fits && h.count <= body && h.bytes <= int64(body)
	case codecObject:
		fits = body == objectRefLen && h.count <= maxObjectRecords
	case codecS2:
		fits = fits && h.bytes <= maxFrameBody
	}
	if !fits || h.count == 0 || h.lane == 0 || h.first == 0 || h.first+uint64(h.count) < h.first || h.before < 0 || h.bytes < 0 {
		return frameHeader{}, errors.New("frame header holds impossible numbers")
	}
	h.body = int(body)
	return h, nil
}

// parseFrame reads a whole frame and proves it by its checksum. The body
// shares memory with p, unless it was compressed.
func parseFrame(spool ingest.SpoolID, p []byte) (frameHeader, []byte, error) {
	h, err := parseHeader(spool, p)
	if err != nil {
		return h, nil, err
	}
	if len(p) != frameHeaderLen+h.body {
		return h, nil, fmt.Errorf("frame of %d bytes should have %d", len(p), frameHeaderLen+h.body)
	}
	if sum := binary.BigEndian.Uint32(p[60:]); sum != frameSum(p) {
		return h, nil, errors.New("frame checksum mismatch")
	}
	if h.codec == codecS2 {
		body, err := h.expand(p[frameHeaderLen:])
		return h, body, err
	}
	return h, p[frameHeaderLen:], nil
}

// compressFrom is the size of a body that is worth to be compressed.
const compressFrom = 256

// compress makes the frame under way one of codec S2, if that makes it smaller.
// into is a buffer that may be used for it; one of the two comes back as the
// frame, and the other, if there is one, as free to be used again.
func (b *frameBuilder) compress(into []byte) (frame, free []byte) {
	body := b.buf[frameHeaderLen:]
	if len(body) < compressFrom {
		return b.buf, into
	}
	if need := frameHeaderLen + s2.MaxEncodedLen(len(body)); cap(into) < need {
		into = make([]byte, need)
	}
	into = into[:cap(into)]
	clear(into[:frameHeaderLen])
	packed := s2.Encode(into[frameHeaderLen:], body)
	if len(packed) >= len(body) {
		return b.buf, into
	}
	b.h.codec = codecS2
	return into[:frameHeaderLen+len(packed)], b.buf
}

// expand gives the plain body of a compressed one.
func (h *frameHeader) expand(packed []byte) ([]byte, error) {
	n, err := s2.DecodedLen(packed)
	if err != nil || n > maxFrameBody || int64(n) < h.bytes || n < int(h.count) {
		return nil, fmt.Errorf("compressed frame of impossible size (%d bytes, %v)", n, err)
	}
	body, err := s2.Decode(nil, packed)
	if err != nil {
		return nil, fmt.Errorf("compressed frame: %w", err)
	}
	return body, nil
}

// eachRecord calls fn for every record of a body until fn returns false. The
// data shares memory with body.
func (h *frameHeader) eachRecord(body []byte, fn func(seq uint64, data []byte) bool) error {
	for i := uint64(0); i < uint64(h.count); i++ {
		n, w := binary.Uvarint(body)
		if w <= 0 || n > uint64(len(body)-w) {
			return fmt.Errorf("record %d of the frame at %d runs past its end", i, h.first)
		}
		if !fn(h.first+i, body[w:w+int(n)]) {
			return nil
		}
		body = body[w+int(n):]
	}
	if len(body) != 0 {
		return fmt.Errorf("%d bytes left over after the frame at %d", len(body), h.first)
	}
	return nil
}
