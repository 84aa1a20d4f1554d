package system

import "sync"

// mailbox hands work to the one goroutine that owns a thing. Posting never blocks; what may be posted is bounded by
// those who post: open questions, requests in flight, connections.
type mailbox struct {
	bell chan struct{} // rung when there is something to take

	mu      sync.Mutex
	letters []func()
}

func newMailbox() *mailbox { return &mailbox{bell: make(chan struct{}, 1)} }

// post queues f to run on the owner's goroutine.
func (m *mailbox) post(f func()) {
	m.mu.Lock()
	m.letters = append(m.letters, f)
	m.mu.Unlock()
	select {
	case m.bell <- struct{}{}:
	default:
	}
}

// take gives all that was posted, in order. spare is a used slice that may hold what comes next.
func (m *mailbox) take(spare []func()) []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	letters := m.letters
	m.letters = spare[:0]
	return letters
}
