package store_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// hostile is a spool that somebody who can write to it works on.
type hostile struct {
	t      *testing.T
	c      *corpus
	closed bool
	files  map[string][]byte
	hurt   []string
	spool  []byte
	next   uint64 // number of a segment that there is not
	commit uint64 // number of a commit that there was not
	sparse map[string]int64
}

const generation = 0x0102030405060708

func (h *hostile) put(name string, data []byte) {
	h.files[name] = data
	h.hurt = append(h.hurt, name)
}

// segment plants a segment behind the others.
func (h *hostile) segment(fill func(*craftedSegment)) {
	s := newSegment(h.spool, h.next, generation)
	fill(s)
	h.put(fmt.Sprintf("segments/%08d.log", h.next), s.data)
}

// ledger changes rows of the ledger.
func (h *hostile) ledger(change func(*craftedLedger)) {
	h.put("manifest.db", craftLedger(h.t, h.files["manifest.db"], change))
}

// lose takes the ledger away, so that the log is all there is.
func (h *hostile) lose() {
	delete(h.files, "manifest.db")
	h.hurt = append(h.hurt, "manifest.db")
}

// grow makes a file so large without writing to it.
func (h *hostile) grow(name string, size int64) {
	if h.sparse == nil {
		h.sparse = map[string]int64{}
	}
	h.sparse[name] = size
	h.hurt = append(h.hurt, name)
}

// active is the name of the segment that was written last.
func (h *hostile) active() string { return activeOf(h.files) }

func (h *hostile) names(dir, ext string) (out []string) {
	for _, name := range slices.Sorted(maps.Keys(h.files)) {
		if strings.HasPrefix(name, dir) && strings.HasSuffix(name, ext) {
			out = append(out, name)
		}
	}
	return out
}

