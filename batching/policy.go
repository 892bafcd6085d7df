package batching

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"kustospool/ingest"
)

// The defaults of a [Policy].
const (
	// DefaultMaxBytes is the lower end of what the service advises for a blob,
	// 100 MB to 1 GB before compression (protocol reference section 13). The
	// lower end, because an upload that breaks is made again from its start,
	// and on an edge link that should cost minutes and not hours.
	DefaultMaxBytes int64 = 100 << 20
	// DefaultMaxAge trades latency against the cost of small extents: a tagged
	// batch is never aggregated with others by the service, so each one is an
	// extent that the cluster has to merge.
	DefaultMaxAge = time.Minute
)

// The limits of a [Policy].
const (
	// MinMaxBytes keeps a mistaken unit (100 meant as megabytes) from making
	// one batch of every record.
	MinMaxBytes int64 = 1 << 10
	// MaxMaxBytes is the largest blob that the official clients send
	// (protocol reference section 4.4); the service's own limit is higher.
	MaxMaxBytes int64 = 4 << 30
	// MinMaxAge keeps age from sealing at the pace of group commits.
	MinMaxAge = 10 * time.Millisecond
	// MaxMaxAge is how long the service keeps what it has queued (protocol
	// reference section 10.1); nothing should wait longer before it.
	MaxMaxAge = 7 * 24 * time.Hour
)

// Policy says how large and how old the open span of a lane may become.
type Policy struct {
	// MaxBytes bounds the raw payload of a batch, in bytes before compression.
	// 0 means DefaultMaxBytes; otherwise MinMaxBytes to MaxMaxBytes.
	MaxBytes int64
	// MaxRecords bounds the records of a batch. 0 means no limit.
	MaxRecords int64
	// MaxAge is how long the first record of a batch waits for company. 0
	// means DefaultMaxAge; otherwise MinMaxAge to MaxMaxAge.
	MaxAge time.Duration
}

// WithDefaults is p with its zero values replaced.
func (p Policy) WithDefaults() Policy {
	p.MaxBytes = cmp.Or(p.MaxBytes, DefaultMaxBytes)
	p.MaxAge = cmp.Or(p.MaxAge, DefaultMaxAge)
	return p
}

// Validate checks p with its defaults filled in and reports all violations at
// once, joined. Each is an [ingest.FieldError]; the result matches
// [ingest.ErrInvalid].
func (p Policy) Validate() error {
	p = p.WithDefaults()
	var errs []error
	if p.MaxBytes < MinMaxBytes || p.MaxBytes > MaxMaxBytes {
		errs = append(errs, &ingest.FieldError{Field: "max bytes", Value: fmt.Sprint(p.MaxBytes),
			Rule: fmt.Sprintf("must be 0 for the default or between %d and %d", MinMaxBytes, MaxMaxBytes)})
	}
	if p.MaxRecords < 0 {
		errs = append(errs, &ingest.FieldError{Field: "max records", Value: fmt.Sprint(p.MaxRecords),
			Rule: "must be 0 for no limit or positive"})
	}
	if p.MaxAge < MinMaxAge || p.MaxAge > MaxMaxAge {
		errs = append(errs, &ingest.FieldError{Field: "max age", Value: p.MaxAge.String(),
			Rule: fmt.Sprintf("must be 0 for the default or between %v and %v", MinMaxAge, MaxMaxAge)})
	}
	return errors.Join(errs...)
}

// full reports whether nothing more should join s.
func (p Policy) full(s Span) bool {
	return s.Bytes >= p.MaxBytes || p.MaxRecords > 0 && s.Records() >= p.MaxRecords
}

// overflows reports whether open and next together break a limit.
func (p Policy) overflows(open, next Span) bool {
	return next.Bytes > p.MaxBytes-open.Bytes ||
		p.MaxRecords > 0 && next.Records() > p.MaxRecords-open.Records()
}
