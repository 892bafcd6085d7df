package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/pflag"

	"kustospool/internal/kustosim"
)

// recipe is one of docs/simulator.md: the command line and the requests.
type recipe struct {
	title string
	args  []string // behind "kustospool sim"
	calls []call
}

type call struct{ method, path string }

var curlLine = regexp.MustCompile(`^curl -X (POST|DELETE) "\$S(/[^"\s]+)"$`)

// readRecipes reads the recipes of a page. Every line of their blocks must be
// understood.
func readRecipes(page string) ([]recipe, error) {
	_, page, found := strings.Cut(page, "\n## Ten recipes\n")
	if !found {
		return nil, fmt.Errorf("the page has no recipes")
	}
	page, _, _ = strings.Cut(page, "\n## ")
	var list []recipe
	for i, section := range strings.Split(page, "\n### ") {
		if i == 0 {
			continue
		}
		title, rest, _ := strings.Cut(section, "\n")
		r := recipe{title: title}
		_, block, ok := strings.Cut(rest, "```sh\n")
		block, _, closed := strings.Cut(block, "```")
		if !ok || !closed {
			return nil, fmt.Errorf("%s: no block of commands", title)
		}
		for line := range strings.Lines(block) {
			line = strings.TrimSpace(line)
			words := strings.Fields(line)
			curl := curlLine.FindStringSubmatch(line)
			switch {
			case len(words) > 1 && words[0] == "kustospool" && words[1] == "sim" && r.args == nil:
				r.args = words[2:]
			case curl != nil && r.args != nil:
				r.calls = append(r.calls, call{curl[1], curl[2]})
			default:
				return nil, fmt.Errorf("%s: the line is not understood: %s", title, line)
			}
		}
		if r.args == nil || len(r.calls) == 0 {
			return nil, fmt.Errorf("%s: no command line or no request", title)
		}
		list = append(list, r)
	}
	return list, nil
}

// start runs the simulator of a recipe, as the command does.
func (r recipe) start(t *testing.T) (*prober, error) {
	t.Helper()
	flags := pflag.NewFlagSet("sim", pflag.ContinueOnError)
	settings := simCommand().flags(flags).(*simSettings)
	if err := flags.Parse(r.args); err != nil {
		return nil, err
	}
	opts, tables, err := settings.options()
	if err != nil {
		return nil, err
	}
	sim, err := startSim(opts, tables)
	if err != nil {
		return nil, err
	}
	p := &prober{t: t, sim: sim, http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	p.discover()
	return p, nil
}

// prober is a client of ingestion that does one step at a time and tries nothing
// twice.
type prober struct {
	t          *testing.T
	sim        *kustosim.Sim
	http       *http.Client
	struck     bool   // the requests of the recipe are made
	calls      []call // those
	containers []string
	queue      string
	identity   string
}

// do sends a request; status 0 is a connection that ended without a reply.
func (p *prober) do(method, uri, body string, headers ...string) (int, http.Header, []byte) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, uri, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := p.http.Do(req)
	if err != nil {
		return 0, nil, nil
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, nil
	}
	return resp.StatusCode, resp.Header, data
}

func (p *prober) command(csl string) (int, []map[string]any) {
	p.t.Helper()
	body, err := json.Marshal(map[string]string{"db": "Demo", "csl": csl})
	if err != nil {
		p.t.Fatal(err)
	}
	status, _, data := p.do(http.MethodPost, p.sim.Endpoint()+"/v1/rest/mgmt", string(body), "Content-Type", "application/json", "x-ms-client-request-id", "the-command")
	var set struct {
		Tables []struct {
			Columns []struct{ ColumnName string }
			Rows    [][]any
		}
	}
	if status != http.StatusOK || json.Unmarshal(data, &set) != nil {
		return status, nil
	}
	var rows []map[string]any
	for _, cells := range set.Tables[0].Rows {
		row := make(map[string]any)
		for i, c := range set.Tables[0].Columns {
			row[c.ColumnName] = cells[i]
		}
		rows = append(rows, row)
	}
	return status, rows
}

