package system

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"muster/wire"
)

// referee holds a game against the protocol. It sees what can be seen from outside, in the order in which it happens:
// who joins, leaves and dies, each question, each answer as it is given, each event. It knows nothing of the machine.
//
// foul is the first thing that must not be: a commit without a round in which everybody accepted, a round that leaves
// somebody out or asks him too early, one that begins before its holders are resolved or later than that, a holder
// without a reason of his own, an event out of turn, a transition that stands still.
type referee struct {
	mu   sync.Mutex
	foul string

	now      time.Duration
	state    wire.State
	entered  time.Duration
	expect   []string          // the state events that have to come next
	last     int               // the number of the last transition
	play     *inquiry          // the transition under way
	over     map[string]result // transitions
	rank     int               // of the move that was displaced just now; -1: none was
	helds    []time.Duration   // when something was told as held
	members  map[string]*member
	coming   *member                  // who is registering
	patience map[string]time.Duration // what lateness has taught
	forced   []wire.State             // what was wished for by force
	owners   map[uint64]wire.State    // whose stay it is, by connection
	orphaned map[wire.State]bool      // an owner of a stay there has gone
	closed   map[uint64]bool          // connections
}

// result is how a transition ended, and when.
type result struct {
	kind wire.Kind
	at   time.Duration
}

// member is who is registered, or missed.
type member struct {
	name     string
	conn     uint64
	reg      wire.Registration
	alive    bool
	changing bool   // it may be registering anew just now
	late     *query // the last question that it left unanswered
}

// inquiry is a transition as it is seen.
type inquiry struct {
	id       string
	from, to wire.State
	began    time.Duration
	proposed *wire.Transition // nil until it is told
	round    int
	final    bool
	since    time.Duration // when something last happened to it
	asked    []*query      // in the round
	silent   map[string]int
	resumed  map[string]time.Duration // in the round
	held     time.Duration            // when that was last told; before the first time long ago
	named    []string                 // whom it named then, in the round
	awaited  []string                 // of them, who was away
}

// query is one question and what came of it.
type query struct {
	*member
	conn    uint64
	id      string
	to      wire.State
	round   int
	final   bool
	at      time.Duration
	timeout time.Duration
	due     time.Duration
	nth     int           // how often in a row it has not answered before
	answer  *wire.Answer  // the first
	given   time.Duration // when
	twice   bool          // another one that differs came later
	maybe   bool          // or at the same moment, so that it may or may not have counted
	overdue bool          // no answer came in time
	lost    time.Duration // when the notifier has gone, left, or come anew; 0: it has not
}

func newReferee() *referee {
	return &referee{
		expect: []string{wire.StateSubject + " UNKNOWN"}, over: map[string]result{}, rank: -1,
		members: map[string]*member{}, patience: map[string]time.Duration{}, owners: map[uint64]wire.State{}, orphaned: map[wire.State]bool{},
		closed: map[uint64]bool{},
	}
}

// see has the referee look at one thing that happens.
func (r *referee) see(now time.Duration, what func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = now
	if p := r.play; p != nil {
		for _, a := range p.asked {
			if !a.settled() && a.due <= now {
				a.overdue, a.late = true, a
				p.silent[a.name]++
			}
		}
		r.stalled()
	}
	what()
}

func (r *referee) fault(format string, args ...any) {
	if r.foul == "" {
		r.foul = fmt.Sprintf("at %v: ", r.now) + fmt.Sprintf(format, args...)
	}
}

// settled reports whether the question needs no more waiting.
func (a *query) settled() bool { return a.lost > 0 || a.overdue || a.answer != nil }

func (a *query) settledAt() time.Duration {
	switch {
	case a.answer != nil:
		return a.given
	case a.overdue:
		return a.due
	default:
		return a.lost
	}
}

func (a *query) accepted() bool {
	return a.answer != nil && a.answer.Answer == wire.Accept && !a.twice
}

