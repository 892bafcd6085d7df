package storage

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kustospool/internal/kustosim/internal/port"
	"kustospool/internal/kustosim/internal/stats"
)

const (
	maxEntityBytes = 1 << 20 // of one entity [Azure Table limit]
	maxKeyBytes    = 1 << 10
	maxPage        = 1000 // entities of one query reply
)

// EntityKey orders entities as the service does: by partition, then row.
type EntityKey struct{ Partition, Row string }

func (k EntityKey) compare(o EntityKey) int {
	if c := strings.Compare(k.Partition, o.Partition); c != 0 {
		return c
	}
	return strings.Compare(k.Row, o.Row)
}

// entity holds properties as their JSON, odata.type annotations included.
// It is replaced, never changed, so a reader needs no lock.
type entity struct {
	key   EntityKey
	props map[string]json.RawMessage
	etag  string
}

// tableAccount is the table service of one account.
type tableAccount struct {
	account string
	issuer  *Issuer
	stats   *stats.Book

	mu struct {
		sync.Mutex
		tables map[string]map[EntityKey]*entity
	}
}

func newTableAccount(account string, i *Issuer, stats *stats.Book) *tableAccount {
	a := &tableAccount{account: account, issuer: i, stats: stats}
	a.mu.tables = make(map[string]map[EntityKey]*entity)
	return a
}

func (a *tableAccount) createTable(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.tables[name] = make(map[EntityKey]*entity)
}

// entities returns the entities of a table that match, in key order.
func (a *tableAccount) entities(name string, match predicate) ([]*entity, *Error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.mu.tables[name]
	if !ok {
		return nil, errTableNotFound
	}
	var list []*entity
	for _, e := range t {
		if match(e.props) {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(x, y *entity) int { return x.key.compare(y.key) })
	return list, nil
}

func (a *tableAccount) lookup(name string, key EntityKey) (*entity, *Error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.mu.tables[name]
	if !ok {
		return nil, errTableNotFound
	}
	if t[key] == nil {
		return nil, errEntityNotFound
	}
	return t[key], nil
}

// writeMode says what a write does with what is there.
type writeMode int

const (
	insertEntity  writeMode = iota + 1 // 409 if it exists
	mergeEntity                        // keep the properties that are not given
	replaceEntity                      // drop them
)

// write stores an entity. ifMatch is empty for an upsert, "*" to demand that
// the entity exists, or its ETag.
func (a *tableAccount) write(name string, key EntityKey, props map[string]json.RawMessage, mode writeMode, ifMatch string) (*entity, *Error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.mu.tables[name]
	if !ok {
		return nil, errTableNotFound
	}
	old := t[key]
	switch {
	case mode == insertEntity && old != nil:
		return nil, &Error{http.StatusConflict, "EntityAlreadyExists", "The specified entity already exists."}
	case ifMatch != "" && old == nil:
		return nil, errEntityNotFound
	case ifMatch != "" && ifMatch != "*" && ifMatch != old.etag:
		return nil, &Error{http.StatusPreconditionFailed, "UpdateConditionNotSatisfied", "The update condition specified in the request was not satisfied."}
	}
	stamp := time.Now().UTC().Format("2006-01-02T15:04:05.0000000Z")
	e := &entity{key: key, props: make(map[string]json.RawMessage), etag: `W/"datetime'` + url.QueryEscape(stamp) + `'"`}
	if mode == mergeEntity && old != nil {
		for k, v := range old.props {
			e.props[k] = v
		}
	}
	for k, v := range props {
		if base, isType := strings.CutSuffix(k, "@odata.type"); !isType || base != "" {
			e.props[k] = v
		}
		if _, typed := props[k+"@odata.type"]; !typed && !strings.Contains(k, "@") {
			delete(e.props, k+"@odata.type")
		}
	}
	e.props["PartitionKey"], e.props["RowKey"], e.props["Timestamp"] = quoted(key.Partition), quoted(key.Row), quoted(stamp)
	t[key] = e
	return e, nil
}

func (a *tableAccount) remove(name string, key EntityKey, ifMatch string) *Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.mu.tables[name]
	if !ok {
		return errTableNotFound
	}
	e := t[key]
	if e == nil {
		return errEntityNotFound
	}
	if ifMatch != "" && ifMatch != "*" && ifMatch != e.etag {
		return &Error{http.StatusPreconditionFailed, "UpdateConditionNotSatisfied", "The update condition specified in the request was not satisfied."}
	}
	delete(t, key)
	return nil
}

func quoted(s string) json.RawMessage {
	b, _ := json.Marshal(s)
	return b
}

func (a *tableAccount) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	stampStorage(w, r)
	if err := a.serve(w, r); err != nil {
		port.Drain(r)
		err.write(w, r, TableService)
	}
}

