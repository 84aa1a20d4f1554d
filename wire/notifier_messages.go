package wire

import (
	"slices"
	"strings"
)

// NotifierName names a notifier in a subject.
type NotifierName struct {
	Name string `json:"-" path:"name"`
}

// Registration makes the caller's connection a notifier.
type Registration struct {
	Name     string  `json:"-" path:"name"`
	States   []State `json:"states,omitempty"`     // the targets it is asked about; none means all
	Order    int     `json:"order,omitempty"`      // asked from the lowest up
	Timeout  Micros  `json:"timeout_us,omitempty"` // for its answer; 0 means 5 s
	Required bool    `json:"required,omitempty"`   // while it is away it holds
	About    string  `json:"about,omitempty"`      // what it does, for people
	Format   Format  `json:"format,omitempty"`
	Session  string  `json:"session,omitempty"` // of an earlier registration of this name, to take its place
}

// Joined answers notifier.register.
type Joined struct {
	Subject    string      `json:"subject"` // where it will be asked
	Session    string      `json:"session"` // keep it: it proves a later registration to be the same participant's
	State      State       `json:"state"`
	Transition *Transition `json:"transition,omitempty"`
}

// Notifiers answers notifier.list.
type Notifiers struct {
	Notifiers []NotifierView `json:"notifiers"` // by order, then name
}

// NotifierView is one notifier as others see it.
type NotifierView struct {
	Name     string  `json:"name"`
	States   []State `json:"states"` // empty means all
	Order    int     `json:"order"`
	Timeout  Micros  `json:"timeout_us"`
	Required bool    `json:"required"`
	About    string  `json:"about"`
	Alive    bool    `json:"alive"`    // connected, or a part of the daemon
	Identity string  `json:"identity"` // whose it is; "daemon" for the daemon's own
	Asked    uint64  `json:"asked"`
	Accepted uint64  `json:"accepted"`
	Deferred uint64  `json:"deferred"`
	Slowest  Micros  `json:"slowest_us"` // its slowest answer
}

// Question asks a notifier whether the system may move.
type Question struct {
	ID     string `json:"id"`
	From   State  `json:"from"`
	To     State  `json:"to"`
	Goal   State  `json:"goal"`
	Round  int    `json:"round"`
	Reason string `json:"reason"`
	Final  bool   `json:"final,omitempty"`   // the move is made whatever it answers
	DryRun bool   `json:"dry_run,omitempty"` // no move will follow
}

// Verdict is a notifier's word on a question.
type Verdict string

// The verdicts.
const (
	Accept Verdict = "accept"
	Defer  Verdict = "defer"
)

// Answer is what a notifier answers to a [Question].
type Answer struct {
	Answer Verdict `json:"answer" wire:"required"`
	Reason string  `json:"reason,omitempty"`
	Retry  Micros  `json:"retry_us,omitempty"` // ask again after so long; 0 means not before it resumes
}

// Check holds the values against the protocol's limits.
func (r Registration) Check() error {
	switch {
	case r.Timeout != 0 && (r.Timeout < MinTimeout || r.Timeout > MaxTimeout):
		return Malformed("timeout_us is %d; %d to %d would be right", r.Timeout, int64(MinTimeout), int64(MaxTimeout))
	case len(r.States) > len(stateNames):
		return Malformed("states has %d entries; there are only %d states", len(r.States), len(stateNames))
	case len(r.Session) > MaxName:
		return Malformed("session has %d bytes; it is not one that the daemon gave", len(r.Session))
	}
	if slices.Contains(r.States, Unknown) {
		return Malformed("states names UNKNOWN, which nothing moves to; CONTEXT_CREATED or above would be right")
	}
	if err := r.Format.check(); err != nil {
		return err
	}
	return checkText("about", r.About)
}

// Check holds the values against the protocol's limits.
func (a Answer) Check() error {
	switch {
	case a.Answer == Accept:
		return nil
	case a.Answer != Defer:
		return Malformed("answer is %s; accept or defer would be right", quote(string(a.Answer)))
	case strings.TrimSpace(a.Reason) == "":
		return Malformed("defer came without a reason; say what it waits for")
	case a.Retry != 0 && (a.Retry < MinRetry || a.Retry > MaxRetry):
		return Malformed("retry_us is %d; 0 or %d to %d would be right", a.Retry, int64(MinRetry), int64(MaxRetry))
	}
	return checkText("reason", a.Reason)
}
