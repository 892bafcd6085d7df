package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/operate"
	"kustospool/transport/queued"
)

// sickSpool is a spool with one of the six troubles of docs/operations.md, and the service
// that it is for.
type sickSpool struct {
	sim  *kustosim.Sim
	dir  string
	rows []string // that are to be in the table in the end, each once
	mend func()   // what is done outside of the spool: the service, the role, the disk
	ask  func() *operate.Status
}

// records are n records, as they are sent and as the table has them.
func (s *sickSpool) records(n, pad int) string {
	var text strings.Builder
	for i := range n {
		row := fmt.Sprintf(`{"n":%d,"vessel":"Ida %s"}`, i, strings.Repeat("x", pad))
		s.rows = append(s.rows, row)
		text.WriteString(row + "\n")
	}
	return text.String()
}

// send stores records, and tries to deliver them.
func (s *sickSpool) send(t *testing.T, text string, code int, args ...string) {
	t.Helper()
	got := kustospool(t, text, append([]string{"send", "--to", s.sim.Endpoint(), "--database", "Demo", "--table", "Readings", "--spool", s.dir, "-"}, args...)...)
	if got.code != code {
		t.Fatalf("%+v, want code %d", got, code)
	}
}

// status asks the spool, in use or at rest.
func (s *sickSpool) status(t *testing.T) *operate.Status {
	t.Helper()
	got := kustospool(t, "", "status", "--spool", s.dir, "--json")
	st := new(operate.Status)
	if err := json.Unmarshal([]byte(got.out), st); got.code != exitOK || err != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	return st
}

func sick(t *testing.T, o *kustosim.Options, tables ...string) *sickSpool {
	t.Helper()
	o.Databases = []string{"Demo"}
	dir, err := os.MkdirTemp("", "ks") // a socket in it has a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &sickSpool{sim: simulator(t, o), dir: filepath.Join(dir, "spool")}
	for _, table := range tables {
		if err := s.sim.CreateTable("Demo", table, kustosim.Column{Name: "n", Type: "int"}, kustosim.Column{Name: "vessel", Type: "string"}); err != nil {
			t.Fatal(err)
		}
	}
	s.mend = func() {}
	return s
}

// refusing makes every host of the service answer so, until the trouble is mended.
func (s *sickSpool) refusing(status int) {
	remove := []func(){
		s.sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: status}),
		s.sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.Respond, Status: status}),
	}
	s.mend = func() {
		for _, r := range remove {
			r()
		}
	}
}

// The six troubles: the heading in docs/operations.md, and how a spool comes to it.
var sixTroubles = []struct {
	heading string
	kind    operate.Kind
	what    string // a part of what status says of it
	said    string // a part of the service's words, or of the code
	records int64  // at least so many are affected
	make    func(*testing.T) *sickSpool
}{
	{"The service is down", operate.ServiceDown, "the service cannot be reached", "ServiceUnavailable", 40, func(t *testing.T) *sickSpool {
		s := sick(t, &kustosim.Options{}, "Readings")
		s.refusing(503)
		s.send(t, s.records(40, 0), exitPending, "--timeout", "1s")
		return s
	}},
	{"A table is missing", operate.MissingTable, "the table or its database is missing", `table "Readings" does not exist`, 40, func(t *testing.T) *sickSpool {
		s := sick(t, &kustosim.Options{})
		s.send(t, s.records(40, 0), exitPending)
		return s
	}},
	{"The permission is refused", operate.PermissionRefused, "the service refuses the permission", "needs the role Ingestor", 40, func(t *testing.T) *sickSpool {
		s := sick(t, &kustosim.Options{}, "Readings")
		s.refusing(403)
		s.send(t, s.records(40, 0), exitPending, "--timeout", "1s")
		return s
	}},
	{"Records are refused", operate.MalformedRecords, "dead letters wait", "is not a JSON object", 2, func(t *testing.T) *sickSpool {
		s := sick(t, &kustosim.Options{FailMalformedJSON: true}, "Readings")
		text := s.records(40, 0)
		for _, n := range []int{7, 23} { // their last bytes are missing
			text = strings.Replace(text, s.rows[n], strings.TrimSuffix(s.rows[n], `"}`), 1)
		}
		s.send(t, text, exitFailed, "--unchecked-json")
		return s
	}},
	{"The spool is full", operate.Full, "for room", "", 1, fullSpool},
	{"The spool is damaged", operate.Damaged, "set aside in quarantine", "", 0, func(t *testing.T) *sickSpool {
		s := sick(t, &kustosim.Options{}, "Readings")
		s.refusing(503)
		s.send(t, s.records(7000, 1000), exitPending, "--timeout", "1s", "--max-disk", "32MiB")
		// Open could not read it, on a disk that is mended since.
		if err := os.Rename(filepath.Join(s.dir, "segments", "00000001.log"), filepath.Join(s.dir, "quarantine", "00000001.log.1")); err != nil {
			t.Fatal(err)
		}
		return s
	}},
}

