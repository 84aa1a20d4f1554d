package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"muster/client"
	"muster/internal/version"
	"muster/wire"
)

// From when on something is worth a look.
const (
	slowAnswer   = time.Second // of the daemon, which takes less than a millisecond
	longHold     = time.Minute // of a move
	endlessHold  = 10 * time.Minute
	clockApart   = 2 * time.Second // the daemon's clock from this machine's
	manyWaiting  = 1000            // calls on a loop
	longWaiting  = 10 * time.Second
	manyCrashes  = 3
	nearlyFull   = 80 // percent of a bounded store
	allButFull   = 95
	firstRelease = 2025 // the year before which no clock can be right
)

func checkVersion(v wire.StateView) []finding {
	switch own := version.String(); {
	case v.Protocol != wire.Protocol:
		return []finding{found(fail, "version", "the daemon speaks protocol %d, this command %d", v.Protocol, wire.Protocol).
			advise("install the command and the daemon from the same release")}
	case v.Version != own:
		return []finding{found(warn, "version", "the daemon is muster %s, this command %s", v.Version, own).
			advise("a daemon that was updated has to be started again")}
	default:
		return []finding{found(isOK, "version", "muster %s, protocol %d, as this command", own, wire.Protocol)}
	}
}

func checkClock(v wire.StateView, now time.Time) finding {
	at := v.At.Time()
	apart := max(at.Sub(now), now.Sub(at))
	switch {
	case at.Year() < firstRelease:
		return found(fail, "clock", "the clock of the device is at %s, which cannot be", at.Format(time.DateTime)).
			advise(`"muster op set-clock" sets it, or whatever keeps the time here`)
	case apart > clockApart:
		return found(warn, "clock", "the daemon's clock is %s away from this machine's", span(apart)).
			advise(`that of a simulated platform may be; "muster op list" tells which it is`)
	}
	return found(isOK, "clock", "%s UTC", at.Format(time.DateTime))
}

func checkState(v wire.StateView) []finding {
	if v.Paused != nil {
		return []finding{found(warn, "state", "%s, paused for %s on the way to %s: %s", v.State, span(v.Paused.Until.Sub(v.Mono)), v.Goal, v.Paused.Reason).
			advise(`"muster state request %s" goes on at once`, v.Goal)}
	}
	t := v.Transition
	if t == nil {
		return []finding{found(isOK, "state", "%s for %s", v.State, span(v.Mono.Sub(v.Since)))}
	}
	held := v.Mono.Sub(t.Started)
	judged := isOK
	switch {
	case held >= endlessHold:
		judged = fail
	case held >= longHold || t.Flapping:
		judged = warn
	}
	state := found(judged, "state", "%s, on the way to %s since %s", v.State, t.To, span(held))
	if judged != isOK {
		state = state.advise(`"muster state history" tells how it came to this; "muster state abort" calls it off`)
	}
	findings := []finding{state}
	for _, h := range t.Holders {
		f := found(judged, "holder", "%s", holderLine(h, v.Mono))
		if judged != isOK {
			f = f.advise(`mend what it waits for, or "muster resume %s" if that is done`, h.Notifier)
		}
		findings = append(findings, f)
	}
	if t.Flapping {
		findings = append(findings, found(warn, "state", "everybody was asked %d times: somebody resumes and defers again", t.Round).
			advise(`"muster state history" shows who`))
	}
	return findings
}

func checkNotifiers(l wire.Notifiers) []finding {
	var findings []finding
	there := 0
	for _, n := range l.Notifiers {
		unanswered := n.Asked - min(n.Asked, n.Accepted+n.Deferred)
		switch {
		case !n.Alive && n.Required:
			findings = append(findings, found(fail, "notifier", "%s is required and not connected", n.Name).
				advise(`start it; "muster call sys.api.notifier.unregister.%s" forgets one that registered itself as required`, n.Name))
			continue
		case !n.Alive:
			findings = append(findings, found(warn, "notifier", "%s is not connected", n.Name))
			continue
		case unanswered > 1 && unanswered > n.Asked/4: // one may be open just now, and a move that was called off wants no answers
			findings = append(findings, found(warn, "notifier", "%s left %d of %d questions unanswered", n.Name, unanswered, n.Asked).
				advise("each made everybody wait for %s", span(n.Timeout.Duration())))
		case n.Slowest >= n.Timeout/2:
			findings = append(findings, found(warn, "notifier", "%s took %s for an answer, of the %s that it has", n.Name, span(n.Slowest.Duration()), span(n.Timeout.Duration())).
				advise("defer at once and resume later, so that nobody waits"))
		}
		there++
	}
	return append(findings, found(isOK, "notifiers", "%d connected", there))
}

