// Package goclient holds Microsoft's Go client of Kusto (azkustodata and
// azkustoingest of github.com/Azure/azure-kusto-go) against the simulator: its
// tests ingest with it, queued, streaming and managed, and compare what the
// simulator holds value by value (internal/testutil/judge). What they find out
// about the client itself, how often it posts a message whose reply is lost
// for instance, is what docs/clients.md says of it.
//
// It is a module of its own, so that the client and what it needs stay out of
// the product's go.mod. .ci/run runs its tests. The client wants https and
// accounts in the names of hosts, which judge.Front gives it; nothing leaves
// the machine.
package goclient
