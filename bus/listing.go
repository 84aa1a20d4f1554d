package bus

import (
	"fmt"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// listings are the subscriptions of accounts. To list them takes the server as long as there are many, so those who ask
// at the same time share one: a listing serves everybody who asked before it began.
type listings struct {
	mu   sync.Mutex
	next map[string]*listing // by account; not begun yet
	turn map[string]*sync.Mutex
}

type listing struct {
	done  chan struct{}
	conns map[string][]uint64 // by subject, one entry for each subscription
	err   error
}

const maxListed = 1 << 20 // subscriptions of one account

// Subscribers gives the connections of an identity that hold a subscription on exactly that subject, one entry for
// each subscription.
func (b *Bus) Subscribers(identity, subject string) ([]uint64, error) {
	account, ok := b.auth.accountOf(identity)
	if !ok {
		return nil, nil
	}
	l := b.listing(account)
	if l.err != nil {
		return nil, fmt.Errorf("list subscriptions: %w", l.err)
	}
	var conns []uint64
	for _, conn := range l.conns[subject] {
		if b.Alive(conn) {
			conns = append(conns, conn)
		}
	}
	return conns, nil
}

// listing gives one that began after it was asked for.
func (b *Bus) listing(account string) *listing {
	s := &b.listings
	s.mu.Lock()
	if l := s.next[account]; l != nil {
		s.mu.Unlock()
		<-l.done
		return l
	}
	if s.next == nil {
		s.next, s.turn = map[string]*listing{}, map[string]*sync.Mutex{}
	}
	if s.turn[account] == nil {
		s.turn[account] = &sync.Mutex{}
	}
	l, turn := &listing{done: make(chan struct{})}, s.turn[account]
	s.next[account] = l
	s.mu.Unlock()

	turn.Lock() // the listing before this one
	defer turn.Unlock()
	s.mu.Lock()
	delete(s.next, account) // who asks from now on may have subscribed too late for it
	s.mu.Unlock()
	l.conns, l.err = b.list(account)
	close(l.done)
	return l
}

func (b *Bus) list(account string) (map[string][]uint64, error) {
	z, err := b.server.Subsz(&server.SubszOptions{Subscriptions: true, Account: account, Limit: maxListed})
	if err != nil {
		return nil, err
	}
	conns := map[string][]uint64{}
	for _, sub := range z.Subs {
		if sub.Account == account {
			conns[sub.Subject] = append(conns[sub.Subject], sub.Cid)
		}
	}
	return conns, nil
}
