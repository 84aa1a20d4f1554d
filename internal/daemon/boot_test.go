package daemon

import (
	"context"
	"testing"
	"time"

	"muster/client"
	"muster/wire"
)

// TestObserved looks at the real network and the real clock, whatever they are like, and has little patience with them: the
// device gets there either way, and the notifiers were asked.
func TestObserved(t *testing.T) {
	r := start(t, t.TempDir(), func(c *Config) {
		c.Network.Mode, c.Network.Patience, c.Network.FallBack = "observe", Duration(500*time.Millisecond), true
		c.Clock = Clock{Mode: "observe", Patience: Duration(500 * time.Millisecond), FallBack: true}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	bus, err := client.Connect(ctx, r.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	outcome, err := bus.Request(ctx, wire.StateWish{Target: wire.Operational, Reason: "test", Wait: wire.InMicros(patience)})
	if err != nil || outcome.Outcome != wire.OutcomeReached {
		t.Errorf("OPERATIONAL: %+v, %v", outcome, err)
	}
	list, err := client.Call(ctx, bus, wire.NotifierList, wire.Empty{})
	if err != nil || len(list.Notifiers) != 2 {
		t.Fatalf("notifiers: %+v, %v; want the clock and the network", list, err)
	}
	for i, name := range []string{"clock", "network"} {
		if n := list.Notifiers[i]; n.Name != name || n.Asked == 0 {
			t.Errorf("notifier %d is %+v; want %s, asked", i, n, name)
		}
	}
}
