package kusto

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
)

// Resource is a container, queue or table that the service lends, with the SAS
// to use it. Its text form has no SAS.
type Resource struct {
	Account string // storage account: containers and queues of one share their rank
	Host    string // host and port
	Path    string // "container", or "account/container" where the host names no account
	uri     url.URL
}

// URL is the resource's address with its SAS: a secret.
func (r Resource) URL() string { return r.uri.String() }

// Join is the address of something inside the resource, with the SAS: a
// secret. name must not be empty.
func (r Resource) Join(name string) string {
	u := r.uri
	u.Path, u.RawPath = u.Path+"/"+name, ""
	return u.String()
}

// Same reports whether the resource is the one at host and path, whatever its SAS.
func (r Resource) Same(host, path string) bool { return r.Host == host && r.Path == path }

// String is host and path.
func (r Resource) String() string { return r.Host + "/" + r.Path }

// GoString is String, so that no verb prints the SAS.
func (r Resource) GoString() string { return r.String() }

// Resources are what the service lends for queued ingestion.
type Resources struct {
	Containers   []Resource
	Queues       []Resource
	StatusTables []Resource // may be empty: outcomes then cannot be tracked
	Successes    []Resource // queues of reports, shared by all clients; may be empty
	Failures     []Resource
}

// The resource types this client uses (protocol reference section 3.1). All
// others are passed over: a new one must not break a client.
const (
	typeContainer = "TempStorage"
	typeQueue     = "SecuredReadyForAggregationQueue"
	typeStatus    = "IngestionsStatusTable"
	typeSuccess   = "SuccessfulIngestionsQueue"
	typeFailure   = "FailedIngestionsQueue"
)

// Ingestion is what a queued ingestion needs from the data management
// endpoint, cached. It is safe for concurrent use.
type Ingestion struct {
	service   *Service
	resources *cached[*Resources]
	token     *cached[string]
	config    *cached[*Configuration]
	// Ranking is of the storage accounts.
	Ranking *Ranking
}

// NewIngestion returns an empty cache over the service; nothing is sent.
func NewIngestion(s *Service) *Ingestion { return NewIngestionAt(s, time.Now) }

// NewIngestionAt is NewIngestion with a clock.
func NewIngestionAt(s *Service, now func() time.Time) *Ingestion {
	in := &Ingestion{service: s, Ranking: NewRanking(now)}
	in.resources = newCached(in.fetchResources, now)
	in.token = newCached(in.fetchToken, now)
	in.config = newCached(in.fetchConfiguration, now)
	return in
}

// Resources returns the current resources, or stale ones while the service
// cannot be asked. The error is a *[transport.Error], and there only when
// there are none at all.
func (in *Ingestion) Resources(ctx context.Context) (*Resources, error) {
	r, err := in.resources.Get(ctx)
	if err != nil {
		return nil, transport.Classify(err, false)
	}
	return r, nil
}

// Token returns the identity token for queue messages: a secret. As Resources,
// it may be stale.
func (in *Ingestion) Token(ctx context.Context) (string, error) {
	t, err := in.token.Get(ctx)
	if err != nil {
		return "", transport.Classify(err, false)
	}
	return t, nil
}

// Secrets are those that the client has in use.
func (in *Ingestion) Secrets() *Secrets { return in.service.secrets }

// InvalidateResources makes the resources due for a refresh, because storage
// refused them. It is heard at most every 5 seconds.
func (in *Ingestion) InvalidateResources() { in.resources.Invalidate() }

// InvalidateToken is the same for the identity token.
func (in *Ingestion) InvalidateToken() { in.token.Invalidate() }

const opResources, opToken = "ingestion resources", "identity token"

func (in *Ingestion) fetchResources(ctx context.Context) (*Resources, time.Time, error) {
	tables, err := in.service.Mgmt(ctx, Call{Op: opResources, Command: ".get ingestion resources", Role: RoleIngest})
	if err != nil {
		return nil, time.Time{}, err
	}
	r, ends, err := parseResources(&tables[0], in.service.cluster.Loopback, in.service.secrets)
	if err != nil {
		return nil, time.Time{}, err
	}
	return r, ends, nil
}

