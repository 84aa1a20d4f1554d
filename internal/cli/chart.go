package cli

import (
	"cmp"
	"slices"

	"muster/wire"
)

// chart is where the time of a boot went: its steps, and who held them. All times in it count from the boot's start.
type chart struct {
	Boot        string          `json:"boot"`
	Started     wire.UnixMicros `json:"started_at_us"`
	Operational wire.Micros     `json:"operational_us,omitempty"` // when it was first; 0: never
	Length      wire.Micros     `json:"length_us"`                // of the boot, which ends with its first OPERATIONAL
	Running     bool            `json:"running"`                  // the daemon has not ended since
	Held        wire.Micros     `json:"held_us"`                  // of Length, by anybody
	Blame       []blamed        `json:"blame"`                    // who held the boot, the longest first
	Steps       []step          `json:"steps"`
	Later       []step          `json:"later"` // the moves after the boot that were held or not made, and the end
}

// blamed is how long a notifier held.
type blamed struct {
	Notifier string      `json:"notifier"`
	Held     wire.Micros `json:"held_us"`
}

// step is one transition: a row of the chart.
type step struct {
	From  wire.State  `json:"from"`
	To    wire.State  `json:"to"` // UNKNOWN: the daemon itself starts
	Begin wire.Micros `json:"begin_us"`
	End   wire.Micros `json:"end_us"`
	Kind  wire.Kind   `json:"kind"`          // how it ended: committed, aborted, expired; the last turn of one under way
	Why   string      `json:"why,omitempty"` // it was not made
	Held  []spell     `json:"held"`          // in the order of their beginning
}

// spell is a time in which a notifier held for one reason.
type spell struct {
	Notifier string      `json:"notifier"`
	Reason   string      `json:"reason"`
	Begin    wire.Micros `json:"begin_us"`
	End      wire.Micros `json:"end_us"`
	How      string      `json:"how,omitempty"` // it ended, if not by accepting: lost, overridden
	since    wire.MonoMicros
}

// The ways in which a spell can end otherwise than by accepting.
const (
	howLost       = "lost"
	howOverridden = "overridden"
)

// blame finds out where the time went in the boot whose timeline a history is. What is still under way lasts until now,
// which counts only for the boot that runs.
func blame(history wire.History, boot string, now wire.MonoMicros) chart {
	summary := chosen(history, boot)
	c := chart{
		Boot: summary.Boot, Started: summary.Started, Operational: summary.Operational, Blame: []blamed{}, Later: []step{},
		Running: len(history.Boots) > 0 && history.Boots[0].Boot == summary.Boot,
	}
	if events := history.Events; len(events) > 0 && !c.Running {
		now = events[len(events)-1].Mono
	}
	t := tracer{start: summary.StartedMono}
	for _, event := range history.Events {
		t.take(event)
	}
	t.close(now)
	c.divide(t.steps, t.at(now))
	c.count()
	return c
}

// divide tells the boot from what came after it, and sees to the time before the first step.
func (c *chart) divide(steps []step, now wire.Micros) {
	c.Length = now
	boot := len(steps)
	for i, s := range steps {
		if s.To == wire.ContextDestroying { // it ended before it was there
			boot, c.Length = i, s.Begin
			break
		}
		if s.To == wire.Operational && s.Kind == wire.KindCommitted {
			boot, c.Length = i+1, s.End
			break
		}
	}
	if boot > 0 && steps[0].From == wire.Unknown && steps[0].Begin > 0 {
		c.Steps = append(c.Steps, step{End: steps[0].Begin, Kind: wire.KindCommitted, Held: []spell{}})
	}
	c.Steps = append(c.Steps, steps[:boot]...)
	for _, s := range steps[boot:] {
		if len(s.Held) > 0 || s.Kind != wire.KindCommitted || s.To == wire.ContextDestroying {
			c.Later = append(c.Later, s)
		}
	}
}

