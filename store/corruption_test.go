package store_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
	"kustospool/store"
)

func init() {
	childJobs["survive"] = survive
	childJobs["die"] = die
}

// die opens a spool and is killed with it open.
func die(dir string) {
	_, err := store.Open(dir, crashOptions())
	must(err)
	p, _ := os.FindProcess(os.Getpid())
	_ = p.Kill()
	select {}
}

// survive opens a damaged spool as an engine would: appends, seals, reads
// around the damage, settles and dead-letters everything.
func survive(dir string) {
	opts := crashOptions()
	opts.NoSync = true // this child is not killed
	s, err := store.Open(dir, opts)
	must(err)
	balance(s)
	for _, lane := range s.Lanes() {
		a, err := s.AppendOne(ctx, lane, []byte("after"), "")
		must(err)
		fmt.Println(ack{lane, a.Seq, "after"})
	}
	drainAround(s)
	balance(s)
	if n := len(s.Live()); n != 0 || s.Stats().Open != 0 {
		must(fmt.Errorf("%d batches live, %d records open after the drain", n, s.Stats().Open))
	}
	before := s.Stats()
	must(s.Close())
	s, err = store.Open(dir, opts)
	must(err)
	balance(s)
	after := s.Stats()
	if before.Damaged != after.Damaged || before.Suspect != after.Suspect || before.Acked != after.Acked {
		must(fmt.Errorf("the second open found it otherwise: %+v, then %+v", before, after))
	}
	must(s.Close())
	fmt.Println("stats", after.Damaged, after.Suspect, after.DeadLettered)
}

func balance(s *store.Store) {
	st := s.Stats()
	if st.Acked != st.Open+st.Sealed+st.Ingested+st.Skipped+st.HandedOver+st.DeadLettered+st.Dropped {
		must(fmt.Errorf("books do not balance: %+v", st))
	}
}

func drainAround(s *store.Store) {
	var seals []store.Seal
	for f, err := range s.Unsealed() {
		must(err)
		seals = append(seals, store.Seal{Lane: f.Lane, First: f.First, Last: f.Last, Bytes: f.Bytes, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested})
	}
	_, err := s.Seal(ctx, seals)
	must(err)
	for live := s.Live(); len(live) > 0; live = s.Live() {
		for _, e := range live {
			deliver(s, e)
		}
	}
}

// deliver ends a batch, or cuts the damage out of it.
func deliver(s *store.Store, e store.Entry) {
	r := s.Payload(&e.Batch).Open()
	data, err := io.ReadAll(r)
	r.Close()
	var damage *store.CorruptionError
	if errors.As(err, &damage) {
		var cuts []uint64
		for _, c := range []uint64{damage.First, damage.Last + 1} {
			if c > e.Batch.First && c <= e.Batch.Last {
				cuts = append(cuts, c)
			}
		}
		if len(cuts) > 0 {
			_, err = s.Split(ctx, e.Batch.ID, ingest.Sealed, cuts, nil)
		} else {
			_, err = s.DeadLetter(ctx, e.Batch.ID, ingest.Sealed, &ingest.Failure{Class: "damaged"})
		}
		must(err)
		return
	}
	must(err)
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if int64(len(lines)) != e.Batch.Records() {
		must(fmt.Errorf("%d lines for %d records", len(lines), e.Batch.Records()))
	}
	for i, l := range lines {
		fmt.Println("got", e.Batch.Lane, e.Batch.First+uint64(i), l)
	}
	_, err = s.Transition(ctx, e.Batch.ID, ingest.Sealed, func(e *store.Entry) { e.State = ingest.Sending })
	must(err)
	_, err = s.Transition(ctx, e.Batch.ID, ingest.Sending, func(e *store.Entry) { e.State = ingest.Succeeded })
	must(err)
}

// corpus is a spool with frames alone and in sheaves, with rotated segments, settled, live and open records.
type corpus struct {
	clean, unclean string // directories
	records        map[[2]uint64]string
	unsettled      map[[2]uint64]bool
}

