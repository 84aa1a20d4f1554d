package daemon

import (
	"fmt"
	"path/filepath"
	"time"

	"muster/system/boot"
)

// Scripts are notifiers that are programs in a folder.
type Scripts struct {
	Dir     string   `toml:"dir"`     // "" means none
	Timeout Duration `toml:"timeout"` // for an answer
	Retry   Duration `toml:"retry"`   // after which one that defers is asked again
}

// checkBoot holds what is said of the built-in notifiers against what it may be.
func (c Config) checkBoot() error {
	for key, dir := range map[string]string{"scripts.dir": c.Scripts.Dir} {
		if dir != "" && !filepath.IsAbs(dir) {
			return fmt.Errorf("%s is %q; an absolute path would be right", key, dir)
		}
	}
	for _, s := range []struct {
		key         string
		value       Duration
		least, most time.Duration
	}{
		{"scripts.timeout", c.Scripts.Timeout, 10 * time.Millisecond, 10 * time.Minute},
		{"scripts.retry", c.Scripts.Retry, 10 * time.Millisecond, time.Hour},
	} {
		if d := time.Duration(s.value); d < s.least || d > s.most {
			return fmt.Errorf("%s is %v; %v to %v would be right", s.key, d, s.least, s.most)
		}
	}
	return nil
}

// addParts makes the built-in notifiers that are turned on, and has the machine ask them.
func (d *Daemon) addParts() error {
	if err := d.addScripts(); err != nil {
		return err
	}
	for _, part := range d.parts {
		if err := d.machine.Add(part.Notifier()); err != nil {
			return err
		}
	}
	return nil
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

// scriptEnv is what programs are told, so that the muster command finds this daemon.
func (d *Daemon) scriptEnv() []string { return []string{"MUSTER_DIR=" + d.config.Dir} }
