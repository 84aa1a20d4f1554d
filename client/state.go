package client

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"muster/wire"
)

// maxQueued bounds the events that wait for a slow reader. When more come, the oldest state of affairs is given up: a
// watch goes on from the state that the system is in by then, and [Events] ends with an error.
const maxQueued = 4096

// State tells where the system is, where it is going, and what holds it.
func (c *Client) State(ctx context.Context) (wire.StateView, error) {
	return Call(ctx, c, wire.StateGet, wire.Empty{})
}

// Request sets the system on its way to a state, or joins it there. Without wish.Wait it returns as soon as the state is
// reached or held by somebody.
func (c *Client) Request(ctx context.Context, wish wire.StateWish) (wire.StateOutcome, error) {
	return Call(ctx, c, wire.StateRequest, wish)
}

// Watch gives the state that the system is in and then every state that it enters, in order and without a hole, until
// ctx is done or the loop is left. After a reconnect, and when the reader was so slow that events had to be dropped, it
// goes on from the state of that moment. An error is the last thing that it gives.
func (c *Client) Watch(ctx context.Context) iter.Seq2[wire.StateEvent, error] {
	return func(yield func(wire.StateEvent, error) bool) {
		w, err := c.subscribe(wire.StateTopics)
		if err != nil {
			yield(wire.StateEvent{}, err)
			return
		}
		defer w.stop()
		for {
			again := c.reconnected()
			now, err := c.now(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(wire.StateEvent{}, err)
				return
			}
			if !yield(now, nil) || !c.follow(ctx, w, again, now, yield) {
				return
			}
		}
	}
}

// now asks for the state as an event, however long the daemon is away. The server takes what came before on this
// connection first, so whatever happens behind the answer is heard.
func (c *Client) now(ctx context.Context) (wire.StateEvent, error) {
	for wait := retryWait; ; wait = min(2*wait, longestRetry) {
		view, err := c.State(ctx)
		if err == nil {
			event := wire.StateEvent{
				Stamp: wire.Stamp{Boot: view.Boot, At: view.At, Mono: view.Mono, Seq: view.Seq},
				State: view.State, Number: view.Number, From: view.State, Goal: view.Goal,
			}
			if view.Transition != nil {
				event.Reason = view.Transition.Reason
			}
			return event, nil
		}
		if !passing(err) || !pause(ctx, wait) {
			return wire.StateEvent{}, err
		}
	}
}

// follow gives the events behind now, until the connection has to be taken up anew (true) or the reader has had enough.
func (c *Client) follow(ctx context.Context, w *feed, again <-chan struct{}, now wire.StateEvent, yield func(wire.StateEvent, error) bool) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-c.life.Done():
			yield(wire.StateEvent{}, nats.ErrConnectionClosed)
			return false
		case <-again:
			return true
		case m := <-w.messages:
			if w.overflowed.Swap(false) {
				return true
			}
			var event wire.StateEvent
			if err := wire.Decode(m.Data, &event); err != nil {
				yield(event, fmt.Errorf("event on %s: %w", m.Subject, err))
				return false
			}
			if event.Boot != now.Boot || event.Seq <= now.Seq {
				continue // a daemon that was restarted is seen as a reconnect
			}
			now = event
			if !yield(event, nil) {
				return false
			}
		}
	}
}

// WaitFor returns once the system has what a wish for the state would ask for: a boot state is there when the system is
// at or above it. The error is that of ctx when it ends first.
func (c *Client) WaitFor(ctx context.Context, state wire.State) (wire.StateEvent, error) {
	for event, err := range c.Watch(ctx) {
		if err != nil {
			return event, err
		}
		if event.State.Has(state) {
			return event, nil
		}
	}
	return wire.StateEvent{}, context.Cause(ctx)
}

// Events gives what is sent on an event subject, which may have wildcards, decoded: Events[wire.Transition] on
// [wire.TransitionTopic]. It starts with what happens after the call; what was sent while the connection was away is not
// there. It ends with ctx, when the loop is left, or with an error: one that says that the reader was too slow, or that
// an event could not be read.
func Events[T any](ctx context.Context, c *Client, subject string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for m, err := range c.messages(ctx, subject) {
			if err != nil {
				yield(none, err)
				return
			}
			var event T
			if err := wire.Decode(m.Data, &event); err != nil {
				yield(none, fmt.Errorf("event on %s: %w", m.Subject, err))
				return
			}
			if !yield(event, nil) {
				return
			}
		}
	}
}

// messages gives what comes on a subject.
func (c *Client) messages(ctx context.Context, subject string) iter.Seq2[*nats.Msg, error] {
	return func(yield func(*nats.Msg, error) bool) {
		f, err := c.subscribe(subject)
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-c.life.Done():
				yield(nil, nats.ErrConnectionClosed)
				return
			case m := <-f.messages:
				if f.overflowed.Load() {
					yield(nil, fmt.Errorf("listen on %s: %w: more than %d events waited", subject, nats.ErrSlowConsumer, maxQueued))
					return
				}
				if !yield(m, nil) {
					return
				}
			}
		}
	}
}

// feed is a subscription whose messages wait in a bounded queue.
type feed struct {
	sub        *nats.Subscription
	messages   chan *nats.Msg
	overflowed atomic.Bool // something had to be dropped
}

func (c *Client) subscribe(subject string) (*feed, error) {
	f := &feed{messages: make(chan *nats.Msg, maxQueued)}
	var err error
	f.sub, err = c.nc.Subscribe(subject, func(m *nats.Msg) {
		select {
		case f.messages <- m:
		default:
			f.overflowed.Store(true)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	return f, nil
}

func (f *feed) stop() { _ = f.sub.Unsubscribe() } // it may have gone with the connection
