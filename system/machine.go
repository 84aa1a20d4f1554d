package system

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"muster/wire"
)

// Machine holds the state of the system. It is made by [NewMachine] and lives in [Machine.Run], whose goroutine alone
// changes what stands below mu; all others reach it by what they post, and those who only read look in while it
// does nothing.
//
// Events leave in the order in which things happened, before anybody is answered. Those of a commit are:
// sys.transition (overridden, if somebody was, then committed), sys.state.<STATE>, sys.state.
type Machine struct {
	opts    Options
	mail    *mailbox
	running atomic.Bool
	begun   chan struct{} // closed when the first event has been sent
	stopped chan struct{} // closed when Run returns
	over    chan struct{} // closed when CONTEXT_DESTROYING is entered

	mu       sync.Mutex // held by Run while it works, and by those who look in
	agenda   *agenda
	state    wire.State
	since    wire.MonoMicros // when it was entered
	climb    climb
	paused   *pause
	move     *move
	withdraw *plan // to POLICY_INVALID, waiting for the end of MODAL_UPDATING
	stay     *stay
	then     *wire.Reboot // what follows CONTEXT_DESTROYING; nil: nothing
	wishes   []*wish
	probes   int // dry runs under way

	notifiers roll
	conns     map[uint64][]*notifier
	patience  map[string]time.Duration // by name, for who was late in this boot: its timeout is at least that
	arrivals  map[string][]time.Time   // of registrations, by name, in the last [registrationSpan]
	rejoin    map[string]bool          // who may come back before the first step

	transitions uint64 // issued so far
	requests    uint64
}

// climb is how the boot states are stepped through: for which reason, at whose wish, under which limit.
type climb struct {
	reason string
	owner  wire.Caller
	until  wire.State    // where what it was wished for is reached
	limit  time.Duration // 0: as configured
	policy wire.OnLimit  // "": as configured
	forced wire.State    // steps up to this one ask nobody
}

// ownClimb is the climb that nobody wished for.
var ownClimb = climb{reason: "boot", owner: wire.Internal, until: wire.Operational}

// pause is the rest that the goal has after an aborted or expired boot step.
type pause struct {
	wire.Paused
	end *appointment
}

// plan is a move before it starts.
type plan struct {
	to     wire.State
	rank   rank
	reason string
	owner  wire.Caller   // who may abort it
	stays  []uint64      // connections: a stay that it leads to ends when one of them closes
	limit  time.Duration // how long it may be held; 0: as configured
	policy wire.OnLimit  // what happens then; "": as configured
	force  bool          // nobody is asked
	then   *wire.Reboot  // what follows it, if it is the end; nil: nothing
	wishes int           // how many have asked for it and not withdrawn that; of the climb's own moves none
}

// NewMachine makes a machine in the state UNKNOWN. Notifiers of this process may be added before Run.
func NewMachine(opts Options) *Machine {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Limits.Pause == 0 {
		opts.Limits.Pause = DefaultLimits().Pause
	}
	if opts.Limits.Rejoin == 0 {
		opts.Limits.Rejoin = DefaultLimits().Rejoin
	}
	m := &Machine{
		opts: opts, mail: newMailbox(), begun: make(chan struct{}), stopped: make(chan struct{}), over: make(chan struct{}),
		climb:     ownClimb,
		notifiers: roll{named: map[string]*notifier{}}, conns: map[uint64][]*notifier{}, patience: map[string]time.Duration{},
		arrivals: map[string][]time.Time{}, rejoin: map[string]bool{},
	}
	for i := range opts.Required {
		m.notifiers.enter(placeOf(&opts.Required[i]))
	}
	return m
}

// Run is the machine's life: it boots, and serves until ctx is done. Requests that still wait are then told 503.
func (m *Machine) Run(ctx context.Context) error {
	m.work(m.begin)
	defer m.agenda.stop()
	defer close(m.stopped)
	var letters []func()
	for {
		select {
		case <-ctx.Done():
			m.work(m.abandon)
			return nil
		case <-m.agenda.timer.C:
			m.work(m.agenda.ring)
		case <-m.mail.bell:
			letters = m.mail.take(letters)
			for i, letter := range letters {
				m.work(letter)
				letters[i] = nil
			}
		}
	}
}

// begin is the first thing that the machine does.
func (m *Machine) begin() {
	m.agenda = newAgenda()
	m.remember()
	m.running.Store(true)
	_, m.since = m.opts.Clock.Now()
	m.opts.Journal.Keep(wire.StateSubject, &wire.StateEvent{Goal: wire.Operational, Reason: m.climb.reason})
	close(m.begun)
	m.next()
}

// abandon is the last thing that it does.
func (m *Machine) abandon() {
	if m.move != nil {
		m.sendProposal(m.move)
		m.release(m.move)
	}
	for _, n := range m.notifiers.inTurn {
		m.forgetLate(n)
	}
}

