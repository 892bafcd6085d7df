package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A commit is what one write makes durable. All numbers big endian:
//
//	 0  magic "kspC"
//	 4  version 1, 3 bytes zero
//	 8  generation of the segment, 8 bytes
//	16  number of the segment, 8 bytes
//	24  number of the commit, 8 bytes: one more than the one before, also across
//	    segments; in a compacted segment they begin at 1
//	32  accept time, nanoseconds since 1970, 8 bytes
//	40  length of the commit, 4 bytes
//	44  length of the extras, 4 bytes
//	48  number of frames, 4 bytes
//	52  checksum of the commit before, 4 bytes; 0 for the first of all
//	56  CRC32C of bytes 0..55, the headers of all frames and the extras, 4 bytes
//	60  the frames, then the extras
//
// Each frame's header holds the checksum of its body, so the payload is summed
// once, and a damaged payload leaves the commit proven.
//
// The extras are a sequence of: 1, a lane's definition (uvarint number and
// separator, uvarint length and bytes of its key); 2, keys (uvarint count,
// and for each lane, 4 bytes, sequence number, 8, hash, 16); 3, a position (uvarint
// length and bytes of its name, 1 and the same of its value, or 0 when it is
// removed); 4, a position that is kept (uvarint number of the commit it is of, and
// the same as in 3), or without a name and value that all positions of commits up to
// that one follow.
const (
	commitMagic     = "kspC"
	commitVersion   = 1
	commitHeaderLen = 60
	commitPrefixLen = 24 // what all commits of a segment begin with

	extraLane     = 1
	extraKeys     = 2
	extraPosition = 3
	extraKept     = 4
	keyLen        = 28

	// maxCommitBytes bounds a commit: one call of MaxCallBytes and what is stored
	// beside it, far below what an int of 32 bits holds.
	maxCommitBytes = 1 << 30
	// maxExtras and maxCommitFrames bound the memory that reading a commit takes.
	maxExtras       = 32 << 20
	maxCommitFrames = 1 << 20
	// maxCommitNo is the last number that a commit can have, so that none of a
	// file, whoever wrote it, leads beyond the end of all numbers.
	maxCommitNo = 1<<62 - 1
)

// commitHeader is what a commit says of itself.
type commitHeader struct {
	generation, segment uint64
	number              uint64
	at                  int64
	length, extras      int
	frames              int
	chain, sum          uint32
}

// put writes all but the sum, and returns the sum so far.
func (h *commitHeader) put(p []byte) uint32 {
	p = p[:commitHeaderLen]
	putCommitPrefix(p, h.generation, h.segment)
	binary.BigEndian.PutUint64(p[24:], h.number)
	binary.BigEndian.PutUint64(p[32:], uint64(h.at))
	binary.BigEndian.PutUint32(p[40:], uint32(h.length))
	binary.BigEndian.PutUint32(p[44:], uint32(h.extras))
	binary.BigEndian.PutUint32(p[48:], uint32(h.frames))
	binary.BigEndian.PutUint32(p[52:], h.chain)
	return crc32.Update(seedOf(h.generation), crcTable, p[:56])
}

func putCommitPrefix(p []byte, generation, segment uint64) {
	copy(p, commitMagic)
	p[4], p[5], p[6], p[7] = commitVersion, 0, 0, 0
	binary.BigEndian.PutUint64(p[8:], generation)
	binary.BigEndian.PutUint64(p[16:], segment)
}

var errCommit = errors.New("not a commit")

// parseCommit reads a header of which at most room bytes can follow. Everything
// it says is plausible when it returns nil, and nothing is proven.
func parseCommit(p []byte, room int64) (commitHeader, error) {
	if len(p) < commitHeaderLen || string(p[:4]) != commitMagic {
		return commitHeader{}, errCommit
	}
	if p[4] != commitVersion || p[5] != 0 || p[6] != 0 || p[7] != 0 {
		return commitHeader{}, fmt.Errorf("commit of unknown version %d", p[4])
	}
	length, extras, frames := binary.BigEndian.Uint32(p[40:]), binary.BigEndian.Uint32(p[44:]), binary.BigEndian.Uint32(p[48:])
	number := binary.BigEndian.Uint64(p[24:])
	if length > maxCommitBytes || int64(length) > room || extras > maxExtras || frames > maxCommitFrames || number == 0 || number > maxCommitNo ||
		commitHeaderLen+int64(frames)*frameHeaderLen+int64(extras) > int64(length) {
		return commitHeader{}, errors.New("commit header holds impossible numbers")
	}
	return commitHeader{
		generation: binary.BigEndian.Uint64(p[8:]), segment: binary.BigEndian.Uint64(p[16:]), number: number,
		at: int64(binary.BigEndian.Uint64(p[32:])), length: int(length), extras: int(extras), frames: int(frames),
		chain: binary.BigEndian.Uint32(p[52:]), sum: binary.BigEndian.Uint32(p[56:]),
	}, nil
}

