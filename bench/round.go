package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"muster/wire"
)

// rounds measures a round over ten notifiers in ten other processes, and over one, against as many bare requests to
// the same processes.
//
// The system goes to AWAITING_MODAL_UPDATING, about which all ten are asked, and back, about which only the first is. The
// time is the daemon's own, read from the events in the store afterwards: from started_mono_us, before the first
// question is made, to the stamp of committed.
func rounds(_ Setting, report func(Row)) (err error) {
	s, err := openStage()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	b, err := openBare()
	if err != nil {
		return err
	}
	defer b.close()
	all, err := startMembers(10)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, all.stop()) }()
	asked, err := joinTen(s, b, all)
	if err != nil {
		return err
	}
	tens, ones, err := measureRounds(s, b, asked)
	if err != nil {
		return err
	}
	report(compared("round over 10 notifiers in 10 processes", middle(tens), 1.3))
	report(compared("round over 1 notifier in another process", middle(ones), 1.3))
	return nil
}

// joinTen has a notifier join from each process, and gives the subjects on which they are asked at the bare server.
func joinTen(s *stage, b *bare, all members) (asked []string, err error) {
	there, back := wire.AwaitingModalUpdating, wire.Operational
	first, err := all[:1].join(1, "first", membership{Daemon: s.url, Bare: b.url(), States: []wire.State{there, back}})
	if err != nil {
		return nil, err
	}
	rest, err := all[1:].join(9, "other", membership{Daemon: s.url, Bare: b.url(), States: []wire.State{there}})
	for _, name := range append(first, rest...) {
		asked = append(asked, bareNotify(name))
	}
	return asked, err
}

func measureRounds(s *stage, b *bare, asked []string) (tens, ones []Pair, err error) {
	question, err := wire.Encode(wire.Question{
		ID: "17-9f3c2a.1234", From: wire.Operational, To: wire.AwaitingModalUpdating, Goal: wire.AwaitingModalUpdating,
		Round: 1, Reason: "bench",
	})
	if err != nil {
		return nil, nil, err
	}
	w, err := watchRounds(s)
	if err != nil {
		return nil, nil, err
	}
	for range runs {
		var ten, one, bareTen, bareOne []time.Duration
		for i := range warmUp + 400 {
			var took [4]time.Duration
			for n, sample := range []sampler{
				b.gather(asked, question), w.move(wire.AwaitingModalUpdating), b.gather(asked[:1], question), w.move(wire.Operational),
			} {
				if took[n], err = sample(); err != nil {
					return nil, nil, err
				}
			}
			if i >= warmUp {
				bareTen, ten = append(bareTen, took[0]), append(ten, took[1])
				bareOne, one = append(bareOne, took[2]), append(one, took[3])
			}
		}
		tens = append(tens, Pair{median(ten), median(bareTen)})
		ones = append(ones, Pair{median(one), median(bareOne)})
	}
	return tens, ones, nil
}

// roundWatch makes transitions and reads how long their rounds took.
type roundWatch struct {
	*stage
	seq uint64 // of the last event
}

func watchRounds(s *stage) (*roundWatch, error) {
	view, err := request(s.conn, wire.StateGet, wire.Empty{})
	return &roundWatch{s, view.Seq}, err
}

// move makes a transition and gives the time of its round. It returns when its events are stored.
func (w *roundWatch) move(to wire.State) sampler {
	return w.roundOf(wire.StateWish{Target: to})
}

// fallBack is the same for a move to an earlier state.
func (w *roundWatch) fallBack(to wire.State) sampler {
	return w.roundOf(wire.StateWish{Target: to, FallBack: true})
}

func (w *roundWatch) roundOf(want wire.StateWish) sampler {
	return func() (time.Duration, error) {
		if err := w.wish(want); err != nil {
			return 0, err
		}
		w.seq += 4 // proposed, committed, and two of the state
		if err := settle(w.events, w.seq); err != nil {
			return 0, err
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		m, err := w.events.GetMsg(ctx, w.seq-2)
		if err != nil {
			return 0, err
		}
		var t wire.Transition
		if err := wire.Decode(m.Data, &t); err != nil {
			return 0, err
		}
		if t.Kind != wire.KindCommitted || t.To != want.Target {
			return 0, fmt.Errorf("event %d is %s of a move to %s, not committed of the one to %s", t.Seq, t.Kind, t.To, want.Target)
		}
		return t.Mono.Sub(t.Started), nil
	}
}
