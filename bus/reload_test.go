package bus

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"muster/access"
	"muster/wire"
)

// member is a client with a key, and what becomes of its connection.
type member struct {
	*nats.Conn
	who    string
	lost   chan struct{}
	again  chan struct{}
	denied chan error
}

// sitting is a bus with members.
type sitting struct {
	t *testing.T
	b *Bus
}

const soon = 5 * time.Second

func sit(t *testing.T) *sitting {
	t.Helper()
	b := openTest(t)
	err := Handle(b, wire.StateGet, func(context.Context, wire.Caller, wire.Empty) (wire.StateView, error) {
		return wire.StateView{State: wire.DHCP}, nil
	})
	if err := errors.Join(err, b.Listen(), b.Flush()); err != nil {
		t.Fatal(err)
	}
	return &sitting{t, b}
}

// rule puts roles in force.
func (s *sitting) rule(roles ...access.Role) {
	s.t.Helper()
	policy, err := access.NewPolicy(roles, -1)
	if err == nil {
		err = s.b.SetPolicy(policy)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// key makes a key, and what a client needs to sign with it.
func (s *sitting) key() (who string, sign nats.Option) {
	s.t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		s.t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		s.t.Fatal(err)
	}
	return "nkey:" + public, nats.Nkey(public, pair.Sign)
}

// join connects a member.
func (s *sitting) join(who string, sign nats.Option) *member {
	s.t.Helper()
	m := &member{who: who, lost: make(chan struct{}, 8), again: make(chan struct{}, 8), denied: make(chan error, 8)}
	var err error
	m.Conn, err = nats.Connect(s.b.URL(), sign, nats.ReconnectWait(time.Millisecond), nats.ReconnectJitter(0, 0),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { m.lost <- struct{}{} }),
		nats.ReconnectHandler(func(*nats.Conn) { m.again <- struct{}{} }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { m.denied <- err }))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(m.Close)
	return m
}

// may asks for the state, and reports whether that was allowed.
func (m *member) may(t *testing.T) bool {
	t.Helper()
	answer, err := m.Request("sys.api.state.get", nil, soon)
	if err != nil {
		t.Fatal(err)
	}
	code := answer.Header.Get("Nats-Service-Error-Code")
	if code != "" && code != "403" {
		t.Fatalf("the answer is %s", code)
	}
	return code == ""
}

func (m *member) hear(t *testing.T, subject string) *nats.Subscription {
	t.Helper()
	sub, err := m.SubscribeSync(subject)
	if err != nil || m.Flush() != nil {
		t.Fatal(err)
	}
	return sub
}

func wait(t *testing.T, what <-chan struct{}, why string) {
	t.Helper()
	select {
	case <-what:
	case <-time.After(soon):
		t.Fatalf("%s: not within %v", why, soon)
	}
}

// TestReload gives rights and takes them away while those who have them are connected.
func TestReload(t *testing.T) {
	s := sit(t)
	who, sign := s.key()
	other, otherSign := s.key()
	role := func(may ...string) access.Role { return access.Role{Name: "tested", Who: []string{who}, May: may} }
	stays := access.Role{Name: "stays", Who: []string{other}, May: []string{"state:read"}}

	s.rule(role("blob:read:*"), stays)
	tested, bystander := s.join(who, sign), s.join(other, otherSign)
	cid, _ := tested.GetClientID()
	blobs := tested.hear(t, "sys.blob.>")
	if tested.may(t) {
		t.Error("what was not granted is allowed")
	}

	// A right that is added counts at once, on the connection that is there. What was denied to a pattern stays so.
	s.rule(role("blob:read:*", "state:read", "smd:read"), stays)
	if !tested.may(t) {
		t.Error("an added right cannot be used")
	}
	metrics := tested.hear(t, "sys.metric.*")
	s.b.Tell("sys.metric.load", &wire.LoopError{})
	if _, err := metrics.NextMsg(soon); err != nil {
		t.Errorf("an added event is not heard: %v", err)
	}
	s.b.Tell("sys.blob.auth.0", &wire.BlobEvent{Revision: 1})
	s.b.Tell("sys.blob.device-serial.0", &wire.BlobEvent{Revision: 2})
	if m, err := blobs.NextMsg(soon); err != nil || m.Subject != "sys.blob.device-serial.0" {
		t.Errorf("heard %v, %v", m, err)
	}
	if now, _ := tested.GetClientID(); now != cid || len(tested.lost) > 0 || len(tested.denied) > 0 {
		t.Errorf("the connection is %d, was %d; lost %d times, denied %d times", now, cid, len(tested.lost), len(tested.denied))
	}

	// One that is lost closes the connection, and what it leads to is another account without the doors of the old.
	_, _ = s.b.seat(who) // whether it is taken shows below
	before, _ := s.b.auth.accountOf(who)
	s.rule(role("state:read"), stays)
	wait(t, tested.lost, "the end of a connection that lost a right")
	wait(t, tested.again, "its return")
	if !tested.may(t) {
		t.Error("a right that was kept is lost")
	}
	if err := <-tested.denied; !errors.Is(err, nats.ErrPermissionViolation) { // of the subscriptions that it had
		t.Error(err)
	}
	after, _ := s.b.auth.accountOf(who)
	if after != before+"~1" {
		t.Errorf("the account is %s, was %s", after, before)
	}
	if s.b.seats.taken[before] != nil {
		t.Error("the daemon sits in the old account yet")
	}
	s.b.Tell("sys.blob.device-serial.0", &wire.BlobEvent{Revision: 3})
	if tested.Flush() != nil {
		t.Fatal("not connected")
	}
	if n, _, _ := blobs.Pending(); n > 0 {
		t.Errorf("%d events are heard that may not be any more", n)
	}

	// Whoever has nothing left does not come back.
	s.rule(stays)
	wait(t, tested.lost, "the end of a connection without a role")
	if _, err := nats.Connect(s.b.URL(), sign); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without a role: %v", err)
	}
	if !bystander.may(t) || len(bystander.lost) > 0 {
		t.Errorf("a bystander lost its connection %d times", len(bystander.lost))
	}
}

