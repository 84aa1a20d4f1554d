package main

import (
	"errors"
	"fmt"
	"time"

	"muster/wire"
)

// losses measures how soon a round goes on when the process that it waits for is killed: from before the signal to the
// daemon's stamp of the commit. The kernel's own work, which closes the connection, is a part of it.
func losses(_ Setting, report func(Row)) (err error) {
	s, err := openStage()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var took []time.Duration
	for i := range 20 * runs {
		one, err := s.lose(fmt.Sprintf("victim-%d", i))
		if err != nil {
			return err
		}
		took = append(took, one)
	}
	report(absolute("kill of a notifier that is being asked to the commit", millis(median(took)), "ms", 2))
	return nil
}

// lose has a move wait for a process, and kills it.
func (s *stage) lose(name string) (took time.Duration, err error) {
	all, err := startMembers(1)
	if err != nil {
		return 0, err
	}
	victim := all[0]
	_, err = all.join(1, name, membership{Daemon: s.url, States: []wire.State{wire.AwaitingModalUpdating}, Silent: true})
	if err != nil {
		return 0, errors.Join(err, victim.kill())
	}
	wished := make(chan error, 1)
	go func() { wished <- s.wish(wire.StateWish{Target: wire.AwaitingModalUpdating}) }()
	var told joined
	if err := victim.answers.Decode(&told); err != nil || !told.Asked {
		return 0, errors.Join(fmt.Errorf("%s is not asked", name), err, victim.kill())
	}
	_, killed := wire.Now()
	if err := victim.kill(); err != nil {
		return 0, err
	}
	if err := <-wished; err != nil {
		return 0, err
	}
	view, err := request(s.conn, wire.StateGet, wire.Empty{})
	if err != nil {
		return 0, err
	}
	return view.Since.Sub(killed), s.wish(wire.StateWish{Target: wire.Operational})
}
