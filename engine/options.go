package engine

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"kustospool/batching"
	"kustospool/engine/internal/plug"
	"kustospool/ingest"
	"kustospool/transport"
)

// Options of [Open]. Nil, and the zero value of each field, mean the
// documented default. Open works on a copy.
type Options struct {
	// Batch says when a lane's open batch is sealed. Its own defaults apply.
	Batch batching.Policy
	// Guarantee of tables that Tables does not name. Default ExactlyOnce.
	Guarantee ingest.Guarantee
	// Confirm of tables that Tables does not name. Default ConfirmIngested.
	Confirm ingest.Confirm
	// OnBadRecord, of tables that Tables does not name, says what becomes of
	// bytes of a source that are no record. Default StopAtBadRecord.
	OnBadRecord BadRecordPolicy
	// UncheckedJSON takes what is given as a record of json or multijson without
	// looking into it. The service passes over a line that is no JSON object
	// without a word and reports it as ingested, and a document that does not end
	// takes its neighbours with it. The check costs about a microsecond a KiB.
	// Default false.
	UncheckedJSON bool
	// Class of tables that Tables does not name: which tables go before which.
	// Default ClassNormal.
	Class Class
	// Order of tables that Tables does not name: which of a table's batches goes
	// first. Default OldestFirst, the order of acceptance. FreshFirst wants two
	// Senders at least.
	Order Order
	// Tables overrides the seven above for single tables.
	Tables map[TableName]TableOptions

	// Full says what Ingest does when MaxDiskBytes is reached. Default BlockCaller.
	Full FullPolicy
	// MaxDiskBytes bounds all files of the spool together. Default 8 GiB; 32 MiB
	// is of use.
	MaxDiskBytes int64
	// SegmentBytes is the size at which a segment file is rotated. Default 64 MiB,
	// and an eighth of MaxDiskBytes where that is less.
	SegmentBytes int64
	// CompressOnDisk stores records compressed (S2): more backlog for each
	// gigabyte and fewer bytes written, for processor time in the way of an
	// acknowledgement. It can be changed with each Open. Default false.
	CompressOnDisk bool
	// CommitInterval is how long a commit waits for more records, at most 1
	// minute: fewer, larger commits wear flash memory less, and every
	// acknowledgement takes so much longer. It means fsynced all the same.
	// Default 0: a commit waits for nothing but the one before it.
	CommitInterval time.Duration
	// TrustDirectory takes a directory that belongs to another user, or that a
	// group may write to, as the volumes of containers are mounted: whoever can
	// write there is trusted with all that is in it. One that everybody may write
	// to is refused all the same. Default false.
	TrustDirectory bool
	// LockTimeout is how long Open waits for a process that has the spool open.
	// Default 1 s.
	LockTimeout time.Duration
	// StatusRetention is how long Status answers for settled records. Default 7 days.
	StatusRetention time.Duration

	// Senders is how many attempts run at the same time, all lanes together; with
	// a router, for each destination. Each holds the transport's upload buffers.
	// As many of ClassAlarm may run beside them. Default 4, at most 256.
	Senders int
	// FreshShare is what the fresh batches of tables with FreshFirst have of their
	// destination while others of the same class wait there, in percent of the
	// bytes before compression; what is not fresh has the rest, whatever its table.
	// At a destination with such a table what is not fresh, and no alarm, holds no
	// more of the Senders than its share, rounded up (2 of 4), and leaves one free.
	// Default 70, from 1 to 99.
	FreshShare int
	// FreshFor is how long a batch is fresh, from its sealing, and how often one is
	// sealed of a table with FreshFirst that cannot be delivered. Default 10
	// minutes, at least a second.
	FreshFor time.Duration
	// MaxUnconfirmed is how many batches may wait for their outcome at the same
	// time, with a router for each destination; sending pauses at the bound, and
	// for one table alone at half of it. As many of ClassAlarm may beside them.
	// Default 1000.
	MaxUnconfirmed int
	// AttemptTimeout bounds what of one attempt is not an upload: its time begins
	// again whenever the transport says that another part of an upload has
	// arrived ([transport.Delivery].Moved). How long an upload may stand still is
	// the transport's to bound, and its size is nobody's. Default 10 minutes.
	AttemptTimeout time.Duration
	// UnknownGrace is how long an attempt of unknown outcome is looked for at
	// the service before the batch is sent again; and an accepted batch about which
	// nobody may ask any more, for want of a role. Default 2 minutes.
	// Of what nobody can be asked about (transport.Error.Untraceable) it is not
	// waited for.
	UnknownGrace time.Duration
	// VerdictTimeout is how long the service may take to report the outcome of
	// an accepted batch before it is sent again. Default 72 hours: the service
	// itself retries for 48 (protocol reference section 10.1).
	VerdictTimeout time.Duration
	// RetryMin and RetryMax bound the pause between attempts. Defaults 1 s and
	// 60 s. There is no bound on the number of attempts.
	RetryMin, RetryMax time.Duration

	// NoSocket keeps the spool from answering the operator's commands on a Unix
	// socket in its directory (package operate). A program that sets it must be
	// stopped before its spool can be looked at. Tests in a testing/synctest bubble
	// set it: a goroutine that waits for a connection keeps their clock from moving on.
	// Default false.
	NoSocket bool

	// CloseTimeout is how long Close waits for calls of the transport that do not
	// return when they are cut off, and for the observer; see [NotClosedError].
	// Default 30 s.
	CloseTimeout time.Duration

	// Observer is told what happens. Nil: nobody is.
	Observer Observer
	// Logger hears what no caller is told. Nil discards. Its handler may panic,
	// at the price of the line, but must not call the spool.
	Logger *slog.Logger
}

