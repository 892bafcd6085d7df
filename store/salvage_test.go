package store_test

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
	"kustospool/store"
)

// salvageSpool is a spool at rest whose second segment was set aside, though it can be read.
type salvageSpool struct {
	dir   string
	opts  *store.Options
	all   []string // the records, in order
	aside string   // the file
}

func makeSalvageSpool(t *testing.T) *salvageSpool {
	t.Helper()
	sp := &salvageSpool{dir: t.TempDir(), opts: &store.Options{SegmentBytes: store.MinSegmentBytes, MaxBytes: 64 << 20}}
	s := openStore(t, sp.dir, sp.opts)
	lane := laneOf(t, s, jsonTable("T"))
	for i := range 200 {
		text := fmt.Sprintf(`{"n":%d,"pad":"%s"}`, i, strings.Repeat("x", 1000))
		appendOne(t, s, lane, text)
		sp.all = append(sp.all, text)
	}
	closeStore(t, s)
	sp.aside = filepath.Join(sp.dir, "quarantine", "00000002.log.1")
	if err := os.Rename(filepath.Join(sp.dir, "segments", "00000002.log"), sp.aside); err != nil {
		t.Fatal(err)
	}
	return sp
}

// plan looks, changes nothing, and adds up.
func (sp *salvageSpool) plan(t *testing.T) *store.Salvage {
	t.Helper()
	before := traces(t, sp.dir)
	p, err := store.PlanSalvage(sp.dir, sp.opts)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, traces(t, sp.dir)) {
		t.Error("a plan changed the spool")
	}
	for _, f := range p.Files {
		if f.Read != f.Good+f.Bad || f.Good != f.There+f.Settled+f.Lost+f.Dead+f.Doubtful+f.Homeless {
			t.Errorf("it does not add up: %+v", f)
		}
	}
	return p
}

