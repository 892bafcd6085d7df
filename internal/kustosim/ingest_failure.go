package kustosim

// faultFailure is what an ingestion fails with that a fault strikes.
func faultFailure(a *activeIngestFault) *ingestError {
	e := &ingestError{code: a.Code, details: a.Details}
	code := ""
	switch a.Kind {
	case FailTransient:
		code, e.status = "General_InternalServerError", Transient
	case FailExhausted:
		code, e.status = "General_RetryAttemptsExceeded", Exhausted
	default:
		code, e.status = "General_BadRequest", Permanent
	}
	if e.code == "" {
		e.code = code
	}
	if e.details == "" {
		e.details = "a fault of the simulator"
	}
	return e
}

// strike returns the first fault of one of the kinds that strikes an ingestion.
func (g *ingestor) strike(in *ingestion, kinds ...IngestFaultKind) *activeIngestFault {
	return g.faults.strike(in.DatabaseName, in.TableName, in.source(), kinds...)
}
