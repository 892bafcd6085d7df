package engine

import (
	"context"
	"fmt"
	"sync"

	"kustospool/ingest"
	"kustospool/store"
)

// maxLanes bounds the lanes of a spool. A lane costs memory for as long as
// the spool is open, so properties that differ with every request (a tag with
// a time in it, say) must be noticed.
const maxLanes = 10_000

// lane is one set of properties, with the options of its table.
type lane struct {
	id         uint32
	properties ingest.Properties
	options    TableOptions
}

// plainProperties is the part of Properties most callers set. Looking it up
// costs no allocation, which matters on the way of every record.
type plainProperties struct {
	database, table string
	format          ingest.Format
	mapping         string
}

// laneIndex finds a lane by its properties. A lane in it has valid ones.
type laneIndex struct {
	mu    sync.RWMutex // guards the maps
	plain map[plainProperties]*lane
	byKey map[string]*lane // those that this process has ingested into
	byID  map[uint32]*lane // all
}

func (x *laneIndex) init() {
	x.plain = make(map[plainProperties]*lane)
	x.byKey = make(map[string]*lane)
	x.byID = make(map[uint32]*lane)
}

// plain reports whether p sets nothing beyond what plainProperties has.
func plain(p *ingest.Properties) (plainProperties, bool) {
	ok := p.Mapping == "" && p.Tags == nil && p.IngestIfNotExists == nil && p.CreationTime.IsZero() &&
		p.Validation == nil && !p.IgnoreFirstRecord && !p.IgnoreLastRecordIfInvalid && p.ZipPattern == "" &&
		!p.TreatGzAsUncompressed && !p.ExtendSchema && !p.RecreateSchema && p.IngestionTimePolicy == nil &&
		p.Folder == "" && !p.FlushImmediately && !p.IgnoreSizeLimit && !p.DeleteBlobOnSuccess && !p.ByReference && !p.Refused
	return plainProperties{p.Database, p.Table, p.Format, p.MappingReference}, ok
}

// known finds the lane of p among those that this process has ingested into;
// nil where there is none. The properties of a known lane are valid.
func (x *laneIndex) known(p *ingest.Properties) *lane {
	short, isPlain := plain(p)
	if isPlain {
		x.mu.RLock()
		defer x.mu.RUnlock()
		return x.plain[short]
	}
	if p.Validate() != nil {
		return nil // Key wants valid properties
	}
	key := p.Key()
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.byKey[key]
}

// lane finds the lane of valid properties, and makes it durable when it is new.
func (s *Spool) lane(ctx context.Context, p *ingest.Properties) (*lane, error) {
	x := &s.lanes
	if l := x.known(p); l != nil {
		return l, nil
	}
	key := p.Key()
	x.mu.RLock()
	n := len(x.byID)
	x.mu.RUnlock()
	if n >= maxLanes && !x.has(key) {
		return nil, &ingest.FieldError{Field: "properties",
			Rule: fmt.Sprintf("a spool takes at most %d different sets of properties", maxLanes)}
	}
	o, err := s.tableOptions(p)
	if err != nil {
		return nil, err
	}
	id, err := s.store.Lane(ctx, p, store.FrameLimit{Bytes: min(o.Batch.MaxBytes, 1<<20), Records: o.Batch.MaxRecords})
	if err != nil {
		return nil, err
	}
	l := s.addLane(id, o)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.byKey[key] = l
	if short, isPlain := plain(p); isPlain {
		x.plain[short] = l
	}
	return l, nil
}

// has looks among all lanes of the spool, those of earlier processes included.
func (x *laneIndex) has(key string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, l := range x.byID {
		if l.properties.Key() == key {
			return true
		}
	}
	return false
}

// tableOptions are the options of p's table, within what the transport takes.
func (s *Spool) tableOptions(p *ingest.Properties) (TableOptions, error) {
	o := s.opts.table(TableName{p.Database, p.Table})
	caps, err := s.capabilities(p, o.Guarantee)
	if err != nil {
		return o, err
	}
	if limit := caps.MaxBatchBytes; limit > 0 {
		o.Batch.MaxBytes = min(o.Batch.MaxBytes, limit)
	}
	if !p.Concatenates() {
		o.Batch.MaxRecords = 1
	}
	return o, nil
}

// addLane makes a lane of the store known. It must be before the lane's first
// record is committed, because the sealer then asks for its options.
func (s *Spool) addLane(id uint32, o TableOptions) *lane {
	l := &lane{id: id, options: o}
	l.properties, _ = s.store.LaneProperties(id)
	s.lanes.mu.Lock()
	defer s.lanes.mu.Unlock()
	s.lanes.byID[id] = l
	return l
}

// propertiesOf are those of a lane; empty ones where it is not known.
func (x *laneIndex) propertiesOf(id uint32) ingest.Properties {
	if l := x.get(id); l != nil {
		return l.properties
	}
	return ingest.Properties{}
}

// get gives a lane that addLane has made known.
func (x *laneIndex) get(id uint32) *lane {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.byID[id]
}
