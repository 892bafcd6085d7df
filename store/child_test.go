package store_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
	"kustospool/store"
)

// The test binary runs again as a child where the process is to be killed, or
// may die of what it reads. What the child does is named in its environment.
const (
	envChild = "KUSTOSPOOL_STORE_CHILD"
	envDir   = "KUSTOSPOOL_STORE_DIR"
	envPoint = "KUSTOSPOOL_STORE_POINT"
	envNth   = "KUSTOSPOOL_STORE_NTH"
	envRound = "KUSTOSPOOL_STORE_ROUND"
)

var childJobs = map[string]func(dir string){"workload": workload}

// runChild does the child's job and ends the process, if this is a child.
func runChild() {
	job := os.Getenv(envChild)
	if job == "" {
		return
	}
	childJobs[job](os.Getenv(envDir))
	os.Exit(0)
}

func child(t testing.TB, job, dir string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(env, envChild+"="+job, envDir+"="+dir)...)
	return cmd
}

// crashOptions make every kind of step happen within a few hundred records.
func crashOptions() *store.Options {
	return &store.Options{SegmentBytes: store.MinSegmentBytes, OpenSegments: 2}
}

// ack is a line of the child: a record that was acknowledged.
type ack struct {
	lane uint32
	seq  uint64
	data string
}

func (a ack) String() string { return fmt.Sprintf("ack %d %d %s", a.lane, a.seq, a.data) }

func parseAck(line string) (ack, bool) {
	f := strings.Fields(line)
	if len(f) != 4 || f[0] != "ack" {
		return ack{}, false
	}
	lane, err1 := strconv.ParseUint(f[1], 10, 32)
	seq, err2 := strconv.ParseUint(f[2], 10, 64)
	return ack{uint32(lane), seq, f[3]}, err1 == nil && err2 == nil
}

const (
	childProducers = 4
	childRecords   = 150 // of each producer
)

// workload appends, seals and settles for a while, and tells its parent of
// every record once it is acknowledged. It dies at the crash point it is told.
func workload(dir string) {
	out := bufio.NewWriterSize(os.Stdout, 1)
	var printing sync.Mutex
	say := func(line string) {
		printing.Lock()
		defer printing.Unlock()
		fmt.Fprintln(out, line)
		out.Flush()
	}
	if point := os.Getenv(envPoint); point != "" {
		nth, _ := strconv.Atoi(os.Getenv(envNth))
		crashpoint.Arm(point, nth, func() {
			p, _ := os.FindProcess(os.Getpid())
			_ = p.Kill()
			select {}
		})
	}
	frames := make(chan store.Frame, 1<<16)
	opts := crashOptions()
	opts.Committed = func(fs []store.Frame) {
		for _, f := range fs {
			frames <- f
		}
	}
	s, err := store.Open(dir, opts)
	must(err)
	for f, err := range s.Unsealed() {
		must(err)
		frames <- f
	}
	var lanes []uint32
	for _, table := range []string{"a", "b"} {
		lane, err := s.Lane(ctx, jsonTable(table), store.FrameLimit{})
		must(err)
		lanes = append(lanes, lane)
	}
	tied := tiedLanes(s)
	var producers sync.WaitGroup
	for p := range childProducers {
		producers.Go(func() {
			for i := range childRecords {
				lane := lanes[(p+i)%len(lanes)]
				if i%15 == 7 {
					for _, a := range appendObject(s, lane, fmt.Sprintf("%s-%d-%d", os.Getenv(envRound), p, i)) {
						say(a.String())
					}
					continue
				}
				name := fmt.Sprintf("%s-%d-%d", os.Getenv(envRound), p, i)
				data := name + "-" + strings.Repeat("x", 500*(i%8))
				key := ""
				if i%5 == 0 {
					key = name
				}
				a, err := s.AppendOne(ctx, lane, []byte(data), key)
				must(err)
				say(ack{lane, a.Seq, data}.String())
				if i%50 == 49 {
					for _, a := range appendTied(s, tied, name) {
						say(a.String())
					}
				}
			}
		})
	}
	shipped := make(chan struct{})
	go func() {
		defer close(shipped)
		n := 0
		for f := range frames {
			ship(s, f, n)
			n++
		}
	}()
	producers.Wait()
	close(frames)
	<-shipped
	must(s.Close())
}

// appendObject stores a few records as an object.
func appendObject(s *store.Store, lane uint32, name string) (acks []ack) {
	o, err := s.NewObject(lane)
	must(err)
	for i := range 5 {
		data := fmt.Sprintf("%s-%d-%s", name, i, strings.Repeat("o", 700*i))
		must(o.Record([]byte(data)))
		acks = append(acks, ack{lane: lane, data: data})
	}
	out, err := s.AppendObjects(ctx, []*store.Object{o}, nil)
	must(err)
	must(o.Discard())
	for i := range acks {
		acks[i].seq = out[0].Seq + uint64(i)
	}
	return acks
}

// tiedLanes are so many that small frames of all of them become a sheaf.
func tiedLanes(s *store.Store) (lanes []uint32) {
	for i := range 10 {
		lane, err := s.Lane(ctx, jsonTable(fmt.Sprint("tied", i)), store.FrameLimit{})
		must(err)
		lanes = append(lanes, lane)
	}
	return lanes
}

// appendTied appends a record to each of the lanes at once.
func appendTied(s *store.Store, lanes []uint32, name string) (acks []ack) {
	var recs []store.Record
	for i, lane := range lanes {
		acks = append(acks, ack{lane: lane, data: fmt.Sprint(name, "-tied-", strings.Repeat("z", 60*i))})
		recs = append(recs, store.Record{Lane: lane, Data: []byte(acks[i].data)})
	}
	got, err := s.Append(ctx, recs)
	must(err)
	for i := range acks {
		acks[i].seq = got[i].Seq
	}
	return acks
}

// ship makes a batch of a frame and takes it somewhere along its life.
func ship(s *store.Store, f store.Frame, n int) {
	entries, err := s.Seal(ctx, []store.Seal{{Lane: f.Lane, First: f.First, Last: f.Last, Bytes: f.Bytes, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested}})
	must(err)
	id := entries[0].Batch.ID
	to := func(id ingest.BatchID, from, to ingest.State) {
		_, err := s.Transition(ctx, id, from, func(e *store.Entry) { e.State = to })
		must(err)
	}
	switch {
	case n%40 == 39:
		return
	case n%8 == 1:
		_, err := s.DeadLetter(ctx, id, ingest.Sealed, &ingest.Failure{Class: "permanent"})
		must(err)
		return
	case f.Records() > 1:
		to(id, ingest.Sealed, ingest.Sending)
		entries, err = s.Split(ctx, id, ingest.Sending, []uint64{f.Last}, nil)
		must(err)
	}
	for _, e := range entries {
		to(e.Batch.ID, ingest.Sealed, ingest.Sending)
		to(e.Batch.ID, ingest.Sending, ingest.Accepted)
		to(e.Batch.ID, ingest.Accepted, ingest.Succeeded)
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(3)
	}
}
