package system

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"muster/wire"
)

// TestModel plays random schedules of notifiers that accept, defer, resume, die, hang, answer late or twice and
// register late, and wishes of every rank, and holds what happened against what the protocol promises.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := rapid.SliceOfN(rapid.Custom(drawAct), 5, 40).Draw(rt, "script")
		var fault string
		synctest.Test(t, func(t *testing.T) { fault = playScript(t, script) })
		if fault != "" {
			rt.Fatal(fault)
		}
	})
}

// act is one thing that happens from outside.
type act struct {
	Kind   string
	Name   string
	Target wire.State
	Wait   time.Duration
	Flags  int
	Order  int
}

// String shows the act in a failed script.
func (a act) String() string {
	return fmt.Sprintf("%s %s %s wait=%v flags=%b order=%d", a.Kind, a.Name, a.Target, a.Wait, a.Flags, a.Order)
}

func drawAct(t *rapid.T) act {
	return act{
		Kind: rapid.SampledFrom([]string{"join", "join", "die", "resume", "wish", "wish", "wish", "abort", "pass", "pass", "leave"}).Draw(t, "kind"),
		Name: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "name"),
		Target: rapid.SampledFrom([]wire.State{
			wire.DHCP, wire.Operational, wire.AwaitingModalUpdating, wire.AwaitingModalUpdating, wire.ModalUpdating,
			wire.PolicyInvalid, wire.IfaceColdplug, wire.ContextDestroying,
		}).Draw(t, "target"),
		Wait:  time.Duration(rapid.SampledFrom([]int{0, 1, 100, 5000, 40000}).Draw(t, "wait")) * time.Millisecond,
		Flags: rapid.IntRange(0, 127).Draw(t, "flags"),
		Order: rapid.IntRange(0, 2).Draw(t, "order"),
	}
}

// temper is how a player answers, told by what was drawn for it: the asks it defers, hangs on, or answers late.
func temper(flags int) func(wire.Question, func(wire.Answer, error)) {
	var asked atomic.Int64
	return func(q wire.Question, answer func(wire.Answer, error)) {
		n := asked.Add(1)
		switch (flags >> (n % 3)) % 8 {
		case 0:
			answer(wire.Answer{Answer: wire.Defer, Reason: "busy"}, nil)
		case 1:
			answer(wire.Answer{Answer: wire.Defer, Reason: "busy", Retry: wire.InMicros(700 * time.Millisecond)}, nil)
		case 2:
			if n%2 == 0 {
				return // hangs
			}
			time.Sleep(6 * time.Second) //nolint:forbidigo // virtual time; late
			accepts(q, answer)
		case 3:
			answer(wire.Answer{Answer: wire.Accept}, nil)
			answer(wire.Answer{Answer: wire.Defer, Reason: "second thought"}, nil)
		default:
			accepts(q, answer)
		}
	}
}

// playScript gives what is wrong, "" if nothing is.
func playScript(t *testing.T, script []act) string {
	r := newRig(t, nil)
	stop := r.run()
	fault := r.play(script)
	stop()
	r.pass(10 * time.Second) // whoever answers late has to return
	if fault == "" {
		fault = r.settledIn()
	}
	return fault
}

