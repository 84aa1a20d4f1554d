package linux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"muster/wire"
)

// Lock is the one lock that the daemon holds at logind, on behalf of every notifier: whoever takes the device down by
// logind, as "systemctl reboot" does, waits until the system has gone through CONTEXT_DESTROYING. It waits no longer
// than logind's InhibitDelayMaxSec. While an update is written (MODAL_UPDATING) the lock forbids going down instead,
// where logind lets it.
//
// The lock is taken in [Lock.Run] and given back at its end. A logind that is not there, or goes, is looked for again
// after 1, 2, 4 … 60 s.
type Lock struct {
	machine Machine
	opts    LockOptions
	bell    chan struct{} // rung when the state has changed
	wish    wish          // of the goroutine that runs the lock

	mu    sync.Mutex
	state wire.State
}

// LockOptions are a Lock's surroundings. The zero value works.
type LockOptions struct {
	Open func(context.Context) (Session, error) // nil: the host's logind
	Log  *slog.Logger
}

// Machine is what the lock wants of [muster/system.Machine].
type Machine interface {
	Request(ctx context.Context, caller wire.Caller, want wire.StateWish) (wire.StateOutcome, error)
	Withdraw(ctx context.Context, id, reason string) (aborted bool, err error)
}

// Session is a connection to logind. What it has given is lost with it.
type Session interface {
	Inhibit(ctx context.Context, mode, why string) (io.Closer, error) // a lock on going down, until it is closed
	// Downs tells true when the device is about to go down, which it does once every lock is given back, and false
	// when it no longer is. It is closed when the connection is lost.
	Downs() <-chan bool
	io.Closer
}

// The two kinds of locks, as logind names them.
const (
	lockDelays = "delay" // going down waits for it, for a while
	lockBlocks = "block" // there is no going down
)

// The pauses before logind is looked for again.
const (
	firstPause   = time.Second
	longestPause = time.Minute
)

// errLost is the end of a session that nobody wanted.
var errLost = errors.New("the connection to logind is lost")

// NewLock makes a lock that is not taken yet.
func NewLock(machine Machine, opts LockOptions) *Lock {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Open == nil {
		opts.Open = Logind{Log: opts.Log}.Open
	}
	return &Lock{machine: machine, opts: opts, bell: make(chan struct{}, 1)}
}

// Entered tells the lock the state. It never blocks.
func (l *Lock) Entered(state wire.State) {
	l.mu.Lock()
	l.state = state
	l.mu.Unlock()
	select {
	case l.bell <- struct{}{}:
	default:
	}
}

// Run holds the lock until ctx is done.
func (l *Lock) Run(ctx context.Context) error {
	told, pause := "", firstPause
	for {
		s := &shift{Lock: l}
		err := s.run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if s.took {
			told, pause = "", firstPause
		}
		if err.Error() != told { // once, not every minute
			told = err.Error()
			l.opts.Log.Warn("no lock at logind; going down is not announced", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

// wants gives the lock that fits the state, and its reason.
func (l *Lock) wants() (mode, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == wire.ModalUpdating {
		return lockBlocks, "an update is being written"
	}
	return lockDelays, "processes are asked before the device goes down"
}

// shift is the lock over one session.
type shift struct {
	*Lock
	session Session
	lock    io.Closer // nil: none
	mode    string    // of the lock
	took    bool      // there has been one
	refused bool      // logind does not let this daemon forbid going down
}

// wish is that the system ends, because the device is to go down. It outlives the session in which that was heard.
type wish struct {
	move  string // the transition; "": none
	times int    // how often it was wished for
}

// run holds the lock until the session is lost or ctx is done.
func (s *shift) run(ctx context.Context) (err error) {
	if s.session, err = s.opts.Open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.give(), s.session.Close()) }()
	for {
		if err := s.take(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.bell:
		case down, open := <-s.session.Downs():
			switch {
			case !open:
				return errLost
			case down:
				s.leave(ctx)
			default:
				s.stay(ctx)
			}
		}
	}
}

// take sees to it that the lock is the one that fits. It takes the new one before it gives the old one back.
func (s *shift) take(ctx context.Context) error {
	mode, why := s.wants()
	if mode == lockBlocks && s.refused {
		mode = lockDelays
	}
	if mode == s.mode {
		return nil
	}
	lock, err := s.session.Inhibit(ctx, mode, why)
	if err != nil && mode == lockBlocks {
		s.refused = true
		s.opts.Log.Warn("logind does not let an update keep the device up; it can only delay", "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("take a lock: %w", err)
	}
	if err := s.give(); err != nil {
		s.opts.Log.Warn("lock not given back", "error", err)
	}
	s.lock, s.mode, s.took = lock, mode, true
	s.opts.Log.Debug("lock taken at logind", "mode", mode, "why", why)
	return nil
}

// give gives the lock back, if there is one.
func (s *shift) give() error {
	if s.lock == nil {
		return nil
	}
	lock := s.lock
	s.lock, s.mode = nil, ""
	return lock.Close()
}

// leave has the system end, because the device goes down. The end of the daemon gives the lock back.
func (s *shift) leave(ctx context.Context) {
	outcome, err := s.machine.Request(ctx, wire.Internal, wire.StateWish{
		Target: wire.ContextDestroying, Reason: "logind takes the device down",
	})
	if err != nil {
		s.opts.Log.Error("the device goes down, and nobody was asked", "error", err)
		return
	}
	if s.wish.move != outcome.ID {
		s.wish = wish{move: outcome.ID}
	}
	s.wish.times++
	s.opts.Log.Info("the device is to go down", "outcome", string(outcome.Outcome), "holders", outcome.Holders)
}

// stay takes the wish back, because the device does not go down after all. An end that others have asked for goes on.
func (s *shift) stay(ctx context.Context) {
	s.opts.Log.Warn("the device does not go down after all")
	if s.wish.times == 0 {
		return
	}
	aborted := false
	for range s.wish.times {
		var err error
		if aborted, err = s.machine.Withdraw(ctx, s.wish.move, "logind keeps the device up after all"); err != nil {
			s.opts.Log.Warn("end not aborted", "error", err)
			break
		}
	}
	s.opts.Log.Info("the wish for the end is taken back", "transition", s.wish.move, "aborted", aborted)
	s.wish = wish{}
}
