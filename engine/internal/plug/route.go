package plug

import (
	"slices"

	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// What differs by destination. Most transports have one, whose name is empty;
// a [transport.Router] has several.

// Destination names where the batch's next attempt goes, or who is asked about it.
func (p *Plug) Destination(e *store.Entry) string {
	if !p.Routes() {
		return ""
	}
	return p.destination(&e.Batch.Properties, e.Batch.Guarantee, e.Progress)
}

// destination is Router.Destination. Where the router fails, the batch goes
// under the empty name: Send is the same.
func (p *Plug) destination(props *ingest.Properties, g ingest.Guarantee, progress []byte) string {
	var to string
	own, bytes := *props, slices.Clone(progress)
	if err := p.call("Router.Destination", func() error {
		to = p.router().Destination(&own, g, bytes)
		return nil
	}); err != nil || len(to) > 256 {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known[to] {
		if len(p.known) >= maxDestinations {
			return ""
		}
		p.known[to] = true
	}
	return to
}

// CapabilitiesOf are those of one destination. The error is a router's that cannot tell
// them.
func (p *Plug) CapabilitiesOf(destination string) (caps transport.Capabilities, err error) {
	if !p.Routes() {
		return p.caps, nil
	}
	err = p.call("Router.CapabilitiesOf", func() error {
		caps = p.router().CapabilitiesOf(destination)
		return nil
	})
	return caps, err
}

// NewBatches says where new batches of p go, and what is possible there. It is
// asked for each record, in the caller's goroutine and under no lock, and so
// has none of its own.
func (p *Plug) NewBatches(props *ingest.Properties, g ingest.Guarantee) (to string, caps transport.Capabilities, err error) {
	if !p.Routes() {
		return "", p.caps, nil
	}
	return p.newBatches(props, g)
}

func (p *Plug) newBatches(props *ingest.Properties, g ingest.Guarantee) (to string, caps transport.Capabilities, err error) {
	err = p.told(transport.Recover("Router.Destination or CapabilitiesOf", func() error {
		r := p.router()
		to = r.Destination(props, g, nil)
		caps = r.CapabilitiesOf(to)
		return nil
	}))
	return to, caps, err
}

// ProgressLimit bounds what it writes to its journal, in bytes.
func (p *Plug) ProgressLimit() int {
	if !p.Routes() {
		return transport.MaxProgressBytes
	}
	return transport.MaxProgressBytes + transport.MaxRouteBytes
}
