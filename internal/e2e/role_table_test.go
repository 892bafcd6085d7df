package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/ledger"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport"
	"kustospool/transport/direct"
	"kustospool/transport/managed"
	"kustospool/transport/queued"
)

var update = flag.Bool("update", false, "write the tables of roles in docs anew")

// holder is who sends: its roles on the database and on the table.
type holder struct {
	name  string
	role  kustosim.Role
	table kustosim.Role // on the table that is sent to
	other kustosim.Role // on another one
	makes bool          // it makes the table
}

var holders = []holder{
	{name: "Ingestor", role: kustosim.Ingestor},
	{name: "Ingestor and Viewer", role: kustosim.Ingestor | kustosim.Viewer},
	{name: "Ingestor and Monitor", role: kustosim.Ingestor | kustosim.Monitor},
	{name: "Ingestor and User", role: kustosim.Ingestor | kustosim.User},
	{name: "User", role: kustosim.User},
	{name: "User of a table that it made", role: kustosim.User, makes: true},
	{name: "User and Ingestor of the table", role: kustosim.User, table: kustosim.Ingestor},
	{name: "User and Admin of the table", role: kustosim.User, table: kustosim.Admin},
	{name: "User and Ingestor of another table", role: kustosim.User, other: kustosim.Ingestor},
	{name: "Viewer", role: kustosim.Viewer},
	{name: "Monitor", role: kustosim.Monitor},
	{name: "Admin", role: kustosim.Admin},
}

// way is a transport and how it is told to send.
type way struct {
	name      string
	guarantee ingest.Guarantee
	open      func(endpoint string, cred azcore.TokenCredential) (transport.Transport, error)
	effects   []effect // that make rows appear
}

// effect is a request that makes rows appear.
type effect struct {
	host         kustosim.Host
	method, path string
}

func byQueue(p queued.Protocol) func(string, azcore.TokenCredential) (transport.Transport, error) {
	return func(endpoint string, cred azcore.TokenCredential) (transport.Transport, error) {
		return queued.NewClient(endpoint, cred, &queued.ClientOptions{Protocol: p, TrackInterval: 10 * time.Millisecond})
	}
}

var (
	enqueued  = effect{kustosim.Queue, http.MethodPost, "/messages"}
	submitted = effect{kustosim.DM, http.MethodPost, "/ingestion/queued/"}
	commanded = effect{kustosim.Engine, http.MethodPost, ".ingest into"}
	streamed  = effect{kustosim.Engine, http.MethodPost, "/rest/ingest/"}
)

var ways = []way{
	{"`queued`, `--protocol queue`", ingest.ExactlyOnce, byQueue(queued.Queue), []effect{enqueued}},
	{"`--protocol rest`", ingest.ExactlyOnce, byQueue(queued.REST), []effect{submitted}},
	{"`--protocol auto`", ingest.ExactlyOnce, byQueue(queued.Auto), []effect{submitted, enqueued}},
	{"`direct`", ingest.ExactlyOnce, func(endpoint string, cred azcore.TokenCredential) (transport.Transport, error) {
		return direct.NewClient(endpoint, cred, &direct.ClientOptions{TrackInterval: 10 * time.Millisecond})
	}, []effect{commanded}},
	{"`streaming`", ingest.AtLeastOnce, func(endpoint string, cred azcore.TokenCredential) (transport.Transport, error) {
		return direct.NewStreamingClient(endpoint, cred, nil)
	}, []effect{streamed}},
	{"`managed`", ingest.AtLeastOnce, func(endpoint string, cred azcore.TokenCredential) (transport.Transport, error) {
		return managed.NewClient(endpoint, cred, &managed.ClientOptions{Queued: &queued.ClientOptions{TrackInterval: 10 * time.Millisecond}})
	}, []effect{streamed}},
}

// The graces: where there is nothing to find, and where what is there must be found.
const (
	soonAgain     = 50 * time.Millisecond
	timeToBeFound = time.Second
)

// giveUp is after how many attempts a delivery counts as one that does not work.
// Attempts that work take three at most.
const giveUp = 6

// counting calls back once there were giveUp attempts.
type counting struct {
	transport.Transport
	mu       sync.Mutex
	attempts int // guarded by mu
	enough   func()
}

