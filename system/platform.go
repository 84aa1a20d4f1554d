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
	// GoDown reboots, halts or powers off. It is called when the bus has stopped, and returns when the device is
	// down, which only a simulated one lives to see, or with what keeps it up, at the latest when ctx is done.
	GoDown(ctx context.Context, mode wire.RebootMode, reason string) error
}

// The operations of a platform, by their endpoints' verbs.
const (
	OpReboot        = "reboot"
	OpSetClock      = "set-clock"
	OpCaptivePortal = "captive-portal"
)

// Bounded is a platform that may be unable to carry out some of its operations.
type Bounded interface {
	// Can gives nil for an operation that can be carried out here and now, and else why not.
	Can(ctx context.Context, op string) error
}

// Sleeper is a platform whose processor sleeps so deep that it takes a while to wake.
type Sleeper interface {
	WakeLatency() time.Duration
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
func (s *Sim) GoDown(_ context.Context, mode wire.RebootMode, _ string) error {
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
	// Earliest is before any time that the clock may be set to: when this version was made. Zero: any time will do.
	Earliest time.Time
	// Down answers op.reboot where the platform can: see [Machine.Reboot].
	Down func(context.Context, wire.Caller, wire.Reboot) (wire.StateOutcome, error)
	// Portal answers op.captive-portal; nil: nothing looks for one.
	Portal func(context.Context, wire.Caller, wire.Empty) (wire.CaptivePortal, error)
}

// can gives nil where the platform can carry out an operation.
func (o *Operations) can(ctx context.Context, op string) error {
	if bounded, ok := o.Platform.(Bounded); ok {
		return bounded.Can(ctx, op)
	}
	return nil
}

// List answers op.list, with what can be done here.
func (o *Operations) List(ctx context.Context, _ wire.Caller, _ wire.Empty) (wire.Ops, error) {
	list := wire.Ops{Platform: o.Platform.Name(), Ops: []string{}}
	for _, op := range []string{OpReboot, OpSetClock} {
		if o.can(ctx, op) == nil {
			list.Ops = append(list.Ops, op)
		}
	}
	if o.Portal != nil {
		list.Ops = append(list.Ops, OpCaptivePortal)
	}
	if sleeper, ok := o.Platform.(Sleeper); ok {
		list.WakeLatency = wire.InMicros(sleeper.WakeLatency())
	}
	return list, nil
}

// Reboot answers op.reboot. What the platform cannot do is refused before anybody is asked.
func (o *Operations) Reboot(ctx context.Context, caller wire.Caller, r wire.Reboot) (wire.StateOutcome, error) {
	if err := o.can(ctx, OpReboot); err != nil {
		return wire.StateOutcome{}, err
	}
	return o.Down(ctx, caller, r)
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

// CaptivePortal answers op.captive-portal. Where nothing looks for one, the result is unknown.
func (o *Operations) CaptivePortal(ctx context.Context, caller wire.Caller, e wire.Empty) (wire.CaptivePortal, error) {
	if o.Portal != nil {
		return o.Portal(ctx, caller, e)
	}
	return wire.CaptivePortal{Result: wire.PortalUnknown}, nil
}
