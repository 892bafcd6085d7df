package kusto

import (
	"context"
	"errors"
	"fmt"

	"kustospool/transport"
)

// A client lets nothing out but through the following: its errors, its verdicts
// and what its journal keeps. The texts in them went through [Secrets.Words]
// where they came in, before anything cut them; this is for what did not, by
// mistake or because the secret was not known yet.

// Seal is an error that a client returns, without a known secret. One without
// any is returned as it is.
func (s *Secrets) Seal(err error) error {
	if err == nil {
		return nil
	}
	var e *transport.Error
	switch {
	case !errors.As(err, &e) || e == nil:
		if s.Holds(err.Error()) {
			return errors.New(s.Words(err.Error()))
		}
	case s.Holds(e.Op), s.Holds(e.Code), s.Holds(e.Message), s.Holds(e.RequestID), s.Holds(err.Error()):
		sealed := *e
		if e.Message == "" && e.Err != nil {
			sealed.Message = s.Words(e.Err.Error())
		}
		sealed.Op, sealed.Code, sealed.Message, sealed.RequestID = s.Words(e.Op), s.Words(e.Code), s.Words(sealed.Message), s.Words(e.RequestID)
		sealed.Err = cause(e.Err)
		return &sealed
	}
	return err
}

// SealVerdicts seals the failures of verdicts, in place.
func (s *Secrets) SealVerdicts(verdicts []transport.Verdict) {
	for i := range verdicts {
		if f := verdicts[i].Failure; f != nil {
			errors.As(s.Seal(f), &verdicts[i].Failure)
		}
	}
}

// Repanic is deferred by a client's methods: whoever brought the HTTP client or
// the credential may panic with an address, and the engine keeps the words.
func (s *Secrets) Repanic() {
	if p := recover(); p != nil {
		panic(s.Words(fmt.Sprint(p)))
	}
}

// Journal is a journal that takes no progress with a known secret in it.
func (s *Secrets) Journal(j transport.Journal) transport.Journal { return sealedJournal{j, s} }

type sealedJournal struct {
	journal transport.Journal
	secrets *Secrets
}

// errSecretNoted: an address or an id of the service's holds a secret.
var errSecretNoted = &transport.Error{Op: "journal", Class: transport.Transient, Message: "what is to be noted of this attempt holds a secret, which the service has put in a name or an id; nothing is noted"}

func (j sealedJournal) check(progress []byte) error {
	if j.secrets.Holds(string(progress)) {
		return errSecretNoted
	}
	return nil
}

// Note implements [transport.Journal].
func (j sealedJournal) Note(ctx context.Context, progress []byte) error {
	if err := j.check(progress); err != nil {
		return err
	}
	return j.journal.Note(ctx, progress)
}

// Commit implements [transport.Journal].
func (j sealedJournal) Commit(ctx context.Context, progress []byte) error {
	if err := j.check(progress); err != nil {
		return err
	}
	return j.journal.Commit(ctx, progress)
}
