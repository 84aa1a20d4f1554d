package bus

import (
	"sync"

	"muster/wire"
)

// waiting counts the requests that are served aside, each on a goroutine of its own, by connection.
type waiting struct {
	mu     sync.Mutex
	total  int
	byConn map[uint64]int
}

const (
	maxWaiting     = 2048 // in all
	maxConnWaiting = 256  // of one connection, so that it takes the places of nobody else
)

// enter takes a place; 429 when there is none.
func (w *waiting) enter(conn uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.byConn[conn] >= maxConnWaiting:
		return wire.Errorf(wire.CodeTooMany, "%d requests of this connection wait for their answer already", maxConnWaiting)
	case w.total >= maxWaiting:
		return wire.Errorf(wire.CodeTooMany, "%d requests wait for their answer already", maxWaiting)
	}
	if w.byConn == nil {
		w.byConn = map[uint64]int{}
	}
	w.total++
	w.byConn[conn]++
	return nil
}

func (w *waiting) leave(conn uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total--
	if w.byConn[conn]--; w.byConn[conn] == 0 {
		delete(w.byConn, conn)
	}
}
