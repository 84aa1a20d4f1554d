package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"muster/bus"
	"muster/system"
	"muster/wire"
)

// boots measures the steps from CONTEXT_CREATED to OPERATIONAL, with ten notifiers in the daemon's process, on a bus
// that is up, every event kept.
func boots(_ Setting, report func(Row)) (err error) {
	return onBus(func(b *bus.Bus, events jetstream.Stream) error {
		medians, err := several(func() (time.Duration, error) { return repeat(400, bootOn(b, events, 10)) })
		if err != nil {
			return err
		}
		report(absolute("boot with 10 notifiers in the process", micros(median(medians)), "µs", 200))
		return nil
	})
}

// onBus runs f on a bus of its own.
func onBus(f func(*bus.Bus, jetstream.Stream) error) (err error) {
	dir, err := os.MkdirTemp("", "muster-bench-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b, err := bus.Open(bus.Options{Dir: dir, Listen: "127.0.0.1:0", Boot: "1-bench", Clock: &system.Sim{}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := b.Listen(); err != nil {
		return err
	}
	nc, err := nats.Connect(b.URL())
	if err != nil {
		return err
	}
	defer nc.Close()
	events, err := openEvents(nc)
	if err != nil {
		return err
	}
	return f(b, events)
}

// bootOn runs a machine from its start and gives the time from CONTEXT_CREATED to OPERATIONAL. It returns when its
// events are stored.
func bootOn(b *bus.Bus, events jetstream.Stream, notifiers int) sampler {
	accept := func(context.Context, wire.Question) wire.Answer { return wire.Answer{Answer: wire.Accept} }
	return func() (time.Duration, error) {
		var began, took time.Time
		arrived := make(chan struct{})
		m := system.NewMachine(system.Options{
			Boot: "1-bench", Clock: &system.Sim{}, Journal: b,
			Entered: func(s wire.State) {
				switch s {
				case wire.ContextCreated:
					began = time.Now()
				case wire.Operational:
					took = time.Now()
					close(arrived)
				default:
				}
			},
		})
		for i := range notifiers {
			if err := m.Add(system.Notifier{Name: fmt.Sprintf("member-%d", i), Ask: accept}); err != nil {
				return 0, err
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		<-arrived
		cancel()
		return took.Sub(began), errors.Join(<-ended, settle(events, b.Seq()))
	}
}
