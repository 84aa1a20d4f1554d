package system

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"muster/wire"
)

// LoopOptions are a loop's surroundings.
type LoopOptions struct {
	Clock    Clock
	Journal  Journal      // takes sys.loop-error
	Caller   Caller       // runs calls in other processes; nil: only handlers of this process
	Bookings BookingStore // keeps durable bookings; nil: there are none
	// Tell sends the result of a call to where its booker wanted it.
	Tell func(identity string, to wire.Booking, done wire.Done)
	// Offered finds who lends a handler to others.
	Offered func(name string) (Participant, bool)
	// May says whether the caller has a right (call:<name>). nil: everybody has.
	May func(wire.Caller, string) bool
	Log *slog.Logger
}

// BookingStore keeps bookings over a crash.
type BookingStore interface {
	Put(ctx context.Context, key string, data []byte) error // returns when it is on disk
	Delete(key string) error
	Load(ctx context.Context) (map[string][]byte, []string, error) // and the keys in the order put
}

const (
	maxBookings      = 200_000  // waiting on one loop
	maxIdentityCalls = 150_000  // of them, of one identity
	maxIdentityData  = 32 << 20 // bytes that these have with them
	maxStrays        = 64       // handlers of this process that did not return in their time

	firstAbsence   = 100 * time.Millisecond // until a durable call that nobody ran is tried again, and doubled
	longestAbsence = 10 * time.Second
)

// Loop runs booked calls one at a time, in the order booked among those whose state has come. A call that fails, or
// does not return in its time, or has nobody to run it, is told on sys.loop-error and never stops the loop.
type Loop struct {
	n      int
	opts   LoopOptions
	claims *claims
	ring   chan struct{}

	mu      sync.Mutex
	state   wire.State
	queue   queue
	owed    map[string]owing // waiting, by identity
	last    uint64
	running *booking
	done    uint64
	failed  uint64
	strays  int
	absent  map[bookingKey]*booking // durable calls that wait for somebody to run them
	drained *sync.Cond              // a call has returned

	handlers map[string]Handler
}

// Handler runs a booked call in this process. What it returns is the result. ctx ends with the call's time; a handler
// that does not return then is left alone, and the loop goes on.
type Handler func(ctx context.Context, call wire.Call) (any, error)

func newLoop(n int, opts LoopOptions, handlers map[string]Handler, ids *claims) *Loop {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	l := &Loop{
		n: n, opts: opts, claims: ids, ring: make(chan struct{}, 1), queue: newQueue(), owed: map[string]owing{},
		absent: map[bookingKey]*booking{}, handlers: handlers,
	}
	l.drained = sync.NewCond(&l.mu)
	return l
}

// Run works until ctx is done.
func (l *Loop) Run(ctx context.Context) error {
	for {
		for b := l.take(); b != nil; b = l.take() {
			l.run(ctx, b)
			if ctx.Err() != nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.ring:
		}
	}
}

// Entered tells the state that the system is in now. It never blocks.
func (l *Loop) Entered(state wire.State) {
	l.mu.Lock()
	l.state = state
	l.mu.Unlock()
	l.wake()
}

func (l *Loop) wake() {
	select {
	case l.ring <- struct{}{}:
	default:
	}
}

// Drain waits until the calls booked for the state that the system is in have run, or ctx is done.
func (l *Loop) Drain(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.drained.Broadcast()
	})
	defer stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for ctx.Err() == nil && (l.running != nil || l.pending()) {
		l.drained.Wait()
	}
}

// pending reports whether a call waits whose state has come.
func (l *Loop) pending() bool {
	for state, lane := range l.queue.lanes {
		lane.trim()
		if len(lane.waiting) > 0 && ready(state, l.state) {
			return true
		}
	}
	return false
}

// take gives the next call to run.
func (l *Loop) take() *booking {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.queue.take(l.state)
	if b == nil {
		return nil
	}
	l.disown(b)
	l.running = b
	return b
}

// owing is what waits of one identity.
type owing struct{ calls, bytes int }

func (l *Loop) own(b *booking) {
	o := l.owed[b.caller.Identity]
	l.owed[b.caller.Identity] = owing{o.calls + 1, o.bytes + len(b.Data)}
}

func (l *Loop) disown(b *booking) {
	o := l.owed[b.caller.Identity]
	if o = (owing{o.calls - 1, o.bytes - len(b.Data)}); o.calls == 0 {
		delete(l.owed, b.caller.Identity)
		return
	}
	l.owed[b.caller.Identity] = o
}

// Attach runs f on the loop once the system is in state, without a booking's ceremony: from any goroutine of this
// process. f must be quick, for it keeps the loop.
func (l *Loop) Attach(state wire.State, f func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queue.len() >= maxBookings {
		return wire.Errorf(wire.CodeTooMany, "%d calls wait on loop %d, which is as many as may", maxBookings, l.n)
	}
	l.last++
	b := &booking{number: l.last, caller: wire.Caller{Identity: wire.Daemon}, local: f}
	b.State, b.Call, b.ID = state, "attach", fmt.Sprintf("attach-%d", l.last)
	l.own(b)
	l.queue.add(b)
	l.wake()
	return nil
}

