package bus

import (
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
)

// seats are connections of the daemon's own, one in the account of each identity that it has asked something. From
// there it asks and tells the identity's participants, and nobody else can see it. To ask across the border of
// accounts instead would cost a quarter more for each question, and memory until the last moment in which a late
// answer may come.
type seats struct {
	mu    sync.Mutex
	taken map[string]*nats.Conn // by account
}

// seat gives the daemon's connection in the account of an identity, and takes it when it is needed first. Nobody of
// an identity that has never connected is there.
func (b *Bus) seat(identity string) (*nats.Conn, error) {
	account, ok := b.auth.accountOf(identity)
	if !ok {
		return nil, ErrGone
	}
	b.seats.mu.Lock()
	defer b.seats.mu.Unlock()
	if seat := b.seats.taken[account]; seat != nil {
		return seat, nil
	}
	seat, err := b.connect(account)
	if err != nil {
		return nil, err
	}
	if _, err := seat.Subscribe(b.questions.inbox+"*", b.hear); err != nil {
		seat.Close()
		return nil, err
	}
	b.seats.taken[account] = seat
	return seat, nil
}

// vacate gives up the seats in the accounts that are deserted.
func (s *seats) vacate(deserted func(account string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for account, seat := range s.taken {
		if deserted(account) {
			delete(s.taken, account)
			seat.Close()
		}
	}
}

// each calls f for every seat.
func (s *seats) each(f func(*nats.Conn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, seat := range s.taken {
		errs = append(errs, f(seat))
	}
	return errors.Join(errs...)
}
