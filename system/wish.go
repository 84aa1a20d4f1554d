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
	rank   rank   // of the move that fulfils it
	move   string // the transition last made for it; "" as long as there was none
	caller wire.Caller
	then   *wire.Reboot // what is to follow the end that it asks for; nil: nothing
	due    *appointment
	reply  chan wire.StateOutcome // takes one
}

// patient reports whether the wish waits although it is held.
func (w *wish) patient() bool { return w.Wait > 0 }

// Request answers state.request: it sets the system on its way to a state, or joins it there. See [wire.StateWish].
func (m *Machine) Request(ctx context.Context, caller wire.Caller, want wire.StateWish) (wire.StateOutcome, error) {
	return m.fulfil(ctx, &wish{StateWish: want, caller: caller})
}

// Reboot answers op.reboot: a wish for CONTEXT_DESTROYING, and what is to follow it if this wish leads there. See
// [Machine.AtTheEnd].
func (m *Machine) Reboot(ctx context.Context, caller wire.Caller, r wire.Reboot) (wire.StateOutcome, error) {
	r.Mode = cmp.Or(r.Mode, wire.ModeReboot)
	return m.fulfil(ctx, &wish{StateWish: r.Wish(), caller: caller, then: &r})
}

// fulfil sets a wish on its way and waits for its answer.
func (m *Machine) fulfil(ctx context.Context, w *wish) (wire.StateOutcome, error) {
	w.reply = make(chan wire.StateOutcome, 1)
	_, err := inside(ctx, m, func() (struct{}, error) { return struct{}{}, m.take(w) })
	if err != nil {
		return wire.StateOutcome{}, err
	}
	select {
	case outcome := <-w.reply:
		return outcome, nil
	case <-m.stopped:
		select { // the end itself was wished for, and is the last thing that is answered
		case outcome := <-w.reply:
			return outcome, nil
		default:
			return wire.StateOutcome{}, errStopping
		}
	case <-ctx.Done():
		m.mail.post(func() { m.dropWish(w) })
		return wire.StateOutcome{}, wire.Errorf(wire.CodeTimeout, "no answer in time: %v", ctx.Err())
	}
}

// mayWish checks what of a wish needs the right to override others.
func (m *Machine) mayWish(w *wish, way course) error {
	switch {
	case w.Force:
		return m.mayOverride(w.caller, "force")
	case w.OnLimit == wire.LimitProceed:
		return m.mayOverride(w.caller, "on_limit proceed")
	case m.shortens(w, way):
		return m.mayOverride(w.caller, "a limit_us shorter than configured")
	}
	return nil
}

// shortens reports whether the wish gives one of its transitions less time than the configuration does.
func (m *Machine) shortens(w *wish, way course) bool {
	limit := w.Limit.Duration()
	first := w.Target
	if way == joinsSteps {
		first = m.step()
	}
	for to := first; to <= w.Target && limit > 0; to++ {
		if configured := m.opts.Limits.Hold[to].After; configured == 0 || limit < configured {
			return true
		}
	}
	return false
}

// mayOverride checks the right to act over others' heads.
func (m *Machine) mayOverride(caller wire.Caller, what string) error {
	const right = "state:override"
	if m.opts.May == nil || caller.Identity == wire.Daemon || m.opts.May(caller, right) {
		return nil
	}
	return wire.Errorf(wire.CodeForbidden, "%s needs the right %s", what, right).With("right", right)
}

