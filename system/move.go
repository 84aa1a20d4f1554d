package system

import (
	"slices"
	"time"

	"muster/wire"
)

// move is the transition that is under way. A machine has at most one.
//
// It goes in rounds. A round asks the notifiers that care, order by order, and ends after the order in which somebody
// did not accept; a round in which everybody accepted is the commit. Between rounds the move is held.
type move struct {
	plan
	id      string
	from    wire.State
	goal    wire.State
	started wire.MonoMicros
	expiry  *appointment // when its limit is over
	rejoins bool         // it waits for those who took part before the daemon was restarted
	ending  bool         // it is the end, and the calls booked for it run

	round     int
	asking    bool // a round runs
	final     bool // and it is the last one
	open      int  // questions of the current order that are not answered
	refused   bool // somebody in this round did not accept
	questions []*question
	resumed   map[string]bool // resumes that came before the deferral that they answer
	next      *appointment    // the next round, when rounds are spaced

	// Over the rounds:
	holders    []*holder
	since      map[string]wire.MonoMicros // who has been holding since when
	silent     map[string]int             // how often in a row a notifier did not answer
	lost       []string
	overridden []wire.Overridden

	proposal  *wire.Transition // proposed, as long as it is not sent
	proposing *appointment     // when it will be
	told      time.Time        // when held was last sent
	telling   *appointment     // when it will be
}

// holder is a notifier that did not accept in the last round.
type holder struct {
	wire.Holder
	how      wire.How
	resolved bool
	due      *appointment // resolves it
}

// automatic reports whether the move is a part of the climb, which the system makes by itself.
func (v *move) automatic() bool {
	return v.rank == stepping || v.rank == withdrawing && v.to == wire.Initialized
}

// flapping reports whether there were so many rounds that they are spaced.
func (v *move) flapping() bool { return v.round >= spacedFrom }

// holding finds an unresolved holder.
func (v *move) holding(name string) *holder {
	for _, h := range v.holders {
		if h.Notifier == name && !h.resolved {
			return h
		}
	}
	return nil
}

// view lists the holders that are not resolved.
func (v *move) view() []wire.Holder {
	holders := []wire.Holder{}
	for _, h := range v.holders {
		if !h.resolved {
			holders = append(holders, h.Holder)
		}
	}
	return holders
}

// held reports whether the move waits for its holders.
func (v *move) held() bool {
	return !v.asking && slices.ContainsFunc(v.holders, func(h *holder) bool { return !h.resolved })
}

// picture is the move as sys.transition shows it.
func (v *move) picture(kind wire.Kind) *wire.Transition {
	return &wire.Transition{
		Kind: kind, ID: v.id, From: v.from, To: v.to, Goal: v.goal, Round: v.round, Reason: v.reason, Started: v.started,
		Limit: wire.InMicros(v.limit), Holders: v.view(), Lost: slices.Clone(v.lost),
		Overridden: slices.Clone(v.overridden), Flapping: v.flapping(),
	}
}

// propose has the proposal sent before anything else is told of the move, or after [proposeAfter]. Storing it takes
// longer than a round that passes at once, which would have to share the processor with it.
func (m *Machine) propose(v *move) {
	v.proposal = v.picture(wire.KindProposed)
	v.proposing = m.agenda.after(proposeAfter, func() { m.sendProposal(v) })
}

func (m *Machine) sendProposal(v *move) {
	if t := v.proposal; t != nil {
		m.agenda.cancel(v.proposing)
		v.proposal = nil
		m.send(t)
	}
}

// tell sends an event of the move.
func (m *Machine) tell(v *move, kind wire.Kind) {
	m.sendProposal(v)
	m.send(v.picture(kind))
}

func (m *Machine) send(t *wire.Transition) {
	m.opts.Journal.Keep(wire.TransitionTopic, t)
	if m.opts.Record != nil {
		m.opts.Record(*t)
	}
}

