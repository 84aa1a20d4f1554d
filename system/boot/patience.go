package boot

import (
	"context"
	"time"
)

// patience is how long a part holds before it lets the device go on without what it waits for. It is counted from the
// first deferral. The zero value is endless.
type patience struct {
	limit time.Duration // 0: as long as it takes
	since time.Time     // of the first deferral; zero: it does not hold
}

// wait notes that the part holds, and gives how long it will at the most, 0 when that is endless.
func (p *patience) wait() (left time.Duration, over bool) {
	if p.since.IsZero() {
		p.since = time.Now()
	}
	if p.limit == 0 {
		return 0, false
	}
	left = p.limit - time.Since(p.since)
	return left, left <= 0
}

// pause waits, and reports false when ctx is done before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
