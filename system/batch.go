package system

import (
	"context"
	"fmt"
	"sync"

	"muster/wire"
)

// batch is a question to several notifiers of this process. One goroutine calls them in turn and hands the answers
// over together, which costs a quick notifier next to nothing. When that takes longer than [slowCall], each of the
// others gets a goroutine of its own, and answers are handed over as they come.
type batch struct {
	machine   *Machine
	text      wire.Question
	questions []*question

	mu      sync.Mutex
	begun   int     // calls
	ended   int     // calls
	slow    bool    // it takes longer than slowCall
	answers []reply // that are not handed over yet
}

// reply is what one of them answered.
type reply struct {
	to     *question
	answer wire.Answer
}

// work makes calls until none is left.
func (b *batch) work(ctx context.Context) {
	for q := b.next(); q != nil; q = b.next() {
		b.done(reply{q, callLocal(ctx, q.to, b.text)})
	}
}

// next gives what is called next, nil when all are.
func (b *batch) next() *question {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.begun == len(b.questions) {
		return nil
	}
	b.begun++
	return b.questions[b.begun-1]
}

// done notes an answer, and has it handed over if it is the last or has been waited for.
func (b *batch) done(r reply) {
	b.mu.Lock()
	b.answers = append(b.answers, r)
	b.ended++
	ready := b.slow || b.ended == len(b.questions)
	b.mu.Unlock()
	if ready {
		b.machine.mail.post(b.handOver)
	}
}

// handOver gives the answers to those who asked. It runs on the machine's goroutine.
func (b *batch) handOver() {
	b.mu.Lock()
	answers := b.answers
	b.answers = nil
	b.mu.Unlock()
	for _, r := range answers { // before anything comes of an answer, so that all of them can be asked together again
		r.to.to.busy = false
	}
	for _, r := range answers {
		b.machine.receive(r.to, r.answer, nil)
	}
	for _, r := range answers {
		b.machine.callNext(r.to.to)
	}
}

// hurry no longer lets the others wait for one that is slow. It runs on the machine's goroutine.
func (b *batch) hurry(ctx context.Context) {
	b.mu.Lock()
	b.slow = true
	b.mu.Unlock()
	for range len(b.questions) - 1 {
		go b.work(ctx)
	}
	b.handOver()
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
