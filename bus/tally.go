package bus

import (
	"sync"
	"time"
)

// tally counts what goes wrong again and again by what it is, so that whoever errs in a loop costs the log a line for
// each power of ten and not one for each time. What was quiet for an hour is counted anew.
type tally[K comparable] struct {
	mu    sync.Mutex
	kinds map[K]*kind
	total uint64
}

type kind struct {
	count uint64
	last  time.Time
}

const (
	maxKinds  = 4096 // that are told apart; when there are more, all are counted anew
	quietTime = time.Hour
)

// add counts one. It is worth a line when its number is 1, 10, 100, and so on.
func (t *tally[K]) add(what K) (number uint64, worthLine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total++
	k := t.kinds[what]
	if now := time.Now(); k == nil || now.Sub(k.last) > quietTime {
		if t.kinds == nil || len(t.kinds) >= maxKinds {
			t.kinds = map[K]*kind{}
		}
		k = &kind{}
		t.kinds[what] = k
	}
	k.count++
	k.last = time.Now()
	power := uint64(1)
	for power < k.count {
		power *= 10
	}
	return k.count, power == k.count
}

// sum is how many there were in all.
func (t *tally[K]) sum() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}
