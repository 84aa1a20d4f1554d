package system

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"muster/wire"
)

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
