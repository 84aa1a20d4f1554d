package wire

import (
	"reflect"
	"slices"
	"strconv"
)

// Stamp is on every event of the daemon's: which run of it, when, and for a kept event its number.
type Stamp struct {
	Boot string     `json:"boot"`          // a counter of the daemon's runs and a random part, "17-9f3c2a"; sorts by the counter
	At   UnixMicros `json:"at_us"`         // by the wall clock, which jumps
	Mono MonoMicros `json:"mono_us"`       // by the clock that does not
	Seq  uint64     `json:"seq,omitempty"` // counts the kept events of this boot from 1, without a gap
}

// SetStamp replaces the stamp; it makes a pointer to any event a [Stamped].
func (s *Stamp) SetStamp(stamp Stamp) { *s = stamp }

// Stamped is an event that can be stamped just before it is sent.
type Stamped interface{ SetStamp(stamp Stamp) }

// Subjects that are built rather than looked up in a table.
const (
	StateSubject     = "sys.state"      // the current state
	StateTopics      = "sys.state.*"    // the event of each state
	TransitionTopic  = "sys.transition" // the progress of a transition
	LoopErrorTopic   = "sys.loop-error" // a booked call went wrong
	NotifyPrefix     = "sys.notify."    // + a notifier's name: the daemon's question
	CallPrefix       = "sys.call."      // + one to four tokens: run your part
	DonePrefix       = "sys.done."      // + a token: a booked call is done
	InboxPrefix      = "_INBOX."        // where NATS clients take their answers
	TracePrefix      = "sys.trace."     // + a kind of traffic
	ServiceInboxRoot = "_R_."           // the server's own reply subjects between accounts
	EventsStream     = "SYS_EVENTS"     // where the kept events stand
	BlobsBucket      = "SYS_BLOBS"      // where the blobs stand
)

// EventInfo is one event subject.
type EventInfo struct {
	Subject string       // with its parameters in angle brackets
	Kept    bool         // it stands in the stream SYS_EVENTS
	Sender  string       // the right that a participant needs to publish it; "" for the daemon's own
	Right   string       // the right to receive it
	Doc     string       // one sentence for people
	Type    reflect.Type // what it carries; nil where the sender decides
}

// Pattern is the subject to subscribe to: each parameter is a wildcard.
func (e *EventInfo) Pattern() string { return Pattern(e.Subject) }

// events is the table behind [Events].
var events = []*EventInfo{
	{
		Subject: "sys.state", Kept: true, Right: "state:read", Type: reflect.TypeFor[StateEvent](),
		Doc: "The current state; the last message is always the truth.",
	},
	{
		Subject: "sys.state.<state>", Kept: true, Right: "state:read", Type: reflect.TypeFor[StateEvent](),
		Doc: "The system is now in that state.",
	},
	{
		Subject: "sys.transition", Kept: true, Right: "state:read", Type: reflect.TypeFor[Transition](),
		Doc: "A transition's progress, the whole picture each time.",
	},
	{
		Subject: "sys.loop-error", Right: "state:read", Type: reflect.TypeFor[LoopError](),
		Doc: "A booked call failed, timed out, or had nobody to run it.",
	},
	{
		Subject: "sys.blob.<name>.<index>", Right: "blob:read:<name>", Type: reflect.TypeFor[BlobEvent](),
		Doc: "A blob changed; never its content.",
	},
	{
		Subject: "sys.trace.<kind>", Right: "trace", Type: reflect.TypeFor[Trace](),
		Doc: "Requests, questions and answers as the daemon saw them, secrets taken out.",
	},
	{
		Subject: "sys.network.<what>", Sender: "smd:publish:network", Right: "smd:read",
		Doc: "SMD class NETWORK: route, link, address, captive-portal result.",
	},
	{
		Subject: "sys.interaction.<what>", Sender: "smd:publish:interaction", Right: "smd:read",
		Doc: "SMD class INTERACTION: button, touch.",
	},
	{
		Subject: "sys.metric.<name>", Sender: "smd:publish:metric", Right: "smd:read",
		Doc: "SMD class METRICS.",
	},
	{
		Subject: "sys.user.<class>.<what>", Sender: "smd:publish:user.<class>", Right: "smd:read",
		Doc: "One of the eight private SMD classes, 0 to 7.",
	},
}

// Events returns every event subject in the order of the protocol. The infos are shared: read them only.
func Events() []*EventInfo { return slices.Clip(events) }

// StateTopic is the subject of the event that the system is in s.
func StateTopic(s State) string { return StateSubject + "." + s.String() }

// NotifySubject is where the notifier of that name is asked.
func NotifySubject(name string) string { return NotifyPrefix + name }

// BlobTopic is the subject of the event that a blob changed.
func BlobTopic(k BlobKey) string {
	return Fill("sys.blob.<name>.<index>", k.Name, strconv.Itoa(k.Index))
}

// Trace is one message as the daemon saw it.
type Trace struct {
	Stamp
	Kind     TraceKind `json:"kind"`
	Subject  string    `json:"subject"`            //
	Identity string    `json:"identity,omitempty"` // who asked or was asked
	Conn     uint64    `json:"conn,omitempty"`     // on which connection; of a request that only reads, nothing is known of it
	Code     Code      `json:"code,omitempty"`     // of an answer that is an error
	Took     Micros    `json:"took_us,omitempty"`  // from the request or question to the answer
	Payload  Raw       `json:"payload,omitempty"`  // without secrets, at most 4 KiB
	Dropped  uint64    `json:"dropped,omitempty"`  // so many were left out before this one, because a listener was slow
}

// TraceKind says what a traced message is.
type TraceKind string

// The kinds of sys.trace.<kind>.
const (
	TraceRequest  TraceKind = "request"
	TraceAnswer   TraceKind = "answer"
	TraceQuestion TraceKind = "question"
)