// play has it all happen, and waits until every wish and limit is over.
func (r *rig) play(script []act) string {
	type ending struct {
		act act
		out wire.StateOutcome
		err error
		dur time.Duration
	}
	endings := make(chan ending, len(script))
	wishes := 0
	for _, a := range script {
		switch a.Kind {
		case "join":
			_, _ = r.join(a.Name, wire.Registration{Order: a.Order, Required: a.Flags&64 != 0}, temper(a.Flags)) // may be taken
		case "die":
			if r.players[a.Name] != nil {
				r.die(a.Name)
			}
		case "leave":
			_, _ = r.Unregister(r.ctx, admin, wire.NotifierName{Name: a.Name}) // may not be there
		case "resume":
			_, _ = r.Resume(r.ctx, admin, wire.Resume{Notifier: a.Name}) // may not be there
		case "abort":
			_, _ = r.Abort(r.ctx, admin, wire.Abort{Reason: "model"}) // there may be nothing
		case "pass":
			r.pass(a.Wait)
		case "wish":
			wishes++
			w := wire.StateWish{
				Target: a.Target, Reason: "model", Wait: wire.InMicros(a.Wait), FallBack: a.Flags&1 != 0 && a.Target.Boot(),
				Force: a.Flags&62 == 2, Own: a.Flags&4 != 0, DryRun: a.Flags&60 == 8,
			}
			go func() {
				began := time.Now()
				out, err := r.Request(r.ctx, admin, w)
				endings <- ending{a, out, err, time.Since(began)}
			}()
		}
		synctest.Wait()
	}
	r.pass(6 * time.Minute) // longer than any wish or limit
	for range wishes {
		select {
		case e := <-endings:
			switch {
			case e.act.Wait > 0 && e.dur > max(e.act.Wait, 61*time.Second):
				return fmt.Sprintf("%v took %v", e.act, e.dur)
			case e.dur > wire.MaxWait.Duration():
				return fmt.Sprintf("%v took %v", e.act, e.dur)
			case e.err == nil && e.out.Outcome == wire.OutcomeHeld && len(e.out.Holders) == 0:
				return fmt.Sprintf("%v is held by nobody", e.act)
			}
		default:
			return "a wish never ended"
		}
	}
	return r.check()
}

// check holds all events against what they promise.
func (r *rig) check() string {
	v := r.now()
	if tr := v.Transition; tr != nil && tr.Kind == wire.KindHeld && len(tr.Holders) == 0 {
		return "held by nobody"
	}
	for i, tr := range r.moves {
		if tr.Kind == wire.KindHeld && len(tr.Holders) == 0 {
			return fmt.Sprintf("held by nobody: %s", line(&r.moves[i]))
		}
		if i > 0 && r.moves[i].Seq <= r.moves[i-1].Seq {
			return "events out of order"
		}
	}
	for i, e := range r.events {
		if strings.HasPrefix(e, "committed") && (i+2 >= len(r.events) ||
			!strings.HasPrefix(r.events[i+1], "sys.state.") || !strings.HasPrefix(r.events[i+2], "sys.state =")) {
			return "a commit without its events: " + e
		}
	}
	return r.checkCommits()
}

// checkCommits makes sure that a commit follows only a round in which everybody accepted, or one that was final, or
// that nobody was asked.
func (r *rig) checkCommits() string {
	heldIn := 0 // the round that ended in a hold and that nobody resumed
	open := ""
	for i := range r.moves {
		tr := &r.moves[i]
		switch tr.Kind {
		case wire.KindProposed:
			if open != "" {
				return "two transitions at once: " + line(tr)
			}
			open, heldIn = tr.ID, 0
		case wire.KindHeld:
			heldIn = tr.Round
		case wire.KindResumed:
			heldIn = 0
		case wire.KindCommitted:
			if heldIn > 0 && heldIn == tr.Round && len(tr.Overridden) == 0 {
				return "committed over the heads of its holders: " + line(tr)
			}
			open = ""
		case wire.KindAborted, wire.KindExpired:
			open = ""
		case wire.KindPaused, wire.KindOverridden:
		}
		if tr.Kind != wire.KindPaused && tr.ID != open && open != "" {
			return "an event of another transition: " + line(tr)
		}
	}
	return ""
}

// settledIn makes sure that the system rests where it may: at its goal, at the end, or held by somebody.
func (r *rig) settledIn() string {
	last := r.states[len(r.states)-1]
	if slices.Contains([]wire.State{wire.Operational, wire.ContextDestroying, wire.AwaitingModalUpdating, wire.ModalUpdating}, last) {
		return ""
	}
	if tr := r.moves[len(r.moves)-1]; tr.Kind == wire.KindCommitted {
		return fmt.Sprintf("rests in %s for no reason", last)
	}
	return ""
}
