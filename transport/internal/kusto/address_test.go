package kusto

import (
	"errors"
	"strings"
	"testing"

	"kustospool/ingest"
)

// All spellings of a cluster have one name, and no two clusters have the same.
func TestSpellingsOfOneCluster(t *testing.T) {
	names := make(map[string]bool)
	for name, spellings := range map[string][]string{
		"https://c.westeurope.kusto.windows.net": {
			"https://c.westeurope.kusto.windows.net", "https://c.westeurope.kusto.windows.net/", "https://c.westeurope.kusto.windows.net:443",
			"https://c.westeurope.kusto.windows.net:443/", "https://c.westeurope.kusto.windows.net/db", "https://c.westeurope.kusto.windows.net/db/",
			"https://c.westeurope.kusto.windows.net./", "HTTPS://C.WestEurope.KUSTO.windows.net", " https://c.westeurope.kusto.windows.net\n",
			"https://ingest-c.westeurope.kusto.windows.net", "https://Ingest-c.westeurope.kusto.windows.net:443/db",
			"https://private-c.westeurope.kusto.windows.net", "https://private-ingest-c.westeurope.kusto.windows.net",
			"https://c.westeurope.kusto.windows.net;Fed=True", "https://c.westeurope.kusto.windows.net/db; Fed=true; Accept=true;",
			"Data Source=https://c.westeurope.kusto.windows.net;Initial Catalog=db;AAD Federated Security=True",
			"server=https://ingest-c.westeurope.kusto.windows.net:443/;database=db", "Fed=True;Addr=\"https://c.westeurope.kusto.windows.net\"",
		},
		"https://d.westeurope.kusto.windows.net":             {"https://ingest-d.westeurope.kusto.windows.net"},
		"https://c.kusto.usgovcloudapi.net":                  {"https://ingest-c.kusto.usgovcloudapi.net:443", "https://c.kusto.usgovcloudapi.net;fed=true"},
		"https://c.chinaeast2.kusto.chinacloudapi.cn":        {"https://ingest-c.chinaeast2.kusto.chinacloudapi.cn", "https://C.chinaeast2.kusto.chinacloudapi.cn/db"},
		"https://trd-x1.z4.kusto.fabric.microsoft.com":       {"https://ingest-trd-x1.z4.kusto.fabric.microsoft.com", "https://trd-x1.z4.kusto.fabric.microsoft.com/"},
		"https://pool.work.kusto.azuresynapse.net":           {"https://ingest-pool.work.kusto.azuresynapse.net"},
		"https://c.westeurope.kusto.windows.net:8443":        {"https://C.westeurope.kusto.windows.net:08443/"},
		"https://ingest-c.westeurope.kusto.windows.net:8443": {"https://ingest-c.westeurope.kusto.windows.net:8443"},
		"http://[::1]:8080":                                  {"http://[::1]:8080/", "http://[0:0:0:0:0:0:0:1]:8080", "http://[::0001]:8080/db"},
		"http://127.0.0.1:8080":                              {"http://127.0.0.1:8080", "http://[::ffff:127.0.0.1]:8080"},
		"https://[2001:db8::1]":                              {"https://[2001:DB8:0::1]:443", "https://[2001:db8::1]/"},
		"http://localhost":                                   {"http://LOCALHOST:80/", "http://localhost."},
	} {
		if names[name] {
			t.Errorf("%s stands twice", name)
		}
		names[name] = true
		for _, s := range append(spellings, name) {
			a, err := ParseAddress(s)
			if err != nil || a.Name != name {
				t.Errorf("%q: %q, %v; want %q", s, a.Name, err, name)
			}
			if want := strings.Contains(strings.ToLower(s), "/db") || strings.Contains(s, "=db"); (a.Database == "db") != want && !strings.Contains(s, "db8") {
				t.Errorf("%q: database %q", s, a.Database)
			}
		}
	}
}

// What is not understood is refused with the right spelling, and no property is
// shown that may be a secret.
func TestSpellingsThatAreRefused(t *testing.T) {
	for raw, want := range map[string]string{
		"c":                             "write https://c.kusto.windows.net",
		"c.westeurope":                  "write https://c.westeurope.kusto.windows.net",
		"@help/Samples":                 "write https://help.kusto.windows.net",
		"C.kusto.windows.net/":          "write https://c.kusto.windows.net",
		"c.kusto.windows.net:443":       rightSpelling,
		"net.tcp://c.kusto.windows.net": rightSpelling,
		"https://dataexplorer.azure.com/clusters/help.westeurope/databases/Samples":          "write https://help.westeurope.kusto.windows.net",
		"https://dataexplorer.azure.com/clusters/help.westeurope/databases/Samples?query=H4": "write https://help.westeurope.kusto.windows.net",
		"https://app.fabric.microsoft.com/groups/1/eventhouses/2?experience=x":               "https://trd-NAME.z0.kusto.fabric.microsoft.com",
		"https://portal.azure.com/#@t/resource/x":                                            "Query URI",
		"https://c.kusto.windows.net?secret=1":                                               "write https://c.kusto.windows.net",
		"http://c.kusto.windows.net":                                                         "write https://c.kusto.windows.net",
		"https://dataexplorer.azure.com":                                                     rightSpelling,
		"https://c.kusto.windows.net/v2/rest/query":                                          "write https://c.kusto.windows.net",
		"https://c.kusto.windows.net;AppClientId=1;AppKey=secret":                            "credential is given apart",
		"https://c.kusto.windows.net;secret":                                                 rightSpelling,
		"https://c.kusto.windows.net;Fed=secret":                                             "Fed=True",
		"https://c.kusto.windows.net;Server=https://d.kusto.windows.net":                     "one cluster",
		"https://c.kusto.windows.net/a;Database=b":                                           "two databases",
		"Fed=True": "https://",
		"Data Source=https://u:secret@c.kusto.windows.net":                                     "user name",
		"https://c.kusto.windows.net;Fed=True;Password=\"a;secret\"; User ID=x; Authority Id=": "credential is given apart",
	} {
		_, err := ParseAddress(raw)
		var fe *ingest.FieldError
		if !errors.As(err, &fe) || fe.Field != "endpoint" || !strings.Contains(fe.Rule, want) {
			t.Errorf("%q: %v, want %q", raw, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows it: %v", raw, err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("https://private-ingest-c.kusto.windows.net:443/db;Fed=True")
	f.Add("Data Source=http://[::1]:80;Database=x")
	f.Fuzz(func(t *testing.T, raw string) {
		a, err := ParseAddress(raw)
		if err != nil {
			return
		}
		if b, err := ParseAddress(a.Name); err != nil || b.Name != a.Name {
			t.Errorf("%q has the name %q, which is read as %q, %v", raw, a.Name, b.Name, err)
		}
	})
}
