package boot

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/wire"
)

var (
	firstSeed = flag.Uint64("schedules.seed", 0, "play the schedule of faults with this `SEED`, and those after it; 0: other ones each time")
	schedules = flag.Int("schedules", 100, "play so many schedules of faults")
)

// TestSchedules boots a device with every built-in notifier, and has things go wrong with all that is outside of them, at random:
// missing, silent, wrong, unreachable, full, coming and going; some of it for good. In the end the device is OPERATIONAL, or held
// by a notifier whose outside is still wrong, for a reason that says so, and only where it has no end to its patience.
func TestSchedules(t *testing.T) {
	first := *firstSeed
	if first == 0 {
		first = rand.Uint64()
	}
	t.Logf("again: go test ./system/boot -run %s -schedules.seed %d -schedules %d", t.Name(), first, *schedules)
	for i := range uint64(*schedules) {
		seed := first + i
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { playSchedule(t, rand.New(rand.NewPCG(seed, 0))) })
		})
	}
}

// quiet is for how long nothing changes at the end of a schedule.
const quiet = 45 * time.Minute

// playSchedule plays one.
func playSchedule(t *testing.T, random *rand.Rand) {
	r := newRig(t)
	e := gather(r, random)
	ctx, stop := context.WithCancel(t.Context())
	var playing sync.WaitGroup
	defer playing.Wait()
	defer stop()
	for _, o := range e.outsides {
		spells := drawSpells(random, o.weather)
		if len(spells) > 0 && spells[0].after == 0 { // as it is from the beginning
			o.becomes(spells[0].fault)
		}
		playing.Go(func() { playSpells(ctx, o.weather, spells) })
	}
	r.boot(e.parts...)
	defer func() { // nothing is to be waited for any more
		for _, o := range e.outsides {
			o.becomes(well)
		}
	}()
	r.after(longestSchedule + quiet)
	view := r.settled()
	if view.State == wire.Operational {
		return
	}
	var tell strings.Builder
	for _, o := range e.outsides {
		fmt.Fprintf(&tell, "\n%s, patience %v", o, o.patience)
	}
	if view.Transition == nil || len(view.Transition.Holders) == 0 {
		t.Fatalf("the device is at %s, and nobody says why: %+v%s", view.State, view, tell.String())
	}
	// Who falls back again and again has new patience each time.
	restless := e.falls != nil && slices.ContainsFunc(e.outsides, func(o outside) bool { return !o.steady() })
	for _, h := range view.Transition.Holders {
		concerned := slices.DeleteFunc(slices.Clone(e.outsides), func(o outside) bool { return o.notifier != h.Notifier })
		if !slices.ContainsFunc(concerned, func(o outside) bool {
			return o.explains(h.Reason) && (o.patience == 0 || !o.steady() || restless)
		}) {
			t.Errorf("%s is held by %s: %s, which names nothing that is wrong now, or it has had enough patience%s",
				view.Transition.To, h.Notifier, h.Reason, tell.String())
		}
	}
}

// settled gives the state, and waits for whoever is being asked just now.
func (r *rig) settled() wire.StateView {
	r.t.Helper()
	for range 90 {
		view, err := r.Get(r.t.Context(), wire.Internal, wire.Empty{})
		if err != nil {
			r.t.Fatal(err)
		}
		if view.State == wire.Operational || view.Transition == nil || len(view.Transition.Holders) > 0 {
			return view
		}
		r.soon()
	}
	r.t.Fatal("somebody is asked, and has not answered for 90 s")
	return wire.StateView{}
}

// spell is a time of bad weather.
type spell struct {
	fault fault
	after time.Duration // the one before, all being well until then; 0: at once
	lasts time.Duration // 0: for good
	flips time.Duration // between two sides of one that is flapping
}

const (
	mostSpells      = 3
	longestWait     = 2 * time.Minute
	longestSpell    = 4 * time.Minute
	longestFlip     = 20 * time.Second
	longestSchedule = mostSpells * (longestWait + longestSpell)
)

// drawSpells draws what goes wrong with one thing: half of the time nothing.
func drawSpells(random *rand.Rand, w *weather) (spells []spell) {
	if random.IntN(2) == 0 {
		return nil
	}
	faults := []fault{}
	for f := range faultNames {
		if _, can := w.words[f]; can {
			faults = append(faults, f)
		}
	}
	slices.Sort(faults) // the seed alone decides
	for range 1 + random.IntN(mostSpells) {
		s := spell{
			fault: faults[random.IntN(len(faults))], lasts: time.Duration(1 + random.Int64N(int64(longestSpell))),
			flips: 20*time.Millisecond + time.Duration(random.Int64N(int64(longestFlip))),
		}
		if random.IntN(2) == 0 {
			s.after = time.Duration(random.Int64N(int64(longestWait)))
		}
		spells = append(spells, s)
	}
	if random.IntN(2) == 0 {
		spells[len(spells)-1].lasts = 0
	}
	return spells
}

// playSpells plays them.
func playSpells(ctx context.Context, w *weather, spells []spell) {
	for i, s := range spells {
		if i > 0 && s.after > 0 {
			w.becomes(well)
		}
		if !pause(ctx, s.after) {
			return
		}
		w.becomes(s.fault)
		spell, end := context.WithCancel(ctx)
		if s.lasts > 0 {
			spell, end = context.WithTimeout(ctx, s.lasts)
		}
		for s.fault == flapping && pause(spell, s.flips) {
			w.flips()
		}
		<-spell.Done()
		end()
		if ctx.Err() != nil {
			return
		}
	}
	if len(spells) > 0 {
		w.becomes(well)
	}
}
