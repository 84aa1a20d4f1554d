package system

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"muster/wire"
)

// TestModel plays random games: notifiers that accept, defer, resume (early, twice, with a stale id), die, hang, answer
// late, twice or with garbage, come late and come back; wishes of every rank. A [referee] watches.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		acts := rapid.SliceOfN(rapid.Custom(drawAct), 5, 40).Draw(rt, "acts")
		var foul string
		synctest.Test(t, func(t *testing.T) { foul = playGame(t, acts) })
		if foul != "" {
			rt.Fatal(foul)
		}
	})
}

// act is one thing that happens from outside.
type act struct {
	kind   string
	name   string
	target wire.State
	after  time.Duration // to pass, or to wait for an answer
	flags  int           // what else is special, by bits
	temper int           // how a notifier answers
	order  int
}

// String shows the act where a game has failed.
func (a act) String() string {
	return fmt.Sprintf("%s %s %s after=%v flags=%b temper=%b order=%d", a.kind, a.name, a.target, a.after, a.flags, a.temper, a.order)
}

func drawAct(t *rapid.T) act {
	return act{
		kind: rapid.SampledFrom([]string{
			"join", "join", "join", "return", "die", "leave", "resume", "wish", "wish", "wish", "abort", "hang up", "pass", "pass", "pass",
		}).Draw(t, "kind"),
		name: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "name"),
		target: rapid.SampledFrom([]wire.State{
			wire.DHCP, wire.Operational, wire.AwaitingModalUpdating, wire.AwaitingModalUpdating, wire.ModalUpdating,
			wire.PolicyInvalid, wire.IfaceColdplug, wire.ContextDestroying,
		}).Draw(t, "target"),
		after:  time.Duration(rapid.SampledFrom([]int{0, 1, 100, 1000, 5000, 30000, 70000}).Draw(t, "after")) * time.Millisecond,
		flags:  rapid.IntRange(0, 255).Draw(t, "flags"),
		temper: rapid.IntRange(0, 4095).Draw(t, "temper"),
		order:  rapid.IntRange(0, 2).Draw(t, "order"),
	}
}

// has reports whether all of the bits are set.
func (a act) has(bits int) bool { return a.flags&bits == bits }

// game is a machine with players and a referee.
type game struct {
	*rig
	referee *referee
	session map[string]string
	wishers []uint64 // connections of those whose stay it is
	endings chan ending
	wishes  int
}

// ending is how a wish ended.
type ending struct {
	act   act
	conn  uint64
	wish  wire.StateWish
	got   wire.StateOutcome
	err   error
	began time.Duration
	took  time.Duration
}

// playGame gives what was foul, "" if nothing was.
func playGame(t *testing.T, acts []act) string {
	g := &game{rig: newRig(t, nil), referee: newReferee(), session: map[string]string{}, endings: make(chan ending, len(acts))}
	g.tap = func(subject string, event wire.Stamped) {
		g.see(func() { g.referee.tells(subject, event) })
	}
	g.asked = func(p *player, q wire.Question) { g.see(func() { g.referee.asks(p.name, p.conn, q) }) }
	g.said = func(p *player, q wire.Question, a wire.Answer, err error) {
		if !q.DryRun {
			g.see(func() { g.referee.answers(p.conn, q, a, err) })
		}
	}
	stop := g.run()
	for _, a := range acts {
		g.make(a)
		synctest.Wait()
	}
	g.heal()
	foul := g.referee.foul
	if foul == "" {
		foul = g.rests()
	}
	if foul == "" {
		foul = g.answered()
	}
	stop()
	g.pass(2 * time.Minute) // whoever answers late has to return
	return foul
}

// see shows the referee what happens now.
func (g *game) see(what func()) { g.referee.see(g.moment(), what) }

// moment is the time in the game, which is never zero.
func (g *game) moment() time.Duration { return time.Since(g.start) + 1 }

