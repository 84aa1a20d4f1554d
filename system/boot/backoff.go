package boot

import (
	"math/rand/v2"
	"time"
)

// backoff is how long to wait after that many failures in a row: 1, 2, 4 … 60 s.
func backoff(failures int) time.Duration {
	return min(time.Second<<min(max(failures-1, 0), 6), time.Minute)
}

// lengthened lengthens a wait by up to a quarter, by chance.
func lengthened(d time.Duration) time.Duration { return d + rand.N(d/4+1) }

// ownRetry is the name of the retry that holds for the daemon's own requests.
const ownRetry = "muster"

// Backoff is how long to wait after so many failures in a row of a request of the daemon's own: what the policy in force says of
// that, else 1, 2, 4 … 60 s, lengthened by chance. A nil Policy has none in force.
func (p *Policy) Backoff(failures int) time.Duration {
	if p != nil {
		if document := p.InForce(); document != nil && len(document.Retry[ownRetry].Backoff) > 0 {
			retry := document.Retry[ownRetry]
			wait := time.Duration(retry.Backoff[min(max(failures, 1), len(retry.Backoff))-1])
			return wait + rand.N(wait*time.Duration(retry.Jitter)/100+1)
		}
	}
	return lengthened(backoff(failures))
}
