package kustosim

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"kustospool/internal/kustosim/internal/storage"
)

// Defaults and limits of [Options].
const (
	DefaultBatchTime  = 50 * time.Millisecond
	DefaultBatchItems = 500
	DefaultBatchBytes = 1 << 30
	DefaultAccounts   = 2
	DefaultLifetime   = 24 * time.Hour
	DefaultRetryEvery = 20 * time.Millisecond
	DefaultMaxBlob    = 1 << 30
	DefaultCapacity   = 48
	DefaultMaxBlocks  = 50_000

	maxAccounts = 16
)

// Options configure a [Sim]. Nil and the zero value of every field mean the
// documented default.
type Options struct {
	// Storage is an existing storage account to use instead of the built-in
	// one, such as Azurite. Its services are reached through the simulator's
	// own ports, so that [Sim.Fault] works on them as well.
	Storage *ExternalStorage

	// Listen is the address of the Kusto endpoint, default "127.0.0.1:0".
	// Anything but a loopback address is refused: the simulator checks SAS
	// signatures but is no place for data. Storage ports are always free ones
	// of the same address.
	Listen string

	// Hosts are names, without a port, under which clients reach the simulator
	// besides loopback addresses and localhost, such as through a proxy that
	// keeps the Host header. A request for any other host, or from a page of any
	// other host, is 403 on every port.
	Hosts []string

	// BatchTime, BatchItems and BatchBytes seal an aggregation of untagged
	// blobs. The service's defaults are 5 minutes, 500 blobs and 1 GiB of raw
	// data (protocol reference section 13); here the time is 50 ms, so that
	// tests need not wait.
	BatchTime  time.Duration
	BatchItems int
	BatchBytes int64

	// Accounts is the number of storage accounts, 1 to 16, default 2. Each has
	// a container and a queue; the first also has the status table and the
	// report queues. With Storage it is the number of containers and queues.
	Accounts int

	// StorageURL names the built-in storage for clients that want it by another
	// address than its port's, such as https and an account in the host's name,
	// behind a proxy that the caller runs. Start calls it for each service of each
	// account, with the host as [Host.Account] has it, the account's name and the
	// address that listens; it returns the root under which clients find what the
	// port has at http://ADDR/ACCOUNT, which is the default. The simulator's
	// replies name storage by it, and it resolves the URIs of messages with it.
	StorageURL func(host Host, account, addr string) string

	// BlobAccess are the suffixes of a blob's URI, without the semicolon, with
	// which the service gets at blobs in its own storage without a SAS. Default
	// "impersonate" and "managed_identity=system"; "token=.." works alike.
	BlobAccess []string
	// BlobHosts are web servers of this machine, as host:port, from which blobs
	// are fetched by a plain GET, whatever stands in their query. Blobs of any
	// other host are Download_AccountNotFound. Default none.
	BlobHosts []string

	// Databases exist from the start. [Sim.CreateTable] adds its own.
	Databases []string

	// AutoCreate creates an unknown table, without a schema, when the first
	// blob for it arrives; where Databases is empty, an unknown database too.
	AutoCreate bool

	// Token, when set, is the bearer token that the Kusto endpoint demands; its
	// holder is an Admin. Principals are further bearer tokens and the role of
	// each, or several roles joined by |, on every database. TableRoles are roles on
	// one table. Without Token and Principals everybody is an Admin.
	Token      string
	Principals map[string]Role
	TableRoles []TableRole

	// SASLifetime and TokenLifetime limit what `.get ingestion resources` and
	// `.get kusto identity token` hand out. Default 24 h each.
	SASLifetime   time.Duration
	TokenLifetime time.Duration

	// RetryEvery is the pause before the simulator repeats an ingestion that
	// failed for a transient reason, default 20 ms. The service backs off
	// exponentially for up to 48 hours.
	RetryEvery time.Duration

	// MaxBlobBytes limits one upload request and one downloaded blob, raw,
	// default 1 GiB. A larger upload is 413, a larger blob
	// Stream_InputStreamTooLarge.
	MaxBlobBytes int64

	// TagHitAsFailed reports an ingestion that ingestIfNotExists stopped as
	// Failed with code Skipped_IngestByTagAlreadyExists, a form that has been
	// seen, instead of Skipped.
	TagHitAsFailed bool

	// FailMalformedJSON makes a malformed line fail its blob. The service
	// passes over such lines of format json, which loses them; by default the
	// simulator does so too and counts them in [Stats].
	FailMalformedJSON bool

	// MergeExtents merges a table's extents with each commit, as [Sim.MergeExtents]
	// does; the service merges them sooner or later. TagRetention is after how long
	// an extent loses its ingest-by: tags, and ExtentRetention after how long it goes
	// with its rows, both from its creation on, which an ingestion's creationTime
	// sets; 0 is never.
	MergeExtents    bool
	TagRetention    time.Duration
	ExtentRetention time.Duration

	// MaxBlocks is how many blocks a blob may be committed of, and half of how many
	// uncommitted ones it may have. Default 50,000, which is the service's; the
	// built-in storage only.
	MaxBlocks int
	// ContainerRights are the permissions of the signatures for containers, a letter
	// each. Default "racwdl"; without r, w, d or l a client cannot read, overwrite,
	// delete or list what it uploaded. The built-in storage only.
	ContainerRights string

	// UnknownResource adds a row of a type no client knows to the reply of
	// `.get ingestion resources`.
	UnknownResource bool

	// PreferredIngestion is what /v1/rest/ingestion/configuration prefers:
	// "Queue" (the default) for blob and queue, "Rest" for the REST API. "-"
	// is a service without that API: its paths answer 404.
	PreferredIngestion string

	// IngestCapacity is how many .ingest commands may be under way at once; one
	// more is 429. Default 48, a number seen at clusters. IngestTime is how long
	// each takes at least, default not at all.
	IngestCapacity int
	IngestTime     time.Duration

	// Metadata is the JSON answer of /v1/rest/auth/metadata. Empty means 404,
	// which tells a client to use the public cloud's defaults.
	Metadata string

	// Logger receives debug records, never with a SAS or token; nil discards.
	Logger *slog.Logger
}

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Listen == "" {
		opts.Listen = "127.0.0.1:0"
	}
	if opts.PreferredIngestion == "" {
		opts.PreferredIngestion = "Queue"
	}
	if opts.BlobAccess == nil {
		opts.BlobAccess = []string{"impersonate", "managed_identity=system"}
	}
	opts.BatchTime = cmp.Or(opts.BatchTime, DefaultBatchTime)
	opts.BatchItems = cmp.Or(opts.BatchItems, DefaultBatchItems)
	opts.BatchBytes = cmp.Or(opts.BatchBytes, DefaultBatchBytes)
	opts.Accounts = cmp.Or(opts.Accounts, DefaultAccounts)
	opts.SASLifetime = cmp.Or(opts.SASLifetime, DefaultLifetime)
	opts.TokenLifetime = cmp.Or(opts.TokenLifetime, DefaultLifetime)
	opts.RetryEvery = cmp.Or(opts.RetryEvery, DefaultRetryEvery)
	opts.MaxBlobBytes = cmp.Or(opts.MaxBlobBytes, DefaultMaxBlob)
	opts.IngestCapacity = cmp.Or(opts.IngestCapacity, DefaultCapacity)
	opts.MaxBlocks = cmp.Or(opts.MaxBlocks, DefaultMaxBlocks)
	opts.ContainerRights = cmp.Or(opts.ContainerRights, storage.ContainerRights)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return opts, opts.validate()
}

