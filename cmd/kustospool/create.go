package main

import (
	"context"
	"errors"
	"fmt"

	"kustospool/cmd/kustospool/internal/input"
	"kustospool/ingest"
	"kustospool/transport/admin"
)

// creation is what send and drain make at the service before they store or deliver anything.
type creation struct {
	columns []admin.Column // none: no table
	mapping *admin.Mapping // nil: no mapping
}

// creation reads --create-table and --create-mapping.
func (s *sendSettings) creation(t target, sources []input.Source, blobs *blobInputs) (creation, error) {
	var c creation
	if (s.createTable != "" || s.createMapping) && t.kind == toDirectory {
		return c, usagef("--create-table and --create-mapping want a cluster or sim:; a directory has no tables")
	}
	if s.createTable != "" {
		columns, err := admin.ParseColumns(s.createTable)
		if err != nil {
			return c, usagef("--create-table: %w", err)
		}
		c.columns = columns
	}
	if !s.createMapping {
		return c, nil
	}
	if s.mapping == "" || s.mappingReference == "" {
		return c, usagef("--create-mapping wants the mapping in --mapping and its name in --mapping-reference")
	}
	text, err := s.mappingText()
	if err != nil {
		return c, err
	}
	c.mapping = &admin.Mapping{Name: s.mappingReference, JSON: text}
	for _, format := range formats(sources, blobs) {
		kind := format.MappingKind()
		if c.mapping.Kind != "" && c.mapping.Kind != kind {
			return c, usagef("--create-mapping: the inputs want mappings of two kinds, %s and %s", c.mapping.Kind, kind)
		}
		c.mapping.Kind = kind
	}
	if err := c.mapping.Validate(); err != nil { // before the table is created
		return c, usagef("--create-mapping: %w", err)
	}
	return c, nil
}

// formats are those of all inputs.
func formats(sources []input.Source, blobs *blobInputs) []ingest.Format {
	var list []ingest.Format
	for _, src := range sources {
		list = append(list, src.Format)
	}
	for _, in := range blobs.list {
		list = append(list, in.format)
	}
	return list
}

// run creates what is asked for. Everything can be there already.
func (c creation) run(ctx context.Context, console *console, d *destination, s *deliverySettings, p ingest.Properties) (err error) {
	if c.columns == nil && c.mapping == nil {
		return nil
	}
	if s.budget.counts() {
		return usagef("--create-table and --create-mapping are not counted by --budget-day and --budget-month: create them in a run of its own, without a budget")
	}
	client, err := d.admin(s)
	if err != nil {
		return usageError{err}
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	where := p.Database + "." + p.Table
	if c.columns != nil {
		if err := client.CreateTable(ctx, p.Database, admin.Table{Name: p.Table, Columns: c.columns}); err != nil {
			return fmt.Errorf("table %s cannot be created, and nothing was stored or sent: %w", where, err)
		}
		console.tell("Table %s is there, with %d columns or more.", where, len(c.columns))
	}
	if c.mapping != nil {
		if err := client.CreateMapping(ctx, p.Database, p.Table, *c.mapping); err != nil {
			return fmt.Errorf("mapping %s of table %s cannot be created, and nothing was stored: %w", c.mapping.Name, where, err)
		}
		console.tell("Mapping %s of table %s is there.", c.mapping.Name, where)
	}
	return nil
}

// admin is a client for management commands at the destination.
func (d *destination) admin(s *deliverySettings) (*admin.Client, error) {
	t, endpoint := d.target, d.target.endpoint
	if d.sim != nil {
		t, endpoint = target{kind: toCluster, text: t.text, loopback: true}, d.sim.Endpoint()
	}
	cred, err := s.identity.credential(t)
	if err != nil {
		return nil, err
	}
	return admin.NewClient(endpoint, cred, &admin.ClientOptions{App: "kustospool", AllowHosts: s.allowHosts})
}
