package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"muster/wire"
)

// Handler runs a booked call. What it returns is the call's result; its error is told as the call's. It runs on a
// goroutine of its own; ctx ends with the client. It must not close the client.
type Handler func(ctx context.Context, call wire.Call) (any, error)

// ErrRestarted says that the daemon was restarted and has forgotten what it had in memory for this process.
var ErrRestarted = errors.New("the daemon was restarted")

// Booked is a call that stands in the queue of an event loop.
type Booked struct {
	ID       string
	Position int // how many calls stood before it

	client  *Client
	durable bool
	boot    string // of the daemon that has it
	done    chan struct{}
	result  wire.Done
	err     error
	once    sync.Once
}

// Book puts a call in the queue of an event loop: of a handler of the daemon's, of one that somebody offers, or of one
// of this identity's own ([Client.Handle]). It returns once the daemon has it, which for a durable one means on disk;
// the caller need not wait for the result.
func (c *Client) Book(ctx context.Context, booking wire.Booking) (*Booked, error) {
	if booking.ID == "" {
		booking.ID = nats.NewInbox()[len(wire.InboxPrefix):]
	}
	if err := c.hearResults(); err != nil {
		return nil, err
	}
	boot, err := c.bootNow(ctx)
	if err != nil {
		return nil, err
	}
	b := &Booked{ID: booking.ID, client: c, durable: booking.Durable, boot: boot, done: make(chan struct{})}
	c.mu.Lock()
	booking.Done = c.inbox + booking.ID
	if c.bookings[b.ID] != nil {
		c.mu.Unlock()
		return nil, wire.Conflict("booking %s of this process waits already", b.ID)
	}
	c.bookings[b.ID] = b
	c.mu.Unlock()
	booked, err := Call(ctx, c, wire.LoopBook, booking)
	if err != nil {
		c.settle(b, wire.Done{}, err)
		return nil, err
	}
	b.Position = booked.Position
	return b, nil
}

