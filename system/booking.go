package system

import (
	"slices"
	"time"

	"muster/wire"
)

// booking is a call that waits for its turn.
type booking struct {
	wire.Booking
	number   uint64 // in the order booked
	caller   wire.Caller
	since    wire.MonoMicros
	local    func() // for a call of this process that needs no handler; nil otherwise
	deadline *time.Timer
	missed   int         // how often nobody was there to run it
	again    *time.Timer // when it is tried again
	late     bool        // its deadline passed while it was being run
	out      bool        // it was taken out of its lane, where it still stands
}

// ready reports whether a call booked for state may run while the system is in now: a boot state lets it run there and
// above, up to OPERATIONAL, and in AWAITING_MODAL_UPDATING; any other state only in itself.
func ready(state, now wire.State) bool {
	if !state.Boot() {
		return state == now
	}
	return now.Boot() && now >= state || now == wire.AwaitingModalUpdating
}

// queue holds what is booked, by the state that it waits for, so that finding the next one costs the same however many
// wait. Not safe for concurrent use.
type queue struct {
	lanes map[wire.State]*lane
	byKey map[bookingKey]*booking
}

// lane is first in, first out. What is taken out of its middle stays there as a gap until there are many, so that it need
// not be looked for.
type lane struct {
	waiting []*booking
	gaps    int
}

// bookingKey names a booking: ids of one identity are no business of another's.
type bookingKey struct{ identity, id string }

func (b *booking) key() bookingKey { return bookingKey{b.caller.Identity, b.ID} }

func newQueue() queue {
	return queue{lanes: map[wire.State]*lane{}, byKey: map[bookingKey]*booking{}}
}

func (q *queue) len() int { return len(q.byKey) }

func (q *queue) add(b *booking) {
	l := q.lanes[b.State]
	if l == nil {
		l = &lane{}
		q.lanes[b.State] = l
	}
	l.waiting = append(l.waiting, b)
	q.byKey[b.key()] = b
}

// restore puts a booking back where it stood before it was taken.
func (q *queue) restore(b *booking) {
	l := q.lanes[b.State]
	l.trim()
	at := 0
	for at < len(l.waiting) && l.waiting[at].number < b.number {
		at++
	}
	l.waiting = slices.Insert(l.waiting, at, b)
	q.byKey[b.key()] = b
}

// take gives the first call booked among those whose state has come, nil if there is none.
func (q *queue) take(now wire.State) *booking {
	var first *lane
	for state, l := range q.lanes {
		l.trim()
		if len(l.waiting) > 0 && ready(state, now) && (first == nil || l.waiting[0].number < first.waiting[0].number) {
			first = l
		}
	}
	if first == nil {
		return nil
	}
	b := first.waiting[0]
	first.waiting[0] = nil
	first.waiting = first.waiting[1:]
	delete(q.byKey, b.key())
	return b
}

// remove takes a booking out wherever it stands.
func (q *queue) remove(b *booking) {
	delete(q.byKey, b.key())
	b.out = true
	l := q.lanes[b.State]
	if l.gaps++; l.gaps > 64 && l.gaps > len(l.waiting)/2 {
		l.close()
	}
}

// trim drops the gaps at the front.
func (l *lane) trim() {
	for len(l.waiting) > 0 && l.waiting[0].out {
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		l.gaps--
	}
}

// close moves what is left together.
func (l *lane) close() {
	left := make([]*booking, 0, len(l.waiting)-l.gaps)
	for _, b := range l.waiting {
		if !b.out {
			left = append(left, b)
		}
	}
	l.waiting, l.gaps = left, 0
}

// first gives the first waiting calls of all states, in the order booked.
func (q *queue) first(most int) []*booking {
	next := map[*lane]int{}
	var list []*booking
	for len(list) < most {
		var from *lane
		for _, l := range q.lanes {
			for next[l] < len(l.waiting) && l.waiting[next[l]].out {
				next[l]++
			}
			if next[l] < len(l.waiting) && (from == nil || l.waiting[next[l]].number < from.waiting[next[from]].number) {
				from = l
			}
		}
		if from == nil {
			break
		}
		list = append(list, from.waiting[next[from]])
		next[from]++
	}
	return list
}
