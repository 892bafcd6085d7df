package engine

import (
	"fmt"

	"kustospool/engine/internal/plug"
	"kustospool/ingest"
	"kustospool/transport"
)

// What differs by destination. Most transports have one, whose name is empty;
// a [transport.Router] has several.

// capabilities are those of the destination of p's new batches. The error is a
// router's that cannot tell it.
func (s *Spool) capabilities(p *ingest.Properties, g ingest.Guarantee) (transport.Capabilities, error) {
	_, caps, err := s.transport.NewBatches(p, g)
	return caps, err
}

// capabilitiesBy is capabilities by table, before there is a spool. The zero
// name stands for tables that nobody names.
func capabilitiesBy(p *plug.Plug) func(TableName, ingest.Guarantee) (transport.Capabilities, error) {
	return func(t TableName, g ingest.Guarantee) (transport.Capabilities, error) {
		_, caps, err := p.NewBatches(&ingest.Properties{Database: t.Database, Table: t.Table}, g)
		return caps, err
	}
}

// kept checks that the guarantee of p's table can be kept where its batches
// go, and returns the capabilities of that destination. Without a router Open
// has checked it for all tables.
func (s *Spool) kept(p *ingest.Properties) (transport.Capabilities, error) {
	if !s.transport.Routes() {
		return s.transport.Capabilities(), nil
	}
	o := s.opts.table(TableName{p.Database, p.Table})
	to, caps, err := s.transport.NewBatches(p, o.Guarantee)
	if err != nil {
		return caps, fmt.Errorf("engine: where table %s of database %s goes cannot be told: %w", p.Table, p.Database, err)
	}
	if o.Guarantee == ingest.ExactlyOnce && !caps.ExactlyOnce {
		return caps, fmt.Errorf("%w: table %s of database %s goes by %s", ErrGuarantee, p.Table, p.Database, to)
	}
	return caps, nil
}

// keepsOpen checks that a lane's records that are in no batch can be sent, and
// as their table wants it.
func (s *Spool) keepsOpen(lane uint32) error {
	p := &s.lanes.get(lane).properties
	caps, err := s.kept(p)
	if err != nil {
		return err
	}
	return canSend(p, caps)
}
