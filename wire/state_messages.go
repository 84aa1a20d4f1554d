package wire

// Empty is a request or an answer without content.
type Empty struct{}

// StateEvent says that the system has entered a state: sys.state and sys.state.<STATE>.
type StateEvent struct {
	Stamp
	State  State  `json:"state"`
	Number int    `json:"number"`
	From   State  `json:"from"`
	ID     string `json:"id"`     // the transition that led here
	Goal   State  `json:"goal"`   // where the system is going
	Reason string `json:"reason"` // of the wish behind the transition
}

// Kind says what happened to a transition.
type Kind string

// The kinds of sys.transition.
const (
	KindProposed   Kind = "proposed"
	KindHeld       Kind = "held"
	KindResumed    Kind = "resumed"
	KindPaused     Kind = "paused"
	KindAborted    Kind = "aborted"
	KindExpired    Kind = "expired"
	KindOverridden Kind = "overridden"
	KindCommitted  Kind = "committed"
)

// Transition is the whole picture of a move from one state to the next, as sent with each turn that it takes.
type Transition struct {
	Stamp
	Kind       Kind         `json:"kind"`
	ID         string       `json:"id"` // <boot>.<number>; never used again
	From       State        `json:"from"`
	To         State        `json:"to"`
	Goal       State        `json:"goal"`
	Round      int          `json:"round"` // how often everybody was asked, from 1; 0 before that
	Reason     string       `json:"reason"`
	Started    MonoMicros   `json:"started_mono_us"`
	Limit      Micros       `json:"limit_us,omitempty"` // how long it may be held; 0 means no limit
	Holders    []Holder     `json:"holders"`
	Lost       []string     `json:"lost,omitempty"`       // notifiers that went away meanwhile
	Overridden []Overridden `json:"overridden,omitempty"` // who did not accept when it was committed all the same
	Flapping   bool         `json:"flapping,omitempty"`   // so many rounds that they are spaced
}

// Holder is who keeps a transition from its commit, and why.
type Holder struct {
	Notifier string     `json:"notifier"`
	Reason   string     `json:"reason"`
	Since    MonoMicros `json:"since_mono_us"`
	Retry    Micros     `json:"retry_us,omitempty"` // resolved by itself so long after its answer
}

// Overridden is a notifier that a commit did not wait for any longer.
type Overridden struct {
	Notifier string `json:"notifier"`
	How      How    `json:"how"`
}

// How says in which way a notifier did not accept.
type How string

// The ways.
const (
	HowDeferred     How = "deferred"
	HowNoAnswer     How = "no answer"
	HowNotConnected How = "not connected"
)

// The reasons that the daemon itself gives for a holder.
const (
	ReasonNoAnswer = string(HowNoAnswer)
	ReasonNotHere  = string(HowNotConnected)
	ReasonRejoin   = "rejoin"
)

// Paused says that the goal is not pursued for a while.
type Paused struct {
	Reason string     `json:"reason"`
	Until  MonoMicros `json:"until_mono_us"`
}

// StoreHealth says whether the kept events are stored.
type StoreHealth struct {
	OK     bool   `json:"ok"`
	Missed uint64 `json:"missed"` // events that are not in the store, so far
}

// StateView answers state.get.
type StateView struct {
	State      State       `json:"state"`
	Number     int         `json:"number"`
	Goal       State       `json:"goal"`
	Boot       string      `json:"boot"`
	DeviceBoot string      `json:"device_boot"` // the kernel's boot id
	Seq        uint64      `json:"seq"`         // of the last kept event that this answer knows of
	At         UnixMicros  `json:"at_us"`
	Mono       MonoMicros  `json:"mono_us"`
	Since      MonoMicros  `json:"since_mono_us"` // when the state was entered
	Transition *Transition `json:"transition,omitempty"`
	Paused     *Paused     `json:"paused,omitempty"`
	Store      StoreHealth `json:"store"`
	Protocol   int         `json:"protocol"`
	Version    string      `json:"version"`
}

// Protocol is the version of the protocol that this package speaks.
const Protocol = 1

// OnLimit says what becomes of a transition that is still held when its limit is over.
type OnLimit string

// The policies.
const (
	LimitAbort   OnLimit = "abort"
	LimitProceed OnLimit = "proceed"
)

