// Package cli is the command muster: one file a command, each a thin client of the bus.
//
// Every command writes what it found to standard output, as text for people or, with -o json, as one JSON message a
// line in the protocol's own words; what went wrong goes to standard error with a hint, and into the exit code. The
// commands find the daemon by the run.json in its folder. Only run and demo start the daemon itself.
package cli
