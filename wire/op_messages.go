package wire

// Ops answers op.list.
type Ops struct {
	Platform    string   `json:"platform"`        // as the configuration names it: sim
	Ops         []string `json:"ops"`             // what this platform can do, by the endpoint's verb
	WakeLatency Micros   `json:"wake_latency_us"` // how late it may wake from suspend; 0: that is not known
}

// SetClock sets the wall clock.
type SetClock struct {
	At     UnixMicros `json:"at_us" wire:"required"`
	Source string     `json:"source" wire:"required"` // where the time is from, for the log
}

// ClockSet answers op.set-clock.
type ClockSet struct {
	Before UnixMicros `json:"before_at_us"`
	After  UnixMicros `json:"after_at_us"`
}

// RebootMode says how the device goes down.
type RebootMode string

// The modes; the empty one is a reboot.
const (
	ModeReboot   RebootMode = "reboot"
	ModeHalt     RebootMode = "halt"
	ModePoweroff RebootMode = "poweroff"
)

// Reboot takes the device down through CONTEXT_DESTROYING.
type Reboot struct {
	Reason  string     `json:"reason" wire:"required"`
	Mode    RebootMode `json:"mode,omitempty"`
	Limit   Micros     `json:"limit_us,omitempty"`
	OnLimit OnLimit    `json:"on_limit,omitempty"`
	DryRun  bool       `json:"dry_run,omitempty"`
	Force   bool       `json:"force,omitempty"`
}

// CaptivePortal answers op.captive-portal.
type CaptivePortal struct {
	Result PortalResult `json:"result"`
	URL    string       `json:"url,omitempty"` // of the portal
}

// PortalResult says what stands between the device and the internet.
type PortalResult string

// The results.
const (
	PortalOK         PortalResult = "ok"
	PortalCaptive    PortalResult = "captive"
	PortalNoInternet PortalResult = "no-internet"
	PortalUnknown    PortalResult = "unknown"
)

// Check holds the values against the protocol's limits.
func (s SetClock) Check() error {
	if s.At <= 0 {
		return Malformed("at_us is %d; microseconds since 1970 would be right", s.At)
	}
	return checkText("source", s.Source)
}

// Check holds the values against the protocol's limits.
func (r Reboot) Check() error {
	switch r.Mode {
	case "", ModeReboot, ModeHalt, ModePoweroff:
	default:
		return Malformed("mode is %s; reboot, halt or poweroff would be right", quote(string(r.Mode)))
	}
	return r.Wish().Check()
}

// Wish is the wish for CONTEXT_DESTROYING that a reboot makes first.
func (r Reboot) Wish() StateWish {
	return StateWish{
		Target: ContextDestroying, Reason: r.Reason, Limit: r.Limit, OnLimit: r.OnLimit, DryRun: r.DryRun, Force: r.Force,
	}
}
