package system

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/wire"
)

// script plays commands against a machine and its rig, and notes what can be seen from outside: events, questions,
// answers.
type script struct {
	*rig
	stop     func() // ends the machine that runs
	boots    int
	verbose  bool
	sessions map[string]string // by notifier, the newest
	wishes   int
	out      strings.Builder

	mu    sync.Mutex
	lines []scriptLine // of the command that is played
}

// scriptLine is one line of what was printed.
type scriptLine struct {
	at   time.Time
	wish int // the wish that it answers; 0 for what the machine itself shows
	text string
	step wire.State // of the three lines of a step
	part int        // which of them, from 1
	why  string     // its reason
}

func newScript(t testing.TB) *script {
	s := &script{rig: bareRig(t), sessions: map[string]string{}, stop: func() {}}
	s.tap = s.event
	return s
}

// scripted lists what a script can do.
var scripted map[string]func(*script, command)

func init() { //nolint:gochecknoinits // breaks the circle between the table and what it lists
	scripted = map[string]func(*script, command){
		// boot [verbose] [required=NAME:STATE,…;…] [hold.STATE=30s/abort] [stay.STATE=1m] [pause=1m] [rejoin=2s]
		// [override=IDENTITY] [device=ID] [end=5s]: a machine begins to boot.
		"boot": (*script).boot,
		// reboot with the same flags: the daemon ends without a word, and the next one boots.
		"crash": (*script).crash,
		// stop: the machine's life ends.
		"stop": func(s *script, _ command) { s.end() },
		// pass 30s.
		"pass": func(s *script, c command) { s.pass(s.duration(c.word())) },
		// state prints what state.get answers.
		"state": (*script).state,
		// notifiers prints what notifier.list answers.
		"notifiers": (*script).notifiers,
		// remembered prints what is kept over a restart.
		"remembered": (*script).remembered,

		// join NAME [order=N] [states=STATE,…] [timeout=2s] [required] [about=TEXT] [session=last|wrong] [as=IDENTITY]
		// [BEHAVIOUR]: a participant connects, subscribes and registers. Behaviours are those of play.
		"join": (*script).joins,
		// connect NAME [as=IDENTITY]: it connects and subscribes only.
		"connect": func(s *script, c command) { s.connectAs(c, c.word()) },
		// register NAME with the flags of join, on the newest connection.
		"register": func(s *script, c command) { s.register(c, s.players[c.word()].conn) },
		// play NAME accept | silent | defer REASON [retry=2s] [times=N] [to=STATE] | garbage: how it answers from now on.
		"play": (*script).play,
		// answer NAME accept | defer REASON [retry=2s] | garbage [question=N]: the open question, or its Nth.
		"answer": (*script).answers,
		// die NAME: its connection closes. close CONN does the same for a wisher's.
		"die":   func(s *script, c command) { s.die(c.word()) },
		"close": func(s *script, c command) { s.hangUp(uint64(s.number(c.word()))); synctest.Wait() },
		// leave NAME [as=IDENTITY]: it unregisters, and unsubscribes.
		"leave": (*script).leaves,
		// resume NAME [id=N|TEXT] [as=IDENTITY]: N is the number of a transition, without its boot.
		"resume": (*script).resume,

		// wish STATE [wait=5s] [limit=5s] [on_limit=proceed] [fall_back] [own] [force] [dry_run] [reason=TEXT]
		// [as=IDENTITY] [conn=N].
		"wish": (*script).wish,
		// reboot [mode=halt] [limit=5s] [on_limit=proceed] [force] [dry_run] [reason=TEXT] [as=IDENTITY].
		"reboot": (*script).reboot,
		// abort REASON [id=N|TEXT] [as=IDENTITY].
		"abort": (*script).abort,
		// withdraw REASON id=N.
		"withdraw": (*script).withdraw,
		// afterwards prints what follows the end.
		"afterwards": (*script).afterwards,
	}
}

// run plays one line.
func (s *script) run(line string) {
	s.t.Helper()
	c := parseCommand(line)
	do := scripted[c.words[0]]
	if do == nil {
		s.t.Fatalf("%q is not a command; the nearest is %s", line, wire.Nearest(c.words[0], slices.Sorted(maps.Keys(scripted))))
	}
	began := time.Now()
	do(s, c)
	synctest.Wait()
	s.propose()
	s.write(began)
}

