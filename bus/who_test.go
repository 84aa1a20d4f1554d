package bus_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"muster/access"
	"muster/bus"
	"muster/bus/bustest"
	"muster/wire"
)

// remote is a key, and a policy that gives it, and a user whom nobody is, the rights that are listed.
func remote(t *testing.T) (name string, as nats.Option, policy func(may ...string) *access.Policy) {
	t.Helper()
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return "nkey:" + public, nats.Nkey(public, key.Sign), func(may ...string) *access.Policy {
		p, err := access.NewPolicy([]access.Role{{Name: "remote", Who: []string{"nkey:" + public, "uid:54321"}, May: may}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

func await(t *testing.T, what string, happens <-chan struct{}) {
	t.Helper()
	select {
	case <-happens:
	case <-time.After(10 * time.Second):
		t.Fatal("waited in vain for " + what)
	}
}

func may(t *testing.T, b *bus.Bus, identity, right string, want bool) {
	t.Helper()
	if got := b.May(wire.Caller{Identity: identity}, right); got != want {
		t.Errorf("%s may %s: %v", identity, right, got)
	}
}

// TestMayOfAbsent asks for rights of those who are not connected: what they have booked may wait yet, also over a restart.
func TestMayOfAbsent(t *testing.T) {
	name, as, policy := remote(t)
	b := bustest.Open(t, func(o *bus.Options) { o.Policy = policy("call:gps", "loop:book") })
	gone := make(chan struct{}, 1)
	b.OnGone(func(uint64) { gone <- struct{}{} })
	bustest.Dial(t, b, as).Close()
	await(t, "the end of the connection", gone)
	may(t, b, name, "call:gps", true)
	may(t, b, "uid:54321", "call:gps", true)
	may(t, b, "uid:54321", "call:lamp", false)
	may(t, b, "uid:54322", "call:gps", false)
	if err := b.SetPolicy(policy("loop:book")); err != nil {
		t.Fatal(err)
	}
	may(t, b, name, "call:gps", false)
	may(t, b, name, "loop:book", true)
	may(t, b, "uid:54321", "call:gps", false)
}

// TestLostRight closes the connection of whoever lost a right, who comes back with what is left to him, and no other.
func TestLostRight(t *testing.T) {
	name, as, policy := remote(t)
	b := bustest.Open(t, func(o *bus.Options) { o.Policy = policy("loop:book", "smd:read") })
	back := make(chan struct{}, 1)
	nc := bustest.Dial(t, b, as, nats.ReconnectWait(time.Millisecond), nats.ReconnectHandler(func(*nats.Conn) { back <- struct{}{} }))
	if err := b.SetPolicy(policy("smd:read")); err != nil {
		t.Fatal(err)
	}
	may(t, b, name, "loop:book", false)
	await(t, "the connection to come back", back)
	stays, err := nc.GetClientID()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.SetPolicy(policy("smd:read", "state:read")); err != nil {
		t.Fatal(err)
	}
	may(t, b, name, "state:read", true)
	if err := nc.Flush(); err != nil { // one that was closed would be another by the time that this is answered
		t.Fatal(err)
	}
	if now, err := nc.GetClientID(); err != nil || now != stays {
		t.Errorf("a connection that lost no right was closed: it is %d, was %d, %v", now, stays, err)
	}
}

// TestListens tells whether an identity hears a subject, by a wildcard too.
func TestListens(t *testing.T) {
	b := bustest.Open(t)
	nc := bustest.Dial(t, b)
	who := wire.Caller{Identity: "uid:" + strconv.Itoa(os.Geteuid())}
	if b.Listens(who, "sys.call.lamp") {
		t.Error("somebody listens before anybody has subscribed")
	}
	if _, err := nc.SubscribeSync("sys.call.>"); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if !b.Listens(who, "sys.call.lamp") || b.Listens(who, "sys.notify.lamp") || b.Listens(wire.Caller{Identity: "nobody"}, "sys.call.lamp") {
		t.Error("one subscription on sys.call.> would be right, and nothing else")
	}
}
