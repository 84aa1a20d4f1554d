package main

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"muster/bus"
	"muster/wire"
)

// sizes is how many notifiers there are, each time ten times as many.
var sizes = []int{1, 10, 100, 1000}

// linear is how much longer ten times as much may take: ten times, and a tenth of that for what measurements wander.
const linear = 11

// growth measures the same with more and more notifiers, and with more and more bookings that wait, each size against
// the one before. Rounds and boots of all sizes are measured in turn. Of what happens only once the time of the
// processor is measured, several times over: then it matters little what else the machine does.
func growth(_ Setting, report func(Row)) error {
	if err := growNotifiers(report); err != nil {
		return err
	}
	if err := growBoots(report); err != nil {
		return err
	}
	return growBookings(report)
}

// reportGrowth makes a row of each size. name has a place for the size.
func reportGrowth(report func(Row), name string, sizes []int, took []time.Duration) {
	for i, size := range sizes {
		name := fmt.Sprintf(name, size)
		if i == 0 {
			report(told(name, took[i]))
		} else {
			report(compared(name, Pair{took[i], took[i-1]}, linear))
		}
	}
}

// mediansOf gives the median of each column.
func mediansOf(samples [][]time.Duration) []time.Duration {
	var medians []time.Duration
	for i := range samples[0] {
		var column []time.Duration
		for _, sample := range samples {
			column = append(column, sample[i])
		}
		medians = append(medians, median(column))
	}
	return medians
}

// inTurn takes samples of all, and gives their medians.
func inTurn(count int, all []sampler) ([]time.Duration, error) {
	var samples [][]time.Duration
	for i := range warmUp + count {
		var sample []time.Duration
		for _, take := range all {
			one, err := take()
			if err != nil {
				return nil, err
			}
			sample = append(sample, one)
		}
		if i >= warmUp {
			samples = append(samples, sample)
		}
	}
	return mediansOf(samples), nil
}

// growNotifiers measures a daemon with up to a thousand notifiers in ten other processes, each on a connection of its
// own: what it takes the daemon to let them in, and the rounds over them.
func growNotifiers(report func(Row)) error {
	var rounds []time.Duration
	spent, err := several(func() (spent []time.Duration, err error) {
		err = withMembers(func(s *stage, all members) error {
			if spent, err = joinAll(s, all); err != nil || rounds != nil {
				return err
			}
			rounds, err = roundsOverAll(s)
			return err
		})
		return spent, err
	})
	if err != nil {
		return err
	}
	reportGrowth(report, "%d notifiers connect and register (processor)", sizes, mediansOf(spent))
	reportGrowth(report, "round over %d notifiers in 10 processes", sizes, rounds)
	return nil
}

// withMembers runs f with a daemon and ten processes.
func withMembers(f func(*stage, members) error) (err error) {
	s, err := openStage()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	all, err := startMembers(10)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, all.stop()) }()
	return f(s, all)
}

// joinAll has a thousand join, and gives the time of the processor up to each size. About AWAITING_MODAL_UPDATING all are
// asked, about OPERATIONAL a hundred, about MODAL_UPDATING ten, and about ONE_TIME_UPDATES one.
func joinAll(s *stage, all members) (spent []time.Duration, err error) {
	states := []wire.State{wire.OneTimeUpdates, wire.ModalUpdating, wire.Operational, wire.AwaitingModalUpdating}
	there, began := 0, processorTime()
	for i, size := range sizes {
		_, err := all.join(size-there, fmt.Sprintf("of-%d", size), membership{Daemon: s.url, States: states[i:]})
		if err != nil {
			return nil, err
		}
		spent, there = append(spent, processorTime()-began), size
	}
	return spent, nil
}

// roundsOverAll measures a round over each size.
func roundsOverAll(s *stage) ([]time.Duration, error) {
	w, err := watchRounds(s)
	if err != nil {
		return nil, err
	}
	took, err := inTurn(100, []sampler{
		w.move(wire.AwaitingModalUpdating), w.move(wire.ModalUpdating), w.move(wire.Operational), w.fallBack(wire.OneTimeUpdates),
		w.move(wire.Operational),
	})
	if err != nil {
		return nil, err
	}
	return []time.Duration{took[3], took[1], took[2], took[0]}, nil
}

// growBoots measures boots with more and more notifiers in the daemon's process.
func growBoots(report func(Row)) error {
	return onBus(func(b *bus.Bus, events jetstream.Stream) error {
		var boots []sampler
		for _, size := range sizes {
			boots = append(boots, bootOn(b, events, size))
		}
		took, err := inTurn(100, boots)
		if err == nil {
			reportGrowth(report, "boot with %d notifiers in the daemon's process", sizes, took)
		}
		return err
	})
}

// growBookings measures a loop on which more and more calls wait, for a state that does not come: what it takes the
// daemon to book them, and how long a call takes meanwhile whose state has come.
func growBookings(report func(Row)) error {
	sizes := []int{1000, 10_000, 100_000}
	past := make([][]time.Duration, 0, runs)
	spent, err := several(func() (spent []time.Duration, err error) {
		spent, calls, err := bookAll(sizes)
		past = append(past, calls)
		return spent, err
	})
	if err != nil {
		return err
	}
	reportGrowth(report, "%d calls that wait are booked (processor)", sizes, mediansOf(spent))
	reportGrowth(report, "attach to callback, past %d calls that wait", sizes, mediansOf(past))
	return nil
}

// bookAll books calls up to each size, and gives the time of the processor up to there, and what another call takes
// then.
func bookAll(sizes []int) (spent, past []time.Duration, err error) {
	s, err := openStage()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	c, err := startChild("client")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	there, total := 0, time.Duration(0)
	for _, size := range sizes {
		began := processorTime()
		if err := c.order(errand{Daemon: s.url, What: "book", Samples: size - there}, &Pair{}); err != nil {
			return nil, nil, err
		}
		total += processorTime() - began
		spent, there = append(spent, total), size
		var p Pair
		if err := c.order(errand{Daemon: s.url, What: "attach among others", Samples: 400}, &p); err != nil {
			return nil, nil, err
		}
		past = append(past, p.Value)
	}
	return spent, past, nil
}

// processorTime is what this process, the daemon in it included, has had of the processors.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic("getrusage: " + err.Error()) // it has no other error than a wrong argument
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// book books calls that wait, and returns when the daemon has answered all of them.
func book(nc *nats.Conn, count int) error {
	payload, err := wire.Encode(wire.Booking{Call: benchCall, State: wire.ModalUpdating})
	if err != nil {
		return err
	}
	const atOnce = 500
	inbox := nc.NewRespInbox()
	answers := make(chan *nats.Msg, atOnce)
	sub, err := nc.ChanSubscribe(inbox, answers)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection is closed soon
	subject := wire.LoopBook.For(wire.Booking{})
	sent := 0
	for answered := range count {
		for ; sent < count && sent-answered < atOnce; sent++ {
			if err := nc.PublishRequest(subject, inbox, payload); err != nil {
				return err
			}
		}
		if m := <-answers; m.Header.Get(wire.HeaderError) != "" {
			return errors.New(m.Header.Get(wire.HeaderError))
		}
	}
	return nil
}
