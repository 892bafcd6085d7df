package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"

	"kustospool/ingest"
)

// An object file is a row of chunks, each proven by itself, so that no byte
// leaves unproven and damage costs about a megabyte and not a file. All
// numbers are big endian:
//
//	 0  magic "kspO"
//	 4  version 1, flags, 2 bytes zero
//	 8  spool identity, 8 bytes
//	16  the object's id, 16 bytes
//	32  records of the object before this chunk, 8 bytes
//	40  payload bytes of the object before this chunk, 8 bytes
//	48  records that end in this chunk, 4 bytes
//	52  payload bytes of this chunk, 4 bytes
//	56  length of the body, 4 bytes
//	60  CRC32C of bytes 0..59 and of the body, 4 bytes
//	64  body: as a frame's; with flag 1 a piece of one record as it is, which
//	    goes on in the next chunk where flag 2 is set
const (
	chunkMagic     = "kspO"
	chunkVersion   = 1
	chunkHeaderLen = 64

	chunkPart byte = 1
	chunkMore byte = 2

	// chunkBytes is about the size of a chunk; a larger record is one by itself.
	chunkBytes = 1 << 20
)

// objectID names an object's file; random.
type objectID [16]byte

func (id objectID) fileName() string { return hex.EncodeToString(id[:]) + objectSuffix }

// objectOf reads an object's id from its file name.
func objectOf(name string) (id objectID, ok bool) {
	if len(name) != 2*len(id)+len(objectSuffix) || name[2*len(id):] != objectSuffix {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(name[:2*len(id)]))
	return id, err == nil && id.fileName() == name
}

// chunkHeader is what a chunk says of itself.
type chunkHeader struct {
	flags  byte
	first  uint64 // records before it
	before int64  // payload bytes before it
	count  uint32
	bytes  uint32
	body   int
}

// last is the highest record, counted from 0, that has bytes in the chunk.
func (h *chunkHeader) last() uint64 {
	if h.flags&chunkPart != 0 {
		return h.first
	}
	return h.first + uint64(h.count) - 1
}

// putChunkHeader writes the header of a chunk whose body stands behind it.
func putChunkHeader(p []byte, spool ingest.SpoolID, id objectID, h *chunkHeader) {
	clear(p[:chunkHeaderLen])
	copy(p, chunkMagic)
	p[4], p[5] = chunkVersion, h.flags
	copy(p[8:], spool[:])
	copy(p[16:], id[:])
	binary.BigEndian.PutUint64(p[32:], h.first)
	binary.BigEndian.PutUint64(p[40:], uint64(h.before))
	binary.BigEndian.PutUint32(p[48:], h.count)
	binary.BigEndian.PutUint32(p[52:], h.bytes)
	binary.BigEndian.PutUint32(p[56:], uint32(len(p)-chunkHeaderLen))
	binary.BigEndian.PutUint32(p[60:], chunkSum(p[:chunkHeaderLen], p[chunkHeaderLen:]))
}

func chunkSum(header, body []byte) uint32 {
	return crc32.Update(crc32.Update(0, crcTable, header[:60]), crcTable, body)
}

var errChunk = errors.New("not a chunk of this object")

// parseChunkHeader reads a header without its checksum: plausible, not proven.
func parseChunkHeader(spool ingest.SpoolID, id objectID, p []byte) (chunkHeader, error) {
	if len(p) < chunkHeaderLen || string(p[:4]) != chunkMagic || !bytes.Equal(p[8:16], spool[:]) || !bytes.Equal(p[16:32], id[:]) {
		return chunkHeader{}, errChunk
	}
	if p[4] != chunkVersion {
		return chunkHeader{}, fmt.Errorf("chunk of unknown version %d", p[4])
	}
	body := binary.BigEndian.Uint32(p[56:])
	h := chunkHeader{
		flags:  p[5],
		first:  binary.BigEndian.Uint64(p[32:]),
		before: int64(binary.BigEndian.Uint64(p[40:])),
		count:  binary.BigEndian.Uint32(p[48:]),
		bytes:  binary.BigEndian.Uint32(p[52:]),
	}
	ok := body > 0 && body <= maxFrameBody && h.before >= 0 && h.first < maxObjectRecords && h.bytes <= body
	switch h.flags {
	case 0:
		ok = ok && h.count > 0 && h.count <= body
	case chunkPart:
		ok = ok && h.count == 1 && h.bytes == body
	case chunkPart | chunkMore:
		ok = ok && h.count == 0 && h.bytes == body
	default:
		ok = false
	}
	if !ok {
		return chunkHeader{}, errors.New("chunk header holds impossible numbers")
	}
	h.body = int(body)
	return h, nil
}

// proveChunk checks a body against its header as it was read.
func proveChunk(header, body []byte) error {
	if binary.BigEndian.Uint32(header[60:]) != chunkSum(header, body) {
		return errors.New("chunk checksum mismatch")
	}
	return nil
}

// eachRecord calls fn for every record of a chunk of whole records, numbered
// within the object, until fn returns false.
func (h *chunkHeader) eachRecord(body []byte, fn func(n uint64, data []byte) bool) error {
	f := frameHeader{first: h.first, count: h.count}
	return f.eachRecord(body, fn)
}

// objectRef is the body of a frame of codec 1: the file that has the records.
type objectRef struct {
	id   objectID
	size int64 // of the file
}

const objectRefLen = 16 + 8

func (r objectRef) append(p []byte) []byte {
	return binary.BigEndian.AppendUint64(append(p, r.id[:]...), uint64(r.size))
}

// objectRef reads the reference in the body of a proven frame.
func (h *frameHeader) objectRef(body []byte) (r objectRef, err error) {
	if h.codec != codecObject || len(body) != objectRefLen {
		return r, errors.New("the frame holds no reference to an object")
	}
	copy(r.id[:], body)
	r.size = int64(binary.BigEndian.Uint64(body[16:]))
	if r.size < h.bytes {
		return r, errors.New("the reference to an object holds impossible numbers")
	}
	return r, nil
}