// make has an act happen.
func (g *game) make(a act) {
	switch a.kind {
	case "join":
		g.enter(a, "")
	case "return":
		g.enter(a, g.session[a.name])
	case "die":
		if p := g.players[a.name]; p != nil {
			g.close(p.conn)
		}
	case "leave":
		g.see(func() { g.referee.left(a.name) })
		_, _ = g.Unregister(g.ctx, admin, wire.NotifierName{Name: a.name}) // it may not be there
	case "resume":
		g.letGo(a.name, []string{"", "1-x.3", "1-x.999", ""}[a.flags%4])
	case "wish":
		g.request(a)
	case "abort":
		_, _ = g.Abort(g.ctx, admin, wire.Abort{Reason: "model"}) // there may be nothing
	case "hang up":
		if len(g.wishers) > 0 {
			g.close(g.wishers[0])
			g.wishers = g.wishers[1:]
		}
	case "pass":
		g.pass(a.after)
	}
}

// enter has a participant connect and register, in place of the one before if it has its session.
func (g *game) enter(a act, session string) {
	reg := wire.Registration{
		Name: a.name, Order: a.order, Required: a.has(64), Session: session,
		Timeout: []wire.Micros{0, 0, wire.InMicros(time.Second), wire.MaxTimeout}[a.flags%4],
	}
	if a.has(128) {
		reg.States = []wire.State{wire.DHCP, a.target}
	}
	old := g.players[a.name]
	p := &player{}
	p.do = g.temper(p, a.temper)
	caller := g.connect("admin", a.name, p)
	g.see(func() { g.referee.joining(a.name, caller.Conn, reg) })
	joined, err := g.Register(g.ctx, caller, reg)
	synctest.Wait()
	g.see(func() { g.referee.joined(a.name, err) })
	if err != nil {
		g.close(caller.Conn)
		g.players[a.name] = old
		return
	}
	g.session[a.name] = joined.Session
	if old != nil && old.conn != caller.Conn { // it is seen to be dead at last
		g.close(old.conn)
	}
}

// close ends a connection.
func (g *game) close(conn uint64) {
	g.see(func() { g.referee.died(conn) })
	g.hangUp(conn)
}

// letGo resumes for a notifier.
func (g *game) letGo(name, id string) {
	var undo func()
	g.see(func() { undo = g.referee.resumes(name) })
	got, err := g.Resume(g.ctx, admin, wire.Resume{Notifier: name, ID: id})
	if err != nil || got.Outcome != wire.ResumeDone {
		g.see(undo)
	}
}

