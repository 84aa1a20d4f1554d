package bus

import (
	"errors"

	"github.com/nats-io/nats-server/v2/server"

	"muster/access"
)

// SetPolicy puts other roles in force. Connections that keep every right stay, and have what was added at once; one that
// lost a right is closed, and may come back with what is left to it.
func (b *Bus) SetPolicy(policy *access.Policy) error {
	closing, err := b.auth.reassess(policy)
	b.seats.vacate(b.auth.deserted)
	for _, s := range closing {
		b.log.Info("connection closed, for it lost a right", "identity", s.identity.Name, "conn", s.conn)
		_ = b.server.DisconnectClientByID(s.conn) // it may have gone by itself
	}
	return err
}

// reassess holds everybody against the roles, and gives the sessions that may not stay.
func (a *authentication) reassess(policy *access.Policy) (closing []*session, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.policy = policy
	staying := map[string]bool{} // identities
	for _, s := range a.sessions {
		identity, _ := policy.Identify(s.peer)
		stays := identity.Name == s.identity.Name && identity.Includes(s.identity)
		if identity.Name != s.identity.Name { // what is left of who it was is nothing
			identity = access.Identity{Name: s.identity.Name, Account: s.identity.Account}
		}
		_, failed := a.house(identity)
		err = errors.Join(err, failed)
		if !stays {
			closing = append(closing, s)
			continue
		}
		staying[identity.Name] = true
		if !s.identity.Includes(identity) { // it has gained something
			s.client.RegisterUser(&server.User{Username: identity.Name, Permissions: identity.Permissions()})
		}
		s.identity = identity
	}
	// What those have booked may wait yet of whom nobody stays, or nobody was here.
	for name, h := range a.homes {
		if !staying[name] {
			identity, _ := policy.Named(name)
			identity.Name, identity.Account = name, h.identity.Account
			h.identity = identity
		}
	}
	return closing, err
}
