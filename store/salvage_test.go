package store

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// TestSalvagedTally: keys that a damaged file leads to twice do not spoil the
// tally of the file that takes its place.
func TestSalvagedTally(t *testing.T) {
	s, dir, lane := smallSpool(t, 1)
	recs := make([]Record, 1000)
	for i := range recs {
		recs[i] = Record{Lane: lane, Key: fmt.Sprint("key ", i), Data: []byte("x")}
	}
	if _, err := s.Append(context.Background(), recs); err != nil {
		t.Fatal(err)
	}
	path, key := s.commit.active.path, s.lanes.get(lane).key
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	hurt := 0
	size := os.Getpagesize()
	for at := 2 * size; at+size <= len(image); at += size {
		page := image[at : at+size]
		if native.Uint64(page) == uint64(at/size) && native.Uint16(page[8:]) == flagBranch && native.Uint32(page[pageHeaderLen+4:]) == uint32(len(keyHash{})) {
			copy(page[pageHeaderLen+elementLen+8:][:8], page[pageHeaderLen+8:]) // the second leaf is the first one
			hurt++
		}
	}
	if hurt == 0 {
		t.Fatal("no branch of keys")
	}
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	opts := (&Options{NoSync: true}).withDefaults()
	if ok, err := salvage(dir, path, s.id, 1, map[uint32]laneSnapshot{lane: {Key: key}}, &opts); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if kept, undone, err := settle(path, nil, true); err != nil || undone || kept.tally.entries < 2 {
		t.Errorf("the salvaged file: undone %v, %v", undone, err)
	}
}