func (p *prober) discover() {
	p.t.Helper()
	_, rows := p.command(".get ingestion resources")
	p.containers = nil
	for _, row := range rows {
		switch row["ResourceTypeName"] {
		case "TempStorage":
			p.containers = append(p.containers, row["StorageRoot"].(string))
		case "SecuredReadyForAggregationQueue":
			p.queue = row["StorageRoot"].(string)
		}
	}
	if _, rows = p.command(".get kusto identity token"); len(rows) == 1 {
		p.identity = rows[0]["AuthorizationContext"].(string)
	}
}

// fail makes the requests of the recipe, unless this is the control.
func (p *prober) fail() {
	p.t.Helper()
	if !p.struck {
		return
	}
	for _, c := range p.calls {
		if status, _, said := p.do(c.method, p.sim.Endpoint()+c.path, ""); status != http.StatusNoContent {
			p.t.Fatalf("%s %s: %d %s", c.method, c.path, status, said)
		}
	}
}

// put uploads a blob and returns its URI too.
func (p *prober) put(account int, name, data string) (status int, header http.Header, uri string) {
	p.t.Helper()
	uri = strings.Replace(p.containers[account], "?", "/"+name+"?", 1)
	status, header, _ = p.do(http.MethodPut, uri, data, "x-ms-blob-type", "BlockBlob")
	return status, header, uri
}

// enqueue posts a message for a blob; with a tag it is ingested at most once.
func (p *prober) enqueue(uri, tag string) (status int) {
	p.t.Helper()
	properties := map[string]any{"authorizationContext": p.identity, "format": "json"}
	if tag != "" {
		properties["tags"], properties["ingestIfNotExists"] = `["ingest-by:`+tag+`"]`, `["`+tag+`"]`
	}
	text, err := json.Marshal(map[string]any{"Id": uuid.NewString(), "BlobPath": uri, "DatabaseName": "Demo", "TableName": "T", "RetainBlobOnSuccess": true,
		"FlushImmediately": true, "ReportLevel": 2, "ReportMethod": 0, "AdditionalProperties": properties})
	if err != nil {
		p.t.Fatal(err)
	}
	status, _, _ = p.do(http.MethodPost, strings.Replace(p.queue, "?", "/messages?", 1),
		"<QueueMessage><MessageText>"+base64.StdEncoding.EncodeToString(text)+"</MessageText></QueueMessage>")
	return status
}

// send uploads and enqueues one row.
func (p *prober) send(name, tag string) {
	p.t.Helper()
	status, _, uri := p.put(0, name, "{\"n\":1}\n")
	if queued := p.enqueue(uri, tag); status != http.StatusCreated || queued != http.StatusCreated {
		p.t.Fatalf("sending %s: %d, %d", name, status, queued)
	}
}

func (p *prober) wait(cond func(kustosim.Stats) bool) kustosim.Stats {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	if err := p.sim.Wait(ctx, func() bool { return cond(p.sim.Stats()) }); err != nil {
		p.t.Fatalf("%v; %+v", err, p.sim.Stats())
	}
	return p.sim.Stats()
}

