// Package mgmt runs management commands.
//
// # Promise
//
// A command that is understood acts as documented; one that is not is a
// permanent 400 and has no effect. An ingestion command that has begun takes
// its effect, also for a client that has left. Ingestion commands are logged
// with how they ended, and bounded by the capacity.
//
// # Failure
//
// Errors are [reply.Error], with the service's codes.
//
// # What it does not do
//
// It asks for no role: room endpoint does, before. It ingests nothing itself.
// The log holds the last 100,000 ingestion commands and no others.
package mgmt
