package system

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"slices"
	"time"

	"muster/wire"
)

// Register answers notifier.register: the caller's connection becomes a notifier. It must be subscribed to
// sys.notify.<name> already, on exactly one connection, whose life is then the notifier's.
func (m *Machine) Register(ctx context.Context, caller wire.Caller, r wire.Registration) (wire.Joined, error) {
	subject := wire.NotifySubject(r.Name)
	if m.opts.Presence == nil {
		return wire.Joined{}, wire.Errorf(wire.CodeUnsupported, "this daemon takes no notifiers")
	}
	conns, err := m.opts.Presence.Subscribers(caller, subject)
	if err != nil {
		return wire.Joined{}, err
	}
	n := &notifier{
		name: r.Name, states: r.States, order: r.Order, required: r.Required, about: r.About, identity: caller.Identity,
		timeout: cmp.Or(r.Timeout, wire.DefaultTimeout).Duration(), session: rand.Text(), alive: true,
		peer: Participant{Identity: caller.Identity, Subject: subject, Format: r.Format},
	}
	joined, err := inside(ctx, m, func() (joined wire.Joined, err error) {
		same := m.same(r)
		if n.peer.Conn, err = m.seat(n, same, conns); err != nil {
			return joined, err
		}
		if err := m.mayRegister(n, same); err != nil {
			return joined, err
		}
		m.admit(n)
		return wire.Joined{Subject: subject, Session: n.session, State: m.state, Transition: m.current()}, nil
	})
	if err == nil && !m.opts.Presence.Alive(n.peer.Conn) {
		m.Gone(n.peer.Conn) // it was told before we listened
	}
	return joined, err
}

// same reports whether a registration proves, by its session, to be by the participant that has the name.
func (m *Machine) same(r wire.Registration) bool {
	old := m.notifiers.named[r.Name]
	return old != nil && old.session != "" && subtle.ConstantTimeCompare([]byte(old.session), []byte(r.Session)) == 1
}

// seat finds the connection that a registration lives on: the only one that is subscribed. When a participant comes back
// before its old connection is seen to be dead, that one's subscription does not count.
func (m *Machine) seat(n *notifier, same bool, conns []uint64) (uint64, error) {
	if len(conns) > 1 && same {
		old := m.notifiers.named[n.name].peer.Conn
		conns = slices.DeleteFunc(slices.Clone(conns), func(conn uint64) bool { return conn == old })
	}
	switch len(conns) {
	case 0:
		return 0, wire.Conflict("nobody of %s is subscribed to %s; subscribe first, then register", n.identity, n.peer.Subject)
	case 1:
		return conns[0], nil
	default:
		return 0, wire.Conflict("%d subscriptions on %s; exactly one would be right", len(conns), n.peer.Subject)
	}
}

// mayRegister holds a registration against who is there and against the limits.
func (m *Machine) mayRegister(n *notifier, same bool) error {
	old := m.notifiers.named[n.name]
	switch {
	case m.state == wire.ContextDestroying:
		return errStopping
	case old != nil && old.alive && old.local != nil:
		return wire.Conflict("notifier %s is a part of the daemon; another name would be right", n.name)
	case old != nil && old.alive && !same:
		return wire.Conflict("notifier %s is registered and alive; its session would be needed to take its place", n.name)
	case !m.arrive(n.name):
		return wire.Errorf(wire.CodeTooMany, "notifier %s registered %d times within %v; wait", n.name, registrationRate, registrationSpan)
	case old == nil && len(m.notifiers.named) >= maxNotifiers:
		return wire.Errorf(wire.CodeTooMany, "%d notifiers are registered, which is as many as there may be", maxNotifiers)
	case old == nil && m.countOf(n.identity) >= maxPerIdentity:
		return wire.Errorf(wire.CodeTooMany, "%s has %d notifiers, which is as many as it may have", n.identity, maxPerIdentity)
	}
	return nil
}

