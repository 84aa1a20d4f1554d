// Package daemon puts muster together: configuration in, every part started in order and stopped in reverse.
//
// The order is configuration, folder and lock, the store's key, this boot's number, the bus, the blobs (loaded and
// checked), the machine at its first state, then the endpoints; only when all of that stands is run.json written. The
// end is a state too: a signal wishes for CONTEXT_DESTROYING, notifiers may hold it, and what remains when it is
// committed is to let clients read their last bytes, stop the bus, and do what was asked (exit, reboot).
//
// serve.go is the table that binds each endpoint to its method; adapt.go has the few adapters between rooms that do
// not know each other. The package is the only one that knows them all.
package daemon