// temper is how a player answers, three bits for each question in turn. The odd delays meet no timer of the machine's.
func (g *game) temper(p *player, bits int) func(wire.Question, func(wire.Answer, error)) {
	var asked atomic.Int64
	after := func(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // virtual time
	return func(q wire.Question, answer func(wire.Answer, error)) {
		n, busy := int(asked.Add(1)), wire.Answer{Answer: wire.Defer, Reason: "busy"}
		switch bits >> (3 * (n % 4)) & 7 {
		case 0:
			answer(busy, nil)
		case 1:
			busy.Retry = wire.InMicros(700*time.Millisecond) + wire.Micros(n)
			answer(busy, nil)
		case 2: // hangs
		case 3: // late, for most
			after(6013*time.Millisecond + time.Duration(p.conn*1009+uint64(n)*7)*time.Microsecond)
			accepts(q, answer)
		case 4: // changes its mind
			accepts(q, answer)
			after(time.Duration(n%2) * 13_000_007)
			answer(busy, nil)
		case 5: // resumes before it defers, twice
			g.letGo(p.name, q.ID)
			g.letGo(p.name, "")
			answer(busy, nil)
		case 6:
			after(137*time.Millisecond + time.Duration(p.conn)*1009)
			answer(wire.Answer{}, wire.Malformed("garbage"))
		default:
			accepts(q, answer)
		}
	}
}

// request makes a wish and waits for its answer beside the game.
func (g *game) request(a act) {
	w := wire.StateWish{
		Target: a.target, Reason: "model", Wait: wire.InMicros(a.after), FallBack: a.has(1) && a.target.Boot(),
		Own: a.has(2), Force: a.has(4 | 8 | 16), DryRun: a.has(8 | 32),
	}
	if a.has(64 | 128) {
		w.Limit = wire.InMicros(90 * time.Second)
	}
	g.wishes++
	caller := wire.Caller{Identity: "admin", Conn: uint64(10_000 + g.wishes)}
	g.see(func() {
		if w.Force && !w.DryRun {
			g.referee.forced = append(g.referee.forced, w.Target)
		}
		if w.Own && !w.DryRun {
			g.referee.owners[caller.Conn] = w.Target
			g.wishers = append(g.wishers, caller.Conn)
		}
	})
	go func() {
		began := g.moment()
		got, err := g.Request(g.ctx, caller, w)
		g.endings <- ending{a, caller.Conn, w, got, err, began, g.moment() - began}
	}()
}

// heal has everybody there and of good will, and lets all time pass that anything may take.
func (g *game) heal() {
	g.pass(11 * time.Second) // registrations are limited
	for _, p := range g.byConn {
		g.mu.Lock()
		p.do = accepts
		g.mu.Unlock()
	}
	list, err := g.List(g.ctx, admin, wire.Empty{})
	if err != nil {
		g.t.Error(err)
	}
	for _, n := range list.Notifiers {
		if !n.Alive {
			g.enter(act{kind: "join", name: n.Name, temper: 4095}, "")
		}
	}
	g.pass(6 * time.Minute)
}

// rests makes sure that the system is where it belongs when nobody is in its way.
func (g *game) rests() string {
	v := g.now()
	atGoal := v.State == wire.Operational || v.State == wire.ModalUpdating || v.State == wire.ContextDestroying
	if v.Transition != nil || v.Paused != nil || !atGoal {
		return fmt.Sprintf("it does not come to rest in %s: %+v, %+v", v.State, v.Transition, v.Paused)
	}
	return ""
}

// answered makes sure that every wish has ended, in its time, and with the truth.
func (g *game) answered() string {
	ids := map[string]bool{}
	for range g.wishes {
		var e ending
		select {
		case e = <-g.endings:
		default:
			return "a wish never ended"
		}
		if fault := e.fault(g.referee); fault != "" {
			return fmt.Sprintf("%v: %+v, %v: %s", e.act, e.got, e.err, fault)
		}
		if e.err == nil && ids[e.got.Request] {
			return fmt.Sprintf("two wishes are %s", e.got.Request)
		}
		ids[e.got.Request] = true
	}
	return ""
}

// fault says what is wrong with an answer.
func (e ending) fault(r *referee) string {
	bound := wire.MaxWait.Duration()
	switch {
	case e.wish.DryRun:
		bound = time.Minute
	case e.wish.Wait > 0:
		bound = e.wish.Wait.Duration()
	default: // at the next hold
		if i := slices.IndexFunc(r.helds, func(at time.Duration) bool { return at > e.began }); i >= 0 {
			bound = min(bound, r.helds[i]-e.began)
		}
	}
	over := r.over[e.got.ID]
	switch {
	case e.took > bound:
		return fmt.Sprintf("it took %v, more than %v", e.took, bound)
	case e.err != nil:
		code := wire.AsError(e.err).Code
		if code != wire.CodeConflict && code != wire.CodeHeld && code != wire.CodeStopping {
			return "an error that has no reason"
		}
		if t, ok := wire.AsError(e.err).Detail["transition"].(*wire.Transition); code == wire.CodeHeld && (!ok || t == nil) {
			return "held, but not by what"
		}
	case e.got.Outcome == wire.OutcomeReached && !fulfilled(e.got.State, e.wish) &&
		(e.wish.Target != wire.PolicyInvalid || e.got.State >= wire.PolicyValid):
		return "it is not reached"
	case e.got.Outcome == wire.OutcomeHeld && len(e.got.Holders) == 0:
		return "it is held by nobody"
	case e.got.Outcome == wire.OutcomeExpired && over.kind != wire.KindExpired:
		return "its transition has not expired"
	case e.got.Outcome == wire.OutcomeAborted && e.got.ID != "" && over.kind != wire.KindAborted && e.got.State != wire.ContextDestroying:
		return "its transition was not aborted"
	case e.got.Outcome == wire.OutcomePending && over.at > 0 && over.at < e.began+e.took:
		return "its transition is over"
	case e.wish.DryRun || r.closed[e.conn]: // then nobody waits for the answer
	case e.wish.Wait > 0 && (e.got.Outcome == wire.OutcomePending || e.got.Outcome == wire.OutcomeHeld) && e.took < bound,
		e.wish.Wait == 0 && e.got.Outcome == wire.OutcomePending && e.took < bound && e.got.State != wire.ModalUpdating:
		return "it did not wait"
	}
	return ""
}
