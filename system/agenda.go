package system

import (
	"container/heap"
	"time"
)

// agenda keeps what its owner has to do at certain times, behind one timer. It belongs to one goroutine.
//
// The timer is set anew only when something earlier comes up, so an appointment that is cancelled again, as nearly
// all are, costs no system timer.
type agenda struct {
	timer *time.Timer
	armed time.Time // when the timer rings; zero when it does not
	due   appointments
	made  uint64 // appointments so far
}

// appointment is one thing to do; the zero time means that it is over. Of two at the same time, the one that was made
// first comes first.
type appointment struct {
	at     time.Time
	number uint64
	index  int
	do     func()
}

func newAgenda() *agenda {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &agenda{timer: timer}
}

// after plans do. It runs on the owner's goroutine, from [agenda.ring].
func (a *agenda) after(d time.Duration, do func()) *appointment {
	a.made++
	entry := &appointment{at: time.Now().Add(d), number: a.made, do: do}
	heap.Push(&a.due, entry)
	a.arm()
	return entry
}

// cancel makes sure that the appointment is not kept. Cancelling twice, or nil, does nothing.
func (a *agenda) cancel(entry *appointment) {
	if entry == nil || entry.at.IsZero() {
		return
	}
	heap.Remove(&a.due, entry.index)
	entry.at = time.Time{}
}

// arm sets the timer if the first appointment is before it.
func (a *agenda) arm() {
	if len(a.due) == 0 {
		return
	}
	first := a.due[0].at
	if a.armed.IsZero() || first.Before(a.armed) {
		a.armed = first
		a.timer.Reset(time.Until(first))
	}
}

// ring runs what is due. It is called when the timer has fired.
func (a *agenda) ring() {
	a.armed = time.Time{}
	now := time.Now()
	for len(a.due) > 0 && !a.due[0].at.After(now) {
		entry := heap.Pop(&a.due).(*appointment)
		entry.at = time.Time{}
		entry.do()
	}
	a.arm()
}

// stop releases the timer.
func (a *agenda) stop() { a.timer.Stop() }

// appointments is a heap by time.
type appointments []*appointment

func (h appointments) Len() int { return len(h) }
func (h appointments) Less(i, j int) bool {
	if order := h[i].at.Compare(h[j].at); order != 0 {
		return order < 0
	}
	return h[i].number < h[j].number
}

func (h appointments) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *appointments) Push(x any) {
	entry := x.(*appointment)
	entry.index = len(*h)
	*h = append(*h, entry)
}

// Pop implements heap.Interface.
func (h *appointments) Pop() any {
	last := len(*h) - 1
	entry := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return entry
}
