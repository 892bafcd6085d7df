package mgmt

import (
	"encoding/json"
	"fmt"
	"time"

	"kustospool/internal/kustosim/internal/catalog"
	"kustospool/internal/kustosim/internal/lex"
	"kustospool/internal/kustosim/internal/reply"
)

// alterTable runs `.alter table T policy streamingingestion enable|disable|'{..}'`
// and `.alter table T policy ingestionbatching '{..}'`.
func (s *Manager) alterTable(db string, m *lex.Reader) (*reply.Table, *reply.Error) {
	name := m.Next()
	switch {
	case name.Kind == lex.Word && m.Words("policy", "streamingingestion"):
		return s.alterStreaming(db, name.Text, m)
	case name.Kind == lex.Word && m.Words("policy", "ingestionbatching"):
		return s.alterBatching(db, name.Text, m)
	}
	return nil, reply.BadCommand("General_BadRequest", "Syntax error: the simulator does not know this policy.")
}

func (s *Manager) alterStreaming(db, name string, m *lex.Reader) (*reply.Table, *reply.Error) {
	var on bool
	switch value := m.Next(); {
	case value.Is("enable"):
		on = true
	case value.Is("disable"):
	default:
		var policy struct{ IsEnabled bool }
		if value.Kind != lex.Text || json.Unmarshal([]byte(value.Text), &policy) != nil {
			return nil, reply.BadCommand("General_BadRequest", "Syntax error: the policy is not understood.")
		}
		on = policy.IsEnabled
	}
	if !s.Catalog.SetStreaming(db, name, on) {
		return nil, reply.EntityNotFound("Table", name)
	}
	return &reply.Table{Columns: reply.Columns("PolicyName", "string", "EntityName", "string", "Policy", "string"),
		Rows: [][]any{{"StreamingIngestionPolicy", "[" + db + "].[" + name + "]", map[bool]string{true: `{"IsEnabled":true}`, false: `{"IsEnabled":false}`}[on]}}}, nil
}

// alterBatching sets a table's batching policy, within the service's bounds.
func (s *Manager) alterBatching(db, name string, m *lex.Reader) (*reply.Table, *reply.Error) {
	value := m.Next()
	var policy struct {
		MaximumBatchingTimeSpan string
		MaximumNumberOfItems    int
		MaximumRawDataSizeMB    int
	}
	var hours, minutes, seconds int
	if value.Kind != lex.Text || !m.Done() || json.Unmarshal([]byte(value.Text), &policy) != nil {
		return nil, reply.BadCommand("General_BadRequest", "Syntax error: the policy is not understood.")
	}
	if n, err := fmt.Sscanf(policy.MaximumBatchingTimeSpan, "%d:%d:%d", &hours, &minutes, &seconds); n != 3 || err != nil {
		return nil, reply.BadCommand("General_BadRequest", "Syntax error: the policy's time is not understood.")
	}
	b := catalog.Batching{Time: time.Duration(hours*3600+minutes*60+seconds) * time.Second, Items: policy.MaximumNumberOfItems, Bytes: int64(policy.MaximumRawDataSizeMB) << 20}
	if b.Time < 10*time.Second || b.Time > 30*time.Minute || b.Items < 1 || b.Items > 25_000 || policy.MaximumRawDataSizeMB < 100 || policy.MaximumRawDataSizeMB > 4096 {
		return nil, reply.BadCommand("BadRequest_InvalidPolicy", "The policy's values are out of range.")
	}
	if !s.Catalog.SetBatching(db, name, &b) {
		return nil, reply.EntityNotFound("Table", name)
	}
	return &reply.Table{Columns: reply.Columns("PolicyName", "string", "EntityName", "string", "Policy", "string"),
		Rows: [][]any{{"IngestionBatchingPolicy", "[" + db + "].[" + name + "]", value.Text}}}, nil
}
