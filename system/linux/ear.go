package linux

import (
	"log/slog"
	"sync"

	"github.com/godbus/dbus/v5"
)

// The bus itself, whose name nobody else can send under, and how it tells that a name has another owner.
const (
	busName      = "org.freedesktop.DBus"
	ownerChanged = "NameOwnerChanged"
)

// ear hears what logind says to a connection, in order. Anybody on the bus may send signals there: what is not logind's
// own word is dropped, and costs neither a question nor a goroutine. It implements [dbus.SignalHandler].
type ear struct {
	downs chan bool // has room for one word, the latest that nobody has taken
	log   *slog.Logger

	mu      sync.Mutex
	owner   string // who logind is, by its unique name; "": nobody, as far as is known
	told    bool   // the bus has told a change of the owner
	dropped int    // signals of others
	closed  bool
}

func newEar(log *slog.Logger) *ear { return &ear{downs: make(chan bool, 1), log: log} }

// DeliverSignal takes a signal. It never blocks. The connection calls it for one signal at a time, in order.
func (e *ear) DeliverSignal(iface, member string, signal *dbus.Signal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
	case signal.Sender == busName:
		if iface == busName && member == ownerChanged {
			e.ownedLocked(signal.Body)
		}
	case signal.Sender == e.owner && e.owner != "":
		var down bool
		if iface == loginInterface && member == goingDown && dbus.Store(signal.Body, &down) == nil {
			e.passLocked(down)
		}
	default:
		if e.dropped++; e.dropped == 1 {
			e.log.Warn("a signal that is not logind's is dropped", "sender", signal.Sender, "signal", iface+"."+member)
		}
	}
}

// ownedLocked notes who logind is from now on.
func (e *ear) ownedLocked(body []any) {
	var name, from, to string
	if dbus.Store(body, &name, &from, &to) == nil && name == loginName {
		e.owner, e.told = to, true
	}
}

// passLocked has a word taken. One that nobody has taken yet counts no longer.
func (e *ear) passLocked(down bool) {
	select {
	case <-e.downs:
	default:
	}
	e.downs <- down // there is room, for nobody else sends
}

// begin tells who logind was when the bus was asked. A change that the bus has told since is newer.
func (e *ear) begin(owner string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.told {
		e.owner = owner
	}
}

// Terminate implements [dbus.Terminator]: the connection is at its end.
func (e *ear) Terminate() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.closed = true
	close(e.downs)
	if e.dropped > 1 {
		e.log.Warn("signals that are not logind's were dropped", "count", e.dropped)
	}
}