// work does one thing while nobody looks in.
func (m *Machine) work(do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do()
}

// Begun is closed when this boot's first event has been sent: the state is UNKNOWN.
func (m *Machine) Begun() <-chan struct{} { return m.begun }

// Over is closed when CONTEXT_DESTROYING has been entered and announced.
func (m *Machine) Over() <-chan struct{} { return m.over }

// AtTheEnd tells, once [Machine.Over] is closed, how the device is to go down; false when only the daemon ends.
func (m *Machine) AtTheEnd() (wire.Reboot, bool) {
	if m.then == nil {
		return wire.Reboot{}, false
	}
	return *m.then, true
}

// inside runs f on the machine's goroutine, once that runs, and gives what it gives.
func inside[T any](ctx context.Context, m *Machine, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	m.mail.post(func() {
		value, err := f()
		done <- result{value, err}
	})
	var none T
	select {
	case r := <-done:
		return r.value, r.err
	case <-m.stopped:
		return none, errStopping
	case <-ctx.Done():
		return none, wire.Errorf(wire.CodeTimeout, "no answer in time: %v", ctx.Err())
	}
}

// look gives what f reads while the machine does nothing else. f changes nothing, so it need not wait for its turn.
func look[T any](ctx context.Context, m *Machine, f func() T) (found T, err error) {
	if !m.running.Load() {
		return inside(ctx, m, func() (T, error) { return f(), nil })
	}
	select {
	case <-m.stopped:
		return found, errStopping
	default:
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return f(), nil
}

var errStopping = wire.Errorf(wire.CodeStopping, "the daemon is shutting down")

// next takes the step that the state itself asks for, if there is one and nothing is under way.
func (m *Machine) next() {
	switch {
	case m.move != nil || m.state == wire.ContextDestroying:
	case m.stay != nil && m.stay.over:
		m.leave(m.stay.why)
	case m.withdraw != nil && m.state != wire.ModalUpdating:
		p := *m.withdraw
		m.withdraw = nil
		m.start(p)
	case m.paused != nil:
	case m.state == wire.PolicyInvalid:
		m.start(m.climbing(wire.Initialized, withdrawing))
	case m.state < wire.Operational:
		m.start(m.climbing(m.state+1, stepping))
	}
}

// forcedTo gives the same climb in which steps up to a state ask nobody.
func (c climb) forcedTo(state wire.State) climb {
	c.forced = max(c.forced, state)
	return c
}

// climbing plans a step of the climb.
func (m *Machine) climbing(to wire.State, r rank) plan {
	c := m.climb
	return plan{
		to: to, rank: r, reason: c.reason, owner: c.owner, limit: c.limit, policy: c.policy, force: to <= c.forced,
	}
}

// start begins a move. There is none under way.
func (m *Machine) start(p plan) {
	configured := m.opts.Limits.Hold[p.to]
	if p.limit == 0 {
		p.limit = configured.After
	}
	if p.policy == "" {
		p.policy = configured.OnLimit
	}
	_, mono := m.opts.Clock.Now()
	v := &move{
		plan: p, id: m.newID(), from: m.state, goal: goalOf(p.to), started: mono,
		resumed: map[string]bool{}, silent: map[string]int{}, since: map[string]wire.MonoMicros{},
	}
	m.move = v
	m.note(v)
	m.propose(v)
	if v.limit > 0 && !v.force {
		v.expiry = m.agenda.after(v.limit, func() { m.limitOver(v) })
	}
	switch {
	case v.force:
		m.commit(v)
	case len(m.rejoin) > 0:
		m.awaitRejoin(v)
	default:
		m.startRound(v)
	}
}

// awaitRejoin holds the first step for those who took part before the daemon was restarted.
func (m *Machine) awaitRejoin(v *move) {
	v.rejoins = true
	for _, name := range slices.Sorted(maps.Keys(m.rejoin)) {
		m.hold(v, name, wire.ReasonRejoin, wire.HowNotConnected, wire.InMicros(m.opts.Limits.Rejoin), m.opts.Limits.Rejoin)
	}
	clear(m.rejoin)
	m.tellHeld(v)
	m.answerHeld()
}

// commit makes the move happen. The end is different in that the calls booked for it run before.
func (m *Machine) commit(v *move) {
	m.release(v)
	v.holders = nil
	if v.to != wire.ContextDestroying || m.opts.Destroying == nil {
		m.enter(v)
		return
	}
	v.ending = true
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), destroyBudget)
		defer cancel()
		m.opts.Destroying(ctx)
		m.mail.post(func() { m.enter(v) })
	}()
}

