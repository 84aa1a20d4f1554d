package system

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/wire"
)

// rig is a machine with everything around it played: a bus of participants, a journal, a clock.
type rig struct {
	*Machine
	t       testing.TB
	ctx     context.Context //nolint:containedctx // the test's
	start   time.Time
	mu      sync.Mutex
	seq     uint64
	events  []string // one line each
	moves   []wire.Transition
	states  []wire.State
	players map[string]*player // by name, the newest
	byConn  map[uint64]*player
	subs    map[subscription][]uint64 // connections
	conns   uint64
	asks    map[uint64][]func(wire.Answer, error) // open questions by connection
	dead    map[uint64]bool
	known   func() Remembered                        // what is to be remembered; nil before there is anything
	tap     func(subject string, event wire.Stamped) // sees every kept event; may be nil
	asked   func(*player, wire.Question)             // sees every question; may be nil
	said    func(*player, wire.Question, wire.Answer, error)
}

// subscription is what connections of an identity may hold.
type subscription struct{ identity, subject string }

// player is a participant: what it does when it is asked, on a goroutine of its own or, if it is prompt, at once.
type player struct {
	name   string
	conn   uint64
	prompt bool
	asked  []wire.Question
	do     func(q wire.Question, answer func(wire.Answer, error))
}

func newRig(t testing.TB, change func(*Options)) *rig {
	r := bareRig(t)
	opts := r.options()
	if change != nil {
		change(&opts)
	}
	r.Machine = NewMachine(opts)
	return r
}

// bareRig has everything but the machine.
func bareRig(t testing.TB) *rig {
	return &rig{
		t: t, start: time.Now(), players: map[string]*player{}, byConn: map[uint64]*player{},
		subs: map[subscription][]uint64{}, asks: map[uint64][]func(wire.Answer, error){}, dead: map[uint64]bool{},
		ctx: t.Context(),
	}
}

// options put a machine into the rig.
func (r *rig) options() Options {
	return Options{
		Boot: "1-x", DeviceBoot: "device", Version: "test", Clock: r, Journal: r, Asker: r, Presence: r, Memory: r,
		Limits: DefaultLimits(),
		Record: func(w wire.Transition) { r.moves = append(r.moves, w) },
	}
}

// run starts the machine; it ends with the test's bubble.
func (r *rig) run() (stop func()) {
	ctx, cancel := context.WithCancel(r.ctx)
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	}
}

// Now implements Clock.
func (r *rig) Now() (wire.UnixMicros, wire.MonoMicros) {
	return wire.At(time.Now()), wire.MonoMicros(time.Since(r.start).Microseconds())
}

// Keep implements Journal.
func (r *rig) Keep(subject string, event wire.Stamped) wire.Stamp {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	at, mono := r.Now()
	stamp := wire.Stamp{Boot: "1-x", At: at, Mono: mono, Seq: r.seq}
	event.SetStamp(stamp)
	switch e := event.(type) {
	case *wire.Transition:
		r.events = append(r.events, line(e))
	case *wire.StateEvent:
		r.events = append(r.events, fmt.Sprintf("%s = %s", subject, e.State))
		if subject == wire.StateSubject {
			r.states = append(r.states, e.State)
		}
	}
	if r.tap != nil {
		r.tap(subject, event)
	}
	return stamp
}

// line is a transition event in short.
func line(e *wire.Transition) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s > %s round %d", e.Kind, e.From, e.To, e.Round)
	for _, h := range e.Holders {
		fmt.Fprintf(&b, " [%s: %s]", h.Notifier, h.Reason)
	}
	if len(e.Lost) > 0 {
		fmt.Fprintf(&b, " lost %v", e.Lost)
	}
	for _, o := range e.Overridden {
		fmt.Fprintf(&b, " over %s %s", o.Notifier, o.How)
	}
	if e.Flapping {
		b.WriteString(" flapping")
	}
	return b.String()
}

// Tell implements Journal.
func (r *rig) Tell(string, wire.Stamped) {}

// Seq implements Journal.
func (r *rig) Seq() uint64 { r.mu.Lock(); defer r.mu.Unlock(); return r.seq }

// Health implements Journal.
func (r *rig) Health() wire.StoreHealth { return wire.StoreHealth{OK: true} }

// Load implements Memory.
func (r *rig) Load() (Remembered, error) { return r.kept(), nil }

// Save implements Memory.
func (r *rig) Save(known func() Remembered) { r.mu.Lock(); defer r.mu.Unlock(); r.known = known }

// kept is what a file would hold.
func (r *rig) kept() Remembered {
	r.mu.Lock()
	known := r.known
	r.mu.Unlock()
	if known == nil {
		return Remembered{}
	}
	return known()
}

// Subscribers implements Presence.
func (r *rig) Subscribers(caller wire.Caller, subject string) ([]uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := func(conn uint64) bool { return r.dead[conn] }
	return slices.DeleteFunc(slices.Clone(r.subs[subscription{caller.Identity, subject}]), gone), nil
}

// Listens implements Presence.
func (r *rig) Listens(caller wire.Caller, subject string) bool {
	conns, _ := r.Subscribers(caller, subject) // it does not fail
	return len(conns) > 0
}

// Alive implements Presence.
func (r *rig) Alive(conn uint64) bool { r.mu.Lock(); defer r.mu.Unlock(); return !r.dead[conn] }

