package linux

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Timer is a timer of the hardware that resets the device when it is not fed in time.
type Timer interface {
	Timeout() time.Duration // after which it resets the device
	Feed() error
	Disarm() error // has it reset nothing any more, where the hardware lets itself be disarmed
	Close() error  // leaves it as it is: without [Timer.Disarm] before, the device is reset when its time is over
}

// Watchdog feeds a timer for as long as the daemon does what it is there for: each time only after the bus has answered.
// So a device whose daemon hangs is reset, and so is one whose daemon has died and does not come back in time.
type Watchdog struct {
	timer Timer
	opts  WatchdogOptions
	every time.Duration
}

// WatchdogOptions are a Watchdog's surroundings. Look is required.
type WatchdogOptions struct {
	Look func(context.Context) error // asks the bus, as any client would; nil when it has answered
	Log  *slog.Logger
}

// NewWatchdog makes one for a timer that runs already. It looks four times in the timer's time, so that one answer that
// is late resets nothing.
func NewWatchdog(timer Timer, opts WatchdogOptions) *Watchdog {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Watchdog{timer: timer, opts: opts, every: max(timer.Timeout()/4, 100*time.Millisecond)}
}

// Run looks and feeds until ctx is done, and leaves the timer running: see [Watchdog.End].
func (w *Watchdog) Run(ctx context.Context) error {
	ticker := time.NewTicker(w.every)
	defer ticker.Stop()
	fed, told := time.Now(), false
	for {
		err := w.feed(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && told:
			w.opts.Log.Info("watchdog fed again", "after", time.Since(fed))
		case err != nil && !told:
			w.opts.Log.Error("watchdog not fed; the device is reset if that lasts", "left", w.timer.Timeout()-time.Since(fed), "error", err)
		}
		if told = err != nil; !told {
			fed = time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// feed feeds the timer if the bus answers.
func (w *Watchdog) feed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.every)
	defer cancel()
	if err := w.opts.Look(ctx); err != nil {
		return err
	}
	return w.timer.Feed()
}

// End lets go of the timer, after Run has returned. An orderly end disarms it; after any other it runs on, and resets the
// device unless another daemon feeds it in time.
func (w *Watchdog) End(orderly bool) error {
	var disarming error
	if orderly {
		disarming = w.timer.Disarm()
	} else {
		w.opts.Log.Error("watchdog left running; the device is reset unless another daemon feeds it", "within", w.timer.Timeout())
	}
	return errors.Join(disarming, w.timer.Close())
}