// fullSpool is one whose program waits for room. Its status is what it says then; the program
// is stopped before the repair, and what it had not stored yet is nobody's.
func fullSpool(t *testing.T) *sickSpool {
	s := sick(t, &kustosim.Options{}, "Readings")
	s.refusing(503)
	tr, err := queued.NewClient(s.sim.Endpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(s.dir, tr, &engine.Options{MaxDiskBytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Split(strings.TrimSuffix(s.records(20_000, 1000), "\n"), "\n")
	table, err := e.Table(ingest.Properties{Database: "Demo", Table: "Readings", Format: ingest.JSON})
	if err != nil {
		t.Fatal(err)
	}
	stored := make(chan int)
	go func() {
		for n := 0; ; n += 100 {
			all := make([][]byte, 0, 100)
			for _, row := range text[n : n+100] {
				all = append(all, []byte(row))
			}
			if _, err := table.IngestAll(t.Context(), all); err != nil {
				stored <- n
				return
			}
		}
	}()
	for e.Stats().WaitingForRoom == 0 {
		runtime.Gosched()
	}
	asked := s.status(t)
	s.ask = func() *operate.Status { return asked }
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	s.rows = s.rows[:<-stored]
	return s
}

// TestSixTroubles: for each trouble status names what, of which table, since when, why, how
// much and what next; and the commands of docs/operations.md, once its cause is mended, end with a
// drained spool, nothing lost and nothing doubled.
func TestSixTroubles(t *testing.T) {
	page := operationsPage(t)
	for _, test := range sixTroubles {
		t.Run(test.heading, func(t *testing.T) {
			begun := time.Now()
			commands := commandsUnder(t, page, "### "+test.heading)
			if len(commands) == 0 {
				t.Fatal("the page has no commands for it")
			}
			s := test.make(t)
			if s.ask == nil {
				s.ask = func() *operate.Status { return s.status(t) }
			}
			st := s.ask()
			i := slices.IndexFunc(st.Troubles, func(tr operate.Trouble) bool { return tr.Kind == test.kind })
			if i < 0 {
				t.Fatalf("status does not name it: %+v", st.Troubles)
			}
			tr := st.Troubles[i]
			if !strings.Contains(tr.What, test.what) || !strings.Contains(tr.Code+" "+tr.Said, test.said) || tr.Records < test.records || tr.Next == "" {
				t.Errorf("what, why, how much, what next: %+v", tr)
			}
			if !strings.Contains(page, tr.Next) || !strings.Contains(page, "`"+string(tr.Kind)+"`") {
				t.Errorf("the page does not have these words: %s: %s", tr.Kind, tr.Next)
			}
			if known := test.kind != operate.Damaged && test.kind != operate.Full; known && (tr.Since.Before(begun.Add(-time.Minute)) || tr.Since.After(time.Now())) {
				t.Errorf("since when: %s", tr.Since)
			}
			text := kustospool(t, "", "status", "--spool", s.dir)
			if s.ask().InUse == st.InUse && st.InUse == false && (!strings.Contains(text.out, tr.Next) || !strings.Contains(text.out, tr.What)) {
				t.Errorf("the text of status does not say %q and %q:\n%s", tr.What, tr.Next, text.out)
			}

			s.mend()
			t.Chdir(t.TempDir())
			means := strings.NewReplacer("TARGET", s.sim.Endpoint(), "DB.TABLE", "Demo.Readings", "TABLE", "Readings", "DIR", s.dir)
			for _, words := range commands {
				args := make([]string, len(words))
				for i, word := range words {
					args[i] = means.Replace(word)
				}
				got := kustospool(t, "", args...)
				if code := 0; got.code != code && !(args[0] == "check" && got.code == exitFailed) {
					t.Fatalf("%q: %+v", args, got)
				}
				if args[0] == "dead" && args[1] == "export" {
					mendFiles(t, "repaired")
				}
			}
			st = s.status(t)
			if c := st.Counters; c.Open+c.Sealed > 0 || c.DeadWaiting > 0 || c.PossibleDuplicates > 0 {
				t.Errorf("it is not drained: %+v", c)
			}
			for _, tr := range st.Troubles {
				if tr.Kind != operate.Damaged { // the quarantine has what salvage kept
					t.Errorf("there is trouble left: %+v", tr)
				}
			}
			var got []string
			for _, row := range s.sim.Rows("Demo", "Readings") {
				got = append(got, string(row))
			}
			slices.Sort(got)
			want := slices.Sorted(slices.Values(s.rows))
			if !slices.Equal(got, want) {
				t.Errorf("%d rows in the table, want %d; the first ones %.3q, want %.3q", len(got), len(want), got, want)
			}
		})
	}
}

// TestSixTroubles_Control: without the salvage the records of the damaged spool do not all
// arrive, and that shows.
func TestSixTroubles_Control(t *testing.T) {
	s := sixTroubles[len(sixTroubles)-1].make(t)
	s.mend()
	if got := kustospool(t, "", "drain", "--to", s.sim.Endpoint(), "--spool", s.dir); got.code != exitFailed {
		t.Errorf("%+v", got)
	}
	if n := s.sim.Count("Demo", "Readings"); n == len(s.rows) || s.status(t).Counters.DeadWaiting == 0 {
		t.Errorf("%d rows in the table of %d, and nothing is missing", n, len(s.rows))
	}
}

// mendFiles repairs the records that dead export has written.
func mendFiles(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing was exported: %v", err)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.TrimSuffix(string(data), "\n")+"\"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// operationsPage is docs/operations.md.
func operationsPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// commandsUnder are the commands in the blocks of code under a heading.
func commandsUnder(t *testing.T, page, heading string) (lines [][]string) {
	t.Helper()
	_, section, found := strings.Cut(page, "\n"+heading+"\n")
	if !found {
		t.Fatalf("the page has no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n#")
	for i, block := range strings.Split(section, "```sh\n") {
		if block, _, closed := strings.Cut(block, "```"); i > 0 && closed {
			lines = append(lines, shellLines(t, block)...)
		}
	}
	return lines
}