// effects are what each recipe, by its number, does to a client: probe says what
// it sees, once with the requests of the recipe and once without.
var effects = map[string]struct {
	probe           func(p *prober) string
	struck, control string
}{
	"1": {func(p *prober) string {
		_, _, uri := p.put(0, "a.json", "{}\n")
		status := p.enqueue(uri, "")
		return fmt.Sprintf("status %d, %d taken", status, p.wait(func(s kustosim.Stats) bool { return s.Ingested == 1 }).MessagesPosted)
	}, "status 0, 1 taken", "status 201, 1 taken"},
	"2": {func(p *prober) string {
		first, header, _ := p.put(0, "a.json", "{}\n")
		second, _, _ := p.put(1, "a.json", "{}\n")
		return fmt.Sprintf("%d %s %s, then %d", first, header.Get("x-ms-error-code"), header.Get("Retry-After"), second)
	}, "503 ServerBusy 5, then 201", "201  , then 201"},
	"3": {func(p *prober) string {
		status, _, _ := p.put(0, "a.json", strings.Repeat("{}\n", 1<<20))
		return fmt.Sprintf("status %d, %d blobs", status, p.sim.Stats().BlobsPut)
	}, "status 503, 0 blobs", "status 201, 1 blobs"},
	"4": {func(p *prober) string {
		management, _ := p.command(".get ingestion resources")
		status, _, _ := p.put(0, "a.json", "{}\n")
		return fmt.Sprintf("management %d, storage %d", management, status)
	}, "management 0, storage 201", "management 200, storage 201"},
	"5": {func(p *prober) string {
		p.send("a.json", "")
		p.send("b.json", "") // ingested in turn, after the first
		reports := int64(2)
		if p.struck {
			reports--
		}
		s := p.wait(func(s kustosim.Stats) bool { return s.MessagesTaken == 2 && s.ReportsWritten == reports })
		return fmt.Sprintf("%d rows, %d failures", s.Rows, len(s.Failed))
	}, "1 rows, 0 failures", "2 rows, 0 failures"},
	"6": {func(p *prober) string {
		p.send("a.json", "")
		s := p.wait(func(s kustosim.Stats) bool { return s.ReportsWritten == 1 })
		return fmt.Sprintf("%d rows, failed %v", s.Rows, s.Failed)
	}, "0 rows, failed map[BadRequest_TableNotExist:1]", "1 rows, failed map[]"},
	"7": {func(p *prober) string {
		p.send("a.json", "")
		p.wait(func(s kustosim.Stats) bool { return s.ReportsWritten == 1 })
		untagged := p.sim.Count("Demo", "T")
		p.fail()
		p.send("b.json", "once")
		s := p.wait(func(s kustosim.Stats) bool { return s.ReportsWritten == 2 })
		return fmt.Sprintf("%d rows untagged, %d tagged, %d repeated", untagged, p.sim.Count("Demo", "T")-untagged, s.Retried)
	}, "2 rows untagged, 1 tagged, 2 repeated", "1 rows untagged, 1 tagged, 0 repeated"},
	"8": {func(p *prober) string {
		status, _, _ := p.put(0, "a.json", "{}\n")
		old := p.identity
		p.discover()
		renewed, _, uri := p.put(0, "a.json", "{}\n")
		p.identity = old
		p.enqueue(uri, "")
		s := p.wait(func(s kustosim.Stats) bool { return s.ReportsWritten == 1 })
		return fmt.Sprintf("old signature %d, new one %d, old token %v", status, renewed, s.Failed)
	}, "old signature 403, new one 201, old token map[BadRequest_InvalidKustoIdentityToken:1]", "old signature 201, new one 201, old token map[]"},
	"9": {func(p *prober) string {
		status, _ := p.command(".ingest inline into table T with (format='json') <| {\"n\":1}")
		_, ended := p.command(".show commands | where ClientActivityId == 'the-command'")
		state := any("none")
		if len(ended) == 1 {
			state = ended[0]["State"]
		}
		return fmt.Sprintf("status %d, %v, %d rows", status, state, p.sim.Count("Demo", "T"))
	}, "status 504, Completed, 1 rows", "status 200, Completed, 1 rows"},
	"10": {func(p *prober) string {
		if status, _ := p.command(".ingest async into table T ('" + p.blobOf("a.json") + "') with (format='json')"); status != http.StatusOK {
			p.t.Fatalf("the first command is %d", status)
		}
		ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
		defer cancel()
		underWay := 0
		if p.struck {
			underWay++
		}
		if err := p.sim.Wait(ctx, func() bool { return p.sim.PeakIngestions() == 1 && p.sim.CommandsUnderWay() == underWay }); err != nil {
			p.t.Fatal(err)
		}
		status, _ := p.command(".ingest inline into table T with (format='json') <| {\"n\":1}")
		p.do(http.MethodDelete, p.sim.Endpoint()+"/sim/faults", "")
		return fmt.Sprintf("the second command is %d", status)
	}, "the second command is 429", "the second command is 200"},
}