// take sets a wish on its way.
func (m *Machine) take(w *wish) error {
	if m.state == wire.ContextDestroying && (w.Target != m.state || w.then != nil) {
		return errStopping
	}
	way, r, err := plot(m.state, w.StateWish)
	if err == nil {
		err = m.mayWish(w, way)
	}
	if err != nil {
		return err
	}
	m.requests++
	w.id, w.rank = fmt.Sprintf("%s.r%d", m.opts.Boot, m.requests), r
	switch {
	case w.DryRun:
		return m.probe(w, way)
	case way == isReached:
		m.stayFor(w)
		m.answer(w, wire.OutcomeReached)
		m.unpause()
		return nil
	case len(m.wishes) >= maxWishes && w.caller.Identity != wire.Daemon:
		return wire.Errorf(wire.CodeTooMany, "%d wishes wait for their state already; wait for one of them", maxWishes)
	}
	displaces, err := m.arbitrate(w, way)
	if err != nil {
		return err
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
	return nil
}

// arbitrate holds the wish against the running move. It may displace it, go along with it, or is told 423.
func (m *Machine) arbitrate(w *wish, way course) (displaces bool, err error) {
	v := m.move
	switch {
	case v == nil || way == waitsThere:
		return false, nil
	case way == joinsSteps && v.rank != destroying:
		return false, nil // after whatever runs, the climb goes on by itself
	case way == jumpsThere && w.rank == v.rank && w.Target == v.to && !v.contradicts(w):
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
	v := m.move
	switch {
	case way == waitsThere:
		if m.withdraw == nil {
			m.withdraw = new(w.plan())
		}
	case way == jumpsThere && v == nil:
		m.start(w.plan())
	case way == jumpsThere:
		m.join(w, v)
	case v == nil:
		m.climb = climb{
			reason: w.Reason, owner: w.caller, until: w.Target, limit: w.Limit.Duration(), policy: w.OnLimit,
		}
		if w.Force {
			m.climb.forced = w.Target
		}
	default:
		m.joinClimb(w, v)
	}
}

// plan is the jump that a wish asks for.
func (w *wish) plan() plan {
	return plan{
		to: w.Target, rank: w.rank, reason: w.Reason, owner: w.caller, stays: w.owners(), limit: w.Limit.Duration(),
		policy: w.OnLimit, force: w.Force, then: w.then, wishes: 1,
	}
}

// owners gives the connection with which a stay is to end, if one is.
func (w *wish) owners() []uint64 {
	if !w.Own || w.caller.Conn == 0 {
		return nil
	}
	return []uint64{w.caller.Conn}
}

// join has a running jump fulfil one more wish, which changes neither its limit nor its reason.
func (m *Machine) join(w *wish, v *move) {
	w.move = v.id
	v.stays = append(v.stays, w.owners()...)
	v.wishes++
	if v.then == nil {
		v.then = w.then
	}
	if w.Force {
		m.breakThrough(v)
	}
}

// joinClimb has the climb fulfil one more wish, after the jump v if it is one.
func (m *Machine) joinClimb(w *wish, v *move) {
	w.move = v.id
	if !w.Force {
		return
	}
	m.climb = m.climb.forcedTo(w.Target)
	if v.automatic() && v.to <= w.Target {
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

// contradicts reports whether something else is to follow the end than a wish asks for.
func (v *move) contradicts(w *wish) bool {
	return v.then != nil && w.then != nil && v.then.Mode != w.then.Mode
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
	if outcome == wire.OutcomeHeld {
		answer.ID, answer.Holders = m.move.id, m.move.view()
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

// Abort answers state.abort: the running transition ends, if it is the caller's own or he may override others. Without
// one it is the move that waits for the end of MODAL_UPDATING which is not made.
func (m *Machine) Abort(ctx context.Context, caller wire.Caller, a wire.Abort) (wire.Aborted, error) {
	return inside(ctx, m, func() (wire.Aborted, error) {
		v := m.move
		doomed := m.withdraw
		switch {
		case a.ID != "" && (v == nil || a.ID != v.id):
			return wire.Aborted{}, m.checkID(a.ID)
		case v != nil && v.ending:
			return wire.Aborted{}, wire.Conflict("transition %s cannot be aborted any more: its last calls run", v.id)
		case v != nil:
			doomed = &v.plan
		case doomed == nil:
			return wire.Aborted{}, wire.Conflict("no transition is under way in %s; there is nothing to abort", m.state)
		}
		if doomed.owner.Identity != caller.Identity {
			if err := m.mayOverride(caller, "to abort what another wished for"); err != nil {
				return wire.Aborted{}, err
			}
		}
		if v == nil {
			m.withdraw = nil
			m.answerFailed(wire.KindAborted, func(w *wish) bool { return w.rank == withdrawing })
		} else {
			m.giveUp(v, wire.KindAborted, a.Reason)
		}
		return wire.Aborted{State: m.state}, nil
	})
}

// Withdraw takes back one wish of the daemon's own for the transition id, a jump, whatever it was answered. The transition
// is aborted if nobody else has asked for it, and aborted says so. One that is over is left alone.
func (m *Machine) Withdraw(ctx context.Context, id, reason string) (aborted bool, err error) {
	return inside(ctx, m, func() (bool, error) {
		v := m.move
		switch {
		case v == nil || v.id != id:
			return false, nil
		case v.ending:
			return false, wire.Conflict("transition %s cannot be aborted any more: its last calls run", v.id)
		}
		if v.wishes--; v.wishes != 0 {
			return false, nil
		}
		m.giveUp(v, wire.KindAborted, reason)
		return true, nil
	})
}

// Resume answers state.resume: a notifier holds no longer.
func (m *Machine) Resume(ctx context.Context, caller wire.Caller, r wire.Resume) (wire.Resumed, error) {
	return inside(ctx, m, func() (wire.Resumed, error) {
		v, n := m.move, m.notifiers.named[r.Notifier]
		switch {
		case n == nil:
			return wire.Resumed{}, wire.NotFound("there is no notifier %s", r.Notifier)
		case r.ID != "" && (v == nil || r.ID != v.id):
			return wire.Resumed{}, m.checkID(r.ID)
		case n.identity != "" && n.identity != caller.Identity:
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
