package main

import (
	"io"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/quantity"
)

const (
	// leastDisk is the smallest --max-disk: what the store keeps in reserve, and
	// as much for records.
	leastDisk = 16 << 20
	// mostSegment is the engine's own choice of a segment's size.
	mostSegment = 64 << 20
)

// deliverySettings are the flags that send and drain share.
type deliverySettings struct {
	to         string
	spool      string
	identity   identity
	allowHosts []string
	protocol   string
	outcomes   string
	mode       string
	batchBytes byteSize
	batchAge   time.Duration
	batchCount int64
	guarantee  string
	confirm    string
	maxDisk    byteSize
	senders    int
	order      orderSettings
	budget     budgetSettings
	timeout    time.Duration
	lock       time.Duration
	trust      bool
	retarget   bool // the spool's records may be another target's
	json       bool
	quiet      bool
	verbose    bool
}

func (s *deliverySettings) register(fs *pflag.FlagSet) {
	fs.StringVar(&s.to, "to", "", "where to deliver: a cluster's https URL, dir:PATH, or sim:")
	fs.StringVar(&s.spool, "spool", "", "spool directory; default one per target under the user's cache directory, and a temporary one for sim:")
	fs.StringVar(&s.identity.auth, "auth", "default", "credential: default, managed-identity, workload, client-secret, client-certificate, azcli, none")
	fs.StringVar(&s.identity.clientID, "client-id", "", "client id of the identity")
	fs.StringVar(&s.identity.tenantID, "tenant-id", "", "tenant id of the identity")
	fs.StringSliceVar(&s.allowHosts, "allow-host", nil, "also send tokens to this https host, for clusters outside of the known clouds")
	fs.StringVar(&s.mode, "mode", "queued", "how batches travel: queued; direct, as commands; streaming, at-least-once and at most 4 MiB; managed, streaming first and queued behind")
	fs.StringVar(&s.protocol, "protocol", "auto", "how the service is asked to ingest: queue, rest, or auto, which is what it prefers")
	fs.StringVar(&s.outcomes, "outcomes", "table", "where outcomes of batches sent by queue are learned: table; or peek or take, from the report queues, which all clients of the cluster share")
	fs.Var(&s.batchBytes, "batch-bytes", "raw size at which a batch is sealed; default 100MiB")
	fs.DurationVar(&s.batchAge, "batch-age", 0, "age at which a batch is sealed; default 1m")
	fs.Int64Var(&s.batchCount, "batch-records", 0, "number of records at which a batch is sealed; default no limit")
	fs.StringVar(&s.guarantee, "guarantee", "exactly-once", "exactly-once or at-least-once")
	fs.StringVar(&s.confirm, "confirm", "ingested", "keep the data until it is ingested, or until the service has accepted it")
	fs.Var(&s.maxDisk, "max-disk", "bound on all files of the spool; default 8GiB")
	fs.IntVar(&s.senders, "senders", 0, "uploads at the same time; default 4")
	s.order.register(fs)
	s.budget.register(fs)
	fs.DurationVar(&s.timeout, "timeout", 0, "how long to wait for the target, for delivery and for room in a full spool together; 0 means without limit")
	fs.DurationVar(&s.lock, "lock-timeout", 10*time.Second, "how long to wait for a spool that another process has open")
	fs.BoolVar(&s.trust, "trust-directory", false, trustUsage)
	fs.BoolVar(&s.json, "json", false, "print the report as one JSON object")
	fs.BoolVarP(&s.quiet, "quiet", "q", false, "print errors only, and the report where --json asks for it")
	fs.BoolVarP(&s.verbose, "verbose", "v", false, "log what the engine does to standard error")
}

const trustUsage = "take a spool whose directory belongs to another user, or may be written by its group"

// options are the engine's options that the flags ask for. own is the table that
// the run ingests into; none for a run that only delivers.
func (s *deliverySettings) options(stderr io.Writer, own engine.TableName) (*engine.Options, error) {
	guarantee, err := ingest.ParseGuarantee(s.guarantee)
	if err != nil {
		return nil, usageError{err}
	}
	confirm, err := ingest.ParseConfirm(s.confirm)
	if err != nil {
		return nil, usageError{err}
	}
	policy := batching.Policy{MaxBytes: int64(s.batchBytes), MaxRecords: s.batchCount, MaxAge: s.batchAge}
	if err := policy.Validate(); err != nil {
		return nil, usageError{err}
	}
	switch {
	case s.timeout < 0:
		return nil, usagef("--timeout %s: must not be negative", s.timeout)
	case s.lock < 0:
		return nil, usagef("--lock-timeout %s: must not be negative", s.lock)
	case s.maxDisk != 0 && s.maxDisk < leastDisk:
		return nil, usagef("--max-disk %d: must be at least %d bytes, %s", int64(s.maxDisk), leastDisk, quantity.Size(leastDisk))
	}
	opts := &engine.Options{
		Batch:        policy,
		Guarantee:    guarantee,
		Confirm:      confirm,
		MaxDiskBytes: int64(s.maxDisk),
		Senders:      s.senders,

		TrustDirectory: s.trust,
	}
	if err := s.order.apply(opts, own); err != nil {
		return nil, err
	}
	if s.maxDisk > 0 {
		// Two segments have to fit, and room comes back a segment at a time.
		opts.SegmentBytes = min(int64(s.maxDisk)/8, mostSegment)
	}
	if s.verbose {
		opts.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return opts, nil
}