func (c *counting) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	c.mu.Lock()
	if c.attempts++; c.attempts == giveUp {
		c.enough()
	}
	c.mu.Unlock()
	return c.Transport.Send(ctx, d)
}

func (c *counting) Close() error { return c.Transport.(interface{ Close() error }).Close() }

// tracked is counting with the Tracker of its transport.
type tracked struct {
	*counting
	transport.Tracker
}

// delivery is what came of a few records.
type delivery struct {
	sim   *kustosim.Sim
	works bool
	why   *ingest.Failure // it does not
	stats engine.Stats
	extra int // rows that are there twice
}

// deliver sends as somebody does, with a fault at the first request that makes rows
// appear; none where its kind is 0. What is there twice must have been counted. grace
// is how long an attempt of unknown outcome is looked for.
func deliver(t *testing.T, who holder, by way, fault kustosim.Fault, grace time.Duration) delivery {
	const token = "box"
	o := &kustosim.Options{Databases: []string{database}, Token: "root", PreferredIngestion: "Rest", BatchTime: 5 * time.Millisecond,
		Principals: map[string]kustosim.Role{token: who.role}}
	for table, role := range map[string]kustosim.Role{tableName: who.table, "Other": who.other} {
		if role != 0 {
			o.TableRoles = append(o.TableRoles, kustosim.TableRole{Principal: token, Database: database, Table: table, Role: role})
		}
	}
	sim := simspool.Start(t, o)
	if who.makes {
		command(t, sim, token, ".create table "+tableName)
	} else if err := sim.CreateTable(database, tableName); err != nil {
		t.Fatal(err)
	}
	if err := sim.SetStreaming(database, tableName, true); err != nil {
		t.Fatal(err)
	}
	if fault.Kind != 0 {
		for _, e := range by.effects {
			fault.Method, fault.PathContains, fault.Times = e.method, e.path, 1
			sim.Fault(e.host, fault)
		}
	}
	client, err := by.open(sim.Endpoint(), bearer(token))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	count := &counting{Transport: client, enough: cancel}
	tr := transport.Transport(count)
	if tracker, ok := client.(transport.Tracker); ok {
		tr = tracked{count, tracker}
	}
	opts := quick()
	opts.Guarantee, opts.UnknownGrace = by.guarantee, grace
	s := simspool.Open(t, t.TempDir(), tr, opts)
	books := &ledger.Ledger{}
	var requests []*ingest.Request
	for i := range 5 {
		requests = append(requests, &ingest.Request{Properties: telemetry, Data: []byte(record(1, i))})
	}
	receipts, err := s.IngestAll(ctx, requests)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range receipts {
		books.Acked(r.ID.String(), string(requests[i].Data))
	}
	err = s.Drain(ctx)
	d := delivery{sim: sim, works: err == nil, stats: s.Stats()}
	conserved(t, s)
	if d.works {
		d.extra = balanced(t, sim, books, of(by.guarantee)).Extra
		if int64(d.extra) > d.stats.Duplicates.Possible {
			t.Errorf("%d rows are there twice, %d were counted", d.extra, d.stats.Duplicates.Possible)
		}
		return d
	}
	if n := sim.Count(database, tableName); n != 0 {
		t.Errorf("%d rows are there, and the spool did not settle: %v", n, err)
	}
	for _, l := range d.stats.Backlogged() {
		d.why = l.Failure
	}
	if d.why == nil {
		t.Errorf("it does not work, and nothing says why: %v", err)
	}
	return d
}

// command runs a management command as somebody.
func command(t *testing.T, sim *kustosim.Sim, token, csl string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", sim.Endpoint()+"/v1/rest/mgmt", strings.NewReader(fmt.Sprintf(`{"db":%q,"csl":%q}`, database, csl)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(csl, resp.Status)
	}
}

var needed = regexp.MustCompile(`needs the role (.+?) and has`)

// word says in a cell whether it works, and how, or what is missing.
func (d delivery) word() string {
	st := d.sim.Stats()
	switch {
	case !d.works:
		if role := needed.FindStringSubmatch(d.why.Message); role != nil {
			return "no: needs " + role[1]
		}
		return fmt.Sprintf("no: %s, `%s`", d.why.Class, d.why.Code)
	case st.RequestsQueued > 0:
		return "over REST"
	case st.MessagesPosted > 0:
		return "by queue"
	}
	return "yes"
}