func makeCorpus(t *testing.T) *corpus {
	t.Helper()
	c := &corpus{clean: t.TempDir(), unclean: t.TempDir(), records: map[[2]uint64]string{}, unsettled: map[[2]uint64]bool{}}
	s := openStore(t, c.clean, crashOptions())
	lanes := []uint32{laneOf(t, s, jsonTable("a")), laneOf(t, s, jsonTable("b"))}
	tied := tiedLanes(s)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 170 {
		lane := lanes[i%2]
		data := fmt.Sprintf("r%d-%s", i, strings.Repeat("y", rng.IntN(4000)))
		seq := appendOne(t, s, lane, data)
		c.records[[2]uint64{uint64(lane), seq}] = data
		c.unsettled[[2]uint64{uint64(lane), seq}] = true
		if i%12 == 5 {
			for _, a := range appendTied(s, tied, fmt.Sprint("t", i)) {
				c.records[[2]uint64{uint64(a.lane), a.seq}] = a.data
				c.unsettled[[2]uint64{uint64(a.lane), a.seq}] = true
			}
		}
		if i%30 == 20 {
			for j, e := range sealAll(t, s) {
				if j == 0 && i < 60 {
					settle(t, s, e.Batch.ID)
					for seq := e.Batch.First; seq <= e.Batch.Last; seq++ {
						delete(c.unsettled, [2]uint64{uint64(e.Batch.Lane), seq})
					}
				}
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	copyDir(t, c.clean, c.unclean)
	if err := child(t, "die", c.unclean).Run(); err == nil {
		t.Fatal("the child that should die lived")
	}
	return c
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// damage is one way to hurt a file.
type damage struct {
	name string
	hurt func(path string) error
}

const page = 4096

func patch(path string, at int64, data []byte) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, at)
	return errors.Join(err, f.Close())
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func garbage(n int64) []byte {
	rng := rand.New(rand.NewPCG(3, 4))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(rng.Uint32())
	}
	return out
}

// wholeDamages is how many of damages hurt a file as a whole, or its meta pages.
const wholeDamages = 10

func damages() []damage {
	ds := []damage{
		{"removed", os.Remove},
		{"truncated to half", func(p string) error { return os.Truncate(p, fileSize(p)/2/page*page) }},
		{"truncated to 3 pages", func(p string) error { return os.Truncate(p, 3*page) }},
		{"truncated to an odd size", func(p string) error { return os.Truncate(p, fileSize(p)/3+17) }},
		{"empty", func(p string) error { return os.Truncate(p, 0) }},
		{"all zeros", func(p string) error { return patch(p, 0, make([]byte, fileSize(p))) }},
		{"all garbage", func(p string) error { return patch(p, 0, garbage(fileSize(p))) }},
		{"first meta page zeroed", func(p string) error { return patch(p, 0, make([]byte, page)) }},
		{"second meta page garbage", func(p string) error { return patch(p, page, garbage(page)) }},
		{"both meta pages zeroed", func(p string) error { return patch(p, 0, make([]byte, 2*page)) }},
	}
	for at := int64(2); at < 16; at++ {
		ds = append(ds, damage{fmt.Sprintf("page %d zeroed", at), func(p string) error { return patch(p, at*page, make([]byte, page)) }})
	}
	for _, part := range []int64{4, 2} {
		ds = append(ds,
			damage{fmt.Sprintf("garbage from 1/%d on", part), func(p string) error { return patch(p, fileSize(p)/part, garbage(3*page)) }},
			damage{fmt.Sprintf("one bit at 1/%d", part), func(p string) error { return patch(p, fileSize(p)/part+100, []byte{0x55}) }})
	}
	return ds
}

// TestDamage opens spools with every kind of damage to every kind of file.
// The process must live, nothing may be wiped, the books must balance, what is
// read must be right, and no number may be given out twice.
func TestDamage(t *testing.T) {
	c := makeCorpus(t)
	segments := func(dir string) []string {
		names, err := filepath.Glob(filepath.Join(dir, "segments", "*.db"))
		if err != nil || len(names) < 4 {
			t.Fatalf("segments %v, %v", names, err)
		}
		slices.Sort(names)
		return names
	}
	victims := map[string]func(dir string) string{
		"manifest":       func(dir string) string { return filepath.Join(dir, "manifest.db") },
		"oldest segment": func(dir string) string { return segments(dir)[0] },
		// The last file is the segment prepared ahead.
		"active segment":   func(dir string) string { s := segments(dir); return s[len(s)-2] },
		"prepared segment": func(dir string) string { s := segments(dir); return s[len(s)-1] },
	}
	for victim, path := range victims {
		for variant, base := range map[string]string{"clean": c.clean, "unclean": c.unclean} {
			for i, d := range damages() {
				// Damage inside of a file is found in the same way after either
				// kind of stop; the prepared segment holds nothing to damage.
				if i >= wholeDamages && (variant == "clean" || victim == "prepared segment") {
					continue
				}
				t.Run(victim+"/"+variant+"/"+d.name, func(t *testing.T) {
					t.Parallel()
					dir := t.TempDir()
					copyDir(t, base, dir)
					if err := d.hurt(path(dir)); err != nil {
						t.Fatal(err)
					}
					lost := c.checkSurvivor(t, dir)
					if limit := tolerated(victim, d.name); lost > limit {
						t.Errorf("%d records cannot be delivered, at most %d may be hurt", lost, limit)
					}
				})
			}
		}
	}
}

// tolerated is how many records a damage may cost.
func tolerated(victim, damage string) int {
	switch {
	case victim == "manifest", victim == "prepared segment":
		return 0
	case strings.HasPrefix(damage, "page "), strings.HasPrefix(damage, "one bit"):
		return 10 // the frames that have a part of themselves in the page; small ones share it
	case strings.Contains(damage, "meta page"):
		return 1 // the frame that a rolled back transaction wrote over
	case strings.HasPrefix(damage, "garbage from"):
		return 12
	}
	return 310
}

// checkSurvivor runs a child on a damaged spool and judges what it says. It
// returns how many of the records that were not settled it did not deliver.
func (c *corpus) checkSurvivor(t *testing.T, dir string) (lost int) {
	t.Helper()
	cmd := child(t, "survive", dir)
	var out, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("child: %v\n%s", err, stderr.String())
	}
	delivered := map[[2]uint64]bool{}
	lines := bufio.NewScanner(strings.NewReader(out.String()))
	lines.Buffer(nil, 1<<20)
	finished := false
	for lines.Scan() {
		if a, ok := parseAck(lines.Text()); ok {
			if _, used := c.records[[2]uint64{uint64(a.lane), a.seq}]; used {
				t.Errorf("number %d of lane %d was given out again", a.seq, a.lane)
			}
			continue
		}
		var lane, seq uint64
		var data string
		if n, _ := fmt.Sscanf(lines.Text(), "got %d %d %s", &lane, &seq, &data); n == 3 && data != "after" {
			at := [2]uint64{lane, seq}
			if c.records[at] != data {
				t.Errorf("record %v reads %.20q, was %.20q", at, data, c.records[at])
			}
			delivered[at] = true
		}
		finished = finished || strings.HasPrefix(lines.Text(), "stats ")
	}
	if !finished {
		t.Fatal("the child did not finish")
	}
	for at := range c.unsettled {
		if !delivered[at] {
			lost++
		}
	}
	return lost
}

// TestNoDamage is the control of TestDamage: without any, nothing is lost.
func TestNoDamage(t *testing.T) {
	c := makeCorpus(t)
	for _, dir := range []string{c.clean, c.unclean} {
		if lost := c.checkSurvivor(t, dir); lost != 0 {
			t.Errorf("%d records lost", lost)
		}
	}
}

// TestInterruptedSalvage: a crash between the two renames of a salvage is
// finished by Open, and one before them is undone.
func TestInterruptedSalvage(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	lane := laneOf(t, s, jsonTable("t"))
	appendOne(t, s, lane, "kept")
	segment := filepath.Join(dir, "segments", "00000001.db")
	for _, step := range []func() error{
		func() error { return os.Rename(segment, segment+".salvage") },
		func() error { return os.WriteFile(segment+".salvage", []byte("unfinished"), 0o600) },
		func() error { return os.WriteFile(segment+".salvage.tmp", []byte("unfinished"), 0o600) },
	} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := step(); err != nil {
			t.Fatal(err)
		}
		s = openStore(t, dir, nil)
		if st := checkBooks(t, s); st.Acked != 1 || st.Damaged != 0 {
			t.Errorf("stats %+v", st)
		}
		if names, _ := filepath.Glob(segment + ".*"); len(names) != 0 {
			t.Errorf("left behind: %v", names)
		}
	}
	if data := payloadOf(t, s, &sealAll(t, s)[0].Batch); data != "kept\n" {
		t.Errorf("payload %q", data)
	}
}

