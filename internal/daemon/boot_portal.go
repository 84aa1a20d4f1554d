package daemon

import (
	"fmt"
	"net/url"
	"time"

	"muster/system/boot"
)

// Portal is how captive portals are looked for.
type Portal struct {
	Mode     string   `toml:"mode"`      // off or observe
	HTTP     string   `toml:"http"`      // a URL that is looked at before the time is known and after; "" means none
	HTTPS    string   `toml:"https"`     // one that is looked at after; "" means none
	Status   int      `toml:"status"`    // that both have to answer
	Body     string   `toml:"body"`      // with which the answers have to begin
	Patience Duration `toml:"patience"`  // after which the device goes on all the same; 0 means never
	FallBack bool     `toml:"fall_back"` // to CPD_PRE_TIME when a portal appears
}

const longestStart = 1024 // bytes of the beginning of a body

func (p Portal) check() error {
	if p.Mode != modeOff && p.Mode != modeObserve {
		return fmt.Errorf("portal.mode is %q; off or observe would be right", p.Mode)
	}
	for scheme, text := range map[string]string{"http": p.HTTP, "https": p.HTTPS} {
		u, err := url.Parse(text)
		if text != "" && (err != nil || u.Scheme != scheme || u.Host == "" || u.User != nil) {
			return fmt.Errorf("portal.%s is %q; a URL such as %s://check.example.net/204, without a user, would be right", scheme, text, scheme)
		}
	}
	switch {
	case p.Status < 200 || p.Status > 299:
		return fmt.Errorf("portal.status is %d; 200 to 299 would be right", p.Status)
	case len(p.Body) > longestStart:
		return fmt.Errorf("portal.body has %d bytes; at most %d would be right", len(p.Body), longestStart)
	case p.Body != "" && p.Status == 204:
		return fmt.Errorf("portal.body is %q, and an answer 204 has none; portal.status = 200 would be right", p.Body)
	case p.Mode != modeOff && p.HTTP == "" && p.HTTPS == "":
		return fmt.Errorf("portal.mode is %q, and nothing says where to look; portal.http = \"http://check.example.net/204\", an address of yours, "+
			"would be right", p.Mode)
	}
	return nil
}

// portalSettings explain [Portal].
var portalSettings = []Setting{
	{
		Key: "portal.mode",
		Meaning: `What CPD_PRE_TIME and CPD_POST_TIME wait for: "off", nothing; "observe", until no captive portal stands between the device and ` +
			"the internet, which is found out by what portal.http and, when the time is known, portal.https answer.",
	},
	{
		Key: "portal.http", Default: "none; there has to be one of the two where the mode is not off",
		Meaning: "What is looked at over HTTP before CPD_PRE_TIME and CPD_POST_TIME: a URL of a server of your own.",
	},
	{
		Key: "portal.https", Default: "none",
		Meaning: "What is looked at over HTTPS before CPD_POST_TIME, when certificates can be checked: a URL.",
	},
	{
		Key:     "portal.status",
		Meaning: "The status that both answer when nothing is in the way: 200 to 299. Any other means a portal; 5xx but 511, a server that is broken.",
	},
	{
		Key: "portal.body", Default: "any",
		Meaning: fmt.Sprintf("How the text that both answer begins when nothing is in the way: at most %d bytes.", longestStart),
	},
	{
		Key:     "portal.patience",
		Meaning: `After how long the device goes on with a portal, or without the internet: a duration; "0s" means never.`,
	},
	{
		Key:     "portal.fall_back",
		Meaning: "Whether the device falls back to CPD_PRE_TIME when a portal appears later: true or false. It is told on sys.network.portal either way.",
	},
}

// addPortal has captive portals looked for. It gives what is to be told when the gateway changes, nil if nothing is.
func (d *Daemon) addPortal() *boot.Portal {
	c := d.config.Portal
	if c.Mode == modeOff {
		return nil
	}
	opts := boot.PortalOptions{
		HTTP: c.HTTP, HTTPS: c.HTTPS, Probe: boot.HTTPProbe{Status: c.Status, Body: c.Body}, Gate: d.machine, Teller: d.bus,
		Patience: time.Duration(c.Patience), Log: d.opts.Log,
	}
	if c.FallBack {
		opts.FallBack = d.machine
	}
	portal := boot.NewPortal(opts)
	d.operations.Portal = portal.Look
	d.parts = append(d.parts, portal)
	return portal
}
