package daemon

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"muster/internal/durable"
	"muster/system/boot"
	"muster/wire"
)

// Scripts are notifiers that are programs in a folder.
type Scripts struct {
	Dir     string   `toml:"dir"`     // "" means none
	Timeout Duration `toml:"timeout"` // for an answer
	Retry   Duration `toml:"retry"`   // after which one that defers is asked again
}

// Updates are programs in a folder that run once for each version of the firmware.
type Updates struct {
	Dir      string   `toml:"dir"`      // "" means none
	Version  string   `toml:"version"`  // "" means what the blob device-fw-version says
	Timeout  Duration `toml:"timeout"`  // for one of them
	Retry    Duration `toml:"retry"`    // after which one that failed is tried again
	Patience Duration `toml:"patience"` // after which the device goes on without them; 0 means never
}

// Stdin is how long standard input is waited for, where there is something to read; see [Options].
type Stdin struct {
	Patience Duration `toml:"patience"` // after which the device goes on without; 0 means never
}

// Input is something to read into a blob before COLLECTING_STDIN.
type Input struct {
	From io.Reader
	Into wire.BlobKey
}

// Network is how the network comes to count as there.
type Network struct {
	Mode       string   `toml:"mode"`       // off or observe
	Interfaces []string `toml:"interfaces"` // that will do; none means any but the loopback interface
	Patience   Duration `toml:"patience"`   // in each state, after which the device goes on without; 0 means never
	FallBack   bool     `toml:"fall_back"`  // to IFACE_COLDPLUG when the network is lost
	Settle     Duration `toml:"settle"`     // for which it has to be lost before that
}

// The modes of built-in notifiers.
const (
	modeOff     = "off"
	modeObserve = "observe"
)

// checkBoot holds what is said of the built-in notifiers against what it may be.
func (c Config) checkBoot() error {
	if mode := c.Network.Mode; mode != modeOff && mode != modeObserve {
		return fmt.Errorf("network.mode is %q; off or observe would be right", mode)
	}
	if err := c.Portal.check(); err != nil {
		return err
	}
	if err := c.Clock.check(); err != nil {
		return err
	}
	for i, name := range c.Network.Interfaces {
		if name == "" || len(name) > 15 || strings.ContainsAny(name, "/ \t\n") {
			return fmt.Errorf("network.interfaces[%d] is %q; the name of an interface such as eth0 would be right", i, name)
		}
	}
	for key, dir := range map[string]string{"scripts.dir": c.Scripts.Dir, "updates.dir": c.Updates.Dir} {
		if dir != "" && !filepath.IsAbs(dir) {
			return fmt.Errorf("%s is %q; an absolute path would be right", key, dir)
		}
	}
	for _, s := range []struct {
		key         string
		value       Duration
		least, most time.Duration
	}{
		{"network.settle", c.Network.Settle, 10 * time.Millisecond, time.Hour},
		{"scripts.timeout", c.Scripts.Timeout, 10 * time.Millisecond, 10 * time.Minute},
		{"scripts.retry", c.Scripts.Retry, 10 * time.Millisecond, time.Hour},
		{"updates.timeout", c.Updates.Timeout, 10 * time.Millisecond, 24 * time.Hour},
		{"updates.retry", c.Updates.Retry, 10 * time.Millisecond, 24 * time.Hour},
	} {
		if d := time.Duration(s.value); d < s.least || d > s.most {
			return fmt.Errorf("%s is %v; %v to %v would be right", s.key, d, s.least, s.most)
		}
	}
	if err := c.Policy.check(); err != nil {
		return err
	}
	if err := c.checkIdentity(); err != nil {
		return err
	}
	return c.checkTokens()
}

// addParts makes the built-in notifiers that are turned on, and has the machine ask them.
func (d *Daemon) addParts(ctx context.Context) error {
	if in := d.opts.Stdin; in != nil {
		d.parts = append(d.parts, boot.NewStdin(in.From, in.Into, boot.StdinOptions{
			Store: d.blobs, Gate: d.machine, Patience: time.Duration(d.config.Stdin.Patience), Log: d.opts.Log,
		}))
	}
	if d.demotion != nil {
		d.parts = append(d.parts, d.demotion)
	}
	d.addNetwork(d.addPortal())
	d.addClock()
	if err := d.addPolicy(); err != nil {
		return err
	}
	d.addIdentity()
	d.addTokens()
	if err := d.addScripts(); err != nil {
		return err
	}
	if err := d.addUpdates(ctx); err != nil {
		return err
	}
	for _, part := range d.parts {
		if err := d.machine.Add(part.Notifier()); err != nil {
			return err
		}
	}
	return nil
}

// addNetwork has interfaces, addresses and routes observed, and the portal, if there is one, told of other gateways.
func (d *Daemon) addNetwork(portal *boot.Portal) {
	c := d.config.Network
	if c.Mode == modeOff {
		return
	}
	opts := boot.NetworkOptions{
		Source: boot.Netlink{}, Gate: d.machine, Teller: d.bus, Settle: time.Duration(c.Settle), Interfaces: c.Interfaces,
		Patience: time.Duration(c.Patience), Log: d.opts.Log,
	}
	if c.FallBack {
		opts.FallBack = d.machine
	}
	if portal != nil {
		opts.Rerouted = portal.Rerouted
	}
	d.parts = append(d.parts, boot.NewNetwork(opts))
}

// addScripts reads the folder of scripts.
func (d *Daemon) addScripts() error {
	c := d.config.Scripts
	if c.Dir == "" {
		return nil
	}
	scripts, ignored, err := boot.Scripts(c.Dir, boot.ScriptOptions{
		Timeout: time.Duration(c.Timeout), Retry: time.Duration(c.Retry), Env: d.scriptEnv(),
	})
	if err != nil {
		return fmt.Errorf("scripts.dir: %w", err)
	}
	if len(ignored) > 0 {
		d.opts.Log.Warn("files ignored whose names do not begin with two digits and a dash", "dir", c.Dir, "files", ignored)
	}
	for _, s := range scripts {
		d.parts = append(d.parts, s)
	}
	return nil
}

// addUpdates reads the folder of one-time updates.
func (d *Daemon) addUpdates(ctx context.Context) error {
	c := d.config.Updates
	if c.Dir == "" {
		return nil
	}
	records, err := durable.OpenDir(filepath.Join(d.config.Dir, "known"))
	if err != nil {
		return err
	}
	if c.Version == "" {
		version, err := d.blobs.Get(ctx, wire.Internal, wire.BlobRange{BlobKey: wire.BlobKey{Name: "device-fw-version"}})
		if err != nil {
			return err
		}
		c.Version = strings.TrimSpace(string(version.Data))
	}
	updates, err := boot.OpenUpdates(c.Dir, boot.UpdateOptions{
		Version: c.Version, Records: records, Gate: d.machine, Timeout: time.Duration(c.Timeout), Retry: time.Duration(c.Retry),
		Patience: time.Duration(c.Patience), Env: d.scriptEnv(), Log: d.opts.Log,
	})
	if err != nil {
		return fmt.Errorf("updates.dir: %w", err)
	}
	d.parts = append(d.parts, updates)
	return nil
}

// scriptEnv is what programs are told, so that the muster command finds this daemon.
func (d *Daemon) scriptEnv() []string { return []string{"MUSTER_DIR=" + d.config.Dir} }
