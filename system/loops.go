package system

import (
	"context"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"muster/wire"
)

// Loops are the event loops of the daemon, by number, and the handlers that their calls may name.
type Loops struct {
	loops    []*Loop
	handlers map[string]Handler
	presence Presence

	mu     sync.Mutex
	offers map[string]Participant
}

// maxOffers bounds the handlers that participants lend to others.
const maxOffers = 1024

// NewLoops makes n event loops. Handlers are those compiled into this process; the map is not changed later.
func NewLoops(n int, opts LoopOptions, handlers map[string]Handler, presence Presence) *Loops {
	s := &Loops{handlers: handlers, presence: presence, offers: map[string]Participant{}}
	opts.Offered = s.offered
	ids := newClaims()
	for i := range n {
		s.loops = append(s.loops, newLoop(i, opts, handlers, ids))
	}
	return s
}

// Loop gives one of them for calls of this process.
func (s *Loops) Loop(n int) *Loop { return s.loops[n] }

// Run runs all of them until ctx is done.
func (s *Loops) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range s.loops {
		g.Go(func() error { return l.Run(ctx) })
	}
	return g.Wait()
}

// Entered tells all of them the state. It never blocks.
func (s *Loops) Entered(state wire.State) {
	for _, l := range s.loops {
		l.Entered(state)
	}
}

// Destroy runs what is booked for CONTEXT_DESTROYING.
func (s *Loops) Destroy(ctx context.Context) {
	s.Entered(wire.ContextDestroying)
	for _, l := range s.loops {
		l.Drain(ctx)
	}
}

// Book answers a booking on sys.loop.<n>.
func (s *Loops) Book(ctx context.Context, caller wire.Caller, want wire.Booking) (wire.Booked, error) {
	if want.Loop >= len(s.loops) {
		return wire.Booked{}, wire.NotFound("there is no loop %d; there are %d, from 0", want.Loop, len(s.loops))
	}
	if _, known := s.handlers[want.Call]; !known && !strings.HasPrefix(want.Call, wire.CallPrefix) {
		return wire.Booked{}, wire.NotFound("there is no handler %.64q; a subject under sys.call. runs in another process", want.Call)
	}
	if lender, lent := s.offered(strings.TrimPrefix(want.Call, wire.CallPrefix)); lent && lender.Identity != caller.Identity {
		if err := s.mayBorrow(caller, want); err != nil {
			return wire.Booked{}, err
		}
	}
	return s.loops[want.Loop].book(ctx, caller, want)
}

// mayBorrow refuses at once what would be refused when its turn comes: a call of what only another identity has.
func (s *Loops) mayBorrow(caller wire.Caller, want wire.Booking) error {
	err := s.loops[want.Loop].mayBorrow(caller, want.Call)
	if err != nil && s.presence.Listens(caller, want.Call) {
		return nil
	}
	return err
}

// List answers loop.list.
func (s *Loops) List(context.Context, wire.Caller, wire.Empty) (wire.Loops, error) {
	var list wire.Loops
	for _, l := range s.loops {
		list.Loops = append(list.Loops, l.view())
	}
	return list, nil
}

// Cancel answers loop.cancel: one's own booking, as long as it has not started.
func (s *Loops) Cancel(_ context.Context, caller wire.Caller, b wire.BookingID) (wire.Empty, error) {
	for _, l := range s.loops {
		if found, err := l.cancel(bookingKey{caller.Identity, b.ID}); found || err != nil {
			return wire.Empty{}, err
		}
	}
	return wire.Empty{}, wire.NotFound("no booking %.64q of %s waits", b.ID, caller.Identity)
}

// Offer answers loop.offer: the caller's sys.call.<name> may be booked by others, as long as its connection lives.
func (s *Loops) Offer(_ context.Context, caller wire.Caller, h wire.HandlerName) (wire.Offered, error) {
	subject := wire.CallPrefix + h.Name
	conns, err := s.presence.Subscribers(caller, subject)
	if err != nil {
		return wire.Offered{}, err
	}
	if !slices.Contains(conns, caller.Conn) {
		return wire.Offered{}, wire.Conflict("this connection is not subscribed to %s; subscribe first, then offer", subject)
	}
	if err := s.lend(h.Name, Participant{Identity: caller.Identity, Conn: caller.Conn, Subject: subject}); err != nil {
		return wire.Offered{}, err
	}
	if !s.presence.Alive(caller.Conn) {
		s.Gone(caller.Conn) // it was told before the offer stood
	}
	return wire.Offered{Subject: subject}, nil
}

// lend notes who offers a handler.
func (s *Loops) lend(name string, by Participant) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	other, taken := s.offers[name]
	switch {
	case taken && other.Conn != by.Conn && s.presence.Alive(other.Conn):
		return wire.Conflict("handler %s is offered by %s already", name, other.Identity)
	case !taken && len(s.offers) >= maxOffers:
		return wire.Errorf(wire.CodeTooMany, "%d handlers are offered, which is as many as may be", maxOffers)
	}
	s.offers[name] = by
	return nil
}

func (s *Loops) offered(name string) (Participant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.offers[name]
	return p, ok
}

// Gone takes back what a closed connection offered.
func (s *Loops) Gone(conn uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, p := range s.offers {
		if p.Conn == conn {
			delete(s.offers, name)
		}
	}
}
