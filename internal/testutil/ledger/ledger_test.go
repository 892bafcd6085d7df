package ledger

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// books has a, b and c acknowledged and m offered without an answer.
func books() *Ledger {
	l := &Ledger{}
	for _, c := range []string{"a", "b", "c"} {
		l.Acked("id-"+c, c)
	}
	l.Acked("id-a", "a")
	l.Maybe("m")
	return l
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		found Places
		g     Guarantee
		want  Report
	}{
		{"all ingested", Places{Ingested: []string{"c", "a", "b"}}, ExactlyOnce, Report{}},
		{"one in each place", Places{Ingested: []string{"a"}, DeadLettered: []string{"b"}, Pending: []string{"c"}}, ExactlyOnce, Report{}},
		{"dropped by policy", Places{Dropped: []string{"a", "b", "c"}}, ExactlyOnce, Report{}},
		{"the unanswered one arrived", Places{Ingested: []string{"a", "b", "c", "m"}}, ExactlyOnce, Report{Maybes: 1}},
		{"missing", Places{Ingested: []string{"a"}}, ExactlyOnce, Report{Missing: []string{"b", "c"}}},
		{"all missing", Places{}, ExactlyOnce, Report{Missing: []string{"a", "b", "c"}}},
		{"duplicated", Places{Ingested: []string{"a", "b", "b", "b", "c"}}, ExactlyOnce, Report{Duplicated: []string{"b"}}},
		{"extra copies", Places{Ingested: []string{"a", "b", "b", "b", "c"}}, AtLeastOnce, Report{Extra: 2}},
		{"the unanswered one doubled", Places{Ingested: []string{"a", "b", "c", "m", "m"}}, ExactlyOnce, Report{Duplicated: []string{"m"}, Maybes: 1}},
		{"dead-lettered twice", Places{Ingested: []string{"a", "b"}, DeadLettered: []string{"c", "c"}}, AtLeastOnce, Report{Duplicated: []string{"c"}}},
		{"forged", Places{Ingested: []string{"a", "b", "c", "x"}}, AtLeastOnce, Report{Forged: []string{"x"}}},
		{"forged by a torn record", Places{Ingested: []string{"a", "b"}, Pending: []string{"c\x00"}}, ExactlyOnce, Report{Forged: []string{"c\x00"}, Missing: []string{"c"}}},
		{"in two places", Places{Ingested: []string{"a", "b", "c"}, Pending: []string{"a"}}, ExactlyOnce, Report{Torn: []string{"a"}}},
		{"in two places under at-least-once", Places{Ingested: []string{"a", "b", "c"}, DeadLettered: []string{"a"}}, AtLeastOnce, Report{Torn: []string{"a"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := books().Check(tt.found, tt.g)
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("report %+v, want %+v", got, tt.want)
			}
			clean := tt.want
			clean.Maybes, clean.Extra = 0, 0
			if (got.Err() == nil) != reflect.DeepEqual(clean, Report{}) {
				t.Errorf("the error is %v", got.Err())
			}
		})
	}
}

func TestReusedID(t *testing.T) {
	l := books()
	l.Acked("id-a", "other")
	r := l.Check(Places{Ingested: []string{"b", "c", "other"}}, ExactlyOnce)
	if !reflect.DeepEqual(r.Reused, []string{"id-a"}) || r.Err() == nil {
		t.Errorf("report %+v, error %v", r, r.Err())
	}
}

func TestErrIsBounded(t *testing.T) {
	l := &Ledger{}
	for i := range 10_000 {
		l.Acked(fmt.Sprint(i), fmt.Sprint(i, strings.Repeat("x", 1000)))
	}
	err := l.Check(Places{}, ExactlyOnce).Err()
	if err == nil || len(err.Error()) > 1000 || !strings.Contains(err.Error(), "10000 missing") {
		t.Errorf("%.2000v", err)
	}
}

// Put every record in one place, then break one thing: the checker is silent
// before and loud after.
func TestEveryBreakIsSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "records")
		l := &Ledger{}
		places := make([][]string, 4)
		for i := range n {
			content := fmt.Sprint("record ", i)
			l.Acked(fmt.Sprint(i), content)
			where := rapid.IntRange(0, 3).Draw(t, "place")
			places[where] = append(places[where], content)
		}
		check := func() Report {
			return l.Check(Places{places[0], places[1], places[2], places[3]}, ExactlyOnce)
		}
		if err := check().Err(); err != nil {
			t.Fatalf("sound books: %v", err)
		}
		victim := rapid.IntRange(0, n-1).Draw(t, "victim")
		content := fmt.Sprint("record ", victim)
		where := 0
		for i := range places {
			for _, c := range places[i] {
				if c == content {
					where = i
				}
			}
		}
		switch rapid.SampledFrom([]string{"lose", "double", "forge", "tear"}).Draw(t, "break") {
		case "lose":
			var rest []string
			for _, c := range places[where] {
				if c != content {
					rest = append(rest, c)
				}
			}
			places[where] = rest
		case "double":
			places[where] = append(places[where], content)
		case "forge":
			places[where] = append(places[where], content+"?")
		case "tear":
			places[(where+1)%4] = append(places[(where+1)%4], content)
		}
		if check().Err() == nil {
			t.Fatal("broken books pass")
		}
	})
}
