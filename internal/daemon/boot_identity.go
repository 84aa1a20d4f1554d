package daemon

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"muster/internal/version"
	"muster/system/boot"
	"muster/system/boot/policy"
	"muster/wire"
)

// Identity is how the device comes to its serial.
type Identity struct {
	From     []string `toml:"from"`     // where it is looked for, in that order; none means that it is not
	Serial   string   `toml:"serial"`   // the configured one
	Patience Duration `toml:"patience"` // after which the device goes on without one; 0 means never
}

// Enrol is how the device comes to its certificate.
type Enrol struct {
	Mode     string   `toml:"mode"`      // off, https or script
	URL      string   `toml:"url"`       // "" means what the policy says
	CAFile   string   `toml:"ca_file"`   // "" means the authorities of the system
	Auth     string   `toml:"auth"`      // bearer or basic: what the registration token is
	Program  string   `toml:"program"`   //
	Timeout  Duration `toml:"timeout"`   // for one signature
	Patience Duration `toml:"patience"`  // after which the device goes on without one; 0 means never
	FallBack bool     `toml:"fall_back"` // to POLICY_VALID when it expires
}

// More modes, and what a registration token can be.
const (
	modeHTTPS  = "https"
	modeScript = "script"
	authBearer = "bearer"
	authBasic  = "basic"
)

// identitySettings explain [Identity] and [Enrol].
var identitySettings = []Setting{
	{
		Key: "identity.from", Default: "none: the blob device-serial stays as it is, and REGISTERED does not wait for it",
		Meaning: `Where the serial of the device is looked for, in that order, while the blob device-serial is empty: "configured", "device-tree", ` +
			`"dmi" or "machine-id", of which a serial is derived that does not tell it. What was found once stays.`,
	},
	{
		Key: "identity.serial", Default: "none",
		Meaning: `The serial of "configured": 1 to 64 of A-Z a-z 0-9 _ -.`,
	},
	{
		Key:     "identity.patience",
		Meaning: `After how long the device goes on without a serial: a duration; "0s" means never.`,
	},
	{
		Key: "enrol.mode",
		Meaning: `How the device has its certificate signed, for which REGISTERED then waits: "off", not at all; "https", by an EST server (RFC 7030), or ` +
			`one that answers the same with PEM; "script", by a program.`,
	},
	{
		Key: "enrol.url", Default: "enrol_url of the policy",
		Meaning: `For "https": where the request is posted, such as "https://ca.example.com/.well-known/est/simpleenroll".`,
	},
	{
		Key: "enrol.ca_file", Default: "the authorities that the system trusts",
		Meaning: "The authorities that the server may be signed by: an absolute path of a file in PEM.",
	},
	{
		Key: "enrol.auth",
		Meaning: `What the registration token in the blob auth.0 is, which is shown as long as there is no valid certificate: "bearer", a token; "basic", ` +
			"a user and a password with a colon between.",
	},
	{
		Key: "enrol.program", Default: "none",
		Meaning: `For "script": the absolute path of a program that reads the request as PEM and writes the certificate. Nobody but root and the ` +
			"daemon's own user may be able to change it.",
	},
	{
		Key:     "enrol.timeout",
		Meaning: "How long one signature may take: a duration.",
	},
	{
		Key:     "enrol.patience",
		Meaning: `After how long the device goes on without a certificate: a duration; "0s" means never.`,
	},
	{
		Key: "enrol.fall_back",
		Meaning: "Whether the device falls back to POLICY_VALID when its certificate expires: true or false. It is told on sys.network.certificate " +
			"either way.",
	},
}

// checkIdentity holds the settings against what they may be.
func (c Config) checkIdentity() error {
	for i, kind := range c.Identity.From {
		if !slices.Contains(boot.SerialKinds, kind) {
			return fmt.Errorf("identity.from[%d] is %q; %s would be right", i, kind, strings.Join(boot.SerialKinds, ", "))
		}
		if slices.Contains(c.Identity.From[:i], kind) {
			return fmt.Errorf("identity.from has %q twice", kind)
		}
	}
	if configured := slices.Contains(c.Identity.From, boot.SerialKinds[0]); configured {
		if err := wire.CheckName("device", c.Identity.Serial); err != nil {
			return fmt.Errorf("identity.serial: %w", err)
		}
	} else if c.Identity.Serial != "" {
		return fmt.Errorf("identity.serial is %q, and identity.from has no %q in it", c.Identity.Serial, boot.SerialKinds[0])
	}
	e := c.Enrol
	switch {
	case e.Mode != modeOff && e.Mode != modeHTTPS && e.Mode != modeScript:
		return fmt.Errorf("enrol.mode is %q; off, https or script would be right", e.Mode)
	case e.Mode == modeScript && !filepath.IsAbs(e.Program):
		return fmt.Errorf("enrol.program is %q; an absolute path would be right", e.Program)
	case e.CAFile != "" && !filepath.IsAbs(e.CAFile):
		return fmt.Errorf("enrol.ca_file is %q; an absolute path would be right", e.CAFile)
	case e.Auth != authBearer && e.Auth != authBasic:
		return fmt.Errorf("enrol.auth is %q; bearer or basic would be right", e.Auth)
	case time.Duration(e.Timeout) < time.Second || time.Duration(e.Timeout) > 10*time.Minute:
		return fmt.Errorf("enrol.timeout is %v; 1s to 10m0s would be right", time.Duration(e.Timeout))
	}
	return c.checkServer("enrol.url", e.Mode == modeHTTPS, e.URL)
}

// checkServer holds the URL of a server against what it may be. None will do where there is a policy that may say it.
func (c Config) checkServer(key string, needed bool, text string) error {
	if text == "" && (!needed || c.Policy.File != "") {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fmt.Errorf("%s is %q; one such as https://example.com/x, without a user, would be right", key, text)
	}
	return nil
}

// addIdentity has the device find out its serial, and have its certificate signed.
func (d *Daemon) addIdentity() {
	if c := d.config.Identity; len(c.From) > 0 {
		d.parts = append(d.parts, boot.NewIdentity(boot.IdentityOptions{
			Source: d.demotion.serial(boot.HostSerial{From: c.From, Configured: c.Serial}), Blobs: d.blobs, Gate: d.machine, Teller: d.bus,
			Patience: time.Duration(c.Patience), Log: d.opts.Log,
		}))
	}
	c := d.config.Enrol
	if c.Mode == modeOff {
		return
	}
	opts := boot.EnrolOptions{
		Blobs: d.blobs, Gate: d.machine, Teller: d.bus, Backoff: d.policy.Backoff, Earliest: version.Made(), Timeout: time.Duration(c.Timeout),
		Patience: time.Duration(c.Patience), Log: d.opts.Log,
	}
	if c.Mode == modeScript {
		opts.Authority = boot.Signer{Path: c.Program, Env: d.scriptEnv()}
	} else {
		opts.Authority = boot.EST{
			HTTPS: boot.HTTPS{CAFile: c.CAFile}, Blobs: d.blobs, Basic: c.Auth == authBasic,
			URL: d.server(c.URL, func(p *policy.Document) string { return p.EnrolURL }),
		}
	}
	if c.FallBack {
		opts.FallBack = d.machine
	}
	d.parts = append(d.parts, boot.NewEnrolment(opts))
}

// server gives the URL that is configured, or else what the policy in force says.
func (d *Daemon) server(configured string, of func(*policy.Document) string) func() string {
	return func() string {
		if configured != "" || d.policy == nil {
			return configured
		}
		if document := d.policy.InForce(); document != nil {
			return of(document)
		}
		return ""
	}
}