// refused reports whether the notifier became a holder by this question.
func (a *query) refused() bool {
	return a.overdue || a.answer != nil && !a.accepted() || a.lost > 0 && a.missed(a.to)
}

// reason is what a refusal is told with.
func (a *query) reason() string {
	switch {
	case a.missed(a.to):
		return wire.ReasonNotHere
	case a.overdue:
		return wire.ReasonNoAnswer
	case a.twice:
		return "faulty answer: two answers that differ"
	default:
		return a.answer.Reason
	}
}

func (m *member) cares(to wire.State) bool {
	return len(m.reg.States) == 0 || slices.Contains(m.reg.States, to)
}

// missed reports whether somebody holds by not being there.
func (m *member) missed(to wire.State) bool {
	return m.reg.Required && !m.alive && m.cares(to) && to != wire.ContextDestroying
}

const never = time.Duration(1 << 62)

// resolved tells when a refusal needs no more waiting.
func (r *referee) resolved(a *query) time.Duration {
	at := never
	switch {
	case a.missed(a.to):
		return never
	case a.overdue:
		at = a.due + min(time.Second<<min(a.nth, 6), time.Minute)
	case a.answer != nil && a.answer.Retry > 0:
		at = a.given + a.answer.Retry.Duration()
	case a.answer != nil:
		at = a.at + 30*time.Second
	}
	if t, ok := r.play.resumed[a.name]; ok {
		at = min(at, t)
	}
	if a.lost > 0 {
		at = min(at, a.lost)
	}
	return at
}

// space is what lies between a hold and the round that follows it.
func space(round int) time.Duration {
	if round < 9 {
		return 0
	}
	return min(10*time.Millisecond<<min(round-9, 10), time.Second)
}

// stalled finds a transition that should have gone on before now.
func (r *referee) stalled() {
	p := r.play
	if p.proposed == nil && r.now > p.began+proposeAfter {
		r.fault("%s is not proposed since %v", p.id, p.began)
	}
	if limit := p.limit(); limit > 0 && !p.final && r.now > p.began+limit {
		r.fault("%s outlives its limit of %v", p.id, limit)
	}
	refused, since := false, p.since
	for _, a := range p.asked {
		switch {
		case !a.settled() || a.maybe || a.changing:
			return
		case a.refused() && !p.final:
			refused, since = true, max(since, r.resolved(a))
		}
		since = max(since, a.settledAt())
	}
	if !p.final {
		since += space(p.round + 1)
	}
	for _, m := range r.members {
		if m.missed(p.to) && !p.final {
			return
		}
	}
	if refused {
		r.untold()
	}
	if r.now > since {
		r.fault("%s, round %d, stands still since %v", p.id, p.round, since)
	}
}

// untold finds a change of those who hold that should have been told before now.
func (r *referee) untold() {
	p := r.play
	changed := max(p.since, p.held+200*time.Millisecond)
	var holding, named []string
	for _, a := range p.asked {
		changed = max(changed, a.settledAt())
		if a.lost > 0 && !a.missed(a.to) {
			continue
		}
		if slices.Contains(p.named, a.name) {
			named = append(named, a.name)
		}
		if at := r.resolved(a); a.refused() && at > r.now {
			holding = append(holding, a.name)
		} else if a.refused() {
			changed = max(changed, at)
		}
	}
	if len(holding) > 0 && !slices.Equal(holding, named) && r.now > changed {
		r.fault("%v hold %s since %v, but told are %v", holding, p.id, changed, named)
	}
}

func (p *inquiry) limit() time.Duration {
	if p.proposed == nil {
		return 0
	}
	return p.proposed.Limit.Duration()
}

// touched notes that something may have become of the transition just now.
func (r *referee) touched() {
	if r.play != nil {
		r.play.since = r.now
	}
}

