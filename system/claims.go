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
	key    bookingKey
	open   chan struct{} // closed, and nil from then on, when booked and err say it
	booked wire.Booked
	err    error
}

// rememberedCalls is how many calls that are done are known, for whoever books them again.
const rememberedCalls = 4096

func newClaims() *claims { return &claims{byKey: map[bookingKey]*claim{}} }

// take claims an id, which is to be settled then. If it is taken, there is no claim, and the answer is that of the first
// booking, as soon as there is one.
func (c *claims) take(ctx context.Context, key bookingKey) (own *claim, first wire.Booked, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	other := c.byKey[key]
	if other == nil {
		own = &claim{key: key, open: make(chan struct{})}
		c.byKey[key] = own
		return own, first, nil
	}
	if open := other.open; open != nil {
		c.mu.Unlock()
		select {
		case <-open:
		case <-ctx.Done():
		}
		c.mu.Lock()
		if other.open != nil {
			return nil, first, wire.Errorf(wire.CodeTimeout, "booking %s is not made yet: %v", key.id, ctx.Err())
		}
	}
	return nil, other.booked, other.err
}

// settle says what became of the booking that an id was claimed for. A refused one leaves it free; so did one that was
// cancelled before anybody could say that it is booked.
func (c *claims) settle(own *claim, booked wire.Booked, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	own.booked, own.err = booked, err
	close(own.open)
	own.open = nil
	if err != nil {
		delete(c.byKey, own.key)
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
