package system

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/wire"
)

const forever = 1 << 20 // deferrals

// bubble plays a machine in virtual time.
func bubble(t *testing.T, change func(*Options), play func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, change)
		stop := r.run()
		play(r)
		stop()
		r.audit()
	})
}

// audit holds the events against what they promise whatever happened.
func (r *rig) audit() {
	r.t.Helper()
	for i, tr := range r.moves {
		if tr.Kind == wire.KindHeld && len(tr.Holders) == 0 {
			r.t.Errorf("event %d is held by nobody: %+v", i, tr)
		}
	}
	for i, e := range r.events {
		if strings.HasPrefix(e, "committed") && (i+2 >= len(r.events) ||
			!strings.HasPrefix(r.events[i+1], "sys.state.") || !strings.HasPrefix(r.events[i+2], "sys.state =")) {
			r.t.Errorf("after %q come %q", e, r.events[i+1:min(i+3, len(r.events))])
		}
	}
}

func TestBoot(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.in(wire.Operational)
		if len(r.states) != 16 || r.states[0] != wire.Unknown {
			t.Errorf("states were %v", r.states)
		}
		if v := r.now(); v.Seq != r.seq || v.Goal != wire.Operational || v.Transition != nil || v.DeviceBoot != "device" {
			t.Errorf("view: %+v", v)
		}
	})
}

func TestHoldAndResume(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.must("a", wire.Registration{}, defers(forever, wire.AwaitingModalUpdating, 0))
		got := r.wants(wire.AwaitingModalUpdating, wire.OutcomeHeld)
		if len(got.Holders) != 1 || got.Holders[0].Notifier != "a" || got.ID == "" || got.State != wire.Operational {
			t.Errorf("outcome: %+v", got)
		}
		r.held("a: not yet")
		r.players["a"].do = accepts
		r.resumes("a", wire.ResumeDone)
		r.in(wire.AwaitingModalUpdating)
		r.resumes("a", wire.ResumeNotHolding)
	})
}

// TestProposalIsTold sees a proposal before what it leads to, and soon where it leads to nothing yet.
func TestProposalIsTold(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		told := func() string { r.mu.Lock(); defer r.mu.Unlock(); return strings.Join(r.events[len(r.events)-4:], ", ") }
		boot := "proposed ONE_TIME_UPDATES > OPERATIONAL round 0, committed ONE_TIME_UPDATES > OPERATIONAL round 1, "
		if got := told(); !strings.HasPrefix(got, boot) {
			t.Errorf("a step that nobody holds is told as %s; want it to begin with %s", got, boot)
		}
		r.must("silent", wire.Registration{}, hangs)
		go func() { _, _ = r.wish(wire.AwaitingModalUpdating) }() // it is answered as held
		synctest.Wait()
		before := r.Seq()
		r.pass(proposeAfter)
		proposed := "proposed OPERATIONAL > AWAITING_MODAL_UPDATING round 0"
		if got := told(); r.Seq() != before+1 || !strings.HasSuffix(got, ", "+proposed) {
			t.Errorf("%v after its proposal a move is told as %s; want it to end with %s", proposeAfter, got, proposed)
		}
		r.pass(wire.DefaultTimeout.Duration())
		held := proposed + ", held OPERATIONAL > AWAITING_MODAL_UPDATING round 1 [silent: no answer]"
		if got := told(); !strings.HasSuffix(got, held) {
			t.Errorf("a hold is told as %s; want it to end with %s", got, held)
		}
	})
}

// TestFreshAcceptance asks everybody again after a hold: an old acceptance is never used.
func TestFreshAcceptance(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.must("first", wire.Registration{Order: 1}, accepts)
		r.must("second", wire.Registration{Order: 2}, defers(1, wire.AwaitingModalUpdating, time.Second))
		r.must("third", wire.Registration{Order: 3}, accepts)
		r.wants(wire.AwaitingModalUpdating, wire.OutcomeReached, func(w *wire.StateWish) { w.Wait = wire.InMicros(time.Minute) })
		for name, want := range map[string]int{"first": 2, "second": 2, "third": 1} {
			if got := len(r.players[name].asked); got != want {
				t.Errorf("%s was asked %d times, want %d", name, got, want)
			}
		}
	})
}

