package kustosim

import (
	"kustospool/internal/kustosim/internal/parse"
)

// faultFailure is what an ingestion fails with that a fault strikes.
func faultFailure(a *activeIngestFault) *parse.Error {
	e := &parse.Error{Code: a.Code, Details: a.Details}
	code := ""
	switch a.Kind {
	case FailTransient:
		code, e.Status = "General_InternalServerError", parse.Transient
	case FailExhausted:
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
func (g *ingestor) strike(in *ingestion, kinds ...IngestFaultKind) *activeIngestFault {
	return g.faults.strike(in.DatabaseName, in.TableName, in.source(), kinds...)
}
