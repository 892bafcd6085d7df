package ingestor

import "kustospool/internal/kustosim/internal/fault"

// age has faults merge or expire the extents of a table once an ingestion has
// committed.
func (g *Ingestor) age(in *ingestion) {
	for _, kind := range []struct {
		fault fault.IngestFaultKind
		do    func(db, name string) bool
	}{
		{fault.MergeExtents, g.Catalog.Merge}, {fault.ExpireTags, g.Catalog.ExpireTags}, {fault.ExpireExtents, g.Catalog.ExpireExtents},
	} {
		if g.strike(in, kind.fault) != nil {
			kind.do(in.DatabaseName, in.TableName)
		}
	}
}