func TestRetryAndLostResume(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.must("a", wire.Registration{}, defers(2, wire.PolicyInvalid, 0))
		r.wants(wire.PolicyInvalid, wire.OutcomeHeld)
		r.pass(29 * time.Second)
		r.held("a: not yet")
		r.pass(2 * time.Second) // the resume is taken as lost, and the limit with proceed has come meanwhile
		r.in(wire.Operational)
		if r.states[len(r.states)-14] != wire.PolicyInvalid || r.states[len(r.states)-13] != wire.Initialized {
			t.Errorf("states: %v", r.states)
		}
	})
}

func TestNoAnswer(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		slow := func(q wire.Question, answer func(wire.Answer, error)) {
			time.Sleep(6 * time.Second) //nolint:forbidigo // virtual time
			accepts(q, answer)
		}
		r.must("slow", wire.Registration{}, slow)
		r.wants(wire.AwaitingModalUpdating, wire.OutcomeHeld)
		r.held("slow: no answer")
		r.pass(3 * time.Second) // asked again after 1 s
		r.pass(9 * time.Second) // its late answer doubles its time
		r.pass(9 * time.Second)
		r.in(wire.AwaitingModalUpdating)
		list, err := r.List(r.ctx, admin, wire.Empty{})
		if err != nil || list.Notifiers[0].Timeout != wire.InMicros(10*time.Second) {
			t.Errorf("list: %+v, %v", list, err)
		}
	})
}

func TestLost(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.must("a", wire.Registration{}, hangs)
		done := make(chan wire.StateOutcome, 1)
		go func() {
			got, _ := r.wish(wire.AwaitingModalUpdating) // checked below
			done <- got
		}()
		synctest.Wait()
		r.die("a")
		if got := <-done; got.Outcome != wire.OutcomeReached {
			t.Errorf("outcome: %+v", got)
		}
		if last := r.moves[len(r.moves)-1]; len(last.Lost) != 1 || last.Lost[0] != "a" {
			t.Errorf("lost: %+v", last)
		}
	})
}

func TestRequired(t *testing.T) {
	bubble(t, func(o *Options) { o.Required = []Requirement{{Name: "must", States: []wire.State{wire.DHCP}}} }, func(r *rig) {
		r.in(wire.IfaceColdplug)
		r.held("must: not connected")
		if _, err := r.Resume(r.ctx, admin, wire.Resume{Notifier: "must"}); wire.AsError(orNil(err)).Code != wire.CodeConflict {
			t.Errorf("resume of one that is not there: %v", err)
		}
		r.must("must", wire.Registration{States: []wire.State{wire.DHCP}}, accepts)
		r.in(wire.Operational)
		r.die("must")
		r.wants(wire.DHCP, wire.OutcomeReached)
		r.wants(wire.IfaceColdplug, wire.OutcomeReached, func(w *wire.StateWish) { w.FallBack = true })
		r.held("must: not connected")
		r.wants(wire.ContextDestroying, wire.OutcomeReached) // which it never holds
	})
}

func TestRemembered(t *testing.T) {
	bubble(t, func(o *Options) {
		o.Memory.(*rig).memory = Remembered{
			DeviceBoot: "device", Names: []string{"old", "gone"},
			Required: []RememberedNotifier{{Name: "need", Identity: "admin", States: []wire.State{wire.Auth1}}},
		}
	}, func(r *rig) {
		r.in(wire.Unknown)
		r.must("old", wire.Registration{Required: true, States: []wire.State{wire.Auth2}}, accepts)
		r.held("gone: rejoin")
		r.pass(2 * time.Second)
		r.in(wire.Registered)
		r.held("need: not connected")
		if _, err := r.Unregister(r.ctx, admin, wire.NotifierName{Name: "need"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.in(wire.Operational)
		if got := r.memory; len(got.Required) != 1 || got.Required[0].Name != "old" || len(got.Names) != 1 {
			t.Errorf("remembered: %+v", got)
		}
	})
}

func TestLimits(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.must("a", wire.Registration{}, func(_ wire.Question, answer func(wire.Answer, error)) {
			answer(wire.Answer{Answer: wire.Defer, Reason: "never"}, nil)
		})
		wait := func(w *wire.StateWish) { w.Wait = wire.InMicros(2 * time.Minute) }
		r.wants(wire.AwaitingModalUpdating, wire.OutcomeExpired, wait)
		r.in(wire.Operational)
		r.wants(wire.ContextDestroying, wire.OutcomeReached, wait)
		asked := r.players["a"].asked
		if last := asked[len(asked)-1]; !last.Final {
			t.Errorf("the last question was not final: %+v", last)
		}
		if last := r.moves[len(r.moves)-1]; len(last.Overridden) != 1 || last.Overridden[0].How != wire.HowDeferred {
			t.Errorf("overridden: %+v", last)
		}
		r.refused(wire.CodeStopping, wire.Operational)
	})
}

