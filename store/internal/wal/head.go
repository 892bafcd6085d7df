package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// A segment file begins with a page of its own, so that no commit is written
// into a page that the head is in. All numbers big endian:
//
//	  0  magic "kspL"
//	  4  format version 3, flags (1: compacted), 2 bytes zero
//	  8  spool identity, 8 bytes
//	 16  number of the segment, 8 bytes
//	 24  generation, 8 bytes, random
//	 32  of a compacted segment: numbers of the first and the last commit that it
//	     had, 8 bytes each, and the checksum of the last one, 4 bytes
//	 52  CRC32C of bytes 0..51
//	512  the seal, once the segment has an index: magic "kspS", version 1, 3 bytes
//	     zero, generation, offset of the index and its length, 8 bytes each,
//	     CRC32C of these
//
// The commits follow at 4096. The seal is in a sector of its own. It stays when a
// segment that was closed is written to again: the next commit is written over
// the index, which then does not prove itself any more.
const (
	headMagic   = "kspL"
	headVersion = 3
	headBytes   = 4096
	headLen     = 56

	flagCompacted = 1

	sealMagic   = "kspS"
	sealVersion = 1
	sealAt      = 512
	sealLen     = 36
)

// head is what a segment's first page says.
type head struct {
	no, generation uint64
	compacted      bool
	first, last    uint64 // of a compacted segment
	chain          uint32
}

// put writes the head over p, a zeroed page.
func (h *head) put(p []byte, spool [8]byte) {
	copy(p, headMagic)
	p[4] = headVersion
	if h.compacted {
		p[5] = flagCompacted
	}
	copy(p[8:], spool[:])
	binary.BigEndian.PutUint64(p[16:], h.no)
	binary.BigEndian.PutUint64(p[24:], h.generation)
	binary.BigEndian.PutUint64(p[32:], h.first)
	binary.BigEndian.PutUint64(p[40:], h.last)
	binary.BigEndian.PutUint32(p[48:], h.chain)
	binary.BigEndian.PutUint32(p[52:], crc32.Checksum(p[:52], crcTable))
}

var (
	errHead    = errors.New("no head of a segment")
	errForeign = errors.New("segment of another spool")
)

// parseHead reads a head and proves it.
func parseHead(p []byte, spool [8]byte) (head, error) {
	if len(p) < headLen || string(p[:4]) != headMagic {
		return head{}, errHead
	}
	if binary.BigEndian.Uint32(p[52:]) != crc32.Checksum(p[:52], crcTable) {
		return head{}, errors.New("head checksum mismatch")
	}
	if p[4] != headVersion || p[5]&^flagCompacted != 0 {
		return head{}, fmt.Errorf("segment of unknown version %d, flags %d", p[4], p[5])
	}
	if !bytes.Equal(p[8:16], spool[:]) {
		return head{}, errForeign
	}
	h := head{
		no: binary.BigEndian.Uint64(p[16:]), generation: binary.BigEndian.Uint64(p[24:]), compacted: p[5]&flagCompacted != 0,
		first: binary.BigEndian.Uint64(p[32:]), last: binary.BigEndian.Uint64(p[40:]), chain: binary.BigEndian.Uint32(p[48:]),
	}
	if h.no == 0 || h.no > maxSegmentNo || h.first > h.last || h.last > maxCommitNo {
		return head{}, errors.New("head holds impossible numbers")
	}
	return h, nil
}

// seal leads to the index of a segment.
type seal struct{ off, len int64 }

func (s seal) put(p []byte, generation uint64) {
	copy(p, sealMagic)
	p[4], p[5], p[6], p[7] = sealVersion, 0, 0, 0
	binary.BigEndian.PutUint64(p[8:], generation)
	binary.BigEndian.PutUint64(p[16:], uint64(s.off))
	binary.BigEndian.PutUint64(p[24:], uint64(s.len))
	binary.BigEndian.PutUint32(p[32:], crc32.Checksum(p[:32], crcTable))
}

// parseSeal reads a seal of a file of so many bytes, false when there is none.
func parseSeal(p []byte, generation uint64, size int64) (seal, bool) {
	if len(p) < sealLen || string(p[:4]) != sealMagic || p[4] != sealVersion ||
		binary.BigEndian.Uint32(p[32:]) != crc32.Checksum(p[:32], crcTable) ||
		binary.BigEndian.Uint64(p[8:]) != generation {
		return seal{}, false
	}
	s := seal{int64(binary.BigEndian.Uint64(p[16:])), int64(binary.BigEndian.Uint64(p[24:]))}
	if s.off < headBytes || s.len < indexHeaderLen+4 || s.len > maxIndexBytes || s.off > size || s.len > size-s.off {
		return seal{}, false
	}
	return s, true
}

// File names: the number of the segment, eight digits or more, and what it is.
const (
	extLog      = ".log"   // a segment
	extRecycled = ".spare" // settled, to be written again
	extDrop     = ".drop"  // settled, to be given back to the volume
	extNew      = ".new"   // a compaction under way

	maxSegmentNo = 1<<48 - 1
	// maxLeap is how far behind the numbers that are known a segment may be: more
	// than are written in years. A name that is further is not one that was given
	// out, and leaves the numbers where they are.
	maxLeap = 1 << 40
)

func fileName(no uint64, ext string) string {
	var digits [20]byte
	d := strconv.AppendUint(digits[:0], no, 10)
	return "00000000"[min(len(d), 8):] + string(d) + ext
}

// parseName reads a name that fileName made.
func parseName(name string) (no uint64, ext string, ok bool) {
	dot := strings.IndexByte(name, '.')
	if dot < 0 {
		return 0, "", false
	}
	no, err := strconv.ParseUint(name[:dot], 10, 64)
	ext = name[dot:]
	switch ext {
	case extLog, extRecycled, extDrop, extNew:
	default:
		return 0, "", false
	}
	return no, ext, err == nil && no > 0 && no <= maxSegmentNo && name == fileName(no, ext)
}