// Ask implements Asker.
func (r *rig) Ask(to Participant, q wire.Question, answer func(wire.Answer, error)) func() {
	r.mu.Lock()
	p := r.byConn[to.Conn]
	if p == nil || r.dead[to.Conn] {
		r.mu.Unlock()
		go answer(wire.Answer{}, ErrGone)
		return func() {}
	}
	p.asked = append(p.asked, q)
	if r.asked != nil {
		r.asked(p, q)
	}
	var once sync.Mutex
	forgotten := false
	guarded := func(a wire.Answer, err error) {
		once.Lock()
		defer once.Unlock()
		if !forgotten {
			answer(a, err)
		}
	}
	r.asks[to.Conn] = append(r.asks[to.Conn], guarded)
	do := p.do
	r.mu.Unlock()
	say := guarded
	if r.said != nil {
		say = func(a wire.Answer, err error) { r.said(p, q, a, err); guarded(a, err) }
	}
	if p.prompt {
		do(q, say)
	} else {
		go do(q, say)
	}
	return func() { once.Lock(); defer once.Unlock(); forgotten = true }
}

// connect makes a participant on a connection of its own, subscribed to where it will be asked.
func (r *rig) connect(identity, name string, p *player) wire.Caller {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns++
	p.name, p.conn = name, r.conns
	r.players[name], r.byConn[p.conn] = p, p
	at := subscription{identity, wire.NotifySubject(name)}
	r.subs[at] = append(r.subs[at], p.conn)
	return wire.Caller{Identity: identity, Conn: p.conn}
}

// join registers a participant.
func (r *rig) join(name string, reg wire.Registration, do func(wire.Question, func(wire.Answer, error))) (wire.Joined, error) {
	old := r.players[name]
	caller := r.connect("admin", name, &player{do: do})
	reg.Name = name
	joined, err := r.Register(r.ctx, caller, reg)
	if err != nil {
		r.hangUp(caller.Conn)
		r.players[name] = old
	}
	synctest.Wait()
	return joined, err
}

// must registers one that has to be taken.
func (r *rig) must(name string, reg wire.Registration, do func(wire.Question, func(wire.Answer, error))) wire.Joined {
	r.t.Helper()
	joined, err := r.join(name, reg, do)
	if err != nil {
		r.t.Fatalf("register %s: %v", name, err)
	}
	return joined
}

// die closes a participant's connection.
func (r *rig) die(name string) {
	r.hangUp(r.players[name].conn)
	synctest.Wait()
}

// hangUp closes a connection.
func (r *rig) hangUp(conn uint64) {
	r.mu.Lock()
	r.dead[conn] = true
	open := r.asks[conn]
	delete(r.asks, conn)
	r.mu.Unlock()
	for _, answer := range open {
		answer(wire.Answer{}, ErrGone)
	}
	r.Gone(conn)
}

var admin = wire.Caller{Identity: "admin", Conn: 1000}

// wish asks for a state and does not wait longer than for a hold.
func (r *rig) wish(target wire.State, change ...func(*wire.StateWish)) (wire.StateOutcome, error) {
	w := wire.StateWish{Target: target, Reason: "test"}
	for _, f := range change {
		f(&w)
	}
	return r.Request(r.ctx, admin, w)
}

func (r *rig) wants(target wire.State, outcome wire.Outcome) wire.StateOutcome {
	r.t.Helper()
	got, err := r.wish(target)
	if err != nil || got.Outcome != outcome {
		r.t.Fatalf("wish for %s: %+v, %v; want %s", target, got, err, outcome)
	}
	synctest.Wait()
	return got
}

func (r *rig) refused(code wire.Code, target wire.State, change ...func(*wire.StateWish)) {
	r.t.Helper()
	if got, err := r.wish(target, change...); wire.AsError(orNil(err)).Code != code {
		r.t.Fatalf("wish for %s: %+v, %v; want %d", target, got, err, code)
	}
}

func orNil(err error) error {
	if err == nil {
		return &wire.Error{}
	}
	return err
}

func (r *rig) now() wire.StateView {
	r.t.Helper()
	view, err := r.Get(r.ctx, admin, wire.Empty{})
	if err != nil {
		r.t.Fatal(err)
	}
	return view
}

func (r *rig) in(state wire.State) {
	r.t.Helper()
	if got := r.now(); got.State != state {
		r.t.Fatalf("the system is in %s, want %s; events:\n%s", got.State, state, strings.Join(r.events, "\n"))
	}
}

// holders names who holds the running move.
func (r *rig) holders() string {
	var names []string
	if tr := r.now().Transition; tr != nil {
		for _, h := range tr.Holders {
			names = append(names, h.Notifier+": "+h.Reason)
		}
	}
	return strings.Join(names, ", ")
}

func (r *rig) held(want string) {
	r.t.Helper()
	if got := r.holders(); got != want {
		r.t.Fatalf("held by %q, want %q", got, want)
	}
}

func (r *rig) pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // virtual time
	synctest.Wait()
}

// What players do.
func accepts(_ wire.Question, answer func(wire.Answer, error)) {
	answer(wire.Answer{Answer: wire.Accept}, nil)
}

func hangs(wire.Question, func(wire.Answer, error)) {}

// defers makes a player that defers the first n questions about a state.
func defers(n int, to wire.State, retry time.Duration) func(wire.Question, func(wire.Answer, error)) {
	return func(q wire.Question, answer func(wire.Answer, error)) {
		if q.To == to && n > 0 {
			n--
			answer(wire.Answer{Answer: wire.Defer, Reason: "not yet", Retry: wire.InMicros(retry)}, nil)
			return
		}
		accepts(q, answer)
	}
}