func TestPause(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.must("a", wire.Registration{}, defers(2, wire.Initialized, 0))
		r.wants(wire.PolicyInvalid, wire.OutcomeReached)
		r.in(wire.PolicyInvalid)
		if _, err := r.Abort(r.ctx, admin, wire.Abort{Reason: "wait"}); err != nil {
			t.Fatal(err)
		}
		if v := r.now(); v.Paused == nil || v.Paused.Reason != "wait" || v.Transition != nil {
			t.Errorf("not paused: %+v", v)
		}
		if _, err := r.Abort(r.ctx, admin, wire.Abort{Reason: "x"}); wire.AsError(orNil(err)).Code != wire.CodeConflict {
			t.Errorf("abort of nothing: %v", err)
		}
		r.pass(time.Minute)
		r.held("a: not yet")
		if _, err := r.Abort(r.ctx, admin, wire.Abort{Reason: "wait", ID: r.now().Transition.ID}); err != nil {
			t.Fatal(err)
		}
		r.wants(wire.Operational, wire.OutcomeReached) // any wish takes it up again
	})
}

func TestRanks(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.must("a", wire.Registration{}, func(q wire.Question, answer func(wire.Answer, error)) {
			if q.To == wire.AwaitingModalUpdating || q.To == wire.IfaceColdplug || q.To == wire.PolicyInvalid || q.To == wire.ContextDestroying {
				answer(wire.Answer{Answer: wire.Defer, Reason: "no"}, nil)
				return
			}
			accepts(q, answer)
		})
		back := func(w *wire.StateWish) { w.FallBack = true }
		var modalWish wire.StateOutcome
		done := make(chan struct{})
		go func() {
			defer close(done)
			modalWish, _ = r.wish(wire.AwaitingModalUpdating, func(w *wire.StateWish) { w.Wait = wire.InMicros(time.Minute) })
		}()
		synctest.Wait()
		r.wants(wire.AwaitingModalUpdating, wire.OutcomeHeld) // joins
		r.wants(wire.IfaceColdplug, wire.OutcomeHeld, back)   // takes its place
		<-done
		if modalWish.Outcome != wire.OutcomeAborted {
			t.Errorf("the displaced wish: %+v", modalWish)
		}
		r.refused(wire.CodeHeld, wire.AwaitingModalUpdating)
		r.refused(wire.CodeHeld, wire.DHCP, back)
		r.wants(wire.PolicyInvalid, wire.OutcomeHeld)
		r.refused(wire.CodeHeld, wire.IfaceColdplug, back)
		r.wants(wire.ContextDestroying, wire.OutcomeHeld)
		r.refused(wire.CodeHeld, wire.PolicyInvalid)
		r.wants(wire.Operational, wire.OutcomeReached) // where it is
		stale := r.moves[0].ID
		for id, code := range map[string]wire.Code{stale: wire.CodeConflict, "1-x.9999": wire.CodeNotFound, "0-y.1": wire.CodeNotFound} {
			if _, err := r.Resume(r.ctx, admin, wire.Resume{Notifier: "a", ID: id}); wire.AsError(orNil(err)).Code != code {
				t.Errorf("resume of %s: %v, want %d", id, err, code)
			}
		}
		r.wants(wire.ContextDestroying, wire.OutcomeReached, func(w *wire.StateWish) { w.Force = true })
	})
}

func TestModal(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.refused(wire.CodeConflict, wire.ModalUpdating)
		r.wants(wire.AwaitingModalUpdating, wire.OutcomeReached)
		r.pass(time.Minute)
		r.in(wire.Operational) // the stay is over
		r.wants(wire.AwaitingModalUpdating, wire.OutcomeReached)
		r.wants(wire.ModalUpdating, wire.OutcomeReached, func(w *wire.StateWish) { w.Own = true })
		r.wants(wire.DHCP, wire.OutcomeReached)
		r.wants(wire.PolicyInvalid, wire.OutcomePending)
		r.in(wire.ModalUpdating)
		r.Gone(admin.Conn)
		synctest.Wait()
		r.in(wire.Operational)
		tail := r.states[len(r.states)-15:]
		if tail[0] != wire.Operational || tail[1] != wire.PolicyInvalid || tail[2] != wire.Initialized {
			t.Errorf("states: %v", tail)
		}
	})
}

