// Package datasync makes what was written to a file durable at the least cost
// that the system offers.
//
// When File returns nil, everything written to the file before the call is on
// stable storage, as far as the drive tells the truth, and so is the part of
// its metadata that reading it back takes, its size among it. An error says
// that nobody knows: the kernel may have dropped what it could not write, and
// reports that once, so trying again proves nothing.
//
// It does not make a file's name durable; that is the directory's to keep.
package datasync
