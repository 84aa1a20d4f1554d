package bus

import (
	"sync"

	"muster/wire"
)

// waiting counts the requests that are served aside, each on a goroutine of its own, by connection and by identity.
type waiting struct {
	mu         sync.Mutex
	total      int
	byConn     map[uint64]int
	byIdentity map[string]int
	closed     bool
	working    sync.WaitGroup // those that have a place
}

const (
	maxWaiting         = 2048 // in all
	maxIdentityWaiting = 1024 // of one identity, so that it takes the places of nobody else
	maxConnWaiting     = 256  // of one connection, likewise
)

// enter takes a place; 429 when there is none, 503 when the bus closes.
func (w *waiting) enter(c wire.Caller) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return wire.Errorf(wire.CodeStopping, "the daemon is shutting down")
	case w.byConn[c.Conn] >= maxConnWaiting:
		return wire.Errorf(wire.CodeTooMany, "%d requests of this connection wait for their answer already", maxConnWaiting)
	case w.byIdentity[c.Identity] >= maxIdentityWaiting:
		return wire.Errorf(wire.CodeTooMany, "%d requests of %s wait for their answer already", maxIdentityWaiting, c.Identity)
	case w.total >= maxWaiting:
		return wire.Errorf(wire.CodeTooMany, "%d requests wait for their answer already", maxWaiting)
	}
	if w.byConn == nil {
		w.byConn, w.byIdentity = map[uint64]int{}, map[string]int{}
	}
	w.total++
	w.byConn[c.Conn]++
	w.byIdentity[c.Identity]++
	w.working.Add(1)
	return nil
}

func (w *waiting) leave(c wire.Caller) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total--
	if w.byConn[c.Conn]--; w.byConn[c.Conn] == 0 {
		delete(w.byConn, c.Conn)
	}
	if w.byIdentity[c.Identity]--; w.byIdentity[c.Identity] == 0 {
		delete(w.byIdentity, c.Identity)
	}
	w.working.Done()
}

// close lets nobody in any more, and waits for those who are.
func (w *waiting) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.working.Wait()
}
