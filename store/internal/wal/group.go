package wal

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/klauspost/compress/s2"
)

const (
	// copyBelow is the size of a frame from which it is written from where it
	// is, and not copied beside the others.
	copyBelow = 64 << 10
	// sumStep is how many bytes of a frame are summed at a time while it grows.
	sumStep = 32 << 10
	// keptBuffer is the largest buffer that is kept for reuse.
	keptBuffer = 8 << 20
)

// lane is a lane as the queue knows it. All is guarded by Log.mu but definedIn.
type lane struct {
	no        uint32
	key       string
	separator int64
	limit     FrameLimit

	next  uint64 // behind what was taken
	bytes int64
	// What is durable; the queue goes back to it when a group is refused.
	durableNext  uint64
	durableBytes int64

	build *frameBuild // in the open group

	definedIn uint64 // segment that has its definition; whoever commits owns it
}

// frameBuild is a frame that grows. The first lane of a group has its frames in
// the group's own buffer, so that a group of one lane is copied once.
type frameBuild struct {
	lane   *lane
	main   bool
	start  int // in the group's buffer, when main
	end    int
	buf    []byte // when not main
	h      frameHeader
	sum    uint32 // of the body so far
	summed int    // bytes of the body that are in it
	seed   uint32 // where it began
	off    int64  // in the commit
}

// laneKey names a key.
type laneKey struct {
	lane uint32
	hash KeyHash
}

// group is what one write makes durable. It is filled under Log.mu; once it is
// taken whoever commits owns it, but keyed stays readable under the lock.
type group struct {
	main   []byte // the commit's header and the frames of the first lane
	first  *lane
	frames []*frameBuild
	keys   []KeyAt
	keyed  map[laneKey]uint64
	pos    []Position
	refs   []RefAt

	calls    int
	size     int64 // at most, of the commit
	records  int64
	promised int64 // growth that the gate has allowed
	bare     bool  // no zeros behind it: there is no room for them
	rotate   bool  // begin a new segment

	outcome *outcome // nil while nobody waits
	err     error

	vec    [][]byte
	tail   []byte
	extras []byte
	header [frameHeaderLen]byte
	commit Commit
}

// outcome is where callers wait. It outlives the group, whose buffers are used again.
type outcome struct {
	done chan struct{} // closed when err is valid
	err  error
}

func (g *group) reset() {
	if cap(g.main) > keptBuffer {
		g.main = nil
	}
	if cap(g.tail) > keptBuffer {
		g.tail = nil
	}
	clear(g.frames)
	clear(g.keyed)
	clear(g.pos)
	clear(g.vec)
	clear(g.commit.Frames)
	*g = group{
		main: g.main[:0], frames: g.frames[:0], keys: g.keys[:0], keyed: g.keyed, pos: g.pos[:0], refs: g.refs[:0],
		vec: g.vec[:0], tail: g.tail[:0], extras: g.extras[:0], commit: Commit{Frames: g.commit.Frames[:0]},
	}
}

// empty reports whether there is nothing to be written.
func (g *group) empty() bool { return len(g.frames) == 0 && len(g.pos) == 0 }

// bytes is the frame so far.
func (b *frameBuild) bytes(g *group) []byte {
	if !b.main {
		return b.buf
	}
	if b.end > 0 {
		return g.main[b.start:b.end]
	}
	return g.main[b.start:]
}

// begin starts a frame of the lane.
func (l *Log) begin(g *group, ln *lane, codec byte) *frameBuild {
	var b *frameBuild
	if n := len(l.builds); n > 0 {
		b, l.builds = l.builds[n-1], l.builds[:n-1]
		l.buildBytes -= cap(b.buf)
	} else {
		b = new(frameBuild)
	}
	if g.first == nil && !l.opts.Compress {
		g.first = ln
	}
	*b = frameBuild{lane: ln, main: g.first == ln, buf: b.buf[:0], h: frameHeader{codec: codec, lane: ln.no, first: ln.next, before: ln.bytes}}
	var zero [frameHeaderLen]byte
	if b.main {
		if len(g.main) == 0 {
			g.main = append(g.main, zero[:commitHeaderLen]...)
		}
		b.start = len(g.main)
		g.main = append(g.main, zero[:]...)
	} else {
		b.buf = append(b.buf, zero[:]...)
	}
	g.frames = append(g.frames, b)
	return b
}

// put packs a record into the lane's frame under way, or a new one.
func (l *Log) put(g *group, ln *lane, data []byte) (seq uint64) {
	b := ln.build
	if b != nil {
		n := len(b.bytes(g)) - frameHeaderLen
		if int64(b.h.count) >= ln.limit.Records || int64(n+binary.MaxVarintLen32+len(data)) > ln.limit.Bytes {
			b.finish(g)
			b = nil
		}
	}
	if b == nil {
		b = l.begin(g, ln, codecPlain)
		ln.build = b
	}
	to := &b.buf
	if b.main {
		to = &g.main
	}
	*to = append(binary.AppendUvarint(*to, uint64(len(data))), data...)
	b.h.count++
	b.h.bytes += int64(len(data)) + ln.separator
	if !l.opts.Compress && len(b.bytes(g))-frameHeaderLen-b.summed >= sumStep {
		b.sumUp(g, l.seed.Load())
	}
	seq = ln.next
	ln.next++
	ln.bytes += int64(len(data)) + ln.separator
	return seq
}

