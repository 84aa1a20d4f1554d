package bus

import (
	"sync/atomic"

	"muster/access"
	"muster/wire"
)

// visitor is who stands behind a connection that came in by the entrance, by the kernel's word.
type visitor struct {
	conn   uint64 // 0 until the server has given it a number
	peer   access.Peer
	socket access.Socket        // with tcp
	doubt  error                // why the kernel vouches for nobody; a key is needed then
	guest  bool                 // it is no administrator's
	named  bool                 // it has authenticated
	flow   atomic.Pointer[flow] // of its identity, once it has authenticated; nil for an administrator's
}

const (
	maxGuests  = maxConnections - 256 // so that administrators always find a place
	maxUnnamed = 64                   // visitors of one user who have not authenticated yet
	nobody     = -1                   // the user of those whom the kernel does not vouch for
)

// uid is the user whose places the visitor takes.
func (v *visitor) uid() int {
	if v.doubt != nil {
		return nobody
	}
	return v.peer.UID
}

// who names the visitor in the log, where it may come as often as it likes, with a new key each time.
func (v *visitor) who() string {
	if v == nil || v.doubt != nil {
		return "unknown"
	}
	return v.peer.Subject()
}

// enter takes a place for a visitor, if there is one.
func (a *authentication) enter(v *visitor) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	v.guest = v.doubt != nil || !a.policy.Owns(v.peer)
	switch {
	case v.guest && a.guests >= maxGuests:
		return wire.Errorf(wire.CodeTooMany, "%d connections are there, which is as many as may be", a.guests)
	case v.guest && a.unnamed[v.uid()] >= maxUnnamed:
		return wire.Errorf(wire.CodeTooMany, "%d of its connections have not said yet who they are, which is as many as may be", maxUnnamed)
	}
	a.unnamed[v.uid()]++
	if v.guest {
		a.guests++
	}
	return nil
}

// announce tells whose the connection is that has that number, before it can authenticate.
func (a *authentication) announce(conn uint64, v *visitor) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v.conn = conn
	a.visitors[conn] = v
}

// visitor gives the one behind a connection; nil for one that did not come in by the entrance.
func (a *authentication) visitor(conn uint64) *visitor {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.visitors[conn]
}

// nameLocked notes that a visitor has authenticated.
func (a *authentication) nameLocked(v *visitor) {
	if v.named {
		return
	}
	v.named = true
	if a.unnamed[v.uid()]--; a.unnamed[v.uid()] == 0 {
		delete(a.unnamed, v.uid())
	}
}

// leave gives the place of a visitor back.
func (a *authentication) leave(v *visitor) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nameLocked(v)
	if v.guest {
		a.guests--
	}
	delete(a.visitors, v.conn)
	delete(a.sessions, v.conn)
}
