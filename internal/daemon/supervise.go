package daemon

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"muster/internal/systemd"
	"muster/wire"
)

// supervise tells systemd how things are, where that wants to know, and feeds the watchdog, where there is one, until ctx is
// done. It sees how they are as others do: over a connection of its own, through all of the bus.
func (d *Daemon) supervise(ctx context.Context) error {
	if !d.service.Wanted() && d.watchdog == nil {
		return nil
	}
	nc, err := nats.Connect(d.bus.URL(), nats.Name("muster, over itself"), nats.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("connect to the bus as others do: %w", err)
	}
	defer nc.Close()
	d.seat.Store(nc)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.service.Run(ctx) })
	if d.watchdog != nil {
		g.Go(func() error { return d.watchdog.Run(ctx) })
	}
	return g.Wait()
}

// look asks the bus for the state.
func (d *Daemon) look(ctx context.Context) (systemd.View, error) {
	m, err := d.seat.Load().RequestWithContext(ctx, wire.StateGet.Subject, nil)
	if err != nil {
		return systemd.View{}, err
	}
	if code := m.Header.Get(wire.HeaderErrorCode); code != "" {
		return systemd.View{}, fmt.Errorf("%s: %s", code, m.Header.Get(wire.HeaderError))
	}
	var state wire.StateView
	if err := wire.Decode(m.Data, &state); err != nil {
		return systemd.View{}, err
	}
	return systemd.View{Ready: d.config.Systemd.ready(state.State), Status: statusOf(state)}, nil
}

// statusOf says where the system is, where it goes and who holds it, in a line.
func statusOf(v wire.StateView) string {
	var b strings.Builder
	b.WriteString(v.State.String())
	switch t := v.Transition; {
	case t != nil:
		fmt.Fprintf(&b, ", next %s", t.To)
		for i, h := range t.Holders {
			word := "; held by "
			if i > 0 {
				word = ", by "
			}
			fmt.Fprintf(&b, "%s%s: %s", word, h.Notifier, h.Reason)
		}
	case v.Paused != nil:
		fmt.Fprintf(&b, ", paused: %s", v.Paused.Reason)
	}
	return b.String()
}

// ready reports whether the state is one in which systemd is to take the daemon for started.
func (s Systemd) ready(state wire.State) bool {
	if s.Ready == readyWithBus {
		return true
	}
	target, err := wire.ParseState(s.Ready)
	return err == nil && state.Has(target)
}

// readyWithBus is the readiness of a bus that answers.
const readyWithBus = "bus"

func (s Systemd) check() error {
	if state, err := wire.ParseState(s.Ready); s.Ready != readyWithBus && (err != nil || !state.Boot()) {
		return fmt.Errorf("systemd.ready is %q; bus, or a state of the boot such as OPERATIONAL, would be right", s.Ready)
	}
	return nil
}
