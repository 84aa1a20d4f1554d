package bus

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"muster/access"
	"muster/wire"
)

// The users of the daemon's own connections, let in by a secret of this process.
const (
	ownUser    = "muster"
	systemUser = "system"
)

// authentication lets connections in, each into the home of its identity. Who is behind a connection is the kernel's
// word or a signature's, asked for while it authenticates; who has no role is refused.
type authentication struct {
	bus     *Bus
	secret  string
	tickets tickets
	own     *server.Account // MUSTER

	mu       sync.Mutex
	policy   *access.Policy
	homes    map[string]*home    // by identity
	accounts map[string]string   // identities, by account
	sessions map[uint64]*session // by connection
	newest   uint64              // connection that was let in
	visitors map[uint64]*visitor // by connection
	unnamed  map[int]int         // visitors who have not authenticated yet, by user
	guests   int                 // visitors who are no administrators
}

// session is a participant's connection and who stands behind it.
type session struct {
	conn     uint64
	client   server.ClientAuthentication
	peer     access.Peer
	socket   access.Socket // with tcp
	identity access.Identity
	since    time.Time
	until    time.Time // when it ends by itself; zero for never
}

func newAuthentication(b *Bus, policy *access.Policy) *authentication {
	return &authentication{
		bus: b, secret: secret(), policy: policy, homes: map[string]*home{}, accounts: map[string]string{},
		sessions: map[uint64]*session{}, visitors: map[uint64]*visitor{}, unnamed: map[int]int{},
	}
}

// Check implements [server.Authentication].
func (a *authentication) Check(c server.ClientAuthentication) bool {
	if c.Kind() != server.CLIENT {
		return false
	}
	id := c.GetID()
	v := a.visitor(id)
	if remote := c.RemoteAddress(); v == nil && (remote == nil || remote.Network() == "pipe") {
		return a.checkOwn(c)
	}
	s, err := a.witness(c, v)
	if err != nil {
		a.bus.refuse(v.who(), err)
		return false
	}
	return a.admit(c, s, v)
}

// checkOwn lets the daemon's connections in.
func (a *authentication) checkOwn(c server.ClientAuthentication) bool {
	opts := c.GetOpts()
	if subtle.ConstantTimeCompare([]byte(opts.Password), []byte(a.secret)) != 1 {
		return false
	}
	account, err := a.bus.server.LookupAccount(accountOfOwn(opts.Username))
	if err != nil {
		return false
	}
	c.RegisterUser(&server.User{Username: opts.Username, Account: account})
	return true
}

// accountOfOwn gives the account that one of the daemon's own users is in: its own two, or the one of an identity, by
// its name, where the daemon takes a seat.
func accountOfOwn(user string) string {
	switch user {
	case ownUser:
		return ownAccount
	case systemUser:
		return systemAccount
	}
	return user
}

// witness finds out who is behind a connection: the key that it signs with, or the user that the kernel vouches for. A
// connection that is no visitor's comes from a web page, where tickets alone count.
func (a *authentication) witness(c server.ClientAuthentication, v *visitor) (*session, error) {
	opts := c.GetOpts()
	if v == nil {
		peer, until, err := a.tickets.redeem(opts.Username, opts.Password)
		return &session{peer: peer, until: until}, err
	}
	if opts.Nkey != "" {
		err := verify(opts.Nkey, opts.Sig, c.GetNonce())
		return &session{peer: access.Peer{Via: wire.ViaNkey, Nkey: opts.Nkey}}, err
	}
	if v.doubt != nil {
		return nil, fmt.Errorf("without a key: %w", v.doubt)
	}
	s := &session{peer: v.peer, socket: v.socket}
	if v.peer.Via == wire.ViaTCP && a.current().NeedsExe() {
		s.peer.PID, s.peer.Exe = access.ProcessOf(v.socket)
	}
	return s, nil
}

// verify checks that the server's nonce was signed with the key.
func verify(key, signature string, nonce []byte) error {
	public, err := nkeys.FromPublicKey(key)
	if err != nil {
		return fmt.Errorf("nkey %.64q is none: %w", key, err)
	}
	signed, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		if signed, err = base64.StdEncoding.DecodeString(signature); err != nil {
			return fmt.Errorf("signature of nkey %s is not base64", key)
		}
	}
	if len(nonce) == 0 || public.Verify(nonce, signed) != nil {
		return fmt.Errorf("signature of nkey %s is wrong", key)
	}
	return nil
}