// TestManifestHistoryDamage: damage in the history is found after an unclean
// stop and costs the history alone; the ledger stays as it was.
func TestManifestHistoryDamage(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, &store.Options{NoSync: true})
	lane := laneOf(t, s, jsonTable("t"))
	for range 400 {
		appendOne(t, s, lane, "x")
		settle(t, s, sealAll(t, s)[0].Batch.ID)
	}
	appendOne(t, s, lane, "live")
	live := sealAll(t, s)[0].Batch
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := child(t, "die", dir).Run(); err == nil {
		t.Fatal("the child that should die lived")
	}
	// A bit of every row of the history.
	db, err := bolt.Open(filepath.Join(dir, "manifest.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	hurt := 0
	err = db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("history"))
		rows := map[string][]byte{}
		if err := b.ForEach(func(k, v []byte) error { rows[string(k)] = slices.Clone(v); return nil }); err != nil {
			return err
		}
		for k, v := range rows {
			v[len(v)/2] ^= 1
			hurt++
			if err := b.Put([]byte(k), v); err != nil {
				return err
			}
		}
		return nil
	})
	if err = errors.Join(err, db.Close()); err != nil || hurt != 400 {
		t.Fatalf("%d rows hurt, %v", hurt, err)
	}
	s = openStore(t, dir, nil)
	st := checkBooks(t, s)
	if st.Damaged != 1 || st.Ingested != 400 || st.PossibleDuplicates != 0 {
		t.Errorf("stats %+v", st)
	}
	if e, ok := s.Entry(live.ID); !ok || e.Batch.First != live.First {
		t.Error("the live batch is gone")
	}
	if _, err := s.Find(lane, 1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Find in the lost history: %v", err)
	}
	settle(t, s, live.ID)
	checkBooks(t, s)
}
