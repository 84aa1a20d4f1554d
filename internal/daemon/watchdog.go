package daemon

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"muster/system/linux"
)

// Watchdog is the timer of the hardware that resets the device when the daemon does not feed it.
type Watchdog struct {
	Device  string   `toml:"device"`  // "" means none
	Timeout Duration `toml:"timeout"` // in whole seconds
}

// The bounds of the watchdog's timeout.
const (
	minWatchdog = 5 * time.Second
	maxWatchdog = 10 * time.Minute
)

// checkWatchdog holds what is said of the watchdog against what it may be.
func (c Config) checkWatchdog() error {
	timeout := time.Duration(c.Watchdog.Timeout)
	switch {
	case timeout < minWatchdog || timeout > maxWatchdog || timeout%time.Second != 0:
		return fmt.Errorf("watchdog.timeout is %v; whole seconds from %v to %v would be right", timeout, minWatchdog, maxWatchdog)
	case c.Watchdog.Device == "":
	case !filepath.IsAbs(c.Watchdog.Device):
		return fmt.Errorf("watchdog.device is %q; an absolute path such as /dev/watchdog would be right", c.Watchdog.Device)
	case c.Platform != platformLinux:
		return fmt.Errorf("watchdog.device is %q, and platform is %q, which never touches the host; linux would be right", c.Watchdog.Device, c.Platform)
	}
	return nil
}

// arm has the configured timer run. A device without one goes on, and hangs when it hangs.
func (d *Daemon) arm() {
	c, timer := d.config.Watchdog, d.opts.Timer
	if timer == nil && c.Device == "" {
		return
	}
	if timer == nil {
		var err error
		if timer, err = linux.OpenTimer(c.Device, time.Duration(c.Timeout), d.demotion.open); err != nil {
			d.opts.Log.Error("no watchdog; nothing resets a device that hangs", "device", c.Device, "error", err)
			return
		}
	}
	d.opts.Log.Info("watchdog runs", "device", c.Device, "timeout", timer.Timeout())
	d.watchdog = linux.NewWatchdog(timer, linux.WatchdogOptions{
		Look: func(ctx context.Context) error {
			_, err := d.look(ctx)
			return err
		},
		Log: d.opts.Log,
	})
}

// disarm lets go of the watchdog at the end. That is orderly when the system has reached its last state, and when the daemon
// could not begin to serve, which it says why.
func (d *Daemon) disarm() error {
	if d.watchdog == nil {
		return nil
	}
	orderly := !d.served
	select {
	case <-d.machine.Over():
		orderly = true
	default:
	}
	if err := d.watchdog.End(orderly); err != nil {
		return fmt.Errorf("let go of the watchdog: %w", err)
	}
	return nil
}
