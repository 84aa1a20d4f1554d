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
	"strings"
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

// run makes one call and tells what became of it.
func (l *Loop) run(ctx context.Context, b *booking) {
	started := time.Now()
	var result wire.Raw
	var err error
	if b.local != nil {
		err = protect(func() error { b.local(); return nil })
	} else {
		result, err = l.call(ctx, b)
	}
	switch {
	case b.Durable && err != nil && ctx.Err() != nil:
		// The daemon ends. The booking is kept, and runs when the daemon is back.
	case b.Durable && errors.Is(err, ErrGone) && l.postpone(b):
		if b.missed == 1 { // it is told once
			l.tellError(b, fmt.Sprintf("%v; it waits, for it is durable", err))
		}
	default:
		l.finish(b, result, err, time.Since(started))
	}
}

// postpone lets a durable call wait for somebody to run it: its participant may be starting too. It does not when the
// deadline of the call has passed meanwhile.
func (l *Loop) postpone(b *booking) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.late {
		return false
	}
	l.running = nil
	l.drained.Broadcast()
	l.own(b)
	l.absent[b.key()] = b
	wait := min(firstAbsence<<min(b.missed, 10), longestAbsence)
	b.missed++
	b.again = time.AfterFunc(wait, func() { l.comeBack(b) })
	return true
}

// comeBack puts a postponed call in the queue again, where it stood.
func (l *Loop) comeBack(b *booking) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.absent[b.key()] != b {
		return
	}
	delete(l.absent, b.key())
	l.queue.restore(b)
	l.wake()
}

func (l *Loop) tellError(b *booking, text string) {
	l.opts.Journal.Tell(wire.LoopErrorTopic, &wire.LoopError{
		ID: b.ID, Loop: l.n, Call: b.Call, State: b.State, Identity: b.caller.Identity, Error: text,
	})
}

// call has a booking's part run, wherever that is.
func (l *Loop) call(ctx context.Context, b *booking) (wire.Raw, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(b.Timeout, wire.DefaultTimeout).Duration())
	defer cancel()
	call := wire.Call{ID: b.ID, Loop: l.n, State: l.now(), Data: b.Data}
	if handler, ok := l.handlers[b.Call]; ok {
		return l.handle(ctx, handler, call)
	}
	if l.opts.Caller == nil {
		return nil, ErrGone
	}
	own := Participant{Identity: b.caller.Identity, Subject: b.Call, Format: b.Format}
	lender, lent := l.lender(b)
	if lent && lender.Identity == own.Identity {
		own.Conn, lent = lender.Conn, false
	}
	result, err := l.opts.Caller.Call(ctx.Done(), own, call)
	if lent && errors.Is(err, ErrGone) {
		if err := l.mayBorrow(b.caller, b.Call); err != nil {
			return nil, err
		}
		result, err = l.opts.Caller.Call(ctx.Done(), lender, call)
	}
	switch {
	case errors.Is(err, ErrGone):
		return nil, fmt.Errorf("nobody is there to run %s (%w)", b.Call, ErrGone)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("no answer within %v", cmp.Or(b.Timeout, wire.DefaultTimeout).Duration())
	}
	return result, err
}

// mayBorrow holds a call of what another identity lends against the right to it.
func (l *Loop) mayBorrow(caller wire.Caller, call string) error {
	right := wire.Fill(wire.RightCall, strings.TrimPrefix(call, wire.CallPrefix))
	if l.opts.May == nil || l.opts.May(caller, right) {
		return nil
	}
	return wire.Errorf(wire.CodeForbidden, "%s lacks the right %s", caller.Identity, right).With("right", right)
}

// lender finds who lends what a booking calls, for those who have nobody of their own there.
func (l *Loop) lender(b *booking) (Participant, bool) {
	if l.opts.Offered == nil {
		return Participant{}, false
	}
	return l.opts.Offered(strings.TrimPrefix(b.Call, wire.CallPrefix))
}

// handle runs a handler of this process. One that does not return in its time is left to itself.
func (l *Loop) handle(ctx context.Context, handler Handler, call wire.Call) (wire.Raw, error) {
	if !l.stray(+1) {
		return nil, fmt.Errorf("%d handlers have not returned; no further one is started", maxStrays)
	}
	type ending struct {
		result wire.Raw
		err    error
	}
	ended := make(chan ending, 1)
	go func() {
		defer l.stray(-1)
		var e ending
		e.err = protect(func() (err error) {
			value, err := handler(ctx, call)
			if err == nil && value != nil {
				e.result, err = wire.RawOf(value)
			}
			return err
		})
		ended <- e
	}()
	select {
	case e := <-ended:
		return e.result, e.err
	case <-ctx.Done():
		return nil, errors.New("no answer in its time; the handler is left to itself")
	}
}

// stray counts the handlers that are at work.
func (l *Loop) stray(change int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if change > 0 && l.strays >= maxStrays {
		return false
	}
	l.strays += change
	return true
}

// protect turns a panic into an error.
func protect(f func() error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("panic: %v", fault)
		}
	}()
	return f()
}

func (l *Loop) now() wire.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// finish tells what became of a call.
func (l *Loop) finish(b *booking, result wire.Raw, err error, ran time.Duration) {
	if b.deadline != nil {
		b.deadline.Stop()
	}
	l.forget(b)
	done := wire.Done{ID: b.ID, OK: err == nil, Ran: wire.InMicros(ran), Result: result}
	if b.local == nil {
		_, mono := l.opts.Clock.Now()
		done.Queued = wire.InMicros(mono.Sub(b.since) - ran)
		l.claims.finish(b.key())
	}
	if err != nil {
		done.Error = err.Error()
		l.tellError(b, done.Error)
	}
	if b.Done != "" && l.opts.Tell != nil {
		l.opts.Tell(b.caller.Identity, b.Booking, done)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running == b {
		l.running = nil
	}
	l.done++
	if err != nil {
		l.failed++
	}
	l.drained.Broadcast()
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
