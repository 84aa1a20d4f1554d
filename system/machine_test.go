package system

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/wire"
)

// The rules of the protocol are shown by the transcripts in testdata. Here is what a script cannot say: what is bounded,
// notifiers of this process, and the edges of the machine's life.

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

func TestView(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.pass(time.Second)
		got := r.now()
		at, mono := r.Now()
		want := wire.StateView{
			State: wire.Operational, Number: 15, Goal: wire.Operational, Boot: "1-x", DeviceBoot: "device", Seq: r.seq, At: at,
			Mono: mono, Store: wire.StoreHealth{OK: true}, Protocol: 1, Version: "test",
		}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// TestBeforeRun has requests wait until the machine runs: the bus may be up before it.
func TestBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Get(impatient, admin, wire.Empty{}); wire.AsError(orNil(err)).Code != wire.CodeTimeout {
			t.Errorf("get before the machine runs: %v", err)
		}
		views := make(chan wire.StateView)
		go func() { views <- r.now() }()
		synctest.Wait()
		stop := r.run()
		if v := <-views; v.State != wire.Operational {
			t.Errorf("view %+v", v)
		}
		stop()
		if _, err := r.Get(t.Context(), admin, wire.Empty{}); !errors.Is(err, errStopping) {
			t.Errorf("get after the machine has run: %v", err)
		}
	})
}

func TestLocalNotifiers(t *testing.T) {
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
		if err := r.Add(Notifier{Name: "a.b"}); err == nil {
			t.Error("a name with a dot was taken")
		}
		if _, err := r.join("quick", wire.Registration{}, accepts); wire.AsError(orNil(err)).Code != wire.CodeConflict {
			t.Errorf("register as a part of the daemon: %v", err)
		}
		if _, err := r.Unregister(r.ctx, admin, wire.NotifierName{Name: "quick"}); wire.AsError(orNil(err)).Code != wire.CodeConflict {
			t.Errorf("unregister a part of the daemon: %v", err)
		}
		got := r.wants(wire.AwaitingModalUpdating, wire.OutcomeHeld)
		if len(got.Holders) != 2 || got.Holders[0].Reason != "faulty answer: panic: oh" || got.Holders[1].Reason != "no answer" {
			t.Errorf("holders: %+v", got.Holders)
		}
		r.pass(40 * time.Second)
		r.in(wire.AwaitingModalUpdating)
		r.Remove("quick")
		r.Remove("nobody")
	})
}

// TestBusyNotifier asks one of this process while it is still at work on a dry run: it is called when it has returned.
func TestBusyNotifier(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		var asked []bool
		if err := r.Add(Notifier{Name: "slow", Ask: func(_ context.Context, q wire.Question) wire.Answer {
			asked = append(asked, q.DryRun)
			time.Sleep(time.Second) //nolint:forbidigo // virtual time
			return wire.Answer{Answer: wire.Accept}
		}}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			go func() { _, _ = r.wish(wire.AwaitingModalUpdating, func(w *wire.StateWish) { w.DryRun = true }) }()
		}
		synctest.Wait()
		r.wants(wire.AwaitingModalUpdating, wire.OutcomeReached)
		if got, _ := r.Now(); got != wire.At(r.start.Add(3*time.Second)) || len(asked) != 3 || !asked[1] || asked[2] {
			t.Errorf("asked %v, done after %v", asked, got.Time().Sub(r.start))
		}
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

// TestGoneWhileRegistering loses a notifier whose connection closed before the machine listened to it.
func TestGoneWhileRegistering(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		caller := r.connect("admin", "a", &player{do: accepts})
		r.subs[subscription{"admin", "sys.notify.a"}] = []uint64{caller.Conn}
		r.opts.Presence = closesMeanwhile{r.opts.Presence, r}
		if _, err := r.Register(r.ctx, caller, wire.Registration{Name: "a"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if list, err := r.List(r.ctx, admin, wire.Empty{}); err != nil || len(list.Notifiers) != 0 {
			t.Errorf("list: %+v, %v", list, err)
		}
	})
}

// closesMeanwhile closes every connection once it was found to be subscribed.
type closesMeanwhile struct {
	Presence
	r *rig
}

func (c closesMeanwhile) Subscribers(caller wire.Caller, subject string) ([]uint64, error) {
	conns, err := c.Presence.Subscribers(caller, subject)
	for _, conn := range conns {
		c.r.hangUp(conn)
	}
	return conns, err
}

// TestBounds takes as much as there may be, and no more.
func TestBounds(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.must("hangs", wire.Registration{Timeout: wire.MaxTimeout}, hangs)
		refused := 0
		for range maxDryRuns + 1 {
			go func() {
				if _, err := r.wish(wire.AwaitingModalUpdating, func(w *wire.StateWish) { w.DryRun = true }); wire.AsError(orNil(err)).Code == wire.CodeTooMany {
					refused++
				}
			}()
		}
		synctest.Wait()
		if refused != 1 {
			t.Errorf("%d dry runs were refused, want 1", refused)
		}
		for range maxWishes {
			go func() { _, _ = r.wish(wire.AwaitingModalUpdating) }()
		}
		synctest.Wait()
		r.refused(wire.CodeTooMany, wire.AwaitingModalUpdating)
		go func() {
			_, _ = r.Request(r.ctx, wire.Internal, wire.StateWish{Target: wire.ContextDestroying, Reason: "the daemon's own is heard"})
		}()
		synctest.Wait()
		if tr := r.now().Transition; tr == nil || tr.To != wire.ContextDestroying {
			t.Errorf("under way: %+v", tr)
		}
	})
}

// TestManyNotifiers registers as many as one identity may have.
func TestManyNotifiers(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		for i := range maxPerIdentity {
			r.must(fmt.Sprint("n", i), wire.Registration{}, accepts)
		}
		if _, err := r.join("more", wire.Registration{}, accepts); wire.AsError(orNil(err)).Code != wire.CodeTooMany {
			t.Errorf("one more than an identity may have: %v", err)
		}
		r.wants(wire.PolicyInvalid, wire.OutcomeReached)
	})
}

// TestForgetfulMemory boots although it cannot be read who took part.
func TestForgetfulMemory(t *testing.T) {
	bubble(t, func(o *Options) { o.Memory = forgetful{} }, func(r *rig) { r.in(wire.Operational) })
}

type forgetful struct{}

func (forgetful) Load() (Remembered, error) { return Remembered{}, errors.New("unreadable") }
func (forgetful) Save(func() Remembered)    {}

// TestImpatientClient gives up its wish; the transition goes on without it.
func TestImpatientClient(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.must("a", wire.Registration{Timeout: wire.MaxTimeout}, hangs)
		ctx, cancel := context.WithTimeout(r.ctx, time.Second)
		defer cancel()
		_, err := r.Request(ctx, admin, wire.StateWish{Target: wire.AwaitingModalUpdating, Reason: "test"})
		if wire.AsError(orNil(err)).Code != wire.CodeTimeout {
			t.Errorf("a wish whose client has gone: %v", err)
		}
		synctest.Wait()
		if r.now().Transition == nil {
			t.Error("the transition is gone too")
		}
	})
}
