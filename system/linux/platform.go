package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"muster/system"
	"muster/wire"
)

// Options are a Platform's surroundings. The zero value is the host itself.
type Options struct {
	Kernel Kernel // nil: the host's
	Ways   []Way  // to take the device down, the first first; nil: logind, systemctl, the system call
	Sys    fs.FS  // nil: /sys
	Log    *slog.Logger

	// Leave is closed when this process is told to end. After a way has been taken that is the device's going down,
	// and nothing is waited for any longer.
	Leave <-chan struct{}
}

// Platform is a device that runs Linux. It is made by [New], and safe for concurrent use.
type Platform struct{ opts Options }

// The times of the platform's own.
const (
	longestSlew = 500 * time.Millisecond // a clock that is wrong by more is stepped
	wayBudget   = 10 * time.Second       // for one way to take the device down, or to fail
	askBudget   = 2 * time.Second        // for one way to say whether it is open
)

// New makes a platform; nothing is touched yet.
func New(opts Options) *Platform {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Kernel == nil {
		opts.Kernel = Host{}
	}
	if opts.Ways == nil {
		opts.Ways = []Way{Logind{}, Systemctl{}, bySystemCall{opts.Kernel}}
	}
	if opts.Sys == nil {
		opts.Sys = os.DirFS("/sys")
	}
	return &Platform{opts: opts}
}

// Name implements [system.Platform].
func (*Platform) Name() string { return "linux" }

// Now implements [system.Clock]: the wall clock, and the one that counts suspend and never jumps.
func (*Platform) Now() (wire.UnixMicros, wire.MonoMicros) { return wire.Now() }

// SetClock implements [system.Platform]. A clock that is wrong by less than half a second is slewed, which takes up to
// a quarter of an hour and never lets it go back; else it is stepped.
func (p *Platform) SetClock(at wire.UnixMicros) error {
	now, _ := p.Now()
	by := wire.Micros(at - now).Duration()
	how, err := "slew", error(nil)
	if by.Abs() < longestSlew {
		err = p.opts.Kernel.Slew(by)
	} else {
		how, err = "step", p.opts.Kernel.Step(at.Time())
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return wire.Errorf(wire.CodeUnsupported, "this daemon may not set the clock; it needs the capability CAP_SYS_TIME")
	case err != nil:
		return fmt.Errorf("%s the clock by %v: %w", how, by, err)
	}
	p.opts.Log.Info("clock set", "how", how, "by", by)
	return nil
}

// Can implements [system.Bounded].
func (p *Platform) Can(ctx context.Context, op string) error {
	switch op {
	case system.OpSetClock:
		if !p.opts.Kernel.May(capSysTime) {
			return wire.Errorf(wire.CodeUnsupported, "this daemon may not set the clock; it needs the capability CAP_SYS_TIME")
		}
	case system.OpReboot:
		return p.canGoDown(ctx)
	}
	return nil
}

// canGoDown gives nil when one of the ways is open, and else why none is.
func (p *Platform) canGoDown(ctx context.Context) error {
	var closed []error
	for _, way := range p.opts.Ways {
		err := within(ctx, askBudget, way.Can)
		if err == nil {
			return nil
		}
		if held, ok := errors.AsType[*HeldError](err); ok {
			return wire.Errorf(wire.CodeHeld, "%v", held)
		}
		closed = append(closed, fmt.Errorf("%s: %w", way.Name(), err))
	}
	return wire.Errorf(wire.CodeUnsupported, "this daemon cannot take the device down: %v", oneLine(errors.Join(closed...)))
}

// GoDown implements [system.Platform]. It takes the first way that does not fail, and tells of each that does. A lock
// of somebody else ends it.
func (p *Platform) GoDown(ctx context.Context, mode wire.RebootMode, reason string) error {
	var failed []error
	for _, way := range p.opts.Ways {
		err := within(ctx, wayBudget, func(ctx context.Context) error { return way.GoDown(ctx, mode) })
		if err == nil {
			p.opts.Log.Info("on the way down", "by", way.Name(), "mode", string(mode), "why", reason)
			return p.awaitTheEnd(ctx)
		}
		p.opts.Log.Warn("way down failed", "by", way.Name(), "mode", string(mode), "error", err)
		failed = append(failed, fmt.Errorf("%s: %w", way.Name(), err))
		if _, ok := errors.AsType[*HeldError](err); ok || ctx.Err() != nil {
			break
		}
	}
	return oneLine(errors.Join(failed...))
}

// within gives one way its time.
func within(ctx context.Context, budget time.Duration, way func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	return way(ctx)
}

// awaitTheEnd waits until the device is down, which this process does not live to see, or is told to end.
func (p *Platform) awaitTheEnd(ctx context.Context) error {
	select {
	case <-p.opts.Leave:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// WakeLatency implements [system.Sleeper]: how long the deepest sleep that is allowed keeps a processor from its work.
func (p *Platform) WakeLatency() time.Duration { return wakeLatency(p.opts.Sys) }