// bootNow gives the run of the daemon that this connection is to, which is asked for once; "" for whom it is not to know.
func (c *Client) bootNow(ctx context.Context) (string, error) {
	c.mu.Lock()
	boot, connection := c.boot, c.changed
	c.mu.Unlock()
	if boot != "" {
		return boot, nil
	}
	view, err := c.State(ctx)
	if errors.Is(err, &wire.Error{Code: wire.CodeForbidden}) {
		return "", nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if connection == c.changed { // it is no other one by now
		c.boot = view.Boot
	}
	return view.Boot, err
}

// Wait gives the call's result when it has run. A call that failed is an error with what it said; one that went with a
// daemon that was restarted is [ErrRestarted].
func (b *Booked) Wait(ctx context.Context) (wire.Done, error) {
	select {
	case <-b.done:
		if b.err == nil && !b.result.OK {
			return b.result, fmt.Errorf("booked call %s: %s", b.ID, b.result.Error)
		}
		return b.result, b.err
	case <-ctx.Done():
		return wire.Done{}, context.Cause(ctx)
	}
}

// Cancel takes the call out of the queue, if it has not started.
func (b *Booked) Cancel(ctx context.Context) error {
	_, err := Call(ctx, b.client, wire.LoopCancel, wire.BookingID{ID: b.ID})
	if err == nil {
		b.client.settle(b, wire.Done{}, fmt.Errorf("booked call %s: %w", b.ID, context.Canceled))
	}
	return err
}

// Attach has f run on the device's event loop when its turn has come: in order with everybody else's calls, none of which
// runs at the same time. Of the booking only State, Loop, Data, Timeout and Deadline count. It returns once the call is
// booked. What f does must be quick: everybody waits for it.
func (c *Client) Attach(ctx context.Context, f Handler, booking wire.Booking) (*Booked, error) {
	token := nats.NewInbox()[len(wire.InboxPrefix):]
	sub, err := c.handle(wire.CallPrefix+token, f)
	if err != nil {
		return nil, err
	}
	booking.Call, booking.ID, booking.Durable = wire.CallPrefix+token, token, false
	b, err := c.Book(ctx, booking)
	if err != nil {
		_ = sub.Unsubscribe() // the first error is the one to tell
		return nil, err
	}
	if !c.start(func(ctx context.Context) {
		_, _ = b.Wait(ctx)    // only its end counts
		_ = sub.Unsubscribe() // it may have gone with the connection
	}) {
		return nil, nats.ErrConnectionClosed
	}
	return b, nil
}

// Handle runs the calls that are booked on sys.call.<name> by this identity, name being one to four tokens, until stop
// is called.
func (c *Client) Handle(name string, f Handler) (stop func(), err error) {
	sub, err := c.handle(wire.CallPrefix+name, f)
	if err != nil {
		return nil, err
	}
	return func() { _ = sub.Unsubscribe() }, nil // it may have gone with the connection
}

// Offer lends a handler to other identities: who has the right may book sys.call.<name>. It is offered again after a
// reconnect.
func (c *Client) Offer(ctx context.Context, name string, f Handler) (stop func(), err error) {
	if err := wire.CheckName("handler", name); err != nil {
		return nil, err
	}
	unsubscribe, err := c.Handle(name, f)
	if err != nil {
		return nil, err
	}
	offered, end := context.WithCancel(c.life)
	key := &name
	stop = func() {
		c.forget(key)
		end()
		unsubscribe()
	}
	c.renewing(key, func(context.Context) { c.offerAgain(offered, name) }) // before anything can be lost
	if err := c.offer(ctx, name); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

func (c *Client) offer(ctx context.Context, name string) error {
	_, err := Call(ctx, c, wire.LoopOffer, wire.HandlerName{Name: name})
	return err
}

// offerAgain offers a handler after a reconnect, until it is done or ctx is.
func (c *Client) offerAgain(ctx context.Context, name string) {
	for wait := retryWait; ; wait = min(2*wait, longestRetry) {
		err := c.offer(ctx, name)
		if err == nil || ctx.Err() != nil {
			return
		}
		// The old connection may not be seen as closed yet, so a conflict passes too.
		if !passing(err) && !errors.Is(err, &wire.Error{Code: wire.CodeConflict}) {
			c.log.Error("handler not offered again", "handler", name, "error", err)
			return
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// handle serves a subject under sys.call.
func (c *Client) handle(subject string, f Handler) (*nats.Subscription, error) {
	sub, err := c.nc.Subscribe(subject, func(m *nats.Msg) {
		c.start(func(ctx context.Context) {
			var call wire.Call
			if err := decode(m, &call); err != nil {
				c.respond(m, nil, err)
				return
			}
			result, err := f(ctx, call)
			if result == nil {
				result = wire.Empty{}
			}
			c.respond(m, result, err)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", subject, err)
	}
	return sub, nil
}

// hearResults makes the one subscription on which results of bookings come.
func (c *Client) hearResults() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inbox != "" {
		return nil
	}
	inbox := nats.NewInbox() + "."
	if _, err := c.nc.Subscribe(inbox+"*", func(m *nats.Msg) { c.hear(strings.TrimPrefix(m.Subject, inbox), m) }); err != nil {
		return fmt.Errorf("listen for results: %w", err)
	}
	c.inbox = inbox
	c.renewals[&c.inbox] = c.lapse
	return nil
}

// hear takes a result.
func (c *Client) hear(id string, m *nats.Msg) {
	c.mu.Lock()
	b := c.bookings[id]
	c.mu.Unlock()
	if b == nil {
		return
	}
	var result wire.Done
	err := wire.Decode(m.Data, &result)
	c.settle(b, result, err)
}

// settle ends the wait for a booked call.
func (c *Client) settle(b *Booked, result wire.Done, err error) {
	c.mu.Lock()
	if c.bookings[b.ID] == b {
		delete(c.bookings, b.ID)
	}
	c.mu.Unlock()
	b.once.Do(func() {
		b.result, b.err = result, err
		close(b.done)
	})
}

// lapse ends the waits for calls that a daemon which was restarted does not know any more.
func (c *Client) lapse(ctx context.Context) {
	event, err := c.now(ctx)
	if err != nil {
		return
	}
	c.mu.Lock()
	var lapsed []*Booked
	for _, b := range c.bookings {
		if !b.durable && b.boot != "" && b.boot != event.Boot {
			lapsed = append(lapsed, b)
		}
	}
	c.mu.Unlock()
	for _, b := range lapsed {
		c.settle(b, wire.Done{}, fmt.Errorf("booked call %s: %w", b.ID, ErrRestarted))
	}
}