func (sp *salvageSpool) apply(t *testing.T, doubtful bool) *store.Salvaged {
	t.Helper()
	done, err := store.ApplySalvage(ctx, sp.dir, sp.opts, doubtful)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// deliver takes all that waits, as an engine does: what cannot be read is dead-lettered.
func (sp *salvageSpool) deliver(t *testing.T) (got []string, dead int64) {
	t.Helper()
	s := openStore(t, sp.dir, sp.opts)
	defer closeStore(t, s)
	sealAll(t, s)
	for _, lane := range s.Lanes() {
		for w, err := range s.Waiting(lane, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if w.Err == nil {
				got = append(got, string(w.Data))
			}
		}
	}
	for _, e := range s.Live() {
		r := s.Payload(&e.Batch).Open()
		buf, err := make([]byte, 1<<20), error(nil)
		for err == nil {
			_, err = r.Read(buf)
		}
		if err.Error() == "EOF" {
			settle(t, s, e.Batch.ID)
			continue
		}
		cut := e.Batch
		cuts := damageCuts(t, err, &cut)
		move(t, s, cut.ID, ingest.Sealed, ingest.Sending)
		parts, err := s.Split(ctx, cut.ID, ingest.Sending, cuts, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			r := s.Payload(&p.Batch).Open()
			_, err := r.Read(buf)
			if err == nil {
				settle(t, s, p.Batch.ID)
				continue
			}
			dead += p.Batch.Records()
			if _, err := s.DeadLetter(ctx, p.Batch.ID, ingest.Sealed, &ingest.Failure{Class: "damaged", Code: "damaged"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	checkBooks(t, s)
	return got, dead
}

func damageCuts(t *testing.T, err error, b *ingest.Batch) (cuts []uint64) {
	t.Helper()
	damage, ok := err.(*store.CorruptionError)
	if !ok {
		t.Fatal(err)
	}
	if damage.First > b.First {
		cuts = append(cuts, damage.First)
	}
	if damage.Last < b.Last {
		cuts = append(cuts, damage.Last+1)
	}
	return cuts
}

func sum(files []store.SalvagedFile, of func(*store.SalvagedFile) int64) (n int64) {
	for i := range files {
		n += of(&files[i])
	}
	return n
}

// A segment that was set aside goes back into the log before anything of it was given up:
// every record is there under its own number, once.
func TestSalvage_PutBack(t *testing.T) {
	sp := makeSalvageSpool(t)
	p := sp.plan(t)
	if len(p.Files) != 1 || p.Files[0].Lost == 0 || p.Files[0].Lost != p.Files[0].Read || !p.Files[0].PutBack() {
		t.Fatalf("%+v", p)
	}
	done := sp.apply(t, false)
	if done.PutBack != p.Files[0].Lost || done.Stored != 0 || done.Kept == "" {
		t.Errorf("%+v", done)
	}
	if got, dead := sp.deliver(t); !slices.Equal(got, sp.all) || dead != 0 {
		t.Errorf("%d records of %d, %d dead", len(got), len(sp.all), dead)
	}
	if again := sp.apply(t, true); again.Kept != "" || again.Stored != 0 {
		t.Errorf("a second time: %+v", again)
	}
}

// After its records were dead-lettered as damaged they are stored as new, and the dead letters
// are dealt with: all records arrive once.
func TestSalvage_DeadLettered(t *testing.T) {
	sp := makeSalvageSpool(t)
	if err := os.Rename(sp.aside, filepath.Join(sp.dir, "aside")); err != nil {
		t.Fatal(err)
	}
	got, dead := sp.deliver(t)
	if dead == 0 || int(dead)+len(got) != len(sp.all) {
		t.Fatalf("%d dead, %d delivered of %d", dead, len(got), len(sp.all))
	}
	if err := os.Rename(filepath.Join(sp.dir, "aside"), sp.aside); err != nil {
		t.Fatal(err)
	}
	p := sp.plan(t)
	if len(p.Files) != 1 || p.Files[0].Dead != dead || len(p.Letters) != 1 {
		t.Fatalf("%+v", p)
	}
	done := sp.apply(t, false)
	if done.Stored != dead || done.PutBack != 0 || done.Doubtful != 0 {
		t.Errorf("%+v", done)
	}
	for _, name := range []string{"00000002.log.1", p.Letters[0].String() + ".json"} {
		if _, err := os.Stat(filepath.Join(sp.dir, filepath.FromSlash(done.Kept), name)); err != nil {
			t.Errorf("not kept: %v", err)
		}
	}
	// As after a kill before anything was moved: what is stored is not stored again.
	kept := filepath.Join(sp.dir, filepath.FromSlash(done.Kept))
	for name := range readFiles(t, kept) {
		sub := "dead"
		if strings.HasSuffix(name, ".log.1") {
			sub = "quarantine"
		}
		if err := os.Rename(filepath.Join(kept, name), filepath.Join(sp.dir, sub, name)); err != nil {
			t.Fatal(err)
		}
	}
	if again := sp.apply(t, false); again.Stored != 0 || again.Kept == "" {
		t.Errorf("after a kill: %+v", again)
	}
	rest, dead := sp.deliver(t)
	got = append(got, rest...)
	slices.Sort(got)
	want := slices.Sorted(slices.Values(sp.all))
	if !slices.Equal(got, want) || dead != 0 {
		t.Errorf("%d records of %d, %d dead", len(got), len(want), dead)
	}
	if again := sp.plan(t); len(again.Files) != 0 || len(again.Letters) != 0 {
		t.Errorf("a second plan: %+v", again)
	}
}

// Without the ledger nobody knows what was delivered: the ledger is kept and made anew, and
// what the file has is stored only where that is asked for, and counted.
func TestSalvage_LostLedger(t *testing.T) {
	sp := makeSalvageSpool(t)
	ledger := filepath.Join(sp.dir, "manifest.db")
	if err := os.Truncate(ledger, 5000); err != nil {
		t.Fatal(err)
	}
	p := sp.plan(t)
	if p.Ledger == nil || p.Ledger.Records == 0 {
		t.Fatalf("%+v", p)
	}
	done := sp.apply(t, false)
	if done.Again != p.Ledger.Records {
		t.Errorf("%+v, planned %+v", done, p.Ledger)
	}
	if info, err := os.Stat(filepath.Join(sp.dir, filepath.FromSlash(done.Kept), "manifest.db")); err != nil || info.Size() != 5000 {
		t.Errorf("the ledger is not kept: %v", err)
	}
	p = sp.plan(t)
	doubtful := sum(p.Files, func(f *store.SalvagedFile) int64 { return f.Doubtful })
	if doubtful == 0 || doubtful != p.Files[0].Read {
		t.Fatalf("%+v", p)
	}
	if done := sp.apply(t, false); done.Kept != "" {
		t.Errorf("what is in doubt is stored unasked: %+v", done)
	}
	if done := sp.apply(t, true); done.Stored != doubtful || done.Doubtful != doubtful {
		t.Errorf("%+v", done)
	}
	got, dead := sp.deliver(t)
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(sp.all)); !slices.Equal(got, want) || dead != 0 {
		t.Errorf("%d records of %d, %d dead", len(got), len(want), dead)
	}
}

// A damaged frame of the file is bad and the others are not; what is no segment is told.
func TestSalvage_OfDamage(t *testing.T) {
	sp := makeSalvageSpool(t)
	data, err := os.ReadFile(sp.aside)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(data), `"pad"`)
	data[at] ^= 1
	if err := os.WriteFile(sp.aside, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(sp.dir, "quarantine", "00000009.log.1"), []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := sp.plan(t)
	if len(p.Files) != 2 || p.Files[0].Bad != 1 || p.Files[0].Lost == 0 || p.Files[1].Read != 0 {
		t.Fatalf("%+v", p)
	}
	sp.apply(t, false)
	got, dead := sp.deliver(t)
	if len(got)+int(dead) != len(sp.all) || dead != 1 {
		t.Errorf("%d delivered and %d dead of %d", len(got), dead, len(sp.all))
	}
}

// A call that is cut off between a put-back and the storing of what was given up finds that
// again: the file is in both places until it is used up.
func TestSalvage_CutOff(t *testing.T) {
	sp := makeSalvageSpool(t)
	dead := sp.giveUpHalf(t, 0)
	if p := sp.plan(t); len(p.Files) != 1 || p.Files[0].Dead != dead || !p.Files[0].PutBack() {
		t.Fatalf("%+v", p)
	}
	crashpoint.Arm("salvage.put-back", 1, func() { panic("cut off") })
	func() {
		defer crashpoint.Arm("", 0, nil)
		defer func() {
			if recover() == nil {
				t.Error("it was not cut off")
			}
		}()
		_, _ = store.ApplySalvage(ctx, sp.dir, sp.opts, false)
	}()
	if done := sp.apply(t, false); done.Stored != dead {
		t.Errorf("after the cut %d are stored of %d", done.Stored, dead)
	}
	if again := sp.plan(t); len(again.Files) != 0 || len(again.Letters) != 0 {
		t.Errorf("a second plan: %+v", again)
	}
	got, lost := sp.deliver(t)
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(sp.all)); !slices.Equal(got, want) || lost != 0 {
		t.Errorf("%d records of %d, %d dead", len(got), len(want), lost)
	}
}

// giveUpHalf dead-letters the first half of what the segment has as damaged, after so many
// attempts at it whose outcome was not learned; the rest waits, in a batch that was sealed
// while all was there.
func (sp *salvageSpool) giveUpHalf(t *testing.T, unresolved int) (dead int64) {
	t.Helper()
	segment, aside := filepath.Join(sp.dir, "segments", "00000002.log"), filepath.Join(sp.dir, "aside")
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	open := func(do func(s *store.Store)) {
		t.Helper()
		s, err := store.Open(sp.dir, sp.opts)
		if err != nil {
			t.Fatal(err)
		}
		defer closeStore(t, s)
		do(s)
	}
	rename(sp.aside, segment)
	open(func(s *store.Store) {
		lane := store.Seal{Lane: s.Lanes()[0], Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested}
		seals := []store.Seal{lane, lane}
		for f, err := range s.Unsealed() {
			if err != nil {
				t.Fatal(err)
			}
			to := &seals[min(f.First/81, 1)]
			if to.First == 0 {
				to.First = f.First
			}
			to.Last = f.Last
			to.Bytes += f.Bytes
		}
		if _, err := s.Seal(ctx, seals); err != nil {
			t.Fatal(err)
		}
	})
	rename(segment, aside)
	open(func(s *store.Store) {
		e := s.Live()[0]
		r := s.Payload(&e.Batch).Open()
		defer r.Close()
		_, err := io.ReadAll(r)
		cuts := damageCuts(t, err, &e.Batch)
		move(t, s, e.Batch.ID, ingest.Sealed, ingest.Sending)
		parts, err := s.Split(ctx, e.Batch.ID, ingest.Sending, cuts, nil)
		if err != nil || len(parts) != 2 {
			t.Fatal(len(parts), err)
		}
		bad := parts[1].Batch
		if _, err := s.Transition(ctx, bad.ID, ingest.Sealed, func(e *store.Entry) { e.Unresolved = unresolved }); err != nil {
			t.Fatal(err)
		}
		dead = bad.Records()
		if _, err := s.DeadLetter(ctx, bad.ID, ingest.Sealed, &ingest.Failure{Class: "damaged", Code: "damaged"}); err != nil {
			t.Fatal(err)
		}
	})
	rename(aside, sp.aside)
	return dead
}

// What may have arrived is stored as new only where that is asked for, whether its dead letter
// or its batch says so.
func TestSalvage_OfWhatMayHaveArrived(t *testing.T) {
	sp := makeSalvageSpool(t)
	dead := sp.giveUpHalf(t, 1)
	if p := sp.plan(t); len(p.Files) != 1 || p.Files[0].Dead != 0 || p.Files[0].Doubtful != dead || len(p.Letters) != 0 {
		t.Fatalf("%+v", p)
	}
	if done := sp.apply(t, false); done.Stored != 0 || done.PutBack == 0 {
		t.Errorf("%+v", done)
	}
	done := sp.apply(t, true)
	if done.Stored != dead || done.Doubtful != dead {
		t.Errorf("%+v", done)
	}
	// As after a kill before the file was moved.
	if err := os.Rename(filepath.Join(sp.dir, filepath.FromSlash(done.Kept), filepath.Base(sp.aside)), sp.aside); err != nil {
		t.Fatal(err)
	}
	if again := sp.apply(t, true); again.Stored != 0 || again.Doubtful != 0 {
		t.Errorf("after a kill: %+v", again)
	}
	look, err := store.Look(sp.dir, sp.opts)
	if err != nil {
		t.Fatal(err)
	}
	if n := look.Stats().PossibleDuplicates; n != dead {
		t.Errorf("%d possible duplicates of %d", n, dead)
	}
	if err := look.Close(); err != nil {
		t.Fatal(err)
	}
	got, lost := sp.deliver(t)
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(sp.all)); !slices.Equal(got, want) || lost != 0 {
		t.Errorf("%d records of %d, %d dead", len(got), len(want), lost)
	}
}

// A batch that was sealed after the loss cannot have its records back, since it has the size
// of the others: they are stored as new.
func TestSalvage_SealedAfterTheLoss(t *testing.T) {
	sp := makeSalvageSpool(t)
	hidden := filepath.Join(sp.dir, "aside")
	if err := os.Rename(sp.aside, hidden); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(sp.dir, sp.opts)
	if err != nil {
		t.Fatal(err)
	}
	sealAll(t, s)
	closeStore(t, s)
	if err := os.Rename(hidden, sp.aside); err != nil {
		t.Fatal(err)
	}
	p := sp.plan(t)
	if len(p.Files) != 1 || p.Files[0].Dead != p.Files[0].Read || p.Files[0].PutBack() {
		t.Fatalf("%+v", p)
	}
	if done := sp.apply(t, false); done.Stored != p.Files[0].Read {
		t.Errorf("%+v", done)
	}
	got, dead := sp.deliver(t)
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(sp.all)); !slices.Equal(got, want) || dead != p.Files[0].Read {
		t.Errorf("%d records of %d, %d dead", len(got), len(want), dead)
	}
}

// Of two files of the same segment one goes back, and the other is not lost by that.
func TestSalvage_TwoOfOneNumber(t *testing.T) {
	sp := makeSalvageSpool(t)
	data, err := os.ReadFile(sp.aside)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(strings.TrimSuffix(sp.aside, "1")+"2", data, 0o600); err != nil {
		t.Fatal(err)
	}
	// The first one has a record less than the second.
	data[strings.Index(string(data), `"pad"`)] ^= 1
	if err := os.WriteFile(sp.aside, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if done := sp.apply(t, false); done.PutBack != done.Plan.Files[0].Lost {
		t.Errorf("%+v", done)
	}
	if again := sp.apply(t, false); again.Stored != 1 {
		t.Errorf("a second time: %+v", again)
	}
	got, dead := sp.deliver(t)
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(sp.all)); !slices.Equal(got, want) || dead != 1 {
		t.Errorf("%d records of %d, %d dead", len(got), len(want), dead)
	}
}

// Of a damaged frame of which a part is settled, that part is not stored again.
func TestSalvage_OfWhatIsSettledInPart(t *testing.T) {
	sp := &salvageSpool{dir: t.TempDir(), opts: &store.Options{SegmentBytes: store.MinSegmentBytes, MaxBytes: 64 << 20}}
	segment := filepath.Join(sp.dir, "segments", "00000001.log")
	var data []byte
	func() {
		s, err := store.Open(sp.dir, sp.opts)
		if err != nil {
			t.Fatal(err)
		}
		defer closeStore(t, s)
		lane := laneOf(t, s, jsonTable("T"))
		var recs []store.Record
		for i := range 10 {
			text := fmt.Sprintf(`{"n":%d}`, i)
			sp.all = append(sp.all, text)
			recs = append(recs, store.Record{Lane: lane, Data: []byte(text)})
		}
		if _, err := s.Append(ctx, recs); err != nil {
			t.Fatal(err)
		}
		e := sealAll(t, s)[0]
		move(t, s, e.Batch.ID, ingest.Sealed, ingest.Sending)
		parts, err := s.Split(ctx, e.Batch.ID, ingest.Sending, []uint64{e.Batch.First + 4}, nil)
		if err != nil {
			t.Fatal(err)
		}
		settle(t, s, parts[0].Batch.ID)
	}()
	data, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(sp.dir, "quarantine"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(sp.dir, "quarantine", "00000001.log.1"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(segment, flip(data, strings.Index(string(data), `"n":5`)), 0o600); err != nil {
		t.Fatal(err)
	}
	p := sp.plan(t)
	if len(p.Files) != 1 || p.Files[0].Dead != 6 || p.Files[0].There != 0 || p.Files[0].Settled != 4 {
		t.Fatalf("%+v", p)
	}
	if done := sp.apply(t, false); done.Stored != 6 {
		t.Errorf("%+v", done)
	}
}