func TestDryRun(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.must("a", wire.Registration{}, defers(1, wire.ContextDestroying, time.Second))
		dry := func(w *wire.StateWish) { w.DryRun = true }
		if got := r.wants(wire.ContextDestroying, wire.OutcomeHeld, dry); got.Holders[0].Notifier != "a" {
			t.Errorf("holders: %+v", got)
		}
		if !r.players["a"].asked[0].DryRun {
			t.Error("the question does not say that it is a dry run")
		}
		r.wants(wire.ContextDestroying, wire.OutcomePending, dry)
		r.wants(wire.Operational, wire.OutcomeReached, dry)
		r.in(wire.Operational)
	})
}

func TestFaultyAnswers(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.must("a", wire.Registration{}, func(q wire.Question, answer func(wire.Answer, error)) {
			switch q.Round {
			case 1:
				answer(wire.Answer{}, wire.Malformed("garbage"))
			case 2:
				answer(wire.Answer{Answer: wire.Accept}, nil)
				answer(wire.Answer{Answer: wire.Defer, Reason: "or not"}, nil)
			default:
				accepts(q, answer)
			}
		})
		r.must("b", wire.Registration{}, func(q wire.Question, answer func(wire.Answer, error)) {
			time.Sleep(time.Second) //nolint:forbidigo // virtual time, so that a's second answer finds the round running
			accepts(q, answer)
		})
		r.wants(wire.AwaitingModalUpdating, wire.OutcomeHeld)
		r.held("a: faulty answer: garbage")
		r.resumes("a", wire.ResumeDone)
		r.pass(time.Second)
		r.held("a: faulty answer: two answers that differ")
		r.resumes("a", wire.ResumeDone)
		r.pass(time.Second)
		r.in(wire.AwaitingModalUpdating)
	})
}

func TestFlapping(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.must("a", wire.Registration{}, defers(20, wire.AwaitingModalUpdating, wire.MinRetry.Duration()))
		r.wants(wire.AwaitingModalUpdating, wire.OutcomeReached, func(w *wire.StateWish) { w.Wait = wire.InMicros(time.Minute) })
		flapping, held := false, 0
		for _, tr := range r.moves {
			flapping = flapping || tr.Flapping
			if tr.Kind == wire.KindHeld {
				held++
			}
		}
		if !flapping || len(r.players["a"].asked) != 21 {
			t.Errorf("flapping %v, asked %d times", flapping, len(r.players["a"].asked))
		}
	})
}

func TestRegistration(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		if _, err := r.Register(r.ctx, admin, wire.Registration{Name: "x"}); wire.AsError(orNil(err)).Code != wire.CodeConflict {
			t.Errorf("without a subscription: %v", err)
		}
		joined := r.must("x", wire.Registration{}, accepts)
		if joined.Subject != "sys.notify.x" || joined.State != wire.Operational {
			t.Errorf("joined: %+v", joined)
		}
		if _, err := r.join("x", wire.Registration{}, accepts); wire.AsError(orNil(err)).Code != wire.CodeConflict {
			t.Errorf("a name that is taken: %v", err)
		}
		if _, err := r.join("x", wire.Registration{Session: "guess"}, accepts); wire.AsError(orNil(err)).Code != wire.CodeConflict {
			t.Errorf("a guessed session: %v", err)
		}
		again := r.must("x", wire.Registration{Session: joined.Session}, accepts)
		for range registrationRate - 2 {
			again = r.must("x", wire.Registration{Session: again.Session}, accepts)
		}
		if _, err := r.join("x", wire.Registration{Session: again.Session}, accepts); wire.AsError(orNil(err)).Code != wire.CodeTooMany {
			t.Errorf("the ninth in a moment: %v", err)
		}
		if _, err := r.Unregister(r.ctx, wire.Caller{Identity: "other"}, wire.NotifierName{Name: "y"}); wire.AsError(orNil(err)).Code != wire.CodeNotFound {
			t.Errorf("unregister of nobody: %v", err)
		}
	})
}

