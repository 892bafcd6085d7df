package endpoint

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"kustospool/internal/kustosim/internal/lex"
	"kustospool/internal/kustosim/internal/reply"
)

// query answers `T`, `T | count` and `T | take n`; the names may be qualified
// as database('D').T.
func (s *Endpoint) query(_ *http.Request, c *command) (*reply.Table, *reply.Error) {
	tokens, err := lex.All(strings.TrimSuffix(c.CSL, ";"))
	if err != nil {
		return nil, reply.BadCommand("General_BadRequest", "Syntax error: "+err.Error())
	}
	db := c.DB
	if len(tokens) > 5 && tokens[0].Is("database") && tokens[1].Is("(") && tokens[3].Is(")") && tokens[4].Is(".") {
		db, tokens = tokens[2].Text, tokens[5:]
	}
	if len(tokens) == 0 || tokens[0].Kind != lex.Word {
		return nil, reply.BadCommand("General_BadRequest", "Syntax error: the simulator knows T, T | count and T | take n.")
	}
	name, rest := tokens[0].Text, tokens[1:]
	schema, ok := s.Catalog.Columns(db, name)
	if !ok {
		return nil, reply.EntityNotFound("Table", name)
	}
	if len(rest) == 2 && rest[0].Is("|") && rest[1].Is("count") {
		return &reply.Table{Columns: reply.Columns("Count", "long"), Rows: [][]any{{s.Catalog.Count(db, name)}}}, nil
	}
	rows := s.Catalog.Rows(db, name)
	if len(rest) == 3 && rest[0].Is("|") && (rest[1].Is("take") || rest[1].Is("limit")) {
		n, err := parseCount(rest[2].Text)
		if err != nil {
			return nil, reply.BadCommand("General_BadRequest", "Syntax error: "+err.Error())
		}
		rows = rows[:min(n, len(rows))]
	} else if len(rest) != 0 {
		return nil, reply.BadCommand("General_BadRequest", "Syntax error: the simulator knows T, T | count and T | take n.")
	}
	set := &reply.Table{Columns: schema}
	if len(schema) == 0 {
		set.Columns = reply.Columns("Document", "dynamic")
	}
	for _, row := range rows {
		if len(schema) == 0 {
			set.Rows = append(set.Rows, []any{json.RawMessage(row)})
			continue
		}
		var doc map[string]json.RawMessage
		if err := json.Unmarshal(row, &doc); err != nil {
			return nil, reply.ErrorOf(http.StatusInternalServerError)
		}
		values := make([]any, len(schema))
		for i, c := range schema {
			values[i] = doc[c.Name]
		}
		set.Rows = append(set.Rows, values)
	}
	return set, nil
}

func parseCount(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, errors.New("a count is expected, not " + strconv.Quote(text))
	}
	return n, nil
}
