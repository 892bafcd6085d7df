// Package nodeclient runs the official Node client of Kusto (npm
// azure-kusto-ingest and azure-kusto-data, pinned by the embedded lock file)
// against an endpoint on this machine, for tests: what the simulator takes
// must be what official clients send, and what it holds must be what they sent,
// value by value (internal/testutil/judge).
//
// [Run] installs the client on its first use on a machine, some 100 MB, into
// $NODECLIENT_CACHE or the user's cache directory, and needs neither npm nor
// network later. The script refuses every connection but to loopback, before a
// name is looked up. Where node or npm is missing, or the packages cannot be
// fetched, the test is skipped with that reason; with CI or REQUIRE_NODECLIENT
// in the environment it fails instead.
package nodeclient