// joining begins a registration, and joined ends it.
func (r *referee) joining(name string, conn uint64, reg wire.Registration) {
	r.coming = &member{name: name, conn: conn, reg: reg, alive: true}
	if old := r.members[name]; old != nil {
		old.changing = true
	}
	r.touched()
}

func (r *referee) joined(name string, err error) {
	if old := r.members[name]; old != nil {
		old.changing = false
		if err == nil {
			r.lose(old)
			old.alive, old.reg.Required, old.late = false, false, nil
		}
	}
	if err == nil {
		r.members[name] = r.coming
		if p := r.play; p != nil {
			delete(p.silent, name)
			p.awaited = slices.DeleteFunc(p.awaited, func(other string) bool { return other == name })
		}
	}
	r.coming = nil
	r.touched()
}

// left and died end what a member is; a required one that dies is missed from then on.
func (r *referee) left(name string) {
	if m := r.members[name]; m != nil {
		r.lose(m)
		m.alive, m.reg.Required, m.late = false, false, nil
		delete(r.members, name)
		r.touched()
	}
}

func (r *referee) died(conn uint64) {
	r.closed[conn] = true
	if state, ok := r.owners[conn]; ok {
		r.orphaned[state] = true
	}
	for name, m := range r.members {
		if m.conn != conn || !m.alive {
			continue
		}
		r.lose(m)
		m.alive, m.late = false, nil
		if !m.reg.Required {
			delete(r.members, name)
		}
		r.touched()
	}
}

// lose notes that a member is not there any more as it was.
func (r *referee) lose(m *member) {
	for _, a := range r.asked() {
		if a.member == m && (a.lost == 0 || m.missed(a.to)) {
			a.lost = r.now
		}
	}
}

func (r *referee) asked() []*query {
	if r.play == nil {
		return nil
	}
	return r.play.asked
}

// resumes notes that somebody lets go. What it gives takes that back, if it did not hold.
func (r *referee) resumes(name string) (undo func()) {
	p := r.play
	if p == nil {
		return func() {}
	}
	if _, ok := p.resumed[name]; ok {
		return func() {}
	}
	round := p.round
	p.resumed[name] = r.now
	r.touched()
	return func() {
		if p.round == round {
			delete(p.resumed, name)
		}
	}
}

// asks takes a question.
func (r *referee) asks(name string, conn uint64, q wire.Question) {
	if q.DryRun {
		return
	}
	if r.play == nil || r.play.id != q.ID {
		r.begin(q.ID, q.From, q.To)
	}
	p := r.play
	if q.Round != p.round || q.Final != p.final {
		r.beginRound(q.Round, q.Final)
	}
	m := r.members[name]
	if c := r.coming; c != nil && c.conn == conn {
		m = c
	}
	if m == nil || m.conn != conn || !m.alive || !m.cares(q.To) {
		r.fault("%s is asked about %s, which it is not there for, or does not care for", name, q.To)
		return
	}
	a := &query{
		member: m, conn: conn, id: q.ID, to: q.To, round: q.Round, final: q.Final, at: r.now, nth: p.silent[name],
		timeout: m.timeout(r.patience),
	}
	if m == r.coming {
		a.nth = 0
	}
	if q.Final {
		a.timeout = min(a.timeout, 5*time.Second)
	}
	a.due = a.at + a.timeout
	r.inTurn(a)
	p.asked = append(p.asked, a)
	p.since = r.now
}

func (m *member) timeout(patience map[string]time.Duration) time.Duration {
	return max(cmp.Or(m.reg.Timeout, wire.DefaultTimeout).Duration(), patience[m.name])
}

// inTurn makes sure that whoever comes before has accepted, in this round, and that nobody is asked twice.
func (r *referee) inTurn(a *query) {
	for _, b := range r.play.asked {
		if b.conn == a.conn {
			r.fault("%s is asked twice in round %d of %s", a.name, a.round, a.id)
		}
		if !a.final && b.reg.Order < a.reg.Order && b.lost == 0 && !b.changing && !b.maybe && !b.accepted() {
			r.fault("%s is asked before %s has accepted", a.name, b.name)
		}
	}
	for _, m := range r.members {
		if !a.final && m.missed(a.to) && !m.changing && m.reg.Order < a.reg.Order {
			r.fault("%s is asked before %s has come", a.name, m.name)
		}
	}
}