// propose has a proposal told that could wait another 2 ms for what it leads to.
func (s *script) propose() {
	_ = s.change(func() error {
		if s.move != nil {
			s.sendProposal(s.move)
		}
		return nil
	})
}

// printed gives what the commands since the last call have printed.
func (s *script) printed() string {
	defer s.out.Reset()
	return s.out.String()
}

// end stops the machine.
func (s *script) end() {
	s.stop()
	s.stop = func() {}
	synctest.Wait()
}

// finish ends whatever still runs, and holds the whole against what is promised in every case.
func (s *script) finish() {
	s.end()
	s.audit()
}

// print notes a line of the machine's own.
func (s *script) print(format string, args ...any) {
	s.note(scriptLine{text: fmt.Sprintf(format, args...)})
}

func (s *script) note(l scriptLine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.at = time.Now()
	s.lines = append(s.lines, l)
}

// write prints what a command led to. At one moment the answers come behind everything else.
func (s *script) write(began time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.lines, func(a, b scriptLine) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.wish, b.wish))
	})
	for lines := s.lines; len(lines) > 0; {
		if after := lines[0].at.Sub(began); after > 0 {
			fmt.Fprintf(&s.out, "+%v ", after)
		}
		n := climbOf(lines)
		if n < 6 {
			fmt.Fprintln(&s.out, lines[0].text)
			lines = lines[1:]
			continue
		}
		fmt.Fprintf(&s.out, "climbs from %s to %s: %s\n", lines[0].step-1, lines[n-1].step, lines[0].why)
		lines = lines[n:]
	}
	s.lines = nil
}

// climbOf counts the lines at the front that are whole steps of the same reason, made at the same moment, in which
// nothing else is to be seen.
func climbOf(lines []scriptLine) int {
	n := 0
	for i := 0; i+2 < len(lines); i += 3 {
		for j, l := range lines[i : i+3] {
			if l.part != j+1 || l.step != lines[i].step || !l.at.Equal(lines[0].at) || l.why != lines[0].why {
				return n
			}
		}
		n += 3
	}
	return n
}

// event notes a kept event.
func (s *script) event(subject string, event wire.Stamped) {
	switch e := event.(type) {
	case *wire.Transition:
		l := scriptLine{text: s.transition(e), step: e.To, why: e.Reason}
		if e.To == e.From+1 && e.To.Boot() {
			l.part = map[wire.Kind]int{wire.KindProposed: 1, wire.KindCommitted: 2}[e.Kind]
		}
		s.note(l)
	case *wire.StateEvent:
		switch {
		case s.verbose:
			s.print("%s: %s (%d), from %s, goal %s, %s, %s, seq %d", subject, e.State, e.Number, e.From, e.Goal, number(e.ID), e.Reason, e.Seq)
		case subject == wire.StateSubject:
			s.note(scriptLine{text: "now " + e.State.String(), step: e.State, part: 3, why: e.Reason})
		}
	}
}

// transition shows an event in a line.
func (s *script) transition(e *wire.Transition) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", number(e.ID), e.Kind)
	if e.Kind == wire.KindProposed {
		fmt.Fprintf(&b, " %s > %s", e.From, e.To)
	} else if e.Round > 0 && e.Kind != wire.KindPaused {
		fmt.Fprintf(&b, ", round %d", e.Round)
	}
	if e.Flapping {
		b.WriteString(", flapping")
	}
	if e.Kind == wire.KindProposed && e.Limit > 0 {
		fmt.Fprintf(&b, ", limit %v", e.Limit.Duration())
	}
	if e.Kind == wire.KindProposed || e.Kind == wire.KindAborted || e.Kind == wire.KindExpired || e.Kind == wire.KindPaused {
		b.WriteString(": " + e.Reason)
	}
	for i, h := range e.Holders {
		b.WriteString([]string{" by ", ", "}[min(i, 1)] + s.holder(h, e.Mono))
	}
	for i, o := range e.Overridden {
		b.WriteString([]string{": ", ", "}[min(i, 1)] + o.Notifier + " " + string(o.How))
	}
	if len(e.Lost) > 0 {
		b.WriteString(", lost " + strings.Join(e.Lost, ", "))
	}
	if s.verbose {
		fmt.Fprintf(&b, ", goal %s, seq %d", e.Goal, e.Seq)
	}
	return b.String()
}