// tellHeld sends held, at most every [heldEvery]; the last change is always sent, if only by the event that ends it.
func (m *Machine) tellHeld(v *move) {
	if v.telling != nil {
		return
	}
	send := func() {
		v.telling, v.told = nil, time.Now()
		m.tell(v, wire.KindHeld)
	}
	if wait := heldEvery - time.Since(v.told); wait > 0 {
		v.telling = m.agenda.after(wait, send)
		return
	}
	send()
}

// hold makes a notifier a holder, as others see it with its retry. It is resolved by itself some time later; who should
// be there and is not holds until it registers.
func (m *Machine) hold(v *move, name, reason string, how wire.How, retry wire.Micros, later time.Duration) {
	v.refused = true
	since, ok := v.since[name]
	if !ok {
		_, since = m.opts.Clock.Now()
		v.since[name] = since
	}
	h := &holder{Holder: wire.Holder{Notifier: name, Reason: reason, Since: since, Retry: retry}, how: how}
	v.holders = append(v.holders, h)
	switch {
	case reason == wire.ReasonNotHere:
	case v.resumed[name]:
		h.resolved = true
	default:
		h.due = m.agenda.after(later, func() { m.resolve(v, h) })
	}
}

// resume takes a notifier's word that it holds no longer. It reports whether that changes anything: while the round
// still runs, it is remembered for the deferral that it may have overtaken.
func (m *Machine) resume(v *move, name string) bool {
	if h := v.holding(name); h != nil {
		m.resolve(v, h)
		return true
	}
	n := m.notifiers.named[name]
	if !v.asking || n == nil || !n.hears(v.to) || v.resumed[name] {
		return false
	}
	if q := n.question; q != nil && !q.open() {
		return false // it has answered
	}
	v.resumed[name] = true
	return true
}

// resolve lets go of one holder. When it was the last, everybody is asked again.
func (m *Machine) resolve(v *move, h *holder) {
	if m.move != v || h.resolved {
		return
	}
	h.resolved = true
	m.agenda.cancel(h.due)
	switch {
	case v.asking:
	case v.held():
		m.tellHeld(v)
	default:
		m.nextRound(v)
	}
}

// forgetSettled starts the age of a hold anew for whoever has let go of it.
func (v *move) forgetSettled() {
	for name := range v.since {
		if !slices.ContainsFunc(v.holders, func(h *holder) bool { return h.Notifier == name }) {
			delete(v.since, name)
		}
	}
}

// override notes whom a commit does not wait for any longer.
func (m *Machine) override(v *move) {
	for _, h := range v.holders {
		if !h.resolved || v.final {
			v.overridden = append(v.overridden, wire.Overridden{Notifier: h.Notifier, How: h.how})
		}
	}
	if len(v.overridden) > 0 {
		m.tell(v, wire.KindOverridden)
	}
}

// breakThrough commits a held move although somebody holds it.
func (m *Machine) breakThrough(v *move) {
	if v.ending {
		return
	}
	m.override(v)
	m.commit(v)
}

// limitOver ends a move that was held too long, or makes its last round.
func (m *Machine) limitOver(v *move) {
	if v.policy == wire.LimitProceed {
		v.final = true
		m.agenda.cancel(v.next)
		m.startRound(v)
		return
	}
	m.giveUp(v, wire.KindExpired, "held longer than its limit")
}

// release drops everything that a move still waits for.
func (m *Machine) release(v *move) {
	m.settle(v)
	m.agenda.cancel(v.expiry)
}

// settle drops what a round and the hold behind it still wait for. A late answer from another process is none of it.
func (m *Machine) settle(v *move) {
	v.asking = false
	m.agenda.cancel(v.next)
	m.agenda.cancel(v.telling)
	for _, h := range v.holders {
		m.agenda.cancel(h.due)
	}
	for _, q := range v.questions {
		if q.to.question == q {
			q.to.question = nil
		}
		if q != q.to.late {
			m.close(q)
		}
	}
	v.questions = nil
}
