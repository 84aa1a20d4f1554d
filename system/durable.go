package system

import (
	"context"
	"fmt"

	"muster/wire"
)

// keptBooking is a durable booking as it is stored.
type keptBooking struct {
	Loop     int             `json:"loop"`
	Identity string          `json:"identity"`
	Since    wire.UnixMicros `json:"since_at_us"` // a deadline counts over a restart by the wall clock
	Booking  wire.Booking    `json:"booking"`
}

// keep stores a booking before it is answered.
func (l *Loop) keep(ctx context.Context, b *booking) error {
	if l.opts.Bookings == nil {
		return wire.Errorf(wire.CodeUnsupported, "this daemon keeps no durable bookings")
	}
	at, _ := l.opts.Clock.Now()
	data, err := wire.Encode(keptBooking{Loop: l.n, Identity: b.caller.Identity, Since: at, Booking: b.Booking})
	if err != nil {
		return err
	}
	return l.opts.Bookings.Put(ctx, b.storeKey(), data)
}

func (b *booking) storeKey() string { return b.caller.Identity + "." + b.ID }

// forget removes a durable booking that is done. Should that fail it runs again after a restart, which is what its id
// is for.
func (l *Loop) forget(b *booking) {
	if !b.Durable || l.opts.Bookings == nil {
		return
	}
	if err := l.opts.Bookings.Delete(b.storeKey()); err != nil {
		l.opts.Log.Error("durable booking not removed", "id", b.ID, "error", err)
	}
}

// Load books again what was booked durably and is not done. What cannot be read is reported and left out.
func (s *Loops) Load(ctx context.Context) error {
	store := s.loops[0].opts.Bookings
	if store == nil {
		return nil
	}
	kept, keys, err := store.Load(ctx)
	if err != nil {
		return fmt.Errorf("read durable bookings: %w", err)
	}
	for _, key := range keys {
		var k keptBooking
		if err := wire.Decode(kept[key], &k); err != nil {
			s.loops[0].opts.Log.Error("durable booking unreadable", "key", key, "error", err)
			continue
		}
		l := s.loops[min(max(k.Loop, 0), len(s.loops)-1)]
		at, mono := l.opts.Clock.Now()
		b := &booking{Booking: k.Booking, caller: wire.Caller{Identity: k.Identity}, since: mono}
		if b.Deadline > 0 {
			b.Deadline = max(1, b.Deadline-wire.Micros(at-k.Since))
		}
		if own, _, _ := l.claims.take(ctx, b.key()); own != nil {
			l.claims.settle(own, l.enqueue(b), nil)
		}
	}
	return nil
}
