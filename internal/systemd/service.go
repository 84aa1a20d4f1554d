// Package systemd tells the service manager how the daemon is: that it is ready, what it does and for whom it waits,
// and, again and again, that it lives. Where nobody wants to know, which the environment says, nothing is done. It
// stands below every other package.
package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Service is this process as systemd sees it. Its methods are safe for concurrent use, and do not wait for anybody.
type Service struct {
	opts     Options
	bell     chan struct{} // rung when there is something new to see
	wanted   bool          // whether somebody listens
	watchdog time.Duration // how often it wants to hear that the daemon lives; 0: never

	mu       sync.Mutex
	ready    bool   // READY=1 was sent
	stopping bool   // STOPPING=1 was sent
	status   string // the last one
}

// Options are a Service's surroundings. Look is required.
type Options struct {
	// Look sees how things are by asking the bus, as any client would: that it comes back is the daemon's life.
	Look func(context.Context) (View, error)
	Log  *slog.Logger
}

// View is how things are.
type View struct {
	Ready  bool   // whether what is wanted of the daemon at the start is reached; once is enough
	Status string // for people, in a line
}

// The times of the service's own.
const (
	beat      = 10 * time.Second // between two looks, where the watchdog does not want more
	extension = 30 * time.Second // that the start or the end may go on after each look
	longest   = 200              // letters of a status
)

// New makes the service that the environment describes (NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID).
func New(opts Options) (*Service, error) {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return nil, fmt.Errorf("read WATCHDOG_USEC and WATCHDOG_PID: %w", err)
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{opts: opts, bell: make(chan struct{}, 1), wanted: os.Getenv("NOTIFY_SOCKET") != "", watchdog: watchdog}, nil
}

// Wanted reports whether somebody wants to know.
func (s *Service) Wanted() bool { return s.wanted }

// Changed says that there is something new to see.
func (s *Service) Changed() {
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

// Run looks at each change and at each beat, and tells what it sees, until ctx is done. A look that fails is not told:
// to say nothing is what makes systemd act.
func (s *Service) Run(ctx context.Context) error {
	if !s.wanted {
		return nil
	}
	every := beat
	if s.watchdog > 0 {
		every = min(every, s.watchdog/3)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	s.look(ctx, every)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.bell:
		case <-ticker.C:
		}
		s.look(ctx, every)
	}
}

// look sees how things are, and tells it.
func (s *Service) look(ctx context.Context, budget time.Duration) {
	within, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	view, err := s.opts.Look(within)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		s.opts.Log.Error("the bus does not answer the daemon itself", "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var words []string
	if view.Ready && !s.ready && !s.stopping {
		s.ready = true
		words = append(words, daemon.SdNotifyReady)
	}
	if status := clean(view.Status); status != s.status {
		s.status = status
		words = append(words, "STATUS="+status)
	}
	if !s.ready || s.stopping {
		words = append(words, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", extension.Microseconds()))
	}
	if s.watchdog > 0 {
		words = append(words, daemon.SdNotifyWatchdog)
	}
	s.tell(words...)
}

// Reloading says that the configuration is read again.
func (s *Service) Reloading() {
	s.tell(daemon.SdNotifyReloading, daemon.SdNotifyMonotonicUsec())
}

// Reloaded says that what was read is in force.
func (s *Service) Reloaded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready && !s.stopping {
		s.tell(daemon.SdNotifyReady)
	}
}

// Stopping says that the daemon is about to end.
func (s *Service) Stopping() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping {
		s.stopping = true
		s.tell(daemon.SdNotifyStopping)
	}
}

// tell sends words in one message, if there are any.
func (s *Service) tell(words ...string) {
	if !s.wanted || len(words) == 0 {
		return
	}
	if _, err := daemon.SdNotify(false, strings.Join(words, "\n")); err != nil {
		s.opts.Log.Error("systemd not told", "words", words, "error", err)
	}
}

// clean makes a line of what others have a say in, so that none of it is a word of its own.
func clean(status string) string {
	line := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(status, "?"))
	if letters := []rune(line); len(letters) > longest {
		return string(letters[:longest-1]) + "…"
	}
	return line
}