// holder shows one of those who hold, and since when.
func (s *script) holder(h wire.Holder, now wire.MonoMicros) string {
	text := fmt.Sprintf("%s (%s)", h.Notifier, h.Reason)
	if age := now.Sub(h.Since); age > 0 {
		text += fmt.Sprintf(" for %v", age)
	}
	if h.Retry > 0 {
		text += fmt.Sprintf(" retry %v", h.Retry.Duration())
	}
	return text
}

// number shows a transition's id without its boot.
func number(id string) string {
	if _, n, ok := strings.Cut(id, "."); ok {
		return "#" + n
	}
	return "#-"
}

// id reads what number shows; anything else is taken as it is.
func (s *script) id(text string) string {
	if _, err := strconv.Atoi(text); err == nil {
		return s.opts.Boot + "." + text
	}
	return text
}

func (s *script) caller(c command) wire.Caller {
	caller := wire.Caller{Identity: cmp.Or(c.flags["as"], admin.Identity), Conn: admin.Conn}
	if conn := c.flags["conn"]; conn != "" {
		caller.Conn = uint64(s.number(conn))
	}
	return caller
}

// The readers of values fail the test where the script has a slip.

func (s *script) duration(text string) time.Duration {
	d, err := time.ParseDuration(cmp.Or(text, "0s"))
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *script) number(text string) int {
	n, err := strconv.Atoi(cmp.Or(text, "0"))
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) stateList(text string) []wire.State {
	var states []wire.State
	for name := range strings.SplitSeq(text, ",") {
		if name == "" {
			continue
		}
		state, err := wire.ParseState(name)
		if err != nil {
			s.t.Fatal(err)
		}
		states = append(states, state)
	}
	return states
}

func (s *script) oneState(text string) wire.State { return s.stateList(text)[0] }

// failed shows an error.
func failed(err error) string {
	e := wire.AsError(err)
	text := fmt.Sprintf("%d %s", e.Code, e.Message)
	if t, ok := e.Detail["transition"].(*wire.Transition); ok {
		text += fmt.Sprintf(" [transition %s]", number(t.ID))
	}
	if right, ok := e.Detail["right"]; ok {
		text += fmt.Sprintf(" [right %s]", right)
	}
	return text
}

func (s *script) boot(c command) {
	opts := s.options()
	s.verbose = c.has("verbose")
	for key, value := range c.flags {
		kind, name, _ := strings.Cut(key, ".")
		switch kind {
		case "required":
			for text := range strings.SplitSeq(value, ";") {
				name, states, _ := strings.Cut(text, ":")
				opts.Required = append(opts.Required, Requirement{Name: name, States: s.stateList(states)})
			}
		case "hold":
			after, policy, _ := strings.Cut(value, "/")
			opts.Limits.Hold[s.oneState(name)] = HoldLimit{After: s.duration(after), OnLimit: wire.OnLimit(policy)}
		case "stay":
			opts.Limits.Stay[s.oneState(name)] = s.duration(value)
		case "pause":
			opts.Limits.Pause = s.duration(value)
		case "rejoin":
			opts.Limits.Rejoin = s.duration(value)
		case "override":
			opts.May = func(c wire.Caller, right string) bool { return right == "state:override" && c.Identity == value }
		case "device":
			opts.DeviceBoot = value
		case "end":
			opts.Destroying = func(ctx context.Context) {
				s.print("the calls booked for the end run")
				select {
				case <-ctx.Done():
					s.print("their time is over")
				case <-time.After(s.duration(value)):
				}
			}
		default:
			s.t.Fatalf("boot takes no %s", key)
		}
	}
	if s.verbose {
		opts.Entered = func(state wire.State) { s.print("the calls waiting for %s are let go", state) }
	}
	opts.Boot = fmt.Sprintf("%d-x", s.boots+1)
	s.boots++
	s.Machine = NewMachine(opts)
	s.stop = s.rig.run()
}

func (s *script) crash(c command) {
	s.end()
	for _, p := range s.byConn {
		s.dead[p.conn] = true
	}
	s.boot(c)
}

