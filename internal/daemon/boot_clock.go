package daemon

import (
	"fmt"
	"time"

	"muster/internal/version"
	"muster/system/boot"
)

// Clock is how the wall clock comes to count as valid.
type Clock struct {
	Mode     string   `toml:"mode"`      // off, observe or manage
	Patience Duration `toml:"patience"`  // after which the device goes on without the time; 0 means never
	FallBack bool     `toml:"fall_back"` // to CPD_PRE_TIME when the time is lost
}

// modeManage is the mode of a notifier that does itself what it waits for.
const modeManage = "manage"

func (c Clock) check() error {
	if c.Mode != modeOff && c.Mode != modeObserve && c.Mode != modeManage {
		return fmt.Errorf("clock.mode is %q; off, observe or manage would be right", c.Mode)
	}
	return nil
}

// addClock has the wall clock observed, or set.
func (d *Daemon) addClock() {
	c := d.config.Clock
	var fallBack boot.Wisher
	if c.FallBack {
		fallBack = d.machine
	}
	switch c.Mode {
	case modeObserve:
		d.parts = append(d.parts, boot.NewClock(boot.ClockOptions{
			Gate: d.machine, Teller: d.bus, FallBack: fallBack, Earliest: version.Made(), Patience: time.Duration(c.Patience),
			Log: d.opts.Log,
		}))
	case modeManage:
		d.parts = append(d.parts, boot.NewTimekeeper(boot.TimekeeperOptions{
			Clock: d.platform, Blobs: d.blobs, Gate: d.machine, Teller: d.bus, FallBack: fallBack, Earliest: version.Made(),
			Patience: time.Duration(c.Patience), Log: d.opts.Log,
		}))
	}
}
