package system

import (
	"context"
	"slices"
	"time"

	"muster/wire"
)

// Notifier is a part of this process that is asked before each step: a plain Go call.
type Notifier struct {
	Name    string
	States  []wire.State  // the targets that it is asked about; none means all
	Order   int           // asked from the lowest up, those of one order side by side
	Timeout time.Duration // for an answer; 0 means 5 s
	About   string        // what it does, for people

	// Ask answers whether the system may move. It runs on a goroutine that it may share with other notifiers for
	// about a millisecond, may call back into the Machine, and must return soon after ctx is done, which is when its
	// answer can matter no more.
	Ask func(ctx context.Context, question wire.Question) wire.Answer
}

// notifier is one as the machine knows it: a [Notifier], a registered participant, or the place of a required one.
type notifier struct {
	name     string
	states   []wire.State
	order    int
	timeout  time.Duration
	required bool         // by its registration
	demand   *Requirement // by the configuration; nil if that does not name it
	about    string
	identity string
	session  string

	local func(context.Context, wire.Question) wire.Answer // nil for a participant on the bus
	busy  bool                                             // a local call has not returned yet
	queue []call                                           // and these wait for it
	peer  Participant                                      // of one on the bus
	alive bool                                             // local, or connected

	question *question // in the running round; nil if it is not asked in it
	late     *question // the last one that it did not answer in time

	asked, accepted, deferred uint64
	slowest                   time.Duration
}

// placeOf is the place of a notifier that the configuration requires, before it comes.
func placeOf(r *Requirement) *notifier {
	return &notifier{
		name: r.Name, states: r.States, demand: r, timeout: wire.DefaultTimeout.Duration(),
		about: "required by the configuration",
	}
}

// covers reports whether a list of targets, where none means all, has that state.
func covers(states []wire.State, to wire.State) bool {
	return len(states) == 0 || slices.Contains(states, to)
}

// hears reports whether the notifier is asked about moves to that state.
func (n *notifier) hears(to wire.State) bool { return n.alive && covers(n.states, to) }

// absent reports whether the notifier holds a move by not being there.
func (n *notifier) absent(to wire.State) bool {
	if n.alive || to == wire.ContextDestroying {
		return false
	}
	return n.required && covers(n.states, to) || n.demand != nil && covers(n.demand.States, to)
}

// expected reports whether the notifier keeps its place when it is lost.
func (n *notifier) expected() bool { return n.required || n.demand != nil }

// view is the notifier as others see it.
func (n *notifier) view() wire.NotifierView {
	return wire.NotifierView{
		Name: n.name, States: append([]wire.State{}, n.states...), Order: n.order, Timeout: wire.InMicros(n.timeout),
		Required: n.expected(), About: n.about, Alive: n.alive, Identity: n.identity,
		Asked: n.asked, Accepted: n.accepted, Deferred: n.deferred, Slowest: wire.InMicros(n.slowest),
	}
}

// Add takes a notifier of this process in. Its name must be free.
func (m *Machine) Add(n Notifier) error {
	if err := wire.CheckName("notifier", n.Name); err != nil {
		return err
	}
	if n.Timeout == 0 {
		n.Timeout = wire.DefaultTimeout.Duration()
	}
	return m.change(func() error {
		if old := m.notifiers.named[n.Name]; old != nil && old.alive {
			return wire.Conflict("notifier %s is there already", n.Name)
		}
		m.admit(&notifier{
			name: n.Name, states: n.States, order: n.Order, timeout: n.Timeout, about: n.About, identity: wire.Daemon,
			local: n.Ask, alive: true,
		})
		return nil
	})
}

// Remove lets a notifier of this process go; a name that is not there is no error.
func (m *Machine) Remove(name string) {
	_ = m.change(func() error {
		if n := m.notifiers.named[name]; n != nil && n.local != nil {
			m.dismiss(n)
		}
		return nil
	})
}

// change has the machine's goroutine run f. Before Run nobody else is there, and the caller's will do.
func (m *Machine) change(f func() error) error {
	if !m.running.Load() {
		return f()
	}
	_, err := inside(context.Background(), m, func() (struct{}, error) { return struct{}{}, f() })
	return err
}