// TestReloadAsked takes a right from an identity that is asked and has booked: it is asked again once it is back, and
// others are meanwhile.
func TestReloadAsked(t *testing.T) {
	s := sit(t)
	who, sign := s.key()
	role := func(may ...string) access.Role { return access.Role{Name: "tested", Who: []string{who}, May: may} }
	s.rule(role("notifier:x", "state:read"))
	m := s.join(who, sign)
	if _, err := m.Subscribe("sys.notify.x", func(q *nats.Msg) { _ = q.Respond(q.Data) }); err != nil { // the asker tells
		t.Fatal(err)
	}
	if err := m.Flush(); err != nil {
		t.Fatal(err)
	}
	asked := func() string {
		t.Helper()
		conns, err := s.b.Subscribers(wire.Caller{Identity: who}, "sys.notify.x")
		if err != nil || len(conns) != 1 {
			t.Fatalf("subscribed are %v, %v", conns, err)
		}
		answers := make(chan string, 1)
		defer s.b.Ask(Peer{Identity: who, Conn: conns[0], Subject: "sys.notify.x"}, []byte("?"), func(data []byte, err error) {
			if err != nil {
				data = []byte(err.Error())
			}
			answers <- string(data)
		})()
		return <-answers
	}
	if got := asked(); got != "?" {
		t.Errorf("answered %q", got)
	}
	s.rule(role("notifier:x"))
	wait(t, m.again, "its return")
	if err := m.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := asked(); got != "?" {
		t.Errorf("answered %q after a right was lost", got)
	}
	if accounts := s.accounts(); len(accounts) != 1 || !strings.HasSuffix(accounts[0], "~1") {
		t.Errorf("the daemon sits in %v", accounts)
	}
}

// accounts lists those in which the daemon has a seat.
func (s *sitting) accounts() (names []string) {
	s.b.seats.mu.Lock()
	defer s.b.seats.mu.Unlock()
	for account := range s.b.seats.taken {
		names = append(names, account)
	}
	slices.Sort(names)
	return names
}

// TestSessionsEnd finds nothing kept of connections that ended, whether they had authenticated or not.
func TestSessionsEnd(t *testing.T) {
	s := sit(t)
	who, sign := s.key()
	s.rule(access.Role{Name: "tested", Who: []string{who}, May: []string{"state:read"}})
	for range 20 {
		s.join(who, sign).Close()
		if _, err := nats.Connect(s.b.URL(), nats.Nkey("UNONE", nil)); err == nil {
			t.Fatal("let in with a key that is none")
		}
	}
	a := s.b.auth
	until(t, "what is kept of connections to be forgotten", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.sessions)+len(a.visitors)+len(a.unnamed)+a.guests == 0
	})
}

// TestAnswersEnd finds that the server keeps nothing of requests that are answered, or that nobody answers.
func TestAnswersEnd(t *testing.T) {
	s := sit(t)
	if _, err := s.b.Bucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	who, sign := s.key()
	s.rule(access.Role{Name: "tested", Who: []string{who}, May: []string{"state:read", "blob:read:*"}})
	m := s.join(who, sign)
	heard := m.hear(t, "_INBOX.>")
	for _, subject := range []string{
		"sys.api.state.get", "sys.api.nothing", "sys.loop.9", "$SRV.PING", "$SRV.INFO.muster", "$SRV.INFO.other", "$SRV.nothing",
		"$JS.API.DIRECT.GET.KV_SYS_BLOBS.$KV.SYS_BLOBS.device-serial.0", "$JS.API.STREAM.INFO.KV_SYS_BLOBS", "$JS.API.STREAM.INFO.SYS_EVENTS",
		"$JS.API.DIRECT.GET.SYS_EVENTS.sys.state", "$JS.API.DIRECT.GET.SYS_EVENTS",
	} {
		for range 100 {
			if err := m.PublishRequest(subject, "_INBOX.x", nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Flush(); err != nil {
			t.Fatal(err)
		}
		until(t, subject+" to be forgotten", func() bool { return s.b.auth.own.NumPendingAllResponses() == 0 })
		if n, _, _ := heard.Pending(); n == 0 {
			t.Errorf("%s is not answered", subject)
		}
	}
}