// TableName names a table of a database.
type TableName struct{ Database, Table string }

// TableOptions override Options for one table; zero fields inherit.
type TableOptions struct {
	Batch       batching.Policy
	Guarantee   ingest.Guarantee
	Confirm     ingest.Confirm
	OnBadRecord BadRecordPolicy
	Class       Class
	Order       Order
	// UncheckedJSON inherits false only: what all tables leave unchecked one
	// cannot have checked.
	UncheckedJSON bool
}

// FullPolicy says what happens to a new record when the disk quota is reached.
type FullPolicy uint8

const (
	// BlockCaller makes Ingest wait, within its context, for room.
	BlockCaller FullPolicy = iota + 1
	// RejectNew makes Ingest return ErrFull.
	RejectNew
	// DropOldest deletes the oldest batches that are not under way, and counts
	// their records as dropped. Where all are under way the call is refused with
	// ErrFull.
	DropOldest
)

// String is the policy's name.
func (p FullPolicy) String() string {
	switch p {
	case BlockCaller:
		return "block"
	case RejectNew:
		return "reject"
	case DropOldest:
		return "drop-oldest"
	}
	return fmt.Sprintf("full policy(%d)", uint8(p))
}

// withDefaults returns a copy with every zero field defaulted.
func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	c.Tables = maps.Clone(c.Tables)
	c.Batch = c.Batch.WithDefaults()
	c.Guarantee = cmp.Or(c.Guarantee, ingest.ExactlyOnce)
	c.Confirm = cmp.Or(c.Confirm, ingest.ConfirmIngested)
	c.OnBadRecord = cmp.Or(c.OnBadRecord, StopAtBadRecord)
	c.Class = cmp.Or(c.Class, ClassNormal)
	c.Order = cmp.Or(c.Order, OldestFirst)
	c.FreshShare = cmp.Or(c.FreshShare, DefaultFreshShare)
	c.FreshFor = cmp.Or(c.FreshFor, DefaultFreshFor)
	c.Full = cmp.Or(c.Full, BlockCaller)
	c.MaxDiskBytes = cmp.Or(c.MaxDiskBytes, 8<<30)
	c.SegmentBytes = cmp.Or(c.SegmentBytes, min(max(c.MaxDiskBytes/8, 64<<10), 64<<20))
	c.StatusRetention = cmp.Or(c.StatusRetention, 7*24*time.Hour)
	c.Senders = cmp.Or(c.Senders, 4)
	c.MaxUnconfirmed = cmp.Or(c.MaxUnconfirmed, 1000)
	c.AttemptTimeout = cmp.Or(c.AttemptTimeout, 10*time.Minute)
	c.UnknownGrace = cmp.Or(c.UnknownGrace, 2*time.Minute)
	c.VerdictTimeout = cmp.Or(c.VerdictTimeout, 72*time.Hour)
	c.RetryMin = cmp.Or(c.RetryMin, time.Second)
	c.LockTimeout = cmp.Or(c.LockTimeout, time.Second)
	c.CloseTimeout = cmp.Or(c.CloseTimeout, 30*time.Second)
	c.RetryMax = cmp.Or(c.RetryMax, time.Minute)
	c.Logger = plug.Logger(c.Logger)
	return c
}