// blobOf uploads one row and returns its URI.
func (p *prober) blobOf(name string) string {
	p.t.Helper()
	_, _, uri := p.put(0, name, "{\"n\":1}\n")
	return uri
}

// TestSim_Recipes runs what docs/simulator.md says, line by line.
func TestSim_Recipes(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "simulator.md"))
	if err != nil {
		t.Fatal(err)
	}
	recipes, err := readRecipes(string(page))
	if err != nil {
		t.Fatal(err)
	}
	if len(recipes) != 10 || len(effects) != 10 {
		t.Errorf("%d recipes and %d effects, want ten", len(recipes), len(effects))
	}
	for _, r := range recipes {
		t.Run(r.title, func(t *testing.T) {
			number, _, _ := strings.Cut(r.title, ".")
			effect, ok := effects[number]
			if !ok {
				t.Fatal("nobody looks for the effect of this recipe")
			}
			for _, struck := range []bool{true, false} {
				p, err := r.start(t)
				if err != nil {
					t.Fatal(err)
				}
				want := effect.control
				if struck {
					want = effect.struck
				}
				p.struck, p.calls = struck, r.calls
				p.fail()
				if got := effect.probe(p); got != want {
					t.Errorf("with the recipe's requests %v: %s, want %s", struck, got, want)
				}
			}
		})
	}
}

// A recipe that is wrong is seen.
func TestSim_WrongRecipes(t *testing.T) {
	page := func(lines ...string) string {
		return "\n## Ten recipes\n\n### 1. x\n\n```sh\n" + strings.Join(lines, "\n") + "\n```\n\n## next\n"
	}
	for _, lines := range [][]string{
		{"kustospool sim", "curl \"$S/sim/stats\" | jq ."},
		{"curl -X POST \"$S/sim/age/sas\""},
		{"kustospool sim"},
	} {
		if list, err := readRecipes(page(lines...)); err == nil {
			t.Errorf("%q is understood as %v", lines, list)
		}
	}
	if _, err := (recipe{args: []string{"--no-such-flag"}}).start(t); err == nil {
		t.Error("a flag that does not exist is taken")
	}
	p, err := recipe{args: []string{"--table", "Demo.T"}}.start(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/sim/faults?host=queue&kind=no-such-kind", "/sim/age/no-such-thing", "/sim/no-such-path"} {
		if status, _, _ := p.do(http.MethodPost, p.sim.Endpoint()+path, ""); status < 400 {
			t.Errorf("%s is %d", path, status)
		}
	}
}

// The page names every flag of the command and every kind of fault, and none
// besides.
func TestSim_PageNamesFlagsAndFaults(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "simulator.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	flags := pflag.NewFlagSet("sim", pflag.ContinueOnError)
	simCommand().flags(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(page, "`--"+f.Name+"`") && !strings.Contains(page, "`--"+f.Name+" ") {
			t.Errorf("the page does not name --%s", f.Name)
		}
	})
	for _, m := range regexp.MustCompile("`--([a-z-]+)[ `]").FindAllStringSubmatch(page, -1) {
		if flags.Lookup(m[1]) == nil {
			t.Errorf("the page names --%s, which does not exist", m[1])
		}
	}
	p, err := recipe{args: []string{"--table", "Demo.T"}}.start(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, on := range []string{"host=blob", "db=Demo&table=T"} {
		// The refusal lists the kinds there are.
		_, _, said := p.do(http.MethodPost, p.sim.Endpoint()+"/sim/faults?"+on+"&kind=", "")
		_, kinds, found := strings.Cut(strings.TrimSpace(string(said)), "one of ")
		if !found {
			t.Fatalf("%s: %s", on, said)
		}
		for kind := range strings.SplitSeq(kinds, ", ") {
			if !strings.Contains(page, "`"+kind+"`") {
				t.Errorf("the page does not name the fault %s", kind)
			}
			status, _, said := p.do(http.MethodPost, p.sim.Endpoint()+"/sim/faults?"+on+"&status=503&times=1&path=nowhere&kind="+url.QueryEscape(kind), "")
			if status != http.StatusNoContent {
				t.Errorf("%s: %d %s", kind, status, said)
			}
		}
	}
}
