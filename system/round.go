package system

import (
	"slices"
	"time"

	"muster/wire"
)

// startRound asks everybody anew.
func (m *Machine) startRound(v *move) {
	m.settle(v)
	if v.rejoins { // whoever has not come back is known no longer
		v.rejoins = false
		m.save()
	}
	v.next, v.telling = nil, nil
	v.round++
	v.asking, v.refused, v.open = true, false, 0
	v.holders = v.holders[:0]
	clear(v.resumed)
	m.askOrder(v)
}

// askOrder asks the lowest order that was not asked yet in this round, or ends the round if there is none.
func (m *Machine) askOrder(v *move) {
	for v.asking && v.open == 0 {
		group := m.unasked(v)
		if len(group) == 0 || v.refused && !v.final {
			m.endRound(v)
			return
		}
		m.askGroup(v, group)
	}
}

// unasked gives the notifiers of the lowest order that have not been asked in this round. One that registers while
// the round runs is among them, so it is asked before the round can pass.
func (m *Machine) unasked(v *move) []*notifier {
	wanted := func(n *notifier) bool { return n.question == nil && (n.hears(v.to) || n.absent(v.to)) }
	first := slices.IndexFunc(m.notifiers.inTurn, wanted)
	if first < 0 {
		return nil
	}
	rest := m.notifiers.inTurn[first:]
	later := slices.IndexFunc(rest, func(n *notifier) bool { return n.order > rest[0].order })
	if later < 0 {
		later = len(rest)
	}
	group := make([]*notifier, 0, later)
	for _, n := range rest[:later] {
		if wanted(n) {
			group = append(group, n)
		}
	}
	return group
}

// askGroup asks the notifiers of one order side by side. Who should be there and is not does not accept.
func (m *Machine) askGroup(v *move, group []*notifier) {
	text := wire.Question{
		ID: v.id, From: v.from, To: v.to, Goal: v.goal, Round: v.round, Reason: v.reason, Final: v.final,
	}
	all := make([]question, len(group))
	v.questions = slices.Grow(v.questions, len(group))
	questions := make([]*question, 0, len(group))
	for i, n := range group {
		q := &all[i]
		q.to, n.question = n, q
		v.questions = append(v.questions, q)
		if !n.alive {
			q.answer = wire.Answer{Answer: wire.Defer}
			m.hold(v, n.name, wire.ReasonNotHere, wire.HowNotConnected, 0, 0)
			continue
		}
		questions = append(questions, q)
	}
	v.open = len(questions)
	limit := time.Duration(0)
	if v.final {
		limit = finalBudget
	}
	m.put(text, questions, v, limit)
}

// heard implements asking.
func (v *move) heard(m *Machine, q *question, a wire.Answer) {
	switch {
	case q.late:
		m.heardLate(v, q, a)
	case q.open():
		q.answer = a
		q.answered(a)
		m.stopClock(q)
		delete(v.silent, q.to.name)
		if a.Answer != wire.Accept {
			m.deferred(v, q)
		}
		m.settled(v)
	case q.answer != a && v.asking:
		m.contradicted(v, q)
	}
}

// deferred makes a holder of who did not accept. Without a time of its own it holds until it resumes; lest a resume
// that got lost cost more than time, it is asked again [lostResume] after it was asked.
func (m *Machine) deferred(v *move, q *question) {
	again := q.answer.Retry.Duration()
	if again == 0 {
		again = lostResume - time.Since(q.at)
	}
	m.hold(v, q.to.name, q.answer.Reason, wire.HowDeferred, q.answer.Retry, again)
}

// heardLate takes an answer that came after its time: as a resume, and as a sign that the time was too short. So it is
// for the rest of this boot, and for a question that is open by now.
func (m *Machine) heardLate(v *move, q *question, a wire.Answer) {
	n := q.to
	m.forgetLate(n)
	m.close(q)
	q.answered(a)
	if enough := min(2*q.timeout, wire.MaxTimeout.Duration()); enough > max(n.timeout, m.patience[n.name]) {
		m.grant(n, enough)
	}
	if m.move == v {
		m.resume(v, n.name)
	}
}

// grant gives a notifier that much time for its answers.
func (m *Machine) grant(n *notifier, enough time.Duration) {
	if len(m.patience) > 4*maxNotifiers {
		clear(m.patience) // names without end; whoever is slow will show it again
	}
	m.patience[n.name] = enough
	if v := m.move; v != nil && !v.final {
		if q := n.question; q != nil && q.open() {
			m.stopClock(q)
			q.timeout = enough
			m.startClock([]*question{q}, enough-time.Since(q.at))
		}
	}
}

// forgetLate lets go of the question that a notifier did not answer in time.
func (m *Machine) forgetLate(n *notifier) {
	if n.late != nil {
		m.close(n.late)
		n.late = nil
	}
}

// contradicted takes a second answer that differs from the first: the notifier defers.
func (m *Machine) contradicted(v *move, q *question) {
	accepted := q.answer.Answer == wire.Accept
	q.answer = faulty("two answers that differ")
	if accepted {
		m.deferred(v, q)
	} else if h := v.holding(q.to.name); h != nil {
		h.Reason = q.answer.Reason
	}
}

// gone implements asking.
func (*move) gone(m *Machine, q *question) { m.drop(q.to) }

// expired implements asking. The answer may still come, be it after further questions: a notifier in another process is
// listened to until it leaves the next one unanswered too.
func (v *move) expired(m *Machine, q *question) {
	q.late = true
	q.answer = wire.Answer{Answer: wire.Defer}
	if q.to.local == nil {
		m.forgetLate(q.to)
		q.to.late = q
	}
	again := min(time.Second<<min(v.silent[q.to.name], 6), longestBackoff)
	v.silent[q.to.name]++
	m.hold(v, q.to.name, wire.ReasonNoAnswer, wire.HowNoAnswer, wire.InMicros(again), again)
	m.settled(v)
}

// settled notes that one question of the current order needs no more waiting.
func (m *Machine) settled(v *move) {
	if v.open--; v.open == 0 {
		m.askOrder(v)
	}
}

// endRound is the commit when everybody accepted or the round was final, and a hold otherwise.
func (m *Machine) endRound(v *move) {
	v.asking = false
	if !v.refused || v.final {
		m.override(v)
		m.commit(v)
		return
	}
	v.forgetSettled()
	if !v.held() { // all resumed while the round still ran
		m.nextRound(v)
		return
	}
	m.tellHeld(v)
	m.answerHeld()
}

// nextRound plans the round after a hold: at once, or spaced when there were many.
func (m *Machine) nextRound(v *move) {
	if v.next != nil {
		return
	}
	m.agenda.cancel(v.telling)
	v.telling = nil
	m.tell(v, wire.KindResumed)
	if v.round+1 < spacedFrom {
		m.startRound(v)
		return
	}
	space := min(firstSpace<<min(v.round+1-spacedFrom, 10), longestSpace)
	v.next = m.agenda.after(space, func() { m.startRound(v) })
}
