package kusto

import (
	"errors"
	"strings"
	"testing"

	"kustospool/ingest"
)

func TestParseCluster(t *testing.T) {
	for _, tc := range []struct {
		raw, dm, engine string
		loopback        bool
	}{
		{"https://c.westeurope.kusto.windows.net", "https://ingest-c.westeurope.kusto.windows.net", "https://c.westeurope.kusto.windows.net", false},
		{"https://ingest-c.westeurope.kusto.windows.net/", "https://ingest-c.westeurope.kusto.windows.net", "https://c.westeurope.kusto.windows.net", false},
		{" HTTPS://Ingest-C.Kusto.Windows.Net ", "https://ingest-c.kusto.windows.net", "https://c.kusto.windows.net", false},
		{"https://x.z1.kusto.fabric.microsoft.com", "https://ingest-x.z1.kusto.fabric.microsoft.com", "https://x.z1.kusto.fabric.microsoft.com", false},
		{"https://c.kusto.windows.net:443", "https://ingest-c.kusto.windows.net", "https://c.kusto.windows.net", false},
		{"https://private-c.we.kusto.windows.net", "https://private-ingest-c.we.kusto.windows.net", "https://private-c.we.kusto.windows.net", false},
		{"https://private-ingest-c.we.kusto.windows.net/db", "https://private-ingest-c.we.kusto.windows.net", "https://private-c.we.kusto.windows.net", false},
		{"Data Source=https://ingest-c.kusto.windows.net:443/db; Fed=True", "https://ingest-c.kusto.windows.net", "https://c.kusto.windows.net", false},
		{"https://c.kusto.windows.net:8443", "https://c.kusto.windows.net:8443", "https://c.kusto.windows.net:8443", false},
		{"http://localhost", "http://localhost", "http://localhost", true},
		{"http://127.0.0.1:8080", "http://127.0.0.1:8080", "http://127.0.0.1:8080", true},
		{"http://[::1]:8080/", "http://[::1]:8080", "http://[::1]:8080", true},
		{"https://localhost:1", "https://localhost:1", "https://localhost:1", true},
		{"https://kusto.example.org", "https://ingest-kusto.example.org", "https://kusto.example.org", false},
		{"https://ingest-kusto.example.org", "https://ingest-kusto.example.org", "https://kusto.example.org", false},
		{"https://a.corp.example", "https://ingest-a.corp.example", "https://a.corp.example", false},
		{"https://10.1.2.3", "https://10.1.2.3", "https://10.1.2.3", false},
	} {
		c, err := ParseCluster(tc.raw, []string{"kusto.example.org", ".corp.example", "10.1.2.3"})
		if err != nil {
			t.Errorf("%s: %v", tc.raw, err)
			continue
		}
		if c != (Cluster{DM: tc.dm, Engine: tc.engine, Loopback: tc.loopback}) {
			t.Errorf("%s: got %+v", tc.raw, c)
		}
	}
}

func TestParseClusterRefuses(t *testing.T) {
	for raw, rule := range map[string]string{
		"":                                     "https://",
		"c.kusto.windows.net":                  "https://",
		"https:/c.kusto.windows.net":           "name a host",
		"https://":                             "name a host",
		"https:c.kusto.windows.net":            "name a host",
		"https://:443":                         "name a host",
		"ftp://c.kusto.windows.net":            "https://",
		"http://c.kusto.windows.net":           "this machine only",
		"http://127.0.0.1.evil.org":            "this machine only",
		"https://u:pw@c.kusto.windows.net":     "user name",
		"https://c.kusto.windows.net/v1/rest":  "write https://c.kusto.windows.net",
		"https://c.kusto.windows.net?x=1":      "no query",
		"https://c.kusto.windows.net?":         "no query",
		"https://c.kusto.windows.net#f":        "no query and no fragment",
		"https://c.kusto.windows.net:":         "port",
		"https://c.kusto.windows.net:99999":    "port",
		"https://c.kusto.windows.net.evil.org": "known Kusto domain",
		"https://kusto.windows.net":            "known Kusto domain",
		"https://evilkusto.windows.net":        "known Kusto domain",
		"https://corp.example":                 "known Kusto domain",
		"https://10.0.0.1":                     "known Kusto domain",
		"https://exa\x7fmple":                  "must be a URL",
	} {
		_, err := ParseCluster(raw, []string{".corp.example", ""})
		var fe *ingest.FieldError
		if !errors.As(err, &fe) || fe.Field != "endpoint" || !strings.Contains(fe.Rule, rule) {
			t.Errorf("%q: got %v, want the rule %q", raw, err, rule)
		}
		if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("%q: the error shows the password: %v", raw, err)
		}
	}
}
