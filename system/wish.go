package system

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"muster/wire"
)

// wish is a request for a state that waits for its answer.
type wish struct {
	wire.StateWish
	id     string
	rank   rank // of the move that fulfils it
	move   string
	caller wire.Caller
	due    *appointment
	reply  chan wire.StateOutcome // takes one
}

// patient reports whether the wish waits although it is held.
func (w *wish) patient() bool { return w.Wait > 0 }

// Request answers state.request: it sets the system on its way to a state, or joins it there. See [wire.StateWish].
func (m *Machine) Request(ctx context.Context, caller wire.Caller, want wire.StateWish) (wire.StateOutcome, error) {
	if err := m.mayWish(caller, want); err != nil {
		return wire.StateOutcome{}, err
	}
	take := m.take
	if want.DryRun {
		take = m.probe
	}
	w, err := inside(ctx, m, func() (*wish, error) { return take(caller, want) })
	if err != nil {
		return wire.StateOutcome{}, err
	}
	select {
	case outcome := <-w.reply:
		return outcome, nil
	case <-m.stopped:
		return wire.StateOutcome{}, errStopping
	case <-ctx.Done():
		m.mail.post(func() { m.dropWish(w) })
		return wire.StateOutcome{}, wire.Errorf(wire.CodeTimeout, "no answer in time: %v", ctx.Err())
	}
}

// mayWish checks what of a wish needs the right to override others.
func (m *Machine) mayWish(caller wire.Caller, want wire.StateWish) error {
	if want.Target == wire.Unknown {
		return wire.Malformed("target is UNKNOWN, which nothing moves to; CONTEXT_CREATED or above would be right")
	}
	configured := m.opts.Limits.Hold[want.Target]
	limit := want.Limit.Duration()
	switch {
	case want.Force:
		return m.mayOverride(caller, "force")
	case want.OnLimit == wire.LimitProceed && configured.OnLimit != wire.LimitProceed:
		return m.mayOverride(caller, "on_limit proceed")
	case limit > 0 && (configured.After == 0 || limit < configured.After):
		return m.mayOverride(caller, "a limit_us shorter than configured")
	}
	return nil
}

// mayOverride checks the right to act over others' heads.
func (m *Machine) mayOverride(caller wire.Caller, what string) error {
	const right = "state:override"
	if m.opts.May == nil || m.opts.May(caller, right) {
		return nil
	}
	return wire.Errorf(wire.CodeForbidden, "%s needs the right %s", what, right).With("right", right)
}

// newWish makes a wish with its id.
func (m *Machine) newWish(caller wire.Caller, want wire.StateWish) *wish {
	m.requests++
	return &wish{
		StateWish: want, caller: caller, id: fmt.Sprintf("%s.r%d", m.opts.Boot, m.requests),
		reply: make(chan wire.StateOutcome, 1),
	}
}

// take sets a wish on its way.
func (m *Machine) take(caller wire.Caller, want wire.StateWish) (*wish, error) {
	if m.state == wire.ContextDestroying && want.Target != m.state {
		return nil, errStopping
	}
	if len(m.wishes) >= maxWishes {
		return nil, wire.Errorf(wire.CodeTooMany, "%d wishes wait for their state already; wait for one of them", maxWishes)
	}
	way, r, err := plot(m.state, want)
	if err != nil {
		return nil, err
	}
	w := m.newWish(caller, want)
	w.rank = r
	if way == isReached {
		m.answer(w, wire.OutcomeReached)
		m.unpause()
		return w, nil
	}
	displaces, err := m.arbitrate(w, way)
	if err != nil {
		return nil, err
	}
	m.wishes = append(m.wishes, w)
	w.due = m.agenda.after(cmp.Or(w.Wait, wire.MaxWait).Duration(), func() { m.answer(w, m.standing()) })
	if displaces {
		m.displace(w)
	}
	m.pursue(w, way)
	m.unpause()
	if m.waiting(w) && !w.patient() {
		switch {
		case m.move != nil && m.move.held():
			m.answer(w, wire.OutcomeHeld)
		case way == waitsThere:
			m.answer(w, wire.OutcomePending)
		}
	}
	return w, nil
}

// arbitrate holds the wish against the running move. It may displace it, go along with it, or is told 423.
func (m *Machine) arbitrate(w *wish, way course) (displaces bool, err error) {
	v := m.move
	switch {
	case v == nil || way == waitsThere:
		return false, nil
	case way == joinsSteps && v.rank != destroying:
		return false, nil // after whatever runs, the climb goes on by itself
	case way == jumpsThere && w.rank == v.rank && w.Target == v.to:
		return false, nil
	case w.rank > v.rank && !v.ending:
		return true, nil
	}
	return false, wire.Errorf(wire.CodeHeld, "the system is on its way from %s to %s: %s; a wish for %s has to wait",
		v.from, v.to, v.reason, w.Target).With("transition", m.current())
}

// displace ends the running move for one of higher rank. Wishes that the climb will still fulfil live on.
func (m *Machine) displace(w *wish) {
	v := m.move
	m.end(v, wire.KindAborted, fmt.Sprintf("displaced by a wish for %s: %s", w.Target, w.Reason))
	if w.rank == destroying {
		m.answerFailed(wire.KindAborted, func(other *wish) bool { return other != w })
	}
}

