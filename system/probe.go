package system

import (
	"cmp"
	"slices"

	"muster/wire"
)

// probe asks everybody once whether they would hold a move, and moves nothing. It does not touch the running move.
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
	_, mono := m.opts.Clock.Now()
	holders := []wire.Holder{}
	open := 1 // this function itself
	done := func() {
		if open--; open > 0 {
			return
		}
		m.probes--
		m.endProbe(w, holders)
	}
	hold := func(n *notifier, reason string, retry wire.Micros) {
		holders = append(holders, wire.Holder{Notifier: n.name, Reason: reason, Since: mono, Retry: retry})
	}
	var questions []*question
	for _, n := range m.notifiers {
		switch {
		case n.absent(to):
			hold(n, wire.ReasonNotHere, 0)
		case n.hears(to):
			q := &question{to: n}
			q.heard = func(a wire.Answer) {
				q.answered(a)
				if a.Answer != wire.Accept {
					hold(n, a.Reason, a.Retry)
				}
				m.close(q)
				done()
			}
			q.gone = func() { m.close(q); done() }
			questions = append(questions, q)
		}
	}
	open += len(questions)
	slices.SortFunc(questions, func(a, b *question) int {
		return cmp.Or(cmp.Compare(a.to.order, b.to.order), cmp.Compare(a.to.name, b.to.name))
	})
	text := wire.Question{
		ID: m.newID(), From: m.state, To: to, Goal: goalOf(to), Round: 1, Reason: w.Reason, DryRun: true,
	}
	m.put(text, questions, 0, func(q *question) {
		hold(q.to, wire.ReasonNoAnswer, 0)
		m.close(q)
		done()
	})
	done()
}

// endProbe answers a dry run: held by whom, or pending when nobody would hold it.
func (m *Machine) endProbe(w *wish, holders []wire.Holder) {
	slices.SortFunc(holders, func(a, b wire.Holder) int { return cmp.Compare(a.Notifier, b.Notifier) })
	outcome := wire.OutcomePending
	if len(holders) > 0 {
		outcome = wire.OutcomeHeld
	}
	w.reply <- wire.StateOutcome{Request: w.id, Outcome: outcome, State: m.state, Holders: holders}
}
