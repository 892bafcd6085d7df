package main

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
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
	timeout    time.Duration
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
	fs.DurationVar(&s.timeout, "timeout", 0, "how long to wait for delivery; 0 means without limit")
	fs.BoolVar(&s.json, "json", false, "print the report as one JSON object")
	fs.BoolVarP(&s.quiet, "quiet", "q", false, "no progress")
	fs.BoolVarP(&s.verbose, "verbose", "v", false, "log what the engine does to standard error")
}

// options are the engine's options that the flags ask for.
func (s *deliverySettings) options(stderr io.Writer) (*engine.Options, error) {
	guarantee, err := ingest.ParseGuarantee(s.guarantee)
	if err != nil {
		return nil, usagef("--guarantee: %w", err)
	}
	confirm, err := ingest.ParseConfirm(s.confirm)
	if err != nil {
		return nil, usagef("--confirm: %w", err)
	}
	policy := batching.Policy{MaxBytes: int64(s.batchBytes), MaxRecords: s.batchCount, MaxAge: s.batchAge}
	if err := policy.Validate(); err != nil {
		return nil, usageError{err}
	}
	if s.timeout < 0 {
		return nil, usagef("--timeout %s: must not be negative", s.timeout)
	}
	opts := &engine.Options{
		Batch:        policy,
		Guarantee:    guarantee,
		Confirm:      confirm,
		MaxDiskBytes: int64(s.maxDisk),
		Senders:      s.senders,
	}
	if s.verbose {
		opts.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return opts, nil
}

// waiting is ctx with the timeout of the flags.
func (s *deliverySettings) waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, s.timeout)
}
