package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"muster/wire"
)

// NotifierOptions say what a notifier is asked about, and how; the zero value is asked about every step.
type NotifierOptions struct {
	States   []wire.State  // the targets it is asked about; none means all
	Order    int           // asked from the lowest up, those of one order side by side
	Timeout  time.Duration // for its answer; 0 means 5 s
	Required bool          // while it is away it holds
	About    string        // what it does, for people
}

// Asked answers whether the system may move. It runs on a goroutine of its own; ctx ends when the answer would come too
// late. It may call back into the client, but must not close it.
type Asked func(ctx context.Context, question wire.Question) wire.Answer

// Accept lets the system move.
func Accept() wire.Answer { return wire.Answer{Answer: wire.Accept} }

// Defer holds the system until [Notifier.Resume]; should that get lost, it asks again after 30 s.
func Defer(reason string) wire.Answer { return wire.Answer{Answer: wire.Defer, Reason: reason} }

// DeferFor holds the system, which asks again after retry (10 ms to 1 h), or earlier when the notifier resumes.
func DeferFor(reason string, retry time.Duration) wire.Answer {
	return wire.Answer{Answer: wire.Defer, Reason: reason, Retry: wire.InMicros(retry)}
}

// Notifier is a place among those who are asked before each step. It lasts as long as the client, over reconnects.
type Notifier struct {
	client *Client
	name   string
	opts   NotifierOptions
	asked  Asked
	sub    *nats.Subscription

	turn    sync.Mutex // of registrations
	session string
	left    bool
}

// Register takes a place under a name, which must be free. It returns once the daemon counts on its answers.
func (c *Client) Register(ctx context.Context, name string, asked Asked, opts NotifierOptions) (*Notifier, error) {
	if err := wire.CheckName("notifier", name); err != nil {
		return nil, err
	}
	n := &Notifier{client: c, name: name, opts: opts, asked: asked}
	var err error
	if n.sub, err = c.nc.Subscribe(wire.NotifySubject(name), n.serve); err != nil {
		return nil, fmt.Errorf("register notifier %s: %w", name, err)
	}
	c.renewing(n, n.renew) // before anything can be lost
	if err := n.register(ctx); err != nil {
		n.turn.Lock()
		defer n.turn.Unlock()
		_ = n.leave() // the first error is the one to tell
		return nil, err
	}
	return n, nil
}

// Name is what the notifier was registered as.
func (n *Notifier) Name() string { return n.name }

// Resume lets go of the transition that the notifier holds, so that it is asked again. It reports whether it held one.
func (n *Notifier) Resume(ctx context.Context) (held bool, err error) {
	resumed, err := Call(ctx, n.client, wire.StateResume, wire.Resume{Notifier: n.name})
	return resumed.Outcome == wire.ResumeDone, err
}

// Leave gives the place up: the notifier is asked no more, and a required one is forgotten.
func (n *Notifier) Leave(ctx context.Context) error {
	n.turn.Lock()
	defer n.turn.Unlock()
	_, err := Call(ctx, n.client, wire.NotifierUnregister, wire.NotifierName{Name: n.name})
	if gone := n.leave(); err == nil {
		err = gone
	}
	return err
}

// leave ends the notifier on this side. It is its turn.
func (n *Notifier) leave() error {
	n.left = true
	n.client.forget(n)
	return n.sub.Unsubscribe()
}

func (n *Notifier) register(ctx context.Context) error {
	n.turn.Lock()
	defer n.turn.Unlock()
	if n.left {
		return nil
	}
	joined, err := Call(ctx, n.client, wire.NotifierRegister, wire.Registration{
		Name: n.name, States: n.opts.States, Order: n.opts.Order, Timeout: wire.InMicros(n.opts.Timeout),
		Required: n.opts.Required, About: n.opts.About, Session: n.session,
	})
	if err == nil {
		n.session = joined.Session
	}
	return err
}

// renew registers again after a reconnect, until it is done or somebody else has the name.
func (n *Notifier) renew(ctx context.Context) {
	again := n.client.reconnected()
	for wait := retryWait; ; wait = min(2*wait, longestRetry) {
		err := n.register(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			return
		case !passing(err):
			n.client.log.Error("notifier not registered again", "notifier", n.name, "error", err)
			return
		}
		select {
		case <-again:
			return // the next reconnect sees to it
		default:
			if !pause(ctx, wait) {
				return
			}
		}
	}
}

// serve answers one question. What does not return in its time is not answered, which the daemon knows how to take.
func (n *Notifier) serve(m *nats.Msg) {
	n.client.start(func(ctx context.Context) {
		timeout := n.opts.Timeout
		if timeout == 0 {
			timeout = wire.DefaultTimeout.Duration()
		}
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		var question wire.Question
		if err := decode(m, &question); err != nil {
			n.client.respond(m, nil, err)
			return
		}
		answer := n.asked(ctx, question)
		n.client.respond(m, answer, answer.Check())
	})
}

// formatOf gives the form that a message is in.
func formatOf(m *nats.Msg) wire.Format { return wire.FormatOf(m.Header.Get(wire.HeaderContentType)) }

// decode reads a message in either form.
func decode(m *nats.Msg, v any) error { return formatOf(m).Decode(m.Data, v) }

// respond answers a request, as a rule the daemon's, in the form that it has, or says why it cannot be answered.
func (c *Client) respond(m *nats.Msg, answer any, err error) {
	reply, form := nats.NewMsg(m.Reply), formatOf(m)
	if kind := form.ContentType(); kind != "" {
		reply.Header.Set(wire.HeaderContentType, kind)
	}
	if err == nil {
		reply.Data, err = form.Encode(answer)
	}
	if err != nil {
		fault := wire.AsError(err)
		c.log.Warn("answered with an error", "subject", m.Subject, "error", fault)
		reply.Header.Set(wire.HeaderErrorCode, fmt.Sprint(int(fault.Code)))
		reply.Header.Set(wire.HeaderError, wire.OneLine(fault.Message))
		reply.Data, _ = form.Encode(fault) // an error can be encoded
	}
	if err := m.RespondMsg(reply); err != nil {
		c.log.Warn("answer not sent", "subject", m.Subject, "error", err)
	}
}
