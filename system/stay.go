package system

import (
	"slices"

	"muster/wire"
)

// stay is the time that the system spends in a modal state. It ends by itself, or with the connection of one of those
// who wished for it as their own.
type stay struct {
	owners []uint64 // connections
	end    *appointment
	over   bool // it has ended, and a move of higher rank is tried first
	why    string
}

// startStay begins the stay in a modal state that v led to.
func (m *Machine) startStay(v *move) {
	m.stay = &stay{}
	if limit := m.opts.Limits.Stay[v.to]; limit > 0 {
		m.stay.end = m.agenda.after(limit, func() { m.leave("the longest stay in " + v.to.String() + " is over") })
	}
	for _, conn := range v.stays {
		m.own(conn)
	}
}

// stayFor takes in a wish for the modal state that the system is in.
func (m *Machine) stayFor(w *wish) {
	if m.stay == nil || w.Target != m.state {
		return
	}
	for _, conn := range w.owners() {
		m.own(conn)
	}
}

// own has the stay end with the connection, which may have closed already.
func (m *Machine) own(conn uint64) {
	if !slices.Contains(m.stay.owners, conn) {
		m.stay.owners = append(m.stay.owners, conn)
	}
	if m.opts.Presence != nil && !m.opts.Presence.Alive(conn) {
		m.leaveOwner(conn)
	}
}

// leaveOwner ends the stay if it belongs to the connection, which has closed.
func (m *Machine) leaveOwner(conn uint64) {
	if m.stay != nil && slices.Contains(m.stay.owners, conn) {
		m.stay.over, m.stay.why = true, "the connection of the one who wished for "+m.state.String()+" has closed"
		m.mail.post(func() { // behind the step that is being made
			if m.stay != nil && m.stay.over {
				m.leave(m.stay.why)
			}
		})
	}
}

// endStay forgets the stay because the state is left.
func (m *Machine) endStay() {
	if m.stay != nil {
		m.agenda.cancel(m.stay.end)
		m.stay = nil
	}
}

// leave returns from a modal state to OPERATIONAL: announced, not asked. A move of higher rank that is under way goes
// first, and the return follows if it is not made; one that leads to OPERATIONAL too waits for nobody any longer.
func (m *Machine) leave(why string) {
	m.stay.over, m.stay.why = true, why
	if v := m.move; v != nil {
		switch {
		case v.rank > modal:
			return
		case v.to == wire.Operational:
			m.breakThrough(v)
			return
		}
		m.end(v, wire.KindAborted, why)
	}
	m.start(plan{to: wire.Operational, rank: modal, reason: why, owner: wire.Internal, force: true})
}
