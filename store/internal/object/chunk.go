package object

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
)

// An object file is a row of chunks, each proven by itself, so that damage
// costs about a megabyte and not a file. All numbers are big endian:
//
//	 0  magic "kspO"
//	 4  version 2, flags, 2 bytes zero
//	 8  spool identity, 8 bytes
//	16  the object's id, 16 bytes
//	32  records of the object before this chunk, 8 bytes
//	40  payload bytes of the object before this chunk, 8 bytes
//	48  records that end in this chunk, 4 bytes
//	52  payload bytes of this chunk, separators included, 4 bytes
//	56  length of the body, 4 bytes
//	60  CRC32C of bytes 0..59 and of the body, 4 bytes
//	64  body: for each record a uvarint length and its bytes; with flag 1 a
//	    piece of one record as it is, which goes on in the next chunk where
//	    flag 2 is set
const (
	chunkMagic     = "kspO"
	chunkVersion   = 2
	chunkHeaderLen = 64

	chunkPart byte = 1
	chunkMore byte = 2

	// ChunkBytes is about the size of a chunk's body. A record that is larger
	// is divided.
	ChunkBytes = 1 << 20
	maxBody    = ChunkBytes + binary.MaxVarintLen32

	// MaxRecords bounds the records of one object, so that the numbers of a
	// lane cannot run away within one segment of the log.
	MaxRecords = 1 << 24
)

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// ID names an object's file; random.
type ID [16]byte

const (
	suffix     = ".obj"
	tempSuffix = ".tmp"
)

// FileName is the name of the object's file in its directory.
func (id ID) FileName() string { return hex.EncodeToString(id[:]) + suffix }

// String is the id in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// parseName reads an object's id from its file name.
func parseName(name string) (id ID, ok bool) {
	if len(name) != 2*len(id)+len(suffix) || name[2*len(id):] != suffix {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(name[:2*len(id)]))
	return id, err == nil && id.FileName() == name
}

// header is what a chunk says of itself.
type header struct {
	flags  byte
	first  uint64 // records before it
	before int64  // payload bytes before it
	count  uint32
	bytes  uint32
	body   int
}

// last is the highest record, counted from 0, that has bytes in the chunk.
func (h *header) last() uint64 {
	if h.flags&chunkPart != 0 {
		return h.first
	}
	return h.first + uint64(h.count) - 1
}

// put writes the header of a chunk whose body stands behind it in p.
func (h *header) put(p []byte, spool [8]byte, id ID) {
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

func chunkSum(head, body []byte) uint32 {
	return crc32.Update(crc32.Update(0, crcTable, head[:60]), crcTable, body)
}

var errChunk = errors.New("not a chunk of this object")

// parseHeader reads a header without its checksum: plausible, not proven.
func parseHeader(spool [8]byte, id ID, p []byte) (header, error) {
	if len(p) < chunkHeaderLen || string(p[:4]) != chunkMagic || !bytes.Equal(p[8:16], spool[:]) || !bytes.Equal(p[16:32], id[:]) {
		return header{}, errChunk
	}
	if p[4] != chunkVersion || p[6] != 0 || p[7] != 0 {
		return header{}, fmt.Errorf("chunk of unknown version %d", p[4])
	}
	body := binary.BigEndian.Uint32(p[56:])
	h := header{
		flags:  p[5],
		first:  binary.BigEndian.Uint64(p[32:]),
		before: int64(binary.BigEndian.Uint64(p[40:])),
		count:  binary.BigEndian.Uint32(p[48:]),
		bytes:  binary.BigEndian.Uint32(p[52:]),
	}
	ok := body > 0 && body <= maxBody && h.before >= 0 && h.first < MaxRecords
	switch h.flags {
	case 0:
		// What a record's length takes is at least its separator.
		ok = ok && h.count > 0 && h.count <= body && h.bytes <= body
	case chunkPart:
		ok = ok && h.count == 1 && (h.bytes == body || h.bytes == body+1)
	case chunkPart | chunkMore:
		ok = ok && h.count == 0 && h.bytes == body
	default:
		ok = false
	}
	if !ok {
		return header{}, errors.New("chunk header holds impossible numbers")
	}
	h.body = int(body)
	return h, nil
}

// prove checks a body against its header as it was read.
func prove(head, body []byte) error {
	if binary.BigEndian.Uint32(head[60:]) != chunkSum(head, body) {
		return errors.New("chunk checksum mismatch")
	}
	return nil
}

// each calls fn for every record of a chunk of whole records, numbered within
// the object, until fn returns false.
func (h *header) each(body []byte, fn func(n uint64, data []byte) bool) error {
	for i := uint64(0); i < uint64(h.count); i++ {
		n, w := binary.Uvarint(body)
		if w <= 0 || n > uint64(len(body)-w) {
			return fmt.Errorf("record %d of the object runs past its chunk", h.first+i)
		}
		if !fn(h.first+i, body[w:w+int(n)]) {
			return nil
		}
		body = body[w+int(n):]
	}
	if len(body) != 0 {
		return fmt.Errorf("%d bytes left over in a chunk", len(body))
	}
	return nil
}