// beginRound makes sure that the round before is over.
func (r *referee) beginRound(round int, final bool) {
	p := r.play
	if round != p.round+1 {
		r.fault("round %d of %s follows round %d", round, p.id, p.round)
	}
	if limit := p.limit(); final && (limit == 0 || r.now != p.began+limit) {
		r.fault("the last round of %s begins at %v, which is not its limit", p.id, r.now-p.began)
	}
	due := time.Duration(0)
	for _, a := range p.asked {
		if final {
			break
		}
		if !a.settled() && !a.changing {
			r.fault("round %d of %s begins while %s is asked", round, p.id, a.name)
		}
		if a.missed(a.to) && space(round) > 0 {
			continue // it went away when everybody had let go, and holds the round that was due
		}
		if at := r.resolved(a); a.refused() && !a.changing && !a.maybe && at > r.now {
			r.fault("round %d of %s begins although %s holds (%s)", round, p.id, a.name, a.reason())
		} else if a.refused() && !a.changing && !a.maybe {
			due = max(due, at+space(round))
		}
	}
	if r.now < due {
		r.fault("round %d of %s begins %v too soon", round, p.id, due-r.now)
	}
	for _, name := range p.awaited {
		if m := r.members[name]; !final && m != nil && m.missed(p.to) && !m.changing {
			r.fault("round %d of %s begins although %s is away", round, p.id, name)
		}
	}
	p.round, p.final, p.asked, p.since = round, final, nil, r.now
	p.named, p.awaited = nil, nil
	clear(p.resumed)
}

// answers takes what somebody answers.
func (r *referee) answers(conn uint64, q wire.Question, answer wire.Answer, err error) {
	if err != nil {
		answer = wire.Answer{Answer: wire.Defer, Reason: "faulty answer: " + wire.AsError(err).Message}
	}
	for _, m := range r.members {
		if a := m.late; a != nil && a.conn == conn && a.id == q.ID && a.round == q.Round {
			r.answersLate(a)
			return
		}
	}
	running := slices.ContainsFunc(r.asked(), func(a *query) bool { return !a.settled() })
	for _, a := range r.asked() {
		switch {
		case a.conn != conn || a.id != q.ID || a.round != q.Round || a.lost > 0 || a.overdue:
		case a.answer == nil:
			a.answer, a.given = &answer, r.now
			delete(r.play.silent, a.name)
		case answer == *a.answer:
		case a.given == r.now:
			a.maybe = true
		case running:
			a.twice = true
		}
	}
}

// answersLate takes an answer as a resume, and gives more time from then on.
func (r *referee) answersLate(a *query) {
	a.late = nil
	if enough := min(2*a.timeout, time.Minute); enough > a.member.timeout(r.patience) {
		r.patience[a.name] = enough
		for _, b := range r.asked() {
			if b.member == a.member && !b.settled() && !b.final {
				b.timeout, b.due = enough, b.at+enough
			}
		}
	}
	accepted := func(b *query) bool { return b.member == a.member && b.accepted() }
	if p := r.play; p != nil && p.id == a.id && !slices.ContainsFunc(p.asked, accepted) {
		r.resumes(a.name)
	}
}

// tells takes an event.
func (r *referee) tells(subject string, event wire.Stamped) {
	switch e := event.(type) {
	case *wire.Transition:
		if len(r.expect) > 0 {
			r.fault("%s of %s comes before %s", e.Kind, e.ID, r.expect[0])
		}
		r.transition(e)
	case *wire.StateEvent:
		if got := subject + " " + e.State.String(); len(r.expect) == 0 || r.expect[0] != got {
			r.fault("%s comes instead of %v", got, r.expect)
			return
		}
		r.expect = r.expect[1:]
		r.state, r.entered = e.State, r.now
	}
}