// attacks are what somebody may do to a spool with checksums that are right.
// Each leaves whole what is not in the files that it names as hurt.
var attacks = map[string]func(h *hostile){
	// Lanes that nobody can make a table of.
	"a lane without a definition": func(h *hostile) {
		h.segment(func(s *craftedSegment) { s.commit(h.commit, nil, one(1000, 1)) })
	},
	"a lane without a definition, no ledger": func(h *hostile) {
		h.lose()
		h.segment(func(s *craftedSegment) { s.commit(h.commit, nil, one(1000, 1)) })
	},
	"a lane whose definition is no text of properties": func(h *hostile) {
		h.segment(func(s *craftedSegment) { s.commit(h.commit, extraLane(1000, "}{"), one(1000, 1)) })
	},
	"the same, no ledger": func(h *hostile) {
		h.lose()
		h.segment(func(s *craftedSegment) { s.commit(h.commit, extraLane(1000, "}{"), one(1000, 1)) })
	},
	"a second lane with the properties of another": func(h *hostile) {
		h.segment(func(s *craftedSegment) { s.commit(h.commit, extraLane(1000, jsonTable("a").Key()), one(1000, 1)) })
	},
	"a second lane with the properties of another, no ledger": func(h *hostile) {
		h.lose()
		h.segment(func(s *craftedSegment) { s.commit(h.commit, extraLane(1000, jsonTable("a").Key()), one(1000, 1)) })
	},
	"the highest lane": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, extraLane(math.MaxUint32, jsonTable("last").Key()), one(math.MaxUint32, 1))
		})
	},
	"the highest lane, no ledger": func(h *hostile) {
		h.lose()
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, extraLane(math.MaxUint32, jsonTable("last").Key()), one(math.MaxUint32, 1))
		})
	},

	// Sequence numbers near their end.
	"records at 2^63": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, 1<<63))
		})
	},
	"records at 2^63, no ledger": func(h *hostile) {
		h.lose()
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, 1<<63))
		})
	},
	"records at the end of all numbers": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, math.MaxUint64-1))
		})
	},
	"records of a known lane at 2^63 - 10": func(h *hostile) {
		h.segment(func(s *craftedSegment) { s.commit(h.commit, extraLane(1, jsonTable("a").Key()), one(1, 1<<63-10)) })
	},
	"records below 2^62, no ledger": func(h *hostile) {
		h.lose()
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, 1<<62-2))
		})
	},
	"a gap of 2^40 in a segment": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, 1))
			s.commit(h.commit+1, nil, one(1000, 1<<40))
		})
	},
	"numbers that go backwards, and twice": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, 50), one(1000, 49), one(1000, 50), one(1000, 1))
		})
	},
	"payload bytes at the end of all numbers": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			f := one(1000, 1)
			f.before, f.bytes = 1<<63-1, 1<<63-1
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), f)
		})
	},

	// Commits and segments near the end of their numbers.
	"commit 2^64 - 1": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			s.commit(math.MaxUint64, extraLane(1000, jsonTable("far").Key()), one(1000, 1))
		})
	},
	"commit 0": func(h *hostile) {
		h.segment(func(s *craftedSegment) { s.commit(0, extraLane(1000, jsonTable("far").Key()), one(1000, 1)) })
	},
	"a compacted segment of commits up to 2^64 - 1": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			copy(s.data, s.head(1, 1, math.MaxUint64))
			s.commit(1, extraLane(1000, jsonTable("far").Key()), one(1000, 1))
		})
	},
	"an index of commits up to 2^64 - 1": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, 1))
			key := jsonTable("far").Key()
			s.seal(0, 1, math.MaxUint64, 1, 0, uv(append(uv(nil, 1000, 1, uint64(len(key))), key...), 1, 0, 6, 1, 0, 4096+60))
		})
	},
	"the last name of a segment": func(h *hostile) { h.put("segments/281474976710655.log", nil) },
	"the last name, with a head": func(h *hostile) {
		s := newSegment(h.spool, 1<<48-1, generation)
		h.put("segments/281474976710655.log", s.data)
	},
	"the last name, with records": func(h *hostile) {
		s := newSegment(h.spool, 1<<48-1, generation)
		s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, 1))
		h.put("segments/281474976710655.log", s.data)
	},
	"the last name, with records, no ledger": func(h *hostile) {
		h.lose()
		s := newSegment(h.spool, 1<<48-1, generation)
		s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, 1))
		h.put("segments/281474976710655.log", s.data)
	},
	"the last name of a spare file":  func(h *hostile) { h.put("segments/281474976710655.spare", make([]byte, 5000)) },
	"the last name of a dropped one": func(h *hostile) { h.put("segments/281474976710655.drop", make([]byte, 5000)) },
	"the last name of a new one":     func(h *hostile) { h.put("segments/281474976710655.new", make([]byte, 5000)) },
	"generation 0": func(h *hostile) {
		s := newSegment(h.spool, h.next, 0)
		s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, 1))
		h.put(fmt.Sprintf("segments/%08d.log", h.next), s.data)
	},
	"generation of all ones": func(h *hostile) {
		s := newSegment(h.spool, h.next, math.MaxUint64)
		s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, 1))
		h.put(fmt.Sprintf("segments/%08d.log", h.next), s.data)
	},
	"a segment that says another number": func(h *hostile) {
		s := newSegment(h.spool, h.next+5, generation)
		s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, 1))
		h.put(fmt.Sprintf("segments/%08d.log", h.next), s.data)
	},

	// What a commit has beside frames.
	"positions with names that no ledger takes": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, slices.Concat(extraPosition("", "x"), extraPosition(strings.Repeat("n", 1000), "x"), extraPosition("\xff\xfe", "x")))
		})
	},
	"more positions than a spool has": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			var p []byte
			for i := range 5000 {
				p = append(p, extraPosition(fmt.Sprint("p", i), "x")...)
			}
			s.commit(h.commit, p)
		})
	},
	"more positions than a spool has, no ledger": func(h *hostile) {
		h.lose()
		h.segment(func(s *craftedSegment) {
			var p []byte
			for i := range 5000 {
				p = append(p, extraPosition(fmt.Sprint("p", i), "x")...)
			}
			s.commit(h.commit, p)
		})
	},
	"keys of no lane, and of numbers at their end": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, slices.Concat(extraKeys(0, 0, 10), extraKeys(77777, math.MaxUint64-20, 10), extraKeys(1, 1<<63, 10)))
		})
	},
	"very many keys": func(h *hostile) {
		h.segment(func(s *craftedSegment) { s.commit(h.commit, extraKeys(1, 1, 1<<19)) })
	},
	"extras of an unknown kind": func(h *hostile) {
		h.segment(func(s *craftedSegment) { s.commit(h.commit, []byte{99, 1, 2, 3}) })
	},
	"lengths beyond the end": func(h *hostile) {
		h.segment(func(s *craftedSegment) { s.commit(h.commit, uv([]byte{2}, math.MaxUint64)) })
	},

	// Frames.
	"a frame of records that run past its end": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			f := one(1000, 1)
			f.count, f.body = 60000, bytes.Repeat([]byte{0xff}, 70000)
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), f)
		})
	},
	"a compressed frame that says it is huge": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			f := one(1000, 1)
			f.codec, f.body = 2, uv(nil, 1<<32-1)
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), f)
		})
	},
	"an object that says it is huge": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			f := one(1000, 1)
			f.codec, f.count, f.bytes, f.body = 1, 1<<30, 1<<62, be64(make([]byte, 16), 1<<63-1)
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), f)
		})
	},
	"two lanes that refer to an object of a third": func(h *hostile) {
		id := id16(h.names("objects/", ".obj")[0])
		h.segment(func(s *craftedSegment) {
			f, g := one(1000, 1), one(1001, 1)
			f.codec, f.count, f.bytes, f.body = 1, 5, 100, be64(slices.Clone(id), 1<<20)
			g.codec, g.count, g.bytes, g.body = 1, 1<<24, 100, be64(slices.Clone(id), 1<<50)
			s.commit(h.commit, slices.Concat(extraLane(1000, jsonTable("x").Key()), extraLane(1001, jsonTable("y").Key())), f, g)
		})
	},
	"a commit of very many frames": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			frames := make([]craftedFrame, 1500)
			for i := range frames {
				frames[i] = one(1000, uint64(i)+1)
			}
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), frames...)
		})
	},

	// Indexes.
	"an index that leads elsewhere": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, 1))
			key := jsonTable("far").Key()
			s.seal(0, h.commit, h.commit, 1, 0, uv(append(uv(nil, 1000, 1, uint64(len(key))), key...), 1, 1<<32, 6, 3, 0, 7, 1<<31, 8, 1, 9))
		})
	},
	"an index of lanes at the end of all numbers": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, 1))
			key := jsonTable("far").Key()
			s.seal(0, h.commit, h.commit, 1, 0, uv(append(uv(nil, 1000, 1, uint64(len(key))), key...), math.MaxUint64-1, 0, 1<<63-1, 1, 0, 4096+60))
		})
	},
	"an index of very many places": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, 1))
			key := jsonTable("far").Key()
			const n = 12 << 20
			body := uv(append(uv(nil, 1000, 1, uint64(len(key))), key...), 1, 1<<32, 6, n)
			body = append(body, 0, 1)
			body = append(body, bytes.Repeat([]byte{1, 0}, n-1)...)
			s.seal(0, h.commit, h.commit, 1, 0, body)
		})
	},
	"an index of objects without end": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, 1))
			s.seal(0, h.commit, h.commit, 0, 1, uv(make([]byte, 16), 1<<63-1, 1<<30, 1<<63-1, 1000, 1<<63))
		})
	},

	// Time: files made to look like much work.
	"marks of commits everywhere": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()))
			// Holes, each followed by a sound commit: every search reads the rest of
			// the file as often as it finds a mark that promises as much.
			for i := range uint64(300) {
				s.commit(h.commit+2*i+1, nil, one(1000, i+1))
				for range 80 {
					p := append([]byte("kspC"), 1, 0, 0, 0)
					p = be64(be64(be64(be64(p, s.generation), s.no), h.commit+1_000_000), 1)
					p = be32(be32(be32(be32(be32(p, 4<<20), 4<<20-60), 0), 0), 7)
					s.data = append(s.data, p...)
				}
			}
			s.data = append(s.data, make([]byte, 5<<20)...)
		})
	},
	"marks of frames everywhere": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()))
			for i := range uint64(300) {
				s.commit(h.commit+2*i+1, nil, one(1000, i+1))
				for range 80 {
					p := s.frame(craftedFrame{lane: 1000, count: 1, first: 5, body: []byte{0}})
					binary.BigEndian.PutUint32(p[56:], 4<<20)
					s.data = append(s.data, p...)
				}
			}
			s.commit(h.commit+1_000_000, nil, one(1000, 100_000))
			s.data = append(s.data, make([]byte, 5<<20)...)
		})
	},
	"a segment of 1 TiB": func(h *hostile) {
		h.segment(func(s *craftedSegment) {
			s.commit(h.commit, extraLane(1000, jsonTable("far").Key()), one(1000, 1))
		})
		h.grow(fmt.Sprintf("segments/%08d.log", h.next), 1<<40)
	},
	"a segment of 1 TiB without a head": func(h *hostile) {
		h.put(fmt.Sprintf("segments/%08d.log", h.next), nil)
		h.grow(fmt.Sprintf("segments/%08d.log", h.next), 1<<40)
	},
	"the active segment, grown to 1 TiB": func(h *hostile) { h.grow(h.active(), 1<<40) },
	"a spare file of 1 TiB": func(h *hostile) {
		h.put("segments/00009999.spare", nil)
		h.grow("segments/00009999.spare", 1<<40)
	},
	"a ledger of 1 TiB":        func(h *hostile) { h.grow("manifest.db", 1<<40) },
	"a ledger of 60 GiB":       func(h *hostile) { h.grow("manifest.db", 60<<30) },
	"an object of 1 TiB":       func(h *hostile) { h.grow(h.names("objects/", ".obj")[0], 1<<40) },
	"a lock file of 1 TiB":     func(h *hostile) { h.grow("lock", 1<<40) },
	"a ballast of 1 TiB":       func(h *hostile) { h.grow("ballast", 1<<40) },
	"a dead letter of 1 TiB":   func(h *hostile) { h.grow(h.names("dead/", ".json")[0], 1<<40) },
	"a planted object of 1 TB": func(h *hostile) { h.grow("objects/00112233445566778899aabbccddeeff.obj", 1<<40) },
}

