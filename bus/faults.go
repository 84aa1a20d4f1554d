package bus

import (
	"sync"

	"muster/wire"
)

// faults counts what goes wrong by who did it and how, so that a client which errs in a loop costs two log lines
// for each power of ten and not one for each message.
type faults struct {
	mu    sync.Mutex
	count map[fault]uint64
	total uint64
}

type fault struct {
	identity string
	subject  string // of the endpoint, of which there are few
	code     wire.Code
}

// note counts one, and logs it when its number is 1, 10, 100, and so on.
func (f *faults) note(b *Bus, identity, subject string, err error) {
	e := wire.AsError(err)
	f.mu.Lock()
	if f.count == nil {
		f.count = map[fault]uint64{}
	}
	key := fault{identity, subject, e.Code}
	f.count[key]++
	n := f.count[key]
	f.total++
	f.mu.Unlock()
	for power := uint64(1); power <= n; power *= 10 {
		if power == n {
			b.log.Info("request failed", "identity", identity, "subject", subject, "code", int(e.Code), "why", e.Message, "count", n)
		}
	}
}

// Faults counts the requests that failed or were dropped so far.
func (b *Bus) Faults() uint64 {
	b.faults.mu.Lock()
	defer b.faults.mu.Unlock()
	return b.faults.total
}
