package ingestor

import (
	"kustospool/internal/kustosim/internal/fault"
	"kustospool/internal/kustosim/internal/parse"
)

// faultFailure is what an ingestion fails with that a fault strikes.
func faultFailure(a *fault.ActiveIngest) *parse.Error {
	e := &parse.Error{Code: a.Code, Details: a.Details}
	code := ""
	switch a.Kind {
	case fault.FailTransient:
		code, e.Status = "General_InternalServerError", parse.Transient
	case fault.FailExhausted:
		code, e.Status = "General_RetryAttemptsExceeded", parse.Exhausted
	default:
		code, e.Status = "General_BadRequest", parse.Permanent
	}
	if e.Code == "" {
		e.Code = code
	}
	if e.Details == "" {
		e.Details = "a fault of the simulator"
	}
	return e
}

// strike returns the first fault of one of the kinds that strikes an ingestion.
func (g *Ingestor) strike(in *ingestion, kinds ...fault.IngestFaultKind) *fault.ActiveIngest {
	return g.faults.Strike(in.DatabaseName, in.TableName, in.source(), kinds...)
}
