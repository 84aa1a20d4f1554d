package bus_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"muster/access"
	"muster/bus"
	"muster/bus/bustest"
)

// keyed gives a role for a key that is made here, and what a client needs to use it.
func keyed(t testing.TB, name string, may ...string) (access.Role, nats.Option) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return access.Role{Name: name, Who: []string{"nkey:" + public}, May: may}, nats.Nkey(public, pair.Sign)
}

// openWith starts a bus with roles.
func openWith(t testing.TB, roles ...access.Role) *bus.Bus {
	t.Helper()
	policy, err := access.NewPolicy(roles, -1)
	if err != nil {
		t.Fatal(err)
	}
	return bustest.Open(t, func(o *bus.Options) { o.Policy = policy })
}

// TestMessages tells what participants tell each other: each hears it once, of whatever identity, the sender too.
func TestMessages(t *testing.T) {
	role, key := keyed(t, "display", "smd:read", "smd:publish:user.3")
	b := openWith(t, role)
	root, display := bustest.Dial(t, b), bustest.Dial(t, b, key)
	for _, sender := range []*nats.Conn{root, display} {
		const subject = "sys.user.3.page"
		var subs []*nats.Subscription
		for _, nc := range []*nats.Conn{root, display} {
			for _, heard := range []string{subject, "sys.user.>"} {
				sub, err := nc.SubscribeSync(heard)
				if err != nil {
					t.Fatal(err)
				}
				subs = append(subs, sub)
			}
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		for _, text := range []string{"1", "2"} {
			if err := sender.Publish(subject, []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		for i, sub := range subs {
			for _, want := range []string{"1", "2"} {
				if m, err := sub.NextMsg(time.Second); err != nil || string(m.Data) != want {
					t.Fatalf("subscription %d: %v, %v, want %s", i, m, err, want)
				}
			}
			_ = sub.Unsubscribe()
		}
	}
}
