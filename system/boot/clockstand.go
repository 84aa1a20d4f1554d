package boot

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"muster/system"
	"muster/wire"
)

// clockStand is what counts as known of the wall clock: it holds TIME_VALID until that is valid, tells each change, and has
// the device fall back when a valid clock is lost. Who finds out calls become. It is safe for concurrent use.
type clockStand struct {
	gate   Gate
	teller Teller
	log    *slog.Logger
	back   wayBack       // to CPD_PRE_TIME
	asked  chan struct{} // takes one when the device begins to wait for the time; may be nil

	mu    sync.Mutex
	state string // clockUnknown, clockInvalid, clockValid
	why   string // it is not valid, or by whom it is
	since time.Time
	hold  holding
}

// What is known of the wall clock, in events.
const (
	clockUnknown = "unknown"
	clockInvalid = "invalid"
	clockValid   = "valid"
)

const (
	clockName  = "clock"
	clockTopic = "sys.network.clock"
)

// notifier makes the notifier, of which there is one whoever finds out.
func (s *clockStand) notifier(about string) system.Notifier {
	return system.Notifier{Name: clockName, States: []wire.State{wire.TimeValid}, Ask: s.ask, About: about}
}

// ask holds until the clock is valid.
func (s *clockStand) ask(_ context.Context, q wire.Question) wire.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if begins := s.hold.patience.since.IsZero() && !s.hold.gaveUp; begins && s.state != clockValid && !q.DryRun {
		select {
		case s.asked <- struct{}{}:
		default:
		}
	}
	a := s.hold.answer(q, s.state == clockValid, s.reason, s.giveUp)
	s.back.answered(q, a)
	return a
}

// giveUp tells that the device goes on without the time.
func (s *clockStand) giveUp(reason string) {
	s.tell(Change{Old: s.state, New: s.state, Degraded: true, Reason: reason + "; the device goes on without the time"})
	s.log.Error("time not waited for any longer", "patience", s.hold.patience.limit, "reason", reason)
}

// reason says what is waited for.
func (s *clockStand) reason() string {
	if s.why == "" {
		return "the clock has not been looked at yet"
	}
	return fmt.Sprintf("%s since %v", s.why, time.Since(s.since).Round(time.Second))
}

// tell sends an event.
func (s *clockStand) tell(change Change) { s.teller.Tell(clockTopic, &change) }

// is tells how the clock stands.
func (s *clockStand) is() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// become takes note of how the clock stands now, and why. What is new is told. A clock that is unknown for a while is not
// lost yet.
func (s *clockStand) become(ctx context.Context, state, why string) {
	s.mu.Lock()
	old := s.state
	if s.state, s.why = state, why; old != state {
		s.since = time.Now()
		s.tell(Change{Old: old, New: state, Reason: why})
	}
	lost, falls := false, false
	switch state {
	case clockValid:
		s.back.has()
	case clockInvalid:
		lost, falls = s.back.lost()
	}
	if state == clockValid || lost {
		s.hold.over()
	}
	s.mu.Unlock()
	switch {
	case falls:
		s.back.fall(ctx, "the time is lost: "+why)
	case old != state:
		resume(ctx, s.gate, clockName, s.log)
	}
}
