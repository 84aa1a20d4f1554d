package bus

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"muster/access"
	"muster/wire"
)

// WebSocket says where web pages reach the bus. Nobody is let in there but with a ticket: a browser speaks with its
// user's own socket, whatever page it shows, so the kernel's word means nothing.
type WebSocket struct {
	Listen  string   // loopback address; "" means none
	Origins []string // of the pages that may connect, "http://127.0.0.1:8080"; none means the listener's own
}

// maxTickets bounds those that are valid at the same time. Each has an account on the bus while it is.
const maxTickets = 64

// tickets are the users and passwords that are good for a while. Of a password only its hash is kept.
type tickets struct {
	mu    sync.Mutex
	valid [maxTickets]ticket // the user is the place
}

type ticket struct {
	role    string
	hash    [sha256.Size]byte
	expires time.Time
}

// issue makes a ticket in a place whose former one has expired.
func (t *tickets) issue(role string, ttl time.Duration) (wire.Ticket, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for n := range t.valid {
		if t.valid[n].expires.After(now) {
			continue
		}
		password := rand.Text()
		t.valid[n] = ticket{role: role, hash: sha256.Sum256([]byte(password)), expires: now.Add(ttl)}
		return wire.Ticket{User: ticketUser(n), Password: password, Role: role, Expires: wire.At(t.valid[n].expires)}, nil
	}
	return wire.Ticket{}, wire.Errorf(wire.CodeTooMany, "%d tickets are valid, which is as many as may be; wait until one has expired", maxTickets)
}

func ticketUser(n int) string { return fmt.Sprintf("ticket-%d", n+1) }

// redeem gives what a user and a password are good for.
func (t *tickets) redeem(user, password string) (access.Peer, time.Time, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	hash := sha256.Sum256([]byte(password))
	for n, one := range t.valid {
		if user == ticketUser(n) && subtle.ConstantTimeCompare(one.hash[:], hash[:]) == 1 && time.Now().Before(one.expires) {
			return access.Peer{Via: wire.ViaTicket, Ticket: user, Role: one.role}, one.expires, nil
		}
	}
	return access.Peer{}, time.Time{}, fmt.Errorf("no valid ticket")
}

// Ticket answers access.ticket.
func (b *Bus) Ticket(_ context.Context, _ wire.Caller, w wire.TicketWish) (wire.Ticket, error) {
	if b.opts.WebSocket.Listen == "" {
		return wire.Ticket{}, wire.Errorf(wire.CodeUnsupported, "tickets are for web pages, and this daemon listens to none; websocket.listen would have to be set")
	}
	if !b.auth.current().Has(w.Role) {
		return wire.Ticket{}, wire.NotFound("there is no role %.64q; observer, participant, admin and those of the configuration are", w.Role)
	}
	ttl := w.TTL
	if ttl == 0 {
		ttl = wire.DefaultTicket
	}
	made, err := b.auth.tickets.issue(w.Role, ttl.Duration())
	made.URL = b.server.WebsocketURL()
	return made, err
}

// web gives the server's options for web pages.
func (w WebSocket) web() (server.WebsocketOpts, error) {
	if w.Listen == "" {
		return server.WebsocketOpts{}, nil
	}
	host, port, err := listenAddress(w.Listen)
	if err != nil {
		return server.WebsocketOpts{}, fmt.Errorf("websocket: %w", err)
	}
	if err := probeAddress(host, port); err != nil {
		return server.WebsocketOpts{}, fmt.Errorf("websocket: %w", err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return server.WebsocketOpts{
		Host: host, Port: port, NoTLS: true, AllowedOrigins: w.Origins, SameOrigin: len(w.Origins) == 0, HandshakeTimeout: handshakeBudget,
	}, nil
}

const handshakeBudget = 2 * time.Second