func (r *referee) transition(e *wire.Transition) {
	if e.Kind == wire.KindPaused {
		if kind := r.over[e.ID].kind; r.play != nil || kind != wire.KindAborted && kind != wire.KindExpired {
			r.fault("%s is paused, but not given up", e.ID)
		}
		return
	}
	if e.Kind == wire.KindProposed && (r.play == nil || r.play.id != e.ID) {
		r.begin(e.ID, e.From, e.To)
	}
	p := r.play
	if p == nil || e.ID != p.id || e.To != p.to || e.From != p.from || (p.proposed == nil) != (e.Kind == wire.KindProposed) {
		r.fault("%s of %s, %s to %s, is out of turn", e.Kind, e.ID, e.From, e.To)
		return
	}
	if e.Round > p.round { // nobody is asked in it
		r.beginRound(e.Round, len(e.Overridden) > 0 && p.limit() > 0 && r.now == p.began+p.limit())
	}
	switch e.Kind {
	case wire.KindProposed:
		p.proposed = e
	case wire.KindHeld:
		r.held(e)
	case wire.KindResumed:
		if len(e.Holders) > 0 {
			r.fault("%s goes on although it is held by %v", e.ID, e.Holders)
		}
	case wire.KindOverridden:
		if len(e.Overridden) == 0 {
			r.fault("%s overrides nobody", e.ID)
		}
	case wire.KindExpired:
		if limit := p.limit(); limit == 0 || r.now != p.began+limit {
			r.fault("%s expires at %v, which is not its limit", e.ID, r.now-p.began)
		}
	case wire.KindCommitted:
		r.committed(e)
	case wire.KindAborted, wire.KindPaused:
	}
	if e.Kind == wire.KindCommitted || e.Kind == wire.KindAborted || e.Kind == wire.KindExpired {
		r.over[e.ID] = result{e.Kind, r.now}
		r.play = nil
		if e.Kind == wire.KindAborted && strings.HasPrefix(e.Reason, "displaced") {
			r.rank = rankOf(e.From, e.To)
		}
	}
}

// begin takes a transition, told by its proposal or by its first question.
func (r *referee) begin(id string, from, to wire.State) {
	var number int
	if _, err := fmt.Sscanf(id, "1-x.%d", &number); err != nil || number <= r.last {
		r.fault("transition %s comes behind %d", id, r.last)
	}
	r.last = number
	if r.play != nil {
		r.fault("%s begins while %s is under way", id, r.play.id)
	}
	if from != r.state || !legal(from, to) {
		r.fault("%s is a move from %s to %s, in %s", id, from, to, r.state)
	}
	if rankOf(from, to) <= r.rank {
		r.fault("%s to %s takes the place of a move of rank %d", id, to, r.rank)
	}
	r.rank = -1
	r.play = &inquiry{
		id: id, from: from, to: to, began: r.now, since: r.now, held: -time.Hour,
		silent: map[string]int{}, resumed: map[string]time.Duration{},
	}
}

// rankOf gives the rank of a move, from stepping upwards.
func rankOf(from, to wire.State) int {
	switch {
	case to == wire.ContextDestroying:
		return 4
	case to == wire.PolicyInvalid || from == wire.PolicyInvalid:
		return 3
	case from.Boot() && to < from:
		return 2
	case from.Modal() || to.Modal():
		return 1
	default:
		return 0
	}
}

// legal knows the moves that there are.
func legal(from, to wire.State) bool {
	switch to {
	case wire.ContextDestroying:
		return from != to
	case wire.PolicyInvalid:
		return from >= wire.PolicyValid && from <= wire.Operational || from == wire.AwaitingModalUpdating
	case wire.AwaitingModalUpdating:
		return from == wire.Operational
	case wire.ModalUpdating:
		return from == wire.AwaitingModalUpdating
	case wire.Operational:
		return from == wire.OneTimeUpdates || from.Modal()
	default:
		return to == from+1 || from.Boot() && to < from || from == wire.PolicyInvalid && to == wire.Initialized
	}
}

