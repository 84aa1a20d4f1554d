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

// TestMayOfAbsent asks for rights of those who are not connected: what they have booked may wait yet, also over a restart.
func TestMayOfAbsent(t *testing.T) {
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	policy := func(may ...string) *access.Policy {
		p, err := access.NewPolicy([]access.Role{{Name: "remote", Who: []string{"nkey:" + public, "uid:54321"}, May: may}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	b := bustest.Open(t, func(o *bus.Options) { o.Policy = policy("call:gps", "loop:book") })
	gone := make(chan uint64, 1)
	b.OnGone(func(conn uint64) { gone <- conn })
	nc := bustest.Dial(t, b, nats.Nkey(public, key.Sign))
	nc.Close()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Fatal("the end of the connection is not told")
	}
	may := func(identity, right string, want bool) {
		t.Helper()
		if got := b.May(wire.Caller{Identity: identity}, right); got != want {
			t.Errorf("%s may %s: %v", identity, right, got)
		}
	}
	may("nkey:"+public, "call:gps", true)
	may("uid:54321", "call:gps", true)
	may("uid:54321", "call:lamp", false)
	may("uid:54322", "call:gps", false)
	if err := b.SetPolicy(policy("loop:book")); err != nil {
		t.Fatal(err)
	}
	may("nkey:"+public, "call:gps", false)
	may("nkey:"+public, "loop:book", true)
	may("uid:54321", "call:gps", false)
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
