package system

import (
	"context"
	"errors"
	"slices"
	"time"

	"muster/wire"
)

// question is one notifier asked once.
type question struct {
	to      *notifier
	by      asking        // who wants to know; nil once nobody does
	at      time.Time     // when it was asked
	timeout time.Duration // for its answer
	answer  wire.Answer   // the zero value until it came, or was found missing
	late    bool          // its time ran out; the answer may still come
	due     *deadline     // nil when its time does not matter any more
	forget  func()        // drops whatever still comes
}

// asking is what questions are put for: a move or a dry run. It learns what becomes of each of them.
type asking interface {
	heard(m *Machine, q *question, a wire.Answer) // an answer came, in time or not, or another one
	gone(m *Machine, q *question)                 // the notifier is lost
	expired(m *Machine, q *question)              // its time ran out
}

// deadline is when the time for some questions is over that were put at once.
type deadline struct {
	end  *appointment
	open int // of the questions, those that still wait for it
}

// call is a question to a notifier of this process that waits for the end of the last one.
type call struct {
	text wire.Question
	to   *question
}

// idle reports whether nobody wants to know the answer any more.
func (c call) idle() bool { return c.to.by == nil }

// open reports whether the question waits for its answer.
func (q *question) open() bool { return q.answer.Answer == "" }

// close makes sure that nothing more comes of the question.
func (m *Machine) close(q *question) {
	m.stopClock(q)
	q.by = nil
	if q.forget != nil {
		q.forget()
		q.forget = nil
	}
}

// put asks all of them at once, for whoever asks. A limit shortens everybody's time.
func (m *Machine) put(text wire.Question, questions []*question, by asking, limit time.Duration) {
	local := make([]*question, 0, len(questions))
	now := time.Now()
	for _, q := range questions {
		q.by, q.at, q.timeout = by, now, max(q.to.timeout, m.patience[q.to.name])
		if limit > 0 {
			q.timeout = min(q.timeout, limit)
		}
		q.to.asked++
		switch {
		case q.to.local == nil:
			q.forget = m.opts.Asker.Ask(q.to.peer, text, func(a wire.Answer, err error) {
				m.mail.post(func() { m.receive(q, a, err) })
			})
		case q.to.busy: // it is called when it has returned from the last call
			q.to.queue = append(slices.DeleteFunc(q.to.queue, call.idle), call{text, q})
		default:
			q.to.busy = true
			local = append(local, q)
		}
	}
	m.startClocks(questions)
	if len(local) > 0 {
		m.call(text, local)
	}
}

// startClocks plans the end of the time for answers; neighbors that have the same share the appointment.
func (m *Machine) startClocks(questions []*question) {
	for len(questions) > 0 {
		timeout := questions[0].timeout
		n := slices.IndexFunc(questions, func(q *question) bool { return q.timeout != timeout })
		if n < 0 {
			n = len(questions)
		}
		m.startClock(questions[:n], timeout)
		questions = questions[n:]
	}
}

func (m *Machine) startClock(questions []*question, left time.Duration) {
	d := &deadline{open: len(questions)}
	for _, q := range questions {
		q.due = d
	}
	d.end = m.agenda.after(left, func() {
		for _, q := range questions {
			if q.due == d {
				m.stopClock(q)
				q.by.expired(m, q)
			}
		}
	})
}

// stopClock lets the question take as long as it likes.
func (m *Machine) stopClock(q *question) {
	d := q.due
	if d == nil {
		return
	}
	q.due = nil
	if d.open--; d.open == 0 {
		m.agenda.cancel(d.end)
	}
}

// answered counts an answer.
func (q *question) answered(a wire.Answer) {
	n := q.to
	if a.Answer == wire.Accept {
		n.accepted++
	} else {
		n.deferred++
	}
	n.slowest = max(n.slowest, time.Since(q.at))
}

// receive takes what came for a question.
func (m *Machine) receive(q *question, a wire.Answer, err error) {
	if q.by == nil {
		return
	}
	switch {
	case errors.Is(err, ErrGone):
		q.by.gone(m, q)
	case err != nil:
		q.by.heard(m, q, faulty(wire.AsError(err).Message))
	default:
		q.by.heard(m, q, a)
	}
}

// faulty is how an answer that cannot be taken as one counts.
func faulty(fault string) wire.Answer {
	return wire.Answer{Answer: wire.Defer, Reason: "faulty answer: " + fault}
}

// call runs calls of this process side by side; see [batch].
func (m *Machine) call(text wire.Question, questions []*question) {
	ctx, cancel := context.WithCancel(context.Background())
	b := &batch{machine: m, text: text, questions: questions, answers: make([]reply, 0, len(questions))}
	rescue := m.agenda.after(slowCall, func() { b.hurry(ctx) })
	open := len(questions)
	forget := func() { // on the machine's goroutine
		if open--; open == 0 {
			cancel()
			m.agenda.cancel(rescue)
		}
	}
	for _, q := range questions {
		q.forget = forget
	}
	go b.work(ctx)
}

// callNext calls a notifier with what has waited for it to return from its last call.
func (m *Machine) callNext(n *notifier) {
	for len(n.queue) > 0 && !n.busy {
		next := n.queue[0]
		n.queue = n.queue[1:]
		if !next.idle() {
			n.busy = true
			m.call(next.text, []*question{next.to})
		}
	}
}
