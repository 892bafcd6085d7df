package upload

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
)

// Blocks are numbered from 0 and cut in sizes that are powers of two, but for
// the last one. A history says which of them storage has acknowledged, as far
// as they are the first ones without a gap: the sizes as runs, and a hash over
// all of their hashes. So it takes a few hundred bytes of a Journal, whatever
// the batch's size.

// The bounds of a block's size, as powers of two: of what a history may say.
// What an upload chooses is narrower (pace).
const (
	leastExponent = 10
	mostExponent  = 22
)

// maxBlocks is how many blocks a blob has at most, by the rules of storage.
const maxBlocks = 50_000

// maxRuns bounds a history. Short of it, a size only ever gets smaller
// (shrinkRuns), which it can do few times.
const (
	maxRuns    = 64
	shrinkRuns = maxRuns - (mostExponent - leastExponent) - 2
)

// run is a number of blocks of one size.
type run struct{ exponent, count int }

// digest is a hash over blocks.
type digest [16]byte

// after is the digest of one more block.
func (d digest) after(sum [sha256.Size]byte) digest {
	h := sha256.New()
	h.Write(d[:])
	h.Write(sum[:])
	return digest(h.Sum(nil)[:len(d)])
}

// history is what storage has acknowledged of one blob.
type history struct {
	runs    []run
	digest  digest
	attempt int // the one in which the last block was acknowledged
}

// blocks is how many blocks there are.
func (h *history) blocks() (n int) {
	for _, r := range h.runs {
		n += r.count
	}
	return n
}

// bytes is how many bytes they have.
func (h *history) bytes() (n int64) {
	for _, r := range h.runs {
		n += int64(r.count) << r.exponent
	}
	return n
}

// size is the n-th block's size; 0 behind the last.
func (h *history) size(n int) int {
	for _, r := range h.runs {
		if n < r.count {
			return 1 << r.exponent
		}
		n -= r.count
	}
	return 0
}

// add appends the next block, whose size is a power of two.
func (h *history) add(exponent int, d digest, attempt int) {
	if last := len(h.runs) - 1; last >= 0 && h.runs[last].exponent == exponent {
		h.runs[last].count++
	} else {
		h.runs = append(h.runs, run{exponent, 1})
	}
	h.digest, h.attempt = d, attempt
}

// String is the text form: attempt, runs, digest. Empty for no blocks.
func (h *history) String() string {
	if len(h.runs) == 0 {
		return ""
	}
	b := strconv.AppendInt(nil, int64(h.attempt), 10)
	for i, r := range h.runs {
		sep := byte(',')
		if i == 0 {
			sep = ':'
		}
		b = append(b, sep)
		b = strconv.AppendInt(b, int64(r.exponent), 10)
		b = append(b, 'x')
		b = strconv.AppendInt(b, int64(r.count), 10)
	}
	return string(b) + ":" + hex.EncodeToString(h.digest[:])
}

// parseHistory reads what String wrote. What it cannot read is no history: the
// blob is then uploaded from its first byte.
func parseHistory(s string) history {
	var h history
	parts := strings.Split(s, ":")
	if len(s) > 1024 || len(parts) != 3 {
		return history{}
	}
	sum, err := hex.DecodeString(parts[2])
	if err != nil || len(sum) != len(h.digest) {
		return history{}
	}
	copy(h.digest[:], sum)
	if h.attempt, err = strconv.Atoi(parts[0]); err != nil || h.attempt < 1 {
		return history{}
	}
	for text := range strings.SplitSeq(parts[1], ",") {
		e, n, _ := strings.Cut(text, "x")
		exponent, err1 := strconv.Atoi(e)
		count, err2 := strconv.Atoi(n)
		if err1 != nil || err2 != nil || exponent < leastExponent || exponent > mostExponent || count < 1 || count > maxBlocks ||
			len(h.runs) == maxRuns || len(h.runs) > 0 && h.runs[len(h.runs)-1].exponent == exponent {
			return history{}
		}
		h.runs = append(h.runs, run{exponent, count})
	}
	if h.blocks() > maxBlocks {
		return history{}
	}
	return h
}

// blockID names a block by its number and a hash of its bytes: storage then
// never has another block under the name than the one that is meant, even if
// a journal or a compressor is not what it was. All ids of a blob must have one
// length, 64 bytes at most; these have the length of the Azure SDK's own, so
// that blocks which an earlier version left there are in nobody's way.
func blockID(n int, sum [sha256.Size]byte) string {
	var id [64]byte
	binary.BigEndian.PutUint32(id[:], uint32(n))
	copy(id[4:], sum[:])
	return base64.StdEncoding.EncodeToString(id[:])
}

// blockNumber is the number in an id; false for one that is not ours.
func blockNumber(id string) (int, bool) {
	b, err := base64.StdEncoding.DecodeString(id)
	if err != nil || len(b) != 64 || [64 - 4 - sha256.Size]byte(b[4+sha256.Size:]) != [64 - 4 - sha256.Size]byte{} {
		return 0, false
	}
	n := binary.BigEndian.Uint32(b)
	return int(n), n < maxBlocks
}

// exponentOf is the power of two that a size is.
func exponentOf(size int) (exponent int, ok bool) {
	for e := leastExponent; e <= mostExponent; e++ {
		if size == 1<<e {
			return e, true
		}
	}
	return 0, false
}
