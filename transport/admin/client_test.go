package admin

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport"
	"kustospool/transport/direct"
	"kustospool/transport/transporttest"
)

func client(t *testing.T, sim *kustosim.Sim, cred azcore.TokenCredential) *Client {
	t.Helper()
	c, err := NewClient(sim.Endpoint(), cred, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// What an ingestion needs is created, the second time as well as the first, and
// data then arrives through it.
func TestCreateAndIngest(t *testing.T) {
	sim := simspool.Start(t, &kustosim.Options{Databases: []string{"Größe"}})
	c, ctx := client(t, sim, nil), t.Context()
	columns, err := ParseColumns(`ts:date, "vessel, name":string , knots:double`)
	if err != nil {
		t.Fatal(err)
	}
	name := `日本 T-1.0`
	for range 2 {
		if err := errors.Join(
			c.CreateTable(ctx, "Größe", Table{Name: name, Columns: columns, Folder: "a'b", DocString: "one\ntwo"}),
			c.CreateMapping(ctx, "Größe", name, Mapping{Name: "m'1", Kind: ingest.MappingJSON,
				JSON: `[{"column":"vessel, name","Properties":{"path":"$.v"}},{"column":"knots","Properties":{"path":"$.k"}}]`}),
			c.SetStreaming(ctx, "Größe", name, true),
			c.SetBatching(ctx, "Größe", name, Batching{Time: 30 * time.Second}),
		); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.CreateTable(ctx, "Größe", Table{Name: name, Columns: []Column{{"more", "LONG"}}}); err != nil {
		t.Fatal(err)
	}
	d, err := direct.NewClient(sim.Endpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	data := []byte(`{"v":"Möwe","k":6.5}` + "\n")
	if _, err := d.Send(ctx, &transport.Delivery{Attempt: 1, Payload: transporttest.Bytes(data), Journal: &transporttest.Journal{}, Batch: &ingest.Batch{
		ID: ingest.BatchID{1}, First: 1, Last: 1, Guarantee: ingest.ExactlyOnce, RawBytes: int64(len(data)),
		Properties: ingest.Properties{Database: "Größe", Table: name, Format: ingest.JSON, MappingReference: "m'1"}}}); err != nil {
		t.Fatal(err)
	}
	rows := sim.Rows("Größe", name)
	if len(rows) != 1 || !strings.Contains(string(rows[0]), `"vessel, name":"Möwe"`) || !strings.Contains(string(rows[0]), `"more"`) {
		t.Errorf("rows %s", rows)
	}
}

type token string

func (t token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func TestRefusals(t *testing.T) {
	sim := simspool.Start(t, &kustosim.Options{Databases: []string{"D"}, Principals: map[string]kustosim.Role{"ingestor": kustosim.Ingestor, "user": kustosim.User, "guest": kustosim.User, "both": kustosim.Ingestor | kustosim.User}})
	ctx := t.Context()
	table := Table{Name: "T", Columns: []Column{{"a", "string"}}}
	for _, c := range []struct {
		name  string
		err   error
		class transport.Class
		words string
	}{
		{"an ingestor creates a table", client(t, sim, token("ingestor")).CreateTable(ctx, "D", table), transport.Held, "User of the database"},
		{"a user creates a table", client(t, sim, token("user")).CreateTable(ctx, "D", table), 0, ""},
		{"a user sets a policy", client(t, sim, token("guest")).SetStreaming(ctx, "D", "T", true), transport.Held, "Admin of the table"},
		{"a user sets a policy of its table", client(t, sim, token("user")).SetStreaming(ctx, "D", "T", true), 0, ""},
		{"a user creates a mapping of its table", client(t, sim, token("user")).CreateMapping(ctx, "D", "T", Mapping{"own", ingest.MappingCSV, `[{"column":"a","Properties":{"Ordinal":0}}]`}), 0, ""},
		{"a user who is no ingestor creates a mapping", client(t, sim, token("guest")).CreateMapping(ctx, "D", "T", Mapping{"m", ingest.MappingCSV, `[{"column":"a","Properties":{"Ordinal":0}}]`}), transport.Held, "Ingestor of the table"},
		{"a user who is an ingestor", client(t, sim, token("both")).CreateMapping(ctx, "D", "T", Mapping{"m", ingest.MappingCSV, `[{"column":"a","Properties":{"Ordinal":0}}]`}), 0, ""},
		{"nobody", client(t, sim, token("wrong")).CreateTable(ctx, "D", table), transport.Unauthorized, "token"},
		{"no such database", client(t, sim, token("user")).CreateTable(ctx, "E", table), transport.Held, "'E' could not be found"},
		{"no such table", client(t, sim, token("ingestor")).CreateMapping(ctx, "D", "U", Mapping{"m", ingest.MappingCSV, `[{"column":"a","Properties":{"Ordinal":0}}]`}), transport.Held, "'U'"},
	} {
		var e *transport.Error
		if c.class == 0 && c.err != nil || c.class != 0 && (!errors.As(c.err, &e) || e.Class != c.class || !strings.Contains(e.Error(), c.words)) {
			t.Errorf("%s: %v, want %v with %q", c.name, c.err, c.class, c.words)
		}
	}
	sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.DropReply, PathContains: ".create-merge", Times: 1})
	user := client(t, sim, token("user"))
	if err := user.CreateTable(ctx, "D", table); transport.Classify(err, false).Class != transport.Unknown {
		t.Errorf("a lost reply: %v", err)
	}
	if err := user.CreateTable(ctx, "D", table); err != nil {
		t.Errorf("the repeat: %v", err)
	}
}

// What breaks a rule is refused before anything is sent, all of it at once.
func TestRules(t *testing.T) {
	sim := simspool.Start(t, nil)
	c, ctx := client(t, sim, nil), t.Context()
	for name, r := range map[string]struct {
		err   error
		words []string
	}{
		"table":     {c.CreateTable(ctx, " D", Table{Name: "a\nb", Columns: []Column{{"x", "varchar"}, {"x", "int"}, {"", "int"}}}), []string{"database", "table", "varchar", "column 2", "column 3"}},
		"no column": {c.CreateTable(ctx, "D", Table{Name: "T"}), []string{"columns", "1 to 1000"}},
		"folder":    {c.CreateTable(ctx, "D", Table{Name: "T", Columns: []Column{{"a", "int"}}, Folder: strings.Repeat("x", 1025)}), []string{"folder"}},
		"mapping":   {c.CreateMapping(ctx, "D", "T", Mapping{"", "Xml", "{}"}), []string{"mapping kind", "JSON array", "must not be empty"}},
		"batching":  {c.SetBatching(ctx, "D", "T", Batching{Time: time.Second, Items: -1, RawMB: 5000}), []string{"batching time", "items", "4096"}},
		"names":     {c.SetStreaming(ctx, "", "\xff", true), []string{"database", "UTF-8"}},
	} {
		if !errors.Is(r.err, ingest.ErrInvalid) {
			t.Errorf("%s: %v", name, r.err)
			continue
		}
		for _, w := range r.words {
			if !strings.Contains(r.err.Error(), w) {
				t.Errorf("%s: %v does not say %q", name, r.err, w)
			}
		}
	}
	if n := sim.Stats().Requests[kustosim.Engine]; n != 0 {
		t.Errorf("%d requests for what breaks rules", n)
	}
	if _, err := NewClient("ftp://x", nil, &ClientOptions{Timeout: time.Millisecond}); !errors.Is(err, ingest.ErrInvalid) || !strings.Contains(err.Error(), "Timeout") {
		t.Errorf("%v", err)
	}
}
