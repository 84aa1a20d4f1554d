package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"muster/wire"
)

// supply is what [Enrolment] and [Token] have in common: something valid for a while that others give, that the device waits for, and
// that is renewed for as long as it runs. The part says how it is got, and owns the goroutine that gets it; ask may be called
// from any.
type supply struct {
	name    string // of the notifier
	topic   string // of the events
	what    string // for people: "certificate"
	unasked string // the reason before anybody was asked
	asking  string // and while the first is being asked for
	gate    Gate
	teller  Teller
	backoff func(failures int) time.Duration
	log     *slog.Logger
	back    wayBack

	wanted   chan struct{} // closed when it is
	failures int           // in a row; the getting goroutine's alone

	mu    sync.Mutex
	asked bool   // wanted is closed
	state string // supplyValid, or another word for how it is not
	since time.Time
	fault trouble
	hold  holding
}

// What is known of something that is supplied, in events.
const (
	supplyNone  = "none"
	supplyValid = "valid"
)

// begin makes a supply ready, from what its part has said of it.
func (s *supply) begin(patient time.Duration) {
	if s.backoff == nil {
		s.backoff = (*Policy)(nil).Backoff
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.back.log, s.wanted, s.state, s.since = s.log, make(chan struct{}), supplyNone, time.Now()
	s.hold.patience.limit = patient
}

// ask holds until there is something valid. A device that falls back to this state, for somebody else's sake, is not held on its way
// down: up there it would stay with what it has lost.
func (s *supply) ask(_ context.Context, q wire.Question) wire.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.asked && !q.DryRun {
		s.asked, s.since = true, time.Now()
		close(s.wanted)
	}
	answer := s.hold.answer(q, s.state == supplyValid || q.From > q.To, s.reason, func(reason string) {
		s.tell(Change{Old: s.state, New: s.state, Degraded: true, Reason: reason + "; the device goes on without a " + s.what})
		s.log.Error("not waited for any longer", "notifier", s.name, "patience", s.hold.patience.limit, "reason", reason)
	})
	s.back.answered(q, answer)
	return answer
}

func (s *supply) reason() string {
	switch {
	case s.fault.times > 0:
		return s.fault.String()
	case !s.asked:
		return s.unasked
	}
	return fmt.Sprintf("%s since %v", s.asking, time.Since(s.since).Round(time.Second))
}

// tell sends an event.
func (s *supply) tell(change Change) { s.teller.Tell(s.topic, &change) }

// run takes one step after the other, each after the wait that the one before gave, from when the device wants it.
func (s *supply) run(ctx context.Context, step func(context.Context) time.Duration) error {
	select {
	case <-s.wanted:
	case <-ctx.Done():
		return nil
	}
	for s.back.pause(ctx, step(ctx)) {
	}
	return nil
}

// become notes how it stands now, and why; loss says so for the device that falls back for it. What is new is told.
func (s *supply) become(ctx context.Context, state, why, loss string) {
	s.mu.Lock()
	old := s.state
	if s.state = state; old != state {
		s.tell(Change{Old: old, New: state, Reason: why})
	}
	switch {
	case old == state:
	case state == supplyValid:
		s.fault = trouble{}
	case s.fault.times == 0 && why != "": // else there is a better reason
		s.fault.note(why)
	}
	lost, falls := false, false
	if state == supplyValid {
		s.back.has()
	} else {
		lost, falls = s.back.lost()
	}
	if state == supplyValid || lost {
		s.hold.over()
	}
	s.mu.Unlock()
	switch {
	case falls:
		s.back.fall(ctx, loss)
	case old != state:
		resume(ctx, s.gate, s.name, s.log)
	}
}

// renewed notes that what was valid is valid for longer. It is told with how.
func (s *supply) renewed(how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = trouble{}
	s.tell(Change{Old: s.state, New: s.state, Reason: how})
}

// failing reports whether it was not got when it was asked for last.
func (s *supply) failing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault.times > 0
}

// failed notes that nothing new was got, and gives how long to wait before it is asked for again.
func (s *supply) failed(ctx context.Context, err error) time.Duration {
	what := lastWords(err.Error())
	s.failures++
	s.mu.Lock()
	told, valid := s.fault.what == what, s.state == supplyValid
	s.fault.note(what)
	if !told {
		s.tell(Change{Old: s.state, New: s.state, Reason: what})
	}
	s.mu.Unlock()
	s.log.Warn("nothing new is got", "notifier", s.name, "reason", what, "failures", s.failures)
	if !valid {
		resume(ctx, s.gate, s.name, s.log)
	}
	wait := s.backoff(s.failures)
	if refused, ok := errors.AsType[*refusal](err); ok {
		wait = max(wait, refused.retry)
	}
	return wait
}

// valid reports whether there is something valid.
func (s *supply) valid() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == supplyValid
}
