package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"muster/client"
	"muster/internal/daemon"
	"muster/wire"
)

// stage is one run of the demo: its processes, its place on the bus, and the acts of its story in demo_acts.go.
type stage struct {
	program string // this executable
	dir     string // of the daemon
	observe bool   // the network and the clock of this machine
	fail    context.CancelCauseFunc
	story   *story
	bus     *client.Client
	running []*process  // in the order of their start
	open    atomic.Bool // the story is told, and whoever looks on may do what he likes
}

const (
	patience  = 30 * time.Second // with what ought to happen at once: a machine may be slow
	grace     = 45 * time.Second // for a process to end: CONTEXT_DESTROYING may be held for 30 s
	lastWords = time.Second      // for what a daemon that has ended had said to arrive
)

// errOver says that the daemon was told by somebody else to end.
var errOver = errors.New("the daemon has ended")

// endedError says that a process has ended in the middle of the story.
type endedError struct {
	process string
	how     error // nil if it meant to
}

func (e endedError) Error() string {
	if e.how == nil {
		return e.process + " has ended by itself"
	}
	return fmt.Sprintf("%s has ended by itself: %v", e.process, e.how)
}

// start adds a process to the stage. If it ends although the demo has not asked for it, the story is over.
func (s *stage) start(name string, args ...string) (*process, error) {
	p, err := startProcess(s.program, s.dir, name, args...)
	if err != nil {
		return nil, err
	}
	s.running = append(s.running, p)
	go func() {
		<-p.done
		switch {
		case p.dismissed.Load():
		case !s.open.Load():
			s.fail(endedError{name, p.err})
		case name == daemonName:
			s.fail(errOver)
		default:
			s.story.say("demo", "%s has ended: %v", name, p.err)
		}
	}()
	return p, nil
}

// process finds one by its name.
func (s *stage) process(name string) *process {
	return s.running[slices.IndexFunc(s.running, func(p *process) bool { return p.name == name })]
}

// ready waits until the daemon says where it is.
func (s *stage) ready(ctx context.Context) (daemon.RunFile, error) {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		file, err := daemon.ReadRunFile(s.dir)
		if !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return file, context.Cause(ctx)
		}
	}
}

// follow tells what happens, until ctx is done.
func (s *stage) follow(ctx context.Context) error {
	for {
		t, err := s.story.next(ctx)
		if err != nil {
			return err
		}
		s.story.tell(t)
	}
}

// await tells what happens up to what the story expects. A hold or an end of a transition that it does not expect is an
// error.
func (s *stage) await(ctx context.Context, kind wire.Kind, to wire.State, holder string) error {
	for {
		t, err := s.story.next(ctx)
		if err != nil {
			return err
		}
		s.story.tell(t)
		switch {
		case t.Kind == kind && t.To == to && heldBy(&t, holder):
			return nil
		case t.Kind == wire.KindHeld && s.observe && heldBy(&t, ""):
		case t.Kind != wire.KindProposed && t.Kind != wire.KindResumed && t.Kind != wire.KindCommitted:
			return fmt.Errorf("the transition to %s is %s; the one to %s should be %s", t.To, t.Kind, to, kind)
		}
	}
}

// heldBy reports whether one notifier holds, and no other but those that observe this machine; "" stands for none.
func heldBy(t *wire.Transition, holder string) bool {
	found := holder == ""
	for _, h := range t.Holders {
		if h.Notifier != holder && !slices.Contains(observers, h.Notifier) {
			return false
		}
		found = found || h.Notifier == holder
	}
	return found
}

// hear tells what a participant says next.
func (s *stage) hear(ctx context.Context, name string) error {
	line, err := s.process(name).line(ctx)
	if err == nil {
		s.story.say(name, "%s", line)
	}
	return err
}

// clear ends every process: the daemon first, so that its last state is told too. Another signal ends them at once.
func (s *stage) clear() {
	hurry, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listening, enough := context.WithCancel(hurry)
	defer enough()
	var telling sync.WaitGroup
	if s.story.transitions != nil {
		defer s.bus.Close()
		if s.open.Load() {
			s.story.write("\n")
		}
		if s.process(daemonName).ended() {
			s.story.say("demo", "ends the participants, as the daemon has ended")
		} else {
			s.story.say("demo", "ends the daemon, and then the participants")
			telling.Go(func() { s.tellTheEnd(listening) })
		}
	}
	for _, p := range s.running {
		p.stop(hurry, grace)
	}
	late := time.AfterFunc(lastWords, enough) // a daemon that is killed says nothing any more
	defer late.Stop()
	telling.Wait()
}

// tellTheEnd tells what happens up to the last state.
func (s *stage) tellTheEnd(ctx context.Context) {
	for {
		t, err := s.story.next(ctx)
		if err != nil {
			return
		}
		s.story.tell(t)
		if t.Kind == wire.KindCommitted && t.To == wire.ContextDestroying {
			return
		}
	}
}

// explain adds to an error the last that was logged by the process that has ended, or else by the daemon.
func (s *stage) explain(err error) error {
	name := daemonName
	if ended, ok := errors.AsType[endedError](err); ok {
		name = ended.process
	}
	err = fmt.Errorf("the story goes otherwise: %w", err)
	log, unread := os.ReadFile(filepath.Join(s.dir, name+".log"))
	if text := strings.TrimSpace(string(log)); unread == nil && text != "" {
		lines := strings.Split(text, "\n")
		err = fmt.Errorf("%w\nthe log of %s ends with:\n%s", err, name, strings.Join(lines[max(0, len(lines)-5):], "\n"))
	}
	return err
}