// admit lets a connection into the home of its identity, if it has one and is within its bounds.
func (a *authentication) admit(c server.ClientAuthentication, s *session, v *visitor) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	identity, ok := a.policy.Identify(s.peer)
	if !ok {
		a.bus.refuse(v.who(), fmt.Errorf("no role names %v", s.peer))
		return false
	}
	h, err := a.house(identity)
	if err == nil {
		err = a.boundLocked(identity)
	}
	if err != nil {
		a.bus.refuse(identity.Name, err)
		return false
	}
	if v != nil {
		a.nameLocked(v)
		v.flow.Store(h.bound(a.bus.opts.Bounds))
	}
	s.conn, s.client, s.identity, s.since = c.GetID(), c, identity, time.Now()
	a.sessions[s.conn] = s
	a.newest = max(a.newest, s.conn)
	c.RegisterUser(&server.User{Username: identity.Name, Account: h.account, Permissions: identity.Permissions(), ConnectionDeadline: s.until})
	return true
}

// boundLocked holds an identity's connections against their number. An administrator has as many as the server takes.
func (a *authentication) boundLocked(identity access.Identity) error {
	if identity.Admin() {
		return nil
	}
	most, count := a.bus.opts.Bounds.Connections, 0
	for conn, s := range a.sessions {
		if s.identity.Name != identity.Name {
			continue
		}
		if count++; count >= most && !a.bus.Alive(conn) {
			delete(a.sessions, conn) // its end is about to be told
			count--
		}
	}
	if count >= most {
		return wire.Errorf(wire.CodeTooMany, "it has %d connections, which is as many as it may have", count)
	}
	return nil
}

// house gives the home of an identity, with everything that its rights open. An account whose doors are too many is left
// to whoever is still in it, and closed by [Bus.SetPolicy].
func (a *authentication) house(i access.Identity) (*home, error) {
	h := a.homes[i.Name]
	if h != nil && h.fits(i) {
		h.identity = i
		return h, h.furnish(a.own, i)
	}
	name := i.Account
	if h != nil {
		name = fmt.Sprintf("%s~%d", i.Account, h.moves+1)
	}
	account, _ := a.bus.server.LookupOrRegisterAccount(name)
	next := &home{account: account, identity: i, open: map[door]bool{}, pace: newPace(a.bus.opts.Bounds)}
	if h != nil {
		next.moves, next.pace, next.flow = h.moves+1, h.pace, h.flow
	}
	a.homes[i.Name] = next
	a.accounts[name] = i.Name
	return next, next.furnish(a.own, i)
}

// deserted reports whether an account is that of an identity no longer.
func (a *authentication) deserted(account string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.homes[a.accounts[account]]
	return h == nil || h.account.Name != account
}

// identityOf gives an identity by its name. One that has not connected yet may have something here all the same: a
// booking that was kept over a restart.
func (a *authentication) identityOf(name string) (access.Identity, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if h := a.homes[name]; h != nil {
		return h.identity, true
	}
	return a.policy.Named(name)
}

// home gives that of the identity behind an account.
func (a *authentication) home(account string) (home, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if h := a.homes[a.accounts[account]]; h != nil {
		return *h, true
	}
	return home{}, false
}

// couldBe reports whether a connection is or was one of the identity's, as far as is known: it is nobody else's.
func (a *authentication) couldBe(identity access.Identity, conn uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.sessions[conn]; s != nil {
		return s.identity.Name == identity.Name
	}
	return conn > 0 && conn <= a.newest && !a.bus.Alive(conn) // it has just gone
}

// accountOf gives the account of an identity that has connected.
func (a *authentication) accountOf(identity string) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if h := a.homes[identity]; h != nil {
		return h.account.Name, true
	}
	return "", false
}

// crowded lists the accounts that have more subscriptions than an identity may have.
func (a *authentication) crowded() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var accounts []string
	for _, h := range a.homes {
		if !h.identity.Admin() && h.account.TotalSubs() > a.bus.opts.Bounds.Subscriptions {
			accounts = append(accounts, h.account.Name)
		}
	}
	return accounts
}

func (a *authentication) current() *access.Policy {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.policy
}

// gone forgets a connection.
func (a *authentication) gone(conn uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.sessions, conn)
}

// list gives the sessions, oldest first.
func (a *authentication) list() []session {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]session, 0, len(a.sessions))
	for _, s := range a.sessions {
		list = append(list, *s)
	}
	slices.SortFunc(list, func(x, y session) int { return x.since.Compare(y.since) })
	return list
}
