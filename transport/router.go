package transport

import "kustospool/ingest"

// Router is the optional power of a transport that leads to several
// destinations. The engine looks for it once, when it opens. It then keeps a
// breaker, queues and questions for each destination, so that one in trouble
// holds back none of the others, and asks for capabilities by table.
//
// Its methods are called often and from many goroutines. They answer from
// memory, and the same for the same arguments as long as the transport lives.
type Router interface {
	Transport

	// Destination names where the next attempt at a batch of these properties
	// and guarantee goes, or, when it is accepted or unknown, who is asked about
	// it. progress is what the batch's Journal last held; nil for a batch that
	// was not begun.
	Destination(p *ingest.Properties, g ingest.Guarantee, progress []byte) string

	// CapabilitiesOf are those of one destination.
	CapabilitiesOf(destination string) Capabilities
}

// MaxRouteBytes is what a Router may add to the progress of the transport that
// it leads to, beyond MaxProgressBytes.
const MaxRouteBytes = 128