// arrive notes a registration; false when there were too many of that name.
func (m *Machine) arrive(name string) bool {
	recent := func(times []time.Time) []time.Time {
		return slices.DeleteFunc(times, func(t time.Time) bool { return time.Since(t) >= registrationSpan })
	}
	if len(m.arrivals) > 2*maxNotifiers {
		for other, times := range m.arrivals {
			if m.arrivals[other] = recent(times); len(m.arrivals[other]) == 0 {
				delete(m.arrivals, other)
			}
		}
	}
	times := recent(m.arrivals[name])
	if len(times) >= registrationRate || len(times) == 0 && len(m.arrivals) > 4*maxNotifiers {
		m.arrivals[name] = times
		return false
	}
	m.arrivals[name] = append(times, time.Now())
	return true
}

// countOf counts an identity's notifiers.
func (m *Machine) countOf(identity string) int {
	count := 0
	for _, n := range m.notifiers.inTurn {
		if n.identity == identity {
			count++
		}
	}
	return count
}

// demand gives what the configuration requires of a name, nil if nothing.
func (m *Machine) demand(name string) *Requirement {
	if i := slices.IndexFunc(m.opts.Required, func(r Requirement) bool { return r.Name == name }); i >= 0 {
		return &m.opts.Required[i]
	}
	return nil
}

// admit takes a notifier in, in place of the one of that name. If a round runs it is asked in it; if it was missed,
// it is missed no longer.
func (m *Machine) admit(n *notifier) {
	old := m.notifiers.named[n.name]
	n.demand = m.demand(n.name)
	m.notifiers.enter(n)
	if n.peer.Conn != 0 {
		m.conns[n.peer.Conn] = append(m.conns[n.peer.Conn], n)
	}
	if old != nil {
		m.unhook(old)
	}
	delete(m.rejoin, n.name)
	if v := m.move; v != nil {
		if old != nil {
			m.lose(v, old)
		}
		delete(v.silent, n.name)
		if h := v.holding(n.name); h != nil {
			m.resolve(v, h)
		}
	}
	m.save()
}

// Unregister answers notifier.unregister: the notifier is asked no more, and a required one is forgotten.
func (m *Machine) Unregister(ctx context.Context, caller wire.Caller, r wire.NotifierName) (wire.Empty, error) {
	return inside(ctx, m, func() (wire.Empty, error) {
		n := m.notifiers.named[r.Name]
		switch {
		case n == nil:
			return wire.Empty{}, wire.NotFound("there is no notifier %s", r.Name)
		case n.local != nil:
			return wire.Empty{}, wire.Conflict("notifier %s is a part of the daemon", r.Name)
		case n.identity != "" && n.identity != caller.Identity:
			if err := m.mayOverride(caller, "to unregister another's notifier"); err != nil {
				return wire.Empty{}, err
			}
		}
		m.dismiss(n)
		return wire.Empty{}, nil
	})
}

// Gone tells that a connection has closed: its notifiers are lost at once, open questions included, and its wishes wait
// no longer for their answer, which nobody would hear. What they set under way goes on.
func (m *Machine) Gone(conn uint64) {
	m.mail.post(func() {
		for _, n := range slices.Clone(m.conns[conn]) {
			m.drop(n)
		}
		m.leaveOwner(conn)
		m.answerWhere(m.standing(), func(w *wish) bool { return w.caller.Conn == conn })
	})
}

// drop takes it that a notifier is lost. A required one keeps its place, and holds what it cares for.
func (m *Machine) drop(n *notifier) {
	if m.notifiers.named[n.name] != n || !n.alive {
		return
	}
	if v := m.move; v != nil && n.hears(v.to) && !slices.Contains(v.lost, n.name) {
		v.lost = append(v.lost, n.name)
	}
	if n.expected() {
		n.alive = false
		m.unhook(n)
	} else {
		m.remove(n)
	}
	if v := m.move; v != nil {
		m.lose(v, n)
	}
	m.save()
}

// dismiss forgets a notifier altogether, but for what the configuration requires.
func (m *Machine) dismiss(n *notifier) {
	m.remove(n)
	if n.demand != nil {
		m.notifiers.enter(placeOf(n.demand))
	}
	if v := m.move; v != nil {
		m.lose(v, n)
	}
	m.save()
}

func (m *Machine) remove(n *notifier) {
	n.alive = false
	m.unhook(n)
	m.notifiers.strike(n.name)
}