// putRef enters a frame that leads to an object.
func (l *Log) putRef(g *group, ln *lane, r *Ref) (seq uint64) {
	if ln.build != nil {
		ln.build.finish(g)
		ln.build = nil
	}
	b := l.begin(g, ln, codecObject)
	b.h.count, b.h.bytes = r.Records, r.Bytes
	if b.main {
		g.main = appendRef(g.main, r)
	} else {
		b.buf = appendRef(b.buf, r)
	}
	b.finish(g)
	seq = ln.next
	ln.next += uint64(r.Records)
	ln.bytes += r.Bytes
	g.refs = append(g.refs, RefAt{Ref: *r, Lane: ln.no, First: seq, Last: ln.next - 1})
	return seq
}

// finish ends a frame: what comes next in the group's buffer is another one.
func (b *frameBuild) finish(g *group) {
	if b.main {
		b.end = len(g.main)
	}
}

// sumUp sums what has come to the body. A sum that was begun for another
// segment than the one that is written to begins again.
func (b *frameBuild) sumUp(g *group, seed uint32) {
	body := b.bytes(g)[frameHeaderLen:]
	if b.summed == 0 || b.seed != seed {
		b.sum, b.seed, b.summed = seed, seed, 0
	}
	b.sum = crc32.Update(b.sum, crcTable, body[b.summed:])
	b.summed = len(body)
}

// close completes a frame.
func (b *frameBuild) close(g *group, spool [8]byte, seed uint32) {
	p := b.bytes(g)
	b.h.body = len(p) - frameHeaderLen
	b.sumUp(g, seed)
	b.h.put(p, spool, b.sum)
}

// seal completes the commit of a group: headers, sums, extras. What is to be
// written is in g.vec, one behind the other, and length is its size.
func (g *group) seal(h commitHeader, spool [8]byte, compress bool) (length int, header commitHeader) {
	seed := seedOf(h.generation)
	if len(g.main) == 0 {
		g.main = append(g.main, make([]byte, commitHeaderLen)...)
	}
	for _, b := range g.frames {
		b.h.at = h.at
		if b.main {
			b.close(g, spool, seed)
		}
	}
	// What is not in the main buffer follows it: copied into tail, or, when
	// it is large, from where it is. cuts are where tail is interrupted.
	g.tail = g.tail[:0]
	type cut struct {
		at  int
		buf []byte
	}
	var cuts []cut
	for _, b := range g.frames {
		if b.main {
			continue
		}
		if compress && b.h.codec == codecPlain && len(b.buf) >= frameHeaderLen+compressFrom && g.pack(b, spool, seed) {
			continue
		}
		b.close(g, spool, seed)
		if len(b.buf) < copyBelow {
			g.tail = append(g.tail, b.buf...)
		} else {
			cuts = append(cuts, cut{len(g.tail), b.buf})
		}
	}
	g.tail = append(g.tail, g.extras...)
	h.extras, h.frames = len(g.extras), len(g.frames)
	if len(cuts) == 0 && len(g.tail) < copyBelow {
		g.main = append(g.main, g.tail...)
		g.vec = append(g.vec[:0], g.main)
	} else {
		g.vec = append(g.vec[:0], g.main)
		from := 0
		for _, c := range cuts {
			g.vec = append(g.vec, g.tail[from:c.at], c.buf)
			from = c.at
		}
		g.vec = append(g.vec, g.tail[from:])
	}
	for _, p := range g.vec {
		length += len(p)
	}
	h.length = length
	sum := h.put(g.main)
	fh := &g.header
	off := int64(commitHeaderLen)
	for _, main := range [2]bool{true, false} {
		for _, b := range g.frames {
			if b.main == main {
				b.h.header(fh[:], spool)
				sum = crc32.Update(sum, crcTable, fh[:])
				b.off = off
				off += frameHeaderLen + int64(b.h.body)
			}
		}
	}
	h.sum = crc32.Update(sum, crcTable, g.extras)
	binary.BigEndian.PutUint32(g.main[56:], h.sum)
	return length, h
}

// pack compresses a frame into tail, unless that makes it larger.
func (g *group) pack(b *frameBuild, spool [8]byte, seed uint32) bool {
	body := b.buf[frameHeaderLen:]
	start := len(g.tail)
	need := start + frameHeaderLen + s2.MaxEncodedLen(len(body))
	if cap(g.tail) < need {
		g.tail = append(make([]byte, 0, need+need/2), g.tail...)
	}
	room := g.tail[:need]
	packed := s2.Encode(room[start+frameHeaderLen:], body)
	if len(packed) >= len(body) {
		return false
	}
	g.tail = room[:start+frameHeaderLen+len(packed)]
	b.h.codec, b.h.body = codecS2, len(packed)
	b.h.put(g.tail[start:], spool, crc32.Update(seed, crcTable, packed))
	return true
}

// header writes a header whose sum is known over p.
func (h *frameHeader) header(p []byte, spool [8]byte) {
	sum := h.sum
	h.put(p, spool, 0)
	h.sum = sum
	binary.BigEndian.PutUint32(p[60:], sum)
}