// maxResources bounds those of a kind. A cluster lends some ten.
const maxResources = 200

// lent makes the secrets of lists of resources known, and then takes out those
// whose very address holds one: addresses are noted on disk and shown.
func (s *Secrets) lent(lists ...*[]Resource) {
	for _, list := range lists {
		for _, r := range *list {
			s.addAddress(lentSecret, r.URL())
		}
	}
	for _, list := range lists {
		*list = slices.DeleteFunc(*list, func(r Resource) bool { return s.Holds(r.String()) })
	}
}

// parseResources reads the reply's table. ends is the earliest end of a SAS
// that says its end, zero where none does.
func parseResources(t *Table, loopback bool, secrets *Secrets) (*Resources, time.Time, error) {
	bad := func(message string) (*Resources, time.Time, error) {
		return nil, time.Time{}, &transport.Error{Op: opResources, Class: transport.Transient, Message: message}
	}
	if t.Column("ResourceTypeName") < 0 || t.Column("StorageRoot") < 0 {
		return bad("the reply has no columns ResourceTypeName and StorageRoot")
	}
	r := new(Resources)
	var ends time.Time
	for i := range t.Rows {
		var list *[]Resource
		switch t.Text(i, "ResourceTypeName") {
		case typeContainer:
			list = &r.Containers
		case typeQueue:
			list = &r.Queues
		case typeStatus:
			list = &r.StatusTables
		case typeSuccess:
			list = &r.Successes
		case typeFailure:
			list = &r.Failures
		default:
			continue
		}
		res, ok := ParseResource(t.Text(i, "StorageRoot"), loopback)
		if !ok {
			continue // one that cannot be used does not spoil the others
		}
		if len(*list) == maxResources {
			continue
		}
		*list = append(*list, res)
		ends = earlier(ends, res)
	}
	secrets.lent(&r.Containers, &r.Queues, &r.StatusTables, &r.Successes, &r.Failures)
	if len(r.Containers) == 0 || len(r.Queues) == 0 {
		return bad("the reply names no usable container or no usable queue")
	}
	return r, ends, nil
}

// earlier is the earlier of ends and the end that a resource's SAS states.
func earlier(ends time.Time, r Resource) time.Time {
	if se, err := time.Parse(time.RFC3339, r.uri.Query().Get("se")); err == nil && (ends.IsZero() || se.Before(ends)) {
		return se
	}
	return ends
}

// ParseResource reads one storage address. https is required, but for a
// loopback cluster that names loopback storage.
func ParseResource(raw string, loopback bool) (Resource, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return Resource{}, false
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && loopback && ingest.IsLoopback(u.Hostname())) {
		return Resource{}, false
	}
	path := strings.Trim(u.Path, "/")
	if path == "" {
		return Resource{}, false
	}
	u.Path, u.RawPath = "/"+path, ""
	r := Resource{Host: u.Host, Path: path, uri: *u}
	// Where the host is an address, the account is the path's first segment.
	if first, _, nested := strings.Cut(path, "/"); nested {
		r.Account = first
	} else {
		r.Account, _, _ = strings.Cut(u.Hostname(), ".")
	}
	return r, true
}

func (in *Ingestion) fetchToken(ctx context.Context) (string, time.Time, error) {
	tables, err := in.service.Mgmt(ctx, Call{Op: opToken, Command: ".get kusto identity token", Role: RoleIngest})
	if err != nil {
		return "", time.Time{}, err
	}
	if t := &tables[0]; len(t.Rows) == 1 {
		if s := t.Text(0, "AuthorizationContext"); s != "" {
			in.service.secrets.add(lentSecret, s)
			return s, time.Time{}, nil
		}
	}
	return "", time.Time{}, &transport.Error{Op: opToken, Class: transport.Transient, Message: "the reply holds no token"}
}

// Find returns the resource at host and path.
func Find(list []Resource, host, path string) (Resource, bool) {
	i := slices.IndexFunc(list, func(r Resource) bool { return r.Same(host, path) })
	if i < 0 {
		return Resource{}, false
	}
	return list[i], true
}
