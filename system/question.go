package system

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"muster/wire"
)

// question is one notifier asked once.
type question struct {
	to      *notifier
	at      time.Time         // when it was asked
	timeout time.Duration     // for its answer
	answer  *wire.Answer      // nil until it came, or was found missing
	late    bool              // its time ran out; the answer may still come
	due     *appointment      // when its time runs out
	expired func(*question)   // and what that leads to
	forget  func()            // drops whatever still comes
	heard   func(wire.Answer) // what an answer leads to; nil once nothing does
	gone    func()            // what the loss of the notifier leads to
}

// call is a question to a notifier of this process that waits for the end of the last one.
type call struct {
	text wire.Question
	to   *question
}

// idle reports whether nobody wants to know the answer any more.
func (c call) idle() bool { return c.to.heard == nil }

// close makes sure that nothing more comes of the question.
func (m *Machine) close(q *question) {
	m.agenda.cancel(q.due)
	q.heard, q.gone = nil, nil
	if q.forget != nil {
		q.forget()
		q.forget = nil
	}
}

// put asks all of them at once. Each answer, in time or not, reaches q.heard, the loss of a notifier q.gone, and the
// end of its time expired. A limit shortens everybody's time.
func (m *Machine) put(text wire.Question, questions []*question, limit time.Duration, expired func(*question)) {
	var local []*question
	now := time.Now()
	for _, q := range questions {
		q.at, q.timeout, q.expired = now, max(q.to.timeout, m.patience[q.to.name]), expired
		if limit > 0 {
			q.timeout = min(q.timeout, limit)
		}
		q.to.asked++
		m.wait(q, q.timeout)
		switch {
		case q.to.local == nil:
			q.forget = m.opts.Asker.Ask(q.to.peer, text, func(a wire.Answer, err error) {
				m.mail.post(func() { q.receive(a, err) })
			})
		case q.to.busy: // it is called when it has returned from the last call
			q.to.queue = append(slices.DeleteFunc(q.to.queue, call.idle), call{text, q})
		default:
			q.to.busy = true
			local = append(local, q)
		}
	}
	if len(local) > 0 {
		m.call(text, local)
	}
}

// wait plans the end of the time for an answer.
func (m *Machine) wait(q *question, left time.Duration) {
	q.due = m.agenda.after(left, func() { q.expired(q) })
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
func (q *question) receive(a wire.Answer, err error) {
	if q.heard == nil {
		return
	}
	switch {
	case errors.Is(err, ErrGone):
		q.gone()
	case err != nil:
		q.heard(faulty(wire.AsError(err).Message))
	default:
		q.heard(a)
	}
}

// faulty is how an answer that cannot be taken as one counts.
func faulty(fault string) wire.Answer {
	return wire.Answer{Answer: wire.Defer, Reason: "faulty answer: " + fault}
}

// call runs the calls of this process. One goroutine takes them in turn, which costs a quick notifier next to
// nothing; when that takes longer than [slowCall], each of the others gets a goroutine of its own.
func (m *Machine) call(text wire.Question, questions []*question) {
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	next := 0
	take := func() *question {
		mu.Lock()
		defer mu.Unlock()
		if next == len(questions) {
			return nil
		}
		next++
		return questions[next-1]
	}
	work := func() {
		for q := take(); q != nil; q = take() {
			a := callLocal(ctx, q.to, text)
			m.mail.post(func() {
				q.to.busy = false
				q.receive(a, nil)
				m.callNext(q.to)
			})
		}
	}
	rescue := m.agenda.after(slowCall, func() {
		for range len(questions) - 1 {
			go work()
		}
	})
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
	go work()
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

// callLocal asks a notifier of this process. Its panic is an answer like any other that cannot be taken.
func callLocal(ctx context.Context, n *notifier, text wire.Question) (a wire.Answer) {
	defer func() {
		if fault := recover(); fault != nil {
			a = faulty(fmt.Sprintf("panic: %v", fault))
		}
	}()
	a = n.local(ctx, text)
	if err := a.Check(); err != nil {
		return faulty(wire.AsError(err).Message)
	}
	return a
}