// allAttacks are those of the log and of sizes, and those of the books.
func allAttacks() map[string]func(h *hostile) {
	all := maps.Clone(attacks)
	maps.Copy(all, attacksOnBooks)
	return all
}

func id16(name string) []byte {
	id := make([]byte, 16)
	_, _ = fmt.Sscanf(strings.TrimSuffix(filepath.Base(name), ".obj"), "%x", &id)
	return id
}

// TestHostile opens spools on which somebody worked who knows the format and
// writes checksums that are right, each in a child: none hangs, dies, takes much
// memory or a wrong turn, what is in the other files is delivered once, and
// none of these is removed. TestNoDamage is the control.
func TestHostile(t *testing.T) {
	c := makeCorpus(t)
	for _, name := range slices.Sorted(maps.Keys(allAttacks())) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, closed := range []bool{true, false} {
				if testing.Short() && !closed {
					continue
				}
				h := &hostile{t: t, c: c, closed: closed, files: map[string][]byte{}}
				base := c.unclean
				if closed {
					base = c.clean
				}
				for name, data := range base {
					h.files[name] = data
					if strings.HasPrefix(name, "segments/") {
						var no uint64
						_, _ = fmt.Sscanf(filepath.Base(name), "%d", &no)
						h.next = max(h.next, no+1)
					}
				}
				active := base[h.active()]
				h.spool = active[8:16]
				_, last := frames(active)
				h.commit = binary.BigEndian.Uint64(active[last+24:]) + 1
				allAttacks()[name](h)
				v := variant{name: name, closed: closed, files: h.files, hurt: h.hurt, plant: func(dir string) {
					for name, size := range h.sparse {
						path := filepath.Join(dir, filepath.FromSlash(name))
						if f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
							_ = f.Close()
						}
						if err := os.Truncate(path, size); err != nil {
							t.Fatal(err)
						}
					}
				}}
				for i, p := range c.check(t, &v) {
					if i < 3 {
						t.Errorf("closed %v: %s", closed, p[:min(len(p), 600)])
					}
				}
			}
		})
	}
}
