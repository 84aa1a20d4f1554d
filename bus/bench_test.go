package bus_test

import (
	"context"
	"testing"
	"time"

	"muster/bus"
	"muster/bus/bustest"
	"muster/wire"
)

// BenchmarkRequest asks an endpoint that answers at once.
func BenchmarkRequest(b *testing.B) {
	served := bustest.Open(b)
	if err := bus.Handle(served, wire.StateGet, func(context.Context, wire.Caller, wire.Empty) (wire.StateView, error) {
		return wire.StateView{State: wire.Operational, Boot: "17-9f3c2a", Protocol: wire.Protocol}, nil
	}); err != nil {
		b.Fatal(err)
	}
	nc := bustest.Dial(b, served)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := nc.Request("sys.api.state.get", nil, time.Second); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkKeep keeps an event, which is sent and stored behind.
func BenchmarkKeep(b *testing.B) {
	served := bustest.Open(b)
	b.ReportAllocs()
	for b.Loop() {
		served.Keep(wire.TransitionTopic, &wire.Transition{Kind: wire.KindProposed, ID: "17-9f3c2a.4", Reason: "boot"})
	}
}