func checkLoops(l wire.Loops, v wire.StateView) []finding {
	var findings []finding
	for _, loop := range l.Loops {
		name := fmt.Sprintf("loop %d", loop.N)
		sound := len(findings)
		if loop.Failed > 0 {
			findings = append(findings, found(warn, name, "%d of %d calls failed", loop.Failed, loop.Done).
				advise(`"muster monitor sys.loop-error" tells of the next one`))
		}
		if loop.Depth >= manyWaiting {
			findings = append(findings, found(warn, name, "%d calls wait", loop.Depth).advise(`"muster loop list" shows for what`))
		}
		for _, b := range loop.Waiting {
			if waited := v.Mono.Sub(b.Since); loop.Running != nil && v.State.Has(b.State) && waited >= longWaiting {
				findings = append(findings, found(warn, name, "%s has waited for %s behind %s", b.Call, span(waited), loop.Running.Call).
					advise("a call keeps its loop to itself; long work belongs elsewhere"))
				break
			}
		}
		if len(findings) == sound {
			findings = append(findings, found(isOK, name, "%d done, %d waiting", loop.Done, loop.Depth))
		}
	}
	return findings
}

func checkBoots(h wire.History, v wire.StateView) []finding {
	crashed, cut, earlier := 0, 0, 0
	var boot wire.BootSummary
	for _, b := range h.Boots {
		switch {
		case b.Boot == v.Boot:
			boot = b
			continue
		case !b.Clean && b.DeviceBoot == v.DeviceBoot:
			crashed++
		case !b.Clean:
			cut++
		}
		earlier++
	}
	findings := []finding{}
	if crashed > 0 {
		judged := warn
		if crashed >= manyCrashes {
			judged = fail
		}
		findings = append(findings, found(judged, "boots", "%d of the last %d runs crashed or were killed since the device came up", crashed, earlier).
			advise("the log of the daemon has the reason, or the kernel's (out of memory?)"))
	}
	if cut > 0 {
		findings = append(findings, found(warn, "boots", "%d of the last %d runs ended with the power, not through CONTEXT_DESTROYING", cut, earlier))
	}
	if boot.Operational > 0 {
		findings = append(findings, found(isOK, "boot", "OPERATIONAL %s after the start", span(boot.Operational.Duration())))
	}
	return findings
}

// stream is a part of the store, as its server sees it.
type stream struct {
	name        string
	bytes, most uint64
	rolls       bool // the oldest goes when it is full
}

// checkHealth tells whether the events of this run are in the store.
func checkHealth(h wire.StoreHealth) []finding {
	var findings []finding
	if !h.OK {
		findings = append(findings, found(fail, "store", "events cannot be stored").advise("the log of the daemon has the reason; is the disk full?"))
	}
	if h.Missed > 0 {
		findings = append(findings, found(warn, "store", "%d events of this run are not in the store", h.Missed).
			advise("whoever listened has had them; they are lost for whoever comes later"))
	}
	return findings
}

// checkStore tells how full the store is.
func checkStore(streams []stream) []finding {
	var findings []finding
	var bytes, most uint64
	for _, s := range streams {
		bytes += s.bytes
		most += s.most
		full := percent(s.bytes, s.most)
		if s.rolls || full < nearlyFull {
			continue
		}
		judged := warn
		if full >= allButFull {
			judged = fail
		}
		findings = append(findings, found(judged, "store", "%s is %d %% full: %s of %s", s.name, full, size(int64(s.bytes)), size(int64(s.most))).
			advise("writes are refused once it is full; empty what is not needed"))
	}
	if len(findings) == 0 {
		findings = append(findings, found(isOK, "store", "%s of %s", size(int64(bytes)), size(int64(most))))
	}
	return findings
}

// percent tells how full something is; what is not bounded is empty.
func percent(part, whole uint64) uint64 {
	if whole == 0 {
		return 0
	}
	return part * 100 / whole
}

// inside asks the daemon for everything that it tells of itself.
func (p *patient) inside(ctx context.Context) []finding {
	var findings []finding
	ask := func(about string, err error, then func() []finding) {
		switch {
		case errors.Is(err, &wire.Error{Code: wire.CodeForbidden}):
			findings = append(findings, found(isOK, about, "not for this user to see"))
		case err != nil:
			findings = append(findings, found(fail, about, "%s", message(err)).advise("the log of the daemon may have the reason"))
		default:
			findings = append(findings, then()...)
		}
	}
	notifiers, err := client.Call(ctx, p.bus, wire.NotifierList, wire.Empty{})
	ask("notifiers", err, func() []finding { return checkNotifiers(notifiers) })
	loops, err := client.Call(ctx, p.bus, wire.LoopList, wire.Empty{})
	ask("loops", err, func() []finding { return checkLoops(loops, p.view) })
	history, err := client.Call(ctx, p.bus, wire.StateHistory, wire.HistoryQuery{Limit: 1})
	ask("boots", err, func() []finding { return checkBoots(history, p.view) })
	findings = append(findings, checkHealth(p.view.Store)...)
	streams, err := p.streams(ctx)
	ask("store", err, func() []finding { return checkStore(streams) })
	return findings
}

// streams lists the parts of the store.
func (p *patient) streams(ctx context.Context) (streams []stream, err error) {
	err = p.app.strictly(ctx, func(ctx context.Context, bus *client.Client) error {
		js, err := jetstream.New(bus.Conn())
		if err != nil {
			return err
		}
		lister := js.ListStreams(ctx)
		for s := range lister.Info() {
			streams = append(streams, stream{
				name: s.Config.Name, bytes: s.State.Bytes, most: uint64(max(0, s.Config.MaxBytes)), rolls: s.Config.Discard == jetstream.DiscardOld,
			})
		}
		return lister.Err()
	})
	return streams, err
}
