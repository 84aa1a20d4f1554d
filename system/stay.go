package system

import "muster/wire"

// stay is the time that the system spends in a modal state. It ends by itself, or with the connection of the one who
// wished for it.
type stay struct {
	owner uint64 // connection; 0 for none
	end   *appointment
	over  bool // it has ended, and a move of higher rank is tried first
	why   string
}

// startStay begins the stay in a modal state that v led to.
func (m *Machine) startStay(v *move) {
	m.stay = &stay{}
	if limit := m.opts.Limits.Stay[v.to]; limit > 0 {
		m.stay.end = m.agenda.after(limit, func() { m.leave("the longest stay in " + v.to.String() + " is over") })
	}
	if v.own && v.owner.Conn != 0 {
		m.stay.owner = v.owner.Conn
		if m.opts.Presence != nil && !m.opts.Presence.Alive(v.owner.Conn) {
			m.leaveOwner(v.owner.Conn)
		}
	}
}

// leaveOwner ends the stay if it belongs to the connection, which has closed.
func (m *Machine) leaveOwner(conn uint64) {
	if m.stay != nil && m.stay.owner == conn {
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
// first; the return follows if it is not made.
func (m *Machine) leave(why string) {
	m.stay.over, m.stay.why = true, why
	if v := m.move; v != nil {
		if v.rank > modal {
			return
		}
		m.end(v, wire.KindAborted, why)
	}
	m.start(plan{to: wire.Operational, rank: modal, reason: why, owner: wire.Internal, force: true})
}
