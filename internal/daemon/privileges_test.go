package daemon

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"muster/internal/demote"
	"muster/system/boot"
	"muster/wire"
)

// TestDemotion does not let the device go on before the privileges are dropped, and says what it is that was not.
func TestDemotion(t *testing.T) {
	var fault error
	calls := 0
	d := &demotion{
		account: demote.Account{Name: "muster", UID: 999}, keep: demote.SysTime, log: slog.New(slog.DiscardHandler),
		drop: func(a demote.Account, keep demote.Set) (demote.Set, error) {
			if calls++; a.UID != 999 || keep != demote.SysTime {
				t.Errorf("dropped to %+v with %v", a, keep)
			}
			return keep, fault
		},
		passed: make(chan struct{}, 1), done: make(chan struct{}),
	}
	ask := func(dry bool) wire.Answer {
		return d.ask(t.Context(), wire.Question{To: wire.Initialized, DryRun: dry})
	}
	if a := ask(true); a.Answer != wire.Accept || calls != 0 {
		t.Errorf("a dry run: %+v, and %d drops", a, calls)
	}
	fault = errors.Join(errors.New("not permitted"), errors.New(strings.Repeat("thread 7 has CapEff ff; ", wire.MaxText)))
	a := ask(false)
	if a.Answer != wire.Defer || len(a.Reason) != wire.MaxText ||
		!strings.HasPrefix(a.Reason, "the daemon is still more than the user muster: not permitted; thread 7 has CapEff") {
		t.Errorf("not dropped: %+v", a)
	}
	fault = nil
	for range 2 { // the second is of another round
		if a := ask(false); a.Answer != wire.Accept || calls != 2 {
			t.Errorf("it holds, or was dropped again: %+v, and %d drops", a, calls)
		}
	}
	d.entered(wire.PrePrivDrop)
	d.entered(wire.Initialized)
	d.entered(wire.Initialized)
	if err := d.Run(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestDemotionPassedOver ends a daemon that was led past the drop.
func TestDemotionPassedOver(t *testing.T) {
	d := &demotion{account: demote.Account{Name: "muster"}, passed: make(chan struct{}, 1), done: make(chan struct{})}
	d.entered(wire.Initialized)
	if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "not the user muster yet; it does not go on as root") {
		t.Errorf("it ends with %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Run(ctx); err != nil {
		t.Error(err)
	}
}

// plate says a serial as often as it may.
type plate struct{ left int }

func (p *plate) Serial() (boot.Serial, error) {
	if p.left--; p.left < 0 {
		return boot.Serial{}, errors.New("permission denied")
	}
	return boot.Serial{Value: "SN-0815", From: "dmi"}, nil
}

// TestDemotionSerial reads the serial before the drop, and later only what could not be read by then.
func TestDemotionSerial(t *testing.T) {
	for _, c := range []struct {
		d        *demotion
		left     int
		readable bool
	}{{nil, 0, false}, {nil, 1, true}, {&demotion{}, 0, false}, {&demotion{}, 1, true}} {
		source := c.d.serial(&plate{left: c.left})
		if got, err := source.Serial(); (err == nil) != c.readable || c.readable && got.Value != "SN-0815" {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}

// TestPrivilegesConfig says which user will do, and who keeps what.
func TestPrivilegesConfig(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*Config)
		fault  string
	}{
		"nobody named":    {change: func(*Config) {}},
		"a user":          {change: func(c *Config) { c.User = "nobody" }},
		"root":            {change: func(c *Config) { c.User = "root" }, fault: `user: the user "root" is root; one that may do less would be right`},
		"no user":         {change: func(c *Config) { c.User = "no-such-user" }, fault: `user: there is no user "no-such-user" on this device`},
		"a group alone":   {change: func(c *Config) { c.Group = "daemon" }, fault: `group is "daemon", and user is not set`},
		"no way":          {change: func(c *Config) { c.RebootBy = nil }, fault: "reboot_by is empty; one of logind, systemctl, syscall"},
		"no such way":     {change: func(c *Config) { c.RebootBy = []string{"kexec"} }, fault: `reboot_by[0] is "kexec"; logind, systemctl, syscall would be right`},
		"the way, twice":  {change: func(c *Config) { c.RebootBy = []string{"logind", "logind"} }, fault: `reboot_by[1] is "logind" for the second time`},
		"the other order": {change: func(c *Config) { c.RebootBy = []string{"syscall", "logind"} }},
	} {
		config := DefaultConfig()
		c.change(&config)
		err := config.Check()
		if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: %v, want %q", what, err, c.fault)
		}
	}
	for _, c := range []struct {
		platform string
		ways     []string
		want     demote.Set
	}{
		{platformSim, []string{"syscall"}, 0},
		{platformLinux, []string{"logind", "systemctl"}, demote.SysTime},
		{platformLinux, []string{"logind", "syscall"}, demote.SysTime | demote.SysBoot},
	} {
		if got := (Config{Platform: c.platform, RebootBy: c.ways}).keeps(); got != c.want {
			t.Errorf("on %s, down by %v, it keeps %v; want %v", c.platform, c.ways, got, c.want)
		}
	}
}