// StateWish asks for a state.
type StateWish struct {
	Target   State   `json:"target" wire:"required"`
	Reason   string  `json:"reason" wire:"required"`
	Wait     Micros  `json:"wait_us,omitempty"`  // answer after so long at the latest; 0: as soon as it is held
	Limit    Micros  `json:"limit_us,omitempty"` // of each transition for this wish; 0: as configured
	OnLimit  OnLimit `json:"on_limit,omitempty"`
	FallBack bool    `json:"fall_back,omitempty"` // Target is an earlier boot state
	Own      bool    `json:"own,omitempty"`       // the stay ends with the caller's connection
	Force    bool    `json:"force,omitempty"`     // ask nobody
	DryRun   bool    `json:"dry_run,omitempty"`   // ask everybody, move nothing
}

// Outcome says how a wish stands.
type Outcome string

// The outcomes.
const (
	OutcomeReached Outcome = "reached"
	OutcomeHeld    Outcome = "held"
	OutcomePending Outcome = "pending"
	OutcomeAborted Outcome = "aborted"
	OutcomeExpired Outcome = "expired"
)

// StateOutcome answers state.request and op.reboot.
type StateOutcome struct {
	Request string   `json:"request"` // this wish
	ID      string   `json:"id"`      // the transition; "" when none was needed
	Outcome Outcome  `json:"outcome"`
	State   State    `json:"state"`
	Holders []Holder `json:"holders"`
}

// Resume lets go of a transition.
type Resume struct {
	Notifier string `json:"-" path:"notifier"`
	ID       string `json:"id,omitempty"` // the transition meant; "" means the one that is held
}

// Resumed answers state.resume.
type Resumed struct {
	Outcome ResumeOutcome `json:"outcome"`
}

// ResumeOutcome says whether there was anything to let go of.
type ResumeOutcome string

// What a resume can come to.
const (
	ResumeDone       ResumeOutcome = "resumed"
	ResumeNotHolding ResumeOutcome = "not-holding"
)

// Abort ends the running transition.
type Abort struct {
	Reason string `json:"reason" wire:"required"`
	ID     string `json:"id,omitempty"` // only if this one is running
}

// Aborted answers state.abort.
type Aborted struct {
	State State `json:"state"`
}

// HistoryQuery asks for a timeline.
type HistoryQuery struct {
	Limit int    `json:"limit,omitempty"` // the most events to answer, the newest; 0: as many as fit
	Boot  string `json:"boot,omitempty"`  // "" means this one
}

// History answers state.history.
type History struct {
	Boots  []BootSummary `json:"boots"`  // newest first, this one included
	Events []Transition  `json:"events"` // oldest first
}

// BootSummary is a line about one run of the daemon.
type BootSummary struct {
	Boot        string     `json:"boot"`
	DeviceBoot  string     `json:"device_boot"`
	Started     UnixMicros `json:"started_at_us"`
	StartedMono MonoMicros `json:"started_mono_us"`
	Operational Micros     `json:"operational_us,omitempty"` // from the start to the first OPERATIONAL; 0 if it never was
	Last        State      `json:"last"`                     // the last state known
	Clean       bool       `json:"clean"`                    // it ended through CONTEXT_DESTROYING
}

// Check holds the values against the protocol's limits.
func (w StateWish) Check() error {
	switch {
	case w.Wait < 0 || w.Wait > MaxWait:
		return Malformed("wait_us is %d; 0 to %d would be right", w.Wait, int64(MaxWait))
	case w.Limit < 0:
		return Malformed("limit_us is %d; 0 or more would be right", w.Limit)
	case w.OnLimit != "" && w.OnLimit != LimitAbort && w.OnLimit != LimitProceed:
		return Malformed("on_limit is %s; abort or proceed would be right", quote(string(w.OnLimit)))
	}
	return checkText("reason", w.Reason)
}

// Check holds the reason against its limit.
func (a Abort) Check() error { return checkText("reason", a.Reason) }

// Check holds the values against the protocol's limits.
func (h HistoryQuery) Check() error {
	if h.Limit < 0 {
		return Malformed("limit is %d; 0 or more would be right", h.Limit)
	}
	return nil
}

// Limits of the protocol.
const (
	MaxWait        Micros = 300_000_000 // of a wish's answer: 5 min
	MinTimeout     Micros = 10_000      // of a notifier's answer
	MaxTimeout     Micros = 60_000_000
	DefaultTimeout Micros = 5_000_000
	MinRetry       Micros = 10_000 // of a deferral
	MaxRetry       Micros = 3_600_000_000
	MaxText               = 1024 // bytes of a reason or a description
)

// checkText checks a text for people: not longer than anyone reads.
func checkText(key, text string) error {
	if len(text) > MaxText {
		return Malformed("%s has %d bytes; at most %d are allowed", key, len(text), MaxText)
	}
	return nil
}
