// Package records makes texts of records, good and awkward, for tests that
// hold the ways into a spool against each other and against the simulator's
// parser: quoted newlines, quotes that are data, rows of empty fields, blank
// lines, line ends of both kinds, byte order marks, escapes and nesting.
//
// A [Source] makes the same text of the same seed. All of its records are good;
// what is none has tests of its own.
package records

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Count is how many records the tests take, of both formats together: 200,000,
// or RECORDS of the environment. Seed is RECORDS_SEED, or a new one; the test
// prints both, so that a failure can be repeated.
func Count(t testing.TB) (count int, seed uint64) {
	t.Helper()
	count, seed = 200_000, rand.Uint64()
	if testing.Short() {
		count = 20_000
	}
	if v, err := strconv.Atoi(os.Getenv("RECORDS")); err == nil && v > 0 {
		count = v
	}
	if v, err := strconv.ParseUint(os.Getenv("RECORDS_SEED"), 10, 64); err == nil {
		seed = v
	}
	t.Logf("RECORDS=%d RECORDS_SEED=%d", count, seed)
	return count, seed
}

// Source makes records of csv and of json.
type Source struct{ rnd *rand.Rand }

// New is a source that makes the same of the same seed.
func New(seed uint64) *Source { return &Source{rand.New(rand.NewPCG(seed, 11))} }

func (s *Source) pick(of ...string) string { return of[s.rnd.IntN(len(of))] }

// Text is n records of format csv or json with what may stand between them: the
// text of all, and each by itself with its line ending. Each has its number, from
// first on, but for some rows of empty fields and blanks.
func (s *Source) Text(format string, first, n int) (text string, records []string) {
	make, blanks := s.csv, []string{"\n", "\r\n", "\r\r\n"}
	if format == "json" {
		make, blanks = s.json, []string{"\n", "\r\n", " \t\n"}
	}
	var b strings.Builder
	if s.rnd.IntN(4) == 0 {
		b.WriteString("\ufeff")
	}
	for i := range n {
		if s.rnd.IntN(10) == 0 {
			b.WriteString(s.pick(blanks...))
		}
		rec := make(first + i)
		if i < n-1 || s.rnd.IntN(2) == 0 {
			rec += s.pick("\n", "\n", "\r\n")
			if format == "csv" && s.rnd.IntN(20) == 0 {
				rec = strings.TrimRight(rec, "\r\n") + "\r\r\n" // all but the last are data
			}
		}
		records = append(records, rec)
		b.WriteString(rec)
	}
	return b.String(), records
}

func (s *Source) csv(n int) string {
	if s.rnd.IntN(50) == 0 {
		return s.pick(",", ",,,", " ", "\t", "\"\"", "\"\n\"")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d", n)
	for range 1 + s.rnd.IntN(5) {
		b.WriteByte(',')
		b.WriteString(s.field())
	}
	return b.String()
}

// field is one of csv.
func (s *Source) field() string {
	if s.rnd.IntN(3) > 0 {
		return s.pick("", "0", "x", "5\" pipe", "a\"\"b\"", " \"x\"", "größe", "a b", "\r", "'", "a;b\tc|d", "\\", "0123456789abcdef")
	}
	var b strings.Builder
	b.WriteByte('"')
	for range s.rnd.IntN(5) {
		b.WriteString(s.pick("\n", "\r\n", "\"\"", ",", "x", "größe", " ", "\"\"\n\"\""))
	}
	b.WriteByte('"')
	b.WriteString(s.pick("", "", "", "x", " ", "x\"y"))
	return b.String()
}

func (s *Source) json(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `%s{%s"n":%d`, s.pick("", "", " "), s.pick("", "\t"), n)
	for m := range s.rnd.IntN(5) {
		fmt.Fprintf(&b, `,"m%d"%s:%s`, m, s.pick("", " "), s.value(3))
	}
	return b.String() + "}" + s.pick("", "", " ")
}

// value is one of JSON, nested to a depth.
func (s *Source) value(depth int) string {
	switch kind := s.rnd.IntN(8); {
	case kind == 0 && depth > 0:
		return "[" + s.value(depth-1) + s.pick("", ","+s.value(depth-1)) + "]"
	case kind == 1 && depth > 0:
		return `{"k":` + s.value(depth-1) + "}"
	}
	return s.pick(`""`, `"x"`, `"}{]["`, `"\"\\\/\n\u00e9"`, `"größe"`, "0", "-1.5e+10", "true", "null", "[]", "{}", `"a longer text, to fill a line"`)
}
