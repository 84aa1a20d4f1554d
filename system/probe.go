package system

import (
	"cmp"
	"slices"

	"muster/wire"
)

// probe is a dry run: everybody is asked once whether they would hold a move, and nothing moves. It does not touch the
// running move.
type probe struct {
	wish    *wish
	open    int // questions that are not answered
	holders []wire.Holder
	since   wire.MonoMicros
}

// probe starts the dry run that a wish asks for.
func (m *Machine) probe(w *wish, way course) error {
	to := w.Target
	switch {
	case way == isReached:
		m.answer(w, wire.OutcomeReached)
		return nil
	case m.probes >= maxDryRuns:
		return wire.Errorf(wire.CodeTooMany, "%d dry runs are under way already; wait for one of them", maxDryRuns)
	case way == joinsSteps:
		to = m.step()
	}
	m.probes++
	m.askProbe(w, to)
	return nil
}

// step is where the climb goes next.
func (m *Machine) step() wire.State {
	if m.state == wire.PolicyInvalid {
		return wire.Initialized
	}
	return m.state + 1
}

// askProbe asks everybody who cares for the target at the same time.
func (m *Machine) askProbe(w *wish, to wire.State) {
	p := &probe{wish: w, holders: []wire.Holder{}}
	_, p.since = m.opts.Clock.Now()
	var questions []*question
	for _, n := range m.notifiers.inTurn {
		switch {
		case n.absent(to):
			p.hold(n, wire.ReasonNotHere, 0)
		case n.hears(to):
			questions = append(questions, &question{to: n})
		}
	}
	p.open = len(questions) + 1 // and this
	text := wire.Question{
		ID: m.newID(), From: m.state, To: to, Goal: goalOf(to), Round: 1, Reason: w.Reason, DryRun: true,
	}
	m.put(text, questions, p, 0)
	p.settled(m)
}

// hold notes who would hold the move.
func (p *probe) hold(n *notifier, reason string, retry wire.Micros) {
	p.holders = append(p.holders, wire.Holder{Notifier: n.name, Reason: reason, Since: p.since, Retry: retry})
}

// heard implements asking.
func (p *probe) heard(m *Machine, q *question, a wire.Answer) {
	q.answered(a)
	if a.Answer != wire.Accept {
		p.hold(q.to, a.Reason, a.Retry)
	}
	m.close(q)
	p.settled(m)
}

// gone implements asking.
func (p *probe) gone(m *Machine, q *question) {
	m.close(q)
	p.settled(m)
}

// expired implements asking.
func (p *probe) expired(m *Machine, q *question) {
	p.hold(q.to, wire.ReasonNoAnswer, 0)
	m.close(q)
	p.settled(m)
}

// settled answers a dry run of which nothing is open: held by whom, or pending when nobody would hold it.
func (p *probe) settled(m *Machine) {
	if p.open--; p.open > 0 {
		return
	}
	m.probes--
	slices.SortFunc(p.holders, func(a, b wire.Holder) int { return cmp.Compare(a.Notifier, b.Notifier) })
	outcome := wire.OutcomePending
	if len(p.holders) > 0 {
		outcome = wire.OutcomeHeld
	}
	p.wish.reply <- wire.StateOutcome{Request: p.wish.id, Outcome: outcome, State: m.state, Holders: p.holders}
}