// table resolves the options of one table.
func (o *Options) table(name TableName) TableOptions {
	t := o.Tables[name]
	t.Batch.MaxBytes = cmp.Or(t.Batch.MaxBytes, o.Batch.MaxBytes)
	t.Batch.MaxRecords = cmp.Or(t.Batch.MaxRecords, o.Batch.MaxRecords)
	t.Batch.MaxAge = cmp.Or(t.Batch.MaxAge, o.Batch.MaxAge)
	t.Guarantee = cmp.Or(t.Guarantee, o.Guarantee)
	t.Confirm = cmp.Or(t.Confirm, o.Confirm)
	t.OnBadRecord = cmp.Or(t.OnBadRecord, o.OnBadRecord)
	t.Class = cmp.Or(t.Class, o.Class)
	t.Order = cmp.Or(t.Order, o.Order)
	return t
}

// validate checks defaulted options and reports all violations at once. Store
// limits are the store's to check.
func (o *Options) validate(caps func(TableName, ingest.Guarantee) (transport.Capabilities, error)) error {
	var errs []error
	bad := func(field string, value any, rule string) {
		errs = append(errs, &ingest.FieldError{Field: "Options." + field, Value: fmt.Sprint(value), Rule: rule})
	}
	positive := func(field string, d time.Duration) {
		if d < 0 {
			bad(field, d, "must be positive")
		}
	}
	positive("AttemptTimeout", o.AttemptTimeout)
	positive("UnknownGrace", o.UnknownGrace)
	positive("VerdictTimeout", o.VerdictTimeout)
	positive("StatusRetention", o.StatusRetention)
	positive("RetryMin", o.RetryMin)
	positive("CloseTimeout", o.CloseTimeout)
	positive("LockTimeout", o.LockTimeout)
	if o.RetryMax < o.RetryMin {
		bad("RetryMax", o.RetryMax, "must be at least RetryMin, "+o.RetryMin.String())
	}
	if o.Senders < 1 || o.Senders > 256 {
		bad("Senders", o.Senders, "must be from 1 to 256")
	}
	if o.FreshShare < 1 || o.FreshShare > 99 {
		bad("FreshShare", o.FreshShare, "must be from 1 to 99 percent")
	}
	if o.FreshFor < time.Second {
		bad("FreshFor", o.FreshFor, "must be at least a second")
	}
	if o.MaxUnconfirmed < 1 {
		bad("MaxUnconfirmed", o.MaxUnconfirmed, "must be at least 1")
	}
	if o.Full < BlockCaller || o.Full > DropOldest {
		bad("Full", o.Full, "must be BlockCaller, RejectNew or DropOldest")
	}
	check := func(where string, name TableName, t TableOptions) {
		if err := t.Batch.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("Options.%sBatch: %w", where, err))
		}
		switch t.Guarantee {
		case ingest.AtLeastOnce:
		case ingest.ExactlyOnce:
			if can, err := caps(name, t.Guarantee); err != nil {
				bad(where+"Guarantee", t.Guarantee, "cannot be checked: "+err.Error())
			} else if !can.ExactlyOnce {
				errs = append(errs, fmt.Errorf("%w (Options.%sGuarantee)", ErrGuarantee, where))
			}
		default:
			bad(where+"Guarantee", t.Guarantee, "must be ExactlyOnce or AtLeastOnce")
		}
		if t.Confirm != ingest.ConfirmIngested && t.Confirm != ingest.ConfirmAccepted {
			bad(where+"Confirm", t.Confirm, "must be ConfirmIngested or ConfirmAccepted")
		}
		if t.OnBadRecord < StopAtBadRecord || t.OnBadRecord > DeadLetterBadRecords {
			bad(where+"OnBadRecord", t.OnBadRecord, "must be StopAtBadRecord, SkipBadRecords or DeadLetterBadRecords")
		}
		if t.Class < ClassAlarm || t.Class > ClassBulk {
			bad(where+"Class", t.Class, "must be ClassAlarm, ClassNormal or ClassBulk")
		}
		switch {
		case t.Order < OldestFirst || t.Order > FreshFirst:
			bad(where+"Order", t.Order, "must be OldestFirst or FreshFirst")
		case t.Order == FreshFirst && o.Senders == 1:
			bad(where+"Order", t.Order, "wants at least two Senders, so that what is fresh need not wait for an old batch on the wire")
		}
	}
	check("", TableName{}, TableOptions{Batch: o.Batch, Guarantee: o.Guarantee, Confirm: o.Confirm, OnBadRecord: o.OnBadRecord, Class: o.Class, Order: o.Order})
	for name := range o.Tables {
		if name.Database == "" || name.Table == "" {
			bad("Tables", name, "must name a database and a table")
		}
		check(fmt.Sprintf("Tables[%s.%s].", name.Database, name.Table), name, o.table(name))
	}
	return errors.Join(errs...)
}