// ambiguous says in a cell what a lost reply comes to.
func (d delivery) ambiguous() string {
	switch {
	case d.extra > 0:
		return "again, may double"
	case d.stats.Attempts > 1:
		return "again, skipped"
	}
	return "found"
}

// cell is what the tables say of one combination.
type cell struct{ clean, lost string }

// The tables of roles in docs/operations.md are what every combination of a
// transport and a principal came to at the simulator, which has the service's rules.
//
//	go test ./internal/e2e -run TestRoleTable -update
func TestRoleTable(t *testing.T) {
	if testing.Short() {
		t.Skip("short: every transport with every role takes half a minute")
	}
	var mu sync.Mutex
	cells := make(map[string]cell) // guarded by mu
	t.Run("combinations", func(t *testing.T) {
		for _, who := range holders {
			for _, by := range ways {
				t.Run(who.name+" "+strings.Trim(by.name, "`"), func(t *testing.T) {
					t.Parallel()
					clean := deliver(t, who, by, kustosim.Fault{}, soonAgain)
					c := cell{clean.word(), ""}
					if clean.works {
						if clean.extra > 0 {
							t.Errorf("%d rows are there twice without a fault", clean.extra)
						}
						refused := deliver(t, who, by, kustosim.Fault{Kind: kustosim.Respond, Status: http.StatusTooManyRequests}, soonAgain)
						gone := deliver(t, who, by, kustosim.Fault{Kind: kustosim.Respond, Status: 520}, soonAgain)
						lost := deliver(t, who, by, kustosim.Fault{Kind: kustosim.RespondLate, Status: 520}, timeToBeFound)
						for what, d := range map[string]delivery{"a refusal": refused, "a lost request": gone, "a lost reply": lost} {
							if !d.works || d.sim.Stats().FaultsStruck == 0 {
								t.Errorf("after %s: %v, %d faults struck", what, d.why, d.sim.Stats().FaultsStruck)
							}
						}
						if refused.extra+gone.extra > 0 {
							t.Errorf("rows are there twice, %d after a refusal and %d after a lost request", refused.extra, gone.extra)
						}
						c.lost = lost.ambiguous()
					}
					mu.Lock()
					defer mu.Unlock()
					cells[who.name+by.name] = c
				})
			}
		}
	})
	if t.Failed() {
		return
	}
	// The control: what is in the tables differs where the rights do.
	if a, b := cells[holders[0].name+ways[1].name], cells[holders[3].name+ways[1].name]; a == b {
		t.Errorf("the tables cannot tell an Ingestor from one who is a User as well: %+v", a)
	}
	const file, begin, end = "../../docs/operations.md", "<!-- roles -->\n", "<!-- end of roles -->\n"
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(have), "\r\n", "\n")
	before, rest, ok := strings.Cut(text, begin)
	was, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no marks for the tables", file)
	}
	want := roleTables(cells)
	t.Log("\n" + want)
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if was != want {
		t.Errorf("%s is not what the simulator says: run this test with -update", file)
	}
}

func roleTables(cells map[string]cell) string {
	var b strings.Builder
	table := func(title string, show func(cell) string) {
		b.WriteString("\n| " + title + " |")
		for _, by := range ways {
			b.WriteString(" " + by.name + " |")
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(ways)) + "\n")
		var order []string
		same := make(map[string][]string) // who has the same cells
		for _, who := range holders {
			row := ""
			for _, by := range ways {
				row += " " + show(cells[who.name+by.name]) + " |"
			}
			if strings.Trim(row, " |") == "" {
				continue
			}
			if same[row] == nil {
				order = append(order, row)
			}
			same[row] = append(same[row], who.name)
		}
		for _, row := range order {
			b.WriteString("| " + strings.Join(same[row], "; ") + " |" + row + "\n")
		}
	}
	table("to send", func(c cell) string { return c.clean })
	table("a reply is lost", func(c cell) string { return c.lost })
	b.WriteString("\n")
	return b.String()
}
