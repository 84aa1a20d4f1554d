package system

import (
	"sync"

	"muster/wire"
)

// simClock is the host's clock with a wall of its own. It is safe for concurrent use.
type simClock struct {
	mu     sync.Mutex
	offset wire.UnixMicros
}

// Now implements [Clock].
func (c *simClock) Now() (wire.UnixMicros, wire.MonoMicros) {
	at, mono := wire.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return at + c.offset, mono
}

// set moves the simulated wall clock.
func (c *simClock) set(at wire.UnixMicros) {
	host, _ := wire.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = at - host
}
