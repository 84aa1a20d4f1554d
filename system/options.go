package system

import (
	"context"
	"log/slog"
	"time"

	"muster/wire"
)

// Options are a Machine's surroundings. Clock and Journal are required; every other zero value works.
type Options struct {
	Boot       string   // this run of the daemon, as in [wire.Stamp]
	DeviceBoot string   // the kernel's boot id
	Version    string   // of the daemon
	Clock      Clock    //
	Journal    Journal  //
	Asker      Asker    // nil: only notifiers of this process
	Presence   Presence // nil: nobody can register
	Memory     Memory   // nil: nothing is remembered over a restart
	Log        *slog.Logger

	Limits   Limits
	Required []Requirement // notifiers without which their states are not entered

	// May says whether the caller has a right beyond the endpoint's own (state:override). nil: everybody has.
	May func(wire.Caller, string) bool
	// Record is told of every transition event, in order, from the machine's goroutine. It must not block.
	Record func(wire.Transition)
	// Entered is told of every state right after its event, from the machine's goroutine. It must not block.
	Entered func(wire.State)
	// Destroying runs when everybody accepted the end, before its event: the calls booked for it. ctx ends after 5 s.
	Destroying func(ctx context.Context)
}

// Limits bound how long things may take.
type Limits struct {
	Hold   map[wire.State]HoldLimit     // how long a transition to the state may be held; no entry: for ever
	Stay   map[wire.State]time.Duration // how long the system may be in a modal state; no entry: for ever
	Pause  time.Duration                // how long the goal rests after an aborted boot step; 0: 60 s
	Rejoin time.Duration                // how long former notifiers have to come back; 0: 2 s
}

// HoldLimit is what becomes of a transition that is held too long.
type HoldLimit struct {
	After   time.Duration // 0: never
	OnLimit wire.OnLimit
}

// Requirement names a notifier that must be there.
type Requirement struct {
	Name   string
	States []wire.State // none means all
}

// DefaultLimits are the protocol's: boot states are held as long as it takes, the others are not.
func DefaultLimits() Limits {
	return Limits{
		Hold: map[wire.State]HoldLimit{
			wire.PolicyInvalid:         {30 * time.Second, wire.LimitProceed},
			wire.AwaitingModalUpdating: {time.Minute, wire.LimitAbort},
			wire.ModalUpdating:         {time.Minute, wire.LimitAbort},
			wire.ContextDestroying:     {30 * time.Second, wire.LimitProceed},
		},
		Stay: map[wire.State]time.Duration{
			wire.AwaitingModalUpdating: time.Minute,
			wire.ModalUpdating:         6 * time.Hour,
		},
		Pause:  time.Minute,
		Rejoin: 2 * time.Second,
	}
}

// Memory keeps over a restart of the daemon who took part.
type Memory interface {
	// Load gives what was saved last; nothing saved is the zero value.
	Load() (Remembered, error)
	// Save says that there is something new, which known gives. It must not block and not call known: writing
	// happens behind, for many changes at once.
	Save(known func() Remembered)
}

// Remembered is what outlives a restart of the daemon.
type Remembered struct {
	DeviceBoot string               `json:"device_boot"`
	Names      []string             `json:"names"`    // everybody registered in this device boot and not gone for good
	Required   []RememberedNotifier `json:"required"` // the required registrations, over device boots too
}

// RememberedNotifier is a required registration.
type RememberedNotifier struct {
	Name     string       `json:"name"`
	Identity string       `json:"identity"`
	States   []wire.State `json:"states,omitempty"`
	Order    int          `json:"order,omitempty"`
	Timeout  wire.Micros  `json:"timeout_us,omitempty"`
	About    string       `json:"about,omitempty"`
}

// Bounds of what others can make a Machine hold.
const (
	maxNotifiers     = 4096 // registered and required
	maxPerIdentity   = 1024 // of them, of one identity
	maxWishes        = 1024 // waiting for an answer
	maxDryRuns       = 32   // at the same time
	registrationRate = 8    // of one name in registrationSpan
	registrationSpan = 10 * time.Second
	destroyBudget    = 5 * time.Second
	finalBudget      = 5 * time.Second        // of each order in a final round
	proposeAfter     = 2 * time.Millisecond   // the proposal of a move is told by then
	heldEvery        = 200 * time.Millisecond // between two held events
	lostResume       = 30 * time.Second       // a holder without retry_us is asked again after that
	spacedFrom       = 9                      // the first round that is spaced
	firstSpace       = 10 * time.Millisecond  // and doubled with each
	longestSpace     = time.Second
	slowCall         = time.Millisecond // a call in this process that takes longer no longer keeps the others waiting
	longestBackoff   = time.Minute      // between two questions to a notifier that does not answer
)
