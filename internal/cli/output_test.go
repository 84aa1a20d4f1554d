package cli

import (
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                         "0 µs",
		12 * time.Microsecond:     "12 µs",
		1500 * time.Microsecond:   "1.5 ms",
		500 * time.Millisecond:    "500 ms",
		999 * time.Millisecond:    "999 ms",
		999999 * time.Microsecond: "1 s",
		1234 * time.Millisecond:   "1.23 s",
		59960 * time.Millisecond:  "1m",
		70 * time.Second:          "1m10s",
		10 * time.Minute:          "10m",
		time.Hour:                 "1h",
		10 * time.Hour:            "10h",
		time.Hour + time.Second:   "1h0m1s",
		90 * time.Minute:          "1h30m",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) is %q; want %q", d, got, want)
		}
	}
}
