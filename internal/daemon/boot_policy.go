package daemon

import (
	"fmt"
	"path/filepath"
	"time"

	"muster/internal/durable"
	"muster/system/boot"
	"muster/system/boot/policy"
)

// Policy is where the policy of the device comes from.
type Policy struct {
	File     string   `toml:"file"`     // "" means none
	Patience Duration `toml:"patience"` // after which the device goes on without one; 0 means never
}

// check holds the settings against what they may be.
func (p Policy) check() error {
	if p.File == "" {
		return nil
	}
	if !filepath.IsAbs(p.File) {
		return fmt.Errorf("policy.file is %q; an absolute path would be right", p.File)
	}
	if _, err := policy.FormatOf(p.File); err != nil {
		return fmt.Errorf("policy.file: %w", err)
	}
	return nil
}

// policySettings explain [Policy].
var policySettings = []Setting{
	{
		Key: "policy.file", Default: "none",
		Meaning: `The policy of the device, such as "/etc/muster/policy.toml": TOML or JSON by the end of its name. POLICY_VALID waits until one is ` +
			"in force. It is read again when it changes, and on SIGHUP. Nobody but root and the daemon's own user may be able to change it.",
	},
	{
		Key:     "policy.patience",
		Meaning: `After how long the device goes on without a policy: a duration; "0s" means never.`,
	},
}

// addPolicy has the policy put in force.
func (d *Daemon) addPolicy() error {
	c := d.config.Policy
	if c.File == "" {
		return nil
	}
	records, err := durable.OpenDir(filepath.Join(d.config.Dir, "known"))
	if err != nil {
		return err
	}
	d.policyAgain = make(chan struct{}, 1)
	d.policy = boot.OpenPolicy(boot.PolicyOptions{
		Source: boot.PolicyFile{Path: c.File, Again: d.policyAgain}, Records: records, Blobs: d.blobs, Gate: d.machine,
		Wisher: d.machine, Teller: d.bus, Patience: time.Duration(c.Patience), Log: d.opts.Log,
	})
	d.parts = append(d.parts, d.policy)
	return nil
}

// readPolicyAgain has the policy read although it seems to be the same.
func (d *Daemon) readPolicyAgain() {
	select {
	case d.policyAgain <- struct{}{}:
	default: // there is none, or it is about to be read
	}
}
