// Package npm installs pinned npm packages for tests.
//
// [Package.Install] makes exactly what an embedded lock file says, checked by
// its hashes, with npm ci and without running a package's scripts, once on a
// machine: into a directory named by the hash of everything embedded, below
// the directory that an environment variable names or the user's cache
// directory. Processes that come at the same time wait for one another; later
// calls need neither npm nor network.
//
// Where npm is missing, or the packages cannot be fetched, the error is a
// [MissingError]; whether that skips a test or fails it is [Required]'s to say.
package npm
