package store_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// attacksOnBooks are those on the ledger, objects and dead letters.
var attacksOnBooks = map[string]func(h *hostile){
	"ledger: near the last number of segments": func(h *hostile) {
		h.ledger(func(c *craftedLedger) { c.state[stateHighestNo] = 1<<48 - 1000 }) // the last one: TestEndOfNumbers
	},
	"ledger: numbers of segments beyond": func(h *hostile) {
		h.ledger(func(c *craftedLedger) { c.state[stateHighestNo] = math.MaxUint64 })
	},
	"ledger: the active segment at the end": func(h *hostile) {
		h.ledger(func(c *craftedLedger) {
			c.state[stateActiveNo], c.state[stateActiveCommit], c.state[stateActiveEnd] = math.MaxUint64, math.MaxUint64, math.MaxInt64
		})
	},
	"ledger: the last commit": func(h *hostile) {
		h.ledger(func(c *craftedLedger) { c.state[stateActiveCommit] = math.MaxUint64 })
	},
	"ledger: all lanes given out": func(h *hostile) {
		h.ledger(func(c *craftedLedger) { c.state[stateLanes] = math.MaxUint32 })
	},
	"ledger: positions of the future": func(h *hostile) {
		h.ledger(func(c *craftedLedger) { c.state[statePositions] = math.MaxUint64 })
	},
	"ledger: counters that are full": func(h *hostile) {
		h.ledger(func(c *craftedLedger) { c.state[stateDamaged] = math.MaxInt64 })
	},
	"ledger: counters that wrap": func(h *hostile) {
		h.ledger(func(c *craftedLedger) {
			c.state[stateIngested] += math.MaxInt64
			c.state[stateSkipped] += math.MaxInt64
		})
	},
	"ledger: epoch at its end": func(h *hostile) {
		h.ledger(func(c *craftedLedger) { c.state[stateEpoch] = math.MaxUint64 })
	},
	"ledger: marks at the end of all numbers": func(h *hostile) {
		h.ledger(func(c *craftedLedger) {
			key, body := c.first("marks")
			n := numbersOf(body, 1)
			n[3], n[4] = 1<<63-1, 1<<63-1
			c.put("marks", key, uv([]byte{1}, n...))
		})
	},
	"ledger: marks far away": func(h *hostile) {
		h.ledger(func(c *craftedLedger) {
			key, body := c.first("marks")
			n := numbersOf(body, 1)
			n[3] = 1<<62 - 2
			c.put("marks", key, uv([]byte{1}, n...))
		})
	},
	"ledger: a segment of numbers at their end": func(h *hostile) {
		h.ledger(func(c *craftedLedger) {
			c.put("segments", be64(nil, 1<<48-1), append([]byte{1, 0}, uv(nil, 1, math.MaxInt64, math.MaxInt64, math.MaxInt64, 1, math.MaxUint64, 0, 1, 1, 1, math.MaxUint64)...))
		})
	},
	"ledger: a segment beyond all numbers": func(h *hostile) {
		h.ledger(func(c *craftedLedger) {
			c.put("segments", be64(nil, math.MaxUint64), append([]byte{1, 0}, uv(nil, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1)...))
		})
	},
	"ledger: a segment of lanes without end": func(h *hostile) {
		h.ledger(func(c *craftedLedger) {
			body := append([]byte{1, 0}, uv(nil, 1, 1, 1, 1, 1, 1, 0, 5_000_000)...)
			c.put("segments", be64(nil, 5000), append(body, bytes.Repeat([]byte{1, 1, 1}, 5_000_000)...))
		})
	},
	"ledger: a row of a segment that ends beyond its file": func(h *hostile) {
		h.ledger(func(c *craftedLedger) {
			key, body := c.first("segments")
			n := numbersOf(body, 2)
			n[2], n[3] = 1<<62, 0
			c.put("segments", key, append([]byte{1, body[1]}, uv(nil, n...)...))
		})
		h.hurt = append(h.hurt, h.names("segments/", ".log")...)
	},
	"ledger: tombstones at the end": func(h *hostile) {
		h.ledger(func(c *craftedLedger) { c.put("settled", be64(nil, math.MaxUint64), uv([]byte{1}, math.MaxUint64)) })
	},
	"ledger: a batch of the year 10^9": func(h *hostile) {
		h.ledger(func(c *craftedLedger) {
			key, body := c.first("batches")
			n := numbersOf(body, 5)
			n[6] = 1 << 57 // a time in seconds, zigzag
			c.put("batches", key, append(body[:5:5], uv(nil, n...)...))
		})
	},
	"ledger: a batch that says it is huge": func(h *hostile) {
		h.ledger(func(c *craftedLedger) {
			key, body := c.first("batches")
			n := numbersOf(body, 5)
			n[1], n[2] = math.MaxInt64, math.MaxInt32
			c.put("batches", key, append(body[:5:5], uv(nil, n...)...))
		})
		h.hurt = append(h.hurt, h.names("segments/", ".log")...)
	},
	"ledger: a batch of 16 MiB": func(h *hostile) {
		h.ledger(func(c *craftedLedger) {
			key, _ := c.first("batches")
			c.put("batches", key, make([]byte, 16<<20))
		})
	},
	"ledger: an object without end": func(h *hostile) {
		h.ledger(func(c *craftedLedger) {
			c.put("objects", make([]byte, 16), uv([]byte{1}, 1, 1, math.MaxUint64, math.MaxInt64))
		})
	},
	"ledger: a lane of much text": func(h *hostile) {
		h.ledger(func(c *craftedLedger) {
			c.put("lanes", be32(nil, 5000), append([]byte{1}, `{"Tags":[`+strings.Repeat(`"",`, 4<<20)+`""]}`...))
		})
	},
	"ledger: nested text": func(h *hostile) {
		h.ledger(func(c *craftedLedger) {
			c.put("lanes", be32(nil, 5000), append([]byte{1}, strings.Repeat("[", 1<<20)...))
		})
	},
	"ledger: very many lanes": func(h *hostile) {
		h.ledger(func(c *craftedLedger) {
			for i := range uint32(3000) {
				c.put("lanes", be32(nil, 5000+i), append([]byte{1}, fmt.Sprintf(`{"Database":"d","Table":"t%d"}`, i)...))
			}
			c.state[stateLanes] = 100_000
		})
	},
	"ledger: transactions at their end": func(h *hostile) {
		file := bytes.Clone(h.files["manifest.db"])
		craftMeta(file, func(m []byte) { binary.NativeEndian.PutUint64(m[48:], math.MaxUint64-1) })
		h.put("manifest.db", file)
	},
	"ledger: pages of 16 MiB": func(h *hostile) {
		file := append(bytes.Clone(h.files["manifest.db"]), make([]byte, 64<<20)...)
		craftMeta(file, func(m []byte) { binary.NativeEndian.PutUint32(m[8:], 16<<20) })
		h.put("manifest.db", file)
	},
	"ledger: more pages than any file": func(h *hostile) {
		file := bytes.Clone(h.files["manifest.db"])
		craftMeta(file, func(m []byte) { binary.NativeEndian.PutUint64(m[40:], math.MaxUint64) })
		h.put("manifest.db", file)
	},
	"ledger: a root that is its own child": func(h *hostile) {
		file := bytes.Clone(h.files["manifest.db"])
		craftMeta(file, func(m []byte) {
			root := binary.NativeEndian.Uint64(m[16:])
			page := file[root*4096:]
			binary.NativeEndian.PutUint16(page[8:], 1) // a branch, whose elements lead to it
			for i := range binary.NativeEndian.Uint16(page[10:]) {
				binary.NativeEndian.PutUint64(page[16+16*int(i)+8:], root)
			}
		})
		h.put("manifest.db", file)
	},
	"ledger: a free list of what is in use": func(h *hostile) {
		file := bytes.Clone(h.files["manifest.db"])
		craftMeta(file, func(m []byte) { binary.NativeEndian.PutUint64(m[32:], binary.NativeEndian.Uint64(m[16:])) })
		h.put("manifest.db", file)
	},

	// Objects and dead letters.
	"objects: chunks of numbers at their end": func(h *hostile) {
		name := h.names("objects/", ".obj")[0]
		var p []byte
		for _, c := range []craftedChunk{
			{flags: 0, count: math.MaxUint32, bytes: math.MaxUint32, body: []byte{0}},
			{flags: 3, first: math.MaxUint64, before: math.MaxUint64, bytes: 1, body: []byte{0}},
		} {
			p = append(p, chunkOf(h.spool, id16(name), c)...)
		}
		h.put(name, p)
	},
	"objects: very many chunks": func(h *hostile) {
		name := h.names("objects/", ".obj")[0]
		var p []byte
		for i := range uint64(100_000) {
			p = append(p, chunkOf(h.spool, id16(name), craftedChunk{flags: 3, before: i, bytes: 1, body: []byte{'x'}})...)
		}
		h.put(name, p)
	},
	"dead letters: documents of hostile numbers": func(h *hostile) {
		name := h.names("dead/", ".json")[0]
		text := string(h.files[name])
		for i, change := range [][2]string{{`"lane": `, `"lane": 9999999999`}, {`"first": `, `"first": -1`}, {`"raw_bytes": `, `"raw_bytes": 1e400`}, {`"at": "`, `"at": "99999`}, {`{`, strings.Repeat("[", 100_000)}} {
			id := fmt.Sprintf("%08d-0000-8000-8000-000000000000", i)
			h.put("dead/"+id+".json", []byte(strings.Replace(text, change[0], change[1], 1)))
		}
	},
}