// book puts a call in the queue. A second booking with a live or recent id is the first.
func (l *Loop) book(ctx context.Context, caller wire.Caller, want wire.Booking) (wire.Booked, error) {
	if want.State == wire.Unknown {
		want.State = wire.Operational
	}
	want.ID = cmp.Or(want.ID, rand.Text())
	_, mono := l.opts.Clock.Now()
	b := &booking{Booking: want, caller: caller, since: mono}
	own, first, err := l.claims.take(ctx, b.key())
	if own == nil {
		return first, err
	}
	booked, err := l.accept(ctx, b)
	l.claims.settle(own, booked, err)
	return booked, err
}

// accept puts a new call in the queue, and on disk before that if it is durable.
func (l *Loop) accept(ctx context.Context, b *booking) (wire.Booked, error) {
	if err := l.room(b); err != nil {
		return wire.Booked{}, err
	}
	if b.Durable {
		if err := l.keep(ctx, b); err != nil {
			return wire.Booked{}, err
		}
	}
	return l.enqueue(b), nil
}

// room holds a booking against the limits.
func (l *Loop) room(b *booking) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.owed[b.caller.Identity]
	switch {
	case l.queue.len()+len(l.absent) >= maxBookings:
		return wire.Errorf(wire.CodeTooMany, "%d calls wait on loop %d, which is as many as may", maxBookings, l.n)
	case o.calls >= maxIdentityCalls:
		return wire.Errorf(wire.CodeTooMany, "%s has %d calls waiting on loop %d, which is as many as it may", b.caller.Identity, maxIdentityCalls, l.n)
	case o.bytes+len(b.Data) > maxIdentityData:
		return wire.Errorf(wire.CodeTooMany, "the calls of %s that wait on loop %d have %d bytes of data with them; at most %d are allowed", b.caller.Identity, l.n, o.bytes, maxIdentityData)
	}
	return nil
}

func (l *Loop) enqueue(b *booking) wire.Booked {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	b.number = l.last
	position := l.queue.len()
	if l.running != nil {
		position++
	}
	l.own(b)
	l.queue.add(b)
	if b.Deadline > 0 {
		b.deadline = time.AfterFunc(b.Deadline.Duration(), func() { l.expire(b) })
	}
	l.wake()
	return wire.Booked{ID: b.ID, Position: position}
}

// expire gives a call up that has waited too long.
func (l *Loop) expire(b *booking) {
	l.mu.Lock()
	b.late = l.running == b // then it is no longer waited for should nobody run it
	waiting := l.waiting(b.key()) == b
	if waiting {
		l.withdraw(b)
	}
	l.mu.Unlock()
	if waiting {
		l.finish(b, nil, errors.New("its deadline passed while it waited"), 0)
	}
}

// cancel takes a booking out that has not started. Nothing is told of it.
func (l *Loop) cancel(key bookingKey) (found bool, err error) {
	l.mu.Lock()
	if l.running != nil && l.running.key() == key {
		l.mu.Unlock()
		return true, wire.Conflict("call %s runs already", key.id)
	}
	b := l.waiting(key)
	if b == nil {
		l.mu.Unlock()
		return false, nil
	}
	l.withdraw(b)
	l.mu.Unlock()
	if b.deadline != nil {
		b.deadline.Stop()
	}
	l.forget(b)
	l.claims.free(key)
	return true, nil
}

// waiting finds a booking among those that wait, nil if it does not.
func (l *Loop) waiting(key bookingKey) *booking {
	if b := l.absent[key]; b != nil {
		return b
	}
	return l.queue.byKey[key]
}

// withdraw takes a booking out of what waits.
func (l *Loop) withdraw(b *booking) {
	l.disown(b)
	if l.absent[b.key()] == b {
		b.again.Stop()
		delete(l.absent, b.key())
		return
	}
	l.queue.remove(b)
}

// view is the loop as others see it.
func (l *Loop) view() wire.LoopView {
	l.mu.Lock()
	defer l.mu.Unlock()
	view := wire.LoopView{N: l.n, Depth: l.queue.len() + len(l.absent), Done: l.done, Failed: l.failed}
	waiting := append(l.queue.first(maxListed), slices.Collect(maps.Values(l.absent))...)
	slices.SortFunc(waiting, func(a, b *booking) int { return cmp.Compare(a.number, b.number) })
	for _, b := range waiting[:min(len(waiting), maxListed)] {
		view.Waiting = append(view.Waiting, b.view())
	}
	if l.running != nil {
		view.Running = new(l.running.view())
	}
	return view
}

const maxListed = 256

func (b *booking) view() wire.BookingView {
	return wire.BookingView{
		ID: b.ID, Call: b.Call, State: b.State, Since: b.since, Identity: b.caller.Identity, Durable: b.Durable,
	}
}