// enter is the commit itself: the state changes, everybody hears of it in order, and whoever waited is answered.
func (m *Machine) enter(v *move) {
	m.move = nil
	m.endStay()
	m.state = v.to
	m.tell(v, wire.KindCommitted)
	event := wire.StateEvent{
		State: v.to, Number: int(v.to), From: v.from, ID: v.id, Goal: goalOf(v.to), Reason: v.reason,
	}
	again := event
	m.opts.Journal.Keep(wire.StateTopic(v.to), &event)
	m.since = m.opts.Journal.Keep(wire.StateSubject, &again).Mono
	if m.opts.Entered != nil {
		m.opts.Entered(v.to)
	}
	switch {
	case v.to == wire.ContextDestroying:
		m.then = v.then
		close(m.over)
	case v.to.Modal():
		m.startStay(v)
	case v.rank == fallingBack || v.rank == withdrawing && v.to == wire.PolicyInvalid:
		m.climb = climb{reason: v.reason, owner: wire.Internal, until: wire.Operational}
	case v.to >= m.climb.until:
		m.climb = ownClimb.forcedTo(m.climb.forced)
	}
	m.answerFulfilled()
	m.next()
}

// end stops a move without a commit and fails the wishes that only it could have fulfilled. What comes next is the
// caller's to say.
func (m *Machine) end(v *move, kind wire.Kind, why string) {
	m.release(v)
	m.move = nil
	v.reason = why
	m.tell(v, kind)
	if !v.automatic() {
		m.answerFailed(kind, func(w *wish) bool { return w.rank == v.rank && w.Target == v.to })
	}
}

// giveUp ends a move for good: after a step of the climb the goal rests.
func (m *Machine) giveUp(v *move, kind wire.Kind, why string) {
	m.end(v, kind, why)
	if v.automatic() {
		m.pause(v, kind)
	}
	m.next()
}

// pause lets the goal rest after its step v was given up, and fails the wishes that the climb would have fulfilled.
func (m *Machine) pause(v *move, kind wire.Kind) {
	_, mono := m.opts.Clock.Now()
	rest := m.opts.Limits.Pause
	m.paused = &pause{Paused: wire.Paused{Reason: v.reason, Until: mono + wire.MonoMicros(wire.InMicros(rest))}}
	m.paused.end = m.agenda.after(rest, m.unpause)
	m.climb = ownClimb
	m.tell(v, wire.KindPaused)
	m.answerFailed(kind, func(w *wish) bool { return w.rank == stepping })
}

// unpause takes the goal up again.
func (m *Machine) unpause() {
	if m.paused != nil {
		m.agenda.cancel(m.paused.end)
		m.paused = nil
	}
	m.next()
}

// goal is where the system is going.
func (m *Machine) goal() wire.State {
	if m.move != nil {
		return m.move.goal
	}
	return goalOf(m.state)
}

// goalOf is where a system in state s, or on its way there, goes in the end.
func goalOf(s wire.State) wire.State {
	if s.Modal() || s == wire.ContextDestroying {
		return s
	}
	return wire.Operational
}

// newID names the next transition.
func (m *Machine) newID() string {
	m.transitions++
	return m.opts.Boot + "." + strconv.FormatUint(m.transitions, 10)
}

// checkID gives the error for an id that is not the running transition's: an old one is stale, another one was never
// issued.
func (m *Machine) checkID(id string) error {
	if n, ours := strings.CutPrefix(id, m.opts.Boot+"."); ours {
		if i, err := strconv.ParseUint(n, 10, 64); err == nil && i >= 1 && i <= m.transitions {
			return wire.Conflict("transition %s is over; %s", id, m.underWay())
		}
	}
	return wire.NotFound("there is no transition %.64q; %s", id, m.underWay())
}

// underWay says in a message what could be meant instead.
func (m *Machine) underWay() string {
	if m.move == nil {
		return "none is under way"
	}
	return fmt.Sprintf("the one under way is %s, %s to %s", m.move.id, m.move.from, m.move.to)
}

// Get answers state.get.
func (m *Machine) Get(ctx context.Context, _ wire.Caller, _ wire.Empty) (wire.StateView, error) {
	return look(ctx, m, func() wire.StateView {
		at, mono := m.opts.Clock.Now()
		view := wire.StateView{
			State: m.state, Number: int(m.state), Goal: m.goal(), Boot: m.opts.Boot, DeviceBoot: m.opts.DeviceBoot,
			Seq: m.opts.Journal.Seq(), At: at, Mono: mono, Since: m.since, Transition: m.current(),
			Store: m.opts.Journal.Health(), Protocol: wire.Protocol, Version: m.opts.Version,
		}
		if m.paused != nil {
			view.Paused = new(m.paused.Paused)
		}
		return view
	})
}

// current is the picture of the running move, nil without one.
func (m *Machine) current() *wire.Transition {
	if m.move == nil {
		return nil
	}
	kind := wire.KindProposed
	switch {
	case m.move.held():
		kind = wire.KindHeld
	case m.move.round > 1:
		kind = wire.KindResumed
	}
	t := m.move.picture(kind)
	t.Boot = m.opts.Boot
	t.At, t.Mono = m.opts.Clock.Now()
	return t
}
