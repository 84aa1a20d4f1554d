package wire

import "strings"

// Booking books a call on an event loop.
type Booking struct {
	Loop     int    `json:"-" path:"n"`
	Call     string `json:"call" wire:"required"`  // a handler of the daemon's, or a subject below sys.call
	State    State  `json:"state,omitempty"`       // runs once the system is there; absent means OPERATIONAL
	Data     Raw    `json:"data,omitempty"`        // handed to the call as it is
	Timeout  Micros `json:"timeout_us,omitempty"`  // of the run; 0 means 5 s
	Deadline Micros `json:"deadline_us,omitempty"` // of the waiting; 0 means none
	Durable  bool   `json:"durable,omitempty"`     // survives a crash of the daemon and of the power
	Done     string `json:"done,omitempty"`        // a subject below _INBOX or sys.done that is told the result
	ID       string `json:"id,omitempty"`          // the caller's own token; a second booking with it is the first
	Format   Format `json:"format,omitempty"`
}

// Booked answers a booking.
type Booked struct {
	ID       string `json:"id"`
	Position int    `json:"position"` // how many calls stand before it on the same loop
}

// BookingID names a booking.
type BookingID struct {
	ID string `json:"id" wire:"required"`
}

// Call is what a participant is asked on its subject below sys.call when its turn has come.
type Call struct {
	ID    string `json:"id"` // the same id twice is a repeat after a crash
	Loop  int    `json:"loop"`
	State State  `json:"state"` // the system's state now
	Data  Raw    `json:"data,omitempty"`
}

// Done tells the result of a booked call.
type Done struct {
	ID     string `json:"id"`
	OK     bool   `json:"ok"`
	Error  string `json:"error,omitempty"`
	Queued Micros `json:"queued_us"`
	Ran    Micros `json:"ran_us"`
	Result Raw    `json:"result,omitempty"` // what the call answered
}

// LoopError is the event that a booked call went wrong.
type LoopError struct {
	Stamp
	ID       string `json:"id"`
	Loop     int    `json:"loop"`
	Call     string `json:"call"`
	State    State  `json:"state"` // that it was booked for
	Identity string `json:"identity"`
	Error    string `json:"error"`
}

// Loops answers loop.list.
type Loops struct {
	Loops []LoopView `json:"loops"`
}

// LoopView is one event loop as others see it.
type LoopView struct {
	N       int           `json:"n"`
	Waiting []BookingView `json:"waiting"` // in the order booked; at most the first 256
	Depth   int           `json:"depth"`   // how many wait in all
	Running *BookingView  `json:"running,omitempty"`
	Done    uint64        `json:"done"`
	Failed  uint64        `json:"failed"`
}

// BookingView is one booked call as others see it.
type BookingView struct {
	ID       string     `json:"id"`
	Call     string     `json:"call"`
	State    State      `json:"state"`
	Since    MonoMicros `json:"since_mono_us"`
	Identity string     `json:"identity"`
	Durable  bool       `json:"durable,omitempty"`
}

// HandlerName names a handler in a subject.
type HandlerName struct {
	Name string `json:"-" path:"name"`
}

// Offered answers loop.offer.
type Offered struct {
	Subject string `json:"subject"` // where its calls will come
}

// Check holds the values against the protocol's limits.
func (b Booking) Check() error {
	switch {
	case b.Timeout < 0 || b.Timeout > MaxRun:
		return Malformed("timeout_us is %d; 0 to %d would be right", b.Timeout, int64(MaxRun))
	case b.Deadline < 0:
		return Malformed("deadline_us is %d; 0 or more would be right", b.Deadline)
	}
	if err := checkCall(b.Call); err != nil {
		return err
	}
	if b.ID != "" {
		if err := CheckName("booking", b.ID); err != nil {
			return err
		}
	}
	if err := checkDone(b.Done); err != nil {
		return err
	}
	return b.Format.check()
}

// MaxRun is the longest a booked call may run: 1 h.
const MaxRun Micros = 3_600_000_000

// checkCall checks what a booking wants run: a handler's name, or a subject of one to four tokens under sys.call.
func checkCall(call string) error {
	path, onBus := strings.CutPrefix(call, CallPrefix)
	if !onBus {
		return CheckName("handler", call)
	}
	tokens := strings.Split(path, ".")
	if len(tokens) > 4 {
		return Malformed("call %s has %d tokens behind sys.call.; one to four are allowed", quote(call), len(tokens))
	}
	for _, token := range tokens {
		if err := CheckName("call", token); err != nil {
			return err
		}
	}
	return nil
}

// checkDone checks where a result is to be told, so that no answer can be steered into a request.
func checkDone(subject string) error {
	if subject == "" {
		return nil
	}
	inbox := strings.HasPrefix(subject, InboxPrefix)
	if !inbox && !strings.HasPrefix(subject, DonePrefix) || len(subject) > 256 || strings.ContainsAny(subject, "*> \t\r\n") ||
		strings.Contains(subject, "..") || strings.HasSuffix(subject, ".") {
		return Malformed("done is %s; a subject under _INBOX. or sys.done. without wildcards would be right", quote(subject))
	}
	return nil
}