func (s *script) state(command) {
	v := s.now()
	s.print("%s (%d), goal %s, since %v, seq %d", v.State, v.Number, v.Goal, v.Since.Sub(0), v.Seq)
	if v.Paused != nil {
		s.print("paused for %v: %s", v.Paused.Until.Sub(v.Mono), v.Paused.Reason)
	}
	if v.Transition != nil {
		s.print("%s", s.transition(v.Transition))
	}
}

func (s *script) notifiers(command) {
	list, err := s.List(s.ctx, admin, wire.Empty{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, n := range list.Notifiers {
		text := fmt.Sprintf("%s of %q, order %d, timeout %v", n.Name, n.Identity, n.Order, n.Timeout.Duration())
		if len(n.States) > 0 {
			text += fmt.Sprintf(", states %v", n.States)
		}
		if n.Required {
			text += ", required"
		}
		if n.About != "" {
			text += ", about " + n.About
		}
		if !n.Alive {
			text += ", away"
		}
		s.print("%s; asked %d, accepted %d, deferred %d, slowest %v", text, n.Asked, n.Accepted, n.Deferred, n.Slowest.Duration())
	}
}

func (s *script) remembered(command) {
	known := s.kept()
	s.print("names %v", known.Names)
	for _, r := range known.Required {
		s.print("required %s of %q, states %v", r.Name, r.Identity, r.States)
	}
}

func (s *script) connectAs(c command, name string) wire.Caller {
	return s.connect(cmp.Or(c.flags["as"], "admin"), name, &player{prompt: true, do: s.behaviour(c, c.rest())})
}

func (s *script) play(c command) {
	do := s.behaviour(c, c.rest())
	s.rig.mu.Lock()
	defer s.rig.mu.Unlock()
	s.players[c.word()].do = do
}

func (s *script) joins(c command) {
	old := s.players[c.word()]
	caller := s.connectAs(c, c.word())
	if !s.register(c, caller.Conn) {
		s.hangUp(caller.Conn)
		s.players[c.word()] = old
	}
}

// register reports whether it was taken.
func (s *script) register(c command, conn uint64) bool {
	name := c.word()
	r := wire.Registration{
		Name: name, Order: s.number(c.flags["order"]), States: s.stateList(c.flags["states"]), Required: c.has("required"),
		About: c.flags["about"], Timeout: wire.InMicros(s.duration(c.flags["timeout"])),
	}
	switch c.flags["session"] {
	case "last":
		r.Session = s.sessions[name]
	case "wrong":
		r.Session = "guessed"
	}
	joined, err := s.Register(s.ctx, wire.Caller{Identity: cmp.Or(c.flags["as"], "admin"), Conn: conn}, r)
	if err != nil {
		s.print("%s", failed(err))
		return false
	}
	s.sessions[name] = joined.Session
	text := fmt.Sprintf("joins at %s in %s", joined.Subject, joined.State)
	if joined.Transition != nil {
		text += fmt.Sprintf(", %s under way", number(joined.Transition.ID))
	}
	s.note(scriptLine{text: text, wish: -1})
	return true
}

// verdict reads accept, defer or garbage.
func (s *script) verdict(c command, words []string) (wire.Answer, error) {
	switch words[0] {
	case "accept":
		return wire.Answer{Answer: wire.Accept}, nil
	case "defer":
		return wire.Answer{Answer: wire.Defer, Reason: words[1], Retry: wire.InMicros(s.duration(c.flags["retry"]))}, nil
	case "garbage":
		return wire.Answer{}, wire.Malformed("garbage")
	}
	s.t.Fatalf("%q: %s is no answer; accept, defer or garbage would be right", c.line, words[0])
	return wire.Answer{}, nil
}

// behaviour makes what a participant does when it is asked; without a word it accepts.
func (s *script) behaviour(c command, words []string) func(wire.Question, func(wire.Answer, error)) {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "required" })
	if len(words) == 0 {
		words = []string{"accept"}
	}
	name := c.word()
	times := s.number(cmp.Or(c.flags["times"], "1000000"))
	return func(q wire.Question, answer func(wire.Answer, error)) {
		text := fmt.Sprintf("asks %s: %s, round %d", name, q.To, q.Round)
		if q.Final {
			text += ", final"
		}
		if q.DryRun {
			text += ", dry run"
		}
		if s.verbose {
			text += fmt.Sprintf(" (%s from %s, goal %s, %s)", number(q.ID), q.From, q.Goal, q.Reason)
		}
		does := words
		if to := c.flags["to"]; to != "" && to != q.To.String() || times == 0 {
			does = []string{"accept"}
		} else if does[0] != "accept" {
			times--
		}
		if does[0] == "silent" {
			s.print("%s", text)
			return
		}
		s.print("%s: %s", text, strings.Join(does, " "))
		answer(s.verdict(c, does))
	}
}

