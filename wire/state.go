package wire

import (
	"fmt"
	"strings"
)

// State is a system state. Numbers and order are those of lws_system; on the wire a state is its name.
//
// The states from [ContextCreated] to [Operational] are the boot states, climbed one by one. Those above
// are reached by jumps only, and being above is no rank: see [State.Boot].
type State int

// The system states (libwebsockets, include/libwebsockets/lws-system.h).
const (
	Unknown               State = iota // before the first state of a boot
	ContextCreated                     // the daemon exists
	PrePrivDrop                        // about to give up its privileges
	Initialized                        // its own set-up is complete
	CollectingStdin                    // secrets are read from standard input
	IfaceColdplug                      // the network interfaces that were there before are known
	DHCP                               // an interface has an address and a route
	CPDPreTime                         // captive portal looked for, without trusting the clock
	TimeValid                          // the wall clock can be trusted
	CPDPostTime                        // captive portal looked for again, certificates can be checked
	PolicyValid                        // a policy is in force
	Registered                         // the device has an identity
	Auth1                              // the first token is there
	Auth2                              // the second token is there
	OneTimeUpdates                     // migrations of this firmware have run
	Operational                        // the device does its work
	PolicyInvalid                      // the policy is withdrawn; on to INITIALIZED
	ContextDestroying                  // the end of this run of the daemon
	AwaitingModalUpdating              // asked for exclusive use of the device
	ModalUpdating                      // an update has the device for itself
)

var stateNames = [...]string{
	"UNKNOWN", "CONTEXT_CREATED", "PRE_PRIV_DROP", "INITIALIZED", "COLLECTING_STDIN",
	"IFACE_COLDPLUG", "DHCP", "CPD_PRE_TIME", "TIME_VALID", "CPD_POST_TIME", "POLICY_VALID",
	"REGISTERED", "AUTH1", "AUTH2", "ONE_TIME_UPDATES", "OPERATIONAL", "POLICY_INVALID",
	"CONTEXT_DESTROYING", "AWAITING_MODAL_UPDATING", "MODAL_UPDATING",
}

// stateByName finds a state without a search.
var stateByName = func() map[string]State {
	byName := map[string]State{}
	for i, name := range stateNames {
		byName[name] = State(i)
	}
	return byName
}()

// States returns every state in the order of its number, [Unknown] first.
func States() []State {
	states := make([]State, len(stateNames))
	for i := range states {
		states[i] = State(i)
	}
	return states
}

// ParseState returns the state of that name. The error of an unknown name lists the nearest one.
func ParseState(name string) (State, error) {
	if s, known := stateByName[name]; known {
		return s, nil
	}
	return Unknown, Malformed("%s is not a state; the nearest is %s", quote(name), Nearest(strings.ToUpper(name), stateNames[:]))
}

// String returns the state's name on the wire.
func (s State) String() string {
	if s >= 0 && int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// Boot reports whether s is one of the boot states, which are climbed one by one and compare by number.
func (s State) Boot() bool { return s >= ContextCreated && s <= Operational }

// Modal reports whether s is one of the two states of a modal update.
func (s State) Modal() bool { return s == AwaitingModalUpdating || s == ModalUpdating }

// Has reports whether a system in state s has what a wish for target asked for: a boot state is had at or above it,
// one below OPERATIONAL in the two modal states as well, and any other state only in itself.
func (s State) Has(target State) bool {
	if !target.Boot() {
		return s == target
	}
	return s.Boot() && s >= target || s.Modal() && target < Operational
}

// MarshalText gives the state's name (for JSON and TOML).
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a state's name; see [ParseState].
func (s *State) UnmarshalText(text []byte) (err error) {
	*s, err = ParseState(string(text))
	return err
}
