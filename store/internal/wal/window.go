package wal

import (
	"errors"
	"hash/crc32"
	"io"

	"kustospool/internal/vfs"
)

const (
	windowBytes = 1 << 20
	blockBytes  = 4096
	readTries   = 3
)

// window reads a file from front to back through one buffer. A part that
// cannot be read is zeros, and noted.
type window struct {
	f          vfs.File
	size       int64
	buf        []byte
	off        int64 // of buf[0] in the file
	n          int   // bytes in buf
	unreadable []extent
}

type extent struct {
	off, len int64
	err      error
}

func newWindow(f vfs.File, size int64) *window { return &window{f: f, size: size} }

// at gives n bytes, or as many as there are before the file's end. They are
// valid until the next call. n is at most windowBytes.
func (w *window) at(off int64, n int) []byte {
	if off < 0 || off >= w.size {
		return nil
	}
	n = int(min(int64(n), w.size-off))
	if off < w.off || off+int64(n) > w.off+int64(w.n) {
		w.fill(off)
	}
	i := int(off - w.off)
	return w.buf[i : i+n : i+n]
}

func (w *window) fill(off int64) {
	if w.buf == nil {
		w.buf = make([]byte, min(w.size, windowBytes))
	}
	w.off, w.n = off, int(min(int64(len(w.buf)), w.size-off))
	p := w.buf[:w.n]
	if readFull(w.f, p, off) == nil {
		return
	}
	for i := 0; i < len(p); i += blockBytes {
		part := p[i:min(i+blockBytes, len(p))]
		if err := readFull(w.f, part, off+int64(i)); err != nil {
			clear(part)
			w.unreadable = append(w.unreadable, extent{off + int64(i), int64(len(part)), err})
		}
	}
}

// readFull fills p, and tries again before it believes an error.
func readFull(f vfs.File, p []byte, off int64) (err error) {
	for range readTries {
		var n int
		if n, err = f.ReadAt(p, off); n == len(p) {
			return nil
		}
		if err == nil || errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
	}
	return err
}

// sum continues a checksum over n bytes.
func (w *window) sum(crc uint32, off, n int64) uint32 {
	for n > 0 {
		p := w.at(off, int(min(n, windowBytes/4)))
		if len(p) == 0 {
			return crc
		}
		crc = crc32.Update(crc, crcTable, p)
		off, n = off+int64(len(p)), n-int64(len(p))
	}
	return crc
}

// find looks for a pattern in from..to and gives where it is, -1 when it is nowhere.
func (w *window) find(pattern func([]byte) int, patternLen int, from, to int64) int64 {
	for from < to {
		if s, ok := w.f.(vfs.Sparse); ok { // somebody may have made the file as large as he liked
			if from = s.NextData(from); from >= to {
				return -1
			}
		}
		p := w.at(from, int(min(to-from, windowBytes/2)))
		if len(p) < patternLen {
			return -1
		}
		if i := pattern(p); i >= 0 {
			return from + int64(i)
		}
		from += int64(len(p) - patternLen + 1)
	}
	return -1
}
