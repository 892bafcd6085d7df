// Package control serves the paths under /sim/, by which a test in another
// process reads rows and counters, sets faults and makes old what clients hold.
//
// # Promise
//
// A request is checked whole before anything is done. DELETE removes every
// fault that was set this way and no other.
//
// # Failure
//
// A bad parameter is a 400 that names it and the rule.
//
// # What it does not do
//
// It is never struck by a fault. It has no lever that methods of the simulator
// do not have.
package control