// held makes sure that everybody who holds is named, with a reason that is his own.
func (r *referee) held(e *wire.Transition) {
	p := r.play
	if len(e.Holders) == 0 {
		r.fault("%s is held by nobody", e.ID)
	}
	if r.now-p.held < 200*time.Millisecond {
		r.fault("%s is told as held %v after the last time", e.ID, r.now-p.held)
	}
	p.held = r.now
	r.helds = append(r.helds, r.now)
	p.named, p.awaited = nil, nil
	named := map[string]string{}
	for _, h := range e.Holders {
		named[h.Notifier] = h.Reason
		p.named = append(p.named, h.Notifier)
		if h.Reason == wire.ReasonNotHere {
			p.awaited = append(p.awaited, h.Notifier)
		}
	}
	for _, a := range p.asked {
		reason, isNamed := named[a.name]
		switch at := r.resolved(a); {
		case a.changing || a.lost > 0 && !a.missed(a.to):
			continue
		case a.maybe:
		case !isNamed && a.refused() && at > r.now:
			r.fault("%s holds %s (%s) and is not named", a.name, e.ID, a.reason())
		case isNamed && (!a.refused() || at < r.now):
			r.fault("%s is named (%s), but does not hold %s", a.name, reason, e.ID)
		case isNamed && reason != a.reason():
			r.fault("%s holds %s because of %q, not %q", a.name, e.ID, a.reason(), reason)
		}
		delete(named, a.name)
	}
	for name, reason := range named {
		if m := r.members[name]; m == nil || !m.changing && !m.missed(e.To) || reason != wire.ReasonNotHere {
			r.fault("%s is named (%s), but was not asked", name, reason)
		}
	}
}

// committed makes sure that everybody who cares accepted in this very round, or that nobody had to.
func (r *referee) committed(e *wire.Transition) {
	p := r.play
	r.expect = []string{wire.StateTopic(e.To) + " " + e.To.String(), wire.StateSubject + " " + e.To.String()}
	if r.byForce(e) || r.byStay(e) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(r.members)) {
		m := r.members[name]
		i := slices.IndexFunc(p.asked, func(a *query) bool { return a.member == m })
		overridden := slices.ContainsFunc(e.Overridden, func(o wire.Overridden) bool { return o.Notifier == name })
		switch {
		case m.changing:
		case m.missed(e.To):
			if !p.final || !overridden {
				r.fault("%s is committed without %s", e.ID, name)
			}
		case !m.alive || !m.cares(e.To):
		case i < 0:
			r.fault("%s is committed in round %d, in which %s was not asked", e.ID, e.Round, name)
		case p.asked[i].accepted() || p.asked[i].maybe:
		case !p.final || !overridden:
			r.fault("%s is committed in round %d, in which %s did not accept", e.ID, e.Round, name)
		}
	}
	if len(e.Overridden) > 0 && !p.final {
		r.fault("%s overrides %v in a round that is not the last", e.ID, e.Overridden)
	}
}

// byForce reports whether somebody wished for that by force.
func (r *referee) byForce(e *wire.Transition) bool {
	return slices.ContainsFunc(r.forced, func(target wire.State) bool {
		return target == e.To || target.Boot() && e.To.Boot() && e.To <= target
	})
}

// byStay reports whether a stay is over, so that the system returns without asking.
func (r *referee) byStay(e *wire.Transition) bool {
	limit := map[wire.State]time.Duration{wire.AwaitingModalUpdating: time.Minute, wire.ModalUpdating: 6 * time.Hour}[e.From]
	return e.From.Modal() && e.To == wire.Operational && (r.now-r.entered >= limit || r.orphaned[e.From])
}
