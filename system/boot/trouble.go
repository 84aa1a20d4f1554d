package boot

import (
	"fmt"
	"time"
)

// trouble is what keeps going wrong. The zero value is none.
type trouble struct {
	what  string // the last time
	times int    // that it was just that, in a row
	since time.Time
}

// note takes down that something went wrong.
func (t *trouble) note(what string) {
	if what != t.what {
		*t = trouble{what: what, since: time.Now()}
	}
	t.times++
}

// String says it for people, with how often and since when.
func (t trouble) String() string {
	times := ""
	if t.times > 1 {
		times = fmt.Sprintf(" %d times", t.times)
	}
	return fmt.Sprintf("%s%s since %v", t.what, times, time.Since(t.since).Round(time.Second))
}
