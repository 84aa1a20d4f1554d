package daemon

import (
	"context"
	"testing"
	"time"

	"muster/client"
	"muster/wire"
)

// TestClockObserved looks at the real clock, whatever that says, and has little patience with it: the device gets there
// either way, and the notifier was asked.
func TestClockObserved(t *testing.T) {
	r := start(t, t.TempDir(), func(c *Config) {
		c.Clock = Clock{Mode: "observe", Patience: Duration(time.Second), FallBack: true}
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
	if err != nil || len(list.Notifiers) != 1 || list.Notifiers[0].Name != "clock" || list.Notifiers[0].Asked == 0 {
		t.Errorf("notifiers: %+v, %v; want the clock, asked", list, err)
	}
}
