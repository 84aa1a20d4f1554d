package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"muster/access"
	"muster/bus"
	"muster/bus/bustest"
	"muster/wire"
)

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
	key := bustest.NewKey(t)
	b := openWith(t, key.Role("display", "smd:read", "smd:publish:user.3"))
	root, display := bustest.Dial(t, b), bustest.Dial(t, b, key.Option())
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

// TestPatternMessage sends on subjects that are patterns, which nobody who listens would expect.
func TestPatternMessage(t *testing.T) {
	loud := bustest.NewKey(t)
	b := openWith(t, loud.Role("loud", "smd:publish:network", "smd:publish:user.3"))
	root, raw := bustest.Dial(t, b), bustest.DialRaw(t, b.URL())
	heard, err := root.SubscribeSync("sys.*.>")
	if err != nil || root.Flush() != nil {
		t.Fatal(err)
	}
	raw.Connect(loud)
	for _, subject := range []string{"sys.network.*", "sys.network.>", "sys.user.3.*", "out.sys.user.3.>", "sys.network.end"} {
		raw.Say("PUB %s 0\r\n\r\n", subject)
	}
	if m, err := heard.NextMsg(patience); err != nil || m.Subject != "sys.network.end" {
		t.Errorf("heard %v, %v", m, err)
	}
}

// TestSteeredAnswer has the daemon's answers sent where the asker himself may not send.
func TestSteeredAnswer(t *testing.T) {
	weak := bustest.NewKey(t)
	b := openWith(t, weak.Role("weak", "state:read"))
	if err := bus.Handle(b, wire.StateGet, func(context.Context, wire.Caller, wire.Empty) (wire.StateView, error) {
		return wire.StateView{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	root := bustest.Dial(t, b)
	heard, err := root.SubscribeSync("sys.network.>")
	if err != nil || root.Flush() != nil {
		t.Fatal(err)
	}
	raw := bustest.DialRaw(t, b.URL())
	raw.Connect(weak)
	for _, reply := range []string{"sys.network.route", "out.sys.network.route", "from.UID-0.sys.network.route", "out.sys.network.>"} {
		raw.Say("PUB sys.api.state.get %s 0\r\n\r\n", reply)
	}
	if lines, open := raw.Ping(); !open || len(lines) > 0 {
		t.Fatalf("%q, open: %v", lines, open)
	}
	if _, err := bustest.Dial(t, b, weak.Option()).Request("sys.api.state.get", nil, patience); err != nil { // behind them
		t.Fatal(err)
	}
	if err := root.Publish("sys.network.end", nil); err != nil {
		t.Fatal(err)
	}
	if m, err := heard.NextMsg(patience); err != nil || m.Subject != "sys.network.end" {
		t.Errorf("heard %v, %v", m, err)
	}
}