// count adds up who held the boot, and how long anybody did.
func (c *chart) count() {
	byName := map[string][]spell{}
	var all []spell
	for _, s := range c.Steps {
		for _, h := range s.Held {
			byName[h.Notifier] = append(byName[h.Notifier], h)
			all = append(all, h)
		}
	}
	c.Held = covered(all)
	for name, spells := range byName {
		c.Blame = append(c.Blame, blamed{name, covered(spells)})
	}
	slices.SortFunc(c.Blame, func(a, b blamed) int {
		return cmp.Or(cmp.Compare(b.Held, a.Held), cmp.Compare(a.Notifier, b.Notifier))
	})
}

// covered is how much time spells take, where several overlap once.
func covered(spells []spell) (sum wire.Micros) {
	slices.SortFunc(spells, func(a, b spell) int { return cmp.Compare(a.Begin, b.Begin) })
	end := wire.Micros(0)
	for _, s := range spells {
		sum += max(0, s.End-max(s.Begin, end))
		end = max(end, s.End)
	}
	return sum
}

// tracer makes steps of the turns that transitions took.
type tracer struct {
	start wire.MonoMicros
	steps []step
	id    string          // of the last step
	open  map[string]int  // who holds it: the place of the spell
	lost  map[string]bool // who went away meanwhile
}

// at gives a point of the clock as time since the start.
func (t *tracer) at(mono wire.MonoMicros) wire.Micros { return max(0, wire.Micros(mono-t.start)) }

// take takes the next turn of a transition.
func (t *tracer) take(event wire.Transition) {
	if event.ID != t.id || len(t.steps) == 0 {
		t.close(event.Mono)
		t.id, t.open, t.lost = event.ID, map[string]int{}, map[string]bool{}
		t.steps = append(t.steps, step{From: event.From, To: event.To, Begin: t.at(event.Started), End: t.at(event.Mono), Held: []spell{}})
	}
	s := &t.steps[len(t.steps)-1]
	if s.over() {
		return // paused: what it was ended by says more
	}
	s.Kind, s.End = event.Kind, t.at(event.Mono)
	for _, h := range event.Holders {
		t.hold(s, h, event.Mono)
	}
	for name, i := range t.open {
		if s.over() || !slices.ContainsFunc(event.Holders, func(h wire.Holder) bool { return h.Notifier == name }) {
			s.Held[i].End = s.End
			s.Held[i].How = t.how(event, name)
			delete(t.open, name)
		}
	}
	for _, name := range event.Lost {
		t.lost[name] = true
	}
	if s.Kind == wire.KindAborted || s.Kind == wire.KindExpired {
		s.Why = event.Reason
	}
}

// hold takes a holder as an event shows it. A hold that goes on after a round is one spell with what it was before; one
// with a new reason is a spell of its own.
func (t *tracer) hold(s *step, h wire.Holder, now wire.MonoMicros) {
	last := -1
	for i := range s.Held {
		if s.Held[i].Notifier == h.Notifier && s.Held[i].since == h.Since {
			last = i
		}
	}
	begin := t.at(h.Since)
	if last >= 0 {
		if s.Held[last].Reason == h.Reason {
			s.Held[last].How = ""
			t.open[h.Notifier] = last
			return
		}
		begin = t.at(now)
		s.Held[last].End = begin
		s.Held[last].How = ""
	}
	s.Held = append(s.Held, spell{Notifier: h.Notifier, Reason: h.Reason, Begin: begin, since: h.Since})
	t.open[h.Notifier] = len(s.Held) - 1
}

// how says how a hold ended with an event.
func (t *tracer) how(event wire.Transition, name string) string {
	switch {
	case slices.ContainsFunc(event.Overridden, func(o wire.Overridden) bool { return o.Notifier == name }):
		return howOverridden
	case slices.Contains(event.Lost, name) && !t.lost[name]:
		return howLost
	}
	return ""
}

// close ends the last step, if nothing did so far.
func (t *tracer) close(now wire.MonoMicros) {
	if len(t.steps) == 0 {
		return
	}
	s := &t.steps[len(t.steps)-1]
	if s.over() {
		return
	}
	s.End = max(s.End, t.at(now))
	for _, i := range t.open {
		s.Held[i].End = s.End
	}
}

// over reports whether the step has ended.
func (s *step) over() bool {
	return s.Kind == wire.KindCommitted || s.Kind == wire.KindAborted || s.Kind == wire.KindExpired
}