// unhook forgets which connection the notifier lived on, and what could still come from there.
func (m *Machine) unhook(n *notifier) {
	m.forgetLate(n)
	left := slices.DeleteFunc(m.conns[n.peer.Conn], func(other *notifier) bool { return other == n })
	if len(left) == 0 {
		delete(m.conns, n.peer.Conn)
		return
	}
	m.conns[n.peer.Conn] = left
}

// lose settles what a running move waits for from a notifier that is there no longer. Whoever is required and away
// holds; anybody else is not waited for.
func (m *Machine) lose(v *move, n *notifier) {
	h := v.holding(n.name)
	q := n.question
	open := q != nil && q.open()
	if q != nil {
		m.close(q)
	}
	missed := n.absent(v.to) && m.notifiers.named[n.name] == n
	switch {
	case missed && h != nil:
		m.agenda.cancel(h.due)
		h.Reason, h.how, h.Retry = wire.ReasonNotHere, wire.HowNotConnected, 0
		if !v.asking {
			m.tellHeld(v)
		}
	case missed && q != nil && v.asking:
		q.answer = wire.Answer{Answer: wire.Defer}
		m.hold(v, n.name, wire.ReasonNotHere, wire.HowNotConnected, 0, 0)
	case missed && q != nil && v.held():
		m.hold(v, n.name, wire.ReasonNotHere, wire.HowNotConnected, 0, 0)
		m.tellHeld(v)
	case h != nil:
		m.resolve(v, h)
	}
	if open {
		q.answer = wire.Answer{Answer: wire.Accept}
		m.settled(v)
	}
}

// List answers notifier.list.
func (m *Machine) List(ctx context.Context, _ wire.Caller, _ wire.Empty) (wire.Notifiers, error) {
	return look(ctx, m, func() wire.Notifiers {
		list := make([]wire.NotifierView, 0, len(m.notifiers.named))
		for _, n := range m.notifiers.inTurn {
			view := n.view()
			view.Timeout = max(view.Timeout, wire.InMicros(m.patience[n.name]))
			list = append(list, view)
		}
		return wire.Notifiers{Notifiers: list}
	})
}

// remember puts in place who took part before the daemon was restarted: the required ones for good, the others,
// within one boot of the device, for the first moments.
func (m *Machine) remember() {
	if m.opts.Memory == nil {
		return
	}
	known, err := m.opts.Memory.Load()
	if err != nil {
		m.opts.Log.Error("read remembered notifiers", "error", err)
		return
	}
	for _, r := range known.Required {
		if old := m.notifiers.named[r.Name]; old != nil && old.alive {
			continue
		}
		m.notifiers.enter(&notifier{
			name: r.Name, states: r.States, order: r.Order, identity: r.Identity, about: r.About,
			required: true, demand: m.demand(r.Name),
			timeout: cmp.Or(r.Timeout, wire.DefaultTimeout).Duration(),
		})
	}
	if known.DeviceBoot != m.opts.DeviceBoot || known.DeviceBoot == "" {
		return
	}
	for _, name := range known.Names {
		if n := m.notifiers.named[name]; n == nil || !n.alive {
			m.rejoin[name] = true
		}
	}
}

// save has remembered what is new.
func (m *Machine) save() {
	if m.opts.Memory != nil && m.running.Load() {
		m.opts.Memory.Save(m.remembered)
	}
}

// remembered gives what outlives a restart.
func (m *Machine) remembered() Remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := Remembered{DeviceBoot: m.opts.DeviceBoot}
	for _, n := range m.notifiers.inTurn {
		if n.alive && n.local == nil {
			known.Names = append(known.Names, n.name)
		}
		if n.required && n.local == nil {
			known.Required = append(known.Required, RememberedNotifier{
				Name: n.name, Identity: n.identity, States: n.states, Order: n.order, Timeout: wire.InMicros(n.timeout), About: n.about,
			})
		}
	}
	slices.Sort(known.Names)
	slices.SortFunc(known.Required, func(a, b RememberedNotifier) int { return cmp.Compare(a.Name, b.Name) })
	return known
}
