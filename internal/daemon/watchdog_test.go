package daemon

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/system"
	"muster/system/linux"
)

// hourglass is a timer that tells when it is fed, and what becomes of it.
type hourglass struct {
	fed chan struct{}

	mu       sync.Mutex
	disarmed bool
	closed   bool
}

func (h *hourglass) Timeout() time.Duration { return 400 * time.Millisecond }

func (h *hourglass) Feed() error {
	select {
	case h.fed <- struct{}{}:
	default: // nobody counts
	}
	return nil
}

func (h *hourglass) Disarm() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disarmed = true
	return nil
}

func (h *hourglass) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	return nil
}

func (h *hourglass) is(t *testing.T, disarmed bool) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.disarmed != disarmed || !h.closed {
		t.Errorf("disarmed: %v, want %v; closed: %v", h.disarmed, disarmed, h.closed)
	}
}

// TestWatchdogFed feeds the timer while the bus answers, and disarms it at an orderly end.
func TestWatchdogFed(t *testing.T) {
	h := &hourglass{fed: make(chan struct{})}
	r := startWith(t, t.TempDir(), Options{Timer: h})
	for range 5 {
		select {
		case <-h.fed:
		case <-time.After(patience):
			t.Fatal("it is not fed")
		}
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	h.is(t, true)
}

// TestWatchdogLeft leaves the timer of a daemon running that dies while it serves. That one does not come to serve is no
// reason to reset the device.
func TestWatchdogLeft(t *testing.T) {
	for _, served := range []bool{true, false} {
		h := &hourglass{}
		d := &Daemon{served: served, machine: system.NewMachine(system.Options{Boot: "1-test", Clock: &system.Sim{}})}
		d.watchdog = linux.NewWatchdog(h, linux.WatchdogOptions{Look: func(context.Context) error { return errors.New("dead") }})
		if err := d.disarm(); err != nil {
			t.Error(err)
		}
		h.is(t, !served)
	}
}

// TestWatchdogConfig says which timer will do, and has a device without it go on.
func TestWatchdogConfig(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*Config)
		fault  string
	}{
		"none":     {change: func(*Config) {}},
		"one":      {change: func(c *Config) { c.Platform, c.Watchdog.Device = platformLinux, "/dev/watchdog0" }},
		"too soon": {change: func(c *Config) { c.Watchdog.Timeout = Duration(time.Second) }, fault: "watchdog.timeout is 1s; whole seconds from 5s to 10m0s"},
		"too late": {change: func(c *Config) { c.Watchdog.Timeout = Duration(time.Hour) }, fault: "watchdog.timeout is 1h0m0s"},
		"a part":   {change: func(c *Config) { c.Watchdog.Timeout = Duration(5500 * time.Millisecond) }, fault: "watchdog.timeout is 5.5s"},
		"a name":   {change: func(c *Config) { c.Platform, c.Watchdog.Device = platformLinux, "watchdog" }, fault: `watchdog.device is "watchdog"; an absolute path`},
		"on sim":   {change: func(c *Config) { c.Watchdog.Device = "/dev/watchdog" }, fault: `watchdog.device is "/dev/watchdog", and platform is "sim"`},
	} {
		config := DefaultConfig()
		c.change(&config)
		err := config.Check()
		if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: %v, want %q", what, err, c.fault)
		}
	}
	log := &logged{}
	d := &Daemon{opts: Options{Log: slog.New(slog.NewTextHandler(log, nil))}}
	d.config.Watchdog = Watchdog{Device: "/dev/null", Timeout: Duration(time.Minute)}
	d.arm()
	if lines := log.lines("no watchdog; nothing resets a device that hangs", "/dev/null is no watchdog"); d.watchdog != nil || len(lines) != 1 {
		t.Errorf("there is a watchdog, or the log does not say that there is none")
	}
}
