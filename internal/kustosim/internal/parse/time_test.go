package parse

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The formats of https://learn.microsoft.com/kusto/query/scalar-data-types/datetime.
func TestDatetimesOfThePage(t *testing.T) {
	for text, want := range map[string]string{
		"2014-05-25T08:20:03.123456Z": "2014-05-25T08:20:03.123456Z", "2014-05-25T08:20:03.123456": "2014-05-25T08:20:03.123456Z", "2014-05-25T08:20": "2014-05-25T08:20:00Z",
		"2014-11-08 15:55:55.123456Z": "2014-11-08T15:55:55.123456Z", "2014-11-08 15:55:55": "2014-11-08T15:55:55Z", "2014-11-08 15:55": "2014-11-08T15:55:00Z", "2014-11-08": "2014-11-08T00:00:00Z",
		// RFC 822
		"Sat, 8 Nov 14 15:05:02 GMT": "2014-11-08T15:05:02Z", "Sat, 8 Nov 14 15:05:02": "2014-11-08T15:05:02Z", "Sat, 8 Nov 14 15:05": "2014-11-08T15:05:00Z", "Sat, 8 Nov 14 15:05 GMT": "2014-11-08T15:05:00Z",
		"8 Nov 14 15:05:02 GMT": "2014-11-08T15:05:02Z", "8 Nov 14 15:05:02": "2014-11-08T15:05:02Z", "8 Nov 14 15:05": "2014-11-08T15:05:00Z", "8 Nov 14 15:05 GMT": "2014-11-08T15:05:00Z",
		// RFC 850
		"Saturday, 08-Nov-14 15:05:02 GMT": "2014-11-08T15:05:02Z", "Saturday, 08-Nov-14 15:05:02": "2014-11-08T15:05:02Z", "Saturday, 08-Nov-14 15:05 GMT": "2014-11-08T15:05:00Z",
		"Saturday, 08-Nov-14 15:05": "2014-11-08T15:05:00Z", "08-Nov-14 15:05:02 GMT": "2014-11-08T15:05:02Z", "08-Nov-14 15:05:02": "2014-11-08T15:05:02Z",
		"08-Nov-14 15:05 GMT": "2014-11-08T15:05:00Z", "08-Nov-14 15:05": "2014-11-08T15:05:00Z",
		// Sortable
		"2014-11-08 15:05:25": "2014-11-08T15:05:25Z", "2014-11-08 15:05:25 GMT": "2014-11-08T15:05:25Z", "2014-11-08 15:05": "2014-11-08T15:05:00Z", "2014-11-08 15:05 GMT": "2014-11-08T15:05:00Z",
		"2014-11-08T15:05:25": "2014-11-08T15:05:25Z", "2014-11-08T15:05:25 GMT": "2014-11-08T15:05:25Z", "2014-11-08T15:05": "2014-11-08T15:05:00Z", "2014-11-08T15:05 GMT": "2014-11-08T15:05:00Z",
		// and what is none
		"Caturday, 08-Nov-14 15:05": "", "8 Nov 14": "", "2014-13-08": "", "yesterday": "", "8 Nov 14 15:05:02 PST": "", "2014-11-08 GMT GMT": "",
	} {
		if want = `"` + want + `"`; want == `""` {
			want = "null"
		}
		if got := string(appendText(nil, []byte(text), "datetime")); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

// The literals of https://learn.microsoft.com/kusto/query/scalar-data-types/timespan,
// and "Value not matching the table schema data type: NULL value filled" of
// https://learn.microsoft.com/azure/data-explorer/ingest-invalid-data.
func TestTimespansOfThePage(t *testing.T) {
	for text, want := range map[string]string{
		"2d": "2.00:00:00", "1.5h": "01:30:00", "30m": "00:30:00", "10s": "00:00:10", "0.1s": "00:00:00.1000000", "100ms": "00:00:00.1000000",
		"10microsecond": "00:00:00.0000100", "1tick": "00:00:00.0000001", "15 seconds": "00:00:15", "2": "2.00:00:00", "0.12:34:56.7": "12:34:56.7000000", "00:01:00": "00:01:00",
		"-1.00:00:00": "-1.00:00:00", "-1.5h": "-01:30:00", "10675199.02:48:05.4775807": "10675199.02:48:05.4775807", "-10675199.02:48:05.4775808": "-10675199.02:48:05.4775808",
		"10675199.02:48:05.4775808": "", "99999999.00:00:00": "", "1e3d": "", "99999999999999999999d": "", "25:00:00": "", "00:60:00": "", "00:00:60": "", "3w": "", "not a timespan": "", "h": "", "1 d 2 h": "", "00:00:00.12345678": "", "1:2": "",
	} {
		if want = `"` + want + `"`; want == `""` {
			want = "null"
		}
		if got := string(appendText(nil, []byte(text), "timespan")); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		ticks := rapid.Int64().Draw(t, "ticks")
		text := string(appendTimespan(nil, ticks))
		if got, ok := parseTimespan(strings.Trim(text, `"`)); !ok || got != ticks {
			t.Fatalf("%d is written %s and read as %d, %v", ticks, text, got, ok)
		}
	})
}
