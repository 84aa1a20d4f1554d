package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"muster/client"
	"muster/wire"
)

// The processes of the story; each participant is named as its notifier.
const (
	daemonName   = "daemon"
	uplinkName   = "uplink"
	policyName   = "policy"
	recorderName = "recorder"
)

// demoConfig makes the boot wait for two of the participants until they have come.
const demoConfig = `[[required]]
name = "uplink"
states = ["DHCP"]

[[required]]
name = "policy"
states = ["POLICY_VALID"]
`

// demoObserves has the boot wait for the network and the clock of this machine too, and not for long.
const demoObserves = `
[network]
mode = "observe"
patience = "1s"

[clock]
mode = "observe"
patience = "1s"
`

const demoTitle = `A device boots, and three processes have a say in it:

  uplink    gets the device an address, and holds DHCP until it has one
  policy    fetches the policy, and holds POLICY_VALID until it is there
  recorder  records what the camera sees, and wants no update meanwhile

`

// play tells the story act by act, and then whatever else happens until ctx is done.
//
// An act waits for what it tells of, so that the words are the same on a slow machine and on a fast one. What does not
// happen, and what happens besides, is an error.
func (s *stage) play(ctx context.Context, once bool) error {
	s.story.write(demoTitle)
	for _, act := range []func(context.Context) error{
		s.theDaemonStarts, s.theBootWaits, s.theParticipantsStart, s.theBootIsHeld, s.theRecorderBegins,
		s.anUpdateIsHeld, s.theRecorderIsKilled, s.allIsAsBefore, s.theTimeIsAccountedFor,
	} {
		if err := s.act(ctx, act); err != nil {
			return err
		}
	}
	if once {
		s.story.write("\n")
		return nil
	}
	s.open.Store(true)
	s.story.write(s.invitation())
	return s.follow(ctx)
}

// act gives an act its time.
func (s *stage) act(ctx context.Context, play func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("nothing more happens for %s", span(patience)))
	defer cancel()
	return play(ctx)
}

func (s *stage) theDaemonStarts(ctx context.Context) error {
	config := filepath.Join(s.dir, "muster.toml")
	text := demoConfig
	if s.observe {
		text += demoObserves
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	p, err := s.start(daemonName, "run", "--config", config, "--dir", s.dir, "--listen", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.story.say("demo", "starts the daemon, process %d", p.cmd.Process.Pid)
	file, err := s.ready(ctx)
	if err != nil {
		return err
	}
	s.story.say("muster", "is at %s, and boots", file.URL)
	if s.bus, err = client.Connect(ctx, file.URL, client.Options{Name: "muster demo"}); err != nil {
		return err
	}
	if s.observe {
		if err := s.story.listenToNetwork(s.bus); err != nil {
			return err
		}
		s.tellOfMachine(ctx)
	}
	return s.story.listen(s.bus)
}

// theBootWaits tells of the first hold. The daemon is that far before anybody can listen, or it soon will be.
func (s *stage) theBootWaits(ctx context.Context) error {
	for {
		view, err := s.bus.State(ctx)
		if err != nil {
			return err
		}
		if t := view.Transition; t != nil && t.To == wire.DHCP && heldBy(t, uplinkName) {
			s.story.say("muster", "enters the first states up to %s, as nobody is in the way", view.State)
			for _, h := range t.Holders {
				who := h.Notifier
				if who == uplinkName {
					who += ", which the configuration requires"
				}
				s.story.say("muster", "%s is held by %s: %s", t.To, who, h.Reason)
			}
			s.story.passed = view.Seq
			return nil
		}
		if _, err := s.story.next(ctx); err != nil {
			return err
		}
	}
}

func (s *stage) theParticipantsStart(ctx context.Context) error {
	s.story.write("\n")
	for _, name := range []string{recorderName, policyName, uplinkName} {
		p, err := s.start(name, "demo-part", name, "--server", s.bus.Conn().ConnectedUrl())
		if err != nil {
			return err
		}
		s.story.say("demo", "starts %s, process %d", name, p.cmd.Process.Pid)
		if err := s.hear(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) theBootIsHeld(ctx context.Context) error {
	s.story.write("\n")
	if err := s.await(ctx, wire.KindHeld, wire.DHCP, uplinkName); err != nil {
		return err
	}
	if err := s.hear(ctx, uplinkName); err != nil {
		return err
	}
	if err := s.await(ctx, wire.KindHeld, wire.PolicyValid, policyName); err != nil {
		return err
	}
	return s.await(ctx, wire.KindCommitted, wire.Operational, "")
}

func (s *stage) theRecorderBegins(ctx context.Context) error { return s.hear(ctx, recorderName) }

func (s *stage) anUpdateIsHeld(ctx context.Context) error {
	s.story.write("\n")
	s.story.say("demo", "wishes for AWAITING_MODAL_UPDATING")
	wish := wire.StateWish{Target: wire.AwaitingModalUpdating, Reason: "new firmware"}
	if _, err := s.bus.Request(ctx, wish); err != nil {
		return err
	}
	return s.await(ctx, wire.KindHeld, wish.Target, recorderName)
}

func (s *stage) theRecorderIsKilled(ctx context.Context) error {
	s.story.say("demo", "kills recorder, which can resume no more")
	s.process(recorderName).kill()
	return s.await(ctx, wire.KindCommitted, wire.AwaitingModalUpdating, "")
}

func (s *stage) allIsAsBefore(ctx context.Context) error {
	s.story.say("demo", "wishes for OPERATIONAL again")
	if _, err := s.bus.Request(ctx, wire.StateWish{Target: wire.Operational, Reason: "no firmware was found"}); err != nil {
		return err
	}
	return s.await(ctx, wire.KindCommitted, wire.Operational, "")
}

func (s *stage) theTimeIsAccountedFor(ctx context.Context) error {
	chart, err := charted(ctx, s.bus, wire.HistoryQuery{})
	if err != nil {
		return err
	}
	var text strings.Builder
	chart.writeText(&text)
	s.story.write("\nWhere the time went, as \"muster blame\" tells it:\n\n" + fold(text.String(), storyWidth))
	return nil
}

// invitation says what else there is to try while the demo stays up.
func (s *stage) invitation() string {
	return strings.NewReplacer("{muster}", nameOf(s.program), "{dir}", s.dir, "{url}", s.bus.Conn().ConnectedUrl()).Replace(`
The device stays up until Ctrl-C. In another terminal:

  export MUSTER_DIR={dir}
  {muster} status
  {muster} hold --state AWAITING_MODAL_UPDATING --why 'not now' -- sleep 20 &
  {muster} state request AWAITING_MODAL_UPDATING --reason 'new firmware'
  {muster} holders
  {muster} monitor

With the stock nats command, which knows nothing of muster:

  export NATS_URL={url}
  nats req sys.api.state.get '' -H Content-Type:application/json
  nats kv put SYS_BLOBS device-serial.0 SN-0815
  nats micro info muster

`)
}

// nameOf gives a program's name as a person in this folder types it.
func nameOf(program string) string {
	if found, err := exec.LookPath(filepath.Base(program)); err == nil && found == program {
		return filepath.Base(program)
	}
	here, err := os.Getwd()
	if err != nil {
		return program
	}
	within, err := filepath.Rel(here, program)
	switch {
	case err != nil || strings.HasPrefix(within, ".."):
		return program
	case !strings.Contains(within, "/"):
		return "./" + within
	}
	return within
}