func (s *script) answers(c command) {
	open := s.asks[s.players[c.word()].conn]
	n := s.number(cmp.Or(c.flags["question"], strconv.Itoa(len(open))))
	if n < 1 || n > len(open) {
		s.t.Fatalf("%q: %s was asked %d times", c.line, c.word(), len(open))
	}
	open[n-1](s.verdict(c, c.rest()))
}

func (s *script) leaves(c command) {
	if _, err := s.Unregister(s.ctx, s.caller(c), wire.NotifierName{Name: c.word()}); err != nil {
		s.print("%s", failed(err))
		return
	}
	if p := s.players[c.word()]; p != nil {
		delete(s.subs, subscription{s.caller(c).Identity, wire.NotifySubject(p.name)})
	}
}

func (s *script) resume(c command) {
	got, err := s.Resume(s.ctx, s.caller(c), wire.Resume{Notifier: c.word(), ID: s.id(c.flags["id"])})
	if err != nil {
		s.print("%s", failed(err))
		return
	}
	s.note(scriptLine{text: string(got.Outcome), wish: -1})
}

func (s *script) wish(c command) {
	w := wire.StateWish{
		Target: s.oneState(c.word()), Reason: cmp.Or(c.flags["reason"], "a wish"), Wait: wire.InMicros(s.duration(c.flags["wait"])),
		Limit: wire.InMicros(s.duration(c.flags["limit"])), OnLimit: wire.OnLimit(c.flags["on_limit"]),
		FallBack: c.has("fall_back"), Own: c.has("own"), Force: c.has("force"), DryRun: c.has("dry_run"),
	}
	s.ask(func() (wire.StateOutcome, error) { return s.Request(s.ctx, s.caller(c), w) })
}

func (s *script) reboot(c command) {
	r := wire.Reboot{
		Reason: cmp.Or(c.flags["reason"], "a reboot"), Mode: wire.RebootMode(c.flags["mode"]),
		Limit: wire.InMicros(s.duration(c.flags["limit"])), OnLimit: wire.OnLimit(c.flags["on_limit"]),
		DryRun: c.has("dry_run"), Force: c.has("force"),
	}
	s.ask(func() (wire.StateOutcome, error) { return s.Reboot(s.ctx, s.caller(c), r) })
}

func (s *script) afterwards(command) {
	select {
	case <-s.Over():
	default:
		s.print("it is not over")
		return
	}
	if r, ok := s.AtTheEnd(); ok {
		s.print("%s: %s", r.Mode, r.Reason)
		return
	}
	s.print("only the daemon ends")
}

func (s *script) abort(c command) {
	got, err := s.Abort(s.ctx, s.caller(c), wire.Abort{Reason: c.word(), ID: s.id(c.flags["id"])})
	if err != nil {
		s.print("%s", failed(err))
		return
	}
	s.note(scriptLine{text: "aborted in " + got.State.String(), wish: -1})
}

func (s *script) withdraw(c command) {
	aborted, err := s.Withdraw(s.ctx, s.id(c.flags["id"]), c.word())
	if err != nil {
		s.print("%s", failed(err))
		return
	}
	s.note(scriptLine{text: fmt.Sprintf("withdrawn, aborted=%v", aborted), wish: -1})
}

// ask makes a request that may wait, and prints its answer when it comes.
func (s *script) ask(request func() (wire.StateOutcome, error)) {
	s.wishes++
	n := s.wishes
	go func() {
		got, err := request()
		text := fmt.Sprintf("wish %d: ", n)
		switch {
		case err != nil:
			text += failed(err)
		default:
			text += fmt.Sprintf("%s %s in %s", got.Outcome, number(got.ID), got.State)
			for i, h := range got.Holders {
				_, now := s.Now()
				text += []string{" by ", ", "}[min(i, 1)] + s.holder(h, now)
			}
		}
		s.note(scriptLine{text: text, wish: n})
	}()
}
