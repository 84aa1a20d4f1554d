package boot

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"muster/system"
	"muster/wire"
)

// Clock observes whether the wall clock can be trusted, and holds TIME_VALID until it can. It sets nothing: it believes
// the kernel, systemd-timesyncd or chronyd that the clock is synchronised, unless it shows a time before this version was made.
// What becomes of it is told on sys.network.clock, and when it is lost later, the device can fall back.
type Clock struct {
	opts  ClockOptions
	stand clockStand
}

// ClockOptions are the surroundings of a Clock. Gate and Teller are required; other zero values work.
type ClockOptions struct {
	Source   ClockSource   // nil: [KernelClock]
	Gate     Gate          //
	Teller   Teller        //
	FallBack Wisher        // where the device is to fall back to CPD_PRE_TIME when the time is lost; nil: it stays
	Earliest time.Time     // before any time that can be right
	Patience time.Duration // after which the device goes on without the time; 0: never
	Log      *slog.Logger
}

// ClockSource knows of the wall clock of this machine.
type ClockSource interface {
	// Look tells how the clock stands now. It may block, and costs nobody but Run.
	Look() (ClockLook, error)
}

// ClockLook is what is known of the wall clock at one moment.
type ClockLook struct {
	Now       time.Time
	Kernel    bool // the kernel counts it as synchronised
	Timesyncd bool // systemd-timesyncd has synchronised it in this boot of the device
	Chrony    bool // chronyd says that it follows a source
}

// String puts it into words.
func (l ClockLook) String() string {
	switch {
	case l.Kernel:
		return "synchronised, says the kernel"
	case l.Timesyncd:
		return "synchronised, says systemd-timesyncd"
	case l.Chrony:
		return "synchronised, says chrony"
	}
	return "not synchronised, say the kernel, systemd-timesyncd and chrony"
}

// synchronised reports whether anybody says so.
func (l ClockLook) synchronised() bool { return l.Kernel || l.Timesyncd || l.Chrony }

const (
	lookSoon  = time.Second      // between two looks while the clock is not valid
	lookLater = 30 * time.Second // and while it is
)

// NewClock makes an observer of the wall clock.
func NewClock(opts ClockOptions) *Clock {
	if opts.Source == nil {
		opts.Source = KernelClock{}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Clock{opts: opts, stand: clockStand{
		gate: opts.Gate, teller: opts.Teller, log: opts.Log, state: clockUnknown,
		back: wayBack{wisher: opts.FallBack, to: wire.CPDPreTime, log: opts.Log},
		hold: holding{patience: patience{limit: opts.Patience}},
	}}
}

// Notifier implements [Part].
func (c *Clock) Notifier() system.Notifier {
	return c.stand.notifier("waits until the wall clock is synchronised, by whomever")
}

// Run implements [Part].
func (c *Clock) Run(ctx context.Context) error {
	for {
		wait := lookSoon
		if c.look(ctx) {
			wait = lookLater
		}
		if !pause(ctx, wait) {
			return nil
		}
	}
}

// look looks at the clock and reports whether it is valid.
func (c *Clock) look(ctx context.Context) bool {
	state, why := c.judge(c.opts.Source.Look())
	c.stand.become(ctx, state, why)
	return state == clockValid
}

// judge says whether a clock that looks like that is valid, and why.
func (c *Clock) judge(look ClockLook, err error) (state, why string) {
	switch {
	case err != nil:
		return clockInvalid, withWords("the clock cannot be looked at", err.Error())
	case look.Now.Before(c.opts.Earliest):
		return clockInvalid, fmt.Sprintf("the clock shows %s, before this version was made (%s),",
			look.Now.UTC().Format(time.RFC3339), c.opts.Earliest.UTC().Format(time.RFC3339))
	case look.synchronised():
		return clockValid, look.String()
	}
	return clockInvalid, "the clock is " + look.String() + ","
}