// storageRoot is where clients find a service of an account; its path does not
// end in a slash.
func (o *Options) storageRoot(host Host, account, addr string) (*url.URL, error) {
	if o.StorageURL == nil {
		return &url.URL{Scheme: "http", Host: addr, Path: "/" + account}, nil
	}
	text := o.StorageURL(host, account, addr)
	u, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" {
		return nil, fmt.Errorf("kustosim: StorageURL gives %q for %s, which must be an http or https URL without a query", text, host)
	}
	return u, nil
}

func (o *Options) validate() error {
	var errs []error
	if o.StorageURL != nil && o.Storage != nil {
		errs = append(errs, errors.New("kustosim: StorageURL names the built-in storage and cannot be used with Storage"))
	}
	addr, err := net.ResolveTCPAddr("tcp", o.Listen)
	switch {
	case err != nil:
		errs = append(errs, fmt.Errorf("kustosim: Listen %q: %w", o.Listen, err))
	case !addr.IP.IsLoopback():
		errs = append(errs, fmt.Errorf("kustosim: Listen %q must be a loopback address", o.Listen))
	}
	for _, host := range o.BlobHosts {
		name, _, err := net.SplitHostPort(host)
		if ip := net.ParseIP(name); err != nil || name != "localhost" && (ip == nil || !ip.IsLoopback()) {
			errs = append(errs, fmt.Errorf("kustosim: BlobHosts: %q must be the host:port of a loopback address", host))
		}
	}
	for _, host := range o.Hosts {
		if host == "" || strings.ContainsAny(host, ":/@[] ") {
			errs = append(errs, fmt.Errorf("kustosim: Hosts: %q must be a name without a port", host))
		}
	}
	if o.Accounts < 1 || o.Accounts > maxAccounts {
		errs = append(errs, fmt.Errorf("kustosim: Accounts %d must be between 1 and %d", o.Accounts, maxAccounts))
	}
	if strings.Trim(o.ContainerRights, storage.ContainerRights) != "" || !strings.ContainsAny(o.ContainerRights, "cw") {
		errs = append(errs, fmt.Errorf("kustosim: ContainerRights %q must be letters of %s, with c or w", o.ContainerRights, storage.ContainerRights))
	}
	for token, role := range o.Principals {
		if token == "" || !role.Valid() {
			errs = append(errs, errors.New("kustosim: Principals must map tokens to Viewer, Ingestor, User, Monitor or Admin, or to some of them"))
		}
	}
	for _, t := range o.TableRoles {
		if t.Principal == "" || t.Table == "" || t.Role&(Ingestor|Admin) == 0 || t.Role&^(Ingestor|Admin) != 0 {
			errs = append(errs, errors.New("kustosim: TableRoles must name a token, a table, and the role Ingestor or Admin"))
		}
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"BatchTime", int64(o.BatchTime)}, {"BatchItems", int64(o.BatchItems)}, {"BatchBytes", o.BatchBytes},
		{"TagRetention", int64(o.TagRetention)}, {"ExtentRetention", int64(o.ExtentRetention)}, {"MaxBlocks", int64(o.MaxBlocks)}, {"RetryEvery", int64(o.RetryEvery)}, {"IngestCapacity", int64(o.IngestCapacity)}, {"IngestTime", int64(o.IngestTime)}, {"MaxBlobBytes", o.MaxBlobBytes},
	} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("kustosim: %s must not be negative", f.name))
		}
	}
	return errors.Join(errs...)
}
