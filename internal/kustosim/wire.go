package kustosim

import (
	"context"
	"net"
	"net/http"

	"kustospool/internal/kustosim/internal/catalog"
	"kustospool/internal/kustosim/internal/control"
	"kustospool/internal/kustosim/internal/endpoint"
	"kustospool/internal/kustosim/internal/ingestor"
	"kustospool/internal/kustosim/internal/mgmt"
	"kustospool/internal/kustosim/internal/storage"
)

// This file gives each room what it works with, and no more.

func (s *Sim) countRequest(host Host, struck bool) {
	s.stats.Add(func(st *Stats) {
		st.Requests[host]++
		if struck {
			st.FaultsStruck++
		}
	})
}

func (s *Sim) ingestorConfig() ingestor.Config {
	o := &s.opts
	return ingestor.Config{
		Catalog: s.catalog, Tokens: s.tokens, Stats: s.stats, Notify: s.change.notify, Log: o.Logger,
		MayIngest:         s.grants.MayIngest,
		Batch:             catalog.Batching{Time: o.BatchTime, Items: o.BatchItems, Bytes: o.BatchBytes},
		AutoCreate:        o.AutoCreate,
		AnyDatabase:       s.anyDatabase(),
		RetryEvery:        o.RetryEvery,
		MaxBlobBytes:      o.MaxBlobBytes,
		TagHitAsFailed:    o.TagHitAsFailed,
		FailMalformedJSON: o.FailMalformedJSON,
		BlobAccess:        o.BlobAccess,
		BlobHosts:         o.BlobHosts,
	}
}

func (s *Sim) managerConfig() mgmt.Config {
	o := &s.opts
	return mgmt.Config{
		Catalog: s.catalog, Tokens: s.tokens, Resources: s.storage, Ingestor: s.ingestor, Stats: s.stats, Notify: s.change.notify, Done: s.done,
		AnyDatabase:     s.anyDatabase(),
		UnknownResource: o.UnknownResource,
		TagHitAsFailed:  o.TagHitAsFailed,
		IngestCapacity:  o.IngestCapacity,
		IngestTime:      o.IngestTime,
	}
}

func (s *Sim) endpointConfig() endpoint.Config {
	o := &s.opts
	levers := control.Levers{Fault: s.Fault, IngestFault: s.IngestFault, ExpireSAS: s.ExpireSAS, ExpireTokens: s.ExpireTokens, Rotate: s.Rotate, Accounts: maxAccounts}
	return endpoint.Config{
		Catalog: s.catalog, Manager: s.manager, Ingestor: s.ingestor, Resources: s.storage, Faults: s.faults, Stats: s.stats, Notify: s.change.notify,
		Control:            control.New(levers, s.catalog, s.stats),
		Grants:             s.grants,
		Metadata:           o.Metadata,
		PreferredIngestion: o.PreferredIngestion,
	}
}

// openStorage makes the storage of the options, with its ports on ip.
func (s *Sim) openStorage(ctx context.Context, ip string) (anyStorage, error) {
	c := storage.Config{Root: s.opts.storageRoot, Accounts: s.opts.Accounts, MaxBytes: s.opts.MaxBlobBytes, MaxBlocks: s.opts.MaxBlocks, Rights: s.opts.ContainerRights, Issuer: s.issuer, Stats: s.stats, Deliver: s.ingestor.Deliver,
		Listen: func(host Host, svc storage.Service, handler http.Handler) (string, error) {
			faulty := s.faults.Before(handler, func(r *http.Request) (Host, string) { return host, storage.FaultText(r) }, storage.RefuseFault(svc))
			l, err := s.listen(host, net.JoinHostPort(ip, "0"), faulty)
			if err != nil {
				return "", err
			}
			return l.Addr, nil
		}}
	// A nil pointer must not become an interface that is not nil.
	if s.opts.Storage != nil {
		e, err := storage.NewExternal(ctx, s.opts.Storage, c)
		if err != nil {
			return nil, err
		}
		return e, nil
	}
	b, err := storage.NewBuiltin(c)
	if err != nil {
		return nil, err
	}
	return b, nil
}