// pursue starts what the wish needs, or makes way for it.
func (m *Machine) pursue(w *wish, way course) {
	p := plan{
		to: w.Target, rank: w.rank, reason: w.Reason, owner: w.caller, own: w.Own,
		limit: w.Limit.Duration(), policy: w.OnLimit, force: w.Force,
	}
	v := m.move
	switch {
	case way == waitsThere:
		if m.withdraw == nil {
			m.withdraw = &p
		}
	case way == jumpsThere && v == nil:
		m.start(p)
	case way == joinsSteps && w.Force:
		m.climb.forced = max(m.climb.forced, w.Target)
		if v != nil && v.rank == stepping && v.to <= w.Target {
			m.breakThrough(v)
		}
	case way == joinsSteps && v == nil:
		m.climb = climb{reason: w.Reason, owner: w.caller, limit: p.limit, policy: p.policy}
	case w.Force:
		m.breakThrough(v)
	}
}

// note tells the wishes that a move will fulfil which one it is.
func (m *Machine) note(v *move) {
	for _, w := range m.wishes {
		if w.rank == v.rank || w.rank == stepping {
			w.move = v.id
		}
	}
}

// standing says how a wish stands that is not fulfilled.
func (m *Machine) standing() wire.Outcome {
	if m.move != nil && m.move.held() {
		return wire.OutcomeHeld
	}
	return wire.OutcomePending
}

// waiting reports whether the wish is not answered yet.
func (m *Machine) waiting(w *wish) bool { return slices.Contains(m.wishes, w) }

// answer tells a wish how it stands, which is the end of it.
func (m *Machine) answer(w *wish, outcome wire.Outcome) {
	m.dropWish(w)
	answer := wire.StateOutcome{
		Request: w.id, ID: w.move, Outcome: outcome, State: m.state, Holders: []wire.Holder{},
	}
	if m.move != nil {
		answer.ID = m.move.id
		if outcome == wire.OutcomeHeld {
			answer.Holders = m.move.view()
		}
	}
	if outcome != wire.OutcomeHeld && w.move != "" {
		answer.ID = w.move
	}
	w.reply <- answer
}

func (m *Machine) dropWish(w *wish) {
	m.agenda.cancel(w.due)
	m.wishes = slices.DeleteFunc(m.wishes, func(other *wish) bool { return other == w })
}

// answerHeld answers those who only wanted to know whether it is held.
func (m *Machine) answerHeld() {
	m.answerWhere(wire.OutcomeHeld, func(w *wish) bool { return !w.patient() })
}

// answerFulfilled answers whoever has got the state, and at the end everybody.
func (m *Machine) answerFulfilled() {
	m.answerWhere(wire.OutcomeReached, func(w *wish) bool { return fulfilled(m.state, w.StateWish) })
	if m.state == wire.ContextDestroying {
		m.answerWhere(wire.OutcomeAborted, func(*wish) bool { return true })
	}
}

// answerFailed answers wishes that will not be fulfilled.
func (m *Machine) answerFailed(kind wire.Kind, which func(*wish) bool) {
	outcome := wire.OutcomeAborted
	if kind == wire.KindExpired {
		outcome = wire.OutcomeExpired
	}
	m.answerWhere(outcome, which)
}

func (m *Machine) answerWhere(outcome wire.Outcome, which func(*wish) bool) {
	if len(m.wishes) == 0 {
		return
	}
	for _, w := range slices.Clone(m.wishes) {
		if which(w) {
			m.answer(w, outcome)
		}
	}
}

// Abort answers state.abort: the running transition ends, if it is the caller's own or he may override others.
func (m *Machine) Abort(ctx context.Context, caller wire.Caller, a wire.Abort) (wire.Aborted, error) {
	return inside(ctx, m, func() (wire.Aborted, error) {
		v := m.move
		switch {
		case a.ID != "" && (v == nil || a.ID != v.id):
			return wire.Aborted{}, m.checkID(a.ID)
		case v == nil:
			return wire.Aborted{}, wire.Conflict("no transition is under way in %s; there is nothing to abort", m.state)
		case v.ending:
			return wire.Aborted{}, wire.Conflict("transition %s cannot be aborted any more: everybody accepted it", v.id)
		}
		if v.owner.Identity != caller.Identity {
			if err := m.mayOverride(caller, "to abort what another wished for"); err != nil {
				return wire.Aborted{}, err
			}
		}
		m.giveUp(v, wire.KindAborted, a.Reason)
		return wire.Aborted{State: m.state}, nil
	})
}

// Resume answers state.resume: a notifier holds no longer.
func (m *Machine) Resume(ctx context.Context, caller wire.Caller, r wire.Resume) (wire.Resumed, error) {
	return inside(ctx, m, func() (wire.Resumed, error) {
		v, n := m.move, m.notifiers[r.Notifier]
		switch {
		case n == nil:
			return wire.Resumed{}, wire.NotFound("there is no notifier %s", r.Notifier)
		case r.ID != "" && (v == nil || r.ID != v.id):
			return wire.Resumed{}, m.checkID(r.ID)
		case n.identity != "" && n.identity != caller.Identity && caller.Identity != wire.Daemon:
			if err := m.mayOverride(caller, "to resume for another's notifier"); err != nil {
				return wire.Resumed{}, err
			}
		}
		if v == nil {
			return wire.Resumed{Outcome: wire.ResumeNotHolding}, nil
		}
		if h := v.holding(r.Notifier); h != nil && h.Reason == wire.ReasonNotHere {
			return wire.Resumed{}, wire.Conflict("notifier %s is required and not connected; it holds until it registers", r.Notifier)
		}
		if m.resume(v, r.Notifier) {
			return wire.Resumed{Outcome: wire.ResumeDone}, nil
		}
		return wire.Resumed{Outcome: wire.ResumeNotHolding}, nil
	})
}
