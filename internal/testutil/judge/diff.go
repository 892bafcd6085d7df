package judge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	"kustospool/internal/kustosim"
)

// Diff compares the rows of a table with the set, each of which must be there
// so many times, and returns a sentence for each difference; none means equal.
// The order of the rows does not matter.
func (s *Set) Diff(rows []kustosim.Row, copies int) []string {
	var diffs []string
	seen := make([]int, len(s.rows))
	for i, held := range rows {
		values, err := members(held)
		if err != nil {
			diffs = append(diffs, fmt.Sprintf("row %d is %v", i, err))
			continue
		}
		n, err := strconv.Atoi(string(values[Columns[0].Name]))
		if err != nil || n < 0 || n >= len(s.rows) {
			diffs = append(diffs, fmt.Sprintf("row %d has the key %s, which nobody sent", i, values[Columns[0].Name]))
			continue
		}
		seen[n]++
		if len(values) != len(Columns) {
			diffs = append(diffs, fmt.Sprintf("row with key %d has %d columns, want %d", n, len(values), len(Columns)))
		}
		for j, c := range s.rows[n] {
			column := Columns[j+1]
			got, err := canonical(column.Type, values[column.Name])
			if err != nil {
				diffs = append(diffs, fmt.Sprintf("row with key %d, column %s: %.200s is no %s: %v", n, column.Name, values[column.Name], column.Type, err))
				continue
			}
			want := c.want
			if want == null && column.Type == "string" {
				want = ""
			}
			if got != want {
				diffs = append(diffs, fmt.Sprintf("row with key %d, column %s: %.200q, want %.200q", n, column.Name, got, want))
			}
		}
	}
	for n, have := range seen {
		if have != copies {
			diffs = append(diffs, fmt.Sprintf("row with key %d is there %d times, want %d", n, have, copies))
		}
	}
	return diffs
}

func members(held kustosim.Row) (map[string]json.RawMessage, error) {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(held, &values); err != nil {
		return nil, fmt.Errorf("no JSON object: %.200s", held)
	}
	return values, nil
}

// canonical is the form in which equal values of a type are equal texts: a
// decimal as a fraction, a datetime in UTC, a timespan in ticks, JSON with its
// names in order. A string has no null: the service holds an empty one.
func canonical(kind string, raw json.RawMessage) (string, error) {
	if len(raw) == 0 {
		return "", fmt.Errorf("the column is not there")
	}
	if string(raw) == "null" {
		if kind == "string" {
			return "", nil
		}
		return null, nil
	}
	switch kind {
	case "bool":
		var b bool
		err := json.Unmarshal(raw, &b)
		return strconv.FormatBool(b), err
	case "int":
		n, err := strconv.ParseInt(string(raw), 10, 32)
		return strconv.FormatInt(n, 10), err
	case "long":
		n, err := strconv.ParseInt(string(raw), 10, 64)
		return strconv.FormatInt(n, 10), err
	case "real":
		f, err := strconv.ParseFloat(string(raw), 64)
		return strconv.FormatFloat(f, 'g', -1, 64), err
	case "dynamic":
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		var v any
		if err := dec.Decode(&v); err != nil {
			return "", err
		}
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		err := enc.Encode(v)
		return strings.TrimSuffix(out.String(), "\n"), err
	}
	text := string(raw)
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return "", err
		}
	} else if kind != "decimal" {
		return "", fmt.Errorf("it is held as another type")
	}
	switch kind {
	case "decimal":
		r, ok := new(big.Rat).SetString(text)
		if !ok || strings.Contains(text, "/") {
			return "", fmt.Errorf("it is no decimal number")
		}
		return r.RatString(), nil
	case "datetime":
		t, err := time.Parse(time.RFC3339Nano, text)
		return t.UTC().Format(time.RFC3339Nano), err
	case "timespan":
		return ticks(text)
	case "guid":
		if !guid.MatchString(text) {
			return "", fmt.Errorf("it is no GUID")
		}
		return strings.ToLower(text), nil
	case "string":
		return text, nil
	default:
		return "", fmt.Errorf("unknown type")
	}
}

var (
	guid     = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	timespan = regexp.MustCompile(`^(-?)(?:(\d{1,8})\.)?(\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,7}))?$`)
)

// ticks reads [-][d.]hh:mm:ss[.fffffff] and counts in 100 ns.
func ticks(text string) (string, error) {
	m := timespan.FindStringSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("it is no timespan")
	}
	number := func(s string) *big.Int {
		n, _ := new(big.Int).SetString("0"+s, 10)
		return n
	}
	sum := number(m[2])
	for _, step := range []struct {
		factor int64
		digits string
	}{{24, m[3]}, {60, m[4]}, {60, m[5]}, {1e7, (m[6] + "0000000")[:7]}} {
		sum.Mul(sum, big.NewInt(step.factor)).Add(sum, number(step.digits))
	}
	if m[1] == "-" {
		sum.Neg(sum)
	}
	return sum.String(), nil
}
