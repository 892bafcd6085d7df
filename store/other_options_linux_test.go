package store_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kustospool/store"
)

// smallVolume is a volume of so many bytes, or the reason why there is none.
func smallVolume(t *testing.T, size int64) (string, error) {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		return "", err
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir, nil
}

// optionSets are options as far apart as they may be.
var optionSets = map[string]store.Options{
	"defaults":   {},
	"small":      {SegmentBytes: store.MinSegmentBytes, MaxBytes: 8 << 20},
	"large":      {SegmentBytes: store.MaxSegmentBytes, MaxBytes: 1 << 40},
	"compressed": {SegmentBytes: 1 << 20, MaxBytes: 16 << 20, Compression: store.S2},
}

// TestOtherOptions fills a spool until nothing more is taken, kills or closes
// it, and drains it with other options: whatever filled it and whatever drains it, all
// that was acknowledged comes out, and there is room again. It is full by its
// quota, and on a volume that is full.
func TestOtherOptions(t *testing.T) {
	for filler, fill := range optionSets {
		for drainer, drain := range optionSets {
			for _, where := range []string{"quota", "volume"} {
				if where == "quota" && filler != "small" && filler != "compressed" || filler == drainer {
					continue
				}
				t.Run(fmt.Sprintf("%s drained by %s, full by %s", filler, drainer, where), func(t *testing.T) {
					dir := t.TempDir()
					if where == "volume" {
						var err error
						if dir, err = smallVolume(t, 24<<20); err != nil {
							if os.Getenv("CI") != "" && !errors.Is(err, unix.EPERM) {
								t.Fatal(err)
							}
							t.Skipf("not run: no small volume can be had: %v", err)
						}
						dir += "/spool"
					}
					fillAndDrain(t, dir, fill, drain)
				})
			}
		}
	}
}

func fillAndDrain(t *testing.T, dir string, fill, drain store.Options) {
	fill.NoSync, drain.NoSync = true, true
	s, err := store.Open(dir, &fill)
	if err != nil {
		t.Fatal(err)
	}
	lane := laneOf(t, s, jsonTable("t"))
	want := map[string]bool{}
	var full error
	for i := 0; full == nil; i++ {
		rec := fmt.Sprintf("%d-%s", i, noise(uint64(i), 4000))
		rec = strings.ReplaceAll(rec, "\n", " ")
		if i%50 == 49 {
			rec += strings.Repeat("z", 1<<20) // in an object
		}
		if _, full = s.AppendOne(ctx, lane, []byte(rec), ""); full == nil {
			want[rec] = true
		}
		if i > 20_000 {
			t.Fatal("it never fills")
		}
	}
	if !errors.Is(full, store.ErrFull) || s.Err() != nil || len(want) < 100 {
		t.Fatalf("%d records, then %v, store %v", len(want), full, s.Err())
	}
	if err := s.Close(); err != nil && !errors.Is(err, store.ErrFull) {
		t.Fatal(err)
	}
	if s, err = store.Open(dir, &drain); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if st := s.Stats(); st.Acked != int64(len(want)) || st.Open != st.Acked || st.Damaged != 0 || st.Suspect != 0 {
		t.Fatalf("%d acknowledged, %+v", len(want), st)
	}
	for _, e := range sealAll(t, s) {
		for _, rec := range strings.Split(strings.TrimSuffix(payloadOf(t, s, &e.Batch), "\n"), "\n") {
			if !want[rec] {
				t.Fatalf("a record that was not acknowledged, or twice: %.40q", rec)
			}
			delete(want, rec)
		}
		settle(t, s, e.Batch.ID)
	}
	if len(want) > 0 {
		t.Errorf("%d records did not come out", len(want))
	}
	for {
		room := s.Room()
		_, err := s.AppendOne(ctx, lane, []byte("again"), "")
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrFull) {
			t.Fatal(err)
		}
		<-room
	}
}
