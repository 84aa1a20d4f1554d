package bus

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"

	"muster/wire"
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

const (
	maxListed        = 1 << 20 // subscriptions of one account
	fewSubscriptions = 64      // of one connection, which are looked through quicker than an account's are listed
)

// Subscribers gives the connections of the caller's identity that hold a subscription on exactly that subject, one
// entry for each subscription.
func (b *Bus) Subscribers(caller wire.Caller, subject string) ([]uint64, error) {
	account, ok := b.auth.accountOf(caller.Identity)
	if !ok {
		return nil, nil
	}
	if b.onlyOwn(account, caller.Conn, subject) {
		return []uint64{caller.Conn}, nil
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

// onlyOwn reports whether it can be seen without a listing that the subject has one subscription in the account, and
// that it is this connection's: the way of nearly every participant.
func (b *Bus) onlyOwn(account string, conn uint64, subject string) bool {
	home, err := b.server.LookupAccount(account)
	if err != nil || wildcards(home, subject) || home.Interest(subject) != 1 {
		return false
	}
	z, err := b.server.Connz(&server.ConnzOptions{CID: conn})
	if conn == 0 || err != nil || len(z.Conns) != 1 || z.Conns[0].NumSubs > fewSubscriptions {
		return false
	}
	z, err = b.server.Connz(&server.ConnzOptions{CID: conn, Subscriptions: true})
	return err == nil && len(z.Conns) == 1 && slices.Contains(z.Conns[0].Subs, subject)
}

// wildcards reports whether a subscription with a wildcard may match the subject; the server does not count those on the
// subject itself then. Such a one matches too when a token in the place of its wildcard is another one.
func wildcards(home *server.Account, subject string) bool {
	unheard := rand.Text()
	tokens := strings.Split(subject, ".")
	for i, token := range tokens {
		tokens[i] = unheard
		if home.Interest(strings.Join(tokens, ".")) > 0 {
			return true
		}
		tokens[i] = token
	}
	return false
}

// Listens reports whether any connection of the caller's identity hears what comes on a subject.
func (b *Bus) Listens(caller wire.Caller, subject string) bool {
	b.auth.mu.Lock()
	h := b.auth.homes[caller.Identity]
	b.auth.mu.Unlock()
	return h != nil && h.account.Interest(subject) > 0
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
