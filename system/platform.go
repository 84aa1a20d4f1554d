package system

import (
	"context"
	"slices"
	"sync"
	"time"

	"muster/wire"
)

// Platform is what the device underneath can do.
type Platform interface {
	Clock
	Name() string
	SetClock(at wire.UnixMicros) error
	// GoDown reboots, halts or powers off. It is called when the bus has stopped.
	GoDown(mode wire.RebootMode, reason string) error
}

// Sim is a platform that never touches the host: setting the clock moves the clock of the simulation, and going down
// is only noted. The zero value works; it is safe for concurrent use.
type Sim struct {
	simClock

	mu   sync.Mutex
	down []wire.RebootMode
}

// Name implements [Platform].
func (*Sim) Name() string { return "sim" }

// SetClock implements [Platform].
func (s *Sim) SetClock(at wire.UnixMicros) error {
	s.set(at)
	return nil
}

// GoDown implements [Platform].
func (s *Sim) GoDown(mode wire.RebootMode, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = append(s.down, mode)
	return nil
}

// WentDown lists how the simulation went down.
func (s *Sim) WentDown() []wire.RebootMode {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.down)
}

// Operations answers the endpoints of the platform.
type Operations struct {
	Platform Platform
	// Wish asks the machine for a state.
	Wish func(context.Context, wire.Caller, wire.StateWish) (wire.StateOutcome, error)
	// Earliest is before any time that the clock may be set to: the date of this firmware's making.
	Earliest time.Time

	mu     sync.Mutex
	reboot *wire.Reboot // what follows CONTEXT_DESTROYING
}

// List answers op.list.
func (o *Operations) List(context.Context, wire.Caller, wire.Empty) (wire.Ops, error) {
	return wire.Ops{
		Platform: o.Platform.Name(), Ops: []string{"captive-portal", "reboot", "set-clock"}, WakeLatency: 0,
	}, nil
}

// SetClock answers op.set-clock. A time before the firmware was made is 422: it cannot be right.
func (o *Operations) SetClock(_ context.Context, _ wire.Caller, s wire.SetClock) (wire.ClockSet, error) {
	if s.At.Time().Before(o.Earliest) {
		return wire.ClockSet{}, wire.Errorf(wire.CodeUnprocessable, "at_us is %s, before this version was made (%s)",
			s.At.Time().Format(time.RFC3339), o.Earliest.UTC().Format(time.RFC3339))
	}
	before, _ := o.Platform.Now()
	if err := o.Platform.SetClock(s.At); err != nil {
		return wire.ClockSet{}, err
	}
	after, _ := o.Platform.Now()
	return wire.ClockSet{Before: before, After: after}, nil
}

// Reboot answers op.reboot: a wish for CONTEXT_DESTROYING, and what is to follow it.
func (o *Operations) Reboot(ctx context.Context, caller wire.Caller, r wire.Reboot) (wire.StateOutcome, error) {
	if !r.DryRun {
		o.mu.Lock()
		o.reboot = &r
		o.mu.Unlock()
	}
	outcome, err := o.Wish(ctx, caller, r.Wish())
	if err != nil || outcome.Outcome == wire.OutcomeAborted || outcome.Outcome == wire.OutcomeExpired {
		o.mu.Lock()
		if o.reboot == &r {
			o.reboot = nil
		}
		o.mu.Unlock()
	}
	return outcome, err
}

// Pending gives how the device goes down after CONTEXT_DESTROYING, false when only the daemon ends.
func (o *Operations) Pending() (wire.Reboot, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reboot == nil {
		return wire.Reboot{}, false
	}
	r := *o.reboot
	if r.Mode == "" {
		r.Mode = wire.ModeReboot
	}
	return r, true
}

// CaptivePortal answers op.captive-portal. Nothing of this version looks for one.
func (*Operations) CaptivePortal(context.Context, wire.Caller, wire.Empty) (wire.CaptivePortal, error) {
	return wire.CaptivePortal{Result: "unknown"}, nil
}