func appendLane(p []byte, no uint32, separator int64, key string) []byte {
	p = binary.AppendUvarint(append(p, extraLane), uint64(no))
	p = binary.AppendUvarint(p, uint64(separator))
	p = binary.AppendUvarint(p, uint64(len(key)))
	return append(p, key...)
}

func appendKeys(p []byte, keys []KeyAt) []byte {
	if len(keys) == 0 {
		return p
	}
	p = binary.AppendUvarint(append(p, extraKeys), uint64(len(keys)))
	for i := range keys {
		k := &keys[i]
		p = binary.BigEndian.AppendUint32(p, k.Lane)
		p = binary.BigEndian.AppendUint64(p, k.Seq)
		p = append(p, k.Hash[:]...)
	}
	return p
}

func appendPosition(p []byte, pos *Position) []byte {
	if pos.Commit == 0 {
		p = append(p, extraPosition)
	} else {
		p = binary.AppendUvarint(append(p, extraKept), pos.Commit)
	}
	p = binary.AppendUvarint(p, uint64(len(pos.Name)))
	p = append(p, pos.Name...)
	if pos.Value == nil {
		return append(p, 0)
	}
	p = binary.AppendUvarint(append(p, 1), uint64(len(pos.Value)))
	return append(p, pos.Value...)
}

// extras is what a commit holds beside frames.
type extras struct {
	lanes     []Lane
	keys      []KeyAt
	positions []Position
}

var errExtras = errors.New("extras of a commit run past their end")

// parse adds what p, of commit number, holds. Nothing shares memory with p.
func (e *extras) parse(p []byte, number uint64, at int64) error {
	r := reader{p: p}
	for len(r.p) > 0 && !r.bad {
		switch kind := r.take(1)[0]; kind {
		case extraLane:
			l := Lane{No: uint32(r.number(1<<32 - 1)), Separator: int64(r.number(1 << 30))}
			l.Key = string(r.take(r.number(MaxKeyBytes)))
			if !r.bad {
				e.lanes = append(e.lanes, l)
			}
		case extraKeys:
			n := r.number(uint64(len(r.p) / keyLen))
			for k := r.take(n * keyLen); len(k) > 0 && !r.bad; k = k[keyLen:] {
				key := KeyAt{Lane: binary.BigEndian.Uint32(k), Seq: binary.BigEndian.Uint64(k[4:]), Hash: KeyHash(k[12:keyLen]), At: at}
				if key.Lane != 0 && key.Seq != 0 && key.Seq <= MaxSeq {
					e.keys = append(e.keys, key)
				}
			}
		case extraPosition, extraKept:
			pos := Position{Commit: number, in: number}
			if kind == extraKept {
				pos.Commit = r.number(1<<64 - 1)
			}
			pos.Name = string(r.take(r.number(MaxNameBytes)))
			if r.take(1)[0] != 0 {
				pos.Value = append([]byte{}, r.take(r.number(MaxPositionBytes))...)
			}
			if !r.bad {
				e.positions = append(e.positions, pos)
			}
		default:
			return fmt.Errorf("extras of unknown kind %d", kind)
		}
	}
	if r.bad {
		return errExtras
	}
	return nil
}

// reader takes a sequence of bytes apart. After the first thing that does not
// fit it is bad, and gives zeros.
type reader struct {
	p   []byte
	bad bool
}

// number reads a uvarint of at most limit.
func (r *reader) number(limit uint64) uint64 {
	v, w := binary.Uvarint(r.p)
	if w <= 0 || v > limit {
		r.bad, r.p = true, nil
		return 0
	}
	r.p = r.p[w:]
	return v
}

// take reads n bytes; at least one is there to be looked at.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.p)) {
		r.bad, r.p = true, nil
		return []byte{0}
	}
	p := r.p[:n:n]
	r.p = r.p[n:]
	return p
}