func TestLocalNotifiers(t *testing.T) {
	release := make(chan struct{})
	bubble(t, nil, func(r *rig) {
		for _, name := range []string{"quick", "panics", "stuck"} {
			if err := r.Add(Notifier{Name: name, Timeout: time.Second, Ask: func(ctx context.Context, q wire.Question) wire.Answer {
				switch {
				case name == "panics" && q.Round == 1:
					panic("oh")
				case name == "stuck" && q.Round == 1:
					<-ctx.Done()
				case name == "quick" && q.Round == 1: // a wish from inside is the next message, no deadlock
					if got, err := r.Request(ctx, wire.Internal, wire.StateWish{Target: wire.DHCP, Reason: "inside"}); err != nil || got.Outcome != wire.OutcomeReached {
						t.Errorf("inside: %+v, %v", got, err)
					}
				}
				return wire.Answer{Answer: wire.Accept}
			}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Add(Notifier{Name: "quick"}); err == nil {
			t.Error("a name was taken twice")
		}
		got := r.wants(wire.AwaitingModalUpdating, wire.OutcomeHeld)
		if len(got.Holders) != 2 {
			t.Errorf("holders: %+v", got.Holders)
		}
		r.pass(40 * time.Second)
		r.in(wire.AwaitingModalUpdating)
		r.Remove("quick")
		r.Remove("nobody")
	})
	close(release)
}

// TestLeavesInTheMiddle shows that a notifier that unregisters while it is asked hides nobody behind it.
func TestLeavesInTheMiddle(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.must("a", wire.Registration{Order: 1}, func(wire.Question, func(wire.Answer, error)) {
			if _, err := r.Unregister(r.ctx, admin, wire.NotifierName{Name: "a"}); err != nil {
				t.Error(err)
			}
		})
		r.must("b", wire.Registration{Order: 2}, defers(1, wire.AwaitingModalUpdating, 0))
		r.wants(wire.AwaitingModalUpdating, wire.OutcomeHeld)
		r.held("b: not yet")
	})
}

// TestLateRegistration asks whoever registers while a round runs before it can pass.
func TestLateRegistration(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.must("slow", wire.Registration{Order: 5}, func(q wire.Question, answer func(wire.Answer, error)) {
			time.Sleep(time.Second) //nolint:forbidigo // virtual time
			accepts(q, answer)
		})
		go func() { _, _ = r.wish(wire.AwaitingModalUpdating) }() // seen in the state
		synctest.Wait()
		r.must("late", wire.Registration{Order: 1}, defers(1, wire.AwaitingModalUpdating, 0))
		r.pass(time.Second)
		r.held("late: not yet")
	})
}

func TestRights(t *testing.T) {
	bubble(t, func(o *Options) { o.May = func(c wire.Caller, _ string) bool { return c.Identity == "root" } }, func(r *rig) {
		r.refused(wire.CodeForbidden, wire.ContextDestroying, func(w *wire.StateWish) { w.Force = true })
		r.refused(wire.CodeForbidden, wire.AwaitingModalUpdating, func(w *wire.StateWish) { w.OnLimit = wire.LimitProceed })
		r.refused(wire.CodeForbidden, wire.AwaitingModalUpdating, func(w *wire.StateWish) { w.Limit = 1 })
		r.refused(wire.CodeMalformed, wire.Unknown)
		r.must("a", wire.Registration{}, defers(forever, wire.AwaitingModalUpdating, 0))
		r.wants(wire.AwaitingModalUpdating, wire.OutcomeHeld, func(w *wire.StateWish) { w.Limit = wire.InMicros(time.Hour) })
		other := wire.Caller{Identity: "other", Conn: 2}
		if _, err := r.Abort(r.ctx, other, wire.Abort{Reason: "x"}); wire.AsError(orNil(err)).Code != wire.CodeForbidden {
			t.Errorf("abort of another's: %v", err)
		}
		if _, err := r.Resume(r.ctx, other, wire.Resume{Notifier: "a"}); wire.AsError(orNil(err)).Code != wire.CodeForbidden {
			t.Errorf("resume for another: %v", err)
		}
		if _, err := r.Unregister(r.ctx, other, wire.NotifierName{Name: "a"}); wire.AsError(orNil(err)).Code != wire.CodeForbidden {
			t.Errorf("unregister of another's: %v", err)
		}
		if _, err := r.Abort(r.ctx, admin, wire.Abort{Reason: "own"}); err != nil {
			t.Errorf("abort of one's own: %v", err)
		}
	})
}

func TestDestroying(t *testing.T) {
	ran := false
	bubble(t, func(o *Options) { o.Destroying = func(context.Context) { ran = true } }, func(r *rig) {
		r.wants(wire.ContextDestroying, wire.OutcomeReached)
		<-r.Over()
		if !ran {
			t.Error("the calls booked for the end did not run")
		}
		r.wants(wire.ContextDestroying, wire.OutcomeReached)
	})
}
