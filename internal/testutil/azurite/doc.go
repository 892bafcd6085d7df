// Package azurite runs Azurite, Microsoft's storage emulator, for tests: real
// blobs, queues and tables on loopback ports.
//
// [Start] gives one emulator for the whole test binary. The first call in the
// first binary on a machine installs it: exactly the packages of the embedded
// npm lock file, checked by their hashes, about 63 MB in ten seconds, into
// $AZURITE_CACHE or the user's cache directory. Later calls need neither npm
// nor network and take half a second.
//
// The emulator is node's child of the test binary and ends with it, however
// that ends: it watches its standard input, whose other end is held by the
// binary. It keeps everything in memory (512 MB at most), sends no telemetry
// (the module that would is a stub) and is reached with a key made for this
// run.
//
// Where node or npm is missing, or the packages cannot be fetched, the test is
// skipped with that reason; with CI or REQUIRE_AZURITE in the environment it
// fails instead, so that a skip cannot hide. An emulator that is installed and
// does not start always fails the test.
package azurite
