package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"muster/system"
	"muster/wire"
)

// attaches measures calls on an event loop from other goroutines of the daemon's process: how long one takes to its
// callback while no other is in flight, and whether all of a hundred thousand come, each once.
func attaches(_ Setting, report func(Row)) (err error) {
	loops := system.NewLoops(1, system.LoopOptions{Clock: &system.Sim{}}, nil, nil)
	loops.Entered(wire.Operational)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- loops.Run(ctx) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-ended)
	}()
	loop := loops.Loop(0)
	medians, err := several(func() (time.Duration, error) { return repeat(20_000, attachNear(loop)) })
	if err != nil {
		return err
	}
	report(absolute("attach from a goroutine to its callback", micros(median(medians)), "µs", 10))
	const calls, goroutines = 100_000, 8
	wrong, took, err := attachMany(loop, calls, goroutines)
	if err != nil {
		return err
	}
	report(absolute("calls lost or doubled of 100 000 from 8 goroutines", float64(wrong), "calls", 0))
	report(told("each of them", took/calls))
	return nil
}

// attachNear has the loop call back. Its time ends in the callback.
func attachNear(loop *system.Loop) sampler {
	called := make(chan time.Time)
	return func() (time.Duration, error) {
		began := time.Now()
		if err := loop.Attach(wire.Operational, func() { called <- time.Now() }); err != nil {
			return 0, err
		}
		return (<-called).Sub(began), nil
	}
}

// attachMany has goroutines attach as fast as they can, and counts the calls that did not come exactly once.
func attachMany(loop *system.Loop, calls, goroutines int) (wrong int, took time.Duration, err error) {
	came := make([]atomic.Int32, calls)
	errs := make([]error, goroutines)
	began := time.Now()
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			for i := g; i < calls && errs[g] == nil; i += goroutines {
				errs[g] = loop.Attach(wire.Operational, func() { came[i].Add(1) })
			}
		})
	}
	all.Wait()
	last := make(chan struct{}) // behind all others
	if err := errors.Join(append(errs, loop.Attach(wire.Operational, func() { close(last) }))...); err != nil {
		return 0, 0, err
	}
	<-last
	took = time.Since(began)
	for i := range came {
		if came[i].Load() != 1 {
			wrong++
		}
	}
	return wrong, took, nil
}
