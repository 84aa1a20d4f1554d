package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"muster/client"
	"muster/internal/daemon"
	"muster/wire"
)

// stage is one run of the demo: its processes, and the acts of its story.
type stage struct {
	program string // this executable
	dir     string // of the daemon
	fail    context.CancelCauseFunc
	story   *story
	bus     *client.Client
	running []*process // in the order of their start
}

const (
	patience = 30 * time.Second // with what ought to happen at once: a machine may be slow
	grace    = 5 * time.Second  // for a process to end
)

// demoConfig is the configuration of the demo's daemon: its boot waits for two processes until they have come.
const demoConfig = `[[required]]
name = "network"
states = ["DHCP"]

[[required]]
name = "policy"
states = ["POLICY_VALID"]
`

// play tells the story, act by act. Each act waits for what it tells of, so that the words are the same on a slow
// machine and on a fast one, and anything else that happens is an error.
func (s *stage) play(ctx context.Context, once bool) error {
	for _, act := range []func(context.Context) error{
		s.theDaemonStarts, s.theCastArrives, s.theBootIsHeld, s.theRecorderWorks, s.anUpdateIsWishedFor, s.theRecorderDies, s.theUpdateIsOver,
	} {
		if err := s.within(ctx, act); err != nil {
			return err
		}
	}
	if once {
		return nil
	}
	for {
		if _, err := s.story.next(ctx); err != nil {
			return err
		}
	}
}

// within gives an act its time.
func (s *stage) within(ctx context.Context, act func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("nothing more has happened for %s", span(patience)))
	defer cancel()
	return act(ctx)
}

func (s *stage) theDaemonStarts(ctx context.Context) error {
	config := filepath.Join(s.dir, "muster.toml")
	if err := os.WriteFile(config, []byte(demoConfig), 0o600); err != nil {
		return err
	}
	if _, err := s.start("daemon", "run", "--config", config, "--dir", s.dir, "--listen", "127.0.0.1:0"); err != nil {
		return err
	}
	file, err := s.ready(ctx)
	if err != nil {
		return err
	}
	s.story.say("demo", "starts the daemon: the bus is at %s", file.URL)
	if s.bus, err = client.Connect(ctx, file.URL, client.Options{Name: "demo"}); err != nil {
		return err
	}
	view, err := s.story.listen(ctx, s.bus)
	if err != nil {
		return err
	}
	if t := view.Transition; t == nil || len(t.Holders) == 0 {
		return s.await(ctx, wire.KindHeld, wire.DHCP, "network")
	}
	s.story.tell(*view.Transition)
	return nil
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

func (s *stage) theCastArrives(ctx context.Context) error {
	for _, name := range []string{"recorder", "policy", "network"} {
		p, err := s.start(name, "demo-part", name, "--server", s.bus.Conn().ConnectedUrl())
		if err != nil {
			return err
		}
		s.story.say("demo", "starts %s, process %d", name, p.cmd.Process.Pid)
		if err := s.hear(ctx, name); err != nil {
			return err
		}
		if name == "recorder" {
			if err := s.hear(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *stage) theBootIsHeld(ctx context.Context) error {
	if err := s.await(ctx, wire.KindHeld, wire.DHCP, "network"); err != nil {
		return err
	}
	if err := s.hear(ctx, "network"); err != nil {
		return err
	}
	if err := s.await(ctx, wire.KindHeld, wire.PolicyValid, "policy"); err != nil {
		return err
	}
	return s.await(ctx, wire.KindCommitted, wire.Operational, "")
}

func (s *stage) theRecorderWorks(ctx context.Context) error { return s.hear(ctx, "recorder") }

func (s *stage) anUpdateIsWishedFor(ctx context.Context) error {
	s.story.say("demo", "wishes for AWAITING_MODAL_UPDATING, to update the device")
	outcome, err := s.bus.Request(ctx, wire.StateWish{Target: wire.AwaitingModalUpdating, Reason: "new firmware"})
	if err != nil {
		return err
	}
	if outcome.Outcome != wire.OutcomeHeld {
		return fmt.Errorf("the wish for %s is %s, where it should be held", wire.AwaitingModalUpdating, outcome.Outcome)
	}
	return s.await(ctx, wire.KindHeld, wire.AwaitingModalUpdating, "recorder")
}

func (s *stage) theRecorderDies(ctx context.Context) error {
	s.process("recorder").kill()
	s.story.say("demo", "kills recorder, which can resume no more")
	return s.await(ctx, wire.KindCommitted, wire.AwaitingModalUpdating, "")
}

func (s *stage) theUpdateIsOver(ctx context.Context) error {
	s.story.say("demo", "has nothing to update, and wishes for OPERATIONAL")
	if _, err := s.bus.Request(ctx, wire.StateWish{Target: wire.Operational, Reason: "nothing to update"}); err != nil {
		return err
	}
	return s.await(ctx, wire.KindCommitted, wire.Operational, "")
}

// await tells what happens until the event that the story expects; a hold that it does not expect ends it.
func (s *stage) await(ctx context.Context, kind wire.Kind, to wire.State, holder string) error {
	for {
		t, err := s.story.next(ctx)
		if err != nil {
			return err
		}
		held := slices.ContainsFunc(t.Holders, func(h wire.Holder) bool { return h.Notifier == holder })
		switch {
		case t.Kind == kind && t.To == to && held == (holder != ""):
			return nil
		case t.Kind != wire.KindProposed && t.Kind != wire.KindResumed && t.Kind != wire.KindCommitted:
			return fmt.Errorf("%s is %s, where %s should be %s", t.To, t.Kind, to, kind)
		}
	}
}

// hear tells what a participant says next.
func (s *stage) hear(ctx context.Context, name string) error {
	line, err := s.process(name).line(ctx)
	if err == nil {
		s.story.say(name, "%s", line)
	}
	return err
}

// start adds a process to the stage. Its end, unless the demo wants it, is the end of the story.
func (s *stage) start(name string, args ...string) (*process, error) {
	p, err := startProcess(s.program, s.dir, name, args...)
	if err != nil {
		return nil, err
	}
	s.running = append(s.running, p)
	go func() {
		<-p.done
		if !p.dismissed.Load() {
			s.fail(fmt.Errorf("%s has ended by itself: %w", name, p.err))
		}
	}()
	return p, nil
}

// process finds one by its name.
func (s *stage) process(name string) *process {
	i := slices.IndexFunc(s.running, func(p *process) bool { return p.name == name })
	return s.running[i]
}

// clear ends every process, the daemon first, so that it goes through its last state.
func (s *stage) clear() {
	for _, p := range s.running {
		p.stop(grace)
	}
	if s.bus != nil {
		s.bus.Close()
	}
}

// explain adds to an error what the daemon's log ends with.
func (s *stage) explain(err error) error {
	err = fmt.Errorf("the story went otherwise: %w", err)
	log, unread := os.ReadFile(filepath.Join(s.dir, "daemon.log"))
	if text := strings.TrimSpace(string(log)); unread == nil && text != "" {
		lines := strings.Split(text, "\n")
		err = fmt.Errorf("%w; the daemon's log ends with\n%s", err, strings.Join(lines[max(0, len(lines)-5):], "\n"))
	}
	return err
}
