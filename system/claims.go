package system

import (
	"context"
	"sync"

	"muster/wire"
)

// claims are the ids of bookings on all loops: of those that wait or run, and of the last that are done. A second
// booking with a claimed id is the first. Safe for concurrent use.
type claims struct {
	mu     sync.Mutex
	byKey  map[bookingKey]*claim
	done   []bookingKey // the last of them, as a ring
	oldest int
}

// claim is what became of a booking.
type claim struct {
	open   chan struct{} // closed, and nil from then on, when booked and err say it
	booked wire.Booked
	err    error
}

// rememberedCalls is how many calls that are done are known, for whoever books them again.
const rememberedCalls = 4096

func newClaims() *claims { return &claims{byKey: map[bookingKey]*claim{}} }

// take claims an id, which is to be settled then. If it is taken, the answer is that of the first booking, as soon as
// there is one.
func (c *claims) take(ctx context.Context, key bookingKey) (first wire.Booked, taken bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	other := c.byKey[key]
	if other == nil {
		c.byKey[key] = &claim{open: make(chan struct{})}
		return wire.Booked{}, false, nil
	}
	if open := other.open; open != nil {
		c.mu.Unlock()
		select {
		case <-open:
		case <-ctx.Done():
		}
		c.mu.Lock()
		if other.open != nil {
			return wire.Booked{}, true, wire.Errorf(wire.CodeTimeout, "booking %s is not made yet: %v", key.id, ctx.Err())
		}
	}
	return other.booked, true, other.err
}

// settle says what became of the booking that an id was claimed for. A refused one leaves it free.
func (c *claims) settle(key bookingKey, booked wire.Booked, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := c.byKey[key]
	own.booked, own.err = booked, err
	close(own.open)
	own.open = nil
	if err != nil {
		delete(c.byKey, key)
	}
}

// finish keeps the id of a call that is done among the last ones.
func (c *claims) finish(key bookingKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.done) < rememberedCalls {
		c.done = append(c.done, key)
		return
	}
	delete(c.byKey, c.done[c.oldest])
	c.done[c.oldest] = key
	c.oldest = (c.oldest + 1) % rememberedCalls
}

// free gives back the id of a booking that was cancelled.
func (c *claims) free(key bookingKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byKey, key)
}