func (a *tableAccount) serve(w http.ResponseWriter, r *http.Request) *Error {
	account, resource, rest := splitPath(r.URL.Path)
	if rest != "" { // a key may hold a slash
		resource += "/" + rest
	}
	name, key, isEntity, ok := parseTableResource(resource)
	if account != a.account || !ok {
		return badInput("InvalidUri", "The requested URI does not represent any resource on the server.")
	}
	method := r.Method
	if method == http.MethodPost && r.Header.Get("X-HTTP-Method") == "MERGE" || method == "MERGE" {
		method = http.MethodPatch
	}
	ifMatch := r.Header.Get("If-Match")
	need := "r"
	switch {
	case method == http.MethodPost:
		need = "a"
	case method == http.MethodDelete:
		need = "d"
	case method == http.MethodPatch, method == http.MethodPut:
		need = "u"
	}
	if err := a.issuer.check(TableService, a.account, name, r.URL.Query(), need, time.Now()); err != nil {
		return err
	}
	switch {
	case method == http.MethodPost && !isEntity:
		return a.insert(w, r, name)
	case method == http.MethodGet && !isEntity:
		return a.query(w, r, name)
	case method == http.MethodGet:
		e, err := a.lookup(name, key)
		if err != nil {
			return err
		}
		w.Header().Set("ETag", e.etag)
		return a.writeJSON(w, http.StatusOK, e.document("/@Element", r, name))
	case isEntity && (method == http.MethodPatch || method == http.MethodPut):
		mode := mergeEntity
		if method == http.MethodPut {
			mode = replaceEntity
		}
		props, err := readEntity(r)
		if err != nil {
			return err
		}
		e, err := a.write(name, key, props, mode, ifMatch)
		if err != nil {
			return err
		}
		w.Header().Set("ETag", e.etag)
		w.WriteHeader(http.StatusNoContent)
		return nil
	case isEntity && method == http.MethodDelete:
		if err := a.remove(name, key, ifMatch); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	default:
		return errUnsupported
	}
}

func (a *tableAccount) insert(w http.ResponseWriter, r *http.Request, name string) *Error {
	props, err := readEntity(r)
	if err != nil {
		return err
	}
	var key EntityKey
	if json.Unmarshal(props["PartitionKey"], &key.Partition) != nil || json.Unmarshal(props["RowKey"], &key.Row) != nil ||
		len(key.Partition) > maxKeyBytes || len(key.Row) > maxKeyBytes {
		return badInput("PropertiesNeedValue", "The values are not specified for all properties in the entity.")
	}
	e, err := a.write(name, key, props, insertEntity, "")
	if err != nil {
		return err
	}
	a.stats.Add(func(s *stats.Stats) { s.EntitiesInserted++ })
	w.Header().Set("ETag", e.etag)
	if r.Header.Get("Prefer") == "return-no-content" {
		w.Header().Set("Preference-Applied", "return-no-content")
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return a.writeJSON(w, http.StatusCreated, e.document("/@Element", r, name))
}

func (a *tableAccount) query(w http.ResponseWriter, r *http.Request, name string) *Error {
	q := r.URL.Query()
	match, err := parseFilter(q.Get("$filter"))
	if err != nil {
		return badInput("InvalidInput", "One of the request inputs is not valid. "+err.Error())
	}
	limit := maxPage
	if text := q.Get("$top"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxPage {
			return badInput("InvalidInput", "One of the request inputs is not valid.")
		}
		limit = n
	}
	list, bad := a.entities(name, match)
	if bad != nil {
		return bad
	}
	from := EntityKey{q.Get("NextPartitionKey"), q.Get("NextRowKey")}
	var selected map[string]bool
	if text := q.Get("$select"); text != "" && text != "*" {
		selected = make(map[string]bool)
		for _, p := range strings.Split(text, ",") {
			selected[p] = true
		}
	}
	values := []map[string]json.RawMessage{}
	for _, e := range list {
		if e.key.compare(from) < 0 {
			continue
		}
		if len(values) == limit {
			w.Header().Set("x-ms-continuation-NextPartitionKey", e.key.Partition)
			w.Header().Set("x-ms-continuation-NextRowKey", e.key.Row)
			break
		}
		doc := e.document("", r, name)
		delete(doc, "odata.metadata")
		for p := range doc {
			if selected != nil && !selected[strings.TrimSuffix(p, "@odata.type")] && !strings.HasPrefix(p, "odata.") {
				delete(doc, p)
			}
		}
		values = append(values, doc)
	}
	return a.writeJSON(w, http.StatusOK, map[string]any{"odata.metadata": metadataURL(r, a.account) + name, "value": values})
}

func metadataURL(r *http.Request, account string) string {
	return "http://" + r.Host + "/" + account + "/$metadata#"
}

// document is the entity as the reply shows it, at the metadata level the
// request accepts.
func (e *entity) document(kind string, r *http.Request, table string) map[string]json.RawMessage {
	bare := strings.Contains(r.Header.Get("Accept"), "nometadata")
	doc := make(map[string]json.RawMessage, len(e.props)+2)
	for k, v := range e.props {
		if !bare || !strings.HasSuffix(k, "@odata.type") {
			doc[k] = v
		}
	}
	if !bare {
		account, _, _ := splitPath(r.URL.Path)
		doc["odata.metadata"] = quoted(metadataURL(r, account) + table + kind)
		doc["odata.etag"] = quoted(e.etag)
	}
	return doc
}

func readEntity(r *http.Request) (map[string]json.RawMessage, *Error) {
	body, bad := readContent(r, maxEntityBytes)
	if bad != nil {
		return nil, bad
	}
	props := make(map[string]json.RawMessage)
	if len(body) > 0 {
		if err := json.Unmarshal(body, &props); err != nil {
			return nil, badInput("InvalidInput", "One of the request inputs is not valid.")
		}
	}
	for name := range props {
		if strings.HasPrefix(name, "odata.") {
			delete(props, name)
		}
	}
	return props, nil
}

func (a *tableAccount) writeJSON(w http.ResponseWriter, status int, v any) *Error {
	body, err := json.Marshal(v)
	if err != nil {
		return &Error{http.StatusInternalServerError, "InternalError", "The server encountered an internal error."}
	}
	w.Header().Set("Content-Type", "application/json;odata=minimalmetadata;streaming=true;charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
	return nil
}
