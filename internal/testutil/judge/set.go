package judge

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
)

// Columns are those of the table that a [Set] is for. The first one is the key
// by which rows are told apart.
var Columns = []kustosim.Column{
	{Name: "n", Type: "long"},
	{Name: "flag", Type: "bool"},
	{Name: "small", Type: "int"},
	{Name: "big", Type: "long"},
	{Name: "ratio", Type: "real"},
	{Name: "exact", Type: "decimal"},
	{Name: "at", Type: "datetime"},
	{Name: "took", Type: "timespan"},
	{Name: "id", Type: "guid"},
	{Name: "text", Type: "string"},
	{Name: "doc", Type: "dynamic"},
}

// MappingName is of the mappings that [Prepare] makes, one for csv and one for
// json: each column from its place, or from the property of its name.
const MappingName = "by name"

// Set is rows as they are sent and as they must be held.
type Set struct{ rows []row }

// row is a value for each column but the first.
type row []cell

// cell is one value: how csv and JSON write it, and what it is. A JSON literal
// that is empty stands for a property that is not there. Null is the want of
// a null; everything else is in the form that canonical gives.
type cell struct{ csv, json, want string }

// null is no want of any other value: no column's canonical form has a NUL.
const null = "\x00"

// Values has every type, and for each the values that are easily got wrong.
func Values() *Set { return &Set{valueRows} }

// Large is so many rows with a text that compresses badly, about perRow bytes
// each.
func Large(seed uint64, rows, perRow int) *Set {
	random := rand.New(rand.NewPCG(seed, 0))
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	s := &Set{}
	for range rows {
		text := make([]byte, perRow)
		for i := range text {
			text[i] = letters[random.IntN(len(letters))]
		}
		r := make(row, len(Columns)-1)
		for i := range r {
			r[i] = cell{"", "", null}
		}
		r[8] = cell{string(text), `"` + string(text) + `"`, string(text)}
		s.rows = append(s.rows, r)
	}
	return s
}

// Data is the set in a format: csv, json or multijson. In multijson it is an
// array of objects that take several lines each.
func (s *Set) Data(format ingest.Format) []byte {
	switch format {
	case ingest.CSV:
		return s.csv()
	case ingest.JSON:
		return []byte(strings.Join(s.objects(), "\n") + "\n")
	case ingest.MultiJSON:
		var out bytes.Buffer
		if err := json.Indent(&out, []byte("["+strings.Join(s.objects(), ",")+"]"), "", "  "); err != nil {
			panic(err) // the literals are ours
		}
		return out.Bytes()
	default:
		panic("judge: no data in format " + string(format))
	}
}

func (s *Set) csv() []byte {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	for n, r := range s.rows {
		fields := []string{strconv.Itoa(n)}
		for _, c := range r {
			fields = append(fields, c.csv)
		}
		if err := w.Write(fields); err != nil {
			panic(err) // a buffer takes everything
		}
	}
	w.Flush()
	return out.Bytes()
}

func (s *Set) objects() []string {
	var list []string
	for n, r := range s.rows {
		members := []string{fmt.Sprintf(`%q:%d`, Columns[0].Name, n)}
		for i, c := range r {
			if c.json != "" {
				members = append(members, fmt.Sprintf(`%q:%s`, Columns[i+1].Name, c.json))
			}
		}
		list = append(list, "{"+strings.Join(members, ",")+"}")
	}
	return list
}

// Gzip is data compressed.
func Gzip(data []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(data); err != nil {
		panic(err) // a buffer takes everything
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// Prepare makes a table of [Columns] with its mappings.
func Prepare(sim *kustosim.Sim, db, table string) error {
	if err := sim.CreateTable(db, table, Columns...); err != nil {
		return err
	}
	var byPlace, byName []string
	for i, c := range Columns {
		byPlace = append(byPlace, fmt.Sprintf(`{"column":%q,"Properties":{"Ordinal":"%d"}}`, c.Name, i))
		byName = append(byName, fmt.Sprintf(`{"column":%q,"Properties":{"Path":"$.%s"}}`, c.Name, c.Name))
	}
	if err := sim.CreateMapping(db, table, "csv", MappingName, "["+strings.Join(byPlace, ",")+"]"); err != nil {
		return err
	}
	return sim.CreateMapping(db, table, "json", MappingName, "["+strings.Join(byName, ",")+"]")
}

// Ordinary is Values without the bounds of the types, for a reader whose own
// types are narrower than the service's.
func Ordinary() *Set { return &Set{append(valueRows[:1:1], valueRows[3:]...)} }
